/*
 * SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 3.8 to 3.11).
 *
 * A SUBACK goes out when the bindings of all its filters stand in every shard; retained messages
 * are asked for after it.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/views.h"
#include "broker/mqtt_front_internal.h"

/* One filter that waits; its address is the tag of its bind. */
struct wait {
    struct mqtt_subscribe *subscribe;
    uint8_t reason;
};

/* A SUBSCRIBE whose bindings are under way, or whose answer found no room. */
struct mqtt_subscribe {
    struct tf_list_node in_conn;
    struct mqtt_conn *conn; /* NULL: gone */
    struct mqtt_front *front;
    size_t count;
    size_t waiting;
    uint16_t packet_id;
    struct wait waits[];
};

static void free_subscribe(struct mqtt_subscribe *subscribe)
{
    tf_list_unlink(&subscribe->in_conn);
    tf_mqtt_front_free(subscribe->front, subscribe,
                       sizeof(*subscribe) + subscribe->count * sizeof(subscribe->waits[0]));
}

static size_t count_filters(struct tf_bytes payload)
{
    struct tf_mqtt_subscription filter;
    size_t count = 0;
    for (size_t offset = 0; tf_mqtt_subscription_next(payload, &offset, &filter);) {
        count++;
    }
    return count;
}

/* Why a filter is not granted; 0: it is. */
static uint8_t refusal(const struct mqtt_conn *conn, struct tf_bytes filter, bool existing)
{
    const struct tf_config *config = conn->front->context.config;
    struct tf_bytes name;
    struct tf_bytes shared;
    enum tf_err err = tf_mqtt_shared_read(filter, &name, &shared);
    if (err == TF_OK || tf_bytes_begin(filter, tf_bytes_str("$queue/"))) {
        return TF_MQTT_SHARED_NOT_SUPPORTED;
    }
    if (err == TF_PROTOCOL || !tf_mqtt_filter_valid(filter) ||
        tf_address_levels(filter) > TF_MIN(config->max_topic_levels, TF_LEVELS_MAX)) {
        return TF_MQTT_TOPIC_FILTER_INVALID;
    }
    /* Those under way are counted too, since one filter may be named again and again. */
    if ((!existing && conn->session->queue.binding_count >= config->max_subscriptions) ||
        conn->session->binds_waiting >= config->max_subscriptions) {
        return TF_MQTT_QUOTA_EXCEEDED;
    }
    return 0;
}

static void log_filter(struct mqtt_conn *conn, enum tf_log_level level, struct tf_bytes filter)
{
    struct tf_log *log = conn->front->context.log;
    if (tf_log_enabled(log, level)) {
        struct tf_log_field fields[] = {
            {"client", tf_bytes_of(conn->session->id, conn->session->id_length)},
            {"filter", filter}};
        tf_log_write(log, level, "mqtt", fields, 2, "%s",
                     level == TF_LOG_SUBSCRIBE ? "subscribe" : "unsubscribe");
    }
}

/* Brings the front's counter up to what bindings the session has. */
static void count_subscriptions(struct mqtt_session *session)
{
    uint32_t count = session->queue.binding_count;
    session->front->front.counters.subscriptions += (uint64_t)count - session->counted;
    session->counted = count;
}

/* Binds one filter; its answer comes by tf_mqtt_front_subscribe_bound unless it is refused. */
static void bind_filter(struct mqtt_conn *conn, const struct tf_mqtt_subscription *wanted,
                        uint32_t id, struct wait *wait)
{
    struct mqtt_front *front = conn->front;
    struct mqtt_session *session = conn->session;
    uint8_t max_qos = conn->servers->configs[conn->listener].maximum_qos;
    bool existing = tf_shard_binding(front->shard, &session->queue, wanted->filter) != NULL;
    struct tf_binding_options options = {.subscription_id = id,
                                         .qos = TF_MIN(wanted->qos, max_qos),
                                         .upgrade = front->context.config->upgrade_outgoing_qos,
                                         .no_local = wanted->no_local,
                                         .retain_as_published = wanted->retain_as_published};
    size_t place = (size_t)(wait - wait->subscribe->waits);
    wait->reason = refusal(conn, wanted->filter, existing);
    if (!wait->reason && place >= front->context.config->max_subscriptions) {
        wait->reason = TF_MQTT_QUOTA_EXCEEDED; /* the same ones again and again cost, too */
    }
    if (wait->reason) {
        wait->subscribe->waiting--;
        return;
    }
    wait->reason = options.qos;
    bool values = wanted->retain_handling == 0 || (wanted->retain_handling == 1 && !existing);
    session->binds_waiting++;
    if (tf_shard_bind(front->shard, &session->queue, wanted->filter, &options, values,
                      &session->binds, (uint64_t)(uintptr_t)wait)) {
        session->binds_waiting--;
        wait->reason = TF_MQTT_QUOTA_EXCEEDED;
        wait->subscribe->waiting--;
        return;
    }
    count_subscriptions(session);
    log_filter(conn, TF_LOG_SUBSCRIBE, wanted->filter);
}

