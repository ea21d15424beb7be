/*
 * An MQTT connection: bytes between its stream and the protocol machine, and the machine's events.
 *
 * Input that the machine cannot take yet (half a packet, or no room for the answer) waits in
 * `input`; a connection without such bytes and without output has no buffers at all.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/mqtt_front_internal.h"

void tf_mqtt_front_conn_touch(struct mqtt_conn *conn)
{
    if (!tf_list_linked(&conn->service)) {
        tf_list_push_back(&conn->front->service, &conn->service);
        conn->front->front.again = true;
    }
}

bool tf_mqtt_front_conn_lend(struct mqtt_conn *conn, size_t size)
{
    struct mqtt_front *front = conn->front;
    if (conn->buffer) {
        if (size <= conn->buffer_size || !tf_mqtt_server_take(conn->server)) {
            return size <= conn->buffer_size;
        }
        tf_mqtt_front_free(front, conn->buffer, conn->buffer_size);
        conn->buffer = NULL;
    }
    size = TF_MAX(size, TF_FRONT_BUFFER_SIZE);
    conn->buffer = tf_front_buffer_get(&front->buffers, front->shard->config.alloc, size);
    if (!conn->buffer) {
        return false;
    }
    conn->buffer_size = (uint32_t)size;
    enum tf_err err = tf_mqtt_server_lend(conn->server, conn->buffer, size);
    tf_assert(err == TF_OK);
    return true;
}

/* Takes the buffer back when all of it is sent. */
static void reclaim_buffer(struct mqtt_conn *conn)
{
    struct mqtt_front *front = conn->front;
    if (!conn->buffer || !tf_mqtt_server_take(conn->server)) {
        return;
    }
    tf_front_buffer_put(&front->buffers, front->shard->config.alloc, conn->buffer,
                        conn->buffer_size);
    conn->buffer = NULL;
}

void tf_mqtt_front_conn_log(struct mqtt_conn *conn, enum tf_log_level level, const char *text)
{
    struct tf_log *log = conn->front->context.log;
    if (!tf_log_enabled(log, level) ||
        (level == TF_LOG_INFO && !conn->front->context.config->connection_messages)) {
        return;
    }
    struct tf_log_field fields[2] = {{"peer", tf_bytes_str(conn->peer)}};
    size_t count = 1;
    if (conn->session) {
        fields[count++] = (struct tf_log_field){
            "client", tf_bytes_of(conn->session->id, conn->session->id_length)};
    }
    tf_log_write(log, level, "mqtt", fields, count, "%s", text);
}

/* Notes that the machine wants the connection closed. */
static void check_closing(struct mqtt_conn *conn)
{
    uint8_t reason;
    if (!conn->stream.closing && tf_mqtt_server_closing(conn->server, &reason)) {
        conn->stream.closing = true;
        tf_stream_touch(&conn->stream);
        if (reason >= 0x80) {
            tf_mqtt_front_conn_log(conn, TF_LOG_NOTICE, tf_mqtt_reason_name(reason));
        }
    }
}

void tf_mqtt_front_conn_end(struct mqtt_conn *conn, uint8_t reason)
{
    tf_mqtt_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    tf_mqtt_server_close(conn->server, reason);
    tf_stream_touch(&conn->stream);
    check_closing(conn);
}

static void arm(struct mqtt_conn *conn)
{
    tf_timers_arm(&conn->front->shard->timers, &conn->timer.timer,
                  tf_mqtt_server_deadline(conn->server));
}

void tf_mqtt_front_conn_expire(struct mqtt_conn *conn)
{
    tf_mqtt_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    if (conn->stream.held && conn->session) { /* its PINGREQ may lie unread; CONNECT is due still */
        tf_mqtt_server_alive(conn->server, mqtt_now(conn->front));
    }
    tf_mqtt_server_tick(conn->server, mqtt_now(conn->front));
    tf_stream_touch(&conn->stream);
    check_closing(conn);
    if (!conn->stream.closing) {
        arm(conn);
    }
}

static void on_needs(struct mqtt_conn *conn, const struct tf_mqtt_server_event *event)
{
    void *old = NULL;
    void *part = tf_front_part_alloc(mqtt_alloc(conn->front), event->size);
    if (!part || tf_mqtt_server_give(conn->server, event->part, part, event->size, &old)) {
        tf_front_part_free(mqtt_alloc(conn->front), part);
        tf_mqtt_front_conn_end(conn, TF_MQTT_SERVER_BUSY);
        return;
    }
    tf_front_part_free(mqtt_alloc(conn->front), old);
}

