/*
 * The endpoint's timers: one binary heap of pointers, whose array is as large as all items that may
 * have a timer, so setting one never fails.
 */
#include "coap/endpoint.h"

/* Puts a timer at a place (from 0). */
static void put(struct tf_coap_endpoint *endpoint, uint32_t place, struct tf_coap_timer *timer)
{
    endpoint->heap[place] = timer;
    timer->place = place + 1;
}

/* Moves a timer from `place` towards the root as far as it has to go. */
static void rise(struct tf_coap_endpoint *endpoint, uint32_t place, struct tf_coap_timer *timer)
{
    while (place) {
        uint32_t above = (place - 1) / 2;
        if (endpoint->heap[above]->at <= timer->at)
            break;
        put(endpoint, place, endpoint->heap[above]);
        place = above;
    }
    put(endpoint, place, timer);
}

/* The same away from the root; then up, in case it did not move. */
static void settle(struct tf_coap_endpoint *endpoint, uint32_t place, struct tf_coap_timer *timer)
{
    for (;;) {
        uint32_t below = 2 * place + 1;
        if (below >= endpoint->heap_count)
            break;
        if (below + 1 < endpoint->heap_count &&
            endpoint->heap[below + 1]->at < endpoint->heap[below]->at)
            below++;
        if (endpoint->heap[below]->at >= timer->at)
            break;
        put(endpoint, place, endpoint->heap[below]);
        place = below;
    }
    rise(endpoint, place, timer);
}

void tf_coap_timer_set(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer, tf_time at)
{
    timer->at = at;
    if (!timer->place) {
        tf_assert(endpoint->heap_count < endpoint->heap_size);
        rise(endpoint, endpoint->heap_count++, timer);
    } else {
        settle(endpoint, timer->place - 1, timer);
    }
}

tf_time tf_coap_later(tf_time from, uint32_t ms)
{
    return tf_time_add(from, ms * TF_MILLISECOND);
}

void tf_coap_timer_in(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer, uint32_t ms)
{
    tf_coap_timer_set(endpoint, timer, tf_coap_later(endpoint->now, ms));
}

void tf_coap_timer_stop(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer)
{
    if (!timer->place)
        return;
    uint32_t place = timer->place - 1;
    struct tf_coap_timer *last = endpoint->heap[--endpoint->heap_count];
    timer->place = 0;
    if (last != timer)
        settle(endpoint, place, last);
}

void tf_coap_run_timers(struct tf_coap_endpoint *endpoint)
{
    /* A timer may end what the event that was not pulled yet is about. */
    if (endpoint->has_current)
        return;
    tf_coap_settle(endpoint);
    while (endpoint->heap_count && endpoint->heap[0]->at <= endpoint->now) {
        struct tf_coap_timer *timer = endpoint->heap[0];
        if (!timer->fire(endpoint, timer))
            break;
    }
}
