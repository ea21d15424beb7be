/*
 * An AMQP connection: bytes between its stream and the protocol machine, and the machine's events.
 *
 *   headers, SASL --> OPENED --+--> at home: answered, sessions and links follow
 *                              +--> elsewhere: the stream moves there with its open unread, and a
 *                                   fresh machine takes it (tf_amqp_expect_open)
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/amqp_front_internal.h"

#include <stdio.h>
#include <trefoil/amqp_value.h>

#define RETRY (TF_SECOND / 10) /* after memory was short */

void tf_amqp_front_conn_touch(struct amqp_conn *conn)
{
    if (!tf_list_linked(&conn->service)) {
        tf_list_push_back(&conn->front->service, &conn->service);
        conn->front->front.again = true;
    }
}

bool tf_amqp_front_conn_lend(struct amqp_conn *conn, size_t size)
{
    struct amqp_front *front = conn->front;
    if (conn->buffer) {
        if (size <= conn->buffer_size || !tf_amqp_take(conn->machine)) {
            return size <= conn->buffer_size;
        }
        tf_front_buffer_put(&front->buffers, amqp_alloc(front), conn->buffer, conn->buffer_size);
        conn->buffer = NULL;
    }
    size = TF_MAX(size, TF_FRONT_BUFFER_SIZE);
    conn->buffer = tf_front_buffer_get(&front->buffers, amqp_alloc(front), size);
    if (!conn->buffer) {
        return false;
    }
    conn->buffer_size = (uint32_t)size;
    enum tf_err err = tf_amqp_lend(conn->machine, conn->buffer, size);
    tf_assert(err == TF_OK);
    return true;
}

/* Takes the buffer back when all of it is sent. */
static void reclaim_buffer(struct amqp_conn *conn)
{
    if (conn->buffer && tf_amqp_take(conn->machine)) {
        tf_front_buffer_put(&conn->front->buffers, amqp_alloc(conn->front), conn->buffer,
                            conn->buffer_size);
        conn->buffer = NULL;
    }
}

void tf_amqp_front_conn_log(struct amqp_conn *conn, enum tf_log_level level, const char *text)
{
    struct tf_log *log = conn->front->context.log;
    if (!tf_log_enabled(log, level) ||
        (level == TF_LOG_INFO && !conn->front->context.config->connection_messages)) {
        return;
    }
    struct tf_log_field fields[2] = {{"peer", tf_bytes_str(conn->peer)}};
    size_t count = 1;
    if (conn->container) {
        fields[count++] = (struct tf_log_field){
            "container", tf_bytes_of(conn->container->id, conn->container->id_length)};
    }
    tf_log_write(log, level, "amqp", fields, count, "%s", text);
}

/* Notes that the machine wants the connection closed. */
static void check_closing(struct amqp_conn *conn)
{
    const struct tf_amqp_error *error = NULL;
    char text[160];
    if (conn->stream.closing || !tf_amqp_closing(conn->machine, &error)) {
        return;
    }
    conn->stream.closing = true;
    tf_stream_touch(&conn->stream);
    if (error && error->condition != TF_AMQP_NO_ERROR) {
        struct tf_bytes symbol = tf_amqp_condition_symbol(error->condition);
        snprintf(text, sizeof(text), "%.*s: %.*s", (int)symbol.length, (const char *)symbol.data,
                 (int)error->description.length, (const char *)error->description.data);
        tf_amqp_front_conn_log(conn, TF_LOG_NOTICE, text);
    }
}

void tf_amqp_front_conn_end(struct amqp_conn *conn, enum tf_amqp_condition condition,
                            const char *text)
{
    struct tf_amqp_error error = tf_amqp_error_of(condition, text);
    (void)tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    tf_amqp_close(conn->machine, &error);
    tf_stream_touch(&conn->stream);
    check_closing(conn);
}

