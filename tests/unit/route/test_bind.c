/*
 * Binding, and reading values, between shards whose mail is late at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/route_rig.h"

#define ADDRESSES 8u

struct fixture {
    struct rig rig;
    struct sink sink;      /* the one that binds */
    struct sink companion; /* of the same shard; may have bound before */
    struct tf_random random;
    unsigned next[RIG_SHARDS]; /* what each shard publishes next */
    unsigned value[ADDRESSES]; /* the number of the last publication accepted, by home */
    bool drawn;
    bool starved; /* there has been no memory at all */
};

static struct fixture *start(unsigned shards, size_t capacity, unsigned shard)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, shards, capacity);
    sink_start(&f->sink, &f->rig.shards[shard], true);
    sink_start(&f->companion, &f->rig.shards[shard], true);
    return f;
}

static void stop(struct fixture *f)
{
    sink_stop(&f->companion);
    sink_stop(&f->sink);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    for (unsigned i = 0; i < f->rig.count; i++) {
        /* without memory a withdrawn filter may not be told to others */
        assert_true(f->rig.shards[i].routes.route_count == 0 || f->starved);
        assert_true(tf_list_empty(&f->rig.shards[i].drawing));
    }
    rig_stop(&f->rig);
    free(f);
}

/* Numbers grow within a shard; the hundred thousands name it. */
static void publish(struct fixture *f, unsigned shard, unsigned address, bool clear)
{
    char name[16];
    char body[16];
    sprintf(name, "t/%u", address);
    sprintf(body, "%u", (shard + 1) * 100000 + f->next[shard]++);
    rig_publish(&f->rig, shard, tf_bytes_str(name), clear ? NULL : body, 1, true, NULL, 0, NULL);
}

static void draw(struct fixture *f)
{
    if (f->sink.bound && !f->drawn && tf_random_chance(&f->random, 1, 2)) {
        f->drawn = true; /* as a front does, once SUBACK has gone out */
        (void)tf_bind_draw(f->sink.queue.shard, &f->sink.owner);
    }
}

static void steps(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        rig_step(&f->rig, &f->random);
        draw(f);
    }
}

static void settle(struct fixture *f)
{
    rig_settle(&f->rig);
    while (f->sink.bound && !f->drawn) {
        draw(f);
    }
    rig_settle(&f->rig);
}

/* What a shard publishes on an address comes in order and at most once. */
static void check_order(const struct fixture *f, uint64_t seed)
{
    unsigned last[RIG_SHARDS + 1][ADDRESSES] = {{0}};
    for (size_t i = 0; i < f->sink.seen_count; i++) {
        const struct seen *seen = &f->sink.seen[i];
        unsigned number = (unsigned)atoi(seen->body);
        unsigned address = (unsigned)atoi(seen->address + 2);
        unsigned *before = &last[number / 100000][address];
        if (seen->body[0] && number <= *before) {
            fail_msg("seed %u: %s has %u%s after %u", (unsigned)seed, seen->address, number,
                     seen->retain ? "" : " (live)", *before);
        }
        if (seen->body[0]) {
            *before = number;
        }
    }
}

/* Every value that there is at the end has been seen. */
static void check_complete(struct fixture *f, const char *filter, uint64_t seed)
{
    for (unsigned shard = 0; shard < f->rig.count; shard++) {
        struct tf_value_cursor cursor = {.filter = tf_bytes_str(filter)};
        const struct tf_value *value;
        bool more = true;
        while (more) {
            value = tf_values_next(&f->rig.shards[shard].values, &cursor, 100, &more);
            if (value) {
                char body[16] = {0};
                struct tf_bytes bytes = value->message->publication.body[0];
                memcpy(body, bytes.data, bytes.length);
                if (sink_count(&f->sink, NULL, body) != 1) {
                    fail_msg("seed %u: %s came %zu times", (unsigned)seed, body,
                             sink_count(&f->sink, NULL, body));
                }
            }
        }
        tf_value_cursor_release(&cursor, &f->rig.memory.alloc);
    }
}

