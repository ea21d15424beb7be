/*
 * A worker's life and its turns: see worker.h. Connections are in worker_conn.c, datagram sockets
 * in worker_channel.c.
 */
#include "broker/worker.h"

#include "base/mem.h"
#include "base/util.h"
#include "broker/sys_collection.h"
#include "broker/worker_channel.h"
#include "broker/worker_conn.h"
#include "port/clock.h"
#include "port/datagram.h"
#include "port/entropy.h"

#define MAIL_BLOCK 16u
#define STORE_LINGER TF_MILLISECOND /* see tf_shard_config.linger */
#define VERSION_SHIFT 24u /* of 64 bits: what is left is counted up from, and makes short ETags */

/* ---- what the shard hands out ---- */

static void receive(void *ctx, const struct tf_mail *mail, unsigned from)
{
    struct tf_worker *worker = ctx;
    if (mail->type < TF_MAIL_WORKER + MAIL_BLOCK) {
        tf_worker_adopt(worker, mail);
        return;
    }
    for (size_t i = 0; i < worker->config.type_count; i++) {
        if (worker->fronts[i] && worker->fronts[i]->ops->mail(worker->fronts[i], mail, from)) {
            return;
        }
    }
}

static void expired(void *ctx, struct tf_timer *timer)
{
    struct tf_front *front = tf_container_of(timer, struct tf_front_timer, timer)->front;
    (void)ctx;
    front->ops->timer(front, timer);
}

/* The first of what the queues and the fronts have after `last`. */
static struct tf_message *virtual_next(void *ctx, struct tf_bytes filter, struct tf_bytes last)
{
    struct tf_worker *worker = ctx;
    struct tf_message *first = tf_queues_virtual_next(&worker->queues, filter, last);
    for (size_t i = 0; i < worker->config.type_count; i++) {
        struct tf_front *front = worker->fronts[i];
        struct tf_message *message = front && front->ops->virtual_next
                                         ? front->ops->virtual_next(front, filter, last)
                                         : NULL;
        if (!message) {
            continue;
        }
        if (first && tf_sys_address_compare(first->publication.envelope.address,
                                            message->publication.envelope.address) <= 0) {
            tf_message_unref(message);
            continue;
        }
        if (first) {
            tf_message_unref(first);
        }
        first = message;
    }
    return first;
}

/* ---- life ---- */

static struct tf_value_limits value_limits(const struct tf_worker_config *config)
{
    /* Homes are spread by hash: an even share, and an eighth for what hashing leaves uneven. */
    unsigned count = tf_post_office_count(config->office);
    uint64_t values = config->config->max_retained_messages;
    uint64_t bytes = config->config->max_retained_bytes;
    struct tf_value_limits limits = {.count = (size_t)values, .bytes = bytes};
    if (count > 1 && values != TF_CONFIG_UNLIMITED) {
        limits.count = (size_t)(values / count + values / count / 8 + 1);
    }
    if (count > 1 && bytes != TF_CONFIG_UNLIMITED64) {
        limits.bytes = bytes / count + bytes / count / 8 + 1;
    }
    return limits;
}

/* Likewise of the queues. */
static size_t queue_limit(const struct tf_worker_config *config)
{
    size_t count = tf_post_office_count(config->office), queues = config->config->max_queues;
    return count > 1 ? queues / count + queues / count / 8 + 1 : queues;
}

/* Wall time is stored in place of `now`, which means nothing after a restart. */
static void tell_wall(struct tf_worker *worker)
{
    tf_shard_wall(&worker->shard, tf_clock_wall());
    worker->wall_at = tf_time_add(worker->now, TF_SECOND);
}

static enum tf_err start_shard(struct tf_worker *worker, tf_time now)
{
    uint64_t seed, first;
    tf_entropy_fill(&seed, sizeof(seed));
    tf_entropy_fill(&first, sizeof(first));
    struct tf_shard_config config = {.number = worker->config.number,
                                     .office = worker->config.office,
                                     .alloc = worker->config.alloc,
                                     .key = worker->config.key,
                                     .random = seed,
                                     /* an ETag of an earlier run means nothing in this one */
                                     .first_version = first >> VERSION_SHIFT,
                                     .max_queues = queue_limit(&worker->config),
                                     .values = value_limits(&worker->config),
                                     .receive = receive,
                                     .expired = expired,
                                     .virtual_next = virtual_next,
                                     .ctx = worker};
    enum tf_err err;
    if (worker->config.store) {
        err = tf_store_client_init(&worker->client, worker->config.store, config.number);
        if (err) {
            return err;
        }
        config.store = &worker->client;
        config.linger = STORE_LINGER;
        /* What was kept has its versions still: those of this run are above them. */
        config.first_version = tf_store_first_position(&worker->client);
    }
    err = tf_shard_init(&worker->shard, &config, now);
    if (err && config.store) {
        tf_store_client_release(&worker->client);
    }
    if (!err) {
        tell_wall(worker);
    }
    return err;
}

