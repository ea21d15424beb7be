/*
 * Listeners: from --listen URLs, and what holds for each once all sources are read.
 *
 * It must not know files, lines or sockets: whether a name resolves or a port is free is for those
 * who bind.
 */
#include "broker/config_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "broker/url.h"

/* ---- protocols ---- */

const struct tf_config_protocol_info *tf_config_protocol_info(enum tf_config_protocol protocol)
{
    static const struct tf_config_protocol_info infos[TF_CONFIG_PROTOCOL_COUNT] = {
        [TF_CONFIG_PROTOCOL_MQTT] = {.name = "mqtt", .port = 1883},
        [TF_CONFIG_PROTOCOL_COAP] = {.name = "coap", .port = 5683, .datagrams = true},
        [TF_CONFIG_PROTOCOL_AMQP] = {.name = "amqp", .port = 5672},
    };

    return &infos[protocol];
}

enum tf_config_protocol tf_config_protocol_find(struct tf_config_text name)
{
    unsigned protocol = 0;

    while (protocol < TF_CONFIG_PROTOCOL_COUNT &&
           !tf_config_text_is(name, tf_config_protocol_info(protocol)->name))
        protocol++;
    return protocol;
}

/* ---- hosts ---- */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_name(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_';
}

/* True if it can be an IPv6 address, a scope (`%eth0`) included; who binds it will know. */
static bool is_ipv6(struct tf_config_text text)
{
    size_t i = 0, colons = 0;

    for (; i < text.length && text.data[i] != '%'; i++) {
        if (!is_hex(text.data[i]) && text.data[i] != ':' && text.data[i] != '.')
            return false;
        colons += text.data[i] == ':';
    }
    for (i += i < text.length; i < text.length; i++)
        if (!is_name(text.data[i]))
            return false;
    return colons >= 2;
}

enum tf_err tf_config_host_parse(struct tf_config_text text, char **ret_host)
{
    bool brackets = text.length >= 2 && text.data[0] == '[' && text.data[text.length - 1] == ']';
    char *host;

    if (text.length == 0 || tf_config_text_is(text, "*")) {
        *ret_host = NULL;
        return TF_OK;
    }
    if (text.length > TF_URL_HOST_MAX)
        return TF_PROTOCOL;
    if (brackets)
        text = (struct tf_config_text){text.data + 1, text.length - 2};
    if (!is_ipv6(text)) {
        for (size_t i = 0; i < text.length; i++)
            if (!is_name(text.data[i]))
                return TF_PROTOCOL;
        if (brackets)
            return TF_PROTOCOL;
    }
    host = tf_config_text_copy(text);
    if (!host)
        return TF_NO_MEMORY;
    *ret_host = host;
    return TF_OK;
}

/* ---- URLs ---- */

static enum tf_err url_parse(const char *url, struct tf_config_listener *listener,
                             const char **ret_why)
{
    struct tf_url_parts parts;
    struct tf_config_text host, scheme;

    *ret_why = "is not of the form mqtt://host:port, coap://host:port or amqp://host:port, with an "
               "IPv6 address in brackets";
    if (tf_url_split(url, &parts) || parts.has_user ||
        (parts.rest.length && !tf_bytes_equal(parts.rest, tf_bytes_str("/"))))
        return TF_PROTOCOL;
    scheme = (struct tf_config_text){(const char *)parts.scheme.data, parts.scheme.length};
    listener->protocol = tf_config_protocol_find(scheme);
    if (listener->protocol == TF_CONFIG_PROTOCOL_COUNT) {
        if (!tf_url_scheme_known(parts.scheme)) {
            *ret_why = "has an unknown scheme; this version serves mqtt, coap and amqp";
            return TF_PROTOCOL;
        }
        *ret_why = "has a scheme that is not available in this version; it serves mqtt, coap and "
                   "amqp";
        return TF_UNSUPPORTED;
    }
    if (tf_url_port(&parts, tf_config_protocol_info(listener->protocol)->port, &listener->port)) {
        *ret_why = "needs a port from 0 to 65535 after the last colon, and brackets around an "
                   "IPv6 address";
        return TF_PROTOCOL;
    }
    host = (struct tf_config_text){(const char *)parts.host.data, parts.host.length};
    if (parts.brackets) { /* as they stand in the URL, for what is in them must be an address */
        host.data--;
        host.length += 2;
    }
    return tf_config_host_parse(host, &listener->host);
}

