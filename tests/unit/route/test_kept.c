/*
 * Queues of sessions that the store keeps: what is recorded and when, the window and the tail
 * behind it, and what comes back after a restart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/kept_rig.h"

struct fixture {
    struct store_rig k;
    struct session a;
};

static struct fixture *start(bool attend)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    store_rig_start(&f->k, 1);
    session_start(&f->a, &f->k.rig.shards[0], attend);
    return f;
}

static void stop(struct fixture *f)
{
    session_pause(&f->a);
    store_rig_stop(&f->k);
    free(f);
}

static void settle(struct fixture *f)
{
    rig_settle(&f->k.rig);
    assert_true(tf_queue_check(&f->a.queue));
}

static void restart(struct fixture *f)
{
    session_pause(&f->a);
    store_rig_restart(&f->k);
    session_resume(&f->a, &f->k, 0);
}

static enum tf_err push(struct fixture *f, unsigned number, uint8_t qos)
{
    char body[16];
    snprintf(body, sizeof(body), "%u", number);
    return session_push(&f->a, body, qos, TF_TIME_NEVER);
}

static void push_some(struct fixture *f, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        assert_int_equal(push(f, i, 1), TF_OK);
    }
}

static uint64_t entries(struct fixture *f)
{
    return store_rig_stats(&f->k).entries;
}

/* That `seen` has the numbers from `first`, in order, from place `at`. */
static void assert_seen(const struct fixture *f, size_t at, unsigned first, unsigned count)
{
    char body[16];
    assert_int_equal(f->a.seen_count, at + count);
    for (unsigned i = 0; i < count; i++) {
        snprintf(body, sizeof(body), "%u", first + i);
        assert_string_equal(f->a.seen[at + i].body, body);
    }
}

static void test_recorded_with_its_tag(void **state)
{
    (void)state;
    struct fixture *f = start(true);
    struct tf_store_client *store = f->a.queue.shard->config.store;
    assert_int_equal(push(f, 1, 1), TF_OK);
    assert_int_equal(store->appended, 2); /* message and entry, whose tag is part of it */
    assert_true(f->a.seen[0].entry->stored && !f->a.seen[0].entry->fresh);
    assert_int_equal(entries(f), 1);
    tf_entry_tag(f->a.seen[0].entry, 1); /* it is */
    assert_int_equal(store->appended, 2);
    tf_entry_tag(f->a.seen[0].entry, 0x10001);
    assert_int_equal(store->appended, 3);
    session_settle(&f->a, 0);
    assert_int_equal(store->appended, 4);
    assert_int_equal(entries(f), 0);
    stop(f);
}

static void test_not_recorded(void **state)
{
    (void)state;
    struct fixture *f = start(true);
    struct tf_store_client *store = f->a.queue.shard->config.store;
    f->a.settle_at_once = true;
    assert_int_equal(push(f, 1, 1), TF_OK); /* it is done with before it is recorded */
    assert_int_equal(push(f, 2, 0), TF_OK);
    assert_int_equal(f->a.seen_count, 2);
    f->a.credit = 0;
    assert_int_equal(push(f, 3, 0), TF_OK); /* at most once: waits in memory alone */
    assert_int_equal(f->a.queue.count, 1);
    assert_int_equal(store->appended, 0);
    /* and neither is what its publisher wants in memory alone */
    struct tf_bytes bytes;
    struct tf_subscription_ids none = {NULL, 0};
    struct tf_publication publication = rig_publication(tf_bytes_str("a"), "4", 1, false, &bytes);
    publication.envelope.slack = 2;
    assert_int_equal(tf_queue_push(&f->a.queue, &publication, &none, 1, false, f->k.rig.now),
                     TF_OK);
    tf_publication_release(&publication);
    assert_int_equal(store->appended, 0);
    f->a.credit = 2;
    session_pump(&f->a);
    assert_seen(f, 0, 1, 4);
    assert_int_equal(store->appended, 0);
    stop(f);
}

