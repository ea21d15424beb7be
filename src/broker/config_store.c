/*
 * What the configuration says of the store: where it is, how safe what is kept there, and what a
 * restart loses.
 *
 * It must not know files or lines, nor what the store does with any of it.
 */
#include "broker/config_keys.h"

#include <stdlib.h>
#include <string.h>

/* ---- address blocks ---- */

enum tf_err tf_config_address_add(struct tf_config *config, struct tf_config_text filter)
{
    struct tf_config_address *grown;
    char *copy;

    for (size_t i = 0; i < config->address_count; i++)
        if (tf_config_text_is(filter, config->addresses[i].filter))
            return TF_EXISTS;
    if (config->address_count >= TF_CONFIG_ADDRESS_MAX)
        return TF_LIMIT;
    copy = tf_config_text_copy(filter);
    if (!copy)
        return TF_NO_MEMORY;
    grown = realloc(config->addresses, (config->address_count + 1) * sizeof(*grown));
    if (!grown) {
        free(copy);
        return TF_NO_MEMORY;
    }
    config->addresses = grown;
    grown += config->address_count++;
    *grown = (struct tf_config_address){0};
    tf_config_value_defaults(TF_CONFIG_SCOPE_ADDRESS, grown);
    grown->filter = copy;
    return TF_OK;
}

void tf_config_addresses_release(struct tf_config *config)
{
    for (size_t i = 0; i < config->address_count; i++)
        free(config->addresses[i].filter);
    free(config->addresses);
    config->addresses = NULL;
    config->address_count = 0;
}

enum tf_err tf_config_addresses_clone(struct tf_config *to, const struct tf_config *from)
{
    for (size_t i = 0; i < from->address_count; i++) {
        const char *filter = from->addresses[i].filter;
        enum tf_err err =
            tf_config_address_add(to, (struct tf_config_text){filter, strlen(filter)});

        if (err)
            return TF_NO_MEMORY;
        to->addresses[i].durability = from->addresses[i].durability;
    }
    return TF_OK;
}

bool tf_config_addresses_equal(const struct tf_config *a, const struct tf_config *b)
{
    if (a->address_count != b->address_count)
        return false;
    for (size_t i = 0; i < a->address_count; i++)
        if (a->addresses[i].durability != b->addresses[i].durability ||
            strcmp(a->addresses[i].filter, b->addresses[i].filter) != 0)
            return false;
    return true;
}

/* ---- finished ---- */

enum tf_err tf_config_store_finish(struct tf_config *config, struct tf_config_report *report)
{
    struct tf_config_place nowhere = {0};

    for (size_t i = 0; i < config->listener_count; i++)
        if (config->listeners[i].durability == TF_CONFIG_DURABILITY_INHERIT)
            config->listeners[i].durability = config->durability;
    if (config->memory) {
        free(config->data);
        config->data = NULL;
        return TF_OK;
    }
    if (!config->data && config->persistence) {
        const char *folder =
            config->persistence_location ? config->persistence_location : config->data_default;

        if (!folder) {
            tf_config_report_add(report, TF_CONFIG_ERROR, nowhere,
                                 "nothing says where to keep data, neither XDG_STATE_HOME nor "
                                 "HOME: name a folder by --data or `data`, or say --memory");
            return TF_NOT_FOUND;
        }
        config->data = strdup(folder);
        return config->data ? TF_OK : TF_NO_MEMORY;
    }
    return TF_OK;
}

/* ---- --check ---- */

/* What is said of a thing that is kept less safe than on the disk; NULL: it is. */
static const char *loss(uint8_t durability)
{
    switch (durability) {
    case TF_CONFIG_DURABILITY_MEMORY:
        return "in memory, and lost when the broker ends";
    case TF_CONFIG_DURABILITY_OS:
        return "written, and lost if the machine fails before the system has brought it to the "
               "disk";
    default:
        return NULL;
    }
}

void tf_config_store_check(const struct tf_config *config, struct tf_config_report *report)
{
    struct tf_config_place nowhere = {0};

    if (!config->data) {
        tf_config_report_add(report, TF_CONFIG_NOTE, nowhere,
                             "%s: everything is kept in memory: sessions with their subscriptions "
                             "and what waits for them, queues and retained messages are lost when "
                             "the broker ends; name a folder by `data` or --data, or say "
                             "`persistence true`",
                             config->memory ? "--memory" : "`persistence false`");
        return;
    }
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct tf_config_listener *listener = &config->listeners[i];

        if (loss(listener->durability))
            tf_config_report_add(report, TF_CONFIG_NOTE, nowhere,
                                 "`durability` of listener %u%s%s: what comes by it, and its "
                                 "sessions, are acknowledged when they are %s",
                                 listener->port, listener->host ? " " : "",
                                 listener->host ? listener->host : "", loss(listener->durability));
    }
    for (size_t i = 0; i < config->queue_count; i++)
        if (loss(config->queues[i].durability))
            tf_config_report_add(report, TF_CONFIG_NOTE, nowhere, "queue `%s` is kept %s",
                                 config->queues[i].name, loss(config->queues[i].durability));
    for (size_t i = 0; i < config->address_count; i++)
        if (loss(config->addresses[i].durability))
            tf_config_report_add(report, TF_CONFIG_NOTE, nowhere, "messages for `%s` are kept %s",
                                 config->addresses[i].filter,
                                 loss(config->addresses[i].durability));
}
