/*
 * Observers that asked to survive: on disk before they are answered, told by a CON after a restart,
 * and forgotten when they end, in whatever way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/store_internal.h"
#include "unit/broker/coap_driver.h"
#include "unit/store/sim_disk.h"

#define TOKEN 77u

struct kept {
    struct driver driver; /* must be first */
    struct sim_disk disk;
};

static struct driver *start(unsigned shards)
{
    struct kept *kept = malloc(sizeof(*kept));
    coap_driver_init(&kept->driver, shards);
    sim_disk_init(&kept->disk, 1);
    driver_keep(&kept->driver, &kept->disk.disk);
    driver_start(&kept->driver);
    driver_run(&kept->driver);
    return &kept->driver;
}

static void stop(struct driver *driver)
{
    struct kept *kept = (struct kept *)driver;
    coap_driver_expect_idle(driver);
    driver_stop(driver);
    sim_disk_release(&kept->disk);
    free(kept);
}

/* The broker is killed, and comes back `away` later; nobody takes a turn yet. With the power, all
 * that was not synced is gone. */
static void restart_with(struct driver *driver, unsigned shards, tf_time away, bool power)
{
    struct kept *kept = (struct kept *)driver;
    struct sim_disk left;
    sim_disk_crash(&kept->disk, &left, 3, power ? 0 : 8);
    driver_end(driver);
    sim_disk_release(&kept->disk);
    kept->disk = left;
    driver->disk = &kept->disk.disk;
    driver->now += away;
    driver->count = shards;
    driver_start(driver);
    assert_int_equal(driver->restored.orphans, 0);
}

static void restart(struct driver *driver, tf_time away)
{
    restart_with(driver, driver->count, away, true);
}

static void set_state(struct driver *driver, enum tf_store_state state)
{
    atomic_store(&driver->store->state, (int)state);
    driver->store_rests = state != TF_STORE_READY; /* it would know better */
}

static void at_home_and_away(void (*test)(struct driver *driver, const char *path))
{
    char path[32];
    for (unsigned home = 0; home < 3; home++) {
        struct driver *driver = start(home < 2 ? 3 : 1);
        test(driver, coap_name(driver, path, "a/b", home % 2));
        stop(driver);
    }
}

static struct coap_ask observe(const char *path)
{
    return (struct coap_ask){
        .code = TF_COAP_GET, .path = path, .observe = 1, .token = TOKEN, .query = "survive"};
}

static size_t observers(struct driver *driver)
{
    size_t count = 0;
    for (unsigned i = 0; i < driver->count; i++) {
        count += coap_driver_front(driver, i)->front.counters.subscriptions;
    }
    return count;
}

/* What the stores knows of, and of how many nobody has heard yet. */
static size_t survivors(struct driver *driver)
{
    size_t count = 0;
    for (unsigned i = 0; i < driver->count; i++) {
        count += coap_driver_front(driver, i)->survivors.count;
    }
    return count;
}

static uint32_t token_of(const struct tf_coap_message *message)
{
    uint32_t token = 0;
    for (size_t i = message->token.length; i--;) {
        token = token << 8 | message->token.data[i];
    }
    return token;
}

/* The next notification, which must have this code and token. */
static const struct tf_coap_message *told(struct coap_peer *peer, uint8_t code, uint32_t token)
{
    const struct tf_coap_message *message = coap_expect(peer, code);
    assert_int_equal(token_of(message), token);
    return message;
}

static void reset(struct coap_peer *peer, uint16_t id)
{
    const uint8_t rst[] = {0x70, 0, (uint8_t)(id >> 8), (uint8_t)id};
    coap_send_bytes(peer, tf_bytes_of(rst, sizeof(rst)));
}

/* RFC 7641 3.4, without the clock */
static bool is_newer(int64_t before, int64_t now)
{
    return before >= 0 && now >= 0 && now != before &&
           (((uint32_t)now - (uint32_t)before) & 0xFFFFFF) < 1u << 23;
}

/* Nobody is told anything, now and after another restart. */
static void expect_forgotten(struct driver *driver)
{
    driver_run(driver);
    assert_int_equal(observers(driver) + survivors(driver), 0);
    restart_with(driver, driver->count, TF_SECOND, false);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    coap_expect_nothing(peer);
    assert_int_equal(observers(driver) + survivors(driver), 0);
}

/* ---- what survives ---- */

