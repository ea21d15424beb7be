/*
 * The client's machine: handshake, messages both ways, subscriptions, resumption, time. Each test
 * runs four ways; see client_rig.h.
 */
#include "client_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notation.h"

#define WAY(state) (*(enum rig_way *)*(state))

static void test_connect(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 4);
    rig.config.connect.has_user_name = rig.config.connect.has_password = true;
    rig.config.connect.user_name = tf_bytes_str("joe");
    rig.config.connect.password = tf_bytes_str("pw");
    rig.config.connect.has_will = true;
    rig.config.connect.will =
        (struct tf_mqtt_will){.topic = tf_bytes_str("w"), .payload = tf_bytes_str("bye"), .qos = 1};
    client_rig_connect(&rig);
    client_rig_expect_output(&rig, "10[<MQTT>04 ce 003c <me> <w> <bye> <joe> <pw>]");
    client_rig_send(&rig, "20[00 00]");
    client_rig_expect(&rig, "CONNECTED\n");
    tf_mqtt_client_disconnect(rig.client, 0);
    client_rig_expect_output(&rig, "e0[]");
    client_rig_expect_closing(&rig, 0);
    assert_int_equal(client_rig_publish(&rig, "a", "x", 0, 0, 0), TF_CLOSED);
    client_rig_release(&rig);

    struct tf_bytes own = notation_bytes("11 00000e10");
    client_rig_init(&rig, WAY(state), 5);
    rig.config.connect.properties = own;
    rig.config.max_packet_size = 1000;
    rig.config.receive_maximum = 7;
    rig.config.topic_alias_maximum = 3;
    client_rig_connect(&rig);
    client_rig_expect_output(&rig,
                             "10[<MQTT>05 02 003c [11 00000e10 27 000003e8 21 0007 22 0003] <me>]");
    client_rig_send(&rig, "20[00 00 [12 <auto> 13 0005]]");
    client_rig_expect(&rig, "CONNECTED as 'auto'\n");
    assert_int_equal(tf_mqtt_client_keep_alive(rig.client), 5);
    tf_mqtt_client_disconnect(rig.client, 4);
    client_rig_expect_output(&rig, "e0[04]");
    client_rig_release(&rig);
    free((void *)(uintptr_t)own.data);
}

static void test_refused(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 4);
    client_rig_connect(&rig);
    client_rig_send(&rig, "20[00 05]");
    client_rig_expect(&rig, "REFUSED 87\n");
    client_rig_expect_closing(&rig, 0x87);
    client_rig_release(&rig);

    client_rig_init(&rig, WAY(state), 5);
    client_rig_connect(&rig);
    client_rig_send(&rig, "20[00 89 []]");
    client_rig_expect(&rig, "REFUSED 89\n");
    client_rig_release(&rig);
}

static void test_publish(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 4);
    client_rig_connect(&rig);
    assert_int_equal(client_rig_publish(&rig, "a", "early", 0, 0, 0), TF_AGAIN);
    client_rig_release(&rig);

    client_rig_init(&rig, WAY(state), 4);
    client_rig_handshake(&rig);
    assert_int_equal(client_rig_publish(&rig, "a", "zero", 0, 0, 0), TF_OK);
    assert_int_equal(client_rig_publish(&rig, "a", "one", 1, 11, 0), TF_OK);
    assert_int_equal(client_rig_publish(&rig, "a", "two", 2, 22, 0), TF_OK);
    client_rig_expect_output(&rig, "30[<a>'zero'] 32[<a> 0001 'one'] 34[<a> 0002 'two']");
    client_rig_send(&rig, "40[0001] 50[0002]");
    client_rig_expect_output(&rig, "62[0002]"); /* without being asked */
    client_rig_send(&rig, "70[0002]");
    client_rig_expect(&rig, "SETTLED 11 00\nSETTLED 22 00\n");
    assert_int_equal(tf_mqtt_client_credit(rig.client), 20);
    client_rig_release(&rig);
}

