/*
 * Packets as text, so that a test shows on one line what is on the wire:
 *
 *   hex digits      bytes; spaces between them mean nothing
 *   'text'          the bytes of the text
 *   <text>          a string: two bytes of length, then the text
 *   [ ... ]         a variable byte integer: the length of what is inside, then that
 *
 * So a CONNECT of 5.0 is 10[<MQTT>05 02 003c [] <me>].
 */
#ifndef TESTS_MQTT_NOTATION_H
#define TESTS_MQTT_NOTATION_H

#include <trefoil/bytes.h>

/* The bytes that `text` stands for, on the heap: free `data`. Aborts when it is not well-formed. */
struct tf_bytes notation_bytes(const char *text);

/* `bytes` as hex digits without spaces, on the heap. */
char *notation_hex(struct tf_bytes bytes);

#endif
