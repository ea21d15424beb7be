/*
 * The CoAP front's observers (RFC 7641), at home and away, and requests that end before their
 * answer is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/coap_driver.h"

#define OBSERVERS 1000u

static struct driver *start_with(unsigned shards, uint32_t observers)
{
    struct driver *driver = malloc(sizeof(*driver));
    coap_driver_init(driver, shards);
    driver->config.listeners[1].coap_max_observers = observers;
    driver->config.coap_max_peers = TF_MAX(2000, 2 * observers);
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    coap_driver_expect_idle(driver);
    driver_stop(driver);
    free(driver);
}

static void at_home_and_away(void (*test)(struct driver *driver, const char *path))
{
    char path[32];
    for (unsigned home = 0; home < 3; home++) {
        struct driver *driver = start_with(home < 2 ? 3 : 1, 3000);
        test(driver, coap_name(driver, path, "a/b", home % 2));
        stop(driver);
    }
}

static struct coap_ask observe(const char *path)
{
    return (struct coap_ask){.code = TF_COAP_GET, .path = path, .observe = 1, .token = 77};
}

/* Values that are watched in all shards. */
static size_t watched(struct driver *driver)
{
    size_t count = 0;
    for (unsigned i = 0; i < driver->count; i++) {
        count += driver->nodes[i].shard.access.cells.count;
    }
    return count;
}

static size_t observers(struct driver *driver, unsigned shard)
{
    struct tf_list *list = &coap_driver_channel(driver, shard)->observers;
    struct tf_list_node *node = tf_list_first(list);
    size_t count = 0;
    for (; node; node = tf_list_next(list, node)) {
        count++;
    }
    return count;
}

/* ---- the life of an observer ---- */

static void try_life(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0), *writer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    struct client client;
    uint8_t etag[8], other[8];
    coap_ask(peer, &ask, TF_COAP_NOT_FOUND); /* nothing to observe */
    assert_int_equal(observers(driver, 0) + watched(driver), 0);
    coap_put(writer, path, "1");
    const struct tf_coap_message *message = coap_ask(peer, &ask, TF_COAP_CONTENT);
    int64_t sequence = coap_number(message, TF_COAP_OBSERVE);
    assert_true(sequence >= 0 && coap_body_is(message, "1"));
    coap_put(writer, path, "2");
    message = coap_expect(peer, TF_COAP_CONTENT);
    assert_true(coap_body_is(message, "2"));
    assert_true(coap_number(message, TF_COAP_OBSERVE) > sequence);
    struct tf_bytes told = coap_etag(message, etag);
    struct coap_ask get = {.code = TF_COAP_GET, .path = path};
    assert_true(tf_bytes_equal(told, coap_etag(coap_ask(writer, &get, TF_COAP_CONTENT), other)));
    /* a publication that is not retained is the value while it is observed */
    peer_connect(&client, driver, 0, "m", (struct hello){.clean = true});
    peer_publish(&client, path, "live", 0, 0);
    message = coap_expect(peer, TF_COAP_CONTENT);
    assert_true(coap_body_is(message, "live"));
    coap_expect_value(writer, path, "live");
    /* the same token again: one observer, told from now on as before */
    coap_ask(peer, &ask, TF_COAP_CONTENT);
    assert_int_equal(observers(driver, 0), 1);
    coap_put(writer, path, "3");
    assert_true(coap_body_is(coap_expect(peer, TF_COAP_CONTENT), "3"));
    coap_expect_nothing(peer);
    /* Observe 1 */
    ask.observe = 2;
    assert_int_equal(coap_number(coap_ask(peer, &ask, TF_COAP_CONTENT), TF_COAP_OBSERVE), -1);
    assert_int_equal(observers(driver, 0) + watched(driver), 0);
    coap_put(writer, path, "4");
    coap_expect_nothing(peer);
}

static void test_life(void **state)
{
    (void)state;
    at_home_and_away(try_life);
}

