/*
 * The route table: literal filters by hash, filters with wildcards in a trie. See table.h.
 */
#include "route/table.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"

#include <stdbool.h>

#define PAST_THE_END UINT32_MAX

/* One level of the wildcard filters. Children are found in table->levels, `+` directly. */
struct tf_route_node {
    struct tf_map_node node;
    struct tf_route_node *parent; /* NULL: the root */
    struct tf_route_node *plus;   /* the child for `+` */
    struct tf_route *here;        /* the filter that ends with this level */
    struct tf_route *below;       /* the filter that ends with `#` under this level */
    uint32_t children;
    uint32_t length;
    uint8_t level[];
};

enum tf_err tf_route_table_init(struct tf_route_table *table, const struct tf_alloc *alloc,
                                const struct tf_hash_key *key)
{
    struct tf_route_node *root = alloc->alloc(alloc->ctx, sizeof(*root));
    if (!root) {
        return TF_NO_MEMORY;
    }
    memset(root, 0, sizeof(*root));
    memset(table, 0, sizeof(*table));
    table->alloc = alloc;
    table->key = *key;
    table->root = root;
    tf_map_init(&table->literals, alloc);
    tf_map_init(&table->levels, alloc);
    return TF_OK;
}

static void free_route(struct tf_route_table *table, struct tf_route *route)
{
    table->alloc->free(table->alloc->ctx, route, sizeof(*route) + route->filter.length);
    table->route_count--;
}

void tf_route_table_release(struct tf_route_table *table)
{
    struct tf_map_cursor cursor;
    struct tf_map_node *node;
    for (node = tf_map_first(&table->literals, &cursor); node;
         node = tf_map_next(&table->literals, &cursor)) {
        tf_map_remove(&table->literals, node);
        free_route(table, tf_container_of(node, struct tf_route, node));
    }
    for (node = tf_map_first(&table->levels, &cursor); node;
         node = tf_map_next(&table->levels, &cursor)) {
        struct tf_route_node *level = tf_container_of(node, struct tf_route_node, node);
        tf_map_remove(&table->levels, node);
        if (level->here) {
            free_route(table, level->here);
        }
        if (level->below) {
            free_route(table, level->below);
        }
        table->alloc->free(table->alloc->ctx, level, sizeof(*level) + level->length);
    }
    if (table->root->below) {
        free_route(table, table->root->below);
    }
    table->alloc->free(table->alloc->ctx, table->root, sizeof(*table->root));
    tf_map_release(&table->literals);
    tf_map_release(&table->levels);
}

bool tf_filter_wild(struct tf_bytes filter)
{
    for (size_t i = 0; i < filter.length; i++) {
        if (filter.data[i] == '+' || filter.data[i] == '#') {
            return true;
        }
    }
    return false;
}

/* The level that starts at `offset`, without its separator. */
static struct tf_bytes level_at(struct tf_bytes address, size_t offset)
{
    const uint8_t *start = address.data + offset;
    size_t left = address.length - offset;
    size_t length = 0;
    while (length < left && start[length] != '/') {
        length++;
    }
    return (struct tf_bytes){start, length};
}

/* Where the level after one of `length` bytes at `offset` starts. */
static uint32_t level_after(struct tf_bytes address, size_t offset, size_t length)
{
    size_t end = offset + length;
    return end < address.length ? (uint32_t)(end + 1) : PAST_THE_END;
}

static bool is_level(struct tf_bytes level, char wildcard)
{
    return level.length == 1 && level.data[0] == (uint8_t)wildcard;
}

size_t tf_address_levels(struct tf_bytes address)
{
    size_t levels = 1;
    for (size_t i = 0; i < address.length; i++) {
        levels += address.data[i] == '/';
    }
    return levels;
}

bool tf_filter_matches(struct tf_bytes filter, struct tf_bytes address)
{
    /* MQTT 5.0 4.7.2: a wildcard at the first level does not match an address with `$` */
    if (address.length && address.data[0] == '$' && filter.length &&
        (filter.data[0] == '+' || filter.data[0] == '#')) {
        return false;
    }
    uint32_t in_filter = 0;
    uint32_t in_address = 0;
    while (in_filter != PAST_THE_END) {
        struct tf_bytes wanted = level_at(filter, in_filter);
        if (is_level(wanted, '#')) {
            return true; /* 4.7.1.2: the parent level too */
        }
        if (in_address == PAST_THE_END) {
            return false;
        }
        struct tf_bytes level = level_at(address, in_address);
        if (!is_level(wanted, '+') && !tf_bytes_equal(wanted, level)) {
            return false;
        }
        in_filter = level_after(filter, in_filter, wanted.length);
        in_address = level_after(address, in_address, level.length);
    }
    return in_address == PAST_THE_END;
}

