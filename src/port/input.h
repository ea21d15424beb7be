/*
 * Reading what was given to the program: a pipe, a terminal, a file, as descriptors that others may
 * share and that are therefore left as they are.
 */
#ifndef TF_PORT_INPUT_H
#define TF_PORT_INPUT_H

#include <stddef.h>

#include <trefoil/err.h>

/*
 * Reads up to `length` bytes (not 0); *ret_length is at least 1. It waits when there is nothing,
 * unless the loop has reported the descriptor as readable. TF_CLOSED: the end. TF_AGAIN: somebody
 * has made it non-blocking, and there is nothing now. TF_IO: errno.
 */
TF_MUST_USE enum tf_err tf_input_read(int fd, void *data, size_t length, size_t *ret_length);

#endif
