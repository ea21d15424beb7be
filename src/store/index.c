/*
 * Messages and objects, and the two steps of every change.
 *
 * Invariants (tf_index_check):
 *   1. A message's refs are the entries that are not dead and the objects, staged ones too, that
 *      refer to it. Outside of a commit, and unless loading, a message that is not pending and has
 *      0 is on the list `zeros`.
 *   2. What is live counts in live_bytes, and in its segment if that is there.
 *   3. Of an object there is one in the map at most. Those that are pending are not in it, so that
 *      one key may be put any number of times in a group.
 *   4. Nothing is pending, and no op there, after commit and rollback.
 * A message whose refs become 0 is put on the list `zeros` and freed at the end of the commit:
 * later ops of the same group may refer to it again. If one op has settled a million entries, their
 * messages are freed little by little, so that nobody waits for that; until then one of them may
 * be referred to again.
 */
#include "store/index.h"

#include <string.h>

#include "base/assert.h"
#include "base/random.h"
#include "base/util.h"

#define NOT_LISTED (UINT32_MAX - 1)
#define LAST UINT32_MAX
#define RUN_SHIFT 40
#define AHEAD 8u            /* objects */
#define FREED_AT_ONCE 8192u /* messages: about a millisecond */

void tf_index_init(struct tf_index *index, const struct tf_alloc *alloc, uint64_t seed)
{
    *index = (struct tf_index){.alloc = alloc, .zeros = LAST};
    index->key.k0 = tf_random_split(&seed);
    index->key.k1 = tf_random_split(&seed);
    tf_map_init(&index->message_map, alloc);
    tf_map_init(&index->object_map, alloc);
    tf_map_init(&index->queue_map, alloc);
    tf_slab_init(&index->messages, alloc, sizeof(struct tf_index_message));
    tf_slab_init(&index->objects, alloc, sizeof(struct tf_index_object *));
    tf_slab_init(&index->queues, alloc, sizeof(struct tf_index_queue));
}

static size_t object_size(const struct tf_index_object *object)
{
    return sizeof(*object) + object->ref_count * sizeof(object->refs[0]) + object->key_length +
           object->value_length;
}

void tf_index_release(struct tf_index *index)
{
    const struct tf_alloc *alloc = index->alloc;

    for (uint32_t n = tf_slab_next(&index->objects, 0); n != TF_SLAB_NONE;
         n = tf_slab_next(&index->objects, n + 1)) {
        struct tf_index_object *object = tf_index_object_at(index, n);
        alloc->free(alloc->ctx, object, object_size(object));
    }
    tf_index_queues_release(index);
    tf_slab_release(&index->objects);
    tf_slab_release(&index->messages);
    tf_slab_release(&index->queues);
    tf_map_release(&index->message_map);
    tf_map_release(&index->object_map);
    tf_map_release(&index->queue_map);
    tf_buffer_release(&index->bytes, alloc);
    if (index->ops)
        alloc->free(alloc->ctx, index->ops, index->op_capacity * sizeof(*index->ops));
    if (index->segments)
        alloc->free(alloc->ctx, index->segments,
                    index->segment_capacity * sizeof(*index->segments));
    *index = (struct tf_index){.alloc = alloc};
}

/* ---- segments ---- */

enum tf_err tf_index_add_segment(struct tf_index *index, uint32_t number)
{
    if (index->segment_count == index->segment_capacity) {
        size_t capacity = index->segment_capacity ? index->segment_capacity * 2 : 16;
        struct tf_index_segment *more =
            index->alloc->alloc(index->alloc->ctx, capacity * sizeof(*more));
        if (!more)
            return TF_NO_MEMORY;
        if (index->segments) {
            memcpy(more, index->segments, index->segment_count * sizeof(*more));
            index->alloc->free(index->alloc->ctx, index->segments,
                               index->segment_capacity * sizeof(*more));
        }
        index->segments = more;
        index->segment_capacity = capacity;
    }
    index->segments[index->segment_count++] = (struct tf_index_segment){.number = number};
    return TF_OK;
}

void tf_index_drop_segment(struct tf_index *index)
{
    index->segment_count--;
    memmove(index->segments, index->segments + 1, index->segment_count * sizeof(*index->segments));
}

/* Numbers have no gaps unless a file was lost. */
static struct tf_index_segment *find_segment(const struct tf_index *index, uint32_t number)
{
    size_t low = 0, high = index->segment_count;

