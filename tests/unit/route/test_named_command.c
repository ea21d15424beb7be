/*
 * Management of named queues, from the home of the queue and from elsewhere.
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
    struct eater a;
    struct tf_queue_spec spec;
    char name[16], same[16], other[16]; /* homes 0, 0 and the last */
};

static int setup(void **state, unsigned shards)
{
    struct fixture *f = calloc(1, sizeof(*f));
    rig_start(&f->rig, shards, 16);
    named_name(&f->rig, 0, f->name);
    rig_address(&f->rig, 0, "same", f->same, sizeof(f->same));
    rig_address(&f->rig, shards - 1, "other", f->other, sizeof(f->other));
    f->spec = named_spec();
    f->spec.limits = (struct tf_queue_limits){100000, UINT64_MAX, TF_OVERFLOW_REFUSE};
    f->a.shard = &f->rig.shards[0];
    *state = f;
    return 0;
}

static int setup_one(void **state)
{
    return setup(state, 1);
}

static int setup_three(void **state)
{
    return setup(state, RIG_SHARDS);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rig_settle(&f->rig);
    rig_check(&f->rig);
    tf_named_detach(&f->a.consumer, false);
    for (unsigned i = 0; i < f->rig.count; i++) {
        struct tf_named_queue *named;
        struct tf_shard *shard = &f->rig.shards[i];
        while ((named = tf_named_queue_next(shard, tf_bytes_of(NULL, 0)))) {
            char name[32];
            struct tf_bytes view = tf_named_queue_name(named);
            sprintf(name, "%.*s", (int)view.length, (const char *)view.data);
            named_delete(&f->rig, name);
        }
    }
    rig_stop(&f->rig);
    free(f);
    return 0;
}

static void declare(struct fixture *f, const char *name, const char *filter)
{
    struct tf_queue_command command = {.type = TF_QUEUE_DECLARE,
                                       .name = tf_bytes_str(name),
                                       .filter = tf_bytes_str(filter),
                                       .spec = &f->spec};
    assert_int_equal(named_command(&f->rig, f->rig.count - 1, &command, NULL), TF_OK);
}

static void put(struct fixture *f, const char *name, unsigned from, unsigned to)
{
    char text[8];
    for (unsigned i = from; i <= to; i++) {
        sprintf(text, "%u", i);
        assert_int_equal(named_put(&f->rig, 0, name, text).taken, 1);
    }
}

static void test_declare(void **state)
{
    struct fixture *f = *state;
    declare(f, f->name, "a");
    named_publish(&f->rig, 0, "a", "x");
    assert_int_equal(named_status(&f->rig, f->name).messages, 1);
    f->spec.message_ttl = 5 * TF_SECOND;
    f->spec.configured = true;
    declare(f, f->name, "a"); /* there already: as it says now */
    struct tf_named_queue *named = tf_named_queue_find(&f->rig.shards[0], tf_bytes_str(f->name));
    assert_int_equal(tf_named_queue_spec(named)->message_ttl, 5 * TF_SECOND);
    struct tf_queue_command command = {.type = TF_QUEUE_DELETE, .name = tf_bytes_str(f->name)};
    assert_int_equal(named_command(&f->rig, f->rig.count - 1, &command, NULL), TF_MISUSE);
    f->spec.configured = false;
    declare(f, f->name, "a");
    named_publish(&f->rig, 0, "a", "y");
    rig_time(&f->rig, f->rig.now + 6 * TF_SECOND);
    assert_int_equal(named_status(&f->rig, f->name).messages, 1);
    command = (struct tf_queue_command){.type = TF_QUEUE_DECLARE, .spec = &f->spec};
    assert_int_equal(named_command(&f->rig, 0, &command, NULL), TF_MISUSE); /* without a name */
    command = (struct tf_queue_command){.type = TF_QUEUE_DELETE, .name = tf_bytes_str("nosuch")};
    assert_int_equal(named_command(&f->rig, 0, &command, NULL), TF_NOT_FOUND);
    command = (struct tf_queue_command){.type = TF_QUEUE_DECLARE, .name = tf_bytes_str("nosuch")};
    assert_int_equal(named_command(&f->rig, 0, &command, NULL), TF_NOT_FOUND);
}

