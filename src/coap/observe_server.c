/*
 * Observers, the server's side (RFC 7641): the list of them, and how their notifications go out.
 *
 * An observer is a peer and a token. It exists from an answer that says so until the application
 * ends it (tf_coap_unobserve, or a notification with another code than 2.05 and 2.03), or until it
 * ends by itself: the client asks again or asks to stop, resets a notification, or acknowledges no
 * CON (with all others of its peer). Then OBSERVER_GONE follows, once.
 *
 * The rate (4.5.1). At most NSTART CON notifications to a peer are unacknowledged, and while so
 * many are, nothing else is sent to it: TF_AGAIN, and OBSERVER_READY one after the other when there
 * is an acknowledgement. So a retransmission never carries what is older than something sent, and
 * the newest state goes as soon as the network is known to have taken the last one (4.5.2). A NON
 * costs the peer 3 s of a credit of BURST such; when it is used up, the next notification is a CON,
 * whose acknowledgement restores it. So who is there hears of every change at once, at the
 * pace of round trips; who is gone costs BURST datagrams and one CON. A CON also goes out to an
 * address that has not proved itself, after config->notify_con_after NON, and after
 * notify_con_every_ms (4.5: at least each 24 hours).
 *
 * Invariants (tf_coap_check_observers):
 *  1. An observer that is not `gone` is linked, and in its peer's list; a gone one is neither, and
 *     its notice waits.
 *  2. `waiting` observers are those in their peer's queue.
 *  3. An observer's exchange names it as owner; `notifying` of a peer are its exchanges of here.
 *
 * The application knows which resource an observer is of; this file does not.
 */
#include "coap/endpoint.h"

#define BURST 8u               /* NON notifications to a peer that may go at once */
#define NON_COST_MS 3000u      /* RFC 7641 4.5.1: one in 3 s on average */
#define CON_EVERY_MS 86400000u /* 4.5: 24 hours */
#define SEQUENCE 0xFFFFFFu     /* 4.4: 24 bits */
#define RESET_LOOK 64u         /* observers that had a NON last, one of whom a RST may mean */

/* ---- the list ---- */

static uint32_t bucket_of(const struct tf_coap_endpoint *endpoint, const struct tf_coap_peer *peer,
                          struct tf_bytes token)
{
    return (uint32_t)tf_coap_hash(endpoint, token) ^ (uint32_t)peer->path_hash;
}

static struct tf_bytes token_of(const struct tf_coap_observer *observer)
{
    return tf_bytes_of(observer->token, observer->token_length);
}

/* The peer's observer with this token; NULL: none. */
static struct tf_coap_observer *observer_find(const struct tf_coap_endpoint *endpoint,
                                              const struct tf_coap_peer *peer,
                                              struct tf_bytes token)
{
    struct tf_coap_observer *observer;

    if (!peer || !peer->observers)
        return NULL;
    observer = tf_coap_pool_first(&endpoint->observers, bucket_of(endpoint, peer, token));
    while (observer && (observer->peer != peer || !tf_bytes_equal(token_of(observer), token)))
        observer = tf_coap_pool_next(&endpoint->observers, observer);
    return observer;
}

static struct tf_coap_observer *from_notice(struct tf_coap_notice *notice)
{
    return tf_container_of(notice, struct tf_coap_observer, notice);
}

static void fill_event(const struct tf_coap_endpoint *endpoint,
                       const struct tf_coap_observer *observer, struct tf_coap_event *ret)
{
    ret->handle = tf_coap_pool_handle(&endpoint->observers, observer);
    ret->user = observer->user;
    ret->path = observer->peer->path;
}

/* ---- turns ---- */

/* True while no notification may be sent to the peer (RFC 7641 4.5.1, RFC 7252 4.7). */
static bool is_busy(const struct tf_coap_endpoint *endpoint, const struct tf_coap_peer *peer)
{
    unsigned nstart = endpoint->config->nstart;

    return peer->notifying >= (nstart ? nstart : 1);
}

/* Takes an observer out of the queue of its peer. */
static void unqueue(struct tf_coap_observer *observer)
{
    struct tf_coap_peer *peer = observer->peer;

    if (!observer->waiting)
        return;
    if (observer->waiting_prev)
        observer->waiting_prev->waiting_next = observer->waiting_next;
    else
        peer->waiting_first = observer->waiting_next;
    if (observer->waiting_next)
        observer->waiting_next->waiting_prev = observer->waiting_prev;
    else
        peer->waiting_last = observer->waiting_prev;
    observer->waiting_next = NULL;
    observer->waiting = false;
}

