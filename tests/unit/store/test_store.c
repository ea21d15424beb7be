/*
 * The store's contract, call by call: batches of clients become groups, in order, and are read
 * back.
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

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig_init(rig, RIG_CLIENTS);
    assert_int_equal(rig_open(rig), TF_OK);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    rig_release(rig);
    free(rig);
    return 0;
}

static uint64_t commits(struct rig *rig)
{
    struct tf_journal_stats stats;

    tf_store_stats(rig->store, &stats);
    return stats.commits;
}

static uint64_t entries(struct rig *rig)
{
    struct tf_journal_stats stats;

    tf_store_stats(rig->store, &stats);
    return stats.entries;
}

/* One turn of the store, without upkeep's following ones. */
static bool turn(struct rig *rig)
{
    bool more = tf_store_turn(rig->store, rig->now, &rig->until);

    for (unsigned i = 0; i < rig->count; i++)
        (void)tf_store_receive(&rig->clients[i]);
    return more;
}

static struct tf_bytes text(const char *string)
{
    return tf_bytes_str(string);
}

static void done_after_the_sync(void **state)
{
    struct rig *rig = *state;
    struct tf_store_client *client = &rig->clients[0];
    uint64_t queue = tf_store_queue_id(client), first = tf_store_first_position(client);
    uint64_t syncs, number;

    assert_int_not_equal(queue, 0);
    assert_int_equal(tf_store_state(client), TF_STORE_READY);
    assert_int_equal(tf_store_current(client), 0);
    assert_true(tf_store_done(client, 0));
    rig_run(rig);
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, queue, first + 1, 1, 100));
    number = tf_store_current(client);
    assert_int_equal(number, 1);
    assert_false(tf_store_done(client, number));
    assert_int_equal(rig->wakes, 0);
    tf_store_submit(client);
    tf_store_submit(client);
    assert_int_equal(rig->wakes, 1);
    assert_int_equal(tf_store_current(client), number);
    assert_false(tf_store_receive(client));
    assert_false(tf_store_idle(rig->store));
    syncs = rig->sim.call_count[SIM_SYNC];
    tf_store_turn(rig->store, 0, &rig->until);
    assert_int_equal(rig->sim.call_count[SIM_SYNC], syncs + 1);
    assert_int_equal(rig->shard_wakes[0], 1);
    assert_int_equal(rig->shard_wakes[1], 0);
    assert_false(tf_store_done(client, number));
    assert_true(tf_store_receive(client));
    assert_true(tf_store_done(client, number));
    assert_int_equal(tf_store_current(client), 0);
    assert_false(tf_store_receive(client));
    assert_true(tf_store_idle(rig->store));
    assert_int_equal(atomic_load(&rig->owners), 0);
    rig_read(rig, 1, queue, 0, 10, 1000);
    assert_int_equal(rig->items, 1);
    assert_int_equal(rig->positions[0], first + 1);
    assert_int_equal(rig->numbers[0], 1);
    assert_int_equal(rig->attributes[0], 1);
    assert_true(rig->read_end);
}

