/*
 * getrandom.
 */
#include "port/entropy.h"

#include <errno.h>
#include <sys/random.h>

#include "base/assert.h"

void tf_entropy_fill(void *data, size_t length)
{
    char *at = data;
    while (length) {
        ssize_t got = getrandom(at, length, 0);
        tf_assert(got > 0 || (got < 0 && errno == EINTR));
        if (got > 0) {
            at += got;
            length -= (size_t)got;
        }
    }
}
