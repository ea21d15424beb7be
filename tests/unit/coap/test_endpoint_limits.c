/*
 * Each table of the endpoint full, each limit reached: what gives way, what is refused, and that
 * all is as before afterwards. Echo too: the limit of what an unproved address gets.
 */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#define STRANGER 99u

struct app {
    unsigned requests, failed, responses;
    uint64_t handle[64];
    bool answer;
    size_t body;
    uint8_t code;
};

static const uint8_t text[4096];

static enum tf_err respond(struct rig *rig, struct rig_node *node, uint64_t handle,
                           const struct app *app)
{
    struct tf_bytes body = {text, app->body};
    struct tf_coap_response response = {
        .code = app->code ? app->code : TF_COAP_CONTENT, .body = &body, .body_count = 1};

    return tf_coap_respond(node->endpoint, handle, &response, NULL, NULL, rig->now);
}

static void on_event(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event)
{
    struct app *app = node->user;

    app->failed += event->type == TF_COAP_EVENT_FAILED;
    app->responses += event->type == TF_COAP_EVENT_RESPONSE;
    if (event->type != TF_COAP_EVENT_REQUEST)
        return;
    app->handle[app->requests++ % 64] = event->handle;
    if (app->answer)
        assert_int_equal(respond(rig, node, event->handle, app), TF_OK);
}

struct fixture {
    struct rig rig;
    struct rig_node *node;
    struct app app;
    struct tf_coap_endpoint_config config;
};

static int setup(void **state)
{
    static struct fixture f;

    memset(&f.app, 0, sizeof(f.app));
    rig_init(&f.rig, 9);
    f.config = rig_config();
    f.node = NULL;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    rig_release(&((struct fixture *)*state)->rig);
    return 0;
}

static const struct tf_coap_counters *begin(struct fixture *f)
{
    f->node = rig_add(&f->rig, &f->config, on_event);
    f->node->user = &f->app;
    return tf_coap_endpoint_counters(f->node->endpoint);
}

/* A CON or NON request with this message id from `from`. */
static void send(struct fixture *f, uint32_t from, bool non, uint8_t method, uint16_t id)
{
    uint8_t bytes[] = {(uint8_t)(non ? 0x51 : 0x41),
                       method,
                       (uint8_t)(id >> 8),
                       (uint8_t)id,
                       (uint8_t)from,
                       0xB1,
                       'a'};

    rig_inject(&f->rig, f->node, from, bytes, sizeof(bytes));
}

static uint32_t live(const struct fixture *f, size_t offset)
{
    uint32_t value;

    memcpy(&value, (const uint8_t *)tf_coap_endpoint_counters(f->node->endpoint) + offset,
           sizeof(value));
    return value;
}
#define LIVE(f, what) live(f, offsetof(struct tf_coap_counters, what))

static void requests(void **state)
{
    struct fixture *f = *state;

    f->config.requests = 2;
    begin(f);
    send(f, 100, false, TF_COAP_GET, 1);
    send(f, 101, false, TF_COAP_GET, 2);
    send(f, 102, false, TF_COAP_GET, 3);
    rig_expect_hex(&f->rig, "61a30003 66 d10101"); /* 5.03, Max-Age 1 */
    send(f, 102, true, TF_COAP_GET, 4);
    rig_expect_hex(&f->rig, "51a3???? 66 d10101");
    assert_int_equal(respond(&f->rig, f->node, f->app.handle[0], &f->app), TF_OK);
    rig_flush(&f->rig);
    rig_expect_hex(&f->rig, "61450001 64");
    send(f, 102, false, TF_COAP_GET, 5);
    rig_expect_hex(&f->rig, "");
    assert_int_equal(f->app.requests, 3);
}

static void replies_make_room(void **state)
{
    struct fixture *f = *state;

    f->config.replies = 2;
    f->app.answer = true;
    begin(f);
    for (uint16_t id = 1; id <= 3; id++)
        send(f, 100, false, TF_COAP_PUT, id);
    assert_int_equal(LIVE(f, replies), 2);
    send(f, 100, false, TF_COAP_PUT, 3);
    send(f, 100, false, TF_COAP_PUT, 2);
    assert_int_equal(f->app.requests, 3);
    send(f, 100, false, TF_COAP_PUT, 1); /* the oldest was forgotten */
    assert_int_equal(f->app.requests, 4);
}

