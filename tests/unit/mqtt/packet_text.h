/*
 * A packet as lines of text, the same that the vector files have: what a test compares.
 */
#ifndef TF_TEST_PACKET_TEXT_H
#define TF_TEST_PACKET_TEXT_H

#include "any_packet.h"

/* Room for the text of any vector. */
#define PACKET_TEXT_MAX 4096

/*
 * Writes a packet as `field=value` lines into `text` of PACKET_TEXT_MAX bytes. Strings and binary
 * data stand as they are, but what is no printable ASCII, a backslash and a `<`
 * as \xHH, and more than 24 times the same byte as <HH*count>.
 */
void packet_text(char *text, const struct any_packet *packet);

/* The name of a property in such a line; NULL for an identifier that does not exist. */
const char *packet_text_property(unsigned id);

#endif
