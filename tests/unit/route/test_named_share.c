/*
 * Several at one named queue, in its shard: turns, browsing, drains, exclusive ones, private
 * queues, and how queues come and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/named_rig.h"

struct fixture {
    struct rig rig;
    struct eater a, b, c;
    struct feeder feeder;
    struct tf_queue_spec spec;
    struct tf_queue_declaration declaration;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, 1, 16);
    f->spec = named_spec();
    f->declaration.name = tf_bytes_str("q");
    f->declaration.spec = &f->spec;
    f->a.shard = f->b.shard = f->c.shard = &f->rig.shards[0];
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rig_settle(&f->rig);
    rig_check(&f->rig);
    tf_named_detach(&f->a.consumer, false);
    tf_named_detach(&f->b.consumer, false);
    tf_named_detach(&f->c.consumer, false);
    tf_named_producer_detach(&f->feeder.producer);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    if (tf_named_queue_find(&f->rig.shards[0], tf_bytes_str("q"))) {
        named_delete(&f->rig, "q");
    }
    rig_stop(&f->rig);
    free(f);
    return 0;
}

static void attach(struct fixture *f, struct eater *eater)
{
    assert_int_equal(eater_attach(eater, &f->rig, &f->declaration), TF_OK);
}

static void put(struct fixture *f, unsigned from, unsigned to)
{
    char text[8];
    for (unsigned i = from; i <= to; i++) {
        sprintf(text, "%u", i);
        assert_int_equal(named_put(&f->rig, 0, "q", text).taken, 1);
    }
}

static void test_turns(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    attach(f, &f->b);
    attach(f, &f->c);
    tf_named_credit(&f->a.consumer, 100);
    tf_named_credit(&f->b.consumer, 2);
    tf_named_credit(&f->c.consumer, 100);
    put(f, 1, 9);
    assert_string_equal(eater_bodies(&f->a, 0), "1 4 7 9");
    assert_string_equal(eater_bodies(&f->b, 0), "2 5");
    assert_string_equal(eater_bodies(&f->c, 0), "3 6 8");
    f->c.room = 0; /* nobody waits for one whose output is full */
    put(f, 10, 12);
    assert_string_equal(eater_bodies(&f->a, 4), "10 11 12");
    f->c.room = 100;
    tf_named_ready(&f->c.consumer);
    put(f, 13, 14);
    assert_int_equal(f->a.count + f->c.count, 12);
    assert_int_equal(f->c.count, 4);
}

static void test_credit_taken_back(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    tf_named_credit(&f->a.consumer, 5);
    put(f, 1, 2);
    tf_named_credit(&f->a.consumer, 0);
    put(f, 3, 4);
    assert_int_equal(f->a.count, 2);
    tf_named_credit(&f->a.consumer, 1);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3");
    f->a.room = 0;
    tf_named_credit(&f->a.consumer, 1);
    assert_int_equal(f->a.count, 3);
    f->a.room = 5;
    tf_named_credit(&f->a.consumer, 1);
    assert_int_equal(f->a.count, 4);
}

static void test_drain(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    tf_named_drain(&f->a.consumer); /* without credit */
    assert_int_equal(f->a.drained, 1);
    put(f, 1, 3);
    tf_named_credit(&f->a.consumer, 5);
    tf_named_drain(&f->a.consumer);
    assert_int_equal(f->a.drained, 2);
    put(f, 4, 5);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3"); /* the credit is gone */
    f->a.room = 1;
    tf_named_credit(&f->a.consumer, 10);
    tf_named_drain(&f->a.consumer);
    assert_int_equal(f->a.drained, 2); /* one is left that could be delivered */
    f->a.room = 5;
    tf_named_ready(&f->a.consumer);
    assert_int_equal(f->a.drained, 3);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3 4 5");
    put(f, 6, 8);
    tf_named_credit(&f->a.consumer, 2);
    tf_named_drain(&f->a.consumer);
    assert_int_equal(f->a.drained, 4);
    assert_int_equal(f->a.count, 7);
}

