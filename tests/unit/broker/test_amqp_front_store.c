/*
 * The AMQP front with a store: what is said of messages waits until they are on disk, a store that
 * takes no more is told, and what is durable is there after a restart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/store_internal.h"
#include "unit/broker/amqp_driver.h"
#include "unit/broker/kept_rig.h"

static struct driver *start(unsigned shards)
{
    struct kept_rig *rig = kept_prepare(amqp_driver_init, shards);
    driver_start(&rig->driver);
    return &rig->driver;
}

static void stop(struct driver *driver)
{
    kept_stop((struct kept_rig *)driver);
}

/* The power fails: what was not synced is gone. Starts again. */
static void cut_power(struct driver *driver, unsigned shards)
{
    kept_crash((struct kept_rig *)driver, shards, TF_SECOND);
}

/* The store's thread goes on. */
static void go_on(struct driver *driver)
{
    driver->store_rests = false;
    far_run(driver);
}

static void set_state(struct driver *driver, enum tf_store_state state)
{
    atomic_store(&driver->store->state, (int)state);
    driver->store_rests = state != TF_STORE_READY; /* it would know better */
    for (unsigned i = 0; i < driver->count; i++) {
        driver->nodes[i].mail = true;
    }
    far_run(driver);
}

/* `accepted` when the message is on disk, not before; what touches no queue that is kept goes on.
 */
static void test_accepted(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct far_session *session = far_open(driver, 0, "container");
        struct far_link *plain = far_sender(session, "plain", NULL);
        struct far_link *queue = far_sender(session, "q", "queue");
        struct far_session *others = far_open(driver, 0, "elsewhere");
        struct far_link *topic = far_sender(others, "topic://t", NULL);
        struct far_link *receiver = far_receiver(others, "topic://t", 10, NULL);
        driver->store_rests = true;
        assert_true(far_text(plain, "1"));
        assert_true(far_text(queue, "2"));
        assert_true(far_text_settled(queue, "3"));
        far_run(driver);
        assert_int_equal(plain->accepted + queue->accepted, 0);
        assert_int_equal(amqp_driver_status(driver, "q").messages, 2);
        assert_true(far_text(topic, "4"));
        far_expect(receiver, "4");
        assert_int_equal(topic->accepted, 1);
        go_on(driver);
        assert_int_equal(plain->accepted, 1);
        assert_int_equal(queue->accepted, 1);
        cut_power(driver, shards);
        session = far_open(driver, 0, "again");
        receiver = far_receiver(session, "q", 10, "queue");
        far_expect(receiver, "2");
        far_expect(receiver, "3");
        far_expect(far_receiver(session, "plain", 10, "queue"), "1");
        stop(driver);
    }
}

/* A delivery is seen before it is on disk; that it was settled is told when it is, at the queue's
 * home. */
static void test_settled_second(void **state)
{
    struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char name[16];
        struct driver *driver = start(i ? 3 : 1);
        unsigned home = driver_home(driver, "container");
        struct far_session *session = far_open(driver, 0, "container");
        struct tf_amqp_attach attach =
            far_from(amqp_name(driver, name, "q", (home + i) % driver->count));
        struct far_link *sender = far_sender(session, name, NULL);
        uint64_t deliveries[100];
        for (unsigned j = 0; j < TF_COUNT(deliveries); j++) {
            assert_true(far_text(sender, "x"));
        }
        far_run(driver);
        attach.rcv_settle_mode = TF_AMQP_RCV_SECOND;
        struct far_link *receiver = far_attach(session, "second", &attach);
        far_credit(receiver, 1000, false);
        driver->store_rests = true;
        for (unsigned j = 0; j < TF_COUNT(deliveries); j++) {
            struct far_message *message = far_take(receiver);
            assert_true(far_is(message, "x"));
            deliveries[j] = message->delivery;
            assert_int_equal(
                tf_amqp_dispose(session->far->machine, message->delivery, &accepted, false), TF_OK);
            far_drop(message);
        }
        far_run(driver);
        assert_int_equal(amqp_driver_status(driver, name).messages, 0);
        for (unsigned j = 0; j < TF_COUNT(deliveries); j++) {
            assert_int_equal(
                tf_amqp_dispose(session->far->machine, deliveries[j], &accepted, false), TF_OK);
        }
        far_run(driver);
        go_on(driver);
        for (unsigned j = 0; j < TF_COUNT(deliveries); j++) {
            assert_int_equal(
                tf_amqp_dispose(session->far->machine, deliveries[j], &accepted, false),
                TF_NOT_FOUND);
        }
        cut_power(driver, 1);
        far_expect_nothing(far_receiver(far_open(driver, 0, "again"), name, 10, "queue"));
        stop(driver);
    }
}

