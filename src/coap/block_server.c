/*
 * Block-wise transfers, the server's side (RFC 7959, with RFC 9175 3): bodies of requests in blocks
 * are given to the application run by run; answers are cut to the block that was asked for.
 *
 * Answers to GET need no state: each block is a request of its own, and the application gives the
 * whole representation each time. State is a transfer, of one of these kinds:
 *
 *   BODY     a request's body under way; its request is in the pool, `body_open`.
 *              -> freed: the last block; a gap; too long; a new first block; the application's
 *                 answer to the present block; body_timeout_ms; gives way while idle
 *              -> REFUSED: the application's answer between two blocks
 *   REFUSED  the code that the next block is answered with -> freed
 *   ANSWER   a long answer to an unsafe method, lent by the application, for follow-ups
 *              -> OVER: body_timeout_ms; a newer answer of the same key; gives way
 *   OVER     in no table; RETURNED waits to be pulled -> freed
 *
 * Invariants (tf_coap_check_transfers):
 *  1. All but OVER are linked by key, stand in the list by last use, have a timer, hold a peer.
 *  2. A BODY and its request name each other; no other kind has a request.
 *  3. Each lent owner is in one `owner` or one `returned`, and leaves `returned` by its event only.
 *
 * It never sees what a body means, and keeps no byte of one.
 */
#include "coap/transfer.h"

#define BODY_TIMEOUT_MS 247000u            /* EXCHANGE_LIFETIME of the standard (RFC 7252 4.8.2) */
#define IDLE_AFTER_MS 8000u                /* a body without a block for so long may give way */
#define SIZE_OF(szx) ((size_t)16 << (szx)) /* RFC 7959 2.2 */

/* ---- keys ---- */

/* FNV-1a, in as many bits as there are. No secret is needed: keys are compared for one peer only.
 */
#define KEY_START ((tf_coap_hash_value)UINT64_C(0xCBF29CE484222325))
#define KEY_PRIME \
    ((tf_coap_hash_value)(sizeof(tf_coap_hash_value) > 4 ? UINT64_C(0x100000001B3) : 0x01000193))

static tf_coap_hash_value key_add(tf_coap_hash_value key, uint32_t value)
{
    return (key ^ value) * KEY_PRIME;
}

/*
 * True for an option that may differ between the messages of one operation: the transfer's own,
 * what is not part of the cache key (RFC 7959 2.5; Size1, Size2 and Echo are such by their
 * numbers), Content-Format, which describes a payload that the later requests do not have, and
 * If-None-Match, which goes with the first block only (2.10).
 */
static bool is_apart(uint16_t number)
{
    return number == TF_COAP_IF_NONE_MATCH || number == TF_COAP_OBSERVE ||
           number == TF_COAP_CONTENT_FORMAT || number == TF_COAP_BLOCK1 ||
           number == TF_COAP_BLOCK2 || tf_coap_option_no_cache_key(number);
}

/* What the messages of one operation have in common: method and options. Request-Tag is among
 * them, so operations of different tags are apart (RFC 9175 3.3). */
static tf_coap_hash_value key_of(const struct tf_coap_message *message)
{
    struct tf_coap_cursor cursor = tf_coap_options(message->options);
    tf_coap_hash_value key = key_add(KEY_START, message->code);
    struct tf_coap_option option;

    while (tf_coap_option_next(&cursor, &option)) {
        if (is_apart(option.number))
            continue;
        key = key_add(key, (uint32_t)option.value.length << 16 | option.number);
        for (size_t i = 0; i < option.value.length; i++)
            key = key_add(key, option.value.data[i]);
    }
    return key;
}

static uint32_t bucket_of(const struct tf_coap_peer *peer, tf_coap_hash_value key)
{
    return (uint32_t)((uint64_t)key >> 32) ^ (uint32_t)key ^ (uint32_t)peer->path_hash;
}

/* ---- transfers ---- */

/* The peer's transfer of this key: an answer, or a request's body. */
static struct tf_coap_transfer *transfer_find(const struct tf_coap_endpoint *endpoint,
                                              const struct tf_coap_peer *peer,
                                              tf_coap_hash_value key, bool answer)
{
    struct tf_coap_transfer *transfer;

    if (!peer)
        return NULL;
    transfer = tf_coap_pool_first(&endpoint->transfers, bucket_of(peer, key));
    while (transfer && (transfer->peer != peer || transfer->key != key ||
                        (transfer->kind == TF_COAP_TRANSFER_ANSWER) != answer))
        transfer = tf_coap_pool_next(&endpoint->transfers, transfer);
    return transfer;
}

