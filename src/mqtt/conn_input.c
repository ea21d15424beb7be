/*
 * From the bytes that have arrived to one packet, or to one run of the body of a large PUBLISH; see
 * conn.h. What a packet means is not known here.
 */
#include "mqtt/conn.h"

#include "mqtt/codec.h"

/* Its headers are read by the codec as if the packet ended with what is there. */
enum tf_err tf_mqtt_conn_large(struct tf_mqtt_conn *conn, struct tf_bytes in, size_t *ret_used,
                               size_t *ret_need)
{
    struct tf_mqtt_frame frame;
    uint8_t reason = 0;
    size_t fixed, need = 0;
    enum tf_err err;

    if (conn->rules.body_run == 0 || *ret_need <= conn->rules.body_run ||
        in.data[0] >> 4 != TF_MQTT_PUBLISH || !tf_mqtt_conn_open(conn))
        return TF_MORE;
    err = tf_mqtt_frame_head_read(in, conn->rules.max_packet_size, &frame, ret_need, &reason);
    tf_assert(!err); /* tf_mqtt_frame_read has seen it whole */
    fixed = (size_t)(frame.body.data - in.data);
    err = tf_mqtt_publish_head_check(&frame, conn->version, &need, &reason);
    if (err == TF_PROTOCOL)
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_PUBLISH, NULL);
    if (err) {
        *ret_need = fixed + need;
        return err;
    }
    err = tf_mqtt_conn_publish(conn, &frame, (uint32_t)(frame.length - in.length));
    if (!err)
        *ret_used = in.length;
    return err;
}

enum tf_err tf_mqtt_conn_run(struct tf_mqtt_conn *conn, struct tf_bytes in, size_t *ret_used,
                             size_t *ret_need)
{
    struct tf_bytes run = tf_bytes_of(in.data, TF_MIN(in.length, conn->body_left));

    if (run.length == 0) {
        *ret_need = 1;
        return TF_MORE;
    }
    conn->body_left -= (uint32_t)run.length;
    if (conn->utf8_check && !tf_mqtt_conn_utf8(conn, run)) /* MQTT 5.0 3.3.2.3.2 */
        return tf_mqtt_conn_violate(conn, TF_MQTT_PAYLOAD_FORMAT_INVALID, TF_MQTT_PUBLISH,
                                    "payload is not UTF-8");
    if (!conn->skip_body) {
        conn->slot.kind = TF_MQTT_SLOT_BODY;
        conn->slot.body = run;
    }
    if (conn->body_left == 0) {
        conn->body_id = 0;
        tf_mqtt_conn_flush(conn);
    }
    *ret_used = run.length;
    return TF_OK;
}

enum tf_err tf_mqtt_conn_frame(struct tf_mqtt_conn *conn, struct tf_bytes in,
                               struct tf_mqtt_frame *ret, size_t *ret_used, size_t *ret_need)
{
    uint8_t reason = 0;
    enum tf_err err;

    if (conn->body_left > 0) {
        ret->length = 0;
        return conn->features->receiving->run(conn, in, ret_used, ret_need);
    }
    err = tf_mqtt_frame_read(in, conn->rules.max_packet_size, ret, ret_need, &reason);
    if (err == TF_PROTOCOL)
        return tf_mqtt_conn_violate(conn, reason, in.data[0] >> 4, NULL);
    if (err == TF_MORE && conn->features->receiving) {
        ret->length = 0;
        return conn->features->receiving->large(conn, in, ret_used, ret_need);
    }
    return err;
}
