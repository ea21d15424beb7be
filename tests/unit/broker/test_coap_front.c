/*
 * The CoAP front: requests and their answers, at home and away, beside MQTT sessions.
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
    coap_driver_expect_idle(driver);
    driver_stop(driver);
    free(driver);
}

static struct coap_ask get(const char *path)
{
    return (struct coap_ask){.code = TF_COAP_GET, .path = path};
}

static struct coap_ask put(const char *path, const char *text)
{
    return (struct coap_ask){.code = TF_COAP_PUT, .path = path, .text = text};
}

/* Runs a test with the address at home and away from the shard that is asked. */
static void at_home_and_away(void (*test)(struct driver *driver, const char *path))
{
    char path[32];
    for (unsigned home = 0; home < 3; home++) {
        struct driver *driver = start(home < 2 ? 3 : 1);
        test(driver, coap_name(driver, path, "a/b", home % 2));
        stop(driver);
    }
}

/* ---- methods ---- */

static void try_methods(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = get(path);
    coap_ask(peer, &ask, TF_COAP_NOT_FOUND);
    ask = put(path, "one");
    assert_int_equal(coap_ask(peer, &ask, TF_COAP_CREATED)->payload.length, 0);
    coap_expect_value(peer, path, "one");
    ask.non = true;
    ask.text = "two";
    assert_int_equal(coap_ask(peer, &ask, TF_COAP_CHANGED)->type, TF_COAP_NON);
    coap_expect_value(peer, path, "two");
    ask = (struct coap_ask){.code = TF_COAP_POST, .path = path, .text = "three"};
    assert_int_equal(coap_number(coap_ask(peer, &ask, TF_COAP_CHANGED), TF_COAP_LOCATION_PATH), -1);
    coap_expect_value(peer, path, "three");
    ask = (struct coap_ask){.code = TF_COAP_DELETE, .path = path, .text = "ignored"};
    coap_ask(peer, &ask, TF_COAP_DELETED);
    coap_ask(peer, &ask, TF_COAP_DELETED); /* RFC 7252 5.8.4 */
    coap_expect_value(peer, path, NULL);
    ask = (struct coap_ask){.code = TF_COAP_FETCH, .path = path, .text = "x"};
    coap_ask(peer, &ask, TF_COAP_UNSUPPORTED_FORMAT);
    ask.code = 8;
    coap_ask(peer, &ask, TF_COAP_METHOD_NOT_ALLOWED);
    ask.code = 31;
    coap_ask(peer, &ask, TF_COAP_METHOD_NOT_ALLOWED);
}

static void test_methods(void **state)
{
    (void)state;
    at_home_and_away(try_methods);
}

/* 2.01 of a POST names where, as far as that goes into a datagram. */
static void try_location(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = {.code = TF_COAP_POST, .path = path, .text = "x"};
    const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_CREATED);
    uint8_t buffer[64];
    struct tf_coap_cursor cursor = tf_coap_options(answer->options);
    struct tf_coap_option option;
    size_t length = 0;
    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number == TF_COAP_LOCATION_PATH) {
            buffer[length++] = '/';
            memcpy(buffer + length, option.value.data, option.value.length);
            length += option.value.length;
        }
    }
    assert_true(tf_bytes_equal(tf_bytes_of(buffer + 1, length - 1), tf_bytes_str(path)));
    /* 6 levels of 200 bytes are more than a datagram of ours holds */
    char longer[1300];
    memset(longer, 'l', sizeof(longer));
    for (size_t i = 200; i < 1206; i += 201) {
        longer[i] = '/';
    }
    longer[1205] = 0;
    ask.path = longer;
    answer = coap_ask(peer, &ask, TF_COAP_CREATED);
    assert_int_equal(answer->options.length, 0);
    coap_expect_value(peer, longer, "x");
}

static void test_location(void **state)
{
    (void)state;
    at_home_and_away(try_location);
}

