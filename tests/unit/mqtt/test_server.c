/*
 * The server's machine: handshake, messages in, subscriptions, limits, time. Each test runs four
 * ways; see server_rig.h.
 */
#include "server_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notation.h"

#define WAY(state) (*(enum rig_way *)*(state))

static void test_connect_311(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    assert_int_equal(tf_mqtt_server_version(rig.server), 0);
    rig_send(&rig, "10[<MQTT>04 c6 000a <me><w><bye><joe><pw>]");
    assert_int_equal(rig.err, TF_OK);
    rig_expect(&rig, "CONNECT 4 'me' clean keep 10 expiry 0 user 'joe' will 'w'\n");
    rig_expect_output(&rig, "20[00 00]");
    assert_int_equal(tf_mqtt_server_version(rig.server), 4);
    rig_send(&rig, "c0[] e0[]");
    rig_expect(&rig, "DISCONNECT 00 expiry 0\n");
    rig_expect_output(&rig, "d0[]");
    rig_expect_closing(&rig, 0);
    rig_release(&rig);
}

static void test_connect_5(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig.session_present = true;
    rig_send(&rig, "10[<MQTT>05 00 003c [11 00000e10] <me>]");
    rig_expect(&rig, "CONNECT 5 'me' keep 60 expiry 3600\n");
    /* receive maximum 20, maximum packet size 1 MiB, topic alias maximum 10 */
    rig_expect_output(&rig, "20[01 00 [21 0014 27 00100000 22 000a]]");
    rig_send(&rig, "e0[04 [11 00000005]]");
    rig_expect(&rig, "DISCONNECT 04 expiry 5\n");
    rig_release(&rig);
}

static void test_connack_tells(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_disconnect(&rig);
    rig.log_length = 0;
    rig.config.maximum_qos = 1;
    rig.config.retain_available = false;
    rig.config.shared_available = false;
    rig.config.topic_alias_maximum = 0;
    rig.config.receive_maximum = 65535;
    rig.config.max_keep_alive_s = 30;
    rig.assigned = "auto-1";
    rig.expiry_s = 7;
    rig_connect_again(&rig);
    rig_send(&rig, "10[<MQTT>05 02 003c [11 ffffffff] <>]");
    rig_expect_output(&rig,
                      "20[00 00 [11 00000007 24 01 25 00 27 00100000 12<auto-1> 2a 00 13 001e]]");
    assert_int_equal(tf_mqtt_server_deadline(rig.server), rig.now + 45 * TF_SECOND);
    rig_release(&rig);
}

static void test_refuse(void **state)
{
    static const struct {
        unsigned version;
        uint8_t reason;
        const char *output;
    } rows[] = {
        {5, 0x87, "20[00 87 [1f <Not authorized>]]"},
        {4, 0x87, "20[00 05]"},
        {4, 0x86, "20[00 04]"},
        {4, 0x88, "20[00 03]"},
        {4, 0x9d, ""},                                      /* no return code says this */
        {5, 0x8b, "20[00 88 [1f <Server shutting down>]]"}, /* not a code of CONNACK's */
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig rig;

        rig_init(&rig, WAY(state));
        rig.refuse = rows[i].reason;
        rig_send(&rig, rows[i].version == 5 ? "10[<MQTT>05 02 003c [] <me>]"
                                            : "10[<MQTT>04 02 003c <me>]");
        rig_expect_output(&rig, rows[i].output);
        rig_expect_closing(&rig, rows[i].reason);
        rig_send(&rig, "c0[]");
        assert_int_equal(rig.err, TF_CLOSED);
        rig_release(&rig);
    }
}

static void test_publish(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 4);
    rig_send(&rig, "30[<a/b>'zero'] 32[<a/b> 0001 'one'] 35[<a/b> 0002 'two'] 3b[<c> 0003]");
    rig_expect(&rig, "PUBLISH a/b q0 'zero'\nPUBLISH a/b q1 'one'\nPUBLISH a/b q2 retain 'two'\n"
                     "PUBLISH c q1 retain dup ''\n");
    rig_expect_output(&rig, "40[0001] 50[0002] 40[0003]");
    rig_send(&rig, "62[0002]");
    rig_expect(&rig, "RELEASED 2\n");
    rig_expect_output(&rig, "70[0002]");
    rig_release(&rig);
}

