/*
 * The shard's end of the store: fills batches, hands them over, and learns what is done.
 *
 *   free --append--> filled (client->batch) --submit--> submitted ... returned --receive--> free
 *
 * Memory: reserve takes what refusable records need. What must be recorded has a batch and a block
 * set aside, which come back with their batch; when they are in use already, too, the store is
 * broken: a number is used up that is never done, so whoever waits for it waits for ever, and
 * nothing behind it becomes true.
 */
#include <string.h>

#include "base/assert.h"
#include "store/store_internal.h"

#define FREE_MAX ((size_t)4 << 20) /* bytes of the batches that a client keeps */

static const struct tf_alloc *alloc_of(const struct tf_store_client *client)
{
    return client->store->config.alloc;
}

/* ---- state ---- */

enum tf_store_state tf_store_state(const struct tf_store_client *client)
{
    return (enum tf_store_state)atomic_load_explicit(&client->store->state, memory_order_acquire);
}

uint64_t tf_store_queue_id(struct tf_store_client *client)
{
    uint64_t id;

    do
        id = tf_random_next(&client->end->random);
    while (!id);
    return id;
}

uint64_t tf_store_first_position(const struct tf_store_client *client)
{
    return client->store->run << 40;
}

/* True: some client has so much under way. */
static bool loaded(const struct tf_store_client *client, unsigned load)
{
    return atomic_load_explicit(&client->store->loads[load], memory_order_acquire) > 0;
}

bool tf_store_congested(const struct tf_store_client *client)
{
    /* What would free a full disk must go on coming. */
    return loaded(client, 0) && tf_store_state(client) < TF_STORE_FULL;
}

bool tf_store_overrun(const struct tf_store_client *client)
{
    enum tf_store_state state = tf_store_state(client);

    return state < TF_STORE_FULL ? loaded(client, 1) : state == TF_STORE_FULL && loaded(client, 2);
}

/* What is under way has changed: counts the client in or out; the last one out wakes all. */
static void note_load(struct tf_store_client *client)
{
    static const size_t from[TF_STORE_LOADS] = {TF_STORE_CONGESTED, TF_STORE_OVERRUN,
                                                TF_STORE_FLOODED};
    const struct tf_store_config *config = &client->store->config;
    struct tf_store_end *end = client->end;
    atomic_uint *loads = client->store->loads;

    while (end->loads < TF_STORE_LOADS && client->outstanding >= from[end->loads])
        atomic_fetch_add_explicit(&loads[end->loads++], 1, memory_order_relaxed);
    while (end->loads && client->outstanding < from[end->loads - 1])
        if (atomic_fetch_sub_explicit(&loads[--end->loads], 1, memory_order_acq_rel) == 1)
            for (unsigned i = 0; i < config->shards; i++)
                config->wake_shard(config->ctx, i);
}

/* ---- batches ---- */

static struct tf_store_batch *pop_free(struct tf_store_end *end)
{
    struct tf_store_batch *batch = end->free;

    end->free = batch->next;
    end->free_bytes -= tf_store_batch_size(batch);
    batch->next = NULL;
    return batch;
}

static void push_free(struct tf_store_end *end, struct tf_store_batch *batch)
{
    batch->next = end->free;
    end->free = batch;
    end->free_bytes += tf_store_batch_size(batch);
}

/* A batch has come back: takes it in. */
static void recycle(struct tf_store_client *client, struct tf_store_batch *batch)
{
    struct tf_store_end *end = client->end;
    struct tf_store_block *aside = tf_store_batch_clear(batch, alloc_of(client));

    if (aside)
        end->aside = aside;
    if (batch->spare)
        end->spare = batch;
    else if (end->free_bytes >= FREE_MAX)
        tf_store_batch_free(batch, alloc_of(client));
    else
        push_free(end, batch);
}

/* What was to be recorded is not: from now on nobody may be told anything. */
static void lose(struct tf_store_client *client)
{
    struct tf_store *store = client->store;

    if (client->end->lost)
        return;
    client->end->lost = true;
    if (client->batch)
        client->batch->lost = true;
    else
        client->current++; /* a number that is never done */
    if (tf_store_state(client) != TF_STORE_BROKEN) {
        tf_store_break(store);
        store->config.wake_store(store->config.ctx);
    }
}

/* The batch that is being filled, a new one if need be; NULL: there is none any more. */
static struct tf_store_batch *begin(struct tf_store_client *client)
{
    struct tf_store_end *end = client->end;
    struct tf_store_batch *batch = client->batch;

