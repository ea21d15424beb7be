/*
 * A node: a shard with its MQTT front, and in runs with CoAP or AMQP that one (coap_node.c,
 * amqp_node.c), driven as a worker drives it, on simulated transports.
 *
 * A turn reads some of what is there, takes the mail (or leaves it for the next turn, as if it had
 * come a moment later), runs timers and fronts, writes, posts. After each turn the check functions
 * of everything the shard owns must hold, and its accounts must add up.
 */
#include "sim/amqp.h"
#include "sim/coap.h"
#include "sim/store.h"

#include "base/assert.h"
#include "broker/mqtt_front_internal.h"
#include "broker/stream_gate.h"

#include <stdlib.h>
#include <string.h>

#define MAIL_ADOPT TF_MAIL_WORKER
#define READ_MOST 65536u
#define LINGER (2 * TF_SECOND)
#define EPOCH (UINT64_C(1700000000) * TF_SECOND) /* of the wall clock */

/* The server's end of a link. */
struct tf_sim_conn {
    struct tf_list_node node; /* node->conns */
    struct tf_sim_node *owner;
    struct tf_sim_link *link;
    struct tf_stream *stream;
    tf_time give_up_at; /* closing, with output left */
    bool stuck;         /* the link takes no more */
    bool gated;         /* what is left waits for the store */
};

/* ---- what the shard hands out ---- */

/* The server's end of a link that it does not take, or takes no more. */
static void close_link(struct tf_sim *sim, struct tf_sim_link *link)
{
    link->conn = NULL;
    link->server_gone = true;
    link->up.refused = true;
    tf_sim_pipe_end(sim, &link->down);
    tf_sim_link_unused(sim, link);
}

static void open_conn(struct tf_sim_node *node, struct tf_sim_link *link, struct tf_bytes input)
{
    struct tf_front *front = link->is_amqp ? node->amqp : node->front;
    unsigned listener = link->is_amqp ? TF_SIM_AMQP_LISTENER : 0;
    struct tf_stream *stream = front->ops->open(front, listener, tf_bytes_str("simulated"));
    tf_assert(stream || node->sim->memory.starving);
    if (!stream) {
        close_link(node->sim, link);
        return;
    }
    struct tf_sim_conn *conn = calloc(1, sizeof(*conn));
    tf_assert(conn);
    conn->owner = node;
    conn->link = link;
    conn->give_up_at = TF_TIME_NEVER;
    conn->stream = stream;
    stream->transport = conn;
    link->conn = conn;
    tf_list_push_back(&node->conns, &conn->node);
    if (input.length) {
        tf_stream_adopt(stream, input);
    }
}

static void receive(void *ctx, const struct tf_mail *mail, unsigned from)
{
    struct tf_sim_node *node = ctx;
    if (mail->type != MAIL_ADOPT) {
        if (!node->coap || !node->coap->ops->mail(node->coap, mail, from)) {
            (void)node->front->ops->mail(node->front, mail, from);
        }
        return;
    }
    const struct tf_alloc *alloc = node->shard.config.alloc;
    struct tf_sim_link *link = (struct tf_sim_link *)(uintptr_t)mail->value;
    open_conn(node, link, tf_bytes_of(mail->object, (size_t)mail->tag));
    if (mail->object) {
        alloc->free(alloc->ctx, mail->object, (size_t)mail->tag);
    }
}

static void expired(void *ctx, struct tf_timer *timer)
{
    struct tf_front *front = tf_container_of(timer, struct tf_front_timer, timer)->front;
    (void)ctx;
    front->ops->timer(front, timer);
}

static struct tf_message *virtual_next(void *ctx, struct tf_bytes filter, struct tf_bytes last)
{
    struct tf_sim_node *node = ctx;
    return node->front->ops->virtual_next
               ? node->front->ops->virtual_next(node->front, filter, last)
               : NULL;
}

static void wake(void *ctx, unsigned shard)
{
    struct tf_sim *sim = ctx;
    sim->nodes[shard].mail = true;
}

static void entropy(void *ctx, void *data, size_t length)
{
    tf_random_fill(ctx, data, length);
}

/* ---- life ---- */

