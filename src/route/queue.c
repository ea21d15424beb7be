/*
 * Queues and consumers. The invariants and the states of an entry are in queue.h.
 */
#include "route/queue.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"
#include "route/shard.h"

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

/* Takes the entry out of its list and its queue's account and frees it. */
static void drop(struct tf_entry *entry)
{
    struct tf_queue *queue = entry->queue;
    const struct tf_alloc *alloc = queue->shard->config.alloc;
    size_t charge = charge_of(entry);
    tf_list_remove(&entry->node);
    queue->count--;
    queue->bytes -= charge;
    queue->shard->queued_count--;
    queue->shard->queued_bytes -= charge;
    if (entry->ids.count) {
        alloc->free(alloc->ctx, (void *)(uintptr_t)entry->ids.ids,
                    entry->ids.count * sizeof(uint32_t));
    }
    tf_message_unref(entry->message);
    alloc->free(alloc->ctx, entry, sizeof(*entry));
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
        if (limits->overflow != TF_OVERFLOW_DROP_OLD || !oldest) {
            return false;
        }
        queue->counters->dropped_full++;
        drop(entry_of(oldest));
    }
    return true;
}

static enum tf_err new_entry(struct tf_queue *queue, struct tf_publication *publication,
                             const struct tf_delivery *delivery, tf_time now, struct tf_entry **ret)
{
    const struct tf_alloc *alloc = queue->shard->config.alloc;
    size_t id_size = delivery->ids.count * sizeof(uint32_t);
    struct tf_message *message = tf_publication_keep(publication, alloc);
    if (!message) {
        return TF_NO_MEMORY;
    }
    if (!make_room(queue, sizeof(struct tf_entry) + message->size + id_size, now)) {
        tf_message_unref(message);
        queue->counters->dropped_full++;
        return TF_LIMIT;
    }
    struct tf_entry *entry = alloc->alloc(alloc->ctx, sizeof(*entry));
    uint32_t *ids = id_size ? alloc->alloc(alloc->ctx, id_size) : NULL;
    if (!entry || (id_size && !ids)) {
        if (entry) {
            alloc->free(alloc->ctx, entry, sizeof(*entry));
        }
        if (ids) {
            alloc->free(alloc->ctx, ids, id_size);
        }
        tf_message_unref(message);
        return TF_NO_MEMORY;
    }
    if (ids) {
        memcpy(ids, delivery->ids.ids, id_size);
    }
    *entry = (struct tf_entry){.queue = queue,
                               .message = message,
                               .ids = {ids, delivery->ids.count},
                               .position = queue->next_position++,
                               .state = TF_ENTRY_AVAILABLE,
                               .qos = delivery->qos,
                               .retain = delivery->retain};
    tf_list_push_back(&queue->available, &entry->node);
    queue->expires = TF_MIN(queue->expires, publication->envelope.expires);
    size_t charge = charge_of(entry);
    queue->count++;
    queue->bytes += charge;
    queue->shard->queued_count++;
    queue->shard->queued_bytes += charge;
    queue->counters->enqueued++;
    *ret = entry;
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
    bool waiting = !tf_list_empty(&queue->available);
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
    enum tf_err err = new_entry(queue, publication, &delivery, now, &entry);
    if (err) {
        return err;
    }
    if (qos && attended && !waiting) {
        (void)offer_entry(queue, entry);
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
    queue->counters->released++;
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
        if (entry->state != TF_ENTRY_ACQUIRED || entry->qos == 0) {
            return false;
        }
        count++;
        bytes += charge_of(entry);
    }
    return count == queue->count && bytes == queue->bytes;
}
