/*
 * What the store keeps of a named queue (kept.h): the queue and its bindings as objects, its
 * entries, and what becomes of the pages of its tail.
 *
 * A queue is kept if it is to be more durable than memory, has a name, and its shard has a store.
 * What must not be lost is recorded in the turn in which it happens; nothing here waits for the
 * disk. Two things go before what they replace is gone, so that a power failure leaves them twice
 * rather than nowhere: a dead letter, whose entry's record stays until the letter has been answered
 * for, and what is moved, which stays until the other queue has it on disk.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "route/address.h"
#include "route/named_internal.h"

#include <stdlib.h>

/* A binding that has been recorded and may not come to stand. */
struct tf_named_bind {
    struct tf_list_node node; /* queue->unproven */
    size_t size;
    uint64_t tag;
    struct tf_bytes key; /* behind the struct */
};

static struct tf_named_queue *named_of(struct tf_queue *queue)
{
    return tf_container_of(queue, struct tf_named_queue, queue);
}

static struct tf_named_entry *entry_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_named_entry, entry.node);
}

/* True if a queue with this spec is to be kept. */
static bool wants(const struct tf_named_queue *named, const struct tf_queue_spec *spec)
{
    return named->queue.shard->config.store && !named->private && !named->dying &&
           spec->durability > TF_STORE_MEMORY;
}

static enum tf_store_level level_of(const struct tf_named_queue *named)
{
    return named->queue.kept->level;
}

/* ---- entries ---- */

/* What the store has of an entry; the charge is what it takes when it is read again. */
static void describe(const struct tf_named_queue *named, const struct tf_named_entry *entry,
                     struct tf_stored_entry *ret)
{
    uint64_t charge = tf_named_charge(entry);
    *ret = (struct tf_stored_entry){
        .charge = (uint32_t)TF_MIN(charge, UINT32_MAX),
        .expires = tf_stored_time(entry->timer.deadline, named->queue.shard->wall),
        .attempts = entry->entry.attempts,
        .qos = entry->entry.qos,
        .retain = entry->entry.retain,
        .acquired_before = entry->entry.acquired_before};
    if (entry->extra) {
        ret->annotations = entry->extra->annotations;
    }
}

void tf_named_record(struct tf_named_queue *named, struct tf_named_entry *entry, uint8_t level)
{
    struct tf_stored_entry stored;
    if (named->queue.kept && level > TF_STORE_MEMORY) {
        describe(named, entry, &stored);
        tf_kept_add(&entry->entry, level, &stored);
    }
}

void tf_named_record_tail(struct tf_named_queue *named, struct tf_named_entry *entry, uint8_t level)
{
    static const struct tf_subscription_ids none = {NULL, 0};
    struct tf_stored_entry stored;
    describe(named, entry, &stored);
    tf_kept_add_tail(&named->queue, entry->entry.message, level, &stored, &none);
    named->status.enqueued++;
    named->queue.counters->enqueued++;
    tf_named_changed(named);
}

void tf_named_record_letter(struct tf_named_queue *named, struct tf_named_entry *entry,
                            uint8_t level)
{
    if (!named->queue.kept) {
        return;
    }
    uint64_t position = entry->entry.position = named->queue.next_position++;
    if (!tf_named_tail(named)) {
        tf_named_record(named, entry, level);
    } else {
        /* it would be read as a part of the tail. What is recorded instead says nothing, but the
         * publisher waits for this batch, which has the letter, too, if it stays in this shard */
        tf_store_settle(named->queue.shard->config.store, level_of(named), named->queue.kept->id,
                        position, position);
    }
}

void tf_named_record_change(struct tf_named_queue *named, struct tf_named_entry *entry)
{
    struct tf_stored_entry stored;
    if (named->queue.kept && entry->entry.stored) {
        describe(named, entry, &stored);
        tf_kept_change(&entry->entry, &stored);
    }
}

/* An entry of the tail has been read. */
static enum tf_err item(struct tf_queue *queue, uint64_t position,
                        const struct tf_stored_entry *stored, struct tf_message *message)
{
    struct tf_named_queue *named = named_of(queue);
    struct tf_shard *shard = queue->shard;
    const struct tf_alloc *alloc = shard->config.alloc;
    struct tf_named_entry *entry = alloc->alloc(alloc->ctx, sizeof(*entry));
    if (!entry) {
        return TF_NO_MEMORY;
    }
    memset(entry, 0, sizeof(*entry));
    entry->entry = (struct tf_entry){.queue = queue,
                                     .message = message,
                                     .position = position,
                                     .attempts = stored->attempts,
                                     .qos = 1,
                                     .retain = stored->retain,
                                     .stored = true,
                                     /* nobody knows who was handed what before the restart */
                                     .acquired_before =
                                         stored->acquired_before ||
                                         position < tf_store_first_position(shard->config.store)};
    entry->timer.deadline = tf_stored_time_read(stored->expires, shard->wall);
    if (!tf_named_load(named, entry, stored->annotations)) {
        alloc->free(alloc->ctx, entry, sizeof(*entry));
        return TF_NO_MEMORY;
    }
    if (entry->timer.deadline <= shard->now) {
        tf_named_die(named, entry, TF_DEATH_EXPIRED);
    }
    return TF_OK;
}

