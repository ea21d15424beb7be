/*
 * AMQP messages as `sub`, `get` and `queues peek` print them: like other protocols' messages, with
 * all that AMQP has beside.
 *
 * It must not know where they come from.
 */
#ifndef TF_CLI_AMQP_PRINT_H
#define TF_CLI_AMQP_PRINT_H

#include "cli/message.h"

/* A message with what its link knows of it. */
struct tf_cli_amqp_incoming {
    struct tf_bytes bytes; /* its sections */
    const char *address;   /* of the node that it came from: shown if it has no `to` */
    uint8_t qos;           /* 0 pre-settled, 1 settled first, 2 second */
};

/*
 * Writes a message. TF_PROTOCOL: it is malformed, nothing was written. TF_NO_MEMORY: nothing, or a
 * part.
 */
TF_MUST_USE enum tf_err tf_cli_amqp_print(const struct tf_cli_style *style,
                                          const struct tf_cli_amqp_incoming *incoming, FILE *out);

#endif
