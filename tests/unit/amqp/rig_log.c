/*
 * What happens on a rig, as text; see rig.h.
 */
#include "rig_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

/* Room for `more` bytes and a NUL; it doubles, so that a long log is not copied for each line. */
static void text_reserve(struct rig_text *text, size_t more)
{
    if (text->length + more + 1 > text->room) {
        text->room = 2 * (text->length + more + 1);
        text->bytes = realloc(text->bytes, text->room);
        assert_non_null(text->bytes);
    }
}

static void text_add(struct rig_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void text_add(struct rig_text *text, const char *format, ...)
{
    char piece[512];
    va_list list;
    int length;

    va_start(list, format);
    length = vsnprintf(piece, sizeof piece, format, list);
    va_end(list);
    assert_in_range(length, 0, sizeof piece - 1);
    text_reserve(text, (size_t)length);
    memcpy(text->bytes + text->length, piece, (size_t)length + 1);
    text->length += (size_t)length;
}

static void text_add_bytes(struct rig_text *text, const char *name, struct tf_bytes bytes)
{
    text_add(text, " %s=%.*s", name, (int)(bytes.length < 64 ? bytes.length : 64),
             bytes.length ? (const char *)bytes.data : "");
}

static void text_add_flag(struct rig_text *text, const char *name, bool flag)
{
    if (flag)
        text_add(text, " %s", name);
}

static void text_add_error(struct rig_text *text, const struct tf_amqp_error *error)
{
    struct tf_bytes symbol = error->condition == TF_AMQP_OTHER_ERROR
                                 ? error->symbol
                                 : tf_amqp_condition_symbol(error->condition);

    if (error->condition != TF_AMQP_NO_ERROR)
        text_add(text, " %.*s", (int)symbol.length, (const char *)symbol.data);
}

static void text_add_state(struct rig_text *text, const struct tf_amqp_state *state)
{
    static const char *const names[] = {"none",     "received",      "accepted",
                                        "rejected", "released",      "modified",
                                        "declared", "transactional", "other"};

    text_add(text, " %s", names[state->type]);
    if (state->type == TF_AMQP_STATE_REJECTED)
        text_add_error(text, &state->error);
    if (state->type == TF_AMQP_STATE_MODIFIED) {
        text_add_flag(text, "failed", state->delivery_failed);
        text_add_flag(text, "undeliverable", state->undeliverable_here);
    }
}

void rig_text_clear(struct rig_text *text)
{
    free(text->bytes);
    *text = (struct rig_text){0};
}

void rig_text_expect(struct rig_text *text, const char *lines)
{
    assert_string_equal(text->bytes ? text->bytes : "", lines);
    rig_text_clear(text);
}

/* ---- frames that a raw peer receives, as text ---- */

static void log_terminus(struct rig_text *log, const char *name,
                         const struct tf_amqp_terminus *terminus)
{
    if (terminus->type == TF_AMQP_TERMINUS_NONE)
        return;
    text_add_bytes(log, name, terminus->address);
}

static void log_flow(struct rig_text *log, uint16_t channel, const struct tf_amqp_flow *flow)
{
    text_add(log, "flow %u", channel);
    if (flow->has_next_incoming_id)
        text_add(log, " next-in=%u", flow->next_incoming_id);
    text_add(log, " in=%u next-out=%u", flow->incoming_window, flow->next_outgoing_id);
    if (flow->has_handle)
        text_add(log, " handle=%u", flow->handle);
    if (flow->has_delivery_count)
        text_add(log, " count=%u", flow->delivery_count);
    if (flow->has_link_credit)
        text_add(log, " credit=%u", flow->link_credit);
    if (flow->has_available)
        text_add(log, " available=%u", flow->available);
    text_add_flag(log, "drain", flow->drain);
    text_add_flag(log, "echo", flow->echo);
}

static void log_transfer(struct rig_text *log, uint16_t channel,
                         const struct tf_amqp_transfer *transfer, size_t length)
{
    text_add(log, "transfer %u handle=%u", channel, transfer->handle);
    if (transfer->has_delivery_id)
        text_add(log, " id=%u", transfer->delivery_id);
    if (transfer->has_delivery_tag)
        text_add_bytes(log, "tag", transfer->delivery_tag);
    text_add_flag(log, "settled", transfer->settled);
    text_add_flag(log, "more", transfer->more);
    text_add_flag(log, "aborted", transfer->aborted);
    text_add(log, " bytes=%zu", length);
}

static void log_sasl(struct rig_text *log, const struct tf_amqp_performative *p)
{
    switch (p->type) {
    case TF_AMQP_SASL_MECHANISMS:
        text_add(log, "mechanisms");
        break;
    case TF_AMQP_SASL_INIT:
        text_add(log, "init");
        text_add_bytes(log, "mechanism", p->init.mechanism);
        text_add(log, " bytes=%zu", p->init.initial_response.length);
        break;
    case TF_AMQP_SASL_OUTCOME:
        text_add(log, "outcome %u", p->result.code);
        break;
    default:
        text_add(log,
                 p->type == TF_AMQP_SASL_CHALLENGE ? "challenge bytes=%zu" : "response bytes=%zu",
                 p->message.data.length);
    }
}

static void log_performative(struct rig_text *log, uint16_t channel,
                             const struct tf_amqp_performative *p, size_t payload)
{
    switch (p->type) {
    case TF_AMQP_OPEN:
        text_add(log, "open max=%u channels=%u idle=%u", p->open.max_frame_size,
                 p->open.channel_max, p->open.idle_time_out_ms);
        break;
    case TF_AMQP_BEGIN_FRAME:
        text_add(log, "begin %u", channel);
        if (p->begin.has_remote_channel)
            text_add(log, " remote=%u", p->begin.remote_channel);
        text_add(log, " next=%u in=%u handles=%u", p->begin.next_outgoing_id,
                 p->begin.incoming_window, p->begin.handle_max);
        break;
    case TF_AMQP_ATTACH_FRAME:
        text_add(log, "attach %u", channel);
        text_add_bytes(log, "name", p->attach.name);
        text_add(log, " handle=%u %s", p->attach.handle,
                 p->attach.role == TF_AMQP_SENDER ? "sender" : "receiver");
        log_terminus(log, "source", &p->attach.source);
        log_terminus(log, "target", &p->attach.target);
        break;
    case TF_AMQP_FLOW_FRAME:
        log_flow(log, channel, &p->flow);
        break;
    case TF_AMQP_TRANSFER_FRAME:
        log_transfer(log, channel, &p->transfer, payload);
        break;
    case TF_AMQP_DISPOSITION:
        text_add(log, "disposition %u %s %u..%u", channel,
                 p->disposition.role == TF_AMQP_SENDER ? "sender" : "receiver",
                 p->disposition.first,
                 p->disposition.has_last ? p->disposition.last : p->disposition.first);
        text_add_flag(log, "settled", p->disposition.settled);
        text_add_state(log, &p->disposition.state);
        break;
    case TF_AMQP_DETACH:
        text_add(log, "detach %u handle=%u", channel, p->detach.handle);
        text_add_flag(log, "closed", p->detach.closed);
        text_add_error(log, &p->detach.error);
        break;
    case TF_AMQP_END:
        text_add(log, "end %u", channel);
        text_add_error(log, &p->ending.error);
        break;
    case TF_AMQP_CLOSE:
        text_add(log, "close");
        text_add_error(log, &p->ending.error);
        break;
    default:
        log_sasl(log, p);
    }
    text_add(log, "\n");
}

/* Takes whole headers and frames off what a raw peer has received. */
void rig_log_raw(struct rig_end *peer)
{
    size_t at = 0;

    while (peer->raw_length - at >= 8) {
        struct tf_bytes in = tf_bytes_of(peer->raw + at, peer->raw_length - at), payload = {0};
        struct tf_amqp_performative performative;
        enum tf_amqp_condition condition;
        struct tf_amqp_frame frame;
        size_t need = 0;
        enum tf_err err;

        if (memcmp(in.data, "AMQP", 4) == 0) {
            assert_memory_equal(in.data + 5, "\1\0\0", 3);
            text_add(&peer->log, "header %u\n", in.data[4]);
            at += 8;
            continue;
        }
        err = tf_amqp_frame_read(in, UINT32_MAX, &frame, &need);
        if (err == TF_MORE)
            break;
        assert_int_equal(err, TF_OK);
        at += frame.size;
        if (frame.body.length == 0) {
            text_add(&peer->log, "empty\n");
            continue;
        }
        assert_int_equal(
            tf_amqp_performative_read(frame.body, frame.type, &performative, &payload, &condition),
            TF_OK);
        log_performative(&peer->log, frame.channel, &performative, payload.length);
    }
    peer->raw_length -= at;
    memmove(peer->raw, peer->raw + at, peer->raw_length);
}

/* ---- events as text ---- */

static const char *link_name(struct rig_end *end, const struct tf_amqp_link *link)
{
    (void)end;
    return tf_amqp_link_role(link) == TF_AMQP_SENDER ? "sender" : "receiver";
}

static const char *const event_names[] = {
    [TF_AMQP_AUTHENTICATE] = "authenticate",
    [TF_AMQP_OPENED] = "opened",
    [TF_AMQP_CLOSED] = "closed",
    [TF_AMQP_BEGIN] = "begin",
    [TF_AMQP_BEGUN] = "begun",
    [TF_AMQP_ENDED] = "ended",
    [TF_AMQP_ATTACH] = "attach",
    [TF_AMQP_ATTACHED] = "attached",
    [TF_AMQP_DETACHED] = "detached",
    [TF_AMQP_FLOW] = "flow",
    [TF_AMQP_TRANSFER] = "transfer",
    [TF_AMQP_OUTCOME] = "outcome",
    [TF_AMQP_SETTLED] = "settled",
    [TF_AMQP_RETURNED] = "returned",
    [TF_AMQP_NEEDS] = "needs",
};

static void log_delivery(struct rig_text *log, const struct tf_amqp_event *event)
{
    if (event->type == TF_AMQP_TRANSFER) {
        text_add(log, " id=%u", (uint32_t)event->delivery);
        if (event->first)
            text_add_bytes(log, "tag", event->tag);
        text_add_flag(log, "settled", event->settled);
        text_add_flag(log, "more", event->more);
        text_add_flag(log, "aborted", event->aborted);
        text_add(log, " bytes=%zu", event->payload.length);
        return;
    }
    text_add(log, " id=%u", (uint32_t)event->delivery);
    if (event->type == TF_AMQP_OUTCOME) {
        text_add(log, " handle=%llu", (unsigned long long)event->handle);
        text_add_flag(log, "settled", event->settled);
    }
    text_add_state(log, &event->state);
}

void rig_log_event(struct rig_end *end, const struct tf_amqp_event *event)
{
    struct rig_text *log = &end->log;

    if (end->quiet && (event->type >= TF_AMQP_FLOW))
        return;
    if (event->type == TF_AMQP_NEEDS)
        return; /* how tables grow is tested for itself */
    text_add(log, "%s", event_names[event->type]);
    switch (event->type) {
    case TF_AMQP_AUTHENTICATE:
        text_add_bytes(log, "mechanism", event->sasl.mechanism);
        text_add_bytes(log, "user", event->sasl.user);
        text_add_bytes(log, "password", event->sasl.password);
        break;
    case TF_AMQP_OPENED:
        text_add_bytes(log, "container", event->open.container_id);
        text_add_bytes(log, "hostname", event->open.hostname);
        break;
    case TF_AMQP_CLOSED:
    case TF_AMQP_ENDED:
        text_add_flag(log, "local", event->local);
        text_add_error(log, &event->error);
        break;
    case TF_AMQP_ATTACH:
    case TF_AMQP_ATTACHED:
        text_add_bytes(log, "name", event->attach.name);
        log_terminus(log, "source", &event->attach.source);
        log_terminus(log, "target", &event->attach.target);
        break;
    case TF_AMQP_DETACHED:
        text_add(log, " %s", link_name(end, event->link));
        text_add_flag(log, "closed", event->closed);
        text_add_flag(log, "gone", event->gone);
        text_add_flag(log, "local", event->local);
        text_add_error(log, &event->error);
        break;
    case TF_AMQP_FLOW:
        if (!event->link) {
            text_add(log, " session");
            break;
        }
        text_add(log, " %s credit=%u", link_name(end, event->link), event->credit);
        if (tf_amqp_link_role(event->link) == TF_AMQP_RECEIVER)
            text_add(log, " available=%u", event->available);
        text_add_flag(log, "drain", event->drain);
        text_add_flag(log, "echo", event->echo);
        break;
    case TF_AMQP_TRANSFER:
    case TF_AMQP_OUTCOME:
    case TF_AMQP_SETTLED:
        log_delivery(log, event);
        break;
    case TF_AMQP_RETURNED:
        text_add(log, " %llu", (unsigned long long)event->owner);
        break;
    default:
        break;
    }
    text_add(log, "\n");
}
