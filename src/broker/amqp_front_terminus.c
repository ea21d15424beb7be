/*
 * What a link's terminus means (design: AMQP names): a queue that is declared by using it, a queue
 * alone, a topic, a dynamic node, `to` of each message, or the broker's management.
 *
 *                 we send (the source)                      we receive (the target)
 *   `x`           consumer of queue x, bound to address x    publisher to address x, queue x kept
 *   queue         consumer of the queue                      producer into the queue
 *   topic         consumer of a private queue, or of a       publisher to the address
 *                 durable one, bound to the filter
 *   dynamic       consumer of a new queue                    producer into a new queue
 *   none          refused                                    `to` decides
 *
 * The attach is answered when the routing has: until then what the answer says is kept.
 */
#include "base/mem.h"
#include "base/views.h"
#include "broker/address.h"
#include "broker/amqp_front_internal.h"
#include "broker/queues.h"

#include <trefoil/amqp_value.h>

#define CAPABILITIES_MAX 48u
#define DYNAMIC_IDLE (60 * TF_SECOND) /* when there was no memory to delete a node */
#define NODE_NAME_MAX 64u
#define DYNAMIC "$dynamic/" /* names of dynamic nodes; never declared by using them */

/* What the answer to an attach says, with all it views. */
struct amqp_attaching {
    size_t size;        /* of the allocation */
    uint8_t *unsettled; /* the map in the reply; NULL: none */
    size_t unsettled_size;
    struct tf_amqp_attach reply;
    uint8_t capabilities[CAPABILITIES_MAX];
    uint8_t outcomes[96];
    uint8_t default_outcome[8];
    uint8_t node[NODE_NAME_MAX]; /* name of a dynamic node */
    uint8_t text[];
};

/* What the peer asked for, as it is resolved. */
struct wanted {
    enum tf_mapping_node node;
    struct tf_bytes address;
    bool topic_capability;
};

void tf_amqp_front_attaching_free(struct amqp_link *link)
{
    struct amqp_front *front = amqp_link_conn(link)->front;
    if (link->attaching) {
        if (link->attaching->unsettled) {
            tf_amqp_front_free(front, link->attaching->unsettled, link->attaching->unsettled_size);
        }
        tf_amqp_front_free(front, link->attaching, link->attaching->size);
        link->attaching = NULL;
    }
}

static bool we_send(const struct amqp_link *link)
{
    return tf_amqp_link_role(link->machine) == TF_AMQP_SENDER;
}

/* The outcomes that we can deal with, and what holds where the peer gives none (3.5.3). */
static void describe_outcomes(struct amqp_attaching *attaching)
{
    static const char *const names[] = {"amqp:accepted:list", "amqp:rejected:list",
                                        "amqp:released:list", "amqp:modified:list"};
    struct tf_bytes symbols[TF_COUNT(names)];
    struct tf_amqp_terminus *source = &attaching->reply.source;
    struct tf_amqp_state released = {.type = TF_AMQP_STATE_RELEASED};
    for (size_t i = 0; i < TF_COUNT(names); i++) {
        symbols[i] = tf_bytes_str(names[i]);
    }
    struct tf_writer writer = tf_writer_of(attaching->outcomes, sizeof(attaching->outcomes));
    tf_amqp_write_symbols(&writer, symbols, TF_COUNT(symbols));
    source->outcomes = tf_bytes_of(attaching->outcomes, tf_writer_length(&writer));
    writer = tf_writer_of(attaching->default_outcome, sizeof(attaching->default_outcome));
    tf_amqp_state_write(&writer, &released);
    source->default_outcome = tf_bytes_of(attaching->default_outcome, tf_writer_length(&writer));
}

