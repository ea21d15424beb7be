/*
 * Queues and consumers. The invariants and the states of an entry are in queue.h; what the store
 * keeps of a queue is in kept.h.
 *
 * An entry of a kept queue is offered first and recorded then, in the same turn: so what its
 * consumer wants to know of it (tf_entry_tag) is part of its first record, and one that is settled
 * at once is never recorded.
 */
#include "route/queue.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"
#include "route/internal.h"

void tf_queue_init(struct tf_queue *queue, struct tf_shard *shard,
                   const struct tf_queue_limits *limits, struct tf_queue_counters *counters)
{
    memset(queue, 0, sizeof(*queue));
    queue->shard = shard;
    queue->limits = limits;
    queue->counters = counters;
    queue->expires = TF_TIME_NEVER;
    tf_list_init(&queue->available);
    tf_list_init(&queue->acquired);
    tf_list_init(&queue->consumers);
    tf_list_init(&queue->bindings);
    shard->queue_count++;
}

static size_t charge_of(const struct tf_entry *entry)
{
    return sizeof(*entry) + entry->message->size + entry->ids.count * sizeof(uint32_t);
}

/* What is recorded of an entry; see tf_stored_entry_write for the identifiers. */
static struct tf_stored_entry stored_of(const struct tf_entry *entry)
{
    tf_time expires = entry->message->publication.envelope.expires;
    return (struct tf_stored_entry){.charge = (uint32_t)TF_MIN(charge_of(entry), UINT32_MAX),
                                    .tag = entry->tag,
                                    .expires = tf_stored_time(expires, entry->queue->shard->wall),
                                    .attempts = entry->attempts,
                                    .qos = entry->qos,
                                    .retain = entry->retain};
}

/* Frees what an entry is, but for its message. */
static void free_entry(const struct tf_alloc *alloc, struct tf_entry *entry)
{
    if (entry->ids.count) {
        alloc->free(alloc->ctx, (void *)(uintptr_t)entry->ids.ids,
                    entry->ids.count * sizeof(uint32_t));
    }
    alloc->free(alloc->ctx, entry, sizeof(*entry));
}

/* Takes the entry out of its list and its queue's account and frees it. */
static void drop(struct tf_entry *entry)
{
    struct tf_queue *queue = entry->queue;
    const struct tf_alloc *alloc = queue->shard->config.alloc;
    size_t charge = charge_of(entry);
    if (queue->kept) {
        tf_kept_gone(entry);
    }
    tf_list_remove(&entry->node);
    queue->count--;
    queue->bytes -= charge;
    queue->shard->queued_count--;
    queue->shard->queued_bytes -= charge;
    tf_message_unref(entry->message);
    free_entry(alloc, entry);
}

static struct tf_entry *entry_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_entry, node);
}

void tf_queue_release(struct tf_queue *queue)
{
    struct tf_list_node *node;
    tf_assert(tf_list_empty(&queue->consumers));
    tf_shard_unbind_all(queue->shard, queue);
    tf_queue_unkeep(queue, false);
    while ((node = tf_list_first(&queue->available))) {
        drop(entry_of(node));
    }
    while ((node = tf_list_first(&queue->acquired))) {
        drop(entry_of(node));
    }
    queue->shard->queue_count--;
}

static bool expired(const struct tf_publication *publication, tf_time now)
{
    return publication->envelope.expires <= now;
}

/* Drops the available entries that have expired; walks them only when there may be some. */
static void drop_expired(struct tf_queue *queue, tf_time now)
{
    struct tf_list_node *node = tf_list_first(&queue->available);
    if (queue->expires > now) {
        return;
    }
    queue->expires = TF_TIME_NEVER;
    while (node) {
        struct tf_list_node *next = tf_list_next(&queue->available, node);
        const struct tf_publication *publication = &entry_of(node)->message->publication;
        if (expired(publication, now)) {
            queue->counters->dropped_expired++;
            drop(entry_of(node));
        } else {
            queue->expires = TF_MIN(queue->expires, publication->envelope.expires);
        }
        node = next;
    }
}

