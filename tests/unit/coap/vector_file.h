/*
 * Reads the golden vectors of CoAP; tests/vectors/README-coap.md has their form.
 */
#ifndef TESTS_COAP_VECTOR_FILE_H
#define TESTS_COAP_VECTOR_FILE_H

#include <stdio.h>

#include <trefoil/bytes.h>

#define VECTOR_LINES 64

struct vector {
    char name[160]; /* of file and vector */
    const char *lines[VECTOR_LINES];
    size_t count;
};

/* Calls `run` for each vector of tests/vectors/`name`; returns how many there were. */
unsigned vector_file_run(const char *name, void (*run)(const struct vector *vector));

/* What follows `prefix` on the first line that begins with it; NULL: no line does. */
const char *vector_line(const struct vector *vector, const char *prefix);

/* The bytes of `61 62*3`, in a block of exactly their size: free it with vector_drop. */
struct tf_bytes vector_bytes(const char *text);

/* A copy of the first bytes, in a block of exactly their size: the sanitizer sees the next one. */
struct tf_bytes vector_cut(struct tf_bytes bytes, size_t length);

/* Gives a block back. */
void vector_drop(struct tf_bytes bytes);

/* Appends text as vectors have it: escapes, and runs cut short. */
void vector_text(FILE *out, struct tf_bytes text);

#endif
