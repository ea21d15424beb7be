/*
 * What a client of the simulator makes of the bytes that come.
 */
#include "sim/sim.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define READ_MOST 32768u

/* The place of an address in tf_sim_topics; 0xFF: it is none of them. */
static uint8_t topic_of(struct tf_bytes topic)
{
    for (unsigned i = 0; i < tf_sim_topic_count; i++) {
        if (tf_bytes_equal(topic, tf_bytes_str(tf_sim_topics[i]))) {
            return (uint8_t)i;
        }
    }
    return 0xFF;
}

/* The number in a body; false: it is not one that a client made. */
static bool read_body(struct tf_bytes body, uint32_t *ret_number)
{
    char text[9];
    char *end;
    if (body.length < 8) {
        return false;
    }
    memcpy(text, body.data, 8);
    text[8] = 0;
    *ret_number = (uint32_t)strtoul(text, &end, 16);
    if (end != text + 8) {
        return false;
    }
    for (size_t i = 8; i < body.length; i++) {
        if (body.data[i] != (uint8_t)('a' + (*ret_number + i) % 26)) {
            return false;
        }
    }
    return true;
}

/* Puts an answer in line; they go out in the order of what they answer (MQTT 5.0 4.6). */
void tf_sim_client_answer_later(struct tf_sim_client *client, uint8_t type, uint16_t packet_id)
{
    struct tf_sim *sim = client->sim;
    tf_time due = sim->now;
    if (!sim->calm && tf_sim_chance(sim, 1, 10)) {
        due += tf_sim_draw(sim, 1, 800) * TF_MILLISECOND;
        sim->seen[TF_SIM_ACK_LATE]++;
    }
    if (client->answer_count == TF_COUNT(client->answers)) {
        tf_sim_fail(sim, "client %u has more to answer than any Receive Maximum", client->number);
        return;
    }
    if (client->answer_count) {
        due = TF_MAX(due, client->answers[client->answer_count - 1].due);
    }
    client->answers[client->answer_count++] = (struct tf_sim_answer){type, packet_id, due};
}

/* Notes an inbound QoS 2 id. True: it is known, so this is the same message again. */
static bool known_id(struct tf_sim_client *client, uint16_t packet_id, uint32_t message)
{
    for (unsigned i = 0; i < client->received_count; i++) {
        if (client->received[i] == packet_id) {
            if (client->received_message[i] != message) {
                tf_sim_fail(client->sim,
                            "client %u got another message under QoS 2 id %u, which is "
                            "in use",
                            client->number, packet_id);
            }
            return true;
        }
    }
    if (client->received_count < TF_COUNT(client->received)) {
        client->received[client->received_count] = packet_id;
        client->received_message[client->received_count++] = message;
    }
    return false;
}

void tf_sim_client_on_publish(struct tf_sim_client *client, const struct tf_mqtt_publish *packet,
                              size_t size)
{
    struct tf_sim *sim = client->sim;
    struct tf_mqtt_property_cursor cursor = {packet->properties, 0};
    struct tf_mqtt_property property;
    struct tf_sim_event event = {.kind = TF_SIM_RECEIVE,
                                 .client = client->number,
                                 .message = TF_SIM_NONE,
                                 .packet_id = packet->packet_id,
                                 .topic = topic_of(packet->topic),
                                 .qos = packet->qos,
                                 .retain = packet->retain,
                                 .dup = packet->dup,
                                 .size = (uint32_t)size};
    while (tf_mqtt_property_next(&cursor, &property)) {
        if (property.id == TF_MQTT_SUBSCRIPTION_ID && event.id_count < TF_COUNT(event.ids)) {
            event.ids[event.id_count++] = property.number;
        } else if (property.id == TF_MQTT_MESSAGE_EXPIRY) {
            event.has_expiry = true;
            event.expiry_s = property.number;
            sim->seen[TF_SIM_EXPIRY_SEEN]++;
        }
    }
    if (packet->payload.length && !read_body(packet->payload, &event.message)) {
        tf_sim_fail(sim, "client %u got a body that nobody sent", client->number);
        return;
    }
    event.repeat =
        packet->qos == 2 && !client->machine && known_id(client, packet->packet_id, event.message);
    sim->seen[TF_SIM_SERVER_RESENT] += packet->dup;
    sim->seen[TF_SIM_RETAINED_SEEN] += packet->retain;
    sim->seen[TF_SIM_OVERLAP_SEEN] += event.id_count > 1;
    sim->seen[TF_SIM_WILL_SEEN] +=
        event.message < sim->message_count && sim->messages[event.message].will;
    tf_sim_tell(sim, &event);
    if (packet->qos) {
        sim->seen[TF_SIM_CREDIT_SPENT] += ++client->unsettled == client->connect.receive_maximum;
        tf_sim_client_answer_later(client, packet->qos == 1 ? TF_MQTT_PUBACK : TF_MQTT_PUBREC,
                                   packet->packet_id);
    }
}