static void release_shard(struct tf_worker *worker)
{
    tf_shard_release(&worker->shard);
    if (worker->config.store) {
        tf_store_client_release(&worker->client);
    }
}

/* The fronts' source of bytes that nobody can guess. */
static void entropy(void *ctx, void *data, size_t length)
{
    (void)ctx;
    tf_entropy_fill(data, length);
}

static enum tf_err start_fronts(struct tf_worker *worker)
{
    struct tf_front_context context = {.shard = &worker->shard,
                                       .config = worker->config.config,
                                       .log = worker->config.log,
                                       .random = entropy};
    for (size_t i = 0; i < worker->config.type_count; i++) {
        enum tf_err err = worker->config.types[i]->create(&context, &worker->fronts[i]);
        if (err) {
            return err;
        }
    }
    return TF_OK;
}

enum tf_err tf_worker_init(struct tf_worker *worker, const struct tf_worker_config *config,
                           tf_time now)
{
    enum tf_err err = TF_NO_MEMORY;
    tf_assert(config->type_count <= TF_WORKER_FRONTS_MAX);
    memset(worker, 0, sizeof(*worker));
    worker->config = *config;
    worker->now = now;
    worker->next = config->number;
    tf_list_init(&worker->listeners);
    tf_list_init(&worker->open);
    tf_list_init(&worker->held);
    tf_list_init(&worker->slowed);
    tf_list_init(&worker->ending);
    tf_list_init(&worker->gated);
    tf_list_init(&worker->channels);
    atomic_init(&worker->requests, 0);
    atomic_init(&worker->next_config, NULL);
    atomic_init(&worker->config_in_force, config->config);
    atomic_init(&worker->state, TF_WORKER_RUNNING);
    worker->buffer = config->alloc->alloc(config->alloc->ctx, TF_WORKER_READ_SIZE);
    if (!worker->buffer) {
        return err;
    }
    err = start_shard(worker, now);
    if (err) {
        goto no_shard;
    }
    tf_queues_init(&worker->queues, &worker->shard, config->config, config->log);
    err = start_fronts(worker);
    if (err) {
        goto no_fronts;
    }
    return TF_OK;
no_fronts:
    tf_worker_release_fronts(worker);
    tf_queues_release(&worker->queues);
    release_shard(worker);
no_shard:
    config->alloc->free(config->alloc->ctx, worker->buffer, TF_WORKER_READ_SIZE);
    return err;
}

void tf_worker_close(struct tf_worker *worker)
{
    worker->draining = true;
    tf_worker_unlisten(worker);
    tf_worker_break(worker);
}

void tf_worker_release_fronts(struct tf_worker *worker)
{
    for (size_t i = 0; i < worker->config.type_count; i++) {
        if (worker->fronts[i]) {
            worker->fronts[i]->ops->release(worker->fronts[i]);
            worker->fronts[i] = NULL;
        }
    }
}

void tf_worker_release(struct tf_worker *worker)
{
    const struct tf_alloc *alloc = worker->config.alloc;
    tf_worker_unlisten(worker);
    tf_queues_release(&worker->queues);
    release_shard(worker);
    tf_datagram_inbox_free(worker->inbox);
    alloc->free(alloc->ctx, worker->buffer, TF_WORKER_READ_SIZE);
}

/* ---- a turn ---- */

static void begin_drain(struct tf_worker *worker)
{
    if (worker->draining) {
        return;
    }
    worker->draining = true;
    worker->drain_until = tf_time_add(worker->now, TF_WORKER_LINGER);
    atomic_store_explicit(&worker->state, TF_WORKER_DRAINING, memory_order_relaxed);
    tf_worker_unlisten(worker);
    for (size_t i = 0; i < worker->config.type_count; i++) {
        worker->fronts[i]->ops->drain(worker->fronts[i]);
    }
    tf_worker_channels_drain(worker);
}

