/*
 * Writing values, each in its shortest encoding (1.6). A compound begins in its short form and is
 * moved apart when it turns out too long for it.
 */
#include "amqp/codec.h"

#include "base/assert.h"

/* Heads of compounds: code, size and count, of one byte or four each. */
#define HEAD_8 3u
#define HEAD_32 9u
/* From the code of a short form to that of the long one. */
#define LONGER 0x10u

/* Appends a format code and `width` bytes of a number, all or none. */
static void number_write(struct tf_writer *writer, uint8_t code, uint64_t number, unsigned width)
{
    uint8_t *at = tf_write_step(writer, 1 + width);

    if (!at)
        return;
    at[0] = code;
    for (unsigned i = width; i; i--, number >>= 8)
        at[i] = (uint8_t)number;
}

void tf_amqp_write_null(struct tf_writer *writer)
{
    tf_write_u8(writer, TF_AMQP_CODE_NULL);
}

void tf_amqp_write_bool(struct tf_writer *writer, bool value)
{
    tf_write_u8(writer, value ? TF_AMQP_CODE_TRUE : TF_AMQP_CODE_FALSE);
}

void tf_amqp_write_ubyte(struct tf_writer *writer, uint8_t value)
{
    number_write(writer, TF_AMQP_CODE_UBYTE, value, 1);
}

void tf_amqp_write_ushort(struct tf_writer *writer, uint16_t value)
{
    number_write(writer, TF_AMQP_CODE_USHORT, value, 2);
}

void tf_amqp_write_uint(struct tf_writer *writer, uint32_t value)
{
    if (!value)
        tf_write_u8(writer, TF_AMQP_CODE_UINT0);
    else if (value <= UINT8_MAX)
        number_write(writer, TF_AMQP_CODE_SMALL_UINT, value, 1);
    else
        number_write(writer, TF_AMQP_CODE_UINT, value, 4);
}

void tf_amqp_write_ulong(struct tf_writer *writer, uint64_t value)
{
    if (!value)
        tf_write_u8(writer, TF_AMQP_CODE_ULONG0);
    else if (value <= UINT8_MAX)
        number_write(writer, TF_AMQP_CODE_SMALL_ULONG, value, 1);
    else
        number_write(writer, TF_AMQP_CODE_ULONG, value, 8);
}

void tf_amqp_write_byte(struct tf_writer *writer, int8_t value)
{
    number_write(writer, TF_AMQP_CODE_BYTE, (uint64_t)(int64_t)value, 1);
}

void tf_amqp_write_short(struct tf_writer *writer, int16_t value)
{
    number_write(writer, TF_AMQP_CODE_SHORT, (uint64_t)(int64_t)value, 2);
}

void tf_amqp_write_int(struct tf_writer *writer, int32_t value)
{
    bool small = value >= INT8_MIN && value <= INT8_MAX;

    number_write(writer, small ? TF_AMQP_CODE_SMALL_INT : TF_AMQP_CODE_INT,
                 (uint64_t)(int64_t)value, small ? 1 : 4);
}

void tf_amqp_write_long(struct tf_writer *writer, int64_t value)
{
    bool small = value >= INT8_MIN && value <= INT8_MAX;

    number_write(writer, small ? TF_AMQP_CODE_SMALL_LONG : TF_AMQP_CODE_LONG, (uint64_t)value,
                 small ? 1 : 8);
}

void tf_amqp_write_float(struct tf_writer *writer, uint32_t bits)
{
    number_write(writer, TF_AMQP_CODE_FLOAT, bits, 4);
}

void tf_amqp_write_double(struct tf_writer *writer, uint64_t bits)
{
    number_write(writer, TF_AMQP_CODE_DOUBLE, bits, 8);
}

void tf_amqp_write_char(struct tf_writer *writer, uint32_t scalar)
{
    number_write(writer, TF_AMQP_CODE_CHAR, scalar, 4);
}

void tf_amqp_write_timestamp(struct tf_writer *writer, int64_t ms)
{
    number_write(writer, TF_AMQP_CODE_TIMESTAMP, (uint64_t)ms, 8);
}

