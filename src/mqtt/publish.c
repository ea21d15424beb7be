/*
 * PUBLISH (MQTT 5.0 3.3, 3.1.1 3.3): the fast path of the codec, read in one pass. Topic aliases
 * are the machines'; so are the subscription identifiers that a client must not send (3.3.4).
 */
#include "mqtt/codec.h"

enum tf_err tf_mqtt_publish_read(const struct tf_mqtt_frame *frame, unsigned version,
                                 struct tf_mqtt_publish *ret, uint8_t *ret_reason)
{
    struct tf_reader in = tf_reader_of(frame->body);
    struct tf_bytes topic, properties = {NULL, 0};
    uint64_t seen = 0;
    uint16_t packet_id = 0;
    uint8_t qos = frame->flags >> 1 & 3;
    uint8_t reason = tf_mqtt_take_binary(&in, &topic);

    if (!reason && qos)
        reason = tf_mqtt_take_packet_id(&in, &packet_id);
    if (!reason && version >= TF_MQTT_5)
        reason = tf_mqtt_take_properties(&in, TF_MQTT_PUBLISH, &properties, &seen);
    if (reason)
        return tf_mqtt_reject(ret_reason, reason);

    if (topic.length)
        reason = tf_mqtt_topic_check(topic);
    else if (!(seen & TF_MQTT_PROPERTY_BIT(TF_MQTT_TOPIC_ALIAS))) /* MQTT 5.0 3.3.2.1, 4.7.3 */
        reason = TF_MQTT_PROTOCOL_ERROR;
    if (reason)
        return tf_mqtt_reject(ret_reason, reason);

    ret->dup = frame->flags & 8;
    ret->retain = frame->flags & 1;
    ret->qos = qos;
    ret->packet_id = packet_id;
    ret->topic = topic;
    ret->properties = properties;
    ret->payload = tf_bytes_of(in.next, tf_reader_left(&in));
    return TF_OK;
}

/* What follows the fixed header of a packet of `whole` bytes in all. */
static size_t remaining_of(size_t whole)
{
    if (whole <= 1 + 1 + 127)
        return whole - 2;
    if (whole <= 1 + 2 + 16383)
        return whole - 3;
    return whole - (whole <= 1 + 3 + 2097151 ? 4 : 5);
}

/* Where the properties end whose length is at `offset`; as far as is known, if it is not all there.
 */
static uint8_t section_end(struct tf_bytes body, size_t offset, size_t *ret_end)
{
    struct tf_reader in = {body.data + offset, body.data + body.length, false};
    uint32_t length;

    for (size_t i = 0; i < 4; i++) {
        if (offset + i == body.length) {
            *ret_end = body.length + 1;
            return TF_MQTT_SUCCESS;
        }
        if (body.data[offset + i] < 128)
            break;
    }

    uint8_t reason = tf_mqtt_take_varint(&in, &length);
    if (!reason)
        *ret_end = (size_t)(in.next - body.data) + length;
    return reason;
}

enum tf_err tf_mqtt_publish_head_check(const struct tf_mqtt_frame *frame, unsigned version,
                                       size_t *ret_need, uint8_t *ret_reason)
{
    struct tf_bytes body = frame->body;
    size_t head = 2;
    uint8_t reason = TF_MQTT_SUCCESS;

    if (body.length >= head) {
        head += tf_mqtt_get_u16(body.data) + (frame->flags & 6 ? 2u : 0u);
        if (body.length >= head && version >= TF_MQTT_5)
            reason = section_end(body, head, &head);
    }
    if (!reason && head > remaining_of(frame->length))
        reason = TF_MQTT_MALFORMED_PACKET;
    if (reason)
        return tf_mqtt_reject(ret_reason, reason);
    if (body.length < head) {
        *ret_need = head;
        return TF_MORE;
    }
    return TF_OK;
}

/* The bytes behind the fixed header. */
static size_t remaining_length(const struct tf_mqtt_publish *packet, unsigned version)
{
    return tf_mqtt_binary_size(packet->topic) + (packet->qos ? 2 : 0) +
           tf_mqtt_properties_size(packet->properties, version) +
           tf_mqtt_bytes_size(packet->payload);
}

size_t tf_mqtt_publish_size(const struct tf_mqtt_publish *packet, unsigned version)
{
    return tf_mqtt_packet_size(remaining_length(packet, version));
}

/* Writes a packet with its own payload, or with an empty one in that one's place. */
static void publish_write(struct tf_writer *writer, const struct tf_mqtt_publish *packet,
                          unsigned version, struct tf_bytes payload)
{
    size_t remaining = remaining_length(packet, version);
    size_t left_out = packet->payload.length - payload.length;
    unsigned first = TF_MQTT_PUBLISH << 4 | (packet->dup ? 8u : 0u) | (packet->qos & 3u) << 1 |
                     (packet->retain ? 1u : 0u);
    uint8_t *to = tf_mqtt_put_start(writer, first, remaining, remaining - left_out);

    if (!to)
        return;
    to = tf_mqtt_put_binary(to, packet->topic);
    if (packet->qos)
        to = tf_mqtt_put_u16(to, packet->packet_id);
    to = tf_mqtt_put_properties(to, packet->properties, version);
    to = tf_mqtt_put_bytes(to, payload);
    tf_mqtt_put_end(writer, to);
}

void tf_mqtt_publish_write(struct tf_writer *writer, const struct tf_mqtt_publish *packet,
                           unsigned version)
{
    publish_write(writer, packet, version, packet->payload);
}

void tf_mqtt_publish_head_write(struct tf_writer *writer, const struct tf_mqtt_publish *packet,
                                unsigned version)
{
    publish_write(writer, packet, version, (struct tf_bytes){NULL, 0});
}
