/*
 * Shards with a store. See store_rig.h.
 */
#include "unit/route/store_rig.h"

#include <stdio.h>

#include "base/util.h"
#include "route/named_internal.h"

static void wake_shard(void *ctx, unsigned shard)
{
    struct store_rig *k = ctx;
    k->rig.wakes[shard]++;
}

static void wake_store(void *ctx)
{
    struct store_rig *k = ctx;
    k->woken++;
}

static void changed(void *ctx, enum tf_store_state state, enum tf_err err, int error)
{
    (void)ctx;
    (void)state;
    (void)err;
    (void)error;
}

static bool turn(struct rig *rig)
{
    struct store_rig *k = (struct store_rig *)rig;
    tf_time until = TF_TIME_NEVER;
    for (unsigned i = 0; i < rig->count; i++) {
        tf_shard_submit(&rig->shards[i]);
    }
    if (k->stalled || !k->woken) {
        return false;
    }
    k->woken = 0;
    while (tf_store_turn(k->store, rig->now, &until)) {
    }
    return true;
}

static void open_store(struct store_rig *k, unsigned count)
{
    struct tf_journal_report report;
    uint64_t holder;
    struct tf_store_config config = {.journal = {.disk = &k->disk.disk,
                                                 .alloc = &k->memory.alloc,
                                                 .seed = 7,
                                                 .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                                 .snapshot_interval = 1 << 20,
                                                 .compact_percent = 50},
                                     .shards = count,
                                     .alloc = &k->memory.alloc,
                                     .hold = tf_stored_hold,
                                     .let_go = tf_stored_let_go,
                                     .wake_shard = wake_shard,
                                     .wake_store = wake_store,
                                     .changed = changed,
                                     .ctx = k};
    enum tf_err err = tf_store_new(&config, &k->store, &report, &holder);
    tf_assert(err == TF_OK);
    for (unsigned i = 0; i < count; i++) {
        err = tf_store_client_init(&k->clients[i], k->store, i);
        tf_assert(err == TF_OK);
    }
}

/* ---- what a broker does at its start ---- */

struct kept_queue {
    uint64_t id;
    struct tf_queue *queue;
};

#define QUEUES_MAX 64u

static struct tf_queue *find(const struct kept_queue *queues, unsigned count, uint64_t id)
{
    for (unsigned i = 0; i < count; i++) {
        if (queues[i].id == id) {
            return queues[i].queue;
        }
    }
    return NULL;
}

static unsigned restore_queues(struct store_rig *k, struct kept_queue *queues)
{
    struct tf_journal_cursor cursor = {0};
    struct tf_journal_object object;
    unsigned count = 0;
    while (tf_journal_next_object(tf_store_journal(k->store), &cursor, &object)) {
        struct tf_stored_object stored = {
            .kind = object.kind, .key = object.key, .value = object.value};
        if (object.kind == TF_STORED_QUEUE) {
            unsigned home = tf_shard_home(&k->rig.shards[0], object.key);
            tf_assert(count < QUEUES_MAX);
            enum tf_err err = tf_named_restore(&k->rig.shards[home], &stored, &queues[count].queue);
            tf_assert(err == TF_OK);
            queues[count].id = queues[count].queue->kept->id;
            count++;
        }
    }
    return count;
}

static void restore_bindings(struct store_rig *k, const struct kept_queue *queues, unsigned count)
{
    struct tf_journal_cursor cursor = {0};
    struct tf_journal_object object;
    while (tf_journal_next_object(tf_store_journal(k->store), &cursor, &object)) {
        if (object.kind == TF_STORED_BINDING) {
            struct tf_reader reader = tf_reader_of(object.key);
            struct tf_binding_options options;
            uint64_t id = tf_read_u64(&reader);
            struct tf_queue *queue = find(queues, count, id);
            enum tf_err err = tf_stored_binding_read(object.value, &options);
            tf_assert(err == TF_OK && queue);
            err = tf_named_restore_binding(
                queue, tf_bytes_of(object.key.data + 8, object.key.length - 8), &options);
            tf_assert(err == TF_OK);
        }
    }
}

static void restore_entries(struct store_rig *k, const struct kept_queue *queues, unsigned count)
{
    struct tf_journal_cursor cursor = {0};
    struct tf_journal_place place;
    struct {
        uint32_t count;
        uint64_t bytes, first;
    } sums[QUEUES_MAX] = {{0}};
    while (tf_journal_next_entry(tf_store_journal(k->store), &cursor, &place)) {
        struct tf_stored_entry stored;
        enum tf_err err = tf_stored_entry_read(place.attributes, &stored);
        unsigned i = 0;
        while (i < count && queues[i].id != place.queue) {
            i++;
        }
        tf_assert(err == TF_OK);
        if (i == count) {
            continue; /* of a queue that the test itself gives back */
        }
        if (sums[i].count++ == 0) {
            sums[i].first = place.position;
        }
        sums[i].bytes += stored.charge;
    }
    for (unsigned i = 0; i < count; i++) {
        tf_queue_restore(queues[i].queue, sums[i].count, sums[i].bytes, sums[i].first);
    }
}

static void open_shards(struct store_rig *k, unsigned count, tf_time now)
{
    struct kept_queue queues[QUEUES_MAX];
    rig_start(&k->rig, count, 64);
    open_store(k, count);
    k->rig.now = now;
    k->rig.turn = turn;
    for (unsigned i = 0; i < count; i++) {
        k->rig.shards[i].config.store = &k->clients[i];
        tf_shard_time(&k->rig.shards[i], now);
        tf_shard_wall(&k->rig.shards[i], STORE_RIG_WALL + now);
    }
    unsigned found = restore_queues(k, queues);
    restore_bindings(k, queues, found);
    restore_entries(k, queues, found);
    k->stalled = false;
    rig_settle(&k->rig);
    rig_check(&k->rig);
}

