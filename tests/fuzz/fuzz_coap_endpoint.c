/*
 * The CoAP endpoint machine under a fuzzer: the input is a script of steps. Datagrams come from
 * several paths, some made from what the machine has sent so that they match; time passes; the
 * application answers at once, later, wrongly or not at all, observes, calls, cancels. Tables are
 * small, so that all of them fill up. After every step the invariants must hold.
 */
#include <stdlib.h>
#include <string.h>

#include <trefoil/coap_endpoint.h>

#include "base/assert.h"
#include "base/random.h"

#define HELD_MAX 16u
#define OWNERS_MAX 256u
#define SENT_MAX 8u

struct script {
    const uint8_t *next, *end;
};

struct sent {
    uint32_t path;
    size_t length;
    uint8_t bytes[256];
};

struct host {
    struct tf_coap_endpoint_config config;
    struct tf_coap_endpoint *endpoint;
    struct tf_random random;
    tf_time now;
    uint64_t requests[HELD_MAX], calls[HELD_MAX], observers[HELD_MAX];
    unsigned request_count, call_count, observer_count;
    bool lent[OWNERS_MAX];
    unsigned owners;
    struct sent sent[SENT_MAX];
    unsigned sent_count;
    uint8_t mood;
    bool missed; /* a RETURNED was neglected */
    uint32_t sequence;
};

static const uint8_t body_text[3000] = "a body that is longer than a block";

/* The next byte of the script; 0 at its end. */
static uint8_t take(struct script *script)
{
    return script->next < script->end ? *script->next++ : 0;
}

static void fill_random(void *ctx, void *data, size_t length)
{
    tf_random_fill(ctx, data, length);
}

static void remember(uint64_t *list, unsigned *count, uint64_t handle)
{
    if (*count < HELD_MAX)
        list[(*count)++] = handle;
    else
        list[handle % HELD_MAX] = handle;
}

/* A handle of a list by chance; one that was never given when it is empty. */
static uint64_t pick(const uint64_t *list, unsigned count, uint8_t which)
{
    return count ? list[which % count] : which;
}

/* Reads every byte of a view, so that a sanitizer sees one that is wrong. */
static void touch(struct tf_bytes bytes)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < bytes.length; i++)
        sum = (uint8_t)(sum + bytes.data[i]);
}

static void respond(struct host *host, uint64_t request, uint8_t bits, uint8_t more)
{
    static const uint8_t codes[] = {TF_COAP_CONTENT, TF_COAP_CHANGED, TF_COAP_NOT_FOUND,
                                    TF_COAP_CREATED, TF_COAP_GET,     TF_COAP_INTERNAL_ERROR,
                                    TF_COAP_CONTENT, TF_COAP_CONTENT};
    struct tf_coap_option options[] = {{TF_COAP_ETAG, tf_bytes_of("etag", 1 + bits % 4)},
                                       {TF_COAP_CONTENT_FORMAT, tf_bytes_of("2", bits & 1)}};
    struct tf_bytes body = tf_bytes_of(body_text, (size_t)more * more / 24);
    struct tf_coap_response response = {.code = codes[bits & 7],
                                        .options = options,
                                        .option_count = bits >> 3 & 3 ? 2 : 0,
                                        .body = &body,
                                        .body_count = 1,
                                        .observe = bits & 32,
                                        .sequence = host->sequence++};
    uint64_t observer = 0;
    bool borrowed = false;
    unsigned owner = host->owners;

    if (bits & 64 && owner + 1 < OWNERS_MAX)
        response.owner = owner + 1;
    /* A lent body must stay: this one does, its pieces are copied with the owner. */
    struct tf_bytes *stays = NULL;
    if (response.owner) {
        static struct tf_bytes pieces[OWNERS_MAX];
        stays = &pieces[owner];
        *stays = body;
        response.body = stays;
    }
    if (tf_coap_respond(host->endpoint, request, &response, &observer, &borrowed, host->now))
        return;
    if (observer)
        remember(host->observers, &host->observer_count, observer);
    tf_assert(!borrowed || response.owner);
    if (borrowed) {
        host->lent[owner] = true;
        host->owners++;
    }
}

