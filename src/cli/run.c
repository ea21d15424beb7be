/*
 * The turns of a command.
 */
#include "cli/run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "port/clock.h"
#include "port/signal.h"

#define FINISH_MAX (2 * TF_SECOND)
#define STDIN 0

void tf_cli_say(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "trefoil %s: ", command);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

enum tf_err tf_cli_run_init(struct tf_cli_run *run, const char *command,
                            const struct tf_cli_task *task, tf_time timeout_us)
{
    int fd;
    *run = (struct tf_cli_run){.command = command,
                               .now = tf_clock_now(),
                               .timeout_us = timeout_us,
                               .timer_at = TF_TIME_NEVER,
                               .finish_at = TF_TIME_NEVER};
    if (task) {
        run->task = *task;
    }
    run->begun = run->now;
    tf_list_init(&run->clients);
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

void tf_cli_run_release(struct tf_cli_run *run)
{
    if (!run->loop) {
        return;
    }
    tf_loop_remove(run->loop, &run->input);
    tf_loop_remove(run->loop, &run->signals);
    tf_signal_close(run->signals.fd);
    tf_loop_free(run->loop);
    run->loop = NULL;
}

void tf_cli_run_finish(struct tf_cli_run *run, int code)
{
    if (run->code == TF_EXIT_DONE) {
        run->code = code;
    }
    if (run->state == TF_CLI_RUNNING) {
        run->state = TF_CLI_FINISHING;
        run->finish_at = tf_time_add(tf_clock_now(), FINISH_MAX);
        run->timer_at = TF_TIME_NEVER;
        run->touched = true;
        tf_cli_run_want_input(run, false);
    }
}

void tf_cli_run_fail(struct tf_cli_run *run, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "trefoil %s: ", run->command);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    tf_cli_run_finish(run, code);
}

void tf_cli_run_timer(struct tf_cli_run *run, tf_time at)
{
    run->timer_at = at;
}

void tf_cli_run_want_input(struct tf_cli_run *run, bool wanted)
{
    wanted = wanted && run->state == TF_CLI_RUNNING;
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

/* Closes all connections as they are. */
static void abort_all(struct tf_cli_run *run)
{
    struct tf_list_node *node = tf_list_first(&run->clients);
    for (; node; node = tf_list_next(&run->clients, node)) {
        tf_cli_client_abort(tf_cli_client_of_node(node));
    }
    run->state = TF_CLI_OVER;
}

static void on_signal(struct tf_cli_run *run)
{
    enum tf_signal signal;
    if (tf_signal_read(run->signals.fd, &signal)) {
        return;
    }
    if (run->state == TF_CLI_RUNNING) {
        tf_cli_run_finish(run, TF_EXIT_DONE);
    } else {
        abort_all(run); /* whoever asks twice does not want to wait */
    }
}

static tf_time next_deadline(const struct tf_cli_run *run)
{
    tf_time at = TF_MIN(run->timer_at, run->finish_at);
    if (run->timeout_us && run->state == TF_CLI_RUNNING) {
        at = TF_MIN(at, tf_time_add(run->begun, run->timeout_us));
    }
    struct tf_list_node *node = tf_list_first(&run->clients);
    for (; node; node = tf_list_next(&run->clients, node)) {
        tf_time deadline = tf_cli_client_deadline(tf_cli_client_of_node(node));
        at = TF_MIN(at, deadline);
    }
    return run->touched ? run->now : at;
}

static void take_events(struct tf_cli_run *run)
{
    struct tf_loop_event event;
    while (tf_loop_next(run->loop, &event)) {
        if (event.source == &run->signals) {
            on_signal(run);
        } else if (event.source == &run->input) {
            if (run->input_wanted && run->task.input) {
                run->task.input(run->task.ctx);
            }
        } else {
            tf_cli_client_io(tf_cli_client_of_source(event.source), event.ready);
        }
    }
    if (run->input_always && run->input_wanted && run->task.input) {
        run->touched = true;
        run->task.input(run->task.ctx);
    }
}

static void look_at_time(struct tf_cli_run *run)
{
    run->now = tf_clock_now();
    struct tf_list_node *node = tf_list_first(&run->clients);
    for (; node; node = tf_list_next(&run->clients, node)) {
        tf_cli_client_tick(tf_cli_client_of_node(node));
    }
    if (run->state == TF_CLI_RUNNING && run->now >= run->timer_at) {
        run->timer_at = TF_TIME_NEVER;
        run->touched = true;
        if (run->task.timer) {
            run->task.timer(run->task.ctx);
        }
    }
    if (run->state == TF_CLI_RUNNING && run->timeout_us &&
        run->now - run->begun >= run->timeout_us) {
        tf_cli_run_fail(run, TF_EXIT_TIMEOUT, "the time is over: %.3g s",
                        (double)run->timeout_us / TF_SECOND);
    }
}

/* Hands over the output. A reader that has gone away has what it wanted. */
static void flush_output(struct tf_cli_run *run)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return;
    }
    if (errno != EPIPE) {
        tf_cli_run_fail(run, TF_EXIT_INTERNAL, "cannot write the output");
    }
    abort_all(run);
}

static void write_all(struct tf_cli_run *run)
{
    bool ended = true;
    struct tf_list_node *node = tf_list_first(&run->clients);
    for (; node; node = tf_list_next(&run->clients, node)) {
        tf_cli_client_turn(tf_cli_client_of_node(node));
    }
    flush_output(run);
    node = tf_list_first(&run->clients);
    for (; node; node = tf_list_next(&run->clients, node)) {
        struct tf_cli_client *client = tf_cli_client_of_node(node);
        tf_cli_client_flush(client);
        ended = ended && tf_cli_client_ended(client);
    }
    if (run->state == TF_CLI_FINISHING && (ended || run->now >= run->finish_at)) {
        abort_all(run);
    }
}

int tf_cli_run_loop(struct tf_cli_run *run)
{
    run->touched = true;
    while (run->state != TF_CLI_OVER) {
        tf_time deadline = next_deadline(run);
        run->touched = false;
        (void)tf_loop_wait(run->loop, deadline, run->now);
        run->now = tf_clock_now();
        take_events(run);
        look_at_time(run);
        write_all(run);
    }
    return run->code;
}
