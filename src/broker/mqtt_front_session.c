/*
 * MQTT sessions: CONNECT, take-over, resumption, expiry and wills (MQTT 5.0 4.1, 3.1.2.5, 3.1.4).
 *
 *                 CONNECT                    connection lost
 *   (nothing) --------------> attended ------------------------> away
 *                  ^   ^          |  take-over: the old connection   |
 *                  |   +----------+  is closed with 0x8E             |
 *                  +-------------------------------------------------+ CONNECT again
 *   away -> (nothing): the expiry interval passed, or CONNECT with Clean Start
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/address.h"
#include "broker/durability.h"
#include "broker/mqtt_front_internal.h"

#define RANDOM_ID_BYTES 11u /* 22 characters: every server takes ids up to 23 (3.1.3.1) */

static struct mqtt_session *session_of(struct tf_tree_node *node)
{
    return tf_container_of(node, struct mqtt_session, by_id);
}

/* All entries have been taken: read on what retained messages are left. */
static void on_drained(struct tf_consumer *consumer)
{
    struct mqtt_session *session = tf_container_of(consumer, struct mqtt_session, consumer);
    if (!tf_list_empty(&session->binds.binds)) {
        tf_bind_draw(session->front->shard, &session->binds);
    }
}

static const struct tf_consumer_ops consumer_ops = {.deliver = tf_mqtt_front_deliver,
                                                    .drained = on_drained};

struct mqtt_session *tf_mqtt_front_session_new(struct mqtt_front *front, struct tf_bytes id)
{
    struct mqtt_session *session = tf_mqtt_front_alloc(front, sizeof(*session) + id.length);
    if (!session) {
        return NULL;
    }
    memset(session, 0, sizeof(*session));
    session->front = front;
    session->id_length = (uint32_t)id.length;
    memcpy(session->id, id.data, id.length);
    session->consumer.ops = &consumer_ops;
    session->timer.front = &front->front;
    session->timer.kind = MQTT_TIMER_SESSION;
    session->binds.bound = tf_mqtt_front_subscribe_bound;
    session->tickets.done = tf_mqtt_front_publish_done;
    tf_list_init(&session->binds.binds);
    tf_list_init(&session->tickets.tickets);
    tf_mqtt_session_init(&session->state);
    tf_queue_init(&session->queue, front->shard, &front->limits, &front->shard->queues);
    session->queue.keep_at_most_once = front->context.config->queue_qos0_messages;
    session->queue.publisher =
        (uint64_t)front->shard->config.number << 56 | ++front->next_publisher;
    (void)tf_tree_insert(&front->sessions, &session->by_id, tf_bytes_of(session->id, id.length));
    front->front.counters.sessions++;
    return session;
}

/* Nothing is to be said of the session's end. */
static void drop_will(struct mqtt_session *session)
{
    if (session->will) {
        tf_message_unref(session->will);
        session->will = NULL;
        session->changed = true;
    }
}

static void publish_will(struct mqtt_session *session)
{
    struct mqtt_front *front = session->front;
    struct tf_message *will = session->will;
    if (!will) {
        return;
    }
    session->will = NULL;
    session->changed = true;
    /* the store may have the message as it is: what is new is said in another one */
    struct tf_publication publication = {.envelope = will->publication.envelope,
                                         .body = will->publication.body,
                                         .body_count = will->publication.body_count};
    struct tf_published result;
    if (session->will_expiry_s != UINT32_MAX) {
        publication.envelope.expires =
            tf_time_add(mqtt_now(front), session->will_expiry_s * TF_SECOND);
    }
    publication.envelope.publisher = session->queue.publisher;
    if (session->queue.kept && publication.envelope.qos && front->shard->count > 1) {
        publication.transaction = tf_store_transaction(mqtt_store(front));
    }
    if (tf_shard_publish(front->shard, &publication, NULL, 0, &result)) {
        front->front.counters.publish_dropped++;
    }
    tf_publication_release(&publication);
    tf_message_unref(will);
}

void tf_mqtt_front_session_free(struct mqtt_session *session)
{
    struct mqtt_front *front = session->front;
    tf_assert(!session->conn);
    drop_will(session);
    tf_timers_cancel(&front->shard->timers, &session->timer.timer);
    tf_ticket_owner_release(&session->tickets);
    tf_bind_owner_release(front->shard, &session->binds);
    front->front.counters.subscriptions -= session->counted;
    tf_consumer_detach(&session->consumer);
    tf_queue_release(&session->queue);
    tf_front_part_free(mqtt_alloc(front), session->state.sent);
    tf_front_part_free(mqtt_alloc(front), session->state.received);
    tf_tree_remove(&front->sessions, &session->by_id);
    front->front.counters.sessions--;
    tf_mqtt_front_free(front, session, sizeof(*session) + session->id_length);
}

