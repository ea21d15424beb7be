/*
 * MQTT sessions whenever the broker ends: exactly once, without memory, and of a store that says
 * what makes no sense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/kept_rig.h"

/* ---- exactly once ---- */

enum { MESSAGES = 300, WINDOW = 8, IDS = 50 };

struct traffic {
    struct kept_rig *rig;
    struct client publisher, receiver;
    enum { UNSENT, SENT, RELEASED, DONE } stage[MESSAGES]; /* the publisher's memory */
    bool known[65536];                                     /* ids: the receiver's */
    unsigned first, next;                                  /* not DONE, UNSENT */
    unsigned got;                                          /* by the receiver, in order */
    bool connected_once;
};

static void send_message(struct traffic *traffic, unsigned number, unsigned dup)
{
    char body[16];
    sprintf(body, "%u", number);
    peer_publish(&traffic->publisher, "t/1", body, 4 | dup, (uint16_t)(number % IDS + 1));
    traffic->stage[number] = SENT;
}

/* The message in flight that has this id; MESSAGES: none. */
static unsigned of_id(const struct traffic *traffic, uint16_t id)
{
    for (unsigned i = traffic->first; i < traffic->next; i++) {
        if (i % IDS + 1 == id && traffic->stage[i] != DONE) {
            return i;
        }
    }
    return MESSAGES;
}

static void connect_both(struct traffic *traffic)
{
    struct driver *driver = &traffic->rig->driver;
    driver->store_rests = false;
    bool present = peer_connect(&traffic->receiver, driver, 0, "r", kept_lasting);
    assert_int_equal(present, traffic->connected_once);
    if (!present) {
        peer_subscribe(&traffic->receiver, "t/+", 2);
    }
    present = peer_connect(&traffic->publisher, driver, 0, "p", kept_lasting);
    assert_int_equal(present, traffic->connected_once);
    traffic->connected_once = true;
    for (unsigned i = traffic->first; i < traffic->next; i++) {
        if (traffic->stage[i] == SENT) {
            send_message(traffic, i, 8);
        } else if (traffic->stage[i] == RELEASED) {
            peer_acknowledge(&traffic->publisher, PUBREL, (uint16_t)(i % IDS + 1));
        }
    }
}

static void publisher_takes(struct traffic *traffic)
{
    struct reply reply;
    while (peer_take(&traffic->publisher, &reply)) {
        unsigned number = of_id(traffic, reply.id);
        assert_true(reply.reason < 0x80 || reply.reason == 0x92);
        if (number == MESSAGES) {
            continue;
        }
        if (reply.type == PUBREC && traffic->stage[number] == SENT) {
            traffic->stage[number] = RELEASED;
            peer_acknowledge(&traffic->publisher, PUBREL, reply.id);
        } else if (reply.type == PUBCOMP) {
            assert_int_equal(traffic->stage[number], RELEASED);
            traffic->stage[number] = DONE;
        }
        while (traffic->first < traffic->next && traffic->stage[traffic->first] == DONE) {
            traffic->first++;
        }
    }
}

static void receiver_takes(struct traffic *traffic, unsigned most)
{
    struct reply reply;
    char body[16];
    while (most-- && peer_take(&traffic->receiver, &reply)) {
        if (reply.type == PUBLISH) {
            if (!traffic->known[reply.id]) {
                sprintf(body, "%u", traffic->got++);
                assert_true(tf_bytes_equal(reply.payload, tf_bytes_str(body)));
            }
            traffic->known[reply.id] = true;
            peer_acknowledge(&traffic->receiver, PUBREC, reply.id);
        } else if (reply.type == PUBREL) {
            traffic->known[reply.id] = false;
            peer_acknowledge(&traffic->receiver, PUBCOMP, reply.id);
        }
    }
}

