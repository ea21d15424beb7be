/*
 * The CoAP front under peers that ask much: what is in a turn stays little, and what is held back
 * by who is not heard of goes to who is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/coap_driver.h"

#define RUN 1024u

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    coap_driver_init(driver, shards);
    driver->config.coap_max_body_bytes = 8 * RUN;
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    coap_driver_expect_idle(driver);
    driver_stop(driver);
    free(driver);
}

/* One block of a body of `count`; the code of the answer. */
static uint8_t block(struct coap_peer *peer, const char *path, unsigned number, unsigned count)
{
    static uint8_t bytes[RUN];
    struct coap_ask ask = {.code = TF_COAP_PUT,
                           .path = path,
                           .body = tf_bytes_of(bytes, RUN),
                           .block1 = COAP_BLOCK(number, number + 1 < count, 6)};
    coap_send(peer, &ask);
    const struct tf_coap_message *answer = coap_take(peer);
    assert_non_null(answer);
    return answer->code;
}

/* Bodies that have been begun and left give way to others, though not at once. */
static void test_bodies_left(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct coap_peer *slow[8], *quick = coap_peer_new(driver, 0);
    for (unsigned i = 0; i < 8; i++) {
        char path[16];
        (void)snprintf(path, sizeof(path), "slow/%u", i);
        slow[i] = coap_peer_new(driver, 0);
        assert_int_equal(block(slow[i], path, 0, 3), TF_COAP_CONTINUE);
    }
    assert_int_equal(block(quick, "quick", 0, 3), TF_COAP_UNAVAILABLE);
    driver_advance(driver, 6 * TF_SECOND);
    assert_int_equal(block(quick, "quick", 0, 3), TF_COAP_UNAVAILABLE);
    driver_advance(driver, 6 * TF_SECOND);
    assert_int_equal(block(quick, "quick", 0, 3), TF_COAP_CONTINUE);
    assert_int_equal(block(quick, "quick", 1, 3), TF_COAP_CONTINUE);
    assert_int_equal(block(quick, "quick", 2, 3), TF_COAP_CREATED);
    assert_int_equal(block(slow[0], "slow/0", 1, 3), TF_COAP_UNAVAILABLE); /* the oldest went */
    assert_int_equal(block(slow[2], "slow/2", 1, 3), TF_COAP_UNAVAILABLE);
    assert_int_equal(block(slow[3], "slow/3", 1, 3), TF_COAP_CONTINUE);
    assert_int_equal(block(slow[3], "slow/3", 2, 3), TF_COAP_CREATED);
    driver_advance(driver, 300 * TF_SECOND);
    stop(driver);
}

/* A channel that closes takes its bodies with it, and what they were charged. */
static void test_bodies_closed(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    assert_int_equal(block(peer, "a", 0, 3), TF_COAP_CONTINUE);
    coap_driver_close(driver, 0);
    assert_int_equal(coap_driver_front(driver, 0)->body_bytes, 0);
    driver_stop(driver);
    free(driver);
}

/* How many messages have come for a peer. */
static unsigned came(const struct coap_peer *peer)
{
    unsigned count = 0;
    for (const struct tf_list_node *node = tf_list_first(&peer->came); node;
         node = tf_list_next(&peer->came, node)) {
        count++;
    }
    return count;
}

#define PATCHES 24u

