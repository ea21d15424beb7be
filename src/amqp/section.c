/*
 * Header (3.2.1) and properties (3.2.4) of a message by table, and the writers of sections.
 */
#include "amqp/section.h"

#include <trefoil/amqp_message.h>

#include "base/util.h"

#define IN_HEADER(kind, name) TF_AMQP_FIELD_AT(kind, struct tf_amqp_header, name)
#define IN_PROPERTIES(kind, name) TF_AMQP_FIELD_AT(kind, struct tf_amqp_properties, name)
#define OPTIONAL(kind, name) \
    IN_PROPERTIES(kind, name), TF_AMQP_FIELD_IF(struct tf_amqp_properties, has_##name)

static const struct tf_amqp_field header_fields[] = {
    {IN_HEADER(BOOL, durable)},
    {IN_HEADER(UBYTE, priority), .preset = TF_AMQP_PRIORITY_DEFAULT},
    {.kind = TF_AMQP_FIELD_UINT,
     .size = sizeof(uint32_t),
     .offset = offsetof(struct tf_amqp_header, ttl_ms),
     TF_AMQP_FIELD_IF(struct tf_amqp_header, has_ttl)},
    {IN_HEADER(BOOL, first_acquirer)},
    {IN_HEADER(UINT, delivery_count)},
};

static const struct tf_amqp_field properties_fields[] = {
    {IN_PROPERTIES(ID, message_id)},
    {IN_PROPERTIES(BINARY, user_id)},
    {OPTIONAL(ADDRESS, to)},
    {IN_PROPERTIES(STRING, subject)},
    {OPTIONAL(ADDRESS, reply_to)},
    {IN_PROPERTIES(ID, correlation_id)},
    {IN_PROPERTIES(SYMBOL, content_type)},
    {IN_PROPERTIES(SYMBOL, content_encoding)},
    {OPTIONAL(TIMESTAMP, absolute_expiry_time)},
    {OPTIONAL(TIMESTAMP, creation_time)},
    {OPTIONAL(STRING, group_id)},
    {OPTIONAL(UINT, group_sequence)},
    {IN_PROPERTIES(STRING, reply_to_group_id)},
};

#define SECTION(number, name, list, type)                                        \
    {                                                                            \
        .code = (number), .value = (number), .symbol = (name), .fields = (list), \
        .count = TF_COUNT(list), .size = sizeof(struct type)                     \
    }

static const struct tf_amqp_composite header_type[] = {
    SECTION(TF_AMQP_HEADER, "amqp:header:list", header_fields, tf_amqp_header),
};
static const struct tf_amqp_composite properties_type[] = {
    SECTION(TF_AMQP_PROPERTIES, "amqp:properties:list", properties_fields, tf_amqp_properties),
};

const struct tf_amqp_set tf_amqp_header_set = {
    .types = header_type, .count = 1, .unknown = TF_AMQP_DECODE_ERROR};
const struct tf_amqp_set tf_amqp_properties_set = {
    .types = properties_type, .count = 1, .unknown = TF_AMQP_DECODE_ERROR};

void tf_amqp_write_header(struct tf_writer *writer, const struct tf_amqp_header *header)
{
    tf_amqp_composite_write(writer, &tf_amqp_header_set, header, TF_AMQP_HEADER);
}

void tf_amqp_write_properties(struct tf_writer *writer, const struct tf_amqp_properties *properties)
{
    tf_amqp_composite_write(writer, &tf_amqp_properties_set, properties, TF_AMQP_PROPERTIES);
}

void tf_amqp_write_data_head(struct tf_writer *writer, size_t length)
{
    tf_amqp_write_section(writer, TF_AMQP_DATA);
    tf_amqp_write_binary_head(writer, length);
}

void tf_amqp_write_value_string(struct tf_writer *writer, struct tf_bytes utf8)
{
    tf_amqp_write_section(writer, TF_AMQP_AMQP_VALUE);
    tf_amqp_write_string(writer, utf8);
}
