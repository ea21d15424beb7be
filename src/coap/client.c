/*
 * Calls: requests to other endpoints, NSTART and PROBING_RATE (RFC 7252 4.7, 5.3).
 *
 *                       .---- NSTART others, or no room ----.
 *                       v                                   |
 *    tf_coap_call --> QUEUED --transmit--> SENT --ACK--> WAITING
 *                       ^                   |               |
 *                       |                   | response      | response
 *      tf_coap_call_send: next block,       |               |
 *      Echo, registration anew <------------+---------------+
 *                       ^                   |               |
 *                       |                   v               v
 *                      IDLE <--------- observation      RESPONSE with `last`: freed
 *
 *    any --time-out, RST, no sense--> ENDED --FAILED pulled--> freed
 *    any --tf_coap_cancel--> freed
 *
 * A call counts for NSTART from when it leaves the queue until it is idle or ends; the blocks of
 * one body are one interaction. A counted call that could not be written (no room, no exchange, or
 * PROBING_RATE) stays QUEUED and its timer tries again.
 */
#include "coap/client.h"

#define RETRY (100 * TF_MILLISECOND)

/* ---- NSTART ---- */

/* Takes a call out of its peer's queue, if it is in it. */
static void unqueue(struct tf_coap_call *call)
{
    struct tf_coap_peer *peer = call->peer;
    struct tf_coap_call *previous = NULL;

    for (struct tf_coap_call *at = peer->queue_first; at; previous = at, at = at->queue_next) {
        if (at != call)
            continue;
        if (previous)
            previous->queue_next = call->queue_next;
        else
            peer->queue_first = call->queue_next;
        if (peer->queue_last == call)
            peer->queue_last = previous;
        call->queue_next = NULL;
        return;
    }
}

static bool enough(const struct tf_coap_endpoint *endpoint, const struct tf_coap_peer *peer)
{
    unsigned nstart = endpoint->config->nstart ? endpoint->config->nstart : 1;

    return peer->outstanding >= nstart;
}

static void count(struct tf_coap_call *call, bool counted)
{
    if (call->counted == counted)
        return;
    call->counted = counted;
    if (counted)
        call->peer->outstanding++;
    else
        call->peer->outstanding--;
}

/* Lets the queue of a peer go on. Each step takes a call out, and none puts one in. */
static void pump(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer)
{
    while (peer->queue_first && !enough(endpoint, peer)) {
        struct tf_coap_call *call = peer->queue_first;
        unqueue(call);
        count(call, true);
        (void)tf_coap_call_transmit(endpoint, call);
    }
}

/* ---- the end ---- */

/* Frees the slot of a call that was released. */
static void forget(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    tf_coap_peer_unref(call->peer);
    tf_coap_pool_free(&endpoint->calls, call);
}

/* Gives back all that one call has, but its slot and its peer. The call that ends with it, or NULL.
 */
static struct tf_coap_call *release_one(struct tf_coap_endpoint *endpoint,
                                        struct tf_coap_call *call)
{
    const struct tf_coap_feature *block = endpoint->config->features.block_client;
    struct tf_coap_call *with = block ? block->calls->call_ended(call) : NULL;

    if (call->exchange)
        tf_coap_exchange_free(endpoint, call->exchange);
    call->exchange = NULL;
    tf_coap_timer_stop(endpoint, &call->timer);
    tf_coap_chain_free(endpoint, &call->options);
    tf_coap_chain_free(endpoint, &call->copy);
    tf_coap_notice_drop(endpoint, &call->notice);
    unqueue(call);
    count(call, false);
    tf_coap_pool_unlink(&endpoint->calls, call);
    return with;
}

/*
 * The same, and frees all that end with the call. They are of the same peer, whose queue the caller
 * pumps: nothing is sent from here, so no call ends while another one does. Each step frees a call,
 * so there are fewer steps than calls.
 */
static void release(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    struct tf_coap_call *with = release_one(endpoint, call);

    while (with) {
        struct tf_coap_call *next = release_one(endpoint, with);
        forget(endpoint, with);
        with = next;
    }
}

