/*
 * /.well-known/core of the resource server (RFC 6690).
 *
 * The text is never there as a whole: each request walks the tree, writes one link after the other
 * into a small buffer, and keeps what lies within the block that was asked for. The ETag is a hash
 * of the whole text, so that a client sees when the tree has changed between two blocks.
 */
#include <trefoil/coap_link.h>
#include <trefoil/coap_server.h>
#include <trefoil/coap_uri.h>

#include "base/mem.h"
#include "base/util.h"

/* The text that is being made: its length and hash, and the part of it that is kept. */
struct text {
    uint8_t *kept;
    uint32_t from, room; /* which part that is */
    uint32_t length, hash;
};

/* Appends to the text. */
static void text_put(struct text *text, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        uint32_t at = text->length++;
        if (at >= text->from && at - text->from < text->room)
            text->kept[at - text->from] = data[i];
        text->hash = (text->hash ^ data[i]) * 16777619u; /* FNV-1a */
    }
}

/* The node after `at`, itself before those below it; NULL after the last. */
static struct tf_coap_resource *tree_next(const struct tf_coap_resource *root,
                                          struct tf_coap_resource *at)
{
    if (at->child)
        return at->child;
    while (at != root && !at->next)
        at = at->parent;
    return at == root ? NULL : at->next;
}

/* True if the resource is for others to know of. */
static bool listed(const struct tf_coap_resource *root, const struct tf_coap_resource *resource)
{
    const struct tf_coap_resource_type *type = resource->type;
    bool handled = false;

    if (!type || type->flags & TF_COAP_HIDDEN)
        return false;
    for (size_t i = 0; i < TF_COUNT(type->handlers); i++)
        handled |= type->handlers[i] != NULL;
    for (; resource != root; resource = resource->parent) {
        if (!resource->name)
            return false; /* it is at many paths */
    }
    return handled;
}

/* Writes the path from the root on. The way up is gone anew for each level: they are few. */
static void path_write(struct tf_writer *out, const struct tf_coap_resource *root,
                       const struct tf_coap_resource *resource)
{
    size_t depth = 0;

    for (const struct tf_coap_resource *at = resource; at != root; at = at->parent)
        depth++;
    if (!depth)
        tf_write_u8(out, '/');
    for (; depth; depth--) {
        const struct tf_coap_resource *at = resource;
        for (size_t i = 1; i < depth; i++)
            at = at->parent;
        tf_coap_segment_write(out, tf_bytes_str(at->name));
    }
}

/* Writes `ct`: a number alone as such, several between quotes (RFC 7252 7.2.1). */
static void formats_write(struct tf_writer *out, struct tf_bytes formats)
{
    uint32_t number = 0;

    for (size_t i = 0; i < formats.length; i++) {
        if (formats.data[i] < '0' || formats.data[i] > '9') {
            tf_coap_attribute_write(out, tf_bytes_str("ct"), formats);
            return;
        }
        number = number * 10 + (formats.data[i] - (uint32_t)'0');
    }
    tf_coap_attribute_write_uint(out, tf_bytes_str("ct"), number);
}

/* Writes the attributes of a resource. */
static void attributes_write(struct tf_writer *out, const struct tf_coap_resource_type *type)
{
    static const struct tf_coap_link_attributes none = {0};
    const struct tf_coap_link_attributes *link = type->link ? type->link : &none;

    if (link->rt)
        tf_coap_attribute_write(out, tf_bytes_str("rt"), tf_bytes_str(link->rt));
    if (link->iface)
        tf_coap_attribute_write(out, tf_bytes_str("if"), tf_bytes_str(link->iface));
    if (link->ct)
        formats_write(out, tf_bytes_str(link->ct));
    if (link->sz)
        tf_coap_attribute_write_uint(out, tf_bytes_str("sz"), link->sz);
    if (link->title)
        tf_coap_attribute_write(out, tf_bytes_str("title"), tf_bytes_str(link->title));
    if (type->flags & TF_COAP_OBSERVABLE)
        tf_coap_attribute_write_flag(out, tf_bytes_str("obs"));
}

/* Writes a resource's link to `out`. False: it did not fit, or the options filter it out. */
static bool link_write(struct tf_writer *out, const struct tf_coap_resource *root,
                       const struct tf_coap_resource *resource, struct tf_bytes options)
{
    struct tf_coap_link link;

    tf_write_u8(out, '<');
    path_write(out, root, resource);
    size_t end = tf_writer_length(out);
    tf_write_u8(out, '>');
    attributes_write(out, resource->type);
    if (out->failed)
        return false;
    link.target = tf_bytes_of(out->start + 1, end - 1);
    link.attributes = tf_bytes_of(out->start + end + 1, tf_writer_length(out) - end - 1);
    return tf_coap_link_wanted(&link, options);
}

static uint8_t core_get(const struct tf_coap_server_request *request, struct tf_coap_answer *answer)
{
    struct tf_coap_core *core = request->resource->user;
    struct tf_coap_resource *root = request->server->root;
    struct tf_coap_run run = tf_coap_run_wanted(request);
    struct text text = {core->block, run.offset, 0, 0, 2166136261u};

    text.room = (uint32_t)TF_MIN(run.length, core->block_size);
    for (struct tf_coap_resource *at = root; at; at = tree_next(root, at)) {
        struct tf_writer out = tf_writer_of(core->link, core->link_size);
        if (!listed(root, at) || !link_write(&out, root, at, request->options))
            continue;
        if (text.length)
            text_put(&text, (const uint8_t *)",", 1);
        text_put(&text, out.start, tf_writer_length(&out));
    }
    for (size_t i = 0; i < sizeof core->etag; i++)
        core->etag[i] = (uint8_t)(text.hash >> (8 * i));
    uint32_t kept = text.length > text.from ? text.length - text.from : 0;
    answer->body = tf_bytes_of(core->block, TF_MIN(kept, text.room));
    answer->offset = text.from;
    answer->total = text.length;
    tf_coap_answer_option(answer, TF_COAP_ETAG, tf_bytes_of(core->etag, sizeof core->etag));
    tf_coap_answer_uint(answer, TF_COAP_CONTENT_FORMAT, TF_COAP_FORMAT_LINK);
    return TF_COAP_CONTENT;
}

static const struct tf_coap_resource_type core_type = {
    .handlers[TF_COAP_GET] = core_get,
    .flags = TF_COAP_HIDDEN,
};

enum tf_err tf_coap_server_add_core(struct tf_coap_server *server, struct tf_coap_core *core)
{
    struct tf_coap_resource *parent =
        tf_coap_resource_find(server->root, tf_bytes_str(".well-known"));

    memset(&core->well_known, 0, sizeof core->well_known);
    memset(&core->core, 0, sizeof core->core);
    core->core.name = "core";
    core->core.type = &core_type;
    core->core.user = core;
    if (parent)
        return tf_coap_resource_add(parent, &core->core);
    core->well_known.name = ".well-known";
    enum tf_err err = tf_coap_resource_add(server->root, &core->well_known);
    return err ? err : tf_coap_resource_add(&core->well_known, &core->core);
}