static void one_group_for_many(void **state)
{
    struct rig *rig = *state;
    uint64_t before;

    rig_run(rig);
    before = commits(rig);
    for (unsigned i = 0; i < 60; i++) {
        assert_true(rig_entry(rig, i % 3, TF_STORE_DISK, 10 + i % 3, i + 1, i + 1, 50));
        tf_store_submit(&rig->clients[i % 3]);
    }
    assert_int_equal(rig->wakes, 3);
    turn(rig);
    assert_int_equal(commits(rig), before + 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(rig->clients[i].done, 20);
    assert_int_equal(entries(rig), 60);
}

static void os_level_is_not_synced(void **state)
{
    struct rig *rig = *state;
    uint64_t syncs;

    rig_run(rig);
    syncs = rig->sim.call_count[SIM_SYNC];
    assert_true(rig_entry(rig, 0, TF_STORE_OS, 5, 1, 1, 50));
    tf_store_submit(&rig->clients[0]);
    turn(rig);
    assert_true(tf_store_done(&rig->clients[0], 1));
    assert_int_equal(rig->sim.call_count[SIM_SYNC], syncs);
    assert_true(rig_entry(rig, 0, TF_STORE_OS, 5, 2, 2, 50));
    tf_store_submit(&rig->clients[0]);
    assert_true(rig_entry(rig, 1, TF_STORE_DISK, 6, 1, 3, 50));
    tf_store_submit(&rig->clients[1]);
    turn(rig);
    assert_int_equal(rig->sim.call_count[SIM_SYNC], syncs + 1);
}

/* However many refer to it, in however many batches and groups. */
static void a_message_once(void **state)
{
    struct rig *rig = *state;
    struct rig_owner *owner = rig_message(rig, 77, 500), *other = rig_message(rig, 78, 10);
    struct tf_store_message message = rig_message_of(owner), second = rig_message_of(other);
    struct tf_journal_stats stats;
    struct tf_bytes none = {NULL, 0};

    for (unsigned i = 0; i < 3; i++) {
        struct tf_store_client *client = &rig->clients[i];
        struct tf_store_message again = {.owner = owner};
        assert_int_equal(tf_store_reserve(client, 100), TF_OK);
        assert_false(tf_store_has(client, owner));
        tf_store_entry(client, TF_STORE_DISK, 100 + i, 1, none, &message);
        assert_true(tf_store_has(client, owner));
        tf_store_entry(client, TF_STORE_DISK, 200 + i, 1, none, &again);
        tf_store_entry(client, TF_STORE_DISK, 300 + i, 1, none, &second);
        assert_false(tf_store_has(client, owner));
        assert_int_equal(tf_store_reserve(client, 100), TF_OK);
        tf_store_entry(client, TF_STORE_DISK, 400 + i, 1, none, &message);
    }
    rig_run(rig);
    tf_store_stats(rig->store, &stats);
    assert_int_equal(stats.messages, 2);
    assert_int_equal(stats.entries, 12);
    assert_int_equal(atomic_load(&owner->refs), 1);
    /* Another group refers to it, the next finds it gone and writes it anew. */
    assert_int_equal(tf_store_reserve(&rig->clients[0], 100), TF_OK);
    tf_store_entry(&rig->clients[0], TF_STORE_DISK, 100, 2, none, &message);
    rig_run(rig);
    tf_store_stats(rig->store, &stats);
    assert_int_equal(stats.messages, 2);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 1; j < 5; j++)
            tf_store_settle(&rig->clients[i], TF_STORE_DISK, j * 100 + i, 1, 2);
    rig_run(rig);
    tf_store_stats(rig->store, &stats);
    assert_int_equal(stats.messages, 0);
    assert_int_equal(tf_store_reserve(&rig->clients[2], 100), TF_OK);
    tf_store_entry(&rig->clients[2], TF_STORE_DISK, 100, 3, none, &message);
    rig_let_go(owner);
    rig_let_go(other);
    rig_run(rig);
    rig_read(rig, 2, 100, 0, 10, 1000);
    assert_int_equal(rig->items, 1);
    assert_int_equal(rig->numbers[0], 77);
}

static void objects_come_and_go(void **state)
{
    struct rig *rig = *state;
    struct tf_store_client *client = &rig->clients[1];
    struct rig_owner *owner = rig_message(rig, 5, 100);
    struct tf_store_message message = rig_message_of(owner);
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    unsigned seen = 0;
    size_t length;

    assert_int_equal(tf_store_reserve(client, 100), TF_OK);
    tf_store_put(client, TF_STORE_DISK, 3, text("a"), text("one"), &message);
    tf_store_put(client, TF_STORE_DISK, 3, text("b"), text("two"), NULL);
    tf_store_put(client, TF_STORE_DISK, 4, text("a"), text("three"), NULL);
    rig_let_go(owner);
    rig_run(rig);
    assert_int_equal(tf_store_reserve(client, 100), TF_OK);
    tf_store_put(client, TF_STORE_DISK, 3, text("b"), text("four"), NULL);
    tf_store_remove(client, TF_STORE_DISK, 4, text("a"));
    rig_run(rig);
    while (tf_journal_next_object(tf_store_journal(rig->store), &cursor, &object)) {
        if (!object.kind)
            continue;
        seen++;
        assert_int_equal(object.kind, 3);
        if (tf_bytes_equal(object.key, text("b"))) {
            assert_true(tf_bytes_equal(object.value, text("four")));
            continue;
        }
        assert_true(tf_bytes_equal(object.value, text("one")));
        assert_int_equal(object.messages, 1);
        assert_int_equal(
            tf_journal_length(tf_store_journal(rig->store),
                              tf_journal_object_message(tf_store_journal(rig->store), &object, 0),
                              &length),
            TF_OK);
        assert_int_equal(length, 108);
    }
    assert_int_equal(seen, 2);
}

