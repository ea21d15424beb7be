/*
 * How a client's connection begins and how a server ends it: CONNECT, CONNACK, DISCONNECT, and what
 * becomes of a session that the server does not know.
 */
#include "mqtt/client.h"

#include "mqtt/codec.h"

/* --- CONNECT
 * ------------------------------------------------------------------------------------------- */

/* Puts the properties that follow from the config, behind those of the caller. */
static void put_properties(struct tf_writer *writer, const struct tf_mqtt_client_config *config)
{
    struct tf_mqtt_property property = {0};

    tf_write_bytes(writer, config->connect.properties);
    property.id = TF_MQTT_MAXIMUM_PACKET_SIZE;
    property.number = config->max_packet_size;
    if (config->max_packet_size < TF_MQTT_LENGTH_MAX)
        tf_mqtt_property_write(writer, &property);
    property.id = TF_MQTT_RECEIVE_MAXIMUM;
    property.number = config->receive_maximum;
    if (config->receive_maximum < UINT16_MAX)
        tf_mqtt_property_write(writer, &property);
    property.id = TF_MQTT_TOPIC_ALIAS_MAXIMUM;
    property.number = config->topic_alias_maximum;
    if (config->topic_alias_maximum > 0)
        tf_mqtt_property_write(writer, &property);
}

enum tf_err tf_mqtt_client_put_connect(struct tf_mqtt_client *client)
{
    const struct tf_mqtt_client_config *config = client->config;
    struct tf_mqtt_connect connect = config->connect;
    struct tf_mqtt_output *output = &client->conn.output;
    struct tf_writer writer;
    size_t size, own;

    if (connect.version >= TF_MQTT_5) {
        /* The whole section is made at the end of the buffer, which is empty, and copied from
         * there. */
        own = connect.properties.length + 11;
        if (own > output->size)
            return TF_NO_MEMORY;
        writer = tf_writer_of(output->buffer + output->size - own, own);
        put_properties(&writer, config);
        tf_assert(!writer.failed);
        connect.properties = tf_bytes_of(writer.start, tf_writer_length(&writer));
    }
    own = connect.version >= TF_MQTT_5 ? connect.properties.length + 11 : 0;
    size = tf_mqtt_connect_size(&connect);
    if (size == 0 || own > output->size || size > output->size - own)
        return TF_NO_MEMORY;
    writer = tf_writer_of(tf_mqtt_output_next(output), size);
    tf_mqtt_connect_write(&writer, &connect);
    tf_assert(!writer.failed && tf_writer_length(&writer) == size);
    tf_mqtt_output_wrote(output, size);
    client->conn.state = TF_MQTT_CONN_ANSWERING;
    return TF_OK;
}

/* --- CONNACK
 * ------------------------------------------------------------------------------------------- */

/* The reason of 5.0 that means the same as a return code of 3.1.1 3.2.2.3. */
static uint8_t reason_of(const struct tf_mqtt_client *client, uint8_t code)
{
    static const uint8_t reasons[] = {
        TF_MQTT_SUCCESS,
        TF_MQTT_UNSUPPORTED_VERSION,
        TF_MQTT_CLIENT_ID_NOT_VALID,
        TF_MQTT_SERVER_UNAVAILABLE,
        TF_MQTT_BAD_USER_OR_PASSWORD,
        TF_MQTT_NOT_AUTHORIZED,
    };

    if (client->conn.version >= TF_MQTT_5)
        return code;
    return code < sizeof reasons ? reasons[code] : TF_MQTT_UNSPECIFIED_ERROR;
}

/* Takes what the server says of itself (MQTT 5.0 3.2.2.3). */
static void read_properties(struct tf_mqtt_client *client, struct tf_bytes properties)
{
    struct tf_mqtt_property_cursor cursor = {properties, 0};
    struct tf_mqtt_conn *conn = &client->conn;
    struct tf_mqtt_property property;

    while (tf_mqtt_property_next(&cursor, &property)) {
        switch (property.id) {
        case TF_MQTT_RECEIVE_MAXIMUM:
            conn->send_limit = (uint16_t)TF_MIN(conn->send_limit, property.number);
            break;
        case TF_MQTT_MAXIMUM_PACKET_SIZE:
            conn->peer_max_packet = property.number;
            break;
        case TF_MQTT_MAXIMUM_QOS:
            client->maximum_qos = (uint8_t)property.number;
            break;
        case TF_MQTT_RETAIN_AVAILABLE:
            client->retain_available = property.number;
            break;
        case TF_MQTT_WILDCARD_AVAILABLE:
            client->wildcard_available = property.number;
            break;
        case TF_MQTT_SUBSCRIPTION_ID_AVAILABLE:
            client->identifier_available = property.number;
            break;
        case TF_MQTT_SHARED_AVAILABLE:
            client->shared_available = property.number;
            break;
        case TF_MQTT_SERVER_KEEP_ALIVE: /* MQTT 5.0 3.2.2.3.14: in place of the client's own */
            client->keep_alive_s = (uint16_t)property.number;
            break;
        default:
            break;
        }
    }
}

