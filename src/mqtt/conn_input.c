/*
 * From the bytes that have arrived to one packet, or to one run of the body of a large PUBLISH; see
 * conn.h. What a packet means is not known here.
 */
#include "mqtt/conn.h"

#include "mqtt/codec.h"

/* The fixed and variable headers of a PUBLISH that is not all there. */
struct head {
    struct tf_mqtt_frame frame; /* its body ends where the payload begins */
    uint32_t remaining;         /* the packet's Remaining Length */
    size_t fixed;               /* bytes of the fixed header */
};

/* Bytes of a variable byte integer at `at`, its value in *ret; 0: cut off; 5: too long. */
static size_t varint_at(struct tf_bytes in, size_t at, uint32_t *ret)
{
    uint32_t value = 0;

    for (size_t i = 0; i < 4 && at + i < in.length; i++) {
        uint8_t byte = in.data[at + i];
        value |= (uint32_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret = value;
            return i + 1;
        }
    }
    return in.length >= at + 4 ? 5 : 0;
}

/*
 * Finds where the payload of a PUBLISH begins whose whole packet is not there. TF_MORE: *ret_need
 * bytes would tell more. TF_PROTOCOL: the headers are longer than the packet, or malformed.
 */
static enum tf_err head_read(struct tf_bytes in, unsigned version, struct head *ret,
                             size_t *ret_need)
{
    struct head head = {.frame = {.type = TF_MQTT_PUBLISH, .flags = in.data[0] & 0x0f}};
    uint32_t properties = 0;
    size_t at, size;

    head.fixed = 1 + varint_at(in, 1, &head.remaining); /* the frame reader has seen it whole */
    at = head.fixed + 2;
    *ret_need = at;
    if (in.length < at)
        return TF_MORE;
    at += (size_t)in.data[at - 2] << 8 | in.data[at - 1];
    if (head.frame.flags & 6)
        at += 2; /* the packet id, at QoS 1 and 2 */
    if (version >= TF_MQTT_5) {
        *ret_need = at + 1;
        if (at < in.length) {
            size = varint_at(in, at, &properties);
            if (size > 4)
                return TF_PROTOCOL;
            if (size > 0)
                at += size + properties;
            *ret_need = size > 0 ? at : in.length + 1;
        }
    } else {
        *ret_need = at;
    }
    if (*ret_need > head.fixed + head.remaining)
        return TF_PROTOCOL;
    if (in.length < *ret_need)
        return TF_MORE;
    head.frame.body = tf_bytes_of(in.data + head.fixed, at - head.fixed);
    *ret = head;
    return TF_OK;
}

/*
 * Takes the headers of a large PUBLISH and what is there of its body. The codec reads them as if
 * the packet ended with what is there.
 */
static enum tf_err take_large(struct tf_mqtt_conn *conn, struct tf_bytes in, size_t *ret_used,
                              size_t *ret_need)
{
    struct head head;
    enum tf_err err = head_read(in, conn->version, &head, ret_need);

    if (err == TF_PROTOCOL)
        return tf_mqtt_conn_violate(conn, TF_MQTT_MALFORMED_PACKET, TF_MQTT_PUBLISH, NULL);
    if (err)
        return err;
    head.frame.body.length = in.length - head.fixed;
    head.frame.length = in.length;
    err =
        tf_mqtt_conn_publish(conn, &head.frame, head.remaining - (uint32_t)head.frame.body.length);
    if (!err)
        *ret_used = in.length;
    return err;
}

/* Takes the next run of a body. */
static enum tf_err take_run(struct tf_mqtt_conn *conn, struct tf_bytes in, size_t *ret_used,
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
        return take_run(conn, in, ret_used, ret_need);
    }
    err = tf_mqtt_frame_read(in, conn->rules.max_packet_size, ret, ret_need, &reason);
    if (err == TF_PROTOCOL)
        return tf_mqtt_conn_violate(conn, reason, in.data[0] >> 4, NULL);
    if (err == TF_MORE && conn->rules.body_run > 0 && *ret_need > conn->rules.body_run &&
        in.data[0] >> 4 == TF_MQTT_PUBLISH && tf_mqtt_conn_open(conn)) {
        ret->length = 0;
        return take_large(conn, in, ret_used, ret_need);
    }
    return err;
}
