/*
 * A shard and its store: what was recorded is told as a number, answers between shards wait for it,
 * and what belongs together becomes true together.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "store/store_internal.h"
#include "unit/route/kept_rig.h"

struct fixture {
    struct store_rig k;
    struct session s[RIG_SHARDS]; /* of shard n */
    struct tf_ticket_owner owner;
    unsigned done;
    uint64_t tag;
    struct tf_published result;
};

static void on_done(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct fixture *f = tf_container_of(owner, struct fixture, owner);
    f->done++;
    f->tag = tag;
    f->result = *result;
}

static void bind(struct session *session, const char *filter)
{
    struct tf_binding_options options = {.qos = 2};
    enum tf_err err = tf_shard_bind(session->queue.shard, &session->queue, tf_bytes_str(filter),
                                    &options, false, &session->owner, 1);
    assert_int_equal(err, TF_OK);
}

/* Shards with a session each, all bound to `#`. */
static struct fixture *start(unsigned count)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    store_rig_start(&f->k, count);
    f->owner.done = on_done;
    tf_list_init(&f->owner.tickets);
    for (unsigned i = 0; i < count; i++) {
        session_start(&f->s[i], &f->k.rig.shards[i], false);
        bind(&f->s[i], "#");
    }
    rig_settle(&f->k.rig);
    return f;
}

static void stop(struct fixture *f)
{
    for (unsigned i = 0; i < f->k.rig.count; i++) {
        session_pause(&f->s[i]);
    }
    tf_ticket_owner_release(&f->owner);
    store_rig_stop(&f->k);
    free(f);
}

static void crash(struct fixture *f)
{
    for (unsigned i = 0; i < f->k.rig.count; i++) {
        session_pause(&f->s[i]);
    }
    tf_ticket_owner_release(&f->owner);
    store_rig_crash(&f->k);
    for (unsigned i = 0; i < f->k.rig.count; i++) {
        session_resume(&f->s[i], &f->k, i);
    }
}

static enum tf_err publish(struct fixture *f, uint8_t qos, uint64_t transaction,
                           struct tf_published *ret)
{
    struct tf_bytes bytes;
    struct tf_publication publication =
        rig_publication(tf_bytes_str("a"), "body", qos, false, &bytes);
    publication.transaction = transaction;
    enum tf_err err = tf_shard_publish(&f->k.rig.shards[0], &publication, &f->owner, 5, ret);
    tf_publication_release(&publication);
    return err;
}

static struct tf_store_client *store_of(struct fixture *f, unsigned shard)
{
    return f->k.rig.shards[shard].config.store;
}

static void test_wall(void **state)
{
    (void)state;
    struct fixture *f = start(1);
    struct tf_shard *shard = &f->k.rig.shards[0];
    tf_shard_time(shard, shard->now + 10 * TF_SECOND);
    tf_shard_wall(shard, shard->now + 7);
    assert_int_equal(shard->wall, 7);
    tf_shard_wall(shard, shard->now - 1); /* a machine that has no clock of its own */
    assert_int_equal(shard->wall, 0);
    tf_shard_wall(shard, shard->now + STORE_RIG_WALL);
    stop(f);
}

static void test_number(void **state)
{
    (void)state;
    struct fixture *f = start(1);
    struct tf_shard *shard = &f->k.rig.shards[0];
    struct tf_published result;
    assert_int_equal(tf_shard_recorded(shard), 0);
    assert_int_equal(publish(f, 0, 0, &result), TF_OK);
    assert_int_equal(result.stored, 0);
    f->k.stalled = true;
    assert_int_equal(publish(f, 1, 0, &result), TF_OK);
    assert_int_equal(result.taken, 1);
    assert_int_not_equal(result.stored, 0);
    assert_int_equal(tf_shard_recorded(shard), result.stored);
    rig_settle(&f->k.rig);
    assert_false(tf_store_done(store_of(f, 0), result.stored));
    assert_int_equal(tf_shard_recorded(shard), result.stored); /* it is under way */
    struct tf_published other;
    assert_int_equal(publish(f, 0, 0, &other), TF_OK);
    assert_int_equal(other.stored, 0); /* nothing of it was recorded */
    store_rig_resume(&f->k);
    assert_true(tf_store_done(store_of(f, 0), result.stored));
    assert_int_equal(tf_shard_recorded(shard), 0);
    stop(f);
}

