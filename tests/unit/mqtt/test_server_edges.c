/*
 * The server's machine where things are unusual: calls at the wrong time, too little room or
 * memory, large packets that are malformed, answers that overtake each other. Each test runs four
 * ways.
 */
#include "server_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notation.h"

#define WAY(state) (*(enum rig_way *)*(state))

/* A SUBACK that no lent buffer could hold: the caller is told to lend a larger one. */
static void test_many_filters(void **state)
{
    uint8_t codes[300] = {0};
    char packet[4096] = "82[0001 []";
    struct tf_bytes reasons = tf_bytes_of(codes, sizeof codes);
    struct rig rig;

    for (int i = 0; i < 300; i++)
        strcat(packet, "<a>00");
    strcat(packet, "]");
    rig_init(&rig, WAY(state));
    rig_disconnect(&rig);
    rig.buffer_size = 256;
    rig_connect_again(&rig);
    rig_handshake(&rig, 5);
    rig.hold_subscribed = true;
    rig_send(&rig, packet);
    assert_int_equal(rig.left, 0);
    assert_int_equal(tf_mqtt_server_subscribed(rig.server, 1, reasons), TF_NO_MEMORY);
    free(tf_mqtt_server_take(rig.server));
    assert_int_equal(tf_mqtt_server_subscribed(rig.server, 1, reasons), TF_AGAIN);
    assert_int_equal(tf_mqtt_server_lend(rig.server, malloc(1024), 1024), TF_OK);
    assert_int_equal(tf_mqtt_server_subscribed(rig.server, 1, reasons), TF_OK);
    rig_expect_output_begins(&rig, "90 af02 0001 00");
    tf_mqtt_server_close(rig.server, 0x8b);
    assert_int_equal(tf_mqtt_server_subscribed(rig.server, 1, reasons), TF_CLOSED);
    rig_release(&rig);
}

static void test_suback_too_large_for_client(void **state)
{
    uint8_t codes[20] = {0};
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig.hold_subscribed = true;
    rig_send(&rig, "10[<MQTT>05 02 003c [27 00000014] <me>]");
    rig_send(&rig, "82[0001 [] <a> 00]");
    assert_int_equal(tf_mqtt_server_subscribed(rig.server, 1, tf_bytes_of(codes, 20)), TF_CLOSED);
    rig_expect_closing(&rig, 0x83);
    rig_release(&rig);
}

/* The headers of a PUBLISH that is taken in runs are as bad as those of any other. */
static void test_large_and_malformed(void **state)
{
    static const struct {
        const char *packet;
        uint8_t reason;
    } rows[] = {
        {"30 8002 0200 'abc'", 0x81},          /* topic past the end */
        {"30 8002 <a> ff02 0303", 0x81},       /* properties past the end */
        {"30 8002 <a> ffffffff 01", 0x81},     /* property length of five bytes */
        {"32 8002 <a> 0000 00 'body'", 0x82},  /* packet id 0 */
        {"30 8002 <a/#> 00 'body'", 0x90},     /* wildcard */
        {"30 8002 <> 00 'body'", 0x82},        /* no topic */
        {"30 8002 <a> 02 0101 ff", 0x99},      /* not UTF-8 in the first run */
        {"32 8002 <a> 0001 02 0101 ff", 0x99}, /* likewise: no PUBACK for half a packet */
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig rig;
        char packet[1024];

        rig_init(&rig, WAY(state));
        rig_disconnect(&rig);
        rig.config.body_run = 16;
        rig_connect_again(&rig);
        rig_handshake(&rig, 5);
        snprintf(packet, sizeof packet, "%s '%0200d'", rows[i].packet, 0);
        rig_send(&rig, packet);
        rig_expect_closing(&rig, rows[i].reason);
        rig_release(&rig);
    }
}

/* A large PUBLISH without properties, of 3.1.1. */
static void test_large_311(void **state)
{
    struct rig rig;
    char packet[1024];

    rig_init(&rig, WAY(state));
    rig_disconnect(&rig);
    rig.config.body_run = 16;
    rig_connect_again(&rig);
    rig_handshake(&rig, 4);
    snprintf(packet, sizeof packet, "32[<a/b> 0001 '%0200d'] 30[<c> '%0100d']", 0, 0);
    rig_send(&rig, packet);
    rig_expect(&rig, "PUBLISH a/b q1 200 bytes\nPUBLISH c q0 100 bytes\n");
    rig_expect_output(&rig, "40[0001]");
    rig_release(&rig);
}

