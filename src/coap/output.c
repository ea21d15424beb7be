/*
 * Output: datagrams are written straight into the buffer that was lent, each behind its path.
 *
 * A record is its length (HEAD bytes), the path and the datagram, each padded to 8 bytes, so that a
 * path may be read as the struct that it is. Records are given out in order; when all have been
 * sent, writing begins at the start again. Nothing is ever moved.
 */
#include "coap/extension.h"

#define HEAD 8u
#define PAD(length) (((length) + 7u) & ~(size_t)7)

/* ---- the buffer ---- */

static size_t record_size(const struct tf_coap_endpoint_config *config)
{
    size_t datagram = config->datagram_max ? config->datagram_max : TF_COAP_DATAGRAM_MAX;

    return HEAD + PAD(config->path_size) + PAD(datagram);
}

size_t tf_coap_output_min(const struct tf_coap_endpoint_config *config)
{
    return record_size(config) + 7; /* to align what is lent */
}

enum tf_err tf_coap_endpoint_lend(struct tf_coap_endpoint *endpoint, void *buffer, size_t length)
{
    if (endpoint->out_lent || !buffer || length < tf_coap_output_min(endpoint->config))
        return TF_MISUSE;
    endpoint->out_lent = buffer;
    endpoint->out_buffer = endpoint->out_lent + (-(uintptr_t)buffer & 7);
    endpoint->out_end = endpoint->out_lent + length;
    endpoint->out_head = endpoint->out_tail = endpoint->out_buffer;
    return TF_OK;
}

void *tf_coap_endpoint_take(struct tf_coap_endpoint *endpoint)
{
    void *buffer = endpoint->out_lent;

    if (endpoint->out_head != endpoint->out_tail)
        return NULL;
    endpoint->out_lent = endpoint->out_head = endpoint->out_tail = endpoint->out_end = NULL;
    return buffer;
}

/* The length of the datagram in a record. */
static size_t length_of(const uint8_t *record)
{
    uint32_t length;

    memcpy(&length, record, 4);
    return length;
}

size_t tf_coap_endpoint_output(struct tf_coap_endpoint *endpoint, struct tf_datagram *ret,
                               size_t count)
{
    size_t path = PAD(endpoint->config->path_size), given = 0;

    if (endpoint->extension && !endpoint->has_current)
        tf_coap_settle(endpoint);
    for (const uint8_t *at = endpoint->out_head; at != endpoint->out_tail && given < count;
         given++) {
        size_t length = length_of(at);
        ret[given] =
            (struct tf_datagram){at + HEAD, tf_bytes_of(at + HEAD + path, length), .flags = 0};
        at += HEAD + path + PAD(length);
    }
    return given;
}

void tf_coap_endpoint_sent(struct tf_coap_endpoint *endpoint, size_t count, tf_time now)
{
    size_t path = PAD(endpoint->config->path_size);

    endpoint->now = now;
    for (; count && endpoint->out_head != endpoint->out_tail; count--)
        endpoint->out_head += HEAD + path + PAD(length_of(endpoint->out_head));
    if (endpoint->out_head == endpoint->out_tail)
        endpoint->out_head = endpoint->out_tail = endpoint->out_buffer;
}

bool tf_coap_room(const struct tf_coap_endpoint *endpoint, bool own)
{
    size_t one = record_size(endpoint->config);

    return (size_t)(endpoint->out_end - endpoint->out_tail) >=
           (!own && endpoint->fresh ? 2 * one : one);
}

/* Where the next datagram is to be written; there is room. */
static uint8_t *space(const struct tf_coap_endpoint *endpoint)
{
    return endpoint->out_tail + HEAD + PAD(endpoint->config->path_size);
}

/* Makes a record of what has been written there. */
static void commit(struct tf_coap_endpoint *endpoint, const void *path, size_t length)
{
    uint32_t stored = (uint32_t)length;
    uint8_t *record = endpoint->out_tail;

    memcpy(record, &stored, 4);
    if (endpoint->config->path_size)
        memcpy(record + HEAD, path, endpoint->config->path_size);
    endpoint->out_tail = space(endpoint) + PAD(length);
    endpoint->counters.datagrams_out++;
    endpoint->counters.bytes_out += stored;
}

void tf_coap_unwrite(struct tf_coap_endpoint *endpoint, struct tf_bytes datagram)
{
    uint8_t *start = endpoint->out_tail - PAD(datagram.length);

    tf_assert(start == datagram.data);
    endpoint->out_tail = start - PAD(endpoint->config->path_size) - HEAD;
    endpoint->counters.datagrams_out--;
    endpoint->counters.bytes_out -= datagram.length;
}

/* ---- messages ---- */

