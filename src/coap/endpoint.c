/*
 * The CoAP endpoint machine: memory, events, counters. What comes in is in input.c, answers in
 * respond.c; what there is only with features in extension.c, and each of them has a file of its
 * own. Read endpoint.h first. It must not know sockets, clocks or what a path means.
 *
 * Invariants (tf_coap_endpoint_check):
 *  1. Each pool: used = live items; a live item has an odd generation; free list, live items and
 *     what was never used are all there is.
 *  2. Output: head <= tail <= end, and a whole number of records between head and tail.
 *  3. The heap is ordered, each timer knows its place, and no timer of a free item is in it.
 *  4. A fresh request is live and not settled; at most one.
 *  5. A peer's references are its exchanges, calls, observers, transfers and settled requests;
 *     `outstanding` are its calls that are counted, at most NSTART; calls in its queue are QUEUED.
 *  6. A call that is not ENDED is linked by its token; one in SENT as CON has an exchange, and no
 *     other state has one.
 *  7. Blocks of buffers: free ones and those in chains are all; no block is in two.
 *  8. Replies are in the order in which they were kept; each is linked.
 *
 * A request (struct tf_coap_request_slot):
 *
 *    input --> FRESH --tf_coap_respond, _ignore--> ended             piggybacked
 *                |
 *                | next input, tick, output: tf_coap_settle
 *                v
 *             SETTLED --tf_coap_respond--> ended                     still piggybacked
 *                |  ^
 *                |  | a block of its body: tf_coap_request_adopt (to FRESH)
 *                |
 *                | separate_after_ms, or a duplicate: empty ACK
 *                v
 *           ACKNOWLEDGED --tf_coap_respond--> ended                  a CON of its own
 *
 *    tf_coap_request_cancel: any -> CANCELLED waits -> ended, when the event is pulled
 *
 * An exchange (exchange.c) and a call (client.c) are drawn there.
 */
#include "coap/extension.h"

/* ---- memory ---- */

#define COUNT_MAX 0x3FFFFFFu /* so that sums of counts do not overflow */

void *tf_coap_part(struct tf_coap_layout *layout, uint32_t count, size_t size)
{
    void *start = (void *)(layout->base + layout->used);

    if (count > COUNT_MAX || count > (TF_COAP_MEMORY_MAX - layout->used) / size)
        layout->used = TF_COAP_MEMORY_MAX;
    else
        layout->used += (count * size + 7) & ~(size_t)7;
    return start;
}

/* The extension, if any feature is there. */
static const struct tf_coap_extension *find(const struct tf_coap_endpoint_config *config)
{
    for (size_t i = 0; i < TF_COAP_FEATURES; i++) {
        const struct tf_coap_feature *feature = tf_coap_feature_at(config, i);
        if (feature)
            return feature->extension;
    }
    return NULL;
}

/* Cuts the memory that begins at `base`, and returns how much it is. With `base` 0 it only counts,
 * and the pointers in `endpoint` mean nothing. */
static size_t lay_out(struct tf_coap_endpoint *endpoint,
                      const struct tf_coap_endpoint_config *config, uintptr_t base)
{
    const struct tf_coap_extension *extension = find(config);
    struct tf_coap_layout layout = {base, (sizeof(*endpoint) + 7) & ~(size_t)7};

    endpoint->extension = extension;
    endpoint->requests.item_size =
        (uint32_t)((sizeof(struct tf_coap_request_slot) + config->path_size + 7) & ~(size_t)7);
    endpoint->requests.count = config->requests;
    endpoint->requests.items =
        tf_coap_part(&layout, config->requests, endpoint->requests.item_size);
    if (extension)
        extension->lay_out(endpoint, config, &layout);
    return layout.used;
}

size_t tf_coap_endpoint_size(const struct tf_coap_endpoint_config *config)
{
    struct tf_coap_endpoint scratch;

    if (!config || !config->random || !config->requests || config->path_size > 1024 ||
        config->datagram_max > UINT16_MAX)
        return 0;
    size_t size = lay_out(&scratch, config, 0);
    if (size >= TF_COAP_MEMORY_MAX || (scratch.extension && !scratch.extension->valid(config)))
        return 0;
    return size;
}

enum tf_err tf_coap_endpoint_init(struct tf_coap_endpoint **ret, void *memory, size_t length,
                                  const struct tf_coap_endpoint_config *config, tf_time now)
{
    size_t size = tf_coap_endpoint_size(config);
    struct tf_coap_endpoint *endpoint = memory;

    if (!size || !memory)
        return TF_MISUSE;
    if (length < size)
        return TF_NO_MEMORY;
    memset(endpoint, 0, sizeof(*endpoint));
    (void)lay_out(endpoint, config, (uintptr_t)memory);
    endpoint->config = config;
    endpoint->statistics = &endpoint->counters;
    endpoint->now = now;
    config->random(config->random_ctx, &endpoint->message_id, sizeof(endpoint->message_id));
    if (endpoint->extension)
        endpoint->extension->init(endpoint);
    *ret = endpoint;
    return TF_OK;
}

uint32_t tf_coap_random(struct tf_coap_endpoint *endpoint)
{
    uint32_t value;

    endpoint->config->random(endpoint->config->random_ctx, &value, sizeof(value));
    return value;
}

/* ---- events ---- */

void tf_coap_event_set(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event)
{
    tf_assert(!endpoint->has_current);
    endpoint->current = *event;
    endpoint->has_current = true;
}

bool tf_coap_endpoint_event(struct tf_coap_endpoint *endpoint, struct tf_coap_event *ret)
{
    if (endpoint->notice_first && endpoint->extension->notice(endpoint, ret))
        return true;
    if (!endpoint->has_current)
        return false;
    endpoint->has_current = false;
    *ret = endpoint->current;
    return true;
}

/* ---- time ---- */

tf_time tf_coap_endpoint_deadline(const struct tf_coap_endpoint *endpoint)
{
    return endpoint->heap_count ? endpoint->heap[0]->at : TF_TIME_NEVER;
}

void tf_coap_endpoint_tick(struct tf_coap_endpoint *endpoint, tf_time now)
{
    endpoint->now = now;
    if (endpoint->extension)
        endpoint->extension->tick(endpoint);
}

/* ---- counters ---- */

const struct tf_coap_counters *tf_coap_endpoint_counters(const struct tf_coap_endpoint *endpoint)
{
    struct tf_coap_counters *counters = endpoint->statistics;

    counters->peers = endpoint->peers.used;
    counters->requests = endpoint->requests.used;
    counters->calls = endpoint->calls.used;
    counters->exchanges = endpoint->exchanges.used;
    counters->replies = endpoint->replies.used;
    counters->observers = endpoint->observers.used;
    counters->transfers = endpoint->transfers.used;
    counters->buffers = endpoint->config->buffers - endpoint->buffer_left;
    return counters;
}
