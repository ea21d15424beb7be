/*
 * Queues, their entries, bindings and consumers: four of the five nouns.
 *
 * A queue belongs to one shard and only that shard's thread touches it. Entries are in order of
 * their position; a consumer gets them against credit and settles each. An MQTT session is a queue
 * with one consumer, a CoAP observer a last-value queue of depth one, an AMQP queue a queue.
 *
 * Invariants (tf_queue_check):
 *  1. Every entry is in exactly one list: `available`, ordered by position, or `acquired`.
 *  2. `count` and `bytes` are those of the entries of both lists, and of the tail.
 *  3. count <= limits.entries and bytes <= limits.bytes, but for entries returned by a consumer.
 *  4. The available list is empty, or no consumer can take its head now.
 *
 *            push                 deliver                settle
 *  (nothing) ----> AVAILABLE ---------------> ACQUIRED ---------> (gone)
 *       |              ^                          |
 *       |              +------ release -----------+
 *       +---- consumer ready, QoS 0: delivered without an entry
 */
#ifndef TF_ROUTE_QUEUE_H
#define TF_ROUTE_QUEUE_H

#include "base/list.h"
#include "base/map.h"
#include "route/message.h"

struct tf_shard;
struct tf_queue;
struct tf_consumer;
struct tf_route;
struct tf_bind;
struct tf_kept;

enum tf_overflow {
    TF_OVERFLOW_DROP_NEW, /* the arriving message is dropped */
    TF_OVERFLOW_DROP_OLD, /* the oldest available entries make room */
    TF_OVERFLOW_REFUSE    /* the producer is told, if it addressed the queue directly */
};

struct tf_queue_limits {
    uint32_t entries;
    uint64_t bytes;
    uint8_t overflow; /* enum tf_overflow */
};

enum tf_entry_state { TF_ENTRY_AVAILABLE, TF_ENTRY_ACQUIRED };

/* The identifiers of the subscriptions that matched; mostly none. Views, or an entry's own. */
struct tf_subscription_ids {
    const uint32_t *ids;
    uint32_t count;
};

/* A message's place in a queue. */
struct tf_entry {
    struct tf_list_node node; /* queue->available or queue->acquired */
    struct tf_queue *queue;
    struct tf_message *message;
    struct tf_consumer *consumer;   /* that acquired it; NULL when available */
    struct tf_subscription_ids ids; /* allocated when there are any */
    uint64_t position;
    uint16_t attempts; /* deliveries begun before this one */
    uint8_t state;     /* enum tf_entry_state */
    uint8_t qos;       /* effective */
    bool retain;       /* the retain flag as this consumer is to see it */
    bool stored;       /* the store has it */
    bool fresh;        /* being offered before it has been recorded: see tf_entry_tag */
    uint32_t tag;      /* what its consumer wants to know of it after a restart; 0: nothing */
    /* of named queues alone */
    bool acquired_before; /* somebody may have seen it */
    bool marked;          /* a cursor may rest here */
};

/* What a consumer is handed; the views last for the call. */
struct tf_delivery {
    struct tf_publication *publication;
    struct tf_entry *entry; /* NULL: at most once, and nothing to settle */
    struct tf_subscription_ids ids;
    uint8_t qos;
    bool retain;
};

struct tf_consumer_ops {
    /*
     * TF_OK: taken; if there is an entry, its settlement follows (tf_entry_settle or _release).
     * TF_AGAIN: no credit or room; the consumer calls tf_consumer_ready when that has changed.
     * TF_LIMIT: this consumer can never take it: if no other can, the queue drops it.
     */
    enum tf_err (*deliver)(struct tf_consumer *consumer, const struct tf_delivery *delivery);
    /* The available entries have all been taken. May be NULL. Must not free queue or consumer. */
    void (*drained)(struct tf_consumer *consumer);
};

struct tf_consumer {
    struct tf_list_node node; /* queue->consumers */
    const struct tf_consumer_ops *ops;
    struct tf_queue *queue; /* NULL: detached */
};

/* How a queue that is more than this one takes what is pushed: a named one (named.h). */
struct tf_queue_ops {
    /* Instead of tf_queue_push; returns like it. */
    enum tf_err (*push)(struct tf_queue *queue, struct tf_publication *publication, bool retain);
    /* Values that a bind was to bring have been read, or there are no more. */
    void (*drawn)(struct tf_queue *queue);
};

