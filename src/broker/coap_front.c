/*
 * The CoAP front of one shard: its life, its channels and timers. See coap_front.h and, for how its
 * files fit, coap_front_internal.h.
 */
#include "broker/coap_front.h"

#include "base/assert.h"
#include "base/mem.h"
#include "broker/coap_front_internal.h"

#define REQUESTS_MAX 4096u /* of a channel at once, waiting for other shards */
#define PER_REPLY 1u       /* buffers for each stored reply, on average */

void *tf_coap_front_alloc(struct coap_front *front, size_t size)
{
    const struct tf_alloc *alloc = front->shard->config.alloc;
    return alloc->alloc(alloc->ctx, size);
}

void tf_coap_front_free(struct coap_front *front, void *memory, size_t size)
{
    const struct tf_alloc *alloc = front->shard->config.alloc;
    alloc->free(alloc->ctx, memory, size);
}

static struct coap_front *front_of(struct tf_front *front)
{
    return tf_container_of(front, struct coap_front, front);
}

static struct coap_channel *channel_of(struct tf_channel *channel)
{
    return tf_container_of(channel, struct coap_channel, channel);
}

/* ---- configuration ---- */

/* This shard's part of what all shards may have: an even share, and an eighth for unevenness. */
static uint32_t share(const struct coap_front *front, uint32_t whole)
{
    unsigned shards = front->shard->count;
    return shards == 1 ? whole : whole / shards + whole / shards / 8 + 1;
}

static void configure(struct coap_channel *channel, unsigned index)
{
    struct coap_front *front = channel->front;
    const struct tf_config *config = front->context.config;
    const struct tf_config_listener *listener = &config->listeners[index];
    uint32_t observers = share(front, listener->coap_max_observers);
    uint32_t replies = share(front, config->coap_max_replies);
    channel->config = (struct tf_coap_endpoint_config){
        .features = {.negotiation = &tf_coap_negotiation,
                     .deduplication = &tf_coap_deduplication,
                     .separate = &tf_coap_separate,
                     .observe_server = &tf_coap_observe_server,
                     .block_server = &tf_coap_block_server,
                     .multicast_server = &tf_coap_multicast_server,
                     .echo_server = &tf_coap_echo_server},
        .transmission = {.ack_timeout_ms = listener->coap_ack_timeout_ms,
                         .max_retransmit = listener->coap_max_retransmit
                                               ? (uint8_t)listener->coap_max_retransmit
                                               : TF_COAP_NO_RETRANSMIT},
        .nstart = listener->coap_nstart,
        .path_size = sizeof(struct tf_datagram_path),
        .peers = share(front, config->coap_max_peers),
        .requests = REQUESTS_MAX,
        .exchanges = REQUESTS_MAX + observers,
        .replies = replies,
        .observers = observers,
        .transfers = share(front, config->coap_max_bodies),
        .buffers = replies * PER_REPLY + 2 * (REQUESTS_MAX + observers),
        .body_max = TF_MIN(config->message_size_limit, config->max_packet_size),
        .block_szx = TF_COAP_BLOCK_SZX_MAX,
        .notify_con = listener->coap_notify_con,
        .random = front->context.random,
        .random_ctx = front->context.random_ctx};
}

/* ---- channels ---- */

bool tf_coap_front_lend(struct coap_channel *channel)
{
    if (channel->output) {
        return true;
    }
    channel->output = tf_coap_front_alloc(channel->front, COAP_OUTPUT_SIZE);
    if (!channel->output) {
        return false;
    }
    enum tf_err err = tf_coap_endpoint_lend(channel->endpoint, channel->output, COAP_OUTPUT_SIZE);
    tf_assert(!err);
    return true;
}

static void take_events(struct coap_channel *channel)
{
    struct tf_coap_event event;
    while (tf_coap_endpoint_event(channel->endpoint, &event)) {
        struct coap_observer *observer = event.user;
        switch (event.type) {
        case TF_COAP_EVENT_REQUEST:
        case TF_COAP_EVENT_BODY:
        case TF_COAP_EVENT_CANCELLED:
            tf_coap_front_request(channel, &event);
            break;
        case TF_COAP_EVENT_OBSERVER_READY:
            if (observer->core) {
                tf_coap_front_core_ready(observer);
            } else {
                tf_coap_front_observer_ready(observer);
            }
            break;
        case TF_COAP_EVENT_OBSERVER_GONE:
            if (observer->core) {
                tf_coap_front_core_free(observer);
            } else {
                tf_coap_front_observer_free(observer);
            }
            break;
        default:
            break; /* the events of a client, and of bodies that are lent: there are none */
        }
    }
}

static size_t on_input(struct tf_channel *base, const struct tf_datagram *in, size_t count)
{
    struct coap_channel *channel = channel_of(base);
    size_t taken = 0;
    if (!tf_coap_front_lend(channel)) {
        return count; /* lost: a network loses some, and CON come again */
    }
    while (taken < count) {
        enum tf_err err =
            tf_coap_endpoint_input(channel->endpoint, &in[taken], coap_now(channel->front));
        if (err == TF_AGAIN) {
            break;
        }
        taken++;
        take_events(channel);
    }
    tf_channel_touch(base);
    return taken;
}

