/*
 * Block-wise transfers, the client's side (RFC 7959): what it sends for each answer that a server
 * may give, good and bad; the test is the server.
 */
#include "unit/coap/probe.h"

#define SERVER 9u

static uint8_t body[20000];
static struct tf_bytes pieces[2];

/* Sends a request with a body of `length` bytes, in two pieces. */
static uint64_t call(struct probe *probe, uint8_t method, size_t length, uint16_t block_size)
{
    static const struct tf_coap_option path = {TF_COAP_URI_PATH, {(const uint8_t *)"x", 1}};
    uint32_t peer = SERVER;
    uint64_t handle = 0;

    pattern_fill(body, sizeof(body), 2);
    pieces[0] = tf_bytes_of(body, length / 2);
    pieces[1] = tf_bytes_of(body + length / 2, length - length / 2);
    struct tf_coap_request request = {
        .method = method,
        .block_size = block_size,
        .options = &path,
        .option_count = 1,
        .body = pieces,
        .body_count = length ? 2 : 0,
    };
    assert_int_equal(tf_coap_call(probe->endpoint, &peer, &request, &handle, probe->now), TF_OK);
    probe_run(probe);
    return handle;
}

/* An answer to the last message sent, in its ACK. `block`: number << 4 | more << 3 | szx; -1: none.
 */
struct answer {
    uint8_t code;
    int64_t block1, block2, size2;
    const char *etag;
    size_t offset, length; /* of the payload in the pattern */
    unsigned seed;
};

static void answer(struct probe *probe, struct answer what)
{
    static uint8_t payload[70000];
    const struct tf_coap_message *request = &probe_last(probe)->message;
    struct packet packet;

    packet_start_id(&packet, TF_COAP_ACK, what.code, request->message_id, request->token);
    if (what.etag)
        packet_text(&packet, TF_COAP_ETAG, what.etag);
    if (what.block2 >= 0)
        packet_uint(&packet, TF_COAP_BLOCK2, (uint32_t)what.block2);
    if (what.block1 >= 0)
        packet_uint(&packet, TF_COAP_BLOCK1, (uint32_t)what.block1);
    if (what.size2)
        packet_uint(&packet, TF_COAP_SIZE2, (uint32_t)what.size2);
    pattern_fill(payload, sizeof(payload), what.seed);
    packet_payload(&packet, payload + what.offset, what.length);
    probe_clear(probe);
    packet_feed(probe, SERVER, &packet);
}

#define BLOCK(number, more, szx) ((int64_t)(number) << 4 | (more) << 3 | (szx))

static const struct tf_coap_message *last(struct probe *probe)
{
    return &probe_last(probe)->message;
}

/* The last message is this block of the body. */
static void expect_block1(struct probe *probe, uint32_t number, bool more, unsigned szx,
                          size_t length)
{
    const struct tf_coap_message *message = last(probe);
    size_t offset = (size_t)number << (szx + 4);

    assert_int_equal(probe_uint(message, TF_COAP_BLOCK1), BLOCK(number, more, szx));
    assert_int_equal(message->payload.length, length);
    assert_true(pattern_is(message->payload, offset, 2));
    assert_true(tf_bytes_equal(probe_option(message, TF_COAP_URI_PATH), tf_bytes_str("x")));
}

static void expect_done(struct probe *probe, uint8_t code)
{
    const struct tf_coap_event *event = probe_event(probe, TF_COAP_EVENT_RESPONSE);

    assert_non_null(event);
    assert_int_equal(event->message.code, code);
    assert_true(event->last);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->buffers, 0);
}

static void expect_failed(struct probe *probe, enum tf_err err)
{
    const struct tf_coap_event *event = probe_event(probe, TF_COAP_EVENT_FAILED);

    assert_non_null(event);
    assert_int_equal(event->err, err);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->buffers, 0);
}

