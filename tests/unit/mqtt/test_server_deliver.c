/*
 * The server's machine: messages out, their acknowledgements, flow control, resumption, bodies by
 * reference. Each test runs four ways; see server_rig.h.
 */
#include "server_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notation.h"

#define WAY(state) (*(enum rig_way *)*(state))

static void test_qos_0_1_2(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 4);
    assert_int_equal(rig_deliver(&rig, "a/b", "zero", 0, 0, 0), TF_OK);
    assert_int_equal(rig_deliver(&rig, "a/b", "one", 1, 11, 0), TF_OK);
    assert_int_equal(rig_deliver(&rig, "c", "two", 2, 22, 0), TF_OK);
    assert_int_equal(tf_mqtt_server_credit(rig.server), 18);
    rig_expect_output(&rig, "30[<a/b>'zero'] 32[<a/b> 0001 'one'] 34[<c> 0002 'two']");
    rig_send(&rig, "40[0001] 50[0002]");
    rig_expect(&rig, "SETTLED 11 00\nRECEIVED 22\n");
    rig_expect_output(&rig, "62[0002]");
    rig_send(&rig, "50[0002]"); /* PUBREC again: PUBREL again */
    rig_expect_output(&rig, "62[0002]");
    rig_send(&rig, "70[0002] 40[0001] 70[0002]"); /* late ones are ignored */
    rig_expect(&rig, "SETTLED 22 00\n");
    assert_int_equal(tf_mqtt_server_credit(rig.server), 20);
    rig_release(&rig);
}

static void test_refusals_of_the_client(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    assert_int_equal(rig_deliver(&rig, "a", "x", 1, 11, 0), TF_OK);
    assert_int_equal(rig_deliver(&rig, "a", "y", 2, 22, 0), TF_OK);
    rig_expect_output(&rig, "32[<a> 0001 [] 'x'] 34[<a> 0002 [] 'y']");
    rig_send(&rig, "40[0001 87] 50[0002 97 []] 50[0009] 62[0009]");
    rig_expect(&rig, "SETTLED 11 87\nSETTLED 22 97\n");
    rig_expect_output(&rig, "62[0009 92] 70[0009 92]");
    rig_release(&rig);
}

static void test_wrong_acknowledgements(void **state)
{
    static const struct {
        uint8_t qos;
        const char *packets;
        const char *where;
    } rows[] = {
        {2, "40[0001]", "PUBACK: for a QoS 2 message"},
        {1, "50[0001]", "PUBREC: for a QoS 1 message"},
        {1, "70[0001]", "PUBCOMP: before PUBREL"},
        {2, "70[0001]", "PUBCOMP: before PUBREL"},
        {2, "50[0001] 40[0001]", "PUBACK: for a QoS 2 message"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig rig;
        char output[128];

        rig_init(&rig, WAY(state));
        rig_handshake(&rig, 5);
        assert_int_equal(rig_deliver(&rig, "a", "x", rows[i].qos, 1, 0), TF_OK);
        rig_drain(&rig);
        rig.out_length = 0;
        rig_send(&rig, rows[i].packets);
        rig_expect_closing(&rig, 0x82);
        snprintf(output, sizeof output, "%s e0[82 [1f<%s>]]", i == 4 ? "62[0001]" : "",
                 rows[i].where);
        rig_expect_output(&rig, output);
        rig_release(&rig);
    }
}

/* The client's Receive Maximum, and the config's, whichever is less. */
static void test_credit(void **state)
{
    static const struct {
        const char *connect;
        unsigned most;
    } rows[] = {
        {"10[<MQTT>05 02 003c [21 0003] <me>]", 3},
        {"10[<MQTT>05 02 003c [21 ffff] <me>]", 20},
        {"10[<MQTT>05 02 003c [] <me>]", 20},
        {"10[<MQTT>04 02 003c <me>]", 20},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig rig;
        unsigned sent = 0;

        rig_init(&rig, WAY(state));
        rig_send(&rig, rows[i].connect);
        for (; sent < 30; sent++) {
            assert_int_equal(tf_mqtt_server_credit(rig.server), rows[i].most - sent);
            if (rig_deliver(&rig, "a", "x", 1 + sent % 2, sent, 0))
                break;
        }
        assert_int_equal(sent, rows[i].most);
        assert_int_equal(rig_deliver(&rig, "a", "x", 0, 0, 0), TF_OK); /* needs no credit */
        rig_send(&rig, "40[0001]");
        assert_int_equal(rig_deliver(&rig, "a", "x", 1, 99, 0), TF_OK);
        assert_int_equal(rig_deliver(&rig, "a", "x", 1, 99, 0), TF_AGAIN);
        rig_release(&rig);
    }
}

static void test_properties(void **state)
{
    static const uint32_t ids[] = {1, 200};
    struct tf_bytes bodies[] = {{(const uint8_t *)"ab", 2}, {NULL, 0}, {(const uint8_t *)"cd", 2}};
    struct tf_bytes own = notation_bytes("03<text>");
    struct tf_mqtt_delivery delivery = {
        .topic = {(const uint8_t *)"t", 1},
        .properties = own,
        .body = bodies,
        .body_count = 3,
        .subscription_ids = ids,
        .subscription_id_count = 2,
        .has_expiry = true,
        .expiry_s = 0x01020304,
        .retain = true,
    };
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    assert_int_equal(tf_mqtt_server_deliver(rig.server, &delivery, NULL), TF_OK);
    rig_expect_output(&rig, "31[<t> [03<text> 02 01020304 0b 01 0b c801] 'abcd']");
    rig_release(&rig);

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 4);
    assert_int_equal(tf_mqtt_server_deliver(rig.server, &delivery, NULL), TF_OK);
    rig_expect_output(&rig, "31[<t> 'abcd']");
    delivery.qos = 3;
    assert_int_equal(tf_mqtt_server_deliver(rig.server, &delivery, NULL), TF_MISUSE);
    delivery.qos = 0;
    delivery.topic.length = 0;
    assert_int_equal(tf_mqtt_server_deliver(rig.server, &delivery, NULL), TF_MISUSE);
    rig_release(&rig);
    free((void *)(uintptr_t)own.data);
}

