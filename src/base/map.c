/*
 * The hash table. Invariants (tf_map_check):
 *   1. size and old_size are powers of two, old_size 0 or less than size, moved < old_size.
 *   2. A node of hash h is in old[h & (old_size - 1)] if that index is >= moved, else in
 *      buckets[h & (size - 1)].
 *   3. buckets[i] is initialised if and only if (i & (old_size - 1)) < moved, or old_size is 0.
 *   4. Nodes of one hash lie in one chain, newest first.
 * A doubling needs no pass over the new array, because moving an old bucket is what initialises the
 * new buckets that its nodes can go to.
 */
#include "base/map.h"

#include "base/assert.h"

#define FIRST_SIZE 8 /* buckets of the first array */
#define MOVE_EACH_TIME \
    2                  /* old buckets moved at an insertion: done when half of the new are in use */
#define KEEP_SIZE 1024 /* an empty map gives a larger array back */
#define AHEAD 8        /* old buckets between what is fetched and what is moved */

void tf_map_init(struct tf_map *map, const struct tf_alloc *alloc)
{
    *map = (struct tf_map){.size = 1, .grow_at = 1, .alloc = *alloc};
}

static void free_buckets(struct tf_map *map, struct tf_map_node **buckets, size_t size)
{
    if (buckets)
        map->alloc.free(map->alloc.ctx, buckets, size * sizeof(*buckets));
}

void tf_map_release(struct tf_map *map)
{
    free_buckets(map, map->buckets, map->size);
    free_buckets(map, map->old, map->old_size);
    tf_map_init(map, &map->alloc);
}

static inline struct tf_map_node *const *bucket_of(const struct tf_map *map, uint64_t hash)
{
    if (map->old_size) {
        size_t index = (size_t)hash & (map->old_size - 1);
        if (index >= map->moved)
            return map->old ? &map->old[index] : &map->single;
    }
    return map->buckets ? &map->buckets[(size_t)hash & (map->size - 1)] : &map->single;
}

static inline struct tf_map_node **bucket_for_change(struct tf_map *map, uint64_t hash)
{
    return (struct tf_map_node **)bucket_of(map, hash);
}

/* Moves the bucket `moved` of the old array, in order, to the new buckets that share its index. */
static void move_bucket(struct tf_map *map)
{
    for (size_t i = map->moved; i < map->size; i += map->old_size)
        map->buckets[i] = NULL;
    struct tf_map_node **from = map->old ? &map->old[map->moved] : &map->single;
    struct tf_map_node *node = *from;
    *from = NULL;
    if (map->moved + AHEAD < map->old_size && map->old)
        __builtin_prefetch(map->old[map->moved + AHEAD]);
    /* Reversed first, so that pushing to the front keeps the newest first. */
    struct tf_map_node *reversed = NULL;
    while (node) {
        struct tf_map_node *next = node->next;
        node->next = reversed;
        reversed = node;
        node = next;
    }
    while (reversed) {
        struct tf_map_node *next = reversed->next;
        struct tf_map_node **to = &map->buckets[(size_t)reversed->hash & (map->size - 1)];
        reversed->next = *to;
        *to = reversed;
        reversed = next;
    }
    map->moved++;
    if (map->moved == map->old_size) {
        free_buckets(map, map->old, map->old_size);
        map->old = NULL;
        map->old_size = map->moved = 0;
    }
}

static void grow(struct tf_map *map, size_t size)
{
    struct tf_map_node **buckets = NULL;
    if (size <= SIZE_MAX / 2 / sizeof(*buckets))
        buckets = map->alloc.alloc(map->alloc.ctx, size * sizeof(*buckets));
    if (!buckets) {
        map->grow_at = map->count + map->count / 8 + 1;
        return;
    }
    map->old = map->buckets;
    map->old_size = map->size;
    map->moved = 0;
    map->buckets = buckets;
    map->size = size;
    map->grow_at = size;
}

