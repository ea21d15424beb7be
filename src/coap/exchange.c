/*
 * Exchanges: messages that wait for an acknowledgement, retransmitted with back-off (RFC 7252 4.2),
 * and NON that wait for their time.
 *
 *    tf_coap_exchange_start --> SENT --ACK, RST--> done, freed
 *                               |  ^
 *                  time-out     v  |  fewer than MAX_RETRANSMIT: written again, time-out doubled
 *                               `--'--MAX_RETRANSMIT reached--> done (TIMED_OUT), freed
 *
 *    tf_coap_exchange_delay --> DELAYED --its time--> written, freed
 *
 * Who has started an exchange and what its end means to it, is the owner's business.
 */
#include "coap/endpoint.h"

void tf_coap_exchange_free(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange)
{
    tf_coap_timer_stop(endpoint, &exchange->timer);
    tf_coap_chain_free(endpoint, &exchange->datagram);
    tf_coap_peer_unref(exchange->peer);
    tf_coap_pool_unlink(&endpoint->exchanges, exchange);
    tf_coap_pool_free(&endpoint->exchanges, exchange);
}

/* The owner learns how it ended, then it is freed. */
static void end(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange,
                enum tf_coap_outcome outcome)
{
    tf_coap_timer_stop(endpoint, &exchange->timer);
    tf_coap_pool_unlink(&endpoint->exchanges, exchange);
    if (exchange->done)
        exchange->done(endpoint, exchange, outcome);
    tf_coap_exchange_free(endpoint, exchange);
}

void tf_coap_exchange_answer(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                             uint16_t message_id, enum tf_coap_outcome outcome)
{
    const struct tf_coap_feature *observe = endpoint->config->features.observe_server;
    struct tf_coap_exchange *exchange = tf_coap_exchange_find(endpoint, peer, message_id);

    if (exchange && !exchange->delayed) {
        if (outcome == TF_COAP_ACKNOWLEDGED)
            peer->proved = peer->heard = true;
        end(endpoint, exchange, outcome);
    } else if (outcome == TF_COAP_RESET && observe && observe->reset) {
        observe->reset(endpoint, peer, message_id);
    }
}

static bool on_timer(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer)
{
    struct tf_coap_exchange *exchange = tf_container_of(timer, struct tf_coap_exchange, timer);
    unsigned most = exchange->transmission->max_retransmit;

    if (exchange->delayed) {
        if (!tf_coap_write_chain(endpoint, exchange->peer->path, &exchange->datagram, false))
            return false;
        exchange->peer->answering--;
        tf_coap_exchange_free(endpoint, exchange);
        return true;
    }
    if (most == TF_COAP_NO_RETRANSMIT || exchange->retransmissions >= most) {
        endpoint->counters.timeouts++;
        end(endpoint, exchange, TF_COAP_TIMED_OUT);
        return true;
    }
    if (endpoint->now >
        tf_time_add(exchange->first_sent, tf_coap_transmit_span(exchange->transmission))) {
        /* RFC 7252 4.2: nothing goes later than MAX_TRANSMIT_SPAN, however long nobody ticked. */
        exchange->retransmissions = (uint8_t)most;
        tf_coap_timer_in(endpoint, timer, exchange->timeout_ms);
        return true;
    }
    if (!tf_coap_write_chain(endpoint, exchange->peer->path, &exchange->datagram, false))
        return false;
    endpoint->counters.retransmissions++;
    exchange->retransmissions++;
    exchange->timeout_ms = TF_MIN(exchange->timeout_ms, UINT32_MAX / 2) * 2; /* 4.2 */
    /* Who is late catches up, but keeps ACK_TIMEOUT from the last one. */
    tf_coap_timer_set(endpoint, timer,
                      TF_MAX(tf_coap_later(timer->at, exchange->timeout_ms),
                             tf_coap_later(endpoint->now, exchange->transmission->ack_timeout_ms)));
    if (exchange->again)
        exchange->again(endpoint, exchange);
    return true;
}

