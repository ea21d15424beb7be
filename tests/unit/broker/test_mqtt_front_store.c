/*
 * What the store keeps of MQTT sessions: what waits for it, what comes back after the broker's end,
 * and what is forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/store_internal.h"
#include "unit/broker/kept_rig.h"

/* A session, its subscriptions and what was queued for it, whatever the number of shards. */
static void test_restart(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards++) {
        struct kept_rig *rig = kept_start(shards);
        struct driver *driver = &rig->driver;
        struct client receiver, publisher;
        char body[16];
        assert_false(peer_connect(&receiver, driver, 0, "r", kept_lasting));
        peer_send_subscribe(&receiver, 2, "a/+", 2, 9);
        peer_expect(&receiver, SUBACK);
        peer_subscribe(&receiver, "gone", 1);
        peer_send(&receiver, 0xA2, "\0\5\0\0\4gone", 9);
        peer_expect(&receiver, UNSUBACK);
        peer_subscribe(&receiver, "b", 0);
        peer_subscribe(&receiver, "b", 1); /* other options */
        kept_crash(rig, 4 - shards, 0);
        assert_int_equal(driver->restored.sessions, 1);
        assert_int_equal(driver->restored.bindings, 2);
        assert_int_equal(driver_session(driver, "r")->queue.binding_count, 2);
        driver_check(driver);
        peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
        for (uint16_t i = 0; i < 6; i++) {
            sprintf(body, "%u", i);
            peer_publish(&publisher, i == 5 ? "b" : "a/x", body, i % 2 ? 4 : 2, (uint16_t)(i + 1));
            peer_expect(&publisher, i % 2 ? PUBREC : PUBACK);
        }
        peer_publish(&publisher, "gone", "x", 2, 7);
        assert_int_equal(peer_expect(&publisher, PUBACK).reason, 0x10);
        kept_crash(rig, shards, 60 * TF_SECOND);
        assert_int_equal(driver->restored.entries, 6);
        assert_true(peer_connect(&receiver, driver, 0, "r", kept_lasting));
        for (unsigned i = 0; i < 6; i++) {
            sprintf(body, "%u", i);
            struct reply reply = peer_expect(&receiver, PUBLISH);
            assert_int_equal(reply.qos, i == 5 ? 1 : i % 2 ? 2 : 1);
            assert_true(tf_bytes_equal(reply.payload, tf_bytes_str(body)));
            if (i != 5) { /* its subscription identifier */
                assert_int_equal(*reply_property(reply.properties, 0x0B), 9);
            }
        }
        peer_expect_nothing(&receiver);
        kept_stop(rig);
    }
}

/* What is told waits until what it tells is on the disk; what tells nothing does not. */
static void test_acknowledgements_wait(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct kept_rig *rig = kept_start(shards);
        struct driver *driver = &rig->driver;
        struct client a, b, quick;
        peer_connect(&quick, driver, 0, "quick", (struct hello){.clean = true});
        driver->store_rests = true;
        peer_send_connect(&a, driver, 0, "a", kept_lasting);
        assert_int_equal(kept_gated(rig, &a, CONNACK).reason, 0);
        peer_send_subscribe(&a, 1, "t", 2, 0);
        assert_int_equal(kept_gated(rig, &a, SUBACK).id, 1);
        peer_send_connect(&b, driver, 0, "b", kept_lasting);
        kept_gated(rig, &b, CONNACK);
        peer_publish(&b, "t", "one", 2, 5);
        peer_expect_nothing(&a);
        assert_int_equal(kept_gated(rig, &b, PUBACK).id, 5);
        uint16_t id = peer_expect_publish(&a, "t", "one", 2);
        peer_acknowledge(&a, PUBACK, id);
        peer_publish(&b, "t", "two", 4, 6);
        peer_expect_nothing(&a);
        assert_int_equal(kept_gated(rig, &b, PUBREC).id, 6);
        id = peer_expect_publish(&a, "t", "two", 4);
        peer_acknowledge(&a, PUBREC, id);
        assert_int_equal(kept_gated(rig, &a, PUBREL).id, id);
        peer_acknowledge(&a, PUBCOMP, id);
        peer_acknowledge(&b, PUBREL, 6);
        assert_int_equal(kept_gated(rig, &b, PUBCOMP).id, 6);
        peer_send(&a, 0xA2, "\0\5\0\0\1t", 6);
        assert_int_equal(kept_gated(rig, &a, UNSUBACK).id, 5);
        /* what needs no store is served meanwhile, each on its own connection */
        assert_int_equal(peer_subscribe(&quick, "q", 1), 1);
        peer_publish(&quick, "q", "x", 2, 1);
        peer_publish(&a, "q", "y", 2, 2);
        driver_run(driver);
        peer_expect_publish(&quick, "q", "x", 2);
        peer_expect(&quick, PUBACK);
        peer_expect_publish(&quick, "q", "y", 2);
        peer_expect(&a, PUBACK); /* nobody keeps it */
        kept_stop(rig);
    }
}

