/*
 * What the store keeps of a queue: entries as they come, change and go, and the tail. See kept.h,
 * which has the invariants.
 *
 * It knows neither how an entry looks in memory beyond tf_entry nor who consumes it: a page's items
 * go to the queue's own ops. What a page says and what is known here may differ by what was
 * recorded while it was read; it is put right when a page says that nothing is behind it.
 */
#include "route/kept.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"
#include "route/internal.h"

#define RETRY_AFTER (TF_SECOND / 10) /* a page that could not be read */

static struct tf_store_client *store_of(const struct tf_queue *queue)
{
    return queue->shard->config.store;
}

/* The lower of the queue's level and what the message is content with. */
static uint8_t level_of(const struct tf_kept *kept, const struct tf_message *message)
{
    return (uint8_t)tf_stored_level((enum tf_store_level)kept->level,
                                    &message->publication.envelope);
}

/* The level of what is in the store: that of a record which need not be there is the lowest. */
static enum tf_store_level level_in_store(const struct tf_kept *kept,
                                          const struct tf_message *message)
{
    uint8_t level = level_of(kept, message);
    return level == TF_STORE_MEMORY ? TF_STORE_OS : (enum tf_store_level)level;
}

static uint32_t count_in_memory(const struct tf_queue *queue)
{
    return queue->count - queue->kept->tail_count;
}

/* True if the window has no room. What consumers hold must not keep the rest from them, so it is
 * never full while nothing is available. */
static bool window_full(const struct tf_queue *queue)
{
    return !tf_list_empty(&queue->available) &&
           (count_in_memory(queue) >= queue->shard->config.kept_window ||
            queue->bytes - queue->kept->tail_bytes >= TF_KEPT_WINDOW_BYTES);
}

/* ---- the tail's account ---- */

static void tail_grow(struct tf_queue *queue, uint32_t count, uint64_t bytes)
{
    queue->kept->tail_count += count;
    queue->kept->tail_bytes += bytes;
    queue->count += count;
    queue->bytes += bytes;
    queue->shard->queued_count += count;
    queue->shard->queued_bytes += bytes;
}

/* The last one takes whatever bytes are left: what was recorded of them may be lost. */
static void tail_shrink(struct tf_queue *queue, uint32_t count, uint64_t bytes)
{
    struct tf_kept *kept = queue->kept;
    count = TF_MIN(count, kept->tail_count);
    bytes = count == kept->tail_count ? kept->tail_bytes : TF_MIN(bytes, kept->tail_bytes);
    kept->tail_count -= count;
    kept->tail_bytes -= bytes;
    queue->count -= count;
    queue->bytes -= bytes;
    queue->shard->queued_count -= count;
    queue->shard->queued_bytes -= bytes;
}

static void forget_restored(struct tf_kept *kept)
{
    const struct tf_alloc *alloc = kept->queue->shard->config.alloc;
    if (kept->restored) {
        alloc->free(alloc->ctx, kept->restored, kept->restored_capacity * sizeof(uint64_t));
        kept->restored = NULL;
        kept->restored_count = kept->restored_capacity = 0;
    }
}

/* ---- pages ---- */

static void retry_later(struct tf_kept *kept)
{
    struct tf_shard *shard = kept->queue->shard;
    if (!tf_list_linked(&kept->node)) {
        if (tf_list_empty(&shard->starved)) {
            shard->starved_until = shard->now + RETRY_AFTER;
        }
        tf_list_push_back(&shard->starved, &kept->node);
    }
}

