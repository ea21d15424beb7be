/*
 * PUBLISH from the peer and what is answered to it; see conn.h.
 *
 * A QoS 2 id is in the session from its PUBLISH until PUBCOMP (MQTT 5.0 4.3.3), so a repeat on a
 * later connection is no new message, whatever became of the first answer.
 */
#include "mqtt/conn.h"

#include "mqtt/codec.h"

/* --- the payload format
 * ------------------------------------------------------------------------------ */

bool tf_mqtt_conn_utf8(struct tf_mqtt_conn *conn, struct tf_bytes run)
{
    for (size_t i = 0; i < run.length; i++) {
        uint8_t byte = run.data[i];

        if (conn->utf8_left > 0) {
            if (byte < conn->utf8_low || byte > conn->utf8_high)
                return false;
            conn->utf8_left--;
            conn->utf8_low = 0x80;
            conn->utf8_high = 0xbf;
            continue;
        }
        if (byte < 0x80)
            continue;
        if (byte < 0xc2 || byte > 0xf4)
            return false;
        /* The second byte's range bars overlong forms, surrogates and what is past U+10FFFF. */
        conn->utf8_left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
        conn->utf8_low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
        conn->utf8_high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    }
    return conn->body_left > 0 || conn->utf8_left == 0;
}

/* --- answers, in order
 * ------------------------------------------------------------------------------- */

/* The i-th PUBLISH without an answer, the oldest first. */
static struct tf_mqtt_unanswered *unanswered(struct tf_mqtt_pending *pending, unsigned i)
{
    struct tf_mqtt_unanswered *entries = pending->entries ? pending->entries : pending->few;
    unsigned at = pending->head + i;

    return entries + (at < pending->capacity ? at : at - pending->capacity);
}

/* Notes a PUBLISH that is to be answered; there is room. */
static void push(struct tf_mqtt_conn *conn, struct tf_mqtt_unanswered entry)
{
    struct tf_mqtt_pending *pending = &conn->pending;

    tf_assert(pending->count < pending->capacity);
    *unanswered(pending, pending->count++) = entry;
}

/* True if the repeat can be answered, because its first PUBLISH has been. */
static bool resolve_repeat(const struct tf_mqtt_conn *conn, struct tf_mqtt_unanswered *entry)
{
    const struct tf_mqtt_received *received =
        tf_mqtt_session_received(conn->session, entry->packet_id);

    if (received && received->state == TF_MQTT_RECEIVED_PENDING)
        return false;
    entry->reason = received ? TF_MQTT_SUCCESS : TF_MQTT_UNSPECIFIED_ERROR;
    entry->answered = true;
    return true;
}

void tf_mqtt_conn_flush(struct tf_mqtt_conn *conn)
{
    struct tf_mqtt_pending *pending = &conn->pending;

    /* MQTT 5.0 4.6: PUBACK and PUBREC in the order of the PUBLISHes */
    while (pending->count > 0) {
        struct tf_mqtt_unanswered *entry = unanswered(pending, 0);

        if (!entry->answered && !(entry->repeat && resolve_repeat(conn, entry)))
            return;
        if (conn->body_left > 0 && pending->count == 1)
            return; /* its own packet is still arriving */
        if (tf_output_room(&conn->output, 0) < TF_MQTT_ACK_MAX)
            return;
        tf_mqtt_conn_ack(conn, entry->type, entry->packet_id, entry->reason);
        /* MQTT 5.0 4.9: PUBACK ends it, and PUBREC with a failure */
        if (entry->counted &&
            (entry->type == TF_MQTT_PUBACK || entry->reason >= TF_MQTT_UNSPECIFIED_ERROR))
            conn->inbound--;
        pending->count--;
        pending->head = pending->head + 1u < pending->capacity ? pending->head + 1u : 0;
    }
}

void tf_mqtt_conn_cut(struct tf_mqtt_conn *conn)
{
    /* When it comes again it is new. */
    tf_mqtt_session_published(conn->session, conn->body_id, TF_MQTT_UNSPECIFIED_ERROR);
}

enum tf_err tf_mqtt_conn_published(struct tf_mqtt_conn *conn, uint16_t packet_id, uint8_t reason)
{
    struct tf_mqtt_received *received;
    struct tf_mqtt_unanswered *entry = NULL;
    bool found = false;