static bool start_node(struct tf_sim *sim, unsigned number)
{
    struct tf_sim_node *node = &sim->nodes[number];
    struct tf_shard_config config = {.number = number,
                                     .office = sim->office,
                                     .alloc = &sim->memory.alloc,
                                     .key = {sim->options.seed, 7},
                                     .random = sim->options.seed + number,
                                     .values = {100000, 1u << 28},
                                     .receive = receive,
                                     .expired = expired,
                                     .virtual_next = virtual_next,
                                     .ctx = node};
    node->sim = sim;
    tf_list_init(&node->conns);
    if (!tf_sim_store_client(node, number)) {
        return false;
    }
    config.store = node->kept;
    if (node->kept) {
        config.kept_window = sim->store->window;
        config.kept_page = sim->store->page;
        config.linger = sim->store->linger;
        config.first_version = tf_store_first_position(node->kept);
    }
    struct tf_front_context context = {.shard = &node->shard,
                                       .config = &sim->config,
                                       .random = entropy,
                                       .random_ctx = &sim->entropy};
    if (tf_shard_init(&node->shard, &config, sim->now)) {
        return false;
    }
    tf_shard_wall(&node->shard, EPOCH + sim->now);
    return tf_mqtt_front_type.create(&context, &node->front) == TF_OK &&
           (!sim->coap || tf_sim_coap_node_start(node, &context)) &&
           (!sim->amqp || tf_sim_amqp_node_start(node, &context));
}

bool tf_sim_nodes_start(struct tf_sim *sim)
{
    struct tf_wake waker = {wake, sim};
    size_t capacity = (size_t)1 << tf_sim_draw(sim, 0, 6);
    sim->office = tf_post_office_new(sim->shards, capacity, waker, &sim->memory.alloc);
    bool started = sim->office != NULL && tf_sim_store_open(sim);
    for (unsigned i = 0; started && i < sim->shards; i++) {
        started = start_node(sim, i);
    }
    started = started && tf_sim_store_restore(sim);
    for (unsigned i = 0; started && sim->amqp && i < sim->shards; i++) {
        tf_sim_amqp_node_restored(&sim->nodes[i]);
        tf_queues_declare(&sim->nodes[i].queues);
    }
    return started;
}

/* Ends a connection with all that it has. */
static void end_conn(struct tf_sim_conn *conn)
{
    struct tf_sim *sim = conn->owner->sim;
    struct tf_sim_link *link = conn->link;
    tf_list_unlink(&conn->stream->dirty);
    conn->stream->ops->close(conn->stream);
    tf_list_remove(&conn->node);
    free(conn);
    close_link(sim, link);
}

static struct tf_sim_conn *conn_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct tf_sim_conn, node);
}

/* ---- output ---- */

/* Writes what a stream has. False: the connection is lost. */
static bool write_out(struct tf_sim_conn *conn, bool *ret_left)
{
    struct tf_sim *sim = conn->owner->sim;
    struct tf_bytes spans[4];
    size_t count;
    conn->stuck = conn->gated = false;
    *ret_left = false;
    while ((count = conn->stream->ops->output(conn->stream, spans, TF_COUNT(spans)))) {
        size_t done = 0;
        *ret_left = true;
        count = tf_stream_gate(conn->stream, conn->owner->kept, spans, count);
        if (count == 0) {
            conn->gated = true;
            return true;
        }
        for (size_t i = 0; i < count && !conn->stuck; i++) {
            size_t written;
            if (!tf_sim_pipe_write(sim, &conn->link->down, spans[i], &written)) {
                return false;
            }
            done += written;
            conn->stuck = written < spans[i].length;
        }
        if (done) {
            tf_sim_trace(sim, "shard %u writes %zu to link%u", conn->owner->shard.config.number,
                         done, conn->link->number);
            tf_stream_gate_sent(conn->stream, done);
        }
        if (conn->stuck) {
            return true;
        }
        if (tf_sim_chance(sim, 1, 8)) {
            return true; /* others first */
        }
        *ret_left = false;
    }
    return true;
}

