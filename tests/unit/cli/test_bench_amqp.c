/*
 * The bench's AMQP clients against a broker of one queue, made here of the library's server
 * machines: every way to settle, whole input and one byte at a time, messages of one frame and of
 * many, a small credit; idle clients; refusals; and the bare forwarder's frames.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/bench_client.h"

#include <trefoil/amqp_connection.h>
#include <trefoil/amqp_message.h>

enum { OUTPUT = 64 * 1024, MESSAGE_MAX = 256 * 1024, QUEUE_MAX = 16, PARTS = 16 };

/* The broker's end of one client's connection. */
struct end {
    struct tf_amqp_connection *connection;
    struct tf_amqp_session *session;
    struct tf_amqp_link *link;
    void *memory[3];
    void *output;
    uint8_t *in; /* what has come and was not taken */
    size_t in_length;
    uint8_t *part; /* of a message in several frames */
    size_t part_length;
};

struct message {
    uint8_t *data;
    size_t length;
};

struct fixture {
    struct tf_bench_config config;
    struct tf_bench_world world;
    struct tf_bench_client clients[2]; /* the publisher, the subscriber or an idle one */
    struct end ends[2];
    struct tf_bench_histogram latency;
    struct message queue[QUEUE_MAX];
    size_t queued;
    uint32_t seen;
    uint32_t settled; /* what the receiver settled, or the sender after it */
    size_t step;      /* bytes fed at once; 0: all */
    bool refuse;
    enum tf_amqp_state_type answer; /* to what is sent here */
};

static const struct tf_amqp_sasl_mechanism *const mechanisms[] = {&tf_amqp_sasl_anonymous,
                                                                  &tf_amqp_sasl_plain};
static const struct tf_amqp_sasl sasl = {.mechanisms = mechanisms, .mechanism_count = 2};
static const struct tf_amqp_config server = {.end = TF_AMQP_SERVER,
                                             .max_frame_size = 4096,
                                             .channel_max = 3,
                                             .handle_max = 3,
                                             .max_links = 4,
                                             .max_unsettled = 64,
                                             .incoming_window = 64,
                                             .sasl = &sasl};

static void on_arrived(void *context, uint32_t publisher)
{
    struct fixture *fixture = context;
    assert_int_equal(publisher, 0);
    fixture->seen++;
}

static void setup(struct fixture *fixture, uint8_t qos, uint32_t size, enum tf_bench_role second)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->config = (struct tf_bench_config){.protocol = &tf_bench_amqp,
                                               .host = "here",
                                               .address = "a",
                                               .qos = qos,
                                               .publishers = 1,
                                               .subscribers = 1,
                                               .topics = 1,
                                               .window = 3,
                                               .size = size};
    fixture->world.config = &fixture->config;
    fixture->world.run = 0x1234;
    fixture->world.context = fixture;
    fixture->world.arrived = on_arrived;
    fixture->world.latency_us = &fixture->latency;
    fixture->answer = TF_AMQP_STATE_ACCEPTED;
    fixture->clients[0].role = TF_BENCH_PUBLISHER;
    fixture->clients[1].role = second;
    assert_true(tf_bench_ledger_init(&fixture->world.ledger, 1, 1, 1, 3));
    for (int i = 0; i < 2; i++) {
        struct end *end = &fixture->ends[i];
        size_t length = tf_amqp_size(&server);
        end->memory[0] = malloc(length);
        end->output = malloc(OUTPUT);
        end->in = malloc(MESSAGE_MAX);
        end->part = malloc(MESSAGE_MAX);
        assert_int_equal(tf_amqp_init(&end->connection, end->memory[0], length, &server, NULL, 0),
                         TF_OK);
        assert_int_equal(tf_amqp_lend(end->connection, end->output, OUTPUT), TF_OK);
    }
}

static void greet(struct fixture *fixture)
{
    for (int i = 0; i < 2; i++)
        assert_int_equal(tf_bench_amqp.greet(&fixture->world, &fixture->clients[i], 0), TF_OK);
}

static void teardown(struct fixture *fixture)
{
    for (int i = 0; i < 2; i++) {
        struct end *end = &fixture->ends[i];
        tf_bench_amqp.release(&fixture->clients[i]);
        tf_bench_client_release(&fixture->clients[i]);
        for (void *part; end->session && (part = tf_amqp_session_reclaim(end->session)) != NULL;)
            free(part);
        for (void *part; (part = tf_amqp_reclaim(end->connection)) != NULL;)
            free(part);
        for (int part = 0; part < 3; part++)
            free(end->memory[part]);
        free(end->output);
        free(end->in);
        free(end->part);
    }
    for (size_t i = 0; i < fixture->queued; i++)
        free(fixture->queue[i].data);
    tf_bench_ledger_release(&fixture->world.ledger);
}

