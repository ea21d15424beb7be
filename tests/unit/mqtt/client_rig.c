/*
 * A host for the client's machine in tests; see client_rig.h.
 */
#include "client_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "notation.h"

static void check(const struct client_rig *rig)
{
    assert_true(tf_mqtt_client_check(rig->client));
    assert_true(tf_mqtt_session_check(&rig->session));
}

static void note(struct client_rig *rig, const char *format, ...)
{
    size_t room = sizeof rig->log - rig->log_length;
    va_list args;

    va_start(args, format);
    int length = vsnprintf(rig->log + rig->log_length, room, format, args);
    va_end(args);
    assert_true(length >= 0 && (size_t)length < room);
    rig->log_length += (size_t)length;
}

void client_rig_init(struct client_rig *rig, enum rig_way way, unsigned version)
{
    memset(rig, 0, sizeof *rig);
    rig->way = way;
    rig->seed = 1;
    rig->now = 1000 * TF_SECOND;
    tf_mqtt_session_init(&rig->session);
    rig->config = (struct tf_mqtt_client_config){
        .features = TF_MQTT_CLIENT_ALL,
        .connect = {.version = (uint8_t)version,
                    .clean_start = true,
                    .keep_alive_s = 60,
                    .client_id = tf_bytes_str("me")},
        .session = &rig->session,
        .max_packet_size = TF_MQTT_LENGTH_MAX,
        .topic_alias_bytes = 1000,
        .connack_timeout_ms = 10000,
        .ping_timeout_ms = 5000,
        .receive_maximum = 65535,
        .max_in_flight = 20,
        .check_payload_format = true,
    };
}

void client_rig_connect(struct client_rig *rig)
{
    size_t size = tf_mqtt_client_size(&rig->config);
    size_t buffer = rig->buffer_size ? rig->buffer_size : rig->way == RIG_TINY ? 128 : 4096;

    assert_true(size > 0);
    assert_int_equal(tf_mqtt_client_init(&rig->client, malloc(size), size, &rig->config, rig->now),
                     TF_OK);
    check(rig);
    assert_int_equal(tf_mqtt_client_lend(rig->client, malloc(buffer), buffer), TF_OK);
    check(rig);
}

void client_rig_handshake(struct client_rig *rig)
{
    client_rig_connect(rig);
    client_rig_drain(rig);
    client_rig_send(rig, rig->config.connect.version == 5 ? "20[00 00 []]" : "20[00 00]");
    assert_int_equal(rig->err, TF_OK);
    assert_false(tf_mqtt_client_closing(rig->client, NULL));
    rig->log_length = rig->out_length = 0;
}

void client_rig_disconnect(struct client_rig *rig)
{
    tf_mqtt_client_abandon(rig->client);
    while (client_rig_pull(rig))
        ;
    void *buffer = tf_mqtt_client_take(rig->client);
    assert_non_null(buffer);
    free(buffer);
    for (int part = TF_MQTT_PART_PENDING; part <= TF_MQTT_PART_ALIASES; part++) {
        void *memory = tf_mqtt_client_reclaim(rig->client, (enum tf_mqtt_part)part);
        assert_ptr_equal(memory, rig->parts[part]);
        free(memory);
        rig->parts[part] = NULL;
    }
    check(rig);
    free(rig->client);
    rig->client = NULL;
    rig->body_length = 0;
}

void client_rig_release(struct client_rig *rig)
{
    if (rig->client)
        client_rig_disconnect(rig);
    free(rig->session.sent);
    free(rig->session.received);
    free(rig->out);
    free(rig->body);
}

/* --- events
 * -------------------------------------------------------------------------------------------- */

static void on_body(struct client_rig *rig, struct tf_bytes run, size_t left)
{
    rig->body = realloc(rig->body, rig->body_length + run.length + 1);
    if (run.length > 0)
        memcpy(rig->body + rig->body_length, run.data, run.length);
    rig->body_length += run.length;
    if (left > 0)
        return;
    note(rig, "%s '%.*s'\n", rig->publish_head, (int)rig->body_length, (char *)rig->body);
    rig->body_length = 0;
    if (rig->publish_qos > 0 && !rig->hold_ack)
        assert_int_equal(tf_mqtt_client_ack(rig->client, rig->publish_id, rig->ack_reason), TF_OK);
}

