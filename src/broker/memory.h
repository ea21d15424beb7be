/*
 * The broker's heap as the shards see it: heap.h, and with `memory_limit` a count of what is out.
 *
 * Without a limit nothing is counted, for two atomic additions a message would be felt. Any thread.
 */
#ifndef TF_BROKER_MEMORY_H
#define TF_BROKER_MEMORY_H

#include "base/alloc.h"

#include <stdatomic.h>
#include <stdint.h>

struct tf_memory {
    struct tf_alloc alloc; /* what to give to others; must not move */
    uint64_t limit;
    _Atomic uint64_t used; /* asked for and not given back; stays 0 without a limit */
};

/* Starts one that allows `limit` bytes; UINT64_MAX: as many as there are. */
void tf_memory_init(struct tf_memory *memory, uint64_t limit);

#endif
