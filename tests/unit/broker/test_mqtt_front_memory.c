/*
 * What the MQTT front costs, what it does when there is no memory, and what it tells under $SYS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/front_client.h"

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    driver_init(driver, shards);
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    driver_stop(driver);
    free(driver);
}

/* Bytes of an idle connection with its session and one subscription of its own. */
static void test_idle_subscribed_connection(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct driver *driver = start(1);
    struct client *clients = calloc(COUNT + 1, sizeof(*clients));
    char id[32];
    peer_connect(&clients[COUNT], driver, 0, "first", (struct hello){.clean = true});
    peer_subscribe(&clients[COUNT], "bench/first", 0);
    size_t before = driver->memory.bytes;
    size_t blocks = driver->memory.blocks;
    for (unsigned i = 0; i < COUNT; i++) {
        sprintf(id, "client-%06u", i);
        peer_connect(&clients[i], driver, 0, id, (struct hello){.clean = true, .keep_alive = 60});
        sprintf(id, "bench/%06u", i);
        peer_subscribe(&clients[i], id, 0);
    }
    size_t each = (driver->memory.bytes - before) / COUNT;
    printf("an idle subscribed connection: %zu bytes in %zu blocks (connection %zu, of it the "
           "machine %zu; session %zu, binding %zu, route %zu)\n",
           each, (driver->memory.blocks - blocks) / COUNT,
           sizeof(struct mqtt_conn) + driver_front(driver, 0)->machine_size,
           driver_front(driver, 0)->machine_size, sizeof(struct mqtt_session),
           sizeof(struct tf_binding), sizeof(struct tf_route));
    assert_true(each < 1350);
    free(clients);
    stop(driver);
}

/* A buffer is lent while there is output, whatever the connection does. */
static void test_idle_connections_have_no_buffer(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct client client;
    struct mqtt_front *front = driver_front(driver, 0);
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true, .keep_alive = 100});
    const struct mqtt_conn *conn = driver_session(driver, "c")->conn;
    assert_null(conn->buffer);
    peer_publish(&client, "a", "nobody hears it, and nothing is answered", 0, 0);
    driver_run(driver);
    assert_null(conn->buffer);
    assert_null(conn->input.data);
    peer_publish(&client, "a", "x", 2, 1);
    peer_expect(&client, PUBACK);
    assert_null(conn->buffer);
    uint8_t half[] = {0x30, 50, 0, 1, 'a'};
    driver_feed(client.conn, half, sizeof(half));
    driver_run(driver);
    assert_null(conn->buffer);
    assert_non_null(conn->input.data);
    driver_advance(driver, 120 * TF_SECOND); /* its timer looks at it */
    assert_null(conn->buffer);
    assert_true(front->buffers.count >= 1); /* kept for whoever needs one */
    stop(driver);
}

/* All a client does, and what it gets is either right, or an answer with an error, or the end. */
static void use(struct driver *driver)
{
    struct client client, other;
    struct reply reply;
    peer_send_connect(&other, driver, 0, "other",
                      (struct hello){.expiry = 60, .will_topic = "w", .will_body = "w"});
    peer_send_connect(&client, driver, 1, "client", (struct hello){.clean = true});
    driver_run(driver);
    for (unsigned i = 0; i < 2; i++) {
        peer_send_subscribe(&other, 1, "a/+", 2, 3);
        peer_send_subscribe(&other, 2, "a/b", 1, 0);
        peer_send_subscribe(&client, 3, "w", 0, 0);
        driver_run(driver);
        peer_publish(&client, "a/b", "x", 1, 0);
        peer_publish(&client, "a/b", "y", 2, 1);
        peer_publish(&client, "a/b", "z", 4, 2);
        peer_acknowledge(&client, PUBREL, 2);
        driver_run(driver);
        while (peer_take(&other, &reply)) {
            if (reply.type == PUBLISH && reply.qos) {
                peer_acknowledge(&other, reply.qos == 1 ? PUBACK : PUBREC, reply.id);
            } else if (reply.type == PUBREL) {
                peer_acknowledge(&other, PUBCOMP, reply.id);
            }
        }
        driver_cut(other.conn);
        peer_publish(&client, "a/b", "later", 2, 3);
        driver_run(driver);
        peer_send_connect(&other, driver, 0, "other", (struct hello){.expiry = 60});
        driver_run(driver);
    }
    peer_disconnect(&client, 0);
    driver_run(driver);
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    size_t nth = 1;
    for (bool failed = true; failed; nth++) {
        struct driver *driver = start(2);
        test_alloc_fail(&driver->memory, nth);
        struct client client;
        use(driver);
        failed = driver->memory.failed != 0;
        test_alloc_fail(&driver->memory, 0);
        /* the broker is whole: a good client is served */
        peer_connect(&client, driver, 0, "after", (struct hello){.clean = true});
        assert_int_equal(peer_subscribe(&client, "after", 1), 1);
        peer_publish(&client, "after", "x", 0, 0);
        peer_expect_publish(&client, "after", "x", 0);
        stop(driver);
    }
    assert_true(nth > 60);
}

