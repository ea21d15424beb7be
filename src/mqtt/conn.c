/*
 * Both ends of an MQTT connection: start, parts of memory, output, end; see conn.h.
 */
#include "mqtt/conn.h"

#include "mqtt/codec.h"

void tf_mqtt_conn_init(struct tf_mqtt_conn *conn, const struct tf_mqtt_features *features,
                       tf_time now)
{
    *conn = (struct tf_mqtt_conn){.features = features,
                                  .heard = now,
                                  .peer_max_packet = UINT32_MAX,
                                  .state = TF_MQTT_CONN_NEW,
                                  .pending.capacity = TF_MQTT_PENDING_INLINE};
}

void tf_mqtt_conn_start(struct tf_mqtt_conn *conn, struct tf_mqtt_session *session)
{
    tf_assert(conn->state == TF_MQTT_CONN_ANSWERING);
    conn->session = session;
    conn->state = TF_MQTT_CONN_UP;
    if (conn->features->reliable)
        conn->features->reliable->start(conn);
}

/* --- parts
 * ----------------------------------------------------------------------------------------- */

enum tf_err tf_mqtt_conn_need(struct tf_mqtt_conn *conn, enum tf_mqtt_part part)
{
    conn->needs |= (uint8_t)(1u << part);
    return TF_AGAIN;
}

/* Twice what there is, from `least` to `most`. */
static size_t grown(size_t present, size_t least, size_t most)
{
    size_t want = TF_MAX(2 * present, least);

    return TF_MIN(want, most);
}

size_t tf_mqtt_conn_need_size(const struct tf_mqtt_conn *conn, enum tf_mqtt_part part)
{
    const struct tf_mqtt_session *session = conn->session;
    size_t most;

    switch (part) {
    case TF_MQTT_PART_SENT:
        most = TF_MAX(session->sent_capacity, conn->send_limit) + conn->rules.request_maximum;
        return tf_mqtt_session_sent_size(
            (uint16_t)grown(session->sent_capacity, 8, TF_MIN(most, UINT16_MAX)));
    case TF_MQTT_PART_RECEIVED:
        return tf_mqtt_session_received_size((uint16_t)grown(session->received_count, 8, 32768));
    case TF_MQTT_PART_PENDING:
        return grown(conn->pending.capacity, 0,
                     TF_MAX(conn->rules.receive_maximum, TF_MQTT_PENDING_INLINE)) *
               sizeof(struct tf_mqtt_unanswered);
    case TF_MQTT_PART_ALIASES:
        return tf_mqtt_aliases_size(conn->rules.alias_maximum, conn->alias_want);
    }
    return 0;
}

/* Moves the ring of pending answers to `entries`, which has room for `capacity`. */
static void move_pending(struct tf_mqtt_pending *pending, struct tf_mqtt_unanswered *entries,
                         size_t capacity)
{
    const struct tf_mqtt_unanswered *from = pending->entries ? pending->entries : pending->few;
    struct tf_mqtt_unanswered *to = entries ? entries : pending->few;

    for (unsigned i = 0; i < pending->count; i++)
        to[i] = from[(pending->head + i) % pending->capacity];
    pending->entries = entries;
    pending->capacity = (uint16_t)TF_MIN(capacity, UINT16_MAX);
    pending->head = 0;
}

enum tf_err tf_mqtt_conn_give(struct tf_mqtt_conn *conn, enum tf_mqtt_part part, void *memory,
                              size_t length, void **ret_old)
{
    struct tf_mqtt_aliases *aliases;

    switch (part) {
    case TF_MQTT_PART_SENT:
        return conn->session ? tf_mqtt_session_give_sent(conn->session, memory, length, ret_old)
                             : TF_MISUSE;
    case TF_MQTT_PART_RECEIVED:
        return conn->session ? tf_mqtt_session_give_received(conn->session, memory, length, ret_old)
                             : TF_MISUSE;
    case TF_MQTT_PART_PENDING:
        length /= sizeof(struct tf_mqtt_unanswered);
        if (!memory || length < TF_MAX(conn->pending.count, TF_MQTT_PENDING_INLINE))
            return TF_MISUSE;
        *ret_old = conn->pending.entries;
        move_pending(&conn->pending, memory, length);
        return TF_OK;
    case TF_MQTT_PART_ALIASES:
        aliases = tf_mqtt_aliases_init(memory, length, conn->rules.alias_maximum, conn->aliases);
        if (!aliases)
            return TF_MISUSE;
        *ret_old = conn->aliases;
        conn->aliases = aliases;
        return TF_OK;
    }
    return TF_MISUSE;
}

