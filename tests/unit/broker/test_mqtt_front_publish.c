/*
 * Messages through the MQTT front: QoS and reconnects, credit, large bodies, slow readers, limits.
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

static char *text_of(size_t length, char filler)
{
    char *text = malloc(length + 1);
    memset(text, filler, length);
    text[length] = 0;
    return text;
}

static void test_qos_and_overlapping(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct client publisher, receiver;
        peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
        peer_connect(&receiver, driver, 0, "r", (struct hello){.clean = true});
        peer_subscribe(&receiver, "a/+", 1);
        peer_send_subscribe(&receiver, 2, "a/b", 2, 5);
        peer_expect(&receiver, SUBACK);
        peer_send_subscribe(&receiver, 3, "#", 0, 7);
        peer_expect(&receiver, SUBACK);
        peer_publish(&publisher, "a/b", "x", 4, 10);
        assert_int_equal(peer_expect(&publisher, PUBREC).id, 10);
        peer_acknowledge(&publisher, PUBREL, 10);
        assert_int_equal(peer_expect(&publisher, PUBCOMP).id, 10);
        struct reply reply = peer_expect(&receiver, PUBLISH); /* MQTT 5.0 3.3.4: one */
        assert_int_equal(reply.qos, 2);
        assert_int_equal(reply.properties.length, 4);
        assert_int_equal(reply.properties.data[1] + reply.properties.data[3], 12);
        peer_acknowledge(&receiver, PUBREC, reply.id);
        assert_int_equal(peer_expect(&receiver, PUBREL).id, reply.id);
        peer_acknowledge(&receiver, PUBCOMP, reply.id);
        peer_publish(&publisher, "c", "y", 2, 11);
        assert_int_equal(peer_expect(&publisher, PUBACK).reason, 0);
        peer_expect(&receiver, PUBLISH);
        peer_publish(&publisher, "$c", "y", 2, 12); /* nobody: 4.7.2, and 0x10 */
        assert_int_equal(peer_expect(&publisher, PUBACK).reason, 0x10);
        peer_expect_nothing(&receiver);
        stop(driver);
    }
}

/* Deliveries that were not settled come again, in order, with DUP; then what was queued. */
static void test_resend(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client publisher, receiver;
    struct hello hello = {.expiry = 100, .receive_maximum = 4};
    char body[16];
    uint16_t ids[4];
    peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
    peer_connect(&receiver, driver, 1, "r", hello);
    peer_subscribe(&receiver, "a", 2);
    for (uint16_t i = 0; i < 8; i++) {
        sprintf(body, "%u", i);
        peer_publish(&publisher, "a", body, i % 2 ? 4 : 2, (uint16_t)(i + 1));
        peer_expect(&publisher, i % 2 ? PUBREC : PUBACK);
    }
    for (unsigned i = 0; i < 4; i++) { /* Receive Maximum: no more than four */
        sprintf(body, "%u", i);
        ids[i] = peer_expect_publish(&receiver, "a", body, i % 2 ? 4 : 2);
    }
    peer_expect_nothing(&receiver);
    peer_acknowledge(&receiver, PUBREC, ids[1]); /* released, but not completed */
    assert_int_equal(peer_expect(&receiver, PUBREL).id, ids[1]);
    peer_acknowledge(&receiver, PUBACK, ids[2]); /* makes room for one */
    uint16_t fifth = peer_expect_publish(&receiver, "a", "4", 2);
    driver_cut(receiver.conn);
    assert_true(peer_connect(&receiver, driver, 2, "r", hello));
    /* MQTT 5.0 4.4: PUBLISH with DUP and the same id, and PUBREL, in the order of before */
    assert_int_equal(peer_expect_publish(&receiver, "a", "0", 2 | 8), ids[0]);
    assert_int_equal(peer_expect(&receiver, PUBREL).id, ids[1]);
    assert_int_equal(peer_expect_publish(&receiver, "a", "3", 4 | 8), ids[3]);
    assert_int_equal(peer_expect_publish(&receiver, "a", "4", 2 | 8), fifth);
    peer_expect_nothing(&receiver);
    /* a smaller Receive Maximum holds for what is sent again as well */
    driver_cut(receiver.conn);
    hello.receive_maximum = 1;
    assert_true(peer_connect(&receiver, driver, 2, "r", hello));
    assert_int_equal(peer_expect_publish(&receiver, "a", "0", 2 | 8), ids[0]);
    peer_acknowledge(&receiver, PUBACK, ids[0]);
    struct reply reply;
    unsigned in_flight = 0;
    unsigned published = 1;
    unsigned last = 0;
    while (peer_take(&receiver, &reply)) {
        if (reply.type == PUBLISH) {
            in_flight++;
            assert_int_equal(in_flight, 1);
            unsigned number = (unsigned)(reply.payload.data[0] - '0');
            assert_true(number > last);
            last = number;
            published++;
            peer_acknowledge(&receiver, reply.qos == 1 ? PUBACK : PUBREC, reply.id);
            in_flight -= reply.qos == 1;
        } else {
            assert_int_equal(reply.type, PUBREL);
            peer_acknowledge(&receiver, PUBCOMP, reply.id);
            in_flight -= reply.id != ids[1] || in_flight;
        }
    }
    assert_int_equal(published, 6); /* 0, 3, 4, 5, 6, 7 */
    assert_int_equal(last, 7);
    assert_int_equal(driver_session(driver, "r")->queue.count, 0);
    stop(driver);
}