static void test_limits_of_the_server(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    client_rig_connect(&rig);
    client_rig_drain(&rig);
    client_rig_send(&rig, "20[00 00 [21 0002 24 01 25 00 27 00000020 28 00 29 00 2a 00]]");
    client_rig_expect(&rig, "CONNECTED\n");
    rig.out_length = 0;
    assert_int_equal(client_rig_publish(&rig, "a", "x", 2, 1, 0), TF_UNSUPPORTED);
    struct tf_mqtt_delivery retained = {.topic = tf_bytes_str("a"), .retain = true};
    assert_int_equal(tf_mqtt_client_publish(rig.client, &retained, NULL), TF_UNSUPPORTED);
    assert_int_equal(
        client_rig_publish(&rig, "a", "more than thirty-two bytes altogether", 0, 0, 0), TF_LIMIT);
    assert_int_equal(client_rig_subscribe(&rig, "a/#", 0, 1), TF_UNSUPPORTED);
    assert_int_equal(client_rig_subscribe(&rig, "$share/g/a", 0, 1), TF_UNSUPPORTED);
    assert_int_equal(client_rig_subscribe(&rig, "a#", 0, 1), TF_MISUSE);
    struct tf_mqtt_subscription plain = {.filter = tf_bytes_str("a")};
    struct tf_bytes identifier = notation_bytes("0b 05");
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 1, &plain, 1, identifier),
                     TF_UNSUPPORTED);
    free((void *)(uintptr_t)identifier.data);
    assert_int_equal(client_rig_publish(&rig, "a", "x", 1, 1, 0), TF_OK);
    assert_int_equal(client_rig_publish(&rig, "a", "x", 1, 2, 0), TF_OK);
    assert_int_equal(client_rig_publish(&rig, "a", "x", 1, 3, 0), TF_AGAIN);
    /* A subscription needs no credit, and never has the id of a message. */
    assert_int_equal(client_rig_subscribe(&rig, "a", 1, 9), TF_OK);
    client_rig_expect_output(&rig, "32[<a> 0001 [] 'x'] 32[<a> 0002 [] 'x'] 82[0003 [] <a> 01]");
    client_rig_send(&rig, "90[0003 [] 01] 40[0002]");
    client_rig_expect(&rig, "SUBSCRIBED 9 01\nSETTLED 2 00\n");
    assert_int_equal(client_rig_publish(&rig, "a", "x", 1, 3, 0), TF_OK);
    client_rig_release(&rig);
}

static void test_subscribe(void **state)
{
    struct tf_mqtt_subscription many[2] = {
        {.filter = tf_bytes_str("a/+"), .qos = 1, .no_local = true, .retain_handling = 2},
        {.filter = tf_bytes_str("$share/g/b"), .qos = 2},
    };
    struct tf_bytes filters[2] = {tf_bytes_str("a/+"), tf_bytes_str("c")};
    struct tf_bytes identifier = notation_bytes("0b 05"), none = {0};
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    client_rig_handshake(&rig);
    assert_int_equal(client_rig_subscribe(&rig, "x", 0, 1), TF_OK);
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 2, many, 2, identifier), TF_OK);
    assert_int_equal(tf_mqtt_client_unsubscribe(rig.client, 3, filters, 2, none), TF_OK);
    client_rig_expect_output(&rig, "82[0001 [] <x> 00] 82[0002 [0b 05] <a/+> 25 <$share/g/b> 02]"
                                   "a2[0003 [] <a/+> <c>]");
    client_rig_send(&rig, "b0[0003 [] 00 11] 90[0001 [] 80] 90[0002 [] 01 02]");
    client_rig_expect(&rig, "UNSUBSCRIBED 3 00 11\nSUBSCRIBED 1 80\nSUBSCRIBED 2 01 02\n");
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 2, many, 0, none), TF_MISUSE);
    client_rig_release(&rig);

    client_rig_init(&rig, WAY(state), 4);
    client_rig_handshake(&rig);
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 2, many, 1, none), TF_AGAIN);
    assert_true(client_rig_pull(&rig)); /* NEEDS */
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 2, many, 1, none), TF_OK);
    assert_int_equal(tf_mqtt_client_unsubscribe(rig.client, 3, filters, 2, none), TF_OK);
    client_rig_expect_output(&rig, "82[0001 <a/+> 01] a2[0002 <a/+> <c>]");
    client_rig_send(&rig, "90[0001 01] b0[0002]");
    client_rig_expect(&rig, "SUBSCRIBED 2 01\nUNSUBSCRIBED 3\n");
    for (unsigned i = 0; i < TF_MQTT_CLIENT_REQUESTS; i++)
        assert_int_equal(client_rig_subscribe(&rig, "x", 0, 1), TF_OK);
    assert_int_equal(client_rig_subscribe(&rig, "x", 0, 1), TF_AGAIN);
    client_rig_release(&rig);
    free((void *)(uintptr_t)identifier.data);
}

