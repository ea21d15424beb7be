/*
 * What the store keeps of MQTT sessions, and sessions made of what it kept.
 *
 * A session is an object (its client id -> the bytes below), its bindings and the QoS 2 packet ids
 * that it has received are objects that name its queue, its deliveries under way are entries of
 * that queue with a tag. Each is recorded in the turn in which it changes. A session that is there
 * already is served on when the store takes nothing new, and recorded when it does (front->stale).
 *
 * A session keeps the level that it was made with. It must not know how a record reaches the disk.
 *
 * Value of TF_STORED_SESSION, big-endian; the object refers to the will's message, if there is one:
 *   version 1, level 1, queue 8, session expiry 4, away since 8 (wall time; 0: attached), will
 *   delay 4, will message expiry 4 (0xffffffff: none)
 * Tag of an entry: packet id in the low 16 bits, above it what is waited for.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/durability.h"
#include "broker/mqtt_front_internal.h"
#include "route/address.h"

#define VERSION 1u
#define SESSION_BYTES 30u
#define RECEIVED_BYTES (TF_STORED_ID_BYTES + 2u)
#define SENT_SLOTS 8u /* of the first outbound table of a restored session */

/* In bits 16 and up of an entry's tag. */
enum stage { STAGE_PUBACK = 1, STAGE_PUBREC, STAGE_PUBCOMP };

static struct mqtt_front *front_of(struct tf_front *front)
{
    return tf_container_of(front, struct mqtt_front, front);
}

static struct mqtt_session *session_of(struct tf_queue *queue)
{
    return tf_container_of(queue, struct mqtt_session, queue);
}

static enum tf_store_level level_of(const struct mqtt_session *session)
{
    return (enum tf_store_level)session->queue.kept->level;
}

static tf_time wall_now(const struct mqtt_front *front)
{
    return tf_time_add(mqtt_now(front), front->shard->wall);
}

/* The wall time when a session went away; 0: it has not. */
static tf_time went_away(const struct mqtt_session *session)
{
    tf_time gone = mqtt_now(session->front) - session->left_at;
    tf_time wall = wall_now(session->front);
    return !session->away ? 0 : wall > gone ? wall - gone : 1;
}

/* The key of a binding, in the front's memory for it. */
static struct tf_bytes binding_key(const struct mqtt_session *session, struct tf_bytes filter)
{
    tf_assert(filter.length <= MQTT_KEY_MAX - TF_STORED_ID_BYTES);
    return tf_stored_key_write(session->front->key, session->queue.kept->id, filter);
}

/* ---- sessions ---- */

static enum tf_err put_session(struct mqtt_session *session)
{
    struct mqtt_front *front = session->front;
    struct tf_store_client *store = mqtt_store(front);
    struct tf_message *will = session->will;
    struct tf_store_message message;
    uint8_t value[SESSION_BYTES];
    size_t head = will ? tf_stored_head_size(&will->publication.envelope) : 0;
    enum tf_err err = tf_store_reserve(store, session->id_length + sizeof(value) + head);
    if (!err && will) {
        err = tf_stored_message(front->shard, will, &message);
    }
    if (err) {
        return err;
    }
    struct tf_writer writer = tf_writer_of(value, sizeof(value));
    tf_write_u8(&writer, VERSION);
    tf_write_u8(&writer, session->queue.kept->level);
    tf_write_u64(&writer, session->queue.kept->id);
    tf_write_u32(&writer, session->expiry_s);
    tf_write_u64(&writer, went_away(session));
    tf_write_u32(&writer, session->will_delay_s);
    tf_write_u32(&writer, session->will_expiry_s);
    tf_assert(!writer.failed && tf_writer_length(&writer) == sizeof(value));
    tf_store_put(store, level_of(session), TF_STORED_SESSION,
                 tf_bytes_of(session->id, session->id_length), tf_bytes_of(value, sizeof(value)),
                 will ? &message : NULL);
    session->changed = false;
    return TF_OK;
}

enum tf_err tf_mqtt_front_store_keep(struct mqtt_session *session, unsigned listener)
{
    struct mqtt_front *front = session->front;
    if (!mqtt_store(front) || session->expiry_s == 0) {
        return TF_OK;
    }
    enum tf_store_level level = tf_durability_of_listener(front->context.config, listener);
    if (level == TF_STORE_MEMORY) {
        return TF_OK;
    }
    enum tf_err err = tf_queue_keep(&session->queue, 0, (uint8_t)level, NULL);
    if (err) {
        return err;
    }
    err = put_session(session);
    if (err) {
        tf_queue_unkeep(&session->queue, false); /* the store has not heard of it */
    }
    return err;
}

