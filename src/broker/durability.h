/*
 * How safe things are kept, as the configuration says it: by listener, by address, by queue.
 *
 * A queue and a session have a level of their own; a message that came by a listener, or for an
 * address, that is content with less is kept at the lower of the two (tf_envelope.slack).
 */
#ifndef TF_BROKER_DURABILITY_H
#define TF_BROKER_DURABILITY_H

#include <trefoil/bytes.h>

#include "broker/config.h"
#include "store/store.h"

/* The level of sessions and durable subscriptions that are made by a listener. */
enum tf_store_level tf_durability_of_listener(const struct tf_config *config, size_t listener);

/* tf_envelope.slack of what comes by a listener for an address: the greater of both. */
uint8_t tf_durability_slack(const struct tf_config *config, size_t listener,
                            struct tf_bytes address);

#endif
