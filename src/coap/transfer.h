/*
 * Bodies of requests and of answers on their way block by block, as the server keeps them; see
 * block_server.c.
 */
#ifndef TF_COAP_TRANSFER_H
#define TF_COAP_TRANSFER_H

#include "coap/endpoint.h"

enum tf_coap_transfer_kind {
    TF_COAP_TRANSFER_BODY = 1, /* a request's body under way */
    TF_COAP_TRANSFER_REFUSED,  /* what the next block is answered with */
    TF_COAP_TRANSFER_ANSWER,   /* a long answer, lent */
    TF_COAP_TRANSFER_OVER      /* RETURNED waits */
};

struct tf_coap_transfer {
    struct tf_coap_slot slot; /* linked by key */
    uint8_t kind, code;
    uint8_t options_length;                 /* of `options` */
    struct tf_coap_transfer *older, *newer; /* by last use */
    struct tf_coap_peer *peer;              /* held */
    struct tf_coap_request_slot *request;   /* Block1: whose body it is */
    struct tf_coap_timer timer;
    struct tf_coap_notice notice; /* RETURNED */
    tf_coap_hash_value key;       /* hash of the cache key */
    uint64_t owner;               /* Block2: the lent body */
    uint64_t returned;            /* an owner to be RETURNED; 0: none */
    tf_time used_at;
    const struct tf_bytes *body;
    size_t body_count, body_length;
    uint32_t offset; /* Block1: the next byte wanted */
    uint32_t format; /* BODY: the Content-Format of its first block; UINT32_MAX: none */
    /* Block2: what stands in each block: ETag, Content-Format, Max-Age, encoded. */
    uint8_t options[24];
};

#endif
