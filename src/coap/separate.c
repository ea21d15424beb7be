/*
 * Answers that take time (RFC 7252 5.2.2): a request that is not answered at once is settled; its
 * CON gets an empty ACK after a while, or when it comes again; the answer is then a CON of its own.
 * Such answers do not wait behind NSTART calls; a peer that leaves too many of them without an
 * acknowledgement gets NON ones.
 */
#include "coap/endpoint.h"

#define SEPARATE_AFTER_MS 250u

static uint16_t answer_id(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    return tf_coap_message_id(endpoint,
                              tf_coap_peer_get(endpoint, request->path, request->path_hash));
}

static void init(struct tf_coap_endpoint *endpoint)
{
    endpoint->hash = tf_coap_hash;
    endpoint->answer_id = answer_id;
    tf_coap_transmission_fill(&endpoint->transmission, &endpoint->config->transmission);
}

/* ---- requests that wait for their answer ---- */

static void acknowledge(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    tf_coap_write_empty(endpoint, request->path, TF_COAP_ACK, request->message_id);
    request->acknowledged = true;
    tf_coap_timer_stop(endpoint, &request->timer);
}

static bool on_timer(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer)
{
    if (!tf_coap_room(endpoint, false))
        return false;
    acknowledge(endpoint, tf_container_of(timer, struct tf_coap_request_slot, timer));
    return true;
}

static enum tf_coap_verdict settle(struct tf_coap_endpoint *endpoint,
                                   struct tf_coap_request_slot *request)
{
    const struct tf_coap_endpoint_config *config = endpoint->config;
    uint32_t wait_ms = config->separate_after_ms ? config->separate_after_ms : SEPARATE_AFTER_MS;

    if (!request->peer) {
        request->peer = tf_coap_peer_get(endpoint, request->path, request->path_hash);
        if (request->peer)
            tf_coap_peer_ref(request->peer);
    }
    request->settled = true;
    tf_coap_pool_link(&endpoint->requests, request,
                      tf_coap_mix(request->path_hash, request->message_id));
    if (request->type == TF_COAP_CON && !request->acknowledged) {
        request->timer.fire = on_timer;
        tf_coap_timer_in(endpoint, &request->timer, wait_ms);
    }
    return TF_COAP_DONE;
}

/* Takes a request out of what `settle` entered it into; it keeps its peer. */
static void unsettle(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    tf_coap_pool_unlink(&endpoint->requests, request);
    tf_coap_timer_stop(endpoint, &request->timer);
    request->settled = false;
}

void tf_coap_request_adopt(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                           const struct tf_coap_request_slot *from)
{
    const size_t first = offsetof(struct tf_coap_request_slot, type);
    const size_t own = offsetof(struct tf_coap_request_slot, path);
    const size_t rest = offsetof(struct tf_coap_request_slot, path_hash);

    unsettle(endpoint, request);
    memcpy((uint8_t *)request + first, (const uint8_t *)from + first, own - first);
    memcpy((uint8_t *)request + rest, (const uint8_t *)from + rest, sizeof(*request) - rest);
    endpoint->fresh = request;
}

static bool fill_cancelled(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                           struct tf_coap_event *ret)
{
    struct tf_coap_request_slot *request =
        tf_container_of(notice, struct tf_coap_request_slot, notice);

    ret->type = TF_COAP_EVENT_CANCELLED;
    ret->handle = tf_coap_pool_handle(&endpoint->requests, request);
    ret->user = request->user;
    tf_coap_request_free(endpoint, request);
    return true;
}

void tf_coap_request_cancel(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    if (request->ended)
        return;
    if (endpoint->fresh == request)
        endpoint->fresh = NULL;
    unsettle(endpoint, request);
    request->ended = true;
    tf_coap_notify_later(endpoint, &request->notice, fill_cancelled);
}

static void ended(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    unsettle(endpoint, request);
    tf_coap_notice_drop(endpoint, &request->notice);
    if (request->peer)
        tf_coap_peer_unref(request->peer);
}

/* RFC 7252 4.2: a duplicate of what is not answered yet gets the empty ACK, again if it had it. */
static enum tf_coap_verdict repeated(struct tf_coap_endpoint *endpoint,
                                     struct tf_coap_request_slot *request,
                                     const struct tf_coap_inbound *in)
{
    const struct tf_coap_pool *pool = &endpoint->requests;
    struct tf_coap_request_slot *open;

    if (!pool->used)
        return TF_COAP_GO_ON;
    open = tf_coap_pool_first(pool, tf_coap_mix(in->path_hash, request->message_id));
    for (; open; open = tf_coap_pool_next(pool, open)) {
        if (open->message_id == request->message_id && open->path_hash == request->path_hash &&
            open->type == request->type && open->method == request->method &&
            open->request_size == request->request_size &&
            open->datagram_hash == request->datagram_hash &&
            tf_bytes_equal(tf_bytes_of(open->token, open->token_length), in->message.token))
            break;
    }
    if (!open)
        return TF_COAP_GO_ON;
    if (open->type == TF_COAP_CON)
        acknowledge(endpoint, open);
    return TF_COAP_DONE;
}

/* ---- the answer ---- */

static void answer_done(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange,
                        enum tf_coap_outcome outcome)
{
    (void)endpoint, (void)outcome;
    exchange->peer->answering--;
}

static enum tf_err send(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                        struct tf_coap_outgoing *out)
{
    struct tf_coap_peer *peer = request->peer;
    struct tf_coap_exchange *exchange;

    if (!peer)
        peer = tf_coap_peer_get(endpoint, request->path, request->path_hash);
    if (!peer)
        return TF_AGAIN;
    enum tf_err err = TF_LIMIT;
    if (peer->answering < TF_COAP_ANSWERS_MAX)
        err = tf_coap_exchange_start(endpoint, peer, out, !endpoint->fresh, &exchange);
    if (!err) {
        peer->answering++;
        exchange->done = answer_done;
    } else if (err == TF_LIMIT) {
        /* RFC 7252 5.2.2 lets it be a NON: who acknowledges nothing keeps nobody waiting. */
        err = tf_coap_write_non(endpoint, peer, out, !endpoint->fresh);
    }
    return err;
}

static void acknowledged(struct tf_coap_endpoint *endpoint, const struct tf_coap_inbound *in)
{
    struct tf_coap_peer *peer = tf_coap_peer_find(endpoint, in->datagram->path, in->path_hash);
    bool reset = in->message.type == TF_COAP_RST;

    endpoint->counters.resets_in += reset;
    if (peer)
        tf_coap_exchange_answer(endpoint, peer, in->message.message_id,
                                reset ? TF_COAP_RESET : TF_COAP_ACKNOWLEDGED);
}

const struct tf_coap_feature tf_coap_separate = {.extension = &tf_coap_extension,
                                                 .init = init,
                                                 .repeated = repeated,
                                                 .settle = settle,
                                                 .ended = ended,
                                                 .send = send,
                                                 .acknowledged = acknowledged};
