/*
 * The fixed header (MQTT 5.0 2.1): finds one packet in the bytes that have arrived. It looks at no
 * byte behind the header and knows no version.
 */
#include "base/util.h"
#include "mqtt/codec.h"

/*
 * Bit f of word t: flags f are legal for type t (MQTT 5.0 2.1.3). PUBLISH: QoS 3 is malformed
 * (3.3.1.2), and so is DUP at QoS 0 (3.3.1.1).
 */
static const uint16_t legal_flags[16] = {
    [TF_MQTT_CONNECT] = 1 << 0,     [TF_MQTT_CONNACK] = 1 << 0,    [TF_MQTT_PUBLISH] = 0x3c3f,
    [TF_MQTT_PUBACK] = 1 << 0,      [TF_MQTT_PUBREC] = 1 << 0,     [TF_MQTT_PUBREL] = 1 << 2,
    [TF_MQTT_PUBCOMP] = 1 << 0,     [TF_MQTT_SUBSCRIBE] = 1 << 2,  [TF_MQTT_SUBACK] = 1 << 0,
    [TF_MQTT_UNSUBSCRIBE] = 1 << 2, [TF_MQTT_UNSUBACK] = 1 << 0,   [TF_MQTT_PINGREQ] = 1 << 0,
    [TF_MQTT_PINGRESP] = 1 << 0,    [TF_MQTT_DISCONNECT] = 1 << 0, [TF_MQTT_AUTH] = 1 << 0,
};

/* Reads a Remaining Length of two to four bytes. *ret_head is the fixed header's length. */
static enum tf_err long_length_read(struct tf_bytes in, uint32_t *ret_length, size_t *ret_head,
                                    size_t *ret_need, uint8_t *ret_reason)
{
    uint32_t value = 0;

    for (size_t i = 1; i < 5; i++) {
        if (i == in.length) {
            *ret_need = i + 1;
            return TF_MORE;
        }
        value |= (uint32_t)(in.data[i] & 0x7f) << (7 * (i - 1));
        if (in.data[i] < 128) {
            /* A last byte of 0 says the same as one byte less: MQTT 5.0 1.5.5 forbids it. */
            if (in.data[i] == 0)
                break;
            *ret_length = value;
            *ret_head = i + 1;
            return TF_OK;
        }
    }
    return tf_mqtt_reject(ret_reason, TF_MQTT_MALFORMED_PACKET);
}

/* Reads a fixed header. *ret_length is what follows it, *ret_head its own length. */
static inline enum tf_err head_read(struct tf_bytes in, size_t max, uint32_t *ret_length,
                                    size_t *ret_head, size_t *ret_need, uint8_t *ret_reason)
{
    if (in.length && !(legal_flags[in.data[0] >> 4] >> (in.data[0] & 15) & 1))
        return tf_mqtt_reject(ret_reason, TF_MQTT_MALFORMED_PACKET);
    if (in.length < 2) {
        *ret_need = 2;
        return TF_MORE;
    }
    *ret_length = in.data[1];
    *ret_head = 2;
    if (in.data[1] > 127) {
        enum tf_err err = long_length_read(in, ret_length, ret_head, ret_need, ret_reason);
        if (err)
            return err;
    }
    if (*ret_head + *ret_length > max)
        return tf_mqtt_reject(ret_reason, TF_MQTT_PACKET_TOO_LARGE);
    return TF_OK;
}

enum tf_err tf_mqtt_frame_head_read(struct tf_bytes in, size_t max, struct tf_mqtt_frame *ret,
                                    size_t *ret_need, uint8_t *ret_reason)
{
    uint32_t length;
    size_t head;
    enum tf_err err = head_read(in, max, &length, &head, ret_need, ret_reason);

    if (err)
        return err;
    ret->type = in.data[0] >> 4;
    ret->flags = in.data[0] & 15;
    ret->body = tf_bytes_of(in.data + head, TF_MIN(in.length - head, length));
    ret->length = head + length;
    return TF_OK;
}

enum tf_err tf_mqtt_frame_read(struct tf_bytes in, size_t max, struct tf_mqtt_frame *ret,
                               size_t *ret_need, uint8_t *ret_reason)
{
    uint32_t length;
    size_t head;
    enum tf_err err = head_read(in, max, &length, &head, ret_need, ret_reason);

    if (err)
        return err;
    if (in.length - head < length) {
        *ret_need = head + length;
        return TF_MORE;
    }
    ret->type = in.data[0] >> 4;
    ret->flags = in.data[0] & 15;
    ret->body = tf_bytes_of(in.data + head, length);
    ret->length = head + length;
    return TF_OK;
}

uint8_t tf_mqtt_take_varint(struct tf_reader *in, uint32_t *ret)
{
    size_t left = tf_reader_left(in);
    uint32_t value = 0;

    for (size_t i = 0; i < 4 && i < left; i++) {
        uint8_t byte = in->next[i];

        value |= (uint32_t)(byte & 0x7f) << (7 * i);
        if (byte < 128) {
            if (byte == 0 && i > 0) /* MQTT 5.0 1.5.5: the fewest bytes */
                break;
            in->next += i + 1;
            *ret = value;
            return TF_MQTT_SUCCESS;
        }
    }
    return TF_MQTT_MALFORMED_PACKET;
}
