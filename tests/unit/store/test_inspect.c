/*
 * Looking into files: whatever a journal leaves is found whole, a flipped bit anywhere is found,
 * and what a power cut has torn is not taken for damage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "model.h"
#include "sim_disk.h"
#include "store/inspect.h"

struct world {
    struct sim_disk sim;
    struct heap heap;
    struct tf_alloc alloc;
    struct model model;
    struct tf_random random;
    struct tf_journal *journal;
    uint64_t found[TF_INSPECT_ASIDE + 1];
    uint64_t done, total;
};

static struct tf_journal_config config_of(struct world *world)
{
    return (struct tf_journal_config){.disk = &world->sim.disk,
                                      .alloc = &world->alloc,
                                      .seed = 1,
                                      .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                      .snapshot_interval = 400000,
                                      .compact_percent = 50};
}

static void open_journal(struct world *world, struct tf_journal_report *ret_report)
{
    struct tf_journal_config config = config_of(world);
    uint64_t holder;

    assert_int_equal(tf_journal_open(&config, &world->journal, ret_report, &holder), TF_OK);
}

/* A journal with some groups; it is open. */
static struct world *world_new(uint64_t seed, unsigned groups)
{
    struct world *world = calloc(1, sizeof(*world));
    struct tf_journal_report report;

    assert_non_null(world);
    world->alloc = heap_alloc_of(&world->heap);
    tf_random_init(&world->random, seed);
    sim_disk_init(&world->sim, seed);
    model_init(&world->model, seed);
    open_journal(world, &report);
    for (unsigned i = 0; i < groups; i++) {
        model_group(&world->model, world->journal);
        assert_int_equal(model_commit(&world->model, world->journal, seed % 2 || i % 3), TF_OK);
        (void)tf_journal_work(world->journal);
    }
    return world;
}

static void world_free(struct world *world)
{
    tf_journal_close(world->journal);
    assert_int_equal(world->heap.used, 0);
    sim_disk_release(&world->sim);
    model_release(&world->model);
    free(world);
}

static void found(void *ctx, const struct tf_inspect_finding *finding)
{
    struct world *world = ctx;

    assert_true(finding->from <= finding->to);
    world->found[finding->what]++;
}

static void progress(void *ctx, uint64_t done, uint64_t total)
{
    struct world *world = ctx;

    assert_true(done >= world->done && done <= total);
    world->done = done;
    world->total = total;
}

static struct tf_inspection inspect(struct world *world)
{
    const struct tf_inspect_config config = {.disk = &world->sim.disk,
                                             .alloc = &world->alloc,
                                             .found = found,
                                             .progress = progress,
                                             .ctx = world};
    struct tf_inspection inspection;
    uint64_t written = world->sim.written;

    memset(world->found, 0, sizeof(world->found));
    world->done = world->total = 0;
    assert_int_equal(tf_inspect(&config, &inspection), TF_OK);
    assert_int_equal(world->sim.written, written);
    return inspection;
}

static void whole_ones(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *world = world_new(seed, (unsigned)(seed * 10));
        struct tf_inspection open = inspect(world), closed;
        assert_int_equal(open.damaged, 0);
        assert_int_equal(open.torn_bytes, 0);
        tf_journal_close(world->journal);
        world->journal = NULL;
        closed = inspect(world);
        assert_int_equal(closed.damaged, 0);
        assert_int_equal(closed.groups, closed.last - closed.first + 1);
        assert_int_equal(closed.snapshots, 1);
        assert_int_equal(closed.version, TF_JOURNAL_VERSION);
        assert_int_equal(world->done, world->total);
        world_free(world);
    }
}

/* All bytes count but those that nobody has written and those that fill up a sector. */
static void a_bit_anywhere(void **state)
{
    unsigned whole = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        struct world *world = world_new(seed, 60);
        struct tf_journal_report report;
        size_t length;
        uint8_t *content;
        tf_journal_close(world->journal);
        world->journal = NULL;
        content = sim_disk_content(&world->sim, seed % 4 ? "0000000001.log" : "0000000001.index",
                                   &length);
        if (!content) {
            world_free(world);
            continue;
        }
        content[tf_random_below(&world->random, length)] ^=
            (uint8_t)(1u << tf_random_below(&world->random, 8));
        struct tf_inspection inspection = inspect(world);
        bool silent = !inspection.damaged && !inspection.torn_bytes;
        open_journal(world, &report);
        whole += silent;
        /* Whatever a start stumbles over was found. */
        if (report.damaged_groups || report.snapshot_damaged || report.torn_bytes)
            assert_false(silent);
        world_free(world);
    }
    assert_true(whole < 60);
}

