/*
 * Queues: order, limits, expiry, credit, several consumers, and that the fast path allocates
 * nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/route/route_rig.h"

static const struct tf_subscription_ids no_ids;

struct fixture {
    struct rig rig;
    struct sink a, b;
};

static struct fixture *start(void)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    rig_start(&fixture->rig, 1, 8);
    sink_start(&fixture->a, &fixture->rig.shards[0], true);
    return fixture;
}

static void stop(struct fixture *fixture)
{
    sink_stop(&fixture->a);
    rig_stop(&fixture->rig);
    free(fixture);
}

static enum tf_err push_until(struct fixture *fixture, const char *body, uint8_t qos,
                              tf_time expires)
{
    struct tf_bytes bytes;
    struct tf_publication publication =
        rig_publication(tf_bytes_str("a"), body, qos, false, &bytes);
    publication.envelope.expires = expires;
    enum tf_err err =
        tf_queue_push(&fixture->a.queue, &publication, &no_ids, qos, false, fixture->rig.now);
    tf_publication_release(&publication);
    assert_true(tf_queue_check(&fixture->a.queue));
    return err;
}

static enum tf_err push(struct fixture *fixture, const char *body, uint8_t qos)
{
    return push_until(fixture, body, qos, TF_TIME_NEVER);
}

static void pump(struct fixture *fixture)
{
    tf_queue_pump(&fixture->a.queue, fixture->rig.now);
    assert_true(tf_queue_check(&fixture->a.queue));
}

/* What was seen, as one text. */
static const char *seen(const struct sink *sink)
{
    static char text[512];
    text[0] = 0;
    for (size_t i = 0; i < sink->seen_count; i++) {
        strcat(text, sink->seen[i].body);
        strcat(text, i + 1 < sink->seen_count ? " " : "");
    }
    return text;
}

static void test_order(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->a.room = 0;
    char body[16];
    for (int i = 0; i < 6; i++) { /* QoS 0 keeps its place among the others */
        sprintf(body, "%d", i);
        assert_int_equal(push(f, body, (uint8_t)(i % 3)), TF_OK);
    }
    assert_int_equal(f->a.queue.count, 6);
    f->a.room = 4;
    pump(f);
    assert_string_equal(seen(&f->a), "0 1 2 3");
    assert_int_equal(f->a.drained, 0);
    assert_int_equal(push(f, "6", 1), TF_OK); /* none may overtake what waits */
    assert_string_equal(seen(&f->a), "0 1 2 3");
    f->a.room = 100;
    pump(f);
    assert_string_equal(seen(&f->a), "0 1 2 3 4 5 6");
    assert_int_equal(f->a.drained, 1);
    assert_int_equal(f->a.queue.count, 0);
    assert_int_equal(f->a.queue.bytes, 0);
    assert_int_equal(f->rig.shards[0].queued_bytes, 0);
    stop(f);
}

static void test_fast_path_allocates_nothing(void **state)
{
    (void)state;
    struct fixture *f = start();
    size_t calls = f->rig.memory.calls;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(push(f, "x", 0), TF_OK);
    }
    assert_int_equal(f->rig.memory.calls, calls);
    assert_int_equal(f->a.seen_count, 100);
    assert_null(f->a.seen[0].entry);
    /* by a binding as well: publish, match, deliver */
    sink_bind(&f->a, "a/+", 2, false, 1);
    calls = f->rig.memory.calls;
    for (int i = 0; i < 100; i++) {
        rig_publish(&f->rig, 0, tf_bytes_str("a/b"), "y", 0, false, NULL, 0, NULL);
    }
    assert_int_equal(f->rig.memory.calls, calls);
    assert_int_equal(f->a.seen_count, 200);
    /* and by overlapping ones with identifiers */
    struct tf_binding_options options = {.subscription_id = 5, .qos = 1};
    assert_int_equal(tf_shard_bind(&f->rig.shards[0], &f->a.queue, tf_bytes_str("a/b"), &options,
                                   false, &f->a.owner, 2),
                     TF_OK);
    calls = f->rig.memory.calls;
    rig_publish(&f->rig, 0, tf_bytes_str("a/b"), "z", 0, false, NULL, 0, NULL);
    assert_int_equal(f->rig.memory.calls, calls);
    assert_int_equal(f->a.seen_count, 201);
    assert_int_equal(f->a.seen[200].id_count, 1);
    assert_int_equal(f->a.seen[200].ids[0], 5);
    stop(f);
}

