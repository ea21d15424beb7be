/*
 * The invariants of an endpoint (endpoint.c tells them), walked. For tests, fuzzers, the simulator.
 */
#include "coap/endpoint.h"
#include "coap/transfer.h"

/* 1: pools. */
static bool check_pool(const struct tf_coap_pool *pool)
{
    uint32_t live = 0, linked = 0, found = 0, spare = 0;

    if (pool->high > pool->count || pool->buckets_used > pool->high)
        return false;
    for (uint32_t i = 0; i < pool->high; i++) {
        const struct tf_coap_slot *slot = tf_coap_pool_at(pool, i);
        live += slot != NULL;
        linked += slot && slot->linked;
    }
    for (uint32_t at = pool->free; at; spare++) {
        const struct tf_coap_slot *slot =
            (const void *)(pool->items + (size_t)(at - 1) * pool->item_size);
        if (at > pool->high || slot->generation & 1 || slot->linked || spare >= pool->high)
            return false;
        at = slot->next;
    }
    for (uint32_t i = 0; i < pool->buckets_used; i++) {
        for (uint32_t at = pool->buckets[i]; at; found++) {
            const struct tf_coap_slot *slot = tf_coap_pool_at(pool, at - 1);
            if (!slot || !slot->linked || found >= pool->high)
                return false;
            at = slot->next;
        }
    }
    return live == pool->used && live + spare == pool->high && linked == found;
}

/* 2: output. */
static bool check_output(const struct tf_coap_endpoint *endpoint)
{
    const uint8_t *at = endpoint->out_head;
    size_t path = (endpoint->config->path_size + 7) & ~(size_t)7;

    while (at < endpoint->out_tail) {
        uint32_t length;
        memcpy(&length, at, 4);
        at += 8 + path + ((length + 7) & ~UINT32_C(7));
    }
    return at == endpoint->out_tail && endpoint->out_tail <= endpoint->out_end;
}

/* 3: the heap. */
static bool check_heap(const struct tf_coap_endpoint *endpoint)
{
    for (uint32_t i = 0; i < endpoint->heap_count; i++) {
        if (endpoint->heap[i]->place != i + 1 || !endpoint->heap[i]->fire ||
            (i && endpoint->heap[(i - 1) / 2]->at > endpoint->heap[i]->at))
            return false;
    }
    return endpoint->heap_count <= endpoint->heap_size;
}

static bool is_set(const struct tf_coap_endpoint *endpoint, const struct tf_coap_timer *timer)
{
    return timer->place && timer->place <= endpoint->heap_count &&
           endpoint->heap[timer->place - 1] == timer;
}

/* 3, 4: requests, and the timers of all that have one; *timers counts those that are set. */
static bool check_requests(const struct tf_coap_endpoint *endpoint, uint32_t *timers)
{
    const struct tf_coap_request_slot *fresh = endpoint->fresh;

    if (fresh && (!(fresh->slot.generation & 1) || fresh->settled || fresh->slot.linked))
        return false;
    for (uint32_t i = 0; i < endpoint->requests.high; i++) {
        const struct tf_coap_request_slot *request = tf_coap_pool_at(&endpoint->requests, i);
        if (!request)
            continue;
        if (request->timer.place && !is_set(endpoint, &request->timer))
            return false;
        *timers += request->timer.place != 0;
        if (request->settled != request->slot.linked || (request->ended && request->settled))
            return false;
    }
    return true;
}

static bool check_exchanges(const struct tf_coap_endpoint *endpoint, uint32_t *timers)
{
    for (uint32_t i = 0; i < endpoint->exchanges.high; i++) {
        const struct tf_coap_exchange *exchange = tf_coap_pool_at(&endpoint->exchanges, i);
        if (!exchange)
            continue;
        if (!is_set(endpoint, &exchange->timer) || !exchange->peer || !exchange->slot.linked ||
            !exchange->datagram.length)
            return false;
        ++*timers;
    }
    return true;
}

static bool check_calls(const struct tf_coap_endpoint *endpoint, uint32_t *timers)
{
    for (uint32_t i = 0; i < endpoint->calls.high; i++) {
        const struct tf_coap_call *call = tf_coap_pool_at(&endpoint->calls, i);
        if (!call)
            continue;
        if (call->timer.place && !is_set(endpoint, &call->timer))
            return false;
        *timers += call->timer.place != 0;
        if (call->exchange && (call->state != TF_COAP_CALL_SENT || call->non))
            return false;
        if (call->state == TF_COAP_CALL_SENT && !call->non && !call->exchange)
            return false;
        if (call->state == TF_COAP_CALL_ENDED && (call->slot.linked || !call->notice.waiting))
            return false;
    }
    return true;
}