static bool fill_ready(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                       struct tf_coap_event *ret);

/* Lets the first in the queue of a peer have its turn, if there is one to be had. */
static void next_turn(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer)
{
    if (peer->waiting_first && !is_busy(endpoint, peer))
        tf_coap_notify_later(endpoint, &peer->waiting_first->notice, fill_ready);
}

/* The turn of one. The next one's comes right after, should this one leave it unused. */
static bool fill_ready(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                       struct tf_coap_event *ret)
{
    struct tf_coap_observer *observer = from_notice(notice);

    if (is_busy(endpoint, observer->peer))
        return false; /* somebody else took it; the acknowledgement gives the next */
    unqueue(observer);
    next_turn(endpoint, observer->peer);
    ret->type = TF_COAP_EVENT_OBSERVER_READY;
    fill_event(endpoint, observer, ret);
    return true;
}

/* TF_AGAIN: OBSERVER_READY follows. */
static enum tf_err wait(struct tf_coap_observer *observer)
{
    struct tf_coap_peer *peer = observer->peer;

    if (observer->waiting)
        return TF_AGAIN;
    observer->waiting = true;
    observer->waiting_prev = peer->waiting_last;
    if (peer->waiting_last)
        peer->waiting_last->waiting_next = observer;
    else
        peer->waiting_first = observer;
    peer->waiting_last = observer;
    return TF_AGAIN;
}

/* ---- beginning and end ---- */

/* An observer becomes the first of its peer's. */
static void put_first(struct tf_coap_peer *peer, struct tf_coap_observer *observer)
{
    observer->prev = NULL;
    observer->next = peer->observers;
    if (observer->next)
        observer->next->prev = observer;
    peer->observers = observer;
}

/* Takes it out of that list. */
static void take_out(struct tf_coap_observer *observer)
{
    if (observer->prev)
        observer->prev->next = observer->next;
    else
        observer->peer->observers = observer->next;
    if (observer->next)
        observer->next->prev = observer->prev;
}

/* Takes an observer out of all that finds it. Its peer is still held. */
static void detach(struct tf_coap_endpoint *endpoint, struct tf_coap_observer *observer)
{
    struct tf_coap_peer *peer = observer->peer;

    tf_coap_pool_unlink(&endpoint->observers, observer);
    tf_coap_notice_drop(endpoint, &observer->notice);
    unqueue(observer);
    if (observer->exchange)
        observer->exchange->owner = NULL; /* it goes on, for the sake of who is still there */
    observer->exchange = NULL;
    take_out(observer);
    next_turn(endpoint, peer);
}

static void observer_free(struct tf_coap_endpoint *endpoint, struct tf_coap_observer *observer)
{
    tf_coap_peer_unref(observer->peer);
    tf_coap_pool_free(&endpoint->observers, observer);
}

static bool fill_gone(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                      struct tf_coap_event *ret)
{
    struct tf_coap_observer *observer = from_notice(notice);

    ret->type = TF_COAP_EVENT_OBSERVER_GONE;
    fill_event(endpoint, observer, ret);
    observer_free(endpoint, observer);
    return true;
}

/* It has ended by itself. */
static void observer_gone(struct tf_coap_endpoint *endpoint, struct tf_coap_observer *observer)
{
    detach(endpoint, observer);
    observer->gone = true;
    tf_coap_notify_later(endpoint, &observer->notice, fill_gone);
}

void tf_coap_unobserve(struct tf_coap_endpoint *endpoint, uint64_t handle)
{
    struct tf_coap_observer *observer = tf_coap_pool_find(&endpoint->observers, handle);

    if (!observer)
        return;
    if (observer->gone)
        tf_coap_notice_drop(endpoint, &observer->notice);
    else
        detach(endpoint, observer);
    observer_free(endpoint, observer);
}

static struct tf_coap_peer *peer_of(struct tf_coap_endpoint *endpoint,
                                    const struct tf_coap_request_slot *request)
{
    return request->peer ? request->peer
                         : tf_coap_peer_get(endpoint, request->path, request->path_hash);
}

