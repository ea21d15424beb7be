/*
 * The values of addresses. See value.h.
 */
#include "route/value.h"

#include "base/mem.h"
#include "base/util.h"
#include "route/table.h"

#define BUDGET_BYTES 64u /* of an address, beyond which it counts as several */

enum tf_err tf_values_init(struct tf_values *values, const struct tf_alloc *alloc,
                           struct tf_timers *timers, const struct tf_hash_key *key,
                           struct tf_value_limits limits, uint64_t seed)
{
    memset(values, 0, sizeof(*values));
    values->alloc = alloc;
    values->timers = timers;
    values->key = *key;
    values->limits = limits;
    tf_map_init(&values->map, alloc);
    tf_tree_init(&values->ordered, seed);
    return TF_OK;
}

static size_t charge_of(const struct tf_value *value)
{
    return sizeof(*value) + value->message->size;
}

static void drop(struct tf_values *values, struct tf_value *value)
{
    values->bytes -= charge_of(value);
    values->count--;
    tf_timers_cancel(values->timers, &value->timer);
    tf_map_remove(&values->map, &value->node);
    tf_tree_remove(&values->ordered, &value->ordered);
    tf_message_unref(value->message);
    values->alloc->free(values->alloc->ctx, value, sizeof(*value));
}

void tf_values_release(struct tf_values *values)
{
    struct tf_tree_node *node;
    while ((node = tf_tree_first(&values->ordered))) {
        drop(values, tf_container_of(node, struct tf_value, ordered));
    }
    tf_map_release(&values->map);
}

struct tf_value *tf_values_find(const struct tf_values *values, struct tf_bytes address,
                                uint64_t hash)
{
    struct tf_map_node *node = tf_map_find(&values->map, hash);
    for (; node; node = tf_map_find_next(node)) {
        struct tf_value *value = tf_container_of(node, struct tf_value, node);
        if (tf_bytes_equal(value->message->publication.envelope.address, address)) {
            return value;
        }
    }
    return NULL;
}

/* Fills a value and puts it where it is found; its address has none. */
static void insert(struct tf_values *values, struct tf_value *value, struct tf_message *message,
                   uint64_t hash, unsigned writer, uint64_t version)
{
    const struct tf_envelope *envelope = &message->publication.envelope;
    memset(value, 0, sizeof(*value));
    value->message = tf_message_ref(message);
    value->version = value->shown = version;
    value->writer = (uint8_t)writer;
    tf_map_insert(&values->map, &value->node, hash);
    (void)tf_tree_insert(&values->ordered, &value->ordered, envelope->address);
    tf_timers_arm(values->timers, &value->timer, envelope->expires);
    values->count++;
    values->bytes += charge_of(value);
}

enum tf_err tf_values_set(struct tf_values *values, struct tf_message *message, unsigned writer)
{
    const struct tf_envelope *envelope = &message->publication.envelope;
    uint64_t hash = tf_hash(envelope->address, &values->key);
    struct tf_value *old = tf_values_find(values, envelope->address, hash);
    uint64_t old_charge = old ? charge_of(old) : 0;
    if (envelope->clear) {
        values->version++;
        if (old) {
            drop(values, old);
            values->listing++;
        }
        return TF_OK;
    }
    uint64_t charge = sizeof(struct tf_value) + message->size;
    if (values->bytes + values->live_bytes - old_charge + charge > values->limits.bytes ||
        (!old && values->count >= values->limits.count)) {
        return TF_LIMIT;
    }
    struct tf_value *value = values->alloc->alloc(values->alloc->ctx, sizeof(*value));
    if (!value) {
        return TF_NO_MEMORY;
    }
    if (old) {
        drop(values, old);
    } else {
        values->listing++;
    }
    values->version++;
    insert(values, value, message, hash, writer, values->version);
    return TF_OK;
}

enum tf_err tf_values_restore(struct tf_values *values, struct tf_message *message, unsigned writer,
                              uint64_t version, uint64_t shown, struct tf_value **ret)
{
    uint64_t charge = sizeof(struct tf_value) + message->size;
    if (values->bytes + values->live_bytes + charge > values->limits.bytes ||
        values->count >= values->limits.count) {
        return TF_LIMIT;
    }
    struct tf_value *value = values->alloc->alloc(values->alloc->ctx, sizeof(*value));
    if (!value) {
        return TF_NO_MEMORY;
    }
    insert(values, value, message, tf_hash(message->publication.envelope.address, &values->key),
           writer, version);
    value->shown = shown;
    values->version = TF_MAX(values->version, shown);
    values->listing++;
    *ret = value;
    return TF_OK;
}

const struct tf_value *tf_values_get(struct tf_values *values, struct tf_bytes address)
{
    return tf_values_find(values, address, tf_hash(address, &values->key));
}

void tf_values_expire(struct tf_values *values, struct tf_timer *timer)
{
    drop(values, tf_container_of(timer, struct tf_value, timer));
    values->listing++;
}

/* The bytes before the first wildcard level: all that matches begins with them. */
static struct tf_bytes literal_prefix(struct tf_bytes filter)
{
    size_t length = 0;
    while (length < filter.length && filter.data[length] != '+' && filter.data[length] != '#') {
        length++;
    }
    /* `a/#` matches `a` as well, which sorts before `a/` (MQTT 5.0 4.7.1.2) */
    if (length < filter.length && filter.data[length] == '#' && length > 0) {
        length--;
    }
    return (struct tf_bytes){filter.data, length};
}

static void remember(struct tf_value_cursor *cursor, const struct tf_alloc *alloc,
                     const struct tf_value *value)
{
    tf_value_cursor_release(cursor, alloc);
    cursor->last = tf_message_ref(value->message);
}

static struct tf_tree_node *resume(struct tf_values *values, const struct tf_value_cursor *cursor,
                                   struct tf_bytes prefix)
{
    return cursor->last
               ? tf_tree_seek_after(&values->ordered, cursor->last->publication.envelope.address)
               : tf_tree_seek(&values->ordered, prefix);
}

const struct tf_value *tf_values_next(struct tf_values *values, struct tf_value_cursor *cursor,
                                      size_t budget, bool *ret_more)
{
    *ret_more = false;
    if (cursor->end) {
        return NULL;
    }
    if (!tf_filter_wild(cursor->filter)) {
        cursor->end = true;
        return tf_values_get(values, cursor->filter);
    }
    struct tf_bytes prefix = literal_prefix(cursor->filter);
    struct tf_tree_node *node = resume(values, cursor, prefix);
    struct tf_tree_node *seen = NULL;
    for (; node && budget; node = tf_tree_next(node)) {
        struct tf_bytes address = node->key;
        if (address.length < prefix.length ||
            !tf_bytes_equal(prefix, tf_bytes_of(address.data, prefix.length))) {
            node = NULL;
            break;
        }
        seen = node;
        if (tf_filter_matches(cursor->filter, address)) {
            break;
        }
        /* What is looked at are bytes: an address may have a thousand times more than another. */
        budget -= TF_MIN(budget, 1 + address.length / BUDGET_BYTES);
    }
    if (!node) {
        cursor->end = true;
        return NULL;
    }
    *ret_more = true;
    remember(cursor, values->alloc, tf_container_of(seen, struct tf_value, ordered));
    return budget ? tf_container_of(node, struct tf_value, ordered) : NULL;
}

void tf_value_cursor_release(struct tf_value_cursor *cursor, const struct tf_alloc *alloc)
{
    (void)alloc; /* the message knows its own */
    if (cursor->last) {
        tf_message_unref(cursor->last);
        cursor->last = NULL;
    }
}
