/*
 * Requests to a broker's node `$management`, by AMQP: what is to be done with a queue.
 *
 * The answer comes to a node that the broker makes for this connection. It must not know how
 * commands take their options.
 */
#ifndef TF_CLI_AMQP_MANAGE_H
#define TF_CLI_AMQP_MANAGE_H

#include <jansson.h>

#include "cli/amqp_plain.h"

/* A request, in the terms of the node. */
struct tf_cli_amqp_request {
    const char *operation; /* READ, CREATE, DELETE, PURGE, MOVE */
    const char *name;      /* of the queue */
    const char *to;        /* MOVE */
    uint64_t limit;        /* MOVE; 0: none */
    bool if_empty, if_unused;
};

/*
 * Asks, and waits for the answer. The exit code; of 0 *ret_answer is the answer's body as a JSON
 * object, the caller's; else stderr tells why.
 */
int tf_cli_amqp_manage(const struct tf_cli_amqp_plain *plain, const struct tf_cli_url *url,
                       const struct tf_cli_amqp_request *request, json_t **ret_answer);

#endif
