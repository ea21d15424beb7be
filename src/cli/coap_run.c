/*
 * The calls of a command that speaks CoAP.
 */
#include "cli/coap_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/coap_remote.h"
#include "port/clock.h"
#include "port/datagram.h"
#include "port/terminal.h"

#define STDERR 2
#define PROGRESS_FROM 4096u /* bytes of a body that are worth a word */
#define PROGRESS_AFTER (500 * TF_MILLISECOND)
#define PROGRESS_EVERY (100 * TF_MILLISECOND)
#define ANSWER_FIRST 2048u /* bytes to begin with */

static struct tf_cli_coap_run *run_of(struct tf_cli_run *base)
{
    return tf_container_of(base, struct tf_cli_coap_run, base);
}

/* The remote whose place among the run's peers this is. */
static struct tf_cli_coap_remote *remote_of(struct tf_list_node *node)
{
    return tf_cli_coap_remote_of(tf_container_of(node, struct tf_cli_peer, node));
}

/* ---- what is said ---- */

static void show_transfer(struct tf_cli_coap_run *run, const struct tf_cli_coap_call *call,
                          const char *what, uint64_t done, uint64_t total)
{
    tf_time span = run->base.now - call->begun;
    if (span < PROGRESS_AFTER || run->base.now < run->progress_at) {
        return;
    }
    run->progress_at = tf_time_add(run->base.now, PROGRESS_EVERY);
    tf_cli_run_hide_progress(&run->base);
    fprintf(stderr, "%s %.1f KiB", what, (double)done / 1024);
    if (total) {
        fprintf(stderr, " of %.1f, %.0f %%", (double)total / 1024,
                100.0 * (double)done / (double)total);
    }
    fprintf(stderr, ", %.1f KiB/s", (double)done * TF_SECOND / 1024 / (double)span);
    run->base.progress = true;
}

/* Of the first body that is long and under way. */
static void show_progress(struct tf_cli_coap_run *run)
{
    struct tf_list_node *remote = tf_list_first(&run->base.peers);
    for (; remote && run->follow; remote = tf_list_next(&run->base.peers, remote)) {
        struct tf_cli_coap_remote *of = remote_of(remote);
        struct tf_list *calls = tf_cli_coap_remote_calls(of);
        struct tf_list_node *node = tf_list_first(calls);
        if (!node) {
            continue;
        }
        struct tf_cli_coap_call *call = tf_container_of(node, struct tf_cli_coap_call, node);
        struct tf_list_node *first = tf_list_first(&call->answers);
        if (first) {
            struct tf_cli_coap_answer *answer =
                tf_container_of(first, struct tf_cli_coap_answer, node);
            if (answer->body.length >= PROGRESS_FROM) {
                show_transfer(run, call, "received", answer->body.length, answer->total);
            }
            return;
        }
        if (call->body.length >= PROGRESS_FROM && !call->answered) {
            uint64_t sent = tf_cli_coap_remote_sent(of);
            show_transfer(run, call, "sent", TF_MIN(sent, call->body.length), call->body.length);
            return;
        }
    }
}

/* ---- calls ---- */

static void answer_free(struct tf_cli_coap_answer *answer)
{
    free(answer->memory);
    free(answer->body_memory);
    free(answer);
}

void tf_cli_coap_call_close(struct tf_cli_coap_call *call)
{
    struct tf_list_node *node;
    if (!call->open) {
        return;
    }
    while ((node = tf_list_first(&call->answers))) {
        tf_list_remove(node);
        answer_free(tf_container_of(node, struct tf_cli_coap_answer, node));
    }
    tf_list_remove(&call->node);
    call->open = false;
}

/* It has been closed, and nobody will look at it any more. */
static void call_free(struct tf_cli_coap_call *call)
{
    if (call->heap) {
        free(call);
    }
}

void tf_cli_coap_call_fail(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call, int code,
                           const char *format, ...)
{
    bool silent = call->silent && code == TF_EXIT_TIMEOUT;
    run->base.touched = true;
    if (!silent) {
        va_list arguments;
        tf_cli_run_hide_progress(&run->base);
        fprintf(stderr, "trefoil %s: %s: ", run->base.command, call->target->text);
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fputc('\n', stderr);
        tf_cli_run_code(&run->base, code);
    }
    tf_cli_coap_call_close(call);
    if (run->task.failed && run->base.state == TF_CLI_RUNNING && !call->fetched) {
        run->task.failed(run->task.ctx, call);
    }
    call_free(call);
}

