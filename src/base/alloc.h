/*
 * An allocator, as those take one that need memory but must not know where it comes from: a heap,
 * a shard's own allocator that charges accounts, or a test that fails the nth call.
 */
#ifndef TF_BASE_ALLOC_H
#define TF_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

struct tf_alloc {
    /* `size` bytes (not 0), aligned as malloc aligns, contents undefined; NULL: there are none. */
    void *(*alloc)(void *ctx, size_t size);
    /* Takes back what `alloc` gave; `size` is what it was asked for. `memory` is never NULL. */
    void (*free)(void *ctx, void *memory, size_t size);
    void *ctx;
    /* True: there is little left, so take no more of what can be refused (messages), or what gives
     * memory back could not be had either. NULL: there is no such bound. */
    bool (*scarce)(void *ctx);
};

#endif
