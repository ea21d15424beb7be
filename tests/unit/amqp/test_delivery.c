/*
 * The table of unsettled deliveries: against a plain model with random steps, and what ranges cost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/delivery.h"
#include "base/random.h"

static struct tf_amqp_link *const any_link = (struct tf_amqp_link *)(void *)&any_link;

/* Makes room for one more, as a session does. */
static void make_room(struct tf_amqp_deliveries *table, uint32_t max)
{
    uint32_t capacity;

    if (!tf_amqp_deliveries_full(table))
        return;
    capacity = tf_amqp_deliveries_larger(table, max);
    assert_true(capacity > 0);
    free(tf_amqp_deliveries_grow(table, malloc(tf_amqp_deliveries_size(capacity)), capacity));
}

static void add(struct tf_amqp_deliveries *table, uint32_t id)
{
    make_room(table, 1u << 24);
    assert_ptr_equal(tf_amqp_deliveries_add(table, id, any_link, id + 7ull)->link, any_link);
}

static void remove_id(struct tf_amqp_deliveries *table, uint32_t id)
{
    struct tf_amqp_delivery *record = tf_amqp_deliveries_find(table, id);

    assert_non_null(record);
    tf_amqp_deliveries_remove(table, record);
}

/* Walks first..last and checks that it gives `count` ids, those of `expected` in order. */
static void expect_walk(struct tf_amqp_deliveries *table, uint32_t first, uint32_t last,
                        const uint32_t *expected, size_t count)
{
    struct tf_amqp_delivery *record;
    size_t n = 0;

    tf_amqp_deliveries_walk(table, first, last);
    while ((record = tf_amqp_deliveries_walk_next(table)) != NULL) {
        assert_true(n < count);
        assert_int_equal(record->id, expected[n++]);
    }
    assert_int_equal(n, count);
}

static void grows_from_16_to_the_most(void **state)
{
    struct tf_amqp_deliveries table;
    void *old;

    (void)state;
    tf_amqp_deliveries_init(&table);
    assert_true(tf_amqp_deliveries_full(&table));
    assert_null(tf_amqp_deliveries_find(&table, 0));
    assert_int_equal(tf_amqp_deliveries_larger(&table, 40), 16);
    assert_int_equal(tf_amqp_deliveries_larger(&table, 3), 3);
    for (uint32_t i = 0; i < 40; i++) {
        make_room(&table, 40);
        tf_amqp_deliveries_add(&table, UINT32_MAX - 20 + i, any_link, i);
        assert_true(tf_amqp_deliveries_check(&table));
    }
    assert_int_equal(table.capacity, 40);
    assert_int_equal(tf_amqp_deliveries_larger(&table, 40), 0);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(tf_amqp_deliveries_find(&table, UINT32_MAX - 20 + i)->handle, i);
    old = table.slots;
    free(old);
}

static void ranges_of_every_shape(void **state)
{
    struct tf_amqp_deliveries table;

    (void)state;
    tf_amqp_deliveries_init(&table);
    expect_walk(&table, 0, UINT32_MAX, NULL, 0);
    for (uint32_t i = 0; i < 6; i++)
        add(&table, UINT32_MAX - 2 + i); /* ..fd ..fe ..ff 0 1 2 */
    remove_id(&table, UINT32_MAX);
    const uint32_t all[] = {UINT32_MAX - 2, UINT32_MAX - 1, 0, 1, 2};
    expect_walk(&table, 0, UINT32_MAX, all, 5);
    expect_walk(&table, 5, 4, all, 5);
    expect_walk(&table, UINT32_MAX - 1, 1, all + 1, 3);
    expect_walk(&table, UINT32_MAX, UINT32_MAX, NULL, 0);
    expect_walk(&table, UINT32_MAX, 0, all + 2, 1);
    expect_walk(&table, 2, 2, all + 4, 1);
    expect_walk(&table, 2, 1000000, all + 4, 1);
    expect_walk(&table, 3, 1000000, NULL, 0);
    expect_walk(&table, 0, 2, all + 2, 3);
    free(table.slots);
}