/* The answer that a message belongs to: it has begun, or begins now. NULL: no memory. */
static struct tf_cli_coap_answer *answer_of(struct tf_cli_coap_call *call,
                                            const struct tf_coap_event *event)
{
    struct tf_list_node *node = tf_list_first(&call->answers);
    bool group = call->request.multicast || call->fetched;
    for (; node; node = tf_list_next(&call->answers, node)) {
        struct tf_cli_coap_answer *answer = tf_container_of(node, struct tf_cli_coap_answer, node);
        if (!group || memcmp(&answer->path, event->path, sizeof(answer->path)) == 0) {
            return answer;
        }
    }
    struct tf_cli_coap_answer *answer = calloc(1, sizeof(*answer));
    if (!answer) {
        return NULL;
    }
    if (group) {
        struct tf_socket_address address;
        memcpy(&answer->path, event->path, sizeof(answer->path));
        tf_datagram_peer(&answer->path, &address);
        tf_socket_text(&address, answer->from);
    }
    tf_list_push_back(&call->answers, &answer->node);
    return answer;
}

static enum tf_err keep_options(struct tf_cli_coap_answer *answer, struct tf_bytes options)
{
    uint8_t *memory = malloc(options.length + 1);
    if (!memory) {
        return TF_NO_MEMORY;
    }
    if (options.length) {
        memcpy(memory, options.data, options.length);
    }
    free(answer->memory);
    answer->memory = memory;
    answer->options = tf_bytes_of(memory, options.length);
    return TF_OK;
}

/* A run of the body; what was there at its place, and behind, is another representation's. */
static enum tf_err append(struct tf_cli_coap_answer *answer, uint32_t offset, struct tf_bytes run)
{
    size_t length = TF_MIN(offset, answer->body.length), size = answer->body_size;
    if (length + run.length > size) {
        size = TF_MAX(TF_MAX(2 * size, length + run.length), (size_t)ANSWER_FIRST);
        uint8_t *memory = realloc(answer->body_memory, size);
        if (!memory) {
            return TF_NO_MEMORY;
        }
        answer->body_memory = memory;
        answer->body_size = size;
    }
    if (run.length) {
        memcpy(answer->body_memory + length, run.data, run.length);
    }
    answer->body = tf_bytes_of(answer->body_memory, length + run.length);
    return TF_OK;
}

static enum tf_err collect(struct tf_cli_coap_answer *answer, const struct tf_coap_event *event)
{
    enum tf_err err = TF_OK;
    if (event->offset == 0 || !answer->memory) {
        answer->messages = 0;
        answer->round_trip_us = event->round_trip_us;
        err = keep_options(answer, event->message.options);
    }
    answer->code = event->message.code;
    answer->messages++;
    answer->retransmissions = event->retransmissions;
    answer->total = event->total ? event->total : answer->total;
    answer->last = event->last;
    if (event->observe) {
        answer->observe = true;
        answer->sequence = event->sequence;
    }
    return err ? err : append(answer, event->offset, event->body);
}

/* RFC 7959 2.8: of a group's answer in blocks each member is asked for the rest by itself. */
static bool cut_short(const struct tf_cli_coap_call *call, const struct tf_coap_event *event)
{
    struct tf_bytes value;
    struct tf_coap_block block;
    return call->request.multicast &&
           tf_coap_option_find(event->message.options, TF_COAP_BLOCK2, &value) &&
           tf_coap_block_read(value, &block) && block.more;
}

/*
 * RFC 7641 4.2.3: a server ends an observation with 4.06 when the resource has got another format.
 * Who has not asked for one takes any, and so observes it anew.
 */
static bool observe_anew(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call,
                         const struct tf_cli_coap_answer *answer)
{
    bool chosen = false;
    for (size_t i = 0; i < call->target->option_count; i++) {
        chosen = chosen || call->target->options[i].number == TF_COAP_ACCEPT;
    }
    if (!call->request.observe || !answer->last || answer->code != TF_COAP_NOT_ACCEPTABLE ||
        chosen || call->answered - call->registered < 2 || run->base.state != TF_CLI_RUNNING) {
        return false;
    }
    call->registered = --call->answered;
    return tf_cli_coap_remote_call(call->remote, call) == TF_OK;
}

void tf_cli_coap_call_take(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call,
                           const struct tf_coap_event *event)
{
    bool last = event->last;
    if (cut_short(call, event)) {
        struct tf_datagram_path member;
        memcpy(&member, event->path, sizeof(member));
        tf_cli_coap_remote_fetch(call->remote, call, &member);
        return;
    }
    struct tf_cli_coap_answer *answer = answer_of(call, event);
    if (!answer || collect(answer, event)) {
        tf_cli_coap_remote_cancel(call->remote, call, true);
        tf_cli_coap_call_fail(run, call, TF_EXIT_INTERNAL, "no memory for the answer");
        return;
    }
    run->base.touched = true;
    if (event->more) {
        return;
    }
    answer->wall_us = tf_clock_wall();
    call->answered++;
    tf_list_remove(&answer->node);
    if (last) {
        tf_cli_coap_call_close(call);
    }
    tf_cli_run_hide_progress(&run->base);
    if (observe_anew(run, call, answer)) {
        answer_free(answer);
        return;
    }
    if (run->task.answer && run->base.state == TF_CLI_RUNNING) {
        run->task.answer(run->task.ctx, call, answer);
    }
    answer_free(answer);
    if (last) {
        call_free(call);
    }
}

