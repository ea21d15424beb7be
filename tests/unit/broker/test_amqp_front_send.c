/*
 * The AMQP front: messages out. Outcomes, drain, bodies by reference, what comes back from links
 * that end, durable subscriptions, and links without number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/amqp_driver.h"

#include <trefoil/amqp_message.h>

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    amqp_driver_init(driver, shards);
    driver->config.max_packet_size = 16u << 20;
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    driver_stop(driver);
    free(driver);
}

/* A container at home in shard 0, and a queue's explicit address, at home in `home`. */
static struct far_session *open_with(struct driver *driver, char queue[48], unsigned home)
{
    char id[32];
    amqp_name(driver, id, "container", 0);
    strcpy(queue, "queue://");
    amqp_name(driver, queue + 8, "q", home);
    return far_open(driver, 0, id);
}

static uint32_t count_of(const struct far_message *message)
{
    return message->message.header.delivery_count;
}

/* ---- outcomes ---- */

/* delivery-count rises for rejected and failed, never for released (3.4); first-acquirer tells. */
static void test_outcomes(void **state)
{
    (void)state;
    for (unsigned home = 0; home < 2; home++) {
        struct driver *driver = start(home ? 3 : 1);
        char queue[48];
        struct far_session *session = open_with(driver, queue, home);
        struct far_link *sender = far_sender(session, queue, NULL);
        struct far_link *link = far_receiver(session, queue, 1, NULL);
        static const struct {
            struct tf_amqp_state state;
            uint32_t count;
        } steps[] = {{{.type = TF_AMQP_STATE_RELEASED}, 0},
                     {{.type = TF_AMQP_STATE_MODIFIED}, 0},
                     {{.type = TF_AMQP_STATE_MODIFIED, .delivery_failed = true}, 1},
                     {{.type = TF_AMQP_STATE_NONE}, 1},
                     {{.type = TF_AMQP_STATE_RECEIVED}, 1},
                     {{.type = TF_AMQP_STATE_MODIFIED, .delivery_failed = true}, 2}};
        assert_true(far_text(sender, "x"));
        struct far_message *message = far_take(link);
        assert_true(message && message->message.header.first_acquirer);
        for (size_t i = 0; i < TF_COUNT(steps); i++) {
            assert_true(far_is(message, "x"));
            far_settle_as(message, &steps[i].state);
            far_credit(link, 1, false);
            message = far_take(link);
            assert_non_null(message);
            assert_int_equal(count_of(message), steps[i].count);
            assert_false(message->message.header.first_acquirer);
        }
        far_settle(message, TF_AMQP_STATE_REJECTED);
        far_credit(link, 1, false);
        far_expect_nothing(link);
        assert_int_equal(amqp_driver_status(driver, queue + 8).messages, 0);
        assert_int_equal(amqp_driver_status(driver, queue + 8).rejected, 1);
        stop(driver);
    }
}

/* Released messages go back to their places. */
static void test_order_on_release(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    char queue[48], text[2] = "a";
    struct far_session *session = open_with(driver, queue, 2);
    struct far_link *sender = far_sender(session, queue, NULL);
    struct far_link *link = far_receiver(session, queue, 5, NULL);
    struct far_message *messages[5];
    for (unsigned i = 0; i < 6; i++) {
        *text = (char)('a' + i);
        assert_true(far_text(sender, text));
    }
    for (unsigned i = 0; i < 5; i++) {
        messages[i] = far_take(link);
        assert_non_null(messages[i]);
    }
    far_settle(messages[3], TF_AMQP_STATE_RELEASED);
    far_settle(messages[1], TF_AMQP_STATE_RELEASED);
    far_settle(messages[2], TF_AMQP_STATE_ACCEPTED);
    far_run(driver);
    far_credit(link, 5, false);
    far_expect(link, "b");
    far_expect(link, "d");
    far_expect(link, "f");
    far_expect_nothing(link);
    far_settle(messages[0], TF_AMQP_STATE_ACCEPTED);
    far_settle(messages[4], TF_AMQP_STATE_ACCEPTED);
    far_run(driver);
    assert_int_equal(amqp_driver_status(driver, queue + 8).messages, 0);
    stop(driver);
}

static struct tf_bytes annotations(uint8_t buffer[64], const char *key, uint32_t value)
{
    struct tf_writer writer = tf_writer_of(buffer, 64);
    size_t begin = tf_amqp_write_map_begin(&writer);
    tf_amqp_write_symbol(&writer, tf_bytes_str(key));
    tf_amqp_write_uint(&writer, value);
    tf_amqp_write_map_end(&writer, begin, 2);
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}

