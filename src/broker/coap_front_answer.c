/*
 * Answers: how a value looks as a CoAP response.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/coap_front_internal.h"

struct tf_bytes tf_coap_front_etag(uint64_t version, uint8_t buffer[COAP_ETAG_SIZE])
{
    size_t at = COAP_ETAG_SIZE;
    while (version) {
        buffer[--at] = (uint8_t)version;
        version >>= 8;
    }
    return tf_bytes_of(buffer + at, COAP_ETAG_SIZE - at);
}

/*
 * The Content-Format of a message: of CoAP's own as it came, of others looked up once and kept with
 * the message if there is memory for that. False: it has none.
 */
static bool format_of(struct tf_message *message, uint16_t *ret)
{
    const struct tf_envelope *envelope = &message->publication.envelope;
    struct tf_bytes bytes = envelope->encoded;
    if (envelope->origin != TF_PROTOCOL_COAP) {
        if (!envelope->content_type.length && envelope->payload_format == TF_PAYLOAD_BYTES) {
            return false;
        }
        const struct tf_encoding *encoding = tf_message_encoding(message, TF_PROTOCOL_COAP);
        if (!encoding) {
            uint16_t format = 0;
            bool known = tf_mapping_format_of(envelope, &format);
            const uint8_t kept[2] = {(uint8_t)(format >> 8), (uint8_t)format};
            (void)tf_message_attach(message, TF_PROTOCOL_COAP, tf_bytes_of(kept, known ? 2 : 1));
            if (known) {
                *ret = format;
            }
            return known;
        }
        bytes = encoding->bytes;
    }
    if (bytes.length != 2) {
        return false;
    }
    *ret = (uint16_t)((unsigned)bytes.data[0] << 8 | bytes.data[1]);
    return true;
}

static void add(struct coap_reply *reply, uint16_t number, struct tf_bytes value)
{
    tf_assert(reply->response.option_count < TF_COUNT(reply->options));
    reply->options[reply->response.option_count++] =
        (struct tf_coap_option){.number = number, .value = value};
}

/* RFC 7252 5.10.7 */
static void add_location(struct coap_reply *reply, struct tf_bytes address)
{
    struct tf_bytes segment;
    size_t offset = 0;
    while (tf_mapping_coap_segment(address, &offset, &segment)) {
        add(reply, TF_COAP_LOCATION_PATH, segment);
    }
}

void tf_coap_front_reply(struct coap_front *front, const struct coap_result *result,
                         struct coap_reply *ret)
{
    struct tf_message *message = result->message;
    struct tf_plain_body plain = {.count = 0};
    ret->response = (struct tf_coap_response){.code = result->code, .options = ret->options};
    if (message && !result->location &&
        tf_mapping_plain(&message->publication, front->shard->config.alloc, &plain)) {
        ret->response.code = TF_COAP_UNAVAILABLE; /* too little memory for a form that CoAP has */
        return;
    }
    if (result->version) {
        add(ret, TF_COAP_ETAG, tf_coap_front_etag(result->version, ret->etag));
    }
    if (result->max_age) { /* RFC 7252 5.9.3.4 */
        add(ret, TF_COAP_MAX_AGE_OPTION, tf_coap_uint_value(result->max_age, ret->max_age));
    }
    if (!message) {
        return;
    }
    const struct tf_envelope *envelope = &message->publication.envelope;
    if (result->location) {
        add_location(ret, envelope->address);
        return;
    }
    uint16_t format;
    if (format_of(message, &format)) {
        add(ret, TF_COAP_CONTENT_FORMAT, tf_coap_uint_value(format, ret->format));
    }
    if (envelope->expires != TF_TIME_NEVER) {
        uint32_t left = tf_mapping_seconds_left(envelope->expires, coap_now(front));
        add(ret, TF_COAP_MAX_AGE_OPTION, tf_coap_uint_value(left, ret->max_age));
    }
    ret->response.body = plain.body;
    ret->response.body_count = plain.count;
}

enum tf_err tf_coap_front_respond(struct coap_channel *channel, uint64_t request,
                                  const struct coap_result *result)
{
    struct coap_reply reply;
    if (!tf_coap_front_lend(channel)) {
        return TF_AGAIN;
    }
    tf_coap_front_reply(channel->front, result, &reply);
    enum tf_err err = tf_coap_respond(channel->endpoint, request, &reply.response, NULL, NULL,
                                      coap_now(channel->front));
    if (err == TF_MISUSE) { /* the location of a long address is over a datagram: do without */
        reply.response.option_count = 0;
        err = tf_coap_respond(channel->endpoint, request, &reply.response, NULL, NULL,
                              coap_now(channel->front));
        tf_assert(err != TF_MISUSE);
    }
    tf_channel_touch(&channel->channel);
    return err == TF_AGAIN ? TF_AGAIN : TF_OK; /* NOT_FOUND: nobody waits for it any more */
}

void tf_coap_front_refuse_why(struct coap_channel *channel, uint64_t request, uint8_t code,
                              const char *diagnostic)
{
    struct tf_bytes text = tf_bytes_str(diagnostic);
    struct tf_coap_response response = {
        .code = code, .body = &text, .body_count = text.length != 0};
    enum tf_err err = tf_coap_respond(channel->endpoint, request, &response, NULL, NULL,
                                      coap_now(channel->front));
    if (err == TF_MISUSE) { /* the client wants blocks that are too small for the words */
        response.body_count = 0;
        err = tf_coap_respond(channel->endpoint, request, &response, NULL, NULL,
                              coap_now(channel->front));
    }
    tf_assert(err == TF_OK || err == TF_NOT_FOUND);
    tf_channel_touch(&channel->channel);
}

void tf_coap_front_refuse(struct coap_channel *channel, uint64_t request, uint8_t code)
{
    tf_coap_front_refuse_why(channel, request, code, "");
}

void tf_coap_front_work_answer(struct coap_work *work)
{
    struct coap_channel *channel = work->channel;
    tf_assert(work->state == COAP_WORK_ANSWER);
    if (!channel) {
        tf_coap_front_work_free(work);
    } else if (tf_coap_front_respond(channel, work->request, &work->result) == TF_OK) {
        tf_coap_front_work_free(work);
    } else if (!tf_list_linked(&work->in_queue)) {
        tf_list_push_back(&channel->answers, &work->in_queue);
    }
}

void tf_coap_front_answers(struct coap_channel *channel)
{
    struct tf_list_node *node, *next;
    for (node = tf_list_first(&channel->answers); node; node = next) {
        struct coap_work *work = tf_container_of(node, struct coap_work, in_queue);
        next = tf_list_next(&channel->answers, node);
        if (tf_coap_front_respond(channel, work->request, &work->result) != TF_OK) {
            return; /* no room for the first: none for the others either */
        }
        tf_coap_front_work_free(work);
    }
}