static void settlements_become_one(void **state)
{
    struct rig *rig = *state;
    struct tf_store_client *client = &rig->clients[0];
    struct tf_journal_stats before, after;
    uint64_t appended;

    for (unsigned i = 1; i <= 200; i++)
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 9, i, i, 10));
    rig_run(rig);
    tf_store_stats(rig->store, &before);
    appended = client->appended;
    for (unsigned i = 1; i <= 90; i++)
        tf_store_settle(client, TF_STORE_DISK, 9, i, i);
    for (unsigned i = 180; i > 100; i--)
        tf_store_settle(client, TF_STORE_DISK, 9, i, i);
    assert_int_equal(client->appended, appended + 170);
    tf_store_submit(client);
    turn(rig);
    tf_store_stats(rig->store, &after);
    assert_int_equal(after.entries, 30);
    assert_int_equal(after.groups_bytes - before.groups_bytes, 512);
    tf_store_settle(client, TF_STORE_DISK, 9, UINT64_MAX, UINT64_MAX);
    tf_store_settle(client, TF_STORE_DISK, 9, 0, 0); /* no neighbour of it */
    rig_run(rig);
    rig_read(rig, 0, 9, 0, 100, 100000);
    assert_int_equal(rig->items, 30);
    assert_int_equal(rig->positions[0], 91);
    assert_int_equal(rig->positions[10], 181);
}

static void changes_stay(void **state)
{
    struct rig *rig = *state;

    for (unsigned i = 1; i <= 3; i++)
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 9, i, i, 10));
    tf_store_change(&rig->clients[0], TF_STORE_DISK, 9, 2, text("zz"));
    tf_store_change(&rig->clients[0], TF_STORE_DISK, 9, 7, text("of nothing"));
    rig_run(rig);
    rig_read(rig, 0, 9, 2, 1, 1);
    assert_int_equal(rig->items, 1);
    assert_int_equal(rig->positions[0], 2);
    assert_int_equal(rig->attributes[0], 'z');
    assert_false(rig->read_end);
}

/* ---- transactions ---- */

static void all_or_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t transaction = tf_store_transaction(&rig->clients[0]);

    rig_run(rig);
    assert_int_not_equal(transaction, tf_store_transaction(&rig->clients[0]));
    assert_int_not_equal(transaction, tf_store_transaction(&rig->clients[1]));
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 1, 1, 10));
    tf_store_join(&rig->clients[0], transaction, 3);
    tf_store_submit(&rig->clients[0]);
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 2, 2, 10)); /* behind it */
    tf_store_submit(&rig->clients[0]);
    assert_true(rig_entry(rig, 1, TF_STORE_DISK, 2, 1, 3, 10)); /* not concerned */
    tf_store_submit(&rig->clients[1]);
    turn(rig);
    assert_int_equal(entries(rig), 1);
    assert_int_equal(rig->clients[1].done, 1);
    assert_int_equal(rig->clients[0].done, 0);
    assert_true(rig_entry(rig, 1, TF_STORE_DISK, 2, 2, 4, 10));
    tf_store_join(&rig->clients[1], transaction, 0);
    tf_store_submit(&rig->clients[1]);
    turn(rig);
    assert_int_equal(entries(rig), 1);
    tf_store_join(&rig->clients[2], transaction, 0); /* nothing else in it */
    assert_int_not_equal(tf_store_current(&rig->clients[2]), 0);
    tf_store_submit(&rig->clients[2]);
    turn(rig);
    assert_int_equal(entries(rig), 4);
    assert_int_equal(rig->clients[0].done, 2);
    assert_int_equal(rig->clients[1].done, 2);
    assert_int_equal(rig->clients[2].done, 1);
}

