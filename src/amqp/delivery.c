/*
 * The table of a session's unsettled deliveries in one direction; see delivery.h.
 */
#include "amqp/delivery.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"

/* As many buckets as records, rounded up to a power of two. */
static uint32_t bucket_count(uint32_t capacity)
{
    uint32_t count = TF_AMQP_DELIVERIES_MIN;

    while (count < capacity)
        count *= 2;
    return count;
}

/* The bucket of an id. Ids count up, but what stays live of them is the peer's choice: so mixed. */
static inline uint32_t *bucket_of(const struct tf_amqp_deliveries *table, uint32_t id)
{
    uint32_t hash = id * UINT32_C(0x9e3779b1);

    return table->buckets + ((hash ^ hash >> 16) & table->mask);
}

static inline uint32_t slot_of(const struct tf_amqp_deliveries *table,
                               const struct tf_amqp_delivery *record)
{
    return (uint32_t)(record - table->slots);
}

void tf_amqp_deliveries_init(struct tf_amqp_deliveries *table)
{
    *table = (struct tf_amqp_deliveries){.free = TF_AMQP_NO_SLOT,
                                         .first = TF_AMQP_NO_SLOT,
                                         .last = TF_AMQP_NO_SLOT,
                                         .at = TF_AMQP_NO_SLOT,
                                         .stop = TF_AMQP_NO_SLOT};
}

size_t tf_amqp_deliveries_size(uint32_t capacity)
{
    return capacity * sizeof(struct tf_amqp_delivery) + bucket_count(capacity) * sizeof(uint32_t);
}

uint32_t tf_amqp_deliveries_larger(const struct tf_amqp_deliveries *table, uint32_t max)
{
    uint32_t twice = table->capacity ? table->capacity * 2 : TF_AMQP_DELIVERIES_MIN;

    if (table->capacity >= max)
        return 0;
    return TF_MIN(twice, max);
}

void *tf_amqp_deliveries_grow(struct tf_amqp_deliveries *table, void *memory, uint32_t capacity)
{
    void *old = table->slots;
    uint32_t buckets = bucket_count(capacity);

    tf_assert(capacity > table->capacity);
    if (table->fresh > 0)
        memcpy(memory, table->slots, table->fresh * sizeof(*table->slots));
    table->slots = memory;
    table->buckets = (uint32_t *)(void *)(table->slots + capacity);
    table->capacity = capacity;
    table->mask = buckets - 1;
    for (uint32_t i = 0; i < buckets; i++)
        table->buckets[i] = TF_AMQP_NO_SLOT;
    for (uint32_t slot = table->first; slot != TF_AMQP_NO_SLOT; slot = table->slots[slot].next) {
        uint32_t *bucket = bucket_of(table, table->slots[slot].id);
        table->slots[slot].chain = *bucket;
        *bucket = slot;
    }
    return old;
}

struct tf_amqp_delivery *tf_amqp_deliveries_add(struct tf_amqp_deliveries *table, uint32_t id,
                                                struct tf_amqp_link *link, uint64_t handle)
{
    uint32_t *bucket = bucket_of(table, id);
    uint32_t slot = table->free;

    tf_assert(table->live < table->capacity);
    if (slot != TF_AMQP_NO_SLOT)
        table->free = table->slots[slot].next;
    else
        slot = table->fresh++;
    table->slots[slot] = (struct tf_amqp_delivery){.link = link,
                                                   .handle = handle,
                                                   .id = id,
                                                   .prev = table->last,
                                                   .next = TF_AMQP_NO_SLOT,
                                                   .chain = *bucket};
    *bucket = slot;
    if (table->last != TF_AMQP_NO_SLOT)
        table->slots[table->last].next = slot;
    else
        table->first = slot;
    table->last = slot;
    table->live++;
    return table->slots + slot;
}

struct tf_amqp_delivery *tf_amqp_deliveries_find(const struct tf_amqp_deliveries *table,
                                                 uint32_t id)
{
    if (table->live == 0)
        return NULL;
    for (uint32_t slot = *bucket_of(table, id); slot != TF_AMQP_NO_SLOT;
         slot = table->slots[slot].chain) {
        if (table->slots[slot].id == id)
            return table->slots + slot;
    }
    return NULL;
}

