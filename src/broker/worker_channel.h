/*
 * A worker's channels: its datagram sockets, read and written in batches. Private to
 * src/broker/worker*.c.
 */
#ifndef TF_BROKER_WORKER_CHANNEL_H
#define TF_BROKER_WORKER_CHANNEL_H

#include "broker/worker.h"

/* A datagram socket of a listener, and what the front has made of it. */
struct tf_worker_channel {
    struct tf_worker_source source; /* its state: enum tf_worker_channel_state */
    struct tf_list_node node;       /* worker->channels */
    struct tf_channel *channel;
    bool held; /* not read while the worker is congested */
};

/* Deals with one event of the loop. */
void tf_worker_channel_event(struct tf_worker *worker, struct tf_worker_channel *channel,
                             unsigned ready);

/* Sends what a channel has, until it has nothing, the socket takes no more, or others wait. */
void tf_worker_channel_write(struct tf_worker *worker, struct tf_worker_channel *channel);

/* Reads again what was held while the worker was congested. */
void tf_worker_channels_resume(struct tf_worker *worker);

/* Reads no more: a channel ends when its output has been sent. */
void tf_worker_channels_drain(struct tf_worker *worker);

/* While draining: ends the channels that have nothing left to send. */
void tf_worker_channels_finish(struct tf_worker *worker);

/* Ends all channels at once, whatever they have to say. */
void tf_worker_channels_break(struct tf_worker *worker);

#endif
