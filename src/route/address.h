/*
 * What an address is, and what a filter of addresses is, whoever speaks of it: a client, a
 * configuration, or a record of the store.
 */
#ifndef TF_ROUTE_ADDRESS_H
#define TF_ROUTE_ADDRESS_H

#include <trefoil/bytes.h>

/*
 * True for 1 to 65,535 bytes of UTF-8 without U+0000 and wildcards, of at most TF_LEVELS_MAX
 * levels.
 */
bool tf_address_valid(struct tf_bytes address);

/* The same for a filter: `+` may stand for a level, and `#` for the last ones (MQTT 5.0 4.7.1). */
bool tf_filter_valid(struct tf_bytes filter);

#endif
