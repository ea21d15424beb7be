/*
 * Consumers and producers of named queues. See named_rig.h.
 */
#include "unit/route/named_rig.h"

#include <stdio.h>

#include "base/util.h"

static void copy_text(char *to, size_t size, struct tf_bytes from)
{
    size_t length = TF_MIN(from.length, size - 1);
    if (length) {
        memcpy(to, from.data, length);
    }
    to[length] = 0;
}

struct tf_queue_spec named_spec(void)
{
    return (struct tf_queue_spec){.limits = {1000, 1 << 20, TF_OVERFLOW_REFUSE},
                                  .message_ttl = TF_TIME_NEVER,
                                  .idle = TF_TIME_NEVER};
}

static struct eater *eater_of(struct tf_named_consumer *consumer)
{
    return tf_container_of(consumer, struct eater, consumer);
}

static void on_attached(struct tf_named_consumer *consumer, enum tf_err err)
{
    struct eater *eater = eater_of(consumer);
    eater->attached++;
    eater->err = err;
}

static enum tf_err deliver(struct tf_named_consumer *consumer,
                           const struct tf_named_delivery *delivery)
{
    static const struct tf_outcome accepted = {.type = TF_OUTCOME_ACCEPTED};
    static const struct tf_outcome released = {.type = TF_OUTCOME_RELEASED};
    struct eater *eater = eater_of(consumer);
    const struct tf_publication *publication = delivery->publication;
    if (eater->room == 0) {
        return eater->refuse ? eater->refuse : TF_AGAIN;
    }
    tf_assert(eater->count < EATER_SEEN_MAX);
    eater->room--;
    struct eaten *eaten = &eater->eaten[eater->count++];
    *eaten = (struct eaten){.handle = delivery->handle,
                            .attempts = delivery->attempts,
                            .acquired_before = delivery->acquired_before,
                            .retain = delivery->retain};
    copy_text(eaten->address, sizeof(eaten->address), publication->envelope.address);
    copy_text(eaten->annotations, sizeof(eaten->annotations), delivery->annotations);
    if (publication->body_count) {
        copy_text(eaten->body, sizeof(eaten->body), publication->body[0]);
    }
    if (delivery->handle && eater->release_at_once) {
        eater->release_at_once = false;
        tf_named_settle(consumer, delivery->handle, &released);
    } else if (delivery->handle && eater->accept_at_once) {
        tf_named_settle(consumer, delivery->handle, &accepted);
    }
    return TF_OK;
}

static void on_drained(struct tf_named_consumer *consumer)
{
    eater_of(consumer)->drained++;
}

static void on_deleted(struct tf_named_consumer *consumer)
{
    eater_of(consumer)->deleted++;
}

static const struct tf_named_consumer_ops eater_ops = {
    .attached = on_attached, .deliver = deliver, .drained = on_drained, .deleted = on_deleted};

void eater_start(struct eater *eater, struct rig *rig, unsigned shard, const char *name)
{
    struct tf_queue_spec spec = named_spec();
    struct tf_queue_declaration declaration = {.name = tf_bytes_str(name), .spec = &spec};
    memset(eater, 0, sizeof(*eater));
    eater->shard = &rig->shards[shard];
    enum tf_err err = eater_attach(eater, rig, &declaration);
    tf_assert(err == TF_OK);
}

enum tf_err eater_attach(struct eater *eater, struct rig *rig,
                         const struct tf_queue_declaration *declaration)
{
    eater->consumer.ops = &eater_ops;
    eater->room = UINT32_MAX;
    eater->attached = 0;
    enum tf_err err = tf_shard_consume(eater->shard, &eater->consumer, declaration);
    if (err == TF_AGAIN) {
        rig_settle(rig);
        tf_assert(eater->attached == 1);
        err = eater->err;
    }
    return err;
}

const char *eater_bodies(const struct eater *eater, size_t from)
{
    static char text[65536];
    size_t length = 0;
    text[0] = 0;
    for (size_t i = from; i < eater->count; i++) {
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s",
                                   i > from ? " " : "", eater->eaten[i].body);
    }
    return text;
}

void eater_settle(struct eater *eater, size_t n, enum tf_outcome_type type)
{
    struct tf_outcome outcome = {.type = (uint8_t)type};
    tf_assert(n < eater->count && eater->eaten[n].handle);
    tf_named_settle(&eater->consumer, eater->eaten[n].handle, &outcome);
    eater->eaten[n].handle = 0;
}

