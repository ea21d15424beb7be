/*
 * The CoAP front and who its peers are: addresses that may be forged, groups, long values read
 * block by block.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/coap_driver.h"

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    coap_driver_init(driver, shards);
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    driver_advance(driver, 61 * TF_SECOND);
    coap_driver_expect_idle(driver);
    driver_stop(driver);
    free(driver);
}

/* All that has come for a peer, in bytes; acknowledges nothing. */
static size_t take_bytes(struct coap_peer *peer)
{
    size_t length = 0;
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&peer->came))) {
        struct coap_got *got = tf_container_of(node, struct coap_got, node);
        length += got->length;
        free(got);
    }
    return length;
}

/* RFC 9175 2.4: who may be somebody else gets at most 136 bytes, or three times what it sent. */
static void test_forged_addresses(void **state)
{
    (void)state;
    static char text[3001];
    static const char *const paths[] = {"f/one", "f/two", "f/three", ".well-known/core"};
    struct driver *driver = start(3);
    struct coap_peer *writer = coap_peer_new(driver, 1);
    memset(text, 'x', 1000);
    for (unsigned i = 0; i < 3; i++) {
        coap_put(writer, paths[i], text);
    }
    for (unsigned code = TF_COAP_GET; code <= TF_COAP_IPATCH; code++) {
        for (unsigned i = 0; i < 4 * 4; i++) {
            struct coap_peer *peer = coap_peer_new(driver, 0);
            struct coap_ask ask = {.code = (uint8_t)code, .path = paths[i / 4], .non = i & 1};
            ask.observe = i >> 1 & 1;
            ask.text = code == TF_COAP_GET ? NULL : "{}";
            ask.format = COAP_FORMAT(52);
            peer->flags = 0;
            coap_send(peer, &ask);
            driver_run(driver);
            assert_true(take_bytes(peer) <= 136);
        }
        coap_put(writer, paths[0], text);
    }
    /* who cannot be forged is told at once, and so is who shows that it receives */
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = {.code = TF_COAP_GET, .path = paths[0]};
    peer->flags = 0;
    coap_send(peer, &ask);
    const struct tf_coap_message *answer = coap_take(peer);
    struct tf_bytes echo;
    assert_true(answer && tf_coap_option_find(answer->options, TF_COAP_ECHO, &echo));
    struct tf_coap_encoder out;
    uint8_t buffer[100];
    tf_coap_encode(&out, buffer, sizeof(buffer), TF_COAP_CON, TF_COAP_GET, 999,
                   tf_bytes_str("token"));
    tf_coap_encode_option(&out, TF_COAP_URI_PATH, tf_bytes_str("f"));
    tf_coap_encode_option(&out, TF_COAP_URI_PATH, tf_bytes_str("one"));
    tf_coap_encode_option(&out, TF_COAP_ECHO, echo);
    coap_send_bytes(peer, tf_coap_encoded(&out));
    assert_int_equal(coap_expect(peer, TF_COAP_CONTENT)->payload.length, 1000);
    stop(driver);
}

/* Forged observers cost their one CON with its repeats, and are gone. */
static void test_forged_observers(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct coap_peer *writer = coap_peer_new(driver, 0), *forged[20];
    coap_put(writer, "v", "0");
    for (unsigned i = 0; i < TF_COUNT(forged); i++) {
        forged[i] = coap_peer_new(driver, 0);
        forged[i]->flags = 0;
        coap_send(forged[i], &(struct coap_ask){.code = TF_COAP_GET, .path = "v", .observe = 1});
        driver_run(driver);
        (void)take_bytes(forged[i]);
    }
    for (unsigned i = 0; i < 120; i++) {
        coap_put(writer, "v", "1");
        driver_advance(driver, TF_SECOND);
    }
    for (unsigned i = 0; i < TF_COUNT(forged); i++) {
        assert_true(take_bytes(forged[i]) < 5 * 40);
    }
    assert_true(tf_list_empty(&coap_driver_channel(driver, 0)->observers));
    stop(driver);
}

/* RFC 7252 8.2: a group answers late, and only who has something to say. */
static void test_multicast(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *writer = coap_peer_new(driver, 0), *group = coap_peer_new(driver, 0);
    coap_put(writer, "g", "x");
    group->flags = TF_DATAGRAM_MULTICAST;
    struct coap_ask ask = {.code = TF_COAP_GET, .path = ".well-known/core", .non = true};
    coap_send(group, &ask);
    ask.query = "href=/none";
    coap_send(group, &ask);
    ask.query = NULL;
    ask.path = "nothing";
    coap_send(group, &ask);
    ask.observe = 1;
    ask.path = "g";
    coap_send(group, &ask);
    ask.non = false;
    coap_send(group, &ask); /* 8.1: a multicast is never a CON */
    ask = (struct coap_ask){.code = TF_COAP_PUT, .path = "g", .non = true, .text = "{}"};
    ask.block1 = COAP_BLOCK(0, 1, 0);
    coap_send(group, &ask);
    driver_run(driver);
    assert_true(tf_list_empty(&group->came));
    driver_advance(driver, 6 * TF_SECOND);
    unsigned count = 0;
    const struct tf_coap_message *message;
    while ((message = coap_take(group))) {
        assert_int_equal(message->code, TF_COAP_CONTENT);
        assert_int_equal(coap_number(message, TF_COAP_OBSERVE), -1);
        count++;
    }
    assert_int_equal(count, 2);
    assert_true(tf_list_empty(&coap_driver_channel(driver, 0)->observers));
    stop(driver);
}

