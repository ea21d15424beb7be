/*
 * The reader of messages (3.2): the order of sections, how often each may come, and what is in
 * them.
 *
 * A data section costs a look at its head; everything else is checked as a whole.
 */
#include <trefoil/amqp_message.h>

#include "amqp/section.h"
#include "base/util.h"

/* A message that is being read. */
struct reading {
    struct tf_reader in;
    struct tf_amqp_message *message;
    uint32_t empty_items_left; /* of all arrays in the message */
    unsigned last;             /* the section before; 0: none */
    const uint8_t *bare;       /* where properties or what follows them begin; NULL: not yet */
};

static const char *const section_names[] = {
    "amqp:header:list",
    "amqp:delivery-annotations:map",
    "amqp:message-annotations:map",
    "amqp:properties:list",
    "amqp:application-properties:map",
    "amqp:data:binary",
    "amqp:amqp-sequence:list",
    "amqp:amqp-value:*",
    "amqp:footer:map",
};

/* Reads the descriptor of a section; 0: it is not one. */
static unsigned section_read(struct tf_reader *in)
{
    struct tf_amqp_value descriptor;

    if (tf_reader_left(in) >= 3 && in->next[0] == TF_AMQP_CODE_DESCRIBED &&
        in->next[1] == TF_AMQP_CODE_SMALL_ULONG && in->next[2] >= TF_AMQP_HEADER &&
        in->next[2] <= TF_AMQP_FOOTER) { /* as nearly all of them are */
        in->next += 3;
        return in->next[-1];
    }
    if (tf_read_u8(in) != TF_AMQP_CODE_DESCRIBED ||
        !tf_amqp_content_read(in, tf_read_u8(in), &descriptor))
        return 0;
    if (descriptor.type == TF_AMQP_ULONG)
        return descriptor.number >= TF_AMQP_HEADER && descriptor.number <= TF_AMQP_FOOTER
                   ? (unsigned)descriptor.number
                   : 0;
    if (descriptor.type != TF_AMQP_SYMBOL)
        return 0;
    for (unsigned i = 0; i < TF_COUNT(section_names); i++) {
        if (tf_bytes_equal(descriptor.bytes, tf_bytes_str(section_names[i])))
            return TF_AMQP_HEADER + i;
    }
    return 0;
}

/* True if `section` may come after `last` (3.2). */
static bool in_order(unsigned last, unsigned section)
{
    bool body = section >= TF_AMQP_DATA && section <= TF_AMQP_AMQP_VALUE;
    bool body_before = last >= TF_AMQP_DATA && last <= TF_AMQP_AMQP_VALUE;

    if (body && body_before) /* several data, or several sequences, but nothing mixed */
        return section == last && section != TF_AMQP_AMQP_VALUE;
    return section > last;
}

/* A section's content that is a map. */
static enum tf_amqp_condition map_read(struct reading *reading, struct tf_bytes *ret)
{
    uint8_t code = tf_reader_left(&reading->in) ? *reading->in.next : 0;

    if (tf_amqp_code_type(code) != TF_AMQP_MAP ||
        tf_amqp_check_counted(&reading->in, ret, &reading->empty_items_left))
        return TF_AMQP_DECODE_ERROR;
    return TF_AMQP_NO_ERROR;
}

/* Only simple values may be application properties, and their keys are strings (3.2.5). */
static enum tf_amqp_condition application_check(struct tf_bytes map)
{
    struct tf_amqp_value compound, key, value;

    if (tf_amqp_value_of(map, &compound))
        return TF_AMQP_DECODE_ERROR;
    struct tf_amqp_items items = tf_amqp_items_of(&compound);
    while (tf_amqp_pair_next(&items, &key, &value)) {
        if (key.type != TF_AMQP_STRING)
            return TF_AMQP_DECODE_ERROR;
    }
    return TF_AMQP_NO_ERROR;
}

static enum tf_amqp_condition body_read(struct reading *reading, unsigned section)
{
    struct tf_amqp_message *message = reading->message;
    struct tf_amqp_value value;
    struct tf_bytes encoded;

    if (section == TF_AMQP_DATA) {
        if (!tf_amqp_content_read(&reading->in, tf_read_u8(&reading->in), &value) ||
            value.type != TF_AMQP_BINARY)
            return TF_AMQP_DECODE_ERROR;
        bool several = message->body_type != TF_AMQP_BODY_NONE;
        message->body_type = several ? TF_AMQP_BODY_DATAS : TF_AMQP_BODY_DATA;
        message->data = several ? (struct tf_bytes){NULL, 0} : value.bytes;
        return TF_AMQP_NO_ERROR;
    }
    uint8_t code = tf_reader_left(&reading->in) ? *reading->in.next : 0;
    if (section == TF_AMQP_AMQP_SEQUENCE && tf_amqp_code_type(code) != TF_AMQP_LIST)
        return TF_AMQP_DECODE_ERROR;
    if (tf_amqp_check_counted(&reading->in, &encoded, &reading->empty_items_left))
        return TF_AMQP_DECODE_ERROR;
    message->body_type = section == TF_AMQP_AMQP_VALUE ? TF_AMQP_BODY_VALUE : TF_AMQP_BODY_SEQUENCE;
    if (section == TF_AMQP_AMQP_VALUE)
        message->value = encoded;
    return TF_AMQP_NO_ERROR;
}