void tf_map_reserve(struct tf_map *map, size_t count)
{
    size_t size = FIRST_SIZE;
    while (size < count && size <= SIZE_MAX / 4)
        size *= 2;
    while (map->old_size)
        move_bucket(map);
    if (size <= map->size)
        return;
    grow(map, size);
    while (map->old_size)
        move_bucket(map);
}

struct tf_map_node *tf_map_find(const struct tf_map *map, uint64_t hash)
{
    struct tf_map_node *node = *bucket_of(map, hash);
    while (node && node->hash != hash)
        node = node->next;
    return node;
}

void tf_map_expect(const struct tf_map *map, uint64_t hash)
{
    __builtin_prefetch(bucket_of(map, hash));
}

void tf_map_expect_node(const struct tf_map *map, uint64_t hash)
{
    __builtin_prefetch(*bucket_of(map, hash));
}

struct tf_map_node *tf_map_find_next(const struct tf_map_node *node)
{
    uint64_t hash = node->hash;
    struct tf_map_node *next = node->next;
    while (next && next->hash != hash)
        next = next->next;
    return next;
}

void tf_map_insert(struct tf_map *map, struct tf_map_node *node, uint64_t hash)
{
    if (!map->old_size && map->count >= map->grow_at)
        grow(map, map->size < FIRST_SIZE ? FIRST_SIZE : map->size * 2);
    for (int i = 0; i < MOVE_EACH_TIME && map->old_size; i++)
        move_bucket(map);
    struct tf_map_node **bucket = bucket_for_change(map, hash);
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    map->count++;
}

void tf_map_remove(struct tf_map *map, struct tf_map_node *node)
{
    struct tf_map_node **link = bucket_for_change(map, node->hash);
    while (*link != node) {
        tf_assert(*link);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    map->count--;
    if (!map->count && map->size > KEEP_SIZE)
        tf_map_release(map);
}

/* The first node from `position` on: positions run over the old array, then over the new one. */
static struct tf_map_node *seek(const struct tf_map *map, size_t *position)
{
    for (; *position < map->old_size; (*position)++) {
        struct tf_map_node *node = map->old ? map->old[*position] : map->single;
        if (*position >= map->moved && node)
            return node;
    }
    for (; *position - map->old_size < map->size; (*position)++) {
        size_t index = *position - map->old_size;
        if (map->old_size && (index & (map->old_size - 1)) >= map->moved)
            continue;
        struct tf_map_node *node = map->buckets ? map->buckets[index] : map->single;
        if (node)
            return node;
    }
    return NULL;
}

struct tf_map_node *tf_map_first(const struct tf_map *map, struct tf_map_cursor *ret_cursor)
{
    ret_cursor->position = 0;
    ret_cursor->next = map->count ? seek(map, &ret_cursor->position) : NULL;
    return tf_map_next(map, ret_cursor);
}

struct tf_map_node *tf_map_next(const struct tf_map *map, struct tf_map_cursor *cursor)
{
    struct tf_map_node *node = cursor->next;
    if (!node)
        return NULL;
    cursor->next = node->next;
    if (!cursor->next) {
        cursor->position++;
        cursor->next = seek(map, &cursor->position);
    }
    return node;
}

bool tf_map_check(const struct tf_map *map)
{
    size_t count = 0;
    if (!map->size || (map->size & (map->size - 1)) || (map->old_size & (map->old_size - 1)))
        return false;
    if (map->old_size ? map->moved >= map->old_size || map->old_size >= map->size : map->moved > 0)
        return false;
    for (size_t position = 0;; position++) {
        const struct tf_map_node *node = seek(map, &position);
        if (!node)
            break;
        for (const struct tf_map_node *other = *bucket_of(map, node->hash); other != node;
             other = other->next)
            if (!other)
                return false;
        for (; node; node = node->next) {
            count++;
            if (bucket_of(map, node->hash) !=
                (position < map->old_size ? (map->old ? &map->old[position] : &map->single)
                 : map->buckets           ? &map->buckets[position - map->old_size]
                                          : &map->single))
                return false;
        }
    }
    return count == map->count;
}