void *tf_mqtt_conn_reclaim(struct tf_mqtt_conn *conn, enum tf_mqtt_part part)
{
    void *memory = NULL;

    switch (part) {
    case TF_MQTT_PART_SENT:
        return conn->session ? tf_mqtt_session_take_sent(conn->session) : NULL;
    case TF_MQTT_PART_RECEIVED:
        return conn->session ? tf_mqtt_session_take_received(conn->session) : NULL;
    case TF_MQTT_PART_PENDING:
        memory = conn->pending.entries;
        if (!memory)
            return NULL;
        if (conn->state == TF_MQTT_CONN_CLOSING)
            conn->pending.count = 0; /* no answer goes out any more */
        if (conn->pending.count > TF_MQTT_PENDING_INLINE)
            return NULL;
        move_pending(&conn->pending, NULL, TF_MQTT_PENDING_INLINE);
        return memory;
    case TF_MQTT_PART_ALIASES:
        if (conn->state != TF_MQTT_CONN_CLOSING || conn->slot.kind == TF_MQTT_SLOT_PUBLISH)
            return NULL;
        memory = conn->aliases;
        conn->aliases = NULL;
        return memory;
    }
    return NULL;
}

/* --- output
 * ---------------------------------------------------------------------------------------- */

void tf_mqtt_conn_ack(struct tf_mqtt_conn *conn, enum tf_mqtt_type type, uint16_t packet_id,
                      uint8_t reason)
{
    uint8_t *to = tf_output_next(&conn->output);
    unsigned flags = type == TF_MQTT_PUBREL ? 2 : 0; /* MQTT 5.0 2.1.3 */

    /* MQTT 5.0 3.4.2.1: a reason of 0 may be left out; 3.1.1 has none */
    if (conn->version < TF_MQTT_5)
        reason = 0;
    to[0] = (uint8_t)((unsigned)type << 4 | flags);
    to[1] = reason ? 3 : 2;
    to[2] = (uint8_t)(packet_id >> 8);
    to[3] = (uint8_t)packet_id;
    if (reason)
        to[4] = reason;
    tf_output_wrote(&conn->output, reason ? 5 : 4);
}

/* Writes the DISCONNECT or CONNACK that is due; when there is no room it stays due. */
static void put_goodbye(struct tf_mqtt_conn *conn)
{
    bool disconnect = conn->goodbye == TF_MQTT_GOODBYE_DISCONNECT;

    if (tf_output_room(&conn->output, 0) < TF_MQTT_ACK_MAX)
        return;
    if (disconnect && conn->version < TF_MQTT_5) {
        (void)tf_mqtt_put_u16(tf_output_next(&conn->output), 0xe000); /* MQTT 3.1.1 3.14 */
        tf_output_wrote(&conn->output, 2);
    } else {
        conn->features->version_5->goodbye(conn);
    }
    conn->goodbye = TF_MQTT_GOODBYE_NONE;
}

void tf_mqtt_conn_pump(struct tf_mqtt_conn *conn)
{
    if (conn->state == TF_MQTT_CONN_CLOSING) {
        if (conn->goodbye)
            put_goodbye(conn);
        return;
    }
    if (conn->pending.count > 0)
        conn->features->receiving->flush(conn);
    if (conn->state == TF_MQTT_CONN_RESUMING)
        conn->features->reliable->resume(conn);
}

enum tf_err tf_mqtt_conn_lend(struct tf_mqtt_conn *conn, void *buffer, size_t length)
{
    enum tf_err err = tf_output_lend(&conn->output, buffer, length);

    if (!err)
        tf_mqtt_conn_pump(conn);
    return err;
}

void tf_mqtt_conn_sent(struct tf_mqtt_conn *conn, size_t length)
{
    tf_output_sent(&conn->output, length);
    tf_mqtt_conn_pump(conn);
}

void tf_mqtt_conn_abandon(struct tf_mqtt_conn *conn)
{
    tf_mqtt_conn_close(conn, TF_MQTT_GOODBYE_NONE, TF_MQTT_UNSPECIFIED_ERROR, 0, NULL);
    conn->goodbye = TF_MQTT_GOODBYE_NONE;
    tf_output_abandon(&conn->output);
}

/* --- the end
 * --------------------------------------------------------------------------------------- */

void tf_mqtt_conn_close(struct tf_mqtt_conn *conn, enum tf_mqtt_goodbye goodbye, uint8_t reason,
                        unsigned where, const char *why)
{
    if (conn->state == TF_MQTT_CONN_CLOSING)
        return;
    if (conn->body_id)
        conn->features->receiving->cut(conn);
    conn->state = TF_MQTT_CONN_CLOSING;
    conn->goodbye = goodbye;
    conn->reason = reason;
    conn->where = (uint8_t)where;
    conn->why = why;
    conn->needs = 0;
    conn->resend = 0;
    conn->body_left = 0;
    tf_mqtt_conn_pump(conn);
}

