/*
 * The resources that the ETSI plugtests of CoAP ask for: /test, /seg1/seg2/seg3, /query, /large...,
 * /obs..., /link..., and so on. The head of tests/interop/test_coap_etsi.py tells what each does.
 */
#ifndef EXAMPLES_ETSI_H
#define EXAMPLES_ETSI_H

#include <trefoil/coap_server.h>

#define ETSI_LARGE 1700u

/* Adds all of them to the tree; false: it has such names already. */
bool etsi_add(struct tf_coap_resource *root);

/* Another second has gone: the counters of /obs and its like go up. */
void etsi_second(struct tf_coap_server *server);

/* Takes an event that the server has left. */
void etsi_event(const struct tf_coap_event *event);

/* ---- the files of this folder among each other ---- */

/* The byte of the text of /large at an offset. */
char etsi_large_byte(uint32_t offset);

/* Answers with a text of `total` bytes of which it makes only the block that is wanted. */
uint8_t etsi_generate(const struct tf_coap_server_request *request, struct tf_coap_answer *answer,
                      uint32_t total, char (*byte)(uint32_t offset));

/* Adds Location-Path options, one a segment. */
void etsi_locate(struct tf_coap_answer *answer, const char *const *segments, size_t count);

/* Adds the resources of etsi_large.c and etsi_obs.c. */
bool etsi_add_large(struct tf_coap_resource *root);
bool etsi_add_obs(struct tf_coap_resource *root);

#endif
