/*
 * A CoAP message as the lines of a golden vector; tests/vectors/README-coap.md.
 */
#ifndef TESTS_COAP_MESSAGE_TEXT_H
#define TESTS_COAP_MESSAGE_TEXT_H

#include <trefoil/coap_message.h>

#include "vector_file.h"

/* Reads a vector's bytes, compares with its lines, writes again, cuts; fails the test if wrong. */
void message_vector_run(const struct vector *vector);

#endif
