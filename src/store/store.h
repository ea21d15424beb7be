/*
 * The store as the shards see it: what is to be kept is appended to a batch, the batch is submitted
 * at the end of a turn, and what follows from it may be told to anybody when the batch is done.
 *
 *      shard's thread                                   store's thread
 *      tf_store_put, _entry, _settle, ...
 *      tf_store_submit     -------- batch ------------> tf_store_turn: gathers the batches of all
 *                                                       shards, one group, one sync
 *      tf_store_receive    <------- done --------------
 *      tf_store_done(n): may be told
 *
 * A client is a shard's end of it. Batches are numbered; those of one client become true in order,
 * each whole or not at all. Batches of several clients that `join` the same transaction become true
 * together. Messages are known by their owner (who is held while the store needs its bytes) and are
 * written once, however many entries of however many shards refer to them.
 *
 * Without a client (a broker that keeps everything in memory) nobody calls any of this.
 *
 * What the records mean is the caller's affair (route/stored.h); the store knows kinds, keys,
 * queues and positions. Kind 0 is its own.
 *
 * Invariants:
 *  1. A batch is with its client, in `submitted`, with the store's thread, or in `returned`.
 *  2. done < number of every batch that is not with its client; numbers ascend.
 *  3. Nothing of a batch is in the journal before all batches that it has joined are submitted.
 *  4. After a failed sync `done` never changes again (TF_STORE_BROKEN).
 */
#ifndef TF_STORE_STORE_H
#define TF_STORE_STORE_H

#include <stdatomic.h>

#include <trefoil/time.h>

#include "base/list.h"
#include "store/journal.h"

struct tf_store;
struct tf_store_batch;
struct tf_store_end;
struct tf_store_page;

/* How safe a record is when its batch is done. */
enum tf_store_level {
    TF_STORE_MEMORY, /* not recorded at all */
    TF_STORE_OS,     /* survives the process */
    TF_STORE_DISK    /* survives the machine */
};

enum tf_store_state {
    TF_STORE_READY,
    TF_STORE_SLOW,  /* over the soft limit: let publishers wait */
    TF_STORE_FULL,  /* no room on the disk, or a write failed: take nothing new; what was submitted
                       is tried again until it succeeds */
    TF_STORE_BROKEN /* a sync failed: nothing will ever be done any more */
};

/* A message to be kept. */
struct tf_store_message {
    void *owner;                 /* for the store's hold and let_go */
    uint64_t *id;                /* of the owner, 0 at first; the store's thread alone uses it */
    struct tf_bytes head;        /* copied */
    const struct tf_bytes *body; /* pieces; they and their array last while the owner is held */
    size_t count;
};

/* ---- a shard's end; called by the shard's thread alone ---- */

struct tf_store_client {
    struct tf_store *store;
    struct tf_store_batch *batch; /* being filled; NULL: nothing was appended yet */
    struct tf_list reads;         /* of tf_store_read: not yet done */
    unsigned shard;
    uint64_t current;  /* number of the batch that is being filled */
    uint64_t done;     /* batches up to this one are done, as of the last tf_store_receive */
    uint64_t appended; /* records ever: tells whether something was recorded in between */
    uint64_t next_transaction;
    bool wanted; /* somebody waits for the batch that is being filled, or it has more than
                    settlements: it is better submitted than made longer */
    /* the store's own */
    struct tf_store_end *end;
    size_t outstanding; /* bytes that were submitted and are not done */
};

/* A new id for a queue: random, not 0, never used before. */
uint64_t tf_store_queue_id(struct tf_store_client *client);

/* All positions of this run are above it: a restart never uses one again. */
uint64_t tf_store_first_position(const struct tf_store_client *client);

enum tf_store_state tf_store_state(const struct tf_store_client *client);

/*
 * Makes sure that the records appended next, up to four of them with `bytes` of keys, values,
 * attributes and heads in all, find room. To be called before anything is changed that must be
 * recorded; after an error nothing of that may be changed: refuse what was asked for. TF_NO_MEMORY:
 * a later turn may find some. TF_LIMIT: the store is full, or it is too much for one batch.
 * TF_CLOSED: it is broken, and takes nothing any more.
 */
TF_MUST_USE enum tf_err tf_store_reserve(struct tf_store_client *client, size_t bytes);

/*
 * ---- appending to the batch of this turn: what has been reserved ----
 * `level` OS or DISK: how safe the batch must be before it is done, at least.
 */

/* An object; `message` that it refers to, or NULL. Put replaces. */
void tf_store_put(struct tf_store_client *client, enum tf_store_level level, uint8_t kind,
                  struct tf_bytes key, struct tf_bytes value,
                  const struct tf_store_message *message);

/* True: the message was appended to this batch last, its head and body need not be given again. */
bool tf_store_has(const struct tf_store_client *client, const void *owner);

/* An entry and its message: `position` above all that the queue ever had; attributes up to
 * TF_JOURNAL_ATTRIBUTES_MAX bytes. */
void tf_store_entry(struct tf_store_client *client, enum tf_store_level level, uint64_t queue,
                    uint64_t position, struct tf_bytes attributes,
                    const struct tf_store_message *message);

/*
 * ---- the same, without a reservation: there is memory set aside for these. If that is used up,
 * too, the store is broken: it must not forget what has happened. ----
 */

/* Other attributes for an entry. */
void tf_store_change(struct tf_store_client *client, enum tf_store_level level, uint64_t queue,
                     uint64_t position, struct tf_bytes attributes);

/* Entries `first` to `last` of a queue are done with. Neighbours become one record. */
void tf_store_settle(struct tf_store_client *client, enum tf_store_level level, uint64_t queue,
                     uint64_t first, uint64_t last);

