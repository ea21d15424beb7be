/*
 * What the files of the store share. See store.c for how it works.
 */
#ifndef TF_STORE_STORE_INTERNAL_H
#define TF_STORE_STORE_INTERNAL_H

#include "base/random.h"
#include "store/store_batch.h"

#define TF_STORE_LINE 64u                              /* bytes of a cache line */
#define TF_STORE_CONGESTED ((size_t)16 << 20)          /* bytes that may be under way, a client */
#define TF_STORE_OVERRUN ((size_t)64 << 20)            /* the same, whoever it is from */
#define TF_STORE_FLOODED ((size_t)256 << 20)           /* the same, of a full store */
#define TF_STORE_LOADS 3u                              /* those three */
#define TF_STORE_BATCH_MAX ((size_t)256 << 20)         /* bytes from which a batch takes no more */
#define TF_STORE_GROUP_BYTES ((size_t)64 << 20)        /* of a group, unless one batch has more */
#define TF_STORE_GROUP_BATCHES ((size_t)4096)          /* likewise */
#define TF_STORE_RETRY ((tf_time)100 * TF_MILLISECOND) /* after what has failed */
#define TF_STORE_READ_BYTES ((size_t)1 << 20)          /* that are read in a turn, about */
#define TF_STORE_STATS (sizeof(struct tf_journal_stats) / sizeof(uint64_t))

/* A read on its way there and back. */
struct tf_store_page {
    struct tf_store_page *next;
    struct tf_store_read *read; /* the shard's: NULL when it was cancelled */
    uint64_t after;             /* the batch that has to be done before */
    uint64_t queue, from;
    uint32_t entries, bytes; /* limits */
    /* what has come */
    enum tf_err err;
    bool end;
    uint32_t count, at;
    size_t size; /* of `items` and what follows */
    struct tf_store_item *items;
};

/* Both ends of one client. Lists that both threads touch are stacks: pushed to by one, taken as a
 * whole by the other. */
struct tf_store_end {
    _Atomic(struct tf_store_batch *) submitted; /* by the shard */
    _Atomic(struct tf_store_page *) asked;
    uint8_t between[TF_STORE_LINE];
    _Atomic(struct tf_store_batch *) returned; /* by the store's thread */
    _Atomic(struct tf_store_page *) answered;
    _Atomic(uint64_t) done;
    uint8_t between_too[TF_STORE_LINE];
    /* the shard's */
    struct tf_store_batch *free;
    size_t free_bytes;
    struct tf_store_batch *spare; /* set aside; NULL: in use */
    struct tf_store_block *aside; /* likewise */
    struct tf_random random;
    bool lost;      /* something could not be recorded: nothing is any more */
    unsigned loads; /* in how many of store->loads it is counted */
    uint8_t between_three[TF_STORE_LINE];
    /* the store's thread's */
    unsigned shard;
    struct tf_store_batch *first, *last; /* taken, in order */
    struct tf_store_batch *cut;          /* the first that is not in the group; NULL: all are */
    uint64_t looked;                     /* batches from this number on are known to be out */
    struct tf_store_page *pages, *pages_last;
};

struct tf_store {
    struct tf_store_config config;
    struct tf_journal *journal;
    uint64_t run;
    uint64_t message; /* the last id */
    struct tf_map joins;
    atomic_int state;                  /* enum tf_store_state; a shard, too, makes it BROKEN */
    atomic_uint loads[TF_STORE_LOADS]; /* clients that have as much under way */
    _Atomic(uint64_t) stats[TF_STORE_STATS];
    enum tf_store_state told; /* the last that config.changed was told */
    bool broken;              /* nothing is done any more */
    bool full;                /* something could not be written, or there is no room left */
    bool stuck;               /* something could not be written and still waits */
    bool blocked;             /* not even what frees space could be */
    tf_time retry;            /* when it is tried again, if full */
    uint64_t segments;        /* how many there were when it failed */
    enum tf_err err;          /* why */
    int error;
    size_t budget, batches;  /* what a group may have of each client */
    unsigned only;           /* of this one alone; the number of clients: of all */
    size_t pending;          /* batches that were taken and are not done */
    uint64_t credit;         /* bytes of upkeep that what was written has earned */
    unsigned turn;           /* the client whose reads come first */
    struct tf_bytes *pieces; /* of a message */
    size_t piece_capacity;
    struct tf_store_end ends[];
};

/* ---- the group (store_group.c) ---- */

/* Takes over batches from a list of them in order. */
void tf_store_group_take(struct tf_store *store, struct tf_store_end *end,
                         struct tf_store_batch *batch);
/*
 * Chooses the group: sets each end's `cut`. `thrifty`: only what frees space. Returns the number of
 * batches.
 */
size_t tf_store_group_choose(struct tf_store *store, bool thrifty);
/* Appends the group to the journal. *ret_sync: it has to be synced. TF_NO_MEMORY, TF_LIMIT. */
TF_MUST_USE enum tf_err tf_store_group_apply(struct tf_store *store, bool *ret_sync);
/* Ends the group: `done` or, of a broken store, not. */
void tf_store_group_end(struct tf_store *store, bool done);

/* ---- reads (store_page.c) ---- */

/* Takes over reads from a list of them in order. */
void tf_store_page_take(struct tf_store_end *end, struct tf_store_page *page);
/* Reads what may be read, some of it. True: there is more. */
bool tf_store_page_serve(struct tf_store *store);
void tf_store_page_free(struct tf_store_page *page, const struct tf_alloc *alloc);

/* ---- both sides ---- */

/* Something could not be recorded, or not synced. Any thread. */
static inline void tf_store_break(struct tf_store *store)
{
    atomic_store_explicit(&store->state, TF_STORE_BROKEN, memory_order_release);
}

#endif
