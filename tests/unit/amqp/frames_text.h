/*
 * Frames as text, in the notation at the head of tests/vectors/amqp-bad-inputs.txt.
 */
#ifndef TESTS_UNIT_AMQP_FRAMES_TEXT_H
#define TESTS_UNIT_AMQP_FRAMES_TEXT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Appends the bytes that `text` stands for to `data`, which has room for `size`, behind `length`;
 * returns the length of all. Ends the program when the notation is wrong.
 */
size_t frames_text(const char *text, uint8_t *data, size_t length, size_t size);

#endif
