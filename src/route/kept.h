/*
 * What the store keeps of a queue: its entries, recorded as they come, change and go; and its tail.
 *
 * A kept queue has its first entries in memory, at most a window of them, and whatever is behind
 * that in the store alone: the tail. Who pushes while there is a tail, or while the window is full,
 * adds to the tail; as the window empties and somebody takes, it is filled from the tail by pages.
 * After a restart everything is tail, so a start reads no messages.
 *
 *      push --> window: available, acquired  --settle-->  gone
 *       |          ^
 *       |          | pages (tf_kept_fill)
 *       +------> tail: count, bytes, `next`
 *
 * A queue of a session records entries above QoS 0 only; what is at most once stays in memory, and
 * is dropped where it would belong to the tail.
 *
 * Invariants:
 *  1. Every entry in memory with `stored` set, and every entry of the tail, is in the store;
 *     nothing else of this queue is, but for what is being settled.
 *  2. Positions in memory are below those of the tail, which are not below `next`.
 *  3. queue->count and ->bytes are those in memory and the tail's.
 *  4. At most one page is being read.
 *
 * Both kinds of queue use it: queue.c (sessions) and named_*.c.
 */
#ifndef TF_ROUTE_KEPT_H
#define TF_ROUTE_KEPT_H

#include "route/queue.h"
#include "route/stored.h"

#define TF_KEPT_WINDOW 1024u                /* entries in memory before there is a tail */
#define TF_KEPT_WINDOW_BYTES (1024u * 1024) /* and bytes */
#define TF_KEPT_PAGE 64u                    /* entries of a page at most */
#define TF_KEPT_PAGE_BYTES (128u * 1024)

struct tf_kept_ops {
    /*
     * An entry of the tail has been read: makes it an available one (`stored`), behind all others;
     * takes over one count of `message`. The identifiers and annotations are views. The tail's
     * part of the queue's and the shard's counts and bytes has been taken off before: the entry is
     * counted as any new one is, with whatever it is charged in memory. TF_NO_MEMORY: it stays in
     * the tail, and the count of `message` with the caller.
     */
    enum tf_err (*item)(struct tf_queue *queue, uint64_t position,
                        const struct tf_stored_entry *stored, struct tf_message *message);
    /* A page has come, or there is nothing any more: offer what is available. */
    void (*filled)(struct tf_queue *queue);
};

struct tf_kept {
    const struct tf_kept_ops *ops;
    struct tf_queue *queue;
    struct tf_entry *fresh; /* offered, not yet recorded: see tf_kept_offer */
    struct tf_store_read read;
    struct tf_list_node node; /* shard->paging: a page is to be read; or shard->starved: it could
                                 not be */
    uint64_t id;              /* of the queue in the store */
    uint64_t next;            /* no entry of the tail is below it */
    uint64_t tail_bytes;
    uint32_t tail_count;
    uint32_t added_count; /* to the tail since the page that is being read was asked for, */
    uint64_t added_bytes; /* and their bytes */
    uint64_t *restored;   /* positions given to tf_queue_restore_entry that the tail's reader has
                             yet to pass over, ascending */
    uint32_t restored_count, restored_capacity;
    uint8_t level; /* enum tf_store_level */
    bool reading;
    bool over; /* the next page is wanted however much is in memory */
};

/*
 * The store keeps the queue from now on, as `id` (0: a new one); `ops` NULL: it is a session's.
 * What is in it already is not recorded. The shard has a store. TF_NO_MEMORY: it does not.
 */
TF_MUST_USE enum tf_err tf_queue_keep(struct tf_queue *queue, uint64_t id, uint8_t level,
                                      const struct tf_kept_ops *ops);

/* The store keeps it no more: `forget` tells it so (the queue ends), else it has it still (the
 * shard ends). No effect on entries in memory. Part of tf_queue_release. */
void tf_queue_unkeep(struct tf_queue *queue, bool forget);

/* ---- recording; each is a matter of course where queue->kept is NULL: TF_OK, no effect ---- */

/*
 * To be called before an entry of a publication is made: room in the store for its record and
 * message. *ret_level: how it will be recorded; TF_STORE_MEMORY: it will not be. TF_NO_MEMORY: no
 * room, or the store takes nothing new: the push fails by TF_NO_MEMORY, and whoever published hears
 * that it was refused.
 */
TF_MUST_USE enum tf_err tf_kept_reserve(struct tf_queue *queue, const struct tf_message *message,
                                        uint8_t *ret_level);

/* True: the next entry belongs to the tail. */
bool tf_kept_beyond(const struct tf_queue *queue);

/*
 * A new entry is offered before it is recorded, so that its tag is part of the record. It is gone
 * meanwhile if kept->fresh is not it afterwards; else tf_kept_add follows.
 */
void tf_kept_offer(struct tf_entry *entry);

/* Records a new entry, which is in memory: with its tag, if it has one. Whoever does not need a tag
 * records before offering. */
void tf_kept_add(struct tf_entry *entry, uint8_t level, const struct tf_stored_entry *stored);

/* Records a new entry of the tail; counts it for the queue. */
void tf_kept_add_tail(struct tf_queue *queue, struct tf_message *message, uint8_t level,
                      const struct tf_stored_entry *stored, const struct tf_subscription_ids *ids);

/* An entry in memory has changed: records all of `stored` anew, if it is stored. */
void tf_kept_change(struct tf_entry *entry, const struct tf_stored_entry *stored);

/* An entry in memory goes: settled, expired or dropped. If it is stored, that is recorded. */
void tf_kept_gone(struct tf_entry *entry);

/* All of the tail goes (a purge): one record. Returns how many there were. */
uint32_t tf_kept_drop_tail(struct tf_queue *queue);

/*
 * Somebody would take more: reads a page if there is a tail and the window has room for it.
 * `filled` follows. What could not be read is tried again by itself, after a while.
 */
void tf_kept_fill(struct tf_queue *queue);

/* True: little of it is in memory, so that it is time to read on. Precondition: it is kept. */
bool tf_kept_low(const struct tf_queue *queue);

/* The same, however much is in memory: for who has been offered all of that and takes more (a
 * browser, a consumer that settles late). */
void tf_kept_read_on(struct tf_queue *queue);

/* ---- at the start ---- */

/* The store has `count` entries of `bytes` in all, none below `first`. */
void tf_queue_restore(struct tf_queue *queue, uint32_t count, uint64_t bytes, uint64_t first);

/*
 * An entry of a session's queue that was under way (its tag is not 0): in memory, acquired. In the
 * order of positions; not counted by tf_queue_restore. Takes over one count of `message`, unless it
 * fails. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_queue_restore_entry(struct tf_queue *queue, uint64_t position,
                                               const struct tf_stored_entry *stored,
                                               struct tf_message *message, struct tf_entry **ret);

/* Walks the invariants, given what is in memory. */
bool tf_kept_check(const struct tf_queue *queue, uint32_t count, uint64_t bytes);

#endif
