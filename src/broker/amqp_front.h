/*
 * The AMQP 1.0 front: links become consumers and producers of named queues, and publishers to
 * addresses.
 */
#ifndef TF_BROKER_AMQP_FRONT_H
#define TF_BROKER_AMQP_FRONT_H

#include "broker/front.h"

extern const struct tf_front_type tf_amqp_front_type;

#endif
