/*
 * The client's machine without its parts: what is left works, what is missing is refused by name,
 * and no input reaches into a part that is not there. Each test runs four ways; see client_rig.h.
 */
#include "client_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "notation.h"

#define WAY(state) (*(enum rig_way *)*(state))

#define RECEIVING &tf_mqtt_client_receiving
#define RELIABLE &tf_mqtt_client_reliable
#define VERSION_5 &tf_mqtt_client_version_5

/* A rig whose client has these parts only, and no session if it needs none. */
static void init(struct client_rig *rig, void **state, unsigned version,
                 struct tf_mqtt_features features)
{
    client_rig_init(rig, WAY(state), version);
    rig->config.features = features;
    if (!features.receiving && !features.reliable) {
        rig->config.session = NULL;
        rig->config.receive_maximum = rig->config.max_in_flight = 0;
        rig->config.topic_alias_bytes = 0;
    }
}

static void test_config(void **state)
{
    struct client_rig rig;
    struct tf_mqtt_client *client;
    uint64_t memory[TF_MQTT_CLIENT_SIZE / 8];

    init(&rig, state, 5, (struct tf_mqtt_features){RECEIVING, RELIABLE, NULL});
    assert_int_equal(tf_mqtt_client_size(&rig.config), 0);
    assert_int_equal(tf_mqtt_client_init(&client, memory, sizeof memory, &rig.config, 0),
                     TF_MISUSE);
    init(&rig, state, 4, (struct tf_mqtt_features){RECEIVING, NULL, NULL});
    assert_in_range(tf_mqtt_client_size(&rig.config), 1, sizeof memory);
    rig.config.connect.clean_start = false; /* its session could not be resumed */
    assert_int_equal(tf_mqtt_client_size(&rig.config), 0);
    rig.config.connect.clean_start = true;
    rig.config.session = NULL;
    assert_int_equal(tf_mqtt_client_size(&rig.config), 0);
    init(&rig, state, 4, (struct tf_mqtt_features){NULL, RELIABLE, NULL});
    rig.config.session = NULL;
    assert_int_equal(tf_mqtt_client_size(&rig.config), 0);
}

static void test_bare(void **state)
{
    struct client_rig rig;
    void *old;

    init(&rig, state, 4, (struct tf_mqtt_features){0});
    client_rig_connect(&rig);
    client_rig_expect_output(&rig, "10[<MQTT>04 02 003c <me>]");
    client_rig_send(&rig, "20[00 00]");
    client_rig_expect(&rig, "CONNECTED\n");
    assert_int_equal(client_rig_publish(&rig, "a", "zero", 0, 0, 7), TF_OK); /* copied */
    assert_int_equal(client_rig_publish(&rig, "a", "one", 1, 1, 0), TF_UNSUPPORTED);
    assert_int_equal(client_rig_publish(&rig, "", "none", 0, 0, 0), TF_MISUSE);
    assert_int_equal(client_rig_subscribe(&rig, "a", 0, 1), TF_UNSUPPORTED);
    assert_int_equal(tf_mqtt_client_ack(rig.client, 1, 0), TF_NOT_FOUND);
    assert_int_equal(tf_mqtt_client_release(rig.client, 1), TF_NOT_FOUND);
    assert_int_equal(tf_mqtt_client_complete(rig.client, 1), TF_NOT_FOUND);
    assert_int_equal(tf_mqtt_client_credit(rig.client), 0);
    assert_int_equal(tf_mqtt_client_give(rig.client, TF_MQTT_PART_SENT, &old, 64, &old), TF_MISUSE);
    assert_null(tf_mqtt_client_reclaim(rig.client, TF_MQTT_PART_SENT));
    client_rig_expect_output(&rig, "30[<a>'zero']");
    rig.now += 60 * TF_SECOND;
    tf_mqtt_client_tick(rig.client, rig.now);
    client_rig_expect_output(&rig, "c0[]");
    client_rig_send(&rig, "d0[]");
    assert_int_equal(rig.err, TF_OK);
    tf_mqtt_client_disconnect(rig.client, 0);
    client_rig_expect_output(&rig, "e0[]");
    client_rig_expect(&rig, "");
    client_rig_release(&rig);

    init(&rig, state, 4, (struct tf_mqtt_features){0});
    client_rig_connect(&rig);
    client_rig_send(&rig, "20[00 05]");
    client_rig_expect(&rig, "REFUSED 87\n");
    client_rig_release(&rig);
}

