/*
 * What the files of the resource server share: the hooks by which server.c reaches the parts that a
 * program may leave out (observers, collected bodies), and how an answer becomes a response.
 */
#ifndef TF_COAP_SERVER_H
#define TF_COAP_SERVER_H

#include <trefoil/coap_server.h>

/* server_observe.c, linked by tf_coap_server_give_observers. */
struct tf_coap_observation {
    /* Memory for whoever has sent this request; NULL: none. */
    struct tf_coap_watch *(*add)(struct tf_coap_server *server,
                                 const struct tf_coap_server_request *request);
    /* OBSERVER_READY and OBSERVER_GONE. */
    void (*event)(struct tf_coap_server *server, const struct tf_coap_event *event);
};

/* server_body.c, linked by tf_coap_server_give_bodies. */
struct tf_coap_collection {
    /*
     * Keeps the run of a body. TF_COAP_CONTINUE: others have to come; 0: *ret_body is the whole,
     * and *ret_absent says that If-None-Match came with its first block, as it does with no other
     * (RFC 7959 2.10); else the code of the error, for which *answer has been filled.
     */
    uint8_t (*take)(struct tf_coap_server *server, const struct tf_coap_event *event,
                    struct tf_coap_answer *answer, struct tf_bytes *ret_body, bool *ret_absent);
    /* The request has ended, or its body is not wanted any more; false: nothing was kept of it. */
    bool (*drop)(struct tf_coap_server *server, uint64_t handle);
};

/*
 * Finds the resource of request->options, from `root` on, and fills what they say into *request.
 * 0: found; else the code of the error. *ret_conditional: there is an If-Match or If-None-Match.
 */
uint8_t tf_coap_server_route(struct tf_coap_server_request *request, struct tf_coap_resource *root,
                             bool *ret_conditional);

/* Fills the fields that code and answer decide; `parts` are to last as long as *ret. */
void tf_coap_server_response(struct tf_coap_response *ret, uint8_t code,
                             const struct tf_coap_answer *answer, struct tf_bytes parts[3]);

#endif
