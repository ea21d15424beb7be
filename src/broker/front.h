/*
 * A front: what one protocol puts between streams and a shard. Each shard has one of each kind.
 *
 * The worker (or the simulator) owns the transports and the shard and drives the fronts; a front
 * knows its protocol and the routing, never a socket, a thread or a clock. A protocol is added by a
 * new `struct tf_front_type` in the broker's table; the worker knows none by name.
 *
 * Call protocol, all from the shard's own thread:
 *   type->create            when the shard stands, before any connection
 *   ops->restore, _part, _entry; ops->restored    what the store has kept, before any connection
 *   ops->open               a transport was accepted, or came from another shard: the stream of it
 *   ops->bind               a datagram socket of a listener stands in this shard: the channel of it
 *   ops->mail, ops->timer   as the shard hands out what is not its own
 *   ops->turn               once a turn, after all input, mail and timers, before the output
 *   (then the worker pops `dirty` and writes)
 *   ops->reload             another configuration is in force; the former is freed when all know it
 *   ops->drain              the broker ends: say so to every peer and set `closing` on every stream
 *   ops->release            no stream and no channel is left; other shards' mail has been received
 */
#ifndef TF_BROKER_FRONT_H
#define TF_BROKER_FRONT_H

#include "broker/channel.h"
#include "broker/stream.h"
#include "route/shard.h"
#include "route/stored.h"

struct tf_config;
struct tf_log;
struct tf_front;

/* Whose a mail type is: each owner has a block of sixteen from TF_MAIL_BROKER up. */
enum tf_mail_block {
    TF_MAIL_WORKER = TF_MAIL_BROKER,
    TF_MAIL_MQTT = TF_MAIL_BROKER + 16,
    TF_MAIL_COAP = TF_MAIL_BROKER + 32,
    TF_MAIL_AMQP = TF_MAIL_BROKER + 48
};

/*
 * What a front counts, for $SYS. Plain numbers of the shard's thread; the worker publishes them to
 * other threads. All but `sessions`, `connected` and `subscriptions` only grow.
 */
struct tf_front_counters {
    uint64_t bytes_received, bytes_sent;
    uint64_t packets_received, packets_sent;
    uint64_t publish_received, publish_sent;
    uint64_t publish_bytes_received, publish_bytes_sent; /* payloads alone */
    uint64_t publish_dropped;                            /* by the front, not by a queue */
    uint64_t connects;                                   /* accepted by the protocol, ever */
    uint64_t sessions_expired;
    uint64_t connected;     /* connections past the protocol's opening, now */
    uint64_t sessions;      /* with or without a connection, now */
    uint64_t subscriptions; /* of all those sessions, now */
};

struct tf_front_ops {
    /*
     * The stream of a new transport (NULL in `open`'s place: not a protocol of streams); the caller
     * sets its `transport`. `listener` is the place in config->listeners; `peer` is text, borrowed.
     * NULL: refused (a limit, no memory): close it.
     */
    struct tf_stream *(*open)(struct tf_front *front, unsigned listener, struct tf_bytes peer);
    /*
     * The channel of a datagram socket (NULL in `bind`'s place: not a protocol of datagrams); the
     * caller sets its `transport`. NULL: no memory. Paths are struct tf_datagram_path. A listener
     * may have several in the first shard: one for each group beside that of its address.
     */
    struct tf_channel *(*bind)(struct tf_front *front, unsigned listener);
    /* True: the mail was its own and has been dealt with. */
    bool (*mail)(struct tf_front *front, const struct tf_mail *mail, unsigned from);
    /* A timer of its own has ended: that of a struct tf_front_timer which names this front. */
    void (*timer)(struct tf_front *front, struct tf_timer *timer);
    /* The end of a turn, before the output. May be NULL. */
    void (*turn)(struct tf_front *front);
    /* `config` is in force from now on; keep no pointer into the former. */
    void (*reload)(struct tf_front *front, const struct tf_config *config);
    /* The broker ends: tell every peer, set `closing` and touch every stream; open no more. */
    void (*drain)(struct tf_front *front);
    /* For tf_shard_config.virtual_next; may be NULL. */
    struct tf_message *(*virtual_next)(struct tf_front *front, struct tf_bytes filter,
                                       struct tf_bytes last);
    /*
     * What the store has kept of this front, before any transport; all three may be NULL.
     * `restore`: a session (a kind of the front's) whose home this shard is, and its queue, to
     * which bindings, other parts and entries follow. TF_PROTOCOL: it makes no sense and is left
     * out. TF_NOT_FOUND: it has expired; the front has recorded that. TF_NO_MEMORY, TF_LIMIT.
     */
    enum tf_err (*restore)(struct tf_front *front, const struct tf_stored_object *object,
                           struct tf_queue **ret_queue);
    /* An object that names a queue of `restore` by its id; the key is what stands behind the id. */
    enum tf_err (*restore_part)(struct tf_front *front, struct tf_queue *queue,
                                const struct tf_stored_object *object);
    /* A delivery of such a queue that was under way: acquired, with its tag. In order. */
    enum tf_err (*restore_entry)(struct tf_front *front, struct tf_entry *entry);
    /* All of it has come: what has been waiting runs (wills, expiries). */
    void (*restored)(struct tf_front *front);
    /* Frees the front with its sessions. Precondition: no streams. */
    void (*release)(struct tf_front *front);
};

/* The head of each front's own struct. The type's `create` sets all of it. */
struct tf_front {
    const struct tf_front_ops *ops;
    struct tf_list dirty;          /* streams to be written this turn: tf_stream_touch */
    struct tf_list dirty_channels; /* channels to be written this turn: tf_channel_touch */
    bool again;                    /* the next turn has something to do: do not sleep before it */
    struct tf_front_counters counters;
};

/*
 * A timer of a front in shard->timers. Every such timer lies in one of these, because a shard has
 * one wheel for all fronts and only this says whose a timer is.
 */
struct tf_front_timer {
    struct tf_timer timer;
    struct tf_front *front;
    uint8_t kind; /* the front's own affair: what the timer lies in */
};

/* What a front is made with. All of it outlives the front, but `config`: see reload. */
struct tf_front_context {
    struct tf_shard *shard;
    const struct tf_config *config;
    struct tf_log *log;
    /* Fills memory with bytes nobody can guess (client ids, session numbers). */
    void (*random)(void *ctx, void *data, size_t length);
    void *random_ctx;
};

/* A protocol as the broker's table has it. */
struct tf_front_type {
    const char *name;   /* of the log: "mqtt" */
    const char *scheme; /* of the URL of a listener: "mqtt" */
    int protocol;       /* enum tf_config_protocol: whose listeners it serves */
    /* A front for one shard. TF_NO_MEMORY: there is none. */
    enum tf_err (*create)(const struct tf_front_context *context, struct tf_front **ret_front);
};

#endif