void tf_mqtt_front_store_session(struct mqtt_session *session)
{
    if (!session->queue.kept || !session->changed) {
        return;
    }
    session->front->stale |= put_session(session) != TF_OK;
}

void tf_mqtt_front_store_stale(struct mqtt_front *front)
{
    struct tf_tree_node *node = tf_tree_first(&front->sessions);
    if (tf_store_reserve(mqtt_store(front), SESSION_BYTES)) {
        return; /* it takes nothing new still */
    }
    front->stale = false;
    for (; node && !front->stale; node = tf_tree_next(node)) {
        tf_mqtt_front_store_session(tf_container_of(node, struct mqtt_session, by_id));
    }
}

void tf_mqtt_front_store_forget(struct mqtt_session *session)
{
    struct tf_store_client *store = mqtt_store(session->front);
    struct tf_list_node *node = tf_list_first(&session->queue.bindings);
    uint32_t cursor = 0;
    uint16_t packet_id;
    if (!session->queue.kept) {
        return;
    }
    for (; node; node = tf_list_next(&session->queue.bindings, node)) {
        const struct tf_binding *binding = tf_container_of(node, struct tf_binding, in_queue);
        tf_store_remove(store, level_of(session), TF_STORED_BINDING,
                        binding_key(session, binding->route->filter));
    }
    while (tf_mqtt_session_received_next(&session->state, &cursor, &packet_id)) {
        tf_mqtt_front_store_released(session, packet_id);
    }
    tf_store_remove(store, level_of(session), TF_STORED_SESSION,
                    tf_bytes_of(session->id, session->id_length));
    tf_queue_unkeep(&session->queue, true);
}

/* ---- bindings ---- */

enum tf_err tf_mqtt_front_store_bind(struct mqtt_session *session, struct tf_bytes filter,
                                     const struct tf_binding_options *options)
{
    struct tf_store_client *store = mqtt_store(session->front);
    uint8_t value[TF_STORED_BINDING_BYTES];
    if (!session->queue.kept) {
        return TF_OK;
    }
    if (filter.length > MQTT_KEY_MAX - TF_STORED_ID_BYTES) {
        return TF_LIMIT;
    }
    enum tf_err err = tf_store_reserve(store, TF_STORED_ID_BYTES + filter.length + sizeof(value));
    if (err) {
        return err;
    }
    struct tf_writer writer = tf_writer_of(value, sizeof(value));
    tf_stored_binding_write(&writer, options);
    tf_assert(!writer.failed);
    tf_store_put(store, level_of(session), TF_STORED_BINDING, binding_key(session, filter),
                 tf_bytes_of(value, tf_writer_length(&writer)), NULL);
    return TF_OK;
}

void tf_mqtt_front_store_unbind(struct mqtt_session *session, struct tf_bytes filter)
{
    if (!session->queue.kept) {
        return;
    }
    const struct tf_binding *binding =
        tf_shard_binding(session->front->shard, &session->queue, filter);
    if (!binding) {
        tf_store_remove(mqtt_store(session->front), level_of(session), TF_STORED_BINDING,
                        binding_key(session, filter));
    } else {
        /* it stands with its former options; if even these cannot be recorded, a restart gives the
         * client what it had asked for and was refused */
        enum tf_err err = tf_mqtt_front_store_bind(session, filter, &binding->options);
        (void)err;
    }
}

/* ---- packet ids ---- */

/* The key of a QoS 2 packet id. */
static struct tf_bytes received_key(const struct mqtt_session *session, uint16_t packet_id,
                                    uint8_t *buffer)
{
    const uint8_t rest[] = {(uint8_t)(packet_id >> 8), (uint8_t)packet_id};
    return tf_stored_key_write(buffer, session->queue.kept->id, tf_bytes_of(rest, sizeof(rest)));
}

enum tf_err tf_mqtt_front_store_received(struct mqtt_session *session, uint16_t packet_id,
                                         struct tf_publication *publication)
{
    static const uint8_t value[] = {VERSION};
    struct tf_store_client *store = mqtt_store(session->front);
    uint8_t key[RECEIVED_BYTES];
    enum tf_store_level level = tf_stored_level(level_of(session), &publication->envelope);
    if (level == TF_STORE_MEMORY) {
        return TF_OK; /* nor is the message kept: after a restart both are new */
    }
    enum tf_err err = tf_store_reserve(store, sizeof(key) + sizeof(value));
    if (err) {
        return err;
    }
    tf_store_put(store, level, TF_STORED_RECEIVED, received_key(session, packet_id, key),
                 tf_bytes_of(value, sizeof(value)), NULL);
    if (session->front->shard->count > 1) {
        publication->transaction = tf_store_transaction(store);
    }
    return TF_OK;
}

