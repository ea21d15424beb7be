/*
 * Batches: what one turn of one shard records, as ops in blocks that never move.
 *
 * An op is a struct with its bytes behind it. Only pointers into the blocks and to what the
 * messages' owners keep alive are in it, so the store's thread can write a body from where the
 * shard has it. Blocks stay with their batch, and batches come back to their client, so a shard
 * that runs for a while allocates nothing.
 */
#ifndef TF_STORE_STORE_BATCH_H
#define TF_STORE_STORE_BATCH_H

#include "base/map.h"
#include "store/store.h"

#define TF_STORE_BLOCK_FIRST ((size_t)8 << 10) /* bytes of a batch's first block */
#define TF_STORE_BLOCK ((size_t)64 << 10)      /* and of the others, at least */
#define TF_STORE_ASIDE ((size_t)256 << 10)     /* set aside for each client */
#define TF_STORE_KEEP ((size_t)1 << 20)        /* what a batch may keep when it is empty */

enum tf_store_op_type {
    TF_STORE_OP_MESSAGE, /* struct tf_store_held, its head behind it */
    TF_STORE_OP_JOIN,    /* struct tf_store_join */
    TF_STORE_OP_PUT,     /* key, value; message or NULL */
    TF_STORE_OP_REMOVE,  /* key */
    TF_STORE_OP_ENTRY,   /* queue, first, value: attributes, message */
    TF_STORE_OP_CHANGE,  /* queue, first, value: attributes */
    TF_STORE_OP_SETTLE   /* queue, first, last */
};

struct tf_store_head {
    uint32_t size; /* of the op, what follows it included */
    uint8_t type;  /* enum tf_store_op_type */
    uint8_t kind;
    uint16_t key; /* bytes */
};

struct tf_store_op {
    struct tf_store_head head;
    uint32_t value; /* bytes */
    uint64_t queue, first, last;
    struct tf_store_held *message;
    /* key, value */
};

/* A message whose owner is held until the batch is done. */
struct tf_store_held {
    struct tf_store_head head;
    struct tf_store_held *next; /* of the batch */
    void *owner;
    uint64_t *id;
    struct tf_bytes start; /* its head, behind this */
    const struct tf_bytes *body;
    size_t count;
};

struct tf_store_join {
    struct tf_store_head head;
    struct tf_map_node node;    /* in the store's `joins`, by the transaction */
    struct tf_store_join *next; /* of the batch */
    struct tf_store_batch *batch;
    uint64_t transaction;
    uint32_t parts;
};

/* What four records may need beside their own bytes. */
#define TF_STORE_RESERVE (4 * (sizeof(struct tf_store_op) + sizeof(struct tf_store_held) + 32) + 64)

struct tf_store_block {
    struct tf_store_block *next;
    size_t size, used; /* bytes of `data` */
    bool aside;        /* it is the one that was set aside */
    _Alignas(16) uint8_t data[];
};

struct tf_store_batch {
    struct tf_store_batch *next; /* in whatever list it is */
    uint64_t number;
    struct tf_store_block *first, *last; /* `last` is being filled; those behind it are empty */
    struct tf_store_held *messages, *message; /* newest first; appended last */
    struct tf_store_join *joins;
    struct tf_store_op *settle; /* the last op, if it is one */
    size_t bytes;               /* of ops and of messages */
    unsigned shard;
    uint8_t level; /* enum tf_store_level: the highest */
    bool grows;    /* something in it is neither settled, changed nor removed */
    bool lost;     /* there was no memory for something: it must never become true */
    bool spare;    /* it is the one that was set aside */
};

/* A batch with its first block; NULL: no memory. Its blocks go with it, but for one set aside. */
struct tf_store_batch *tf_store_batch_new(const struct tf_alloc *alloc);
void tf_store_batch_free(struct tf_store_batch *batch, const struct tf_alloc *alloc);

/* An empty block of `size` bytes; NULL: no memory. */
struct tf_store_block *tf_store_block_new(const struct tf_alloc *alloc, size_t size);
void tf_store_block_free(struct tf_store_block *block, const struct tf_alloc *alloc);

/* Makes it empty. Returns the block that was set aside, if the batch has it; NULL: it hasn't. Gives
 * back what is more than a batch may keep. */
struct tf_store_block *tf_store_batch_clear(struct tf_store_batch *batch,
                                            const struct tf_alloc *alloc);

/* Makes sure that the next `size` bytes lie in one block. False: no memory. */
bool tf_store_batch_reserve(struct tf_store_batch *batch, const struct tf_alloc *alloc,
                            size_t size);
/* Puts a block behind those in use, to be filled next. */
void tf_store_batch_add(struct tf_store_batch *batch, struct tf_store_block *block);
/* Bytes of a batch's blocks. */
size_t tf_store_batch_size(const struct tf_store_batch *batch);

/* `size` bytes that tf_store_batch_reserve has made sure of, as an op of this type. */
struct tf_store_head *tf_store_batch_take(struct tf_store_batch *batch, size_t size,
                                          enum tf_store_op_type type);

#endif