/* Ends a session without a connection, with its queue and its subscriptions. */
static void end_session(struct mqtt_session *session)
{
    tf_assert(!session->conn);
    publish_will(session); /* 3.1.2.5: or the session ends */
    tf_mqtt_front_store_forget(session);
    tf_mqtt_front_session_free(session);
}

/* Parts session and connection. */
static void part(struct mqtt_session *session)
{
    struct mqtt_conn *conn = session->conn;
    if (conn) {
        if (conn->incoming) { /* half a message has been accepted by nobody */
            tf_message_unref(conn->incoming);
            conn->incoming = NULL;
        }
        conn->session = NULL;
        conn->resending = NULL;
        session->conn = NULL;
        tf_mqtt_front_subscribe_abandon(conn);
        tf_consumer_detach(&session->consumer);
        tf_queue_unattended(&session->queue);
    }
}

void tf_mqtt_front_session_wait(struct mqtt_session *session)
{
    tf_time left = mqtt_expires_in(session);
    if (session->will) {
        left = TF_MIN(left, mqtt_left(session, session->will_delay_s));
    }
    tf_timers_arm(&session->front->shard->timers, &session->timer.timer,
                  tf_time_add(mqtt_now(session->front), left));
}

/* The session has no connection: its will and its expiry begin to run, or it ends. */
static void leave(struct mqtt_session *session)
{
    if (session->expiry_s == 0) {
        end_session(session);
        return;
    }
    session->left_at = mqtt_now(session->front);
    session->away = true;
    session->changed = true;
    if (session->will_delay_s == 0) {
        publish_will(session);
    }
    /* the tables go when nothing is in flight, so that a session that is away costs little */
    tf_front_part_free(mqtt_alloc(session->front), tf_mqtt_session_take_sent(&session->state));
    tf_front_part_free(mqtt_alloc(session->front), tf_mqtt_session_take_received(&session->state));
    tf_mqtt_front_store_session(session);
    tf_mqtt_front_session_wait(session);
}

void tf_mqtt_front_session_detach(struct mqtt_conn *conn)
{
    struct mqtt_session *session = conn->session;
    if (session) {
        part(session);
        leave(session);
    }
}

void tf_mqtt_front_session_expire(struct mqtt_session *session)
{
    if (session->conn) {
        return;
    }
    if (mqtt_expires_in(session) == 0) {
        session->front->front.counters.sessions_expired++;
        end_session(session);
        return;
    }
    if (session->will && mqtt_left(session, session->will_delay_s) == 0) {
        publish_will(session);
        tf_mqtt_front_store_session(session);
    }
    tf_mqtt_front_session_wait(session);
}

uint32_t tf_mqtt_front_session_expiry(const struct mqtt_front *front, uint32_t expiry_s)
{
    return TF_MIN(expiry_s, front->context.config->persistent_client_expiration_s);
}

void tf_mqtt_front_session_disconnect(struct mqtt_conn *conn, uint8_t reason, uint32_t expiry_s)
{
    struct mqtt_session *session = conn->session;
    if (!session) {
        return;
    }
    session->expiry_s = tf_mqtt_front_session_expiry(conn->front, expiry_s);
    if (reason == TF_MQTT_SUCCESS) { /* 3.14.4 */
        drop_will(session);
    }
}

/* The old connection of a session that another one takes over (3.1.4). */
static void take_over(struct mqtt_session *session)
{
    struct mqtt_conn *old = session->conn;
    if (!old) {
        return;
    }
    tf_mqtt_front_conn_log(old, TF_LOG_NOTICE, "taken over by another connection");
    part(session);
    tf_mqtt_front_conn_end(old, TF_MQTT_SESSION_TAKEN_OVER);
    /* 3.1.3.2.2: a new connection within the delay means no will; without a delay it goes out */
    if (session->will_delay_s == 0) {
        publish_will(session);
    }
}

/* Makes an id that has its home here, so that the connection need not move. */
static size_t assign_id(struct mqtt_front *front, const char *prefix, char *ret_id, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    struct tf_bytes head = prefix ? tf_bytes_str(prefix) : tf_bytes_str("");
    size_t length = TF_MIN(head.length, size - 2 * RANDOM_ID_BYTES);
    memcpy(ret_id, head.data, length);
    do {
        uint8_t random[RANDOM_ID_BYTES];
        front->context.random(front->context.random_ctx, random, sizeof(random));
        for (size_t i = 0; i < sizeof(random); i++) {
            ret_id[length + 2 * i] = digits[random[i] >> 4];
            ret_id[length + 2 * i + 1] = digits[random[i] & 15];
        }
    } while (tf_shard_home(front->shard, tf_bytes_of(ret_id, length + 2 * RANDOM_ID_BYTES)) !=
             front->shard->config.number);
    return length + 2 * RANDOM_ID_BYTES;
}

