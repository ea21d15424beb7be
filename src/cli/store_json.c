/*
 * What the store keeps, as JSON: the bytes as they are, in base64, and beside them what they say.
 *
 * `import` goes by the bytes alone (`key_base64`, `value_base64`, `attributes_base64`,
 * `head_base64` with the body, or `data_base64`); the rest is for people.
 */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/util.h"
#include "cli/alloc.h"
#include "cli/body.h"
#include "cli/store.h"
#include "port/clock.h"
#include "route/stored.h"

#define NUMBER 24

static const char *const levels[] = {"memory", "os", "disk"};
static const char *const overflows[] = {"drop-new", "drop-old", "refuse"};
static const char *const origins[] = {"system", "mqtt", "coap", "amqp", "plain"};

/* Numbers of 64 bits are text, because most who read JSON have 53 bits for them. */
static json_t *number_of(uint64_t number)
{
    char text[NUMBER];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return json_string(text);
}

static json_t *time_of(tf_time wall)
{
    char text[TF_CLOCK_TEXT];
    if (wall == 0 || wall == TF_TIME_NEVER) {
        return json_string("never");
    }
    tf_clock_format(text, wall);
    return json_string(text);
}

/* Seconds; never is -1. */
static json_t *seconds_of(tf_time time)
{
    return time == TF_TIME_NEVER ? json_integer(-1) : json_integer((json_int_t)(time / TF_SECOND));
}

/* Under `name` if it is text, else under `name`_base64. */
static int set_text(json_t *object, const char *name, struct tf_bytes text)
{
    char other[48];
    snprintf(other, sizeof(other), "%s_base64", name);
    return json_object_set_new(object, tf_utf8_valid(text) ? name : other, tf_cli_body_text(text));
}

const char *tf_cli_store_kind(uint8_t kind)
{
    static const char *const names[] = {[0] = "run",
                                        [TF_STORED_QUEUE] = "queue",
                                        [TF_STORED_BINDING] = "binding",
                                        [TF_STORED_VALUE] = "value",
                                        [TF_STORED_SESSION] = "session",
                                        [TF_STORED_RECEIVED] = "received",
                                        [TF_STORED_TRANSFER] = "transfer",
                                        [TF_STORED_OBSERVER] = "observer"};
    return kind < TF_COUNT(names) && names[kind] ? names[kind] : "object";
}

/* ---- messages ---- */

static int add_envelope(json_t *object, const struct tf_envelope *envelope)
{
    int failed = set_text(object, "address", envelope->address) |
                 json_object_set_new(object, "qos", json_integer(envelope->qos)) |
                 json_object_set_new(object, "retain", json_boolean(envelope->retain)) |
                 json_object_set_new(object, "origin", json_string(origins[envelope->origin])) |
                 json_object_set_new(object, "expires", time_of(envelope->expires));
    if (envelope->content_type.length) {
        failed |= set_text(object, "content_type", envelope->content_type);
    }
    if (envelope->correlation.length) {
        failed |= set_text(object, "correlation", envelope->correlation);
    }
    if (envelope->reply_to.length) {
        failed |= set_text(object, "response_address", envelope->reply_to);
    }
    return failed;
}

/*
 * Adds head and body of a message; `exact`: so that its bytes can be made of them. Of one that
 * makes no sense, all bytes. Below 0: no memory.
 */
static int add_message(json_t *object, struct tf_bytes bytes, bool exact, uint64_t *strange)
{
    struct tf_message *message = NULL;
    enum tf_err err = tf_stored_message_read(bytes, 0, tf_cli_alloc(), &message);
    if (err == TF_NO_MEMORY) {
        return -1;
    }
    if (err) {
        ++*strange;
        return exact ? json_object_set_new(object, "data_base64", tf_cli_body_base64(bytes)) : 0;
    }
    size_t body = tf_publication_length(&message->publication);
    struct tf_bytes head = tf_bytes_of(bytes.data, bytes.length - body);
    int failed = add_envelope(object, &message->publication.envelope);
    if (exact) {
        failed |= json_object_set_new(object, "head_base64", tf_cli_body_base64(head));
    }
    failed |= set_text(object, "body", tf_bytes_of(bytes.data + head.length, body));
    tf_message_unref(message);
    return failed;
}

