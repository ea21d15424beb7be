/*
 * The engine of a bench run: connections, turns, phases.
 *
 * A turn takes all that is ready, runs it through the clients, then goes over the connections that
 * were touched: a publisher whose window is open makes its messages just before its one write, so
 * that the time they carry is that of the write and not of an earlier moment of a long turn.
 *
 *   CONNECTING --all are there--> WARM_UP --time--> MEASURING --time or count--> DRAINING --> OVER
 *   CONNECTING --all are there--> IDLING --time--> OVER
 *
 * MEASURING begins and ends in full flow, so what is under way at its ends cancels out; by a count
 * it lasts until the last arrival. It knows the clients, windows and clocks, but no packet.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/bench.h"
#include "cli/bench_client.h"
#include "cli/bench_cpu.h"
#include "port/clock.h"
#include "port/loop.h"
#include "port/process.h"
#include "port/socket.h"

enum {
    MAX_ADDRESSES = 8,
    PENDING_MAX = 64, /* connections under way at once, below any listener's backlog */
    READ_SIZE = 256 * 1024,
    UNSENT_MAX =
        1024 * 1024, /* of a publisher in open loop; beyond that messages wait their turn */
    BACKLOG_STEP_US = 20000,
    SPIN_US = 1000 /* open loop: a message that is due so soon is not slept for */
};

enum phase { CONNECTING, IDLING, WARM_UP, MEASURING, DRAINING, OVER };

struct conn {
    struct tf_loop_source source;
    int fd; /* -1: none */
    bool connected;
    bool touched;
    struct conn *next_touched;
    struct tf_bench_client client;
    uint8_t *rest; /* the part of a packet that has arrived */
    size_t rest_length;
    size_t rest_size;
};

/* Where the counters stood. */
struct mark {
    tf_time at;
    uint64_t arrived;
    uint64_t own_us;
    double server_us;
};

struct engine {
    const struct tf_bench_config *config;
    const struct tf_bench_protocol *protocol;
    struct tf_bench_world world;
    struct tf_bench_result *result;
    struct tf_loop *loop;
    struct tf_socket_address addresses[MAX_ADDRESSES];
    size_t address_count;
    size_t address;     /* the one in use */
    struct conn *conns; /* publishers, subscribers, idle ones */
    uint32_t conn_count;
    uint32_t started;
    uint32_t ready;
    struct conn *touched;
    uint8_t *buffer; /* READ_SIZE and what is left of earlier reads */
    size_t buffer_size;
    enum phase phase;
    tf_time now;
    tf_time phase_end;
    tf_time progress; /* the last sign of life */
    tf_time ticked;   /* the last time that the clients were told the time */
    struct mark begin;
    uint64_t sent_at_begin;
    tf_time schedule;   /* open loop: when message 0 was due */
    uint64_t scheduled; /* messages that have been sent of it */
};

static enum tf_err fail(struct engine *engine, enum tf_err err, const char *why)
{
    snprintf(engine->world.why, sizeof engine->world.why, "%s", why);
    return err;
}

static enum tf_err no_memory(struct engine *engine)
{
    return fail(engine, TF_NO_MEMORY, "no memory");
}

/* With what the system says, if it says anything. */
static enum tf_err network(struct engine *engine, const char *what)
{
    snprintf(engine->world.why, sizeof engine->world.why, "%s%s%s", what, errno ? ": " : "",
             errno ? strerror(errno) : "");
    return TF_IO;
}

static void touch(struct engine *engine, struct conn *conn)
{
    if (conn->touched)
        return;
    conn->touched = true;
    conn->next_touched = engine->touched;
    engine->touched = conn;
}

static void on_arrived(void *context, uint32_t publisher)
{
    struct engine *engine = context;
    if (engine->config->window)
        touch(engine, &engine->conns[publisher]);
}

static struct mark mark(const struct engine *engine)
{
    return (struct mark){.at = tf_clock_now(),
                         .arrived = engine->world.ledger.arrived,
                         .own_us = tf_process_cpu_us(),
                         .server_us = tf_bench_cpu_us(engine->config->server_pid)};
}

/* ---- connections ---- */

static void conn_close(struct engine *engine, struct conn *conn)
{
    if (conn->fd < 0)
        return;
    tf_loop_remove(engine->loop, &conn->source);
    tf_socket_close(conn->fd);
    conn->fd = -1;
}

