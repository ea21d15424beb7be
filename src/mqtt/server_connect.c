/*
 * How a connection to a server begins and how a client ends it: CONNECT, CONNACK, DISCONNECT.
 *
 * Whether a client may come in, and as whom, the caller decides; here is only what the standard
 * leaves no choice about.
 */
#include "mqtt/server.h"

#include "mqtt/codec.h"

/* --- CONNECT
 * ------------------------------------------------------------------------------------------- */

/* Answers a CONNECT that could not be read in the way of the version that it asked for. */
static enum tf_err reject(struct tf_mqtt_server *server, const struct tf_mqtt_frame *frame,
                          uint8_t version, uint8_t reason)
{
    struct tf_mqtt_conn *conn = &server->conn;
    struct tf_bytes name = frame->body;

    name.length = TF_MIN(name.length, 6);
    if (reason != TF_MQTT_UNSUPPORTED_VERSION) {
        conn->version = version;
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_CONNECT, NULL);
    }
    /* MQTT 5.0 3.1.2.1: another protocol's name gets no answer; 3.1.2.2, 3.1.1 3.1.2.2: a level
     * does */
    if (version > TF_MQTT_5 && tf_bytes_equal(name, tf_bytes_of("\0\4MQTT", 6))) {
        conn->version = TF_MQTT_5;
    } else if (version < TF_MQTT_3_1_1) {
        conn->version = TF_MQTT_3_1_1;
        tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_CONNACK, reason, TF_MQTT_CONNECT, NULL);
    }
    return tf_mqtt_conn_violate(conn, reason, TF_MQTT_CONNECT, NULL);
}

/* Takes what the client says of itself (MQTT 5.0 3.1.2.11). */
static enum tf_err read_properties(struct tf_mqtt_server *server, struct tf_bytes properties)
{
    struct tf_mqtt_property_cursor cursor = {properties, 0};
    struct tf_mqtt_conn *conn = &server->conn;
    struct tf_mqtt_property property;

    while (tf_mqtt_property_next(&cursor, &property)) {
        switch (property.id) {
        case TF_MQTT_SESSION_EXPIRY:
            server->asked_expiry_s = property.number;
            break;
        case TF_MQTT_RECEIVE_MAXIMUM:
            conn->send_limit = (uint16_t)TF_MIN(conn->send_limit, property.number);
            break;
        case TF_MQTT_MAXIMUM_PACKET_SIZE:
            conn->peer_max_packet = property.number;
            break;
        case TF_MQTT_REQUEST_PROBLEM_INFO:
            conn->quiet = property.number == 0;
            break;
        case TF_MQTT_AUTHENTICATION_METHOD: /* MQTT 5.0 4.12 */
            return tf_mqtt_conn_violate(conn, TF_MQTT_BAD_AUTHENTICATION_METHOD, TF_MQTT_CONNECT,
                                        "no authentication methods are offered");
        default:
            break;
        }
    }
    return TF_OK;
}

/* Checks the will by what CONNACK would announce (MQTT 5.0 3.2.2.3.4, 3.2.2.3.5). */
static enum tf_err check_will(struct tf_mqtt_server *server, const struct tf_mqtt_will *will)
{
    const struct tf_mqtt_conn_rules *rules = &server->conn.rules;
    unsigned levels = 1;
    uint8_t reason = TF_MQTT_SUCCESS;

    for (size_t i = 0; i < will->topic.length; i++)
        levels += will->topic.data[i] == '/';
    if (rules->max_topic_levels > 0 && levels > rules->max_topic_levels)
        reason = TF_MQTT_TOPIC_NAME_INVALID;
    else if (will->qos > rules->maximum_qos)
        reason = TF_MQTT_QOS_NOT_SUPPORTED;
    else if (will->retain && !rules->retain_available)
        reason = TF_MQTT_RETAIN_NOT_SUPPORTED;
    else if (rules->check_payload_format &&
             tf_mqtt_property_number(will->properties, TF_MQTT_PAYLOAD_FORMAT, 0) == 1 &&
             !tf_utf8_valid(will->payload))
        reason = TF_MQTT_PAYLOAD_FORMAT_INVALID; /* MQTT 5.0 3.1.3.2.3 */
    return reason ? tf_mqtt_conn_violate(&server->conn, reason, TF_MQTT_CONNECT, "will") : TF_OK;
}

