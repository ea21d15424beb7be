/*
 * The server's machine under a fuzzer: the input is a script of steps. Bytes from the peer come in
 * pieces of any size, the host answers events at once, later, with failures or not at all, delivers
 * messages, sends output in pieces, loses the connection and comes back with the same session.
 * After every step the machine's invariants must hold; the sanitizers see the rest.
 */
#include <stdlib.h>
#include <string.h>

#include <trefoil/mqtt_server.h>

#include "base/assert.h"

#define HELD_MAX 64

struct script {
    const uint8_t *next, *end;
};

struct host {
    struct tf_mqtt_server_config config;
    struct tf_mqtt_server *server;
    struct tf_mqtt_session session;
    void *parts[5];
    uint8_t *in; /* arrived and not taken */
    size_t in_length;
    uint16_t held[HELD_MAX]; /* PUBLISHes to be answered */
    uint16_t release[HELD_MAX], complete[HELD_MAX];
    unsigned held_count, release_count, complete_count;
    uint64_t handle;
    tf_time now;
    bool had_session;
    uint8_t mood;  /* bits that say how events are answered */
    long borrowed; /* bodies that are referred to */
};

static const char body_text[] =
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRST";

/* The next byte of the script; 0 at its end. */
static uint8_t take(struct script *script)
{
    return script->next < script->end ? *script->next++ : 0;
}

static void check(const struct host *host)
{
    tf_assert(tf_mqtt_server_check(host->server));
    tf_assert(tf_mqtt_session_check(&host->session));
}

static void start(struct host *host)
{
    size_t size = tf_mqtt_server_size(&host->config), buffer = 128 + (host->mood & 7) * 61u;

    tf_assert(size > 0);
    tf_assert(!tf_mqtt_server_init(&host->server, malloc(size), size, &host->config, host->now));
    tf_assert(!tf_mqtt_server_lend(host->server, malloc(buffer), buffer));
    check(host);
}

static void deliver(struct host *host, uint64_t handle, uint8_t qos, uint8_t bits)
{
    struct tf_bytes body = tf_bytes_of(body_text, bits & 63);
    static const uint32_t ids[] = {1, 268435455};
    struct tf_mqtt_delivery delivery = {
        .handle = handle,
        .owner = bits & 64 ? 1 + handle : 0,
        .topic = tf_bytes_of("topic/name", 1 + bits % 10),
        .body = &body,
        .body_count = 1,
        .subscription_ids = ids,
        .subscription_id_count = bits % 3,
        .has_expiry = bits & 1,
        .qos = qos,
        .retain = bits & 128,
    };
    bool borrowed = false;

    if (!tf_mqtt_server_deliver(host->server, &delivery, &borrowed))
        host->borrowed += borrowed;
}

static void on_connect(struct host *host, const struct tf_mqtt_server_event *event)
{
    struct tf_mqtt_server_accept accept = {
        .session = &host->session,
        .session_present = host->had_session,
        .session_expiry_s = event->session_expiry_s,
        .assigned_client_id = tf_bytes_of("assigned", host->mood & 8 ? 8 : 0),
    };

    if (host->mood & 128 && event->connect.keep_alive_s == 1)
        tf_assert(!tf_mqtt_server_refuse(host->server, 0x80 | host->mood));
    else if (!tf_mqtt_server_accept(host->server, &accept, host->now))
        host->had_session = true;
    else
        tf_mqtt_server_close(host->server, 0x97);
}

static void on_needs(struct host *host, const struct tf_mqtt_server_event *event)
{
    void *memory, *old = NULL;

    if ((host->mood & 0x30) == 0x30) {
        tf_mqtt_server_close(host->server, TF_MQTT_QUOTA_EXCEEDED);
        return;
    }
    memory = malloc(event->size);
    tf_assert(!tf_mqtt_server_give(host->server, event->part, memory, event->size, &old));
    free(old);
    host->parts[event->part] = event->part >= TF_MQTT_PART_PENDING ? memory : NULL;
}

/* Reads every byte of a view, so that a sanitizer sees one that is wrong. */
static void touch(struct tf_bytes bytes)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < bytes.length; i++)
        sum = (uint8_t)(sum + bytes.data[i]);
}