/* Each size of body by each size of block. */
static void test_put_sizes(void **state)
{
    static const size_t sizes[] = {0, 15, 16, 17, 1023, 1024, 1025, 10000};
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    for (unsigned szx = 0; szx <= 6; szx++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t block = (size_t)16 << szx, size = sizes[i];
            probe_clear(probe);
            call(probe, TF_COAP_PUT, size, (uint16_t)block);
            if (size <= block) {
                assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK1), -1);
                assert_int_equal(last(probe)->payload.length, size);
            }
            for (uint32_t number = 0; size > block && number * block < size; number++) {
                bool more = (number + 1) * block < size;
                expect_block1(probe, number, more, szx, more ? block : size - number * block);
                assert_int_equal(probe_uint(last(probe), TF_COAP_SIZE1),
                                 number ? -1 : (int64_t)size);
                assert_int_equal(probe_uint(last(probe), TF_COAP_REQUEST_TAG), -1);
                if (more)
                    answer(probe, (struct answer){.code = TF_COAP_CONTINUE,
                                                  .block1 = BLOCK(number, true, szx),
                                                  .block2 = -1});
            }
            answer(probe, (struct answer){.code = TF_COAP_CHANGED, .block1 = -1, .block2 = -1});
            expect_done(probe, TF_COAP_CHANGED);
        }
    }
    probe_free(probe);
}

/* A smaller size in the answer: the number is of the new size, the place the same (2.3). */
static void test_put_smaller(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    call(probe, TF_COAP_PUT, 3000, 0);
    expect_block1(probe, 0, true, 6, 1024);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(0, 1, 4), .block2 = -1});
    expect_block1(probe, 4, true, 4, 256);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(4, 1, 4), .block2 = -1});
    expect_block1(probe, 5, true, 4, 256);
    /* Larger again: not taken up. */
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(5, 1, 6), .block2 = -1});
    expect_block1(probe, 6, true, 4, 256);
    answer(probe, (struct answer){TF_COAP_BAD_REQUEST, .block1 = -1, .block2 = -1});
    expect_done(probe, TF_COAP_BAD_REQUEST);
    probe_free(probe);
}

/* 4.13 with a smaller size: again with that; without: that is the answer (2.9.3). */
static void test_put_too_large(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    call(probe, TF_COAP_PUT, 3000, 0);
    answer(probe, (struct answer){TF_COAP_TOO_LARGE, .block1 = BLOCK(0, 1, 2), .block2 = -1});
    expect_block1(probe, 0, true, 2, 64);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(0, 1, 2), .block2 = -1});
    expect_block1(probe, 1, true, 2, 64);
    answer(probe, (struct answer){TF_COAP_TOO_LARGE, .block1 = BLOCK(1, 1, 2), .block2 = -1});
    expect_done(probe, TF_COAP_TOO_LARGE);
    /* A body of one datagram that the server takes in blocks only. */
    call(probe, TF_COAP_PUT, 1000, 0);
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK1), -1);
    answer(probe, (struct answer){TF_COAP_TOO_LARGE, .block1 = BLOCK(0, 0, 5), .block2 = -1});
    expect_block1(probe, 0, true, 5, 512);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(0, 1, 5), .block2 = -1});
    expect_block1(probe, 1, false, 5, 488);
    answer(probe, (struct answer){TF_COAP_CHANGED, .block1 = BLOCK(1, 0, 5), .block2 = -1});
    expect_done(probe, TF_COAP_CHANGED);
    probe_free(probe);
}

/* 4.08: from the beginning, once. */
static void test_put_incomplete(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    call(probe, TF_COAP_PUT, 100, 16);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(0, 1, 0), .block2 = -1});
    answer(probe, (struct answer){TF_COAP_INCOMPLETE, .block1 = -1, .block2 = -1});
    expect_block1(probe, 0, true, 0, 16);
    answer(probe, (struct answer){TF_COAP_INCOMPLETE, .block1 = -1, .block2 = -1});
    expect_done(probe, TF_COAP_INCOMPLETE);
    probe_free(probe);
}

