/*
 * The store when things fail: writes, syncs, a full disk, no memory on either side.
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
#include "store_rig.h"

static struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig_init(rig, RIG_CLIENTS);
    assert_int_equal(rig_open(rig), TF_OK);
    return rig;
}

static void rig_free(struct rig *rig)
{
    rig_release(rig);
    free(rig);
}

/* What the load has recorded, and must be there. */
struct load {
    uint64_t entries[RIG_CLIENTS];
    unsigned refused;
};

/* Some turns of all clients; those records that are refused are left out. */
static void load_run(struct rig *rig, struct load *load, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        uint64_t transaction = tf_store_transaction(&rig->clients[0]);
        for (unsigned c = 0; c < rig->count; c++) {
            struct tf_store_client *client = &rig->clients[c];
            uint64_t queue = c + 1, position = load->entries[c] + 1;
            for (unsigned j = 0; j < 3; j++, position++) {
                if (rig_entry(rig, c, TF_STORE_DISK, queue, position, position, 20000))
                    load->entries[c] = position;
                else
                    load->refused++;
            }
            tf_store_join(client, transaction, c ? 0 : rig->count);
            tf_store_change(client, TF_STORE_DISK, queue, load->entries[c],
                            tf_bytes_str("changed"));
            if (load->entries[c] > 8)
                tf_store_settle(client, TF_STORE_DISK, queue, 1, load->entries[c] - 8);
            tf_store_submit(client);
        }
        (void)tf_store_turn(rig->store, rig->now, &rig->until);
        for (unsigned c = 0; c < rig->count; c++)
            (void)tf_store_receive(&rig->clients[c]);
        rig->now += 10 * TF_MILLISECOND;
    }
}

/* Everything that was recorded is done, and there. */
static void load_check(struct rig *rig, const struct load *load)
{
    assert_true(tf_store_idle(rig->store));
    assert_int_equal(tf_store_state(&rig->clients[0]), TF_STORE_READY);
    for (unsigned c = 0; c < rig->count; c++) {
        uint64_t count = TF_MIN(load->entries[c], 8);
        assert_int_equal(tf_store_current(&rig->clients[c]), 0);
        assert_int_equal(rig->clients[c].outstanding, 0);
        rig_read(rig, c, c + 1, 0, 100, 1000000);
        assert_int_equal(rig->read_err, TF_OK);
        assert_int_equal(rig->items, count);
        for (size_t i = 0; i < rig->items; i++)
            assert_int_equal(rig->numbers[i], load->entries[c] - count + 1 + i);
    }
}

static void wait_and_run(struct rig *rig)
{
    for (unsigned i = 0; i < 5; i++) {
        rig->now += 150 * TF_MILLISECOND;
        rig_run(rig);
    }
}

/* Nothing is done from now on, reads are served, nothing is held, nothing takes memory. */
static void check_broken(struct rig *rig)
{
    struct tf_store_client *client = &rig->clients[0];
    uint64_t done = client->done, number;
    size_t used;

    assert_int_equal(tf_store_state(client), TF_STORE_BROKEN);
    assert_int_equal(rig->state, TF_STORE_BROKEN);
    assert_int_equal(tf_store_reserve(client, 10), TF_CLOSED);
    tf_store_settle(client, TF_STORE_DISK, 1, 1, 1);
    number = tf_store_current(client);
    assert_true(number > done);
    rig_run(rig);
    used = rig->heap.used;
    for (unsigned i = 0; i < 1000; i++) {
        tf_store_settle(client, TF_STORE_DISK, 1, i * 2, i * 2);
        assert_true(tf_store_current(client) > done);
        tf_store_submit(client);
        rig->now += TF_SECOND;
        (void)tf_store_turn(rig->store, rig->now, &rig->until);
        (void)tf_store_receive(client);
    }
    assert_true(rig->heap.used <= used);
    assert_int_equal(client->done, done);
    assert_false(tf_store_done(client, number));
    assert_int_equal(client->outstanding, 0);
    assert_true(tf_store_idle(rig->store));
    assert_int_equal(atomic_load(&rig->owners), 0);
    rig_read(rig, 1, 2, 0, 100, 100000);
    assert_int_equal(rig->read_err, TF_OK);
}

/* ---- the disk ---- */

