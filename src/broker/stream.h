/*
 * A byte-stream connection as the worker and a protocol's front both know it.
 *
 * The worker (or the simulator) owns the transport: it feeds input, takes output and closes. The
 * front owns the protocol: it never sees a socket. A stream belongs to one shard at a time.
 *
 * Call protocol: `open` gives a stream. `input` with what was read; it keeps what it cannot use
 * yet. After each turn's inputs, mails and timers, the worker pops the front's dirty streams,
 * writes `output`, as far as the store lets it (stream_gate.h), and tells `sent`. Whenever
 * `closing` is set and no output is left, or the transport has failed, the worker closes the
 * transport and calls `close`, which frees the stream. When `move_to` names another shard, the
 * worker stops reading, calls `detach` for the bytes that came and were not used, and mails
 * transport and bytes to that shard, which opens a stream anew.
 */
#ifndef TF_BROKER_STREAM_H
#define TF_BROKER_STREAM_H

#include "base/list.h"

#include <trefoil/bytes.h>
#include <trefoil/err.h>
#include <trefoil/time.h>

#define TF_STREAM_STAYS UINT32_MAX

struct tf_stream;

struct tf_stream_ops {
    /* Bytes that were read. All are taken or kept. While `paused` is set, do not read on. */
    void (*input)(struct tf_stream *stream, struct tf_bytes in);
    /* Up to `count` spans to write; 0: nothing. They stay until `sent`. */
    size_t (*output)(struct tf_stream *stream, struct tf_bytes *ret_spans, size_t count);
    /* `length` bytes of them were written. */
    void (*sent)(struct tf_stream *stream, size_t length);
    /* Takes the unused input of a stream that moves (and, with `adopt`, what else of it moves),
     * `*ret_length` bytes from the shard's allocator; the stream itself is freed. NULL with a
     * length: no memory, close the transport. */
    void (*detach)(struct tf_stream *stream, uint8_t **ret_data, size_t *ret_length);
    /*
     * Takes what `detach` gave, in the shard that the stream was opened in anew, before any input.
     * NULL: it is input and nothing else.
     */
    void (*adopt)(struct tf_stream *stream, struct tf_bytes data);
    /* The transport is gone (by the peer, an error, or `closing`): frees the stream. */
    void (*close)(struct tf_stream *stream);
};

struct tf_stream {
    const struct tf_stream_ops *ops;
    struct tf_list_node dirty; /* in the front's list of streams to be written this turn */
    struct tf_list *dirty_list;
    void *transport;  /* the worker's */
    uint32_t move_to; /* a shard, or TF_STREAM_STAYS */
    /*
     * What waits for the store. `needs` is the front's: a number of tf_shard_recorded that the
     * output made in this turn must wait for (0: nothing); see tf_stream_need. The rest is the
     * transport's owner's (stream_gate.h): so many bytes may go, so many behind them wait for
     * gate[0], and whatever is behind those waits for gate[1].
     */
    uint64_t needs;
    uint64_t gate[2];
    size_t gate_open, gated;
    struct tf_list_node gate_node;
    bool closing; /* the front's: close it when its output is written */
    bool paused;  /* the front's: read no more */
    bool held;    /* the transport's owner's: it does not read now, so silence is not the peer's */
};

/*
 * Output that is made in this turn, before or after this call, must not be seen before what the
 * shard has recorded up to now is done. `number`: tf_shard_recorded, or tf_published.stored.
 */
static inline void tf_stream_need(struct tf_stream *stream, uint64_t number)
{
    if (number > stream->needs) {
        stream->needs = number;
    }
}

/* Gives a stream that was opened anew in another shard what `detach` gave there. */
static inline void tf_stream_adopt(struct tf_stream *stream, struct tf_bytes data)
{
    if (stream->ops->adopt) {
        stream->ops->adopt(stream, data);
    } else {
        stream->ops->input(stream, data);
    }
}

/* Marks a stream: it has output, or is closing, moving, paused or no longer paused. */
static inline void tf_stream_touch(struct tf_stream *stream)
{
    if (!tf_list_linked(&stream->dirty)) {
        tf_list_push_back(stream->dirty_list, &stream->dirty);
    }
}

#endif