static void on_publish(struct client_rig *rig, const struct tf_mqtt_client_event *event)
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

static void on_needs(struct client_rig *rig, const struct tf_mqtt_client_event *event)
{
    void *memory = malloc(event->size), *old = NULL;

    assert_int_equal(tf_mqtt_client_give(rig->client, event->part, memory, event->size, &old),
                     TF_OK);
    if (event->part >= TF_MQTT_PART_PENDING) {
        assert_ptr_equal(old, rig->parts[event->part]);
        rig->parts[event->part] = memory;
    }
    free(old);
}

static void note_codes(struct client_rig *rig, const char *name,
                       const struct tf_mqtt_client_event *event)
{
    note(rig, "%s %u", name, (unsigned)event->handle);
    for (size_t i = 0; i < event->reasons.length; i++)
        note(rig, " %02x", event->reasons.data[i]);
    note(rig, "\n");
}

static void answer(struct client_rig *rig, const struct tf_mqtt_client_event *event)
{
    switch (event->type) {
    case TF_MQTT_CLIENT_CONNECTED:
        note(rig, "CONNECTED%s", event->session_present ? " present" : "");
        if (event->assigned_client_id.length > 0)
            note(rig, " as '%.*s'", (int)event->assigned_client_id.length,
                 (const char *)event->assigned_client_id.data);
        note(rig, "\n");
        break;
    case TF_MQTT_CLIENT_REFUSED:
        note(rig, "REFUSED %02x\n", event->reason);
        break;
    case TF_MQTT_CLIENT_PUBLISH:
        on_publish(rig, event);
        break;
    case TF_MQTT_CLIENT_BODY:
        on_body(rig, event->body, event->payload_left);
        break;
    case TF_MQTT_CLIENT_SUBSCRIBED:
        note_codes(rig, "SUBSCRIBED", event);
        break;
    case TF_MQTT_CLIENT_UNSUBSCRIBED:
        note_codes(rig, "UNSUBSCRIBED", event);
        break;
    case TF_MQTT_CLIENT_SETTLED:
        note(rig, "SETTLED %u %02x\n", (unsigned)event->handle, event->reason);
        break;
    case TF_MQTT_CLIENT_RECEIVED:
        note(rig, "RECEIVED %u\n", (unsigned)event->handle);
        assert_int_equal(tf_mqtt_client_release(rig->client, event->packet_id), TF_OK);
        break;
    case TF_MQTT_CLIENT_RELEASED:
        note(rig, "RELEASED %u\n", event->packet_id);
        assert_int_equal(tf_mqtt_client_complete(rig->client, event->packet_id), TF_OK);
        break;
    case TF_MQTT_CLIENT_RESEND:
        note(rig, "RESEND %u\n", (unsigned)event->handle);
        break;
    case TF_MQTT_CLIENT_LOST:
        note(rig, "LOST %u\n", (unsigned)event->handle);
        break;
    case TF_MQTT_CLIENT_RETURNED:
        note(rig, "RETURNED %u\n", (unsigned)event->owner);
        break;
    case TF_MQTT_CLIENT_NEEDS:
        on_needs(rig, event);
        break;
    case TF_MQTT_CLIENT_DISCONNECT:
        note(rig, "DISCONNECT %02x\n", event->reason);
        break;
    }
}

bool client_rig_pull(struct client_rig *rig)
{
    struct tf_mqtt_client_event event;
    bool any = false;

    memset(&event, 0xee, sizeof event);
    while (tf_mqtt_client_event(rig->client, &event)) {
        answer(rig, &event);
        check(rig);
        any = true;
        memset(&event, 0xee, sizeof event);
    }
    return any;
}