/* An empty body is an empty value, which is not the same as none. */
static void try_empty(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct client reader;
    peer_connect(&reader, driver, 0, "r", (struct hello){.clean = true});
    peer_subscribe(&reader, path, 0);
    coap_put(peer, path, "");
    peer_expect_publish(&reader, path, "", 0);
    coap_expect_value(peer, path, "");
    struct coap_ask ask = put(path, "");
    coap_ask(peer, &ask, TF_COAP_CHANGED);
    peer_expect_publish(&reader, path, "", 0);
    ask = (struct coap_ask){.code = TF_COAP_DELETE, .path = path, .text = "no body"};
    coap_ask(peer, &ask, TF_COAP_DELETED);
    peer_expect_publish(&reader, path, "", 0);
    coap_expect_value(peer, path, NULL);
}

static void test_empty_body(void **state)
{
    (void)state;
    at_home_and_away(try_empty);
}

/* ---- conditions (RFC 7252 5.10.8) ---- */

static void try_conditions(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    uint8_t old_bytes[8], new_bytes[8];
    struct coap_ask ask = put(path, "x");
    struct tf_bytes none = {(const uint8_t *)"", 0}, foreign = tf_bytes_str("foreign!");
    ask.if_match = &none;
    ask.if_match_count = 1;
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED); /* there is no value */
    ask.if_match = &foreign;
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED);
    ask.if_match_count = 0;
    ask.if_none_match = true;
    struct tf_bytes first = coap_etag(coap_ask(peer, &ask, TF_COAP_CREATED), old_bytes);
    assert_true(first.length > 0);
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED);
    ask.if_none_match = false;
    ask.if_match = &none;
    ask.if_match_count = 1;
    ask.text = "y";
    struct tf_bytes second = coap_etag(coap_ask(peer, &ask, TF_COAP_CHANGED), new_bytes);
    assert_false(tf_bytes_equal(first, second));
    ask.if_match = &first; /* not any more */
    ask.text = "z";
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED);
    coap_expect_value(peer, path, "y");
    struct tf_bytes several[] = {foreign, first, tf_bytes_str("\0\1"), second};
    several[2].length = 2;
    ask.if_match = several;
    ask.if_match_count = 3;
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED);
    ask.if_match_count = 4;
    coap_ask(peer, &ask, TF_COAP_CHANGED);
    struct tf_bytes mixed[] = {foreign, none};
    ask.if_match = mixed;
    ask.if_match_count = 2;
    coap_ask(peer, &ask, TF_COAP_CHANGED); /* the empty one matches */
    ask.if_match = &foreign;
    ask.if_match_count = 1;
    ask.code = TF_COAP_DELETE;
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED);
    ask.code = TF_COAP_GET;
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED);
    coap_expect_value(peer, path, "z");
    /* more If-Match than are looked at never make a write happen that should not */
    struct tf_bytes many[20];
    for (unsigned i = 0; i < TF_COUNT(many); i++) {
        many[i] = foreign;
    }
    ask = put(path, "many");
    ask.if_match = many;
    ask.if_match_count = TF_COUNT(many);
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED);
}

static void test_conditions(void **state)
{
    (void)state;
    at_home_and_away(try_conditions);
}

static void try_validation(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    uint8_t bytes[8], again[8];
    struct coap_ask ask = get(path);
    coap_put(peer, path, "x");
    struct tf_bytes etag = coap_etag(coap_ask(peer, &ask, TF_COAP_CONTENT), bytes);
    ask.etag = etag;
    const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_VALID);
    assert_true(tf_bytes_equal(coap_etag(answer, again), etag));
    assert_int_equal(answer->payload.length, 0);
    coap_put(peer, path, "y");
    coap_ask(peer, &ask, TF_COAP_CONTENT);
}

static void test_validation(void **state)
{
    (void)state;
    at_home_and_away(try_validation);
}

/* ---- formats ---- */

