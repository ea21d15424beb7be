/*
 * Publishing on several shards: who gets it, what tickets tell, and what a failed allocation does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/route_rig.h"

struct waiter {
    struct tf_ticket_owner owner;
    unsigned done;
    uint64_t tag;
    struct tf_published result;
};

struct fixture {
    struct rig rig;
    struct sink sinks[RIG_SHARDS];
    struct waiter waiter;
};

static void on_done(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct waiter *waiter = tf_container_of(owner, struct waiter, owner);
    waiter->done++;
    waiter->tag = tag;
    waiter->result = *result;
}

static struct fixture *start(unsigned shards, size_t capacity)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, shards, capacity);
    f->waiter.owner.done = on_done;
    tf_list_init(&f->waiter.owner.tickets);
    for (unsigned i = 0; i < shards; i++) {
        sink_start(&f->sinks[i], &f->rig.shards[i], true);
    }
    return f;
}

static void stop(struct fixture *f)
{
    rig_settle(&f->rig);
    rig_check(&f->rig);
    for (unsigned i = 0; i < f->rig.count; i++) {
        sink_stop(&f->sinks[i]);
    }
    tf_ticket_owner_release(&f->waiter.owner);
    rig_stop(&f->rig);
    free(f);
}

static void test_homes(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8);
    unsigned seen = 0;
    char name[16];
    for (int i = 0; i < 100; i++) {
        struct tf_bytes bytes = tf_bytes_of(name, (size_t)sprintf(name, "n%d", i));
        unsigned home = tf_shard_home(&f->rig.shards[0], bytes);
        assert_in_range(home, 0, 2);
        assert_int_equal(tf_shard_home(&f->rig.shards[2], bytes), home);
        seen |= 1u << home;
    }
    assert_int_equal(seen, 7);
    stop(f);
}

static void test_publish_to_three_shards(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8);
    struct tf_published result = {0};
    for (unsigned i = 0; i < 3; i++) {
        sink_bind(&f->sinks[i], i == 1 ? "a/+" : "a/b", 2, false, i);
    }
    rig_settle(&f->rig);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(f->sinks[i].bound, 1);
        assert_int_equal(f->sinks[i].bound_tag, i);
        assert_int_equal(f->sinks[i].bound_err, TF_OK);
    }
    assert_int_equal(
        rig_publish(&f->rig, 0, tf_bytes_str("a/b"), "x", 1, false, &f->waiter.owner, 7, &result),
        TF_AGAIN);
    assert_int_equal(f->sinks[0].seen_count, 1); /* its own at once */
    assert_int_equal(f->sinks[1].seen_count, 0);
    assert_int_equal(f->rig.shards[0].counters.tickets, 1);
    rig_settle(&f->rig);
    assert_int_equal(f->sinks[1].seen_count, 1);
    assert_int_equal(f->sinks[2].seen_count, 1);
    assert_int_equal(f->waiter.done, 1);
    assert_int_equal(f->waiter.tag, 7);
    assert_int_equal(f->waiter.result.matched, 3);
    assert_int_equal(f->waiter.result.taken, 3);
    assert_false(f->waiter.result.refused);
    assert_int_equal(f->rig.shards[0].counters.tickets, 0);
    /* one shard alone wants this */
    assert_int_equal(
        rig_publish(&f->rig, 1, tf_bytes_str("a/c"), "y", 1, false, &f->waiter.owner, 8, &result),
        TF_OK);
    assert_int_equal(result.matched, 1);
    /* nobody wants this */
    assert_int_equal(
        rig_publish(&f->rig, 2, tf_bytes_str("b"), "z", 1, false, &f->waiter.owner, 9, &result),
        TF_OK);
    assert_int_equal(result.matched, 0);
    /* once unbound, the others are asked no more */
    assert_true(tf_shard_unbind(&f->rig.shards[1], &f->sinks[1].queue, tf_bytes_str("a/+")));
    assert_false(tf_shard_unbind(&f->rig.shards[1], &f->sinks[1].queue, tf_bytes_str("a/+")));
    assert_true(tf_shard_unbind(&f->rig.shards[2], &f->sinks[2].queue, tf_bytes_str("a/b")));
    rig_settle(&f->rig);
    assert_int_equal(
        rig_publish(&f->rig, 0, tf_bytes_str("a/b"), "w", 1, false, &f->waiter.owner, 1, &result),
        TF_OK);
    assert_int_equal(result.matched, 1);
    assert_int_equal(f->rig.shards[0].routes.route_count, 1);
    assert_int_equal(f->rig.shards[1].routes.route_count, 1);
    stop(f);
}

