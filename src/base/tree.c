/*
 * The zip tree (Tarjan, Levy and Timmel 2018). Invariants (tf_tree_check):
 *   1. In order, keys only grow.
 *   2. A node's rank is above its left child's and not below its right child's.
 *   3. A child's parent is the node that it is a child of; the root's is NULL.
 */
#include "base/tree.h"

#include "base/assert.h"
#include "base/random.h"

void tf_tree_init(struct tf_tree *tree, uint64_t seed)
{
    *tree = (struct tf_tree){.random = seed};
}

struct tf_tree_node *tf_tree_find(const struct tf_tree *tree, struct tf_bytes key)
{
    struct tf_tree_node *node = tree->root;
    while (node) {
        int order = tf_bytes_compare(key, node->key);
        if (!order)
            break;
        node = order < 0 ? node->left : node->right;
    }
    return node;
}

/* The first node above `key`, or not below it when `equal`. */
static struct tf_tree_node *seek(const struct tf_tree *tree, struct tf_bytes key, bool equal)
{
    struct tf_tree_node *found = NULL;
    struct tf_tree_node *node = tree->root;
    while (node) {
        int order = tf_bytes_compare(key, node->key);
        if (order < 0 || (equal && !order)) {
            found = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return found;
}

struct tf_tree_node *tf_tree_seek(const struct tf_tree *tree, struct tf_bytes key)
{
    return seek(tree, key, true);
}

struct tf_tree_node *tf_tree_seek_after(const struct tf_tree *tree, struct tf_bytes key)
{
    return seek(tree, key, false);
}

static struct tf_tree_node *leftmost(struct tf_tree_node *node)
{
    while (node && node->left)
        node = node->left;
    return node;
}

struct tf_tree_node *tf_tree_first(const struct tf_tree *tree)
{
    return leftmost(tree->root);
}

struct tf_tree_node *tf_tree_next(const struct tf_tree_node *node)
{
    if (node->right)
        return leftmost(node->right);
    while (node->parent && node->parent->right == node)
        node = node->parent;
    return node->parent;
}

/* Hangs `child`, which may be NULL, on *link, which belongs to `parent`. */
static inline void hang(struct tf_tree_node **link, struct tf_tree_node *parent,
                        struct tf_tree_node *child)
{
    *link = child;
    if (child)
        child->parent = parent;
}

/* Parts the tree under `rest` by node's key into the left and right subtrees of `node`. */
static void unzip(struct tf_tree_node *node, struct tf_tree_node *rest)
{
    struct tf_tree_node *low = node, *high = node;
    struct tf_tree_node **low_link = &node->left, **high_link = &node->right;
    while (rest) {
        if (tf_bytes_compare(rest->key, node->key) < 0) {
            hang(low_link, low, rest);
            low = rest;
            low_link = &rest->right;
            rest = rest->right;
        } else {
            hang(high_link, high, rest);
            high = rest;
            high_link = &rest->left;
            rest = rest->left;
        }
    }
    *low_link = *high_link = NULL;
}

bool tf_tree_insert(struct tf_tree *tree, struct tf_tree_node *node, struct tf_bytes key)
{
    uint8_t rank = (uint8_t)__builtin_ctzll(tf_random_split(&tree->random) | UINT64_C(1) << 63);
    struct tf_tree_node *parent = NULL, **link = &tree->root;
    struct tf_tree_node *place_parent = NULL, **place = NULL;
    /* Its place is above the first node that it outranks, but the same key may lie further down. */
    while (*link) {
        int order = tf_bytes_compare(key, (*link)->key);
        if (!order)
            return false;
        if (!place && ((*link)->rank < rank || ((*link)->rank == rank && order < 0))) {
            place = link;
            place_parent = parent;
        }
        parent = *link;
        link = order < 0 ? &parent->left : &parent->right;
    }
    if (!place) {
        place = link;
        place_parent = parent;
    }
    struct tf_tree_node *rest = *place;
    node->key = key;
    node->rank = rank;
    hang(place, place_parent, node);
    unzip(node, rest);
    tree->count++;
    return true;
}

void tf_tree_remove(struct tf_tree *tree, struct tf_tree_node *node)
{
    struct tf_tree_node *parent = node->parent;
    struct tf_tree_node **link = !parent                ? &tree->root
                                 : parent->left == node ? &parent->left
                                                        : &parent->right;
    tf_assert(*link == node);
    struct tf_tree_node *low = node->left, *high = node->right;
    while (low && high) {
        if (low->rank >= high->rank) {
            hang(link, parent, low);
            parent = low;
            link = &low->right;
            low = low->right;
        } else {
            hang(link, parent, high);
            parent = high;
            link = &high->left;
            high = high->left;
        }
    }
    hang(link, parent, low ? low : high);
    node->parent = node->left = node->right = NULL;
    tree->count--;
}

bool tf_tree_check(const struct tf_tree *tree)
{
    size_t count = 0;
    const struct tf_tree_node *last = NULL;
    if (tree->root && tree->root->parent)
        return false;
    for (const struct tf_tree_node *node = tf_tree_first(tree); node; node = tf_tree_next(node)) {
        if (last && tf_bytes_compare(last->key, node->key) >= 0)
            return false;
        if (node->left && (node->left->parent != node || node->left->rank >= node->rank))
            return false;
        if (node->right && (node->right->parent != node || node->right->rank > node->rank))
            return false;
        last = node;
        count++;
    }
    return count == tree->count;
}
