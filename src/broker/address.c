/*
 * Addresses of clients: see address.h.
 */
#include "broker/address.h"

#include "base/views.h"

bool tf_address_open(struct tf_bytes address)
{
    if (address.length == 0 || address.data[0] != '$') {
        return true;
    }
    return !tf_bytes_begin(address, tf_bytes_str("$SYS")) &&
           !tf_bytes_begin(address, tf_bytes_str("$share/")) &&
           !tf_bytes_begin(address, tf_bytes_str("$queue/"));
}
