/*
 * Named queues: queues that are known by a name in every shard, with consumers and producers
 * anywhere.
 *
 * A named queue lives in the home of its name. Whoever consumes from it or produces to it does so
 * through a struct of its own shard, and sees no difference between a queue of this shard and one
 * of another (docs/adr/0004): credit goes to the home by mail, deliveries come back, settlements
 * follow. In the same shard all of it is a call, and nothing is allocated beside the entry.
 *
 *      consumer ----- credit, drain -----> queue, in the home of its name
 *      consumer <---- deliveries --------- entries: available -> acquired
 *      consumer ----- outcomes ----------> settled, or available again, or dead
 *      producer <---- room --------------- limits
 *
 * A private queue is the same without a name: it lives where its one consumer is and goes with it
 * (what a topic's receiver has).
 *
 * Everything here is called from the shard's own thread. What calls back (`attached`, `deliver`,
 * `drained`, ...) does so from within a call of the route or from tf_shard_receive; callbacks must
 * not detach consumers or producers or delete queues, unless said.
 */
#ifndef TF_ROUTE_NAMED_H
#define TF_ROUTE_NAMED_H

#include "route/queue.h"
#include "route/shard.h"

struct tf_stored_object;

/* What a queue is made as. Views are copied. */
struct tf_queue_spec {
    struct tf_queue_limits limits;
    tf_time message_ttl;         /* from its enqueueing; TF_TIME_NEVER: only its own expiry */
    struct tf_bytes dead_letter; /* the address that rejected, expired and overfull go to; empty:
                                    they are dropped, and counted */
    tf_time idle;                /* unused (no consumer, no producer) for so long: it is deleted;
                                    TF_TIME_NEVER: it stays */
    uint32_t max_attempts; /* failed deliveries of one message before it is dead; 0: no limit */
    bool idle_when_empty;  /* `idle` counts only while it is empty */
    uint8_t durability;    /* enum tf_store_level: how the store keeps it, if there is one */
    bool configured;       /* by configuration: no client deletes it */
};

/* How an absent queue is declared, and to what it is bound. */
struct tf_queue_declaration {
    struct tf_bytes name;   /* empty: private */
    struct tf_bytes filter; /* what it is bound to; empty: nothing. Bound too if the queue is there
                               already without this binding */
    struct tf_binding_options options;
    const struct tf_queue_spec *spec; /* NULL: the queue must exist (TF_NOT_FOUND) */
    bool alone;  /* bound to `filter` alone: of a queue that is there already the others go */
    bool values; /* private queues: the retained values that the filter matches come first */
};

/* What a consumer says of a delivery. */
enum tf_outcome_type {
    TF_OUTCOME_ACCEPTED,
    TF_OUTCOME_REJECTED, /* dead: counts as an attempt */
    TF_OUTCOME_RELEASED, /* available again at its place, as if never delivered */
    TF_OUTCOME_MODIFIED  /* available again at its place, changed */
};

struct tf_outcome {
    uint8_t type;                /* enum tf_outcome_type */
    bool failed;                 /* MODIFIED: counts as an attempt */
    bool undeliverable_here;     /* MODIFIED: not to this consumer again */
    struct tf_bytes annotations; /* MODIFIED: what replaces the entry's; opaque; empty: unchanged */
};

/* What a consumer of a named queue is handed; views last for the call. */
struct tf_named_delivery {
    struct tf_publication *publication;
    uint64_t handle;             /* to settle it by; 0: nothing is to be settled */
    struct tf_bytes annotations; /* that MODIFIED has left with the entry; opaque */
    uint32_t attempts;           /* failed deliveries before this one */
    bool acquired_before;        /* somebody may have seen it: AMQP's first-acquirer is false */
    bool retain;                 /* it is a value read for a new binding, not live */
};

struct tf_named_consumer;

