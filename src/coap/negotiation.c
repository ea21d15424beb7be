/*
 * What a client wants to hear: a representation that it holds already becomes 2.03, one that it
 * does not accept 4.06 (RFC 7252 5.9.1.3, 5.10.4). No-Response (RFC 7967) the core looks at itself.
 */
#include "coap/endpoint.h"

static enum tf_coap_verdict on_request(struct tf_coap_endpoint *endpoint,
                                       struct tf_coap_request_slot *request,
                                       const struct tf_coap_inbound *in,
                                       struct tf_coap_event *event)
{
    (void)endpoint;
    (void)event;
    request->accept = (uint16_t)in->accept;
    request->etag_count = in->etag_count;
    for (unsigned i = 0; i < in->etag_count; i++) {
        request->etag_length[i] = (uint8_t)in->etag[i].length;
        memcpy(request->etag[i], in->etag[i].data, in->etag[i].length);
    }
    return TF_COAP_GO_ON;
}

static const struct tf_coap_option *find(const struct tf_coap_response *response, uint16_t number)
{
    for (size_t i = 0; i < response->option_count; i++) {
        if (response->options[i].number == number)
            return &response->options[i];
    }
    return NULL;
}

/* True if the client holds this representation already (RFC 7252 5.10.6.2). */
static bool holds(const struct tf_coap_request_slot *request, struct tf_bytes etag)
{
    for (unsigned i = 0; i < request->etag_count; i++) {
        if (tf_bytes_equal(tf_bytes_of(request->etag[i], request->etag_length[i]), etag))
            return true;
    }
    return false;
}

/* Nothing but the code is left of an answer. */
static void strip(struct tf_coap_outgoing *out, uint8_t code)
{
    out->code = code;
    out->option_count = 0;
    out->body_count = out->length = 0;
}

/* Turns 2.05 into 2.03 or 4.06 where the request asks for that. */
static enum tf_err on_answer(struct tf_coap_endpoint *endpoint,
                             struct tf_coap_request_slot *request,
                             const struct tf_coap_response *response, struct tf_coap_outgoing *out)
{
    const struct tf_coap_option *option;

    (void)endpoint;
    if (response->code != TF_COAP_CONTENT)
        return TF_OK;
    option = request->seen & TF_COAP_SEEN_ACCEPT ? find(response, TF_COAP_CONTENT_FORMAT) : NULL;
    if (option && tf_coap_uint(option->value) != request->accept) {
        strip(out, TF_COAP_NOT_ACCEPTABLE); /* RFC 7252 5.10.4 */
        return TF_OK;
    }
    option = request->etag_count ? find(response, TF_COAP_ETAG) : NULL;
    if (option && holds(request, option->value)) {
        out->code = TF_COAP_VALID; /* 5.9.1.3: an ETag and no payload */
        out->skip = TF_COAP_CONTENT_FORMAT;
        out->body_count = out->length = 0;
    }
    return TF_OK;
}

const struct tf_coap_feature tf_coap_negotiation = {
    .extension = &tf_coap_extension, .request = on_request, .answer = on_answer};