static void step(struct traffic *traffic, struct tf_random *random)
{
    struct driver *driver = &traffic->rig->driver;
    switch (tf_random_below(random, 24)) {
    case 0:
        kept_crash_keeping(traffic->rig, 1 + (unsigned)tf_random_below(random, 3), 0,
                           (unsigned)tf_random_below(random, 9));
        connect_both(traffic);
        return;
    case 1:
        driver_cut(traffic->publisher.conn);
        driver_cut(traffic->receiver.conn);
        connect_both(traffic);
        return;
    case 2:
    case 3:
        driver->store_rests = !driver->store_rests;
        return;
    case 4: /* what was fed is in the midst of things */
        driver_turn(driver, (unsigned)tf_random_below(random, driver->count));
        return;
    case 5:
    case 6:
    case 7:
    case 8:
        receiver_takes(traffic, 1 + (unsigned)tf_random_below(random, 4));
        return;
    case 9:
    case 10:
    case 11:
        publisher_takes(traffic);
        return;
    default:
        if (traffic->next < MESSAGES && traffic->next - traffic->first < WINDOW) {
            send_message(traffic, traffic->next++, 0);
        }
    }
}

/* Publisher and receiver do as QoS 2 says; every message comes once, and in order. */
static void test_exactly_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct traffic *traffic = calloc(1, sizeof(*traffic));
        struct tf_random random;
        tf_random_init(&random, seed);
        traffic->rig = kept_start(1 + seed % 3);
        connect_both(traffic);
        while (traffic->first < MESSAGES) {
            step(traffic, &random);
        }
        kept_wake(traffic->rig);
        receiver_takes(traffic, UINT32_MAX);
        assert_int_equal(traffic->got, MESSAGES);
        kept_crash(traffic->rig, 1, 0);
        assert_int_equal(traffic->rig->driver.restored.entries, 0);
        kept_stop(traffic->rig);
        free(traffic);
    }
}

/* ---- what is read is not trusted ---- */

static enum tf_err restore(struct kept_rig *rig, uint8_t kind, const char *id,
                           struct tf_bytes value, struct tf_queue **ret)
{
    struct tf_front *front = rig->driver.nodes[0].front;
    struct tf_stored_object object = {.kind = kind, .key = tf_bytes_str(id), .value = value};
    return front->ops->restore(front, &object, ret);
}

static enum tf_err restore_part(struct kept_rig *rig, struct tf_queue *queue, uint8_t kind,
                                struct tf_bytes key, struct tf_bytes value)
{
    struct tf_front *front = rig->driver.nodes[0].front;
    struct tf_stored_object object = {.kind = kind, .key = key, .value = value};
    return front->ops->restore_part(front, queue, &object);
}

static void check_bad_sessions(struct kept_rig *rig, const uint8_t *good)
{
    struct tf_queue *queue = NULL;
    uint8_t bad[31] = {0};
    for (size_t length = 0; length < 30; length++) {
        assert_int_equal(restore(rig, TF_STORED_SESSION, "a", tf_bytes_of(good, length), &queue),
                         TF_PROTOCOL);
    }
    struct tf_bytes value = tf_bytes_of(bad, 30);
    memcpy(bad, good, 30);
    assert_int_equal(restore(rig, TF_STORED_SESSION, "a", tf_bytes_of(bad, 31), &queue),
                     TF_PROTOCOL);
    bad[0] = 2; /* the version */
    assert_int_equal(restore(rig, TF_STORED_SESSION, "a", value, &queue), TF_PROTOCOL);
    memcpy(bad, good, 30);
    bad[1] = TF_STORE_DISK + 1;
    assert_int_equal(restore(rig, TF_STORED_SESSION, "a", value, &queue), TF_PROTOCOL);
    bad[1] = TF_STORE_MEMORY;
    assert_int_equal(restore(rig, TF_STORED_SESSION, "a", value, &queue), TF_PROTOCOL);
    memcpy(bad, good, 30);
    memset(bad + 2, 0, 8); /* the queue */
    assert_int_equal(restore(rig, TF_STORED_SESSION, "a", value, &queue), TF_PROTOCOL);
    memcpy(bad, good, 30);
    assert_int_equal(restore(rig, TF_STORED_SESSION, "", value, &queue), TF_PROTOCOL);
    assert_int_equal(restore(rig, TF_STORED_QUEUE, "a", value, &queue), TF_PROTOCOL);
    assert_null(queue);
}

