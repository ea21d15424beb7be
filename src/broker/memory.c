/*
 * The broker's heap: see memory.h.
 */
#include "broker/memory.h"

#include "broker/heap.h"

static void *plain_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return tf_heap_alloc(size);
}

static void plain_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    tf_heap_free(memory);
}

static void *counted_alloc(void *ctx, size_t size)
{
    struct tf_memory *memory = ctx;
    uint64_t before = atomic_fetch_add_explicit(&memory->used, size, memory_order_relaxed);
    /* `used` may be past the limit for a moment while others try in vain, hence two comparisons. */
    if (before < memory->limit && size <= memory->limit - before) {
        void *block = tf_heap_alloc(size);
        if (block) {
            return block;
        }
    }
    atomic_fetch_sub_explicit(&memory->used, size, memory_order_relaxed);
    return NULL;
}

static void counted_free(void *ctx, void *block, size_t size)
{
    struct tf_memory *memory = ctx;
    atomic_fetch_sub_explicit(&memory->used, size, memory_order_relaxed);
    tf_heap_free(block);
}

/* The last sixteenth is for what lets messages go: connections, tables of deliveries. */
static bool scarce(void *ctx)
{
    struct tf_memory *memory = ctx;
    return atomic_load_explicit(&memory->used, memory_order_relaxed) >
           memory->limit - memory->limit / 16;
}

void tf_memory_init(struct tf_memory *memory, uint64_t limit)
{
    memory->limit = limit;
    atomic_init(&memory->used, 0);
    memory->alloc.alloc = limit == UINT64_MAX ? plain_alloc : counted_alloc;
    memory->alloc.free = limit == UINT64_MAX ? plain_free : counted_free;
    memory->alloc.ctx = memory;
    memory->alloc.scarce = limit == UINT64_MAX ? NULL : scarce;
}