void tf_coap_call_free(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    struct tf_coap_peer *peer = call->peer;

    release(endpoint, call);
    pump(endpoint, peer);
    forget(endpoint, call);
}

/* The handle and pointer that an event of this call carries. */
static void name(const struct tf_coap_endpoint *endpoint, const struct tf_coap_call *call,
                 struct tf_coap_event *ret)
{
    ret->handle = tf_coap_pool_handle(&endpoint->calls, call);
    ret->user = call->user;
    ret->path = call->peer->path;
    ret->retransmissions = call->retransmissions;
    ret->round_trip_us = call->round_trip_us;
}

static bool fill_ended(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                       struct tf_coap_event *ret)
{
    struct tf_coap_call *call = tf_container_of(notice, struct tf_coap_call, notice);

    name(endpoint, call, ret);
    ret->type = call->err ? TF_COAP_EVENT_FAILED : TF_COAP_EVENT_PONG;
    ret->err = (enum tf_err)call->err;
    ret->last = true;
    forget(endpoint, call);
    return true;
}

static bool fill_again(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                       struct tf_coap_event *ret)
{
    const struct tf_coap_call *call = tf_container_of(notice, struct tf_coap_call, notice);

    name(endpoint, call, ret);
    ret->type = TF_COAP_EVENT_RETRANSMITTED;
    return true;
}

/* The end of a call that the application never knew: there is nothing to tell. */
static bool fill_nothing(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                         struct tf_coap_event *ret)
{
    (void)ret;
    forget(endpoint, tf_container_of(notice, struct tf_coap_call, notice));
    return false;
}

/* Ends a call with an event; others behind it have to be let go by the caller. */
static void finish(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call, enum tf_err err)
{
    bool known = !call->block.parent;

    release(endpoint, call);
    call->state = TF_COAP_CALL_ENDED;
    call->err = (int8_t)err;
    call->round_trip_us = (uint32_t)(endpoint->now - call->first_sent);
    tf_coap_notify_later(endpoint, &call->notice, known ? fill_ended : fill_nothing);
}

void tf_coap_call_fail(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                       enum tf_err err)
{
    struct tf_coap_peer *peer = call->peer;

    finish(endpoint, call, err);
    pump(endpoint, peer);
}

void tf_coap_call_idle(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    if (call->exchange)
        tf_coap_exchange_free(endpoint, call->exchange);
    call->exchange = NULL;
    tf_coap_timer_stop(endpoint, &call->timer);
    unqueue(call);
    call->state = TF_COAP_CALL_IDLE;
    count(call, false);
    pump(endpoint, call->peer);
}

/* Asks the features whether a loss is to be borne; else the call has failed. */
static void lose(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call, enum tf_err err)
{
    const struct tf_coap_features *use = &endpoint->config->features;
    const struct tf_coap_feature *hooks[] = {use->observe_client, use->block_client};

    for (size_t i = 0; i < TF_COUNT(hooks); i++) {
        if (hooks[i] && hooks[i]->calls->lost(endpoint, call, err) == TF_COAP_DONE)
            return;
    }
    tf_coap_call_fail(endpoint, call, err);
}

/* ---- sending ---- */

static bool on_timer(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer)
{
    struct tf_coap_call *call = tf_container_of(timer, struct tf_coap_call, timer);

    if (call->state == TF_COAP_CALL_QUEUED) {
        if (!tf_coap_room(endpoint, false))
            return false;
        enum tf_err err = tf_coap_call_transmit(endpoint, call);
        if (err == TF_MISUSE)
            pump(endpoint, call->peer);
        return true;
    }
    tf_coap_timer_stop(endpoint, timer);
    if (call->state != TF_COAP_CALL_IDLE) {
        endpoint->counters.timeouts++;
        call->peer->heard = false;
    }
    lose(endpoint, call, TF_AGAIN);
    return true;
}

