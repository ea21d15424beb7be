/*
 * Sessions of the MQTT front: CONNECT and homes, take-over, wills, expiry, keep-alive, draining.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/front_client.h"

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    driver_init(driver, shards);
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    driver_stop(driver);
    free(driver);
}

/* A client id whose home is that shard. */
static const char *id_at(struct driver *driver, unsigned shard, const char *stem)
{
    static char ids[8][32];
    static unsigned next;
    char *id = ids[next++ % 8];
    for (unsigned i = 0;; i++) {
        sprintf(id, "%s%u", stem, i);
        if (driver_home(driver, id) == shard) {
            return id;
        }
    }
}

static void test_connect_moves_home_with_its_bytes(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= 3; piece++) {
        for (unsigned home = 0; home < 3; home++) {
            struct driver *driver = start(3);
            struct client client;
            const char *id = id_at(driver, home, "c");
            peer_send_connect(&client, driver, 0, id, (struct hello){.clean = true});
            client.conn->read_most = piece == 3 ? SIZE_MAX : piece;
            /* all in one go: they must come along, and be answered in order */
            peer_send_subscribe(&client, 7, "a", 1, 0);
            peer_publish(&client, "a", "hello", 2, 9);
            peer_ping(&client);
            peer_expect(&client, CONNACK);
            assert_int_equal(driver->moves, home != 0);
            assert_int_equal(client.conn->shard, home);
            /* PINGRESP may overtake what other shards must answer */
            unsigned seen = 0;
            struct reply reply;
            while (peer_take(&client, &reply)) {
                seen |= 1u << reply.type;
            }
            assert_int_equal(seen, 1u << SUBACK | 1u << PUBACK | 1u << PUBLISH | 1u << PINGRESP);
            assert_int_equal(driver_front(driver, home)->front.counters.connected, 1);
            peer_disconnect(&client, 0);
            peer_expect_end(&client, 0);
            assert_null(driver_session(driver, id));
            stop(driver);
        }
    }
}

static void test_assigned_id_stays(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client client;
    for (unsigned shard = 0; shard < 3; shard++) {
        peer_send_connect(&client, driver, shard, "", (struct hello){.clean = true});
        struct reply reply = peer_expect(&client, CONNACK);
        assert_int_equal(reply.reason, 0);
        struct tf_bytes properties = {reply.body + 3, reply.length - 3};
        const uint8_t *id = reply_property(properties, 0x12); /* MQTT 5.0 3.2.2.3.7 */
        assert_non_null(id);
        assert_true((id[0] << 8 | id[1]) >= 8);
        assert_int_equal(client.conn->shard, shard);
    }
    assert_int_equal(driver->moves, 0);
    stop(driver);
}

static void test_session_present(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client client;
    struct hello keep = {.expiry = 100};
    assert_false(peer_connect(&client, driver, 0, "c", keep));
    assert_int_equal(peer_subscribe(&client, "a", 1), 1);
    driver_cut(client.conn);
    assert_true(peer_connect(&client, driver, 1, "c", keep));
    peer_publish(&client, "a", "still bound", 0, 0);
    peer_expect_publish(&client, "a", "still bound", 0);
    peer_disconnect(&client, 0);
    peer_expect_end(&client, 0);
    /* MQTT 5.0 3.1.2.4: Clean Start ends it */
    assert_false(peer_connect(&client, driver, 2, "c", (struct hello){.clean = true}));
    peer_publish(&client, "a", "bound no more", 0, 0);
    peer_ping(&client);
    peer_expect(&client, PINGRESP);
    /* 3.1.2.11.2: an interval of 0 ends with the connection */
    driver_cut(client.conn);
    assert_null(driver_session(driver, "c"));
    assert_false(peer_connect(&client, driver, 0, "c", keep));
    /* 3.14.2.2.2: DISCONNECT may change the interval */
    uint8_t shorter[] = {0, 5, 0x11, 0, 0, 0, 1};
    peer_send(&client, 0xE0, shorter, sizeof(shorter));
    peer_expect_end(&client, 0);
    driver_advance(driver, 3 * TF_SECOND);
    assert_null(driver_session(driver, "c"));
    stop(driver);
}

