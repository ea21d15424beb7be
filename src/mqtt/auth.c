/*
 * AUTH (MQTT 5.0 3.15); 3.1.1 has no such packet.
 */
#include "mqtt/codec.h"

enum tf_err tf_mqtt_auth_read(const struct tf_mqtt_frame *frame, struct tf_mqtt_auth *ret,
                              uint8_t *ret_reason)
{
    struct tf_mqtt_auth packet = {0};
    struct tf_reader in = tf_reader_of(frame->body);
    uint64_t seen = 0;
    uint8_t reason = TF_MQTT_SUCCESS;

    /* An empty body is success without properties (3.15.2.1); nothing else may be cut off. */
    if (tf_reader_left(&in)) {
        reason = tf_mqtt_take_u8(&in, &packet.reason);
        if (!reason)
            reason = tf_mqtt_take_properties(&in, TF_MQTT_AUTH, &packet.properties, &seen);
        if (!reason && tf_reader_left(&in))
            reason = TF_MQTT_MALFORMED_PACKET;
        /* MQTT 5.0 3.15.2.2.2 */
        if (!reason && !(seen & TF_MQTT_PROPERTY_BIT(TF_MQTT_AUTHENTICATION_METHOD)))
            reason = TF_MQTT_PROTOCOL_ERROR;
        if (!reason && !tf_mqtt_reason_allowed(TF_MQTT_AUTH, packet.reason))
            reason = TF_MQTT_PROTOCOL_ERROR;
    }
    if (reason)
        return tf_mqtt_reject(ret_reason, reason);
    *ret = packet;
    return TF_OK;
}

/* The bytes behind the fixed header. */
static size_t remaining_length(const struct tf_mqtt_auth *packet)
{
    if (!packet->reason && !packet->properties.length)
        return 0;
    return 1 + tf_mqtt_properties_size(packet->properties, TF_MQTT_5);
}

size_t tf_mqtt_auth_size(const struct tf_mqtt_auth *packet)
{
    return tf_mqtt_packet_size(remaining_length(packet));
}

void tf_mqtt_auth_write(struct tf_writer *writer, const struct tf_mqtt_auth *packet)
{
    size_t remaining = remaining_length(packet);
    uint8_t *to = tf_mqtt_put_start(writer, TF_MQTT_AUTH << 4, remaining, remaining);

    if (!to)
        return;
    if (remaining > 0) {
        to = tf_mqtt_put_u8(to, packet->reason);
        to = tf_mqtt_put_properties(to, packet->properties, TF_MQTT_5);
    }
    tf_mqtt_put_end(writer, to);
}
