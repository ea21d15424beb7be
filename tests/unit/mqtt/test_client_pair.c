/*
 * Client and server machine against each other, over a wire that splits, delays and cuts, each with
 * a session that lives on: messages both ways at every QoS, answers late and out of order. At the
 * end QoS 1 has arrived at least once and QoS 2 exactly once, both in order; nothing was sent
 * beyond a Receive Maximum, or the machine that saw it would have closed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <trefoil/mqtt_client.h>
#include <trefoil/mqtt_server.h>

#include "base/random.h"

enum { MESSAGES = 60, WIRE = 1 << 16, WAITING = 64 };

/* Bytes on their way to one side. */
struct wire {
    uint8_t data[WIRE];
    size_t length;
};

/* Answers that a side gives later. */
struct waiting {
    uint16_t ids[WAITING];
    unsigned count;
};

/* One side's part: what it sends, and what it has got. */
struct side {
    struct tf_mqtt_session session;
    struct wire in;
    struct waiting publish, release, complete;
    void *parts[5];
    uint8_t buffer[1024];
    unsigned next;              /* the next message to send; its handle is one more */
    bool settled[MESSAGES];     /* of what it sent */
    unsigned arrived[MESSAGES]; /* how often each of the other's came */
    unsigned newest[3];         /* the highest number that came, by QoS, plus one */
    unsigned resend;            /* the handle that is to go again and found no room; 0: none */
    unsigned resent;
};

struct pair {
    uint64_t seed;
    struct side client_side, server_side;
    struct tf_mqtt_client_config client_config;
    struct tf_mqtt_server_config server_config;
    uint64_t client_memory[TF_MQTT_CLIENT_SIZE / 8];
    uint64_t server_memory[512 / 8];
    struct tf_mqtt_client *client;
    struct tf_mqtt_server *server;
    bool known; /* the server has the client's session */
    bool up;    /* CONNECTED has come */
    unsigned version, cuts;
};

static uint8_t qos_of(unsigned number)
{
    return (uint8_t)(number % 3);
}

static bool chance(struct pair *pair, unsigned percent)
{
    return tf_random_split(&pair->seed) % 100 < percent;
}

static void check(const struct pair *pair)
{
    assert_true(tf_mqtt_client_check(pair->client));
    assert_true(tf_mqtt_server_check(pair->server));
}

static void wait_for(struct waiting *waiting, uint16_t id)
{
    assert_true(waiting->count < WAITING);
    waiting->ids[waiting->count++] = id;
}

/* Takes any one of those that wait. */
static uint16_t take_any(struct pair *pair, struct waiting *waiting)
{
    size_t at = tf_random_split(&pair->seed) % waiting->count;
    uint16_t id = waiting->ids[at];

    waiting->ids[at] = waiting->ids[--waiting->count];
    return id;
}

/* The number of a message stands in its payload; long ones are padded. */
static size_t write_payload(unsigned number, char *text)
{
    size_t length = number % 7 == 0 ? 300 : 8;

    memset(text, '.', length);
    text[0] = (char)('0' + number / 100);
    text[1] = (char)('0' + number / 10 % 10);
    text[2] = (char)('0' + number % 10);
    return length;
}

static void note_arrival(struct side *side, const struct tf_mqtt_publish *publish)
{
    const uint8_t *text = publish->payload.data;
    unsigned number;
    bool first;

    assert_true(publish->payload.length >= 3);
    number = (text[0] - '0') * 100u + (text[1] - '0') * 10u + (text[2] - '0');
    assert_true(number < MESSAGES && qos_of(number) == publish->qos);
    first = side->arrived[number]++ == 0;
    /* In order by QoS (MQTT 5.0 4.6), repeats aside. */
    if (first && publish->qos > 0)
        assert_true(number + 1 > side->newest[publish->qos]);
    if (first)
        side->newest[publish->qos] = number + 1;
    if (publish->qos == 2)
        assert_int_equal(side->arrived[number], 1);
}

static void give(struct side *side, bool connection, void *memory, void *old,
                 enum tf_mqtt_part part)
{
    if (connection) {
        assert_ptr_equal(old, side->parts[part]);
        side->parts[part] = memory;
    }
    free(old);
}

static enum tf_err send_number(struct pair *pair, bool client, unsigned number)
{
    char text[300];
    struct tf_bytes body = tf_bytes_of(text, write_payload(number, text));
    struct tf_mqtt_delivery delivery = {.handle = number + 1,
                                        .topic = tf_bytes_str("t"),
                                        .body = &body,
                                        .body_count = 1,
                                        .qos = qos_of(number)};