static void on_event(struct host *host, const struct tf_coap_event *event)
{
    touch(event->body);
    touch(event->message.options);
    touch(event->message.token);
    switch (event->type) {
    case TF_COAP_EVENT_REQUEST:
        remember(host->requests, &host->request_count, event->handle);
        if (host->mood & 1)
            respond(host, event->handle, (uint8_t)(host->mood >> 1), (uint8_t)event->handle);
        break;
    case TF_COAP_EVENT_BODY:
        if (!event->more && host->mood & 2)
            respond(host, event->handle, TF_COAP_CONTENT, 3);
        break;
    case TF_COAP_EVENT_RETURNED:
        tf_assert(event->owner && event->owner <= host->owners && host->lent[event->owner - 1]);
        host->lent[event->owner - 1] = false;
        break;
    default:
        break;
    }
}

static void pull(struct host *host)
{
    struct tf_coap_event event;

    while (tf_coap_endpoint_event(host->endpoint, &event)) {
        on_event(host, &event);
        tf_assert(tf_coap_endpoint_check(host->endpoint));
    }
}

/* An application that takes no notice of what it is told. */
static void neglect(struct host *host)
{
    struct tf_coap_event event;

    while (tf_coap_endpoint_event(host->endpoint, &event))
        host->missed |= event.type == TF_COAP_EVENT_RETURNED;
}

static void drain(struct host *host, size_t most)
{
    struct tf_datagram out[2];
    size_t count;

    while (most && (count = tf_coap_endpoint_output(host->endpoint, out, most > 1 ? 2 : 1))) {
        for (size_t i = 0; i < count; i++) {
            struct sent *sent = &host->sent[host->sent_count++ % SENT_MAX];
            touch(out[i].bytes);
            memcpy(&sent->path, out[i].path, sizeof(sent->path));
            sent->length = out[i].bytes.length < 256 ? out[i].bytes.length : 256;
            memcpy(sent->bytes, out[i].bytes.data, sent->length);
        }
        tf_coap_endpoint_sent(host->endpoint, count, host->now);
        most -= count;
    }
}

static void input(struct host *host, uint32_t path, uint8_t flags, const uint8_t *bytes,
                  size_t length)
{
    uint8_t *exact = malloc(length ? length : 1);
    struct tf_datagram in = {&path, tf_bytes_of(exact, length), flags};

    memcpy(exact, bytes, length);
    if (tf_coap_endpoint_input(host->endpoint, &in, host->now) == TF_AGAIN) {
        pull(host);
        drain(host, 100);
        tf_assert(!tf_coap_endpoint_input(host->endpoint, &in, host->now));
    }
    tf_assert(tf_coap_endpoint_check(host->endpoint));
    if (!(host->mood & 128))
        pull(host);
    else
        neglect(host);
    free(exact);
}

/* Something that was sent comes back, changed: ACK, RST, response, or an echo. */
static void reflect(struct host *host, struct script *script)
{
    struct sent sent = host->sent[take(script) % SENT_MAX];
    uint8_t what = take(script), code = take(script);

    if (sent.length < 4)
        return;
    switch (what & 7) {
    case 0:
        sent.bytes[0] = 0x60;
        sent.bytes[1] = 0;
        sent.length = 4;
        break;
    case 1:
        sent.bytes[0] = 0x70;
        sent.bytes[1] = 0;
        sent.length = 4;
        break;
    case 2:
        sent.bytes[0] = (uint8_t)((sent.bytes[0] & 0xCF) | 0x20);
        sent.bytes[1] = code;
        break;
    case 3:
        sent.bytes[1] = code;
        sent.bytes[3] ^= what;
        break;
    case 4:
        sent.bytes[0] = (uint8_t)((sent.bytes[0] & 0xCF) | (what & 0x30));
        sent.bytes[1] = code;
        sent.length = 4u + (sent.bytes[0] & 15u);
        while (sent.length < 60 && script->next < script->end && *script->next != 0xFE)
            sent.bytes[sent.length++] = take(script);
        if (sent.length > 256)
            return;
        break;
    default:
        break;
    }
    input(host, what & 64 ? sent.path + 1 : sent.path, 0, sent.bytes, sent.length);
}