/* Each packet that belongs to a missing part ends the connection and does nothing else. */
static void test_missing(void **state)
{
    static const char *const packets[] = {
        "30[<a>'x']",  "32[<a> 0001 'x']", "40[0001]",
        "50[0001]",    "62[0001]",         "70[0001]",
        "90[0001 00]", "b0[0001]",         "e0[]",
        "f0[]",        "20[00 00]",        "10[<MQTT>04 02 003c <me>]",
        "c0[]",
    };
    struct client_rig rig;

    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++) {
        init(&rig, state, 4, (struct tf_mqtt_features){0});
        client_rig_handshake(&rig);
        client_rig_send(&rig, packets[i]);
        client_rig_expect(&rig, "");
        client_rig_expect_output(&rig, "");
        client_rig_expect_closing(&rig, TF_MQTT_PROTOCOL_ERROR);
        client_rig_release(&rig);
    }
}

static void test_version_5(void **state)
{
    struct tf_mqtt_features features = {NULL, NULL, VERSION_5};
    struct tf_bytes properties = notation_bytes("01 01");
    struct tf_mqtt_delivery delivery = {
        .topic = tf_bytes_str("a"), .properties = properties, .has_expiry = true, .expiry_s = 9};
    struct client_rig rig;

    init(&rig, state, 5, features);
    client_rig_connect(&rig);
    client_rig_expect_output(&rig, "10[<MQTT>05 02 003c [] <me>]");
    client_rig_send(&rig, "20[00 00 [12 <auto> 24 01 27 00000010]]");
    client_rig_expect(&rig, "CONNECTED as 'auto'\n");
    assert_int_equal(client_rig_publish(&rig, "a", "too long for it", 0, 0, 0), TF_LIMIT);
    assert_int_equal(tf_mqtt_client_publish(rig.client, &delivery, NULL), TF_OK);
    assert_int_equal(client_rig_publish(&rig, "a", "one", 1, 1, 0), TF_UNSUPPORTED);
    assert_int_equal(tf_mqtt_client_credit(rig.client), 0);
    client_rig_expect_output(&rig, "30[<a> [01 01 02 00000009]]");
    client_rig_send(&rig, "e0[8b]");
    client_rig_expect(&rig, "DISCONNECT 8b\n");
    client_rig_release(&rig);
    free((void *)(uintptr_t)properties.data);

    init(&rig, state, 5, features);
    client_rig_handshake(&rig);
    client_rig_send(&rig, "30[<a>[]'x']");
    client_rig_expect_closing(&rig, TF_MQTT_PROTOCOL_ERROR);
    client_rig_expect_output(&rig, "e0[82 [1f <PUBLISH: Protocol Error>]]");
    client_rig_release(&rig);
}

static void test_receiving(void **state)
{
    struct client_rig rig;

    init(&rig, state, 4, (struct tf_mqtt_features){RECEIVING, NULL, NULL});
    client_rig_handshake(&rig);
    assert_int_equal(client_rig_subscribe(&rig, "a", 2, 5), TF_OK);
    client_rig_expect_output(&rig, "82[0001 <a>02]");
    client_rig_send(&rig, "90[0001 02] 30[<a>'0'] 32[<a> 0001 '1'] 34[<a> 0002 '2'] 62[0002]");
    client_rig_expect(&rig, "SUBSCRIBED 5 02\nPUBLISH a q0 '0'\nPUBLISH a q1 '1'\n"
                            "PUBLISH a q2 '2'\n");
    client_rig_expect_output(&rig, "40[0001] 50[0002] 70[0002]");
    assert_int_equal(client_rig_publish(&rig, "b", "1", 1, 1, 0), TF_UNSUPPORTED);
    client_rig_send(&rig, "40[0001]");
    client_rig_expect_closing(&rig, TF_MQTT_PROTOCOL_ERROR);
    client_rig_release(&rig);
}

