/*
 * The client of bench_mqtt.h. A PUBLISH is written once by the codec and then copied and patched:
 * packet id, and in the payload the publisher, the number and the time of sending.
 */
#include "cli/bench_mqtt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/util.h"

#include <trefoil/mqtt_packet.h>

enum { SUBSCRIBE_ID = 1, NAME_MAX = 64, ID_COUNT = 65535 };

static enum tf_err fail(struct tf_bench_world *world, const char *what, unsigned reason)
{
    snprintf(world->why, sizeof world->why, "%s: 0x%02X %s", what, reason,
             tf_mqtt_reason_name(reason));
    return TF_PROTOCOL;
}

/* One topic for each number; idle clients have their own. */
static struct tf_bytes topic_name(const struct tf_bench_world *world,
                                  const struct tf_bench_client *client, char *name)
{
    int length = snprintf(name, NAME_MAX, "bench/%04x/%u", (unsigned)world->run & 0xFFFF,
                          (unsigned)tf_bench_topic(world, client));
    return tf_bytes_of(name, (size_t)length);
}

/* Makes the PUBLISH that will be patched. The time in the payload is a filler until then. */
static enum tf_err make_frame(struct tf_bench_world *world, struct tf_bench_client *client)
{
    size_t size = world->config->size;
    char name[NAME_MAX];
    uint8_t *payload = malloc(size);
    if (!payload)
        return TF_NO_MEMORY;
    memset(payload, 'x', size);
    struct tf_mqtt_publish packet = {.qos = world->config->qos,
                                     .packet_id = world->config->qos ? 1 : 0,
                                     .topic = topic_name(world, client, name),
                                     .payload = tf_bytes_of(payload, size)};
    client->frame_length = tf_mqtt_publish_size(&packet, world->config->version);
    client->frame = malloc(client->frame_length);
    if (client->frame) {
        struct tf_writer writer = tf_writer_of(client->frame, client->frame_length);
        tf_mqtt_publish_write(&writer, &packet, world->config->version);
        tf_assert(!writer.failed && tf_writer_length(&writer) == client->frame_length);
        client->stamp_offset = client->frame_length - size;
        if (packet.qos > 0) /* before it, in 5.0, one byte: no properties */
            client->id_offset = client->stamp_offset - (world->config->version == TF_MQTT_5) - 2;
    }
    free(payload);
    return client->frame ? TF_OK : TF_NO_MEMORY;
}

enum tf_err tf_bench_mqtt_greet(struct tf_bench_world *world, struct tf_bench_client *client,
                                tf_time now)
{
    static const char letters[] = {'p', 's', 'i'};
    (void)now;
    client->in_flight_max = ID_COUNT / 2;
    if (world->config->durable && world->config->window) /* an acknowledgement says more then */
        client->in_flight_max = TF_MIN(client->in_flight_max, world->config->window);
    if (client->role == TF_BENCH_PUBLISHER) {
        enum tf_err err = make_frame(world, client);
        if (err)
            return err;
    }
    if (world->config->bare) /* at QoS 1 it answers each frame with this PUBACK */
        return tf_bench_bare_greet(world, client, world->config->qos ? "40020001" : "");
    char name[NAME_MAX];
    int length = snprintf(name, sizeof name, "bench-%04x-%c%u", (unsigned)world->run & 0xFFFF,
                          letters[client->role], (unsigned)client->index);
    bool lasts = world->config->durable && client->role == TF_BENCH_SUBSCRIBER;
    struct tf_mqtt_connect packet = {.version = world->config->version,
                                     .clean_start = !lasts,
                                     .client_id = tf_bytes_of(name, (size_t)length)};
    uint8_t expiry[8];
    if (lasts && world->config->version == TF_MQTT_5) {
        struct tf_mqtt_property property = {.id = TF_MQTT_SESSION_EXPIRY, .number = 60};
        struct tf_writer properties = tf_writer_of(expiry, sizeof expiry);
        tf_mqtt_property_write(&properties, &property);
        packet.properties = tf_bytes_of(expiry, tf_writer_length(&properties));
    }
    size_t size = tf_mqtt_connect_size(&packet);
    uint8_t *room = tf_bench_buffer_reserve(&client->out, size);
    if (!room)
        return TF_NO_MEMORY;
    struct tf_writer writer = tf_writer_of(room, size);
    tf_mqtt_connect_write(&writer, &packet);
    client->out.end += tf_writer_length(&writer);
    return TF_OK;
}

