/*
 * Memory that remembers its own size: for parts that a machine gives back without it.
 */
#ifndef TF_BROKER_FRONT_PART_H
#define TF_BROKER_FRONT_PART_H

#include "base/alloc.h"

#include <stddef.h>

/* `size` bytes, aligned as malloc aligns; NULL: no memory. */
void *tf_front_part_alloc(const struct tf_alloc *alloc, size_t size);

/* Frees it; NULL is ignored. */
void tf_front_part_free(const struct tf_alloc *alloc, void *part);

#endif