/* Publishes by MQTT with a content type. */
static void publish_typed(struct client *client, const char *topic, const char *type,
                          const char *expiry)
{
    char properties[64];
    size_t length = 0;
    if (expiry) {
        memcpy(properties, expiry, 5);
        length = 5;
    }
    if (type) {
        properties[length++] = 3;
        properties[length++] = 0;
        properties[length++] = (char)strlen(type);
        memcpy(properties + length, type, strlen(type));
        length += strlen(type);
    }
    peer_publish_with(client, topic, tf_bytes_str("{}"), 1, 0, properties, length);
    driver_run(client->driver);
}

static void try_formats(struct driver *driver, const char *path)
{
    static const struct {
        const char *type;
        int format;
    } cases[] = {{"application/json", 50},
                 {"text/plain;charset=utf-8", 0},
                 {"application/cbor", 60},
                 {"65000", 65000},
                 {"image/of-nothing", -1},
                 {NULL, -1},
                 {"70000", -1},
                 {"007", -1}};
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct client client;
    struct reply reply;
    struct coap_ask ask = get(path);
    peer_connect(&client, driver, 0, "m", (struct hello){.clean = true});
    for (unsigned i = 0; i < TF_COUNT(cases); i++) {
        publish_typed(&client, path, cases[i].type, NULL);
        for (unsigned again = 0; again < 2; again++) { /* looked up, and as it was kept */
            const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_CONTENT);
            if (cases[i].format >= 0) {
                assert_int_equal(coap_number(answer, TF_COAP_CONTENT_FORMAT), cases[i].format);
            } else {
                assert_int_equal(coap_number(answer, TF_COAP_CONTENT_FORMAT), -1);
            }
        }
    }
    peer_subscribe(&client, path, 0);
    (void)peer_take(&client, &reply); /* what is retained */
    ask = put(path, "{\"a\":1}");
    ask.format = COAP_FORMAT(50);
    coap_ask(peer, &ask, TF_COAP_CHANGED);
    reply = peer_expect(&client, PUBLISH);
    const uint8_t *type = reply_property(reply.properties, 3);
    assert_true(type &&
                tf_bytes_equal(tf_bytes_of(type + 2, type[1]), tf_bytes_str("application/json")));
    ask.format = COAP_FORMAT(64999);
    coap_ask(peer, &ask, TF_COAP_CHANGED);
    reply = peer_expect(&client, PUBLISH);
    type = reply_property(reply.properties, 3);
    assert_true(type && tf_bytes_equal(tf_bytes_of(type + 2, type[1]), tf_bytes_str("64999")));
    ask.format = COAP_FORMAT(0);
    coap_ask(peer, &ask, TF_COAP_CHANGED);
    reply = peer_expect(&client, PUBLISH);
    const uint8_t *text = reply_property(reply.properties, 1);
    assert_true(text && *text == 1);
    ask = get(path);
    ask.accept = COAP_FORMAT(50);
    coap_ask(peer, &ask, TF_COAP_NOT_ACCEPTABLE);
    ask.accept = COAP_FORMAT(0);
    coap_ask(peer, &ask, TF_COAP_CONTENT);
}

static void test_formats(void **state)
{
    (void)state;
    at_home_and_away(try_formats);
}

/* ---- expiry ---- */

static void try_expiry(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct client client;
    struct coap_ask ask = get(path);
    peer_connect(&client, driver, 0, "m", (struct hello){.clean = true});
    publish_typed(&client, path, NULL, "\2\0\0\0\144"); /* 100 seconds */
    assert_int_equal(coap_number(coap_ask(peer, &ask, TF_COAP_CONTENT), TF_COAP_MAX_AGE_OPTION),
                     100);
    driver_advance(driver, 40 * TF_SECOND + 1);
    assert_int_equal(coap_number(coap_ask(peer, &ask, TF_COAP_CONTENT), TF_COAP_MAX_AGE_OPTION),
                     60);
    driver_advance(driver, 59 * TF_SECOND);
    assert_int_equal(coap_number(coap_ask(peer, &ask, TF_COAP_CONTENT), TF_COAP_MAX_AGE_OPTION), 1);
    driver_advance(driver, TF_SECOND);
    coap_ask(peer, &ask, TF_COAP_NOT_FOUND);
    coap_put(peer, path, "x");
    assert_int_equal(coap_number(coap_ask(peer, &ask, TF_COAP_CONTENT), TF_COAP_MAX_AGE_OPTION),
                     -1);
}