/* Resuming waits for what was recorded before; else a restart could undo what the client saw. */
static void test_resumption_waits(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct client a;
    struct hello other = {.expiry = 7200};
    peer_connect(&a, driver, 0, "a", kept_lasting);
    peer_publish(&a, "t", "x", 4, 9);
    peer_expect(&a, PUBREC);
    driver->store_rests = true;
    peer_acknowledge(&a, PUBREL, 9);
    peer_expect_nothing(&a);
    driver_cut(a.conn);
    peer_send_connect(&a, driver, 0, "a", kept_lasting);
    peer_acknowledge(&a, PUBREL, 9);
    kept_gated(rig, &a, CONNACK);
    assert_int_equal(peer_expect(&a, PUBCOMP).reason, 0x92);
    driver_cut(a.conn);
    kept_wake(rig);
    driver->store_rests = true;
    peer_send_connect(&a, driver, 0, "a", other); /* another expiry */
    kept_gated(rig, &a, CONNACK);
    driver_cut(a.conn);
    kept_wake(rig);
    driver->store_rests = true;
    assert_true(peer_connect(&a, driver, 0, "a", other)); /* nothing to wait for */
    kept_stop(rig);
}

/* An answer that waits for room still waits for what it says. */
static void test_late_answers_wait(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct client a, b;
    peer_connect(&a, driver, 0, "a", kept_lasting);
    peer_subscribe(&a, "t", 1);
    peer_connect(&b, driver, 0, "b", (struct hello){.clean = true});
    driver->store_rests = true;
    b.conn->window = 0;
    for (uint16_t i = 1; i <= 10; i++) {
        peer_publish(&b, "t", "x", 2, i);
        driver_run(driver);
    }
    driver_window(b.conn, 100);
    peer_expect_nothing(&b);
    peer_expect_nothing(&a);
    kept_wake(rig);
    for (uint16_t i = 1; i <= 10; i++) {
        assert_int_equal(peer_expect(&b, PUBACK).id, i);
        peer_expect_publish(&a, "t", "x", 2);
    }
    kept_stop(rig);
}