    if (end->lost)
        return NULL;
    if (batch)
        return batch;
    if (tf_store_state(client) == TF_STORE_BROKEN) {
        lose(client);
        return NULL;
    }
    batch = end->free ? pop_free(end) : tf_store_batch_new(alloc_of(client));
    if (!batch) {
        batch = end->spare;
        end->spare = NULL;
    }
    if (!batch) {
        lose(client);
        return NULL;
    }
    batch->number = client->current;
    batch->shard = client->shard;
    client->batch = batch;
    return batch;
}

/* An op of `size` bytes; NULL: it is lost. */
static void *append(struct tf_store_client *client, enum tf_store_level level,
                    enum tf_store_op_type type, size_t size)
{
    struct tf_store_end *end = client->end;
    struct tf_store_batch *batch = begin(client);

    client->appended++;
    if (!batch)
        return NULL;
    if (!tf_store_batch_reserve(batch, alloc_of(client), size)) {
        if (!end->aside || end->aside->size < size + 16) {
            lose(client);
            return NULL;
        }
        tf_store_batch_add(batch, end->aside);
        end->aside = NULL;
    }
    if (level > batch->level)
        batch->level = (uint8_t)level;
    return tf_store_batch_take(batch, size, type);
}

enum tf_err tf_store_reserve(struct tf_store_client *client, size_t bytes)
{
    struct tf_store_end *end = client->end;
    struct tf_store_batch *batch = client->batch;
    enum tf_store_state state = tf_store_state(client);

    if (state == TF_STORE_BROKEN || end->lost)
        return TF_CLOSED;
    if (state == TF_STORE_FULL || bytes > TF_STORE_BATCH_MAX ||
        (batch && batch->bytes > TF_STORE_BATCH_MAX))
        return TF_LIMIT;
    if (!batch && !end->free) {
        batch = tf_store_batch_new(alloc_of(client));
        if (!batch)
            return TF_NO_MEMORY;
        push_free(end, batch);
    }
    if (client->batch)
        return tf_store_batch_reserve(client->batch, alloc_of(client), bytes + TF_STORE_RESERVE)
                   ? TF_OK
                   : TF_NO_MEMORY;
    batch = pop_free(end);
    bool room = tf_store_batch_reserve(batch, alloc_of(client), bytes + TF_STORE_RESERVE);
    push_free(end, batch);
    return room ? TF_OK : TF_NO_MEMORY;
}

/* ---- appending ---- */

bool tf_store_has(const struct tf_store_client *client, const void *owner)
{
    const struct tf_store_batch *batch = client->batch;

    return batch && batch->message && batch->message->owner == owner;
}

/* The message as part of the batch; NULL: there is none, or it is lost. */
static struct tf_store_held *message_of(struct tf_store_client *client, enum tf_store_level level,
                                        const struct tf_store_message *message)
{
    struct tf_store_held *held;
    struct tf_store_batch *batch;

    if (!message)
        return NULL;
    if (tf_store_has(client, message->owner))
        return client->batch->message;
    held = append(client, level, TF_STORE_OP_MESSAGE, sizeof(*held) + message->head.length);
    if (!held)
        return NULL;
    batch = client->batch;
    held->owner = message->owner;
    held->id = message->id;
    held->start = tf_bytes_of(held + 1, message->head.length);
    if (message->head.length)
        memcpy(held + 1, message->head.data, message->head.length);
    held->body = message->body;
    held->count = message->count;
    for (size_t i = 0; i < message->count; i++)
        batch->bytes += message->body[i].length;
    held->next = batch->messages;
    batch->messages = batch->message = held;
    client->store->config.hold(message->owner);
    return held;
}

/* An op with a key and a value; the key is short enough. NULL: it is lost. */
static struct tf_store_op *append_op(struct tf_store_client *client, enum tf_store_level level,
                                     enum tf_store_op_type type, struct tf_bytes key,
                                     struct tf_bytes value)
{
    struct tf_store_op *op;
    uint8_t *at;

    tf_assert(key.length <= TF_JOURNAL_KEY_MAX && value.length <= TF_STORE_BATCH_MAX);
    op = append(client, level, type, sizeof(*op) + key.length + value.length);
    if (!op)
        return NULL;
    op->head.key = (uint16_t)key.length;
    op->value = (uint32_t)value.length;
    op->message = NULL;
    at = (uint8_t *)(op + 1);
    if (key.length)
        memcpy(at, key.data, key.length);
    if (value.length)
        memcpy(at + key.length, value.data, value.length);
    return op;
}

void tf_store_put(struct tf_store_client *client, enum tf_store_level level, uint8_t kind,
                  struct tf_bytes key, struct tf_bytes value,
                  const struct tf_store_message *message)
{
    struct tf_store_held *held = message_of(client, level, message);
    struct tf_store_op *op = append_op(client, level, TF_STORE_OP_PUT, key, value);

    tf_assert(kind);
    if (!op)
        return;
    op->head.kind = kind;
    op->message = held;
    client->batch->grows = client->wanted = true;
}