static void try_survival(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    coap_put(peer, path, "1");
    driver->store_rests = true;
    (void)coap_send(peer, &ask);
    coap_expect_nothing(peer); /* it is not on disk */
    driver->store_rests = false;
    const struct tf_coap_message *message = told(peer, TF_COAP_CONTENT, TOKEN);
    int64_t sequence = coap_number(message, TF_COAP_OBSERVE);
    coap_put(coap_peer_new(driver, 0), path, "2");
    message = told(peer, TF_COAP_CONTENT, TOKEN);
    assert_int_equal(message->type, TF_COAP_NON);
    assert_true(is_newer(sequence, coap_number(message, TF_COAP_OBSERVE)));
    for (unsigned round = 0; round < 3; round++) {
        sequence = coap_number(message, TF_COAP_OBSERVE);
        restart(driver, round * 30 * TF_SECOND + 1000);
        peer = coap_peer_new(driver, 0);
        message = told(peer, TF_COAP_CONTENT, TOKEN);
        assert_int_equal(message->type, TF_COAP_CON);
        assert_true(coap_body_is(message, round ? "3" : "2"));
        assert_true(is_newer(sequence, coap_number(message, TF_COAP_OBSERVE)));
        coap_expect_nothing(peer);
        sequence = coap_number(message, TF_COAP_OBSERVE);
        coap_put(coap_peer_new(driver, 0), path, "3"); /* the next as ever */
        message = told(peer, TF_COAP_CONTENT, TOKEN);
        assert_int_equal(message->type, TF_COAP_NON);
        assert_true(is_newer(sequence, coap_number(message, TF_COAP_OBSERVE)));
        assert_int_equal(observers(driver), 1);
    }
}

static void test_survival(void **state)
{
    (void)state;
    at_home_and_away(try_survival);
}

/* Who has not asked, or asks a listener that keeps nothing, ends with the broker. */
static void try_not_kept(struct driver *driver, const char *path)
{
    static const char *const queries[] = {NULL, "survived", "survive=1", "survive"};
    coap_put(coap_peer_new(driver, 0), path, "1");
    for (unsigned i = 0; i < TF_COUNT(queries); i++) {
        struct coap_ask ask = observe(path);
        ask.query = queries[i];
        if (i == 3) {
            driver->config.listeners[1].durability = TF_CONFIG_DURABILITY_MEMORY;
        }
        (void)coap_ask(coap_peer_new(driver, 0), &ask, TF_COAP_CONTENT);
    }
    assert_int_equal(observers(driver), 4);
    assert_int_equal(survivors(driver), 0);
    restart(driver, TF_SECOND);
    coap_expect_nothing(coap_peer_new(driver, 0));
    assert_int_equal(observers(driver), 0);
}

static void test_not_kept(void **state)
{
    (void)state;
    at_home_and_away(try_not_kept);
}

/* Block size and Content-Format are those of the registration. */
static void test_block_and_format(void **state)
{
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask put = {.code = TF_COAP_PUT,
                           .path = "a",
                           .text = "{\"a\":\"0123456789012345678901234567890\"}",
                           .format = COAP_FORMAT(TF_COAP_FORMAT_JSON)};
    struct coap_ask ask = observe("a");
    (void)state;
    coap_ask(peer, &put, TF_COAP_CREATED);
    ask.block2 = COAP_BLOCK(0, 0, 1);
    coap_ask(peer, &ask, TF_COAP_CONTENT);
    restart(driver, TF_SECOND);
    peer = coap_peer_new(driver, 0);
    const struct tf_coap_message *message = told(peer, TF_COAP_CONTENT, TOKEN);
    assert_int_equal(message->payload.length, 32);
    assert_int_equal(coap_number(message, TF_COAP_BLOCK2), 0 << 4 | 1 << 3 | 1);
    put.format = 0;
    coap_ask(coap_peer_new(driver, 0), &put, TF_COAP_CHANGED);
    (void)told(peer, TF_COAP_NOT_ACCEPTABLE, TOKEN);
    expect_forgotten(driver);
    stop(driver);
}

/* The value gets another format before the registration is on disk: that one is remembered. */
static void test_format_while_waiting(void **state)
{
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0), *writer = coap_peer_new(driver, 0);
    struct coap_ask put = {
        .code = TF_COAP_PUT, .path = "a", .text = "{}", .format = COAP_FORMAT(TF_COAP_FORMAT_JSON)};
    struct coap_ask ask = observe("a");
    (void)state;
    coap_put(writer, "a", "1");
    driver->store_rests = true;
    (void)coap_send(peer, &ask);
    driver_run(driver);
    (void)coap_send(writer, &put);
    driver_run(driver);
    driver->store_rests = false;
    assert_true(coap_body_is(told(peer, TF_COAP_CONTENT, TOKEN), "{}"));
    (void)coap_expect(writer, TF_COAP_CHANGED);
    restart(driver, TF_SECOND);
    peer = coap_peer_new(driver, 0);
    assert_true(coap_body_is(told(peer, TF_COAP_CONTENT, TOKEN), "{}"));
    stop(driver);
}

