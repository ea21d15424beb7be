/*
 * The CoAP front: addresses as resources, on a shard.
 *
 * A value is a resource: GET reads it at its home, PUT and POST write it there, DELETE clears it,
 * Observe watches it. Which address is whose business the routing alone decides: a request may
 * arrive at any shard.
 */
#ifndef TF_BROKER_COAP_FRONT_H
#define TF_BROKER_COAP_FRONT_H

#include "broker/front.h"

/* CoAP as the broker's table of protocols has it. */
extern const struct tf_front_type tf_coap_front_type;

#endif
