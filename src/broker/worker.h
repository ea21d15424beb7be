/*
 * A worker: the thread of one shard, with its listeners, connections, datagram sockets and fronts.
 *
 * A turn: sleep until something is ready or due; read each ready connection once and each datagram
 * socket in batches; take the mail; run the timers; write each touched connection and socket once;
 * post the mail. Reading uses one buffer for all connections and one inbox for all datagram sockets
 * (worker_channel.c), and an idle connection costs this layer one record of 64 bytes.
 *
 *              input: read -> stream->input            output 0 left and `closing`
 *   accept --> OPEN <--------> HELD (congested) --+--------------------------> DRAINING --> gone
 *               ^|                                |  output is left               ^  (peer ended,
 *               || or lost, or moved to its       |                               |   or two
 *               || session's home: gone           +-----------> CLOSING ----------+   seconds)
 *               |+--> SLOWED (the store is)               (written, or two seconds -> gone)
 *               +-------+  a tenth of a second
 *
 * Output that waits for the store (stream_gate.h) is output that is left.
 *
 * Invariants:
 *  1. A connection is in exactly one list: `open`, `held`, or by its deadline `slowed` or `ending`.
 *  2. It has a stream unless it is DRAINING.
 *  3. What is watched follows from its state alone (`wanted` in worker_conn.c): so nothing that is
 *     not to be read is watched for input, and a level-triggered loop never spins.
 *  4. A stream is in `gated` while some of its output waits for the store, and only then.
 *  5. shared->connections counts those of all workers and those in the mail.
 *
 * A worker knows no protocol: fronts are given to it. Other threads reach it by mail, by `requests`
 * and by its loop's wake-up; they read `stats` and `state`.
 */
#ifndef TF_BROKER_WORKER_H
#define TF_BROKER_WORKER_H

#include "broker/config.h"
#include "broker/front.h"
#include "broker/log.h"
#include "broker/queues.h"
#include "port/loop.h"

#include <stdatomic.h>

struct tf_datagram_inbox;

#define TF_WORKER_FRONTS_MAX 4u
#define TF_WORKER_READ_SIZE                                                                       \
    (64u * 1024)                         /* of the buffer: what is read of a connection in a turn \
                                          */
#define TF_WORKER_LINGER (2 * TF_SECOND) /* for the last output, and for the peer's end */

/* What other threads ask of a worker, as bits; then they wake its loop. */
enum tf_worker_request {
    TF_WORKER_DRAIN = 1,  /* listen no more, tell every peer, end every connection */
    TF_WORKER_STOP = 2,   /* leave tf_worker_run at the end of the turn */
    TF_WORKER_RELOAD = 4, /* `next_config` is set */
    TF_WORKER_BREAK = 8   /* end the connections that are left, now */
};

/* How far a worker is. */
enum tf_worker_state {
    TF_WORKER_RUNNING,  /* -> DRAINING */
    TF_WORKER_DRAINING, /* -> DRAINED, when its connections have ended or two seconds have passed */
    TF_WORKER_DRAINED   /* takes mail until it is stopped */
};

/* What all workers of a process share. */
struct tf_worker_shared {
    atomic_uint connections;
    atomic_uint maximum; /* connections that may be, from configuration and the limit of files */
    atomic_uint listener_connections[TF_CONFIG_LISTENER_MAX];
    void (*changed)(void *ctx); /* a worker's state or configuration has: any thread, cheap */
    void *ctx;
};

/* What $SYS is made of. Plain numbers, all of them 64 bits wide. */
struct tf_worker_totals {
    struct tf_front_counters fronts; /* of all fronts */
    uint64_t dropped;                /* by queues and by fronts */
    uint64_t sockets;                /* accepted, ever */
    uint64_t queued_count, queued_bytes;
    uint64_t value_count, value_bytes;
};

#define TF_WORKER_TOTALS (sizeof(struct tf_worker_totals) / sizeof(uint64_t))

struct tf_worker_config {
    unsigned number;
    struct tf_post_office *office;
    struct tf_loop *loop;                     /* made and freed by the caller */
    const struct tf_config *config;           /* in force until the next one is */
    const struct tf_front_type *const *types; /* at most TF_WORKER_FRONTS_MAX */
    size_t type_count;
    struct tf_worker_shared *shared;
    struct tf_log *log;
    const struct tf_alloc *alloc; /* thread-safe */
    struct tf_hash_key key;       /* the same in all workers */
    struct tf_store *store;       /* outlives the worker; NULL: everything is kept in memory */
    /* Called when due, from the first turn on; gives when it is due again. May be NULL. */
    tf_time (*tick)(void *ctx, struct tf_shard *shard, tf_time now);
    void *tick_ctx;
};

enum tf_worker_source_kind { TF_WORKER_LISTENER, TF_WORKER_CONN, TF_WORKER_CHANNEL };