void tf_coap_outgoing_start(struct tf_coap_outgoing *out, uint8_t code)
{
    memset(out, 0, offsetof(struct tf_coap_outgoing, extra));
    out->code = code;
}

bool tf_coap_outgoing_fill(struct tf_coap_outgoing *out, const struct tf_coap_response *response)
{
    tf_coap_outgoing_start(out, response->code);
    out->options = response->options;
    out->option_count = response->option_count;
    out->body = response->body;
    out->body_count = response->body_count;
    out->length = tf_coap_body_length(response->body, response->body_count);
    return (0x34 >> tf_coap_class(response->code) & 1) != 0; /* 2, 4, 5 */
}

void tf_coap_extra(struct tf_coap_outgoing *out, uint16_t number, struct tf_bytes value)
{
    unsigned at = out->extra_count++;

    tf_assert(at < TF_COAP_EXTRAS);
    for (; at && out->extra[at - 1].number > number; at--)
        out->extra[at] = out->extra[at - 1];
    out->extra[at].number = number;
    out->extra[at].value = value;
}

bool tf_coap_has_extra(const struct tf_coap_outgoing *out, uint16_t number)
{
    for (unsigned i = 0; i < out->extra_count; i++) {
        if (out->extra[i].number == number)
            return true;
    }
    return false;
}

void tf_coap_extra_uint(struct tf_coap_outgoing *out, uint16_t number, uint32_t value)
{
    tf_coap_extra(out, number, tf_coap_uint_value(value, out->extra_value[out->extra_count]));
}

void tf_coap_extra_block(struct tf_coap_outgoing *out, uint16_t number, uint32_t block_number,
                         bool more, uint8_t szx)
{
    tf_coap_extra_uint(out, number, block_number << 4 | (uint32_t)more << 3 | szx);
}

size_t tf_coap_body_length(const struct tf_bytes *body, size_t count)
{
    size_t length = 0;

    for (size_t i = 0; i < count; i++)
        length += body[i].length;
    return length;
}

static void put_options(const struct tf_coap_endpoint *endpoint, struct tf_coap_encoder *encoder,
                        const struct tf_coap_outgoing *out)
{
    if (endpoint->extension) {
        endpoint->extension->put_options(encoder, out);
        return;
    }
    for (size_t i = 0; i < out->option_count; i++)
        tf_coap_encode_option(encoder, out->options[i].number, out->options[i].value);
}

/* The run of the body that is to be sent. */
static void put_body(struct tf_coap_encoder *encoder, const struct tf_coap_outgoing *out)
{
    size_t skip = out->offset, left = out->length;

    if (left)
        tf_write_u8(&encoder->out, 0xFF);
    for (size_t i = 0; left && i < out->body_count; i++) {
        struct tf_bytes piece = out->body[i];
        if (skip >= piece.length) {
            skip -= piece.length;
            continue;
        }
        size_t run = TF_MIN(piece.length - skip, left);
        tf_write_bytes(&encoder->out, tf_bytes_of(piece.data + skip, run));
        skip = 0;
        left -= run;
    }
}

enum tf_err tf_coap_write(struct tf_coap_endpoint *endpoint, const void *path,
                          const struct tf_coap_outgoing *out, struct tf_bytes *ret_datagram,
                          bool own)
{
    struct tf_coap_encoder encoder;
    size_t datagram = endpoint->config->datagram_max;

    if (!tf_coap_room(endpoint, own))
        return TF_AGAIN;
    tf_coap_encode(&encoder, space(endpoint), datagram ? datagram : TF_COAP_DATAGRAM_MAX, out->type,
                   out->code, out->message_id, out->token);
    put_options(endpoint, &encoder, out);
    put_body(&encoder, out);
    if (encoder.out.failed)
        return TF_MISUSE;
    struct tf_bytes written = tf_bytes_of(encoder.out.start, tf_writer_length(&encoder.out));
    commit(endpoint, path, written.length);
    if (ret_datagram)
        *ret_datagram = written;
    return TF_OK;
}

void tf_coap_write_empty(struct tf_coap_endpoint *endpoint, const void *path,
                         enum tf_coap_type type, uint16_t message_id)
{
    struct tf_coap_encoder encoder;

    tf_coap_encode(&encoder, space(endpoint), TF_COAP_HEADER, type, TF_COAP_EMPTY, message_id,
                   (struct tf_bytes){NULL, 0});
    commit(endpoint, path, TF_COAP_HEADER);
    endpoint->counters.resets_out += type == TF_COAP_RST;
}

bool tf_coap_write_chain(struct tf_coap_endpoint *endpoint, const void *path,
                         const struct tf_coap_chain *chain, bool own)
{
    if (!tf_coap_room(endpoint, own))
        return false;
    tf_coap_chain_get(endpoint, chain, space(endpoint));
    commit(endpoint, path, chain->length);
    return true;
}
