/*
 * Messages between MQTT and the routing: PUBLISH in and out (MQTT 5.0 3.3).
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/address.h"
#include "broker/durability.h"
#include "broker/mapping.h"
#include "broker/mqtt_front_internal.h"

/* A ticket's tag: the connection it came by, the QoS and the packet id. */
static uint64_t make_tag(const struct mqtt_session *session, uint8_t qos, uint16_t packet_id)
{
    return (uint64_t)session->generation << 32 | (uint64_t)qos << 16 | packet_id;
}

/* True for properties that concern this hop alone, or that each delivery writes anew. */
static bool hop_property(unsigned id)
{
    return id == TF_MQTT_TOPIC_ALIAS || id == TF_MQTT_MESSAGE_EXPIRY || id == TF_MQTT_WILL_DELAY;
}

static bool reserve_scratch(struct mqtt_front *front, size_t size)
{
    if (size <= front->scratch_size) {
        return true;
    }
    uint8_t *scratch = tf_mqtt_front_alloc(front, size);
    if (!scratch) {
        return false;
    }
    if (front->scratch) {
        tf_mqtt_front_free(front, front->scratch, front->scratch_size);
    }
    front->scratch = scratch;
    front->scratch_size = size;
    return true;
}

/* Copies the properties that go on to every receiver into the scratch. */
static struct tf_bytes strip(struct mqtt_front *front, struct tf_bytes properties)
{
    struct tf_writer writer = tf_writer_of(front->scratch, front->scratch_size);
    struct tf_mqtt_property_cursor cursor = {properties, 0};
    struct tf_mqtt_property property;
    while (tf_mqtt_property_next(&cursor, &property)) {
        if (!hop_property(property.id)) {
            tf_mqtt_property_write(&writer, &property);
        }
    }
    return tf_bytes_of(front->scratch, tf_writer_length(&writer));
}

bool tf_mqtt_front_envelope_read(struct mqtt_front *front, struct tf_bytes properties,
                                 struct tf_envelope *ret, uint32_t *ret_expiry_s)
{
    struct tf_mqtt_property_cursor cursor = {properties, 0};
    struct tf_mqtt_property property;
    bool hops = false;
    *ret_expiry_s = UINT32_MAX;
    while (tf_mqtt_property_next(&cursor, &property)) {
        hops |= hop_property(property.id);
        if (property.id == TF_MQTT_MESSAGE_EXPIRY) {
            *ret_expiry_s = property.number;
        }
    }
    ret->encoded = properties;
    if (hops) {
        if (!reserve_scratch(front, properties.length)) {
            return false;
        }
        ret->encoded = strip(front, properties);
    }
    tf_mapping_from_mqtt(ret->encoded, ret);
    return true;
}

/* The reason code for what became of a publication. */
static uint8_t reason_of(const struct tf_published *result)
{
    return result->refused        ? TF_MQTT_QUOTA_EXCEEDED
           : result->matched == 0 ? TF_MQTT_NO_MATCHING_SUBSCRIBERS
                                  : TF_MQTT_SUCCESS;
}

static void acknowledge(struct mqtt_conn *conn, uint16_t packet_id, uint8_t reason)
{
    enum tf_err err = tf_mqtt_server_published(conn->server, packet_id, reason);
    if (err && err != TF_CLOSED && err != TF_NOT_FOUND) {
        tf_mqtt_front_conn_end(conn, TF_MQTT_UNSPECIFIED_ERROR);
    }
}

/* True for what is to be published once only even if the broker ends: its packet id is recorded. */
static bool exactly_once(const struct mqtt_session *session, uint8_t qos)
{
    return qos == 2 && session->queue.kept;
}

/* It is known what became of a publication. */
static void tell(struct mqtt_conn *conn, uint16_t packet_id, uint8_t qos,
                 const struct tf_published *result)
{
    if (exactly_once(conn->session, qos)) {
        mqtt_owe_recorded(conn);
    } else if (!result->refused) {
        mqtt_owe(conn, result->stored);
    }
    acknowledge(conn, packet_id, reason_of(result));
}

