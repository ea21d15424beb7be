/*
 * The registry "CoAP Content-Formats": numbers and media types, without what is registered for a
 * time only.
 */
#include <trefoil/coap_names.h>

#include "base/util.h"
#include "coap/text.h"

/* One registration. */
struct format {
    uint16_t number;
    const char *type;
    const char *coding; /* NULL: none */
    const char *alias;  /* a short form beside the subtype */
};

static const struct format formats[] = {
    {TF_COAP_FORMAT_TEXT, "text/plain; charset=utf-8", NULL, "text"},
    {16, "application/cose; cose-type=\"cose-encrypt0\"", NULL, "cose-encrypt0"},
    {17, "application/cose; cose-type=\"cose-mac0\"", NULL, "cose-mac0"},
    {18, "application/cose; cose-type=\"cose-sign1\"", NULL, "cose-sign1"},
    {19, "application/ace+cbor", NULL, NULL},
    {21, "image/gif", NULL, NULL},
    {22, "image/jpeg", NULL, NULL},
    {23, "image/png", NULL, NULL},
    {TF_COAP_FORMAT_LINK, "application/link-format", NULL, "link"},
    {TF_COAP_FORMAT_XML, "application/xml", NULL, NULL},
    {TF_COAP_FORMAT_OCTETS, "application/octet-stream", NULL, "octets"},
    {47, "application/exi", NULL, NULL},
    {TF_COAP_FORMAT_JSON, "application/json", NULL, NULL},
    {TF_COAP_FORMAT_JSON_PATCH, "application/json-patch+json", NULL, "json-patch"},
    {TF_COAP_FORMAT_MERGE_PATCH, "application/merge-patch+json", NULL, "merge-patch"},
    {TF_COAP_FORMAT_CBOR, "application/cbor", NULL, NULL},
    {61, "application/cwt", NULL, NULL},
    {62, "application/multipart-core", NULL, NULL},
    {63, "application/cbor-seq", NULL, NULL},
    {64, "application/edhoc+cbor-seq", NULL, NULL},
    {65, "application/cid-edhoc+cbor-seq", NULL, NULL},
    {96, "application/cose; cose-type=\"cose-encrypt\"", NULL, "cose-encrypt"},
    {97, "application/cose; cose-type=\"cose-mac\"", NULL, "cose-mac"},
    {98, "application/cose; cose-type=\"cose-sign\"", NULL, "cose-sign"},
    {101, "application/cose-key", NULL, NULL},
    {102, "application/cose-key-set", NULL, NULL},
    {110, "application/senml+json", NULL, NULL},
    {111, "application/sensml+json", NULL, NULL},
    {112, "application/senml+cbor", NULL, NULL},
    {113, "application/sensml+cbor", NULL, NULL},
    {114, "application/senml-exi", NULL, NULL},
    {115, "application/sensml-exi", NULL, NULL},
    {140, "application/yang-data+cbor; id=sid", NULL, NULL},
    {256, "application/coap-group+json", NULL, NULL},
    {257, "application/concise-problem-details+cbor", NULL, NULL},
    {258, "application/swid+cbor", NULL, NULL},
    {259, "application/pkixcmp", NULL, NULL},
    {260, "application/yang-sid+json", NULL, NULL},
    {261, "application/ace-groupcomm+cbor", NULL, NULL},
    {262, "application/ace-trl+cbor", NULL, NULL},
    {263, "application/eat+cwt", NULL, NULL},
    {264, "application/eat+jwt", NULL, NULL},
    {265, "application/eat-bun+cbor", NULL, NULL},
    {266, "application/eat-bun+json", NULL, NULL},
    {267, "application/eat-ucs+cbor", NULL, NULL},
    {268, "application/eat-ucs+json", NULL, NULL},
    {269, "application/coap-eap", NULL, NULL},
    {271, "application/dots+cbor", NULL, NULL},
    {272, "application/missing-blocks+cbor-seq", NULL, NULL},
    {280, "application/pkcs7-mime; smime-type=server-generated-key", NULL, NULL},
    {281, "application/pkcs7-mime; smime-type=certs-only", NULL, NULL},
    {284, "application/pkcs8", NULL, NULL},
    {285, "application/csrattrs", NULL, NULL},
    {286, "application/pkcs10", NULL, NULL},
    {287, "application/pkix-cert", NULL, NULL},
    {290, "application/aif+cbor", NULL, NULL},
    {291, "application/aif+json", NULL, NULL},
    {310, "application/senml+xml", NULL, NULL},
    {311, "application/sensml+xml", NULL, NULL},
    {320, "application/senml-etch+json", NULL, NULL},
    {322, "application/senml-etch+cbor", NULL, NULL},
    {340, "application/yang-data+cbor", NULL, NULL},
    {341, "application/yang-data+cbor; id=name", NULL, NULL},
    {432, "application/td+json", NULL, NULL},
    {433, "application/tm+json", NULL, NULL},
    {434, "application/sdf+json", NULL, NULL},
    {553, "application/dns-message", NULL, NULL},
    {601, "application/uccs+cbor", NULL, NULL},
    {10000, "application/vnd.ocf+cbor", NULL, NULL},
    {10001, "application/oscore", NULL, NULL},
    {10002, "application/javascript", NULL, NULL},
    {11050, "application/json", "deflate", NULL},
    {11060, "application/cbor", "deflate", NULL},
    {11542, "application/vnd.oma.lwm2m+tlv", NULL, NULL},
    {11543, "application/vnd.oma.lwm2m+json", NULL, NULL},
    {11544, "application/vnd.oma.lwm2m+cbor", NULL, NULL},
    {20000, "text/css", NULL, NULL},
    {30000, "image/svg+xml", NULL, NULL},
};

