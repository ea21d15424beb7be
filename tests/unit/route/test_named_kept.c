/*
 * Named queues that a store keeps: what comes back after a restart and what does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "route/named_internal.h"
#include "unit/route/store_rig.h"

static struct eater a, b;

/* ---- entries ---- */

static void test_entries_survive(void **state)
{
    struct store_rig k;
    char name[16];
    (void)state;
    for (unsigned shard = 0; shard < 2; shard++) {
        store_rig_start(&k, 2);
        named_name(&k.rig, shard, name);
        kept_make(&k, name);
        kept_put(&k, name, 0, 10);
        store_rig_crash(&k);
        assert_int_equal(named_status(&k.rig, name).messages, 10);
        kept_eat(&k, &a, 0, name, 6);
        assert_true(kept_row(&a, 0, 0, 6));
        assert_true(a.eaten[0].acquired_before);
        for (unsigned i = 0; i < 6; i += 2) {
            eater_settle(&a, i, TF_OUTCOME_ACCEPTED);
        }
        kept_put(&k, name, 10, 1);
        store_rig_crash(&k);
        kept_eat(&k, &a, 1, name, 20);
        assert_string_equal(eater_bodies(&a, 0), "1 3 5 6 7 8 9 10");
        a.accept_at_once = true;
        for (unsigned i = 0; i < 8; i++) {
            eater_settle(&a, i, TF_OUTCOME_ACCEPTED);
        }
        store_rig_restart(&k);
        assert_int_equal(named_status(&k.rig, name).messages, 0);
        assert_int_equal(store_rig_stats(&k).entries, 0);
        store_rig_stop(&k);
    }
}

static void test_not_kept(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = named_spec();
    struct tf_queue_declaration private = {.spec = &spec, .filter = tf_bytes_str("x")};
    (void)state;
    store_rig_start(&k, 1);
    assert_int_equal(kept_declare(&k, "q", &spec, NULL), TF_OK);
    kept_put(&k, "q", 0, 3);
    spec.durability = TF_STORE_DISK;
    memset(&a, 0, sizeof(a));
    a.shard = &k.rig.shards[0];
    assert_int_equal(eater_attach(&a, &k.rig, &private), TF_OK);
    named_publish(&k.rig, 0, "x", "1");
    assert_int_equal(k.clients[0].appended, 0);
    store_rig_restart(&k);
    assert_null(tf_named_queue_find(&k.rig.shards[0], tf_bytes_str("q")));
    store_rig_stop(&k);
}

static void test_published_stored(void **state)
{
    struct store_rig k;
    struct tf_bytes bytes;
    struct tf_published result;
    struct tf_publication publication = rig_publication(tf_bytes_str("put"), "1", 1, false, &bytes);
    (void)state;
    store_rig_start(&k, 1);
    kept_make(&k, "q");
    enum tf_err err =
        tf_shard_enqueue(&k.rig.shards[0], tf_bytes_str("q"), &publication, NULL, 0, &result);
    assert_int_equal(err, TF_OK);
    assert_int_equal(result.taken, 1);
    assert_int_not_equal(result.stored, 0);
    assert_false(tf_store_done(&k.clients[0], result.stored));
    rig_settle(&k.rig);
    assert_true(tf_store_done(&k.clients[0], result.stored));
    /* what goes straight to a consumer that settles at once is not recorded */
    kept_eat(&k, &a, 0, "q", 1);
    eater_settle(&a, 0, TF_OUTCOME_ACCEPTED);
    kept_detach(&k, &a);
    memset(&a, 0, sizeof(a));
    a.consumer.settled = true;
    a.shard = &k.rig.shards[0];
    struct tf_queue_declaration declaration = {.name = tf_bytes_str("q")};
    assert_int_equal(eater_attach(&a, &k.rig, &declaration), TF_OK);
    tf_named_credit(&a.consumer, 1);
    err = tf_shard_enqueue(&k.rig.shards[0], tf_bytes_str("q"), &publication, NULL, 0, &result);
    assert_int_equal(err, TF_OK);
    assert_int_equal(a.count, 1);
    assert_int_equal(result.stored, 0);
    tf_publication_release(&publication);
    kept_detach(&k, &a);
    store_rig_stop(&k);
}

struct answer {
    struct tf_ticket_owner owner;
    unsigned done;
};

