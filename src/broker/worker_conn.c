/*
 * A worker's connections: see worker.h for their states.
 *
 * Here alone are transports: a front sees streams.
 */
#include "broker/worker_conn.h"

#include "base/assert.h"
#include "base/mem.h"
#include "broker/stream_gate.h"
#include "broker/worker_channel.h"
#include "port/socket.h"

#include <errno.h>
#include <string.h>

#define PART "broker"
#define ACCEPT_BUDGET 64u /* connections accepted in a turn: others want to be served, too */
#define ACCEPT_REST (200 * TF_MILLISECOND)
#define WRITE_ROUNDS 4u /* of a connection in a turn, while its output refills */
#define DIRTY_ROUNDS 3u /* of the dirty lists in a turn: writing may touch other streams */
#define WARN_EVERY (10 * TF_SECOND)
#define SLOW_REST (100 * TF_MILLISECOND) /* of a publisher, while the store is slow */

enum { OPEN, HELD, SLOWED, CLOSING, DRAINING }; /* source.state */

/* What came of writing. */
enum outcome {
    WROTE_ALL,     /* nothing is left */
    WROTE_BLOCKED, /* the socket takes no more */
    WROTE_ENOUGH,  /* it refills as fast as we write: others first */
    WROTE_GATED,   /* what is left waits for the store */
    WROTE_LOST     /* the connection is gone */
};

static struct tf_worker_conn *conn_of(struct tf_worker_source *source)
{
    return tf_container_of(source, struct tf_worker_conn, source);
}

/* ---- states ---- */

static void change_state(struct tf_worker *worker, struct tf_worker_conn *conn, unsigned state)
{
    tf_list_remove(&conn->node);
    conn->source.state = (uint8_t)state;
    if (state == OPEN || state == HELD) {
        tf_list_push_back(state == OPEN ? &worker->open : &worker->held, &conn->node);
        return;
    }
    /* In each list the same for all: a FIFO. */
    bool slowed = state == SLOWED;
    conn->deadline = tf_time_add(worker->now, slowed ? SLOW_REST : TF_WORKER_LINGER);
    tf_list_push_back(slowed ? &worker->slowed : &worker->ending, &conn->node);
}

/* True if input may be read and handed over now. */
static bool reading(const struct tf_worker_conn *conn)
{
    const struct tf_stream *stream = conn->stream;
    return conn->source.state == OPEN && !stream->paused && !stream->closing &&
           stream->move_to == TF_STREAM_STAYS;
}

/* What a connection is to be watched for; `stuck`: output is left that the socket did not take. */
static unsigned wanted(const struct tf_worker_conn *conn, bool stuck)
{
    if (conn->source.state == DRAINING) {
        return TF_LOOP_READ;
    }
    return (stuck ? TF_LOOP_WRITE : 0u) | (reading(conn) ? TF_LOOP_READ : 0u);
}

static void watch(struct tf_worker *worker, struct tf_worker_conn *conn, bool stuck)
{
    tf_loop_change(worker->config.loop, &conn->source.loop, wanted(conn, stuck));
}

static bool blocked(const struct tf_worker_conn *conn)
{
    return (conn->source.loop.interest & TF_LOOP_WRITE) != 0;
}

/* ---- the end of connections ---- */

static void stream_close(struct tf_worker_conn *conn)
{
    struct tf_stream *stream = conn->stream;
    conn->stream = NULL;
    tf_list_unlink(&stream->dirty);
    tf_list_unlink(&stream->gate_node);
    stream->ops->close(stream);
}

static void count_out(struct tf_worker *worker, unsigned listener)
{
    struct tf_worker_shared *shared = worker->config.shared;
    atomic_fetch_sub_explicit(&shared->connections, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&shared->listener_connections[listener], 1, memory_order_relaxed);
}

/* Frees the record of a connection whose stream and descriptor are gone, or go elsewhere. */
static void conn_free(struct tf_worker *worker, struct tf_worker_conn *conn)
{
    const struct tf_alloc *alloc = worker->config.alloc;
    tf_list_remove(&conn->node);
    worker->connection_count--;
    alloc->free(alloc->ctx, conn, sizeof(*conn));
}