/* Copies what the answer repeats of the peer's attach. False: no memory. */
static bool begin_answer(struct amqp_link *link, const struct tf_amqp_attach *attach)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    size_t size = sizeof(struct amqp_attaching) + attach->name.length +
                  attach->source.address.length + attach->target.address.length;
    struct amqp_attaching *attaching = tf_amqp_front_alloc(conn->front, size);
    if (!attaching) {
        return false;
    }
    memset(attaching, 0, sizeof(*attaching));
    attaching->size = size;
    uint8_t *at = attaching->text;
    struct tf_amqp_attach *reply = &attaching->reply;
    reply->name = tf_bytes_put(&at, attach->name);
    reply->snd_settle_mode = attach->snd_settle_mode;
    reply->rcv_settle_mode = attach->rcv_settle_mode;
    reply->max_message_size =
        we_send(link) ? 0 : conn->servers->configs[conn->listener].max_message_size;
    reply->source = (struct tf_amqp_terminus){
        .type = attach->source.type,
        .has_address = attach->source.has_address,
        .address = tf_bytes_put(&at, attach->source.address),
        .durable = attach->source.durable,
        .expiry_policy = attach->source.expiry_policy,
        .timeout_s = attach->source.timeout_s,
        .distribution = attach->source.distribution,
    };
    reply->target = (struct tf_amqp_terminus){
        .type = attach->target.type,
        .has_address = attach->target.has_address,
        .address = tf_bytes_put(&at, attach->target.address),
        .durable = attach->target.durable,
        .expiry_policy = attach->target.expiry_policy,
        .timeout_s = attach->target.timeout_s,
    };
    link->attaching = attaching;
    return true;
}

/* The attach is answered: the link ends, or begins to work. */
static void answered(struct amqp_link *link)
{
    struct amqp_front *front = amqp_link_conn(link)->front;
    if (link->refused && link->refusal == TF_AMQP_NO_ERROR) {
        tf_amqp_link_detach(link->machine, true, NULL);
    } else if (link->refused) {
        struct tf_amqp_error error = tf_amqp_error_of(link->refusal, link->refusal_text);
        tf_amqp_link_detach(link->machine, true, &error);
    } else if (!we_send(link)) {
        tf_amqp_front_link_grant(link);
    } else {
        link->counted = true;
        front->front.counters.subscriptions++;
        tf_named_ready(&link->consumer); /* the peer's flow may have come first */
    }
}

void tf_amqp_front_link_answer(struct amqp_link *link)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    struct amqp_attaching *attaching = link->attaching;
    enum tf_err err = TF_AGAIN;
    if (tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE)) {
        err = tf_amqp_link_attach_reply(link->machine, &attaching->reply);
        if (err == TF_NO_MEMORY) {
            err = tf_amqp_front_conn_lend(conn, attaching->size + attaching->unsettled_size + 1024)
                      ? tf_amqp_link_attach_reply(link->machine, &attaching->reply)
                      : TF_AGAIN;
        }
    }
    link->answering = err == TF_AGAIN;
    if (err == TF_AGAIN) {
        if (!conn->buffer) {
            tf_amqp_front_conn_starve(conn);
        }
        tf_amqp_front_link_block(link);
        return;
    }
    tf_amqp_front_attaching_free(link);
    if (err == TF_CLOSED) {
        return; /* its session is ending */
    }
    if (err) {
        tf_amqp_front_conn_end(conn, TF_AMQP_FRAME_SIZE_TOO_SMALL, "an attach does not fit");
    } else {
        answered(link);
    }
    tf_stream_touch(&conn->stream);
}

void tf_amqp_front_link_refuse(struct amqp_link *link, enum tf_amqp_condition condition,
                               const char *text)
{
    tf_amqp_front_ledger_leave(link, false);
    link->kind = AMQP_LINK_NONE;
    link->refused = true;
    link->refusal = condition;
    link->refusal_text = text;
    if (!link->attaching) {
        answered(link);
        return;
    }
    if (we_send(link)) { /* 2.6.3: the terminus that is not there is null */
        link->attaching->reply.source = (struct tf_amqp_terminus){0};
    } else {
        link->attaching->reply.target = (struct tf_amqp_terminus){0};
        link->attaching->reply.unsettled = (struct tf_bytes){NULL, 0};
        link->attaching->reply.incomplete_unsettled = false;
    }
    tf_amqp_front_link_answer(link);
}

