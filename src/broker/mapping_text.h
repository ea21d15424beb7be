/*
 * AMQP's scalar values as text, for what has no types: MQTT's user properties and JSON.
 *
 * For src/broker/mapping*.c, and for what the command line prints (cli/amqp_json.c).
 */
#ifndef TF_BROKER_MAPPING_TEXT_H
#define TF_BROKER_MAPPING_TEXT_H

#include <trefoil/amqp_value.h>

#define TF_MAPPING_TEXT_MAX 64u /* bytes of any of them that is not a text itself */

/*
 * The text of a scalar: a string or symbol as it is, else written into `buffer`. Numbers as JSON
 * has them, booleans as true and false, timestamps as 2026-11-20T10:00:00.000Z, UUIDs in 36
 * characters. *ret_literal: JSON has it without quotes. False: it has none (null, binary, a number
 * that is not finite, a compound).
 */
bool tf_mapping_text_of(const struct tf_amqp_value *value, char buffer[TF_MAPPING_TEXT_MAX],
                        struct tf_bytes *ret_text, bool *ret_literal);

#endif
