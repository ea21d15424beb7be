/*
 * PUBLISH to the peer, and what it answers; see conn.h.
 *
 * An id is taken when its PUBLISH is written and freed by PUBACK, PUBCOMP or a failing PUBREC. On a
 * new connection of a session that has ids in use these go first, in the order of their first
 * sending, each as what is to be sent next: PUBLISH with DUP, or PUBREL (MQTT 5.0 4.4).
 */
#include "mqtt/conn.h"

#include "mqtt/codec.h"

/* --- writing PUBLISH
 * ----------------------------------------------------------------------------------- */

/* Inlined even where it is called twice: constant arguments choose what is left of it. */
#define INLINE static inline __attribute__((always_inline))

/* How a delivery will lie in the output. */
struct plan {
    size_t remaining;  /* Remaining Length */
    size_t properties; /* bytes of the property section; 5.0 */
    size_t front;      /* bytes for the front of the output */
    size_t refs;       /* references for its back */
};

/* Bytes of the property section of a delivery to a 5.0 peer. */
static size_t properties_size(const struct tf_mqtt_delivery *delivery)
{
    size_t size = delivery->properties.length + (delivery->has_expiry ? 5 : 0);

    for (size_t i = 0; i < delivery->subscription_id_count; i++)
        size += 1 + tf_mqtt_length_size(delivery->subscription_ids[i]);
    return size;
}

/*
 * Measures a delivery and looks for room. Errors as tf_mqtt_server_deliver. Inlined with constants
 * for `five` (the peer speaks 5.0) and `lean` (QoS 0, the body copied) where a firmware has no
 * more.
 */
INLINE enum tf_err plan_for(const struct tf_mqtt_conn *conn,
                            const struct tf_mqtt_delivery *delivery, bool five, bool lean,
                            struct plan *ret)
{
    struct plan plan = {0};
    size_t body = 0, refs = 0, total;

    if (delivery->topic.length == 0 || delivery->topic.length > UINT16_MAX || delivery->qos > 2)
        return TF_MISUSE;
    for (size_t i = 0; i < delivery->body_count; i++) {
        body += delivery->body[i].length;
        refs += delivery->body[i].length > 0;
    }
    plan.remaining = 2 + delivery->topic.length + (!lean && delivery->qos ? 2 : 0);
    if (five) {
        plan.properties = properties_size(delivery);
        if (plan.properties > TF_MQTT_LENGTH_MAX)
            return TF_LIMIT;
        plan.remaining += tf_mqtt_length_size((uint32_t)plan.properties) + plan.properties;
    }
    if (body > TF_MQTT_LENGTH_MAX || plan.remaining + body > TF_MQTT_LENGTH_MAX)
        return TF_LIMIT;
    plan.remaining += body;
    total = 1 + tf_mqtt_length_size((uint32_t)plan.remaining) + plan.remaining;
    if (five && total > conn->peer_max_packet) /* MQTT 5.0 3.1.2.11.4 */
        return TF_LIMIT;
    plan.front = total;
    if (!lean && delivery->owner && conn->rules.reference_from &&
        body >= conn->rules.reference_from) {
        plan.front -= body;
        plan.refs = refs;
    }
    if (tf_output_room(&conn->output, plan.refs) < plan.front) {
        bool could = !conn->output.buffer || tf_output_could(&conn->output, plan.front, plan.refs);
        return could ? TF_AGAIN : TF_NO_MEMORY;
    }
    *ret = plan;
    return TF_OK;
}

/* Puts the property section of a delivery, its length first. */
static uint8_t *put_properties(uint8_t *to, const struct tf_mqtt_delivery *delivery, size_t size)
{
    to = tf_mqtt_put_varint(to, (uint32_t)size);
    to = tf_mqtt_put_bytes(to, delivery->properties);
    if (delivery->has_expiry) {
        to = tf_mqtt_put_u8(to, TF_MQTT_MESSAGE_EXPIRY);
        to = tf_mqtt_put_u16(to, delivery->expiry_s >> 16);
        to = tf_mqtt_put_u16(to, delivery->expiry_s & 0xffff);
    }
    for (size_t i = 0; i < delivery->subscription_id_count; i++) {
        to = tf_mqtt_put_u8(to, TF_MQTT_SUBSCRIPTION_ID);
        to = tf_mqtt_put_varint(to, delivery->subscription_ids[i]);
    }
    return to;
}