void tf_store_entry(struct tf_store_client *client, enum tf_store_level level, uint64_t queue,
                    uint64_t position, struct tf_bytes attributes,
                    const struct tf_store_message *message)
{
    struct tf_store_held *held = message_of(client, level, message);
    struct tf_store_op *op;

    tf_assert(message && attributes.length <= TF_JOURNAL_ATTRIBUTES_MAX);
    op = append_op(client, level, TF_STORE_OP_ENTRY, (struct tf_bytes){NULL, 0}, attributes);
    if (!op)
        return;
    op->queue = queue;
    op->first = op->last = position;
    op->message = held;
    client->batch->grows = client->wanted = true;
}

void tf_store_change(struct tf_store_client *client, enum tf_store_level level, uint64_t queue,
                     uint64_t position, struct tf_bytes attributes)
{
    struct tf_store_op *op;

    tf_assert(attributes.length <= TF_JOURNAL_ATTRIBUTES_MAX);
    op = append_op(client, level, TF_STORE_OP_CHANGE, (struct tf_bytes){NULL, 0}, attributes);
    if (!op)
        return;
    op->queue = queue;
    op->first = op->last = position;
    client->wanted = true;
}

/* True: the settlement before this one was made longer. */
static bool extend(struct tf_store_client *client, enum tf_store_level level, uint64_t queue,
                   uint64_t first, uint64_t last)
{
    struct tf_store_batch *batch = client->batch;
    struct tf_store_op *op = batch ? batch->settle : NULL;

    if (!op || op->queue != queue)
        return false;
    if (op->last != UINT64_MAX && first == op->last + 1)
        op->last = last;
    else if (last != UINT64_MAX && last + 1 == op->first)
        op->first = first;
    else
        return false;
    if (level > batch->level)
        batch->level = (uint8_t)level;
    client->appended++;
    return true;
}

void tf_store_settle(struct tf_store_client *client, enum tf_store_level level, uint64_t queue,
                     uint64_t first, uint64_t last)
{
    struct tf_store_op *op;

    tf_assert(first <= last);
    if (extend(client, level, queue, first, last))
        return;
    op = append_op(client, level, TF_STORE_OP_SETTLE, (struct tf_bytes){NULL, 0},
                   (struct tf_bytes){NULL, 0});
    if (!op)
        return;
    op->queue = queue;
    op->first = first;
    op->last = last;
    client->batch->settle = op;
}

void tf_store_remove(struct tf_store_client *client, enum tf_store_level level, uint8_t kind,
                     struct tf_bytes key)
{
    struct tf_store_op *op =
        append_op(client, level, TF_STORE_OP_REMOVE, key, (struct tf_bytes){NULL, 0});

    tf_assert(kind);
    if (op)
        op->head.kind = kind;
    client->wanted |= client->batch != NULL;
}

/* ---- transactions ---- */

uint64_t tf_store_transaction(struct tf_store_client *client)
{
    return (uint64_t)(client->shard + 1) << 48 | ++client->next_transaction;
}

void tf_store_join(struct tf_store_client *client, uint64_t transaction, uint32_t parts)
{
    struct tf_store_join *join;

    if (parts == 1)
        return; /* this batch is all of it */
    join = append(client, TF_STORE_MEMORY, TF_STORE_OP_JOIN, sizeof(*join));
    if (!join)
        return;
    join->node = (struct tf_map_node){0};
    join->batch = client->batch;
    join->transaction = transaction;
    join->parts = parts;
    join->next = client->batch->joins;
    client->batch->joins = join;
    client->wanted = true; /* other shards do */
}

/* ---- reads ---- */

enum tf_err tf_store_read(struct tf_store_client *client, struct tf_store_read *read)
{
    struct tf_store *store = client->store;
    struct tf_store_page *page = alloc_of(client)->alloc(alloc_of(client)->ctx, sizeof(*page));
    struct tf_store_page *head;

    if (!page)
        return TF_NO_MEMORY;
    *page = (struct tf_store_page){.read = read,
                                   .after = client->batch ? client->current : client->current - 1,
                                   .queue = read->queue,
                                   .from = read->from,
                                   .entries = read->entries,
                                   .bytes = read->bytes};
    client->wanted |= client->batch != NULL;
    read->page = page;
    tf_list_push_back(&client->reads, &read->node);
    head = atomic_load_explicit(&client->end->asked, memory_order_relaxed);
    do
        page->next = head;
    while (!atomic_compare_exchange_weak_explicit(&client->end->asked, &head, page,
                                                  memory_order_release, memory_order_relaxed));
    if (!head)
        store->config.wake_store(store->config.ctx);
    return TF_OK;
}

