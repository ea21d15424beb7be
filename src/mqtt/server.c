/*
 * The server's side of one MQTT connection: the table of packets, the events, time. What it does
 * like the client is in conn*.c, the handshake in server_connect.c, subscriptions in
 * server_subscribe.c. It must not know what a message or a session means to the caller.
 *
 * States (enum tf_mqtt_conn_state) and who moves them:
 *
 *   NEW        a CONNECT is to come
 *     -> ANSWERING  tf_mqtt_server_on_connect: a valid CONNECT, event CONNECT
 *     -> CLOSING    on_connect, tf_mqtt_server_input: anything else; tf_mqtt_server_tick: too late
 *   ANSWERING  the caller is to answer; no input is taken
 *     -> RESUMING   tf_mqtt_server_accept (tf_mqtt_conn_start): the session has deliveries under
 * way
 *     -> UP         tf_mqtt_server_accept: it has none
 *     -> CLOSING    tf_mqtt_server_refuse, tf_mqtt_server_close
 *   RESUMING   old deliveries go first: RESEND, RECEIVED, PUBREL
 *     -> UP         resume_next in conn_send.c, after the last of them
 *   RESUMING, UP
 *     -> CLOSING    tf_mqtt_server_on_disconnect; tf_mqtt_conn_violate: the client broke the
 * protocol; tf_mqtt_server_tick: silent for 1.5 keep-alives; tf_mqtt_server_close;
 *                   tf_mqtt_conn_published: a refusal that 3.1.1 cannot be told
 *   CLOSING    output is flushed, events are pulled, nothing else happens
 *
 * Invariants (tf_mqtt_server_check):
 *  1. The version is 0 in NEW only, or in CLOSING from NEW.
 *  2. There is a session in RESUMING and UP, and none before.
 *  3. At most one event is in the slot; while it is, no input is taken. What else is to be told
 *     (RETURNED, NEEDS, RESEND) follows from other state and is found when an event is pulled.
 *  4. `resend` is an id in use in RESUMING and 0 in every other state.
 *  5. `counted` is the number of ids marked so in the session, at most `send_limit`.
 *  6. Answers to PUBLISH lie in the order of their arrival; for 5.0 `inbound` is at most the
 * Receive Maximum that was announced.
 *  7. Part of a body is missing (`body_left`) in RESUMING and UP only.
 *  8. A DISCONNECT or CONNACK is due (`goodbye`) in CLOSING only, and is written last.
 *  9. At most TF_MQTT_SERVER_ANSWERS subscribe requests are unanswered.
 * 10. The output's invariants, the session's and the aliases'.
 */
#include "mqtt/server.h"

#include "mqtt/codec.h"

/* A server has every part of a connection. */
static const struct tf_mqtt_receiving receiving = {.flush = tf_mqtt_conn_flush,
                                                   .run = tf_mqtt_conn_run,
                                                   .large = tf_mqtt_conn_large,
                                                   .cut = tf_mqtt_conn_cut};
static const struct tf_mqtt_reliable reliable = {.start = tf_mqtt_conn_restart,
                                                 .resume = tf_mqtt_conn_resume};
static const struct tf_mqtt_version_5 version_5 = {.goodbye = tf_mqtt_conn_goodbye};
static const struct tf_mqtt_features features = {&receiving, &reliable, &version_5};

/* --- start
 * ------------------------------------------------------------------------------------------- */

static bool config_valid(const struct tf_mqtt_server_config *config)
{
    /* Headers of a PUBLISH up to its topic must be seen before it is taken in runs. */
    return config->max_packet_size >= 16 && config->max_connect_size >= 16 &&
           (config->body_run == 0 || config->body_run >= 16) && config->receive_maximum > 0 &&
           config->max_in_flight > 0 && config->maximum_qos <= 2 &&
           (config->topic_alias_maximum == 0 || config->topic_alias_bytes > 0);
}