enum tf_err tf_mqtt_conn_violate(struct tf_mqtt_conn *conn, uint8_t reason, unsigned where,
                                 const char *why)
{
    enum tf_mqtt_goodbye goodbye = TF_MQTT_GOODBYE_NONE;

    /* MQTT 5.0 4.13, 3.1.4; 3.1.1 4.8: close without a word */
    if (conn->version >= TF_MQTT_5) {
        bool connecting = conn->state < TF_MQTT_CONN_RESUMING;
        if (!connecting || !conn->rules.is_server)
            goodbye = TF_MQTT_GOODBYE_DISCONNECT;
        else if (reason >= TF_MQTT_UNSPECIFIED_ERROR)
            goodbye = TF_MQTT_GOODBYE_CONNACK;
    }
    tf_mqtt_conn_close(conn, goodbye, reason, where, why);
    return TF_PROTOCOL;
}

/* --- what is to be told beside the slot
 * -------------------------------------------------------------- */

enum tf_mqtt_slot_kind tf_mqtt_conn_next(struct tf_mqtt_conn *conn, uint64_t *ret_number,
                                         uint16_t *ret_id)
{
    const struct tf_mqtt_sent *slot;

    if (tf_output_returned(&conn->output, ret_number))
        return TF_MQTT_SLOT_RETURNED;
    if (conn->needs) {
        unsigned part = (unsigned)__builtin_ctz(conn->needs);
        conn->needs &= (uint8_t) ~(1u << part);
        *ret_number = part;
        return TF_MQTT_SLOT_NEEDS;
    }
    if (conn->state != TF_MQTT_CONN_RESUMING || conn->announced)
        return TF_MQTT_SLOT_EMPTY;
    conn->features->reliable->resume(conn);
    if (conn->state != TF_MQTT_CONN_RESUMING)
        return TF_MQTT_SLOT_EMPTY;
    slot = tf_mqtt_session_sent(conn->session, conn->resend);
    tf_assert(slot);
    if (slot->state == TF_MQTT_SENT_PUBCOMP ||
        (slot->state == TF_MQTT_SENT_RELEASE && tf_output_room(&conn->output, 0) < TF_MQTT_ACK_MAX))
        return TF_MQTT_SLOT_EMPTY; /* PUBREL waits for room */
    conn->announced = true;
    *ret_number = slot->handle;
    *ret_id = conn->resend;
    return slot->state == TF_MQTT_SENT_RELEASE ? TF_MQTT_SLOT_RECEIVED : TF_MQTT_SLOT_RESEND;
}

/* The ring of pending answers. */
static bool check_pending(const struct tf_mqtt_conn *conn)
{
    const struct tf_mqtt_pending *pending = &conn->pending;
    const struct tf_mqtt_unanswered *entries = pending->entries ? pending->entries : pending->few;
    unsigned counted = 0;

    if (pending->capacity < TF_MQTT_PENDING_INLINE || pending->count > pending->capacity ||
        pending->head >= pending->capacity)
        return false;
    for (unsigned i = 0; i < pending->count; i++) {
        const struct tf_mqtt_unanswered *entry = entries + (pending->head + i) % pending->capacity;
        if (entry->packet_id == 0 ||
            (entry->type != TF_MQTT_PUBACK && entry->type != TF_MQTT_PUBREC))
            return false;
        counted += entry->counted;
    }
    return conn->state == TF_MQTT_CONN_CLOSING || counted <= conn->inbound;
}

bool tf_mqtt_conn_check(const struct tf_mqtt_conn *conn)
{
    const struct tf_mqtt_session *session = conn->session;
    unsigned counted = 0;

    if (conn->state > TF_MQTT_CONN_CLOSING || conn->slot.kind > TF_MQTT_SLOT_DISCONNECT ||
        !tf_output_check(&conn->output) || !check_pending(conn) ||
        (conn->aliases && !tf_mqtt_aliases_check(conn->aliases)))
        return false;
    if (conn->state != TF_MQTT_CONN_CLOSING && conn->goodbye)
        return false;
    if ((conn->state == TF_MQTT_CONN_RESUMING) != (conn->resend != 0))
        return false;
    if (conn->body_left > 0 && !tf_mqtt_conn_open(conn))
        return false;
    if (!tf_mqtt_conn_open(conn))
        return true; /* the session may have gone to another connection */
    if (!session)
        return !conn->features->receiving && !conn->features->reliable;
    if (!tf_mqtt_session_check(session) ||
        (conn->version >= TF_MQTT_5 && conn->inbound > conn->rules.receive_maximum))
        return false;
    if (conn->resend && !tf_mqtt_session_sent(session, conn->resend))
        return false;
    for (uint16_t id = session->sent_first; id; id = session->sent[id - 1].next)
        counted += session->sent[id - 1].counted;
    return counted == conn->counted && counted <= conn->send_limit;
}
