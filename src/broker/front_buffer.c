/*
 * Output buffers that are used again. See front_buffer.h.
 */
#include "broker/front_buffer.h"

#include "base/mem.h"

void *tf_front_buffer_get(struct tf_front_buffers *buffers, const struct tf_alloc *alloc,
                          size_t size)
{
    void *buffer = buffers->kept;
    if (size != TF_FRONT_BUFFER_SIZE || !buffer) {
        return alloc->alloc(alloc->ctx, size);
    }
    memcpy(&buffers->kept, buffer, sizeof(buffers->kept));
    buffers->count--;
    return buffer;
}

void tf_front_buffer_put(struct tf_front_buffers *buffers, const struct tf_alloc *alloc,
                         void *buffer, size_t size)
{
    if (size != TF_FRONT_BUFFER_SIZE || buffers->count >= TF_FRONT_BUFFERS_KEPT) {
        alloc->free(alloc->ctx, buffer, size);
        return;
    }
    memcpy(buffer, &buffers->kept, sizeof(buffers->kept));
    buffers->kept = buffer;
    buffers->count++;
}

void tf_front_buffers_release(struct tf_front_buffers *buffers, const struct tf_alloc *alloc)
{
    while (buffers->kept) {
        void *buffer = buffers->kept;
        memcpy(&buffers->kept, buffer, sizeof(buffers->kept));
        alloc->free(alloc->ctx, buffer, TF_FRONT_BUFFER_SIZE);
    }
    buffers->count = 0;
}