static void answered(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    (void)tag;
    (void)result;
    tf_container_of(owner, struct answer, owner)->done++;
}

/* Another shard's answer comes when its batch is done. */
static void test_answer_waits(void **state)
{
    struct store_rig k;
    struct answer answer = {.owner.done = answered};
    struct tf_bytes bytes;
    struct tf_published result;
    char name[16];
    struct tf_publication publication = rig_publication(tf_bytes_str("put"), "1", 1, false, &bytes);
    (void)state;
    tf_list_init(&answer.owner.tickets);
    store_rig_start(&k, 2);
    named_name(&k.rig, 1, name);
    kept_make(&k, name);
    k.stalled = true;
    assert_int_equal(tf_shard_enqueue(&k.rig.shards[0], tf_bytes_str(name), &publication,
                                      &answer.owner, 0, &result),
                     TF_AGAIN);
    rig_settle(&k.rig);
    assert_int_equal(named_status(&k.rig, name).messages, 1);
    assert_int_equal(answer.done, 0);
    k.stalled = false;
    rig_settle(&k.rig);
    assert_int_equal(answer.done, 1);
    tf_publication_release(&publication);
    store_rig_stop(&k);
}

static void test_annotations_and_attempts(void **state)
{
    struct store_rig k;
    struct tf_outcome modified = {
        .type = TF_OUTCOME_MODIFIED, .failed = true, .annotations = tf_bytes_str("note")};
    (void)state;
    store_rig_start(&k, 1);
    kept_make(&k, "q");
    kept_put(&k, "q", 0, 2);
    kept_eat(&k, &a, 0, "q", 1);
    tf_named_credit(&a.consumer, 0);
    tf_named_settle(&a.consumer, a.eaten[0].handle, &modified);
    rig_settle(&k.rig);
    tf_named_credit(&a.consumer, 2);
    tf_named_detach(&a.consumer, true); /* lost: one attempt more for both */
    rig_settle(&k.rig);
    store_rig_crash(&k);
    kept_eat(&k, &a, 0, "q", 2);
    assert_true(kept_row(&a, 0, 0, 2));
    assert_int_equal(a.eaten[0].attempts, 2);
    assert_int_equal(a.eaten[1].attempts, 1);
    assert_string_equal(a.eaten[0].annotations, "note");
    store_rig_stop(&k);
}

/* ---- queues and bindings ---- */

static void test_queue_and_binding(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    char name[16];
    (void)state;
    for (unsigned count = 1; count <= 3; count++) {
        store_rig_start(&k, count);
        named_name(&k.rig, count - 1, name);
        spec.dead_letter = tf_bytes_str("dead");
        spec.max_attempts = 5;
        assert_int_equal(kept_declare(&k, name, &spec, "in/+"), TF_OK);
        assert_int_equal(kept_declare(&k, name, NULL, "also"), TF_OK);
        spec.max_attempts = 6;
        assert_int_equal(kept_declare(&k, name, &spec, NULL), TF_OK);
        named_publish(&k.rig, 0, "in/1", "1");
        store_rig_crash(&k);
        const struct tf_queue_spec *found =
            tf_named_queue_spec(tf_named_queue_find(&k.rig.shards[count - 1], tf_bytes_str(name)));
        assert_int_equal(found->max_attempts, 6);
        assert_int_equal(found->limits.entries, 10000);
        assert_int_equal(found->durability, TF_STORE_DISK);
        assert_true(tf_bytes_equal(found->dead_letter, tf_bytes_str("dead")));
        assert_int_equal(named_status(&k.rig, name).bindings, 2);
        named_publish(&k.rig, 0, "in/2", "2");
        named_publish(&k.rig, count - 1, "also", "3");
        kept_eat(&k, &a, 0, name, 5);
        assert_true(kept_row(&a, 0, 1, 3));
        kept_detach(&k, &a);
        named_delete(&k.rig, name);
        store_rig_restart(&k);
        assert_null(tf_named_queue_find(&k.rig.shards[count - 1], tf_bytes_str(name)));
        assert_int_equal(kept_objects(&k), 0);
        assert_int_equal(store_rig_stats(&k).entries, 0);
        store_rig_stop(&k);
    }
}

