/*
 * Writing values under conditions, from the home and from elsewhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/route_rig.h"

struct fixture {
    struct rig rig;
    struct sink sinks[RIG_SHARDS];
    struct tf_ticket_owner owner;
    unsigned done;
    uint64_t tag;
    struct tf_published result;
    char name[32];
    struct tf_bytes address;
};

static void on_done(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct fixture *f = tf_container_of(owner, struct fixture, owner);
    f->done++;
    f->tag = tag;
    f->result = *result;
}

/* Shards with a sink each for everything, and an address at home in `home`. */
static struct fixture *start(unsigned shards, size_t capacity, unsigned home)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, shards, capacity);
    f->owner.done = on_done;
    tf_list_init(&f->owner.tickets);
    for (unsigned i = 0; i < shards; i++) {
        sink_start(&f->sinks[i], &f->rig.shards[i], true);
        sink_bind(&f->sinks[i], "#", 1, false, 0);
    }
    rig_settle(&f->rig);
    f->address = rig_address(&f->rig, home, "w/", f->name, sizeof(f->name));
    return f;
}

static void stop(struct fixture *f)
{
    rig_settle(&f->rig);
    rig_check(&f->rig);
    for (unsigned i = 0; i < f->rig.count; i++) {
        sink_stop(&f->sinks[i]);
    }
    tf_ticket_owner_release(&f->owner);
    rig_stop(&f->rig);
    free(f);
}

/* As tf_shard_write of a text, or of a clearing (`body` NULL). */
static enum tf_err write_text(struct fixture *f, unsigned shard, const char *body,
                              const struct tf_condition *condition, bool waits, uint64_t tag,
                              struct tf_published *ret)
{
    struct tf_bytes bytes;
    struct tf_publication publication = rig_publication(f->address, body, 1, true, &bytes);
    enum tf_err err = tf_shard_write(&f->rig.shards[shard], &publication, condition,
                                     waits ? &f->owner : NULL, tag, ret);
    tf_publication_release(&publication);
    return err;
}

/* Writes and waits for the result. */
static struct tf_published written(struct fixture *f, unsigned shard, const char *body,
                                   const struct tf_condition *condition)
{
    struct tf_published result = {0};
    unsigned done = f->done;
    enum tf_err err = write_text(f, shard, body, condition, true, 77, &result);
    if (err == TF_OK) {
        return result;
    }
    assert_int_equal(err, TF_AGAIN);
    assert_int_equal(f->done, done);
    rig_settle(&f->rig);
    assert_int_equal(f->done, done + 1);
    assert_int_equal(f->tag, 77);
    return f->result;
}

static size_t seen_by_all(const struct fixture *f, const char *body)
{
    size_t count = 0;
    for (unsigned i = 0; i < f->rig.count; i++) {
        count += sink_count(&f->sinks[i], NULL, body);
    }
    return count;
}

static const struct tf_value *value_at(struct fixture *f, unsigned home)
{
    return tf_values_get(&f->rig.shards[home].values, f->address);
}

static void conditions(unsigned shards, unsigned writer, unsigned home)
{
    struct fixture *f = start(shards, 8, home);
    struct tf_condition absent = {.absent = true};
    struct tf_condition exists = {.exists = true};
    struct tf_condition never = {.exists = true, .absent = true};
    /* nothing there */
    struct tf_published result = written(f, writer, "no", &exists);
    assert_true(result.failed);
    assert_false(result.existed);
    uint64_t stale = 0;
    struct tf_condition none = {.versions = &stale, .version_count = 1};
    assert_true(written(f, writer, "no", &none).failed);
    assert_null(value_at(f, home));
    assert_int_equal(seen_by_all(f, NULL), 0);
    /* the first */
    result = written(f, writer, "1", &absent);
    assert_false(result.failed);
    assert_false(result.existed);
    assert_int_equal(result.matched, shards);
    assert_int_equal(result.taken, shards + 1);
    assert_int_equal(result.version, value_at(f, home)->version);
    assert_int_equal(value_at(f, home)->writer, home);
    assert_int_equal(seen_by_all(f, "1"), shards);
    uint64_t first = result.version;
    /* it is there */
    result = written(f, writer, "no", &absent);
    assert_true(result.failed && result.existed);
    assert_int_equal(result.version, first);
    assert_true(written(f, writer, "no", &never).failed);
    assert_true(written(f, writer, "no", &none).failed);
    assert_int_equal(seen_by_all(f, "no"), 0);
    /* one of several versions */
    uint64_t versions[] = {0, first + 1000, first};
    struct tf_condition match = {.versions = versions, .version_count = 3};
    result = written(f, writer, "2", &match);
    assert_false(result.failed);
    assert_true(result.existed);
    assert_true(result.version > first);
    assert_true(written(f, writer, "no", &match).failed); /* which it is no more */
    match.absent = true;
    versions[1] = result.version;
    assert_true(written(f, writer, "no", &match).failed); /* all that is set must hold */
    match.absent = false;
    match.exists = true;
    assert_false(written(f, writer, "3", &match).failed);
    assert_false(written(f, writer, "4", &exists).failed);
    assert_false(written(f, writer, "5", NULL).failed);
    assert_int_equal(seen_by_all(f, "no"), 0);
    assert_int_equal(seen_by_all(f, "5"), shards);
    stop(f);
}

