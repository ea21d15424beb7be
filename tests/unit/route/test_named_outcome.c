/*
 * What becomes of deliveries of named queues: the outcomes, order, attempts, dead letters, time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/named_rig.h"

#define MANY 100000u

struct fixture {
    struct rig rig;
    struct eater a, b, dead;
    struct tf_queue_spec spec;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, 1, 16);
    f->spec = named_spec();
    f->a.shard = f->b.shard = f->dead.shard = &f->rig.shards[0];
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
    tf_named_detach(&f->dead.consumer, false);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    named_delete(&f->rig, "q");
    if (tf_named_queue_find(&f->rig.shards[0], tf_bytes_str("dead"))) {
        named_delete(&f->rig, "dead");
    }
    rig_stop(&f->rig);
    free(f);
    return 0;
}

static void attach(struct fixture *f, struct eater *eater, const char *name, const char *filter)
{
    struct tf_queue_declaration declaration = {
        .name = tf_bytes_str(name), .filter = tf_bytes_str(filter), .spec = &f->spec};
    assert_int_equal(eater_attach(eater, &f->rig, &declaration), TF_OK);
}

static void put(struct fixture *f, unsigned from, unsigned to)
{
    char text[8];
    for (unsigned i = from; i <= to; i++) {
        sprintf(text, "%u", i);
        assert_int_equal(named_put(&f->rig, 0, "q", text).taken, 1);
    }
}

static void test_release_keeps_order(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a, "q", "");
    put(f, 1, 6);
    tf_named_credit(&f->a.consumer, 4);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3 4");
    eater_settle(&f->a, 2, TF_OUTCOME_RELEASED);
    eater_settle(&f->a, 0, TF_OUTCOME_RELEASED);
    eater_settle(&f->a, 3, TF_OUTCOME_RELEASED);
    rig_check(&f->rig);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    assert_int_equal(f->a.count, 4);
    tf_named_credit(&f->a.consumer, 100);
    assert_string_equal(eater_bodies(&f->a, 4), "1 3 4 5 6");
    assert_int_equal(f->a.eaten[4].attempts, 0);
    assert_true(f->a.eaten[4].acquired_before);
    assert_false(f->a.eaten[7].acquired_before);
    assert_int_equal(named_status(&f->rig, "q").released, 3);
}

/* However many are released, in whatever order, it takes no time that grows with their square. */
static void test_release_many(void **state)
{
    struct fixture *f = *state;
    struct tf_random random;
    static struct tf_named_consumer *consumer;
    static uint64_t handles[MANY];
    f->spec.limits = (struct tf_queue_limits){MANY, UINT64_MAX, TF_OVERFLOW_REFUSE};
    attach(f, &f->a, "q", "");
    consumer = &f->a.consumer;
    put(f, 1, MANY);
    tf_random_init(&random, 1);
    for (unsigned round = 0; round < 3; round++) {
        struct tf_outcome released = {.type = TF_OUTCOME_RELEASED};
        for (unsigned i = 0; i < MANY; i++) {
            f->a.count = 0;
            tf_named_credit(consumer, 1);
            handles[i] = f->a.eaten[0].handle;
        }
        assert_int_equal(atoi(f->a.eaten[0].body), MANY % 10000000);
        for (unsigned i = 0; i < MANY; i++) {
            unsigned other =
                round == 1 ? MANY - 1 - i : (unsigned)tf_random_below(&random, MANY - i) + i;
            if (round == 2 || (round == 1 && other > i)) {
                uint64_t swap = handles[i];
                handles[i] = handles[other];
                handles[other] = swap;
            }
        }
        for (unsigned i = 0; i < MANY; i++) {
            tf_named_settle(consumer, handles[i], &released);
        }
        rig_settle(&f->rig);
        assert_true(tf_shard_check(&f->rig.shards[0]));
    }
    f->a.count = 0;
    tf_named_credit(consumer, 3);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3");
}

