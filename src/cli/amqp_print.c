/*
 * AMQP messages, printed. The body and what other protocols know as well are what the broker's
 * mapping makes of them, so all three protocols show a message alike.
 */
#include "cli/amqp_print.h"

#include <stdlib.h>
#include <string.h>

#include <trefoil/amqp_message.h>

#include "base/utf8.h"
#include "broker/mapping.h"
#include "cli/alloc.h"
#include "cli/amqp_json.h"
#include "cli/body.h"
#include "port/clock.h"

#define EXPIRY_SIZE 8u /* of MQTT's property */

/* ---- what JSON tells of AMQP alone ---- */

static int add(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value);
}

/* An encoded value; nothing if there is none. */
static int add_value(json_t *object, const char *name, struct tf_bytes encoded)
{
    struct tf_amqp_value value;
    if (encoded.length == 0 || tf_amqp_value_of(encoded, &value)) {
        return 0;
    }
    return add(object, name, tf_cli_amqp_json(&value));
}

/* A map, unless it has nothing in it. */
static int add_map(json_t *object, const char *name, struct tf_bytes encoded)
{
    struct tf_amqp_value value;
    if (encoded.length == 0 || tf_amqp_value_of(encoded, &value) || value.count == 0) {
        return 0;
    }
    return add(object, name, tf_cli_amqp_json(&value));
}

static int add_text(json_t *object, const char *name, struct tf_bytes text)
{
    return text.length ? add(object, name, tf_cli_body_text(text)) : 0;
}

/* Milliseconds since 1970; what no calendar of ours reaches stays a number. */
static int add_time(json_t *object, const char *name, bool given, int64_t ms)
{
    char text[TF_CLOCK_TEXT];
    if (!given) {
        return 0;
    }
    if (ms < 0 || ms > INT64_C(253402300799999)) {
        return add(object, name, json_integer((json_int_t)ms));
    }
    tf_clock_format(text, (uint64_t)ms * 1000);
    return add(object, name, json_string(text));
}

static int add_properties(json_t *object, const struct tf_amqp_properties *properties)
{
    return add_value(object, "message_id", properties->message_id) |
           add_value(object, "correlation", properties->correlation_id) |
           add_text(object, "user_id", properties->user_id) |
           add_text(object, "to", properties->to) |
           add_text(object, "subject", properties->subject) |
           add_text(object, "reply_to", properties->reply_to) |
           add_text(object, "content_type", properties->content_type) |
           add_text(object, "content_encoding", properties->content_encoding) |
           add_time(object, "expires", properties->has_absolute_expiry_time,
                    properties->absolute_expiry_time) |
           add_time(object, "created", properties->has_creation_time, properties->creation_time) |
           add_text(object, "group_id", properties->group_id) |
           (properties->has_group_sequence
                ? add(object, "group_sequence", json_integer(properties->group_sequence))
                : 0) |
           add_text(object, "reply_to_group_id", properties->reply_to_group_id);
}

static int add_header(json_t *object, const struct tf_amqp_header *header)
{
    int failed = add(object, "durable", json_boolean(header->durable)) |
                 add(object, "priority", json_integer(header->priority));
    if (header->has_ttl) {
        failed |= add(object, "ttl_ms", json_integer(header->ttl_ms));
    }
    if (header->delivery_count) {
        failed |= add(object, "delivery_count", json_integer(header->delivery_count));
    }
    return failed;
}

/* NULL: no memory. */
static json_t *more_of(const struct tf_amqp_message *message)
{
    json_t *object = json_object();
    if (add_header(object, &message->header) | add_properties(object, &message->properties) |
        add_map(object, "user_properties", message->application_properties) |
        add_map(object, "annotations", message->message_annotations) |
        add_map(object, "delivery_annotations", message->delivery_annotations) |
        add_map(object, "footer", message->footer)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* ---- the whole ---- */

/* What MQTT would say of it, for the formats. malloc; NULL: no memory. */
static uint8_t *properties_of(const struct tf_amqp_message *message,
                              const struct tf_envelope *envelope, struct tf_bytes *ret_properties)
{
    size_t size = tf_mapping_mqtt_room(envelope) + EXPIRY_SIZE;
    uint8_t *memory = malloc(size);
    if (!memory) {
        return NULL;
    }
    struct tf_writer writer = tf_writer_of(memory, size);
    if (message->header.has_ttl) {
        const struct tf_mqtt_property expiry = {.id = TF_MQTT_MESSAGE_EXPIRY,
                                                .number = message->header.ttl_ms / 1000 +
                                                          (message->header.ttl_ms % 1000 != 0)};
        tf_mqtt_property_write(&writer, &expiry);
    }
    tf_mapping_to_mqtt(envelope, &writer);
    *ret_properties = tf_bytes_of(memory, writer.failed ? 0 : tf_writer_length(&writer));
    return memory;
}

/* `publication` is what the broker would make of it. */
static enum tf_err print(const struct tf_cli_style *style,
                         const struct tf_cli_amqp_incoming *incoming,
                         const struct tf_amqp_message *message, struct tf_publication *publication,
                         FILE *out)
{
    struct tf_plain_body plain;
    struct tf_bytes properties;
    enum tf_err err = tf_mapping_plain(publication, tf_cli_alloc(), &plain);
    uint8_t *memory = err ? NULL : properties_of(message, &publication->envelope, &properties);
    json_t *more = memory ? more_of(message) : NULL;
    if (!err && more) {
        bool json =
            message->body_type == TF_AMQP_BODY_VALUE || message->body_type == TF_AMQP_BODY_SEQUENCE;
        struct tf_bytes body = plain.count ? plain.body[0] : tf_bytes_of(NULL, 0);
        struct tf_bytes to = message->properties.to;
        const struct tf_cli_message shown = {
            .address = to.length ? to : tf_bytes_str(incoming->address),
            .body = body,
            .properties = properties,
            .more = more,
            .wall_us = tf_clock_wall(),
            .qos = incoming->qos,
            .retain = publication->envelope.retain,
            .dup = message->header.delivery_count > 0,
            .json = json && tf_cli_body_says_json(plain.content_type)};
        err = tf_cli_message_print(style, &shown, out);
    } else if (!err) {
        err = TF_NO_MEMORY;
    }
    json_decref(more);
    free(memory);
    tf_publication_release(publication);
    return err;
}

enum tf_err tf_cli_amqp_print(const struct tf_cli_style *style,
                              const struct tf_cli_amqp_incoming *incoming, FILE *out)
{
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    uint8_t scratch[TF_MAPPING_SCRATCH];
    struct tf_bytes body;
    if (tf_amqp_message_read(incoming->bytes, &message, &condition)) {
        return TF_PROTOCOL;
    }
    struct tf_publication publication = {.envelope = {.expires = TF_TIME_NEVER}};
    tf_mapping_from_amqp(&message, 0, scratch, &publication.envelope, &body);
    publication.body = &body;
    publication.body_count = 1;
    return print(style, incoming, &message, &publication, out);
}
