/*
 * The bench's client against a broker made by hand: greeting, handshakes of QoS 0 to 2 for 3.1.1
 * and 5.0, whole input and one byte at a time, and what it says when it is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/bench_mqtt.h"

#include <trefoil/mqtt_packet.h>
#include <trefoil/mqtt_property.h>

struct fixture {
    struct tf_bench_config config;
    struct tf_bench_world world;
    struct tf_bench_client publisher;
    struct tf_bench_client subscriber;
    struct tf_bench_histogram latency;
    uint32_t seen;
};

static void on_arrived(void *context, uint32_t publisher)
{
    struct fixture *fixture = context;
    assert_int_equal(publisher, 0);
    fixture->seen++;
}

static void setup(struct fixture *fixture, uint8_t version, uint8_t qos, bool bare)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->config = (struct tf_bench_config){.version = version,
                                               .qos = qos,
                                               .bare = bare,
                                               .publishers = 1,
                                               .subscribers = 1,
                                               .topics = 1,
                                               .window = 2,
                                               .size = 20};
    fixture->world.config = &fixture->config;
    fixture->world.run = 0x1234;
    fixture->world.context = fixture;
    fixture->world.arrived = on_arrived;
    fixture->world.latency_us = &fixture->latency;
    fixture->publisher.role = TF_BENCH_PUBLISHER;
    fixture->subscriber.role = TF_BENCH_SUBSCRIBER;
    assert_true(tf_bench_ledger_init(&fixture->world.ledger, 1, 1, 1, 2));
    assert_int_equal(tf_bench_mqtt_greet(&fixture->world, &fixture->publisher, 0), TF_OK);
    assert_int_equal(tf_bench_mqtt_greet(&fixture->world, &fixture->subscriber, 0), TF_OK);
}

static void teardown(struct fixture *fixture)
{
    tf_bench_client_release(&fixture->publisher);
    tf_bench_client_release(&fixture->subscriber);
    tf_bench_ledger_release(&fixture->world.ledger);
}

/* Takes all output, which stays valid until the client's next. */
static struct tf_bytes take(struct tf_bench_client *client)
{
    struct tf_bytes out =
        tf_bytes_of(client->out.data + client->out.start, client->out.end - client->out.start);
    client->out.start = client->out.end = 0;
    return out;
}

static void feed(struct fixture *fixture, struct tf_bench_client *client, struct tf_bytes in)
{
    size_t used = 0;
    assert_int_equal(tf_bench_mqtt_input(&fixture->world, client, in, &used, 1500), TF_OK);
    assert_int_equal(used, in.length);
}

/* As a connection does that keeps what was not used. */
static void feed_bytewise(struct fixture *fixture, struct tf_bench_client *client,
                          struct tf_bytes in)
{
    size_t start = 0;
    for (size_t end = 1; end <= in.length; end++) {
        size_t used = 0;
        struct tf_bytes part = tf_bytes_of(in.data + start, end - start);
        assert_int_equal(tf_bench_mqtt_input(&fixture->world, client, part, &used, 1500), TF_OK);
        start += used;
    }
    assert_int_equal(start, in.length);
}

static struct tf_mqtt_frame frame_of(struct tf_bytes in)
{
    struct tf_mqtt_frame frame;
    size_t need;
    uint8_t reason;
    assert_int_equal(tf_mqtt_frame_read(in, 1000, &frame, &need, &reason), TF_OK);
    return frame;
}

static void connack(struct fixture *fixture, struct tf_bench_client *client)
{
    static const uint8_t v4[] = {0x20, 2, 0, 0};
    static const uint8_t v5[] = {0x20, 6, 0, 0, 3, 0x21, 0, 1}; /* Receive Maximum 1 */
    if (fixture->config.version == TF_MQTT_5)
        feed_bytewise(fixture, client, tf_bytes_of(v5, sizeof v5));
    else
        feed_bytewise(fixture, client, tf_bytes_of(v4, sizeof v4));
}

static void make_ready(struct fixture *fixture)
{
    struct tf_mqtt_connect connect;
    uint8_t reason;
    struct tf_mqtt_frame frame = frame_of(take(&fixture->publisher));
    assert_int_equal(tf_mqtt_connect_read(&frame, &connect, &reason), TF_OK);
    assert_int_equal(connect.version, fixture->config.version);
    assert_true(connect.clean_start);
    take(&fixture->subscriber);
    connack(fixture, &fixture->publisher);
    assert_int_equal(fixture->publisher.state, TF_BENCH_READY);
    assert_int_equal(take(&fixture->publisher).length, 0);
    connack(fixture, &fixture->subscriber);
    assert_int_equal(fixture->subscriber.state, TF_BENCH_SUBSCRIBING);
    struct tf_mqtt_subscribe subscribe;
    struct tf_mqtt_subscription subscription;
    size_t offset = 0;
    frame = frame_of(take(&fixture->subscriber));
    assert_int_equal(tf_mqtt_subscribe_read(&frame, fixture->config.version, &subscribe, &reason),
                     TF_OK);
    assert_true(tf_mqtt_subscription_next(subscribe.payload, &offset, &subscription));
    assert_memory_equal(subscription.filter.data, "bench/1234/0", 12);
    assert_int_equal(subscription.qos, fixture->config.qos);
    uint8_t packet[6];
    struct tf_mqtt_suback suback = {.type = TF_MQTT_SUBACK,
                                    .packet_id = subscribe.packet_id,
                                    .reasons = tf_bytes_of(&fixture->config.qos, 1)};
    struct tf_writer writer = tf_writer_of(packet, sizeof packet);
    tf_mqtt_suback_write(&writer, &suback, fixture->config.version);
    assert_false(writer.failed);
    feed_bytewise(fixture, &fixture->subscriber, tf_bytes_of(packet, tf_writer_length(&writer)));
    assert_int_equal(fixture->subscriber.state, TF_BENCH_READY);
}