/* What was under way comes again with its id: PUBLISH with DUP, or PUBREL alone. */
static void test_in_flight(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct kept_rig *rig = kept_start(shards);
        struct driver *driver = &rig->driver;
        struct client a, p;
        uint16_t ids[6];
        char body[16];
        peer_connect(&a, driver, 0, "a", kept_lasting);
        peer_subscribe(&a, "t", 2);
        peer_connect(&p, driver, 0, "p", (struct hello){.clean = true});
        for (uint16_t i = 0; i < 6; i++) {
            sprintf(body, "%u", i);
            peer_publish(&p, "t", body, i % 2 ? 4 : 2, (uint16_t)(i + 1));
            peer_expect(&p, i % 2 ? PUBREC : PUBACK);
            ids[i] = peer_expect_publish(&a, "t", body, i % 2 ? 4 : 2);
        }
        peer_acknowledge(&a, PUBACK, ids[0]);
        peer_acknowledge(&a, PUBREC, ids[3]);
        assert_int_equal(peer_expect(&a, PUBREL).id, ids[3]);
        peer_acknowledge(&a, PUBREC, ids[5]);
        assert_int_equal(peer_expect(&a, PUBREL).id, ids[5]);
        peer_acknowledge(&a, PUBCOMP, ids[5]);
        driver_run(driver);
        for (unsigned round = 0; round < 2; round++) {
            kept_crash(rig, 4 - shards, 0);
            assert_int_equal(driver->restored.under_way, 4);
            driver_check(driver);
            assert_true(peer_connect(&a, driver, 0, "a", kept_lasting));
            assert_int_equal(peer_expect_publish(&a, "t", "1", 4 | 8), ids[1]);
            assert_int_equal(peer_expect_publish(&a, "t", "2", 2 | 8), ids[2]);
            assert_int_equal(peer_expect(&a, PUBREL).id, ids[3]);
            assert_int_equal(peer_expect_publish(&a, "t", "4", 2 | 8), ids[4]);
            peer_expect_nothing(&a);
        }
        /* new deliveries take the ids that are free, the others end as ever */
        peer_connect(&p, driver, 0, "p", (struct hello){.clean = true});
        peer_publish(&p, "t", "6", 2, 1);
        uint16_t next = peer_expect_publish(&a, "t", "6", 2);
        for (unsigned i = 1; i < 5; i++) {
            assert_int_not_equal(next, ids[i]);
        }
        peer_acknowledge(&a, PUBREC, ids[1]);
        assert_int_equal(peer_expect(&a, PUBREL).id, ids[1]);
        peer_acknowledge(&a, PUBCOMP, ids[1]);
        peer_acknowledge(&a, PUBACK, ids[2]);
        peer_acknowledge(&a, PUBCOMP, ids[3]);
        peer_acknowledge(&a, PUBACK, ids[4]);
        peer_acknowledge(&a, PUBACK, next);
        driver_run(driver);
        assert_int_equal(driver_session(driver, "a")->queue.count, 0);
        kept_crash(rig, 1, 0);
        assert_int_equal(driver->restored.under_way + driver->restored.entries, 0);
        kept_stop(rig);
    }
}

/* An inbound QoS 2 message is published once, however often the broker ends. */
static void test_exactly_once_in(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards++) {
        struct kept_rig *rig = kept_start(shards);
        struct driver *driver = &rig->driver;
        struct client a, p;
        peer_connect(&a, driver, 0, "a", kept_lasting);
        peer_subscribe(&a, "t", 2);
        driver_cut(a.conn);
        peer_connect(&p, driver, 0, "p", kept_lasting);
        /* it was acknowledged */
        peer_publish(&p, "t", "one", 4, 7);
        peer_expect(&p, PUBREC);
        kept_crash(rig, shards, 0);
        assert_true(peer_connect(&p, driver, 0, "p", kept_lasting));
        peer_publish(&p, "t", "one", 4 | 8, 7);
        assert_int_equal(peer_expect(&p, PUBREC).reason, 0);
        assert_int_equal(driver_session(driver, "a")->queue.count, 1);
        /* the id was given free */
        peer_acknowledge(&p, PUBREL, 7);
        assert_int_equal(peer_expect(&p, PUBCOMP).reason, 0);
        kept_crash(rig, shards, 0);
        assert_true(peer_connect(&p, driver, 0, "p", kept_lasting));
        peer_publish(&p, "t", "two", 4, 7);
        peer_expect(&p, PUBREC);
        assert_int_equal(driver_session(driver, "a")->queue.count, 2);
        peer_acknowledge(&p, PUBREL, 7);
        peer_expect(&p, PUBCOMP);
        /* nothing of it reached the disk: all of it is new */
        driver->store_rests = true;
        peer_publish(&p, "t", "three", 4, 7);
        peer_expect_nothing(&p);
        kept_crash(rig, shards, 0);
        assert_true(peer_connect(&p, driver, 0, "p", kept_lasting));
        peer_publish(&p, "t", "three", 4 | 8, 7);
        peer_expect(&p, PUBREC);
        assert_true(peer_connect(&a, driver, 0, "a", kept_lasting));
        peer_expect_publish(&a, "t", "one", 4);
        peer_expect_publish(&a, "t", "two", 4);
        peer_expect_publish(&a, "t", "three", 4);
        peer_expect_nothing(&a);
        kept_stop(rig);
    }
}

