/*
 * Copies of a journal that is written all the while: between any two calls that the copy makes to
 * the disk there may be groups, upkeep, failed writes, segments that come and go. What is copied
 * must be a state that there was since the copy was begun.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "model.h"
#include "sim_disk.h"
#include "store/backup.h"

#define STATES 1200u

/* A journal, its model, a disk that the copy sees it by, and all states since the copy began. */
struct world {
    struct sim_disk sim, copy;
    struct tf_disk spy;
    struct heap heap;
    struct tf_alloc alloc;
    struct tf_journal *journal;
    struct model model;
    struct tf_random random;
    struct model_state *states;
    size_t count;
    uint64_t interval;
    unsigned busy, chance; /* between two calls: in 64, how often something happens */
    bool faults, inside, broken;
    struct tf_journal_report report;
};

static struct tf_journal_config config_of(struct world *world, struct tf_disk *disk)
{
    return (struct tf_journal_config){.disk = disk,
                                      .alloc = &world->alloc,
                                      .seed = 12345,
                                      .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                      .snapshot_interval = world->interval,
                                      .compact_percent = world->interval % 3 ? 50 : 85};
}

static void remember(struct world *world)
{
    assert_true(world->count < STATES);
    world->states[world->count++] = world->model.next;
}

/* A group, and upkeep. */
static void live(struct world *world)
{
    bool sync = tf_random_chance(&world->random, 6, 8);
    enum tf_err err;

    if (world->broken)
        return;
    model_group(&world->model, world->journal);
    if (world->faults && tf_random_chance(&world->random, 1, 6))
        world->sim.fail_at = world->sim.calls + 1; /* a write, mostly */
    err = model_commit(&world->model, world->journal, sync);
    world->sim.fail_at = 0;
    remember(
        world); /* of a failed one too: it can be seen before something else is written there */
    if (err == TF_CLOSED)
        world->broken = true;
    else if (err)
        world->model.next = world->model.states[world->model.known - 1];
    for (uint64_t work = tf_random_below(&world->random, 6); work && !world->broken; work--)
        if (!tf_journal_work(world->journal))
            break;
}

/* ---- the disk in between ---- */

static struct world *world_of(struct tf_disk *spy)
{
    return tf_container_of(spy, struct world, spy);
}

static struct tf_disk *between(struct tf_disk *spy)
{
    struct world *world = world_of(spy);

    if (!world->inside && tf_random_chance(&world->random, world->chance, 64)) {
        world->inside = true;
        for (uint64_t n = 1 + tf_random_below(&world->random, world->busy); n; n--)
            if (world->count < STATES - 200)
                live(world);
        world->inside = false;
    }
    return &world->sim.disk;
}

static enum tf_err spy_open(struct tf_disk *disk, const char *name, enum tf_disk_open how, int *ret)
{
    struct tf_disk *at = between(disk);

    assert_int_equal(how, TF_DISK_READ);
    return at->ops->open(at, name, how, ret);
}

static void spy_close(struct tf_disk *disk, int file)
{
    struct tf_disk *at = between(disk);

    at->ops->close(at, file);
}

static enum tf_err spy_read(struct tf_disk *disk, int file, uint64_t offset, void *to,
                            size_t length, size_t *ret_length)
{
    struct tf_disk *at = between(disk);
    size_t half = tf_random_chance(&world_of(disk)->random, 1, 4) ? length / 2 : 0, first = 0;
    enum tf_err err = TF_OK;

    /* Reads are not of one moment either. */
    if (half) {
        err = at->ops->read(at, file, offset, to, half, &first);
        if (err || first < half) {
            *ret_length = first;
            return err;
        }
        (void)between(disk);
    }
    err = at->ops->read(at, file, offset + half, (uint8_t *)to + half, length - half, ret_length);
    *ret_length += half;
    return err;
}

static enum tf_err spy_size(struct tf_disk *disk, int file, uint64_t *ret_length)
{
    struct tf_disk *at = between(disk);

    return at->ops->size(at, file, ret_length);
}

static enum tf_err spy_list(struct tf_disk *disk, void (*each)(void *ctx, const char *name),
                            void *ctx)
{
    struct tf_disk *at = between(disk);

    return at->ops->list(at, each, ctx);
}

