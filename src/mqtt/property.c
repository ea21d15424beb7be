/*
 * Properties (MQTT 5.0 2.2.2): one table says which there are, of what type, in which packets and
 * within what range; check, cursor and writer all go by it.
 */
#include "mqtt/codec.h"

enum kind {
    KIND_NONE,
    KIND_BYTE,
    KIND_U16,
    KIND_U32,
    KIND_VARINT,
    KIND_STRING,
    KIND_BINARY,
    KIND_PAIR
};

/* What its value must keep to besides its type. */
enum range {
    RANGE_ANY,
    RANGE_BOOLEAN,  /* 0 or 1 */
    RANGE_POSITIVE, /* not 0 */
    RANGE_ALIAS,    /* not 0, with an answer of its own */
    RANGE_TOPIC     /* a topic name */
};

struct rule {
    uint8_t kind;
    uint8_t range;
    uint16_t packets; /* bit t: may stand in a packet of type t (0: the will's) */
};

#define IN(type) (1u << (type))
#define IN_MESSAGE (IN(TF_MQTT_WILL) | IN(TF_MQTT_PUBLISH))
#define IN_CONNECTING (IN(TF_MQTT_CONNECT) | IN(TF_MQTT_CONNACK))
#define IN_AUTH (IN_CONNECTING | IN(TF_MQTT_AUTH))
#define IN_ACK (IN(TF_MQTT_PUBACK) | IN(TF_MQTT_PUBREC) | IN(TF_MQTT_PUBREL) | IN(TF_MQTT_PUBCOMP))
#define IN_REASON                                                               \
    (IN(TF_MQTT_CONNACK) | IN_ACK | IN(TF_MQTT_SUBACK) | IN(TF_MQTT_UNSUBACK) | \
     IN(TF_MQTT_DISCONNECT) | IN(TF_MQTT_AUTH))
#define IN_ALL (0xffffu & ~(IN(TF_MQTT_PINGREQ) | IN(TF_MQTT_PINGRESP)))