static enum tf_err conn_start(struct engine *engine, struct conn *conn)
{
    for (;;) {
        enum tf_err err = tf_socket_connect(&engine->addresses[engine->address], &conn->fd);
        if (!err)
            break;
        conn->fd = -1;
        if (err == TF_LIMIT)
            return fail(engine, err, "more connections than files may be open: raise ulimit -n");
        if (engine->ready > 0 || engine->address + 1 == engine->address_count)
            return network(engine, "cannot connect");
        engine->address++;
    }
    if (tf_loop_add(engine->loop, &conn->source, conn->fd, TF_LOOP_WRITE))
        return no_memory(engine);
    return TF_OK;
}

/* Starts more connections; the first alone, since it finds out which address answers. */
static enum tf_err start_more(struct engine *engine)
{
    uint32_t most = engine->ready ? PENDING_MAX : 1;
    while (engine->started < engine->conn_count && engine->started - engine->ready < most) {
        enum tf_err err = conn_start(engine, &engine->conns[engine->started]);
        if (err)
            return err;
        engine->started++;
    }
    return TF_OK;
}

static enum tf_err conn_connected(struct engine *engine, struct conn *conn)
{
    enum tf_err err = tf_socket_connected(conn->fd);
    if (err == TF_AGAIN)
        return TF_OK;
    if (err) {
        if (engine->ready > 0 || engine->address + 1 == engine->address_count)
            return network(engine, "cannot connect");
        conn_close(engine, conn);
        engine->address++;
        return conn_start(engine, conn);
    }
    conn->connected = true;
    tf_loop_change(engine->loop, &conn->source, TF_LOOP_READ);
    err = engine->protocol->greet(&engine->world, &conn->client, engine->now);
    if (err)
        return no_memory(engine);
    touch(engine, conn);
    return TF_OK;
}

static enum tf_err conn_keep_rest(struct engine *engine, struct conn *conn, const uint8_t *data,
                                  size_t length)
{
    if (length > conn->rest_size) {
        uint8_t *rest = realloc(conn->rest, length * 2);
        if (!rest)
            return no_memory(engine);
        conn->rest = rest;
        conn->rest_size = length * 2;
    }
    if (length)
        memcpy(conn->rest, data, length);
    conn->rest_length = length;
    return TF_OK;
}

static enum tf_err conn_read(struct engine *engine, struct conn *conn)
{
    size_t before = conn->rest_length;
    if (before + READ_SIZE > engine->buffer_size) {
        uint8_t *buffer = realloc(engine->buffer, before + READ_SIZE);
        if (!buffer)
            return no_memory(engine);
        engine->buffer = buffer;
        engine->buffer_size = before + READ_SIZE;
    }
    size_t got;
    enum tf_err err = tf_socket_read(conn->fd, engine->buffer + before, READ_SIZE, &got);
    if (err == TF_AGAIN)
        return TF_OK;
    if (err)
        return network(engine, "the peer closed a connection");
    if (before)
        memcpy(engine->buffer, conn->rest, before);
    engine->now = tf_clock_now();
    engine->progress = engine->now;
    bool was_ready = conn->client.state == TF_BENCH_READY;
    size_t used = 0;
    err = engine->protocol->input(&engine->world, &conn->client,
                                  tf_bytes_of(engine->buffer, before + got), &used, engine->now);
    if (err == TF_NO_MEMORY)
        return no_memory(engine);
    if (err)
        return err;
    if (!was_ready && conn->client.state == TF_BENCH_READY)
        engine->ready++;
    /* Acknowledgements may have opened a publisher, and any input may have made output. */
    if (conn->client.role == TF_BENCH_PUBLISHER || engine->protocol->flush ||
        conn->client.out.start < conn->client.out.end)
        touch(engine, conn);
    return conn_keep_rest(engine, conn, engine->buffer + used, before + got - used);
}

static enum tf_err conn_write(struct engine *engine, struct conn *conn)
{
    struct tf_bench_buffer *out = &conn->client.out;
    if (conn->connected && engine->protocol->flush) {
        enum tf_err err = engine->protocol->flush(&engine->world, &conn->client, engine->now);
        if (err)
            return err == TF_NO_MEMORY ? no_memory(engine) : err;
    }
    size_t length = out->end - out->start;
    if (length) {
        struct tf_bytes span = tf_bytes_of(out->data + out->start, length);
        size_t sent = 0;
        enum tf_err err = tf_socket_writev(conn->fd, &span, 1, &sent);
        if (err && err != TF_AGAIN)
            return network(engine, "the peer closed a connection");
        out->start += sent;
        if (out->start == out->end)
            out->start = out->end = 0;
    }
    unsigned interest = out->end ? TF_LOOP_READ | TF_LOOP_WRITE : TF_LOOP_READ;
    tf_loop_change(engine->loop, &conn->source, interest);
    return TF_OK;
}

