/*
 * Memory that remembers its own size. See front_part.h.
 */
#include "broker/front_part.h"

#include "base/mem.h"

#include <stdint.h>

/* The size in front, at the distance that keeps the part aligned. */
#define HEAD 16u

void *tf_front_part_alloc(const struct tf_alloc *alloc, size_t size)
{
    size += HEAD;
    uint8_t *memory = alloc->alloc(alloc->ctx, size);
    if (!memory) {
        return NULL;
    }
    memcpy(memory, &size, sizeof(size));
    return memory + HEAD;
}

void tf_front_part_free(const struct tf_alloc *alloc, void *part)
{
    if (part) {
        size_t size;
        uint8_t *memory = (uint8_t *)part - HEAD;
        memcpy(&size, memory, sizeof(size));
        alloc->free(alloc->ctx, memory, size);
    }
}