/*
 * After a resumption a client answers a QoS 2 message that the Receive Maximum has kept from being
 * sent again: it is done then, and must not go out as a new one.
 */
static void test_received_before_resent(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct client publisher, receiver;
    struct hello hello = {.expiry = 100, .receive_maximum = 3};
    const char *bodies[] = {"0", "1", "2"};
    uint16_t ids[3];
    peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
    peer_connect(&receiver, driver, 0, "r", hello);
    peer_subscribe(&receiver, "a", 2);
    for (unsigned i = 0; i < 3; i++) {
        peer_publish(&publisher, "a", bodies[i], 4, (uint16_t)(i + 1));
        peer_expect(&publisher, PUBREC);
        ids[i] = peer_expect_publish(&receiver, "a", bodies[i], 4);
    }
    driver_cut(receiver.conn);
    hello.receive_maximum = 2;
    assert_true(peer_connect(&receiver, driver, 0, "r", hello));
    assert_int_equal(peer_expect_publish(&receiver, "a", "0", 4 | 8), ids[0]);
    assert_int_equal(peer_expect_publish(&receiver, "a", "1", 4 | 8), ids[1]);
    peer_expect_nothing(&receiver);
    const unsigned order[] = {2, 0, 1};
    for (unsigned i = 0; i < 3; i++) {
        peer_acknowledge(&receiver, PUBREC, ids[order[i]]);
        assert_int_equal(peer_expect(&receiver, PUBREL).id, ids[order[i]]);
    }
    for (unsigned i = 0; i < 3; i++) {
        peer_acknowledge(&receiver, PUBCOMP, ids[i]);
        peer_expect_nothing(&receiver);
    }
    assert_int_equal(driver_session(driver, "r")->queue.count, 0);
    /* so does one that the resumption has yet to get to: it goes on with PUBREL, in its turn */
    hello.receive_maximum = 3;
    driver_cut(receiver.conn);
    assert_true(peer_connect(&receiver, driver, 0, "r", hello));
    for (unsigned i = 0; i < 3; i++) {
        peer_publish(&publisher, "a", bodies[i], 4, (uint16_t)(i + 11));
        peer_expect(&publisher, PUBREC);
        ids[i] = peer_expect_publish(&receiver, "a", bodies[i], 4);
    }
    driver_cut(receiver.conn);
    hello.receive_maximum = 1;
    assert_true(peer_connect(&receiver, driver, 0, "r", hello));
    assert_int_equal(peer_expect_publish(&receiver, "a", "0", 4 | 8), ids[0]);
    peer_acknowledge(&receiver, PUBREC, ids[2]);
    peer_expect_nothing(&receiver);
    for (unsigned i = 0; i < 2; i++) {
        peer_acknowledge(&receiver, PUBREC, ids[i]);
        assert_int_equal(peer_expect(&receiver, PUBREL).id, ids[i]);
        peer_acknowledge(&receiver, PUBCOMP, ids[i]);
        if (i == 0) {
            assert_int_equal(peer_expect_publish(&receiver, "a", "1", 4 | 8), ids[1]);
            assert_int_equal(peer_expect(&receiver, PUBREL).id, ids[2]);
        }
    }
    peer_acknowledge(&receiver, PUBCOMP, ids[2]);
    peer_expect_nothing(&receiver);
    assert_int_equal(driver_session(driver, "r")->queue.count, 0);
    stop(driver);
}