static void test_receive(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    rig.config.topic_alias_maximum = 2;
    rig.config.body_run = 16;
    client_rig_handshake(&rig);
    client_rig_send(&rig, "30[<a> [0b 05 23 0001] 'zero'] 33[<> 0001 [23 0001] 'one']"
                          "34[<b> 0002 [] 'two comes in runs of a few bytes'] 62[0002]");
    client_rig_expect(&rig, "PUBLISH a q0 'zero'\nPUBLISH a q1 retain 'one'\n"
                            "PUBLISH b q2 'two comes in runs of a few bytes'\n");
    client_rig_expect_output(&rig, "40[0001] 50[0002] 70[0002]");
    rig.hold_ack = true;
    client_rig_send(&rig, "32[<a> 0003 [] 'x'] 34[<a> 0004 [] 'y']");
    assert_int_equal(tf_mqtt_client_ack(rig.client, 4, 0x87), TF_OK);
    client_rig_expect_output(&rig, "");
    assert_int_equal(tf_mqtt_client_ack(rig.client, 3, 0), TF_OK);
    assert_int_equal(tf_mqtt_client_ack(rig.client, 3, 0), TF_NOT_FOUND);
    client_rig_expect_output(&rig, "40[0003] 50[0004 87]");
    client_rig_release(&rig);
}

/* A session that is stored: each half of QoS 2 waits for the caller. */
static void test_stored(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    rig.config.stored = true;
    client_rig_handshake(&rig);
    assert_int_equal(client_rig_publish(&rig, "a", "two", 2, 22, 0), TF_OK);
    client_rig_send(&rig, "50[0001] 34[<a> 0007 []] 62[0007] 70[0001]");
    client_rig_expect(&rig, "RECEIVED 22\nPUBLISH a q2 ''\nRELEASED 7\nSETTLED 22 00\n");
    client_rig_expect_output(&rig, "34[<a> 0001 [] 'two'] 62[0001] 50[0007] 70[0007]");
    client_rig_release(&rig);
}

static void test_resumption(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    rig.config.connect.clean_start = false;
    client_rig_handshake(&rig);
    for (uint64_t handle = 1; handle <= 4; handle++)
        assert_int_equal(client_rig_publish(&rig, "t", "x", handle % 2 ? 1 : 2, handle, 0), TF_OK);
    assert_int_equal(client_rig_subscribe(&rig, "s", 1, 5), TF_OK);
    client_rig_send(&rig, "50[0004] 34[<in> 0001 [] 'once']");
    client_rig_disconnect(&rig);
    rig.log_length = rig.out_length = 0;

    client_rig_connect(&rig);
    client_rig_expect_output(&rig, "10[<MQTT>05 00 003c [] <me>]");
    client_rig_send(&rig, "20[01 00 []]");
    client_rig_expect(&rig, "CONNECTED present\nLOST 5\nRESEND 1\n");
    assert_int_equal(client_rig_publish(&rig, "new", "x", 0, 0, 0), TF_AGAIN);
    for (uint64_t handle = 1; handle <= 3; handle++)
        assert_int_equal(client_rig_publish(&rig, "t", "x", handle % 2 ? 1 : 2, handle, 0), TF_OK);
    client_rig_expect(&rig, ""); /* who knows the order need not be told */
    client_rig_expect_output(&rig, "3a[<t> 0001 [] 'x'] 3c[<t> 0002 [] 'x'] 3a[<t> 0003 [] 'x']"
                                   "62[0004]");
    client_rig_send(&rig, "70[0004] 3c[<in> 0001 [] 'once']");
    client_rig_expect(&rig, "SETTLED 4 00\n");
    client_rig_expect_output(&rig, "50[0001]");
    client_rig_disconnect(&rig);
    rig.log_length = rig.out_length = 0;

    /* The server has forgotten the session: so must the client (MQTT 5.0 3.2.2.1.1). */
    client_rig_connect(&rig);
    client_rig_send(&rig, "20[00 00 []]");
    client_rig_expect(&rig, "CONNECTED\nLOST 1\nLOST 2\nLOST 3\n");
    rig.out_length = 0;
    client_rig_send(&rig, "34[<in> 0001 [] 'new']");
    client_rig_expect(&rig, "PUBLISH in q2 'new'\n");
    assert_int_equal(client_rig_publish(&rig, "t", "x", 1, 9, 0), TF_OK);
    client_rig_release(&rig);
}

