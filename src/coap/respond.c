/*
 * Answers: what an application says, and what the server says by itself (RFC 7252 5.2, 5.9).
 */
#include "coap/extension.h"

/* ---- the end of a request ---- */

void tf_coap_request_free(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request)
{
    if (endpoint->extension)
        endpoint->extension->ended(endpoint, request);
    if (endpoint->fresh == request)
        endpoint->fresh = NULL;
    tf_coap_pool_free(&endpoint->requests, request);
}

void tf_coap_settle(struct tf_coap_endpoint *endpoint)
{
    struct tf_coap_request_slot *request = endpoint->fresh;

    endpoint->fresh = NULL;
    if (request && !(endpoint->extension && endpoint->extension->settle(endpoint, request)))
        tf_coap_request_free(endpoint, request);
}

/* ---- sending ---- */

/* Sends an answer: in the ACK, or as a NON (RFC 7252 5.2.1, 5.2.3). */
static enum tf_err send_answer(struct tf_coap_endpoint *endpoint,
                               struct tf_coap_request_slot *request, struct tf_coap_outgoing *out)
{
    out->token = tf_bytes_of(request->token, request->token_length);
    out->type = TF_COAP_ACK;
    out->message_id = request->message_id;
    if (request->type != TF_COAP_CON) {
        out->type = TF_COAP_NON;
        out->message_id = endpoint->message_id++;
    }
    if (endpoint->extension)
        return endpoint->extension->send(endpoint, request, out);
    return tf_coap_write(endpoint, request->path, out, NULL, true);
}

void tf_coap_refuse(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                    uint8_t code, const struct tf_coap_option *option)
{
    struct tf_coap_outgoing out;

    tf_coap_outgoing_start(&out, code);
    out.options = option;
    out.option_count = option != NULL;
    (void)send_answer(endpoint, request, &out);
}

void tf_coap_reply(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                   struct tf_coap_outgoing *out)
{
    if (out->code == TF_COAP_CONTINUE) /* who sends blocks has to hear it */
        request->no_response = 0;
    (void)send_answer(endpoint, request, out);
}

/* ---- the application's answers ---- */

/* The request that may be answered, by its handle. */
static struct tf_coap_request_slot *find_request(const struct tf_coap_endpoint *endpoint,
                                                 uint64_t handle)
{
    struct tf_coap_request_slot *request = tf_coap_pool_find(&endpoint->requests, handle);

    return request && !request->ended ? request : NULL;
}

enum tf_err tf_coap_respond(struct tf_coap_endpoint *endpoint, uint64_t handle,
                            const struct tf_coap_response *response, uint64_t *ret_observer,
                            bool *ret_borrowed, tf_time now)
{
    const struct tf_coap_extension *extension = endpoint->extension;
    struct tf_coap_request_slot *request = find_request(endpoint, handle);
    struct tf_coap_outgoing out;
    uint64_t observer = 0;
    bool borrowed = false;
    enum tf_err err;

    if (!request)
        return TF_NOT_FOUND;
    if (!tf_coap_outgoing_fill(&out, response) ||
        (request->body_open && tf_coap_class(response->code) == 2))
        return TF_MISUSE;
    endpoint->now = now;
    if (extension) {
        err = extension->answer(endpoint, request, response, &out);
        if (err)
            return err;
    }
    if (out.code != TF_COAP_EMPTY) {
        err = send_answer(endpoint, request, &out);
        if (err)
            return err;
    }
    if (extension)
        extension->answered(endpoint, request, response, &out, &observer, &borrowed);
    tf_coap_request_free(endpoint, request);
    if (ret_observer)
        *ret_observer = observer;
    if (ret_borrowed)
        *ret_borrowed = borrowed;
    return TF_OK;
}

void tf_coap_ignore(struct tf_coap_endpoint *endpoint, uint64_t handle, tf_time now)
{
    struct tf_coap_request_slot *request = find_request(endpoint, handle);

    if (!request)
        return;
    endpoint->now = now;
    /* RFC 7252 4.2: it is acknowledged all the same; without room the client asks again. */
    if (endpoint->extension)
        (void)endpoint->extension->send(endpoint, request, NULL);
    else if (request->type == TF_COAP_CON && tf_coap_room(endpoint, true))
        tf_coap_write_empty(endpoint, request->path, TF_COAP_ACK, request->message_id);
    tf_coap_request_free(endpoint, request);
}

enum tf_err tf_coap_set_user(struct tf_coap_endpoint *endpoint, uint64_t handle, void *user)
{
    struct tf_coap_request_slot *request = find_request(endpoint, handle);

    if (!request)
        return TF_NOT_FOUND;
    request->user = user;
    return TF_OK;
}
