/*
 * The client's machine where things are unusual: calls at the wrong time, too little room,
 * malformed packets, silence that is the caller's own fault. Each test runs four ways; see
 * client_rig.h.
 */
#include "client_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notation.h"

#define WAY(state) (*(enum rig_way *)*(state))

static void test_before_and_after(void **state)
{
    struct tf_mqtt_subscription subscription = {.filter = tf_bytes_str("a")};
    struct tf_bytes none = {0}, ping = notation_bytes("d0[]");
    uint32_t id = 1;
    struct tf_mqtt_delivery identified = {
        .topic = tf_bytes_str("a"), .subscription_ids = &id, .subscription_id_count = 1};
    size_t used = 0, need = 0;
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    client_rig_connect(&rig);
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 1, &subscription, 1, none), TF_AGAIN);
    client_rig_drain(&rig);
    client_rig_send(&rig, "20[00 00 []]");
    assert_int_equal(tf_mqtt_client_publish(rig.client, &identified, NULL), TF_MISUSE);
    tf_mqtt_client_disconnect(rig.client, 0);
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 1, &subscription, 1, none), TF_CLOSED);
    assert_int_equal(tf_mqtt_client_input(rig.client, ping, &used, &need, rig.now), TF_CLOSED);
    client_rig_release(&rig);

    /* Bytes from a server that has not been spoken to. */
    client_rig_init(&rig, WAY(state), 5);
    uint64_t memory[TF_MQTT_CLIENT_SIZE / 8];
    struct tf_mqtt_client *client;
    assert_int_equal(tf_mqtt_client_init(&client, memory, sizeof memory, &rig.config, 0), TF_OK);
    assert_int_equal(tf_mqtt_client_input(client, ping, &used, &need, rig.now), TF_PROTOCOL);
    assert_true(tf_mqtt_client_closing(client, NULL));
    free((void *)(uintptr_t)ping.data);
}

static void test_room(void **state)
{
    char filter[300], body[300];
    struct tf_bytes none = {0};
    struct tf_mqtt_subscription subscription = {.filter = tf_bytes_of(filter, 250)};
    struct client_rig rig;

    memset(filter, 'f', sizeof filter);
    memset(body, 'b', sizeof body);
    body[200] = 0;
    client_rig_init(&rig, WAY(state), 4);
    rig.buffer_size = 256;
    client_rig_handshake(&rig);
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 1, &subscription, 1, none), TF_NO_MEMORY);
    subscription.filter.length = 100;
    assert_int_equal(client_rig_publish(&rig, "a", body, 0, 0, 0), TF_OK);
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 1, &subscription, 1, none), TF_AGAIN);
    client_rig_drain(&rig);
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 1, &subscription, 1, none), TF_AGAIN);
    assert_true(client_rig_pull(&rig)); /* the table */
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 1, &subscription, 1, none), TF_OK);
    client_rig_release(&rig);

    client_rig_init(&rig, WAY(state), 5);
    client_rig_connect(&rig);
    client_rig_drain(&rig);
    client_rig_send(&rig, "20[00 00 [27 00000040]]");
    assert_int_equal(tf_mqtt_client_subscribe(rig.client, 1, &subscription, 1, none), TF_LIMIT);
    client_rig_release(&rig);
}

/* The output is full when a ping is due: it goes as soon as there is room. */
static void test_ping_waits(void **state)
{
    uint8_t second[128];
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 4);
    client_rig_handshake(&rig);
    void *buffer = tf_mqtt_client_take(rig.client);
    assert_non_null(buffer);
    rig.now += 60 * TF_SECOND;
    tf_mqtt_client_tick(rig.client, rig.now);
    client_rig_expect_output(&rig, "");
    assert_int_equal(tf_mqtt_client_lend(rig.client, second, sizeof second), TF_OK);
    client_rig_expect_output(&rig, "c0[]");
    assert_ptr_equal(tf_mqtt_client_take(rig.client), second);
    assert_int_equal(tf_mqtt_client_lend(rig.client, buffer, 128), TF_OK);
    client_rig_release(&rig);
}