/* Many, of several peers with several tokens, in all shards. */
static void test_many(void **state)
{
    enum { PEERS = 20, TOKENS = 8 };
    struct driver *driver = start(3);
    struct coap_peer *peers[3][PEERS];
    (void)state;
    for (unsigned i = 0; i < 7; i++) {
        char path[16];
        snprintf(path, sizeof(path), "m/%u", i);
        coap_put(coap_peer_new(driver, 2), path, "x");
    }
    restart(driver, TF_SECOND);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3 * PEERS; i++) {
            peers[i % 3][i / 3] = coap_peer_new(driver, i % 3);
        }
        for (unsigned i = 0; i < 3 * PEERS * TOKENS; i++) {
            struct coap_peer *peer = peers[i % 3][i / 3 % PEERS];
            char path[16];
            snprintf(path, sizeof(path), "m/%u", i % 7);
            if (round == 0) {
                struct coap_ask ask = observe(path);
                ask.token = 1 + i / (3 * PEERS);
                coap_ask(peer, &ask, TF_COAP_CONTENT);
            } else {
                assert_true(coap_body_is(coap_expect(peer, TF_COAP_CONTENT), "x"));
                assert_int_equal(coap_driver_front(driver, peer->shard)->survivors.count,
                                 PEERS * TOKENS);
            }
        }
        if (round == 0) {
            restart(driver, TF_SECOND);
        }
    }
    assert_int_equal(observers(driver), 3 * PEERS * TOKENS);
    stop(driver);
}

/* ---- how they end ---- */

enum end { END_STOP, END_RESET, END_DELETE, END_SILENCE, END_REPLACED, ENDS };

/* The same peer, afterwards. */
static struct coap_peer *restart_and_return(struct driver *driver, const struct coap_peer *peer)
{
    uint16_t port = peer->path.port;
    restart(driver, TF_SECOND);
    struct coap_peer *again = coap_peer_new(driver, 0);
    again->path.port = port;
    return again;
}

static void end_it(struct driver *driver, struct coap_peer *peer, const char *path, enum end how)
{
    struct coap_peer *writer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    switch (how) {
    case END_STOP:
        ask.observe = 2;
        coap_ask(peer, &ask, TF_COAP_CONTENT);
        break;
    case END_RESET:
        coap_put(writer, path, "2");
        reset(peer, told(peer, TF_COAP_CONTENT, TOKEN)->message_id);
        break;
    case END_DELETE:
        coap_send(writer, &(struct coap_ask){.code = TF_COAP_DELETE, .path = path});
        (void)coap_expect(writer, TF_COAP_DELETED);
        (void)told(peer, TF_COAP_NOT_FOUND, TOKEN);
        break;
    case END_SILENCE:
        peer = restart_and_return(driver, peer);
        peer->mute = true;
        (void)told(peer, TF_COAP_CONTENT, TOKEN);
        driver_advance(driver, 120 * TF_SECOND);
        while (coap_take(peer)) {
        }
        break;
    default: /* asks again without the wish */
        ask.query = NULL;
        coap_ask(peer, &ask, TF_COAP_CONTENT);
        driver_run(driver);
        assert_int_equal(observers(driver), 1);
        assert_int_equal(survivors(driver), 0);
        restart_with(driver, driver->count, TF_SECOND, false);
        break;
    }
}

static void try_ends(struct driver *driver, const char *path)
{
    for (unsigned after = 0; after < 2; after++) {
        for (unsigned how = 0; how < ENDS; how++) {
            struct coap_peer *peer = coap_peer_new(driver, 0);
            struct coap_ask ask = observe(path);
            coap_put(peer, path, "1");
            coap_ask(peer, &ask, TF_COAP_CONTENT);
            if (after) { /* by the broker that comes next */
                peer = restart_and_return(driver, peer);
                (void)told(peer, TF_COAP_CONTENT, TOKEN);
                coap_expect_nothing(peer);
            }
            assert_int_equal(survivors(driver), 1);
            end_it(driver, peer, path, (enum end)how);
            expect_forgotten(driver);
        }
    }
}