static uint64_t annotation(const struct far_message *message, const char *key)
{
    struct tf_amqp_value value;
    return tf_amqp_map_find(message->message.message_annotations, tf_bytes_str(key), &value)
               ? value.number
               : 0;
}

/* What `modified` brings is merged, key by key, and shown to whoever gets the message next. */
static void test_annotations(void **state)
{
    (void)state;
    for (unsigned large = 0; large < 2; large++) {
        struct driver *driver = start(3);
        char queue[48], text[3001] = "x";
        uint8_t buffer[64];
        struct far_session *session = open_with(driver, queue, 1);
        struct far_link *sender = far_sender(session, queue, NULL);
        struct far_link *link = far_receiver(session, queue, 1, NULL);
        if (large) { /* by reference */
            memset(text, 'x', sizeof(text) - 1);
            text[sizeof(text) - 1] = 0;
        }
        assert_true(far_text(sender, text));
        static const struct {
            const char *key;
            uint32_t value, a, b;
        } steps[] = {{"x-a", 1, 1, 0}, {"x-b", 2, 1, 2}, {"x-a", 3, 3, 2}};
        for (size_t i = 0; i < TF_COUNT(steps); i++) {
            struct far_message *message = far_take(link);
            assert_true(far_is(message, text));
            far_settle_as(message,
                          &(struct tf_amqp_state){
                              .type = TF_AMQP_STATE_MODIFIED,
                              .annotations = annotations(buffer, steps[i].key, steps[i].value)});
            far_credit(link, 1, false);
            assert_int_equal(tf_list_empty(&link->came), false);
            message = tf_container_of(tf_list_first(&link->came), struct far_message, node);
            assert_int_equal(annotation(message, "x-a"), steps[i].a);
            assert_int_equal(annotation(message, "x-b"), steps[i].b);
        }
        far_expect(link, text);
        stop(driver);
    }
}

/* undeliverable-here: another consumer gets it, this one never again. */
static void test_undeliverable_here(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    char queue[48];
    struct far_session *session = open_with(driver, queue, 2);
    struct far_session *other = far_open(driver, 1, "other");
    struct far_link *sender = far_sender(session, queue, NULL);
    struct far_link *link = far_receiver(session, queue, 5, NULL);
    assert_true(far_text(sender, "x"));
    far_settle_as(far_take(link), &(struct tf_amqp_state){.type = TF_AMQP_STATE_MODIFIED,
                                                          .undeliverable_here = true});
    far_credit(link, 5, false);
    far_expect_nothing(link);
    assert_true(far_text(sender, "y"));
    far_expect(link, "y");
    far_expect(far_receiver(other, queue, 5, NULL), "x");
    stop(driver);
}

/* ---- credit ---- */

static void test_drain(void **state)
{
    (void)state;
    for (unsigned home = 0; home < 2; home++) {
        struct driver *driver = start(3);
        char queue[48];
        struct far_session *session = open_with(driver, queue, home);
        struct far_link *sender = far_sender(session, queue, NULL);
        struct far_link *link = far_receiver(session, queue, 0, NULL);
        far_credit(link, 10, true); /* nothing is there */
        assert_int_equal(link->drained, 1);
        assert_true(far_text(sender, "a"));
        assert_true(far_text(sender, "b"));
        far_expect_nothing(link); /* the credit is gone */
        far_credit(link, 10, true);
        assert_int_equal(link->drained, 2);
        far_expect(link, "a");
        far_expect(link, "b");
        assert_true(far_text(sender, "c"));
        far_expect_nothing(link);
        far_credit(link, 1, false);
        far_expect(link, "c");
        far_credit(link, 5, false);
        far_credit(link, 0, false); /* taken back */
        assert_true(far_text(sender, "d"));
        far_expect_nothing(link);
        far_credit(link, 1, false);
        far_expect(link, "d");
        stop(driver);
    }
}