/* Writes a planned delivery up to its references; cannot fail. */
INLINE void put_planned(struct tf_mqtt_conn *conn, const struct tf_mqtt_delivery *delivery,
                        const struct plan *plan, bool five, bool lean, uint16_t packet_id, bool dup)
{
    uint8_t *start = tf_output_next(&conn->output);
    uint8_t *to = start;

    *to++ = (uint8_t)(TF_MQTT_PUBLISH << 4 | dup << 3 | delivery->qos << 1 | delivery->retain);
    to = tf_mqtt_put_varint(to, (uint32_t)plan->remaining);
    to = tf_mqtt_put_binary(to, delivery->topic);
    if (!lean && delivery->qos)
        to = tf_mqtt_put_u16(to, packet_id);
    if (five)
        to = put_properties(to, delivery, plan->properties);
    if (lean || plan->refs == 0) {
        for (size_t i = 0; i < delivery->body_count; i++)
            to = tf_mqtt_put_bytes(to, delivery->body[i]);
    }
    tf_assert((size_t)(to - start) == plan->front);
    tf_output_wrote(&conn->output, plan->front);
}

/* A delivery at QoS 0 whose body is copied. */
INLINE enum tf_err deliver_lean(struct tf_mqtt_conn *conn, const struct tf_mqtt_delivery *delivery,
                                bool five, bool *ret_borrowed)
{
    struct plan plan;
    enum tf_err err;

    if (!tf_mqtt_conn_open(conn))
        return TF_CLOSED;
    err = plan_for(conn, delivery, five, true, &plan);
    if (err)
        return err;
    put_planned(conn, delivery, &plan, five, true, 0, false);
    if (ret_borrowed)
        *ret_borrowed = false;
    return TF_OK;
}

enum tf_err tf_mqtt_conn_deliver_plain(struct tf_mqtt_conn *conn,
                                       const struct tf_mqtt_delivery *delivery, bool *ret_borrowed)
{
    return deliver_lean(conn, delivery, false, ret_borrowed);
}

enum tf_err tf_mqtt_conn_deliver_5(struct tf_mqtt_conn *conn,
                                   const struct tf_mqtt_delivery *delivery, bool *ret_borrowed)
{
    return deliver_lean(conn, delivery, conn->version >= TF_MQTT_5, ret_borrowed);
}

/* Measures any delivery. */
static enum tf_err make_plan(const struct tf_mqtt_conn *conn,
                             const struct tf_mqtt_delivery *delivery, struct plan *ret)
{
    return plan_for(conn, delivery, conn->version >= TF_MQTT_5, false, ret);
}

/* Writes any planned delivery; cannot fail. *ret_borrowed: its body is referred to. */
static void write_planned(struct tf_mqtt_conn *conn, const struct tf_mqtt_delivery *delivery,
                          const struct plan *plan, uint16_t packet_id, bool dup, bool *ret_borrowed)
{
    size_t left = plan->refs;

    put_planned(conn, delivery, plan, conn->version >= TF_MQTT_5, false, packet_id, dup);
    for (size_t i = 0; left > 0; i++) {
        if (delivery->body[i].length > 0)
            tf_output_refer(&conn->output, delivery->body[i], --left == 0 ? delivery->owner : 0);
    }
    if (ret_borrowed)
        *ret_borrowed = plan->refs > 0;
}

/* --- resumption
 * ---------------------------------------------------------------------------------------- */

/* The resumption is past the delivery where it was. */
static void resume_next(struct tf_mqtt_conn *conn)
{
    struct tf_mqtt_sent *slot = tf_mqtt_session_sent(conn->session, conn->resend);

    tf_assert(slot && conn->state == TF_MQTT_CONN_RESUMING);
    slot->passed = true;
    conn->announced = false;
    conn->resend = slot->next;
    if (!conn->resend)
        conn->state = TF_MQTT_CONN_UP;
}

void tf_mqtt_conn_restart(struct tf_mqtt_conn *conn)
{
    tf_mqtt_session_reconnect(conn->session);
    conn->resend = conn->session->sent_first;
    if (conn->resend)
        conn->state = TF_MQTT_CONN_RESUMING;
}

