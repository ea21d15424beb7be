/*
 * Named queues under floods: what waits outside a queue's count stays little, and whoever may send
 * is told so.
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
    struct eater a, dead;
    struct feeder feeder;
    struct tf_queue_spec spec;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, 1, 16);
    f->spec = named_spec();
    f->a.shard = f->dead.shard = &f->rig.shards[0];
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rig_settle(&f->rig);
    rig_check(&f->rig);
    tf_named_detach(&f->a.consumer, false);
    tf_named_detach(&f->dead.consumer, false);
    tf_named_producer_detach(&f->feeder.producer);
    rig_settle(&f->rig);
    named_delete(&f->rig, "q");
    if (tf_named_queue_find(&f->rig.shards[0], tf_bytes_str("dead"))) {
        named_delete(&f->rig, "dead");
    }
    rig_stop(&f->rig);
    free(f);
    return 0;
}

static struct tf_queue_declaration declare(const struct fixture *f, const char *name,
                                           const char *filter)
{
    return (struct tf_queue_declaration){
        .name = tf_bytes_str(name), .filter = tf_bytes_str(filter), .spec = &f->spec};
}

static void attach(struct fixture *f, struct eater *eater, const char *name, const char *filter)
{
    struct tf_queue_declaration declaration = declare(f, name, filter);
    assert_int_equal(eater_attach(eater, &f->rig, &declaration), TF_OK);
}

/* A queue of three messages that overflows to the address `dlq`, with a producer. */
static void start_overflowing(struct fixture *f, uint8_t overflow)
{
    attach(f, &f->dead, "dead", "dlq");
    tf_named_credit(&f->dead.consumer, UINT32_MAX);
    f->dead.accept_at_once = true;
    f->spec.limits.entries = 3;
    f->spec.limits.overflow = overflow;
    f->spec.dead_letter = tf_bytes_str("dlq");
    struct tf_queue_declaration declaration = declare(f, "q", "");
    assert_int_equal(feeder_attach(&f->feeder, &f->rig, 0, &declaration), TF_OK);
}

/* Who makes dead letters cannot make more than are published by and by: they count nowhere. */
static void flood_of_letters(struct fixture *f, uint8_t overflow)
{
    start_overflowing(f, overflow);
    for (unsigned turn = 1; turn <= 3; turn++) {
        for (unsigned i = 0; i < 1000; i++) {
            (void)named_put(&f->rig, 0, "q", "x");
        }
        tf_shard_receive(&f->rig.shards[0]); /* the end of a turn */
        assert_true(f->dead.count >= 1000 * turn - 3);
    }
}

static void test_letters_of_new(void **state)
{
    flood_of_letters(*state, TF_OVERFLOW_DROP_NEW);
}

static void test_letters_of_old(void **state)
{
    flood_of_letters(*state, TF_OVERFLOW_DROP_OLD);
}

/* A queue that drops is never full for who sends to it, or it would never drop. */
static void test_room_in_a_dropping_queue(void **state)
{
    struct fixture *f = *state;
    start_overflowing(f, TF_OVERFLOW_DROP_OLD);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(tf_named_room(&f->feeder.producer) > 0);
        assert_int_equal(named_put(&f->rig, 0, "q", "x").taken, 1);
    }
    rig_settle(&f->rig);
    assert_true(tf_named_room(&f->feeder.producer) > 0);
    assert_int_equal(f->feeder.rooms, 0);
}

/* Producers that wait for room hear of a limit that is raised, and of one that is lowered. */
static void test_room_by_configuration(void **state)
{
    struct fixture *f = *state;
    struct tf_queue_command command = {
        .type = TF_QUEUE_DECLARE, .name = tf_bytes_str("q"), .spec = &f->spec};
    f->spec.limits.entries = 2;
    struct tf_queue_declaration declaration = declare(f, "q", "");
    assert_int_equal(feeder_attach(&f->feeder, &f->rig, 0, &declaration), TF_OK);
    (void)named_put(&f->rig, 0, "q", "1");
    (void)named_put(&f->rig, 0, "q", "2");
    rig_settle(&f->rig);
    assert_int_equal(f->feeder.rooms, 1);
    assert_int_equal(f->feeder.room, 0);
    f->spec.limits.entries = 10;
    assert_int_equal(named_command(&f->rig, 0, &command, NULL), TF_OK);
    rig_settle(&f->rig);
    assert_int_equal(f->feeder.rooms, 2);
    assert_int_equal(f->feeder.room, 8);
    f->spec.limits.entries = 1;
    assert_int_equal(named_command(&f->rig, 0, &command, NULL), TF_OK);
    rig_settle(&f->rig);
    assert_int_equal(f->feeder.rooms, 3);
    assert_int_equal(f->feeder.room, 0);
}

/* What MODIFIED leaves with entries is in the queue's bytes, and within its limit. */
static void test_annotations_within_the_limit(void **state)
{
    static uint8_t note[500];
    struct fixture *f = *state;
    struct tf_outcome outcome = {.type = TF_OUTCOME_MODIFIED, .annotations = {note, sizeof(note)}};
    f->spec.limits.bytes = 12000;
    memset(note, 'x', sizeof(note) - 1);
    attach(f, &f->a, "q", "");
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(named_put(&f->rig, 0, "q", "x").taken, 1);
    }
    uint64_t bare = named_status(&f->rig, "q").bytes;
    for (unsigned round = 0; round < 10; round++) {
        size_t from = f->a.count;
        tf_named_credit(&f->a.consumer, 20);
        assert_int_equal(f->a.count, from + 20);
        for (size_t i = from; i < from + 20; i++) {
            tf_named_settle(&f->a.consumer, f->a.eaten[i].handle, &outcome);
        }
        rig_settle(&f->rig);
        assert_true(named_status(&f->rig, "q").bytes <= f->spec.limits.bytes);
    }
    assert_true(named_status(&f->rig, "q").bytes > bare + 5 * sizeof(note));
    assert_int_equal(named_status(&f->rig, "q").messages, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_letters_of_new, setup, teardown),
        cmocka_unit_test_setup_teardown(test_letters_of_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room_in_a_dropping_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room_by_configuration, setup, teardown),
        cmocka_unit_test_setup_teardown(test_annotations_within_the_limit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
