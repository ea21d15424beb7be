/*
 * The sections of a message that are composite types, for its reader and writers.
 */
#ifndef TF_AMQP_SECTION_H
#define TF_AMQP_SECTION_H

#include "amqp/composite.h"

extern const struct tf_amqp_set tf_amqp_header_set;     /* of struct tf_amqp_header */
extern const struct tf_amqp_set tf_amqp_properties_set; /* of struct tf_amqp_properties */

#endif