/*
 * The peer may rely on what was declared and bound for it, or shortly before for another one. While
 * the store takes nothing new only what this attach has recorded is waited for: what else is under
 * way may have to wait for room, which this link may be there to make.
 */
static void need_recorded(struct amqp_link *link)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    const struct tf_shard *shard = conn->front->shard;
    if (shard->config.store) {
        bool takes = tf_store_state(shard->config.store) <= TF_STORE_SLOW;
        tf_stream_need(&conn->stream, takes ? tf_shard_recorded(shard) : link->recorded);
    }
}

/* The routing has said whether the link has its node. */
static void resolved(struct amqp_link *link, enum tf_err err)
{
    switch (err) {
    case TF_OK:
        need_recorded(link);
        tf_amqp_front_link_answer(link);
        break;
    case TF_NOT_FOUND:
        tf_amqp_front_link_refuse(link, TF_AMQP_NOT_FOUND, "there is no such queue");
        break;
    case TF_EXISTS:
        tf_amqp_front_link_refuse(link, TF_AMQP_RESOURCE_LOCKED, "somebody has it alone");
        break;
    default:
        tf_amqp_front_link_refuse(link, TF_AMQP_RESOURCE_LIMIT_EXCEEDED,
                                  err == TF_LIMIT ? "too many queues" : "no memory");
        break;
    }
    tf_amqp_front_conn_touch(amqp_link_conn(link));
}

/* Where resolving ends at once: TF_AGAIN means that the routing calls back. */
static void resolve_now(struct amqp_link *link, enum tf_err err)
{
    if (err != TF_AGAIN) {
        if (err) {
            link->consuming = link->producing = false;
        }
        resolved(link, err);
    }
}

void tf_amqp_front_consumer_attached(struct tf_named_consumer *consumer, enum tf_err err)
{
    struct amqp_link *link = tf_container_of(consumer, struct amqp_link, consumer);
    link->consuming = err == TF_OK;
    resolved(link, err);
}

static void producer_attached(struct tf_named_producer *producer, enum tf_err err)
{
    struct amqp_link *link = tf_container_of(producer, struct amqp_link, producer);
    link->producing = err == TF_OK;
    resolved(link, err);
}

static void producer_room(struct tf_named_producer *producer, uint32_t room)
{
    struct amqp_link *link = tf_container_of(producer, struct amqp_link, producer);
    (void)room;
    if (!link->attaching) {
        tf_amqp_front_link_grant(link);
        tf_stream_touch(&amqp_link_conn(link)->stream);
    }
}

static void producer_deleted(struct tf_named_producer *producer)
{
    struct amqp_link *link = tf_container_of(producer, struct amqp_link, producer);
    link->producing = false;
    tf_amqp_front_link_fail(link, TF_AMQP_RESOURCE_DELETED, "the queue was deleted");
}

static const struct tf_named_producer_ops producer_ops = {
    .attached = producer_attached, .room = producer_room, .deleted = producer_deleted};

/* Notes what has been recorded since `appended`, and goes on with the attach. */
static void resolve_join(struct amqp_link *link, uint64_t appended, enum tf_err err)
{
    const struct tf_shard *shard = amqp_link_conn(link)->front->shard;
    if (shard->config.store && shard->config.store->appended != appended) {
        link->recorded = tf_shard_recorded(shard);
    }
    resolve_now(link, err);
}