/* A walk must not end up at a record that is gone, nor go on to those added since it began. */
static void leave_walk(struct tf_amqp_deliveries *table, uint32_t slot)
{
    const struct tf_amqp_delivery *record = table->slots + slot;

    if (table->at == slot)
        table->at = table->stop == slot ? TF_AMQP_NO_SLOT : record->next;
    if (table->stop == slot)
        table->stop = record->prev;
}

void tf_amqp_deliveries_remove(struct tf_amqp_deliveries *table, struct tf_amqp_delivery *record)
{
    uint32_t slot = slot_of(table, record);
    uint32_t *from = bucket_of(table, record->id);

    while (*from != slot) {
        tf_assert(*from != TF_AMQP_NO_SLOT);
        from = &table->slots[*from].chain;
    }
    *from = record->chain;
    if (table->at != TF_AMQP_NO_SLOT)
        leave_walk(table, slot);
    if (record->prev != TF_AMQP_NO_SLOT)
        table->slots[record->prev].next = record->next;
    else
        table->first = record->next;
    if (record->next != TF_AMQP_NO_SLOT)
        table->slots[record->next].prev = record->prev;
    else
        table->last = record->prev;
    record->link = NULL;
    record->next = table->free;
    table->free = slot;
    table->live--;
}

struct tf_amqp_delivery *tf_amqp_deliveries_first(const struct tf_amqp_deliveries *table)
{
    return table->first != TF_AMQP_NO_SLOT ? table->slots + table->first : NULL;
}

struct tf_amqp_delivery *tf_amqp_deliveries_next(const struct tf_amqp_deliveries *table,
                                                 const struct tf_amqp_delivery *record)
{
    return record->next != TF_AMQP_NO_SLOT ? table->slots + record->next : NULL;
}

void tf_amqp_deliveries_walk(struct tf_amqp_deliveries *table, uint32_t first, uint32_t last)
{
    uint32_t span = last - first;

    table->walk_first = first;
    table->walk_span = span;
    table->walk_all = span >= table->live;
    table->stop = table->last;
    table->at = TF_AMQP_NO_SLOT;
    if (table->live == 0)
        return;
    if (table->walk_all) {
        table->at = table->first;
        return;
    }
    for (uint32_t i = 0; i <= span; i++) {
        const struct tf_amqp_delivery *record = tf_amqp_deliveries_find(table, first + i);
        table->steps++;
        if (record) {
            table->at = slot_of(table, record);
            return;
        }
    }
}

struct tf_amqp_delivery *tf_amqp_deliveries_walk_next(struct tf_amqp_deliveries *table)
{
    while (table->at != TF_AMQP_NO_SLOT) {
        struct tf_amqp_delivery *record = table->slots + table->at;
        bool inside = record->id - table->walk_first <= table->walk_span;
        bool more = table->at != table->stop && (inside || table->walk_all);

        table->steps++;
        table->at = more ? record->next : TF_AMQP_NO_SLOT;
        if (inside)
            return record;
    }
    return NULL;
}

/* The list of live records is whole, and each is where its id is looked for. */
static bool list_sound(const struct tf_amqp_deliveries *table)
{
    uint32_t prev = TF_AMQP_NO_SLOT, count = 0;
    bool at = table->at == TF_AMQP_NO_SLOT;

    for (uint32_t slot = table->first; slot != TF_AMQP_NO_SLOT; slot = table->slots[slot].next) {
        const struct tf_amqp_delivery *record = table->slots + slot;
        if (slot >= table->fresh || record->prev != prev || !record->link || ++count > table->live)
            return false;
        if (tf_amqp_deliveries_find(table, record->id) != record)
            return false;
        at = at || slot == table->at;
        prev = slot;
    }
    return prev == table->last && count == table->live && at;
}

bool tf_amqp_deliveries_check(const struct tf_amqp_deliveries *table)
{
    uint32_t unused = table->capacity - table->fresh;

    if (!table->slots)
        return table->capacity == 0 && table->live == 0 && table->at == TF_AMQP_NO_SLOT;
    if (table->fresh > table->capacity || table->live > table->fresh)
        return false;
    for (uint32_t slot = table->free; slot != TF_AMQP_NO_SLOT; slot = table->slots[slot].next) {
        if (slot >= table->fresh || ++unused > table->capacity)
            return false;
    }
    return unused + table->live == table->capacity && list_sound(table);
}