/* The end of the value is the end of observing it. */
static void try_delete(struct driver *driver, const char *path)
{
    struct coap_peer *peers[3], *writer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    struct client client;
    peer_connect(&client, driver, 0, "m", (struct hello){.clean = true});
    for (unsigned round = 0; round < 3; round++) {
        coap_put(writer, path, "1");
        if (round == 2) { /* expiry */
            peer_publish_with(&client, path, tf_bytes_str("x"), 1, 0, "\2\0\0\0\5", 5);
            driver_run(driver);
        }
        for (unsigned i = 0; i < 3; i++) {
            peers[i] = coap_peer_new(driver, i % driver->count);
            coap_ask(peers[i], &ask, TF_COAP_CONTENT);
        }
        if (round == 0) {
            coap_send(writer, &(struct coap_ask){.code = TF_COAP_DELETE, .path = path});
            coap_expect(writer, TF_COAP_DELETED);
        } else if (round == 1) {
            peer_publish(&client, path, "", 1, 0);
        } else {
            driver_advance(driver, 6 * TF_SECOND);
        }
        for (unsigned i = 0; i < 3; i++) {
            const struct tf_coap_message *message = coap_expect(peers[i], TF_COAP_NOT_FOUND);
            assert_int_equal(coap_number(message, TF_COAP_OBSERVE), -1);
            coap_expect_nothing(peers[i]);
        }
        assert_int_equal(observers(driver, 0) + watched(driver), 0);
    }
}

static void test_delete_ends_observing(void **state)
{
    (void)state;
    at_home_and_away(try_delete);
}

/* A representation of another format ends it (RFC 7641 4.2), and the channel works on. */
static void try_format(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0), *writer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    coap_put(writer, path, "text");
    coap_ask(peer, &ask, TF_COAP_CONTENT);
    struct coap_ask put = {
        .code = TF_COAP_PUT, .path = path, .text = "{}", .format = COAP_FORMAT(50)};
    coap_ask(writer, &put, TF_COAP_CHANGED);
    coap_ask(writer, &put, TF_COAP_CHANGED); /* at once, before anything else happens */
    coap_expect(peer, TF_COAP_NOT_ACCEPTABLE);
    coap_ask(writer, &put, TF_COAP_CHANGED);
    assert_int_equal(observers(driver, 0) + watched(driver), 0);
    coap_expect_nothing(peer);
}

static void test_format_ends_observing(void **state)
{
    (void)state;
    at_home_and_away(try_format);
}

/* The same while newer values keep coming in one turn: who has ended is not told, nor freed twice.
 */
static void try_format_in_one_turn(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0), *writers[2];
    struct coap_ask ask = observe(path);
    struct coap_ask put = {.code = TF_COAP_PUT, .path = path, .text = "{}"};
    for (unsigned i = 0; i < 2; i++) {
        writers[i] = coap_peer_new(driver, i % driver->count);
    }
    coap_put(writers[0], path, "text");
    coap_ask(peer, &ask, TF_COAP_CONTENT);
    for (unsigned i = 0; i < 6; i++) {
        put.format = i % 2 ? COAP_FORMAT(50) : 0;
        coap_send(writers[i % 2], &put);
        put.code = i == 4 ? TF_COAP_DELETE : TF_COAP_PUT;
    }
    driver_run(driver);
    const struct tf_coap_message *message;
    uint8_t last = 0;
    while ((message = coap_take(peer))) {
        last = message->code;
    }
    bool there = last == TF_COAP_CONTENT; /* else that was its end */
    assert_int_equal(observers(driver, 0), there);
    assert_int_equal(watched(driver), there);
}

static void test_format_in_one_turn(void **state)
{
    (void)state;
    at_home_and_away(try_format_in_one_turn);
}

/* ---- the end of a client ---- */

static void try_reset(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0), *writer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    coap_put(writer, path, "1");
    coap_ask(peer, &ask, TF_COAP_CONTENT);
    coap_put(writer, path, "2");
    const struct tf_coap_message *message = coap_expect(peer, TF_COAP_CONTENT);
    const uint8_t reset[] = {0x70, 0, (uint8_t)(message->message_id >> 8),
                             (uint8_t)message->message_id};
    coap_send_bytes(peer, tf_bytes_of(reset, sizeof(reset)));
    driver_run(driver);
    assert_int_equal(observers(driver, 0) + watched(driver), 0);
    coap_put(writer, path, "3");
    coap_expect_nothing(peer);
}

