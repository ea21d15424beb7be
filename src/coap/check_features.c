/*
 * The invariants of observers and of block-wise transfers, as their files tell them; apart from
 * them, so that a firmware that checks nothing does not link it.
 */
#include "coap/transfer.h"

/* block_server.c */
bool tf_coap_check_transfers(const struct tf_coap_endpoint *endpoint)
{
    uint32_t listed = 0, live = 0;

    for (const struct tf_coap_transfer *at = endpoint->transfer_oldest; at; at = at->newer)
        listed++;
    for (uint32_t i = 0; i < endpoint->transfers.high; i++) {
        const struct tf_coap_transfer *transfer = tf_coap_pool_at(&endpoint->transfers, i);
        if (!transfer)
            continue;
        bool over = transfer->kind == TF_COAP_TRANSFER_OVER;
        live += !over;
        if (transfer->slot.linked == over || !transfer->peer != over ||
            !transfer->timer.place != over || (over && !transfer->returned) ||
            (transfer->returned && !transfer->notice.waiting))
            return false;
        if ((transfer->kind == TF_COAP_TRANSFER_BODY) != (transfer->request != NULL))
            return false;
        if (transfer->request &&
            (transfer->request->transfer != transfer || !transfer->request->body_open))
            return false;
    }
    return listed == live;
}

/* observe_server.c */
bool tf_coap_check_observers(const struct tf_coap_endpoint *endpoint)
{
    for (uint32_t i = 0; i < endpoint->observers.high; i++) {
        const struct tf_coap_observer *observer = tf_coap_pool_at(&endpoint->observers, i);
        if (!observer)
            continue;
        if (!observer->peer || !observer->peer->references ||
            observer->slot.linked == observer->gone ||
            (observer->gone && (observer->waiting || observer->exchange)) ||
            (observer->gone && !observer->notice.waiting))
            return false;
        if (observer->exchange &&
            (observer->exchange->owner != observer || observer->exchange->peer != observer->peer ||
             !observer->peer->notifying))
            return false;
        if (observer->waiting && !observer->peer->waiting_first)
            return false;
        if (!observer->gone && (observer->prev ? observer->prev->next != observer
                                               : observer->peer->observers != observer))
            return false;
    }
    return true;
}

/* block_client.c */
bool tf_coap_check_fetches(const struct tf_coap_endpoint *endpoint)
{
    for (uint32_t i = 0; i < endpoint->calls.high; i++) {
        const struct tf_coap_call *call = tf_coap_pool_at(&endpoint->calls, i);
        if (!call)
            continue;
        if (call->block.child && call->block.child->block.parent != call)
            return false;
        if (call->block.parent && call->block.parent->block.child != call)
            return false;
        if (call->block.sending && (call->block.fetching || !call->peer->bodies))
            return false;
    }
    return true;
}
