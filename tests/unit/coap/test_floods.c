/*
 * What one datagram may cost when a peer has filled the tables before: no list that a peer can make
 * long is walked for it, and no table that all share is one peer's alone. Time is processor time,
 * with bounds that only a walk for each datagram exceeds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <trefoil/coap_endpoint.h>

#include "base/random.h"
#include "base/util.h"

#define MANY 60000u
#define BOUND (5 * CLOCKS_PER_SEC)

enum answering { AT_ONCE, LATER, NEVER };

struct crowd {
    struct tf_coap_endpoint_config config;
    struct tf_coap_endpoint *endpoint;
    struct tf_random random;
    void *memory, *buffer;
    tf_time now;
    enum answering answering;
    bool observe;
    size_t size;                    /* of the representation */
    uint64_t request[2];            /* LATER: not answered yet */
    unsigned requests;              /* of them */
    uint64_t observers[MANY + 100]; /* in the order of registration */
    unsigned registered, gone, ready;
    unsigned con, non; /* sent since the last look; without ACK and RST */
    uint16_t last_id;  /* of the last of them */
    uint8_t last[1500];
    size_t last_length;
};

static uint8_t representation[1 << 20];

static void random_fill(void *ctx, void *data, size_t length)
{
    tf_random_fill(ctx, data, length);
}

static struct crowd *crowd_new(void)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));

    crowd->now = 1000 * TF_SECOND;
    crowd->size = 5;
    tf_random_init(&crowd->random, 3);
    crowd->config =
        (struct tf_coap_endpoint_config){.features = {.negotiation = &tf_coap_negotiation,
                                                      .deduplication = &tf_coap_deduplication,
                                                      .separate = &tf_coap_separate,
                                                      .observe_server = &tf_coap_observe_server,
                                                      .block_server = &tf_coap_block_server,
                                                      .multicast_server = &tf_coap_multicast_server,
                                                      .echo_server = &tf_coap_echo_server},
                                         .path_size = sizeof(uint32_t),
                                         .peers = 1000,
                                         .requests = 64,
                                         .exchanges = 70000,
                                         .replies = MANY,
                                         .observers = MANY + 100,
                                         .transfers = 16,
                                         .buffers = 200000,
                                         .block_szx = 6,
                                         .random = random_fill,
                                         .random_ctx = &crowd->random};
    return crowd;
}

static void crowd_start(struct crowd *crowd)
{
    size_t size = tf_coap_endpoint_size(&crowd->config);

    crowd->memory = malloc(size);
    crowd->buffer = malloc(65536);
    assert_int_equal(
        tf_coap_endpoint_init(&crowd->endpoint, crowd->memory, size, &crowd->config, crowd->now),
        TF_OK);
    assert_int_equal(tf_coap_endpoint_lend(crowd->endpoint, crowd->buffer, 65536), TF_OK);
}

static void crowd_end(struct crowd *crowd)
{
    assert_true(tf_coap_endpoint_check(crowd->endpoint));
    free(crowd->memory);
    free(crowd->buffer);
    free(crowd);
}

static void crowd_answer(struct crowd *crowd, uint64_t request)
{
    struct tf_bytes body = {representation, crowd->size};
    struct tf_coap_response response = {.code = TF_COAP_CONTENT,
                                        .body = &body,
                                        .body_count = 1,
                                        .observe = crowd->observe,
                                        .user = crowd};
    uint64_t observer = 0;

    assert_int_equal(
        tf_coap_respond(crowd->endpoint, request, &response, &observer, NULL, crowd->now), TF_OK);
    if (observer)
        crowd->observers[crowd->registered++] = observer;
}

static void crowd_run(struct crowd *crowd)
{
    struct tf_coap_event event;
    struct tf_datagram out;

    while (tf_coap_endpoint_event(crowd->endpoint, &event)) {
        crowd->gone += event.type == TF_COAP_EVENT_OBSERVER_GONE;
        crowd->ready += event.type == TF_COAP_EVENT_OBSERVER_READY;
        if (event.type == TF_COAP_EVENT_REQUEST && crowd->answering == AT_ONCE)
            crowd_answer(crowd, event.handle);
        else if (event.type == TF_COAP_EVENT_REQUEST && crowd->answering == LATER)
            crowd->request[crowd->requests++] = event.handle;
    }
    while (tf_coap_endpoint_output(crowd->endpoint, &out, 1)) {
        unsigned type = out.bytes.data[0] >> 4 & 3;
        crowd->con += type == TF_COAP_CON;
        crowd->non += type == TF_COAP_NON;
        crowd->last_id = (uint16_t)(out.bytes.data[2] << 8 | out.bytes.data[3]);
        crowd->last_length = out.bytes.length;
        memcpy(crowd->last, out.bytes.data, out.bytes.length);
        tf_coap_endpoint_sent(crowd->endpoint, 1, crowd->now);
    }
}

