/*
 * Reading one value: format codes (1.6), described values (1.5), compounds as views. Whatever is
 * described by what is described is stepped over with a counter instead of a stack.
 *
 * What is inside a compound is not looked at here: check.c does that, cursors rely on it.
 */
#include "amqp/codec.h"

#include "base/utf8.h"

#define LOW_BITS UINT64_C(0x0101010101010101)
#define HIGH_BITS (LOW_BITS << 7)

/* The type of each format code from 0x40 on, plus one; 0: no such code. */
static const uint8_t code_types[0xC0] = {
    [0x00] = 1 + TF_AMQP_NULL,      [0x01] = 1 + TF_AMQP_BOOLEAN,    [0x02] = 1 + TF_AMQP_BOOLEAN,
    [0x03] = 1 + TF_AMQP_UINT,      [0x04] = 1 + TF_AMQP_ULONG,      [0x05] = 1 + TF_AMQP_LIST,
    [0x10] = 1 + TF_AMQP_UBYTE,     [0x11] = 1 + TF_AMQP_BYTE,       [0x12] = 1 + TF_AMQP_UINT,
    [0x13] = 1 + TF_AMQP_ULONG,     [0x14] = 1 + TF_AMQP_INT,        [0x15] = 1 + TF_AMQP_LONG,
    [0x16] = 1 + TF_AMQP_BOOLEAN,   [0x20] = 1 + TF_AMQP_USHORT,     [0x21] = 1 + TF_AMQP_SHORT,
    [0x30] = 1 + TF_AMQP_UINT,      [0x31] = 1 + TF_AMQP_INT,        [0x32] = 1 + TF_AMQP_FLOAT,
    [0x33] = 1 + TF_AMQP_CHAR,      [0x34] = 1 + TF_AMQP_DECIMAL32,  [0x40] = 1 + TF_AMQP_ULONG,
    [0x41] = 1 + TF_AMQP_LONG,      [0x42] = 1 + TF_AMQP_DOUBLE,     [0x43] = 1 + TF_AMQP_TIMESTAMP,
    [0x44] = 1 + TF_AMQP_DECIMAL64, [0x54] = 1 + TF_AMQP_DECIMAL128, [0x58] = 1 + TF_AMQP_UUID,
    [0x60] = 1 + TF_AMQP_BINARY,    [0x61] = 1 + TF_AMQP_STRING,     [0x63] = 1 + TF_AMQP_SYMBOL,
    [0x70] = 1 + TF_AMQP_BINARY,    [0x71] = 1 + TF_AMQP_STRING,     [0x73] = 1 + TF_AMQP_SYMBOL,
    [0x80] = 1 + TF_AMQP_LIST,      [0x81] = 1 + TF_AMQP_MAP,        [0x90] = 1 + TF_AMQP_LIST,
    [0x91] = 1 + TF_AMQP_MAP,       [0xA0] = 1 + TF_AMQP_ARRAY,      [0xB0] = 1 + TF_AMQP_ARRAY,
};

enum tf_amqp_type tf_amqp_code_type(uint8_t code)
{
    unsigned type = code < 0x40 ? 0 : code_types[code - 0x40];

    return type ? (enum tf_amqp_type)(type - 1) : TF_AMQP_TYPE_COUNT;
}

/* True if no byte has its high bit: ASCII (1.6.21). */
static bool ascii(struct tf_bytes bytes)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.length;
    uint64_t all = 0, word;

    for (; left >= 8; at += 8, left -= 8) {
        memcpy(&word, at, sizeof(word));
        all |= word;
    }
    while (left--)
        all |= *at++;
    return !(all & HIGH_BITS);
}

/* The legal values of those types that have others (1.6.2, 1.6.16, 1.6.20, 1.6.21). */
static bool legal(const struct tf_amqp_value *value)
{
    switch (value->type) {
    case TF_AMQP_BOOLEAN:
        return value->number <= 1;
    case TF_AMQP_CHAR:
        return value->number < 0xD800 || (value->number >= 0xE000 && value->number <= 0x10FFFF);
    case TF_AMQP_STRING:
        return tf_utf8_valid(value->bytes);
    case TF_AMQP_SYMBOL:
        return ascii(value->bytes);
    default:
        return true;
    }
}

/* True for the types whose numbers have a sign. */
static bool has_sign(enum tf_amqp_type type)
{
    return type >= TF_AMQP_BYTE && type <= TF_AMQP_LONG;
}