/* One call fails, each in turn: a sync breaks the store, anything else is made good. */
static void each_call_fails_once(void **state)
{
    unsigned broken = 0, fine = 0;

    (void)state;
    for (uint64_t at = 1;; at++) {
        struct rig *rig = rig_new();
        struct load load = {{0}, 0};
        uint64_t calls = rig->sim.calls;
        load_run(rig, &load, 2);
        rig->sim.fail_at = calls + at;
        rig->sim.fail_with = at % 2 ? TF_IO : TF_LIMIT;
        load_run(rig, &load, 12);
        bool failed = rig->sim.calls >= rig->sim.fail_at;
        rig->sim.fail_at = 0;
        wait_and_run(rig);
        load_run(rig, &load, 3);
        wait_and_run(rig);
        if (tf_store_state(&rig->clients[0]) == TF_STORE_BROKEN) {
            assert_int_equal(rig->err, TF_CLOSED);
            check_broken(rig);
            broken++;
        } else {
            load_check(rig, &load);
            fine++;
        }
        rig_free(rig);
        if (!failed)
            break;
    }
    assert_true(broken > 5 && fine > 5);
}

/* Nothing can be written for a while: what was submitted waits, nothing new is taken. */
static void writes_fail_for_a_while(void **state)
{
    struct rig *rig = rig_new();
    struct load load = {{0}, 0};
    uint64_t done, number;

    (void)state;
    load_run(rig, &load, 3);
    wait_and_run(rig);
    done = rig->clients[1].done;
    rig->sim.fail_at = rig->sim.calls + 1; /* a write comes first, and nothing is synced then */
    rig->sim.fail_on = true;
    rig->sim.fail_with = TF_IO;
    load_run(rig, &load, 1);
    number = tf_store_current(&rig->clients[1]);
    assert_int_equal(rig->state, TF_STORE_FULL);
    assert_int_equal(rig->err, TF_IO);
    assert_int_equal(rig->error, 5);
    assert_int_equal(rig->until, rig->now - 10 * TF_MILLISECOND + 100 * TF_MILLISECOND);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(tf_store_reserve(&rig->clients[2], 10), TF_LIMIT);
        tf_store_settle(&rig->clients[1], TF_STORE_DISK, 2, 1, 1);
        rig_run(rig);
        rig->now += 30 * TF_MILLISECOND;
    }
    assert_int_equal(rig->clients[1].done, done);
    assert_int_equal(rig->changes, 1);
    assert_false(tf_store_congested(&rig->clients[1]));
    rig->sim.fail_at = 0;
    rig->now = rig->until;
    rig_run(rig);
    assert_true(tf_store_done(&rig->clients[1], number));
    assert_int_equal(rig->changes, 2);
    assert_int_equal(tf_store_reserve(&rig->clients[2], 10), TF_OK);
    load_check(rig, &load);
    rig_free(rig);
}

/* What cannot be refused does not pile up without end meanwhile. */
static void a_full_store_is_overrun_at_last(void **state)
{
    struct rig *rig = rig_new();
    struct tf_store_client *client = &rig->clients[0];
    uint8_t *key = calloc(1, TF_JOURNAL_KEY_MAX);
    unsigned i;

    (void)state;
    assert_non_null(key);
    wait_and_run(rig);
    rig->sim.fail_at = rig->sim.calls + 1;
    rig->sim.fail_on = true;
    rig->sim.fail_with = TF_IO;
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 1000, 1000, 100));
    rig_run(rig);
    assert_int_equal(rig->state, TF_STORE_FULL);
    for (i = 0; i < 6000 && !tf_store_overrun(client); i++) {
        tf_store_remove(client, TF_STORE_DISK, 3, tf_bytes_of(key, TF_JOURNAL_KEY_MAX));
        tf_store_submit(client);
    }
    assert_in_range(i, 2000, 5000);
    assert_true(tf_store_overrun(&rig->clients[1]));
    rig->sim.fail_at = 0;
    for (i = 0; i < 10; i++) {
        rig_run(rig);
        rig->now = TF_MAX(rig->now, rig->until == TF_TIME_NEVER ? rig->now : rig->until);
    }
    assert_int_equal(rig->state, TF_STORE_READY);
    assert_false(tf_store_overrun(&rig->clients[1]));
    free(key);
    rig_free(rig);
}

static void a_failed_sync_is_for_ever(void **state)
{
    struct rig *rig = rig_new();
    struct load load = {{0}, 0};
    uint64_t number;

    (void)state;
    load_run(rig, &load, 3);
    wait_and_run(rig);
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 1000, 1000, 100));
    number = tf_store_current(&rig->clients[0]);
    tf_store_submit(&rig->clients[0]);
    rig->sim.fail_at = rig->sim.calls + 2; /* its write, its sync */
    rig->sim.fail_with = TF_IO;
    rig_run(rig);
    assert_false(tf_store_done(&rig->clients[0], number));
    assert_int_equal(rig->until, TF_TIME_NEVER);
    check_broken(rig);
    assert_false(tf_store_done(&rig->clients[0], number));
    assert_int_equal(rig->changes, 1);
    rig_free(rig);
}