static void test_reset(void **state)
{
    (void)state;
    at_home_and_away(try_reset);
}

/* Who acknowledges nothing is forgotten; others are told meanwhile. */
static void try_vanished(struct driver *driver, const char *path)
{
    struct coap_peer *dead = coap_peer_new(driver, 0), *live = coap_peer_new(driver, 0);
    struct coap_peer *writer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    char text[16];
    coap_put(writer, path, "0");
    coap_ask(dead, &ask, TF_COAP_CONTENT);
    coap_ask(live, &ask, TF_COAP_CONTENT);
    dead->mute = true;
    for (unsigned i = 1; i < 200; i++) {
        sprintf(text, "%u", i);
        coap_put(writer, path, text);
        assert_true(coap_body_is(coap_expect(live, TF_COAP_CONTENT), text));
        driver_advance(driver, TF_SECOND);
    }
    assert_int_equal(observers(driver, 0), 1);
    unsigned told = 0;
    while (coap_take(dead)) {
        told++;
    }
    assert_true(told < 100);
}

static void test_vanished(void **state)
{
    (void)state;
    at_home_and_away(try_vanished);
}

/* Silence for hours does not make the next number look old. */
static void test_sequence(void **state)
{
    (void)state;
    struct driver *driver = start_with(1, 10);
    struct coap_peer *peer = coap_peer_new(driver, 0), *writer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe("a");
    coap_put(writer, "a", "0");
    for (unsigned i = 0; i < 40; i++) {
        ask.token = i + 1;
        int64_t first = coap_number(coap_ask(peer, &ask, TF_COAP_CONTENT), TF_COAP_OBSERVE);
        driver_advance(driver, (1 + i * i % 17 * 30) * TF_SECOND);
        coap_put(writer, "a", "1");
        int64_t second = coap_number(coap_expect(peer, TF_COAP_CONTENT), TF_COAP_OBSERVE);
        coap_put(writer, "a", "2"); /* in the same moment */
        int64_t third = coap_number(coap_expect(peer, TF_COAP_CONTENT), TF_COAP_OBSERVE);
        assert_int_equal((third - second) & 0xFFFFFF, 1);
        ask.observe = 2;
        coap_ask(peer, &ask, TF_COAP_CONTENT);
        ask.observe = 1;
        ask.token = 1000 + i; /* anew: above what was told last (RFC 7641 3.4, 4.4) */
        driver_advance(driver, TF_SECOND);
        int64_t anew = coap_number(coap_ask(peer, &ask, TF_COAP_CONTENT), TF_COAP_OBSERVE);
        assert_true(((anew - third) & 0xFFFFFF) < 0x800000);
        assert_true(i * i % 17 * 30 > 120 || ((second - first) & 0xFFFFFF) < 0x800000);
        ask.observe = 2;
        coap_ask(peer, &ask, TF_COAP_CONTENT);
        ask.observe = 1;
    }
    stop(driver);
}

/* ---- limits ---- */

static void test_observer_limit(void **state)
{
    (void)state;
    struct driver *driver = start_with(1, 5);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe("a");
    coap_put(peer, "a", "0");
    for (unsigned i = 0; i < 8; i++) {
        ask.token = 100 + i; /* above the limit it is a plain answer (RFC 7641 4.1) */
        const struct tf_coap_message *message = coap_ask(peer, &ask, TF_COAP_CONTENT);
        assert_int_equal(coap_number(message, TF_COAP_OBSERVE) >= 0, i < 5);
    }
    assert_int_equal(observers(driver, 0), 5);
    ask.token = 100;
    ask.observe = 2;
    coap_ask(peer, &ask, TF_COAP_CONTENT);
    ask.token = 107;
    ask.observe = 1;
    assert_true(coap_number(coap_ask(peer, &ask, TF_COAP_CONTENT), TF_COAP_OBSERVE) >= 0);
    stop(driver);
}