/* Ends a connection with all that it has. `reset`: unsent output is thrown away. */
static void conn_end(struct tf_worker *worker, struct tf_worker_conn *conn, bool reset)
{
    int fd = conn->source.loop.fd;
    if (conn->stream) {
        stream_close(conn);
    }
    tf_loop_remove(worker->config.loop, &conn->source.loop);
    if (reset) {
        tf_socket_abort(fd);
    } else {
        tf_socket_close(fd);
    }
    count_out(worker, conn->source.listener);
    conn_free(worker, conn);
}

/* All has been written and the stream is to close: waits for the peer's end, for its sake. */
static void conn_finish(struct tf_worker *worker, struct tf_worker_conn *conn)
{
    stream_close(conn);
    tf_socket_finish(conn->source.loop.fd);
    if (tf_socket_drain(conn->source.loop.fd) != TF_AGAIN) {
        conn_end(worker, conn, false);
        return;
    }
    change_state(worker, conn, DRAINING);
    watch(worker, conn, false);
}

/* ---- new connections ---- */

struct tf_front *tf_worker_front(struct tf_worker *worker, unsigned listener)
{
    int protocol = (int)worker->config.config->listeners[listener].protocol;
    for (size_t i = 0; i < worker->config.type_count; i++) {
        if (worker->config.types[i]->protocol == protocol) {
            return worker->fronts[i];
        }
    }
    return NULL;
}

/*
 * Makes a connection of a descriptor that is counted already; takes it in any case. `input` is what
 * its stream in another shard gave for this one.
 */
static void conn_open(struct tf_worker *worker, unsigned listener, int fd,
                      const struct tf_socket_address *peer, struct tf_bytes input)
{
    const struct tf_alloc *alloc = worker->config.alloc;
    struct tf_front *front = tf_worker_front(worker, listener);
    char text[TF_SOCKET_TEXT];
    struct tf_worker_conn *conn = alloc->alloc(alloc->ctx, sizeof(*conn));
    if (!conn || !front || !front->ops->open || worker->draining) {
        goto refuse;
    }
    memset(conn, 0, sizeof(*conn));
    conn->source.kind = TF_WORKER_CONN;
    conn->source.listener = (uint16_t)listener;
    conn->source.state = OPEN;
    if (tf_loop_add(worker->config.loop, &conn->source.loop, fd, TF_LOOP_READ)) {
        goto refuse;
    }
    tf_socket_text(peer, text);
    conn->stream = front->ops->open(front, listener, tf_bytes_str(text));
    if (!conn->stream) {
        tf_loop_remove(worker->config.loop, &conn->source.loop);
        goto refuse;
    }
    conn->stream->transport = conn;
    tf_list_push_back(&worker->open, &conn->node);
    worker->connection_count++;
    if (input.length) {
        tf_stream_adopt(conn->stream, input);
    }
    return;
refuse:
    if (conn) {
        alloc->free(alloc->ctx, conn, sizeof(*conn));
    }
    tf_socket_close(fd);
    count_out(worker, listener);
}

void tf_worker_adopt(struct tf_worker *worker, const struct tf_mail *mail)
{
    const struct tf_alloc *alloc = worker->config.alloc;
    struct tf_socket_address peer;
    int fd = (int)mail->value;
    if (tf_socket_peer(fd, &peer)) {
        tf_socket_close(fd); /* it ended on the way */
        count_out(worker, mail->count);
    } else {
        conn_open(worker, mail->count, fd, &peer, tf_bytes_of(mail->object, (size_t)mail->tag));
    }
    if (mail->object) {
        alloc->free(alloc->ctx, mail->object, (size_t)mail->tag);
    }
}

/* Mails a descriptor, counted, with `length` allocated bytes of input. Takes all of it. */
static void conn_mail(struct tf_worker *worker, unsigned to, unsigned listener, int fd,
                      uint8_t *data, size_t length)
{
    const struct tf_alloc *alloc = worker->config.alloc;
    struct tf_mail mail = {.type = TF_MAIL_ADOPT,
                           .count = listener,
                           .object = data,
                           .tag = length,
                           .value = (uint64_t)fd};
    if (!tf_shard_post(&worker->shard, to, &mail)) {
        if (data) {
            alloc->free(alloc->ctx, data, length);
        }
        tf_socket_abort(fd);
        count_out(worker, listener);
    }
}