/* Whatever else the copy would do to the original: it has no business there. */
static const struct tf_disk_ops spy_ops = {
    .open = spy_open, .close = spy_close, .read = spy_read, .size = spy_size, .list = spy_list};

/* ---- the world ---- */

static struct world *world_new(uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    struct tf_journal_config config;
    uint64_t holder;

    assert_non_null(world);
    world->states = calloc(STATES, sizeof(*world->states));
    assert_non_null(world->states);
    world->alloc = heap_alloc_of(&world->heap);
    world->spy.ops = &spy_ops;
    world->interval = seed % 2 ? 300000 : 3000000;
    world->busy = 3;
    tf_random_init(&world->random, seed);
    sim_disk_init(&world->sim, seed);
    sim_disk_init(&world->copy, seed);
    model_init(&world->model, seed);
    if (seed % 3 == 0)
        world->model.message = MODEL_LARGE;
    config = config_of(world, &world->sim.disk);
    assert_int_equal(tf_journal_open(&config, &world->journal, &world->report, &holder), TF_OK);
    return world;
}

static void world_free(struct world *world)
{
    tf_journal_close(world->journal);
    assert_int_equal(world->heap.used, 0);
    for (size_t i = 0; i < TF_COUNT(world->sim.open); i++)
        assert_null(world->sim.open[i]);
    for (size_t i = 0; i < TF_COUNT(world->copy.open); i++)
        assert_null(world->copy.open[i]);
    sim_disk_release(&world->sim);
    sim_disk_release(&world->copy);
    model_release(&world->model);
    free(world->states);
    free(world);
}

static struct tf_backup_stats copy_all(struct world *world)
{
    struct tf_backup *backup;
    struct tf_backup_stats stats;
    enum tf_err err;

    assert_int_equal(tf_backup_new(&world->spy, &world->copy.disk, &world->alloc, &backup), TF_OK);
    while ((err = tf_backup_step(backup)) == TF_AGAIN)
        if (world->count >= STATES - 200)
            world->chance = 0; /* it must end some time */
    assert_int_equal(err, TF_OK);
    tf_backup_stats(backup, &stats);
    tf_backup_free(backup);
    return stats;
}

/* The copy after a power cut that comes as soon as it is said to be whole: a state that was. */
static bool is_a_state(struct world *world)
{
    struct sim_disk after;
    struct tf_journal *journal;
    struct tf_journal_report report;
    struct tf_journal_config config;
    uint64_t holder;
    bool found = false;

    sim_disk_crash(&world->copy, &after, 7, 0);
    config = config_of(world, &after.disk);
    assert_int_equal(tf_journal_open(&config, &journal, &report, &holder), TF_OK);
    assert_int_equal(report.damaged_groups, 0);
    assert_int_equal(report.torn_bytes, 0);
    assert_int_equal(report.lost_messages, 0);
    for (size_t i = world->count; i-- > 0 && !found;)
        found = model_equals(journal, &world->states[i], false);
    tf_journal_close(journal);
    sim_disk_release(&after);
    return found;
}

/* ---- the tests ---- */

static void a_resting_one(void **state)
{
    struct world *world = world_new(1);

    (void)state;
    for (unsigned i = 0; i < 300; i++)
        live(world);
    world->count = 0;
    remember(world);
    struct tf_backup_stats stats = copy_all(world);
    assert_int_equal(stats.damaged, 0);
    assert_int_equal(stats.vanished, 0);
    assert_true(stats.segments > 1);
    assert_true(is_a_state(world));
    world_free(world);
}

static void an_empty_one(void **state)
{
    struct world *world = world_new(1);

    (void)state;
    remember(world);
    assert_int_equal(copy_all(world).groups, 0);
    assert_true(is_a_state(world));
    world_free(world);
}

static void nothing_there(void **state)
{
    struct world *world = world_new(1);
    struct sim_disk empty;
    struct tf_backup *backup;

    (void)state;
    sim_disk_init(&empty, 1);
    assert_int_equal(tf_backup_new(&empty.disk, &world->copy.disk, &world->alloc, &backup), TF_OK);
    assert_int_equal(tf_backup_step(backup), TF_NOT_FOUND);
    tf_backup_free(backup);
    sim_disk_release(&empty);
    world_free(world);
}