/*
 * The first id from `packet_id` on that is lost: a request of another connection, or anything if
 * the server has no session (MQTT 5.0 3.2.2.1.1); 0: none.
 */
static uint16_t next_lost(const struct tf_mqtt_client *client, uint16_t packet_id)
{
    const struct tf_mqtt_session *session = client->config->session;

    for (; packet_id; packet_id = session->sent[packet_id - 1].next) {
        if (client->lose_all || session->sent[packet_id - 1].state >= TF_MQTT_SENT_SUBACK)
            break;
    }
    return packet_id;
}

enum tf_err tf_mqtt_client_on_connack(struct tf_mqtt_client *client,
                                      const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &client->conn;
    struct tf_mqtt_session *session = client->config->session;
    struct tf_mqtt_connack *connack = &conn->slot.connack;
    uint8_t reason = 0;

    if (conn->state != TF_MQTT_CONN_ANSWERING)
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_CONNACK, "a second one");
    if (tf_mqtt_connack_read(frame, conn->version, connack, &reason))
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_CONNACK, NULL);
    conn->slot.kind = TF_MQTT_SLOT_CONNACK;
    conn->slot.reason = reason_of(client, connack->reason);
    if (conn->slot.reason != TF_MQTT_SUCCESS) {
        tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_NONE, conn->slot.reason, TF_MQTT_CONNACK, NULL);
        return TF_OK;
    }
    if (connack->session_present && client->config->connect.clean_start) {
        conn->slot.kind = TF_MQTT_SLOT_EMPTY; /* MQTT 5.0 3.2.2.1.1 */
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_CONNACK,
                                    "a session after a clean start");
    }
    read_properties(client, connack->properties);
    client->lose_all = !connack->session_present;
    if (client->lose_all)
        tf_mqtt_session_received_clear(session);
    client->losing = next_lost(client, session->sent_first);
    if (!client->losing)
        tf_mqtt_conn_start(conn, session);
    return TF_OK;
}

bool tf_mqtt_client_lose(struct tf_mqtt_client *client, uint64_t *ret)
{
    struct tf_mqtt_session *session = client->config->session;
    uint16_t packet_id = client->losing;
    const struct tf_mqtt_sent *slot;

    if (!packet_id || client->conn.state != TF_MQTT_CONN_ANSWERING)
        return false;
    slot = tf_mqtt_session_sent(session, packet_id);
    tf_assert(slot);
    *ret = slot->handle;
    client->losing = next_lost(client, slot->next);
    tf_mqtt_session_sent_remove(session, packet_id);
    if (!client->losing)
        tf_mqtt_conn_start(&client->conn, session);
    return true;
}

/* --- DISCONNECT
 * ---------------------------------------------------------------------------------------- */

enum tf_err tf_mqtt_client_on_disconnect(struct tf_mqtt_client *client,
                                         const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &client->conn;
    struct tf_mqtt_disconnect *packet = &conn->slot.disconnect;
    uint8_t reason = 0;

    if (conn->version < TF_MQTT_5) /* 3.1.1 3.14: a client's only */
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_DISCONNECT, NULL);
    if (tf_mqtt_disconnect_read(frame, conn->version, packet, &reason))
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_DISCONNECT, NULL);
    if (tf_mqtt_property_find(packet->properties, TF_MQTT_SESSION_EXPIRY,
                              &(struct tf_mqtt_property){0})) /* MQTT 5.0 3.14.2.2.2 */
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_DISCONNECT,
                                    "session expiry from a server");
    tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_NONE, packet->reason, TF_MQTT_DISCONNECT, NULL);
    conn->slot.kind = TF_MQTT_SLOT_DISCONNECT;
    conn->slot.reason = packet->reason;
    return TF_OK;
}