uint64_t tf_route_hash(const struct tf_route_table *table, struct tf_bytes address)
{
    return tf_hash(address, &table->key);
}

static uint64_t level_hash(const struct tf_route_table *table, const struct tf_route_node *parent,
                           struct tf_bytes level)
{
    return tf_hash_mix(tf_hash(level, &table->key) ^ (uint64_t)(uintptr_t)parent);
}

static struct tf_route_node *find_child(const struct tf_route_table *table,
                                        const struct tf_route_node *parent, struct tf_bytes level,
                                        uint64_t hash)
{
    struct tf_map_node *node = tf_map_find(&table->levels, hash);
    for (; node; node = tf_map_find_next(node)) {
        struct tf_route_node *child = tf_container_of(node, struct tf_route_node, node);
        if (child->parent == parent &&
            tf_bytes_equal(tf_bytes_of(child->level, child->length), level)) {
            return child;
        }
    }
    return NULL;
}

static struct tf_route_node *add_child(struct tf_route_table *table, struct tf_route_node *parent,
                                       struct tf_bytes level, uint64_t hash)
{
    struct tf_route_node *child =
        table->alloc->alloc(table->alloc->ctx, sizeof(*child) + level.length);
    if (!child) {
        return NULL;
    }
    memset(child, 0, sizeof(*child));
    child->parent = parent;
    child->length = (uint32_t)level.length;
    if (level.length) {
        memcpy(child->level, level.data, level.length);
    }
    tf_map_insert(&table->levels, &child->node, hash);
    parent->children++;
    if (is_level(level, '+')) {
        parent->plus = child;
    }
    return child;
}

/* Frees the node and its parents as far as nothing needs them. */
static void prune(struct tf_route_table *table, struct tf_route_node *node)
{
    while (node->parent && !node->here && !node->below && !node->children) {
        struct tf_route_node *parent = node->parent;
        tf_map_remove(&table->levels, &node->node);
        if (parent->plus == node) {
            parent->plus = NULL;
        }
        parent->children--;
        table->alloc->free(table->alloc->ctx, node, sizeof(*node) + node->length);
        node = parent;
    }
}

static struct tf_route *new_route(struct tf_route_table *table, struct tf_bytes filter)
{
    struct tf_route *route = table->alloc->alloc(table->alloc->ctx, sizeof(*route) + filter.length);
    if (!route) {
        return NULL;
    }
    memset(route, 0, sizeof(*route));
    tf_list_init(&route->bindings);
    if (filter.length) {
        memcpy(route + 1, filter.data, filter.length);
        route->filter = tf_bytes_of(route + 1, filter.length);
    }
    table->route_count++;
    return route;
}

/* The literal route with this exact filter; with an empty one, that of other shards only. */
static struct tf_route *find_literal(const struct tf_route_table *table, struct tf_bytes filter,
                                     uint64_t hash)
{
    struct tf_map_node *node = tf_map_find(&table->literals, hash);
    for (; node; node = tf_map_find_next(node)) {
        struct tf_route *route = tf_container_of(node, struct tf_route, node);
        if (tf_bytes_equal(route->filter, filter)) {
            return route;
        }
    }
    return NULL;
}

static struct tf_route *get_literal(struct tf_route_table *table, struct tf_bytes filter,
                                    uint64_t hash)
{
    struct tf_route *route = find_literal(table, filter, hash);
    if (!route) {
        route = new_route(table, filter);
        if (route) {
            tf_map_insert(&table->literals, &route->node, hash);
        }
    }
    return route;
}

/* The trie's node above the last level if that is `#`, else at it; made if `make`. */
static struct tf_route_node *walk(struct tf_route_table *table, struct tf_bytes filter, bool make,
                                  bool *ret_below)
{
    struct tf_route_node *node = table->root;
    uint32_t offset = 0;
    while (offset != PAST_THE_END) {
        struct tf_bytes level = level_at(filter, offset);
        if (is_level(level, '#')) {
            *ret_below = true;
            return node;
        }
        uint64_t hash = level_hash(table, node, level);
        struct tf_route_node *child = find_child(table, node, level, hash);
        if (!child && make) {
            child = add_child(table, node, level, hash);
            if (!child) {
                prune(table, node);
            }
        }
        if (!child) {
            return NULL;
        }
        node = child;
        offset = level_after(filter, offset, level.length);
    }
    *ret_below = false;
    return node;
}

