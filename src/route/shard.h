/*
 * A shard: the part of the broker that one thread owns. Addresses, values, queues and tickets meet
 * here; connections, clocks and sockets are elsewhere.
 *
 * Publishing finds the routes, gives the message to this shard's own queues at once and mails it to
 * the other shards that have bindings, and to the home of the address when it becomes its value. A
 * ticket counts the replies. Binding is told to every shard; each says so to the home (for a
 * wildcard to all homes) on the way its own publications take, so a home knows for every publisher
 * which values were written before the binding could carry them live: those, and only those, a new
 * subscriber gets as retained (docs/adr/0002). The binding stands when the homes have heard from
 * every shard.
 *
 * Writing a value under a condition, reading one and watching one are in value_access.h.
 *
 * With a store, what must survive is recorded in the turn in which it happens; nothing waits for
 * it but output, and answers to other shards (shard_store.c).
 *
 * Call protocol for a turn: tf_shard_time; the fronts' input (publish, bind, settle);
 * tf_shard_receive; tf_shard_expire; tf_shard_submit; write the connections; tf_shard_flush.
 * tf_shard_deadline tells when the next turn is wanted without input.
 */
#ifndef TF_ROUTE_SHARD_H
#define TF_ROUTE_SHARD_H

#include "base/timer.h"
#include "base/tree.h"
#include "route/mailbox.h"
#include "route/queue.h"
#include "route/table.h"
#include "route/value.h"
#include "route/value_access.h"
#include "store/store.h"

struct tf_stored_object;

/* The broker's mail types start here; the shard hands them to `config.receive`. */
#define TF_MAIL_BROKER 64u

struct tf_shard_config {
    unsigned number;
    struct tf_post_office *office; /* knows how many shards there are */
    const struct tf_alloc *alloc;  /* thread-safe: messages are freed where they are last held */
    struct tf_hash_key key;        /* the same for all shards; secret */
    uint64_t random;               /* a seed */
    size_t max_queues;             /* named queues of this shard; 0: no limit */
    struct tf_value_limits values; /* this shard's part */
    /* Versions begin above this, so that those of two runs differ if it is random. Below 2^63. */
    uint64_t first_version;
    /* Takes mail from TF_MAIL_BROKER up, and expired timers that are not the shard's own. */
    void (*receive)(void *ctx, const struct tf_mail *mail, unsigned from);
    void (*expired)(void *ctx, struct tf_timer *timer);
    /*
     * Values of this shard that are made when they are read ($SYS collections); may be NULL. Gives
     * the first one after the address `last` (empty: from the start) that matches the filter, with
     * one count; NULL: no more.
     */
    struct tf_message *(*virtual_next)(void *ctx, struct tf_bytes filter, struct tf_bytes last);
    void *ctx;
    struct tf_store_client *store; /* this shard's; NULL: nothing is kept */
    /* Entries of a kept queue in memory, and of a page: see kept.h; 0: TF_KEPT_WINDOW, _PAGE. */
    uint32_t kept_window, kept_page;
    /* For so long settlements that nobody waits for may be kept back, to be written with what comes
     * next: a lone publisher's next message need not wait for their sync. 0: not at all. */
    tf_time linger;
};

/* What became of a publication. */
struct tf_published {
    uint32_t matched; /* bindings */
    uint32_t taken;   /* queues that took it, and the value */
    bool refused;     /* a limit kept it from becoming the value, or memory or the store ran out */
    uint64_t stored;  /* this shard's batch that has to be done before anybody is told; 0: none.
                         Of tf_shard_write always 0: it answers when that is done */
    /* of tf_shard_write alone */
    bool existed;     /* there was a value before */
    bool failed;      /* the condition did not hold: nothing has changed or been published */
    uint64_t version; /* of the value that stands now */
};

/* Whoever waits for tickets. */
struct tf_ticket_owner {
    struct tf_list tickets;
    void (*done)(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result);
};

/* What waits until a batch of the store is done. */
struct tf_held {
    struct tf_list_node node; /* shard->held */
    uint64_t number;          /* of the batch */
    struct tf_ticket *ticket; /* of this shard, which then ends; else see shard_store.c */
};

struct tf_ticket {
    struct tf_list_node in_shard;
    struct tf_list_node in_owner;
    struct tf_held held; /* tf_shard_write: its number is the batch that has the value; 0: none */
    struct tf_ticket_owner *owner; /* NULL: gone */
    uint64_t tag;
    uint32_t waiting;
    struct tf_published result;
};

/* A request to bind a filter to a queue, and to read what values it matches. */
struct tf_bind;

