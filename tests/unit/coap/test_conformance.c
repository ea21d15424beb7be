/*
 * Requirements of RFC 7252 and 7641 that no other test looks at; those of RFC 7959 are in
 * test_conformance_block.c. docs/coap-conformance.md lists them all, each with its test. One
 * endpoint that is client and server; the other end is a stranger, made by hand, on virtual time.
 */
#include "rig.h"

#include <string.h>

#define STRANGER 99u

/* ---- the endpoint under test ---- */

/* What it has been told, and what it answers. */
struct app {
    unsigned requests, responses, failed;
    enum tf_err err;
    uint8_t code; /* of the last response */
    size_t body;  /* its length */
    bool last;
    bool hold; /* requests are answered by the test */
    uint64_t request, observer;
    bool wants_to_observe;
    struct tf_coap_response response;
    struct tf_bytes piece;
};

static void on_event(struct rig *rig, struct rig_node *node, const struct tf_coap_event *event)
{
    struct app *app = node->user;

    switch (event->type) {
    case TF_COAP_EVENT_REQUEST:
        app->requests++;
        app->request = event->handle;
        app->wants_to_observe = event->observe;
        if (!app->hold)
            assert_int_equal(tf_coap_respond(node->endpoint, event->handle, &app->response,
                                             &app->observer, NULL, rig->now),
                             TF_OK);
        break;
    case TF_COAP_EVENT_RESPONSE:
        app->responses++;
        app->code = event->message.code;
        app->body = event->body.length;
        app->last = event->last;
        break;
    case TF_COAP_EVENT_FAILED:
        app->failed++;
        app->err = event->err;
        break;
    default:
        break;
    }
}

struct fixture {
    struct rig rig;
    struct rig_node *node;
    struct app app;
    struct tf_coap_endpoint_config config;
    uint64_t call; /* the last one */
};

static int setup(void **state)
{
    static struct fixture fixture;

    memset(&fixture.app, 0, sizeof(fixture.app));
    rig_init(&fixture.rig, 17);
    fixture.config = rig_config();
    fixture.config.nstart = 32;
    fixture.app.piece = tf_bytes_str("value");
    fixture.app.response = (struct tf_coap_response){
        .code = TF_COAP_CONTENT, .body = &fixture.app.piece, .body_count = 1};
    fixture.node = NULL;
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    rig_release(&((struct fixture *)*state)->rig);
    return 0;
}

/* Adds the endpoint, with what the test has made of `config`. */
static struct tf_coap_endpoint *begin(struct fixture *f)
{
    f->node = rig_add(&f->rig, &f->config, on_event);
    f->node->user = &f->app;
    return f->node->endpoint;
}

/* ---- messages by hand ---- */

struct packet {
    struct tf_coap_encoder encoder;
    uint8_t bytes[1500];
};

static void start(struct packet *packet, enum tf_coap_type type, uint8_t code, uint16_t id,
                  struct tf_bytes token)
{
    tf_coap_encode(&packet->encoder, packet->bytes, sizeof(packet->bytes), type, code, id, token);
}

static void feed(struct fixture *f, struct packet *packet)
{
    struct tf_bytes bytes = tf_coap_encoded(&packet->encoder);

    assert_true(bytes.length > 0);
    rig_inject(&f->rig, f->node, STRANGER, bytes.data, bytes.length);
}

/* The next message that came to a stranger; it must be there. */
static struct tf_coap_message take(struct fixture *f, struct rig_captured *ret)
{
    struct tf_coap_message message;
    const struct rig_captured *captured = rig_take(&f->rig);

    assert_non_null(captured);
    *ret = *captured;
    assert_int_equal(tf_coap_decode(&message, tf_bytes_of(ret->bytes, ret->length)), TF_OK);
    return message;
}

static const struct tf_coap_option path_a = {TF_COAP_URI_PATH, {(const uint8_t *)"a", 1}};

/* Calls the stranger; the request is what is captured next. */
static void call(struct fixture *f, const struct tf_coap_request *request)
{
    uint32_t to = STRANGER;

    assert_int_equal(tf_coap_call(f->node->endpoint, &to, request, &f->call, f->rig.now), TF_OK);
    rig_flush(&f->rig);
}

static struct tf_coap_message get(struct fixture *f, bool non, struct rig_captured *ret)
{
    call(f, &(struct tf_coap_request){
                .method = TF_COAP_GET, .non = non, .options = &path_a, .option_count = 1});
    return take(f, ret);
}

