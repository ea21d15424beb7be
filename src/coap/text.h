/*
 * The little that URIs, links and names share about text: ASCII without a libc.
 */
#ifndef TF_COAP_TEXT_H
#define TF_COAP_TEXT_H

#include <trefoil/bytes.h>

/* The small letter of a capital one, anything else as it is. */
static inline uint8_t tf_coap_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* True for 0 to 9. */
static inline bool tf_coap_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* The value of a hexadecimal digit; 16: it is none. */
unsigned tf_coap_hex(uint8_t c);

/* True if `set` has the character. */
bool tf_coap_among(const char *set, uint8_t c);

/* True if two texts are the same but for the case of letters. */
bool tf_coap_same_text(struct tf_bytes a, struct tf_bytes b);

/* Writes a number in decimal. */
void tf_coap_decimal_write(struct tf_writer *out, uint32_t number);

/* Reads all of `text` as a number in decimal, `most` at most. */
bool tf_coap_decimal_read(struct tf_bytes text, uint32_t most, uint32_t *ret);

#endif