    return client ? tf_mqtt_client_publish(pair->client, &delivery, NULL)
                  : tf_mqtt_server_deliver(pair->server, &delivery, NULL);
}

/* Tries the resend that found no room, if there is one. */
static void try_resend(struct pair *pair, bool client)
{
    struct side *side = client ? &pair->client_side : &pair->server_side;
    enum tf_err err;

    if (side->resend == 0)
        return;
    err = send_number(pair, client, side->resend - 1);
    assert_true(err == TF_OK || err == TF_AGAIN);
    if (!err)
        side->resend = 0;
    check(pair);
}

/* --- the client's host
 * ---------------------------------------------------------------------------------- */

static void client_event(struct pair *pair, const struct tf_mqtt_client_event *event)
{
    struct side *side = &pair->client_side;
    void *memory, *old = NULL;

    switch (event->type) {
    case TF_MQTT_CLIENT_CONNECTED:
        pair->up = true;
        break;
    case TF_MQTT_CLIENT_PUBLISH:
        note_arrival(side, &event->publish);
        if (event->publish.qos > 0)
            wait_for(&side->publish, event->packet_id);
        break;
    case TF_MQTT_CLIENT_SETTLED:
        assert_false(side->settled[event->handle - 1]);
        side->settled[event->handle - 1] = true;
        if (side->resend == event->handle)
            side->resend = 0; /* its answer was on the way already */
        break;
    case TF_MQTT_CLIENT_RECEIVED:
        wait_for(&side->release, event->packet_id);
        break;
    case TF_MQTT_CLIENT_RELEASED:
        wait_for(&side->complete, event->packet_id);
        break;
    case TF_MQTT_CLIENT_RESEND:
        side->resent++;
        side->resend = (unsigned)event->handle;
        try_resend(pair, true);
        break;
    case TF_MQTT_CLIENT_NEEDS:
        memory = malloc(event->size);
        assert_int_equal(tf_mqtt_client_give(pair->client, event->part, memory, event->size, &old),
                         TF_OK);
        give(side, event->part >= TF_MQTT_PART_PENDING, memory, old, event->part);
        break;
    default:
        fail_msg("client event %d", event->type);
    }
}

static void client_pull(struct pair *pair)
{
    struct tf_mqtt_client_event event;

    while (tf_mqtt_client_event(pair->client, &event)) {
        client_event(pair, &event);
        check(pair);
    }
}

/* --- the server's host
 * ----------------------------------------------------------------------------------- */

static void server_event(struct pair *pair, const struct tf_mqtt_server_event *event)
{
    struct side *side = &pair->server_side;
    struct tf_mqtt_server_accept accept = {.session = &side->session,
                                           .session_present = pair->known,
                                           .session_expiry_s = event->session_expiry_s};
    void *memory, *old = NULL;

    switch (event->type) {
    case TF_MQTT_SERVER_CONNECT:
        assert_int_equal(tf_mqtt_server_accept(pair->server, &accept, 0), TF_OK);
        pair->known = true;
        break;
    case TF_MQTT_SERVER_PUBLISH:
        note_arrival(side, &event->publish);
        if (event->publish.qos > 0)
            wait_for(&side->publish, event->packet_id);
        break;
    case TF_MQTT_SERVER_SETTLED:
        assert_false(side->settled[event->handle - 1]);
        side->settled[event->handle - 1] = true;
        if (side->resend == event->handle)
            side->resend = 0; /* its answer was on the way already */
        break;
    case TF_MQTT_SERVER_RECEIVED:
        wait_for(&side->release, event->packet_id);
        break;
    case TF_MQTT_SERVER_RELEASED:
        wait_for(&side->complete, event->packet_id);
        break;
    case TF_MQTT_SERVER_RESEND:
        side->resent++;
        side->resend = (unsigned)event->handle;
        try_resend(pair, false);
        break;
    case TF_MQTT_SERVER_NEEDS:
        memory = malloc(event->size);
        assert_int_equal(tf_mqtt_server_give(pair->server, event->part, memory, event->size, &old),
                         TF_OK);
        give(side, event->part >= TF_MQTT_PART_PENDING, memory, old, event->part);
        break;
    default:
        fail_msg("server event %d", event->type);
    }
}

