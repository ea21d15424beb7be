/*
 * What the files of the MQTT codec share: how one packet's fields are taken from a frame's body and
 * put into a writer's memory. The files that use it hold one packet each.
 *
 * Taking: every `take` gives 0, or the reason code to answer with; nothing is read past the end.
 * Putting: a packet's length is known before its first byte is written, so room is asked for once
 * and the puts behind it need no check; tf_mqtt_put_end proves that the length was right.
 * It knows no connection: who may send what, and when, is the machines' business.
 */
#ifndef TF_MQTT_CODEC_H
#define TF_MQTT_CODEC_H

#include <trefoil/mqtt_packet.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"

/* More than any packet: the length of what cannot be written. A dozen of them still fit 32 bits. */
#define TF_MQTT_TOO_LONG ((size_t)TF_MQTT_LENGTH_MAX + 1)

/* The bit of a property in a set of them. */
#define TF_MQTT_PROPERTY_BIT(id) (UINT64_C(1) << (id))

/* Hands `reason` to the caller of a reader. */
static inline enum tf_err tf_mqtt_reject(uint8_t *ret_reason, uint8_t reason)
{
    *ret_reason = reason;
    return TF_PROTOCOL;
}

/* The number in two bytes. */
static inline uint16_t tf_mqtt_get_u16(const uint8_t *data)
{
    return (uint16_t)(data[0] << 8 | data[1]);
}

static inline uint8_t tf_mqtt_take_u8(struct tf_reader *in, uint8_t *ret)
{
    if (tf_reader_left(in) < 1)
        return TF_MQTT_MALFORMED_PACKET;
    *ret = *in->next++;
    return TF_MQTT_SUCCESS;
}

static inline uint8_t tf_mqtt_take_u16(struct tf_reader *in, uint16_t *ret)
{
    if (tf_reader_left(in) < 2)
        return TF_MQTT_MALFORMED_PACKET;
    *ret = tf_mqtt_get_u16(in->next);
    in->next += 2;
    return TF_MQTT_SUCCESS;
}

/* Binary data (MQTT 5.0 1.5.6): two bytes of length and that many bytes. */
static inline uint8_t tf_mqtt_take_binary(struct tf_reader *in, struct tf_bytes *ret)
{
    if (tf_reader_left(in) < 2)
        return TF_MQTT_MALFORMED_PACKET;

    size_t length = tf_mqtt_get_u16(in->next);
    if (tf_reader_left(in) - 2 < length)
        return TF_MQTT_MALFORMED_PACKET;
    *ret = tf_bytes_of(in->next + 2, length);
    in->next += 2 + length;
    return TF_MQTT_SUCCESS;
}

/* A UTF-8 encoded string (MQTT 5.0 1.5.4): no surrogates, nothing overlong, no U+0000. */
static inline uint8_t tf_mqtt_take_string(struct tf_reader *in, struct tf_bytes *ret)
{
    uint8_t reason = tf_mqtt_take_binary(in, ret);

    if (!reason && !tf_utf8_valid_mqtt(*ret))
        reason = TF_MQTT_MALFORMED_PACKET;
    return reason;
}

/* A packet identifier, never 0 (MQTT 5.0 2.2.1). */
static inline uint8_t tf_mqtt_take_packet_id(struct tf_reader *in, uint16_t *ret)
{
    uint8_t reason = tf_mqtt_take_u16(in, ret);

    if (!reason && *ret == 0)
        reason = TF_MQTT_PROTOCOL_ERROR;
    return reason;
}

/* A variable byte integer in as few bytes as its value needs (MQTT 5.0 1.5.5). */
uint8_t tf_mqtt_take_varint(struct tf_reader *in, uint32_t *ret);

/*
 * A property length and its section, checked for a packet type or TF_MQTT_WILL. *ret_seen is the
 * set of the properties in it.
 */
uint8_t tf_mqtt_take_properties(struct tf_reader *in, unsigned type, struct tf_bytes *ret,
                                uint64_t *ret_seen);