/*
 * QoS 2's middle steps are answered at once. TF_AGAIN: a PUBREC that came before its PUBLISH was
 * sent again; the resumption tells of it when it gets there.
 */
static void answer(struct mqtt_conn *conn, enum tf_err err)
{
    if (err && err != TF_NOT_FOUND && err != TF_CLOSED && err != TF_AGAIN) {
        tf_mqtt_front_conn_end(conn, TF_MQTT_UNSPECIFIED_ERROR);
    }
}

/* A delivery has ended, so another one may begin. */
static void on_settled(struct mqtt_conn *conn, struct tf_entry *entry)
{
    if (conn->resending == entry) {
        conn->resending = NULL;
    }
    tf_entry_settle(entry);
    /* it may have been what kept retained messages from being read on: to the pump, see drained */
    conn->blocked |= conn->session && !tf_list_empty(&conn->session->binds.binds);
    tf_mqtt_front_conn_touch(conn);
}

/* PUBREC has come for a delivery: PUBREL is sent when that is recorded. */
static void on_received(struct mqtt_conn *conn, struct tf_entry *entry, uint16_t packet_id)
{
    if (conn->resending == entry) {
        conn->resending = NULL; /* the client has it: sent again it would be another one */
    }
    if (conn->session && conn->session->queue.kept) {
        tf_mqtt_front_store_release(entry, packet_id);
        mqtt_owe_recorded(conn);
    }
    answer(conn, tf_mqtt_server_release(conn->server, packet_id));
}

/* PUBREL has come: the packet id may be used anew when it is recorded that it is free. */
static void on_released(struct mqtt_conn *conn, uint16_t packet_id)
{
    if (conn->session && conn->session->queue.kept) {
        tf_mqtt_front_store_released(conn->session, packet_id);
        mqtt_owe_recorded(conn);
    }
    answer(conn, tf_mqtt_server_complete(conn->server, packet_id));
}

static void on_returned(struct mqtt_conn *conn, struct tf_message *message)
{
    conn->borrowed -= message->size;
    tf_message_unref(message);
}

/* Deals with one event. False: the connection moves to another shard. */
static bool on_event(struct mqtt_conn *conn, const struct tf_mqtt_server_event *event)
{
    switch (event->type) {
    case TF_MQTT_SERVER_CONNECT:
        return tf_mqtt_front_session_connect(conn, &event->connect, event->session_expiry_s);
    case TF_MQTT_SERVER_PUBLISH:
        tf_mqtt_front_on_publish(conn, event);
        break;
    case TF_MQTT_SERVER_BODY:
        tf_mqtt_front_on_body(conn, event);
        break;
    case TF_MQTT_SERVER_SUBSCRIBE:
        tf_mqtt_front_on_subscribe(conn, &event->subscribe);
        break;
    case TF_MQTT_SERVER_UNSUBSCRIBE:
        tf_mqtt_front_on_unsubscribe(conn, &event->unsubscribe);
        break;
    case TF_MQTT_SERVER_SETTLED:
        on_settled(conn, (struct tf_entry *)(uintptr_t)event->handle);
        break;
    case TF_MQTT_SERVER_RECEIVED:
        on_received(conn, (struct tf_entry *)(uintptr_t)event->handle, event->packet_id);
        break;
    case TF_MQTT_SERVER_RELEASED:
        on_released(conn, event->packet_id);
        break;
    case TF_MQTT_SERVER_RESEND:
        conn->resending = (struct tf_entry *)(uintptr_t)event->handle;
        tf_mqtt_front_resend(conn);
        break;
    case TF_MQTT_SERVER_RETURNED:
        on_returned(conn, (struct tf_message *)(uintptr_t)event->owner);
        break;
    case TF_MQTT_SERVER_NEEDS:
        on_needs(conn, event);
        break;
    case TF_MQTT_SERVER_DISCONNECT:
        tf_mqtt_front_session_disconnect(conn, event->reason, event->session_expiry_s);
        break;
    }
    return true;
}

enum mqtt_pulled tf_mqtt_front_conn_events(struct mqtt_conn *conn)
{
    struct tf_mqtt_server_event event;
    enum mqtt_pulled pulled = MQTT_PULLED_NONE;
    while (tf_mqtt_server_event(conn->server, &event)) {
        if (!on_event(conn, &event)) {
            return MQTT_PULLED_MOVE;
        }
        pulled = MQTT_PULLED_SOME;
    }
    return pulled;
}