/* A will is said after the end of the broker, too, and once. */
static void test_will(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct kept_rig *rig = kept_start(shards);
        struct driver *driver = &rig->driver;
        struct client a, w;
        struct hello hello = {
            .expiry = 3600, .will_topic = "w", .will_body = "late", .will_delay = 100};
        peer_connect(&a, driver, 0, "a", kept_lasting);
        peer_subscribe(&a, "w", 1);
        /* away when the broker ends: its delay has begun */
        peer_connect(&w, driver, 0, "away", hello);
        driver_cut(w.conn);
        driver_advance(driver, 40 * TF_SECOND);
        /* attached: it goes away now */
        hello.will_body = "now";
        hello.will_delay = 0;
        peer_connect(&w, driver, 0, "attached", hello);
        /* said goodbye: none */
        peer_connect(&w, driver, 0, "bye", hello);
        peer_disconnect(&w, 0);
        driver_run(driver);
        kept_crash(rig, shards, 20 * TF_SECOND);
        assert_int_equal(driver->restored.sessions, 4);
        peer_connect(&a, driver, 0, "a", kept_lasting);
        driver_advance(driver, 2 * TF_MILLISECOND); /* a timer's tick */
        peer_acknowledge(&a, PUBACK, peer_expect_publish(&a, "w", "now", 2));
        driver_advance(driver, 39 * TF_SECOND);
        peer_expect_nothing(&a);
        driver_advance(driver, 2 * TF_SECOND);
        peer_acknowledge(&a, PUBACK, peer_expect_publish(&a, "w", "late", 2));
        driver_run(driver);
        kept_crash(rig, shards, 0);
        peer_connect(&a, driver, 0, "a", kept_lasting);
        driver_advance(driver, 200 * TF_SECOND);
        peer_expect_nothing(&a);
        kept_stop(rig);
    }
}

/* A client that comes back as soon as the broker does has been away all the same. */
static void test_will_of_the_quick(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct client a, w;
    struct hello hello = {.expiry = 3600, .will_topic = "w", .will_body = "now"};
    struct hello late = {.expiry = 3600, .will_topic = "w", .will_body = "late", .will_delay = 100};
    peer_connect(&a, driver, 0, "a", kept_lasting);
    peer_subscribe(&a, "w", 1);
    peer_connect(&w, driver, 0, "one", hello);
    peer_connect(&w, driver, 0, "two", late);
    kept_crash(rig, 1, 0);
    assert_true(peer_connect(&w, driver, 0, "one", kept_lasting));
    assert_true(peer_connect(&w, driver, 0, "two", kept_lasting));
    driver_advance(driver, 200 * TF_SECOND);
    assert_true(peer_connect(&a, driver, 0, "a", kept_lasting));
    peer_expect_publish(&a, "w", "now", 2);
    peer_expect_nothing(&a);
    kept_stop(rig);
}

