/*
 * A host for the server's machine in tests; see server_rig.h.
 */
#include "server_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "notation.h"

#define AS_ASKED (UINT32_MAX - 1)

enum rig_way rig_ways[4] = {RIG_WHOLE, RIG_BYTES, RIG_SPLIT, RIG_TINY};

static void check(const struct rig *rig)
{
    assert_true(tf_mqtt_server_check(rig->server));
    assert_true(tf_mqtt_session_check(&rig->session));
}

static void note(struct rig *rig, const char *format, ...)
{
    size_t room = sizeof rig->log - rig->log_length;
    va_list args;

    va_start(args, format);
    int length = vsnprintf(rig->log + rig->log_length, room, format, args);
    va_end(args);
    assert_true(length >= 0 && (size_t)length < room);
    rig->log_length += (size_t)length;
}

static void lend(struct rig *rig)
{
    size_t size = rig->buffer_size ? rig->buffer_size : rig->way == RIG_TINY ? 128 : 4096;

    assert_int_equal(tf_mqtt_server_lend(rig->server, malloc(size), size), TF_OK);
}

void rig_connect_again(struct rig *rig)
{
    size_t size = tf_mqtt_server_size(&rig->config);

    assert_true(size > 0);
    assert_int_equal(tf_mqtt_server_init(&rig->server, malloc(size), size, &rig->config, rig->now),
                     TF_OK);
    lend(rig);
    check(rig);
}

void rig_init(struct rig *rig, enum rig_way way)
{
    memset(rig, 0, sizeof *rig);
    rig->way = way;
    rig->seed = 1;
    rig->now = 1000 * TF_SECOND;
    rig->expiry_s = AS_ASKED;
    rig->config = (struct tf_mqtt_server_config){
        .max_packet_size = 1 << 20,
        .max_connect_size = 1 << 16,
        .connect_timeout_ms = 10000,
        .topic_alias_bytes = 4096,
        .receive_maximum = 20,
        .topic_alias_maximum = 10,
        .max_in_flight = 20,
        .max_topic_levels = 128,
        .maximum_qos = 2,
        .retain_available = true,
        .shared_available = true,
        .check_payload_format = true,
    };
    tf_mqtt_session_init(&rig->session);
    rig_connect_again(rig);
}

void rig_disconnect(struct rig *rig)
{
    tf_mqtt_server_abandon(rig->server);
    while (rig_pull(rig))
        ;
    void *buffer = tf_mqtt_server_take(rig->server);
    assert_non_null(buffer);
    free(buffer);
    for (int part = TF_MQTT_PART_PENDING; part <= TF_MQTT_PART_ALIASES; part++) {
        void *memory = tf_mqtt_server_reclaim(rig->server, (enum tf_mqtt_part)part);
        assert_ptr_equal(memory, rig->parts[part]);
        free(memory);
        rig->parts[part] = NULL;
    }
    check(rig);
    free(rig->server);
    rig->server = NULL;
    rig->body_length = 0;
}

void rig_release(struct rig *rig)
{
    if (rig->server)
        rig_disconnect(rig);
    free(rig->session.sent);
    free(rig->session.received);
    free(rig->out);
    free(rig->body);
}

/* --- events
 * -------------------------------------------------------------------------------------------- */

static void on_connect(struct rig *rig, const struct tf_mqtt_server_event *event)
{
    const struct tf_mqtt_connect *connect = &event->connect;
    struct tf_mqtt_server_accept accept = {
        .session = &rig->session,
        .session_present = rig->session_present,
        .session_expiry_s = rig->expiry_s == AS_ASKED ? event->session_expiry_s : rig->expiry_s,
    };

    note(rig, "CONNECT %u '%.*s'%s keep %u expiry %u", connect->version,
         (int)connect->client_id.length, (const char *)connect->client_id.data,
         connect->clean_start ? " clean" : "", connect->keep_alive_s, event->session_expiry_s);
    if (connect->has_user_name)
        note(rig, " user '%.*s'", (int)connect->user_name.length,
             (const char *)connect->user_name.data);
    if (connect->has_will)
        note(rig, " will '%.*s'", (int)connect->will.topic.length,
             (const char *)connect->will.topic.data);
    note(rig, "\n");
    if (rig->refuse) {
        assert_int_equal(tf_mqtt_server_refuse(rig->server, rig->refuse), TF_OK);
        return;
    }
    if (rig->assigned)
        accept.assigned_client_id = tf_bytes_str(rig->assigned);
    assert_int_equal(tf_mqtt_server_accept(rig->server, &accept, rig->now), rig->accept_err);
}