void tf_mqtt_front_store_released(struct mqtt_session *session, uint16_t packet_id)
{
    uint8_t key[RECEIVED_BYTES];
    tf_store_remove(mqtt_store(session->front), level_of(session), TF_STORED_RECEIVED,
                    received_key(session, packet_id, key));
}

void tf_mqtt_front_store_sent(struct mqtt_session *session, struct tf_entry *entry)
{
    unsigned stage = entry->qos == 1 ? STAGE_PUBACK : STAGE_PUBREC;
    tf_entry_tag(entry, stage << 16 | tf_mqtt_session_youngest(&session->state));
}

void tf_mqtt_front_store_release(struct tf_entry *entry, uint16_t packet_id)
{
    uint32_t tag = (uint32_t)STAGE_PUBCOMP << 16 | packet_id;
    if (entry->tag != tag) { /* else a resumption tells of it once more */
        tf_entry_tag(entry, tag);
    }
}

/* ---- after a restart ---- */

/* What a stored session is. */
struct stored {
    uint64_t queue;
    tf_time away;
    uint32_t expiry_s, will_delay_s, will_expiry_s;
    uint8_t level;
};

static enum tf_err read_session(const struct tf_stored_object *object, struct stored *ret)
{
    struct tf_reader reader = tf_reader_of(object->value);
    if (object->kind != TF_STORED_SESSION || tf_read_u8(&reader) != VERSION) {
        return TF_PROTOCOL;
    }
    ret->level = tf_read_u8(&reader);
    ret->queue = tf_read_u64(&reader);
    ret->expiry_s = tf_read_u32(&reader);
    ret->away = tf_read_u64(&reader);
    ret->will_delay_s = tf_read_u32(&reader);
    ret->will_expiry_s = tf_read_u32(&reader);
    bool sound = !reader.failed && tf_reader_left(&reader) == 0 && ret->queue != 0 &&
                 (ret->level == TF_STORE_OS || ret->level == TF_STORE_DISK) &&
                 object->key.length > 0;
    return sound ? TF_OK : TF_PROTOCOL;
}

enum tf_err tf_mqtt_front_restore(struct tf_front *base, const struct tf_stored_object *object,
                                  struct tf_queue **ret_queue)
{
    struct mqtt_front *front = front_of(base);
    struct stored stored;
    enum tf_err err = read_session(object, &stored);
    if (err || tf_tree_find(&front->sessions, object->key)) {
        return TF_PROTOCOL;
    }
    struct mqtt_session *session = tf_mqtt_front_session_new(front, object->key);
    if (!session) {
        return TF_NO_MEMORY;
    }
    err = tf_queue_keep(&session->queue, stored.queue, stored.level, NULL);
    if (err) {
        tf_mqtt_front_session_free(session);
        return err;
    }
    session->expiry_s = tf_mqtt_front_session_expiry(front, stored.expiry_s);
    session->will_delay_s = stored.will_delay_s;
    session->will_expiry_s = stored.will_expiry_s;
    session->will = object->message ? tf_message_ref(object->message) : NULL;
    /* one that was attached went away as the broker did, which is known to be over only now; the
     * same holds when the clock has been set back */
    tf_time wall = wall_now(front);
    tf_time gone = stored.away && stored.away < wall ? wall - stored.away : 0;
    session->left_at = mqtt_now(front) - gone;
    session->away = true;
    session->changed = stored.away == 0;
    *ret_queue = &session->queue;
    return TF_OK;
}

static enum tf_err restore_binding(struct mqtt_session *session,
                                   const struct tf_stored_object *object)
{
    struct mqtt_front *front = session->front;
    struct tf_bytes filter = object->key;
    struct tf_binding_options options;
    if (tf_stored_binding_read(object->value, &options) || !tf_filter_valid(filter)) {
        return TF_PROTOCOL;
    }
    enum tf_err err =
        tf_shard_bind(front->shard, &session->queue, filter, &options, false, &session->binds, 0);
    tf_mqtt_front_count_subscriptions(session);
    return err;
}

