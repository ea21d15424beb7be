/*
 * The resource server: from an event to a handler, and from its answer to a response.
 *
 * The path is walked once, option by option, down the tree; so a long path costs no more than its
 * options do, and there is no recursion. Nothing of a request is kept here: each run of a body in
 * blocks carries all options of its request (RFC 7959 2.3) and is routed anew.
 *
 * Observers, bodies and /.well-known/core are in files of their own, which this one must not name:
 * it reaches them by pointers that the calls which give their memory set.
 */
#include "coap/server.h"

#include "base/mem.h"
#include "base/util.h"

/* ---- answers ---- */

void tf_coap_answer_init(struct tf_coap_answer *answer)
{
    memset(answer, 0, sizeof *answer);
}

void tf_coap_answer_option(struct tf_coap_answer *answer, uint16_t number, struct tf_bytes value)
{
    size_t at = answer->option_count;

    if (at == TF_COAP_ANSWER_OPTIONS) {
        answer->failed = true;
        return;
    }
    for (; at > 0 && answer->options[at - 1].number > number; at--)
        answer->options[at] = answer->options[at - 1];
    answer->options[at].number = number;
    answer->options[at].value = value;
    answer->option_count++;
}

void tf_coap_answer_uint(struct tf_coap_answer *answer, uint16_t number, uint32_t value)
{
    /* An answer without room has no place for the number either, and needs none. */
    size_t at = answer->option_count % TF_COAP_ANSWER_OPTIONS;

    if (answer->option_count == TF_COAP_ANSWER_OPTIONS)
        answer->failed = true;
    else
        tf_coap_answer_option(answer, number, tf_coap_uint_value(value, answer->numbers[at]));
}

void tf_coap_answer_text(struct tf_coap_answer *answer, struct tf_bytes text)
{
    tf_coap_answer_uint(answer, TF_COAP_CONTENT_FORMAT, TF_COAP_FORMAT_TEXT);
    answer->body = text;
}

struct tf_coap_run tf_coap_run_wanted(const struct tf_coap_server_request *request)
{
    struct tf_coap_block block = {0, false, TF_COAP_BLOCK_SZX_MAX};
    struct tf_bytes value;

    if (tf_coap_option_find(request->options, TF_COAP_BLOCK2, &value) &&
        !tf_coap_block_read(value, &block))
        block.number = 0;
    uint32_t shift = 4u + (block.szx < 7 ? block.szx : 6u);
    return (struct tf_coap_run){block.number << shift, 1u << shift};
}

void tf_coap_server_response(struct tf_coap_response *ret, uint8_t code,
                             const struct tf_coap_answer *answer, struct tf_bytes parts[3])
{
    memset(ret, 0, sizeof *ret);
    ret->code = code;
    ret->options = answer->options;
    ret->option_count = answer->option_count;
    ret->owner = answer->owner;
    ret->body = answer->parts;
    ret->body_count = answer->part_count;
    if (ret->body)
        return;
    parts[0] = answer->body;
    ret->body = parts;
    ret->body_count = 1;
    if (!answer->total)
        return;
    /* The endpoint reads the block that was asked for and steps over the rest, which is not there.
     */
    uint32_t offset = TF_MIN(answer->offset, answer->total);
    uint32_t length = (uint32_t)TF_MIN(answer->body.length, answer->total - offset);
    parts[0].length = offset;
    parts[1] = tf_bytes_of(answer->body.data, length);
    parts[2] = tf_bytes_of(answer->body.data, answer->total - offset - length);
    ret->body_count = 3;
}

/* Answers; with a watch the client may become its observer. */
static enum tf_err respond(struct tf_coap_server *server, uint64_t handle, uint8_t code,
                           struct tf_coap_answer *answer, struct tf_coap_watch *watch, tf_time now)
{
    struct tf_coap_response response;
    struct tf_bytes parts[3];
    uint64_t observer = 0;
    bool borrowed = false;

    if (answer->failed || (answer->owner && !answer->parts))
        return TF_MISUSE;
    tf_coap_server_response(&response, code, answer, parts);
    if (watch) {
        response.observe = true;
        response.sequence = ++server->sequence;
        response.user = watch;
    }
    enum tf_err err =
        tf_coap_respond(server->endpoint, handle, &response, &observer, &borrowed, now);
    if (watch && observer)
        watch->observer = observer;
    else if (watch)
        watch->resource = NULL;
    if (!err && answer->borrowed)
        *answer->borrowed = borrowed;
    return err;
}