static void test_expiry(void **state)
{
    (void)state;
    at_home_and_away(try_expiry);
}

/* ---- what is no address ---- */

static void test_no_addresses(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    static const char *const bad[] = {"a\1b", "+", "#", "a+", ".", "..", "\xFF"};
    char levels[2 * 129 + 1];
    struct coap_ask ask;
    static const uint8_t methods[] = {TF_COAP_GET,    TF_COAP_PUT,   TF_COAP_POST,
                                      TF_COAP_DELETE, TF_COAP_FETCH, TF_COAP_PATCH};
    for (unsigned m = 0; m < TF_COUNT(methods); m++) {
        for (unsigned i = 0; i < TF_COUNT(bad); i++) {
            uint8_t segment[8];
            size_t length = strlen(bad[i]);
            for (size_t j = 0; j < length; j++) {
                segment[j] = bad[i][j] == 1 ? '/' : (uint8_t)bad[i][j];
            }
            ask = (struct coap_ask){.code = methods[m], .raw = tf_bytes_of(segment, length)};
            const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_BAD_REQUEST);
            assert_true(answer->payload.length > 0);
            ask.block2 = COAP_BLOCK(0, 0, 0); /* the words do not go into a block of 16 bytes */
            coap_ask(peer, &ask, TF_COAP_BAD_REQUEST);
            ask.block2 = 0;
            ask.block1 = COAP_BLOCK(0, 1, 0);
            ask.text = "0123456789ABCDEF";
            coap_ask(peer, &ask, TF_COAP_BAD_REQUEST);
        }
    }
    ask = get(NULL);
    coap_ask(peer, &ask, TF_COAP_BAD_REQUEST); /* no path */
    for (size_t i = 0; i < sizeof(levels); i++) {
        levels[i] = i % 2 ? '/' : 'l';
    }
    levels[2 * 128 - 1] = 0;
    coap_put(peer, levels, "x"); /* 128 levels */
    coap_expect_value(peer, levels, "x");
    levels[2 * 128 - 1] = '/';
    levels[2 * 129 - 1] = 0;
    ask = put(levels, "x");
    coap_ask(peer, &ask, TF_COAP_BAD_REQUEST);
    stop(driver);
}

static void test_reserved(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    static const char *const paths[] = {"rd", "ps", "ps/a", ".well-known", ".well-known/x"};
    struct coap_ask ask;
    for (unsigned i = 0; i < TF_COUNT(paths); i++) {
        ask = put(paths[i], "x");
        coap_ask(peer, &ask, TF_COAP_NOT_FOUND);
        ask = get(paths[i]);
        ask.observe = 1;
        coap_ask(peer, &ask, TF_COAP_NOT_FOUND);
    }
    ask = put(".well-known/core", "x");
    coap_ask(peer, &ask, TF_COAP_METHOD_NOT_ALLOWED);
    ask.code = TF_COAP_FETCH;
    coap_ask(peer, &ask, TF_COAP_METHOD_NOT_ALLOWED);
    ask = put("$SYS/broker/uptime", "x");
    coap_ask(peer, &ask, TF_COAP_FORBIDDEN);
    ask.block1 = COAP_BLOCK(0, 1, 0);
    ask.text = "0123456789ABCDEF";
    coap_ask(peer, &ask, TF_COAP_FORBIDDEN);
    ask.path = "$share/a/b";
    coap_ask(peer, &ask, TF_COAP_FORBIDDEN);
    stop(driver);
}