static void take_config(struct tf_worker *worker)
{
    const struct tf_config *config =
        atomic_load_explicit(&worker->next_config, memory_order_acquire);
    if (!config || config == worker->config.config) {
        return;
    }
    worker->config.config = config;
    worker->tick_at = worker->now;
    worker->shard.values.limits = value_limits(&worker->config);
    worker->shard.config.max_queues = queue_limit(&worker->config);
    tf_queues_reload(&worker->queues, config);
    for (size_t i = 0; i < worker->config.type_count; i++) {
        worker->fronts[i]->ops->reload(worker->fronts[i], config);
    }
    atomic_store_explicit(&worker->config_in_force, config, memory_order_release);
    worker->config.shared->changed(worker->config.shared->ctx);
}

/* Does what other threads asked for. False: stop. */
static bool obey(struct tf_worker *worker)
{
    if (atomic_load_explicit(&worker->requests, memory_order_relaxed) == 0) {
        return true;
    }
    unsigned requests = atomic_exchange_explicit(&worker->requests, 0, memory_order_acquire);
    if (requests & TF_WORKER_RELOAD) {
        take_config(worker);
    }
    if (requests & TF_WORKER_DRAIN) {
        begin_drain(worker);
    }
    if (requests & TF_WORKER_BREAK) {
        tf_worker_break(worker);
    }
    return !(requests & TF_WORKER_STOP);
}

/* Publishes the numbers of this turn. */
static void tell_stats(struct tf_worker *worker)
{
    const struct tf_shard *shard = &worker->shard;
    const struct tf_queue_counters *queues = &shard->queues;
    struct tf_worker_totals totals = {.sockets = worker->sockets,
                                      .queued_count = shard->queued_count,
                                      .queued_bytes = shard->queued_bytes,
                                      .value_count = shard->values.count,
                                      .value_bytes = shard->values.bytes};
    uint64_t words[TF_WORKER_TOTALS];
    totals.dropped = queues->dropped_full + queues->dropped_expired + queues->dropped_offline +
                     queues->dropped_size + queues->dropped_damaged;
    for (size_t i = 0; i < worker->config.type_count; i++) {
        const uint64_t *from = (const uint64_t *)&worker->fronts[i]->counters;
        uint64_t *to = (uint64_t *)&totals.fronts;
        for (size_t j = 0; j < sizeof(totals.fronts) / sizeof(*to); j++) {
            to[j] += from[j];
        }
    }
    totals.dropped += totals.fronts.publish_dropped;
    memcpy(words, &totals, sizeof(words));
    for (size_t i = 0; i < TF_WORKER_TOTALS; i++) {
        atomic_store_explicit(&worker->stats[i], words[i], memory_order_relaxed);
    }
}

/* True if it has nobody to serve any more. */
static bool all_ended(const struct tf_worker *worker)
{
    return worker->connection_count == 0 && tf_list_empty(&worker->channels);
}

/* The worker's own deadlines that have come. */
static void own_timers(struct tf_worker *worker)
{
    tf_time now = worker->now;
    tf_worker_give_up(worker, now);
    tf_worker_resume_slowed(worker);
    if (worker->listeners_rest && worker->accept_at <= now) {
        tf_worker_accept_again(worker);
    }
    if (worker->config.tick && worker->tick_at <= now) {
        worker->tick_at = worker->config.tick(worker->config.tick_ctx, &worker->shard, now);
    }
    if (worker->draining &&
        atomic_load_explicit(&worker->state, memory_order_relaxed) == TF_WORKER_DRAINING) {
        if (worker->drain_until <= now) {
            tf_worker_break(worker);
        }
        if (all_ended(worker)) {
            atomic_store_explicit(&worker->state, TF_WORKER_DRAINED, memory_order_release);
            worker->config.shared->changed(worker->config.shared->ctx);
        }
    }
}

static bool busy(const struct tf_worker *worker)
{
    for (size_t i = 0; i < worker->config.type_count; i++) {
        if (worker->fronts[i]->again || !tf_list_empty(&worker->fronts[i]->dirty) ||
            !tf_list_empty(&worker->fronts[i]->dirty_channels)) {
            return true;
        }
    }
    return false;
}

