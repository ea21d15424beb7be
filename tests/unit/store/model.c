/*
 * The model of a journal.
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/util.h"

static void *heap_get(void *ctx, size_t size)
{
    struct heap *heap = ctx;
    void *memory;

    tf_assert(size);
    heap->calls++;
    if (heap->fail_at &&
        (heap->fail_on ? heap->calls >= heap->fail_at : heap->calls == heap->fail_at))
        return NULL;
    memory = malloc(size);
    tf_assert(memory);
    memset(memory, 0xa5, size);
    heap->used += size;
    return memory;
}

static void heap_put(void *ctx, void *memory, size_t size)
{
    struct heap *heap = ctx;

    tf_assert(memory && heap->used >= size);
    heap->used -= size;
    memset(memory, 0x5a, size);
    free(memory);
}

struct tf_alloc heap_alloc_of(struct heap *heap)
{
    return (struct tf_alloc){.alloc = heap_get, .free = heap_put, .ctx = heap};
}

void model_init(struct model *model, uint64_t seed)
{
    memset(model, 0, sizeof(*model));
    tf_random_init(&model->random, seed);
    model->known = 1;
}

static void free_bodies(struct model *model)
{
    while (model->body_count)
        free(model->bodies[--model->body_count]);
}

void model_release(struct model *model)
{
    free_bodies(model);
}

/* ---- what follows from numbers ---- */

static size_t body_length(uint64_t id)
{
    if (id >= MODEL_LARGE && id % 4 == 0)
        return MODEL_BODY_MAX - (size_t)(id % 977);
    return id % 17 == 0 ? MODEL_BODY_MAX - (size_t)(id % 977) : (size_t)(id * 37 % 600);
}

static uint8_t body_byte(uint64_t id, size_t i)
{
    return (uint8_t)(id * 131 + i * 7 + (i >> 8));
}

static struct tf_bytes filled(uint8_t *buffer, uint8_t fill, size_t length)
{
    memset(buffer, fill, length);
    return tf_bytes_of(buffer, length);
}

static struct tf_bytes key_of(unsigned object, uint8_t *buffer)
{
    size_t length = (size_t)snprintf((char *)buffer, 32, "key/%u", object);

    return tf_bytes_of(buffer, length);
}

/* ---- random groups ---- */

static uint64_t below(struct model *model, uint64_t bound)
{
    return tf_random_below(&model->random, bound);
}

static void add_entry(struct model *model, struct tf_journal *journal, uint64_t message)
{
    struct model_state *next = &model->next;
    struct model_entry entry = {.queue = below(model, MODEL_QUEUES), .message = message};
    uint8_t buffer[256];
    enum tf_err err;

    if (next->count == MODEL_ENTRIES)
        return;
    entry.position = model->positions[entry.queue] + 1 + below(model, 3);
    entry.length = (uint8_t)(below(model, 40) ? below(model, 12) : 255);
    entry.fill = (uint8_t)below(model, 256);
    err = tf_journal_entry(journal, entry.queue, entry.position, message,
                           filled(buffer, entry.fill, entry.length));
    if (err) {
        tf_assert(err == TF_NO_MEMORY);
        return;
    }
    model->positions[entry.queue] = entry.position;
    next->entries[next->count++] = entry;
}

static void put_object(struct model *model, struct tf_journal *journal, uint64_t message)
{
    unsigned number = (unsigned)below(model, MODEL_OBJECTS);
    struct model_object object = {true, (uint8_t)below(model, 256),
                                  (uint16_t)below(model, below(model, 20) ? 60 : 3000), message};
    uint8_t key[32], value[3000];
    enum tf_err err =
        tf_journal_put(journal, (uint8_t)(number % 3), key_of(number, key),
                       filled(value, object.fill, object.length), &message, message ? 1 : 0);

    if (!err)
        model->next.objects[number] = object;
    tf_assert(!err || err == TF_NO_MEMORY);
}

