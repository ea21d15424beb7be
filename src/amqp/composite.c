/*
 * The reader of composite types. A field that is a composite itself waits in a short queue until
 * the fields around it are done, so nothing recurses.
 */
#include "amqp/composite.h"

#define PENDING_MAX 6u /* attach: two termini; a state: one error */

/* A composite whose head has been read. */
struct pending {
    const struct tf_amqp_composite *type;
    uint8_t *base;
    struct tf_reader fields;
    uint32_t count;
};

struct queue {
    struct pending pending[PENDING_MAX];
    unsigned count;
};

/* The type of each kind of field that is a primitive. */
static const uint8_t kind_types[] = {
    [TF_AMQP_FIELD_BOOL] = TF_AMQP_BOOLEAN,   [TF_AMQP_FIELD_UBYTE] = TF_AMQP_UBYTE,
    [TF_AMQP_FIELD_USHORT] = TF_AMQP_USHORT,  [TF_AMQP_FIELD_UINT] = TF_AMQP_UINT,
    [TF_AMQP_FIELD_ULONG] = TF_AMQP_ULONG,    [TF_AMQP_FIELD_TIMESTAMP] = TF_AMQP_TIMESTAMP,
    [TF_AMQP_FIELD_CHOICE] = TF_AMQP_SYMBOL,  [TF_AMQP_FIELD_BINARY] = TF_AMQP_BINARY,
    [TF_AMQP_FIELD_STRING] = TF_AMQP_STRING,  [TF_AMQP_FIELD_SYMBOL] = TF_AMQP_SYMBOL,
    [TF_AMQP_FIELD_ADDRESS] = TF_AMQP_STRING,
};

const struct tf_amqp_composite *tf_amqp_composite_find(const struct tf_amqp_set *set,
                                                       uint64_t value)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (set->types[i].value == value)
            return &set->types[i];
    }
    return NULL;
}

/* The type of a set that a descriptor names (1.5: by number or symbol); NULL: none. */
static const struct tf_amqp_composite *described(const struct tf_amqp_set *set,
                                                 const struct tf_amqp_value *descriptor)
{
    for (unsigned i = 0; i < set->count; i++) {
        const struct tf_amqp_composite *type = &set->types[i];

        if (descriptor->type == TF_AMQP_ULONG
                ? descriptor->number == type->code
                : tf_bytes_equal(descriptor->bytes, tf_bytes_str(type->symbol)))
            return type;
    }
    return NULL;
}

/* A value of a type that the set doesn't know. */
static enum tf_amqp_condition other_read(struct tf_reader *reader, const struct tf_amqp_set *set,
                                         const uint8_t *begin, uint8_t *base)
{
    struct tf_bytes raw;

    if (!set->other)
        return (enum tf_amqp_condition)set->unknown;
    reader->next = begin;
    if (tf_amqp_value_check(reader, &raw))
        return TF_AMQP_DECODE_ERROR;
    tf_amqp_store(base + set->type_offset, set->type_size, set->other);
    memcpy(base + set->raw, &raw, sizeof(raw));
    return TF_AMQP_NO_ERROR;
}

/* Reads descriptor and head of a composite; its fields are put off. */
static enum tf_amqp_condition head_read(struct tf_reader *reader, const struct tf_amqp_set *set,
                                        uint8_t *base, struct queue *queue)
{
    const uint8_t *begin = reader->next;
    struct tf_amqp_value descriptor, list;

    if (tf_read_u8(reader) != TF_AMQP_CODE_DESCRIBED ||
        !tf_amqp_content_read(reader, tf_read_u8(reader), &descriptor) ||
        (descriptor.type != TF_AMQP_ULONG && descriptor.type != TF_AMQP_SYMBOL))
        return TF_AMQP_DECODE_ERROR;
    const struct tf_amqp_composite *type = described(set, &descriptor);
    if (!type)
        return other_read(reader, set, begin, base);
    if (!tf_amqp_content_read(reader, tf_read_u8(reader), &list) || list.type != TF_AMQP_LIST ||
        list.count > type->count)
        return TF_AMQP_DECODE_ERROR;
    if (type->size)
        memset(base, 0, type->size);
    if (set->type_size)
        tf_amqp_store(base + set->type_offset, set->type_size, type->value);
    if (queue->count == PENDING_MAX)
        return TF_AMQP_DECODE_ERROR;
    queue->pending[queue->count++] =
        (struct pending){type, base, tf_reader_of(list.bytes), list.count};
    return TF_AMQP_NO_ERROR;
}

/* The number of a symbol. */
static enum tf_amqp_condition choice_read(const struct tf_amqp_choice *choice,
                                          const struct tf_amqp_field *field, struct tf_bytes symbol,
                                          uint8_t *base)
{
    unsigned number = 0;

    while (number < choice->count &&
           (!choice->names[number] || !tf_bytes_equal(symbol, tf_bytes_str(choice->names[number]))))
        number++;
    if (number == choice->count) {
        if (choice->other == 0xFF)
            return TF_AMQP_INVALID_FIELD;
        number = choice->other;
    }
    if (choice->other != 0xFF)
        memcpy(base + choice->symbol, &symbol, sizeof(symbol));
    tf_amqp_store(base + field->offset, field->size, number);
    return TF_AMQP_NO_ERROR;
}