/* It is the one used last, and has all its time again. */
static void transfer_touch(struct tf_coap_endpoint *endpoint, struct tf_coap_transfer *transfer)
{
    uint32_t timeout_ms = endpoint->config->body_timeout_ms;

    transfer->used_at = endpoint->now;
    transfer->older = endpoint->transfer_newest;
    transfer->newer = NULL;
    if (transfer->older)
        transfer->older->newer = transfer;
    else
        endpoint->transfer_oldest = transfer;
    endpoint->transfer_newest = transfer;
    tf_coap_timer_in(endpoint, &transfer->timer, timeout_ms ? timeout_ms : BODY_TIMEOUT_MS);
}

/* Out of the list by last use. */
static void transfer_untouch(struct tf_coap_endpoint *endpoint, struct tf_coap_transfer *transfer)
{
    if (transfer->older)
        transfer->older->newer = transfer->newer;
    else
        endpoint->transfer_oldest = transfer->newer;
    if (transfer->newer)
        transfer->newer->older = transfer->older;
    else
        endpoint->transfer_newest = transfer->older;
}

static bool fill_returned(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                          struct tf_coap_event *ret)
{
    struct tf_coap_transfer *transfer = tf_container_of(notice, struct tf_coap_transfer, notice);

    ret->type = TF_COAP_EVENT_RETURNED;
    ret->owner = transfer->returned;
    transfer->returned = 0;
    if (transfer->kind == TF_COAP_TRANSFER_OVER)
        tf_coap_pool_free(&endpoint->transfers, transfer);
    return true;
}

/* Takes it out of all that finds it: it is OVER. An answer's body goes back to its owner. */
static void transfer_close(struct tf_coap_endpoint *endpoint, struct tf_coap_transfer *transfer)
{
    tf_assert(transfer->kind != TF_COAP_TRANSFER_OVER);
    tf_coap_timer_stop(endpoint, &transfer->timer);
    tf_coap_pool_unlink(&endpoint->transfers, transfer);
    transfer_untouch(endpoint, transfer);
    tf_coap_peer_unref(transfer->peer);
    transfer->peer = NULL;
    if (transfer->kind == TF_COAP_TRANSFER_ANSWER) {
        tf_assert(!transfer->returned);
        transfer->returned = transfer->owner;
        tf_coap_notify_later(endpoint, &transfer->notice, fill_returned);
    }
    transfer->kind = TF_COAP_TRANSFER_OVER;
}

/* Ends a body or a refusal; the request that it belonged to knows no transfer any more. */
static void transfer_free(struct tf_coap_endpoint *endpoint, struct tf_coap_transfer *transfer)
{
    if (transfer->request) {
        transfer->request->transfer = NULL;
        transfer->request = NULL;
    }
    transfer_close(endpoint, transfer);
    if (!transfer->returned)
        tf_coap_pool_free(&endpoint->transfers, transfer);
}

/* Gives a body up, or a refusal: the application is told if it waits for more. */
static void body_cancel(struct tf_coap_endpoint *endpoint, struct tf_coap_transfer *transfer)
{
    struct tf_coap_request_slot *request = transfer->request;

    transfer_free(endpoint, transfer);
    if (request)
        tf_coap_request_cancel(endpoint, request);
}

/* Its time is over. */
static bool transfer_expired(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer)
{
    struct tf_coap_transfer *transfer = tf_container_of(timer, struct tf_coap_transfer, timer);

    if (transfer->kind != TF_COAP_TRANSFER_ANSWER)
        body_cancel(endpoint, transfer);
    else if (transfer->returned) /* another owner's event still waits in it */
        tf_coap_timer_in(endpoint, timer, 1000);
    else
        transfer_close(endpoint, transfer);
    return true;
}

/* True if it may be given up for another: an answer, whose client can ask again, or a body whose
 * next block has not come for a while. */
