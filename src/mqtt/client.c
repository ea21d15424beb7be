/*
 * The client's side of one MQTT connection: packets, events, keep-alive. What it does like the
 * server is in conn*.c, the handshake in client_connect.c; the parts that a firmware may leave out
 * (see conn.h) are in client_receive.c and client_subscribe.c, client_reliable.c,
 * client_version_5.c. It must not know what the caller makes of a message, nor call a part by name.
 *
 * States (enum tf_mqtt_conn_state) and who moves them:
 *
 *   NEW        no buffer has been lent yet
 *     -> ANSWERING  tf_mqtt_client_lend: CONNECT is written
 *   ANSWERING  CONNACK is to come, or has come and LOST events are to be pulled
 *     -> RESUMING   tf_mqtt_client_on_connack, `lose` of `reliable`: the session has deliveries
 *     -> UP         the same: it has none
 *     -> CLOSING    on_connack: the server refuses; tf_mqtt_client_tick: no CONNACK in time
 *   RESUMING   old deliveries go first: RESEND, RECEIVED, PUBREL
 *     -> UP         resume_next in conn_send.c, after the last of them
 *   RESUMING, UP
 *     -> CLOSING    tf_mqtt_client_disconnect; `input` of `version_5`: the server says goodbye;
 *                   tf_mqtt_conn_violate: it broke the protocol; tf_mqtt_client_tick: no PINGRESP
 *   any
 *     -> CLOSING    tf_mqtt_client_abandon
 *
 * Invariants (tf_mqtt_client_check) beside those of the connection, see server.c 3 to 8 and 10:
 *  1. Something is `losing` in ANSWERING only, and it is an id in use.
 *  2. `requests` is the number of ids in the session that wait for SUBACK or UNSUBACK, once nothing
 *     is losing; at most TF_MQTT_CLIENT_REQUESTS.
 *  3. A PINGREQ is due or unanswered in RESUMING, UP and CLOSING only.
 */
#include "mqtt/client.h"

#include "mqtt/codec.h"

/* --- start
 * ------------------------------------------------------------------------------------------- */

static bool config_valid(const struct tf_mqtt_client_config *config)
{
    const struct tf_mqtt_features *features = &config->features;
    uint8_t version = config->connect.version;

    return (version == TF_MQTT_3_1_1 || (version == TF_MQTT_5 && features->version_5)) &&
           (!features->receiving || features->receiving->valid(config)) &&
           (features->reliable ? features->reliable->valid(config) : config->connect.clean_start) &&
           config->max_packet_size >= 16;
}

size_t tf_mqtt_client_size(const struct tf_mqtt_client_config *config)
{
    return config_valid(config) ? sizeof(struct tf_mqtt_client) : 0;
}

enum tf_err tf_mqtt_client_init(struct tf_mqtt_client **ret, void *memory, size_t length,
                                const struct tf_mqtt_client_config *config, tf_time now)
{
    struct tf_mqtt_client *client = memory;
    const struct tf_mqtt_features *features = &config->features;

    if (!config_valid(config))
        return TF_MISUSE;
    if (features->version_5 && features->version_5->authenticates(config->connect.properties))
        return TF_UNSUPPORTED;
    if (length < sizeof *client)
        return TF_NO_MEMORY;
    *client = (struct tf_mqtt_client){.config = config,
                                      .spoken = now,
                                      .pinged = TF_TIME_NEVER,
                                      .keep_alive_s = config->connect.keep_alive_s,
                                      .retain_available = true,
                                      .wildcard_available = true,
                                      .identifier_available = true,
                                      .shared_available = true};
    tf_mqtt_conn_init(&client->conn, features, now);
    client->conn.rules.max_packet_size = config->max_packet_size;
    client->conn.version = config->connect.version;
    if ((features->receiving && !features->receiving->begin(client)) ||
        (features->reliable && !features->reliable->begin(client)))
        return TF_MISUSE;
    *ret = client;
    return TF_OK;
}

/* Writes a PINGREQ that is due, if there is room; the wait for its answer begins. */
static void put_ping(struct tf_mqtt_client *client)
{
    struct tf_output *output = &client->conn.output;

    if (!client->ping_due || !tf_mqtt_conn_open(&client->conn) ||
        tf_output_room(output, 0) < TF_MQTT_ACK_MAX)
        return;
    (void)tf_mqtt_put_u16(tf_output_next(output), 0xc000);
    tf_output_wrote(output, 2);
    client->ping_due = false;
}

