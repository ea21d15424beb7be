/*
 * The gate of a stream: output that waits for the store is not given to the transport.
 *
 * A front makes output at once, in order, and says by tf_stream_need what it depends on; the owner
 * of the transport (worker or simulator) lets through what is done. So acknowledgements need no
 * memory of their own, and a group of the store releases all that has waited for it.
 *
 *   output:  [ may go | `gated` bytes: until gate[0] is done | the rest: until gate[1] is done ]
 *
 * What comes while both parts are taken waits with the second one, whose number then grows; as the
 * first is released, what can be seen of the second takes its place with the number it then has, so
 * nothing waits for ever. What is made behind gated output goes behind it, needed or not: a stream
 * has one order. An output shows only as many spans as it is given room for, so the end of the
 * second part is never known: it is all that is left. What was pending, ungated, when something is
 * needed for the first time is not told from what is new: it waits, too.
 *
 * Invariants: gate[0] is 0 and nothing is gated; or gate[0] <= gate[1].
 */
#ifndef TF_BROKER_STREAM_GATE_H
#define TF_BROKER_STREAM_GATE_H

#include "broker/stream.h"
#include "store/store.h"

/*
 * Takes what the stream needs into account and shortens `spans` (`count` of them, all that its
 * output gave) to what may go now; returns how many are left. `store` NULL: all of it.
 */
size_t tf_stream_gate(struct tf_stream *stream, const struct tf_store_client *store,
                      struct tf_bytes *spans, size_t count);

/* Tells the stream that `length` bytes of what the gate has let through were written: instead of
 * calling its `sent`. */
static inline void tf_stream_gate_sent(struct tf_stream *stream, size_t length)
{
    stream->gate_open -= length < stream->gate_open ? length : stream->gate_open;
    stream->ops->sent(stream, length);
}

/* True: some of its output waits for the store. Keep it in a list by `gate_node`, and touch it when
 * tf_stream_gate_open says that something may go. */
static inline bool tf_stream_gated(const struct tf_stream *stream)
{
    return stream->gate[0] != 0;
}

static inline bool tf_stream_gate_open(const struct tf_stream *stream,
                                       const struct tf_store_client *store)
{
    return stream->gate[0] != 0 && tf_store_done(store, stream->gate[0]);
}

#endif
