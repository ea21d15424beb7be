/*
 * What the AMQP front costs, and what it does when there is no memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/broker/amqp_driver.h"

#include <trefoil/amqp_message.h>

static const struct tf_bytes none = {NULL, 0};

static struct driver *start(unsigned shards)
{
    struct driver *driver = malloc(sizeof(*driver));
    amqp_driver_init(driver, shards);
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    driver_stop(driver);
    free(driver);
}

/* Bytes of an idle connection with a session and a link. */
static void test_idle_connection(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    struct driver *driver = start(1);
    (void)far_receiver(far_open(driver, 0, "first"), "queue://q", 1, NULL);
    size_t before = driver->memory.bytes;
    for (unsigned i = 0; i < COUNT; i++) {
        char id[32];
        sprintf(id, "container-%u", i);
        (void)far_receiver(far_open(driver, 0, id), "queue://q", 1, NULL);
    }
    size_t each = (driver->memory.bytes - before) / COUNT;
    printf("an idle connection with a session and a link: %zu bytes (connection %zu, of it the "
           "machine %zu; session %zu, link %zu)\n",
           each, sizeof(struct amqp_conn),
           tf_amqp_size(&amqp_driver_front(driver, 0)->servers->configs[AMQP_LISTENER]),
           sizeof(struct amqp_session), sizeof(struct amqp_link));
    assert_true(each < 4096);
    stop(driver);
}

static void flow(struct driver_conn *conn, uint32_t handle, uint32_t credit)
{
    raw_frame(conn, 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_FLOW_FRAME,
                                             .flow = {.has_next_incoming_id = true,
                                                      .incoming_window = 1000,
                                                      .outgoing_window = 1000,
                                                      .has_handle = true,
                                                      .handle = handle,
                                                      .has_delivery_count = true,
                                                      .has_link_credit = true,
                                                      .link_credit = credit}},
              none);
}

/* A message of `length` bytes of body in two frames, and one that is short. */
static void send_some(struct driver_conn *conn, uint32_t handle, uint32_t *id, size_t length)
{
    uint8_t data[3000];
    struct tf_writer writer = tf_writer_of(data, sizeof(data));
    tf_amqp_write_data_head(&writer, length);
    size_t head = tf_writer_length(&writer);
    memset(data + head, 'x', length);
    raw_transfer(conn, handle, *id, false, true, tf_bytes_of(data, 10));
    raw_transfer(conn, handle, (*id)++, false, false, tf_bytes_of(data + 10, head + length - 10));
    static const uint8_t text[] = {0, 0x53, 0x75, 0xA0, 1, 'x'};
    raw_transfer(conn, handle, (*id)++, false, false, tf_bytes_of(text, sizeof(text)));
}

/* A request to $management that changes something. */
static void send_request(struct driver_conn *conn, uint32_t handle, uint32_t *id)
{
    uint8_t data[400];
    struct tf_writer writer = tf_writer_of(data, sizeof(data));
    struct tf_amqp_properties properties = {.has_reply_to = true,
                                            .reply_to = tf_bytes_str("queue://answers")};
    static const char *const pairs[] = {"operation", "CREATE", "type", "queue", "name", "made"};
    tf_amqp_write_properties(&writer, &properties);
    tf_amqp_write_section(&writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t begin = tf_amqp_write_map_begin(&writer);
    for (size_t i = 0; i < TF_COUNT(pairs); i++) {
        tf_amqp_write_string(&writer, tf_bytes_str(pairs[i]));
    }
    tf_amqp_write_map_end(&writer, begin, TF_COUNT(pairs));
    raw_transfer(conn, handle, (*id)++, true, false, tf_bytes_of(data, tf_writer_length(&writer)));
}

/* Disposes of all that came: some accepted, some modified, some released. */
static void dispose_all(struct driver_conn *conn)
{
    struct tf_amqp_performative frame;
    uint8_t map[] = {0xC1, 6, 2, 0xA3, 1, 'k', 0x54, 1};
    static const enum tf_amqp_state_type types[] = {TF_AMQP_STATE_MODIFIED, TF_AMQP_STATE_RELEASED,
                                                    TF_AMQP_STATE_ACCEPTED, TF_AMQP_STATE_REJECTED};
    for (unsigned i = 0; raw_take(conn, &frame, NULL) && i < 200;) {
        if (frame.type != TF_AMQP_TRANSFER_FRAME || !frame.transfer.has_delivery_id) {
            continue;
        }
        struct tf_amqp_disposition disposition = {
            .role = TF_AMQP_RECEIVER,
            .first = frame.transfer.delivery_id,
            .settled = true,
            .state = {.type = types[i++ % TF_COUNT(types)],
                      .annotations = tf_bytes_of(map, sizeof(map))}};
        if (disposition.state.type != TF_AMQP_STATE_MODIFIED) {
            disposition.state.annotations = none;
        }
        raw_frame(
            conn, 0,
            &(struct tf_amqp_performative){.type = TF_AMQP_DISPOSITION, .disposition = disposition},
            none);
    }
}

/* All that a client does; what it gets is right, or an error, or the end. */
static void use(struct driver *driver)
{
    uint32_t id = 0;
    struct driver_conn *conn = raw_open(driver, 0, "client", true);
    struct client mqtt;
    peer_send_connect(&mqtt, driver, 1, "mqtt", (struct hello){.clean = true});
    peer_send_subscribe(&mqtt, 1, "t/+", 1, 0);
    raw_attach(conn, 0, "a", TF_AMQP_SENDER, "queue://q");
    raw_attach(conn, 1, "b", TF_AMQP_RECEIVER, "queue://q");
    raw_attach(conn, 2, "c", TF_AMQP_SENDER, "t/a");
    raw_attach(conn, 3, "d", TF_AMQP_RECEIVER, "topic://t/#");
    raw_attach(conn, 4, "e", TF_AMQP_SENDER, "$management");
    raw_attach(conn, 5, "b", TF_AMQP_RECEIVER, "queue://other"); /* stolen */
    raw_attach(conn, 6, "f", TF_AMQP_RECEIVER, "queue://q");
    far_run(driver);
    flow(conn, 3, 20);
    flow(conn, 6, 20);
    send_some(conn, 0, &id, 2000);
    send_some(conn, 2, &id, 2000);
    send_request(conn, 4, &id);
    peer_publish(&mqtt, "t/b", "from mqtt", 2, 1);
    far_run(driver);
    dispose_all(conn);
    far_run(driver);
    raw_frame(conn, 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_DETACH,
                                             .detach = {.handle = 3, .closed = true}},
              none);
    send_some(conn, 0, &id, 100);
    far_run(driver);
    driver_cut(conn);
    peer_disconnect(&mqtt, 0);
    far_run(driver);
}

