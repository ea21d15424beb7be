/*
 * What the CoAP servers of these tests have in common: the loop, and a few resources of which each
 * program takes what it wants; what it does not take is not linked.
 */
#ifndef SERVE_H
#define SERVE_H

#include <trefoil/coap_endpoint.h>
#include <trefoil/coap_size.h>

#include "board.h"

/* What a program does about events, and once a turn. `turn` may be NULL. */
struct service {
    void (*event)(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event,
                  tf_time now);
    void (*turn)(struct tf_coap_endpoint *endpoint, tf_time now);
};

/* Makes the endpoint in this memory and runs it for ever. */
void serve(const struct tf_coap_endpoint_config *config, void *memory, size_t length, void *output,
           size_t output_length, const struct service *service);

/* `random` of a config. */
void serve_random(void *ctx, void *data, size_t length);

/* True if the request's path is this one segment. */
bool serve_is(const struct tf_coap_event *event, const char *name);

/* Answers with a code and a body. */
void serve_answer(struct tf_coap_endpoint *endpoint, uint64_t request, uint8_t code,
                  struct tf_bytes body, tf_time now);

/* /led: GET and PUT of a short text. False: the event is not for it. */
bool serve_led(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event, tf_time now);

/* /count: GET and Observe of a number that grows each fifth of a second. */
bool serve_count(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event, tf_time now);
void serve_count_turn(struct tf_coap_endpoint *endpoint, tf_time now);

/* /large: GET of 1,500 bytes. /store: PUT and GET of up to 700 bytes that come in blocks. */
bool serve_large(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event, tf_time now);
bool serve_store(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event, tf_time now);

/* All of them; 4.04 for other paths. */
void serve_everything(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event,
                      tf_time now);

#endif
