/*
 * Which queues and shards want what is published to an address.
 *
 * Filters with wildcards are in every shard's table, in a trie of levels whose nodes are found by
 * hash; literal filters of other shards are known by their 64-bit hash alone, and the shard they
 * belong to compares exactly. A route is one filter: the other shards that hold bindings of it,
 * and this shard's own bindings.
 *
 * Matching walks the trie with a stack of its own, bounded by the number of levels; no recursion.
 */
#ifndef TF_ROUTE_TABLE_H
#define TF_ROUTE_TABLE_H

#include "base/alloc.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"

#include <trefoil/bytes.h>
#include <trefoil/err.h>

#define TF_LEVELS_MAX 128u

struct tf_route_node;

struct tf_route {
    struct tf_map_node node;  /* literal routes only */
    struct tf_list bindings;  /* this shard's own */
    struct tf_route_node *at; /* wildcard routes: where in the trie; NULL for literal ones */
    struct tf_bytes filter;   /* exact; empty for literal routes of other shards only */
    uint64_t shards;          /* other shards that hold bindings; bit n is shard n */
    uint32_t binding_count;
};

struct tf_route_table {
    const struct tf_alloc *alloc;
    struct tf_hash_key key;
    struct tf_map literals; /* of tf_route.node, by hash of the filter, the same in every shard */
    struct tf_map levels;   /* of tf_route_node.node, by parent and level */
    struct tf_route_node *root;
    size_t route_count;
    size_t binding_count;
    size_t wildcard_count;
};

/* Yields the routes whose filters match an address, each once. */
struct tf_route_match {
    struct tf_route_table *table;
    struct tf_bytes address;
    struct tf_route *pending[2];
    size_t pending_count;
    size_t depth;
    struct {
        struct tf_route_node *node;
        uint32_t offset; /* of the level in the address; UINT32_MAX: past the last */
    } stack[TF_LEVELS_MAX + 2];
};

/* Starts an empty table. `key` must be the same in all shards. TF_NO_MEMORY: nothing to release. */
TF_MUST_USE enum tf_err tf_route_table_init(struct tf_route_table *table,
                                            const struct tf_alloc *alloc,
                                            const struct tf_hash_key *key);

/* Frees all routes. Precondition: no bindings are left in them. */
void tf_route_table_release(struct tf_route_table *table);

/* True if a filter has a wildcard level. */
bool tf_filter_wild(struct tf_bytes filter);

/* True if a valid filter matches a valid address (`$` rule included: MQTT 5.0 4.7.2). */
bool tf_filter_matches(struct tf_bytes filter, struct tf_bytes address);

/* The number of levels of an address or filter. */
size_t tf_address_levels(struct tf_bytes address);

/* The hash by which a literal filter or an address is known in every shard. */
uint64_t tf_route_hash(const struct tf_route_table *table, struct tf_bytes address);

/*
 * Finds the route of a filter, making it if need be. A made route without bindings or shards is
 * freed by tf_route_unused. NULL: no memory, or more than TF_LEVELS_MAX levels.
 */
struct tf_route *tf_route_get(struct tf_route_table *table, struct tf_bytes filter);

/* The route of a filter with bindings in this shard, or wildcard; NULL if there is none. */
struct tf_route *tf_route_find(struct tf_route_table *table, struct tf_bytes filter);

/* Frees the route if nothing uses it any more. */
void tf_route_unused(struct tf_route_table *table, struct tf_route *route);

/* Notes that `shard` holds bindings of a filter. TF_NO_MEMORY: nothing has been noted. */
TF_MUST_USE enum tf_err tf_route_add_shard(struct tf_route_table *table, struct tf_bytes filter,
                                           unsigned shard);

/* The opposite. */
void tf_route_remove_shard(struct tf_route_table *table, struct tf_bytes filter, unsigned shard);

/* Starts matching. `address` is valid and of at most TF_LEVELS_MAX levels; it must outlast it. */
void tf_route_match_start(struct tf_route_match *match, struct tf_route_table *table,
                          struct tf_bytes address);

/* The next matching route; NULL at the end. The table must not change meanwhile. */
struct tf_route *tf_route_match_next(struct tf_route_match *match);

#endif
