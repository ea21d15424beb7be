/*
 * The numbers of CoAP: message types, codes, options, content formats (RFC 7252 and its
 * extensions, as the IANA "CoRE Parameters" registry has them).
 */
#ifndef TREFOIL_COAP_H
#define TREFOIL_COAP_H

#include <stdint.h>

#define TF_COAP_TOKEN_MAX 8u       /* bytes of a token; 9 to 15 in the nibble are errors */
#define TF_COAP_HEADER 4u          /* bytes before the token */
#define TF_COAP_DATAGRAM_MAX 1152u /* what goes unfragmented nearly everywhere (4.6) */
#define TF_COAP_ETAG_MAX 8u        /* bytes of an ETag */
#define TF_COAP_ECHO_MAX 40u       /* bytes of an Echo */
#define TF_COAP_REQUEST_TAG_MAX 8u /* bytes of a Request-Tag */
#define TF_COAP_BLOCK_SZX_MAX 6u   /* 1,024 bytes; 7 is for reliable transports (RFC 8323) */
#define TF_COAP_BLOCK_NUM_MAX 0xFFFFFu
#define TF_COAP_MAX_AGE 60u /* seconds that a response is fresh when it does not say */
#define TF_COAP_PORT 5683u

/* A code is a class and a detail: 2.05 is TF_COAP_CODE(2, 5). */
#define TF_COAP_CODE(class, detail) ((uint8_t)((class) << 5 | (detail)))

/* Bits 7 to 5 of a code. 0: request or empty; 2, 4, 5: response; 7: signalling (RFC 8323). */
static inline unsigned tf_coap_class(uint8_t code)
{
    return code >> 5;
}

/* RFC 7252 3: whether a message asks to be acknowledged, or does so. */
enum tf_coap_type { TF_COAP_CON, TF_COAP_NON, TF_COAP_ACK, TF_COAP_RST };

enum tf_coap_code {
    TF_COAP_EMPTY = 0,
    TF_COAP_GET = 1,
    TF_COAP_POST = 2,
    TF_COAP_PUT = 3,
    TF_COAP_DELETE = 4,
    TF_COAP_FETCH = 5, /* RFC 8132 */
    TF_COAP_PATCH = 6,
    TF_COAP_IPATCH = 7,
    TF_COAP_CREATED = 0x41,                /* 2.01 */
    TF_COAP_DELETED = 0x42,                /* 2.02 */
    TF_COAP_VALID = 0x43,                  /* 2.03 */
    TF_COAP_CHANGED = 0x44,                /* 2.04 */
    TF_COAP_CONTENT = 0x45,                /* 2.05 */
    TF_COAP_CONTINUE = 0x5F,               /* 2.31, RFC 7959 */
    TF_COAP_BAD_REQUEST = 0x80,            /* 4.00 */
    TF_COAP_UNAUTHORIZED = 0x81,           /* 4.01 */
    TF_COAP_BAD_OPTION = 0x82,             /* 4.02 */
    TF_COAP_FORBIDDEN = 0x83,              /* 4.03 */
    TF_COAP_NOT_FOUND = 0x84,              /* 4.04 */
    TF_COAP_METHOD_NOT_ALLOWED = 0x85,     /* 4.05 */
    TF_COAP_NOT_ACCEPTABLE = 0x86,         /* 4.06 */
    TF_COAP_INCOMPLETE = 0x88,             /* 4.08, RFC 7959 */
    TF_COAP_CONFLICT = 0x89,               /* 4.09, RFC 8132 */
    TF_COAP_PRECONDITION_FAILED = 0x8C,    /* 4.12 */
    TF_COAP_TOO_LARGE = 0x8D,              /* 4.13 */
    TF_COAP_UNSUPPORTED_FORMAT = 0x8F,     /* 4.15 */
    TF_COAP_UNPROCESSABLE = 0x96,          /* 4.22, RFC 8132 */
    TF_COAP_TOO_MANY_REQUESTS = 0x9D,      /* 4.29, RFC 8516 */
    TF_COAP_INTERNAL_ERROR = 0xA0,         /* 5.00 */
    TF_COAP_NOT_IMPLEMENTED = 0xA1,        /* 5.01 */
    TF_COAP_BAD_GATEWAY = 0xA2,            /* 5.02 */
    TF_COAP_UNAVAILABLE = 0xA3,            /* 5.03 */
    TF_COAP_GATEWAY_TIMEOUT = 0xA4,        /* 5.04 */
    TF_COAP_PROXYING_NOT_SUPPORTED = 0xA5, /* 5.05 */
    TF_COAP_HOP_LIMIT_REACHED = 0xA8       /* 5.08, RFC 8768 */
};

/*
 * Option numbers. Bit 0: critical; bit 1: unsafe to forward; bits 4 to 2 all set, and safe: not
 * part of the cache key (RFC 7252 5.4.6).
 */
enum tf_coap_option_number {
    TF_COAP_IF_MATCH = 1,
    TF_COAP_URI_HOST = 3,
    TF_COAP_ETAG = 4,
    TF_COAP_IF_NONE_MATCH = 5,
    TF_COAP_OBSERVE = 6, /* RFC 7641 */
    TF_COAP_URI_PORT = 7,
    TF_COAP_LOCATION_PATH = 8,
    TF_COAP_OSCORE = 9, /* RFC 8613 */
    TF_COAP_URI_PATH = 11,
    TF_COAP_CONTENT_FORMAT = 12,
    TF_COAP_MAX_AGE_OPTION = 14,
    TF_COAP_URI_QUERY = 15,
    TF_COAP_HOP_LIMIT = 16, /* RFC 8768 */
    TF_COAP_ACCEPT = 17,
    TF_COAP_Q_BLOCK1 = 19, /* RFC 9177 */
    TF_COAP_LOCATION_QUERY = 20,
    TF_COAP_EDHOC = 21,  /* RFC 9668 */
    TF_COAP_BLOCK2 = 23, /* RFC 7959 */
    TF_COAP_BLOCK1 = 27,
    TF_COAP_SIZE2 = 28,
    TF_COAP_Q_BLOCK2 = 31,
    TF_COAP_PROXY_URI = 35,
    TF_COAP_PROXY_SCHEME = 39,
    TF_COAP_SIZE1 = 60,
    TF_COAP_ECHO = 252,        /* RFC 9175 */
    TF_COAP_NO_RESPONSE = 258, /* RFC 7967 */
    TF_COAP_REQUEST_TAG = 292  /* RFC 9175 */
};

/* The content formats that Trefoil itself reads or writes; all others have names in coap_names.h.
 */
enum tf_coap_format {
    TF_COAP_FORMAT_TEXT = 0,
    TF_COAP_FORMAT_LINK = 40,
    TF_COAP_FORMAT_XML = 41,
    TF_COAP_FORMAT_OCTETS = 42,
    TF_COAP_FORMAT_JSON = 50,
    TF_COAP_FORMAT_JSON_PATCH = 51,
    TF_COAP_FORMAT_MERGE_PATCH = 52,
    TF_COAP_FORMAT_CBOR = 60
};

#endif
