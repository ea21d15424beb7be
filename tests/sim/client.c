/*
 * An MQTT client of the simulator's own, on the codec alone: what it sends, and when.
 *
 * It keeps to the standard: resends in order after a resumption, keeps within the server's Receive
 * Maximum, answers in order, and starts clean until a clean start has been answered. It is not the
 * library's client machine, so that an error of one does not hide one of the other. What it sees it
 * tells the oracle (tf_sim_tell); it judges nothing but what cannot be parsed.
 */
#include "sim/sim.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define PROPERTIES_MAX 64u

void tf_sim_client_init(struct tf_sim *sim, struct tf_sim_client *client, unsigned number)
{
    memset(client, 0, sizeof(*client));
    client->sim = sim;
    client->number = number;
    client->next_id = (uint16_t)tf_sim_draw(sim, 1, 65535);
    snprintf(client->id, sizeof(client->id), "client-%u", number);
    if (tf_sim_chance(sim, 1, 3)) {
        tf_sim_machine_new(client);
    }
}

void tf_sim_client_release(struct tf_sim_client *client)
{
    free(client->in);
    free(client->out);
    tf_sim_machine_free(client);
}

/* ---- output ---- */

/* Gives the link what it takes. */
static void flush(struct tf_sim_client *client)
{
    size_t written;
    if (!client->link || client->out_length == 0) {
        return;
    }
    if (!tf_sim_pipe_write(client->sim, &client->link->up,
                           tf_bytes_of(client->out, client->out_length), &written)) {
        client->out_length = 0; /* the end is on its way here */
        return;
    }
    client->out_length -= written;
    memmove(client->out, client->out + written, client->out_length);
}

void tf_sim_client_send(struct tf_sim_client *client, const struct tf_writer *writer)
{
    size_t length = tf_writer_length(writer);
    tf_assert(!writer->failed && length);
    if (client->out_length + length > client->out_capacity) {
        client->out_capacity = 2 * (client->out_length + length);
        client->out = realloc(client->out, client->out_capacity);
        tf_assert(client->out);
    }
    memcpy(client->out + client->out_length, writer->start, length);
    client->out_length += length;
    client->last_sent = client->sim->now;
    flush(client);
}

static void put(struct tf_writer *writer, uint8_t id, uint32_t number)
{
    struct tf_mqtt_property property = {.id = id, .number = number};
    tf_mqtt_property_write(writer, &property);
}

/* The body of a message: its number, then letters that follow from it. */
void tf_sim_client_body(const struct tf_sim_message *message, uint8_t *body)
{
    char number[9];
    snprintf(number, sizeof(number), "%08x", (unsigned)message->number);
    memcpy(body, number, TF_MIN(message->length, 8u));
    for (uint32_t i = 8; i < message->length; i++) {
        body[i] = (uint8_t)('a' + (message->number + i) % 26);
    }
}

void tf_sim_client_tell_publish(struct tf_sim_client *client, const struct tf_sim_message *message,
                                uint16_t packet_id, bool dup)
{
    tf_sim_tell(client->sim, &(struct tf_sim_event){.kind = TF_SIM_PUBLISH,
                                                    .client = client->number,
                                                    .message = message->number,
                                                    .info = dup ? NULL : message,
                                                    .topic = message->topic,
                                                    .qos = message->qos,
                                                    .retain = message->retain,
                                                    .packet_id = packet_id,
                                                    .dup = dup,
                                                    .size = message->length});
}

