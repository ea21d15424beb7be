/*
 * What the files of a shard share: mail between shards, the bind protocol's request, and what
 * travels for writes, reads and watchers of single values.
 */
#ifndef TF_ROUTE_INTERNAL_H
#define TF_ROUTE_INTERNAL_H

#include "route/kept.h"
#include "route/shard.h"

enum tf_shard_mail {
    TF_MAIL_MESSAGE = 1, /* object: a counted message; tag: the ticket, 0 none; value: the
                            transaction, 0 none; flags below */
    TF_MAIL_TICKET,      /* tag: the ticket; count: matched; value: taken; reason: refused */
    TF_MAIL_BIND,        /* object: a counted bind. To every shard */
    TF_MAIL_BOUND,       /* object: a counted bind. From every shard to each home */
    TF_MAIL_MARK,        /* object: a counted bind. From every other shard to the binding one */
    TF_MAIL_READY,       /* object: a counted bind; value: the first page, or 0; count: 1 if more */
    TF_MAIL_READ,        /* object: a counted bind; count: how many values at most */
    TF_MAIL_VALUES,      /* object: a page, which holds a count of its bind */
    TF_MAIL_CANCEL,      /* object: a counted bind. To homes that have values to read */
    TF_MAIL_UNBIND,      /* object: a counted bind that names the filter */
    /* of single values, to the home and back */
    TF_MAIL_WRITE,   /* object: a tf_write, which is sent back */
    TF_MAIL_WRITTEN, /* object: a tf_write */
    TF_MAIL_GET,     /* object: a tf_read, which is sent back */
    TF_MAIL_GOT,     /* object: a tf_read */
    TF_MAIL_WATCH,   /* object: a counted cell; the home keeps the count */
    TF_MAIL_TOLD,    /* object: a counted cell; tag: a counted message, 0 none; value: version */
    TF_MAIL_REFUSED, /* object: a counted cell: nothing can be told, no memory */
    TF_MAIL_UNWATCH, /* object: a counted cell */
    /* of named queues; who owns what is in named_internal.h */
    TF_MAIL_ATTACH,   /* object: a link. To the home of the queue's name */
    TF_MAIL_ATTACHED, /* object: a link; flags: -err; value: what is available, or room */
    TF_MAIL_CREDIT,   /* object: a link; value: parcels ever; tag: the drain, 0 none */
    TF_MAIL_PARCEL,   /* object: a parcel; count: what is available. From the home */
    TF_MAIL_SETTLE,   /* object: a parcel with its outcome. Back to the home */
    TF_MAIL_DRAINED,  /* object: a link; tag: the drain */
    TF_MAIL_ROOM,     /* object: a link; value: room */
    TF_MAIL_DELETED,  /* object: a link */
    TF_MAIL_DETACH,   /* object: a link; flags: 1 if lost. The last to the home */
    TF_MAIL_GONE,     /* object: a link. The last from the home */
    TF_MAIL_PRODUCE,  /* object: a counted message; tag: the ticket, 0 none; value: a link */
    TF_MAIL_ENQUEUE,  /* object: a tf_named_letter; tag: the ticket, 0 none */
    TF_MAIL_COMMAND,  /* object: a tf_queue_work. To the home of the queue's name */
    TF_MAIL_DONE,     /* object: a tf_queue_work. Back */
    TF_MAIL_MOVE,     /* object: a tf_queue_work. To the home of the other queue */
    TF_MAIL_MOVED     /* object: a tf_queue_work. Back */
};

#define TF_MAIL_ROUTE 1u  /* MESSAGE: give it to the queues that match */
#define TF_MAIL_VALUE 2u  /* MESSAGE: it is the value of its address */
#define TF_MAIL_FAILED 4u /* BOUND, READY, MARK: a shard had no memory for it */

/* In what is to be mailed but may find no memory: then it waits in a list and is sent again. */
struct tf_unsent {
    struct tf_list_node node; /* access.unsent */
    void *object;
    uint8_t type; /* enum tf_shard_mail */
    uint8_t flags;
    uint8_t to;
};

/* What one home knows of a bind; only the home's thread touches it. */
struct tf_bind_home {
    struct tf_value_cursor cursor;
    struct tf_message *made_last; /* the one made when read that was given last */
    unsigned bound_count;
    bool open;                /* there may be values left to read */
    bool failed;              /* a shard could not bind */
    uint64_t *bound_versions; /* this home's version when it heard from shard n */
};

struct tf_bind_page;

