/*
 * A resource server on a CoAP endpoint: a tree of paths whose nodes have handlers by method.
 *
 *     static uint8_t get_temp(const struct tf_coap_server_request *request,
 *                             struct tf_coap_answer *answer)
 *     {
 *         tf_coap_answer_text(answer, tf_bytes_str("21.5"));
 *         return TF_COAP_CONTENT;
 *     }
 *     static const struct tf_coap_resource_type temp_type = {.handlers[TF_COAP_GET] = get_temp};
 *     static struct tf_coap_resource root, temp = {.name = "temp", .type = &temp_type};
 *
 *     tf_coap_server_init(&server, endpoint, &root);
 *     err = tf_coap_resource_add(&root, &temp);
 *     ...
 *     while (tf_coap_endpoint_event(endpoint, &event))
 *         tf_coap_server_event(&server, &event, now);
 *
 * The endpoint below gives events and calls nobody (docs/adr/0001). Here there are handlers, since
 * to find the one for a path and a method is what a resource server is for. They keep the good of
 * events: they run only inside tf_coap_server_event and tf_coap_server_notify, never in the midst
 * of a datagram; one must not call these two, but may call everything else.
 *
 * What the server answers by itself: 4.04, 4.05, 4.12 by If-Match and If-None-Match, 4.15 by the
 * formats a resource takes; what the endpoint answers by itself is in coap_endpoint.h. Given the
 * memory for it, it keeps observers, collects bodies that come in blocks, and tells about its
 * resources at /.well-known/core. What is not given is not linked.
 *
 * All memory is the caller's and nothing is allocated. A resource type is constant, for flash, and
 * many resources may share one; a resource is a small node in RAM.
 */
#ifndef TREFOIL_COAP_SERVER_H
#define TREFOIL_COAP_SERVER_H

#include <trefoil/coap_endpoint.h>

struct tf_coap_server;
struct tf_coap_resource;

/* ---- handlers ---- */

/* What a handler is asked. Everything in it lasts until the handler returns. */
struct tf_coap_server_request {
    struct tf_coap_server *server;
    struct tf_coap_resource *resource;
    uint64_t handle; /* for tf_coap_server_answer later; 0: a notification is to be made */
    uint8_t method;
    uint8_t flags;             /* of the datagram: TF_DATAGRAM_MULTICAST, _TRUSTED */
    bool more;                 /* the body goes on: only to resources that take chunks */
    int32_t accept;            /* the only format that the client takes; -1: it does not say */
    int32_t format;            /* of the request's body; -1: it does not say */
    const void *path;          /* of the peer; NULL for a notification */
    struct tf_bytes options;   /* as encoded, read by tf_coap_options */
    struct tf_coap_cursor sub; /* the path below the resource: see tf_coap_path_next */
    struct tf_bytes body;
    uint32_t offset; /* of `body` in the whole */
    uint32_t total;  /* Size1, where it was given, else 0 */
    tf_time now;
};

#define TF_COAP_ANSWER_OPTIONS 8

/* An answer, but for its code. Empty when a handler gets it. */
struct tf_coap_answer {
    struct tf_bytes body;         /* copied after the handler has returned */
    const struct tf_bytes *parts; /* the body in several pieces instead */
    size_t part_count;
    /*
     * Not 0: `body` is only the run of a body of `total` bytes that begins at `offset`, and holds
     * what tf_coap_run_wanted names. So that no body need be in memory as a whole.
     */
    uint32_t total;
    uint32_t offset;
    /*
     * Not 0: the body is in `parts`, which stay, with what they view, until a
     * TF_COAP_EVENT_RETURNED with this owner, which tf_coap_server_event leaves to its caller.
     * Needed above one block unless the method is GET. If there is a `borrowed`, it is set to
     * whether the body was lent: a short one is copied.
     */
    uint64_t owner;
    bool *borrowed;

    /* Filled by tf_coap_answer_option and its like. */
    bool failed; /* there was no room for an option: 5.00 is answered */
    uint8_t option_count;
    struct tf_coap_option options[TF_COAP_ANSWER_OPTIONS];
    uint8_t numbers[TF_COAP_ANSWER_OPTIONS][4];
};

/* What a handler returns to answer later, by tf_coap_server_answer and the request's handle. */
#define TF_COAP_LATER 0u

/*
 * Answers a request: fills *answer, which is empty, and returns the answer's code, or
 * TF_COAP_LATER. For a run of a body that goes on (`more`): TF_COAP_CONTINUE to get the next one,
 * or the code of an error, which ends the transfer.
 *
 * The GET handler of an observable resource also makes its notifications: then the request's handle
 * is 0, its options are those of the registration, and it must answer at once. A code that is no
 * success goes to the observer and ends the observation.
 */