static void server_pull(struct pair *pair)
{
    struct tf_mqtt_server_event event;

    while (tf_mqtt_server_event(pair->server, &event)) {
        server_event(pair, &event);
        check(pair);
    }
}

/* --- steps that both take
 * -------------------------------------------------------------------------------- */

/* Gives a side some of what is on the wire to it. */
static void arrive(struct pair *pair, bool client)
{
    struct wire *wire = client ? &pair->client_side.in : &pair->server_side.in;
    size_t have = wire->length ? 1 + tf_random_split(&pair->seed) % wire->length : 0;
    enum tf_err err = TF_OK;

    while (!err && have > 0) {
        size_t used = 0, need = 0;
        uint8_t *copy = malloc(have);

        memcpy(copy, wire->data, have);
        if (client) {
            err = tf_mqtt_client_input(pair->client, tf_bytes_of(copy, have), &used, &need, 0);
            client_pull(pair);
        } else {
            err = tf_mqtt_server_input(pair->server, tf_bytes_of(copy, have), &used, &need, 0);
            server_pull(pair);
        }
        check(pair);
        free(copy);
        assert_true(err == TF_OK || err == TF_MORE || err == TF_AGAIN);
        wire->length -= used;
        have -= used;
        memmove(wire->data, wire->data + used, wire->length);
    }
}

/* Puts some of a side's output on the wire to the other. */
static void depart(struct pair *pair, bool client)
{
    struct wire *wire = client ? &pair->server_side.in : &pair->client_side.in;
    struct tf_bytes span;

    if ((client ? tf_mqtt_client_output(pair->client, &span, 1)
                : tf_mqtt_server_output(pair->server, &span, 1)) == 0)
        return;
    size_t length = 1 + tf_random_split(&pair->seed) % span.length;
    if (length > WIRE - wire->length)
        return;
    memcpy(wire->data + wire->length, span.data, length);
    wire->length += length;
    if (client)
        tf_mqtt_client_sent(pair->client, length, 0);
    else
        tf_mqtt_server_sent(pair->server, length, 0);
    check(pair);
}

/* Gives one answer that waits. Those of an earlier connection may have nobody waiting for them. */
static void give_answer(struct pair *pair, bool client)
{
    struct side *side = client ? &pair->client_side : &pair->server_side;
    enum tf_err err = TF_OK;
    uint16_t id = 0;

    if (side->publish.count > 0 && chance(pair, 50)) {
        id = take_any(pair, &side->publish);
        err = client ? tf_mqtt_client_ack(pair->client, id, 0)
                     : tf_mqtt_server_published(pair->server, id, 0);
        assert_true(err == TF_OK || (err == TF_NOT_FOUND && pair->cuts > 0));
    } else if (side->release.count > 0 && chance(pair, 50)) {
        id = take_any(pair, &side->release);
        err = client ? tf_mqtt_client_release(pair->client, id)
                     : tf_mqtt_server_release(pair->server, id);
        if (err == TF_AGAIN)
            wait_for(&side->release, id);
    } else if (side->complete.count > 0) {
        id = take_any(pair, &side->complete);
        err = client ? tf_mqtt_client_complete(pair->client, id)
                     : tf_mqtt_server_complete(pair->server, id);
        if (err == TF_AGAIN)
            wait_for(&side->complete, id);
    }
    check(pair);
}

/* Sends the next message of a side, when all old ones have gone again. */
static void try_send(struct pair *pair, bool client)
{
    struct side *side = client ? &pair->client_side : &pair->server_side;
    enum tf_err err;

    try_resend(pair, client);
    if (side->next == MESSAGES || side->resend)
        return;
    err = send_number(pair, client, side->next);
    if (err)
        assert_true(err == TF_AGAIN || err == TF_CLOSED);
    else
        side->next++;
    if (client)
        client_pull(pair);
    else
        server_pull(pair);
    check(pair);
}

/* --- connections
 * ----------------------------------------------------------------------------------------- */

static void join(struct pair *pair)
{
    pair->up = false;
    assert_int_equal(tf_mqtt_client_init(&pair->client, pair->client_memory,
                                         sizeof pair->client_memory, &pair->client_config, 0),
                     TF_OK);
    assert_int_equal(tf_mqtt_server_init(&pair->server, pair->server_memory,
                                         sizeof pair->server_memory, &pair->server_config, 0),
                     TF_OK);
    assert_int_equal(tf_mqtt_client_lend(pair->client, pair->client_side.buffer,
                                         sizeof pair->client_side.buffer),
                     TF_OK);
    assert_int_equal(tf_mqtt_server_lend(pair->server, pair->server_side.buffer,
                                         sizeof pair->server_side.buffer),
                     TF_OK);
    check(pair);
}