static void test_order_and_messages_shared(void **state)
{
    (void)state;
    struct fixture *f = start(3, 2);
    for (unsigned i = 0; i < 3; i++) {
        sink_bind(&f->sinks[i], "#", 1, false, 0);
    }
    rig_settle(&f->rig);
    char body[16];
    for (int i = 0; i < 200; i++) {
        sprintf(body, "%d", i);
        rig_publish(&f->rig, 0, tf_bytes_str("a"), body, (uint8_t)(i % 2), false, NULL, 0, NULL);
    }
    assert_true(tf_shard_flush(&f->rig.shards[0])); /* rings of two: congested */
    rig_settle(&f->rig);
    assert_false(tf_shard_flush(&f->rig.shards[0]));
    for (unsigned s = 0; s < 3; s++) {
        assert_int_equal(f->sinks[s].seen_count, 200);
        for (int i = 0; i < 200; i++) {
            sprintf(body, "%d", i);
            assert_string_equal(f->sinks[s].seen[i].body, body);
        }
    }
    stop(f);
}

static void bind(struct fixture *f, unsigned sink, const char *filter,
                 struct tf_binding_options options)
{
    assert_int_equal(tf_shard_bind(&f->rig.shards[sink], &f->sinks[sink].queue,
                                   tf_bytes_str(filter), &options, false, &f->sinks[sink].owner, 0),
                     TF_OK);
    rig_settle(&f->rig);
}

static void test_overlapping(void **state)
{
    (void)state;
    struct fixture *f = start(2, 8);
    bind(f, 0, "a/b", (struct tf_binding_options){.qos = 0, .subscription_id = 1});
    bind(f, 0, "a/+", (struct tf_binding_options){.qos = 1, .subscription_id = 2});
    bind(f, 0, "a/#", (struct tf_binding_options){.qos = 0, .retain_as_published = true});
    bind(f, 0, "+/b", (struct tf_binding_options){.qos = 2, .subscription_id = 4});
    for (unsigned from = 0; from < 2; from++) {
        f->sinks[0].seen_count = 0;
        rig_publish(&f->rig, from, tf_bytes_str("a/b"), "x", 2, true, NULL, 0, NULL);
        rig_settle(&f->rig);
        assert_int_equal(f->sinks[0].seen_count, 1); /* MQTT 5.0 3.3.4 */
        const struct seen *seen = &f->sinks[0].seen[0];
        assert_int_equal(seen->qos, 2);
        assert_true(seen->retain);
        assert_int_equal(seen->id_count, 3);
        assert_int_equal(seen->ids[0] + seen->ids[1] + seen->ids[2], 7);
        assert_int_equal(seen->ids[0] | seen->ids[1] | seen->ids[2], 7);
    }
    f->sinks[0].seen_count = 0;
    rig_publish(&f->rig, 0, tf_bytes_str("a/c"), "x", 2, true, NULL, 0, NULL);
    assert_int_equal(f->sinks[0].seen_count, 1);
    assert_int_equal(f->sinks[0].seen[0].qos, 1);
    assert_int_equal(f->sinks[0].seen[0].id_count, 1);
    /* the same filter again: other options, the same binding */
    bind(f, 0, "a/b", (struct tf_binding_options){.qos = 1, .subscription_id = 9});
    assert_int_equal(f->sinks[0].queue.binding_count, 4);
    assert_int_equal(tf_shard_binding(&f->rig.shards[0], &f->sinks[0].queue, tf_bytes_str("a/b"))
                         ->options.subscription_id,
                     9);
    stop(f);
}

static void test_options(void **state)
{
    (void)state;
    struct fixture *f = start(1, 8);
    struct tf_bytes body;
    struct tf_published result;
    f->sinks[0].queue.publisher = 42;
    bind(f, 0, "a", (struct tf_binding_options){.qos = 2, .no_local = true});
    bind(f, 0, "b", (struct tf_binding_options){.qos = 2});
    bind(f, 0, "c", (struct tf_binding_options){.qos = 1, .upgrade = true});
    struct tf_publication own = rig_publication(tf_bytes_str("a"), "x", 1, true, &body);
    own.envelope.publisher = 42;
    assert_int_equal(tf_shard_publish(&f->rig.shards[0], &own, NULL, 0, &result), TF_OK);
    tf_publication_release(&own);
    assert_int_equal(result.matched, 0);
    own = rig_publication(tf_bytes_str("b"), "x", 1, true, &body);
    own.envelope.publisher = 42;
    assert_int_equal(tf_shard_publish(&f->rig.shards[0], &own, NULL, 0, &result), TF_OK);
    tf_publication_release(&own);
    assert_int_equal(f->sinks[0].seen_count, 1);
    assert_false(f->sinks[0].seen[0].retain); /* not as published */
    rig_publish(&f->rig, 0, tf_bytes_str("a"), "x", 2, false, NULL, 0, NULL);
    assert_int_equal(f->sinks[0].seen[1].qos, 2);
    rig_publish(&f->rig, 0, tf_bytes_str("c"), "x", 0, false, NULL, 0, NULL);
    assert_int_equal(f->sinks[0].seen[2].qos, 1);
    stop(f);
}

