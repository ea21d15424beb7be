/*
 * The rig of the store's tests.
 */
#include "store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/util.h"

/* ---- messages ---- */

struct rig_owner *rig_message(struct rig *rig, uint64_t number, size_t length)
{
    struct rig_owner *owner = calloc(1, sizeof(*owner) + length + 1);
    struct tf_writer writer;

    tf_assert(owner);
    *owner = (struct rig_owner){.rig = rig, .number = number, .length = length};
    atomic_init(&owner->refs, 1);
    writer = tf_writer_of(owner->head, sizeof(owner->head));
    tf_write_u64(&writer, number);
    for (size_t i = 0; i < length; i++)
        owner->body[i] = (uint8_t)(number * 31 + i * 7);
    owner->pieces[0] = tf_bytes_of(owner->body, length / 2);
    owner->pieces[1] = tf_bytes_of(owner->body + length / 2, length - length / 2);
    atomic_fetch_add(&rig->owners, 1);
    return owner;
}

void rig_let_go(void *ctx)
{
    struct rig_owner *owner = ctx;

    if (atomic_fetch_sub(&owner->refs, 1) > 1)
        return;
    atomic_fetch_sub(&owner->rig->owners, 1);
    memset(owner, 0x5A, sizeof(*owner) + owner->length);
    free(owner);
}

static void hold(void *ctx)
{
    struct rig_owner *owner = ctx;

    atomic_fetch_add(&owner->refs, 1);
}

struct tf_store_message rig_message_of(struct rig_owner *owner)
{
    return (struct tf_store_message){.owner = owner,
                                     .id = &owner->id,
                                     .head = tf_bytes_of(owner->head, sizeof(owner->head)),
                                     .body = owner->pieces,
                                     .count = 2};
}

bool rig_number(struct tf_bytes bytes, uint64_t *ret_number)
{
    struct tf_reader reader = tf_reader_of(bytes);
    uint64_t number = tf_read_u64(&reader);

    for (size_t i = 0; reader.next != reader.end; i++)
        if (tf_read_u8(&reader) != (uint8_t)(number * 31 + i * 7))
            return false;
    *ret_number = number;
    return !reader.failed;
}

/* ---- the store ---- */

static void wake_shard(void *ctx, unsigned shard)
{
    struct rig *rig = ctx;
    rig->shard_wakes[shard]++;
}

static void wake_store(void *ctx)
{
    struct rig *rig = ctx;
    rig->wakes++;
}

static void changed(void *ctx, enum tf_store_state state, enum tf_err err, int error)
{
    struct rig *rig = ctx;
    rig->state = state;
    rig->err = err;
    rig->error = error;
    rig->changes++;
}

void rig_init(struct rig *rig, unsigned clients)
{
    memset(rig, 0, sizeof(*rig));
    sim_disk_init(&rig->sim, 1);
    rig->alloc = heap_alloc_of(&rig->heap);
    rig->count = clients;
    rig->config = (struct tf_store_config){.journal = {.disk = &rig->sim.disk,
                                                       .alloc = &rig->alloc,
                                                       .seed = 4711,
                                                       .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                                       .snapshot_interval = 1 << 20,
                                                       .compact_percent = 50},
                                           .shards = clients,
                                           .alloc = &rig->alloc,
                                           .hold = hold,
                                           .let_go = rig_let_go,
                                           .wake_shard = wake_shard,
                                           .wake_store = wake_store,
                                           .changed = changed,
                                           .ctx = rig};
}

enum tf_err rig_open(struct rig *rig)
{
    enum tf_err err = tf_store_new(&rig->config, &rig->store, &rig->report, &rig->holder);

    rig->state = TF_STORE_READY;
    for (unsigned i = 0; i < rig->count && !err; i++) {
        err = tf_store_client_init(&rig->clients[i], rig->store, i);
        if (err) {
            while (i--)
                tf_store_client_release(&rig->clients[i]);
            tf_store_free(rig->store);
        }
    }
    if (err)
        rig->store = NULL;
    return err;
}

void rig_close(struct rig *rig)
{
    for (unsigned i = 0; i < rig->count && rig->store; i++)
        tf_store_client_release(&rig->clients[i]);
    tf_store_free(rig->store);
    rig->store = NULL;
    tf_assert(!rig->heap.used && !atomic_load(&rig->owners));
}

void rig_release(struct rig *rig)
{
    rig_close(rig);
    sim_disk_release(&rig->sim);
}

void rig_power_cut(struct rig *rig, uint64_t seed, unsigned keep)
{
    struct sim_disk after;

    rig->sim.fail_at = 1; /* nothing reaches the disk any more */
    rig->sim.fail_on = true;
    sim_disk_crash(&rig->sim, &after, seed, keep);
    rig_close(rig);
    sim_disk_release(&rig->sim);
    rig->sim = after;
}

bool rig_entry(struct rig *rig, unsigned client, enum tf_store_level level, uint64_t queue,
               uint64_t position, uint64_t number, size_t length)
{
    struct tf_store_client *at = &rig->clients[client];
    uint8_t attribute = (uint8_t)number;
    struct tf_store_message message;
    struct rig_owner *owner;

    if (tf_store_reserve(at, 64))
        return false;
    owner = rig_message(rig, number, length);
    message = rig_message_of(owner);
    tf_store_entry(at, level, queue, position, tf_bytes_of(&attribute, 1), &message);
    rig_let_go(owner);
    return true;
}

void rig_run(struct rig *rig)
{
    bool more = true;

    for (unsigned turns = 0; more; turns++) {
        more = false;
        for (unsigned i = 0; i < rig->count; i++)
            tf_store_submit(&rig->clients[i]);
        more = tf_store_turn(rig->store, rig->now, &rig->until);
        for (unsigned i = 0; i < rig->count; i++)
            more = tf_store_receive(&rig->clients[i]) || more;
        tf_assert(turns < 100000);
    }
}

static void on_read(struct tf_store_read *read, enum tf_err err, struct tf_store_page *page)
{
    struct rig *rig = tf_container_of(read, struct rig, read);
    struct tf_store_item item;

    rig->reads++;
    rig->read_err = err;
    rig->items = 0;
    while (tf_store_page_next(page, &item)) {
        tf_assert(rig->items < RIG_ITEMS);
        rig->positions[rig->items] = item.position;
        rig->attributes[rig->items] = item.attributes.length ? item.attributes.data[0] : 0;
        rig->numbers[rig->items] = 0;
        if (item.message.data)
            tf_assert(rig_number(item.message, &rig->numbers[rig->items]));
        rig->items++;
    }
    rig->read_end = tf_store_page_end(page);
}

void rig_read(struct rig *rig, unsigned client, uint64_t queue, uint64_t from, uint32_t entries,
              uint32_t bytes)
{
    unsigned reads = rig->reads;

    rig->read = (struct tf_store_read){
        .queue = queue, .from = from, .entries = entries, .bytes = bytes, .done = on_read};
    assert_int_equal(tf_store_read(&rig->clients[client], &rig->read), TF_OK);
    rig_run(rig);
    assert_int_equal(rig->reads, reads + 1);
}