/* A section that is a composite type, from its descriptor on. */
static enum tf_amqp_condition composite_section(struct reading *reading, const uint8_t *begin,
                                                const struct tf_amqp_set *set, void *base)
{
    enum tf_amqp_condition condition = TF_AMQP_NO_ERROR;

    reading->in.next = begin;
    if (tf_amqp_composite_read(&reading->in, set, base, NULL, &condition))
        return condition;
    return TF_AMQP_NO_ERROR;
}

/* The content of a section whose descriptor has been read. */
static enum tf_amqp_condition content_read(struct reading *reading, unsigned section,
                                           const uint8_t *begin)
{
    struct tf_amqp_message *message = reading->message;
    enum tf_amqp_condition condition;

    switch (section) {
    case TF_AMQP_HEADER:
        return composite_section(reading, begin, &tf_amqp_header_set, &message->header);
    case TF_AMQP_PROPERTIES:
        return composite_section(reading, begin, &tf_amqp_properties_set, &message->properties);
    case TF_AMQP_DELIVERY_ANNOTATIONS:
        return map_read(reading, &message->delivery_annotations);
    case TF_AMQP_MESSAGE_ANNOTATIONS:
        return map_read(reading, &message->message_annotations);
    case TF_AMQP_APPLICATION_PROPERTIES:
        condition = map_read(reading, &message->application_properties);
        return condition ? condition : application_check(message->application_properties);
    case TF_AMQP_FOOTER:
        return map_read(reading, &message->footer);
    default:
        return body_read(reading, section);
    }
}

/* Notes where a section was. */
static void section_note(struct tf_amqp_message *message, unsigned section, struct tf_bytes whole)
{
    switch (section) {
    case TF_AMQP_HEADER:
        message->has_header = true;
        message->header_section = whole;
        break;
    case TF_AMQP_DELIVERY_ANNOTATIONS:
        message->delivery_annotations_section = whole;
        break;
    case TF_AMQP_MESSAGE_ANNOTATIONS:
        message->message_annotations_section = whole;
        break;
    case TF_AMQP_PROPERTIES:
        message->properties_section = whole;
        break;
    case TF_AMQP_APPLICATION_PROPERTIES:
        message->application_properties_section = whole;
        break;
    case TF_AMQP_FOOTER:
        message->footer_section = whole;
        break;
    default:
        if (!message->body.length)
            message->body.data = whole.data;
        message->body.length = (size_t)(whole.data + whole.length - message->body.data);
    }
}

/* Reads one section, the next in order. */
static enum tf_amqp_condition section_next(struct reading *reading)
{
    const uint8_t *begin = reading->in.next;
    unsigned section = section_read(&reading->in);

    if (!section || !in_order(reading->last, section))
        return TF_AMQP_DECODE_ERROR;
    reading->last = section;
    enum tf_amqp_condition condition = content_read(reading, section, begin);
    if (condition)
        return condition;
    section_note(reading->message, section, tf_amqp_since(&reading->in, begin));
    if (section < TF_AMQP_PROPERTIES || section == TF_AMQP_FOOTER)
        return TF_AMQP_NO_ERROR;
    if (!reading->bare)
        reading->bare = begin;
    reading->message->bare = tf_amqp_since(&reading->in, reading->bare);
    return TF_AMQP_NO_ERROR;
}

enum tf_err tf_amqp_message_read(struct tf_bytes in, struct tf_amqp_message *ret,
                                 enum tf_amqp_condition *ret_condition)
{
    struct reading reading = {
        .in = tf_reader_of(in), .message = ret, .empty_items_left = TF_AMQP_EMPTY_ITEMS_MAX};

    tf_zero(ret, sizeof(*ret));
    ret->header.priority = TF_AMQP_PRIORITY_DEFAULT;
    while (tf_reader_left(&reading.in)) {
        enum tf_amqp_condition condition = section_next(&reading);

        if (condition) {
            *ret_condition = condition;
            return TF_PROTOCOL;
        }
    }
    return TF_OK;
}

bool tf_amqp_body_next(struct tf_reader *body, struct tf_amqp_value *ret)
{
    struct tf_amqp_value value;

    if (!tf_reader_left(body) || !section_read(body) || tf_amqp_value_read(body, &value))
        return false;
    *ret = value;
    return true;
}
