/*
 * The heap of mimalloc. See heap.h.
 */
#include "broker/heap.h"

#include <mimalloc.h>

void *tf_heap_alloc(size_t size)
{
    return mi_malloc(size);
}

void tf_heap_free(void *memory)
{
    mi_free(memory);
}