void tf_mqtt_front_on_subscribe(struct mqtt_conn *conn, const struct tf_mqtt_subscribe *packet)
{
    struct mqtt_front *front = conn->front;
    size_t count = count_filters(packet->payload);
    struct mqtt_subscribe *subscribe =
        tf_mqtt_front_alloc(front, sizeof(*subscribe) + count * sizeof(subscribe->waits[0]));
    if (!subscribe) {
        tf_mqtt_front_conn_end(conn, TF_MQTT_SERVER_BUSY);
        return;
    }
    *subscribe = (struct mqtt_subscribe){.conn = conn,
                                         .front = front,
                                         .count = count,
                                         .waiting = count,
                                         .packet_id = packet->packet_id};
    tf_list_push_back(&conn->subscribes, &subscribe->in_conn);
    uint32_t id = tf_mqtt_property_number(packet->properties, TF_MQTT_SUBSCRIPTION_ID, 0);
    struct tf_mqtt_subscription wanted;
    struct wait *wait = subscribe->waits;
    for (size_t offset = 0; tf_mqtt_subscription_next(packet->payload, &offset, &wanted); wait++) {
        wait->subscribe = subscribe;
        bind_filter(conn, &wanted, id, wait);
    }
    tf_mqtt_front_conn_touch(conn);
}

void tf_mqtt_front_subscribe_bound(struct tf_bind_owner *owner, uint64_t tag, enum tf_err err)
{
    struct wait *wait = (struct wait *)(uintptr_t)tag;
    struct mqtt_subscribe *subscribe = wait->subscribe;
    tf_container_of(owner, struct mqtt_session, binds)->binds_waiting--;
    if (err == TF_NO_MEMORY) {
        wait->reason = TF_MQTT_QUOTA_EXCEEDED;
        count_subscriptions(tf_container_of(owner, struct mqtt_session, binds));
    }
    subscribe->waiting--;
    if (subscribe->conn) {
        tf_mqtt_front_conn_touch(subscribe->conn);
    } else if (subscribe->waiting == 0) {
        free_subscribe(subscribe);
    }
}

/* Sends one SUBACK. False: no room now. */
static bool answer(struct mqtt_conn *conn, const struct mqtt_subscribe *subscribe)
{
    enum tf_err err = TF_NO_MEMORY;
    uint8_t *reasons = tf_mqtt_front_alloc(conn->front, subscribe->count);
    if (reasons) {
        for (size_t i = 0; i < subscribe->count; i++) {
            reasons[i] = subscribe->waits[i].reason;
        }
        struct tf_bytes codes = tf_bytes_of(reasons, subscribe->count);
        err = tf_mqtt_server_subscribed(conn->server, subscribe->packet_id, codes);
        if (err == TF_NO_MEMORY && tf_mqtt_front_conn_lend(conn, subscribe->count + 64)) {
            err = tf_mqtt_server_subscribed(conn->server, subscribe->packet_id, codes);
        }
        tf_mqtt_front_free(conn->front, reasons, subscribe->count);
    }
    if (err == TF_NO_MEMORY) {
        tf_mqtt_front_conn_end(conn, TF_MQTT_SERVER_BUSY);
    }
    return err != TF_AGAIN;
}

void tf_mqtt_front_subscribe_service(struct mqtt_conn *conn)
{
    struct tf_list_node *node = tf_list_first(&conn->subscribes);
    bool answered = false;
    while (node) {
        struct mqtt_subscribe *subscribe = tf_container_of(node, struct mqtt_subscribe, in_conn);
        node = tf_list_next(&conn->subscribes, node);
        if (subscribe->waiting == 0) {
            if (!answer(conn, subscribe)) {
                break;
            }
            free_subscribe(subscribe);
            answered = true;
        }
    }
    if (answered && conn->session) {
        tf_bind_draw(conn->front->shard, &conn->session->binds);
    }
}

void tf_mqtt_front_subscribe_abandon(struct mqtt_conn *conn)
{
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&conn->subscribes))) {
        struct mqtt_subscribe *subscribe = tf_container_of(node, struct mqtt_subscribe, in_conn);
        subscribe->conn = NULL;
        if (subscribe->waiting == 0) {
            free_subscribe(subscribe);
        }
    }
}

void tf_mqtt_front_on_unsubscribe(struct mqtt_conn *conn, const struct tf_mqtt_unsubscribe *packet)
{
    struct mqtt_front *front = conn->front;
    struct tf_bytes filter;
    size_t count = 0;
    for (size_t offset = 0; tf_mqtt_filter_next(packet->payload, &offset, &filter);) {
        count++;
    }
    uint8_t *reasons = tf_mqtt_front_alloc(front, count);
    if (!reasons) {
        tf_mqtt_front_conn_end(conn, TF_MQTT_SERVER_BUSY);
        return;
    }
    size_t i = 0;
    for (size_t offset = 0; tf_mqtt_filter_next(packet->payload, &offset, &filter); i++) {
        bool had = tf_shard_unbind(front->shard, &conn->session->queue, filter);
        reasons[i] = had ? TF_MQTT_SUCCESS : TF_MQTT_NO_SUBSCRIPTION_EXISTED;
        log_filter(conn, TF_LOG_UNSUBSCRIBE, filter);
    }
    count_subscriptions(conn->session);
    struct tf_bytes codes = tf_bytes_of(reasons, count);
    enum tf_err err = tf_mqtt_server_unsubscribed(conn->server, packet->packet_id, codes);
    if (err == TF_NO_MEMORY && tf_mqtt_front_conn_lend(conn, count + 64)) {
        err = tf_mqtt_server_unsubscribed(conn->server, packet->packet_id, codes);
    }
    if (err && err != TF_CLOSED) {
        tf_mqtt_front_conn_end(conn, TF_MQTT_SERVER_BUSY);
    }
    tf_mqtt_front_free(front, reasons, count);
}
