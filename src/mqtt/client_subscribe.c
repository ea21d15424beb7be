/*
 * SUBSCRIBE and UNSUBSCRIBE and their answers, of the client's machine.
 *
 * Their packet ids come from the session's outbound table like those of messages, because they must
 * not be the same (MQTT 5.0 2.2.1); but they end with the connection.
 */
#include "mqtt/client.h"

#include "mqtt/codec.h"

/* A request that is to be written, and the way to its next filter. */
struct request {
    enum tf_mqtt_type type;
    const struct tf_mqtt_subscription *subscriptions; /* SUBSCRIBE */
    const struct tf_bytes *filters;                   /* UNSUBSCRIBE */
    size_t count;
    struct tf_bytes properties;
};

static struct tf_bytes filter_of(const struct request *request, size_t i)
{
    return request->type == TF_MQTT_SUBSCRIBE ? request->subscriptions[i].filter
                                              : request->filters[i];
}

/* True if a filter has wildcards. */
static bool is_wild(struct tf_bytes filter)
{
    for (size_t i = 0; i < filter.length; i++) {
        if (filter.data[i] == '+' || filter.data[i] == '#')
            return true;
    }
    return false;
}

/* Checks each filter, and that the server offers what it asks for (MQTT 5.0 3.2.2.3.11 to 13). */
static enum tf_err check_request(const struct tf_mqtt_client *client, const struct request *request)
{
    struct tf_mqtt_property property;

    if (request->count == 0 || request->count > UINT8_MAX)
        return TF_MISUSE;
    for (size_t i = 0; i < request->count; i++) {
        struct tf_bytes filter = filter_of(request, i), name;
        enum tf_err err = tf_mqtt_shared_read(filter, &name, &filter);

        if (err == TF_PROTOCOL || !tf_mqtt_filter_valid(filter) || filter.length > UINT16_MAX)
            return TF_MISUSE;
        if ((!err && !client->shared_available) || (is_wild(filter) && !client->wildcard_available))
            return TF_UNSUPPORTED;
    }
    if (client->conn.version >= TF_MQTT_5 && !client->identifier_available &&
        tf_mqtt_property_find(request->properties, TF_MQTT_SUBSCRIPTION_ID, &property))
        return TF_UNSUPPORTED;
    return TF_OK;
}

/* Bytes behind the fixed header. */
static size_t remaining_length(const struct tf_mqtt_client *client, const struct request *request)
{
    size_t length = 2 + tf_mqtt_properties_size(request->properties, client->conn.version);

    for (size_t i = 0; i < request->count; i++)
        length += 2 + filter_of(request, i).length + (request->type == TF_MQTT_SUBSCRIBE);
    return length;
}

/* Writes a request for which there is room. */
static void put_request(struct tf_mqtt_client *client, const struct request *request,
                        uint16_t packet_id, size_t remaining, size_t size)
{
    struct tf_output *output = &client->conn.output;
    uint8_t *to = tf_output_next(output), *start = to;
    struct tf_writer writer;

    to = tf_mqtt_put_u8(to, (unsigned)request->type << 4 | 2); /* MQTT 5.0 2.1.3 */
    to = tf_mqtt_put_varint(to, (uint32_t)remaining);
    to = tf_mqtt_put_u16(to, packet_id);
    to = tf_mqtt_put_properties(to, request->properties, client->conn.version);
    writer = tf_writer_of(to, size - (size_t)(to - start));
    for (size_t i = 0; i < request->count; i++) {
        if (request->type == TF_MQTT_SUBSCRIBE)
            tf_mqtt_subscription_write(&writer, &request->subscriptions[i], client->conn.version);
        else
            tf_write_bytes16(&writer, request->filters[i]);
    }
    tf_assert(!writer.failed && writer.next == writer.end);
    tf_output_wrote(output, size);
}