struct tf_bind {
    atomic_uint refs;
    const struct tf_alloc *alloc;
    size_t size;
    /* the same for all, never changed */
    struct tf_bytes filter;
    unsigned shard;
    bool values;
    unsigned home_count; /* 1, or as many as there are shards */
    unsigned first_home;
    struct tf_bind_home *homes;
    struct tf_unsent *failures; /* of each shard: its word that it could not mail another */
    /* the binding shard's own */
    struct tf_list_node node;    /* owner->binds */
    struct tf_list_node drawing; /* shard->drawing */
    struct tf_bind_owner *owner; /* NULL: cancelled */
    struct tf_queue *queue;
    struct tf_binding *binding;   /* while it awaits MARKs */
    struct tf_bind_page *pages;   /* values that came before the first draw */
    struct tf_binding *reads_for; /* while values are to come; NULL: none are, or it is gone */
    struct tf_bind *next_reader;  /* of the same binding */
    struct tf_map live; /* of tf_bind_live: what has come live meanwhile and makes values stale */
    uint64_t tag;
    uint64_t open;    /* homes with values to read; bit n is shard n */
    unsigned waiting; /* homes that are not ready */
    bool reading;     /* a READ is under way */
    bool failed;
    bool lost; /* this shard's own BOUND could not be mailed */
};

/* Takes a mail of the bind protocol. */
void tf_bind_mail(struct tf_shard *shard, const struct tf_mail *mail, unsigned from);

/* Reads values for those who have asked, a bounded number. True: there is more to do. */
bool tf_bind_work(struct tf_shard *shard);

/*
 * Notes that a publication of shard `from`, that is to become a value, goes to a binding: whatever
 * value of the same address and shard is still to come for that binding is older.
 */
void tf_bind_saw(struct tf_shard *shard, struct tf_binding *binding,
                 const struct tf_publication *publication, unsigned from);

/* Tells every shard that this one has no binding of a filter any more. */
void tf_bind_withdraw(struct tf_shard *shard, struct tf_bytes filter);

/* Lets go of what a mail carries that nobody will read. */
void tf_mail_discard(const struct tf_mail *mail);

/* ---- shard.c, for write.c ---- */

/* A ticket without replies to wait for yet. NULL: no memory. */
struct tf_ticket *tf_ticket_new(struct tf_shard *shard, struct tf_ticket_owner *owner,
                                uint64_t tag);

/* Ends a ticket untold. */
void tf_ticket_free(struct tf_shard *shard, struct tf_ticket *ticket);

/* Ends a ticket and tells its owner, if there still is one. */
void tf_ticket_finish(struct tf_shard *shard, struct tf_ticket *ticket);

/*
 * Publishes a message as this shard's own to all queues that match, wherever they are; its value is
 * set already. `ticket` NULL: nobody waits. Adds to *result; returns how many replies will come.
 */
uint32_t tf_shard_spread(struct tf_shard *shard, struct tf_message *message,
                         struct tf_ticket *ticket, struct tf_published *result);

/*
 * Answers mail that a ticket waits for, when the batch `result->stored` of this shard is done (0:
 * at once); if it finds no memory no mail is read before it has gone.
 */
void tf_shard_reply(struct tf_shard *shard, unsigned to, uint64_t ticket,
                    const struct tf_published *result);

/* ---- the store: stored.c, shard_store.c, value_store.c ---- */

/* Makes the shard's scratch at least so large. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_stored_room(struct tf_shard *shard, size_t size);

/* Frees it. */
void tf_stored_room_release(struct tf_shard *shard);

/* How a session's queue takes what its tail has (queue.c). */
extern const struct tf_kept_ops tf_queue_kept_ops;

/* An entry at this position is in memory: the tail's reader passes it over. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_kept_note_restored(struct tf_kept *kept, uint64_t position);

/* Begins to read the pages that are wanted. */
void tf_kept_page(struct tf_shard *shard);

/* What could not be read is wanted again, when its time has come. */
void tf_kept_retry(struct tf_shard *shard);

/* What was recorded in this shard: to be compared with a later one. */
static inline uint64_t tf_shard_appended(const struct tf_shard *shard)
{
    return shard->config.store ? shard->config.store->appended : 0;
}

/* The batch that has what was recorded since `appended`; 0: nothing was, or it is done. */
static inline uint64_t tf_shard_recorded_since(const struct tf_shard *shard, uint64_t appended)
{
    struct tf_store_client *store = shard->config.store;
    return store && store->appended != appended ? tf_store_current(store) : 0;
}

/* A ticket whose replies have all come ends when its batch (held.number) is done, or is refused
 * when it never will be. */
void tf_ticket_end(struct tf_shard *shard, struct tf_ticket *ticket);

/* True: there is memory to hold one answer in. Without a store none is needed. */
bool tf_held_ready(struct tf_shard *shard);