static void cut(struct pair *pair)
{
    struct side *sides[] = {&pair->client_side, &pair->server_side};

    tf_mqtt_client_abandon(pair->client);
    tf_mqtt_server_abandon(pair->server);
    for (int part = TF_MQTT_PART_PENDING; part <= TF_MQTT_PART_ALIASES; part++) {
        free(tf_mqtt_client_reclaim(pair->client, (enum tf_mqtt_part)part));
        free(tf_mqtt_server_reclaim(pair->server, (enum tf_mqtt_part)part));
        sides[0]->parts[part] = sides[1]->parts[part] = NULL;
    }
    sides[0]->in.length = sides[1]->in.length = 0;
    for (size_t i = 0; i < 2; i++) {
        /* What was not answered waits for the next connection, or is answered without one. */
        while (sides[i]->publish.count > 0)
            tf_mqtt_session_published(&sides[i]->session, take_any(pair, &sides[i]->publish), 0);
        sides[i]->release.count = sides[i]->complete.count = sides[i]->resend = 0;
    }
    pair->cuts++;
}

/* True when both have sent all, and all that can be settled has been. */
static bool is_done(const struct pair *pair)
{
    const struct side *sides[] = {&pair->client_side, &pair->server_side};

    for (size_t i = 0; i < 2; i++) {
        if (sides[i]->next < MESSAGES || sides[i]->session.sent_count > 0 ||
            sides[i]->session.received_count > 0 || sides[i]->in.length > 0)
            return false;
    }
    return true;
}

static void run(struct pair *pair, unsigned cut_percent_of_percent)
{
    join(pair);
    for (unsigned step = 0; !is_done(pair); step++) {
        bool client = chance(pair, 50);

        assert_true(step < 2000000); /* it comes to an end */
        switch (tf_random_split(&pair->seed) % 6) {
        case 0:
        case 1:
            depart(pair, client);
            break;
        case 2:
        case 3:
            arrive(pair, client);
            break;
        case 4:
            give_answer(pair, client);
            break;
        default:
            try_send(pair, client);
            break;
        }
        if (step < 100000 && tf_random_split(&pair->seed) % 10000 < cut_percent_of_percent) {
            cut(pair);
            join(pair);
        }
    }
}

static void test_pairs(void **state)
{
    unsigned cuts = 0, resent = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct pair *pair = calloc(1, sizeof *pair);

        pair->seed = seed;
        pair->version = seed % 2 ? 5 : 4;
        pair->client_config = (struct tf_mqtt_client_config){
            .features = TF_MQTT_CLIENT_ALL,
            .connect = {.version = (uint8_t)pair->version, .client_id = tf_bytes_str("me")},
            .session = &pair->client_side.session,
            .max_packet_size = 1000,
            .receive_maximum = (uint16_t)(1 + seed % 9),
            .max_in_flight = 10,
            .stored = true,
        };
        pair->server_config = (struct tf_mqtt_server_config){
            .max_packet_size = 1000,
            .max_connect_size = 1000,
            .connect_timeout_ms = 1000,
            .receive_maximum = (uint16_t)(1 + seed % 6),
            .max_in_flight = 10,
            .maximum_qos = 2,
            .retain_available = true,
        };
        tf_mqtt_session_init(&pair->client_side.session);
        tf_mqtt_session_init(&pair->server_side.session);
        run(pair, (unsigned)(seed % 4) * 25);
        for (unsigned i = 0; i < MESSAGES; i++) {
            const struct side *sides[] = {&pair->client_side, &pair->server_side};
            for (size_t side = 0; side < 2; side++) {
                if (qos_of(i) == 0)
                    continue;
                assert_true(sides[side]->settled[i]);
                assert_true(sides[!side]->arrived[i] >= 1);
                if (qos_of(i) == 2 || pair->cuts == 0)
                    assert_int_equal(sides[!side]->arrived[i], 1);
            }
        }
        cuts += pair->cuts;
        resent += pair->client_side.resent + pair->server_side.resent;
        cut(pair);
        free(pair->client_side.session.sent);
        free(pair->client_side.session.received);
        free(pair->server_side.session.sent);
        free(pair->server_side.session.received);
        free(pair);
    }
    assert_true(cuts > 100 && resent > 100); /* else this was no test */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