/* ---- load ---- */

/* By a count: how many messages are still to be sent. */
static bool may_publish(const struct engine *engine)
{
    if (engine->phase == WARM_UP)
        return true;
    if (engine->phase != MEASURING)
        return false;
    return !engine->config->messages ||
           engine->world.ledger.sent - engine->sent_at_begin < engine->config->messages;
}

static bool is_open(const struct engine *engine, const struct conn *conn)
{
    return conn->client.state == TF_BENCH_READY &&
           engine->protocol->open(&engine->world, &conn->client);
}

static enum tf_err publish(struct engine *engine, struct conn *conn, tf_time sent)
{
    enum tf_err err = engine->protocol->publish(&engine->world, &conn->client, sent);
    if (!err && engine->world.backlog) /* its subscriber may take one more */
        touch(engine, &engine->conns[engine->config->publishers + conn->client.index]);
    return err == TF_NO_MEMORY ? no_memory(engine) : err;
}

/* Closed loop: fills the window of one publisher. */
static enum tf_err fill_window(struct engine *engine, struct conn *conn)
{
    if (!engine->config->window || !may_publish(engine) || !is_open(engine, conn))
        return TF_OK;
    tf_time sent = tf_clock_now();
    enum tf_err err = TF_OK;
    while (!err && is_open(engine, conn) && may_publish(engine))
        err = publish(engine, conn, sent);
    return err == TF_AGAIN ? TF_OK : err;
}

/* Open loop: when the next message is due. The publishers take turns. */
static tf_time next_due(const struct engine *engine)
{
    if (!engine->config->rate || !may_publish(engine))
        return TF_TIME_NEVER;
    return engine->schedule + engine->scheduled * TF_SECOND / engine->config->rate;
}

static enum tf_err publish_due(struct engine *engine)
{
    engine->now = tf_clock_now();
    for (tf_time due; (due = next_due(engine)) <= engine->now; engine->scheduled++) {
        struct conn *conn = &engine->conns[engine->scheduled % engine->config->publishers];
        size_t unsent = conn->client.out.end - conn->client.out.start;
        enum tf_err err = TF_AGAIN;
        if (unsent <= UNSENT_MAX && is_open(engine, conn))
            err = publish(engine, conn, due);
        touch(engine, conn);
        if (err == TF_AGAIN) {
            engine->result->behind = true;
            return TF_OK;
        }
        if (err)
            return err;
    }
    return TF_OK;
}

/* ---- turns ---- */

static enum tf_err on_event(struct engine *engine, const struct tf_loop_event *event)
{
    struct conn *conn = tf_container_of(event->source, struct conn, source);
    if (!conn->connected)
        return conn_connected(engine, conn);
    if (event->ready & TF_LOOP_WRITE)
        touch(engine, conn);
    if (event->ready & (TF_LOOP_READ | TF_LOOP_HANGUP))
        return conn_read(engine, conn);
    return TF_OK;
}

/* Once a second, where a protocol wants to know that time passes. */
static void tick_all(struct engine *engine)
{
    engine->ticked = engine->now;
    for (uint32_t i = 0; i < engine->started; i++) {
        if (!engine->conns[i].connected)
            continue;
        engine->protocol->tick(&engine->conns[i].client, engine->now);
        touch(engine, &engine->conns[i]);
    }
}

static enum tf_err turn(struct engine *engine, tf_time deadline)
{
    tf_time due = next_due(engine);
    if (engine->protocol->tick) {
        if (engine->now - engine->ticked >= TF_SECOND)
            tick_all(engine);
        deadline = TF_MIN(deadline, engine->ticked + TF_SECOND);
    }
    if (engine->touched)
        deadline = engine->now;
    if (due != TF_TIME_NEVER) {
        due = due > SPIN_US ? due - SPIN_US : 0;
        deadline = TF_MIN(deadline, due);
    }
    tf_loop_wait(engine->loop, deadline, engine->now);
    struct tf_loop_event event;
    while (tf_loop_next(engine->loop, &event)) {
        enum tf_err err = on_event(engine, &event);
        if (err)
            return err;
    }
    enum tf_err err = publish_due(engine);
    while (!err && engine->touched) {
        struct conn *conn = engine->touched;
        engine->touched = conn->next_touched;
        conn->touched = false;
        if (conn->client.role == TF_BENCH_PUBLISHER)
            err = fill_window(engine, conn);
        if (!err)
            err = conn_write(engine, conn);
    }
    return err;
}