    if (!conn->session)
        return TF_NOT_FOUND;
    for (unsigned i = 0; i < conn->pending.count && !found; i++) {
        entry = unanswered(&conn->pending, i);
        found = entry->packet_id == packet_id && !entry->answered && !entry->repeat;
    }
    received = !found || entry->type == TF_MQTT_PUBREC
                   ? tf_mqtt_session_received(conn->session, packet_id)
                   : NULL;
    if (!found && (!received || received->state != TF_MQTT_RECEIVED_PENDING))
        return TF_NOT_FOUND;
    if (received)
        tf_mqtt_session_published(conn->session, packet_id, reason);
    if (found) {
        entry->answered = true;
        entry->reason = reason;
    }
    if (conn->state == TF_MQTT_CONN_CLOSING)
        return TF_OK;
    if (reason >= TF_MQTT_UNSPECIFIED_ERROR && conn->version < TF_MQTT_5) {
        /* 3.1.1 knows no refusal: neither acknowledge nor go on (3.1.1 4.8) */
        tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_NONE, reason, TF_MQTT_PUBLISH, NULL);
        return TF_OK;
    }
    tf_mqtt_conn_flush(conn);
    return TF_OK;
}

/* --- PUBLISH
 * ------------------------------------------------------------------------------------------ */

/* Puts the topic of an alias into the PUBLISH, or remembers it (MQTT 5.0 3.3.2.3.4). */
static enum tf_err apply_alias(struct tf_mqtt_conn *conn, struct tf_mqtt_publish *publish,
                               uint32_t alias)
{
    struct tf_mqtt_aliases *aliases = conn->aliases;
    size_t want;

    if (alias > conn->rules.alias_maximum)
        return tf_mqtt_conn_violate(conn, TF_MQTT_TOPIC_ALIAS_INVALID, TF_MQTT_PUBLISH,
                                    "topic alias over the maximum");
    if (publish->topic.length == 0) {
        if (aliases)
            publish->topic = tf_mqtt_aliases_get(aliases, alias);
        if (publish->topic.length == 0)
            return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_PUBLISH,
                                        "topic alias was never set");
        return TF_OK;
    }
    if (aliases && tf_mqtt_aliases_set(aliases, alias, publish->topic))
        return TF_OK;
    want = publish->topic.length;
    if (aliases)
        want += aliases->used - tf_mqtt_aliases_get(aliases, alias).length;
    if (want > conn->rules.alias_bytes)
        return tf_mqtt_conn_violate(conn, TF_MQTT_QUOTA_EXCEEDED, TF_MQTT_PUBLISH,
                                    "topics of aliases take too many bytes");
    want = TF_MAX(want, aliases ? 2 * (size_t)aliases->room : 256);
    conn->alias_want = (uint32_t)TF_MIN(want, conn->rules.alias_bytes);
    return tf_mqtt_conn_need(conn, TF_MQTT_PART_ALIASES);
}

/* Goes through the properties once; *ret_text tells if the payload is to be UTF-8. */
static enum tf_err read_properties(struct tf_mqtt_conn *conn, struct tf_mqtt_publish *publish,
                                   bool *ret_text)
{
    struct tf_mqtt_property_cursor cursor = {publish->properties, 0};
    struct tf_mqtt_property property;
    uint32_t alias = 0;

    while (tf_mqtt_property_next(&cursor, &property)) {
        if (property.id == TF_MQTT_TOPIC_ALIAS)
            alias = property.number;
        else if (property.id == TF_MQTT_PAYLOAD_FORMAT)
            *ret_text = property.number == 1;
        else if (property.id == TF_MQTT_SUBSCRIPTION_ID && conn->rules.is_server)
            return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_PUBLISH,
                                        "subscription identifier"); /* MQTT 5.0 3.3.4 */
    }
    return alias ? apply_alias(conn, publish, alias) : TF_OK;
}

/* Checks what was announced in CONNACK, and the topic's levels. */
static enum tf_err check_rules(struct tf_mqtt_conn *conn, const struct tf_mqtt_publish *publish)
{
    const struct tf_mqtt_conn_rules *rules = &conn->rules;
    unsigned levels = 1;

