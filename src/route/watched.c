/*
 * What a home knows of an address that is watched: its newest value, and the cells to be told. See
 * watch.c for the protocol and value_access.h for what watchers are promised.
 *
 * Rules:
 *  1. `now` is the value of the address for watchers, readers and conditions alike.
 *  2. It is the stored value until something is published that is not retained (`live`), which
 *     comes by a binding like any other; a write, a clearing, or the end of its lifetime end it.
 *  3. What is retained reaches this home as a value and, since it is bound, as a publication; the
 *     first counts and the second is passed over, so each is one value.
 *  4. Every change has a version of its own, above all before it, and so has the stored value when
 *     it becomes the value again: else somebody would know two values by one version, or see
 *     versions go back.
 *  5. No cell is told anything before the binding stands in every shard: who has been told misses
 *     no publication made afterwards.
 *
 * A cell that has not been told `now` makes the watched address dirty; only the newest value is
 * mailed, once a turn, or before a publication is acknowledged.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/internal.h"

static void mark_dirty(struct tf_watched *watched)
{
    struct tf_shard *shard = watched->queue.shard;
    if ((watched->standing || watched->failed) && !tf_list_linked(&watched->dirty)) {
        tf_list_push_back(&shard->access.dirty, &watched->dirty);
    }
}

/* Sets what the address has now; `message` (NULL: nothing) is counted once more. */
static void replace(struct tf_watched *watched, struct tf_message *message, uint64_t version,
                    bool live)
{
    struct tf_shard *shard = watched->queue.shard;
    struct tf_message *old = watched->now.message;
    if (watched->live) {
        shard->values.live_bytes -= old->size;
    }
    watched->now.message = message ? tf_message_ref(message) : NULL;
    watched->now.version = version;
    watched->live = live;
    if (live) {
        shard->values.live_bytes += message->size;
    }
    /* a stored value's expiry is its own timer's */
    tf_timers_arm(&shard->value_timers, &watched->now.timer,
                  live ? message->publication.envelope.expires : TF_TIME_NEVER);
    if (old) {
        tf_message_unref(old);
    }
    mark_dirty(watched);
}

static struct tf_value *stored_of(const struct tf_watched *watched)
{
    const struct tf_values *values = &watched->queue.shard->values;
    return tf_values_find(values, watched->address, watched->node.hash);
}

void tf_watched_revert(struct tf_watched *watched)
{
    struct tf_values *values = &watched->queue.shard->values;
    struct tf_value *stored = stored_of(watched);
    uint64_t version = ++values->version;
    if (stored) {
        stored->shown = version;
    }
    replace(watched, stored ? stored->message : NULL, version, false);
}

void tf_watched_stored(struct tf_shard *shard, const struct tf_message *message)
{
    struct tf_bytes address = message->publication.envelope.address;
    struct tf_watched *watched =
        tf_watched_find(shard, address, tf_hash(address, &shard->values.key));
    if (!watched) {
        return;
    }
    struct tf_value *stored = stored_of(watched);
    if (stored) {
        replace(watched, stored->message, stored->shown, false);
    } else if (watched->now.message) {
        replace(watched, NULL, shard->values.version, false);
    }
}

/* A publication to a watched address. What is retained comes as a value (rule 3). */
static enum tf_err deliver(struct tf_consumer *consumer, const struct tf_delivery *delivery)
{
    struct tf_watched *watched = tf_container_of(consumer, struct tf_watched, consumer);
    struct tf_shard *shard = watched->queue.shard;
    struct tf_values *values = &shard->values;
    if (delivery->publication->envelope.retain) {
        return TF_OK;
    }
    struct tf_message *message = tf_publication_keep(delivery->publication, shard->config.alloc);
    if (!message) {
        return TF_AGAIN; /* the queue, which holds nothing, finds out and tells the publisher */
    }
    uint64_t old = watched->live ? watched->now.message->size : 0;
    if (values->bytes + values->live_bytes - old + message->size > values->limits.bytes) {
        tf_message_unref(message);
        return TF_LIMIT;
    }
    replace(watched, message, ++values->version, true);
    tf_message_unref(message);
    return TF_OK;
}