/* A request that is well formed: what bytes at random hardly ever are. */
static void compose(struct host *host, struct script *script)
{
    uint8_t bits = take(script), method = take(script), more = take(script), id = take(script);
    uint8_t bytes[256], token[] = {(uint8_t)(id >> 4 & 3)};
    struct tf_coap_encoder encoder;

    tf_coap_encode(&encoder, bytes, sizeof(bytes), bits & 1 ? TF_COAP_NON : TF_COAP_CON,
                   (uint8_t)(1 + method % 8), id, tf_bytes_of(token, 1));
    if (bits & 2)
        tf_coap_encode_option(&encoder, TF_COAP_ETAG, tf_bytes_of("etag", 1 + more % 4));
    if (bits & 4)
        tf_coap_encode_uint(&encoder, TF_COAP_OBSERVE, more >> 7);
    tf_coap_encode_option(&encoder, TF_COAP_URI_PATH, tf_bytes_of("path", method >> 6));
    if (bits & 8)
        tf_coap_encode_uint(&encoder, TF_COAP_BLOCK2, (more & 0x70u) | (take(script) & 15u));
    if (bits & 16)
        tf_coap_encode_uint(&encoder, TF_COAP_BLOCK1, (more & 0x70u) | (take(script) & 15u));
    if (bits & 32)
        tf_coap_encode_uint(&encoder, TF_COAP_SIZE1, take(script) * 20u);
    if (bits & 64)
        tf_coap_encode_uint(&encoder, TF_COAP_NO_RESPONSE, take(script));
    if (bits & 128)
        tf_coap_encode_option(&encoder, TF_COAP_REQUEST_TAG, tf_bytes_of("tag", more & 3));
    tf_coap_encode_payload(&encoder, tf_bytes_of(body_text, 16u << (more & 3)));
    struct tf_bytes datagram = tf_coap_encoded(&encoder);
    input(host, method >> 4 & 3, 0, datagram.data, datagram.length);
}

static void call(struct host *host, struct script *script)
{
    uint8_t bits = take(script), size = take(script);
    uint32_t path = take(script) & 3;
    static struct tf_bytes body;
    struct tf_coap_option options[] = {{TF_COAP_URI_PATH, tf_bytes_of("path", bits & 3)}};
    struct tf_coap_transmission quick = {.ack_timeout_ms = 100, .max_retransmit = 1};
    struct tf_coap_request request = {.method = (uint8_t)(bits % 9),
                                      .non = bits & 8,
                                      .observe = bits & 16,
                                      .multicast = bits & 32,
                                      .trace = bits & 64,
                                      .block_size = (uint16_t)((size & 7) * 16),
                                      .options = options,
                                      .option_count = 1,
                                      .body = &body,
                                      .body_count = 1,
                                      .transmission = size & 8 ? &quick : NULL,
                                      .timeout_ms = size & 16 ? 500 : 0};
    uint64_t handle;

    body = tf_bytes_of(body_text, 64);
    if (size & 32) {
        static struct tf_bytes large = {body_text, 1500};
        request.body = &large;
    }
    if (size & 128) {
        if (!tf_coap_ping(host->endpoint, &path, NULL, &handle, host->now))
            remember(host->calls, &host->call_count, handle);
    } else if (!tf_coap_call(host->endpoint, &path, &request, &handle, host->now)) {
        remember(host->calls, &host->call_count, handle);
    }
}

static void notify(struct host *host, struct script *script)
{
    uint8_t which = take(script), bits = take(script);
    struct tf_coap_option option = {TF_COAP_CONTENT_FORMAT, tf_bytes_of("1", 1)};
    struct tf_bytes body = tf_bytes_of(body_text, bits & 32 ? 1500 : bits);
    struct tf_coap_response response = {.code = bits & 1 ? TF_COAP_CONTENT : TF_COAP_NOT_FOUND,
                                        .options = &option,
                                        .option_count = bits >> 1 & 1,
                                        .body = &body,
                                        .body_count = 1,
                                        .sequence = host->sequence++};

    if ((bits & 7) == 7)
        response.code = TF_COAP_VALID;
    (void)!tf_coap_notify(host->endpoint, pick(host->observers, host->observer_count, which),
                          &response, host->now);
}