static void buffers_make_room(void **state)
{
    struct fixture *f = *state;

    f->config.buffers = 4;
    f->app.answer = true;
    f->app.body = 120; /* with the header, two blocks */
    begin(f);
    f->rig.flags = TF_DATAGRAM_TRUSTED;
    for (uint16_t id = 1; id <= 3; id++)
        send(f, 100, false, TF_COAP_PUT, id);
    assert_int_equal(LIVE(f, buffers), 4);
    assert_int_equal(LIVE(f, replies), 2);
    f->app.body = 800; /* more than there is: kept without its bytes */
    send(f, 100, false, TF_COAP_PUT, 4);
    assert_int_equal(LIVE(f, replies), 1);
    assert_int_equal(LIVE(f, buffers), 0);
    f->rig.captured_count = 0;
    send(f, 100, false, TF_COAP_PUT, 4);
    rig_expect_hex(&f->rig, "60000004");
    assert_int_equal(f->app.requests, 4);
}

static void peers_make_room(void **state)
{
    struct fixture *f = *state;

    f->config.peers = 4;
    f->app.answer = true;
    begin(f);
    for (uint32_t peer = 100; peer < 140; peer++)
        send(f, peer, true, TF_COAP_GET, 1); /* a NON answer takes a record */
    assert_int_equal(LIVE(f, peers), 4);
    assert_int_equal(f->app.requests, 40);
}

/* Peers with something live are not forgotten; others are served all the same. */
static void peers_in_use_stay(void **state)
{
    struct fixture *f = *state;

    f->config.peers = 2;
    begin(f);
    send(f, 100, false, TF_COAP_GET, 1);
    send(f, 101, false, TF_COAP_GET, 1);
    rig_run_for(&f->rig, TF_SECOND);
    rig_expect_hex(&f->rig, "60000001");
    rig_expect_hex(&f->rig, "60000001");
    f->app.answer = true;
    send(f, 102, true, TF_COAP_GET, 1);
    rig_expect_hex(&f->rig, "5145???? 66");
    send(f, 103, false, TF_COAP_GET, 1);
    rig_expect_hex(&f->rig, "61450001 67");
    assert_int_equal(LIVE(f, peers), 2);
    f->app.answer = false; /* a third that takes time finds no record, until there is one */
    send(f, 104, false, TF_COAP_GET, 1);
    rig_run_for(&f->rig, TF_SECOND);
    rig_expect_hex(&f->rig, "60000001");
    assert_int_equal(respond(&f->rig, f->node, f->app.handle[4], &f->app), TF_AGAIN);
    tf_coap_ignore(f->node->endpoint, f->app.handle[0], f->rig.now);
    assert_int_equal(respond(&f->rig, f->node, f->app.handle[4], &f->app), TF_OK);
}

static void exchanges(void **state)
{
    struct fixture *f = *state;

    f->config.exchanges = 1;
    begin(f);
    send(f, 100, false, TF_COAP_GET, 1);
    send(f, 101, false, TF_COAP_GET, 1);
    rig_run_for(&f->rig, TF_SECOND);
    rig_expect_hex(&f->rig, "60000001");
    rig_expect_hex(&f->rig, "60000001");
    assert_int_equal(respond(&f->rig, f->node, f->app.handle[0], &f->app), TF_OK);
    assert_int_equal(respond(&f->rig, f->node, f->app.handle[1], &f->app), TF_OK);
    rig_flush(&f->rig);
    rig_expect_hex(&f->rig, "4145???? 64");
    rig_expect_hex(&f->rig, "5145???? 65"); /* a NON: it waits for nobody's acknowledgement */
    assert_int_equal(LIVE(f, requests), 0);
}

static void calls(void **state)
{
    struct fixture *f = *state;
    struct tf_coap_request request = {.method = TF_COAP_GET};
    uint32_t to = STRANGER, other = 98;
    uint64_t call[3];

    f->config.calls = 2;
    f->config.exchanges = 1;
    f->config.nstart = 1;
    begin(f);
    struct tf_coap_endpoint *endpoint = f->node->endpoint;
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &call[0], f->rig.now), TF_OK);
    assert_int_equal(tf_coap_call(endpoint, &other, &request, &call[1], f->rig.now), TF_LIMIT);
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &call[1], f->rig.now), TF_OK);
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &call[2], f->rig.now), TF_LIMIT);
    assert_true(tf_coap_endpoint_check(endpoint));
    assert_int_equal(LIVE(f, calls), 2);
    rig_run_for(&f->rig, 200 * TF_SECOND);
    assert_int_equal(f->app.failed, 2);
    assert_int_equal(LIVE(f, calls), 0);
    assert_int_equal(LIVE(f, buffers), 0);
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &call[2], f->rig.now), TF_OK);
}