static void crowd_feed(struct crowd *crowd, uint32_t peer, uint8_t flags, const void *bytes,
                       size_t length)
{
    struct tf_datagram in = {&peer, tf_bytes_of(bytes, length), flags};

    assert_int_equal(tf_coap_endpoint_input(crowd->endpoint, &in, crowd->now), TF_OK);
    crowd_run(crowd);
}

/* A request of four bytes of token. */
static void crowd_ask(struct crowd *crowd, uint32_t peer, uint8_t flags, unsigned type,
                      uint8_t method, uint16_t id, uint32_t token)
{
    uint8_t bytes[16];
    struct tf_coap_encoder encoder;

    tf_coap_encode(&encoder, bytes, sizeof(bytes), (enum tf_coap_type)type, method, id,
                   tf_bytes_of((const uint8_t *)&token, 4));
    if (crowd->observe)
        tf_coap_encode_option(&encoder, TF_COAP_OBSERVE, tf_bytes_of(NULL, 0));
    tf_coap_encode_option(&encoder, TF_COAP_URI_PATH, tf_bytes_str("a"));
    struct tf_bytes all = tf_coap_encoded(&encoder);
    crowd_feed(crowd, peer, flags, all.data, all.length);
}

static void crowd_pass(struct crowd *crowd, tf_time span)
{
    tf_time until = crowd->now + span;

    while (tf_coap_endpoint_deadline(crowd->endpoint) <= until) {
        crowd->now = TF_MAX(crowd->now, tf_coap_endpoint_deadline(crowd->endpoint));
        tf_coap_endpoint_tick(crowd->endpoint, crowd->now);
        crowd_run(crowd);
    }
    crowd->now = until;
}

static enum tf_err crowd_tell(struct crowd *crowd, uint64_t observer)
{
    struct tf_bytes body = {representation, crowd->size};
    struct tf_coap_response response = {.code = TF_COAP_CONTENT, .body = &body, .body_count = 1};
    enum tf_err err = tf_coap_notify(crowd->endpoint, observer, &response, crowd->now);

    crowd_run(crowd);
    return err;
}

/* ---- replies ---- */

/* A wrapped id with other bytes is a new request: any number of them has the same id. */
static void one_id_and_other_bytes(void **state)
{
    struct crowd *crowd = crowd_new();

    (void)state;
    crowd_start(crowd);
    clock_t before = clock();
    for (uint32_t i = 0; i < 2 * MANY; i++)
        crowd_ask(crowd, 1, 0, TF_COAP_CON, TF_COAP_PUT, 7, i);
    assert_true(clock() - before < BOUND);
    assert_int_equal(tf_coap_endpoint_counters(crowd->endpoint)->replies, MANY);
    assert_int_equal(tf_coap_endpoint_counters(crowd->endpoint)->duplicates, 0);
    crowd_ask(crowd, 1, 0, TF_COAP_CON, TF_COAP_PUT, 7, 2 * MANY - 1);
    assert_int_equal(tf_coap_endpoint_counters(crowd->endpoint)->duplicates, 1);
    crowd_end(crowd);
}

/* ---- answers of their own ---- */

/* One request whose empty ACK has gone before its answer. */
static void ask_later(struct crowd *crowd, uint32_t peer, uint32_t token)
{
    crowd->answering = LATER;
    crowd->requests = 0;
    crowd_ask(crowd, peer, 0, TF_COAP_CON, TF_COAP_GET, (uint16_t)token, token);
    crowd_ask(crowd, peer, 0, TF_COAP_CON, TF_COAP_GET, (uint16_t)token, token); /* again: ACK */
    assert_int_equal(crowd->requests, 1);
    crowd->con = crowd->non = 0;
    crowd_answer(crowd, crowd->request[0]);
    crowd_run(crowd);
    assert_int_equal(crowd->con + crowd->non, 1);
}

/*
 * Who acknowledges no answer gets NON ones: else one peer has all message ids in use, so that there
 * is none for the next, and all exchanges.
 */
