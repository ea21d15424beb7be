/* The wheel against a scan of all timers: never early, never a tick late, days in one step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/timer.h"

#define TICK ((tf_time)1024)
#define HOUR (3600 * TF_SECOND)

struct item {
    struct tf_timer timer;
    tf_time deadline; /* TF_TIME_NEVER: not armed */
};

/* A span of any magnitude, from nothing to centuries. */
static tf_time span(struct tf_random *random)
{
    return tf_random_next(random) >> (10 + tf_random_below(random, 54));
}

/* Pulls all that is expired; each must be due, and nothing that is a tick past due may remain. */
static void expire(struct tf_timers *timers, struct item *items, size_t count, tf_time now)
{
    struct tf_timer *timer;
    tf_time last = 0;
    while ((timer = tf_timers_expire(timers, now))) {
        struct item *item = tf_container_of(timer, struct item, timer);
        assert_false(tf_timer_armed(timer));
        assert_true(item->deadline <= now && item->deadline == timer->deadline);
        assert_true(item->deadline + TICK > last || item->deadline > last);
        last = item->deadline;
        item->deadline = TF_TIME_NEVER;
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tf_timer_armed(&items[i].timer), items[i].deadline != TF_TIME_NEVER);
        if (items[i].deadline != TF_TIME_NEVER)
            assert_true(items[i].deadline > now || now - items[i].deadline < TICK);
    }
}

static void check_next(const struct tf_timers *timers, const struct item *items, size_t count)
{
    tf_time first = TF_TIME_NEVER, next = tf_timers_next(timers);
    for (size_t i = 0; i < count; i++)
        first = TF_MIN(first, items[i].deadline);
    if (first == TF_TIME_NEVER) {
        assert_true(next == TF_TIME_NEVER);
    } else {
        assert_true(next < first || next - first < TICK);
    }
}

static void test_against_scan(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        enum { COUNT = 50 };
        struct item items[COUNT];
        static struct tf_timers timers;
        struct tf_random random;
        memset(items, 0, sizeof(items));
        tf_random_init(&random, seed);
        tf_time now = span(&random);
        tf_timers_init(&timers, now);
        for (size_t i = 0; i < COUNT; i++)
            items[i].deadline = TF_TIME_NEVER;
        for (unsigned step = 0; step < 3000; step++) {
            struct item *item = &items[tf_random_below(&random, COUNT)];
            unsigned kind = (unsigned)tf_random_below(&random, 8);
            if (kind < 5) {
                item->deadline = now + span(&random);
                tf_timers_arm(&timers, &item->timer, item->deadline);
            } else if (kind == 5) {
                item->deadline = TF_TIME_NEVER;
                tf_timers_cancel(&timers, &item->timer);
            } else {
                tf_time later = now + span(&random);
                tf_time next = tf_timers_next(&timers);
                now = kind == 6 || next == TF_TIME_NEVER ? later : TF_MAX(now, next);
                if (now > UINT64_MAX / 2)
                    break;
                expire(&timers, items, COUNT, now);
            }
            assert_true(tf_timers_check(&timers));
            check_next(&timers, items, COUNT);
        }
    }
}

/* Following tf_timers_next alone meets every timer within a tick, in few steps. */
static void test_follow_next(void **state)
{
    (void)state;
    static struct tf_timers timers;
    tf_time start = 12345678;
    for (unsigned shift = 0; shift < 53; shift++) {
        struct tf_timer timer = {0};
        tf_timers_init(&timers, start);
        tf_time deadline = start + (UINT64_C(1) << shift) + 7;
        tf_timers_arm(&timers, &timer, deadline);
        unsigned steps = 0;
        for (;;) {
            tf_time next = tf_timers_next(&timers);
            struct tf_timer *expired = tf_timers_expire(&timers, next);
            steps++;
            if (!expired) {
                assert_true(next < deadline);
                continue;
            }
            assert_true(next >= deadline && next - deadline < TICK);
            break;
        }
        assert_true(steps <= TF_TIMER_LEVELS);
        assert_true(tf_timers_next(&timers) == TF_TIME_NEVER);
    }
}