static void test_ends(void **state)
{
    (void)state;
    at_home_and_away(try_ends);
}

/* The first CON of the new broker is answered by a RST. */
static void try_reset_at_once(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    coap_put(peer, path, "1");
    coap_ask(peer, &ask, TF_COAP_CONTENT);
    restart(driver, TF_SECOND);
    peer = coap_peer_new(driver, 0);
    peer->mute = true;
    reset(peer, told(peer, TF_COAP_CONTENT, TOKEN)->message_id);
    expect_forgotten(driver);
}

static void test_reset_at_once(void **state)
{
    (void)state;
    at_home_and_away(try_reset_at_once);
}

/* The value has expired while nobody was there: 4.04, and the end. */
static void try_gone(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    struct client client;
    peer_connect(&client, driver, 0, "m", (struct hello){.clean = true});
    peer_publish_with(&client, path, tf_bytes_str("x"), 1 | 2, 1, "\2\0\0\0\5", 5);
    driver_run(driver);
    coap_ask(peer, &ask, TF_COAP_CONTENT);
    restart(driver, 10 * TF_SECOND);
    peer = coap_peer_new(driver, 0);
    const struct tf_coap_message *message = told(peer, TF_COAP_NOT_FOUND, TOKEN);
    assert_int_equal(message->type, TF_COAP_CON);
    assert_int_equal(coap_number(message, TF_COAP_OBSERVE), -1);
    expect_forgotten(driver);
}

static void test_gone(void **state)
{
    (void)state;
    at_home_and_away(try_gone);
}

/* The same token again, before and after the first is on disk: one observer, one record. */
static void try_again(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe(path);
    coap_put(peer, path, "1");
    for (unsigned i = 0; i < 3; i++) {
        driver->store_rests = i < 2;
        (void)coap_send(peer, &ask);
        driver_run(driver);
    }
    for (unsigned i = 0; i < 3; i++) {
        (void)told(peer, TF_COAP_CONTENT, TOKEN);
    }
    driver_run(driver);
    assert_int_equal(observers(driver), 1);
    assert_int_equal(survivors(driver), 1);
    restart(driver, TF_SECOND);
    peer = coap_peer_new(driver, 0);
    (void)coap_send(peer, &ask); /* in the very first turn */
    while (coap_take(peer)) {
    }
    assert_int_equal(observers(driver), 1);
    assert_int_equal(survivors(driver), 1);
    restart(driver, TF_SECOND);
    peer = coap_peer_new(driver, 0);
    (void)told(peer, TF_COAP_CONTENT, TOKEN);
    coap_expect_nothing(peer);
}

static void test_again(void **state)
{
    (void)state;
    at_home_and_away(try_again);
}

/* ---- what cannot come back ---- */

static void test_another_number_of_shards(void **state)
{
    struct driver *driver = start(3);
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct coap_peer *peer = coap_peer_new(driver, i);
        struct coap_ask ask = observe("a");
        coap_put(peer, "a", "1");
        coap_ask(peer, &ask, TF_COAP_CONTENT);
        driver_run(driver);
    }
    assert_int_equal(survivors(driver), 3);
    restart(driver, TF_SECOND);
    assert_int_equal(survivors(driver), 3);
    restart_with(driver, 2, TF_SECOND, true);
    expect_forgotten(driver);
    stop(driver);
}

static void test_listener_gone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct driver *driver = start(1);
        struct coap_peer *peer = coap_peer_new(driver, 0);
        struct coap_ask ask = observe("a");
        coap_put(peer, "a", "1");
        coap_ask(peer, &ask, TF_COAP_CONTENT);
        struct tf_config_listener *listener = &driver->config.listeners[1];
        if (i == 0) {
            listener->port++;
        } else if (i == 1) {
            listener->host[0]++;
        } else {
            listener->access.allow_anonymous = false;
        }
        restart(driver, TF_SECOND);
        assert_int_equal(survivors(driver), 1);
        expect_forgotten(driver);
        stop(driver);
    }
}

/* There is room for fewer than there were. */
static void test_fewer_places(void **state)
{
    struct driver *driver = start(1);
    struct coap_peer *peers[4];
    size_t back = 0;
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct coap_ask ask = observe("a");
        peers[i] = coap_peer_new(driver, 0);
        coap_put(peers[i], "a", "1");
        ask.token = TOKEN + i;
        coap_ask(peers[i], &ask, TF_COAP_CONTENT);
    }
    driver->config.listeners[1].coap_max_observers = 3;
    restart(driver, TF_SECOND);
    for (unsigned i = 0; i < 4; i++) {
        peers[i] = coap_peer_new(driver, 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        back += coap_take(peers[i]) != NULL;
    }
    assert_int_equal(back, 3);
    assert_int_equal(survivors(driver), 3);
    stop(driver);
}