    if (!high || number < index->segments[0].number)
        return NULL;
    if (number - index->segments[0].number < high &&
        index->segments[number - index->segments[0].number].number == number)
        return &index->segments[number - index->segments[0].number];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->segments[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < index->segment_count && index->segments[low].number == number
               ? &index->segments[low]
               : NULL;
}

uint64_t tf_index_segment_live(const struct tf_index *index, uint32_t number)
{
    const struct tf_index_segment *segment = find_segment(index, number);

    return segment ? segment->live : 0;
}

void tf_index_live(struct tf_index *index, uint32_t segment, int64_t bytes)
{
    struct tf_index_segment *at = find_segment(index, segment);

    index->live_bytes += (uint64_t)bytes;
    if (at)
        at->live += (uint64_t)bytes;
}

/* ---- ops ---- */

struct tf_index_op *tf_index_op(struct tf_index *index, enum tf_index_kind kind)
{
    struct tf_index_op *op;

    if (index->op_count == index->op_capacity) {
        size_t capacity = index->op_capacity ? index->op_capacity * 2 : 64;
        op = index->alloc->alloc(index->alloc->ctx, capacity * sizeof(*op));
        if (!op)
            return NULL;
        if (index->ops) {
            memcpy(op, index->ops, index->op_count * sizeof(*op));
            index->alloc->free(index->alloc->ctx, index->ops, index->op_capacity * sizeof(*op));
        }
        index->ops = op;
        index->op_capacity = capacity;
    }
    op = &index->ops[index->op_count];
    *op = (struct tf_index_op){.kind = (uint8_t)kind};
    return op;
}

/* ---- messages ---- */

struct tf_index_message *tf_index_message_at(const struct tf_index *index, uint32_t number)
{
    return tf_slab_at(&index->messages, number);
}

/*
 * Ids are counted up, in runs that differ above RUN_SHIFT. Those of one run get neighbouring
 * buckets, because messages that came together are mostly looked for, and go, together; each run
 * begins somewhere else, so that they do not pile up. One to one, so the hash tells the id.
 */
static uint64_t hash_of_id(const struct tf_index *index, uint64_t id)
{
    uint64_t low = (UINT64_C(1) << RUN_SHIFT) - 1;

    return (id & ~low) | ((id + tf_hash_mix((id >> RUN_SHIFT) ^ index->key.k1)) & low);
}

struct tf_index_message *tf_index_find_message(const struct tf_index *index, uint64_t id)
{
    struct tf_map_node *node = tf_map_find(&index->message_map, hash_of_id(index, id));

    return node ? tf_container_of(node, struct tf_index_message, node) : NULL;
}

static struct tf_index_message *message_new(struct tf_index *index, uint64_t id)
{
    uint32_t number;
    struct tf_index_message *message = tf_slab_take(&index->messages, &number);

    if (!message)
        return NULL;
    message->id = id;
    message->number = number;
    message->epoch = index->epoch;
    message->next_zero = NOT_LISTED;
    tf_map_insert(&index->message_map, &message->node, hash_of_id(index, id));
    return message;
}

static int64_t message_bytes(const struct tf_index_message *message)
{
    return message->segment ? (int64_t)TF_RECORD_MESSAGE_BYTES + message->length : 0;
}

static void message_free(struct tf_index *index, uint32_t number)
{
    struct tf_index_message *message = tf_index_message_at(index, number);

    tf_index_live(index, message->segment, -message_bytes(message));
    tf_map_remove(&index->message_map, &message->node);
    tf_slab_give(&index->messages, number);
}

static void place_message(struct tf_index *index, struct tf_index_message *message,
                          uint32_t segment, uint32_t offset)
{
    message->segment = segment;
    message->offset = offset;
    tf_index_live(index, segment, message_bytes(message));
}

static enum tf_err load_message(struct tf_index *index, const struct tf_record *record)
{
    struct tf_index_message *message = tf_index_find_message(index, record->id);
    bool placed = record->segment != 0;

    if (!message)
        message = message_new(index, record->id);
    if (!message)
        return TF_NO_MEMORY;
    tf_index_live(index, message->segment, -message_bytes(message));
    message->length = record->length;
    message->crc = record->crc;
    place_message(index, message, placed ? record->segment : index->place.segment,
                  record->offset + (placed ? 0 : index->place.bodies));
    return TF_OK;
}

enum tf_err tf_index_message(struct tf_index *index, const struct tf_record *record)
{
    struct tf_index_message *message;
    struct tf_index_op *op;