static const struct tf_consumer_ops consumer_ops = {.deliver = deliver, .drained = NULL};

/* The binding stands in every shard, or does not. */
static void bound(struct tf_bind_owner *owner, uint64_t tag, enum tf_err err)
{
    struct tf_watched *watched = tf_container_of(owner, struct tf_watched, owner);
    (void)tag;
    if (err == TF_CLOSED) {
        return; /* it is being freed */
    }
    watched->standing = err == TF_OK;
    watched->failed = err != TF_OK;
    mark_dirty(watched);
}

struct tf_watched *tf_watched_find(const struct tf_shard *shard, struct tf_bytes address,
                                   uint64_t hash)
{
    struct tf_map_node *node = tf_map_find(&shard->access.watched, hash);
    for (; node; node = tf_map_find_next(node)) {
        struct tf_watched *watched = tf_container_of(node, struct tf_watched, node);
        if (tf_bytes_equal(watched->address, address)) {
            return watched;
        }
    }
    return NULL;
}

/* Starts to watch what a cell names. NULL: no memory. */
static struct tf_watched *new_watched(struct tf_shard *shard, const struct tf_watch_cell *cell)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    static const struct tf_binding_options options = {.qos = 0};
    struct tf_value_view present;
    size_t size = sizeof(struct tf_watched) + cell->address.length;
    struct tf_watched *watched = alloc->alloc(alloc->ctx, size);
    if (!watched) {
        return NULL;
    }
    tf_value_present(shard, cell->address, &present);
    memset(watched, 0, sizeof(*watched));
    memcpy(watched + 1, cell->address.data, cell->address.length);
    watched->size = size;
    watched->address = tf_bytes_of(watched + 1, cell->address.length);
    watched->consumer.ops = &consumer_ops;
    watched->owner.bound = bound;
    watched->now.writer = TF_WRITER_LIVE;
    watched->now.message = present.message ? tf_message_ref(present.message) : NULL;
    watched->now.version = present.message ? present.version : ++shard->values.version;
    tf_list_init(&watched->cells);
    tf_list_init(&watched->owner.binds);
    tf_queue_init(&watched->queue, shard, &watched->limits, &watched->counters);
    shard->queue_count--; /* which counts the queues of the fronts */
    tf_consumer_attach(&watched->consumer, &watched->queue);
    tf_map_insert(&shard->access.watched, &watched->node, cell->hash);
    if (tf_shard_bind(shard, &watched->queue, watched->address, &options, false, &watched->owner,
                      0)) {
        tf_watched_free(shard, watched);
        return NULL;
    }
    return watched;
}

/* The home knows a cell no more. */
static void forget(struct tf_watch_cell *cell)
{
    tf_list_remove(&cell->in_watched);
    cell->watched = NULL;
    tf_watch_cell_unref(cell);
}

void tf_watched_free(struct tf_shard *shard, struct tf_watched *watched)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&watched->cells))) {
        forget(tf_container_of(node, struct tf_watch_cell, in_watched));
    }
    struct tf_value *stored = stored_of(watched);
    if (watched->live && stored) {
        stored->shown = ++shard->values.version; /* it is the value again (rule 4) */
    }
    watched->standing = watched->failed = false;
    replace(watched, NULL, 0, false);
    tf_list_unlink(&watched->dirty);
    tf_bind_owner_release(shard, &watched->owner);
    tf_consumer_detach(&watched->consumer);
    shard->queue_count++;
    tf_queue_release(&watched->queue);
    tf_map_remove(&shard->access.watched, &watched->node);
    shard->config.alloc->free(shard->config.alloc->ctx, watched, watched->size);
}

static void refuse(struct tf_shard *shard, struct tf_watch_cell *cell)
{
    struct tf_mail mail = {.type = TF_MAIL_REFUSED, .object = cell};
    tf_access_post(shard, cell->shard, &mail, &cell->refusal);
}