/* When the next turn is wanted even if nothing comes. */
static tf_time next_turn(struct tf_worker *worker, tf_time until)
{
    tf_time at = TF_MIN(until, tf_shard_deadline(&worker->shard));
    if (busy(worker)) {
        return worker->now;
    }
    if (worker->listeners_rest) {
        at = TF_MIN(at, worker->accept_at);
    }
    if (worker->config.tick) {
        at = TF_MIN(at, worker->tick_at);
    }
    if (worker->draining &&
        atomic_load_explicit(&worker->state, memory_order_relaxed) == TF_WORKER_DRAINING) {
        at = all_ended(worker) ? worker->now : TF_MIN(at, worker->drain_until);
    }
    return TF_MIN(at, tf_worker_next_end(worker));
}

/* What the store has to do with a turn from its start. */
static void look_at_store(struct tf_worker *worker)
{
    if (!worker->config.store) {
        return;
    }
    worker->slow = tf_store_state(&worker->client) == TF_STORE_SLOW;
    worker->pressed = tf_store_congested(&worker->client);
    if (worker->wall_at <= worker->now) {
        tell_wall(worker);
    }
}

bool tf_worker_turn(struct tf_worker *worker, tf_time until)
{
    struct tf_loop_event event;
    bool go_on;
    tf_loop_wait(worker->config.loop, next_turn(worker, until), worker->now);
    worker->now = tf_clock_now();
    tf_shard_time(&worker->shard, worker->now);
    look_at_store(worker);
    go_on = obey(worker);
    while (tf_loop_next(worker->config.loop, &event)) {
        tf_worker_event(worker, &event);
    }
    tf_shard_receive(&worker->shard);
    tf_worker_ungate(worker);
    tf_shard_expire(&worker->shard);
    own_timers(worker);
    for (size_t i = 0; i < worker->config.type_count; i++) {
        if (worker->fronts[i]->ops->turn) {
            worker->fronts[i]->ops->turn(worker->fronts[i]);
        }
    }
    tf_shard_submit(&worker->shard); /* the store works while we write */
    tf_worker_write(worker);
    if (worker->draining) {
        tf_worker_channels_finish(worker);
    }
    worker->congested = tf_shard_flush(&worker->shard);
    if (!worker->congested) {
        tf_worker_resume(worker);
    }
    tell_stats(worker);
    return go_on;
}

void tf_worker_run(struct tf_worker *worker)
{
    while (tf_worker_turn(worker, TF_TIME_NEVER)) {
    }
}

void tf_worker_declare(struct tf_worker *worker)
{
    tf_queues_declare(&worker->queues);
}

void tf_worker_restored(struct tf_worker *worker)
{
    for (size_t i = 0; i < worker->config.type_count; i++) {
        if (worker->fronts[i]->ops->restored) {
            worker->fronts[i]->ops->restored(worker->fronts[i]);
        }
    }
    tf_shard_submit(&worker->shard); /* the first turn may be long in coming */
}

void tf_worker_settle(struct tf_worker *worker)
{
    worker->now = tf_clock_now();
    tf_shard_time(&worker->shard, worker->now);
    tf_shard_receive(&worker->shard);
    (void)tf_shard_flush(&worker->shard); /* the caller comes again: congestion needs no care */
    if (worker->config.store) {
        tf_store_submit(&worker->client); /* nothing comes next that it could go with */
    }
}

/* ---- other threads ---- */

void tf_worker_ask(struct tf_worker *worker, unsigned requests)
{
    atomic_fetch_or_explicit(&worker->requests, requests, memory_order_release);
    tf_loop_wake(worker->config.loop);
}

void tf_worker_reload(struct tf_worker *worker, const struct tf_config *config)
{
    atomic_store_explicit(&worker->next_config, config, memory_order_release);
    tf_worker_ask(worker, TF_WORKER_RELOAD);
}

void tf_worker_sum(const struct tf_worker *workers, unsigned count,
                   struct tf_worker_totals *ret_totals)
{
    uint64_t words[TF_WORKER_TOTALS] = {0};
    for (unsigned n = 0; n < count; n++) {
        for (size_t i = 0; i < TF_WORKER_TOTALS; i++) {
            words[i] += atomic_load_explicit(&workers[n].stats[i], memory_order_relaxed);
        }
    }
    memcpy(ret_totals, words, sizeof(*ret_totals));
}