static bool gives_way(const struct tf_coap_endpoint *endpoint,
                      const struct tf_coap_transfer *transfer)
{
    return transfer->kind == TF_COAP_TRANSFER_ANSWER
               ? !transfer->returned
               : endpoint->now >= tf_coap_later(transfer->used_at, IDLE_AFTER_MS);
}

/* True if transfer_new would find one. */
static bool transfer_room(const struct tf_coap_endpoint *endpoint)
{
    const struct tf_coap_transfer *oldest = endpoint->transfer_oldest;

    return endpoint->transfers.used < endpoint->transfers.count ||
           (oldest && gives_way(endpoint, oldest));
}

/* A transfer, entered for peer and key; the oldest may make room. NULL: none does. `instead`, if
 * not NULL, is an answer to be taken over. */
static struct tf_coap_transfer *transfer_new(struct tf_coap_endpoint *endpoint,
                                             enum tf_coap_transfer_kind kind,
                                             struct tf_coap_peer *peer, tf_coap_hash_value key,
                                             struct tf_coap_transfer *instead)
{
    struct tf_coap_transfer *transfer = instead;

    if (!transfer && endpoint->transfers.used == endpoint->transfers.count) {
        transfer = endpoint->transfer_oldest;
        if (!transfer || !gives_way(endpoint, transfer))
            return NULL;
        if (transfer->kind != TF_COAP_TRANSFER_ANSWER) {
            body_cancel(endpoint, transfer);
            transfer = NULL;
        }
    }
    if (transfer) /* its memory is used again at once, while its RETURNED waits */
        transfer_close(endpoint, transfer);
    else
        transfer = tf_coap_pool_new(&endpoint->transfers);
    if (!transfer)
        return NULL;
    transfer->kind = (uint8_t)kind;
    transfer->key = key;
    transfer->peer = peer;
    transfer->timer.fire = transfer_expired;
    tf_coap_peer_ref(peer);
    tf_coap_pool_link(&endpoint->transfers, transfer, bucket_of(peer, key));
    transfer_touch(endpoint, transfer);
    return transfer;
}

/* ---- requests ---- */

static struct tf_coap_peer *peer_of(struct tf_coap_endpoint *endpoint,
                                    const struct tf_coap_request_slot *request)
{
    return request->peer ? request->peer
                         : tf_coap_peer_find(endpoint, request->path, request->path_hash);
}

/* Refuses a request on the machine's own account. */
static enum tf_coap_verdict refuse(struct tf_coap_endpoint *endpoint,
                                   struct tf_coap_request_slot *request, uint8_t code)
{
    tf_coap_refuse(endpoint, request, code, NULL);
    return TF_COAP_DONE;
}

/* RFC 7959 2.9.3: 4.13 says by Size1 what would be taken. */
static enum tf_coap_verdict refuse_size(struct tf_coap_endpoint *endpoint,
                                        struct tf_coap_request_slot *request)
{
    struct tf_coap_outgoing out;

    tf_coap_outgoing_start(&out, TF_COAP_TOO_LARGE);
    tf_coap_extra_uint(&out, TF_COAP_SIZE1, endpoint->config->body_max);
    tf_coap_reply(endpoint, request, &out);
    return TF_COAP_DONE;
}

/* True if a body that reaches to `end`, or is announced to, is longer than is taken. */
static bool too_long(const struct tf_coap_endpoint *endpoint, const struct tf_coap_inbound *in,
                     size_t end)
{
    size_t most = endpoint->config->body_max;

    return most && (end > most || ((in->seen & TF_COAP_SEEN_SIZE1) && in->size1 > most));
}

/* 2.31: go on. The first time with our block size if the client's is larger (2.3). */
static void send_continue(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    const struct tf_coap_block *block = &request->block1;
    struct tf_coap_outgoing out;
    uint8_t szx = block->szx;

    if (!block->number && szx > endpoint->config->block_szx)
        szx = endpoint->config->block_szx;
    tf_coap_outgoing_start(&out, TF_COAP_CONTINUE);
    tf_coap_extra_block(&out, TF_COAP_BLOCK1, block->number, true, szx);
    tf_coap_reply(endpoint, request, &out);
}

/* What a block says of the whole body's format; UINT32_MAX: nothing. */
static uint32_t format_of(const struct tf_coap_inbound *in)
{
    return in->seen & TF_COAP_SEEN_CONTENT_FORMAT ? in->content_format : UINT32_MAX;
}

