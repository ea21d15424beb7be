/*
 * DISCONNECT (MQTT 5.0 3.14, 3.1.1 3.14). Which of its properties belong to which side
 * (3.14.2.2.2, 3.14.2.2.5) the machines know.
 */
#include "mqtt/codec.h"

enum tf_err tf_mqtt_disconnect_read(const struct tf_mqtt_frame *frame, unsigned version,
                                    struct tf_mqtt_disconnect *ret, uint8_t *ret_reason)
{
    struct tf_mqtt_disconnect packet = {0};
    struct tf_reader in = tf_reader_of(frame->body);
    uint64_t seen;
    uint8_t reason = TF_MQTT_SUCCESS;

    /* MQTT 5.0 3.14.2.1, 3.14.2.2.1: what says nothing may be cut off */
    if (version >= TF_MQTT_5 && tf_reader_left(&in))
        reason = tf_mqtt_take_u8(&in, &packet.reason);
    if (!reason && version >= TF_MQTT_5 && tf_reader_left(&in))
        reason = tf_mqtt_take_properties(&in, TF_MQTT_DISCONNECT, &packet.properties, &seen);
    if (!reason && tf_reader_left(&in))
        reason = TF_MQTT_MALFORMED_PACKET;
    if (!reason && !tf_mqtt_reason_allowed(TF_MQTT_DISCONNECT, packet.reason))
        reason = TF_MQTT_PROTOCOL_ERROR;
    if (reason)
        return tf_mqtt_reject(ret_reason, reason);
    *ret = packet;
    return TF_OK;
}

/* The bytes behind the fixed header. */
static size_t remaining_length(const struct tf_mqtt_disconnect *packet, unsigned version)
{
    if (version < TF_MQTT_5 || (!packet->reason && !packet->properties.length))
        return 0;
    if (!packet->properties.length)
        return 1;
    return 1 + tf_mqtt_properties_size(packet->properties, version);
}

size_t tf_mqtt_disconnect_size(const struct tf_mqtt_disconnect *packet, unsigned version)
{
    return tf_mqtt_packet_size(remaining_length(packet, version));
}

void tf_mqtt_disconnect_write(struct tf_writer *writer, const struct tf_mqtt_disconnect *packet,
                              unsigned version)
{
    size_t remaining = remaining_length(packet, version);
    uint8_t *to = tf_mqtt_put_start(writer, TF_MQTT_DISCONNECT << 4, remaining, remaining);

    if (!to)
        return;
    if (remaining > 0)
        to = tf_mqtt_put_u8(to, packet->reason);
    if (remaining > 1)
        to = tf_mqtt_put_properties(to, packet->properties, version);
    tf_mqtt_put_end(writer, to);
}
