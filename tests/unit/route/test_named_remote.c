/*
 * Named queues whose consumers and producers are in other shards: the same by mail, with what only
 * mail brings: what is on its way when credit goes, when somebody leaves, when the queue does.
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
    char name[16]; /* at home in shard 0; a and b are in 1, c in 2 */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, RIG_SHARDS, 16);
    named_name(&f->rig, 0, f->name);
    f->spec = named_spec();
    f->declaration.name = tf_bytes_str(f->name);
    f->declaration.spec = &f->spec;
    f->a.shard = f->b.shard = &f->rig.shards[1];
    f->c.shard = &f->rig.shards[2];
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
    if (tf_named_queue_find(&f->rig.shards[0], tf_bytes_str(f->name))) {
        named_delete(&f->rig, f->name);
    }
    rig_stop(&f->rig);
    free(f);
    return 0;
}

static void attach(struct fixture *f, struct eater *eater)
{
    assert_int_equal(eater_attach(eater, &f->rig, &f->declaration), TF_OK);
    assert_int_equal(eater->attached, 1);
}

static void credit(struct fixture *f, struct eater *eater, uint32_t count)
{
    tf_named_credit(&eater->consumer, count);
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void put(struct fixture *f, unsigned from, unsigned to)
{
    char text[8];
    for (unsigned i = from; i <= to; i++) {
        sprintf(text, "%u", i);
        assert_int_equal(named_put(&f->rig, i % RIG_SHARDS, f->name, text).taken, 1);
    }
    rig_settle(&f->rig);
}

static void test_declare_and_consume(void **state)
{
    struct fixture *f = *state;
    f->declaration.spec = NULL;
    assert_int_equal(eater_attach(&f->a, &f->rig, &f->declaration), TF_NOT_FOUND);
    assert_null(f->a.consumer.attachment);
    rig_settle(&f->rig);
    f->declaration.spec = &f->spec;
    f->declaration.filter = tf_bytes_str("a/+");
    attach(f, &f->a);
    named_publish(&f->rig, 0, "a/0", "0");
    named_publish(&f->rig, 1, "a/1", "1");
    named_publish(&f->rig, 2, "a/2", "2");
    credit(f, &f->a, 2);
    assert_string_equal(eater_bodies(&f->a, 0), "0 1");
    assert_int_equal(tf_named_available(&f->a.consumer), 1);
    credit(f, &f->a, 5);
    assert_string_equal(eater_bodies(&f->a, 0), "0 1 2");
    eater_settle(&f->a, 1, TF_OUTCOME_ACCEPTED);
    eater_settle(&f->a, 2, TF_OUTCOME_RELEASED);
    eater_settle(&f->a, 0, TF_OUTCOME_RELEASED);
    rig_settle(&f->rig);
    assert_string_equal(eater_bodies(&f->a, 3), "0 2");
    assert_true(f->a.eaten[3].acquired_before);
    assert_int_equal(f->a.eaten[3].attempts, 0);
    struct tf_queue_status status = named_status(&f->rig, f->name);
    assert_true(status.messages == 2 && status.acquired == 2 && status.settled == 1);
}

static void test_concurrent_declaration(void **state)
{
    struct fixture *f = *state;
    struct tf_named_consumer *consumers[] = {&f->a.consumer, &f->c.consumer};
    f->declaration.filter = tf_bytes_str("x");
    f->a.consumer.ops = f->c.consumer.ops = NULL;
    struct eater ops;
    eater_start(&ops, &f->rig, 0, "z");
    tf_named_detach(&ops.consumer, false);
    named_delete(&f->rig, "z");
    f->a.consumer.ops = f->c.consumer.ops = ops.consumer.ops;
    f->a.room = f->c.room = 100;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(
            tf_shard_consume(i ? f->c.shard : f->a.shard, consumers[i], &f->declaration), TF_AGAIN);
    }
    rig_settle(&f->rig);
    assert_true(f->a.attached == 1 && f->a.err == TF_OK);
    assert_true(f->c.attached == 1 && f->c.err == TF_OK);
    assert_int_equal(named_status(&f->rig, f->name).consumers, 2);
    assert_int_equal(named_status(&f->rig, f->name).bindings, 1);
}