static void test_publish_refused(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig.publish_reason = 0x87;
    rig_send(&rig, "32[<a> 0001 [] 'x'] 34[<a> 0002 [] 'y']");
    rig_expect_output(&rig, "40[0001 87] 50[0002 87]");
    /* The refused id is free: PUBLISH with it is new, PUBREL for it finds nothing. */
    rig_send(&rig, "62[0002]");
    rig_expect_output(&rig, "70[0002 92]");
    rig.publish_reason = 0x10;
    rig_send(&rig, "34[<a> 0002 [] 'z']");
    rig_expect_output(&rig, "50[0002 10]");
    rig_expect(&rig, "PUBLISH a q1 'x'\nPUBLISH a q2 'y'\nPUBLISH a q2 'z'\n");
    rig_release(&rig);
}

static void test_publish_refused_311(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 4);
    rig.publish_reason = 0x87;
    rig_send(&rig, "32[<a> 0001 'x']");
    rig_expect_output(&rig, "");
    rig_expect_closing(&rig, 0x87);
    rig_release(&rig);
}

/* Answers go out in the order of the PUBLISHes, whatever the order in which they are given. */
static void test_answers_in_order(void **state)
{
    static const uint16_t order[] = {3, 1, 6, 5, 4, 2, 7};
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig.hold_published = true;
    rig_send(&rig, "32[<a> 0001 []] 34[<a> 0002 []] 32[<a> 0003 []] 32[<a> 0004 []]"
                   "34[<a> 0005 []] 32[<a> 0006 []] 32[<a> 0007 []]");
    assert_int_equal(rig.left, 0);
    assert_int_equal(rig.needs, 2); /* beyond four: PENDING; the first QoS 2: RECEIVED */
    assert_int_equal(tf_mqtt_server_published(rig.server, 9, 0), TF_NOT_FOUND);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(tf_mqtt_server_published(rig.server, order[i], 0), TF_OK);
    rig_expect_output(&rig, "40[0001]");
    assert_int_equal(tf_mqtt_server_published(rig.server, 2, 0), TF_OK);
    rig_expect_output(&rig, "50[0002] 40[0003] 40[0004] 50[0005] 40[0006]");
    assert_int_equal(tf_mqtt_server_published(rig.server, 7, 0), TF_OK);
    assert_int_equal(tf_mqtt_server_published(rig.server, 7, 0), TF_NOT_FOUND);
    rig_expect_output(&rig, "40[0007]");
    rig_release(&rig);
}

static void test_receive_maximum_5(void **state)
{
    struct rig rig;
    char packet[64];

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig.hold_published = true;
    for (int id = 1; id <= 20; id++) {
        snprintf(packet, sizeof packet, "%d2[<a> %04x []]", 3, id);
        rig_send(&rig, packet);
        assert_int_equal(rig.left, 0);
    }
    rig_expect_output(&rig, "");
    rig_send(&rig, "30[<a> []]"); /* QoS 0 does not count */
    assert_int_equal(rig.err, TF_OK);
    rig_send(&rig, "32[<a> 0015 []]");
    assert_int_equal(rig.err, TF_PROTOCOL);
    rig_expect_closing(&rig, 0x93);
    rig_expect_output(&rig, "e0[93 [1f<PUBLISH: Receive Maximum exceeded>]]");
    rig_release(&rig);
}

/* A QoS 2 message holds its place until PUBCOMP. */
static void test_receive_maximum_qos2(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_disconnect(&rig);
    rig.config.receive_maximum = 1;
    rig_connect_again(&rig);
    rig_handshake(&rig, 5);
    for (int i = 0; i < 3; i++) {
        rig_send(&rig, "34[<a> 0001 []] 62[0001] 32[<a> 0002 []]");
        rig_expect_output(&rig, "50[0001] 70[0001] 40[0002]");
    }
    rig_send(&rig, "34[<a> 0001 []] 3c[<a> 0001 []]"); /* a repeat takes no second place */
    rig_expect_output(&rig, "50[0001] 50[0001]");
    rig_send(&rig, "34[<a> 0002 []]");
    rig_expect_closing(&rig, 0x93);
    rig_release(&rig);
}