/* What is acknowledged before it could be sent again is done with, and so is what follows it. */
static void test_acknowledged_while_resend_waits(void **state)
{
    (void)state;
    struct driver *driver = malloc(sizeof(*driver));
    struct client publisher, receiver;
    struct hello hello = {.expiry = 100, .receive_maximum = 100};
    char *body = text_of(900, 'x');
    driver_init(driver, 1);
    driver->config.max_inflight_messages = 100;
    driver_start(driver);
    peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
    peer_connect(&receiver, driver, 0, "r", hello);
    peer_subscribe(&receiver, "a", 1);
    for (uint16_t i = 1; i <= 40; i++) {
        peer_publish(&publisher, "a", body, 2, i);
        peer_expect(&publisher, PUBACK);
        assert_int_equal(peer_expect_publish(&receiver, "a", body, 2), i);
    }
    driver_cut(receiver.conn);
    peer_send_connect(&receiver, driver, 0, "r", hello);
    receiver.conn->window = 0; /* some 16 KB are sent again, the others wait for room */
    driver_run(driver);
    const struct mqtt_conn *conn = driver_session(driver, "r")->conn;
    assert_non_null(conn->resending);
    for (uint16_t i = 40; i >= 1; i--) {
        peer_acknowledge(&receiver, PUBACK, i);
        driver_run(driver);
    }
    assert_null(conn->resending);
    assert_int_equal(driver_session(driver, "r")->queue.count, 0);
    driver_window(receiver.conn, SIZE_MAX);
    peer_expect(&receiver, CONNACK);
    struct reply reply;
    unsigned count = 0;
    while (peer_take(&receiver, &reply)) {
        count++;
    }
    assert_in_range(count, 10, 39);
    peer_publish(&publisher, "a", "next", 2, 50);
    peer_expect(&receiver, PUBLISH);
    free(body);
    stop(driver);
}

/* A QoS 2 PUBLISH that is sent again, on this connection or the next, is taken once. */
static void test_inbound_qos2_duplicates(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct client publisher, receiver;
        struct hello keep = {.expiry = 100};
        char id[16] =
            "r"; /* of another home, so that the publisher's tickets are open for a while */
        for (unsigned i = 0; shards > 1 && driver_home(driver, id) == driver_home(driver, "p");
             i++) {
            sprintf(id, "r%u", i);
        }
        peer_connect(&receiver, driver, 0, id, (struct hello){.clean = true});
        peer_subscribe(&receiver, "a", 0);
        peer_connect(&publisher, driver, 0, "p", keep);
        peer_publish(&publisher, "a", "x", 4, 1);
        peer_publish(&publisher, "a", "x", 4 | 8, 1);
        peer_expect(&publisher, PUBREC);
        peer_expect(&publisher, PUBREC);
        peer_expect_publish(&receiver, "a", "x", 0);
        driver_cut(publisher.conn);
        assert_true(peer_connect(&publisher, driver, 0, "p", keep));
        peer_publish(&publisher, "a", "x", 4 | 8, 1);
        peer_expect(&publisher, PUBREC);
        peer_expect_nothing(&receiver);
        peer_acknowledge(&publisher, PUBREL, 1);
        peer_expect(&publisher, PUBCOMP);
        /* a PUBREL that comes again has nothing to release: 0x92 */
        peer_acknowledge(&publisher, PUBREL, 1);
        assert_int_equal(peer_expect(&publisher, PUBCOMP).reason, 0x92);
        peer_publish(&publisher, "a", "y", 4, 1); /* the id is free again */
        peer_expect(&publisher, PUBREC);
        peer_expect_publish(&receiver, "a", "y", 0);
        /* cut while its ticket is open: accepted, so the next attempt is a duplicate */
        peer_publish(&publisher, "a", "z", 4, 2);
        driver_turn(driver, publisher.conn->shard);
        driver_cut(publisher.conn);
        driver_run(driver);
        peer_expect_publish(&receiver, "a", "z", 0);
        assert_true(peer_connect(&publisher, driver, 0, "p", keep));
        peer_publish(&publisher, "a", "z", 4 | 8, 2);
        peer_expect(&publisher, PUBREC);
        peer_expect_nothing(&receiver);
        stop(driver);
    }
}

