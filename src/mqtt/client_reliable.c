/*
 * Publishing at QoS 1 and 2, and sessions that outlive a connection, of the client's machine: what
 * the server acknowledges, and what becomes of deliveries that it does not know. A part that a
 * firmware may leave out; see conn.h.
 */
#include "mqtt/client.h"

#include "mqtt/codec.h"

static bool valid(const struct tf_mqtt_client_config *config)
{
    return config->session && config->max_in_flight > 0;
}

static bool begin(struct tf_mqtt_client *client)
{
    client->conn.rules.reference_from = client->config->reference_from;
    client->conn.send_limit = client->config->max_in_flight;
    client->maximum_qos = 2;
    return tf_mqtt_client_session_fits(client->config);
}

/* --- what the server has lost
 * -------------------------------------------------------------------------- */

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

/* The handshake has succeeded. */
static bool absent(struct tf_mqtt_client *client, bool session_present)
{
    struct tf_mqtt_session *session = client->config->session;

    client->lose_all = !session_present;
    if (client->lose_all)
        tf_mqtt_session_received_clear(session);
    client->losing = next_lost(client, session->sent_first);
    return client->losing != 0;
}

/* Tells of the next delivery or request that is lost. */
static bool lose(struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret)
{
    struct tf_mqtt_session *session = client->config->session;
    uint16_t packet_id = client->losing;
    const struct tf_mqtt_sent *slot;

    if (client->conn.state != TF_MQTT_CONN_ANSWERING)
        return false;
    slot = tf_mqtt_session_sent(session, packet_id);
    tf_assert(slot);
    ret->type = TF_MQTT_CLIENT_LOST;
    ret->handle = slot->handle;
    client->losing = next_lost(client, slot->next);
    tf_mqtt_session_sent_remove(session, packet_id);
    if (!client->losing)
        tf_mqtt_conn_start(&client->conn, session);
    return true;
}

/* --- acknowledgements
 * ---------------------------------------------------------------------------------- */

/* Takes PUBREC. A session that nobody stores is answered at once. */
static enum tf_err on_pubrec(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &client->conn;
    enum tf_err err = tf_mqtt_conn_pubrec(conn, frame);

    if (!err && conn->slot.kind == TF_MQTT_SLOT_RECEIVED && !client->config->stored) {
        conn->slot.kind = TF_MQTT_SLOT_EMPTY;
        (void)tf_mqtt_conn_release(conn,
                                   conn->slot.packet_id); /* or when its turn to resend comes */
    }
    return err;
}

static enum tf_err input(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame)
{
    if (frame->type == TF_MQTT_PUBACK)
        return tf_mqtt_conn_puback(&client->conn, frame);
    if (frame->type == TF_MQTT_PUBCOMP)
        return tf_mqtt_conn_pubcomp(&client->conn, frame);
    return on_pubrec(client, frame);
}

/* Tells of the end of a delivery, or of its PUBREC. */
static void tell(const struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret)
{
    const struct tf_mqtt_slot *slot = &client->conn.slot;

    ret->type =
        slot->kind == TF_MQTT_SLOT_SETTLED ? TF_MQTT_CLIENT_SETTLED : TF_MQTT_CLIENT_RECEIVED;
    ret->handle = slot->handle;
    ret->packet_id = slot->packet_id;
    ret->reason = slot->reason;
}

const struct tf_mqtt_reliable tf_mqtt_client_reliable = {
    .start = tf_mqtt_conn_restart,
    .resume = tf_mqtt_conn_resume,
    .valid = valid,
    .begin = begin,
    .input = input,
    .tell = tell,
    .next = tf_mqtt_client_next,
    .absent = absent,
    .lose = lose,
    .release = tf_mqtt_conn_release,
    .publish = tf_mqtt_conn_deliver,
};
