/*
 * The AMQP front: messages in. Answers by ticket, credit by room, windows, large messages in
 * frames, the second settlement mode, and what crosses to MQTT.
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
    driver->config.max_packet_size = 16u << 20;
    driver_start(driver);
    return driver;
}

static void stop(struct driver *driver)
{
    driver_stop(driver);
    free(driver);
}

/* Declares a queue in its home, as configuration does. */
static void declare(struct driver *driver, const char *name, const struct tf_queue_spec *spec)
{
    struct tf_shard *shard = &driver->nodes[driver_home(driver, name)].shard;
    struct tf_command_owner owner = {.done = NULL};
    struct tf_queue_command command = {
        .type = TF_QUEUE_DECLARE, .name = tf_bytes_str(name), .spec = spec};
    tf_list_init(&owner.commands);
    assert_int_equal(tf_shard_queue_command(shard, &command, &owner, 0), TF_OK);
    tf_command_owner_release(&owner);
    far_run(driver);
    assert_non_null(amqp_driver_queue(driver, name));
}

static struct tf_queue_spec spec_of(uint32_t count, enum tf_overflow overflow)
{
    return (struct tf_queue_spec){
        .limits = {.entries = count, .bytes = UINT64_MAX, .overflow = overflow},
        .message_ttl = TF_TIME_NEVER,
        .idle = TF_TIME_NEVER};
}

/* accepted if anything took it, released if nothing did, but for who asked for a topic. */
static void test_answers(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct far_session *session = far_open(driver, 0, "container");
        struct client client;
        peer_connect(&client, driver, 0, "mqtt", (struct hello){.clean = true});
        peer_subscribe(&client, "heard/+", 1);
        static const struct {
            const char *address, *capability;
            unsigned accepted, released;
        } cases[] = {{"plain", NULL, 1, 0},           {"queue://q", NULL, 1, 0},
                     {"topic://t", NULL, 0, 1},       {"t", "topic", 1, 0},
                     {"topic://heard/a", NULL, 1, 0}, {"heard/b", "topic", 1, 0},
                     {"heard/c", "queue", 1, 0}};
        for (size_t i = 0; i < TF_COUNT(cases); i++) {
            struct far_link *link = far_sender(session, cases[i].address, cases[i].capability);
            assert_true(far_text(link, "x"));
            assert_true(far_text_settled(link, "settled"));
            far_run(driver);
            assert_int_equal(link->accepted, cases[i].accepted);
            assert_int_equal(link->released, cases[i].released);
            assert_int_equal(link->settled, 1);
        }
        unsigned count = 0;
        struct reply reply;
        while (peer_take(&client, &reply)) {
            count++;
            if (reply.qos) {
                peer_acknowledge(&client, PUBACK, reply.id);
            }
        }
        assert_int_equal(count, 4); /* but not what was for queue heard/c alone */
        assert_int_equal(amqp_driver_status(driver, "plain").messages, 2);
        assert_int_equal(amqp_driver_status(driver, "heard/c").messages, 2);
        stop(driver);
    }
}

/* The anonymous terminus: `to` decides. */
static void test_anonymous(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 0, "container");
    struct far_link *sink = far_receiver(session, "queue://there", 10, NULL);
    struct far_link *topic = far_receiver(session, "topic://a/+", 10, NULL);
    struct far_link *link = far_sender(session, NULL, NULL);
    static const struct {
        const char *to;
        unsigned accepted, rejected, released;
    } cases[] = {{"queue://there", 1, 0, 0},
                 {"/queues/%74here", 1, 0, 0},
                 {"queue://nowhere", 0, 0, 1},
                 {"topic://a/b", 1, 0, 0},
                 {"a/c", 1, 0, 0},
                 {"topic://c", 0, 0, 1},
                 {"", 0, 1, 0},
                 {"a/+", 0, 1, 0},
                 {"$SYS/x", 0, 1, 0},
                 {NULL, 0, 1, 0}};
    for (size_t i = 0; i < TF_COUNT(cases); i++) {
        uint8_t buffer[256];
        struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
        struct tf_amqp_properties properties = {.has_to = cases[i].to != NULL,
                                                .to = tf_bytes_str(cases[i].to ? cases[i].to : "")};
        tf_amqp_write_properties(&writer, &properties);
        tf_amqp_write_value_string(&writer, tf_bytes_str("text"));
        link->accepted = link->rejected = link->released = 0;
        assert_true(far_send(link, tf_bytes_of(buffer, tf_writer_length(&writer)), false));
        far_run(driver);
        assert_int_equal(link->accepted, cases[i].accepted);
        assert_int_equal(link->rejected, cases[i].rejected);
        assert_int_equal(link->released, cases[i].released);
        assert_true(!cases[i].rejected || link->reason == TF_AMQP_INVALID_FIELD);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct far_message *message = far_take(sink);
        assert_non_null(message);
        far_settle(message, TF_AMQP_STATE_ACCEPTED);
        message = far_take(topic);
        assert_non_null(message);
        far_settle(message, TF_AMQP_STATE_ACCEPTED);
    }
    far_expect_nothing(sink);
    far_expect_nothing(topic);
    stop(driver);
}