static void step(struct host *host, struct script *script)
{
    uint8_t op = take(script), a, b;
    uint8_t bytes[256];
    size_t length = 0;

    switch (op % 14) {
    case 0:
    case 1:
        a = take(script);
        b = take(script);
        while (length < b && script->next < script->end)
            bytes[length++] = take(script);
        input(host, a & 3, (uint8_t)(a >> 6), bytes, length);
        break;
    case 2:
        host->now += (tf_time)take(script) * take(script) * 10 * TF_MILLISECOND;
        tf_coap_endpoint_tick(host->endpoint, host->now);
        break;
    case 3:
        if (tf_coap_endpoint_deadline(host->endpoint) != TF_TIME_NEVER &&
            tf_coap_endpoint_deadline(host->endpoint) > host->now)
            host->now = tf_coap_endpoint_deadline(host->endpoint);
        tf_coap_endpoint_tick(host->endpoint, host->now);
        break;
    case 4:
        a = take(script);
        b = take(script);
        respond(host, pick(host->requests, host->request_count, take(script)), a, b);
        break;
    case 5:
        tf_coap_ignore(host->endpoint, pick(host->requests, host->request_count, take(script)),
                       host->now);
        break;
    case 6:
        call(host, script);
        break;
    case 7:
        a = take(script);
        tf_coap_cancel(host->endpoint, pick(host->calls, host->call_count, a), a & 128, host->now);
        break;
    case 8:
        notify(host, script);
        break;
    case 9:
        tf_coap_unobserve(host->endpoint,
                          pick(host->observers, host->observer_count, take(script)));
        break;
    case 10:
        drain(host, take(script));
        host->mood = take(script);
        break;
    case 11:
        reflect(host, script);
        break;
    default:
        compose(host, script);
        break;
    }
    tf_assert(tf_coap_endpoint_check(host->endpoint));
}

/* In the end, with time enough and calls given up, nothing is left but what the application holds:
 * requests that it did not answer, observers; and what is lent has been returned. */
static void finish(struct host *host)
{
    host->mood = 0;
    for (unsigned i = 0; i < 4000; i++) {
        pull(host);
        drain(host, 100);
        for (unsigned j = 0; j < host->call_count; j++)
            tf_coap_cancel(host->endpoint, host->calls[j], false, host->now);
        if (tf_coap_endpoint_deadline(host->endpoint) == TF_TIME_NEVER)
            break;
        if (tf_coap_endpoint_deadline(host->endpoint) > host->now)
            host->now = tf_coap_endpoint_deadline(host->endpoint);
        tf_coap_endpoint_tick(host->endpoint, host->now);
    }
    const struct tf_coap_counters *left = tf_coap_endpoint_counters(host->endpoint);
    tf_assert(tf_coap_endpoint_check(host->endpoint));
    tf_assert(!left->exchanges);
    for (unsigned i = 0; i < host->owners; i++)
        tf_assert(!host->lent[i] || host->missed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, data + size};
    static struct host host;
    uint8_t bits = take(&script), more = take(&script);
    bool all = bits & 1;

    memset(&host, 0, sizeof(host));
    tf_random_init(&host.random, bits);
    host.now = TF_SECOND;
    host.config = (struct tf_coap_endpoint_config){
        .features = {.negotiation = &tf_coap_negotiation,
                     .deduplication = bits & 2 ? &tf_coap_deduplication : NULL,
                     .separate = &tf_coap_separate,
                     .observe_server = &tf_coap_observe_server,
                     .block_server = &tf_coap_block_server,
                     .multicast_server = &tf_coap_multicast_server,
                     .echo_server = bits & 4 ? &tf_coap_echo_server : NULL,
                     .client = all ? &tf_coap_client : NULL,
                     .observe_client = all ? &tf_coap_observe_client : NULL,
                     .block_client = all ? &tf_coap_block_client : NULL},
        .path_size = 4,
        .peers = 1u + (bits >> 3 & 3),
        .requests = 1u + (bits >> 5),
        .calls = 1u + (more & 3),
        .exchanges = 1u + (more >> 2 & 3),
        .replies = more >> 4 & 3,
        .observers = 2,
        .transfers = 1u + (more >> 6),
        .buffers = 12u + more % 20,
        .nstart = 1,
        .body_max = 4096,
        .block_szx = (uint8_t)(more % 7),
        .random = fill_random,
        .random_ctx = &host.random,
    };
    size_t length = tf_coap_endpoint_size(&host.config);
    size_t buffer_size = tf_coap_output_min(&host.config) * (1 + (more & 1));
    void *memory = malloc(length), *buffer = malloc(buffer_size);

    memset(memory, 0xA5, length);
    tf_assert(!tf_coap_endpoint_init(&host.endpoint, memory, length, &host.config, host.now));
    tf_assert(!tf_coap_endpoint_lend(host.endpoint, buffer, buffer_size));
    while (script.next < script.end)
        step(&host, &script);
    finish(&host);
    free(memory);
    free(buffer);
    return 0;
}