static void check_parts(struct kept_rig *rig, struct tf_queue *queue)
{
    struct tf_bytes none = {NULL, 0};
    struct tf_bytes filter = tf_bytes_str("a/#");
    uint8_t options[TF_STORED_BINDING_BYTES];
    struct tf_writer writer = tf_writer_of(options, sizeof(options));
    tf_stored_binding_write(&writer, &(struct tf_binding_options){.qos = 1});
    struct tf_bytes made = tf_bytes_of(options, tf_writer_length(&writer));
    assert_int_equal(restore_part(rig, queue, TF_STORED_BINDING, filter, none), TF_PROTOCOL);
    assert_int_equal(restore_part(rig, queue, TF_STORED_BINDING, none, made), TF_PROTOCOL);
    assert_int_equal(restore_part(rig, queue, TF_STORED_BINDING, tf_bytes_str("#/a"), made),
                     TF_PROTOCOL);
    assert_int_equal(restore_part(rig, queue, TF_STORED_BINDING, filter, made), TF_OK);
    assert_int_equal(queue->binding_count, 1);
    assert_int_equal(restore_part(rig, queue, TF_STORED_VALUE, filter, made), TF_PROTOCOL);
    assert_int_equal(restore_part(rig, queue, TF_STORED_RECEIVED, tf_bytes_of("\1", 1), none),
                     TF_PROTOCOL);
    assert_int_equal(restore_part(rig, queue, TF_STORED_RECEIVED, tf_bytes_of("\0\0", 2), none),
                     TF_PROTOCOL);
    for (unsigned i = 1; i <= 100; i++) {
        uint8_t key[] = {0, (uint8_t)i, 9};
        assert_int_equal(restore_part(rig, queue, TF_STORED_RECEIVED, tf_bytes_of(key, 2), none),
                         TF_OK);
        assert_int_equal(restore_part(rig, queue, TF_STORED_RECEIVED, tf_bytes_of(key, 2), none),
                         TF_PROTOCOL);
        assert_int_equal(restore_part(rig, queue, TF_STORED_RECEIVED, tf_bytes_of(key, 3), none),
                         TF_PROTOCOL);
    }
}

static void test_nonsense(void **state)
{
    static const uint8_t good[30] = {1, TF_STORE_DISK, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 1};
    struct kept_rig *rig = kept_start(1);
    struct tf_queue *queue;
    (void)state;
    check_bad_sessions(rig, good);
    assert_int_equal(restore(rig, TF_STORED_SESSION, "a", tf_bytes_of(good, sizeof(good)), &queue),
                     TF_OK);
    assert_int_equal(queue->kept->id, 0x0102030405060708);
    assert_int_equal(restore(rig, TF_STORED_SESSION, "a", tf_bytes_of(good, sizeof(good)), &queue),
                     TF_PROTOCOL);
    check_parts(rig, queue);
    driver_check(&rig->driver);
    kept_stop(rig);
}

/* Deliveries whose tags make no sense, and those that do, whatever their ids. */
static void test_nonsense_entries(void **state)
{
    static const struct {
        uint32_t tag;
        uint8_t qos;
        enum tf_err err;
    } cases[] = {{0x10001, 1, TF_OK},       {0x20002, 2, TF_OK},       {0x3ffff, 2, TF_OK},
                 {0x10100, 1, TF_OK},       {0x10001, 1, TF_PROTOCOL}, {0x20005, 1, TF_PROTOCOL},
                 {0x10005, 2, TF_PROTOCOL}, {0x30005, 1, TF_PROTOCOL}, {0x40005, 1, TF_PROTOCOL},
                 {0x10000, 1, TF_PROTOCOL}, {0x00007, 1, TF_PROTOCOL}, {0x10007, 1, TF_OK}};
    (void)state;
    struct kept_rig *rig = kept_start(1);
    struct driver *driver = &rig->driver;
    struct tf_front *front = driver->nodes[0].front;
    struct client a;
    peer_connect(&a, driver, 0, "a", kept_lasting);
    driver_cut(a.conn);
    struct mqtt_session *session = driver_session(driver, "a");
    for (size_t i = 0; i < TF_COUNT(cases); i++) {
        struct tf_entry entry = {.queue = &session->queue, .tag = cases[i].tag};
        entry.qos = cases[i].qos;
        assert_int_equal(front->ops->restore_entry(front, &entry), cases[i].err);
        assert_true(tf_mqtt_session_check(&session->state));
    }
    assert_int_equal(session->state.sent_count, 5);
    tf_mqtt_session_clear(&session->state);
    kept_stop(rig);
}