struct tf_route *tf_route_get(struct tf_route_table *table, struct tf_bytes filter)
{
    if (tf_address_levels(filter) > TF_LEVELS_MAX) {
        return NULL;
    }
    if (!tf_filter_wild(filter)) {
        return get_literal(table, filter, tf_route_hash(table, filter));
    }
    bool below;
    struct tf_route_node *node = walk(table, filter, true, &below);
    if (!node) {
        return NULL;
    }
    struct tf_route **at = below ? &node->below : &node->here;
    if (!*at) {
        *at = new_route(table, filter);
        if (!*at) {
            prune(table, node);
            return NULL;
        }
        (*at)->at = node;
        table->wildcard_count++;
    }
    return *at;
}

struct tf_route *tf_route_find(struct tf_route_table *table, struct tf_bytes filter)
{
    if (!tf_filter_wild(filter)) {
        return find_literal(table, filter, tf_route_hash(table, filter));
    }
    bool below;
    struct tf_route_node *node = walk(table, filter, false, &below);
    return !node ? NULL : below ? node->below : node->here;
}

void tf_route_unused(struct tf_route_table *table, struct tf_route *route)
{
    if (route->shards || !tf_list_empty(&route->bindings)) {
        return;
    }
    struct tf_route_node *node = route->at;
    if (!node) {
        tf_map_remove(&table->literals, &route->node);
    } else {
        if (node->below == route) {
            node->below = NULL;
        } else {
            node->here = NULL;
        }
        table->wildcard_count--;
        prune(table, node);
    }
    free_route(table, route);
}

enum tf_err tf_route_add_shard(struct tf_route_table *table, struct tf_bytes filter, unsigned shard)
{
    struct tf_route *route = tf_filter_wild(filter) ? tf_route_get(table, filter)
                                                    : get_literal(table, (struct tf_bytes){NULL, 0},
                                                                  tf_route_hash(table, filter));
    if (!route) {
        return TF_NO_MEMORY;
    }
    route->shards |= UINT64_C(1) << shard;
    return TF_OK;
}

void tf_route_remove_shard(struct tf_route_table *table, struct tf_bytes filter, unsigned shard)
{
    struct tf_route *route =
        tf_filter_wild(filter)
            ? tf_route_find(table, filter)
            : find_literal(table, (struct tf_bytes){NULL, 0}, tf_route_hash(table, filter));
    if (route) {
        route->shards &= ~(UINT64_C(1) << shard);
        tf_route_unused(table, route);
    }
}

void tf_route_match_start(struct tf_route_match *match, struct tf_route_table *table,
                          struct tf_bytes address)
{
    match->table = table;
    match->address = address;
    match->pending_count = 0;
    match->depth = 0;
    struct tf_map_node *node =
        table->literals.count ? tf_map_find(&table->literals, tf_route_hash(table, address)) : NULL;
    for (; node; node = tf_map_find_next(node)) {
        struct tf_route *route = tf_container_of(node, struct tf_route, node);
        if (route->filter.length == 0 || tf_bytes_equal(route->filter, address)) {
            match->pending[match->pending_count++] = route;
        }
    }
    if (table->wildcard_count) {
        match->stack[match->depth].node = table->root;
        match->stack[match->depth++].offset = 0;
    }
}

/* Takes one node off the stack, notes its routes as pending and pushes its matching children. */
static void step(struct tf_route_match *match)
{
    struct tf_route_node *node = match->stack[--match->depth].node;
    uint32_t offset = match->stack[match->depth].offset;
    /* MQTT 5.0 4.7.2 */
    bool hidden = !node->parent && match->address.length && match->address.data[0] == '$';
    if (node->below && !hidden) {
        match->pending[match->pending_count++] = node->below;
    }
    if (offset == PAST_THE_END) {
        if (node->here) {
            match->pending[match->pending_count++] = node->here;
        }
        return;
    }
    if (!node->children) {
        return;
    }
    struct tf_bytes level = level_at(match->address, offset);
    uint32_t next = level_after(match->address, offset, level.length);
    if (node->plus && !hidden) {
        match->stack[match->depth].node = node->plus;
        match->stack[match->depth++].offset = next;
    }
    if (!node->plus || node->children > 1) {
        struct tf_route_node *child =
            find_child(match->table, node, level, level_hash(match->table, node, level));
        if (child) {
            match->stack[match->depth].node = child;
            match->stack[match->depth++].offset = next;
        }
    }
}

struct tf_route *tf_route_match_next(struct tf_route_match *match)
{
    while (match->pending_count == 0 && match->depth) {
        step(match);
    }
    return match->pending_count ? match->pending[--match->pending_count] : NULL;
}