static void test_credit(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->a.credit = 2;
    f->a.settle_at_once = false;
    push(f, "1", 1);
    push(f, "2", 2);
    push(f, "3", 1);
    push(f, "4", 0); /* needs no credit, but waits in its turn */
    assert_string_equal(seen(&f->a), "1 2");
    assert_int_equal(f->a.queue.count, 4);
    pump(f);
    assert_int_equal(f->a.seen_count, 2);
    f->a.credit = 1;
    tf_entry_settle(f->a.seen[0].entry);
    pump(f);
    assert_string_equal(seen(&f->a), "1 2 3 4");
    assert_int_equal(f->a.queue.count, 2);
    tf_entry_settle(f->a.seen[2].entry);
    tf_entry_settle(f->a.seen[1].entry);
    assert_int_equal(f->a.queue.count, 0);
    assert_int_equal(f->a.counters.settled, 3);
    assert_int_equal(f->a.counters.delivered, 4);
    stop(f);
}

static void test_settle_and_release_within_deliver(void **state)
{
    (void)state;
    struct fixture *f = start();
    push(f, "1", 1); /* settle_at_once, straight from push */
    assert_int_equal(f->a.queue.count, 0);
    f->a.room = 0;
    push(f, "2", 2);
    push(f, "3", 1);
    f->a.room = 10;
    pump(f); /* and from the pump */
    assert_int_equal(f->a.queue.count, 0);
    assert_string_equal(seen(&f->a), "1 2 3");
    f->a.release_at_once = true;
    push(f, "4", 1);
    assert_int_equal(f->a.queue.count, 1);
    pump(f);
    assert_string_equal(seen(&f->a), "1 2 3 4 4");
    assert_int_equal(f->a.seen[3].attempts, 0);
    assert_int_equal(f->a.seen[4].attempts, 1);
    stop(f);
}

static void test_release_at_position(void **state)
{
    (void)state;
    struct fixture *f = start();
    char body[16];
    f->a.settle_at_once = false;
    f->a.credit = 3;
    for (int i = 0; i < 6; i++) {
        sprintf(body, "%d", i);
        push(f, body, 1);
    }
    assert_string_equal(seen(&f->a), "0 1 2");
    tf_entry_release(f->a.seen[1].entry);
    tf_entry_release(f->a.seen[2].entry);
    tf_entry_release(f->a.seen[0].entry);
    assert_true(tf_queue_check(&f->a.queue));
    assert_int_equal(f->a.counters.released, 3);
    f->a.credit = 100;
    f->a.settle_at_once = true;
    pump(f);
    assert_string_equal(seen(&f->a), "0 1 2 0 1 2 3 4 5");
    assert_int_equal(f->a.seen[3].attempts, 1);
    assert_int_equal(f->a.seen[3].position, f->a.seen[0].position);
    assert_int_equal(f->a.seen[6].attempts, 0);
    stop(f);
}

static void test_offline(void **state)
{
    (void)state;
    struct fixture *f = start();
    tf_consumer_detach(&f->a.consumer);
    assert_int_equal(push(f, "0", 0), TF_LIMIT);
    assert_int_equal(f->a.counters.dropped_offline, 1);
    assert_int_equal(push(f, "1", 1), TF_OK);
    f->a.queue.keep_at_most_once = true;
    assert_int_equal(push(f, "2", 0), TF_OK);
    pump(f);
    assert_int_equal(f->a.seen_count, 0);
    tf_consumer_attach(&f->a.consumer, &f->a.queue);
    assert_int_equal(f->a.seen_count, 0);
    pump(f);
    assert_string_equal(seen(&f->a), "1 2");
    stop(f);
}

