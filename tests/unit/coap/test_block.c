/*
 * Block-wise transfers, the server's side (RFC 7959, RFC 9175 3): bodies cut for GET, bodies taken
 * block by block, long answers kept by reference, and what a peer may get wrong.
 */
#include "unit/coap/probe.h"

#define BODY_MAX 65536u

/* What the application of these tests does, and what it has got. */
struct app {
    size_t size;      /* of the representation */
    unsigned seed;    /* of its bytes */
    uint64_t owner;   /* lent in answers to POST */
    uint8_t code;     /* of the answer to a request with a body */
    uint8_t early;    /* answered at the first run, if not 0 */
    const char *etag; /* of the representation */
    bool later;       /* answers are given by the test itself */
    uint64_t request; /* the last one */
    bool borrowed;
    struct tf_bytes pieces[2]; /* of the representation; lent with it */
    size_t received, bodies;
    uint8_t body[2 * BODY_MAX];
    uint8_t representation[BODY_MAX];
};

static void app_respond(struct probe *probe, uint64_t request, uint8_t code, bool body)
{
    struct app *app = probe->user;
    struct tf_coap_option etag = {TF_COAP_ETAG, {NULL, 0}};
    struct tf_bytes *pieces = app->pieces;

    if (app->etag)
        etag.value = tf_bytes_of(app->etag, strlen(app->etag));
    pattern_fill(app->representation, app->size, app->seed);
    /* Two pieces, so that a block spans them. */
    pieces[0] = tf_bytes_of(app->representation, app->size / 3);
    pieces[1] = tf_bytes_of(app->representation + app->size / 3, app->size - app->size / 3);
    struct tf_coap_response response = {
        .code = code,
        .options = &etag,
        .option_count = app->etag && body ? 1 : 0,
        .body = pieces,
        .body_count = body ? 2 : 0,
        .owner = app->owner,
    };
    assert_int_equal(
        tf_coap_respond(probe->endpoint, request, &response, NULL, &app->borrowed, probe->now),
        TF_OK);
}

static void app_run(struct probe *probe, const struct tf_coap_event *event)
{
    struct app *app = probe->user;

    if (event->type == TF_COAP_EVENT_REQUEST) {
        app->request = event->handle;
        app->received = 0;
        assert_int_equal(event->offset, 0);
    } else if (event->type != TF_COAP_EVENT_BODY) {
        return;
    }
    assert_int_equal(event->handle, app->request);
    assert_int_equal(event->offset, app->received);
    assert_true(app->received + event->body.length <= sizeof(app->body));
    if (event->body.length)
        memcpy(app->body + app->received, event->body.data, event->body.length);
    app->received += event->body.length;
    if (app->early) {
        app_respond(probe, event->handle, app->early, false);
        return;
    }
    if (event->more || app->later)
        return;
    app->bodies++;
    if (event->message.code == TF_COAP_GET)
        app_respond(probe, event->handle, TF_COAP_CONTENT, true);
    else
        app_respond(probe, event->handle, app->code ? app->code : TF_COAP_CHANGED, app->size > 0);
}

static struct probe *start(const struct tf_coap_endpoint_config *config)
{
    struct probe *probe = probe_new(config, app_run);

    probe->user = calloc(1, sizeof(struct app));
    return probe;
}

static void finish(struct probe *probe)
{
    free(probe->user);
    probe_free(probe);
}

/* GET of block `number`; a Block2 option unless `szx` is -1. The answer. */
static const struct tf_coap_message *get_block(struct probe *probe, uint32_t number, int szx)
{
    struct packet packet;

    probe_clear(probe);
    packet_start(probe, &packet, TF_COAP_CON, TF_COAP_GET, 7);
    packet_text(&packet, TF_COAP_URI_PATH, "large");
    if (szx >= 0)
        packet_block(&packet, TF_COAP_BLOCK2, number, false, (unsigned)szx);
    packet_feed(probe, 1, &packet);
    return &probe_only(probe)->message;
}

