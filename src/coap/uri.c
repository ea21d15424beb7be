/*
 * URIs <-> options, and references resolved (RFC 7252 6.4, 6.5; RFC 3986 3, 5.2).
 *
 * Nothing here knows sockets or names of hosts: a literal is recognised by its form alone. A
 * firmware that serves links none of it.
 */
#include <trefoil/coap_uri.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "base/util.h"
#include "coap/text.h"

/* ---- characters (RFC 3986 2) ---- */

enum {
    UNRESERVED = 1,
    SUB_DELIM = 2,
    COLON_AT = 4,
    SLASH_MARK = 8, /* `/` and `?` */
    ABOVE_ASCII = 16,
    SEGMENT = UNRESERVED | SUB_DELIM | COLON_AT,
    QUERY = SEGMENT | SLASH_MARK
};

/* The class of a character; 0: it has no place in a URI but escaped. */
static unsigned class_of(uint8_t c)
{
    uint8_t small = tf_coap_lower(c);

    if ((small >= 'a' && small <= 'z') || tf_coap_digit(c) || tf_coap_among("-._~", c))
        return UNRESERVED;
    if (tf_coap_among("!$&'()*+,;=", c))
        return SUB_DELIM;
    if (c == ':' || c == '@')
        return COLON_AT;
    if (c == '/' || c == '?')
        return SLASH_MARK;
    return c >= 0x80 ? ABOVE_ASCII : 0;
}

/* The byte that `%HH` at the start of `text` stands for; -1: there is no such thing. */
static int escape_read(struct tf_bytes text)
{
    if (text.length < 3 || text.data[0] != '%')
        return -1;
    unsigned high = tf_coap_hex(text.data[1]), low = tf_coap_hex(text.data[2]);
    return high < 16 && low < 16 ? (int)(high << 4 | low) : -1;
}

/* What is left of a view behind `offset` bytes. */
static struct tf_bytes behind(struct tf_bytes bytes, size_t offset)
{
    return tf_bytes_of(bytes.data + offset, bytes.length - offset);
}

/* The first place that has neither one of these classes nor an escape; or the length. */
static size_t span(struct tf_bytes text, unsigned classes)
{
    size_t at = 0;

    while (at < text.length) {
        if (class_of(text.data[at]) & classes)
            at++;
        else if (escape_read(behind(text, at)) >= 0)
            at += 3;
        else
            break;
    }
    return at;
}

/* Where the first character of `set` is; or the length. */
static size_t until(struct tf_bytes text, const char *set)
{
    size_t at = 0;

    while (at < text.length && !tf_coap_among(set, text.data[at]))
        at++;
    return at;
}

/* ---- schemes ---- */

static const struct {
    const char *name;
    uint16_t port;
} schemes[] = {
    [TF_COAP_SCHEME_COAP] = {"coap", TF_COAP_PORT},
    [TF_COAP_SCHEME_COAPS] = {"coaps", TF_COAPS_PORT},
    [TF_COAP_SCHEME_COAP_TCP] = {"coap+tcp", TF_COAP_PORT},
    [TF_COAP_SCHEME_COAPS_TCP] = {"coaps+tcp", TF_COAPS_PORT},
    [TF_COAP_SCHEME_COAP_WS] = {"coap+ws", 80},
    [TF_COAP_SCHEME_COAPS_WS] = {"coaps+ws", 443},
};

const char *tf_coap_scheme_name(enum tf_coap_scheme scheme)
{
    return schemes[scheme].name;
}

uint16_t tf_coap_scheme_port(enum tf_coap_scheme scheme)
{
    return schemes[scheme].port;
}

bool tf_coap_scheme_find(struct tf_bytes name, enum tf_coap_scheme *ret)
{
    for (size_t i = 0; i < TF_COUNT(schemes); i++) {
        if (tf_coap_same_text(name, tf_bytes_str(schemes[i].name))) {
            *ret = (enum tf_coap_scheme)i;
            return true;
        }
    }
    return false;
}

/* How much of `text` can be a scheme's name (RFC 3986 3.1). */
static size_t scheme_length(struct tf_bytes text)
{
    size_t at = 0;

    while (at < text.length) {
        uint8_t c = text.data[at], small = tf_coap_lower(c);
        if (!(small >= 'a' && small <= 'z') &&
            !(at && (tf_coap_digit(c) || tf_coap_among("+-.", c))))
            break;
        at++;
    }
    return at;
}

/* The length of the scheme that `text` begins with, before a colon; 0: none. */
static size_t scheme_span(struct tf_bytes text)
{
    size_t at = scheme_length(text);

    return at < text.length && text.data[at] == ':' ? at : 0;
}

