/*
 * What the core does if any feature is there: memory of the features' tables, options that they
 * read, their hooks in their order, notices, and answers that are not simply piggybacked.
 */
#include "coap/extension.h"
#include "coap/transfer.h"

/* ---- memory ---- */

static bool valid(const struct tf_coap_endpoint_config *config)
{
    const struct tf_coap_features *use = &config->features;

    if (config->block_szx > TF_COAP_BLOCK_SZX_MAX)
        return false;
    if (use->separate)
        return config->peers && config->exchanges;
    for (size_t i = offsetof(struct tf_coap_features, separate) / sizeof(use->separate);
         i < TF_COAP_FEATURES; i++) {
        if (tf_coap_feature_at(config, i)) /* those after it want it */
            return false;
    }
    return true;
}

/* Lays a pool and its table out. */
static void lay_out_pool(struct tf_coap_layout *layout, struct tf_coap_pool *pool, uint32_t count,
                         size_t item_size)
{
    pool->item_size = (uint32_t)((item_size + 7) & ~(size_t)7);
    pool->count = count;
    pool->items = tf_coap_part(layout, count, pool->item_size);
    pool->buckets = tf_coap_part(layout, count, sizeof(*pool->buckets));
}

static void lay_out(struct tf_coap_endpoint *endpoint, const struct tf_coap_endpoint_config *config,
                    struct tf_coap_layout *layout)
{
    const struct tf_coap_features *use = &config->features;
    uint32_t datagram =
        (uint32_t)(config->datagram_max ? config->datagram_max : TF_COAP_DATAGRAM_MAX);
    uint32_t timers = config->requests + config->calls + config->exchanges + config->transfers;

    endpoint->requests.buckets = tf_coap_part(layout, config->requests, sizeof(uint32_t));
    lay_out_pool(layout, &endpoint->calls, config->calls, sizeof(struct tf_coap_call));
    lay_out_pool(layout, &endpoint->exchanges, config->exchanges, sizeof(struct tf_coap_exchange));
    lay_out_pool(layout, &endpoint->replies, config->replies, sizeof(struct tf_coap_reply));
    lay_out_pool(layout, &endpoint->observers, config->observers, sizeof(struct tf_coap_observer));
    lay_out_pool(layout, &endpoint->transfers, config->transfers, sizeof(struct tf_coap_transfer));
    lay_out_pool(layout, &endpoint->peers, config->peers,
                 sizeof(struct tf_coap_peer) + config->path_size);
    endpoint->buffers = tf_coap_part(layout, config->buffers, TF_COAP_BUFFER);
    endpoint->buffer_left = config->buffers;
    endpoint->heap_size = use->separate ? timers : 0;
    endpoint->heap = tf_coap_part(layout, endpoint->heap_size, sizeof(void *));
    endpoint->scratch = tf_coap_part(layout, use->client ? datagram : 0, 1);
}

static void init(struct tf_coap_endpoint *endpoint)
{
    const struct tf_coap_endpoint_config *config = endpoint->config;

    config->random(config->random_ctx, &endpoint->key, sizeof(endpoint->key));
    for (size_t i = 0; i < TF_COAP_FEATURES; i++) {
        const struct tf_coap_feature *feature = tf_coap_feature_at(config, i);
        if (feature && feature->init)
            feature->init(endpoint);
    }
}

/* ---- notices ---- */

void tf_coap_notify_later(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                          bool (*fill)(struct tf_coap_endpoint *endpoint,
                                       struct tf_coap_notice *notice, struct tf_coap_event *ret))
{
    notice->fill = fill;
    if (notice->waiting)
        return;
    notice->waiting = true;
    notice->next = NULL;
    notice->prev = endpoint->notice_last;
    if (endpoint->notice_last)
        endpoint->notice_last->next = notice;
    else
        endpoint->notice_first = notice;
    endpoint->notice_last = notice;
}

void tf_coap_notice_drop(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice)
{
    if (!notice->waiting)
        return;
    if (notice->prev)
        notice->prev->next = notice->next;
    else
        endpoint->notice_first = notice->next;
    if (notice->next)
        notice->next->prev = notice->prev;
    else
        endpoint->notice_last = notice->prev;
    notice->waiting = false;
}

static bool pull_notice(struct tf_coap_endpoint *endpoint, struct tf_coap_event *ret)
{
    struct tf_coap_notice *notice;

    while ((notice = endpoint->notice_first)) {
        tf_coap_notice_drop(endpoint, notice);
        memset(ret, 0, sizeof(*ret));
        if (notice->fill(endpoint, notice, ret))
            return true;
    }
    return false;
}

