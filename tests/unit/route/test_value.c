/*
 * The values of addresses: versions, limits, expiry, and the cursor over a store that changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/util.h"
#include "route/table.h"
#include "route/value.h"
#include "unit/route/test_alloc.h"

struct fixture {
    struct test_alloc memory;
    struct tf_timers timers;
    struct tf_values values;
};

static struct fixture *start(size_t count, uint64_t bytes)
{
    static const struct tf_hash_key key = {5, 6};
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct tf_value_limits limits = {count, bytes};
    test_alloc_init(&fixture->memory);
    tf_timers_init(&fixture->timers, 0);
    assert_int_equal(
        tf_values_init(&fixture->values, &fixture->memory.alloc, &fixture->timers, &key, limits, 1),
        TF_OK);
    return fixture;
}

static void check(const struct fixture *fixture)
{
    const struct tf_values *values = &fixture->values;
    uint64_t bytes = 0;
    struct tf_tree_node *node;
    for (node = tf_tree_first(&values->ordered); node; node = tf_tree_next(node)) {
        const struct tf_value *value = tf_container_of(node, struct tf_value, ordered);
        bytes += sizeof(*value) + value->message->size;
    }
    assert_int_equal(bytes, values->bytes);
    assert_int_equal(values->count, values->map.count);
    assert_int_equal(values->count, values->ordered.count);
    assert_true(tf_tree_check(&values->ordered));
    assert_true(tf_map_check(&values->map));
    assert_true(tf_timers_check(&fixture->timers));
}

static void stop(struct fixture *fixture)
{
    check(fixture);
    tf_values_release(&fixture->values);
    assert_int_equal(fixture->memory.blocks, 0);
    assert_int_equal(tf_timers_next(&fixture->timers), TF_TIME_NEVER);
    free(fixture);
}

static enum tf_err set_until(struct fixture *fixture, const char *address, const char *text,
                             tf_time expires, unsigned writer)
{
    struct tf_bytes body = tf_bytes_str(text);
    struct tf_publication publication = {.envelope = {.address = tf_bytes_str(address),
                                                      .expires = expires,
                                                      .retain = true,
                                                      .clear = body.length == 0},
                                         .body = &body,
                                         .body_count = body.length != 0};
    struct tf_message *message = tf_publication_keep(&publication, &fixture->memory.alloc);
    tf_publication_release(&publication);
    if (!message) {
        return TF_NO_MEMORY;
    }
    enum tf_err err = tf_values_set(&fixture->values, message, writer);
    tf_message_unref(message);
    return err;
}

static enum tf_err set(struct fixture *fixture, const char *address, const char *text)
{
    return set_until(fixture, address, text, TF_TIME_NEVER, 0);
}

static bool holds(struct fixture *fixture, const char *address, const char *text)
{
    const struct tf_value *value = tf_values_get(&fixture->values, tf_bytes_str(address));
    if (!value || !text) {
        return !value && !text;
    }
    return tf_bytes_equal(value->message->publication.body[0], tf_bytes_str(text));
}

static void test_versions(void **state)
{
    (void)state;
    struct fixture *f = start(10, 1 << 20);
    assert_true(holds(f, "a", NULL));
    assert_int_equal(set_until(f, "a", "1", TF_TIME_NEVER, 2), TF_OK);
    const struct tf_value *value = tf_values_get(&f->values, tf_bytes_str("a"));
    uint64_t first = value->version;
    assert_int_equal(value->writer, 2);
    assert_int_equal(first, f->values.version);
    assert_int_equal(set(f, "b", "x"), TF_OK);
    assert_int_equal(set_until(f, "a", "2", TF_TIME_NEVER, 1), TF_OK);
    value = tf_values_get(&f->values, tf_bytes_str("a"));
    assert_true(holds(f, "a", "2"));
    assert_int_equal(value->version, first + 2);
    assert_int_equal(value->writer, 1);
    assert_int_equal(f->values.count, 2);
    /* MQTT 5.0 3.3.1-6: an empty one clears, and that is a write as well */
    assert_int_equal(set(f, "a", ""), TF_OK);
    assert_true(holds(f, "a", NULL));
    assert_int_equal(f->values.version, first + 3);
    assert_int_equal(set(f, "a", ""), TF_OK); /* nothing there */
    assert_int_equal(f->values.count, 1);
    stop(f);
}

