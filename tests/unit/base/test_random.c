/* The generators: the published sequence, evenness, no bias, and nothing written past the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"

static void test_known_sequences(void **state)
{
    (void)state;
    /* splitmix64 from 1234567, xoshiro256** from {1, 2, 3, 4}: values that others publish. */
    uint64_t seed = 1234567;
    assert_true(tf_random_split(&seed) == UINT64_C(6457827717110365317));
    assert_true(tf_random_split(&seed) == UINT64_C(3203168211198807973));
    struct tf_random random = {{1, 2, 3, 4}};
    assert_true(tf_random_next(&random) == 11520);
    assert_true(tf_random_next(&random) == 0);
    assert_true(tf_random_next(&random) == 1509978240);
    assert_true(tf_random_next(&random) == UINT64_C(1215971899390074240));
}

static void test_seeds(void **state)
{
    (void)state;
    struct tf_random a, b, c;
    tf_random_init(&a, 0);
    tf_random_init(&b, 0);
    tf_random_init(&c, 1);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t value = tf_random_next(&a);
        assert_true(value == tf_random_next(&b));
        assert_true(value != tf_random_next(&c));
    }
}

static void test_below(void **state)
{
    (void)state;
    struct tf_random random;
    unsigned counts[10] = {0};
    tf_random_init(&random, 42);
    for (unsigned i = 0; i < 100000; i++)
        counts[tf_random_below(&random, 10)]++;
    for (unsigned i = 0; i < 10; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_true(tf_random_below(&random, 1) == 0);
    /* Two thirds of the range: without drawing again the lower third would come twice as often. */
    uint64_t bound = UINT64_MAX / 3 * 2;
    unsigned low = 0;
    for (unsigned i = 0; i < 30000; i++) {
        uint64_t value = tf_random_below(&random, bound);
        assert_true(value < bound);
        low += value < bound / 2;
    }
    assert_in_range(low, 14500, 15500);
}

static void test_chance(void **state)
{
    (void)state;
    struct tf_random random;
    unsigned hits = 0;
    tf_random_init(&random, 8);
    for (unsigned i = 0; i < 40000; i++) {
        hits += tf_random_chance(&random, 1, 4);
        assert_false(tf_random_chance(&random, 0, 4));
        assert_true(tf_random_chance(&random, 4, 4));
    }
    assert_in_range(hits, 9500, 10500);
}

static void test_fill(void **state)
{
    (void)state;
    struct tf_random random;
    uint8_t data[32], ever[32] = {0};
    for (size_t length = 0; length < sizeof(data); length++) {
        tf_random_init(&random, 1);
        for (unsigned round = 0; round < 8; round++) {
            memset(data, 0, sizeof(data));
            tf_random_fill(&random, data, length);
            for (size_t i = 0; i < sizeof(data); i++) {
                ever[i] |= data[i];
                if (i >= length)
                    assert_int_equal(data[i], 0);
            }
        }
        for (size_t i = 0; i < length; i++)
            assert_int_not_equal(ever[i], 0);
        memset(ever, 0, sizeof(ever));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_sequences),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_chance),
        cmocka_unit_test(test_fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
