/*
 * Named queues in one shard: declared, consumed, settled; each outcome, limits, time, browsing.
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
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, 1, 16);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rig_check(&f->rig);
    rig_stop(&f->rig);
    free(f);
    return 0;
}

static void test_declare_bind_consume(void **state)
{
    struct fixture *f = *state;
    struct tf_queue_spec spec = named_spec();
    struct tf_queue_declaration declaration = {.name = tf_bytes_str("q"),
                                               .filter = tf_bytes_str("a/+")};
    f->a.shard = &f->rig.shards[0];
    assert_int_equal(eater_attach(&f->a, &f->rig, &declaration), TF_NOT_FOUND);
    assert_null(f->a.consumer.attachment);
    declaration.spec = &spec;
    assert_int_equal(eater_attach(&f->a, &f->rig, &declaration), TF_OK);
    named_publish(&f->rig, 0, "a/b", "1");
    named_publish(&f->rig, 0, "a/b/c", "no");
    assert_int_equal(f->a.count, 0);
    assert_int_equal(tf_named_available(&f->a.consumer), 1);
    tf_named_credit(&f->a.consumer, 2);
    assert_string_equal(eater_bodies(&f->a, 0), "1");
    assert_true(f->a.eaten[0].handle != 0);
    assert_false(f->a.eaten[0].acquired_before);
    named_publish(&f->rig, 0, "a/x", "2");
    named_publish(&f->rig, 0, "a/x", "3");
    assert_string_equal(eater_bodies(&f->a, 0), "1 2");
    rig_check(&f->rig);
    struct tf_queue_status status = named_status(&f->rig, "q");
    assert_int_equal(status.messages, 3);
    assert_int_equal(status.acquired, 2);
    assert_int_equal(status.consumers, 1);
    assert_int_equal(status.bindings, 1);
    eater_settle(&f->a, 0, TF_OUTCOME_ACCEPTED);
    eater_settle(&f->a, 1, TF_OUTCOME_ACCEPTED);
    tf_named_credit(&f->a.consumer, 1);
    eater_settle(&f->a, 2, TF_OUTCOME_ACCEPTED);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3");
    assert_int_equal(named_status(&f->rig, "q").messages, 0);
    assert_int_equal(named_status(&f->rig, "q").settled, 3);
    tf_named_detach(&f->a.consumer, false);
    tf_named_detach(&f->a.consumer, false);
    named_delete(&f->rig, "q");
    assert_int_equal(f->rig.shards[0].routes.binding_count, 0);
}

static void test_settled_allocates_nothing(void **state)
{
    struct fixture *f = *state;
    f->a.consumer.settled = true;
    f->a.shard = &f->rig.shards[0];
    struct tf_queue_spec spec = named_spec();
    struct tf_queue_declaration declaration = {
        .name = tf_bytes_str("q"), .filter = tf_bytes_str("x"), .spec = &spec};
    assert_int_equal(eater_attach(&f->a, &f->rig, &declaration), TF_OK);
    tf_named_credit(&f->a.consumer, 10);
    size_t calls = f->rig.memory.calls;
    named_publish(&f->rig, 0, "x", "1");
    named_publish(&f->rig, 0, "x", "2");
    assert_int_equal(f->rig.memory.calls, calls);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2");
    assert_int_equal(f->a.eaten[0].handle, 0);
    f->a.room = 0;
    named_publish(&f->rig, 0, "x", "3");
    named_publish(&f->rig, 0, "x", "4");
    assert_int_equal(f->a.count, 2);
    f->a.room = 9;
    tf_named_ready(&f->a.consumer);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3 4");
    assert_int_equal(named_status(&f->rig, "q").messages, 0);
    tf_named_detach(&f->a.consumer, false);
    named_delete(&f->rig, "q");
}

/* One that is to be settled costs its message and its entry, and no more. */
static void test_unsettled_allocates_two(void **state)
{
    struct fixture *f = *state;
    eater_start(&f->a, &f->rig, 0, "q");
    f->a.accept_at_once = true;
    tf_named_credit(&f->a.consumer, 10);
    size_t calls = f->rig.memory.calls;
    named_put(&f->rig, 0, "q", "1");
    assert_int_equal(f->rig.memory.calls, calls + 2);
    assert_int_equal(f->a.count, 1);
    tf_named_detach(&f->a.consumer, false);
    named_delete(&f->rig, "q");
}

static void test_enqueue_refused(void **state)
{
    struct fixture *f = *state;
    struct tf_queue_spec spec = named_spec();
    struct tf_queue_declaration declaration = {
        .name = tf_bytes_str("q"), .filter = tf_bytes_str("x"), .spec = &spec};
    struct tf_published result = named_put(&f->rig, 0, "q", "1");
    assert_int_equal(result.matched, 0);
    spec.limits.entries = 4;
    assert_int_equal(feeder_attach(&f->feeder, &f->rig, 0, &declaration), TF_OK);
    assert_int_equal(tf_named_room(&f->feeder.producer), 4);
    for (unsigned i = 0; i < 4; i++) {
        result = named_put(&f->rig, 0, "q", "x");
        assert_true(result.matched == 1 && result.taken == 1 && !result.refused);
    }
    result = named_put(&f->rig, 0, "q", "x");
    assert_true(result.matched == 1 && result.taken == 0 && result.refused);
    assert_int_equal(rig_publish(&f->rig, 0, tf_bytes_str("x"), "y", 1, false, NULL, 0, &result),
                     TF_OK);
    assert_true(result.matched == 1 && result.taken == 0 && !result.refused);
    assert_int_equal(named_status(&f->rig, "q").dropped, 1);
    rig_settle(&f->rig);
    assert_int_equal(f->feeder.rooms, 1);
    assert_int_equal(f->feeder.room, 0);
    eater_start(&f->a, &f->rig, 0, "q");
    f->a.accept_at_once = true;
    tf_named_credit(&f->a.consumer, 1);
    rig_settle(&f->rig);
    assert_int_equal(f->feeder.rooms, 2); /* three quarters are left */
    assert_int_equal(f->feeder.room, 1);
    tf_named_detach(&f->a.consumer, false);
    tf_named_producer_detach(&f->feeder.producer);
    named_delete(&f->rig, "q");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_declare_bind_consume, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settled_allocates_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unsettled_allocates_two, setup, teardown),
        cmocka_unit_test_setup_teardown(test_enqueue_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