    if (index->loading)
        return load_message(index, record);
    message = tf_index_find_message(index, record->id);
    op = tf_index_op(index, message ? TF_OP_PLACE : TF_OP_MESSAGE);
    if (!op)
        return TF_NO_MEMORY;
    if (message) {
        op->queue = record->id;
    } else {
        message = message_new(index, record->id);
        if (!message)
            return TF_NO_MEMORY;
        op->number = message->number;
        message->pending = 1;
        index->pending++;
    }
    op->segment = record->segment;
    op->offset = record->offset;
    op->placed = record->segment != 0;
    op->first = record->length;
    op->last = record->crc;
    index->op_count++;
    return TF_OK;
}

enum tf_err tf_index_lose(struct tf_index *index, uint32_t message)
{
    struct tf_index_op *op = tf_index_op(index, TF_OP_LOSE);

    if (!op)
        return TF_NO_MEMORY;
    op->queue = tf_index_message_at(index, message)->id;
    index->op_count++;
    return TF_OK;
}

enum tf_err tf_index_refer(struct tf_index *index, uint64_t id, uint32_t *ret_number)
{
    struct tf_index_message *message = tf_index_find_message(index, id);

    if (!message && !index->loading)
        return TF_NOT_FOUND;
    if (!message)
        message = message_new(index, id);
    if (!message)
        return TF_NO_MEMORY;
    *ret_number = message->number;
    return TF_OK;
}

static void list_if_zero(struct tf_index *index, uint32_t number)
{
    struct tf_index_message *message = tf_index_message_at(index, number);

    if (index->loading || message->refs || message->next_zero != NOT_LISTED)
        return; /* all are looked at when all has been read */
    message->next_zero = index->zeros;
    index->zeros = number;
}

void tf_index_unref(struct tf_index *index, uint32_t number)
{
    struct tf_index_message *message = tf_index_message_at(index, number);

    tf_assert(message->refs);
    message->refs--;
    list_if_zero(index, number);
}

/* Frees up to `most` of those that have lost their last reference. */
static void free_zeros(struct tf_index *index, size_t most)
{
    for (; index->zeros != LAST && most; most--) {
        uint32_t number = index->zeros;
        struct tf_index_message *message = tf_index_message_at(index, number);
        index->zeros = message->next_zero;
        message->next_zero = NOT_LISTED;
        if (!message->refs && !message->pending)
            message_free(index, number);
    }
}

bool tf_index_tidy(struct tf_index *index)
{
    free_zeros(index, FREED_AT_ONCE);
    return index->zeros != LAST;
}

static void commit_message(struct tf_index *index, const struct tf_index_op *op)
{
    struct tf_index_message *message = op->kind == TF_OP_MESSAGE
                                           ? tf_index_message_at(index, op->number)
                                           : tf_index_find_message(index, op->queue);

    if (!message)
        return;
    tf_index_live(index, message->segment, -message_bytes(message));
    if (op->kind != TF_OP_LOSE) {
        message->length = (uint32_t)op->first;
        message->crc = (uint32_t)op->last;
    }
    place_message(index, message, op->segment, op->offset);
    if (op->kind == TF_OP_MESSAGE) {
        message->pending = 0;
        index->pending--;
        list_if_zero(index, op->number);
    }
}

/* ---- objects ---- */

struct tf_index_object *tf_index_object_at(const struct tf_index *index, uint32_t number)
{
    return *(struct tf_index_object **)tf_slab_at(&index->objects, number);
}

struct tf_bytes tf_index_object_key(const struct tf_index_object *object)
{
    return tf_bytes_of(object->refs + object->ref_count, object->key_length);
}

struct tf_bytes tf_index_object_value(const struct tf_index_object *object)
{
    return tf_bytes_of((const uint8_t *)(object->refs + object->ref_count) + object->key_length,
                       object->value_length);
}

static int64_t object_bytes(const struct tf_index_object *object)
{
    return (int64_t)TF_RECORD_PUT_BYTES + object->key_length + object->value_length +
           (int64_t)object->ref_count * 8;
}

static uint64_t hash_of_key(const struct tf_index *index, uint8_t kind, struct tf_bytes key)
{
    return tf_hash(key, &index->key) + kind * UINT64_C(0x9e3779b97f4a7c15);
}

static struct tf_index_object *find_object(const struct tf_index *index, uint8_t kind,
                                           struct tf_bytes key, uint64_t hash)
{
    struct tf_map_node *node = tf_map_find(&index->object_map, hash);