static void on_subscribe(struct host *host, const struct tf_mqtt_server_event *event)
{
    struct tf_mqtt_subscription subscription;
    struct tf_bytes filter;
    uint8_t *codes = malloc(65536);
    size_t offset = 0, count = 0;

    memset(codes, 0x80, 65536);
    if (event->type == TF_MQTT_SERVER_SUBSCRIBE) {
        for (; tf_mqtt_subscription_next(event->subscribe.payload, &offset, &subscription); count++)
            touch(subscription.filter);
        (void)!tf_mqtt_server_subscribed(host->server, event->packet_id, tf_bytes_of(codes, count));
    } else {
        for (; tf_mqtt_filter_next(event->unsubscribe.payload, &offset, &filter); count++)
            touch(filter);
        (void)!tf_mqtt_server_unsubscribed(host->server, event->packet_id,
                                           tf_bytes_of(codes, count));
    }
    free(codes);
}

static void answer(struct host *host, const struct tf_mqtt_server_event *event)
{
    bool later = host->mood & 64;

    switch (event->type) {
    case TF_MQTT_SERVER_CONNECT:
        touch(event->connect.client_id);
        on_connect(host, event);
        break;
    case TF_MQTT_SERVER_PUBLISH:
        touch(event->publish.topic);
        touch(event->publish.payload);
        tf_assert(event->publish.topic.length > 0);
        if (event->publish.qos > 0 && later && host->held_count < HELD_MAX)
            host->held[host->held_count++] = event->packet_id;
        else if (event->publish.qos > 0)
            tf_assert(!tf_mqtt_server_published(host->server, event->packet_id,
                                                host->mood & 8 ? 0x87 : 0));
        break;
    case TF_MQTT_SERVER_SUBSCRIBE:
    case TF_MQTT_SERVER_UNSUBSCRIBE:
        on_subscribe(host, event);
        break;
    case TF_MQTT_SERVER_RECEIVED:
        if (later && host->release_count < HELD_MAX)
            host->release[host->release_count++] = event->packet_id;
        else
            (void)!tf_mqtt_server_release(host->server, event->packet_id);
        break;
    case TF_MQTT_SERVER_RELEASED:
        if (later && host->complete_count < HELD_MAX)
            host->complete[host->complete_count++] = event->packet_id;
        else
            tf_assert(!tf_mqtt_server_complete(host->server, event->packet_id));
        break;
    case TF_MQTT_SERVER_RESEND:
        deliver(host, event->handle, event->handle & 1 ? 1 : 2, (uint8_t)event->handle);
        break;
    case TF_MQTT_SERVER_NEEDS:
        on_needs(host, event);
        break;
    case TF_MQTT_SERVER_RETURNED:
        host->borrowed--;
        break;
    case TF_MQTT_SERVER_BODY:
        touch(event->body);
        break;
    case TF_MQTT_SERVER_SETTLED:
    case TF_MQTT_SERVER_DISCONNECT:
        break;
    }
}

static void pull(struct host *host)
{
    struct tf_mqtt_server_event event;

    for (int i = 0; i < 1000 && tf_mqtt_server_event(host->server, &event); i++) {
        answer(host, &event);
        check(host);
    }
}

/* Gives what has arrived to the machine, each time an exact copy. */
static void feed(struct host *host)
{
    enum tf_err err = TF_OK;

    while (!err) {
        size_t used = 0, need = 0;
        uint8_t *copy = malloc(host->in_length ? host->in_length : 1);

        memcpy(copy, host->in, host->in_length);
        err = tf_mqtt_server_input(host->server, tf_bytes_of(copy, host->in_length), &used, &need,
                                   host->now);
        check(host);
        tf_assert(err || used > 0);
        tf_assert(err != TF_MORE || need > host->in_length);
        pull(host);
        free(copy);
        host->in_length -= used;
        memmove(host->in, host->in + used, host->in_length);
    }
}