/* A page has come, or none will. */
static void filled(struct tf_queue *queue)
{
    struct tf_named_queue *named = named_of(queue);
    if (!named->dying) {
        tf_named_trim(named);
        tf_queue_work_wake(named);
        tf_named_changed(named);
        tf_named_touch(named); /* to pump: here a route may be walked */
    }
}

static const struct tf_kept_ops kept_ops = {.item = item, .filled = filled};

void tf_named_page(struct tf_named_queue *named)
{
    if (!tf_named_tail(named) || named->dying) {
        return;
    }
    if (!tf_list_empty(&named->queue.consumers) || !tf_list_empty(&named->browsers)) {
        tf_kept_read_on(&named->queue); /* they have been offered all there is */
    } else if (named->status.consumers && tf_kept_low(&named->queue)) {
        tf_kept_fill(&named->queue); /* ahead of the next credit */
    }
}

/* ---- the queue and its bindings as objects ---- */

/* Records the queue as `spec` has it. Errors of tf_stored_reserve: nothing has changed. */
static enum tf_err put_queue(struct tf_named_queue *named, const struct tf_queue_spec *spec)
{
    struct tf_shard *shard = named->queue.shard;
    const struct tf_alloc *alloc = shard->config.alloc;
    size_t size = tf_stored_queue_size(spec);
    uint8_t *value = alloc->alloc(alloc->ctx, size);
    enum tf_err err = value ? tf_stored_reserve(shard, named->name.length + size) : TF_NO_MEMORY;
    if (!err) {
        struct tf_writer writer = tf_writer_of(value, size);
        tf_stored_queue_write(&writer, named->queue.kept->id, spec);
        tf_store_put(shard->config.store, spec->durability, TF_STORED_QUEUE, named->name,
                     tf_bytes_of(value, tf_writer_length(&writer)), NULL);
    }
    if (value) {
        alloc->free(alloc->ctx, value, size);
    }
    return err;
}

static void put_binding(const struct tf_named_queue *named, struct tf_bytes key,
                        const struct tf_binding_options *options)
{
    uint8_t value[TF_STORED_BINDING_BYTES];
    struct tf_writer writer = tf_writer_of(value, sizeof(value));
    tf_stored_binding_write(&writer, options);
    tf_store_put(named->queue.shard->config.store, level_of(named), TF_STORED_BINDING, key,
                 tf_bytes_of(value, tf_writer_length(&writer)), NULL);
}

/* The record of a binding goes. */
static void remove_binding(const struct tf_named_queue *named, struct tf_bytes key)
{
    tf_store_remove(named->queue.shard->config.store, level_of(named), TF_STORED_BINDING, key);
}

static struct tf_named_bind *new_bind(const struct tf_shard *shard, uint64_t id, uint64_t tag,
                                      struct tf_bytes filter)
{
    size_t size = sizeof(struct tf_named_bind) + TF_STORED_ID_BYTES + filter.length;
    struct tf_named_bind *bind = shard->config.alloc->alloc(shard->config.alloc->ctx, size);
    if (bind) {
        *bind = (struct tf_named_bind){.size = size, .tag = tag};
        bind->key = tf_stored_key_write((uint8_t *)(bind + 1), id, filter);
    }
    return bind;
}

static void free_bind(const struct tf_shard *shard, struct tf_named_bind *bind)
{
    tf_list_unlink(&bind->node);
    shard->config.alloc->free(shard->config.alloc->ctx, bind, bind->size);
}

enum tf_err tf_named_keep_binding(struct tf_named_queue *named, struct tf_bytes filter,
                                  const struct tf_binding_options *options, uint64_t tag)
{
    struct tf_shard *shard = named->queue.shard;
    if (!named->queue.kept) {
        return TF_OK;
    }
    if (filter.length > TF_JOURNAL_KEY_MAX - TF_STORED_ID_BYTES) {
        return TF_LIMIT;
    }
    struct tf_named_bind *bind = new_bind(shard, named->queue.kept->id, tag, filter);
    if (!bind) {
        return TF_NO_MEMORY;
    }
    enum tf_err err = tf_stored_reserve(shard, bind->key.length + TF_STORED_BINDING_BYTES);
    if (err) {
        free_bind(shard, bind);
        return err;
    }
    put_binding(named, bind->key, options);
    tf_list_push_back(&named->unproven, &bind->node);
    return TF_OK;
}

