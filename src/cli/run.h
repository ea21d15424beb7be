/*
 * What a command that talks to brokers lives in: one loop, the signals that end it, its time-out, a
 * timer, the standard input, and its connections (cli/client.h).
 *
 * Everything happens in turns: what is ready is taken, then each connection writes what there is.
 * Standard output is flushed before that, so an acknowledgement never leaves before the data that
 * it is for has been handed over.
 *
 *   RUNNING --tf_cli_run_finish--> FINISHING --all connections have ended, or 2 s--> OVER
 *
 * It must not know what a command is about.
 */
#ifndef TF_CLI_RUN_H
#define TF_CLI_RUN_H

#include <stdbool.h>

#include <trefoil/err.h>
#include <trefoil/time.h>

#include "base/list.h"
#include "port/loop.h"

enum tf_cli_run_state { TF_CLI_RUNNING, TF_CLI_FINISHING, TF_CLI_OVER };

/* A command's own part. What is NULL does not happen. */
struct tf_cli_task {
    void (*timer)(void *ctx); /* the timer has come; it is off by then */
    void (*input)(void *ctx); /* standard input can be read without waiting */
    void *ctx;
};

struct tf_cli_run {
    const char *command; /* for what is said */
    struct tf_cli_task task;
    struct tf_loop *loop;
    struct tf_loop_source signals;
    struct tf_loop_source input;
    struct tf_list clients; /* struct tf_cli_client */
    enum tf_cli_run_state state;
    int code; /* what to exit with */
    tf_time now;
    tf_time begun;
    tf_time timeout_us; /* of the whole; 0: none */
    tf_time timer_at;
    tf_time finish_at; /* FINISHING ends at the latest */
    bool input_wanted;
    bool input_always; /* a file: always ready */
    bool touched;      /* something has been done in this turn: look again before sleeping */
};

/* Starts one. TF_NO_MEMORY, TF_LIMIT, TF_IO: the system has no loop or no descriptor for it. */
TF_MUST_USE enum tf_err tf_cli_run_init(struct tf_cli_run *run, const char *command,
                                        const struct tf_cli_task *task, tf_time timeout_us);

/* Ends it; its clients must have been freed. */
void tf_cli_run_release(struct tf_cli_run *run);

/* Runs until it is over; the exit code. */
int tf_cli_run_loop(struct tf_cli_run *run);

/*
 * Ends in good order: connections say goodbye once their output is written. The first code that is
 * not 0 stays.
 */
void tf_cli_run_finish(struct tf_cli_run *run, int code);

/* Says a sentence on stderr, with the command's name before it, and finishes. */
void tf_cli_run_fail(struct tf_cli_run *run, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the timer, TF_TIME_NEVER: off. */
void tf_cli_run_timer(struct tf_cli_run *run, tf_time at);

/* Whether standard input is to be reported. */
void tf_cli_run_want_input(struct tf_cli_run *run, bool wanted);

/* Says a sentence on stderr, with the command's name before it. */
void tf_cli_say(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
