/*
 * Peers: what is remembered of other endpoints. A record is made when state is needed; when all are
 * taken, a clock hand finds one that nothing refers to and that was not used lately.
 */
#include "coap/endpoint.h"

/* So many records are looked at before a new peer is refused: no scan over all. */
#define HAND_STEPS 64u

tf_coap_hash_value tf_coap_hash(const struct tf_coap_endpoint *endpoint, struct tf_bytes bytes)
{
    return sizeof(tf_coap_hash_value) > 4 ? (tf_coap_hash_value)tf_hash(bytes, &endpoint->key)
                                          : tf_hash32(bytes, &endpoint->key);
}

struct tf_coap_peer *tf_coap_peer_find(struct tf_coap_endpoint *endpoint, const void *path,
                                       tf_coap_hash_value path_hash)
{
    struct tf_coap_peer *peer = tf_coap_pool_first(&endpoint->peers, (uint32_t)path_hash);
    size_t size = endpoint->config->path_size;

    for (; peer; peer = tf_coap_pool_next(&endpoint->peers, peer)) {
        if (peer->path_hash == path_hash && (!size || memcmp(peer->path, path, size) == 0)) {
            peer->used = true;
            return peer;
        }
    }
    return NULL;
}

/* Frees one that nothing refers to. False: none was found. */
static bool make_room(struct tf_coap_endpoint *endpoint)
{
    struct tf_coap_pool *pool = &endpoint->peers;

    for (uint32_t step = 0; step < TF_MIN(2 * pool->high, HAND_STEPS); step++) {
        struct tf_coap_peer *peer = tf_coap_pool_at(pool, endpoint->peer_hand);
        endpoint->peer_hand = (endpoint->peer_hand + 1) % pool->high;
        if (!peer || peer->references)
            continue;
        if (peer->used) {
            peer->used = false;
            continue;
        }
        tf_coap_pool_unlink(pool, peer);
        tf_coap_pool_free(pool, peer);
        return true;
    }
    return false;
}

struct tf_coap_peer *tf_coap_peer_get(struct tf_coap_endpoint *endpoint, const void *path,
                                      tf_coap_hash_value path_hash)
{
    struct tf_coap_pool *pool = &endpoint->peers;
    struct tf_coap_peer *peer = tf_coap_peer_find(endpoint, path, path_hash);

    if (peer)
        return peer;
    if (pool->used == pool->count && !make_room(endpoint))
        return NULL;
    peer = tf_coap_pool_new(pool);
    peer->path_hash = path_hash;
    peer->message_id = (uint16_t)tf_coap_random(endpoint); /* RFC 7252 4.4 */
    if (endpoint->config->path_size)
        memcpy(peer->path, path, endpoint->config->path_size);
    tf_coap_pool_link(pool, peer, (uint32_t)path_hash);
    return peer;
}

/* The exchange with this message id, or NULL. */
struct tf_coap_exchange *tf_coap_exchange_find(const struct tf_coap_endpoint *endpoint,
                                               const struct tf_coap_peer *peer, uint16_t message_id)
{
    const struct tf_coap_pool *pool = &endpoint->exchanges;
    struct tf_coap_exchange *exchange =
        tf_coap_pool_first(pool, tf_coap_mix(peer->path_hash, message_id));

    while (exchange && (exchange->peer != peer || exchange->message_id != message_id))
        exchange = tf_coap_pool_next(pool, exchange);
    return exchange;
}

enum tf_err tf_coap_write_non(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                              struct tf_coap_outgoing *out, bool own)
{
    out->type = TF_COAP_NON;
    out->message_id = tf_coap_message_id(endpoint, peer);
    return tf_coap_write(endpoint, peer->path, out, NULL, own);
}

uint16_t tf_coap_message_id(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer)
{
    if (!peer)
        return endpoint->message_id++;
    /* RFC 7252 4.4: not one that is in use; all but a few are free, and if none is, so be it. */
    for (uint32_t tries = UINT16_MAX;
         tries && tf_coap_exchange_find(endpoint, peer, peer->message_id); tries--)
        peer->message_id++;
    return peer->message_id++;
}
