/*
 * What the core and its extension share: one table of functions, which is there if any feature is.
 */
#ifndef TF_COAP_EXTENSION_H
#define TF_COAP_EXTENSION_H

#include "coap/endpoint.h"

/* Memory that is being cut; with `base` 0 it is only counted. */
struct tf_coap_layout {
    uintptr_t base;
    size_t used;
};

/*
 * What the core does more if any feature is there: the features' hooks in their order, and what
 * several of them need. The core has one pointer to this, so a server without features links none
 * of it.
 */
struct tf_coap_extension {
    bool (*valid)(const struct tf_coap_endpoint_config *config);
    /* Takes the features' memory. */
    void (*lay_out)(struct tf_coap_endpoint *endpoint, const struct tf_coap_endpoint_config *config,
                    struct tf_coap_layout *layout);
    void (*init)(struct tf_coap_endpoint *endpoint);
    /* Settles what came and runs the timers that are due. */
    void (*tick)(struct tf_coap_endpoint *endpoint);
    /* The next notice that has something to tell. */
    bool (*notice)(struct tf_coap_endpoint *endpoint, struct tf_coap_event *ret);
    /* Takes the value of an option that some feature reads. */
    void (*take_option)(struct tf_coap_inbound *in, const struct tf_coap_option *option);
    /* The application's options and the machine's, merged. */
    void (*put_options)(struct tf_coap_encoder *encoder, const struct tf_coap_outgoing *out);
    /* Before the options are read: duplicates. DONE: dealt with. */
    enum tf_coap_verdict (*repeated)(struct tf_coap_endpoint *endpoint,
                                     struct tf_coap_request_slot *request,
                                     struct tf_coap_inbound *in);
    enum tf_coap_verdict (*request)(struct tf_coap_endpoint *endpoint,
                                    struct tf_coap_request_slot *request,
                                    const struct tf_coap_inbound *in, struct tf_coap_event *event);
    /* The request is the pool's now, and the event is set. */
    void (*opened)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request);
    /* An ACK, RST or response. True: dealt with; else it is rejected if it is a CON. */
    bool (*other)(struct tf_coap_endpoint *endpoint, struct tf_coap_inbound *in);
    /* The features' changes to an answer. */
    enum tf_err (*answer)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                          const struct tf_coap_response *response, struct tf_coap_outgoing *out);
    void (*answered)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                     const struct tf_coap_response *response, const struct tf_coap_outgoing *out,
                     uint64_t *ret_observer, bool *ret_borrowed);
    /* Sends an answer the way that is left; NULL for `out`: only acknowledges. And keeps it. */
    enum tf_err (*send)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                        struct tf_coap_outgoing *out);
    /* True: it stays; else it ends. */
    bool (*settle)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request);
    void (*ended)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request);
};

/* Takes the next bytes: moves `used`, which goes to TF_COAP_MEMORY_MAX and stays there when that or
 * a count is too large. Returns where they begin. */
#define TF_COAP_MEMORY_MAX (SIZE_MAX / 2)
void *tf_coap_part(struct tf_coap_layout *layout, uint32_t count, size_t size);
/* Reads the options of a message into `in`; bits of `foreign`: options below 32 that are not
 * understood, though registered. */
void tf_coap_take_options(const struct tf_coap_endpoint *endpoint, struct tf_coap_inbound *in,
                          uint32_t foreign);

/* Critical options that are registered but that no feature here understands; and those that only
 * block-wise does. */
#define TF_COAP_FOREIGN                                                \
    (UINT32_C(1) << TF_COAP_OSCORE | UINT32_C(1) << TF_COAP_Q_BLOCK1 | \
     UINT32_C(1) << TF_COAP_EDHOC | UINT32_C(1) << TF_COAP_Q_BLOCK2)
#define TF_COAP_BLOCKS (UINT32_C(1) << TF_COAP_BLOCK1 | UINT32_C(1) << TF_COAP_BLOCK2)
/* Critical options that no response has (RFC 7252 5.4: so they are not understood there). */
#define TF_COAP_OF_REQUESTS                                                   \
    (UINT32_C(1) << TF_COAP_IF_MATCH | UINT32_C(1) << TF_COAP_URI_HOST |      \
     UINT32_C(1) << TF_COAP_IF_NONE_MATCH | UINT32_C(1) << TF_COAP_URI_PORT | \
     UINT32_C(1) << TF_COAP_URI_PATH | UINT32_C(1) << TF_COAP_URI_QUERY |     \
     UINT32_C(1) << TF_COAP_ACCEPT)

#endif