void tf_named_bound(struct tf_named_queue *named, uint64_t tag, enum tf_err err)
{
    struct tf_list_node *node = tf_list_first(&named->unproven);
    for (; node; node = tf_list_next(&named->unproven, node)) {
        struct tf_named_bind *bind = tf_container_of(node, struct tf_named_bind, node);
        if (bind->tag == tag) {
            if (err && named->queue.kept) {
                remove_binding(named, bind->key);
            }
            free_bind(named->queue.shard, bind);
            return;
        }
    }
}

/* The key of a binding of the queue, as of one that is to be proven; false: no memory. */
static bool key_of(const struct tf_named_queue *named, struct tf_list_node *node,
                   struct tf_named_bind **ret)
{
    const struct tf_binding *binding = tf_container_of(node, struct tf_binding, in_queue);
    *ret = new_bind(named->queue.shard, named->queue.kept->id, 0, binding->route->filter);
    return *ret != NULL;
}

void tf_named_forget_bindings(struct tf_named_queue *named)
{
    struct tf_list_node *node = tf_list_first(&named->queue.bindings);
    struct tf_named_bind *bind;
    for (; named->queue.kept && node; node = tf_list_next(&named->queue.bindings, node)) {
        /* without memory the record stays: it names a queue that is not there, or one that is bound
         * again after a restart */
        if (key_of(named, node, &bind)) {
            if (bind->key.length <= TF_JOURNAL_KEY_MAX) {
                remove_binding(named, bind->key);
            }
            free_bind(named->queue.shard, bind);
        }
    }
}

/* ---- beginning and ending ---- */

enum tf_err tf_named_keep(struct tf_named_queue *named)
{
    if (!wants(named, &named->spec)) {
        return TF_OK;
    }
    enum tf_err err = tf_queue_keep(&named->queue, 0, named->spec.durability, &kept_ops);
    if (err) {
        return err;
    }
    err = put_queue(named, &named->spec);
    if (err) {
        tf_queue_unkeep(&named->queue, false);
    }
    return err;
}

static void forget(struct tf_named_queue *named)
{
    tf_named_forget_bindings(named);
    tf_store_remove(named->queue.shard->config.store, level_of(named), TF_STORED_QUEUE,
                    named->name);
}

void tf_named_forget(struct tf_named_queue *named)
{
    if (!named->queue.kept) {
        return;
    }
    forget(named);
    (void)tf_kept_drop_tail(&named->queue);
    tf_named_end_keeping(named);
}

void tf_named_end_keeping(struct tf_named_queue *named)
{
    bool unwanted = named->queue.kept && !wants(named, &named->spec);
    if (!unwanted || tf_named_tail(named) || !tf_list_empty(&named->letters) ||
        !tf_list_empty(&named->posted)) {
        return;
    }
    if (!named->dying) { /* else it has been */
        forget(named);
    }
    tf_queue_unkeep(&named->queue, true);
}

static int by_position(const void *a, const void *b)
{
    const struct tf_named_entry *const *one = a;
    const struct tf_named_entry *const *other = b;
    uint64_t x = (*one)->entry.position;
    uint64_t y = (*other)->entry.position;
    return x < y ? -1 : x > y;
}

static void collect(const struct tf_list *list, struct tf_named_entry **entries, size_t *count)
{
    struct tf_list_node *node = tf_list_first(list);
    for (; node; node = tf_list_next(list, node)) {
        entries[(*count)++] = entry_of(node);
    }
}

/* Records the entries that there are, in order. */
static enum tf_err record_all(struct tf_named_queue *named)
{
    const struct tf_alloc *alloc = named->queue.shard->config.alloc;
    size_t size = named->queue.count * sizeof(struct tf_named_entry *);
    struct tf_named_entry **entries = size ? alloc->alloc(alloc->ctx, size) : NULL;
    struct tf_list_node *node = tf_list_first(&named->consumers);
    enum tf_err err = TF_OK;
    size_t count = 0;
    if (!entries) {
        return size ? TF_NO_MEMORY : TF_OK;
    }
    collect(&named->queue.available, entries, &count);
    collect(&named->returned, entries, &count);
    collect(&named->moving, entries, &count);
    for (; node; node = tf_list_next(&named->consumers, node)) {
        collect(&tf_container_of(node, struct tf_named_member, in_queue)->acquired, entries,
                &count);
    }
    tf_assert(count == named->queue.count);
    qsort(entries, count, sizeof(struct tf_named_entry *), by_position);
    for (size_t i = 0; i < count && !err; i++) {
        uint8_t level;
        entries[i]->entry.stored = false;
        err = tf_kept_reserve(&named->queue, entries[i]->entry.message, &level);
        if (!err) {
            tf_named_record(named, entries[i], level);
        }
    }
    alloc->free(alloc->ctx, entries, size);
    return err;
}