/* A long value of MQTT's, block by block, at home and away; another value has another ETag. */
static void test_long_values(void **state)
{
    (void)state;
    enum { LENGTH = 100000 };
    char *text = malloc(LENGTH + 1), path[32];
    struct driver *driver = start(3);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct client client;
    for (unsigned i = 0; i < LENGTH; i++) {
        text[i] = (char)('a' + i % 23);
    }
    text[LENGTH] = 0;
    peer_connect(&client, driver, 0, "m", (struct hello){.clean = true});
    for (unsigned home = 0; home < 2; home++) {
        coap_name(driver, path, "l", home);
        peer_publish(&client, path, text, 1, 0);
        driver_run(driver);
        uint8_t first[8], other[8];
        struct tf_bytes etag = {NULL, 0};
        size_t length = 0;
        for (unsigned i = 0; length < LENGTH; i++) {
            struct coap_ask ask = {
                .code = TF_COAP_GET, .path = path, .block2 = COAP_BLOCK(i, 0, 6)};
            const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_CONTENT);
            assert_memory_equal(answer->payload.data, text + length, answer->payload.length);
            length += answer->payload.length;
            if (i == 0) {
                assert_int_equal(coap_number(answer, TF_COAP_SIZE2), LENGTH);
                etag = coap_etag(answer, first);
            }
            assert_true(tf_bytes_equal(coap_etag(answer, other), etag));
        }
        peer_publish(&client, path, text, 1, 0);
        driver_run(driver);
        struct coap_ask ask = {.code = TF_COAP_GET, .path = path, .block2 = COAP_BLOCK(1, 0, 6)};
        struct tf_bytes now = coap_etag(coap_ask(peer, &ask, TF_COAP_CONTENT), other);
        assert_false(tf_bytes_equal(now, etag));
    }
    free(text);
    stop(driver);
}

/* Datagrams that are no requests, and requests that are cut off or twice: no harm, no second run.
 */
static void test_strange_datagrams(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    static const uint8_t put[] = {0x40, 3, 0, 9, 0xB1, 's', 0xFF, 'x'};
    for (size_t length = 0; length < sizeof(put); length++) {
        for (unsigned head = 0; head < 256; head++) {
            uint8_t copy[sizeof(put)];
            memcpy(copy, put, sizeof(put));
            copy[0] = (uint8_t)head;
            copy[1] = (uint8_t)(head * 7);
            coap_send_bytes(peer, tf_bytes_of(copy, length));
        }
    }
    driver_run(driver);
    (void)take_bytes(peer);
    for (unsigned i = 0; i < 3; i++) {
        static const uint8_t post[] = {0x40, 2, 0xAB, 9, 0xB1, 't', 0xFF, 'x'};
        coap_send_bytes(peer, tf_bytes_of(post, sizeof(post)));
        coap_expect(peer, TF_COAP_CREATED); /* the same answer again */
    }
    stop(driver);
}

/* A listener without allow_anonymous answers nobody; another in its place after a reload does. */
static void test_anonymous(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct tf_config_access *access = &driver->config.listeners[1].access;
    static const char *const paths[] = {"a", "$SYS/broker/uptime", ".well-known/core", "rd", "+"};
    access->allow_anonymous = false;
    for (unsigned code = TF_COAP_GET; code <= TF_COAP_IPATCH; code++) {
        for (unsigned i = 0; i < 4 * TF_COUNT(paths); i++) {
            struct coap_ask ask = {.code = (uint8_t)code, .path = paths[i / 4]};
            ask.observe = i & 1;
            if (i & 2) {
                ask.text = "0123456789ABCDEF";
                ask.block1 = COAP_BLOCK(0, 1, 0);
            }
            coap_ask(peer, &ask, TF_COAP_UNAUTHORIZED);
        }
    }
    coap_driver_expect_idle(driver);
    access->allow_anonymous = true;
    for (unsigned i = 0; i < 3; i++) {
        struct tf_front *front = driver->nodes[i].beside;
        front->ops->reload(front, &driver->config);
    }
    coap_put(peer, "a", "x");
    coap_expect_value(peer, "a", "x");
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forged_addresses),  cmocka_unit_test(test_forged_observers),
        cmocka_unit_test(test_multicast),         cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_strange_datagrams), cmocka_unit_test(test_anonymous),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