size_t tf_mqtt_server_size(const struct tf_mqtt_server_config *config)
{
    return config_valid(config) ? sizeof(struct tf_mqtt_server) : 0;
}

enum tf_err tf_mqtt_server_init(struct tf_mqtt_server **ret, void *memory, size_t length,
                                const struct tf_mqtt_server_config *config, tf_time now)
{
    struct tf_mqtt_server *server = memory;

    if (!config_valid(config))
        return TF_MISUSE;
    if (length < sizeof *server)
        return TF_NO_MEMORY;
    *server = (struct tf_mqtt_server){.config = config};
    tf_mqtt_conn_init(&server->conn, &features, now);
    server->conn.rules = (struct tf_mqtt_conn_rules){
        .max_packet_size = config->max_connect_size, /* until CONNECT has come */
        .body_run = config->body_run,
        .reference_from = config->reference_from,
        .alias_bytes = config->topic_alias_bytes,
        .receive_maximum = config->receive_maximum,
        .alias_maximum = config->topic_alias_maximum,
        .max_topic_levels = config->max_topic_levels,
        .maximum_qos = config->maximum_qos,
        .retain_available = config->retain_available,
        .check_payload_format = config->check_payload_format,
        .is_server = true,
    };
    *ret = server;
    return TF_OK;
}

/* --- input
 * ------------------------------------------------------------------------------------------- */

static enum tf_err on_publish(struct tf_mqtt_server *server, const struct tf_mqtt_frame *frame)
{
    return tf_mqtt_conn_publish(&server->conn, frame, 0);
}

static enum tf_err on_puback(struct tf_mqtt_server *server, const struct tf_mqtt_frame *frame)
{
    return tf_mqtt_conn_puback(&server->conn, frame);
}

static enum tf_err on_pubrec(struct tf_mqtt_server *server, const struct tf_mqtt_frame *frame)
{
    return tf_mqtt_conn_pubrec(&server->conn, frame);
}

static enum tf_err on_pubrel(struct tf_mqtt_server *server, const struct tf_mqtt_frame *frame)
{
    return tf_mqtt_conn_pubrel(&server->conn, frame);
}

static enum tf_err on_pubcomp(struct tf_mqtt_server *server, const struct tf_mqtt_frame *frame)
{
    return tf_mqtt_conn_pubcomp(&server->conn, frame);
}

/* Answers PINGREQ (MQTT 5.0 3.12.4). */
static enum tf_err on_pingreq(struct tf_mqtt_server *server, const struct tf_mqtt_frame *frame)
{
    struct tf_output *output = &server->conn.output;
    uint8_t reason = 0;

    if (tf_mqtt_ping_read(frame, &reason))
        return tf_mqtt_conn_violate(&server->conn, reason, TF_MQTT_PINGREQ, NULL);
    if (tf_output_room(output, 0) < TF_MQTT_ACK_MAX)
        return TF_AGAIN;
    (void)tf_mqtt_put_u16(tf_output_next(output), 0xd000);
    tf_output_wrote(output, 2);
    return TF_OK;
}

/* What only a server may send, and AUTH, since no authentication method is ever agreed on. */
static enum tf_err on_forbidden(struct tf_mqtt_server *server, const struct tf_mqtt_frame *frame)
{
    const char *why =
        frame->type == TF_MQTT_AUTH ? "no authentication is under way" : "not for a client to send";

    return tf_mqtt_conn_violate(&server->conn, TF_MQTT_PROTOCOL_ERROR, frame->type, why);
}

typedef enum tf_err handler(struct tf_mqtt_server *server, const struct tf_mqtt_frame *frame);