static void busy_ones(bool faults)
{
    uint64_t vanished = 0, seeds = getenv("TF_LONG") ? 2000 : 30;

    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct world *world = world_new(seed);
        for (uint64_t i = tf_random_below(&world->random, 300); i; i--)
            live(world);
        world->count = 0;
        remember(world);
        world->faults = faults;
        world->chance = 1 + (unsigned)tf_random_below(&world->random, seed % 2 ? 48 : 2);
        world->busy = seed % 2 ? 3 : 250; /* seldom, then so much that segments go meanwhile */
        struct tf_backup_stats stats = copy_all(world);
        vanished += stats.vanished;
        if (stats.damaged || !is_a_state(world))
            fail_msg("seed %u: the copy is no state that there was (%u damaged)", (unsigned)seed,
                     (unsigned)stats.damaged);
        world_free(world);
    }
    assert_true(vanished > 0);
}

static void while_it_is_written(void **state)
{
    (void)state;
    busy_ones(false);
}

static void while_writes_fail(void **state)
{
    (void)state;
    busy_ones(true);
}

/* Each call to the disk of the copy fails in turn, and each allocation: it says so, all is given
 * back. */
static void faults(void **state)
{
    (void)state;
    for (unsigned what = 0; what < 2; what++) {
        bool failed = true;
        for (uint64_t at = 1; failed; at += 1 + at / 8) {
            struct world *world = world_new(4);
            struct tf_backup *backup = NULL;
            enum tf_err err;
            for (unsigned i = 0; i < 40; i++)
                live(world);
            if (what)
                world->heap.fail_at = world->heap.calls + at;
            else
                world->copy.fail_at = at;
            err = tf_backup_new(&world->spy, &world->copy.disk, &world->alloc, &backup);
            while (!err || err == TF_AGAIN) {
                err = tf_backup_step(backup);
                if (!err)
                    break;
            }
            failed = err != TF_OK;
            if (failed)
                assert_int_equal(err, what ? TF_NO_MEMORY : TF_IO);
            tf_backup_free(backup);
            world->heap.fail_at = 0;
            world_free(world);
        }
    }
}

static void first_name(void *ctx, const char *name)
{
    char *best = ctx;

    if (strlen(name) == 14 && (!*best || strcmp(name, best) < 0))
        strcpy(best, name);
}

/* A flipped bit in a settled-down segment, and in the last: all else is in the copy. */
static void damage_is_copied(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *world = world_new(seed);
        struct tf_journal *journal;
        struct tf_journal_report original, copied;
        struct tf_journal_config config;
        struct sim_disk damaged;
        char name[32] = "";
        uint64_t holder;
        size_t length;

        for (unsigned i = 0; i < 150; i++)
            live(world);
        sim_disk_each(&world->sim, first_name, name);
        uint8_t *content = sim_disk_content(&world->sim, name, &length);
        assert_true(length > 2048);
        content[600 + tf_random_below(&world->random, length - 1100)] ^= 0x10;
        assert_true(copy_all(world).segments > 0);
        sim_disk_crash(&world->sim, &damaged, 1, 8);
        config = config_of(world, &damaged.disk);
        assert_int_equal(tf_journal_open(&config, &journal, &original, &holder), TF_OK);
        tf_journal_close(journal);
        config = config_of(world, &world->copy.disk);
        assert_int_equal(tf_journal_open(&config, &journal, &copied, &holder), TF_OK);
        tf_journal_close(journal);
        if (!original.from_snapshot) {
            assert_int_equal(copied.entries, original.entries);
            assert_int_equal(copied.objects, original.objects);
            assert_int_equal(copied.damaged_groups, original.damaged_groups);
        }
        sim_disk_release(&damaged);
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resting_one),     cmocka_unit_test(an_empty_one),
        cmocka_unit_test(nothing_there),     cmocka_unit_test(while_it_is_written),
        cmocka_unit_test(while_writes_fail), cmocka_unit_test(faults),
        cmocka_unit_test(damage_is_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