/* Whatever the loop reports: a listener, a connection or a datagram socket. */
struct tf_worker_source {
    struct tf_loop_source loop;
    uint16_t listener; /* place in config->listeners */
    uint8_t kind;      /* enum tf_worker_source_kind */
    uint8_t state;     /* of a connection: in worker_conn.c; of a channel: in worker_channel.c */
};

/* A listening socket that this worker accepts from. */
struct tf_worker_listener {
    struct tf_worker_source source;
    struct tf_list_node node; /* worker->listeners */
    bool resting;             /* not watched until worker->accept_at */
};

struct tf_worker {
    struct tf_worker_config config;
    struct tf_shard shard;
    struct tf_queues queues;
    struct tf_front *fronts[TF_WORKER_FRONTS_MAX];
    uint8_t *buffer;
    tf_time now;
    struct tf_list listeners;
    struct tf_list open, held, slowed, ending;
    struct tf_list gated;            /* of struct tf_stream, by gate_node */
    struct tf_store_client client;   /* with a store: the shard's end of it */
    uint64_t gate_done;              /* what was done when `gated` was looked at last */
    tf_time wall_at;                 /* when the shard is told the wall time again */
    bool slow;                       /* the store was, at the start of this turn */
    bool pressed;                    /* it had much to do then */
    struct tf_list channels;         /* of struct tf_worker_channel */
    struct tf_datagram_inbox *inbox; /* NULL without channels */
    uint64_t datagrams_lost;         /* given up by the kernel or for want of room, ever */
    size_t connection_count;
    uint64_t sockets; /* that were ever accepted here */
    unsigned next;    /* the worker that gets the next connection */
    bool congested;
    bool draining;
    bool listeners_rest;
    bool channels_held;  /* some are, for congestion */
    tf_time accept_at;   /* when resting listeners are watched again */
    tf_time drain_until; /* while draining */
    tf_time tick_at;
    struct tf_log_limit accept_warning, limit_warning;

    _Alignas(64) atomic_uint requests; /* bits of enum tf_worker_request */
    _Atomic(const struct tf_config *) next_config;
    _Atomic(const struct tf_config *) config_in_force;
    atomic_uint state; /* enum tf_worker_state */

    /* A struct tf_worker_totals for other threads: the worker writes it once a turn, relaxed. */
    _Alignas(64) _Atomic uint64_t stats[TF_WORKER_TOTALS];
};

/*
 * Starts a worker: its shard and fronts, no listener. In memory aligned to 64 bytes, not to be
 * moved. TF_NO_MEMORY: nothing to release.
 */
TF_MUST_USE enum tf_err tf_worker_init(struct tf_worker *worker,
                                       const struct tf_worker_config *config, tf_time now);

/*
 * Adds a listening socket, of listener `index` of the configuration, before the worker runs. The
 * worker accepts for all; the descriptor stays the caller's. TF_NO_MEMORY, TF_LIMIT: no room.
 */
TF_MUST_USE enum tf_err tf_worker_listen(struct tf_worker *worker, size_t index, int fd);

/*
 * Adds a datagram socket, of listener `index` of the configuration, before the worker runs; the
 * descriptor stays the caller's. Several may be of one listener. TF_UNSUPPORTED: no front takes
 * datagrams of its protocol. TF_NO_MEMORY, TF_LIMIT: no room.
 */
TF_MUST_USE enum tf_err tf_worker_bind(struct tf_worker *worker, size_t index, int fd);

/* Runs turns until TF_WORKER_STOP is asked for. */
void tf_worker_run(struct tf_worker *worker);

/* One turn, which sleeps until `until` at most. False: TF_WORKER_STOP was asked for. */
bool tf_worker_turn(struct tf_worker *worker, tf_time until);

/* Asks for something, from any thread. */
void tf_worker_ask(struct tf_worker *worker, unsigned requests);

/* Has the worker take a new configuration, from any thread; config_in_force tells when it has. */
void tf_worker_reload(struct tf_worker *worker, const struct tf_config *config);

/*
 * The end, from one thread when none of the workers runs any more, each step for all workers before
 * the next one: closes all connections; (tf_worker_settle until nothing is under way;) frees the
 * fronts; (settle again;) frees the rest.
 */
void tf_worker_close(struct tf_worker *worker);
void tf_worker_release_fronts(struct tf_worker *worker);
void tf_worker_release(struct tf_worker *worker);

/*
 * Declares the queues of the configuration whose home this worker is: once all workers are started,
 * before they run. Done when none is busy any more (tf_queues_busy; tf_worker_settle moves it on).
 */
void tf_worker_declare(struct tf_worker *worker);

/* All that the store has kept is there again: fronts begin what has been waiting. */
void tf_worker_restored(struct tf_worker *worker);

/* Takes the mail that has come and posts what follows from it. */
void tf_worker_settle(struct tf_worker *worker);

/* Adds up what the workers published last; from any thread. */
void tf_worker_sum(const struct tf_worker *workers, unsigned count,
                   struct tf_worker_totals *ret_totals);

#endif
