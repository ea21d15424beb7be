/*
 * CoAP messages: reading, writing, blocks (RFC 7252 3, RFC 7959 2.2).
 *
 * Every firmware has this file, so it is small and knows no option by its number: what is
 * registered of them is in option.c.
 */
#include <trefoil/coap_message.h>

/* A length that no reader and no writer has room for: the step fails. */
#define IMPOSSIBLE SIZE_MAX

/* ---- reading ---- */

/* What a nibble of an option's first byte stands for, with its extension (RFC 7252 3.1). */
static uint32_t extended_read(struct tf_reader *reader, unsigned nibble)
{
    if (nibble < 13)
        return nibble;
    if (nibble == 13)
        return 13u + tf_read_u8(reader);
    if (nibble == 14)
        return 269u + tf_read_u16(reader);
    (void)tf_read_step(reader, IMPOSSIBLE); /* 15 is reserved */
    return 0;
}

bool tf_coap_option_next(struct tf_coap_cursor *cursor, struct tf_coap_option *ret)
{
    struct tf_reader *reader = &cursor->reader;

    if (!tf_reader_left(reader))
        return false;
    unsigned head = tf_read_u8(reader);
    uint32_t number = cursor->number + extended_read(reader, head >> 4);
    struct tf_bytes value = tf_read_bytes(reader, extended_read(reader, head & 15));
    if (number > UINT16_MAX)
        (void)tf_read_step(reader, IMPOSSIBLE); /* no such number can be registered (12.2) */
    if (reader->failed)
        return false;
    cursor->number = number;
    ret->number = (uint16_t)number;
    ret->value = value;
    return true;
}

enum tf_err tf_coap_decode(struct tf_coap_message *ret, struct tf_bytes datagram)
{
    struct tf_reader reader = tf_reader_of(datagram);
    unsigned head = tf_read_u8(&reader);
    uint8_t code = tf_read_u8(&reader);
    uint16_t message_id = tf_read_u16(&reader);

    if (reader.failed || head >> 6 != 1)
        return TF_UNSUPPORTED; /* RFC 7252 3: other versions are silently ignored */
    ret->type = head >> 4 & 3;
    ret->message_id = message_id;

    unsigned token_length = head & 15;
    if (token_length > TF_COAP_TOKEN_MAX) /* 3: lengths 9 to 15 are a message format error */
        return TF_PROTOCOL;
    if (code == TF_COAP_EMPTY && datagram.length > TF_COAP_HEADER) /* 4.1 */
        return TF_PROTOCOL;
    struct tf_bytes token = tf_read_bytes(&reader, token_length);
    if (reader.failed)
        return TF_PROTOCOL;

    const uint8_t *start = reader.next;
    struct tf_coap_cursor cursor = {reader, 0};
    struct tf_coap_option option;
    while (tf_reader_left(&cursor.reader) && *cursor.reader.next != 0xFF) {
        if (!tf_coap_option_next(&cursor, &option))
            return TF_PROTOCOL;
    }
    const uint8_t *end = cursor.reader.next;
    if (tf_reader_left(&cursor.reader) == 1) /* 3: a marker and no payload */
        return TF_PROTOCOL;
    ret->code = code;
    ret->token = token;
    ret->options = tf_bytes_of(start, (size_t)(end - start));
    (void)tf_read_u8(&cursor.reader); /* the marker, if any */
    ret->payload = tf_read_rest(&cursor.reader);
    return TF_OK;
}

bool tf_coap_option_find(struct tf_bytes options, uint16_t number, struct tf_bytes *ret_value)
{
    struct tf_coap_cursor cursor = tf_coap_options(options);
    struct tf_coap_option option;

    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number == number) {
            *ret_value = option.value;
            return true;
        }
    }
    return false;
}

uint32_t tf_coap_uint(struct tf_bytes value)
{
    uint32_t number = 0;

    for (size_t i = 0; i < value.length; i++)
        number = number << 8 | value.data[i];
    return number;
}

bool tf_coap_block_read(struct tf_bytes value, struct tf_coap_block *ret)
{
    if (value.length > 3)
        return false;
    uint32_t number = tf_coap_uint(value);
    ret->number = number >> 4;
    ret->more = (number & 8) != 0;
    ret->szx = number & 7;
    return true;
}

/* ---- writing ---- */

struct tf_bytes tf_coap_uint_value(uint32_t value, uint8_t buffer[4])
{
    size_t at = 4;

    for (; value; value >>= 8)
        buffer[--at] = (uint8_t)value;
    return tf_bytes_of(buffer + at, 4 - at);
}

/* The nibble for a delta or a length. */
static unsigned nibble_of(size_t value)
{
    return value < 13 ? (unsigned)value : value < 269 ? 13 : 14;
}

/* Appends what does not fit into the nibble. */
static void extended_write(struct tf_writer *out, size_t value)
{
    if (value >= 269)
        tf_write_u16(out, (uint16_t)(value - 269));
    else if (value >= 13)
        tf_write_u8(out, (uint8_t)(value - 13));
}

void tf_coap_encode(struct tf_coap_encoder *encoder, void *buffer, size_t length,
                    enum tf_coap_type type, uint8_t code, uint16_t message_id,
                    struct tf_bytes token)
{
    struct tf_writer *out = &encoder->out;

    *out = tf_writer_of(buffer, length);
    encoder->number = 0;
    uint8_t *at = tf_write_step(out, token.length > TF_COAP_TOKEN_MAX ? IMPOSSIBLE : 4);
    if (!at)
        return;
    at[0] = (uint8_t)(1u << 6 | (unsigned)type << 4 | token.length);
    at[1] = code;
    at[2] = (uint8_t)(message_id >> 8);
    at[3] = (uint8_t)message_id;
    tf_write_bytes(out, token);
}

void tf_coap_encode_option(struct tf_coap_encoder *encoder, uint16_t number, struct tf_bytes value)
{
    struct tf_writer *out = &encoder->out;
    size_t delta = number - encoder->number; /* out of order: far above every number */

    if (number < encoder->number || value.length > UINT16_MAX + 269u) {
        (void)tf_write_step(out, IMPOSSIBLE);
        return;
    }
    encoder->number = number;
    tf_write_u8(out, (uint8_t)(nibble_of(delta) << 4 | nibble_of(value.length)));
    extended_write(out, delta);
    extended_write(out, value.length);
    tf_write_bytes(out, value);
}

void tf_coap_encode_uint(struct tf_coap_encoder *encoder, uint16_t number, uint32_t value)
{
    uint8_t buffer[4];

    tf_coap_encode_option(encoder, number, tf_coap_uint_value(value, buffer));
}

void tf_coap_encode_payload(struct tf_coap_encoder *encoder, struct tf_bytes payload)
{
    if (!payload.length)
        return;
    tf_write_u8(&encoder->out, 0xFF);
    tf_write_bytes(&encoder->out, payload);
    encoder->number = UINT32_MAX; /* an option after it is out of order */
}

struct tf_bytes tf_coap_encoded(const struct tf_coap_encoder *encoder)
{
    if (encoder->out.failed)
        return (struct tf_bytes){NULL, 0};
    return tf_bytes_of(encoder->out.start, tf_writer_length(&encoder->out));
}