/* ---- taking apart ---- */

/* True for four numbers up to 255 with dots between (RFC 3986 3.2.2: IPv4address). */
static bool ipv4(struct tf_bytes host)
{
    unsigned parts = 0;

    for (size_t at = 0; at < host.length && parts < 4; at++) {
        unsigned value = 0;
        size_t start = at;

        for (; at < host.length && tf_coap_digit(host.data[at]) && at - start < 3; at++)
            value = value * 10 + (host.data[at] - '0');
        if (at == start || value > 255 || (host.data[start] == '0' && at - start > 1))
            return false;
        parts++;
        if (at == host.length)
            return parts == 4;
        if (host.data[at] != '.')
            return false;
    }
    return false;
}

/* Reads the host from the authority; returns how much of it that was, *ret_wrong where it fails. */
static enum tf_err host_read(struct tf_coap_uri *uri, struct tf_bytes authority, size_t *ret_used,
                             size_t *ret_wrong)
{
    size_t end;

    uri->brackets = authority.length > 0 && authority.data[0] == '[';
    if (uri->brackets) {
        struct tf_bytes inside = behind(authority, 1);

        end = span(inside, UNRESERVED | COLON_AT);
        if (end == inside.length || inside.data[end] != ']' || end < 2) {
            *ret_wrong = end + 1;
            return TF_PROTOCOL;
        }
        uri->host = tf_bytes_of(inside.data, end);
        uri->literal = true;
        *ret_used = end + 2;
        return TF_OK;
    }
    end = span(authority, UNRESERVED | SUB_DELIM | ABOVE_ASCII);
    if (!end) { /* RFC 7252 6.1: an empty host makes the URI invalid */
        *ret_wrong = 0;
        return TF_PROTOCOL;
    }
    uri->host = tf_bytes_of(authority.data, end);
    uri->literal = ipv4(uri->host);
    *ret_used = end;
    return TF_OK;
}

/* Reads what follows the host: nothing, or a colon and a port or none. Where it fails, or the end.
 */
static size_t port_read(struct tf_coap_uri *uri, struct tf_bytes text)
{
    uint32_t port = 0;
    size_t at = 1;

    if (!text.length || text.data[0] != ':')
        return 0;
    for (; at < text.length && tf_coap_digit(text.data[at]); at++) {
        port = port * 10 + (text.data[at] - '0');
        if (port > UINT16_MAX)
            return at;
    }
    if (at > 1)
        uri->port = (uint16_t)port;
    return at;
}

enum tf_err tf_coap_uri_split(struct tf_coap_uri *ret, struct tf_bytes text, size_t *ret_offset)
{
    struct tf_coap_uri uri = {0};
    enum tf_coap_scheme scheme;
    size_t at = scheme_span(text), used, wrong = 0;
    enum tf_err err = TF_PROTOCOL;

    if (!at || text.length - at < 3 || text.data[at + 1] != '/' || text.data[at + 2] != '/')
        goto out;
    if (!tf_coap_scheme_find(tf_bytes_of(text.data, at), &scheme)) {
        at = 0;
        err = TF_UNSUPPORTED;
        goto out;
    }
    uri.scheme = (uint8_t)scheme;
    uri.port = tf_coap_scheme_port(scheme);
    at += 3;

    struct tf_bytes authority = behind(text, at);
    authority.length = until(authority, "/?#");
    if (host_read(&uri, authority, &used, &wrong)) {
        at += wrong;
        goto out;
    }
    struct tf_bytes port = behind(authority, used);
    wrong = port_read(&uri, port);
    at += used + wrong;
    if (wrong < port.length) /* a user before an `@` ends here too: RFC 7252 6.1 has none */
        goto out;

    struct tf_bytes rest = behind(text, at);
    uri.path = tf_bytes_of(rest.data, until(rest, "?#"));
    wrong = span(uri.path, SEGMENT | SLASH_MARK | ABOVE_ASCII);
    at += wrong;
    if (wrong < uri.path.length)
        goto out;
    if (at < text.length && text.data[at] == '?') {
        at++;
        uri.has_query = true;
        uri.query = behind(text, at);
        uri.query.length = span(uri.query, QUERY | ABOVE_ASCII);
        at += uri.query.length;
    }
    if (at < text.length) /* RFC 7252 6.4 step 4: a fragment */
        goto out;
    *ret = uri;
    return TF_OK;
out:
    *ret_offset = at;
    return err;
}

