/*
 * The index: what lives, and where on the disk it lies. It knows no files and no disk.
 *
 * Every change has two steps. A tf_index_... call stages it and takes all the memory that it will
 * need; tf_index_commit makes all staged changes true, in order, at the place where their group was
 * written, and cannot fail; tf_index_rollback undoes them. So a group that could not be written has
 * never happened.
 *
 * While `loading` the same calls make it true at once, at `place`: what a start reads has happened.
 * Records of things that are there already, or no longer there, are normal; messages wait for those
 * that refer to them until tf_index_loaded. After TF_NO_MEMORY all of the index is to be released.
 */
#ifndef TF_STORE_INDEX_H
#define TF_STORE_INDEX_H

#include <trefoil/bytes.h>
#include <trefoil/err.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/map.h"
#include "store/record.h"
#include "store/slab.h"

/* Where a group's records and bodies are told to lie: `segment` 0 of staged things. */
struct tf_index_place {
    uint32_t segment, bodies; /* offset of the first body */
};

struct tf_index_message {
    struct tf_map_node node; /* in `message_map` */
    uint64_t id;
    uint32_t segment, offset; /* segment 0: its bytes are lost, or not seen yet */
    uint32_t length, crc;
    uint32_t refs : 31;   /* entries and objects, the staged ones too */
    uint32_t pending : 1; /* staged */
    uint32_t number;      /* in `messages` */
    uint32_t epoch;       /* of the last snapshot that has it */
    uint32_t next_zero;   /* list of those that lost their last reference; see index.c */
};

/* An object: ids (message numbers), key and value follow it in one block. */
struct tf_index_object {
    struct tf_map_node node; /* in `object_map`, unless pending; its hash in any case */
    uint32_t number;         /* in `objects` */
    uint32_t segment;
    uint32_t key_length, value_length, ref_count;
    uint8_t kind;
    bool pending;
    uint32_t refs[];
};

enum tf_index_state { TF_INDEX_DEAD, TF_INDEX_PENDING, TF_INDEX_LIVE };

struct tf_index_entry {
    uint32_t delta; /* position less that of the chunk */
    uint32_t message;
    uint32_t segment;
    uint16_t attributes; /* where they begin in the chunk's own */
    uint8_t length;      /* of them */
    uint8_t state;       /* enum tf_index_state */
};

/* A run of entries of one queue by position, with their attributes behind them. */
struct tf_index_chunk {
    uint64_t base;
    uint16_t count, capacity; /* entries, dead ones too */
    uint16_t alive;           /* live and pending ones */
    uint16_t room;            /* bytes for attributes */
    uint16_t used;            /* of them */
    uint16_t wanted;          /* of them, kept for staged changes */
    struct tf_index_entry entries[];
};

struct tf_index_queue {
    struct tf_map_node node; /* in `queue_map` */
    uint64_t id;
    struct tf_index_chunk **chunks; /* by base; the first is chunks[start] */
    uint32_t start, count, capacity;
    uint32_t number; /* in `queues` */
    uint64_t alive;  /* entries, live and pending */
};

struct tf_index_op;

/* Bytes that live, a segment each; see tf_index_live. */
struct tf_index_segment {
    uint32_t number;
    uint64_t live;
};

struct tf_index {
    const struct tf_alloc *alloc;
    struct tf_hash_key key;
    struct tf_map message_map, object_map, queue_map;
    struct tf_slab messages, objects, queues; /* of tf_index_message, pointers, tf_index_queue */
    struct tf_index_op *ops;
    size_t op_count, op_capacity;
    struct tf_buffer bytes; /* attributes of staged changes */
    uint32_t zeros;         /* the first message of the list of those without a reference */
    uint32_t epoch;         /* of the newest snapshot */
    bool loading;
    struct tf_index_place place; /* while loading: of the group that is being read */
    uint64_t entries;            /* that live */
    uint64_t pending;            /* messages that are staged */
    uint64_t live_bytes;         /* of records and bodies that live */
    /* Segments by number, ascending; the owner of the files adds and removes them. */
    struct tf_index_segment *segments;
    size_t segment_count, segment_capacity;
};

void tf_index_init(struct tf_index *index, const struct tf_alloc *alloc, uint64_t seed);
void tf_index_release(struct tf_index *index);

/* Adds a segment above all others; TF_NO_MEMORY. Removes the oldest. */
TF_MUST_USE enum tf_err tf_index_add_segment(struct tf_index *index, uint32_t number);
void tf_index_drop_segment(struct tf_index *index);
/* Makes a segment's live bytes be counted as what lies in it comes and goes; 0 if it isn't there.
 */
uint64_t tf_index_segment_live(const struct tf_index *index, uint32_t number);

/* ---- staging. TF_NO_MEMORY of each: it was not staged. ---- */

/* A message at `offset` of the group's bodies, or (segment not 0) at a place of the log. */
TF_MUST_USE enum tf_err tf_index_message(struct tf_index *index, const struct tf_record *record);
/*
 * An entry; one that is there already has moved and may have changed. TF_NOT_FOUND: no such message
 * (not while loading).
 */
TF_MUST_USE enum tf_err tf_index_entry(struct tf_index *index, const struct tf_record *record);
TF_MUST_USE enum tf_err tf_index_settle(struct tf_index *index, uint64_t queue, uint64_t first,
                                        uint64_t last);
/* An object; TF_NOT_FOUND: one of its messages isn't there (not while loading). */
TF_MUST_USE enum tf_err tf_index_put(struct tf_index *index, const struct tf_record *record);
TF_MUST_USE enum tf_err tf_index_remove(struct tf_index *index, uint8_t kind, struct tf_bytes key);
/* An object that was written anew as it is. A message whose bytes cannot be read any more. */
TF_MUST_USE enum tf_err tf_index_move_object(struct tf_index *index, uint32_t number);
TF_MUST_USE enum tf_err tf_index_lose(struct tf_index *index, uint32_t message);