/* Answers that make no sense to a body under way. */
static void test_put_nonsense(void **state)
{
    static const struct answer bad[] = {
        {TF_COAP_CONTINUE, .block1 = -1, .block2 = -1},
        {TF_COAP_CONTINUE, .block1 = BLOCK(1, 1, 0), .block2 = -1},
        {TF_COAP_CHANGED, .block1 = -1, .block2 = -1},
    };
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        probe_clear(probe);
        call(probe, TF_COAP_PUT, 100, 16);
        answer(probe, bad[i]);
        expect_failed(probe, TF_PROTOCOL);
    }
    /* 2.31 to the last one. */
    call(probe, TF_COAP_PUT, 17, 16);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(0, 1, 0), .block2 = -1});
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(1, 0, 0), .block2 = -1});
    expect_failed(probe, TF_PROTOCOL);
    /* A server that uses each block by itself: go on (2.3). */
    call(probe, TF_COAP_PUT, 17, 16);
    answer(probe, (struct answer){TF_COAP_CHANGED, .block1 = BLOCK(0, 0, 0), .block2 = -1});
    expect_block1(probe, 1, false, 0, 1);
    answer(probe, (struct answer){TF_COAP_CHANGED, .block1 = BLOCK(1, 0, 0), .block2 = -1});
    expect_done(probe, TF_COAP_CHANGED);
    probe_free(probe);
}

/* Two bodies under way to one server are told apart (RFC 9175 3). */
static void test_put_tags(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.nstart = 2;
    struct probe *probe = probe_new(&config, NULL);
    call(probe, TF_COAP_PUT, 100, 16);
    assert_int_equal(probe_uint(last(probe), TF_COAP_REQUEST_TAG), -1);
    call(probe, TF_COAP_PUT, 100, 16);
    int64_t tag = probe_uint(last(probe), TF_COAP_REQUEST_TAG);
    assert_true(tag >= 0);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(0, 1, 0), .block2 = -1});
    expect_block1(probe, 1, true, 0, 16);
    assert_int_equal(probe_uint(last(probe), TF_COAP_REQUEST_TAG), tag);
    probe_free(probe);
}

/* Each size of answer by each size of block: runs in order, and nothing but the path repeated. */
static void test_get_sizes(void **state)
{
    static const size_t sizes[] = {0, 15, 16, 17, 1023, 1024, 1025, 10000};
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    for (unsigned szx = 0; szx <= 6; szx++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t block = (size_t)16 << szx, size = sizes[i], at = 0;
            uint64_t handle = call(probe, TF_COAP_GET, 0, 0);
            bool more = true;
            assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), -1);
            for (uint32_t number = 0; more; number++, at += block) {
                more = at + block < size;
                answer(probe, (struct answer){.code = TF_COAP_CONTENT,
                                              .block1 = -1,
                                              .block2 = BLOCK(number, more, szx),
                                              .size2 = number ? 0 : (int64_t)size,
                                              .etag = "e",
                                              .offset = at,
                                              .length = more ? block : size - at,
                                              .seed = szx});
                const struct tf_coap_event *event = probe_event(probe, TF_COAP_EVENT_RESPONSE);
                assert_int_equal(event->handle, handle);
                assert_int_equal(event->offset, at);
                assert_int_equal(event->more, more);
                assert_int_equal(event->last, !more);
                assert_int_equal(event->total, number ? 0 : size);
                assert_true(pattern_is(event->body, at, szx));
                if (more) {
                    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2),
                                     BLOCK(number + 1, 0, szx));
                    assert_true(tf_bytes_equal(probe_option(last(probe), TF_COAP_URI_PATH),
                                               tf_bytes_str("x")));
                }
            }
            expect_done(probe, TF_COAP_CONTENT);
        }
    }
    probe_free(probe);
}

static struct answer part(uint32_t number, bool more, unsigned szx, size_t length, const char *etag)
{
    return (struct answer){.code = TF_COAP_CONTENT,
                           .block1 = -1,
                           .block2 = BLOCK(number, more, szx),
                           .etag = etag,
                           .offset = (size_t)number << (szx + 4),
                           .length = length};
}

/* A wish for small blocks; a server that makes them smaller still, at the start and in the middle.
 */
