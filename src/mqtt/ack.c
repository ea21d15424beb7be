/*
 * PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0 3.4 to 3.7), which have one shape, and UNSUBACK of
 * 3.1.1, which has it too. Part of the fast path.
 */
#include "mqtt/codec.h"

/* True if a packet of this type has the shape. */
static bool type_fits(unsigned type, unsigned version)
{
    if (type == TF_MQTT_UNSUBACK)
        return version < TF_MQTT_5;
    return type >= TF_MQTT_PUBACK && type <= TF_MQTT_PUBCOMP;
}

/* Takes code and properties, either of which may be cut off where it says nothing (3.4.2). */
static uint8_t tail_take(struct tf_reader *in, unsigned type, uint8_t *ret_code,
                         struct tf_bytes *ret_properties)
{
    uint64_t seen;
    uint8_t reason = tf_mqtt_take_u8(in, ret_code);

    if (!reason && tf_reader_left(in))
        reason = tf_mqtt_take_properties(in, type, ret_properties, &seen);
    if (!reason && tf_reader_left(in))
        reason = TF_MQTT_MALFORMED_PACKET;
    if (!reason && !tf_mqtt_reason_allowed(type, *ret_code))
        reason = TF_MQTT_PROTOCOL_ERROR;
    return reason;
}

enum tf_err tf_mqtt_ack_read(const struct tf_mqtt_frame *frame, unsigned version,
                             struct tf_mqtt_ack *ret, uint8_t *ret_reason)
{
    struct tf_reader in = tf_reader_of(frame->body);
    struct tf_bytes properties = {NULL, 0};
    uint16_t packet_id;
    uint8_t code = TF_MQTT_SUCCESS;
    uint8_t reason = tf_mqtt_take_packet_id(&in, &packet_id);

    if (!reason && !type_fits(frame->type, version))
        reason = TF_MQTT_PROTOCOL_ERROR;
    if (!reason && tf_reader_left(&in))
        reason = version < TF_MQTT_5 ? TF_MQTT_MALFORMED_PACKET
                                     : tail_take(&in, frame->type, &code, &properties);
    if (reason)
        return tf_mqtt_reject(ret_reason, reason);
    ret->type = frame->type;
    ret->packet_id = packet_id;
    ret->reason = code;
    ret->properties = properties;
    return TF_OK;
}

/* The bytes behind the fixed header: reason and properties only where they say something. */
static size_t remaining_length(const struct tf_mqtt_ack *packet, unsigned version)
{
    if (version < TF_MQTT_5 || (!packet->reason && !packet->properties.length))
        return 2;
    if (!packet->properties.length)
        return 3;
    return 3 + tf_mqtt_properties_size(packet->properties, version);
}

size_t tf_mqtt_ack_size(const struct tf_mqtt_ack *packet, unsigned version)
{
    return tf_mqtt_packet_size(remaining_length(packet, version));
}

void tf_mqtt_ack_write(struct tf_writer *writer, const struct tf_mqtt_ack *packet, unsigned version)
{
    size_t remaining = remaining_length(packet, version);
    unsigned first = (unsigned)packet->type << 4 | (packet->type == TF_MQTT_PUBREL ? 2u : 0u);
    uint8_t *to = tf_mqtt_put_start(writer, first, remaining, remaining);

    if (!to)
        return;
    to = tf_mqtt_put_u16(to, packet->packet_id);
    if (remaining > 2)
        to = tf_mqtt_put_u8(to, packet->reason);
    if (remaining > 3)
        to = tf_mqtt_put_properties(to, packet->properties, version);
    tf_mqtt_put_end(writer, to);
}