/* A binding that replaces all others does so after a restart, too. */
static void test_bound_alone(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    struct tf_queue_declaration declaration = {
        .name = tf_bytes_str("q"), .filter = tf_bytes_str("new"), .spec = &spec, .alone = true};
    (void)state;
    store_rig_start(&k, 1);
    assert_int_equal(kept_declare(&k, "q", &spec, "old"), TF_OK);
    memset(&a, 0, sizeof(a));
    a.shard = &k.rig.shards[0];
    assert_int_equal(eater_attach(&a, &k.rig, &declaration), TF_OK);
    kept_detach(&k, &a);
    store_rig_restart(&k);
    assert_int_equal(named_status(&k.rig, "q").bindings, 1);
    named_publish(&k.rig, 0, "old", "0");
    named_publish(&k.rig, 0, "new", "1");
    kept_eat(&k, &a, 0, "q", 5);
    assert_true(kept_row(&a, 0, 1, 1));
    store_rig_stop(&k);
}

static void test_other_durability(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    (void)state;
    store_rig_start(&k, 1);
    spec.durability = TF_STORE_MEMORY;
    assert_int_equal(kept_declare(&k, "q", &spec, "in"), TF_OK);
    kept_put(&k, "q", 0, 5);
    kept_eat(&k, &a, 0, "q", 2);
    eater_settle(&a, 0, TF_OUTCOME_ACCEPTED);
    assert_int_equal(k.clients[0].appended, 0);
    spec.durability = TF_STORE_DISK;
    assert_int_equal(kept_declare(&k, "q", &spec, NULL), TF_OK);
    rig_check(&k.rig);
    kept_put(&k, "q", 5, 2);
    store_rig_crash(&k);
    named_publish(&k.rig, 0, "in", "7");
    kept_eat(&k, &a, 0, "q", 10);
    assert_true(kept_row(&a, 0, 1, 7));
    kept_detach(&k, &a);
    spec.durability = TF_STORE_MEMORY;
    assert_int_equal(kept_declare(&k, "q", &spec, NULL), TF_OK);
    assert_int_equal(named_status(&k.rig, "q").messages, 7);
    rig_check(&k.rig);
    assert_int_equal(kept_objects(&k), 0);
    assert_int_equal(store_rig_stats(&k).entries, 0);
    store_rig_restart(&k);
    assert_null(tf_named_queue_find(&k.rig.shards[0], tf_bytes_str("q")));
    /* with a tail it is kept until that is in memory */
    kept_make(&k, "q");
    kept_put(&k, "q", 0, 1500);
    assert_int_equal(kept_declare(&k, "q", &spec, NULL), TF_OK);
    assert_int_not_equal(kept_objects(&k), 0);
    kept_eat(&k, &a, 0, "q", 600);
    a.accept_at_once = true;
    for (unsigned i = 0; i < 600; i++) {
        eater_settle(&a, i, TF_OUTCOME_ACCEPTED);
    }
    tf_named_credit(&a.consumer, 900);
    rig_settle(&k.rig);
    assert_true(kept_row(&a, 0, 0, 1500));
    assert_int_equal(kept_objects(&k), 0);
    store_rig_stop(&k);
}

static void test_idle(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    (void)state;
    spec.idle = 10 * TF_SECOND;
    spec.idle_when_empty = true;
    store_rig_start(&k, 1);
    assert_int_equal(kept_declare(&k, "full", &spec, NULL), TF_OK);
    assert_int_equal(kept_declare(&k, "empty", &spec, NULL), TF_OK);
    kept_put(&k, "full", 0, 1);
    store_rig_restart(&k);
    rig_time(&k.rig, k.rig.now + 5 * TF_SECOND);
    assert_non_null(tf_named_queue_find(&k.rig.shards[0], tf_bytes_str("empty")));
    rig_time(&k.rig, k.rig.now + 6 * TF_SECOND);
    rig_settle(&k.rig);
    assert_null(tf_named_queue_find(&k.rig.shards[0], tf_bytes_str("empty")));
    assert_non_null(tf_named_queue_find(&k.rig.shards[0], tf_bytes_str("full")));
    kept_eat(&k, &a, 0, "full", 1);
    eater_settle(&a, 0, TF_OUTCOME_ACCEPTED);
    kept_detach(&k, &a);
    rig_time(&k.rig, k.rig.now + 11 * TF_SECOND);
    store_rig_restart(&k);
    assert_null(tf_named_queue_find(&k.rig.shards[0], tf_bytes_str("full")));
    store_rig_stop(&k);
}

