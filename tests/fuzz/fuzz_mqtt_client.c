/*
 * The client's machine under a fuzzer: the input is a script of steps. Bytes from the server come
 * in pieces of any size, the host publishes, subscribes and answers at once, later or not at all,
 * sends output in pieces, loses the connection and comes back with the same session. After every
 * step the machine's invariants must hold; the sanitizers see the rest.
 */
#include <stdlib.h>
#include <string.h>

#include <trefoil/mqtt_client.h>

#include "base/assert.h"

#define HELD_MAX 64

struct script {
    const uint8_t *next, *end;
};

struct host {
    struct tf_mqtt_client_config config;
    struct tf_mqtt_client *client;
    struct tf_mqtt_session session;
    void *parts[5];
    uint8_t *in; /* arrived and not taken */
    size_t in_length;
    uint16_t held[HELD_MAX];
    uint16_t release[HELD_MAX], complete[HELD_MAX];
    unsigned held_count, release_count, complete_count;
    uint64_t handle;
    tf_time now;
    uint8_t mood; /* bits that say how events are answered */
    long borrowed;
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
    tf_assert(tf_mqtt_client_check(host->client));
    tf_assert(tf_mqtt_session_check(&host->session));
}

static void start(struct host *host)
{
    size_t size = tf_mqtt_client_size(&host->config), buffer = 128 + (host->mood & 7) * 61u;

    tf_assert(size > 0 && size <= TF_MQTT_CLIENT_SIZE);
    tf_assert(!tf_mqtt_client_init(&host->client, malloc(size), size, &host->config, host->now));
    tf_assert(!tf_mqtt_client_lend(host->client, malloc(buffer), buffer));
    check(host);
}

static void publish(struct host *host, uint64_t handle, uint8_t qos, uint8_t bits)
{
    struct tf_bytes body = tf_bytes_of(body_text, bits & 63);
    struct tf_mqtt_delivery delivery = {
        .handle = handle,
        .owner = bits & 64 ? 1 + handle : 0,
        .topic = tf_bytes_of("topic/name", 1 + bits % 10),
        .body = &body,
        .body_count = 1,
        .has_expiry = bits & 1,
        .qos = qos,
        .retain = bits & 128,
    };
    bool borrowed = false;

    if (!tf_mqtt_client_publish(host->client, &delivery, &borrowed))
        host->borrowed += borrowed;
}

static void request(struct host *host, uint8_t bits)
{
    struct tf_mqtt_subscription subscriptions[3] = {
        {.filter = tf_bytes_of("a/#", 1 + bits % 3), .qos = bits % 3},
        {.filter = tf_bytes_of("$share/g/x", bits & 8 ? 10 : 7), .no_local = bits & 16},
        {.filter = tf_bytes_of("+/b", 3), .retain_handling = 2},
    };
    struct tf_bytes filters[2] = {subscriptions[0].filter, subscriptions[2].filter};
    struct tf_bytes none = {0};

    if (bits & 128)
        (void)!tf_mqtt_client_unsubscribe(host->client, ++host->handle, filters, 1 + bits % 2,
                                          none);
    else
        (void)!tf_mqtt_client_subscribe(host->client, ++host->handle, subscriptions, 1 + bits % 3,
                                        none);
}

/* Reads every byte of a view, so that a sanitizer sees one that is wrong. */
static void touch(struct tf_bytes bytes)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < bytes.length; i++)
        sum = (uint8_t)(sum + bytes.data[i]);
}

static void on_needs(struct host *host, const struct tf_mqtt_client_event *event)
{
    void *memory, *old = NULL;

    if ((host->mood & 0x30) == 0x30)
        return; /* there is none: what needs it waits */
    memory = malloc(event->size);
    tf_assert(!tf_mqtt_client_give(host->client, event->part, memory, event->size, &old));
    free(old);
    host->parts[event->part] = event->part >= TF_MQTT_PART_PENDING ? memory : NULL;
}