/* The registration of a number; NULL: none. */
static const struct format *format_of(uint16_t number)
{
    for (size_t i = 0; i < TF_COUNT(formats); i++) {
        if (formats[i].number == number)
            return &formats[i];
    }
    return NULL;
}

const char *tf_coap_format_name(uint16_t number, const char **ret_coding)
{
    const struct format *format = format_of(number);

    if (!format)
        return NULL;
    if (ret_coding)
        *ret_coding = format->coding;
    return format->type;
}

/* ---- media types compared ---- */

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Gives the bytes of a media type that matter, one by one. */
struct feed {
    struct tf_bytes text;
    size_t at;
    bool inside; /* what came last was no semicolon: a blank may matter */
};

/* The next byte in small letters, no quotes, no blanks around semicolons and at the ends; -1: end.
 */
static int feed_next(struct feed *feed)
{
    size_t at = feed->at;

    while (at < feed->text.length && feed->text.data[at] == '"')
        at++;
    size_t next = at;
    while (next < feed->text.length && blank(feed->text.data[next]))
        next++;
    if (next == feed->text.length) {
        feed->at = next;
        return -1;
    }
    if (!feed->inside || feed->text.data[next] == ';')
        at = next;
    while (at < feed->text.length && feed->text.data[at] == '"')
        at++;
    if (at == feed->text.length) {
        feed->at = at;
        return -1;
    }
    feed->at = at + 1;
    feed->inside = feed->text.data[at] != ';';
    return tf_coap_lower(feed->text.data[at]);
}

/* True if two media types are the same. */
static bool same_type(struct tf_bytes a, struct tf_bytes b)
{
    struct feed one = {a, 0, false}, other = {b, 0, false};

    for (;;) {
        int c = feed_next(&one);

        if (c != feed_next(&other))
            return false;
        if (c < 0)
            return true;
    }
}

bool tf_coap_format_number(struct tf_bytes media_type, uint16_t *ret)
{
    for (size_t i = 0; i < TF_COUNT(formats); i++) {
        if (!formats[i].coding && same_type(media_type, tf_bytes_str(formats[i].type))) {
            *ret = formats[i].number;
            return true;
        }
    }
    if (!same_type(media_type, tf_bytes_str("text/plain")))
        return false;
    *ret = TF_COAP_FORMAT_TEXT;
    return true;
}

/* ---- short forms ---- */

/* What is behind the slash, where there is neither parameter nor coding; NULL: there is. */
static const char *subtype_of(const struct format *format)
{
    const char *subtype = format->type;

    for (const char *at = format->type; *at; at++) {
        if (*at == ';')
            return NULL;
        if (*at == '/')
            subtype = at + 1;
    }
    return format->coding ? NULL : subtype;
}

const char *tf_coap_format_alias(uint16_t number)
{
    const struct format *format = format_of(number);

    if (!format)
        return NULL;
    return format->alias ? format->alias : subtype_of(format);
}

bool tf_coap_format_find(struct tf_bytes text, uint16_t *ret)
{
    uint32_t number;

    if (tf_coap_decimal_read(text, UINT16_MAX, &number)) {
        *ret = (uint16_t)number;
        return true;
    }
    for (size_t i = 0; i < TF_COUNT(formats); i++) {
        const char *alias = formats[i].alias, *subtype = subtype_of(&formats[i]);

        if ((alias && tf_coap_same_text(text, tf_bytes_str(alias))) ||
            (subtype && tf_coap_same_text(text, tf_bytes_str(subtype)))) {
            *ret = formats[i].number;
            return true;
        }
    }
    return tf_coap_format_number(text, ret);
}