enum tf_err tf_mqtt_client_lend(struct tf_mqtt_client *client, void *buffer, size_t length)
{
    enum tf_err err = tf_mqtt_conn_lend(&client->conn, buffer, length);

    if (err)
        return err;
    if (client->conn.state == TF_MQTT_CONN_NEW) {
        err = client->conn.version >= TF_MQTT_5
                  ? client->conn.features->version_5->connect(client)
                  : tf_mqtt_client_write_connect(client, &client->config->connect, 0);
        if (err)
            (void)tf_output_take(&client->conn.output);
        return err;
    }
    put_ping(client);
    return TF_OK;
}

/* --- input
 * ------------------------------------------------------------------------------------------- */

static enum tf_err on_pingresp(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame)
{
    uint8_t reason = 0;

    if (tf_mqtt_ping_read(frame, &reason))
        return tf_mqtt_conn_violate(&client->conn, reason, TF_MQTT_PINGRESP, NULL);
    client->pinged = TF_TIME_NEVER;
    return TF_OK;
}

/* Gives a packet to whoever takes its type (MQTT 5.0 2.1.2), if that part is there. */
static enum tf_err dispatch(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame)
{
    const struct tf_mqtt_features *features = client->conn.features;

    switch (frame->type) {
    case TF_MQTT_CONNACK:
        return tf_mqtt_client_on_connack(client, frame);
    case TF_MQTT_PINGRESP:
        return on_pingresp(client, frame);
    case TF_MQTT_PUBLISH:
    case TF_MQTT_PUBREL:
    case TF_MQTT_SUBACK:
    case TF_MQTT_UNSUBACK:
        if (features->receiving)
            return features->receiving->input(client, frame);
        break;
    case TF_MQTT_PUBACK:
    case TF_MQTT_PUBREC:
    case TF_MQTT_PUBCOMP:
        if (features->reliable)
            return features->reliable->input(client, frame);
        break;
    default: /* what only a client may send; in 5.0 there is more to say */
        if (client->conn.version >= TF_MQTT_5)
            return features->version_5->input(client, frame);
        break;
    }
    return tf_mqtt_conn_violate(&client->conn, TF_MQTT_PROTOCOL_ERROR, frame->type, NULL);
}

enum tf_err tf_mqtt_client_input(struct tf_mqtt_client *client, struct tf_bytes in,
                                 size_t *ret_used, size_t *ret_need, tf_time now)
{
    struct tf_mqtt_conn *conn = &client->conn;
    struct tf_mqtt_frame frame;
    size_t used = 0;
    enum tf_err err;

    if (conn->state == TF_MQTT_CONN_CLOSING)
        return TF_CLOSED;
    if (conn->slot.kind != TF_MQTT_SLOT_EMPTY || client->losing) {
        conn->blocked = true;
        return TF_AGAIN;
    }
    /* MQTT 5.0 3.2: the first packet is CONNACK; none is expected before CONNECT */
    if (in.length > 0 && conn->state <= TF_MQTT_CONN_ANSWERING &&
        (in.data[0] >> 4 != TF_MQTT_CONNACK || conn->state == TF_MQTT_CONN_NEW))
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, in.data[0] >> 4,
                                    "before CONNACK");
    err = tf_mqtt_conn_frame(conn, in, &frame, &used, ret_need);
    if (!err && frame.length > 0) {
        used = frame.length;
        err = dispatch(client, &frame);
    }
    conn->blocked = err == TF_AGAIN;
    if (err)
        return err;
    conn->heard = now;
    *ret_used = used;
    return TF_OK;
}

/* --- events
 * ------------------------------------------------------------------------------------------ */

/* Tells of the end of the handshake. */
static void connack_event(const struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret)
{
    const struct tf_mqtt_slot *slot = &client->conn.slot;

    ret->type = slot->reason ? TF_MQTT_CLIENT_REFUSED : TF_MQTT_CLIENT_CONNECTED;
    ret->reason = slot->reason;
    ret->session_present = slot->connack.session_present;
    ret->connack = slot->connack;
    ret->assigned_client_id = tf_bytes_of(NULL, 0);
    if (client->conn.version >= TF_MQTT_5)
        client->conn.features->version_5->tell(client, ret);
}

/* Tells what does not wait in the slot. */
static bool other_event(struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret)
{
    const struct tf_mqtt_features *features = client->conn.features;

    if (features->reliable)
        return features->reliable->next(client, ret);
    return features->receiving && features->receiving->next(client, ret);
}