static size_t on_output(struct tf_channel *base, struct tf_datagram *ret, size_t count)
{
    return tf_coap_endpoint_output(channel_of(base)->endpoint, ret, count);
}

static void on_sent(struct tf_channel *base, size_t count)
{
    struct coap_channel *channel = channel_of(base);
    struct coap_front *front = channel->front;
    tf_coap_endpoint_sent(channel->endpoint, count, coap_now(front));
    if (!tf_list_empty(&channel->answers) || front->core_count ||
        tf_coap_endpoint_deadline(channel->endpoint) <= coap_now(front)) {
        front->front.again = true;
    }
}

/* Frees what a channel has; its socket is gone. */
static void on_close(struct tf_channel *base)
{
    struct coap_channel *channel = channel_of(base);
    struct coap_front *front = channel->front;
    struct tf_list_node *node;
    tf_coap_front_listing_detach(channel);
    tf_coap_front_works_detach(channel);
    while ((node = tf_list_first(&channel->observers))) {
        struct coap_observer *observer = tf_container_of(node, struct coap_observer, in_channel);
        if (observer->core) {
            tf_coap_front_core_free(observer);
        } else {
            tf_coap_front_observer_leave(observer);
        }
    }
    tf_timers_cancel(&front->shard->timers, &channel->timer.timer);
    tf_list_unlink(&base->dirty);
    tf_list_remove(&channel->in_front);
    if (channel->output) {
        tf_coap_front_free(front, channel->output, COAP_OUTPUT_SIZE);
    }
    tf_coap_front_free(front, channel->endpoint, channel->endpoint_size);
    tf_coap_front_free(front, channel, sizeof(*channel));
}

static const struct tf_channel_ops channel_ops = {
    .input = on_input, .output = on_output, .sent = on_sent, .close = on_close};

static struct tf_channel *on_bind(struct tf_front *base, unsigned listener)
{
    struct coap_front *front = front_of(base);
    struct coap_channel *channel = tf_coap_front_alloc(front, sizeof(*channel));
    if (!channel) {
        return NULL;
    }
    memset(channel, 0, sizeof(*channel));
    channel->channel.ops = &channel_ops;
    channel->channel.dirty_list = &front->front.dirty_channels;
    channel->front = front;
    channel->listener = listener;
    channel->timer.front = base;
    channel->timer.kind = COAP_TIMER_CHANNEL;
    configure(channel, listener);
    channel->endpoint_size = tf_coap_endpoint_size(&channel->config);
    void *memory = tf_coap_front_alloc(front, channel->endpoint_size);
    if (!memory || tf_coap_endpoint_init(&channel->endpoint, memory, channel->endpoint_size,
                                         &channel->config, coap_now(front))) {
        tf_log_text(front->context.log, TF_LOG_ERROR, "coap",
                    "a listener needs %zu bytes in each shard: raise memory_limit, or lower "
                    "coap_max_peers, coap_max_replies or coap_max_observers",
                    channel->endpoint_size);
        if (memory) {
            tf_coap_front_free(front, memory, channel->endpoint_size);
        }
        tf_coap_front_free(front, channel, sizeof(*channel));
        return NULL;
    }
    tf_list_init(&channel->works);
    tf_list_init(&channel->answers);
    tf_list_init(&channel->observers);
    tf_list_push_back(&front->channels, &channel->in_front);
    return &channel->channel;
}

/* ---- turns and timers ---- */

/* What the machine has counted since the last turn. */
static void count(struct coap_channel *channel)
{
    struct tf_front_counters *counters = &channel->front->front.counters;
    const struct tf_coap_counters *now = tf_coap_endpoint_counters(channel->endpoint);
    struct tf_coap_counters *then = &channel->counted;
    counters->packets_received += now->datagrams_in - then->datagrams_in;
    counters->packets_sent += now->datagrams_out - then->datagrams_out;
    counters->bytes_received += now->bytes_in - then->bytes_in;
    counters->bytes_sent += now->bytes_out - then->bytes_out;
    counters->subscriptions += now->observers;
    counters->subscriptions -= then->observers;
    *then = *now;
}

/* Runs the machine's clock, and answers what waits for room. */
static void serve(struct coap_channel *channel)
{
    struct coap_front *front = channel->front;
    tf_time now = coap_now(front);
    tf_time deadline = tf_coap_endpoint_deadline(channel->endpoint);
    if (deadline <= now && tf_coap_front_lend(channel)) {
        tf_coap_endpoint_tick(channel->endpoint, now);
        tf_channel_touch(&channel->channel);
    }
    take_events(channel); /* notifications make some, too; nothing is read before they are taken */
    tf_coap_front_answers(channel);
    deadline = tf_coap_endpoint_deadline(channel->endpoint);
    if (deadline != channel->timer.timer.deadline || !tf_timer_armed(&channel->timer.timer)) {
        /* A deadline that stays in the past waits for output: on_sent asks for another turn. */
        tf_timers_arm(&front->shard->timers, &channel->timer.timer,
                      deadline > now ? deadline : TF_TIME_NEVER);
    }
    struct tf_datagram first; /* what is asked for output writes what it has put off */
    if (channel->output && !tf_coap_endpoint_output(channel->endpoint, &first, 1) &&
        tf_coap_endpoint_take(channel->endpoint)) {
        tf_coap_front_free(front, channel->output, COAP_OUTPUT_SIZE);
        channel->output = NULL;
    }
    count(channel);
}