static void a_part_alone_waits_for_nobody(void **state)
{
    struct rig *rig = *state;

    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 1, 1, 10));
    tf_store_join(&rig->clients[0], tf_store_transaction(&rig->clients[0]), 1);
    rig_run(rig);
    assert_int_equal(rig->clients[0].done, 1);
}

/* A's second batch waits for B's second, and B's first for A's third: one group of them all. */
static void interleaved(void **state)
{
    struct rig *rig = *state;
    struct tf_store_client *a = &rig->clients[0], *b = &rig->clients[1], *c = &rig->clients[2];
    uint64_t t = tf_store_transaction(a), u = tf_store_transaction(b), v = tf_store_transaction(c);

    rig_run(rig);
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 1, 1, 10));
    tf_store_submit(a);
    tf_store_join(a, t, 2);
    tf_store_submit(a);
    tf_store_join(b, u, 2);
    tf_store_submit(b);
    tf_store_join(b, t, 0);
    tf_store_submit(b);
    assert_true(rig_entry(rig, 2, TF_STORE_DISK, 3, 1, 2, 10));
    tf_store_join(c, v, 2);
    tf_store_submit(c);
    turn(rig);
    assert_int_equal(a->done, 1);
    assert_int_equal(b->done, 0);
    assert_int_equal(c->done, 0);
    tf_store_join(a, u, 0);
    tf_store_join(a, v, 0);
    tf_store_submit(a);
    turn(rig);
    assert_int_equal(a->done, 3);
    assert_int_equal(b->done, 2);
    assert_int_equal(c->done, 1);
}

/* More batches of one client than a group takes lie before the other half of a transaction. */
static void a_transaction_larger_than_a_group(void **state)
{
    struct rig *rig = *state;
    struct tf_store_client *a = &rig->clients[0], *b = &rig->clients[1];
    uint64_t first = tf_store_transaction(a), last = tf_store_transaction(a);

    tf_store_join(b, first, 2);
    tf_store_join(b, last, 2);
    tf_store_submit(b);
    tf_store_join(a, first, 0);
    for (unsigned i = 0; i < 5000; i++) {
        tf_store_settle(a, TF_STORE_DISK, 1, i * 2, i * 2);
        tf_store_submit(a);
    }
    turn(rig);
    assert_int_equal(a->done, 0);
    tf_store_join(a, last, 0);
    rig_run(rig);
    assert_int_equal(a->done, 5001);
    assert_int_equal(b->done, 1);
}

/* ---- reading ---- */

static void pages(void **state)
{
    struct rig *rig = *state;
    uint64_t from = 0;
    unsigned seen = 0;

    for (unsigned i = 1; i <= 100; i++) {
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, i * 3, i, i * 10));
        assert_true(rig_entry(rig, 1, TF_STORE_DISK, 2, i * 3, i + 1000, i * 10));
        if (i % 10 == 0)
            rig_run(rig);
    }
    do {
        rig_read(rig, 2, 1, from, 30, 4000);
        assert_int_equal(rig->read_err, TF_OK);
        assert_in_range(rig->items, 1, 30);
        for (size_t i = 0; i < rig->items; i++) {
            seen++;
            assert_int_equal(rig->positions[i], seen * 3);
            assert_int_equal(rig->numbers[i], seen);
        }
        from = rig->positions[rig->items - 1] + 1;
    } while (!rig->read_end);
    assert_int_equal(seen, 100);
    rig_read(rig, 2, 1, from, 30, 4000);
    assert_int_equal(rig->items, 0);
    assert_true(rig->read_end);
    rig_read(rig, 2, 12345, 0, 30, 4000);
    assert_int_equal(rig->items, 0);
    rig_read(rig, 2, 1, 290, 0, 1); /* the first comes however large it is */
    assert_int_equal(rig->items, 1);
    assert_int_equal(rig->numbers[0], 97);
}

/* Bodies that lie side by side are read by one call. */
static void neighbours_by_one_call(void **state)
{
    struct rig *rig = *state;
    uint64_t reads;

    for (unsigned i = 1; i <= 50; i++)
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, i, i, i % 7 * 100));
    rig_run(rig);
    reads = rig->sim.call_count[SIM_READ];
    rig_read(rig, 0, 1, 1, 64, 100000);
    assert_int_equal(rig->items, 50);
    assert_int_equal(rig->sim.call_count[SIM_READ], reads + 1);
}