/* The first block of several: a new request, whose event the core gives. */
static enum tf_coap_verdict body_begin(struct tf_coap_endpoint *endpoint,
                                       struct tf_coap_request_slot *request,
                                       const struct tf_coap_inbound *in,
                                       struct tf_coap_event *event)
{
    struct tf_coap_peer *peer;

    if (endpoint->requests.used == endpoint->requests.count)
        return TF_COAP_GO_ON; /* the core refuses it */
    peer = tf_coap_peer_get(endpoint, request->path, request->path_hash);
    if (peer)
        request->transfer =
            transfer_new(endpoint, TF_COAP_TRANSFER_BODY, peer, request->block_key, NULL);
    if (!request->transfer)
        return refuse(endpoint, request, TF_COAP_UNAVAILABLE);
    request->transfer->offset = (uint32_t)in->message.payload.length;
    request->transfer->format = format_of(in);
    request->body_open = true;
    event->more = true;
    return TF_COAP_GO_ON;
}

/* A block that continues a body: its run goes to the request that the first one has made. */
static enum tf_coap_verdict body_go_on(struct tf_coap_endpoint *endpoint,
                                       struct tf_coap_request_slot *request,
                                       struct tf_coap_transfer *transfer,
                                       const struct tf_coap_inbound *in,
                                       struct tf_coap_event *event)
{
    struct tf_coap_request_slot *open = transfer->request;

    tf_coap_request_adopt(endpoint, open, request);
    event->type = TF_COAP_EVENT_BODY;
    event->handle = tf_coap_pool_handle(&endpoint->requests, open);
    event->user = open->user;
    event->offset = transfer->offset;
    event->more = in->block1.more;
    transfer->offset += (uint32_t)in->message.payload.length;
    if (event->more) {
        transfer_untouch(endpoint, transfer);
        transfer_touch(endpoint, transfer);
    } else {
        transfer_free(endpoint, transfer);
    }
    open->body_open = event->more;
    endpoint->has_current = true;
    return TF_COAP_DONE;
}

/* A request with Block1. */
static enum tf_coap_verdict body_block(struct tf_coap_endpoint *endpoint,
                                       struct tf_coap_request_slot *request,
                                       const struct tf_coap_inbound *in,
                                       struct tf_coap_event *event)
{
    const struct tf_coap_block *block = &in->block1;
    size_t length = in->message.payload.length, size = SIZE_OF(block->szx);
    size_t offset = block->number * size, wanted = 0;
    bool fits = block->more ? length == size : length <= size;
    struct tf_coap_transfer *transfer =
        transfer_find(endpoint, peer_of(endpoint, request), request->block_key, false);

    if (transfer && !block->number) { /* it begins anew (2.5) */
        body_cancel(endpoint, transfer);
        transfer = NULL;
    }
    if (transfer && transfer->kind == TF_COAP_TRANSFER_REFUSED) {
        uint8_t code = transfer->code;
        transfer_free(endpoint, transfer);
        return refuse(endpoint, request, code);
    }
    if (transfer) {
        wanted = transfer->offset;
        fits &= format_of(in) == transfer->format; /* 2.3: blocks of another body do not fit */
        if (block->more && fits && offset + size <= wanted) {
            send_continue(endpoint, request); /* it came already: its 2.31 was lost */
            return TF_COAP_DONE;
        }
    }
    fits &= offset == wanted;
    event->total = in->size1;
    if (fits && !too_long(endpoint, in, offset + length)) {
        if (transfer)
            return body_go_on(endpoint, request, transfer, in, event);
        return block->more ? body_begin(endpoint, request, in, event) : TF_COAP_GO_ON;
    }
    if (transfer)
        body_cancel(endpoint, transfer);
    if (fits)
        return refuse_size(endpoint, request);
    return refuse(endpoint, request, TF_COAP_INCOMPLETE); /* RFC 7959 2.9.2 */
}

/*
 * Puts a run of the body into a message: what is at `at`, at most a block. Size2 in the first of
 * several and where it was asked for (RFC 7959 4).
 */