/* What the broker itself publishes can be read. */
static void test_system_values(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct tf_bytes body = tf_bytes_str("42 seconds");
    struct tf_publication publication = {.envelope = {.address = tf_bytes_str("$SYS/broker/uptime"),
                                                      .expires = TF_TIME_NEVER,
                                                      .retain = true},
                                         .body = &body,
                                         .body_count = 1};
    struct tf_published published;
    enum tf_err err = tf_shard_publish(&driver->nodes[1].shard, &publication, NULL, 0, &published);
    assert_true(err == TF_OK || err == TF_AGAIN);
    tf_publication_release(&publication);
    driver_run(driver);
    coap_expect_value(peer, "$SYS/broker/uptime", "42 seconds");
    struct coap_ask ask = {.code = TF_COAP_DELETE, .path = "$SYS/broker/uptime"};
    coap_ask(peer, &ask, TF_COAP_FORBIDDEN);
    stop(driver);
}

/* ---- bodies in blocks ---- */

#define RUN "0123456789ABCDEF"

static void try_blocks(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = put(path, RUN);
    for (unsigned i = 0; i < 3; i++) {
        ask.block1 = COAP_BLOCK(i, i < 2, 0);
        coap_ask(peer, &ask, i < 2 ? TF_COAP_CONTINUE : TF_COAP_CREATED);
    }
    coap_expect_value(peer, path, RUN RUN RUN);
    ask = get(path);
    ask.block2 = COAP_BLOCK(1, 0, 0);
    assert_true(coap_body_is(coap_ask(peer, &ask, TF_COAP_CONTENT), RUN));
    ask.block2 = COAP_BLOCK(3, 0, 0);
    coap_ask(peer, &ask, TF_COAP_BAD_REQUEST);
    /* a gap ends it, also for the front */
    ask = put(path, RUN);
    ask.block1 = COAP_BLOCK(0, 1, 0);
    coap_ask(peer, &ask, TF_COAP_CONTINUE);
    ask.block1 = COAP_BLOCK(2, 1, 0);
    coap_ask(peer, &ask, TF_COAP_INCOMPLETE);
    coap_driver_expect_idle(driver);
    /* begun anew, and given up */
    ask.block1 = COAP_BLOCK(0, 1, 0);
    coap_ask(peer, &ask, TF_COAP_CONTINUE);
    coap_ask(peer, &ask, TF_COAP_CONTINUE);
    assert_int_equal(coap_driver_front(driver, 0)->body_bytes, 16);
    driver_advance(driver, 248 * TF_SECOND);
    coap_driver_expect_idle(driver);
    coap_expect_value(peer, path, RUN RUN RUN);
}

static void test_bodies_in_blocks(void **state)
{
    (void)state;
    at_home_and_away(try_blocks);
}

/* A body in blocks is nothing that a GET or DELETE has. */
static void try_strange_blocks(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    static const uint8_t methods[] = {TF_COAP_GET, TF_COAP_DELETE, TF_COAP_FETCH};
    coap_put(peer, path, "x");
    for (unsigned i = 0; i < TF_COUNT(methods); i++) {
        for (unsigned observe = 0; observe < 2; observe++) {
            struct coap_ask ask = {.code = methods[i], .path = path, .text = RUN};
            ask.block1 = COAP_BLOCK(0, 1, 0);
            ask.observe = observe;
            coap_ask(peer, &ask, TF_COAP_BAD_REQUEST);
            ask.path = ".well-known/core";
            coap_ask(peer, &ask, TF_COAP_BAD_REQUEST);
            ask.path = path;
            ask.block1 = COAP_BLOCK(1, 0, 0);
            coap_ask(peer, &ask, TF_COAP_INCOMPLETE);
        }
    }
    coap_expect_value(peer, path, "x");
}

static void test_strange_blocks(void **state)
{
    (void)state;
    at_home_and_away(try_strange_blocks);
}