/* Ours: the client may send so many, and no more (0x93). */
static void test_inbound_receive_maximum(void **state)
{
    (void)state;
    struct driver *driver = malloc(sizeof(*driver));
    driver_init(driver, 1);
    driver->config.max_inflight_messages = 3;
    driver_start(driver);
    struct client client;
    peer_send_connect(&client, driver, 0, "c", (struct hello){.clean = true});
    struct reply reply = peer_expect(&client, CONNACK);
    struct tf_bytes properties = {reply.body + 3, reply.length - 3};
    const uint8_t *maximum = reply_property(properties, 0x21);
    assert_non_null(maximum);
    assert_int_equal(maximum[1], 3);
    for (uint16_t i = 1; i <= 3; i++) {
        peer_publish(&client, "a", "x", 4, i);
        peer_expect(&client, PUBREC);
    }
    peer_publish(&client, "a", "x", 4, 4);
    peer_expect_end(&client, 0x93);
    stop(driver);
}

static void test_large_bodies(void **state)
{
    (void)state;
    static const size_t lengths[] = {1023, 1024, 5000, 65536, 70000, 300000};
    static const size_t pieces[] = {SIZE_MAX, 1000, 65536 + 9};
    for (size_t l = 0; l < TF_COUNT(lengths); l++) {
        char *body = text_of(lengths[l], 'x');
        for (size_t i = 0; i < lengths[l]; i++) {
            body[i] = (char)('a' + i % 23);
        }
        for (size_t p = 0; p < TF_COUNT(pieces); p++) {
            struct driver *driver = start(3);
            struct client publisher, receivers[3];
            peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
            for (unsigned i = 0; i < 3; i++) {
                char id[8];
                sprintf(id, "r%u", i);
                peer_connect(&receivers[i], driver, i, id, (struct hello){.clean = true});
                peer_subscribe(&receivers[i], "a", i);
                receivers[i].conn->write_most = pieces[p];
            }
            publisher.conn->read_most = pieces[p];
            peer_publish(&publisher, "a", body, 2, 1);
            peer_publish(&publisher, "a", "after", 2, 2);
            peer_expect(&publisher, PUBACK);
            peer_expect(&publisher, PUBACK);
            for (unsigned i = 0; i < 3; i++) {
                peer_expect_publish(&receivers[i], "a", body, i ? 2 : 0);
                peer_expect_publish(&receivers[i], "a", "after", i ? 2 : 0);
            }
            stop(driver);
        }
        free(body);
    }
}

/* A head that comes alone, and a publisher that is lost in the middle of a body. */
static void test_half_a_body(void **state)
{
    (void)state;
    struct driver *driver = start(2);
    struct client publisher, receiver;
    char *body = text_of(100000, 'x');
    peer_connect(&receiver, driver, 0, "r", (struct hello){.clean = true});
    peer_subscribe(&receiver, "a", 0);
    peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
    publisher.conn->read_most = 4 + 3 + 1; /* the head, with no byte of the body */
    peer_publish(&publisher, "a", body, 0, 0);
    driver_turn(driver, publisher.conn->shard);
    publisher.conn->read_most = SIZE_MAX;
    peer_expect_publish(&receiver, "a", body, 0);
    publisher.conn->read_most = 50000;
    peer_publish(&publisher, "a", body, 0, 0);
    driver_turn(driver, publisher.conn->shard);
    driver_cut(publisher.conn);
    peer_expect_nothing(&receiver);
    /* over the limit for bodies: read and forgotten, and said so */
    driver->config.message_size_limit = 90000;
    peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
    peer_publish(&publisher, "a", body, 2, 5);
    assert_int_equal(peer_expect(&publisher, PUBACK).reason, 0x97);
    peer_expect_nothing(&receiver);
    peer_ping(&publisher);
    peer_expect(&publisher, PINGRESP);
    free(body);
    stop(driver);
}

