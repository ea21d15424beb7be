/*
 * A message as JSON.
 */
#include "cli/message.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "port/clock.h"

static json_t *text_of(struct tf_bytes text)
{
    return json_stringn(text.length ? (const char *)text.data : "", text.length);
}

/* RFC 4648 4 */
static json_t *base64_of(struct tf_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc(bytes.length / 3 * 4 + 5);
    size_t length = 0;
    if (!text) {
        return NULL;
    }
    for (size_t i = 0; i < bytes.length; i += 3) {
        size_t left = bytes.length - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? bytes.data[i + 2] : 0;
        text[length++] = digits[group >> 18];
        text[length++] = digits[group >> 12 & 63];
        text[length++] = left > 1 ? digits[group >> 6 & 63] : '=';
        text[length++] = left > 2 ? digits[group & 63] : '=';
    }
    json_t *value = json_stringn(text, length);
    free(text);
    return value;
}

/* Text if it is UTF-8, else base64. */
static json_t *binary_of(struct tf_bytes bytes)
{
    return tf_utf8_valid(bytes) ? text_of(bytes) : base64_of(bytes);
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
            binary_of(property->value));
    case TF_MQTT_SUBSCRIPTION_ID:
        return add_subscription_id(object, property->number);
    case TF_MQTT_USER_PROPERTY:
        return add_user_property(object, property);
    default:
        return 0; /* a topic alias is the connection's, not the message's */
    }
}

/* ---- the body ---- */

/* Space that means nothing: RFC 8259 2. */
static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* True if the content type says JSON: application/json, or anything that ends in +json. */
static bool says_json(struct tf_bytes properties)
{
    static const char plain[] = "application/json", suffix[] = "+json";
    struct tf_mqtt_property type;
    if (!tf_mqtt_property_find(properties, TF_MQTT_CONTENT_TYPE, &type)) {
        return false;
    }
    const char *text = (const char *)type.value.data;
    size_t length = 0;
    while (length < type.value.length && text[length] != ';' && text[length] != ' ') {
        length++;
    }
    size_t tail = sizeof(suffix) - 1;
    return (length == sizeof(plain) - 1 && !memcmp(text, plain, length)) ||
           (length > tail && !memcmp(text + length - tail, suffix, tail));
}

/* True if the body is to be shown as JSON, and is. */
static bool body_is_json(const struct tf_cli_message *message)
{
    size_t start = 0;
    while (start < message->body.length && is_space(message->body.data[start])) {
        start++;
    }
    if (start == message->body.length ||
        (message->body.data[start] != '{' && message->body.data[start] != '[' &&
         !says_json(message->properties))) {
        return false;
    }
    /* A name twice is legal, but only its text holds both. */
    json_t *value = json_loadb(
        (const char *)message->body.data, message->body.length,
        JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    bool is = value != NULL;
    json_decref(value);
    return is;
}

/* Writes JSON that has been checked, without the space between its tokens: it stays one line. */
static void write_compact(struct tf_bytes json, FILE *out)
{
    bool in_string = false;
    for (size_t i = 0; i < json.length; i++) {
        uint8_t c = json.data[i];
        if (in_string || !is_space(c)) {
            fputc(c, out);
        }
        if (in_string && c == '\\') {
            fputc(json.data[++i], out);
        } else if (c == '"') {
            in_string = !in_string;
        }
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
    if (failed) {
        json_decref(object);
        return NULL;
    }
    return object;
}

enum tf_err tf_cli_message_json(const struct tf_cli_message *message, FILE *out)
{
    json_t *object = envelope_of(message);
    bool as_json = body_is_json(message);
    bool as_text = !as_json && tf_utf8_valid(message->body);
    if (object && !as_json &&
        json_object_set_new(object, as_text ? "body" : "body_base64", binary_of(message->body))) {
        json_decref(object);
        object = NULL;
    }
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text) {
        return TF_NO_MEMORY;
    }
    if (as_json) {
        fwrite(text, 1, strlen(text) - 1, out); /* without the brace that ends it */
        fputs(",\"body_json\":", out);
        write_compact(message->body, out);
        fputc('}', out);
    } else {
        fputs(text, out);
    }
    free(text);
    return TF_OK;
}
