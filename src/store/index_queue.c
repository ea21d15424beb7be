/*
 * Entries by queue and position.
 *
 * A queue's entries lie in chunks of up to 128, in order. Positions ascend, so nearly every new
 * entry goes to the end of the last chunk, and chunks grow as the queue does. Only a start, which
 * also reads records that were carried forward, puts entries between others. A dead entry stays in
 * its chunk until that is cut down or is dead as a whole.
 */
#include "store/index.h"

#include <string.h>

#include "base/assert.h"
#include "base/util.h"

#define CHUNK_FIRST 4u
#define CHUNK_MAX 128u
#define ROOM_MAX 65535u
#define AHEAD 8 /* entries */

static size_t chunk_size(uint32_t capacity, uint32_t room)
{
    return sizeof(struct tf_index_chunk) + capacity * sizeof(struct tf_index_entry) + room;
}

static uint8_t *room_of(const struct tf_index_chunk *chunk)
{
    return (uint8_t *)(uintptr_t)(chunk->entries + chunk->capacity);
}

static void chunk_free(struct tf_index *index, struct tf_index_chunk *chunk)
{
    index->alloc->free(index->alloc->ctx, chunk, chunk_size(chunk->capacity, chunk->room));
}

static struct tf_index_chunk *chunk_new(struct tf_index *index, uint64_t base, uint32_t capacity,
                                        uint32_t room)
{
    struct tf_index_chunk *chunk =
        index->alloc->alloc(index->alloc->ctx, chunk_size(capacity, room));

    if (chunk)
        *chunk = (struct tf_index_chunk){
            .base = base, .capacity = (uint16_t)capacity, .room = (uint16_t)room};
    return chunk;
}

/* Appends an entry of one chunk to another one, that has room for both. */
static void copy_entry(struct tf_index_chunk *to, const struct tf_index_chunk *from,
                       const struct tf_index_entry *entry)
{
    struct tf_index_entry *copy = &to->entries[to->count++];

    *copy = *entry;
    copy->delta = (uint32_t)(from->base + entry->delta - to->base);
    copy->attributes = to->used;
    if (entry->length)
        memcpy(room_of(to) + to->used, room_of(from) + entry->attributes, entry->length);
    to->used = (uint16_t)(to->used + entry->length);
    to->alive++;
}

static uint32_t bytes_alive(const struct tf_index_chunk *chunk, uint32_t first, uint32_t end)
{
    uint32_t bytes = 0;

    for (uint32_t i = first; i < end; i++)
        if (chunk->entries[i].state != TF_INDEX_DEAD)
            bytes += chunk->entries[i].length;
    return bytes;
}

/* Replaces the chunk by one with what is alive and room for more. False: no memory, or too much. */
static bool chunk_rebuild(struct tf_index *index, struct tf_index_chunk **at, uint32_t capacity,
                          uint32_t more)
{
    struct tf_index_chunk *old = *at, *chunk;
    uint32_t room = bytes_alive(old, 0, old->count) + old->wanted + more;

    if (room > ROOM_MAX)
        return false;
    chunk = chunk_new(index, old->base, capacity, room);
    if (!chunk)
        return false;
    chunk->wanted = old->wanted;
    for (uint32_t i = 0; i < old->count; i++)
        if (old->entries[i].state != TF_INDEX_DEAD)
            copy_entry(chunk, old, &old->entries[i]);
    chunk_free(index, old);
    *at = chunk;
    return true;
}

/* ---- the queue's list of chunks ---- */

static void queue_free(struct tf_index *index, struct tf_index_queue *queue)
{
    if (queue->chunks)
        index->alloc->free(index->alloc->ctx, queue->chunks,
                           queue->capacity * sizeof(*queue->chunks));
    tf_map_remove(&index->queue_map, &queue->node);
    tf_slab_give(&index->queues, queue->number);
}

struct tf_index_queue *tf_index_queue_at(const struct tf_index *index, uint32_t number)
{
    return tf_slab_at(&index->queues, number);
}

struct tf_index_queue *tf_index_find_queue(const struct tf_index *index, uint64_t id)
{
    struct tf_map_node *node = tf_map_find(&index->queue_map, tf_hash_mix(id ^ index->key.k0));

    return node ? tf_container_of(node, struct tf_index_queue, node) : NULL;
}

static struct tf_index_queue *queue_new(struct tf_index *index, uint64_t id)
{
    uint32_t number;
    struct tf_index_queue *queue = tf_slab_take(&index->queues, &number);

