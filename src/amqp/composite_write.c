/*
 * The writer of composite types: the table of composite.h the other way round, with a stack for
 * composites in composites.
 */
#include "amqp/composite.h"

#include "base/assert.h"

#define NESTED_MAX 4u /* transfer, state, error */

/* A composite that is being written. */
struct open_list {
    const struct tf_amqp_composite *type;
    const uint8_t *base;
    unsigned next;  /* the field */
    unsigned count; /* up to the last that is there */
    size_t begin;   /* of the list */
};

static struct tf_bytes view_of(const uint8_t *at)
{
    struct tf_bytes view;

    memcpy(&view, at, sizeof(view));
    return view;
}

/* The type of the composite in `base`; NULL: there is none. */
static const struct tf_amqp_composite *type_of(const struct tf_amqp_set *set, const uint8_t *base)
{
    uint64_t value = tf_amqp_load(base + set->type_offset, set->type_size);

    if (set->types[0].value) /* several types, told apart */
        return tf_amqp_composite_find(set, value);
    return value ? &set->types[0] : NULL;
}

/* True if a nested field is to be written. */
static bool nested_present(const struct tf_amqp_set *set, const uint8_t *base)
{
    uint64_t value = tf_amqp_load(base + set->type_offset, set->type_size);

    return type_of(set, base) || (set->other && value == set->other);
}

/* True if a field must be written, when a later one isn't. */
static bool present(const struct tf_amqp_composite *type, const struct tf_amqp_field *field,
                    const uint8_t *base)
{
    if (field->flags & TF_AMQP_FIELD_HAS)
        return *(const bool *)(base + field->has);
    if (field->flags & TF_AMQP_FIELD_MANDATORY)
        return true;
    if (field->kind <= TF_AMQP_FIELD_CHOICE)
        return tf_amqp_load(base + field->offset, field->size) != tf_amqp_preset(field);
    if (field->kind < TF_AMQP_FIELD_NESTED)
        return view_of(base + field->offset).length > 0;
    return nested_present(type->nested[field->which], base + field->offset);
}

static void choice_write(struct tf_writer *writer, const struct tf_amqp_choice *choice,
                         uint64_t number, const uint8_t *base)
{
    if (number < choice->count && choice->names[number])
        tf_amqp_write_symbol(writer, tf_bytes_str(choice->names[number]));
    else if (choice->other != 0xFF)
        tf_amqp_write_symbol(writer, view_of(base + choice->symbol));
    else
        tf_amqp_write_null(writer);
}

/* Writes a field that is no composite. */
static void field_write(struct tf_writer *writer, const struct tf_amqp_composite *type,
                        const struct tf_amqp_field *field, const uint8_t *base)
{
    const uint8_t *at = base + field->offset;

    switch (field->kind) {
    case TF_AMQP_FIELD_BOOL:
        tf_amqp_write_bool(writer, tf_amqp_load(at, field->size) != 0);
        break;
    case TF_AMQP_FIELD_UBYTE:
        tf_amqp_write_ubyte(writer, (uint8_t)tf_amqp_load(at, field->size));
        break;
    case TF_AMQP_FIELD_USHORT:
        tf_amqp_write_ushort(writer, (uint16_t)tf_amqp_load(at, field->size));
        break;
    case TF_AMQP_FIELD_UINT:
        tf_amqp_write_uint(writer, (uint32_t)tf_amqp_load(at, field->size));
        break;
    case TF_AMQP_FIELD_ULONG:
        tf_amqp_write_ulong(writer, tf_amqp_load(at, field->size));
        break;
    case TF_AMQP_FIELD_TIMESTAMP:
        tf_amqp_write_timestamp(writer, (int64_t)tf_amqp_load(at, field->size));
        break;
    case TF_AMQP_FIELD_CHOICE:
        choice_write(writer, &type->choices[field->which], tf_amqp_load(at, field->size), base);
        break;
    case TF_AMQP_FIELD_BINARY:
        tf_amqp_write_binary(writer, view_of(at));
        break;
    case TF_AMQP_FIELD_STRING:
    case TF_AMQP_FIELD_ADDRESS:
        tf_amqp_write_string(writer, view_of(at));
        break;
    case TF_AMQP_FIELD_SYMBOL:
        tf_amqp_write_symbol(writer, view_of(at));
        break;
    default:
        if (view_of(at).length)
            tf_write_bytes(writer, view_of(at));
        else
            tf_amqp_write_null(writer);
    }
}

/* Begins a composite. */
static struct open_list open_write(struct tf_writer *writer, const struct tf_amqp_composite *type,
                                   const uint8_t *base)
{
    struct open_list list = {.type = type, .base = base, .count = type->count};

    while (list.count && !present(type, &type->fields[list.count - 1], base))
        list.count--;
    tf_amqp_write_descriptor(writer, type->code);
    if (list.count)
        list.begin = tf_amqp_write_list_begin(writer);
    else /* begun as a longer one it would take room that it does not need */
        tf_write_u8(writer, TF_AMQP_CODE_LIST0);
    return list;
}

void tf_amqp_composite_write(struct tf_writer *writer, const struct tf_amqp_set *set,
                             const void *base, unsigned value)
{
    const struct tf_amqp_composite *type = tf_amqp_composite_find(set, value);
    struct open_list lists[NESTED_MAX];
    unsigned depth = 0;

    tf_assert(type);
    lists[depth++] = open_write(writer, type, base);
    while (depth) {
        struct open_list *list = &lists[depth - 1];

        if (list->next == list->count) {
            if (list->count)
                tf_amqp_write_list_end(writer, list->begin, list->count);
            depth--;
            continue;
        }
        const struct tf_amqp_field *field = &list->type->fields[list->next++];
        const uint8_t *at = list->base + field->offset;
        if (!present(list->type, field, list->base)) {
            tf_amqp_write_null(writer);
        } else if (field->kind != TF_AMQP_FIELD_NESTED) {
            field_write(writer, list->type, field, list->base);
        } else {
            const struct tf_amqp_set *nested = list->type->nested[field->which];

            type = type_of(nested, at);
            if (!type) {
                tf_write_bytes(writer, view_of(at + nested->raw));
            } else {
                tf_assert(depth < NESTED_MAX);
                lists[depth++] = open_write(writer, type, at);
            }
        }
    }
}