/* True if an entry of `charge` bytes fits, by dropping others if the policy says so. */
static bool make_room(struct tf_queue *queue, size_t charge, tf_time now)
{
    const struct tf_queue_limits *limits = queue->limits;
    if (queue->count < limits->entries && queue->bytes + charge <= limits->bytes) {
        return true;
    }
    if (charge > limits->bytes) {
        return false; /* whatever else is dropped */
    }
    drop_expired(queue, now);
    while (queue->count >= limits->entries || queue->bytes + charge > limits->bytes) {
        struct tf_list_node *oldest = tf_list_first(&queue->available);
        if (limits->overflow != TF_OVERFLOW_DROP_OLD) {
            return false;
        }
        if (queue->kept && tf_kept_low(queue)) {
            tf_kept_fill(queue); /* the oldest may be in the tail */
        }
        if (!oldest) {
            return false;
        }
        queue->counters->dropped_full++;
        drop(entry_of(oldest));
    }
    return true;
}

/* An entry in no list; NULL: no memory. Takes over a count of `message` if it succeeds. */
static struct tf_entry *make_entry(struct tf_queue *queue, struct tf_message *message,
                                   const struct tf_delivery *delivery)
{
    const struct tf_alloc *alloc = queue->shard->config.alloc;
    size_t id_size = delivery->ids.count * sizeof(uint32_t);
    struct tf_entry *entry = alloc->alloc(alloc->ctx, sizeof(*entry));
    uint32_t *ids = entry && id_size ? alloc->alloc(alloc->ctx, id_size) : NULL;
    if (entry && id_size && !ids) {
        alloc->free(alloc->ctx, entry, sizeof(*entry));
        entry = NULL;
    }
    if (!entry) {
        return NULL;
    }
    if (ids && delivery->ids.ids) {
        memcpy(ids, delivery->ids.ids, id_size);
    }
    *entry = (struct tf_entry){.queue = queue,
                               .message = message,
                               .ids = {ids, delivery->ids.count},
                               .state = TF_ENTRY_AVAILABLE,
                               .qos = delivery->qos,
                               .retain = delivery->retain};
    return entry;
}

/* Counts an entry that has come into one of the lists. */
static void count_entry(struct tf_queue *queue, const struct tf_entry *entry)
{
    size_t charge = charge_of(entry);
    queue->count++;
    queue->bytes += charge;
    queue->shard->queued_count++;
    queue->shard->queued_bytes += charge;
}

/* Puts an entry where its position says. */
static void make_available(struct tf_queue *queue, struct tf_entry *entry)
{
    struct tf_list_node *where = tf_list_last(&queue->available);
    while (where && entry_of(where)->position > entry->position) {
        where = tf_list_prev(&queue->available, where);
    }
    tf_list_insert_after(where ? where : &queue->available.head, &entry->node);
    queue->expires = TF_MIN(queue->expires, entry->message->publication.envelope.expires);
}

/* Adds a message to the tail of a kept queue. */
static void push_tail(struct tf_queue *queue, struct tf_message *message,
                      const struct tf_delivery *delivery, uint8_t level)
{
    struct tf_entry like = {.queue = queue,
                            .message = message,
                            .ids = delivery->ids,
                            .qos = delivery->qos,
                            .retain = delivery->retain};
    struct tf_stored_entry stored = stored_of(&like);
    tf_kept_add_tail(queue, message, level, &stored, &delivery->ids);
    queue->counters->enqueued++;
    if (!tf_list_empty(&queue->consumers) && tf_list_empty(&queue->available)) {
        tf_kept_fill(queue);
    }
}

/*
 * Makes an entry of a publication; *ret NULL: it is in the tail. *ret_level: how it is to be
 * recorded when it has been offered.
 */