/* A full queue refuses its own sender, and gives credit by its room. */
static void test_full_queue(void **state)
{
    (void)state;
    for (unsigned home = 0; home < 3; home++) {
        struct driver *driver = start(3);
        char id[32], name[32], address[48];
        struct tf_queue_spec spec = spec_of(4, TF_OVERFLOW_REFUSE);
        amqp_name(driver, id, "container", 0);
        amqp_name(driver, name, "q", home);
        sprintf(address, "queue://%s", name);
        declare(driver, name, &spec);
        struct far_session *session = far_open(driver, 0, id);
        struct far_link *link = far_sender(session, address, NULL);
        assert_int_equal(link->credit, 4);
        struct far_link *other = far_sender(session, address, NULL); /* has credit too */
        for (unsigned i = 0; i < 4; i++) {
            assert_true(far_text(link, "x"));
        }
        far_run(driver);
        assert_int_equal(link->accepted, 4);
        assert_false(far_text(link, "no credit"));
        /* by name, without a producer: nothing holds it back */
        struct far_link *anonymous = far_sender(session, NULL, NULL);
        uint8_t buffer[128];
        struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
        struct tf_amqp_properties properties = {.has_to = true, .to = tf_bytes_str(address)};
        tf_amqp_write_properties(&writer, &properties);
        tf_amqp_write_value_string(&writer, tf_bytes_str("text"));
        assert_true(far_send(anonymous, tf_bytes_of(buffer, tf_writer_length(&writer)), false));
        far_run(driver);
        assert_int_equal(anonymous->rejected, 1);
        assert_int_equal(anonymous->reason, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
        struct far_link *sink = far_receiver(session, address, 2, NULL);
        far_expect(sink, "x");
        far_expect(sink, "x");
        far_run(driver);
        assert_true(link->credit > 0 && link->credit <= 2 && other->credit <= 4);
        assert_true(far_text(link, "again"));
        far_run(driver);
        assert_int_equal(link->accepted, 5);
        stop(driver);
    }
}

/* rcv-settle-mode second: the sender settles after it has heard (2.6.12). */
static void test_second(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct far_session *session = far_open(driver, 0, "container");
    struct tf_amqp_attach wish = far_to("queue://q");
    wish.rcv_settle_mode = TF_AMQP_RCV_SECOND;
    struct far_link *link = far_attach(session, "second", &wish);
    assert_true(link->attached);
    for (unsigned i = 0; i < 600; i++) {
        assert_true(far_text(link, "x"));
    }
    far_run(driver);
    assert_int_equal(link->accepted, 600);
    assert_int_equal(link->settled, 0); /* by us, not by the broker */
    assert_int_equal(amqp_driver_status(driver, "q").messages, 600);
    stop(driver);
}

/* ---- windows ---- */

/* What a sender by frames may send, as it was last told. */
struct allowance {
    unsigned window, credit, sent, accepted;
};

static void read_allowance(struct driver_conn *conn, struct allowance *allowance)
{
    struct tf_amqp_performative frame;
    while (raw_next(conn, &frame, NULL)) {
        if (frame.type == TF_AMQP_FLOW_FRAME) {
            allowance->window =
                frame.flow.next_incoming_id + frame.flow.incoming_window - allowance->sent;
            if (frame.flow.has_link_credit) {
                allowance->credit =
                    frame.flow.delivery_count + frame.flow.link_credit - allowance->sent;
            }
        } else if (frame.type == TF_AMQP_BEGIN_FRAME) {
            allowance->window = frame.begin.incoming_window;
        } else if (frame.type == TF_AMQP_DISPOSITION) {
            unsigned first = frame.disposition.first;
            allowance->accepted +=
                1 + (frame.disposition.has_last ? frame.disposition.last : first) - first;
        }
    }
}

/* With thousands of tickets open the sessions' windows close, and they open again. */
static void test_window(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    char id[32], queue[40] = "queue://";
    static const uint8_t body[] = {0, 0x53, 0x75, 0xA0, 1, 'x'};
    struct allowance allowance = {0};
    amqp_name(driver, id, "container", 0);
    amqp_name(driver, queue + 8, "q", 1);
    struct driver_conn *conn = raw_open(driver, 0, id, true);
    raw_attach(conn, 0, "out", TF_AMQP_SENDER, queue);
    far_run(driver);
    struct amqp_conn *mine = amqp_driver_conn(driver, id);
    unsigned most = 0, narrowed = 0;
    for (unsigned round = 0; allowance.accepted < 12000 && round < 1000; round++) {
        bool again = true;
        while (again) { /* the queue's home does not run: tickets pile up */
            read_allowance(conn, &allowance);
            again = allowance.credit && allowance.window;
            while (allowance.credit && allowance.window) {
                raw_transfer(conn, 0, allowance.sent++, false, false,
                             tf_bytes_of(body, sizeof(body)));
                allowance.credit--;
                allowance.window--;
            }
            for (unsigned i = 0; i < 2; i++) {
                driver->nodes[0].congested = false; /* which would stop it earlier */
                (void)driver_turn(driver, 0);
            }
        }
        most = TF_MAX(most, mine->open_tickets);
        narrowed += mine->narrow;
        assert_true(mine->narrow || allowance.credit == 0);
        far_run(driver);
        assert_false(conn->ended || mine->narrow);
        assert_int_equal(mine->open_tickets, 0);
    }
    read_allowance(conn, &allowance);
    assert_true(narrowed > 0);
    assert_true(most >= AMQP_TICKETS_MAX && most <= AMQP_TICKETS_MAX + AMQP_WINDOW);
    assert_int_equal(allowance.accepted, allowance.sent);
    assert_int_equal(amqp_driver_status(driver, queue + 8).messages, allowance.sent);
    stop(driver);
}

/* ---- large messages ---- */

static struct tf_bytes large(size_t length)
{
    uint8_t *data = malloc(length + 8);
    struct tf_writer writer = tf_writer_of(data, 8);
    tf_amqp_write_data_head(&writer, length);
    size_t head = tf_writer_length(&writer);
    for (size_t i = 0; i < length; i++) {
        data[head + i] = (uint8_t)(i * 31 + i / 251);
    }
    return (struct tf_bytes){data, head + length};
}

/* 10 MiB in and out, and less in the smallest frames, bit for bit. */
static void test_large(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct tf_bytes message = large(i == 1 ? 10u << 20 : 500000);
        struct driver *driver = malloc(sizeof(*driver));
        static const uint32_t frames[] = {512, 65536, 1048576};
        amqp_driver_init(driver, 3);
        driver->config.max_packet_size = 16u << 20;
        driver->config.listeners[AMQP_LISTENER].amqp_max_frame_size = frames[i];
        driver_start(driver);
        struct tf_amqp_config config = far_config();
        config.max_frame_size = frames[2 - i];
        config.incoming_window = i == 2 ? 5 : 1000;
        struct far *far = far_new(driver, 0, "container", &config);
        struct far_session *session = far_begin(far);
        struct far_link *sender = far_sender(session, "queue://q", NULL);
        assert_int_equal(sender->max_message_size, 16u << 20);
        assert_true(far_send(sender, message, false));
        far_run(driver);
        assert_int_equal(sender->accepted, 1);
        assert_int_equal(far->returned, 1);
        struct far_link *link = far_receiver(session, "queue://q", 1, NULL);
        struct far_message *came = far_take(link);
        assert_non_null(came);
        assert_int_equal(came->message.bare.length, message.length);
        assert_memory_equal(came->message.bare.data, message.data, message.length);
        far_settle(came, TF_AMQP_STATE_ACCEPTED);
        far_run(driver);
        assert_int_equal(amqp_driver_status(driver, "q").messages, 0);
        stop(driver);
        free((void *)(uintptr_t)message.data);
    }
}