/* Records the bindings that there are. */
static enum tf_err record_bindings(struct tf_named_queue *named)
{
    struct tf_shard *shard = named->queue.shard;
    struct tf_list_node *node = tf_list_first(&named->queue.bindings);
    for (; node; node = tf_list_next(&named->queue.bindings, node)) {
        struct tf_named_bind *bind;
        if (!key_of(named, node, &bind)) {
            return TF_NO_MEMORY;
        }
        enum tf_err err =
            bind->key.length > TF_JOURNAL_KEY_MAX
                ? TF_LIMIT
                : tf_stored_reserve(shard, bind->key.length + TF_STORED_BINDING_BYTES);
        if (!err) {
            put_binding(named, bind->key,
                        &tf_container_of(node, struct tf_binding, in_queue)->options);
        }
        free_bind(shard, bind);
        if (err) {
            return err;
        }
    }
    for (node = tf_list_first(&named->binds.binds); node;
         node = tf_list_next(&named->binds.binds, node)) {
        const struct tf_bind *pending = tf_container_of(node, struct tf_bind, node);
        struct tf_named_bind *bind =
            new_bind(shard, named->queue.kept->id, pending->tag, pending->filter);
        if (!bind) {
            return TF_NO_MEMORY;
        }
        tf_list_push_back(&named->unproven, &bind->node);
    }
    return TF_OK;
}

/* True if nothing differs that is recorded. */
static bool same(const struct tf_queue_spec *a, const struct tf_queue_spec *b)
{
    return a->limits.entries == b->limits.entries && a->limits.bytes == b->limits.bytes &&
           a->limits.overflow == b->limits.overflow && a->message_ttl == b->message_ttl &&
           tf_bytes_equal(a->dead_letter, b->dead_letter) && a->idle == b->idle &&
           a->max_attempts == b->max_attempts && a->idle_when_empty == b->idle_when_empty &&
           a->durability == b->durability;
}

enum tf_err tf_named_keep_as(struct tf_named_queue *named, const struct tf_queue_spec *spec)
{
    if (!wants(named, spec)) {
        return TF_OK; /* tf_named_end_keeping follows */
    }
    if (named->queue.kept && same(&named->spec, spec)) {
        return TF_OK; /* a configured queue after a restart */
    }
    if (named->queue.kept) {
        enum tf_err err = put_queue(named, spec);
        if (!err) {
            named->queue.kept->level = spec->durability;
        }
        return err;
    }
    enum tf_err err = tf_queue_keep(&named->queue, 0, spec->durability, &kept_ops);
    if (err) {
        return err;
    }
    err = record_all(named);
    err = err ? err : record_bindings(named);
    err = err ? err : put_queue(named, spec);
    if (err) {
        tf_named_forget_bindings(named);
        tf_queue_unkeep(&named->queue, true);
    }
    return err;
}

/* ---- at the start ---- */

enum tf_err tf_named_restore(struct tf_shard *shard, const struct tf_stored_object *object,
                             struct tf_queue **ret)
{
    struct tf_queue_declaration declaration = {.name = object->key};
    struct tf_queue_spec spec;
    struct tf_named_queue *named;
    uint64_t id;
    enum tf_err err = tf_stored_queue_read(object->value, &id, &spec);
    if (err) {
        return err;
    }
    if (object->key.length == 0 || tf_named_queue_find(shard, object->key)) {
        return TF_PROTOCOL;
    }
    spec.configured = false;
    declaration.spec = &spec;
    err = tf_named_make(shard, &declaration, &named);
    if (err) {
        return err;
    }
    uint8_t level = TF_MAX(spec.durability, TF_STORE_OS); /* or it had not been kept */
    err = tf_queue_keep(&named->queue, id, level, &kept_ops);
    if (err) {
        tf_named_unmake(named);
        return err;
    }
    named->fresh = false;
    tf_named_consider_idle(named);
    tf_named_touch(named); /* it is seen there what its entries change */
    *ret = &named->queue;
    return TF_OK;
}

enum tf_err tf_named_restore_binding(struct tf_queue *queue, struct tf_bytes filter,
                                     const struct tf_binding_options *options)
{
    struct tf_named_queue *named = named_of(queue);
    if (!tf_filter_valid(filter)) {
        return TF_PROTOCOL;
    }
    named->binds_waiting++;
    enum tf_err err = tf_shard_bind(queue->shard, queue, filter, options, false, &named->binds,
                                    named->bind_tag + 1);
    if (err) {
        named->binds_waiting--;
        return TF_NO_MEMORY;
    }
    named->bind_tag++;
    return TF_OK;
}