static void test_session_expiry(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client client;
    peer_connect(&client, driver, 0, "c", (struct hello){.expiry = 10});
    peer_subscribe(&client, "a/#", 1);
    driver_advance(driver, 20 * TF_SECOND); /* does not run while connected */
    assert_non_null(driver_session(driver, "c"));
    driver_cut(client.conn);
    driver_advance(driver, 9 * TF_SECOND);
    assert_non_null(driver_session(driver, "c"));
    driver_advance(driver, 2 * TF_SECOND);
    assert_null(driver_session(driver, "c"));
    unsigned home = driver_home(driver, "c");
    assert_int_equal(driver_front(driver, home)->front.counters.sessions_expired, 1);
    for (unsigned i = 0; i < 3; i++) { /* and its routes are gone everywhere */
        assert_int_equal(driver->nodes[i].shard.routes.route_count, 0);
    }
    /* 0xFFFFFFFF and 3.1.1 without clean session: for ever */
    peer_connect(&client, driver, 0, "d", (struct hello){.expiry = UINT32_MAX});
    driver_cut(client.conn);
    peer_connect(&client, driver, 0, "e", (struct hello){.version = 4});
    driver_cut(client.conn);
    driver_advance(driver, 1000000 * TF_SECOND);
    assert_non_null(driver_session(driver, "d"));
    assert_non_null(driver_session(driver, "e"));
    stop(driver);
}

static void test_take_over(void **state)
{
    (void)state;
    for (unsigned expiry = 0; expiry <= 100; expiry += 100) {
        struct driver *driver = start(3);
        struct client old, client, other;
        peer_connect(&other, driver, 2, "other", (struct hello){.clean = true});
        peer_subscribe(&other, "will/#", 0);
        peer_connect(&old, driver, 0, "c",
                     (struct hello){.expiry = expiry, .will_topic = "will/c", .will_body = "w"});
        peer_subscribe(&old, "a", 1);
        assert_int_equal(peer_connect(&client, driver, 1, "c", (struct hello){.expiry = expiry}),
                         expiry != 0);
        peer_expect_end(&old, 0x8E);
        /* MQTT 5.0 3.1.4-3 and 3.1.2.5: without a delay the will goes out */
        peer_expect_publish(&other, "will/c", "w", 0);
        peer_publish(&other, "a", "1", 2, 1);
        peer_expect(&other, PUBACK);
        if (expiry) {
            peer_expect_publish(&client, "a", "1", 2);
        }
        peer_expect_nothing(&client);
        peer_expect_nothing(&other);
        stop(driver);
    }
}

/* The old connection does not read, and has more to say; its session has gone to another one. */
static void test_take_over_of_blocked(void **state)
{
    (void)state;
    struct driver *driver = start(2);
    struct client old, client;
    char body[600];
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = 0;
    peer_connect(&old, driver, 0, "c", (struct hello){.expiry = 100, .receive_maximum = 100});
    peer_subscribe(&old, "a", 1);
    old.conn->window = 0;
    peer_connect(&client, driver, 1, "p", (struct hello){.clean = true});
    for (uint16_t i = 1; i <= 100; i++) {
        peer_publish(&client, "a", body, 2, i);
        driver_run(driver);
    }
    for (uint16_t i = 1; i <= 15; i++) { /* more than it may answer */
        peer_publish(&old, "b", body, 2, i);
        peer_send_subscribe(&old, (uint16_t)(100 + i), "a/b/c", 1, 0);
    }
    driver_run(driver);
    struct client again;
    assert_true(peer_connect(&again, driver, 0, "c",
                             (struct hello){.expiry = 100, .receive_maximum = 100}));
    peer_publish(&old, "b", body, 2, 200);
    peer_acknowledge(&old, PUBACK, 1);
    driver_run(driver);
    driver_window(old.conn, 1000);
    driver_run(driver);
    driver_window(old.conn, SIZE_MAX);
    driver_run(driver);
    assert_true(old.conn->ended);
    struct reply reply;
    unsigned count = 0;
    while (peer_take(&again, &reply)) { /* all hundred, again where they were sent before */
        count += reply.type == PUBLISH;
        peer_acknowledge(&again, PUBACK, reply.id);
    }
    assert_int_equal(count, 100);
    assert_int_equal(driver_session(driver, "c")->queue.count, 0);
    stop(driver);
}

static void will_client(struct client *client, struct driver *driver, struct hello hello)
{
    hello.will_topic = "will/c";
    hello.will_body = "w";
    peer_connect(client, driver, 0, "c", hello);
}