static void cut(struct tf_coap_outgoing *out, const struct tf_coap_request_slot *request, size_t at,
                uint8_t szx)
{
    size_t whole = out->length;
    size_t length = TF_MIN(SIZE_OF(szx), whole - at);
    bool more = at + length < whole;

    tf_coap_extra_block(out, TF_COAP_BLOCK2, (uint32_t)(at >> (szx + 4)), more, szx);
    if ((more && !at) || (request->seen & TF_COAP_SEEN_SIZE2))
        tf_coap_extra_uint(out, TF_COAP_SIZE2, (uint32_t)whole);
    out->offset = at;
    out->length = length;
}

/* A block of an answer that is kept, of a request that is not run again (RFC 7959 3.3). */
static enum tf_coap_verdict answer_more(struct tf_coap_endpoint *endpoint,
                                        struct tf_coap_request_slot *request)
{
    struct tf_coap_transfer *transfer =
        transfer_find(endpoint, peer_of(endpoint, request), request->block_key, true);
    uint8_t szx = TF_MIN(request->block2.szx, endpoint->config->block_szx);
    size_t at = request->block2.number * SIZE_OF(request->block2.szx);
    bool trusted = (request->flags & TF_DATAGRAM_TRUSTED) != 0;

    if (!transfer) /* RFC 7959 2.9.2: the request would have to come again first */
        return refuse(endpoint, request, TF_COAP_INCOMPLETE);
    if (at >= transfer->body_length)
        return refuse(endpoint, request, TF_COAP_BAD_REQUEST);
    if (endpoint->config->features.echo_server && !transfer->peer->proved && !trusted)
        szx = TF_MIN(szx, TF_COAP_SZX_UNPROVED);
    struct tf_coap_outgoing out;
    tf_coap_outgoing_start(&out, transfer->code);
    out.encoded_options = tf_bytes_of(transfer->options, transfer->options_length);
    out.body = transfer->body;
    out.body_count = transfer->body_count;
    out.length = transfer->body_length;
    cut(&out, request, at, szx);
    transfer_untouch(endpoint, transfer);
    transfer_touch(endpoint, transfer);
    tf_coap_reply(endpoint, request, &out);
    return TF_COAP_DONE;
}

static enum tf_coap_verdict block_request(struct tf_coap_endpoint *endpoint,
                                          struct tf_coap_request_slot *request,
                                          const struct tf_coap_inbound *in,
                                          struct tf_coap_event *event)
{
    if (request->flags & TF_DATAGRAM_MULTICAST) /* RFC 7959 2.8: no bodies by multicast */
        return in->seen & TF_COAP_SEEN_BLOCK1 ? TF_COAP_DONE : TF_COAP_GO_ON;
    if (request->method == TF_COAP_GET && !(in->seen & TF_COAP_SEEN_BLOCK1))
        return TF_COAP_GO_ON;
    request->block_key = key_of(&in->message);
    if (in->seen & TF_COAP_SEEN_BLOCK1)
        return body_block(endpoint, request, in, event);
    /* A FETCH that brings its body again asks for any block of its result. */
    if ((in->seen & TF_COAP_SEEN_BLOCK2) && in->block2.number && !in->message.payload.length)
        return answer_more(endpoint, request);
    if (too_long(endpoint, in, in->message.payload.length))
        return refuse_size(endpoint, request);
    return TF_COAP_GO_ON;
}

static enum tf_coap_verdict block_settle(struct tf_coap_endpoint *endpoint,
                                         struct tf_coap_request_slot *request)
{
    if (!request->body_open)
        return TF_COAP_GO_ON;
    send_continue(endpoint, request);
    return TF_COAP_DONE;
}

static void block_ended(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    if (request->transfer)
        transfer_free(endpoint, request->transfer);
}

/* ---- answers ---- */

/* True if there is, or can be made, room to keep a long answer for follow-ups. */
static bool answer_room(struct tf_coap_endpoint *endpoint,
                        const struct tf_coap_request_slot *request)
{
    struct tf_coap_peer *peer = request->peer;

    if (!peer)
        peer = tf_coap_peer_get(endpoint, request->path, request->path_hash);
    if (!peer)
        return false;
    struct tf_coap_transfer *same = transfer_find(endpoint, peer, request->block_key, true);
    return same ? !same->returned : transfer_room(endpoint);
}

/*
 * Cuts an answer to the block that was asked for, or to one of ours when it is too long. A wish for
 * a larger block than ours is met by the smaller one at the same place (RFC 7959 2.4).
 */
