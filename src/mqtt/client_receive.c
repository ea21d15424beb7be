/*
 * PUBLISH and PUBREL from the server, of the client's machine, and the table of all that comes with
 * subscriptions. A part that a firmware may leave out; see conn.h.
 */
#include "mqtt/client.h"

#include "mqtt/codec.h"

static bool valid(const struct tf_mqtt_client_config *config)
{
    /* Headers of a PUBLISH up to its topic must be seen before it is taken in runs. */
    return config->session && (config->body_run == 0 || config->body_run >= 16) &&
           config->receive_maximum > 0 &&
           (config->topic_alias_maximum == 0 || config->topic_alias_bytes > 0);
}

static bool begin(struct tf_mqtt_client *client)
{
    const struct tf_mqtt_client_config *config = client->config;
    struct tf_mqtt_conn_rules *rules = &client->conn.rules;

    rules->body_run = config->body_run;
    rules->alias_bytes = config->topic_alias_bytes;
    rules->receive_maximum = config->receive_maximum;
    rules->alias_maximum = config->topic_alias_maximum;
    rules->maximum_qos = 2;
    rules->request_maximum = TF_MQTT_CLIENT_REQUESTS;
    rules->retain_available = true;
    rules->check_payload_format = config->check_payload_format;
    return tf_mqtt_client_session_fits(client->config);
}

/* Takes PUBREL. A session that nobody stores is answered at once. */
static enum tf_err on_pubrel(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_conn *conn = &client->conn;
    enum tf_err err = tf_mqtt_conn_pubrel(conn, frame);

    if (!err && conn->slot.kind == TF_MQTT_SLOT_RELEASED && !client->config->stored) {
        conn->slot.kind = TF_MQTT_SLOT_EMPTY;
        err = tf_mqtt_conn_complete(conn, conn->slot.packet_id);
        tf_assert(!err); /* the room was seen to */
    }
    return err;
}

static enum tf_err input(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame)
{
    if (frame->type == TF_MQTT_PUBLISH)
        return tf_mqtt_conn_publish(&client->conn, frame, 0);
    if (frame->type == TF_MQTT_PUBREL)
        return on_pubrel(client, frame);
    return tf_mqtt_client_on_suback(client, frame);
}

/* Tells what is in the slot. */
static void tell(const struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret)
{
    const struct tf_mqtt_slot *slot = &client->conn.slot;

    switch (slot->kind) {
    case TF_MQTT_SLOT_PUBLISH:
        ret->type = TF_MQTT_CLIENT_PUBLISH;
        ret->packet_id = slot->publish.packet_id;
        ret->payload_left = client->conn.body_left;
        ret->publish = slot->publish;
        break;
    case TF_MQTT_SLOT_BODY:
        ret->type = TF_MQTT_CLIENT_BODY;
        ret->payload_left = client->conn.body_left;
        ret->body = slot->body;
        break;
    case TF_MQTT_SLOT_RELEASED:
        ret->type = TF_MQTT_CLIENT_RELEASED;
        ret->packet_id = slot->packet_id;
        ret->reason = slot->reason;
        break;
    default:
        tf_assert(slot->kind == TF_MQTT_SLOT_SUBACK);
        ret->type = slot->suback.type == TF_MQTT_SUBACK ? TF_MQTT_CLIENT_SUBSCRIBED
                                                        : TF_MQTT_CLIENT_UNSUBSCRIBED;
        ret->handle = client->answered;
        ret->reasons = slot->suback.reasons;
        ret->properties = slot->suback.properties;
        break;
    }
}

const struct tf_mqtt_receiving tf_mqtt_client_receiving = {
    .flush = tf_mqtt_conn_flush,
    .run = tf_mqtt_conn_run,
    .large = tf_mqtt_conn_large,
    .cut = tf_mqtt_conn_cut,
    .valid = valid,
    .begin = begin,
    .input = input,
    .tell = tell,
    .next = tf_mqtt_client_next,
};