/* A body may come in runs; it is noted when it is whole. */
static void on_body(struct rig *rig, struct tf_bytes run, size_t left)
{
    rig->body = realloc(rig->body, rig->body_length + run.length + 1);
    if (run.length > 0)
        memcpy(rig->body + rig->body_length, run.data, run.length);
    rig->body_length += run.length;
    if (left > 0)
        return;
    if (rig->body_length > 64)
        note(rig, "%s %zu bytes\n", rig->publish_head, rig->body_length);
    else
        note(rig, "%s '%.*s'\n", rig->publish_head, (int)rig->body_length, (char *)rig->body);
    rig->body_length = 0;
    if (rig->publish_qos > 0 && !rig->hold_published)
        assert_int_equal(
            tf_mqtt_server_published(rig->server, rig->publish_id, rig->publish_reason), TF_OK);
}

static void on_publish(struct rig *rig, const struct tf_mqtt_server_event *event)
{
    const struct tf_mqtt_publish *publish = &event->publish;
    int used = snprintf(rig->publish_head, sizeof rig->publish_head, "PUBLISH %.*s q%u%s%s",
                        (int)publish->topic.length, (const char *)publish->topic.data, publish->qos,
                        publish->retain ? " retain" : "", publish->dup ? " dup" : "");

    assert_true(used > 0 && (size_t)used < sizeof rig->publish_head);
    rig->publish_qos = publish->qos;
    rig->publish_id = publish->packet_id;
    on_body(rig, publish->payload, event->payload_left);
}

static void on_subscribe(struct rig *rig, const struct tf_mqtt_server_event *event)
{
    struct tf_mqtt_subscription subscription;
    size_t offset = 0, count = 0;
    uint8_t codes[256];

    note(rig, "SUBSCRIBE %u", event->packet_id);
    while (tf_mqtt_subscription_next(event->subscribe.payload, &offset, &subscription)) {
        note(rig, " %.*s q%u", (int)subscription.filter.length,
             (const char *)subscription.filter.data, subscription.qos);
        codes[count++ % sizeof codes] =
            rig->subscribe_reason ? rig->subscribe_reason : subscription.qos;
    }
    note(rig, "\n");
    if (!rig->hold_subscribed)
        assert_int_equal(
            tf_mqtt_server_subscribed(rig->server, event->packet_id, tf_bytes_of(codes, count)),
            TF_OK);
}

static void on_unsubscribe(struct rig *rig, const struct tf_mqtt_server_event *event)
{
    uint8_t codes[256] = {0};
    struct tf_bytes filter;
    size_t offset = 0, count = 0;

    note(rig, "UNSUBSCRIBE %u", event->packet_id);
    for (; tf_mqtt_filter_next(event->unsubscribe.payload, &offset, &filter); count++)
        note(rig, " %.*s", (int)filter.length, (const char *)filter.data);
    note(rig, "\n");
    assert_int_equal(
        tf_mqtt_server_unsubscribed(rig->server, event->packet_id, tf_bytes_of(codes, count)),
        TF_OK);
}

static void on_needs(struct rig *rig, const struct tf_mqtt_server_event *event)
{
    void *memory, *old = NULL;

    rig->needs++;
    if (rig->deny_memory) {
        tf_mqtt_server_close(rig->server, TF_MQTT_QUOTA_EXCEEDED);
        return;
    }
    memory = malloc(event->size);
    assert_int_equal(tf_mqtt_server_give(rig->server, event->part, memory, event->size, &old),
                     TF_OK);
    if (event->part >= TF_MQTT_PART_PENDING) {
        assert_ptr_equal(old, rig->parts[event->part]);
        rig->parts[event->part] = memory;
    }
    free(old);
}