/* It is never told by a broken store: the connection ends instead. */
static void test_settled_second_broken(void **state)
{
    struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    char name[16];
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 0, "container");
    struct far *far = session->far;
    unsigned home = driver_home(driver, "container");
    struct tf_amqp_attach attach = far_from(amqp_name(driver, name, "q", (home + 1) % 3));
    assert_true(far_text(far_sender(session, name, NULL), "x"));
    far_run(driver);
    attach.rcv_settle_mode = TF_AMQP_RCV_SECOND;
    struct far_link *receiver = far_attach(session, "second", &attach);
    far_credit(receiver, 1, false);
    driver->store_rests = true;
    struct far_message *message = far_take(receiver);
    assert_true(far_is(message, "x"));
    assert_int_equal(tf_amqp_dispose(far->machine, message->delivery, &accepted, false), TF_OK);
    far_drop(message);
    far_run(driver);
    assert_false(far->closed);
    tf_store_break(driver->store);
    go_on(driver);
    assert_true(far->closed);
    assert_int_equal(far->condition, TF_AMQP_INTERNAL_ERROR);
    cut_power(driver, 3);
    far_expect(far_receiver(far_open(driver, 0, "again"), name, 10, "queue"), "x");
    stop(driver);
}

/* A store that takes nothing new: rejected, and what needs no store goes on. */
static void test_full(void **state)
{
    struct driver *driver = start(1);
    struct far_session *session = far_open(driver, 0, "container");
    struct far_link *queue = far_sender(session, "q", "queue");
    struct far_link *topic = far_sender(session, "topic://t", NULL);
    struct far_link *receiver = far_receiver(session, "topic://t", 10, NULL);
    (void)state;
    set_state(driver, TF_STORE_FULL);
    assert_true(far_text(queue, "x"));
    far_run(driver);
    assert_int_equal(queue->rejected, 1);
    assert_int_equal(queue->reason, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    assert_int_equal(amqp_driver_status(driver, "q").messages, 0);
    assert_true(far_text(topic, "y"));
    far_expect(receiver, "y");
    assert_int_equal(topic->accepted, 1);
    set_state(driver, TF_STORE_READY);
    assert_true(far_text(queue, "z"));
    far_run(driver);
    assert_int_equal(queue->accepted, 1);
    stop(driver);
}

/* Over the soft limit senders have no credit; then it comes back. Requests are served. */
static void test_slow(void **state)
{
    struct driver *driver = start(1);
    struct far_session *session = far_open(driver, 0, "container");
    struct far_link *queue = far_sender(session, "q", "queue");
    (void)state;
    far_run(driver);
    assert_int_equal(tf_amqp_link_credit_left(queue->machine), AMQP_CREDIT);
    set_state(driver, TF_STORE_SLOW);
    assert_int_equal(tf_amqp_link_credit_left(queue->machine), 0);
    struct far_link *late = far_sender(session, "topic://r", NULL);
    far_run(driver);
    assert_int_equal(tf_amqp_link_credit_left(late->machine), 0);
    struct far_link *management = far_sender(session, "$management", NULL);
    far_run(driver);
    assert_true(tf_amqp_link_credit_left(management->machine) > 0);
    set_state(driver, TF_STORE_READY);
    assert_int_equal(tf_amqp_link_credit_left(queue->machine), AMQP_CREDIT);
    assert_int_equal(tf_amqp_link_credit_left(late->machine), AMQP_CREDIT);
    stop(driver);
}

/* A durable subscription is there after a restart, with what was published; others are not. */
static void test_subscription(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 0, "container");
    struct tf_amqp_attach attach = far_from("topic://news");
    attach.source.durable = TF_AMQP_DURABLE_UNSETTLED_STATE;
    attach.source.expiry_policy = TF_AMQP_EXPIRY_NEVER;
    driver->store_rests = true;
    struct far_link *link = far_attach(session, "lasting", &attach);
    assert_false(link->attached); /* not before it is on disk */
    go_on(driver);
    assert_true(link->attached);
    attach.source.durable = TF_AMQP_DURABLE_NONE;
    (void)far_attach(session, "passing", &attach);
    far_cut(session->far);
    struct far_link *sender = far_sender(far_open(driver, 1, "sender"), "topic://news", NULL);
    assert_true(far_text(sender, "x"));
    far_run(driver);
    assert_int_equal(sender->accepted, 1);
    cut_power(driver, 2);
    session = far_open(driver, 0, "container");
    attach.source.durable = TF_AMQP_DURABLE_CONFIGURATION;
    link = far_attach(session, "lasting", &attach);
    far_credit(link, 10, false);
    far_expect(link, "x");
    attach.source.durable = TF_AMQP_DURABLE_NONE;
    link = far_attach(session, "passing", &attach);
    far_credit(link, 10, false);
    far_expect_nothing(link);
    stop(driver);
}