/* The keep-alive in force: a 5.0 client can be told of a shorter one (3.2.2.3.14). */
static uint16_t keep_alive(const struct tf_mqtt_server *server,
                           const struct tf_mqtt_connect *connect)
{
    uint16_t most = server->config->max_keep_alive_s;

    if (connect->version < TF_MQTT_5 || most == 0)
        return connect->keep_alive_s;
    return connect->keep_alive_s == 0 ? most : TF_MIN(connect->keep_alive_s, most);
}

enum tf_err tf_mqtt_server_on_connect(struct tf_mqtt_server *server,
                                      const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &server->conn;
    struct tf_mqtt_connect connect;
    uint8_t reason = 0;
    enum tf_err err;

    if (conn->state != TF_MQTT_CONN_NEW) /* MQTT 5.0 3.1 */
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_CONNECT, "a second one");
    if (tf_mqtt_connect_read(frame, &connect, &reason))
        return reject(server, frame, connect.version, reason);
    conn->version = connect.version;
    conn->send_limit = server->config->max_in_flight;
    err = read_properties(server, connect.properties);
    if (!err && connect.has_will)
        err = check_will(server, &connect.will);
    if (err)
        return err;
    if (connect.version < TF_MQTT_5) {
        server->asked_expiry_s = connect.clean_start ? 0 : UINT32_MAX;
        if (connect.client_id.length == 0 && !connect.clean_start) { /* 3.1.1 3.1.3.1 */
            tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_CONNACK, TF_MQTT_CLIENT_ID_NOT_VALID,
                               TF_MQTT_CONNECT, NULL);
            return TF_PROTOCOL;
        }
    }
    server->asked_keep_alive_s = connect.keep_alive_s;
    server->keep_alive_s = keep_alive(server, &connect);
    conn->rules.max_packet_size = server->config->max_packet_size;
    conn->state = TF_MQTT_CONN_ANSWERING;
    conn->slot.kind = TF_MQTT_SLOT_CONNECT;
    conn->slot.frame = *frame;
    return TF_OK;
}

/* --- CONNACK
 * ------------------------------------------------------------------------------------------- */

/* CONNACK has at most this many properties. */
#define PROPERTIES_MAX 9u

struct properties {
    struct tf_mqtt_property all[PROPERTIES_MAX];
    size_t count;
    size_t size;
};

/* Adds a property, unless it only says what is understood without it. */
static void add(struct properties *properties, bool needed, uint8_t id, uint32_t number,
                struct tf_bytes value)
{
    struct tf_mqtt_property property = {.id = id, .number = number, .value = value};

    if (!needed)
        return;
    tf_assert(properties->count < PROPERTIES_MAX);
    properties->all[properties->count++] = property;
    properties->size += tf_mqtt_property_size(&property);
}

/* What a 5.0 client is told of this server (MQTT 5.0 3.2.2.3). */
static void announce(const struct tf_mqtt_server *server,
                     const struct tf_mqtt_server_accept *accept, struct properties *ret)
{
    const struct tf_mqtt_server_config *config = server->config;
    struct tf_bytes none = {0};

    *ret = (struct properties){0};
    if (server->conn.version < TF_MQTT_5)
        return;
    add(ret, accept->session_expiry_s != server->asked_expiry_s, TF_MQTT_SESSION_EXPIRY,
        accept->session_expiry_s, none);
    add(ret, config->receive_maximum < UINT16_MAX, TF_MQTT_RECEIVE_MAXIMUM, config->receive_maximum,
        none);
    add(ret, config->maximum_qos < 2, TF_MQTT_MAXIMUM_QOS, config->maximum_qos, none);
    add(ret, !config->retain_available, TF_MQTT_RETAIN_AVAILABLE, 0, none);
    add(ret, config->max_packet_size < TF_MQTT_LENGTH_MAX, TF_MQTT_MAXIMUM_PACKET_SIZE,
        config->max_packet_size, none);
    add(ret, accept->assigned_client_id.length > 0, TF_MQTT_ASSIGNED_CLIENT_ID, 0,
        accept->assigned_client_id);
    add(ret, config->topic_alias_maximum > 0, TF_MQTT_TOPIC_ALIAS_MAXIMUM,
        config->topic_alias_maximum, none);
    add(ret, !config->shared_available, TF_MQTT_SHARED_AVAILABLE, 0, none);
    add(ret, server->keep_alive_s != server->asked_keep_alive_s, TF_MQTT_SERVER_KEEP_ALIVE,
        server->keep_alive_s, none);
}