bool tf_mqtt_client_event(struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret)
{
    const struct tf_mqtt_features *features = client->conn.features;
    struct tf_mqtt_slot *slot = &client->conn.slot;

    switch (slot->kind) {
    case TF_MQTT_SLOT_EMPTY:
        return other_event(client, ret);
    case TF_MQTT_SLOT_CONNACK:
        connack_event(client, ret);
        break;
    case TF_MQTT_SLOT_DISCONNECT:
        features->version_5->tell(client, ret);
        break;
    case TF_MQTT_SLOT_SETTLED:
    case TF_MQTT_SLOT_RECEIVED:
        features->reliable->tell(client, ret);
        break;
    default:
        features->receiving->tell(client, ret);
        break;
    }
    slot->kind = TF_MQTT_SLOT_EMPTY;
    return true;
}

/* --- messages, answers and parts: as both ends do them
 * ------------------------------------------------- */

enum tf_err tf_mqtt_client_publish(struct tf_mqtt_client *client,
                                   const struct tf_mqtt_delivery *delivery, bool *ret_borrowed)
{
    struct tf_mqtt_conn *conn = &client->conn;

    if (conn->state < TF_MQTT_CONN_RESUMING)
        return TF_AGAIN;
    if (delivery->subscription_id_count > 0 || delivery->qos > 2)
        return TF_MISUSE; /* MQTT 5.0 3.3.4 */
    if (delivery->qos > client->maximum_qos || (delivery->retain && !client->retain_available))
        return TF_UNSUPPORTED;
    if (conn->features->reliable)
        return conn->features->reliable->publish(conn, delivery, ret_borrowed);
    if (conn->features->version_5)
        return conn->features->version_5->publish(conn, delivery, ret_borrowed);
    return tf_mqtt_conn_deliver_plain(conn, delivery, ret_borrowed);
}

enum tf_err tf_mqtt_client_ack(struct tf_mqtt_client *client, uint16_t packet_id, uint8_t reason)
{
    return tf_mqtt_conn_published(&client->conn, packet_id, reason);
}

enum tf_err tf_mqtt_client_release(struct tf_mqtt_client *client, uint16_t packet_id)
{
    return client->config->session ? tf_mqtt_conn_release(&client->conn, packet_id) : TF_NOT_FOUND;
}

enum tf_err tf_mqtt_client_complete(struct tf_mqtt_client *client, uint16_t packet_id)
{
    return client->config->session ? tf_mqtt_conn_complete(&client->conn, packet_id) : TF_NOT_FOUND;
}

uint16_t tf_mqtt_client_credit(const struct tf_mqtt_client *client)
{
    return client->maximum_qos > 0 ? tf_mqtt_conn_credit(&client->conn) : 0;
}

enum tf_err tf_mqtt_client_give(struct tf_mqtt_client *client, enum tf_mqtt_part part, void *memory,
                                size_t length, void **ret_old)
{
    if (!client->config->session)
        return TF_MISUSE;
    if (part == TF_MQTT_PART_SENT)
        return tf_mqtt_session_give_sent(client->config->session, memory, length, ret_old);
    if (part == TF_MQTT_PART_RECEIVED)
        return tf_mqtt_session_give_received(client->config->session, memory, length, ret_old);
    return tf_mqtt_conn_give(&client->conn, part, memory, length, ret_old);
}

void *tf_mqtt_client_reclaim(struct tf_mqtt_client *client, enum tf_mqtt_part part)
{
    return tf_mqtt_conn_reclaim(&client->conn, part);
}

void *tf_mqtt_client_take(struct tf_mqtt_client *client)
{
    return tf_output_take(&client->conn.output);
}

size_t tf_mqtt_client_output(const struct tf_mqtt_client *client, struct tf_bytes *ret_spans,
                             size_t count)
{
    return tf_output_spans(&client->conn.output, ret_spans, count);
}

void tf_mqtt_client_sent(struct tf_mqtt_client *client, size_t length, tf_time now)
{
    if (length > 0)
        client->spoken = now;
    tf_mqtt_conn_sent(&client->conn, length);
    put_ping(client);
}

void tf_mqtt_client_abandon(struct tf_mqtt_client *client)
{
    tf_mqtt_conn_abandon(&client->conn);
}

/* --- the end, and time
 * ---------------------------------------------------------------------------------- */