static void test_browse(void **state)
{
    struct fixture *f = *state;
    f->b.consumer.browse = true;
    attach(f, &f->a);
    attach(f, &f->b);
    put(f, 1, 3);
    tf_named_credit(&f->b.consumer, 2);
    assert_string_equal(eater_bodies(&f->b, 0), "1 2");
    assert_int_equal(f->b.eaten[0].handle, 0);
    tf_named_credit(&f->a.consumer, 2); /* under the cursor */
    rig_check(&f->rig);
    tf_named_credit(&f->b.consumer, 100);
    assert_string_equal(eater_bodies(&f->b, 0), "1 2 3");
    eater_settle(&f->a, 0, TF_OUTCOME_RELEASED); /* seen already */
    rig_settle(&f->rig);
    put(f, 4, 4);
    assert_string_equal(eater_bodies(&f->b, 0), "1 2 3 4");
    tf_named_drain(&f->b.consumer);
    assert_int_equal(f->b.drained, 1);
    f->c.consumer.browse = true;
    attach(f, &f->c);
    f->c.room = 1;
    tf_named_credit(&f->c.consumer, 100);
    assert_string_equal(eater_bodies(&f->c, 0), "1"); /* 2 is acquired */
    rig_check(&f->rig);
    f->c.room = 100;
    tf_named_ready(&f->c.consumer);
    assert_string_equal(eater_bodies(&f->c, 0), "1 3 4");
    assert_int_equal(named_status(&f->rig, "q").messages, 4);
    tf_named_credit(&f->a.consumer, 100);
    rig_check(&f->rig);
    eater_settle(&f->a, 1, TF_OUTCOME_RELEASED);
    rig_settle(&f->rig);
    assert_int_equal(f->c.count, 3);
}

static void test_exclusive(void **state)
{
    struct fixture *f = *state;
    f->a.consumer.exclusive = true;
    attach(f, &f->a);
    assert_int_equal(eater_attach(&f->b, &f->rig, &f->declaration), TF_EXISTS);
    assert_null(f->b.consumer.attachment);
    tf_named_detach(&f->a.consumer, false);
    attach(f, &f->b);
    assert_int_equal(eater_attach(&f->a, &f->rig, &f->declaration), TF_EXISTS);
    attach(f, &f->c);
}

static void test_lost(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    attach(f, &f->b);
    tf_named_credit(&f->a.consumer, 3);
    put(f, 1, 4);
    tf_named_credit(&f->b.consumer, 100);
    assert_string_equal(eater_bodies(&f->b, 0), "4");
    tf_named_detach(&f->a.consumer, true);
    rig_settle(&f->rig);
    assert_string_equal(eater_bodies(&f->b, 0), "4 1 2 3");
    assert_int_equal(f->b.eaten[0].attempts, 0);
    assert_int_equal(f->b.eaten[1].attempts, 1);
}

static void test_reentrant(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    attach(f, &f->b);
    f->a.accept_at_once = f->b.accept_at_once = true;
    f->a.release_at_once = true;
    tf_named_credit(&f->a.consumer, 10);
    tf_named_credit(&f->b.consumer, 10);
    put(f, 1, 4);
    rig_settle(&f->rig);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 4");
    assert_string_equal(eater_bodies(&f->b, 0), "1 3"); /* before what came later */
    assert_int_equal(named_status(&f->rig, "q").messages, 0);
}

static void test_idle(void **state)
{
    struct fixture *f = *state;
    f->spec.idle = 10 * TF_SECOND;
    attach(f, &f->a);
    rig_time(&f->rig, f->rig.now + 100 * TF_SECOND);
    put(f, 1, 1);
    tf_named_detach(&f->a.consumer, false);
    rig_time(&f->rig, f->rig.now + 9 * TF_SECOND);
    assert_int_equal(feeder_attach(&f->feeder, &f->rig, 0, &f->declaration), TF_OK);
    rig_time(&f->rig, f->rig.now + 9 * TF_SECOND);
    tf_named_producer_detach(&f->feeder.producer);
    rig_time(&f->rig, f->rig.now + 9 * TF_SECOND);
    assert_int_equal(named_status(&f->rig, "q").messages, 1);
    rig_time(&f->rig, f->rig.now + 2 * TF_SECOND);
    assert_null(tf_named_queue_find(&f->rig.shards[0], tf_bytes_str("q")));
    rig_settle(&f->rig);
    assert_int_equal(f->rig.shards[0].queued_count, 0);
}