static void move_conn(struct tf_sim_conn *conn)
{
    struct tf_sim_node *node = conn->owner;
    struct tf_stream *stream = conn->stream;
    struct tf_sim_link *link = conn->link;
    uint8_t *data = NULL;
    size_t length = 0;
    unsigned to = stream->move_to;
    stream->ops->detach(stream, &data, &length);
    tf_list_remove(&conn->node);
    free(conn);
    link->conn = NULL;
    tf_sim_trace(node->sim, "link%u moves to shard %u with %zu bytes", link->number, to, length);
    node->sim->seen[TF_SIM_MOVED]++;
    if (!data && length) { /* no memory: without these bytes the protocol would be cut */
        close_link(node->sim, link);
        return;
    }
    struct tf_mail mail = {
        .type = MAIL_ADOPT, .object = data, .tag = length, .value = (uint64_t)(uintptr_t)link};
    if (!tf_shard_post(&node->shard, to, &mail)) {
        tf_assert(node->sim->memory.starving);
        if (data) {
            node->shard.config.alloc->free(node->shard.config.alloc->ctx, data, length);
        }
        close_link(node->sim, link);
    }
}

static void serve(struct tf_sim_conn *conn)
{
    bool left;
    struct tf_stream *stream = conn->stream;
    struct tf_sim_node *node = conn->owner;
    if (!write_out(conn, &left)) {
        end_conn(conn);
        return;
    }
    tf_list_unlink(&stream->dirty);
    if (left && !conn->stuck && !conn->gated) {
        tf_stream_touch(stream);
    }
    if (!left && stream->move_to != TF_STREAM_STAYS && !stream->closing) {
        move_conn(conn);
    } else if (!left && stream->closing) {
        tf_sim_trace(node->sim, "link%u is closed by the server", conn->link->number);
        end_conn(conn);
    } else if (stream->closing && conn->give_up_at == TF_TIME_NEVER) {
        conn->give_up_at = node->sim->now + LINGER;
    }
}

static void write_all(struct tf_sim_node *node)
{
    struct tf_list batch;
    struct tf_list_node *dirty;
    for (unsigned round = 0; round < 3; round++) {
        tf_list_init(&batch);
        tf_list_splice_back(&batch, &node->front->dirty);
        if (node->amqp) {
            tf_list_splice_back(&batch, &node->amqp->dirty);
        }
        while ((dirty = tf_list_pop_front(&batch))) {
            serve(tf_container_of(dirty, struct tf_stream, dirty)->transport);
        }
    }
}

/* ---- input ---- */

static bool reading(const struct tf_sim_conn *conn)
{
    const struct tf_stream *stream = conn->stream;
    return !conn->owner->congested && !stream->paused && !stream->closing &&
           stream->move_to == TF_STREAM_STAYS;
}

/* Reads once. The connection may be gone afterwards. */
static void read_conn(struct tf_sim_conn *conn)
{
    struct tf_sim *sim = conn->owner->sim;
    bool end;
    uint8_t *data = malloc(READ_MOST); /* of its own, so that a view kept too long is found */
    tf_assert(data);
    size_t length = tf_sim_pipe_read(sim, &conn->link->up, data, READ_MOST, &end);
    if (length) {
        tf_sim_trace(sim, "shard %u reads %zu of link%u", conn->owner->shard.config.number, length,
                     conn->link->number);
        conn->stream->ops->input(conn->stream, tf_bytes_of(data, length));
    } else if (end) {
        tf_sim_trace(sim, "shard %u sees the end of link%u", conn->owner->shard.config.number,
                     conn->link->number);
        end_conn(conn);
    }
    free(data);
}

static void read_all(struct tf_sim_node *node)
{
    struct tf_sim *sim = node->sim;
    struct tf_list_node *at = tf_list_first(&node->conns);
    while (at) {
        struct tf_sim_conn *conn = conn_of(at);
        at = tf_list_next(&node->conns, at);
        if (conn->stuck && tf_sim_pipe_writable(&conn->link->down)) {
            tf_stream_touch(conn->stream);
        }
        conn->stream->held = node->congested;
        if (conn->give_up_at <= sim->now) {
            end_conn(conn);
        } else if (reading(conn) && tf_sim_pipe_next(&conn->link->up) <= sim->now &&
                   !tf_sim_chance(sim, 1, 3)) {
            read_conn(conn);
        }
    }
}

/* What has waited for the store may go. */
static void open_gates(struct tf_sim_node *node)
{
    struct tf_list_node *at = tf_list_first(&node->conns);
    for (; at; at = tf_list_next(&node->conns, at)) {
        struct tf_sim_conn *conn = conn_of(at);
        if (conn->gated && tf_stream_gate_open(conn->stream, node->kept)) {
            tf_stream_touch(conn->stream);
        }
    }
}

