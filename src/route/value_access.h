/*
 * The value of one address, as a front reads, writes and watches it: conditional writes, point
 * reads, and watchers, who are told the newest value and end with the one that a read gives.
 *
 * The home of the address orders all of it (docs/adr/0008). A write goes there first; the home
 * looks at the condition, sets the value and publishes. While an address is watched the last
 * publication to it, retained or not, is its value, for readers and conditions too; afterwards the
 * retained one is again.
 *
 * Versions come from the home's one counter: two values of an address never share one, each is
 * above all before it, and 0 is none.
 *
 * Watching costs one message for each shard and address, however many watch: all watchers of an
 * address in a shard share one cell with the newest value, and each is behind it or not.
 *
 *      home, one for each address              watching shard, one cell for each address
 *   values, publications --> newest value --WATCHED--> newest value --> watcher, watcher, ...
 *
 * Watchers are called from within tf_shard_receive and from nowhere else, a bounded number each
 * turn. If this shard is the home, what was watched, written or published earlier in a turn is told
 * in that turn. A publication or write that has been acknowledged is known to the cells of the
 * acknowledging shard.
 *
 * None of this may be called from within a consumer's `deliver` (queue.h).
 */
#ifndef TF_ROUTE_VALUE_ACCESS_H
#define TF_ROUTE_VALUE_ACCESS_H

#include "base/list.h"
#include "base/map.h"
#include "route/message.h"

struct tf_shard;
struct tf_published;
struct tf_ticket_owner;
struct tf_watch_cell;

/*
 * What must hold of the present value for a write to happen: all that is set. Nothing set: always.
 * Several If-Match options are one set of versions, of which one must match; an empty one among
 * them is `exists` alone (RFC 7252 5.10.8.1); If-None-Match is `absent` (5.10.8.2). An ETag that
 * cannot be a version is version 0, which nothing has.
 */
struct tf_condition {
    const uint64_t *versions; /* of `version_count`; copied if need be */
    size_t version_count;     /* 0: not set */
    bool exists;
    bool absent;
};

/* A value as it is read. `message` is borrowed: take a count to keep it. NULL: there is no value.
 */
struct tf_value_view {
    struct tf_message *message;
    uint64_t version; /* without a value: not below any that the address has had */
};

/* True if a condition (NULL: none) holds of a value, as a write looks at it. */
bool tf_condition_holds(const struct tf_condition *condition, const struct tf_value_view *present);

/*
 * Writes the value of an address if `condition` (NULL: none) holds, or clears it (envelope.clear),
 * and publishes it to all queues that match. Precondition: envelope.retain.
 *
 * The result tells: `failed`: the condition did not hold. `refused` with `taken` 0: a limit, or
 * memory that the home lacks. In both cases nothing has changed and nothing was published.
 * `existed`: there was a value before. `version`: that of the value which stands now. A value that
 * does not exist is cleared all the same, and the clearing is published.
 *
 * `owner` NULL: nobody waits. TF_OK: done, *ret_result tells (without an owner it may not know).
 * TF_AGAIN: owner->done follows with `tag`, when the home and every shard that it published to have
 * answered. TF_NO_MEMORY: nothing has changed.
 *
 * Order holds for each publisher and address as for tf_shard_publish, but not between the two: who
 * uses both for one address must wait for the first.
 */
TF_MUST_USE enum tf_err tf_shard_write(struct tf_shard *shard, struct tf_publication *publication,
                                       const struct tf_condition *condition,
                                       struct tf_ticket_owner *owner, uint64_t tag,
                                       struct tf_published *ret_result);

/* Whoever waits for values to be read. `reads` by tf_list_init. */
struct tf_read_owner {
    struct tf_list reads;
    /* The value of the read with this tag, for the call. May release the owner. */
    void (*done)(struct tf_read_owner *owner, uint64_t tag, const struct tf_value_view *value);
};

/*
 * Reads the value of an address. TF_OK: this shard is the home, *ret is the value; its message
 * lasts until the shard is called again. TF_AGAIN: owner->done follows with `tag`, unless the owner
 * is released before. TF_NO_MEMORY: nothing has changed.
 */
TF_MUST_USE enum tf_err tf_shard_read(struct tf_shard *shard, struct tf_bytes address,
                                      struct tf_read_owner *owner, uint64_t tag,
                                      struct tf_value_view *ret);

/* The owner goes; what it waits for is not told. */
void tf_read_owner_release(struct tf_read_owner *owner);

struct tf_watcher;

struct tf_watcher_ops {
    /*
     * The value of the address: the newest; `message` NULL: it has none any more, or none yet.
     * Borrowed for the call. The first call tells the present value; versions only grow.
     * TF_OK: told. TF_AGAIN: no credit; the watcher calls tf_watcher_ready when that has changed,
     * and is told the newest then. TF_LIMIT: no output has room: nobody is told any more in this
     * turn; this one is the first in the next, which the shard wants at once.
     * May watch, unwatch (itself too, and then what it returns is nothing), publish and write.
     */
    enum tf_err (*deliver)(struct tf_watcher *watcher, struct tf_message *message,
                           uint64_t version);
    /*
     * Memory ran out before the first value could be told: the watcher is watching no more. Called
     * from where `deliver` is.
     */
    void (*failed)(struct tf_watcher *watcher);
};

/* Embedded by the front; zero but for `ops` before it watches. Must not move while it does. */
struct tf_watcher {
    const struct tf_watcher_ops *ops;
    struct tf_watch_cell *cell; /* NULL: not watching */
    struct tf_list_node node;   /* in one of the cell's lists */
    uint64_t version;           /* told last; 0: nothing yet */
    bool waiting;               /* for tf_watcher_ready */
};

/*
 * Watches an address (valid, of at most TF_LEVELS_MAX levels). ops->deliver follows with the
 * present value, never before this returns; from then on every publication to the address, whoever
 * makes it, is told, or a newer one instead. TF_NO_MEMORY: nothing has changed.
 */
TF_MUST_USE enum tf_err tf_shard_watch(struct tf_shard *shard, struct tf_watcher *watcher,
                                       struct tf_bytes address);

/* Watches no more; no effect if it does not. */
void tf_shard_unwatch(struct tf_shard *shard, struct tf_watcher *watcher);

/* A watcher that said TF_AGAIN has credit. No effect if it does not wait. */
void tf_watcher_ready(struct tf_shard *shard, struct tf_watcher *watcher);

#endif
