/*
 * A client on the library's client machine: the same transport and the same oracle as the clients
 * of client.c, the other half of MQTT from include/trefoil/mqtt_client.h.
 *
 * The machine keeps what is under way; this file gives it memory, hands it bytes, and tells the
 * oracle what it says. The session is `stored`, so that each step of QoS 2 is an event.
 */
#include "sim/sim.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>
#include <trefoil/mqtt_client.h>

#define BUFFER_SIZE (1u << 20) /* holds any PUBLISH of a run */
#define IN_FLIGHT 10u

struct tf_sim_machine {
    struct tf_mqtt_client *client; /* NULL: not connected */
    void *memory;
    uint8_t *buffer;
    struct tf_mqtt_client_config config;
    struct tf_sim_connect_parts parts;
    struct tf_mqtt_session session;
    struct tf_mqtt_publish
        incoming; /* whose body comes in runs; its views are of `topic` and so on */
    uint8_t *body;
    size_t body_length;
    uint8_t topic[64], properties[256];
    uint32_t resend; /* a message that found no room; TF_SIM_NONE */
};

void tf_sim_machine_new(struct tf_sim_client *client)
{
    client->machine = calloc(1, sizeof(*client->machine));
    tf_assert(client->machine);
    client->machine->resend = TF_SIM_NONE;
    tf_mqtt_session_init(&client->machine->session);
}

void tf_sim_machine_forget(struct tf_sim_client *client)
{
    tf_mqtt_session_clear(&client->machine->session);
}

void tf_sim_machine_abandon(struct tf_sim_client *client)
{
    struct tf_sim_machine *m = client->machine;
    struct tf_mqtt_client_event event;
    if (!m->client) {
        return;
    }
    tf_mqtt_client_abandon(m->client);
    while (tf_mqtt_client_event(m->client, &event)) {
    }
    free(tf_mqtt_client_reclaim(m->client, TF_MQTT_PART_PENDING));
    free(tf_mqtt_client_reclaim(m->client, TF_MQTT_PART_ALIASES));
    free(m->buffer);
    free(m->memory);
    free(m->body);
    m->body = NULL;
    m->client = NULL;
    m->resend = TF_SIM_NONE;
}

void tf_sim_machine_free(struct tf_sim_client *client)
{
    if (client->machine) {
        tf_sim_machine_abandon(client);
        free(client->machine->session.sent);
        free(client->machine->session.received);
        free(client->machine);
        client->machine = NULL;
    }
}

/* Gives the link what it takes of the output. */
static void flush(struct tf_sim_client *client)
{
    struct tf_sim_machine *m = client->machine;
    struct tf_bytes span;
    size_t written = 1;
    while (client->link && written && tf_mqtt_client_output(m->client, &span, 1)) {
        if (!tf_sim_pipe_write(client->sim, &client->link->up, span, &written)) {
            written = span.length; /* the end is on its way here */
        }
        tf_mqtt_client_sent(m->client, written, client->sim->now);
    }
}

void tf_sim_machine_connect(struct tf_sim_client *client)
{
    struct tf_sim_machine *m = client->machine;
    tf_sim_client_fill(client, &m->parts, false);
    m->config = (struct tf_mqtt_client_config){
        .features = TF_MQTT_CLIENT_ALL,
        .connect = m->parts.packet,
        .session = &m->session,
        .max_packet_size = TF_MIN(client->connect.max_packet, TF_MQTT_LENGTH_MAX),
        .body_run = 4096,
        .receive_maximum = client->connect.receive_maximum,
        .max_in_flight = IN_FLIGHT,
        .stored = true};
    size_t size = tf_mqtt_client_size(&m->config);
    m->memory = malloc(size);
    m->buffer = malloc(BUFFER_SIZE);
    enum tf_err err =
        tf_mqtt_client_init(&m->client, m->memory, size, &m->config, client->sim->now);
    tf_assert(m->memory && m->buffer && !err);
    err = tf_mqtt_client_lend(m->client, m->buffer, BUFFER_SIZE);
    tf_assert(!err);
    flush(client);
}

/* ---- requests ---- */

