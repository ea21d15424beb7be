/*
 * Addresses of the system: see address.h.
 */
#include "broker/address.h"

static bool begins_with(struct tf_bytes text, struct tf_bytes head)
{
    return text.length >= head.length && tf_bytes_equal(head, tf_bytes_of(text.data, head.length));
}

bool tf_address_open(struct tf_bytes address)
{
    if (address.length == 0 || address.data[0] != '$') {
        return true;
    }
    return !begins_with(address, tf_bytes_str("$SYS")) &&
           !begins_with(address, tf_bytes_str("$share/")) &&
           !begins_with(address, tf_bytes_str("$queue/"));
}