static void test_idle_when_empty(void **state)
{
    struct fixture *f = *state;
    f->spec.idle = 10 * TF_SECOND;
    f->spec.idle_when_empty = true;
    f->spec.message_ttl = 100 * TF_SECOND;
    attach(f, &f->a);
    put(f, 1, 1);
    tf_named_detach(&f->a.consumer, false);
    rig_time(&f->rig, f->rig.now + 99 * TF_SECOND);
    assert_non_null(tf_named_queue_find(&f->rig.shards[0], tf_bytes_str("q")));
    rig_time(&f->rig, f->rig.now + 2 * TF_SECOND); /* the message expires */
    rig_time(&f->rig, f->rig.now + 9 * TF_SECOND);
    put(f, 2, 2);
    rig_time(&f->rig, f->rig.now + 9 * TF_SECOND);
    assert_non_null(tf_named_queue_find(&f->rig.shards[0], tf_bytes_str("q")));
    rig_time(&f->rig, f->rig.now + 100 * TF_SECOND);
    rig_time(&f->rig, f->rig.now + 11 * TF_SECOND);
    assert_null(tf_named_queue_find(&f->rig.shards[0], tf_bytes_str("q")));
}

static void test_private(void **state)
{
    struct fixture *f = *state;
    f->declaration.name = tf_bytes_of(NULL, 0);
    f->declaration.filter = tf_bytes_str("t/#");
    attach(f, &f->a);
    attach(f, &f->b);
    assert_int_equal(f->rig.shards[0].named.queues.count, 0);
    tf_named_credit(&f->a.consumer, 10);
    named_publish(&f->rig, 0, "t/1", "x");
    assert_int_equal(f->a.count, 1);
    assert_int_equal(f->b.count, 0);
    assert_int_equal(tf_named_available(&f->b.consumer), 1);
    rig_check(&f->rig);
    tf_named_detach(&f->b.consumer, true);
    tf_named_detach(&f->a.consumer, false);
    rig_settle(&f->rig);
    assert_int_equal(f->rig.shards[0].queued_count, 0);
    assert_int_equal(f->rig.shards[0].bindings.count, 0);
}

/* Retained values come first, drawn as there is credit; then what is live. */
static void test_values(void **state)
{
    struct fixture *f = *state;
    char address[16];
    for (unsigned i = 0; i < 100; i++) {
        sprintf(address, "v/%u", i);
        assert_int_equal(
            rig_publish(&f->rig, 0, tf_bytes_str(address), "v", 0, true, NULL, 0, NULL), TF_OK);
    }
    f->declaration.name = tf_bytes_of(NULL, 0);
    f->declaration.filter = tf_bytes_str("v/+");
    f->declaration.values = true;
    attach(f, &f->a);
    tf_named_credit(&f->a.consumer, 70);
    rig_settle(&f->rig);
    assert_int_equal(f->a.count, 70);
    assert_true(f->a.eaten[69].retain);
    tf_named_credit(&f->a.consumer, 100);
    tf_named_drain(&f->a.consumer);
    assert_int_equal(f->a.drained, 0); /* more values may come */
    rig_settle(&f->rig);
    assert_int_equal(f->a.count, 100);
    assert_int_equal(f->a.drained, 1);
    tf_named_credit(&f->a.consumer, 100);
    assert_int_equal(rig_publish(&f->rig, 0, tf_bytes_str("v/7"), "n", 0, true, NULL, 0, NULL),
                     TF_OK);
    assert_int_equal(f->a.count, 101);
    assert_false(f->a.eaten[100].retain);
}

static void test_limit_of_queues(void **state)
{
    struct fixture *f = *state;
    f->rig.shards[0].config.max_queues = 1;
    attach(f, &f->a);
    f->declaration.name = tf_bytes_str("other");
    assert_int_equal(eater_attach(&f->b, &f->rig, &f->declaration), TF_LIMIT);
    assert_int_equal(feeder_attach(&f->feeder, &f->rig, 0, &f->declaration), TF_LIMIT);
    f->declaration.name = tf_bytes_str("q");
    attach(f, &f->b);
}

static void test_two_bindings_one_copy(void **state)
{
    struct fixture *f = *state;
    f->declaration.filter = tf_bytes_str("a/+");
    attach(f, &f->a);
    f->declaration.filter = tf_bytes_str("+/b");
    attach(f, &f->b);
    attach(f, &f->c); /* bound already */
    named_publish(&f->rig, 0, "a/b", "1");
    assert_int_equal(named_status(&f->rig, "q").messages, 1);
    assert_int_equal(named_status(&f->rig, "q").bindings, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_credit_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_browse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exclusive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reentrant, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_when_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_private, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit_of_queues, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_bindings_one_copy, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
