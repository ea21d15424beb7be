/*
 * Values in memory, as resources: what GET, PUT, DELETE, PATCH and iPATCH do to one. A resource's
 * `user` is its value; the resource types are composed of these handlers.
 */
#ifndef EXAMPLES_VALUE_H
#define EXAMPLES_VALUE_H

#include <trefoil/coap_server.h>

#define VALUE_MAX 4096
#define VALUE_NO_FORMAT (-1)

struct value {
    bool present;
    int32_t format; /* Content-Format, or VALUE_NO_FORMAT */
    uint32_t length;
    uint32_t version; /* raised by each write; the ETag */
    uint8_t etag[4];
    uint8_t data[VALUE_MAX];
};

/* Writes a value; `data` may be in it. */
void value_set(struct value *value, const void *data, size_t length, int32_t format);

/* Writes a text. */
void value_set_text(struct value *value, const char *text);

/* Whether there is one, and its ETag: for If-Match and If-None-Match. */
tf_coap_exists value_exists;

tf_coap_handler value_get;    /* 2.05, or 4.04 */
tf_coap_handler value_put;    /* 2.01, or 2.04 if there was one; observers are told */
tf_coap_handler value_patch;  /* 2.04: the body replaces it; 4.04 if there was none */
tf_coap_handler value_delete; /* 2.02; observers are told 4.04 */

#endif
