/*
 * The output buffers that a front lends to its connections: of one size, kept for reuse, so that
 * an idle connection has none and a busy one does not ask the heap each turn.
 */
#ifndef TF_BROKER_FRONT_BUFFER_H
#define TF_BROKER_FRONT_BUFFER_H

#include "base/alloc.h"

#include <stddef.h>

#define TF_FRONT_BUFFER_SIZE 16384u
#define TF_FRONT_BUFFERS_KEPT 256u

/* Starts zero. */
struct tf_front_buffers {
    void *kept; /* strung together by their first words */
    size_t count;
};

/* A buffer of `size` bytes; NULL: no memory. */
void *tf_front_buffer_get(struct tf_front_buffers *buffers, const struct tf_alloc *alloc,
                          size_t size);

/* Takes one of `size` bytes back. */
void tf_front_buffer_put(struct tf_front_buffers *buffers, const struct tf_alloc *alloc,
                         void *buffer, size_t size);

/* Frees what is kept. */
void tf_front_buffers_release(struct tf_front_buffers *buffers, const struct tf_alloc *alloc);

#endif