/* The client has asked anew. */
static void observer_replaced(struct tf_coap_endpoint *endpoint, struct tf_coap_observer *observer)
{
    if (observer->exchange) { /* what it tells is older than the answer to this */
        observer->peer->notifying--;
        tf_coap_exchange_free(endpoint, observer->exchange);
        observer->exchange = NULL;
    }
    observer_gone(endpoint, observer);
}

/* A request to observe, or to stop that, ends what there is of the same peer and token: it is
 * replaced by what the answer makes of it (RFC 7641 4.1). */
static enum tf_coap_verdict observe_request(struct tf_coap_endpoint *endpoint,
                                            struct tf_coap_request_slot *request,
                                            const struct tf_coap_inbound *in,
                                            struct tf_coap_event *event)
{
    struct tf_coap_observer *observer;

    (void)event;
    if (!(in->seen & TF_COAP_SEEN_OBSERVE) || in->observe > 1 ||
        (request->flags & TF_DATAGRAM_MULTICAST) ||
        (request->method != TF_COAP_GET && request->method != TF_COAP_FETCH))
        return TF_COAP_GO_ON; /* the option is elective */
    if ((in->seen & TF_COAP_SEEN_BLOCK2) && in->block2.number)
        return TF_COAP_GO_ON; /* RFC 7959 2.6: the rest of a notification is a plain GET */
    observer =
        observer_find(endpoint, tf_coap_peer_find(endpoint, request->path, request->path_hash),
                      in->message.token);
    if (observer)
        observer_replaced(endpoint, observer);
    request->observe = in->observe == 0;
    return TF_COAP_GO_ON;
}

/* True for the codes of a notification that does not end the observation (RFC 7641 4.2). */
static bool goes_on(uint8_t code)
{
    return code == TF_COAP_CONTENT || code == TF_COAP_VALID;
}

static enum tf_err observe_answer(struct tf_coap_endpoint *endpoint,
                                  struct tf_coap_request_slot *request,
                                  const struct tf_coap_response *response,
                                  struct tf_coap_outgoing *out)
{
    /* Without room the client gets a plain answer (RFC 7641 4.1). */
    if (request->observe && response->observe && !request->body_open && goes_on(out->code) &&
        endpoint->observers.used < endpoint->observers.count && peer_of(endpoint, request))
        tf_coap_extra_uint(out, TF_COAP_OBSERVE, response->sequence & SEQUENCE);
    return TF_OK;
}

/* Remembers the Content-Format of the first representation. True: this one has the same. */
static bool same_format(struct tf_coap_observer *observer, const struct tf_coap_outgoing *out)
{
    uint32_t format = TF_COAP_NO_FORMAT;

    if (out->code != TF_COAP_CONTENT)
        return true;
    for (size_t i = 0; i < out->option_count; i++) {
        if (out->options[i].number == TF_COAP_CONTENT_FORMAT)
            format = tf_coap_uint(out->options[i].value);
    }
    if (!observer->settled_format)
        observer->format = format;
    observer->settled_format = true;
    return observer->format == format;
}

/* An observer of a peer, which holds it; NULL: all are in use. Without its token. */
static struct tf_coap_observer *observer_new(struct tf_coap_endpoint *endpoint,
                                             struct tf_coap_peer *peer, bool trusted)
{
    struct tf_coap_observer *observer = tf_coap_pool_new(&endpoint->observers);

    if (!observer)
        return NULL;
    tf_coap_peer_ref(peer);
    if (trusted)
        peer->proved = true;
    observer->peer = peer;
    observer->last_con = endpoint->now;
    return observer;
}

/* Has it found by its peer and token; its handle. */
static uint64_t observer_link(struct tf_coap_endpoint *endpoint, struct tf_coap_observer *observer)
{
    put_first(observer->peer, observer);
    tf_coap_pool_link(&endpoint->observers, observer,
                      bucket_of(endpoint, observer->peer, token_of(observer)));
    return tf_coap_pool_handle(&endpoint->observers, observer);
}