static void test_by_reference(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 4);
    rig.config.reference_from = 5;
    client_rig_handshake(&rig);
    assert_int_equal(client_rig_publish(&rig, "t", "0123456789", 0, 0, 7), TF_OK);
    client_rig_expect(&rig, "RETURNED 7\n");
    client_rig_expect_output(&rig, "30[<t> '0123456789']");
    assert_int_equal(client_rig_publish(&rig, "t", "0123456789", 1, 1, 8), TF_OK);
    client_rig_disconnect(&rig);
    client_rig_expect(&rig, "RETURNED 8\n");
    client_rig_release(&rig);
}

static void test_keep_alive(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 4);
    client_rig_connect(&rig);
    assert_int_equal(tf_mqtt_client_deadline(rig.client), rig.now + 10 * TF_SECOND);
    client_rig_drain(&rig);
    client_rig_send(&rig, "20[00 00]");
    rig.out_length = 0;
    assert_int_equal(tf_mqtt_client_deadline(rig.client), rig.now + 60 * TF_SECOND);
    rig.now += 50 * TF_SECOND; /* what is sent puts it off, if something is heard too */
    assert_int_equal(client_rig_publish(&rig, "a", "", 1, 1, 0), TF_OK);
    client_rig_expect_output(&rig, "32[<a> 0001]");
    client_rig_send(&rig, "40[0001]");
    tf_mqtt_client_tick(rig.client, rig.now);
    client_rig_expect_output(&rig, "");
    rig.now += 60 * TF_SECOND;
    assert_int_equal(tf_mqtt_client_deadline(rig.client), rig.now);
    tf_mqtt_client_tick(rig.client, rig.now);
    client_rig_expect_output(&rig, "c0[]");
    client_rig_send(&rig, "d0[]");
    assert_int_equal(tf_mqtt_client_deadline(rig.client), rig.now + 60 * TF_SECOND);
    rig.now += 60 * TF_SECOND;
    tf_mqtt_client_tick(rig.client, rig.now);
    assert_int_equal(tf_mqtt_client_deadline(rig.client), rig.now + 5 * TF_SECOND);
    rig.now += 5 * TF_SECOND;
    tf_mqtt_client_tick(rig.client, rig.now);
    client_rig_expect_closing(&rig, 0x8d);
    client_rig_expect_output(&rig, "c0[]");
    client_rig_release(&rig);

    client_rig_init(&rig, WAY(state), 5); /* no CONNACK */
    client_rig_connect(&rig);
    rig.now += 10 * TF_SECOND;
    tf_mqtt_client_tick(rig.client, rig.now);
    client_rig_expect_closing(&rig, 0x8d);
    client_rig_release(&rig);
}

/* What a server must not send. */
static void test_bad(void **state)
{
    static const struct {
        unsigned version;
        bool connected;
        const char *bad;
        const char *output;
        uint8_t reason;
    } rows[] = {
        {5, false, "30[<a> []]", "e0[82 [1f<PUBLISH: before CONNACK>]]", 0x82},
        {4, false, "30[<a>]", "", 0x82},
        {5, false, "20[01 00 []]", "e0[82 [1f<CONNACK: a session after a clean start>]]", 0x82},
        {5, true, "20[00 00 []]", "e0[82 [1f<CONNACK: a second one>]]", 0x82},
        {5, true, "10[<MQTT>05 02 003c [] <me>]", "e0[82 [1f<CONNECT: not for a server to send>]]",
         0x82},
        {5, true, "c0[]", "e0[82 [1f<PINGREQ: not for a server to send>]]", 0x82},
        {5, true, "f0[18 [15 <m>]]", "e0[82 [1f<AUTH: no authentication is under way>]]", 0x82},
        {5, true, "90[0001 [] 00]", "e0[82 [1f<SUBACK: unknown packet id>]]", 0x82},
        {5, true, "30[<a> [23 0001]]", "e0[94 [1f<PUBLISH: topic alias over the maximum>]]", 0x94},
        {5, true, "e0[00 [11 00000001]]", "e0[82 [1f<DISCONNECT: session expiry from a server>]]",
         0x82},
        {5, true, "30 ffffffff 01", "e0[81 [1f<PUBLISH: Malformed Packet>]]", 0x81},
        {4, true, "e0[]", "", 0x82},
        {4, true, "30[<+>]", "", 0x90},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct client_rig rig;

        client_rig_init(&rig, WAY(state), rows[i].version);
        if (rows[i].connected)
            client_rig_handshake(&rig);
        else
            client_rig_connect(&rig);
        client_rig_drain(&rig);
        rig.out_length = 0;
        client_rig_send(&rig, rows[i].bad);
        assert_int_equal(rig.err, TF_PROTOCOL);
        client_rig_expect_output(&rig, rows[i].output);
        client_rig_expect_closing(&rig, rows[i].reason);
        client_rig_expect(&rig, "");
        client_rig_release(&rig);
    }
}

