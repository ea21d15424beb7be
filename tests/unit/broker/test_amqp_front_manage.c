/*
 * The AMQP front: the node $management, and what $SYS tells of AMQP.
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
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    driver_stop(driver);
    free(driver);
}

struct request {
    const char *operation, *type, *name, *to;
    uint32_t limit; /* 0: none */
    bool if_empty, if_unused;
    int status;
    unsigned count;
};

static void put_text(struct tf_writer *writer, const char *name, const char *value, uint32_t *items)
{
    if (value) {
        tf_amqp_write_string(writer, tf_bytes_str(name));
        tf_amqp_write_string(writer, tf_bytes_str(value));
        *items += 2;
    }
}

static struct tf_bytes encode(const struct request *request, const char *reply_to, uint32_t id,
                              uint8_t *buffer, size_t size)
{
    uint8_t encoded[16];
    struct tf_writer writer = tf_writer_of(encoded, sizeof(encoded));
    tf_amqp_write_ulong(&writer, id);
    struct tf_amqp_properties properties = {.has_reply_to = true,
                                            .reply_to = tf_bytes_str(reply_to),
                                            .message_id =
                                                tf_bytes_of(encoded, tf_writer_length(&writer))};
    uint32_t items = 0;
    writer = tf_writer_of(buffer, size);
    tf_amqp_write_properties(&writer, &properties);
    tf_amqp_write_section(&writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t begin = tf_amqp_write_map_begin(&writer);
    put_text(&writer, "operation", request->operation, &items);
    put_text(&writer, "type", request->type, &items);
    put_text(&writer, "name", request->name, &items);
    put_text(&writer, "to", request->to, &items);
    if (request->limit) {
        tf_amqp_write_string(&writer, tf_bytes_str("limit"));
        tf_amqp_write_uint(&writer, request->limit);
        items += 2;
    }
    if (request->if_empty || request->if_unused) {
        tf_amqp_write_string(&writer, tf_bytes_str(request->if_empty ? "if-empty" : "if-unused"));
        tf_amqp_write_bool(&writer, true);
        items += 2;
    }
    tf_amqp_write_map_end(&writer, begin, items);
    tf_amqp_write_section(&writer, TF_AMQP_AMQP_VALUE);
    tf_amqp_write_null(&writer);
    assert_false(writer.failed);
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}

/* Sends a request; the answer must have its status, its count and its id. */
static void check_request(struct far_link *link, struct far_link *answers,
                          const struct request *request, uint32_t id)
{
    uint8_t buffer[512];
    struct tf_amqp_value value;
    link->accepted = 0;
    assert_true(
        far_send(link, encode(request, answers->address, id, buffer, sizeof(buffer)), false));
    struct far_message *message = far_take(answers);
    assert_non_null(message);
    assert_int_equal(link->accepted, 1);
    assert_int_equal(tf_amqp_value_of(message->message.properties.correlation_id, &value), TF_OK);
    assert_int_equal(value.number, id);
    assert_true(tf_amqp_map_find(message->message.application_properties,
                                 tf_bytes_str("statusCode"), &value));
    if (value.integer != request->status) {
        fail_msg("%s %s: %d and not %d", request->operation, request->name, (int)value.integer,
                 request->status);
    }
    assert_true(tf_amqp_map_find(message->message.value, tf_bytes_str("count"), &value));
    if (value.number != request->count) {
        fail_msg("%s %s: count %u and not %u", request->operation, request->name,
                 (unsigned)value.number, request->count);
    }
    far_settle(message, TF_AMQP_STATE_ACCEPTED);
    far_credit(answers, 5, false);
}

static const struct request requests[] = {
    {"READ", "queue", "full", .status = 200},
    {"READ", "queue", "absent", .status = 404},
    {"CREATE", "queue", "made", .status = 200},
    {"CREATE", "queue", "made", .status = 200},
    {"READ", "queue", "made", .status = 200},
    {"CREATE", "queue", "$made", .status = 400},
    {"CREATE", "queue", "a/#", .status = 400},
    {"CREATE", "queue", "", .status = 400},
    {"MOVE", "queue", "full", "made", .limit = 2, .status = 200, .count = 2},
    {"MOVE", "queue", "full", "a/+", .status = 400},
    {"MOVE", "queue", "full", .status = 400},
    {"MOVE", "queue", "absent", "made", .status = 404},
    {"DELETE", "queue", "made", .if_empty = true, .status = 409},
    {"PURGE", "queue", "made", .status = 200, .count = 2},
    {"PURGE", "queue", "absent", .status = 404},
    {"DELETE", "queue", "made", .if_empty = true, .status = 200},
    {"DELETE", "queue", "made", .status = 404},
    {"DELETE", "queue", "full", .if_unused = true, .status = 409},
    {"DELETE", "queue", "full", .status = 200, .count = 3},
    {"DELETE", "exchange", "full", .status = 400},
    {"DANCE", "queue", "full", .status = 400},
    {NULL, "queue", "full", .status = 400},
    {"READ", NULL, "full", .status = 400},
    {"READ", "queue", NULL, .status = 400},
};

static void test_management(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct far_session *session = far_open(driver, 0, "container");
        struct far_link *link = far_sender(session, "$management", NULL);
        struct tf_amqp_attach wish = far_from(NULL);
        wish.source.dynamic = true;
        struct far_link *answers = far_attach(session, "answers", &wish);
        far_credit(answers, 5, false);
        struct far_link *sender = far_sender(session, "queue://full", NULL);
        for (unsigned i = 0; i < 5; i++) {
            assert_true(far_text(sender, "x"));
        }
        far_run(driver);
        for (size_t i = 0; i < TF_COUNT(requests); i++) {
            check_request(link, answers, &requests[i], 1000 + (uint32_t)i);
        }
        assert_true(sender->detached); /* its queue was deleted */
        assert_int_equal(amqp_driver_conn(driver, "container")->request_count, 0);
        stop(driver);
    }
}

