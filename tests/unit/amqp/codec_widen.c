/*
 * The same value in its widest encoding: what the shortest writer never makes, for the readers.
 */
#include "codec_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The specification's types by code. */
static const struct {
    uint8_t code;
    const char *symbol;
} symbols[] = {
    {0x10, "amqp:open:list"},
    {0x11, "amqp:begin:list"},
    {0x12, "amqp:attach:list"},
    {0x13, "amqp:flow:list"},
    {0x14, "amqp:transfer:list"},
    {0x15, "amqp:disposition:list"},
    {0x16, "amqp:detach:list"},
    {0x17, "amqp:end:list"},
    {0x18, "amqp:close:list"},
    {0x1D, "amqp:error:list"},
    {0x23, "amqp:received:list"},
    {0x24, "amqp:accepted:list"},
    {0x25, "amqp:rejected:list"},
    {0x26, "amqp:released:list"},
    {0x27, "amqp:modified:list"},
    {0x28, "amqp:source:list"},
    {0x29, "amqp:target:list"},
    {0x30, "amqp:coordinator:list"},
    {0x33, "amqp:declared:list"},
    {0x34, "amqp:transactional-state:list"},
    {0x40, "amqp:sasl-mechanisms:list"},
    {0x41, "amqp:sasl-init:list"},
    {0x42, "amqp:sasl-challenge:list"},
    {0x43, "amqp:sasl-response:list"},
    {0x44, "amqp:sasl-outcome:list"},
    {0x70, "amqp:header:list"},
    {0x71, "amqp:delivery-annotations:map"},
    {0x72, "amqp:message-annotations:map"},
    {0x73, "amqp:properties:list"},
    {0x74, "amqp:application-properties:map"},
    {0x75, "amqp:data:binary"},
    {0x76, "amqp:amqp-sequence:list"},
    {0x77, "amqp:amqp-value:*"},
    {0x78, "amqp:footer:map"},
};

/* The widest code of each type. */
static const uint8_t widest[TF_AMQP_TYPE_COUNT] = {0x40, 0x56, 0x50, 0x60, 0x70, 0x80, 0x51, 0x61,
                                                   0x71, 0x81, 0x72, 0x82, 0x74, 0x84, 0x94, 0x73,
                                                   0x83, 0x98, 0xB0, 0xB1, 0xB3, 0xD0, 0xD1, 0xF0};

static const char *symbol_of(const struct tf_amqp_value *descriptor)
{
    if (descriptor->type != TF_AMQP_ULONG)
        return NULL;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        if (symbols[i].code == descriptor->number)
            return symbols[i].symbol;
    }
    return NULL;
}

static void descriptors_widen(struct tf_writer *writer, const struct tf_amqp_value *value,
                              bool symbolic)
{
    struct tf_reader reader = tf_reader_of(value->constructor);

    for (unsigned i = 0; i < value->descriptors; i++) {
        struct tf_amqp_value descriptor;

        tf_write_u8(writer, tf_read_u8(&reader));
        assert_int_equal(tf_amqp_value_read(&reader, &descriptor), TF_OK);
        const char *symbol = symbolic ? symbol_of(&descriptor) : NULL;
        if (symbol)
            tf_amqp_write_symbol(writer, tf_bytes_str(symbol));
        else
            codec_widen(writer, &descriptor, symbolic);
    }
}

void codec_widen(struct tf_writer *writer, const struct tf_amqp_value *value, bool symbolic)
{
    struct tf_amqp_items items = tf_amqp_items_of(value);
    struct tf_amqp_value item;
    uint8_t code = widest[value->type];

    descriptors_widen(writer, value, symbolic);
    tf_write_u8(writer, code);
    if (value->type < TF_AMQP_LIST) {
        tf_amqp_write_item(writer, code, value);
        return;
    }
    size_t begin = tf_writer_length(writer);
    tf_write_u32(writer, 0);
    tf_write_u32(writer, value->count);
    if (value->type == TF_AMQP_ARRAY)
        tf_write_bytes(writer, value->bytes);
    else
        while (tf_amqp_item_next(&items, &item))
            codec_widen(writer, &item, symbolic);
    assert_false(writer->failed);
    struct tf_writer size = tf_writer_of(writer->start + begin, 4);
    tf_write_u32(&size, (uint32_t)(tf_writer_length(writer) - begin - 4));
}
