/*
 * The bench's accounts: windows, and telling new, late, repeated and foreign messages apart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/bench_ledger.h"

static struct tf_bench_ledger ledger_of(uint32_t publishers, uint32_t subscribers, uint32_t topics,
                                        uint32_t window)
{
    struct tf_bench_ledger ledger;
    assert_true(tf_bench_ledger_init(&ledger, publishers, subscribers, topics, window));
    return ledger;
}

static void test_window_waits_for_all(void **state)
{
    (void)state;
    struct tf_bench_ledger ledger = ledger_of(1, 3, 1, 2);
    assert_int_equal(tf_bench_ledger_send(&ledger, 0), 0);
    assert_int_equal(tf_bench_ledger_send(&ledger, 0), 1);
    assert_int_equal(ledger.expected, 6);
    assert_false(tf_bench_ledger_open(&ledger, 0));
    for (uint32_t number = 0; number < 2; number++) {
        for (uint32_t subscriber = 0; subscriber < 3; subscriber++) {
            assert_false(number == 0 && tf_bench_ledger_open(&ledger, 0));
            assert_int_equal(tf_bench_ledger_arrive(&ledger, subscriber, 0, number), TF_BENCH_NEW);
        }
        assert_true(tf_bench_ledger_open(&ledger, 0));
    }
    assert_int_equal(ledger.arrived, 6);
    tf_bench_ledger_release(&ledger);
}

static void test_publishers_have_own_windows(void **state)
{
    (void)state;
    struct tf_bench_ledger ledger = ledger_of(3, 1, 1, 1);
    for (uint32_t publisher = 0; publisher < 3; publisher++)
        assert_int_equal(tf_bench_ledger_send(&ledger, publisher), 0);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 1, 0), TF_BENCH_NEW);
    assert_false(tf_bench_ledger_open(&ledger, 0));
    assert_true(tf_bench_ledger_open(&ledger, 1));
    assert_false(tf_bench_ledger_open(&ledger, 2));
    tf_bench_ledger_release(&ledger);
}

static void test_repeated_and_late(void **state)
{
    (void)state;
    struct tf_bench_ledger ledger = ledger_of(1, 1, 1, 0);
    for (int i = 0; i < 200; i++)
        (void)tf_bench_ledger_send(&ledger, 0);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 0), TF_BENCH_NEW);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 0), TF_BENCH_DUPLICATE);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 3), TF_BENCH_NEW);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 1), TF_BENCH_LATE);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 1), TF_BENCH_DUPLICATE);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 3), TF_BENCH_DUPLICATE);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 150), TF_BENCH_NEW);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 87), TF_BENCH_LATE);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 86), TF_BENCH_DUPLICATE);
    assert_int_equal(ledger.arrived, 5);
    assert_int_equal(ledger.late, 2);
    assert_int_equal(ledger.duplicates, 4);
    tf_bench_ledger_release(&ledger);
}

/* What was skipped opens the window, and does not open it once more when it comes late. */
static void test_skipped_is_written_off(void **state)
{
    (void)state;
    struct tf_bench_ledger ledger = ledger_of(1, 1, 1, 3);
    for (int i = 0; i < 3; i++)
        (void)tf_bench_ledger_send(&ledger, 0);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 2), TF_BENCH_NEW);
    for (int i = 0; i < 3; i++) {
        assert_true(tf_bench_ledger_open(&ledger, 0));
        (void)tf_bench_ledger_send(&ledger, 0);
    }
    assert_false(tf_bench_ledger_open(&ledger, 0));
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 0), TF_BENCH_LATE);
    assert_false(tf_bench_ledger_open(&ledger, 0));
    assert_int_equal(ledger.expected - ledger.arrived, 4);
    tf_bench_ledger_release(&ledger);
}

static void test_foreign(void **state)
{
    (void)state;
    struct tf_bench_ledger ledger = ledger_of(2, 2, 2, 1);
    (void)tf_bench_ledger_send(&ledger, 0);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 0, 1), TF_BENCH_ALIEN);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 1, 0, 0), TF_BENCH_ALIEN);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, 2, 0), TF_BENCH_ALIEN);
    assert_int_equal(tf_bench_ledger_arrive(&ledger, 0, UINT32_MAX, 0), TF_BENCH_ALIEN);
    assert_int_equal(ledger.aliens, 4);
    assert_int_equal(ledger.arrived, 0);
    tf_bench_ledger_release(&ledger);
}

/* Five publishers and seven subscribers over three topics: each message has its own audience. */
static void test_fan_out(void **state)
{
    (void)state;
    struct tf_bench_ledger ledger = ledger_of(5, 7, 3, 1);
    for (uint32_t publisher = 0; publisher < 5; publisher++)
        (void)tf_bench_ledger_send(&ledger, publisher);
    assert_int_equal(ledger.expected, 3 + 2 + 2 + 3 + 2);
    for (uint32_t subscriber = 0; subscriber < 7; subscriber++) {
        for (uint32_t publisher = subscriber % 3; publisher < 5; publisher += 3)
            assert_int_equal(tf_bench_ledger_arrive(&ledger, subscriber, publisher, 0),
                             TF_BENCH_NEW);
    }
    assert_int_equal(ledger.arrived, ledger.expected);
    for (uint32_t publisher = 0; publisher < 5; publisher++)
        assert_true(tf_bench_ledger_open(&ledger, publisher));
    tf_bench_ledger_release(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_waits_for_all),
        cmocka_unit_test(test_publishers_have_own_windows),
        cmocka_unit_test(test_repeated_and_late),
        cmocka_unit_test(test_skipped_is_written_off),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_fan_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
