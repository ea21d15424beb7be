/*
 * A batch's memory.
 */
#include "store/store_batch.h"

#include <string.h>

#define ALIGNMENT ((size_t)16)

static size_t rounded(size_t size)
{
    return (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

struct tf_store_block *tf_store_block_new(const struct tf_alloc *alloc, size_t size)
{
    struct tf_store_block *block = alloc->alloc(alloc->ctx, sizeof(*block) + size);

    if (block)
        *block = (struct tf_store_block){.size = size};
    return block;
}

void tf_store_block_free(struct tf_store_block *block, const struct tf_alloc *alloc)
{
    alloc->free(alloc->ctx, block, sizeof(*block) + block->size);
}

struct tf_store_batch *tf_store_batch_new(const struct tf_alloc *alloc)
{
    struct tf_store_batch *batch = alloc->alloc(alloc->ctx, sizeof(*batch));

    if (!batch)
        return NULL;
    *batch = (struct tf_store_batch){.first = tf_store_block_new(alloc, TF_STORE_BLOCK_FIRST)};
    batch->last = batch->first;
    if (!batch->first) {
        alloc->free(alloc->ctx, batch, sizeof(*batch));
        return NULL;
    }
    return batch;
}

void tf_store_batch_free(struct tf_store_batch *batch, const struct tf_alloc *alloc)
{
    while (batch->first) {
        struct tf_store_block *block = batch->first;
        batch->first = block->next;
        tf_store_block_free(block, alloc);
    }
    alloc->free(alloc->ctx, batch, sizeof(*batch));
}

struct tf_store_block *tf_store_batch_clear(struct tf_store_batch *batch,
                                            const struct tf_alloc *alloc)
{
    struct tf_store_block **at = &batch->first, *block, *aside = NULL;
    size_t kept = 0;

    while ((block = *at)) {
        block->used = 0;
        if (block->aside) {
            *at = block->next;
            block->next = NULL;
            aside = block;
        } else if (block != batch->first && kept + block->size > TF_STORE_KEEP) {
            *at = block->next;
            tf_store_block_free(block, alloc);
        } else {
            kept += block->size;
            at = &block->next;
        }
    }
    *batch =
        (struct tf_store_batch){.first = batch->first, .last = batch->first, .spare = batch->spare};
    return aside;
}

void tf_store_batch_add(struct tf_store_batch *batch, struct tf_store_block *block)
{
    block->next = batch->last ? batch->last->next : NULL;
    if (batch->last)
        batch->last->next = block;
    else
        batch->first = block;
    batch->last = block;
}

bool tf_store_batch_reserve(struct tf_store_batch *batch, const struct tf_alloc *alloc, size_t size)
{
    struct tf_store_block *block = batch->last;

    size = rounded(size);
    if (block && block->size - block->used >= size)
        return true;
    if (block && block->next && block->next->size >= size) {
        batch->last = block->next;
        return true;
    }
    block = tf_store_block_new(alloc, size > TF_STORE_BLOCK ? size : TF_STORE_BLOCK);
    if (!block)
        return false;
    tf_store_batch_add(batch, block);
    return true;
}

size_t tf_store_batch_size(const struct tf_store_batch *batch)
{
    size_t size = sizeof(*batch);

    for (const struct tf_store_block *block = batch->first; block; block = block->next)
        size += sizeof(*block) + block->size;
    return size;
}

struct tf_store_head *tf_store_batch_take(struct tf_store_batch *batch, size_t size,
                                          enum tf_store_op_type type)
{
    struct tf_store_block *block = batch->last;
    struct tf_store_head *head = (struct tf_store_head *)(void *)(block->data + block->used);

    size = rounded(size);
    block->used += size;
    batch->bytes += size;
    batch->settle = NULL;
    head->size = (uint32_t)size;
    head->type = (uint8_t)type;
    head->kind = 0;
    head->key = 0;
    return head;
}