/* To the microsecond: not one too early, and at the next whole tick for certain. */
static void test_never_early(void **state)
{
    (void)state;
    static struct tf_timers timers;
    for (tf_time start = 0; start < 3; start++) {
        for (tf_time deadline = start; deadline < 3 * TICK; deadline += 41) {
            struct tf_timer timer = {0};
            tf_timers_init(&timers, start);
            tf_timers_arm(&timers, &timer, deadline);
            if (deadline > TICK * (start / TICK))
                assert_null(tf_timers_expire(&timers, deadline - 1 < start ? start : deadline - 1));
            assert_ptr_equal(tf_timers_expire(&timers, deadline + TICK - 1), &timer);
        }
    }
}

/* Expired timers go earlier ticks first, and the loop may arm, cancel and free. */
static void test_order_and_change_in_loop(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct tf_timers timers;
    static struct tf_timer list[COUNT];
    memset(list, 0, sizeof(list));
    tf_timers_init(&timers, 0);
    for (size_t i = 0; i < COUNT; i++)
        tf_timers_arm(&timers, &list[i * 7 % COUNT], (i * 7 % COUNT + 1) * 50 * TICK);
    struct tf_timer *timer;
    size_t next = 0;
    bool again = false;
    while ((timer = tf_timers_expire(&timers, HOUR))) {
        if (again) {
            assert_ptr_equal(timer, &list[0]);
            break;
        }
        assert_ptr_equal(timer, &list[next]);
        next += 2;
        if (next < COUNT) {
            tf_timers_cancel(&timers, &list[next - 1]); /* it is due already */
        } else {
            tf_timers_cancel(&timers, &list[COUNT - 1]);
            tf_timers_arm(&timers, &list[0], 5); /* has passed: comes again in this loop */
            again = true;
        }
    }
    assert_true(again);
    assert_null(tf_timers_expire(&timers, HOUR));
    assert_true(tf_timers_check(&timers));
}

static void test_never_and_past(void **state)
{
    (void)state;
    static struct tf_timers timers;
    struct tf_timer timer = {0};
    tf_timers_init(&timers, HOUR);
    tf_timers_cancel(&timers, &timer);
    tf_timers_arm(&timers, &timer, HOUR + 1);
    tf_timers_arm(&timers, &timer, TF_TIME_NEVER);
    assert_false(tf_timer_armed(&timer));
    assert_true(tf_timers_next(&timers) == TF_TIME_NEVER);
    tf_timers_arm(&timers, &timer, 1);
    assert_true(tf_timers_next(&timers) <= HOUR);
    assert_ptr_equal(tf_timers_expire(&timers, HOUR), &timer);
    tf_timers_arm(&timers, &timer, TF_TIME_NEVER - TICK); /* the last one that there is */
    assert_true(tf_timer_armed(&timer));
    assert_null(tf_timers_expire(&timers, TF_TIME_NEVER - 2 * TICK));
    assert_ptr_equal(tf_timers_expire(&timers, TF_TIME_NEVER), &timer);
    tf_timers_arm(&timers, &timer, HOUR);
    assert_ptr_equal(tf_timers_expire(&timers, 0), &timer); /* time does not go back */
}

/* A hundred thousand keep-alives, and days pass in one step. */
static void test_many(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    static struct tf_timers timers;
    struct tf_random random;
    struct tf_timer *list = calloc(COUNT, sizeof(*list));
    tf_random_init(&random, 5);
    tf_timers_init(&timers, HOUR);
    for (size_t i = 0; i < COUNT; i++)
        tf_timers_arm(&timers, &list[i], HOUR + tf_random_below(&random, 90 * TF_SECOND));
    for (size_t i = 0; i < COUNT; i += 2)
        tf_timers_arm(&timers, &list[i], 2 * HOUR + tf_random_below(&random, 48 * HOUR));
    assert_true(tf_timers_check(&timers));
    size_t expired = 0;
    while (tf_timers_expire(&timers, HOUR + 91 * TF_SECOND))
        expired++;
    assert_int_equal(expired, COUNT / 2);
    while (tf_timers_expire(&timers, 24 * 365 * HOUR))
        expired++;
    assert_int_equal(expired, COUNT);
    assert_true(tf_timers_next(&timers) == TF_TIME_NEVER);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_scan),   cmocka_unit_test(test_follow_next),
        cmocka_unit_test(test_never_early),    cmocka_unit_test(test_order_and_change_in_loop),
        cmocka_unit_test(test_never_and_past), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