/* A full disk refuses publishers, still takes what was on its way, and is cleared by consumers. */
static void full_and_cleared(void **state)
{
    (void)state;
    for (unsigned more = 0; more < 3; more++) {
        struct rig *rig = rig_new();
        struct load load = {{0}, 0};
        struct tf_journal_stats stats;
        uint64_t position = 0;
        rig->sim.space = (6u << 20) + more * 300000;
        if (more == 2) {
            rig->sim.space = 0;
            rig_close(rig);
            rig->config.journal.limit = 6u << 20;
            assert_int_equal(rig_open(rig), TF_OK);
        }
        for (bool taken = true; taken;) {
            for (unsigned i = 0; i < 5 && taken; i++) {
                taken = rig_entry(rig, 0, TF_STORE_DISK, 7, position + 1, position + 1, 30000);
                position += taken;
                tf_store_submit(&rig->clients[0]);
            }
            rig_run(rig);
        }
        assert_int_equal(rig->state, TF_STORE_FULL);
        assert_int_equal(rig->err, TF_LIMIT);
        /* Whatever was taken is done. */
        assert_int_equal(tf_store_current(&rig->clients[0]), 0);
        tf_store_stats(rig->store, &stats);
        assert_int_equal(stats.entries, position);
        assert_true(position > 60);
        /* It stays so. */
        rig->now += TF_SECOND;
        rig_run(rig);
        assert_int_equal(rig->state, TF_STORE_FULL);
        for (uint64_t i = 1; i <= position; i++) {
            tf_store_settle(&rig->clients[0], TF_STORE_DISK, 7, i, i);
            rig_run(rig);
            assert_int_equal(tf_store_current(&rig->clients[0]), 0);
            rig->now += 20 * TF_MILLISECOND;
        }
        assert_int_equal(rig->state, TF_STORE_READY);
        load_run(rig, &load, 5);
        wait_and_run(rig);
        load_check(rig, &load);
        rig_free(rig);
    }
}

/* What is on its way is more than the last room: who only settles goes on nevertheless. */
static void settlements_pass_a_full_disk(void **state)
{
    struct rig *rig = rig_new();
    uint64_t number;
    unsigned i;

    (void)state;
    for (i = 1; i <= 60; i++) {
        assert_true(rig_entry(rig, 1, TF_STORE_DISK, 5, i, i, 30000));
        rig_run(rig);
    }
    rig->sim.space = 1; /* no more than there is */
    for (; i <= 160; i++) {
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 6, i, i, 30000));
        tf_store_submit(&rig->clients[0]);
    }
    number = tf_store_current(&rig->clients[0]);
    rig_run(rig);
    assert_int_equal(rig->state, TF_STORE_FULL);
    assert_false(tf_store_done(&rig->clients[0], number));
    for (i = 1; i <= 60; i++) {
        tf_store_settle(&rig->clients[1], TF_STORE_DISK, 5, i, i);
        rig_run(rig);
        assert_int_equal(tf_store_current(&rig->clients[1]), 0);
    }
    rig->sim.space = 0;
    wait_and_run(rig);
    assert_true(tf_store_done(&rig->clients[0], number));
    assert_int_equal(rig->state, TF_STORE_READY);
    rig_free(rig);
}

/* A start on a full disk is how it is emptied. */
static void starts_on_a_full_disk(void **state)
{
    struct rig *rig = rig_new();
    unsigned i;

    (void)state;
    for (i = 1; i <= 60; i++) {
        assert_true(rig_entry(rig, 1, TF_STORE_DISK, 5, i, i, 30000));
        rig_run(rig);
    }
    rig_close(rig);
    rig->sim.space = 1;
    assert_int_equal(rig_open(rig), TF_OK);
    tf_store_settle(&rig->clients[1], TF_STORE_DISK, 5, 1, 60);
    rig_run(rig);
    assert_int_equal(tf_store_current(&rig->clients[1]), 0);
    rig_free(rig);
}

static void no_start(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    unsigned failed = 0;

    (void)state;
    assert_non_null(rig);
    for (uint64_t at = 1; at < 200; at++) {
        rig_init(rig, RIG_CLIENTS);
        rig->sim.fail_at = at;
        rig->sim.fail_with = TF_IO;
        enum tf_err err = rig_open(rig);
        failed += err != TF_OK;
        assert_true(err == TF_OK || err == TF_IO || err == TF_CLOSED);
        rig_release(rig);
    }
    assert_true(failed > 5);
    for (uint64_t at = 1; at < 200; at++) {
        rig_init(rig, RIG_CLIENTS);
        rig->heap.fail_at = at;
        enum tf_err err = rig_open(rig);
        assert_true(err == TF_OK || err == TF_NO_MEMORY);
        failed += err != TF_OK;
        rig_release(rig);
    }
    assert_true(failed > 20);
    free(rig);
}

