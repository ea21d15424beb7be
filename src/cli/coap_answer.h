/*
 * The answer to a CoAP request as the command line shows it: its body as text, JSON, raw bytes or
 * hexadecimal digits; links as a list.
 *
 * It must not know how answers come.
 */
#ifndef TF_CLI_COAP_ANSWER_H
#define TF_CLI_COAP_ANSWER_H

#include <stdio.h>

#include <jansson.h>

#include "cli/coap_run.h"
#include "cli/message.h"

/* How to show answers. */
struct tf_cli_coap_style {
    enum tf_cli_output output; /* without TF_CLI_FORMAT */
    bool terminal;             /* control characters of bodies are shown, not sent */
    bool colour;               /* of URLs */
    bool pretty;               /* text: JSON indented, links a line each */
    bool links;                /* text and JSON: the body is links, for people to read */
    bool url;                  /* text and hex: the URL before the body */
    bool time;                 /* text and hex: the time before it */
};

/*
 * Writes an answer to stdout, and to stderr what refuses. `url` is the request's. TF_NO_MEMORY:
 * nothing, or a part. Errors of `out` stay on it.
 */
TF_MUST_USE enum tf_err tf_cli_coap_answer_print(const struct tf_cli_coap_style *style,
                                                 const struct tf_cli_coap_target *target,
                                                 const struct tf_cli_coap_answer *answer,
                                                 FILE *out);

/* Says on stderr that a request was refused, and the peer's words if it has some. */
void tf_cli_coap_answer_refusal(const char *command, const struct tf_cli_coap_target *target,
                                const struct tf_cli_coap_answer *answer);

/*
 * The media type of an answer's Content-Format; NULL: none or not registered. *ret_format, if not
 * NULL, is its number, -1: none.
 */
const char *tf_cli_coap_media_type(struct tf_bytes options, int *ret_format);

/* ---- the parts (coap_links.c) ---- */

/*
 * Writes links a line each: target, then attributes. `base`, if not empty, is the URI that targets
 * are resolved against. False: the text is no link format from some place on; what is before it
 * was written.
 */
bool tf_cli_coap_links_print(struct tf_bytes text, struct tf_bytes base, FILE *out);

/* The same as an array of objects: `target`, `uri`, and the attributes. NULL: no memory. */
json_t *tf_cli_coap_links_json(struct tf_bytes text, struct tf_bytes base);

#endif