/* A block of a PUT (or other method); the answer. */
static const struct tf_coap_message *put_block(struct probe *probe, uint32_t peer, uint8_t method,
                                               const char *tag, uint32_t number, bool more,
                                               unsigned szx, size_t total, size_t length)
{
    static uint8_t body[2 * BODY_MAX];
    struct packet packet;

    probe_clear(probe);
    pattern_fill(body, sizeof(body), 3);
    packet_start(probe, &packet, TF_COAP_CON, method, 9);
    packet_text(&packet, TF_COAP_URI_PATH, "large");
    packet_block(&packet, TF_COAP_BLOCK1, number, more, szx);
    if (total)
        packet_uint(&packet, TF_COAP_SIZE1, (uint32_t)total);
    if (tag)
        packet_text(&packet, TF_COAP_REQUEST_TAG, tag);
    packet_payload(&packet, body + ((size_t)number << (szx + 4)), length);
    packet_feed(probe, peer, &packet);
    return probe->sent_count ? &probe_last(probe)->message : NULL;
}

/* All of a body of `size` bytes. The last answer. */
static const struct tf_coap_message *put_all(struct probe *probe, uint32_t peer, uint8_t method,
                                             const char *tag, unsigned szx, size_t size)
{
    const struct tf_coap_message *message = NULL;
    size_t block = (size_t)16 << szx;
    uint32_t number = 0;

    for (size_t at = 0; at < size || !at; at += block, number++) {
        bool more = at + block < size;
        message =
            put_block(probe, peer, method, tag, number, more, szx, 0, more ? block : size - at);
        assert_non_null(message);
        assert_int_equal(probe_uint(message, TF_COAP_BLOCK1),
                         number << 4 | (uint32_t)more << 3 | szx);
        if (more)
            assert_int_equal(message->code, TF_COAP_CONTINUE);
    }
    return message;
}

static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 1023, 1024, 1025, 2048, 10000};

/* Each size of body by each size of block, in order. */
static void test_get_sizes(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    for (unsigned szx = 0; szx <= 6; szx++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t got = 0, block = (size_t)16 << szx;
            app->size = sizes[i];
            app->seed = szx;
            for (uint32_t number = 0;; number++) {
                const struct tf_coap_message *message = get_block(probe, number, (int)szx);
                assert_int_equal(message->code, TF_COAP_CONTENT);
                assert_int_equal(message->type, TF_COAP_ACK);
                bool more = (size_t)(number + 1) * block < app->size;
                assert_int_equal(probe_uint(message, TF_COAP_BLOCK2),
                                 number << 4 | (uint32_t)more << 3 | szx);
                assert_true(pattern_is(message->payload, got, szx));
                got += message->payload.length;
                if (more)
                    assert_int_equal(message->payload.length, block);
                assert_int_equal(probe_uint(message, TF_COAP_SIZE2),
                                 !number && more ? (int64_t)app->size : -1);
                if (!more)
                    break;
            }
            assert_int_equal(got, app->size);
        }
    }
    finish(probe);
}

/* Without a wish: one datagram if it fits into one block, else the first of ours. */
static void test_get_late(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();
    const struct tf_coap_message *message;

    (void)state;
    config.block_szx = 2;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    app->size = 64;
    message = get_block(probe, 0, -1);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), -1);
    assert_int_equal(message->payload.length, 64);
    app->size = 65;
    message = get_block(probe, 0, -1);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 8 | 2);
    assert_int_equal(probe_uint(message, TF_COAP_SIZE2), 65);
    assert_int_equal(message->payload.length, 64);
    /* A wish above ours: the offset counts, the size is ours. */
    app->size = 10000;
    message = get_block(probe, 3, 6);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 48 << 4 | 8 | 2);
    assert_true(pattern_is(message->payload, 3072, 0));
    /* Below: the client's. */
    message = get_block(probe, 3, 0);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 3 << 4 | 8);
    assert_int_equal(message->payload.length, 16);
    finish(probe);
}