/* Hands a publication to the shard and acknowledges it, now or when its ticket ends. */
static void publish(struct mqtt_conn *conn, struct tf_publication *publication, uint8_t qos,
                    uint16_t packet_id)
{
    struct mqtt_front *front = conn->front;
    struct mqtt_session *session = conn->session;
    struct tf_published result;
    bool once = exactly_once(session, qos);
    enum tf_err err = once ? tf_mqtt_front_store_received(session, packet_id, publication) : TF_OK;
    if (err) {
        once = false; /* nothing was recorded */
    } else {
        err = tf_shard_publish(front->shard, publication, qos ? &session->tickets : NULL,
                               qos ? make_tag(session, qos, packet_id) : 0, &result);
    }
    if (err == TF_AGAIN) {
        return;
    }
    if (err) {
        front->front.counters.publish_dropped++;
        result = (struct tf_published){.refused = true};
    }
    if (once && result.refused) {
        tf_mqtt_front_store_released(session, packet_id);
    }
    if (qos) {
        tell(conn, packet_id, qos, &result);
    }
}

void tf_mqtt_front_publish_done(struct tf_ticket_owner *owner, uint64_t tag,
                                const struct tf_published *result)
{
    struct mqtt_session *session = tf_container_of(owner, struct mqtt_session, tickets);
    uint16_t packet_id = (uint16_t)tag;
    uint8_t qos = (uint8_t)(tag >> 16);
    bool same = session->conn && (uint32_t)(tag >> 32) == session->generation;
    if (exactly_once(session, qos) && result->refused) {
        tf_mqtt_front_store_released(session, packet_id);
    }
    if (session->conn && (same || qos == 2)) {
        tf_mqtt_front_conn_lend(session->conn, TF_FRONT_BUFFER_SIZE);
        tell(session->conn, packet_id, qos, result);
        tf_stream_touch(&session->conn->stream);
        tf_mqtt_front_conn_touch(session->conn);
    } else if (qos == 2) {
        tf_mqtt_session_published(&session->state, packet_id, reason_of(result));
    }
}

/* Why a PUBLISH is not passed on; 0: it is. */
static uint8_t refusal(const struct mqtt_conn *conn, const struct tf_mqtt_publish *packet,
                       uint64_t length)
{
    const struct mqtt_front *front = conn->front;
    if (!tf_address_open(packet->topic)) {
        return TF_MQTT_NOT_AUTHORIZED;
    }
    return length > front->context.config->message_size_limit ? TF_MQTT_QUOTA_EXCEEDED : 0;
}

void tf_mqtt_front_on_publish(struct mqtt_conn *conn, const struct tf_mqtt_server_event *event)
{
    struct mqtt_front *front = conn->front;
    const struct tf_mqtt_publish *packet = &event->publish;
    struct tf_front_counters *counters = &front->front.counters;
    uint64_t length = packet->payload.length + event->payload_left;
    uint32_t expiry_s = UINT32_MAX;
    struct tf_publication publication = {.envelope = {.address = packet->topic,
                                                      .expires = TF_TIME_NEVER,
                                                      .publisher = conn->session->queue.publisher,
                                                      .origin = TF_PROTOCOL_MQTT,
                                                      .qos = packet->qos,
                                                      .durable = packet->qos > 0,
                                                      .retain = packet->retain,
                                                      /* 3.3.1.3: an empty body */
                                                      .clear = packet->retain && length == 0},
                                         .body = &packet->payload,
                                         .body_count = packet->payload.length != 0};
    counters->publish_received++;
    counters->publish_bytes_received += length;
    if (mqtt_store(front)) {
        publication.envelope.slack =
            tf_durability_slack(front->context.config, conn->listener, packet->topic);
    }
    uint8_t reason = refusal(conn, packet, length);
    if (!reason && packet->properties.length) {
        if (!tf_mqtt_front_envelope_read(front, packet->properties, &publication.envelope,
                                         &expiry_s)) {
            reason = TF_MQTT_QUOTA_EXCEEDED;
        } else if (expiry_s != UINT32_MAX) {
            publication.envelope.expires = tf_time_add(mqtt_now(front), expiry_s * TF_SECOND);
        }
    }
    if (event->payload_left) {
        conn->incoming_id = packet->packet_id;
        conn->incoming_reason = reason;
        conn->incoming =
            reason ? NULL : tf_message_new(&publication.envelope, front->shard->config.alloc);
        if (conn->incoming && tf_message_append(conn->incoming, packet->payload)) {
            tf_message_unref(conn->incoming);
            conn->incoming = NULL;
        }
        if (!conn->incoming && !reason) {
            conn->incoming_reason = TF_MQTT_QUOTA_EXCEEDED;
        }
        conn->incoming_qos = packet->qos;
        return;
    }
    if (reason) {
        counters->publish_dropped++;
        if (packet->qos) {
            acknowledge(conn, packet->packet_id, reason);
        }
        return;
    }
    publish(conn, &publication, packet->qos, packet->packet_id);
    tf_publication_release(&publication);
}

