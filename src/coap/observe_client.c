/*
 * Observations, the client's side (RFC 7641): registering, the order of notifications, registering
 * anew, and the end. An observation is a call that stays:
 *
 *   REGISTERING  the request with Observe 0 is under way
 *                  -> OBSERVING: an answer with Observe
 *                  -> a plain call: an answer without, which is the last
 *   OBSERVING    nothing is outstanding; the timer runs until the representation is stale
 *                  -> OBSERVING: a notification
 *                  -> REGISTERING: no notification while it was fresh (3.3.1)
 *                  -> ended: a notification that is an error
 *   CANCELLING   the same request with Observe 1, by tf_coap_cancel with `tell`
 *                  -> ended: its answer
 *
 * The token is the same all the time, so what a server still sends finds its call.
 */
#include "coap/endpoint.h"

#define HALF UINT32_C(0x800000)     /* RFC 7641 3.4: 2^23 */
#define SEQUENCE UINT32_C(0xFFFFFF) /* its numbers have 24 bits */
#define REORDER (128 * TF_SECOND)   /* 3.4: after so long any notification is newer */
#define LEEWAY_MS 5000u             /* 3.3.1: 5 to 15 s after the end of freshness */
#define LEEWAY_SPREAD_MS 10000u

enum state { NONE, REGISTERING, OBSERVING, CANCELLING };

static enum tf_err observe_called(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                  const struct tf_coap_request *request)
{
    (void)endpoint;
    if (!request->observe)
        return TF_OK;
    if (request->multicast || (request->method != TF_COAP_GET && request->method != TF_COAP_FETCH))
        return TF_MISUSE; /* RFC 7641 2, RFC 8132 2.4 */
    call->observing = call->keep_token = true;
    call->observe.state = REGISTERING;
    return TF_OK;
}

static void observe_compose(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                            struct tf_coap_outgoing *out)
{
    (void)endpoint;
    /* RFC 7959 2.6: not in what asks for the rest of a body. */
    if (call->observe.state && !call->block.fetching)
        tf_coap_extra_uint(out, TF_COAP_OBSERVE, call->observe.state == CANCELLING);
}

/* Sends the request once more, from the first block of its body if it has several. */
static void send_again(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    if (!call->block.sending && call->body_length > (size_t)16 << call->block.szx) {
        call->block.sending = true;
        call->peer->bodies++;
    }
    call->block.sent = 0;
    tf_coap_call_send(endpoint, call);
}

/* It is a call like any other from now on. */
static void observation_ends(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    call->observe.state = NONE;
    call->observing = call->keep_token = false;
    if (call->block.child)
        tf_coap_call_free(endpoint, call->block.child);
}

/* RFC 7641 3.4: true if `sequence`, come now, is newer than what is known. */
static bool is_newer(const struct tf_coap_call *call, uint32_t sequence, tf_time now)
{
    uint32_t ahead = (sequence - call->observe.sequence) & SEQUENCE;

    return (ahead && ahead < HALF) || now > tf_time_add(call->observe.heard, REORDER);
}

/* Waits for the next notification, `fresh_ms` and a random leeway. */
static void wait_for(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                     uint64_t fresh_ms)
{
    uint32_t leeway_ms = LEEWAY_MS + tf_coap_random(endpoint) % LEEWAY_SPREAD_MS;

    tf_coap_call_idle(endpoint, call);
    call->observe.state = OBSERVING;
    tf_coap_timer_set(endpoint, &call->timer,
                      tf_time_add(endpoint->now, (fresh_ms + leeway_ms) * TF_MILLISECOND));
}

static enum tf_coap_verdict observe_answer_came(struct tf_coap_endpoint *endpoint,
                                                struct tf_coap_call *call,
                                                const struct tf_coap_inbound *in,
                                                struct tf_coap_event *event)
{
    bool notified = (in->seen & TF_COAP_SEEN_OBSERVE) && tf_coap_class(in->message.code) == 2;
    bool first = !call->observe.known;
    uint32_t sequence = in->observe & SEQUENCE;

    if (!call->observe.state || (call->block.sending && !notified))
        return TF_COAP_GO_ON;
    /* Nothing waits for an ACK (RFC 7252 4.2): it answers a registration that was sent twice, the
     * other copy of which has been answered; an older error in it would end the observation. */
    if (call->observe.state == OBSERVING && in->message.type == TF_COAP_ACK)
        return TF_COAP_DONE;
    if (call->observe.state == CANCELLING && notified) {
        send_again(endpoint, call); /* an old one, sent before the server knew */
        return TF_COAP_DONE;
    }
    if (!notified) { /* 3.2, 4.2: not observed, or not any more */
        observation_ends(endpoint, call);
        return TF_COAP_GO_ON;
    }
    /* What is in the ACK of a registration is the newest there is, whatever its number: a server
     * that was started again counts anew. */
    bool answer = call->observe.state == REGISTERING && in->message.type == TF_COAP_ACK;
    if (!first && !answer && !is_newer(call, sequence, endpoint->now)) {
        if (call->observe.state == REGISTERING)
            wait_for(endpoint, call, 0);
        return TF_COAP_DONE;
    }
    call->observe.sequence = sequence;
    call->observe.heard = endpoint->now;
    call->observe.known = true;
    wait_for(endpoint, call,
             (in->seen & TF_COAP_SEEN_MAX_AGE ? in->max_age : TF_COAP_MAX_AGE) * UINT64_C(1000));
    event->observe = true;
    event->sequence = sequence;
    event->last = false;
    return TF_COAP_GO_ON;
}

static enum tf_coap_verdict observe_lost(struct tf_coap_endpoint *endpoint,
                                         struct tf_coap_call *call, enum tf_err err)
{
    (void)err;
    if (call->observe.state != OBSERVING)
        return TF_COAP_GO_ON;
    call->observe.state = REGISTERING;
    send_again(endpoint, call);
    return TF_COAP_DONE;
}

static enum tf_coap_verdict observe_cancel(struct tf_coap_endpoint *endpoint,
                                           struct tf_coap_call *call, bool tell)
{
    /* Without, the next notification is rejected for its token (RFC 7641 3.6). */
    if (!tell || !call->observe.known || !call->observe.state)
        return TF_COAP_GO_ON;
    if (call->observe.state == CANCELLING)
        return TF_COAP_DONE;
    if (call->block.child)
        tf_coap_call_free(endpoint, call->block.child);
    tf_coap_call_idle(endpoint, call);
    call->observing = false;
    call->observe.state = CANCELLING;
    send_again(endpoint, call);
    return TF_COAP_DONE;
}

static const struct tf_coap_call_hooks call_hooks = {
    .answer_came = observe_answer_came,
    .compose = observe_compose,
    .called = observe_called,
    .lost = observe_lost,
    .cancel = observe_cancel,
};

const struct tf_coap_feature tf_coap_observe_client = {.extension = &tf_coap_extension,
                                                       .calls = &call_hooks};
