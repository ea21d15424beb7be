/*
 * $SYS/broker/...: names, numbers, averages; and the counted heap.
 */
#include "harness.h"

#include "broker/memory.h"
#include "broker/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_value(struct harness *harness, const char *name, const char *wanted)
{
    const struct tf_value *value =
        tf_values_get(&harness->workers[0].shard.values, tf_bytes_str(name));
    if (!value) {
        fail_msg("%s is not there", name);
        return;
    }
    struct tf_bytes text = value->message->span;
    assert_int_equal(text.length, strlen(wanted));
    assert_memory_equal(text.data, wanted, text.length);
}

static struct tf_sys *begin(struct harness *harness, tf_time start)
{
    harness_start(harness, 1, 64);
    struct tf_sys *sys = tf_sys_new(harness->workers, 1, "9.9", &harness->alloc, start);
    assert_non_null(sys);
    return sys;
}

static void set(struct harness *harness, size_t offset, uint64_t value)
{
    atomic_store(&harness->workers[0].stats[offset / sizeof(uint64_t)], value);
}

#define TOTAL(field) offsetof(struct tf_worker_totals, field)

static void tells_every_name_at_once(void **state)
{
    static const char *const zeros[] = {
        "clients/total",        "clients/connected",         "clients/active",
        "clients/disconnected", "clients/inactive",          "clients/maximum",
        "clients/expired",      "messages/received",         "messages/sent",
        "messages/stored",      "store/messages/count",      "store/messages/bytes",
        "subscriptions/count",  "publish/messages/received", "publish/messages/sent",
        "publish/bytes/sent",   "publish/messages/dropped",  "publish/bytes/received",
        "bytes/received",       "retained messages/count",   "bytes/sent",
    };
    static const char *const loads[] = {
        "load/messages/received", "load/messages/sent", "load/publish/dropped",
        "load/publish/received",  "load/publish/sent",  "load/bytes/received",
        "load/bytes/sent",        "load/sockets",       "load/connections",
    };
    struct harness harness;
    struct tf_sys *sys = begin(&harness, 0);
    (void)state;
    assert_int_equal(tf_sys_tick(sys, &harness.workers[0].shard, 0),
                     harness.config.sys_interval_s * TF_SECOND);
    assert_value(&harness, "$SYS/broker/version", "trefoil version 9.9");
    assert_value(&harness, "$SYS/broker/uptime", "0 seconds");
    assert_value(&harness, "$SYS/broker/store/state", "memory");
    for (size_t i = 0; i < TF_COUNT(zeros); i++) {
        char name[96];
        snprintf(name, sizeof(name), "$SYS/broker/%s", zeros[i]);
        assert_value(&harness, name, "0");
    }
    for (size_t i = 0; i < TF_COUNT(loads) * 3; i++) {
        static const char *const windows[] = {"1min", "5min", "15min"};
        char name[96];
        snprintf(name, sizeof(name), "$SYS/broker/%s/%s", loads[i / 3], windows[i % 3]);
        assert_value(&harness, name, "0.00");
    }
    tf_sys_free(sys);
    harness_stop(&harness);
}

static void tells_numbers_and_averages(void **state)
{
    struct harness harness;
    struct tf_sys *sys = begin(&harness, 5 * TF_SECOND);
    struct tf_shard *shard = &harness.workers[0].shard;
    (void)state;
    tf_time next = tf_sys_tick(sys, shard, 5 * TF_SECOND);
    assert_int_equal(next, 15 * TF_SECOND);
    set(&harness, TOTAL(fronts.connected), 3);
    set(&harness, TOTAL(fronts.sessions), 5);
    set(&harness, TOTAL(fronts.bytes_sent), 1000);
    set(&harness, TOTAL(queued_count), 2);
    set(&harness, TOTAL(value_count), 40);
    tf_sys_tick(sys, shard, next);
    assert_value(&harness, "$SYS/broker/uptime", "10 seconds");
    assert_value(&harness, "$SYS/broker/clients/total", "5");
    assert_value(&harness, "$SYS/broker/clients/active", "3");
    assert_value(&harness, "$SYS/broker/clients/inactive", "2");
    assert_value(&harness, "$SYS/broker/messages/stored", "42");
    assert_value(&harness, "$SYS/broker/retained messages/count", "40");
    /* 1,000 in 10 s are 6,000 a minute: 6,000 (1 - e^(-1/6)), (1 - e^(-1/30)), (1 - e^(-1/90)) */
    assert_value(&harness, "$SYS/broker/load/bytes/sent/1min", "921.11");
    assert_value(&harness, "$SYS/broker/load/bytes/sent/5min", "196.70");
    assert_value(&harness, "$SYS/broker/load/bytes/sent/15min", "66.30");
    set(&harness, TOTAL(fronts.connected), 1);
    tf_sys_tick(sys, shard, next + 10 * TF_SECOND);
    assert_value(&harness, "$SYS/broker/clients/active", "1");
    assert_value(&harness, "$SYS/broker/clients/maximum", "3");
    assert_value(&harness, "$SYS/broker/load/bytes/sent/1min", "779.70"); /* times e^(-1/6) */
    tf_sys_free(sys);
    harness_stop(&harness);
}