/* The content of a compound: what its size spans, and the count at its front. */
static bool compound_read(struct tf_reader *reader, bool wide, struct tf_amqp_value *ret)
{
    size_t size = wide ? tf_read_u32(reader) : tf_read_u8(reader);
    struct tf_reader inside = tf_reader_of(tf_read_bytes(reader, size));

    ret->count = wide ? tf_read_u32(&inside) : tf_read_u8(&inside);
    if (reader->failed || inside.failed)
        return false;
    ret->bytes = tf_read_rest(&inside);
    if (ret->type == TF_AMQP_ARRAY)
        return ret->bytes.length > 0; /* its constructor, even of an empty one (1.6.24) */
    if (ret->type == TF_AMQP_MAP && ret->count % 2)
        return false; /* 1.6.23 */
    return ret->count <= ret->bytes.length;
}

/* A number of `width` bytes. */
static uint64_t number_read(struct tf_reader *reader, unsigned category, bool sign)
{
    switch (category) {
    case TF_AMQP_CATEGORY_1: {
        uint8_t byte = tf_read_u8(reader);
        return sign ? (uint64_t)(int64_t)(int8_t)byte : byte;
    }
    case TF_AMQP_CATEGORY_2: {
        uint16_t word = tf_read_u16(reader);
        return sign ? (uint64_t)(int64_t)(int16_t)word : word;
    }
    case TF_AMQP_CATEGORY_4: {
        uint32_t word = tf_read_u32(reader);
        return sign ? (uint64_t)(int64_t)(int32_t)word : word;
    }
    default:
        return tf_read_u64(reader);
    }
}

bool tf_amqp_content_read(struct tf_reader *reader, uint8_t code, struct tf_amqp_value *ret)
{
    unsigned category = code >> 4;
    const uint8_t *begin = reader->next;

    ret->type = tf_amqp_code_type(code);
    ret->code = code;
    ret->count = 0;
    ret->number = 0;
    ret->bytes = tf_bytes_of(begin, 0);
    if (ret->type == TF_AMQP_TYPE_COUNT)
        return false;
    switch (category) {
    case TF_AMQP_CATEGORY_EMPTY:
        ret->number = code == TF_AMQP_CODE_TRUE;
        return true;
    case TF_AMQP_CATEGORY_1:
    case TF_AMQP_CATEGORY_2:
    case TF_AMQP_CATEGORY_4:
    case TF_AMQP_CATEGORY_8:
        ret->number = number_read(reader, category, has_sign(ret->type));
        ret->bytes = tf_amqp_since(reader, begin);
        break;
    case TF_AMQP_CATEGORY_16:
        ret->bytes = tf_read_bytes(reader, 16);
        break;
    case TF_AMQP_CATEGORY_VARIABLE_8:
        ret->bytes = tf_read_bytes(reader, tf_read_u8(reader));
        break;
    case TF_AMQP_CATEGORY_VARIABLE_32:
        ret->bytes = tf_read_bytes(reader, tf_read_u32(reader));
        break;
    default:
        return compound_read(reader, category % 2, ret);
    }
    return !reader->failed && legal(ret);
}

bool tf_amqp_array_fits(uint8_t code, uint32_t count, size_t left)
{
    /* The bytes that an item has at least, by category from EMPTY on. */
    static const uint8_t least[] = {0, 1, 2, 4, 8, 16, 1, 4, 2, 8, 3, 9};

    if (tf_amqp_code_type(code) == TF_AMQP_TYPE_COUNT)
        return false;
    unsigned width = least[(code >> 4) - TF_AMQP_CATEGORY_EMPTY];
    return width ? count <= left / width : count <= TF_AMQP_EMPTY_ITEMS_MAX;
}

/* Steps over what is behind a format code. */
static void content_skip(struct tf_reader *reader, uint8_t code)
{
    unsigned category = code >> 4;
    size_t length;

    if (tf_amqp_code_type(code) == TF_AMQP_TYPE_COUNT)
        (void)tf_amqp_fail(reader);
    else if (category < TF_AMQP_CATEGORY_VARIABLE_8)
        length = category == TF_AMQP_CATEGORY_EMPTY ? 0 : (size_t)1 << (category - 5),
        (void)tf_read_step(reader, length);
    else if (category % 2)
        length = tf_read_u32(reader), (void)tf_read_step(reader, length);
    else
        length = tf_read_u8(reader), (void)tf_read_step(reader, length);
}

