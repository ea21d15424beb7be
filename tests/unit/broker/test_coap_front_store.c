/*
 * The CoAP front with a store: writes are answered when they are on disk, and a store that takes no
 * more is told. Datagrams have no gate: the answer itself waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/store_internal.h"
#include "unit/broker/coap_driver.h"
#include "unit/broker/kept_rig.h"

static struct driver *start(unsigned shards)
{
    struct kept_rig *rig = kept_prepare(coap_driver_init, shards);
    driver_start(&rig->driver);
    return &rig->driver;
}

static void stop(struct driver *driver)
{
    coap_driver_expect_idle(driver);
    kept_stop((struct kept_rig *)driver);
}

/* The power fails: what was not synced is gone. Starts again. */
static void cut_power(struct driver *driver)
{
    kept_crash((struct kept_rig *)driver, driver->count, TF_SECOND);
}

static void go_on(struct driver *driver)
{
    driver->store_rests = false;
    driver_run(driver);
}

static void set_state(struct driver *driver, enum tf_store_state state)
{
    atomic_store(&driver->store->state, (int)state);
    driver->store_rests = state != TF_STORE_READY; /* it would know better */
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

static void try_writes(struct driver *driver, const char *path)
{
    static const struct {
        uint8_t code, answer;
        unsigned format;
        const char *text;
    } writes[] = {
        {TF_COAP_PUT, TF_COAP_CREATED, 0, "{\"a\":1}"},
        {TF_COAP_PUT, TF_COAP_CHANGED, COAP_FORMAT(TF_COAP_FORMAT_JSON), "{\"a\":2}"},
        {TF_COAP_PATCH, TF_COAP_CHANGED, COAP_FORMAT(TF_COAP_FORMAT_MERGE_PATCH), "{\"b\":3}"},
        {TF_COAP_POST, TF_COAP_CHANGED, COAP_FORMAT(TF_COAP_FORMAT_JSON), "{\"c\":4}"},
        {TF_COAP_DELETE, TF_COAP_DELETED, 0, NULL},
        {TF_COAP_POST, TF_COAP_CREATED, 0, "last"}};
    struct coap_peer *peer = coap_peer_new(driver, 0);
    for (size_t i = 0; i < TF_COUNT(writes); i++) {
        struct coap_ask ask = {.code = writes[i].code,
                               .path = path,
                               .text = writes[i].text,
                               .format = writes[i].format};
        driver->store_rests = true;
        (void)coap_send(peer, &ask);
        coap_expect_nothing(peer);
        go_on(driver);
        const struct tf_coap_message *answer = coap_expect(peer, writes[i].answer);
        assert_int_equal(answer->type, TF_COAP_ACK);
        struct tf_bytes location;
        assert_int_equal(tf_coap_option_find(answer->options, TF_COAP_LOCATION_PATH, &location),
                         writes[i].code == TF_COAP_POST && writes[i].answer == TF_COAP_CREATED);
    }
    driver_run(driver);
    coap_driver_expect_idle(driver);
    cut_power(driver);
    coap_expect_value(coap_peer_new(driver, 0), path, "last");
}

/* Every method that writes. */
static void test_writes(void **state)
{
    (void)state;
    at_home_and_away(try_writes);
}

/* While the disk takes its time: an empty ACK, no second run for a repetition, and the answer then
 * is a message of its own. What only reads waits for nothing. */
static void try_separate(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_peer *other = coap_peer_new(driver, 0);
    struct coap_ask ask = put(path, "x");
    driver->store_rests = true;
    uint64_t published = driver->nodes[0].beside->counters.publish_received;
    uint16_t id = peer->id;
    uint32_t token = coap_send(peer, &ask);
    driver_run(driver);
    peer->id = id;
    ask.token = token;
    (void)coap_send(peer, &ask); /* the same again */
    driver_advance(driver, TF_SECOND);
    coap_expect_nothing(peer); /* but empty ACKs */
    assert_int_equal(driver->nodes[0].beside->counters.publish_received, published + 1);
    coap_expect_value(other, path, "x"); /* it is the value already */
    go_on(driver);
    const struct tf_coap_message *answer = coap_expect(peer, TF_COAP_CREATED);
    assert_int_equal(answer->type, TF_COAP_CON);
    coap_expect_nothing(peer);
}

static void test_separate(void **state)
{
    (void)state;
    at_home_and_away(try_separate);
}

static void try_full(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = put(path, "before");
    coap_ask(peer, &ask, TF_COAP_CREATED);
    driver_run(driver);
    set_state(driver, TF_STORE_FULL);
    static const uint8_t codes[] = {TF_COAP_PUT, TF_COAP_POST};
    for (size_t i = 0; i < TF_COUNT(codes); i++) {
        ask = put(path, "after");
        ask.code = codes[i];
        const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_UNAVAILABLE);
        assert_int_equal(coap_number(answer, TF_COAP_MAX_AGE_OPTION), COAP_RETRY_S);
    }
    coap_expect_value(peer, path, "before");
    ask = (struct coap_ask){.code = TF_COAP_DELETE, .path = path};
    (void)coap_send(peer, &ask);
    coap_expect_nothing(peer);
    set_state(driver, TF_STORE_READY);
    (void)coap_expect(peer, TF_COAP_DELETED);
    ask = put(path, "after");
    coap_ask(peer, &ask, TF_COAP_CREATED);
}

/* 5.03 while the store takes nothing new; taking away is no new thing. */
static void test_full(void **state)
{
    (void)state;
    at_home_and_away(try_full);
}

/* NON: nobody waits for the disk's sync, but it is written. */
static void try_non(struct driver *driver, const char *path)
{
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = put(path, "x");
    ask.non = true;
    const struct tf_coap_message *answer = coap_ask(peer, &ask, TF_COAP_CREATED);
    assert_int_equal(answer->type, TF_COAP_NON);
    driver_run(driver);
    coap_expect_value(peer, path, "x");
}

static void test_non(void **state)
{
    (void)state;
    at_home_and_away(try_non);
}

/* A write by multicast is answered after its leisure, and not before it is on disk. */
static void test_multicast(void **state)
{
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = put("a", "x");
    (void)state;
    ask.non = true;
    peer->flags |= TF_DATAGRAM_MULTICAST;
    driver->store_rests = true;
    (void)coap_send(peer, &ask);
    driver_advance(driver, 10 * TF_SECOND);
    coap_expect_nothing(peer);
    go_on(driver);
    driver_advance(driver, 10 * TF_SECOND);
    assert_int_equal(coap_expect(peer, TF_COAP_CREATED)->type, TF_COAP_NON);
    peer->flags &= (uint8_t)~TF_DATAGRAM_MULTICAST;
    coap_expect_value(peer, "a", "x");
    stop(driver);
}

/* The socket goes while the disk takes its time: the value is there all the same. */
static void test_channel_gone(void **state)
{
    struct driver *driver = start(1);
    struct coap_peer *peer = coap_peer_new(driver, 0);
    struct coap_ask ask = put("a", "x");
    (void)state;
    driver->store_rests = true;
    (void)coap_send(peer, &ask);
    driver_run(driver);
    coap_driver_close(driver, 0);
    go_on(driver);
    coap_driver_expect_idle(driver);
    cut_power(driver);
    coap_expect_value(coap_peer_new(driver, 0), "a", "x");
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes),    cmocka_unit_test(test_separate),
        cmocka_unit_test(test_full),      cmocka_unit_test(test_non),
        cmocka_unit_test(test_multicast), cmocka_unit_test(test_channel_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
