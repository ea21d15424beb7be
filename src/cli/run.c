/*
 * The turns of a command.
 */
#include "cli/run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "port/clock.h"
#include "port/signal.h"

#define FINISH_MAX (2 * TF_SECOND)
#define STDIN 0

/* ---- what is said ---- */

__attribute__((format(printf, 2, 0))) static void say(const char *command, const char *format,
                                                      va_list arguments)
{
    fprintf(stderr, "trefoil %s: ", command);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void tf_cli_tame(char *words)
{
    for (char *at = words; *at; at++) {
        *at = (unsigned char)*at < ' ' || *at == 0x7F ? '?' : *at;
    }
}

void tf_cli_say(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(command, format, arguments);
    va_end(arguments);
}

void tf_cli_run_hide_progress(struct tf_cli_run *run)
{
    if (run->progress) {
        fputs("\r\033[K", stderr);
        run->progress = false;
    }
}

void tf_cli_run_say(struct tf_cli_run *run, const char *format, ...)
{
    va_list arguments;
    tf_cli_run_hide_progress(run);
    va_start(arguments, format);
    say(run->command, format, arguments);
    va_end(arguments);
}

void tf_cli_run_fail(struct tf_cli_run *run, int code, const char *format, ...)
{
    va_list arguments;
    tf_cli_run_hide_progress(run);
    va_start(arguments, format);
    say(run->command, format, arguments);
    va_end(arguments);
    tf_cli_run_finish(run, code);
}

/* ---- life ---- */

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
    tf_list_init(&run->peers);
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
    tf_cli_run_hide_progress(run);
    tf_loop_remove(run->loop, &run->input);
    tf_loop_remove(run->loop, &run->signals);
    tf_signal_close(run->signals.fd);
    tf_loop_free(run->loop);
    run->loop = NULL;
}

void tf_cli_run_code(struct tf_cli_run *run, int code)
{
    if (run->code == TF_EXIT_DONE) {
        run->code = code;
    }
}

void tf_cli_run_finish(struct tf_cli_run *run, int code)
{
    tf_cli_run_code(run, code);
    if (run->state != TF_CLI_RUNNING) {
        return;
    }
    run->state = TF_CLI_FINISHING;
    run->finish_at = tf_time_add(tf_clock_now(), FINISH_MAX);
    run->timer_at = TF_TIME_NEVER;
    run->touched = true;
    tf_cli_run_want_input(run, false);
    if (run->hooks && run->hooks->finishing) {
        run->hooks->finishing(run);
    }
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

/* The first peer from a place in the list on; NULL: there are no more. */
static struct tf_cli_peer *peer_of(struct tf_list_node *node)
{
    return node ? tf_container_of(node, struct tf_cli_peer, node) : NULL;
}

static struct tf_cli_peer *first_peer(const struct tf_cli_run *run)
{
    return peer_of(tf_list_first(&run->peers));
}

static struct tf_cli_peer *next_peer(const struct tf_cli_run *run, struct tf_cli_peer *peer)
{
    return peer_of(tf_list_next(&run->peers, &peer->node));
}

/* Closes all connections as they are. */
static void abort_all(struct tf_cli_run *run)
{
    struct tf_cli_peer *peer = first_peer(run);
    for (; peer; peer = next_peer(run, peer)) {
        if (peer->ops->abort) {
            peer->ops->abort(peer);
        }
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
    struct tf_cli_peer *peer = first_peer(run);
    for (; peer; peer = next_peer(run, peer)) {
        tf_time deadline = peer->ops->deadline(peer);
        at = TF_MIN(at, deadline);
    }
    return run->touched ? run->now : at;
}

static void take_input(struct tf_cli_run *run)
{
    if (run->input_wanted && run->task.input) {
        run->task.input(run->task.ctx);
    }
}

static void take_events(struct tf_cli_run *run)
{
    struct tf_loop_event event;
    while (tf_loop_next(run->loop, &event)) {
        if (event.source == &run->signals) {
            on_signal(run);
        } else if (event.source == &run->input) {
            take_input(run);
        } else {
            struct tf_cli_peer *peer = tf_container_of(event.source, struct tf_cli_peer, source);
            peer->ops->io(peer, event.ready);
        }
    }
    if (run->input_always && run->input_wanted) {
        run->touched = true;
        take_input(run);
    }
}

static void expire(struct tf_cli_run *run)
{
    if (run->hooks && run->hooks->expired) {
        run->hooks->expired(run);
        return;
    }
    tf_cli_run_fail(run, TF_EXIT_TIMEOUT, "the time is over: %.3g s",
                    (double)run->timeout_us / TF_SECOND);
}

static void look_at_time(struct tf_cli_run *run)
{
    run->now = tf_clock_now();
    struct tf_cli_peer *peer = first_peer(run);
    for (; peer; peer = next_peer(run, peer)) {
        peer->ops->tick(peer);
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
        expire(run);
    }
}

/* Hands over the output. A reader that has gone away has what it wanted. */
static void flush_output(struct tf_cli_run *run)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return;
    }
    if (errno != EPIPE) {
        tf_cli_run_fail(run, TF_EXIT_INTERNAL, "cannot write the output: %s", strerror(errno));
    }
    abort_all(run);
}

static void write_all(struct tf_cli_run *run)
{
    bool ended = true;
    struct tf_cli_peer *peer = first_peer(run);
    if (run->task.turn && run->state == TF_CLI_RUNNING) {
        run->task.turn(run->task.ctx);
    }
    for (; peer; peer = next_peer(run, peer)) {
        if (peer->ops->turn) {
            peer->ops->turn(peer);
        }
    }
    flush_output(run);
    for (peer = first_peer(run); peer; peer = next_peer(run, peer)) {
        peer->ops->flush(peer);
        ended = peer->ops->ended(peer) && ended;
    }
    if (run->hooks && run->hooks->written) {
        run->hooks->written(run);
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
