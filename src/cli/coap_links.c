/*
 * CoRE links (RFC 6690) for people and for programs.
 */
#include "cli/coap_answer.h"

#include <stdlib.h>
#include <string.h>

#include <trefoil/coap_link.h>

#include "base/util.h"
#include "cli/body.h"

#define URI_MAX 2048
#define TARGET_COLUMN 40

/* The target, resolved if there is a base for it. A view of `text` or of `memory`. */
static struct tf_bytes target_of(struct tf_bytes target, struct tf_bytes base,
                                 uint8_t memory[URI_MAX])
{
    struct tf_writer writer = tf_writer_of(memory, URI_MAX);
    if (!base.length || tf_coap_uri_resolve(&writer, base, target)) {
        return target;
    }
    return tf_bytes_of(memory, tf_writer_length(&writer));
}

/* ---- lines ---- */

/* The longest target, up to a measure. */
static size_t column_of(struct tf_bytes text, struct tf_bytes base)
{
    struct tf_coap_links links = tf_coap_links_of(text);
    struct tf_coap_link link;
    uint8_t memory[URI_MAX];
    size_t column = 0;
    while (tf_coap_link_next(&links, &link) == TF_OK) {
        size_t length = target_of(link.target, base, memory).length;
        if (length <= TARGET_COLUMN) {
            column = TF_MAX(column, length);
        }
    }
    return column;
}

static void print_attribute(const struct tf_coap_attribute *attribute, FILE *out)
{
    uint8_t *memory = malloc(attribute->value.length + 1);
    struct tf_writer writer = tf_writer_of(memory, memory ? attribute->value.length : 0);
    tf_cli_body_shown(attribute->name, out);
    if (attribute->has_value) {
        tf_coap_attribute_text(&writer, attribute);
        struct tf_bytes value = tf_bytes_of(memory, tf_writer_length(&writer));
        bool spaces = value.length && memchr(value.data, ' ', value.length);
        fputs(spaces ? "=\"" : "=", out);
        tf_cli_body_shown(value, out);
        fputs(spaces ? "\"" : "", out);
    }
    free(memory);
}

bool tf_cli_coap_links_print(struct tf_bytes text, struct tf_bytes base, FILE *out)
{
    struct tf_coap_links links = tf_coap_links_of(text);
    struct tf_coap_link link;
    size_t column = column_of(text, base);
    enum tf_err err;
    while ((err = tf_coap_link_next(&links, &link)) == TF_OK) {
        uint8_t memory[URI_MAX];
        struct tf_bytes target = target_of(link.target, base, memory);
        struct tf_coap_attributes attributes = tf_coap_attributes_of(&link);
        struct tf_coap_attribute attribute;
        size_t gap = target.length < column ? column - target.length + 1 : 1;
        tf_cli_body_shown(target, out);
        while (tf_coap_attribute_next(&attributes, &attribute)) {
            fprintf(out, "%*s", (int)gap + 1, "");
            print_attribute(&attribute, out);
            gap = 0;
        }
        fputc('\n', out);
    }
    return err == TF_NOT_FOUND;
}

/* ---- JSON ---- */

/* An attribute that comes more than once becomes an array. */
static int add_attribute(json_t *object, const struct tf_coap_attribute *attribute)
{
    char *name = malloc(attribute->name.length + 1);
    uint8_t *memory = malloc(attribute->value.length + 1);
    json_t *value = NULL;
    int failed = -1;
    if (name && memory) {
        struct tf_writer writer = tf_writer_of(memory, attribute->value.length);
        memcpy(name, attribute->name.data, attribute->name.length);
        name[attribute->name.length] = 0;
        tf_coap_attribute_text(&writer, attribute);
        value = attribute->has_value
                    ? tf_cli_body_text(tf_bytes_of(memory, tf_writer_length(&writer)))
                    : json_true();
    }
    if (value) {
        json_t *earlier = json_object_get(object, name);
        if (!earlier) {
            failed = json_object_set_new(object, name, value);
        } else if (json_is_array(earlier)) {
            failed = json_array_append_new(earlier, value);
        } else {
            json_t *list = json_array();
            failed = json_array_append(list, earlier) | json_array_append_new(list, value) |
                     json_object_set_new(object, name, list);
        }
    }
    free(name);
    free(memory);
    return failed;
}

static json_t *link_json(const struct tf_coap_link *link, struct tf_bytes base)
{
    uint8_t memory[URI_MAX];
    json_t *object = json_object(), *attributes = json_object();
    struct tf_coap_attributes reader = tf_coap_attributes_of(link);
    struct tf_coap_attribute attribute;
    int failed =
        json_object_set_new(object, "target", tf_cli_body_text(link->target)) |
        json_object_set_new(object, "uri", tf_cli_body_text(target_of(link->target, base, memory)));
    while (!failed && tf_coap_attribute_next(&reader, &attribute)) {
        failed = add_attribute(attributes, &attribute);
    }
    failed = json_object_set_new(object, "attributes", attributes) | failed;
    if (failed) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *tf_cli_coap_links_json(struct tf_bytes text, struct tf_bytes base)
{
    struct tf_coap_links links = tf_coap_links_of(text);
    struct tf_coap_link link;
    json_t *list = json_array();
    while (list && tf_coap_link_next(&links, &link) == TF_OK) {
        json_t *object = link_json(&link, base);
        if (!object || json_array_append_new(list, object)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