/* By packet type, MQTT 5.0 2.1.2; the frame's reader lets no type 0 pass. */
static handler *const handlers[16] = {
    on_forbidden,
    tf_mqtt_server_on_connect,
    on_forbidden,
    on_publish,
    on_puback,
    on_pubrec,
    on_pubrel,
    on_pubcomp,
    tf_mqtt_server_on_subscribe,
    on_forbidden,
    tf_mqtt_server_on_unsubscribe,
    on_forbidden,
    on_pingreq,
    on_forbidden,
    tf_mqtt_server_on_disconnect,
    on_forbidden,
};

/* True if the peer has only itself to blame for what it sent first. */
static bool begins_wrong(const struct tf_mqtt_server *server, struct tf_bytes in)
{
    return server->conn.state == TF_MQTT_CONN_NEW && in.length > 0 &&
           in.data[0] >> 4 != TF_MQTT_CONNECT;
}

enum tf_err tf_mqtt_server_input(struct tf_mqtt_server *server, struct tf_bytes in,
                                 size_t *ret_used, size_t *ret_need, tf_time now)
{
    struct tf_mqtt_conn *conn = &server->conn;
    struct tf_mqtt_frame frame;
    bool begins = conn->body_left == 0;
    size_t used = 0;
    enum tf_err err;

    if (conn->state == TF_MQTT_CONN_CLOSING)
        return TF_CLOSED;
    if (conn->slot.kind != TF_MQTT_SLOT_EMPTY || conn->state == TF_MQTT_CONN_ANSWERING) {
        conn->blocked = true;
        return TF_AGAIN;
    }
    if (begins_wrong(server, in)) /* MQTT 5.0 3.1 */
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, in.data[0] >> 4,
                                    "before CONNECT");
    err = tf_mqtt_conn_frame(conn, in, &frame, &used, ret_need);
    if (!err && frame.length > 0) {
        used = frame.length;
        err = handlers[frame.type](server, &frame);
    }
    conn->blocked = err == TF_AGAIN;
    if (err)
        return err;
    conn->heard = now;
    conn->packets += begins;
    *ret_used = used;
    return TF_OK;
}

/* --- events
 * ------------------------------------------------------------------------------------------ */

/* Tells what does not wait in the slot. */
static bool other_event(struct tf_mqtt_server *server, struct tf_mqtt_server_event *ret)
{
    uint64_t number = 0;
    uint16_t packet_id = 0;

    switch (tf_mqtt_conn_next(&server->conn, &number, &packet_id)) {
    case TF_MQTT_SLOT_RETURNED:
        ret->type = TF_MQTT_SERVER_RETURNED;
        ret->owner = number;
        return true;
    case TF_MQTT_SLOT_NEEDS:
        ret->type = TF_MQTT_SERVER_NEEDS;
        ret->part = (enum tf_mqtt_part)number;
        ret->size = tf_mqtt_conn_need_size(&server->conn, ret->part);
        return true;
    case TF_MQTT_SLOT_RESEND:
        ret->type = TF_MQTT_SERVER_RESEND;
        break;
    case TF_MQTT_SLOT_RECEIVED:
        ret->type = TF_MQTT_SERVER_RECEIVED;
        break;
    default:
        return false;
    }
    ret->reason = 0;
    ret->handle = number;
    ret->packet_id = packet_id;
    return true;
}

/* Tells of a CONNECT: it is read a second time, so that its many views need no room of their own.
 */
static void connect_event(const struct tf_mqtt_server *server, struct tf_mqtt_server_event *ret)
{
    uint8_t reason = 0;
    enum tf_err err = tf_mqtt_connect_read(&server->conn.slot.frame, &ret->connect, &reason);

    tf_assert(!err);
    ret->type = TF_MQTT_SERVER_CONNECT;
    ret->session_expiry_s = server->asked_expiry_s;
}