static void remove_outgoing(struct tf_sim_client *client, unsigned i)
{
    client->outgoing_count--;
    memmove(client->outgoing + i, client->outgoing + i + 1,
            (client->outgoing_count - i) * sizeof(*client->outgoing));
    tf_sim_client_resume(client);
}

static void on_ack(struct tf_sim_client *client, const struct tf_mqtt_ack *ack)
{
    struct tf_sim *sim = client->sim;
    uint8_t memory[8];
    for (unsigned i = 0; i < client->outgoing_count; i++) {
        struct tf_sim_outgoing *o = &client->outgoing[i];
        uint8_t qos = sim->messages[o->message].qos;
        if (o->packet_id != ack->packet_id || !o->sent ||
            (ack->type == TF_MQTT_PUBACK) != (qos == 1)) {
            continue;
        }
        if (ack->type == TF_MQTT_PUBCOMP) {
            if (o->state == TF_SIM_WAIT_COMP) {
                remove_outgoing(client, i);
                return;
            }
            break;
        }
        if (o->state == TF_SIM_WAIT_ACK) {
            tf_sim_tell(sim, &(struct tf_sim_event){.kind = TF_SIM_ACCEPTED,
                                                    .client = client->number,
                                                    .message = o->message,
                                                    .packet_id = ack->packet_id,
                                                    .reason = ack->reason});
        }
        if (ack->type == TF_MQTT_PUBACK || ack->reason >= 0x80) {
            remove_outgoing(client, i);
            return;
        }
        o->state = TF_SIM_WAIT_COMP;
        struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
        struct tf_mqtt_ack release = {.type = TF_MQTT_PUBREL, .packet_id = ack->packet_id};
        tf_mqtt_ack_write(&writer, &release, client->connect.version);
        tf_sim_client_send(client, &writer);
        return;
    }
    tf_sim_fail(sim, "client %u got %s for id %u, which it does not wait for", client->number,
                tf_mqtt_type_name(ack->type), ack->packet_id);
}

static void on_release(struct tf_sim_client *client, uint16_t packet_id)
{
    for (unsigned i = 0; i < client->received_count; i++) {
        if (client->received[i] == packet_id) {
            client->received_count--;
            client->received[i] = client->received[client->received_count];
            client->received_message[i] = client->received_message[client->received_count];
            break;
        }
    }
    tf_sim_client_answer_later(client, TF_MQTT_PUBCOMP, packet_id);
}

