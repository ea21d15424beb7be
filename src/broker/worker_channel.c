/*
 * A worker's channels: see worker_channel.h.
 *
 *            the socket takes no more                 drain
 *   READING ------------------------> BLOCKED    any ------> ENDING --> gone, when nothing is left
 *      ^                                 |
 *      +---------------------------------+  writable
 *
 * Invariants:
 *  1. The loop watches for reading in READING alone, and there only unless `held`; for writing in
 *     BLOCKED, and in ENDING after the socket has taken no more.
 *  2. A channel that is BLOCKED is not read: what comes would want answers that cannot be sent. The
 *     kernel keeps what it has room for.
 *  3. The inbox, which all channels of a worker share, is empty between events.
 */
#include "broker/worker_channel.h"

#include "base/assert.h"
#include "base/mem.h"
#include "broker/worker_conn.h"
#include "port/datagram.h"

#define READ_BUDGET 256u  /* datagrams read of a socket in a turn: others want to be served, too */
#define OUTPUT_BATCH 128u /* datagrams asked of a channel at a time */
#define OUTPUT_ROUNDS 16u /* of them in a turn, while the output refills */
#define ERROR_BUDGET 16u  /* network errors read of a socket in a turn */

enum tf_worker_channel_state { READING, BLOCKED, ENDING };

static void watch(struct tf_worker *worker, struct tf_worker_channel *channel, unsigned interest)
{
    tf_loop_change(worker->config.loop, &channel->source.loop, interest);
}

/* Watches for what the state wants; `stuck`: output is left that the socket did not take. */
static void watch_state(struct tf_worker *worker, struct tf_worker_channel *channel, bool stuck)
{
    bool reads = channel->source.state == READING && !channel->held;
    watch(worker, channel, (stuck ? TF_LOOP_WRITE : 0u) | (reads ? TF_LOOP_READ : 0u));
}

static bool stuck(const struct tf_worker_channel *channel)
{
    return (channel->source.loop.interest & TF_LOOP_WRITE) != 0;
}

/* ---- output ---- */

/*
 * Sends what the front has. TF_OK: nothing is left. TF_AGAIN: the socket takes no more. TF_LIMIT:
 * it refills as fast as we send. *ret_sent: how many are gone.
 */
static enum tf_err send_out(struct tf_worker *worker, struct tf_worker_channel *channel,
                            size_t *ret_sent)
{
    const struct tf_channel_ops *ops = channel->channel->ops;
    struct tf_datagram out[OUTPUT_BATCH];
    *ret_sent = 0;
    for (unsigned round = 0; round < OUTPUT_ROUNDS; round++) {
        size_t count = ops->output(channel->channel, out, OUTPUT_BATCH), sent, lost;
        if (count == 0) {
            return TF_OK;
        }
        enum tf_err err = tf_datagram_send(channel->source.loop.fd, out, count, &sent, &lost);
        worker->datagrams_lost += lost;
        if (sent) {
            ops->sent(channel->channel, sent);
            *ret_sent += sent;
        }
        if (err) {
            return TF_AGAIN;
        }
    }
    return TF_LIMIT;
}

void tf_worker_channel_write(struct tf_worker *worker, struct tf_worker_channel *channel)
{
    size_t sent;
    if (stuck(channel)) {
        return; /* its turn comes when it is writable */
    }
    enum tf_err err = send_out(worker, channel, &sent);
    tf_list_unlink(&channel->channel->dirty); /* sending may have touched it: all is looked at */
    if (err == TF_LIMIT) {
        tf_channel_touch(channel->channel); /* others first */
    }
    if (channel->source.state != ENDING) {
        channel->source.state = err == TF_AGAIN ? BLOCKED : READING;
    }
    watch_state(worker, channel, err == TF_AGAIN);
}

/* ---- input ---- */

/* Throws away what is left in the inbox: its peers must send again. */
static void drop_rest(struct tf_worker *worker)
{
    size_t count;
    while (tf_datagram_inbox_peek(worker->inbox, &count)) {
        worker->datagrams_lost += count;
        tf_datagram_inbox_take(worker->inbox, count);
    }
}

/*
 * Hands over what is in the inbox; returns how many were taken. What the front does not take goes
 * on after output has been sent; when that does not help, it is lost, since others want the inbox.
 */
static size_t hand_over(struct tf_worker *worker, struct tf_worker_channel *channel)
{
    const struct tf_channel_ops *ops = channel->channel->ops;
    const struct tf_datagram *in;
    size_t count, total = 0;
    while ((in = tf_datagram_inbox_peek(worker->inbox, &count))) {
        size_t taken = ops->input(channel->channel, in, count), sent = 0;
        tf_assert(taken <= count);
        tf_datagram_inbox_take(worker->inbox, taken);
        total += taken;
        if (taken == count) {
            continue;
        }
        if (channel->source.state == READING && send_out(worker, channel, &sent) == TF_AGAIN) {
            channel->source.state = BLOCKED;
            watch_state(worker, channel, true);
        }
        if (taken == 0 && sent == 0) {
            drop_rest(worker);
        }
    }
    return total;
}

