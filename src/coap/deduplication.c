/*
 * De-duplication (RFC 7252 4.5): a duplicate has the same path, message id and bytes. Safe methods
 * run again; of others the answer is kept for as long as a duplicate may come, and sent again. When
 * records or buffers are short, the oldest make room.
 */
#include "coap/endpoint.h"

/* ---- the list of replies ---- */

static void drop(struct tf_coap_endpoint *endpoint, struct tf_coap_reply *reply)
{
    if (reply->older)
        reply->older->newer = reply->newer;
    else
        endpoint->reply_oldest = reply->newer;
    if (reply->newer)
        reply->newer->older = reply->older;
    else
        endpoint->reply_newest = reply->older;
    tf_coap_chain_free(endpoint, &reply->datagram);
    tf_coap_pool_unlink(&endpoint->replies, reply);
    tf_coap_pool_free(&endpoint->replies, reply);
}

static void forget(struct tf_coap_endpoint *endpoint)
{
    drop(endpoint, endpoint->reply_oldest);
}

static bool safe(uint8_t method)
{
    return method == TF_COAP_GET || method == TF_COAP_FETCH;
}

/* By all bytes, not by the id alone: a peer may give one id to any number of other requests. */
static uint32_t bucket_of(tf_coap_hash_value path_hash, tf_coap_hash_value datagram_hash)
{
    return (uint32_t)(path_hash ^ datagram_hash);
}

static struct tf_coap_reply *find(const struct tf_coap_endpoint *endpoint,
                                  const struct tf_coap_request_slot *request)
{
    const struct tf_coap_pool *pool = &endpoint->replies;
    struct tf_coap_reply *reply =
        tf_coap_pool_first(pool, bucket_of(request->path_hash, request->datagram_hash));

    while (reply &&
           (reply->message_id != request->message_id || reply->path_hash != request->path_hash ||
            reply->datagram_hash != request->datagram_hash))
        reply = tf_coap_pool_next(pool, reply);
    return reply;
}

/* ---- hooks ---- */

static void init(struct tf_coap_endpoint *endpoint)
{
    endpoint->hash = tf_coap_hash;
    tf_coap_transmission_fill(&endpoint->transmission, &endpoint->config->transmission);
}

static enum tf_coap_verdict repeated(struct tf_coap_endpoint *endpoint,
                                     struct tf_coap_request_slot *request,
                                     const struct tf_coap_inbound *in)
{
    if (safe(request->method))
        return TF_COAP_GO_ON;
    request->datagram_hash = tf_coap_hash(endpoint, in->datagram->bytes);
    struct tf_coap_reply *reply = find(endpoint, request);
    if (!reply)
        return TF_COAP_GO_ON;
    if (reply->expiry <= endpoint->now) {
        drop(endpoint, reply);
        return TF_COAP_GO_ON;
    }
    if (request->type != TF_COAP_CON)
        return TF_COAP_DONE; /* RFC 7252 4.5: a NON is silently ignored */
    if (!reply->datagram.length)
        tf_coap_write_empty(endpoint, request->path, TF_COAP_ACK, request->message_id);
    else
        (void)tf_coap_write_chain(endpoint, request->path, &reply->datagram, true);
    return TF_COAP_DONE;
}

static void keep(struct tf_coap_endpoint *endpoint, const struct tf_coap_request_slot *request,
                 struct tf_bytes datagram)
{
    struct tf_coap_chain chain = {0, 0};
    bool con = request->type == TF_COAP_CON;

    if (safe(request->method) || !endpoint->replies.count)
        return;
    if (endpoint->replies.used == endpoint->replies.count)
        forget(endpoint);
    if (con && datagram.length)
        (void)tf_coap_chain_put(endpoint, &chain, datagram); /* else the empty ACK must do */
    struct tf_coap_reply *reply = tf_coap_pool_new(&endpoint->replies);
    reply->path_hash = request->path_hash;
    reply->datagram_hash = request->datagram_hash;
    reply->message_id = request->message_id;
    reply->datagram = chain;
    reply->expiry =
        tf_time_add(endpoint->now, con ? tf_coap_exchange_lifetime(&endpoint->transmission)
                                       : tf_coap_non_lifetime(&endpoint->transmission));
    reply->older = endpoint->reply_newest;
    if (reply->older)
        reply->older->newer = reply;
    else
        endpoint->reply_oldest = reply;
    endpoint->reply_newest = reply;
    tf_coap_pool_link(&endpoint->replies, reply, bucket_of(reply->path_hash, reply->datagram_hash));
}

const struct tf_coap_feature tf_coap_deduplication = {.extension = &tf_coap_extension,
                                                      .init = init,
                                                      .repeated = repeated,
                                                      .keep = keep,
                                                      .forget = forget};