/* SUBACK and UNSUBACK; `reasons` is empty for UNSUBACK of 3.1.1. */
void tf_sim_client_on_granted(struct tf_sim_client *client, uint8_t type, uint16_t packet_id,
                              struct tf_bytes reasons)
{
    struct tf_sim *sim = client->sim;
    bool subscribed = type == TF_MQTT_SUBACK;
    for (unsigned i = 0; i < TF_COUNT(client->requests); i++) {
        struct tf_sim_request *request = &client->requests[i];
        if (request->packet_id != packet_id || (request->type == TF_MQTT_SUBSCRIBE) != subscribed) {
            continue;
        }
        if (reasons.length ? reasons.length != request->count : subscribed) {
            tf_sim_fail(sim, "client %u got %zu codes for %u filters", client->number,
                        reasons.length, request->count);
        }
        for (unsigned j = 0; j < request->count && !sim->failed; j++) {
            tf_sim_tell(sim,
                        &(struct tf_sim_event){.kind = subscribed ? TF_SIM_SUBACK : TF_SIM_UNSUBACK,
                                               .client = client->number,
                                               .message = TF_SIM_NONE,
                                               .packet_id = packet_id,
                                               .filter = request->filters[j],
                                               .reason = reasons.length ? reasons.data[j] : 0});
        }
        request->packet_id = 0;
        return;
    }
    tf_sim_fail(sim, "client %u got an answer to id %u, for which it did not ask", client->number,
                packet_id);
}

void tf_sim_client_on_connack(struct tf_sim_client *client, const struct tf_mqtt_connack *connack)
{
    struct tf_sim *sim = client->sim;
    if (client->state != TF_SIM_CONNECTING) {
        tf_sim_fail(sim, "client %u got a second CONNACK", client->number);
        return;
    }
    tf_sim_tell(sim, &(struct tf_sim_event){.kind = TF_SIM_CONNACK,
                                            .client = client->number,
                                            .message = TF_SIM_NONE,
                                            .reason = connack->reason,
                                            .present = connack->session_present});
    if (connack->reason) {
        tf_sim_blame(sim, "client %u was refused with 0x%02x", client->number, connack->reason);
        return;
    }
    if (connack->session_present && client->no_state) {
        client->must_clean = true;
        tf_sim_client_drop(client, true, false);
        return;
    }
    client->state = TF_SIM_ONLINE;
    client->unsettled = 0;
    client->must_clean = client->no_state = false;
    client->state_until = TF_TIME_NEVER; /* until the connection ends */
    client->server_maximum =
        (uint16_t)tf_mqtt_property_number(connack->properties, TF_MQTT_RECEIVE_MAXIMUM, 65535);
    if (connack->session_present) {
        sim->seen[TF_SIM_SESSION_RESUMED]++;
        for (unsigned i = 0; i < client->outgoing_count; i++) {
            client->outgoing[i].sent = false;
        }
        if (!client->machine) {
            tf_sim_client_resume(client);
        }
    } else if (!client->connect.clean && !client->machine) {
        client->outgoing_count = client->received_count = 0;
    }
    if (!connack->session_present) {
        client->answer_count = 0;
    }
    if (!connack->session_present && !client->connect.clean) {
        sim->seen[TF_SIM_SESSION_EXPIRED] += client->had_session;
    }
    client->had_session = true;
}

/* A DISCONNECT from the server must have a reason that the client knows of. */
void tf_sim_client_on_disconnect(struct tf_sim_client *client, uint8_t reason)
{
    struct tf_sim *sim = client->sim;
    tf_sim_trace(sim, "c%u is told to go: 0x%02x", client->number, reason);
    if (reason == TF_MQTT_KEEP_ALIVE_TIMEOUT && (client->was_silent || client->link->harmed)) {
        sim->seen[TF_SIM_KEEP_ALIVE_ENDED]++;
    } else if (client->state != TF_SIM_LEAVING) {
        tf_sim_blame(sim, "client %u was disconnected with 0x%02x, having done nothing wrong",
                     client->number, reason);
    }
}