/* A field of a primitive type. */
static enum tf_amqp_condition primitive_read(struct pending *pending,
                                             const struct tf_amqp_field *field)
{
    struct tf_reader *reader = &pending->fields;
    struct tf_amqp_value value;

    if (!tf_amqp_content_read(reader, tf_read_u8(reader), &value))
        return TF_AMQP_DECODE_ERROR;
    if (value.type != kind_types[field->kind])
        return field->kind == TF_AMQP_FIELD_ADDRESS ? TF_AMQP_INVALID_FIELD : TF_AMQP_DECODE_ERROR;
    if (field->kind == TF_AMQP_FIELD_CHOICE)
        return choice_read(&pending->type->choices[field->which], field, value.bytes,
                           pending->base);
    if (field->kind < TF_AMQP_FIELD_CHOICE) {
        if (field->limit && value.number > field->limit)
            return TF_AMQP_INVALID_FIELD;
        tf_amqp_store(pending->base + field->offset, field->size, value.number);
        return TF_AMQP_NO_ERROR;
    }
    if (field->limit && value.bytes.length > field->limit)
        return TF_AMQP_INVALID_FIELD;
    memcpy(pending->base + field->offset, &value.bytes, sizeof(value.bytes));
    return TF_AMQP_NO_ERROR;
}

/* True if a checked value is of the type that a field kept encoded must have. */
static bool encoded_fits(uint8_t kind, struct tf_bytes encoded)
{
    struct tf_amqp_value value;

    if (tf_amqp_value_of(encoded, &value))
        return false;
    if (kind == TF_AMQP_FIELD_DESCRIBED)
        return value.descriptors > 0;
    if (value.descriptors)
        return false;
    switch (kind) {
    case TF_AMQP_FIELD_MAP:
        return value.type == TF_AMQP_MAP;
    case TF_AMQP_FIELD_SYMBOLS:
        return value.type == TF_AMQP_SYMBOL ||
               (value.type == TF_AMQP_ARRAY &&
                tf_amqp_code_type(tf_amqp_items_of(&value).code) == TF_AMQP_SYMBOL);
    default:
        return value.type == TF_AMQP_ULONG || value.type == TF_AMQP_UUID ||
               value.type == TF_AMQP_BINARY || value.type == TF_AMQP_STRING;
    }
}

/* A field that stays encoded. */
static enum tf_amqp_condition encoded_read(struct pending *pending,
                                           const struct tf_amqp_field *field)
{
    struct tf_bytes encoded;

    if (tf_amqp_value_check(&pending->fields, &encoded) || !encoded_fits(field->kind, encoded))
        return TF_AMQP_DECODE_ERROR;
    memcpy(pending->base + field->offset, &encoded, sizeof(encoded));
    return TF_AMQP_NO_ERROR;
}

/* Reads all fields of a composite; those not there get their default. */
static enum tf_amqp_condition fields_read(struct pending *pending, struct queue *queue)
{
    const struct tf_amqp_composite *type = pending->type;
    struct tf_reader *reader = &pending->fields;
    enum tf_amqp_condition condition = TF_AMQP_NO_ERROR;

    for (unsigned i = 0; i < type->count && !condition; i++) {
        const struct tf_amqp_field *field = &type->fields[i];

        if (i < pending->count && !tf_reader_left(reader))
            return TF_AMQP_DECODE_ERROR;
        if (i >= pending->count || *reader->next == TF_AMQP_CODE_NULL) {
            reader->next += i < pending->count;
            if (field->flags & TF_AMQP_FIELD_MANDATORY)
                return TF_AMQP_INVALID_FIELD;
            if (field->preset)
                tf_amqp_store(pending->base + field->offset, field->size, tf_amqp_preset(field));
            continue;
        }
        if (field->flags & TF_AMQP_FIELD_HAS)
            *(bool *)(pending->base + field->has) = true;
        if (field->kind <= TF_AMQP_FIELD_ADDRESS) {
            condition = primitive_read(pending, field);
        } else if (field->kind < TF_AMQP_FIELD_NESTED) {
            condition = encoded_read(pending, field);
        } else {
            const struct tf_amqp_set *set = type->nested[field->which];
            condition = head_read(reader, set, pending->base + field->offset, queue);
        }
    }
    if (!condition && tf_reader_left(reader))
        return TF_AMQP_DECODE_ERROR;
    return condition;
}

enum tf_err tf_amqp_composite_read(struct tf_reader *reader, const struct tf_amqp_set *set,
                                   void *base, const struct tf_amqp_composite **ret_type,
                                   enum tf_amqp_condition *ret_condition)
{
    struct queue queue;

    queue.count = 0;
    enum tf_amqp_condition condition = head_read(reader, set, base, &queue);
    for (unsigned i = 0; i < queue.count && !condition; i++)
        condition = fields_read(&queue.pending[i], &queue);
    if (!condition) {
        if (ret_type)
            *ret_type = queue.count ? queue.pending[0].type : NULL;
        return TF_OK;
    }
    *ret_condition = condition;
    return tf_amqp_fail(reader);
}
