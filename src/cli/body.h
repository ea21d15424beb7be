/*
 * Bodies as the command line shows them, whatever protocol they came by.
 *
 * It must not know messages.
 */
#ifndef TF_CLI_BODY_H
#define TF_CLI_BODY_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include <trefoil/bytes.h>
#include <trefoil/err.h>

/*
 * Writes bytes for a terminal: what could move its cursor or set its title becomes an escape, and
 * so does what is no UTF-8.
 */
void tf_cli_body_shown(struct tf_bytes bytes, FILE *out);

/* Writes hexadecimal digits, in capitals if `high`. */
void tf_cli_body_hex(struct tf_bytes bytes, bool high, FILE *out);

/* True if a media type is JSON: application/json, or one that ends in +json. */
bool tf_cli_body_says_json(struct tf_bytes media_type);

/* A JSON string in base64 (RFC 4648 4). NULL: no memory. */
json_t *tf_cli_body_base64(struct tf_bytes bytes);

/* A JSON string: the text if it is UTF-8, else base64. NULL: no memory. */
json_t *tf_cli_body_text(struct tf_bytes bytes);

/*
 * Writes `object`, which it frees, with the body as its last member: `body_json` if the body is a
 * JSON object or array, or any JSON text that `says_json` tells of; `body` if it is UTF-8; else
 * `body_base64`. Numbers in body_json are copied letter by letter. One line, no newline.
 * TF_NO_MEMORY: also if `object` is NULL.
 */
TF_MUST_USE enum tf_err tf_cli_body_json(json_t *object, struct tf_bytes body, bool says_json,
                                         FILE *out);

/* Writes JSON over several lines, indented, and a newline. False: it is no JSON, nothing written.
 */
bool tf_cli_body_pretty(struct tf_bytes body, FILE *out);

#endif