/* Any block in any order; none past the end; SZX 7 never. */
static void test_get_random_access(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    const struct tf_coap_message *message;

    (void)state;
    app->size = 1000;
    app->etag = "abc";
    static const uint32_t order[] = {15, 0, 7, 3, 14, 15};
    for (size_t i = 0; i < 6; i++) {
        message = get_block(probe, order[i], 2);
        assert_int_equal(message->code, TF_COAP_CONTENT);
        assert_true(pattern_is(message->payload, order[i] * 64, 0));
        assert_true(tf_bytes_equal(probe_option(message, TF_COAP_ETAG), tf_bytes_str("abc")));
    }
    message = get_block(probe, 16, 2);
    assert_int_equal(message->code, TF_COAP_BAD_REQUEST);
    assert_int_equal(message->payload.length, 0);
    message = get_block(probe, TF_COAP_BLOCK_NUM_MAX, 6);
    assert_int_equal(message->code, TF_COAP_BAD_REQUEST);
    app->size = 0;
    assert_int_equal(get_block(probe, 0, 2)->code, TF_COAP_CONTENT);
    assert_int_equal(get_block(probe, 1, 2)->code, TF_COAP_BAD_REQUEST);
    size_t before = app->bodies;
    assert_int_equal(get_block(probe, 0, 7)->code, TF_COAP_BAD_REQUEST);
    assert_int_equal(app->bodies, before);
    finish(probe);
}

/* Size2 is told when it is asked for. */
static void test_get_size2(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    struct packet packet;

    (void)state;
    app->size = 500;
    for (uint32_t number = 0; number < 3; number++) {
        probe_clear(probe);
        packet_start(probe, &packet, TF_COAP_CON, TF_COAP_GET, 7);
        packet_text(&packet, TF_COAP_URI_PATH, "large");
        packet_block(&packet, TF_COAP_BLOCK2, number, false, 2);
        packet_uint(&packet, TF_COAP_SIZE2, 0);
        packet_feed(probe, 1, &packet);
        assert_int_equal(probe_uint(&probe_only(probe)->message, TF_COAP_SIZE2), 500);
    }
    finish(probe);
}

/* Each size of body by each size of block comes whole, in runs. */
static void test_put_sizes(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    for (unsigned szx = 0; szx <= 6; szx++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            const struct tf_coap_message *message =
                put_all(probe, 1, TF_COAP_PUT, NULL, szx, sizes[i]);
            assert_int_equal(message->code, TF_COAP_CHANGED);
            assert_int_equal(app->received, sizes[i]);
            assert_true(pattern_is(tf_bytes_of(app->body, app->received), 0, 3));
            assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->requests, 0);
            assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->transfers, 0);
        }
    }
    finish(probe);
}

/* A smaller size is asked for in the first answer; what came already counts. */
static void test_put_smaller(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();
    const struct tf_coap_message *message;

    (void)state;
    config.block_szx = 3;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    message = put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 6, 0, 1024);
    assert_int_equal(message->code, TF_COAP_CONTINUE);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK1), 8 | 3);
    message = put_block(probe, 1, TF_COAP_PUT, NULL, 8, true, 3, 0, 128);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK1), 8 << 4 | 8 | 3);
    /* The client may go on smaller still (2.3), in the middle too. */
    message = put_block(probe, 1, TF_COAP_PUT, NULL, 72, true, 0, 0, 16);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK1), 72 << 4 | 8);
    message = put_block(probe, 1, TF_COAP_PUT, NULL, 73, false, 0, 0, 1);
    assert_int_equal(message->code, TF_COAP_CHANGED);
    assert_int_equal(app->received, 1024 + 128 + 16 + 1);
    assert_true(pattern_is(tf_bytes_of(app->body, app->received), 0, 3));
    finish(probe);
}

/* A gap, a block of the wrong size, the middle of nothing: 4.08, and the body is given up. */
static void test_put_gaps(void **state)
{
    struct probe *probe = start(NULL);

    (void)state;
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 4, true, 2, 0, 64)->code,
                     TF_COAP_INCOMPLETE);
    put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64);
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 2, true, 2, 0, 64)->code,
                     TF_COAP_INCOMPLETE);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_CANCELLED), 1);
    put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64);
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 1, true, 2, 0, 63)->code,
                     TF_COAP_INCOMPLETE);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_CANCELLED), 1);
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 65)->code,
                     TF_COAP_INCOMPLETE);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_REQUEST), 0);
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 7, 0, 64)->code,
                     TF_COAP_BAD_REQUEST);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->transfers, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->requests, 0);
    finish(probe);
}