static void test_more_codes_than_filters(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    client_rig_handshake(&rig);
    assert_int_equal(client_rig_subscribe(&rig, "a", 0, 1), TF_OK);
    client_rig_send(&rig, "90[0001 [] 00 00]");
    client_rig_expect_closing(&rig, 0x82);
    client_rig_release(&rig);
}

static void test_disconnected_by_server(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    client_rig_handshake(&rig);
    client_rig_send(&rig, "e0[8b []]");
    client_rig_expect(&rig, "DISCONNECT 8b\n");
    client_rig_expect_closing(&rig, 0x8b);
    client_rig_expect_output(&rig, "");
    client_rig_release(&rig);
}

/* All memory static, by the bounds of the header; nothing is ever asked for. */
static void test_static_memory(void **state)
{
    enum { IDS = 4, MESSAGES = 6, ALIASES = 3, BYTES = 64 };
    static uint64_t first[TF_MQTT_CLIENT_SIZE / 8];
    static uint64_t sent[TF_MQTT_SENT_SIZE(IDS + TF_MQTT_CLIENT_REQUESTS) / 8];
    static uint64_t received[TF_MQTT_RECEIVED_SIZE(MESSAGES) / 8];
    static uint64_t pending[TF_MQTT_PENDING_SIZE(MESSAGES) / 8];
    static uint64_t aliases[TF_MQTT_ALIASES_SIZE(ALIASES, BYTES) / 8];
    static uint8_t buffer[256];
    struct tf_mqtt_session session;
    struct tf_mqtt_client_config config = {
        .features = TF_MQTT_CLIENT_ALL,
        .connect = {.version = TF_MQTT_5, .clean_start = true},
        .session = &session,
        .max_packet_size = 256,
        .topic_alias_bytes = BYTES,
        .receive_maximum = MESSAGES,
        .topic_alias_maximum = ALIASES,
        .max_in_flight = IDS,
    };
    struct tf_mqtt_client_event event;
    struct tf_mqtt_client *client;
    struct tf_bytes bytes, none = {0};
    struct tf_mqtt_subscription subscription = {.filter = tf_bytes_str("x")};
    struct tf_mqtt_delivery delivery = {.topic = tf_bytes_str("t"), .qos = 2};
    unsigned messages = 0;
    void *old;

    (void)state;
    assert_in_range(tf_mqtt_client_size(&config), 1, TF_MQTT_CLIENT_SIZE);
    for (uint16_t ids = 1; ids < 32768; ids++) {
        assert_true(tf_mqtt_session_sent_size(ids) <= TF_MQTT_SENT_SIZE(ids));
        assert_true(tf_mqtt_session_received_size(ids) <= TF_MQTT_RECEIVED_SIZE(ids));
    }
    tf_mqtt_session_init(&session);
    assert_int_equal(tf_mqtt_session_give_sent(&session, sent, sizeof sent, &old), TF_OK);
    assert_int_equal(tf_mqtt_session_give_received(&session, received, sizeof received, &old),
                     TF_OK);
    assert_int_equal(tf_mqtt_client_init(&client, first, sizeof first, &config, 0), TF_OK);
    assert_int_equal(
        tf_mqtt_client_give(client, TF_MQTT_PART_PENDING, pending, sizeof pending, &old), TF_OK);
    assert_int_equal(
        tf_mqtt_client_give(client, TF_MQTT_PART_ALIASES, aliases, sizeof aliases, &old), TF_OK);
    assert_int_equal(tf_mqtt_client_lend(client, buffer, sizeof buffer), TF_OK);
    bytes = notation_bytes("20[00 00 []] 34[<twenty bytes, really> 0001 [23 0001]]"
                           "34[<twenty bytes, really> 0002 [23 0002]] 34[<a> 0003 [23 0003]]"
                           "34[<b> 0004 []] 34[<b> 0005 []] 32[<b> 0006 []]");
    for (size_t at = 0, used = 0, need; at < bytes.length; at += used) {
        assert_int_equal(tf_mqtt_client_input(client,
                                              tf_bytes_of(bytes.data + at, bytes.length - at),
                                              &used, &need, 0),
                         TF_OK);
        while (tf_mqtt_client_event(client, &event)) {
            assert_true(event.type == TF_MQTT_CLIENT_CONNECTED ||
                        event.type == TF_MQTT_CLIENT_PUBLISH);
            messages += event.type == TF_MQTT_CLIENT_PUBLISH;
        }
    }
    assert_int_equal(messages, MESSAGES);
    for (unsigned i = 0; i < IDS; i++)
        assert_int_equal(tf_mqtt_client_publish(client, &delivery, NULL), TF_OK);
    assert_int_equal(tf_mqtt_client_publish(client, &delivery, NULL), TF_AGAIN);
    for (unsigned i = 0; i < TF_MQTT_CLIENT_REQUESTS; i++)
        assert_int_equal(tf_mqtt_client_subscribe(client, i, &subscription, 1, none), TF_OK);
    assert_int_equal(tf_mqtt_client_subscribe(client, 9, &subscription, 1, none), TF_AGAIN);
    assert_false(tf_mqtt_client_event(client, &event)); /* no NEEDS */
    free((void *)(uintptr_t)bytes.data);
}

