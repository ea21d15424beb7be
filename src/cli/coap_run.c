/*
 * The turns of a command that speaks CoAP, and its calls.
 */
#include "cli/coap_run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/coap_remote.h"
#include "port/clock.h"
#include "port/datagram.h"
#include "port/signal.h"
#include "port/terminal.h"

#define FINISH_MAX (2 * TF_SECOND)
#define STDIN 0
#define STDERR 2
#define PROGRESS_FROM 4096u /* bytes of a body that are worth a word */
#define PROGRESS_AFTER (500 * TF_MILLISECOND)
#define PROGRESS_EVERY (100 * TF_MILLISECOND)
#define ANSWER_FIRST 2048u /* bytes to begin with */

/* ---- what is said ---- */

static void hide_progress(struct tf_cli_coap_run *run)
{
    if (run->progress_shown) {
        fputs("\r\033[K", stderr);
        run->progress_shown = false;
    }
}

void tf_cli_coap_run_say(struct tf_cli_coap_run *run, const char *format, ...)
{
    va_list arguments;
    hide_progress(run);
    fprintf(stderr, "trefoil %s: ", run->command);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static void show_transfer(struct tf_cli_coap_run *run, const struct tf_cli_coap_call *call,
                          const char *what, uint64_t done, uint64_t total)
{
    tf_time span = run->now - call->begun;
    if (span < PROGRESS_AFTER || run->now < run->progress_at) {
        return;
    }
    run->progress_at = tf_time_add(run->now, PROGRESS_EVERY);
    hide_progress(run);
    fprintf(stderr, "%s %.1f KiB", what, (double)done / 1024);
    if (total) {
        fprintf(stderr, " of %.1f, %.0f %%", (double)total / 1024,
                100.0 * (double)done / (double)total);
    }
    fprintf(stderr, ", %.1f KiB/s", (double)done * TF_SECOND / 1024 / (double)span);
    run->progress_shown = true;
}

/* Of the first body that is long and under way. */
static void show_progress(struct tf_cli_coap_run *run)
{
    struct tf_list_node *remote = tf_list_first(&run->remotes);
    for (; remote && run->progress; remote = tf_list_next(&run->remotes, remote)) {
        struct tf_cli_coap_remote *of = tf_cli_coap_remote_of_node(remote);
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

void tf_cli_coap_run_code(struct tf_cli_coap_run *run, int code)
{
    if (run->code == TF_EXIT_DONE) {
        run->code = code;
    }
}

void tf_cli_coap_call_fail(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call, int code,
                           const char *format, ...)
{
    bool silent = call->silent && code == TF_EXIT_TIMEOUT;
    run->touched = true;
    if (!silent) {
        va_list arguments;
        hide_progress(run);
        fprintf(stderr, "trefoil %s: %s: ", run->command, call->target->text);
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fputc('\n', stderr);
        tf_cli_coap_run_code(run, code);
    }
    tf_cli_coap_call_close(call);
    if (run->task.failed && run->state == TF_CLI_COAP_RUNNING && !call->fetched) {
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
        chosen || call->answered - call->registered < 2 || run->state != TF_CLI_COAP_RUNNING) {
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
    run->touched = true;
    if (event->more) {
        return;
    }
    answer->wall_us = tf_clock_wall();
    call->answered++;
    tf_list_remove(&answer->node);
    if (last) {
        tf_cli_coap_call_close(call);
    }
    hide_progress(run);
    if (observe_anew(run, call, answer)) {
        answer_free(answer);
        return;
    }
    if (run->task.answer && run->state == TF_CLI_COAP_RUNNING) {
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
    call->begun = run->now = tf_clock_now();
    return tf_cli_coap_remote_call(remote, call);
}

void tf_cli_coap_run_cancel(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call)
{
    if (call->open) {
        tf_cli_coap_remote_cancel(call->remote, call, true);
        tf_cli_coap_call_close(call);
        call_free(call);
        run->touched = true;
    }
}

size_t tf_cli_coap_run_open(const struct tf_cli_coap_run *run)
{
    size_t count = 0;
    struct tf_list_node *remote = tf_list_first(&run->remotes);
    for (; remote; remote = tf_list_next(&run->remotes, remote)) {
        struct tf_list *calls = tf_cli_coap_remote_calls(tf_cli_coap_remote_of_node(remote));
        struct tf_list_node *node = tf_list_first(calls);
        for (; node; node = tf_list_next(calls, node)) {
            count++;
        }
    }
    return count;
}

/* ---- life ---- */

enum tf_err tf_cli_coap_run_init(struct tf_cli_coap_run *run)
{
    int fd;
    run->now = run->begun = tf_clock_now();
    run->timer_at = run->finish_at = TF_TIME_NEVER;
    run->progress = tf_terminal_colour(STDERR) && !run->trace;
    tf_list_init(&run->remotes);
    enum tf_err err = tf_loop_new(&run->loop);
    if (err) {
        return err;
    }
    err = tf_signal_open(&fd);
    if (!err) {
        err = tf_loop_add(run->loop, &run->signals, fd, TF_LOOP_READ);
        if (err) {
            tf_signal_close(fd);
        }
    }
    if (err) {
        tf_loop_free(run->loop);
        run->loop = NULL;
    }
    return err;
}

void tf_cli_coap_run_release(struct tf_cli_coap_run *run)
{
    struct tf_list_node *node;
    if (!run->loop) {
        return;
    }
    hide_progress(run);
    while ((node = tf_list_first(&run->remotes))) {
        tf_cli_coap_remote_free(tf_cli_coap_remote_of_node(node));
    }
    tf_loop_remove(run->loop, &run->input);
    tf_loop_remove(run->loop, &run->signals);
    tf_signal_close(run->signals.fd);
    tf_loop_free(run->loop);
    run->loop = NULL;
}

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

void tf_cli_coap_run_finish(struct tf_cli_coap_run *run, int code)
{
    tf_cli_coap_run_code(run, code);
    if (run->state != TF_CLI_COAP_RUNNING) {
        return;
    }
    run->state = TF_CLI_COAP_FINISHING;
    run->finish_at = tf_time_add(tf_clock_now(), FINISH_MAX);
    run->touched = true;
    tf_cli_coap_run_want_input(run, false);
    struct tf_list_node *remote = tf_list_first(&run->remotes), *node;
    for (; remote; remote = tf_list_next(&run->remotes, remote)) {
        struct tf_list *calls = tf_cli_coap_remote_calls(tf_cli_coap_remote_of_node(remote));
        cancel_all(tf_cli_coap_remote_of_node(remote));
        while ((node = tf_list_first(calls))) {
            struct tf_cli_coap_call *call = tf_container_of(node, struct tf_cli_coap_call, node);
            tf_cli_coap_call_close(call);
            call_free(call);
        }
    }
}

void tf_cli_coap_run_timer(struct tf_cli_coap_run *run, tf_time at)
{
    run->timer_at = at;
}

void tf_cli_coap_run_want_input(struct tf_cli_coap_run *run, bool wanted)
{
    wanted = wanted && run->state == TF_CLI_COAP_RUNNING;
    if (run->input_wanted == wanted) {
        return;
    }
    run->input_wanted = wanted;
    if (run->input_always) {
        run->touched = run->touched || wanted;
        return;
    }
    if (!wanted) { /* removed, because the end of a pipe is reported whatever is watched */
        tf_loop_remove(run->loop, &run->input);
        return;
    }
    run->input_always = tf_loop_add(run->loop, &run->input, STDIN, TF_LOOP_READ) != TF_OK;
    run->touched = run->touched || run->input_always;
}

/* ---- a turn ---- */

static void on_signal(struct tf_cli_coap_run *run)
{
    enum tf_signal signal;
    if (tf_signal_read(run->signals.fd, &signal)) {
        return;
    }
    if (run->state == TF_CLI_COAP_RUNNING) {
        tf_cli_coap_run_finish(run, TF_EXIT_DONE);
    } else {
        run->state = TF_CLI_COAP_OVER; /* whoever asks twice does not want to wait */
    }
}

static tf_time next_deadline(const struct tf_cli_coap_run *run)
{
    tf_time at = TF_MIN(run->timer_at, run->finish_at);
    if (run->timeout_us && run->state == TF_CLI_COAP_RUNNING) {
        at = TF_MIN(at, tf_time_add(run->begun, run->timeout_us));
    }
    struct tf_list_node *node = tf_list_first(&run->remotes);
    for (; node; node = tf_list_next(&run->remotes, node)) {
        tf_time deadline = tf_cli_coap_remote_deadline(tf_cli_coap_remote_of_node(node));
        at = TF_MIN(at, deadline);
    }
    return run->touched ? run->now : at;
}

static void take_input(struct tf_cli_coap_run *run)
{
    if (run->input_wanted && run->task.input) {
        run->task.input(run->task.ctx);
    }
}

static void take_events(struct tf_cli_coap_run *run)
{
    struct tf_loop_event event;
    run->now = tf_clock_now();
    while (tf_loop_next(run->loop, &event)) {
        if (event.source == &run->signals) {
            on_signal(run);
        } else if (event.source == &run->input) {
            take_input(run);
        } else {
            tf_cli_coap_remote_io(tf_cli_coap_remote_of_source(event.source));
        }
    }
    if (run->input_always && run->input_wanted) {
        run->touched = true;
        take_input(run);
    }
}

/* The time of the whole is over: what has not been answered fails. */
static void time_over(struct tf_cli_coap_run *run)
{
    struct tf_list_node *remote = tf_list_first(&run->remotes), *node;
    for (; remote; remote = tf_list_next(&run->remotes, remote)) {
        struct tf_list *calls = tf_cli_coap_remote_calls(tf_cli_coap_remote_of_node(remote));
        cancel_all(tf_cli_coap_remote_of_node(remote));
        while ((node = tf_list_first(calls))) {
            struct tf_cli_coap_call *call = tf_container_of(node, struct tf_cli_coap_call, node);
            if (call->request.multicast && call->answered) {
                tf_cli_coap_call_close(call);
                call_free(call);
                continue;
            }
            tf_cli_coap_call_fail(run, call, TF_EXIT_TIMEOUT, "%s within %.3g s",
                                  call->answered ? "nothing more" : "no answer",
                                  (double)run->timeout_us / TF_SECOND);
        }
    }
    if (run->hold) {
        tf_cli_coap_run_say(run, "the time is over: %.3g s", (double)run->timeout_us / TF_SECOND);
    }
    tf_cli_coap_run_finish(run, run->hold ? TF_EXIT_TIMEOUT : TF_EXIT_DONE);
}

static void look_at_time(struct tf_cli_coap_run *run)
{
    run->now = tf_clock_now();
    struct tf_list_node *node = tf_list_first(&run->remotes);
    for (; node; node = tf_list_next(&run->remotes, node)) {
        tf_cli_coap_remote_tick(tf_cli_coap_remote_of_node(node));
    }
    if (run->state == TF_CLI_COAP_RUNNING && run->now >= run->timer_at) {
        run->timer_at = TF_TIME_NEVER;
        run->touched = true;
        if (run->task.timer) {
            run->task.timer(run->task.ctx);
        }
    }
    if (run->state == TF_CLI_COAP_RUNNING && run->timeout_us &&
        run->now - run->begun >= run->timeout_us) {
        time_over(run);
    }
}

/* Hands over the output. A reader that has gone away has what it wanted. */
static void flush_output(struct tf_cli_coap_run *run)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return;
    }
    if (errno != EPIPE) {
        tf_cli_coap_run_say(run, "cannot write the output: %s", strerror(errno));
        tf_cli_coap_run_code(run, TF_EXIT_INTERNAL);
    }
    run->state = TF_CLI_COAP_OVER;
}

static void write_all(struct tf_cli_coap_run *run)
{
    bool quiet = true;
    if (run->task.turn && run->state == TF_CLI_COAP_RUNNING) {
        run->task.turn(run->task.ctx);
    }
    flush_output(run);
    struct tf_list_node *node = tf_list_first(&run->remotes);
    for (; node; node = tf_list_next(&run->remotes, node)) {
        struct tf_cli_coap_remote *remote = tf_cli_coap_remote_of_node(node);
        tf_cli_coap_remote_flush(remote);
        quiet = quiet && tf_cli_coap_remote_quiet(remote);
    }
    if (run->state == TF_CLI_COAP_RUNNING && !run->hold && tf_cli_coap_run_open(run) == 0) {
        tf_cli_coap_run_finish(run, TF_EXIT_DONE);
    }
    if (run->state == TF_CLI_COAP_FINISHING && (quiet || run->now >= run->finish_at)) {
        run->state = TF_CLI_COAP_OVER;
    }
    show_progress(run);
}

int tf_cli_coap_run_loop(struct tf_cli_coap_run *run)
{
    run->touched = true;
    while (run->state != TF_CLI_COAP_OVER) {
        tf_time deadline = next_deadline(run);
        run->touched = false;
        tf_loop_wait(run->loop, deadline, run->now);
        take_events(run);
        look_at_time(run);
        write_all(run);
    }
    return run->code;
}