static void test_will_rules(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client client, other;
    peer_connect(&other, driver, 1, "other", (struct hello){.clean = true});
    peer_subscribe(&other, "will/#", 2);
    /* 3.14.4-3: a normal goodbye discards it */
    will_client(&client, driver, (struct hello){.clean = true});
    peer_disconnect(&client, 0);
    peer_expect_end(&client, 0);
    peer_expect_nothing(&other);
    /* 0x04 does not */
    will_client(&client, driver, (struct hello){.clean = true});
    peer_disconnect(&client, 4);
    peer_expect_end(&client, 0);
    peer_expect_publish(&other, "will/c", "w", 2);
    peer_acknowledge(&other, PUBACK, 1);
    /* a lost transport does not; the session is kept, the will goes out once */
    will_client(&client, driver, (struct hello){.expiry = 5});
    driver_cut(client.conn);
    peer_acknowledge(&other, PUBACK, peer_expect_publish(&other, "will/c", "w", 2));
    driver_advance(driver, 10 * TF_SECOND);
    peer_expect_nothing(&other);
    /* 3.1.3.2.2: the delay */
    will_client(&client, driver, (struct hello){.expiry = 60, .will_delay = 20});
    driver_cut(client.conn);
    driver_advance(driver, 19 * TF_SECOND);
    peer_expect_nothing(&other);
    driver_advance(driver, 2 * TF_SECOND);
    peer_acknowledge(&other, PUBACK, peer_expect_publish(&other, "will/c", "w", 2));
    /* a return within the delay: none */
    driver_advance(driver, 100 * TF_SECOND);
    will_client(&client, driver, (struct hello){.expiry = 60, .will_delay = 20});
    driver_cut(client.conn);
    driver_advance(driver, 10 * TF_SECOND);
    assert_true(peer_connect(&client, driver, 0, "c", (struct hello){.expiry = 60}));
    driver_cut(client.conn);
    driver_advance(driver, 30 * TF_SECOND);
    peer_expect_nothing(&other);
    /* the session ends before the delay does */
    will_client(&client, driver, (struct hello){.clean = true, .expiry = 5, .will_delay = 20});
    driver_cut(client.conn);
    driver_advance(driver, 4 * TF_SECOND);
    peer_expect_nothing(&other);
    driver_advance(driver, 2 * TF_SECOND);
    peer_acknowledge(&other, PUBACK, peer_expect_publish(&other, "will/c", "w", 2));
    /* an interval of 0 ends at once, delay or not */
    will_client(&client, driver, (struct hello){.clean = true, .will_delay = 20});
    driver_cut(client.conn);
    peer_acknowledge(&other, PUBACK, peer_expect_publish(&other, "will/c", "w", 2));
    /* taken over within its delay, and resumed: none; with Clean Start the session ends: sent */
    will_client(&client, driver, (struct hello){.expiry = 60, .will_delay = 20});
    struct client again;
    will_client(&again, driver, (struct hello){.expiry = 60, .will_delay = 20});
    peer_expect_end(&client, 0x8E);
    peer_expect_nothing(&other);
    assert_false(peer_connect(&client, driver, 0, "c", (struct hello){.clean = true}));
    peer_acknowledge(&other, PUBACK, peer_expect_publish(&other, "will/c", "w", 2));
    peer_expect_nothing(&other);
    stop(driver);
}

/* A CONNECT that never succeeded leaves no will, and no session where there was none. */
static void test_will_of_refused_connection(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct client client, other;
    peer_connect(&other, driver, 0, "other", (struct hello){.clean = true});
    peer_subscribe(&other, "#", 0);
    peer_send_connect(&client, driver, 0, "c",
                      (struct hello){.clean = true,
                                     .max_packet = 5, /* CONNACK is longer */
                                     .will_topic = "will/c",
                                     .will_body = "w"});
    peer_expect_end(&client, 0);
    peer_expect_nothing(&other);
    assert_null(driver_session(driver, "c"));
    peer_send_connect(&client, driver, 0, "c",
                      (struct hello){.clean = true, .will_topic = "$SYS/x", .will_body = "w"});
    assert_int_equal(peer_expect(&client, CONNACK).reason, 0x90);
    peer_expect_end(&client, 0);
    peer_expect_nothing(&other);
    stop(driver);
}

static void test_retained_will_with_expiry(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client client, other;
    will_client(&client, driver,
                (struct hello){.clean = true, .will_retain = true, .will_expiry = 10});
    driver_advance(driver, 60 * TF_SECOND); /* runs from its publication, not from CONNECT */
    driver_cut(client.conn);
    driver_advance(driver, 3500 * TF_MILLISECOND);
    peer_connect(&other, driver, 1, "other", (struct hello){.clean = true});
    peer_subscribe(&other, "will/c", 0);
    struct reply reply = peer_expect(&other, PUBLISH);
    assert_true(reply.retain);
    const uint8_t *left = reply_property(reply.properties, 0x02);
    assert_non_null(left);
    assert_in_range(left[3], 6, 7);
    driver_advance(driver, 7 * TF_SECOND);
    peer_connect(&client, driver, 2, "late", (struct hello){.clean = true});
    peer_subscribe(&client, "will/c", 0);
    peer_expect_nothing(&client);
    stop(driver);
}