typedef uint8_t tf_coap_handler(const struct tf_coap_server_request *request,
                                struct tf_coap_answer *answer);

/*
 * Tells if there is something at the request's path, and its present ETag, in memory that lasts
 * until the next call; left empty when it has none.
 */
typedef bool tf_coap_exists(const struct tf_coap_server_request *request,
                            struct tf_bytes *ret_etag);

/* ---- resources ---- */

/* What /.well-known/core says of a resource (RFC 6690 3, RFC 7252 7.2.1); NULL and 0: nothing. */
struct tf_coap_link_attributes {
    const char *rt;    /* resource types, parted by spaces */
    const char *iface; /* `if`: interface descriptions, parted by spaces */
    const char *ct;    /* content formats, parted by spaces */
    const char *title; /* for people */
    uint32_t sz;       /* about how large it is, when that is more than a datagram takes */
};

enum tf_coap_resource_flag {
    TF_COAP_OBSERVABLE = 1, /* GET may be observed: see tf_coap_server_give_observers */
    TF_COAP_SUBTREE = 2,    /* answers for all paths below that no other resource is at */
    TF_COAP_CHUNKS = 4,     /* takes a body in blocks run by run, as it comes */
    TF_COAP_HIDDEN = 8,     /* not in /.well-known/core */
    TF_COAP_NOTIFY_CON = 16 /* its notifications are CON, whatever the endpoint's config says */
};

struct tf_coap_resource_type {
    tf_coap_handler *handlers[TF_COAP_IPATCH + 1]; /* by method; NULL: 4.05 */
    uint8_t flags;                                 /* of enum tf_coap_resource_flag */
    /* The formats that a request's body may have, else 4.15; none: the handlers see to it. */
    uint8_t format_count;
    const uint16_t *formats;
    tf_coap_exists *exists; /* NULL: it always does, and has no ETag */
    const struct tf_coap_link_attributes *link;
};

/*
 * A node of the tree: one segment of a path. One without a type is only a way to those below it.
 * The caller sets the first part, before it is added; all else must be 0.
 */
struct tf_coap_resource {
    const char *name; /* the segment, not percent-encoded; NULL: any for which there is no other */
    const struct tf_coap_resource_type *type;
    void *user;

    struct tf_coap_resource *parent, *child, *next;
    uint32_t version; /* raised by each change */
};

/*
 * Adds a resource under `parent`, behind those that are there. TF_EXISTS: there is one of that
 * name. TF_MISUSE: it is in a tree already.
 */
TF_MUST_USE enum tf_err tf_coap_resource_add(struct tf_coap_resource *parent,
                                             struct tf_coap_resource *resource);

/*
 * Takes a resource, with all below it, out of the tree. Then call tf_coap_resource_changed, and its
 * observers get 4.04, or tf_coap_resource_forget; its memory is needed until they are gone.
 */
void tf_coap_resource_remove(struct tf_coap_resource *resource);

/* The resource at a path as text, `a/b`; NULL: there is none. Only literal names are followed. */
struct tf_coap_resource *tf_coap_resource_find(struct tf_coap_resource *root, struct tf_bytes path);

/* ---- the server ---- */

struct tf_coap_observation;
struct tf_coap_collection;
struct tf_coap_watch;
struct tf_coap_server_body;

struct tf_coap_server {
    struct tf_coap_endpoint *endpoint;
    struct tf_coap_resource *root;
    void *user;

    /* Parts that were given; private. */
    const struct tf_coap_observation *observation;
    struct tf_coap_watch *watches;
    uint32_t watch_count, watch_next;
    uint32_t sequence; /* the last Observe number */
    bool due;          /* some observer may have to be told */
    const struct tf_coap_collection *collection;
    struct tf_coap_server_body *bodies;
    uint32_t body_count;
};

/* Makes a server of the tree under `root`, which is the resource of the path `/`. */
void tf_coap_server_init(struct tf_coap_server *server, struct tf_coap_endpoint *endpoint,
                         struct tf_coap_resource *root);

/*
 * Takes an event of the endpoint. False: it was not the server's (of the program's own calls;
 * RETURNED and CANCELLED of what its handlers keep): the program may look at it.
 */
bool tf_coap_server_event(struct tf_coap_server *server, const struct tf_coap_event *event,
                          tf_time now);

/*
 * Answers a request that a handler has put off. TF_NOT_FOUND: it has ended. TF_AGAIN: no room:
 * again when output was sent, or after a tick. TF_MISUSE: the answer is too long, or has `failed`.
 */
