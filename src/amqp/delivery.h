/*
 * The table of a session's unsettled deliveries in one direction; and, at the end, what connection,
 * session and link keep of deliveries that are on their way.
 *
 * Records lie in slots of one block of memory that the caller gives and that may be replaced by a
 * larger one; behind them the buckets of a hash from delivery id to slot. Live records are a list
 * in the order in which they were added, which is the order of their ids (2.8.9: serial numbers),
 * so a range of ids is found by one look-up and then followed, and what it costs is bounded both by
 * its length and by what is live.
 *
 * It must not know what a delivery means: states, links and handles are only kept here.
 */
#ifndef TF_AMQP_DELIVERY_H
#define TF_AMQP_DELIVERY_H

#include <trefoil/amqp.h>

#include "base/list.h"

struct tf_amqp_link;
struct tf_amqp_session;

/* No slot. */
#define TF_AMQP_NO_SLOT UINT32_MAX

/* So many records a table begins with. */
#define TF_AMQP_DELIVERIES_MIN 16u

/* A delivery state that needs no bytes of its own; and whether it settles. */
struct tf_amqp_word {
    uint8_t state;     /* enum tf_amqp_state_type */
    uint8_t condition; /* enum tf_amqp_condition: of a rejection */
    uint8_t flags;     /* of MODIFIED: 1 delivery-failed, 2 undeliverable-here */
    bool settled;
};

struct tf_amqp_delivery {
    struct tf_amqp_link *link;
    uint64_t handle;          /* the caller's, where we send */
    uint32_t id;              /* delivery-id */
    uint32_t prev, next;      /* slots of live records; `next` of a free one: the next free slot */
    uint32_t chain;           /* the next slot of the same bucket */
    struct tf_amqp_word word; /* what was said of it last */
    bool unsent;              /* `word` is to be sent to the peer still */
};

/*
 * `capacity` records; `live` of them in the list first..last; the slots from `fresh` on were never
 * used, other unused ones are a list from `free`. A walk goes on at `at` and ends behind `stop`.
 */
struct tf_amqp_deliveries {
    struct tf_amqp_delivery *slots; /* NULL: there is no memory yet */
    uint32_t *buckets;
    uint32_t capacity, mask; /* buckets less one */
    uint32_t live, fresh, free;
    uint32_t first, last;
    uint32_t at, stop;              /* slots; `at` NO_SLOT: there is no walk */
    uint32_t walk_first, walk_span; /* ids */
    bool walk_all;                  /* ids out of the range lie between */
    uint64_t steps;                 /* of walks, ever */
};

/* An empty table without memory. */
void tf_amqp_deliveries_init(struct tf_amqp_deliveries *table);

/* The bytes of a table of `capacity` records, at least 1 and at most 2^24. */
size_t tf_amqp_deliveries_size(uint32_t capacity);

/* How many records the next larger table has if `max` is the most; 0: it has that many. */
uint32_t tf_amqp_deliveries_larger(const struct tf_amqp_deliveries *table, uint32_t max);

/*
 * Moves the table to `memory`, aligned as malloc and of tf_amqp_deliveries_size(capacity), more
 * than it had. Returns the memory it was in (NULL: none), which is no longer needed. Records move,
 * slots keep their numbers.
 */
void *tf_amqp_deliveries_grow(struct tf_amqp_deliveries *table, void *memory, uint32_t capacity);

/* True if nothing can be added without more memory. */
static inline bool tf_amqp_deliveries_full(const struct tf_amqp_deliveries *table)
{
    return table->live == table->capacity;
}

/*
 * Adds a record, as the youngest. The table must not be full, and `id` must not be live: ids are
 * given in sequence, so it could only be that of the oldest (tf_amqp_deliveries_wrapped).
 */
struct tf_amqp_delivery *tf_amqp_deliveries_add(struct tf_amqp_deliveries *table, uint32_t id,
                                                struct tf_amqp_link *link, uint64_t handle);