static void test_values_live_at_home(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8);
    char name[16];
    struct tf_published result = {0};
    struct tf_bytes address = rig_address(&f->rig, 2, "v", name, sizeof(name));
    assert_int_equal(rig_publish(&f->rig, 0, address, "1", 1, true, &f->waiter.owner, 1, &result),
                     TF_AGAIN);
    rig_settle(&f->rig);
    assert_int_equal(f->waiter.result.taken, 1);
    assert_int_equal(f->waiter.result.matched, 0);
    for (unsigned i = 0; i < 3; i++) {
        const struct tf_value *value = tf_values_get(&f->rig.shards[i].values, address);
        assert_int_equal(value != NULL, i == 2);
        if (value) {
            assert_int_equal(value->writer, 0);
        }
    }
    /* a limit: refused, and told so */
    f->rig.shards[2].values.limits.bytes = 1;
    assert_int_equal(rig_publish(&f->rig, 1, address, "22", 1, true, &f->waiter.owner, 2, &result),
                     TF_AGAIN);
    rig_settle(&f->rig);
    assert_true(f->waiter.result.refused);
    assert_int_equal(rig_publish(&f->rig, 2, address, "22", 1, true, &f->waiter.owner, 3, &result),
                     TF_OK); /* at home: known at once */
    assert_true(result.refused);
    /* cleared from elsewhere */
    rig_publish(&f->rig, 1, address, NULL, 0, true, NULL, 0, NULL);
    rig_settle(&f->rig);
    assert_int_equal(f->rig.shards[2].values.count, 0);
    /* expiry is a timer of the home's */
    struct tf_bytes body;
    f->rig.shards[2].values.limits.bytes = 1000;
    struct tf_publication publication = rig_publication(address, "x", 0, true, &body);
    publication.envelope.expires = f->rig.now + TF_SECOND;
    assert_int_equal(tf_shard_publish(&f->rig.shards[2], &publication, NULL, 0, &result), TF_OK);
    tf_publication_release(&publication);
    assert_int_equal(f->rig.shards[2].values.count, 1);
    assert_in_range(tf_shard_deadline(&f->rig.shards[2]), f->rig.now, f->rig.now + TF_SECOND);
    rig_time(&f->rig, f->rig.now + 2 * TF_SECOND);
    assert_int_equal(f->rig.shards[2].values.count, 0);
    assert_true(tf_shard_deadline(&f->rig.shards[2]) == TF_TIME_NEVER);
    stop(f);
}

static void test_ticket_owner_goes(void **state)
{
    (void)state;
    struct fixture *f = start(3, 8);
    struct tf_published result;
    sink_bind(&f->sinks[1], "a", 1, false, 0);
    rig_settle(&f->rig);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            rig_publish(&f->rig, 0, tf_bytes_str("a"), "x", 1, false, &f->waiter.owner, 1, &result),
            TF_AGAIN);
    }
    tf_ticket_owner_release(&f->waiter.owner);
    rig_settle(&f->rig);
    assert_int_equal(f->waiter.done, 0);
    assert_int_equal(f->sinks[1].seen_count, 3);
    assert_int_equal(f->rig.shards[0].counters.tickets, 0);
    stop(f);
}

/* A queue that is full drops, and the ticket tells that nobody took it. */
/* The reply to a message finds the ring full and no memory to wait in: it goes later. */
static void test_reply_without_memory(void **state)
{
    (void)state;
    struct fixture *f = start(2, 1);
    struct tf_published result;
    struct tf_bytes address = tf_bytes_str("a");
    sink_bind(&f->sinks[1], "a", 1, false, 1);
    rig_settle(&f->rig);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(
            rig_publish(&f->rig, 0, address, "x", 1, false, &f->waiter.owner, i, &result),
            TF_AGAIN);
    }
    f->rig.memory.fail_on = true;
    f->rig.memory.fail_at = f->rig.memory.calls + 1;
    for (unsigned i = 0; i < 6; i++) {
        tf_shard_receive(&f->rig.shards[1]);
        (void)tf_shard_flush(&f->rig.shards[0]);
    }
    assert_int_equal(f->waiter.done, 0);
    assert_true(tf_shard_busy(&f->rig.shards[1]));
    f->rig.memory.fail_at = 0;
    rig_settle(&f->rig);
    assert_int_equal(f->waiter.done, 3);
    stop(f);
}