static void expect_ack(const struct fixture *fixture, struct tf_bench_client *client, uint8_t type,
                       uint16_t packet_id)
{
    struct tf_mqtt_ack ack;
    uint8_t reason;
    struct tf_bytes out = take(client);
    struct tf_mqtt_frame frame = frame_of(out);
    assert_int_equal(frame.length, out.length);
    assert_int_equal(frame.type, type);
    assert_int_equal(tf_mqtt_ack_read(&frame, fixture->config.version, &ack, &reason), TF_OK);
    assert_int_equal(ack.packet_id, packet_id);
}

static void give_ack(struct fixture *fixture, struct tf_bench_client *client, uint8_t first,
                     uint8_t packet_id)
{
    const uint8_t packet[] = {first, 2, 0, packet_id};
    feed_bytewise(fixture, client, tf_bytes_of(packet, sizeof packet));
}

/* One message from end to end, with the broker's half of each handshake by hand. */
static void pass_one(struct fixture *fixture, uint32_t number)
{
    uint8_t qos = fixture->config.qos;
    uint16_t id = qos ? (uint16_t)(number + 1) : 0;
    assert_true(tf_bench_mqtt_open(&fixture->world, &fixture->publisher));
    assert_int_equal(tf_bench_mqtt_publish(&fixture->world, &fixture->publisher, 1000), TF_OK);
    struct tf_bytes out = take(&fixture->publisher);
    struct tf_mqtt_frame frame = frame_of(out);
    struct tf_mqtt_publish publish;
    uint8_t reason;
    assert_int_equal(frame.length, out.length);
    assert_int_equal(tf_mqtt_publish_read(&frame, fixture->config.version, &publish, &reason),
                     TF_OK);
    assert_int_equal(publish.qos, qos);
    assert_int_equal(publish.packet_id, id);
    assert_int_equal(publish.payload.length, fixture->config.size);
    feed_bytewise(fixture, &fixture->subscriber, out);
    assert_int_equal(fixture->seen, number + 1);
    if (qos == 1) {
        expect_ack(fixture, &fixture->subscriber, TF_MQTT_PUBACK, id);
        give_ack(fixture, &fixture->publisher, 0x40, (uint8_t)id);
    } else if (qos == 2) {
        expect_ack(fixture, &fixture->subscriber, TF_MQTT_PUBREC, id);
        give_ack(fixture, &fixture->subscriber, 0x62, (uint8_t)id);
        expect_ack(fixture, &fixture->subscriber, TF_MQTT_PUBCOMP, id);
        give_ack(fixture, &fixture->publisher, 0x50, (uint8_t)id);
        expect_ack(fixture, &fixture->publisher, TF_MQTT_PUBREL, id);
        assert_int_equal(fixture->publisher.unacked, 1);
        give_ack(fixture, &fixture->publisher, 0x70, (uint8_t)id);
    }
    assert_int_equal(fixture->publisher.unacked, 0);
}

static void test_all_handshakes(void **state)
{
    (void)state;
    for (uint8_t version = TF_MQTT_3_1_1; version <= TF_MQTT_5; version++) {
        for (uint8_t qos = 0; qos <= 2; qos++) {
            struct fixture fixture;
            setup(&fixture, version, qos, false);
            make_ready(&fixture);
            for (uint32_t number = 0; number < 5; number++)
                pass_one(&fixture, number);
            assert_int_equal(fixture.latency.total, 5);
            assert_int_equal(fixture.latency.max, 500);
            assert_int_equal(fixture.world.ledger.late + fixture.world.ledger.duplicates, 0);
            teardown(&fixture);
        }
    }
}

static void test_receive_maximum(void **state)
{
    (void)state;
    struct fixture fixture;
    setup(&fixture, TF_MQTT_5, 1, false);
    make_ready(&fixture);
    assert_int_equal(tf_bench_mqtt_publish(&fixture.world, &fixture.publisher, 1000), TF_OK);
    assert_true(tf_bench_ledger_open(&fixture.world.ledger, 0));
    assert_false(tf_bench_mqtt_open(&fixture.world, &fixture.publisher));
    give_ack(&fixture, &fixture.publisher, 0x40, 1);
    assert_true(tf_bench_mqtt_open(&fixture.world, &fixture.publisher));
    teardown(&fixture);
}