/* ---- the broker ---- */

static void on_attach(struct fixture *fixture, struct end *end, const struct tf_amqp_event *event)
{
    struct tf_amqp_attach reply = event->attach;
    size_t size = tf_amqp_link_size(&server);
    bool sender = event->attach.role == TF_AMQP_SENDER;
    struct tf_amqp_terminus *ours = sender ? &reply.target : &reply.source;
    assert_int_equal(ours->address.length, strlen("a-1234-0"));
    assert_memory_equal(ours->address.data, "a-1234-0", ours->address.length);
    assert_int_equal(ours->durable, fixture->config.durable ? TF_AMQP_DURABLE_UNSETTLED_STATE
                                                            : TF_AMQP_DURABLE_NONE);
    end->memory[2] = malloc(size);
    assert_int_equal(tf_amqp_link_accept(event->session, end->memory[2], size, end, &end->link),
                     TF_OK);
    reply.role = sender ? TF_AMQP_RECEIVER : TF_AMQP_SENDER;
    if (fixture->refuse)
        *ours = (struct tf_amqp_terminus){0};
    assert_int_equal(tf_amqp_link_attach_reply(end->link, &reply), TF_OK);
    if (fixture->refuse) {
        struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_NOT_FOUND, "no such thing");
        tf_amqp_link_detach(end->link, true, &error);
    } else if (sender) {
        tf_amqp_link_credit(end->link, 5, false);
    }
}

/* A message that has come: into the queue. */
static void on_transfer(struct fixture *fixture, struct end *end, const struct tf_amqp_event *event)
{
    assert_true(end->part_length + event->payload.length <= MESSAGE_MAX);
    memcpy(end->part + end->part_length, event->payload.data, event->payload.length);
    end->part_length += event->payload.length;
    if (event->more)
        return;
    assert_true(fixture->queued < QUEUE_MAX);
    struct message *message = &fixture->queue[fixture->queued];
    assert_int_equal(event->settled, fixture->config.qos == 0);
    if (fixture->answer == TF_AMQP_STATE_ACCEPTED) {
        *message = (struct message){malloc(end->part_length), end->part_length};
        memcpy(message->data, end->part, end->part_length);
        fixture->queued++;
    }
    end->part_length = 0;
    if (!event->settled) {
        struct tf_amqp_state state = {.type = fixture->answer};
        assert_int_equal(
            tf_amqp_dispose(end->connection, event->delivery, &state, fixture->config.qos < 2),
            TF_OK);
    }
    if (tf_amqp_link_credit_left(end->link) < 2)
        tf_amqp_link_credit(end->link, 5, false);
}

static void on_begin(struct end *end)
{
    size_t size = tf_amqp_session_size(&server);
    end->memory[1] = malloc(size);
    assert_int_equal(
        tf_amqp_session_accept(end->connection, end->memory[1], size, NULL, &end->session), TF_OK);
}

static void on_needs(struct end *end, const struct tf_amqp_event *event)
{
    void *old = NULL;
    assert_int_equal(tf_amqp_give(end->connection, event->session, event->part, malloc(event->size),
                                  event->size, &old),
                     TF_OK);
    free(old);
}

static void on_event(struct fixture *fixture, struct end *end, const struct tf_amqp_event *event)
{
    struct tf_amqp_open open = {.container_id = tf_bytes_str("broker")};
    struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    switch (event->type) {
    case TF_AMQP_AUTHENTICATE:
        if (fixture->config.user)
            assert_int_equal(event->sasl.password.length, strlen(fixture->config.password));
        tf_amqp_authenticated(end->connection, true);
        break;
    case TF_AMQP_OPENED:
        assert_memory_equal(event->open.container_id.data, "bench-1234-", 11);
        assert_int_equal(tf_amqp_open(end->connection, &open), TF_OK);
        break;
    case TF_AMQP_BEGIN:
        on_begin(end);
        break;
    case TF_AMQP_ATTACH:
        on_attach(fixture, end, event);
        break;
    case TF_AMQP_TRANSFER:
        on_transfer(fixture, end, event);
        break;
    case TF_AMQP_OUTCOME:
        assert_int_equal(event->state.type, TF_AMQP_STATE_ACCEPTED);
        assert_int_equal(event->settled, fixture->config.qos < 2);
        fixture->settled++;
        if (!event->settled)
            assert_int_equal(tf_amqp_settle(end->connection, event->delivery, &accepted), TF_OK);
        break;
    case TF_AMQP_NEEDS:
        on_needs(end, event);
        break;
    default:
        break;
    }
}