static void test_full_queue(void **state)
{
    (void)state;
    struct fixture *f = start(2, 8);
    struct tf_published result;
    f->sinks[1].limits.entries = 0;
    f->sinks[1].room = 0;
    sink_bind(&f->sinks[1], "a", 1, false, 0);
    rig_settle(&f->rig);
    assert_int_equal(
        rig_publish(&f->rig, 0, tf_bytes_str("a"), "x", 1, false, &f->waiter.owner, 1, &result),
        TF_AGAIN);
    rig_settle(&f->rig);
    assert_int_equal(f->waiter.result.matched, 1);
    assert_int_equal(f->waiter.result.taken, 0);
    assert_false(f->waiter.result.refused); /* a policy, not a failure */
    assert_int_equal(f->rig.shards[1].counters.dropped, 1);
    stop(f);
}

/* Broker's mail goes to the broker, at once when it is for the shard itself. */
static void test_post(void **state)
{
    (void)state;
    struct fixture *f = start(2, 8);
    struct tf_mail mail = {.type = TF_MAIL_BROKER + 3, .tag = 5};
    assert_true(tf_shard_post(&f->rig.shards[0], 0, &mail));
    assert_int_equal(f->rig.received_count, 1);
    mail.tag = 6;
    assert_true(tf_shard_post(&f->rig.shards[0], 1, &mail));
    assert_int_equal(f->rig.received_count, 1);
    rig_settle(&f->rig);
    assert_int_equal(f->rig.received_count, 2);
    assert_int_equal(f->rig.received.tag, 6);
    stop(f);
}

/*
 * A publication to two remote and one local queue, and the value, with one allocation failing.
 * Whatever was taken is told: no memory means that nobody has it. True: none failed.
 */
static bool publish_with_failure(size_t nth, unsigned *ret_refused)
{
    struct fixture *f = start(3, 1);
    char name[16];
    struct tf_published result = {0};
    struct tf_bytes address = rig_address(&f->rig, 1, "v", name, sizeof(name));
    for (unsigned i = 0; i < 3; i++) {
        f->sinks[i].room = 0;
        sink_bind(&f->sinks[i], "#", 1, false, 0);
    }
    rig_settle(&f->rig);
    test_alloc_fail(&f->rig.memory, nth);
    enum tf_err err = rig_publish(&f->rig, 0, address, "x", 1, true, &f->waiter.owner, 1, &result);
    rig_settle(&f->rig);
    bool failed = f->rig.memory.failed != 0;
    test_alloc_fail(&f->rig.memory, 0);
    unsigned queued = f->sinks[0].queue.count + f->sinks[1].queue.count + f->sinks[2].queue.count;
    unsigned has = queued + (unsigned)f->rig.shards[1].values.count;
    if (err == TF_NO_MEMORY) {
        assert_true(failed);
        assert_int_equal(has, 0);
    } else {
        if (err == TF_AGAIN) {
            assert_int_equal(f->waiter.done, 1);
            result = f->waiter.result;
        }
        assert_int_equal(result.taken, has);
        assert_int_equal(result.refused, failed);
        assert_int_equal(failed ? 0 : has, failed ? 0 : 4);
    }
    *ret_refused += failed && err != TF_NO_MEMORY;
    for (unsigned i = 0; i < 3; i++) {
        f->sinks[i].room = UINT32_MAX;
        tf_queue_pump(&f->sinks[i].queue, f->rig.now);
    }
    stop(f);
    return !failed;
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    size_t nth = 1;
    unsigned refused = 0;
    while (!publish_with_failure(nth, &refused)) {
        nth++;
    }
    assert_true(nth > 5);
    assert_true(refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_homes),
        cmocka_unit_test(test_publish_to_three_shards),
        cmocka_unit_test(test_order_and_messages_shared),
        cmocka_unit_test(test_overlapping),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_values_live_at_home),
        cmocka_unit_test(test_ticket_owner_goes),
        cmocka_unit_test(test_reply_without_memory),
        cmocka_unit_test(test_full_queue),
        cmocka_unit_test(test_post),
        cmocka_unit_test(test_every_allocation_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