static void test_attempts(void **state)
{
    struct fixture *f = *state;
    struct tf_outcome failed = {.type = TF_OUTCOME_MODIFIED, .failed = true};
    struct tf_outcome kept = {.type = TF_OUTCOME_MODIFIED};
    f->spec.max_attempts = 3;
    attach(f, &f->a, "q", "");
    put(f, 1, 1);
    tf_named_credit(&f->a.consumer, 100);
    eater_settle(&f->a, 0, TF_OUTCOME_RELEASED);
    rig_settle(&f->rig);
    tf_named_settle(&f->a.consumer, f->a.eaten[1].handle, &failed);
    rig_settle(&f->rig);
    tf_named_settle(&f->a.consumer, f->a.eaten[2].handle, &kept);
    rig_settle(&f->rig);
    assert_int_equal(f->a.eaten[1].attempts, 0);
    assert_int_equal(f->a.eaten[2].attempts, 1);
    assert_int_equal(f->a.eaten[3].attempts, 1);
    tf_named_detach(&f->a.consumer, true); /* lost */
    attach(f, &f->b, "q", "");
    tf_named_credit(&f->b.consumer, 1);
    assert_int_equal(f->b.eaten[0].attempts, 2);
    assert_true(f->b.eaten[0].acquired_before);
    tf_named_detach(&f->b.consumer, false);
    memset(&f->b, 0, sizeof(f->b));
    f->b.shard = &f->rig.shards[0];
    attach(f, &f->b, "q", "");
    tf_named_credit(&f->b.consumer, 1);
    assert_int_equal(f->b.eaten[0].attempts, 2);
    tf_named_settle(&f->b.consumer, f->b.eaten[0].handle, &failed);
    assert_int_equal(named_status(&f->rig, "q").messages, 0);
    assert_int_equal(named_status(&f->rig, "q").dropped, 1);
    assert_int_equal(named_status(&f->rig, "q").dead_lettered, 0);
}

static void test_annotations(void **state)
{
    struct fixture *f = *state;
    struct tf_outcome first = {.type = TF_OUTCOME_MODIFIED, .annotations = tf_bytes_str("one")};
    struct tf_outcome second = {.type = TF_OUTCOME_MODIFIED, .annotations = tf_bytes_str("second")};
    attach(f, &f->a, "q", "");
    put(f, 1, 1);
    tf_named_credit(&f->a.consumer, 100);
    assert_string_equal(f->a.eaten[0].annotations, "");
    tf_named_settle(&f->a.consumer, f->a.eaten[0].handle, &first);
    rig_settle(&f->rig);
    assert_string_equal(f->a.eaten[1].annotations, "one");
    tf_named_settle(&f->a.consumer, f->a.eaten[1].handle, &second);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    eater_settle(&f->a, 2, TF_OUTCOME_RELEASED);
    rig_settle(&f->rig);
    assert_string_equal(f->a.eaten[3].annotations, "second");
}

static void test_undeliverable_here(void **state)
{
    struct fixture *f = *state;
    struct tf_outcome never = {.type = TF_OUTCOME_MODIFIED, .undeliverable_here = true};
    attach(f, &f->a, "q", "");
    put(f, 1, 4);
    tf_named_credit(&f->a.consumer, 2);
    tf_named_settle(&f->a.consumer, f->a.eaten[1].handle, &never);
    rig_settle(&f->rig);
    tf_named_settle(&f->a.consumer, f->a.eaten[0].handle, &never);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    tf_named_credit(&f->a.consumer, 100);
    put(f, 5, 5);
    assert_string_equal(eater_bodies(&f->a, 2), "3 4 5"); /* what is behind still flows */
    eater_settle(&f->a, 3, TF_OUTCOME_RELEASED);
    rig_settle(&f->rig);
    assert_string_equal(eater_bodies(&f->a, 5), "4");
    attach(f, &f->b, "q", "");
    tf_named_credit(&f->b.consumer, 100);
    assert_string_equal(eater_bodies(&f->b, 0), "1 2");
    eater_settle(&f->b, 0, TF_OUTCOME_RELEASED);
    rig_settle(&f->rig);
    assert_string_equal(eater_bodies(&f->b, 2), "1"); /* not to the first */
    tf_named_settle(&f->b.consumer, f->b.eaten[1].handle, &never);
    tf_named_drain(&f->a.consumer);
    tf_named_drain(&f->b.consumer);
    assert_true(f->a.drained == 1 && f->b.drained == 1);
    assert_int_equal(tf_named_available(&f->a.consumer), 1);
    rig_check(&f->rig);
}