static void answer(struct rig *rig, const struct tf_mqtt_server_event *event)
{
    switch (event->type) {
    case TF_MQTT_SERVER_CONNECT:
        on_connect(rig, event);
        break;
    case TF_MQTT_SERVER_PUBLISH:
        on_publish(rig, event);
        break;
    case TF_MQTT_SERVER_BODY:
        on_body(rig, event->body, event->payload_left);
        break;
    case TF_MQTT_SERVER_SUBSCRIBE:
        on_subscribe(rig, event);
        break;
    case TF_MQTT_SERVER_UNSUBSCRIBE:
        on_unsubscribe(rig, event);
        break;
    case TF_MQTT_SERVER_SETTLED:
        note(rig, "SETTLED %u %02x\n", (unsigned)event->handle, event->reason);
        break;
    case TF_MQTT_SERVER_RECEIVED:
        note(rig, "RECEIVED %u\n", (unsigned)event->handle);
        if (!rig->hold_release)
            assert_int_equal(tf_mqtt_server_release(rig->server, event->packet_id), TF_OK);
        break;
    case TF_MQTT_SERVER_RELEASED:
        note(rig, "RELEASED %u\n", event->packet_id);
        if (!rig->hold_complete)
            assert_int_equal(tf_mqtt_server_complete(rig->server, event->packet_id), TF_OK);
        break;
    case TF_MQTT_SERVER_RESEND:
        note(rig, "RESEND %u\n", (unsigned)event->handle);
        break;
    case TF_MQTT_SERVER_RETURNED:
        note(rig, "RETURNED %u\n", (unsigned)event->owner);
        break;
    case TF_MQTT_SERVER_NEEDS:
        on_needs(rig, event);
        break;
    case TF_MQTT_SERVER_DISCONNECT:
        note(rig, "DISCONNECT %02x expiry %u\n", event->reason, event->session_expiry_s);
        break;
    }
}

bool rig_pull(struct rig *rig)
{
    struct tf_mqtt_server_event event;
    bool any = false;

    memset(&event, 0xee, sizeof event);
    while (tf_mqtt_server_event(rig->server, &event)) {
        answer(rig, &event);
        check(rig);
        any = true;
        memset(&event, 0xee, sizeof event);
    }
    return any;
}

/* --- bytes
 * --------------------------------------------------------------------------------------------- */

/* Sends at most `most` bytes of output; false if there was none. */
static bool send_some(struct rig *rig, size_t most)
{
    struct tf_bytes spans[3];
    size_t count = tf_mqtt_server_output(rig->server, spans, 3), sum = 0;

    for (size_t i = 0; i < count && sum < most; i++) {
        size_t step = spans[i].length < most - sum ? spans[i].length : most - sum;
        rig->out = realloc(rig->out, rig->out_length + step);
        memcpy(rig->out + rig->out_length, spans[i].data, step);
        rig->out_length += step;
        sum += step;
    }
    if (sum == 0)
        return false;
    tf_mqtt_server_sent(rig->server, sum, rig->now);
    check(rig);
    return true;
}

void rig_drain(struct rig *rig)
{
    if (!rig->server)
        return;
    do {
        rig_pull(rig);
    } while (send_some(rig, rig->way == RIG_TINY ? 1 : SIZE_MAX));
}

/* How many more bytes arrive next. */
static size_t step_of(struct rig *rig, size_t left)
{
    if (rig->way == RIG_BYTES)
        return 1;
    if (rig->way == RIG_SPLIT)
        return 1 + tf_random_split(&rig->seed) % left;
    return left;
}