/* Takes all there is, so much credit at a time. */
static void drink(struct fixture *f, uint32_t credit, bool settled)
{
    size_t before;
    do {
        before = f->a.seen_count;
        f->a.credit = credit;
        session_pump(&f->a);
        settle(f);
        for (size_t i = 0; settled && i < f->a.seen_count; i++) {
            if (f->a.seen[i].entry) {
                session_settle(&f->a, i);
            }
        }
        settle(f);
    } while (f->a.seen_count > before || f->a.queue.kept->tail_count);
}

static void test_window_and_tail(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    push_some(f, 0, TF_KEPT_WINDOW + 500);
    assert_int_equal(f->a.queue.count, TF_KEPT_WINDOW + 500);
    assert_int_equal(f->a.queue.kept->tail_count, 500);
    assert_int_equal(entries(f), TF_KEPT_WINDOW + 500);
    assert_int_equal(push(f, 9999, 0), TF_LIMIT); /* at most once: nobody is there */
    session_attend(&f->a);
    f->a.credit = 0;
    assert_int_equal(push(f, 9999, 0), TF_LIMIT); /* it would belong to the tail */
    assert_int_equal(f->a.counters.dropped_full, 1);
    uint64_t each = f->a.queue.bytes / f->a.queue.count;
    drink(f, 7, true);
    assert_seen(f, 0, 0, TF_KEPT_WINDOW + 500);
    assert_int_equal(f->a.seen[0].ids, 1);
    assert_int_equal(f->a.seen[TF_KEPT_WINDOW + 400].ids, 1); /* the tail's have theirs, too */
    assert_in_range(each, sizeof(struct tf_entry) + sizeof(struct tf_message), 1000);
    assert_int_equal(f->a.queue.count, 0);
    assert_int_equal(f->a.queue.bytes, 0);
    assert_int_equal(entries(f), 0);
    stop(f);
}

/* `drained` comes when the tail is empty, too; and what comes meanwhile goes behind it. */
static void test_drained(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    push_some(f, 0, TF_KEPT_WINDOW + 1);
    session_attend(&f->a);
    f->a.settle_at_once = true;
    session_pump(&f->a); /* takes the window; the page has yet to come */
    assert_int_equal(f->a.seen_count, TF_KEPT_WINDOW);
    assert_int_equal(f->a.drained, 0);
    push_some(f, TF_KEPT_WINDOW + 1, 3);       /* does not overtake it */
    assert_int_equal(push(f, 0, 0), TF_LIMIT); /* nor does what is at most once */
    assert_int_equal(f->a.seen_count, TF_KEPT_WINDOW);
    settle(f);
    assert_seen(f, 0, 0, TF_KEPT_WINDOW + 4);
    assert_int_equal(f->a.drained, 1);
    push_some(f, TF_KEPT_WINDOW + 4, 1); /* straight again */
    assert_seen(f, 0, 0, TF_KEPT_WINDOW + 5);
    assert_int_equal(entries(f), 0);
    stop(f);
}

/* What a consumer holds does not keep the rest from it. */
static void test_holds_more_than_a_window(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    push_some(f, 0, 2 * TF_KEPT_WINDOW);
    session_attend(&f->a);
    drink(f, UINT32_MAX, false);
    assert_seen(f, 0, 0, 2 * TF_KEPT_WINDOW);
    assert_int_equal(f->a.queue.count, 2 * TF_KEPT_WINDOW);
    push_some(f, 2 * TF_KEPT_WINDOW, 100);
    settle(f);
    assert_seen(f, 0, 0, 2 * TF_KEPT_WINDOW + 100);
    assert_int_equal(f->a.queue.kept->tail_count, 0);
    for (size_t i = 0; i < f->a.seen_count; i++) {
        session_settle(&f->a, i);
    }
    assert_int_equal(entries(f), 0);
    stop(f);
}

static void test_bytes_make_a_tail(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    char *body = malloc(200001);
    assert_non_null(body);
    memset(body, 'x', 200000);
    body[200000] = 0;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(session_push(&f->a, body, 1, TF_TIME_NEVER), TF_OK);
    }
    assert_int_equal(f->a.queue.kept->tail_count, 20 - 6);
    session_attend(&f->a);
    drink(f, 100, true);
    assert_int_equal(f->a.seen_count, 20);
    assert_int_equal(f->a.queue.bytes, 0);
    free(body);
    stop(f);
}