/* 3.1.1 knows no Receive Maximum: input waits. */
static void test_receive_maximum_311(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_disconnect(&rig);
    rig.config.receive_maximum = 2;
    rig_connect_again(&rig);
    rig_handshake(&rig, 4);
    rig.hold_published = true;
    rig_send(&rig, "32[<a> 0001] 34[<a> 0002] 32[<a> 0003 'x']");
    assert_int_equal(rig.err, TF_AGAIN);
    assert_int_equal(rig.left, 8);
    assert_int_equal(tf_mqtt_server_published(rig.server, 1, 0), TF_OK);
    rig_send(&rig, "32[<a> 0003 'x']");
    assert_int_equal(rig.err, TF_OK);
    rig_expect(&rig, "PUBLISH a q1 ''\nPUBLISH a q2 ''\nPUBLISH a q1 'x'\n");
    /* What waits because of us is no silence of the client's. */
    rig_send(&rig, "c0[]");
    assert_int_equal(rig.err, TF_OK);
    rig_send(&rig, "32[<a> 0004]");
    assert_int_equal(rig.err, TF_AGAIN);
    rig.now += 90 * TF_SECOND;
    tf_mqtt_server_tick(rig.server, rig.now);
    assert_false(tf_mqtt_server_closing(rig.server, NULL));
    assert_int_equal(tf_mqtt_server_deadline(rig.server), rig.now + 90 * TF_SECOND);
    rig_release(&rig);
}

static void test_repeated_qos2(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 4);
    rig.hold_published = true;
    rig_send(&rig, "34[<a> 0001 'x'] 3c[<a> 0001 'x']"); /* while the first is not accepted */
    rig_expect_output(&rig, "");
    assert_int_equal(tf_mqtt_server_published(rig.server, 1, 0), TF_OK);
    rig_expect_output(&rig, "50[0001] 50[0001]");
    rig_send(&rig, "3c[<a> 0001 'x']"); /* and after */
    rig_expect_output(&rig, "50[0001]");
    rig.hold_complete = true;
    rig_send(&rig, "62[0001] 62[0001]");
    rig_expect(&rig, "PUBLISH a q2 'x'\nRELEASED 1\n");
    assert_int_equal(tf_mqtt_server_complete(rig.server, 1), TF_OK);
    assert_int_equal(tf_mqtt_server_complete(rig.server, 1), TF_NOT_FOUND);
    rig_expect_output(&rig, "70[0001]");
    rig_send(&rig, "62[0001]"); /* not known any more */
    rig_expect_output(&rig, "70[0001]");
    rig_send(&rig, "34[<a> 0001 'y']");
    rig_expect(&rig, "PUBLISH a q2 'y'\n");
    rig_release(&rig);
}

/* The QoS 2 id outlives the connection, in each of its states. */
static void test_repeated_on_next_connection(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig_send(&rig, "34[<a> 0003 [] 'done']");
    rig.hold_published = rig.hold_complete = true;
    rig_send(&rig, "34[<a> 0001 [] 'pending'] 34[<a> 0002 [] 'refused'] 62[0003]");
    rig_disconnect(&rig);
    rig_expect_output(&rig, "50[0003]");
    rig.log_length = 0;
    rig.session_present = true;
    rig_connect_again(&rig);
    rig_handshake(&rig, 5);
    rig_send(&rig, "3c[<a> 0001 [] 'pending'] 3c[<a> 0002 [] 'refused'] 62[0003]");
    rig_expect(&rig, "RELEASED 3\n");
    rig_expect_output(&rig, "");
    assert_int_equal(tf_mqtt_server_published(rig.server, 2, 0x87), TF_OK);
    assert_int_equal(tf_mqtt_server_complete(rig.server, 3), TF_OK);
    assert_int_equal(tf_mqtt_server_published(rig.server, 1, 0), TF_OK);
    rig_expect_output(&rig, "70[0003] 50[0001] 50[0002 80]");
    rig_send(&rig, "62[0001]");
    rig_expect(&rig, "RELEASED 1\n");
    rig_disconnect(&rig);

    /* Accepted while there was no connection. */
    rig.session_present = true;
    rig_connect_again(&rig);
    rig_handshake(&rig, 5);
    rig_send(&rig, "34[<a> 0004 [] 'late']");
    rig_disconnect(&rig);
    rig.log_length = rig.out_length = 0;
    tf_mqtt_session_published(&rig.session, 4, 0);
    rig_connect_again(&rig);
    rig_handshake(&rig, 5);
    rig_send(&rig, "3c[<a> 0004 [] 'late']");
    rig_expect(&rig, "");
    rig_expect_output(&rig, "50[0004]");
    rig_release(&rig);
}