static void test_bare_forwarder(void **state)
{
    (void)state;
    struct fixture fixture;
    setup(&fixture, TF_MQTT_3_1_1, 0, true);
    struct tf_bytes hello = take(&fixture.publisher);
    assert_int_equal(hello.length, 9);
    assert_memory_equal(hello.data, "pub 0 36\n", 9);
    hello = take(&fixture.subscriber);
    assert_memory_equal(hello.data, "sub 0\n", 6);
    feed_bytewise(&fixture, &fixture.publisher, tf_bytes_str("ok\n"));
    feed(&fixture, &fixture.subscriber, tf_bytes_str("ok\n"));
    pass_one(&fixture, 0);
    teardown(&fixture);
}

/* It gives publishers back what they asked for, always the same packet id. */
static void test_bare_forwarder_acknowledges(void **state)
{
    (void)state;
    struct fixture fixture;
    setup(&fixture, TF_MQTT_3_1_1, 1, true);
    struct tf_bytes hello = take(&fixture.publisher);
    assert_int_equal(hello.length, 18);
    assert_memory_equal(hello.data, "pub 0 38 40020001\n", 18);
    take(&fixture.subscriber);
    feed(&fixture, &fixture.publisher, tf_bytes_str("ok\n"));
    feed(&fixture, &fixture.subscriber, tf_bytes_str("ok\n"));
    for (int i = 0; i < 2; i++)
        assert_int_equal(tf_bench_mqtt_publish(&fixture.world, &fixture.publisher, 1000), TF_OK);
    assert_int_equal(fixture.publisher.unacked, 2);
    give_ack(&fixture, &fixture.publisher, 0x40, 1);
    give_ack(&fixture, &fixture.publisher, 0x40, 1);
    assert_int_equal(fixture.publisher.unacked, 0);
    teardown(&fixture);
}

/* A durable run: the subscriber's session lasts, the publisher has nothing to keep. */
static void test_a_session_that_lasts(void **state)
{
    (void)state;
    for (uint8_t version = 4; version <= 5; version++) {
        struct fixture fixture;
        struct tf_mqtt_connect connect;
        struct tf_mqtt_frame frame;
        uint8_t reason;
        setup(&fixture, version, 1, false);
        take(&fixture.subscriber);
        take(&fixture.publisher);
        tf_bench_client_release(&fixture.publisher);
        tf_bench_client_release(&fixture.subscriber);
        fixture.publisher = (struct tf_bench_client){.role = TF_BENCH_PUBLISHER};
        fixture.subscriber = (struct tf_bench_client){.role = TF_BENCH_SUBSCRIBER};
        fixture.config.durable = true;
        assert_int_equal(tf_bench_mqtt_greet(&fixture.world, &fixture.publisher, 0), TF_OK);
        assert_int_equal(tf_bench_mqtt_greet(&fixture.world, &fixture.subscriber, 0), TF_OK);
        frame = frame_of(take(&fixture.publisher));
        assert_int_equal(tf_mqtt_connect_read(&frame, &connect, &reason), TF_OK);
        assert_true(connect.clean_start);
        frame = frame_of(take(&fixture.subscriber));
        assert_int_equal(tf_mqtt_connect_read(&frame, &connect, &reason), TF_OK);
        assert_false(connect.clean_start);
        assert_int_equal(tf_mqtt_property_number(connect.properties, TF_MQTT_SESSION_EXPIRY, 0),
                         version == TF_MQTT_5 ? 60 : 0);
        teardown(&fixture);
    }
}

/* Each of these ends the run with a reason. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        uint8_t packet[8];
        size_t length;
        const char *why;
    } rows[] = {
        {{0x20, 2, 0, 5}, 4, "connection refused: 0x05"},
        {{0x20, 2, 0, 0, 0x20, 2, 0, 0}, 8, "CONNACK out of place: 0x82"},
        {{0x20, 2, 0, 0, 0x40, 2, 0, 1}, 8, "acknowledgement of nothing: 0x92"},
        {{0x90, 3, 0, 1, 0}, 5, "SUBACK out of place: 0x82"},
        {{0xC0, 0}, 2, "a packet that a server must not send: 0x82"},
        {{0x00, 0}, 2, "bad packet: 0x81"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture fixture;
        size_t used;
        setup(&fixture, TF_MQTT_3_1_1, 1, false);
        assert_int_equal(tf_bench_mqtt_input(&fixture.world, &fixture.publisher,
                                             tf_bytes_of(rows[i].packet, rows[i].length), &used, 0),
                         TF_PROTOCOL);
        assert_memory_equal(fixture.world.why, rows[i].why, strlen(rows[i].why));
        teardown(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_handshakes),
        cmocka_unit_test(test_receive_maximum),
        cmocka_unit_test(test_bare_forwarder),
        cmocka_unit_test(test_bare_forwarder_acknowledges),
        cmocka_unit_test(test_a_session_that_lasts),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
