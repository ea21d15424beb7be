/*
 * The heap of libc. See heap.h.
 */
#include "broker/heap.h"

#include <stdlib.h>

void *tf_heap_alloc(size_t size)
{
    return malloc(size);
}

void tf_heap_free(void *memory)
{
    free(memory);
}