static void test_get_smaller(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    call(probe, TF_COAP_GET, 0, 256);
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), BLOCK(0, 0, 4));
    answer(probe, part(0, true, 2, 64, NULL));
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), BLOCK(1, 0, 2));
    answer(probe, part(1, true, 2, 64, NULL));
    answer(probe, part(8, true, 0, 16, NULL)); /* 2 asked for: 128 = 8 * 16 */
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_RESPONSE)->offset, 128);
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), BLOCK(9, 0, 0));
    answer(probe, part(9, false, 0, 1, NULL));
    expect_done(probe, TF_COAP_CONTENT);
    probe_free(probe);
}

/* The resource changes: from the beginning; for ever: TF_LIMIT. */
static void test_get_changes(void **state)
{
    static const char *const etags[] = {"a", "b", "c", "d", "e"};
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    call(probe, TF_COAP_GET, 0, 0);
    answer(probe, part(0, true, 0, 16, "a"));
    answer(probe, part(1, true, 0, 16, "b"));
    assert_null(probe_event(probe, TF_COAP_EVENT_RESPONSE));
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), BLOCK(0, 0, 0));
    answer(probe, part(0, true, 0, 16, "b"));
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_RESPONSE)->offset, 0);
    answer(probe, part(1, false, 0, 3, "b"));
    expect_done(probe, TF_COAP_CONTENT);
    call(probe, TF_COAP_GET, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        answer(probe, part(0, true, 0, 16, etags[i]));
        answer(probe, part(1, true, 0, 16, etags[i + 1]));
    }
    expect_failed(probe, TF_LIMIT);
    /* It has become short meanwhile. */
    call(probe, TF_COAP_GET, 0, 0);
    answer(probe, part(0, true, 0, 16, "a"));
    answer(probe, (struct answer){TF_COAP_CONTENT, .block1 = -1, .block2 = -1, .length = 5});
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_RESPONSE)->offset, 0);
    expect_done(probe, TF_COAP_CONTENT);
    /* It has become shorter: the server knows no such block. */
    call(probe, TF_COAP_GET, 0, 0);
    answer(probe, part(0, true, 0, 16, "a"));
    answer(probe, (struct answer){TF_COAP_BAD_REQUEST, .block1 = -1, .block2 = -1});
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), BLOCK(0, 0, 0));
    answer(probe, part(0, false, 0, 3, "b"));
    expect_done(probe, TF_COAP_CONTENT);
    /* It is not there any more. */
    call(probe, TF_COAP_GET, 0, 0);
    answer(probe, part(0, true, 0, 16, "a"));
    answer(probe, (struct answer){TF_COAP_NOT_FOUND, .block1 = -1, .block2 = -1});
    expect_done(probe, TF_COAP_NOT_FOUND);
    probe_free(probe);
}

/* Blocks that cannot be. */
static void test_get_nonsense(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    call(probe, TF_COAP_GET, 0, 0);
    answer(probe, part(1, true, 0, 16, NULL));
    expect_failed(probe, TF_PROTOCOL);
    call(probe, TF_COAP_GET, 0, 0);
    answer(probe, part(0, true, 0, 15, NULL));
    expect_failed(probe, TF_PROTOCOL);
    call(probe, TF_COAP_GET, 0, 0);
    answer(probe, part(0, true, 7, 1024, NULL));
    expect_failed(probe, TF_PROTOCOL);
    /* An answer that belongs to a body which is not under way any more. */
    call(probe, TF_COAP_POST, 20, 0);
    answer(probe, part(0, true, 0, 16, NULL));
    answer(probe, (struct answer){TF_COAP_TOO_LARGE, .block1 = BLOCK(0, 1, 0), .block2 = -1});
    expect_done(probe, TF_COAP_TOO_LARGE);
    /* A gap, again and again. */
    call(probe, TF_COAP_GET, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        answer(probe, part(0, true, 0, 16, NULL));
        answer(probe, part(2, true, 0, 16, NULL));
    }
    expect_failed(probe, TF_LIMIT);
    probe_free(probe);
}

