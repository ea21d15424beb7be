/*
 * Observers of the resource server (RFC 7641).
 *
 * A resource has a version, which each change raises; an observer has the version that it was told
 * last. Who lags behind is due. So a change costs nothing, changes that nobody was told of fall
 * together by themselves, and a notification always carries the newest state.
 *
 * Observe numbers count what the server sends, not versions: a client that registers twice must see
 * a higher number with the second answer though nothing has changed (RFC 7641 4.4).
 */
#include "coap/server.h"

#include "base/mem.h"

static struct tf_coap_watch *watch_add(struct tf_coap_server *server,
                                       const struct tf_coap_server_request *request)
{
    size_t length = request->options.length;

    if (request->method != TF_COAP_GET || length > TF_COAP_WATCH_OPTIONS ||
        !(request->resource->type->flags & TF_COAP_OBSERVABLE))
        return NULL;
    for (uint32_t i = 0; i < server->watch_count; i++) {
        struct tf_coap_watch *watch = &server->watches[i];
        if (watch->resource)
            continue;
        watch->resource = request->resource;
        watch->observer = 0;
        watch->told = request->resource->version;
        watch->waiting = false;
        watch->length = (uint8_t)length;
        if (length)
            memcpy(watch->options, request->options.data, length);
        return watch;
    }
    return NULL;
}

static void watch_event(struct tf_coap_server *server, const struct tf_coap_event *event)
{
    struct tf_coap_watch *watch = event->user;

    /* The memory may belong to another observer by now. */
    if (!watch || !watch->resource || watch->observer != event->handle)
        return;
    if (event->type == TF_COAP_EVENT_OBSERVER_GONE) {
        watch->resource = NULL;
        return;
    }
    watch->waiting = false;
    server->due = true;
}

static const struct tf_coap_observation observation = {watch_add, watch_event};

void tf_coap_server_give_observers(struct tf_coap_server *server, struct tf_coap_watch *watches,
                                   uint32_t count)
{
    memset(watches, 0, count * sizeof *watches);
    server->observation = &observation;
    server->watches = watches;
    server->watch_count = count;
    server->watch_next = 0;
}

void tf_coap_resource_changed(struct tf_coap_server *server, struct tf_coap_resource *resource)
{
    resource->version++;
    server->due = true;
}

void tf_coap_resource_forget(struct tf_coap_server *server, struct tf_coap_resource *resource)
{
    for (uint32_t i = 0; i < server->watch_count; i++) {
        struct tf_coap_watch *watch = &server->watches[i];
        if (watch->resource != resource)
            continue;
        tf_coap_unobserve(server->endpoint, watch->observer);
        watch->resource = NULL;
    }
}

/* What the observer would get if it asked now. */
static uint8_t represent(struct tf_coap_server *server, const struct tf_coap_watch *watch,
                         struct tf_coap_answer *answer, tf_time now)
{
    struct tf_coap_server_request request = {
        .server = server,
        .method = TF_COAP_GET,
        .options = tf_bytes_of(watch->options, watch->length),
        .now = now,
    };
    bool conditional = false;
    uint8_t code = tf_coap_server_route(&request, server->root, &conditional);

    /* Another resource may have taken its place in the tree, or none be there any more. */
    if (code || request.resource != watch->resource)
        return TF_COAP_NOT_FOUND;
    code = request.resource->type->handlers[TF_COAP_GET](&request, answer);
    return answer->failed || code == TF_COAP_LATER ? TF_COAP_INTERNAL_ERROR : code;
}

/* Tells one; false: there is no room. */
static bool tell(struct tf_coap_server *server, struct tf_coap_watch *watch, tf_time now)
{
    uint32_t version = watch->resource->version;
    struct tf_coap_response response;
    struct tf_coap_answer answer;
    struct tf_bytes parts[3];

    tf_coap_answer_init(&answer);
    uint8_t code = represent(server, watch, &answer, now);
    tf_coap_server_response(&response, code, &answer, parts);
    if (code == TF_COAP_INTERNAL_ERROR)
        response.option_count = 0;
    response.sequence = ++server->sequence;
    response.con = (watch->resource->type->flags & TF_COAP_NOTIFY_CON) != 0;
    enum tf_err err = tf_coap_notify(server->endpoint, watch->observer, &response, now);
    if (err == TF_MISUSE) { /* the handler's: too long, or options that are the endpoint's */
        memset(&response, 0, sizeof response);
        response.code = code = TF_COAP_INTERNAL_ERROR;
        err = tf_coap_notify(server->endpoint, watch->observer, &response, now);
    }
    if (err == TF_LIMIT)
        return false;
    if (err == TF_AGAIN) {
        watch->waiting = true;
        return true;
    }
    watch->told = version;
    if (err || tf_coap_class(code) != 2)
        watch->resource = NULL;
    return true;
}

bool tf_coap_server_notify(struct tf_coap_server *server, tf_time now)
{
    if (!server->due)
        return false;
    server->due = false; /* before the handlers run: they may say that something has changed */
    for (uint32_t left = server->watch_count; left; left--) {
        uint32_t at = server->watch_next < server->watch_count ? server->watch_next : 0;
        struct tf_coap_watch *watch = &server->watches[at];
        bool lags = watch->resource && watch->told != watch->resource->version;
        if (lags && !watch->waiting && !tell(server, watch, now)) {
            server->watch_next = at; /* whoever found no room is the first the next time */
            server->due = true;
            return true;
        }
        server->watch_next = at + 1;
    }
    return false;
}