void tf_mqtt_conn_resume(struct tf_mqtt_conn *conn)
{
    while (conn->state == TF_MQTT_CONN_RESUMING) {
        const struct tf_mqtt_sent *slot = tf_mqtt_session_sent(conn->session, conn->resend);

        tf_assert(slot);
        if (slot->state != TF_MQTT_SENT_PUBCOMP ||
            tf_output_room(&conn->output, 0) < TF_MQTT_ACK_MAX)
            return;
        tf_mqtt_conn_ack(conn, TF_MQTT_PUBREL, conn->resend, TF_MQTT_SUCCESS);
        resume_next(conn);
    }
}

/* Frees an id, wherever a resumption may be. */
static void settle(struct tf_mqtt_conn *conn, uint16_t packet_id, struct tf_mqtt_sent *slot)
{
    if (conn->resend == packet_id)
        resume_next(conn);
    conn->counted -= slot->counted;
    tf_mqtt_session_sent_remove(conn->session, packet_id);
}

/* Sends the delivery at which the resumption is, if it is that one. */
static enum tf_err resend(struct tf_mqtt_conn *conn, const struct tf_mqtt_delivery *delivery,
                          bool *ret_borrowed)
{
    struct tf_mqtt_sent *slot;
    struct plan plan;
    enum tf_err err;

    slot = tf_mqtt_session_sent(conn->session, conn->resend);
    tf_assert(slot);
    if (delivery->qos == 0 || slot->handle != delivery->handle || slot->state > TF_MQTT_SENT_PUBREC)
        return TF_AGAIN;
    if (delivery->qos != (slot->state == TF_MQTT_SENT_PUBACK ? 1 : 2))
        return TF_MISUSE;
    if (conn->counted >= conn->send_limit)
        return TF_AGAIN;
    err = make_plan(conn, delivery, &plan);
    if (err == TF_LIMIT)
        settle(conn, conn->resend, slot); /* this connection takes smaller packets only */
    if (err)
        return err;
    write_planned(conn, delivery, &plan, conn->resend, true, ret_borrowed);
    slot->counted = true;
    conn->counted++;
    resume_next(conn);
    return TF_OK;
}

/* --- deliveries
 * ---------------------------------------------------------------------------------------- */

uint16_t tf_mqtt_conn_credit(const struct tf_mqtt_conn *conn)
{
    const struct tf_mqtt_session *session = conn->session;

    if (conn->state != TF_MQTT_CONN_UP || session->sent_count >= conn->send_limit)
        return 0;
    return (uint16_t)(conn->send_limit - session->sent_count);
}

enum tf_err tf_mqtt_conn_deliver(struct tf_mqtt_conn *conn, const struct tf_mqtt_delivery *delivery,
                                 bool *ret_borrowed)
{
    uint16_t packet_id = 0;
    struct plan plan;
    enum tf_err err;

    if (!tf_mqtt_conn_open(conn))
        return TF_CLOSED;
    if (conn->state == TF_MQTT_CONN_RESUMING) {
        tf_mqtt_conn_resume(conn);
        if (conn->state == TF_MQTT_CONN_RESUMING)
            return resend(conn, delivery, ret_borrowed);
    }
    err = make_plan(conn, delivery, &plan);
    if (err)
        return err;
    if (delivery->qos > 0) {
        if (conn->session->sent_count >= conn->send_limit) /* MQTT 5.0 4.9 */
            return TF_AGAIN;
        if (tf_mqtt_session_sent_full(conn->session))
            return tf_mqtt_conn_need(conn, TF_MQTT_PART_SENT);
        packet_id = tf_mqtt_session_sent_add(conn->session, delivery->handle,
                                             delivery->qos == 1 ? TF_MQTT_SENT_PUBACK
                                                                : TF_MQTT_SENT_PUBREC);
        conn->session->sent[packet_id - 1].counted = true;
        conn->counted++;
    }
    write_planned(conn, delivery, &plan, packet_id, false, ret_borrowed);
    return TF_OK;
}

/* --- what the peer answers
 * ----------------------------------------------------------------------------- */

/* Puts the end of a delivery into the event slot and frees its id. */
static void tell_settled(struct tf_mqtt_conn *conn, const struct tf_mqtt_ack *ack,
                         struct tf_mqtt_sent *slot)
{
    conn->slot.kind = TF_MQTT_SLOT_SETTLED;
    conn->slot.reason = ack->reason;
    conn->slot.packet_id = ack->packet_id;
    conn->slot.handle = slot->handle;
    settle(conn, ack->packet_id, slot);
}