/* --- bytes
 * --------------------------------------------------------------------------------------------- */

static bool send_some(struct client_rig *rig, size_t most)
{
    struct tf_bytes spans[3];
    size_t count = tf_mqtt_client_output(rig->client, spans, 3), sum = 0;

    for (size_t i = 0; i < count && sum < most; i++) {
        size_t step = spans[i].length < most - sum ? spans[i].length : most - sum;
        rig->out = realloc(rig->out, rig->out_length + step);
        memcpy(rig->out + rig->out_length, spans[i].data, step);
        rig->out_length += step;
        sum += step;
    }
    if (sum == 0)
        return false;
    tf_mqtt_client_sent(rig->client, sum, rig->now);
    check(rig);
    return true;
}

void client_rig_drain(struct client_rig *rig)
{
    if (!rig->client)
        return;
    do {
        client_rig_pull(rig);
    } while (send_some(rig, rig->way == RIG_TINY ? 1 : SIZE_MAX));
}

static size_t step_of(struct client_rig *rig, size_t left)
{
    if (rig->way == RIG_BYTES)
        return 1;
    if (rig->way == RIG_SPLIT)
        return 1 + tf_random_split(&rig->seed) % left;
    return left;
}

void client_rig_send(struct client_rig *rig, const char *text)
{
    struct tf_bytes bytes = notation_bytes(text);
    size_t at = 0, arrived = 0;

    rig->err = TF_OK;
    while (at < bytes.length) {
        size_t used = 0, need = 0, have = arrived - at;
        uint8_t *copy = malloc(have ? have : 1);
        memcpy(copy, bytes.data + at, have);
        rig->err =
            tf_mqtt_client_input(rig->client, tf_bytes_of(copy, have), &used, &need, rig->now);
        check(rig);
        bool moved = client_rig_pull(rig);
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
    free((void *)(uintptr_t)bytes.data);
    client_rig_drain(rig);
}

enum tf_err client_rig_publish(struct client_rig *rig, const char *topic, const char *body,
                               uint8_t qos, uint64_t handle, uint64_t owner)
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
    enum tf_err err = tf_mqtt_client_publish(rig->client, &delivery, &borrowed);

    check(rig);
    while (err == TF_AGAIN && (client_rig_pull(rig) || send_some(rig, 1))) {
        err = tf_mqtt_client_publish(rig->client, &delivery, &borrowed);
        check(rig);
    }
    return err;
}

enum tf_err client_rig_subscribe(struct client_rig *rig, const char *filter, uint8_t qos,
                                 uint64_t handle)
{
    struct tf_mqtt_subscription subscription = {.filter = tf_bytes_str(filter), .qos = qos};
    struct tf_bytes none = {0};
    enum tf_err err;

    do {
        err = tf_mqtt_client_subscribe(rig->client, handle, &subscription, 1, none);
        check(rig);
    } while (err == TF_AGAIN && (client_rig_pull(rig) || send_some(rig, 1)));
    return err;
}

/* --- what is expected
 * ------------------------------------------------------------------------------------ */

void client_rig_expect(struct client_rig *rig, const char *lines)
{
    client_rig_drain(rig);
    rig->log[rig->log_length] = 0;
    assert_string_equal(rig->log, lines);
    rig->log_length = 0;
}

void client_rig_expect_output(struct client_rig *rig, const char *text)
{
    struct tf_bytes want = notation_bytes(text);

    client_rig_drain(rig);
    char *want_hex = notation_hex(want);
    char *have_hex = notation_hex(tf_bytes_of(rig->out, rig->out_length));
    assert_string_equal(have_hex, want_hex);
    free(want_hex);
    free(have_hex);
    free((void *)(uintptr_t)want.data);
    rig->out_length = 0;
}

void client_rig_expect_closing(struct client_rig *rig, uint8_t reason)
{
    uint8_t have = 0;

    assert_true(tf_mqtt_client_closing(rig->client, &have));
    assert_int_equal(have, reason);
}