static void send_some(struct host *host, size_t most)
{
    struct tf_bytes spans[4];
    size_t count = tf_mqtt_server_output(host->server, spans, 4), sum = 0;

    for (size_t i = 0; i < count; i++) {
        touch(spans[i]);
        sum += spans[i].length;
    }
    tf_mqtt_server_sent(host->server, sum < most ? sum : most, host->now);
    check(host);
    pull(host);
}

static void stop(struct host *host)
{
    void *buffer;

    tf_mqtt_server_abandon(host->server);
    pull(host);
    tf_assert(tf_mqtt_server_closing(host->server, NULL));
    buffer = tf_mqtt_server_take(host->server);
    tf_assert(buffer && host->borrowed == 0);
    free(buffer);
    for (int part = TF_MQTT_PART_PENDING; part <= TF_MQTT_PART_ALIASES; part++) {
        void *memory = tf_mqtt_server_reclaim(host->server, (enum tf_mqtt_part)part);
        tf_assert(memory == host->parts[part]);
        free(memory);
        host->parts[part] = NULL;
    }
    free(host->server);
    host->in_length = 0;
}

/* One step of the host's own. */
static void step(struct host *host, uint8_t op, uint8_t arg)
{
    switch (op) {
    case 0:
        send_some(host, 1u + arg * 4u);
        break;
    case 1:
        host->handle++;
        deliver(host, host->handle, arg % 3 ? (host->handle & 1 ? 1 : 2) : 0, arg);
        break;
    case 2:
        if (host->held_count > 0)
            (void)!tf_mqtt_server_published(host->server, host->held[--host->held_count],
                                            arg & 1 ? 0x87 : 0);
        break;
    case 3:
        if (host->release_count > 0)
            (void)!tf_mqtt_server_release(host->server, host->release[--host->release_count]);
        break;
    case 4:
        if (host->complete_count > 0)
            (void)!tf_mqtt_server_complete(host->server, host->complete[--host->complete_count]);
        break;
    case 5:
        host->now += arg * TF_SECOND;
        if (host->now >= tf_mqtt_server_deadline(host->server))
            tf_mqtt_server_tick(host->server, host->now);
        break;
    case 6:
        host->mood = arg;
        break;
    case 7:
        stop(host);
        start(host);
        break;
    default:
        if (arg == 0xff)
            tf_mqtt_server_close(host->server, 0x8b);
        break;
    }
    check(host);
    pull(host);
    feed(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct script script = {data, data + length};
    uint8_t shape = take(&script);
    struct host host = {
        .config = {.max_packet_size = 60000,
                   .max_connect_size = 1000,
                   .body_run = shape & 1 ? 16 : 0,
                   .reference_from = shape & 2 ? 8 : 0,
                   .connect_timeout_ms = 10000,
                   .topic_alias_bytes = shape & 4 ? 20 : 2000,
                   .receive_maximum = shape & 8 ? 2 : 12,
                   .topic_alias_maximum = 5,
                   .max_in_flight = shape & 16 ? 3 : 50,
                   .max_topic_levels = shape & 32 ? 2 : 0,
                   .maximum_qos = 2,
                   .retain_available = true,
                   .check_payload_format = shape & 64},
        .in = malloc(length + 64),
        .mood = shape,
    };

    tf_mqtt_session_init(&host.session);
    start(&host);
    if (shape & 128) { /* straight to what comes after CONNECT */
        static const uint8_t connect[] = {0x10, 14, 0,    4,    'M',  'Q', 'T', 'T',
                                          5,    0,  0x00, 0x10, 0x00, 0,   1,   'c'};
        memcpy(host.in, connect, sizeof connect);
        host.in_length = sizeof connect;
        feed(&host);
    }
    while (script.next < script.end) {
        uint8_t op = take(&script);

        if (op & 0x80) { /* so many bytes arrive */
            size_t count = op & 0x7f, left = (size_t)(script.end - script.next);
            count = count < left ? count : left;
            memcpy(host.in + host.in_length, script.next, count);
            host.in_length += count;
            script.next += count;
            feed(&host);
        } else {
            step(&host, op & 15, take(&script));
        }
    }
    stop(&host);
    free(host.session.sent);
    free(host.session.received);
    free(host.in);
    return 0;
}
