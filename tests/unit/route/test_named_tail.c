/*
 * Kept named queues that are longer than their window in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "route/kept.h"
#include "unit/route/store_rig.h"

static struct eater a, b;

static void test_tail(void **state)
{
    struct store_rig k;
    char name[16];
    (void)state;
    for (unsigned shard = 0; shard < 2; shard++) {
        store_rig_start(&k, 2);
        named_name(&k.rig, 0, name);
        kept_make(&k, name);
        kept_put(&k, name, 0, 3000);
        rig_check(&k.rig);
        assert_int_equal(named_status(&k.rig, name).messages, 3000);
        assert_int_equal(kept_in_memory(&k, name), TF_KEPT_WINDOW);
        kept_eat(&k, &a, shard, name, 1200); /* more than the window */
        assert_true(kept_row(&a, 0, 0, 1200));
        assert_true(tf_named_available(&a.consumer) >= 1800);
        for (unsigned i = 0; i < 1200; i++) {
            eater_settle(&a, i, i % 2 ? TF_OUTCOME_ACCEPTED : TF_OUTCOME_RELEASED);
        }
        rig_settle(&k.rig);
        rig_check(&k.rig);
        assert_int_equal(named_status(&k.rig, name).messages, 2400);
        tf_named_credit(&a.consumer, 2400);
        rig_settle(&k.rig);
        rig_check(&k.rig);
        assert_int_equal(a.count, 3600);
        for (unsigned i = 0; i < 600; i++) {
            assert_int_equal(atoi(a.eaten[1200 + i].body), 2 * i);
        }
        for (unsigned i = 0; i < 1800; i++) {
            assert_int_equal(atoi(a.eaten[1800 + i].body), 1200 + i);
        }
        store_rig_crash(&k);
        assert_int_equal(named_status(&k.rig, name).messages, 2400);
        assert_int_equal(kept_in_memory(&k, name), 0);
        kept_eat(&k, &a, 1 - shard, name, 4000);
        assert_int_equal(a.count, 2400);
        assert_int_equal(atoi(a.eaten[0].body), 0);
        assert_int_equal(atoi(a.eaten[600].body), 1200);
        assert_int_equal(atoi(a.eaten[2399].body), 2999);
        kept_put(&k, name, 3000, 1);
        assert_int_equal(a.count, 2401);
        assert_int_equal(atoi(a.eaten[2400].body), 3000);
        store_rig_stop(&k);
    }
}

static void test_purge_with_tail(void **state)
{
    struct store_rig k;
    struct tf_queue_command purge = {.type = TF_QUEUE_PURGE, .name = tf_bytes_str("q")};
    uint64_t count;
    (void)state;
    store_rig_start(&k, 1);
    kept_make(&k, "q");
    kept_put(&k, "q", 0, 3000);
    kept_eat(&k, &a, 0, "q", 5);
    assert_int_equal(named_command(&k.rig, 0, &purge, &count), TF_OK);
    assert_int_equal(count, 2995);
    assert_int_equal(named_status(&k.rig, "q").messages, 5);
    rig_check(&k.rig);
    kept_put(&k, "q", 3000, 2);
    store_rig_crash(&k);
    kept_eat(&k, &a, 0, "q", 100);
    assert_string_equal(eater_bodies(&a, 0), "0 1 2 3 4 3000 3001");
    kept_detach(&k, &a);
    /* and one that is all tail */
    store_rig_crash(&k);
    assert_int_equal(named_command(&k.rig, 0, &purge, &count), TF_OK);
    assert_int_equal(count, 7);
    assert_int_equal(store_rig_stats(&k).entries, 0);
    kept_put(&k, "q", 0, 1);
    kept_eat(&k, &a, 0, "q", 100);
    assert_true(kept_row(&a, 0, 0, 1));
    store_rig_stop(&k);
}

static void test_delete_with_tail(void **state)
{
    struct store_rig k;
    (void)state;
    store_rig_start(&k, 1);
    kept_make(&k, "q");
    kept_put(&k, "q", 0, 3000);
    kept_eat(&k, &a, 0, "q", 5);
    named_delete(&k.rig, "q");
    assert_int_equal(k.rig.shards[0].queued_count, 0);
    assert_int_equal(k.rig.shards[0].queued_bytes, 0);
    kept_make(&k, "q"); /* another of the same name */
    kept_put(&k, "q", 5000, 3);
    store_rig_crash(&k);
    kept_eat(&k, &a, 0, "q", 100);
    assert_true(kept_row(&a, 0, 5000, 3));
    kept_detach(&k, &a);
    store_rig_restart(&k);
    named_delete(&k.rig, "q"); /* all tail */
    assert_int_equal(store_rig_stats(&k).entries, 0);
    assert_int_equal(kept_objects(&k), 0);
    store_rig_stop(&k);
}