static void send_publish(struct tf_sim_client *client, const struct tf_sim_message *message,
                         uint16_t packet_id, bool dup)
{
    uint8_t memory[PROPERTIES_MAX];
    struct tf_writer properties = tf_writer_of(memory, sizeof(memory));
    if (message->expiry_s != UINT32_MAX && client->connect.version == TF_MQTT_5) {
        put(&properties, TF_MQTT_MESSAGE_EXPIRY, message->expiry_s);
    }
    uint8_t *body = malloc(message->length + 1u);
    tf_assert(body);
    tf_sim_client_body(message, body);
    struct tf_mqtt_publish packet = {.dup = dup,
                                     .retain = message->retain,
                                     .qos = message->qos,
                                     .packet_id = packet_id,
                                     .topic = tf_bytes_str(tf_sim_topics[message->topic]),
                                     .properties =
                                         tf_bytes_of(memory, tf_writer_length(&properties)),
                                     .payload = tf_bytes_of(body, message->length)};
    size_t size = tf_mqtt_publish_size(&packet, client->connect.version);
    uint8_t *out = malloc(size);
    struct tf_writer writer = tf_writer_of(out, size);
    tf_mqtt_publish_write(&writer, &packet, client->connect.version);
    tf_sim_client_send(client, &writer);
    free(out);
    free(body);
    tf_sim_client_tell_publish(client, message, packet_id, dup);
}

/* A packet id that nothing of the client's uses. */
static uint16_t take_id(struct tf_sim_client *client)
{
    for (;;) {
        uint16_t id = client->next_id++;
        bool taken = id == 0;
        for (unsigned i = 0; i < client->outgoing_count; i++) {
            taken |= client->outgoing[i].packet_id == id;
        }
        for (unsigned i = 0; i < TF_COUNT(client->requests); i++) {
            taken |= client->requests[i].packet_id == id;
        }
        if (!taken) {
            return id;
        }
    }
}

bool tf_sim_client_can_publish(const struct tf_sim_client *client)
{
    unsigned most = TF_MIN(client->server_maximum, TF_SIM_IN_FLIGHT);
    if (client->machine && !tf_sim_machine_ready(client)) {
        return false;
    }
    return client->outgoing_count < most && client->sim->message_count < TF_SIM_MESSAGES;
}

void tf_sim_client_publish(struct tf_sim_client *client, struct tf_sim_message message)
{
    struct tf_sim *sim = client->sim;
    uint16_t packet_id = 0;
    message.number = sim->message_count++;
    if (client->connect.version != TF_MQTT_5) {
        message.expiry_s = UINT32_MAX;
    }
    sim->messages[message.number] = message;
    if (client->machine) {
        tf_sim_machine_publish(client, &sim->messages[message.number]);
        return;
    }
    if (message.qos) {
        packet_id = take_id(client);
        client->outgoing[client->outgoing_count++] =
            (struct tf_sim_outgoing){packet_id, TF_SIM_WAIT_ACK, true, message.number};
    }
    send_publish(client, &sim->messages[message.number], packet_id, false);
}

static struct tf_sim_request *new_request(struct tf_sim_client *client, uint8_t type)
{
    for (unsigned i = 0; i < TF_COUNT(client->requests); i++) {
        struct tf_sim_request *request = &client->requests[i];
        if (!request->packet_id) {
            *request = (struct tf_sim_request){.packet_id = take_id(client), .type = type};
            return request;
        }
    }
    return NULL;
}

