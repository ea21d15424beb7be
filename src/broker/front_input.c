/*
 * Input that is kept. See front_input.h.
 */
#include "broker/front_input.h"

#include "base/mem.h"
#include "base/util.h"

/* Keeps bytes behind those that are kept already. False: no memory. */
static bool keep(struct tf_front_input *input, const struct tf_alloc *alloc, struct tf_bytes in)
{
    size_t length = input->length + in.length;
    if (length > input->capacity) {
        size_t capacity = TF_MAX(length, 2 * (size_t)input->capacity);
        uint8_t *data = capacity <= UINT32_MAX ? alloc->alloc(alloc->ctx, capacity) : NULL;
        if (!data) {
            return false;
        }
        if (input->data) {
            memcpy(data, input->data, input->length);
            alloc->free(alloc->ctx, input->data, input->capacity);
        }
        input->data = data;
        input->capacity = (uint32_t)capacity;
    }
    memcpy(input->data + input->length, in.data, in.length);
    input->length = (uint32_t)length;
    return true;
}

void tf_front_input_drop(struct tf_front_input *input, const struct tf_alloc *alloc)
{
    if (input->data) {
        alloc->free(alloc->ctx, input->data, input->capacity);
    }
    *input = (struct tf_front_input){.need = input->need};
}

void tf_front_input_again(struct tf_front_input *input, const struct tf_alloc *alloc,
                          const struct tf_front_feeder *feeder, void *ctx)
{
    input->need = 0;
    size_t done = feeder->feed(ctx, tf_bytes_of(input->data, input->length), &input->need);
    input->length -= (uint32_t)done;
    if (input->length == 0) {
        tf_front_input_drop(input, alloc);
    } else if (done) {
        memmove(input->data, input->data + done, input->length);
    }
}

bool tf_front_input_take(struct tf_front_input *input, const struct tf_alloc *alloc,
                         struct tf_bytes in, const struct tf_front_feeder *feeder, void *ctx)
{
    while (input->length && in.length && !feeder->waits(ctx)) {
        size_t want =
            input->need > input->length ? TF_MIN(input->need - input->length, in.length) : 1;
        if (!keep(input, alloc, (struct tf_bytes){in.data, want})) {
            return false;
        }
        in.data += want;
        in.length -= want;
        if (input->length >= input->need) {
            tf_front_input_again(input, alloc, feeder, ctx);
        }
    }
    if (in.length && !feeder->waits(ctx)) {
        input->need = 0;
        size_t done = feeder->feed(ctx, in, &input->need);
        in.data += done;
        in.length -= done;
    }
    return in.length == 0 || keep(input, alloc, in);
}
