/*
 * CoRE link format: what /.well-known/core says (RFC 6690, RFC 7252 7.2).
 *
 *     struct tf_coap_links links = tf_coap_links_of(payload);
 *     while (!(err = tf_coap_link_next(&links, &link))) {
 *         struct tf_coap_attributes attributes = tf_coap_attributes_of(&link);
 *         while (tf_coap_attribute_next(&attributes, &attribute))
 *             ...
 *     }
 *
 * ends with TF_NOT_FOUND, or with TF_PROTOCOL and links.offset where the text is wrong. Everything
 * read is a view of the text.
 */
#ifndef TREFOIL_COAP_LINK_H
#define TREFOIL_COAP_LINK_H

#include <trefoil/coap_message.h>

/* ---- reading ---- */

/* Where a reader of links is. */
struct tf_coap_links {
    struct tf_bytes text;
    size_t offset; /* of the next link; after TF_PROTOCOL, of what is wrong */
};

/* One link, checked. */
struct tf_coap_link {
    struct tf_bytes target;     /* the URI reference between `<` and `>` */
    struct tf_bytes attributes; /* as written, from the first `;` on; or empty */
};

/* Where a reader of attributes is. */
struct tf_coap_attributes {
    struct tf_reader reader;
};

struct tf_coap_attribute {
    struct tf_bytes name;
    struct tf_bytes value; /* without the quotes, but with the backslashes: see _text */
    bool has_value;        /* there was a `=` */
    bool quoted;
};

/* Starts reading `text`. */
static inline struct tf_coap_links tf_coap_links_of(struct tf_bytes text)
{
    return (struct tf_coap_links){text, 0};
}

/*
 * The next link. TF_NOT_FOUND: there is none left. TF_PROTOCOL: the text is no link format at
 * links->offset; the reader stays there. White space around commas and semicolons is let pass,
 * though RFC 6690 2 has none.
 */
TF_MUST_USE enum tf_err tf_coap_link_next(struct tf_coap_links *links, struct tf_coap_link *ret);

/* Starts reading the attributes of a link from tf_coap_link_next. */
static inline struct tf_coap_attributes tf_coap_attributes_of(const struct tf_coap_link *link)
{
    return (struct tf_coap_attributes){tf_reader_of(link->attributes)};
}

/* The next attribute; false at the end. */
bool tf_coap_attribute_next(struct tf_coap_attributes *attributes, struct tf_coap_attribute *ret);

/* The first attribute of that name, which is compared without regard to case. */
bool tf_coap_attribute_find(const struct tf_coap_link *link, struct tf_bytes name,
                            struct tf_coap_attribute *ret);

/* Writes an attribute's value, its backslashes resolved; at most value.length bytes. */
void tf_coap_attribute_text(struct tf_writer *out, const struct tf_coap_attribute *attribute);

/* ---- filters ---- */

/*
 * True if the link passes a filter: one Uri-Query value, `name=value` or `name=prefix*` (RFC 6690
 * 4.1). `href` is the target; rt, if, rel, rev and ct pass too when one of their values, parted by
 * spaces, does; `title` also looks into `title*`. A query without `=` asks for the attribute alone.
 */
bool tf_coap_link_matches(const struct tf_coap_link *link, struct tf_bytes query);

/* True if the link passes every Uri-Query among the options of a decoded message. */
bool tf_coap_link_wanted(const struct tf_coap_link *link, struct tf_bytes options);

/* ---- writing ---- */

/*
 * Writes a link's `<target>`, behind a comma unless it is the first one. The target is a URI
 * reference, percent-encoded: see tf_coap_segment_write. Its attributes follow by the calls below.
 */
void tf_coap_link_write(struct tf_writer *out, bool first, struct tf_bytes target);

/* Appends `;name="value"`, with what backslashes the value needs. */
void tf_coap_attribute_write(struct tf_writer *out, struct tf_bytes name, struct tf_bytes value);

/* Appends `;name=number`, as ct and sz have it. */
void tf_coap_attribute_write_uint(struct tf_writer *out, struct tf_bytes name, uint32_t number);

/* Appends `;name`, as obs has it (RFC 7641 6). */
void tf_coap_attribute_write_flag(struct tf_writer *out, struct tf_bytes name);

#endif