static void test_conditions(void **state)
{
    (void)state;
    conditions(1, 0, 0);
    conditions(3, 1, 1);
    conditions(3, 0, 2);
    conditions(3, 2, 0);
}

static void test_clear(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        for (unsigned writer = 0; writer < shards; writer++) {
            struct fixture *f = start(shards, 8, shards - 1);
            struct tf_published result = written(f, writer, NULL, NULL);
            assert_false(result.existed || result.failed || result.refused);
            assert_int_equal(seen_by_all(f, ""), shards); /* published all the same */
            uint64_t before = written(f, writer, "x", NULL).version;
            result = written(f, writer, NULL, NULL);
            assert_true(result.existed);
            assert_true(result.version > before);
            assert_null(value_at(f, shards - 1));
            assert_int_equal(seen_by_all(f, ""), 2 * shards);
            struct tf_condition exists = {.exists = true};
            assert_true(written(f, writer, NULL, &exists).failed);
            assert_int_equal(seen_by_all(f, ""), 2 * shards);
            stop(f);
        }
    }
}

/* A value that a limit refuses is not published either. */
static void test_limit(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8, 1);
    uint64_t version = written(f, 0, "old", NULL).version;
    f->rig.shards[1].values.limits.bytes = 1;
    for (unsigned writer = 0; writer < 3; writer++) {
        struct tf_published result = written(f, writer, "new", NULL);
        assert_true(result.refused && result.existed);
        assert_int_equal(result.taken, 0);
        assert_int_equal(result.version, version);
    }
    assert_int_equal(seen_by_all(f, "new"), 0);
    assert_int_equal(value_at(f, 1)->version, version);
    stop(f);
}

/* The writer hears of it when everybody has it, not when the home has. */
static void test_answer_after_all(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8, 1);
    struct tf_published result;
    struct tf_shard *shards = f->rig.shards;
    assert_int_equal(write_text(f, 0, "x", NULL, true, 9, &result), TF_AGAIN);
    assert_null(value_at(f, 1));
    tf_shard_receive(&shards[1]); /* the home */
    assert_non_null(value_at(f, 1));
    tf_shard_receive(&shards[0]); /* gets the message, as any other shard */
    assert_int_equal(sink_count(&f->sinks[0], NULL, "x"), 1);
    tf_shard_receive(&shards[1]);
    tf_shard_receive(&shards[0]);
    assert_int_equal(f->done, 0); /* shard 2 has not answered */
    tf_shard_receive(&shards[2]);
    tf_shard_receive(&shards[1]);
    assert_int_equal(f->done, 0);
    tf_shard_receive(&shards[0]);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->result.taken, 4);
    assert_int_equal(f->tag, 9);
    stop(f);
}

static void test_nobody_waits(void **state)
{
    (void)state;
    struct fixture *f = start(3, 1, 2);
    struct tf_published result;
    assert_int_equal(write_text(f, 0, "1", NULL, false, 0, &result), TF_OK);
    assert_int_equal(write_text(f, 2, "0", NULL, false, 0, &result), TF_OK);
    rig_settle(&f->rig);
    assert_int_equal(seen_by_all(f, "1"), 3);
    /* the owner goes before the answer comes */
    assert_int_equal(write_text(f, 1, "2", NULL, true, 1, &result), TF_AGAIN);
    assert_int_equal(write_text(f, 2, "3", NULL, true, 2, &result), TF_AGAIN);
    tf_ticket_owner_release(&f->owner);
    rig_settle(&f->rig);
    assert_int_equal(f->done, 0);
    assert_int_equal(seen_by_all(f, "2"), 3);
    stop(f);
}