/*
 * Values are written before, during and after a bind, by all shards, with mail late at random. Each
 * value comes exactly once or is live, and never an older one after a newer one of the same shard.
 */
static void one_bind(uint64_t seed)
{
    static const char *const filters[] = {"t/#", "t/+", "t/3", "#"};
    struct tf_random random;
    tf_random_init(&random, seed);
    unsigned shards = 1 + (unsigned)tf_random_below(&random, RIG_SHARDS);
    unsigned shard = (unsigned)tf_random_below(&random, shards);
    struct fixture *f = start(shards, (size_t)1 << tf_random_below(&random, 3), shard);
    const char *filter = filters[tf_random_below(&random, TF_COUNT(filters))];
    f->random = random;
    if (tf_random_chance(&f->random, 1, 2)) {
        sink_bind(&f->companion, filters[tf_random_below(&f->random, TF_COUNT(filters))], 1, true,
                  0);
    }
    unsigned count = (unsigned)tf_random_below(&f->random, 40);
    for (unsigned i = 0; i < count; i++) {
        publish(f, (unsigned)tf_random_below(&f->random, shards),
                (unsigned)tf_random_below(&f->random, ADDRESSES),
                tf_random_chance(&f->random, 1, 10));
        steps(f, (unsigned)tf_random_below(&f->random, 6));
    }
    sink_bind(&f->sink, filter, 1, true, 1);
    for (unsigned i = 0; i < 30; i++) {
        steps(f, (unsigned)tf_random_below(&f->random, 8));
        publish(f, (unsigned)tf_random_below(&f->random, shards),
                (unsigned)tf_random_below(&f->random, ADDRESSES),
                tf_random_chance(&f->random, 1, 10));
        if (tf_random_chance(&f->random, 1, 20) && f->companion.queue.binding_count) {
            tf_shard_unbind_all(f->companion.queue.shard, &f->companion.queue);
        }
    }
    settle(f);
    assert_int_equal(f->sink.bound, 1);
    assert_int_equal(f->sink.bound_err, TF_OK);
    assert_true(tf_list_empty(&f->sink.owner.binds));
    check_order(f, seed);
    check_complete(f, filter, seed);
    stop(f);
}

static void test_values_once_or_live(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        one_bind(seed);
    }
}

/* Some values, in all homes. */
static void fill(struct fixture *f, unsigned count)
{
    char name[16];
    for (unsigned i = 0; i < count; i++) {
        sprintf(name, "t/%u", i);
        rig_publish(&f->rig, i % f->rig.count, tf_bytes_str(name), "v", 1, true, NULL, 0, NULL);
    }
    rig_settle(&f->rig);
}

/* More than a page from each home, by credit, into a queue with little room; none is lost. */
static void test_pages_and_credit(void **state)
{
    (void)state;
    struct fixture *f = start(3, 4, 1);
    fill(f, 500);
    f->sink.limits.entries = 7;
    f->sink.room = 0;
    sink_bind(&f->sink, "t/#", 1, true, 1);
    rig_settle(&f->rig);
    assert_int_equal(f->sink.bound, 1);
    assert_true(tf_bind_draw(f->sink.queue.shard, &f->sink.owner));
    rig_settle(&f->rig);
    for (unsigned i = 0; i < 1000 && f->sink.seen_count < 500; i++) {
        assert_true(f->sink.queue.count <= 7);
        f->sink.room = 3;
        tf_queue_pump(&f->sink.queue, f->rig.now);
        rig_settle(&f->rig);
        assert_true(tf_queue_check(&f->sink.queue));
    }
    f->sink.room = 100;
    tf_queue_pump(&f->sink.queue, f->rig.now);
    rig_settle(&f->rig);
    assert_int_equal(f->sink.seen_count, 500);
    assert_int_equal(f->sink.counters.dropped_full, 0);
    char name[16];
    for (unsigned i = 0; i < 500; i++) {
        sprintf(name, "t/%u", i);
        assert_int_equal(sink_count(&f->sink, name, "v"), 1);
        assert_true(f->sink.seen[i].retain);
    }
    assert_false(tf_bind_draw(f->sink.queue.shard, &f->sink.owner)); /* nothing is left */
    stop(f);
}