/* A block that came already (in a datagram of its own) is acknowledged and not given twice. */
static void test_put_repeat(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64);
    put_block(probe, 1, TF_COAP_PUT, NULL, 1, true, 2, 0, 64);
    const struct tf_coap_message *message =
        put_block(probe, 1, TF_COAP_PUT, NULL, 1, true, 2, 0, 64);
    assert_int_equal(message->code, TF_COAP_CONTINUE);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK1), 1 << 4 | 8 | 2);
    assert_int_equal(probe->seen_count, 0);
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 2, false, 2, 0, 10)->code,
                     TF_COAP_CHANGED);
    assert_int_equal(app->received, 138);
    finish(probe);
}

/* The very same datagram twice: the same answer, and no second run (RFC 7252 4.5). */
static void test_put_duplicate(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    uint8_t body[64];

    (void)state;
    pattern_fill(body, sizeof(body), 3);
    for (uint32_t number = 0; number < 3; number++) {
        struct packet packet;
        probe_clear(probe);
        packet_start(probe, &packet, TF_COAP_CON, TF_COAP_PUT, 5);
        packet_block(&packet, TF_COAP_BLOCK1, number, number < 2, 2);
        packet_payload(&packet, body, sizeof(body));
        packet_feed(probe, 1, &packet);
        packet_feed(probe, 1, &packet);
        assert_int_equal(probe->sent_count, 2);
        assert_int_equal(probe->seen_count, 1);
        assert_true(tf_bytes_equal(tf_bytes_of(probe->sent[0].bytes, probe->sent[0].length),
                                   tf_bytes_of(probe->sent[1].bytes, probe->sent[1].length)));
    }
    assert_int_equal(app->bodies, 1);
    finish(probe);
}

/* Above body_max: 4.13 with Size1, at once when the size is announced. */
static void test_put_too_large(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();
    const struct tf_coap_message *message;

    (void)state;
    config.body_max = 100;
    struct probe *probe = start(&config);
    message = put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 101, 64);
    assert_int_equal(message->code, TF_COAP_TOO_LARGE);
    assert_int_equal(probe_uint(message, TF_COAP_SIZE1), 100);
    assert_int_equal(probe->seen_count, 0);
    message = put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 100, 64);
    assert_int_equal(message->code, TF_COAP_CONTINUE);
    message = put_block(probe, 1, TF_COAP_PUT, NULL, 1, false, 2, 0, 37);
    assert_int_equal(message->code, TF_COAP_TOO_LARGE);
    assert_int_equal(probe_uint(message, TF_COAP_SIZE1), 100);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_CANCELLED), 1);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->transfers, 0);
    finish(probe);
}

/* Bodies of two tags, and of two peers, side by side (RFC 9175 3). */
static void test_put_interleaved(void **state)
{
    static const char *const tags[] = {NULL, "a", "b"};
    uint64_t handles[6];
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    app->later = true;
    for (unsigned i = 0; i < 6; i++) {
        put_block(probe, 1 + i % 2, TF_COAP_PUT, tags[i / 2], 0, true, 0, 0, 16);
        handles[i] = probe_event(probe, TF_COAP_EVENT_REQUEST)->handle;
    }
    for (unsigned i = 0; i < 6; i++) {
        app->request = handles[i];
        app->received = 16;
        put_block(probe, 1 + i % 2, TF_COAP_PUT, tags[i / 2], 1, false, 0, 0, 3);
        assert_int_equal(probe_event(probe, TF_COAP_EVENT_BODY)->handle, handles[i]);
        assert_false(probe_event(probe, TF_COAP_EVENT_BODY)->more);
        app_respond(probe, handles[i], TF_COAP_CHANGED, false);
        probe_run(probe);
        assert_int_equal(probe_uint(&probe_only(probe)->message, TF_COAP_BLOCK1), 1 << 4);
    }
    finish(probe);
}