/* Of writers who all want to be the first, one is, whatever the order of mail. */
static void test_one_winner(void **state)
{
    (void)state;
    struct tf_condition absent = {.absent = true};
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct tf_random random;
        struct tf_published result;
        tf_random_init(&random, seed);
        struct fixture *f =
            start(3, (size_t)1 << tf_random_below(&random, 3), (unsigned)(seed % 3));
        unsigned asked = 0;
        unsigned won = 0;
        for (unsigned i = 0; i < 12; i++) {
            enum tf_err err =
                write_text(f, i % 3, i % 3 == 0 ? "a" : "b", &absent, true, i, &result);
            asked++;
            won += err == TF_OK && !result.failed;
            won += err == TF_AGAIN && i % 3 == seed % 3; /* at home: it has been set */
            for (unsigned n = (unsigned)tf_random_below(&random, 4); n; n--) {
                rig_step(&f->rig, &random);
            }
        }
        rig_settle(&f->rig);
        assert_int_equal(seen_by_all(f, NULL), 3);
        assert_true(won <= 1 && asked == 12);
        assert_true(tf_list_empty(&f->owner.tickets));
        stop(f);
    }
}

/*
 * A write with one allocation, or all from one on, failing: either everything has happened or
 * nothing has, and the writer knows. True: none failed.
 */
static bool write_with_failure(size_t nth, bool on, size_t capacity, unsigned writer)
{
    struct fixture *f = start(3, capacity, 1);
    struct tf_published result = {0};
    test_alloc_fail(&f->rig.memory, nth);
    f->rig.memory.fail_on = on;
    enum tf_err err = write_text(f, writer, "x", NULL, true, 5, &result);
    enum tf_err second = write_text(f, writer, "y", NULL, true, 5, &result);
    for (unsigned i = 0; i < 12; i++) {
        tf_shard_receive(&f->rig.shards[i % 3]);
        rig_check(&f->rig);
    }
    bool failed = f->rig.memory.failed != 0;
    test_alloc_fail(&f->rig.memory, 0);
    f->rig.memory.fail_on = false;
    rig_settle(&f->rig);
    assert_int_equal(f->done, (err == TF_AGAIN) + (second == TF_AGAIN));
    if (err == TF_NO_MEMORY && second == TF_NO_MEMORY) {
        assert_true(failed);
        assert_null(value_at(f, 1));
        assert_int_equal(seen_by_all(f, NULL), 0);
    }
    if (f->done && !f->result.refused) {
        assert_non_null(value_at(f, 1));
        assert_int_equal(f->result.taken, 4);
    }
    if (f->done && f->result.refused && f->result.taken == 0) {
        assert_int_equal(seen_by_all(f, second == TF_AGAIN ? "y" : "x"), 0);
    }
    if (!failed) {
        assert_int_equal(seen_by_all(f, "x"), 3);
        assert_int_equal(seen_by_all(f, "y"), 3);
        assert_int_equal(value_at(f, 1)->version, f->result.version);
    }
    stop(f);
    return !failed;
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 8; kind++) {
        size_t nth = 1;
        while (!write_with_failure(nth, kind & 1, kind & 2 ? 1 : 64, kind & 4 ? 1 : 0)) {
            nth++;
        }
        assert_true(nth > 4);
    }
}

/* A shard ends while writes are under way. */
static void test_abandoned(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 8; steps++) {
        struct fixture *f = start(3, 64, 1);
        struct tf_published result;
        struct tf_random random;
        tf_random_init(&random, steps);
        assert_int_equal(write_text(f, 0, "x", NULL, true, 5, &result), TF_AGAIN);
        assert_int_equal(write_text(f, 2, "y", NULL, false, 5, &result), TF_OK);
        for (unsigned i = 0; i < steps; i++) {
            rig_step(&f->rig, &random);
        }
        tf_ticket_owner_release(&f->owner);
        for (unsigned i = 0; i < f->rig.count; i++) {
            f->rig.shards[i].ending = true; /* nobody reads what unbinding would mail */
            sink_stop(&f->sinks[i]);
        }
        rig_abandon(&f->rig);
        free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_answer_after_all),
        cmocka_unit_test(test_nobody_waits),
        cmocka_unit_test(test_one_winner),
        cmocka_unit_test(test_every_allocation_failed),
        cmocka_unit_test(test_abandoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