/* ---- RFC 7252 ---- */

/* 3.2: numbers with leading zeros mean the same. */
static void numbers_with_leading_zeros(void **state)
{
    struct fixture *f = *state;
    const struct tf_coap_option format = {TF_COAP_CONTENT_FORMAT, {NULL, 0}};

    begin(f);
    f->app.response.options = &format;
    f->app.response.option_count = 1;
    rig_inject_hex(&f->rig, f->node, STRANGER, "41010001 aa d2 04 0000"); /* Accept 0 */
    rig_expect_hex(&f->rig, "61450001 aa c0 ff 76616c7565");
    rig_inject_hex(&f->rig, f->node, STRANGER, "41010002 aa d2 04 0032"); /* Accept 50 */
    rig_expect_hex(&f->rig, "61860002 aa");
    rig_inject_hex(&f->rig, f->node, STRANGER, "41010003 aa 63 000000"); /* Observe 0 */
    assert_true(f->app.wants_to_observe);
    rig_expect_hex(&f->rig, "61450003 aa c0 ff 76616c7565");
    rig_inject_hex(&f->rig, f->node, STRANGER, "41010004 aa d3 0a 000006"); /* Block2 0/0/1024 */
    rig_expect_hex(&f->rig, "61450004 aa c0 b1 06 ff 76616c7565");
}

/* 4.2: whatever comes late, nothing is sent later than MAX_TRANSMIT_SPAN, and what is sent keeps
 * ACK_TIMEOUT from what was sent before. */
static void a_sleeper_stays_in_the_span(void **state)
{
    static const tf_time asleep[][2] = {{3, 40}, {3, 44}, {3, 50}, {0, 60}, {10, 29}, {10, 300}};
    struct fixture *f = *state;
    struct rig_captured captured;

    begin(f);
    for (size_t i = 0; i < sizeof(asleep) / sizeof(asleep[0]); i++) {
        tf_time first = f->rig.now, last = first;
        unsigned failed = f->app.failed;
        (void)get(f, false, &captured);
        rig_run_for(&f->rig, asleep[i][0] * TF_SECOND);
        f->rig.now += (asleep[i][1] - asleep[i][0]) * TF_SECOND; /* nobody calls tick meanwhile */
        rig_run_for(&f->rig, 400 * TF_SECOND);
        for (const struct rig_captured *again; (again = rig_take(&f->rig)); last = again->at) {
            assert_true(again->at - first <= 45 * TF_SECOND + TF_MILLISECOND);
            assert_true(again->at - last >= 2 * TF_SECOND);
        }
        assert_int_equal(f->app.failed, failed + 1);
        assert_int_equal(f->app.err, TF_AGAIN);
    }
}

/* 4.4: an id is not used for another message to the same endpoint while the first may live. */
static void message_ids_are_new(void **state)
{
    struct fixture *f = *state;
    struct rig_captured captured;
    static bool used[65536];
    struct tf_coap_message message;

    begin(f);
    memset(used, 0, sizeof(used));
    message = get(f, false, &captured); /* never answered: its exchange lives */
    uint16_t open = message.message_id;
    used[open] = true;
    struct tf_coap_transmission patient = {.max_retransmit = 20};
    call(f, &(struct tf_coap_request){.method = TF_COAP_GET, .transmission = &patient});
    message = take(f, &captured);
    open = message.message_id;
    used[open] = true;
    for (unsigned i = 0; i < 300; i++) { /* a CON each, and a NON each */
        message = get(f, i % 2, &captured);
        assert_false(used[message.message_id]);
        used[message.message_id] = true;
        struct packet packet;
        start(&packet, TF_COAP_NON, TF_COAP_CONTENT, (uint16_t)i, message.token);
        feed(f, &packet);
    }
    /* Once around the circle: what is still open is passed over. */
    for (unsigned i = 0; i < 66000; i++) {
        message = get(f, true, &captured);
        assert_int_not_equal(message.message_id, open);
        struct packet packet;
        start(&packet, TF_COAP_NON, TF_COAP_CONTENT, (uint16_t)i, message.token);
        feed(f, &packet);
    }
}