static enum tf_err restore_received(struct mqtt_session *session, struct tf_bytes key)
{
    const struct tf_alloc *alloc = mqtt_alloc(session->front);
    struct tf_mqtt_session *state = &session->state;
    struct tf_reader reader = tf_reader_of(key);
    uint16_t packet_id = tf_read_u16(&reader);
    if (reader.failed || tf_reader_left(&reader)) {
        return TF_PROTOCOL;
    }
    enum tf_err err = tf_mqtt_session_restore_received(state, packet_id);
    if (err == TF_NO_MEMORY) {
        uint32_t capacity = TF_MIN(2u * state->received_count + 1u, 32768u);
        size_t size = tf_mqtt_session_received_size((uint16_t)capacity);
        void *part = tf_front_part_alloc(alloc, size);
        void *old = NULL;
        if (!part) {
            return TF_NO_MEMORY;
        }
        err = tf_mqtt_session_give_received(state, part, size, &old);
        tf_assert(err == TF_OK);
        tf_front_part_free(alloc, old);
        err = tf_mqtt_session_restore_received(state, packet_id);
    }
    return err == TF_MISUSE ? TF_PROTOCOL : err;
}

enum tf_err tf_mqtt_front_restore_part(struct tf_front *front, struct tf_queue *queue,
                                       const struct tf_stored_object *object)
{
    (void)front;
    switch (object->kind) {
    case TF_STORED_BINDING:
        return restore_binding(session_of(queue), object);
    case TF_STORED_RECEIVED:
        return restore_received(session_of(queue), object->key);
    default:
        return TF_PROTOCOL;
    }
}

/* What the machine is to wait for by the stage of a delivery; FREE: it makes no sense. */
static enum tf_mqtt_sent_state state_of(const struct tf_entry *entry)
{
    switch (entry->tag >> 16) {
    case STAGE_PUBACK:
        return entry->qos == 1 ? TF_MQTT_SENT_PUBACK : TF_MQTT_SENT_FREE;
    case STAGE_PUBREC:
        return entry->qos == 2 ? TF_MQTT_SENT_PUBREC : TF_MQTT_SENT_FREE;
    case STAGE_PUBCOMP:
        return entry->qos == 2 ? TF_MQTT_SENT_PUBCOMP : TF_MQTT_SENT_FREE;
    default:
        return TF_MQTT_SENT_FREE;
    }
}

/* Gives a session an outbound table that has room for a packet id. */
static enum tf_err grow_sent(struct mqtt_session *session, uint16_t packet_id)
{
    const struct tf_alloc *alloc = mqtt_alloc(session->front);
    uint32_t capacity = TF_MAX(2u * session->state.sent_capacity, SENT_SLOTS);
    capacity = TF_MIN(TF_MAX(capacity, packet_id), UINT16_MAX);
    size_t size = tf_mqtt_session_sent_size((uint16_t)capacity);
    void *part = tf_front_part_alloc(alloc, size);
    void *old = NULL;
    if (!part) {
        return TF_NO_MEMORY;
    }
    enum tf_err err = tf_mqtt_session_give_sent(&session->state, part, size, &old);
    tf_assert(err == TF_OK);
    tf_front_part_free(alloc, old);
    return TF_OK;
}

enum tf_err tf_mqtt_front_restore_entry(struct tf_front *front, struct tf_entry *entry)
{
    struct mqtt_session *session = session_of(entry->queue);
    uint16_t packet_id = (uint16_t)entry->tag;
    uint64_t handle = (uint64_t)(uintptr_t)entry;
    enum tf_mqtt_sent_state state = state_of(entry);
    (void)front;
    enum tf_err err = tf_mqtt_session_restore_sent(&session->state, packet_id, handle, state);
    if (err == TF_NO_MEMORY) {
        err = grow_sent(session, packet_id);
        if (!err) {
            err = tf_mqtt_session_restore_sent(&session->state, packet_id, handle, state);
        }
    }
    return err == TF_MISUSE ? TF_PROTOCOL : err;
}

void tf_mqtt_front_restored(struct tf_front *base)
{
    struct mqtt_front *front = front_of(base);
    struct tf_tree_node *node = tf_tree_first(&front->sessions);
    for (; node; node = tf_tree_next(node)) {
        struct mqtt_session *session = tf_container_of(node, struct mqtt_session, by_id);
        tf_mqtt_front_store_session(session); /* when it went away: another start goes on from it */
        tf_mqtt_front_session_wait(session);
    }
}