/* Mails a TF_MAIL_TICKET when a batch is done (0: at once); where it never will be, with a refusal.
 * False: no memory, nothing has happened. */
bool tf_shard_hold(struct tf_shard *shard, unsigned to, const struct tf_mail *mail,
                   uint64_t number);

/* Makes a TF_MAIL_TICKET a refusal: the store will never have what it tells of. */
void tf_refuse_mail(struct tf_mail *mail);

/* True: batch `number` is done, or there is no store. */
static inline bool tf_shard_done(const struct tf_shard *shard, uint64_t number)
{
    return number == 0 || tf_store_done(shard->config.store, number);
}

/* True: nothing that is not done will ever be. */
static inline bool tf_shard_broken(const struct tf_shard *shard)
{
    return shard->config.store && tf_store_state(shard->config.store) == TF_STORE_BROKEN;
}

/* Takes note of what is done and lets go of what has waited for it, a bounded number. */
void tf_held_work(struct tf_shard *shard);

/* Frees what is held, untold. */
void tf_held_release(struct tf_shard *shard);

/*
 * Sets or clears the value of a message's address in its home (tf_values_set), and records it.
 * TF_LIMIT: of values, or the store takes nothing new. TF_NO_MEMORY. Then nothing has changed.
 */
TF_MUST_USE enum tf_err tf_value_set(struct tf_shard *shard, struct tf_message *message,
                                     unsigned writer);

/* A value goes: the store, if it has it, is told so. */
void tf_value_forget(struct tf_shard *shard, const struct tf_value *value,
                     enum tf_store_level level);

/* ---- named queues: named*.c ---- */

/* Starts without any. */
void tf_named_init(struct tf_shard *shard);

/* Frees what is left. */
void tf_named_release(struct tf_shard *shard);

/* Takes a mail from TF_MAIL_ATTACH up to TF_MAIL_MOVED. */
void tf_named_mail(struct tf_shard *shard, const struct tf_mail *mail, unsigned from);

/* Lets go of what such a mail carries. */
void tf_named_discard(const struct tf_mail *mail);

/* Does what waits for the end of a turn's mail, a bounded part. */
void tf_named_work(struct tf_shard *shard);

/* Drops what has expired, a bounded part, and queues that nobody uses. */
void tf_named_expire(struct tf_shard *shard);

/* True while there is work that waits for nothing. */
bool tf_named_busy(const struct tf_shard *shard);

/* Walks the invariants. */
bool tf_named_check(const struct tf_shard *shard);

/* ---- single values: access.c, write.c, read.c, watch.c, watched.c ---- */

/* Mails an object now, or when there is memory. */
void tf_access_post(struct tf_shard *shard, unsigned to, const struct tf_mail *mail,
                    struct tf_unsent *unsent);

/* Starts without anything. */
void tf_access_init(struct tf_shard *shard);

/* Frees what is left. */
void tf_access_release(struct tf_shard *shard);

/* Takes a mail from TF_MAIL_WRITE to TF_MAIL_UNWATCH. */
void tf_access_mail(struct tf_shard *shard, const struct tf_mail *mail);

/* Lets go of what such a mail carries. */
void tf_access_discard(const struct tf_mail *mail);

/* Sends what waits for it and tells watchers, a bounded number. */
void tf_access_work(struct tf_shard *shard);

/* Walks the invariants. */
bool tf_access_check(const struct tf_shard *shard);

/* A write on its way to the home and, if somebody waits, back. */
struct tf_write {
    struct tf_unsent unsent;
    const struct tf_alloc *alloc;
    size_t size;
    struct tf_message *message; /* counted; NULL on the way back */
    struct tf_condition condition;
    struct tf_ticket *ticket; /* of the writing shard; NULL: nobody waits */
    struct tf_published result;
    unsigned shard;
    uint64_t versions[]; /* of the condition */
};

/* A write whose mail nobody will read. */
void tf_write_free(struct tf_write *write);

/* WRITE in a home; WRITTEN back in the writing shard. */
void tf_write_arrived(struct tf_shard *shard, struct tf_write *write);
void tf_write_returned(struct tf_shard *shard, struct tf_write *write);

/* access.writes.done: every shard has answered a write that came by mail; `tag` is the tf_write. */
void tf_write_spread(struct tf_ticket_owner *owner, uint64_t tag,
                     const struct tf_published *result);

/* A read on its way to the home and back. */
struct tf_read {
    struct tf_unsent unsent;
    const struct tf_alloc *alloc;
    size_t size;
    struct tf_list_node in_owner;
    struct tf_read_owner *owner; /* NULL: gone */
    uint64_t tag;
    unsigned shard;
    struct tf_message *message; /* counted, on the way back */
    uint64_t version;
    struct tf_bytes address; /* behind the struct */
};

