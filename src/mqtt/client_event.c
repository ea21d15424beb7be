/*
 * What a client's machine has to tell beside the packet that it has taken: memory that it needs,
 * deliveries that are lost or to be sent again. Of the parts receiving and reliable; see conn.h.
 */
#include "mqtt/client.h"

bool tf_mqtt_client_next(struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret)
{
    struct tf_mqtt_conn *conn = &client->conn;
    enum tf_mqtt_slot_kind kind;
    uint64_t number = 0;
    uint16_t packet_id = 0;

    if (client->losing && conn->features->reliable->lose(client, ret))
        return true;
    kind = tf_mqtt_conn_next(conn, &number, &packet_id);
    while (kind == TF_MQTT_SLOT_RECEIVED && !client->config->stored) {
        if (conn->features->reliable->release(conn, packet_id)) {
            conn->announced = false; /* no room yet */
            return false;
        }
        kind = tf_mqtt_conn_next(conn, &number, &packet_id);
    }
    switch (kind) {
    case TF_MQTT_SLOT_RETURNED:
        ret->type = TF_MQTT_CLIENT_RETURNED;
        ret->owner = number;
        return true;
    case TF_MQTT_SLOT_NEEDS:
        ret->type = TF_MQTT_CLIENT_NEEDS;
        ret->part = (enum tf_mqtt_part)number;
        ret->size = tf_mqtt_conn_need_size(conn, ret->part);
        return true;
    case TF_MQTT_SLOT_RESEND:
        ret->type = TF_MQTT_CLIENT_RESEND;
        break;
    case TF_MQTT_SLOT_RECEIVED:
        ret->type = TF_MQTT_CLIENT_RECEIVED;
        break;
    default:
        return false;
    }
    ret->reason = 0;
    ret->handle = number;
    ret->packet_id = packet_id;
    return true;
}