/* Attaches the link to a queue, which is declared as `spec` says if it is not there. */
static void join(struct amqp_link *link, struct tf_bytes name, struct tf_bytes filter,
                 const struct tf_queue_spec *spec, bool values)
{
    struct tf_shard *shard = amqp_link_conn(link)->front->shard;
    struct tf_queue_declaration declaration = {
        .name = name,
        .filter = filter,
        .options = {.qos = 1, .upgrade = !(values && link->settled)},
        .spec = spec,
        .alone = link->subscription,
        .values = values};
    uint64_t appended = shard->config.store ? shard->config.store->appended : 0;
    if (we_send(link)) {
        link->consuming = true;
        link->fenced = shard->config.store && name.length && link->address &&
                       link->attaching->reply.rcv_settle_mode == TF_AMQP_RCV_SECOND &&
                       tf_shard_home(shard, name) != shard->config.number;
        resolve_join(link, appended, tf_shard_consume(shard, &link->consumer, &declaration));
    } else {
        link->producing = true;
        link->producer.ops = &producer_ops;
        resolve_join(link, appended, tf_shard_produce(shard, &link->producer, &declaration));
    }
}

/* Keeps the address of the link's node. False: no memory. */
static bool keep_address(struct amqp_link *link, struct tf_bytes address)
{
    link->address = tf_amqp_front_alloc(amqp_link_conn(link)->front, address.length);
    if (!link->address) {
        return false;
    }
    memcpy(link->address, address.data, address.length);
    link->address_length = (uint16_t)address.length;
    return true;
}

static struct tf_queue_spec spec_of(const struct amqp_link *link, struct tf_bytes name)
{
    struct tf_queue_spec spec;
    (void)tf_queues_spec_of(amqp_link_conn(link)->front->context.config, name, &spec);
    return spec;
}

/*
 * A node of the broker's naming (3.5.3, 3.5.4: dynamic): a queue bound to the address of its own
 * name, so that MQTT and CoAP can answer to it too. Its home is this shard.
 */
static void resolve_dynamic(struct amqp_link *link)
{
    static const char digits[] = "0123456789abcdef";
    static const char head[] = DYNAMIC;
    struct amqp_front *front = amqp_link_conn(link)->front;
    struct amqp_attaching *attaching = link->attaching;
    const size_t fixed = sizeof(head) - 1;
    struct tf_bytes name;
    memcpy(attaching->node, head, fixed);
    do {
        uint8_t random[16];
        front->context.random(front->context.random_ctx, random, sizeof(random));
        for (size_t i = 0; i < sizeof(random); i++) {
            attaching->node[fixed + 2 * i] = (uint8_t)digits[random[i] >> 4];
            attaching->node[fixed + 2 * i + 1] = (uint8_t)digits[random[i] & 15];
        }
        name = tf_bytes_of(attaching->node, fixed + 2 * sizeof(random));
    } while (tf_shard_home(front->shard, name) != front->shard->config.number);
    struct tf_amqp_terminus *terminus =
        we_send(link) ? &attaching->reply.source : &attaching->reply.target;
    terminus->dynamic = true;
    terminus->has_address = true;
    terminus->address = name;
    struct tf_queue_spec spec = spec_of(link, name);
    spec.idle = DYNAMIC_IDLE;
    spec.idle_when_empty = false;
    spec.durability = TF_STORE_MEMORY;
    link->dynamic = true;
    if (!keep_address(link, name)) {
        resolve_now(link, TF_NO_MEMORY);
        return;
    }
    if (we_send(link)) {
        describe_outcomes(attaching);
    } else {
        link->answer |= AMQP_ANSWER_QUEUE;
    }
    link->kind = we_send(link) ? AMQP_LINK_CONSUMER : AMQP_LINK_PRODUCER;
    link->consumer.settled = link->settled;
    join(link, name, name, &spec, false);
}

/*
 * A container's id as one level of an address: with its slashes as they are, another container and
 * link could have the same name together. Returns its length; `writer` NULL: no more than that.
 */
static size_t write_level(struct tf_bytes id, struct tf_writer *writer)
{
    size_t length = 0;
    for (size_t i = 0; i < id.length; i++) {
        uint8_t byte = id.data[i];
        const char *escape = byte == '/' ? "%2F" : byte == '%' ? "%25" : NULL;
        length += escape ? 3 : 1;
        if (writer && escape) {
            tf_write_bytes(writer, tf_bytes_str(escape));
        } else if (writer) {
            tf_write_u8(writer, byte);
        }
    }
    return length;
}

