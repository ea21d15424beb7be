/*
 * The journal's contract, call by call, on the disk in memory; what no random run would ask for.
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

struct fixture {
    struct sim_disk sim;
    struct heap heap;
    struct tf_alloc alloc;
    struct tf_journal *journal;
    struct tf_journal_report report;
    struct tf_journal_config config;
    uint64_t holder;
};

static enum tf_err fixture_open(struct fixture *f)
{
    return tf_journal_open(&f->config, &f->journal, &f->report, &f->holder);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    sim_disk_init(&f->sim, 1);
    f->alloc = heap_alloc_of(&f->heap);
    f->config = (struct tf_journal_config){.disk = &f->sim.disk,
                                           .alloc = &f->alloc,
                                           .seed = 99,
                                           .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                           .snapshot_interval = 1 << 20,
                                           .compact_percent = 50};
    assert_int_equal(fixture_open(f), TF_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    tf_journal_close(f->journal);
    assert_int_equal(f->heap.used, 0);
    sim_disk_release(&f->sim);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    tf_journal_close(f->journal);
    f->journal = NULL;
    assert_int_equal(fixture_open(f), TF_OK);
    assert_true(tf_journal_check(f->journal));
}

/* What a power cut now would leave, with nothing that was not synced. */
static void crash(struct fixture *f)
{
    struct sim_disk after;

    sim_disk_crash(&f->sim, &after, 1, 0);
    f->sim.fail_at = 1;
    f->sim.fail_on = true;
    tf_journal_close(f->journal);
    f->journal = NULL;
    sim_disk_release(&f->sim);
    f->sim = after;
    assert_int_equal(fixture_open(f), TF_OK);
}

static struct tf_bytes text(const char *string)
{
    return tf_bytes_str(string);
}

static void publish(struct fixture *f, uint64_t id, const struct tf_bytes *body)
{
    assert_int_equal(tf_journal_message(f->journal, id, body, 1), TF_OK);
    assert_int_equal(tf_journal_entry(f->journal, 1, id, id, text("at")), TF_OK);
}

static uint64_t entries(struct fixture *f)
{
    struct tf_journal_stats stats;

    tf_journal_stats(f->journal, &stats);
    return stats.entries;
}

static void one_of_each(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes pieces[] = {text("hello, "), text(""), text("world")};
    uint64_t id = 7;
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    struct tf_journal_place place;
    char body[12];
    size_t length;

    assert_int_equal(tf_journal_pending(f->journal), 0);
    assert_int_equal(tf_journal_message(f->journal, id, pieces, 3), TF_OK);
    assert_int_equal(tf_journal_entry(f->journal, 3, 10, id, text("abc")), TF_OK);
    assert_int_equal(tf_journal_put(f->journal, 2, text("key"), text("value"), &id, 1), TF_OK);
    assert_true(tf_journal_pending(f->journal) > 12);
    assert_int_equal(tf_journal_length(f->journal, id, &length), TF_NOT_FOUND); /* not yet */
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(tf_journal_length(f->journal, id, &length), TF_OK);
        assert_int_equal(length, 12);
        assert_int_equal(tf_journal_read(f->journal, id, body, 11), TF_MISUSE);
        assert_int_equal(tf_journal_read(f->journal, id, body, 12), TF_OK);
        assert_memory_equal(body, "hello, world", 12);
        cursor = (struct tf_journal_cursor){{0}};
        assert_true(tf_journal_next_object(f->journal, &cursor, &object));
        assert_int_equal(object.kind, 2);
        assert_true(tf_bytes_equal(object.key, text("key")));
        assert_true(tf_bytes_equal(object.value, text("value")));
        assert_int_equal(object.messages, 1);
        assert_int_equal(tf_journal_object_message(f->journal, &object, 0), id);
        assert_false(tf_journal_next_object(f->journal, &cursor, &object));
        cursor = (struct tf_journal_cursor){{0}};
        assert_true(tf_journal_next_entry(f->journal, &cursor, &place));
        assert_int_equal(place.queue, 3);
        assert_int_equal(place.position, 10);
        assert_int_equal(place.message, id);
        assert_true(tf_bytes_equal(place.attributes, text("abc")));
        assert_false(tf_journal_next_entry(f->journal, &cursor, &place));
        if (round)
            reopen(f);
        else
            crash(f);
    }
    /* The last reference takes the message along. */
    assert_int_equal(tf_journal_settle(f->journal, 3, 0, UINT64_MAX), TF_OK);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    assert_int_equal(tf_journal_length(f->journal, id, &length), TF_OK);
    assert_int_equal(tf_journal_remove(f->journal, 2, text("key")), TF_OK);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    assert_int_equal(tf_journal_length(f->journal, id, &length), TF_NOT_FOUND);
    assert_true(tf_journal_check(f->journal));
}