/* Keeps the will as a message. TF_PROTOCOL: its topic is not for clients. */
static enum tf_err make_will(struct mqtt_conn *conn, const struct tf_mqtt_connect *connect,
                             struct mqtt_session *session)
{
    struct mqtt_front *front = conn->front;
    const struct tf_mqtt_will *will = &connect->will;
    struct tf_envelope envelope = {.address = will->topic,
                                   .expires = TF_TIME_NEVER,
                                   .publisher = session->queue.publisher,
                                   .origin = TF_PROTOCOL_MQTT,
                                   .qos = will->qos,
                                   .retain = will->retain,
                                   .clear = will->retain && will->payload.length == 0};
    if (mqtt_store(front)) {
        envelope.slack = tf_durability_slack(front->context.config, conn->listener, will->topic);
    }
    if (!tf_mqtt_front_envelope_read(front, will->properties, &envelope, &session->will_expiry_s)) {
        return TF_NO_MEMORY;
    }
    struct tf_publication publication = {
        .envelope = envelope, .body = &will->payload, .body_count = 1};
    session->will = tf_publication_keep(&publication, front->shard->config.alloc);
    tf_publication_release(&publication);
    session->will_delay_s = tf_mqtt_property_number(will->properties, TF_MQTT_WILL_DELAY, 0);
    session->changed = true;
    return session->will ? TF_OK : TF_NO_MEMORY;
}

/* What keeps a CONNECT from being accepted; 0: nothing. */
static uint8_t refusal(const struct mqtt_conn *conn, const struct tf_mqtt_connect *connect)
{
    const struct tf_config *config = conn->front->context.config;
    const struct tf_config_access *access = &config->listeners[conn->listener].access;
    if (!access->allow_anonymous) {
        return connect->has_user_name ? TF_MQTT_BAD_USER_OR_PASSWORD : TF_MQTT_NOT_AUTHORIZED;
    }
    if (connect->client_id.length == 0 && !access->allow_zero_length_clientid) {
        return TF_MQTT_CLIENT_ID_NOT_VALID;
    }
    struct tf_bytes prefix = config->clientid_prefixes ? tf_bytes_str(config->clientid_prefixes)
                                                       : (struct tf_bytes){NULL, 0};
    if (prefix.length &&
        (connect->client_id.length < prefix.length ||
         !tf_bytes_equal(prefix, tf_bytes_of(connect->client_id.data, prefix.length)))) {
        return TF_MQTT_NOT_AUTHORIZED;
    }
    if (connect->has_will && (!tf_address_open(connect->will.topic) ||
                              tf_address_levels(connect->will.topic) > TF_LEVELS_MAX)) {
        return TF_MQTT_TOPIC_NAME_INVALID;
    }
    return 0;
}

/* True while this shard's part of the sessions allows one more. */
static bool may_add(const struct mqtt_front *front)
{
    uint64_t part = front->context.config->max_sessions;
    if (front->shard->count > 1) {
        part /= front->shard->count;
        part += part / 8 + 1;
    }
    return front->front.counters.sessions < part;
}

/* The session that a CONNECT gets: the one there is, or a new one. NULL: no memory, or too many. */
static struct mqtt_session *find_session(struct mqtt_conn *conn, struct tf_bytes id, bool clean,
                                         bool *ret_present)
{
    struct mqtt_front *front = conn->front;
    struct tf_tree_node *node = tf_tree_find(&front->sessions, id);
    struct mqtt_session *session = node ? session_of(node) : NULL;
    *ret_present = false;
    if (session) {
        bool kept = session->queue.kept != NULL;
        bool expired = session->away && mqtt_expires_in(session) == 0;
        take_over(session);
        /* 3.1.2.4: a clean start ends it; so does an expiry of 0, once its connection is gone */
        if (clean || session->expiry_s == 0 || expired) {
            end_session(session);
            session = NULL;
        } else {
            *ret_present = true;
            if (session->away && mqtt_left(session, session->will_delay_s) == 0) {
                publish_will(session); /* it was due before, and its timer is yet to say so */
            }
            drop_will(session); /* 3.1.3.2.2 */
        }
        if (kept) { /* what is forgotten, settled or released does not come back after CONNACK */
            mqtt_owe_recorded(conn);
        }
    }
    return session || !may_add(front) ? session : tf_mqtt_front_session_new(front, id);
}