/* The stream belongs to another shard: the transport goes there with what was read. */
static void conn_move(struct tf_worker *worker, struct tf_worker_conn *conn)
{
    struct tf_stream *stream = conn->stream;
    unsigned to = stream->move_to, listener = conn->source.listener;
    int fd = conn->source.loop.fd;
    uint8_t *data = NULL;
    size_t length = 0;
    conn->stream = NULL;
    tf_list_unlink(&stream->dirty);
    tf_list_unlink(&stream->gate_node);
    stream->ops->detach(stream, &data, &length);
    tf_loop_remove(worker->config.loop, &conn->source.loop);
    conn_free(worker, conn);
    if (!data && length) { /* no memory: without these bytes the protocol would be cut */
        tf_socket_abort(fd);
        count_out(worker, listener);
        return;
    }
    conn_mail(worker, to, listener, fd, data, length);
}

/* Counts a new connection in; false: one too many. */
static bool count_in(struct tf_worker *worker, unsigned listener)
{
    struct tf_worker_shared *shared = worker->config.shared;
    uint32_t most = worker->config.config->listeners[listener].max_connections;
    unsigned all = atomic_fetch_add_explicit(&shared->connections, 1, memory_order_relaxed);
    unsigned own =
        atomic_fetch_add_explicit(&shared->listener_connections[listener], 1, memory_order_relaxed);
    if (all < atomic_load_explicit(&shared->maximum, memory_order_relaxed) && own < most) {
        return true;
    }
    count_out(worker, listener);
    uint64_t more;
    if (tf_log_allow(&worker->limit_warning, worker->now, WARN_EVERY, &more)) {
        tf_log_text(worker->config.log, TF_LOG_WARN, PART,
                    "connection refused: %u are open, the %s; %llu more refused since this was "
                    "said last: raise max_connections, global_max_connections or the limit of "
                    "open files",
                    own < most ? all : own,
                    own < most ? "limit of the broker" : "limit of the listener",
                    (unsigned long long)more);
    }
    return false;
}

static void accept_fails(struct tf_worker *worker, struct tf_worker_listener *listener,
                         enum tf_err err)
{
    uint64_t more;
    int reason = errno;
    /* It stays ready while we can take nothing: look away for a while, not to spin. */
    tf_loop_change(worker->config.loop, &listener->source.loop, 0);
    listener->resting = true;
    worker->listeners_rest = true;
    worker->accept_at = tf_time_add(worker->now, ACCEPT_REST);
    if (tf_log_allow(&worker->accept_warning, worker->now, WARN_EVERY, &more)) {
        tf_log_text(worker->config.log, err == TF_LIMIT ? TF_LOG_WARN : TF_LOG_ERROR, PART,
                    "cannot accept connections: %s%s", strerror(reason),
                    err == TF_LIMIT ? "; they wait: raise the limit of open files (ulimit -n)"
                                    : "");
    }
}

static void listener_ready(struct tf_worker *worker, struct tf_worker_listener *listener)
{
    unsigned workers = tf_post_office_count(worker->config.office);
    unsigned index = listener->source.listener;
    for (unsigned i = 0; i < ACCEPT_BUDGET; i++) {
        struct tf_socket_address peer;
        int fd;
        enum tf_err err = tf_socket_accept(listener->source.loop.fd, &fd, &peer);
        if (err == TF_AGAIN) {
            return;
        }
        if (err) {
            accept_fails(worker, listener, err);
            return;
        }
        worker->sockets++;
        if (!count_in(worker, index)) {
            tf_socket_close(fd);
            continue;
        }
        unsigned to = worker->next;
        worker->next = (worker->next + 1) % workers;
        if (to == worker->config.number) {
            conn_open(worker, index, fd, &peer, tf_bytes_of(NULL, 0));
        } else {
            conn_mail(worker, to, index, fd, NULL, 0);
        }
    }
}