/* Hands a message to the machine. */
static enum tf_err publish(struct tf_sim_client *client, const struct tf_sim_message *message)
{
    uint8_t *memory = malloc(message->length + 1u);
    tf_assert(memory);
    tf_sim_client_body(message, memory);
    struct tf_bytes body = tf_bytes_of(memory, message->length);
    struct tf_mqtt_delivery delivery = {.handle = message->number,
                                        .topic = tf_bytes_str(tf_sim_topics[message->topic]),
                                        .body = &body,
                                        .body_count = message->length != 0,
                                        .has_expiry = message->expiry_s != UINT32_MAX,
                                        .expiry_s = message->expiry_s,
                                        .qos = message->qos,
                                        .retain = message->retain};
    enum tf_err err = tf_mqtt_client_publish(client->machine->client, &delivery, NULL);
    free(memory);
    return err;
}

bool tf_sim_machine_ready(const struct tf_sim_client *client)
{
    const struct tf_sim_machine *m = client->machine;
    return m->client && client->state == TF_SIM_ONLINE && tf_mqtt_client_credit(m->client) &&
           m->resend == TF_SIM_NONE;
}

static void pull(struct tf_sim_client *client);

void tf_sim_machine_publish(struct tf_sim_client *client, const struct tf_sim_message *message)
{
    enum tf_err err = publish(client, message);
    if (err == TF_AGAIN) { /* it may want a table first */
        pull(client);
        err = publish(client, message);
    }
    if (err == TF_AGAIN) {
        client->sim->message_count--; /* no room: never sent */
        return;
    }
    if (err) {
        tf_sim_blame(client->sim, "client %u: the client machine will not publish: %s",
                     client->number, tf_err_name(err));
        client->sim->message_count--;
        return;
    }
    tf_sim_client_tell_publish(client, message, 0, false);
    flush(client);
}

/* True if a request went out; it did not if the machine has no room or resends first. */
static bool requested(struct tf_sim_client *client, enum tf_err err)
{
    if (err && err != TF_AGAIN) {
        tf_sim_blame(client->sim, "client %u: the client machine refuses a request: %s",
                     client->number, tf_err_name(err));
    }
    flush(client);
    return err == TF_OK;
}

bool tf_sim_machine_subscribe(struct tf_sim_client *client, uint16_t handle,
                              struct tf_bytes payload, struct tf_bytes properties)
{
    struct tf_mqtt_client *machine = client->machine->client;
    struct tf_mqtt_subscription all[5];
    size_t count = 0;
    for (size_t offset = 0; tf_mqtt_subscription_next(payload, &offset, &all[count]);) {
        count++;
    }
    enum tf_err err = tf_mqtt_client_subscribe(machine, handle, all, count, properties);
    if (err == TF_AGAIN) { /* it may want a table first */
        pull(client);
        err = tf_mqtt_client_subscribe(machine, handle, all, count, properties);
    }
    return requested(client, err);
}

bool tf_sim_machine_unsubscribe(struct tf_sim_client *client, uint16_t handle, const char *filter)
{
    struct tf_mqtt_client *machine = client->machine->client;
    struct tf_bytes view = tf_bytes_str(filter), none = {NULL, 0};
    enum tf_err err = tf_mqtt_client_unsubscribe(machine, handle, &view, 1, none);
    if (err == TF_AGAIN) {
        pull(client);
        err = tf_mqtt_client_unsubscribe(machine, handle, &view, 1, none);
    }
    return requested(client, err);
}

void tf_sim_machine_disconnect(struct tf_sim_client *client, uint8_t reason)
{
    tf_mqtt_client_disconnect(client->machine->client, reason);
    flush(client);
}

bool tf_sim_machine_answer(struct tf_sim_client *client, const struct tf_sim_answer *answer)
{
    struct tf_mqtt_client *machine = client->machine->client;
    enum tf_err err = answer->type == TF_MQTT_PUBCOMP
                          ? tf_mqtt_client_complete(machine, answer->packet_id)
                          : tf_mqtt_client_ack(machine, answer->packet_id, 0);
    if (err && err != TF_AGAIN) {
        tf_sim_blame(client->sim, "client %u: the client machine will not answer id %u: %s",
                     client->number, answer->packet_id, tf_err_name(err));
    }
    flush(client);
    return err != TF_AGAIN;
}

/* ---- events ---- */