static void test_expiry(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    (void)state;
    spec.message_ttl = 10 * TF_SECOND;
    spec.dead_letter = tf_bytes_str("dead");
    store_rig_start(&k, 1);
    assert_int_equal(kept_declare(&k, "q", &spec, NULL), TF_OK);
    kept_put(&k, "q", 0, 3);
    rig_time(&k.rig, k.rig.now + 5 * TF_SECOND);
    kept_put(&k, "q", 3, 2);
    struct tf_queue_spec dead = kept_spec();
    assert_int_equal(kept_declare(&k, "d", &dead, "dead"), TF_OK);
    tf_time now = k.rig.now;
    rig_settle(&k.rig);
    store_rig_end(&k);
    store_rig_again(&k, 1, now + 6 * TF_SECOND);
    assert_int_equal(named_status(&k.rig, "q").messages, 5);
    kept_eat(&k, &a, 0, "q", 1);
    assert_true(kept_row(&a, 0, 3, 1)); /* those that have expired are dead */
    assert_int_equal(named_status(&k.rig, "d").messages, 3);
    assert_int_equal(named_status(&k.rig, "q").messages, 2);
    rig_time(&k.rig, k.rig.now + 5 * TF_SECOND); /* that of the other one was armed */
    rig_settle(&k.rig);
    assert_int_equal(named_status(&k.rig, "d").messages, 4);
    assert_int_equal(named_status(&k.rig, "q").messages, 1);
    store_rig_stop(&k);
}

/* ---- dead letters ---- */

/* Rejected messages are somewhere at every moment, and in the end at their dead-letter address. */
static void letters(unsigned shards, unsigned at)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    struct tf_queue_spec dead = kept_spec();
    char name[16];
    store_rig_start(&k, shards);
    named_name(&k.rig, shards - 1, name);
    spec.dead_letter = tf_bytes_str("dead");
    assert_int_equal(kept_declare(&k, name, &spec, NULL), TF_OK);
    char box[16];
    named_name(&k.rig, 0, box);
    if (shards == 1) {
        snprintf(box, sizeof(box), "box");
    }
    assert_int_equal(kept_declare(&k, box, &dead, "dead"), TF_OK);
    kept_put(&k, name, 0, 3);
    kept_eat(&k, &a, shards - 1, name, 3);
    for (unsigned i = 0; i < 3; i++) {
        eater_settle(&a, i, TF_OUTCOME_REJECTED);
    }
    kept_wander(&k, at, at / 4); /* then the power fails */
    if (at == 0) {
        rig_settle(&k.rig);
    }
    store_rig_crash(&k);
    uint64_t there = named_status(&k.rig, name).messages + named_status(&k.rig, box).messages;
    assert_true(there >= 3 && there <= 6);
    rig_settle(&k.rig);
    kept_eat(&k, &b, 0, box, 10);
    kept_eat(&k, &a, 0, name, 10);
    for (unsigned i = 0; i < 3; i++) {
        char body[16];
        unsigned found = 0;
        snprintf(body, sizeof(body), "%u", i);
        for (size_t j = 0; j < a.count; j++) {
            found += strcmp(a.eaten[j].body, body) == 0;
        }
        for (size_t j = 0; j < b.count; j++) {
            found += strcmp(b.eaten[j].body, body) == 0;
        }
        assert_true(found == 1 || found == 2);
    }
    if (at == 0) {
        assert_int_equal(a.count, 0);
        assert_int_equal(b.count, 3);
    }
    store_rig_stop(&k);
}

static void test_dead_letters(void **state)
{
    (void)state;
    for (unsigned at = 0; at <= 160; at++) {
        letters(1, at);
        letters(2, at);
    }
}

/* What is to be dropped as new goes to the dead-letter address, and is not lost on the way. */
static void test_drop_new(void **state)
{
    struct store_rig k;
    struct tf_queue_spec spec = kept_spec();
    struct tf_queue_spec dead = kept_spec();
    (void)state;
    spec.limits.entries = 2;
    spec.limits.overflow = TF_OVERFLOW_DROP_NEW;
    spec.dead_letter = tf_bytes_str("dead");
    store_rig_start(&k, 1);
    assert_int_equal(kept_declare(&k, "q", &spec, NULL), TF_OK);
    assert_int_equal(kept_declare(&k, "d", &dead, "dead"), TF_OK);
    kept_put(&k, "q", 0, 5);
    store_rig_crash(&k);
    kept_eat(&k, &a, 0, "q", 10);
    assert_true(kept_row(&a, 0, 0, 2));
    kept_eat(&k, &b, 0, "d", 10);
    assert_true(kept_row(&b, 0, 2, 3));
    store_rig_stop(&k);
}

