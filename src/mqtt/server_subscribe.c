/*
 * SUBSCRIBE and UNSUBSCRIBE and their answers, of the server's machine.
 *
 * The answer's length follows from the request's, so a request waits until there is room for it:
 * a caller that answers at once is never told to come again.
 */
#include "mqtt/server.h"

#include "mqtt/codec.h"

/* The fixed header, the packet id and an empty property section. */
#define HEAD_MAX 8u

/* True if the answer to a request with such a payload would fit, or there is all the room there is.
 */
static bool has_room(const struct tf_output *output, size_t payload, size_t least)
{
    size_t answer = HEAD_MAX + payload / least;

    return tf_output_room(output, 0) >= answer ||
           (output->buffer && output->used == 0 && output->refs == 0);
}

enum tf_err tf_mqtt_server_on_subscribe(struct tf_mqtt_server *server,
                                        const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &server->conn;
    uint8_t reason = 0;

    if (tf_mqtt_subscribe_read(frame, conn->version, &conn->slot.subscribe, &reason))
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_SUBSCRIBE, NULL);
    if (server->answers == TF_MQTT_SERVER_ANSWERS ||
        !has_room(&conn->output, conn->slot.subscribe.payload.length, 4))
        return TF_AGAIN;
    conn->slot.kind = TF_MQTT_SLOT_SUBSCRIBE;
    server->answers++;
    return TF_OK;
}

enum tf_err tf_mqtt_server_on_unsubscribe(struct tf_mqtt_server *server,
                                          const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &server->conn;
    uint8_t reason = 0;

    if (tf_mqtt_unsubscribe_read(frame, conn->version, &conn->slot.unsubscribe, &reason))
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_UNSUBSCRIBE, NULL);
    if (server->answers == TF_MQTT_SERVER_ANSWERS ||
        !has_room(&conn->output, conn->slot.unsubscribe.payload.length, 3))
        return TF_AGAIN;
    conn->slot.kind = TF_MQTT_SLOT_UNSUBSCRIBE;
    server->answers++;
    return TF_OK;
}

/* Writes SUBACK or UNSUBACK with the codes as they go on the wire. */
static enum tf_err answer(struct tf_mqtt_server *server, const struct tf_mqtt_suback *suback)
{
    struct tf_mqtt_conn *conn = &server->conn;
    size_t size = tf_mqtt_suback_size(suback, conn->version);
    struct tf_writer writer;

    if (!tf_mqtt_conn_open(conn))
        return TF_CLOSED;
    if (server->answers == 0 || size == 0)
        return TF_MISUSE;
    if (size > conn->peer_max_packet) { /* MQTT 5.0 3.1.2.11.4: neither to be sent nor left out */
        (void)tf_mqtt_conn_violate(conn, TF_MQTT_IMPLEMENTATION_ERROR, suback->type,
                                   "over the Maximum Packet Size");
        return TF_CLOSED;
    }
    if (tf_output_room(&conn->output, 0) < size)
        return !conn->output.buffer || tf_output_could(&conn->output, size, 0) ? TF_AGAIN
                                                                               : TF_NO_MEMORY;
    writer = tf_writer_of(tf_output_next(&conn->output), size);
    tf_mqtt_suback_write(&writer, suback, conn->version);
    tf_assert(!writer.failed && tf_writer_length(&writer) == size);
    if (conn->version < TF_MQTT_5 && suback->type == TF_MQTT_SUBACK) {
        /* 3.1.1 3.9.3: the only failure is 0x80 */
        for (uint8_t *code = writer.next - suback->reasons.length; code < writer.next; code++)
            *code = *code > 2 ? 0x80 : *code;
    }
    tf_output_wrote(&conn->output, size);
    server->answers--;
    return TF_OK;
}

enum tf_err tf_mqtt_server_subscribed(struct tf_mqtt_server *server, uint16_t packet_id,
                                      struct tf_bytes reasons)
{
    struct tf_mqtt_suback suback = {
        .type = TF_MQTT_SUBACK, .packet_id = packet_id, .reasons = reasons};

    return answer(server, &suback);
}

enum tf_err tf_mqtt_server_unsubscribed(struct tf_mqtt_server *server, uint16_t packet_id,
                                        struct tf_bytes reasons)
{
    struct tf_mqtt_suback unsuback = {
        .type = TF_MQTT_UNSUBACK, .packet_id = packet_id, .reasons = reasons};

    if (server->conn.version < TF_MQTT_5)
        unsuback.reasons.length = 0; /* 3.1.1 3.11 */
    return answer(server, &unsuback);
}
