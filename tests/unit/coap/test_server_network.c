/*
 * The resource server and clients over a network that loses, doubles and reorders: large bodies
 * arrive whole, handlers run once, and observers end with the value that GET gives.
 */
#include <stdlib.h>
#include <string.h>

#include <trefoil/coap_server.h>

#include "base/util.h"
#include "unit/coap/rig.h"

#define CLIENTS 3u
#define BODY 3000u

/* The server's only resource, and how often it was written. */
static struct {
    struct tf_coap_server server;
    struct tf_coap_resource root, value;
    struct tf_coap_watch watches[CLIENTS + 1];
    struct tf_coap_server_body bodies[4];
    uint8_t body_data[4][BODY];
    uint8_t data[BODY], etag[4];
    size_t length;
    uint32_t writes;
} board;

/* What a client has of its requests. */
static struct client {
    bool done;
    uint8_t code;
    enum tf_err err;
    uint8_t got[2 * BODY];
    size_t length;
} clients[CLIENTS];

static uint8_t value_get(const struct tf_coap_server_request *request,
                         struct tf_coap_answer *answer)
{
    (void)request;
    memcpy(board.etag, &board.writes, sizeof board.etag);
    tf_coap_answer_option(answer, TF_COAP_ETAG, tf_bytes_of(board.etag, sizeof board.etag));
    answer->body = tf_bytes_of(board.data, board.length);
    return TF_COAP_CONTENT;
}

static uint8_t value_put(const struct tf_coap_server_request *request,
                         struct tf_coap_answer *answer)
{
    (void)answer;
    assert_true(request->body.length <= BODY);
    memcpy(board.data, request->body.data, request->body.length);
    board.length = request->body.length;
    board.writes++;
    tf_coap_resource_changed(request->server, request->resource);
    return TF_COAP_CHANGED;
}

static const struct tf_coap_resource_type value_type = {.handlers[TF_COAP_GET] = value_get,
                                                        .handlers[TF_COAP_PUT] = value_put,
                                                        .flags = TF_COAP_OBSERVABLE};

static void on_server_event(struct rig *rig, struct rig_node *node,
                            const struct tf_coap_event *event)
{
    (void)node;
    assert_true(tf_coap_server_event(&board.server, event, rig->now));
    /* The answer first; then there is room, or the next event finds it. */
    (void)tf_coap_server_notify(&board.server, rig->now);
}

static void on_client_event(struct rig *rig, struct rig_node *node,
                            const struct tf_coap_event *event)
{
    struct client *client = event->user;

    (void)rig;
    (void)node;
    if (event->type == TF_COAP_EVENT_FAILED) {
        client->err = event->err;
        client->done = true;
        return;
    }
    if (event->type != TF_COAP_EVENT_RESPONSE)
        return;
    assert_true(event->offset + event->body.length <= sizeof client->got);
    if (event->body.length)
        memcpy(client->got + event->offset, event->body.data, event->body.length);
    client->code = event->message.code;
    if (!event->more)
        client->length = event->offset + event->body.length;
    if (event->last)
        client->done = true;
}

static struct rig *start(uint64_t seed)
{
    static struct rig rig;
    struct tf_coap_endpoint_config config = rig_config();

    memset(&board, 0, sizeof board);
    memset(clients, 0, sizeof clients);
    rig_init(&rig, seed);
    rig.jitter = 50 * TF_MILLISECOND;
    rig.loss_percent = 15;
    rig.duplicate_percent = 15;
    rig.flags = TF_DATAGRAM_TRUSTED;
    struct rig_node *node = rig_add(&rig, &config, on_server_event);
    tf_coap_server_init(&board.server, node->endpoint, &board.root);
    board.value = (struct tf_coap_resource){.name = "value", .type = &value_type};
    assert_int_equal(tf_coap_resource_add(&board.root, &board.value), TF_OK);
    tf_coap_server_give_observers(&board.server, board.watches, CLIENTS + 1);
    for (size_t i = 0; i < TF_COUNT(board.bodies); i++)
        board.bodies[i] = (struct tf_coap_server_body){.data = board.body_data[i], .size = BODY};
    tf_coap_server_give_bodies(&board.server, board.bodies, TF_COUNT(board.bodies));
    for (size_t i = 0; i < CLIENTS; i++)
        (void)rig_add(&rig, &config, on_client_event);
    return &rig;
}