/* A new exchange of what has just been written, or NULL; `written` is taken back then. */
static struct tf_coap_exchange *keep(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                                     struct tf_bytes written)
{
    struct tf_coap_exchange *exchange = tf_coap_pool_new(&endpoint->exchanges);

    if (exchange && !tf_coap_chain_put(endpoint, &exchange->datagram, written)) {
        tf_coap_pool_free(&endpoint->exchanges, exchange);
        exchange = NULL;
    }
    if (!exchange) {
        tf_coap_unwrite(endpoint, written);
        return NULL;
    }
    tf_coap_peer_ref(peer);
    exchange->peer = peer;
    exchange->timer.fire = on_timer;
    exchange->transmission = &endpoint->transmission;
    return exchange;
}

/* ACK_TIMEOUT times a random factor from 1 to ACK_RANDOM_FACTOR (RFC 7252 4.2). */
static uint32_t first_timeout(struct tf_coap_endpoint *endpoint,
                              const struct tf_coap_transmission *transmission)
{
    uint32_t least_ms = transmission->ack_timeout_ms;
    uint32_t percent = transmission->ack_random_percent - 100u;
    /* from 0 to percent / 100, in parts of 2^16; no long division */
    uint32_t part = (tf_coap_random(endpoint) >> 16) * percent / 100;

    uint64_t timeout_ms = least_ms + ((uint64_t)least_ms * part >> 16);

    return timeout_ms < UINT32_MAX ? (uint32_t)timeout_ms : UINT32_MAX;
}

enum tf_err tf_coap_exchange_start_with(struct tf_coap_endpoint *endpoint,
                                        struct tf_coap_peer *peer, struct tf_coap_outgoing *out,
                                        bool own, const struct tf_coap_transmission *transmission,
                                        struct tf_coap_exchange **ret)
{
    struct tf_bytes written;

    if (!tf_coap_room(endpoint, own))
        return TF_AGAIN;
    if (endpoint->exchanges.used == endpoint->exchanges.count)
        return TF_LIMIT;
    out->type = TF_COAP_CON;
    out->message_id = tf_coap_message_id(endpoint, peer);
    enum tf_err err = tf_coap_write(endpoint, peer->path, out, &written, own);
    if (err)
        return err;
    struct tf_coap_exchange *exchange = keep(endpoint, peer, written);
    if (!exchange)
        return TF_LIMIT;
    if (transmission)
        exchange->transmission = transmission;
    exchange->message_id = out->message_id;
    exchange->first_sent = endpoint->now;
    exchange->timeout_ms = first_timeout(endpoint, exchange->transmission);
    tf_coap_pool_link(&endpoint->exchanges, exchange,
                      tf_coap_mix(peer->path_hash, out->message_id));
    tf_coap_timer_in(endpoint, &exchange->timer, exchange->timeout_ms);
    *ret = exchange;
    return TF_OK;
}

enum tf_err tf_coap_exchange_start(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                                   struct tf_coap_outgoing *out, bool own,
                                   struct tf_coap_exchange **ret)
{
    return tf_coap_exchange_start_with(endpoint, peer, out, own, NULL, ret);
}

enum tf_err tf_coap_exchange_delay(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                                   struct tf_coap_outgoing *out, tf_time at)
{
    struct tf_bytes written;

    out->type = TF_COAP_NON;
    out->message_id = tf_coap_message_id(endpoint, peer);
    enum tf_err err = tf_coap_write(endpoint, peer->path, out, &written, true);
    if (err)
        return err;
    struct tf_coap_exchange *exchange = keep(endpoint, peer, written);
    if (!exchange)
        return TF_LIMIT;
    tf_coap_unwrite(endpoint, written);
    exchange->delayed = true;
    exchange->message_id = out->message_id;
    tf_coap_pool_link(&endpoint->exchanges, exchange,
                      tf_coap_mix(peer->path_hash, out->message_id));
    tf_coap_timer_set(endpoint, &exchange->timer, at);
    return TF_OK;
}