/* For tf_front_feeder. */
static size_t feed(void *ctx, struct tf_bytes in, uint32_t *ret_need)
{
    struct mqtt_conn *conn = ctx;
    tf_time now = mqtt_now(conn->front);
    size_t done = 0;
    conn->stalled = false;
    while (done < in.length) {
        size_t used = 0;
        size_t need = 0;
        enum tf_err err = tf_mqtt_server_input(
            conn->server, (struct tf_bytes){in.data + done, in.length - done}, &used, &need, now);
        if (err == TF_OK) {
            if (tf_mqtt_front_conn_events(conn) == MQTT_PULLED_MOVE) {
                break; /* CONNECT goes along to the other shard */
            }
            done += used;
        } else if (err == TF_MORE) {
            *ret_need = (uint32_t)need;
            break;
        } else if (err != TF_AGAIN) {
            return in.length;
        } else if (tf_mqtt_front_conn_events(conn) == MQTT_PULLED_NONE) {
            conn->stalled =
                true; /* until output is sent or a ticket ends: tf_mqtt_front_conn_touch */
            break;
        }
    }
    return done;
}

/* For tf_front_feeder. */
static bool must_wait(const void *ctx)
{
    const struct mqtt_conn *conn = ctx;
    return conn->stalled || conn->stream.move_to != TF_STREAM_STAYS;
}

static const struct tf_front_feeder feeder = {.feed = feed, .waits = must_wait};

/* Adds the machine's packets to the front's; CONNECT counts where it is answered. */
static void count_packets(struct mqtt_conn *conn)
{
    struct tf_front_counters *counters = &conn->front->front.counters;
    uint32_t received, sent;
    if (conn->stream.move_to == TF_STREAM_STAYS) {
        tf_mqtt_server_take_counts(conn->server, &received, &sent);
        counters->packets_received += received;
        counters->packets_sent += sent;
    }
}

static void on_input(struct tf_stream *stream, struct tf_bytes in)
{
    struct mqtt_conn *conn = mqtt_conn_of(stream);
    conn->front->front.counters.bytes_received += in.length;
    if (stream->closing) {
        return;
    }
    if (!tf_mqtt_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE)) {
        stream->closing = true;
        tf_stream_touch(stream);
        return;
    }
    bool kept = tf_front_input_take(&conn->input, mqtt_alloc(conn->front), in, &feeder, conn);
    check_closing(conn);
    if (!kept && !stream->closing) {
        tf_mqtt_front_conn_end(conn, TF_MQTT_SERVER_BUSY);
    }
    stream->paused = conn->stalled;
    count_packets(conn);
    tf_stream_touch(stream);
}

void tf_mqtt_front_conn_service(struct mqtt_conn *conn)
{
    if (conn->stream.move_to != TF_STREAM_STAYS) {
        return;
    }
    tf_mqtt_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    tf_mqtt_front_conn_events(conn);
    tf_mqtt_front_subscribe_service(conn);
    if (conn->stalled && !conn->stream.closing) {
        tf_front_input_again(&conn->input, mqtt_alloc(conn->front), &feeder, conn);
        conn->stream.paused = conn->stalled;
    }
    if (conn->resending) {
        tf_mqtt_front_resend(conn);
        tf_mqtt_front_conn_events(conn);
    }
    if (conn->blocked && conn->session) {
        conn->blocked = false;
        tf_queue_pump(&conn->session->queue, mqtt_now(conn->front));
    }
    check_closing(conn);
    tf_stream_touch(&conn->stream);
}

/* True while the connection has more to write than it has found room for. */
static bool wants_room(const struct mqtt_conn *conn)
{
    return conn->blocked || conn->stalled || conn->resending || !tf_list_empty(&conn->subscribes);
}

/*
 * Says what the output waits for. A delivery is recorded after it was given to the machine, but
 * before output is asked for: so it has its number now. An answer may find room, or its turn, long
 * after it was given: what it waits for is said again with each output until that is done.
 */
static void need(struct mqtt_conn *conn)
{
    const struct tf_store_client *store = mqtt_store(conn->front);
    if (conn->recorded) {
        conn->recorded = false;
        mqtt_owe_recorded(conn);
    }
    if (conn->owed && tf_store_done(store, conn->owed)) {
        conn->owed = 0;
    }
    tf_stream_need(&conn->stream, conn->owed);
}