static void test_aliases(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig_send(&rig, "30[<temp/1> [23 0001] 'a'] 30[<> [23 0001] 'b'] 30[<temp/22> [23 0002] 'c']"
                   "30[<other> [23 0001] 'd'] 30[<> [23 0001] 'e'] 30[<> [23 0002] 'f']");
    rig_expect(&rig, "PUBLISH temp/1 q0 'a'\nPUBLISH temp/1 q0 'b'\nPUBLISH temp/22 q0 'c'\n"
                     "PUBLISH other q0 'd'\nPUBLISH other q0 'e'\nPUBLISH temp/22 q0 'f'\n");
    assert_int_equal(rig.needs, 1);
    rig_release(&rig);
}

/* The alias table grows to its bound and no further. */
static void test_alias_bytes(void **state)
{
    struct rig rig;
    char packet[1024];
    int alias;

    rig_init(&rig, WAY(state));
    rig_disconnect(&rig);
    rig.config.topic_alias_bytes = 1000;
    rig_connect_again(&rig);
    rig_handshake(&rig, 5);
    for (alias = 1; alias <= 6; alias++) {
        snprintf(packet, sizeof packet, "30[<%0200d> [23 %04x]]", alias, alias);
        rig_send(&rig, packet);
        if (rig.err)
            break;
    }
    assert_int_equal(alias, 6);
    assert_int_equal(rig.needs, 3); /* 256, 512, 1000 */
    rig_expect_closing(&rig, 0x97);
    rig_release(&rig);
}

static void test_subscribe(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 4);
    rig.subscribe_reason = 0;
    rig_send(&rig, "82[0001 <a/+> 01 <#> 02] a2[0002 <#>]");
    rig_expect(&rig, "SUBSCRIBE 1 a/+ q1 # q2\nUNSUBSCRIBE 2 #\n");
    rig_expect_output(&rig, "90[0001 01 02] b0[0002]");
    rig.subscribe_reason = 0x97;
    rig_send(&rig, "82[0003 <x> 00]");
    rig_expect_output(&rig, "90[0003 80]");
    rig_release(&rig);

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig.subscribe_reason = 0x97;
    rig_send(&rig, "82[0001 [0b 05] <a/+> 2d] a2[0002 [] <#> <a>]");
    rig_expect(&rig, "SUBSCRIBE 1 a/+ q1\nUNSUBSCRIBE 2 # a\n");
    rig_expect_output(&rig, "90[0001 [] 97] b0[0002 [] 00 00]");
    assert_int_equal(tf_mqtt_server_subscribed(rig.server, 3, tf_bytes_str("x")), TF_MISUSE);
    rig_release(&rig);
}

/* Requests without an answer are bounded. */
static void test_subscribe_held(void **state)
{
    struct rig rig;
    uint8_t code = 0;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 4);
    rig.hold_subscribed = true;
    for (int i = 1; i <= 16; i++) {
        rig_send(&rig, "82[0001 <a> 00]");
        assert_int_equal(rig.left, 0);
    }
    rig_send(&rig, "82[0001 <a> 00]");
    assert_int_equal(rig.err, TF_AGAIN);
    assert_int_equal(tf_mqtt_server_subscribed(rig.server, 1, tf_bytes_of(&code, 1)), TF_OK);
    rig_send(&rig, "82[0001 <a> 00]");
    assert_int_equal(rig.left, 0);
    rig_release(&rig);
}

