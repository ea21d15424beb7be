/*
 * One endpoint under a lens; see probe.h.
 */
#include "unit/coap/probe.h"

static const struct tf_coap_features all_features = {
    .negotiation = &tf_coap_negotiation,
    .deduplication = &tf_coap_deduplication,
    .separate = &tf_coap_separate,
    .observe_server = &tf_coap_observe_server,
    .block_server = &tf_coap_block_server,
    .client = &tf_coap_client,
    .observe_client = &tf_coap_observe_client,
    .block_client = &tf_coap_block_client,
};

static void probe_random(void *ctx, void *data, size_t length)
{
    uint64_t *seed = ctx;
    uint8_t *to = data;

    for (size_t i = 0; i < length; i++) {
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        to[i] = (uint8_t)(*seed >> 40);
    }
}

struct tf_coap_endpoint_config probe_config(void)
{
    return (struct tf_coap_endpoint_config){
        .features = all_features,
        .path_size = sizeof(uint32_t),
        .peers = 32,
        .requests = 16,
        .calls = 16,
        .exchanges = 32,
        .replies = 32,
        .observers = 16,
        .transfers = 8,
        .buffers = 256,
        .body_max = 65536,
        .block_szx = 6,
    };
}

struct probe *probe_new(const struct tf_coap_endpoint_config *config, probe_handler *handler)
{
    struct probe *probe = calloc(1, sizeof(*probe));

    assert_non_null(probe);
    probe->config = config ? *config : probe_config();
    probe->config.random = probe_random;
    probe->config.random_ctx = &probe->seed;
    probe->seed = 42;
    probe->handler = handler;
    probe->now = 1000 * TF_SECOND;
    size_t size = tf_coap_endpoint_size(&probe->config);
    assert_true(size > 0);
    probe->memory = malloc(size);
    assert_int_equal(
        tf_coap_endpoint_init(&probe->endpoint, probe->memory, size, &probe->config, probe->now),
        TF_OK);
    size_t length = 8 * tf_coap_output_min(&probe->config);
    probe->buffer = malloc(length);
    assert_int_equal(tf_coap_endpoint_lend(probe->endpoint, probe->buffer, length), TF_OK);
    return probe;
}

void probe_clear(struct probe *probe)
{
    for (size_t i = 0; i < probe->sent_count; i++)
        free(probe->sent[i].bytes);
    for (size_t i = 0; i < probe->seen_count; i++)
        free(probe->seen[i].copy);
    probe->sent_count = probe->seen_count = 0;
}

void probe_free(struct probe *probe)
{
    assert_true(tf_coap_endpoint_check(probe->endpoint));
    probe_clear(probe);
    free(probe->memory);
    free(probe->buffer);
    free(probe);
}

/* Keeps what the endpoint wants to send. True: there was something. */
static bool take_output(struct probe *probe)
{
    struct tf_datagram out[4];
    size_t count = tf_coap_endpoint_output(probe->endpoint, out, 4);

    for (size_t i = 0; i < count; i++) {
        assert_true(probe->sent_count < PROBE_SENT);
        struct probe_sent *sent = &probe->sent[probe->sent_count++];
        memcpy(&sent->peer, out[i].path, sizeof(sent->peer));
        sent->at = probe->now;
        sent->length = out[i].bytes.length;
        sent->bytes = malloc(sent->length);
        memcpy(sent->bytes, out[i].bytes.data, sent->length);
        assert_int_equal(tf_coap_decode(&sent->message, tf_bytes_of(sent->bytes, sent->length)),
                         TF_OK);
    }
    if (count)
        tf_coap_endpoint_sent(probe->endpoint, count, probe->now);
    return count > 0;
}

/* Keeps an event with copies of what it borrows. */
static void keep_event(struct probe *probe, const struct tf_coap_event *event)
{
    assert_true(probe->seen_count < PROBE_EVENTS);
    struct probe_seen *seen = &probe->seen[probe->seen_count++];
    size_t options = event->message.options.length, body = event->body.length;

    seen->event = *event;
    seen->copy = malloc(options + body + 1);
    if (options)
        memcpy(seen->copy, event->message.options.data, options);
    if (body)
        memcpy(seen->copy + options, event->body.data, body);
    seen->event.message.options = tf_bytes_of(seen->copy, options);
    seen->event.body = tf_bytes_of(seen->copy + options, body);
    if (event->path)
        memcpy(&seen->peer, event->path, sizeof(seen->peer));
}

