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
    struct tf_bytes filter; /* in its SUBSCRIBE, if that has a copy; else empty */
    uint8_t reason;
};

/* A SUBSCRIBE whose bindings are under way, or whose answer found no room. */
struct mqtt_subscribe {
    struct tf_list_node in_conn;
    struct mqtt_conn *conn; /* NULL: gone */
    struct mqtt_front *front;
    size_t size; /* of the allocation */
    size_t count;
    size_t waiting;
    uint16_t packet_id;
    struct wait waits[]; /* behind them the payload, if the session is kept */
};

static void free_subscribe(struct mqtt_subscribe *subscribe)
{
    tf_list_unlink(&subscribe->in_conn);
    tf_mqtt_front_free(subscribe->front, subscribe, subscribe->size);
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

void tf_mqtt_front_count_subscriptions(struct mqtt_session *session)
{
    uint32_t count = session->queue.binding_count;
    session->front->front.counters.subscriptions += (uint64_t)count - session->counted;
    session->counted = count;
}

static bool same_options(const struct tf_binding_options *a, const struct tf_binding_options *b)
{
    return a->subscription_id == b->subscription_id && a->qos == b->qos &&
           a->upgrade == b->upgrade && a->no_local == b->no_local &&
           a->retain_as_published == b->retain_as_published;
}

/* Binds a filter and records it, if that says anything new. */
static enum tf_err bind_recorded(struct mqtt_session *session, struct tf_bytes filter,
                                 const struct tf_binding_options *options,
                                 const struct tf_binding *existing, bool values, struct wait *wait)
{
    struct tf_shard *shard = session->front->shard;
    bool news = !existing || !same_options(&existing->options, options);
    enum tf_err err = news ? tf_mqtt_front_store_bind(session, filter, options) : TF_OK;
    if (err) {
        return err;
    }
    err = tf_shard_bind(shard, &session->queue, filter, options, values, &session->binds,
                        (uint64_t)(uintptr_t)wait);
    if (err && news) {
        tf_mqtt_front_store_unbind(session, filter);
    }
    return err;
}

/* Binds one filter; its answer comes by tf_mqtt_front_subscribe_bound unless it is refused. */
static void bind_filter(struct mqtt_conn *conn, const struct tf_mqtt_subscription *wanted,
                        uint32_t id, struct wait *wait)
{
    struct mqtt_front *front = conn->front;
    struct mqtt_session *session = conn->session;
    uint8_t max_qos = conn->servers->configs[conn->listener].maximum_qos;
    const struct tf_binding *existing =
        tf_shard_binding(front->shard, &session->queue, wanted->filter);
    struct tf_binding_options options = {.subscription_id = id,
                                         .qos = TF_MIN(wanted->qos, max_qos),
                                         .upgrade = front->context.config->upgrade_outgoing_qos,
                                         .no_local = wanted->no_local,
                                         .retain_as_published = wanted->retain_as_published};
    size_t place = (size_t)(wait - wait->subscribe->waits);
    wait->reason = refusal(conn, wanted->filter, existing != NULL);
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
    if (bind_recorded(session, wanted->filter, &options, existing, values, wait)) {
        session->binds_waiting--;
        wait->reason = TF_MQTT_QUOTA_EXCEEDED;
        wait->subscribe->waiting--;
        return;
    }
    tf_mqtt_front_count_subscriptions(session);
    log_filter(conn, TF_LOG_SUBSCRIBE, wanted->filter);
}

/* Remembers a SUBSCRIBE until its answer; NULL: no memory. */
static struct mqtt_subscribe *new_subscribe(struct mqtt_conn *conn,
                                            const struct tf_mqtt_subscribe *packet,
                                            struct tf_bytes *ret_payload)
{
    size_t count = count_filters(packet->payload);
    size_t copied = conn->session->queue.kept ? packet->payload.length : 0;
    size_t head = sizeof(struct mqtt_subscribe) + count * sizeof(struct wait);
    struct mqtt_subscribe *subscribe = tf_mqtt_front_alloc(conn->front, head + copied);
    if (!subscribe) {
        return NULL;
    }
    *subscribe = (struct mqtt_subscribe){.conn = conn,
                                         .front = conn->front,
                                         .size = head + copied,
                                         .count = count,
                                         .waiting = count,
                                         .packet_id = packet->packet_id};
    tf_list_push_back(&conn->subscribes, &subscribe->in_conn);
    *ret_payload = packet->payload;
    if (copied) {
        uint8_t *payload = (uint8_t *)subscribe + head;
        *ret_payload = tf_bytes_put(&payload, packet->payload);
    }
    return subscribe;
}

void tf_mqtt_front_on_subscribe(struct mqtt_conn *conn, const struct tf_mqtt_subscribe *packet)
{
    struct tf_bytes payload;
    struct mqtt_subscribe *subscribe = new_subscribe(conn, packet, &payload);
    if (!subscribe) {
        tf_mqtt_front_conn_end(conn, TF_MQTT_SERVER_BUSY);
        return;
    }
    uint32_t id = tf_mqtt_property_number(packet->properties, TF_MQTT_SUBSCRIPTION_ID, 0);
    bool kept = conn->session->queue.kept != NULL;
    struct tf_mqtt_subscription wanted;
    struct wait *wait = subscribe->waits;
    for (size_t offset = 0; tf_mqtt_subscription_next(payload, &offset, &wanted); wait++) {
        *wait = (struct wait){.subscribe = subscribe};
        if (kept) {
            wait->filter = wanted.filter;
        }
        bind_filter(conn, &wanted, id, wait);
    }
    tf_mqtt_front_conn_touch(conn);
}

void tf_mqtt_front_subscribe_bound(struct tf_bind_owner *owner, uint64_t tag, enum tf_err err)
{
    struct mqtt_session *session = tf_container_of(owner, struct mqtt_session, binds);
    struct wait *wait = (struct wait *)(uintptr_t)tag;
    if (err == TF_NO_MEMORY) {
        tf_mqtt_front_count_subscriptions(session);
    }
    if (!wait) {
        return; /* restored: nobody has asked for it in this life */
    }
    struct mqtt_subscribe *subscribe = wait->subscribe;
    session->binds_waiting--;
    if (err == TF_NO_MEMORY) {
        wait->reason = TF_MQTT_QUOTA_EXCEEDED;
        tf_mqtt_front_store_unbind(session, wait->filter);
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
            if (conn->session && conn->session->queue.kept) {
                mqtt_owe_recorded(conn);
            }
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
        if (had) {
            tf_mqtt_front_store_unbind(conn->session, filter);
        }
        reasons[i] = had ? TF_MQTT_SUCCESS : TF_MQTT_NO_SUBSCRIPTION_EXISTED;
        log_filter(conn, TF_LOG_UNSUBSCRIBE, filter);
    }
    tf_mqtt_front_count_subscriptions(conn->session);
    if (conn->session->queue.kept) {
        mqtt_owe_recorded(conn);
    }
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