/* A small patch of a large document costs the reading of the document: so many a turn. */
static void try_patches(unsigned home)
{
    struct driver *driver = start(home ? 3 : 1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    char path[32];
    size_t length = (1 << 18) + 1;
    char *text = malloc(length);
    for (size_t i = 0; i < length; i++) {
        text[i] = i % 2 ? '1' : ',';
    }
    text[0] = '[';
    text[length - 1] = ']';
    coap_name(driver, path, "doc", home);
    struct tf_envelope envelope = {.address = tf_bytes_str(path),
                                   .expires = TF_TIME_NEVER,
                                   .origin = TF_PROTOCOL_COAP,
                                   .retain = true};
    struct tf_bytes body = tf_bytes_of((uint8_t *)text, length);
    struct tf_publication publication = {.envelope = envelope, .body = &body, .body_count = 1};
    struct tf_published published;
    enum tf_err err = tf_shard_write(&driver->nodes[home].shard, &publication, NULL,
                                     &coap_driver_front(driver, home)->tickets, 0, &published);
    assert_int_equal(err, TF_OK);
    tf_publication_release(&publication);
    driver_run(driver);
    for (unsigned i = 0; i < PATCHES; i++) {
        struct coap_ask ask = {.code = TF_COAP_PATCH,
                               .path = path,
                               .format = COAP_FORMAT(TF_COAP_FORMAT_JSON_PATCH),
                               .text = "[{\"op\":\"test\",\"path\":\"/0\",\"value\":7}]"};
        coap_send(peer, &ask);
    }
    unsigned most = 0, all = 0;
    for (bool busy = true; busy || driver->nodes[0].mail || driver->nodes[home].mail;) {
        busy = false;
        for (unsigned i = 0; i < driver->count; i++) {
            busy |= driver_turn(driver, i);
        }
        unsigned now = came(peer);
        most = TF_MAX(most, now - all);
        all = now;
    }
    assert_true(most <= 8);
    for (unsigned i = 0; i < PATCHES; i++) {
        coap_expect(peer, TF_COAP_CONFLICT);
    }
    free(text);
    stop(driver);
}

static void test_patches(void **state)
{
    (void)state;
    try_patches(0);
    try_patches(1);
}

/* Patches that wait for their turn when the channel goes. */
static void test_patches_closed(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    coap_put(peer, "doc", "{\"a\":1}");
    for (unsigned i = 0; i < PATCHES; i++) {
        char text[800];
        (void)snprintf(text, sizeof(text), "{\"a\":\"%0700u\"}", i);
        struct coap_ask ask = {.code = TF_COAP_PATCH,
                               .path = "doc",
                               .format = COAP_FORMAT(TF_COAP_FORMAT_MERGE_PATCH),
                               .text = text};
        coap_send(peer, &ask);
    }
    (void)driver_turn(driver, 0);
    coap_driver_close(driver, 0);
    driver_run(driver);
    driver_stop(driver);
    free(driver);
}

#define READERS 60u
#define VALUES 3000u

/* Many read /.well-known/core at once: all get it, one after the other, from the memory of a few.
 */
static void try_readers(unsigned shards)
{
    struct driver *driver = start(shards);
    struct coap_peer *peers[READERS], *writer = coap_peer_new(driver, 0);
    for (unsigned i = 0; i < VALUES; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "some/where/with/a/name/%u", i);
        coap_put(writer, path, "x");
    }
    driver_advance(driver, 300 * TF_SECOND);
    struct coap_ask ask = {.code = TF_COAP_GET, .path = ".well-known/core"};
    for (unsigned i = 0; i < READERS; i++) {
        peers[i] = coap_peer_new(driver, 0);
        coap_send(peers[i], &ask);
    }
    uint64_t most = 0;
    for (bool busy = true; busy;) {
        busy = false;
        for (unsigned i = 0; i < shards; i++) {
            busy |= driver_turn(driver, i) || driver->nodes[i].mail;
            most = TF_MAX(most, coap_driver_front(driver, i)->listing_bytes);
        }
    }
    uint64_t one = coap_number(coap_expect(peers[0], TF_COAP_CONTENT), TF_COAP_SIZE2);
    for (unsigned i = 1; i < READERS; i++) {
        coap_expect(peers[i], TF_COAP_CONTENT);
    }
    assert_true(one > VALUES * 30);
    assert_true(most < 10 * one);
    ask.block2 = COAP_BLOCK(20, false, 6);
    for (unsigned i = 0; i < READERS; i++) { /* each has its snapshot */
        coap_send(peers[i], &ask);
        (void)driver_turn(driver, 0);
        coap_expect(peers[i], TF_COAP_CONTENT);
    }
    assert_int_equal(coap_driver_front(driver, 0)->listing_bytes, one); /* one for all */
    driver_advance(driver, 300 * TF_SECOND);
    for (unsigned i = 0; i < shards; i++) {
        assert_int_equal(coap_driver_front(driver, i)->listing_bytes, 0);
    }
    stop(driver);
}

static void test_readers(void **state)
{
    (void)state;
    try_readers(1);
    try_readers(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies_left), cmocka_unit_test(test_bodies_closed),
        cmocka_unit_test(test_patches),     cmocka_unit_test(test_patches_closed),
        cmocka_unit_test(test_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