static void no_buffers_for_a_call(void **state)
{
    struct fixture *f = *state;
    struct tf_bytes body = {text, 300};
    struct tf_coap_request request = {.method = TF_COAP_PUT, .body = &body, .body_count = 1};
    uint32_t to = STRANGER;
    uint64_t call;

    begin(f);
    f->config.buffers = 5; /* a copy of the body, but no datagram */
    f->node = NULL;
    begin(f);
    assert_int_equal(tf_coap_call(f->node->endpoint, &to, &request, &call, f->rig.now), TF_LIMIT);
    assert_true(tf_coap_endpoint_check(f->node->endpoint));
    assert_int_equal(LIVE(f, buffers), 0);
    assert_int_equal(LIVE(f, exchanges), 0);
    rig_flush(&f->rig);
    rig_expect_hex(&f->rig, "");
}

/* Without room in the output nothing is taken; what is due waits. */
static void output(void **state)
{
    struct fixture *f = *state;
    struct tf_datagram out[8], in = {&(uint32_t){STRANGER}, tf_bytes_of("\x40\x00\x00\x01", 4), 0};
    struct tf_coap_request request = {.method = TF_COAP_GET};
    uint32_t to = STRANGER;
    uint64_t call;
    size_t size;

    f->app.answer = true;
    begin(f);
    struct tf_coap_endpoint *endpoint = f->node->endpoint;
    size = tf_coap_output_min(&f->config);
    assert_ptr_equal(tf_coap_endpoint_take(endpoint), f->node->buffer);
    assert_int_equal(tf_coap_endpoint_input(endpoint, &in, f->rig.now), TF_AGAIN);
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &call, f->rig.now), TF_OK);
    assert_true(tf_coap_endpoint_deadline(endpoint) <= f->rig.now);
    tf_coap_endpoint_tick(endpoint, f->rig.now);
    assert_int_equal(tf_coap_endpoint_output(endpoint, out, 8), 0);
    assert_int_equal(tf_coap_endpoint_lend(endpoint, f->node->buffer, size - 1), TF_MISUSE);
    assert_int_equal(tf_coap_endpoint_lend(endpoint, f->node->buffer, size), TF_OK);
    assert_int_equal(tf_coap_endpoint_lend(endpoint, f->node->buffer, size), TF_MISUSE);
    tf_coap_endpoint_tick(endpoint, f->rig.now);
    assert_int_equal(tf_coap_endpoint_output(endpoint, out, 8), 1);
    assert_int_equal(tf_coap_endpoint_input(endpoint, &in, f->rig.now), TF_AGAIN);
    assert_null(tf_coap_endpoint_take(endpoint));
    tf_coap_endpoint_sent(endpoint, 1, f->rig.now);
    assert_int_equal(tf_coap_endpoint_input(endpoint, &in, f->rig.now), TF_OK);
    assert_int_equal(tf_coap_endpoint_output(endpoint, out, 8), 1);
    assert_memory_equal(out[0].bytes.data, "\x70\x00\x00\x01", 4);
    assert_memory_equal(out[0].path, &to, sizeof(to));
    tf_coap_endpoint_sent(endpoint, 1, f->rig.now);
    assert_ptr_equal(tf_coap_endpoint_take(endpoint), f->node->buffer);
    assert_int_equal(tf_coap_endpoint_lend(endpoint, f->node->buffer, size), TF_OK);
}

/* ---- Echo (RFC 9175) ---- */

static void an_unproved_peer_gets_little(void **state)
{
    struct fixture *f = *state;
    const struct rig_captured *got;
    struct rig_captured first;

    f->app.answer = true;
    f->app.body = 500;
    begin(f);
    send(f, 100, false, TF_COAP_GET, 1);
    first = *rig_take(&f->rig);
    assert_true(first.length <= 136);
    assert_int_equal(first.bytes[1], TF_COAP_CONTENT); /* a smaller block */
    /* Block2 0/more/64, Echo of eight bytes */
    assert_memory_equal(first.bytes + 5, "\xd1\x0a\x0a", 3);
    assert_memory_equal(first.bytes + 8, "\xd8\xd8", 2);
    uint8_t with[] = {0x41, 1, 0, 2, 100, 0xB1, 'a', 0xD8, 0xE4, 0, 0, 0, 0, 0, 0, 0, 0};
    memcpy(with + 9, first.bytes + 10, 8);
    rig_inject(&f->rig, f->node, 100, with, sizeof(with));
    got = rig_take(&f->rig);
    assert_true(got->length > 500);
    send(f, 100, false, TF_COAP_GET, 3); /* it is remembered */
    assert_true(rig_take(&f->rig)->length > 500);
    with[3] = 4;
    rig_inject(&f->rig, f->node, 101, with, sizeof(with)); /* another's value */
    assert_true(rig_take(&f->rig)->length <= 136);
    rig_run_for(&f->rig, 400 * TF_SECOND);
    f->config.peers = 1;
    rig_inject_flags(&f->rig, f->node, 102, TF_DATAGRAM_TRUSTED, with, sizeof(with));
    assert_true(rig_take(&f->rig)->length > 500);
}

