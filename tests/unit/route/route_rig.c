/*
 * Shards in one process. See route_rig.h.
 */
#include "unit/route/route_rig.h"

#include <stdio.h>

#include "base/util.h"

static void wake(void *ctx, unsigned shard)
{
    struct rig *rig = ctx;
    rig->wakes[shard]++;
}

static void receive(void *ctx, const struct tf_mail *mail, unsigned from)
{
    struct rig_part *part = ctx;
    (void)from;
    part->rig->received = *mail;
    part->rig->received_count++;
}

static void expired(void *ctx, struct tf_timer *timer)
{
    (void)ctx;
    (void)timer;
}

static struct tf_message *virtual_next(void *ctx, struct tf_bytes filter, struct tf_bytes last)
{
    struct rig_part *part = ctx;
    return part->rig->virtual_next ? part->rig->virtual_next(part->rig, part->number, filter, last)
                                   : NULL;
}

void rig_start(struct rig *rig, unsigned count, size_t capacity)
{
    rig_start_with(rig, count, capacity, (struct tf_wake){wake, rig});
}

void rig_start_with(struct rig *rig, unsigned count, size_t capacity, struct tf_wake waker)
{
    memset(rig, 0, sizeof(*rig));
    test_alloc_init(&rig->memory);
    rig->count = count;
    rig->now = 1000 * TF_SECOND;
    rig->office = tf_post_office_new(count, capacity, waker, &rig->memory.alloc);
    tf_assert(rig->office);
    for (unsigned i = 0; i < count; i++) {
        rig->parts[i] = (struct rig_part){rig, i};
        struct tf_shard_config config = {.number = i,
                                         .office = rig->office,
                                         .alloc = &rig->memory.alloc,
                                         .key = {3, 4},
                                         .random = i,
                                         .values = {1000, 1 << 20},
                                         .receive = receive,
                                         .expired = expired,
                                         .virtual_next = virtual_next,
                                         .ctx = &rig->parts[i]};
        enum tf_err err = tf_shard_init(&rig->shards[i], &config, rig->now);
        tf_assert(err == TF_OK);
    }
}

void rig_stop(struct rig *rig)
{
    rig_settle(rig);
    for (unsigned i = 0; i < rig->count; i++) {
        const struct tf_shard *shard = &rig->shards[i];
        tf_assert(shard->queue_count == 0 && shard->queued_bytes == 0 && shard->queued_count == 0);
        tf_assert(shard->bindings.count == 0 && shard->routes.binding_count == 0);
        tf_assert(shard->counters.tickets == 0);
        tf_assert(shard->access.cells.count == 0 && shard->access.watched.count == 0);
        tf_assert(shard->values.live_bytes == 0);
        tf_assert(tf_list_empty(&shard->named.all) && tf_list_empty(&shard->named.links) &&
                  tf_list_empty(&shard->named.guests));
    }
    rig_abandon(rig);
}

void rig_abandon(struct rig *rig)
{
    for (unsigned i = 0; i < rig->count; i++) {
        tf_shard_release(&rig->shards[i]);
    }
    tf_post_office_free(rig->office);
    tf_assert(rig->memory.blocks == 0 && rig->memory.bytes == 0);
}

void rig_text(const struct tf_message *message, char *ret, size_t size)
{
    struct tf_bytes body = tf_bytes_str(message ? "" : "(none)");
    if (message && message->publication.body_count) {
        body = message->publication.body[0];
    }
    snprintf(ret, size, "%.*s", (int)body.length, (const char *)body.data);
}

void rig_settle(struct rig *rig)
{
    bool busy = true;
    for (unsigned round = 0; busy; round++) {
        tf_assert(round < 100000);
        busy = false;
        memset(rig->wakes, 0, sizeof(rig->wakes));
        for (unsigned i = 0; i < rig->count; i++) {
            tf_shard_receive(&rig->shards[i]);
            busy |= tf_shard_flush(&rig->shards[i]);
            busy |= tf_shard_busy(&rig->shards[i]);
        }
        if (rig->turn) {
            busy |= rig->turn(rig);
        }
        for (unsigned i = 0; i < rig->count; i++) {
            busy |= rig->wakes[i] != 0;
        }
    }
}

void rig_step(struct rig *rig, struct tf_random *random)
{
    struct tf_shard *shard = &rig->shards[tf_random_below(random, rig->count)];
    if (tf_random_chance(random, 1, 2)) {
        tf_shard_receive(shard);
    } else {
        (void)tf_shard_flush(shard);
    }
}

void rig_check(const struct rig *rig)
{
    for (unsigned i = 0; i < rig->count; i++) {
        tf_assert(tf_shard_check(&rig->shards[i]));
    }
}

void rig_time(struct rig *rig, tf_time now)
{
    rig->now = now;
    for (unsigned i = 0; i < rig->count; i++) {
        tf_shard_time(&rig->shards[i], now);
        tf_shard_expire(&rig->shards[i]);
    }
}

struct tf_bytes rig_address(const struct rig *rig, unsigned shard, const char *stem, char *ret,
                            size_t size)
{
    for (unsigned i = 0;; i++) {
        struct tf_bytes address = tf_bytes_of(ret, (size_t)snprintf(ret, size, "%s%u", stem, i));
        if (tf_shard_home(&rig->shards[0], address) == shard) {
            return address;
        }
    }
}