/* A session expires while the broker is not there, and leaves nothing but its will. */
static void test_expiry(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(2);
    struct driver *driver = &rig->driver;
    struct client a, p, b;
    struct hello hello = {.expiry = 100, .will_topic = "w", .will_body = "x", .will_delay = 1000};
    peer_connect(&b, driver, 0, "b", (struct hello){.expiry = UINT32_MAX});
    peer_subscribe(&b, "w", 0);
    peer_connect(&a, driver, 0, "a", hello);
    peer_subscribe(&a, "t", 2);
    peer_publish(&a, "u", "x", 4, 3);
    peer_expect(&a, PUBREC);
    driver_cut(a.conn);
    peer_connect(&p, driver, 0, "p", (struct hello){.clean = true});
    peer_publish(&p, "t", "x", 2, 1);
    peer_expect(&p, PUBACK);
    kept_crash(rig, 1, 60 * TF_SECOND);
    peer_connect(&b, driver, 0, "b", (struct hello){.expiry = UINT32_MAX});
    driver_advance(driver, 30 * TF_SECOND);
    assert_non_null(driver_session(driver, "a"));
    kept_crash(rig, 1, 20 * TF_SECOND);
    assert_int_equal(driver->restored.sessions, 2);
    peer_connect(&b, driver, 0, "b", (struct hello){.expiry = UINT32_MAX});
    driver_advance(driver, 2 * TF_MILLISECOND);
    assert_null(driver_session(driver, "a"));
    peer_expect_publish(&b, "w", "x", 0);
    kept_crash(rig, 3, 0);
    assert_int_equal(driver->restored.sessions, 1);
    assert_int_equal(driver->restored.bindings, 1);
    assert_int_equal(driver->restored.entries, 0);
    kept_stop(rig);
}

/* One that was attached goes away with the broker, once: another start does not begin anew. */
static void test_expiry_of_the_attached(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(2);
    struct driver *driver = &rig->driver;
    struct client a;
    peer_connect(&a, driver, 0, "a", (struct hello){.expiry = 100});
    kept_crash(rig, 2, 0);
    driver_advance(driver, 60 * TF_SECOND);
    kept_crash(rig, 1, 0);
    assert_int_equal(driver->restored.sessions, 1);
    driver_advance(driver, 39 * TF_SECOND);
    assert_non_null(driver_session(driver, "a"));
    driver_advance(driver, 2 * TF_SECOND);
    assert_null(driver_session(driver, "a"));
    kept_stop(rig);
}

/* A session that was away before the clock began, as after the machine was started anew. */
static void test_away_before_the_clock(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct client a;
    peer_connect(&a, driver, 0, "a", (struct hello){.expiry = 1000});
    driver_cut(a.conn);
    driver_run(driver);
    driver->wall += 600 * TF_SECOND + driver->now; /* the wall goes on, the clock is at 0 */
    driver->now = 0;
    kept_crash(rig, 1, 0);
    driver_advance(driver, 390 * TF_SECOND);
    assert_non_null(driver_session(driver, "a"));
    kept_crash(rig, 1, 0);
    driver_advance(driver, 9 * TF_SECOND);
    assert_non_null(driver_session(driver, "a"));
    driver_advance(driver, 2 * TF_SECOND);
    assert_null(driver_session(driver, "a"));
    /* a clock that was set back takes no time from anybody */
    peer_connect(&a, driver, 0, "a", (struct hello){.expiry = 1000});
    driver_cut(a.conn);
    driver_run(driver);
    driver->wall -= 1000000 * TF_SECOND;
    kept_crash(rig, 1, 0);
    driver_advance(driver, 999 * TF_SECOND);
    assert_non_null(driver_session(driver, "a"));
    driver_advance(driver, 2 * TF_SECOND);
    assert_null(driver_session(driver, "a"));
    kept_stop(rig);
}

