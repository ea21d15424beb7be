/*
 * The heap as an interface: see alloc.h.
 */
#include "cli/alloc.h"

#include <stdlib.h>

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

const struct tf_alloc *tf_cli_alloc(void)
{
    static const struct tf_alloc alloc = {.alloc = heap_alloc, .free = heap_free};
    return &alloc;
}