static void observe_answered(struct tf_coap_endpoint *endpoint,
                             struct tf_coap_request_slot *request,
                             const struct tf_coap_response *response,
                             const struct tf_coap_outgoing *out, uint64_t *ret_observer,
                             bool *ret_borrowed)
{
    struct tf_coap_observer *observer;
    struct tf_coap_peer *peer;

    (void)ret_borrowed;
    peer = tf_coap_has_extra(out, TF_COAP_OBSERVE) ? peer_of(endpoint, request) : NULL;
    /* RFC 7641 4.1: of the same token there is one, also when both requests waited for answers. */
    observer = observer_find(endpoint, peer, tf_bytes_of(request->token, request->token_length));
    if (observer)
        observer_replaced(endpoint, observer);
    observer = peer ? observer_new(endpoint, peer, request->flags & TF_DATAGRAM_TRUSTED) : NULL;
    if (!observer)
        return;
    observer->user = response->user;
    observer->szx = request->seen & TF_COAP_SEEN_BLOCK2 ? request->block2.szx : UINT8_MAX;
    observer->token_length = request->token_length;
    memcpy(observer->token, request->token, sizeof observer->token);
    (void)same_format(observer, out);
    *ret_observer = observer_link(endpoint, observer);
}

enum tf_err tf_coap_observe_again(struct tf_coap_endpoint *endpoint,
                                  const struct tf_coap_registration *registration,
                                  uint64_t *ret_observer, tf_time now)
{
    struct tf_bytes path = tf_bytes_of(registration->path, endpoint->config->path_size);
    tf_coap_hash_value path_hash = endpoint->hash ? endpoint->hash(endpoint, path) : 0;
    struct tf_coap_observer *observer;
    struct tf_coap_peer *peer;

    if (!endpoint->config->features.observe_server ||
        registration->token.length > TF_COAP_TOKEN_MAX)
        return TF_MISUSE;
    endpoint->now = now;
    if (endpoint->observers.used == endpoint->observers.count)
        return TF_LIMIT;
    peer = tf_coap_peer_get(endpoint, registration->path, path_hash);
    if (!peer || observer_find(endpoint, peer, registration->token))
        return TF_LIMIT;
    observer = observer_new(endpoint, peer, registration->trusted);
    observer->user = registration->user;
    observer->szx = registration->block_szx;
    observer->token_length = (uint8_t)registration->token.length;
    if (registration->token.length)
        memcpy(observer->token, registration->token.data, registration->token.length);
    observer->format = registration->format;
    observer->settled_format = true;
    *ret_observer = observer_link(endpoint, observer);
    return TF_OK;
}

/* ---- notifications ---- */

/* A CON notification is no longer outstanding. */
static void con_done(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange,
                     enum tf_coap_outcome outcome)
{
    struct tf_coap_peer *peer = exchange->peer;
    struct tf_coap_observer *observer = exchange->owner;

    tf_assert(peer->notifying);
    peer->notifying--;
    if (outcome == TF_COAP_ACKNOWLEDGED)
        peer->notified = 0;
    if (observer)
        observer->exchange = NULL;
    if (observer && outcome == TF_COAP_RESET) /* RFC 7641 3.6 */
        observer_gone(endpoint, observer);
    /* 4.5: who does not answer is gone, with all that it observes: else each would take as long. */
    while (outcome == TF_COAP_TIMED_OUT && peer->observers)
        observer_gone(endpoint, peer->observers);
    next_turn(endpoint, peer);
}

/* RFC 7641 3.6: a reset of a NON notification may end the observation too, and does. */
static void observe_reset(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                          uint16_t message_id)
{
    struct tf_coap_observer *observer = peer ? peer->observers : NULL;

    for (unsigned looked = 0;
         observer && (!observer->has_last_id || observer->last_id != message_id); looked++)
        observer = looked < RESET_LOOK ? observer->next : NULL;
    if (observer)
        observer_gone(endpoint, observer);
}

/* True if a NON would be above the rate. */
static bool is_spent(const struct tf_coap_peer *peer, tf_time now)
{
    return peer->notified > tf_coap_later(now, (BURST - 1) * NON_COST_MS);
}

/* True if it is time to see whether the observer is still there. */
static bool con_due(const struct tf_coap_endpoint_config *config,
                    const struct tf_coap_observer *observer, tf_time now)
{
    uint32_t every_ms = config->notify_con_every_ms ? config->notify_con_every_ms : CON_EVERY_MS;

    return config->notify_con || !observer->peer->proved ||
           (config->notify_con_after && observer->non_count >= config->notify_con_after) ||
           now >= tf_coap_later(observer->last_con, every_ms);
}

