/*
 * The URL of a command.
 */
#include "cli/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/util.h"

#define PORT_MQTT 1883
#define PORT_AMQP 5672

/* What a command's URL may begin with, and what is said of one that does not. */
struct scheme {
    const char *name;
    uint16_t port;
    const char *no_host, *known, *unknown, *no_url;
};

static const struct scheme mqtt = {
    "mqtt",
    PORT_MQTT,
    "names no host: write for example mqtt://localhost/ADDRESS",
    "has a scheme that is not available here: mqtt is; coap and amqp for some commands",
    "has an unknown scheme; this version speaks mqtt, coap and amqp",
    "is no URL; it must begin like mqtt://localhost/ADDRESS, with an IPv6 address in brackets"};
static const struct scheme amqp = {
    "amqp",
    PORT_AMQP,
    "names no host: write for example amqp://localhost/ADDRESS",
    "has a scheme that is not available here: amqp is",
    "has an unknown scheme: it must be amqp",
    "is no URL; it must begin like amqp://localhost/ADDRESS, with an IPv6 address in brackets"};

/* The value of a hexadecimal digit; -1: it is none. */
static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986 2.1. NULL with *ret_why: it cannot be decoded, or is no text; or there is no memory. */
static char *decode(struct tf_bytes in, enum tf_err *ret_err, const char **ret_why)
{
    char *out = malloc(in.length + 1);
    size_t length = 0;
    if (!out) {
        *ret_err = TF_NO_MEMORY;
        *ret_why = "does not fit into memory";
        return NULL;
    }
    for (size_t i = 0; i < in.length; i++) {
        uint8_t c = in.data[i];
        if (c == '%') {
            bool there = in.length - i > 2;
            int high = there ? digit_of(in.data[i + 1]) : -1;
            int low = there ? digit_of(in.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                *ret_err = TF_PROTOCOL;
                *ret_why = "has a % without two hexadecimal digits: write %25 for a percent sign";
                free(out);
                return NULL;
            }
            c = (uint8_t)(high * 16 + low);
            i += 2;
        }
        out[length++] = (char)c;
    }
    out[length] = 0;
    if (!tf_utf8_valid_mqtt(tf_bytes_of(out, length))) {
        *ret_err = TF_PROTOCOL;
        *ret_why = "is not UTF-8 without NUL when it is percent-decoded";
        free(out);
        return NULL;
    }
    return out;
}

static enum tf_err take_host(const struct scheme *scheme, const struct tf_url_parts *parts,
                             struct tf_cli_url *url, const char **ret_why)
{
    if (parts->host.length == 0) {
        *ret_why = scheme->no_host;
        return TF_PROTOCOL;
    }
    if (parts->host.length > TF_URL_HOST_MAX || memchr(parts->host.data, ' ', parts->host.length) ||
        (!parts->brackets && memchr(parts->host.data, '%', parts->host.length))) {
        *ret_why = "has a host that is no name and no number";
        return TF_PROTOCOL;
    }
    memcpy(url->host, parts->host.data, parts->host.length);
    url->host[parts->host.length] = 0;
    char *scope = strstr(url->host, "%25"); /* RFC 6874 2 */
    if (scope) {
        memmove(scope + 1, scope + 3, strlen(scope + 3) + 1);
    }
    if (tf_url_port(parts, scheme->port, &url->port) || url->port == 0) {
        *ret_why = "needs a port from 1 to 65535 after the last colon, and brackets around an IPv6 "
                   "address";
        return TF_PROTOCOL;
    }
    return TF_OK;
}

static enum tf_err take_user(const struct tf_url_parts *parts, struct tf_cli_url *url,
                             const char **ret_why)
{
    enum tf_err err = TF_OK;
    if (!parts->has_user) {
        return TF_OK;
    }
    const uint8_t *start = parts->user.data;
    const uint8_t *end = start + parts->user.length;
    const uint8_t *colon = memchr(start, ':', parts->user.length);
    url->user = decode(tf_bytes_of(start, (size_t)((colon ? colon : end) - start)), &err, ret_why);
    if (url->user && colon) {
        url->password = decode(tf_bytes_of(colon + 1, (size_t)(end - colon - 1)), &err, ret_why);
    }
    return err;
}