/* ---- options ---- */

static void put_options(struct tf_coap_encoder *encoder, const struct tf_coap_outgoing *out)
{
    struct tf_coap_cursor cursor = tf_coap_options(out->encoded_options);
    struct tf_coap_option option;
    size_t i = 0, extra = 0;
    bool more;

    do {
        more = out->options ? i < out->option_count : tf_coap_option_next(&cursor, &option);
        if (more && out->options)
            option = out->options[i++];
        for (; extra < out->extra_count && (!more || out->extra[extra].number < option.number);
             extra++)
            tf_coap_encode_option(encoder, out->extra[extra].number, out->extra[extra].value);
        if (more && (!out->skip || option.number != out->skip))
            tf_coap_encode_option(encoder, option.number, option.value);
    } while (more);
}

/* Those whose values features read, in the order of enum tf_coap_seen. */
static const uint16_t taken[TF_COAP_SEEN_COUNT] = {
    TF_COAP_ETAG,   TF_COAP_OBSERVE, TF_COAP_CONTENT_FORMAT, TF_COAP_MAX_AGE_OPTION,
    TF_COAP_ACCEPT, TF_COAP_BLOCK2,  TF_COAP_BLOCK1,         TF_COAP_SIZE2,
    TF_COAP_SIZE1,  TF_COAP_ECHO,    TF_COAP_NO_RESPONSE};

static void take_option(struct tf_coap_inbound *in, const struct tf_coap_option *option)
{
    uint16_t number = option->number;
    unsigned at = 0;

    if (number == TF_COAP_HOP_LIMIT && !option->value.data[0] && !in->error)
        in->error = TF_COAP_BAD_REQUEST; /* RFC 8768 3: 1 to 255 */
    while (at < TF_COAP_SEEN_COUNT && taken[at] < number)
        at++;
    if (at == TF_COAP_SEEN_COUNT || taken[at] != number)
        return;
    in->seen |= (uint16_t)(1u << at);
    in->values[at] = tf_coap_uint(option->value);
    if (number == TF_COAP_ETAG && in->etag_count < TF_COAP_ETAGS)
        in->etag[in->etag_count++] = option->value;
    if (number == TF_COAP_ECHO)
        in->echo = option->value;
    if (number == TF_COAP_BLOCK1 || number == TF_COAP_BLOCK2) {
        struct tf_coap_block *block = number == TF_COAP_BLOCK1 ? &in->block1 : &in->block2;
        (void)tf_coap_block_read(option->value, block);
        if (block->szx > TF_COAP_BLOCK_SZX_MAX && !in->error) /* RFC 7959 2.2: reserved */
            in->error = TF_COAP_BAD_REQUEST;
    }
}

/* ---- requests ---- */

static enum tf_coap_verdict repeated(struct tf_coap_endpoint *endpoint,
                                     struct tf_coap_request_slot *request,
                                     struct tf_coap_inbound *in)
{
    for (size_t i = 0; i < TF_COAP_FEATURES; i++) {
        const struct tf_coap_feature *feature = tf_coap_feature_at(endpoint->config, i);
        if (feature && feature->repeated &&
            feature->repeated(endpoint, request, in) == TF_COAP_DONE) {
            endpoint->counters.duplicates++;
            return TF_COAP_DONE;
        }
    }
    return TF_COAP_GO_ON;
}

/* The last in the config comes first, but negotiation before all, since others may keep the
 * request. */
static enum tf_coap_verdict on_request(struct tf_coap_endpoint *endpoint,
                                       struct tf_coap_request_slot *request,
                                       const struct tf_coap_inbound *in,
                                       struct tf_coap_event *event)
{
    const struct tf_coap_feature *feature = endpoint->config->features.negotiation;

    request->block1 = in->block1;
    request->block2 = in->block2;
    if (feature)
        (void)feature->request(endpoint, request, in, event);
    for (size_t i = TF_COAP_FEATURES; --i;) {
        feature = tf_coap_feature_at(endpoint->config, i);
        if (feature && feature->request &&
            feature->request(endpoint, request, in, event) == TF_COAP_DONE)
            return TF_COAP_DONE;
    }
    return TF_COAP_GO_ON;
}

static void opened(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    (void)endpoint;
    if (request->transfer)
        request->transfer->request = request;
}

/* block_server comes before separate. */
static bool settle(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    for (size_t i = TF_COAP_FEATURES; --i;) {
        const struct tf_coap_feature *feature = tf_coap_feature_at(endpoint->config, i);
        if (feature && feature->settle && feature->settle(endpoint, request) == TF_COAP_DONE)
            return true;
    }
    return false;
}

