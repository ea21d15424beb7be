/*
 * The URL of a command: where the broker is, who asks, and the address behind the slash.
 *
 * What follows `host:port/` is the address, literally and percent-decoded: `#` and `?` have no
 * meaning of their own, so filters can be written as they are. It must not know what an address
 * may be in a protocol, nor resolve names.
 */
#ifndef TF_CLI_URL_H
#define TF_CLI_URL_H

#include "broker/url.h"

#define TF_CLI_URL_WHY 256

struct tf_cli_url {
    char host[TF_URL_HOST_MAX + 1];
    uint16_t port;
    char *user;     /* malloc; NULL: none */
    char *password; /* malloc; NULL: none */
    char *address;  /* malloc; UTF-8 without NUL; "" if there is none */
};

/*
 * Reads mqtt://[user[:password]@]host[:port][/address]. On failure ret_why is a sentence for the
 * user that begins with the URL, its password left out. TF_PROTOCOL: it is not such a URL.
 * TF_UNSUPPORTED: a scheme that this version does not speak. TF_NO_MEMORY. Release it after use.
 */
TF_MUST_USE enum tf_err tf_cli_url_parse(const char *text, struct tf_cli_url *ret_url,
                                         char ret_why[TF_CLI_URL_WHY]);

/* The same for amqp://[user[:password]@]host[:port][/address]. */
TF_MUST_USE enum tf_err tf_cli_url_parse_amqp(const char *text, struct tf_cli_url *ret_url,
                                              char ret_why[TF_CLI_URL_WHY]);

/* True if it is a URL of AMQP, right or not. */
bool tf_cli_url_is_amqp(const char *text);

/* True if both name the same broker and the same user. */
bool tf_cli_url_same_broker(const struct tf_cli_url *a, const struct tf_cli_url *b);

/* Frees what a URL holds. A zeroed one holds nothing. */
void tf_cli_url_release(struct tf_cli_url *url);

#endif