void tf_store_remove(struct tf_store_client *client, enum tf_store_level level, uint8_t kind,
                     struct tf_bytes key);

/*
 * A transaction: this batch becomes true together with all that join it. `parts` tells how many
 * calls of tf_store_join there will be in all (one of the callers knows; 0 from the others). Every
 * one of them must come, whatever happens.
 */
uint64_t tf_store_transaction(struct tf_store_client *client);
void tf_store_join(struct tf_store_client *client, uint64_t transaction, uint32_t parts);

/* ---- reading entries back ---- */

/* Reads the next entries of a queue, with their messages. */
struct tf_store_read {
    struct tf_list_node node;   /* client->reads */
    struct tf_store_page *page; /* the store's own */
    uint64_t queue, from;       /* the first position that may come */
    uint32_t entries;           /* so many at most, at least 1 */
    uint32_t bytes;             /* of messages; the first one comes however large it is */
    /*
     * Called by tf_store_receive; the page lasts for the call. TF_OK. TF_NO_MEMORY, TF_IO: nothing
     * came, read again later. May begin another read with the same struct.
     */
    void (*done)(struct tf_store_read *read, enum tf_err err, struct tf_store_page *page);
};

/*
 * Begins to read: after all batches up to the current one. `read`, whose node is in no list, stays
 * where it is until done is called, or it is cancelled. TF_NO_MEMORY: it has not begun, read later.
 * Of a broken store: what it has.
 */
TF_MUST_USE enum tf_err tf_store_read(struct tf_store_client *client, struct tf_store_read *read);

/* It is not wanted any more: done is not called. No effect if it isn't under way. */
void tf_store_read_cancel(struct tf_store_client *client, struct tf_store_read *read);

struct tf_store_item {
    uint64_t position;
    struct tf_bytes attributes;
    struct tf_bytes message; /* head and body in one piece; NULL data: damaged on the disk */
};

/* The next item of a page, in order; false: no more. */
bool tf_store_page_next(struct tf_store_page *page, struct tf_store_item *ret);
/* True: the queue had no entry behind the last of this page when it was read. */
bool tf_store_page_end(const struct tf_store_page *page);

/* ---- turns ---- */

/* The number that what was recorded up to now waits for; 0: nothing is under way or recorded. Who
 * asks for it wants that batch. */
static inline uint64_t tf_store_current(struct tf_store_client *client)
{
    client->wanted |= client->batch != NULL;
    return client->batch                        ? client->current
           : client->done + 1 < client->current ? client->current - 1
                                                : 0;
}

/* True: batch `number` is done (0 always is). */
static inline bool tf_store_done(const struct tf_store_client *client, uint64_t number)
{
    return number <= client->done;
}

/* Hands the batch over, if anything is in it. Before the output of a turn, and at its end. */
void tf_store_submit(struct tf_store_client *client);

/* Takes note of what is done and calls back for what was read. True: something has changed. */
bool tf_store_receive(struct tf_store_client *client);

/*
 * True: so much is under way, of any client, that whoever adds to it should not be heard for the
 * moment. All shards are woken when that is over.
 */
bool tf_store_congested(const struct tf_store_client *client);
/* True: even so there is several times as much: nobody should be heard. When it is full this is
 * true only of far more, since what would clear it must go on coming. */
bool tf_store_overrun(const struct tf_store_client *client);

/* ---- the store itself ---- */

struct tf_store_config {
    struct tf_journal_config journal;
    unsigned shards;              /* clients */
    const struct tf_alloc *alloc; /* thread-safe */
    uint64_t soft_limit;          /* bytes of all files from which it is SLOW; 0: none */
    void (*hold)(void *owner);    /* one count more of a message, by a shard's thread */
    void (*let_go)(void *owner);  /* one less, by the store's thread */
    /* Any thread: batches of that shard are done, or what it read is there. */
    void (*wake_shard)(void *ctx, unsigned shard);
    /* Any thread: there is something for tf_store_turn. */
    void (*wake_store)(void *ctx);
    /* The store's thread: another state, and why: `err` of the journal, the disk's error number. */
    void (*changed)(void *ctx, enum tf_store_state state, enum tf_err err, int error);
    void *ctx;
};

/*
 * Opens the journal and makes a store of it. Errors of tf_journal_open; TF_CLOSED: the mark of this
 * run could not be synced.
 */
TF_MUST_USE enum tf_err tf_store_new(const struct tf_store_config *config, struct tf_store **ret,
                                     struct tf_journal_report *ret_report, uint64_t *ret_holder);

/* The journal, to be walked before the first turn: what was kept. */
struct tf_journal *tf_store_journal(struct tf_store *store);

/* The end of shard `number`, one each. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_store_client_init(struct tf_store_client *client, struct tf_store *store,
                                             unsigned number);
/* What was not submitted is lost; reads are cancelled. */
void tf_store_client_release(struct tf_store_client *client);

/*
 * The store's thread: takes what was submitted, writes and syncs it, completes it, reads, and does
 * a piece of upkeep. True: there is more to do at once. False: wait for wake_store, or until
 * *ret_until (what failed is tried again then).
 */
bool tf_store_turn(struct tf_store *store, tf_time now, tf_time *ret_until);

/* True: nothing that was submitted is left. For the end, and for tests. */
bool tf_store_idle(struct tf_store *store);

/* For any thread: as of the last turn. */
void tf_store_stats(struct tf_store *store, struct tf_journal_stats *ret);

/* Closes the journal; no client is used any more. NULL is ignored. */
void tf_store_free(struct tf_store *store);

#endif