static size_t on_output(struct tf_stream *stream, struct tf_bytes *ret_spans, size_t count)
{
    struct mqtt_conn *conn = mqtt_conn_of(stream);
    if (conn->owed || conn->recorded) {
        need(conn);
    }
    size_t spans = tf_mqtt_server_output(conn->server, ret_spans, count);
    if (spans == 0) {
        reclaim_buffer(conn); /* nothing is in it: who needs one lends it anew */
    }
    return spans;
}

static void on_sent(struct tf_stream *stream, size_t length)
{
    struct mqtt_conn *conn = mqtt_conn_of(stream);
    conn->front->front.counters.bytes_sent += length;
    tf_mqtt_server_sent(conn->server, length, mqtt_now(conn->front));
    tf_mqtt_front_conn_events(conn);
    count_packets(conn);
    check_closing(conn);
    if (wants_room(conn)) {
        tf_mqtt_front_conn_touch(conn);
    } else {
        reclaim_buffer(conn);
    }
}

/* Frees the connection; its session has been taken from it. */
static void destroy(struct mqtt_conn *conn)
{
    struct mqtt_front *front = conn->front;
    tf_mqtt_server_abandon(conn->server);
    tf_mqtt_front_conn_events(conn);
    tf_mqtt_front_subscribe_abandon(conn);
    reclaim_buffer(conn);
    tf_assert(!conn->buffer);
    tf_front_part_free(mqtt_alloc(front),
                       tf_mqtt_server_reclaim(conn->server, TF_MQTT_PART_PENDING));
    tf_front_part_free(mqtt_alloc(front),
                       tf_mqtt_server_reclaim(conn->server, TF_MQTT_PART_ALIASES));
    tf_front_input_drop(&conn->input, front->shard->config.alloc);
    if (conn->incoming) {
        tf_message_unref(conn->incoming);
    }
    if (conn->counted) {
        front->front.counters.connected--;
    }
    tf_timers_cancel(&front->shard->timers, &conn->timer.timer);
    tf_list_unlink(&conn->stream.dirty);
    tf_list_unlink(&conn->service);
    tf_list_remove(&conn->in_front);
    tf_mqtt_front_servers_unref(front, conn->servers);
    tf_mqtt_front_free(front, conn, sizeof(*conn) + front->machine_size);
}

static void on_detach(struct tf_stream *stream, uint8_t **ret_data, size_t *ret_length)
{
    struct mqtt_conn *conn = mqtt_conn_of(stream);
    *ret_length = conn->input.length;
    *ret_data = conn->input.length ? tf_mqtt_front_alloc(conn->front, conn->input.length) : NULL;
    if (*ret_data) {
        memcpy(*ret_data, conn->input.data, conn->input.length);
    }
    destroy(conn);
}

static void on_close(struct tf_stream *stream)
{
    struct mqtt_conn *conn = mqtt_conn_of(stream);
    tf_mqtt_front_conn_log(conn, TF_LOG_INFO, "connection closed");
    tf_mqtt_server_abandon(conn->server); /* while its session is there: the machine looks at it */
    tf_mqtt_front_conn_events(conn);
    tf_mqtt_front_session_detach(conn);
    destroy(conn);
}

static const struct tf_stream_ops ops = {.input = on_input,
                                         .output = on_output,
                                         .sent = on_sent,
                                         .detach = on_detach,
                                         .close = on_close};

struct tf_stream *tf_mqtt_front_conn_open(struct mqtt_front *front, unsigned listener,
                                          struct tf_bytes peer)
{
    size_t size = sizeof(struct mqtt_conn) + front->machine_size;
    struct mqtt_conn *conn = tf_mqtt_front_alloc(front, size);
    if (!conn) {
        return NULL;
    }
    memset(conn, 0, sizeof(*conn));
    if (tf_mqtt_server_init(&conn->server, conn + 1, front->machine_size,
                            &front->servers->configs[listener], mqtt_now(front))) {
        tf_mqtt_front_free(front, conn, size);
        return NULL;
    }
    conn->stream.ops = &ops;
    conn->stream.dirty_list = &front->front.dirty;
    conn->stream.move_to = TF_STREAM_STAYS;
    conn->front = front;
    conn->servers = front->servers;
    conn->servers->users++;
    conn->listener = (uint16_t)listener;
    conn->timer.front = &front->front;
    conn->timer.kind = MQTT_TIMER_CONN;
    tf_list_init(&conn->subscribes);
    memcpy(conn->peer, peer.data, TF_MIN(peer.length, sizeof(conn->peer) - 1));
    tf_list_push_back(&front->conns, &conn->in_front);
    arm(conn);
    return &conn->stream;
}