static void test_limits(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    f->a.limits.entries = TF_KEPT_WINDOW + 10;
    push_some(f, 0, TF_KEPT_WINDOW + 10);
    assert_int_equal(push(f, 1, 1), TF_LIMIT);
    assert_int_equal(f->a.counters.dropped_full, 1);
    assert_int_equal(entries(f), TF_KEPT_WINDOW + 10);
    /* the oldest make room, those of the window first; what was in the tail moves up */
    f->a.limits.overflow = TF_OVERFLOW_DROP_OLD;
    for (unsigned i = 0; i < TF_KEPT_WINDOW + 200; i++) {
        assert_int_equal(push(f, TF_KEPT_WINDOW + 10 + i, 1), TF_OK);
        if (i % 50 == 0) {
            settle(f);
        }
    }
    assert_int_equal(f->a.queue.count, TF_KEPT_WINDOW + 10);
    assert_int_equal(entries(f), TF_KEPT_WINDOW + 10);
    session_attend(&f->a);
    drink(f, UINT32_MAX, true);
    assert_seen(f, 0, TF_KEPT_WINDOW + 200, TF_KEPT_WINDOW + 10);
    stop(f);
}

static void test_expiry(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    tf_time soon = f->k.rig.now + 10 * TF_SECOND;
    char body[16];
    for (unsigned i = 0; i < TF_KEPT_WINDOW + 300; i++) {
        snprintf(body, sizeof(body), "%u", i);
        bool stays = i == 5 || i == TF_KEPT_WINDOW + 299;
        assert_int_equal(session_push(&f->a, body, 1, stays ? TF_TIME_NEVER : soon), TF_OK);
    }
    settle(f);
    rig_time(&f->k.rig, soon);
    session_attend(&f->a);
    session_pump(&f->a);
    settle(f);
    assert_int_equal(f->a.seen_count, 2);
    assert_string_equal(f->a.seen[1].body, "1323");
    assert_int_equal(f->a.counters.dropped_expired, TF_KEPT_WINDOW + 298);
    assert_int_equal(f->a.queue.count, 2);
    assert_int_equal(entries(f), 2);
    stop(f);
}

static void test_restart(void **state)
{
    (void)state;
    struct fixture *f = start(true);
    f->a.credit = 5;
    push_some(f, 0, 300);
    session_settle(&f->a, 1);
    tf_entry_tag(f->a.seen[3].entry, 0x20004);
    restart(f);
    assert_int_equal(f->a.restored, 4); /* 0, 2, 3, 4 were under way */
    assert_string_equal(f->a.seen[1].body, "2");
    assert_int_equal(f->a.seen[1].tag, 3);
    assert_int_equal(f->a.seen[1].ids, 1);
    assert_int_equal(f->a.seen[1].qos, 1);
    assert_int_equal(f->a.seen[2].tag, 0x20004);
    assert_int_equal(f->a.seen[1].entry->state, TF_ENTRY_ACQUIRED);
    assert_int_equal(f->a.queue.kept->tail_count, 295);
    assert_int_equal(f->a.queue.count, 299);
    session_settle(&f->a, 0);
    session_attend(&f->a);
    f->a.credit = 0;
    push_some(f, 300, 10); /* behind what was there */
    drink(f, 50, true);
    assert_int_equal(f->a.seen_count, 4 + 305);
    assert_string_equal(f->a.seen[4].body, "5");
    assert_string_equal(f->a.seen[308].body, "309");
    assert_int_equal(f->a.queue.count, 0);
    assert_int_equal(f->a.queue.bytes, 0);
    assert_int_equal(entries(f), 0);
    stop(f);
}

/* What was released lies before what was under way: after a restart it is in the tail, and the
 * reader passes over what has come back by itself, settled or not, released or not. */