TF_MUST_USE enum tf_err tf_coap_server_answer(struct tf_coap_server *server, uint64_t handle,
                                              uint8_t code, struct tf_coap_answer *answer,
                                              tf_time now);

/* ---- what handlers call ---- */

/* An empty answer. */
void tf_coap_answer_init(struct tf_coap_answer *answer);

/*
 * Adds an option, in any order; the value stays where it is until the answer was sent. Not
 * Observe, Block1, Block2, Size2 or Echo: those are the endpoint's.
 */
void tf_coap_answer_option(struct tf_coap_answer *answer, uint16_t number, struct tf_bytes value);

/* Adds an option that is a number; Content-Format and Max-Age, mostly. */
void tf_coap_answer_uint(struct tf_coap_answer *answer, uint16_t number, uint32_t value);

/* Sets the body, and Content-Format 0. */
void tf_coap_answer_text(struct tf_coap_answer *answer, struct tf_bytes text);

/* The next segment of the path below a subtree's resource; false: there is none. */
static inline bool tf_coap_path_next(struct tf_coap_cursor *sub, struct tf_bytes *ret_segment)
{
    struct tf_coap_option option;

    if (!tf_coap_option_next(sub, &option) || option.number != TF_COAP_URI_PATH)
        return false;
    *ret_segment = option.value;
    return true;
}

/* A part of a body. */
struct tf_coap_run {
    uint32_t offset;
    uint32_t length;
};

/* The part of its body that an answer to this request can take: see struct tf_coap_answer. */
struct tf_coap_run tf_coap_run_wanted(const struct tf_coap_server_request *request);

/* ---- observers (RFC 7641) ---- */

#define TF_COAP_WATCH_OPTIONS 64

/* One observer; the caller's memory, the server's contents. */
struct tf_coap_watch {
    struct tf_coap_resource *resource; /* NULL: free */
    uint64_t observer;
    uint32_t told; /* the version that it was told last */
    bool waiting;  /* for OBSERVER_READY */
    uint8_t length;
    uint8_t options[TF_COAP_WATCH_OPTIONS]; /* of its registration, for the handler */
};

/*
 * Gives memory for observers; best one more than the endpoint's `observers`, for one that registers
 * anew. A client for which there is none left, or whose options (path and query) are longer than
 * TF_COAP_WATCH_OPTIONS, gets a plain answer. FETCH is always answered plainly.
 */
void tf_coap_server_give_observers(struct tf_coap_server *server, struct tf_coap_watch *watches,
                                   uint32_t count);

/*
 * The state of a resource has changed: its observers are to be told by the next
 * tf_coap_server_notify. Any time; changes that follow closely become one notification.
 */
void tf_coap_resource_changed(struct tf_coap_server *server, struct tf_coap_resource *resource);

/*
 * Tells observers what has changed, as far as the endpoint has room: to be called when events have
 * been pulled, and again after output was sent while it returns true.
 */
bool tf_coap_server_notify(struct tf_coap_server *server, tf_time now);

/* Forgets the observers of a resource without a word. */
void tf_coap_resource_forget(struct tf_coap_server *server, struct tf_coap_resource *resource);

/* ---- bodies of requests that come in blocks (RFC 7959) ---- */

/* Memory for one body; the caller sets the first part. */
struct tf_coap_server_body {
    uint8_t *data;
    uint32_t size;

    uint64_t handle; /* of the request under way; 0: free */
    uint32_t length; /* of what has come */
    bool absent;     /* If-None-Match came with the first block */
};

/*
 * Gives memory in which the bodies of requests are collected, so that handlers get them whole. A
 * longer body gets 4.13 with Size1; one for which no memory is free now, 5.03; without any memory
 * only resources that take chunks accept a body in blocks, and others answer 4.13.
 */
void tf_coap_server_give_bodies(struct tf_coap_server *server, struct tf_coap_server_body *bodies,
                                uint32_t count);

/* ---- /.well-known/core (RFC 6690) ---- */

/* The resource that lists the others; the caller's memory. */
struct tf_coap_core {
    struct tf_coap_resource well_known, core;
    uint8_t *link; /* room for the longest link; a longer one is left out */
    size_t link_size;
    uint8_t *block; /* room for one block, as large as the endpoint's config allows */
    size_t block_size;
    uint8_t etag[4];
};

/*
 * Adds /.well-known/core, whose buffers the caller has set. It lists each resource that has a
 * handler and is not hidden or nameless, filtered as RFC 6690 4.1 says; no more of the text is ever
 * in memory than the block that was asked for. TF_EXISTS: there is one.
 */
TF_MUST_USE enum tf_err tf_coap_server_add_core(struct tf_coap_server *server,
                                                struct tf_coap_core *core);

#endif