/* An answer that comes before the body has ended waits for its end. */
static void test_answered_early(void **state)
{
    struct rig rig;
    uint8_t head[] = {0x32, 0x80, 0x01, 0, 1, 'a', 0, 7, 'x', 'y'};
    uint8_t rest[0x80] = {0};
    struct tf_mqtt_server_event event;
    size_t used = 0, need = 0;

    rig_init(&rig, WAY(state));
    rig_disconnect(&rig);
    rig.config.body_run = 16;
    rig_connect_again(&rig);
    rig_handshake(&rig, 4);
    assert_int_equal(
        tf_mqtt_server_input(rig.server, tf_bytes_of(head, sizeof head), &used, &need, rig.now),
        TF_OK);
    assert_int_equal(used, sizeof head);
    assert_true(tf_mqtt_server_event(rig.server, &event));
    assert_int_equal(event.payload_left, 0x80 + 3 - sizeof head);
    assert_int_equal(tf_mqtt_server_published(rig.server, 7, 0), TF_OK);
    rig_expect_output(&rig, "");
    used = 0;
    assert_int_equal(
        tf_mqtt_server_input(rig.server, tf_bytes_of(rest, sizeof rest), &used, &need, rig.now),
        TF_OK);
    assert_int_equal(used, 0x80 + 3 - sizeof head);
    assert_true(tf_mqtt_server_event(rig.server, &event));
    assert_int_equal(event.type, TF_MQTT_SERVER_BODY);
    assert_int_equal(event.payload_left, 0);
    rig_expect_output(&rig, "40[0007]");
    rig_release(&rig);
}

/* A large QoS 2 message of which only a part came is new when it comes again (MQTT 5.0 4.3.3). */
static void test_cut_in_the_body(void **state)
{
    static const char *const parts[] = {"34 8002 <a> 0001 00 'half of it'",
                                        "34 19 <a> 0001 02 0101 '0123456789012345' ff"};

    for (size_t i = 0; i < 2; i++) {
        struct rig rig;

        rig_init(&rig, WAY(state));
        rig_disconnect(&rig);
        rig.config.body_run = 16;
        rig_connect_again(&rig);
        rig_handshake(&rig, 5);
        rig_send(&rig, parts[i]);
        rig_disconnect(&rig);
        rig.log_length = rig.out_length = 0;
        rig.session_present = true;
        rig_connect_again(&rig);
        rig_handshake(&rig, 5);
        rig_send(&rig, "3c[<a> 0001 [] 'all of it this time']");
        rig_expect(&rig, "PUBLISH a q2 dup 'all of it this time'\n");
        rig_expect_output(&rig, "50[0001]");
        rig_release(&rig);
    }
}

static void test_close_before_answer(void **state)
{
    struct tf_mqtt_server_event event;
    struct tf_mqtt_server_accept accept = {0};
    struct tf_bytes bytes = notation_bytes("10[<MQTT>05 02 003c [] <me>]");
    size_t used = 0, need = 0;
    struct rig rig;

    for (int pulled = 0; pulled < 2; pulled++) {
        rig_init(&rig, WAY(state));
        assert_int_equal(tf_mqtt_server_accept(rig.server, &accept, rig.now), TF_MISUSE);
        assert_int_equal(tf_mqtt_server_input(rig.server, bytes, &used, &need, rig.now), TF_OK);
        /* No input before the answer, and no answer before the event. */
        assert_int_equal(tf_mqtt_server_input(rig.server, bytes, &used, &need, rig.now), TF_AGAIN);
        assert_int_equal(tf_mqtt_server_refuse(rig.server, 0x87), TF_MISUSE);
        assert_true(tf_mqtt_server_deadline(rig.server) == TF_TIME_NEVER);
        if (pulled) {
            assert_true(tf_mqtt_server_event(rig.server, &event));
            assert_int_equal(tf_mqtt_server_refuse(rig.server, 0), TF_MISUSE);
            accept.session = NULL;
            assert_int_equal(tf_mqtt_server_accept(rig.server, &accept, rig.now), TF_MISUSE);
        }
        tf_mqtt_server_close(rig.server, 0x89);
        while (tf_mqtt_server_event(rig.server, &event))
            ;
        accept.session = &rig.session;
        assert_int_equal(tf_mqtt_server_accept(rig.server, &accept, rig.now), TF_CLOSED);
        rig_expect_output(&rig, "20[00 89 [1f <Server busy>]]");
        rig_release(&rig);
    }
    free((void *)(uintptr_t)bytes.data);
}