/* What the walk stands on goes, what it ends at goes, and new ones come: none is walked over. */
static void a_walk_bears_changes(void **state)
{
    for (unsigned seed = 1; seed < 500; seed++) {
        struct tf_amqp_deliveries table;
        struct tf_amqp_delivery *record;
        uint64_t random = seed;
        bool gone[64] = {false}, seen[64] = {false};
        uint32_t next = 0, count;

        tf_amqp_deliveries_init(&table);
        count = 1 + (uint32_t)(tf_random_split(&random) % 20);
        while (next < count)
            add(&table, next++);
        tf_amqp_deliveries_walk(&table, 0, UINT32_MAX);
        while ((record = tf_amqp_deliveries_walk_next(&table)) != NULL) {
            uint32_t victim = (uint32_t)(tf_random_split(&random) % next);
            assert_true(record->id < count);
            assert_false(seen[record->id] || gone[record->id]);
            seen[record->id] = true;
            if (tf_random_split(&random) % 2 && next < 64)
                add(&table, next++);
            if (tf_random_split(&random) % 2 && !gone[victim]) {
                remove_id(&table, victim);
                gone[victim] = true;
            }
            assert_true(tf_amqp_deliveries_check(&table));
        }
        for (uint32_t i = 0; i < count; i++)
            assert_true(seen[i] || gone[i]);
        free(table.slots);
    }
    (void)state;
}

/* Random additions, removals and ranges, with ids that pass 2^32, against an array of flags. */
static void as_the_model(void **state)
{
    enum { IDS = 4096 };
    static bool live[IDS];
    const uint32_t base = UINT32_MAX - IDS / 2;
    struct tf_amqp_deliveries table;
    uint64_t random = 20261121;
    uint32_t next = 0;

    (void)state;
    tf_amqp_deliveries_init(&table);
    while (next < IDS) {
        uint32_t some = (uint32_t)(tf_random_split(&random) % (next + 1));
        uint32_t length =
            (uint32_t)(tf_random_split(&random) % (tf_random_split(&random) % 2 ? 9 : IDS));
        struct tf_amqp_delivery *record;
        switch (tf_random_split(&random) % 3) {
        case 0:
            live[next] = true;
            add(&table, base + next++);
            break;
        case 1:
            record = tf_amqp_deliveries_find(&table, base + some);
            assert_int_equal(record != NULL, some < next && live[some]);
            if (record) {
                assert_int_equal(record->handle, (uint32_t)(base + some) + 7ull);
                tf_amqp_deliveries_remove(&table, record);
                live[some] = false;
            }
            break;
        default:
            tf_amqp_deliveries_walk(&table, base + some, base + some + length);
            for (uint32_t i = some; i <= some + length && i < next; i++) {
                if (!live[i])
                    continue;
                record = tf_amqp_deliveries_walk_next(&table);
                assert_non_null(record);
                assert_int_equal(record->id, (uint32_t)(base + i));
                if (tf_random_split(&random) % 4 == 0) {
                    tf_amqp_deliveries_remove(&table, record);
                    live[i] = false;
                }
            }
            assert_null(tf_amqp_deliveries_walk_next(&table));
        }
        if (next % 64 == 0)
            assert_true(tf_amqp_deliveries_check(&table));
    }
    memset(live, 0, sizeof(live));
    free(table.slots);
}

/* An id that comes round again while the delivery of 2^32 deliveries ago still lives is noticed. */
static void an_id_that_comes_round(void **state)
{
    struct tf_amqp_deliveries table;

    (void)state;
    tf_amqp_deliveries_init(&table);
    assert_false(tf_amqp_deliveries_wrapped(&table, 5));
    add(&table, 5);
    add(&table, 6);
    assert_true(tf_amqp_deliveries_wrapped(&table, 5));
    remove_id(&table, 5);
    assert_false(tf_amqp_deliveries_wrapped(&table, 5));
    free(table.slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_from_16_to_the_most), cmocka_unit_test(ranges_of_every_shape),
        cmocka_unit_test(a_walk_bears_changes),      cmocka_unit_test(as_the_model),
        cmocka_unit_test(an_id_that_comes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