/* A format code and the bytes of a fixed width. */
static void fixed_write(struct tf_writer *writer, uint8_t code, struct tf_bytes bytes)
{
    uint8_t *at = tf_write_step(writer, 1 + bytes.length);

    if (!at)
        return;
    at[0] = code;
    memcpy(at + 1, bytes.data, bytes.length);
}

void tf_amqp_write_uuid(struct tf_writer *writer, const uint8_t uuid[16])
{
    fixed_write(writer, TF_AMQP_CODE_UUID, tf_bytes_of(uuid, 16));
}

/* The format code and length of a variable width, and room for `here` bytes; NULL: it failed. */
static uint8_t *variable_head(struct tf_writer *writer, uint8_t code8, size_t length, size_t here)
{
    bool small = length <= UINT8_MAX;
    bool fits = length <= UINT32_MAX && here <= SIZE_MAX - 5;
    uint8_t *at = tf_write_step(writer, fits ? (small ? 2 : 5) + here : SIZE_MAX);

    if (!at)
        return NULL;
    if (small) {
        at[0] = code8;
        at[1] = (uint8_t)length;
        return at + 2;
    }
    at[0] = code8 + LONGER;
    at[1] = (uint8_t)(length >> 24);
    at[2] = (uint8_t)(length >> 16);
    at[3] = (uint8_t)(length >> 8);
    at[4] = (uint8_t)length;
    return at + 5;
}

static void variable_write(struct tf_writer *writer, uint8_t code8, struct tf_bytes bytes)
{
    uint8_t *at = variable_head(writer, code8, bytes.length, bytes.length);

    if (at && bytes.length)
        memcpy(at, bytes.data, bytes.length);
}

void tf_amqp_write_binary_head(struct tf_writer *writer, size_t length)
{
    (void)variable_head(writer, TF_AMQP_CODE_BINARY8, length, 0);
}

void tf_amqp_write_binary(struct tf_writer *writer, struct tf_bytes bytes)
{
    variable_write(writer, TF_AMQP_CODE_BINARY8, bytes);
}

void tf_amqp_write_string(struct tf_writer *writer, struct tf_bytes utf8)
{
    variable_write(writer, TF_AMQP_CODE_STRING8, utf8);
}

void tf_amqp_write_symbol(struct tf_writer *writer, struct tf_bytes ascii)
{
    variable_write(writer, TF_AMQP_CODE_SYMBOL8, ascii);
}

void tf_amqp_write_descriptor(struct tf_writer *writer, uint64_t code)
{
    tf_write_u8(writer, TF_AMQP_CODE_DESCRIBED);
    tf_amqp_write_ulong(writer, code);
}

/* ---- compounds ---- */

static size_t begin(struct tf_writer *writer, uint8_t code8)
{
    size_t at = tf_writer_length(writer);
    uint8_t *head = tf_write_step(writer, HEAD_8);

    if (head)
        head[0] = code8;
    return at;
}

/* Size and count are known now: fills them in. */
static void end(struct tf_writer *writer, size_t begun, uint32_t count)
{
    if (writer->failed)
        return;
    uint8_t *head = writer->start + begun;
    size_t content = tf_writer_length(writer) - begun - HEAD_8;

    if (content + 1 <= UINT8_MAX && count <= UINT8_MAX) {
        head[1] = (uint8_t)(content + 1);
        head[2] = (uint8_t)count;
        return;
    }
    if (content > UINT32_MAX - 4) {
        (void)tf_write_step(writer, SIZE_MAX);
        return;
    }
    if (!tf_write_step(writer, HEAD_32 - HEAD_8))
        return;
    memmove(head + HEAD_32, head + HEAD_8, content);
    struct tf_writer longer = tf_writer_of(head, HEAD_32);
    tf_write_u8(&longer, head[0] + LONGER);
    tf_write_u32(&longer, (uint32_t)content + 4);
    tf_write_u32(&longer, count);
}

size_t tf_amqp_write_list_begin(struct tf_writer *writer)
{
    return begin(writer, TF_AMQP_CODE_LIST8);
}

void tf_amqp_write_list_end(struct tf_writer *writer, size_t begun, uint32_t count)
{
    if (count || writer->failed) {
        end(writer, begun, count);
        return;
    }
    writer->next = writer->start + begun;
    tf_write_u8(writer, TF_AMQP_CODE_LIST0);
}

