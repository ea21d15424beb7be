/*
 * The performatives (2.7), termini (3.5.3, 3.5.4, 4.5.1) and SASL frames (5.3.3): their fields as
 * tables, in the order of the specification. What comes with each message is read by hand if it is
 * in one of its common encodings.
 */
#include "amqp/composite.h"

#include <trefoil/amqp_performative.h>

#include "base/util.h"

/* `FIELD(open, STRING, hostname)`: of struct tf_amqp_open. OPTIONAL: with a has_... of its own. */
#define FIELD(type, kind, name) TF_AMQP_FIELD_AT(kind, struct tf_amqp_##type, name)
#define MUST .flags = TF_AMQP_FIELD_MANDATORY
#define OPTIONAL(type, kind, name) \
    FIELD(type, kind, name), TF_AMQP_FIELD_IF(struct tf_amqp_##type, has_##name)
#define MAXIMUM .preset = 0xFF

static const struct tf_amqp_field open_fields[] = {
    {FIELD(open, STRING, container_id), MUST},    {FIELD(open, STRING, hostname)},
    {FIELD(open, UINT, max_frame_size), MAXIMUM}, {FIELD(open, USHORT, channel_max), MAXIMUM},
    {FIELD(open, UINT, idle_time_out_ms)},        {FIELD(open, SYMBOLS, outgoing_locales)},
    {FIELD(open, SYMBOLS, incoming_locales)},     {FIELD(open, SYMBOLS, offered_capabilities)},
    {FIELD(open, SYMBOLS, desired_capabilities)}, {FIELD(open, MAP, properties)},
};

static const struct tf_amqp_field begin_fields[] = {
    {OPTIONAL(begin, USHORT, remote_channel)},     {FIELD(begin, UINT, next_outgoing_id), MUST},
    {FIELD(begin, UINT, incoming_window), MUST},   {FIELD(begin, UINT, outgoing_window), MUST},
    {FIELD(begin, UINT, handle_max), MAXIMUM},     {FIELD(begin, SYMBOLS, offered_capabilities)},
    {FIELD(begin, SYMBOLS, desired_capabilities)}, {FIELD(begin, MAP, properties)},
};

/* ---- termini ---- */

static const char *const expiry_names[] = {"session-end", "link-detach", "connection-close",
                                           "never"};
static const char *const distribution_names[] = {NULL, "move", "copy"};

enum { CHOICE_EXPIRY, CHOICE_DISTRIBUTION };
static const struct tf_amqp_choice terminus_choices[] = {
    [CHOICE_EXPIRY] = {.names = expiry_names, .count = TF_COUNT(expiry_names), .other = 0xFF},
    [CHOICE_DISTRIBUTION] = {.names = distribution_names,
                             .count = TF_COUNT(distribution_names),
                             .other = 0xFF},
};

/* The fields that source and target begin with. */
#define TERMINUS_FIELDS                                                             \
    {OPTIONAL(terminus, ADDRESS, address)},                                         \
        {FIELD(terminus, UINT, durable), .limit = TF_AMQP_DURABLE_UNSETTLED_STATE}, \
        {FIELD(terminus, CHOICE, expiry_policy), .which = CHOICE_EXPIRY},           \
        {FIELD(terminus, UINT, timeout_s)}, {FIELD(terminus, BOOL, dynamic)},       \
    {                                                                               \
        FIELD(terminus, MAP, dynamic_node_properties)                               \
    }

static const struct tf_amqp_field source_fields[] = {
    TERMINUS_FIELDS,
    {FIELD(terminus, CHOICE, distribution), .which = CHOICE_DISTRIBUTION},
    {FIELD(terminus, MAP, filter)},
    {FIELD(terminus, DESCRIBED, default_outcome)},
    {FIELD(terminus, SYMBOLS, outcomes)},
    {FIELD(terminus, SYMBOLS, capabilities)},
};
static const struct tf_amqp_field target_fields[] = {
    TERMINUS_FIELDS,
    {FIELD(terminus, SYMBOLS, capabilities)},
};
static const struct tf_amqp_field coordinator_fields[] = {
    {FIELD(terminus, SYMBOLS, capabilities)},
};

/* `size` 0: a part of attach. */
#define COMPOSITE(number, name, list) \
    .code = (number), .value = (number), .symbol = (name), .fields = (list), .count = TF_COUNT(list)

static const struct tf_amqp_composite sources[] = {
    {COMPOSITE(TF_AMQP_SOURCE, "amqp:source:list", source_fields), .choices = terminus_choices},
};
static const struct tf_amqp_composite targets[] = {
    {COMPOSITE(TF_AMQP_TARGET, "amqp:target:list", target_fields), .choices = terminus_choices},
    {COMPOSITE(TF_AMQP_COORDINATOR, "amqp:coordinator:list", coordinator_fields)},
};

#define TERMINUS_SET(list)                                  \
    .types = (list), .count = TF_COUNT(list),               \
    .type_offset = offsetof(struct tf_amqp_terminus, type), \
    .type_size = sizeof(enum tf_amqp_terminus_type), .unknown = TF_AMQP_INVALID_FIELD

static const struct tf_amqp_set source_set = {TERMINUS_SET(sources)};
static const struct tf_amqp_set target_set = {TERMINUS_SET(targets)};

enum { NESTED_SOURCE, NESTED_TARGET, NESTED_STATE, NESTED_ERROR };
static const struct tf_amqp_set *const nested[] = {
    [NESTED_SOURCE] = &source_set,
    [NESTED_TARGET] = &target_set,
    [NESTED_STATE] = &tf_amqp_state_set,
    [NESTED_ERROR] = &tf_amqp_error_set,
};

/* ---- links ---- */

static const struct tf_amqp_field attach_fields[] = {
    {FIELD(attach, STRING, name), MUST},
    {FIELD(attach, UINT, handle), MUST},
    {FIELD(attach, BOOL, role), MUST},
    {FIELD(attach, UBYTE, snd_settle_mode), .limit = TF_AMQP_SND_MIXED,
     .preset = TF_AMQP_SND_MIXED},
    {FIELD(attach, UBYTE, rcv_settle_mode), .limit = TF_AMQP_RCV_SECOND},
    {FIELD(attach, NESTED, source), .which = NESTED_SOURCE},
    {FIELD(attach, NESTED, target), .which = NESTED_TARGET},
    {FIELD(attach, MAP, unsettled)},
    {FIELD(attach, BOOL, incomplete_unsettled)},
    {OPTIONAL(attach, UINT, initial_delivery_count)},
    {FIELD(attach, ULONG, max_message_size)},
    {FIELD(attach, SYMBOLS, offered_capabilities)},
    {FIELD(attach, SYMBOLS, desired_capabilities)},
    {FIELD(attach, MAP, properties)},
};

static const struct tf_amqp_field flow_fields[] = {
    {OPTIONAL(flow, UINT, next_incoming_id)},
    {FIELD(flow, UINT, incoming_window), MUST},
    {FIELD(flow, UINT, next_outgoing_id), MUST},
    {FIELD(flow, UINT, outgoing_window), MUST},
    {OPTIONAL(flow, UINT, handle)},
    {OPTIONAL(flow, UINT, delivery_count)},
    {OPTIONAL(flow, UINT, link_credit)},
    {OPTIONAL(flow, UINT, available)},
    {FIELD(flow, BOOL, drain)},
    {FIELD(flow, BOOL, echo)},
    {FIELD(flow, MAP, properties)},
};

static const struct tf_amqp_field transfer_fields[] = {
    {FIELD(transfer, UINT, handle), MUST},
    {OPTIONAL(transfer, UINT, delivery_id)},
    {OPTIONAL(transfer, BINARY, delivery_tag), .limit = TF_AMQP_TAG_MAX},
    {OPTIONAL(transfer, UINT, message_format)},
    {OPTIONAL(transfer, BOOL, settled)},
    {FIELD(transfer, BOOL, more)},
    {OPTIONAL(transfer, UBYTE, rcv_settle_mode), .limit = TF_AMQP_RCV_SECOND},
    {FIELD(transfer, NESTED, state), .which = NESTED_STATE},
    {FIELD(transfer, BOOL, resume)},
    {FIELD(transfer, BOOL, aborted)},
    {FIELD(transfer, BOOL, batchable)},
};

static const struct tf_amqp_field disposition_fields[] = {
    {FIELD(disposition, BOOL, role), MUST},
    {FIELD(disposition, UINT, first), MUST},
    {OPTIONAL(disposition, UINT, last)},
    {FIELD(disposition, BOOL, settled)},
    {FIELD(disposition, NESTED, state), .which = NESTED_STATE},
    {FIELD(disposition, BOOL, batchable)},
};

static const struct tf_amqp_field detach_fields[] = {
    {FIELD(detach, UINT, handle), MUST},
    {FIELD(detach, BOOL, closed)},
    {FIELD(detach, NESTED, error), .which = NESTED_ERROR},
};

static const struct tf_amqp_field ending_fields[] = {
    {FIELD(ending, NESTED, error), .which = NESTED_ERROR},
};

/* ---- SASL ---- */

static const struct tf_amqp_field mechanisms_fields[] = {
    {FIELD(sasl_mechanisms, SYMBOLS, mechanisms), MUST},
};
static const struct tf_amqp_field init_fields[] = {
    {FIELD(sasl_init, SYMBOL, mechanism), MUST},
    {OPTIONAL(sasl_init, BINARY, initial_response)},
    {FIELD(sasl_init, STRING, hostname)},
};
static const struct tf_amqp_field message_fields[] = {
    {FIELD(sasl_message, BINARY, data), MUST},
};
static const struct tf_amqp_field outcome_fields[] = {
    {FIELD(sasl_result, UBYTE, code), MUST, .limit = TF_AMQP_SASL_SYS_TEMP},
    {FIELD(sasl_result, BINARY, additional_data)},
};

/* ---- all of them ---- */

#define FRAME(number, name, list, type)                                                       \
    {                                                                                         \
        COMPOSITE(number, "amqp:" name ":list", list), .size = sizeof(struct tf_amqp_##type), \
                                                       .nested = nested                       \
    }

/* The most frequent come first. */
static const struct tf_amqp_composite performatives[] = {
    FRAME(TF_AMQP_TRANSFER_FRAME, "transfer", transfer_fields, transfer),
    FRAME(TF_AMQP_DISPOSITION, "disposition", disposition_fields, disposition),
    FRAME(TF_AMQP_FLOW_FRAME, "flow", flow_fields, flow),
    FRAME(TF_AMQP_ATTACH_FRAME, "attach", attach_fields, attach),
    FRAME(TF_AMQP_DETACH, "detach", detach_fields, detach),
    FRAME(TF_AMQP_BEGIN_FRAME, "begin", begin_fields, begin),
    FRAME(TF_AMQP_END, "end", ending_fields, ending),
    FRAME(TF_AMQP_OPEN, "open", open_fields, open),
    FRAME(TF_AMQP_CLOSE, "close", ending_fields, ending),
};

static const struct tf_amqp_composite sasl_frames[] = {
    FRAME(TF_AMQP_SASL_MECHANISMS, "sasl-mechanisms", mechanisms_fields, sasl_mechanisms),
    FRAME(TF_AMQP_SASL_INIT, "sasl-init", init_fields, sasl_init),
    FRAME(TF_AMQP_SASL_CHALLENGE, "sasl-challenge", message_fields, sasl_message),
    FRAME(TF_AMQP_SASL_RESPONSE, "sasl-response", message_fields, sasl_message),
    FRAME(TF_AMQP_SASL_OUTCOME, "sasl-outcome", outcome_fields, sasl_result),
};

static const struct tf_amqp_set performative_set = {
    .types = performatives, .count = TF_COUNT(performatives), .unknown = TF_AMQP_NOT_IMPLEMENTED};
static const struct tf_amqp_set sasl_set = {
    .types = sasl_frames, .count = TF_COUNT(sasl_frames), .unknown = TF_AMQP_NOT_IMPLEMENTED};

/* ---- transfers and dispositions by hand ---- */

/* The fields of a list that have not been read. */
struct quick {
    const uint8_t *at, *end;
    uint32_t left;
};

/* The format code of the next field; null: it is not there. 0 stands for what is not read here. */
static uint8_t quick_code(struct quick *in)
{
    if (in->left == 0)
        return TF_AMQP_CODE_NULL;
    in->left--;
    return in->at < in->end ? *in->at++ : TF_AMQP_CODE_DESCRIBED;
}

/* An unsigned int or nothing; false: neither. */
static bool quick_uint(struct quick *in, bool *ret_there, uint32_t *ret)
{
    uint8_t code = quick_code(in);
    const uint8_t *at = in->at;

    *ret_there = code != TF_AMQP_CODE_NULL;
    *ret = 0;
    if (code == TF_AMQP_CODE_SMALL_UINT && at < in->end) {
        *ret = *at;
        in->at = at + 1;
        return true;
    }
    if (code == TF_AMQP_CODE_UINT && in->end - at >= 4) {
        *ret = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        in->at = at + 4;
        return true;
    }
    return code == TF_AMQP_CODE_NULL || code == TF_AMQP_CODE_UINT0;
}

/* A boolean or nothing; false: neither. */
static bool quick_bool(struct quick *in, bool *ret_there, bool *ret)
{
    uint8_t code = quick_code(in);

    if (code == TF_AMQP_CODE_BOOLEAN && in->at < in->end && *in->at <= 1)
        code = *in->at++ ? TF_AMQP_CODE_TRUE : TF_AMQP_CODE_FALSE;
    *ret_there = code != TF_AMQP_CODE_NULL;
    *ret = code == TF_AMQP_CODE_TRUE;
    return code == TF_AMQP_CODE_TRUE || code == TF_AMQP_CODE_FALSE || code == TF_AMQP_CODE_NULL;
}

/* A delivery-tag of a length that one may have, or nothing; false: neither. */
static bool quick_tag(struct quick *in, struct tf_amqp_transfer *ret)
{
    uint8_t code = quick_code(in);

    ret->has_delivery_tag = code != TF_AMQP_CODE_NULL;
    ret->delivery_tag = (struct tf_bytes){NULL, 0};
    if (code == TF_AMQP_CODE_NULL)
        return true;
    if (code != TF_AMQP_CODE_BINARY8 || in->at == in->end)
        return false;
    size_t length = *in->at++;
    if (length > TF_AMQP_TAG_MAX || length > (size_t)(in->end - in->at))
        return false;
    ret->delivery_tag = tf_bytes_of(in->at, length);
    in->at += length;
    return true;
}

/* What few transfers have: from rcv-settle-mode on. False: it takes the table. */
static bool quick_rest(struct quick *in, struct tf_amqp_transfer *ret)
{
    bool there;
    uint8_t code = quick_code(in);

    if (code == TF_AMQP_CODE_UBYTE && in->at < in->end && *in->at <= TF_AMQP_RCV_SECOND) {
        ret->has_rcv_settle_mode = true;
        ret->rcv_settle_mode = (enum tf_amqp_rcv_settle_mode) * in->at++;
    } else if (code != TF_AMQP_CODE_NULL) {
        return false;
    }
    return quick_code(in) == TF_AMQP_CODE_NULL && /* the state */
           quick_bool(in, &there, &ret->resume) && quick_bool(in, &there, &ret->aborted) &&
           quick_bool(in, &there, &ret->batchable);
}

/* The fields of a transfer's list; false: it takes the table. */
static bool quick_transfer(struct quick *in, struct tf_amqp_transfer *ret)
{
    bool there;

    if (!quick_uint(in, &there, &ret->handle) || !there ||
        !quick_uint(in, &ret->has_delivery_id, &ret->delivery_id) || !quick_tag(in, ret) ||
        !quick_uint(in, &ret->has_message_format, &ret->message_format) ||
        !quick_bool(in, &ret->has_settled, &ret->settled) || !quick_bool(in, &there, &ret->more))
        return false;
    ret->has_rcv_settle_mode = false;
    ret->rcv_settle_mode = TF_AMQP_RCV_FIRST;
    ret->state.type = TF_AMQP_STATE_NONE;
    ret->resume = ret->aborted = ret->batchable = false;
    return (in->left == 0 || quick_rest(in, ret)) && in->at == in->end;
}

/* Accepted, or no state; false: it takes the table. */
static bool quick_state(struct quick *in, struct tf_amqp_state *ret)
{
    static const uint8_t accepted[] = {TF_AMQP_CODE_SMALL_ULONG, 0x24, TF_AMQP_CODE_LIST0};
    const uint8_t *at = in->at;

    tf_zero(ret, sizeof(*ret));
    if (quick_code(in) == TF_AMQP_CODE_NULL)
        return true;
    if (in->end - at < 4 || *at != TF_AMQP_CODE_DESCRIBED ||
        memcmp(at + 1, accepted, sizeof(accepted)) != 0)
        return false;
    ret->type = TF_AMQP_STATE_ACCEPTED;
    in->at = at + 4;
    return true;
}

/* The fields of a disposition's list; false: it takes the table. */
static bool quick_disposition(struct quick *in, struct tf_amqp_disposition *ret)
{
    bool has_role, has_first, there, role;

    if (!quick_bool(in, &has_role, &role) || !quick_uint(in, &has_first, &ret->first) ||
        !has_role || !has_first || !quick_uint(in, &ret->has_last, &ret->last) ||
        !quick_bool(in, &there, &ret->settled) || !quick_state(in, &ret->state) ||
        !quick_bool(in, &there, &ret->batchable))
        return false;
    ret->role = role ? TF_AMQP_RECEIVER : TF_AMQP_SENDER;
    return in->at == in->end;
}

/* Begins the list behind a descriptor of three bytes; false: it is none, or not all there. */
static bool quick_list(struct tf_bytes body, struct quick *ret)
{
    const uint8_t *at = body.data;
    uint64_t size;

    if (at[3] == TF_AMQP_CODE_LIST8) {
        size = 5 + (uint64_t)at[4];
        *ret = (struct quick){.at = at + 6, .left = at[5]};
    } else if (at[3] == TF_AMQP_CODE_LIST && body.length >= 12) {
        struct tf_reader head = tf_reader_of(tf_bytes_of(at + 4, 8));

        size = 8 + (uint64_t)tf_read_u32(&head);
        *ret = (struct quick){.at = at + 12, .left = tf_read_u32(&head)};
    } else {
        return false;
    }
    if (size > body.length || size < (size_t)(ret->at - at))
        return false;
    ret->end = at + size;
    return true;
}

/*
 * Reads a transfer or a disposition in the encodings that senders use, because they come with each
 * message: what the table would read, in less time. False: it takes the table, and *ret is in
 * disorder.
 */
static bool quick_read(struct tf_bytes body, struct tf_amqp_performative *ret,
                       struct tf_bytes *ret_payload)
{
    struct quick in;

    if (body.length < 6 || body.data[0] != TF_AMQP_CODE_DESCRIBED ||
        body.data[1] != TF_AMQP_CODE_SMALL_ULONG)
        return false;
    ret->type = (enum tf_amqp_performative_type)body.data[2];
    if (ret->type == TF_AMQP_TRANSFER_FRAME) {
        if (!quick_list(body, &in) || in.left > TF_COUNT(transfer_fields) ||
            !quick_transfer(&in, &ret->transfer))
            return false;
    } else if (ret->type == TF_AMQP_DISPOSITION) {
        if (!quick_list(body, &in) || in.left > TF_COUNT(disposition_fields) ||
            in.end != body.data + body.length || !quick_disposition(&in, &ret->disposition))
            return false;
    } else {
        return false;
    }
    *ret_payload = tf_bytes_of(in.end, (size_t)(body.data + body.length - in.end));
    return true;
}

/* ---- frames ---- */

enum tf_err tf_amqp_performative_by_table(struct tf_bytes body, uint8_t frame_type,
                                          struct tf_amqp_performative *ret,
                                          struct tf_bytes *ret_payload,
                                          enum tf_amqp_condition *ret_condition)
{
    struct tf_reader reader = tf_reader_of(body);
    const struct tf_amqp_composite *type;

    if (frame_type > TF_AMQP_FRAME_SASL) {
        *ret_condition = TF_AMQP_NOT_IMPLEMENTED;
        return TF_PROTOCOL;
    }
    if (tf_amqp_composite_read(&reader, frame_type == TF_AMQP_FRAME ? &performative_set : &sasl_set,
                               &ret->open, &type, ret_condition))
        return TF_PROTOCOL;
    if (tf_reader_left(&reader) && type->code != TF_AMQP_TRANSFER_FRAME) {
        *ret_condition = TF_AMQP_FRAMING_ERROR; /* 2.3.2: it has no payload */
        return TF_PROTOCOL;
    }
    ret->type = (enum tf_amqp_performative_type)type->code;
    *ret_payload = tf_read_rest(&reader);
    return TF_OK;
}

enum tf_err tf_amqp_performative_read(struct tf_bytes body, uint8_t frame_type,
                                      struct tf_amqp_performative *ret,
                                      struct tf_bytes *ret_payload,
                                      enum tf_amqp_condition *ret_condition)
{
    if (frame_type == TF_AMQP_FRAME && quick_read(body, ret, ret_payload))
        return TF_OK;
    return tf_amqp_performative_by_table(body, frame_type, ret, ret_payload, ret_condition);
}

void tf_amqp_frame_write(struct tf_writer *writer, uint16_t channel,
                         const struct tf_amqp_performative *performative, size_t payload_length)
{
    bool sasl = performative->type >= TF_AMQP_SASL_MECHANISMS;
    struct tf_writer out = *writer;

    tf_write_u32(&out, 0);
    tf_write_u8(&out, 2); /* the data offset: no extended header */
    tf_write_u8(&out, sasl ? TF_AMQP_FRAME_SASL : TF_AMQP_FRAME);
    tf_write_u16(&out, channel);
    tf_amqp_composite_write(&out, sasl ? &sasl_set : &performative_set, &performative->open,
                            performative->type);
    size_t written = (size_t)(out.next - writer->next);
    if (out.failed || payload_length > UINT32_MAX - written) {
        (void)tf_write_step(writer, SIZE_MAX);
        return;
    }
    struct tf_writer head = *writer;
    tf_write_u32(&head, (uint32_t)(written + payload_length));
    *writer = out;
}