static void an_old_echo_does_not_prove(void **state)
{
    struct fixture *f = *state;
    struct rig_captured first;

    f->app.answer = true;
    f->app.body = 500;
    begin(f);
    send(f, 100, false, TF_COAP_GET, 1);
    first = *rig_take(&f->rig);
    uint8_t with[] = {0x41, 1, 0, 2, 100, 0xB1, 'a', 0xD8, 0xE4, 0, 0, 0, 0, 0, 0, 0, 0};
    memcpy(with + 9, first.bytes + 10, 8);
    rig_run_for(&f->rig, 300 * TF_SECOND);
    rig_inject(&f->rig, f->node, 100, with, sizeof(with));
    assert_true(rig_take(&f->rig)->length <= 136);
}

static void without_blocks_an_unproved_peer_is_asked(void **state)
{
    struct fixture *f = *state;
    const struct rig_captured *got;

    f->config.features.block_server = NULL;
    f->app.answer = true;
    f->app.body = 500;
    begin(f);
    send(f, 100, false, TF_COAP_GET, 1);
    got = rig_take(&f->rig);
    assert_int_equal(got->bytes[1], TF_COAP_UNAUTHORIZED);
    assert_int_equal(got->length, 5 + 2 + 3 + 8 - 1);
    send(f, 100, false, TF_COAP_PUT, 2); /* done already: it keeps its code and loses its body */
    got = rig_take(&f->rig);
    assert_int_equal(got->bytes[1], TF_COAP_CONTENT);
    assert_int_equal(got->length, 5);
}

static void an_acknowledgement_proves(void **state)
{
    struct fixture *f = *state;

    f->app.body = 500;
    begin(f);
    send(f, 100, false, TF_COAP_GET, 1);
    rig_run_for(&f->rig, TF_SECOND);
    rig_expect_hex(&f->rig, "60000001");
    f->app.body = 10;
    assert_int_equal(respond(&f->rig, f->node, f->app.handle[0], &f->app), TF_OK);
    rig_flush(&f->rig);
    struct rig_captured sent = *rig_take(&f->rig);
    uint8_t ack[] = {0x60, 0, sent.bytes[2], sent.bytes[3]};
    rig_inject(&f->rig, f->node, 100, ack, 4);
    f->app.answer = true;
    f->app.body = 500;
    send(f, 100, false, TF_COAP_GET, 2);
    assert_true(rig_take(&f->rig)->length > 500);
}

/* ---- many ---- */

/* 100,000 peers: nothing is touched before it is needed, and nothing is walked through. */
static void many_peers(void **state)
{
    struct fixture *f = *state;
    struct tf_datagram in, out;
    struct tf_coap_event event;
    uint8_t bytes[] = {0x51, TF_COAP_GET, 0, 1, 7, 0xB1, 'a'};

    f->config.peers = 100000;
    f->config.replies = 65536;
    begin(f);
    struct tf_coap_endpoint *endpoint = f->node->endpoint;
    for (uint32_t peer = 0; peer < 250000; peer++) {
        in = (struct tf_datagram){&peer, {bytes, sizeof(bytes)}, 0};
        bytes[1] = peer & 1 ? TF_COAP_PUT : TF_COAP_GET;
        assert_int_equal(tf_coap_endpoint_input(endpoint, &in, f->rig.now), TF_OK);
        assert_true(tf_coap_endpoint_event(endpoint, &event));
        assert_int_equal(respond(&f->rig, f->node, event.handle, &f->app), TF_OK);
        assert_int_equal(tf_coap_endpoint_output(endpoint, &out, 1), 1);
        tf_coap_endpoint_sent(endpoint, 1, f->rig.now);
    }
    assert_int_equal(LIVE(f, peers), 100000);
    assert_int_equal(LIVE(f, replies), 65536);
    assert_true(tf_coap_endpoint_check(endpoint));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(requests),
        TEST(replies_make_room),
        TEST(buffers_make_room),
        TEST(peers_make_room),
        TEST(peers_in_use_stay),
        TEST(exchanges),
        TEST(calls),
        TEST(no_buffers_for_a_call),
        TEST(output),
        TEST(an_unproved_peer_gets_little),
        TEST(an_old_echo_does_not_prove),
        TEST(without_blocks_an_unproved_peer_is_asked),
        TEST(an_acknowledgement_proves),
        TEST(many_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
