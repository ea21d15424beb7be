/*
 * The values of addresses: retained messages, of which the home shard of an address is the owner.
 *
 * The home orders the writes and numbers them (`version`); the order of versions is the order of
 * the value's history. Found by hash; walked in the order of addresses, so that a reader of `#`
 * over a million values is a cursor that goes on where it was, whatever came and went between.
 */
#ifndef TF_ROUTE_VALUE_H
#define TF_ROUTE_VALUE_H

#include "base/hash.h"
#include "base/map.h"
#include "base/timer.h"
#include "base/tree.h"
#include "route/message.h"

#define TF_WRITER_LIVE 255u /* a writer that is no shard: see tf_value.writer */

struct tf_value {
    struct tf_map_node node;
    struct tf_tree_node ordered; /* its key is the message's address */
    struct tf_timer timer;       /* the message's expiry */
    struct tf_message *message;
    uint64_t version;
    uint64_t shown; /* the version that readers of this one value know; >= version */
    /* The shard it was published in; TF_WRITER_LIVE: a watched address's, not in the store. */
    uint8_t writer;
    bool stored; /* the store has it */
};

struct tf_value_limits {
    size_t count;
    uint64_t bytes;
};

struct tf_values {
    const struct tf_alloc *alloc;
    struct tf_timers *timers;
    struct tf_hash_key key;
    struct tf_map map;
    struct tf_tree ordered;
    struct tf_value_limits limits;
    uint64_t version; /* of the last write */
    uint64_t listing; /* another one whenever an address has got or lost its stored value */
    uint64_t bytes;
    uint64_t
        live_bytes; /* of watched addresses' values that are not stored; within the limit too */
    size_t count;
};

/* Where a reader of a filter is. */
struct tf_value_cursor {
    struct tf_bytes filter; /* borrowed */
    /* Whose address was looked at last, counted; NULL: at the start. No copy: addresses are long.
     */
    struct tf_message *last;
    bool end;
};

/* Starts an empty store whose expiries run on `timers`. TF_NO_MEMORY: nothing to release. */
TF_MUST_USE enum tf_err tf_values_init(struct tf_values *values, const struct tf_alloc *alloc,
                                       struct tf_timers *timers, const struct tf_hash_key *key,
                                       struct tf_value_limits limits, uint64_t seed);

/* Drops all values. */
void tf_values_release(struct tf_values *values);

/*
 * Sets the value of the message's address, or clears it (envelope.clear); takes a count of its own.
 * TF_LIMIT: more values or bytes than allowed. TF_NO_MEMORY. Then the value is as it was.
 */
TF_MUST_USE enum tf_err tf_values_set(struct tf_values *values, struct tf_message *message,
                                      unsigned writer);

/*
 * The value of an address as it was before a restart; there is none of this address. Versions go on
 * above `shown`. Takes a count of its own; *ret until the next write. TF_LIMIT, TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_values_restore(struct tf_values *values, struct tf_message *message,
                                          unsigned writer, uint64_t version, uint64_t shown,
                                          struct tf_value **ret);

/* The value of an address, or NULL. It lasts until the next write. */
const struct tf_value *tf_values_get(struct tf_values *values, struct tf_bytes address);

/* The same, by the hash of the address (tf_hash with the store's key). */
struct tf_value *tf_values_find(const struct tf_values *values, struct tf_bytes address,
                                uint64_t hash);

/* The timer of a value has ended: drops it. */
void tf_values_expire(struct tf_values *values, struct tf_timer *timer);

/*
 * The next value whose address matches the cursor's filter; NULL when `budget` addresses (fewer if
 * they are long) were looked at without one (*ret_more true: call again) or at the end (false). The
 * step is kept, so the store may change between calls.
 */
const struct tf_value *tf_values_next(struct tf_values *values, struct tf_value_cursor *cursor,
                                      size_t budget, bool *ret_more);

/* Frees what a cursor holds. */
void tf_value_cursor_release(struct tf_value_cursor *cursor, const struct tf_alloc *alloc);

#endif