static enum tf_err on_packet(struct tf_sim_client *client, const struct tf_mqtt_frame *frame,
                             uint8_t *ret_reason)
{
    unsigned version = client->connect.version;
    union {
        struct tf_mqtt_connack connack;
        struct tf_mqtt_publish publish;
        struct tf_mqtt_ack ack;
        struct tf_mqtt_suback suback;
        struct tf_mqtt_disconnect disconnect;
    } u;
    enum tf_err err;
    switch (frame->type) {
    case TF_MQTT_CONNACK:
        err = tf_mqtt_connack_read(frame, version, &u.connack, ret_reason);
        if (!err) {
            tf_sim_client_on_connack(client, &u.connack);
        }
        return err;
    case TF_MQTT_PUBLISH:
        err = tf_mqtt_publish_read(frame, version, &u.publish, ret_reason);
        if (!err) {
            tf_sim_client_on_publish(client, &u.publish, frame->length);
        }
        return err;
    case TF_MQTT_PUBACK:
    case TF_MQTT_PUBREC:
    case TF_MQTT_PUBCOMP:
    case TF_MQTT_PUBREL:
        err = tf_mqtt_ack_read(frame, version, &u.ack, ret_reason);
        if (!err && frame->type == TF_MQTT_PUBREL) {
            on_release(client, u.ack.packet_id);
        } else if (!err) {
            on_ack(client, &u.ack);
        }
        return err;
    case TF_MQTT_SUBACK:
    case TF_MQTT_UNSUBACK:
        err = tf_mqtt_suback_read(frame, version, &u.suback, ret_reason);
        if (!err) {
            tf_sim_client_on_granted(client, frame->type, u.suback.packet_id, u.suback.reasons);
        }
        return err;
    case TF_MQTT_DISCONNECT:
        err = tf_mqtt_disconnect_read(frame, version, &u.disconnect, ret_reason);
        if (!err) {
            tf_sim_client_on_disconnect(client, u.disconnect.reason);
        }
        return err;
    case TF_MQTT_PINGRESP:
        return TF_OK;
    default:
        return TF_PROTOCOL;
    }
}

/* Takes the packets that are whole. */
static void parse(struct tf_sim_client *client)
{
    size_t done = 0;
    while (!client->sim->failed && done < client->in_length) {
        struct tf_mqtt_frame frame;
        struct tf_bytes in = tf_bytes_of(client->in + done, client->in_length - done);
        size_t need;
        uint8_t reason = 0;
        enum tf_err err = tf_mqtt_frame_read(in, TF_MQTT_LENGTH_MAX, &frame, &need, &reason);
        if (err == TF_MORE) {
            break;
        }
        if (!err && client->state != TF_SIM_LEAVING) {
            err = on_packet(client, &frame, &reason);
        }
        if (!client->link) {
            return; /* it has left, and forgotten its input */
        }
        if (err) {
            tf_sim_fail(client->sim, "client %u cannot read packet 0x%02x from the server: 0x%02x",
                        client->number, in.data[0], reason);
            return;
        }
        done += frame.length;
    }
    client->in_length -= done;
    memmove(client->in, client->in + done, client->in_length);
}

/* The server has closed the connection. */
static void on_end(struct tf_sim_client *client)
{
    struct tf_sim_link *link = client->link;
    bool leaving = client->state == TF_SIM_LEAVING;
    if (!leaving && !client->was_silent && !link->harmed) {
        tf_sim_blame(client->sim, "client %u: the server closed the connection without a cause",
                     client->number);
        if (client->sim->failed) {
            return;
        }
    }
    if (client->was_silent && client->connect.version != TF_MQTT_5) {
        client->sim->seen[TF_SIM_KEEP_ALIVE_ENDED]++;
    }
    tf_sim_client_drop(client, true, leaving && !link->harmed && !client->was_silent);
}

void tf_sim_client_input(struct tf_sim_client *client)
{
    bool end;
    if (client->in_length + READ_MOST > client->in_capacity) {
        client->in_capacity = 2 * client->in_capacity + READ_MOST;
        client->in = realloc(client->in, client->in_capacity);
        tf_assert(client->in);
    }
    size_t length = tf_sim_pipe_read(client->sim, &client->link->down,
                                     client->in + client->in_length, READ_MOST, &end);
    client->in_length += length;
    if (length) {
        client->last_heard = client->sim->now;
    }
    if (length && client->machine) {
        tf_sim_machine_input(client);
    } else if (length) {
        parse(client);
    }
    if (end && client->link && !client->sim->failed) {
        on_end(client);
    }
}