enum tf_err tf_coap_percent_decode(struct tf_bytes *ret, struct tf_bytes text,
                                   struct tf_writer *memory)
{
    uint8_t *start = memory->next;

    if (until(text, "%") == text.length) {
        *ret = text;
        return TF_OK;
    }
    for (size_t at = 0; at < text.length; at++) {
        int byte = text.data[at];

        if (byte == '%') {
            byte = escape_read(behind(text, at));
            if (byte < 0)
                return TF_PROTOCOL;
            at += 2;
        }
        tf_write_u8(memory, (uint8_t)byte);
    }
    if (memory->failed)
        return TF_NO_MEMORY;
    *ret = tf_bytes_of(start, (size_t)(memory->next - start));
    return TF_OK;
}

/* Options as they are being made. */
struct list {
    struct tf_coap_option *options;
    size_t size;
    size_t count;
    struct tf_writer *memory;
};

/* Appends an option, a string or the port. */
static enum tf_err list_add(struct list *list, uint16_t number, struct tf_bytes value)
{
    if (value.length > 255 || list->count == list->size)
        return TF_LIMIT;
    if (number != TF_COAP_URI_PORT && !tf_utf8_valid(value)) /* RFC 7252 3.2 */
        return TF_PROTOCOL;
    list->options[list->count++] = (struct tf_coap_option){number, value};
    return TF_OK;
}

/* Uri-Host, in small letters, what was escaped as it is (6.4 step 5). */
static enum tf_err host_add(struct list *list, const struct tf_coap_uri *uri)
{
    uint8_t *start = list->memory->next;

    if (uri->brackets)
        tf_write_u8(list->memory, '[');
    for (size_t at = 0; at < uri->host.length; at++) {
        int escaped = escape_read(behind(uri->host, at));

        tf_write_u8(list->memory,
                    escaped < 0 ? tf_coap_lower(uri->host.data[at]) : (uint8_t)escaped);
        if (escaped >= 0)
            at += 2;
    }
    if (uri->brackets)
        tf_write_u8(list->memory, ']');
    if (list->memory->failed)
        return TF_NO_MEMORY;
    return list_add(list, TF_COAP_URI_HOST,
                    tf_bytes_of(start, (size_t)(list->memory->next - start)));
}

/* Uri-Port. */
static enum tf_err port_add(struct list *list, uint16_t port)
{
    uint8_t buffer[4];
    struct tf_bytes value = tf_coap_uint_value(port, buffer);
    uint8_t *start = list->memory->next;

    tf_write_bytes(list->memory, value);
    if (list->memory->failed)
        return TF_NO_MEMORY;
    return list_add(list, TF_COAP_URI_PORT, tf_bytes_of(start, value.length));
}

/* 1 for `.`, 2 for `..`, 0 for any other segment. */
static unsigned dots(struct tf_bytes segment)
{
    if (!segment.length || segment.length > 2 || segment.data[0] != '.')
        return 0;
    return segment.length == 1 || segment.data[1] == '.' ? (unsigned)segment.length : 0;
}

/*
 * The Uri-Path options (6.4 steps 2 and 8). Dot segments are resolved here, those written as `%2E`
 * too: RFC 3986 6.2.2 makes them the same before it resolves them.
 */
static enum tf_err path_add(struct list *list, struct tf_bytes path)
{
    size_t first = list->count;

    while (path.length) {
        struct tf_bytes segment = behind(path, 1);
        segment.length = until(segment, "/");
        path = behind(path, 1 + segment.length);
        enum tf_err err = tf_coap_percent_decode(&segment, segment, list->memory);
        unsigned ups = dots(segment);
        if (!err && ups == 2 && list->count > first)
            list->count--;
        if (!err && ups && !path.length)
            err = list_add(list, TF_COAP_URI_PATH, (struct tf_bytes){NULL, 0});
        else if (!err && !ups)
            err = list_add(list, TF_COAP_URI_PATH, segment);
        if (err)
            return err;
    }
    if (list->count == first + 1 && !list->options[first].value.length)
        list->count--; /* a single slash is no option */
    return TF_OK;
}

/* The Uri-Query options (6.4 step 9); a `?` with nothing behind it is one that is empty. */
static enum tf_err query_add(struct list *list, struct tf_bytes query)
{
    for (;;) {
        struct tf_bytes part = tf_bytes_of(query.data, until(query, "&"));
        size_t length = part.length;
        enum tf_err err = tf_coap_percent_decode(&part, part, list->memory);
        if (!err)
            err = list_add(list, TF_COAP_URI_QUERY, part);
        if (err || length == query.length)
            return err;
        query = behind(query, length + 1);
    }
}