static void on_turn(struct tf_front *base)
{
    struct coap_front *front = front_of(base);
    struct tf_list_node *node;
    base->again = false;
    tf_coap_front_list(front);
    tf_coap_front_patches(front);
    tf_coap_front_survivors(front);
    for (node = tf_list_first(&front->channels); node;
         node = tf_list_next(&front->channels, node)) {
        serve(tf_container_of(node, struct coap_channel, in_front));
    }
}

static void on_timer(struct tf_front *base, struct tf_timer *timer)
{
    struct tf_front_timer *mine = tf_container_of(timer, struct tf_front_timer, timer);
    if (mine->kind != COAP_TIMER_CHANNEL) { /* a channel's is served by the turn that follows */
        tf_coap_front_listing_timer(front_of(base), mine);
    }
}

static bool on_mail(struct tf_front *base, const struct tf_mail *mail, unsigned from)
{
    return tf_coap_front_mail(front_of(base), mail, from);
}

static void on_reload(struct tf_front *base, const struct tf_config *config)
{
    front_of(base)->context.config = config; /* what endpoints are made of is not reloadable */
}

static void on_drain(struct tf_front *base)
{
    front_of(base)->draining = true; /* CoAP has no goodbye; later requests get 5.03 */
}

static void on_release(struct tf_front *base)
{
    struct coap_front *front = front_of(base);
    tf_assert(tf_list_empty(&front->channels));
    tf_coap_front_listing_release(front);
    tf_coap_front_survivors_release(front);
    tf_ticket_owner_release(&front->tickets);
    tf_read_owner_release(&front->reads);
    while (!tf_list_empty(&front->orphans)) {
        tf_coap_front_work_free(
            tf_container_of(tf_list_first(&front->orphans), struct coap_work, in_channel));
    }
    tf_coap_front_free(front, front->scratch, COAP_SCRATCH_SIZE);
    tf_coap_front_free(front, front, sizeof(*front));
}

static enum tf_err on_restore(struct tf_front *base, const struct tf_stored_object *object,
                              struct tf_queue **ret_queue)
{
    (void)ret_queue;
    return object->kind == TF_STORED_OBSERVER ? tf_coap_front_restore(front_of(base), object)
                                              : TF_PROTOCOL;
}

static const struct tf_front_ops ops = {.bind = on_bind,
                                        .mail = on_mail,
                                        .timer = on_timer,
                                        .turn = on_turn,
                                        .reload = on_reload,
                                        .drain = on_drain,
                                        .restore = on_restore,
                                        .release = on_release};

static enum tf_err create(const struct tf_front_context *context, struct tf_front **ret_front)
{
    const struct tf_alloc *alloc = context->shard->config.alloc;
    struct coap_front *front = alloc->alloc(alloc->ctx, sizeof(*front));
    if (!front) {
        return TF_NO_MEMORY;
    }
    memset(front, 0, sizeof(*front));
    front->scratch = alloc->alloc(alloc->ctx, COAP_SCRATCH_SIZE);
    if (!front->scratch) {
        alloc->free(alloc->ctx, front, sizeof(*front));
        return TF_NO_MEMORY;
    }
    front->front.ops = &ops;
    front->context = *context;
    front->shard = context->shard;
    front->tickets.done = tf_coap_front_written;
    front->reads.done = tf_coap_front_read;
    front->tell.front = &front->front;
    front->tell.kind = COAP_TIMER_TELL;
    tf_list_init(&front->front.dirty);
    tf_list_init(&front->front.dirty_channels);
    tf_list_init(&front->tickets.tickets);
    tf_list_init(&front->reads.reads);
    tf_list_init(&front->channels);
    tf_list_init(&front->orphans);
    tf_list_init(&front->bodies);
    tf_list_init(&front->patches);
    tf_list_init(&front->listings);
    tf_list_init(&front->gathers);
    tf_list_init(&front->core_observers);
    tf_list_init(&front->unsaved);
    tf_list_init(&front->returning);
    front->wall = front->shard->wall;
    uint64_t seed;
    context->random(context->random_ctx, &seed, sizeof(seed));
    tf_tree_init(&front->survivors, seed);
    *ret_front = &front->front;
    return TF_OK;
}

const struct tf_front_type tf_coap_front_type = {
    .name = "coap", .scheme = "coap", .protocol = TF_CONFIG_PROTOCOL_COAP, .create = create};
