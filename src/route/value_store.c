/*
 * Values and the store: what is set in the home of an address is recorded there, and given back to
 * it after a restart.
 *
 * A small message is part of the value's object, a large one is referred to, so that it lies once
 * in the store if queues have it, too. The system's own values (`$SYS/...`) are made anew by every
 * run. Versions go on above those that come back.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"
#include "base/views.h"
#include "route/address.h"
#include "route/internal.h"

#define INLINE_MAX 512u /* bytes of head and body */

/* True for an address that the broker itself writes. */
static bool of_system(struct tf_bytes address)
{
    return tf_bytes_begin(address, tf_bytes_str("$SYS/"));
}

/* How a message as a value is recorded; TF_STORE_MEMORY: not at all. */
static enum tf_store_level level_of(const struct tf_shard *shard, const struct tf_message *message)
{
    const struct tf_envelope *envelope = &message->publication.envelope;
    if (!shard->config.store || of_system(envelope->address)) {
        return TF_STORE_MEMORY;
    }
    return tf_stored_level(envelope->qos ? TF_STORE_DISK : TF_STORE_OS, envelope);
}

/* Bytes of a message if it is to be part of its value; 0: it is referred to. */
static size_t inline_size(const struct tf_message *message)
{
    size_t size = tf_stored_head_size(&message->publication.envelope) +
                  tf_publication_length(&message->publication);
    return size <= INLINE_MAX ? size : 0;
}

/* Room in the store for a value, before anything changes. */
static enum tf_err reserve(struct tf_shard *shard, const struct tf_message *message)
{
    const struct tf_envelope *envelope = &message->publication.envelope;
    size_t bytes = inline_size(message);
    if (envelope->address.length > TF_JOURNAL_KEY_MAX) {
        return TF_LIMIT;
    }
    if (bytes == 0 && !tf_store_has(shard->config.store, message)) {
        bytes = tf_stored_head_size(envelope);
        if (tf_stored_room(shard, bytes)) {
            return TF_NO_MEMORY;
        }
    }
    return tf_stored_reserve(shard, envelope->address.length + TF_STORED_VALUE_BYTES + bytes);
}

static void record(struct tf_shard *shard, const struct tf_value *value, enum tf_store_level level)
{
    const struct tf_publication *publication = &value->message->publication;
    uint8_t bytes[TF_STORED_VALUE_BYTES + INLINE_MAX];
    struct tf_writer writer = tf_writer_of(bytes, sizeof(bytes));
    struct tf_store_message message;
    bool whole = inline_size(value->message) != 0;
    tf_stored_value_write(&writer, value->version, value->shown);
    if (whole) {
        tf_stored_head_write(&writer, &publication->envelope, shard->wall);
        for (size_t i = 0; i < publication->body_count; i++) {
            tf_write_bytes(&writer, publication->body[i]);
        }
    } else {
        enum tf_err err = tf_stored_message(shard, value->message, &message);
        tf_assert(!err); /* `reserve` has seen to the scratch */
    }
    tf_assert(!writer.failed);
    tf_store_put(shard->config.store, level, TF_STORED_VALUE, publication->envelope.address,
                 tf_bytes_of(bytes, tf_writer_length(&writer)), whole ? NULL : &message);
}

void tf_value_forget(struct tf_shard *shard, const struct tf_value *value,
                     enum tf_store_level level)
{
    if (value->stored && shard->config.store) {
        tf_store_remove(shard->config.store, level, TF_STORED_VALUE,
                        value->message->publication.envelope.address);
    }
}

enum tf_err tf_value_set(struct tf_shard *shard, struct tf_message *message, unsigned writer)
{
    struct tf_values *values = &shard->values;
    const struct tf_envelope *envelope = &message->publication.envelope;
    if (!shard->config.store) {
        return tf_values_set(values, message, writer);
    }
    enum tf_store_level level = level_of(shard, message);
    bool kept = level != TF_STORE_MEMORY && !envelope->clear;
    uint64_t hash = tf_hash(envelope->address, &values->key);
    const struct tf_value *old = tf_values_find(values, envelope->address, hash);
    bool old_stored = old && old->stored;
    enum tf_err err = kept ? reserve(shard, message) : TF_OK;
    if (!err) {
        err = tf_values_set(values, message, writer);
    }
    if (err) {
        return err;
    }
    if (kept) {
        struct tf_value *value = tf_values_find(values, envelope->address, hash);
        value->stored = true;
        record(shard, value, level);
    } else if (old_stored) {
        tf_store_remove(shard->config.store, TF_MAX(level, TF_STORE_OS), TF_STORED_VALUE,
                        envelope->address);
    }
    return TF_OK;
}

/* Gives back a message as the value of its address. */
static enum tf_err restore(struct tf_shard *shard, const struct tf_stored_object *object,
                           struct tf_message *message, uint64_t version, uint64_t shown)
{
    const struct tf_envelope *envelope = &message->publication.envelope;
    struct tf_value *value;
    if (!tf_bytes_equal(envelope->address, object->key) || !tf_address_valid(object->key) ||
        of_system(object->key) || tf_values_get(&shard->values, object->key)) {
        return TF_PROTOCOL;
    }
    if (envelope->expires <= shard->now) {
        tf_store_remove(shard->config.store, TF_STORE_OS, TF_STORED_VALUE, object->key);
        return TF_OK;
    }
    enum tf_err err =
        tf_values_restore(&shard->values, message, shard->config.number, version, shown, &value);
    if (!err) {
        value->stored = true;
    }
    return err;
}

enum tf_err tf_shard_restore_value(struct tf_shard *shard, const struct tf_stored_object *object)
{
    uint64_t version, shown;
    struct tf_bytes bytes;
    struct tf_message *message = object->message;
    enum tf_err err = tf_stored_value_read(object->value, &version, &shown, &bytes);
    if (err) {
        return err;
    }
    if (bytes.length) {
        err = tf_stored_message_read(bytes, shard->wall, shard->config.alloc, &message);
        if (err) {
            return err;
        }
    } else if (!message) {
        return TF_PROTOCOL;
    }
    err = restore(shard, object, message, version, shown);
    if (bytes.length) {
        tf_message_unref(message);
    }
    return err;
}

void tf_shard_restore_reserve(struct tf_shard *shard, size_t bindings, size_t values)
{
    tf_map_reserve(&shard->routes.literals, bindings); /* those of the others, too */
    tf_map_reserve(&shard->bindings, bindings / shard->count);
    tf_map_reserve(&shard->values.map, values / shard->count);
}
