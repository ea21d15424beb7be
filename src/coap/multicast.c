/*
 * Answers to multicasts (RFC 7252 8): after a random leisure, so that a group does not answer all
 * at once, and only if there is something to say.
 */
#include "coap/endpoint.h"

#define DEFAULT_LEISURE_MS 5000u

/* RFC 7252 8.2: errors and empty results are not sent, unless the client asks for them: RFC 7967
 * 2.1, whose own suppression has been looked at before. */
static bool unasked(const struct tf_coap_request_slot *request, const struct tf_coap_outgoing *out)
{
    if (request->seen & TF_COAP_SEEN_NO_RESPONSE)
        return false;
    return tf_coap_class(out->code) != 2 || (out->code == TF_COAP_CONTENT && !out->length);
}

static enum tf_err send(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                        struct tf_coap_outgoing *out)
{
    uint32_t leisure_ms = endpoint->config->default_leisure_ms;
    struct tf_coap_peer *peer;

    if (unasked(request, out))
        return TF_OK;
    peer = tf_coap_peer_get(endpoint, request->path, request->path_hash);
    if (!peer || peer->answering >= TF_COAP_ANSWERS_MAX)
        return TF_OK; /* one member less answers */
    tf_time span = (leisure_ms ? leisure_ms : DEFAULT_LEISURE_MS) * TF_MILLISECOND;
    tf_time wait = (span * (tf_coap_random(endpoint) >> 12)) >> 20;
    enum tf_err err = tf_coap_exchange_delay(endpoint, peer, out, tf_time_add(endpoint->now, wait));
    peer->answering += !err;
    return err == TF_LIMIT ? TF_OK : err;
}

const struct tf_coap_feature tf_coap_multicast_server = {.extension = &tf_coap_extension,
                                                         .send = send};