static void test_body_limits(void **state)
{
    (void)state;
    struct driver *driver = malloc(sizeof(*driver));
    coap_driver_init(driver, 1);
    driver->config.coap_max_body_bytes = 40;
    driver->config.coap_max_bodies = 4;
    driver_start(driver);
    struct coap_peer *peer = coap_peer_new(driver, 0), *others[6];
    struct coap_ask ask = put("a", RUN);
    ask.block1 = COAP_BLOCK(0, 1, 0);
    coap_ask(peer, &ask, TF_COAP_CONTINUE);
    ask.block1 = COAP_BLOCK(1, 1, 0);
    coap_ask(peer, &ask, TF_COAP_CONTINUE);
    ask.block1 = COAP_BLOCK(2, 1, 0);
    coap_ask(peer, &ask, TF_COAP_UNAVAILABLE); /* at once: more need not come */
    coap_driver_expect_idle(driver);
    coap_expect_value(peer, "a", NULL);
    /* more bodies than there may be: later ones are refused while the first are at work */
    driver->config.coap_max_body_bytes = 4000;
    ask.block1 = COAP_BLOCK(0, 1, 0);
    for (unsigned i = 0; i < TF_COUNT(others); i++) {
        others[i] = coap_peer_new(driver, 0);
        coap_ask(others[i], &ask, i < 4 ? TF_COAP_CONTINUE : TF_COAP_UNAVAILABLE);
    }
    ask.block1 = COAP_BLOCK(1, 0, 0);
    coap_ask(others[0], &ask, TF_COAP_CREATED);
    driver_advance(driver, 248 * TF_SECOND);
    stop(driver);
}

/* ---- PATCH ---- */

static struct coap_ask patch(const char *path, const char *text)
{
    return (struct coap_ask){.code = TF_COAP_PATCH,
                             .path = path,
                             .text = text,
                             .format = COAP_FORMAT(TF_COAP_FORMAT_MERGE_PATCH)};
}

static void try_patch(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = patch(path, "{\"a\":1}");
    uint8_t bytes[8];
    ask.format = 0;
    coap_ask(peer, &ask, TF_COAP_UNSUPPORTED_FORMAT);
    ask = patch(path, "{\"a\":1}");
    coap_ask(peer, &ask, TF_COAP_CREATED);
    ask.text = "{\"b\":2}";
    ask.code = TF_COAP_IPATCH;
    coap_ask(peer, &ask, TF_COAP_CHANGED);
    coap_expect_value(peer, path, "{\"a\":1,\"b\":2}");
    ask.format = COAP_FORMAT(TF_COAP_FORMAT_JSON_PATCH);
    ask.text = "[{\"op\":\"remove\",\"path\":\"/a\"}]";
    struct tf_bytes etag = coap_etag(coap_ask(peer, &ask, TF_COAP_CHANGED), bytes);
    coap_expect_value(peer, path, "{\"b\":2}");
    coap_ask(peer, &ask, TF_COAP_CONFLICT);
    ask.text = "[";
    coap_ask(peer, &ask, TF_COAP_BAD_REQUEST);
    ask.text = "[{\"op\":\"dance\",\"path\":\"/a\"}]";
    coap_ask(peer, &ask, TF_COAP_UNPROCESSABLE);
    ask = patch(path, "{\"c\":3}");
    ask.if_none_match = true;
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED);
    ask.if_none_match = false;
    ask.if_match = &etag;
    ask.if_match_count = 1;
    coap_ask(peer, &ask, TF_COAP_CHANGED);
    coap_ask(peer, &ask, TF_COAP_PRECONDITION_FAILED);
    coap_put(peer, path, "no JSON");
    ask.if_match_count = 0;
    coap_ask(peer, &ask, TF_COAP_CONFLICT);
    struct coap_ask other = put(path, "{}");
    other.format = COAP_FORMAT(60);
    coap_ask(peer, &other, TF_COAP_CHANGED);
    coap_ask(peer, &ask, TF_COAP_CONFLICT); /* it says that it is something else */
    other = (struct coap_ask){.code = TF_COAP_DELETE, .path = path};
    coap_ask(peer, &other, TF_COAP_DELETED);
    ask.format = COAP_FORMAT(TF_COAP_FORMAT_JSON_PATCH);
    ask.text = "[]";
    coap_ask(peer, &ask, TF_COAP_NOT_FOUND);
}

static void test_patch(void **state)
{
    (void)state;
    at_home_and_away(try_patch);
}