void tf_mqtt_front_on_body(struct mqtt_conn *conn, const struct tf_mqtt_server_event *event)
{
    struct tf_message *message = conn->incoming;
    if (message && tf_message_append(message, event->body)) {
        tf_message_unref(message);
        conn->incoming = message = NULL;
        conn->incoming_reason = TF_MQTT_QUOTA_EXCEEDED;
    }
    if (event->payload_left) {
        return;
    }
    uint16_t packet_id = conn->incoming_id;
    conn->incoming = NULL;
    conn->incoming_id = 0;
    if (message) {
        publish(conn, &message->publication, conn->incoming_qos, packet_id);
        tf_message_unref(message);
        return;
    }
    conn->front->front.counters.publish_dropped++;
    if (conn->incoming_qos) {
        acknowledge(conn, packet_id, conn->incoming_reason);
    }
}

/* Makes MQTT 5.0 properties of what an envelope of another protocol says, and attaches them. */
static const struct tf_encoding *encode(struct mqtt_front *front, struct tf_message *message)
{
    const struct tf_envelope *envelope = &message->publication.envelope;
    if (!reserve_scratch(front, tf_mapping_mqtt_room(envelope))) {
        return NULL;
    }
    struct tf_writer writer = tf_writer_of(front->scratch, front->scratch_size);
    tf_mapping_to_mqtt(envelope, &writer);
    return tf_message_attach(message, TF_PROTOCOL_MQTT,
                             tf_bytes_of(front->scratch, tf_writer_length(&writer)));
}

/* The MQTT 5.0 properties that are the same for every receiver. */
static struct tf_bytes properties_of(struct mqtt_front *front, struct tf_publication *publication)
{
    const struct tf_envelope *envelope = &publication->envelope;
    if (envelope->origin == TF_PROTOCOL_MQTT) {
        return envelope->encoded;
    }
    struct tf_message *message = tf_publication_keep(publication, front->shard->config.alloc);
    if (!message) {
        return (struct tf_bytes){NULL, 0};
    }
    const struct tf_encoding *encoding = tf_message_encoding(message, TF_PROTOCOL_MQTT);
    if (!encoding) {
        encoding = encode(front, message);
    }
    tf_message_unref(message); /* the publication has a count of its own */
    return encoding ? encoding->bytes : (struct tf_bytes){NULL, 0};
}

/* Room that a delivery needs in the buffer when its body is copied. */
static size_t room_for(const struct tf_mqtt_delivery *out)
{
    return 512 + out->topic.length + out->properties.length + 6 * out->subscription_id_count +
           out->body_count * 64 + MQTT_REFERENCE_FROM;
}

/* Hands a delivery of `length` bytes to the machine, giving it what it asks for on the way. */
static enum tf_err send(struct mqtt_conn *conn, const struct tf_mqtt_delivery *out, size_t length,
                        bool *ret_borrowed)
{
    bool lent = false;
    for (;;) {
        enum tf_err err = tf_mqtt_server_deliver(conn->server, out, ret_borrowed);
        if (err == TF_AGAIN && tf_mqtt_front_conn_events(conn) == MQTT_PULLED_SOME) {
            continue; /* it had asked for a table, or told that a body is its owner's again */
        }
        if (err != TF_NO_MEMORY || lent) {
            return err;
        }
        size_t room = room_for(out) + (out->owner ? 0 : length);
        lent = tf_mqtt_front_conn_lend(conn, room);
        if (!lent) {
            return TF_AGAIN;
        }
    }
}