/* MQTT 5.0 2.2.2.2, and the clause of each packet's properties for the ranges. */
static const struct rule rules[] = {
    [TF_MQTT_PAYLOAD_FORMAT] = {KIND_BYTE, RANGE_BOOLEAN, IN_MESSAGE},
    [TF_MQTT_MESSAGE_EXPIRY] = {KIND_U32, RANGE_ANY, IN_MESSAGE},
    [TF_MQTT_CONTENT_TYPE] = {KIND_STRING, RANGE_ANY, IN_MESSAGE},
    [TF_MQTT_RESPONSE_TOPIC] = {KIND_STRING, RANGE_TOPIC, IN_MESSAGE},
    [TF_MQTT_CORRELATION_DATA] = {KIND_BINARY, RANGE_ANY, IN_MESSAGE},
    [TF_MQTT_SUBSCRIPTION_ID] = {KIND_VARINT, RANGE_POSITIVE,
                                 IN(TF_MQTT_PUBLISH) | IN(TF_MQTT_SUBSCRIBE)},
    [TF_MQTT_SESSION_EXPIRY] = {KIND_U32, RANGE_ANY, IN_CONNECTING | IN(TF_MQTT_DISCONNECT)},
    [TF_MQTT_ASSIGNED_CLIENT_ID] = {KIND_STRING, RANGE_ANY, IN(TF_MQTT_CONNACK)},
    [TF_MQTT_SERVER_KEEP_ALIVE] = {KIND_U16, RANGE_ANY, IN(TF_MQTT_CONNACK)},
    [TF_MQTT_AUTHENTICATION_METHOD] = {KIND_STRING, RANGE_ANY, IN_AUTH},
    [TF_MQTT_AUTHENTICATION_DATA] = {KIND_BINARY, RANGE_ANY, IN_AUTH},
    [TF_MQTT_REQUEST_PROBLEM_INFO] = {KIND_BYTE, RANGE_BOOLEAN, IN(TF_MQTT_CONNECT)},
    [TF_MQTT_WILL_DELAY] = {KIND_U32, RANGE_ANY, IN(TF_MQTT_WILL)},
    [TF_MQTT_REQUEST_RESPONSE_INFO] = {KIND_BYTE, RANGE_BOOLEAN, IN(TF_MQTT_CONNECT)},
    [TF_MQTT_RESPONSE_INFO] = {KIND_STRING, RANGE_ANY, IN(TF_MQTT_CONNACK)},
    [TF_MQTT_SERVER_REFERENCE] = {KIND_STRING, RANGE_ANY,
                                  IN(TF_MQTT_CONNACK) | IN(TF_MQTT_DISCONNECT)},
    [TF_MQTT_REASON_STRING] = {KIND_STRING, RANGE_ANY, IN_REASON},
    [TF_MQTT_RECEIVE_MAXIMUM] = {KIND_U16, RANGE_POSITIVE, IN_CONNECTING},
    [TF_MQTT_TOPIC_ALIAS_MAXIMUM] = {KIND_U16, RANGE_ANY, IN_CONNECTING},
    [TF_MQTT_TOPIC_ALIAS] = {KIND_U16, RANGE_ALIAS, IN(TF_MQTT_PUBLISH)},
    [TF_MQTT_MAXIMUM_QOS] = {KIND_BYTE, RANGE_BOOLEAN, IN(TF_MQTT_CONNACK)},
    [TF_MQTT_RETAIN_AVAILABLE] = {KIND_BYTE, RANGE_BOOLEAN, IN(TF_MQTT_CONNACK)},
    [TF_MQTT_USER_PROPERTY] = {KIND_PAIR, RANGE_ANY, IN_ALL},
    [TF_MQTT_MAXIMUM_PACKET_SIZE] = {KIND_U32, RANGE_POSITIVE, IN_CONNECTING},
    [TF_MQTT_WILDCARD_AVAILABLE] = {KIND_BYTE, RANGE_BOOLEAN, IN(TF_MQTT_CONNACK)},
    [TF_MQTT_SUBSCRIPTION_ID_AVAILABLE] = {KIND_BYTE, RANGE_BOOLEAN, IN(TF_MQTT_CONNACK)},
    [TF_MQTT_SHARED_AVAILABLE] = {KIND_BYTE, RANGE_BOOLEAN, IN(TF_MQTT_CONNACK)},
};

/* The rule of an identifier; one of KIND_NONE for those that do not exist. */
static struct rule rule_of(unsigned id)
{
    return id < sizeof rules / sizeof *rules ? rules[id] : (struct rule){KIND_NONE, RANGE_ANY, 0};
}

/* Takes a number of `size` bytes. */
static uint8_t number_take(struct tf_reader *in, size_t size, uint32_t *ret)
{
    uint32_t value = 0;

    if (tf_reader_left(in) < size)
        return TF_MQTT_MALFORMED_PACKET;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | in->next[i];
    in->next += size;
    *ret = value;
    return TF_MQTT_SUCCESS;
}

/* Takes the value behind the identifier, its UTF-8 not looked at. */
static uint8_t value_take(struct tf_reader *in, unsigned kind, struct tf_mqtt_property *ret)
{
    uint8_t reason;

    switch (kind) {
    case KIND_BYTE:
        return number_take(in, 1, &ret->number);
    case KIND_U16:
        return number_take(in, 2, &ret->number);
    case KIND_U32:
        return number_take(in, 4, &ret->number);
    case KIND_VARINT:
        return tf_mqtt_take_varint(in, &ret->number);
    case KIND_STRING:
    case KIND_BINARY:
        return tf_mqtt_take_binary(in, &ret->value);
    case KIND_PAIR:
        reason = tf_mqtt_take_binary(in, &ret->name);
        return reason ? reason : tf_mqtt_take_binary(in, &ret->value);
    default:
        return TF_MQTT_MALFORMED_PACKET; /* MQTT 5.0 2.2.2.2: no such identifier */
    }
}