enum tf_err tf_coap_server_answer(struct tf_coap_server *server, uint64_t handle, uint8_t code,
                                  struct tf_coap_answer *answer, tf_time now)
{
    return respond(server, handle, code, answer, NULL, now);
}

/* ---- routing ---- */

/* The child for a segment: the one of that name, else the nameless one. */
static struct tf_coap_resource *child_of(const struct tf_coap_resource *parent,
                                         struct tf_bytes segment)
{
    struct tf_coap_resource *any = NULL;

    for (struct tf_coap_resource *at = parent->child; at; at = at->next) {
        if (!at->name)
            any = at;
        else if (tf_bytes_equal(tf_bytes_str(at->name), segment))
            return at;
    }
    return any;
}

/*
 * True if no segment can be taken for another path by a handler that joins them: RFC 7252 5.10.1
 * forbids `.` and `..`; slash and NUL are legal, but no name that we know of needs them.
 */
static bool path_is_plain(struct tf_coap_cursor sub)
{
    struct tf_bytes segment;

    while (tf_coap_path_next(&sub, &segment)) {
        size_t dots = 0;
        for (size_t i = 0; i < segment.length; i++) {
            if (segment.data[i] == '/' || segment.data[i] == 0)
                return false;
            dots += segment.data[i] == '.';
        }
        if (dots && dots == segment.length && dots <= 2)
            return false;
    }
    return true;
}

uint8_t tf_coap_server_route(struct tf_coap_server_request *request, struct tf_coap_resource *root,
                             bool *ret_conditional)
{
    struct tf_coap_cursor cursor = tf_coap_options(request->options), before = cursor;
    struct tf_coap_resource *at = root, *subtree = NULL;
    struct tf_coap_option option;
    unsigned segments = 0;
    size_t bytes = 0;

    request->accept = request->format = -1;
    for (; tf_coap_option_next(&cursor, &option); before = cursor) {
        if (option.number == TF_COAP_IF_MATCH || option.number == TF_COAP_IF_NONE_MATCH) {
            *ret_conditional = true;
        } else if (option.number == TF_COAP_CONTENT_FORMAT) {
            /* Elective: the first, and one that is too long is as if it were not there (5.4.3). */
            if (option.value.length <= 2 && request->format < 0)
                request->format = (int32_t)tf_coap_uint(option.value);
        } else if (option.number == TF_COAP_ACCEPT) {
            request->accept = (int32_t)tf_coap_uint(option.value);
        } else if (option.number == TF_COAP_URI_PATH) {
            segments++;
            bytes += option.value.length;
            if (at && at->type && at->type->flags & TF_COAP_SUBTREE) {
                subtree = at;
                request->sub = before;
            }
            at = at ? child_of(at, option.value) : NULL;
        }
    }
    if (!at && segments == 1 && bytes == 0)
        at = root; /* RFC 7252 6.5: one empty segment makes the path `/` too */
    if (at && at->type) {
        request->resource = at;
        request->sub = before; /* at the end */
        return 0;
    }
    request->resource = subtree;
    if (!subtree)
        return TF_COAP_NOT_FOUND;
    return path_is_plain(request->sub) ? 0 : TF_COAP_BAD_REQUEST;
}

/* Whether If-Match and If-None-Match hold (RFC 7252 5.10.8); `absent`: the latter is meant, though
 * it is not among the options. */
static bool condition_holds(const struct tf_coap_server_request *request, bool absent)
{
    struct tf_coap_cursor cursor = tf_coap_options(request->options);
    struct tf_bytes etag = {NULL, 0};
    tf_coap_exists *exists = request->resource->type->exists;
    bool there = !exists || exists(request, &etag);
    bool wanted = false, matched = false;
    struct tf_coap_option option;

    if (absent && there)
        return false;
    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number == TF_COAP_IF_NONE_MATCH && there)
            return false;
        if (option.number != TF_COAP_IF_MATCH)
            continue;
        wanted = true; /* one of them is enough; an empty one means any that exists (5.10.8.1) */
        matched |= there && (!option.value.length || tf_bytes_equal(option.value, etag));
    }
    return !wanted || matched;
}

