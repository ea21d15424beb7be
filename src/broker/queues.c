/*
 * Named queues beside the fronts: see queues.h.
 */
#include "broker/queues.h"

#include "base/util.h"
#include "broker/config.h"
#include "broker/log.h"
#include "broker/sys_collection.h"
#include "route/table.h"

#include <string.h>

#define PART "queues"

/* ---- what the configuration says ---- */

const struct tf_config_queue *tf_queues_find(const struct tf_config *config, struct tf_bytes name)
{
    return tf_config_queue_find(config, (const char *)name.data, name.length);
}

static uint8_t overflow_of(uint8_t overflow)
{
    return overflow == TF_CONFIG_OVERFLOW_DROP_OLD   ? TF_OVERFLOW_DROP_OLD
           : overflow == TF_CONFIG_OVERFLOW_DROP_NEW ? TF_OVERFLOW_DROP_NEW
                                                     : TF_OVERFLOW_REFUSE;
}

static tf_time seconds(uint32_t seconds_or_none)
{
    return seconds_or_none ? seconds_or_none * TF_SECOND : TF_TIME_NEVER;
}

static void fill_spec(const struct tf_config_queue *queue, struct tf_queue_spec *ret)
{
    *ret =
        (struct tf_queue_spec){.limits = {.entries = queue->max_messages,
                                          .bytes = queue->max_bytes,
                                          .overflow = overflow_of(queue->overflow)},
                               .message_ttl = seconds(queue->message_ttl_s),
                               .dead_letter = queue->dead_letter ? tf_bytes_str(queue->dead_letter)
                                                                 : (struct tf_bytes){NULL, 0},
                               .idle = TF_TIME_NEVER,
                               .max_attempts = queue->max_attempts,
                               .durability = queue->durability,
                               .configured = true};
}

bool tf_queues_spec_of(const struct tf_config *config, struct tf_bytes name,
                       struct tf_queue_spec *ret_spec)
{
    const struct tf_config_queue *queue = tf_queues_find(config, name);
    if (queue) {
        fill_spec(queue, ret_spec);
        return true;
    }
    *ret_spec = (struct tf_queue_spec){.limits = {.entries = config->queue_default_max_messages,
                                                  .bytes = config->queue_default_max_bytes,
                                                  .overflow = TF_OVERFLOW_REFUSE},
                                       .message_ttl = TF_TIME_NEVER,
                                       .idle = seconds(config->queue_idle_timeout_s),
                                       .idle_when_empty = true,
                                       .durability = config->durability};
    return false;
}

bool tf_queues_is_topic(const struct tf_config *config, struct tf_bytes address)
{
    for (size_t i = 0; i < config->topic_count; i++) {
        if (tf_filter_matches(tf_bytes_str(config->topics[i]), address)) {
            return true;
        }
    }
    return false;
}

/* ---- declaring ---- */

static void log_failure(struct tf_queues *queues, const char *name, enum tf_err err)
{
    tf_log_text(queues->log, TF_LOG_ERROR, PART, "cannot declare queue %s: %s", name,
                err == TF_LIMIT ? "there are too many queues (max_queues)"
                                : "there is too little memory");
}

/* A tag is the place of the queue in the configuration: told for the log alone. */
static void declared(struct tf_command_owner *owner, uint64_t tag, enum tf_err err, uint64_t count,
                     const struct tf_queue_status *status)
{
    struct tf_queues *queues = tf_container_of(owner, struct tf_queues, owner);
    (void)count;
    (void)status;
    if (err) {
        log_failure(queues,
                    tag < queues->config->queue_count ? queues->config->queues[tag].name : "", err);
    }
}

/* Declares a queue, bound to its `bind`th filter; without one to nothing. */
static void declare(struct tf_queues *queues, size_t place, size_t bind)
{
    const struct tf_config_queue *queue = &queues->config->queues[place];
    struct tf_queue_spec spec;
    fill_spec(queue, &spec);
    struct tf_queue_command command = {.type = TF_QUEUE_DECLARE,
                                       .name = tf_bytes_str(queue->name),
                                       .spec = &spec,
                                       .filter = bind < queue->bind_count
                                                     ? tf_bytes_str(queue->binds[bind])
                                                     : (struct tf_bytes){NULL, 0},
                                       .options = {.qos = 1, .upgrade = true}};
    enum tf_err err = tf_shard_queue_command(queues->shard, &command, &queues->owner, place);
    if (err) {
        log_failure(queues, queue->name, err);
    }
}