struct tf_named_consumer_ops {
    /*
     * What tf_shard_consume began has ended. TF_OK: attached. Else it is not, and why:
     * TF_NOT_FOUND, TF_NO_MEMORY, TF_LIMIT (queues, or the store takes no new one), TF_EXISTS
     * (somebody has it alone). May detach.
     */
    void (*attached)(struct tf_named_consumer *consumer, enum tf_err err);
    /*
     * TF_OK: taken; unless handle is 0, tf_named_settle follows. TF_AGAIN: not now;
     * tf_named_ready follows (or tf_named_credit). TF_LIMIT: this consumer can never take it, and
     * is not offered it again; a private queue drops it.
     */
    enum tf_err (*deliver)(struct tf_named_consumer *consumer,
                           const struct tf_named_delivery *delivery);
    /* After tf_named_drain: nothing is left that could have been delivered; the credit is 0 now. */
    void (*drained)(struct tf_named_consumer *consumer);
    /* The queue has been deleted. The consumer is detached and all its handles are void. */
    void (*deleted)(struct tf_named_consumer *consumer);
};

/* Embedded by a front; zero but for the first block. Must not move while attached. */
struct tf_named_consumer {
    const struct tf_named_consumer_ops *ops;
    bool browse;    /* looks at each entry once and takes none: handles are 0. One that is acquired
                       when its turn comes is passed over */
    bool settled;   /* at most once: entries are settled as they are delivered, handles are 0 */
    bool exclusive; /* alone: TF_EXISTS for all others */
    /* the route's own (named.c and its fellows) */
    struct tf_named_attachment *attachment;
};

/*
 * Attaches a consumer to a queue, declaring it if it is not there. TF_OK: attached. TF_AGAIN:
 * ops->attached follows, unless it is detached before. Else as `attached` has it, and nothing has
 * changed. A new consumer has no credit.
 */
TF_MUST_USE enum tf_err tf_shard_consume(struct tf_shard *shard, struct tf_named_consumer *consumer,
                                         const struct tf_queue_declaration *declaration);

/*
 * It has credit for so many deliveries from now on; what is on its way counts. Deliveries may be
 * made before this returns. Lowering it takes credit back: what is on its way then comes, and is
 * refused by TF_AGAIN or taken.
 */
void tf_named_credit(struct tf_named_consumer *consumer, uint32_t credit);

/* Asks for all that is there within the credit, and then for ops->drained. Perhaps before this
 * returns. */
void tf_named_drain(struct tf_named_consumer *consumer);

/* There is room again for what was refused by TF_AGAIN. */
void tf_named_ready(struct tf_named_consumer *consumer);

/* Entries that could be taken, as far as is known here (of a remote queue: as last heard). */
uint32_t tf_named_available(const struct tf_named_consumer *consumer);

/* What MODIFIED has left with the entry of `handle`, as it was delivered; empty: nothing. */
struct tf_bytes tf_named_annotations(const struct tf_named_consumer *consumer, uint64_t handle);

/* Settles what was delivered with `handle`, which is void afterwards. */
void tf_named_settle(struct tf_named_consumer *consumer, uint64_t handle,
                     const struct tf_outcome *outcome);

/*
 * The consumer leaves; no callback follows. What it has not settled becomes available again at its
 * place; `lost` counts that as an attempt (a lost connection: the message may have been seen). No
 * effect if it is not attached.
 */
void tf_named_detach(struct tf_named_consumer *consumer, bool lost);

struct tf_named_producer;

struct tf_named_producer_ops {
    void (*attached)(struct tf_named_producer *producer, enum tf_err err);
    /* How many messages the queue has room for has passed a mark: 0 (full), or some again. */
    void (*room)(struct tf_named_producer *producer, uint32_t room);
    void (*deleted)(struct tf_named_producer *producer);
};

/* Embedded by a front; it keeps a queue in use and hears of its limits. */
struct tf_named_producer {
    const struct tf_named_producer_ops *ops;
    struct tf_named_attachment *attachment; /* the route's own */
};

/* Attaches a producer; returns and calls back like tf_shard_consume. */
TF_MUST_USE enum tf_err tf_shard_produce(struct tf_shard *shard, struct tf_named_producer *producer,
                                         const struct tf_queue_declaration *declaration);

/*
 * Room in the queue, as far as is known here; at most UINT32_MAX. One that drops when it is full
 * always has room: who had to wait for it might wait for ever.
 */
uint32_t tf_named_room(const struct tf_named_producer *producer);

/*
 * Puts a publication into the producer's queue alone, without its address being looked at. Returns
 * and answers like tf_shard_publish. `refused`: the queue is full and its policy refuses. Full and
 * dropping what is new: taken 0, or 1 if it has gone to the dead-letter address.
 */
TF_MUST_USE enum tf_err tf_named_produce(struct tf_named_producer *producer,
                                         struct tf_publication *publication,
                                         struct tf_ticket_owner *owner, uint64_t tag,
                                         struct tf_published *ret_result);

