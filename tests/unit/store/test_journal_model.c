/*
 * The journal against the model: random groups, upkeep, restarts, power cuts, faults at every call,
 * no memory at every call, and damage anywhere. TF_LONG in the environment makes it fifty times
 * as much.
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

/* A disk, a journal on it and the model of it. */
struct world {
    struct sim_disk sim;
    struct heap heap;
    struct tf_alloc alloc;
    struct tf_journal *journal;
    struct tf_journal_report report;
    struct model model;
    struct tf_random random;
    uint64_t interval; /* of snapshots; where 3 divides it, upkeep copies more */
    uint64_t synced;   /* in 8: groups that are committed, not only written */
};

static unsigned rounds(unsigned count)
{
    return getenv("TF_LONG") ? count * 50 : count;
}

static struct tf_journal_config config_of(struct world *world)
{
    return (struct tf_journal_config){.disk = &world->sim.disk,
                                      .alloc = &world->alloc,
                                      .seed = 12345,
                                      .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                      .snapshot_interval = world->interval,
                                      .compact_percent = world->interval % 3 ? 50 : 85};
}

static enum tf_err world_open(struct world *world)
{
    struct tf_journal_config config = config_of(world);
    uint64_t holder = 0;

    return tf_journal_open(&config, &world->journal, &world->report, &holder);
}

static struct world *world_new(uint64_t seed, uint64_t interval)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    world->alloc = heap_alloc_of(&world->heap);
    world->interval = interval;
    world->synced = 6;
    tf_random_init(&world->random, seed);
    sim_disk_init(&world->sim, seed);
    model_init(&world->model, seed);
    assert_int_equal(world_open(world), TF_OK);
    return world;
}

static void world_close(struct world *world)
{
    tf_journal_close(world->journal);
    world->journal = NULL;
    assert_int_equal(world->heap.used, 0);
    for (size_t i = 0; i < TF_COUNT(world->sim.open); i++)
        assert_null(world->sim.open[i]);
    assert_false(world->sim.locked);
}

static void world_free(struct world *world)
{
    if (world->journal)
        world_close(world);
    sim_disk_release(&world->sim);
    model_release(&world->model);
    free(world);
}

/* Groups, and upkeep between them. Stops when the power goes or the journal breaks. */
static enum tf_err run(struct world *world, unsigned groups)
{
    enum tf_err err = TF_OK;

    for (unsigned i = 0; i < groups; i++) {
        bool sync = tf_random_chance(&world->random, world->synced, 8);
        model_group(&world->model, world->journal);
        if (tf_random_chance(&world->random, 1, 3))
            (void)tf_journal_work(world->journal); /* in the middle of a group */
        err = model_commit(&world->model, world->journal, sync);
        if (err == TF_CLOSED || (err && world->sim.fail_on && world->sim.fail_at))
            return err;
        if (err)
            world->model.next = world->model.states[world->model.known - 1];
        for (uint64_t work = tf_random_below(&world->random, 4); work; work--)
            if (!tf_journal_work(world->journal))
                break;
    }
    return err;
}

/* The power is cut, and comes back. `keep`: how much of what was not synced is there, in 8. */
static void power_cut(struct world *world, unsigned keep)
{
    struct sim_disk after;

    world->sim.fail_at = 1; /* nothing reaches the disk any more */
    world->sim.fail_on = true;
    sim_disk_crash(&world->sim, &after, tf_random_next(&world->random), keep);
    world_close(world);
    sim_disk_release(&world->sim);
    world->sim = after;
}

static void reopen_as_model(struct world *world)
{
    assert_int_equal(world_open(world), TF_OK);
    assert_int_equal(world->report.damaged_groups, 0);
    assert_int_equal(world->report.lost_messages, 0);
    assert_false(world->report.snapshot_damaged);
    assert_true(tf_journal_check(world->journal));
    assert_true(model_recovered(&world->model, world->journal));
}

/* ---- the tests ---- */

