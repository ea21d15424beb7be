/*
 * The MQTT front: MQTT connections and sessions on a shard.
 *
 * A session is a queue, a consumer and what the protocol library remembers of deliveries under way;
 * it lives in the home shard of its client id. A connection starts where it was accepted and moves
 * there with CONNECT (docs/adr/0002).
 */
#ifndef TF_BROKER_MQTT_FRONT_H
#define TF_BROKER_MQTT_FRONT_H

#include "broker/front.h"

/* MQTT as the broker's table of protocols has it. */
extern const struct tf_front_type tf_mqtt_front_type;

#endif