static void test_detached_before_attached(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->b);
    f->a.consumer.ops = f->b.consumer.ops;
    assert_int_equal(tf_shard_consume(f->a.shard, &f->a.consumer, &f->declaration), TF_AGAIN);
    tf_named_detach(&f->a.consumer, true);
    rig_settle(&f->rig);
    assert_int_equal(f->a.attached, 0);
    assert_int_equal(named_status(&f->rig, f->name).consumers, 1);
}

/* Credit that is given before it is attached counts from then on. */
static void test_credit_before_attached(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->b);
    put(f, 1, 2);
    f->a.consumer.ops = f->b.consumer.ops;
    f->a.room = 10;
    assert_int_equal(tf_shard_consume(f->a.shard, &f->a.consumer, &f->declaration), TF_AGAIN);
    tf_named_credit(&f->a.consumer, 2);
    assert_int_equal(f->a.count, 0);
    rig_settle(&f->rig);
    assert_int_equal(f->a.attached, 1);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2");
}

static void test_limit_of_queues(void **state)
{
    struct fixture *f = *state;
    char other[16];
    rig_address(&f->rig, 0, "other", other, sizeof(other));
    f->rig.shards[0].config.max_queues = 1;
    attach(f, &f->a);
    f->declaration.name = tf_bytes_str(other);
    assert_int_equal(eater_attach(&f->c, &f->rig, &f->declaration), TF_LIMIT);
    assert_int_equal(feeder_attach(&f->feeder, &f->rig, 2, &f->declaration), TF_LIMIT);
}

static void test_exclusive(void **state)
{
    struct fixture *f = *state;
    f->a.consumer.exclusive = true;
    attach(f, &f->a);
    assert_int_equal(eater_attach(&f->c, &f->rig, &f->declaration), TF_EXISTS);
    tf_named_detach(&f->a.consumer, true);
    rig_settle(&f->rig);
    attach(f, &f->c);
}

static void test_window(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    f->a.room = 2;
    credit(f, &f->a, 10);
    put(f, 1, 6);
    assert_int_equal(f->a.count, 2);
    assert_int_equal(tf_named_available(&f->a.consumer), 4);
    f->a.room = 1;
    tf_named_ready(&f->a.consumer);
    rig_settle(&f->rig);
    assert_int_equal(f->a.count, 3);
    credit(f, &f->a, 0); /* what waits goes back */
    assert_int_equal(named_status(&f->rig, f->name).acquired, 3);
    f->a.room = 100;
    credit(f, &f->a, 2);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3 4 5");
    assert_int_equal(f->a.eaten[3].attempts, 0);
    assert_false(f->a.eaten[3].acquired_before); /* nobody had seen it */
    credit(f, &f->a, 1);
    assert_int_equal(f->a.count, 6);
}

/* Credit is taken back while what it was for is on its way. */
static void test_credit_crosses(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    put(f, 1, 5);
    tf_named_credit(&f->a.consumer, 3);
    tf_shard_receive(&f->rig.shards[1]); /* CREDIT goes out */
    tf_shard_receive(&f->rig.shards[0]); /* three parcels go out */
    assert_int_equal(named_status(&f->rig, f->name).acquired, 3);
    tf_named_credit(&f->a.consumer, 1);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    assert_string_equal(eater_bodies(&f->a, 0), "1");
    assert_int_equal(named_status(&f->rig, f->name).acquired, 1);
    credit(f, &f->a, 9);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3 4 5");
}

/* Credit that has been taken back is the home's no more. */
static void test_credit_is_told(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    credit(f, &f->a, 5);
    credit(f, &f->a, 0);
    assert_int_equal(named_put(&f->rig, 0, f->name, "1").taken, 1);
    assert_int_equal(named_status(&f->rig, f->name).acquired, 0);
}

/* The answer to a drain that is over says nothing about the next. */
static void test_drains_cross(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    tf_named_credit(&f->a.consumer, 5);
    tf_named_drain(&f->a.consumer);
    tf_shard_receive(&f->rig.shards[1]);
    tf_shard_receive(&f->rig.shards[0]); /* DRAINED is on its way */
    assert_int_equal(named_put(&f->rig, 0, f->name, "1").taken, 1);
    tf_named_credit(&f->a.consumer, 5);
    tf_named_drain(&f->a.consumer);
    rig_settle(&f->rig);
    assert_int_equal(f->a.count, 1);
    assert_int_equal(f->a.drained, 1);
}