enum tf_err tf_worker_listen(struct tf_worker *worker, size_t index, int fd)
{
    const struct tf_alloc *alloc = worker->config.alloc;
    struct tf_worker_listener *listener = alloc->alloc(alloc->ctx, sizeof(*listener));
    enum tf_err err;
    tf_assert(index < worker->config.config->listener_count);
    if (!listener) {
        return TF_NO_MEMORY;
    }
    memset(listener, 0, sizeof(*listener));
    listener->source.kind = TF_WORKER_LISTENER;
    listener->source.listener = (uint16_t)index;
    err = tf_loop_add(worker->config.loop, &listener->source.loop, fd, TF_LOOP_READ);
    if (err) {
        alloc->free(alloc->ctx, listener, sizeof(*listener));
        return err;
    }
    tf_list_push_back(&worker->listeners, &listener->node);
    return TF_OK;
}

void tf_worker_accept_again(struct tf_worker *worker)
{
    struct tf_list_node *node = tf_list_first(&worker->listeners);
    for (; node; node = tf_list_next(&worker->listeners, node)) {
        struct tf_worker_listener *listener =
            tf_container_of(node, struct tf_worker_listener, node);
        if (listener->resting) {
            listener->resting = false;
            tf_loop_change(worker->config.loop, &listener->source.loop, TF_LOOP_READ);
        }
    }
    worker->listeners_rest = false;
}

void tf_worker_unlisten(struct tf_worker *worker)
{
    const struct tf_alloc *alloc = worker->config.alloc;
    struct tf_list_node *node;
    while ((node = tf_list_pop_front(&worker->listeners))) {
        struct tf_worker_listener *listener =
            tf_container_of(node, struct tf_worker_listener, node);
        tf_loop_remove(worker->config.loop, &listener->source.loop);
        alloc->free(alloc->ctx, listener, sizeof(*listener));
    }
    worker->listeners_rest = false;
}

/* ---- output ---- */

/* Writes what a stream has and the store lets go. */
static enum outcome write_out(const struct tf_worker *worker, struct tf_worker_conn *conn)
{
    struct tf_stream *stream = conn->stream;
    struct tf_bytes spans[TF_SOCKET_SPANS];
    for (unsigned round = 0; round < WRITE_ROUNDS; round++) {
        size_t count = stream->ops->output(stream, spans, TF_SOCKET_SPANS), total = 0, written;
        bool any = count > 0;
        count = tf_stream_gate(stream, worker->shard.config.store, spans, count);
        if (count == 0) {
            return any ? WROTE_GATED : WROTE_ALL;
        }
        for (size_t i = 0; i < count; i++) {
            total += spans[i].length;
        }
        enum tf_err err = tf_socket_writev(conn->source.loop.fd, spans, count, &written);
        if (err) {
            return err == TF_AGAIN ? WROTE_BLOCKED : WROTE_LOST;
        }
        tf_stream_gate_sent(stream, written);
        if (written < total) {
            return WROTE_BLOCKED;
        }
    }
    return WROTE_ENOUGH;
}

/* Keeps a stream in the list of those that wait for the store, or out of it. */
static void note_gate(struct tf_worker *worker, struct tf_stream *stream)
{
    if (!tf_stream_gated(stream)) {
        tf_list_unlink(&stream->gate_node);
    } else if (!tf_list_linked(&stream->gate_node)) {
        tf_list_push_back(&worker->gated, &stream->gate_node);
    }
}

/* True: a gate that is closed will never open. Its peer is better told by the end of it. */
static bool broken(const struct tf_worker *worker)
{
    return worker->config.store && tf_store_state(&worker->client) == TF_STORE_BROKEN;
}

