/*
 * SUBACK and UNSUBACK (MQTT 5.0 3.9 and 3.11): a code for each filter of what they answer. That
 * there are as many as there were filters, the client's machine knows.
 */
#include "mqtt/codec.h"

/* True if the code may stand in such a packet. */
static bool code_allowed(unsigned type, unsigned version, unsigned code)
{
    if (version >= TF_MQTT_5)
        return tf_mqtt_reason_allowed(type, code);
    return code <= 2 || code == 0x80; /* MQTT 3.1.1 3.9.3 */
}

/* Checks the codes. */
static uint8_t codes_check(struct tf_bytes codes, unsigned type, unsigned version)
{
    if (type == TF_MQTT_UNSUBACK && version < TF_MQTT_5) /* MQTT 3.1.1 3.11.3: no payload */
        return codes.length ? TF_MQTT_MALFORMED_PACKET : TF_MQTT_SUCCESS;
    if (!codes.length) /* as there is at least one filter */
        return TF_MQTT_PROTOCOL_ERROR;
    for (size_t i = 0; i < codes.length; i++) {
        if (!code_allowed(type, version, codes.data[i]))
            return TF_MQTT_PROTOCOL_ERROR;
    }
    return TF_MQTT_SUCCESS;
}

enum tf_err tf_mqtt_suback_read(const struct tf_mqtt_frame *frame, unsigned version,
                                struct tf_mqtt_suback *ret, uint8_t *ret_reason)
{
    struct tf_mqtt_suback packet = {.type = frame->type};
    struct tf_reader in = tf_reader_of(frame->body);
    uint64_t seen;
    uint8_t reason = tf_mqtt_take_packet_id(&in, &packet.packet_id);

    if (!reason && version >= TF_MQTT_5)
        reason = tf_mqtt_take_properties(&in, frame->type, &packet.properties, &seen);
    if (!reason) {
        packet.reasons = tf_bytes_of(in.next, tf_reader_left(&in));
        reason = codes_check(packet.reasons, frame->type, version);
    }
    if (reason)
        return tf_mqtt_reject(ret_reason, reason);
    *ret = packet;
    return TF_OK;
}

/* The codes that go out: UNSUBACK of 3.1.1 has none. */
static struct tf_bytes codes_of(const struct tf_mqtt_suback *packet, unsigned version)
{
    if (packet->type == TF_MQTT_UNSUBACK && version < TF_MQTT_5)
        return (struct tf_bytes){NULL, 0};
    return packet->reasons;
}

/* The bytes behind the fixed header. */
static size_t remaining_length(const struct tf_mqtt_suback *packet, unsigned version)
{
    return 2 + tf_mqtt_properties_size(packet->properties, version) +
           tf_mqtt_bytes_size(codes_of(packet, version));
}

size_t tf_mqtt_suback_size(const struct tf_mqtt_suback *packet, unsigned version)
{
    return tf_mqtt_packet_size(remaining_length(packet, version));
}

void tf_mqtt_suback_write(struct tf_writer *writer, const struct tf_mqtt_suback *packet,
                          unsigned version)
{
    size_t remaining = remaining_length(packet, version);
    uint8_t *to = tf_mqtt_put_start(writer, (unsigned)packet->type << 4, remaining, remaining);

    if (!to)
        return;
    to = tf_mqtt_put_u16(to, packet->packet_id);
    to = tf_mqtt_put_properties(to, packet->properties, version);
    to = tf_mqtt_put_bytes(to, codes_of(packet, version));
    tf_mqtt_put_end(writer, to);
}