/* Checks what a value may be. */
static uint8_t value_check(struct rule rule, const struct tf_mqtt_property *property)
{
    if (rule.kind == KIND_STRING || rule.kind == KIND_PAIR) {
        if (!tf_utf8_valid_mqtt(property->value) || !tf_utf8_valid_mqtt(property->name))
            return TF_MQTT_MALFORMED_PACKET; /* MQTT 5.0 1.5.4, 1.5.7 */
    }
    switch (rule.range) {
    case RANGE_BOOLEAN: /* 3.1.2.11.6, 3.1.2.11.7, 3.2.2.3.4, 3.2.2.3.5, 3.2.2.3.11 to 13 */
        return property->number > 1 ? TF_MQTT_PROTOCOL_ERROR : TF_MQTT_SUCCESS;
    case RANGE_POSITIVE: /* 3.1.2.11.3, 3.1.2.11.4, 3.3.2.3.8, 3.8.2.1.2 */
        return property->number ? TF_MQTT_SUCCESS : TF_MQTT_PROTOCOL_ERROR;
    case RANGE_ALIAS: /* 3.3.2.3.4 */
        return property->number ? TF_MQTT_SUCCESS : TF_MQTT_TOPIC_ALIAS_INVALID;
    case RANGE_TOPIC: /* 3.3.2.3.5 */
        return tf_mqtt_topic_check(property->value) ? TF_MQTT_PROTOCOL_ERROR : TF_MQTT_SUCCESS;
    default:
        return TF_MQTT_SUCCESS;
    }
}

/* User properties may be repeated everywhere, a subscription's identifier in PUBLISH (3.3.2.3.8).
 */
static bool is_repeatable(unsigned id, unsigned type)
{
    return id == TF_MQTT_USER_PROPERTY ||
           (id == TF_MQTT_SUBSCRIPTION_ID && type == TF_MQTT_PUBLISH);
}

/* Checks a section; 0 or the reason. *ret_seen is the set of its properties. */
static uint8_t section_check(struct tf_bytes section, unsigned type, uint64_t *ret_seen)
{
    struct tf_reader in = tf_reader_of(section);
    uint64_t seen = 0;

    while (in.next != in.end) {
        struct tf_mqtt_property property = {.id = *in.next++};
        struct rule rule = rule_of(property.id);

        if (!(rule.packets >> type & 1))
            return TF_MQTT_MALFORMED_PACKET; /* MQTT 5.0 2.2.2.2 */
        if (seen & TF_MQTT_PROPERTY_BIT(property.id) && !is_repeatable(property.id, type))
            return TF_MQTT_PROTOCOL_ERROR;
        seen |= TF_MQTT_PROPERTY_BIT(property.id);

        uint8_t reason = value_take(&in, rule.kind, &property);
        if (!reason)
            reason = value_check(rule, &property);
        if (reason)
            return reason;
    }
    /* MQTT 5.0 3.1.2.11.10: no authentication data without a method */
    if (seen & TF_MQTT_PROPERTY_BIT(TF_MQTT_AUTHENTICATION_DATA) &&
        !(seen & TF_MQTT_PROPERTY_BIT(TF_MQTT_AUTHENTICATION_METHOD)))
        return TF_MQTT_PROTOCOL_ERROR;
    *ret_seen = seen;
    return TF_MQTT_SUCCESS;
}

uint8_t tf_mqtt_take_properties(struct tf_reader *in, unsigned type, struct tf_bytes *ret,
                                uint64_t *ret_seen)
{
    uint32_t length;
    uint8_t reason = tf_mqtt_take_varint(in, &length);

    if (reason)
        return reason;
    if (tf_reader_left(in) < length)
        return TF_MQTT_MALFORMED_PACKET;
    *ret = tf_bytes_of(in->next, length);
    in->next += length;
    *ret_seen = 0;
    return length ? section_check(*ret, type, ret_seen) : TF_MQTT_SUCCESS;
}