void tf_sim_client_subscribe(struct tf_sim_client *client, struct tf_sim_event *filters,
                             unsigned count)
{
    uint8_t memory[600], text[500], properties[PROPERTIES_MAX];
    unsigned version = client->connect.version;
    struct tf_sim_request *request = new_request(client, TF_MQTT_SUBSCRIBE);
    struct tf_writer payload = tf_writer_of(text, sizeof(text));
    struct tf_writer property = tf_writer_of(properties, sizeof(properties));
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    if (!request) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        struct tf_sim_event *f = &filters[i];
        if (version != TF_MQTT_5) {
            f->no_local = f->as_published = false;
            f->handling = 0;
            f->id = 0;
        }
        f->id = filters[0].id;
        struct tf_mqtt_subscription subscription = {.filter = tf_bytes_str(f->filter),
                                                    .qos = f->qos,
                                                    .no_local = f->no_local,
                                                    .retain_as_published = f->as_published,
                                                    .retain_handling = f->handling};
        tf_mqtt_subscription_write(&payload, &subscription, version);
        request->filters[request->count++] = f->filter;
    }
    if (filters[0].id) {
        put(&property, TF_MQTT_SUBSCRIPTION_ID, filters[0].id);
    }
    struct tf_mqtt_subscribe packet = {.packet_id = request->packet_id,
                                       .properties =
                                           tf_bytes_of(properties, tf_writer_length(&property)),
                                       .payload = tf_bytes_of(text, tf_writer_length(&payload))};
    if (client->machine &&
        !tf_sim_machine_subscribe(client, request->packet_id, packet.payload, packet.properties)) {
        request->packet_id = 0;
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        filters[i].kind = TF_SIM_SUBSCRIBE;
        filters[i].client = client->number;
        filters[i].packet_id = request->packet_id;
        tf_sim_tell(client->sim, &filters[i]);
    }
    if (!client->machine) {
        tf_mqtt_subscribe_write(&writer, &packet, version);
        tf_sim_client_send(client, &writer);
    }
}

void tf_sim_client_unsubscribe(struct tf_sim_client *client, const char *filter)
{
    uint8_t memory[200], text[150];
    struct tf_sim_request *request = new_request(client, TF_MQTT_UNSUBSCRIBE);
    struct tf_writer payload = tf_writer_of(text, sizeof(text));
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    if (!request) {
        return;
    }
    request->filters[request->count++] = filter;
    tf_write_bytes16(&payload, tf_bytes_str(filter));
    struct tf_mqtt_unsubscribe packet = {.packet_id = request->packet_id,
                                         .payload = tf_bytes_of(text, tf_writer_length(&payload))};
    if (client->machine && !tf_sim_machine_unsubscribe(client, request->packet_id, filter)) {
        request->packet_id = 0;
        return;
    }
    tf_sim_tell(client->sim, &(struct tf_sim_event){.kind = TF_SIM_UNSUBSCRIBE,
                                                    .client = client->number,
                                                    .message = TF_SIM_NONE,
                                                    .packet_id = request->packet_id,
                                                    .filter = filter});
    if (!client->machine) {
        tf_mqtt_unsubscribe_write(&writer, &packet, client->connect.version);
        tf_sim_client_send(client, &writer);
    }
}

/* ---- the connection ---- */

void tf_sim_client_fill(const struct tf_sim_client *client, struct tf_sim_connect_parts *parts,
                        bool limits)
{
    const struct tf_sim_connect *c = &client->connect;
    struct tf_writer properties = tf_writer_of(parts->properties, sizeof(parts->properties));
    struct tf_writer will_properties =
        tf_writer_of(parts->will_properties, sizeof(parts->will_properties));
    parts->packet = (struct tf_mqtt_connect){.version = c->version,
                                             .clean_start = c->clean,
                                             .keep_alive_s = c->keep_alive_s,
                                             .client_id = tf_bytes_str(client->id)};
    if (c->version == TF_MQTT_5 && c->expiry_s) {
        put(&properties, TF_MQTT_SESSION_EXPIRY, c->expiry_s);
    }
    if (limits && c->receive_maximum != UINT16_MAX) {
        put(&properties, TF_MQTT_RECEIVE_MAXIMUM, c->receive_maximum);
    }
    if (limits && c->max_packet != UINT32_MAX) {
        put(&properties, TF_MQTT_MAXIMUM_PACKET_SIZE, c->max_packet);
    }
    parts->packet.properties = tf_bytes_of(parts->properties, tf_writer_length(&properties));
    if (c->will != TF_SIM_NONE) {
        const struct tf_sim_message *will = &client->sim->messages[c->will];
        tf_sim_client_body(will, parts->will_body);
        if (c->will_delay_s) {
            put(&will_properties, TF_MQTT_WILL_DELAY, c->will_delay_s);
        }
        parts->packet.has_will = true;
        parts->packet.will = (struct tf_mqtt_will){
            .topic = tf_bytes_str(tf_sim_topics[will->topic]),
            .payload = tf_bytes_of(parts->will_body, will->length),
            .properties = tf_bytes_of(parts->will_properties, tf_writer_length(&will_properties)),
            .qos = will->qos,
            .retain = will->retain};
    }
}

