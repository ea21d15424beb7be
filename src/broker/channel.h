/*
 * A datagram socket of one listener in one shard, as the worker and a protocol's front both know
 * it: what struct tf_stream is for connections.
 *
 * The worker (or the simulator) owns the socket and the paths; the front owns the protocol. Many
 * peers share a channel; a path (struct tf_datagram_path, opaque to the front and its machine)
 * tells them apart.
 *
 * Call protocol: the front's `bind` gives a channel when the worker starts. `input` with what was
 * received in a batch: it takes some or all; after fewer than all, write the output and call again
 * with the rest; when it takes none and nothing can be sent either, the rest is lost. After each
 * turn's inputs, mails and timers the worker pops the front's dirty channels, sends `output` and
 * tells `sent`. While the socket takes no more, nothing is read. When the broker ends, nothing is
 * read from the front's `drain` on; `close` as soon as no output is left.
 */
#ifndef TF_BROKER_CHANNEL_H
#define TF_BROKER_CHANNEL_H

#include "base/list.h"
#include "port/datagram_path.h"

#include <trefoil/datagram.h>

struct tf_channel;

struct tf_channel_ops {
    /* Datagrams that came, oldest first; returns how many were taken, which are done with. */
    size_t (*input)(struct tf_channel *channel, const struct tf_datagram *in, size_t count);
    /* Up to `count` datagrams to send, in order; 0: nothing. They stay until `sent`. */
    size_t (*output)(struct tf_channel *channel, struct tf_datagram *ret, size_t count);
    /* The first `count` of them have been sent, or given up. */
    void (*sent)(struct tf_channel *channel, size_t count);
    /* The socket is gone: frees the channel. */
    void (*close)(struct tf_channel *channel);
};

struct tf_channel {
    const struct tf_channel_ops *ops;
    struct tf_list_node dirty; /* in the front's list of channels to be written this turn */
    struct tf_list *dirty_list;
    void *transport; /* the worker's */
};

/* Marks a channel: it has output. */
static inline void tf_channel_touch(struct tf_channel *channel)
{
    if (!tf_list_linked(&channel->dirty)) {
        tf_list_push_back(channel->dirty_list, &channel->dirty);
    }
}

#endif
