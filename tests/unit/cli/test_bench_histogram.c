/*
 * The bench's histogram: exact below 128, within 1/64 above, percentiles as defined.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/bench_histogram.h"

static void test_empty(void **state)
{
    (void)state;
    static struct tf_bench_histogram histogram;
    assert_int_equal(tf_bench_histogram_at(&histogram, 50), 0);
    assert_int_equal(tf_bench_histogram_at(&histogram, 100), 0);
}

static void test_small_values_are_exact(void **state)
{
    (void)state;
    static struct tf_bench_histogram histogram;
    for (uint64_t value = 1; value <= 100; value++)
        tf_bench_histogram_add(&histogram, value);
    assert_int_equal(tf_bench_histogram_at(&histogram, 0), 1);
    assert_int_equal(tf_bench_histogram_at(&histogram, 1), 1);
    assert_int_equal(tf_bench_histogram_at(&histogram, 50), 50);
    assert_int_equal(tf_bench_histogram_at(&histogram, 99), 99);
    assert_int_equal(tf_bench_histogram_at(&histogram, 100), 100);
}

/* Around each power of two: never below the value, and at most a 64th above it. */
static void test_every_size(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int step = -1; step <= 1; step++) {
            static const struct tf_bench_histogram empty;
            struct tf_bench_histogram histogram = empty;
            uint64_t value = ((uint64_t)1 << bit) + (uint64_t)step;
            tf_bench_histogram_add(&histogram, value);
            tf_bench_histogram_add(&histogram, UINT64_MAX);
            uint64_t found = tf_bench_histogram_at(&histogram, 50);
            assert_true(found >= value);
            assert_true(found - value <= value / 64);
            assert_int_equal(tf_bench_histogram_at(&histogram, 100), UINT64_MAX);
        }
    }
}

static void test_maximum_is_exact(void **state)
{
    (void)state;
    static struct tf_bench_histogram histogram;
    tf_bench_histogram_add(&histogram, 1000001);
    assert_int_equal(tf_bench_histogram_at(&histogram, 50), 1000001);
    assert_int_equal(histogram.max, 1000001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_maximum_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