/* Sends again what a resumption asks for; false: no room, later. */
static bool resend(struct tf_sim_client *client, uint32_t number)
{
    const struct tf_sim_message *message = &client->sim->messages[number];
    enum tf_err err = publish(client, message);
    client->machine->resend = err == TF_AGAIN ? number : TF_SIM_NONE;
    if (err == TF_OK) {
        client->sim->seen[TF_SIM_CLIENT_RESENT]++;
        tf_sim_client_tell_publish(client, message, 0, true);
    } else if (err != TF_AGAIN) {
        tf_sim_fail(client->sim, "client %u: the client machine will not resend m%u: %s",
                    client->number, number, tf_err_name(err));
    }
    return err == TF_OK;
}

static void on_needs(struct tf_sim_client *client, const struct tf_mqtt_client_event *event)
{
    void *old = NULL;
    void *memory = malloc(event->size);
    enum tf_err err =
        tf_mqtt_client_give(client->machine->client, event->part, memory, event->size, &old);
    tf_assert(memory && !err);
    free(old);
}

/* A PUBLISH, or the beginning of one whose body comes in runs. */
static void on_publish(struct tf_sim_client *client, const struct tf_mqtt_client_event *event)
{
    struct tf_sim_machine *m = client->machine;
    const struct tf_mqtt_publish *packet = &event->publish;
    if (event->payload_left == 0) {
        tf_sim_client_on_publish(client, packet, 2 + packet->topic.length + packet->payload.length);
        return;
    }
    m->incoming = *packet;
    m->body = malloc(packet->payload.length + event->payload_left);
    tf_assert(m->body && packet->topic.length <= sizeof(m->topic) &&
              packet->properties.length <= sizeof(m->properties));
    memcpy(m->topic, packet->topic.data, packet->topic.length);
    m->incoming.topic.data = m->topic;
    if (packet->properties.length) {
        memcpy(m->properties, packet->properties.data, packet->properties.length);
        m->incoming.properties.data = m->properties;
    }
    if (packet->payload.length) {
        memcpy(m->body, packet->payload.data, packet->payload.length);
    }
    m->body_length = packet->payload.length;
}

static void on_body(struct tf_sim_client *client, const struct tf_mqtt_client_event *event)
{
    struct tf_sim_machine *m = client->machine;
    memcpy(m->body + m->body_length, event->body.data, event->body.length);
    m->body_length += event->body.length;
    if (event->payload_left == 0) {
        m->incoming.payload = tf_bytes_of(m->body, m->body_length);
        tf_sim_client_on_publish(client, &m->incoming,
                                 2 + m->incoming.topic.length + m->body_length);
        free(m->body);
        m->body = NULL;
    }
}

static void on_accepted(struct tf_sim_client *client, uint32_t number, uint8_t reason)
{
    tf_sim_tell(client->sim, &(struct tf_sim_event){.kind = TF_SIM_ACCEPTED,
                                                    .client = client->number,
                                                    .message = number,
                                                    .reason = reason});
}

static void on_event(struct tf_sim_client *client, const struct tf_mqtt_client_event *event)
{
    struct tf_sim_machine *m = client->machine;
    uint32_t number = (uint32_t)event->handle;
    enum tf_err err = TF_OK;
    switch (event->type) {
    case TF_MQTT_CLIENT_CONNECTED:
    case TF_MQTT_CLIENT_REFUSED:
        tf_sim_client_on_connack(client, &event->connack);
        break;
    case TF_MQTT_CLIENT_PUBLISH:
        on_publish(client, event);
        break;
    case TF_MQTT_CLIENT_BODY:
        on_body(client, event);
        break;
    case TF_MQTT_CLIENT_SUBSCRIBED:
        tf_sim_client_on_granted(client, TF_MQTT_SUBACK, (uint16_t)event->handle, event->reasons);
        break;
    case TF_MQTT_CLIENT_UNSUBSCRIBED:
        tf_sim_client_on_granted(client, TF_MQTT_UNSUBACK, (uint16_t)event->handle, event->reasons);
        break;
    case TF_MQTT_CLIENT_SETTLED:
        /* PUBCOMP of what the server had completed before says 0x92: no refusal (3.7.2.1) */
        if (client->sim->messages[number].qos == 1 ||
            (event->reason >= 0x80 && event->reason != TF_MQTT_PACKET_ID_NOT_FOUND)) {
            on_accepted(client, number, event->reason);
        }
        break;
    case TF_MQTT_CLIENT_RECEIVED:
        on_accepted(client, number, event->reason);
        err = tf_mqtt_client_release(m->client, event->packet_id);
        break;
    case TF_MQTT_CLIENT_RELEASED:
        tf_sim_client_answer_later(client, TF_MQTT_PUBCOMP, event->packet_id);
        break;
    case TF_MQTT_CLIENT_RESEND:
        (void)resend(client, number);
        break;
    case TF_MQTT_CLIENT_LOST: /* the oracle knows no more of it either */
    case TF_MQTT_CLIENT_RETURNED:
        break;
    case TF_MQTT_CLIENT_NEEDS:
        on_needs(client, event);
        break;
    case TF_MQTT_CLIENT_DISCONNECT:
        tf_sim_client_on_disconnect(client, event->reason);
        break;
    }
    if (err) {
        tf_sim_fail(client->sim, "client %u: the client machine will not release id %u: %s",
                    client->number, event->packet_id, tf_err_name(err));
    }
}