static void publish(struct model *model, struct tf_journal *journal)
{
    uint64_t id = model->message + 1;
    size_t length = body_length(id), cut = length ? (size_t)below(model, length + 1) : 0;
    uint8_t *body;
    struct tf_bytes pieces[2];
    enum tf_err err;

    if (model->body_count == TF_COUNT(model->bodies))
        return;
    body = malloc(length + 1);
    tf_assert(body);
    for (size_t i = 0; i < length; i++)
        body[i] = body_byte(id, i);
    pieces[0] = tf_bytes_of(body, cut);
    pieces[1] = tf_bytes_of(body + cut, length - cut);
    model->bodies[model->body_count++] = body;
    err = tf_journal_message(journal, id, pieces, 2);
    if (err) {
        tf_assert(err == TF_NO_MEMORY);
        return;
    }
    model->message = id;
    for (uint64_t n = below(model, 4); n; n--)
        add_entry(model, journal, id);
    if (!below(model, 6))
        put_object(model, journal, id);
}

static void settle(struct model *model, struct tf_journal *journal)
{
    struct model_state *next = &model->next;
    struct model_entry entry;
    uint64_t last;
    size_t kept = 0;
    enum tf_err err;

    if (!next->count)
        return;
    /* The older ones more often. */
    entry = next->entries[below(model, 1 + below(model, next->count))];
    /* One queue is hardly ever read. */
    if (entry.queue == 0 && next->count < MODEL_ENTRIES / 2 && below(model, 20))
        return;
    last = entry.position + (below(model, 6) ? 0 : below(model, 30));
    err = tf_journal_settle(journal, entry.queue, entry.position, last);
    if (err) {
        tf_assert(err == TF_NO_MEMORY);
        return;
    }
    for (size_t i = 0; i < next->count; i++) {
        const struct model_entry *at = &next->entries[i];
        if (at->queue != entry.queue || at->position < entry.position || at->position > last)
            next->entries[kept++] = *at;
    }
    next->count = kept;
}

static void change(struct model *model, struct tf_journal *journal)
{
    struct model_state *next = &model->next;
    struct model_entry *entry;
    uint8_t buffer[256], length, fill;
    enum tf_err err;

    if (!next->count)
        return;
    entry = &next->entries[below(model, next->count)];
    length = (uint8_t)(below(model, 3) ? entry->length : below(model, 30));
    fill = (uint8_t)below(model, 256);
    err = tf_journal_change(journal, entry->queue, entry->position, filled(buffer, fill, length));
    tf_assert(!err || err == TF_NO_MEMORY);
    if (err)
        return;
    entry->length = length;
    entry->fill = fill;
}

static void remove_object(struct model *model, struct tf_journal *journal)
{
    unsigned number = (unsigned)below(model, MODEL_OBJECTS);
    uint8_t key[32];
    enum tf_err err = tf_journal_remove(journal, (uint8_t)(number % 3), key_of(number, key));

    tf_assert(!err || err == TF_NO_MEMORY);
    if (!err)
        model->next.objects[number].there = false;
}

void model_group(struct model *model, struct tf_journal *journal)
{
    uint64_t full = model->next.count > MODEL_ENTRIES / 2 ? 4 : 0;

    for (uint64_t ops = 1 + below(model, 10); ops; ops--) {
        uint64_t what = below(model, 16 + full);
        if (what < 6)
            publish(model, journal);
        else if (what < 7 && model->next.count)
            add_entry(model, journal, model->next.entries[below(model, model->next.count)].message);
        else if (what < 9)
            change(model, journal);
        else if (what < 11)
            put_object(model, journal,
                       model->next.count && below(model, 2)
                           ? model->next.entries[below(model, model->next.count)].message
                           : 0);
        else if (what < 12)
            remove_object(model, journal);
        else
            settle(model, journal);
    }
}

enum tf_err model_commit(struct model *model, struct tf_journal *journal, bool sync)
{
    enum tf_err err;

    if (!sync && model->known == MODEL_HISTORY - 1)
        sync = true;
    err = sync ? tf_journal_commit(journal) : tf_journal_write(journal);
    free_bodies(model);
    if (err) {
        /* Perhaps it is on the disk after all, if nobody looks at it before the power goes. */
        return err;
    }
    model->committed++;
    if (sync)
        model->known = 0;
    model->states[model->known++] = model->next;
    return TF_OK;
}

/* ---- comparing ---- */