/* Writes a number at the start of a text, which stays as long. */
static void number_text(char *text, unsigned number)
{
    char digits[16];
    memcpy(text, digits, (size_t)sprintf(digits, "%06u", number));
}

/* A receiver that reads slowly, or not at all, loses QoS 0 by its queue's limit and nothing else.
 */
static void test_slow_reader(void **state)
{
    (void)state;
    for (size_t length = 100; length <= 2000; length += 1900) {
        struct driver *driver = malloc(sizeof(*driver));
        struct client publisher, slow, fast;
        driver_init(driver, 2);
        driver->config.max_queued_messages = 50;
        driver_start(driver);
        char *body = text_of(length, 'x');
        peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
        peer_connect(&slow, driver, 0, "s", (struct hello){.clean = true});
        peer_connect(&fast, driver, 1, "f", (struct hello){.clean = true});
        peer_subscribe(&slow, "a", 0);
        peer_subscribe(&fast, "a", 0);
        slow.conn->window = 100;
        for (unsigned i = 0; i < 1000; i++) {
            number_text(body, i);
            peer_publish(&publisher, "a", body, 0, 0);
            driver_run(driver);
        }
        assert_int_equal(driver_session(driver, "s")->queue.count, 50);
        for (unsigned i = 0; i < 1000; i++) {
            number_text(body, i);
            peer_expect_publish(&fast, "a", body, 0);
        }
        driver_window(slow.conn, 333);
        driver_run(driver);
        driver_window(slow.conn, SIZE_MAX);
        struct reply reply;
        unsigned count = 0;
        int last = -1;
        while (peer_take(&slow, &reply)) { /* in order, to the end of what was kept */
            char digits[9] = "";           /* what a body begins with; the rest is padding */
            assert_true(reply.payload.length >= sizeof(digits) - 1);
            memcpy(digits, reply.payload.data, sizeof(digits) - 1);
            int number = atoi(digits);
            assert_true(number > last);
            last = number;
            count++;
        }
        assert_in_range(count, 51, 900);
        peer_publish(&publisher, "a", "end", 0, 0);
        peer_expect_publish(&slow, "a", "end", 0);
        free(body);
        stop(driver);
    }
}

/* Answers that find no room make the publisher wait; they come when it reads. */
static void test_slow_publisher(void **state)
{
    (void)state;
    struct driver *driver = start(2);
    struct client client;
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true});
    client.conn->window = 0;
    for (uint16_t i = 0; i < 6000; i++) {
        peer_ping(&client);
        peer_send_subscribe(&client, (uint16_t)(i + 1), "a/b/c", 0, 0);
    }
    client.conn->read_most = 5000;
    driver_run(driver);
    assert_true(client.conn->stream->paused);
    assert_true(client.conn->in_length > 0); /* what it sends is not read on */
    driver_window(client.conn, SIZE_MAX);
    unsigned pings = 0;
    unsigned subscribes = 0;
    struct reply reply;
    while (peer_take(&client, &reply)) {
        pings += reply.type == PINGRESP;
        if (reply.type == SUBACK) {
            assert_int_equal(reply.id, ++subscribes);
        }
    }
    assert_int_equal(pings, 6000);
    assert_int_equal(subscribes, 6000);
    assert_false(client.conn->stream->paused);
    stop(driver);
}

/* Likewise with nothing but PINGREQ, which takes no turn of its own. */
static void test_stops_reading(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct client client;
    struct reply reply;
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true});
    client.conn->window = 0;
    client.conn->read_most = 1000;
    for (unsigned i = 0; i < 20000; i++) {
        peer_ping(&client);
    }
    driver_run(driver);
    assert_true(client.conn->stream->paused);
    assert_true(client.conn->in_length > 10000);
    driver_window(client.conn, SIZE_MAX);
    unsigned pings = 0;
    while (peer_take(&client, &reply)) {
        pings += reply.type == PINGRESP;
    }
    assert_int_equal(pings, 20000);
    stop(driver);
}