/* 4.4: where the ids begin nobody can guess. */
static void message_ids_begin_anywhere(void **state)
{
    struct fixture *f = *state;
    struct rig_captured captured;
    uint16_t ids[8];
    unsigned different = 0;

    begin(f);
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t to = 200 + i;
        const struct tf_coap_request request = {.method = TF_COAP_GET};
        assert_int_equal(tf_coap_call(f->node->endpoint, &to, &request, &f->call, f->rig.now),
                         TF_OK);
        rig_flush(&f->rig);
        ids[i] = take(f, &captured).message_id;
        different += i && (uint16_t)(ids[i] - ids[0]) > 64;
    }
    assert_true(different >= 5);
}

/* 4.5: a duplicate of a CON response is acknowledged, and not told twice. */
static void a_response_counts_once(void **state)
{
    struct fixture *f = *state;
    struct rig_captured captured;
    struct packet packet;

    begin(f);
    struct tf_coap_message message = get(f, false, &captured);
    start(&packet, TF_COAP_CON, TF_COAP_CONTENT, 0x0707, message.token);
    for (unsigned i = 0; i < 3; i++) {
        feed(f, &packet);
        rig_expect_hex(&f->rig, "60000707");
    }
    assert_int_equal(f->app.responses, 1);
}

/* 4.6: what does not fit is not sent; without block-wise that is a mistake of the caller's. */
static void no_datagram_is_too_long(void **state)
{
    struct fixture *f = *state;
    static uint8_t large[1200];
    struct tf_bytes body = {large, sizeof(large)};
    struct tf_coap_request request = {.method = TF_COAP_PUT, .body = &body, .body_count = 1};
    uint32_t to = STRANGER;
    uint64_t handle;

    f->config.features.block_client = f->config.features.block_server = NULL;
    struct tf_coap_endpoint *endpoint = begin(f);
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &handle, f->rig.now), TF_MISUSE);
    body.length = 1024;
    assert_int_equal(tf_coap_call(endpoint, &to, &request, &handle, f->rig.now), TF_OK);
    rig_flush(&f->rig);
    assert_true(rig_take(&f->rig)->length <= 1152);
}

/* 4.7, 4.8: NSTART is 1, and a CON goes five times, if nothing else is said. */
static void defaults(void **state)
{
    struct fixture *f = *state;
    const struct tf_coap_request request = {.method = TF_COAP_GET};
    struct rig_captured captured;
    unsigned sent = 1;

    f->config.nstart = 0;
    begin(f);
    tf_time first = f->rig.now, last = 0;
    call(f, &request);
    (void)take(f, &captured);
    call(f, &request);
    rig_expect_hex(&f->rig, "");
    while (!f->app.failed) {
        rig_run_for(&f->rig, 100 * TF_MILLISECOND);
        const struct rig_captured *again = f->app.failed ? NULL : rig_take(&f->rig);
        if (again) {
            assert_memory_equal(again->bytes, captured.bytes, captured.length);
            last = again->at;
            sent++;
        }
    }
    assert_int_equal(sent, 5);
    assert_in_range(last - first, 30 * TF_SECOND, 45 * TF_SECOND); /* MAX_TRANSMIT_SPAN */
    assert_in_range(f->rig.now - first, 62 * TF_SECOND, 93 * TF_SECOND + TF_SECOND);
    (void)take(f, &captured); /* the second call's */
}

/* 4.8.1: ACK_RANDOM_FACTOR is not below 1. */
static void the_random_factor_is_not_below_one(void **state)
{
    struct fixture *f = *state;
    struct rig_captured captured;
    const struct tf_coap_transmission low = {.ack_timeout_ms = 1000, .ack_random_percent = 50};

    begin(f);
    for (unsigned i = 0; i < 20; i++) {
        tf_time sent = f->rig.now;
        call(f, &(struct tf_coap_request){.method = TF_COAP_GET, .transmission = &low});
        (void)take(f, &captured);
        rig_run_for(&f->rig, 999 * TF_MILLISECOND);
        assert_null(rig_take(&f->rig));
        rig_run_for(&f->rig, 600 * TF_MILLISECOND);
        assert_in_range(take(f, &captured).type == TF_COAP_CON ? captured.at - sent : 0, TF_SECOND,
                        1500 * TF_MILLISECOND + TF_MILLISECOND);
        tf_coap_cancel(f->node->endpoint, f->call, false, f->rig.now);
    }
}