static void test_move_with_tail(void **state)
{
    struct store_rig k;
    char name[16];
    char other[16];
    uint64_t count;
    (void)state;
    for (unsigned shards = 1; shards <= 2; shards++) {
        store_rig_start(&k, shards);
        named_name(&k.rig, 0, name);
        if (shards == 1) {
            snprintf(other, sizeof(other), "other");
        } else {
            named_name(&k.rig, 1, other);
        }
        kept_make(&k, name);
        kept_make(&k, other);
        kept_put(&k, name, 0, 2500);
        struct tf_queue_command move = {.type = TF_QUEUE_MOVE,
                                        .name = tf_bytes_str(name),
                                        .to = tf_bytes_str(other),
                                        .limit = 2000};
        assert_int_equal(named_command(&k.rig, 0, &move, &count), TF_OK);
        assert_int_equal(count, 2000);
        rig_check(&k.rig);
        store_rig_crash(&k);
        assert_int_equal(named_status(&k.rig, name).messages, 500);
        assert_int_equal(named_status(&k.rig, other).messages, 2000);
        move.limit = UINT64_MAX; /* the rest is all tail now */
        assert_int_equal(named_command(&k.rig, 0, &move, &count), TF_OK);
        assert_int_equal(count, 500);
        store_rig_crash(&k);
        assert_int_equal(named_status(&k.rig, name).messages, 0);
        kept_eat(&k, &a, 0, other, 4000);
        assert_true(kept_row(&a, 0, 0, 2500));
        store_rig_stop(&k);
    }
}

/* A power cut at any moment of a move to another shard leaves nothing in neither queue. */
static void test_move_cut(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 160; at++) {
        struct store_rig k;
        char name[16];
        char other[16];
        struct tf_command_owner owner = {.done = NULL};
        store_rig_start(&k, 2);
        named_name(&k.rig, 0, name);
        named_name(&k.rig, 1, other);
        kept_make(&k, name);
        kept_make(&k, other);
        kept_put(&k, name, 0, 20);
        struct tf_queue_command move = {.type = TF_QUEUE_MOVE,
                                        .name = tf_bytes_str(name),
                                        .to = tf_bytes_str(other),
                                        .limit = 1000};
        tf_list_init(&owner.commands);
        assert_int_equal(tf_shard_queue_command(&k.rig.shards[0], &move, &owner, 0), TF_OK);
        tf_command_owner_release(&owner);
        kept_wander(&k, at, at / 4);
        store_rig_crash(&k);
        kept_eat(&k, &a, 0, name, 100);
        kept_eat(&k, &b, 0, other, 100);
        assert_true(a.count == 0 || a.count == 20);
        assert_true(b.count == 0 || b.count == 20);
        assert_true(a.count + b.count >= 20);
        store_rig_stop(&k);
    }
}

static void test_browse_across_tail(void **state)
{
    struct store_rig k;
    char name[16];
    (void)state;
    for (unsigned shard = 0; shard < 2; shard++) {
        struct tf_queue_declaration declaration = {0};
        store_rig_start(&k, 2);
        named_name(&k.rig, 0, name);
        kept_make(&k, name);
        kept_put(&k, name, 0, 2500);
        declaration.name = tf_bytes_str(name);
        memset(&a, 0, sizeof(a));
        a.consumer.browse = true;
        a.shard = &k.rig.shards[shard];
        assert_int_equal(eater_attach(&a, &k.rig, &declaration), TF_OK);
        tf_named_credit(&a.consumer, 1000);
        rig_settle(&k.rig);
        assert_true(kept_row(&a, 0, 0, 1000));
        tf_named_credit(&a.consumer, 3000);
        tf_named_drain(&a.consumer);
        rig_settle(&k.rig);
        assert_true(kept_row(&a, 0, 0, 2500));
        assert_int_equal(a.drained, 1);
        assert_int_equal(named_status(&k.rig, name).messages, 2500);
        kept_detach(&k, &a);
        store_rig_crash(&k);
        assert_int_equal(named_status(&k.rig, name).messages, 2500);
        store_rig_stop(&k);
    }
}

static void test_drain_with_tail(void **state)
{
    struct store_rig k;
    char name[16];
    (void)state;
    for (unsigned shard = 0; shard < 2; shard++) {
        store_rig_start(&k, 2);
        named_name(&k.rig, 0, name);
        kept_make(&k, name);
        kept_put(&k, name, 0, 300);
        store_rig_crash(&k); /* all of it is tail */
        kept_eat(&k, &a, shard, name, 0);
        tf_named_credit(&a.consumer, 1000);
        tf_named_drain(&a.consumer);
        rig_settle(&k.rig);
        assert_true(kept_row(&a, 0, 0, 300));
        assert_int_equal(a.drained, 1);
        tf_named_credit(&a.consumer, 10); /* nothing is left of the former */
        kept_put(&k, name, 300, 1);
        assert_int_equal(a.count, 301);
        store_rig_stop(&k);
    }
}

