/*
 * The numbers of CoAP by name, and back: for people, logs and command lines. A device that speaks
 * only numbers links nothing of it.
 *
 * Names are those of the IANA registries "CoRE Parameters". Reading ignores case.
 */
#ifndef TREFOIL_COAP_NAMES_H
#define TREFOIL_COAP_NAMES_H

#include <trefoil/coap_message.h>

/* ---- messages ---- */

/* "CON", "NON", "ACK" or "RST"; static. */
const char *tf_coap_type_name(enum tf_coap_type type);

/* "GET", "Content", "Not Found"; NULL: not registered. Static. */
const char *tf_coap_code_name(uint8_t code);

/* Writes a code as people do: "GET", "2.05 Content", "4.07"; "0.00 Empty" too has its number. */
void tf_coap_code_write(struct tf_writer *out, uint8_t code);

/*
 * A code from "get", "2.05", "not found" or "2.05 Content", whose name is not looked at. False: it
 * is none of these.
 */
bool tf_coap_code_find(struct tf_bytes text, uint8_t *ret);

/* ---- options ---- */

/* "Uri-Path"; NULL: not registered. Static. */
const char *tf_coap_option_name(uint16_t number);

/* The number of an option from its name or from decimal digits. False: neither. */
bool tf_coap_option_number(struct tf_bytes text, uint16_t *ret);

/*
 * Writes an option's value as people read it: text as it is but for control characters, which
 * become \xHH, as does what is no UTF-8; numbers in decimal; blocks as "number/more/size", 3/1/64;
 * formats by name where they have one; anything else in hexadecimal digits, and so are values
 * of an illegal length.
 */
void tf_coap_option_write(struct tf_writer *out, const struct tf_coap_option *option);

/*
 * The value of an option from text of that form, into `memory`: text is taken as it is, formats by
 * name or number, hexadecimal digits with or without "0x" before them. *ret is a view of `memory`
 * or of `text`. TF_PROTOCOL: not of that form, or a length that the option cannot have.
 * TF_NO_MEMORY: `memory` is too small.
 */
TF_MUST_USE enum tf_err tf_coap_option_read(struct tf_bytes *ret, uint16_t number,
                                            struct tf_bytes text, struct tf_writer *memory);

/* ---- content formats ---- */

/*
 * The media type of a Content-Format, with its parameters: "application/json", "text/plain;
 * charset=utf-8"; NULL: not registered. *ret_coding, if not NULL, becomes the content coding,
 * "deflate", or NULL for none. Static.
 */
const char *tf_coap_format_name(uint16_t number, const char **ret_coding);

/*
 * The Content-Format of a media type without content coding. Case, white space around `;` and
 * quotes do not matter; "text/plain" is 0 with `charset=utf-8` or with no charset. False: not
 * registered.
 */
bool tf_coap_format_number(struct tf_bytes media_type, uint16_t *ret);

/*
 * The same for a command line: a media type, decimal digits, or a short form such as "text",
 * "json", "cbor", "senml+json", which is a type's last part.
 */
bool tf_coap_format_find(struct tf_bytes text, uint16_t *ret);

/* The short form that tf_coap_format_find knows of a format, NULL: none. Static. */
const char *tf_coap_format_alias(uint16_t number);

#endif
