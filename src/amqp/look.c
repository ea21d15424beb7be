/*
 * Looking for things in values that were checked: equality, a key of a map, a symbol of several, a
 * descriptor.
 */
#include "amqp/codec.h"

/* The descriptors of a value as they came: its constructor without the format code. */
static struct tf_bytes descriptors_of(const struct tf_amqp_value *value)
{
    return tf_bytes_of(value->constructor.data,
                       value->descriptors ? value->constructor.length - 1 : 0);
}

bool tf_amqp_value_equal(const struct tf_amqp_value *a, const struct tf_amqp_value *b)
{
    if (a->type != b->type || a->number != b->number || a->count != b->count)
        return false;
    if (!tf_bytes_equal(descriptors_of(a), descriptors_of(b)))
        return false;
    switch (a->type) {
    case TF_AMQP_DECIMAL32:
    case TF_AMQP_DECIMAL64:
    case TF_AMQP_DECIMAL128:
    case TF_AMQP_UUID:
    case TF_AMQP_BINARY:
    case TF_AMQP_STRING:
    case TF_AMQP_SYMBOL:
    case TF_AMQP_LIST:
    case TF_AMQP_MAP:
    case TF_AMQP_ARRAY:
        return tf_bytes_equal(a->bytes, b->bytes);
    default: /* the bytes of a number depend on how it was written */
        return true;
    }
}

bool tf_amqp_described_as(const struct tf_amqp_value *value, uint64_t code, const char *symbol)
{
    struct tf_amqp_value descriptor;

    if (!value->descriptors || tf_amqp_value_of(value->descriptor, &descriptor) ||
        descriptor.descriptors)
        return false;
    if (descriptor.type == TF_AMQP_ULONG)
        return descriptor.number == code;
    return symbol && descriptor.type == TF_AMQP_SYMBOL &&
           tf_bytes_equal(descriptor.bytes, tf_bytes_str(symbol));
}

bool tf_amqp_map_find(struct tf_bytes map, struct tf_bytes key, struct tf_amqp_value *ret)
{
    struct tf_amqp_value compound, name, value;

    if (!map.length || tf_amqp_value_of(map, &compound) || compound.type != TF_AMQP_MAP)
        return false;
    struct tf_amqp_items items = tf_amqp_items_of(&compound);
    while (tf_amqp_pair_next(&items, &name, &value)) {
        if ((name.type == TF_AMQP_SYMBOL || name.type == TF_AMQP_STRING) &&
            tf_bytes_equal(name.bytes, key)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

struct tf_amqp_items tf_amqp_symbols_of(struct tf_bytes symbols)
{
    struct tf_amqp_items items = {.reader = tf_reader_of((struct tf_bytes){NULL, 0})};
    struct tf_amqp_value value;

    if (!symbols.length || tf_amqp_value_of(symbols, &value))
        return items;
    if (value.type == TF_AMQP_ARRAY)
        return tf_amqp_items_of(&value);
    if (value.type == TF_AMQP_SYMBOL) {
        items.reader = tf_reader_of(symbols);
        items.left = 1;
    }
    return items;
}

bool tf_amqp_symbols_have(struct tf_bytes symbols, struct tf_bytes symbol)
{
    struct tf_amqp_items items = tf_amqp_symbols_of(symbols);
    struct tf_amqp_value value;

    while (tf_amqp_item_next(&items, &value)) {
        if (value.type == TF_AMQP_SYMBOL && tf_bytes_equal(value.bytes, symbol))
            return true;
    }
    return false;
}
