/*
 * Delivery states (3.4, and 4.5 of transactions) and errors (2.8.14).
 */
#include "amqp/composite.h"

#include <trefoil/amqp_performative.h>

#include "base/util.h"

#define IN_STATE(kind, name) TF_AMQP_FIELD_AT(kind, struct tf_amqp_state, name)
#define IN_ERROR(kind, name) TF_AMQP_FIELD_AT(kind, struct tf_amqp_error, name)

static const struct tf_amqp_field error_fields[] = {
    {IN_ERROR(CHOICE, condition), .flags = TF_AMQP_FIELD_MANDATORY},
    {IN_ERROR(STRING, description)},
    {IN_ERROR(MAP, info)},
};

static const struct tf_amqp_choice conditions[] = {
    {tf_amqp_condition_names, TF_AMQP_CONDITION_COUNT, TF_AMQP_OTHER_ERROR,
     offsetof(struct tf_amqp_error, symbol)},
};

static const struct tf_amqp_composite error_type[] = {
    {.code = 0x1D,
     .count = TF_COUNT(error_fields),
     .symbol = "amqp:error:list",
     .fields = error_fields,
     .choices = conditions},
};

/* The condition also tells that there is an error; reading leaves it alone until its field. */
const struct tf_amqp_set tf_amqp_error_set = {
    .types = error_type,
    .count = 1,
    .type_offset = offsetof(struct tf_amqp_error, condition),
    .type_size = sizeof(enum tf_amqp_condition),
    .unknown = TF_AMQP_DECODE_ERROR,
};

static const struct tf_amqp_set *const state_nested[] = {&tf_amqp_error_set};

static const struct tf_amqp_field received_fields[] = {
    {IN_STATE(UINT, section_number), .flags = TF_AMQP_FIELD_MANDATORY},
    {IN_STATE(ULONG, section_offset), .flags = TF_AMQP_FIELD_MANDATORY},
};
static const struct tf_amqp_field rejected_fields[] = {
    {IN_STATE(NESTED, error)},
};
static const struct tf_amqp_field modified_fields[] = {
    {IN_STATE(BOOL, delivery_failed)},
    {IN_STATE(BOOL, undeliverable_here)},
    {IN_STATE(MAP, annotations)},
};
static const struct tf_amqp_field declared_fields[] = {
    {IN_STATE(BINARY, txn_id), .flags = TF_AMQP_FIELD_MANDATORY},
};
static const struct tf_amqp_field transactional_fields[] = {
    {IN_STATE(BINARY, txn_id), .flags = TF_AMQP_FIELD_MANDATORY},
    {IN_STATE(DESCRIBED, outcome)},
};

#define STATE(number, type, name, list)                                        \
    {                                                                          \
        .code = (number), .value = (type), .symbol = (name), .fields = (list), \
        .count = TF_COUNT(list), .nested = state_nested                        \
    }

static const struct tf_amqp_composite states[] = {
    {.code = 0x24, .value = TF_AMQP_STATE_ACCEPTED, .symbol = "amqp:accepted:list"},
    {.code = 0x26, .value = TF_AMQP_STATE_RELEASED, .symbol = "amqp:released:list"},
    STATE(0x23, TF_AMQP_STATE_RECEIVED, "amqp:received:list", received_fields),
    STATE(0x25, TF_AMQP_STATE_REJECTED, "amqp:rejected:list", rejected_fields),
    STATE(0x27, TF_AMQP_STATE_MODIFIED, "amqp:modified:list", modified_fields),
    STATE(0x33, TF_AMQP_STATE_DECLARED, "amqp:declared:list", declared_fields),
    STATE(0x34, TF_AMQP_STATE_TRANSACTIONAL, "amqp:transactional-state:list", transactional_fields),
};

const struct tf_amqp_set tf_amqp_state_set = {
    .types = states,
    .count = TF_COUNT(states),
    .type_offset = offsetof(struct tf_amqp_state, type),
    .type_size = sizeof(enum tf_amqp_state_type),
    .other = TF_AMQP_STATE_OTHER,
    .raw = offsetof(struct tf_amqp_state, raw),
};

void tf_amqp_state_write(struct tf_writer *writer, const struct tf_amqp_state *state)
{
    if (state->type == TF_AMQP_STATE_NONE)
        tf_amqp_write_null(writer);
    else if (state->type == TF_AMQP_STATE_OTHER)
        tf_write_bytes(writer, state->raw);
    else
        tf_amqp_composite_write(writer, &tf_amqp_state_set, state, state->type);
}

enum tf_err tf_amqp_state_read(struct tf_bytes value, struct tf_amqp_state *ret)
{
    struct tf_amqp_state state = {.type = TF_AMQP_STATE_NONE};
    struct tf_reader reader = tf_reader_of(value);
    enum tf_amqp_condition condition;

    if (value.length == 1 && value.data[0] == TF_AMQP_CODE_NULL) {
        *ret = state;
        return TF_OK;
    }
    if (tf_amqp_composite_read(&reader, &tf_amqp_state_set, &state, NULL, &condition) ||
        tf_reader_left(&reader))
        return TF_PROTOCOL;
    *ret = state;
    return TF_OK;
}