/* True if a position was restored by itself, and is no part of the tail. */
static bool is_restored(const struct tf_kept *kept, uint64_t position)
{
    uint32_t low = 0;
    uint32_t high = kept->restored_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (kept->restored[middle] < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < kept->restored_count && kept->restored[low] == position;
}

/* An item that cannot be read is lost: the store is told, so that it is not read again. */
static void lose(struct tf_queue *queue, uint64_t position, uint64_t charge)
{
    tail_shrink(queue, 1, charge);
    queue->counters->dropped_damaged++;
    tf_store_settle(store_of(queue), (enum tf_store_level)queue->kept->level, queue->kept->id,
                    position, position);
}

/* TF_NO_MEMORY: it stays in the tail, and so do those behind it. */
static enum tf_err take_item(struct tf_queue *queue, const struct tf_store_item *item)
{
    struct tf_kept *kept = queue->kept;
    struct tf_shard *shard = queue->shard;
    struct tf_stored_entry stored = {0};
    struct tf_message *message = NULL;
    if (item->position < kept->next) {
        return TF_OK;
    }
    if (is_restored(kept, item->position)) {
        kept->next = item->position + 1;
        return TF_OK;
    }
    enum tf_err err = tf_stored_entry_read(item->attributes, &stored);
    if (!err) {
        err = item->message.data ? tf_stored_message_read(item->message, shard->wall,
                                                          shard->config.alloc, &message)
                                 : TF_PROTOCOL;
    }
    if (err == TF_NO_MEMORY) {
        return err;
    }
    if (err) {
        lose(queue, item->position, stored.charge);
        kept->next = item->position + 1;
        return TF_OK;
    }
    uint32_t count = TF_MIN(kept->tail_count, 1u);
    uint64_t bytes = kept->tail_bytes;
    tail_shrink(queue, 1, stored.charge);
    bytes -= kept->tail_bytes;
    err = kept->ops->item(queue, item->position, &stored, message);
    if (err) {
        tf_message_unref(message);
        tail_grow(queue, count, bytes);
        return err;
    }
    kept->next = item->position + 1;
    return TF_OK;
}

/* A page has been read to its end: what it says about the end of the queue is the truth of then. */
static void settle_end(struct tf_queue *queue)
{
    struct tf_kept *kept = queue->kept;
    uint32_t count = kept->tail_count - TF_MIN(kept->tail_count, kept->added_count);
    uint64_t bytes = kept->tail_bytes - TF_MIN(kept->tail_bytes, kept->added_bytes);
    if (count) {
        tail_shrink(queue, count, bytes);
    }
    forget_restored(kept);
}

static void page_done(struct tf_store_read *read, enum tf_err err, struct tf_store_page *page)
{
    struct tf_kept *kept = tf_container_of(read, struct tf_kept, read);
    struct tf_queue *queue = kept->queue;
    struct tf_store_item item;
    kept->reading = false;
    while (!err && tf_store_page_next(page, &item)) {
        err = take_item(queue, &item);
    }
    if (err) {
        retry_later(kept);
    } else if (tf_store_page_end(page)) {
        settle_end(queue);
    }
    if (tf_list_empty(&queue->available)) {
        tf_kept_fill(queue); /* there was nothing to take in it */
    }
    kept->ops->filled(queue);
}

/* True if a page is worth reading. */
static bool wants_page(const struct tf_queue *queue)
{
    const struct tf_kept *kept = queue->kept;
    return kept && kept->tail_count && !kept->reading && (kept->over || !window_full(queue));
}

void tf_kept_fill(struct tf_queue *queue)
{
    if (wants_page(queue) && !tf_list_linked(&queue->kept->node)) {
        tf_list_push_back(&queue->shard->paging, &queue->kept->node);
    }
}

void tf_kept_read_on(struct tf_queue *queue)
{
    if (queue->kept) {
        queue->kept->over = true;
        tf_kept_fill(queue);
    }
}

static void begin_page(struct tf_kept *kept)
{
    struct tf_queue *queue = kept->queue;
    bool wanted = wants_page(queue);
    kept->over = false;
    if (!wanted) {
        return;
    }
    kept->read = (struct tf_store_read){.queue = kept->id,
                                        .from = kept->next,
                                        .entries = queue->shard->config.kept_page,
                                        .bytes = TF_KEPT_PAGE_BYTES,
                                        .done = page_done};
    if (tf_store_read(store_of(queue), &kept->read)) {
        retry_later(kept);
        return;
    }
    kept->reading = true;
    kept->added_count = 0;
    kept->added_bytes = 0;
}

void tf_kept_page(struct tf_shard *shard)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&shard->paging))) {
        begin_page(tf_container_of(node, struct tf_kept, node));
    }
}

bool tf_kept_low(const struct tf_queue *queue)
{
    return tf_list_empty(&queue->available) ||
           count_in_memory(queue) < 2 * queue->shard->config.kept_page;
}

void tf_kept_retry(struct tf_shard *shard)
{
    if (!tf_list_empty(&shard->starved) && shard->starved_until <= shard->now) {
        tf_list_splice_back(&shard->paging, &shard->starved);
    }
}

/* ---- life ---- */