static void test_maximum_packet_size(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_send(&rig, "10[<MQTT>05 02 003c [27 0000001e] <me>]");
    rig.out_length = 0;
    /* 2 + 2 + 1 + 1 and 24 bytes of body are 30; one more is too many */
    assert_int_equal(rig_deliver(&rig, "t", "123456789012345678901234", 0, 0, 0), TF_OK);
    assert_int_equal(rig_deliver(&rig, "t", "1234567890123456789012345", 0, 0, 0), TF_LIMIT);
    assert_int_equal(rig_deliver(&rig, "t", "1234567890123456789012", 1, 1, 0), TF_OK);
    assert_int_equal(rig_deliver(&rig, "t", "12345678901234567890123", 1, 2, 0), TF_LIMIT);
    rig_expect_output(&rig, "30[<t> [] '123456789012345678901234']"
                            "32[<t> 0001 [] '1234567890123456789012']");
    assert_int_equal(tf_mqtt_server_credit(rig.server), 19);
    rig_release(&rig);
}

/* What does not fit the whole buffer is told apart from what does not fit now. */
static void test_room(void **state)
{
    struct rig rig;
    char body[300];

    memset(body, 'x', sizeof body);
    body[299] = 0;
    rig_init(&rig, WAY(state));
    rig_disconnect(&rig);
    rig.buffer_size = 256;
    rig_connect_again(&rig);
    rig_handshake(&rig, 4);
    assert_int_equal(rig_deliver(&rig, "t", body, 0, 0, 0), TF_NO_MEMORY);
    assert_int_equal(rig_deliver(&rig, "t", body, 1, 1, 0), TF_NO_MEMORY);
    assert_int_equal(tf_mqtt_server_credit(rig.server), 20);
    body[200] = 0;
    for (int i = 0; i < 5; i++)
        assert_int_equal(rig_deliver(&rig, "t", body, 0, 0, 0), TF_OK);
    rig_drain(&rig);
    assert_int_equal(rig.out_length, 5 * 206);

    /* Nothing fits where no buffer is lent. */
    void *buffer = tf_mqtt_server_take(rig.server);
    assert_non_null(buffer);
    assert_int_equal(rig_deliver(&rig, "t", "x", 0, 0, 0), TF_AGAIN);
    assert_int_equal(tf_mqtt_server_lend(rig.server, buffer, 127), TF_MISUSE);
    assert_int_equal(tf_mqtt_server_lend(rig.server, buffer, 256), TF_OK);
    assert_int_equal(tf_mqtt_server_lend(rig.server, buffer, 256), TF_MISUSE);
    rig_release(&rig);
}