    for (; node; node = tf_map_find_next(node)) {
        struct tf_index_object *object = tf_container_of(node, struct tf_index_object, node);
        if (object->kind == kind && tf_bytes_equal(tf_index_object_key(object), key))
            return object;
    }
    return NULL;
}

struct tf_index_object *tf_index_find_object(const struct tf_index *index, uint8_t kind,
                                             struct tf_bytes key)
{
    return find_object(index, kind, key, hash_of_key(index, kind, key));
}

static void object_free(struct tf_index *index, struct tf_index_object *object)
{
    for (uint32_t i = 0; i < object->ref_count; i++)
        tf_index_unref(index, object->refs[i]);
    if (!object->pending) {
        tf_index_live(index, object->segment, -object_bytes(object));
        tf_map_remove(&index->object_map, &object->node);
    }
    tf_slab_give(&index->objects, object->number);
    index->alloc->free(index->alloc->ctx, object, object_size(object));
}

/* A pending object with its references. */
static enum tf_err object_new(struct tf_index *index, const struct tf_record *record,
                              struct tf_index_object **ret)
{
    size_t count = record->ids.length / 8;
    size_t size = sizeof(struct tf_index_object) + count * sizeof(uint32_t) + record->key.length +
                  record->value.length;
    struct tf_reader ids = tf_reader_of(record->ids);
    struct tf_index_object *object = index->alloc->alloc(index->alloc->ctx, size);
    enum tf_err err = TF_OK;

    if (!object)
        return TF_NO_MEMORY;
    *object = (struct tf_index_object){.kind = record->kind,
                                       .pending = true,
                                       .key_length = (uint32_t)record->key.length,
                                       .value_length = (uint32_t)record->value.length,
                                       .ref_count = (uint32_t)count};
    for (size_t i = 0; i < count && !err; i++)
        err = tf_index_refer(index, tf_read_u64(&ids), &object->refs[i]);
    if (err) {
        index->alloc->free(index->alloc->ctx, object, size);
        return err;
    }
    for (size_t i = 0; i < count; i++)
        tf_index_message_at(index, object->refs[i])->refs++;
    if (record->key.length)
        memcpy(object->refs + count, record->key.data, record->key.length);
    if (record->value.length)
        memcpy((uint8_t *)(object->refs + count) + record->key.length, record->value.data,
               record->value.length);
    *ret = object;
    return TF_OK;
}

/* Takes the place of the object that had this key, if there was one. */
static void object_true(struct tf_index *index, struct tf_index_object *object, uint32_t segment)
{
    uint64_t hash = object->node.hash;
    struct tf_index_object *old =
        find_object(index, object->kind, tf_index_object_key(object), hash);

    if (old)
        object_free(index, old);
    tf_map_insert(&index->object_map, &object->node, hash);
    object->pending = false;
    object->segment = segment;
    tf_index_live(index, segment, object_bytes(object));
}

enum tf_err tf_index_put(struct tf_index *index, const struct tf_record *record)
{
    struct tf_index_op *op = index->loading ? NULL : tf_index_op(index, TF_OP_PUT);
    struct tf_index_object *object, **slot;
    enum tf_err err;
    uint32_t number;

    if (!op && !index->loading)
        return TF_NO_MEMORY;
    slot = tf_slab_take(&index->objects, &number);
    if (!slot)
        return TF_NO_MEMORY;
    err = object_new(index, record, &object);
    if (err) {
        tf_slab_give(&index->objects, number);
        return err;
    }
    *slot = object;
    object->number = number;
    object->node.hash = hash_of_key(index, record->kind, record->key);
    if (!op) {
        object_true(index, object, record->segment ? record->segment : index->place.segment);
        return TF_OK;
    }
    op->number = number;
    op->segment = record->segment;
    op->placed = record->segment != 0;
    index->op_count++;
    return TF_OK;
}

static void remove_object(struct tf_index *index, uint8_t kind, struct tf_bytes key)
{
    struct tf_index_object *object = tf_index_find_object(index, kind, key);

    if (object)
        object_free(index, object);
}

enum tf_err tf_index_remove(struct tf_index *index, uint8_t kind, struct tf_bytes key)
{
    struct tf_index_op *op;