static void ended(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    for (size_t i = TF_COAP_FEATURES; --i;) {
        const struct tf_coap_feature *feature = tf_coap_feature_at(endpoint->config, i);
        if (feature && feature->ended)
            feature->ended(endpoint, request);
    }
}

static bool other(struct tf_coap_endpoint *endpoint, struct tf_coap_inbound *in)
{
    const struct tf_coap_features *use = &endpoint->config->features;
    uint8_t type = in->message.type;
    bool empty = in->message.code == TF_COAP_EMPTY;

    if ((type == TF_COAP_ACK || (type == TF_COAP_RST && empty)) && use->separate)
        use->separate->acknowledged(endpoint, in);
    if (empty || type == TF_COAP_RST)
        return false;
    endpoint->counters.responses_in++;
    if (!use->client)
        return false;
    tf_coap_take_options(endpoint, in, TF_COAP_FOREIGN | TF_COAP_OF_REQUESTS);
    use->client->calls->response(endpoint, in);
    return true;
}

/* ---- answers ---- */

static enum tf_err answer(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                          const struct tf_coap_response *response, struct tf_coap_outgoing *out)
{
    enum tf_err err = TF_OK;

    for (size_t i = 0; !err && out->code != TF_COAP_EMPTY && i < TF_COAP_FEATURES; i++) {
        const struct tf_coap_feature *feature = tf_coap_feature_at(endpoint->config, i);
        if (feature && feature->answer)
            err = feature->answer(endpoint, request, response, out);
    }
    return err;
}

/* True if the client does not want to hear this code (RFC 7967 2.1: bit 1 is for 2.xx). */
static bool unwanted(const struct tf_coap_request_slot *request, uint8_t code)
{
    return (request->no_response << 1 >> tf_coap_class(code) & 1) != 0;
}

static void answered(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                     const struct tf_coap_response *response, const struct tf_coap_outgoing *out,
                     uint64_t *ret_observer, bool *ret_borrowed)
{
    if (unwanted(request, out->code))
        return;
    for (size_t i = 0; i < TF_COAP_FEATURES; i++) {
        const struct tf_coap_feature *feature = tf_coap_feature_at(endpoint->config, i);
        if (feature && feature->answered)
            feature->answered(endpoint, request, response, out, ret_observer, ret_borrowed);
    }
}

/* A CON must be acknowledged also when it is not answered (RFC 7252 4.2; RFC 7967 2). TF_AGAIN: no
 * room. */
static enum tf_err acknowledge(struct tf_coap_endpoint *endpoint,
                               struct tf_coap_request_slot *request, bool own)
{
    if (request->type != TF_COAP_CON || request->acknowledged)
        return TF_OK;
    if (!tf_coap_room(endpoint, own))
        return TF_AGAIN;
    tf_coap_write_empty(endpoint, request->path, TF_COAP_ACK, request->message_id);
    request->acknowledged = true;
    return TF_OK;
}

static enum tf_err send(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                        struct tf_coap_outgoing *out)
{
    const struct tf_coap_features *use = &endpoint->config->features;
    bool own = !endpoint->fresh || endpoint->fresh == request;
    struct tf_bytes datagram = {NULL, 0};
    enum tf_err err;

    if (!out || unwanted(request, out->code)) {
        err = acknowledge(endpoint, request, own);
    } else if (request->flags & TF_DATAGRAM_MULTICAST) {
        err = use->multicast_server->send(endpoint, request, out);
    } else if (request->acknowledged) {
        err = use->separate->send(endpoint, request, out);
    } else {
        if (request->type != TF_COAP_CON && endpoint->answer_id && tf_coap_room(endpoint, own))
            out->message_id = endpoint->answer_id(endpoint, request);
        err = tf_coap_write(endpoint, request->path, out, &datagram, own);
    }
    if (!err && use->deduplication)
        use->deduplication->keep(endpoint, request, datagram);
    return err;
}

const struct tf_coap_extension tf_coap_extension = {.valid = valid,
                                                    .tick = tf_coap_run_timers,
                                                    .lay_out = lay_out,
                                                    .init = init,
                                                    .notice = pull_notice,
                                                    .take_option = take_option,
                                                    .put_options = put_options,
                                                    .repeated = repeated,
                                                    .request = on_request,
                                                    .opened = opened,
                                                    .other = other,
                                                    .answer = answer,
                                                    .answered = answered,
                                                    .send = send,
                                                    .settle = settle,
                                                    .ended = ended};