enum tf_err tf_coap_uri_options(const struct tf_coap_uri *uri, bool elsewhere,
                                struct tf_coap_option *options, size_t size, size_t *ret_count,
                                struct tf_writer *memory)
{
    struct list list = {options, size, 0, memory};
    enum tf_err err = TF_OK;

    if (elsewhere || !uri->literal)
        err = host_add(&list, uri);
    if (!err && elsewhere)
        err = port_add(&list, uri->port);
    if (!err)
        err = path_add(&list, uri->path);
    if (!err && uri->has_query)
        err = query_add(&list, uri->query);
    if (!err)
        *ret_count = list.count;
    return err;
}

/* ---- putting together ---- */

/* Writes bytes, those escaped that are of no class given, or are `but`. */
static void escaped_write(struct tf_writer *out, struct tf_bytes bytes, unsigned classes,
                          uint8_t but)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < bytes.length; i++) {
        uint8_t c = bytes.data[i];

        if ((class_of(c) & classes) && c != but) {
            tf_write_u8(out, c);
        } else {
            tf_write_u8(out, '%');
            tf_write_u8(out, (uint8_t)digits[c >> 4]);
            tf_write_u8(out, (uint8_t)digits[c & 15]);
        }
    }
}

void tf_coap_segment_write(struct tf_writer *out, struct tf_bytes segment)
{
    tf_write_u8(out, '/');
    escaped_write(out, segment, SEGMENT, 0);
}

/* Writes the path and the query that options of these two numbers make. */
static enum tf_err resource_write(struct tf_writer *out, struct tf_bytes options, uint16_t path,
                                  uint16_t query)
{
    struct tf_coap_cursor cursor = tf_coap_options(options);
    struct tf_coap_option option;
    uint8_t mark = '?';

    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number == path) {
            if (dots(option.value)) /* 5.10.1, 5.10.7: must not be */
                return TF_PROTOCOL;
            tf_coap_segment_write(out, option.value);
        } else if (option.number == query) {
            tf_write_u8(out, mark);
            escaped_write(out, option.value, QUERY, '&');
            mark = '&';
        }
    }
    return out->failed ? TF_NO_MEMORY : TF_OK;
}

enum tf_err tf_coap_location_write(struct tf_writer *out, struct tf_bytes options)
{
    return resource_write(out, options, TF_COAP_LOCATION_PATH, TF_COAP_LOCATION_QUERY);
}

/* True for brackets around what an IPv6 address is made of. */
static bool bracketed(struct tf_bytes host)
{
    return host.length > 2 && host.data[0] == '[' &&
           span(behind(host, 1), UNRESERVED | COLON_AT) == host.length - 2 &&
           host.data[host.length - 1] == ']';
}

/* Writes the host that a Uri-Host names (6.5 step 2). */
static enum tf_err host_write(struct tf_writer *out, struct tf_bytes host)
{
    if (!host.length)
        return TF_PROTOCOL;
    if (bracketed(host)) {
        tf_write_bytes(out, host);
        return TF_OK;
    }
    for (size_t i = 0; i < host.length; i++) {
        /* A percent sign is escaped like what is no ASCII: it was `%25`, or it would be read as
         * one. */
        if (!(class_of(host.data[i]) & (UNRESERVED | SUB_DELIM | ABOVE_ASCII)) &&
            host.data[i] != '%')
            return TF_PROTOCOL;
    }
    escaped_write(out, host, UNRESERVED | SUB_DELIM, 0);
    return TF_OK;
}

/* Writes scheme, host and port. */
static enum tf_err authority_write(struct tf_writer *out, const struct tf_coap_uri *destination,
                                   struct tf_bytes options)
{
    const char *name = tf_coap_scheme_name((enum tf_coap_scheme)destination->scheme);
    unsigned usual = tf_coap_scheme_port((enum tf_coap_scheme)destination->scheme);
    unsigned port = destination->port;
    struct tf_bytes value, scheme = tf_bytes_str(name);
    enum tf_coap_scheme other;
    enum tf_err err = TF_OK;

