/*
 * The queues of a running broker as a table, for the command that does more with them.
 *
 * It must not know how that takes its options.
 */
#ifndef TF_CLI_LIST_H
#define TF_CLI_LIST_H

#include <stdbool.h>

#include "cli/options.h"

/*
 * Lists the queues of the broker at the one URL that there may be, complete when it has been silent
 * for `wait_us` (0: the default). The exit code.
 */
int tf_cli_list_queues(const struct tf_cli_connection_options *connection, bool json,
                       tf_time wait_us, int count, char **urls);

#endif