static void arm(struct amqp_conn *conn)
{
    tf_time deadline = tf_amqp_deadline(conn->machine);
    if (conn->starved) {
        deadline = TF_MIN(deadline, amqp_now(conn->front) + RETRY);
    }
    tf_timers_arm(&conn->front->shard->timers, &conn->timer.timer, deadline);
}

void tf_amqp_front_conn_starve(struct amqp_conn *conn)
{
    if (!conn->starved && !conn->leaving && !conn->stream.closing) {
        conn->starved = true;
        arm(conn);
    }
}

void tf_amqp_front_conn_expire(struct amqp_conn *conn)
{
    if (conn->starved) {
        conn->starved = false;
        tf_amqp_front_conn_touch(conn);
    }
    (void)tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    if (conn->stream.held && conn->container) { /* its frames may lie unread; open is due still */
        tf_amqp_alive(conn->machine, amqp_now(conn->front));
    }
    tf_amqp_tick(conn->machine, amqp_now(conn->front));
    (void)tf_amqp_front_conn_events(conn);
    tf_stream_touch(&conn->stream);
    check_closing(conn);
    if (!conn->stream.closing) {
        arm(conn);
    }
}

static const struct tf_config_listener *listener_of(const struct amqp_conn *conn)
{
    const struct tf_config *config = conn->front->context.config;
    return conn->listener < config->listener_count ? &config->listeners[conn->listener] : NULL;
}

/* Without a store of passwords a name proves nothing: who may be anonymous may give any. */
static void on_authenticate(struct amqp_conn *conn)
{
    const struct tf_config_listener *listener = listener_of(conn);
    bool accepted = listener && listener->access.allow_anonymous;
    if (!accepted) {
        tf_amqp_front_conn_log(conn, TF_LOG_NOTICE, "not authorized");
    }
    tf_amqp_authenticated(conn->machine, accepted);
}

/* Our open (2.7.1). False: no room for it. */
static bool answer_open(struct amqp_conn *conn)
{
    static const char anonymous_relay[] = "ANONYMOUS-RELAY";
    uint8_t capabilities[32], properties[96];
    struct tf_writer writer = tf_writer_of(capabilities, sizeof(capabilities));
    tf_amqp_write_symbol(&writer, tf_bytes_str(anonymous_relay));
    struct tf_writer map = tf_writer_of(properties, sizeof(properties));
    size_t begin = tf_amqp_write_map_begin(&map);
    tf_amqp_write_symbol(&map, tf_bytes_str("product"));
    tf_amqp_write_string(&map, tf_bytes_str("Trefoil"));
    tf_amqp_write_symbol(&map, tf_bytes_str("version"));
    tf_amqp_write_string(&map, tf_bytes_str(TREFOIL_VERSION));
    tf_amqp_write_map_end(&map, begin, 4);
    struct tf_amqp_open open = {.container_id = tf_bytes_str("trefoil"),
                                .offered_capabilities =
                                    tf_bytes_of(capabilities, tf_writer_length(&writer)),
                                .properties = tf_bytes_of(properties, tf_writer_length(&map))};
    return tf_amqp_open(conn->machine, &open) == TF_OK;
}

