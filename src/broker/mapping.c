/*
 * The mapping between the protocols: see mapping.h and docs/mapping.md.
 */
#include "broker/mapping.h"

#include "base/mem.h"
#include "route/table.h"

#include <trefoil/coap_names.h>
#include <trefoil/coap_uri.h>

#define ADDRESS_MAX 65535u

/* ---- addresses ---- */

/* True if a Uri-Path can be a level of an address: no slash, no wildcard, no U+0000. */
static bool segment_valid(struct tf_bytes segment)
{
    for (size_t i = 0; i < segment.length; i++) {
        if (segment.data[i] == '+' || segment.data[i] == '#') {
            return false;
        }
    }
    return tf_coap_segment_plain(segment);
}

enum tf_err tf_mapping_coap_address(struct tf_bytes options, uint8_t *buffer,
                                    struct tf_bytes *ret_address)
{
    struct tf_coap_cursor cursor = tf_coap_options(options);
    struct tf_coap_option option;
    size_t length = 0, levels = 0;
    while (tf_coap_option_next(&cursor, &option) && option.number <= TF_COAP_URI_PATH) {
        if (option.number != TF_COAP_URI_PATH) {
            continue;
        }
        if (!segment_valid(option.value) || ++levels > TF_LEVELS_MAX) {
            return TF_PROTOCOL;
        }
        if (levels > 1) {
            buffer[length++] = '/';
        }
        if (option.value.length) {
            memcpy(buffer + length, option.value.data, option.value.length);
            length += option.value.length;
        }
    }
    if (length == 0 || length > ADDRESS_MAX) {
        return TF_PROTOCOL;
    }
    *ret_address = tf_bytes_of(buffer, length);
    return TF_OK;
}

bool tf_mapping_coap_segment(struct tf_bytes address, size_t *offset, struct tf_bytes *ret_segment)
{
    size_t start = *offset, end = start;
    if (start > address.length) {
        return false;
    }
    while (end < address.length && address.data[end] != '/') {
        end++;
    }
    *ret_segment = tf_bytes_of(address.data + start, end - start);
    *offset = end + 1;
    return true;
}

bool tf_mapping_coap_reserved(struct tf_bytes address)
{
    size_t offset = 0;
    struct tf_bytes first;
    tf_mapping_coap_segment(address, &offset, &first);
    return tf_bytes_equal(first, tf_bytes_str(".well-known")) ||
           tf_bytes_equal(first, tf_bytes_str("rd")) || tf_bytes_equal(first, tf_bytes_str("ps"));
}

bool tf_mapping_coap_has_form(struct tf_bytes address)
{
    size_t offset = 0;
    struct tf_bytes segment;
    if (tf_mapping_coap_reserved(address)) {
        return false;
    }
    while (tf_mapping_coap_segment(address, &offset, &segment)) {
        if (!tf_coap_segment_valid(segment)) {
            return false;
        }
    }
    return true;
}

/* ---- content types ---- */

struct tf_bytes tf_mapping_type_of_format(uint16_t format, char buffer[TF_MAPPING_TYPE_MAX])
{
    const char *coding;
    const char *name = tf_coap_format_name(format, &coding);
    if (name && !coding) { /* with a content coding the bytes are not what the type says */
        return tf_bytes_str(name);
    }
    size_t at = TF_MAPPING_TYPE_MAX;
    unsigned rest = format;
    do {
        buffer[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    return tf_bytes_of(buffer + at, TF_MAPPING_TYPE_MAX - at);
}

/* A number from 0 to 65,535 in digits, without needless zeros. */
static bool read_number(struct tf_bytes text, uint16_t *ret)
{
    uint32_t number = 0;
    if (text.length == 0 || text.length > 5 || (text.length > 1 && text.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (number > UINT16_MAX) {
        return false;
    }
    *ret = (uint16_t)number;
    return true;
}

bool tf_mapping_format_of(const struct tf_envelope *envelope, uint16_t *ret_format)
{
    if (envelope->content_type.length) {
        return read_number(envelope->content_type, ret_format) ||
               tf_coap_format_number(envelope->content_type, ret_format);
    }
    if (envelope->payload_format == TF_PAYLOAD_TEXT) {
        *ret_format = TF_COAP_FORMAT_TEXT;
        return true;
    }
    return false;
}

/* ---- expiry ---- */

uint32_t tf_mapping_seconds_left(tf_time expires, tf_time now)
{
    return expires <= now ? 0 : (uint32_t)((expires - now + TF_SECOND - 1) / TF_SECOND);
}

/* ---- MQTT 5.0 properties ---- */

void tf_mapping_from_mqtt(struct tf_bytes properties, struct tf_envelope *envelope)
{
    struct tf_mqtt_property_cursor cursor = {properties, 0};
    struct tf_mqtt_property property;
    while (tf_mqtt_property_next(&cursor, &property)) {
        if (property.id == TF_MQTT_CONTENT_TYPE) {
            envelope->content_type = property.value;
        } else if (property.id == TF_MQTT_CORRELATION_DATA) {
            envelope->correlation = property.value;
        } else if (property.id == TF_MQTT_RESPONSE_TOPIC) {
            envelope->reply_to = property.value;
        } else if (property.id == TF_MQTT_PAYLOAD_FORMAT) {
            envelope->payload_format = property.number ? TF_PAYLOAD_TEXT : TF_PAYLOAD_BYTES;
        }
    }
}

static void write_text(struct tf_writer *writer, unsigned id, struct tf_bytes value)
{
    struct tf_mqtt_property property = {.id = (uint8_t)id, .value = value};
    if (value.length && value.length <= UINT16_MAX) {
        tf_mqtt_property_write(writer, &property);
    }
}

size_t tf_mapping_mqtt_room(const struct tf_envelope *envelope)
{
    size_t user =
        envelope->origin == TF_PROTOCOL_AMQP ? tf_mapping_user_properties(envelope, NULL) : 0;
    return 16 + envelope->content_type.length + envelope->correlation.length +
           envelope->reply_to.length + user;
}

void tf_mapping_to_mqtt(const struct tf_envelope *envelope, struct tf_writer *writer)
{
    struct tf_mqtt_property format = {.id = TF_MQTT_PAYLOAD_FORMAT, .number = 1};
    if (envelope->payload_format == TF_PAYLOAD_TEXT) {
        tf_mqtt_property_write(writer, &format);
    }
    write_text(writer, TF_MQTT_CONTENT_TYPE, envelope->content_type);
    write_text(writer, TF_MQTT_CORRELATION_DATA, envelope->correlation);
    write_text(writer, TF_MQTT_RESPONSE_TOPIC, envelope->reply_to);
    if (envelope->origin == TF_PROTOCOL_AMQP) {
        (void)tf_mapping_user_properties(envelope, writer);
    }
}