size_t tf_amqp_write_map_begin(struct tf_writer *writer)
{
    return begin(writer, TF_AMQP_CODE_MAP8);
}

void tf_amqp_write_map_end(struct tf_writer *writer, size_t begun, uint32_t count)
{
    end(writer, begun, count);
}

size_t tf_amqp_write_array_begin(struct tf_writer *writer)
{
    return begin(writer, TF_AMQP_CODE_ARRAY8);
}

void tf_amqp_write_array_end(struct tf_writer *writer, size_t begun, uint32_t count)
{
    end(writer, begun, count);
}

void tf_amqp_write_symbols(struct tf_writer *writer, const struct tf_bytes *symbols, size_t count)
{
    bool wide = false;

    if (count < 2) {
        if (count)
            tf_amqp_write_symbol(writer, symbols[0]);
        else
            tf_amqp_write_null(writer);
        return;
    }
    for (size_t i = 0; i < count; i++)
        wide |= symbols[i].length > UINT8_MAX;
    size_t begun = tf_amqp_write_array_begin(writer);
    tf_write_u8(writer, wide ? TF_AMQP_CODE_SYMBOL : TF_AMQP_CODE_SYMBOL8);
    for (size_t i = 0; i < count; i++) {
        if (wide)
            tf_write_u32(writer, (uint32_t)symbols[i].length);
        else
            tf_write_u8(writer, (uint8_t)symbols[i].length);
        tf_write_bytes(writer, symbols[i]);
    }
    tf_amqp_write_array_end(writer, begun, (uint32_t)count);
}

/* ---- values that were read ---- */

/* A compound's head and its bytes. */
static void compound_write(struct tf_writer *writer, const struct tf_amqp_value *value)
{
    uint8_t code8 = value->type == TF_AMQP_LIST  ? TF_AMQP_CODE_LIST8
                    : value->type == TF_AMQP_MAP ? TF_AMQP_CODE_MAP8
                                                 : TF_AMQP_CODE_ARRAY8;

    if (value->type == TF_AMQP_LIST && !value->count) {
        tf_write_u8(writer, TF_AMQP_CODE_LIST0);
        return;
    }
    size_t begun = begin(writer, code8);
    tf_write_bytes(writer, value->bytes);
    end(writer, begun, value->count);
}

/* Types whose shortest encoding depends on the value, and those of variable width. */
static void shortest_write(struct tf_writer *writer, const struct tf_amqp_value *value)
{
    switch (value->type) {
    case TF_AMQP_BOOLEAN:
        tf_amqp_write_bool(writer, value->number != 0);
        break;
    case TF_AMQP_UINT:
        tf_amqp_write_uint(writer, (uint32_t)value->number);
        break;
    case TF_AMQP_ULONG:
        tf_amqp_write_ulong(writer, value->number);
        break;
    case TF_AMQP_INT:
        tf_amqp_write_int(writer, (int32_t)value->integer);
        break;
    case TF_AMQP_LONG:
        tf_amqp_write_long(writer, value->integer);
        break;
    case TF_AMQP_BINARY:
        tf_amqp_write_binary(writer, value->bytes);
        break;
    case TF_AMQP_STRING:
        tf_amqp_write_string(writer, value->bytes);
        break;
    case TF_AMQP_SYMBOL:
        tf_amqp_write_symbol(writer, value->bytes);
        break;
    default:
        compound_write(writer, value);
    }
}

