/*
 * The gate of a stream: see stream_gate.h.
 *
 * It must not know transports, nor what the numbers stand for.
 */
#include "broker/stream_gate.h"

#include "base/assert.h"

static size_t total(const struct tf_bytes *spans, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += spans[i].length;
    }
    return sum;
}

/* Shortens the spans to `room` bytes; returns how many are left. */
static size_t cut(struct tf_bytes *spans, size_t count, size_t room)
{
    size_t i = 0;
    for (; i < count && room > 0; i++) {
        if (spans[i].length > room) {
            spans[i].length = room;
        }
        room -= spans[i].length;
    }
    return i;
}

static void open_all(struct tf_stream *stream)
{
    stream->gate[0] = stream->gate[1] = 0;
    stream->gate_open = stream->gated = 0;
}

/* The first part becomes what can be seen behind what may go; it waits for what all of it needs. */
static void begin_part(struct tf_stream *stream, size_t seen)
{
    stream->gate[0] = stream->gate[1];
    stream->gated = seen > stream->gate_open ? seen - stream->gate_open : 0;
}

size_t tf_stream_gate(struct tf_stream *stream, const struct tf_store_client *store,
                      struct tf_bytes *spans, size_t count)
{
    uint64_t needs = stream->needs;
    if (!store || (stream->gate[0] == 0 && needs == 0)) {
        return count;
    }
    if (count == 0) {
        open_all(stream); /* nothing waits, but what is yet to come may have to */
        return 0;
    }
    size_t seen = total(spans, count);
    stream->needs = 0;
    if (needs > stream->gate[1] && !tf_store_done(store, needs)) {
        stream->gate[1] = needs;
    }
    if (tf_store_done(store, stream->gate[1])) { /* 0 is, too */
        open_all(stream);
        return count;
    }
    if (stream->gate[0] == 0) {
        begin_part(stream, seen);
    } else if (tf_store_done(store, stream->gate[0])) {
        stream->gate_open += stream->gated;
        begin_part(stream, seen);
    } else if (stream->gated == 0) { /* it was not to be seen before */
        begin_part(stream, seen);
    }
    tf_assert(stream->gate[0] <= stream->gate[1]);
    return cut(spans, count, stream->gate_open);
}