/* ---- without memory ---- */

/* A start without memory fails as a whole, at whatever point, and leaves the store as it is. */
static void test_restore_without_memory(void **state)
{
    (void)state;
    struct kept_rig *rig = kept_start(2);
    struct driver *driver = &rig->driver;
    struct client a, p;
    struct hello hello = {.expiry = 3600, .will_topic = "w", .will_body = "x", .will_delay = 99};
    peer_connect(&p, driver, 0, "p", kept_lasting);
    peer_connect(&a, driver, 0, "a", hello);
    peer_subscribe(&a, "t", 2);
    for (uint16_t i = 1; i <= 12; i++) {
        peer_publish(&p, "t", "x", 4, i);
        peer_expect(&p, PUBREC);
    }
    driver_cut(a.conn);
    driver_run(driver);
    size_t nth = 1;
    do {
        driver->restore_fails_at = nth++;
        kept_crash(rig, 2, 0);
        driver_check(driver);
        if (!driver->restore_err) { /* what failed can be done without */
            assert_int_equal(driver->restored.sessions, 2);
            assert_int_equal(driver->restored.under_way, 12);
        }
    } while (driver->restore_starved);
    assert_true(nth > 20);
    assert_int_equal(driver->restore_err, TF_OK);
    kept_stop(rig);
}

/* All a client does with sessions that are kept. */
static void use(struct driver *driver)
{
    struct client a, p;
    struct reply reply;
    struct hello hello = {.expiry = 60, .will_topic = "a/b", .will_body = "w", .will_delay = 0};
    peer_send_connect(&a, driver, 0, "a", hello);
    peer_send_connect(&p, driver, 1, "p", (struct hello){.expiry = 60});
    driver_run(driver);
    for (unsigned i = 0; i < 2; i++) {
        peer_send_subscribe(&a, 1, "a/+", 2, 3);
        peer_send_subscribe(&a, 2, "a/b", 1, 0);
        driver_run(driver);
        peer_publish(&p, "a/b", "y", 2, 1);
        peer_publish(&p, "a/b", "z", 4, 2);
        peer_acknowledge(&p, PUBREL, 2);
        driver_run(driver);
        while (peer_take(&a, &reply)) {
            if (reply.type == PUBLISH && reply.qos) {
                peer_acknowledge(&a, reply.qos == 1 ? PUBACK : PUBREC, reply.id);
            } else if (reply.type == PUBREL && i) {
                peer_acknowledge(&a, PUBCOMP, reply.id);
            }
        }
        peer_publish(&p, "a/b", "under way", 4, 4);
        driver_run(driver);
        driver_cut(a.conn);
        peer_publish(&p, "a/b", "later", 2, 3);
        driver_run(driver);
        peer_send_connect(&a, driver, 0, "a", (struct hello){.expiry = 60});
        driver_run(driver);
        peer_send(&a, 0xA2, "\0\5\0\0\3a/b", 8);
        driver_run(driver);
    }
    peer_send_connect(&a, driver, 0, "a", (struct hello){.clean = true});
    driver_run(driver);
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 2; which++) {
        size_t nth = 1;
        for (bool failed = true; failed; nth++) {
            struct kept_rig *rig = kept_start(2);
            struct driver *driver = &rig->driver;
            struct test_alloc *memory = which ? &driver->store_memory : &driver->memory;
            struct client client;
            driver_run(driver);
            test_alloc_fail(memory, nth);
            use(driver);
            failed = memory->failed != 0;
            test_alloc_fail(memory, 0);
            driver_advance(driver, TF_SECOND);
            assert_true(driver->told == TF_STORE_READY);
            kept_crash(rig, 1, 0);
            driver_check(driver);
            /* the broker is whole: a good client is served */
            peer_connect(&client, driver, 0, "after", kept_lasting);
            assert_int_equal(peer_subscribe(&client, "after", 1), 1);
            peer_publish(&client, "after", "x", 2, 1);
            driver_run(driver);
            assert_int_equal(driver_session(driver, "after")->queue.count, 1);
            kept_stop(rig);
        }
        assert_true(nth > (which ? 5 : 60));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exactly_once),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_nonsense_entries),
        cmocka_unit_test(test_restore_without_memory),
        cmocka_unit_test(test_every_allocation_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