bool tf_mqtt_server_event(struct tf_mqtt_server *server, struct tf_mqtt_server_event *ret)
{
    struct tf_mqtt_slot *slot = &server->conn.slot;

    switch (slot->kind) {
    case TF_MQTT_SLOT_EMPTY:
        return other_event(server, ret);
    case TF_MQTT_SLOT_PUBLISH:
        ret->type = TF_MQTT_SERVER_PUBLISH;
        ret->packet_id = slot->publish.packet_id;
        ret->payload_left = server->conn.body_left;
        ret->publish = slot->publish;
        break;
    case TF_MQTT_SLOT_BODY:
        ret->type = TF_MQTT_SERVER_BODY;
        ret->payload_left = server->conn.body_left;
        ret->body = slot->body;
        break;
    case TF_MQTT_SLOT_SETTLED:
    case TF_MQTT_SLOT_RECEIVED:
        ret->type =
            slot->kind == TF_MQTT_SLOT_SETTLED ? TF_MQTT_SERVER_SETTLED : TF_MQTT_SERVER_RECEIVED;
        ret->handle = slot->handle;
        ret->packet_id = slot->packet_id;
        ret->reason = slot->reason;
        break;
    case TF_MQTT_SLOT_RELEASED:
        ret->type = TF_MQTT_SERVER_RELEASED;
        ret->packet_id = slot->packet_id;
        ret->reason = slot->reason;
        break;
    case TF_MQTT_SLOT_CONNECT:
        connect_event(server, ret);
        break;
    case TF_MQTT_SLOT_SUBSCRIBE:
        ret->type = TF_MQTT_SERVER_SUBSCRIBE;
        ret->packet_id = slot->subscribe.packet_id;
        ret->subscribe = slot->subscribe;
        break;
    case TF_MQTT_SLOT_UNSUBSCRIBE:
        ret->type = TF_MQTT_SERVER_UNSUBSCRIBE;
        ret->packet_id = slot->unsubscribe.packet_id;
        ret->unsubscribe = slot->unsubscribe;
        break;
    default:
        tf_assert(slot->kind == TF_MQTT_SLOT_DISCONNECT);
        ret->type = TF_MQTT_SERVER_DISCONNECT;
        ret->reason = slot->reason;
        ret->session_expiry_s = server->session_expiry_s;
        break;
    }
    slot->kind = TF_MQTT_SLOT_EMPTY;
    return true;
}

/* --- deliveries, answers and parts: as both ends do them
 * ---------------------------------------------- */

enum tf_err tf_mqtt_server_deliver(struct tf_mqtt_server *server,
                                   const struct tf_mqtt_delivery *delivery, bool *ret_borrowed)
{
    return tf_mqtt_conn_deliver(&server->conn, delivery, ret_borrowed);
}

enum tf_err tf_mqtt_server_published(struct tf_mqtt_server *server, uint16_t packet_id,
                                     uint8_t reason)
{
    return tf_mqtt_conn_published(&server->conn, packet_id, reason);
}

enum tf_err tf_mqtt_server_release(struct tf_mqtt_server *server, uint16_t packet_id)
{
    return tf_mqtt_conn_release(&server->conn, packet_id);
}

enum tf_err tf_mqtt_server_complete(struct tf_mqtt_server *server, uint16_t packet_id)
{
    return tf_mqtt_conn_complete(&server->conn, packet_id);
}

uint16_t tf_mqtt_server_credit(const struct tf_mqtt_server *server)
{
    return tf_mqtt_conn_credit(&server->conn);
}

enum tf_err tf_mqtt_server_give(struct tf_mqtt_server *server, enum tf_mqtt_part part, void *memory,
                                size_t length, void **ret_old)
{
    return tf_mqtt_conn_give(&server->conn, part, memory, length, ret_old);
}

void *tf_mqtt_server_reclaim(struct tf_mqtt_server *server, enum tf_mqtt_part part)
{
    return tf_mqtt_conn_reclaim(&server->conn, part);
}

enum tf_err tf_mqtt_server_lend(struct tf_mqtt_server *server, void *buffer, size_t length)
{
    return tf_mqtt_conn_lend(&server->conn, buffer, length);
}

