/*
 * Small steps with views (trefoil/bytes.h) that a public header need not have.
 */
#ifndef TF_BASE_VIEWS_H
#define TF_BASE_VIEWS_H

#include <trefoil/bytes.h>

#include "base/mem.h"

/* Copies what a view shows to *next, which moves on; the view of the copy, empty of an empty one.
 */
static inline struct tf_bytes tf_bytes_put(uint8_t **next, struct tf_bytes bytes)
{
    if (bytes.length == 0) {
        return (struct tf_bytes){NULL, 0};
    }
    memcpy(*next, bytes.data, bytes.length);
    *next += bytes.length;
    return tf_bytes_of(*next - bytes.length, bytes.length);
}

/* True if `text` begins with `head`. */
static inline bool tf_bytes_begin(struct tf_bytes text, struct tf_bytes head)
{
    return text.length >= head.length && tf_bytes_equal(tf_bytes_of(text.data, head.length), head);
}

#endif