/* A large PUBLISH comes in runs, whatever was there of it at first. */
static void test_large_publish(void **state)
{
    struct rig rig;
    char *packet = malloc(8192);
    static const char *const heads[] = {"30[<a/b> []", "32[<a/b> 0001 [03 <text>]",
                                        "34[<a/b> 0002 [01 01]"};

    for (size_t i = 0; i < 3; i++) {
        rig_init(&rig, WAY(state));
        rig_disconnect(&rig);
        rig.config.body_run = 64;
        rig_connect_again(&rig);
        rig_handshake(&rig, 5);
        snprintf(packet, 8192, "%s '%03000d'] c0[]", heads[i], 7);
        rig_send(&rig, packet);
        assert_int_equal(rig.left, 0);
        rig_expect(&rig, i == 0   ? "PUBLISH a/b q0 3000 bytes\n"
                         : i == 1 ? "PUBLISH a/b q1 3000 bytes\n"
                                  : "PUBLISH a/b q2 3000 bytes\n");
        rig_expect_output(&rig, i == 0 ? "d0[]" : i == 1 ? "40[0001] d0[]" : "50[0002] d0[]");
        if (i == 2) { /* the repeat of a large one is skipped to its end */
            packet[1] = 'c';
            rig_send(&rig, packet);
            rig_expect(&rig, "");
            rig_expect_output(&rig, "50[0002] d0[]");
        }
        rig_release(&rig);
    }
    free(packet);
}

static void test_payload_format(void **state)
{
    static const struct {
        const char *payload;
        bool valid;
    } rows[] = {
        {"'plain'", true},  {"c3a4", true},    {"e282ac", true},    {"f09f9880", true},
        {"00", true},       {"ff", false},     {"c3", false},       {"c0af", false},
        {"eda080", false},  {"e08080", false}, {"f4908080", false}, {"f0808080", false},
        {"f48fbfbf", true}, {"ee8080", true},  {"80", false},       {"e282", false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int runs = 0; runs < 2; runs++) {
            struct rig rig;
            char packet[128];

            rig_init(&rig, WAY(state));
            rig_disconnect(&rig);
            rig.config.body_run = runs ? 16 : 0;
            rig_connect_again(&rig);
            rig_handshake(&rig, 5);
            snprintf(packet, sizeof packet, "32[<a> 0001 [01 01] '0123456789' %s]",
                     rows[i].payload);
            rig_send(&rig, packet);
            if (rows[i].valid) {
                rig_expect_output(&rig, "40[0001]");
            } else if (tf_mqtt_server_closing(rig.server, NULL)) {
                assert_int_equal(runs, 1);
                rig_expect_closing(&rig, 0x99);
            } else {
                rig_expect_output(&rig, "40[0001 99]");
            }
            rig_send(&rig, "30[<a> [01 01] ff]");
            rig_expect_closing(&rig, 0x99);
            rig_release(&rig);
        }
    }
}

static void test_time(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    assert_int_equal(tf_mqtt_server_deadline(rig.server), rig.now + 10 * TF_SECOND);
    rig_send(&rig, "10[<MQTT>05 02 0004 []"
                   "<me>]");
    assert_int_equal(tf_mqtt_server_deadline(rig.server), rig.now + 6 * TF_SECOND);
    rig.out_length = 0;
    rig.now += 5 * TF_SECOND;
    rig_send(&rig, "c0[]");
    tf_mqtt_server_tick(rig.server, rig.now);
    assert_false(tf_mqtt_server_closing(rig.server, NULL));
    rig.now += 6 * TF_SECOND;
    assert_int_equal(tf_mqtt_server_deadline(rig.server), rig.now);
    tf_mqtt_server_alive(rig.server, rig.now);
    tf_mqtt_server_tick(rig.server, rig.now);
    assert_false(tf_mqtt_server_closing(rig.server, NULL));
    rig.now += 6 * TF_SECOND;
    tf_mqtt_server_tick(rig.server, rig.now);
    rig_expect_closing(&rig, 0x8d);
    rig_expect_output(&rig, "d0[] e0[8d [1f<Keep Alive timeout>]]");
    assert_true(tf_mqtt_server_deadline(rig.server) == TF_TIME_NEVER);
    rig_release(&rig);

    rig_init(&rig, WAY(state));
    rig_send(&rig, "10"); /* a CONNECT that never ends */
    rig.now += 10 * TF_SECOND;
    tf_mqtt_server_tick(rig.server, rig.now);
    rig_expect_closing(&rig, 0xa0);
    rig_expect_output(&rig, "");
    rig_release(&rig);

    rig_init(&rig, WAY(state));
    rig_send(&rig, "10[<MQTT>04 02 0000 <me>]");
    assert_true(tf_mqtt_server_deadline(rig.server) == TF_TIME_NEVER);
    rig_release(&rig);
}