static void test_much_credit(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    f->a.accept_at_once = true;
    f->a.room = 10;
    put(f, 1, 900);
    credit(f, &f->a, 100000);
    assert_in_range(named_status(&f->rig, f->name).acquired, 246, 256); /* not all at once */
    f->a.room = UINT32_MAX;
    tf_named_ready(&f->a.consumer);
    rig_settle(&f->rig);
    assert_int_equal(f->a.count, 900);
    for (unsigned i = 0; i < 900; i++) {
        assert_int_equal(atoi(f->a.eaten[i].body), i + 1);
    }
    assert_int_equal(named_status(&f->rig, f->name).messages, 0);
}

static void test_drain(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    tf_named_drain(&f->a.consumer);
    assert_int_equal(f->a.drained, 1); /* there was no credit */
    tf_named_credit(&f->a.consumer, 5);
    tf_named_drain(&f->a.consumer);
    rig_settle(&f->rig);
    assert_int_equal(f->a.drained, 2);
    put(f, 1, 3);
    assert_int_equal(f->a.count, 0);
    f->a.room = 1;
    tf_named_credit(&f->a.consumer, 5);
    tf_named_drain(&f->a.consumer);
    rig_settle(&f->rig);
    assert_int_equal(f->a.drained, 2); /* two wait */
    f->a.room = 100;
    tf_named_ready(&f->a.consumer);
    assert_int_equal(f->a.drained, 3);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3");
    rig_settle(&f->rig);
    f->a.room = UINT32_MAX;
    put(f, 4, 403);
    tf_named_credit(&f->a.consumer, 398); /* more than the home may send at once */
    tf_named_drain(&f->a.consumer);
    rig_settle(&f->rig);
    assert_int_equal(f->a.count, 401);
    assert_int_equal(f->a.drained, 4);
    tf_named_credit(&f->a.consumer, 398);
    tf_named_drain(&f->a.consumer);
    rig_settle(&f->rig);
    assert_int_equal(f->a.drained, 5);
    assert_int_equal(f->a.count, 403);
    assert_int_equal(tf_named_available(&f->a.consumer), 0);
}

static void test_lost(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    attach(f, &f->c);
    f->a.room = 2;
    credit(f, &f->a, 4);
    put(f, 1, 5);
    assert_int_equal(f->a.count, 2); /* two wait in the link */
    tf_named_credit(&f->a.consumer, 5);
    tf_shard_receive(&f->rig.shards[1]);
    tf_shard_receive(&f->rig.shards[0]); /* and one is on its way */
    tf_named_detach(&f->a.consumer, true);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    assert_int_equal(named_status(&f->rig, f->name).acquired, 0);
    credit(f, &f->c, 10);
    assert_string_equal(eater_bodies(&f->c, 0), "1 2 3 4 5");
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(f->c.eaten[i].attempts, i < 2);
        assert_int_equal(f->c.eaten[i].acquired_before, i < 2);
    }
}

static void test_turns(void **state)
{
    struct fixture *f = *state;
    struct eater *local = calloc(1, sizeof(*local));
    local->shard = &f->rig.shards[0];
    attach(f, &f->a);
    attach(f, &f->c);
    assert_int_equal(eater_attach(local, &f->rig, &f->declaration), TF_OK);
    credit(f, &f->a, 100);
    credit(f, &f->c, 100);
    tf_named_credit(&local->consumer, 100);
    put(f, 1, 9);
    assert_string_equal(eater_bodies(&f->a, 0), "1 4 7");
    assert_string_equal(eater_bodies(&f->c, 0), "2 5 8");
    assert_string_equal(eater_bodies(local, 0), "3 6 9");
    tf_named_detach(&local->consumer, false);
    free(local);
}

static void test_settled(void **state)
{
    struct fixture *f = *state;
    f->a.consumer.settled = true;
    attach(f, &f->a);
    f->a.room = 1;
    credit(f, &f->a, 3);
    put(f, 1, 3);
    assert_int_equal(f->a.eaten[0].handle, 0);
    assert_int_equal(named_status(&f->rig, f->name).messages, 2);
    tf_named_detach(&f->a.consumer, false); /* what it has not been handed is not lost */
    attach(f, &f->c);
    credit(f, &f->c, 5);
    assert_string_equal(eater_bodies(&f->c, 0), "2 3");
}