    if (tf_coap_option_find(options, TF_COAP_PROXY_SCHEME, &value)) {
        scheme = value;
        if (!scheme.length || scheme_length(scheme) != scheme.length)
            return TF_PROTOCOL;
        /* The destination is the proxy: its port is not the other's. */
        usual = tf_coap_scheme_find(scheme, &other) ? tf_coap_scheme_port(other) : UINT32_MAX;
        port = usual;
    }
    tf_write_bytes(out, scheme);
    tf_write_bytes(out, tf_bytes_str("://"));
    if (tf_coap_option_find(options, TF_COAP_URI_HOST, &value)) {
        err = host_write(out, value);
    } else {
        if (destination->brackets)
            tf_write_u8(out, '[');
        tf_write_bytes(out, destination->host);
        if (destination->brackets)
            tf_write_u8(out, ']');
    }
    if (!err && tf_coap_option_find(options, TF_COAP_URI_PORT, &value)) {
        port = tf_coap_uint(value);
        if (value.length > 2)
            err = TF_PROTOCOL;
    }
    if (!err && port != usual) {
        tf_write_u8(out, ':');
        tf_coap_decimal_write(out, port);
    }
    return err;
}

enum tf_err tf_coap_uri_write(struct tf_writer *out, const struct tf_coap_uri *destination,
                              struct tf_bytes options)
{
    struct tf_bytes whole;

    if (tf_coap_option_find(options, TF_COAP_PROXY_URI, &whole)) { /* 5.10.2: before all others */
        tf_write_bytes(out, whole);
        return out->failed ? TF_NO_MEMORY : TF_OK;
    }
    enum tf_err err = authority_write(out, destination, options);
    if (err)
        return err;
    if (!tf_coap_option_find(options, TF_COAP_URI_PATH, &whole))
        tf_write_u8(out, '/'); /* 6.5 step 7 */
    return resource_write(out, options, TF_COAP_URI_PATH, TF_COAP_URI_QUERY);
}

bool tf_coap_segment_valid(struct tf_bytes segment)
{
    return segment.length <= 255 && !dots(segment) && tf_utf8_valid(segment);
}

bool tf_coap_segment_plain(struct tf_bytes segment)
{
    for (size_t i = 0; i < segment.length; i++) {
        if (segment.data[i] == '/' || !segment.data[i])
            return false;
    }
    return tf_coap_segment_valid(segment);
}

/* ---- references (RFC 3986 5.2) ---- */

/* Resolves the dot segments of a path that begins with a slash, where it stands; its new length. */
static size_t dots_remove(uint8_t *path, size_t length)
{
    size_t written = 0, at = 0;

    while (at < length) {
        struct tf_bytes segment = tf_bytes_of(path + at + 1, length - at - 1);
        segment.length = until(segment, "/");
        unsigned ups = dots(segment);
        bool last = at + 1 + segment.length == length;
        if (ups == 2) {
            while (written > 0 && path[--written] != '/')
                ;
        }
        if (!ups) {
            memmove(path + written, path + at, segment.length + 1);
            written += segment.length + 1;
        }
        at += 1 + segment.length;
        if (ups && last)
            path[written++] = '/';
    }
    return written;
}

enum tf_err tf_coap_uri_resolve(struct tf_writer *out, struct tf_bytes base,
                                struct tf_bytes reference)
{
    size_t scheme = scheme_span(base);

    if (!scheme || base.length - scheme < 4 || base.data[scheme + 1] != '/' ||
        base.data[scheme + 2] != '/')
        return TF_PROTOCOL;
    struct tf_bytes rest = behind(base, scheme + 3);
    rest = behind(rest, until(rest, "/?#"));
    size_t folder = until(rest, "?#"), path = until(reference, "?#");
    if (scheme_span(reference)) {
        tf_write_bytes(out, reference);
    } else if (path >= 2 && reference.data[0] == '/' && reference.data[1] == '/') {
        tf_write_bytes(out, tf_bytes_of(base.data, scheme + 1));
        tf_write_bytes(out, reference);
    } else if (!path) {
        size_t query = reference.length && reference.data[0] == '?' ? folder : until(rest, "#");

        tf_write_bytes(out, tf_bytes_of(base.data, (size_t)(rest.data + query - base.data)));
        tf_write_bytes(out, reference);
    } else {
        tf_write_bytes(out, tf_bytes_of(base.data, (size_t)(rest.data - base.data)));
        uint8_t *start = out->next;
        if (reference.data[0] != '/') { /* 5.2.3: beside the last segment of the base */
            while (folder > 0 && rest.data[folder - 1] != '/')
                folder--;
            tf_write_bytes(out, folder ? tf_bytes_of(rest.data, folder) : tf_bytes_str("/"));
        }
        tf_write_bytes(out, tf_bytes_of(reference.data, path));
        if (!out->failed)
            out->next = start + dots_remove(start, (size_t)(out->next - start));
        tf_write_bytes(out, behind(reference, path));
    }
    return out->failed ? TF_NO_MEMORY : TF_OK;
}