static enum tf_err subscribe(struct tf_bench_world *world, struct tf_bench_client *client)
{
    char name[NAME_MAX];
    uint8_t payload[NAME_MAX + 3];
    struct tf_mqtt_subscription subscription = {.filter = topic_name(world, client, name),
                                                .qos = world->config->qos};
    struct tf_writer writer = tf_writer_of(payload, sizeof payload);
    tf_mqtt_subscription_write(&writer, &subscription, world->config->version);
    struct tf_mqtt_subscribe packet = {.packet_id = SUBSCRIBE_ID,
                                       .payload = tf_bytes_of(payload, tf_writer_length(&writer))};
    size_t size = tf_mqtt_subscribe_size(&packet, world->config->version);
    uint8_t *room = tf_bench_buffer_reserve(&client->out, size);
    if (!room)
        return TF_NO_MEMORY;
    writer = tf_writer_of(room, size);
    tf_mqtt_subscribe_write(&writer, &packet, world->config->version);
    client->out.end += tf_writer_length(&writer);
    client->state = TF_BENCH_SUBSCRIBING;
    return TF_OK;
}

static enum tf_err send_ack(struct tf_bench_world *world, struct tf_bench_client *client,
                            uint8_t type, uint16_t packet_id)
{
    struct tf_mqtt_ack packet = {.type = type, .packet_id = packet_id};
    size_t size = tf_mqtt_ack_size(&packet, world->config->version);
    uint8_t *room = tf_bench_buffer_reserve(&client->out, size);
    if (!room)
        return TF_NO_MEMORY;
    struct tf_writer writer = tf_writer_of(room, size);
    tf_mqtt_ack_write(&writer, &packet, world->config->version);
    client->out.end += tf_writer_length(&writer);
    return TF_OK;
}

static enum tf_err on_connack(struct tf_bench_world *world, struct tf_bench_client *client,
                              const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_connack packet;
    uint8_t reason;
    if (client->state != TF_BENCH_GREETING)
        return fail(world, "CONNACK out of place", TF_MQTT_PROTOCOL_ERROR);
    if (tf_mqtt_connack_read(frame, world->config->version, &packet, &reason))
        return fail(world, "bad CONNACK", reason);
    if (packet.reason)
        return fail(world, "connection refused", packet.reason);
    if (world->config->version == TF_MQTT_5) { /* MQTT 5.0 3.2.2.3.3 */
        uint32_t most = tf_mqtt_property_number(packet.properties, TF_MQTT_RECEIVE_MAXIMUM,
                                                client->in_flight_max);
        client->in_flight_max = most < client->in_flight_max ? most : client->in_flight_max;
    }
    if (client->role != TF_BENCH_PUBLISHER)
        return subscribe(world, client);
    client->state = TF_BENCH_READY;
    return TF_OK;
}

static enum tf_err on_suback(struct tf_bench_world *world, struct tf_bench_client *client,
                             const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_suback packet;
    uint8_t reason;
    if (client->state != TF_BENCH_SUBSCRIBING)
        return fail(world, "SUBACK out of place", TF_MQTT_PROTOCOL_ERROR);
    if (tf_mqtt_suback_read(frame, world->config->version, &packet, &reason))
        return fail(world, "bad SUBACK", reason);
    if (packet.reasons.length != 1 || packet.packet_id != SUBSCRIBE_ID)
        return fail(world, "bad SUBACK", TF_MQTT_PROTOCOL_ERROR);
    if (packet.reasons.data[0] != world->config->qos)
        return fail(world, "subscription not granted as asked", packet.reasons.data[0]);
    client->state = TF_BENCH_READY;
    return TF_OK;
}

static void put_id(uint8_t *at, uint16_t packet_id)
{
    at[0] = (uint8_t)(packet_id >> 8);
    at[1] = (uint8_t)packet_id;
}

static enum tf_err on_publish(struct tf_bench_world *world, struct tf_bench_client *client,
                              const struct tf_mqtt_frame *frame, tf_time now)
{
    struct tf_mqtt_publish packet;
    uint8_t reason;
    if (tf_mqtt_publish_read(frame, world->config->version, &packet, &reason))
        return fail(world, "bad PUBLISH", reason);
    tf_bench_arrived(world, client, packet.payload, now);
    if (packet.qos == 0)
        return TF_OK;
    return send_ack(world, client, packet.qos == 1 ? TF_MQTT_PUBACK : TF_MQTT_PUBREC,
                    packet.packet_id);
}

