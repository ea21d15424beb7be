/*
 * Bodies of requests in blocks, collected into memory of the caller's, for handlers that want them
 * whole. The endpoint has already seen to their order: runs come without gaps, from offset 0 on.
 */
#include "coap/server.h"

#include "base/mem.h"

/* The one of a request, or, for 0, a free one. */
static struct tf_coap_server_body *body_of(struct tf_coap_server *server, uint64_t handle)
{
    for (uint32_t i = 0; i < server->body_count; i++) {
        if (server->bodies[i].handle == handle)
            return &server->bodies[i];
    }
    return NULL;
}

/* 4.13 that says what would do (RFC 7959 2.9.3). */
static uint8_t too_large(struct tf_coap_answer *answer, uint32_t size)
{
    tf_coap_answer_uint(answer, TF_COAP_SIZE1, size);
    return TF_COAP_TOO_LARGE;
}

static uint8_t body_take(struct tf_coap_server *server, const struct tf_coap_event *event,
                         struct tf_coap_answer *answer, struct tf_bytes *ret_body, bool *ret_absent)
{
    struct tf_coap_server_body *body = body_of(server, event->handle);
    size_t length = event->body.length;
    struct tf_bytes value;

    if (!body && event->offset)
        return TF_COAP_INCOMPLETE; /* its beginning was refused */
    if (!body) {
        body = body_of(server, 0);
        if (!body) {
            tf_coap_answer_uint(answer, TF_COAP_MAX_AGE_OPTION, 1);
            return TF_COAP_UNAVAILABLE;
        }
        if (event->total > body->size)
            return too_large(answer, body->size);
        body->handle = event->handle;
        body->absent = tf_coap_option_find(event->message.options, TF_COAP_IF_NONE_MATCH, &value);
    }
    if (event->offset > body->size || length > body->size - event->offset)
        return too_large(answer, body->size);
    if (length)
        memcpy(body->data + event->offset, event->body.data, length);
    body->length = event->offset + (uint32_t)length;
    if (event->more)
        return TF_COAP_CONTINUE;
    *ret_body = tf_bytes_of(body->data, body->length);
    *ret_absent = body->absent;
    return 0;
}

static bool body_drop(struct tf_coap_server *server, uint64_t handle)
{
    struct tf_coap_server_body *body = body_of(server, handle);

    if (body)
        body->handle = 0;
    return body != NULL;
}

static const struct tf_coap_collection collection = {body_take, body_drop};

void tf_coap_server_give_bodies(struct tf_coap_server *server, struct tf_coap_server_body *bodies,
                                uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        bodies[i].handle = 0;
    server->collection = &collection;
    server->bodies = bodies;
    server->body_count = count;
}