/* Blocks both ways; what was done is not asked for twice (3.3). */
static void test_post_both_ways(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    call(probe, TF_COAP_POST, 40, 32);
    expect_block1(probe, 0, true, 1, 32);
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), -1);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(0, 1, 1), .block2 = -1});
    expect_block1(probe, 1, false, 1, 8);
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), BLOCK(0, 0, 1));
    struct answer first = part(0, true, 1, 32, "a");
    first.block1 = BLOCK(1, 0, 1);
    answer(probe, first);
    assert_int_equal(last(probe)->payload.length, 0);
    assert_int_equal(last(probe)->code, TF_COAP_POST);
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK1), -1);
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), BLOCK(1, 0, 1));
    answer(probe, part(1, true, 1, 32, "a"));
    answer(probe, part(2, false, 1, 3, "b"));
    expect_failed(probe, TF_PROTOCOL);
    probe_free(probe);
}

/* Each block has a token, an exchange and a time-out of its own. */
static void test_time(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);

    (void)state;
    call(probe, TF_COAP_GET, 0, 0);
    for (uint32_t number = 0; number < 20; number++) {
        uint64_t token = 0;
        memcpy(&token, last(probe)->token.data, 8);
        probe_pass(probe, 40 * TF_SECOND);
        assert_true(probe_count(probe, TF_COAP_EVENT_FAILED) == 0);
        answer(probe, part(number, true, 0, 16, NULL));
        assert_memory_not_equal(&token, last(probe)->token.data, 8);
    }
    probe_pass(probe, 100 * TF_SECOND);
    expect_failed(probe, TF_AGAIN);
    probe_free(probe);
}

/* The caller's own blocks: one message each way. */
static void test_raw(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);
    uint8_t buffer[4];
    uint32_t peer = SERVER;
    uint64_t handle;

    (void)state;
    struct tf_coap_option block = {TF_COAP_BLOCK2, tf_coap_uint_value(BLOCK(7, 0, 2), buffer)};
    struct tf_coap_request request = {
        .method = TF_COAP_GET, .raw_blocks = true, .options = &block, .option_count = 1};
    assert_int_equal(tf_coap_call(probe->endpoint, &peer, &request, &handle, probe->now), TF_OK);
    probe_run(probe);
    assert_int_equal(probe_uint(last(probe), TF_COAP_BLOCK2), BLOCK(7, 0, 2));
    answer(probe, part(7, true, 2, 64, NULL));
    expect_done(probe, TF_COAP_CONTENT);
    assert_int_equal(probe->sent_count, 0);
    probe_free(probe);
}

/* What is refused, and leaves nothing behind. */
static void test_misuse(void **state)
{
    struct probe *probe = probe_new(NULL, NULL);
    uint32_t peer = SERVER;
    uint64_t handle;

    (void)state;
    struct tf_coap_request request = {.method = TF_COAP_GET, .block_size = 100};
    assert_int_equal(tf_coap_call(probe->endpoint, &peer, &request, &handle, probe->now),
                     TF_MISUSE);
    request.block_size = 8;
    assert_int_equal(tf_coap_call(probe->endpoint, &peer, &request, &handle, probe->now),
                     TF_MISUSE);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 0);
    /* Cancelled in the middle: nothing follows. */
    handle = call(probe, TF_COAP_PUT, 1000, 16);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(0, 1, 0), .block2 = -1});
    tf_coap_cancel(probe->endpoint, handle, false, probe->now);
    answer(probe, (struct answer){TF_COAP_CONTINUE, .block1 = BLOCK(1, 1, 0), .block2 = -1});
    assert_int_equal(probe->seen_count, 0);
    assert_int_equal(probe->sent_count, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->calls, 0);
    probe_free(probe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_sizes),
        cmocka_unit_test(test_put_smaller),
        cmocka_unit_test(test_put_too_large),
        cmocka_unit_test(test_put_incomplete),
        cmocka_unit_test(test_put_nonsense),
        cmocka_unit_test(test_put_tags),
        cmocka_unit_test(test_get_sizes),
        cmocka_unit_test(test_get_smaller),
        cmocka_unit_test(test_get_changes),
        cmocka_unit_test(test_get_nonsense),
        cmocka_unit_test(test_post_both_ways),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