static void test_drop_old_with_tail(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    (void)state;
    spec.limits.entries = 200;
    spec.limits.overflow = TF_OVERFLOW_DROP_OLD;
    store_rig_start(&k, 1);
    assert_int_equal(kept_declare(&k, "q", &spec, NULL), TF_OK);
    kept_put(&k, "q", 0, 250);
    assert_int_equal(named_status(&k.rig, "q").messages, 200);
    store_rig_crash(&k); /* all of it is tail */
    assert_int_equal(named_status(&k.rig, "q").messages, 200);
    kept_put(&k, "q", 250, 130);
    rig_settle(&k.rig);
    rig_check(&k.rig);
    assert_int_equal(named_status(&k.rig, "q").messages, 200);
    store_rig_crash(&k);
    kept_eat(&k, &a, 0, "q", 1000);
    assert_true(kept_row(&a, 0, 180, 200));
    store_rig_stop(&k);
}

/* Whoever published what a long queue drops as new is told when its letter is stored. */
static void test_drop_new_behind_tail(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    struct tf_queue_spec dead = kept_spec();
    struct tf_bytes bytes;
    struct tf_published result;
    struct tf_publication publication =
        rig_publication(tf_bytes_str("put"), "1100", 1, false, &bytes);
    (void)state;
    spec.limits.entries = 1100;
    spec.limits.overflow = TF_OVERFLOW_DROP_NEW;
    spec.dead_letter = tf_bytes_str("dead");
    store_rig_start(&k, 1);
    assert_int_equal(kept_declare(&k, "q", &spec, NULL), TF_OK);
    assert_int_equal(kept_declare(&k, "d", &dead, "dead"), TF_OK);
    kept_put(&k, "q", 0, 1100);
    enum tf_err err =
        tf_shard_enqueue(&k.rig.shards[0], tf_bytes_str("q"), &publication, NULL, 0, &result);
    assert_int_equal(err, TF_OK);
    assert_int_equal(result.taken, 1);
    assert_int_not_equal(result.stored, 0);
    tf_publication_release(&publication);
    while (!tf_store_done(&k.clients[0], result.stored)) {
        tf_time until;
        tf_shard_receive(&k.rig.shards[0]);
        tf_shard_submit(&k.rig.shards[0]);
        (void)tf_store_turn(k.store, k.rig.now, &until);
    }
    store_rig_crash(&k);
    kept_eat(&k, &a, 0, "q", 2000);
    assert_true(kept_row(&a, 0, 0, 1100));
    kept_eat(&k, &a, 0, "d", 10);
    assert_true(kept_row(&a, 0, 1100, 1));
    store_rig_stop(&k);
}

/* What comes new does not overtake what is in the store alone. */
static void test_nothing_overtakes(void **state)
{
    struct store_rig k;
    struct tf_bytes bytes;
    struct tf_published result;
    struct tf_queue_declaration declaration = {.name = tf_bytes_str("q")};
    struct tf_publication publication = rig_publication(tf_bytes_str("put"), "3", 1, false, &bytes);
    (void)state;
    store_rig_start(&k, 1);
    kept_make(&k, "q");
    kept_put(&k, "q", 0, 3);
    store_rig_crash(&k);
    memset(&a, 0, sizeof(a));
    a.consumer.settled = true;
    a.shard = &k.rig.shards[0];
    assert_int_equal(eater_attach(&a, &k.rig, &declaration), TF_OK);
    tf_named_credit(&a.consumer, 10);
    enum tf_err err =
        tf_shard_enqueue(&k.rig.shards[0], tf_bytes_str("q"), &publication, NULL, 0, &result);
    assert_int_equal(err, TF_OK);
    tf_publication_release(&publication);
    assert_int_equal(a.count, 0);
    rig_settle(&k.rig);
    assert_true(kept_row(&a, 0, 0, 4));
    assert_int_equal(store_rig_stats(&k).entries, 0);
    store_rig_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_purge_with_tail),
        cmocka_unit_test(test_delete_with_tail),
        cmocka_unit_test(test_move_with_tail),
        cmocka_unit_test(test_move_cut),
        cmocka_unit_test(test_browse_across_tail),
        cmocka_unit_test(test_drain_with_tail),
        cmocka_unit_test(test_drop_old_with_tail),
        cmocka_unit_test(test_drop_new_behind_tail),
        cmocka_unit_test(test_nothing_overtakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
