/*
 * URLs, taken apart.
 */
#include "broker/url.h"

#include <string.h>

#include "base/util.h"

/* RFC 3986 3.1 */
static bool scheme_valid(struct tf_bytes scheme)
{
    for (size_t i = 0; i < scheme.length; i++) {
        uint8_t c = scheme.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (!letter && (i == 0 || !other)) {
            return false;
        }
    }
    return scheme.length > 0;
}

/* `from` up to `end`, which is not before it. */
static struct tf_bytes between(const char *from, const char *end)
{
    return tf_bytes_of(from, (size_t)(end - from));
}

/* Host and port, `from` up to `end`. */
static enum tf_err split_host(const char *from, const char *end, struct tf_url_parts *parts)
{
    const char *colon;
    if (from < end && *from == '[') {
        const char *close = memchr(from, ']', (size_t)(end - from));
        if (!close || (close + 1 != end && close[1] != ':')) {
            return TF_PROTOCOL;
        }
        parts->brackets = true;
        parts->host = between(from + 1, close);
        colon = close + 1;
    } else {
        colon = memchr(from, ':', (size_t)(end - from));
        colon = colon ? colon : end;
        parts->host = between(from, colon);
    }
    parts->has_port = colon != end;
    if (parts->has_port) {
        parts->port = between(colon + 1, end);
    }
    return TF_OK;
}

enum tf_err tf_url_split(const char *url, struct tf_url_parts *ret_parts)
{
    struct tf_url_parts parts = {0};
    const char *separator = strstr(url, "://");
    if (!separator) {
        return TF_PROTOCOL;
    }
    parts.scheme = between(url, separator);
    const char *host = separator + 3;
    const char *end = host + strcspn(host, "/?#");
    for (const char *at = end; at > host; at--) {
        if (at[-1] == '@') { /* the last one: a password may have others */
            parts.has_user = true;
            parts.user = between(host, at - 1);
            host = at;
            break;
        }
    }
    parts.rest = tf_bytes_str(end);
    if (!scheme_valid(parts.scheme) || split_host(host, end, &parts)) {
        return TF_PROTOCOL;
    }
    *ret_parts = parts;
    return TF_OK;
}

enum tf_err tf_url_port(const struct tf_url_parts *parts, uint16_t otherwise, uint16_t *ret_port)
{
    uint32_t port = 0;
    if (!parts->has_port) {
        *ret_port = otherwise;
        return TF_OK;
    }
    for (size_t i = 0; i < parts->port.length; i++) {
        uint8_t digit = parts->port.data[i];
        if (digit < '0' || digit > '9') {
            return TF_PROTOCOL;
        }
        port = port * 10 + (digit - '0');
        if (port > UINT16_MAX) {
            return TF_PROTOCOL;
        }
    }
    if (parts->port.length == 0) {
        return TF_PROTOCOL;
    }
    *ret_port = (uint16_t)port;
    return TF_OK;
}

bool tf_url_scheme_known(struct tf_bytes scheme)
{
    static const char *const known[] = {"mqtt",  "mqtts", "coap", "coaps", "coap+tcp", "amqp",
                                        "amqps", "ws",    "wss",  "http",  "https"};
    for (size_t i = 0; i < TF_COUNT(known); i++) {
        if (tf_bytes_equal(scheme, tf_bytes_str(known[i]))) {
            return true;
        }
    }
    return false;
}
