/*
 * `pub` of coap:// URLs: each message is a PUT.
 *
 * The next message waits for the one before it in the endpoint's queue (NSTART), so their order is
 * kept; a few wait there, the others in the input.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <trefoil/coap_names.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/coap_answer.h"
#include "cli/coap_plain.h"
#include "cli/lines.h"

#define OPEN_MAX 16u
#define NON_TIMEOUT_MS 10000u
#define REFUSALS_SHOWN 10

struct publisher {
    const struct tf_cli_coap_publish *publish;
    struct tf_cli_coap_run run;
    struct tf_cli_coap_options options;
    struct tf_cli_coap_target target;
    struct tf_cli_lines lines;
    uint8_t *memory; /* what the one body lies in */
    struct tf_bytes body;
    uint64_t left; /* how often it is still to be sent */
    tf_time next_at;
    uint64_t sent, refused;
};

/* One message that is under way. */
struct message {
    struct tf_cli_coap_call call; /* the first */
    uint8_t body[];               /* of a line */
};

/* Sends a body, which is copied if `copy`. False: not now, or the run has ended. */
static bool send(struct publisher *publisher, struct tf_bytes body, bool copy)
{
    const struct tf_cli_coap_publish *publish = publisher->publish;
    struct message *message = calloc(1, sizeof(*message) + (copy ? body.length : 0));
    if (!message) {
        tf_cli_run_say(&publisher->run.base, "no memory");
        tf_cli_run_finish(&publisher->run.base, TF_EXIT_INTERNAL);
        return false;
    }
    if (copy && body.length) {
        memcpy(message->body, body.data, body.length);
        body.data = message->body;
    }
    message->call.heap = true;
    message->call.target = &publisher->target;
    message->call.body = body;
    message->call.request.method = publish->remove ? TF_COAP_DELETE : TF_COAP_PUT;
    message->call.request.non = publish->plain.non;
    if (publish->plain.non && !publish->plain.timeout_us) {
        message->call.request.timeout_ms = NON_TIMEOUT_MS;
    }
    if (tf_cli_coap_run_call(&publisher->run, &message->call)) {
        free(message);
        return false;
    }
    publisher->sent++;
    return true;
}

static bool has_room(const struct publisher *publisher)
{
    return publisher->run.base.state == TF_CLI_RUNNING &&
           tf_cli_coap_run_open(&publisher->run) < OPEN_MAX;
}

static bool send_line(void *ctx, struct tf_bytes line)
{
    struct publisher *publisher = ctx;
    return has_room(publisher) && send(publisher, line, true);
}

/* All lines that are there, as far as there is room. */
static void send_lines(struct publisher *publisher)
{
    struct tf_cli_lines *lines = &publisher->lines;
    struct tf_bytes line;
    (void)tf_cli_lines_pass(lines, send_line, publisher);
    tf_cli_run_want_input(&publisher->run.base, has_room(publisher) && !lines->over);
    publisher->run.hold = !lines->over || tf_cli_lines_next(lines, &line);
}

static void send_repeats(struct publisher *publisher)
{
    const struct tf_cli_coap_publish *publish = publisher->publish;
    while (publisher->left && has_room(publisher)) {
        if (publisher->next_at > publisher->run.base.now) {
            tf_cli_run_timer(&publisher->run.base, publisher->next_at);
            break;
        }
        if (!send(publisher, publisher->body, false)) {
            break;
        }
        publisher->left--;
        if (publish->repeat_delay_us) {
            publisher->next_at = tf_time_add(publisher->run.base.now, publish->repeat_delay_us);
        }
    }
    publisher->run.hold = publisher->left > 0;
}

static void on_turn(void *ctx)
{
    struct publisher *publisher = ctx;
    if (publisher->publish->lines) {
        send_lines(publisher);
    } else {
        send_repeats(publisher);
    }
}

static void on_timer(void *ctx)
{
    (void)ctx; /* what it was set for is done in the turn that follows */
}

static void on_input(void *ctx)
{
    struct publisher *publisher = ctx;
    tf_cli_lines_input(&publisher->lines, &publisher->run.base);
}

static void on_answer(void *ctx, struct tf_cli_coap_call *call,
                      const struct tf_cli_coap_answer *answer)
{
    struct publisher *publisher = ctx;
    if (tf_coap_class(answer->code) >= 4) {
        publisher->refused++;
        if (publisher->refused <= REFUSALS_SHOWN) {
            tf_cli_coap_answer_refusal("pub", call->target, answer);
        }
        tf_cli_run_code(&publisher->run.base, TF_EXIT_REFUSED);
    }
}

static void on_failed(void *ctx, struct tf_cli_coap_call *call)
{
    struct publisher *publisher = ctx;
    (void)call;
    tf_cli_run_finish(&publisher->run.base, TF_EXIT_DONE); /* its code is remembered */
}

/* ---- the command ---- */

static int prepare(struct publisher *publisher, const char *url)
{
    const struct tf_cli_coap_publish *publish = publisher->publish;
    const struct tf_cli_manual *manual = publish->plain.manual;
    char why[TF_CLI_COAP_WHY];
    enum tf_err err = TF_OK;
    if (publish->content_type) {
        err = tf_cli_coap_format_take(&publisher->options, TF_COAP_CONTENT_FORMAT,
                                      publish->content_type, why);
    }
    if (!err) {
        err = tf_cli_coap_target_init(&publisher->target, url, NULL, &publisher->options, why);
    }
    if (err) {
        return tf_cli_misuse(manual, "%s", why);
    }
    publisher->left = publish->repeat;
    if (publish->lines) {
        return -1;
    }
    return tf_cli_coap_source_read(&publish->source, manual, &publisher->memory, &publisher->body);
}

static int run_publisher(struct publisher *publisher)
{
    struct tf_cli_coap_run *run = &publisher->run;
    run->task = (struct tf_cli_coap_task){.answer = on_answer,
                                          .failed = on_failed,
                                          .timer = on_timer,
                                          .input = on_input,
                                          .turn = on_turn,
                                          .ctx = publisher};
    run->base.timeout_us = publisher->publish->plain.timeout_us;
    run->trace = publisher->publish->plain.trace;
    run->hold = true;
    if (tf_cli_coap_run_init(run)) {
        tf_cli_run_say(&run->base, "the system has no event loop to give: %s", strerror(errno));
        return TF_EXIT_INTERNAL;
    }
    int code = tf_cli_run_loop(&run->base);
    if (publisher->refused > REFUSALS_SHOWN) {
        tf_cli_run_say(&run->base, "%llu of %llu messages were refused",
                       (unsigned long long)publisher->refused, (unsigned long long)publisher->sent);
    }
    tf_cli_coap_run_release(run);
    return code;
}

int tf_cli_coap_publish(const struct tf_cli_coap_publish *publish, const char *url)
{
    struct publisher *publisher = calloc(1, sizeof(*publisher));
    if (!publisher) {
        fputs("trefoil pub: no memory\n", stderr);
        return TF_EXIT_INTERNAL;
    }
    publisher->publish = publish;
    publisher->run.base.command = "pub";
    int code = prepare(publisher, url);
    if (code < 0) {
        code = run_publisher(publisher);
    }
    tf_cli_coap_target_release(&publisher->target);
    tf_cli_lines_release(&publisher->lines);
    free(publisher->memory);
    free(publisher);
    return code;
}