static void test_misuse(void **state)
{
    struct tf_mqtt_session session;
    struct tf_mqtt_client_config config = {
        .features = TF_MQTT_CLIENT_ALL,
        .connect = {.version = 3},
        .session = &session,
        .max_packet_size = 256,
        .receive_maximum = 1,
        .max_in_flight = 1,
    };
    struct tf_bytes method = notation_bytes("15 <m>");
    uint64_t memory[TF_MQTT_CLIENT_SIZE / 8], buffer[32];
    struct tf_mqtt_client *client = NULL;
    char long_id[300];

    (void)state;
    tf_mqtt_session_init(&session);
    assert_int_equal(tf_mqtt_client_init(&client, memory, sizeof memory, &config, 0), TF_MISUSE);
    config.connect.version = TF_MQTT_5;
    assert_int_equal(tf_mqtt_client_init(&client, memory, 8, &config, 0), TF_NO_MEMORY);
    config.connect.properties = method;
    assert_int_equal(tf_mqtt_client_init(&client, memory, sizeof memory, &config, 0),
                     TF_UNSUPPORTED);
    config.connect.properties.length = 0;
    memset(long_id, 'x', sizeof long_id);
    config.connect.client_id = tf_bytes_of(long_id, sizeof long_id);
    assert_int_equal(tf_mqtt_client_init(&client, memory, sizeof memory, &config, 0), TF_OK);
    assert_int_equal(tf_mqtt_client_lend(client, buffer, sizeof buffer), TF_NO_MEMORY);
    uint8_t larger[400];
    assert_int_equal(tf_mqtt_client_lend(client, larger, sizeof larger), TF_OK);
    free((void *)(uintptr_t)method.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(test_connect),
        RIG_TESTS(test_refused),
        RIG_TESTS(test_publish),
        RIG_TESTS(test_limits_of_the_server),
        RIG_TESTS(test_subscribe),
        RIG_TESTS(test_receive),
        RIG_TESTS(test_stored),
        RIG_TESTS(test_resumption),
        RIG_TESTS(test_by_reference),
        RIG_TESTS(test_keep_alive),
        RIG_TESTS(test_bad),
        RIG_TESTS(test_more_codes_than_filters),
        RIG_TESTS(test_disconnected_by_server),
        cmocka_unit_test(test_static_memory),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
