/*
 * `trefoil pub`, `sub` and `get` of coap:// URLs: a PUT, an observation, a GET.
 *
 * What they print is what they print of other protocols' messages. They must not know how those
 * commands take their options.
 */
#ifndef TF_CLI_COAP_PLAIN_H
#define TF_CLI_COAP_PLAIN_H

#include "cli/coap_body.h"
#include "cli/coap_run.h"
#include "cli/message.h"

/* What the three have in common. */
struct tf_cli_coap_plain {
    const struct tf_cli_manual *manual;
    tf_time timeout_us; /* of the whole; 0: none */
    bool non;           /* QoS 0 */
    bool trace;
};

struct tf_cli_coap_publish {
    struct tf_cli_coap_plain plain;
    struct tf_cli_coap_source source; /* `empty`: the body; unless `lines` */
    const char *content_type;         /* NULL: none */
    uint64_t repeat;                  /* times, at least 1 */
    tf_time repeat_delay_us;
    bool lines;  /* a message for each line of standard input */
    bool remove; /* DELETE */
};

struct tf_cli_coap_subscribe {
    struct tf_cli_coap_plain plain;
    const struct tf_cli_style *style;
    uint64_t count; /* 0: no limit */
    bool new_only;
};

/* Publishes to a URL; the exit code. */
int tf_cli_coap_publish(const struct tf_cli_coap_publish *publish, const char *url);

/* Prints what URLs are set to; the exit code. */
int tf_cli_coap_subscribe(const struct tf_cli_coap_subscribe *subscribe, int count, char **urls);

/* Prints the value at a URL; the exit code. */
int tf_cli_coap_fetch(const struct tf_cli_coap_plain *plain, const struct tf_cli_style *style,
                      const char *url);

/*
 * Writes an answer as a message: its address is the URL's path. TF_NO_MEMORY: nothing, or a part.
 */
TF_MUST_USE enum tf_err tf_cli_coap_message_print(const struct tf_cli_style *style,
                                                  const struct tf_cli_coap_call *call,
                                                  const struct tf_cli_coap_answer *answer,
                                                  bool retain, FILE *out);

#endif