/* Makes what was staged true. */
void tf_index_commit(struct tf_index *index, struct tf_index_place place);
/* Undoes what was staged. */
void tf_index_rollback(struct tf_index *index);
/* Frees a number of messages that nothing refers to any more. True: there are more. */
bool tf_index_tidy(struct tf_index *index);
/* The bytes of a message are not where they should be. Of a start: at once. */
void tf_index_lose_now(struct tf_index *index, uint32_t message);
/* Records that will be told soon; zero: none yet. */
struct tf_index_ahead {
    struct {
        const struct tf_map *map;
        uint64_t hash;
    } items[8];
    unsigned next;
};
/* While loading, of some hundred records before the first is told: where to look is fetched. */
void tf_index_expect(const struct tf_index *index, struct tf_index_ahead *ahead,
                     const struct tf_record *record);
/* About how many messages there will be: room in the tables at once. */
void tf_index_reserve(struct tf_index *index, uint64_t messages);
/* All has been read: forgets messages that nobody refers to. Returns how many are lost. */
uint64_t tf_index_loaded(struct tf_index *index);

/* ---- looking ---- */

struct tf_index_message *tf_index_find_message(const struct tf_index *index, uint64_t id);
struct tf_index_object *tf_index_find_object(const struct tf_index *index, uint8_t kind,
                                             struct tf_bytes key);
struct tf_index_queue *tf_index_find_queue(const struct tf_index *index, uint64_t id);
struct tf_index_message *tf_index_message_at(const struct tf_index *index, uint32_t number);
struct tf_index_object *tf_index_object_at(const struct tf_index *index, uint32_t number);
struct tf_index_queue *tf_index_queue_at(const struct tf_index *index, uint32_t number);

struct tf_bytes tf_index_object_key(const struct tf_index_object *object);
struct tf_bytes tf_index_object_value(const struct tf_index_object *object);

/* Makes the record of an object, with the ids of its messages in `ids`. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_index_object_record(const struct tf_index *index,
                                               const struct tf_index_object *object,
                                               struct tf_buffer *ids, struct tf_record *ret);

/* What tells entries apart on a walk: the first of a queue, not dead, that is not below `from`. */
struct tf_index_at {
    struct tf_index_chunk *chunk;
    struct tf_index_entry *entry;
};
bool tf_index_entry_from(const struct tf_index_queue *queue, uint64_t from,
                         struct tf_index_at *ret);
/* The next entry, not dead, of a walk in which nothing changes; *cursor 0: the first. */
bool tf_index_next_entry(const struct tf_index_queue *queue, uint64_t *cursor,
                         struct tf_index_at *ret);
/* Of a walk of objects by number: has a later one fetched. */
void tf_index_expect_object(const struct tf_index *index, uint32_t number);
/* Of entries of a walk: has the message of a later one fetched. */
void tf_index_expect_message(const struct tf_index *index, const struct tf_index_at *at);
uint64_t tf_index_position(const struct tf_index_at *at);
struct tf_bytes tf_index_attributes(const struct tf_index_at *at);
/* The last position of a queue that is not dead; false: there is none. */
bool tf_index_last(const struct tf_index_queue *queue, uint64_t *ret_position);

/* Walks the invariants. O(all). */
bool tf_index_check(const struct tf_index *index);

/* ---- between index.c, index_queue.c and index_stage.c ---- */

enum tf_index_kind {
    TF_OP_MESSAGE,    /* number, segment, offset */
    TF_OP_PLACE,      /* of a message that was there: number, segment, offset, length, sum */
    TF_OP_LOSE,       /* number */
    TF_OP_ENTRY,      /* queue, first: pending */
    TF_OP_CHANGE,     /* queue, first, attributes: number is where they begin in `bytes` */
    TF_OP_SETTLE,     /* queue, first, last */
    TF_OP_PUT,        /* number: pending */
    TF_OP_REMOVE,     /* bytes from `number`: key, kind in first */
    TF_OP_MOVE_OBJECT /* number */
};

struct tf_index_op {
    uint8_t kind; /* enum tf_index_kind */
    uint8_t length;
    bool placed;   /* segment and offset are of the log, not of the group */
    bool reserved; /* CHANGE: `length` bytes of the chunk's `wanted` are its own */
    uint32_t number, segment, offset;
    uint64_t queue, first, last;
};

/* Room for one more op, and the op, zeroed; it counts once op_count is raised. NULL: no memory. */
struct tf_index_op *tf_index_op(struct tf_index *index, enum tf_index_kind kind);
/* `bytes` more or less live in a segment. */
void tf_index_live(struct tf_index *index, uint32_t segment, int64_t bytes);
/* A message loses a reference. */
void tf_index_unref(struct tf_index *index, uint32_t message);
/* The message that a record refers to: makes one that waits while loading. */
TF_MUST_USE enum tf_err tf_index_refer(struct tf_index *index, uint64_t id, uint32_t *ret_number);

void tf_index_queues_release(struct tf_index *index);
void tf_index_commit_entry(struct tf_index *index, const struct tf_index_op *op);
void tf_index_commit_change(struct tf_index *index, const struct tf_index_op *op);
void tf_index_commit_settle(struct tf_index *index, const struct tf_index_op *op);
void tf_index_undo_entry(struct tf_index *index, const struct tf_index_op *op);
void tf_index_undo_change(struct tf_index *index, const struct tf_index_op *op);
bool tf_index_check_queues(const struct tf_index *index, uint64_t *ret_refs, uint64_t *ret_live);

#endif