static void test_browse(void **state)
{
    struct fixture *f = *state;
    f->a.consumer.browse = true;
    attach(f, &f->a);
    attach(f, &f->c);
    put(f, 1, 3);
    f->a.room = 1;
    credit(f, &f->a, 2);
    assert_int_equal(named_status(&f->rig, f->name).acquired, 0);
    credit(f, &f->a, 0);
    f->a.room = 100;
    credit(f, &f->a, 5);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3");
    put(f, 4, 4);
    tf_named_drain(&f->a.consumer);
    rig_settle(&f->rig);
    assert_string_equal(eater_bodies(&f->a, 0), "1 2 3 4");
    assert_int_equal(f->a.drained, 1);
    assert_int_equal(named_status(&f->rig, f->name).messages, 4);
}

static void test_modified(void **state)
{
    struct fixture *f = *state;
    struct tf_outcome outcome = {.type = TF_OUTCOME_MODIFIED,
                                 .failed = true,
                                 .undeliverable_here = true,
                                 .annotations = tf_bytes_str("note")};
    attach(f, &f->a);
    attach(f, &f->c);
    credit(f, &f->a, 5);
    put(f, 1, 1);
    tf_named_settle(&f->a.consumer, f->a.eaten[0].handle, &outcome);
    rig_settle(&f->rig);
    assert_int_equal(f->a.count, 1);
    credit(f, &f->c, 5);
    assert_string_equal(f->c.eaten[0].annotations, "note");
    struct tf_bytes note = tf_named_annotations(&f->c.consumer, f->c.eaten[0].handle);
    assert_true(tf_bytes_equal(note, tf_bytes_str("note")));
    assert_int_equal(f->c.eaten[0].attempts, 1);
    eater_settle(&f->c, 0, TF_OUTCOME_REJECTED);
    rig_settle(&f->rig);
    assert_int_equal(named_status(&f->rig, f->name).rejected, 1);
    assert_int_equal(named_status(&f->rig, f->name).messages, 0);
    f->a.room = 0;
    f->a.refuse = TF_LIMIT; /* one that it can never take */
    put(f, 2, 3);
    assert_string_equal(eater_bodies(&f->c, 1), "2 3");
    assert_false(f->c.eaten[1].acquired_before);
}

static void test_producer(void **state)
{
    struct fixture *f = *state;
    struct tf_published result;
    struct tf_bytes body;
    f->spec.limits.entries = 4;
    assert_int_equal(feeder_attach(&f->feeder, &f->rig, 1, &f->declaration), TF_OK);
    assert_int_equal(tf_named_room(&f->feeder.producer), 4);
    struct tf_publication publication = rig_publication(tf_bytes_str("p"), "x", 1, false, &body);
    assert_int_equal(tf_named_produce(&f->feeder.producer, &publication, NULL, 0, &result), TF_OK);
    tf_publication_release(&publication);
    put(f, 2, 4);
    assert_int_equal(f->feeder.rooms, 1);
    assert_int_equal(tf_named_room(&f->feeder.producer), 0);
    assert_true(named_put(&f->rig, 1, f->name, "no").refused);
    attach(f, &f->a);
    f->a.accept_at_once = true;
    credit(f, &f->a, 2);
    assert_int_equal(f->feeder.rooms, 2);
    assert_int_equal(f->feeder.room, 2);
    named_delete(&f->rig, f->name);
    assert_int_equal(f->feeder.deleted, 1);
    assert_null(f->feeder.producer.attachment);
}

static void test_deleted(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    attach(f, &f->c);
    credit(f, &f->a, 2);
    put(f, 1, 4);
    struct tf_queue_command command = {
        .type = TF_QUEUE_DELETE, .name = f->declaration.name, .if_unused = true};
    assert_int_equal(named_command(&f->rig, 2, &command, NULL), TF_EXISTS);
    command.if_unused = false;
    command.if_empty = true;
    assert_int_equal(named_command(&f->rig, 2, &command, NULL), TF_EXISTS);
    tf_named_credit(&f->c.consumer, 2);
    tf_shard_receive(&f->rig.shards[2]);
    tf_shard_receive(&f->rig.shards[0]); /* parcels are on their way */
    named_delete(&f->rig, f->name);
    assert_true(f->a.deleted == 1 && f->c.deleted == 1);
    assert_null(f->a.consumer.attachment);
    assert_int_equal(f->rig.shards[0].queued_count, 0);
    struct tf_outcome accepted = {.type = TF_OUTCOME_ACCEPTED};
    tf_named_settle(&f->a.consumer, f->a.eaten[0].handle, &accepted); /* void */
    attach(f, &f->a);                                                 /* another */
    assert_int_equal(tf_named_available(&f->a.consumer), 0);
}

