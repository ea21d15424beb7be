/*
 * What a connection has to write; see output.h.
 */
#include "base/output.h"

#include "base/assert.h"
#include "base/mem.h"

/* The record of reference `i`: the first lies at the end of the buffer. */
static struct tf_output_reference *reference(const struct tf_output *output, uint32_t i)
{
    return (struct tf_output_reference *)(void *)(output->buffer + output->size) - i - 1;
}

/* Starts at the front again when nothing in the buffer is needed any more. */
static void rewind_if_empty(struct tf_output *output)
{
    while (output->returned < output->done && reference(output, output->returned)->owner == 0)
        output->returned++;
    if (output->sent == output->used && output->returned == output->refs) {
        output->rewinds += output->refs > 0;
        output->used = output->sent = output->refs = output->done = output->returned = 0;
    }
}

enum tf_err tf_output_lend(struct tf_output *output, void *buffer, size_t length)
{
    uintptr_t end = (uintptr_t)buffer + length;
    size_t cut = end % _Alignof(struct tf_output_reference);

    if (output->buffer || !buffer || length < TF_OUTPUT_MIN || length > TF_OUTPUT_MAX)
        return TF_MISUSE;
    *output = (struct tf_output){.buffer = buffer,
                                 .size = (uint32_t)(length - cut),
                                 .packets = output->packets,
                                 .rewinds = output->rewinds};
    return TF_OK;
}

void *tf_output_take(struct tf_output *output)
{
    void *buffer = output->buffer;

    if (output->used > 0 || output->refs > 0)
        return NULL;
    output->buffer = NULL;
    output->size = 0;
    return buffer;
}

void tf_output_refer(struct tf_output *output, struct tf_bytes body, uint64_t owner)
{
    tf_assert(body.length > 0);
    output->refs++;
    *reference(output, output->refs - 1) = (struct tf_output_reference){body, owner, output->used};
}

size_t tf_output_spans(const struct tf_output *output, struct tf_bytes *ret_spans, size_t count)
{
    uint32_t at = output->sent, i = output->done;
    size_t skip = output->offset, n = 0;

    while (n < count) {
        const struct tf_output_reference *ref = i < output->refs ? reference(output, i) : NULL;
        uint32_t end = ref ? ref->at : output->used;

        if (at < end) {
            ret_spans[n++] = tf_bytes_of(output->buffer + at, end - at);
            at = end;
        } else if (ref) {
            ret_spans[n++] = tf_bytes_of(ref->body.data + skip, ref->body.length - skip);
            skip = 0;
            i++;
        } else {
            break;
        }
    }
    return n;
}

/*
 * Moves what is unsent to the front, if that is little beside the room it wins: then the bytes
 * moved are never more than the bytes sent.
 */
static void compact(struct tf_output *output)
{
    uint32_t left = output->used - output->sent;

    if (output->sent < output->size / 2 || left > output->size / 4)
        return;
    memmove(output->buffer, output->buffer + output->sent, left);
    for (uint32_t i = output->done; i < output->refs; i++)
        reference(output, i)->at -= output->sent;
    output->used = left;
    output->sent = 0;
}

void tf_output_sent(struct tf_output *output, size_t length)
{
    while (length > 0) {
        bool more = output->done < output->refs;
        const struct tf_output_reference *ref = more ? reference(output, output->done) : NULL;
        uint32_t end = ref ? ref->at : output->used;
        size_t left = output->sent < end ? end - output->sent
                      : ref              ? ref->body.length - output->offset
                                         : 0;
        size_t step = length < left ? length : left;

        tf_assert(left > 0);
        length -= step;
        if (output->sent < end) {
            output->sent += (uint32_t)step;
        } else {
            output->offset += step;
            if (step == left) {
                output->done++;
                output->offset = 0;
            }
        }
    }
    rewind_if_empty(output);
    compact(output);
}

bool tf_output_returned(struct tf_output *output, uint64_t *ret_owner)
{
    if (output->returned == output->done)
        return false;
    *ret_owner = reference(output, output->returned++)->owner;
    rewind_if_empty(output);
    return true;
}

bool tf_output_adopt(struct tf_output *output, uint64_t name, uint64_t owner)
{
    uint32_t i = (uint32_t)name;

    if (name >> 32 != output->rewinds || i < output->returned)
        return false;
    tf_assert(i < output->refs && reference(output, i)->owner == 0);
    reference(output, i)->owner = owner;
    return true;
}

void tf_output_abandon(struct tf_output *output)
{
    output->sent = output->used;
    output->done = output->refs;
    output->offset = 0;
    rewind_if_empty(output);
}

bool tf_output_check(const struct tf_output *output)
{
    uint32_t at = output->sent;

    if (!output->buffer)
        return output->size == 0 && output->used == 0 && output->refs == 0;
    if (output->sent > output->used || output->used > output->size ||
        output->returned > output->done || output->done > output->refs ||
        output->refs > (output->size - output->used) / sizeof(struct tf_output_reference) ||
        (output->offset > 0 && output->done == output->refs))
        return false;
    for (uint32_t i = output->done; i < output->refs; i++) {
        const struct tf_output_reference *ref = reference(output, i);
        if (ref->at < at || ref->at > output->used || ref->body.length == 0)
            return false;
        at = ref->at;
    }
    if (output->offset > 0 && output->offset >= reference(output, output->done)->body.length)
        return false;
    return output->used > 0 || output->refs > 0 || (output->sent == 0 && output->done == 0);
}