/* What comes back before those that a consumer has refused is for that consumer, too. */
static void test_released_before_refused(void **state)
{
    struct fixture *f = *state;
    struct tf_outcome never = {.type = TF_OUTCOME_MODIFIED, .undeliverable_here = true};
    attach(f, &f->a, "q", "");
    attach(f, &f->b, "q", "");
    put(f, 1, 3);
    tf_named_credit(&f->b.consumer, 1);
    tf_named_credit(&f->a.consumer, 2);
    assert_string_equal(eater_bodies(&f->a, 0), "2 3");
    tf_named_settle(&f->a.consumer, f->a.eaten[0].handle, &never);
    tf_named_settle(&f->a.consumer, f->a.eaten[1].handle, &never);
    rig_settle(&f->rig);
    tf_named_credit(&f->a.consumer, 10); /* it has looked at both */
    assert_int_equal(f->a.count, 2);
    eater_settle(&f->b, 0, TF_OUTCOME_RELEASED);
    rig_settle(&f->rig);
    assert_string_equal(eater_bodies(&f->a, 2), "1");
}

/* A consumer that can never take a message does not keep others from it, nor itself from others. */
static void test_never(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a, "q", "");
    f->a.room = 0;
    f->a.refuse = TF_LIMIT;
    tf_named_credit(&f->a.consumer, 10);
    put(f, 1, 2);
    rig_check(&f->rig);
    f->a.room = 10;
    put(f, 3, 3);
    assert_string_equal(eater_bodies(&f->a, 0), "3");
    attach(f, &f->b, "q", "");
    tf_named_credit(&f->b.consumer, 10);
    assert_string_equal(eater_bodies(&f->b, 0), "1 2");
}

static void test_dead_letter(void **state)
{
    struct fixture *f = *state;
    f->a.accept_at_once = false;
    attach(f, &f->dead, "dead", "dlq");
    f->spec.dead_letter = tf_bytes_str("dlq");
    f->spec.max_attempts = 1;
    f->spec.limits.entries = 3;
    f->spec.limits.overflow = TF_OVERFLOW_DROP_OLD;
    attach(f, &f->a, "q", "");
    tf_named_credit(&f->dead.consumer, 100);
    tf_named_credit(&f->a.consumer, 2);
    put(f, 1, 5);
    struct tf_outcome failed = {.type = TF_OUTCOME_MODIFIED, .failed = true};
    eater_settle(&f->a, 0, TF_OUTCOME_REJECTED);
    tf_named_settle(&f->a.consumer, f->a.eaten[1].handle, &failed);
    assert_int_equal(f->dead.count, 0); /* at the end of the turn */
    rig_settle(&f->rig);
    assert_string_equal(eater_bodies(&f->dead, 0), "3 4 1 2");
    assert_string_equal(f->dead.eaten[0].address, "dlq");
    struct tf_queue_status status = named_status(&f->rig, "q");
    assert_int_equal(status.messages, 1);
    assert_int_equal(status.rejected, 1);
    assert_int_equal(status.dropped, 3);
    assert_int_equal(status.dead_lettered, 4);
}

