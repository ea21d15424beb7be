/*
 * A resource server on an endpoint under the lens (probe.h).
 */
#ifndef TEST_COAP_SERVING_H
#define TEST_COAP_SERVING_H

#include "unit/coap/probe.h"

#include <trefoil/coap_server.h>

#define PEER 1u

struct serving {
    struct probe *probe;
    struct tf_coap_server server;
    struct tf_coap_resource root; /* no type yet */
    unsigned left;                /* events that were not the server's */
};

/* Starts one; `config` NULL: probe_config. */
void serving_start(struct serving *serving, const struct tf_coap_endpoint_config *config);
void serving_end(struct serving *serving);

/* A node to be added to a tree. */
struct tf_coap_resource node(const char *name, const struct tf_coap_resource_type *type);

/* Adds it; that must work. */
void add(struct tf_coap_resource *parent, struct tf_coap_resource *child);

/* Adds the Uri-Path options of a path: each segment stands behind a slash. */
void packet_path(struct packet *packet, const char *path);

/* Sends a request of PEER's and gives the code of the one answer. */
uint8_t feed(struct serving *serving, struct packet *packet);

/* The same with a confirmable request for a path. */
uint8_t ask(struct serving *serving, uint8_t method, const char *path);

/* The payload of the only answer as text, until the next call. */
const char *answer_text(struct serving *serving);

#endif