void tf_queues_declare(struct tf_queues *queues)
{
    const struct tf_config *config = queues->config;
    for (size_t i = 0; i < config->queue_count; i++) {
        struct tf_bytes name = tf_bytes_str(config->queues[i].name);
        if (tf_shard_home(queues->shard, name) != queues->shard->config.number) {
            continue;
        }
        size_t bind = 0;
        do {
            declare(queues, i, bind);
        } while (++bind < config->queues[i].bind_count);
    }
}

bool tf_queues_busy(const struct tf_queues *queues)
{
    return !tf_list_empty(&queues->owner.commands);
}

void tf_queues_reload(struct tf_queues *queues, const struct tf_config *config)
{
    tf_command_owner_release(&queues->owner); /* their tags are places in the former one */
    queues->config = config;
    tf_queues_declare(queues);
}

void tf_queues_init(struct tf_queues *queues, struct tf_shard *shard,
                    const struct tf_config *config, struct tf_log *log)
{
    *queues = (struct tf_queues){.shard = shard, .config = config, .log = log};
    tf_list_init(&queues->owner.commands);
    queues->owner.done = declared;
}

void tf_queues_release(struct tf_queues *queues)
{
    tf_command_owner_release(&queues->owner);
}

/* ---- $SYS/queues ---- */

static const void *next(void *owner, struct tf_bytes name)
{
    return tf_named_queue_next(((struct tf_queues *)owner)->shard, name);
}

static const void *find(void *owner, struct tf_bytes name)
{
    return tf_named_queue_find(((struct tf_queues *)owner)->shard, name);
}

static struct tf_bytes name_of(const void *object)
{
    return tf_named_queue_name(object);
}

/* A number, or null for none. */
static void set_limit(json_t *object, const char *key, bool none, uint64_t number)
{
    json_object_set_new(object, key, none ? json_null() : json_integer((json_int_t)number));
}

static json_t *describe(void *owner, const void *queue)
{
    const struct tf_queues *queues = owner;
    const struct tf_queue_spec *spec = tf_named_queue_spec(queue);
    struct tf_queue_status status;
    tf_named_queue_status(queue, &status);
    const struct {
        const char *key;
        uint64_t number;
    } numbers[] = {{"messages", status.messages},
                   {"bytes", status.bytes},
                   {"in_flight", status.acquired},
                   {"consumers", status.consumers},
                   {"producers", status.producers},
                   {"bindings", status.bindings},
                   {"enqueued", status.enqueued},
                   {"delivered", status.delivered},
                   {"settled", status.settled},
                   {"released", status.released},
                   {"rejected", status.rejected},
                   {"expired", status.expired},
                   {"dropped", status.dropped},
                   {"dead_lettered", status.dead_lettered},
                   {"shard", queues->shard->config.number}};
    json_t *object = json_object();
    json_object_set_new(object, "queue", tf_sys_text(tf_named_queue_name(queue)));
    for (size_t i = 0; i < TF_COUNT(numbers); i++) {
        json_object_set_new(object, numbers[i].key, json_integer((json_int_t)numbers[i].number));
    }
    set_limit(object, "limit", spec->limits.entries == UINT32_MAX, spec->limits.entries);
    set_limit(object, "limit_bytes", spec->limits.bytes == UINT64_MAX, spec->limits.bytes);
    set_limit(object, "ttl_s", spec->message_ttl == TF_TIME_NEVER, spec->message_ttl / TF_SECOND);
    json_object_set_new(object, "dead_letter",
                        spec->dead_letter.length ? tf_sys_text(spec->dead_letter) : json_null());
    json_object_set_new(object, "configured", json_boolean(spec->configured));
    return object;
}

struct tf_message *tf_queues_virtual_next(struct tf_queues *queues, struct tf_bytes filter,
                                          struct tf_bytes last)
{
    static const struct tf_sys_collection collection = {"$SYS/queues/", next, find, name_of,
                                                        describe};
    return tf_sys_collections_next(&collection, 1, queues, filter, last,
                                   queues->shard->config.alloc);
}