/* SUBACK and UNSUBACK larger than the buffer that a connection is lent, with output before them. */
static void test_answers_larger_than_the_buffer(void **state)
{
    (void)state;
    enum { FILTERS = 20000 };
    for (unsigned before = 0; before < 2; before++) {
        struct driver *driver = malloc(sizeof(*driver));
        struct client client;
        driver_init(driver, 2);
        driver->config.max_subscriptions = FILTERS;
        driver_start(driver);
        uint8_t *body = malloc(3 + FILTERS * 12);
        peer_connect(&client, driver, 0, "c", (struct hello){.clean = true});
        size_t length = 3;
        memset(body, 0, 3);
        body[1] = 9;
        for (unsigned i = 0; i < FILTERS; i++) {
            size_t size = (size_t)sprintf((char *)body + length + 2, "f/%u", i % 100);
            body[length] = 0;
            body[length + 1] = (uint8_t)size;
            body[length + 2 + size] = 1;
            length += 3 + size;
        }
        if (before) {
            peer_ping(&client);
        }
        peer_send(&client, 0x82, body, length);
        if (before) {
            peer_expect(&client, PINGRESP);
        }
        struct reply reply = peer_expect(&client, SUBACK);
        assert_int_equal(reply.length, 3 + FILTERS);
        for (size_t i = 3; i < reply.length; i++) {
            assert_int_equal(reply.body[i], 1);
        }
        assert_int_equal(driver_session(driver, "c")->queue.binding_count, 100);
        length = 3;
        for (unsigned i = 0; i < FILTERS; i++) {
            size_t size = (size_t)sprintf((char *)body + length + 2, "f/%u", i % 100);
            body[length] = 0;
            body[length + 1] = (uint8_t)size;
            length += 2 + size;
        }
        if (before) {
            peer_ping(&client);
        }
        peer_send(&client, 0xA2, body, length);
        if (before) {
            peer_expect(&client, PINGRESP);
        }
        reply = peer_expect(&client, UNSUBACK);
        assert_int_equal(reply.length, 3 + FILTERS);
        assert_int_equal(reply.body[3], 0);
        assert_int_equal(reply.body[3 + FILTERS - 1], 0x11);
        assert_int_equal(driver_session(driver, "c")->queue.binding_count, 0);
        free(body);
        stop(driver);
    }
}

static void test_long_topic(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client publisher, receiver;
    char *topic = text_of(65535, 't');
    peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
    peer_connect(&receiver, driver, 1, "r", (struct hello){.expiry = 10});
    peer_subscribe(&receiver, "#", 1);
    assert_int_equal(peer_subscribe(&receiver, topic, 1), 1);
    for (unsigned flags = 0; flags <= 3; flags++) {
        peer_publish(&publisher, topic, "x", flags, 3);
        if (flags & 2) {
            assert_int_equal(peer_expect(&publisher, PUBACK).reason, 0);
        }
        uint16_t id = peer_expect_publish(&receiver, topic, "x", flags & 2);
        if (flags & 2) {
            peer_acknowledge(&receiver, PUBACK, id);
        }
    }
    driver_run(driver);
    driver_cut(receiver.conn);
    peer_publish(&publisher, topic, "y", 2, 4);
    peer_expect(&publisher, PUBACK);
    assert_true(peer_connect(&receiver, driver, 2, "r", (struct hello){.expiry = 10}));
    peer_expect_publish(&receiver, topic, "y", 2);
    free(topic);
    stop(driver);
}