enum tf_err tf_queue_keep(struct tf_queue *queue, uint64_t id, uint8_t level,
                          const struct tf_kept_ops *ops)
{
    struct tf_store_client *store = store_of(queue);
    const struct tf_alloc *alloc = queue->shard->config.alloc;
    tf_assert(store && !queue->kept && level != TF_STORE_MEMORY);
    struct tf_kept *kept = alloc->alloc(alloc->ctx, sizeof(*kept));
    if (!kept) {
        return TF_NO_MEMORY;
    }
    uint64_t first = tf_store_first_position(store);
    *kept = (struct tf_kept){.ops = ops ? ops : &tf_queue_kept_ops,
                             .queue = queue,
                             .id = id ? id : tf_store_queue_id(store),
                             .level = level};
    queue->kept = kept;
    queue->next_position = TF_MAX(queue->next_position, first);
    return TF_OK;
}

void tf_queue_unkeep(struct tf_queue *queue, bool forget)
{
    struct tf_kept *kept = queue->kept;
    const struct tf_alloc *alloc = queue->shard->config.alloc;
    if (!kept) {
        return;
    }
    tf_store_read_cancel(store_of(queue), &kept->read);
    tf_list_unlink(&kept->node);
    tail_shrink(queue, kept->tail_count, kept->tail_bytes);
    forget_restored(kept);
    if (forget) {
        tf_store_settle(store_of(queue), (enum tf_store_level)kept->level, kept->id, 0, UINT64_MAX);
    }
    queue->kept = NULL;
    alloc->free(alloc->ctx, kept, sizeof(*kept));
}

/* ---- recording ---- */

enum tf_err tf_kept_reserve(struct tf_queue *queue, const struct tf_message *message,
                            uint8_t *ret_level)
{
    struct tf_kept *kept = queue->kept;
    if (!kept) {
        *ret_level = TF_STORE_MEMORY;
        return TF_OK;
    }
    uint8_t level = level_of(kept, message);
    if (level == TF_STORE_MEMORY && !tf_kept_beyond(queue)) {
        *ret_level = level;
        return TF_OK;
    }
    /* scratch in any case: when it comes to recording, the store may have another message last */
    size_t head = tf_stored_head_size(&message->publication.envelope);
    size_t bytes = tf_store_has(store_of(queue), message) ? 0 : head;
    if (tf_stored_room(queue->shard, head) ||
        tf_store_reserve(store_of(queue), TF_JOURNAL_ATTRIBUTES_MAX + bytes)) {
        return TF_NO_MEMORY;
    }
    *ret_level = (uint8_t)level_in_store(kept, message);
    return TF_OK;
}

bool tf_kept_beyond(const struct tf_queue *queue)
{
    return queue->kept && (queue->kept->tail_count || window_full(queue));
}

/* It is offered no more: recorded now, or gone. */
static void end_offer(struct tf_kept *kept, struct tf_entry *entry)
{
    if (entry->fresh) {
        entry->fresh = false;
        kept->fresh = NULL;
    }
}

void tf_kept_offer(struct tf_entry *entry)
{
    struct tf_kept *kept = entry->queue->kept;
    tf_assert(!kept->fresh && !entry->stored);
    entry->fresh = true;
    kept->fresh = entry;
}

/* Appends an entry; what it needs was reserved. */
static void append(struct tf_queue *queue, uint64_t position, struct tf_message *message,
                   uint8_t level, const struct tf_stored_entry *stored,
                   const struct tf_subscription_ids *ids)
{
    uint8_t attributes[TF_JOURNAL_ATTRIBUTES_MAX];
    struct tf_store_message with;
    size_t length = tf_stored_entry_write(attributes, stored, ids);
    enum tf_err err = tf_stored_message(queue->shard, message, &with);
    tf_assert(!err); /* tf_kept_reserve has seen to the scratch */
    tf_store_entry(store_of(queue), (enum tf_store_level)level, queue->kept->id, position,
                   tf_bytes_of(attributes, length), &with);
}

void tf_kept_add(struct tf_entry *entry, uint8_t level, const struct tf_stored_entry *stored)
{
    struct tf_kept *kept = entry->queue->kept;
    if (!kept) {
        return;
    }
    end_offer(kept, entry);
    if (level == TF_STORE_MEMORY) {
        return;
    }
    struct tf_stored_entry tagged = *stored;
    tagged.tag = entry->tag;
    append(entry->queue, entry->position, entry->message, level, &tagged, &entry->ids);
    entry->stored = true;
}