static void test_keep_alive(void **state)
{
    (void)state;
    struct driver *driver = start(2);
    struct client client;
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true, .keep_alive = 10});
    driver_advance(driver, 14 * TF_SECOND);
    peer_ping(&client);
    peer_expect(&client, PINGRESP);
    driver_advance(driver, 14 * TF_SECOND);
    assert_false(client.conn->ended);
    driver_advance(driver, 2 * TF_SECOND);
    peer_expect_end(&client, 0x8D); /* MQTT 5.0 3.1.2.10: one and a half times */
    assert_null(driver_session(driver, "c"));
    /* no CONNECT at all */
    struct driver_conn *silent = driver_open(driver, 0);
    driver_advance(driver, driver->config.connect_timeout_s * TF_SECOND - TF_SECOND);
    assert_false(silent->ended);
    driver_advance(driver, 2 * TF_SECOND);
    assert_true(silent->ended);
    stop(driver);
}

static void test_drain(void **state)
{
    (void)state;
    struct driver *driver = start(2);
    struct client clients[4];
    struct driver_conn *silent = driver_open(driver, 0);
    for (unsigned i = 0; i < 4; i++) {
        char id[8];
        sprintf(id, "c%u", i);
        peer_connect(
            &clients[i], driver, i % 2, id,
            (struct hello){
                .version = i == 3 ? 4 : 5, .expiry = 10, .will_topic = "will", .will_body = "w"});
    }
    for (unsigned i = 0; i < 2; i++) {
        driver->nodes[i].front->ops->drain(driver->nodes[i].front);
    }
    for (unsigned i = 0; i < 3; i++) {
        peer_expect_end(&clients[i], 0x8B);
    }
    peer_expect_end(&clients[3], 0); /* 3.1.1 has no such packet */
    assert_true(silent->ended);
    assert_true(driver_open(driver, 0)->ended);
    stop(driver);
}

static void test_counters(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct client client;
    const struct tf_front_counters *counters = &driver_front(driver, 0)->front.counters;
    peer_connect(&client, driver, 0, "c", (struct hello){.expiry = 10});
    peer_subscribe(&client, "a", 0);
    peer_subscribe(&client, "a", 1); /* the same one */
    peer_subscribe(&client, "b", 0);
    assert_int_equal(counters->subscriptions, 2);
    peer_publish(&client, "a", "12345", 0, 0);
    peer_expect_publish(&client, "a", "12345", 0);
    assert_int_equal(counters->publish_received, 1);
    assert_int_equal(counters->publish_bytes_received, 5);
    assert_int_equal(counters->publish_sent, 1);
    assert_int_equal(counters->packets_received, 5); /* CONNECT, 3 SUBSCRIBE, PUBLISH */
    assert_int_equal(counters->packets_sent, 5);     /* CONNACK, 3 SUBACK, PUBLISH */
    assert_int_equal(counters->bytes_sent, client.conn->out_length);
    assert_int_equal(counters->connected, 1);
    uint8_t unsubscribe[] = {0, 1, 0, 0, 1, 'a'};
    peer_send(&client, 0xA2, unsubscribe, sizeof(unsubscribe));
    assert_int_equal(peer_expect(&client, UNSUBACK).body[3], 0);
    peer_send(&client, 0xA2, unsubscribe, sizeof(unsubscribe));
    assert_int_equal(peer_expect(&client, UNSUBACK).body[3], 0x11);
    assert_int_equal(counters->subscriptions, 1);
    driver_cut(client.conn);
    assert_int_equal(counters->connected, 0);
    assert_int_equal(counters->sessions, 1);
    driver_advance(driver, 11 * TF_SECOND);
    assert_int_equal(counters->sessions, 0);
    assert_int_equal(counters->subscriptions, 0);
    stop(driver);
}

/* What is full is full for new sessions only. */
static void test_limit_of_sessions(void **state)
{
    (void)state;
    struct driver *driver = malloc(sizeof(*driver));
    struct client client, other;
    driver_init(driver, 1);
    driver->config.max_sessions = 1;
    driver_start(driver);
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true, .expiry = 10});
    peer_send_connect(&other, driver, 0, "d", (struct hello){.clean = true});
    assert_int_equal(peer_expect(&other, CONNACK).reason, 0x97);
    peer_expect_end(&other, 0);
    assert_true(peer_connect(&other, driver, 0, "c", (struct hello){.expiry = 10}));
    peer_expect_end(&client, 0x8E);
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_moves_home_with_its_bytes),
        cmocka_unit_test(test_assigned_id_stays),
        cmocka_unit_test(test_session_present),
        cmocka_unit_test(test_session_expiry),
        cmocka_unit_test(test_take_over),
        cmocka_unit_test(test_take_over_of_blocked),
        cmocka_unit_test(test_will_rules),
        cmocka_unit_test(test_will_of_refused_connection),
        cmocka_unit_test(test_retained_will_with_expiry),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_limit_of_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