void probe_run(struct probe *probe)
{
    struct tf_coap_event event;
    bool busy = true;

    while (busy) {
        busy = false;
        while (tf_coap_endpoint_event(probe->endpoint, &event)) {
            busy = true;
            keep_event(probe, &event);
            if (probe->handler)
                probe->handler(probe, &event);
        }
        busy |= take_output(probe);
        if (tf_coap_endpoint_deadline(probe->endpoint) <= probe->now) {
            tf_coap_endpoint_tick(probe->endpoint, probe->now);
            busy = true;
        }
    }
    assert_true(tf_coap_endpoint_check(probe->endpoint));
}

void probe_pass(struct probe *probe, tf_time span)
{
    tf_time end = probe->now + span;

    for (;;) {
        tf_time next = tf_coap_endpoint_deadline(probe->endpoint);
        if (next > end)
            break;
        if (next > probe->now)
            probe->now = next;
        probe_run(probe);
    }
    probe->now = end;
    probe_run(probe);
}

void probe_feed(struct probe *probe, uint32_t peer, struct tf_bytes datagram)
{
    /* Exactly as long as it is, so that a sanitizer sees a step past its end. */
    uint8_t *copy = malloc(datagram.length + 1);
    struct tf_datagram in = {&peer, tf_bytes_of(copy, datagram.length), 0};

    memcpy(copy, datagram.data, datagram.length);
    assert_int_equal(tf_coap_endpoint_input(probe->endpoint, &in, probe->now), TF_OK);
    probe_run(probe);
    free(copy);
}

const struct probe_sent *probe_only(struct probe *probe)
{
    assert_int_equal(probe->sent_count, 1);
    return &probe->sent[0];
}

const struct probe_sent *probe_last(struct probe *probe)
{
    assert_true(probe->sent_count > 0);
    return &probe->sent[probe->sent_count - 1];
}

size_t probe_count(const struct probe *probe, enum tf_coap_event_type type)
{
    size_t count = 0;

    for (size_t i = 0; i < probe->seen_count; i++)
        count += probe->seen[i].event.type == type;
    return count;
}

const struct tf_coap_event *probe_event(const struct probe *probe, enum tf_coap_event_type type)
{
    for (size_t i = probe->seen_count; i-- > 0;) {
        if (probe->seen[i].event.type == type)
            return &probe->seen[i].event;
    }
    return NULL;
}

int64_t probe_uint(const struct tf_coap_message *message, uint16_t number)
{
    struct tf_bytes value;

    return tf_coap_option_find(message->options, number, &value) ? (int64_t)tf_coap_uint(value)
                                                                 : -1;
}

struct tf_bytes probe_option(const struct tf_coap_message *message, uint16_t number)
{
    struct tf_bytes value = {NULL, 0};

    (void)tf_coap_option_find(message->options, number, &value);
    return value;
}

void packet_start_id(struct packet *packet, enum tf_coap_type type, uint8_t code, uint16_t id,
                     struct tf_bytes token)
{
    tf_coap_encode(&packet->encoder, packet->bytes, sizeof(packet->bytes), type, code, id, token);
}

void packet_start(struct probe *probe, struct packet *packet, enum tf_coap_type type, uint8_t code,
                  uint32_t token)
{
    uint8_t buffer[4];

    packet_start_id(packet, type, code, ++probe->message_id, tf_coap_uint_value(token, buffer));
}

void packet_text(struct packet *packet, uint16_t number, const char *text)
{
    tf_coap_encode_option(&packet->encoder, number, tf_bytes_of(text, strlen(text)));
}

void packet_uint(struct packet *packet, uint16_t number, uint32_t value)
{
    tf_coap_encode_uint(&packet->encoder, number, value);
}

void packet_block(struct packet *packet, uint16_t number, uint32_t num, bool more, unsigned szx)
{
    tf_coap_encode_uint(&packet->encoder, number, num << 4 | (uint32_t)more << 3 | szx);
}

void packet_payload(struct packet *packet, const void *data, size_t length)
{
    tf_coap_encode_payload(&packet->encoder, tf_bytes_of(data, length));
}

void packet_feed(struct probe *probe, uint32_t peer, struct packet *packet)
{
    struct tf_bytes datagram = tf_coap_encoded(&packet->encoder);

    assert_true(datagram.length > 0);
    probe_feed(probe, peer, datagram);
}

void probe_feed_empty(struct probe *probe, uint32_t peer, enum tf_coap_type type, uint16_t id)
{
    struct packet packet;

    packet_start_id(&packet, type, TF_COAP_EMPTY, id, (struct tf_bytes){NULL, 0});
    packet_feed(probe, peer, &packet);
}

void pattern_fill(uint8_t *data, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(i + i / 251 * 7 + seed * 31);
}

bool pattern_is(struct tf_bytes data, size_t offset, unsigned seed)
{
    for (size_t i = 0; i < data.length; i++) {
        size_t at = offset + i;
        if (data.data[i] != (uint8_t)(at + at / 251 * 7 + seed * 31))
            return false;
    }
    return true;
}