/* Queues that are each other's dead letters come to an end. */
static void test_dead_letter_ends(void **state)
{
    struct fixture *f = *state;
    f->spec.message_ttl = 1000 * TF_MILLISECOND;
    f->spec.dead_letter = tf_bytes_str("a");
    attach(f, &f->dead, "dead", "b");
    f->spec.dead_letter = tf_bytes_str("b");
    attach(f, &f->a, "q", "a");
    put(f, 1, 1);
    for (unsigned i = 1; i < 100; i++) {
        rig_time(&f->rig, f->rig.now + 1010 * TF_MILLISECOND);
        rig_settle(&f->rig);
    }
    assert_int_equal(
        named_status(&f->rig, "q").dead_lettered + named_status(&f->rig, "dead").dead_lettered, 16);
    assert_int_equal(f->rig.shards[0].queued_count, 0);
    /* and one that is its own */
    f->spec.dead_letter = tf_bytes_str("b");
    tf_named_credit(&f->dead.consumer, 1);
    named_publish(&f->rig, 0, "b", "x");
    struct tf_queue_command command = {
        .type = TF_QUEUE_DECLARE, .name = tf_bytes_str("dead"), .spec = &f->spec};
    assert_int_equal(named_command(&f->rig, 0, &command, NULL), TF_OK);
    eater_settle(&f->dead, 0, TF_OUTCOME_REJECTED);
    rig_settle(&f->rig);
    assert_int_equal(named_status(&f->rig, "dead").messages, 0);
}

static void test_expiry(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes body;
    struct tf_published result;
    f->spec.message_ttl = 10 * TF_SECOND;
    attach(f, &f->a, "q", "x");
    tf_time start = f->rig.now;
    put(f, 1, 1);
    struct tf_publication publication = rig_publication(tf_bytes_str("x"), "own", 0, false, &body);
    publication.envelope.expires = start + 5 * TF_SECOND;
    assert_int_equal(tf_shard_publish(f->a.shard, &publication, NULL, 0, &result), TF_OK);
    tf_publication_release(&publication);
    assert_true(tf_shard_deadline(f->a.shard) <= start + 5 * TF_SECOND + TF_MILLISECOND * 2);
    rig_time(&f->rig, start + 6 * TF_SECOND);
    assert_int_equal(named_status(&f->rig, "q").messages, 1);
    rig_time(&f->rig, start + 9 * TF_SECOND);
    put(f, 2, 2);
    tf_named_credit(&f->a.consumer, 1); /* acquired: it does not expire there */
    rig_time(&f->rig, start + 15 * TF_SECOND);
    assert_string_equal(eater_bodies(&f->a, 0), "1");
    rig_check(&f->rig);
    eater_settle(&f->a, 0, TF_OUTCOME_RELEASED);
    tf_named_credit(&f->a.consumer, 100);
    assert_string_equal(eater_bodies(&f->a, 1), "2");
    assert_int_equal(named_status(&f->rig, "q").expired, 2);
}

/* A million at once stop nobody: a turn drops a part. */
static void test_expiry_in_parts(void **state)
{
    struct fixture *f = *state;
    f->spec.message_ttl = TF_SECOND;
    f->spec.limits = (struct tf_queue_limits){MANY, UINT64_MAX, TF_OVERFLOW_REFUSE};
    attach(f, &f->a, "q", "");
    put(f, 1, 20000);
    rig_time(&f->rig, f->rig.now + 2 * TF_SECOND);
    assert_in_range(named_status(&f->rig, "q").messages, 10000, 19999);
    assert_true(tf_shard_busy(&f->rig.shards[0]));
    for (unsigned i = 0; i < 10; i++) {
        rig_time(&f->rig, f->rig.now + 1);
    }
    assert_int_equal(named_status(&f->rig, "q").messages, 0);
    assert_int_equal(named_status(&f->rig, "q").expired, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_release_keeps_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_release_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attempts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_annotations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_undeliverable_here, setup, teardown),
        cmocka_unit_test_setup_teardown(test_released_before_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_letter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_letter_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry_in_parts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
