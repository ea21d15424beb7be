/*
 * Collections under $SYS: one address for each object of a kind, a session or a queue, made when it
 * is read. A reader of `$SYS/sessions/#` gets one JSON object a session, from the shards that have
 * them, page by page.
 *
 *   $SYS/connections/NAME     $SYS/queues/NAME     $SYS/queues/mqtt/NAME     $SYS/sessions/NAME
 *
 * Names are percent-encoded (RFC 3986 2.1), so that a name is one level and never a wildcard.
 * Several owners may have objects in one collection. Their order, by which a reader goes on, is
 * that of the collections' prefixes, and within one that of the names before they are encoded.
 *
 * It knows neither protocols nor what is collected.
 */
#ifndef TF_BROKER_SYS_COLLECTION_H
#define TF_BROKER_SYS_COLLECTION_H

#include "route/message.h"

#include <jansson.h>

/* What an owner has of one collection. */
struct tf_sys_collection {
    const char *prefix; /* "$SYS/sessions/" */
    /* The object with the first name after `name` (empty: the first); NULL: no more. */
    const void *(*next)(void *owner, struct tf_bytes name);
    /* The object of this name; NULL: there is none. */
    const void *(*find)(void *owner, struct tf_bytes name);
    struct tf_bytes (*name)(const void *object);
    /* The object as a reader sees it; NULL: it is not to be seen, or there is no memory. */
    json_t *(*describe)(void *owner, const void *object);
};

/*
 * The first object after the address `last` (empty: from the start) that is in the `count`
 * collections, sorted by prefix, and whose address matches the filter: for
 * tf_shard_config.virtual_next. With one count; NULL: no more.
 */
struct tf_message *tf_sys_collections_next(const struct tf_sys_collection *collections,
                                           size_t count, void *owner, struct tf_bytes filter,
                                           struct tf_bytes last, const struct tf_alloc *alloc);

/* Below, equal to or above 0 as the address `a` of a collection comes before, with or after `b`. */
int tf_sys_address_compare(struct tf_bytes a, struct tf_bytes b);

/* A JSON string of a text; NULL: no memory, or not UTF-8. */
json_t *tf_sys_text(struct tf_bytes text);

#endif