static void test_restart_among_others(void **state)
{
    (void)state;
    struct fixture *f = start(true);
    push_some(f, 0, 200);
    for (size_t i = 0; i < 200; i += 2) { /* every other one is available again */
        tf_entry_release(f->a.seen[i].entry);
    }
    restart(f);
    assert_int_equal(f->a.restored, 100);
    assert_int_equal(f->a.queue.kept->tail_count, 100);
    session_settle(&f->a, 3);             /* number 7 */
    tf_entry_release(f->a.seen[4].entry); /* number 9 */
    f->a.seen[4].entry = NULL;
    session_attend(&f->a);
    drink(f, 30, false);
    assert_int_equal(f->a.seen_count, 100 + 101); /* the tail, and 9 once more */
    unsigned nines = 0;
    for (size_t i = 100; i < f->a.seen_count; i++) {
        nines += strcmp(f->a.seen[i].body, "9") == 0;
        assert_string_not_equal(f->a.seen[i].body, "7");
        assert_string_not_equal(f->a.seen[i].body, "11");
    }
    assert_int_equal(nines, 1);
    assert_int_equal(f->a.queue.count, 199);
    assert_int_equal(entries(f), 199);
    stop(f);
}

/* After the power failed, what was done is there. */
static void test_power_cut(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    push_some(f, 0, 100);
    settle(f);
    f->k.stalled = true;
    push_some(f, 100, 50); /* never reaches the disk */
    session_pause(&f->a);
    store_rig_crash(&f->k);
    session_resume(&f->a, &f->k, 0);
    assert_int_equal(f->a.queue.count, 100);
    session_attend(&f->a);
    drink(f, UINT32_MAX, true);
    assert_seen(f, 0, 0, 100);
    stop(f);
}

static void test_end_forgets(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    push_some(f, 0, TF_KEPT_WINDOW + 100);
    session_attend(&f->a);
    f->a.credit = 1;
    session_pump(&f->a);
    assert_int_equal(entries(f), TF_KEPT_WINDOW + 100);
    assert_int_equal(tf_kept_drop_tail(&f->a.queue), 100);
    assert_int_equal(tf_kept_drop_tail(&f->a.queue), 0);
    assert_int_equal(f->a.queue.count, TF_KEPT_WINDOW);
    assert_int_equal(entries(f), TF_KEPT_WINDOW);
    session_end(&f->a);
    assert_int_equal(store_rig_stats(&f->k).entries, 0);
    session_start(&f->a, &f->k.rig.shards[0], false);
    stop(f);
}

/* A purge after a restart leaves alone what came back by itself. */
static void test_drop_among_others(void **state)
{
    (void)state;
    struct fixture *f = start(true);
    push_some(f, 0, 20);
    for (size_t i = 0; i < 20; i += 3) {
        tf_entry_release(f->a.seen[i].entry);
    }
    restart(f);
    assert_int_equal(f->a.restored, 13);
    assert_int_equal(tf_kept_drop_tail(&f->a.queue), 7);
    assert_int_equal(f->a.queue.count, 13);
    assert_int_equal(entries(f), 13);
    session_settle(&f->a, 2);
    assert_int_equal(entries(f), 12);
    stop(f);
}

/* A message that is damaged on the disk is lost, and nothing else. */
static void test_damaged(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    size_t length;
    push_some(f, 0, 40);
    assert_int_equal(session_push(&f->a, "the damaged one", 1, TF_TIME_NEVER), TF_OK);
    push_some(f, 40, 40);
    settle(f);
    restart(f);
    uint8_t *content = sim_disk_content(&f->k.disk, "0000000001.log", &length);
    assert_non_null(content);
    for (size_t i = 0; i + 15 < length; i++) {
        if (memcmp(content + i, "the damaged one", 15) == 0) {
            content[i + 4] ^= 1;
        }
    }
    assert_int_equal(f->a.queue.kept->tail_count, 81);
    session_attend(&f->a);
    session_pump(&f->a);
    settle(f);
    assert_seen(f, 0, 0, 80);
    assert_int_equal(f->a.counters.dropped_damaged, 1);
    assert_int_equal(f->a.queue.count, 80);
    assert_int_equal(entries(f), 80);
    stop(f);
}

/* The restart knew of more than there is: it is put right at the end of the tail. */
static void test_wrong_count(void **state)
{
    (void)state;
    struct fixture *f = start(false);
    push_some(f, 0, 100);
    restart(f);
    tf_queue_restore(&f->a.queue, 7, 7000, f->a.queue.kept->next);
    assert_int_equal(f->a.queue.count, 107);
    session_attend(&f->a);
    session_pump(&f->a);
    settle(f);
    assert_seen(f, 0, 0, 100);
    assert_int_equal(f->a.queue.count, 100);
    assert_int_equal(f->a.drained, 1);
    stop(f);
}

