/*
 * How a client's connection begins: CONNECT and CONNACK. What only 5.0 has of them is in
 * client_version_5.c.
 */
#include "mqtt/client.h"

#include "mqtt/codec.h"

enum tf_err tf_mqtt_client_write_connect(struct tf_mqtt_client *client,
                                         const struct tf_mqtt_connect *connect, size_t reserved)
{
    struct tf_output *output = &client->conn.output;
    struct tf_writer writer = tf_writer_of(tf_output_next(output), output->size - reserved);

    tf_mqtt_connect_write(&writer, connect);
    if (writer.failed)
        return TF_NO_MEMORY;
    tf_output_wrote(output, tf_writer_length(&writer));
    client->conn.state = TF_MQTT_CONN_ANSWERING;
    return TF_OK;
}

/* Reads CONNACK in the form of the connection's version into the slot, the reason in that of 5.0.
 */
static enum tf_err read_connack(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame,
                                uint8_t *ret_reason)
{
    /* By the return codes of 3.1.1 3.2.2.3, beyond which there are none. */
    static const uint8_t reasons[] = {
        TF_MQTT_SUCCESS,
        TF_MQTT_UNSUPPORTED_VERSION,
        TF_MQTT_CLIENT_ID_NOT_VALID,
        TF_MQTT_SERVER_UNAVAILABLE,
        TF_MQTT_BAD_USER_OR_PASSWORD,
        TF_MQTT_NOT_AUTHORIZED,
    };
    struct tf_mqtt_connack *connack = &conn->slot.connack;
    enum tf_err err;

    if (conn->version >= TF_MQTT_5)
        return conn->features->version_5->connack(conn, frame, ret_reason);
    err = tf_mqtt_connack_read_plain(frame, connack, ret_reason);
    if (!err)
        conn->slot.reason = reasons[connack->reason];
    return err;
}

enum tf_err tf_mqtt_client_on_connack(struct tf_mqtt_client *client,
                                      const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &client->conn;
    const struct tf_mqtt_features *features = conn->features;
    struct tf_mqtt_connack *connack = &conn->slot.connack;
    uint8_t reason = 0;

    if (conn->state != TF_MQTT_CONN_ANSWERING)
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_CONNACK, "a second one");
    if (read_connack(conn, frame, &reason))
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_CONNACK, NULL);
    conn->slot.kind = TF_MQTT_SLOT_CONNACK;
    if (conn->slot.reason != TF_MQTT_SUCCESS) {
        tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_NONE, conn->slot.reason, TF_MQTT_CONNACK, NULL);
        return TF_OK;
    }
    if (connack->session_present && client->config->connect.clean_start) {
        conn->slot.kind = TF_MQTT_SLOT_EMPTY; /* MQTT 5.0 3.2.2.1.1 */
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_CONNACK,
                                    "a session after a clean start");
    }
    if (conn->version >= TF_MQTT_5)
        features->version_5->connected(client);
    if (!features->reliable || !features->reliable->absent(client, connack->session_present))
        tf_mqtt_conn_start(conn, client->config->session);
    return TF_OK;
}