/* Block 0 again: the body begins anew, the old handle has ended. */
static void test_put_restart(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64);
    uint64_t first = app->request;
    put_block(probe, 1, TF_COAP_PUT, NULL, 1, true, 2, 0, 64);
    put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64);
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_CANCELLED)->handle, first);
    assert_true(app->request != first);
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 1, false, 2, 0, 64)->code,
                     TF_COAP_CHANGED);
    assert_int_equal(app->received, 128);
    finish(probe);
}

/* A body whose next block does not come is given up after body_timeout_ms. */
static void test_put_timeout(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.body_timeout_ms = 10000;
    struct probe *probe = start(&config);
    put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64);
    probe_pass(probe, 9 * TF_SECOND);
    put_block(probe, 1, TF_COAP_PUT, NULL, 1, true, 2, 0, 64);
    probe_pass(probe, 9 * TF_SECOND);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_CANCELLED), 0);
    probe_pass(probe, 2 * TF_SECOND);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_CANCELLED), 1);
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 2, true, 2, 0, 64)->code,
                     TF_COAP_INCOMPLETE);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->requests, 0);
    finish(probe);
}

/* An error at the first run is the answer to that block, and ends the body. */
static void test_put_early(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    app->early = TF_COAP_FORBIDDEN;
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64)->code,
                     TF_COAP_FORBIDDEN);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->transfers, 0);
    /* Between two blocks: the next one hears of it. */
    app->early = 0;
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64)->code,
                     TF_COAP_CONTINUE);
    probe_clear(probe);
    app_respond(probe, app->request, TF_COAP_PRECONDITION_FAILED, false);
    probe_run(probe);
    assert_int_equal(probe->sent_count, 0);
    assert_int_equal(put_block(probe, 1, TF_COAP_PUT, NULL, 1, true, 2, 0, 64)->code,
                     TF_COAP_PRECONDITION_FAILED);
    assert_int_equal(probe->seen_count, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->transfers, 0);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->requests, 0);
    finish(probe);
}

/* No room for another body: 5.03; one that has been idle for long gives way. */
static void test_put_table_full(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();

    (void)state;
    config.transfers = 2;
    struct probe *probe = start(&config);
    put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64);
    probe_pass(probe, TF_SECOND);
    put_block(probe, 2, TF_COAP_PUT, NULL, 0, true, 2, 0, 64);
    assert_int_equal(put_block(probe, 3, TF_COAP_PUT, NULL, 0, true, 2, 0, 64)->code,
                     TF_COAP_UNAVAILABLE);
    probe_pass(probe, 30 * TF_SECOND);
    assert_int_equal(put_block(probe, 3, TF_COAP_PUT, NULL, 0, true, 2, 0, 64)->code,
                     TF_COAP_CONTINUE);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_CANCELLED), 1);
    assert_int_equal(tf_coap_endpoint_counters(probe->endpoint)->transfers, 2);
    finish(probe);
}

/* A follow-up of a POST: block `number` of its answer. */
static const struct tf_coap_message *post_more(struct probe *probe, uint32_t peer, uint32_t number,
                                               unsigned szx)
{
    struct packet packet;

    probe_clear(probe);
    packet_start(probe, &packet, TF_COAP_CON, TF_COAP_POST, 77);
    packet_text(&packet, TF_COAP_URI_PATH, "large");
    packet_block(&packet, TF_COAP_BLOCK2, number, false, szx);
    packet_feed(probe, peer, &packet);
    return &probe_only(probe)->message;
}

