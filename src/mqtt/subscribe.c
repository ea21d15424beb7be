/*
 * SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 3.8 and 3.10): an identifier and a list of filters. A filter
 * whose wildcards are wrong is no violation here: the server answers it in SUBACK (3.9.3).
 */
#include "mqtt/codec.h"

/* Subscription options (MQTT 5.0 3.8.3.1). */
enum {
    OPTION_QOS = 0x03,
    OPTION_NO_LOCAL = 0x04,
    OPTION_RETAIN_AS_PUBLISHED = 0x08,
    OPTION_RESERVED = 0xc0
};

/* Checks an options byte and what it means for its filter. */
static uint8_t options_check(uint8_t options, struct tf_bytes filter, unsigned version)
{
    if (version < TF_MQTT_5) /* MQTT 3.1.1 3.8.3: six reserved bits, and no QoS 3 */
        return options > 2 ? TF_MQTT_MALFORMED_PACKET : TF_MQTT_SUCCESS;
    if (options & OPTION_RESERVED)
        return TF_MQTT_MALFORMED_PACKET;
    if ((options & OPTION_QOS) == 3 || (options >> 4 & 3) == 3)
        return TF_MQTT_PROTOCOL_ERROR;
    if (options & OPTION_NO_LOCAL && filter.length > 6 &&
        tf_bytes_equal(tf_bytes_of(filter.data, 7), tf_bytes_of("$share/", 7)))
        return TF_MQTT_PROTOCOL_ERROR;
    return TF_MQTT_SUCCESS;
}

/* Checks a list of filters, each with options in a SUBSCRIBE. */
static uint8_t payload_check(struct tf_bytes payload, unsigned type, unsigned version)
{
    struct tf_reader in = tf_reader_of(payload);

    if (!payload.length) /* MQTT 5.0 3.8.3, 3.10.3: at least one */
        return TF_MQTT_PROTOCOL_ERROR;
    while (tf_reader_left(&in)) {
        struct tf_bytes filter;
        uint8_t options;
        uint8_t reason = tf_mqtt_take_string(&in, &filter);

        if (!reason && type == TF_MQTT_SUBSCRIBE)
            reason = tf_mqtt_take_u8(&in, &options);
        if (!reason && type == TF_MQTT_SUBSCRIBE)
            reason = options_check(options, filter, version);
        if (!reason && !filter.length) /* MQTT 5.0 4.7.3 */
            reason = TF_MQTT_PROTOCOL_ERROR;
        if (reason)
            return reason;
    }
    return TF_MQTT_SUCCESS;
}

/* Reads either packet, whose fields are the same. */
static enum tf_err filters_read(const struct tf_mqtt_frame *frame, unsigned version,
                                struct tf_mqtt_subscribe *ret, uint8_t *ret_reason)
{
    struct tf_mqtt_subscribe packet = {0};
    struct tf_reader in = tf_reader_of(frame->body);
    uint64_t seen;
    uint8_t reason = tf_mqtt_take_packet_id(&in, &packet.packet_id);

    if (!reason && version >= TF_MQTT_5)
        reason = tf_mqtt_take_properties(&in, frame->type, &packet.properties, &seen);
    if (!reason) {
        packet.payload = tf_bytes_of(in.next, tf_reader_left(&in));
        reason = payload_check(packet.payload, frame->type, version);
    }
    if (reason)
        return tf_mqtt_reject(ret_reason, reason);
    *ret = packet;
    return TF_OK;
}

enum tf_err tf_mqtt_subscribe_read(const struct tf_mqtt_frame *frame, unsigned version,
                                   struct tf_mqtt_subscribe *ret, uint8_t *ret_reason)
{
    return filters_read(frame, version, ret, ret_reason);
}

enum tf_err tf_mqtt_unsubscribe_read(const struct tf_mqtt_frame *frame, unsigned version,
                                     struct tf_mqtt_unsubscribe *ret, uint8_t *ret_reason)
{
    struct tf_mqtt_subscribe packet;
    enum tf_err err = filters_read(frame, version, &packet, ret_reason);

    if (err)
        return err;
    ret->packet_id = packet.packet_id;
    ret->properties = packet.properties;
    ret->payload = packet.payload;
    return TF_OK;
}