    if (index->loading) {
        remove_object(index, kind, key);
        return TF_OK;
    }
    op = tf_index_op(index, TF_OP_REMOVE);
    if (!op || !tf_buffer_reserve(&index->bytes, index->alloc, key.length) ||
        index->bytes.length > UINT32_MAX)
        return TF_NO_MEMORY;
    op->number = (uint32_t)index->bytes.length;
    op->first = kind;
    op->last = key.length;
    if (key.length)
        memcpy(index->bytes.data + index->bytes.length, key.data, key.length);
    index->bytes.length += key.length;
    index->op_count++;
    return TF_OK;
}

enum tf_err tf_index_move_object(struct tf_index *index, uint32_t number)
{
    struct tf_index_op *op = tf_index_op(index, TF_OP_MOVE_OBJECT);

    if (!op)
        return TF_NO_MEMORY;
    op->number = number;
    index->op_count++;
    return TF_OK;
}

static void commit_remove(struct tf_index *index, const struct tf_index_op *op)
{
    struct tf_bytes key = tf_bytes_of(index->bytes.data + op->number, (size_t)op->last);

    remove_object(index, (uint8_t)op->first, key);
}

static void commit_move(struct tf_index *index, const struct tf_index_op *op)
{
    struct tf_index_object *object = tf_index_object_at(index, op->number);

    tf_index_live(index, object->segment, -object_bytes(object));
    object->segment = op->segment;
    tf_index_live(index, object->segment, object_bytes(object));
}

enum tf_err tf_index_object_record(const struct tf_index *index,
                                   const struct tf_index_object *object, struct tf_buffer *ids,
                                   struct tf_record *ret)
{
    struct tf_writer writer;
    size_t length = (size_t)object->ref_count * 8;