static void test_limits(void **state)
{
    (void)state;
    struct fixture *f = start(2, 1 << 20);
    assert_int_equal(set(f, "a", "1"), TF_OK);
    assert_int_equal(set(f, "b", "1"), TF_OK);
    assert_int_equal(set(f, "c", "1"), TF_LIMIT);
    assert_int_equal(set(f, "a", "2"), TF_OK); /* in place of another */
    assert_true(holds(f, "c", NULL));
    assert_int_equal(set(f, "c", ""), TF_OK);
    assert_int_equal(set(f, "b", ""), TF_OK);
    assert_int_equal(set(f, "c", "1"), TF_OK);
    /* bytes */
    f->values.limits.bytes = f->values.bytes + 3;
    assert_int_equal(set(f, "a", "1234"), TF_OK); /* three more than "2" */
    uint64_t version = f->values.version;
    assert_int_equal(set(f, "a", "12345"), TF_LIMIT);
    assert_true(holds(f, "a", "1234")); /* what was refused changed nothing */
    assert_int_equal(f->values.version, version);
    assert_int_equal(set(f, "a", "x"), TF_OK);
    stop(f);
}

static void test_expiry(void **state)
{
    (void)state;
    struct fixture *f = start(10, 1 << 20);
    struct tf_timer *timer;
    assert_int_equal(set_until(f, "a", "1", 5 * TF_SECOND, 0), TF_OK);
    assert_int_equal(set_until(f, "b", "1", 5 * TF_SECOND, 0), TF_OK);
    assert_int_equal(set(f, "b", "2"), TF_OK); /* for ever: the timer of the former is gone */
    assert_null(tf_timers_expire(&f->timers, 4 * TF_SECOND));
    unsigned expired = 0;
    while ((timer = tf_timers_expire(&f->timers, 6 * TF_SECOND))) {
        tf_values_expire(&f->values, timer);
        expired++;
    }
    assert_int_equal(expired, 1);
    assert_true(holds(f, "a", NULL));
    assert_true(holds(f, "b", "2"));
    stop(f);
}

/* Reads all that a filter matches; fails if the order is wrong. The number of values. */
static size_t read_all(struct fixture *f, const char *filter, size_t budget, char *ret_last)
{
    struct tf_value_cursor cursor = {.filter = tf_bytes_str(filter)};
    const struct tf_value *value;
    size_t count = 0;
    bool more = true;
    ret_last[0] = 0;
    while (more) {
        value = tf_values_next(&f->values, &cursor, budget, &more);
        if (!value) {
            continue;
        }
        struct tf_bytes address = value->message->publication.envelope.address;
        assert_true(tf_filter_matches(cursor.filter, address));
        assert_true(tf_bytes_compare(tf_bytes_str(ret_last), address) < 0);
        memcpy(ret_last, address.data, address.length);
        ret_last[address.length] = 0;
        count++;
    }
    assert_null(tf_values_next(&f->values, &cursor, budget, &more));
    assert_false(more);
    tf_value_cursor_release(&cursor, &f->memory.alloc);
    return count;
}

static void test_cursor(void **state)
{
    static const char *const addresses[] = {"a", "a!", "a/b", "a/b/c", "a/c",  "aa",  "aa/b", "b",
                                            "/", "/a", "$S",  "$S/a",  "a//b", "b/c", "b/c/d"};
    static const char *const filters[] = {"#",    "a/#", "+",     "a/+",  "+/b", "a/b",   "/#",
                                          "$S/#", "$S",  "+/+/+", "none", "b/+", "a/+/#", "x/#"};
    (void)state;
    struct fixture *f = start(100, 1 << 20);
    char last[64];
    for (size_t i = 0; i < TF_COUNT(addresses); i++) {
        assert_int_equal(set(f, addresses[i], "x"), TF_OK);
    }
    for (size_t i = 0; i < TF_COUNT(filters); i++) {
        size_t wanted = 0;
        for (size_t j = 0; j < TF_COUNT(addresses); j++) {
            wanted += tf_filter_matches(tf_bytes_str(filters[i]), tf_bytes_str(addresses[j]));
        }
        for (size_t budget = 1; budget < 20; budget++) {
            assert_int_equal(read_all(f, filters[i], budget, last), wanted);
        }
    }
    stop(f);
}