/* Forgets what a client must forget when it starts clean, or learns that its session is gone. */
static void forget(struct tf_sim_client *client)
{
    client->outgoing_count = 0;
    client->received_count = 0;
    client->no_state = true;
    client->answer_count = 0;
    if (client->machine) {
        tf_sim_machine_forget(client);
    }
}

/*
 * The connection ends: answers go with it, for the server asks again. But a machine is asked once
 * for the PUBREC of a message, on whatever connection it then goes out.
 */
static void keep_answers(struct tf_sim_client *client)
{
    unsigned kept = 0;
    for (unsigned i = 0; client->machine && i < client->answer_count; i++) {
        if (client->answers[i].type == TF_MQTT_PUBREC) {
            client->answers[kept++] = client->answers[i];
        }
    }
    client->answer_count = kept;
}

/* Notes until when the session is there if its connection ends now, or ended a little while ago. */
static void expect_until(struct tf_sim_client *client, uint32_t expiry_s)
{
    tf_time from = client->last_heard > TF_SIM_NOTICE ? client->last_heard - TF_SIM_NOTICE : 0;
    tf_time until = expiry_s == UINT32_MAX ? TF_TIME_NEVER : from + expiry_s * TF_SECOND;
    client->state_until = TF_MIN(client->state_until, until);
}

static uint32_t expiry_of(const struct tf_sim_connect *connect)
{
    return connect->version == TF_MQTT_5 ? connect->expiry_s : connect->clean ? 0 : UINT32_MAX;
}

void tf_sim_client_connect(struct tf_sim_client *client, const struct tf_sim_connect *connect)
{
    struct tf_sim *sim = client->sim;
    uint8_t memory[1000];
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    struct tf_sim_connect_parts parts;
    tf_assert(!client->link);
    client->connect = *connect;
    client->connect.clean |= client->must_clean;
    client->must_clean = client->connect.clean;
    client->link = tf_sim_link_open(sim, client);
    client->state = TF_SIM_CONNECTING;
    client->in_length = client->out_length = 0;
    keep_answers(client);
    memset(client->requests, 0, sizeof(client->requests));
    client->server_maximum = 1;
    client->read_after = client->silent_until = 0;
    client->was_silent = false;
    if (client->connect.clean || client->state_until < sim->now + TF_SIM_NOTICE) {
        forget(client);
    }
    expect_until(client, expiry_of(&client->connect));
    const struct tf_sim_connect *c = &client->connect;
    tf_sim_trace(sim, "c%u opens link%u to shard %u", client->number, client->link->number,
                 client->link->shard);
    tf_sim_tell(
        sim, &(struct tf_sim_event){.kind = TF_SIM_CONNECT,
                                    .client = client->number,
                                    .message = c->will,
                                    .info = c->will == TF_SIM_NONE ? NULL : &sim->messages[c->will],
                                    .version = c->version,
                                    .clean = c->clean,
                                    .expiry_s = expiry_of(c),
                                    .will_delay_s = c->will_delay_s,
                                    .keep_alive_s = c->keep_alive_s,
                                    .receive_maximum = c->receive_maximum,
                                    .max_packet = c->max_packet});
    if (client->machine) {
        tf_sim_machine_connect(client);
        return;
    }
    tf_sim_client_fill(client, &parts, true);
    tf_mqtt_connect_write(&writer, &parts.packet);
    tf_sim_client_send(client, &writer);
}