enum tf_err tf_mqtt_front_deliver(struct tf_consumer *consumer, const struct tf_delivery *delivery)
{
    struct mqtt_session *session = tf_container_of(consumer, struct mqtt_session, consumer);
    struct mqtt_conn *conn = session->conn;
    struct tf_publication *publication = delivery->publication;
    const struct tf_envelope *envelope = &publication->envelope;
    if (!conn) {
        return TF_AGAIN;
    }
    if (conn->borrowed >= MQTT_BORROWED_MAX ||
        !tf_mqtt_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE)) {
        conn->blocked = true; /* tried again when output was sent, or the connection is served */
        return TF_AGAIN;
    }
    struct tf_plain_body plain;
    enum tf_err err = tf_mapping_plain(publication, conn->front->shard->config.alloc, &plain);
    if (err) {
        conn->blocked = true;
        return err == TF_LIMIT ? TF_LIMIT : TF_AGAIN;
    }
    struct tf_mqtt_delivery out = {.handle = (uint64_t)(uintptr_t)delivery->entry,
                                   .topic = envelope->address,
                                   .properties = properties_of(conn->front, publication),
                                   .body = plain.body,
                                   .body_count = plain.count,
                                   .subscription_ids = delivery->ids.ids,
                                   .subscription_id_count = delivery->ids.count,
                                   .qos = delivery->qos,
                                   .retain = delivery->retain};
    if (envelope->expires != TF_TIME_NEVER) {
        out.has_expiry = true;
        out.expiry_s = tf_mapping_seconds_left(envelope->expires, mqtt_now(conn->front));
    }
    struct tf_message *message = NULL;
    if (out.body_count > 1 || (out.body_count && out.body[0].length >= MQTT_REFERENCE_FROM)) {
        message = tf_publication_keep(publication, conn->front->shard->config.alloc);
        out.owner = (uint64_t)(uintptr_t)message;
        /* it has the body in other pieces than the publication; the plain form it has already */
        if (message && envelope->body_format == TF_BODY_PLAIN) {
            out.body = message->publication.body;
            out.body_count = message->publication.body_count;
        }
    }
    bool borrowed = false;
    err = send(conn, &out, tf_mapping_plain_length(&plain), &borrowed);
    if (borrowed) {
        conn->borrowed += message->size;
    } else if (message) {
        tf_message_unref(message);
    }
    if (err == TF_OK) {
        conn->front->front.counters.publish_sent++;
        if (session->queue.kept && delivery->entry && delivery->entry != conn->resending) {
            tf_mqtt_front_store_sent(session, delivery->entry);
            conn->recorded |= delivery->entry->stored || delivery->entry->fresh;
        }
        /* its publisher may send it again if the broker ends before it is on disk */
        conn->recorded |= envelope->qos == 2 && mqtt_store(conn->front) != NULL;
        tf_stream_touch(&conn->stream);
        return TF_OK;
    }
    conn->blocked = true;
    /* MISUSE: no MQTT packet can carry it, an address of another protocol for instance */
    return err == TF_LIMIT || err == TF_MISUSE ? TF_LIMIT : TF_AGAIN;
}

void tf_mqtt_front_resend(struct mqtt_conn *conn)
{
    struct tf_entry *entry = conn->resending;
    struct tf_delivery delivery = {.publication = &entry->message->publication,
                                   .entry = entry,
                                   .ids = entry->ids,
                                   .qos = entry->qos,
                                   .retain = entry->retain};
    tf_assert(entry->state == TF_ENTRY_ACQUIRED && conn->session);
    enum tf_err err = tf_mqtt_front_deliver(&conn->session->consumer, &delivery);
    if (err == TF_OK || err == TF_LIMIT) {
        conn->resending = NULL;
    }
    if (err == TF_LIMIT) { /* the machine has given its packet id up */
        tf_entry_settle(entry);
    }
}
