/*
 * A hash table of nodes inside the caller's structs, keyed by a 64-bit hash.
 *
 * What equality means is the caller's affair: find the first node of a hash, compare, go on to the
 * next of the same hash:
 *     for (node = tf_map_find(map, hash); node; node = tf_map_find_next(node))
 *         if (key_of(tf_container_of(node, ...)) equals ...)
 *
 * The table doubles when it has as many nodes as buckets, and moves two old buckets at each
 * insertion, so no call takes long. An allocation that fails is no error: chains grow longer, and
 * it tries again later. An empty map owns no memory and a map of one node needs none.
 *
 * Hashes must be spread evenly in their low bits (tf_hash, or tf_hash_mix for numbers).
 */
#ifndef TF_BASE_MAP_H
#define TF_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

struct tf_map_node {
    struct tf_map_node *next; /* in its bucket, newest first */
    uint64_t hash;
};

/* Its fields are the map's own; `count` may be read. */
struct tf_map {
    size_t count;                 /* nodes */
    size_t size;                  /* buckets in `buckets`, a power of two; 1: the field `single` */
    size_t old_size;              /* buckets in `old`; 0: not growing */
    size_t moved;                 /* buckets below this have moved from `old` to `buckets` */
    size_t grow_at;               /* the count at which growing is tried */
    struct tf_map_node **buckets; /* NULL while size is 1; only what has moved is initialised */
    struct tf_map_node **old;     /* NULL: `single` */
    struct tf_map_node *single;
    struct tf_alloc alloc;
};

/* Where a walk has got to. */
struct tf_map_cursor {
    struct tf_map_node *next;
    size_t position;
};

/* Makes an empty map that takes its buckets from `alloc` (copied). Cannot fail. */
void tf_map_init(struct tf_map *map, const struct tf_alloc *alloc);

/* Gives the buckets back. The nodes are the caller's: still linked, they must be forgotten. */
void tf_map_release(struct tf_map *map);

/* The newest node with exactly this hash; NULL: none. */
struct tf_map_node *tf_map_find(const struct tf_map *map, uint64_t hash);

/*
 * Room for `count` nodes at once, for who knows that they come: it takes as long as moving those
 * that are there. Of what has no memory, as ever, nothing is said.
 */
void tf_map_reserve(struct tf_map *map, size_t count);

/*
 * Has the memory fetched in which tf_map_find and tf_map_insert look first for this hash; and then,
 * once that has come, what they look at next. Worth it where some are known before the first is
 * looked for, in a map that is larger than the processor's caches.
 */
void tf_map_expect(const struct tf_map *map, uint64_t hash);
void tf_map_expect_node(const struct tf_map *map, uint64_t hash);

/* The next older node with the hash of `node`, which is in the map; NULL: none. */
struct tf_map_node *tf_map_find_next(const struct tf_map_node *node);

/* Adds `node`, which is in no map. Several nodes may have one hash. Ends every walk. */
void tf_map_insert(struct tf_map *map, struct tf_map_node *node, uint64_t hash);

/* Takes `node` out; it must be in this map. */
void tf_map_remove(struct tf_map *map, struct tf_map_node *node);

/*
 * Walks all nodes in no order: the first node, then the one after; NULL: no more. During a walk the
 * node that was returned last may be removed, no other node, and nothing may be inserted.
 */
struct tf_map_node *tf_map_first(const struct tf_map *map, struct tf_map_cursor *ret_cursor);
struct tf_map_node *tf_map_next(const struct tf_map *map, struct tf_map_cursor *cursor);

/* Spreads a number (an id, a pointer) over 64 bits; a bijection. Not for what a peer chooses. */
static inline uint64_t tf_hash_mix(uint64_t value)
{
    value = (value ^ (value >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    value = (value ^ (value >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return value ^ (value >> 32);
}

/* Walks the whole map and checks that every node is where it belongs; for tests. O(n). */
bool tf_map_check(const struct tf_map *map);

#endif