static void test_limits_drop_new_and_refuse(void **state)
{
    (void)state;
    for (int overflow = TF_OVERFLOW_DROP_NEW; overflow <= TF_OVERFLOW_REFUSE; overflow++) {
        if (overflow == TF_OVERFLOW_DROP_OLD) {
            continue;
        }
        struct fixture *f = start();
        f->a.room = 0;
        f->a.limits.entries = 2;
        f->a.limits.overflow = (uint8_t)overflow;
        assert_int_equal(push(f, "1", 1), TF_OK);
        uint64_t one = f->a.queue.bytes;
        assert_int_equal(push(f, "2", 1), TF_OK);
        assert_int_equal(push(f, "3", 1), TF_LIMIT);
        assert_int_equal(push(f, "4", 0), TF_LIMIT); /* output over its mark, queue full */
        assert_int_equal(f->a.counters.dropped_full, 2);
        f->a.limits.entries = 100;
        f->a.limits.bytes = 3 * one;
        assert_int_equal(push(f, "5", 1), TF_OK);
        assert_int_equal(push(f, "6", 1), TF_LIMIT);
        f->a.room = 10;
        pump(f);
        assert_string_equal(seen(&f->a), "1 2 5");
        stop(f);
    }
}

static void test_limits_drop_old(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->a.settle_at_once = false;
    f->a.credit = 1;
    f->a.limits.entries = 3;
    f->a.limits.overflow = TF_OVERFLOW_DROP_OLD;
    push(f, "1", 1); /* acquired: is not dropped */
    push(f, "2", 1);
    push(f, "3", 1);
    assert_int_equal(push(f, "4", 1), TF_OK);
    assert_int_equal(f->a.counters.dropped_full, 1);
    assert_int_equal(f->a.queue.count, 3);
    /* what can never fit drops nothing */
    uint64_t bytes = f->a.queue.bytes;
    f->a.limits.bytes = bytes;
    char large[4096];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = 0;
    assert_int_equal(push(f, large, 1), TF_LIMIT);
    assert_int_equal(f->a.queue.count, 3);
    assert_int_equal(f->a.queue.bytes, bytes);
    f->a.settle_at_once = true;
    f->a.credit = 10;
    tf_entry_settle(f->a.seen[0].entry);
    pump(f);
    assert_string_equal(seen(&f->a), "1 3 4");
    stop(f);
}

static void test_expiry(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->a.room = 0;
    f->a.limits.entries = 3;
    push_until(f, "1", 1, f->rig.now + 10);
    push_until(f, "2", 1, f->rig.now + 20);
    push(f, "3", 1);
    assert_int_equal(push(f, "4", 1), TF_LIMIT);
    f->rig.now += 10; /* the first has expired: it makes room */
    assert_int_equal(push(f, "5", 1), TF_OK);
    assert_int_equal(f->a.counters.dropped_expired, 1);
    f->rig.now += 10;
    f->a.room = 10;
    pump(f);
    assert_string_equal(seen(&f->a), "3 5");
    assert_int_equal(f->a.counters.dropped_expired, 2);
    stop(f);
}

static void test_consumer_can_never_take_it(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->a.room = 0;
    f->a.refuse = TF_LIMIT;
    assert_int_equal(push(f, "1", 0), TF_LIMIT);
    assert_int_equal(push(f, "2", 1), TF_OK);
    assert_int_equal(f->a.queue.count, 0);
    assert_int_equal(f->a.counters.dropped_size, 2);
    stop(f);
}

static void test_several_consumers(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct sink *b = &f->b;
    sink_start(b, &f->rig.shards[0], false);
    tf_consumer_attach(&b->consumer, &f->a.queue);
    char body[16];
    for (int i = 0; i < 6; i++) {
        sprintf(body, "%d", i);
        push(f, body, i < 4);
    }
    assert_int_equal(f->a.seen_count, 3); /* in turns */
    assert_int_equal(b->seen_count, 3);
    f->a.credit = 0; /* one that has none is passed over */
    push(f, "6", 1);
    push(f, "7", 1);
    assert_int_equal(b->seen_count, 5);
    b->credit = 0;
    push(f, "8", 1);
    assert_int_equal(f->a.queue.count, 1);
    /* what one can never take waits for the other, whatever their order */
    f->a.refuse = TF_LIMIT;
    pump(f);
    assert_int_equal(f->a.queue.count, 1);
    f->a.refuse = TF_AGAIN;
    b->refuse = TF_LIMIT;
    pump(f);
    assert_int_equal(f->a.queue.count, 1);
    f->a.refuse = TF_LIMIT;
    pump(f);
    assert_int_equal(f->a.queue.count, 0);
    assert_int_equal(f->a.counters.dropped_size, 1);
    tf_consumer_detach(&b->consumer);
    sink_stop(b);
    stop(f);
}