static bool body_is(struct tf_journal *journal, uint64_t id, bool lost)
{
    size_t length;
    uint8_t *body;
    enum tf_err err = tf_journal_length(journal, id, &length);
    bool good = true;

    if (err)
        return lost && err == TF_PROTOCOL;
    if (length != body_length(id))
        return false;
    body = malloc(length + 1);
    tf_assert(body);
    err = tf_journal_read(journal, id, body, length);
    for (size_t i = 0; i < length && !err && good; i++)
        good = body[i] == body_byte(id, i);
    free(body);
    return good && (!err || (lost && err == TF_PROTOCOL));
}

static bool is_filled(struct tf_bytes bytes, uint8_t fill, size_t length)
{
    if (bytes.length != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (bytes.data[i] != fill)
            return false;
    return true;
}

static bool same_object(const struct tf_journal *journal, const struct tf_journal_object *at,
                        const struct model_object *object, unsigned number)
{
    return object->there && at->kind == number % 3 &&
           is_filled(at->value, object->fill, object->length) &&
           at->messages == (object->message ? 1u : 0u) &&
           (!object->message || tf_journal_object_message(journal, at, 0) == object->message);
}

static size_t objects_wrong(struct tf_journal *journal, const struct model_state *state,
                            size_t *ret_there)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object at;
    size_t wrong = 0, there = 0;

    while (tf_journal_next_object(journal, &cursor, &at)) {
        uint8_t key[32];
        char text[32] = "";
        tf_assert(at.key.length > 4 && at.key.length < sizeof(text));
        memcpy(text, at.key.data, at.key.length);
        unsigned number = (unsigned)strtoul(text + 4, NULL, 10);
        tf_assert(number < MODEL_OBJECTS && tf_bytes_equal(key_of(number, key), at.key));
        if (same_object(journal, &at, &state->objects[number], number))
            there++;
        else
            wrong++;
    }
    *ret_there = there;
    return wrong;
}

static const struct model_entry *entry_of(const struct model_state *state, uint64_t queue,
                                          uint64_t position)
{
    for (size_t i = 0; i < state->count; i++)
        if (state->entries[i].queue == queue && state->entries[i].position == position)
            return &state->entries[i];
    return NULL;
}

static size_t entries_wrong(struct tf_journal *journal, const struct model_state *state, bool lost,
                            size_t *ret_there)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_place at, before = {.queue = UINT64_MAX};
    size_t wrong = 0, there = 0;

    for (; tf_journal_next_entry(journal, &cursor, &at); before = at) {
        const struct model_entry *entry = entry_of(state, at.queue, at.position);
        tf_assert(at.queue != before.queue || at.position > before.position);
        if (entry && entry->message == at.message &&
            is_filled(at.attributes, entry->fill, entry->length) &&
            body_is(journal, at.message, lost))
            there++;
        else
            wrong++;
    }
    *ret_there = there;
    return wrong;
}

static size_t objects_of(const struct model_state *state)
{
    size_t count = 0;

    for (unsigned i = 0; i < MODEL_OBJECTS; i++)
        count += state->objects[i].there;
    return count;
}

bool model_equals(struct tf_journal *journal, const struct model_state *state, bool lost)
{
    size_t objects, entries;

    return !objects_wrong(journal, state, &objects) &&
           !entries_wrong(journal, state, lost, &entries) && objects == objects_of(state) &&
           entries == state->count;
}

bool model_recovered(struct model *model, struct tf_journal *journal)
{
    free_bodies(model);
    /* The group that was under way may be there as a whole. */
    if (model->known < MODEL_HISTORY)
        model->states[model->known++] = model->next;
    for (size_t i = model->known; i-- > 0;)
        if (model_equals(journal, &model->states[i], false)) {
            model->next = model->states[i];
            model->states[0] = model->next;
            model->known = 1;
            return true;
        }
    return false;
}

void model_compare(const struct model *model, struct tf_journal *journal, size_t *ret_missing,
                   size_t *ret_foreign)
{
    const struct model_state *state = &model->states[model->known - 1];
    size_t objects, entries;

    *ret_foreign = objects_wrong(journal, state, &objects);
    *ret_foreign += entries_wrong(journal, state, true, &entries);
    *ret_missing = objects_of(state) - objects + state->count - entries;
}
