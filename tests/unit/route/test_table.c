/*
 * The route table, against the plain comparison of a filter with an address.
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
#include "unit/route/test_alloc.h"

#define FILTERS 200u
#define TEXT_MAX 600u

struct text {
    char chars[TEXT_MAX];
    size_t length;
};

static const struct tf_hash_key key = {1, 2};

static struct tf_bytes view(const struct text *text)
{
    return tf_bytes_of(text->chars, text->length);
}

/* A filter or an address of few different levels, so that many meet. */
static void draw(struct tf_random *random, bool filter, struct text *ret)
{
    static const char *const names[] = {"", "a", "b", "$s", "ab"};
    size_t levels = 1 + tf_random_below(random, 5);
    do {
        ret->length = 0;
        for (size_t i = 0; i < levels; i++) {
            uint64_t kind = filter ? tf_random_below(random, 4) : 3;
            const char *level = kind == 0 ? "+" : names[tf_random_below(random, TF_COUNT(names))];
            if (kind == 1 && i + 1 == levels) {
                level = "#";
            }
            ret->length += (size_t)sprintf(ret->chars + ret->length, "%s%s", i ? "/" : "", level);
        }
    } while (ret->length == 0);
}

static void test_filter_matches(void **state)
{
    static const struct {
        const char *filter, *address;
        bool matches;
    } cases[] = {
        /* MQTT 5.0 4.7.1.2 */
        {"sport/tennis/player1/#", "sport/tennis/player1", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
        {"sport/tennis/player1/#", "sport/tennis/player12", false},
        {"sport/#", "sport", true},
        {"#", "a", true},
        {"#", "/", true},
        /* 4.7.1.3 */
        {"sport/tennis/+", "sport/tennis/player1", true},
        {"sport/tennis/+", "sport/tennis/player1/ranking", false},
        {"sport/+", "sport", false},
        {"sport/+", "sport/", true},
        {"+/+", "/finance", true},
        {"/+", "/finance", true},
        {"+", "/finance", false},
        /* 4.7.2 */
        {"#", "$SYS/x", false},
        {"+/monitor/Clients", "$SYS/monitor/Clients", false},
        {"+", "$SYS", false},
        {"$SYS/#", "$SYS/x", true},
        {"$SYS/#", "$SYS", true},
        {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
        {"a/+", "a/$b", true},
        /* 4.7.3: case counts, and so does a slash */
        {"ACCOUNTS", "Accounts", false},
        {"/finance", "finance", false},
        {"a//b", "a//b", true},
        {"a/+/b", "a//b", true},
        {"a//b", "a/b", false},
        {"a/b", "a/b/", false},
    };
    (void)state;
    for (size_t i = 0; i < TF_COUNT(cases); i++) {
        if (tf_filter_matches(tf_bytes_str(cases[i].filter), tf_bytes_str(cases[i].address)) !=
            cases[i].matches) {
            fail_msg("%s and %s", cases[i].filter, cases[i].address);
        }
    }
    assert_int_equal(tf_address_levels(tf_bytes_str("a//b/")), 4);
    assert_true(tf_filter_wild(tf_bytes_str("a/#")));
    assert_true(tf_filter_wild(tf_bytes_str("+")));
    assert_false(tf_filter_wild(tf_bytes_str("a/b")));
}

/* How often each route comes for an address. */
static size_t matches(struct tf_route_table *table, struct tf_bytes address,
                      struct tf_route *const *routes, size_t count, unsigned *ret_counts)
{
    struct tf_route_match match;
    struct tf_route *found;
    size_t others = 0;
    memset(ret_counts, 0, count * sizeof(*ret_counts));
    tf_route_match_start(&match, table, address);
    while ((found = tf_route_match_next(&match))) {
        size_t i = 0;
        while (i < count && routes[i] != found) {
            i++;
        }
        if (i < count) {
            ret_counts[i]++;
        } else {
            others++;
        }
    }
    assert_null(tf_route_match_next(&match)); /* the end stays the end */
    return others;
}

static void check_match(struct tf_route_table *table, const struct text *address,
                        const struct text *filters, struct tf_route *const *routes, size_t count)
{
    unsigned counts[FILTERS];
    assert_int_equal(matches(table, view(address), routes, count, counts), 0);
    for (size_t i = 0; i < count; i++) {
        bool wanted = routes[i] && tf_filter_matches(view(&filters[i]), view(address));
        if (counts[i] != wanted) {
            fail_msg("%.*s for %.*s: %u times", (int)filters[i].length, filters[i].chars,
                     (int)address->length, address->chars, counts[i]);
        }
    }
}

static void one_table(uint64_t seed)
{
    struct tf_random random;
    struct test_alloc memory;
    struct tf_route_table table;
    struct text filters[FILTERS];
    struct tf_route *routes[FILTERS] = {NULL};
    struct tf_list_node users[FILTERS] = {{NULL, NULL}};
    tf_random_init(&random, seed);
    test_alloc_init(&memory);
    assert_int_equal(tf_route_table_init(&table, &memory.alloc, &key), TF_OK);
    size_t empty = memory.bytes;
    for (unsigned step = 0; step < 1500; step++) {
        size_t i = (size_t)tf_random_below(&random, FILTERS);
        struct text address;
        if (!routes[i]) {
            draw(&random, true, &filters[i]);
            if (!tf_route_find(&table, view(&filters[i]))) {
                routes[i] = tf_route_get(&table, view(&filters[i]));
                tf_list_push_back(&routes[i]->bindings, &users[i]);
                assert_ptr_equal(tf_route_get(&table, view(&filters[i])), routes[i]);
                assert_ptr_equal(tf_route_find(&table, view(&filters[i])), routes[i]);
            }
        } else if (tf_random_chance(&random, 1, 3)) {
            tf_route_unused(&table, routes[i]); /* in use: it stays */
            tf_list_remove(&users[i]);
            tf_route_unused(&table, routes[i]);
            assert_null(tf_route_find(&table, view(&filters[i])));
            routes[i] = NULL;
        }
        draw(&random, false, &address);
        check_match(&table, &address, filters, routes, FILTERS);
    }
    for (size_t i = 0; i < FILTERS; i++) {
        if (routes[i]) {
            tf_list_remove(&users[i]);
            tf_route_unused(&table, routes[i]);
        }
    }
    assert_int_equal(table.route_count, 0);
    assert_int_equal(table.wildcard_count, 0);
    assert_int_equal(table.levels.count, 0);
    assert_int_equal(table.literals.count, 0);
    assert_true(memory.bytes < empty + 64 * 1024); /* no nodes, perhaps buckets */
    tf_route_table_release(&table);
    assert_int_equal(memory.blocks, 0);
}

static void test_random_filters(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        one_table(seed);
    }
}

/* 128 levels, each matched by name and by `+`: the widest walk there can be. */
static void test_many_levels(void **state)
{
    (void)state;
    struct test_alloc memory;
    struct tf_route_table table;
    struct tf_random random;
    struct text filters[FILTERS];
    struct tf_route *routes[FILTERS] = {NULL};
    struct text address = {.length = 0};
    test_alloc_init(&memory);
    tf_random_init(&random, 5);
    assert_int_equal(tf_route_table_init(&table, &memory.alloc, &key), TF_OK);
    for (size_t i = 0; i < TF_LEVELS_MAX; i++) {
        address.length += (size_t)sprintf(address.chars + address.length, "%sa", i ? "/" : "");
    }
    for (size_t f = 0; f < 60; f++) {
        filters[f].length = 0;
        for (size_t i = 0; i < TF_LEVELS_MAX; i++) {
            const char *level = i + 1 == TF_LEVELS_MAX && f % 3 == 0 ? "#"
                                : tf_random_chance(&random, 1, 2)    ? "+"
                                                                     : "a";
            filters[f].length +=
                (size_t)sprintf(filters[f].chars + filters[f].length, "%s%s", i ? "/" : "", level);
        }
        routes[f] = tf_route_get(&table, view(&filters[f]));
        assert_non_null(routes[f]);
    }
    check_match(&table, &address, filters, routes, 60);
    /* one level more is too much */
    sprintf(address.chars + address.length, "/a");
    address.length += 2;
    size_t blocks = memory.blocks;
    assert_null(tf_route_get(&table, view(&address)));
    sprintf(filters[0].chars + filters[0].length, "/+");
    filters[0].length += 2;
    filters[0].chars[filters[0].length - 3] = 'a';
    assert_null(tf_route_get(&table, view(&filters[0])));
    assert_int_equal(memory.blocks, blocks);
    tf_route_table_release(&table);
    assert_int_equal(memory.blocks, 0);
}

/* The other shards that an address goes to. */
static uint64_t shards_of(struct tf_route_table *table, const char *address)
{
    struct tf_route_match match;
    struct tf_route *found;
    uint64_t shards = 0;
    tf_route_match_start(&match, table, tf_bytes_str(address));
    while ((found = tf_route_match_next(&match))) {
        shards |= found->shards;
    }
    return shards;
}

static void test_other_shards(void **state)
{
    (void)state;
    struct test_alloc memory;
    struct tf_route_table table;
    test_alloc_init(&memory);
    assert_int_equal(tf_route_table_init(&table, &memory.alloc, &key), TF_OK);
    assert_int_equal(tf_route_add_shard(&table, tf_bytes_str("a/b"), 1), TF_OK);
    assert_int_equal(tf_route_add_shard(&table, tf_bytes_str("a/b"), 63), TF_OK);
    assert_int_equal(tf_route_add_shard(&table, tf_bytes_str("a/+"), 2), TF_OK);
    assert_int_equal(tf_route_add_shard(&table, tf_bytes_str("#"), 3), TF_OK);
    assert_true(shards_of(&table, "a/b") ==
                (UINT64_C(1) << 63 | UINT64_C(1) << 1 | UINT64_C(1) << 2 | UINT64_C(1) << 3));
    assert_true(shards_of(&table, "a/c") == (UINT64_C(1) << 2 | UINT64_C(1) << 3));
    assert_true(shards_of(&table, "$a") == 0);
    /* a literal filter of others is no route of ours, and both may be there */
    assert_null(tf_route_find(&table, tf_bytes_str("a/b")));
    struct tf_route *own = tf_route_get(&table, tf_bytes_str("a/b"));
    assert_true(own->shards == 0);
    assert_true(tf_bytes_equal(own->filter, tf_bytes_str("a/b")));
    unsigned count;
    assert_int_equal(matches(&table, tf_bytes_str("a/b"), &own, 1, &count), 3);
    assert_int_equal(count, 1);
    tf_route_unused(&table, own);
    tf_route_remove_shard(&table, tf_bytes_str("a/b"), 1);
    assert_true(shards_of(&table, "a/b") ==
                (UINT64_C(1) << 63 | UINT64_C(1) << 2 | UINT64_C(1) << 3));
    tf_route_remove_shard(&table, tf_bytes_str("a/b"), 63);
    tf_route_remove_shard(&table, tf_bytes_str("a/b"), 63); /* nothing there: nothing done */
    tf_route_remove_shard(&table, tf_bytes_str("x/y"), 1);
    tf_route_remove_shard(&table, tf_bytes_str("x/+"), 1);
    tf_route_remove_shard(&table, tf_bytes_str("a/+"), 2);
    tf_route_remove_shard(&table, tf_bytes_str("#"), 3);
    assert_int_equal(table.route_count, 0);
    tf_route_table_release(&table);
    assert_int_equal(memory.blocks, 0);
}

/* Builds some routes with one allocation failing. True: none failed. */
static bool build_with_failure(size_t nth)
{
    static const char *const filters[] = {"a/b/c", "a/b/+", "a/b/#", "+/b/c", "x/y/z/+/#", "#"};
    struct test_alloc memory;
    struct tf_route_table table;
    test_alloc_init(&memory);
    test_alloc_fail(&memory, nth);
    if (tf_route_table_init(&table, &memory.alloc, &key)) {
        assert_int_equal(memory.blocks, 0);
        return false;
    }
    for (size_t i = 0; i < TF_COUNT(filters); i++) {
        size_t blocks = memory.blocks;
        size_t levels = table.levels.count;
        struct tf_bytes filter = tf_bytes_str(filters[i]);
        struct tf_route *route = tf_route_get(&table, filter);
        if (!route) { /* nothing is left over, but perhaps buckets */
            assert_true(memory.blocks <= blocks + 1);
            assert_int_equal(table.levels.count, levels);
            assert_null(tf_route_find(&table, filter));
            assert_true(shards_of(&table, "a/b/c") < 2);
        }
        if (tf_route_add_shard(&table, filter, 0) == TF_NO_MEMORY) {
            tf_route_remove_shard(&table, filter, 0);
        }
    }
    bool done = memory.failed == 0;
    tf_route_table_release(&table);
    assert_int_equal(memory.blocks, 0);
    return done;
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    size_t nth = 1;
    while (!build_with_failure(nth)) {
        nth++;
    }
    assert_true(nth > 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter_matches),
        cmocka_unit_test(test_random_filters),
        cmocka_unit_test(test_many_levels),
        cmocka_unit_test(test_other_shards),
        cmocka_unit_test(test_every_allocation_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