static void on_done(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange,
                    enum tf_coap_outcome outcome)
{
    struct tf_coap_call *call = exchange->owner;

    call->exchange = NULL;
    call->state = TF_COAP_CALL_WAITING;
    if (call->ping && outcome != TF_COAP_TIMED_OUT) {
        struct tf_coap_peer *peer = call->peer;
        peer->heard = true;
        finish(endpoint, call, TF_OK);
        pump(endpoint, peer);
    } else if (outcome == TF_COAP_RESET) {
        lose(endpoint, call, TF_CLOSED);
    } else if (outcome == TF_COAP_TIMED_OUT) {
        call->peer->heard = false;
        lose(endpoint, call, TF_AGAIN);
    }
}

static void on_again(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange)
{
    struct tf_coap_call *call = exchange->owner;

    if (call->retransmissions < UINT8_MAX)
        call->retransmissions++;
    if (call->trace)
        tf_coap_notify_later(endpoint, &call->notice, fill_again);
}

/* The present message of a call. `body` and the scratch memory must last until it is written. */
static void compose(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                    struct tf_coap_outgoing *out, struct tf_bytes *body)
{
    const struct tf_coap_features *use = &endpoint->config->features;

    memset(out, 0, sizeof(*out));
    if (call->ping)
        return; /* RFC 7252 4.1: an empty message has no token either */
    out->type = call->non ? TF_COAP_NON : TF_COAP_CON;
    out->code = call->method;
    out->token = tf_bytes_of(call->token, sizeof(call->token));
    tf_coap_chain_get(endpoint, &call->options, endpoint->scratch);
    out->encoded_options = tf_bytes_of(endpoint->scratch, call->options.length);
    if (call->body) {
        out->body = call->body;
        out->body_count = call->body_count;
    } else {
        uint8_t *copy = endpoint->scratch + call->options.length;
        tf_coap_chain_get(endpoint, &call->copy, copy);
        *body = tf_bytes_of(copy, call->copy.length);
        out->body = body;
        out->body_count = 1;
    }
    out->length = call->body_length;
    if (use->observe_client)
        use->observe_client->calls->compose(endpoint, call, out);
    if (use->block_client)
        use->block_client->calls->compose(endpoint, call, out);
    if (call->echo_length)
        tf_coap_extra(out, TF_COAP_ECHO, tf_bytes_of(call->echo, call->echo_length));
}

/* RFC 7252 4.7: how long nothing more may go to a peer that does not answer. */
static void charge(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer, size_t bytes)
{
    uint32_t rate = endpoint->config->probing_rate ? endpoint->config->probing_rate : 1;

    peer->probe_at = tf_time_add(endpoint->now, (uint32_t)bytes * 1000u / rate * TF_MILLISECOND);
}

/* True if a message that somebody may still answer has this id. */
static bool is_active(const struct tf_coap_endpoint *endpoint, uint16_t id)
{
    for (uint32_t i = 0; i < endpoint->exchanges.high; i++) {
        const struct tf_coap_exchange *exchange = tf_coap_pool_at(&endpoint->exchanges, i);
        if (exchange && exchange->message_id == id)
            return true;
    }
    for (uint32_t i = 0; i < endpoint->calls.high; i++) {
        const struct tf_coap_call *call = tf_coap_pool_at(&endpoint->calls, i);
        if (call && call->state == TF_COAP_CALL_SENT && call->message_id == id)
            return true;
    }
    return false;
}

/* RFC 7252 8.1: a reset by a member of the group must not look like one of another message. */
static uint16_t group_id(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *group)
{
    uint16_t id = tf_coap_message_id(endpoint, group);

    for (uint32_t left = UINT16_MAX; left && is_active(endpoint, id); left--)
        id = tf_coap_message_id(endpoint, group);
    return id;
}

static enum tf_err write_call(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                              struct tf_coap_outgoing *out)
{
    struct tf_bytes written;
    enum tf_err err;

