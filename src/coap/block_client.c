/*
 * Block-wise transfers, the client's side (RFC 7959): a body longer than one block goes out block
 * by block; of an answer in blocks the rest is asked for, and given to the application run by run.
 * Each block is a message with a token, an exchange and a time-out of its own.
 *
 * A call is in up to three phases, in this order:
 *
 *   sending    Block1 at `sent`. 2.31 -> the next block; 4.13 with a smaller size, or 4.08 (once)
 *              -> the first again; any other answer -> the next phase
 *   answered   an answer without more blocks: it is the last
 *   fetching   Block2 at `received` is asked for. It comes -> the next, until none is left; another
 *              ETag, or a place that was not asked for -> the first again, at most RESTARTS times
 *
 * The rest of a notification is fetched by a child, a call of its own, since the observation's
 * token stays with the observation (RFC 7959 2.6). A newer notification ends the child. What the
 * child cannot get is left to the next notification or registration.
 *
 * Nothing of a body is kept here.
 */
#include "coap/endpoint.h"

#define RESTARTS 3u
#define RETRY (5 * TF_SECOND) /* an observation is registered anew after a fetch that failed */
#define SIZE_OF(szx) ((uint32_t)16 << (szx)) /* RFC 7959 2.2 */

/* ---- what is sent ---- */

static enum tf_err block_called(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                const struct tf_coap_request *request)
{
    uint8_t szx = endpoint->config->block_szx;
    size_t size = request->block_size;

    if (size && (size < 16 || size > 1024 || (size & (size - 1))))
        return TF_MISUSE;
    while (size && SIZE_OF(szx) > size)
        szx--;
    call->block.szx = szx;
    call->block.wish = size != 0;
    if (call->raw_blocks || call->body_length <= SIZE_OF(szx))
        return TF_OK;
    if (call->multicast || call->body_length > (TF_COAP_BLOCK_NUM_MAX + 1) * (size_t)SIZE_OF(szx))
        return TF_MISUSE;
    call->block.sending = true;
    /* Two bodies to one peer may be of one resource; the server must not mix them (RFC 9175 3). */
    call->block.tagged = call->peer->bodies++ != 0;
    call->block.tag = tf_coap_random(endpoint);
    return TF_OK;
}

static void block_compose(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                          struct tf_coap_outgoing *out)
{
    uint8_t szx = call->block.szx;
    uint32_t sent = call->block.sent;
    bool more = false;

    (void)endpoint;
    if (call->raw_blocks || call->ping)
        return;
    if (call->block.sending) {
        out->offset = sent;
        out->length = TF_MIN(SIZE_OF(szx), call->body_length - sent);
        more = sent + out->length < call->body_length;
        tf_coap_extra_block(out, TF_COAP_BLOCK1, sent >> (szx + 4), more, szx);
        if (!sent)
            tf_coap_extra_uint(out, TF_COAP_SIZE1, (uint32_t)call->body_length);
        else
            out->skip = TF_COAP_IF_NONE_MATCH; /* RFC 7959 2.10: with the first block only */
    } else if (call->block.fetching) {
        out->body_count = out->offset = out->length = 0;
    }
    if (call->block.fetching || (call->block.wish && !more)) /* RFC 7959 2.4, 3.3 */
        tf_coap_extra_block(out, TF_COAP_BLOCK2, call->block.received >> (szx + 4), false, szx);
    if (call->block.tagged)
        tf_coap_extra(out, TF_COAP_REQUEST_TAG,
                      tf_bytes_of(&call->block.tag, sizeof call->block.tag));
}

/* The body is no longer under way. */
static void sending_ends(struct tf_coap_call *call)
{
    if (call->block.sending)
        call->peer->bodies--;
    call->block.sending = false;
}

static enum tf_coap_verdict fail(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                 enum tf_err err)
{
    tf_coap_call_fail(endpoint, call, err);
    return TF_COAP_DONE;
}

static enum tf_coap_verdict send_from(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                      uint32_t offset)
{
    call->block.sent = offset;
    tf_coap_call_send(endpoint, call);
    return TF_COAP_DONE;
}