/* ---- phases ---- */

static tf_time stall_at(const struct engine *engine)
{
    return tf_time_add(engine->progress, engine->config->stall_s * TF_SECOND);
}

static enum tf_err connect_all(struct engine *engine)
{
    while (engine->ready < engine->conn_count) {
        enum tf_err err = start_more(engine);
        if (!err)
            err = turn(engine, stall_at(engine));
        if (err)
            return err;
        if (engine->now >= stall_at(engine)) {
            errno = 0;
            return network(engine, "the peer does not answer");
        }
    }
    return TF_OK;
}

static enum tf_err idle(struct engine *engine)
{
    engine->phase = IDLING;
    engine->phase_end = engine->config->seconds
                            ? tf_time_add(engine->now, engine->config->seconds * TF_SECOND)
                            : TF_TIME_NEVER;
    while (engine->now < engine->phase_end) {
        enum tf_err err = turn(engine, engine->phase_end);
        if (err)
            return err;
    }
    return TF_OK;
}

/* One phase of load, until its end, until all has arrived if it drains, or until nothing moves. */
static enum tf_err load(struct engine *engine, enum phase phase, tf_time end, bool drains)
{
    engine->phase = phase;
    engine->phase_end = end;
    engine->progress = engine->now;
    const struct tf_bench_ledger *ledger = &engine->world.ledger;
    while (engine->now < end &&
           (!drains || may_publish(engine) || ledger->arrived < ledger->expected)) {
        enum tf_err err = turn(engine, TF_MIN(end, stall_at(engine)));
        if (err)
            return err;
        /* At a low rate nothing moves between two messages, and that is no stall. */
        if (ledger->arrived >= ledger->expected)
            engine->progress = engine->now;
        if (engine->now >= stall_at(engine)) {
            engine->result->stalled = true;
            break;
        }
    }
    return TF_OK;
}

static void begin_measuring(struct engine *engine)
{
    engine->begin = mark(engine);
    engine->sent_at_begin = engine->world.ledger.sent;
    engine->world.latency_us = &engine->result->latency_us;
    engine->world.ack_us = &engine->result->ack_us;
}

static void end_measuring(struct engine *engine)
{
    struct mark end = mark(engine);
    struct tf_bench_result *result = engine->result;
    engine->world.latency_us = engine->world.ack_us = NULL;
    if (result->stalled && engine->progress > engine->begin.at)
        end.at = engine->progress;
    result->seconds = (double)(end.at - engine->begin.at) / 1e6;
    result->measured = end.arrived - engine->begin.arrived;
    if (result->seconds > 0)
        result->own_load = (double)(end.own_us - engine->begin.own_us) / 1e6 / result->seconds;
    result->server_us = end.server_us < 0 ? -1 : end.server_us - engine->begin.server_us;
}

/* True when as much waits in the queues as is to wait there. */
static bool is_full(const struct engine *engine)
{
    const struct tf_bench_ledger *ledger = &engine->world.ledger;
    uint64_t backlog = (uint64_t)engine->config->backlog * engine->config->topics;
    return ledger->expected - ledger->arrived >= backlog;
}

static enum tf_err run_load(struct engine *engine)
{
    const struct tf_bench_config *config = engine->config;
    for (uint32_t i = 0; i < config->publishers; i++)
        touch(engine, &engine->conns[i]);
    engine->now = engine->schedule = tf_clock_now();
    engine->phase = WARM_UP;
    tf_time end = tf_time_add(engine->now, config->warm_up_ms * TF_MILLISECOND);
    enum tf_err err = load(engine, WARM_UP, end, false);
    while (!err && !engine->result->stalled && !is_full(engine))
        err = load(engine, WARM_UP, tf_time_add(engine->now, BACKLOG_STEP_US), false);
    if (err || engine->result->stalled)
        return err;
    begin_measuring(engine);
    for (uint32_t i = 0; i < config->publishers; i++)
        touch(engine, &engine->conns[i]);
    end = config->messages ? TF_TIME_NEVER : tf_time_add(engine->now, config->seconds * TF_SECOND);
    err = load(engine, MEASURING, end, config->messages > 0);
    end_measuring(engine);
    if (err || engine->result->stalled)
        return err;
    engine->world.backlog = 0;
    for (uint32_t i = 0; config->backlog && i < config->subscribers; i++)
        touch(engine, &engine->conns[config->publishers + i]);
    return load(engine, DRAINING, TF_TIME_NEVER, true);
}

