/*
 * A run (cli/run.h) that speaks CoAP: its peers are remotes (cli/coap_remote.h), each with the
 * calls to it. It finishes by itself when no call is open, and is over when the servers that are
 * observed have been told.
 *
 * A call that fails sets the exit code and leaves the others alone. It must not know what a command
 * is about.
 */
#ifndef TF_CLI_COAP_RUN_H
#define TF_CLI_COAP_RUN_H

#include <trefoil/coap_endpoint.h>

#include "base/list.h"
#include "cli/coap_request.h"
#include "cli/run.h"
#include "port/datagram_path.h"
#include "port/socket.h"

struct tf_cli_coap_remote;

/* A whole answer, its body put together. */
struct tf_cli_coap_answer {
    struct tf_list_node node; /* of its call's, while it comes */
    struct tf_datagram_path path;
    char from[TF_SOCKET_TEXT]; /* of a group's answer; else empty */
    struct tf_bytes options;   /* of its first message */
    struct tf_bytes body;
    uint8_t *memory, *body_memory; /* malloc */
    size_t body_size;
    uint64_t wall_us; /* when it was complete */
    uint32_t round_trip_us;
    uint32_t sequence; /* with `observe` */
    uint32_t total;    /* as announced; 0: not */
    uint32_t messages; /* that it came in */
    uint8_t retransmissions;
    uint8_t code;
    bool observe; /* the call is an observation that goes on, or was one */
    bool last;    /* the call has ended */
};

/* One request; lies in the command's memory until the run is released. */
struct tf_cli_coap_call {
    /* Filled by the command, the rest zeroed. */
    const struct tf_cli_coap_target *target;
    struct tf_coap_request request; /* options, body, trace, user: the run's */
    struct tf_bytes body;
    bool ping;
    bool silent; /* that no answer comes is no failure */
    bool heap;   /* at the start of what malloc gave, which the run frees when the call ends */
    /* The run's. */
    struct tf_list_node node; /* of its remote's, while it is open */
    struct tf_cli_coap_remote *remote;
    struct tf_list answers; /* that have begun */
    uint64_t handle;
    tf_time begun;
    uint32_t answered;   /* how many answers are complete */
    uint32_t registered; /* how many of them were when it was observed anew */
    bool open, called, cancelled;
    bool fetched; /* asks a member of a group for the rest */
};

/* A command's own part. What is NULL does not happen; none is called after FINISHING. */
struct tf_cli_coap_task {
    void (*answer)(void *ctx, struct tf_cli_coap_call *call,
                   const struct tf_cli_coap_answer *answer);
    void (*pong)(void *ctx, struct tf_cli_coap_call *call, uint32_t round_trip_us);
    void (*failed)(void *ctx, struct tf_cli_coap_call *call); /* why was said */
    void (*timer)(void *ctx);                                 /* it is off by then */
    void (*input)(void *ctx); /* standard input can be read without waiting */
    void (*turn)(void *ctx);  /* each turn, before output is written */
    void *ctx;
};

struct tf_cli_coap_run {
    struct tf_cli_run base; /* `command` and `timeout_us` are filled by the command, too */
    /* Filled by the command before it is started. */
    struct tf_cli_coap_task task;
    struct tf_coap_transmission transmission;
    uint16_t nstart;
    struct tf_socket_address from; /* groups are asked from there; zeroed: as the system does */
    bool trace;                    /* show messages */
    bool hold;                     /* go on though no call is open */
    /* The run's. */
    tf_time progress_at;
    bool follow; /* on a terminal, where it is shown how far bodies have got */
};

/* Starts one. As tf_cli_run_init. */
TF_MUST_USE enum tf_err tf_cli_coap_run_init(struct tf_cli_coap_run *run);

/* Ends it, and all its calls. */
void tf_cli_coap_run_release(struct tf_cli_coap_run *run);

/*
 * Begins a call: to the remote of its target, which is resolved now if it is a new one. What goes
 * wrong is said, and fails the call. TF_NO_MEMORY, TF_LIMIT: not now: wait for others to end.
 */
TF_MUST_USE enum tf_err tf_cli_coap_run_call(struct tf_cli_coap_run *run,
                                             struct tf_cli_coap_call *call);

/* Ends a call, which is not reported. A server that is observed is told. */
void tf_cli_coap_run_cancel(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call);

/* How many calls are open. */
size_t tf_cli_coap_run_open(const struct tf_cli_coap_run *run);

/* ---- for cli/coap_remote.c ---- */

/* Ends a call: takes it out of its remote and frees what it collected. */
void tf_cli_coap_call_close(struct tf_cli_coap_call *call);

/* Fails a call: a sentence about it is said, `format` tells how; the code is remembered. */
void tf_cli_coap_call_fail(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call, int code,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A message of the answer to a call. */
void tf_cli_coap_call_take(struct tf_cli_coap_run *run, struct tf_cli_coap_call *call,
                           const struct tf_coap_event *event);

#endif
