/*
 * The options of how messages are printed, which `sub` and `get` share.
 *
 * It must not know where the messages come from.
 */
#ifndef TF_CLI_PRINT_H
#define TF_CLI_PRINT_H

#include <trefoil/mqtt_client.h>

#include "cli/manual.h"
#include "cli/message.h"

/* -F, -o, -N. */
extern const struct tf_cli_group tf_cli_print_group;

/* Takes one of them. As tf_cli_take, but TF_CLI_KEY_OWN: it is none of them. */
int tf_cli_print_take(struct tf_cli_style *style, const struct tf_cli_manual *manual, int key,
                      const char *value);

/* What depends on whether somebody is looking; after the options. */
void tf_cli_print_complete(struct tf_cli_style *style);

/* Prints the message of a PUBLISH event. TF_NO_MEMORY: nothing, or a part. */
TF_MUST_USE enum tf_err tf_cli_print(const struct tf_cli_style *style,
                                     const struct tf_mqtt_client_event *event);

#endif