/* The notification as a message: the body's first block (RFC 7959 2.6). */
static enum tf_err compose(struct tf_coap_endpoint *endpoint, struct tf_coap_observer *observer,
                           const struct tf_coap_response *response, struct tf_coap_outgoing *out)
{
    const struct tf_coap_feature *block = endpoint->config->features.block_server;
    struct tf_coap_request_slot get;

    if (!same_format(observer, out)) /* RFC 7641 4.2 */
        tf_coap_outgoing_start(out, TF_COAP_NOT_ACCEPTABLE);
    if (goes_on(out->code))
        tf_coap_extra_uint(out, TF_COAP_OBSERVE, response->sequence & SEQUENCE);
    if (!block)
        return TF_OK;
    memset(&get, 0, sizeof get);
    get.method = TF_COAP_GET;
    uint8_t szx = observer->szx;
    if (endpoint->config->features.echo_server && !observer->peer->proved &&
        out->length > (size_t)16 << TF_COAP_SZX_UNPROVED)
        szx = TF_MIN(szx, TF_COAP_SZX_UNPROVED);
    if (szx <= TF_COAP_BLOCK_SZX_MAX) {
        get.seen = TF_COAP_SEEN_BLOCK2;
        get.block2.szx = szx;
    }
    return block->answer(endpoint, &get, response, out);
}

static enum tf_err send_non(struct tf_coap_endpoint *endpoint, struct tf_coap_observer *observer,
                            struct tf_coap_outgoing *out)
{
    struct tf_coap_peer *peer = observer->peer;
    enum tf_err err = tf_coap_write_non(endpoint, peer, out, false); /* there is room */

    if (err)
        return err;
    observer->last_id = out->message_id;
    observer->has_last_id = true;
    observer->non_count++;
    take_out(observer); /* where a reset of it is looked for */
    put_first(peer, observer);
    peer->notified = tf_coap_later(TF_MAX(peer->notified, endpoint->now), NON_COST_MS);
    return TF_OK;
}

/* `last`: the observer ends with it. */
static enum tf_err send_con(struct tf_coap_endpoint *endpoint, struct tf_coap_observer *observer,
                            struct tf_coap_outgoing *out)
{
    struct tf_coap_peer *peer = observer->peer;
    struct tf_coap_exchange *exchange;
    enum tf_err err = tf_coap_exchange_start(endpoint, peer, out, false, &exchange);

    if (err)
        return err;
    exchange->done = con_done;
    exchange->owner = observer;
    observer->exchange = exchange;
    observer->last_con = endpoint->now;
    observer->non_count = 0;
    peer->notifying++;
    return TF_OK;
}

enum tf_err tf_coap_notify(struct tf_coap_endpoint *endpoint, uint64_t handle,
                           const struct tf_coap_response *response, tf_time now)
{
    struct tf_coap_observer *observer = tf_coap_pool_find(&endpoint->observers, handle);
    struct tf_coap_outgoing out;
    enum tf_err err;

    endpoint->now = now;
    if (!observer || observer->gone)
        return TF_NOT_FOUND;
    if (!tf_coap_outgoing_fill(&out, response))
        return TF_MISUSE;
    if (observer->exchange || is_busy(endpoint, observer->peer))
        return wait(observer);
    if (!tf_coap_room(endpoint, false))
        return TF_LIMIT;
    err = compose(endpoint, observer, response, &out);
    if (err)
        return err;
    out.token = token_of(observer);
    bool last = !goes_on(out.code);
    err = last || response->con || is_spent(observer->peer, now) ||
                  con_due(endpoint->config, observer, now)
              ? send_con(endpoint, observer, &out)
              : send_non(endpoint, observer, &out);
    if (err == TF_LIMIT) /* no exchange is free: nothing would tell when to try again */
        err = send_non(endpoint, observer, &out);
    if (err)
        return err;
    unqueue(observer);
    if (last && response->code != out.code) {
        observer_gone(endpoint, observer); /* the application does not know yet */
    } else if (last) {
        detach(endpoint, observer);
        observer_free(endpoint, observer);
    }
    return TF_OK;
}

const struct tf_coap_feature tf_coap_observe_server = {
    .extension = &tf_coap_extension,
    .request = observe_request,
    .answer = observe_answer,
    .answered = observe_answered,
    .reset = observe_reset,
};
