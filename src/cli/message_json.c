/*
 * A message as JSON.
 */
#include "cli/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "cli/body.h"
#include "port/clock.h"

static json_t *text_of(struct tf_bytes text)
{
    return json_stringn(text.length ? (const char *)text.data : "", text.length);
}

/* ---- properties ---- */

/* A user property: its value, or a list when the name comes more than once (MQTT 5.0 3.3.2.3.7). */
static int add_user_property(json_t *object, const struct tf_mqtt_property *property)
{
    json_t *all = json_object_get(object, "user_properties");
    if (!all) {
        all = json_object();
        if (json_object_set_new(object, "user_properties", all)) {
            return -1;
        }
    }
    char *name = malloc(property->name.length + 1);
    json_t *value = text_of(property->value);
    if (!name || !value) {
        free(name);
        json_decref(value);
        return -1;
    }
    if (property->name.length) {
        memcpy(name, property->name.data, property->name.length);
    }
    name[property->name.length] = 0;
    json_t *earlier = json_object_get(all, name);
    int failed;
    if (!earlier) {
        failed = json_object_set_new(all, name, value);
    } else if (json_is_array(earlier)) {
        failed = json_array_append_new(earlier, value);
    } else {
        json_t *list = json_array();
        failed = json_array_append(list, earlier) | json_array_append_new(list, value) |
                 json_object_set_new(all, name, list);
    }
    free(name);
    return failed;
}

static int add_subscription_id(json_t *object, uint32_t id)
{
    json_t *list = json_object_get(object, "subscription_ids");
    if (!list) {
        list = json_array();
        if (json_object_set_new(object, "subscription_ids", list)) {
            return -1;
        }
    }
    return json_array_append_new(list, json_integer(id));
}

static int add_property(json_t *object, const struct tf_mqtt_property *property)
{
    switch (property->id) {
    case TF_MQTT_CONTENT_TYPE:
        return json_object_set_new(object, "content_type", text_of(property->value));
    case TF_MQTT_PAYLOAD_FORMAT:
        return json_object_set_new(object, "payload_format", json_integer(property->number));
    case TF_MQTT_MESSAGE_EXPIRY:
        return json_object_set_new(object, "expiry_s", json_integer(property->number));
    case TF_MQTT_RESPONSE_TOPIC:
        return json_object_set_new(object, "response_address", text_of(property->value));
    case TF_MQTT_CORRELATION_DATA:
        return json_object_set_new(
            object, tf_utf8_valid(property->value) ? "correlation" : "correlation_base64",
            tf_cli_body_text(property->value));
    case TF_MQTT_SUBSCRIPTION_ID:
        return add_subscription_id(object, property->number);
    case TF_MQTT_USER_PROPERTY:
        return add_user_property(object, property);
    default:
        return 0; /* a topic alias is the connection's, not the message's */
    }
}

/* ---- the whole ---- */

/* All but the body. NULL: no memory. */
static json_t *envelope_of(const struct tf_cli_message *message)
{
    json_t *object = json_object();
    struct tf_mqtt_property_cursor cursor = {message->properties, 0};
    struct tf_mqtt_property property;
    char time[TF_CLOCK_TEXT];
    tf_clock_format(time, message->wall_us);
    int failed = json_object_set_new(object, "timestamp", json_string(time)) |
                 json_object_set_new(object, "address", text_of(message->address)) |
                 json_object_set_new(object, "qos", json_integer(message->qos)) |
                 json_object_set_new(object, "retain", json_boolean(message->retain));
    if (message->dup) {
        failed |= json_object_set_new(object, "dup", json_true());
    }
    while (!failed && tf_mqtt_property_next(&cursor, &property)) {
        failed = add_property(object, &property);
    }
    if (message->more && !failed) {
        failed = json_object_update(object, (json_t *)message->more);
    }
    if (failed) {
        json_decref(object);
        return NULL;
    }
    return object;
}

enum tf_err tf_cli_message_json(const struct tf_cli_message *message, FILE *out)
{
    struct tf_mqtt_property type = {0};
    bool typed = tf_mqtt_property_find(message->properties, TF_MQTT_CONTENT_TYPE, &type);
    return tf_cli_body_json(envelope_of(message), message->body,
                            message->json || (typed && tf_cli_body_says_json(type.value)), out);
}