    if (!call->non) {
        err = tf_coap_exchange_start_with(endpoint, call->peer, out, false, &call->transmission,
                                          &call->exchange);
        if (err)
            return err;
        call->exchange->owner = call;
        call->exchange->done = on_done;
        call->exchange->again = on_again;
        return TF_OK;
    }
    if (!tf_coap_room(endpoint, false))
        return TF_AGAIN;
    out->message_id =
        call->multicast ? group_id(endpoint, call->peer) : tf_coap_message_id(endpoint, call->peer);
    err = tf_coap_write(endpoint, call->peer->path, out, &written, false);
    if (!err && !call->multicast && !call->peer->heard)
        charge(endpoint, call->peer, written.length);
    return err;
}

/* When the answer has to be there, if it is written now. */
static tf_time deadline_of(const struct tf_coap_call *call, tf_time now)
{
    tf_time span = call->non ? tf_coap_non_lifetime(&call->transmission)
                             : tf_coap_exchange_lifetime(&call->transmission);

    if (call->timeout_ms)
        span = call->timeout_ms * TF_MILLISECOND;
    return tf_time_add(now, span);
}

enum tf_err tf_coap_call_transmit(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    struct tf_coap_outgoing out;
    struct tf_bytes body;

    call->state = TF_COAP_CALL_QUEUED;
    call->timer.fire = on_timer;
    if (call->non && !call->multicast && !call->peer->heard &&
        call->peer->probe_at > endpoint->now) {
        tf_coap_timer_set(endpoint, &call->timer, call->peer->probe_at);
        return TF_OK;
    }
    compose(endpoint, call, &out, &body);
    enum tf_err err = write_call(endpoint, call, &out);
    if (err == TF_AGAIN || err == TF_LIMIT) {
        tf_coap_timer_set(endpoint, &call->timer,
                          err == TF_LIMIT ? tf_time_add(endpoint->now, RETRY) : endpoint->now);
        return err;
    }
    if (err) { /* with what the machine adds it does not fit a datagram */
        finish(endpoint, call, TF_LIMIT);
        return TF_MISUSE;
    }
    call->message_id = out.message_id;
    call->state = TF_COAP_CALL_SENT;
    if (!call->first_sent)
        call->first_sent = endpoint->now;
    tf_coap_timer_set(endpoint, &call->timer, deadline_of(call, endpoint->now));
    return TF_OK;
}

/* A token that no other call has; nobody can guess it (RFC 7252 5.3.1). */
static void new_token(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    tf_coap_pool_unlink(&endpoint->calls, call);
    do {
        endpoint->config->random(endpoint->config->random_ctx, call->token, sizeof(call->token));
    } while (tf_coap_call_by_token(endpoint, tf_bytes_of(call->token, sizeof(call->token))));
    tf_coap_pool_link(&endpoint->calls, call, tf_coap_token_hash(call->token));
}

/* As tf_coap_call_send, and says what became of the attempt. */
static enum tf_err attempt(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    struct tf_coap_peer *peer = call->peer;
    bool same = call->keep_token;

    if (call->exchange)
        tf_coap_exchange_free(endpoint, call->exchange);
    call->exchange = NULL;
    tf_coap_timer_stop(endpoint, &call->timer);
    /* RFC 7959 3: the token is free to choose; some servers know a body by it, block after block.
     */
    if (call->block.sending && call->block.sent)
        same = true;
    if (!call->ping && (!same || !call->slot.linked))
        new_token(endpoint, call);
    call->state = TF_COAP_CALL_QUEUED;
    if (!call->counted && !call->multicast) {
        if (peer->queue_first || enough(endpoint, peer)) {
            unqueue(call);
            if (peer->queue_last)
                peer->queue_last->queue_next = call;
            else
                peer->queue_first = call;
            peer->queue_last = call;
            return TF_OK;
        }
        count(call, true);
    }
    return tf_coap_call_transmit(endpoint, call);
}

void tf_coap_call_send(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    struct tf_coap_peer *peer = call->peer;

    if (attempt(endpoint, call) == TF_MISUSE)
        pump(endpoint, peer);
}

