/*
 * What a client's machine does for MQTT 5.0 alone: the properties of CONNECT and CONNACK,
 * DISCONNECT from the server. A part that a firmware may leave out; see conn.h.
 */
#include "mqtt/client.h"

#include "mqtt/codec.h"

/* True if the properties ask for an authentication that this machine cannot go through with. */
static bool authenticates(struct tf_bytes properties)
{
    struct tf_mqtt_property method;

    return tf_mqtt_property_find(properties, TF_MQTT_AUTHENTICATION_METHOD, &method);
}

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
    if (config->features.receiving && config->receive_maximum < UINT16_MAX)
        tf_mqtt_property_write(writer, &property);
    property.id = TF_MQTT_TOPIC_ALIAS_MAXIMUM;
    property.number = config->topic_alias_maximum;
    if (config->features.receiving && config->topic_alias_maximum > 0)
        tf_mqtt_property_write(writer, &property);
}

/*
 * Writes CONNECT. Its whole section of properties is made at the end of the output buffer, which is
 * empty, and copied from there.
 */
static enum tf_err put_connect(struct tf_mqtt_client *client)
{
    struct tf_output *output = &client->conn.output;
    struct tf_mqtt_connect connect = client->config->connect;
    size_t own = connect.properties.length + 11;
    struct tf_writer writer;

    if (own > output->size)
        return TF_NO_MEMORY;
    writer = tf_writer_of(output->buffer + output->size - own, own);
    put_properties(&writer, client->config);
    tf_assert(!writer.failed);
    connect.properties = tf_bytes_of(writer.start, tf_writer_length(&writer));
    return tf_mqtt_client_write_connect(client, &connect, own);
}

/* Reads CONNACK into the slot. */
static enum tf_err connack(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame,
                           uint8_t *ret_reason)
{
    enum tf_err err = tf_mqtt_connack_read(frame, TF_MQTT_5, &conn->slot.connack, ret_reason);

    if (!err)
        conn->slot.reason = conn->slot.connack.reason;
    return err;
}

/* Takes what the server says of itself (MQTT 5.0 3.2.2.3). */
static void connected(struct tf_mqtt_client *client)
{
    struct tf_mqtt_property_cursor cursor = {client->conn.slot.connack.properties, 0};
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
            client->maximum_qos = (uint8_t)TF_MIN(client->maximum_qos, property.number);
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

/* What only a client may send, and AUTH, since no authentication method is ever asked for. */
static enum tf_err forbid(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame)
{
    const char *why =
        frame->type == TF_MQTT_AUTH ? "no authentication is under way" : "not for a server to send";

    return tf_mqtt_conn_violate(&client->conn, TF_MQTT_PROTOCOL_ERROR, frame->type, why);
}

/* Takes DISCONNECT, and what nobody else takes. */
static enum tf_err input(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &client->conn;
    struct tf_mqtt_disconnect *packet = &conn->slot.disconnect;
    uint8_t reason = 0;

    if (frame->type != TF_MQTT_DISCONNECT)
        return forbid(client, frame);
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

/* Tells of DISCONNECT, and what only a CONNACK of 5.0 says. */
static void tell(const struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret)
{
    const struct tf_mqtt_slot *slot = &client->conn.slot;
    struct tf_mqtt_property assigned = {0};

    if (slot->kind == TF_MQTT_SLOT_CONNACK) {
        (void)tf_mqtt_property_find(slot->connack.properties, TF_MQTT_ASSIGNED_CLIENT_ID,
                                    &assigned);
        ret->assigned_client_id = assigned.value;
        return;
    }
    tf_assert(slot->kind == TF_MQTT_SLOT_DISCONNECT);
    ret->type = TF_MQTT_CLIENT_DISCONNECT;
    ret->reason = slot->reason;
    ret->properties = slot->disconnect.properties;
}

const struct tf_mqtt_version_5 tf_mqtt_client_version_5 = {
    .goodbye = tf_mqtt_conn_goodbye,
    .connect = put_connect,
    .connack = connack,
    .connected = connected,
    .input = input,
    .tell = tell,
    .publish = tf_mqtt_conn_deliver_5,
    .authenticates = authenticates,
};