/* Nothing is to be had for a while: whatever was begun ends, and all is given back. */
static void test_no_memory_for_a_while(void **state)
{
    (void)state;
    for (size_t nth = 1; nth < 150; nth += 3) {
        struct driver *driver = start(2);
        struct client client;
        peer_connect(&client, driver, 0, "early", (struct hello){.clean = true});
        driver->memory.fail_on = true;
        test_alloc_fail(&driver->memory, nth);
        struct driver_conn *conn = driver_open(driver, 0);
        peer_send_subscribe(&client, 1, "a/#", 1, 0);
        peer_publish(&client, "a/b", "x", 3, 1);
        peer_publish(&client, "a/b", "x", 4, 2);
        static const uint8_t connect[] = {0x10, 15, 0,  4, 'M', 'Q', 'T', 'T', 5,
                                          2,    0,  60, 0, 0,   2,   'x', 'y'};
        driver_feed(conn, connect, sizeof(connect));
        driver_run(driver);
        driver->memory.fail_on = false;
        test_alloc_fail(&driver->memory, 0);
        peer_connect(&client, driver, 1, "after", (struct hello){.clean = true});
        assert_int_equal(peer_subscribe(&client, "after", 1), 1);
        stop(driver);
    }
}

/* $SYS/sessions and its like: one retained message each, from the shards that have them. */
static void test_sys_collections(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client clients[70], reader;
    char id[32];
    for (unsigned i = 0; i < TF_COUNT(clients); i++) {
        sprintf(id, "c/%u %%", i); /* to be encoded */
        peer_connect(&clients[i], driver, i % 3, id, (struct hello){.expiry = 60});
    }
    driver_cut(clients[0].conn);
    peer_connect(&reader, driver, 0, "reader", (struct hello){.clean = true});
    static const struct {
        const char *filter;
        unsigned count;
    } cases[] = {
        {"$SYS/sessions/+", 71},
        {"$SYS/connections/#", 70},
        {"$SYS/queues/mqtt/+", 71},
        {"$SYS/sessions/c%2F7%20%25", 1},
        {"$SYS/sessions/none", 0},
        {"$SYS/connections/c%2F0%20%25", 0},
        {"$SYS/#", 71 + 70 + 71},
        {"+/sessions/+", 0},
        {"$SYS/sessions/c%2F1%20%25/x", 0},
    };
    for (unsigned c = 0; c < TF_COUNT(cases); c++) {
        char seen[71][64] = {{0}};
        unsigned count = 0;
        struct reply reply;
        peer_subscribe(&reader, cases[c].filter, 0);
        while (peer_take(&reader, &reply)) {
            assert_int_equal(reply.type, PUBLISH);
            assert_true(reply.retain);
            assert_true(tf_filter_matches(tf_bytes_str(cases[c].filter), reply.topic));
            assert_int_equal(reply.payload.data[0], '{');
            assert_int_equal(reply.payload.data[reply.payload.length - 1], '}');
            for (unsigned i = 0; i < count && cases[c].count <= 71; i++) {
                assert_false(tf_bytes_equal(tf_bytes_str(seen[i]), reply.topic));
            }
            if (count < 71) {
                memcpy(seen[count], reply.topic.data, reply.topic.length);
            }
            count++;
        }
        assert_int_equal(count, cases[c].count);
        uint8_t unsubscribe[64] = {0, 9, 0, 0, (uint8_t)strlen(cases[c].filter)};
        memcpy(unsubscribe + 5, cases[c].filter, strlen(cases[c].filter));
        peer_send(&reader, 0xA2, unsubscribe, 5 + strlen(cases[c].filter));
        peer_expect(&reader, UNSUBACK);
    }
    /* no client may write there */
    peer_publish(&reader, "$SYS/sessions/x", "x", 2, 1);
    assert_int_equal(peer_expect(&reader, PUBACK).reason, 0x87);
    stop(driver);
}

/* A filter that no $SYS collection can match does not walk the sessions. */
static void test_other_filters_make_nothing(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct mqtt_front *front = driver_front(driver, 0);
    struct client client;
    peer_connect(&client, driver, 0, "c", (struct hello){.clean = true});
    static const char *const filters[] = {"a/#", "#", "+/sessions/c", "$SYS/broker/#", "$SYS/x/+"};
    for (unsigned i = 0; i < TF_COUNT(filters); i++) {
        assert_null(front->front.ops->virtual_next(&front->front, tf_bytes_str(filters[i]),
                                                   (struct tf_bytes){NULL, 0}));
    }
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_subscribed_connection),
        cmocka_unit_test(test_idle_connections_have_no_buffer),
        cmocka_unit_test(test_every_allocation_failed),
        cmocka_unit_test(test_no_memory_for_a_while),
        cmocka_unit_test(test_sys_collections),
        cmocka_unit_test(test_other_filters_make_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