    if (publish->topic.length == 0)
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_PUBLISH,
                                    "no topic"); /* MQTT 5.0 3.3.2.1 */
    if (publish->qos > rules->maximum_qos)       /* MQTT 5.0 3.2.2.3.4 */
        return tf_mqtt_conn_violate(conn, TF_MQTT_QOS_NOT_SUPPORTED, TF_MQTT_PUBLISH, NULL);
    if (publish->retain && !rules->retain_available) /* MQTT 5.0 3.2.2.3.5 */
        return tf_mqtt_conn_violate(conn, TF_MQTT_RETAIN_NOT_SUPPORTED, TF_MQTT_PUBLISH, NULL);
    if (rules->max_topic_levels == 0 || publish->topic.length < rules->max_topic_levels)
        return TF_OK;
    for (size_t i = 0; i < publish->topic.length; i++)
        levels += publish->topic.data[i] == '/';
    if (levels > rules->max_topic_levels)
        return tf_mqtt_conn_violate(conn, TF_MQTT_TOPIC_NAME_INVALID, TF_MQTT_PUBLISH,
                                    "too many topic levels");
    return TF_OK;
}

/*
 * Makes sure that a PUBLISH above QoS 0 may come and that there is room to remember it. Changes
 * nothing. *ret_entry is its id's entry if it repeats a QoS 2 PUBLISH.
 */
static enum tf_err admit(struct tf_mqtt_conn *conn, const struct tf_mqtt_publish *publish,
                         struct tf_mqtt_received **ret_entry)
{
    const struct tf_mqtt_pending *pending = &conn->pending;
    struct tf_mqtt_received *entry = NULL;
    bool full = pending->count >= conn->rules.receive_maximum;

    if (publish->qos == 2)
        entry = tf_mqtt_session_received(conn->session, publish->packet_id);
    if (conn->version >= TF_MQTT_5) {
        /* MQTT 5.0 3.3.4, 4.9; a repeat takes no second place */
        full |= conn->inbound >= conn->rules.receive_maximum && !(entry && entry->counted);
        if (full)
            return tf_mqtt_conn_violate(conn, TF_MQTT_RECEIVE_MAXIMUM_EXCEEDED, TF_MQTT_PUBLISH,
                                        NULL);
    } else if (full) {
        return TF_AGAIN; /* 3.1.1 has no such limit to blame the peer with: it has to wait */
    }
    if (pending->count == pending->capacity)
        return tf_mqtt_conn_need(conn, TF_MQTT_PART_PENDING);
    if (publish->qos == 2 && !entry && tf_mqtt_session_received_full(conn->session))
        return tf_mqtt_conn_need(conn, TF_MQTT_PART_RECEIVED);
    *ret_entry = entry;
    return TF_OK;
}

/* Remembers an admitted PUBLISH; false: it is a repeat and no event. */
static bool remember(struct tf_mqtt_conn *conn, const struct tf_mqtt_publish *publish,
                     struct tf_mqtt_received *entry)
{
    struct tf_mqtt_unanswered note = {.packet_id = publish->packet_id,
                                      .type = publish->qos == 1 ? TF_MQTT_PUBACK : TF_MQTT_PUBREC,
                                      .repeat = entry != NULL,
                                      .counted = !(entry && entry->counted)};

    if (entry && entry->state == TF_MQTT_RECEIVED_RELEASED) {
        /* The peer uses the id anew before PUBCOMP (MQTT 5.0 2.2.1). */
        note.answered = true;
        note.reason = TF_MQTT_PACKET_ID_IN_USE;
    }
    if (publish->qos == 2 && !entry)
        entry = tf_mqtt_session_received_add(conn->session, publish->packet_id);
    if (entry && note.reason == 0)
        entry->counted = true;
    conn->inbound += note.counted;
    push(conn, note);
    return !note.repeat;
}

/* Answers a PUBLISH whose payload is not the UTF-8 that it says (MQTT 5.0 3.3.2.3.2). */
static enum tf_err refuse_payload(struct tf_mqtt_conn *conn, const struct tf_mqtt_publish *publish)
{
    if (publish->qos == 0)
        return tf_mqtt_conn_violate(conn, TF_MQTT_PAYLOAD_FORMAT_INVALID, TF_MQTT_PUBLISH,
                                    "payload is not UTF-8");
    return tf_mqtt_conn_published(conn, publish->packet_id, TF_MQTT_PAYLOAD_FORMAT_INVALID);
}