static void repeats_nothing(void **state)
{
    struct harness harness;
    struct tf_sys *sys = begin(&harness, 0);
    struct tf_shard *shard = &harness.workers[0].shard;
    (void)state;
    tf_sys_tick(sys, shard, 0);
    uint64_t published = shard->counters.published;
    set(&harness, TOTAL(fronts.subscriptions), 1);
    tf_sys_tick(sys, shard, TF_SECOND / 2);
    /* the one that changed, and perhaps the memory of this process, now and at most */
    assert_in_range(shard->counters.published, published + 1, published + 3);
    tf_sys_free(sys);
    harness_stop(&harness);
}

static void says_nothing_without_an_interval(void **state)
{
    struct harness harness;
    struct tf_sys *sys = begin(&harness, 0);
    (void)state;
    harness.config.sys_interval_s = 0;
    assert_int_equal(tf_sys_tick(sys, &harness.workers[0].shard, 0), TF_TIME_NEVER);
    assert_int_equal(harness.workers[0].shard.values.count, 0);
    tf_sys_free(sys);
    harness_stop(&harness);
}

static void decays(void **state)
{
    static const struct {
        double x, wanted;
    } known[] = {{0, 1},
                 {0.5, 0.606530659712633},
                 {1, 0.367879441171442},
                 {10, 4.5399929762484854e-5},
                 {100, 3.720075976020836e-44},
                 {1e6, 0}};
    (void)state;
    for (size_t i = 0; i < TF_COUNT(known); i++) {
        double got = tf_sys_decay(known[i].x), off = got - known[i].wanted;
        double allowed = known[i].wanted * 1e-12;
        assert_true(off <= allowed && off >= -allowed);
    }
}

static void counts_what_is_out(void **state)
{
    struct tf_memory memory;
    (void)state;
    tf_memory_init(&memory, 100);
    void *first = memory.alloc.alloc(memory.alloc.ctx, 60);
    assert_non_null(first);
    assert_null(memory.alloc.alloc(memory.alloc.ctx, 41));
    assert_null(memory.alloc.alloc(memory.alloc.ctx, SIZE_MAX));
    void *second = memory.alloc.alloc(memory.alloc.ctx, 40);
    assert_non_null(second);
    assert_int_equal(atomic_load(&memory.used), 100);
    assert_true(memory.alloc.scarce(memory.alloc.ctx));
    memory.alloc.free(memory.alloc.ctx, first, 60);
    assert_false(memory.alloc.scarce(memory.alloc.ctx));
    memory.alloc.free(memory.alloc.ctx, second, 40);
    assert_int_equal(atomic_load(&memory.used), 0);
    tf_memory_init(&memory, UINT64_MAX);
    first = memory.alloc.alloc(memory.alloc.ctx, 1000);
    assert_non_null(first);
    assert_int_equal(atomic_load(&memory.used), 0);
    memory.alloc.free(memory.alloc.ctx, first, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_every_name_at_once),
        cmocka_unit_test(tells_numbers_and_averages),
        cmocka_unit_test(repeats_nothing),
        cmocka_unit_test(says_nothing_without_an_interval),
        cmocka_unit_test(decays),
        cmocka_unit_test(counts_what_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
