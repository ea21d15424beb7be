/*
 * An allocator for tests: counts what is out, checks that sizes match when memory comes back, fills
 * new memory with rubbish, and fails the nth call on demand. Any thread may use it.
 */
#ifndef TF_TEST_ROUTE_TEST_ALLOC_H
#define TF_TEST_ROUTE_TEST_ALLOC_H

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define TEST_ALLOC_HEAD 16u

struct test_alloc {
    struct tf_alloc alloc;
    atomic_size_t blocks, bytes;
    atomic_size_t calls;   /* of `alloc`, ever */
    atomic_size_t failed;  /* of those that got nothing */
    atomic_size_t fail_at; /* the call, counted from 1 as `calls`, that fails; 0: none */
    bool fail_on;          /* and all after it */
};

static inline void *test_alloc_take(void *ctx, size_t size)
{
    struct test_alloc *memory = ctx;
    tf_assert(size > 0);
    size_t call = atomic_fetch_add(&memory->calls, 1) + 1;
    size_t fail_at = atomic_load(&memory->fail_at);
    if (fail_at && (call == fail_at || (memory->fail_on && call > fail_at))) {
        atomic_fetch_add(&memory->failed, 1);
        return NULL;
    }
    uint8_t *block = malloc(TEST_ALLOC_HEAD + size);
    tf_assert(block);
    memset(block, 0xA5, TEST_ALLOC_HEAD + size);
    memcpy(block, &size, sizeof(size));
    atomic_fetch_add(&memory->blocks, 1);
    atomic_fetch_add(&memory->bytes, size);
    return block + TEST_ALLOC_HEAD;
}

static inline void test_alloc_give(void *ctx, void *data, size_t size)
{
    struct test_alloc *memory = ctx;
    uint8_t *block = (uint8_t *)data - TEST_ALLOC_HEAD;
    size_t asked;
    memcpy(&asked, block, sizeof(asked));
    tf_assert(asked == size);
    memset(block, 0x5A, TEST_ALLOC_HEAD + size);
    atomic_fetch_sub(&memory->blocks, 1);
    atomic_fetch_sub(&memory->bytes, size);
    free(block);
}

/* Starts one that never fails. */
static inline void test_alloc_init(struct test_alloc *memory)
{
    memset(memory, 0, sizeof(*memory));
    memory->alloc = (struct tf_alloc){test_alloc_take, test_alloc_give, memory, NULL};
}

/* Lets the nth call from now on fail; 0: none. */
static inline void test_alloc_fail(struct test_alloc *memory, size_t nth)
{
    memory->failed = 0;
    memory->fail_at = nth ? memory->calls + nth : 0;
}

#endif