/* Credit that is used up while the peer's table of unsettled deliveries, or ours, is full. */
static void test_unsettled_limit(void **state)
{
    (void)state;
    struct driver *driver = malloc(sizeof(*driver));
    char queue[48];
    amqp_driver_init(driver, 1);
    driver->config.listeners[AMQP_LISTENER].amqp_max_unsettled = 4;
    driver_start(driver);
    struct far_session *session = open_with(driver, queue, 0);
    struct far_session *other = far_open(driver, 0, "other");
    struct far_link *sender = far_sender(other, queue, NULL);
    struct far_link *link = far_receiver(session, queue, 100, NULL);
    struct far_message *held[4];
    for (unsigned i = 0; i < 10; i++) {
        assert_true(far_text(sender, "x"));
        far_run(driver);
    }
    for (unsigned i = 0; i < 4; i++) {
        held[i] = far_take(link);
        assert_non_null(held[i]);
    }
    far_expect_nothing(link);
    for (unsigned i = 0; i < 4; i++) { /* settled at once: the broker has nothing to write */
        far_settle(held[i], TF_AMQP_STATE_ACCEPTED);
    }
    for (unsigned i = 0; i < 6; i++) {
        far_expect(link, "x");
    }
    stop(driver);
}

/* A session whose window is closed holds its own links back, no others; then all goes on. */
static void test_closed_window(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    char queue[48];
    struct far_session *session = open_with(driver, queue, 1);
    struct far_link *sender = far_sender(session, queue, NULL);
    struct far_session *narrow = far_begin(session->far);
    tf_amqp_session_window(narrow->machine, 0);
    struct far_link *held = far_receiver(narrow, queue, 10, NULL);
    tf_amqp_session_window(narrow->machine, 0);
    far_run(driver);
    struct far_link *open = far_receiver(session, queue, 10, NULL);
    for (unsigned i = 0; i < 8; i++) {
        assert_true(far_text(sender, "x"));
    }
    unsigned count = 0;
    for (struct far_message *message; (message = far_take(open)); count++) {
        far_settle(message, TF_AMQP_STATE_ACCEPTED);
    }
    assert_true(count >= 4);
    tf_amqp_session_window(narrow->machine, 1000);
    for (struct far_message *message; (message = far_take(held)); count++) {
        far_settle(message, TF_AMQP_STATE_ACCEPTED);
    }
    assert_int_equal(count, 8);
    stop(driver);
}

/* ---- bodies by reference ---- */

/* Large bodies that a connection has borrowed go back when it ends in the middle. */
static void test_borrowed(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 5; how++) {
        struct driver *driver = start(3);
        char queue[48];
        struct far_session *session = open_with(driver, queue, how % 3);
        struct far_session *feeder = far_open(driver, 1, "feeder");
        struct far_link *sender = far_sender(feeder, queue, NULL);
        size_t length = 600000;
        uint8_t *data = malloc(length);
        struct tf_writer writer = tf_writer_of(data, length);
        tf_amqp_write_data_head(&writer, length - 8);
        length = tf_writer_length(&writer) + length - 8;
        memset(data + 8, 'x', length - 8);
        for (unsigned i = 0; i < 5; i++) {
            assert_true(far_send(sender, tf_bytes_of(data, length), false));
            far_run(driver);
        }
        free(data);
        struct far_link *link = far_receiver(session, queue, 0, NULL);
        session->far->conn->window = 100000; /* then the transport takes no more */
        far_credit(link, 10, false);
        struct amqp_conn *conn = amqp_driver_conn(driver, session->far->id);
        assert_true(conn->borrowed > 0 && conn->borrowed < AMQP_BORROWED_MAX + 2 * length);
        switch (how) {
        case 0:
            far_cut(session->far);
            break;
        case 1:
            far_detach(link, true);
            break;
        case 2:
            far_end(session);
            break;
        case 3:
            far_close(session->far);
            break;
        default:
            break;
        }
        if (how) {
            driver_window(session->far->conn, SIZE_MAX);
            far_run(driver);
        }
        if (how < 4) {
            assert_int_equal(amqp_driver_status(driver, queue + 8).messages, 5);
            assert_int_equal(amqp_driver_status(driver, queue + 8).acquired, 0);
        } else {
            for (unsigned i = 0; i < 5; i++) {
                struct far_message *message = far_take(link);
                assert_non_null(message);
                assert_int_equal(message->message.bare.length, length);
                far_settle(message, TF_AMQP_STATE_ACCEPTED);
            }
            far_run(driver);
            assert_int_equal(conn->borrowed, 0);
        }
        stop(driver);
    }
}

/* ---- the end of links ---- */

/* What was not settled is there again: as it was after detach and end, as an attempt more when the
 * connection was lost. */