/* A read whose mail nobody will read. */
void tf_read_free(struct tf_read *read);

/* GET in a home; GOT back in the reading shard. */
void tf_read_arrived(struct tf_shard *shard, struct tf_read *read);
void tf_read_returned(struct tf_shard *shard, struct tf_read *read);

/* The value of an address as its home has it now; what has expired is dropped first. */
void tf_value_present(struct tf_shard *shard, struct tf_bytes address, struct tf_value_view *ret);

/* A timer of value_timers has ended, or its time has come. */
void tf_value_expire(struct tf_shard *shard, struct tf_timer *timer);

/*
 * The newest value of a watched address in one shard, and those who watch. Counted: by the shard
 * while anybody watches, by the home while it knows of it, and by each mail.
 */
struct tf_watch_cell {
    atomic_uint refs;
    /* the same for both, never changed */
    const struct tf_alloc *alloc;
    size_t size;
    uint64_t hash;
    unsigned shard;
    unsigned home;
    struct tf_bytes address; /* behind the struct */
    /* the watching shard's own */
    struct tf_map_node node;     /* access.cells */
    struct tf_list_node walking; /* access.walking */
    struct tf_list behind;       /* watchers to be told */
    struct tf_list told;         /* who know `version` */
    struct tf_list waiting;      /* behind, and without credit */
    struct tf_message *message;  /* freed with the cell, or by a newer one */
    uint64_t version;            /* 0: none has come yet */
    bool failed;                 /* none will come: no memory */
    bool gone;                   /* nobody watches any more */
    struct tf_unsent unwatch;
    /* the home's own */
    struct tf_list_node in_watched; /* watched->cells */
    struct tf_watched *watched;
    uint64_t sent; /* the last version that it was mailed; 0: none */
    struct tf_unsent refusal;
};

/* One count less. */
void tf_watch_cell_unref(struct tf_watch_cell *cell);

/* TOLD and REFUSED in the watching shard. Each takes over the mail's counts. */
void tf_watch_told(struct tf_shard *shard, struct tf_watch_cell *cell, struct tf_message *message,
                   uint64_t version);
void tf_watch_refused(struct tf_shard *shard, struct tf_watch_cell *cell);

/* Tells watchers who are behind, a bounded number. */
void tf_watch_walk(struct tf_shard *shard);

/* Walks the invariants of one cell. */
bool tf_watch_cell_check(const struct tf_watch_cell *cell);

/*
 * A watched address, in its home. It is a last-value queue of depth one: a binding brings the
 * publications of all shards, `now` is the last, and the cells are told by conflation.
 */
struct tf_watched {
    struct tf_map_node node;   /* access.watched */
    struct tf_list_node dirty; /* access.dirty */
    struct tf_list cells;      /* of tf_watch_cell.in_watched; never empty */
    struct tf_value now;       /* its message NULL: none; its timer runs while it is live */
    struct tf_queue queue;     /* always empty */
    struct tf_consumer consumer;
    struct tf_bind_owner owner;
    struct tf_queue_limits limits;
    struct tf_queue_counters counters;
    bool live;     /* `now` is not the stored value, but published since without being retained */
    bool standing; /* every shard knows of it: cells may be told */
    bool failed;   /* or will never */
    size_t size;
    struct tf_bytes address; /* behind the struct */
};

/* The watched address with this hash; NULL: nobody watches it. */
struct tf_watched *tf_watched_find(const struct tf_shard *shard, struct tf_bytes address,
                                   uint64_t hash);

/* WATCH and UNWATCH in a home. Each takes over the mail's count. */
void tf_watched_add(struct tf_shard *shard, struct tf_watch_cell *cell);
void tf_watched_remove(struct tf_shard *shard, struct tf_watch_cell *cell);

/* The stored value of an address has been written or cleared: a message of this home's. */
void tf_watched_stored(struct tf_shard *shard, const struct tf_message *message);

/* What is stored (perhaps nothing) is the value again, with a new version. */
void tf_watched_revert(struct tf_watched *watched);

/* Mails the newest values to the cells that have not got them. */
void tf_watched_tell(struct tf_shard *shard);

/* Frees one at the end of the shard. */
void tf_watched_free(struct tf_shard *shard, struct tf_watched *watched);

/* Walks the invariants of one; adds to *live_bytes. */
bool tf_watched_check(const struct tf_shard *shard, const struct tf_watched *watched,
                      uint64_t *live_bytes);

#endif