/* Without values: none come, however they are drawn. */
static void test_without_values(void **state)
{
    (void)state;
    struct fixture *f = start(3, 4, 1);
    fill(f, 10);
    sink_bind(&f->sink, "t/#", 1, false, 1);
    rig_settle(&f->rig);
    assert_int_equal(f->sink.bound, 1);
    assert_false(tf_bind_draw(f->sink.queue.shard, &f->sink.owner));
    rig_settle(&f->rig);
    assert_int_equal(f->sink.seen_count, 0);
    stop(f);
}

/*
 * After every number of steps: the owner goes, or the filter is unbound, or unbound and bound
 * again, or the queue goes. Whoever waits is told, and nothing is left (stop checks it).
 */
static void end_in_phase(unsigned phase, unsigned how, uint64_t seed)
{
    struct fixture *f = start(3, 1, (unsigned)(seed % 3));
    tf_random_init(&f->random, seed);
    fill(f, 200);
    f->sink.limits.entries = 5;
    sink_bind(&f->sink, seed % 2 ? "t/#" : "t/7", 1, true, 1);
    for (unsigned i = 0; i < phase; i++) {
        rig_step(&f->rig, &f->random);
        if (f->sink.bound) {
            (void)tf_bind_draw(f->sink.queue.shard, &f->sink.owner);
        }
    }
    unsigned told = f->sink.bound;
    struct tf_bytes filter = tf_bytes_str(seed % 2 ? "t/#" : "t/7");
    switch (how) {
    case 0:
        tf_bind_owner_release(f->sink.queue.shard, &f->sink.owner);
        assert_int_equal(f->sink.bound, 1);
        assert_int_equal(f->sink.bound_err, told ? TF_OK : TF_CLOSED);
        break;
    case 1:
        assert_true(tf_shard_unbind(f->sink.queue.shard, &f->sink.queue, filter));
        break;
    case 2:
        assert_true(tf_shard_unbind(f->sink.queue.shard, &f->sink.queue, filter));
        f->sink.seen_count = 0;
        sink_bind(&f->sink, seed % 2 ? "t/#" : "t/7", 1, true, 2);
        break;
    default: /* the session ends: as sink_stop, while mail is under way */
        tf_bind_owner_release(f->sink.queue.shard, &f->sink.owner);
        tf_consumer_detach(&f->sink.consumer);
        tf_queue_release(&f->sink.queue);
        tf_queue_init(&f->sink.queue, f->companion.queue.shard, &f->sink.limits, &f->sink.counters);
        tf_consumer_attach(&f->sink.consumer, &f->sink.queue);
    }
    for (unsigned i = 0; i < 20; i++) {
        rig_settle(&f->rig);
        (void)tf_bind_draw(f->sink.queue.shard, &f->sink.owner);
        tf_queue_pump(&f->sink.queue, f->rig.now);
    }
    assert_int_equal(f->sink.bound, how == 2 ? 2 : 1);
    if (how == 2) { /* the new bind gets all, and each once */
        assert_int_equal(f->sink.bound_err, TF_OK);
        assert_int_equal(sink_count(&f->sink, "t/7", "v"), 1);
        assert_int_equal(f->sink.seen_count, seed % 2 ? 200 : 1);
    }
    assert_true(tf_list_empty(&f->sink.owner.binds));
    stop(f);
}