static void reads_come_after_writes(void **state)
{
    struct rig *rig = *state;
    uint64_t transaction = tf_store_transaction(&rig->clients[0]);

    rig_run(rig);
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 1, 1, 10));
    tf_store_join(&rig->clients[0], transaction, 2);
    tf_store_submit(&rig->clients[0]);
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 2, 2, 10));
    rig->read = (struct tf_store_read){.queue = 1, .entries = 9, .bytes = 1000};
    rig->read.done = NULL; /* cancelled before it comes */
    assert_int_equal(tf_store_read(&rig->clients[0], &rig->read), TF_OK);
    turn(rig);
    assert_false(tf_store_idle(rig->store));
    tf_store_read_cancel(&rig->clients[0], &rig->read);
    tf_store_read_cancel(&rig->clients[0], &rig->read);
    tf_store_submit(&rig->clients[0]);
    tf_store_join(&rig->clients[1], transaction, 0);
    tf_store_submit(&rig->clients[1]);
    rig_read(rig, 0, 1, 0, 9, 1000);
    assert_int_equal(rig->items, 2);
    assert_true(tf_store_idle(rig->store));
}

/* A read that is answered, and one that is not yet, when the client ends. */
static void reads_that_nobody_awaits(void **state)
{
    struct rig *rig = *state;
    struct tf_store_read one = {.queue = 1, .entries = 1}, two = {.queue = 1, .entries = 1};

    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 1, 1, 10));
    tf_store_submit(&rig->clients[0]);
    assert_int_equal(tf_store_read(&rig->clients[0], &one), TF_OK);
    tf_store_turn(rig->store, 0, &rig->until);
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, 2, 2, 10));
    assert_int_equal(tf_store_read(&rig->clients[0], &two), TF_OK);
    rig_close(rig);
}

static void flip(void *ctx, const char *name)
{
    struct rig *rig = ctx;
    size_t length;
    uint8_t *data;

    if (!strstr(name, ".log"))
        return;
    data = sim_disk_content(&rig->sim, name, &length);
    for (size_t i = 0; i + 300 < length; i++)
        if (data[i] == 2 && data[i - 1] == 0 && data[i + 1] == (uint8_t)(2 * 31) &&
            data[i + 2] == (uint8_t)(2 * 31 + 7))
            data[i + 100] ^= 1;
}

static void damaged_body(void **state)
{
    struct rig *rig = *state;

    for (unsigned i = 1; i <= 3; i++)
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, i, i, 250));
    rig_run(rig);
    sim_disk_each(&rig->sim, flip, rig);
    rig_read(rig, 0, 1, 1, 10, 10000);
    assert_int_equal(rig->read_err, TF_OK);
    assert_int_equal(rig->items, 3);
    assert_int_equal(rig->numbers[0], 1);
    assert_int_equal(rig->numbers[1], 0);
    assert_int_equal(rig->attributes[1], 2);
    assert_int_equal(rig->numbers[2], 3);
}

/* ---- runs, and the rest ---- */

static void a_run_is_above_the_last(void **state)
{
    struct rig *rig = *state;
    uint64_t first = tf_store_first_position(&rig->clients[0]);
    uint64_t id = tf_store_queue_id(&rig->clients[0]), next;

    assert_int_not_equal(id, tf_store_queue_id(&rig->clients[0]));
    assert_int_not_equal(id, tf_store_queue_id(&rig->clients[1]));
    assert_int_equal(first, tf_store_first_position(&rig->clients[2]));
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, first + 5, 1, 10));
    rig_run(rig);
    rig_close(rig);
    assert_int_equal(rig_open(rig), TF_OK);
    next = tf_store_first_position(&rig->clients[0]);
    assert_true(next > first + 5);
    assert_int_not_equal(id, tf_store_queue_id(&rig->clients[0]));
    rig_run(rig);
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, next + 1, 2, 10));
    rig_read(rig, 0, 1, 0, 10, 1000);
    assert_int_equal(rig->items, 2);
    assert_int_equal(rig->numbers[0], 1);
    assert_int_equal(rig->numbers[1], 2);
}