static void pull(struct tf_sim_client *client)
{
    struct tf_sim_machine *m = client->machine;
    struct tf_mqtt_client_event event;
    while (m->client && !client->sim->failed && m->resend == TF_SIM_NONE &&
           tf_mqtt_client_event(m->client, &event)) {
        on_event(client, &event);
    }
}

/* What the machine finds wrong with the server is for the oracle's ears, too. */
static void check(struct tf_sim_client *client)
{
    struct tf_sim_machine *m = client->machine;
    uint8_t reason;
    if (!m->client || client->state == TF_SIM_LEAVING || client->sim->failed) {
        return;
    }
    if (!tf_mqtt_client_check(m->client)) {
        tf_sim_fail(client->sim, "client %u: an invariant of the client machine is broken",
                    client->number);
    } else if (tf_mqtt_client_closing(m->client, &reason) && !client->was_silent) {
        tf_sim_blame(client->sim, "client %u: the client machine gives the server up with 0x%02x",
                     client->number, reason);
    }
}

void tf_sim_machine_input(struct tf_sim_client *client)
{
    struct tf_sim_machine *m = client->machine;
    size_t done = 0;
    while (m->client && done < client->in_length && !client->sim->failed) {
        size_t used = 0, need = 0;
        struct tf_bytes in = tf_bytes_of(client->in + done, client->in_length - done);
        enum tf_err err = tf_mqtt_client_input(m->client, in, &used, &need, client->sim->now);
        if (err == TF_PROTOCOL || err == TF_CLOSED) {
            done = client->in_length;
            break;
        }
        pull(client);
        flush(client);
        if (err == TF_MORE || (err == TF_AGAIN && !m->client)) {
            break;
        }
        if (err == TF_AGAIN && tf_sim_machine_has_output(client)) {
            break; /* goes on when the link has taken it */
        }
        done += used;
    }
    check(client);
    if (!m->client) {
        client->in_length = 0;
        return;
    }
    client->in_length -= done;
    memmove(client->in, client->in + done, client->in_length);
}

/* ---- time ---- */

bool tf_sim_machine_has_output(const struct tf_sim_client *client)
{
    struct tf_bytes span;
    return client->machine->client && tf_mqtt_client_output(client->machine->client, &span, 1);
}

tf_time tf_sim_machine_next(const struct tf_sim_client *client)
{
    return client->machine->client ? tf_mqtt_client_deadline(client->machine->client)
                                   : TF_TIME_NEVER;
}

void tf_sim_machine_step(struct tf_sim_client *client)
{
    struct tf_sim_machine *m = client->machine;
    if (tf_mqtt_client_deadline(m->client) <= client->sim->now) {
        tf_mqtt_client_tick(m->client, client->sim->now);
    }
    flush(client);
    if (m->resend != TF_SIM_NONE && resend(client, m->resend)) {
        pull(client);
        flush(client);
    }
    if (client->in_length) {
        tf_sim_machine_input(client);
    }
    check(client);
}

bool tf_sim_machine_quiet(const struct tf_sim_client *client)
{
    return client->machine->session.sent_count == 0 && client->machine->resend == TF_SIM_NONE &&
           !tf_sim_machine_has_output(client);
}

bool tf_sim_machine_busy(const struct tf_sim_client *client)
{
    return client->machine->session.sent_count != 0;
}