static void test_end_in_every_phase(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < 60; phase++) {
        for (unsigned how = 0; how < 4; how++) {
            for (uint64_t seed = 0; seed < 6; seed++) {
                end_in_phase(phase, how, seed);
            }
        }
    }
}

/* Made when they are read: `count` of them in each shard, in pages. */
static struct tf_message *make_next(struct rig *rig, unsigned shard, struct tf_bytes filter,
                                    struct tf_bytes last)
{
    char name[32];
    unsigned next = 0;
    if (last.length) {
        memcpy(name, last.data, last.length);
        name[last.length] = 0;
        next = (unsigned)atoi(name + 7) + 1;
    }
    if (next >= 50 || !tf_filter_matches(filter, tf_bytes_str("$SYS/0/0"))) {
        return NULL;
    }
    struct tf_bytes body;
    struct tf_publication publication = rig_publication(
        tf_bytes_of(name, (size_t)sprintf(name, "$SYS/%u/%03u", shard, next)), "v", 0, true, &body);
    struct tf_message *message = tf_publication_keep(&publication, &rig->memory.alloc);
    tf_publication_release(&publication);
    return message;
}

static void test_made_when_read(void **state)
{
    (void)state;
    struct fixture *f = start(3, 2, 2);
    f->rig.virtual_next = make_next;
    rig_publish(&f->rig, 0, tf_bytes_str("$SYS/stored"), "v", 0, true, NULL, 0, NULL);
    sink_bind(&f->sink, "$SYS/#", 1, true, 1);
    rig_settle(&f->rig);
    while (tf_bind_draw(f->sink.queue.shard, &f->sink.owner)) {
        rig_settle(&f->rig);
    }
    assert_int_equal(f->sink.seen_count, 151);
    assert_int_equal(sink_count(&f->sink, "$SYS/1/049", "v"), 1);
    assert_int_equal(sink_count(&f->sink, "$SYS/stored", "v"), 1);
    stop(f);
}

/* A bind with one allocation failing: it stands, or its owner hears that it does not. */
static bool bind_with_failure(size_t nth, const char *filter, unsigned *ret_refused)
{
    struct fixture *f = start(3, 1, 1);
    struct tf_binding_options options = {.qos = 1};
    struct tf_published result;
    fill(f, 8);
    test_alloc_fail(&f->rig.memory, nth);
    enum tf_err err = tf_shard_bind(f->sink.queue.shard, &f->sink.queue, tf_bytes_str(filter),
                                    &options, true, &f->sink.owner, 1);
    rig_settle(&f->rig);
    while (f->sink.bound && tf_bind_draw(f->sink.queue.shard, &f->sink.owner) &&
           f->rig.memory.failed == 0) {
        rig_settle(&f->rig);
    }
    bool failed = f->rig.memory.failed != 0;
    test_alloc_fail(&f->rig.memory, 0);
    rig_settle(&f->rig);
    const struct tf_binding *binding =
        tf_shard_binding(f->sink.queue.shard, &f->sink.queue, tf_bytes_str(filter));
    if (err) {
        assert_int_equal(err, TF_NO_MEMORY);
        assert_int_equal(f->sink.bound, 0);
        assert_null(binding);
    } else if (f->sink.bound) {
        assert_int_equal(f->sink.bound, 1);
        assert_int_equal(binding != NULL, f->sink.bound_err == TF_OK);
        if (binding) { /* it does stand: in every shard */
            for (unsigned i = 0; i < 3; i++) {
                f->sink.seen_count = 0;
                rig_publish(&f->rig, i, tf_bytes_str("t/3"), "live", 0, false, NULL, 0, &result);
                rig_settle(&f->rig);
                assert_int_equal(sink_count(&f->sink, "t/3", "live"), 1);
            }
        }
    }
    assert_true(failed || (err == TF_OK && f->sink.bound_err == TF_OK && f->sink.bound == 1));
    *ret_refused += err != TF_OK || f->sink.bound_err != TF_OK;
    stop(f);
    return !failed;
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    static const char *const filters[] = {"t/3", "t/+"};
    for (unsigned i = 0; i < 2; i++) {
        size_t nth = 1;
        unsigned refused = 0;
        while (!bind_with_failure(nth, filters[i], &refused)) {
            nth++;
        }
        assert_true(nth > 6);
        assert_true(refused >= 4);
    }
}