/*
 * The queue of a durable subscription is known by its container and link (design: AMQP names).
 * Attached again for another filter it is bound to that one.
 */
static void resolve_subscription(struct amqp_link *link, const struct tf_amqp_terminus *source,
                                 struct tf_bytes filter)
{
    static const char head[] = "$subscription/";
    struct amqp_conn *conn = amqp_link_conn(link);
    struct tf_bytes link_name = {link->key + 1, link->key_length - 1};
    struct tf_bytes id = {conn->container->id, conn->container->id_length};
    size_t length = sizeof(head) + write_level(id, NULL) + link_name.length;
    if (length > UINT16_MAX) {
        resolve_now(link, TF_LIMIT);
        return;
    }
    link->address = tf_amqp_front_alloc(conn->front, length);
    if (!link->address) {
        resolve_now(link, TF_NO_MEMORY);
        return;
    }
    link->address_length = (uint16_t)length;
    struct tf_writer writer = tf_writer_of(link->address, length);
    tf_write_bytes(&writer, tf_bytes_str(head));
    (void)write_level(id, &writer);
    tf_write_u8(&writer, '/');
    tf_write_bytes(&writer, link_name);
    struct tf_queue_spec spec = spec_of(link, amqp_link_address(link));
    bool expires = source->expiry_policy != TF_AMQP_EXPIRY_NEVER;
    spec.idle = expires ? source->timeout_s * TF_SECOND : TF_TIME_NEVER;
    spec.idle_when_empty = false;
    spec.durability = source->durable == TF_AMQP_DURABLE_NONE
                          ? TF_STORE_MEMORY
                          : tf_durability_of_listener(conn->front->context.config, conn->listener);
    link->subscription = true;
    join(link, amqp_link_address(link), filter, &spec, false);
}

static void resolve_source(struct amqp_link *link, const struct tf_amqp_terminus *source,
                           const struct wanted *wanted)
{
    struct tf_queue_spec spec = spec_of(link, wanted->address);
    link->kind = AMQP_LINK_CONSUMER;
    describe_outcomes(link->attaching);
    link->consumer.settled = link->settled;
    if (wanted->node == TF_NODE_TOPIC) {
        if (source->durable != TF_AMQP_DURABLE_NONE ||
            source->expiry_policy == TF_AMQP_EXPIRY_NEVER) {
            resolve_subscription(link, source, wanted->address);
        } else {
            join(link, (struct tf_bytes){NULL, 0}, wanted->address, &spec, true);
        }
        return;
    }
    link->consumer.browse = source->distribution == TF_AMQP_DISTRIBUTION_COPY;
    if (!keep_address(link, wanted->address)) {
        resolve_now(link, TF_NO_MEMORY);
        return;
    }
    join(link, wanted->address,
         wanted->node == TF_NODE_PLAIN ? wanted->address : (struct tf_bytes){NULL, 0},
         wanted->address.data[0] == '$' ? NULL : &spec, false);
}

static void resolve_target(struct amqp_link *link, const struct wanted *wanted)
{
    struct tf_queue_spec spec = spec_of(link, wanted->address);
    link->answer |= wanted->topic_capability ? AMQP_ANSWER_TOPIC : 0;
    if (!keep_address(link, wanted->address)) {
        resolve_now(link, TF_NO_MEMORY);
        return;
    }
    if (wanted->node == TF_NODE_QUEUE) {
        link->kind = AMQP_LINK_PRODUCER;
        link->answer |= AMQP_ANSWER_QUEUE;
        join(link, wanted->address, (struct tf_bytes){NULL, 0},
             wanted->address.data[0] == '$' ? NULL : &spec, false);
        return;
    }
    link->kind = AMQP_LINK_PUBLISHER;
    if (wanted->node == TF_NODE_PLAIN) {
        link->answer |= AMQP_ANSWER_QUEUE;
        join(link, wanted->address, wanted->address, &spec, false);
    } else {
        resolve_now(link, TF_OK);
    }
}