/* Starts a request of client `i` for the resource. */
static void call(struct rig *rig, size_t i, uint8_t method, bool observe,
                 const struct tf_bytes *body)
{
    const uint32_t server = rig->node[0].id;
    const struct tf_coap_option path = {TF_COAP_URI_PATH, tf_bytes_str("value")};
    uint64_t handle;
    struct tf_coap_request request = {.method = method,
                                      .observe = observe,
                                      .options = &path,
                                      .option_count = 1,
                                      .body = body,
                                      .body_count = body ? 1 : 0,
                                      .user = &clients[i]};

    memset(&clients[i], 0, sizeof clients[i]);
    assert_int_equal(tf_coap_call(rig->node[1 + i].endpoint, &server, &request, &handle, rig->now),
                     TF_OK);
}

static void test_large_bodies(void **state)
{
    (void)state;
    static uint8_t sent[BODY];
    unsigned failed = 0;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig *rig = start(seed);
        size_t length = 1 + (size_t)(seed * 977) % BODY;
        struct tf_bytes body = tf_bytes_of(sent, length);
        for (size_t i = 0; i < length; i++)
            sent[i] = (uint8_t)(i * seed + i / 16);
        call(rig, 0, TF_COAP_PUT, false, &body);
        rig_run_until(rig, &clients[0].done, 1000 * TF_SECOND);
        assert_true(board.writes <= 1); /* however often its blocks came */
        if (clients[0].err) {           /* five losses in a row: that happens */
            failed++;
            rig_release(rig);
            continue;
        }
        assert_int_equal(clients[0].code, TF_COAP_CHANGED);
        assert_int_equal(board.writes, 1);
        assert_int_equal(board.length, length);
        assert_memory_equal(board.data, sent, length);
        call(rig, 1, TF_COAP_GET, false, NULL);
        rig_run_until(rig, &clients[1].done, 1000 * TF_SECOND);
        failed += clients[1].err != TF_OK;
        if (!clients[1].err) {
            assert_int_equal(clients[1].code, TF_COAP_CONTENT);
            assert_int_equal(clients[1].length, length);
            assert_memory_equal(clients[1].got, sent, length);
        }
        rig_release(rig);
    }
    assert_true(failed <= 2);
}

static void test_observers_end_alike(void **state)
{
    (void)state;
    unsigned ended = 0;

    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct rig *rig = start(seed);
        for (size_t i = 0; i < CLIENTS; i++)
            call(rig, i, TF_COAP_GET, true, NULL);
        rig_run_for(rig, 60 * TF_SECOND);
        for (unsigned change = 1; change <= 30; change++) {
            memset(board.data, (int)change, change % 3 ? 10 : 1500);
            board.length = change % 3 ? 10 : 1500;
            board.writes++;
            tf_coap_resource_changed(&board.server, &board.value);
            (void)tf_coap_server_notify(&board.server, rig->now);
            rig_run_for(rig, (change % 7) * 200 * TF_MILLISECOND);
        }
        rig->loss_percent = rig->duplicate_percent = 0;
        for (unsigned i = 0; i < 300; i++) {
            (void)tf_coap_server_notify(&board.server, rig->now);
            rig_run_for(rig, TF_SECOND);
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            if (clients[i].done) { /* it was given up while the network was bad */
                ended++;
                continue;
            }
            assert_int_equal(clients[i].length, board.length);
            assert_memory_equal(clients[i].got, board.data, board.length);
        }
        rig_release(rig);
    }
    assert_true(ended <= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_bodies),
        cmocka_unit_test(test_observers_end_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