/* Whoever binds: a session, which may outlive its connection. Zero `binds` by tf_list_init. */
struct tf_bind_owner {
    struct tf_list binds;
    /*
     * The binding stands in every shard, or (`err` TF_NO_MEMORY) does not and has been removed, or
     * (TF_CLOSED) the owner is released before it is known. Called once for each bind. Values
     * follow when tf_bind_draw asks for them. Must not release the owner.
     */
    void (*bound)(struct tf_bind_owner *owner, uint64_t tag, enum tf_err err);
};

/* What a shard has to do with values one by one; see value_access.h. */
struct tf_value_access {
    struct tf_map cells;    /* of tf_watch_cell: what is watched here */
    struct tf_map watched;  /* of tf_watched: what is watched anywhere, and this is its home */
    struct tf_list walking; /* cells with watchers who are to be told */
    struct tf_list dirty;   /* of tf_watched: cells are to be told */
    struct tf_list unsent;  /* of tf_unsent: mail that found no memory */
    struct tf_ticket_owner writes; /* of this home, for other shards */
    struct tf_watcher *telling;    /* whose `deliver` is being called; NULL: none, or it has left */
    bool telling_ready;            /* it said tf_watcher_ready meanwhile */
};

/* What a shard has to do with named queues; see named.h. */
struct tf_named_shard {
    struct tf_tree queues; /* of tf_named_queue, by name */
    struct tf_list all;   /* of tf_named_queue: also private ones, and those that are being freed */
    struct tf_list dirty; /* of tf_named_queue: something is to be done with it */
    struct tf_list links; /* of tf_named_link: what is attached to queues of other shards */
    struct tf_list stale; /* of tf_named_link: credit is to be mailed */
    struct tf_list guests;          /* of tf_named_member: those of other shards */
    struct tf_list telling;         /* of tf_named_member: something is to be mailed */
    struct tf_list starved;         /* of tf_named_member: there was no memory to deliver */
    struct tf_list unsent;          /* of tf_unsent, in order */
    struct tf_list commands;        /* of tf_queue_work: to go on with */
    struct tf_list asleep;          /* of tf_queue_work: that wait for bindings, or a page */
    struct tf_list moved;           /* of tf_queue_work: batches that are taken, not yet stored */
    struct tf_list unstored;        /* of tf_named_queue: letters that the store did not take */
    struct tf_ticket_owner letters; /* dead letters */
    struct tf_timers entries;       /* which expire */
    struct tf_timers idle;          /* queues that nobody uses */
    uint64_t numbers;               /* given to queues and members */
    bool expiring;                  /* more has expired than one turn drops */
};

struct tf_shard_counters {
    uint64_t published, routed, dropped, tickets;
    uint64_t valued; /* mailed to the home of their value */
};

struct tf_shard {
    struct tf_shard_config config;
    unsigned count;
    tf_time now;
    struct tf_timers timers;       /* the broker's */
    struct tf_timers value_timers; /* expiry of values */
    struct tf_route_table routes;
    struct tf_values values;
    struct tf_map bindings; /* by route and queue */
    struct tf_list drawing; /* binds whose owners have asked for values */
    struct tf_list tickets; /* all that are open */
    struct tf_value_access access;
    struct tf_named_shard named;
    uint32_t *ids; /* scratch: identifiers of one delivery */
    size_t id_capacity;
    size_t queue_count;
    tf_time submit_at;          /* when what lingers is submitted; TF_TIME_NEVER: nothing does */
    tf_time wall;               /* what is added to `now` to have the wall time */
    struct tf_list held;        /* of tf_held: answers that wait for the store, in order */
    struct tf_held *held_spare; /* for the next answer; NULL: none yet */
    struct tf_list paging;      /* of tf_kept: a page is to be read at the end of the turn */
    struct tf_list starved;     /* of tf_kept: a page could not be read */
    tf_time starved_until;      /* they are tried again */
    uint8_t *scratch;           /* heads of messages that are recorded */
    size_t scratch_size;
    struct tf_mail reply;  /* to a message, if `reply_waits`: it found no memory to wait in */
    unsigned reply_to;     /* its shard */
    uint64_t reply_number; /* the batch that it has to wait for */
    bool reply_waits;      /* no mail is read before it has gone */
    bool held_left;        /* the last turn did not get to the end of what may be told */
    bool mail_left;        /* the last turn did not get to the end of it */
    bool ending;           /* being released: tells other shards nothing any more */
    uint64_t queued_bytes; /* the sum over all queues */
    uint64_t queued_count;
    struct tf_shard_counters counters;
    struct tf_queue_counters queues;
};