struct tf_queue_counters {
    uint64_t enqueued, delivered, settled, released, dropped_full, dropped_expired, dropped_offline,
        dropped_size;
    uint64_t dropped_damaged; /* lost: what the store could not give back */
};

struct tf_queue {
    struct tf_shard *shard;
    const struct tf_queue_ops *ops; /* NULL: a session's, and what is said here holds */
    struct tf_list available;
    struct tf_list acquired;
    struct tf_list consumers;
    struct tf_list bindings;
    const struct tf_queue_limits *limits;
    uint64_t next_position;
    uint64_t bytes;
    tf_time expires;                /* no available entry does before that */
    uint64_t publisher;             /* for no-local: the session whose own messages this would be */
    struct tf_queue *match_next;    /* during a publication: the queues that matched, */
    struct tf_binding *match_first; /* and by which bindings; else NULL */
    struct tf_kept *kept;           /* what the store has of it (kept.h); NULL: nothing */
    uint32_t count;                 /* entries, those of the tail too, as are `bytes` */
    uint32_t binding_count;
    bool keep_at_most_once; /* store QoS 0 while no consumer is attached */
    bool pumping;
    struct tf_queue_counters *counters; /* the owner's totals */
};

/* A filter of one queue with its options. */
struct tf_binding_options {
    uint32_t subscription_id; /* 0: none */
    uint8_t qos;              /* at most; with `upgrade`, exactly */
    bool upgrade;
    bool no_local;
    bool retain_as_published;
};

/* The QoS of a delivery by a binding of a message that was published at `qos`. */
static inline uint8_t tf_binding_qos(const struct tf_binding_options *options, uint8_t qos)
{
    return options->upgrade || options->qos < qos ? options->qos : qos;
}

struct tf_binding {
    struct tf_map_node node; /* shard->bindings */
    struct tf_list_node in_route;
    struct tf_list_node in_queue;
    struct tf_route *route;
    struct tf_queue *queue;
    struct tf_binding *match_next; /* during a publication: see tf_queue.match_first */
    struct tf_bind *bind;          /* that made it, while `awaited` is not empty; counted */
    struct tf_bind *readers;       /* binds whose values are not all in the queue yet */
    uint64_t awaited; /* shards whose publications are not for it yet; bit n is shard n */
    struct tf_binding_options options;
};

/* Starts an empty queue of `shard` in memory of the caller's; `limits` and `counters` outlive it.
 */
void tf_queue_init(struct tf_queue *queue, struct tf_shard *shard,
                   const struct tf_queue_limits *limits, struct tf_queue_counters *counters);

/* Drops all entries and bindings. Precondition: no consumers. */
void tf_queue_release(struct tf_queue *queue);

/*
 * Puts a message into a queue: straight to a ready consumer when nothing waits before it, else as
 * an entry. TF_OK: taken. TF_LIMIT: dropped or refused by the queue's limits, or kept by nobody
 * (QoS 0 without a consumer). TF_NO_MEMORY: dropped for want of memory.
 */
enum tf_err tf_queue_push(struct tf_queue *queue, struct tf_publication *publication,
                          const struct tf_subscription_ids *ids, uint8_t qos, bool retain,
                          tf_time now);

/* Offers the available entries to the consumers until they have no credit or nothing is left. */
void tf_queue_pump(struct tf_queue *queue, tf_time now);

/* Attaches a consumer; nothing is delivered before tf_queue_pump. */
void tf_consumer_attach(struct tf_consumer *consumer, struct tf_queue *queue);

/* Detaches it; what it acquired stays acquired until settled or released by whoever knows it. */
void tf_consumer_detach(struct tf_consumer *consumer);

/*
 * The queue is left without consumers: what waits at most once is dropped, unless the queue keeps
 * it. No effect while a consumer is attached.
 */
void tf_queue_unattended(struct tf_queue *queue);

/* The entry's message is done with: accepted, or given up. The entry is freed. */
void tf_entry_settle(struct tf_entry *entry);

/* The entry becomes available again at its position; not pumped. */
void tf_entry_release(struct tf_entry *entry);

/*
 * What the consumer wants to know of an entry that it has acquired after a restart (a packet id).
 * From within `deliver` it becomes part of the entry's first record, else a record of its own; what
 * is told because of it waits for tf_store_current. No effect where the store does not have it.
 */
void tf_entry_tag(struct tf_entry *entry, uint32_t tag);

/* Walks the invariants; false names a bug. */
bool tf_queue_check(const struct tf_queue *queue);

#endif
