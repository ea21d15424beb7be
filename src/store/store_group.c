/*
 * Choosing a group of batches, and appending it to the journal.
 *
 * A client's batches become true in order, so a group is a prefix of each client's list: all that
 * lies before its `cut`. A batch that has joined a transaction is in the group only if all batches
 * are that have joined it, and all parts have come. So a batch that is out takes out what is behind
 * it, and every batch of its transactions, until nothing changes: the largest set that is closed.
 * Each batch is looked at once more at most when it goes out.
 */
#include "base/assert.h"
#include "store/store_internal.h"

void tf_store_group_take(struct tf_store *store, struct tf_store_end *end,
                         struct tf_store_batch *batch)
{
    while (batch) {
        struct tf_store_batch *next = batch->next;
        batch->next = NULL;
        if (end->last)
            end->last->next = batch;
        else
            end->first = batch;
        end->last = batch;
        store->pending++;
        for (struct tf_store_join *join = batch->joins; join; join = join->next)
            tf_map_insert(&store->joins, &join->node, tf_hash_mix(join->transaction));
        batch = next;
    }
}

/* ---- choosing ---- */

static void cut(struct tf_store *store, struct tf_store_batch *batch)
{
    struct tf_store_end *end = &store->ends[batch->shard];

    if (!end->cut || batch->number < end->cut->number)
        end->cut = batch;
}

static bool in_group(const struct tf_store *store, const struct tf_store_batch *batch)
{
    const struct tf_store_batch *end = store->ends[batch->shard].cut;

    return !end || batch->number < end->number;
}

/* True: all parts of the transaction have come and are in the group. */
static bool complete(const struct tf_store *store, const struct tf_store_join *join)
{
    const struct tf_map_node *node = tf_map_find(&store->joins, join->node.hash);
    uint32_t count = 0, parts = 0;

    for (; node; node = tf_map_find_next(node)) {
        const struct tf_store_join *other =
            tf_container_of((struct tf_map_node *)(uintptr_t)node, struct tf_store_join, node);
        if (!in_group(store, other->batch))
            return false;
        count++;
        parts = parts ? parts : other->parts;
    }
    return parts && count >= parts;
}

/* Cuts what does not fit into the budget, or must not be in this group whatever others do. */
static void cut_budget(const struct tf_store *store, struct tf_store_end *end, bool thrifty)
{
    size_t bytes = 0, count = 0;

    end->cut = NULL;
    if (store->only != store->config.shards && store->only != end->shard) {
        end->cut = end->first;
        return;
    }
    for (struct tf_store_batch *batch = end->first; batch; batch = batch->next) {
        bytes += batch->bytes;
        if ((count++ && (bytes > store->budget || count > store->batches)) || batch->lost ||
            (thrifty && batch->grows)) {
            end->cut = batch;
            return;
        }
    }
}

/* Cuts the first batch with a transaction that is not complete. */
static void cut_joins(const struct tf_store *store, struct tf_store_end *end)
{
    for (struct tf_store_batch *batch = end->first; batch != end->cut; batch = batch->next)
        for (const struct tf_store_join *join = batch->joins; join; join = join->next)
            if (!complete(store, join)) {
                end->cut = batch;
                return;
            }
}

/* A batch is out: so are the others of its transactions. */
static void cut_others(struct tf_store *store, const struct tf_store_batch *batch)
{
    for (const struct tf_store_join *join = batch->joins; join; join = join->next) {
        const struct tf_map_node *node = tf_map_find(&store->joins, join->node.hash);
        for (; node; node = tf_map_find_next(node))
            cut(store,
                tf_container_of((struct tf_map_node *)(uintptr_t)node, struct tf_store_join, node)
                    ->batch);
    }
}

size_t tf_store_group_choose(struct tf_store *store, bool thrifty)
{
    size_t count = 0;
    bool changed = true;

    for (unsigned i = 0; i < store->config.shards; i++) {
        cut_budget(store, &store->ends[i], thrifty);
        store->ends[i].looked = UINT64_MAX;
    }
    for (unsigned i = 0; i < store->config.shards && store->joins.count; i++)
        cut_joins(store, &store->ends[i]);
    while (changed && store->joins.count) {
        changed = false;
        for (unsigned i = 0; i < store->config.shards; i++) {
            struct tf_store_end *end = &store->ends[i];
            uint64_t looked = end->looked;
            struct tf_store_batch *batch = end->cut;
            if (!batch || batch->number >= looked)
                continue;
            end->looked = batch->number;
            changed = true;
            for (; batch && batch->number < looked; batch = batch->next)
                cut_others(store, batch);
        }
    }
    for (unsigned i = 0; i < store->config.shards; i++)
        for (const struct tf_store_batch *batch = store->ends[i].first; batch != store->ends[i].cut;
             batch = batch->next)
            count++;
    return count;
}

/* ---- appending ---- */

/* Room for the pieces of a message. False: no memory. */
static bool pieces_reserve(struct tf_store *store, size_t count)
{
    const struct tf_alloc *alloc = store->config.alloc;
    struct tf_bytes *pieces;

    if (count <= store->piece_capacity)
        return true;
    count = TF_MAX(count, 64);
    pieces = alloc->alloc(alloc->ctx, count * sizeof(*pieces));
    if (!pieces)
        return false;
    if (store->pieces)
        alloc->free(alloc->ctx, store->pieces, store->piece_capacity * sizeof(*pieces));
    store->pieces = pieces;
    store->piece_capacity = count;
    return true;
}