/* The broker is whole: the next connection is served. */
static void served(struct driver *driver)
{
    struct far_session *session = far_open(driver, 1, "after");
    struct far_link *sender = far_sender(session, "queue://after", NULL);
    struct far_link *link = far_receiver(session, "queue://after", 5, NULL);
    assert_true(far_text(sender, "x"));
    far_expect(link, "x");
    assert_int_equal(sender->accepted, 1);
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    size_t nth = 1;
    for (bool failed = true; failed; nth++) {
        struct driver *driver = start(2);
        test_alloc_fail(&driver->memory, nth);
        use(driver);
        failed = driver->memory.failed != 0;
        test_alloc_fail(&driver->memory, 0);
        served(driver);
        stop(driver);
    }
    assert_true(nth > 60);
}

/* Nothing is to be had for a while: whatever was begun ends, and all is given back. */
static void test_no_memory_for_a_while(void **state)
{
    (void)state;
    for (size_t nth = 1; nth < 150; nth += 2) {
        struct driver *driver = start(2);
        driver->memory.fail_on = true;
        test_alloc_fail(&driver->memory, nth);
        use(driver);
        driver->memory.fail_on = false;
        test_alloc_fail(&driver->memory, 0);
        served(driver);
        stop(driver);
    }
}

static uint64_t queued(struct driver *driver)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < driver->count; i++) {
        count += driver->nodes[i].shard.queued_count;
    }
    return count;
}

/* A delivery that found no memory is made when there is some again, without anybody's doing. */
static void test_memory_comes_back(void **state)
{
    (void)state;
    unsigned came = 0;
    for (size_t nth = 1; nth < 12; nth++) {
        struct driver *driver = start(1);
        struct far_session *session = far_open(driver, 0, "container");
        struct far_link *topic = far_receiver(session, "topic://t", 10, NULL);
        struct client mqtt;
        peer_connect(&mqtt, driver, 0, "mqtt", (struct hello){.clean = true});
        far_run(driver);
        tf_front_buffers_release(&amqp_driver_front(driver, 0)->buffers, &driver->memory.alloc);
        driver->memory.fail_on = true;
        test_alloc_fail(&driver->memory, nth);
        peer_publish(&mqtt, "t", "y", 0, 0);
        far_run(driver);
        test_alloc_fail(&driver->memory, 0);
        driver->memory.fail_on = false;
        far_advance(driver, TF_SECOND);
        for (struct far_message *message; (message = far_take(topic)); came++) {
            far_settle(message, TF_AMQP_STATE_ACCEPTED);
        }
        far_run(driver);
        assert_true(queued(driver) == 0 || session->far->conn->ended);
        stop(driver);
    }
    assert_true(came > 5);
}

/* A dynamic node goes with its link, even if there was no memory to say so at that moment. */
static void test_dynamic_node_is_not_left(void **state)
{
    (void)state;
    for (size_t nth = 1; nth < 4; nth++) {
        struct driver *driver = start(2);
        struct far_session *session = far_open(driver, 0, "container");
        struct tf_amqp_attach wish = far_from(NULL);
        wish.source.dynamic = true;
        struct far_link *link = far_attach(session, "dynamic", &wish);
        assert_non_null(amqp_driver_queue(driver, link->address));
        driver->memory.fail_on = true;
        test_alloc_fail(&driver->memory, nth);
        far_cut(session->far);
        test_alloc_fail(&driver->memory, 0);
        driver->memory.fail_on = false;
        far_advance_mute(driver, 61 * TF_SECOND);
        assert_null(amqp_driver_queue(driver, link->address));
        stop(driver);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_connection),
        cmocka_unit_test(test_every_allocation_failed),
        cmocka_unit_test(test_no_memory_for_a_while),
        cmocka_unit_test(test_memory_comes_back),
        cmocka_unit_test(test_dynamic_node_is_not_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
