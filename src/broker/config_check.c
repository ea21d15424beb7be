/*
 * What --check adds: the defaults that lose data, and limits that were taken off.
 *
 * Why: a broker that drops messages as configured looks exactly like one that works, until the day
 * it matters. It must not know files or the running broker.
 */
#include "broker/config_keys.h"

/* One default that loses data, with its value. */
static void check_default(const struct tf_config *config, const struct tf_config_key *key,
                          struct tf_config_report *report)
{
    struct tf_config_place nowhere = {0};
    char value[80];

    tf_config_value_print(key, config, value, sizeof(value));
    tf_config_report_add(report, TF_CONFIG_NOTE, nowhere, "default `%s %s`: %s", key->name, value,
                         key->loss);
}

/* One limit that was taken off, if the key has a loss: the loss is then memory. */
static void check_limit(const struct tf_config *config, const struct tf_config_key *key,
                        struct tf_config_report *report)
{
    struct tf_config_place nowhere = {0};
    uint64_t number = tf_config_value_number(key, config);

    if (key->kind == TF_CONFIG_KIND_NUMBER && number > key->most)
        tf_config_report_add(report, TF_CONFIG_NOTE, nowhere,
                             "`%s 0`: without this limit, clients can take all memory of the "
                             "machine",
                             key->name);
}

void tf_config_check(const struct tf_config *config, struct tf_config_report *report)
{
    struct tf_config_place nowhere = {0};

    for (size_t i = 0; i < tf_config_key_count; i++) {
        const struct tf_config_key *key = &tf_config_keys[i];

        if (!key->loss || key->scope != TF_CONFIG_SCOPE_GLOBAL)
            continue;
        if (!tf_config_key_given(config, key))
            check_default(config, key, report);
        else
            check_limit(config, key, report);
    }
    tf_config_store_check(config, report);
    if (!config->retain_available)
        tf_config_report_add(report, TF_CONFIG_NOTE, nowhere,
                             "`retain_available false`: a client that sends a retained message is "
                             "disconnected");
    if (config->persistent_client_expiration_s != TF_CONFIG_UNLIMITED)
        tf_config_report_add(report, TF_CONFIG_NOTE, nowhere,
                             "`persistent_client_expiration`: a session that nobody comes back to "
                             "is dropped after %u hours, with all that waits in it",
                             config->persistent_client_expiration_s / 3600);
}