enum tf_err tf_mqtt_conn_publish(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame,
                                 uint32_t left)
{
    struct tf_mqtt_publish *publish = &conn->slot.publish;
    struct tf_mqtt_received *entry = NULL;
    bool text = false, is_new = true;
    uint8_t reason = 0;
    enum tf_err err;

    err = tf_mqtt_publish_read(frame, conn->version, publish, &reason);
    if (err)
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_PUBLISH, NULL);
    if (publish->properties.length > 0) {
        err = read_properties(conn, publish, &text);
        if (err)
            return err;
    }
    err = check_rules(conn, publish);
    if (err)
        return err;
    if (publish->qos > 0) {
        err = admit(conn, publish, &entry);
        if (err)
            return err;
        is_new = remember(conn, publish, entry);
    }
    conn->body_left = left;
    conn->utf8_check = text && conn->rules.check_payload_format && is_new;
    conn->utf8_left = 0;
    conn->skip_body = !is_new;
    conn->body_id = is_new && left > 0 && publish->qos == 2 ? publish->packet_id : 0;
    if (conn->utf8_check && !tf_mqtt_conn_utf8(conn, publish->payload)) {
        if (left == 0)
            return refuse_payload(conn, publish);
        return tf_mqtt_conn_violate(conn, TF_MQTT_PAYLOAD_FORMAT_INVALID, TF_MQTT_PUBLISH,
                                    "payload is not UTF-8");
    }
    if (is_new)
        conn->slot.kind = TF_MQTT_SLOT_PUBLISH;
    else
        tf_mqtt_conn_flush(conn);
    return TF_OK;
}

/* --- PUBREL
 * ------------------------------------------------------------------------------------------- */

enum tf_err tf_mqtt_conn_pubrel(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame)
{
    struct tf_mqtt_received *entry;
    struct tf_mqtt_ack ack;
    uint8_t reason = 0;
    enum tf_err err = tf_mqtt_ack_read(frame, conn->version, &ack, &reason);

    if (err)
        return tf_mqtt_conn_violate(conn, reason, TF_MQTT_PUBREL, NULL);
    if (tf_output_room(&conn->output, 0) < TF_MQTT_ACK_MAX)
        return TF_AGAIN;
    entry = tf_mqtt_session_received(conn->session, ack.packet_id);
    if (!entry) {
        /* MQTT 5.0 3.7.2.1: not an error on a connection that resumes */
        tf_mqtt_conn_ack(conn, TF_MQTT_PUBCOMP, ack.packet_id, TF_MQTT_PACKET_ID_NOT_FOUND);
        return TF_OK;
    }
    if (entry->state == TF_MQTT_RECEIVED_PENDING)
        return tf_mqtt_conn_violate(conn, TF_MQTT_PROTOCOL_ERROR, TF_MQTT_PUBREL,
                                    "before PUBREC"); /* MQTT 5.0 4.3.3 */
    if (entry->state == TF_MQTT_RECEIVED_RELEASED)
        return TF_OK; /* its answer is on the way */
    entry->state = TF_MQTT_RECEIVED_RELEASED;
    conn->slot.kind = TF_MQTT_SLOT_RELEASED;
    conn->slot.reason = ack.reason;
    conn->slot.packet_id = ack.packet_id;
    return TF_OK;
}

enum tf_err tf_mqtt_conn_complete(struct tf_mqtt_conn *conn, uint16_t packet_id)
{
    struct tf_mqtt_received *entry;

    if (!tf_mqtt_conn_open(conn))
        return TF_NOT_FOUND;
    entry = tf_mqtt_session_received(conn->session, packet_id);
    if (!entry || entry->state != TF_MQTT_RECEIVED_RELEASED)
        return TF_NOT_FOUND;
    if (tf_output_room(&conn->output, 0) < TF_MQTT_ACK_MAX)
        return TF_AGAIN;
    if (entry->counted)
        conn->inbound--; /* MQTT 5.0 4.9 */
    tf_mqtt_session_received_remove(conn->session, entry);
    tf_mqtt_conn_ack(conn, TF_MQTT_PUBCOMP, packet_id, TF_MQTT_SUCCESS);
    return TF_OK;
}