/* An answer while the body is under way. GO_ON: it is the final one. */
static enum tf_coap_verdict sending(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                    const struct tf_coap_inbound *in)
{
    const struct tf_coap_block *block = &in->block1;
    uint32_t size = SIZE_OF(call->block.szx), next = call->block.sent + size;
    bool told = (in->seen & TF_COAP_SEEN_BLOCK1) != 0, smaller = block->szx < call->block.szx;
    uint8_t code = in->message.code;

    if (code == TF_COAP_TOO_LARGE && told && smaller) { /* RFC 7959 2.9.3 */
        call->block.szx = block->szx;
        return send_from(endpoint, call, 0);
    }
    if (code == TF_COAP_INCOMPLETE && !call->block.sent_again) { /* 2.9.2 */
        call->block.sent_again = true;
        return send_from(endpoint, call, 0);
    }
    if (tf_coap_class(code) != 2 || (code != TF_COAP_CONTINUE && next >= call->body_length))
        return TF_COAP_GO_ON;
    /* On with the next block, also if the server uses each by itself (2.3). */
    if (!told || block->number != call->block.sent / size || next >= call->body_length)
        return fail(endpoint, call, TF_PROTOCOL);
    if (smaller)
        call->block.szx = block->szx;
    return send_from(endpoint, call, next);
}

/* ---- what is fetched ---- */

static bool same_etag(const struct tf_coap_call *call, const struct tf_coap_inbound *in)
{
    struct tf_bytes etag = tf_bytes_of(call->block.etag, call->block.etag_length);

    return in->etag_count ? tf_bytes_equal(etag, in->etag[0]) : !etag.length;
}

/* A child that got all, or will not get it; its parent is told nothing. */
static enum tf_coap_verdict child_ends(struct tf_coap_endpoint *endpoint,
                                       struct tf_coap_call *child, bool failed)
{
    struct tf_coap_call *parent = child->block.parent;

    if (failed && parent->state == TF_COAP_CALL_IDLE)
        tf_coap_timer_set(endpoint, &parent->timer, tf_time_add(endpoint->now, RETRY));
    tf_coap_call_free(endpoint, child);
    return TF_COAP_DONE;
}

/* The body has changed, or its blocks do not fit together: it is fetched from the beginning. What
 * an unsafe method has answered cannot be asked for again. */
static enum tf_coap_verdict restart(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call)
{
    bool again = call->method == TF_COAP_GET && call->block.restarts++ < RESTARTS;

    if (!again && call->block.parent)
        return child_ends(endpoint, call, true);
    if (!again)
        return fail(endpoint, call, call->method == TF_COAP_GET ? TF_LIMIT : TF_PROTOCOL);
    call->block.received = 0;
    tf_coap_call_send(endpoint, call);
    return TF_COAP_DONE;
}

/* Remembers what all blocks of this representation must have in common. */
static void begin(struct tf_coap_call *call, const struct tf_coap_inbound *in)
{
    call->block.code = in->message.code;
    call->block.etag_length = 0;
    if (in->etag_count) { /* its length has been checked */
        call->block.etag_length = (uint8_t)in->etag[0].length;
        memcpy(call->block.etag, in->etag[0].data, in->etag[0].length);
    }
}

/* The rest of a notification, from where its first block ends. False: no call is free. */
static bool fork_child(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                       const struct tf_coap_inbound *in)
{
    struct tf_coap_call *child = tf_coap_call_fork(endpoint, call);

    if (!child)
        return false;
    memset(&child->block, 0, sizeof child->block);
    child->observing = child->keep_token = false;
    child->block.parent = call;
    child->block.szx = TF_MIN(in->block2.szx, call->block.szx);
    child->block.fetching = true;
    child->block.received = (uint32_t)in->message.payload.length;
    begin(child, in);
    call->block.child = child;
    tf_coap_call_send(endpoint, child);
    return true;
}

/* The first block of a notification with more. */
static enum tf_coap_verdict notification(struct tf_coap_endpoint *endpoint,
                                         struct tf_coap_call *call,
                                         const struct tf_coap_inbound *in,
                                         struct tf_coap_event *event)
{
    if (call->block.child)
        tf_coap_call_free(endpoint, call->block.child);
    event->more = (in->seen & TF_COAP_SEEN_BLOCK2) && in->block2.more;
    if (event->more && !fork_child(endpoint, call, in))
        tf_coap_timer_set(endpoint, &call->timer, tf_time_add(endpoint->now, RETRY));
    return TF_COAP_GO_ON;
}

