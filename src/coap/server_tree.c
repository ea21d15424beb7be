/*
 * The tree of resources: nodes of the caller's, children in the order in which they were added.
 */
#include <trefoil/coap_server.h>

/* True if both have the same name; all nameless ones have. */
static bool same_name(const struct tf_coap_resource *a, const struct tf_coap_resource *b)
{
    if (!a->name || !b->name)
        return a->name == b->name;
    return tf_bytes_equal(tf_bytes_str(a->name), tf_bytes_str(b->name));
}

enum tf_err tf_coap_resource_add(struct tf_coap_resource *parent, struct tf_coap_resource *resource)
{
    struct tf_coap_resource **at = &parent->child;

    if (resource->parent || resource == parent)
        return TF_MISUSE;
    for (; *at; at = &(*at)->next) {
        if (same_name(*at, resource))
            return TF_EXISTS;
    }
    *at = resource;
    resource->next = NULL;
    resource->parent = parent;
    return TF_OK;
}

void tf_coap_resource_remove(struct tf_coap_resource *resource)
{
    struct tf_coap_resource **at;

    if (!resource->parent)
        return;
    for (at = &resource->parent->child; *at != resource; at = &(*at)->next) {
    }
    *at = resource->next;
    resource->parent = NULL;
    resource->next = NULL;
}

struct tf_coap_resource *tf_coap_resource_find(struct tf_coap_resource *root, struct tf_bytes path)
{
    struct tf_coap_resource *at = root;
    size_t start = 0;

    while (at && start < path.length) {
        size_t end = start;
        while (end < path.length && path.data[end] != '/')
            end++;
        struct tf_bytes segment = tf_bytes_of(path.data + start, end - start);
        struct tf_coap_resource *child = at->child;
        while (child && !(child->name && tf_bytes_equal(tf_bytes_str(child->name), segment)))
            child = child->next;
        at = child;
        start = end + 1;
    }
    return at;
}
