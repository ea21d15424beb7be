/*
 * A CoAP request as a command line says it: where to, with which options.
 *
 * It must not know sockets, nor what the request is for.
 */
#ifndef TF_CLI_COAP_REQUEST_H
#define TF_CLI_COAP_REQUEST_H

#include <trefoil/coap_uri.h>

#include "broker/url.h"

#define TF_CLI_COAP_OPTIONS_MAX 128 /* of a request */
#define TF_CLI_COAP_WHY 320

/* Options of the command line, in the order given. Zeroed: none. */
struct tf_cli_coap_options {
    struct tf_coap_option list[TF_CLI_COAP_OPTIONS_MAX];
    size_t count;
    uint8_t memory[8192]; /* of values */
    size_t used;
};

/* Where a request goes. */
struct tf_cli_coap_target {
    const char *text; /* the URL as it was given */
    struct tf_coap_uri uri;
    char host[TF_URL_HOST_MAX + 1];                         /* for the resolver */
    struct tf_coap_option options[TF_CLI_COAP_OPTIONS_MAX]; /* those of the URL and all others */
    size_t option_count;
    uint8_t *memory; /* malloc */
};

/*
 * Adds an option. On failure ret_why is a sentence. TF_PROTOCOL: the option cannot have such a
 * value. TF_LIMIT: there are too many.
 */
TF_MUST_USE enum tf_err tf_cli_coap_option_add(struct tf_cli_coap_options *options, uint16_t number,
                                               struct tf_bytes value,
                                               char ret_why[TF_CLI_COAP_WHY]);

/* The same with a number as its value. */
TF_MUST_USE enum tf_err tf_cli_coap_option_add_uint(struct tf_cli_coap_options *options,
                                                    uint16_t number, uint32_t value,
                                                    char ret_why[TF_CLI_COAP_WHY]);

/* Adds the option that `text` says: NAME=VALUE, NUMBER=VALUE, or a name alone where it is empty. */
TF_MUST_USE enum tf_err tf_cli_coap_option_take(struct tf_cli_coap_options *options,
                                                const char *text, char ret_why[TF_CLI_COAP_WHY]);

/* Adds a content format by name or number as option `number`. */
TF_MUST_USE enum tf_err tf_cli_coap_format_take(struct tf_cli_coap_options *options,
                                                uint16_t number, const char *text,
                                                char ret_why[TF_CLI_COAP_WHY]);

/* Adds an opaque value of hexadecimal digits, such as an ETag. */
TF_MUST_USE enum tf_err tf_cli_coap_opaque_take(struct tf_cli_coap_options *options,
                                                uint16_t number, const char *text,
                                                char ret_why[TF_CLI_COAP_WHY]);

/* True if there is an option of that number. */
bool tf_cli_coap_option_has(const struct tf_cli_coap_options *options, uint16_t number);

/*
 * Reads coap://host[:port][/path][?query] and puts the options of it and the others in order;
 * `path`, if not NULL, is that of a URL without one. `text` and `options` must outlive it. On
 * failure ret_why is a sentence that begins with the URL. TF_PROTOCOL. TF_UNSUPPORTED: a scheme
 * that this version does not speak. TF_LIMIT: too many options. TF_NO_MEMORY. Release it after use.
 */
TF_MUST_USE enum tf_err tf_cli_coap_target_init(struct tf_cli_coap_target *target, const char *text,
                                                const char *path,
                                                const struct tf_cli_coap_options *options,
                                                char ret_why[TF_CLI_COAP_WHY]);

/* Frees what it holds. A zeroed one holds nothing. */
void tf_cli_coap_target_release(struct tf_cli_coap_target *target);

/* True if both are at the same host and port. */
bool tf_cli_coap_target_same_peer(const struct tf_cli_coap_target *a,
                                  const struct tf_cli_coap_target *b);

/* True if a URL's scheme is one of CoAP's, whether this version speaks it or not. */
bool tf_cli_coap_url(const char *text);

#endif