/* How many things refer to a peer that the core knows of. */
static uint32_t references_to(const struct tf_coap_endpoint *endpoint,
                              const struct tf_coap_peer *peer)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < endpoint->exchanges.high; i++) {
        const struct tf_coap_exchange *exchange = tf_coap_pool_at(&endpoint->exchanges, i);
        count += exchange && exchange->peer == peer;
    }
    for (uint32_t i = 0; i < endpoint->calls.high; i++) {
        const struct tf_coap_call *call = tf_coap_pool_at(&endpoint->calls, i);
        count += call && call->peer == peer;
    }
    for (uint32_t i = 0; i < endpoint->observers.high; i++) {
        const struct tf_coap_observer *observer = tf_coap_pool_at(&endpoint->observers, i);
        count += observer && observer->peer == peer;
    }
    for (uint32_t i = 0; i < endpoint->transfers.high; i++) {
        const struct tf_coap_transfer *transfer = tf_coap_pool_at(&endpoint->transfers, i);
        count += transfer && transfer->peer == peer;
    }
    for (uint32_t i = 0; i < endpoint->requests.high; i++) {
        const struct tf_coap_request_slot *request = tf_coap_pool_at(&endpoint->requests, i);
        count += request && request->peer == peer;
    }
    return count;
}

/* 5: peers. Only the first are counted: this is the square of their number. */
static bool check_peers(const struct tf_coap_endpoint *endpoint)
{
    for (uint32_t i = 0; i < TF_MIN(endpoint->peers.high, 32u); i++) {
        const struct tf_coap_peer *peer = tf_coap_pool_at(&endpoint->peers, i);
        uint32_t counted = 0;
        if (!peer)
            continue;
        for (uint32_t j = 0; j < endpoint->calls.high; j++) {
            const struct tf_coap_call *call = tf_coap_pool_at(&endpoint->calls, j);
            counted += call && call->counted && call->peer == peer;
        }
        if (peer->references != references_to(endpoint, peer) || peer->outstanding != counted)
            return false;
        for (const struct tf_coap_call *call = peer->queue_first; call; call = call->queue_next) {
            if (call->state != TF_COAP_CALL_QUEUED || call->counted || call->peer != peer ||
                (!call->queue_next && peer->queue_last != call))
                return false;
        }
    }
    return true;
}

static uint32_t blocks_of(const struct tf_coap_chain *chain)
{
    return (chain->length + TF_COAP_BUFFER - 5) / (TF_COAP_BUFFER - 4);
}

/* 7: buffers. What features keep in items of theirs is the rest. */
static bool check_buffers(const struct tf_coap_endpoint *endpoint)
{
    uint32_t used = 0, spare = 0;

    for (uint32_t i = 0; i < endpoint->exchanges.high; i++) {
        const struct tf_coap_exchange *exchange = tf_coap_pool_at(&endpoint->exchanges, i);
        used += exchange ? blocks_of(&exchange->datagram) : 0;
    }
    for (uint32_t i = 0; i < endpoint->calls.high; i++) {
        const struct tf_coap_call *call = tf_coap_pool_at(&endpoint->calls, i);
        used += call ? blocks_of(&call->options) + blocks_of(&call->copy) : 0;
    }
    for (uint32_t i = 0; i < endpoint->replies.high; i++) {
        const struct tf_coap_reply *reply = tf_coap_pool_at(&endpoint->replies, i);
        used += reply ? blocks_of(&reply->datagram) : 0;
    }
    for (uint32_t at = endpoint->buffer_free; at && spare <= endpoint->buffer_high; spare++)
        memcpy(&at, endpoint->buffers + (size_t)(at - 1) * TF_COAP_BUFFER, 4);
    if (!endpoint->extension)
        return !used && !spare;
    return used + spare <= endpoint->buffer_high &&
           endpoint->buffer_left + endpoint->buffer_high == endpoint->config->buffers + spare;
}

/* 8: replies. */
static bool check_replies(const struct tf_coap_endpoint *endpoint)
{
    const struct tf_coap_reply *older = NULL;
    uint32_t count = 0;

    for (const struct tf_coap_reply *reply = endpoint->reply_oldest; reply; reply = reply->newer) {
        if (!(reply->slot.generation & 1) || !reply->slot.linked || reply->older != older ||
            count++ > endpoint->replies.used)
            return false;
        older = reply;
    }
    return older == endpoint->reply_newest && count == endpoint->replies.used;
}

static bool check_notices(const struct tf_coap_endpoint *endpoint)
{
    const struct tf_coap_notice *last = NULL;

    for (const struct tf_coap_notice *notice = endpoint->notice_first; notice;
         notice = notice->next) {
        if (!notice->waiting)
            return false;
        last = notice;
    }
    return last == endpoint->notice_last;
}

bool tf_coap_endpoint_check(const struct tf_coap_endpoint *endpoint)
{
    const struct tf_coap_pool *pools[] = {
        &endpoint->requests,  &endpoint->calls,     &endpoint->exchanges, &endpoint->replies,
        &endpoint->observers, &endpoint->transfers, &endpoint->peers};
    uint32_t timers = 0;

    for (size_t i = 0; i < TF_COUNT(pools); i++) {
        if (!check_pool(pools[i]))
            return false;
    }
    if (!check_output(endpoint) || !check_heap(endpoint) || !check_requests(endpoint, &timers) ||
        !check_exchanges(endpoint, &timers) || !check_calls(endpoint, &timers) ||
        timers > endpoint->heap_count)
        return false;
    if (!check_peers(endpoint) || !check_buffers(endpoint) || !check_notices(endpoint) ||
        !check_replies(endpoint))
        return false;
    return tf_coap_check_transfers(endpoint) && tf_coap_check_observers(endpoint) &&
           tf_coap_check_fetches(endpoint);
}
