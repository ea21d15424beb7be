/*
 * Pools of equal items in one array: handles with generations, a free list, and where wanted a hash
 * table by linear hashing (Litwin 1980). Items and buckets that were never used are not touched, so
 * room for many costs nothing until there are many.
 */
#include "coap/endpoint.h"

static struct tf_coap_slot *slot_at(const struct tf_coap_pool *pool, uint32_t index)
{
    return (struct tf_coap_slot *)(void *)(pool->items + (size_t)index * pool->item_size);
}

static uint32_t index_of(const struct tf_coap_pool *pool, const void *item)
{
    return (uint32_t)((size_t)((const uint8_t *)item - pool->items) / pool->item_size);
}

void *tf_coap_pool_new(struct tf_coap_pool *pool)
{
    uint32_t index, generation;

    if (pool->free) {
        index = pool->free - 1;
        generation = slot_at(pool, index)->generation;
        pool->free = slot_at(pool, index)->next;
    } else if (pool->high < pool->count) {
        index = pool->high++;
        generation = 0;
    } else {
        return NULL;
    }
    struct tf_coap_slot *slot = slot_at(pool, index);
    memset(slot, 0, pool->item_size);
    slot->generation = generation + 1;
    pool->used++;
    return slot;
}

void tf_coap_pool_free(struct tf_coap_pool *pool, void *item)
{
    struct tf_coap_slot *slot = item;

    tf_assert((slot->generation & 1) && !slot->linked);
    slot->generation++;
    slot->next = pool->free;
    pool->free = index_of(pool, item) + 1;
    pool->used--;
}

void *tf_coap_pool_at(const struct tf_coap_pool *pool, uint32_t index)
{
    struct tf_coap_slot *slot = slot_at(pool, index);

    return slot->generation & 1 ? slot : NULL;
}

void *tf_coap_pool_find(const struct tf_coap_pool *pool, uint64_t handle)
{
    uint32_t index = (uint32_t)handle - 1;

    if (index >= pool->high)
        return NULL;
    struct tf_coap_slot *slot = slot_at(pool, index);
    uint32_t generation = (uint32_t)(handle >> 32);
    return (generation & 1) && slot->generation == generation ? slot : NULL;
}

uint64_t tf_coap_pool_handle(const struct tf_coap_pool *pool, const void *item)
{
    const struct tf_coap_slot *slot = item;

    return (uint64_t)slot->generation << 32 | (index_of(pool, item) + 1);
}

/* ---- the table ---- */

/* The largest power of two that is not above `count`, which is not 0. */
static uint32_t level_of(uint32_t count)
{
    return UINT32_C(1) << (31 - __builtin_clz(count));
}

static uint32_t *bucket_of(const struct tf_coap_pool *pool, uint32_t hash)
{
    uint32_t level = level_of(pool->buckets_used);
    uint32_t bucket = hash & (2 * level - 1);

    return pool->buckets + (bucket < pool->buckets_used ? bucket : bucket - level);
}

/* One bucket more; what belongs into it comes from the one that it is split from. */
static void grow(struct tf_coap_pool *pool)
{
    uint32_t bucket = pool->buckets_used++;

    pool->buckets[bucket] = 0;
    if (!bucket)
        return;
    uint32_t level = level_of(bucket);
    uint32_t *link = pool->buckets + (bucket - level);
    while (*link) {
        uint32_t at = *link;
        struct tf_coap_slot *slot = slot_at(pool, at - 1);
        if ((slot->hash & (2 * level - 1)) != bucket) {
            link = &slot->next;
            continue;
        }
        *link = slot->next;
        slot->next = pool->buckets[bucket];
        pool->buckets[bucket] = at;
    }
}

void tf_coap_pool_link(struct tf_coap_pool *pool, void *item, uint32_t hash)
{
    struct tf_coap_slot *slot = item;

    tf_assert(!slot->linked);
    while (pool->buckets_used < pool->high)
        grow(pool);
    uint32_t *bucket = bucket_of(pool, hash);
    slot->hash = hash;
    slot->linked = true;
    slot->next = *bucket;
    *bucket = index_of(pool, item) + 1;
}

void tf_coap_pool_unlink(struct tf_coap_pool *pool, void *item)
{
    struct tf_coap_slot *slot = item;

    if (!slot->linked)
        return;
    uint32_t *link = bucket_of(pool, slot->hash);
    while (slot_at(pool, *link - 1) != slot)
        link = &slot_at(pool, *link - 1)->next;
    *link = slot->next;
    slot->linked = false;
}

/* The first item with this hash in the chain that begins at `at`. */
static void *from(const struct tf_coap_pool *pool, uint32_t at, uint32_t hash)
{
    while (at) {
        struct tf_coap_slot *slot = slot_at(pool, at - 1);
        if (slot->hash == hash)
            return slot;
        at = slot->next;
    }
    return NULL;
}

void *tf_coap_pool_first(const struct tf_coap_pool *pool, uint32_t hash)
{
    return pool->buckets_used ? from(pool, *bucket_of(pool, hash), hash) : NULL;
}

void *tf_coap_pool_next(const struct tf_coap_pool *pool, const void *item)
{
    const struct tf_coap_slot *slot = item;

    return from(pool, slot->next, slot->hash);
}