/* 5.2.2: an ACK with a response in it ends the sending of a separate response like any other. */
static void an_ack_with_a_code_is_an_ack(void **state)
{
    struct fixture *f = *state;
    struct rig_captured captured;
    struct packet packet;

    f->app.hold = true;
    struct tf_coap_endpoint *endpoint = begin(f);
    rig_inject_hex(&f->rig, f->node, STRANGER, "41031234 aa b161 ff31");
    rig_run_for(&f->rig, TF_SECOND);
    rig_expect_hex(&f->rig, "60001234");
    assert_int_equal(
        tf_coap_respond(endpoint, f->app.request, &f->app.response, NULL, NULL, f->rig.now), TF_OK);
    rig_flush(&f->rig);
    struct tf_coap_message message = take(f, &captured);
    assert_int_equal(message.type, TF_COAP_CON);
    start(&packet, TF_COAP_ACK, TF_COAP_CONTENT, message.message_id, message.token);
    tf_coap_encode_payload(&packet.encoder, tf_bytes_str("what?"));
    feed(f, &packet);
    assert_int_equal(tf_coap_endpoint_counters(endpoint)->exchanges, 0);
    rig_run_for(&f->rig, 100 * TF_SECOND);
    rig_expect_hex(&f->rig, "");
    assert_int_equal(f->app.responses, 0);
    /* 4.2: the request itself is still acknowledged if it comes again. */
    rig_inject_hex(&f->rig, f->node, STRANGER, "41031234 aa b161 ff31");
    rig_expect_hex(&f->rig, "60001234");
    assert_int_equal(f->app.requests, 1);
}

/* 5.2.3: a response may be of either type, whatever the request was, and come before the ACK. */
static void a_response_of_any_type(void **state)
{
    struct fixture *f = *state;
    struct rig_captured captured;
    struct packet packet;

    struct tf_coap_endpoint *endpoint = begin(f);
    for (unsigned i = 0; i < 8; i++) {
        bool non_request = i & 1, con_response = i & 2, ack_after = i & 4;
        struct tf_coap_message message = get(f, non_request, &captured);
        start(&packet, con_response ? TF_COAP_CON : TF_COAP_NON, TF_COAP_CONTENT,
              (uint16_t)(0x4000 + i), message.token);
        feed(f, &packet);
        assert_int_equal(f->app.responses, i + 1);
        assert_int_equal(tf_coap_endpoint_counters(endpoint)->calls, 0);
        if (con_response) {
            struct tf_coap_message ack = take(f, &captured);
            assert_int_equal(ack.type, TF_COAP_ACK);
            assert_int_equal(ack.code, TF_COAP_EMPTY);
        }
        if (ack_after) {
            start(&packet, TF_COAP_ACK, TF_COAP_EMPTY, message.message_id, tf_bytes_of(NULL, 0));
            feed(f, &packet);
        }
        rig_expect_hex(&f->rig, "");
    }
}

/* 5.3.1: tokens in use differ, and are eight bytes that nobody can guess. */
static void tokens_differ(void **state)
{
    struct fixture *f = *state;
    uint8_t tokens[32][8];
    uint8_t ones[8] = {0}, all[8];
    struct rig_captured captured;

    memset(all, 0xFF, sizeof(all));
    begin(f);
    for (unsigned i = 0; i < 32; i++) {
        struct tf_coap_message message = get(f, false, &captured);
        assert_int_equal(message.token.length, 8);
        memcpy(tokens[i], message.token.data, 8);
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(tokens[i], tokens[j], 8);
        for (unsigned j = 0; j < 8; j++) {
            ones[j] |= tokens[i][j];
            all[j] &= tokens[i][j];
        }
    }
    for (unsigned j = 0; j < 8; j++) { /* each byte takes many values */
        assert_int_equal(ones[j], 0xFF);
        assert_int_equal(all[j], 0);
    }
}

/* 5.3.1: a token is nothing but bytes to the server. */
static void tokens_come_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    uint8_t token[8];
    struct rig_captured captured;
    struct packet packet;

    begin(f);
    for (unsigned length = 0; length <= 8; length++) {
        for (unsigned fill = 0; fill < 3; fill++) {
            memset(token, fill == 0 ? 0 : fill == 1 ? 0xFF : 0x40, sizeof(token));
            start(&packet, fill == 2 ? TF_COAP_NON : TF_COAP_CON, TF_COAP_GET,
                  (uint16_t)(length * 16 + fill), tf_bytes_of(token, length));
            feed(f, &packet);
            assert_true(tf_bytes_equal(take(f, &captured).token, tf_bytes_of(token, length)));
        }
    }
}

