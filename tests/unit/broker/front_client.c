/*
 * A client for front tests. See front_client.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/broker/front_client.h"

#define PACKET_MAX 1100000u

struct packet {
    size_t length;
    uint8_t data[PACKET_MAX];
};

static struct packet *packet_new(void)
{
    struct packet *packet = malloc(sizeof(*packet));
    assert_non_null(packet);
    packet->length = 0;
    return packet;
}

static void put(struct packet *packet, const void *data, size_t length)
{
    assert_true(packet->length + length <= PACKET_MAX);
    if (length) {
        memcpy(packet->data + packet->length, data, length);
    }
    packet->length += length;
}

static void put_u8(struct packet *packet, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    put(packet, &byte, 1);
}

static void put_u16(struct packet *packet, unsigned value)
{
    put_u8(packet, value >> 8);
    put_u8(packet, value & 255);
}

static void put_u32(struct packet *packet, uint32_t value)
{
    put_u16(packet, value >> 16);
    put_u16(packet, value & 65535);
}

static void put_text(struct packet *packet, const char *text)
{
    put_u16(packet, (unsigned)strlen(text));
    put(packet, text, strlen(text));
}

static void put_varint(struct packet *packet, size_t value)
{
    do {
        put_u8(packet, (value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
    } while (value);
}

static void send_and_free(struct client *client, unsigned first, struct packet *packet)
{
    peer_send(client, first, packet->data, packet->length);
    free(packet);
}

void peer_send(struct client *client, unsigned first, const void *body, size_t length)
{
    struct packet *head = packet_new();
    put_u8(head, first);
    put_varint(head, length);
    driver_feed(client->conn, head->data, head->length);
    driver_feed(client->conn, body, length);
    free(head);
}

static void put_will(struct packet *packet, const struct hello *hello)
{
    if (hello->version != 4) {
        put_varint(packet, (hello->will_delay ? 5 : 0) + (hello->will_expiry ? 5 : 0));
        if (hello->will_delay) {
            put_u8(packet, 0x18);
            put_u32(packet, hello->will_delay);
        }
        if (hello->will_expiry) {
            put_u8(packet, 0x02);
            put_u32(packet, hello->will_expiry);
        }
    }
    put_text(packet, hello->will_topic);
    put_text(packet, hello->will_body);
}

void peer_send_connect(struct client *client, struct driver *driver, unsigned shard, const char *id,
                       struct hello hello)
{
    struct packet *packet = packet_new();
    client->driver = driver;
    client->version = hello.version ? hello.version : 5;
    client->conn = driver_open(driver, shard);
    put_text(packet, "MQTT");
    put_u8(packet, client->version);
    put_u8(packet, (hello.clean ? 2 : 0) |
                       (hello.will_topic ? 4 | 1 << 3 | (hello.will_retain ? 32 : 0) : 0));
    put_u16(packet, hello.keep_alive);
    if (client->version == 5) {
        put_varint(packet, (hello.expiry ? 5 : 0) + (hello.receive_maximum ? 3 : 0) +
                               (hello.max_packet ? 5 : 0));
        if (hello.expiry) {
            put_u8(packet, 0x11);
            put_u32(packet, hello.expiry);
        }
        if (hello.receive_maximum) {
            put_u8(packet, 0x21);
            put_u16(packet, hello.receive_maximum);
        }
        if (hello.max_packet) {
            put_u8(packet, 0x27);
            put_u32(packet, hello.max_packet);
        }
    }
    put_text(packet, id);
    if (hello.will_topic) {
        put_will(packet, &hello);
    }
    send_and_free(client, 0x10, packet);
}

bool peer_connect(struct client *client, struct driver *driver, unsigned shard, const char *id,
                  struct hello hello)
{
    peer_send_connect(client, driver, shard, id, hello);
    struct reply reply = peer_expect(client, CONNACK);
    assert_int_equal(reply.reason, 0);
    return reply.body[0] & 1;
}

void peer_publish_with(struct client *client, const char *topic, struct tf_bytes body,
                       unsigned flags, uint16_t id, const char *properties, size_t length)
{
    struct packet *packet = packet_new();
    put_text(packet, topic);
    if (flags & 6) {
        put_u16(packet, id);
    }
    if (client->version == 5) {
        put_varint(packet, length);
        put(packet, properties, length);
    }
    put(packet, body.data, body.length);
    send_and_free(client, 0x30 | flags, packet);
}

void peer_publish(struct client *client, const char *topic, const char *body, unsigned flags,
                  uint16_t id)
{
    peer_publish_with(client, topic, tf_bytes_str(body), flags, id, NULL, 0);
}

void peer_acknowledge(struct client *client, unsigned type, uint16_t id)
{
    uint8_t body[2] = {(uint8_t)(id >> 8), (uint8_t)id};
    peer_send(client, type << 4 | (type == PUBREL ? 2 : 0), body, 2);
}

void peer_send_subscribe(struct client *client, uint16_t id, const char *filter, unsigned options,
                         uint8_t sub_id)
{
    struct packet *packet = packet_new();
    put_u16(packet, id);
    if (client->version == 5) {
        put_u8(packet, sub_id ? 2 : 0);
        if (sub_id) {
            put_u8(packet, 0x0B);
            put_u8(packet, sub_id);
        }
    }
    put_text(packet, filter);
    put_u8(packet, options);
    send_and_free(client, 0x82, packet);
}

uint8_t peer_subscribe(struct client *client, const char *filter, unsigned options)
{
    peer_send_subscribe(client, 1, filter, options, 0);
    struct reply reply = peer_expect(client, SUBACK);
    assert_int_equal(reply.id, 1);
    return reply.body[reply.length - 1];
}

void peer_ping(struct client *client)
{
    peer_send(client, 0xC0, NULL, 0);
}

void peer_disconnect(struct client *client, uint8_t reason)
{
    peer_send(client, 0xE0, &reason, reason && client->version == 5 ? 1 : 0);
}

static size_t varint_at(const uint8_t *at, size_t length, size_t *ret_value)
{
    size_t value = 0;
    for (size_t i = 0; i < 4 && i < length; i++) {
        value |= (size_t)(at[i] & 127) << 7 * i;
        if (at[i] < 128) {
            *ret_value = value;
            return i + 1;
        }
    }
    return 0;
}

static void take_publish(const struct client *client, struct reply *reply)
{
    struct tf_reader reader = tf_reader_of(tf_bytes_of(reply->body, reply->length));
    reply->topic = tf_read_bytes16(&reader);
    reply->qos = reply->flags >> 1 & 3;
    reply->dup = reply->flags >> 3;
    reply->retain = reply->flags & 1;
    if (reply->qos) {
        reply->id = tf_read_u16(&reader);
    }
    if (client->version == 5) {
        size_t length = 0;
        size_t used = varint_at(reader.next, tf_reader_left(&reader), &length);
        (void)tf_read_bytes(&reader, used);
        reply->properties = tf_read_bytes(&reader, length);
    }
    reply->payload = tf_read_rest(&reader);
    assert_false(reader.failed);
}

bool peer_take(struct client *client, struct reply *ret)
{
    struct driver_conn *conn = client->conn;
    size_t length = 0;
    driver_run(client->driver);
    const uint8_t *at = conn->out + conn->out_taken;
    size_t left = conn->out_length - conn->out_taken;
    size_t used = left > 1 ? varint_at(at + 1, left - 1, &length) : 0;
    if (used == 0 || left < 1 + used + length) {
        return false;
    }
    *ret = (struct reply){
        .type = at[0] >> 4, .flags = at[0] & 15, .body = at + 1 + used, .length = length};
    conn->out_taken += 1 + used + length;
    if (ret->type == PUBLISH) {
        take_publish(client, ret);
    } else if (ret->type == CONNACK) {
        ret->reason = ret->body[1];
    } else if (ret->type == DISCONNECT) {
        ret->reason = length ? ret->body[0] : 0;
    } else if (length >= 2) {
        ret->id = (uint16_t)(ret->body[0] << 8 | ret->body[1]);
        ret->reason = length > 2 ? ret->body[2] : 0;
    }
    return true;
}

struct reply peer_expect(struct client *client, unsigned type)
{
    struct reply reply = {0};
    if (!peer_take(client, &reply)) {
        fail_msg("no packet of type %u", type);
    }
    if (reply.type != type) {
        fail_msg("type %u (reason 0x%02x) and not %u", reply.type, reply.reason, type);
    }
    return reply;
}

uint16_t peer_expect_publish(struct client *client, const char *topic, const char *body,
                             unsigned flags)
{
    struct reply reply = peer_expect(client, PUBLISH);
    if (!tf_bytes_equal(reply.topic, tf_bytes_str(topic)) ||
        !tf_bytes_equal(reply.payload, tf_bytes_str(body)) || reply.flags != flags) {
        fail_msg("%.*s = %.*s, flags %x; wanted %s = %s, flags %x", (int)reply.topic.length,
                 reply.topic.data, (int)TF_MIN(reply.payload.length, 100u), reply.payload.data,
                 reply.flags, topic, body, flags);
    }
    return reply.id;
}

void peer_expect_nothing(struct client *client)
{
    struct reply reply;
    if (peer_take(client, &reply)) {
        fail_msg("a packet of type %u (reason 0x%02x) too many", reply.type, reply.reason);
    }
    assert_int_equal(client->conn->out_taken, client->conn->out_length);
}

void peer_expect_end(struct client *client, uint8_t reason)
{
    if (reason) {
        assert_int_equal(peer_expect(client, DISCONNECT).reason, reason);
    }
    peer_expect_nothing(client);
    assert_true(client->conn->ended);
}

/* The length of a property's value; the identifiers that a server sends (MQTT 5.0 2.2.2.2). */
static size_t value_size(uint8_t id, const uint8_t *at)
{
    size_t value;
    switch (id) {
    case 0x01:
    case 0x19:
    case 0x24:
    case 0x25:
    case 0x28:
    case 0x29:
    case 0x2A:
        return 1;
    case 0x13:
    case 0x21:
    case 0x22:
    case 0x23:
        return 2;
    case 0x02:
    case 0x11:
    case 0x18:
    case 0x27:
        return 4;
    case 0x0B:
        return varint_at(at, 4, &value);
    case 0x26:
        value = 2u + (at[0] << 8 | at[1]);
        return value + 2u + (at[value] << 8 | at[value + 1]);
    default:
        return 2u + (at[0] << 8 | at[1]);
    }
}

const uint8_t *reply_property(struct tf_bytes properties, uint8_t id)
{
    size_t at = 0;
    while (at < properties.length) {
        uint8_t found = properties.data[at++];
        if (found == id) {
            return properties.data + at;
        }
        at += value_size(found, properties.data + at);
    }
    return NULL;
}
