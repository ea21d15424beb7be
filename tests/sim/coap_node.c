/*
 * A shard's CoAP front and its one channel, driven as a worker drives it (worker_channel.c), on the
 * simulated network.
 */
#include "sim/coap.h"

#include "base/assert.h"
#include "broker/coap_front_internal.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 16u
#define LISTENER 1u

bool tf_sim_coap_node_start(struct tf_sim_node *node, const struct tf_front_context *context)
{
    tf_list_init(&node->inbox);
    if (tf_coap_front_type.create(context, &node->coap)) {
        return false;
    }
    node->channel = node->coap->ops->bind(node->coap, LISTENER);
    if (node->channel) {
        node->channel->transport = node;
    }
    return node->channel != NULL;
}

tf_time tf_sim_coap_node_next(struct tf_sim_node *node)
{
    tf_time at = TF_TIME_NEVER;
    if (!node->coap) {
        return at;
    }
    if (node->stuck_until > node->sim->now) {
        at = node->stuck_until;
    } else {
        at = node->drained || node->congested ? at : tf_sim_inbox_next(&node->inbox);
        at = tf_list_empty(&node->coap->dirty_channels) ? at : node->sim->now;
    }
    return node->coap->again ? node->sim->now : at;
}

/* ---- output ---- */

/* Sends what the front has, as far as the socket takes it. TF_LIMIT: there is more. */
static enum tf_err send_out(struct tf_sim_node *node, size_t *ret_sent)
{
    struct tf_sim *sim = node->sim;
    struct tf_datagram out[BATCH];
    *ret_sent = 0;
    for (unsigned round = 0; round < 16; round++) {
        size_t count = node->channel->ops->output(node->channel, out, BATCH), taken = count;
        if (count == 0) {
            return TF_OK;
        }
        bool full = !sim->calm && tf_sim_chance(sim, 1, 40);
        if (full) {
            taken = (size_t)tf_sim_draw(sim, 0, count);
            node->stuck_until = sim->now + tf_sim_draw(sim, 1, 5 * TF_MILLISECOND);
            sim->seen[TF_SIM_COAP_STUCK]++;
        }
        for (size_t i = 0; i < taken; i++) {
            struct tf_datagram_path path;
            memcpy(&path, out[i].path, sizeof(path));
            tf_sim_datagram_down(sim, &path, out[i].bytes);
        }
        if (taken) {
            tf_sim_trace(sim, "shard %u sends %zu datagrams", node->shard.config.number, taken);
            node->channel->ops->sent(node->channel, taken);
            *ret_sent += taken;
        }
        if (full) {
            return TF_AGAIN;
        }
    }
    return TF_LIMIT;
}

static void close_channel(struct tf_sim_node *node)
{
    tf_list_unlink(&node->channel->dirty);
    node->channel->ops->close(node->channel);
    node->channel = NULL;
}

void tf_sim_coap_node_write(struct tf_sim_node *node)
{
    size_t sent;
    if (!node->channel || node->stuck_until > node->sim->now) {
        return;
    }
    if (tf_list_linked(&node->channel->dirty)) {
        enum tf_err err = send_out(node, &sent);
        tf_list_unlink(&node->channel->dirty);
        if (err) {
            tf_channel_touch(node->channel);
        }
    }
    if (node->drained && !tf_list_linked(&node->channel->dirty)) {
        close_channel(node);
    }
}

/* ---- input ---- */

/* Hands a batch over; what the front does not take although output was sent is lost. */
static void hand_over(struct tf_sim_node *node, const struct tf_datagram *in, size_t count)
{
    size_t done = 0;
    while (done < count) {
        size_t sent = 0;
        size_t taken = node->channel->ops->input(node->channel, in + done, count - done);
        tf_assert(taken <= count - done);
        done += taken;
        if (done == count) {
            return;
        }
        if (node->stuck_until <= node->sim->now) {
            (void)send_out(node, &sent);
        }
        if (taken == 0 && sent == 0) {
            node->sim->seen[TF_SIM_COAP_LOST] += count - done;
            return;
        }
    }
}

void tf_sim_coap_node_read(struct tf_sim_node *node)
{
    struct tf_sim *sim = node->sim;
    struct tf_sim_packet *packets[BATCH];
    struct tf_datagram in[BATCH];
    size_t count = 0, most = (size_t)tf_sim_draw(sim, 1, BATCH);
    if (!node->coap || node->drained || node->congested || node->stuck_until > sim->now ||
        tf_sim_inbox_next(&node->inbox) > sim->now) {
        return;
    }
    while (count < most && (packets[count] = tf_sim_inbox_pop(sim, &node->inbox))) {
        in[count] =
            (struct tf_datagram){.path = &packets[count]->path,
                                 .bytes = tf_bytes_of(packets[count]->data, packets[count]->length),
                                 .flags = packets[count]->flags};
        count++;
    }
    tf_sim_trace(sim, "shard %u reads %zu datagrams", node->shard.config.number, count);
    hand_over(node, in, count);
    for (size_t i = 0; i < count; i++) {
        free(packets[i]);
    }
}

/* ---- what must hold ---- */

static struct coap_channel *channel_of(struct tf_sim_node *node)
{
    return tf_container_of(node->channel, struct coap_channel, channel);
}

void tf_sim_coap_node_check(struct tf_sim_node *node)
{
    if (node->channel && !tf_coap_endpoint_check(channel_of(node)->endpoint)) {
        tf_sim_fail(node->sim, "shard %u: a CoAP endpoint's invariant is broken",
                    node->shard.config.number);
    }
}

void tf_sim_coap_node_check_empty(struct tf_sim_node *node)
{
    struct coap_front *front;
    const struct tf_coap_counters *counters;
    unsigned number = node->shard.config.number;
    if (!node->channel) {
        return;
    }
    front = tf_container_of(node->coap, struct coap_front, front);
    counters = tf_coap_endpoint_counters(channel_of(node)->endpoint);
    if (counters->requests || counters->exchanges || counters->transfers ||
        !tf_list_empty(&channel_of(node)->works) || !tf_list_empty(&front->orphans)) {
        tf_sim_fail(node->sim,
                    "shard %u: %u CoAP requests, %u exchanges, %u transfers are left%s%s", number,
                    counters->requests, counters->exchanges, counters->transfers,
                    tf_list_empty(&channel_of(node)->works) ? "" : ", works",
                    tf_list_empty(&front->orphans) ? "" : ", orphans");
    }
    if (front->body_bytes) {
        tf_sim_fail(node->sim, "shard %u: %llu bytes of bodies are charged to nobody", number,
                    (unsigned long long)front->body_bytes);
    }
}

/* ---- the end ---- */

void tf_sim_coap_node_drain(struct tf_sim_node *node)
{
    node->coap->ops->drain(node->coap);
    node->drained = true;
    tf_channel_touch(node->channel);
}

void tf_sim_coap_node_close(struct tf_sim_node *node)
{
    if (node->channel) {
        close_channel(node);
    }
    if (node->coap) {
        tf_sim_inbox_clear(&node->inbox);
    }
}