static void nobody_acknowledges(void **state)
{
    struct crowd *crowd = crowd_new();

    (void)state;
    crowd_start(crowd);
    ask_later(crowd, 1, 1);
    assert_int_equal(crowd->con, 1);
    for (uint32_t i = 2; i < 66000; i++)
        ask_later(crowd, 1, i);
    assert_int_equal(crowd->non, 1);
    assert_true(tf_coap_endpoint_counters(crowd->endpoint)->exchanges < 100);
    ask_later(crowd, 2, 1);
    assert_int_equal(crowd->con, 1); /* another peer's comes as ever */
    crowd_pass(crowd, 100 * TF_SECOND);
    assert_int_equal(tf_coap_endpoint_counters(crowd->endpoint)->exchanges, 0);
    ask_later(crowd, 1, 1);
    assert_int_equal(crowd->con, 1); /* and the first one's too, in time */
    crowd_end(crowd);
}

/* An acknowledgement makes room for another. */
static void acknowledged_in_time(void **state)
{
    struct crowd *crowd = crowd_new();

    (void)state;
    crowd_start(crowd);
    for (uint32_t i = 1; i < 1000; i++) {
        ask_later(crowd, 1, i);
        assert_int_equal(crowd->con, 1);
        const uint8_t ack[] = {0x60, 0, (uint8_t)(crowd->last_id >> 8), (uint8_t)crowd->last_id};
        crowd_feed(crowd, 1, 0, ack, sizeof(ack));
    }
    assert_int_equal(tf_coap_endpoint_counters(crowd->endpoint)->exchanges, 0);
    crowd_end(crowd);
}

/* Answers to multicasts that wait for their time, too. */
static void multicasts(void **state)
{
    struct crowd *crowd = crowd_new();

    (void)state;
    crowd_start(crowd);
    for (uint32_t i = 0; i < 66000; i++)
        crowd_ask(crowd, 1, TF_DATAGRAM_MULTICAST, TF_COAP_NON, TF_COAP_GET, (uint16_t)i, i);
    assert_true(tf_coap_endpoint_counters(crowd->endpoint)->exchanges < 100);
    crowd_pass(crowd, 10 * TF_SECOND);
    assert_true(crowd->non > 0 && crowd->non < 100);
    assert_int_equal(tf_coap_endpoint_counters(crowd->endpoint)->exchanges, 0);
    crowd->non = 0;
    crowd_ask(crowd, 1, TF_DATAGRAM_MULTICAST, TF_COAP_NON, TF_COAP_GET, 1, 1);
    crowd_pass(crowd, 10 * TF_SECOND);
    assert_int_equal(crowd->non, 1);
    crowd_end(crowd);
}

/* ---- observers ---- */

static struct crowd *observed(void)
{
    struct crowd *crowd = crowd_new();

    crowd->observe = true;
    crowd_start(crowd);
    for (uint32_t i = 0; i < MANY; i++)
        crowd_ask(crowd, 1, 0, TF_COAP_CON, TF_COAP_GET, (uint16_t)i, i);
    assert_int_equal(crowd->registered, MANY);
    return crowd;
}

/* A peer of many observers goes: all wait for their turn behind one CON. */
static void observers_time_out(void **state)
{
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        struct crowd *crowd = observed();
        clock_t before = clock();
        for (unsigned i = 0; i < MANY; i++)
            (void)crowd_tell(crowd, crowd->observers[reverse ? MANY - 1 - i : i]);
        assert_int_equal(crowd->con, 1);
        crowd_pass(crowd, 100 * TF_SECOND);
        assert_int_equal(crowd->gone, MANY);
        assert_true(clock() - before < BOUND);
        crowd_end(crowd);
    }
}

/* They ask anew while they wait, the last one first. */
static void observers_ask_anew(void **state)
{
    struct crowd *crowd = observed();

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        (void)crowd_tell(crowd, crowd->observers[i]);
    clock_t before = clock();
    crowd->registered = 0;
    for (uint32_t i = 0; i < MANY; i++)
        crowd_ask(crowd, 1, 0, TF_COAP_CON, TF_COAP_GET, (uint16_t)(i + 7), MANY - 1 - i);
    assert_true(clock() - before < BOUND);
    assert_int_equal(crowd->gone, MANY);
    assert_int_equal(crowd->registered, MANY);
    crowd_end(crowd);
}