/* PINGRESP may lie unread because of us: that ends nothing. */
static void test_ping_unread(void **state)
{
    struct tf_bytes two = notation_bytes("30[<a>] d0[]");
    struct tf_mqtt_client_event event;
    size_t used = 0, need = 0;
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 4);
    client_rig_handshake(&rig);
    rig.now += 60 * TF_SECOND;
    tf_mqtt_client_tick(rig.client, rig.now);
    client_rig_expect_output(&rig, "c0[]");
    assert_int_equal(tf_mqtt_client_input(rig.client, two, &used, &need, rig.now), TF_OK);
    struct tf_bytes rest = tf_bytes_of(two.data + used, two.length - used);
    assert_int_equal(tf_mqtt_client_input(rig.client, rest, &used, &need, rig.now), TF_AGAIN);
    rig.now += 5 * TF_SECOND;
    tf_mqtt_client_tick(rig.client, rig.now);
    assert_false(tf_mqtt_client_closing(rig.client, NULL));
    assert_int_equal(tf_mqtt_client_deadline(rig.client), rig.now + 5 * TF_SECOND);
    assert_true(tf_mqtt_client_event(rig.client, &event));
    assert_int_equal(tf_mqtt_client_input(rig.client, rest, &used, &need, rig.now), TF_OK);
    assert_int_equal(tf_mqtt_client_deadline(rig.client), rig.now + 55 * TF_SECOND);
    client_rig_release(&rig);
    free((void *)(uintptr_t)two.data);
}

static void test_malformed(void **state)
{
    static const char *const packets[] = {"40[00]", "50[00]",   "62[00]", "70[00]",
                                          "d0[00]", "90[0001]", "e0[7f]", "b0[0001 [] 05]"};

    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++) {
        struct client_rig rig;

        client_rig_init(&rig, WAY(state), 5);
        client_rig_handshake(&rig);
        client_rig_send(&rig, packets[i]);
        assert_int_equal(rig.err, TF_PROTOCOL);
        assert_true(tf_mqtt_client_closing(rig.client, NULL));
        client_rig_release(&rig);
    }
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    client_rig_connect(&rig);
    client_rig_drain(&rig);
    client_rig_send(&rig, "20[00]");
    assert_int_equal(rig.err, TF_PROTOCOL);
    client_rig_release(&rig);
}

/* A session that was stored, and is not any more: what nobody released is released by itself. */
static void test_released_by_itself(void **state)
{
    struct client_rig rig;

    client_rig_init(&rig, WAY(state), 5);
    rig.config.connect.clean_start = false;
    client_rig_handshake(&rig);
    assert_int_equal(client_rig_publish(&rig, "t", "1", 1, 1, 0), TF_OK);
    assert_int_equal(client_rig_publish(&rig, "t", "2", 2, 2, 0), TF_OK);
    assert_int_equal(client_rig_publish(&rig, "t", "3", 2, 3, 0), TF_OK);
    client_rig_disconnect(&rig);
    rig.log_length = rig.out_length = 0;
    client_rig_connect(&rig);
    client_rig_drain(&rig);
    rig.out_length = 0;
    client_rig_send(&rig, "20[01 00 []] 50[0002] 50[0003]");
    client_rig_expect(&rig, "CONNECTED present\nRESEND 1\n");
    client_rig_expect_output(&rig, "");
    assert_int_equal(client_rig_publish(&rig, "t", "1", 1, 1, 0), TF_OK);
    client_rig_expect_output(&rig, "3a[<t> 0001 [] '1'] 62[0002] 62[0003]");
    client_rig_send(&rig, "70[0002] 70[0003] 40[0001]");
    client_rig_expect(&rig, "SETTLED 2 00\nSETTLED 3 00\nSETTLED 1 00\n");
    client_rig_release(&rig);
}

/* What DISCONNECT may say, and what 3.1.1 has no word for. */
static void test_goodbyes(void **state)
{
    static const struct {
        unsigned version;
        uint8_t reason;
        const char *output;
    } rows[] = {
        {4, 0, "e0[]"}, {4, 4, ""},       {4, 0x80, ""},
        {5, 0, "e0[]"}, {5, 4, "e0[04]"}, {5, 0x97, "e0[97 [1f<Quota exceeded>]]"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct client_rig rig;

        client_rig_init(&rig, WAY(state), rows[i].version);
        client_rig_handshake(&rig);
        tf_mqtt_client_disconnect(rig.client, rows[i].reason);
        client_rig_expect_output(&rig, rows[i].output);
        client_rig_expect_closing(&rig, rows[i].reason);
        client_rig_release(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TESTS(test_before_and_after), RIG_TESTS(test_room),
        RIG_TESTS(test_ping_waits),       RIG_TESTS(test_ping_unread),
        RIG_TESTS(test_malformed),        RIG_TESTS(test_released_by_itself),
        RIG_TESTS(test_goodbyes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