/* Writes CONNACK. Errors as tf_mqtt_server_accept. */
static enum tf_err put_connack(struct tf_mqtt_server *server, bool session_present,
                               const struct properties *properties)
{
    struct tf_mqtt_conn *conn = &server->conn;
    bool is_5 = conn->version >= TF_MQTT_5;
    size_t length = tf_mqtt_length_size((uint32_t)properties->size) + properties->size;
    size_t remaining = 2 + (is_5 ? length : 0);
    size_t size = 1 + tf_mqtt_length_size((uint32_t)remaining) + remaining;
    struct tf_writer writer;
    uint8_t *to;

    if (size > conn->peer_max_packet) { /* MQTT 5.0 3.1.2.11.4 */
        tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_NONE, TF_MQTT_IMPLEMENTATION_ERROR,
                           TF_MQTT_CONNACK, "over the Maximum Packet Size");
        return TF_CLOSED;
    }
    if (tf_output_room(&conn->output, 0) < size)
        return !conn->output.buffer || tf_output_could(&conn->output, size, 0) ? TF_AGAIN
                                                                               : TF_NO_MEMORY;
    to = tf_mqtt_put_u8(tf_output_next(&conn->output), 0x20);
    to = tf_mqtt_put_varint(to, (uint32_t)remaining);
    to = tf_mqtt_put_u16(to, session_present ? 0x0100 : 0);
    if (is_5) {
        to = tf_mqtt_put_varint(to, (uint32_t)properties->size);
        writer = tf_writer_of(to, properties->size);
        for (size_t i = 0; i < properties->count; i++)
            tf_mqtt_property_write(&writer, &properties->all[i]);
        tf_assert(!writer.failed && tf_writer_length(&writer) == properties->size);
    }
    tf_output_wrote(&conn->output, size);
    return TF_OK;
}

enum tf_err tf_mqtt_server_accept(struct tf_mqtt_server *server,
                                  const struct tf_mqtt_server_accept *accept, tf_time now)
{
    struct tf_mqtt_conn *conn = &server->conn;
    struct properties properties;
    enum tf_err err;

    if (conn->state == TF_MQTT_CONN_CLOSING)
        return TF_CLOSED;
    if (conn->state != TF_MQTT_CONN_ANSWERING || conn->slot.kind != TF_MQTT_SLOT_EMPTY ||
        !accept->session || accept->assigned_client_id.length > UINT16_MAX)
        return TF_MISUSE;
    if (!accept->session_present &&
        (accept->session->sent_count > 0 || accept->session->received_count > 0))
        return TF_MISUSE;
    announce(server, accept, &properties);
    err = put_connack(server, accept->session_present, &properties);
    if (err)
        return err;
    server->session_expiry_s = accept->session_expiry_s;
    conn->heard = now;
    tf_mqtt_conn_start(conn, accept->session);
    return TF_OK;
}

enum tf_err tf_mqtt_server_refuse(struct tf_mqtt_server *server, uint8_t reason)
{
    struct tf_mqtt_conn *conn = &server->conn;
    bool told = conn->version >= TF_MQTT_5 || tf_mqtt_conn_return_code(reason) > 0;

    if (conn->state != TF_MQTT_CONN_ANSWERING || conn->slot.kind != TF_MQTT_SLOT_EMPTY ||
        reason < TF_MQTT_UNSPECIFIED_ERROR)
        return TF_MISUSE;
    tf_mqtt_conn_close(conn, told ? TF_MQTT_GOODBYE_CONNACK : TF_MQTT_GOODBYE_NONE, reason, 0,
                       NULL);
    return TF_OK;
}

/* --- DISCONNECT
 * ---------------------------------------------------------------------------------------- */

enum tf_err tf_mqtt_server_on_disconnect(struct tf_mqtt_server *server,
                                         const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &server->conn;
    struct tf_mqtt_disconnect packet;
    uint32_t expiry_s;
    uint8_t reason = 0;

    if (tf_mqtt_disconnect_read(frame, conn->version, &packet, &reason))
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_DISCONNECT, NULL);
    expiry_s = tf_mqtt_property_number(packet.properties, TF_MQTT_SESSION_EXPIRY,
                                       server->session_expiry_s);
    if (server->asked_expiry_s == 0 && expiry_s > 0) /* MQTT 5.0 3.14.2.2.2 */
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_DISCONNECT,
                                    "raises the session expiry from 0");
    server->session_expiry_s = expiry_s;
    tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_NONE, packet.reason, TF_MQTT_DISCONNECT, NULL);
    conn->slot.kind = TF_MQTT_SLOT_DISCONNECT;
    conn->slot.reason = packet.reason;
    return TF_OK;
}
