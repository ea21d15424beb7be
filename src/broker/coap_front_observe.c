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

static const struct tf_watcher_ops watcher_ops;

static struct value_observer *observer_of(struct coap_observer *base)
{
    return tf_container_of(base, struct value_observer, base);
}

static struct value_observer *observer_new(struct coap_channel *channel)
{
    struct value_observer *observer = tf_coap_front_alloc(channel->front, sizeof(*observer));
    if (observer) {
        memset(observer, 0, sizeof(*observer));
        observer->base.channel = channel;
        observer->watcher.ops = &watcher_ops;
        tf_list_push_back(&channel->observers, &observer->base.in_channel);
    }
    return observer;
}

void tf_coap_front_observer_leave(struct coap_observer *base)
{
    struct value_observer *observer = observer_of(base);
    struct coap_front *front = base->channel->front;
    tf_coap_front_survivor_free(base->survivor, false);
    tf_shard_unwatch(front->shard, &observer->watcher);
    tf_list_remove(&base->in_channel);
    tf_coap_front_free(front, observer, sizeof(*observer));
}

void tf_coap_front_observer_free(struct coap_observer *base)
{
    tf_coap_front_survivor_free(base->survivor, true);
    base->survivor = NULL;
    tf_coap_front_observer_leave(base);
}

void tf_coap_front_observer_ready(struct coap_observer *base)
{
    tf_watcher_ready(base->channel->front->shard, &observer_of(base)->watcher);
}

/* Of microseconds: 31,250 a second. RFC 7641 4.4 allows 2^23 in 256 s, 32,768 a second. */
#define SEQUENCE_SHIFT 5u

uint32_t tf_coap_front_sequence(struct coap_observer *observer)
{
    struct coap_front *front = observer->channel->front;
    uint32_t next = (uint32_t)((coap_now(front) + front->wall) >> SEQUENCE_SHIFT);
    uint32_t ahead = (next - observer->sequence) & 0xFFFFFF;
    if (ahead == 0 || ahead > 0xFF0000) { /* several in one moment have run ahead of time */
        next = observer->sequence + 1;
    }
    observer->sequence = next & 0xFFFFFF;
    return observer->sequence;
}

/* The store takes nothing new: the client may ask again later. */
static void refuse_to_keep(struct value_observer *observer)
{
    static const struct coap_result refused = {.code = TF_COAP_UNAVAILABLE,
                                               .max_age = COAP_RETRY_S};
    struct coap_observer *base = &observer->base;
    if (tf_coap_front_respond(base->channel, base->request, &refused)) {
        tf_coap_ignore(base->channel->endpoint, base->request, coap_now(base->channel->front));
    }
    tf_coap_front_observer_free(base);
}

/* The first value: the answer to the request, which makes the client an observer. */
static enum tf_err register_observer(struct value_observer *observer,
                                     const struct coap_result *result)
{
    struct coap_observer *base = &observer->base;
    struct coap_channel *channel = base->channel;
    struct coap_reply reply;
    tf_coap_front_reply(channel->front, result, &reply);
    if (base->survivor && reply.response.code == TF_COAP_CONTENT) {
        enum tf_err err = tf_coap_front_survivor_save(base, &reply);
        if (err == TF_AGAIN) {
            return err;
        }
        if (err) {
            refuse_to_keep(observer);
            return TF_OK;
        }
    }
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
    struct coap_result result = {.code = message ? TF_COAP_CONTENT : TF_COAP_NOT_FOUND,
                                 .version = message ? version : 0,
                                 .message = message};
    struct coap_reply reply;
    if (!tf_coap_front_lend(channel)) {
        return TF_LIMIT;
    }
    if (base->request) {
        return register_observer(observer, &result);
    }
    tf_coap_front_reply(channel->front, &result, &reply);
    reply.response.sequence = tf_coap_front_sequence(base);
    reply.response.con = base->again; /* is it still there? */
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
    base->again = false;
    channel->front->front.counters.publish_sent++;
    if (reply.response.code != TF_COAP_CONTENT) { /* RFC 7641 3.2: an error ends it */
        tf_coap_front_observer_free(base);
    }
    return TF_OK;
}

/* The end of it, for want of memory: told if there is room for that. */
static void failed(struct tf_watcher *watcher)
{
    struct value_observer *observer = tf_container_of(watcher, struct value_observer, watcher);
    struct coap_observer *base = &observer->base;
    struct tf_coap_endpoint *endpoint = base->channel->endpoint;
    tf_time now = coap_now(base->channel->front);
    struct tf_coap_response response = {.code = TF_COAP_UNAVAILABLE};
    bool lent = tf_coap_front_lend(base->channel);
    if (base->request == 0) {
        if (!lent || tf_coap_notify(endpoint, base->observer, &response, now)) {
            tf_coap_unobserve(endpoint, base->observer);
        }
    } else if (!lent || tf_coap_respond(endpoint, base->request, &response, NULL, NULL, now)) {
        tf_coap_ignore(endpoint, base->request, now);
    }
    tf_channel_touch(&base->channel->channel);
    tf_coap_front_observer_free(base);
}

static const struct tf_watcher_ops watcher_ops = {.deliver = deliver, .failed = failed};

void tf_coap_front_observe(struct coap_channel *channel, const struct tf_coap_event *event,
                           struct tf_bytes address)
{
    struct value_observer *observer = observer_new(channel);
    if (!observer) {
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
        return;
    }
    observer->base.request = event->handle;
    if (tf_coap_front_survivor_new(channel, event, address, &observer->base.survivor) ||
        tf_shard_watch(channel->front->shard, &observer->watcher, address)) {
        tf_coap_front_observer_free(&observer->base);
        tf_coap_front_refuse(channel, event->handle, TF_COAP_UNAVAILABLE);
    }
}

enum tf_err tf_coap_front_observe_again(struct coap_channel *channel,
                                        const struct tf_coap_registration *registration,
                                        struct tf_bytes address,
                                        struct coap_observer **ret_observer)
{
    struct coap_front *front = channel->front;
    struct value_observer *observer = observer_new(channel);
    struct tf_coap_registration mine = *registration;
    if (!observer) {
        return TF_NO_MEMORY;
    }
    mine.user = &observer->base;
    observer->base.again = true;
    enum tf_err err =
        tf_coap_observe_again(channel->endpoint, &mine, &observer->base.observer, coap_now(front));
    if (!err) {
        err = tf_shard_watch(front->shard, &observer->watcher, address);
        if (err) {
            tf_coap_unobserve(channel->endpoint, observer->base.observer);
        }
    }
    if (err) {
        tf_coap_front_observer_leave(&observer->base);
        return err;
    }
    *ret_observer = &observer->base;
    return TF_OK;
}