static enum tf_err new_entry(struct tf_queue *queue, struct tf_publication *publication,
                             const struct tf_delivery *delivery, tf_time now, struct tf_entry **ret,
                             uint8_t *ret_level)
{
    struct tf_message *message = tf_publication_keep(publication, queue->shard->config.alloc);
    uint8_t level = TF_STORE_MEMORY;
    if (!message) {
        return TF_NO_MEMORY;
    }
    if (queue->kept && delivery->qos && tf_kept_reserve(queue, message, &level)) {
        tf_message_unref(message);
        return TF_NO_MEMORY;
    }
    size_t id_size = delivery->ids.count * sizeof(uint32_t);
    if (!make_room(queue, sizeof(struct tf_entry) + message->size + id_size, now)) {
        tf_message_unref(message);
        queue->counters->dropped_full++;
        return TF_LIMIT;
    }
    if (queue->kept && tf_kept_beyond(queue)) {
        if (delivery->qos == 0) {
            queue->counters->dropped_full++; /* at most once is never in the store */
        } else {
            push_tail(queue, message, delivery, level);
        }
        tf_message_unref(message);
        *ret = NULL;
        return delivery->qos ? TF_OK : TF_LIMIT;
    }
    struct tf_entry *entry = make_entry(queue, message, delivery);
    if (!entry) {
        tf_message_unref(message);
        return TF_NO_MEMORY;
    }
    entry->position = queue->next_position++;
    tf_list_push_back(&queue->available, &entry->node);
    queue->expires = TF_MIN(queue->expires, publication->envelope.expires);
    count_entry(queue, entry);
    queue->counters->enqueued++;
    *ret = entry;
    *ret_level = level;
    return TF_OK;
}

/*
 * Offers a delivery to each consumer in turn, the one that took last at the end. TF_LIMIT: none of
 * them can ever take it. When it is taken the entry may be gone.
 */
static enum tf_err offer(struct tf_queue *queue, const struct tf_delivery *delivery)
{
    bool never = !tf_list_empty(&queue->consumers);
    struct tf_list_node *node = tf_list_first(&queue->consumers);
    while (node) {
        struct tf_consumer *consumer = tf_container_of(node, struct tf_consumer, node);
        if (delivery->entry) {
            delivery->entry->consumer = consumer;
        }
        enum tf_err err = consumer->ops->deliver(consumer, delivery);
        if (err == TF_OK) {
            if (node != tf_list_last(&queue->consumers)) {
                tf_list_remove(node);
                tf_list_push_back(&queue->consumers, node);
            }
            queue->counters->delivered++;
            return TF_OK;
        }
        never &= err == TF_LIMIT;
        node = tf_list_next(&queue->consumers, node);
    }
    if (delivery->entry) {
        delivery->entry->consumer = NULL;
    }
    return never ? TF_LIMIT : TF_AGAIN;
}

/* Offers one available entry. False: it must wait. */
static bool offer_entry(struct tf_queue *queue, struct tf_entry *entry)
{
    struct tf_delivery delivery = {.publication = &entry->message->publication,
                                   .entry = entry->qos ? entry : NULL,
                                   .ids = entry->ids,
                                   .qos = entry->qos,
                                   .retain = entry->retain};
    if (entry->qos) {
        /* acquired before the call, so that a consumer may settle it from within */
        tf_list_remove(&entry->node);
        tf_list_push_back(&queue->acquired, &entry->node);
        entry->state = TF_ENTRY_ACQUIRED;
    }
    enum tf_err err = offer(queue, &delivery);
    if (err == TF_OK) {
        if (!delivery.entry) {
            drop(entry);
        }
        return true;
    }
    if (err == TF_LIMIT) {
        queue->counters->dropped_size++;
        drop(entry);
        return true;
    }
    if (entry->qos) {
        tf_list_remove(&entry->node);
        tf_list_push_front(&queue->available, &entry->node);
        entry->state = TF_ENTRY_AVAILABLE;
    }
    return false;
}

