/*
 * Items of one size that never move, named by small numbers: what an index holds a million of.
 *
 * They lie in pages of 256. A number of 32 bits takes half the room of a pointer, and a walk in
 * the order of numbers stays where it is while items come and go. Empty pages go back but for one.
 */
#ifndef TF_STORE_SLAB_H
#define TF_STORE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

#define TF_SLAB_PAGE 256u
#define TF_SLAB_NONE UINT32_MAX

struct tf_slab_page;

/* Its fields are the slab's own; `count` may be read. */
struct tf_slab {
    const struct tf_alloc *alloc;
    size_t item; /* bytes, a multiple of 8 */
    struct tf_slab_page **pages;
    uint32_t page_count, page_capacity;
    uint32_t open;    /* the first of the pages that have room; TF_SLAB_NONE: all are full */
    uint32_t hole;    /* no page below this is missing */
    uint32_t empties; /* pages without an item */
    uint64_t count;   /* items */
};

/* Makes an empty slab. `alloc` is borrowed. */
void tf_slab_init(struct tf_slab *slab, const struct tf_alloc *alloc, size_t item);

/* Gives all pages back, with what is in them. */
void tf_slab_release(struct tf_slab *slab);

/* A new item, zeroed, and its number. NULL: no memory. */
void *tf_slab_take(struct tf_slab *slab, uint32_t *ret_number);

/* Takes an item back. */
void tf_slab_give(struct tf_slab *slab, uint32_t number);

/* The item of a number that is in use. */
void *tf_slab_at(const struct tf_slab *slab, uint32_t number);

/* The first number in use that is not below `from`; TF_SLAB_NONE: there is none. */
uint32_t tf_slab_next(const struct tf_slab *slab, uint32_t from);

#endif