/* Makes sure that the journal has the message. */
static enum tf_err apply_message(struct tf_store *store, const struct tf_store_held *held)
{
    uint64_t id = *held->id;
    enum tf_err err;

    if (id && tf_journal_has(store->journal, id))
        return TF_OK;
    if (!pieces_reserve(store, held->count + 1))
        return TF_NO_MEMORY;
    store->pieces[0] = held->start;
    for (size_t i = 0; i < held->count; i++)
        store->pieces[i + 1] = held->body[i];
    id = store->message + 1;
    err = tf_journal_message(store->journal, id, store->pieces, held->count + 1);
    if (!err)
        *held->id = store->message = id;
    return err;
}

static enum tf_err apply_op(struct tf_store *store, const struct tf_store_op *op)
{
    struct tf_journal *journal = store->journal;
    struct tf_bytes key = tf_bytes_of(op + 1, op->head.key);
    struct tf_bytes value = tf_bytes_of((const uint8_t *)(op + 1) + op->head.key, op->value);
    enum tf_err err = TF_OK;

    if (op->message)
        err = apply_message(store, op->message);
    if (err)
        return err;
    switch ((enum tf_store_op_type)op->head.type) {
    case TF_STORE_OP_PUT:
        return tf_journal_put(journal, op->head.kind, key, value,
                              op->message ? op->message->id : NULL, op->message != NULL);
    case TF_STORE_OP_REMOVE:
        return tf_journal_remove(journal, op->head.kind, key);
    case TF_STORE_OP_ENTRY:
        return tf_journal_entry(journal, op->queue, op->first, *op->message->id, value);
    case TF_STORE_OP_CHANGE:
        err = tf_journal_change(journal, op->queue, op->first, value);
        return err == TF_NOT_FOUND ? TF_OK : err; /* it was lost with a damaged group */
    case TF_STORE_OP_SETTLE:
        return tf_journal_settle(journal, op->queue, op->first, op->last);
    case TF_STORE_OP_MESSAGE:
    case TF_STORE_OP_JOIN:
        break;
    }
    return TF_OK;
}

static enum tf_err apply_batch(struct tf_store *store, const struct tf_store_batch *batch)
{
    for (const struct tf_store_block *block = batch->first; block; block = block->next)
        for (size_t at = 0; at < block->used;) {
            const struct tf_store_head *head =
                (const struct tf_store_head *)(const void *)(block->data + at);
            if (head->type >= TF_STORE_OP_PUT) {
                enum tf_err err = apply_op(store, (const struct tf_store_op *)(const void *)head);
                tf_assert(err == TF_OK || err == TF_NO_MEMORY || err == TF_LIMIT);
                if (err)
                    return err;
            }
            at += head->size;
        }
    return TF_OK;
}

enum tf_err tf_store_group_apply(struct tf_store *store, bool *ret_sync)
{
    enum tf_err err = TF_OK;
    bool sync = false;

    for (unsigned i = 0; i < store->config.shards && !err; i++) {
        const struct tf_store_end *end = &store->ends[i];
        for (const struct tf_store_batch *batch = end->first; batch != end->cut && !err;
             batch = batch->next) {
            err = apply_batch(store, batch);
            sync = sync || batch->level == TF_STORE_DISK;
        }
    }
    if (err)
        tf_journal_abandon(store->journal);
    else
        *ret_sync = sync;
    return err;
}

/* ---- the end of it ---- */

/* Takes the group's batches of a client from its list, and from the map; lets go of messages. */
static struct tf_store_batch *detach(struct tf_store *store, struct tf_store_end *end)
{
    struct tf_store_batch *list = NULL;

    while (end->first != end->cut) {
        struct tf_store_batch *batch = end->first;
        end->first = batch->next;
        store->pending--;
        for (struct tf_store_join *join = batch->joins; join; join = join->next)
            tf_map_remove(&store->joins, &join->node);
        for (struct tf_store_held *held = batch->messages; held; held = held->next)
            store->config.let_go(held->owner);
        batch->next = list;
        list = batch;
    }
    if (!end->first)
        end->last = NULL;
    end->cut = NULL;
    return list;
}

static void give_back(struct tf_store *store, struct tf_store_end *end, struct tf_store_batch *list)
{
    struct tf_store_batch *last = list, *head;

    while (last->next)
        last = last->next;
    head = atomic_load_explicit(&end->returned, memory_order_relaxed);
    do
        last->next = head;
    while (!atomic_compare_exchange_weak_explicit(&end->returned, &head, list, memory_order_release,
                                                  memory_order_relaxed));
    if (!head)
        store->config.wake_shard(store->config.ctx, end->shard);
}

void tf_store_group_end(struct tf_store *store, bool done)
{
    for (unsigned i = 0; i < store->config.shards; i++) {
        struct tf_store_end *end = &store->ends[i];
        struct tf_store_batch *list = detach(store, end);
        if (!list)
            continue;
        if (done)
            atomic_store_explicit(&end->done, list->number, memory_order_release);
        give_back(store, end, list);
    }
}