/* What is larger than the broker takes ends its link, with the right error. */
static void test_too_large(void **state)
{
    (void)state;
    struct driver *driver = malloc(sizeof(*driver));
    amqp_driver_init(driver, 1);
    driver->config.message_size_limit = 100000;
    driver_start(driver);
    struct driver_conn *conn = raw_open(driver, 0, "container", true);
    raw_attach(conn, 0, "out", TF_AMQP_SENDER, "queue://q");
    struct tf_amqp_performative attach = raw_expect(conn, TF_AMQP_ATTACH_FRAME);
    assert_int_equal(attach.attach.max_message_size, 100000);
    static const uint8_t zeros[4000];
    for (unsigned i = 0; i < 30; i++) {
        raw_transfer(conn, 0, 0, false, true, tf_bytes_of(zeros, sizeof(zeros)));
    }
    struct tf_amqp_performative detach = raw_expect(conn, TF_AMQP_DETACH);
    assert_int_equal(detach.detach.error.condition, TF_AMQP_MESSAGE_SIZE_EXCEEDED);
    assert_int_equal(amqp_driver_conn(driver, "container")->incoming, 0);
    stop(driver);
}

/* A message that is begun on each of many links is not to eat all memory: one is rejected. */
static void test_many_begun(void **state)
{
    (void)state;
    enum { LINKS = 100, PART = 100000 };
    struct driver *driver = malloc(sizeof(*driver));
    amqp_driver_init(driver, 1);
    driver->config.max_packet_size = 1u << 20;
    driver_start(driver);
    struct driver_conn *conn = raw_open(driver, 0, "container", true);
    static const uint8_t zeros[PART];
    size_t before = driver->memory.bytes;
    uint64_t limit = 2 * (1u << 20) + AMQP_INCOMING_MORE;
    for (unsigned i = 0; i < LINKS; i++) {
        char name[16];
        sprintf(name, "l%u", i);
        raw_attach(conn, i, name, TF_AMQP_SENDER, "topic://t");
    }
    far_run(driver);
    for (unsigned i = 0; i < LINKS; i++) {
        for (unsigned part = 0; part < 1000000 / PART; part++) {
            raw_transfer(conn, i, i, false, true, tf_bytes_of(zeros, PART));
        }
        driver_run(driver);
        assert_true(amqp_driver_conn(driver, "container")->incoming <= limit);
        assert_true(driver->memory.bytes - before < limit + (4u << 20));
    }
    raw_transfer(conn, LINKS - 1, LINKS - 1, false, false, none);
    struct tf_amqp_performative answer = raw_expect(conn, TF_AMQP_DISPOSITION);
    assert_int_equal(answer.disposition.state.type, TF_AMQP_STATE_REJECTED);
    assert_int_equal(answer.disposition.state.error.condition, TF_AMQP_RESOURCE_LIMIT_EXCEEDED);
    driver_cut(conn);
    stop(driver);
}