enum tf_err tf_mqtt_properties_check(struct tf_bytes section, unsigned type, uint8_t *ret_reason)
{
    uint64_t seen;
    uint8_t reason =
        type > TF_MQTT_AUTH ? TF_MQTT_MALFORMED_PACKET : section_check(section, type, &seen);

    return reason ? tf_mqtt_reject(ret_reason, reason) : TF_OK;
}

bool tf_mqtt_property_next(struct tf_mqtt_property_cursor *cursor, struct tf_mqtt_property *ret)
{
    if (cursor->offset >= cursor->section.length)
        return false;

    struct tf_reader in = tf_reader_of(cursor->section);
    in.next += cursor->offset;
    struct tf_mqtt_property property = {.id = *in.next++};
    if (value_take(&in, rule_of(property.id).kind, &property))
        return false; /* not a checked section */
    cursor->offset = (size_t)(in.next - cursor->section.data);
    *ret = property;
    return true;
}

bool tf_mqtt_property_find(struct tf_bytes section, unsigned id, struct tf_mqtt_property *ret)
{
    struct tf_mqtt_property_cursor cursor = {section, 0};
    struct tf_mqtt_property property;

    while (tf_mqtt_property_next(&cursor, &property)) {
        if (property.id == id) {
            *ret = property;
            return true;
        }
    }
    return false;
}

uint32_t tf_mqtt_property_number(struct tf_bytes section, unsigned id, uint32_t absent)
{
    struct tf_mqtt_property property;

    return tf_mqtt_property_find(section, id, &property) ? property.number : absent;
}

/* The bytes of a property on the wire, or more than any packet has if it cannot be written. */
static size_t property_length(const struct tf_mqtt_property *property)
{
    switch (rule_of(property->id).kind) {
    case KIND_BYTE:
        return property->number > UINT8_MAX ? TF_MQTT_TOO_LONG : 1 + 1;
    case KIND_U16:
        return property->number > UINT16_MAX ? TF_MQTT_TOO_LONG : 1 + 2;
    case KIND_U32:
        return 1 + 4;
    case KIND_VARINT:
        return property->number > TF_MQTT_LENGTH_MAX ? TF_MQTT_TOO_LONG
                                                     : 1 + tf_mqtt_length_size(property->number);
    case KIND_STRING:
    case KIND_BINARY:
        return 1 + tf_mqtt_binary_size(property->value);
    case KIND_PAIR:
        return 1 + tf_mqtt_binary_size(property->name) + tf_mqtt_binary_size(property->value);
    default:
        return TF_MQTT_TOO_LONG;
    }
}

size_t tf_mqtt_property_size(const struct tf_mqtt_property *property)
{
    size_t length = property_length(property);

    return length > TF_MQTT_LENGTH_MAX ? 0 : length;
}

void tf_mqtt_property_write(struct tf_writer *writer, const struct tf_mqtt_property *property)
{
    size_t length = property_length(property);

    uint8_t *to = tf_write_step(writer, length > TF_MQTT_LENGTH_MAX ? SIZE_MAX : length);

    if (!to)
        return;
    to = tf_mqtt_put_u8(to, property->id);
    switch (rule_of(property->id).kind) {
    case KIND_BYTE:
        to = tf_mqtt_put_u8(to, property->number);
        break;
    case KIND_U16:
        to = tf_mqtt_put_u16(to, property->number);
        break;
    case KIND_U32:
        to = tf_mqtt_put_u16(tf_mqtt_put_u16(to, property->number >> 16), property->number);
        break;
    case KIND_VARINT:
        to = tf_mqtt_put_varint(to, property->number);
        break;
    case KIND_PAIR:
        to = tf_mqtt_put_binary(tf_mqtt_put_binary(to, property->name), property->value);
        break;
    default:
        to = tf_mqtt_put_binary(to, property->value);
        break;
    }
    tf_mqtt_put_end(writer, to);
}