/* What a command says holds, though somebody else is just about to declare the queue. */
static void test_declared_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct tf_queue_spec spec = named_spec();
    struct tf_queue_declaration declaration = {
        .name = tf_bytes_str(f->name), .filter = tf_bytes_str("a"), .spec = &spec};
    assert_int_equal(eater_attach(&f->a, &f->rig, &declaration), TF_OK);
    tf_named_detach(&f->a.consumer, false);
    named_delete(&f->rig, f->name);
    enum tf_err err = tf_shard_consume(f->a.shard, &f->a.consumer, &declaration);
    assert_int_equal(err, f->rig.count == 1 ? TF_OK : TF_AGAIN);
    f->spec.message_ttl = 7 * TF_SECOND;
    declare(f, f->name, "a");
    struct tf_named_queue *named = tf_named_queue_find(&f->rig.shards[0], tf_bytes_str(f->name));
    assert_int_equal(tf_named_queue_spec(named)->message_ttl, 7 * TF_SECOND);
    assert_non_null(f->a.consumer.attachment);
}

static void test_listed(void **state)
{
    struct fixture *f = *state;
    declare(f, f->name, "");
    declare(f, f->same, "");
    struct tf_named_queue *named = tf_named_queue_next(&f->rig.shards[0], tf_bytes_of(NULL, 0));
    assert_true(tf_bytes_equal(tf_named_queue_name(named), tf_bytes_str(f->name)));
    named = tf_named_queue_next(&f->rig.shards[0], tf_named_queue_name(named));
    assert_true(tf_bytes_equal(tf_named_queue_name(named), tf_bytes_str(f->same)));
    assert_null(tf_named_queue_next(&f->rig.shards[0], tf_named_queue_name(named)));
}

static void test_purge(void **state)
{
    struct fixture *f = *state;
    uint64_t count;
    declare(f, f->name, "");
    put(f, f->name, 1, 5000);
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(f->name)};
    assert_int_equal(eater_attach(&f->a, &f->rig, &declaration), TF_OK);
    tf_named_credit(&f->a.consumer, 2);
    struct tf_queue_command command = {.type = TF_QUEUE_PURGE, .name = tf_bytes_str(f->name)};
    assert_int_equal(named_command(&f->rig, f->rig.count - 1, &command, &count), TF_OK);
    assert_int_equal(count, 4998);
    assert_int_equal(named_status(&f->rig, f->name).messages, 2);
    command.type = TF_QUEUE_STATUS;
    assert_int_equal(named_command(&f->rig, f->rig.count - 1, &command, &count), TF_OK);
}

static void done(struct tf_command_owner *owner, uint64_t tag, enum tf_err err, uint64_t count,
                 const struct tf_queue_status *status)
{
    (void)owner;
    (void)count;
    (void)status;
    assert_true(tag == 7 && err == TF_OK);
}

/* One turn drops a bounded part, and takes other work. */
static void test_in_parts(void **state)
{
    struct fixture *f = *state;
    struct tf_command_owner owner = {.done = done};
    declare(f, f->name, "");
    put(f, f->name, 1, 5000);
    tf_list_init(&owner.commands);
    struct tf_queue_command command = {.type = TF_QUEUE_PURGE, .name = tf_bytes_str(f->name)};
    assert_int_equal(tf_shard_queue_command(&f->rig.shards[0], &command, &owner, 7), TF_OK);
    tf_shard_receive(&f->rig.shards[0]);
    assert_in_range(named_status(&f->rig, f->name).messages, 3000, 4900);
    assert_true(tf_shard_busy(&f->rig.shards[0]));
    tf_command_owner_release(&owner); /* it runs on */
    rig_settle(&f->rig);
    assert_int_equal(named_status(&f->rig, f->name).messages, 0);
    put(f, f->name, 1, 5000);
    command.type = TF_QUEUE_DELETE;
    assert_int_equal(tf_shard_queue_command(&f->rig.shards[0], &command, &owner, 7), TF_OK);
    tf_shard_receive(&f->rig.shards[0]);
    assert_null(tf_named_queue_find(&f->rig.shards[0], command.name));
    assert_in_range(f->rig.shards[0].queued_count, 3000, 4900);
    declare(f, f->name, ""); /* another of that name, meanwhile */
    tf_command_owner_release(&owner);
}

static void move(struct fixture *f, const char *from, const char *to, uint64_t limit,
                 enum tf_err err, uint64_t moved)
{
    uint64_t count;
    struct tf_queue_command command = {
        .type = TF_QUEUE_MOVE, .name = tf_bytes_str(from), .to = tf_bytes_str(to), .limit = limit};
    assert_int_equal(named_command(&f->rig, f->rig.count - 1, &command, &count), err);
    assert_int_equal(count, moved);
    rig_check(&f->rig);
}