/* A thousand observers of a value that fills a datagram: 64 KiB of output hold some fifty. */
static void try_many(struct driver *driver, const char *path)
{
    static char body[1001];
    struct coap_peer **peers = calloc(OBSERVERS, sizeof(struct coap_peer *));
    struct coap_peer *writer = coap_peer_new(driver, driver->count - 1);
    memset(body, 'x', 1000);
    coap_put(writer, path, body);
    for (unsigned i = 0; i < OBSERVERS; i++) {
        peers[i] = coap_peer_new(driver, 0);
        struct coap_ask ask = observe(path);
        coap_send(peers[i], &ask);
    }
    for (unsigned i = 0; i < OBSERVERS; i++) {
        assert_true(coap_number(coap_expect(peers[i], TF_COAP_CONTENT), TF_COAP_OBSERVE) >= 0);
    }
    assert_int_equal(observers(driver, 0), OBSERVERS);
    /* the socket takes nothing for a while, the value changes: all end with the newest */
    size_t before = driver->memory.bytes;
    coap_driver_stick(driver, 0, true);
    for (unsigned i = 0; i < 20; i++) {
        body[0] = (char)('a' + i);
        coap_send(writer, &(struct coap_ask){.code = TF_COAP_PUT, .path = path, .text = body});
        for (unsigned j = 0; j < 3 * driver->count; j++) {
            (void)driver_turn(driver, j % driver->count);
        }
        if (driver->count == 1) { /* its own channel reads nothing: it writes from the inside */
            break;
        }
    }
    assert_true(driver->memory.bytes < before + COAP_OUTPUT_SIZE + 30000);
    coap_driver_stick(driver, 0, false);
    driver_run(driver);
    for (unsigned i = 0; i < OBSERVERS; i++) {
        const struct tf_coap_message *message;
        unsigned told = 0;
        while ((message = coap_take(peers[i]))) {
            told++;
        }
        assert_true(told >= 1 && told <= 20);
        assert_true(peers[i]->last->message.payload.data[0] == body[0]);
    }
    assert_non_null(coap_take(writer));
    free(peers);
}

static void test_many_observers(void **state)
{
    (void)state;
    at_home_and_away(try_many);
}

/* ---- what ends before it is answered ---- */

/* The socket is lost with works, observers and listings under way: all is given back. */
static void test_channel_closed(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        for (unsigned stuck = 0; stuck < 2; stuck++) {
            struct driver *driver = start_with(3, 50);
            struct coap_peer *peer = coap_peer_new(driver, 0), *writer = coap_peer_new(driver, 1);
            char path[32], text[32];
            for (unsigned home = 0; home < 3; home++) {
                coap_put(writer, coap_name(driver, path, "c", home), "{}");
                struct coap_ask ask = observe(path);
                coap_send(peer, &ask);
                ask.observe = 0;
                coap_send(peer, &ask);
                ask.code = TF_COAP_PUT;
                coap_send(peer, &ask);
                ask.code = TF_COAP_POST;
                coap_send(peer, &ask);
                ask.block1 = COAP_BLOCK(0, 1, 0);
                ask.text = "0123456789ABCDEF";
                coap_send(peer, &ask);
                ask = (struct coap_ask){.code = TF_COAP_PATCH, .path = path, .text = "{}"};
                ask.format = COAP_FORMAT(TF_COAP_FORMAT_MERGE_PATCH);
                coap_send(peer, &ask);
                ask = (struct coap_ask){.code = TF_COAP_GET, .path = ".well-known/core"};
                coap_send(peer, &ask);
                ask.observe = 1;
                sprintf(text, "href=/c%u*", home);
                ask.query = text;
                coap_send(peer, &ask);
            }
            (void)driver_turn(driver, 0);
            coap_driver_stick(driver, 0, stuck);
            for (unsigned i = 0; i < turns; i++) {
                (void)driver_turn(driver, (i + 1) % 3);
            }
            coap_driver_close(driver, 0);
            driver_run(driver);
            coap_driver_expect_idle(driver);
            assert_int_equal(watched(driver), 0);
            coap_put(writer, path, "after");
            coap_expect_value(writer, path, "after");
            stop(driver);
        }
    }
}