enum tf_err tf_config_add_url(struct tf_config *config, const char *url,
                              struct tf_config_report *report)
{
    struct tf_config_place place = {.file = "--listen"};
    struct tf_config_text text = {url, strlen(url)};
    struct tf_config_listener listener;
    const char *why;
    char shown[80];
    enum tf_err err;

    tf_config_listener_init(&listener);
    listener.from_command = true;
    err = url_parse(url, &listener, &why);
    if (err)
        goto out;
    err = tf_config_listener_add(config, &listener);
    if (err == TF_LIMIT)
        why = "is one listener too many";
out:
    if (err)
        tf_config_listener_release(&listener);
    if (err && err != TF_NO_MEMORY)
        tf_config_report_add(report, TF_CONFIG_ERROR, place, "`%s` %s",
                             tf_config_text_show(text, shown, sizeof(shown)), why);
    return err;
}

/* ---- the end ---- */

/* True if nobody outside this machine can reach it, whatever the resolver says. */
static bool is_loopback(const struct tf_config_listener *listener)
{
    const char *host = listener->host;

    if (!host)
        return false;
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

static enum tf_err add_loopback(struct tf_config *config, enum tf_config_protocol protocol,
                                const char *host, bool may_fail)
{
    struct tf_config_listener listener;
    enum tf_err err = TF_NO_MEMORY;

    tf_config_listener_init(&listener);
    listener.from_command = true;
    listener.protocol = protocol;
    listener.port = tf_config_protocol_info(protocol)->port;
    listener.may_fail = may_fail;
    listener.host = strdup(host);
    if (listener.host)
        err = tf_config_listener_add(config, &listener);
    if (err)
        tf_config_listener_release(&listener);
    return err;
}

/* Where it listens when nobody said where: every protocol, for this machine only. */
static enum tf_err add_defaults(struct tf_config *config)
{
    enum tf_err err = TF_OK;

    for (unsigned protocol = 0; !err && protocol < TF_CONFIG_PROTOCOL_COUNT; protocol++) {
        err = add_loopback(config, protocol, "127.0.0.1", false);
        if (!err)
            err = add_loopback(config, protocol, "::1", true);
    }
    return err;
}

static enum tf_err access_complete(struct tf_config_access *access)
{
    if (!access->auto_id_prefix)
        access->auto_id_prefix = strdup("auto-");
    return access->auto_id_prefix ? TF_OK : TF_NO_MEMORY;
}

/* Gives a listener the access settings that hold for it. */
static enum tf_err listener_complete(const struct tf_config *config,
                                     struct tf_config_listener *listener)
{
    enum tf_err err = TF_OK;

    if (!config->per_listener_settings || listener->from_command)
        err = tf_config_access_copy(&listener->access, &config->access);
    if (err)
        return err;
    if (!listener->access.allow_anonymous_given)
        listener->access.allow_anonymous = listener->from_command && is_loopback(listener);
    return access_complete(&listener->access);
}

enum tf_err tf_config_finish(struct tf_config *config, struct tf_config_report *report)
{
    struct tf_config_place nowhere = {0};
    enum tf_err err;

    tf_config_queues_finish(config);
    err = config->listener_count ? TF_OK : add_defaults(config);
    if (!err)
        err = tf_config_store_finish(config, report);
    if (!err)
        err = access_complete(&config->access);
    for (size_t i = 0; !err && i < config->listener_count; i++) {
        struct tf_config_listener *listener = &config->listeners[i];

        err = listener_complete(config, listener);
        if (!err && !listener->access.allow_anonymous)
            tf_config_report_add(
                report, TF_CONFIG_WARNING, nowhere,
                "listener %u%s%s lets no client in: this version has no passwords, "
                "so `allow_anonymous true` is the only way",
                listener->port, listener->host ? " " : "", listener->host ? listener->host : "");
    }
    return !err || err == TF_NOT_FOUND ? err : TF_NO_MEMORY;
}