/* A page that finds no memory is read again after a while. */
static void test_page_without_memory(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 2; which++) {
        for (size_t nth = 1;; nth++) {
            struct fixture *f = start(false);
            push_some(f, 0, 200);
            restart(f);
            session_attend(&f->a);
            struct test_alloc *memory = which ? &f->k.memory : &f->k.rig.memory;
            test_alloc_fail(memory, nth);
            session_pump(&f->a);
            for (unsigned i = 0; i < 20; i++) {
                settle(f);
                rig_time(&f->k.rig, f->k.rig.now + TF_SECOND);
            }
            bool failed = memory->failed != 0;
            test_alloc_fail(memory, 0);
            assert_seen(f, 0, 0, 200);
            assert_int_equal(f->a.queue.count, 200);
            stop(f);
            if (!failed) {
                break;
            }
        }
    }
}

/* What is not refused is there in the end, once; wherever memory runs out. */
static void test_without_memory(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 2; which++) {
        for (size_t nth = 1;; nth++) {
            struct fixture *f = start(true);
            struct test_alloc *memory = which ? &f->k.memory : &f->k.rig.memory;
            char body[16];
            unsigned taken = 0;
            f->a.credit = 3;
            test_alloc_fail(memory, nth);
            memory->fail_on = false;
            for (unsigned i = 0; i < 12; i++) {
                snprintf(body, sizeof(body), "%u", taken);
                enum tf_err err = session_push(&f->a, body, 1, TF_TIME_NEVER);
                assert_true(err == TF_OK || err == TF_NO_MEMORY);
                taken += err == TF_OK;
                if (i == 6) {
                    settle(f);
                    session_settle(&f->a, 0);
                }
            }
            bool failed = memory->failed != 0;
            assert_true(taken >= 11 && (failed || taken == 12));
            test_alloc_fail(memory, 0);
            settle(f);
            assert_int_equal(f->a.queue.count, taken - 1);
            assert_int_equal(entries(f), taken - 1);
            f->a.credit = UINT32_MAX;
            session_pump(&f->a);
            assert_seen(f, 0, 0, taken);
            stop(f);
            if (!failed) {
                break;
            }
        }
    }
}

/* A store that takes nothing new refuses; what is at most once needs none. */
static void test_full(void **state)
{
    (void)state;
    struct fixture *f = start(true);
    push_some(f, 0, 3);
    settle(f);
    f->k.disk.fail_at = f->k.disk.calls + 1;
    f->k.disk.fail_on = true;
    f->k.disk.fail_with = TF_LIMIT;
    assert_int_equal(push(f, 3, 1), TF_OK);
    settle(f); /* which cannot be written, but waits */
    assert_int_equal(tf_store_state(f->a.queue.shard->config.store), TF_STORE_FULL);
    uint32_t count = f->a.queue.count;
    assert_int_equal(push(f, 4, 1), TF_NO_MEMORY);
    assert_int_equal(push(f, 5, 0), TF_OK);
    assert_int_equal(f->a.queue.count, count);
    session_settle(&f->a, 0); /* what frees it goes on */
    f->k.disk.fail_at = 0;
    f->k.disk.fail_on = false;
    f->k.woken++;
    rig_time(&f->k.rig, f->k.rig.now + 100 * TF_SECOND);
    settle(f);
    assert_int_equal(push(f, 6, 1), TF_OK);
    assert_int_equal(entries(f), 4);
    stop(f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_with_its_tag),
        cmocka_unit_test(test_not_recorded),
        cmocka_unit_test(test_window_and_tail),
        cmocka_unit_test(test_drained),
        cmocka_unit_test(test_holds_more_than_a_window),
        cmocka_unit_test(test_bytes_make_a_tail),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_among_others),
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_end_forgets),
        cmocka_unit_test(test_drop_among_others),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_wrong_count),
        cmocka_unit_test(test_page_without_memory),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
