/*
 * The golden vectors of the AMQP codec as text; see codec_text.h. It recurses: vectors are ours.
 */
#include "codec_text.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- files ---- */

/* Cuts blanks off both ends. */
static char *trimmed(char *text)
{
    text += strspn(text, " ");
    size_t length = strlen(text);
    while (length && text[length - 1] == ' ')
        text[--length] = 0;
    return text;
}

unsigned codec_file_run(const char *name, void (*run)(const struct codec_line *line))
{
    static char text[1 << 16];
    struct codec_line line = {.file = name};
    char path[512];
    unsigned count = 0;

    snprintf(path, sizeof path, "%s/%s", TF_VECTORS_DIR, name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s: cannot be opened", path);
    while (fgets(text, sizeof text, file)) {
        char *at = text;

        line.number++;
        text[strcspn(text, "\n")] = 0;
        if (!*text || *text == '#' || !strncmp(text, "tshark ", 7))
            continue;
        memset(line.parts, 0, sizeof line.parts);
        for (unsigned i = 0; i < 4 && at; i++) {
            char *end = strstr(at, " | ");

            if (end)
                *end = 0;
            line.parts[i] = trimmed(at);
            at = end ? end + 3 : NULL;
        }
        run(&line);
        count++;
    }
    fclose(file);
    return count;
}

struct tf_bytes codec_copy(struct tf_bytes bytes)
{
    uint8_t *block = malloc(bytes.length ? bytes.length : 1);

    assert_non_null(block);
    if (bytes.length)
        memcpy(block, bytes.data, bytes.length);
    return tf_bytes_of(block, bytes.length);
}

void codec_free(struct tf_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

struct tf_bytes codec_bytes(const struct codec_line *line, const char *text)
{
    static uint8_t block[CODEC_ROOM];
    size_t length = 0;

    while (*text) {
        char pair[3] = {text[0], text[1], 0}, *end;
        unsigned long value = strtoul(pair, &end, 16), count = 1;

        if (end != pair + 2)
            fail_msg("%s:%u: bad bytes at %.20s", line->file, line->number, text);
        text += 2;
        if (*text == '*')
            count = strtoul(text + 1, &end, 10), text = end;
        text += strspn(text, " ");
        assert_true(length + count <= sizeof block);
        memset(block + length, (int)value, count);
        length += count;
    }
    return codec_copy(tf_bytes_of(block, length));
}

void codec_same_text(const struct codec_line *line, const char *found, const char *expected)
{
    if (strcmp(found, expected))
        fail_msg("%s:%u: found\n  %s\nexpected\n  %s", line->file, line->number, found, expected);
}

void codec_same_bytes(const struct codec_line *line, struct tf_bytes found,
                      struct tf_bytes expected)
{
    if (tf_bytes_equal(found, expected))
        return;
    fprintf(stderr, "found");
    for (size_t i = 0; i < found.length; i++)
        fprintf(stderr, " %02x", found.data[i]);
    fail_msg("\n%s:%u: other bytes", line->file, line->number);
}

/* ---- values ---- */

static void hex(FILE *out, struct tf_bytes bytes)
{
    for (size_t i = 0; i < bytes.length; i++)
        fprintf(out, "%02x", bytes.data[i]);
}

static void quoted(FILE *out, struct tf_bytes text)
{
    if (text.length > 40) {
        fprintf(out, "<%zu>", text.length);
        return;
    }
    putc('"', out);
    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = text.data[i];

        if (c < 0x20 || c > 0x7E || c == '"' || c == '\\' || c == '|')
            fprintf(out, "\\%02x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static const char *const type_names[TF_AMQP_TYPE_COUNT] = {
    "null",      "boolean", "ubyte",  "ushort", "uint",      "ulong",     "byte",       "short",
    "int",       "long",    "float",  "double", "decimal32", "decimal64", "decimal128", "char",
    "timestamp", "uuid",    "binary", "string", "symbol",    "list",      "map",        "array"};

static void items_text(FILE *out, const struct tf_amqp_value *compound)
{
    static const char *const around[] = {"[]", "{}", "()"};
    struct tf_amqp_items items = tf_amqp_items_of(compound);
    const char *ends = around[compound->type - TF_AMQP_LIST];
    struct tf_amqp_value item;

    putc(ends[0], out);
    for (unsigned i = 0; tf_amqp_item_next(&items, &item); i++) {
        if (i)
            fputs(compound->type == TF_AMQP_MAP && i % 2 ? ": " : ", ", out);
        if (i == 20) {
            fprintf(out, "... %" PRIu32, compound->count);
            break;
        }
        codec_value_text(out, &item);
    }
    assert_false(items.reader.failed);
    putc(ends[1], out);
}

/* The descriptors, outermost first. */
static void descriptors_text(FILE *out, const struct tf_amqp_value *value)
{
    struct tf_reader reader = tf_reader_of(value->constructor);

    for (unsigned i = 0; i < value->descriptors; i++) {
        struct tf_amqp_value descriptor;

        assert_int_equal(tf_read_u8(&reader), 0);
        assert_int_equal(tf_amqp_value_read(&reader, &descriptor), TF_OK);
        putc('@', out);
        codec_value_text(out, &descriptor);
        putc(' ', out);
    }
}

void codec_value_text(FILE *out, const struct tf_amqp_value *value)
{
    const char *name = type_names[value->type];

    descriptors_text(out, value);
    switch (value->type) {
    case TF_AMQP_NULL:
        fputs(name, out);
        break;
    case TF_AMQP_BOOLEAN:
        fputs(value->number ? "true" : "false", out);
        break;
    case TF_AMQP_BYTE:
    case TF_AMQP_SHORT:
    case TF_AMQP_INT:
    case TF_AMQP_LONG:
    case TF_AMQP_TIMESTAMP:
        fprintf(out, "%s %" PRId64, name, value->integer);
        break;
    case TF_AMQP_FLOAT:
    case TF_AMQP_DOUBLE:
    case TF_AMQP_CHAR:
        fprintf(out, "%s %" PRIx64, name, value->number);
        break;
    case TF_AMQP_DECIMAL32:
    case TF_AMQP_DECIMAL64:
    case TF_AMQP_DECIMAL128:
    case TF_AMQP_UUID:
        fprintf(out, "%s ", name);
        hex(out, value->bytes);
        break;
    case TF_AMQP_BINARY:
    case TF_AMQP_STRING:
    case TF_AMQP_SYMBOL:
        fprintf(out, "%s ", name);
        quoted(out, value->bytes);
        break;
    case TF_AMQP_LIST:
    case TF_AMQP_MAP:
    case TF_AMQP_ARRAY:
        items_text(out, value);
        break;
    default:
        fprintf(out, "%s %" PRIu64, name, value->number);
    }
}

/* ---- performatives ---- */

static void text_field(FILE *out, const char *name, struct tf_bytes text)
{
    if (text.length) {
        fprintf(out, " %s=", name);
        quoted(out, text);
    }
}

static void encoded_field(FILE *out, const char *name, struct tf_bytes encoded)
{
    struct tf_amqp_value value;

    if (!encoded.length)
        return;
    assert_int_equal(tf_amqp_value_of(encoded, &value), TF_OK);
    fprintf(out, " %s=", name);
    codec_value_text(out, &value);
}

static void number_field(FILE *out, const char *name, bool there, uint64_t number)
{
    if (there)
        fprintf(out, " %s=%" PRIu64, name, number);
}

static void flag_field(FILE *out, const char *name, bool set)
{
    if (set)
        fprintf(out, " %s", name);
}

static void error_text(FILE *out, const struct tf_amqp_error *error)
{
    if (!error->condition)
        return;
    struct tf_bytes symbol = tf_amqp_condition_symbol(error->condition);
    fputs(" error=", out);
    quoted(out, error->condition == TF_AMQP_OTHER_ERROR ? error->symbol : symbol);
    text_field(out, "description", error->description);
    encoded_field(out, "info", error->info);
}

static void state_text(FILE *out, const struct tf_amqp_state *state)
{
    static const char *const names[] = {"none",     "received",      "accepted",
                                        "rejected", "released",      "modified",
                                        "declared", "transactional", "other"};

    if (state->type == TF_AMQP_STATE_NONE)
        return;
    fprintf(out, " state=%s", names[state->type]);
    number_field(out, "section-number", state->type == TF_AMQP_STATE_RECEIVED,
                 state->section_number);
    number_field(out, "section-offset", state->type == TF_AMQP_STATE_RECEIVED,
                 state->section_offset);
    error_text(out, &state->error);
    flag_field(out, "delivery-failed", state->delivery_failed);
    flag_field(out, "undeliverable-here", state->undeliverable_here);
    encoded_field(out, "annotations", state->annotations);
    text_field(out, "txn-id", state->txn_id);
    encoded_field(out, "outcome", state->outcome);
    encoded_field(out, "raw", state->raw);
}

static void terminus_text(FILE *out, const char *name, const struct tf_amqp_terminus *terminus)
{
    if (!terminus->type)
        return;
    fprintf(out, " %s=<%x", name, terminus->type);
    if (terminus->has_address) {
        fputs(" address=", out);
        quoted(out, terminus->address);
    }
    number_field(out, "durable", terminus->durable, terminus->durable);
    number_field(out, "expiry-policy", terminus->expiry_policy, terminus->expiry_policy);
    number_field(out, "timeout", terminus->timeout_s, terminus->timeout_s);
    flag_field(out, "dynamic", terminus->dynamic);
    encoded_field(out, "dynamic-node-properties", terminus->dynamic_node_properties);
    number_field(out, "distribution-mode", terminus->distribution, terminus->distribution);
    encoded_field(out, "filter", terminus->filter);
    encoded_field(out, "default-outcome", terminus->default_outcome);
    encoded_field(out, "outcomes", terminus->outcomes);
    encoded_field(out, "capabilities", terminus->capabilities);
    putc('>', out);
}

static void open_text(FILE *out, const struct tf_amqp_open *open)
{
    fputs("open container-id=", out);
    quoted(out, open->container_id);
    text_field(out, "hostname", open->hostname);
    number_field(out, "max-frame-size", open->max_frame_size != UINT32_MAX, open->max_frame_size);
    number_field(out, "channel-max", open->channel_max != UINT16_MAX, open->channel_max);
    number_field(out, "idle-time-out", open->idle_time_out_ms, open->idle_time_out_ms);
    encoded_field(out, "outgoing-locales", open->outgoing_locales);
    encoded_field(out, "incoming-locales", open->incoming_locales);
    encoded_field(out, "offered-capabilities", open->offered_capabilities);
    encoded_field(out, "desired-capabilities", open->desired_capabilities);
    encoded_field(out, "properties", open->properties);
}

static void begin_text(FILE *out, const struct tf_amqp_begin *begin)
{
    fputs("begin", out);
    number_field(out, "remote-channel", begin->has_remote_channel, begin->remote_channel);
    number_field(out, "next-outgoing-id", true, begin->next_outgoing_id);
    number_field(out, "incoming-window", true, begin->incoming_window);
    number_field(out, "outgoing-window", true, begin->outgoing_window);
    number_field(out, "handle-max", begin->handle_max != UINT32_MAX, begin->handle_max);
    encoded_field(out, "offered-capabilities", begin->offered_capabilities);
    encoded_field(out, "desired-capabilities", begin->desired_capabilities);
    encoded_field(out, "properties", begin->properties);
}

static void attach_text(FILE *out, const struct tf_amqp_attach *attach)
{
    fputs("attach name=", out);
    quoted(out, attach->name);
    number_field(out, "handle", true, attach->handle);
    number_field(out, "role", true, attach->role);
    number_field(out, "snd-settle-mode", attach->snd_settle_mode != TF_AMQP_SND_MIXED,
                 attach->snd_settle_mode);
    number_field(out, "rcv-settle-mode", attach->rcv_settle_mode, attach->rcv_settle_mode);
    terminus_text(out, "source", &attach->source);
    terminus_text(out, "target", &attach->target);
    encoded_field(out, "unsettled", attach->unsettled);
    flag_field(out, "incomplete-unsettled", attach->incomplete_unsettled);
    number_field(out, "initial-delivery-count", attach->has_initial_delivery_count,
                 attach->initial_delivery_count);
    number_field(out, "max-message-size", attach->max_message_size, attach->max_message_size);
    encoded_field(out, "offered-capabilities", attach->offered_capabilities);
    encoded_field(out, "desired-capabilities", attach->desired_capabilities);
    encoded_field(out, "properties", attach->properties);
}

static void flow_text(FILE *out, const struct tf_amqp_flow *flow)
{
    fputs("flow", out);
    number_field(out, "next-incoming-id", flow->has_next_incoming_id, flow->next_incoming_id);
    number_field(out, "incoming-window", true, flow->incoming_window);
    number_field(out, "next-outgoing-id", true, flow->next_outgoing_id);
    number_field(out, "outgoing-window", true, flow->outgoing_window);
    number_field(out, "handle", flow->has_handle, flow->handle);
    number_field(out, "delivery-count", flow->has_delivery_count, flow->delivery_count);
    number_field(out, "link-credit", flow->has_link_credit, flow->link_credit);
    number_field(out, "available", flow->has_available, flow->available);
    flag_field(out, "drain", flow->drain);
    flag_field(out, "echo", flow->echo);
    encoded_field(out, "properties", flow->properties);
}

static void transfer_text(FILE *out, const struct tf_amqp_transfer *transfer)
{
    fputs("transfer", out);
    number_field(out, "handle", true, transfer->handle);
    number_field(out, "delivery-id", transfer->has_delivery_id, transfer->delivery_id);
    if (transfer->has_delivery_tag) {
        fputs(" delivery-tag=", out);
        quoted(out, transfer->delivery_tag);
    }
    number_field(out, "message-format", transfer->has_message_format, transfer->message_format);
    number_field(out, "settled", transfer->has_settled, transfer->settled);
    flag_field(out, "more", transfer->more);
    number_field(out, "rcv-settle-mode", transfer->has_rcv_settle_mode, transfer->rcv_settle_mode);
    state_text(out, &transfer->state);
    flag_field(out, "resume", transfer->resume);
    flag_field(out, "aborted", transfer->aborted);
    flag_field(out, "batchable", transfer->batchable);
}

static void disposition_text(FILE *out, const struct tf_amqp_disposition *disposition)
{
    fputs("disposition", out);
    number_field(out, "role", true, disposition->role);
    number_field(out, "first", true, disposition->first);
    number_field(out, "last", disposition->has_last, disposition->last);
    flag_field(out, "settled", disposition->settled);
    state_text(out, &disposition->state);
    flag_field(out, "batchable", disposition->batchable);
}

static void sasl_text(FILE *out, const struct tf_amqp_performative *performative)
{
    switch (performative->type) {
    case TF_AMQP_SASL_MECHANISMS:
        fputs("sasl-mechanisms", out);
        encoded_field(out, "mechanisms", performative->mechanisms.mechanisms);
        break;
    case TF_AMQP_SASL_INIT:
        fputs("sasl-init", out);
        text_field(out, "mechanism", performative->init.mechanism);
        if (performative->init.has_initial_response) {
            fputs(" initial-response=", out);
            quoted(out, performative->init.initial_response);
        }
        text_field(out, "hostname", performative->init.hostname);
        break;
    case TF_AMQP_SASL_OUTCOME:
        fprintf(out, "sasl-outcome code=%u", (unsigned)performative->result.code);
        text_field(out, "additional-data", performative->result.additional_data);
        break;
    default:
        fputs(performative->type == TF_AMQP_SASL_CHALLENGE ? "sasl-challenge" : "sasl-response",
              out);
        text_field(out, "data", performative->message.data);
    }
}

void codec_performative_text(FILE *out, const struct tf_amqp_performative *performative)
{
    switch (performative->type) {
    case TF_AMQP_OPEN:
        open_text(out, &performative->open);
        break;
    case TF_AMQP_BEGIN_FRAME:
        begin_text(out, &performative->begin);
        break;
    case TF_AMQP_ATTACH_FRAME:
        attach_text(out, &performative->attach);
        break;
    case TF_AMQP_FLOW_FRAME:
        flow_text(out, &performative->flow);
        break;
    case TF_AMQP_TRANSFER_FRAME:
        transfer_text(out, &performative->transfer);
        break;
    case TF_AMQP_DISPOSITION:
        disposition_text(out, &performative->disposition);
        break;
    case TF_AMQP_DETACH:
        fprintf(out, "detach handle=%" PRIu32, performative->detach.handle);
        flag_field(out, "closed", performative->detach.closed);
        error_text(out, &performative->detach.error);
        break;
    case TF_AMQP_END:
    case TF_AMQP_CLOSE:
        fputs(performative->type == TF_AMQP_END ? "end" : "close", out);
        error_text(out, &performative->ending.error);
        break;
    default:
        sasl_text(out, performative);
    }
}

/* ---- messages ---- */

static void properties_text(FILE *out, const struct tf_amqp_properties *properties)
{
    fputs(" properties<", out);
    encoded_field(out, "message-id", properties->message_id);
    text_field(out, "user-id", properties->user_id);
    text_field(out, "to", properties->to);
    text_field(out, "subject", properties->subject);
    text_field(out, "reply-to", properties->reply_to);
    encoded_field(out, "correlation-id", properties->correlation_id);
    text_field(out, "content-type", properties->content_type);
    text_field(out, "content-encoding", properties->content_encoding);
    number_field(out, "absolute-expiry-time", properties->has_absolute_expiry_time,
                 (uint64_t)properties->absolute_expiry_time);
    number_field(out, "creation-time", properties->has_creation_time,
                 (uint64_t)properties->creation_time);
    text_field(out, "group-id", properties->group_id);
    number_field(out, "group-sequence", properties->has_group_sequence, properties->group_sequence);
    text_field(out, "reply-to-group-id", properties->reply_to_group_id);
    fputs(" >", out);
}

void codec_message_text(FILE *out, const struct tf_amqp_message *message)
{
    static const char *const bodies[] = {"none", "data", "datas", "sequence", "value"};
    struct tf_reader body = tf_reader_of(message->body);
    struct tf_amqp_value value;

    fputs("message", out);
    if (message->has_header) {
        fputs(" header<", out);
        flag_field(out, "durable", message->header.durable);
        number_field(out, "priority", message->header.priority != 4, message->header.priority);
        number_field(out, "ttl", message->header.has_ttl, message->header.ttl_ms);
        flag_field(out, "first-acquirer", message->header.first_acquirer);
        number_field(out, "delivery-count", message->header.delivery_count,
                     message->header.delivery_count);
        fputs(" >", out);
    }
    encoded_field(out, "delivery-annotations", message->delivery_annotations);
    encoded_field(out, "message-annotations", message->message_annotations);
    if (message->properties_section.length)
        properties_text(out, &message->properties);
    encoded_field(out, "application-properties", message->application_properties);
    fprintf(out, " body=%s", bodies[message->body_type]);
    while (tf_amqp_body_next(&body, &value)) {
        putc(' ', out);
        codec_value_text(out, &value);
    }
    assert_false(body.failed);
    encoded_field(out, "footer", message->footer);
}