static void test_requeue(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 10; how++) {
        struct driver *driver = start(3);
        char queue[48];
        struct far_session *session = open_with(driver, queue, how / 5 * 2);
        struct far_session *other = far_open(driver, 1, "other");
        struct far_link *sender = far_sender(other, queue, NULL);
        struct far_link *link = far_receiver(session, queue, 2, NULL);
        assert_true(far_text(sender, "a"));
        assert_true(far_text(sender, "b"));
        assert_true(far_text(sender, "c"));
        far_run(driver);
        assert_int_equal(amqp_driver_status(driver, queue + 8).acquired, 2);
        switch (how % 5) {
        case 0:
            far_detach(link, false);
            break;
        case 1:
            far_detach(link, true);
            break;
        case 2:
            far_end(session);
            break;
        case 3:
            far_cut(session->far);
            break;
        default:
            far_close(session->far);
            assert_true(session->far->conn->ended);
            break;
        }
        assert_int_equal(amqp_driver_status(driver, queue + 8).acquired, 0);
        struct far_link *next = far_receiver(other, queue, 10, NULL);
        for (unsigned i = 0; i < 3; i++) {
            char text[2] = {(char)('a' + i), 0};
            struct far_message *message = far_take(next);
            assert_true(far_is(message, text));
            assert_int_equal(count_of(message), how % 5 == 3 && i < 2);
            assert_int_equal(message->message.header.first_acquirer, i == 2);
            far_settle(message, TF_AMQP_STATE_ACCEPTED);
        }
        stop(driver);
    }
}

/* A deleted queue tells its links (resource-deleted); they may attach anew. */
static void test_deleted_queue(void **state)
{
    (void)state;
    for (unsigned home = 0; home < 2; home++) {
        struct driver *driver = start(3);
        char queue[48];
        struct far_session *session = open_with(driver, queue, home);
        struct far_link *sender = far_sender(session, queue, NULL);
        struct far_link *link = far_receiver(session, queue, 1, NULL);
        struct far_link *idle = far_receiver(session, queue, 0, NULL);
        assert_true(far_text(sender, "held"));
        assert_true(far_text(sender, "waits"));
        struct far_message *message = far_take(link);
        struct tf_shard *shard = &driver->nodes[home].shard;
        struct tf_command_owner owner = {.done = NULL};
        struct tf_queue_command command = {.type = TF_QUEUE_DELETE,
                                           .name = tf_bytes_str(queue + 8)};
        tf_list_init(&owner.commands);
        assert_int_equal(tf_shard_queue_command(shard, &command, &owner, 0), TF_OK);
        tf_command_owner_release(&owner);
        far_run(driver);
        assert_true(sender->detached && link->detached && idle->detached);
        assert_int_equal(sender->condition, TF_AMQP_RESOURCE_DELETED);
        assert_int_equal(link->condition, TF_AMQP_RESOURCE_DELETED);
        far_settle(message, TF_AMQP_STATE_ACCEPTED); /* too late, and no harm */
        far_run(driver);
        assert_null(amqp_driver_queue(driver, queue + 8));
        assert_int_equal(amqp_driver_links(driver), 0);
        sender = far_sender(session, queue, NULL);
        link = far_receiver(session, queue, 1, NULL);
        assert_true(far_text(sender, "new"));
        far_expect(link, "new");
        stop(driver);
    }
}

/* A durable subscription outlives its link and its connection, and ends when it is closed. */
static void test_durable_subscription(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 0, "container");
    struct far_session *other = far_open(driver, 1, "other");
    struct far_link *sender = far_sender(other, "t/a", "topic");
    struct tf_amqp_attach wish = far_from("topic://t/+");
    wish.source.durable = TF_AMQP_DURABLE_UNSETTLED_STATE;
    wish.source.expiry_policy = TF_AMQP_EXPIRY_NEVER;
    struct far_link *link = far_attach(session, "news", &wish);
    assert_true(link->attached);
    assert_true(far_text(sender, "a"));
    far_credit(link, 1, false);
    far_expect(link, "a");
    far_detach(link, false);
    assert_true(far_text(sender, "b"));
    link = far_attach(session, "news", &wish);
    far_credit(link, 1, false);
    far_expect(link, "b");
    far_run(driver);
    far_cut(session->far);
    assert_true(far_text(sender, "c"));
    far_run(driver);
    session = far_open(driver, 2, "container");
    link = far_attach(session, "news", &wish);
    far_credit(link, 1, false);
    far_expect(link, "c");
    far_detach(link, true); /* for good */
    assert_true(far_text(sender, "d"));
    far_run(driver);
    link = far_attach(session, "news", &wish);
    far_credit(link, 1, false);
    far_expect_nothing(link);
    assert_int_equal(link->drained, 0);
    /* another container's link of this name is another subscription */
    struct far_link *theirs = far_attach(other, "news", &wish);
    far_credit(theirs, 5, false);
    assert_true(far_text(sender, "e"));
    far_expect(link, "e");
    far_expect(theirs, "e");
    stop(driver);
}