/* ---- new calls ---- */

/* Copies the options, as they will stand in the message. */
static enum tf_err copy_options(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                const struct tf_coap_request *request, size_t room)
{
    struct tf_coap_encoder encoder;

    tf_coap_encode(&encoder, endpoint->scratch, room, TF_COAP_CON, request->method, 0,
                   (struct tf_bytes){NULL, 0});
    for (size_t i = 0; i < request->option_count; i++)
        tf_coap_encode_option(&encoder, request->options[i].number, request->options[i].value);
    struct tf_bytes whole = tf_coap_encoded(&encoder);
    if (!whole.length)
        return TF_MISUSE;
    struct tf_bytes options =
        tf_bytes_of(whole.data + TF_COAP_HEADER, whole.length - TF_COAP_HEADER);
    return tf_coap_chain_put(endpoint, &call->options, options) ? TF_OK : TF_LIMIT;
}

/* Copies the body, or remembers where it is if it is longer than a block. */
static enum tf_err copy_body(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                             const struct tf_coap_request *request, size_t room)
{
    bool blocks = endpoint->config->features.block_client && !request->raw_blocks;
    size_t block = 16u << endpoint->config->block_szx;
    size_t length = tf_coap_body_length(request->body, request->body_count);
    struct tf_writer writer = tf_writer_of(endpoint->scratch, room);

    while (request->block_size && block > request->block_size)
        block /= 2;
    call->body_length = length;
    if (blocks && length > block) {
        call->body = request->body;
        call->body_count = request->body_count;
        length = block;
    }
    if (4 + sizeof(call->token) + call->options.length + 1 + length > room)
        return TF_MISUSE;
    if (call->body)
        return TF_OK;
    for (size_t i = 0; i < request->body_count; i++)
        tf_write_bytes(&writer, request->body[i]);
    return tf_coap_chain_put(endpoint, &call->copy, tf_bytes_of(writer.start, length)) ? TF_OK
                                                                                       : TF_LIMIT;
}

static enum tf_err fill_call(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                             const struct tf_coap_request *request)
{
    const struct tf_coap_features *use = &endpoint->config->features;
    const struct tf_coap_feature *hooks[] = {use->block_client, use->observe_client};
    size_t datagram = endpoint->config->datagram_max;
    size_t room = datagram ? datagram : TF_COAP_DATAGRAM_MAX;

    call->method = request->method;
    call->non = request->non || request->multicast; /* RFC 7252 8.1 */
    call->multicast = request->multicast;
    call->raw_blocks = request->raw_blocks;
    call->trace = request->trace;
    call->observing = request->observe;
    call->timeout_ms = request->timeout_ms;
    call->user = request->user;
    if (request->transmission)
        tf_coap_transmission_fill(&call->transmission, request->transmission);
    enum tf_err err = copy_options(endpoint, call, request, room);
    if (!err)
        err = copy_body(endpoint, call, request, room);
    for (size_t i = 0; !err && i < TF_COUNT(hooks); i++) {
        if (hooks[i])
            err = hooks[i]->calls->called(endpoint, call, request);
    }
    return err;
}

/* A call without contents to the peer on a path; NULL: no room for one. */
static struct tf_coap_call *new_call(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer)
{
    struct tf_coap_call *call = peer ? tf_coap_pool_new(&endpoint->calls) : NULL;

    if (!call)
        return NULL;
    tf_coap_peer_ref(peer);
    call->peer = peer;
    call->transmission = endpoint->transmission;
    return call;
}

/* Sends a new call for the first time; one that cannot go at once for want of room is refused. */
static enum tf_err launch(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                          uint64_t *ret_call)
{
    enum tf_err err = attempt(endpoint, call);

