/*
 * Reading what was given to the program.
 */
#include "port/input.h"

#include <errno.h>
#include <unistd.h>

enum tf_err tf_input_read(int fd, void *data, size_t length, size_t *ret_length)
{
    ssize_t got;
    do {
        got = read(fd, data, length);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EAGAIN ? TF_AGAIN : TF_IO;
    }
    if (got == 0) {
        return TF_CLOSED;
    }
    *ret_length = (size_t)got;
    return TF_OK;
}