/* Starts a shard. TF_NO_MEMORY: nothing to release. */
TF_MUST_USE enum tf_err tf_shard_init(struct tf_shard *shard, const struct tf_shard_config *config,
                                      tf_time now);

/*
 * Frees what a shard holds. Precondition: all queues, ticket, read and bind owners are released and
 * nobody watches.
 */
void tf_shard_release(struct tf_shard *shard);

/* The home of a name: of an address's value, a session, a queue. The same in every shard. */
unsigned tf_shard_home(const struct tf_shard *shard, struct tf_bytes name);

/* Sets the time of this turn. It never goes back. */
void tf_shard_time(struct tf_shard *shard, tf_time now);

/* Sets the wall time (microseconds since 1970) that is now; at the start, and now and then. */
void tf_shard_wall(struct tf_shard *shard, tf_time wall);

/* A number that what was published or recorded just now waits for; 0: nothing. See stream.h. */
uint64_t tf_shard_recorded(const struct tf_shard *shard);

/*
 * Publishes. `owner` NULL: nobody waits (at most once). TF_OK: done, *ret_result tells. TF_AGAIN:
 * other shards have yet to answer; owner->done follows with `tag`. TF_NO_MEMORY: nobody has it.
 */
TF_MUST_USE enum tf_err tf_shard_publish(struct tf_shard *shard, struct tf_publication *publication,
                                         struct tf_ticket_owner *owner, uint64_t tag,
                                         struct tf_published *ret_result);

/* The owner goes; its tickets end without it. */
void tf_ticket_owner_release(struct tf_ticket_owner *owner);

/*
 * Binds a filter (valid, of at most TF_LEVELS_MAX levels) to a queue of this shard, or changes the
 * options of the binding there is. owner->bound follows, perhaps before this returns, unless it
 * fails. `values`: read the values it matches too. TF_NO_MEMORY: nothing changed.
 */
TF_MUST_USE enum tf_err tf_shard_bind(struct tf_shard *shard, struct tf_queue *queue,
                                      struct tf_bytes filter,
                                      const struct tf_binding_options *options, bool values,
                                      struct tf_bind_owner *owner, uint64_t tag);

/* The queue's binding of a filter; NULL: it has none. */
struct tf_binding *tf_shard_binding(struct tf_shard *shard, const struct tf_queue *queue,
                                    struct tf_bytes filter);

/* Removes a binding of a queue. False: it has no such filter. */
bool tf_shard_unbind(struct tf_shard *shard, struct tf_queue *queue, struct tf_bytes filter);

/* Removes all bindings of a queue. */
void tf_shard_unbind_all(struct tf_shard *shard, struct tf_queue *queue);

/* The owner goes, with all its binds that are not yet bound or read to the end. */
void tf_bind_owner_release(struct tf_shard *shard, struct tf_bind_owner *owner);

/*
 * Asks for more of the values that the owner's binds have yet to deliver; they come into the queue
 * by and by. To be called after `bound` and when the queue has drained. False: nothing is left.
 */
bool tf_bind_draw(struct tf_shard *shard, struct tf_bind_owner *owner);

/*
 * Sends mail; to this shard itself it goes at once. False: no memory, the caller still owns what
 * the mail carries.
 */
bool tf_shard_post(struct tf_shard *shard, unsigned to, const struct tf_mail *mail);

/* Takes the mail that has come, up to a bound; if more is left the deadline is now. */
void tf_shard_receive(struct tf_shard *shard);

/* Runs the timers up to the time of this turn. */
void tf_shard_expire(struct tf_shard *shard);

/* True while there is work that waits for nothing: the next turn is wanted at once. */
bool tf_shard_busy(const struct tf_shard *shard);

/* When the next timer ends; now while the shard is busy. */
tf_time tf_shard_deadline(const struct tf_shard *shard);

/* Hands over what has been recorded, so that the store can begin: before the output. */
void tf_shard_submit(struct tf_shard *shard);

/* The end of a turn. True: congested, read no more from connections until it is false. */
bool tf_shard_flush(struct tf_shard *shard);

/* ---- at the start, before any turn: what the store has kept (restore.c) ---- */

/* About so many bindings will come in all shards, and values: room in the tables at once. */
void tf_shard_restore_reserve(struct tf_shard *shard, size_t bindings, size_t values);

/* The value of an address whose home this shard is. TF_PROTOCOL: it makes no sense. TF_LIMIT,
 * TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_shard_restore_value(struct tf_shard *shard,
                                               const struct tf_stored_object *object);

/* Walks the invariants of what the shard owns; false names a bug. */
bool tf_shard_check(const struct tf_shard *shard);

#endif
