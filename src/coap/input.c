/*
 * What comes in: the format, the rules of types and codes, one pass over the options, and where it
 * goes from there (RFC 7252 4, 5.4).
 *
 * The order of checks of a request: format; duplicates; options that are not understood (4.02);
 * proxying (5.05); values without sense (4.00); methods (4.05); then the features' hooks; then the
 * application.
 */
#include "coap/extension.h"

/* ---- options ---- */

/* True if the application says that it understands this option. */
static bool known(const struct tf_coap_endpoint_config *config, uint16_t number)
{
    for (size_t i = 0; i < config->known_option_count; i++) {
        if (config->known_options[i] == number)
            return true;
    }
    return false;
}

void tf_coap_take_options(const struct tf_coap_endpoint *endpoint, struct tf_coap_inbound *in,
                          uint32_t foreign)
{
    struct tf_coap_cursor cursor = tf_coap_options(in->message.options);
    struct tf_coap_option option;
    uint32_t last = 0;

    while (tf_coap_option_next(&cursor, &option)) {
        bool repeated = option.number == last;
        last = option.number;
        if ((option.number < 32 && (foreign >> option.number & 1)) ||
            !tf_coap_option_valid(&option, repeated)) {
            /* RFC 7252 5.4.1: critical ones are refused; elective ones ignored. */
            if (tf_coap_option_critical(option.number) && !known(endpoint->config, option.number))
                in->error = TF_COAP_BAD_OPTION;
            continue;
        }
        if ((option.number == TF_COAP_PROXY_URI || option.number == TF_COAP_PROXY_SCHEME) &&
            !endpoint->config->proxy && in->error != TF_COAP_BAD_OPTION)
            in->error = TF_COAP_PROXYING_NOT_SUPPORTED; /* RFC 7252 5.10.2 */
        if (endpoint->extension)
            endpoint->extension->take_option(in, &option);
    }
}

/* ---- requests ---- */

void tf_coap_request_take(struct tf_coap_request_slot *request, const struct tf_coap_inbound *in)
{
    const struct tf_coap_message *message = &in->message;

    request->path = in->datagram->path;
    request->flags = in->datagram->flags;
    request->path_hash = in->path_hash;
    request->request_size = (uint16_t)TF_MIN(in->datagram->bytes.length, UINT16_MAX);
    request->message_id = message->message_id;
    request->type = message->type;
    request->method = message->code;
    request->token_length = (uint8_t)message->token.length;
    memcpy(request->token, message->token.data, message->token.length);
}

/* Gives the request to the application. */
static void open_request(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *scratch,
                         struct tf_coap_event *event)
{
    struct tf_coap_request_slot *request = tf_coap_pool_new(&endpoint->requests);

    if (!request) { /* RFC 7252 5.9.3.4: it may try again after a second */
        static const uint8_t second = 1;
        static const struct tf_coap_option max_age = {TF_COAP_MAX_AGE_OPTION, {&second, 1}};
        tf_coap_refuse(endpoint, scratch, TF_COAP_UNAVAILABLE, &max_age);
        return;
    }
    size_t skip = sizeof(request->slot);
    memcpy((uint8_t *)request + skip, (uint8_t *)scratch + skip, sizeof(*request) - skip);
    request->path = request + 1;
    if (endpoint->config->path_size)
        memcpy(request + 1, scratch->path, endpoint->config->path_size);
    endpoint->fresh = request;
    event->handle = tf_coap_pool_handle(&endpoint->requests, request);
    event->observe = request->observe;
    endpoint->has_current = true; /* it is in its place */
    if (endpoint->extension)
        endpoint->extension->opened(endpoint, request);
}

static void on_request(struct tf_coap_endpoint *endpoint, struct tf_coap_inbound *in)
{
    const struct tf_coap_extension *extension = endpoint->extension;
    struct tf_coap_request_slot request;

    endpoint->counters.requests_in++;
    memset(&request, 0, sizeof(request));
    tf_coap_request_take(&request, in);
    if (extension && extension->repeated(endpoint, &request, in) == TF_COAP_DONE)
        return;
    tf_coap_take_options(endpoint, in,
                         endpoint->config->features.block_server
                             ? TF_COAP_FOREIGN
                             : TF_COAP_FOREIGN | TF_COAP_BLOCKS);
    request.seen = in->seen;
    request.no_response = (uint8_t)in->no_response;
    uint8_t code = in->error;
    if (!code && request.method > TF_COAP_IPATCH)
        code = TF_COAP_METHOD_NOT_ALLOWED; /* RFC 7252 5.8 */
    if (code) {
        /* RFC 7252 5.4.1: a NON with an option not understood is rejected, here silently. */
        if (code != TF_COAP_BAD_OPTION || request.type == TF_COAP_CON)
            tf_coap_refuse(endpoint, &request, code, NULL);
        return;
    }
    struct tf_coap_event *event = &endpoint->current; /* it is not `has_current` yet */
    memset(event, 0, sizeof(*event));
    event->type = TF_COAP_EVENT_REQUEST;
    event->path = in->datagram->path;
    event->flags = in->datagram->flags;
    event->total = in->size1;
    event->message = in->message;
    event->body = in->message.payload;
    if (!extension || extension->request(endpoint, &request, in, event) == TF_COAP_GO_ON)
        open_request(endpoint, &request, event);
}

/* ---- all ---- */

enum tf_err tf_coap_endpoint_input(struct tf_coap_endpoint *endpoint, const struct tf_datagram *in,
                                   tf_time now)
{
    struct tf_coap_inbound inbound;

    if (!in)
        return TF_MISUSE;
    if (endpoint->has_current || endpoint->notice_first)
        return TF_AGAIN;
    endpoint->now = now;
    tf_coap_settle(endpoint);
    if (!tf_coap_room(endpoint, true))
        return TF_AGAIN;
    endpoint->counters.datagrams_in++;
    endpoint->counters.bytes_in += in->bytes.length;
    memset(&inbound, 0, sizeof(inbound));
    inbound.datagram = in;
    if (endpoint->hash)
        inbound.path_hash =
            endpoint->hash(endpoint, tf_bytes_of(in->path, endpoint->config->path_size));
    enum tf_err err = tf_coap_decode(&inbound.message, in->bytes);
    unsigned class = tf_coap_class(inbound.message.code), type = inbound.message.type;
    bool multicast = (in->flags & TF_DATAGRAM_MULTICAST) != 0;
    bool reject = type == TF_COAP_CON && !multicast && err != TF_UNSUPPORTED;
    if (err || (0xCA >> class & 1)) { /* RFC 7252 4.2: classes 1, 3, 6, 7 are reserved */
        endpoint->counters.format_errors++;
    } else if (class == 0 && inbound.message.code != TF_COAP_EMPTY) {
        reject = false;
        /* 4.2, 4.3: no request is in an ACK or RST. 8.1: one to a group is a NON. */
        if (type == TF_COAP_NON ? !multicast || endpoint->config->features.multicast_server
                                : type == TF_COAP_CON && !multicast)
            on_request(endpoint, &inbound);
    } else if (!multicast && endpoint->extension &&
               endpoint->extension->other(endpoint, &inbound)) {
        reject = false;
    }
    /* 4.2: a CON that means nothing here, among them a ping (4.3), is reset; others are not. */
    if (reject)
        tf_coap_write_empty(endpoint, in->path, TF_COAP_RST, inbound.message.message_id);
    return TF_OK;
}