/* aborted: all that came of it is forgotten, without an answer (2.6.14). */
static void test_aborted(void **state)
{
    (void)state;
    struct driver *driver = start(3);
    struct driver_conn *conn = raw_open(driver, 0, "container", true);
    raw_attach(conn, 0, "out", TF_AMQP_SENDER, "queue://q");
    far_run(driver);
    static const uint8_t body[] = {0, 0x53, 0x75, 0xA0, 1, 'x'};
    raw_transfer(conn, 0, 0, false, true, tf_bytes_of(body, 4));
    struct tf_amqp_transfer abort = {.handle = 0, .aborted = true};
    raw_frame(conn, 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_TRANSFER_FRAME, .transfer = abort},
              none);
    far_run(driver);
    struct amqp_conn *mine = amqp_driver_conn(driver, "container");
    assert_int_equal(mine->incoming, 0);
    raw_transfer(conn, 0, 1, false, false, tf_bytes_of(body, sizeof(body)));
    struct tf_amqp_performative answer = raw_expect(conn, TF_AMQP_DISPOSITION);
    assert_int_equal(answer.disposition.first, 1);
    assert_int_equal(answer.disposition.state.type, TF_AMQP_STATE_ACCEPTED);
    assert_int_equal(amqp_driver_status(driver, "q").messages, 1);
    /* begun, and its link, session or connection goes */
    raw_transfer(conn, 0, 2, false, true, tf_bytes_of(body, 4));
    raw_frame(conn, 0,
              &(struct tf_amqp_performative){.type = TF_AMQP_DETACH, .detach = {.closed = true}},
              none);
    (void)raw_expect(conn, TF_AMQP_DETACH);
    assert_int_equal(mine->incoming, 0);
    raw_attach(conn, 0, "out", TF_AMQP_SENDER, "queue://q");
    far_run(driver);
    raw_transfer(conn, 0, 3, false, true, tf_bytes_of(body, 4));
    far_run(driver);
    assert_int_equal(mine->incoming, 4);
    driver_cut(conn);
    assert_int_equal(amqp_driver_status(driver, "q").messages, 1);
    stop(driver);
}

