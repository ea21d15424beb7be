/*
 * How safe things are kept: see durability.h.
 */
#include "broker/durability.h"

#include "base/util.h"
#include "route/table.h"

_Static_assert((int)TF_CONFIG_DURABILITY_MEMORY == (int)TF_STORE_MEMORY &&
                   (int)TF_CONFIG_DURABILITY_OS == (int)TF_STORE_OS &&
                   (int)TF_CONFIG_DURABILITY_DISK == (int)TF_STORE_DISK,
               "the configuration's words are the store's levels");

enum tf_store_level tf_durability_of_listener(const struct tf_config *config, size_t listener)
{
    return (enum tf_store_level)config->listeners[listener].durability;
}

uint8_t tf_durability_slack(const struct tf_config *config, size_t listener,
                            struct tf_bytes address)
{
    uint8_t level = config->listeners[listener].durability;
    for (size_t i = 0; i < config->address_count && level > TF_STORE_MEMORY; i++) {
        const struct tf_config_address *block = &config->addresses[i];
        if (block->durability < level && tf_filter_matches(tf_bytes_str(block->filter), address)) {
            level = block->durability;
        }
    }
    return (uint8_t)(TF_STORE_DISK - level);
}