/* The session of a client that is told there is none must be empty. */
static void test_session_not_present(void **state)
{
    struct tf_mqtt_server_event event;
    struct tf_mqtt_server_accept accept = {0};
    struct tf_bytes bytes = notation_bytes("10[<MQTT>05 02 003c [] <me>]");
    size_t used = 0, need = 0;
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    assert_int_equal(rig_deliver(&rig, "a", "x", 1, 1, 0), TF_OK);
    rig_send(&rig, "34[<a> 0001 []]");
    rig_disconnect(&rig);
    rig_connect_again(&rig);
    assert_int_equal(tf_mqtt_server_input(rig.server, bytes, &used, &need, rig.now), TF_OK);
    assert_true(tf_mqtt_server_event(rig.server, &event));
    accept.session = &rig.session;
    assert_int_equal(tf_mqtt_server_accept(rig.server, &accept, rig.now), TF_MISUSE);
    tf_mqtt_session_clear(&rig.session);
    assert_true(tf_mqtt_session_check(&rig.session));
    assert_int_equal(tf_mqtt_server_accept(rig.server, &accept, rig.now), TF_OK);
    rig_send(&rig, "34[<a> 0001 [] 'new']");
    rig_drain(&rig);
    assert_non_null(strstr(rig.log, "'new'"));
    rig_release(&rig);
    free((void *)(uintptr_t)bytes.data);
}

/* The tables can be taken back when they are empty, and are asked for again. */
static void test_reclaim(void **state)
{
    struct rig rig;
    void *memory, *old;

    rig_init(&rig, WAY(state));
    assert_null(tf_mqtt_server_reclaim(rig.server, TF_MQTT_PART_SENT));
    assert_int_equal(tf_mqtt_server_give(rig.server, TF_MQTT_PART_SENT, &rig, 64, &old), TF_MISUSE);
    rig_handshake(&rig, 5);
    assert_int_equal(tf_mqtt_server_give(rig.server, (enum tf_mqtt_part)9, &rig, 64, &old),
                     TF_MISUSE);
    assert_int_equal(tf_mqtt_server_give(rig.server, TF_MQTT_PART_PENDING, &rig, 8, &old),
                     TF_MISUSE);
    assert_int_equal(tf_mqtt_server_give(rig.server, TF_MQTT_PART_ALIASES, &rig, 8, &old),
                     TF_MISUSE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig_deliver(&rig, "a", "x", 1, 1, 0), TF_OK);
        rig_send(&rig, "34[<a> 0001 []]");
        assert_null(tf_mqtt_server_reclaim(rig.server, TF_MQTT_PART_SENT));
        assert_null(tf_mqtt_server_reclaim(rig.server, TF_MQTT_PART_RECEIVED));
        rig_send(&rig, "40[0001] 62[0001]");
        memory = tf_mqtt_server_reclaim(rig.server, TF_MQTT_PART_SENT);
        assert_non_null(memory);
        free(memory);
        memory = tf_mqtt_server_reclaim(rig.server, TF_MQTT_PART_RECEIVED);
        assert_non_null(memory);
        free(memory);
    }
    /* PENDING goes back when the few that are left fit again. */
    rig.hold_published = true;
    for (int id = 1; id <= 6; id++) {
        char packet[32];
        snprintf(packet, sizeof packet, "32[<a> %04x []]", id);
        rig_send(&rig, packet);
    }
    assert_null(tf_mqtt_server_reclaim(rig.server, TF_MQTT_PART_PENDING));
    assert_null(tf_mqtt_server_reclaim(rig.server, TF_MQTT_PART_ALIASES));
    assert_int_equal(tf_mqtt_server_published(rig.server, 1, 0), TF_OK);
    assert_int_equal(tf_mqtt_server_published(rig.server, 2, 0), TF_OK);
    memory = tf_mqtt_server_reclaim(rig.server, TF_MQTT_PART_PENDING);
    assert_ptr_equal(memory, rig.parts[TF_MQTT_PART_PENDING]);
    rig.parts[TF_MQTT_PART_PENDING] = NULL;
    free(memory);
    for (uint16_t id = 3; id <= 6; id++)
        assert_int_equal(tf_mqtt_server_published(rig.server, id, 0), TF_OK);
    rig.out_length = 0;
    rig_drain(&rig);
    assert_int_equal(rig.out_length >= 4 * 4, 1);
    rig_release(&rig);
}