void tf_kept_add_tail(struct tf_queue *queue, struct tf_message *message, uint8_t level,
                      const struct tf_stored_entry *stored, const struct tf_subscription_ids *ids)
{
    struct tf_kept *kept = queue->kept;
    uint64_t position = queue->next_position++;
    if (kept->tail_count == 0) {
        kept->next = position;
    }
    level = TF_MAX(level, TF_STORE_OS); /* the tail is nowhere else */
    append(queue, position, message, level, stored, ids);
    tail_grow(queue, 1, stored->charge);
    if (kept->reading) {
        kept->added_count++;
        kept->added_bytes += stored->charge;
    }
}

void tf_kept_change(struct tf_entry *entry, const struct tf_stored_entry *stored)
{
    struct tf_kept *kept = entry->queue->kept;
    uint8_t attributes[TF_JOURNAL_ATTRIBUTES_MAX];
    if (kept && entry->stored) {
        size_t length = tf_stored_entry_write(attributes, stored, &entry->ids);
        tf_store_change(store_of(entry->queue), level_in_store(kept, entry->message), kept->id,
                        entry->position, tf_bytes_of(attributes, length));
    }
}

void tf_kept_gone(struct tf_entry *entry)
{
    struct tf_kept *kept = entry->queue->kept;
    if (!kept) {
        return;
    }
    end_offer(kept, entry);
    if (entry->stored) {
        entry->stored = false;
        tf_store_settle(store_of(entry->queue), level_in_store(kept, entry->message), kept->id,
                        entry->position, entry->position);
    }
}

uint32_t tf_kept_drop_tail(struct tf_queue *queue)
{
    struct tf_kept *kept = queue->kept;
    if (!kept || kept->tail_count == 0) {
        return 0;
    }
    uint32_t count = kept->tail_count;
    tf_store_read_cancel(store_of(queue), &kept->read);
    tf_list_unlink(&kept->node);
    kept->reading = false;
    /* what was restored by itself may lie between: it is not the tail's */
    uint64_t first = kept->next;
    for (uint32_t i = 0; i < kept->restored_count; i++) {
        if (kept->restored[i] > first) {
            tf_store_settle(store_of(queue), (enum tf_store_level)kept->level, kept->id, first,
                            kept->restored[i] - 1);
        }
        first = TF_MAX(first, kept->restored[i] + 1);
    }
    if (first < queue->next_position) {
        tf_store_settle(store_of(queue), (enum tf_store_level)kept->level, kept->id, first,
                        queue->next_position - 1);
    }
    tail_shrink(queue, count, kept->tail_bytes);
    kept->next = queue->next_position;
    forget_restored(kept);
    return count;
}

/* ---- at the start ---- */

void tf_queue_restore(struct tf_queue *queue, uint32_t count, uint64_t bytes, uint64_t first)
{
    struct tf_kept *kept = queue->kept;
    if (count) {
        kept->next = kept->tail_count ? TF_MIN(kept->next, first) : first;
        tail_grow(queue, count, bytes);
    }
}

enum tf_err tf_kept_note_restored(struct tf_kept *kept, uint64_t position)
{
    const struct tf_alloc *alloc = kept->queue->shard->config.alloc;
    if (kept->restored_count == kept->restored_capacity) {
        uint32_t capacity = TF_MAX(16u, 2 * kept->restored_capacity);
        uint64_t *grown = alloc->alloc(alloc->ctx, capacity * sizeof(uint64_t));
        if (!grown) {
            return TF_NO_MEMORY;
        }
        uint32_t count = kept->restored_count;
        if (count) {
            memcpy(grown, kept->restored, count * sizeof(uint64_t));
        }
        forget_restored(kept);
        kept->restored = grown;
        kept->restored_count = count;
        kept->restored_capacity = capacity;
    }
    kept->restored[kept->restored_count++] = position;
    return TF_OK;
}

bool tf_kept_check(const struct tf_queue *queue, uint32_t count, uint64_t bytes)
{
    const struct tf_kept *kept = queue->kept;
    if (!kept) {
        return count == queue->count && bytes == queue->bytes;
    }
    for (uint32_t i = 1; i < kept->restored_count; i++) {
        if (kept->restored[i] <= kept->restored[i - 1]) {
            return false;
        }
    }
    const struct tf_list_node *last = tf_list_last(&queue->available);
    const struct tf_entry *entry = last ? tf_container_of(last, const struct tf_entry, node) : NULL;
    bool ordered =
        !entry || kept->tail_count == 0 || kept->restored_count || entry->position < kept->next;
    return ordered && count + kept->tail_count == queue->count &&
           bytes + kept->tail_bytes == queue->bytes && !kept->fresh &&
           (kept->tail_count || kept->tail_bytes == 0);
}