/* The answer to a POST in blocks both ways: kept by reference, given back once (3.3). */
static void test_post_both_ways(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    const struct tf_coap_message *message;

    (void)state;
    app->size = 300;
    app->seed = 5;
    app->owner = 4711;
    app->etag = "xy";
    app->code = TF_COAP_CONTENT;
    message = put_all(probe, 1, TF_COAP_POST, NULL, 2, 200);
    assert_int_equal(message->code, TF_COAP_CONTENT);
    assert_int_equal(message->payload.length, 300); /* one block of ours */
    assert_false(app->borrowed);
    app->size = 3000;
    message = put_all(probe, 1, TF_COAP_POST, NULL, 2, 200);
    assert_true(app->borrowed);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 8 | 6);
    assert_int_equal(probe_uint(message, TF_COAP_SIZE2), 3000);
    assert_true(pattern_is(message->payload, 0, 5));
    size_t bodies = app->bodies;
    message = post_more(probe, 1, 1, 6);
    assert_int_equal(message->code, TF_COAP_CONTENT);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 1 << 4 | 8 | 6);
    assert_true(pattern_is(message->payload, 1024, 5));
    assert_true(tf_bytes_equal(probe_option(message, TF_COAP_ETAG), tf_bytes_str("xy")));
    /* The client makes them smaller. */
    message = post_more(probe, 1, 8, 4);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 8 << 4 | 8 | 4);
    assert_true(pattern_is(message->payload, 2048, 5));
    message = post_more(probe, 1, 11, 4);
    assert_int_equal(probe_uint(message, TF_COAP_BLOCK2), 11 << 4 | 4);
    assert_int_equal(message->payload.length, 3000 - 11 * 256);
    assert_int_equal(post_more(probe, 1, 12, 4)->code, TF_COAP_BAD_REQUEST);
    assert_int_equal(post_more(probe, 2, 1, 4)->code, TF_COAP_INCOMPLETE);
    assert_int_equal(app->bodies, bodies);
    probe_clear(probe);
    probe_pass(probe, 300 * TF_SECOND);
    assert_int_equal(probe_count(probe, TF_COAP_EVENT_RETURNED), 1);
    assert_int_equal(probe_event(probe, TF_COAP_EVENT_RETURNED)->owner, 4711);
    assert_int_equal(post_more(probe, 1, 1, 6)->code, TF_COAP_INCOMPLETE);
    finish(probe);
}

/* A newer answer of the same key, and one too many: each body comes back once. */
static void test_post_returned(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();
    size_t returned[16] = {0};

    (void)state;
    config.transfers = 3;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    app->size = 2000;
    app->code = TF_COAP_CONTENT;
    for (uint32_t i = 0; i < 16; i++) {
        app->owner = i + 1;
        struct packet packet;
        probe_clear(probe);
        packet_start(probe, &packet, TF_COAP_CON, TF_COAP_POST, i);
        packet_text(&packet, TF_COAP_URI_PATH, "large");
        packet_feed(probe, i < 4 ? 1 : i, &packet);
        assert_true(app->borrowed);
        assert_int_equal(probe_last(probe)->message.code, TF_COAP_CONTENT);
        for (size_t j = 0; j < probe->seen_count; j++) {
            if (probe->seen[j].event.type == TF_COAP_EVENT_RETURNED)
                returned[probe->seen[j].event.owner - 1]++;
        }
        probe_pass(probe, TF_MILLISECOND);
    }
    probe_clear(probe);
    probe_pass(probe, 600 * TF_SECOND);
    for (size_t j = 0; j < probe->seen_count; j++) {
        if (probe->seen[j].event.type == TF_COAP_EVENT_RETURNED)
            returned[probe->seen[j].event.owner - 1]++;
    }
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(returned[i], 1);
    finish(probe);
}

/* A long answer to a POST without an owner is a mistake, which changes nothing. */
static void test_post_no_owner(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;
    struct packet packet;

    (void)state;
    app->later = true;
    app->size = 2000;
    packet_start(probe, &packet, TF_COAP_CON, TF_COAP_POST, 1);
    packet_feed(probe, 1, &packet);
    struct tf_bytes piece = tf_bytes_of(app->representation, 2000);
    struct tf_coap_response response = {.code = TF_COAP_CONTENT, .body = &piece, .body_count = 1};
    assert_int_equal(
        tf_coap_respond(probe->endpoint, app->request, &response, NULL, NULL, probe->now),
        TF_MISUSE);
    response.body_count = 0;
    assert_int_equal(
        tf_coap_respond(probe->endpoint, app->request, &response, NULL, NULL, probe->now), TF_OK);
    finish(probe);
}