void tf_amqp_write_value(struct tf_writer *writer, const struct tf_amqp_value *value)
{
    if (value->descriptors)
        tf_write_bytes(writer, tf_bytes_of(value->constructor.data, value->constructor.length - 1));
    switch (value->type) {
    case TF_AMQP_NULL:
        tf_amqp_write_null(writer);
        break;
    case TF_AMQP_UBYTE:
    case TF_AMQP_BYTE:
        number_write(writer, value->type == TF_AMQP_BYTE ? TF_AMQP_CODE_BYTE : TF_AMQP_CODE_UBYTE,
                     value->number, 1);
        break;
    case TF_AMQP_USHORT:
    case TF_AMQP_SHORT:
        number_write(writer,
                     value->type == TF_AMQP_SHORT ? TF_AMQP_CODE_SHORT : TF_AMQP_CODE_USHORT,
                     value->number, 2);
        break;
    case TF_AMQP_FLOAT:
    case TF_AMQP_CHAR:
        number_write(writer, value->type == TF_AMQP_CHAR ? TF_AMQP_CODE_CHAR : TF_AMQP_CODE_FLOAT,
                     value->number, 4);
        break;
    case TF_AMQP_DOUBLE:
    case TF_AMQP_TIMESTAMP:
        number_write(writer,
                     value->type == TF_AMQP_DOUBLE ? TF_AMQP_CODE_DOUBLE : TF_AMQP_CODE_TIMESTAMP,
                     value->number, 8);
        break;
    case TF_AMQP_DECIMAL32:
    case TF_AMQP_DECIMAL64:
    case TF_AMQP_DECIMAL128:
    case TF_AMQP_UUID:
        fixed_write(writer, value->code, value->bytes); /* these have one code each */
        break;
    default:
        shortest_write(writer, value);
    }
}

/* True if a number read back from `width` bytes, with a sign or without, is the same. */
static bool number_fits(const struct tf_amqp_value *value, unsigned width)
{
    unsigned unused = 64 - 8 * width;

    if (value->type >= TF_AMQP_BYTE && value->type <= TF_AMQP_LONG) {
        int64_t half = INT64_MAX >> unused;
        return value->integer >= -half - 1 && value->integer <= half;
    }
    return value->number <= UINT64_MAX >> unused;
}

/* What stands behind a code of no width. */
static bool empty_fits(uint8_t code, const struct tf_amqp_value *value)
{
    if (code == TF_AMQP_CODE_TRUE)
        return value->number == 1;
    return value->type == TF_AMQP_NULL || (value->number == 0 && value->count == 0);
}

/* A length or size of one byte or four, in front of `bytes`; a count between them if `counted`. */
static void sized_write(struct tf_writer *writer, bool wide, bool counted,
                        const struct tf_amqp_value *value)
{
    size_t width = wide ? 4 : 1, max = wide ? UINT32_MAX : UINT8_MAX;
    size_t count_width = counted ? width : 0;

    if (value->bytes.length > max - count_width || (counted && value->count > max)) {
        (void)tf_write_step(writer, SIZE_MAX);
        return;
    }
    size_t size = value->bytes.length + count_width;
    if (wide)
        tf_write_u32(writer, (uint32_t)size);
    else
        tf_write_u8(writer, (uint8_t)size);
    if (counted && wide)
        tf_write_u32(writer, value->count);
    else if (counted)
        tf_write_u8(writer, (uint8_t)value->count);
    tf_write_bytes(writer, value->bytes);
}

void tf_amqp_write_item(struct tf_writer *writer, uint8_t code, const struct tf_amqp_value *value)
{
    unsigned category = code >> 4;
    bool fits = tf_amqp_code_type(code) == value->type;

    if (fits && category == TF_AMQP_CATEGORY_EMPTY) {
        fits = empty_fits(code, value);
    } else if (fits && category <= TF_AMQP_CATEGORY_8 && value->bytes.length &&
               (value->type == TF_AMQP_DECIMAL32 || value->type == TF_AMQP_DECIMAL64)) {
        tf_write_bytes(writer, value->bytes);
    } else if (fits && category <= TF_AMQP_CATEGORY_8) {
        unsigned width = 1u << (category - TF_AMQP_CATEGORY_1);

        fits = number_fits(value, width);
        uint8_t *at = fits ? tf_write_step(writer, width) : NULL;
        for (unsigned i = 0; at && i < width; i++)
            at[i] = (uint8_t)(value->number >> 8 * (width - 1 - i));
    } else if (fits && category == TF_AMQP_CATEGORY_16) {
        tf_write_bytes(writer, value->bytes);
    } else if (fits) {
        sized_write(writer, category % 2, category >= TF_AMQP_CATEGORY_COMPOUND_8, value);
    }
    if (!fits)
        (void)tf_write_step(writer, SIZE_MAX);
}