/* The next filter; false at the end, or where the payload was never checked. */
static bool filter_take(struct tf_reader *in, struct tf_bytes payload, size_t offset,
                        struct tf_bytes *ret)
{
    if (offset >= payload.length)
        return false;
    *in = tf_reader_of(payload);
    in->next += offset;
    return !tf_mqtt_take_binary(in, ret);
}

bool tf_mqtt_subscription_next(struct tf_bytes payload, size_t *offset,
                               struct tf_mqtt_subscription *ret)
{
    struct tf_reader in;
    struct tf_bytes filter;
    uint8_t options;

    if (!filter_take(&in, payload, *offset, &filter) || tf_mqtt_take_u8(&in, &options))
        return false;
    ret->filter = filter;
    ret->qos = options & OPTION_QOS;
    ret->no_local = options & OPTION_NO_LOCAL;
    ret->retain_as_published = options & OPTION_RETAIN_AS_PUBLISHED;
    ret->retain_handling = options >> 4 & 3;
    *offset = (size_t)(in.next - payload.data);
    return true;
}

bool tf_mqtt_filter_next(struct tf_bytes payload, size_t *offset, struct tf_bytes *ret)
{
    struct tf_reader in;

    if (!filter_take(&in, payload, *offset, ret))
        return false;
    *offset = (size_t)(in.next - payload.data);
    return true;
}

void tf_mqtt_subscription_write(struct tf_writer *writer,
                                const struct tf_mqtt_subscription *subscription, unsigned version)
{
    unsigned options = subscription->qos & OPTION_QOS;
    size_t length = tf_mqtt_binary_size(subscription->filter) + 1;

    if (version >= TF_MQTT_5) {
        options |= subscription->no_local ? OPTION_NO_LOCAL : 0u;
        options |= subscription->retain_as_published ? OPTION_RETAIN_AS_PUBLISHED : 0u;
        options |= (subscription->retain_handling & 3u) << 4;
    }

    uint8_t *to = tf_write_step(writer, length > TF_MQTT_LENGTH_MAX ? SIZE_MAX : length);
    if (to)
        tf_mqtt_put_end(writer,
                        tf_mqtt_put_u8(tf_mqtt_put_binary(to, subscription->filter), options));
}

/* The bytes behind the fixed header. */
static size_t remaining_length(struct tf_bytes properties, struct tf_bytes payload,
                               unsigned version)
{
    return 2 + tf_mqtt_properties_size(properties, version) + tf_mqtt_bytes_size(payload);
}

/* Writes either packet. */
static void filters_write(struct tf_writer *writer, unsigned first,
                          const struct tf_mqtt_subscribe *packet, unsigned version)
{
    size_t remaining = remaining_length(packet->properties, packet->payload, version);
    uint8_t *to = tf_mqtt_put_start(writer, first, remaining, remaining);

    if (!to)
        return;
    to = tf_mqtt_put_u16(to, packet->packet_id);
    to = tf_mqtt_put_properties(to, packet->properties, version);
    to = tf_mqtt_put_bytes(to, packet->payload);
    tf_mqtt_put_end(writer, to);
}

size_t tf_mqtt_subscribe_size(const struct tf_mqtt_subscribe *packet, unsigned version)
{
    return tf_mqtt_packet_size(remaining_length(packet->properties, packet->payload, version));
}

void tf_mqtt_subscribe_write(struct tf_writer *writer, const struct tf_mqtt_subscribe *packet,
                             unsigned version)
{
    filters_write(writer, TF_MQTT_SUBSCRIBE << 4 | 2, packet, version);
}

size_t tf_mqtt_unsubscribe_size(const struct tf_mqtt_unsubscribe *packet, unsigned version)
{
    return tf_mqtt_packet_size(remaining_length(packet->properties, packet->payload, version));
}

void tf_mqtt_unsubscribe_write(struct tf_writer *writer, const struct tf_mqtt_unsubscribe *packet,
                               unsigned version)
{
    const struct tf_mqtt_subscribe same = {packet->packet_id, packet->properties, packet->payload};

    filters_write(writer, TF_MQTT_UNSUBSCRIBE << 4 | 2, &same, version);
}
