/*
 * The four functions that a freestanding build may call, and one made of them.
 *
 * Declared here because <string.h> is not part of a freestanding C; a firmware's own libc or the
 * compiler's support library defines them.
 */
#ifndef TF_BASE_MEM_H
#define TF_BASE_MEM_H

#include <stddef.h>

/* As in C11 7.24. */
void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *a, const void *b, size_t length);

/* Clears hundreds of bytes. To gcc a length that it knows is a slow `rep stos`; here it is none. */
void tf_zero(void *to, size_t length);

#endif