void rig_send_bytes(struct rig *rig, struct tf_bytes bytes)
{
    size_t at = 0, arrived = 0;

    rig->err = TF_OK;
    while (at < bytes.length) {
        size_t used = 0, need = 0, have = arrived - at;
        /* An exact copy, so that a sanitizer sees the first byte read too far. */
        uint8_t *copy = malloc(have ? have : 1);
        memcpy(copy, bytes.data + at, have);
        rig->err =
            tf_mqtt_server_input(rig->server, tf_bytes_of(copy, have), &used, &need, rig->now);
        check(rig);
        bool moved = rig_pull(rig);
        memset(copy, 0xdd, have);
        free(copy);
        if (rig->way != RIG_TINY)
            moved |= send_some(rig, SIZE_MAX);
        if (rig->err == TF_OK) {
            at += used;
            continue;
        }
        assert_int_equal(used, 0);
        if (rig->err == TF_MORE) {
            assert_true(need > have);
            if (arrived == bytes.length)
                break;
            arrived += step_of(rig, bytes.length - arrived);
            continue;
        }
        if (rig->err == TF_AGAIN && rig->way == RIG_TINY)
            moved |= send_some(rig, 1);
        if (rig->err != TF_AGAIN || !moved)
            break;
    }
    rig->left = bytes.length - at;
    rig_drain(rig);
}

void rig_send(struct rig *rig, const char *text)
{
    struct tf_bytes bytes = notation_bytes(text);

    rig_send_bytes(rig, bytes);
    free((void *)(uintptr_t)bytes.data);
}

enum tf_err rig_deliver(struct rig *rig, const char *topic, const char *body, uint8_t qos,
                        uint64_t handle, uint64_t owner)
{
    struct tf_bytes span = tf_bytes_str(body);
    struct tf_mqtt_delivery delivery = {
        .handle = handle,
        .owner = owner,
        .topic = tf_bytes_str(topic),
        .body = &span,
        .body_count = 1,
        .qos = qos,
    };
    bool borrowed = false;
    enum tf_err err = tf_mqtt_server_deliver(rig->server, &delivery, &borrowed);

    check(rig);
    while (err == TF_AGAIN && (rig_pull(rig) || send_some(rig, 1))) {
        err = tf_mqtt_server_deliver(rig->server, &delivery, &borrowed);
        check(rig);
    }
    assert_int_equal(borrowed, !err && owner && rig->config.reference_from &&
                                   span.length >= rig->config.reference_from);
    return err;
}

/* --- what is expected
 * ------------------------------------------------------------------------------------ */

void rig_expect(struct rig *rig, const char *lines)
{
    rig_drain(rig);
    rig->log[rig->log_length] = 0;
    assert_string_equal(rig->log, lines);
    rig->log_length = 0;
}

static void expect_output(struct rig *rig, const char *text, bool exactly)
{
    struct tf_bytes want = notation_bytes(text);
    struct tf_bytes have;

    rig_drain(rig);
    have = tf_bytes_of(rig->out, rig->out_length);
    if (!exactly && have.length > want.length)
        have.length = want.length;
    char *want_hex = notation_hex(want), *have_hex = notation_hex(have);
    assert_string_equal(have_hex, want_hex);
    free(want_hex);
    free(have_hex);
    free((void *)(uintptr_t)want.data);
    rig->out_length = 0;
}

void rig_expect_output(struct rig *rig, const char *text)
{
    expect_output(rig, text, true);
}

void rig_expect_output_begins(struct rig *rig, const char *text)
{
    expect_output(rig, text, false);
}

void rig_expect_closing(struct rig *rig, uint8_t reason)
{
    uint8_t have = 0;

    assert_true(tf_mqtt_server_closing(rig->server, &have));
    assert_int_equal(have, reason);
}

void rig_handshake(struct rig *rig, unsigned version)
{
    rig_send(rig, version == 5 ? "10[<MQTT>05 02 003c [] <me>]" : "10[<MQTT>04 02 003c <me>]");
    assert_int_equal(rig->err, TF_OK);
    assert_false(tf_mqtt_server_closing(rig->server, NULL));
    rig->log_length = rig->out_length = 0;
}