/* 0 for a topic name (MQTT 5.0 4.7); 0x81 if it is not UTF-8, 0x90 if empty or with wildcards. */
uint8_t tf_mqtt_topic_check(struct tf_bytes topic);

/* As tf_mqtt_connack_read for 3.1.1, of which it is a part that needs no tables. */
enum tf_err tf_mqtt_connack_read_plain(const struct tf_mqtt_frame *frame,
                                       struct tf_mqtt_connack *ret, uint8_t *ret_reason);

/* True if `reason` may stand in a packet of this type (MQTT 5.0 2.4). */
bool tf_mqtt_reason_allowed(unsigned type, unsigned reason);

/* Length of binary data or a string on the wire. */
static inline size_t tf_mqtt_binary_size(struct tf_bytes bytes)
{
    return bytes.length > UINT16_MAX ? TF_MQTT_TOO_LONG : 2 + bytes.length;
}

/* Length of what goes out as it is. */
static inline size_t tf_mqtt_bytes_size(struct tf_bytes bytes)
{
    return bytes.length > TF_MQTT_LENGTH_MAX ? TF_MQTT_TOO_LONG : bytes.length;
}

/* Length of a property length and its section; nothing below 5.0. */
static inline size_t tf_mqtt_properties_size(struct tf_bytes section, unsigned version)
{
    if (version < TF_MQTT_5)
        return 0;
    if (section.length > TF_MQTT_LENGTH_MAX)
        return TF_MQTT_TOO_LONG;
    return tf_mqtt_length_size((uint32_t)section.length) + section.length;
}

/* Length of a packet with `remaining` bytes behind its fixed header; 0 if there is no such packet.
 */
static inline size_t tf_mqtt_packet_size(size_t remaining)
{
    return remaining > TF_MQTT_LENGTH_MAX
               ? 0
               : 1 + tf_mqtt_length_size((uint32_t)remaining) + remaining;
}

static inline uint8_t *tf_mqtt_put_u8(uint8_t *to, unsigned value)
{
    *to = (uint8_t)value;
    return to + 1;
}

static inline uint8_t *tf_mqtt_put_u16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
    return to + 2;
}

static inline uint8_t *tf_mqtt_put_varint(uint8_t *to, uint32_t value)
{
    for (; value > 127; value >>= 7)
        *to++ = (uint8_t)(value | 0x80);
    *to++ = (uint8_t)value;
    return to;
}

static inline uint8_t *tf_mqtt_put_bytes(uint8_t *to, struct tf_bytes bytes)
{
    if (!bytes.length)
        return to;
    memcpy(to, bytes.data, bytes.length);
    return to + bytes.length;
}

static inline uint8_t *tf_mqtt_put_binary(uint8_t *to, struct tf_bytes bytes)
{
    return tf_mqtt_put_bytes(tf_mqtt_put_u16(to, (unsigned)bytes.length), bytes);
}

static inline uint8_t *tf_mqtt_put_properties(uint8_t *to, struct tf_bytes section,
                                              unsigned version)
{
    if (version < TF_MQTT_5)
        return to;
    return tf_mqtt_put_bytes(tf_mqtt_put_varint(to, (uint32_t)section.length), section);
}

/*
 * Writes a fixed header and claims `here` of the `remaining` bytes behind it, to be put where the
 * result points. NULL, and the writer has failed, if they do not fit or no packet is that long.
 */
static inline uint8_t *tf_mqtt_put_start(struct tf_writer *writer, unsigned first, size_t remaining,
                                         size_t here)
{
    size_t claim = remaining > TF_MQTT_LENGTH_MAX
                       ? SIZE_MAX /* a step that fails */
                       : 1 + tf_mqtt_length_size((uint32_t)remaining) + here;
    uint8_t *to = tf_write_step(writer, claim);

    return to ? tf_mqtt_put_varint(tf_mqtt_put_u8(to, first), (uint32_t)remaining) : NULL;
}

/* All that was claimed has been put. */
static inline void tf_mqtt_put_end(const struct tf_writer *writer, const uint8_t *to)
{
    tf_assert(to == writer->next);
}

#endif