/* Sessions that end are forgotten with all that was theirs. */
static void test_forgotten(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(2);
    struct driver *driver = &rig->driver;
    struct client a, p;
    peer_connect(&p, driver, 0, "p", (struct hello){.clean = true});
    for (unsigned way = 0; way < 4; way++) {
        struct hello again = {.expiry = way == 2 ? 0 : 3600, .clean = way == 0};
        peer_connect(&a, driver, 0, "a", kept_lasting);
        peer_subscribe(&a, "t/+", 2);
        peer_subscribe(&a, "u", 1);
        peer_publish(&a, "v", "x", 4, 3);
        peer_expect(&a, PUBREC);
        peer_publish(&p, "t/1", "x", 2, 1);
        peer_expect(&p, PUBACK);
        peer_expect_publish(&a, "t/1", "x", 2);
        driver_cut(a.conn);
        peer_publish(&p, "u", "y", 2, 1);
        peer_expect(&p, PUBACK);
        if (way == 1) { /* its time is over */
            driver_advance(driver, 3601 * TF_SECOND);
        } else {
            assert_int_equal(peer_connect(&a, driver, 0, "a", again), way != 0);
            if (way == 3) { /* by its last word */
                peer_send(&a, 0xE0, "\0\5\x11\0\0\0\0", 7);
            } else if (way == 2) { /* with its connection */
                driver_cut(a.conn);
            }
            driver_run(driver);
        }
        kept_crash(rig, 2, 0);
        assert_int_equal(driver->restored.sessions, way == 0);
        assert_int_equal(driver->restored.bindings + driver->restored.entries, 0);
        assert_int_equal(driver->restored.under_way, 0);
        peer_connect(&p, driver, 0, "p", (struct hello){.clean = true});
        peer_connect(&a, driver, 0, "a", (struct hello){.clean = true});
        driver_cut(a.conn);
        driver_run(driver);
    }
    kept_crash(rig, 1, 0);
    assert_int_equal(driver->restored.sessions, 0);
    kept_stop(rig);
}

/* A session that was resumed to end with its connection is over when the broker is. */
static void test_expiry_zero(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct client a;
    peer_connect(&a, driver, 0, "a", kept_lasting);
    driver_cut(a.conn);
    assert_true(peer_connect(&a, driver, 0, "a", (struct hello){.expiry = 0}));
    kept_crash(rig, 1, 0);
    driver_advance(driver, 2 * TF_MILLISECOND);
    assert_null(driver_session(driver, "a"));
    kept_crash(rig, 1, 0);
    assert_int_equal(driver->restored.sessions, 0);
    kept_stop(rig);
}

/* Who comes by a listener that keeps nothing leaves nothing; nor does a clean session. */
static void test_levels(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_prepare(driver_init, 2);
    struct driver *driver = &rig->driver;
    struct client a, p;
    driver->config.listeners[0].durability = TF_CONFIG_DURABILITY_MEMORY;
    driver_start(driver);
    driver_run(driver);
    driver->store_rests = true;
    peer_connect(&a, driver, 0, "a", kept_lasting);
    peer_subscribe(&a, "t", 2);
    peer_connect(&p, driver, 0, "p", kept_lasting);
    peer_publish(&p, "t", "x", 4, 1);
    peer_expect(&p, PUBREC);
    peer_expect_publish(&a, "t", "x", 4);
    assert_null(driver_session(driver, "a")->queue.kept);
    kept_crash(rig, 1, 0);
    assert_int_equal(driver->restored.sessions + driver->restored.bindings, 0);
    driver->config.listeners[0].durability = TF_CONFIG_DURABILITY_OS;
    peer_connect(&a, driver, 0, "a", kept_lasting);
    peer_subscribe(&a, "t", 2);
    assert_int_equal(driver_session(driver, "a")->queue.kept->level, TF_STORE_OS);
    peer_connect(&p, driver, 0, "p", (struct hello){.clean = true});
    assert_null(driver_session(driver, "p")->queue.kept);
    kept_stop(rig);
}

/* What is published by a listener that keeps nothing is not kept for a session that is. */
static void test_slack(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct client a, p;
    peer_connect(&a, driver, 0, "a", kept_lasting);
    peer_subscribe(&a, "t", 2);
    peer_connect(&p, driver, 0, "p", kept_lasting);
    driver->config.listeners[0].durability = TF_CONFIG_DURABILITY_MEMORY;
    driver_run(driver);
    driver->store_rests = true;
    peer_publish(&p, "t", "x", 2, 1);
    peer_publish(&p, "t", "y", 4, 2);
    driver_run(driver);
    peer_expect(&p, PUBACK);
    peer_expect(&p, PUBREC);
    peer_expect_publish(&a, "t", "x", 2);
    peer_expect_publish(&a, "t", "y", 4);
    driver->config.listeners[0].durability = TF_CONFIG_DURABILITY_DISK;
    kept_crash(rig, 1, 0);
    assert_int_equal(driver->restored.entries + driver->restored.under_way, 0);
    kept_stop(rig);
}

