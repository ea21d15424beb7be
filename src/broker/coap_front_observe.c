/*
 * Observers of values (RFC 7641): watchers of the routing on one side, the machine's observers on
 * the other. The machine has the credit; the routing keeps the newest value for who has none.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/coap_front_internal.h"

/* An observer of the value of an address. */
struct value_observer {
    struct coap_observer base;
    struct tf_watcher watcher;
};

static struct value_observer *observer_of(struct coap_observer *base)
{
    return tf_container_of(base, struct value_observer, base);
}

void tf_coap_front_observer_free(struct coap_observer *base)
{
    struct value_observer *observer = observer_of(base);
    struct coap_front *front = base->channel->front;
    tf_shard_unwatch(front->shard, &observer->watcher);
    tf_list_remove(&base->in_channel);
    tf_coap_front_free(front, observer, sizeof(*observer));
}

void tf_coap_front_observer_ready(struct coap_observer *base)
{
    tf_watcher_ready(base->channel->front->shard, &observer_of(base)->watcher);
}

/* Of microseconds: 31,250 a second. RFC 7641 4.4 allows 2^23 in 256 s, 32,768 a second. */
#define SEQUENCE_SHIFT 5u

uint32_t tf_coap_front_sequence(struct coap_observer *observer)
{
    uint32_t next = (uint32_t)(coap_now(observer->channel->front) >> SEQUENCE_SHIFT);
    uint32_t ahead = (next - observer->sequence) & 0xFFFFFF;
    if (ahead == 0 || ahead > 0xFF0000) { /* several in one moment have run ahead of time */
        next = observer->sequence + 1;
    }
    observer->sequence = next & 0xFFFFFF;
    return observer->sequence;
}

/* The first value: the answer to the request, which makes the client an observer. */
static enum tf_err register_observer(struct value_observer *observer, struct tf_message *message,
                                     uint64_t version)
{
    struct coap_observer *base = &observer->base;
    struct coap_channel *channel = base->channel;
    struct coap_result result = {.code = message ? TF_COAP_CONTENT : TF_COAP_NOT_FOUND,
                                 .version = message ? version : 0,
                                 .message = message};
    struct coap_reply reply;
    if (!tf_coap_front_lend(channel)) {
        return TF_LIMIT;
    }
    tf_coap_front_reply(channel->front, &result, &reply);
    reply.response.observe = reply.response.code == TF_COAP_CONTENT;
    reply.response.sequence = tf_coap_front_sequence(base);
    reply.response.user = base;
    enum tf_err err = tf_coap_respond(channel->endpoint, base->request, &reply.response,
                                      &base->observer, NULL, coap_now(channel->front));
    tf_channel_touch(&channel->channel);
    if (err == TF_AGAIN) {
        return TF_LIMIT;
    }
    base->request = 0;
    if (err || base->observer == 0) {
        tf_coap_front_observer_free(base);
    }
    return TF_OK;
}

static enum tf_err deliver(struct tf_watcher *watcher, struct tf_message *message, uint64_t version)
{
    struct value_observer *observer = tf_container_of(watcher, struct value_observer, watcher);
    struct coap_observer *base = &observer->base;
    struct coap_channel *channel = base->channel;
    if (base->request) {
        return register_observer(observer, message, version);
    }
    struct coap_result result = {.code = message ? TF_COAP_CONTENT : TF_COAP_NOT_FOUND,
                                 .version = message ? version : 0,
                                 .message = message};
    struct coap_reply reply;
    if (!tf_coap_front_lend(channel)) {
        return TF_LIMIT;
    }
    tf_coap_front_reply(channel->front, &result, &reply);
    reply.response.sequence = tf_coap_front_sequence(base);
    enum tf_err err = tf_coap_notify(channel->endpoint, base->observer, &reply.response,
                                     coap_now(channel->front));
    tf_assert(err != TF_MISUSE);
    if (err == TF_AGAIN || err == TF_LIMIT) {
        return err;
    }
    tf_channel_touch(&channel->channel);
    if (err == TF_NOT_FOUND) {
        return TF_OK; /* it has ended by itself: its event, which frees it, is on its way */
    }
    channel->front->front.counters.publish_sent++;
    if (reply.response.code != TF_COAP_CONTENT) { /* RFC 7641 3.2: an error ends it */
        tf_coap_front_observer_free(base);
    }
    return TF_OK;
}

static void failed(struct tf_watcher *watcher)
{
    struct value_observer *observer = tf_container_of(watcher, struct value_observer, watcher);
    struct coap_observer *base = &observer->base;
    struct tf_coap_response response = {.code = TF_COAP_UNAVAILABLE};
    if (!tf_coap_front_lend(base->channel) ||
        tf_coap_respond(base->channel->endpoint, base->request, &response, NULL, NULL,
                        coap_now(base->channel->front))) {
        tf_coap_ignore(base->channel->endpoint, base->request, coap_now(base->channel->front));
    }
    tf_channel_touch(&base->channel->channel);
    tf_coap_front_observer_free(base);
}

static const struct tf_watcher_ops watcher_ops = {.deliver = deliver, .failed = failed};

void tf_coap_front_observe(struct coap_channel *channel, const struct tf_coap_event *event,
                           struct tf_bytes address)
{
    struct coap_front *front = channel->front;
    struct value_observer *observer = tf_coap_front_alloc(front, sizeof(*observer));
    if (!observer) {
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
        return;
    }
    memset(observer, 0, sizeof(*observer));
    observer->base.channel = channel;
    observer->base.request = event->handle;
    observer->watcher.ops = &watcher_ops;
    tf_list_push_back(&channel->observers, &observer->base.in_channel);
    if (tf_shard_watch(front->shard, &observer->watcher, address)) {
        tf_coap_front_observer_free(&observer->base);
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
    }
}
