/* The clocks run, and times are written as they should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "port/clock.h"

static void test_runs(void **state)
{
    (void)state;
    tf_time start = tf_clock_now(), last = start;
    uint64_t wall = tf_clock_wall();
    time_t seconds = time(NULL);
    assert_in_range(wall / 1000000, (uint64_t)seconds - 1, (uint64_t)seconds + 1);
    while (last - start < 2000) { /* two milliseconds of it, by itself */
        tf_time now = tf_clock_now();
        assert_true(now >= last);
        last = now;
    }
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        uint64_t wall_us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {999, "1970-01-01T00:00:00.000Z"},
        {1000, "1970-01-01T00:00:00.001Z"},
        {951782399999999, "2000-02-28T23:59:59.999Z"},
        {951782400000000, "2000-02-29T00:00:00.000Z"},
        {1795168800000000, "2026-11-20T10:00:00.000Z"},
        {4107542400000000, "2100-03-01T00:00:00.000Z"}, /* 2100 is no leap year */
        {253402300799999999, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[TF_CLOCK_TEXT];
        tf_clock_format(text, cases[i].wall_us);
        assert_string_equal(text, cases[i].text);
    }
    char text[TF_CLOCK_TEXT];
    tf_clock_format(text, UINT64_MAX);
    assert_int_equal(text[23], 'Z');
    assert_int_equal(text[24], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
