/*
 * CONNECT (MQTT 5.0 3.1, 3.1.1 3.1): the one packet that brings its version. Whether the client may
 * in, and what an empty client identifier gets, the machine and the broker decide.
 */
#include "mqtt/codec.h"

/* Connect flags (MQTT 5.0 3.1.2.3). */
enum {
    FLAG_RESERVED = 0x01,
    FLAG_CLEAN_START = 0x02,
    FLAG_WILL = 0x04,
    FLAG_WILL_RETAIN = 0x20,
    FLAG_PASSWORD = 0x40,
    FLAG_USER_NAME = 0x80
};

/* The protocol name that goes with a level; 3.1's is its own. */
static struct tf_bytes protocol_name(unsigned version)
{
    return version == TF_MQTT_3_1 ? tf_bytes_of("MQIsdp", 6) : tf_bytes_of("MQTT", 4);
}

/* Takes protocol name and level. *ret_version is the level as soon as it is known. */
static uint8_t protocol_take(struct tf_reader *in, uint8_t *ret_version)
{
    struct tf_bytes name;
    uint8_t reason = tf_mqtt_take_string(in, &name);

    if (!reason)
        reason = tf_mqtt_take_u8(in, ret_version);
    if (reason)
        return reason;
    /* MQTT 5.0 3.1.2.1, 3.1.2.2 */
    if (*ret_version < TF_MQTT_3_1 || *ret_version > TF_MQTT_5 ||
        !tf_bytes_equal(name, protocol_name(*ret_version)))
        return TF_MQTT_UNSUPPORTED_VERSION;
    return TF_MQTT_SUCCESS;
}

/* Takes the connect flags. */
static uint8_t flags_take(struct tf_reader *in, struct tf_mqtt_connect *packet)
{
    uint8_t flags;
    uint8_t reason = tf_mqtt_take_u8(in, &flags);

    if (reason)
        return reason;
    packet->clean_start = flags & FLAG_CLEAN_START;
    packet->has_will = flags & FLAG_WILL;
    packet->will.qos = flags >> 3 & 3;
    packet->will.retain = flags & FLAG_WILL_RETAIN;
    packet->has_password = flags & FLAG_PASSWORD;
    packet->has_user_name = flags & FLAG_USER_NAME;

    if (flags & FLAG_RESERVED) /* MQTT 5.0 3.1.2.3 */
        return TF_MQTT_MALFORMED_PACKET;
    if (packet->will.qos > 2) /* MQTT 5.0 3.1.2.6 */
        return TF_MQTT_MALFORMED_PACKET;
    if (!packet->has_will && (packet->will.qos || packet->will.retain)) /* 3.1.2.6, 3.1.2.7 */
        return TF_MQTT_MALFORMED_PACKET;
    /* MQTT 3.1.1 3.1.2.9; 5.0 took this rule back */
    if (packet->version < TF_MQTT_5 && packet->has_password && !packet->has_user_name)
        return TF_MQTT_MALFORMED_PACKET;
    return TF_MQTT_SUCCESS;
}

/* Takes the will: properties, topic and payload (MQTT 5.0 3.1.3.2 to 3.1.3.4). */
static uint8_t will_take(struct tf_reader *in, unsigned version, struct tf_mqtt_will *will)
{
    uint64_t seen;
    uint8_t reason = TF_MQTT_SUCCESS;

    if (version >= TF_MQTT_5)
        reason = tf_mqtt_take_properties(in, TF_MQTT_WILL, &will->properties, &seen);
    if (!reason)
        reason = tf_mqtt_take_binary(in, &will->topic);
    if (!reason) /* the server will publish to it: 3.3.2.1 */
        reason = tf_mqtt_topic_check(will->topic);
    if (!reason)
        reason = tf_mqtt_take_binary(in, &will->payload);
    return reason;
}

/* Takes the payload: its fields are there as the flags say, in this order (MQTT 5.0 3.1.3). */
static uint8_t payload_take(struct tf_reader *in, struct tf_mqtt_connect *packet)
{
    uint8_t reason = tf_mqtt_take_string(in, &packet->client_id);

    if (!reason && packet->has_will)
        reason = will_take(in, packet->version, &packet->will);
    if (!reason && packet->has_user_name)
        reason = tf_mqtt_take_string(in, &packet->user_name);
    if (!reason && packet->has_password)
        reason = tf_mqtt_take_binary(in, &packet->password);
    if (!reason && tf_reader_left(in))
        reason = TF_MQTT_MALFORMED_PACKET;
    return reason;
}