static void test_by_reference(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_disconnect(&rig);
    rig.config.reference_from = 10;
    rig_connect_again(&rig);
    rig_handshake(&rig, 4);
    assert_int_equal(rig_deliver(&rig, "t", "0123456789", 0, 0, 7), TF_OK);
    assert_int_equal(rig_deliver(&rig, "t", "short", 0, 0, 8), TF_OK); /* copied */
    assert_int_equal(rig_deliver(&rig, "t", "0123456789abcdef", 1, 5, 9), TF_OK);
    assert_int_equal(rig_deliver(&rig, "t", "0123456789", 0, 0, 0), TF_OK); /* no owner: copied */
    rig_expect(&rig, "RETURNED 7\nRETURNED 9\n");
    rig_expect_output(&rig, "30[<t> '0123456789'] 30[<t> 'short']"
                            "32[<t> 0001 '0123456789abcdef'] 30[<t> '0123456789']");
    assert_int_equal(rig_deliver(&rig, "t", "0123456789", 0, 0, 7), TF_OK);
    assert_int_equal(rig_deliver(&rig, "t", "0123456789", 2, 6, 8), TF_OK);
    rig_disconnect(&rig); /* with the body unsent, its owner is still told */
    rig_expect(&rig, "RETURNED 7\nRETURNED 8\n");
    rig_release(&rig);
}

/* After a resumption all goes again, in order, before anything new (MQTT 5.0 4.4). */
static void test_resumption(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig.hold_release = true;
    for (uint64_t handle = 1; handle <= 6; handle++)
        assert_int_equal(rig_deliver(&rig, "t", "x", handle % 2 ? 1 : 2, handle, 0), TF_OK);
    rig_send(&rig, "40[0001] 50[0004] 50[0006]");
    rig_expect(&rig, "SETTLED 1 00\nRECEIVED 4\nRECEIVED 6\n");
    assert_int_equal(tf_mqtt_server_release(rig.server, 6), TF_OK);
    rig_disconnect(&rig);
    rig.out_length = 0;

    /* Left, the oldest first: 2 PUBREC, 3 PUBACK, 4 not released, 5 PUBACK, 6 PUBCOMP. */
    rig.session_present = true;
    rig_connect_again(&rig);
    rig_send(&rig, "10[<MQTT>05 00 003c [21 0002] <me>]");
    rig_expect(&rig, "CONNECT 5 'me' keep 60 expiry 0\nRESEND 2\n");
    rig_expect_output_begins(&rig, "20[01 00 [21 0014 27 00100000 22 000a]]");
    assert_int_equal(tf_mqtt_server_credit(rig.server), 0);
    assert_int_equal(rig_deliver(&rig, "t", "new", 0, 0, 0), TF_AGAIN);
    assert_int_equal(rig_deliver(&rig, "t", "new", 1, 9, 0), TF_AGAIN);
    assert_int_equal(rig_deliver(&rig, "t", "x", 1, 2, 0), TF_MISUSE); /* it was QoS 2 */
    assert_int_equal(rig_deliver(&rig, "t", "x", 2, 2, 0), TF_OK);
    rig_expect(&rig, "RESEND 3\n");
    assert_int_equal(rig_deliver(&rig, "t", "x", 1, 3, 0), TF_OK);
    rig_expect_output(&rig, "3c[<t> 0002 [] 'x'] 3a[<t> 0003 [] 'x']");
    rig_expect(&rig, "RECEIVED 4\n");
    assert_int_equal(tf_mqtt_server_release(rig.server, 4), TF_OK);
    assert_int_equal(tf_mqtt_server_release(rig.server, 4), TF_NOT_FOUND);
    rig_expect_output(&rig, "62[0004]");
    rig_expect(&rig, "RESEND 5\n");
    assert_int_equal(rig_deliver(&rig, "t", "x", 1, 5, 0), TF_AGAIN); /* Receive Maximum 2 */
    rig_send(&rig, "40[0003]");
    rig_expect(&rig, "SETTLED 3 00\n");
    assert_int_equal(rig_deliver(&rig, "t", "x", 1, 5, 0), TF_OK);
    rig_expect_output(&rig, "3a[<t> 0005 [] 'x'] 62[0006]");
    rig_send(&rig, "70[0006] 70[0004] 40[0005] 50[0002]");
    rig_expect(&rig, "SETTLED 6 00\nSETTLED 4 00\nSETTLED 5 00\nRECEIVED 2\n");
    assert_int_equal(tf_mqtt_server_credit(rig.server), 1);
    assert_int_equal(rig_deliver(&rig, "t", "new", 1, 9, 0), TF_OK);
    rig_expect_output(&rig, "32[<t> 0005 [] 'new']");
    rig_release(&rig);
}