/* The budget bounds what one call looks at. */
static void test_cursor_budget(void **state)
{
    (void)state;
    struct fixture *f = start(1000, 1 << 20);
    char address[32];
    for (int i = 0; i < 100; i++) {
        sprintf(address, "a/%03d/x", i);
        assert_int_equal(set(f, address, "x"), TF_OK);
    }
    assert_int_equal(set(f, "a/100/y", "x"), TF_OK);
    struct tf_value_cursor cursor = {.filter = tf_bytes_str("a/+/y")};
    bool more = true;
    unsigned calls = 0;
    const struct tf_value *value = NULL;
    while (!value && more) {
        value = tf_values_next(&f->values, &cursor, 10, &more);
        calls++;
    }
    assert_non_null(value);
    assert_int_equal(calls, 11);
    tf_value_cursor_release(&cursor, &f->memory.alloc);
    stop(f);
}

/*
 * While values come and go between the steps, each that is there all the time comes exactly once,
 * and none twice.
 */
static void test_cursor_over_changes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct tf_random random;
        struct fixture *f = start(1000, 1 << 20);
        char address[32];
        unsigned seen[200] = {0};
        tf_random_init(&random, seed);
        for (int i = 0; i < 200; i += 2) { /* the even ones stay */
            sprintf(address, "t/%03d", i);
            assert_int_equal(set(f, address, "x"), TF_OK);
        }
        struct tf_value_cursor cursor = {.filter = tf_bytes_str("t/#")};
        bool more = true;
        while (more) {
            const struct tf_value *value =
                tf_values_next(&f->values, &cursor, 1 + (size_t)tf_random_below(&random, 5), &more);
            if (value) {
                struct tf_bytes got = value->message->publication.envelope.address;
                memcpy(address, got.data, got.length);
                address[got.length] = 0;
                seen[atoi(address + 2)]++;
            }
            for (uint64_t n = tf_random_below(&random, 4); n; n--) {
                int i = (int)tf_random_below(&random, 100) * 2 + 1;
                sprintf(address, "t/%03d", i);
                assert_int_equal(set(f, address, tf_random_chance(&random, 1, 2) ? "y" : ""),
                                 TF_OK);
                sprintf(address, "t/%03d", i - 1);
                assert_int_equal(set(f, address, "new"), TF_OK);
            }
        }
        for (int i = 0; i < 200; i++) {
            assert_true(i % 2 ? seen[i] <= 1 : seen[i] == 1);
        }
        tf_value_cursor_release(&cursor, &f->memory.alloc);
        stop(f);
    }
}

/* Sets, replaces, clears and reads with one allocation failing. True: none failed. */
static bool use_with_failure(size_t nth)
{
    struct fixture *f = start(100, 1 << 20);
    char address[16];
    char last[64];
    for (int i = 0; i < 4; i++) {
        sprintf(address, "a/%d", i);
        assert_int_equal(set(f, address, "old"), TF_OK);
    }
    test_alloc_fail(&f->memory, nth);
    for (int i = 2; i < 8; i++) {
        sprintf(address, "a/%d", i);
        enum tf_err err = set(f, address, "new");
        if (err) { /* as it was */
            assert_int_equal(err, TF_NO_MEMORY);
            assert_true(holds(f, address, i < 4 ? "old" : NULL));
        } else {
            assert_true(holds(f, address, "new"));
        }
        check(f);
    }
    assert_int_equal(read_all(f, "a/+", 3, last), f->values.count); /* the cursor tries again */
    bool done = f->memory.failed == 0;
    stop(f);
    return done;
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    size_t nth = 1;
    while (!use_with_failure(nth)) {
        nth++;
    }
    assert_true(nth > 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_cursor),
        cmocka_unit_test(test_cursor_budget),
        cmocka_unit_test(test_cursor_over_changes),
        cmocka_unit_test(test_every_allocation_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