static void take_events(struct fixture *fixture, struct end *end)
{
    struct tf_amqp_event event;
    while (tf_amqp_event(end->connection, &event))
        on_event(fixture, end, &event);
}

/* As far as the machine takes what has come: it may want its answers written before. */
static void end_input(struct fixture *fixture, struct end *end)
{
    enum tf_err err = TF_OK;
    size_t used = 0;
    while (!err && used < end->in_length) {
        size_t taken = 0, need;
        struct tf_bytes in = tf_bytes_of(end->in + used, end->in_length - used);
        err = tf_amqp_input(end->connection, in, &taken, &need, 0);
        assert_true(err == TF_OK || (err == TF_AGAIN && !taken));
        used += taken;
        take_events(fixture, end);
    }
    end->in_length -= used;
    memmove(end->in, end->in + used, end->in_length);
}

/* What the queue has goes to whoever gave credit. */
static void deliver(struct fixture *fixture)
{
    struct end *end = &fixture->ends[1];
    while (fixture->queued && end->link && tf_amqp_link_credit_left(end->link)) {
        uint8_t tag = (uint8_t)fixture->settled;
        struct message *message = &fixture->queue[0];
        struct tf_bytes body = tf_bytes_of(message->data, message->length);
        struct tf_amqp_sending sending = {.tag = tf_bytes_of(&tag, 1),
                                          .body = &body,
                                          .body_count = 1,
                                          .owner = message->length > 1000,
                                          .settled = fixture->config.qos == 0};
        uint64_t delivery;
        bool borrowed;
        enum tf_err err = tf_amqp_send(end->link, &sending, &borrowed, &delivery);
        if (err == TF_AGAIN) {
            take_events(fixture, end);
            return;
        }
        assert_int_equal(err, TF_OK);
        assert_false(borrowed); /* without reference_from all is copied, or waits */
        free(message->data);
        memmove(message, message + 1, --fixture->queued * sizeof *message);
    }
}

/* ---- the wire ---- */

/* From a client to the broker; true if there was anything. */
static bool up(struct fixture *fixture, int number)
{
    struct tf_bench_client *client = &fixture->clients[number];
    assert_int_equal(tf_bench_amqp.flush(&fixture->world, client, 0), TF_OK);
    struct end *end = &fixture->ends[number];
    size_t length = client->out.end - client->out.start;
    assert_true(end->in_length + length <= MESSAGE_MAX);
    if (length)
        memcpy(end->in + end->in_length, client->out.data + client->out.start, length);
    end->in_length += length;
    client->out.start = client->out.end = 0;
    end_input(fixture, end);
    return length > 0;
}

/* From the broker to a client, in steps, as a connection that keeps what was not used. */
static enum tf_err down(struct fixture *fixture, int number, bool *ret_any)
{
    struct tf_bytes spans[PARTS];
    struct end *end = &fixture->ends[number];
    size_t count = tf_amqp_output(end->connection, spans, PARTS), length = 0, start = 0;
    for (size_t i = 0; i < count; i++)
        length += spans[i].length;
    *ret_any = length > 0;
    uint8_t *all = malloc(length + 1);
    for (size_t i = 0, at = 0; i < count; at += spans[i++].length)
        memcpy(all + at, spans[i].data, spans[i].length);
    tf_amqp_sent(end->connection, length, 0);
    take_events(fixture, end);
    enum tf_err err = TF_OK;
    size_t step = fixture->step ? fixture->step : length;
    for (size_t stop = step; !err && length && start < length; stop += step) {
        size_t used = 0;
        stop = stop < length ? stop : length;
        err = tf_bench_amqp.input(&fixture->world, &fixture->clients[number],
                                  tf_bytes_of(all + start, stop - start), &used, 1500);
        start += used;
        if (stop == length)
            break;
    }
    if (!err)
        assert_int_equal(start, length);
    free(all);
    return err;
}