json_t *tf_cli_store_message_json(uint64_t id, struct tf_bytes bytes, uint64_t *strange)
{
    json_t *object = json_object();
    if (json_object_set_new(object, "type", json_string("message")) |
        json_object_set_new(object, "id", number_of(id)) |
        add_message(object, bytes, true, strange)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* ---- entries ---- */

static int add_entry(json_t *object, const struct tf_stored_entry *entry)
{
    int failed = json_object_set_new(object, "bytes", json_integer(entry->charge)) |
                 json_object_set_new(object, "qos", json_integer(entry->qos)) |
                 json_object_set_new(object, "retain", json_boolean(entry->retain)) |
                 json_object_set_new(object, "attempts", json_integer(entry->attempts)) |
                 json_object_set_new(object, "expires", time_of(entry->expires));
    struct tf_bytes ids = entry->ids;
    json_t *list = ids.length ? json_array() : NULL;
    uint32_t id = 0;
    while (tf_stored_entry_id(&ids, &id)) {
        failed |= json_array_append_new(list, json_integer(id));
    }
    if (list) {
        failed |= json_object_set_new(object, "subscription_ids", list);
    }
    if (entry->tag) {
        failed |= json_object_set_new(object, "tag", json_integer(entry->tag));
    }
    return failed;
}

json_t *tf_cli_store_entry_json(const struct tf_journal_place *place, uint64_t *strange)
{
    struct tf_stored_entry entry;
    json_t *object = json_object();
    int failed =
        json_object_set_new(object, "type", json_string("entry")) |
        json_object_set_new(object, "queue", number_of(place->queue)) |
        json_object_set_new(object, "position", number_of(place->position)) |
        json_object_set_new(object, "message", number_of(place->message)) |
        json_object_set_new(object, "attributes_base64", tf_cli_body_base64(place->attributes));
    if (tf_stored_entry_read(place->attributes, &entry)) {
        ++*strange;
    } else {
        failed |= add_entry(object, &entry);
    }
    if (failed) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* ---- objects ---- */

static int add_queue(json_t *object, const struct tf_journal_object *from, uint64_t *strange)
{
    struct tf_queue_spec spec;
    uint64_t id;
    if (tf_stored_queue_read(from->value, &id, &spec)) {
        ++*strange;
        return 0;
    }
    return set_text(object, "name", from->key) |
           json_object_set_new(object, "queue", number_of(id)) |
           json_object_set_new(object, "durability", json_string(levels[spec.durability])) |
           json_object_set_new(object, "limit_entries", json_integer(spec.limits.entries)) |
           json_object_set_new(object, "limit_bytes", number_of(spec.limits.bytes)) |
           json_object_set_new(object, "overflow", json_string(overflows[spec.limits.overflow])) |
           json_object_set_new(object, "message_ttl_s", seconds_of(spec.message_ttl)) |
           json_object_set_new(object, "idle_s", seconds_of(spec.idle)) |
           json_object_set_new(object, "max_attempts", json_integer(spec.max_attempts)) |
           set_text(object, "dead_letter", spec.dead_letter);
}

static int add_binding(json_t *object, const struct tf_journal_object *from, uint64_t *strange)
{
    struct tf_bytes filter = from->key;
    uint64_t queue = tf_stored_key_read(&filter);
    struct tf_binding_options options;
    if (!queue || tf_stored_binding_read(from->value, &options)) {
        ++*strange;
        return 0;
    }
    return json_object_set_new(object, "queue", number_of(queue)) |
           set_text(object, "filter", filter) |
           json_object_set_new(object, "qos", json_integer(options.qos)) |
           json_object_set_new(object, "subscription_id", json_integer(options.subscription_id)) |
           json_object_set_new(object, "no_local", json_boolean(options.no_local)) |
           json_object_set_new(object, "retain_as_published",
                               json_boolean(options.retain_as_published));
}

static int add_value(json_t *object, const struct tf_journal_object *from, uint64_t *strange)
{
    uint64_t version, shown;
    struct tf_bytes message;
    if (tf_stored_value_read(from->value, &version, &shown, &message)) {
        ++*strange;
        return 0;
    }
    int failed = set_text(object, "address", from->key) |
                 json_object_set_new(object, "version", number_of(version));
    if (message.length && !failed) {
        failed = add_message(object, message, false, strange);
    }
    return failed;
}

static int add_received(json_t *object, const struct tf_journal_object *from, uint64_t *strange)
{
    struct tf_bytes rest = from->key;
    uint64_t queue = tf_stored_key_read(&rest);
    struct tf_reader reader = tf_reader_of(rest);
    uint16_t packet_id = tf_read_u16(&reader);
    if (!queue || reader.failed || tf_reader_left(&reader)) {
        ++*strange;
        return 0;
    }
    return json_object_set_new(object, "queue", number_of(queue)) |
           json_object_set_new(object, "packet_id", json_integer(packet_id));
}

static int add_meaning(json_t *object, const struct tf_journal_object *from, uint64_t *strange)
{
    switch (from->kind) {
    case TF_STORED_QUEUE:
        return add_queue(object, from, strange);
    case TF_STORED_BINDING:
        return add_binding(object, from, strange);
    case TF_STORED_VALUE:
        return add_value(object, from, strange);
    case TF_STORED_SESSION:
        return set_text(object, "client", from->key);
    case TF_STORED_RECEIVED:
        return add_received(object, from, strange);
    default:
        return 0;
    }
}

json_t *tf_cli_store_object_json(const struct tf_journal *journal,
                                 const struct tf_journal_object *from, uint64_t *strange)
{
    json_t *object = json_object(), *messages = json_array();
    int failed = json_object_set_new(object, "type", json_string(tf_cli_store_kind(from->kind))) |
                 json_object_set_new(object, "kind", json_integer(from->kind)) |
                 json_object_set_new(object, "key_base64", tf_cli_body_base64(from->key)) |
                 json_object_set_new(object, "value_base64", tf_cli_body_base64(from->value)) |
                 json_object_set_new(object, "messages", messages);
    for (size_t i = 0; i < from->messages && !failed; i++) {
        failed =
            json_array_append_new(messages, number_of(tf_journal_object_message(journal, from, i)));
    }
    if (failed || add_meaning(object, from, strange)) {
        json_decref(object);
        return NULL;
    }
    return object;
}