void tf_store_read_cancel(struct tf_store_client *client, struct tf_store_read *read)
{
    (void)client;
    if (!tf_list_linked(&read->node))
        return;
    tf_list_remove(&read->node);
    read->page->read = NULL;
    read->page = NULL;
}

bool tf_store_page_next(struct tf_store_page *page, struct tf_store_item *ret)
{
    if (page->at == page->count)
        return false;
    *ret = page->items[page->at++];
    return true;
}

bool tf_store_page_end(const struct tf_store_page *page)
{
    return page->end;
}

/* Calls back for one page. */
static void answer(struct tf_store_client *client, struct tf_store_page *page)
{
    struct tf_store_read *read = page->read;

    if (read) {
        tf_list_remove(&read->node);
        read->page = NULL;
        read->done(read, page->err, page);
    }
    tf_store_page_free(page, alloc_of(client));
}

/* ---- turns ---- */

void tf_store_submit(struct tf_store_client *client)
{
    struct tf_store *store = client->store;
    struct tf_store_batch *batch = client->batch, *head;

    if (!batch)
        return;
    client->batch = NULL;
    client->wanted = false;
    client->current++;
    client->outstanding += batch->bytes;
    note_load(client);
    head = atomic_load_explicit(&client->end->submitted, memory_order_relaxed);
    do
        batch->next = head;
    while (!atomic_compare_exchange_weak_explicit(&client->end->submitted, &head, batch,
                                                  memory_order_release, memory_order_relaxed));
    if (!head)
        store->config.wake_store(store->config.ctx);
}

bool tf_store_receive(struct tf_store_client *client)
{
    struct tf_store_end *end = client->end;
    struct tf_store_batch *batch;
    struct tf_store_page *page, *pages = NULL;
    uint64_t done;
    bool changed;

    if (atomic_load_explicit(&end->returned, memory_order_relaxed)) {
        batch = atomic_exchange_explicit(&end->returned, NULL, memory_order_acquire);
        while (batch) {
            struct tf_store_batch *next = batch->next;
            client->outstanding -= batch->bytes;
            recycle(client, batch);
            batch = next;
        }
        note_load(client);
    }
    /* After the list: whoever put something on it without waking has set this before. */
    done = atomic_load_explicit(&end->done, memory_order_acquire);
    changed = done != client->done;
    client->done = done;
    if (!atomic_load_explicit(&end->answered, memory_order_relaxed))
        return changed;
    page = atomic_exchange_explicit(&end->answered, NULL, memory_order_acquire);
    while (page) {
        struct tf_store_page *next = page->next;
        page->next = pages;
        pages = page;
        page = next;
    }
    while (pages) {
        page = pages;
        pages = page->next;
        answer(client, page);
    }
    return true;
}

/* ---- the ends ---- */

enum tf_err tf_store_client_init(struct tf_store_client *client, struct tf_store *store,
                                 unsigned number)
{
    const struct tf_alloc *alloc = store->config.alloc;
    struct tf_store_end *end = &store->ends[number];

    tf_assert(number < store->config.shards);
    *client = (struct tf_store_client){.store = store, .shard = number, .current = 1, .end = end};
    tf_list_init(&client->reads);
    end->spare = tf_store_batch_new(alloc);
    if (!end->spare)
        return TF_NO_MEMORY;
    end->spare->spare = true;
    end->aside = tf_store_block_new(alloc, TF_STORE_ASIDE);
    if (!end->aside) {
        tf_store_batch_free(end->spare, alloc);
        end->spare = NULL;
        return TF_NO_MEMORY;
    }
    end->aside->aside = true;
    tf_random_init(&end->random, store->config.journal.seed ^ tf_hash_mix(store->run) ^
                                     tf_hash_mix((uint64_t)number << 32 | 1));
    return TF_OK;
}

void tf_store_client_release(struct tf_store_client *client)
{
    const struct tf_alloc *alloc = alloc_of(client);
    struct tf_store_end *end = client->end;
    struct tf_list_node *node;

    while ((node = tf_list_first(&client->reads)))
        tf_store_read_cancel(client, tf_container_of(node, struct tf_store_read, node));
    if (client->batch) {
        for (struct tf_store_held *held = client->batch->messages; held; held = held->next)
            client->store->config.let_go(held->owner);
        recycle(client, client->batch);
        client->batch = NULL;
    }
    client->outstanding = 0;
    note_load(client);
    while (end->free)
        tf_store_batch_free(pop_free(end), alloc);
    if (end->spare)
        tf_store_batch_free(end->spare, alloc);
    if (end->aside)
        tf_store_block_free(end->aside, alloc);
    end->spare = NULL;
    end->aside = NULL;
}