/* Brings a connection up to what its stream says, after anything that may have changed that. */
static void conn_serve(struct tf_worker *worker, struct tf_worker_conn *conn)
{
    enum outcome outcome = write_out(worker, conn);
    struct tf_stream *stream = conn->stream;
    if (outcome == WROTE_LOST || (outcome == WROTE_GATED && broken(worker))) {
        conn_end(worker, conn, true);
        return;
    }
    tf_list_unlink(&stream->dirty); /* writing may have touched it, and all is looked at below */
    note_gate(worker, stream);
    if (outcome == WROTE_ENOUGH) {
        tf_stream_touch(stream);
    }
    if (outcome == WROTE_ALL && stream->move_to != TF_STREAM_STAYS && !stream->closing) {
        conn_move(worker, conn);
        return;
    }
    if (outcome == WROTE_ALL && stream->closing) {
        conn_finish(worker, conn);
        return;
    }
    if (stream->closing && conn->source.state != CLOSING) {
        change_state(worker, conn, CLOSING);
    }
    watch(worker, conn, outcome == WROTE_BLOCKED);
}

void tf_worker_ungate(struct tf_worker *worker)
{
    const struct tf_store_client *store = worker->shard.config.store;
    struct tf_list_node *node, *next;
    while (broken(worker) && (node = tf_list_first(&worker->gated))) {
        struct tf_stream *stream = tf_container_of(node, struct tf_stream, gate_node);
        conn_end(worker, stream->transport, true);
    }
    if (!store || store->done == worker->gate_done) {
        return;
    }
    worker->gate_done = store->done;
    for (node = tf_list_first(&worker->gated); node; node = next) {
        struct tf_stream *stream = tf_container_of(node, struct tf_stream, gate_node);
        next = tf_list_next(&worker->gated, node);
        if (tf_stream_gate_open(stream, store)) {
            tf_stream_touch(stream);
        }
    }
}

void tf_worker_write(struct tf_worker *worker)
{
    for (unsigned round = 0; round < DIRTY_ROUNDS; round++) {
        bool any = false;
        for (size_t i = 0; i < worker->config.type_count; i++) {
            struct tf_list batch;
            struct tf_list_node *node;
            tf_list_init(&batch);
            tf_list_splice_back(&batch, &worker->fronts[i]->dirty);
            while ((node = tf_list_pop_front(&batch))) {
                struct tf_stream *stream = tf_container_of(node, struct tf_stream, dirty);
                conn_serve(worker, stream->transport);
                any = true;
            }
            tf_list_splice_back(&batch, &worker->fronts[i]->dirty_channels);
            while ((node = tf_list_pop_front(&batch))) {
                struct tf_channel *channel = tf_container_of(node, struct tf_channel, dirty);
                tf_worker_channel_write(worker, channel->transport);
                any = true;
            }
        }
        if (!any) {
            return;
        }
    }
}

/* ---- events ---- */

/* What its connections have cost the store, or will; grows while input is handed over. */
static uint64_t cost_of(const struct tf_worker *worker)
{
    const struct tf_shard_counters *counters = &worker->shard.counters;
    return worker->client.appended + counters->valued + counters->tickets;
}

/*
 * Hands input over while the store is slow, or has much to do: who has published something that is
 * to be kept is not read again for a while. One that is with another shard has opened a ticket
 * here, or was mailed to the home of its value.
 */
static void read_slowly(struct tf_worker *worker, struct tf_worker_conn *conn, struct tf_bytes in)
{
    struct tf_stream *stream = conn->stream;
    const struct tf_front_counters *counters =
        &tf_worker_front(worker, conn->source.listener)->counters;
    uint64_t published = counters->publish_received;
    uint64_t cost = cost_of(worker);
    stream->ops->input(stream, in);
    if (counters->publish_received > published && conn->source.state == OPEN &&
        cost_of(worker) > cost) {
        change_state(worker, conn, SLOWED);
        stream->held = true;
        watch(worker, conn, blocked(conn));
    }
}

static void conn_read(struct tf_worker *worker, struct tf_worker_conn *conn)
{
    size_t length;
    enum tf_err err =
        tf_socket_read(conn->source.loop.fd, worker->buffer, TF_WORKER_READ_SIZE, &length);
    if (err == TF_AGAIN) {
        return;
    }
    if (err) {
        conn_end(worker, conn, false);
        return;
    }
    if (worker->slow || worker->pressed) {
        read_slowly(worker, conn, tf_bytes_of(worker->buffer, length));
    } else {
        conn->stream->ops->input(conn->stream, tf_bytes_of(worker->buffer, length));
    }
}