static void test_move_to(struct fixture *f, const char *to)
{
    f->spec.limits.entries = 300;
    declare(f, to, "");
    f->spec.limits.entries = 100000;
    declare(f, f->name, "");
    put(f, f->name, 1, 500);
    move(f, f->name, to, 2, TF_OK, 2);
    move(f, f->name, f->name, 10, TF_OK, 0);
    move(f, f->name, to, UINT64_MAX, TF_OK, 298); /* it is full: the others stay */
    assert_int_equal(named_status(&f->rig, to).messages, 300);
    assert_int_equal(named_status(&f->rig, f->name).messages, 200);
    assert_int_equal(named_status(&f->rig, f->name).acquired, 0);
    move(f, f->name, "nosuch", 10, TF_NOT_FOUND, 0);
    move(f, "nosuch", to, 10, TF_NOT_FOUND, 0);
    const char *names[] = {to, f->name};
    unsigned next = 1;
    for (unsigned i = 0; i < 2; i++) {
        struct tf_queue_declaration declaration = {.name = tf_bytes_str(names[i])};
        f->a.count = 0;
        assert_int_equal(eater_attach(&f->a, &f->rig, &declaration), TF_OK);
        tf_named_credit(&f->a.consumer, 1000);
        f->a.accept_at_once = true;
        rig_settle(&f->rig);
        for (unsigned j = 0; j < f->a.count; j++) {
            assert_int_equal(atoi(f->a.eaten[j].body), next++);
        }
        tf_named_detach(&f->a.consumer, false);
    }
    assert_int_equal(next, 501);
}

static void test_move_here(void **state)
{
    struct fixture *f = *state;
    test_move_to(f, f->same);
}

static void test_move_away(void **state)
{
    struct fixture *f = *state;
    test_move_to(f, f->other);
}

/* The queue is deleted while a batch of it is under way. */
static void test_deleted_while_moving(void **state)
{
    struct fixture *f = *state;
    struct tf_command_owner owner = {.done = done};
    declare(f, f->name, "");
    declare(f, f->other, "");
    put(f, f->name, 1, 100);
    tf_list_init(&owner.commands);
    struct tf_queue_command command = {.type = TF_QUEUE_MOVE,
                                       .name = tf_bytes_str(f->name),
                                       .to = tf_bytes_str(f->other),
                                       .limit = 1000};
    assert_int_equal(tf_shard_queue_command(&f->rig.shards[0], &command, &owner, 7), TF_OK);
    tf_shard_receive(&f->rig.shards[0]);
    tf_command_owner_release(&owner);
    rig_check(&f->rig);
    assert_int_equal(named_status(&f->rig, f->name).acquired, 64);
    named_delete(&f->rig, f->name);
    rig_settle(&f->rig);
    assert_int_equal(named_status(&f->rig, f->other).messages, 64);
}

/* The same, and another of that name is there when the answer comes: it is left alone. */
static void test_replaced_while_moving(void **state)
{
    struct fixture *f = *state;
    struct tf_command_owner owner = {.done = done};
    declare(f, f->name, "");
    declare(f, f->other, "");
    put(f, f->name, 1, 100);
    tf_list_init(&owner.commands);
    struct tf_queue_command commands[] = {
        {.type = TF_QUEUE_MOVE, .to = tf_bytes_str(f->other), .limit = 1000},
        {.type = TF_QUEUE_DELETE},
        {.type = TF_QUEUE_DECLARE, .spec = &f->spec},
    };
    for (unsigned i = 0; i < 3; i++) {
        commands[i].name = tf_bytes_str(f->name);
        assert_int_equal(tf_shard_queue_command(&f->rig.shards[0], &commands[i], &owner, 7), TF_OK);
        tf_shard_receive(&f->rig.shards[0]);
    }
    tf_command_owner_release(&owner);
    put(f, f->name, 1, 3);
    rig_settle(&f->rig);
    assert_int_equal(named_status(&f->rig, f->name).messages, 3);
    assert_int_equal(named_status(&f->rig, f->other).messages, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_declare, setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_declared_meanwhile, setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_listed, setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_purge, setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_in_parts, setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_move_here, setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_declare, setup_three, teardown),
        cmocka_unit_test_setup_teardown(test_declared_meanwhile, setup_three, teardown),
        cmocka_unit_test_setup_teardown(test_listed, setup_three, teardown),
        cmocka_unit_test_setup_teardown(test_purge, setup_three, teardown),
        cmocka_unit_test_setup_teardown(test_in_parts, setup_three, teardown),
        cmocka_unit_test_setup_teardown(test_move_here, setup_three, teardown),
        cmocka_unit_test_setup_teardown(test_move_away, setup_three, teardown),
        cmocka_unit_test_setup_teardown(test_deleted_while_moving, setup_three, teardown),
        cmocka_unit_test_setup_teardown(test_replaced_while_moving, setup_three, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