/* False: 4.15 (RFC 7252 5.9.2.10). A body of which no format is said may be of any. */
static bool format_taken(const struct tf_coap_server_request *request)
{
    const struct tf_coap_resource_type *type = request->resource->type;
    bool taken = request->format < 0 || !type->format_count;

    for (size_t i = 0; i < type->format_count; i++)
        taken |= type->formats[i] == request->format;
    return taken;
}

/* Runs the handler, if the request is one for it; the code of the answer. */
static uint8_t run(struct tf_coap_server *server, const struct tf_coap_event *event,
                   struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    bool conditional = false, absent = false;
    uint8_t code = tf_coap_server_route(request, server->root, &conditional);

    if (code)
        return code;
    const struct tf_coap_resource_type *type = request->resource->type;
    tf_coap_handler *handler =
        request->method <= TF_COAP_IPATCH ? type->handlers[request->method] : NULL;
    if (!handler)
        return TF_COAP_METHOD_NOT_ALLOWED;
    if (!format_taken(request))
        return TF_COAP_UNSUPPORTED_FORMAT;
    bool chunks = (type->flags & TF_COAP_CHUNKS) != 0;
    if (!chunks && (event->more || event->offset)) {
        if (!server->collection)
            return TF_COAP_TOO_LARGE;
        if (conditional && !event->offset && !condition_holds(request, false))
            return TF_COAP_PRECONDITION_FAILED; /* nothing is collected in vain */
        code = server->collection->take(server, event, answer, &request->body, &absent);
        if (code)
            return code;
        request->offset = 0;
    }
    /* Of a body in runs the first one decides: the handler may have begun to change the state. */
    if ((conditional || absent) && !request->offset && !condition_holds(request, absent))
        return TF_COAP_PRECONDITION_FAILED;
    return handler(request, answer);
}

/* ---- events ---- */

/* A request, or a further run of its body. */
static void serve(struct tf_coap_server *server, const struct tf_coap_event *event, tf_time now)
{
    struct tf_coap_server_request request = {
        .server = server,
        .handle = event->handle,
        .method = event->message.code,
        .flags = event->flags,
        .more = event->more,
        .path = event->path,
        .options = event->message.options,
        .body = event->body,
        .offset = event->offset,
        .total = event->total,
        .now = now,
    };
    struct tf_coap_watch *watch = NULL;
    struct tf_coap_answer answer;

    tf_coap_answer_init(&answer);
    uint8_t code = run(server, event, &request, &answer);
    if (code != TF_COAP_CONTINUE && server->collection)
        (void)server->collection->drop(server, event->handle);
    if (code == TF_COAP_LATER || (code == TF_COAP_CONTINUE && event->more))
        return;
    if (event->observe && server->observation && code == TF_COAP_CONTENT)
        watch = server->observation->add(server, &request);
    enum tf_err err = respond(server, event->handle, code, &answer, watch, now);
    if (err == TF_MISUSE) { /* of the handler; the client is not to wait for it */
        tf_coap_answer_init(&answer);
        err = respond(server, event->handle, TF_COAP_INTERNAL_ERROR, &answer, NULL, now);
    }
    (void)err; /* the request has ended: nobody waits */
}

bool tf_coap_server_event(struct tf_coap_server *server, const struct tf_coap_event *event,
                          tf_time now)
{
    switch (event->type) {
    case TF_COAP_EVENT_REQUEST:
    case TF_COAP_EVENT_BODY:
        serve(server, event, now);
        return true;
    case TF_COAP_EVENT_OBSERVER_READY:
    case TF_COAP_EVENT_OBSERVER_GONE:
        if (!server->observation)
            return false;
        server->observation->event(server, event);
        return true;
    case TF_COAP_EVENT_CANCELLED:
        return server->collection && server->collection->drop(server, event->handle);
    default:
        return false;
    }
}

void tf_coap_server_init(struct tf_coap_server *server, struct tf_coap_endpoint *endpoint,
                         struct tf_coap_resource *root)
{
    memset(server, 0, sizeof *server);
    server->endpoint = endpoint;
    server->root = root;
}