/* ---- memory ---- */

/* One allocation fails, each in turn, on either side: all that was not refused becomes true. */
static void each_allocation_fails_once(void **state)
{
    unsigned refused = 0;

    (void)state;
    for (uint64_t at = 1;; at++) {
        struct rig *rig = rig_new();
        struct load load = {{0}, 0};
        rig->heap.fail_at = rig->heap.calls + at;
        load_run(rig, &load, 8);
        bool failed = rig->heap.calls >= rig->heap.fail_at;
        rig->heap.fail_at = 0;
        refused += load.refused > 0;
        wait_and_run(rig);
        load_check(rig, &load);
        rig_free(rig);
        if (!failed)
            break;
    }
    assert_true(refused > 3);
}

/* None is left for a while: nothing that had to be recorded is lost without a word. */
static void no_memory_for_a_while(void **state)
{
    unsigned broken = 0, fine = 0;

    (void)state;
    for (uint64_t at = 1; at < 120; at++) {
        struct rig *rig = rig_new();
        struct load load = {{0}, 0};
        load_run(rig, &load, 1);
        rig->heap.fail_at = rig->heap.calls + at;
        rig->heap.fail_on = true;
        load_run(rig, &load, 1 + at % 4);
        if (at % 3 == 0)
            for (unsigned i = 0; i < 20000; i++) /* more than was set aside */
                tf_store_settle(&rig->clients[0], TF_STORE_DISK, 1, i * 2 + 1000, i * 2 + 1000);
        rig->heap.fail_at = 0;
        rig->heap.fail_on = false;
        wait_and_run(rig);
        if (tf_store_state(&rig->clients[0]) == TF_STORE_BROKEN) {
            assert_int_equal(rig->err, TF_NO_MEMORY);
            check_broken(rig);
            broken++;
        } else {
            load_check(rig, &load);
            fine++;
        }
        rig_free(rig);
    }
    assert_true(broken > 10 && fine > 10);
}

/* What was set aside comes back. */
static void set_aside_again_and_again(void **state)
{
    struct rig *rig = rig_new();

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        rig->heap.fail_at = rig->heap.calls + 1;
        rig->heap.fail_on = true;
        for (unsigned i = 0; i < 2000; i++)
            tf_store_settle(&rig->clients[0], TF_STORE_DISK, 1, i * 2, i * 2);
        tf_store_submit(&rig->clients[0]);
        rig->heap.fail_at = 0;
        rig->heap.fail_on = false;
        rig->now += TF_SECOND;
        rig_run(rig);
        assert_int_equal(tf_store_state(&rig->clients[0]), TF_STORE_READY);
        assert_int_equal(tf_store_current(&rig->clients[0]), 0);
    }
    rig_free(rig);
}

/* A page without memory says so, and can be read again. */
static void no_memory_for_a_page(void **state)
{
    struct rig *rig = rig_new();

    (void)state;
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 1, 1, 100));
    rig_run(rig);
    rig->heap.fail_at = rig->heap.calls + 1;
    assert_int_equal(tf_store_read(&rig->clients[0], &rig->read), TF_NO_MEMORY);
    rig->heap.fail_at = rig->heap.calls + 2;
    rig_read(rig, 0, 1, 0, 10, 1000);
    assert_int_equal(rig->read_err, TF_NO_MEMORY);
    assert_false(rig->read_end);
    rig->sim.fail_at = rig->sim.calls + 1;
    rig->sim.fail_with = TF_IO;
    rig_read(rig, 0, 1, 0, 10, 1000);
    assert_int_equal(rig->read_err, TF_IO);
    rig_read(rig, 0, 1, 0, 10, 1000);
    assert_int_equal(rig->read_err, TF_OK);
    assert_int_equal(rig->items, 1);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_fails_once),
        cmocka_unit_test(writes_fail_for_a_while),
        cmocka_unit_test(a_full_store_is_overrun_at_last),
        cmocka_unit_test(a_failed_sync_is_for_ever),
        cmocka_unit_test(full_and_cleared),
        cmocka_unit_test(settlements_pass_a_full_disk),
        cmocka_unit_test(starts_on_a_full_disk),
        cmocka_unit_test(no_start),
        cmocka_unit_test(each_allocation_fails_once),
        cmocka_unit_test(no_memory_for_a_while),
        cmocka_unit_test(set_aside_again_and_again),
        cmocka_unit_test(no_memory_for_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