static void test_close(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    tf_mqtt_server_close(rig.server, 0x8e);
    tf_mqtt_server_close(rig.server, 0x8b); /* the first one counts */
    rig_expect_output(&rig, "e0[8e [1f<Session taken over>]]");
    rig_expect_closing(&rig, 0x8e);
    rig_release(&rig);

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 4);
    tf_mqtt_server_close(rig.server, 0x8e);
    rig_expect_output(&rig, "");
    rig_release(&rig);

    rig_init(&rig, WAY(state)); /* Request Problem Information 0, Maximum Packet Size 20 */
    rig_send(&rig, "10[<MQTT>05 02 003c [17 00] <me>]");
    rig.out_length = 0;
    tf_mqtt_server_close(rig.server, 0x8b);
    rig_expect_output(&rig, "e0[8b]");
    rig_release(&rig);

    rig_init(&rig, WAY(state));
    rig_send(&rig, "10[<MQTT>05 02 003c [27 00000018] <me>]");
    rig.out_length = 0;
    tf_mqtt_server_close(rig.server, 0x8b);
    rig_expect_output(&rig, "e0[8b]");
    rig_release(&rig);
}

/* Without memory the connection ends with a word, and nothing is lost track of. */
static void test_no_memory(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig.deny_memory = true;
    rig_send(&rig, "34[<a> 0001 []]");
    rig_expect_closing(&rig, 0x97);
    rig_expect(&rig, "");
    rig_release(&rig);
}

static void test_size(void **state)
{
    struct tf_mqtt_server_config config = {
        .max_packet_size = 1024,
        .max_connect_size = 1024,
        .receive_maximum = 1,
        .max_in_flight = 1,
        .maximum_qos = 2,
    };
    struct tf_mqtt_server *server = NULL;
    uint64_t memory[64];

    (void)state;
    assert_in_range(tf_mqtt_server_size(&config), 1, 350);
    assert_int_equal(tf_mqtt_server_init(&server, memory, 8, &config, 0), TF_NO_MEMORY);
    config.maximum_qos = 3;
    assert_int_equal(tf_mqtt_server_size(&config), 0);
    assert_int_equal(tf_mqtt_server_init(&server, memory, sizeof memory, &config, 0), TF_MISUSE);
    assert_null(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(test_connect_311),
        RIG_TESTS(test_connect_5),
        RIG_TESTS(test_connack_tells),
        RIG_TESTS(test_refuse),
        RIG_TESTS(test_publish),
        RIG_TESTS(test_publish_refused),
        RIG_TESTS(test_publish_refused_311),
        RIG_TESTS(test_answers_in_order),
        RIG_TESTS(test_receive_maximum_5),
        RIG_TESTS(test_receive_maximum_qos2),
        RIG_TESTS(test_receive_maximum_311),
        RIG_TESTS(test_repeated_qos2),
        RIG_TESTS(test_repeated_on_next_connection),
        RIG_TESTS(test_aliases),
        RIG_TESTS(test_alias_bytes),
        RIG_TESTS(test_subscribe),
        RIG_TESTS(test_subscribe_held),
        RIG_TESTS(test_large_publish),
        RIG_TESTS(test_payload_format),
        RIG_TESTS(test_time),
        RIG_TESTS(test_close),
        RIG_TESTS(test_no_memory),
        cmocka_unit_test(test_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