enum tf_err tf_queue_push(struct tf_queue *queue, struct tf_publication *publication,
                          const struct tf_subscription_ids *ids, uint8_t qos, bool retain,
                          tf_time now)
{
    if (queue->ops) {
        return queue->ops->push(queue, publication, retain);
    }
    bool attended = !tf_list_empty(&queue->consumers);
    bool waiting = !tf_list_empty(&queue->available) || (queue->kept && queue->kept->tail_count);
    struct tf_delivery delivery = {
        .publication = publication, .ids = *ids, .qos = qos, .retain = retain};
    if (qos == 0) {
        if (!attended && !queue->keep_at_most_once) {
            queue->counters->dropped_offline++;
            return TF_LIMIT;
        }
        enum tf_err err = attended && !waiting ? offer(queue, &delivery) : TF_AGAIN;
        if (err == TF_LIMIT) {
            queue->counters->dropped_size++;
        }
        if (err == TF_OK || err == TF_LIMIT) {
            return err;
        }
    }
    struct tf_entry *entry;
    uint8_t level;
    enum tf_err err = new_entry(queue, publication, &delivery, now, &entry, &level);
    if (err || !entry) {
        return err;
    }
    if (level != TF_STORE_MEMORY) {
        tf_kept_offer(entry);
    }
    if (qos && attended && !waiting) {
        (void)offer_entry(queue, entry);
    }
    if (level != TF_STORE_MEMORY && queue->kept->fresh == entry) {
        struct tf_stored_entry stored = stored_of(entry);
        tf_kept_add(entry, level, &stored);
    }
    return TF_OK;
}

void tf_queue_pump(struct tf_queue *queue, tf_time now)
{
    if (queue->pumping || tf_list_empty(&queue->consumers)) {
        return;
    }
    queue->pumping = true;
    struct tf_list_node *node;
    while ((node = tf_list_first(&queue->available))) {
        struct tf_entry *entry = entry_of(node);
        if (expired(&entry->message->publication, now)) {
            queue->counters->dropped_expired++;
            drop(entry);
        } else if (!offer_entry(queue, entry)) {
            break;
        }
    }
    queue->pumping = false;
    if (queue->kept && queue->kept->tail_count) {
        if (tf_kept_low(queue)) {
            tf_kept_fill(queue);
        }
        return; /* what drains it is in the store yet */
    }
    if (node) {
        return;
    }
    for (node = tf_list_first(&queue->consumers); node;
         node = tf_list_next(&queue->consumers, node)) {
        struct tf_consumer *consumer = tf_container_of(node, struct tf_consumer, node);
        if (consumer->ops->drained) {
            consumer->ops->drained(consumer);
        }
    }
}

void tf_consumer_attach(struct tf_consumer *consumer, struct tf_queue *queue)
{
    tf_assert(!consumer->queue);
    consumer->queue = queue;
    tf_list_push_back(&queue->consumers, &consumer->node);
}

void tf_consumer_detach(struct tf_consumer *consumer)
{
    if (consumer->queue) {
        tf_list_remove(&consumer->node);
        consumer->queue = NULL;
    }
}

void tf_queue_unattended(struct tf_queue *queue)
{
    struct tf_list_node *node = tf_list_first(&queue->available);
    if (queue->keep_at_most_once || !tf_list_empty(&queue->consumers)) {
        return;
    }
    while (node) {
        struct tf_list_node *next = tf_list_next(&queue->available, node);
        if (entry_of(node)->qos == 0) {
            queue->counters->dropped_offline++;
            drop(entry_of(node));
        }
        node = next;
    }
}

/* An entry that is in the store is not as it was. */
static void record_change(struct tf_entry *entry)
{
    if (entry->stored && entry->queue->kept) {
        struct tf_stored_entry stored = stored_of(entry);
        tf_kept_change(entry, &stored);
    }
}

void tf_entry_settle(struct tf_entry *entry)
{
    tf_assert(entry->state == TF_ENTRY_ACQUIRED);
    entry->queue->counters->settled++;
    drop(entry);
}

void tf_entry_release(struct tf_entry *entry)
{
    struct tf_queue *queue = entry->queue;
    tf_assert(entry->state == TF_ENTRY_ACQUIRED);
    tf_list_remove(&entry->node);
    struct tf_list_node *where = tf_list_first(&queue->available);
    while (where && entry_of(where)->position < entry->position) {
        where = tf_list_next(&queue->available, where);
    }
    tf_list_insert_before(where ? where : &queue->available.head, &entry->node);
    queue->expires = TF_MIN(queue->expires, entry->message->publication.envelope.expires);
    entry->state = TF_ENTRY_AVAILABLE;
    entry->consumer = NULL;
    entry->attempts += entry->attempts < UINT16_MAX;
    entry->tag = 0;
    record_change(entry);
    queue->counters->released++;
}