/* After the last arrival: the handshakes that are still open. */
static enum tf_err finish_handshakes(struct engine *engine)
{
    engine->progress = engine->now;
    for (uint32_t i = 0; i < engine->config->publishers; i++) {
        while (engine->conns[i].client.unacked > 0) {
            enum tf_err err = turn(engine, stall_at(engine));
            if (err)
                return err;
            if (engine->now >= stall_at(engine)) {
                engine->result->stalled = true;
                return TF_OK;
            }
        }
    }
    return TF_OK;
}

/* ---- the whole ---- */

static enum tf_err engine_init(struct engine *engine)
{
    const struct tf_bench_config *config = engine->config;
    engine->phase = CONNECTING;
    engine->now = engine->progress = engine->ticked = tf_clock_now();
    engine->world.config = config;
    engine->world.backlog = config->backlog;
    engine->world.run = (uint32_t)(tf_clock_wall() / 1000);
    engine->world.context = engine;
    engine->world.arrived = on_arrived;
    engine->conn_count = config->publishers + config->subscribers + config->idle;
    if (config->server_pid && tf_bench_cpu_us(config->server_pid) < 0)
        return fail(engine, TF_UNSUPPORTED, "there is no process with that --server-pid");
    if (tf_process_raise_files() < engine->conn_count + 16u)
        return fail(engine, TF_LIMIT, "more connections than files may be open: raise ulimit -n");
    engine->conns = calloc(engine->conn_count, sizeof *engine->conns);
    if (!engine->conns)
        return no_memory(engine);
    for (uint32_t i = 0; i < engine->conn_count; i++)
        engine->conns[i].fd = -1;
    for (uint32_t i = 0; i < engine->conn_count; i++) {
        struct tf_bench_client *client = &engine->conns[i].client;
        bool publisher = i < config->publishers;
        client->role = config->idle ? TF_BENCH_IDLE
                       : publisher  ? TF_BENCH_PUBLISHER
                                    : TF_BENCH_SUBSCRIBER;
        client->index = publisher ? i : i - config->publishers;
    }
    if (!config->idle && !tf_bench_ledger_init(
                             &engine->world.ledger, config->publishers, config->subscribers,
                             config->topics, config->window ? config->window + config->backlog : 0))
        return no_memory(engine);
    if (tf_loop_new(&engine->loop))
        return network(engine, "no event loop");
    if (tf_socket_resolve(config->host, config->port, false, engine->addresses, MAX_ADDRESSES,
                          &engine->address_count))
        return fail(engine, TF_IO, "no such host");
    return TF_OK;
}

/* Says goodbye once; whoever cannot take it now does without. */
static void leave(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->conn_count; i++) {
        engine->protocol->leave(&engine->world, &engine->conns[i].client);
        if (conn_write(engine, &engine->conns[i]))
            return;
    }
}

static void engine_release(struct engine *engine)
{
    for (uint32_t i = 0; engine->conns && i < engine->conn_count; i++) {
        struct conn *conn = &engine->conns[i];
        conn_close(engine, conn);
        if (engine->protocol->release)
            engine->protocol->release(&conn->client);
        tf_bench_client_release(&conn->client);
        free(conn->rest);
    }
    tf_loop_free(engine->loop);
    tf_bench_ledger_release(&engine->world.ledger);
    free(engine->conns);
    free(engine->buffer);
}

enum tf_err tf_bench_run(const struct tf_bench_config *config,
                         void (*ready)(const struct tf_bench_config *config),
                         struct tf_bench_result *ret)
{
    struct engine engine = {.config = config, .protocol = config->protocol, .result = ret};
    *ret = (struct tf_bench_result){.server_us = -1};
    enum tf_err err = engine_init(&engine);
    if (!err)
        err = connect_all(&engine);
    if (!err) {
        ready(config);
        err = config->idle ? idle(&engine) : run_load(&engine);
    }
    if (!err && !ret->stalled)
        err = finish_handshakes(&engine);
    const struct tf_bench_ledger *ledger = &engine.world.ledger;
    ret->sent = ledger->sent;
    ret->expected = ledger->expected;
    ret->arrived = ledger->arrived;
    ret->late = ledger->late;
    ret->duplicates = ledger->duplicates;
    ret->aliens = ledger->aliens;
    ret->refused = engine.world.refused;
    memcpy(ret->why, engine.world.why, sizeof ret->why);
    if (!err)
        leave(&engine);
    engine_release(&engine);
    return err;
}
