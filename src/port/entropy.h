/*
 * Random bytes from the system: for hash keys, seeds, client ids and the protocols' tokens.
 */
#ifndef TF_PORT_ENTROPY_H
#define TF_PORT_ENTROPY_H

#include <stddef.h>

/* Fills `length` bytes that nobody can foresee. Ends the program if the system has none. */
void tf_entropy_fill(void *data, size_t length);

#endif