/* Sends a request. Errors as tf_mqtt_client_subscribe. */
static enum tf_err send_request(struct tf_mqtt_client *client, uint64_t handle,
                                const struct request *request)
{
    struct tf_mqtt_conn *conn = &client->conn;
    struct tf_mqtt_session *session = client->config->session;
    size_t remaining, size;
    uint16_t packet_id;
    enum tf_err err;

    if (!conn->features->receiving)
        return TF_UNSUPPORTED;
    if (conn->state == TF_MQTT_CONN_CLOSING)
        return TF_CLOSED;
    if (conn->state != TF_MQTT_CONN_UP)
        return TF_AGAIN;
    err = check_request(client, request);
    if (err)
        return err;
    remaining = remaining_length(client, request);
    size = tf_mqtt_packet_size(remaining);
    if (size == 0 || size > conn->peer_max_packet)
        return TF_LIMIT;
    if (tf_output_room(&conn->output, 0) < size)
        return !conn->output.buffer || tf_output_could(&conn->output, size, 0) ? TF_AGAIN
                                                                               : TF_NO_MEMORY;
    if (client->requests == TF_MQTT_CLIENT_REQUESTS)
        return TF_AGAIN;
    if (tf_mqtt_session_sent_full(session))
        return session->sent_count == UINT16_MAX ? TF_AGAIN
                                                 : tf_mqtt_conn_need(conn, TF_MQTT_PART_SENT);
    packet_id = tf_mqtt_session_sent_add(
        session, handle,
        request->type == TF_MQTT_SUBSCRIBE ? TF_MQTT_SENT_SUBACK : TF_MQTT_SENT_UNSUBACK);
    tf_mqtt_session_sent(session, packet_id)->filters = (uint8_t)request->count;
    client->requests++;
    put_request(client, request, packet_id, remaining, size);
    return TF_OK;
}

enum tf_err tf_mqtt_client_subscribe(struct tf_mqtt_client *client, uint64_t handle,
                                     const struct tf_mqtt_subscription *subscriptions, size_t count,
                                     struct tf_bytes properties)
{
    struct request request = {.type = TF_MQTT_SUBSCRIBE,
                              .subscriptions = subscriptions,
                              .count = count,
                              .properties = properties};

    return send_request(client, handle, &request);
}

enum tf_err tf_mqtt_client_unsubscribe(struct tf_mqtt_client *client, uint64_t handle,
                                       const struct tf_bytes *filters, size_t count,
                                       struct tf_bytes properties)
{
    struct request request = {
        .type = TF_MQTT_UNSUBSCRIBE, .filters = filters, .count = count, .properties = properties};

    return send_request(client, handle, &request);
}

enum tf_err tf_mqtt_client_on_suback(struct tf_mqtt_client *client,
                                     const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &client->conn;
    struct tf_mqtt_session *session = client->config->session;
    struct tf_mqtt_suback *packet = &conn->slot.suback;
    uint8_t state = frame->type == TF_MQTT_SUBACK ? TF_MQTT_SENT_SUBACK : TF_MQTT_SENT_UNSUBACK;
    const struct tf_mqtt_sent *slot;
    uint8_t reason = 0;

    if (tf_mqtt_suback_read(frame, conn->version, packet, &reason))
        return tf_mqtt_conn_violate(conn, reason, frame->type, NULL);
    slot = tf_mqtt_session_sent(session, packet->packet_id);
    if (!slot || slot->state != state)
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, frame->type, "unknown packet id");
    /* MQTT 5.0 3.9.3, 3.11.3: a code for each filter; 3.1.1 has none in UNSUBACK */
    if (packet->reasons.length != slot->filters &&
        (conn->version >= TF_MQTT_5 || frame->type == TF_MQTT_SUBACK))
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, frame->type,
                                    "not one code a filter");
    client->requests--;
    conn->slot.kind = TF_MQTT_SLOT_SUBACK;
    conn->slot.packet_id = packet->packet_id;
    client->answered = slot->handle;
    tf_mqtt_session_sent_remove(session, packet->packet_id);
    return TF_OK;
}