/* What goes to an address that has not been proved stays small, follow-ups too (RFC 9175 2.4). */
static void test_unproved(void **state)
{
    struct tf_coap_endpoint_config config = probe_config();
    const struct tf_coap_message *message;
    struct packet packet;

    (void)state;
    config.features.echo_server = &tf_coap_echo_server;
    struct probe *probe = start(&config);
    struct app *app = probe->user;
    app->size = 3000;
    app->owner = 1;
    app->code = TF_COAP_CONTENT;
    packet_start(probe, &packet, TF_COAP_CON, TF_COAP_POST, 1);
    packet_text(&packet, TF_COAP_URI_PATH, "large");
    packet_feed(probe, 1, &packet);
    assert_true(probe_only(probe)->length <= 136);
    assert_true(app->borrowed);
    message = post_more(probe, 1, 1, 6);
    assert_int_equal(message->code, TF_COAP_CONTENT);
    assert_true(probe_only(probe)->length <= 136);
    assert_true(pattern_is(message->payload, 1024, 0));
    /* A GET: small blocks and an Echo; with it the address is proved. */
    message = get_block(probe, 0, -1);
    assert_true(probe_only(probe)->length <= 136);
    assert_true(probe_uint(message, TF_COAP_BLOCK2) >= 0);
    uint8_t echo[40];
    size_t length = probe_option(message, TF_COAP_ECHO).length;
    assert_true(length > 0);
    memcpy(echo, probe_option(message, TF_COAP_ECHO).data, length);
    probe_clear(probe);
    packet_start(probe, &packet, TF_COAP_CON, TF_COAP_GET, 1);
    packet_text(&packet, TF_COAP_URI_PATH, "large");
    tf_coap_encode_option(&packet.encoder, TF_COAP_ECHO, tf_bytes_of(echo, length));
    packet_feed(probe, 1, &packet);
    assert_int_equal(probe_only(probe)->message.payload.length, 1024);
    assert_int_equal(post_more(probe, 1, 1, 6)->payload.length, 1024);
    finish(probe);
}

/* The answer comes late: the last block gets its empty ACK, then the answer as a CON. */
static void test_put_separate(void **state)
{
    struct probe *probe = start(NULL);
    struct app *app = probe->user;

    (void)state;
    app->later = true;
    put_block(probe, 1, TF_COAP_PUT, NULL, 0, true, 2, 0, 64);
    assert_int_equal(probe_only(probe)->message.code, TF_COAP_CONTINUE);
    put_block(probe, 1, TF_COAP_PUT, NULL, 1, false, 2, 0, 5);
    assert_int_equal(probe->sent_count, 0);
    probe_pass(probe, TF_SECOND);
    assert_int_equal(probe_only(probe)->message.code, TF_COAP_EMPTY);
    probe_clear(probe);
    app_respond(probe, app->request, TF_COAP_CHANGED, false);
    probe_run(probe);
    assert_int_equal(probe_only(probe)->message.type, TF_COAP_CON);
    assert_int_equal(probe_only(probe)->message.code, TF_COAP_CHANGED);
    assert_int_equal(probe_uint(&probe_only(probe)->message, TF_COAP_BLOCK1), 1 << 4 | 2);
    finish(probe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_sizes),         cmocka_unit_test(test_get_late),
        cmocka_unit_test(test_get_random_access), cmocka_unit_test(test_get_size2),
        cmocka_unit_test(test_put_sizes),         cmocka_unit_test(test_put_smaller),
        cmocka_unit_test(test_put_gaps),          cmocka_unit_test(test_put_repeat),
        cmocka_unit_test(test_put_duplicate),     cmocka_unit_test(test_put_too_large),
        cmocka_unit_test(test_put_interleaved),   cmocka_unit_test(test_put_restart),
        cmocka_unit_test(test_put_timeout),       cmocka_unit_test(test_put_early),
        cmocka_unit_test(test_put_table_full),    cmocka_unit_test(test_post_both_ways),
        cmocka_unit_test(test_post_returned),     cmocka_unit_test(test_post_no_owner),
        cmocka_unit_test(test_unproved),          cmocka_unit_test(test_put_separate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