static void test_topic_alias(void **state)
{
    (void)state;
    struct driver *driver = start(2);
    struct client client;
    static const char alias[] = {0x23, 0, 3};
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true});
    peer_subscribe(&client, "a/b", 1);
    peer_publish_with(&client, "a/b", tf_bytes_str("1"), 0, 0, alias, sizeof(alias));
    struct reply reply = peer_expect(&client, PUBLISH);
    assert_int_equal(reply.properties.length, 0); /* of one hop: MQTT 5.0 3.3.2.3.4 */
    peer_publish_with(&client, "", tf_bytes_str("2"), 2, 1, alias, sizeof(alias));
    bool published = false;
    bool acknowledged = false;
    while (peer_take(&client, &reply)) {
        acknowledged |= reply.type == PUBACK && reply.id == 1;
        if (reply.type == PUBLISH) {
            published = true;
            assert_true(tf_bytes_equal(reply.topic, tf_bytes_str("a/b")));
            assert_true(tf_bytes_equal(reply.payload, tf_bytes_str("2")));
        }
    }
    assert_true(published && acknowledged);
    static const char unknown[] = {0x23, 0, 4};
    peer_publish_with(&client, "", tf_bytes_str("2"), 0, 0, unknown, sizeof(unknown));
    peer_expect_end(&client, 0x82);
    stop(driver);
}

static void test_message_expiry_and_properties(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client publisher, receiver;
    static const char properties[] = {0x01, 1,                /* payload format */
                                      0x02, 0,    0, 0,   10, /* expires in 10 s */
                                      0x26, 0,    1, 'k', 0,   1,    'v', 0x03, 0,  1,
                                      't',  0x08, 0, 1,   'r', 0x09, 0,   1,    'c'};
    peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
    peer_connect(&receiver, driver, 1, "r", (struct hello){.expiry = 100});
    peer_subscribe(&receiver, "a", 1);
    driver_cut(receiver.conn);
    for (uint16_t i = 1; i <= 2; i++) {
        peer_publish_with(&publisher, "a", tf_bytes_str("x"), 2, i, properties, sizeof(properties));
        peer_expect(&publisher, PUBACK);
        driver_advance(driver, 6500 * TF_MILLISECOND);
    }
    assert_true(peer_connect(&receiver, driver, 2, "r", (struct hello){.expiry = 100}));
    struct reply reply = peer_expect(&receiver, PUBLISH); /* the first has expired */
    const uint8_t *left = reply_property(reply.properties, 0x02);
    assert_non_null(left);
    assert_int_equal(left[3], 4); /* of 3.5 seconds the last one counts as begun */
    assert_int_equal(reply_property(reply.properties, 0x01)[0], 1);
    assert_memory_equal(reply_property(reply.properties, 0x26), "\0\1k\0\1v", 6);
    assert_memory_equal(reply_property(reply.properties, 0x03), "\0\1t", 3);
    assert_memory_equal(reply_property(reply.properties, 0x08), "\0\1r", 3);
    assert_memory_equal(reply_property(reply.properties, 0x09), "\0\1c", 3);
    peer_expect_nothing(&receiver);
    stop(driver);
}

/* More than its Maximum Packet Size: the client does not get it, and what follows comes. */
static void test_maximum_packet_size(void **state)
{
    (void)state;
    struct driver *driver = start(2);
    struct client client;
    char *body = text_of(500, 'x');
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true, .max_packet = 200});
    peer_subscribe(&client, "a", 1);
    for (unsigned qos = 0; qos < 2; qos++) {
        peer_publish(&client, "a", body, qos << 1, 1);
        peer_publish(&client, "a", "small", qos << 1, 2);
        unsigned publishes = 0;
        struct reply reply;
        while (peer_take(&client, &reply)) {
            publishes += reply.type == PUBLISH;
        }
        assert_int_equal(publishes, 1);
    }
    free(body);
    stop(driver);
}

