/*
 * What the files of the client share.
 */
#ifndef TF_COAP_CLIENT_H
#define TF_COAP_CLIENT_H

#include "coap/endpoint.h"

/* Tokens are random, so their first bytes will do as a hash. */
static inline uint32_t tf_coap_token_hash(const uint8_t token[TF_COAP_TOKEN_MAX])
{
    return (uint32_t)token[0] << 24 | (uint32_t)token[1] << 16 | (uint32_t)token[2] << 8 | token[3];
}

/* The live call with this token, or NULL. */
struct tf_coap_call *tf_coap_call_by_token(const struct tf_coap_endpoint *endpoint,
                                           struct tf_bytes token);

/*
 * Tries to write a call that is counted. TF_OK: written, or put off by PROBING_RATE. TF_AGAIN,
 * TF_LIMIT: no room in the output, no exchange or buffer; its timer tries again. TF_MISUSE: it does
 * not fit a datagram; it has ENDED, and the caller lets others go.
 */
enum tf_err tf_coap_call_transmit(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call);

#endif