static void on_opened(struct amqp_conn *conn, const struct tf_amqp_open *open)
{
    struct amqp_front *front = conn->front;
    unsigned home = tf_shard_home(front->shard, open->container_id);
    if (home != front->shard->config.number) {
        conn->stream.move_to = home;
        tf_stream_touch(&conn->stream);
        return;
    }
    if (open->container_id.length == 0 || open->container_id.length > UINT16_MAX) {
        tf_amqp_front_conn_end(conn, TF_AMQP_INVALID_FIELD, "a container needs an id");
        return;
    }
    if (!tf_amqp_front_container_enter(conn, open->container_id) || !answer_open(conn)) {
        tf_amqp_front_conn_end(conn, TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no memory");
        return;
    }
    conn->counted = true;
    front->front.counters.connected++;
    front->front.counters.connects++;
    tf_amqp_front_conn_log(conn, TF_LOG_INFO, "connected");
    arm(conn);
}

static void on_needs(struct amqp_conn *conn, const struct tf_amqp_event *event)
{
    const struct tf_alloc *alloc = amqp_alloc(conn->front);
    void *old = NULL;
    void *part = tf_front_part_alloc(alloc, event->size);
    if (!part ||
        tf_amqp_give(conn->machine, event->session, event->part, part, event->size, &old)) {
        tf_front_part_free(alloc, part);
        tf_amqp_front_conn_end(conn, TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no memory");
        return;
    }
    tf_front_part_free(alloc, old);
    tf_amqp_front_conn_touch(conn);
}

static void on_event(struct amqp_conn *conn, const struct tf_amqp_event *event)
{
    switch (event->type) {
    case TF_AMQP_AUTHENTICATE:
        on_authenticate(conn);
        break;
    case TF_AMQP_OPENED:
        on_opened(conn, &event->open);
        break;
    case TF_AMQP_BEGIN:
        tf_amqp_front_on_begin(conn, event);
        break;
    case TF_AMQP_ENDED:
        tf_amqp_front_on_ended(conn, event);
        break;
    case TF_AMQP_ATTACH:
        tf_amqp_front_on_attach(conn, event);
        break;
    case TF_AMQP_DETACHED:
        tf_amqp_front_on_detached(conn, event);
        break;
    case TF_AMQP_FLOW:
        tf_amqp_front_on_flow(conn, event);
        break;
    case TF_AMQP_TRANSFER:
        tf_amqp_front_on_transfer(conn, event);
        break;
    case TF_AMQP_OUTCOME:
        tf_amqp_front_on_outcome(conn, event);
        break;
    case TF_AMQP_RETURNED:
        tf_amqp_front_on_returned(conn, event->owner);
        break;
    case TF_AMQP_NEEDS:
        on_needs(conn, event);
        break;
    case TF_AMQP_CLOSED: /* answered by the machine, which wants to be closed */
        conn->farewell = true;
        break;
    case TF_AMQP_SETTLED: /* what was received is the routing's already */
        tf_amqp_front_on_settled(event);
        break;
    case TF_AMQP_BEGUN: /* of sessions and links that we begin: none */
    case TF_AMQP_ATTACHED:
        break;
    }
}

bool tf_amqp_front_conn_events(struct amqp_conn *conn)
{
    struct tf_amqp_event event;
    bool pulled = false;
    if (conn->pulling) {
        return false;
    }
    conn->pulling = true;
    while (conn->stream.move_to == TF_STREAM_STAYS && tf_amqp_event(conn->machine, &event)) {
        on_event(conn, &event);
        pulled = true;
    }
    conn->pulling = false;
    return pulled;
}

/* For tf_front_feeder. */
static size_t feed(void *ctx, struct tf_bytes in, uint32_t *ret_need)
{
    struct amqp_conn *conn = ctx;
    tf_time now = amqp_now(conn->front);
    uint64_t effort = tf_amqp_effort(conn->machine);
    size_t done = 0;
    conn->stalled = false;
    while (done < in.length) {
        if (conn->open_tickets >= AMQP_TICKETS_STOP) {
            conn->stalled = true; /* until there are answers */
            break;
        }
        if (tf_amqp_effort(conn->machine) - effort > AMQP_EFFORT) {
            conn->stalled = true;
            tf_amqp_front_conn_touch(conn); /* others come first */
            break;
        }
        size_t used = 0;
        size_t need = 0;
        struct tf_bytes rest = {in.data + done, in.length - done};
        enum tf_err err = tf_amqp_input(conn->machine, rest, &used, &need, now);
        if (err == TF_OK) {
            (void)tf_amqp_front_conn_events(conn);
            if (conn->stream.move_to != TF_STREAM_STAYS) {
                break; /* the open goes along to the other shard */
            }
            done += used;
        } else if (err == TF_MORE) {
            *ret_need = (uint32_t)need;
            break;
        } else if (err != TF_AGAIN) {
            (void)tf_amqp_front_conn_events(conn);
            return in.length;
        } else if (!tf_amqp_front_conn_events(conn)) {
            conn->stalled = true; /* until output is sent or somebody answers */
            break;
        }
    }
    return done;
}

/* For tf_front_feeder. */
static bool must_wait(const void *ctx)
{
    const struct amqp_conn *conn = ctx;
    return conn->stalled || conn->stream.move_to != TF_STREAM_STAYS;
}

static const struct tf_front_feeder feeder = {.feed = feed, .waits = must_wait};

static void on_input(struct tf_stream *stream, struct tf_bytes in)
{
    struct amqp_conn *conn = amqp_conn_of(stream);
    conn->front->front.counters.bytes_received += in.length;
    if (stream->closing) {
        return;
    }
    if (!tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE)) {
        stream->closing = true;
        tf_stream_touch(stream);
        return;
    }
    bool kept = tf_front_input_take(&conn->input, amqp_alloc(conn->front), in, &feeder, conn);
    check_closing(conn);
    if (!kept && !stream->closing) {
        tf_amqp_front_conn_end(conn, TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no memory");
    }
    stream->paused = conn->stalled;
    tf_stream_touch(stream);
}

void tf_amqp_front_conn_service(struct amqp_conn *conn)
{
    if (conn->stream.move_to != TF_STREAM_STAYS || conn->stream.closing) {
        return;
    }
    (void)tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    (void)tf_amqp_front_conn_events(conn);
    if (conn->stalled && !conn->stream.closing) {
        tf_front_input_again(&conn->input, amqp_alloc(conn->front), &feeder, conn);
        conn->stream.paused = conn->stalled;
    }
    tf_amqp_front_unblock(conn);
    tf_amqp_front_fences_begin(conn);
    check_closing(conn);
    tf_stream_touch(&conn->stream);
}

static size_t on_output(struct tf_stream *stream, struct tf_bytes *ret_spans, size_t count)
{
    struct amqp_conn *conn = amqp_conn_of(stream);
    if (!tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE)) { /* flows may be due */
        tf_amqp_front_conn_starve(conn);
    }
    size_t spans = tf_amqp_output(conn->machine, ret_spans, count);
    if (spans == 0) {
        reclaim_buffer(conn); /* nothing is in it: who needs one lends it anew */
    }
    return spans;
}

static void on_sent(struct tf_stream *stream, size_t length)
{
    struct amqp_conn *conn = amqp_conn_of(stream);
    conn->front->front.counters.bytes_sent += length;
    tf_amqp_sent(conn->machine, length, amqp_now(conn->front));
    (void)tf_amqp_front_conn_events(conn);
    check_closing(conn);
    if (conn->stalled || !tf_list_empty(&conn->blocked)) {
        tf_amqp_front_conn_touch(conn);
    } else {
        reclaim_buffer(conn);
    }
}

/* Frees the connection with its sessions and links. */
static void destroy(struct amqp_conn *conn)
{
    struct amqp_front *front = conn->front;
    struct tf_list_node *node;
    void *part;
    conn->leaving = true;
    tf_amqp_abandon(conn->machine);
    conn->stream.move_to = TF_STREAM_STAYS;
    (void)tf_amqp_front_conn_events(conn);
    while ((node = tf_list_first(&conn->sessions))) {
        tf_amqp_front_session_free(tf_container_of(node, struct amqp_session, in_conn),
                                   !conn->farewell);
    }
    for (size_t i = 0; i < TF_COUNT(conn->answers); i++) {
        tf_ticket_owner_release(&conn->answers[i].tickets);
    }
    tf_command_owner_release(&conn->commands);
    tf_amqp_front_fences_drop(conn);
    tf_amqp_front_requests_drop(conn);
    (void)tf_amqp_front_conn_events(conn);
    reclaim_buffer(conn);
    tf_assert(!conn->buffer);
    tf_assert(conn->borrowed == 0);
    while ((part = tf_amqp_reclaim(conn->machine))) {
        tf_front_part_free(amqp_alloc(front), part);
    }
    tf_front_input_drop(&conn->input, amqp_alloc(front));
    tf_amqp_front_container_leave(conn);
    if (conn->counted) {
        front->front.counters.connected--;
    }
    tf_timers_cancel(&front->shard->timers, &conn->timer.timer);
    tf_list_unlink(&conn->stream.dirty);
    tf_list_unlink(&conn->service);
    tf_list_remove(&conn->in_front);
    tf_amqp_front_servers_unref(front, conn->servers);
    tf_amqp_front_free(front, conn, conn->size);
}

static void on_detach(struct tf_stream *stream, uint8_t **ret_data, size_t *ret_length)
{
    struct amqp_conn *conn = amqp_conn_of(stream);
    *ret_length = conn->input.length;
    *ret_data = conn->input.length ? tf_amqp_front_alloc(conn->front, conn->input.length) : NULL;
    if (*ret_data) {
        memcpy(*ret_data, conn->input.data, conn->input.length);
    }
    destroy(conn);
}

/* What moved is the peer's open; headers and SASL were dealt with where it came from. */
static void on_adopt(struct tf_stream *stream, struct tf_bytes data)
{
    tf_amqp_expect_open(amqp_conn_of(stream)->machine);
    on_input(stream, data);
}

static void on_close(struct tf_stream *stream)
{
    struct amqp_conn *conn = amqp_conn_of(stream);
    tf_amqp_front_conn_log(conn, TF_LOG_INFO, "connection closed");
    destroy(conn);
}

static const struct tf_stream_ops ops = {.input = on_input,
                                         .output = on_output,
                                         .sent = on_sent,
                                         .detach = on_detach,
                                         .adopt = on_adopt,
                                         .close = on_close};

struct tf_stream *tf_amqp_front_conn_open(struct amqp_front *front, unsigned listener,
                                          struct tf_bytes peer)
{
    const struct tf_amqp_config *config = &front->servers->configs[listener];
    size_t machine_size = tf_amqp_size(config);
    size_t size = sizeof(struct amqp_conn) + machine_size;
    struct amqp_conn *conn = machine_size ? tf_amqp_front_alloc(front, size) : NULL;
    if (!conn) {
        return NULL;
    }
    memset(conn, 0, sizeof(*conn));
    if (tf_amqp_init(&conn->machine, conn + 1, machine_size, config, NULL, amqp_now(front))) {
        tf_amqp_front_free(front, conn, size);
        return NULL;
    }
    conn->size = (uint32_t)size;
    conn->stream.ops = &ops;
    conn->stream.dirty_list = &front->front.dirty;
    conn->stream.move_to = TF_STREAM_STAYS;
    conn->front = front;
    conn->servers = front->servers;
    conn->servers->users++;
    conn->listener = (uint16_t)listener;
    conn->timer.front = &front->front;
    conn->timer.kind = AMQP_TIMER_CONN;
    tf_list_init(&conn->sessions);
    tf_list_init(&conn->blocked);
    tf_list_init(&conn->commands.commands);
    tf_list_init(&conn->requests);
    tf_list_init(&conn->fences.commands);
    tf_list_init(&conn->fence_list);
    conn->fences.done = tf_amqp_front_fenced;
    conn->commands.done = tf_amqp_front_managed;
    for (uint8_t i = 0; i < TF_COUNT(conn->answers); i++) {
        conn->answers[i] = (struct amqp_answers){
            .tickets = {.done = tf_amqp_front_answered}, .conn = conn, .kind = i};
        tf_list_init(&conn->answers[i].tickets.tickets);
    }
    memcpy(conn->peer, peer.data, TF_MIN(peer.length, sizeof(conn->peer) - 1));
    tf_list_push_back(&front->conns, &conn->in_front);
    arm(conn);
    return &conn->stream;
}