enum tf_err tf_mqtt_conn_puback(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_sent *slot;
    struct tf_mqtt_ack ack;
    uint8_t reason = 0;

    if (tf_mqtt_ack_read(frame, conn->version, &ack, &reason))
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_PUBACK, NULL);
    slot = tf_mqtt_session_sent(conn->session, ack.packet_id);
    if (!slot)
        return TF_OK; /* of an earlier connection, perhaps: no harm */
    if (slot->state != TF_MQTT_SENT_PUBACK)
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_PUBACK,
                                    "for a QoS 2 message"); /* MQTT 5.0 4.3.3 */
    tell_settled(conn, &ack, slot);
    return TF_OK;
}

enum tf_err tf_mqtt_conn_pubrec(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_sent *slot;
    struct tf_mqtt_ack ack;
    uint8_t reason = 0;

    if (tf_mqtt_ack_read(frame, conn->version, &ack, &reason))
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_PUBREC, NULL);
    if (tf_output_room(&conn->output, 0) < TF_MQTT_ACK_MAX)
        return TF_AGAIN;
    slot = tf_mqtt_session_sent(conn->session, ack.packet_id);
    if (!slot) { /* MQTT 5.0 4.3.3, 3.6.2.1: also for an id that nobody knows */
        if (ack.reason < TF_MQTT_UNSPECIFIED_ERROR)
            tf_mqtt_conn_ack(conn, TF_MQTT_PUBREL, ack.packet_id, TF_MQTT_PACKET_ID_NOT_FOUND);
        return TF_OK;
    }
    switch (slot->state) {
    case TF_MQTT_SENT_PUBREC:
        break;
    case TF_MQTT_SENT_RELEASE:
        return TF_OK; /* its answer is on the way */
    case TF_MQTT_SENT_PUBCOMP:
        tf_mqtt_conn_ack(conn, TF_MQTT_PUBREL, ack.packet_id, TF_MQTT_SUCCESS);
        return TF_OK;
    default:
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_PUBREC,
                                    "for a QoS 1 message"); /* MQTT 5.0 4.3.2 */
    }
    if (ack.reason >= TF_MQTT_UNSPECIFIED_ERROR) {
        tell_settled(conn, &ack, slot); /* MQTT 5.0 4.3.3: the id is free again */
        return TF_OK;
    }
    slot->state = TF_MQTT_SENT_RELEASE;
    if (conn->resend == ack.packet_id)
        conn->announced = true;
    conn->slot.kind = TF_MQTT_SLOT_RECEIVED;
    conn->slot.reason = ack.reason;
    conn->slot.packet_id = ack.packet_id;
    conn->slot.handle = slot->handle;
    return TF_OK;
}

enum tf_err tf_mqtt_conn_pubcomp(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_sent *slot;
    struct tf_mqtt_ack ack;
    uint8_t reason = 0;

    if (tf_mqtt_ack_read(frame, conn->version, &ack, &reason))
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_PUBCOMP, NULL);
    slot = tf_mqtt_session_sent(conn->session, ack.packet_id);
    if (!slot)
        return TF_OK;
    if (slot->state != TF_MQTT_SENT_PUBCOMP)
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_PUBCOMP,
                                    "before PUBREL"); /* MQTT 5.0 4.3.3 */
    tell_settled(conn, &ack, slot);
    return TF_OK;
}

enum tf_err tf_mqtt_conn_release(struct tf_mqtt_conn *conn, uint16_t packet_id)
{
    struct tf_mqtt_sent *slot;

    if (!tf_mqtt_conn_open(conn))
        return TF_NOT_FOUND;
    slot = tf_mqtt_session_sent(conn->session, packet_id);
    if (!slot || slot->state != TF_MQTT_SENT_RELEASE)
        return TF_NOT_FOUND;
    if (conn->state == TF_MQTT_CONN_RESUMING && conn->resend != packet_id && !slot->passed)
        return TF_AGAIN;
    if (tf_output_room(&conn->output, 0) < TF_MQTT_ACK_MAX)
        return TF_AGAIN;
    slot->state = TF_MQTT_SENT_PUBCOMP;
    tf_mqtt_conn_ack(conn, TF_MQTT_PUBREL, packet_id, TF_MQTT_SUCCESS);
    if (conn->resend == packet_id)
        resume_next(conn);
    return TF_OK;
}