void tf_entry_tag(struct tf_entry *entry, uint32_t tag)
{
    if (entry->tag != tag) {
        entry->tag = tag;
        record_change(entry);
    }
}

/* ---- the tail's entries; see kept.h ---- */

/* An entry of what the store has, in no list and at its position. */
static struct tf_entry *stored_entry(struct tf_queue *queue, uint64_t position,
                                     const struct tf_stored_entry *stored,
                                     struct tf_message *message)
{
    struct tf_delivery delivery = {.qos = stored->qos, .retain = stored->retain};
    struct tf_bytes ids = stored->ids;
    uint32_t id;
    while (tf_stored_entry_id(&ids, &id)) {
        delivery.ids.count++;
    }
    struct tf_entry *entry = make_entry(queue, message, &delivery);
    if (!entry) {
        return NULL;
    }
    uint32_t *copy = (uint32_t *)(uintptr_t)entry->ids.ids;
    ids = stored->ids;
    while (tf_stored_entry_id(&ids, &id)) {
        *copy++ = id;
    }
    entry->position = position;
    entry->attempts = stored->attempts;
    entry->stored = true;
    return entry;
}

/* tf_kept_ops.item. */
static enum tf_err take_item(struct tf_queue *queue, uint64_t position,
                             const struct tf_stored_entry *stored, struct tf_message *message)
{
    struct tf_entry *entry = stored_entry(queue, position, stored, message);
    if (!entry) {
        return TF_NO_MEMORY;
    }
    make_available(queue, entry);
    count_entry(queue, entry);
    if (expired(&message->publication, queue->shard->now)) {
        queue->counters->dropped_expired++;
        drop(entry);
    }
    return TF_OK;
}

/* tf_kept_ops.filled. */
static void filled(struct tf_queue *queue)
{
    tf_queue_pump(queue, queue->shard->now);
}

const struct tf_kept_ops tf_queue_kept_ops = {.item = take_item, .filled = filled};

enum tf_err tf_queue_restore_entry(struct tf_queue *queue, uint64_t position,
                                   const struct tf_stored_entry *stored, struct tf_message *message,
                                   struct tf_entry **ret)
{
    struct tf_entry *entry = stored_entry(queue, position, stored, message);
    if (!entry) {
        return TF_NO_MEMORY;
    }
    if (tf_kept_note_restored(queue->kept, position)) {
        const struct tf_alloc *alloc = queue->shard->config.alloc;
        free_entry(alloc, entry);
        return TF_NO_MEMORY;
    }
    entry->tag = stored->tag;
    entry->state = TF_ENTRY_ACQUIRED;
    tf_list_push_back(&queue->acquired, &entry->node);
    count_entry(queue, entry);
    *ret = entry;
    return TF_OK;
}

bool tf_queue_check(const struct tf_queue *queue)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    uint64_t position = 0;
    struct tf_list_node *node;
    for (node = tf_list_first(&queue->available); node;
         node = tf_list_next(&queue->available, node)) {
        const struct tf_entry *entry = entry_of(node);
        if (entry->state != TF_ENTRY_AVAILABLE || entry->consumer ||
            (count && entry->position <= position)) {
            return false;
        }
        position = entry->position;
        count++;
        bytes += charge_of(entry);
    }
    for (node = tf_list_first(&queue->acquired); node;
         node = tf_list_next(&queue->acquired, node)) {
        const struct tf_entry *entry = entry_of(node);
        if (entry->state != TF_ENTRY_ACQUIRED || entry->qos == 0 || entry->fresh) {
            return false;
        }
        count++;
        bytes += charge_of(entry);
    }
    return tf_kept_check(queue, count, bytes);
}