static void answer(struct host *host, const struct tf_mqtt_client_event *event)
{
    bool later = host->mood & 64;

    switch (event->type) {
    case TF_MQTT_CLIENT_PUBLISH:
        touch(event->publish.topic);
        touch(event->publish.payload);
        tf_assert(event->publish.topic.length > 0);
        if (event->publish.qos > 0 && later && host->held_count < HELD_MAX)
            host->held[host->held_count++] = event->packet_id;
        else if (event->publish.qos > 0)
            tf_assert(
                !tf_mqtt_client_ack(host->client, event->packet_id, host->mood & 8 ? 0x87 : 0));
        break;
    case TF_MQTT_CLIENT_RECEIVED:
        tf_assert(host->config.stored);
        if (later && host->release_count < HELD_MAX)
            host->release[host->release_count++] = event->packet_id;
        else
            (void)!tf_mqtt_client_release(host->client, event->packet_id);
        break;
    case TF_MQTT_CLIENT_RELEASED:
        tf_assert(host->config.stored);
        if (later && host->complete_count < HELD_MAX)
            host->complete[host->complete_count++] = event->packet_id;
        else
            tf_assert(!tf_mqtt_client_complete(host->client, event->packet_id));
        break;
    case TF_MQTT_CLIENT_RESEND:
        publish(host, event->handle, event->handle & 1 ? 1 : 2, (uint8_t)event->handle);
        break;
    case TF_MQTT_CLIENT_NEEDS:
        on_needs(host, event);
        break;
    case TF_MQTT_CLIENT_RETURNED:
        host->borrowed--;
        break;
    case TF_MQTT_CLIENT_CONNECTED:
        touch(event->assigned_client_id);
        break;
    case TF_MQTT_CLIENT_SUBSCRIBED:
    case TF_MQTT_CLIENT_UNSUBSCRIBED:
        touch(event->reasons);
        touch(event->properties);
        break;
    case TF_MQTT_CLIENT_BODY:
        touch(event->body);
        break;
    case TF_MQTT_CLIENT_DISCONNECT:
        touch(event->properties);
        break;
    case TF_MQTT_CLIENT_REFUSED:
    case TF_MQTT_CLIENT_SETTLED:
    case TF_MQTT_CLIENT_LOST:
        break;
    }
}

static void pull(struct host *host)
{
    struct tf_mqtt_client_event event;

    for (int i = 0; i < 1000 && tf_mqtt_client_event(host->client, &event); i++) {
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
        err = tf_mqtt_client_input(host->client, tf_bytes_of(copy, host->in_length), &used, &need,
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
    size_t count = tf_mqtt_client_output(host->client, spans, 4), sum = 0;

    for (size_t i = 0; i < count; i++) {
        touch(spans[i]);
        sum += spans[i].length;
    }
    tf_mqtt_client_sent(host->client, sum < most ? sum : most, host->now);
    check(host);
    pull(host);
}

static void stop(struct host *host)
{
    void *buffer;

    tf_mqtt_client_abandon(host->client);
    pull(host);
    tf_assert(tf_mqtt_client_closing(host->client, NULL));
    buffer = tf_mqtt_client_take(host->client);
    tf_assert(buffer && host->borrowed == 0);
    free(buffer);
    for (int part = TF_MQTT_PART_PENDING; part <= TF_MQTT_PART_ALIASES; part++) {
        void *memory = tf_mqtt_client_reclaim(host->client, (enum tf_mqtt_part)part);
        tf_assert(memory == host->parts[part]);
        free(memory);
        host->parts[part] = NULL;
    }
    free(host->client);
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
        publish(host, host->handle + 1, arg % 3 ? (host->handle & 1 ? 2 : 1) : 0, arg);
        host->handle++;
        break;
    case 2:
        if (host->held_count > 0)
            (void)!tf_mqtt_client_ack(host->client, host->held[--host->held_count],
                                      arg & 1 ? 0x87 : 0);
        break;
    case 3:
        if (host->release_count > 0)
            (void)!tf_mqtt_client_release(host->client, host->release[--host->release_count]);
        break;
    case 4:
        if (host->complete_count > 0)
            (void)!tf_mqtt_client_complete(host->client, host->complete[--host->complete_count]);
        break;
    case 5:
        host->now += arg * TF_SECOND;
        if (host->now >= tf_mqtt_client_deadline(host->client))
            tf_mqtt_client_tick(host->client, host->now);
        break;
    case 6:
        host->mood = arg;
        break;
    case 7:
        stop(host);
        start(host);
        break;
    case 8:
        request(host, arg);
        break;
    default:
        if (arg == 0xff)
            tf_mqtt_client_disconnect(host->client, 0);
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
        .config = {.features = TF_MQTT_CLIENT_ALL,
                   .connect = {.version = shape & 32 ? 4 : 5,
                               .keep_alive_s = 60,
                               .client_id = tf_bytes_of("c", 1)},
                   .max_packet_size = 60000,
                   .body_run = shape & 1 ? 16 : 0,
                   .reference_from = shape & 2 ? 8 : 0,
                   .connack_timeout_ms = 10000,
                   .ping_timeout_ms = 5000,
                   .topic_alias_bytes = shape & 4 ? 20 : 2000,
                   .receive_maximum = shape & 8 ? 2 : 12,
                   .topic_alias_maximum = 5,
                   .max_in_flight = shape & 16 ? 3 : 50,
                   .check_payload_format = true,
                   .stored = shape & 64},
        .in = malloc(length + 64),
        .mood = shape,
    };

    tf_mqtt_session_init(&host.session);
    host.config.session = &host.session;
    start(&host);
    if (shape & 128) { /* straight to what comes after CONNACK */
        static const uint8_t connack[] = {0x20, 3, 0, 0, 0};
        host.in_length = shape & 32 ? 4 : 5;
        memcpy(host.in, connack, host.in_length);
        host.in[1] = (uint8_t)(host.in_length - 2);
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