/* Acknowledgements that arrive while the resumption has not come to their delivery. */
static void test_resumption_overtaken(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig.hold_release = true;
    for (uint64_t handle = 1; handle <= 4; handle++)
        assert_int_equal(rig_deliver(&rig, "t", "x", handle > 2 ? 2 : 1, handle, 0), TF_OK);
    rig_disconnect(&rig);
    rig.session_present = true;
    rig_connect_again(&rig);
    rig_handshake(&rig, 5);
    rig_send(&rig, "40[0001]"); /* the one at which it is */
    rig_expect(&rig, "SETTLED 1 00\nRESEND 2\n");
    rig_send(&rig, "50[0003] 50[0004 87]"); /* those that are to come */
    rig_expect(&rig, "RECEIVED 3\nSETTLED 4 87\n");
    assert_int_equal(tf_mqtt_server_release(rig.server, 3), TF_AGAIN);
    assert_int_equal(rig_deliver(&rig, "t", "x", 1, 2, 0), TF_OK);
    rig_expect(&rig, "RECEIVED 3\n");
    assert_int_equal(tf_mqtt_server_release(rig.server, 3), TF_OK);
    rig_expect_output(&rig, "3a[<t> 0002 [] 'x'] 62[0003]");
    assert_int_equal(tf_mqtt_server_credit(rig.server), 18);
    rig_release(&rig);
}

/* A message that the new connection is too small for counts as delivered (MQTT 5.0 3.1.2.11.4). */
static void test_resumption_too_large(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state)); /* not even CONNACK, which has 16 bytes */
    rig.accept_err = TF_CLOSED;
    rig_send(&rig, "10[<MQTT>05 02 003c [27 0000000f] <me>]");
    rig_expect_output(&rig, "");
    assert_true(tf_mqtt_server_closing(rig.server, NULL));
    rig_release(&rig);

    rig_init(&rig, WAY(state));
    rig.config.max_packet_size = TF_MQTT_LENGTH_MAX; /* so that CONNACK is short */
    rig.config.receive_maximum = 65535;
    rig.config.topic_alias_maximum = 0;
    rig_disconnect(&rig);
    rig_connect_again(&rig);
    rig_handshake(&rig, 5);
    assert_int_equal(rig_deliver(&rig, "t", "a message that is long", 1, 1, 0), TF_OK);
    assert_int_equal(rig_deliver(&rig, "t", "short", 1, 2, 0), TF_OK);
    rig_disconnect(&rig);
    rig.session_present = true;
    rig_connect_again(&rig);
    rig_send(&rig, "10[<MQTT>05 00 003c [27 00000014] <me>]");
    rig.out_length = rig.log_length = 0;
    assert_int_equal(rig_deliver(&rig, "t", "a message that is long", 1, 1, 0), TF_LIMIT);
    rig_expect(&rig, "RESEND 2\n");
    assert_int_equal(rig_deliver(&rig, "t", "short", 1, 2, 0), TF_OK);
    rig_expect_output(&rig, "3a[<t> 0002 [] 'short']");
    assert_int_equal(rig.session.sent_count, 1);
    rig_release(&rig);
}

static void test_not_connected(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    assert_int_equal(rig_deliver(&rig, "t", "x", 0, 0, 0), TF_CLOSED);
    assert_int_equal(tf_mqtt_server_credit(rig.server), 0);
    assert_int_equal(tf_mqtt_server_published(rig.server, 1, 0), TF_NOT_FOUND);
    assert_int_equal(tf_mqtt_server_release(rig.server, 1), TF_NOT_FOUND);
    assert_int_equal(tf_mqtt_server_complete(rig.server, 1), TF_NOT_FOUND);
    assert_int_equal(tf_mqtt_server_refuse(rig.server, 0x87), TF_MISUSE);
    rig_handshake(&rig, 4);
    tf_mqtt_server_close(rig.server, 0x8e);
    assert_int_equal(rig_deliver(&rig, "t", "x", 0, 0, 0), TF_CLOSED);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(test_qos_0_1_2),
        RIG_TESTS(test_refusals_of_the_client),
        RIG_TESTS(test_wrong_acknowledgements),
        RIG_TESTS(test_credit),
        RIG_TESTS(test_properties),
        RIG_TESTS(test_maximum_packet_size),
        RIG_TESTS(test_room),
        RIG_TESTS(test_by_reference),
        RIG_TESTS(test_resumption),
        RIG_TESTS(test_resumption_overtaken),
        RIG_TESTS(test_resumption_too_large),
        RIG_TESTS(test_not_connected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