static void accept_all(struct tf_sim_node *node)
{
    struct tf_list_node *at = tf_list_first(&node->sim->links);
    while (at) {
        struct tf_sim_link *link = tf_container_of(at, struct tf_sim_link, node);
        at = tf_list_next(&node->sim->links, at);
        if (!link->accepted && link->shard == node->shard.config.number) {
            link->accepted = true;
            open_conn(node, link, tf_bytes_of(NULL, 0));
        }
    }
}

/* ---- a turn ---- */

tf_time tf_sim_node_next(struct tf_sim_node *node)
{
    struct tf_sim *sim = node->sim;
    tf_time at = tf_shard_deadline(&node->shard);
    struct tf_list_node *i;
    if (node->mail || node->late || node->front->again || !tf_list_empty(&node->front->dirty)) {
        at = sim->now;
    }
    for (i = tf_list_first(&sim->links); i; i = tf_list_next(&sim->links, i)) {
        struct tf_sim_link *link = tf_container_of(i, struct tf_sim_link, node);
        at = !link->accepted && link->shard == node->shard.config.number ? sim->now : at;
    }
    for (i = tf_list_first(&node->conns); i; i = tf_list_next(&node->conns, i)) {
        struct tf_sim_conn *conn = conn_of(i);
        if (conn->stuck && tf_sim_pipe_writable(&conn->link->down)) {
            at = sim->now;
        }
        at = TF_MIN(at, conn->give_up_at);
        if (reading(conn)) {
            at = TF_MIN(at, tf_sim_pipe_next(&conn->link->up));
        }
    }
    at = TF_MIN(at, tf_sim_coap_node_next(node));
    at = TF_MIN(at, tf_sim_amqp_node_next(node));
    return TF_MAX(at, node->paused_until);
}

/* What must hold of everything the shard owns. */
static void check(struct tf_sim_node *node)
{
    struct mqtt_front *front = tf_container_of(node->front, struct mqtt_front, front);
    uint64_t bytes = 0, count = 0, attended = 0;
    struct tf_tree_node *i;
    struct tf_list_node *j;
    bool good = tf_shard_check(&node->shard) && tf_tree_check(&front->sessions);
    for (i = tf_tree_first(&front->sessions); i; i = tf_tree_next(i)) {
        struct mqtt_session *session = tf_container_of(i, struct mqtt_session, by_id);
        good &= tf_queue_check(&session->queue) && tf_mqtt_session_check(&session->state);
        good &= !session->conn || session->conn->session == session;
        bytes += session->queue.bytes;
        count += session->queue.count;
        node->sim->seen[TF_SIM_TAIL] += session->queue.kept && session->queue.kept->tail_count;
        attended += session->conn != NULL;
    }
    for (j = tf_list_first(&front->conns); j; j = tf_list_next(&front->conns, j)) {
        struct mqtt_conn *conn = tf_container_of(j, struct mqtt_conn, in_front);
        good &= tf_mqtt_server_check(conn->server);
        attended -= conn->session != NULL;
    }
    tf_sim_amqp_node_check(node, &bytes, &count);
    if (!good || attended != 0) {
        tf_sim_fail(node->sim, "shard %u: a check function found an invariant broken",
                    node->shard.config.number);
    } else if (bytes != node->shard.queued_bytes || count != node->shard.queued_count ||
               front->sessions.count != node->shard.queue_count) {
        tf_sim_fail(node->sim, "shard %u: its accounts do not add up", node->shard.config.number);
    }
    tf_sim_coap_node_check(node);
}

void tf_sim_node_turn(struct tf_sim_node *node)
{
    struct tf_sim *sim = node->sim;
    tf_shard_time(&node->shard, sim->now);
    accept_all(node);
    read_all(node);
    tf_sim_coap_node_read(node);
    if (!sim->calm && tf_sim_chance(sim, 1, 6)) {
        sim->seen[TF_SIM_MAIL_LATE] += node->mail;
        node->late = node->mail;
    } else {
        node->mail = node->late = false;
        tf_shard_receive(&node->shard);
        open_gates(node);
    }
    tf_shard_expire(&node->shard);
    node->front->ops->turn(node->front);
    if (node->coap) {
        node->coap->ops->turn(node->coap);
    }
    if (node->amqp) {
        node->amqp->ops->turn(node->amqp);
    }
    write_all(node);
    tf_sim_coap_node_write(node);
    node->congested = tf_shard_flush(&node->shard);
    sim->seen[TF_SIM_MAIL_SPILLED] += node->congested;
    check(node);
}