    if (!queue)
        return NULL;
    queue->id = id;
    queue->number = number;
    tf_map_insert(&index->queue_map, &queue->node, tf_hash_mix(id ^ index->key.k0));
    return queue;
}

/* Puts a chunk before the `at`th. False: no memory. */
static bool insert_chunk(struct tf_index *index, struct tf_index_queue *queue, uint32_t at,
                         struct tf_index_chunk *chunk)
{
    if (queue->start + queue->count == queue->capacity) {
        uint32_t capacity = queue->count < 2 ? 2 : queue->count * 2;
        struct tf_index_chunk **chunks =
            queue->start > queue->count
                ? queue->chunks
                : index->alloc->alloc(index->alloc->ctx, capacity * sizeof(*chunks));
        if (!chunks)
            return false;
        if (queue->count)
            memmove(chunks, queue->chunks + queue->start, queue->count * sizeof(*chunks));
        queue->start = 0;
        if (chunks != queue->chunks) {
            if (queue->chunks)
                index->alloc->free(index->alloc->ctx, queue->chunks,
                                   queue->capacity * sizeof(*chunks));
            queue->chunks = chunks;
            queue->capacity = capacity;
        }
    }
    struct tf_index_chunk **first = queue->chunks + queue->start;
    memmove(first + at + 1, first + at, (queue->count - at) * sizeof(*first));
    first[at] = chunk;
    queue->count++;
    return true;
}

static void remove_chunk(struct tf_index *index, struct tf_index_queue *queue, uint32_t at)
{
    struct tf_index_chunk **first = queue->chunks + queue->start;

    chunk_free(index, first[at]);
    queue->count--;
    if (at)
        memmove(first + at, first + at + 1, (queue->count - at) * sizeof(*first));
    else
        queue->start++;
}

