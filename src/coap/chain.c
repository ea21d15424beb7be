/*
 * Copies of datagrams, options and short bodies in chained blocks of 128 bytes: small ones cost
 * little, large ones find room without moving anything.
 */
#include "coap/endpoint.h"

#define PAYLOAD (TF_COAP_BUFFER - 4u)

static uint8_t *block_at(const struct tf_coap_endpoint *endpoint, uint32_t index)
{
    return endpoint->buffers + (size_t)index * TF_COAP_BUFFER;
}

/* The first four bytes of a block: index + 1 of the next one, 0 at the end. */
static uint32_t next_of(const uint8_t *block)
{
    uint32_t next;

    memcpy(&next, block, 4);
    return next;
}

static uint8_t *take(struct tf_coap_endpoint *endpoint, uint32_t *ret)
{
    uint8_t *block;

    if (endpoint->buffer_free) {
        *ret = endpoint->buffer_free;
        block = block_at(endpoint, *ret - 1);
        endpoint->buffer_free = next_of(block);
    } else {
        *ret = ++endpoint->buffer_high;
        block = block_at(endpoint, *ret - 1);
    }
    endpoint->buffer_left--;
    memset(block, 0, 4);
    return block;
}

bool tf_coap_chain_put(struct tf_coap_endpoint *endpoint, struct tf_coap_chain *ret,
                       struct tf_bytes bytes)
{
    struct tf_coap_chain chain = {0, (uint32_t)bytes.length};
    uint8_t *previous = NULL;

    while (endpoint->buffer_left < (bytes.length + PAYLOAD - 1) / PAYLOAD) {
        if (!endpoint->reply_oldest)
            return false;
        endpoint->config->features.deduplication->forget(endpoint);
    }
    for (size_t at = 0; at < bytes.length; at += PAYLOAD) {
        uint32_t index;
        uint8_t *block = take(endpoint, &index);
        memcpy(block + 4, bytes.data + at, TF_MIN(PAYLOAD, bytes.length - at));
        if (previous)
            memcpy(previous, &index, 4);
        else
            chain.first = index;
        previous = block;
    }
    *ret = chain;
    return true;
}

void tf_coap_chain_get(const struct tf_coap_endpoint *endpoint, const struct tf_coap_chain *chain,
                       uint8_t *to)
{
    uint32_t index = chain->first;

    for (size_t left = chain->length; left;) {
        const uint8_t *block = block_at(endpoint, index - 1);
        size_t run = TF_MIN(PAYLOAD, left);
        memcpy(to, block + 4, run);
        to += run;
        left -= run;
        index = next_of(block);
    }
}

void tf_coap_chain_free(struct tf_coap_endpoint *endpoint, struct tf_coap_chain *chain)
{
    uint32_t index = chain->first;

    while (index) {
        uint8_t *block = block_at(endpoint, index - 1);
        uint32_t next = next_of(block);
        memcpy(block, &endpoint->buffer_free, 4);
        endpoint->buffer_free = index;
        endpoint->buffer_left++;
        index = next;
    }
    *chain = (struct tf_coap_chain){0, 0};
}
