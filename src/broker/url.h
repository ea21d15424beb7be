/*
 * URLs of Trefoil, taken apart: `scheme://[user@]host[:port][rest]`.
 *
 * One place for what listeners and the command line have in common; what each allows of the parts
 * (a host `*`, port 0, an address behind the slash) is theirs. It copies nothing and decodes
 * nothing. It must not know sockets.
 */
#ifndef TF_BROKER_URL_H
#define TF_BROKER_URL_H

#include <trefoil/bytes.h>
#include <trefoil/err.h>

#define TF_URL_HOST_MAX 253 /* RFC 1035 2.3.4: a name, written out */

/* The parts, as views of the URL. */
struct tf_url_parts {
    struct tf_bytes scheme;
    struct tf_bytes user; /* what stands before `@`, a password included; see has_user */
    struct tf_bytes host; /* without the brackets of an IPv6 address; may be empty */
    struct tf_bytes port; /* what follows the colon; see has_port */
    struct tf_bytes rest; /* from the first `/`, `?` or `#` behind the host; may be empty */
    bool has_user;
    bool has_port;
    bool brackets; /* around the host */
};

/*
 * Takes a URL apart (RFC 3986 3.1, 3.2). The parts borrow `url`. TF_PROTOCOL: no scheme with `://`
 * behind it, or brackets that do not close before the port.
 */
TF_MUST_USE enum tf_err tf_url_split(const char *url, struct tf_url_parts *ret_parts);

/*
 * The port of the parts, `otherwise` where there is none. TF_PROTOCOL: not a number from 0 to
 * 65,535, as it also seems when an IPv6 address has no brackets.
 */
TF_MUST_USE enum tf_err tf_url_port(const struct tf_url_parts *parts, uint16_t otherwise,
                                    uint16_t *ret_port);

/* True for a scheme of Trefoil's, served in this version or not. */
bool tf_url_scheme_known(struct tf_bytes scheme);

#endif