enum tf_err tf_mqtt_connect_read(const struct tf_mqtt_frame *frame, struct tf_mqtt_connect *ret,
                                 uint8_t *ret_reason)
{
    struct tf_mqtt_connect packet = {0};
    struct tf_reader in = tf_reader_of(frame->body);
    uint64_t seen;
    uint8_t reason = protocol_take(&in, &packet.version);

    if (!reason)
        reason = flags_take(&in, &packet);
    if (!reason)
        reason = tf_mqtt_take_u16(&in, &packet.keep_alive_s);
    if (!reason && packet.version >= TF_MQTT_5)
        reason = tf_mqtt_take_properties(&in, TF_MQTT_CONNECT, &packet.properties, &seen);
    if (!reason)
        reason = payload_take(&in, &packet);
    if (reason) {
        ret->version = packet.version;
        return tf_mqtt_reject(ret_reason, reason);
    }
    *ret = packet;
    return TF_OK;
}

/* The most fields of variable length that a packet has: two sections and five strings. */
#define FIELDS_MAX 7u

/* What of a packet has a length of its own, in order (MQTT 5.0 3.1.2.11, 3.1.3). */
static size_t fields_of(const struct tf_mqtt_connect *packet,
                        const struct tf_bytes *fields[FIELDS_MAX])
{
    bool five = packet->version >= TF_MQTT_5;
    size_t count = 0;

    if (five)
        fields[count++] = &packet->properties;
    fields[count++] = &packet->client_id;
    if (packet->has_will) {
        if (five)
            fields[count++] = &packet->will.properties;
        fields[count++] = &packet->will.topic;
        fields[count++] = &packet->will.payload;
    }
    if (packet->has_user_name)
        fields[count++] = &packet->user_name;
    if (packet->has_password)
        fields[count++] = &packet->password;
    return count;
}

/* True for a section of properties, whose length is written in another way than a string's. */
static bool is_section(const struct tf_mqtt_connect *packet, const struct tf_bytes *field)
{
    return field == &packet->properties || field == &packet->will.properties;
}

/* The bytes behind the fixed header. */
static size_t remaining_length(const struct tf_mqtt_connect *packet,
                               const struct tf_bytes *const *fields, size_t count)
{
    size_t length = 2 + protocol_name(packet->version).length + 1 + 1 + 2;

    for (size_t i = 0; i < count; i++)
        length += is_section(packet, fields[i]) ? tf_mqtt_properties_size(*fields[i], TF_MQTT_5)
                                                : tf_mqtt_binary_size(*fields[i]);
    return length;
}

/* The connect flags of a packet. */
static unsigned flags_of(const struct tf_mqtt_connect *packet)
{
    unsigned flags = 0;

    if (packet->clean_start)
        flags |= FLAG_CLEAN_START;
    if (packet->has_will)
        flags |= FLAG_WILL | (packet->will.qos & 3u) << 3;
    if (packet->has_will && packet->will.retain)
        flags |= FLAG_WILL_RETAIN;
    if (packet->has_password)
        flags |= FLAG_PASSWORD;
    if (packet->has_user_name)
        flags |= FLAG_USER_NAME;
    return flags;
}

size_t tf_mqtt_connect_size(const struct tf_mqtt_connect *packet)
{
    const struct tf_bytes *fields[FIELDS_MAX];
    size_t count = fields_of(packet, fields);

    return tf_mqtt_packet_size(remaining_length(packet, fields, count));
}

void tf_mqtt_connect_write(struct tf_writer *writer, const struct tf_mqtt_connect *packet)
{
    const struct tf_bytes *fields[FIELDS_MAX];
    size_t count = fields_of(packet, fields);
    size_t remaining = remaining_length(packet, fields, count);
    uint8_t *to = tf_mqtt_put_start(writer, TF_MQTT_CONNECT << 4, remaining, remaining);

    if (!to)
        return;
    to = tf_mqtt_put_binary(to, protocol_name(packet->version));
    to = tf_mqtt_put_u8(to, packet->version);
    to = tf_mqtt_put_u8(to, flags_of(packet));
    to = tf_mqtt_put_u16(to, packet->keep_alive_s);
    for (size_t i = 0; i < count; i++) {
        if (is_section(packet, fields[i]))
            to = tf_mqtt_put_varint(to, (uint32_t)fields[i]->length);
        else
            to = tf_mqtt_put_u16(to, (unsigned)fields[i]->length);
        to = tf_mqtt_put_bytes(to, *fields[i]);
    }
    tf_mqtt_put_end(writer, to);
}