/*
 * 5.4, 5.4.1: a critical option that is unknown, or that no response can have, in a response:
 * rejected, whatever it came in. An elective one is passed over.
 */
static void options_that_no_response_has(void **state)
{
    static const uint16_t critical[] = {TF_COAP_IF_MATCH,
                                        TF_COAP_URI_HOST,
                                        TF_COAP_IF_NONE_MATCH,
                                        TF_COAP_URI_PORT,
                                        TF_COAP_URI_PATH,
                                        TF_COAP_URI_QUERY,
                                        TF_COAP_ACCEPT,
                                        TF_COAP_PROXY_URI,
                                        TF_COAP_PROXY_SCHEME,
                                        99,
                                        65001};
    static const enum tf_coap_type types[] = {TF_COAP_CON, TF_COAP_NON, TF_COAP_ACK};
    struct fixture *f = *state;
    struct rig_captured captured;
    struct packet packet;

    begin(f);
    for (size_t i = 0; i < sizeof(critical) / sizeof(critical[0]); i++) {
        for (unsigned t = 0; t < 3; t++) {
            struct tf_coap_message message = get(f, false, &captured);
            uint16_t id = types[t] == TF_COAP_ACK ? message.message_id : (uint16_t)(i * 8 + t);
            start(&packet, types[t], TF_COAP_CONTENT, id, message.token);
            tf_coap_encode_option(&packet.encoder, critical[i],
                                  critical[i] == TF_COAP_IF_NONE_MATCH
                                      ? tf_bytes_of(NULL, 0)
                                      : tf_bytes_of((const uint8_t *)"1", 1));
            feed(f, &packet);
            assert_int_equal(f->app.responses, 0);
            if (types[t] == TF_COAP_CON) {
                message = take(f, &captured);
                assert_int_equal(message.type, TF_COAP_RST);
                assert_int_equal(message.message_id, id);
            }
            rig_expect_hex(&f->rig, "");
            tf_coap_cancel(f->node->endpoint, f->call, false, f->rig.now);
        }
    }
    struct tf_coap_message message = get(f, false, &captured);
    start(&packet, TF_COAP_ACK, TF_COAP_CONTENT, message.message_id, message.token);
    tf_coap_encode_option(&packet.encoder, 65000, tf_bytes_str("elective"));
    feed(f, &packet);
    assert_int_equal(f->app.responses, 1);
}

/* 5.9.2.3, 5.9.2.2: what was refused is not sent again. */
static void a_refusal_is_the_end(void **state)
{
    static const uint8_t codes[] = {TF_COAP_BAD_OPTION, TF_COAP_UNAUTHORIZED, TF_COAP_UNAVAILABLE};
    struct fixture *f = *state;
    struct rig_captured captured;
    struct packet packet;

    begin(f);
    for (size_t i = 0; i < sizeof(codes); i++) {
        struct tf_coap_message message = get(f, false, &captured);
        start(&packet, TF_COAP_ACK, codes[i], message.message_id, message.token);
        feed(f, &packet);
        assert_int_equal(f->app.code, codes[i]);
        assert_true(f->app.last);
        rig_run_for(&f->rig, 300 * TF_SECOND);
        rig_expect_hex(&f->rig, "");
    }
}

/* Random bytes, but each peer's message ids, and nothing else of four bytes, begin alike. */
static void alike(void *ctx, void *data, size_t length)
{
    rig_random(ctx, data, length);
    if (length == 4)
        memset(data, 0x11, length);
}