/* Until nothing moves any more. */
static enum tf_err run(struct fixture *fixture)
{
    for (bool any = true; any;) {
        any = false;
        for (int i = 0; i < 2; i++) {
            bool came;
            any |= up(fixture, i);
            deliver(fixture);
            enum tf_err err = down(fixture, i, &came);
            if (err)
                return err;
            any |= came;
        }
    }
    return TF_OK;
}

/* ---- the tests ---- */

static void publish_all(struct fixture *fixture, uint32_t count)
{
    struct tf_bench_client *publisher = &fixture->clients[0];
    while (fixture->world.ledger.sent < count) {
        uint64_t before = fixture->world.ledger.sent;
        while (fixture->world.ledger.sent < count &&
               tf_bench_amqp.open(&fixture->world, publisher)) {
            enum tf_err err = tf_bench_amqp.publish(&fixture->world, publisher, 1000);
            if (err == TF_AGAIN)
                break;
            assert_int_equal(err, TF_OK);
        }
        assert_true(publisher->unacked <= fixture->config.window);
        assert_int_equal(run(fixture), TF_OK);
        assert_true(fixture->world.ledger.sent > before);
    }
}

static void pass_through(uint8_t qos, uint32_t size, size_t step)
{
    struct fixture fixture;
    setup(&fixture, qos, size, TF_BENCH_SUBSCRIBER);
    fixture.step = step;
    greet(&fixture);
    assert_int_equal(run(&fixture), TF_OK);
    assert_int_equal(fixture.clients[0].state, TF_BENCH_READY);
    assert_int_equal(fixture.clients[1].state, TF_BENCH_READY);
    publish_all(&fixture, 20);
    assert_int_equal(fixture.seen, 20);
    assert_int_equal(fixture.latency.max, 500);
    assert_int_equal(fixture.settled, qos ? 20 : 0);
    assert_int_equal(fixture.clients[0].unacked, 0);
    assert_int_equal(fixture.world.ledger.late + fixture.world.ledger.duplicates, 0);
    assert_int_equal(fixture.world.ledger.aliens + fixture.world.refused, 0);
    for (int i = 0; i < 2; i++) {
        tf_bench_amqp.leave(&fixture.world, &fixture.clients[i]);
        assert_true(up(&fixture, i));
        assert_true(
            tf_amqp_closing(fixture.ends[i].connection, &(const struct tf_amqp_error *){0}));
    }
    teardown(&fixture);
}

static void test_every_way_to_settle(void **state)
{
    (void)state;
    for (uint8_t qos = 0; qos <= 2; qos++) {
        pass_through(qos, 16, 0);
        pass_through(qos, 64, 1);
        pass_through(qos, 1000, 7);
    }
}

/* So many messages stay in the queue, durable ones, until all is to be taken. */
static void test_a_backlog_of_durable_messages(void **state)
{
    static const uint8_t header[] = {0x00, 0x53, 0x70, 0xC0, 0x02, 0x01, 0x41};
    struct fixture fixture;
    (void)state;
    setup(&fixture, 1, 64, TF_BENCH_SUBSCRIBER);
    fixture.config.durable = true;
    fixture.config.backlog = fixture.world.backlog = 2;
    tf_bench_ledger_release(&fixture.world.ledger);
    assert_true(tf_bench_ledger_init(&fixture.world.ledger, 1, 1, 1, 3 + 2));
    greet(&fixture);
    assert_int_equal(run(&fixture), TF_OK);
    publish_all(&fixture, 2);
    assert_int_equal(fixture.seen, 0);
    assert_int_equal(fixture.queued, 2);
    assert_memory_equal(fixture.queue[0].data, header, sizeof header);
    for (uint32_t sent = 5; sent <= 20; sent += 5) {
        publish_all(&fixture, sent);
        assert_int_equal(fixture.seen, sent - 2);
    }
    fixture.world.backlog = 0;
    assert_int_equal(run(&fixture), TF_OK);
    assert_int_equal(fixture.seen, 20);
    assert_int_equal(fixture.world.ledger.late + fixture.world.ledger.duplicates, 0);
    teardown(&fixture);
}

/* Frames of 4,096 bytes; from 256 by an owner, from 4,096 by reference. */
static void test_large_messages(void **state)
{
    (void)state;
    pass_through(0, 3000, 0);
    pass_through(1, 5000, 100);
    pass_through(1, 30000, 0);
}