/* The producer leaves. No effect if it is not attached. */
void tf_named_producer_detach(struct tf_named_producer *producer);

/* The same by name, for who has no producer. `matched` 0: there is no such queue. */
TF_MUST_USE enum tf_err tf_shard_enqueue(struct tf_shard *shard, struct tf_bytes name,
                                         struct tf_publication *publication,
                                         struct tf_ticket_owner *owner, uint64_t tag,
                                         struct tf_published *ret_result);

/* ---- management ---- */

enum tf_queue_command_type {
    TF_QUEUE_DECLARE, /* make it as `spec` says, bound to `filter`; there already: `spec` is in
                         force now */
    TF_QUEUE_DELETE,  /* with all that is in it; its consumers are told */
    TF_QUEUE_PURGE,   /* drops all that is available: *count */
    TF_QUEUE_MOVE, /* what is available, at most `limit`, to the queue `to`, oldest first: *count */
    TF_QUEUE_STATUS
};

struct tf_queue_status {
    uint64_t messages, bytes, acquired; /* messages: available and acquired */
    uint64_t enqueued, delivered, settled, released, expired, rejected, dropped, dead_lettered;
    uint32_t consumers, producers, bindings;
};

struct tf_queue_command {
    uint8_t type;             /* enum tf_queue_command_type */
    bool if_unused, if_empty; /* DELETE: TF_EXISTS otherwise */
    bool recorded; /* done is called when the store has what has happened in the queue's home, and
                      what was settled before through the same shard */
    struct tf_bytes name;
    const struct tf_queue_spec *spec;
    struct tf_bytes filter;
    struct tf_binding_options options;
    struct tf_bytes to;
    uint64_t limit;
};

/* Whoever waits for commands; `commands` by tf_list_init. */
struct tf_command_owner {
    struct tf_list commands;
    /* TF_OK, TF_NOT_FOUND, TF_EXISTS (see DELETE), TF_MISUSE (configured: not to be deleted),
     * TF_LIMIT, TF_NO_MEMORY. TF_CLOSED: it was to be `recorded`, and the store is broken.
     * `status` for the call. */
    void (*done)(struct tf_command_owner *owner, uint64_t tag, enum tf_err err, uint64_t count,
                 const struct tf_queue_status *status);
};

/*
 * Runs a command in the home of the queue, a bounded number of entries a turn: a million of them
 * stop nobody. owner->done follows, never before this returns; it waits for the store only if
 * command->recorded wants it. TF_NO_MEMORY: nothing has begun.
 */
TF_MUST_USE enum tf_err tf_shard_queue_command(struct tf_shard *shard,
                                               const struct tf_queue_command *command,
                                               struct tf_command_owner *owner, uint64_t tag);

/* The owner goes; its commands run on without it. */
void tf_command_owner_release(struct tf_command_owner *owner);

/* ---- at the start, before any turn: what the store has kept ---- */

/*
 * A named queue whose home this shard is; *ret lasts while it is there. Its bindings follow, then
 * tf_queue_restore for its entries. TF_PROTOCOL: the object makes no sense. TF_NO_MEMORY, TF_LIMIT.
 */
TF_MUST_USE enum tf_err tf_named_restore(struct tf_shard *shard,
                                         const struct tf_stored_object *object,
                                         struct tf_queue **ret);

/* Binds a restored named queue. Stands when mail is settled. TF_PROTOCOL: the filter makes no
 * sense. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_named_restore_binding(struct tf_queue *queue, struct tf_bytes filter,
                                                 const struct tf_binding_options *options);

/* A named queue of this shard, for listing. */
struct tf_named_queue;

/* The named queue of this shard with the first name after `name` (empty: the first); NULL: no more.
 */
struct tf_named_queue *tf_named_queue_next(struct tf_shard *shard, struct tf_bytes name);

/* The named queue of this shard with that name; NULL: none here. */
struct tf_named_queue *tf_named_queue_find(struct tf_shard *shard, struct tf_bytes name);

struct tf_bytes tf_named_queue_name(const struct tf_named_queue *queue);
const struct tf_queue_spec *tf_named_queue_spec(const struct tf_named_queue *queue);
void tf_named_queue_status(const struct tf_named_queue *queue, struct tf_queue_status *ret);

#endif
