/*
 * Which addresses (route/address.h) a client may publish to, whatever it speaks.
 */
#ifndef TF_BROKER_ADDRESS_H
#define TF_BROKER_ADDRESS_H

#include "route/address.h"

/* False for what is the system's: $SYS and the names that only mean something to a subscriber. */
bool tf_address_open(struct tf_bytes address);

#endif