static void blank(void *ctx, const char *name)
{
    struct rig *rig = ctx;
    size_t length;
    uint8_t *data;

    if (!strcmp(name, "0000000001.log")) {
        data = sim_disk_content(&rig->sim, name, &length);
        data[512 + 60] ^= 0xFF; /* the first group: it has the number of the run */
    } else if (strstr(name, ".index")) {
        sim_disk_cut(&rig->sim, name, 0);
    }
}

/* The number is lost: what lives tells it. */
static void a_run_without_a_number(void **state)
{
    struct rig *rig = *state;
    uint64_t first = tf_store_first_position(&rig->clients[0]), next;

    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, first + 5, 1, 10));
    rig_run(rig);
    rig_close(rig);
    sim_disk_each(&rig->sim, blank, rig);
    assert_int_equal(rig_open(rig), TF_OK);
    assert_int_equal(rig->report.damaged_groups, 1);
    next = tf_store_first_position(&rig->clients[0]);
    assert_true(next > first + 5);
    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, next + 1, 2, 10));
    rig_read(rig, 0, 1, 0, 10, 1000);
    assert_int_equal(rig->items, 2);
}

/* Positions of this run are above all that lives, whatever the record of the last one says. */
static void a_run_that_lies(void **state)
{
    static const uint64_t lies[] = {0, 1, (1 << 24) - 1, 1 << 24, UINT64_MAX - 1, UINT64_MAX};
    struct rig *rig = *state;
    uint64_t last = tf_store_first_position(&rig->clients[0]) << 10; /* of a far later run */
    uint8_t value[9];

    assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, last, 1, 10));
    rig_run(rig);
    for (size_t i = 0; i < TF_COUNT(lies); i++) {
        struct tf_journal *journal = tf_store_journal(rig->store);
        struct tf_writer writer = tf_writer_of(value, sizeof(value));
        tf_write_u8(&writer, 1);
        tf_write_u64(&writer, lies[i]);
        assert_int_equal(tf_journal_put(journal, 0, tf_bytes_str("run"),
                                        tf_bytes_of(value, sizeof(value)), NULL, 0),
                         TF_OK);
        assert_int_equal(tf_journal_commit(journal), TF_OK);
        rig_close(rig);
        assert_int_equal(rig_open(rig), TF_OK);
        assert_true(tf_store_first_position(&rig->clients[0]) > last);
        last = tf_store_first_position(&rig->clients[0]) + 1;
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, last, i + 2, 10));
        rig_run(rig);
    }
    rig_read(rig, 0, 1, 0, 10, 1000);
    assert_int_equal(rig->items, 1 + TF_COUNT(lies));
}

static void soft_limit(void **state)
{
    struct rig *rig = *state;
    unsigned i;

    rig_close(rig);
    rig->config.soft_limit = 4u << 20;
    assert_int_equal(rig_open(rig), TF_OK);
    for (i = 1; i < 100 && tf_store_state(&rig->clients[0]) == TF_STORE_READY; i++) {
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, i, i, 100000));
        rig_run(rig);
    }
    assert_in_range(i, 15, 60);
    assert_int_equal(rig->state, TF_STORE_SLOW);
    assert_int_equal(rig->changes, 1);
    assert_int_equal(tf_store_reserve(&rig->clients[0], 10), TF_OK);
    tf_store_settle(&rig->clients[0], TF_STORE_DISK, 1, 0, i);
    rig_run(rig);
    assert_int_equal(tf_store_state(&rig->clients[0]), TF_STORE_READY);
    assert_int_equal(rig->state, TF_STORE_READY);
}