static void test_reliable(void **state)
{
    struct client_rig rig;

    init(&rig, state, 4, (struct tf_mqtt_features){NULL, RELIABLE, NULL});
    rig.config.connect.clean_start = false;
    client_rig_handshake(&rig);
    assert_int_equal(client_rig_publish(&rig, "a", "1", 1, 1, 0), TF_OK);
    assert_int_equal(client_rig_publish(&rig, "a", "2", 2, 2, 0), TF_OK);
    client_rig_send(&rig, "50[0002]");
    client_rig_expect_output(&rig, "32[<a> 0001 '1'] 34[<a> 0002 '2'] 62[0002]");
    client_rig_disconnect(&rig);
    client_rig_connect(&rig);
    client_rig_drain(&rig);
    rig.out_length = 0;
    client_rig_send(&rig, "20[01 00]");
    client_rig_expect(&rig, "CONNECTED present\nRESEND 1\n");
    assert_int_equal(client_rig_publish(&rig, "a", "1", 1, 1, 0), TF_OK);
    client_rig_expect_output(&rig, "3a[<a> 0001 '1'] 62[0002]");
    client_rig_send(&rig, "40[0001] 70[0002]");
    client_rig_expect(&rig, "SETTLED 1 00\nSETTLED 2 00\n");
    client_rig_send(&rig, "30[<a>'x']");
    client_rig_expect_closing(&rig, TF_MQTT_PROTOCOL_ERROR);
    client_rig_release(&rig);
}

/* Whatever comes, whatever is missing: the invariants hold. */
static void test_any_bytes(void **state)
{
    static const uint8_t first[] = {0x20, 0x30, 0x32, 0x34, 0x40, 0x50,
                                    0x62, 0x70, 0x90, 0xb0, 0xd0, 0xe0};
    uint64_t seed = 5;

    for (unsigned round = 0; round < 4000; round++) {
        unsigned shape = (unsigned)tf_random_split(&seed);
        bool five = shape & 4 && shape & 8;
        struct client_rig rig;
        char text[256] = "";

        init(&rig, state, five ? 5 : 4,
             (struct tf_mqtt_features){shape & 1 ? RECEIVING : NULL, shape & 2 ? RELIABLE : NULL,
                                       shape & 4 ? VERSION_5 : NULL});
        client_rig_handshake(&rig);
        if (shape & 16)
            (void)client_rig_subscribe(&rig, "a", 1, 1);
        (void)client_rig_publish(&rig, "a", "x", (uint8_t)((shape >> 5) % 3), 2, 0);
        for (unsigned packet = 0; packet < 3; packet++) {
            size_t at = strlen(text);
            snprintf(text + at, sizeof text - at, "%02x[",
                     first[tf_random_split(&seed) % sizeof first]);
            for (uint64_t left = tf_random_split(&seed) % 8; left > 0; left--) {
                at = strlen(text);
                snprintf(text + at, sizeof text - at, "%02x",
                         (unsigned)(tf_random_split(&seed) % 4));
            }
            at = strlen(text);
            snprintf(text + at, sizeof text - at, "]");
        }
        client_rig_send(&rig, text);
        client_rig_release(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(test_config),    RIG_TESTS(test_bare),      RIG_TESTS(test_missing),
        RIG_TESTS(test_version_5), RIG_TESTS(test_receiving), RIG_TESTS(test_reliable),
        RIG_TESTS(test_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