/* Says in the answer which of `queue` and `topic` holds, if the peer asked for one. */
static void grant_capability(struct amqp_link *link, const struct tf_amqp_terminus *asked,
                             const char *name)
{
    struct amqp_attaching *attaching = link->attaching;
    struct tf_amqp_terminus *terminus =
        we_send(link) ? &attaching->reply.source : &attaching->reply.target;
    if (tf_amqp_symbols_have(asked->capabilities, tf_bytes_str(name))) {
        struct tf_writer writer =
            tf_writer_of(attaching->capabilities, sizeof(attaching->capabilities));
        tf_amqp_write_symbol(&writer, tf_bytes_str(name));
        terminus->capabilities = tf_bytes_of(attaching->capabilities, tf_writer_length(&writer));
    }
}

/* What an address with its capabilities names. False: nothing, the link has been refused. */
static bool look_up(struct amqp_link *link, const struct tf_amqp_terminus *terminus,
                    struct wanted *ret)
{
    struct amqp_front *front = amqp_link_conn(link)->front;
    uint8_t *buffer =
        tf_amqp_front_scratch(front, AMQP_SCRATCH_NAMES, terminus->address.length + 1);
    if (!buffer) {
        resolve_now(link, TF_NO_MEMORY);
        return false;
    }
    if (tf_mapping_amqp_address(terminus->address, we_send(link), buffer, &ret->node,
                                &ret->address)) {
        tf_amqp_front_link_refuse(link, TF_AMQP_INVALID_FIELD, "this is not an address");
        return false;
    }
    ret->topic_capability = tf_amqp_symbols_have(terminus->capabilities, tf_bytes_str("topic"));
    bool dynamic = ret->address.length >= sizeof(DYNAMIC) &&
                   tf_bytes_begin(ret->address, tf_bytes_str(DYNAMIC));
    if (ret->node == TF_NODE_PLAIN) {
        if (dynamic && we_send(link)) {
            ret->node = TF_NODE_QUEUE;
        } else if (ret->topic_capability || tf_filter_wild(ret->address)) {
            ret->node = TF_NODE_TOPIC;
        } else if (tf_amqp_symbols_have(terminus->capabilities, tf_bytes_str("queue"))) {
            ret->node = TF_NODE_QUEUE;
        } else if (ret->address.data[0] == '$' ||
                   tf_queues_is_topic(front->context.config, ret->address)) {
            ret->node = TF_NODE_TOPIC;
        }
    }
    bool refused = ret->node == TF_NODE_QUEUE ? ret->address.data[0] == '$' && !dynamic
                                              : !we_send(link) && !tf_address_open(ret->address);
    if (refused) {
        tf_amqp_front_link_refuse(link, TF_AMQP_UNAUTHORIZED_ACCESS, "this name is the system's");
        return false;
    }
    grant_capability(link, terminus, ret->node == TF_NODE_TOPIC ? "topic" : "queue");
    return true;
}

/*
 * What is told of a durable terminus is what is kept: of a source its queue, of a target without a
 * ledger nothing more than the queue, of one with a ledger what it has of the peer's deliveries.
 */