static void congestion(void **state)
{
    struct rig *rig = *state;
    unsigned i;

    for (i = 1; i < 100 && !tf_store_congested(&rig->clients[0]); i++) {
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, i, i, 1000000));
        tf_store_submit(&rig->clients[0]);
    }
    assert_in_range(i, 8, 40);
    /* every shard mails what others must record: it concerns all of them */
    assert_true(tf_store_congested(&rig->clients[1]));
    assert_false(tf_store_overrun(&rig->clients[0]));
    for (; i < 200 && !tf_store_overrun(&rig->clients[0]); i++) {
        assert_true(rig_entry(rig, 0, TF_STORE_DISK, 1, i, i, 1000000));
        tf_store_submit(&rig->clients[0]);
    }
    assert_in_range(i, 40, 100);
    assert_true(tf_store_overrun(&rig->clients[1]));
    rig->shard_wakes[1] = 0;
    rig_run(rig);
    assert_false(tf_store_congested(&rig->clients[0]));
    assert_false(tf_store_congested(&rig->clients[1]));
    assert_false(tf_store_overrun(&rig->clients[1]));
    assert_true(rig->shard_wakes[1] > 0); /* though nothing of it was its own */
}

/* One key that is put again and again in one group costs no more each time. */
static void one_key_again_and_again(void **state)
{
    struct rig *rig = *state;
    struct tf_store_client *client = &rig->clients[0];
    uint8_t value[4];

    for (uint32_t i = 0; i < 300000; i++) { /* each after all others: 45 billion steps */
        memcpy(value, &i, sizeof(value));
        assert_int_equal(tf_store_reserve(client, 5), TF_OK);
        tf_store_put(client, TF_STORE_DISK, 3, tf_bytes_str("a"), tf_bytes_of(value, sizeof(value)),
                     NULL);
    }
    tf_store_submit(client);
    rig_run(rig);
    assert_true(tf_store_done(client, tf_store_current(client)));
    assert_true(tf_journal_check(tf_store_journal(rig->store)));
}

/* Batches go back and forth: after the first few nothing is allocated for them. */
static void no_memory_for_a_turn(void **state)
{
    struct rig *rig = *state;
    uint64_t calls = 0, used = 0;

    for (unsigned i = 0; i < 300; i++) {
        if (i == 200) {
            calls = rig->heap.calls;
            used = rig->heap.used;
        }
        for (unsigned j = 0; j < 50; j++) {
            assert_int_equal(tf_store_reserve(&rig->clients[0], 100), TF_OK);
            tf_store_settle(&rig->clients[0], TF_STORE_OS, j, i, i);
            tf_store_remove(&rig->clients[0], TF_STORE_OS, 9, text("nothing"));
        }
        tf_store_submit(&rig->clients[0]);
        turn(rig);
    }
    assert_int_equal(rig->heap.calls, calls);
    assert_int_equal(rig->heap.used, used);
    /* A large one does not stay large. */
    for (unsigned j = 0; j < 100000; j++)
        tf_store_settle(&rig->clients[0], TF_STORE_OS, j, 1, 1);
    rig_run(rig);
    assert_true(rig->heap.used < used + (12u << 20));
}

static void nonsense_is_refused(void **state)
{
    struct rig *rig = *state;
    struct tf_store *store;

    rig_close(rig);
    rig->config.shards = 0;
    assert_int_equal(tf_store_new(&rig->config, &store, &rig->report, &rig->holder), TF_MISUSE);
    rig->config.shards = RIG_CLIENTS;
    assert_int_equal(rig_open(rig), TF_OK);
    assert_int_equal(tf_store_new(&rig->config, &store, &rig->report, &rig->holder), TF_EXISTS);
    assert_int_equal(tf_store_reserve(&rig->clients[0], SIZE_MAX / 2), TF_LIMIT);
    tf_store_free(NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(done_after_the_sync),
        TEST(one_group_for_many),
        TEST(os_level_is_not_synced),
        TEST(a_message_once),
        TEST(objects_come_and_go),
        TEST(settlements_become_one),
        TEST(changes_stay),
        TEST(all_or_nothing),
        TEST(a_part_alone_waits_for_nobody),
        TEST(interleaved),
        TEST(a_transaction_larger_than_a_group),
        TEST(pages),
        TEST(neighbours_by_one_call),
        TEST(reads_come_after_writes),
        TEST(reads_that_nobody_awaits),
        TEST(damaged_body),
        TEST(a_run_is_above_the_last),
        TEST(a_run_without_a_number),
        TEST(a_run_that_lies),
        TEST(soft_limit),
        TEST(congestion),
        TEST(one_key_again_and_again),
        TEST(no_memory_for_a_turn),
        TEST(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