static void test_retained(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client publisher, receiver;
    char name[32];
    peer_connect(&publisher, driver, 0, "p", (struct hello){.clean = true});
    for (uint16_t i = 0; i < 200; i++) {
        sprintf(name, "r/%u", i);
        peer_publish(&publisher, name, name, 2 | 1, (uint16_t)(i + 1));
        peer_expect(&publisher, PUBACK);
    }
    /* all of them, by credit and pages, also into a queue smaller than what there is */
    driver->config.max_queued_messages = 5;
    for (unsigned i = 0; i < 3; i++) {
        driver->nodes[i].front->ops->reload(driver->nodes[i].front, &driver->config);
    }
    for (unsigned qos = 0; qos < 2; qos++) {
        peer_connect(&receiver, driver, 1, "r", (struct hello){.clean = true});
        assert_int_equal(peer_subscribe(&receiver, "r/#", qos), qos);
        struct reply reply;
        unsigned count = 0;
        while (peer_take(&receiver, &reply)) {
            assert_true(reply.retain);
            count++;
            if (reply.qos) {
                peer_acknowledge(&receiver, PUBACK, reply.id);
            }
        }
        assert_int_equal(count, 200);
        driver_cut(receiver.conn);
    }
    /* MQTT 5.0 3.3.1-6, and Retain Handling (3.8.3.1) */
    peer_connect(&receiver, driver, 1, "r", (struct hello){.clean = true});
    peer_publish(&publisher, "r/7", "", 1, 0);
    peer_subscribe(&receiver, "r/7", 0);
    peer_expect_nothing(&receiver);
    peer_subscribe(&receiver, "r/8", 2 << 4); /* never */
    peer_expect_nothing(&receiver);
    peer_subscribe(&receiver, "r/8", 1 << 4); /* only if new */
    peer_expect_nothing(&receiver);
    peer_subscribe(&receiver, "r/8", 0); /* always */
    peer_expect_publish(&receiver, "r/8", "r/8", 1);
    peer_subscribe(&receiver, "r/9", 1 << 4);
    peer_expect_publish(&receiver, "r/9", "r/9", 1);
    stop(driver);
}

/* So many subscriptions a session, those under way counted; 0x97 for what is over (3.9.3). */
static void test_subscription_limit(void **state)
{
    (void)state;
    struct driver *driver = malloc(sizeof(*driver));
    struct client client;
    char filter[16];
    driver_init(driver, 2);
    driver->config.max_subscriptions = 3;
    driver_start(driver);
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true});
    for (unsigned i = 0; i < 5; i++) {
        sprintf(filter, "f/%u", i);
        assert_int_equal(peer_subscribe(&client, filter, 1), i < 3 ? 1 : 0x97);
    }
    assert_int_equal(peer_subscribe(&client, "f/1", 2), 2); /* in place of the former */
    uint8_t four[] = {0, 9, 0, 0, 1, 'a', 0, 0, 1, 'b', 0, 0, 1, 'c', 0, 0, 1, 'd', 0};
    driver_cut(client.conn);
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true});
    peer_send(&client, 0x82, four, sizeof(four));
    struct reply reply = peer_expect(&client, SUBACK);
    assert_memory_equal(reply.body + 3, "\0\0\0\x97", 4);
    assert_int_equal(driver_session(driver, "c")->queue.binding_count, 3);
    stop(driver);
}

static void test_no_local(void **state)
{
    (void)state;
    struct driver *driver = start(2);
    struct client one, two;
    peer_connect(&one, driver, 0, "one", (struct hello){.clean = true});
    peer_connect(&two, driver, 1, "two", (struct hello){.clean = true});
    peer_subscribe(&one, "a", 4);
    peer_subscribe(&two, "a", 4);
    peer_publish(&one, "a", "from one", 0, 0);
    peer_expect_publish(&two, "a", "from one", 0);
    peer_expect_nothing(&one);
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qos_and_overlapping),
        cmocka_unit_test(test_resend),
        cmocka_unit_test(test_received_before_resent),
        cmocka_unit_test(test_acknowledged_while_resend_waits),
        cmocka_unit_test(test_inbound_qos2_duplicates),
        cmocka_unit_test(test_inbound_receive_maximum),
        cmocka_unit_test(test_large_bodies),
        cmocka_unit_test(test_half_a_body),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_slow_publisher),
        cmocka_unit_test(test_stops_reading),
        cmocka_unit_test(test_answers_larger_than_the_buffer),
        cmocka_unit_test(test_long_topic),
        cmocka_unit_test(test_topic_alias),
        cmocka_unit_test(test_message_expiry_and_properties),
        cmocka_unit_test(test_maximum_packet_size),
        cmocka_unit_test(test_retained),
        cmocka_unit_test(test_subscription_limit),
        cmocka_unit_test(test_no_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