static void channel_read(struct tf_worker *worker, struct tf_worker_channel *channel)
{
    size_t total = 0;
    unsigned errors = 0;
    bool full = true;
    while (full && total < READ_BUDGET && errors < ERROR_BUDGET &&
           channel->source.state == READING) {
        enum tf_err err = tf_datagram_receive(channel->source.loop.fd, worker->inbox, &full);
        if (err == TF_CLOSED) { /* a peer is not there: nothing that the socket is the worse for */
            full = true;
            errors++;
            continue;
        }
        if (err) {
            return;
        }
        total += hand_over(worker, channel);
    }
}

void tf_worker_channel_event(struct tf_worker *worker, struct tf_worker_channel *channel,
                             unsigned ready)
{
    unsigned interest = channel->source.loop.interest;
    if ((ready & TF_LOOP_HANGUP) && !(interest & TF_LOOP_READ)) {
        (void)tf_datagram_error(channel->source.loop.fd); /* else it is reported for ever */
    }
    if ((ready & TF_LOOP_WRITE) && stuck(channel)) {
        if (channel->source.state == BLOCKED) {
            channel->source.state = READING;
        }
        watch_state(worker, channel, false);
        tf_channel_touch(channel->channel); /* written with all others, at the end of the turn */
        return;
    }
    if (!(ready & TF_LOOP_READ) || channel->source.state != READING || channel->held) {
        return;
    }
    if (worker->congested) { /* what is readable waits in the kernel until the mail has gone */
        channel->held = true;
        worker->channels_held = true;
        watch_state(worker, channel, false);
        return;
    }
    channel_read(worker, channel);
}

void tf_worker_channels_resume(struct tf_worker *worker)
{
    struct tf_list_node *node = tf_list_first(&worker->channels);
    for (; node; node = tf_list_next(&worker->channels, node)) {
        struct tf_worker_channel *channel = tf_container_of(node, struct tf_worker_channel, node);
        if (channel->held) {
            channel->held = false;
            watch_state(worker, channel, stuck(channel));
        }
    }
    worker->channels_held = false;
}

/* ---- life ---- */

enum tf_err tf_worker_bind(struct tf_worker *worker, size_t index, int fd)
{
    const struct tf_alloc *alloc = worker->config.alloc;
    struct tf_worker_channel *channel;
    struct tf_front *front;
    enum tf_err err = TF_NO_MEMORY;
    tf_assert(index < worker->config.config->listener_count);
    front = tf_worker_front(worker, (unsigned)index);
    if (!front || !front->ops->bind) {
        return TF_UNSUPPORTED;
    }
    if (!worker->inbox) {
        worker->inbox = tf_datagram_inbox_new(TF_DATAGRAM_BATCH, TF_DATAGRAM_MAX);
    }
    channel = alloc->alloc(alloc->ctx, sizeof(*channel));
    if (!worker->inbox || !channel) {
        goto failed;
    }
    memset(channel, 0, sizeof(*channel));
    channel->source.kind = TF_WORKER_CHANNEL;
    channel->source.listener = (uint16_t)index;
    channel->source.state = READING;
    channel->channel = front->ops->bind(front, (unsigned)index);
    if (!channel->channel) {
        goto failed;
    }
    channel->channel->transport = channel;
    err = tf_loop_add(worker->config.loop, &channel->source.loop, fd, TF_LOOP_READ);
    if (err) {
        tf_list_unlink(&channel->channel->dirty);
        channel->channel->ops->close(channel->channel);
        goto failed;
    }
    tf_list_push_back(&worker->channels, &channel->node);
    return TF_OK;
failed:
    if (channel) {
        alloc->free(alloc->ctx, channel, sizeof(*channel));
    }
    return err;
}

static void channel_end(struct tf_worker *worker, struct tf_worker_channel *channel)
{
    const struct tf_alloc *alloc = worker->config.alloc;
    tf_loop_remove(worker->config.loop, &channel->source.loop);
    tf_list_remove(&channel->node);
    tf_list_unlink(&channel->channel->dirty);
    channel->channel->ops->close(channel->channel);
    alloc->free(alloc->ctx, channel, sizeof(*channel));
}

void tf_worker_channels_drain(struct tf_worker *worker)
{
    struct tf_list_node *node = tf_list_first(&worker->channels);
    for (; node; node = tf_list_next(&worker->channels, node)) {
        struct tf_worker_channel *channel = tf_container_of(node, struct tf_worker_channel, node);
        channel->source.state = ENDING;
        watch_state(worker, channel, stuck(channel));
        tf_channel_touch(channel->channel);
    }
}

void tf_worker_channels_finish(struct tf_worker *worker)
{
    struct tf_list_node *node = tf_list_first(&worker->channels), *next;
    for (; node; node = next) {
        struct tf_worker_channel *channel = tf_container_of(node, struct tf_worker_channel, node);
        next = tf_list_next(&worker->channels, node);
        if (channel->source.state == ENDING && !stuck(channel) &&
            !tf_list_linked(&channel->channel->dirty)) {
            channel_end(worker, channel);
        }
    }
}

void tf_worker_channels_break(struct tf_worker *worker)
{
    struct tf_list_node *node;
    while ((node = tf_list_first(&worker->channels))) {
        channel_end(worker, tf_container_of(node, struct tf_worker_channel, node));
    }
}