/* 8.1: a request to a group is a NON, with an id that no message to a member of it has. */
static void a_request_to_a_group(void **state)
{
    struct fixture *f = *state;
    struct rig_captured captured;
    uint32_t group = RIG_GROUP;
    bool used[256] = {false};
    struct tf_datagram out[4];
    struct tf_coap_message message;

    f->config.random = alike;
    f->config.random_ctx = &f->rig.random;
    struct tf_coap_endpoint *endpoint = begin(f);
    for (unsigned i = 0; i < 20; i++) { /* from one id on to one peer, and the first of others */
        uint32_t to = i < 16 ? STRANGER : 100 + i;
        const struct tf_coap_request one = {.method = TF_COAP_GET, .non = i > 17};
        assert_int_equal(tf_coap_call(endpoint, &to, &one, &f->call, f->rig.now), TF_OK);
        rig_flush(&f->rig);
        message = take(f, &captured);
        assert_int_equal(message.message_id >> 8, 0x11);
        used[message.message_id & 0xFF] = true;
    }
    const struct tf_coap_request request = {.method = TF_COAP_GET, .multicast = true};
    assert_int_equal(tf_coap_call(endpoint, &group, &request, &f->call, f->rig.now), TF_OK);
    assert_int_equal(tf_coap_endpoint_output(endpoint, out, 4), 1);
    assert_int_equal(tf_coap_decode(&message, out[0].bytes), TF_OK);
    assert_int_equal(message.type, TF_COAP_NON);
    assert_true(message.message_id >> 8 != 0x11 || !used[message.message_id & 0xFF]);
}

/* 8.1: a CON to a group is no request, and nothing that comes to a group is reset. */
static void what_comes_to_a_group(void **state)
{
    static const char *const silent[] = {"\x40\x01\x00\x01", "\x40\x00\x00\x02", "\x50\x00\x00\x03",
                                         "\x40\x45\x00\x04", "\x50\x45\x00\x05", "\x50\xe1\x00\x06",
                                         "\x59\x01\x00\x07", "\x50\x20\x00\x08"};
    struct fixture *f = *state;

    begin(f);
    for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
        rig_inject_flags(&f->rig, f->node, STRANGER, TF_DATAGRAM_MULTICAST, silent[i], 4);
    rig_run_for(&f->rig, 10 * TF_SECOND);
    rig_expect_hex(&f->rig, "");
    assert_int_equal(f->app.requests, 0);
    rig_inject_flags(&f->rig, f->node, STRANGER, TF_DATAGRAM_MULTICAST, "\x51\x01\x00\x09\xaa", 5);
    rig_run_for(&f->rig, 10 * TF_SECOND);
    rig_expect_hex(&f->rig, "5145???? aa ff 76616c7565");
}

/* 8.2: answers to a group are spread over the leisure. */
static void answers_to_a_group_are_spread(void **state)
{
    struct fixture *f = *state;
    struct rig_captured captured;
    tf_time least = TF_TIME_NEVER, most = 0;

    begin(f);
    for (uint16_t i = 0; i < 60; i++) {
        uint8_t request[] = {0x51, 0x01, (uint8_t)(i >> 8), (uint8_t)i, 0xaa};
        tf_time asked = f->rig.now;
        rig_inject_flags(&f->rig, f->node, STRANGER, TF_DATAGRAM_MULTICAST, request, 5);
        rig_run_for(&f->rig, 6 * TF_SECOND);
        (void)take(f, &captured);
        least = captured.at - asked < least ? captured.at - asked : least;
        most = captured.at - asked > most ? captured.at - asked : most;
    }
    assert_true(least < 500 * TF_MILLISECOND);
    assert_in_range(most, 4500 * TF_MILLISECOND, 5010 * TF_MILLISECOND);
}

/* ---- RFC 7641 ---- */

/* 4.5: an observer that is told by NON gets a CON each 24 hours, if nothing else is said. */
static void a_con_each_day(void **state)
{
    struct fixture *f = *state;
    struct rig_captured captured;
    struct packet packet;

    struct tf_coap_endpoint *endpoint = begin(f);
    f->app.response.observe = true;
    f->rig.flags = TF_DATAGRAM_TRUSTED;
    rig_inject_flags(&f->rig, f->node, STRANGER, TF_DATAGRAM_TRUSTED, "\x41\x01\x12\x34\xaa\x60",
                     6);
    (void)take(f, &captured);
    assert_true(f->app.observer != 0);
    tf_time con = f->rig.now;
    for (unsigned hour = 1; hour < 80; hour++) {
        rig_run_for(&f->rig, 3600 * TF_SECOND);
        f->app.response.sequence = hour;
        assert_int_equal(tf_coap_notify(endpoint, f->app.observer, &f->app.response, f->rig.now),
                         TF_OK);
        rig_flush(&f->rig);
        struct tf_coap_message message = take(f, &captured);
        if (message.type == TF_COAP_CON) {
            con = f->rig.now;
            start(&packet, TF_COAP_ACK, TF_COAP_EMPTY, message.message_id, tf_bytes_of(NULL, 0));
            feed(f, &packet);
        }
        assert_true(f->rig.now - con < 86400 * TF_SECOND);
    }
}