void store_rig_start(struct store_rig *k, unsigned count)
{
    memset(k, 0, sizeof(*k));
    sim_disk_init(&k->disk, 1);
    test_alloc_init(&k->memory);
    open_shards(k, count, 1000 * TF_SECOND);
}

void store_rig_end(struct store_rig *k)
{
    struct rig *rig = &k->rig;
    for (unsigned i = 0; i < rig->count; i++) {
        tf_shard_release(&rig->shards[i]);
    }
    for (unsigned i = 0; i < rig->count; i++) {
        tf_store_client_release(&k->clients[i]);
    }
    tf_store_free(k->store);
    tf_post_office_free(rig->office);
    tf_assert(rig->memory.blocks == 0 && rig->memory.bytes == 0);
    tf_assert(k->memory.blocks == 0 && k->memory.bytes == 0);
}

void store_rig_again(struct store_rig *k, unsigned count, tf_time now)
{
    open_shards(k, count, now);
}

void store_rig_restart(struct store_rig *k)
{
    unsigned count = k->rig.count;
    tf_time now = k->rig.now;
    rig_settle(&k->rig);
    rig_check(&k->rig);
    store_rig_end(k);
    store_rig_again(k, count, now);
}

void store_rig_crash(struct store_rig *k)
{
    unsigned count = k->rig.count;
    tf_time now = k->rig.now;
    struct sim_disk after;
    sim_disk_crash(&k->disk, &after, 1, 0);
    store_rig_end(k);
    sim_disk_release(&k->disk);
    k->disk = after;
    store_rig_again(k, count, now);
}

void store_rig_stop(struct store_rig *k)
{
    store_rig_end(k);
    sim_disk_release(&k->disk);
}

void store_rig_resume(struct store_rig *k)
{
    k->stalled = false;
    k->woken++;
    rig_settle(&k->rig);
    rig_check(&k->rig);
}

struct tf_journal_stats store_rig_stats(struct store_rig *k)
{
    struct tf_journal_stats stats;
    rig_settle(&k->rig);
    k->woken++;
    (void)turn(&k->rig);
    tf_store_stats(k->store, &stats);
    return stats;
}

/* ---- kept queues ---- */

struct tf_queue_spec kept_spec(void)
{
    struct tf_queue_spec spec = named_spec();
    spec.limits = (struct tf_queue_limits){10000, 64 << 20, TF_OVERFLOW_REFUSE};
    spec.durability = TF_STORE_DISK;
    return spec;
}

enum tf_err kept_declare(struct store_rig *k, const char *name, const struct tf_queue_spec *spec,
                         const char *filter)
{
    struct tf_queue_command command = {.type = TF_QUEUE_DECLARE,
                                       .name = tf_bytes_str(name),
                                       .spec = spec,
                                       .filter = tf_bytes_str(filter ? filter : "")};
    return named_command(&k->rig, 0, &command, NULL);
}

void kept_make(struct store_rig *k, const char *name)
{
    struct tf_queue_spec spec = kept_spec();
    enum tf_err err = kept_declare(k, name, &spec, NULL);
    tf_assert(err == TF_OK);
}

void kept_put(struct store_rig *k, const char *name, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++) {
        char body[16];
        snprintf(body, sizeof(body), "%u", i);
        struct tf_published result = named_put(&k->rig, 0, name, body);
        tf_assert(result.taken == 1);
    }
    rig_settle(&k->rig); /* and it is on disk */
}

void kept_eat(struct store_rig *k, struct eater *eater, unsigned shard, const char *name,
              uint32_t credit)
{
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(name)};
    memset(eater, 0, sizeof(*eater));
    eater->shard = &k->rig.shards[shard];
    enum tf_err err = eater_attach(eater, &k->rig, &declaration);
    tf_assert(err == TF_OK);
    tf_named_credit(&eater->consumer, credit);
    rig_settle(&k->rig);
    rig_check(&k->rig);
}

bool kept_row(const struct eater *eater, size_t at, unsigned from, unsigned count)
{
    if (eater->count != at + count) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        char body[16];
        snprintf(body, sizeof(body), "%u", from + i);
        if (strcmp(eater->eaten[at + i].body, body) != 0) {
            return false;
        }
    }
    return true;
}

void kept_detach(struct store_rig *k, struct eater *eater)
{
    tf_named_detach(&eater->consumer, false);
    rig_settle(&k->rig);
    rig_check(&k->rig);
}

uint32_t kept_in_memory(struct store_rig *k, const char *name)
{
    unsigned home = tf_shard_home(&k->rig.shards[0], tf_bytes_str(name));
    const struct tf_named_queue *named =
        tf_named_queue_find(&k->rig.shards[home], tf_bytes_str(name));
    return named->queue.count - tf_named_tail(named);
}

uint64_t kept_objects(struct store_rig *k)
{
    return store_rig_stats(k).objects - 1;
}

void kept_wander(struct store_rig *k, uint64_t seed, unsigned steps)
{
    struct tf_random random;
    tf_random_init(&random, seed);
    for (unsigned i = 0; i < steps; i++) {
        struct tf_shard *shard = &k->rig.shards[tf_random_below(&random, k->rig.count)];
        tf_time until;
        switch (tf_random_below(&random, 3)) {
        case 0:
            tf_shard_receive(shard);
            break;
        case 1:
            tf_shard_submit(shard);
            (void)tf_shard_flush(shard);
            break;
        default:
            while (tf_store_turn(k->store, k->rig.now, &until)) {
            }
        }
    }
}
