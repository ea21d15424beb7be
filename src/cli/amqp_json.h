/*
 * Values of AMQP as JSON, for people and their scripts: as the broker shows bodies to protocols
 * that have no types (docs/mapping.md).
 *
 * It must not know messages.
 */
#ifndef TF_CLI_AMQP_JSON_H
#define TF_CLI_AMQP_JSON_H

#include <jansson.h>

#include <trefoil/amqp_value.h>

/*
 * A checked value as JSON: null, true, numbers, lists, arrays and maps are JSON's; binary is
 * base64; all else, and an integer of more than 63 bits, is a string. Descriptors are left out.
 * NULL: no memory.
 */
json_t *tf_cli_amqp_json(const struct tf_amqp_value *value);

#endif