/* Resets that mean nothing; one that means the last notification is heard all the same. */
static void resets(void **state)
{
    struct crowd *crowd = observed();
    uint8_t reset[] = {0x70, 0, 0, 0};

    (void)state;
    assert_int_equal(crowd_tell(crowd, crowd->observers[0]), TF_OK);
    assert_int_equal(crowd->con, 1); /* it shows that the peer is there */
    const uint8_t ack[] = {0x60, 0, (uint8_t)(crowd->last_id >> 8), (uint8_t)crowd->last_id};
    crowd_feed(crowd, 1, 0, ack, sizeof(ack));
    assert_int_equal(crowd_tell(crowd, crowd->observers[1]), TF_OK);
    assert_int_equal(crowd->non, 1);
    uint16_t id = crowd->last_id;
    clock_t before = clock();
    for (uint32_t i = 0; i < 65536; i++) {
        reset[2] = (uint8_t)(i >> 8);
        reset[3] = (uint8_t)i;
        if (i != id)
            crowd_feed(crowd, 1, 0, reset, sizeof(reset));
    }
    assert_true(clock() - before < BOUND);
    assert_int_equal(crowd->gone, 0);
    reset[2] = (uint8_t)(id >> 8);
    reset[3] = (uint8_t)id;
    crowd_feed(crowd, 1, 0, reset, sizeof(reset));
    assert_int_equal(crowd->gone, 1); /* RFC 7641 3.6 */
    crowd_end(crowd);
}

/* RFC 7641 4.1: of two registrations that are answered late, the last one counts. */
static void one_observer_of_a_token(void **state)
{
    struct crowd *crowd = crowd_new();

    (void)state;
    crowd->observe = true;
    crowd->answering = LATER;
    crowd_start(crowd);
    crowd_ask(crowd, 1, 0, TF_COAP_CON, TF_COAP_GET, 1, 1);
    crowd_ask(crowd, 1, 0, TF_COAP_CON, TF_COAP_GET, 2, 1);
    assert_int_equal(crowd->requests, 2);
    crowd_answer(crowd, crowd->request[0]);
    crowd_answer(crowd, crowd->request[1]);
    crowd_run(crowd);
    assert_int_equal(crowd->registered, 2);
    assert_int_equal(crowd->gone, 1);
    assert_int_equal(tf_coap_endpoint_counters(crowd->endpoint)->observers, 1);
    assert_int_equal(crowd_tell(crowd, crowd->observers[0]), TF_NOT_FOUND);
    assert_int_equal(crowd_tell(crowd, crowd->observers[1]), TF_OK);
    crowd_end(crowd);
}

/* ---- blocks ---- */

/* RFC 7959 2.2: a block's number has 20 bits, also of one that Echo made smaller. */
static void no_number_beyond_20_bits(void **state)
{
    struct crowd *crowd = crowd_new();
    struct tf_coap_encoder encoder;
    struct tf_coap_message message;
    struct tf_bytes value;
    uint8_t bytes[64];

    (void)state;
    crowd->config.features.negotiation = NULL;
    crowd->size = sizeof(representation);
    crowd_start(crowd);
    for (unsigned size = 1; size < 101; size += 99) { /* 1 and 100 MiB, in pieces of one */
        struct tf_bytes pieces[100];
        tf_coap_encode(&encoder, bytes, sizeof(bytes), TF_COAP_CON, TF_COAP_GET, (uint16_t)size,
                       tf_bytes_of(NULL, 0));
        struct tf_coap_block block = {size * 1000u, false, 6};
        uint8_t option[4];
        tf_coap_encode_option(&encoder, TF_COAP_BLOCK2,
                              tf_coap_uint_value(tf_coap_block_value(&block), option));
        struct tf_bytes all = tf_coap_encoded(&encoder);
        crowd->answering = LATER;
        crowd->requests = 0;
        crowd_feed(crowd, 1, 0, all.data, all.length);
        for (unsigned i = 0; i < size; i++)
            pieces[i] = tf_bytes_of(representation, sizeof(representation));
        struct tf_coap_response response = {
            .code = TF_COAP_CONTENT, .body = pieces, .body_count = size};
        assert_int_equal(
            tf_coap_respond(crowd->endpoint, crowd->request[0], &response, NULL, NULL, crowd->now),
            TF_OK);
        crowd_run(crowd);
        assert_int_equal(tf_coap_decode(&message, tf_bytes_of(crowd->last, crowd->last_length)),
                         TF_OK);
        bool there = tf_coap_option_find(message.options, TF_COAP_BLOCK2, &value);
        assert_int_equal(there, size == 1);
        assert_int_equal(message.code, size == 1 ? TF_COAP_CONTENT : TF_COAP_UNAUTHORIZED);
        assert_true(tf_coap_option_find(message.options, TF_COAP_ECHO, &value));
    }
    crowd_end(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_id_and_other_bytes),
        cmocka_unit_test(nobody_acknowledges),
        cmocka_unit_test(acknowledged_in_time),
        cmocka_unit_test(multicasts),
        cmocka_unit_test(observers_time_out),
        cmocka_unit_test(observers_ask_anew),
        cmocka_unit_test(resets),
        cmocka_unit_test(one_observer_of_a_token),
        cmocka_unit_test(no_number_beyond_20_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