/* A body that begins anew while the first is being written, read or patched. */
static void test_cancelled(void **state)
{
    (void)state;
    static const uint8_t methods[] = {TF_COAP_PUT, TF_COAP_POST, TF_COAP_PATCH};
    for (unsigned n = 0; n < 3 * 8; n++) {
        struct driver *driver = start_with(3, 50);
        struct coap_peer *peer = coap_peer_new(driver, 0), *reader = coap_peer_new(driver, 1);
        char path[32];
        coap_name(driver, path, "c", 1);
        struct coap_ask ask = {.code = methods[n % 3],
                               .path = path,
                               .text = "{\"123456789\":12}",
                               .format = COAP_FORMAT(TF_COAP_FORMAT_MERGE_PATCH)};
        ask.block1 = COAP_BLOCK(0, 1, 0);
        coap_send(peer, &ask);
        if (n / 3 % 2) {
            ask.block1 = COAP_BLOCK(1, 0, 0);
            ask.text = " ";
            coap_send(peer, &ask);
        }
        for (unsigned turns = 0; turns < n / 6; turns++) {
            (void)driver_turn(driver, turns % 3);
        }
        ask.block1 = COAP_BLOCK(0, 1, 0);
        ask.text = "{\"abcdefghi\":34}";
        coap_send(peer, &ask);
        ask.block1 = COAP_BLOCK(1, 0, 0);
        ask.text = " ";
        coap_send(peer, &ask);
        driver_run(driver);
        coap_driver_expect_idle(driver);
        struct coap_ask get = {.code = TF_COAP_GET, .path = path};
        coap_ask(reader, &get, TF_COAP_CONTENT);
        stop(driver);
    }
}

/* When the broker ends, new requests get 5.03 and what is under way is answered. */
static void test_drain(void **state)
{
    (void)state;
    struct driver *driver = start_with(3, 50);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    char path[32];
    struct coap_ask ask = {.code = TF_COAP_PUT, .text = "x"};
    ask.path = coap_name(driver, path, "d", 1);
    coap_send(peer, &ask);
    (void)driver_turn(driver, 0);
    for (unsigned i = 0; i < 3; i++) {
        driver->nodes[i].beside->ops->drain(driver->nodes[i].beside);
    }
    coap_send(peer, &ask);
    coap_expect(peer, TF_COAP_UNAVAILABLE);
    coap_expect(peer, TF_COAP_CREATED);
    ask = (struct coap_ask){.code = TF_COAP_GET, .path = ".well-known/core"};
    coap_ask(peer, &ask, TF_COAP_UNAVAILABLE);
    stop(driver);
}

/* A notification that finds no room in the output is told when there is some. */
static void test_answers_wait_for_room(void **state)
{
    (void)state;
    struct driver *driver = start_with(3, 50);
    struct coap_peer *peer = coap_peer_new(driver, 0), *writer = coap_peer_new(driver, 1);
    static char body[1001];
    char path[32];
    enum { COUNT = 300 };
    memset(body, 'x', 1000);
    coap_put(writer, coap_name(driver, path, "w", 1), body);
    for (unsigned i = 0; i < COUNT; i++) {
        struct coap_ask ask = {.code = TF_COAP_GET, .path = path};
        coap_send(peer, &ask);
    }
    coap_driver_stick(driver, 0, false);
    (void)driver_turn(driver, 0);
    coap_driver_stick(driver, 0, true);
    for (unsigned i = 0; i < 600; i++) { /* the rings are short */
        (void)driver_turn(driver, i % 3);
    }
    assert_false(tf_list_empty(&coap_driver_channel(driver, 0)->answers));
    coap_driver_stick(driver, 0, false);
    driver_run(driver); /* each turn's sending asks for the next turn */
    assert_true(tf_list_empty(&coap_driver_channel(driver, 0)->answers));
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(coap_expect(peer, TF_COAP_CONTENT)->payload.length, 1000);
    }
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_delete_ends_observing),
        cmocka_unit_test(test_format_ends_observing),
        cmocka_unit_test(test_format_in_one_turn),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_vanished),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_observer_limit),
        cmocka_unit_test(test_many_observers),
        cmocka_unit_test(test_channel_closed),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_answers_wait_for_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