static void follows_the_model(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= rounds(2); seed++) {
        struct world *world = world_new(seed, seed % 3 ? 100000 : 1 << 30);
        for (unsigned i = 0; i < 6; i++) {
            for (unsigned part = 0; part < 10; part++) {
                assert_int_equal(run(world, 40), TF_OK);
                assert_true(tf_journal_check(world->journal));
            }
            assert_true(
                model_equals(world->journal, &world->model.states[world->model.known - 1], false));
            world_close(world);
            reopen_as_model(world);
            assert_true(world->report.from_snapshot);
        }
        world_free(world);
    }
}

/* Everything that upkeep can do is done in the end, and space comes back. */
static void upkeep_ends(void **state)
{
    struct world *world = world_new(7, 300000);
    struct tf_journal_stats stats;

    (void)state;
    assert_int_equal(run(world, 3000), TF_OK);
    assert_int_equal(model_commit(&world->model, world->journal, true), TF_OK);
    for (unsigned i = 0; tf_journal_work(world->journal); i++)
        assert_true(i < 100000);
    tf_journal_stats(world->journal, &stats);
    assert_true(stats.segments <= 5);
    assert_true(stats.copied_bytes > 0);
    assert_true(stats.snapshot_bytes > 0);
    assert_true(tf_journal_check(world->journal));
    assert_true(model_equals(world->journal, &world->model.states[0], false));
    world_free(world);
}

static void power_cuts_at_any_call(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= rounds(3); seed++) {
        struct world *world = world_new(seed, 60000);
        for (unsigned cut = 0; cut < 12; cut++) {
            world->sim.fail_on = true;
            world->sim.fail_at = world->sim.calls + 1 + tf_random_below(&world->random, 700);
            for (unsigned i = 0; i < 40 && world->sim.calls < world->sim.fail_at; i++)
                if (run(world, 20))
                    break;
            power_cut(world, (unsigned)tf_random_below(&world->random, 9));
            /* And again, while it starts. */
            if (tf_random_chance(&world->random, 1, 3)) {
                struct sim_disk after;
                world->sim.fail_on = true;
                world->sim.fail_at = 1 + tf_random_below(&world->random, 40);
                if (!world_open(world))
                    world_close(world);
                sim_disk_crash(&world->sim, &after, seed, (unsigned)(cut % 9));
                sim_disk_release(&world->sim);
                world->sim = after;
            }
            reopen_as_model(world);
        }
        world_free(world);
    }
}

/*
 * Without snapshots, so that all of the log is read, with large messages and much copying: what was
 * settled must not come back from a segment that should be gone, whatever was cut short.
 */
static void power_cuts_while_copying(void **state)
{
    uint64_t copied = 0;

    (void)state;
    for (unsigned seed = 1; seed <= rounds(2); seed++) {
        struct world *world = world_new(seed, UINT64_C(3) << 30);
        world->model.message = MODEL_LARGE;
        world->synced = seed % 2 ? 7 : 2;
        for (unsigned cut = 0; cut < 25; cut++) {
            struct tf_journal_stats stats;
            world->sim.fail_on = true;
            world->sim.fail_at = world->sim.calls + 1 + tf_random_below(&world->random, 400);
            (void)run(world, 100);
            tf_journal_stats(world->journal, &stats);
            copied += stats.copied_bytes;
            power_cut(world, (unsigned)tf_random_below(&world->random, 9));
            reopen_as_model(world);
        }
        world_free(world);
    }
    assert_true(copied > 1000000);
}