/* What is no message is rejected; sent settled it ends its link. */
static void test_malformed(void **state)
{
    (void)state;
    struct driver *driver = start(1);
    struct far_session *session = far_open(driver, 0, "container");
    struct far_link *link = far_sender(session, "queue://q", NULL);
    static const uint8_t bad[] = {0, 0x53, 0x75, 0xA0, 9, 'x'};
    assert_true(far_send(link, tf_bytes_of(bad, sizeof(bad)), false));
    far_run(driver);
    assert_int_equal(link->rejected, 1);
    assert_int_equal(link->reason, TF_AMQP_DECODE_ERROR);
    assert_true(far_send(link, tf_bytes_of(bad, sizeof(bad)), true));
    far_run(driver);
    assert_true(link->detached);
    assert_int_equal(link->condition, TF_AMQP_DECODE_ERROR);
    assert_false(session->ended);
    assert_int_equal(amqp_driver_status(driver, "q").producers, 0);
    stop(driver);
}

/* To MQTT and back. */
static void test_crossing(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        struct driver *driver = start(shards);
        struct far_session *session = far_open(driver, 0, "container");
        struct client client;
        peer_connect(&client, driver, shards - 1, "mqtt", (struct hello){.clean = true});
        peer_subscribe(&client, "a/+", 1);
        struct far_link *sender = far_sender(session, "topic://a/b", NULL);
        struct far_link *topic = far_receiver(session, "topic://a/#", 10, NULL);
        struct far_link *queue = far_receiver(session, "a/b", 10, NULL);
        assert_true(far_text(sender, "from amqp"));
        far_run(driver);
        peer_acknowledge(&client, PUBACK, peer_expect_publish(&client, "a/b", "from amqp", 2));
        far_expect(topic, "from amqp");
        far_expect(queue, "from amqp");
        assert_int_equal(sender->accepted, 1);
        peer_publish(&client, "a/b", "from mqtt", 2, 7);
        far_expect(topic, "from mqtt");
        far_expect(queue, "from mqtt");
        peer_acknowledge(&client, PUBACK, peer_expect_publish(&client, "a/b", "from mqtt", 2));
        (void)peer_expect(&client, PUBACK);
        /* at most once: what is sent settled */
        struct tf_amqp_attach wish = far_from("topic://a/b");
        wish.snd_settle_mode = TF_AMQP_SND_SETTLED;
        struct far_link *settled = far_attach(session, "settled", &wish);
        far_credit(settled, 10, false);
        assert_true(far_text(sender, "y"));
        struct far_message *message = far_take(settled);
        assert_true(message && message->settled);
        far_drop(message);
        stop(driver);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),    cmocka_unit_test(test_anonymous),
        cmocka_unit_test(test_full_queue), cmocka_unit_test(test_second),
        cmocka_unit_test(test_window),     cmocka_unit_test(test_large),
        cmocka_unit_test(test_too_large),  cmocka_unit_test(test_many_begun),
        cmocka_unit_test(test_aborted),    cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_crossing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