    ids->length = 0;
    if (length && !tf_buffer_reserve(ids, index->alloc, length))
        return TF_NO_MEMORY;
    writer = tf_writer_of(ids->data, length);
    for (uint32_t i = 0; i < object->ref_count; i++)
        tf_write_u64(&writer, tf_index_message_at(index, object->refs[i])->id);
    *ret = (struct tf_record){.type = TF_RECORD_PUT,
                              .kind = object->kind,
                              .segment = object->segment,
                              .key = tf_index_object_key(object),
                              .value = tf_index_object_value(object),
                              .ids = tf_bytes_of(ids->data, length)};
    return TF_OK;
}

/* ---- while loading ---- */

void tf_index_expect(const struct tf_index *index, struct tf_index_ahead *ahead,
                     const struct tf_record *record)
{
    const struct tf_map *map = &index->message_map;
    uint64_t hash;

    if (record->type == TF_RECORD_MESSAGE || record->type == TF_RECORD_PLACE) {
        hash = hash_of_id(index, record->id);
    } else if (record->type == TF_RECORD_PUT) {
        map = &index->object_map;
        hash = hash_of_key(index, record->kind, record->key);
    } else {
        return;
    }
    tf_map_expect(map, hash);
    /* The place of an earlier one has come meanwhile. */
    if (ahead->items[ahead->next].map)
        tf_map_expect_node(ahead->items[ahead->next].map, ahead->items[ahead->next].hash);
    ahead->items[ahead->next].map = map;
    ahead->items[ahead->next].hash = hash;
    ahead->next = (ahead->next + 1) % (sizeof(ahead->items) / sizeof(ahead->items[0]));
}

void tf_index_expect_object(const struct tf_index *index, uint32_t number)
{
    uint32_t later = number + AHEAD;

    /* Of the same page, it is there whether it is in use or not. */
    if (later / TF_SLAB_PAGE != number / TF_SLAB_PAGE)
        return;
    const uint8_t *object = *(uint8_t **)tf_slab_at(&index->objects, later);
    __builtin_prefetch(object);
    if (object)
        __builtin_prefetch(object + sizeof(struct tf_index_object) + AHEAD);
}

void tf_index_reserve(struct tf_index *index, uint64_t messages)
{
    tf_map_reserve(&index->message_map, (size_t)TF_MIN(messages, (uint64_t)UINT32_MAX));
}

/* ---- both steps ---- */

static void commit_op(struct tf_index *index, const struct tf_index_op *op)
{
    switch ((enum tf_index_kind)op->kind) {
    case TF_OP_MESSAGE:
    case TF_OP_PLACE:
    case TF_OP_LOSE:
        commit_message(index, op);
        break;
    case TF_OP_ENTRY:
        tf_index_commit_entry(index, op);
        break;
    case TF_OP_CHANGE:
        tf_index_commit_change(index, op);
        break;
    case TF_OP_SETTLE:
        tf_index_commit_settle(index, op);
        break;
    case TF_OP_PUT:
        object_true(index, tf_index_object_at(index, op->number), op->segment);
        break;
    case TF_OP_REMOVE:
        commit_remove(index, op);
        break;
    case TF_OP_MOVE_OBJECT:
        commit_move(index, op);
        break;
    }
}

void tf_index_commit(struct tf_index *index, struct tf_index_place place)
{
    for (size_t i = 0; i < index->op_count; i++) {
        struct tf_index_op *op = &index->ops[i];
        if (!op->placed && op->kind != TF_OP_LOSE) {
            op->segment = place.segment;
            op->offset += place.bodies;
        }
        commit_op(index, op);
    }
    /* Of one op that settles very many, the rest is freed later. */
    free_zeros(index, FREED_AT_ONCE + 2 * index->op_count);
    index->op_count = 0;
    index->bytes.length = 0;
}

void tf_index_rollback(struct tf_index *index)
{
    while (index->op_count) {
        const struct tf_index_op *op = &index->ops[--index->op_count];
        if (op->kind == TF_OP_ENTRY) {
            tf_index_undo_entry(index, op);
        } else if (op->kind == TF_OP_CHANGE) {
            tf_index_undo_change(index, op);
        } else if (op->kind == TF_OP_PUT) {
            object_free(index, tf_index_object_at(index, op->number));
        } else if (op->kind == TF_OP_MESSAGE) {
            struct tf_index_message *message = tf_index_message_at(index, op->number);
            message->pending = 0;
            index->pending--;
            list_if_zero(index, op->number);
        }
    }
    index->bytes.length = 0;
    free_zeros(index, SIZE_MAX);
}

void tf_index_lose_now(struct tf_index *index, uint32_t number)
{
    struct tf_index_message *message = tf_index_message_at(index, number);

    tf_index_live(index, message->segment, -message_bytes(message));
    message->segment = 0;
}

uint64_t tf_index_loaded(struct tf_index *index)
{
    uint64_t lost = 0;

    index->loading = false;
    for (uint32_t n = tf_slab_next(&index->messages, 0); n != TF_SLAB_NONE;
         n = tf_slab_next(&index->messages, n + 1)) {
        const struct tf_index_message *message = tf_index_message_at(index, n);
        if (!message->refs)
            message_free(index, n);
        else if (!message->segment)
            lost++;
    }
    return lost;
}

/* ---- the check ---- */

bool tf_index_check(const struct tf_index *index)
{
    uint64_t refs = 0, live = 0, counted = 0, in_segments = 0;

    if (!tf_map_check(&index->message_map) || !tf_map_check(&index->object_map) ||
        !tf_map_check(&index->queue_map) || !tf_index_check_queues(index, &refs, &live))
        return false;
    for (uint32_t n = tf_slab_next(&index->objects, 0); n != TF_SLAB_NONE;
         n = tf_slab_next(&index->objects, n + 1)) {
        const struct tf_index_object *object = tf_index_object_at(index, n);
        refs += object->ref_count;
        if (!object->pending)
            live += (uint64_t)object_bytes(object);
        if (object->number != n)
            return false;
    }
    for (uint32_t n = tf_slab_next(&index->messages, 0); n != TF_SLAB_NONE;
         n = tf_slab_next(&index->messages, n + 1)) {
        const struct tf_index_message *message = tf_index_message_at(index, n);
        counted += message->refs;
        live += (uint64_t)message_bytes(message);
        if (!message->refs && !message->pending && message->next_zero == NOT_LISTED)
            return false;
    }
    for (size_t i = 0; i < index->segment_count; i++)
        in_segments += index->segments[i].live;
    return refs == counted && live == index->live_bytes && in_segments <= live;
}