static void resume(struct amqp_link *link, const struct tf_amqp_attach *attach)
{
    struct amqp_attaching *attaching = link->attaching;
    struct tf_amqp_terminus *mine =
        we_send(link) ? &attaching->reply.source : &attaching->reply.target;
    if (mine->durable == TF_AMQP_DURABLE_UNSETTLED_STATE) {
        mine->durable = TF_AMQP_DURABLE_CONFIGURATION;
    }
    if (we_send(link) || attach->target.type != TF_AMQP_TARGET || attach->target.dynamic ||
        tf_bytes_equal(attach->target.address, tf_bytes_str("$management"))) {
        return;
    }
    tf_amqp_front_ledger_attach(link, attach);
    if (!link->ledger) {
        return;
    }
    tf_amqp_front_ledger_describe(link, mine);
    size_t size = tf_amqp_front_ledger_room(link, attach);
    attaching->unsettled = size ? tf_amqp_front_alloc(amqp_link_conn(link)->front, size) : NULL;
    attaching->reply.incomplete_unsettled = size && !attaching->unsettled;
    if (attaching->unsettled) {
        attaching->unsettled_size = size;
        size = tf_amqp_front_ledger_map(link, attaching->unsettled, size,
                                        &attaching->reply.incomplete_unsettled);
        attaching->reply.unsettled = tf_bytes_of(attaching->unsettled, size);
    }
}

void tf_amqp_front_link_resolve(struct amqp_link *link, const struct tf_amqp_attach *attach)
{
    bool sending = we_send(link);
    const struct tf_amqp_terminus *terminus = sending ? &attach->source : &attach->target;
    struct wanted wanted;
    link->settled = attach->snd_settle_mode == TF_AMQP_SND_SETTLED;
    if (!sending && attach->rcv_settle_mode == TF_AMQP_RCV_SECOND) {
        link->answer |= AMQP_ANSWER_SECOND;
    }
    if (!begin_answer(link, attach)) {
        tf_amqp_front_conn_end(amqp_link_conn(link), TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no memory");
        return;
    }
    resume(link, attach);
    if (terminus->type == TF_AMQP_COORDINATOR) {
        tf_amqp_front_link_refuse(link, TF_AMQP_NOT_IMPLEMENTED, "there are no transactions");
    } else if (terminus->type == TF_AMQP_TERMINUS_NONE) {
        tf_amqp_front_link_refuse(link, TF_AMQP_INVALID_FIELD, "the terminus is missing");
    } else if (terminus->dynamic) {
        resolve_dynamic(link);
    } else if (!terminus->has_address && !sending) {
        link->kind = AMQP_LINK_ANONYMOUS;
        resolve_now(link, TF_OK);
    } else if (terminus->address.length == 0) {
        tf_amqp_front_link_refuse(link, TF_AMQP_INVALID_FIELD, "an address is missing");
    } else if (!sending && tf_bytes_equal(terminus->address, tf_bytes_str("$management"))) {
        link->kind = AMQP_LINK_MANAGEMENT;
        resolve_now(link, TF_OK);
    } else if (look_up(link, terminus, &wanted)) {
        if (sending) {
            resolve_source(link, terminus, &wanted);
        } else {
            resolve_target(link, &wanted);
        }
    }
}

/* Deletes the queue that went with the link. `wait`: the peer waits until it is gone for good. */
static void delete_queue(struct amqp_link *link, bool wait)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    struct tf_queue_command command = {
        .type = TF_QUEUE_DELETE, .name = amqp_link_address(link), .recorded = wait};
    if (tf_shard_queue_command(conn->front->shard, &command, &link->deletion, 0)) {
        tf_amqp_front_conn_log(conn, TF_LOG_WARN, "no memory to delete a queue: it stays");
        link->undeleted = true;
    } else {
        link->deleting = wait;
    }
}

void tf_amqp_front_link_leave(struct amqp_link *link, bool closed, bool lost)
{
    bool joined = link->consuming || link->producing;
    tf_list_unlink(&link->blocked);
    tf_amqp_front_ledger_leave(link, closed);
    tf_amqp_front_fence_leave(link);
    if (link->consuming) {
        tf_named_detach(&link->consumer, lost);
        link->consuming = false;
    }
    if (link->producing) {
        tf_named_producer_detach(&link->producer);
        link->producing = false;
    }
    if (joined && (link->dynamic || (link->subscription && closed))) {
        delete_queue(link, link->subscription && closed);
    }
    tf_amqp_front_incoming_drop(link);
    link->kind = AMQP_LINK_NONE;
}