/* 3.3.1, 3.6: whoever registers anew, or stops, repeats the options of the registration. */
static void registering_again_is_the_same_request(void **state)
{
    const struct tf_coap_option options[] = {
        {TF_COAP_URI_HOST, tf_bytes_str("h")},  {TF_COAP_URI_PATH, tf_bytes_str("a")},
        {TF_COAP_URI_PATH, tf_bytes_str("")},   {TF_COAP_URI_QUERY, tf_bytes_str("q=1")},
        {TF_COAP_ACCEPT, tf_bytes_str("\x32")}, {65000, tf_bytes_str("elective")},
    };
    struct fixture *f = *state;
    struct rig_captured first, again;
    struct packet packet;

    struct tf_coap_endpoint *endpoint = begin(f);
    call(f, &(struct tf_coap_request){
                .method = TF_COAP_GET, .observe = true, .options = options, .option_count = 6});
    struct tf_coap_message message = take(f, &first);
    start(&packet, TF_COAP_ACK, TF_COAP_CONTENT, message.message_id, message.token);
    tf_coap_encode_uint(&packet.encoder, TF_COAP_OBSERVE, 7);
    tf_coap_encode_uint(&packet.encoder, TF_COAP_MAX_AGE_OPTION, 1);
    feed(f, &packet);
    assert_int_equal(f->app.responses, 1);
    rig_run_for(&f->rig, 17 * TF_SECOND);
    struct tf_coap_message second = take(f, &again);
    assert_true(tf_bytes_equal(second.token, message.token));
    assert_true(tf_bytes_equal(second.options, message.options));
    start(&packet, TF_COAP_ACK, TF_COAP_CONTENT, second.message_id, second.token);
    tf_coap_encode_uint(&packet.encoder, TF_COAP_OBSERVE, 8);
    feed(f, &packet);
    while (rig_take(&f->rig)) { /* it may have gone twice */
    }
    tf_coap_cancel(endpoint, f->call, true, f->rig.now);
    rig_flush(&f->rig);
    struct tf_coap_message stop = take(f, &again);
    assert_true(tf_bytes_equal(stop.token, message.token));
    /* The same but for the value of Observe, which has become 1. */
    uint8_t expected[200];
    const uint8_t *at = message.options.data;
    size_t before = 4; /* Uri-Host, and the first byte of Observe */
    memcpy(expected, at, before);
    assert_int_equal(at[2], 0x30); /* 3 + 3 = Observe, no byte */
    expected[2] = 0x31;
    expected[3] = 1;
    memcpy(expected + 4, at + 3, message.options.length - 3);
    assert_true(tf_bytes_equal(stop.options, tf_bytes_of(expected, message.options.length + 1)));
}

/* 3.5: a notification with a token that is not known is not acknowledged. */
static void a_notification_that_nobody_wants(void **state)
{
    struct fixture *f = *state;

    begin(f);
    rig_inject_hex(&f->rig, f->node, STRANGER, "48450101 0102030405060708 6105 ff31");
    rig_expect_hex(&f->rig, "70000101");
    rig_inject_hex(&f->rig, f->node, STRANGER, "41450102 01 6105 ff31");
    rig_expect_hex(&f->rig, "70000102");
    assert_int_equal(f->app.responses, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(numbers_with_leading_zeros),
        TEST(a_sleeper_stays_in_the_span),
        TEST(message_ids_are_new),
        TEST(message_ids_begin_anywhere),
        TEST(a_response_counts_once),
        TEST(no_datagram_is_too_long),
        TEST(defaults),
        TEST(the_random_factor_is_not_below_one),
        TEST(an_ack_with_a_code_is_an_ack),
        TEST(a_response_of_any_type),
        TEST(tokens_differ),
        TEST(tokens_come_back_as_they_were),
        TEST(options_that_no_response_has),
        TEST(a_refusal_is_the_end),
        TEST(a_request_to_a_group),
        TEST(what_comes_to_a_group),
        TEST(answers_to_a_group_are_spread),
        TEST(a_con_each_day),
        TEST(registering_again_is_the_same_request),
        TEST(a_notification_that_nobody_wants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