/* 10,000 states of the disk (fewer in a quick run): many power cuts from each of some moments. */
static void many_states(void **state)
{
    unsigned states = 0;

    (void)state;
    for (unsigned seed = 100; states < rounds(200); seed++) {
        struct world *world = world_new(seed, 40000);
        for (unsigned moment = 0; moment < 5; moment++) {
            (void)run(world, 30);
            model_group(&world->model, world->journal);
            world->sim.fail_on = true;
            world->sim.fail_at = world->sim.calls + 1 + tf_random_below(&world->random, 12);
            (void)run(world, 4);
            struct sim_disk before = world->sim;
            struct tf_journal *journal = world->journal;
            struct model *model = malloc(sizeof(*model));
            assert_non_null(model);
            *model = world->model;
            world->model.body_count = 0;
            for (unsigned i = 0; i < 20; i++, states++) {
                model->body_count = 0;
                sim_disk_crash(&before, &world->sim, seed * 1000 + i, i % 9);
                reopen_as_model(world);
                tf_journal_close(world->journal);
                sim_disk_release(&world->sim);
                world->model = *model;
                world->model.body_count = 0;
            }
            free(model);
            world->sim = before;
            world->journal = journal;
            power_cut(world, 3);
            reopen_as_model(world);
        }
        world_free(world);
    }
}

static void faults_at_any_call(void **state)
{
    (void)state;
    for (unsigned n = 1; n < rounds(70); n++) {
        struct world *world = world_new(n / 7, 30000);
        world->sim.fail_with = n % 2 ? TF_IO : TF_LIMIT;
        world->sim.fail_at = world->sim.calls + n;
        enum tf_err err = TF_OK;
        for (unsigned i = 0; i < 120 && !err; i++) {
            err = run(world, 1);
            if (err && err != TF_CLOSED && n % 2)
                break; /* and the power goes at once, or it goes on */
            err = err == TF_CLOSED ? err : TF_OK;
        }
        assert_true(!err || err == TF_CLOSED || err == TF_IO || err == TF_LIMIT);
        assert_true(tf_journal_check(world->journal));
        world->sim.fail_at = 0;
        if (err == TF_CLOSED) { /* what was acknowledged can still be read */
            assert_int_equal(tf_journal_commit(world->journal), TF_CLOSED);
            assert_true(
                model_equals(world->journal, &world->model.states[world->model.known - 1], false));
        } else if (!err) {
            assert_int_equal(run(world, 20), TF_OK);
        }
        if (n % 3 && !err)
            world_close(world);
        else
            power_cut(world, n % 9);
        world->sim.fail_at = 0;
        reopen_as_model(world);
        world_free(world);
    }
}

static void faults_at_start(void **state)
{
    struct world *world = world_new(3, 50000);
    uint64_t n = 0;
    enum tf_err err;

    (void)state;
    assert_int_equal(run(world, 400), TF_OK);
    power_cut(world, 4);
    do {
        world->sim.fail_on = false;
        world->sim.calls = 0;
        world->sim.fail_at = ++n;
        err = world_open(world);
        assert_true(!err || err == TF_IO);
        assert_int_equal(err ? world->heap.used : 0, 0);
        if (!err && world->sim.calls >= n) {
            /* It was one that can do without. */
            world->sim.fail_at = 0;
            tf_journal_close(world->journal);
            err = TF_IO;
        }
    } while (err);
    world->sim.fail_at = 0;
    assert_true(model_recovered(&world->model, world->journal));
    assert_true(n > 10);
    world_free(world);
}

static void no_memory_anywhere(void **state)
{
    (void)state;
    for (unsigned n = 1; n < rounds(40); n += 1 + n / 60) {
        struct world *world = world_new(n / 9, 30000);
        world->heap.fail_on = n % 4 == 0;
        world->heap.fail_at = world->heap.calls + n;
        (void)run(world, 40);
        world->heap.fail_at = 0;
        assert_true(tf_journal_check(world->journal));
        assert_int_equal(run(world, 10), TF_OK);
        assert_true(
            model_equals(world->journal, &world->model.states[world->model.known - 1], false));
        power_cut(world, 8);
        world->heap.calls = 0;
        world->heap.fail_on = false;
        for (world->heap.fail_at = 1;; world->heap.fail_at += 1 + n / 4) {
            enum tf_err err;
            world->heap.calls = 0;
            err = world_open(world);
            if (!err)
                break;
            assert_int_equal(err, TF_NO_MEMORY);
            assert_int_equal(world->heap.used, 0);
        }
        world->heap.fail_at = 0;
        assert_true(model_recovered(&world->model, world->journal));
        world_free(world);
    }
}

