/*
 * Small macros that every layer needs.
 */
#ifndef TF_BASE_UTIL_H
#define TF_BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>

/* The struct of `type` whose field `member` is at `pointer`, which must not be NULL. */
#define tf_container_of(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* The smaller and the larger of two; each argument may be evaluated twice. */
#define TF_MIN(a, b) ((a) < (b) ? (a) : (b))
#define TF_MAX(a, b) ((a) > (b) ? (a) : (b))

/* How many elements an array (not a pointer) has. */
#define TF_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
