/*
 * The last packet of a connection: DISCONNECT of 5.0, and a server's CONNACK that refuses; see
 * conn.h. Where 5.0 lets it, it says why in words.
 */
#include "mqtt/conn.h"

#include "mqtt/codec.h"

uint8_t tf_mqtt_conn_return_code(uint8_t reason)
{
    switch (reason) { /* MQTT 3.1.1 3.2.2.3 */
    case TF_MQTT_UNSUPPORTED_VERSION:
        return 1;
    case TF_MQTT_CLIENT_ID_NOT_VALID:
        return 2;
    case TF_MQTT_SERVER_UNAVAILABLE:
    case TF_MQTT_SERVER_BUSY:
    case TF_MQTT_SERVER_SHUTTING_DOWN:
    case TF_MQTT_QUOTA_EXCEEDED:
    case TF_MQTT_CONNECTION_RATE_EXCEEDED:
        return 3;
    case TF_MQTT_BAD_USER_OR_PASSWORD:
        return 4;
    case TF_MQTT_NOT_AUTHORIZED:
    case TF_MQTT_BANNED:
    case TF_MQTT_BAD_AUTHENTICATION_METHOD:
        return 5;
    default:
        return 0;
    }
}

/* The reason string of a goodbye: where and why, for whoever has to find the fault. */
static struct tf_bytes goodbye_text(const struct tf_mqtt_conn *conn, char *text, size_t length)
{
    const char *why = conn->why ? conn->why : tf_mqtt_reason_name(conn->reason);
    struct tf_writer writer = tf_writer_of(text, length);

    if (conn->where) {
        tf_write_bytes(&writer, tf_bytes_str(tf_mqtt_type_name(conn->where)));
        tf_write_bytes(&writer, tf_bytes_str(": "));
    }
    tf_write_bytes(&writer, tf_bytes_str(why));
    return tf_bytes_of(text, tf_writer_length(&writer));
}

/* The reason as it may stand in the packet that is due (MQTT 5.0 2.4). */
static uint8_t goodbye_reason(const struct tf_mqtt_conn *conn)
{
    bool connack = conn->goodbye == TF_MQTT_GOODBYE_CONNACK;

    if (tf_mqtt_reason_allowed(connack ? TF_MQTT_CONNACK : TF_MQTT_DISCONNECT, conn->reason))
        return conn->reason;
    return connack && conn->reason == TF_MQTT_SERVER_SHUTTING_DOWN ? TF_MQTT_SERVER_UNAVAILABLE
                                                                   : TF_MQTT_UNSPECIFIED_ERROR;
}

void tf_mqtt_conn_goodbye(struct tf_mqtt_conn *conn)
{
    bool connack = conn->goodbye == TF_MQTT_GOODBYE_CONNACK;
    uint8_t reason = goodbye_reason(conn);
    size_t room = tf_output_room(&conn->output, 0);
    char text[TF_MQTT_GOODBYE_MAX];
    struct tf_bytes string = {0};
    size_t bare = connack ? 5 : reason ? 3 : 2; /* of 5.0, without properties */
    uint8_t *to = tf_output_next(&conn->output);
    uint8_t *start = to;

    if (conn->version < TF_MQTT_5) {
        to = tf_mqtt_put_u16(to, 0x2002); /* MQTT 3.1.1 3.2 */
        to = tf_mqtt_put_u16(to, tf_mqtt_conn_return_code(conn->reason));
        tf_output_wrote(&conn->output, (size_t)(to - start));
        return;
    }
    if (conn->reason >= TF_MQTT_UNSPECIFIED_ERROR && !conn->quiet) {
        string = goodbye_text(conn, text, sizeof text - 9);
        if (TF_MIN(room, conn->peer_max_packet) < string.length + 9)
            string.length = 0;
    }
    if (bare > conn->peer_max_packet)
        return;
    to = tf_mqtt_put_u8(to, connack ? 0x20 : 0xe0);
    if (string.length == 0) {
        to = tf_mqtt_put_u8(to, (unsigned)bare - 2);
    } else {
        to = tf_mqtt_put_u8(to, (unsigned)(connack ? 6 : 5) + (unsigned)string.length);
    }
    if (connack)
        to = tf_mqtt_put_u8(to, 0); /* MQTT 5.0 3.2.2.1.1: no session is present */
    if (connack || reason)
        to = tf_mqtt_put_u8(to, reason);
    if (string.length > 0) {
        to = tf_mqtt_put_u8(to, 3 + (unsigned)string.length);
        to = tf_mqtt_put_binary(tf_mqtt_put_u8(to, TF_MQTT_REASON_STRING), string);
    } else if (connack) {
        to = tf_mqtt_put_u8(to, 0);
    }
    tf_output_wrote(&conn->output, (size_t)(to - start));
}