void tf_mqtt_client_disconnect(struct tf_mqtt_client *client, uint8_t reason)
{
    struct tf_mqtt_conn *conn = &client->conn;
    bool told = conn->state != TF_MQTT_CONN_NEW &&
                (conn->version >= TF_MQTT_5 || reason == TF_MQTT_SUCCESS);

    tf_mqtt_conn_close(conn, told ? TF_MQTT_GOODBYE_DISCONNECT : TF_MQTT_GOODBYE_NONE, reason, 0,
                       NULL);
}

bool tf_mqtt_client_closing(const struct tf_mqtt_client *client, uint8_t *ret_reason)
{
    if (client->conn.state != TF_MQTT_CONN_CLOSING)
        return false;
    if (ret_reason)
        *ret_reason = client->conn.reason;
    return true;
}

/* `span_ms` after `from`; never for a span of 0. */
static tf_time after(tf_time from, uint32_t span_ms)
{
    return span_ms ? tf_time_add(from, span_ms * TF_MILLISECOND) : TF_TIME_NEVER;
}

/* When CONNACK or PINGRESP must have come. */
static tf_time answer_deadline(const struct tf_mqtt_client *client)
{
    const struct tf_mqtt_client_config *config = client->config;
    const struct tf_mqtt_conn *conn = &client->conn;

    if (conn->state <= TF_MQTT_CONN_ANSWERING)
        return after(conn->heard, config->connack_timeout_ms);
    if (conn->state == TF_MQTT_CONN_CLOSING)
        return TF_TIME_NEVER;
    return after(client->pinged, config->ping_timeout_ms); /* never, if none is unanswered */
}

/* When the next PINGREQ is due: nothing was sent, or nothing heard, for a whole keep-alive. */
static tf_time ping_deadline(const struct tf_mqtt_client *client)
{
    const struct tf_mqtt_conn *conn = &client->conn;
    tf_time from = client->spoken;

    if (!tf_mqtt_conn_open(conn))
        return TF_TIME_NEVER;
    if (client->pinged == TF_TIME_NEVER)
        from = TF_MIN(from, conn->heard);
    else if (client->ping_due || tf_output_pending(&conn->output))
        return TF_TIME_NEVER;
    /* MQTT 5.0 3.1.2.10: due whether or not the last one's answer is slow in coming; what is still
     * unsent will do as well */
    return after(from, client->keep_alive_s * 1000u);
}

tf_time tf_mqtt_client_deadline(const struct tf_mqtt_client *client)
{
    tf_time answer = answer_deadline(client), ping = ping_deadline(client);

    return TF_MIN(answer, ping);
}

void tf_mqtt_client_tick(struct tf_mqtt_client *client, tf_time now)
{
    struct tf_mqtt_conn *conn = &client->conn;

    if (now >= answer_deadline(client)) {
        if (conn->blocked && tf_mqtt_conn_open(conn))
            client->pinged = now; /* the answer may lie unread because of us */
        else
            tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_NONE, TF_MQTT_KEEP_ALIVE_TIMEOUT, 0, NULL);
        return;
    }
    if (now >= ping_deadline(client)) {
        client->ping_due = true;
        if (client->pinged == TF_TIME_NEVER)
            client->pinged = now;
        put_ping(client);
    }
}

uint16_t tf_mqtt_client_keep_alive(const struct tf_mqtt_client *client)
{
    return client->keep_alive_s;
}

bool tf_mqtt_client_check(const struct tf_mqtt_client *client)
{
    const struct tf_mqtt_session *session = client->config->session;
    const struct tf_mqtt_conn *conn = &client->conn;
    unsigned requests = 0;

    if (client->losing && conn->state < TF_MQTT_CONN_CLOSING &&
        (conn->state != TF_MQTT_CONN_ANSWERING || !tf_mqtt_session_sent(session, client->losing)))
        return false;
    if (conn->state <= TF_MQTT_CONN_ANSWERING &&
        (client->ping_due || client->pinged != TF_TIME_NEVER || conn->session))
        return false;
    if (client->requests > TF_MQTT_CLIENT_REQUESTS || !tf_mqtt_conn_check(conn))
        return false;
    if (!tf_mqtt_conn_open(conn) || !session)
        return true;
    for (uint16_t id = session->sent_first; id; id = session->sent[id - 1].next)
        requests += session->sent[id - 1].state >= TF_MQTT_SENT_SUBACK;
    return requests == client->requests;
}