static void misuse_is_told(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes body = text("b");
    uint8_t many[256] = {0};
    uint64_t nobody = 5;

    publish(f, 1, &body);
    assert_int_equal(tf_journal_message(f->journal, 1, &body, 1), TF_MISUSE);
    assert_int_equal(tf_journal_entry(f->journal, 1, 1, 1, text("")), TF_MISUSE);
    assert_int_equal(tf_journal_entry(f->journal, 1, 0, 1, text("")), TF_MISUSE);
    assert_int_equal(tf_journal_entry(f->journal, 1, 2, nobody, text("")), TF_NOT_FOUND);
    assert_int_equal(tf_journal_entry(f->journal, 1, 2, 1, tf_bytes_of(many, 256)), TF_MISUSE);
    assert_int_equal(tf_journal_change(f->journal, 1, 2, text("")), TF_NOT_FOUND);
    assert_int_equal(tf_journal_settle(f->journal, 1, 2, 1), TF_MISUSE);
    assert_int_equal(tf_journal_put(f->journal, 1, text("k"), text("v"), &nobody, 1), TF_NOT_FOUND);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    assert_int_equal(entries(f), 1);
    reopen(f);
    assert_int_equal(entries(f), 1);
}

static void one_process_alone(void **state)
{
    struct fixture *f = *state;
    struct tf_journal *second = NULL;
    struct tf_journal_report report;

    assert_int_equal(tf_journal_open(&f->config, &second, &report, &f->holder), TF_EXISTS);
    assert_int_equal(f->holder, 4711);
    assert_null(second);
}