    if (!err || err == TF_AGAIN) { /* TF_AGAIN: it goes when there is room */
        *ret_call = tf_coap_pool_handle(&endpoint->calls, call);
        return TF_OK;
    }
    if (err == TF_MISUSE) { /* it has ended, but nobody is to hear of it */
        tf_coap_notice_drop(endpoint, &call->notice);
        pump(endpoint, call->peer);
        forget(endpoint, call);
    } else {
        tf_coap_call_free(endpoint, call);
    }
    return err;
}

static struct tf_coap_peer *peer_on(struct tf_coap_endpoint *endpoint, const void *path)
{
    return tf_coap_peer_get(endpoint, path,
                            tf_coap_hash(endpoint, tf_bytes_of(path, endpoint->config->path_size)));
}

enum tf_err tf_coap_call(struct tf_coap_endpoint *endpoint, const void *path,
                         const struct tf_coap_request *request, uint64_t *ret_call, tf_time now)
{
    if (!endpoint->config->features.client || !request->method ||
        tf_coap_class(request->method) != 0 || (request->block_size && request->block_size < 16))
        return TF_MISUSE;
    endpoint->now = now;
    struct tf_coap_call *call = new_call(endpoint, peer_on(endpoint, path));
    if (!call)
        return TF_LIMIT;
    enum tf_err err = fill_call(endpoint, call, request);
    if (err) {
        tf_coap_call_free(endpoint, call);
        return err;
    }
    return launch(endpoint, call, ret_call);
}

enum tf_err tf_coap_ping(struct tf_coap_endpoint *endpoint, const void *path, void *user,
                         uint64_t *ret_call, tf_time now)
{
    if (!endpoint->config->features.client)
        return TF_MISUSE;
    endpoint->now = now;
    struct tf_coap_call *call = new_call(endpoint, peer_on(endpoint, path));
    if (!call)
        return TF_LIMIT;
    call->ping = true;
    call->user = user;
    return launch(endpoint, call, ret_call);
}

struct tf_coap_call *tf_coap_call_fork(struct tf_coap_endpoint *endpoint,
                                       const struct tf_coap_call *call)
{
    struct tf_coap_call *fork = new_call(endpoint, call->peer);

    if (!fork)
        return NULL;
    tf_coap_chain_get(endpoint, &call->options, endpoint->scratch);
    struct tf_bytes options = tf_bytes_of(endpoint->scratch, call->options.length);
    bool copied = tf_coap_chain_put(endpoint, &fork->options, options);
    tf_coap_chain_get(endpoint, &call->copy, endpoint->scratch);
    struct tf_bytes body = tf_bytes_of(endpoint->scratch, call->copy.length);
    if (!copied || !tf_coap_chain_put(endpoint, &fork->copy, body)) {
        tf_coap_chain_free(endpoint, &fork->options);
        forget(endpoint, fork);
        return NULL;
    }
    fork->body = call->body;
    fork->body_count = call->body_count;
    fork->body_length = call->body_length;
    fork->transmission = call->transmission;
    fork->method = call->method;
    fork->non = call->non;
    fork->trace = call->trace;
    fork->timeout_ms = call->timeout_ms;
    fork->user = call->user;
    fork->echo_length = call->echo_length;
    memcpy(fork->echo, call->echo, call->echo_length);
    return fork;
}

void tf_coap_cancel(struct tf_coap_endpoint *endpoint, uint64_t handle, bool tell, tf_time now)
{
    const struct tf_coap_feature *observe = endpoint->config->features.observe_client;
    struct tf_coap_call *call = tf_coap_pool_find(&endpoint->calls, handle);

    endpoint->now = now;
    if (endpoint->has_current && endpoint->current.type == TF_COAP_EVENT_RESPONSE &&
        endpoint->current.handle == handle)
        endpoint->has_current = false;
    if (!call)
        return;
    if (call->state == TF_COAP_CALL_ENDED) {
        tf_coap_notice_drop(endpoint, &call->notice);
        forget(endpoint, call);
        return;
    }
    if (observe && observe->calls->cancel(endpoint, call, tell) == TF_COAP_DONE)
        return;
    tf_coap_call_free(endpoint, call);
}