/* That a subscription was closed is answered when it is gone for good, wherever its queue is; and
 * refused, not kept silent about, when it can never be. */
static void test_subscription_closed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        char name[] = "lasting-0";
        struct driver *driver = start(i % 2 ? 3 : 1);
        struct far_session *session = far_open(driver, 0, "container");
        struct tf_amqp_attach attach = far_from("topic://news");
        attach.source.durable = TF_AMQP_DURABLE_CONFIGURATION;
        attach.source.expiry_policy = TF_AMQP_EXPIRY_NEVER;
        name[8] = (char)('0' + i); /* in different homes */
        struct far_link *link = far_attach(session, name, &attach);
        assert_true(link->attached);
        driver->store_rests = true;
        if (i >= 6) {
            tf_store_break(driver->store);
        }
        far_detach(link, true);
        assert_true(i >= 6 || link->machine);
        go_on(driver);
        assert_null(link->machine);
        cut_power(driver, 2);
        session = far_open(driver, 1, "other");
        assert_true(far_text(far_sender(session, "topic://news", NULL), "x"));
        far_run(driver);
        link = far_attach(far_open(driver, 0, "container"), name, &attach);
        far_credit(link, 10, false);
        if (i < 6) {
            far_expect_nothing(link);
        } else {
            far_expect(link, "x");
        }
        stop(driver);
    }
}

/* What a request has changed is on disk before it is answered; looking waits for nothing. */
static void try_management(struct driver *driver)
{
    struct far_session *session = far_open(driver, 0, "container");
    struct tf_amqp_attach attach = far_from("");
    uint8_t buffer[512];
    attach.source.has_address = false;
    attach.source.dynamic = true;
    struct far_link *replies = far_attach(session, "replies", &attach);
    assert_true(replies->attached);
    far_credit(replies, 10, false);
    struct far_link *manage = far_sender(session, "$management", NULL);
    for (unsigned i = 0; i < 2; i++) {
        static const char *const operations[] = {"CREATE", "READ"};
        struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
        struct tf_amqp_properties properties = {.has_reply_to = true,
                                                .reply_to = tf_bytes_str(replies->address)};
        tf_amqp_write_properties(&writer, &properties);
        tf_amqp_write_section(&writer, TF_AMQP_APPLICATION_PROPERTIES);
        size_t begin = tf_amqp_write_map_begin(&writer);
        tf_amqp_write_string(&writer, tf_bytes_str("operation"));
        tf_amqp_write_string(&writer, tf_bytes_str(operations[i]));
        tf_amqp_write_string(&writer, tf_bytes_str("type"));
        tf_amqp_write_string(&writer, tf_bytes_str("queue"));
        tf_amqp_write_string(&writer, tf_bytes_str("name"));
        tf_amqp_write_string(&writer, tf_bytes_str("made"));
        tf_amqp_write_map_end(&writer, begin, 6);
        tf_amqp_write_section(&writer, TF_AMQP_DATA);
        tf_amqp_write_binary(&writer, (struct tf_bytes){NULL, 0});
        driver->store_rests = true;
        assert_true(far_send(manage, tf_bytes_of(buffer, tf_writer_length(&writer)), true));
        if (i == 0) {
            far_expect_nothing(replies);
            assert_non_null(amqp_driver_queue(driver, "made"));
            go_on(driver);
        }
        struct far_message *message = far_take(replies);
        assert_non_null(message);
        far_settle(message, TF_AMQP_STATE_ACCEPTED);
    }
    cut_power(driver, driver->count);
    assert_non_null(amqp_driver_queue(driver, "made"));
    stop(driver);
}

static void test_management(void **state)
{
    (void)state;
    try_management(start(1));
    try_management(start(2));
    try_management(start(3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_settled_second),
        cmocka_unit_test(test_settled_second_broken),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_subscription),
        cmocka_unit_test(test_subscription_closed),
        cmocka_unit_test(test_management),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