struct tf_publication rig_publication(struct tf_bytes address, const char *body, uint8_t qos,
                                      bool retain, struct tf_bytes *ret_body)
{
    *ret_body = tf_bytes_str(body ? body : "");
    return (struct tf_publication){.envelope = {.address = address,
                                                .expires = TF_TIME_NEVER,
                                                .origin = TF_PROTOCOL_SYSTEM,
                                                .qos = qos,
                                                .retain = retain,
                                                .clear = retain && ret_body->length == 0},
                                   .body = ret_body,
                                   .body_count = ret_body->length != 0};
}

enum tf_err rig_publish(struct rig *rig, unsigned shard, struct tf_bytes address, const char *body,
                        uint8_t qos, bool retain, struct tf_ticket_owner *owner, uint64_t tag,
                        struct tf_published *ret_result)
{
    struct tf_bytes bytes;
    struct tf_published unused;
    struct tf_publication publication = rig_publication(address, body, qos, retain, &bytes);
    enum tf_err err = tf_shard_publish(&rig->shards[shard], &publication, owner, tag,
                                       ret_result ? ret_result : &unused);
    tf_publication_release(&publication);
    return err;
}

static void copy_text(char *to, size_t size, struct tf_bytes from)
{
    size_t length = TF_MIN(from.length, size - 1);
    memcpy(to, from.data, length);
    to[length] = 0;
}

static enum tf_err deliver(struct tf_consumer *consumer, const struct tf_delivery *delivery)
{
    struct sink *sink = tf_container_of(consumer, struct sink, consumer);
    const struct tf_publication *publication = delivery->publication;
    if (sink->room == 0 || (delivery->entry && sink->credit == 0)) {
        return sink->refuse ? sink->refuse : TF_AGAIN;
    }
    tf_assert(sink->seen_count < SINK_SEEN_MAX);
    sink->room--;
    struct seen *seen = &sink->seen[sink->seen_count++];
    *seen = (struct seen){.entry = delivery->entry,
                          .qos = delivery->qos,
                          .retain = delivery->retain,
                          .id_count = delivery->ids.count};
    copy_text(seen->address, sizeof(seen->address), publication->envelope.address);
    if (publication->body_count) {
        copy_text(seen->body, sizeof(seen->body), publication->body[0]);
    }
    for (uint32_t i = 0; i < TF_MIN(delivery->ids.count, 4u); i++) {
        seen->ids[i] = delivery->ids.ids[i];
    }
    if (delivery->entry) {
        seen->position = delivery->entry->position;
        seen->attempts = delivery->entry->attempts;
        sink->credit--;
        if (sink->release_at_once) {
            sink->release_at_once = false;
            tf_entry_release(delivery->entry);
        } else if (sink->settle_at_once) {
            sink->credit++;
            tf_entry_settle(delivery->entry);
        }
    }
    return TF_OK;
}

static void on_drained(struct tf_consumer *consumer)
{
    struct sink *sink = tf_container_of(consumer, struct sink, consumer);
    sink->drained++;
    (void)tf_bind_draw(sink->queue.shard, &sink->owner);
}

static const struct tf_consumer_ops ops = {.deliver = deliver, .drained = on_drained};

static void bound(struct tf_bind_owner *owner, uint64_t tag, enum tf_err err)
{
    struct sink *sink = tf_container_of(owner, struct sink, owner);
    sink->bound++;
    sink->bound_errors += err != TF_OK;
    sink->bound_err = err;
    sink->bound_tag = tag;
}

void sink_start(struct sink *sink, struct tf_shard *shard, bool attend)
{
    memset(sink, 0, sizeof(*sink));
    sink->limits = (struct tf_queue_limits){1000, 1 << 20, TF_OVERFLOW_DROP_NEW};
    sink->credit = sink->room = UINT32_MAX;
    sink->settle_at_once = true;
    sink->consumer.ops = &ops;
    sink->owner.bound = bound;
    tf_list_init(&sink->owner.binds);
    tf_queue_init(&sink->queue, shard, &sink->limits, &sink->counters);
    if (attend) {
        tf_consumer_attach(&sink->consumer, &sink->queue);
    }
}

void sink_stop(struct sink *sink)
{
    tf_bind_owner_release(sink->queue.shard, &sink->owner);
    tf_consumer_detach(&sink->consumer);
    tf_queue_release(&sink->queue);
}

void sink_bind(struct sink *sink, const char *filter, uint8_t qos, bool values, uint64_t tag)
{
    struct tf_binding_options options = {.qos = qos, .retain_as_published = true};
    enum tf_err err = tf_shard_bind(sink->queue.shard, &sink->queue, tf_bytes_str(filter), &options,
                                    values, &sink->owner, tag);
    tf_assert(err == TF_OK);
}

size_t sink_count(const struct sink *sink, const char *address, const char *body)
{
    size_t count = 0;
    for (size_t i = 0; i < sink->seen_count; i++) {
        count += (!address || strcmp(sink->seen[i].address, address) == 0) &&
                 (!body || strcmp(sink->seen[i].body, body) == 0);
    }
    return count;
}