enum tf_err tf_amqp_value_skip(struct tf_reader *reader)
{
    unsigned pending = 0; /* descriptors begun, whose value follows */

    do {
        uint8_t code = tf_read_u8(reader);
        if (reader->failed)
            return TF_PROTOCOL;
        if (code == TF_AMQP_CODE_DESCRIBED) {
            if (pending++ == TF_AMQP_DEPTH_MAX)
                return tf_amqp_fail(reader);
            continue;
        }
        content_skip(reader, code);
        if (reader->failed)
            return TF_PROTOCOL;
        if (!pending)
            return TF_OK;
        pending--;
    } while (true);
}

bool tf_amqp_constructor_read(struct tf_reader *reader, uint8_t *ret_code, uint8_t *ret_descriptors,
                              struct tf_bytes *ret_descriptor)
{
    *ret_descriptors = 0;
    *ret_descriptor = (struct tf_bytes){NULL, 0};
    while ((*ret_code = tf_read_u8(reader)) == TF_AMQP_CODE_DESCRIBED && !reader->failed) {
        const uint8_t *begin = reader->next;

        if (*ret_descriptors == TF_AMQP_DEPTH_MAX || tf_amqp_value_skip(reader))
            return false;
        if (!(*ret_descriptors)++)
            *ret_descriptor = tf_amqp_since(reader, begin);
    }
    return !reader->failed;
}

enum tf_err tf_amqp_value_read(struct tf_reader *reader, struct tf_amqp_value *ret)
{
    const uint8_t *begin = reader->next;
    struct tf_amqp_value value;

    if (!tf_amqp_constructor_read(reader, &value.code, &value.descriptors, &value.descriptor))
        return tf_amqp_fail(reader);
    value.constructor = tf_amqp_since(reader, begin);
    if (!tf_amqp_content_read(reader, value.code, &value))
        return tf_amqp_fail(reader);
    value.encoded = tf_amqp_since(reader, begin);
    *ret = value;
    return TF_OK;
}

enum tf_err tf_amqp_value_of(struct tf_bytes encoded, struct tf_amqp_value *ret)
{
    struct tf_reader reader = tf_reader_of(encoded);
    struct tf_amqp_value value;

    if (tf_amqp_value_read(&reader, &value) || tf_reader_left(&reader))
        return TF_PROTOCOL;
    *ret = value;
    return TF_OK;
}

struct tf_amqp_items tf_amqp_items_of(const struct tf_amqp_value *compound)
{
    struct tf_amqp_items items = {.reader = tf_reader_of((struct tf_bytes){NULL, 0})};

    if (compound->type < TF_AMQP_LIST)
        return items;
    items.reader = tf_reader_of(compound->bytes);
    items.left = compound->count;
    if (compound->type != TF_AMQP_ARRAY)
        return items;
    const uint8_t *begin = items.reader.next;
    if (tf_amqp_constructor_read(&items.reader, &items.code, &items.descriptors,
                                 &items.descriptor) &&
        tf_amqp_array_fits(items.code, items.left, tf_reader_left(&items.reader)))
        items.constructor = tf_amqp_since(&items.reader, begin);
    else
        (void)tf_amqp_fail(&items.reader);
    return items;
}

bool tf_amqp_item_next(struct tf_amqp_items *items, struct tf_amqp_value *ret)
{
    struct tf_amqp_value value;

    if (!items->left || items->reader.failed)
        return false;
    items->left--;
    if (!items->constructor.length)
        return !tf_amqp_value_read(&items->reader, ret);

    const uint8_t *begin = items->reader.next;
    value.descriptors = items->descriptors;
    value.descriptor = items->descriptor;
    value.constructor = items->constructor;
    if (!tf_amqp_content_read(&items->reader, items->code, &value))
        return !tf_amqp_fail(&items->reader);
    value.encoded = tf_amqp_since(&items->reader, begin);
    *ret = value;
    return true;
}

bool tf_amqp_pair_next(struct tf_amqp_items *items, struct tf_amqp_value *ret_key,
                       struct tf_amqp_value *ret_value)
{
    struct tf_amqp_value key;

    if (!tf_amqp_item_next(items, &key) || !tf_amqp_item_next(items, ret_value))
        return false;
    *ret_key = key;
    return true;
}