/* MQTT 5.0 4.3.2, 4.3.3: both halves, as publisher and as subscriber. */
static enum tf_err on_ack(struct tf_bench_world *world, struct tf_bench_client *client,
                          const struct tf_mqtt_frame *frame, tf_time now)
{
    struct tf_mqtt_ack packet;
    uint8_t reason;
    if (tf_mqtt_ack_read(frame, world->config->version, &packet, &reason))
        return fail(world, "bad acknowledgement", reason);
    if (packet.type == TF_MQTT_PUBREL)
        return send_ack(world, client, TF_MQTT_PUBCOMP, packet.packet_id);
    if (client->unacked == 0)
        return fail(world, "acknowledgement of nothing", TF_MQTT_PACKET_ID_NOT_FOUND);
    bool refused = packet.reason >= 0x80;
    world->refused += refused;
    if (packet.type == TF_MQTT_PUBREC && !refused)
        return send_ack(world, client, TF_MQTT_PUBREL, packet.packet_id);
    tf_bench_acknowledged(world, client, now);
    return TF_OK;
}

static enum tf_err on_frame(struct tf_bench_world *world, struct tf_bench_client *client,
                            const struct tf_mqtt_frame *frame, tf_time now)
{
    struct tf_mqtt_disconnect goodbye;
    uint8_t reason;
    switch (frame->type) {
    case TF_MQTT_PUBLISH:
        return on_publish(world, client, frame, now);
    case TF_MQTT_PUBACK:
    case TF_MQTT_PUBREC:
    case TF_MQTT_PUBREL:
    case TF_MQTT_PUBCOMP:
        return on_ack(world, client, frame, now);
    case TF_MQTT_CONNACK:
        return on_connack(world, client, frame);
    case TF_MQTT_SUBACK:
        return on_suback(world, client, frame);
    case TF_MQTT_DISCONNECT:
        if (!tf_mqtt_disconnect_read(frame, world->config->version, &goodbye, &reason))
            return fail(world, "disconnected by the server", goodbye.reason);
        return fail(world, "bad DISCONNECT", reason);
    default:
        return fail(world, "a packet that a server must not send", TF_MQTT_PROTOCOL_ERROR);
    }
}

enum tf_err tf_bench_mqtt_input(struct tf_bench_world *world, struct tf_bench_client *client,
                                struct tf_bytes in, size_t *ret_used, tf_time now)
{
    enum tf_err err;
    size_t used = 0;
    if (world->config->bare && client->state == TF_BENCH_GREETING) {
        err = tf_bench_bare_welcome(world, client, in, &used);
        if (err)
            return err;
        if (used == 0) {
            *ret_used = 0;
            return TF_OK;
        }
    }
    while (used < in.length) {
        struct tf_mqtt_frame frame;
        size_t need;
        uint8_t reason;
        struct tf_bytes left = tf_bytes_of(in.data + used, in.length - used);
        err = tf_mqtt_frame_read(left, TF_MQTT_LENGTH_MAX, &frame, &need, &reason);
        if (err == TF_MORE)
            break;
        if (err)
            return fail(world, "bad packet", reason);
        err = on_frame(world, client, &frame, now);
        if (err)
            return err;
        used += frame.length;
    }
    *ret_used = used;
    return TF_OK;
}

void tf_bench_mqtt_leave(struct tf_bench_world *world, struct tf_bench_client *client)
{
    struct tf_mqtt_disconnect packet = {.reason = TF_MQTT_SUCCESS};
    if (world->config->bare)
        return;
    size_t size = tf_mqtt_disconnect_size(&packet, world->config->version);
    uint8_t *room = tf_bench_buffer_reserve(&client->out, size);
    if (!room)
        return;
    struct tf_writer writer = tf_writer_of(room, size);
    tf_mqtt_disconnect_write(&writer, &packet, world->config->version);
    client->out.end += tf_writer_length(&writer);
}

bool tf_bench_mqtt_open(const struct tf_bench_world *world, const struct tf_bench_client *client)
{
    return tf_bench_ledger_open(&world->ledger, client->index) &&
           client->unacked < client->in_flight_max;
}

enum tf_err tf_bench_mqtt_publish(struct tf_bench_world *world, struct tf_bench_client *client,
                                  tf_time sent)
{
    uint8_t *room = tf_bench_buffer_reserve(&client->out, client->frame_length);
    if (!room)
        return TF_NO_MEMORY;
    memcpy(room, client->frame, client->frame_length);
    uint32_t number = tf_bench_ledger_send(&world->ledger, client->index);
    tf_bench_stamp_write(room + client->stamp_offset, client->index, number, sent);
    if (client->id_offset) {
        put_id(room + client->id_offset, (uint16_t)(number % ID_COUNT + 1));
        client->unacked++;
        client->sent = sent;
    }
    client->out.end += client->frame_length;
    return TF_OK;
}

const struct tf_bench_protocol tf_bench_mqtt = {
    .name = "mqtt",
    .port = 1883,
    .greet = tf_bench_mqtt_greet,
    .input = tf_bench_mqtt_input,
    .leave = tf_bench_mqtt_leave,
    .open = tf_bench_mqtt_open,
    .publish = tf_bench_mqtt_publish,
};