static void test_idle_client(void **state)
{
    (void)state;
    struct fixture fixture;
    setup(&fixture, 0, 16, TF_BENCH_IDLE);
    fixture.config.user = "guest";
    fixture.config.password = "secret";
    greet(&fixture);
    assert_int_equal(run(&fixture), TF_OK);
    assert_int_equal(fixture.clients[1].state, TF_BENCH_READY);
    assert_int_equal(tf_amqp_link_credit_left(fixture.ends[1].link), 6);
    tf_bench_amqp.tick(&fixture.clients[1], TF_SECOND);
    assert_false(up(&fixture, 1));
    teardown(&fixture);
}

static void test_refused_link(void **state)
{
    (void)state;
    struct fixture fixture;
    setup(&fixture, 1, 16, TF_BENCH_SUBSCRIBER);
    fixture.refuse = true;
    greet(&fixture);
    assert_int_equal(run(&fixture), TF_PROTOCOL);
    assert_string_equal(fixture.world.why, "link detached: amqp:not-found, no such thing");
    assert_int_not_equal(fixture.clients[0].state, TF_BENCH_READY);
    teardown(&fixture);
}

static void test_refused_messages(void **state)
{
    (void)state;
    struct fixture fixture;
    setup(&fixture, 1, 16, TF_BENCH_SUBSCRIBER);
    fixture.answer = TF_AMQP_STATE_RELEASED;
    greet(&fixture);
    assert_int_equal(run(&fixture), TF_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tf_bench_amqp.publish(&fixture.world, &fixture.clients[0], 0), TF_OK);
    assert_int_equal(run(&fixture), TF_OK);
    assert_int_equal(fixture.world.refused, 2);
    assert_int_equal(fixture.clients[0].unacked, 0);
    assert_int_equal(fixture.seen, 0);
    teardown(&fixture);
}

/* The forwarder sends on what the publisher writes, and gives back what its line asked for. */
static void test_bare_forwarder(void **state)
{
    (void)state;
    for (uint8_t qos = 0; qos <= 1; qos++) {
        struct fixture fixture;
        unsigned topic, byte;
        size_t length, used;
        int end = 0;
        uint8_t word[40];
        size_t word_length = 0;
        setup(&fixture, qos, 64, TF_BENCH_SUBSCRIBER);
        fixture.config.bare = true;
        greet(&fixture);
        struct tf_bench_client *publisher = &fixture.clients[0], *subscriber = &fixture.clients[1];
        char line[128] = "";
        assert_true(publisher->out.end < sizeof line);
        memcpy(line, publisher->out.data, publisher->out.end);
        assert_int_equal(sscanf(line, "pub %u %zu %n", &topic, &length, &end), 2);
        for (; sscanf(line + end, "%2x", &byte) == 1; end += 2)
            word[word_length++] = (uint8_t)byte;
        assert_int_equal(word_length > 0, qos > 0);
        publisher->out.end = subscriber->out.end = 0;
        for (int i = 0; i < 2; i++)
            assert_int_equal(tf_bench_amqp.input(&fixture.world, &fixture.clients[i],
                                                 tf_bytes_str("ok\n"), &used, 0),
                             TF_OK);
        for (int i = 0; i < 2; i++)
            assert_int_equal(tf_bench_amqp.publish(&fixture.world, publisher, 1000), TF_OK);
        assert_int_equal(publisher->out.end, 2 * length);
        assert_int_equal(publisher->unacked, qos * 2);
        assert_int_equal(tf_bench_amqp.input(&fixture.world, subscriber,
                                             tf_bytes_of(publisher->out.data, 2 * length), &used,
                                             1500),
                         TF_OK);
        assert_int_equal(used, 2 * length);
        assert_int_equal(fixture.seen, 2);
        assert_int_equal(subscriber->out.end > 0, qos > 0);
        for (int i = 0; i < 2 && qos; i++)
            assert_int_equal(tf_bench_amqp.input(&fixture.world, publisher,
                                                 tf_bytes_of(word, word_length), &used, 0),
                             TF_OK);
        assert_int_equal(publisher->unacked, 0);
        teardown(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_backlog_of_durable_messages),
        cmocka_unit_test(test_every_way_to_settle),
        cmocka_unit_test(test_large_messages),
        cmocka_unit_test(test_idle_client),
        cmocka_unit_test(test_refused_link),
        cmocka_unit_test(test_refused_messages),
        cmocka_unit_test(test_bare_forwarder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