/* A QoS 2 id that is used anew before its PUBCOMP (MQTT 5.0 2.2.1). */
static void test_id_in_use(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig.hold_complete = true;
    rig_send(&rig, "34[<a> 0001 [] 'x'] 62[0001] 34[<a> 0001 [] 'y']");
    rig_expect(&rig, "PUBLISH a q2 'x'\nRELEASED 1\n");
    rig_expect_output(&rig, "50[0001] 50[0001 91]");
    assert_int_equal(tf_mqtt_server_complete(rig.server, 1), TF_OK);
    rig_expect_output(&rig, "70[0001]");
    rig_send(&rig, "34[<a> 0001 [] 'z']");
    rig_expect(&rig, "PUBLISH a q2 'z'\n");
    rig_release(&rig);
}

/* PUBREC repeated while the caller has not released, and after. */
static void test_pubrec_repeated(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    rig.hold_release = true;
    assert_int_equal(rig_deliver(&rig, "a", "x", 2, 5, 0), TF_OK);
    rig_drain(&rig);
    rig.out_length = 0;
    rig_send(&rig, "50[0001] 50[0001]");
    rig_expect(&rig, "RECEIVED 5\n");
    rig_expect_output(&rig, "");
    assert_int_equal(tf_mqtt_server_release(rig.server, 1), TF_OK);
    rig_expect_output(&rig, "62[0001]");
    rig_release(&rig);
}

/* At a resumption the delivery's own PUBREC comes before it has gone again. */
static void test_pubrec_of_resent(void **state)
{
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    assert_int_equal(rig_deliver(&rig, "a", "x", 2, 5, 0), TF_OK);
    rig_disconnect(&rig);
    rig.session_present = true;
    rig_connect_again(&rig);
    rig_handshake(&rig, 5);
    rig.hold_release = true;
    rig_send(&rig, "50[0001]");
    rig_expect(&rig, "RECEIVED 5\n"); /* once */
    assert_int_equal(tf_mqtt_server_release(rig.server, 1), TF_OK);
    rig_expect_output(&rig, "62[0001]");
    assert_int_equal(tf_mqtt_server_credit(rig.server), 19);
    assert_int_equal(rig_deliver(&rig, "a", "new", 0, 0, 0), TF_OK);
    rig_release(&rig);
}

static void test_malformed(void **state)
{
    static const char *const packets[] = {
        "40[00]", "50[00]", "62[00]",           "70[00]",
        "c0[00]", "e0[7f]", "a2[0001 [] 0005]", "40[0001 01]",
    };

    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++) {
        struct rig rig;

        rig_init(&rig, WAY(state));
        rig_handshake(&rig, 5);
        rig_send(&rig, packets[i]);
        assert_int_equal(rig.err, TF_PROTOCOL);
        assert_true(tf_mqtt_server_closing(rig.server, NULL));
        rig_release(&rig);
    }
}

/* What is over the protocol's own maximum is not begun. */
static void test_over_the_maximum(void **state)
{
    static const uint8_t some[16] = {0};
    struct tf_bytes spans[2] = {tf_bytes_of(some, TF_MQTT_LENGTH_MAX), tf_bytes_of(some, 16)};
    struct tf_mqtt_delivery delivery = {
        .topic = tf_bytes_str("a"), .body = spans, .body_count = 2, .owner = 1};
    struct rig rig;

    rig_init(&rig, WAY(state));
    rig_handshake(&rig, 5);
    assert_int_equal(tf_mqtt_server_deliver(rig.server, &delivery, NULL), TF_LIMIT);
    delivery.properties = spans[0];
    delivery.properties.length++;
    assert_int_equal(tf_mqtt_server_deliver(rig.server, &delivery, NULL), TF_LIMIT);
    rig_expect_output(&rig, "");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(test_many_filters),
        RIG_TESTS(test_suback_too_large_for_client),
        RIG_TESTS(test_large_and_malformed),
        RIG_TESTS(test_large_311),
        RIG_TESTS(test_answered_early),
        RIG_TESTS(test_cut_in_the_body),
        RIG_TESTS(test_close_before_answer),
        RIG_TESTS(test_session_not_present),
        RIG_TESTS(test_reclaim),
        RIG_TESTS(test_id_in_use),
        RIG_TESTS(test_pubrec_repeated),
        RIG_TESTS(test_pubrec_of_resent),
        RIG_TESTS(test_malformed),
        RIG_TESTS(test_over_the_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