/* ---- the end ---- */

void tf_sim_nodes_check_empty(struct tf_sim *sim)
{
    for (unsigned i = 0; i < sim->shards; i++) {
        struct tf_sim_node *node = &sim->nodes[i];
        const struct tf_shard *shard = &node->shard;
        const struct tf_front_counters *counters = &sim->nodes[i].front->counters;
        if (node->amqp) {
            tf_sim_amqp_node_check_empty(node);
        } else if (shard->queue_count || shard->bindings.count) {
            tf_sim_fail(sim, "shard %u: %zu queues and %zu bindings are left", i,
                        shard->queue_count, shard->bindings.count);
        }
        if (shard->queued_bytes || shard->queued_count || !tf_list_empty(&shard->tickets) ||
            shard->counters.tickets) {
            tf_sim_fail(sim, "shard %u: %llu entries, %llu tickets are left", i,
                        (unsigned long long)shard->queued_count,
                        (unsigned long long)shard->counters.tickets);
        }
        tf_sim_coap_node_check_empty(&sim->nodes[i]);
        if (counters->sessions || counters->connected || counters->subscriptions) {
            tf_sim_fail(sim,
                        "shard %u counts %llu sessions, %llu connected, %llu subscriptions: all "
                        "have ended",
                        i, (unsigned long long)counters->sessions,
                        (unsigned long long)counters->connected,
                        (unsigned long long)counters->subscriptions);
        }
    }
}

/* Links in the mail belong to nobody else. */
static void drain_mail(struct tf_sim *sim)
{
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned i = 0; i < sim->shards; i++) {
            tf_shard_receive(&sim->nodes[i].shard);
            (void)tf_shard_flush(&sim->nodes[i].shard);
        }
    }
}

/* The server's end of links that nobody has accepted yet. */
static void refuse_links(struct tf_sim *sim)
{
    struct tf_list_node *at = tf_list_first(&sim->links);
    while (at) {
        struct tf_sim_link *link = tf_container_of(at, struct tf_sim_link, node);
        at = tf_list_next(&sim->links, at);
        if (!link->accepted) {
            link->accepted = true;
            close_link(sim, link);
        }
    }
}

void tf_sim_nodes_down(struct tf_sim *sim)
{
    struct tf_list_node *node;
    drain_mail(sim);
    refuse_links(sim);
    for (unsigned i = 0; i < sim->shards; i++) {
        while ((node = tf_list_first(&sim->nodes[i].conns))) {
            end_conn(conn_of(node));
        }
        tf_sim_coap_node_close(&sim->nodes[i]);
    }
    drain_mail(sim);
    for (unsigned i = 0; i < sim->shards; i++) {
        sim->nodes[i].front->ops->release(sim->nodes[i].front);
        if (sim->nodes[i].coap) {
            sim->nodes[i].coap->ops->release(sim->nodes[i].coap);
        }
        if (sim->nodes[i].amqp) {
            tf_queues_release(&sim->nodes[i].queues);
            sim->nodes[i].amqp->ops->release(sim->nodes[i].amqp);
        }
    }
    drain_mail(sim);
    for (unsigned i = 0; i < sim->shards; i++) {
        tf_shard_release(&sim->nodes[i].shard);
        if (sim->nodes[i].kept) {
            tf_store_client_release(&sim->nodes[i].client);
        }
    }
    tf_post_office_free(sim->office);
    tf_sim_store_close(sim);
    memset(sim->nodes, 0, sizeof(sim->nodes));
    if (sim->memory.blocks || sim->memory.bytes) {
        tf_sim_fail(sim, "%zu blocks of %zu bytes were never freed", sim->memory.blocks,
                    sim->memory.bytes);
    }
}

void tf_sim_nodes_stop(struct tf_sim *sim)
{
    struct tf_list_node *node;
    if (sim->down) {
        return; /* it has failed, and what there is of it is not to be relied on */
    }
    tf_sim_nodes_down(sim);
    while ((node = tf_list_first(&sim->links))) {
        tf_sim_link_free(sim, tf_container_of(node, struct tf_sim_link, node));
    }
}