static void test_replies_wait(void **state)
{
    (void)state;
    struct fixture *f = start(3);
    struct tf_published result;
    f->k.stalled = true;
    assert_int_equal(publish(f, 1, 0, &result), TF_AGAIN);
    assert_int_equal(result.taken, 1);
    rig_settle(&f->k.rig);
    assert_int_equal(f->s[1].queue.count, 1); /* at once, in memory */
    assert_int_equal(f->s[2].queue.count, 1);
    assert_int_equal(f->done, 0);
    store_rig_resume(&f->k);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->tag, 5);
    assert_int_equal(f->result.taken, 3);
    assert_int_equal(f->result.matched, 3);
    assert_false(f->result.refused);
    assert_int_equal(f->result.stored, result.stored); /* of the publishing shard alone */
    /* what needs no store does not wait for it */
    f->k.stalled = true;
    for (unsigned i = 0; i < 3; i++) {
        session_attend(&f->s[i]);
        f->s[i].settle_at_once = true;
        session_pump(&f->s[i]);
    }
    f->done = 0;
    assert_int_equal(publish(f, 1, 0, &result), TF_AGAIN);
    rig_settle(&f->k.rig);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->result.taken, 3);
    store_rig_resume(&f->k);
    stop(f);
}

/* What will never be on disk is refused: nobody waits for ever. */
static void test_broken(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct fixture *f = start(shards);
        struct tf_published result;
        f->k.stalled = true;
        if (shards > 1) {
            assert_int_equal(publish(f, 1, 0, &result), TF_AGAIN);
            rig_settle(&f->k.rig);
            assert_int_equal(f->done, 0);
        }
        tf_store_break(f->k.store);
        store_rig_resume(&f->k);
        if (shards > 1) {
            assert_int_equal(f->done, 1);
            assert_true(f->result.refused);
            assert_int_equal(f->result.taken, 1); /* here, and the others never will */
        }
        f->done = 0;
        if (publish(f, 1, 0, &result) == TF_AGAIN) {
            rig_settle(&f->k.rig);
            assert_int_equal(f->done, 1);
            result = f->result;
        }
        assert_true(result.refused);
        assert_int_equal(f->k.rig.shards[0].counters.tickets, 0);
        stop(f);
    }
}

/* Who waits may go; what is held goes with the shard. */
static void test_owner_goes(void **state)
{
    (void)state;
    struct fixture *f = start(2);
    struct tf_published result;
    f->k.stalled = true;
    assert_int_equal(publish(f, 1, 0, &result), TF_AGAIN);
    rig_settle(&f->k.rig);
    tf_ticket_owner_release(&f->owner);
    store_rig_resume(&f->k);
    assert_int_equal(f->done, 0);
    assert_int_equal(f->k.rig.shards[0].counters.tickets, 0);
    f->k.stalled = true;
    assert_int_equal(publish(f, 1, 0, &result), TF_AGAIN);
    rig_settle(&f->k.rig);
    stop(f); /* with an answer held */
}

/* Records something as a front would. */
static void put(struct fixture *f)
{
    assert_int_equal(tf_store_reserve(store_of(f, 0), 16), TF_OK);
    tf_store_put(store_of(f, 0), TF_STORE_DISK, TF_STORED_RECEIVED, tf_bytes_str("id"),
                 tf_bytes_str("v"), NULL);
}

static void take(struct fixture *f)
{
    tf_time until;
    while (tf_store_turn(f->k.store, f->k.rig.now, &until)) {
    }
}

static void test_transaction(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) { /* whose batch comes first */
        struct fixture *f = start(2);
        struct tf_shard *shards = f->k.rig.shards;
        struct tf_published result;
        f->k.stalled = true;
        uint64_t transaction = tf_store_transaction(store_of(f, 0));
        assert_int_equal(publish(f, 2, transaction, &result), TF_AGAIN);
        put(f);
        (void)tf_mail_flush(f->k.rig.office, 0);
        tf_shard_receive(&shards[1]); /* has it, and joins */
        assert_int_equal(f->s[1].queue.count, 1);
        tf_shard_submit(&shards[first]);
        take(f);
        struct tf_journal_stats stats;
        tf_store_stats(f->k.store, &stats);
        assert_int_equal(stats.entries, 0);
        assert_int_equal(stats.objects, 1); /* the store's own */
        crash(f);                           /* neither of the two is there */
        assert_int_equal(f->s[0].queue.count + f->s[1].queue.count, 0);
        stop(f);
    }
}