static enum tf_err take_scheme(const struct scheme *scheme, struct tf_bytes name,
                               const char **ret_why)
{
    if (tf_bytes_equal(name, tf_bytes_str(scheme->name))) {
        return TF_OK;
    }
    bool known = tf_url_scheme_known(name);
    *ret_why = known ? scheme->known : scheme->unknown;
    return known ? TF_UNSUPPORTED : TF_PROTOCOL;
}

static enum tf_err parse(const struct scheme *scheme, const struct tf_url_parts *parts,
                         struct tf_cli_url *url, const char **ret_why)
{
    struct tf_bytes rest = parts->rest;
    enum tf_err err = take_scheme(scheme, parts->scheme, ret_why);
    if (!err) {
        err = take_host(scheme, parts, url, ret_why);
    }
    if (!err) {
        err = take_user(parts, url, ret_why);
    }
    if (!err && rest.length > 0 && rest.data[0] != '/') {
        *ret_why = "needs a slash between the host and the address";
        err = TF_PROTOCOL;
    }
    if (!err) {
        if (rest.length > 0) {
            rest = tf_bytes_of(rest.data + 1, rest.length - 1);
        }
        url->address = decode(rest, &err, ret_why);
    }
    return err;
}

/* The sentence, with the URL as it may be shown. */
static void explain(const char *text, const struct tf_url_parts *parts, const char *why,
                    char ret_why[TF_CLI_URL_WHY])
{
    if (parts->has_user) {
        snprintf(ret_why, TF_CLI_URL_WHY, "%.*s://...@%.*s%.60s %s",
                 (int)TF_MIN(parts->scheme.length, 20u), (const char *)parts->scheme.data,
                 (int)TF_MIN(parts->host.length, 60u), (const char *)parts->host.data,
                 (const char *)parts->rest.data, why);
        return;
    }
    snprintf(ret_why, TF_CLI_URL_WHY, "%.120s%s %s", text, strlen(text) > 120 ? "..." : "", why);
}

static enum tf_err parse_text(const struct scheme *scheme, const char *text,
                              struct tf_cli_url *ret_url, char ret_why[TF_CLI_URL_WHY])
{
    struct tf_url_parts parts = {0};
    struct tf_cli_url url = {0};
    const char *why = scheme->no_url;
    enum tf_err err = tf_url_split(text, &parts);
    if (!err) {
        err = parse(scheme, &parts, &url, &why);
    }
    if (err) {
        explain(text, &parts, why, ret_why);
        tf_cli_url_release(&url);
        return err;
    }
    *ret_url = url;
    return TF_OK;
}

enum tf_err tf_cli_url_parse(const char *text, struct tf_cli_url *ret_url,
                             char ret_why[TF_CLI_URL_WHY])
{
    return parse_text(&mqtt, text, ret_url, ret_why);
}

enum tf_err tf_cli_url_parse_amqp(const char *text, struct tf_cli_url *ret_url,
                                  char ret_why[TF_CLI_URL_WHY])
{
    return parse_text(&amqp, text, ret_url, ret_why);
}

bool tf_cli_url_is_amqp(const char *text)
{
    struct tf_url_parts parts;
    return !tf_url_split(text, &parts) && tf_bytes_equal(parts.scheme, tf_bytes_str("amqp"));
}

/* Both NULL, or the same text. */
static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool tf_cli_url_same_broker(const struct tf_cli_url *a, const struct tf_cli_url *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0 && same_text(a->user, b->user) &&
           same_text(a->password, b->password);
}

void tf_cli_url_release(struct tf_cli_url *url)
{
    free(url->user);
    free(url->password);
    free(url->address);
    *url = (struct tf_cli_url){0};
}