static enum tf_err block_answer(struct tf_coap_endpoint *endpoint,
                                struct tf_coap_request_slot *request,
                                const struct tf_coap_response *response,
                                struct tf_coap_outgoing *out)
{
    bool wish = (request->seen & TF_COAP_SEEN_BLOCK2) != 0;
    uint8_t szx = endpoint->config->block_szx;
    size_t at = 0;

    if (request->body_open) {
        if (endpoint->fresh != request) /* between two blocks: the next one hears of it */
            out->code = TF_COAP_EMPTY;
        out->length = TF_MIN(out->length, SIZE_OF(szx)); /* a diagnostic at most */
        return TF_OK;
    }
    if (request->seen & TF_COAP_SEEN_BLOCK1)
        tf_coap_extra_block(out, TF_COAP_BLOCK1, request->block1.number, false,
                            request->block1.szx);
    if (wish) {
        szx = TF_MIN(szx, request->block2.szx);
        if (tf_coap_class(out->code) == 2)
            at = request->block2.number * SIZE_OF(request->block2.szx);
    }
    if (!out->length && out->code != TF_COAP_CONTENT)
        return TF_OK;              /* nothing to be cut */
    if (at && at >= out->length) { /* there is no such block */
        tf_coap_outgoing_start(out, TF_COAP_BAD_REQUEST);
        return TF_OK;
    }
    if (out->length <= SIZE_OF(szx) && !wish)
        return TF_OK;
    if (out->length > SIZE_OF(szx) && request->method != TF_COAP_GET) {
        if (!response->owner)
            return TF_MISUSE;
        if (!answer_room(endpoint, request)) {
            tf_coap_outgoing_start(out, TF_COAP_UNAVAILABLE);
            return TF_OK;
        }
    }
    cut(out, request, at, szx);
    return TF_OK;
}

/* Keeps the options that describe the representation, for each block of it (RFC 7959 2.4). */
static void keep_options(struct tf_coap_transfer *transfer, const struct tf_coap_outgoing *out)
{
    struct tf_coap_encoder encoder = {
        .out = tf_writer_of(transfer->options, sizeof transfer->options)};

    for (size_t i = 0; i < out->option_count; i++) {
        const struct tf_coap_option *option = &out->options[i];
        if (option->number == TF_COAP_ETAG || option->number == TF_COAP_CONTENT_FORMAT ||
            option->number == TF_COAP_MAX_AGE_OPTION)
            tf_coap_encode_option(&encoder, option->number, option->value);
    }
    transfer->options_length = encoder.out.failed ? 0 : (uint8_t)tf_writer_length(&encoder.out);
}

static void block_answered(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                           const struct tf_coap_response *response,
                           const struct tf_coap_outgoing *out, uint64_t *ret_observer,
                           bool *ret_borrowed)
{
    struct tf_coap_transfer *transfer = request->transfer;
    size_t whole = tf_coap_body_length(out->body, out->body_count);

    (void)ret_observer;
    if (request->body_open) {
        if (transfer && out->code == TF_COAP_EMPTY) {
            transfer->kind = TF_COAP_TRANSFER_REFUSED;
            transfer->code = response->code;
            transfer->request = NULL;
            request->transfer = NULL;
        }
        return; /* else block_ended frees it */
    }
    if (request->method == TF_COAP_GET || !response->owner || !out->length ||
        !tf_coap_has_extra(out, TF_COAP_BLOCK2) || /* echo_server has made it another answer */
        out->offset + out->length >= whole)
        return;
    struct tf_coap_peer *peer = peer_of(endpoint, request);
    if (!peer)
        return;
    struct tf_coap_transfer *same = transfer_find(endpoint, peer, request->block_key, true);
    transfer = transfer_new(endpoint, TF_COAP_TRANSFER_ANSWER, peer, request->block_key, same);
    if (!transfer)
        return;
    transfer->owner = response->owner;
    transfer->code = out->code;
    transfer->body = response->body;
    transfer->body_count = response->body_count;
    transfer->body_length = whole;
    keep_options(transfer, out);
    *ret_borrowed = true;
}

const struct tf_coap_feature tf_coap_block_server = {
    .extension = &tf_coap_extension,
    .request = block_request,
    .settle = block_settle,
    .answer = block_answer,
    .answered = block_answered,
    .ended = block_ended,
};