/* A store that takes nothing new: 5.03, and no observer that would not survive. */
static void test_full(void **state)
{
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = observe("a");
    (void)state;
    coap_put(peer, "a", "1");
    driver_run(driver);
    set_state(driver, TF_STORE_FULL);
    const struct tf_coap_message *message = coap_ask(peer, &ask, TF_COAP_UNAVAILABLE);
    assert_int_equal(coap_number(message, TF_COAP_MAX_AGE_OPTION), COAP_RETRY_S);
    assert_int_equal(observers(driver) + survivors(driver), 0);
    set_state(driver, TF_STORE_READY);
    (void)coap_ask(peer, &ask, TF_COAP_CONTENT);
    assert_int_equal(survivors(driver), 1);
    stop(driver);
}

/* What is on the disk makes no sense. */
static void test_nonsense(void **state)
{
    struct driver *driver = start(2);
    struct coap_front *front = coap_driver_front(driver, 0);
    uint8_t key[4 + 2 + 9 + 2 + 40 + 9] = {0, 0, 0, 2, 0, 9, '1', '2', '7'};
    uint8_t value[] = {1, 0, 255, 0, 0, 0, 0, 'a', '/', 'b'};
    struct tf_stored_object object = {.kind = TF_STORED_OBSERVER};
    (void)state;
    for (size_t length = 0; length <= sizeof(key); length++) {
        object.key = tf_bytes_of(key, length);
        for (size_t i = 0; i <= sizeof(value); i++) {
            object.value = tf_bytes_of(value, i);
            bool good = length >= 57 && length < sizeof(key) && i > 7;
            assert_int_equal(tf_coap_front_restore(front, &object), good ? TF_OK : TF_PROTOCOL);
        }
    }
    object.key = tf_bytes_of(key, 57);
    object.value = tf_bytes_of(value, sizeof(value));
    value[0] = 2;
    assert_int_equal(tf_coap_front_restore(front, &object), TF_PROTOCOL);
    value[0] = 1;
    value[8] = '+';
    assert_int_equal(tf_coap_front_restore(front, &object), TF_PROTOCOL);
    value[8] = '/';
    key[1] = 1; /* another shard's */
    assert_int_equal(tf_coap_front_restore(front, &object), TF_NOT_FOUND);
    driver_run(driver);
    stop(driver);
}

/* Memory runs out anywhere, before the restart and behind it: it is there or forgotten, never half.
 */
static void test_memory(void **state)
{
    (void)state;
    for (unsigned behind = 0; behind < 2; behind++) {
        bool failed = true;
        for (size_t n = 1; failed; n++) {
            struct driver *driver = start(2);
            struct coap_peer *peer = coap_peer_new(driver, 0);
            char path[32];
            struct coap_ask ask = observe(coap_name(driver, path, "a", n % 2));
            coap_put(peer, path, "1");
            driver_run(driver);
            if (!behind) {
                test_alloc_fail(&driver->memory, n);
            }
            (void)coap_send(peer, &ask);
            while (coap_take(peer)) {
            }
            failed = driver->memory.failed;
            test_alloc_fail(&driver->memory, 0);
            driver_advance(driver, TF_SECOND);
            assert_int_equal(observers(driver), survivors(driver));
            size_t before = survivors(driver);
            restart(driver, TF_SECOND);
            peer = coap_peer_new(driver, 0);
            peer->mute = true;
            if (behind) {
                test_alloc_fail(&driver->memory, n);
                driver_run(driver);
                failed = driver->memory.failed;
                test_alloc_fail(&driver->memory, 0);
                driver_advance(driver, TF_SECOND);
                assert_int_equal(observers(driver), survivors(driver));
            } else {
                driver_run(driver);
                assert_int_equal(observers(driver), before);
            }
            if (!failed) {
                assert_int_equal(observers(driver), 1);
            }
            stop(driver);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_survival),
        cmocka_unit_test(test_not_kept),
        cmocka_unit_test(test_block_and_format),
        cmocka_unit_test(test_format_while_waiting),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_reset_at_once),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_another_number_of_shards),
        cmocka_unit_test(test_listener_gone),
        cmocka_unit_test(test_fewer_places),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
