/*
 * Where the broker's memory comes from. Two implementations, and the build links one of them:
 * heap_mimalloc.c for what is shipped, since a broker allocates in one thread and frees in another,
 * in bursts that glibc's thread caches are too small for; heap_malloc.c for the sanitizers, which
 * must see every block.
 */
#ifndef TF_BROKER_HEAP_H
#define TF_BROKER_HEAP_H

#include <stddef.h>

/* `size` bytes (not 0), aligned as malloc aligns; NULL: there are none. Any thread. */
void *tf_heap_alloc(size_t size);

/* Takes back what tf_heap_alloc gave; any thread. */
void tf_heap_free(void *memory);

#endif
