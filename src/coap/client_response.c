/*
 * Responses: which call they are for, and what they mean to it (RFC 7252 5.3.2, 4.2, 5.2; RFC 9175
 * 2.3).
 */
#include "coap/client.h"

struct tf_coap_call *tf_coap_call_by_token(const struct tf_coap_endpoint *endpoint,
                                           struct tf_bytes token)
{
    const struct tf_coap_pool *pool = &endpoint->calls;
    struct tf_coap_call *call;

    if (token.length != TF_COAP_TOKEN_MAX)
        return NULL;
    call = tf_coap_pool_first(pool, tf_coap_token_hash(token.data));
    while (call && memcmp(call->token, token.data, TF_COAP_TOKEN_MAX) != 0)
        call = tf_coap_pool_next(pool, call);
    return call;
}

/* The call that a response is for; NULL: none of ours, or not from where it was sent to. */
static struct tf_coap_call *match(const struct tf_coap_endpoint *endpoint,
                                  const struct tf_coap_inbound *in)
{
    struct tf_coap_call *call = tf_coap_call_by_token(endpoint, in->message.token);
    size_t size = endpoint->config->path_size;

    /* A call sent anew has a new token, so what is queued can get a late notification only. */
    if (!call)
        return NULL;
    if (in->message.type == TF_COAP_ACK &&
        (call->non || call->message_id != in->message.message_id))
        return NULL; /* RFC 7252 5.3.2: piggybacked: the message id must match too */
    /* The blocks of a body share a token: this may be a late answer to an earlier one. */
    if (call->block.sending && (in->seen & TF_COAP_SEEN_BLOCK1) &&
        in->block1.number < call->block.sent >> (call->block.szx + 4))
        return NULL;
    if (call->multicast)
        return call; /* 8.2: from any endpoint */
    if (call->peer->path_hash != in->path_hash ||
        (size && memcmp(call->peer->path, in->datagram->path, size) != 0))
        return NULL;
    return call;
}

/*
 * Acknowledges or resets a CON (RFC 7252 4.2). What was acknowledged is remembered, so that a
 * duplicate is acknowledged again and not reset.
 */
static void acknowledge(struct tf_coap_endpoint *endpoint, const struct tf_coap_inbound *in,
                        struct tf_coap_peer *peer, bool accepted)
{
    if (in->message.type != TF_COAP_CON)
        return;
    tf_coap_write_empty(endpoint, in->datagram->path, accepted ? TF_COAP_ACK : TF_COAP_RST,
                        in->message.message_id);
    if (peer && accepted) {
        peer->has_acked = true;
        peer->acked_id = in->message.message_id;
        peer->acked_at = endpoint->now;
    }
}

/* True if it is a CON that has been acknowledged already (RFC 7252 4.5). */
static bool is_duplicate(const struct tf_coap_endpoint *endpoint, const struct tf_coap_inbound *in,
                         const struct tf_coap_peer *peer)
{
    return in->message.type == TF_COAP_CON && peer && peer->has_acked &&
           peer->acked_id == in->message.message_id &&
           endpoint->now - peer->acked_at < tf_coap_exchange_lifetime(&endpoint->transmission);
}

/* A response that no call waits for: reset, or acknowledged again if it is a duplicate. */
static void reject(struct tf_coap_endpoint *endpoint, const struct tf_coap_inbound *in)
{
    const struct tf_coap_peer *peer =
        tf_coap_peer_find(endpoint, in->datagram->path, in->path_hash);
    bool again = is_duplicate(endpoint, in, peer);

    endpoint->counters.duplicates += again;
    acknowledge(endpoint, in, NULL, again);
    /* RFC 7641 3.6: so a server learns that its notifications are not wanted any more. */
    if (in->message.type == TF_COAP_NON && !again && (in->seen & TF_COAP_SEEN_OBSERVE))
        tf_coap_write_empty(endpoint, in->datagram->path, TF_COAP_RST, in->message.message_id);
}

/* Keeps an Echo for what goes next. True: the request is to be sent again with it. */
static bool take_echo(struct tf_coap_call *call, const struct tf_coap_inbound *in)
{
    if (!(in->seen & TF_COAP_SEEN_ECHO) || call->multicast)
        return false;
    call->echo_length = (uint8_t)in->echo.length;
    memcpy(call->echo, in->echo.data, in->echo.length);
    if (in->message.code != TF_COAP_UNAUTHORIZED || call->echoed)
        return false;
    call->echoed = true;
    return true;
}

/* The response has come: nothing is to be sent again. */
static void stop_sending(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    if (call->exchange)
        tf_coap_exchange_free(endpoint, call->exchange);
    call->exchange = NULL;
    if (call->state == TF_COAP_CALL_SENT && !call->non)
        call->state = TF_COAP_CALL_WAITING;
}

static void deliver(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                    const struct tf_coap_inbound *in)
{
    const struct tf_coap_features *use = &endpoint->config->features;
    const struct tf_coap_feature *hooks[] = {
        call->multicast ? NULL : use->observe_client,
        call->multicast || call->raw_blocks ? NULL : use->block_client};
    struct tf_coap_event event = {.type = TF_COAP_EVENT_RESPONSE,
                                  .handle = tf_coap_pool_handle(&endpoint->calls, call),
                                  .user = call->user,
                                  .path = in->datagram->path,
                                  .flags = in->datagram->flags,
                                  .last = !call->multicast,
                                  .total = in->size2,
                                  .round_trip_us = (uint32_t)(endpoint->now - call->first_sent),
                                  .retransmissions = call->retransmissions,
                                  .message = in->message,
                                  .body = in->message.payload};

    for (size_t i = 0; i < TF_COUNT(hooks); i++) {
        if (hooks[i] && hooks[i]->calls->answer_came(endpoint, call, in, &event) == TF_COAP_DONE)
            return;
    }
    tf_coap_event_set(endpoint, &event);
    if (event.last)
        tf_coap_call_free(endpoint, call);
}

static void on_response(struct tf_coap_endpoint *endpoint, struct tf_coap_inbound *in)
{
    struct tf_coap_call *call = match(endpoint, in);

    if (!call) {
        reject(endpoint, in);
        return;
    }
    if (!call->multicast)
        call->peer->heard = true;
    if (is_duplicate(endpoint, in, call->multicast ? NULL : call->peer)) {
        reject(endpoint, in); /* a notification that has come before */
        return;
    }
    if (in->error) { /* RFC 7252 5.4.1: a critical option that is not understood */
        acknowledge(endpoint, in, NULL, false);
        if (!call->multicast) {
            stop_sending(endpoint, call);
            tf_coap_call_fail(endpoint, call, TF_PROTOCOL);
        }
        return;
    }
    acknowledge(endpoint, in, call->multicast ? NULL : call->peer, true);
    stop_sending(endpoint, call);
    if (take_echo(call, in))
        tf_coap_call_send(endpoint, call);
    else
        deliver(endpoint, call, in);
}

static const struct tf_coap_call_hooks call_hooks = {.response = on_response};

const struct tf_coap_feature tf_coap_client = {.extension = &tf_coap_extension,
                                               .calls = &call_hooks};
