/*
 * Clearing larger structs; see mem.h.
 */
#include "base/mem.h"

__attribute__((noinline)) void tf_zero(void *to, size_t length)
{
    memset(to, 0, length);
}
