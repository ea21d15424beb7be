/*
 * What an address is, and which of them a client may publish to, whatever it speaks.
 */
#ifndef TF_BROKER_ADDRESS_H
#define TF_BROKER_ADDRESS_H

#include <trefoil/bytes.h>

/*
 * True for 1 to 65,535 bytes of UTF-8 without U+0000 and wildcards, of at most TF_LEVELS_MAX
 * levels.
 */
bool tf_address_valid(struct tf_bytes address);

/* The same for a filter: `+` may stand for a level, and `#` for the last ones (MQTT 5.0 4.7.1). */
bool tf_filter_valid(struct tf_bytes filter);

/* False for what is the system's: $SYS and the names that only mean something to a subscriber. */
bool tf_address_open(struct tf_bytes address);

#endif