void tf_sim_client_disconnect(struct tf_sim_client *client, uint8_t reason, uint32_t expiry_s)
{
    uint8_t memory[40], properties[PROPERTIES_MAX];
    struct tf_writer property = tf_writer_of(properties, sizeof(properties));
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    if (client->connect.version != TF_MQTT_5) {
        reason = 0;
        expiry_s = client->connect.clean ? 0 : UINT32_MAX;
    } else if (client->machine) {
        expiry_s = client->connect.expiry_s; /* it sends no properties with DISCONNECT */
    } else if (expiry_s != client->connect.expiry_s) {
        put(&property, TF_MQTT_SESSION_EXPIRY, expiry_s);
    }
    struct tf_mqtt_disconnect packet = {
        .reason = reason, .properties = tf_bytes_of(properties, tf_writer_length(&property))};
    tf_mqtt_disconnect_write(&writer, &packet, client->connect.version);
    tf_sim_tell(client->sim, &(struct tf_sim_event){.kind = TF_SIM_DISCONNECT,
                                                    .client = client->number,
                                                    .message = TF_SIM_NONE,
                                                    .reason = reason,
                                                    .expiry_s = expiry_s});
    if (client->machine) {
        tf_sim_machine_disconnect(client, reason);
    } else {
        tf_sim_client_send(client, &writer);
    }
    expect_until(client, expiry_s);
    client->state = TF_SIM_LEAVING;
    keep_answers(client);
}

void tf_sim_client_drop(struct tf_sim_client *client, bool told, bool graceful)
{
    struct tf_sim *sim = client->sim;
    struct tf_sim_link *link = client->link;
    if (!link) {
        return;
    }
    client->link = NULL;
    if (client->machine) {
        tf_sim_machine_abandon(client);
    }
    if (client->state == TF_SIM_ONLINE) {
        expect_until(client, expiry_of(&client->connect));
    } else if (client->state == TF_SIM_CONNECTING) {
        /* A CONNECT that comes after a later one would take over from it: nobody could tell. */
        client->connect_after = sim->now + 3 * TF_SECOND;
    }
    client->state = TF_SIM_OFFLINE;
    client->out_length = client->in_length = 0;
    keep_answers(client);
    link->client = NULL;
    if (told) {
        link->up.stalled_until = 0; /* whoever waits for nothing is told at once */
        tf_sim_pipe_end(sim, &link->up);
        link->down.refused = true;
    } else {
        link->up.hole = link->down.hole = true;
    }
    tf_sim_tell(sim, &(struct tf_sim_event){.kind = TF_SIM_LOST,
                                            .client = client->number,
                                            .message = TF_SIM_NONE,
                                            .told = told,
                                            .graceful = graceful});
    tf_sim_link_unused(sim, link);
}

static void send_release(struct tf_sim_client *client, uint16_t packet_id)
{
    uint8_t memory[8];
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    struct tf_mqtt_ack ack = {.type = TF_MQTT_PUBREL, .packet_id = packet_id};
    tf_mqtt_ack_write(&writer, &ack, client->connect.version);
    tf_sim_client_send(client, &writer);
}

/*
 * Sends again what a resumed session has under way, in order (MQTT 5.0 4.4), as much of it as the
 * server's Receive Maximum lets; called again when something has been answered.
 */
void tf_sim_client_resume(struct tf_sim_client *client)
{
    struct tf_sim *sim = client->sim;
    for (unsigned i = 0; i < TF_MIN(client->outgoing_count, client->server_maximum); i++) {
        struct tf_sim_outgoing *o = &client->outgoing[i];
        if (o->sent) {
            continue;
        }
        o->sent = true;
        sim->seen[TF_SIM_CLIENT_RESENT]++;
        if (o->state == TF_SIM_WAIT_ACK) {
            send_publish(client, &sim->messages[o->message], o->packet_id, true);
        } else {
            send_release(client, o->packet_id);
        }
    }
}