/* A block has come that was asked for, or the first of several: on with the next. */
static enum tf_coap_verdict advance(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                    const struct tf_coap_inbound *in, struct tf_coap_event *event)
{
    struct tf_coap_call *parent = call->block.parent;

    if (!call->block.received)
        begin(call, in);
    event->offset = call->block.received;
    event->more = in->block2.more;
    if (parent) {
        event->handle = tf_coap_pool_handle(&endpoint->calls, parent);
        event->observe = true;
        event->sequence = parent->observe.sequence;
        event->last = false;
    }
    call->block.received += (uint32_t)in->message.payload.length;
    call->block.szx = TF_MIN(in->block2.szx, call->block.szx);
    if (event->more) {
        call->block.fetching = true;
        event->last = false;
        tf_coap_call_send(endpoint, call);
    } else if (parent) {
        (void)child_ends(endpoint, call, false);
    }
    return TF_COAP_GO_ON;
}

static enum tf_coap_verdict block_answer_came(struct tf_coap_endpoint *endpoint,
                                              struct tf_coap_call *call,
                                              const struct tf_coap_inbound *in,
                                              struct tf_coap_event *event)
{
    const struct tf_coap_block *block = &in->block2, *block1 = &in->block1;
    size_t length = in->message.payload.length;
    uint32_t size = SIZE_OF(block->szx);

    if (call->raw_blocks || call->multicast)
        return TF_COAP_GO_ON;
    if (!call->block.sending && !call->block.fetching && in->message.code == TF_COAP_TOO_LARGE &&
        (in->seen & TF_COAP_SEEN_BLOCK1) && call->body_length > SIZE_OF(block1->szx)) {
        call->block.sending = true; /* the server takes it in blocks only */
        call->peer->bodies++;
    }
    if (call->block.sending && sending(endpoint, call, in) == TF_COAP_DONE)
        return TF_COAP_DONE;
    sending_ends(call);
    event->total = in->size2;
    /* No such block: the representation has become shorter, if it is not for ever. */
    if (in->message.code == TF_COAP_BAD_REQUEST && call->block.fetching && call->block.received &&
        call->method == TF_COAP_GET && call->block.restarts < RESTARTS)
        return restart(endpoint, call);
    if (tf_coap_class(in->message.code) != 2 || !(in->seen & TF_COAP_SEEN_BLOCK2)) {
        /* An error, or a representation that has become short: nothing is left to be fetched. */
        if (call->block.parent)
            return child_ends(endpoint, call, true);
        call->block.fetching = false;
        return event->observe ? notification(endpoint, call, in, event) : TF_COAP_GO_ON;
    }
    bool fits = block->szx <= TF_COAP_BLOCK_SZX_MAX &&
                (block->more ? length == size : length <= size) &&
                (!block->more || block->number < TF_COAP_BLOCK_NUM_MAX);
    if (event->observe && (!fits || block->number))
        return TF_COAP_DONE; /* another notification will come */
    if (event->observe)
        return notification(endpoint, call, in, event);
    if (!call->block.fetching && (!fits || block->number))
        return fail(endpoint, call, TF_PROTOCOL);
    if (!fits || block->number * (uint64_t)size != call->block.received ||
        (call->block.received && (!same_etag(call, in) || in->message.code != call->block.code)))
        return restart(endpoint, call);
    return advance(endpoint, call, in, event);
}

/* ---- the end ---- */

static enum tf_coap_verdict block_lost(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                       enum tf_err err)
{
    (void)err;
    return call->block.parent ? child_ends(endpoint, call, true) : TF_COAP_GO_ON;
}

/* A child ends with its parent. */
static struct tf_coap_call *block_call_ended(struct tf_coap_call *call)
{
    struct tf_coap_call *child = call->block.child;

    sending_ends(call);
    if (call->block.parent)
        call->block.parent->block.child = NULL;
    if (child)
        child->block.parent = NULL;
    call->block.parent = call->block.child = NULL;
    return child;
}

static const struct tf_coap_call_hooks call_hooks = {
    .answer_came = block_answer_came,
    .compose = block_compose,
    .called = block_called,
    .lost = block_lost,
    .call_ended = block_call_ended,
};

const struct tf_coap_feature tf_coap_block_client = {.extension = &tf_coap_extension,
                                                     .calls = &call_hooks};