/*
 * The way from one shard to another is full, and an allocation fails, or all from one on: a binding
 * stands everywhere, or there is none, or it is as it was. True: none failed.
 */
static bool bind_over_full_ring(size_t nth, bool on, const char *filter, bool again, unsigned from,
                                unsigned to, unsigned *ret_refused)
{
    struct fixture *f = start(3, 1, 1);
    struct tf_binding_options options = {.qos = 2};
    struct tf_mail mail = {.type = TF_MAIL_BROKER};
    if (again) {
        sink_bind(&f->sink, filter, 1, false, 0);
        rig_settle(&f->rig);
    }
    unsigned bound = f->sink.bound;
    f->rig.memory.fail_on = true;
    test_alloc_fail(&f->rig.memory, 1);
    while (tf_shard_post(&f->rig.shards[from], to, &mail)) {
    }
    f->starved = f->rig.memory.fail_on = on;
    test_alloc_fail(&f->rig.memory, nth);
    enum tf_err err = tf_shard_bind(&f->rig.shards[1], &f->sink.queue, tf_bytes_str(filter),
                                    &options, false, &f->sink.owner, 1);
    if (err) {
        assert_int_equal(err, TF_NO_MEMORY);
        assert_true(tf_list_empty(&f->sink.owner.binds));
    }
    for (unsigned i = 0; i < 9; i++) {
        tf_shard_receive(&f->rig.shards[i % 3]);
    }
    bool failed = f->rig.memory.failed != 0;
    f->rig.memory.fail_on = false;
    test_alloc_fail(&f->rig.memory, 0);
    rig_settle(&f->rig);
    const struct tf_binding *binding =
        tf_shard_binding(&f->rig.shards[1], &f->sink.queue, tf_bytes_str(filter));
    assert_int_equal(f->sink.bound, bound + (err == TF_OK)); /* nobody waits for ever */
    if (err) {
        assert_int_equal(binding != NULL, again);
        assert_true(!binding || binding->options.qos == 1);
    } else {
        assert_int_equal(binding != NULL, f->sink.bound_err == TF_OK);
        assert_true(!binding || binding->options.qos == 2);
    }
    for (unsigned i = 0; binding && i < 3; i++) {
        rig_publish(&f->rig, i, tf_bytes_str("t/3"), "live", 0, false, NULL, 0, NULL);
        rig_settle(&f->rig);
        assert_int_equal(sink_count(&f->sink, "t/3", "live"), i + 1);
    }
    *ret_refused += err != TF_OK || f->sink.bound_err != TF_OK;
    stop(f);
    return !failed;
}

static void test_mail_lost(void **state)
{
    (void)state;
    static const char *const filters[] = {"t/3", "t/+"};
    for (unsigned number = 0; number < 8 * 9; number++) {
        unsigned from = number / 8 % 3;
        unsigned to = number / 24;
        size_t nth = 1;
        unsigned refused = 0;
        if (from == to) {
            continue;
        }
        while (!bind_over_full_ring(nth, number & 4, filters[number % 2], number & 2, from, to,
                                    &refused)) {
            nth++;
        }
        assert_true(refused > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_once_or_live), cmocka_unit_test(test_pages_and_credit),
        cmocka_unit_test(test_without_values),      cmocka_unit_test(test_end_in_every_phase),
        cmocka_unit_test(test_made_when_read),      cmocka_unit_test(test_every_allocation_failed),
        cmocka_unit_test(test_mail_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