/* What a patch would make is not longer than what may be written. */
static void test_patch_too_large(void **state)
{
    (void)state;
    struct driver *driver = malloc(sizeof(*driver));
    coap_driver_init(driver, 1);
    driver->config.max_packet_size = 200;
    driver_start(driver);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    char text[101];
    coap_put(peer, "a", "{}");
    memset(text, 'x', 100);
    memcpy(text, "{\"first\":\"", 10);
    memcpy(text + 98, "\"}", 3);
    struct coap_ask ask = patch("a", text);
    coap_ask(peer, &ask, TF_COAP_CHANGED);
    memcpy(text, "{\"other\":\"", 10);
    coap_ask(peer, &ask, TF_COAP_CHANGED); /* 199 bytes */
    memcpy(text, "{\"third\":\"", 10);
    coap_ask(peer, &ask, TF_COAP_TOO_LARGE);
    stop(driver);
}

/* Two shards patch, a third writes: who was told 2.04 has been heard, nothing gets lost. */
static void test_patch_conflicts(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *peers[3];
    char path[32], text[48];
    unsigned done = 0, conflicts = 0;
    coap_name(driver, path, "p", 2);
    for (unsigned i = 0; i < 3; i++) {
        peers[i] = coap_peer_new(driver, i);
    }
    coap_put(peers[0], path, "[]");
    for (unsigned i = 0; i < 60; i++) {
        struct coap_ask ask = patch(path, text);
        ask.format = COAP_FORMAT(TF_COAP_FORMAT_JSON_PATCH);
        sprintf(text, "[{\"op\":\"add\",\"path\":\"/-\",\"value\":0}]");
        coap_send(peers[i % 3], &ask);
        (void)driver_turn(driver, i % 2);
    }
    for (unsigned i = 0; i < 3; i++) {
        const struct tf_coap_message *answer;
        while ((answer = coap_take(peers[i]))) {
            assert_true(answer->code == TF_COAP_CHANGED || answer->code == TF_COAP_CONFLICT);
            done += answer->code == TF_COAP_CHANGED;
            conflicts += answer->code == TF_COAP_CONFLICT;
        }
    }
    assert_int_equal(done + conflicts, 60);
    struct coap_ask ask = get(path);
    const struct tf_coap_message *answer = coap_ask(peers[0], &ask, TF_COAP_CONTENT);
    assert_int_equal(answer->payload.length, 1 + 2 * done);
    stop(driver);
}

/* If-Match is about the value that the client knows, however often the patch has to be tried. */
static void test_patch_keeps_to_its_condition(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct coap_peer *near = coap_peer_new(driver, 0), *far = coap_peer_new(driver, 1);
    char path[32];
    uint8_t bytes[8];
    coap_name(driver, path, "p", 0);
    coap_put(near, path, "{\"a\":1}");
    struct coap_ask ask = get(path);
    struct tf_bytes etag = coap_etag(coap_ask(far, &ask, TF_COAP_CONTENT), bytes);
    ask = patch(path, "{\"b\":2}");
    ask.if_match = &etag;
    ask.if_match_count = 1;
    coap_send(far, &ask);
    (void)driver_turn(driver, 1); /* asks for the value */
    (void)driver_turn(driver, 0); /* is told */
    struct coap_ask other = put(path, "{\"c\":3}");
    coap_send(near, &other);
    (void)driver_turn(driver, 0); /* somebody else writes */
    coap_expect(far, TF_COAP_PRECONDITION_FAILED);
    coap_expect(near, TF_COAP_CHANGED);
    coap_expect_value(near, path, "{\"c\":3}");
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_location),
        cmocka_unit_test(test_empty_body),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_no_addresses),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_system_values),
        cmocka_unit_test(test_bodies_in_blocks),
        cmocka_unit_test(test_strange_blocks),
        cmocka_unit_test(test_body_limits),
        cmocka_unit_test(test_patch),
        cmocka_unit_test(test_patch_too_large),
        cmocka_unit_test(test_patch_conflicts),
        cmocka_unit_test(test_patch_keeps_to_its_condition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