/* Requests whose answers go nowhere, or whose connection is gone before the answer. */
static void test_dropped_requests(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 0, "container");
    struct far_link *link = far_sender(session, "$management", NULL);
    struct request request = {"CREATE", "queue", "q", .status = 200};
    static const char *const nowhere[] = {"", "a/+", "$SYS/x", "queue://absent", "topic://t"};
    uint8_t buffer[512];
    for (size_t i = 0; i < TF_COUNT(nowhere); i++) {
        assert_true(far_send(link, encode(&request, nowhere[i], 1, buffer, sizeof(buffer)), false));
    }
    far_run(driver);
    assert_int_equal(link->accepted, TF_COUNT(nowhere));
    assert_non_null(amqp_driver_queue(driver, "q"));
    for (unsigned i = 0; i < 20; i++) {
        char name[8];
        sprintf(name, "r%u", i);
        request.name = name;
        assert_true(far_send(link, encode(&request, "queue://q", 1, buffer, sizeof(buffer)), true));
    }
    driver_feed(session->far->conn, NULL, 0);
    (void)driver_turn(driver, session->far->conn->shard);
    far_cut(session->far);
    assert_int_equal(amqp_driver_conns(driver), 0);
    stop(driver);
}

/* ---- $SYS ---- */

/* Takes what a subscription to `filter` is shown at once; how many. The last body is kept. */
static unsigned shown(struct client *reader, const char *filter, char *body, size_t size)
{
    struct reply reply;
    unsigned count = 0;
    peer_subscribe(reader, filter, 0);
    while (peer_take(reader, &reply)) {
        if (reply.type == PUBLISH) {
            size_t length = TF_MIN(reply.payload.length, size - 1);
            memcpy(body, reply.payload.data, length);
            body[length] = 0;
            count++;
        }
    }
    return count;
}

static void test_sys(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct client reader;
    char body[1024];
    for (unsigned i = 0; i < 12; i++) {
        char id[32];
        sprintf(id, "amqp/%u", i);
        struct far_session *session = far_open(driver, i % 3, id);
        (void)far_receiver(session, "queue://q", 1, NULL);
        (void)far_sender(session, "topic://t", NULL);
    }
    (void)far_open(driver, 0, "amqp/3"); /* once more */
    peer_connect(&reader, driver, 1, "reader", (struct hello){.clean = true});
    assert_int_equal(shown(&reader, "$SYS/connections/+", body, sizeof(body)), 13);
    assert_int_equal(shown(&reader, "$SYS/connections/amqp%2F7", body, sizeof(body)), 1);
    assert_non_null(strstr(body, "\"protocol\":\"amqp\""));
    assert_non_null(strstr(body, "\"links\":2"));
    assert_non_null(strstr(body, "\"connections\":1"));
    assert_int_equal(shown(&reader, "$SYS/connections/amqp%2F3", body, sizeof(body)), 1);
    assert_non_null(strstr(body, "\"connections\":2"));
    assert_non_null(strstr(body, "\"sessions\":2"));
    assert_int_equal(shown(&reader, "$SYS/connections/none", body, sizeof(body)), 0);
    stop(driver);
}

/* $SYS by AMQP itself: a collection is read as values. */
static void test_sys_by_amqp(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 0, "container");
    struct far_link *link = far_receiver(session, "$SYS/connections/+", 50, NULL);
    struct far_message *message = far_take(link);
    assert_non_null(message);
    assert_non_null(message->message.data.data);
    assert_int_equal(message->message.data.data[0], '{');
    far_settle(message, TF_AMQP_STATE_ACCEPTED);
    far_expect_nothing(link);
    stop(driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_management),
        cmocka_unit_test(test_dropped_requests),
        cmocka_unit_test(test_sys),
        cmocka_unit_test(test_sys_by_amqp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