static void attach(struct mqtt_conn *conn, struct mqtt_session *session)
{
    struct mqtt_front *front = conn->front;
    session->conn = conn;
    session->generation++;
    session->changed |= session->away;
    session->away = false;
    tf_mqtt_front_store_session(session);
    conn->session = session;
    conn->counted = true;
    conn->blocked = true;
    front->front.counters.connected++;
    front->front.counters.connects++;
    tf_timers_cancel(&front->shard->timers, &session->timer.timer);
    tf_timers_arm(&front->shard->timers, &conn->timer.timer, tf_mqtt_server_deadline(conn->server));
    tf_consumer_attach(&session->consumer, &session->queue);
    tf_mqtt_front_conn_touch(conn);
    tf_mqtt_front_conn_log(conn, TF_LOG_INFO, "connected");
}

static void refuse(struct mqtt_conn *conn, uint8_t reason)
{
    if (tf_mqtt_server_refuse(conn->server, reason)) {
        conn->stream.closing = true;
    }
    tf_mqtt_front_conn_log(conn, TF_LOG_NOTICE, "connection refused");
}

/* Nothing came of a CONNECT: it leaves no will (3.1.2.5), and no session that was not there. */
static void give_up(struct mqtt_session *session, bool present)
{
    drop_will(session);
    if (present) {
        leave(session);
    } else {
        end_session(session);
    }
}

/* True: the client has a session that is kept, by a store that is broken: nothing that would be
 * said or delivered in it could ever be recorded. */
static bool unservable(struct mqtt_front *front, struct tf_bytes id)
{
    struct tf_tree_node *node = tf_tree_find(&front->sessions, id);
    return node && session_of(node)->queue.kept &&
           tf_store_state(mqtt_store(front)) == TF_STORE_BROKEN;
}

/*
 * Makes the session what CONNECT asks for, also in the store. TF_NO_MEMORY, TF_PROTOCOL; TF_LIMIT,
 * TF_CLOSED: the store takes nothing new.
 */
static enum tf_err prepare(struct mqtt_conn *conn, const struct tf_mqtt_connect *connect,
                           uint32_t expiry_s, struct mqtt_session *session, bool present)
{
    expiry_s = tf_mqtt_front_session_expiry(conn->front, expiry_s);
    if (connect->has_will) {
        enum tf_err err = make_will(conn, connect, session);
        if (err) {
            return err;
        }
        conn->recorded |= session->queue.kept != NULL;
    } else {
        session->will_delay_s = 0;
    }
    if (session->expiry_s != expiry_s) {
        session->expiry_s = expiry_s;
        session->changed = true;
        conn->recorded |= session->queue.kept != NULL;
    }
    if (present) {
        return TF_OK;
    }
    enum tf_err err = tf_mqtt_front_store_keep(session, conn->listener);
    conn->recorded |= session->queue.kept != NULL;
    return err;
}

bool tf_mqtt_front_session_connect(struct mqtt_conn *conn, const struct tf_mqtt_connect *connect,
                                   uint32_t expiry_s)
{
    struct mqtt_front *front = conn->front;
    struct tf_bytes id = connect->client_id;
    struct tf_bytes assigned = {NULL, 0};
    char made[128];
    bool present;
    uint8_t reason = refusal(conn, connect);
    if (reason) {
        refuse(conn, reason);
        return true;
    }
    if (id.length == 0) {
        const struct tf_config *config = front->context.config;
        const char *prefix = config->listeners[conn->listener].access.auto_id_prefix;
        id = assigned = tf_bytes_of(made, assign_id(front, prefix, made, sizeof(made)));
    }
    unsigned home = tf_shard_home(front->shard, id);
    if (home != front->shard->config.number) {
        conn->stream.move_to = home;
        return false;
    }
    if (unservable(front, id)) {
        refuse(conn, TF_MQTT_SERVER_UNAVAILABLE);
        return true;
    }
    struct mqtt_session *session = find_session(conn, id, connect->clean_start, &present);
    enum tf_err err = session          ? prepare(conn, connect, expiry_s, session, present)
                      : may_add(front) ? TF_NO_MEMORY
                                       : TF_LIMIT;
    if (err) {
        if (session) {
            give_up(session, present);
        }
        refuse(conn, err == TF_NO_MEMORY ? TF_MQTT_SERVER_BUSY : TF_MQTT_QUOTA_EXCEEDED);
        return true;
    }
    struct tf_mqtt_server_accept accept = {.session = &session->state,
                                           .session_present = present,
                                           .assigned_client_id = assigned,
                                           .session_expiry_s = session->expiry_s};
    if (tf_mqtt_server_accept(conn->server, &accept, mqtt_now(front))) {
        conn->stream.closing = true;
        give_up(session, present);
        return true;
    }
    attach(conn, session);
    return true;
}