/* Two subscriptions whose names look alike when they are put together are two all the same. */
static void test_like_subscriptions(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct far_session *one = far_open(driver, 0, "a/b");
    struct far_session *two = far_open(driver, 0, "a");
    struct tf_amqp_attach wish = far_from("topic://t");
    wish.source.durable = TF_AMQP_DURABLE_CONFIGURATION;
    wish.source.expiry_policy = TF_AMQP_EXPIRY_NEVER;
    struct far_link *first = far_attach(one, "c", &wish);
    struct far_link *second = far_attach(two, "b/c", &wish);
    far_credit(first, 5, false);
    far_credit(second, 5, false);
    assert_true(far_text(far_sender(one, "topic://t", NULL), "x"));
    far_expect(first, "x");
    far_expect(second, "x");
    stop(driver);
}

/* Browsing (distribution-mode copy) takes nothing. */
static void test_browse(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    char queue[48];
    struct far_session *session = open_with(driver, queue, 1);
    struct far_link *sender = far_sender(session, queue, NULL);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(far_text(sender, "x"));
    }
    struct tf_amqp_attach wish = far_from(queue);
    wish.source.distribution = TF_AMQP_DISTRIBUTION_COPY;
    struct far_link *link = far_attach(session, "browser", &wish);
    far_credit(link, 10, false);
    for (unsigned i = 0; i < 3; i++) {
        far_expect(link, "x");
    }
    far_expect_nothing(link);
    assert_int_equal(amqp_driver_status(driver, queue + 8).messages, 3);
    stop(driver);
}

/* ---- many ---- */

/* Thousands of links on one connection, with topics, or with queues of other shards, whose answers
 * come all at once; then the connection is lost. */
static void test_many_links(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        const unsigned links = shards == 1 ? 10000 : 2000;
        const char *prefix = shards == 1 ? "topic://t/" : "queue://q/";
        struct driver *driver = malloc(sizeof(*driver));
        amqp_driver_init(driver, shards);
        driver->config.listeners[AMQP_LISTENER].amqp_max_links = links + 1;
        driver_start(driver);
        struct driver_conn *conn = raw_open(driver, 0, "container", true);
        struct tf_amqp_performative frame;
        for (unsigned i = 0; i < links; i++) {
            char name[24], address[32];
            sprintf(name, "link-%u", i);
            sprintf(address, "%s%u", prefix, i % 100);
            raw_attach(conn, i, name, TF_AMQP_RECEIVER, address);
            raw_frame(conn, 0,
                      &(struct tf_amqp_performative){.type = TF_AMQP_FLOW_FRAME,
                                                     .flow = {.has_next_incoming_id = true,
                                                              .incoming_window = links + 1,
                                                              .outgoing_window = 1,
                                                              .has_handle = true,
                                                              .handle = i,
                                                              .has_delivery_count = true,
                                                              .has_link_credit = true,
                                                              .link_credit = 1}},
                      (struct tf_bytes){NULL, 0});
        }
        driver_run(driver);
        unsigned attached = 0, came = 0;
        while (raw_next(conn, &frame, NULL)) {
            attached += frame.type == TF_AMQP_ATTACH_FRAME;
        }
        assert_int_equal(attached, links);
        assert_int_equal(amqp_driver_links(driver), links);
        struct far_session *other = far_open(driver, 0, "other");
        for (unsigned i = 0; i < 100; i++) {
            char address[32];
            sprintf(address, "%s%u", prefix, i);
            assert_true(far_text_settled(far_sender(other, address, NULL), "x"));
        }
        far_run(driver);
        while (raw_next(conn, &frame, NULL)) {
            came += frame.type == TF_AMQP_TRANSFER_FRAME;
        }
        assert_int_equal(came, shards == 1 ? links : 100);
        driver_cut(conn);
        assert_int_equal(amqp_driver_links(driver), 100);
        stop(driver);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_order_on_release),
        cmocka_unit_test(test_annotations),
        cmocka_unit_test(test_undeliverable_here),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_unsettled_limit),
        cmocka_unit_test(test_closed_window),
        cmocka_unit_test(test_borrowed),
        cmocka_unit_test(test_requeue),
        cmocka_unit_test(test_deleted_queue),
        cmocka_unit_test(test_durable_subscription),
        cmocka_unit_test(test_like_subscriptions),
        cmocka_unit_test(test_browse),
        cmocka_unit_test(test_many_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
