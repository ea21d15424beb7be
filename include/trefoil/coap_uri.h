/*
 * URIs of CoAP: taken apart into options, put together from options, resolved (RFC 7252 6.4, 6.5;
 * RFC 3986 5.2).
 *
 * Text is not NUL-terminated and never copied where a view will do; what has to be decoded goes
 * into memory of the caller's. What writes text takes a writer: `failed` there says that it did not
 * fit.
 *
 * A request for a URI:
 *
 *     err = tf_coap_uri_split(&uri, text, &offset);
 *     err = tf_coap_uri_options(&uri, false, options, 16, &count, &writer);
 *     for (i = 0; i < count; i++)
 *         tf_coap_encode_option(&encoder, options[i].number, options[i].value);
 *
 * with an option of a number in between merged in by the caller, as they have to ascend.
 */
#ifndef TREFOIL_COAP_URI_H
#define TREFOIL_COAP_URI_H

#include <trefoil/coap_message.h>

#define TF_COAPS_PORT 5684u

/* RFC 7252 6.1, 6.2; RFC 8323 8. */
enum tf_coap_scheme {
    TF_COAP_SCHEME_COAP,
    TF_COAP_SCHEME_COAPS,
    TF_COAP_SCHEME_COAP_TCP,
    TF_COAP_SCHEME_COAPS_TCP,
    TF_COAP_SCHEME_COAP_WS,
    TF_COAP_SCHEME_COAPS_WS
};

/* "coap", "coaps+tcp", ...; static. */
const char *tf_coap_scheme_name(enum tf_coap_scheme scheme);

/* The scheme of that name, in any case. False: none of CoAP's. */
bool tf_coap_scheme_find(struct tf_bytes name, enum tf_coap_scheme *ret);

/* The port where a URI names none: 5683, 5684, 80 or 443. */
uint16_t tf_coap_scheme_port(enum tf_coap_scheme scheme);

/* The parts of a URI; views of its text, still percent-encoded. */
struct tf_coap_uri {
    uint8_t scheme;        /* enum tf_coap_scheme */
    bool literal;          /* the host is an IPv4 address or stands in brackets: no name */
    bool brackets;         /* ... in brackets, which `host` leaves out */
    bool has_query;        /* there was a `?`, with something behind it or not */
    uint16_t port;         /* the scheme's own where the URI names none */
    struct tf_bytes host;  /* never empty */
    struct tf_bytes path;  /* empty, or from its first slash on */
    struct tf_bytes query; /* what follows the `?` */
};

/*
 * Takes a URI apart; `text` has to stay as long as `ret` is used. Bytes above 0x7F are taken as
 * they are, so that people may type them. Fails with *ret_offset where it went wrong:
 * TF_UNSUPPORTED: a scheme that is none of CoAP's. TF_PROTOCOL: no URI with an authority; a user;
 * an empty host; a port over 65,535; a fragment; a character that no URI may have; a broken
 * percent-encoding.
 */
TF_MUST_USE enum tf_err tf_coap_uri_split(struct tf_coap_uri *ret, struct tf_bytes text,
                                          size_t *ret_offset);

/*
 * The options that ask for a URI (RFC 7252 6.4), ascending: Uri-Host, Uri-Port, Uri-Path,
 * Uri-Query. At most `size` of them into `options`, *ret_count says how many. Values without an
 * escape in them are views of the URI's text; the others are decoded into `memory`, which needs no
 * more bytes than the URI has, and two for a port.
 *
 * Where the datagram goes to the very address and port that the URI names, neither is repeated: a
 * host name is sent, a literal is not. `elsewhere`: it goes to another one, a proxy say, so host
 * and port are sent in any case. Dot segments are resolved.
 *
 * TF_PROTOCOL: a value is no UTF-8. TF_LIMIT: a value is longer than its option may be, or there
 * are over `size` of them. TF_NO_MEMORY: `memory` is too small. What `options` and `memory` hold
 * then does not matter.
 */
TF_MUST_USE enum tf_err tf_coap_uri_options(const struct tf_coap_uri *uri, bool elsewhere,
                                            struct tf_coap_option *options, size_t size,
                                            size_t *ret_count, struct tf_writer *memory);

/*
 * Writes the URI that a request asks for (RFC 7252 6.5): `options` of a decoded message; scheme,
 * host and port of `destination` are those it was sent to, `host` with `literal` and `brackets` as
 * they apply; path and query there do not matter. Proxy-Uri and Proxy-Scheme are followed (5.10.2).
 * TF_PROTOCOL: Uri-Host cannot stand in a URI, or a Uri-Path value is `.` or `..`; TF_NO_MEMORY: it
 * did not fit. What was written then does not matter.
 */
TF_MUST_USE enum tf_err tf_coap_uri_write(struct tf_writer *out,
                                          const struct tf_coap_uri *destination,
                                          struct tf_bytes options);

/*
 * Writes what Location-Path and Location-Query of a response say, a reference relative to the URI
 * of the request (5.10.7): "/a/b?c"; nothing when there are none. Fails as tf_coap_uri_write does.
 */
TF_MUST_USE enum tf_err tf_coap_location_write(struct tf_writer *out, struct tf_bytes options);

/* Writes a slash and one segment of a path, percent-encoded (6.5). */
void tf_coap_segment_write(struct tf_writer *out, struct tf_bytes segment);

/*
 * Decodes percent-encodings. A view of `text` where there are none, else of what was written to
 * `memory`. TF_PROTOCOL: a broken encoding. TF_NO_MEMORY: it did not fit.
 */
TF_MUST_USE enum tf_err tf_coap_percent_decode(struct tf_bytes *ret, struct tf_bytes text,
                                               struct tf_writer *memory);

/*
 * True if a Uri-Path or Location-Path may have this value: at most 255 bytes of UTF-8, neither `.`
 * nor `..` (5.10.1, 5.10.7).
 */
bool tf_coap_segment_valid(struct tf_bytes segment);

/* The same, and it can stand between two slashes of a name: neither `/` nor NUL in it. */
bool tf_coap_segment_plain(struct tf_bytes segment);

/*
 * Writes the URI that `reference` means where `base` is the URI of the document it stands in (RFC
 * 3986 5.2): a full URI of any scheme, `//host/path`, `/path`, `path`, `?query`, or nothing. A
 * fragment of the reference stays. TF_PROTOCOL: `base` is no URI with an authority. TF_NO_MEMORY:
 * it did not fit.
 */
TF_MUST_USE enum tf_err tf_coap_uri_resolve(struct tf_writer *out, struct tf_bytes base,
                                            struct tf_bytes reference);

#endif
