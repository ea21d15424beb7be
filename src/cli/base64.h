/*
 * Reading base64 (RFC 4648 4); writing is tf_cli_body_base64.
 */
#ifndef TF_CLI_BASE64_H
#define TF_CLI_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include <trefoil/err.h>

/*
 * The bytes of a text, for free(); at least one is allocated. TF_PROTOCOL: it is no base64: wrong
 * letters, no padding, bits left over. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_cli_base64_read(const char *text, size_t length, uint8_t **ret_data,
                                           size_t *ret_length);

#endif