/* What was synced is never called torn, and what was not is never called damaged. */
static void a_power_cut(void **state)
{
    uint64_t torn = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world *world = world_new(seed * 2, 40);
        struct sim_disk after;
        struct tf_journal_report report;
        uint64_t aside = 0;
        world->sim.fail_at = world->sim.calls + 1;
        world->sim.fail_on = true;
        sim_disk_crash(&world->sim, &after, seed, (unsigned)(seed % 9));
        tf_journal_close(world->journal);
        sim_disk_release(&world->sim);
        world->sim = after;
        struct tf_inspection inspection = inspect(world);
        assert_int_equal(inspection.damaged, 0);
        torn += inspection.torn_bytes != 0;
        open_journal(world, &report);
        assert_int_equal(report.torn_bytes != 0, inspection.torn_bytes != 0);
        aside = inspect(world).aside;
        assert_int_equal(aside != 0, inspection.torn_bytes != 0);
        world_free(world);
    }
    assert_true(torn > 0);
}

static void a_head(void **state)
{
    struct world *world = world_new(3, 5);
    size_t length;
    uint8_t *content = sim_disk_content(&world->sim, "0000000001.log", &length);

    (void)state;
    content[11] = 2;
    assert_int_equal(inspect(world).damaged, 1);
    assert_int_equal(world->found[TF_INSPECT_HEAD], 1);
    /* The same, with the sum that goes with it: of a newer version. */
    uint8_t sum[4];
    memcpy(sum, content + 44, 4);
    struct tf_writer writer = tf_writer_of(content + 44, 4);
    tf_write_u32(&writer, tf_crc32c(0, content, 44));
    assert_true(inspect(world).version == 2 && world->found[TF_INSPECT_VERSION] == 1);
    memcpy(content + 44, sum, 4);
    content[11] = 1;
    assert_int_equal(inspect(world).damaged, 0);
    world_free(world);
}

static void faults(void **state)
{
    bool failed = true;

    (void)state;
    for (uint64_t at = 1; failed; at++) {
        for (unsigned what = 0; what < 2; what++) {
            struct world *world = world_new(3, 20);
            struct tf_inspection inspection;
            const struct tf_inspect_config config = {.disk = &world->sim.disk,
                                                     .alloc = &world->alloc,
                                                     .found = found,
                                                     .progress = progress,
                                                     .ctx = world};
            enum tf_err err;
            if (what)
                world->heap.fail_at = world->heap.calls + at;
            else
                world->sim.fail_at = world->sim.calls + at;
            err = tf_inspect(&config, &inspection);
            if (!what)
                failed = err != TF_OK;
            if (err)
                assert_int_equal(err, what ? TF_NO_MEMORY : TF_IO);
            world->heap.fail_at = world->sim.fail_at = 0;
            world_free(world);
        }
    }
}

static void names_of_files(void **state)
{
    static const struct {
        const char *name;
        enum tf_inspect_file file;
    } names[] = {{"0000000001.log", TF_INSPECT_LOG},
                 {"0000000007.index", TF_INSPECT_INDEX},
                 {"0000000007.index.new", TF_INSPECT_INDEX},
                 {"0000000000.log", TF_INSPECT_FOREIGN},
                 {"000000001.log", TF_INSPECT_FOREIGN},
                 {"00000000001.log", TF_INSPECT_FOREIGN},
                 {"0000000001.log.damaged", TF_INSPECT_FOREIGN},
                 {"0000000001.damaged", TF_INSPECT_FOREIGN},
                 {"lock", TF_INSPECT_FOREIGN},
                 {"", TF_INSPECT_FOREIGN}};

    (void)state;
    for (size_t i = 0; i < TF_COUNT(names); i++)
        assert_int_equal(tf_inspect_file_of(names[i].name), names[i].file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_files), cmocka_unit_test(whole_ones),
        cmocka_unit_test(a_bit_anywhere), cmocka_unit_test(a_power_cut),
        cmocka_unit_test(a_head),         cmocka_unit_test(faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
