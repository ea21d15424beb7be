/*
 * What a command that talks to others lives in: one loop, the signals that end it, its time-out, a
 * timer, the standard input, and its peers: whom it talks to, by any protocol.
 *
 * Everything happens in turns: what is ready is taken, then each peer is written what there is.
 * Standard output is flushed before that, so an acknowledgement never leaves before the data that
 * it is for has been handed over.
 *
 *   RUNNING --tf_cli_run_finish--> FINISHING --all peers have ended, or 2 s--> OVER
 *
 * It must not know what a command is about, nor any protocol.
 */
#ifndef TF_CLI_RUN_H
#define TF_CLI_RUN_H

#include <stdbool.h>

#include <trefoil/err.h>
#include <trefoil/time.h>

#include "base/list.h"
#include "port/loop.h"

enum tf_cli_run_state { TF_CLI_RUNNING, TF_CLI_FINISHING, TF_CLI_OVER };

struct tf_cli_peer;
struct tf_cli_run;

/* What a run asks of a peer: a connection, or an endpoint. What is NULL does not happen. */
struct tf_cli_peer_ops {
    void (*io)(struct tf_cli_peer *peer, unsigned ready); /* its source is ready */
    void (*tick)(struct tf_cli_peer *peer);               /* look at the time */
    void (*turn)(struct tf_cli_peer *peer);  /* do what there is to do, before output is written */
    void (*flush)(struct tf_cli_peer *peer); /* write; if the run is finishing, say goodbye */
    void (*abort)(struct tf_cli_peer *peer); /* close at once, without goodbye */
    tf_time (*deadline)(const struct tf_cli_peer *peer); /* of its next tick; TF_TIME_NEVER */
    bool (*ended)(const struct tf_cli_peer *peer);       /* nothing is left to be said */
};

/* Lies in the struct of whom it is a part of. */
struct tf_cli_peer {
    const struct tf_cli_peer_ops *ops;
    struct tf_list_node node; /* of the run's */
    struct tf_loop_source source;
};

/* A command's own part. What is NULL does not happen; none is called once the run is finishing. */
struct tf_cli_task {
    void (*timer)(void *ctx); /* the timer has come; it is off by then */
    void (*input)(void *ctx); /* standard input can be read without waiting */
    void (*turn)(void *ctx);  /* each turn, before output is written */
    void *ctx;
};

/* What a protocol adds to the runs of its peers. What is NULL does not happen. */
struct tf_cli_run_hooks {
    void (*finishing)(struct tf_cli_run *run); /* it has just begun to finish */
    void (*expired)(struct tf_cli_run *run);   /* the time is over; NULL: say so and finish */
    void (*written)(struct tf_cli_run *run);   /* each turn, when output has been written */
};

struct tf_cli_run {
    const char *command; /* for what is said */
    struct tf_cli_task task;
    const struct tf_cli_run_hooks *hooks; /* NULL: none */
    struct tf_loop *loop;
    struct tf_loop_source signals;
    struct tf_loop_source input;
    struct tf_list peers; /* struct tf_cli_peer */
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
    bool progress;     /* the terminal's line on stderr shows how far it has got */
};

/* Starts one. TF_NO_MEMORY, TF_LIMIT, TF_IO: the system has no loop or no descriptor for it. */
TF_MUST_USE enum tf_err tf_cli_run_init(struct tf_cli_run *run, const char *command,
                                        const struct tf_cli_task *task, tf_time timeout_us);

/* Ends it, if it was started; its peers must have been freed. */
void tf_cli_run_release(struct tf_cli_run *run);

/* Runs until it is over; the exit code. */
int tf_cli_run_loop(struct tf_cli_run *run);

/*
 * Ends in good order: peers say goodbye once their output is written. The first code that is not 0
 * stays.
 */
void tf_cli_run_finish(struct tf_cli_run *run, int code);

/* Remembers an exit code without ending; the first that is not 0 stays. */
void tf_cli_run_code(struct tf_cli_run *run, int code);

/* Says a sentence on stderr, with the command's name before it. */
void tf_cli_run_say(struct tf_cli_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says a sentence on stderr, with the command's name before it, and finishes. */
void tf_cli_run_fail(struct tf_cli_run *run, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the timer, TF_TIME_NEVER: off. */
void tf_cli_run_timer(struct tf_cli_run *run, tf_time at);

/* Whether standard input is to be reported. */
void tf_cli_run_want_input(struct tf_cli_run *run, bool wanted);

/* Takes what shows how far it has got off the terminal. */
void tf_cli_run_hide_progress(struct tf_cli_run *run);

/* Makes a peer's words fit to be said: they must not steer a terminal. */
void tf_cli_tame(char *words);

/* Says a sentence on stderr, with the command's name before it, where no run shows progress. */
void tf_cli_say(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