/* A queue released with entries in every state frees them all (rig_stop counts). */
static void test_release_with_entries(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->a.settle_at_once = false;
    f->a.credit = 2;
    const uint32_t ids[] = {1, 2, 3};
    struct tf_subscription_ids three = {ids, 3};
    for (int i = 0; i < 4; i++) {
        struct tf_bytes bytes;
        struct tf_publication publication =
            rig_publication(tf_bytes_str("a"), "b", 1, false, &bytes);
        assert_int_equal(tf_queue_push(&f->a.queue, &publication, &three, 1, true, f->rig.now),
                         TF_OK);
        tf_publication_release(&publication);
    }
    assert_int_equal(f->a.seen[1].id_count, 3);
    assert_int_equal(f->a.seen[1].ids[2], 3);
    assert_true(f->a.seen[1].retain);
    assert_int_equal(f->rig.shards[0].queued_count, 4);
    assert_true(tf_queue_check(&f->a.queue));
    stop(f);
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    const uint32_t ids[] = {1, 2, 3};
    struct tf_subscription_ids three = {ids, 3};
    unsigned failures = 0;
    for (size_t nth = 1;; nth++) {
        struct fixture *f = start();
        struct tf_bytes bytes;
        struct tf_publication publication =
            rig_publication(tf_bytes_str("a"), "b", 1, false, &bytes);
        f->a.room = 0;
        test_alloc_fail(&f->rig.memory, nth);
        enum tf_err err = tf_queue_push(&f->a.queue, &publication, &three, 1, false, f->rig.now);
        bool failed = f->rig.memory.failed != 0;
        assert_int_equal(err, failed ? TF_NO_MEMORY : TF_OK);
        assert_int_equal(f->a.queue.count, failed ? 0 : 1);
        assert_true(tf_queue_check(&f->a.queue));
        tf_publication_release(&publication);
        failures += failed;
        stop(f);
        if (!failed) {
            break;
        }
    }
    assert_int_equal(failures, 3); /* message, entry, identifiers */
}

/* Random steps: the invariants hold, nothing is lost or comes out of order. */
static void test_random_steps(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct tf_random random;
        struct fixture *f = start();
        struct tf_list_node *node;
        unsigned pushed = 0;
        tf_random_init(&random, seed);
        f->a.settle_at_once = false;
        f->a.credit = f->a.room = 0;
        f->a.limits.entries = UINT32_MAX;
        for (int step = 0; step < 400; step++) {
            char body[16];
            switch (tf_random_below(&random, 5)) {
            case 0:
            case 1:
                sprintf(body, "%u", pushed++);
                assert_int_equal(push(f, body, 1 + step % 2), TF_OK);
                break;
            case 2:
                f->a.room = f->a.credit = (uint32_t)tf_random_below(&random, 4);
                pump(f);
                break;
            default:
                node = tf_list_first(&f->a.queue.acquired);
                for (uint64_t n = tf_random_below(&random, 3); node && n; n--) {
                    node = tf_list_next(&f->a.queue.acquired, node);
                }
                if (node) {
                    struct tf_entry *entry = tf_container_of(node, struct tf_entry, node);
                    if (tf_random_chance(&random, 1, 2)) {
                        tf_entry_settle(entry);
                    } else {
                        tf_entry_release(entry);
                    }
                }
            }
            assert_true(tf_queue_check(&f->a.queue));
        }
        /* first deliveries are in order, whatever was released between */
        uint64_t next = 0;
        for (size_t i = 0; i < f->a.seen_count; i++) {
            if (f->a.seen[i].attempts == 0) {
                assert_int_equal(f->a.seen[i].position, next++);
            } else {
                assert_true(f->a.seen[i].position < next);
            }
        }
        assert_int_equal(f->a.counters.enqueued, pushed);
        assert_int_equal(f->a.counters.settled + f->a.queue.count, pushed);
        stop(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_fast_path_allocates_nothing),
        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_settle_and_release_within_deliver),
        cmocka_unit_test(test_release_at_position),
        cmocka_unit_test(test_offline),
        cmocka_unit_test(test_limits_drop_new_and_refuse),
        cmocka_unit_test(test_limits_drop_old),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_consumer_can_never_take_it),
        cmocka_unit_test(test_several_consumers),
        cmocka_unit_test(test_release_with_entries),
        cmocka_unit_test(test_every_allocation_failed),
        cmocka_unit_test(test_random_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