/* A queue longer than what is kept in memory: all of it comes, in order, and once. */
static void test_long_queue(void **state)
{
    (void)state;
    enum { COUNT = 1500 };
    struct kept_rig *rig = kept_prepare(driver_init, 2);
    struct driver *driver = &rig->driver;
    struct client a, p;
    struct reply reply;
    char body[16];
    driver->config.max_queued_messages = 10 * COUNT;
    driver_start(driver);
    peer_connect(&a, driver, 0, "a", kept_lasting);
    peer_subscribe(&a, "t", 2);
    driver_cut(a.conn);
    peer_connect(&p, driver, 0, "p", kept_lasting);
    for (uint16_t i = 0; i < COUNT; i++) {
        sprintf(body, "%u", i);
        peer_publish(&p, "t", body, 2, 1);
        peer_expect(&p, PUBACK);
    }
    unsigned next = 0;
    for (unsigned round = 0; next < COUNT; round++) {
        if (round < 3) {
            kept_crash(rig, 1 + round % 2, 0);
        }
        assert_true(peer_connect(&a, driver, 0, "a", kept_lasting));
        unsigned limit = round < 2 ? next + 400 : COUNT;
        while (next < limit && peer_take(&a, &reply)) {
            if (reply.type != PUBLISH) {
                continue;
            }
            sprintf(body, "%u", next);
            assert_true(tf_bytes_equal(reply.payload, tf_bytes_str(body)));
            peer_acknowledge(&a, PUBACK, reply.id);
            driver_run(driver);
            next++;
        }
        assert_int_equal(next, limit);
    }
    kept_stop(rig);
}

/* Publishes until the store says that it is full; how many were taken. */
static unsigned fill(struct driver *driver, struct client *p)
{
    struct reply reply;
    unsigned taken = 0;
    char *big = malloc(60001);
    memset(big, 'x', 60000);
    big[60000] = 0;
    for (uint16_t i = 1; driver->told != TF_STORE_FULL; i++) {
        peer_publish(p, "t", big, 2, i);
        driver_advance(driver, TF_SECOND);
        taken += peer_take(p, &reply);
        assert_true(i < 200);
    }
    free(big);
    driver_advance(driver, 10 * TF_SECOND);
    peer_publish(p, "t", "no", 2, 500);
    while (peer_take(p, &reply) && reply.id != 500) {
        taken++;
    }
    assert_int_equal(reply.reason, 0x97);
    return taken;
}

/* A store that is full takes nothing new; who is there already is served. */
static void test_full(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct client a, other, p;
    struct reply reply;
    peer_connect(&a, driver, 0, "a", kept_lasting);
    peer_subscribe(&a, "t", 2);
    driver_cut(a.conn);
    peer_connect(&p, driver, 0, "p", kept_lasting);
    rig->disk.space = 1; /* no segment more */
    unsigned taken = fill(driver, &p);
    peer_publish(&p, "t", "no", 4, 501);
    assert_int_equal(peer_expect(&p, PUBREC).reason, 0x97);
    assert_int_equal(peer_subscribe(&p, "new", 1), 0x97);
    peer_publish(&p, "nobody", "x", 2, 502);
    assert_int_equal(peer_expect(&p, PUBACK).reason, 0x10);
    peer_send_connect(&other, driver, 0, "new", kept_lasting);
    assert_int_equal(peer_expect(&other, CONNACK).reason, 0x97);
    peer_expect_end(&other, 0);
    peer_connect(&other, driver, 0, "old", (struct hello){.version = 4, .clean = true});
    peer_publish(&other, "t", "no", 2, 1);
    peer_expect_end(&other, 0); /* 3.1.1 has no other word for it */
    /* it is resumed, and what it settles makes room */
    assert_true(peer_connect(&a, driver, 0, "a", kept_lasting));
    unsigned got = 0;
    while (peer_take(&a, &reply)) {
        assert_int_equal(reply.type, PUBLISH);
        peer_acknowledge(&a, PUBACK, reply.id);
        got++;
    }
    assert_true(got >= taken);
    rig->disk.space = 0;
    driver_advance(driver, 10 * TF_SECOND);
    assert_int_equal(driver->told, TF_STORE_READY);
    assert_false(driver_front(driver, 0)->stale);
    peer_publish(&p, "t", "yes", 2, 503);
    assert_int_equal(peer_expect(&p, PUBACK).reason, 0);
    kept_crash(rig, 1, 0);
    assert_int_equal(driver->restored.sessions, 2);
    kept_stop(rig);
}