/* ---- its time ---- */

static tf_time ping_at(const struct tf_sim_client *client)
{
    if (client->state != TF_SIM_ONLINE || !client->connect.keep_alive_s || client->machine) {
        return TF_TIME_NEVER;
    }
    tf_time at = client->last_sent + client->connect.keep_alive_s * TF_SECOND / 2;
    return TF_MAX(at, client->silent_until);
}

tf_time tf_sim_client_next(const struct tf_sim_client *client)
{
    const struct tf_sim_link *link = client->link;
    if (!link) {
        return TF_TIME_NEVER;
    }
    tf_time at = TF_MAX(tf_sim_pipe_next(&link->down), client->read_after);
    at = TF_MIN(at, ping_at(client));
    if (client->answer_count && client->state == TF_SIM_ONLINE) {
        at = TF_MIN(at, TF_MAX(client->answers[0].due, client->silent_until));
    }
    bool output = client->machine ? tf_sim_machine_has_output(client) : client->out_length != 0;
    if (output && tf_sim_pipe_writable(&link->up)) {
        at = TF_MIN(at, client->silent_until);
    }
    if (client->machine) {
        at = TF_MIN(at, TF_MAX(tf_sim_machine_next(client), client->silent_until));
    }
    return at;
}

/* Sends the answers that are due; a settled delivery gives credit back. */
static void answer(struct tf_sim_client *client)
{
    unsigned done = 0;
    while (done < client->answer_count && client->answers[done].due <= client->sim->now) {
        const struct tf_sim_answer *a = &client->answers[done++];
        if (client->machine && !tf_sim_machine_answer(client, a)) {
            done--;
            break;
        }
        uint8_t memory[8];
        struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
        struct tf_mqtt_ack ack = {.type = a->type, .packet_id = a->packet_id};
        tf_mqtt_ack_write(&writer, &ack, client->connect.version);
        if (a->type == TF_MQTT_PUBACK || a->type == TF_MQTT_PUBCOMP) {
            client->unsettled -= client->unsettled > 0;
            tf_sim_tell(client->sim, &(struct tf_sim_event){.kind = TF_SIM_SETTLE,
                                                            .client = client->number,
                                                            .message = TF_SIM_NONE,
                                                            .packet_id = a->packet_id});
        }
        if (!client->machine) {
            tf_sim_client_send(client, &writer);
        }
    }
    client->answer_count -= done;
    memmove(client->answers, client->answers + done,
            client->answer_count * sizeof(*client->answers));
}

void tf_sim_client_step(struct tf_sim_client *client)
{
    struct tf_sim *sim = client->sim;
    if (client->link && client->machine && sim->now >= client->silent_until) {
        tf_sim_machine_step(client);
    }
    if (client->link && sim->now >= client->silent_until) {
        flush(client);
        if (client->state == TF_SIM_ONLINE) {
            answer(client);
        }
        if (ping_at(client) <= sim->now) {
            uint8_t memory[2];
            struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
            tf_mqtt_ping_write(&writer, TF_MQTT_PINGREQ);
            tf_sim_trace(sim, "c%u pings", client->number);
            tf_sim_client_send(client, &writer);
        }
    }
    if (client->link &&
        TF_MAX(tf_sim_pipe_next(&client->link->down), client->read_after) <= sim->now) {
        tf_sim_client_input(client);
    }
}

bool tf_sim_client_quiet(const struct tf_sim_client *client)
{
    bool asked = false;
    for (unsigned i = 0; i < TF_COUNT(client->requests); i++) {
        asked |= client->requests[i].packet_id != 0;
    }
    return client->state == TF_SIM_OFFLINE ||
           (client->state == TF_SIM_ONLINE && (!client->machine || tf_sim_machine_quiet(client)) &&
            !client->outgoing_count && !client->answer_count && !client->received_count &&
            !client->out_length && !asked);
}