void tf_watched_add(struct tf_shard *shard, struct tf_watch_cell *cell)
{
    struct tf_watched *watched = tf_watched_find(shard, cell->address, cell->hash);
    if (!watched) {
        watched = new_watched(shard, cell);
    }
    if (!watched) {
        refuse(shard, cell); /* with the mail's count */
        return;
    }
    cell->watched = watched;
    tf_list_push_back(&watched->cells, &cell->in_watched);
    mark_dirty(watched);
}

void tf_watched_remove(struct tf_shard *shard, struct tf_watch_cell *cell)
{
    struct tf_watched *watched = cell->watched;
    if (watched) {
        forget(cell);
        if (tf_list_empty(&watched->cells)) {
            tf_watched_free(shard, watched);
        }
    }
    tf_watch_cell_unref(cell);
}

/* Mails `now` to a cell. False: no memory. */
static bool tell(struct tf_shard *shard, struct tf_watch_cell *cell, const struct tf_value *now)
{
    struct tf_message *message = now->message ? tf_message_ref(now->message) : NULL;
    struct tf_mail mail = {.type = TF_MAIL_TOLD,
                           .object = cell,
                           .tag = (uint64_t)(uintptr_t)message,
                           .value = now->version};
    atomic_fetch_add_explicit(&cell->refs, 1, memory_order_relaxed);
    if (!tf_shard_post(shard, cell->shard, &mail)) {
        tf_access_discard(&mail);
        return false;
    }
    cell->sent = now->version;
    return true;
}

/* True: every cell has been mailed what it is to know. */
static bool tell_cells(struct tf_shard *shard, struct tf_watched *watched)
{
    bool done = true;
    struct tf_list_node *node = tf_list_first(&watched->cells);
    if (watched->failed) {
        for (; node; node = tf_list_first(&watched->cells)) {
            struct tf_watch_cell *cell = tf_container_of(node, struct tf_watch_cell, in_watched);
            atomic_fetch_add_explicit(&cell->refs, 1, memory_order_relaxed);
            forget(cell);
            refuse(shard, cell);
        }
        tf_watched_free(shard, watched);
        return true;
    }
    for (; node; node = tf_list_next(&watched->cells, node)) {
        struct tf_watch_cell *cell = tf_container_of(node, struct tf_watch_cell, in_watched);
        if (cell->sent != watched->now.version) {
            done &= tell(shard, cell, &watched->now);
        }
    }
    return done;
}

void tf_watched_tell(struct tf_shard *shard)
{
    struct tf_list later;
    struct tf_list_node *node;
    if (tf_list_empty(&shard->access.dirty)) {
        return;
    }
    tf_list_init(&later);
    while ((node = tf_list_pop_front(&shard->access.dirty))) {
        struct tf_watched *watched = tf_container_of(node, struct tf_watched, dirty);
        if (!tell_cells(shard, watched)) {
            tf_list_push_back(&later, &watched->dirty);
        }
    }
    tf_list_splice_back(&shard->access.dirty, &later);
}

bool tf_watched_check(const struct tf_shard *shard, const struct tf_watched *watched,
                      uint64_t *live_bytes)
{
    const struct tf_value *stored = stored_of(watched);
    const struct tf_value *now = &watched->now;
    struct tf_list_node *node = tf_list_first(&watched->cells);
    bool good = node && watched->queue.count == 0 && now->version <= shard->values.version;
    bool behind = false;
    for (; node; node = tf_list_next(&watched->cells, node)) {
        const struct tf_watch_cell *cell = tf_container_of(node, struct tf_watch_cell, in_watched);
        good &= cell->watched == watched && cell->sent <= now->version;
        behind |= cell->sent != now->version;
    }
    if (behind && (watched->standing || watched->failed)) {
        good &= tf_list_linked(&watched->dirty);
    }
    if (watched->live) {
        *live_bytes += now->message->size;
        return good;
    }
    return good && now->message == (stored ? stored->message : NULL) &&
           (!stored || now->version == stored->shown);
}
