/*
 * Reading entries back: a page at a time, in the order in which each client asked.
 */
#include <string.h>

#include "store/store_internal.h"

#define ENTRIES_MAX 4096u          /* of a page */
#define CALL_BYTES ((size_t)16384) /* that could be read in the time that a call takes */

void tf_store_page_free(struct tf_store_page *page, const struct tf_alloc *alloc)
{
    if (page->items)
        alloc->free(alloc->ctx, page->items, page->size);
    alloc->free(alloc->ctx, page, sizeof(*page));
}

void tf_store_page_take(struct tf_store_end *end, struct tf_store_page *page)
{
    while (page) {
        struct tf_store_page *next = page->next;
        page->next = NULL;
        if (end->pages)
            end->pages_last->next = page;
        else
            end->pages = page;
        end->pages_last = page;
        page = next;
    }
}

/* The length of a message, 0 if its bytes are lost. */
static size_t length_of(const struct tf_journal *journal, uint64_t message)
{
    size_t length;

    return tf_journal_length(journal, message, &length) ? 0 : length;
}

/* Counts what belongs to the page: entries, and bytes of attributes and messages. */
static void measure(const struct tf_journal *journal, struct tf_store_page *page,
                    size_t *ret_attributes, size_t *ret_messages)
{
    uint64_t from = page->from;
    uint32_t most = TF_MIN(TF_MAX(page->entries, 1), ENTRIES_MAX);
    struct tf_journal_place place;
    size_t attributes = 0, messages = 0;

    page->count = 0;
    page->end = true;
    while (tf_journal_entry_from(journal, page->queue, from, &place)) {
        size_t length = length_of(journal, place.message);
        if (page->count == most || (page->count && messages + length > page->bytes)) {
            page->end = false;
            break;
        }
        page->count++;
        attributes += place.attributes.length;
        messages += length;
        if (place.position == UINT64_MAX)
            break;
        from = place.position + 1;
    }
    *ret_attributes = attributes;
    *ret_messages = messages;
}

/* Puts down positions and attributes, and what is to be read where. */
static void lay_out(const struct tf_journal *journal, struct tf_store_page *page,
                    struct tf_journal_want *wants, uint8_t *attributes, uint8_t *messages)
{
    uint64_t from = page->from;
    struct tf_journal_place place;

    for (uint32_t i = 0; i < page->count; i++) {
        struct tf_store_item *item = &page->items[i];
        if (!tf_journal_entry_from(journal, page->queue, from, &place))
            break; /* never: nothing has changed since they were counted */
        if (place.attributes.length)
            memcpy(attributes, place.attributes.data, place.attributes.length);
        wants[i] = (struct tf_journal_want){
            .message = place.message, .to = messages, .length = length_of(journal, place.message)};
        *item =
            (struct tf_store_item){.position = place.position,
                                   .attributes = tf_bytes_of(attributes, place.attributes.length),
                                   .message = tf_bytes_of(messages, wants[i].length)};
        attributes += place.attributes.length;
        messages += wants[i].length;
        from = place.position + 1;
    }
}

static enum tf_err fill(struct tf_store *store, struct tf_store_page *page)
{
    const struct tf_alloc *alloc = store->config.alloc;
    size_t attributes, messages, head;
    struct tf_journal_want *wants;
    uint8_t *memory;

    measure(store->journal, page, &attributes, &messages);
    if (!page->count)
        return TF_OK;
    head = page->count * (sizeof(*page->items) + sizeof(*wants));
    page->size = head + attributes + messages;
    memory = alloc->alloc(alloc->ctx, page->size);
    if (!memory)
        return TF_NO_MEMORY;
    page->items = (struct tf_store_item *)(void *)memory;
    wants = (struct tf_journal_want *)(void *)(page->items + page->count);
    lay_out(store->journal, page, wants, memory + head, memory + head + attributes);
    tf_journal_read_all(store->journal, wants, page->count);
    for (uint32_t i = 0; i < page->count; i++) {
        if (wants[i].err == TF_IO)
            return TF_IO;
        if (wants[i].err)
            page->items[i].message = (struct tf_bytes){NULL, 0};
    }
    return TF_OK;
}

/* Returns about what it has cost, in bytes. */
static size_t answer(struct tf_store *store, struct tf_store_end *end, struct tf_store_page *page)
{
    struct tf_store_page *head;
    size_t cost;

    page->err = fill(store, page);
    cost = CALL_BYTES + page->size; /* the page is not ours any more after the push */
    if (page->err) {
        page->count = 0;
        page->end = false;
    }
    head = atomic_load_explicit(&end->answered, memory_order_relaxed);
    do
        page->next = head;
    while (!atomic_compare_exchange_weak_explicit(&end->answered, &head, page, memory_order_release,
                                                  memory_order_relaxed));
    if (!head)
        store->config.wake_shard(store->config.ctx, end->shard);
    return cost;
}

/* The first read of a client, if what it waits for is done. */
static struct tf_store_page *ready(const struct tf_store *store, const struct tf_store_end *end)
{
    struct tf_store_page *page = end->pages;

    if (page && !store->broken &&
        page->after > atomic_load_explicit(&end->done, memory_order_relaxed))
        return NULL;
    return page;
}

bool tf_store_page_serve(struct tf_store *store)
{
    unsigned idle = 0;
    size_t bytes = 0;

    while (idle < store->config.shards) {
        struct tf_store_end *end = &store->ends[store->turn];
        struct tf_store_page *page = ready(store, end);
        if (page && bytes >= TF_STORE_READ_BYTES)
            return true;
        store->turn = (store->turn + 1) % store->config.shards;
        idle = page ? 0 : idle + 1;
        if (!page)
            continue;
        end->pages = page->next;
        bytes += answer(store, end, page);
    }
    return false;
}