static void test_transaction_done(void **state)
{
    (void)state;
    struct fixture *f = start(3);
    struct tf_published result;
    uint64_t transaction = tf_store_transaction(store_of(f, 0));
    assert_int_equal(publish(f, 2, transaction, &result), TF_AGAIN);
    put(f);
    rig_settle(&f->k.rig);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->result.taken, 3);
    assert_int_equal(store_rig_stats(&f->k).entries, 3);
    assert_int_equal(store_rig_stats(&f->k).objects, 1 + 1); /* one is the store's own */
    assert_int_equal(store_rig_stats(&f->k).messages, 1);    /* written once */
    /* mailed nowhere: the same batch, and nobody to join */
    for (unsigned i = 1; i < 3; i++) {
        tf_shard_unbind_all(&f->k.rig.shards[i], &f->s[i].queue);
    }
    rig_settle(&f->k.rig);
    transaction = tf_store_transaction(store_of(f, 0));
    assert_int_equal(publish(f, 2, transaction, &result), TF_OK);
    rig_settle(&f->k.rig);
    assert_true(tf_store_done(store_of(f, 0), result.stored));
    assert_int_equal(store_rig_stats(&f->k).entries, 4);
    /* what is kept of a message does not carry the transaction on */
    session_attend(&f->s[0]);
    f->s[0].credit = 1;
    session_pump(&f->s[0]);
    assert_int_equal(f->s[0].seen[0].entry->message->publication.transaction, 0);
    stop(f);
}

/* Wherever memory runs out, a ticket ends, and nothing is told before it is safe. */
static void test_without_memory(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 2; which++) {
        for (size_t nth = 1;; nth++) {
            struct fixture *f = start(2);
            struct test_alloc *memory = which ? &f->k.memory : &f->k.rig.memory;
            struct tf_published result;
            f->k.stalled = true;
            test_alloc_fail(memory, nth);
            enum tf_err err = publish(f, 1, 0, &result);
            rig_settle(&f->k.rig);
            bool failed = memory->failed != 0;
            bool recorded = f->s[1].queue.count != 0;
            assert_int_equal(f->done, err == TF_AGAIN && !recorded ? 1 : 0);
            test_alloc_fail(memory, 0);
            store_rig_resume(&f->k);
            assert_int_equal(f->done, err == TF_AGAIN);
            if (err == TF_AGAIN) {
                assert_int_equal(f->result.taken, f->s[0].queue.count + f->s[1].queue.count);
                assert_int_equal(f->result.refused, failed && f->result.taken < 2);
            }
            stop(f);
            if (!failed) {
                assert_int_equal(err, TF_AGAIN);
                break;
            }
        }
    }
}

/* No mail is read while there is no memory to hold its answer in. */
static void test_no_memory_to_hold(void **state)
{
    (void)state;
    struct fixture *f = start(2);
    struct tf_published result;
    struct tf_shard *shard = &f->k.rig.shards[1];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(publish(f, 1, 0, &result), TF_AGAIN);
    }
    f->k.stalled = true;
    (void)tf_shard_flush(&f->k.rig.shards[0]);
    tf_shard_receive(shard); /* one with what is set aside, */
    assert_non_null(shard->held_spare);
    assert_int_equal(f->s[1].queue.count, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(publish(f, 1, 0, &result), TF_AGAIN);
    }
    (void)tf_shard_flush(&f->k.rig.shards[0]);
    size_t calls = f->k.rig.memory.calls;
    test_alloc_fail(&f->k.rig.memory, 2); /* the first is for the entry */
    tf_shard_receive(shard);
    assert_int_equal(f->k.rig.memory.calls, calls + 2);
    assert_int_equal(f->s[1].queue.count, 3); /* and not the other */
    assert_true(tf_shard_busy(shard));
    tf_shard_receive(shard);
    assert_int_equal(f->s[1].queue.count, 4);
    assert_false(tf_shard_busy(shard));
    test_alloc_fail(&f->k.rig.memory, 0);
    store_rig_resume(&f->k);
    assert_int_equal(f->done, 4);
    assert_false(f->result.refused);
    stop(f);
}

/* Without a store nothing is held, and there are no numbers. */
static void test_without_store(void **state)
{
    (void)state;
    static struct rig rig;
    static struct session session;
    struct tf_published result;
    rig_start(&rig, 1, 64);
    session_start(&session, &rig.shards[0], true);
    bind(&session, "a");
    rig_publish(&rig, 0, tf_bytes_str("a"), "x", 1, false, NULL, 0, &result);
    assert_int_equal(result.taken, 1);
    assert_int_equal(result.stored, 0);
    assert_int_equal(tf_shard_recorded(&rig.shards[0]), 0);
    assert_false(session.seen[0].entry->stored);
    tf_entry_tag(session.seen[0].entry, 7);
    assert_int_equal(session.seen[0].entry->tag, 7);
    tf_shard_submit(&rig.shards[0]);
    assert_null(session.queue.kept);
    assert_null(rig.shards[0].scratch);
    session_settle(&session, 0);
    session_end(&session);
    rig_stop(&rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wall),
        cmocka_unit_test(test_number),
        cmocka_unit_test(test_replies_wait),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_owner_goes),
        cmocka_unit_test(test_transaction),
        cmocka_unit_test(test_transaction_done),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_no_memory_to_hold),
        cmocka_unit_test(test_without_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