/* True if `id`, the next in sequence, is still that of the oldest record, 2^32 deliveries ago. */
static inline bool tf_amqp_deliveries_wrapped(const struct tf_amqp_deliveries *table, uint32_t id)
{
    return table->live > 0 && table->slots[table->first].id == id;
}

/* The record of an id; NULL: it is not live. Valid until it is removed or the table moves. */
struct tf_amqp_delivery *tf_amqp_deliveries_find(const struct tf_amqp_deliveries *table,
                                                 uint32_t id);

/* Removes a live record. */
void tf_amqp_deliveries_remove(struct tf_amqp_deliveries *table, struct tf_amqp_delivery *record);

/* The oldest record, and the next younger; NULL: none. */
struct tf_amqp_delivery *tf_amqp_deliveries_first(const struct tf_amqp_deliveries *table);
struct tf_amqp_delivery *tf_amqp_deliveries_next(const struct tf_amqp_deliveries *table,
                                                 const struct tf_amqp_delivery *record);

/*
 * Begins the walk of a table over the live ids of first..last (one after the other, modulo 2^32, so
 * 0..2^32-1 is all of them). While it goes on any record may be removed, and others be added, which
 * are not walked over. It replaces a walk that was there.
 */
void tf_amqp_deliveries_walk(struct tf_amqp_deliveries *table, uint32_t first, uint32_t last);

/* The next record of the walk, in the order of ids; NULL: there is none, and the walk is over. */
struct tf_amqp_delivery *tf_amqp_deliveries_walk_next(struct tf_amqp_deliveries *table);

/* Checks the invariants. */
bool tf_amqp_deliveries_check(const struct tf_amqp_deliveries *table);

/* ---- what is on its way ---- */

/*
 * Of a link: its one incomplete delivery. Where we send, `left` bytes are not in the output yet:
 * `piece`, then `next_count` more pieces at `next`; they are `owner`'s. `owner` is not 0 while the
 * delivery is on its way and is to be told of its end, and after that while the link is in the
 * connection's list `returned`.
 */
struct tf_amqp_link_deliveries {
    struct tf_list_node node; /* in session `sending` or connection `returned` */
    struct tf_bytes piece;
    const struct tf_bytes *next;
    size_t next_count;
    uint64_t left; /* where we receive: bytes that have come */
    uint64_t owner;
    uint64_t reference; /* the last one that was made in the output, if `referred` */
    uint32_t id;
    uint32_t tag;  /* where we receive: a digest of its tag */
    uint32_t live; /* records of this link in the table */
    bool partial;  /* a delivery is incomplete */
    bool settled;  /* ... and there is no record of it */
    bool referred;
};

/* Of neighbouring deliveries, not sent yet: a disposition that may grow. */
struct tf_amqp_saying {
    bool active;
    struct tf_amqp_word word;
    uint32_t first, last;
};

struct tf_amqp_session_deliveries {
    struct tf_amqp_deliveries tables[2];   /* by our role: of what we send, of what we receive */
    struct tf_amqp_saying sayings[2];      /* by our role */
    uint32_t unsent[2];                    /* records with `unsent` */
    uint32_t partials;                     /* links where a delivery comes that is incomplete */
    struct tf_list sending;                /* links with a delivery on its way, whose turn it is */
    uint32_t next_outgoing, next_incoming; /* delivery-ids */
    bool received;                         /* there was one: next_incoming counts */
};

struct tf_amqp_connection_deliveries {
    struct tf_list returned; /* links whose `owner` is to be told */
    /* the disposition that is walked; its views borrow the input */
    struct tf_amqp_session *walking; /* NULL: none */
    struct tf_amqp_state state;
    uint8_t role; /* enum tf_amqp_role, ours: whose table */
    bool settled;
    uint64_t effort; /* see tf_amqp_effort */
};

#endif