/* ---- damage ---- */

struct names {
    char name[32][48];
    unsigned count;
};

static void add_name(void *ctx, const char *name)
{
    struct names *names = ctx;
    if (names->count < TF_COUNT(names->name))
        strcpy(names->name[names->count++], name);
}

static bool any_aside(struct sim_disk *sim)
{
    struct names names = {.count = 0};

    sim_disk_each(sim, add_name, &names);
    for (unsigned i = 0; i < names.count; i++)
        if (strstr(names.name[i], ".damaged"))
            return true;
    return false;
}

/* All but what one group said is there, and goes on. */
static void served_in_spite(struct world *world, bool cut)
{
    size_t missing, foreign;
    bool found;

    assert_int_equal(world_open(world), TF_OK);
    found =
        world->report.damaged_groups || world->report.torn_bytes || world->report.snapshot_damaged;
    assert_true(tf_journal_check(world->journal));
    model_compare(&world->model, world->journal, &missing, &foreign);
    if (!found && !cut) {
        assert_int_equal(missing, 0);
        assert_int_equal(foreign, 0);
    }
    if (!cut) {
        assert_true(missing <= 60 && foreign <= 400);
        if (found)
            assert_true(any_aside(&world->sim));
    }
    for (unsigned i = 0; i < 200 && tf_journal_work(world->journal); i++)
        ;
    assert_int_equal(tf_journal_commit(world->journal), TF_OK);
    assert_true(tf_journal_check(world->journal));
    tf_journal_close(world->journal);
    assert_int_equal(world_open(world), TF_OK);
    world_close(world);
}

static void damage(bool cut, unsigned seeds)
{
    for (unsigned seed = 1; seed <= seeds; seed++) {
        struct world *world = world_new(seed, seed % 2 ? 150000 : 1 << 30);
        struct names names = {.count = 0};
        struct sim_disk whole;
        struct model *model = malloc(sizeof(*model));

        assert_non_null(model);
        (void)run(world, 300);
        assert_int_equal(model_commit(&world->model, world->journal, true), TF_OK);
        power_cut(world, 0);
        whole = world->sim;
        *model = world->model;
        sim_disk_each(&whole, add_name, &names);
        for (unsigned i = 0; i < 60; i++) {
            const char *name = names.name[tf_random_below(&world->random, names.count)];
            size_t length;
            uint8_t *data;
            whole.fail_at = 0;
            sim_disk_crash(&whole, &world->sim, i, 8);
            data = sim_disk_content(&world->sim, name, &length);
            if (length) {
                size_t at = (size_t)tf_random_below(&world->random, length);
                if (cut)
                    sim_disk_cut(&world->sim, name, at);
                else
                    data[at] ^= (uint8_t)(1u << tf_random_below(&world->random, 8));
            }
            served_in_spite(world, cut);
            sim_disk_release(&world->sim);
            world->model = *model;
            world->model.body_count = 0;
        }
        free(model);
        sim_disk_release(&whole);
        model_release(&world->model);
        free(world);
    }
}

static void a_bit_flips_anywhere(void **state)
{
    (void)state;
    damage(false, rounds(2));
}

static void a_file_is_cut_anywhere(void **state)
{
    (void)state;
    damage(true, rounds(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_model),        cmocka_unit_test(upkeep_ends),
        cmocka_unit_test(faults_at_start),          cmocka_unit_test(power_cuts_at_any_call),
        cmocka_unit_test(power_cuts_while_copying), cmocka_unit_test(many_states),
        cmocka_unit_test(faults_at_any_call),       cmocka_unit_test(no_memory_anywhere),
        cmocka_unit_test(a_bit_flips_anywhere),     cmocka_unit_test(a_file_is_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
