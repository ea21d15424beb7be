/*
 * The body that a command sends: text, a file, or all of standard input.
 *
 * It must not know what it is sent by.
 */
#ifndef TF_CLI_COAP_BODY_H
#define TF_CLI_COAP_BODY_H

#include <stdbool.h>

#include <trefoil/bytes.h>

#include "cli/manual.h"

/* Where it comes from; zeroed: nowhere. */
struct tf_cli_coap_source {
    const char *text, *file;
    bool input, empty;
};

/*
 * Takes -m, -f, -s or -n, as tf_cli_take does; only one of them may be given. `value` is the
 * option's.
 */
int tf_cli_coap_source_take(struct tf_cli_coap_source *source, const struct tf_cli_manual *manual,
                            int key, const char *value);

/* True if one was given. */
bool tf_cli_coap_source_given(const struct tf_cli_coap_source *source);

/*
 * Reads it to its end; *ret_memory (malloc, or NULL) is what *ret_body lies in. Below 0: done; else
 * the exit code, and a sentence went to stderr.
 */
int tf_cli_coap_source_read(const struct tf_cli_coap_source *source,
                            const struct tf_cli_manual *manual, uint8_t **ret_memory,
                            struct tf_bytes *ret_body);

#endif
