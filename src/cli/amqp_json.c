/*
 * Values of AMQP as JSON.
 */
#include "cli/amqp_json.h"

#include <stdlib.h>
#include <string.h>

#include "broker/mapping_text.h"
#include "cli/body.h"

static json_t *text_of(struct tf_bytes text)
{
    return json_stringn(text.length ? (const char *)text.data : "", text.length);
}

static json_t *scalar_of(const struct tf_amqp_value *value)
{
    char buffer[TF_MAPPING_TEXT_MAX];
    struct tf_bytes text;
    bool literal;
    if (value->type == TF_AMQP_BINARY) {
        return tf_cli_body_base64(value->bytes);
    }
    if (!tf_mapping_text_of(value, buffer, &text, &literal)) {
        return json_null();
    }
    json_t *json =
        literal ? json_loadb((const char *)text.data, text.length, JSON_DECODE_ANY, NULL) : NULL;
    return json ? json : text_of(text);
}

static json_t *list_of(const struct tf_amqp_value *list)
{
    struct tf_amqp_items items = tf_amqp_items_of(list);
    struct tf_amqp_value item;
    json_t *array = json_array();
    while (array && tf_amqp_item_next(&items, &item)) {
        if (json_array_append_new(array, tf_cli_amqp_json(&item))) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

/* The name that a key has in JSON: its text, or base64. malloc. */
static char *name_of(const struct tf_amqp_value *key)
{
    char buffer[TF_MAPPING_TEXT_MAX];
    struct tf_bytes text;
    bool literal;
    if (!tf_mapping_text_of(key, buffer, &text, &literal)) {
        json_t *base64 =
            tf_cli_body_base64(key->type == TF_AMQP_BINARY ? key->bytes : key->encoded);
        char *name = base64 ? strdup(json_string_value(base64)) : NULL;
        json_decref(base64);
        return name;
    }
    char *name = malloc(text.length + 1);
    if (name) {
        if (text.length) {
            memcpy(name, text.data, text.length);
        }
        name[text.length] = 0;
    }
    return name;
}

static json_t *map_of(const struct tf_amqp_value *map)
{
    struct tf_amqp_items items = tf_amqp_items_of(map);
    struct tf_amqp_value key, value;
    json_t *object = json_object();
    while (object && tf_amqp_pair_next(&items, &key, &value)) {
        char *name = name_of(&key);
        if (!name || json_object_set_new(object, name, tf_cli_amqp_json(&value))) {
            json_decref(object);
            object = NULL;
        }
        free(name);
    }
    return object;
}

/* As deep as the codec lets values be. */
json_t *tf_cli_amqp_json(const struct tf_amqp_value *value)
{
    switch (value->type) {
    case TF_AMQP_LIST:
    case TF_AMQP_ARRAY:
        return list_of(value);
    case TF_AMQP_MAP:
        return map_of(value);
    default:
        return scalar_of(value);
    }
}
