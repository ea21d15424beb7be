/*
 * Addresses and filters: see address.h.
 */
#include "route/address.h"

#include "base/utf8.h"
#include "route/table.h"

#define ADDRESS_MAX 65535u

/* Text that could be an address but for wildcards. */
static bool text_valid(struct tf_bytes text)
{
    return text.length > 0 && text.length <= ADDRESS_MAX &&
           tf_address_levels(text) <= TF_LEVELS_MAX && tf_utf8_valid_mqtt(text);
}

bool tf_address_valid(struct tf_bytes address)
{
    for (size_t i = 0; i < address.length; i++) {
        if (address.data[i] == '+' || address.data[i] == '#') {
            return false;
        }
    }
    return text_valid(address);
}

bool tf_filter_valid(struct tf_bytes filter)
{
    for (size_t i = 0; i < filter.length; i++) {
        uint8_t byte = filter.data[i];
        if (byte != '+' && byte != '#') {
            continue;
        }
        if ((i > 0 && filter.data[i - 1] != '/') || /* 4.7.1-2, 4.7.1-3: a whole level */
            (i + 1 < filter.length && (byte == '#' || filter.data[i + 1] != '/'))) {
            return false;
        }
    }
    return text_valid(filter);
}
