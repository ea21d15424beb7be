/*
 * Echo (RFC 9175 2): a peer that has not shown that it receives at its address gets no answer that
 * is much larger than its request, since the address may be a victim's.
 *
 * The value is a keyed hash of the path and of the time in slots, so nothing is kept until it comes
 * back; then the peer's record says so, and if that makes room for others, it is asked again.
 */
#include "coap/endpoint.h"

#define ECHO_LENGTH 8u
#define SLOT_BITS 27              /* of microseconds: a slot is 134 seconds */
#define FREE_BYTES 136u           /* an answer up to this is always sent (2.4) */
#define TIMES 3u                  /* and up to so many times the request */
#define BLOCK_NUMBER_MAX 0xFFFFFu /* RFC 7959 2.2 */

static void init(struct tf_coap_endpoint *endpoint)
{
    endpoint->hash = tf_coap_hash;
}

/* The value for a path in a slot of time. */
static void make(const struct tf_coap_endpoint *endpoint, tf_coap_hash_value path_hash,
                 uint64_t slot, uint8_t ret[ECHO_LENGTH])
{
    uint64_t parts[] = {path_hash, slot, 0x6563686f};
    uint64_t value = tf_coap_hash(endpoint, tf_bytes_of((const uint8_t *)parts, sizeof(parts)));

    if (sizeof(tf_coap_hash_value) < sizeof(value)) { /* the other half */
        parts[2]++;
        value = value << 32 |
                tf_coap_hash(endpoint, tf_bytes_of((const uint8_t *)parts, sizeof(parts)));
    }
    memcpy(ret, &value, ECHO_LENGTH);
}

/* True if this is the value of this slot of time or of the one before. */
static bool fresh(const struct tf_coap_endpoint *endpoint, const struct tf_coap_inbound *in)
{
    uint8_t value[ECHO_LENGTH];

    if (in->echo.length != ECHO_LENGTH)
        return false;
    for (uint64_t back = 0; back < 2 && back <= (endpoint->now >> SLOT_BITS); back++) {
        make(endpoint, in->path_hash, (endpoint->now >> SLOT_BITS) - back, value);
        if (memcmp(value, in->echo.data, ECHO_LENGTH) == 0)
            return true;
    }
    return false;
}

static enum tf_coap_verdict on_request(struct tf_coap_endpoint *endpoint,
                                       struct tf_coap_request_slot *request,
                                       const struct tf_coap_inbound *in,
                                       struct tf_coap_event *event)
{
    struct tf_coap_peer *peer;

    (void)event;
    if (!(in->seen & TF_COAP_SEEN_ECHO) || !fresh(endpoint, in))
        return TF_COAP_GO_ON;
    request->proved = true;
    peer = tf_coap_peer_get(endpoint, request->path, in->path_hash);
    if (peer)
        peer->proved = true;
    return TF_COAP_GO_ON;
}

/* No less than what the answer takes, without its body. */
static size_t head_length(const struct tf_coap_outgoing *out)
{
    size_t length = TF_COAP_HEADER + TF_COAP_TOKEN_MAX + 1;

    for (size_t i = 0; i < out->option_count; i++)
        length += 5 + out->options[i].value.length;
    for (size_t i = 0; i < out->extra_count; i++)
        length += 5 + out->extra[i].value.length;
    return length;
}

/* Where Block2 stands in the extras; extra_count: nowhere. */
static unsigned find_block(const struct tf_coap_outgoing *out)
{
    unsigned at = 0;

    while (at < out->extra_count && out->extra[at].number != TF_COAP_BLOCK2)
        at++;
    return at;
}

/* Makes the body a block that fits `room`. False: not even the smallest does. */
static bool shrink(struct tf_coap_outgoing *out, size_t room)
{
    size_t total = tf_coap_body_length(out->body, out->body_count);
    unsigned szx = TF_COAP_BLOCK_SZX_MAX, at = find_block(out);

    while (szx && (16u << szx) > room)
        szx--;
    if ((16u << szx) > room || out->offset >> (szx + 4) > BLOCK_NUMBER_MAX)
        return false;
    out->length = TF_MIN(total - out->offset, 16u << szx);
    struct tf_coap_block block = {(uint32_t)(out->offset >> (szx + 4)),
                                  out->offset + out->length < total, (uint8_t)szx};
    if (at == out->extra_count)
        tf_coap_extra_block(out, TF_COAP_BLOCK2, block.number, block.more, block.szx);
    else
        out->extra[at].value = tf_coap_uint_value(tf_coap_block_value(&block), out->echo_block);
    return true;
}

/* Whether the rest of the body can be fetched: by GET again, or it has been kept. */
static bool divisible(const struct tf_coap_endpoint *endpoint,
                      const struct tf_coap_request_slot *request,
                      const struct tf_coap_outgoing *out)
{
    if (!endpoint->config->features.block_server || tf_coap_class(out->code) != 2)
        return false;
    return request->method == TF_COAP_GET || find_block(out) < out->extra_count;
}

static bool safe(uint8_t method)
{
    return method == TF_COAP_GET || method == TF_COAP_FETCH;
}

static enum tf_err on_answer(struct tf_coap_endpoint *endpoint,
                             struct tf_coap_request_slot *request,
                             const struct tf_coap_response *response, struct tf_coap_outgoing *out)
{
    size_t most = TF_MAX(TIMES * (size_t)request->request_size, FREE_BYTES);
    size_t head = head_length(out);
    const struct tf_coap_peer *peer;

    (void)response;
    if ((request->flags & TF_DATAGRAM_TRUSTED) || request->proved || head + out->length <= most)
        return TF_OK;
    peer = tf_coap_peer_find(endpoint, request->path, request->path_hash);
    if (peer && peer->proved)
        return TF_OK;
    make(endpoint, request->path_hash, endpoint->now >> SLOT_BITS, request->echo);
    head += 3 + ECHO_LENGTH + 6;
    bool small = head < most && divisible(endpoint, request, out) && shrink(out, most - head);
    if (!small && !safe(request->method)) {
        out->length = 0; /* it has been done: better a short answer than none */
        return TF_OK;
    }
    if (!small) {
        out->code = TF_COAP_UNAUTHORIZED; /* RFC 9175 2.3 */
        out->option_count = out->extra_count = 0;
        out->offset = out->length = 0;
        tf_coap_extra_uint(out, TF_COAP_MAX_AGE_OPTION, 0);
    }
    tf_coap_extra(out, TF_COAP_ECHO, tf_bytes_of(request->echo, ECHO_LENGTH));
    return TF_OK;
}

const struct tf_coap_feature tf_coap_echo_server = {
    .extension = &tf_coap_extension, .init = init, .request = on_request, .answer = on_answer};