void *tf_mqtt_server_take(struct tf_mqtt_server *server)
{
    return tf_output_take(&server->conn.output);
}

size_t tf_mqtt_server_output(const struct tf_mqtt_server *server, struct tf_bytes *ret_spans,
                             size_t count)
{
    return tf_output_spans(&server->conn.output, ret_spans, count);
}

void tf_mqtt_server_sent(struct tf_mqtt_server *server, size_t length, tf_time now)
{
    (void)now;
    tf_mqtt_conn_sent(&server->conn, length);
}

void tf_mqtt_server_abandon(struct tf_mqtt_server *server)
{
    tf_mqtt_conn_abandon(&server->conn);
}

void tf_mqtt_server_take_counts(struct tf_mqtt_server *server, uint32_t *ret_received,
                                uint32_t *ret_sent)
{
    *ret_received = server->conn.packets;
    *ret_sent = server->conn.output.packets;
    server->conn.packets = server->conn.output.packets = 0;
}

/* --- the end, and time
 * ---------------------------------------------------------------------------------- */

void tf_mqtt_server_close(struct tf_mqtt_server *server, uint8_t reason)
{
    /* MQTT 5.0 4.13, 3.14; 3.1.1 has no DISCONNECT from a server */
    if (server->conn.state == TF_MQTT_CONN_ANSWERING) {
        if (tf_mqtt_server_refuse(server, reason) == TF_OK)
            return;
    }
    (void)tf_mqtt_conn_violate(&server->conn, reason, 0, NULL);
}

bool tf_mqtt_server_closing(const struct tf_mqtt_server *server, uint8_t *ret_reason)
{
    if (server->conn.state != TF_MQTT_CONN_CLOSING)
        return false;
    if (ret_reason)
        *ret_reason = server->conn.reason;
    return true;
}

void tf_mqtt_server_alive(struct tf_mqtt_server *server, tf_time now)
{
    server->conn.heard = now;
}

tf_time tf_mqtt_server_deadline(const struct tf_mqtt_server *server)
{
    const struct tf_mqtt_conn *conn = &server->conn;

    if (conn->state == TF_MQTT_CONN_NEW)
        return tf_time_add(conn->heard, server->config->connect_timeout_ms * TF_MILLISECOND);
    if (!tf_mqtt_conn_open(conn) || server->keep_alive_s == 0)
        return TF_TIME_NEVER;
    return tf_time_add(conn->heard, server->keep_alive_s * TF_SECOND * 3 / 2);
}

void tf_mqtt_server_tick(struct tf_mqtt_server *server, tf_time now)
{
    struct tf_mqtt_conn *conn = &server->conn;

    if (now < tf_mqtt_server_deadline(server))
        return;
    if (conn->state == TF_MQTT_CONN_NEW)
        (void)tf_mqtt_conn_violate(conn, TF_MQTT_MAXIMUM_CONNECT_TIME, 0, NULL);
    else if (conn->blocked)
        conn->heard = now; /* what it sent may lie unread because of us */
    else
        (void)tf_mqtt_conn_violate(conn, TF_MQTT_KEEP_ALIVE_TIMEOUT, 0, NULL); /* 3.1.2.10 */
}

unsigned tf_mqtt_server_version(const struct tf_mqtt_server *server)
{
    return server->conn.version;
}

bool tf_mqtt_server_check(const struct tf_mqtt_server *server)
{
    const struct tf_mqtt_conn *conn = &server->conn;
    bool before = conn->state < TF_MQTT_CONN_RESUMING;

    if (conn->state != TF_MQTT_CONN_CLOSING &&
        (conn->version == 0) != (conn->state == TF_MQTT_CONN_NEW))
        return false;
    if ((before && conn->session) || server->answers > TF_MQTT_SERVER_ANSWERS)
        return false;
    return tf_mqtt_conn_check(conn);
}