enum tf_err tf_cli_coap_run_call(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call)
{
    struct tf_cli_coap_remote *remote = tf_cli_coap_remote_get(run, call->target);
    if (!remote) {
        return TF_NO_MEMORY;
    }
    call->begun = run->base.now = tf_clock_now();
    return tf_cli_coap_remote_call(remote, call);
}

void tf_cli_coap_run_cancel(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call)
{
    if (call->open) {
        tf_cli_coap_remote_cancel(call->remote, call, true);
        tf_cli_coap_call_close(call);
        call_free(call);
        run->base.touched = true;
    }
}

size_t tf_cli_coap_run_open(const struct tf_cli_coap_run *run)
{
    size_t count = 0;
    struct tf_list_node *remote = tf_list_first(&run->base.peers);
    for (; remote; remote = tf_list_next(&run->base.peers, remote)) {
        struct tf_list *calls = tf_cli_coap_remote_calls(remote_of(remote));
        struct tf_list_node *node = tf_list_first(calls);
        for (; node; node = tf_list_next(calls, node)) {
            count++;
        }
    }
    return count;
}

/* ---- the run ---- */

/* The last first, so that none which waits for another is sent because that one has ended. */
static void cancel_all(struct tf_cli_coap_remote *remote)
{
    struct tf_list *calls = tf_cli_coap_remote_calls(remote);
    struct tf_list_node *node = tf_list_last(calls);
    for (; node; node = tf_list_prev(calls, node)) {
        tf_cli_coap_remote_cancel(remote, tf_container_of(node, struct tf_cli_coap_call, node),
                                  true);
    }
}

static void on_finishing(struct tf_cli_run *base)
{
    struct tf_list_node *remote = tf_list_first(&base->peers), *node;
    for (; remote; remote = tf_list_next(&base->peers, remote)) {
        struct tf_list *calls = tf_cli_coap_remote_calls(remote_of(remote));
        cancel_all(remote_of(remote));
        while ((node = tf_list_first(calls))) {
            struct tf_cli_coap_call *call = tf_container_of(node, struct tf_cli_coap_call, node);
            tf_cli_coap_call_close(call);
            call_free(call);
        }
    }
}

/* The time of the whole is over: what has not been answered fails. */
static void on_expired(struct tf_cli_run *base)
{
    struct tf_cli_coap_run *run = run_of(base);
    double seconds = (double)base->timeout_us / TF_SECOND;
    struct tf_list_node *remote = tf_list_first(&base->peers), *node;
    for (; remote; remote = tf_list_next(&base->peers, remote)) {
        struct tf_list *calls = tf_cli_coap_remote_calls(remote_of(remote));
        cancel_all(remote_of(remote));
        while ((node = tf_list_first(calls))) {
            struct tf_cli_coap_call *call = tf_container_of(node, struct tf_cli_coap_call, node);
            if (call->request.multicast && call->answered) {
                tf_cli_coap_call_close(call);
                call_free(call);
                continue;
            }
            tf_cli_coap_call_fail(run, call, TF_EXIT_TIMEOUT, "%s within %.3g s",
                                  call->answered ? "nothing more" : "no answer", seconds);
        }
    }
    if (run->hold) {
        tf_cli_run_say(base, "the time is over: %.3g s", seconds);
    }
    tf_cli_run_finish(base, run->hold ? TF_EXIT_TIMEOUT : TF_EXIT_DONE);
}

static void on_written(struct tf_cli_run *base)
{
    struct tf_cli_coap_run *run = run_of(base);
    if (base->state == TF_CLI_RUNNING && !run->hold && tf_cli_coap_run_open(run) == 0) {
        tf_cli_run_finish(base, TF_EXIT_DONE);
    }
    show_progress(run);
}

enum tf_err tf_cli_coap_run_init(struct tf_cli_coap_run *run)
{
    static const struct tf_cli_run_hooks hooks = {
        .finishing = on_finishing, .expired = on_expired, .written = on_written};
    const struct tf_cli_task task = {.timer = run->task.timer,
                                     .input = run->task.input,
                                     .turn = run->task.turn,
                                     .ctx = run->task.ctx};
    enum tf_err err = tf_cli_run_init(&run->base, run->base.command, &task, run->base.timeout_us);
    run->base.hooks = &hooks;
    run->follow = tf_terminal_colour(STDERR) && !run->trace;
    return err;
}

void tf_cli_coap_run_release(struct tf_cli_coap_run *run)
{
    struct tf_list_node *node;
    while (run->base.loop && (node = tf_list_first(&run->base.peers))) {
        tf_cli_coap_remote_free(remote_of(node));
    }
    tf_cli_run_release(&run->base);
}