/* A store that is broken: what would have to be kept is refused, all else is served. */
static void test_broken(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct client a, other;
    peer_connect(&a, driver, 0, "a", kept_lasting);
    peer_subscribe(&a, "t", 2);
    driver_cut(a.conn);
    driver_run(driver);
    tf_store_break(driver->store);
    driver_run(driver);
    for (unsigned clean = 0; clean < 2; clean++) {
        struct hello hello = kept_lasting;
        hello.clean = clean;
        peer_send_connect(&a, driver, 0, "a", hello);
        assert_int_equal(peer_expect(&a, CONNACK).reason, 0x88);
        peer_expect_end(&a, 0);
        peer_send_connect(&a, driver, 0, "new", hello);
        assert_int_equal(peer_expect(&a, CONNACK).reason, 0x97);
        peer_expect_end(&a, 0);
    }
    peer_connect(&other, driver, 0, "other", (struct hello){.clean = true});
    peer_subscribe(&other, "passing", 1);
    peer_publish(&other, "t", "no", 2, 1);
    assert_int_equal(peer_expect(&other, PUBACK).reason, 0x97);
    peer_publish(&other, "passing", "x", 0, 0);
    assert_int_equal(peer_expect(&other, PUBLISH).type, PUBLISH);
    kept_crash(rig, 1, 0);
    assert_non_null(driver_session(driver, "a"));
    kept_stop(rig);
}

/* A session that changes while the store is full is recorded when it is not. */
static void test_stale(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct client a, p;
    peer_connect(&a, driver, 0, "a", (struct hello){.expiry = 1000});
    peer_subscribe(&a, "t", 2);
    peer_connect(&p, driver, 0, "p", kept_lasting);
    rig->disk.space = 1;
    fill(driver, &p);
    driver_cut(a.conn);
    driver_run(driver);
    assert_true(driver_front(driver, 0)->stale);
    driver_advance(driver, 400 * TF_SECOND);
    rig->disk.space = 0;
    driver_advance(driver, 10 * TF_SECOND);
    driver_run(driver);
    assert_false(driver_front(driver, 0)->stale);
    kept_crash(rig, 1, 0); /* away since 410 seconds */
    driver_advance(driver, 580 * TF_SECOND);
    assert_non_null(driver_session(driver, "a"));
    driver_advance(driver, 20 * TF_SECOND);
    assert_null(driver_session(driver, "a"));
    kept_stop(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_acknowledgements_wait),
        cmocka_unit_test(test_resumption_waits),
        cmocka_unit_test(test_late_answers_wait),
        cmocka_unit_test(test_in_flight),
        cmocka_unit_test(test_exactly_once_in),
        cmocka_unit_test(test_will),
        cmocka_unit_test(test_will_of_the_quick),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_expiry_of_the_attached),
        cmocka_unit_test(test_away_before_the_clock),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_expiry_zero),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_slack),
        cmocka_unit_test(test_long_queue),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
