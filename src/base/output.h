/*
 * What a connection has to write, in one buffer that is lent to it.
 *
 * Bytes fill the buffer from the front. A body that is too large to copy is a reference: a record
 * at the back of the buffer, growing downwards, that says after how many bytes of the front its own
 * come. So the output is one order of spans, nothing is allocated, and the only limit is the
 * buffer.
 *
 * It knows no protocol. Whoever lent the buffer may take it when all is sent and every owner
 * of a referred body has been told (tf_output_returned).
 */
#ifndef TF_BASE_OUTPUT_H
#define TF_BASE_OUTPUT_H

#include <trefoil/bytes.h>
#include <trefoil/err.h>

/* The least that may be lent: the short packets of every protocol fit. */
#define TF_OUTPUT_MIN 128u

/* The most: offsets are 32 bits. */
#define TF_OUTPUT_MAX UINT32_C(0x7fffffff)

struct tf_output_reference {
    struct tf_bytes body;
    uint64_t owner; /* to be told when it is sent; 0: nobody */
    uint32_t at;    /* comes when this many bytes of the front have been written */
};

/*
 * 0 <= sent <= used <= size - references; returned <= done <= refs; the reference `returned`, if it
 * is done, has an owner. All zero but buffer, size, packets and rewinds when nothing is unsent and
 * all owners are told.
 */
struct tf_output {
    uint8_t *buffer; /* NULL: none is lent */
    size_t offset;   /* bytes sent of the reference `done` */
    uint32_t size;   /* from buffer to the aligned end */
    uint32_t used, sent;
    uint32_t refs, done, returned;
    uint32_t packets; /* put here since somebody took this count; outlives the buffer */
    uint32_t rewinds; /* how often it was empty of references again; outlives the buffer */
};

/* Lends a buffer. TF_MISUSE: there is one, or it is too short. */
TF_MUST_USE enum tf_err tf_output_lend(struct tf_output *output, void *buffer, size_t length);

/* Takes the buffer back; NULL if it is still needed, or none. */
void *tf_output_take(struct tf_output *output);

/* Room for bytes now, with `refs` new references. */
static inline size_t tf_output_room(const struct tf_output *output, size_t refs)
{
    size_t left = (size_t)output->size - output->used;
    size_t back = (output->refs + refs) * sizeof(struct tf_output_reference);

    return left > back ? left - back : 0;
}

/* True if `length` bytes and `refs` references would fit when all else had been sent. */
static inline bool tf_output_could(const struct tf_output *output, size_t length, size_t refs)
{
    return length <= output->size &&
           refs <= (output->size - length) / sizeof(struct tf_output_reference);
}

/* Where the next bytes go; tf_output_room of them at most, then tf_output_wrote. */
static inline uint8_t *tf_output_next(const struct tf_output *output)
{
    return output->buffer + output->used;
}

/* One packet, but for what is referred to, has been put at tf_output_next: `length` bytes. */
static inline void tf_output_wrote(struct tf_output *output, size_t length)
{
    output->used += (uint32_t)length;
    output->packets++;
}

/* Appends bytes of somebody else's, not empty; there must be room for the reference. */
void tf_output_refer(struct tf_output *output, struct tf_bytes body, uint64_t owner);

/* True if anything is unsent. */
static inline bool tf_output_pending(const struct tf_output *output)
{
    return output->sent < output->used || output->done < output->refs;
}

/* Up to `count` spans of what is unsent, in order. */
size_t tf_output_spans(const struct tf_output *output, struct tf_bytes *ret_spans, size_t count);

/* `length` bytes have been sent; no more than there are. May move what is left to the front. */
void tf_output_sent(struct tf_output *output, size_t length);

/* The next owner whose body is no longer needed; false: none. */
bool tf_output_returned(struct tf_output *output, uint64_t *ret_owner);

/* Names the reference that was made last, for tf_output_adopt. */
static inline uint64_t tf_output_newest(const struct tf_output *output)
{
    return (uint64_t)output->rewinds << 32 | (output->refs - 1);
}

/*
 * Gives an owner to a reference without one, named as above: for a body of many references that
 * ends before its last. False: that reference is no longer there, all its bytes are sent.
 */
bool tf_output_adopt(struct tf_output *output, uint64_t reference, uint64_t owner);

/* Forgets what is unsent; owners are told by tf_output_returned. */
void tf_output_abandon(struct tf_output *output);

/* Checks the invariants. */
bool tf_output_check(const struct tf_output *output);

#endif