/* The last chunk whose base is not above `position`, and how many are before it; count: none. */
static uint32_t find_chunk(const struct tf_index_queue *queue, uint64_t position)
{
    struct tf_index_chunk **first;
    uint32_t low = 0, high = queue->count;

    if (!high)
        return 0; /* it may have no array yet */
    first = queue->chunks + queue->start;
    if (first[high - 1]->base <= position)
        return high - 1;
    if (high > 1 && first[1]->base > position) /* the oldest mostly go first */
        return first[0]->base <= position ? 0 : high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (first[middle]->base <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : queue->count;
}

/* The first entry of a chunk, dead or not, that is not below `position`; count: there is none. */
static uint32_t find_in(const struct tf_index_chunk *chunk, uint64_t position)
{
    uint32_t low = 0, high = chunk->count;

    if (position <= chunk->base)
        return 0;
    if (high && chunk->base + chunk->entries[high - 1].delta < position)
        return high; /* as is each that is new */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk->base + chunk->entries[middle].delta < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The slot of a position, if there is an entry that is not dead. */
static struct tf_index_entry *find_entry(const struct tf_index_queue *queue, uint64_t position,
                                         struct tf_index_chunk ***ret_chunk)
{
    uint32_t at = find_chunk(queue, position), i;
    struct tf_index_chunk *chunk;

    if (at == queue->count)
        return NULL;
    *ret_chunk = &queue->chunks[queue->start + at];
    chunk = **ret_chunk;
    i = find_in(chunk, position);
    if (i == chunk->count || chunk->base + chunk->entries[i].delta != position ||
        chunk->entries[i].state == TF_INDEX_DEAD)
        return NULL;
    return &chunk->entries[i];
}

/* Forgets dead entries at the end, so that positions there can be had again. */
static void trim_chunk(struct tf_index_chunk *chunk)
{
    while (chunk->count && chunk->entries[chunk->count - 1].state == TF_INDEX_DEAD) {
        const struct tf_index_entry *last = &chunk->entries[--chunk->count];
        if (last->attributes + last->length == chunk->used)
            chunk->used = last->attributes;
    }
}

/* ---- adding ---- */

/* Makes two of a full chunk. False: no memory. */
static bool split_chunk(struct tf_index *index, struct tf_index_queue *queue, uint32_t at)
{
    struct tf_index_chunk *chunk = queue->chunks[queue->start + at], *upper;
    uint32_t half = chunk->count / 2;

    upper = chunk_new(index, chunk->base + chunk->entries[half].delta, chunk->capacity,
                      bytes_alive(chunk, half, chunk->count));
    if (!upper)
        return false;
    for (uint32_t i = half; i < chunk->count; i++)
        if (chunk->entries[i].state != TF_INDEX_DEAD)
            copy_entry(upper, chunk, &chunk->entries[i]);
    if (!insert_chunk(index, queue, at + 1, upper)) {
        chunk_free(index, upper);
        return false;
    }
    chunk->alive = (uint16_t)(chunk->alive - upper->alive);
    chunk->count = (uint16_t)half;
    trim_chunk(chunk);
    if (!upper->alive)
        remove_chunk(index, queue, at + 1);
    if (!chunk->alive)
        remove_chunk(index, queue, at);
    return true;
}

/* Room for attributes in the chunk. False: no memory. */
static bool make_room(struct tf_index *index, struct tf_index_chunk **at, size_t length)
{
    struct tf_index_chunk *chunk = *at;
    uint32_t left = (uint32_t)(chunk->capacity - chunk->alive), more;

    if ((uint32_t)chunk->used + chunk->wanted + length <= chunk->room)
        return true;
    more = (uint32_t)length * (left ? left : 1);
    return chunk_rebuild(index, at, chunk->capacity, more) ||
           chunk_rebuild(index, at, chunk->capacity, (uint32_t)length);
}

/*
 * Finds or makes the chunk for a new entry: one with a free slot, and attributes' room. Returns its
 * number; UINT32_MAX: no memory.
 */
static uint32_t chunk_for(struct tf_index *index, struct tf_index_queue *queue, uint64_t position,
                          size_t length)
{
    uint32_t at, capacity = CHUNK_FIRST;
    struct tf_index_chunk *chunk;

    while ((at = find_chunk(queue, position)) != queue->count) {
        chunk = queue->chunks[queue->start + at];
        capacity = TF_MIN(CHUNK_MAX, chunk->capacity * 2u);
        if (position - chunk->base > UINT32_MAX)
            break;
        if (chunk->count < chunk->capacity)
            return make_room(index, &queue->chunks[queue->start + at], length) ? at : UINT32_MAX;
        if (find_in(chunk, position) == chunk->count)
            break;
        /* Between others: then there is room in one half, or before both. */
        if (!split_chunk(index, queue, at))
            return UINT32_MAX;
    }
    at = at == queue->count ? 0 : at + 1;
    chunk = chunk_new(index, position, capacity, (uint32_t)(capacity * length));
    if (!chunk)
        return UINT32_MAX;
    if (!insert_chunk(index, queue, at, chunk)) {
        chunk_free(index, chunk);
        return UINT32_MAX;
    }
    return at;
}

/* Puts a new pending entry into the queue. NULL: no memory. */
static struct tf_index_entry *insert_entry(struct tf_index *index, struct tf_index_queue *queue,
                                           const struct tf_record *record, uint32_t message)
{
    uint32_t at = chunk_for(index, queue, record->first, record->value.length), i;
    struct tf_index_chunk *chunk;
    struct tf_index_entry *entry;

    if (at == UINT32_MAX)
        return NULL;
    chunk = queue->chunks[queue->start + at];
    i = find_in(chunk, record->first);
    entry = &chunk->entries[i];
    if (i == chunk->count || chunk->base + entry->delta != record->first) {
        memmove(entry + 1, entry, (chunk->count - i) * sizeof(*entry));
        chunk->count++;
    }
    *entry = (struct tf_index_entry){.delta = (uint32_t)(record->first - chunk->base),
                                     .message = message,
                                     .attributes = chunk->used,
                                     .length = (uint8_t)record->value.length,
                                     .state = TF_INDEX_PENDING};
    if (entry->length)
        memcpy(room_of(chunk) + chunk->used, record->value.data, entry->length);
    chunk->used = (uint16_t)(chunk->used + entry->length);
    chunk->alive++;
    queue->alive++;
    return entry;
}

/* An entry that is there: it moves, and gets other attributes. */
static enum tf_err stage_change(struct tf_index *index, const struct tf_record *record,
                                struct tf_index_chunk **chunk, const struct tf_index_entry *entry)
{
    struct tf_index_op *op = tf_index_op(index, TF_OP_CHANGE);
    size_t length = record->value.length;

    if (!op || !tf_buffer_reserve(&index->bytes, index->alloc, length) ||
        index->bytes.length > UINT32_MAX)
        return TF_NO_MEMORY;
    /* As long as before goes where it was, unless a change before this one makes it shorter. */
    op->reserved = length != entry->length || (*chunk)->wanted;
    if (op->reserved) {
        if (!make_room(index, chunk, length))
            return TF_NO_MEMORY;
        (*chunk)->wanted = (uint16_t)((*chunk)->wanted + length);
    }
    op->queue = record->id;
    op->first = record->first;
    op->segment = record->segment;
    op->placed = record->segment != 0;
    op->length = (uint8_t)length;
    op->number = (uint32_t)index->bytes.length;
    if (length)
        memcpy(index->bytes.data + index->bytes.length, record->value.data, length);
    index->bytes.length += length;
    index->op_count++;
    return TF_OK;
}

static int64_t entry_bytes(const struct tf_index_entry *entry)
{
    return (int64_t)TF_RECORD_ENTRY_BYTES + entry->length;
}

static void entry_true(struct tf_index *index, struct tf_index_entry *entry, uint32_t segment)
{
    entry->state = TF_INDEX_LIVE;
    entry->segment = segment;
    index->entries++;
    tf_index_live(index, segment, entry_bytes(entry));
}

/* Gives a live entry other attributes; it lies in `segment` now. TF_NO_MEMORY: nothing changed. */
static enum tf_err change_entry(struct tf_index *index, const struct tf_index_queue *queue,
                                uint64_t position, struct tf_bytes attributes, uint32_t segment)
{
    struct tf_index_chunk **at = NULL;
    struct tf_index_entry *entry = find_entry(queue, position, &at);

    if (attributes.length > entry->length) {
        if (!make_room(index, at, attributes.length))
            return TF_NO_MEMORY;
        entry = find_entry(queue, position, &at); /* it may have moved */
    }
    tf_index_live(index, entry->segment, -entry_bytes(entry));
    if (attributes.length > entry->length) {
        entry->attributes = (*at)->used;
        (*at)->used = (uint16_t)((*at)->used + attributes.length);
    }
    if (attributes.length)
        memcpy(room_of(*at) + entry->attributes, attributes.data, attributes.length);
    entry->length = (uint8_t)attributes.length;
    entry->segment = segment;
    tf_index_live(index, segment, entry_bytes(entry));
    return TF_OK;
}

enum tf_err tf_index_entry(struct tf_index *index, const struct tf_record *record)
{
    struct tf_index_queue *queue = tf_index_find_queue(index, record->id);
    uint32_t segment = record->segment ? record->segment : index->place.segment, message;
    struct tf_index_chunk **chunk = NULL;
    struct tf_index_entry *entry;
    struct tf_index_op *op;
    enum tf_err err;

    entry = queue ? find_entry(queue, record->first, &chunk) : NULL;
    if (entry)
        return index->loading ? change_entry(index, queue, record->first, record->value, segment)
                              : stage_change(index, record, chunk, entry);
    err = tf_index_refer(index, record->message, &message);
    if (err)
        return err;
    op = index->loading ? NULL : tf_index_op(index, TF_OP_ENTRY);
    if (!op && !index->loading)
        return TF_NO_MEMORY;
    if (!queue)
        queue = queue_new(index, record->id);
    if (!queue)
        return TF_NO_MEMORY;
    entry = insert_entry(index, queue, record, message);
    if (!entry) {
        if (!queue->alive)
            queue_free(index, queue);
        return TF_NO_MEMORY;
    }
    tf_index_message_at(index, message)->refs++;
    if (!op) {
        entry_true(index, entry, segment);
        return TF_OK;
    }
    op->queue = record->id;
    op->first = record->first;
    op->segment = record->segment;
    op->placed = record->segment != 0;
    index->op_count++;
    return TF_OK;
}

enum tf_err tf_index_settle(struct tf_index *index, uint64_t queue, uint64_t first, uint64_t last)
{
    struct tf_index_op *op, now = {.queue = queue, .first = first, .last = last};

    if (index->loading) {
        tf_index_commit_settle(index, &now);
        return TF_OK;
    }
    op = tf_index_op(index, TF_OP_SETTLE);
    if (!op)
        return TF_NO_MEMORY;
    op->queue = queue;
    op->first = first;
    op->last = last;
    index->op_count++;
    return TF_OK;
}

/* ---- making it true ---- */

void tf_index_commit_entry(struct tf_index *index, const struct tf_index_op *op)
{
    struct tf_index_queue *queue = tf_index_find_queue(index, op->queue);
    struct tf_index_chunk **chunk;
    struct tf_index_entry *entry = queue ? find_entry(queue, op->first, &chunk) : NULL;

    tf_assert(entry && entry->state == TF_INDEX_PENDING);
    entry_true(index, entry, op->segment);
}

void tf_index_commit_change(struct tf_index *index, const struct tf_index_op *op)
{
    struct tf_index_queue *queue = tf_index_find_queue(index, op->queue);
    struct tf_bytes attributes = {index->bytes.data + op->number, op->length};
    struct tf_index_chunk **at = NULL;
    const struct tf_index_entry *entry = queue ? find_entry(queue, op->first, &at) : NULL;
    enum tf_err err;

    if (!entry || entry->state != TF_INDEX_LIVE)
        return; /* settled meanwhile */
    if (op->reserved)
        (*at)->wanted = (uint16_t)((*at)->wanted - op->length);
    err = change_entry(index, queue, op->first, attributes, op->segment);
    tf_assert(!err); /* there is room: see stage_change */
}

static void kill_entry(struct tf_index *index, struct tf_index_queue *queue,
                       struct tf_index_chunk *chunk, struct tf_index_entry *entry)
{
    if (entry->state == TF_INDEX_LIVE) {
        index->entries--;
        tf_index_live(index, entry->segment, -entry_bytes(entry));
    }
    entry->state = TF_INDEX_DEAD;
    chunk->alive--;
    queue->alive--;
    tf_index_unref(index, entry->message);
}

/* After entries of it have died, but not all. */
static void tidy_chunk(struct tf_index *index, struct tf_index_chunk **chunk)
{
    trim_chunk(*chunk);
    if ((*chunk)->count >= 2 * CHUNK_FIRST && (*chunk)->alive * 4u <= (*chunk)->count)
        (void)chunk_rebuild(index, chunk, TF_MAX(CHUNK_FIRST, (*chunk)->alive * 2u), 0);
}

/* Kills the live entries of a chunk from `first` to `last`. */
static void settle_chunk(struct tf_index *index, struct tf_index_queue *queue,
                         struct tf_index_chunk *chunk, uint64_t first, uint64_t last)
{
    for (uint32_t i = find_in(chunk, first); i < chunk->count; i++) {
        struct tf_index_entry *entry = &chunk->entries[i];
        if (chunk->base + entry->delta > last)
            break;
        if (entry->state == TF_INDEX_LIVE)
            kill_entry(index, queue, chunk, entry);
    }
}

void tf_index_commit_settle(struct tf_index *index, const struct tf_index_op *op)
{
    struct tf_index_queue *queue = tf_index_find_queue(index, op->queue);
    struct tf_index_chunk **chunks;
    uint32_t at, kept;

    if (!queue)
        return;
    chunks = queue->chunks + queue->start;
    at = find_chunk(queue, op->first);
    if (at == queue->count)
        at = 0;
    /* What is left moves down once at the end, however many chunks go. */
    for (kept = at; at < queue->count && chunks[at]->base <= op->last; at++) {
        settle_chunk(index, queue, chunks[at], op->first, op->last);
        if (!chunks[at]->alive) {
            chunk_free(index, chunks[at]);
            continue;
        }
        tidy_chunk(index, &chunks[at]);
        chunks[kept++] = chunks[at];
    }
    if (!kept)
        queue->start += at;
    else if (kept != at)
        memmove(chunks + kept, chunks + at, (queue->count - at) * sizeof(*chunks));
    queue->count -= at - kept;
    if (!queue->alive)
        queue_free(index, queue);
}

void tf_index_undo_entry(struct tf_index *index, const struct tf_index_op *op)
{
    struct tf_index_queue *queue = tf_index_find_queue(index, op->queue);
    uint32_t at = find_chunk(queue, op->first);
    struct tf_index_chunk *chunk = queue->chunks[queue->start + at];

    kill_entry(index, queue, chunk, &chunk->entries[find_in(chunk, op->first)]);
    if (chunk->alive)
        tidy_chunk(index, &queue->chunks[queue->start + at]);
    else
        remove_chunk(index, queue, at);
    if (!queue->alive)
        queue_free(index, queue);
}

void tf_index_undo_change(struct tf_index *index, const struct tf_index_op *op)
{
    struct tf_index_queue *queue = tf_index_find_queue(index, op->queue);
    struct tf_index_chunk **at = NULL;

    if (op->reserved && queue && find_entry(queue, op->first, &at))
        (*at)->wanted = (uint16_t)((*at)->wanted - op->length);
}

/* ---- looking ---- */

bool tf_index_entry_from(const struct tf_index_queue *queue, uint64_t from, struct tf_index_at *ret)
{
    uint32_t at = find_chunk(queue, from);

    if (at == queue->count)
        at = 0;
    for (; at < queue->count; at++) {
        struct tf_index_chunk *chunk = queue->chunks[queue->start + at];
        for (uint32_t i = find_in(chunk, from); i < chunk->count; i++)
            if (chunk->entries[i].state != TF_INDEX_DEAD) {
                *ret = (struct tf_index_at){chunk, &chunk->entries[i]};
                return true;
            }
    }
    return false;
}

bool tf_index_next_entry(const struct tf_index_queue *queue, uint64_t *cursor,
                         struct tf_index_at *ret)
{
    uint32_t at = (uint32_t)(*cursor >> 16), i = *cursor & 0xffff;

    for (; at < queue->count; at++, i = 0) {
        struct tf_index_chunk *chunk = queue->chunks[queue->start + at];
        while (i < chunk->count && chunk->entries[i].state == TF_INDEX_DEAD)
            i++;
        if (i < chunk->count) {
            *ret = (struct tf_index_at){chunk, &chunk->entries[i]};
            *cursor = (uint64_t)at << 16 | (i + 1);
            return true;
        }
    }
    return false;
}

void tf_index_expect_message(const struct tf_index *index, const struct tf_index_at *at)
{
    const struct tf_index_entry *later = at->entry + AHEAD;

    if (later < at->chunk->entries + at->chunk->count && later->state != TF_INDEX_DEAD)
        __builtin_prefetch(tf_index_message_at(index, later->message));
}

uint64_t tf_index_position(const struct tf_index_at *at)
{
    return at->chunk->base + at->entry->delta;
}

struct tf_bytes tf_index_attributes(const struct tf_index_at *at)
{
    return tf_bytes_of(room_of(at->chunk) + at->entry->attributes, at->entry->length);
}

bool tf_index_last(const struct tf_index_queue *queue, uint64_t *ret_position)
{
    const struct tf_index_chunk *chunk;

    if (!queue->count)
        return false;
    chunk = queue->chunks[queue->start + queue->count - 1]; /* whose last entry is not dead */
    *ret_position = chunk->base + chunk->entries[chunk->count - 1].delta;
    return true;
}

/* A chunk's order and counts; adds up what it refers to. */
static bool check_chunk(const struct tf_index *index, const struct tf_index_chunk *chunk,
                        uint64_t *refs, uint64_t *live)
{
    uint32_t alive = 0;

    if (!chunk->count || chunk->count > chunk->capacity || chunk->used > chunk->room)
        return false;
    for (uint32_t i = 0; i < chunk->count; i++) {
        const struct tf_index_entry *entry = &chunk->entries[i];
        if (i && entry->delta <= chunk->entries[i - 1].delta)
            return false;
        if (entry->state == TF_INDEX_DEAD)
            continue;
        alive++;
        ++*refs;
        if ((entry->length && entry->attributes + entry->length > chunk->used) ||
            !tf_index_message_at(index, entry->message)->refs)
            return false;
        if (entry->state == TF_INDEX_LIVE)
            *live += (uint64_t)entry_bytes(entry);
    }
    return alive == chunk->alive && chunk->entries[chunk->count - 1].state != TF_INDEX_DEAD;
}

bool tf_index_check_queues(const struct tf_index *index, uint64_t *ret_refs, uint64_t *ret_live)
{
    for (uint32_t n = tf_slab_next(&index->queues, 0); n != TF_SLAB_NONE;
         n = tf_slab_next(&index->queues, n + 1)) {
        const struct tf_index_queue *queue = tf_index_queue_at(index, n);
        uint64_t before = *ret_refs;
        for (uint32_t i = 0; i < queue->count; i++) {
            const struct tf_index_chunk *chunk = queue->chunks[queue->start + i];
            if (!check_chunk(index, chunk, ret_refs, ret_live))
                return false;
            if (i) {
                const struct tf_index_chunk *left = queue->chunks[queue->start + i - 1];
                if (left->base + left->entries[left->count - 1].delta >= chunk->base)
                    return false;
            }
        }
        if (!queue->alive || *ret_refs - before != queue->alive || queue->number != n)
            return false;
    }
    return true;
}

void tf_index_queues_release(struct tf_index *index)
{
    for (uint32_t n = tf_slab_next(&index->queues, 0); n != TF_SLAB_NONE;
         n = tf_slab_next(&index->queues, n + 1)) {
        struct tf_index_queue *queue = tf_index_queue_at(index, n);
        for (uint32_t i = 0; i < queue->count; i++)
            chunk_free(index, queue->chunks[queue->start + i]);
        queue_free(index, queue);
    }
}