static struct feeder *feeder_of(struct tf_named_producer *producer)
{
    return tf_container_of(producer, struct feeder, producer);
}

static void feeder_attached(struct tf_named_producer *producer, enum tf_err err)
{
    feeder_of(producer)->attached++;
    feeder_of(producer)->err = err;
}

static void feeder_room(struct tf_named_producer *producer, uint32_t room)
{
    feeder_of(producer)->rooms++;
    feeder_of(producer)->room = room;
}

static void feeder_deleted(struct tf_named_producer *producer)
{
    feeder_of(producer)->deleted++;
}

static const struct tf_named_producer_ops feeder_ops = {
    .attached = feeder_attached, .room = feeder_room, .deleted = feeder_deleted};

enum tf_err feeder_attach(struct feeder *feeder, struct rig *rig, unsigned shard,
                          const struct tf_queue_declaration *declaration)
{
    memset(feeder, 0, sizeof(*feeder));
    feeder->producer.ops = &feeder_ops;
    enum tf_err err = tf_shard_produce(&rig->shards[shard], &feeder->producer, declaration);
    if (err == TF_AGAIN) {
        rig_settle(rig);
        tf_assert(feeder->attached == 1);
        err = feeder->err;
    }
    return err;
}

struct waiter {
    struct tf_ticket_owner owner;
    struct tf_published result;
    unsigned done;
};

static void put_done(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct waiter *waiter = tf_container_of(owner, struct waiter, owner);
    (void)tag;
    waiter->result = *result;
    waiter->done++;
}

struct tf_published named_put(struct rig *rig, unsigned shard, const char *name, const char *body)
{
    struct waiter waiter = {.owner.done = put_done};
    struct tf_bytes bytes;
    struct tf_publication publication =
        rig_publication(tf_bytes_str("put"), body, 1, false, &bytes);
    tf_list_init(&waiter.owner.tickets);
    enum tf_err err = tf_shard_enqueue(&rig->shards[shard], tf_bytes_str(name), &publication,
                                       &waiter.owner, 0, &waiter.result);
    tf_publication_release(&publication);
    if (err == TF_AGAIN) {
        rig_settle(rig);
        tf_assert(waiter.done == 1);
    } else {
        tf_assert(err == TF_OK);
    }
    return waiter.result;
}

void named_publish(struct rig *rig, unsigned shard, const char *address, const char *body)
{
    enum tf_err err = rig_publish(rig, shard, tf_bytes_str(address), body, 0, false, NULL, 0, NULL);
    tf_assert(err == TF_OK);
    rig_settle(rig);
}

struct tf_queue_status named_status(struct rig *rig, const char *name)
{
    struct tf_queue_status status = {0};
    unsigned home = tf_shard_home(&rig->shards[0], tf_bytes_str(name));
    struct tf_named_queue *named = tf_named_queue_find(&rig->shards[home], tf_bytes_str(name));
    if (named) {
        tf_named_queue_status(named, &status);
    }
    return status;
}

struct commander {
    struct tf_command_owner owner;
    enum tf_err err;
    uint64_t count;
    unsigned done;
};

static void command_done(struct tf_command_owner *owner, uint64_t tag, enum tf_err err,
                         uint64_t count, const struct tf_queue_status *status)
{
    struct commander *commander = tf_container_of(owner, struct commander, owner);
    (void)tag;
    (void)status;
    commander->err = err;
    commander->count = count;
    commander->done++;
}

enum tf_err named_command(struct rig *rig, unsigned shard, const struct tf_queue_command *command,
                          uint64_t *ret_count)
{
    struct commander commander = {.owner.done = command_done};
    tf_list_init(&commander.owner.commands);
    enum tf_err err = tf_shard_queue_command(&rig->shards[shard], command, &commander.owner, 0);
    tf_assert(err == TF_OK && commander.done == 0);
    rig_settle(rig);
    tf_assert(commander.done == 1);
    if (ret_count) {
        *ret_count = commander.count;
    }
    return commander.err;
}

void named_delete(struct rig *rig, const char *name)
{
    struct tf_queue_command command = {.type = TF_QUEUE_DELETE, .name = tf_bytes_str(name)};
    enum tf_err err = named_command(rig, 0, &command, NULL);
    tf_assert(err == TF_OK);
}

void named_name(const struct rig *rig, unsigned shard, char ret[16])
{
    struct tf_bytes name = rig_address(rig, shard, "q", ret, 16);
    ret[name.length] = 0;
}