static void a_newer_version_is_left_alone(void **state)
{
    struct fixture *f = *state;
    size_t length;
    uint8_t *data;
    uint64_t written;
    uint32_t crc;
    struct tf_bytes body = text("b");

    publish(f, 1, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    tf_journal_close(f->journal);
    f->journal = NULL;
    data = sim_disk_content(&f->sim, "0000000001.log", &length);
    data[11] = 2; /* the version, and its sum */
    crc = tf_crc32c(0, data, 44);
    for (int i = 0; i < 4; i++)
        data[44 + i] = (uint8_t)(crc >> (24 - 8 * i));
    written = f->sim.call_count[SIM_WRITE] + f->sim.call_count[SIM_REMOVE] +
              f->sim.call_count[SIM_RENAME] + f->sim.call_count[SIM_TRUNCATE];
    assert_int_equal(fixture_open(f), TF_UNSUPPORTED);
    assert_int_equal(written, f->sim.call_count[SIM_WRITE] + f->sim.call_count[SIM_REMOVE] +
                                  f->sim.call_count[SIM_RENAME] + f->sim.call_count[SIM_TRUNCATE]);
}

/* A full disk takes settlements, and goes on when they have made room. */
static void a_full_disk(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[40000];
    struct tf_bytes body = tf_bytes_of(bytes, sizeof(bytes));
    uint64_t id = 0, stored;
    enum tf_err err;

    f->sim.space = 5 * TF_JOURNAL_SEGMENT_MIN + 100000;
    do {
        publish(f, ++id, &body);
        err = tf_journal_commit(f->journal);
        while (tf_journal_work(f->journal))
            ;
    } while (!err);
    assert_int_equal(err, TF_LIMIT);
    stored = id - 1;
    assert_int_equal(entries(f), stored);
    assert_true(stored > 80);
    assert_true(tf_journal_check(f->journal));
    for (uint64_t i = 1; i <= stored - 5; i++) {
        assert_int_equal(tf_journal_settle(f->journal, 1, i, i), TF_OK);
        assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    }
    while (tf_journal_work(f->journal))
        ;
    publish(f, ++id, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    reopen(f);
    assert_int_equal(entries(f), 6);
}

static void the_limit_is_hard(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[40000];
    struct tf_bytes body = tf_bytes_of(bytes, sizeof(bytes));
    struct tf_journal_stats stats;
    uint64_t id = 0;
    enum tf_err err;

    f->config.limit = 4 * TF_JOURNAL_SEGMENT_MIN;
    reopen(f);
    do {
        publish(f, ++id, &body);
        err = tf_journal_commit(f->journal);
        (void)tf_journal_work(f->journal);
        tf_journal_stats(f->journal, &stats);
        assert_true(stats.file_bytes <= f->config.limit);
    } while (!err);
    assert_int_equal(err, TF_LIMIT);
    assert_true(id > 50);
}

/* A message that is longer than a segment has one of its own. */
static void a_large_message(void **state)
{
    struct fixture *f = *state;
    size_t length = 3 * TF_JOURNAL_SEGMENT_MIN, got;
    uint8_t *bytes = calloc(1, length), *back = malloc(length);
    struct tf_bytes body = tf_bytes_of(bytes, length);

    assert_non_null(bytes);
    assert_non_null(back);
    bytes[length - 1] = 77;
    publish(f, 1, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    reopen(f);
    assert_int_equal(tf_journal_length(f->journal, 1, &got), TF_OK);
    assert_int_equal(got, length);
    assert_int_equal(tf_journal_read(f->journal, 1, back, length), TF_OK);
    assert_memory_equal(bytes, back, length);
    free(bytes);
    free(back);
}

/* After a sync that failed nothing is acknowledged any more, and what was can be read. */
static void a_failed_sync_is_for_ever(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes body = text("body");
    char back[4];

    publish(f, 1, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    publish(f, 2, &body);
    f->sim.fail_at = f->sim.calls + 2; /* the write, then the sync */
    assert_int_equal(tf_journal_commit(f->journal), TF_CLOSED);
    assert_int_equal(f->sim.call_count[SIM_SYNC], 4); /* two files were made, one group */
    publish(f, 3, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_CLOSED);
    assert_int_equal(tf_journal_write(f->journal), TF_CLOSED);
    assert_false(tf_journal_work(f->journal));
    assert_int_equal(f->sim.call_count[SIM_SYNC], 4);
    assert_int_equal(entries(f), 1);
    assert_int_equal(tf_journal_read(f->journal, 1, back, 4), TF_OK);
}

/* What was only written survives the process, and is synced by the next commit. */
static void written_only(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes body = text("body");
    uint64_t syncs;

    assert_true(tf_journal_work(f->journal)); /* the spare segment */
    publish(f, 1, &body);
    syncs = f->sim.call_count[SIM_SYNC];
    assert_int_equal(tf_journal_write(f->journal), TF_OK);
    assert_int_equal(f->sim.call_count[SIM_SYNC], syncs);
    assert_int_equal(entries(f), 1);
    crash(f);
    assert_int_equal(entries(f), 0);
    (void)tf_journal_work(f->journal);
    publish(f, 2, &body);
    assert_int_equal(tf_journal_write(f->journal), TF_OK);
    syncs = f->sim.call_count[SIM_SYNC];
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    assert_int_equal(f->sim.call_count[SIM_SYNC], syncs + 1);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    assert_int_equal(f->sim.call_count[SIM_SYNC], syncs + 1);
    crash(f);
    assert_int_equal(entries(f), 1);
}

/*
 * While a snapshot is written, something that it has passed refers to a message, and what it would
 * have found the message by goes.
 */
static void a_snapshot_has_what_came_behind_it(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[200];
    struct tf_bytes body = tf_bytes_of(bytes, sizeof(bytes));
    unsigned loaded = 0;

    for (unsigned pieces = 0; pieces < 14; pieces++) {
        uint64_t id = 1 + pieces * 100000, last = id + 6000;
        uint64_t queue = 1000 + pieces * 2;
        assert_int_equal(tf_journal_message(f->journal, id, &body, 1), TF_OK);
        assert_int_equal(tf_journal_entry(f->journal, queue, id, id, text("")), TF_OK);
        assert_int_equal(tf_journal_commit(f->journal), TF_OK);
        for (uint64_t i = id + 1; i <= last; i++) {
            assert_int_equal(tf_journal_message(f->journal, i, &body, 1), TF_OK);
            assert_int_equal(tf_journal_entry(f->journal, queue + 1, i, i, text("")), TF_OK);
        }
        assert_int_equal(tf_journal_commit(f->journal), TF_OK);
        for (unsigned i = 0; i < pieces; i++)
            (void)tf_journal_work(f->journal);
        assert_int_equal(tf_journal_entry(f->journal, queue, last, last, text("")), TF_OK);
        assert_int_equal(tf_journal_settle(f->journal, queue + 1, last, last), TF_OK);
        assert_int_equal(tf_journal_commit(f->journal), TF_OK);
        while (tf_journal_work(f->journal))
            ;
        crash(f);
        loaded += f->report.from_snapshot;
        assert_int_equal(f->report.lost_messages, 0);
        assert_int_equal(entries(f), 6001);
        assert_int_equal(tf_journal_settle(f->journal, queue, 0, UINT64_MAX), TF_OK);
        assert_int_equal(tf_journal_settle(f->journal, queue + 1, 0, UINT64_MAX), TF_OK);
        assert_int_equal(tf_journal_commit(f->journal), TF_OK);
        assert_true(tf_journal_check(f->journal));
    }
    assert_true(loaded > 8);
}

/* What the header says an entry and a message cost. */
static void memory_of_an_entry(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes body = text("x");
    struct tf_journal_stats before, after;
    uint64_t count = 100000;

    assert_int_equal(tf_journal_message(f->journal, 1, &body, 1), TF_OK);
    assert_int_equal(tf_journal_entry(f->journal, 2, 1, 1, text("")), TF_OK);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    tf_journal_stats(f->journal, &before);
    for (uint64_t i = 1; i <= count; i++) {
        assert_int_equal(tf_journal_entry(f->journal, 1, i, 1, text("12345678")), TF_OK);
        if (i % 100 == 0)
            assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    }
    tf_journal_stats(f->journal, &after);
    assert_true(after.index_bytes - before.index_bytes < count * (TF_JOURNAL_ENTRY_BYTES + 8));
    before = after;
    for (uint64_t i = 2; i <= count; i++) {
        publish(f, count + i, &body);
        if (i % 100 == 0)
            assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    }
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    tf_journal_stats(f->journal, &after);
    assert_true(after.index_bytes - before.index_bytes <
                count * (TF_JOURNAL_ENTRY_BYTES + TF_JOURNAL_MESSAGE_BYTES + 8));
    /* And it comes back, of so many little by little. */
    assert_int_equal(tf_journal_settle(f->journal, 1, 0, UINT64_MAX), TF_OK);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    assert_true(tf_journal_check(f->journal));
    while (tf_journal_work(f->journal))
        ;
    tf_journal_stats(f->journal, &after);
    assert_int_equal(after.entries, 1);
    assert_true(after.index_bytes < before.index_bytes);
    assert_true(tf_journal_check(f->journal));
}

/* A damaged message in a segment that is emptied: told, and the segment is kept aside. */
static void a_body_is_damaged(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[30000];
    struct tf_bytes body = tf_bytes_of(bytes, sizeof(bytes)), small = text("needle in the hay");
    char back[17];
    size_t length;
    uint8_t *data;

    publish(f, 1, &small);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    data = sim_disk_content(&f->sim, "0000000001.log", &length);
    for (size_t i = 0; i + 6 < length; i++)
        if (!memcmp(data + i, "needle", 6))
            data[i] ^= 1;
    for (uint64_t id = 2; id < 400; id++) {
        publish(f, id, &body);
        if (id > 2)
            assert_int_equal(tf_journal_settle(f->journal, 1, id - 1, id - 1), TF_OK);
        assert_int_equal(tf_journal_commit(f->journal), TF_OK);
        while (tf_journal_work(f->journal))
            ;
    }
    assert_null(sim_disk_content(&f->sim, "0000000001.log", &length));
    assert_non_null(sim_disk_content(&f->sim, "0000000001.log.damaged", &length));
    assert_int_equal(tf_journal_read(f->journal, 1, back, 17), TF_PROTOCOL);
    assert_int_equal(entries(f), 2);
    reopen(f);
    assert_int_equal(f->report.lost_messages, 1);
    assert_int_equal(tf_journal_read(f->journal, 1, back, 17), TF_PROTOCOL);
    assert_int_equal(entries(f), 2);
}

/* A segment that does not take what is written to it: what cannot be refused goes to the spare. */
static void a_place_that_takes_nothing(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes body = text("needle in the hay");
    struct tf_journal_stats before, after;

    publish(f, 1, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    while (tf_journal_work(f->journal))
        ;
    assert_true(tf_journal_roomy(f->journal));
    tf_journal_stats(f->journal, &before);
    for (unsigned try = 0; try < 3; try++) {
        publish(f, 2, &body);
        f->sim.fail_at = f->sim.calls + 1;
        f->sim.fail_with = TF_LIMIT;
        assert_int_equal(tf_journal_commit(f->journal), TF_LIMIT);
    }
    tf_journal_stats(f->journal, &after);
    assert_int_equal(after.segments, before.segments);
    tf_journal_lend(f->journal, true);
    publish(f, 2, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    tf_journal_stats(f->journal, &after);
    assert_int_equal(after.segments, before.segments + 1);
    publish(f, 3, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK); /* and stays there */
    tf_journal_stats(f->journal, &after);
    assert_int_equal(after.segments, before.segments + 1);
    for (unsigned way = 0; way < 2; way++) {
        if (way)
            reopen(f);
        else
            crash(f);
        assert_int_equal(entries(f), 3);
        assert_int_equal(f->report.damaged_groups, 0);
        assert_int_equal(f->report.torn_bytes, 0);
    }
}

struct told {
    unsigned calls;
    uint32_t number;
    char aside[32];
};

static void tell_damage(void *ctx, uint32_t number, uint64_t offset, const char *aside)
{
    struct told *told = ctx;

    assert_true(offset > 0);
    told->calls++;
    told->number = number;
    snprintf(told->aside, sizeof(told->aside), "%s", aside ? aside : "");
}

/* The same when it is read: its bytes are in a file of their own, all else is served. */
static void a_damaged_body_is_read(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes bodies[] = {text("first in the hay"), text("needle in the hay"),
                                text("third in the hay.")};
    struct told told = {0};
    char back[3][17];
    struct tf_journal_want wants[] = {{1, (uint8_t *)back[0], 16, TF_OK},
                                      {2, (uint8_t *)back[0] + 16, 17, TF_OK},
                                      {3, (uint8_t *)back[2], 17, TF_OK}};
    size_t length, at = 0;
    uint8_t *data;

    f->config.damaged = tell_damage;
    f->config.damaged_ctx = &told;
    reopen(f);
    for (uint64_t id = 1; id <= 3; id++)
        publish(f, id, &bodies[id - 1]);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    for (uint32_t number = 1; !at && number < 4; number++) {
        char name[] = "000000000x.log";
        name[9] = (char)('0' + number);
        data = sim_disk_content(&f->sim, name, &length);
        for (size_t i = 0; data && i + 6 < length; i++)
            if (!memcmp(data + i, "needle", 6)) {
                data[i] ^= 1;
                at = i;
            }
    }
    assert_true(at > 0);
    for (unsigned run = 1; run <= 2; run++) { /* the next one knows it from the snapshot */
        for (unsigned i = 0; i < 3; i++)
            wants[i].err = TF_OK;
        tf_journal_read_all(f->journal, wants, 3);
        assert_int_equal(wants[0].err, TF_OK);
        assert_int_equal(wants[1].err, TF_PROTOCOL);
        assert_int_equal(wants[2].err, TF_OK);
        assert_memory_equal(back[2], "third in the hay.", 17);
        assert_int_equal(tf_journal_read(f->journal, 2, back, 17), TF_PROTOCOL);
        assert_int_equal(told.calls, 1);
        data = sim_disk_content(&f->sim, told.aside, &length);
        assert_non_null(data);
        assert_int_equal(length, 17);
        assert_memory_equal(data, "oeedle in the hay", 17);
        assert_true(tf_journal_check(f->journal));
        assert_false(tf_journal_has(f->journal, 2));
        reopen(f);
        assert_int_equal(f->report.damaged_groups, 0);
        assert_int_equal(f->report.lost_messages, 1);
    }
    assert_int_equal(tf_journal_read(f->journal, 3, back, 17), TF_OK);
}

/* Where there is no room for a copy the segment is kept. */
static void a_damaged_body_finds_no_room(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes small = text("needle in the hay");
    struct told told = {0};
    char back[17];
    size_t length;
    uint8_t *data;

    f->config.damaged = tell_damage;
    f->config.damaged_ctx = &told;
    reopen(f);
    publish(f, 1, &small);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    data = sim_disk_content(&f->sim, "0000000001.log", &length);
    for (size_t i = 0; i + 6 < length; i++)
        if (!memcmp(data + i, "needle", 6))
            data[i] ^= 1;
    f->sim.fail_at = f->sim.calls + 3; /* read, size, open */
    f->sim.fail_with = TF_LIMIT;
    assert_int_equal(tf_journal_read(f->journal, 1, back, 17), TF_PROTOCOL);
    assert_int_equal(told.calls, 1);
    assert_string_equal(told.aside, "");
    assert_int_equal(tf_journal_read(f->journal, 1, back, 17), TF_PROTOCOL);
    assert_int_equal(told.calls, 2);
    assert_non_null(sim_disk_content(&f->sim, told.aside, &length));
}

/*
 * A snapshot that is written while things change may know more than the group from which the log is
 * read on top of it: what came after a settlement is not settled by it.
 */
static void snapshot_knows_more(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes body = text("body");
    struct tf_journal_stats stats = {0};
    struct tf_journal_place place;
    uint8_t value[100] = {0};
    char key[16];

    for (unsigned i = 0; i < 12000; i++) {
        snprintf(key, sizeof(key), "%u", i);
        assert_int_equal(
            tf_journal_put(f->journal, 1, text(key), tf_bytes_of(value, sizeof(value)), NULL, 0),
            TF_OK);
        if (i % 1000 == 999)
            assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    }
    publish(f, 10, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    while (!stats.snapshot_bytes) { /* it has begun, with some of the objects */
        assert_true(tf_journal_work(f->journal));
        tf_journal_stats(f->journal, &stats);
    }
    assert_true(stats.snapshot_bytes < 12000 * sizeof(value));
    assert_int_equal(tf_journal_settle(f->journal, 1, 0, UINT64_MAX), TF_OK);
    publish(f, 11, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    publish(f, 12, &body);
    assert_int_equal(tf_journal_commit(f->journal), TF_OK);
    while (tf_journal_work(f->journal)) {
    }
    assert_int_equal(entries(f), 2);
    crash(f);
    assert_true(f->report.from_snapshot);
    assert_int_equal(entries(f), 2);
    assert_true(tf_journal_entry_from(f->journal, 1, 0, &place));
    assert_int_equal(place.position, 11);
    assert_true(tf_journal_entry_from(f->journal, 1, 12, &place));
    assert_true(tf_journal_check(f->journal));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_of_each, setup, teardown),
        cmocka_unit_test_setup_teardown(snapshot_knows_more, setup, teardown),
        cmocka_unit_test_setup_teardown(misuse_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(one_process_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_version_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(the_limit_is_hard, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_message, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_sync_is_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(written_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_has_what_came_behind_it, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_of_an_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_is_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_body_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_place_that_takes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_body_finds_no_room, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