/* The same, with the address at home elsewhere, and the power cut after the answer. */
static void test_drop_new_cut(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 60; seed++) {
        struct store_rig k;
        struct tf_queue_spec spec = kept_spec();
        struct tf_queue_spec dead = kept_spec();
        struct answer answer = {.owner.done = answered};
        struct tf_bytes bytes;
        struct tf_published result = {0};
        char name[16];
        char box[16];
        tf_list_init(&answer.owner.tickets);
        spec.limits.entries = 0;
        spec.limits.overflow = TF_OVERFLOW_DROP_NEW;
        spec.dead_letter = tf_bytes_str("dead");
        store_rig_start(&k, 2);
        named_name(&k.rig, 0, name);
        named_name(&k.rig, 1, box);
        assert_int_equal(kept_declare(&k, name, &spec, NULL), TF_OK);
        assert_int_equal(kept_declare(&k, box, &dead, "dead"), TF_OK);
        struct tf_publication publication =
            rig_publication(tf_bytes_str("put"), "1", 1, false, &bytes);
        enum tf_err err = tf_shard_enqueue(&k.rig.shards[0], tf_bytes_str(name), &publication,
                                           &answer.owner, 0, &result);
        assert_int_equal(err, TF_OK);
        assert_int_equal(result.taken, 1);
        tf_publication_release(&publication);
        kept_wander(&k, seed, seed);
        bool acknowledged = tf_store_done(&k.clients[0], result.stored);
        store_rig_crash(&k);
        uint64_t there = named_status(&k.rig, name).messages + named_status(&k.rig, box).messages;
        assert_true(there >= acknowledged && there <= 2);
        store_rig_stop(&k);
    }
}

/* A queue that is deleted while its letters are on their way, and with a move under way. */
static void test_delete_meanwhile(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 40; seed++) {
        struct store_rig k;
        struct tf_queue_spec spec = kept_spec();
        struct tf_queue_spec dead = kept_spec();
        struct tf_command_owner owner = {.done = NULL};
        char name[16];
        char box[16];
        tf_list_init(&owner.commands);
        spec.dead_letter = tf_bytes_str("dead");
        store_rig_start(&k, 2);
        named_name(&k.rig, 0, name);
        named_name(&k.rig, 1, box);
        assert_int_equal(kept_declare(&k, name, &spec, "in"), TF_OK);
        assert_int_equal(kept_declare(&k, box, &dead, "dead"), TF_OK);
        kept_put(&k, name, 0, 1100);
        kept_eat(&k, &a, 0, name, 2);
        eater_settle(&a, 0, TF_OUTCOME_REJECTED);
        if (seed % 2) {
            struct tf_queue_command move = {.type = TF_QUEUE_MOVE,
                                            .name = tf_bytes_str(name),
                                            .to = tf_bytes_str(box),
                                            .limit = UINT64_MAX};
            assert_int_equal(tf_shard_queue_command(&k.rig.shards[0], &move, &owner, 0), TF_OK);
            tf_command_owner_release(&owner);
        }
        kept_wander(&k, seed, seed / 2);
        named_delete(&k.rig, name);
        kept_make(&k, name);
        kept_put(&k, name, 7, 1);
        assert_true(named_status(&k.rig, box).messages >= 1);
        rig_check(&k.rig);
        store_rig_crash(&k);
        kept_eat(&k, &a, 0, name, 100);
        assert_true(kept_row(&a, 0, 7, 1));
        assert_int_equal(kept_objects(&k), 3); /* two queues and one binding */
        store_rig_stop(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_survive),
        cmocka_unit_test(test_not_kept),
        cmocka_unit_test(test_published_stored),
        cmocka_unit_test(test_answer_waits),
        cmocka_unit_test(test_annotations_and_attempts),
        cmocka_unit_test(test_queue_and_binding),
        cmocka_unit_test(test_bound_alone),
        cmocka_unit_test(test_other_durability),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_dead_letters),
        cmocka_unit_test(test_drop_new),
        cmocka_unit_test(test_drop_new_cut),
        cmocka_unit_test(test_delete_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
