/*
 * A doubly linked list through nodes inside the caller's structs: every step O(1), nothing is
 * allocated, and a node leaves its list without naming it.
 *
 * The list is a ring through its own head, so it must not be moved in memory while it has nodes.
 * A node is zero while it is in no list; a struct that holds one starts zeroed.
 *
 * To walk, removal of the current node allowed:
 *     for (node = tf_list_first(list); node; node = next) {
 *         next = tf_list_next(list, node);
 *         ...
 *     }
 */
#ifndef TF_BASE_LIST_H
#define TF_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/assert.h"
#include "base/util.h"

struct tf_list_node {
    struct tf_list_node *prev; /* NULL: in no list */
    struct tf_list_node *next;
};

struct tf_list {
    struct tf_list_node head; /* head.next is the first, head.prev the last */
};

/* Makes an empty list. Nodes that were in it stay dangling. */
static inline void tf_list_init(struct tf_list *list)
{
    list->head.prev = list->head.next = &list->head;
}

/* True when the list has no node. */
static inline bool tf_list_empty(const struct tf_list *list)
{
    return list->head.next == &list->head;
}

/* True while the node is in some list. */
static inline bool tf_list_linked(const struct tf_list_node *node)
{
    return node->next != NULL;
}

/* The first node, the last, or NULL. */
static inline struct tf_list_node *tf_list_first(const struct tf_list *list)
{
    return list->head.next == &list->head ? NULL : list->head.next;
}
static inline struct tf_list_node *tf_list_last(const struct tf_list *list)
{
    return list->head.prev == &list->head ? NULL : list->head.prev;
}

/* The node after `node`, or before it, in the list that it is in; NULL at the end. */
static inline struct tf_list_node *tf_list_next(const struct tf_list *list,
                                                const struct tf_list_node *node)
{
    return node->next == &list->head ? NULL : node->next;
}
static inline struct tf_list_node *tf_list_prev(const struct tf_list *list,
                                                const struct tf_list_node *node)
{
    return node->prev == &list->head ? NULL : node->prev;
}

/* Links `node`, which is in no list, after `where` (a node in a list, or a list's head). */
static inline void tf_list_insert_after(struct tf_list_node *where, struct tf_list_node *node)
{
    tf_assert(!node->next);
    node->prev = where;
    node->next = where->next;
    where->next->prev = node;
    where->next = node;
}

/* Links `node`, which is in no list, before `where` (a node in a list, or a list's head). */
static inline void tf_list_insert_before(struct tf_list_node *where, struct tf_list_node *node)
{
    tf_list_insert_after(where->prev, node);
}

/* Links `node`, which is in no list, as the first or as the last. */
static inline void tf_list_push_front(struct tf_list *list, struct tf_list_node *node)
{
    tf_list_insert_after(&list->head, node);
}
static inline void tf_list_push_back(struct tf_list *list, struct tf_list_node *node)
{
    tf_list_insert_after(list->head.prev, node);
}

/* Takes `node` out of the list that it is in. */
static inline void tf_list_remove(struct tf_list_node *node)
{
    tf_assert(node->next);
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node->next = NULL;
}

/* Takes `node` out of its list, if it is in one. */
static inline void tf_list_unlink(struct tf_list_node *node)
{
    if (node->next)
        tf_list_remove(node);
}

/* Takes the first node out, or the last; NULL when the list is empty. */
static inline struct tf_list_node *tf_list_pop_front(struct tf_list *list)
{
    struct tf_list_node *node = tf_list_first(list);
    if (node)
        tf_list_remove(node);
    return node;
}
static inline struct tf_list_node *tf_list_pop_back(struct tf_list *list)
{
    struct tf_list_node *node = tf_list_last(list);
    if (node)
        tf_list_remove(node);
    return node;
}

/* Moves all nodes of `from` to the end of `to`, in order; `from` is empty afterwards. */
static inline void tf_list_splice_back(struct tf_list *to, struct tf_list *from)
{
    if (tf_list_empty(from))
        return;
    from->head.next->prev = to->head.prev;
    to->head.prev->next = from->head.next;
    from->head.prev->next = &to->head;
    to->head.prev = from->head.prev;
    tf_list_init(from);
}

#endif
