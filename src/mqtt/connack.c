/*
 * CONNACK (MQTT 5.0 3.2, 3.1.1 3.2).
 */
#include "mqtt/codec.h"

enum tf_err tf_mqtt_connack_read_plain(const struct tf_mqtt_frame *frame,
                                       struct tf_mqtt_connack *ret, uint8_t *ret_reason)
{
    const uint8_t *body = frame->body.data;

    if (frame->body.length != 2 || body[0] > 1) /* MQTT 3.1.1 3.2.2.1 */
        return tf_mqtt_reject(ret_reason, TF_MQTT_MALFORMED_PACKET);
    /* MQTT 3.1.1 3.2.2.2, 3.2.2.3: a refusal has no session */
    if (body[1] > 5 || (body[0] && body[1]))
        return tf_mqtt_reject(ret_reason, TF_MQTT_PROTOCOL_ERROR);
    *ret = (struct tf_mqtt_connack){.session_present = body[0], .reason = body[1]};
    return TF_OK;
}

enum tf_err tf_mqtt_connack_read(const struct tf_mqtt_frame *frame, unsigned version,
                                 struct tf_mqtt_connack *ret, uint8_t *ret_reason)
{
    struct tf_mqtt_connack packet = {0};
    struct tf_reader in = tf_reader_of(frame->body);
    uint64_t seen;
    uint8_t flags = 0;
    uint8_t reason;

    if (version < TF_MQTT_5)
        return tf_mqtt_connack_read_plain(frame, ret, ret_reason);
    reason = tf_mqtt_take_u8(&in, &flags);
    if (!reason)
        reason = tf_mqtt_take_u8(&in, &packet.reason);
    if (!reason)
        reason = tf_mqtt_take_properties(&in, TF_MQTT_CONNACK, &packet.properties, &seen);
    if (!reason && (tf_reader_left(&in) || flags > 1)) /* MQTT 5.0 3.2.2.1 */
        reason = TF_MQTT_MALFORMED_PACKET;
    packet.session_present = flags & 1;
    /* MQTT 5.0 3.2.2.1.1: a refusal has no session */
    if (!reason && (!tf_mqtt_reason_allowed(TF_MQTT_CONNACK, packet.reason) ||
                    (packet.session_present && packet.reason != TF_MQTT_SUCCESS)))
        reason = TF_MQTT_PROTOCOL_ERROR;
    if (reason)
        return tf_mqtt_reject(ret_reason, reason);
    *ret = packet;
    return TF_OK;
}

/* The bytes behind the fixed header. */
static size_t remaining_length(const struct tf_mqtt_connack *packet, unsigned version)
{
    return 2 + tf_mqtt_properties_size(packet->properties, version);
}

size_t tf_mqtt_connack_size(const struct tf_mqtt_connack *packet, unsigned version)
{
    return tf_mqtt_packet_size(remaining_length(packet, version));
}

void tf_mqtt_connack_write(struct tf_writer *writer, const struct tf_mqtt_connack *packet,
                           unsigned version)
{
    size_t remaining = remaining_length(packet, version);
    uint8_t *to = tf_mqtt_put_start(writer, TF_MQTT_CONNACK << 4, remaining, remaining);

    if (!to)
        return;
    to = tf_mqtt_put_u8(to, packet->session_present);
    to = tf_mqtt_put_u8(to, packet->reason);
    to = tf_mqtt_put_properties(to, packet->properties, version);
    tf_mqtt_put_end(writer, to);
}