/* A settlement is on its way to a queue that is being deleted. */
static void test_deleted_meanwhile(void **state)
{
    struct fixture *f = *state;
    attach(f, &f->a);
    credit(f, &f->a, 2);
    put(f, 1, 2);
    struct tf_named_queue *named = tf_named_queue_find(&f->rig.shards[0], f->declaration.name);
    assert_non_null(named);
    eater_settle(&f->a, 0, TF_OUTCOME_RELEASED);
    eater_settle(&f->a, 1, TF_OUTCOME_ACCEPTED);
    named_delete(&f->rig, f->name);
    assert_int_equal(f->a.deleted, 1);
}

/* A private queue with values of all shards; they are `count`, and one each is `v/...`. */
static void attach_private(struct fixture *f, struct eater *eater, unsigned count)
{
    char address[16];
    for (unsigned i = 0; i < count; i++) {
        sprintf(address, "v/%u", i);
        (void)rig_publish(&f->rig, i % RIG_SHARDS, tf_bytes_str(address), "v", 0, true, NULL, 0,
                          NULL);
    }
    rig_settle(&f->rig);
    f->declaration.name = tf_bytes_of(NULL, 0);
    f->declaration.filter = tf_bytes_str("v/#");
    f->declaration.values = true;
    attach(f, eater);
}

static void test_private_with_values(void **state)
{
    struct fixture *f = *state;
    attach_private(f, &f->a, 300);
    assert_int_equal(f->a.count, 0);
    credit(f, &f->a, 120);
    assert_int_equal(f->a.count, 120);
    named_publish(&f->rig, 2, "v/x", "live");
    f->a.room = 100;
    tf_named_credit(&f->a.consumer, 1000);
    tf_named_drain(&f->a.consumer);
    rig_settle(&f->rig);
    assert_int_equal(f->a.drained, 0);
    f->a.room = 1000;
    tf_named_ready(&f->a.consumer);
    rig_settle(&f->rig);
    assert_int_equal(f->a.count, 301);
    assert_int_equal(f->a.drained, 1);
    tf_named_detach(&f->a.consumer, true);
    rig_settle(&f->rig);
    assert_int_equal(f->rig.shards[1].bindings.count, 0);
}

/* Everything ends at once, mail under way. */
static void test_abandoned(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct fixture *f;
        setup((void **)&f);
        attach(f, &f->a);
        attach(f, &f->c);
        assert_int_equal(feeder_attach(&f->feeder, &f->rig, 1, &f->declaration), TF_OK);
        put(f, 1, 9);
        f->a.room = 1;
        tf_named_credit(&f->a.consumer, 5);
        tf_named_credit(&f->c.consumer, 3);
        tf_shard_receive(&f->rig.shards[1 + (i & 1)]);
        tf_shard_receive(&f->rig.shards[0]);
        if (i & 2) {
            rig_settle(&f->rig);
            eater_settle(&f->a, 0, TF_OUTCOME_RELEASED);
            tf_named_detach(&f->a.consumer, true);
        }
        if (i & 4) {
            tf_shard_receive(&f->rig.shards[0]);
            attach_private(f, &f->b, 300); /* its values are not all read */
            credit(f, &f->b, 50);
        }
        rig_abandon(&f->rig);
        free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_declare_and_consume, setup, teardown),
        cmocka_unit_test_setup_teardown(test_concurrent_declaration, setup, teardown),
        cmocka_unit_test_setup_teardown(test_detached_before_attached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_credit_before_attached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit_of_queues, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exclusive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_window, setup, teardown),
        cmocka_unit_test_setup_teardown(test_credit_crosses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_credit_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drains_cross, setup, teardown),
        cmocka_unit_test_setup_teardown(test_much_credit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_browse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_modified, setup, teardown),
        cmocka_unit_test_setup_teardown(test_producer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_private_with_values, setup, teardown),
        cmocka_unit_test(test_abandoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