/* Congested: what is readable waits in the kernel until the mail has gone. */
static void conn_hold(struct tf_worker *worker, struct tf_worker_conn *conn)
{
    change_state(worker, conn, HELD);
    conn->stream->held = true;
    watch(worker, conn, blocked(conn));
}

static void conn_ready(struct tf_worker *worker, struct tf_worker_conn *conn, unsigned ready)
{
    if (conn->source.state == DRAINING) {
        if (tf_socket_drain(conn->source.loop.fd) != TF_AGAIN) {
            conn_end(worker, conn, false);
        }
        return;
    }
    if ((ready & TF_LOOP_HANGUP) && !(ready & TF_LOOP_READ & conn->source.loop.interest)) {
        conn_end(worker, conn, true); /* it would be reported for ever, and nothing is read */
        return;
    }
    if (ready & TF_LOOP_WRITE) {
        tf_stream_touch(conn->stream); /* written with all others, at the end of the turn */
    }
    if (!(ready & TF_LOOP_READ) || !reading(conn)) {
        return;
    }
    if (worker->congested && !(ready & TF_LOOP_HANGUP)) {
        conn_hold(worker, conn);
    } else {
        conn_read(worker, conn);
    }
}

void tf_worker_event(struct tf_worker *worker, const struct tf_loop_event *event)
{
    struct tf_worker_source *source = tf_container_of(event->source, struct tf_worker_source, loop);
    if (source->kind == TF_WORKER_CONN) {
        conn_ready(worker, conn_of(source), event->ready);
    } else if (source->kind == TF_WORKER_CHANNEL) {
        tf_worker_channel_event(worker, tf_container_of(source, struct tf_worker_channel, source),
                                event->ready);
    } else {
        listener_ready(worker, tf_container_of(source, struct tf_worker_listener, source));
    }
}

static void read_again(struct tf_worker *worker, struct tf_worker_conn *conn)
{
    change_state(worker, conn, OPEN);
    conn->stream->held = false;
    watch(worker, conn, blocked(conn));
}

void tf_worker_resume_slowed(struct tf_worker *worker)
{
    struct tf_list_node *node;
    while (!worker->pressed && (node = tf_list_first(&worker->slowed))) {
        struct tf_worker_conn *conn = tf_container_of(node, struct tf_worker_conn, node);
        if (worker->slow && conn->deadline > worker->now) {
            return;
        }
        read_again(worker, conn);
    }
}

void tf_worker_resume(struct tf_worker *worker)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&worker->held))) {
        read_again(worker, tf_container_of(node, struct tf_worker_conn, node));
    }
    if (worker->channels_held) {
        tf_worker_channels_resume(worker);
    }
}

void tf_worker_give_up(struct tf_worker *worker, tf_time now)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&worker->ending))) {
        struct tf_worker_conn *conn = tf_container_of(node, struct tf_worker_conn, node);
        if (conn->deadline > now) {
            return;
        }
        conn_end(worker, conn, conn->source.state == CLOSING);
    }
}

tf_time tf_worker_next_end(const struct tf_worker *worker)
{
    struct tf_list_node *node = tf_list_first(&worker->ending);
    struct tf_list_node *slow = tf_list_first(&worker->slowed);
    tf_time at = TF_TIME_NEVER;
    if (node) {
        at = tf_container_of(node, struct tf_worker_conn, node)->deadline;
    }
    if (slow && !worker->pressed) { /* else the store wakes us */
        at = TF_MIN(at, tf_container_of(slow, struct tf_worker_conn, node)->deadline);
    }
    return at;
}

void tf_worker_break(struct tf_worker *worker)
{
    struct tf_list *lists[] = {&worker->open, &worker->held, &worker->slowed, &worker->ending};
    for (size_t i = 0; i < TF_COUNT(lists); i++) {
        struct tf_list_node *node;
        while ((node = tf_list_first(lists[i]))) {
            conn_end(worker, tf_container_of(node, struct tf_worker_conn, node), false);
        }
    }
    tf_worker_channels_break(worker);
}
