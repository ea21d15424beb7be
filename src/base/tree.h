/*
 * An ordered map of nodes inside the caller's structs, keyed by byte strings.
 *
 * A zip tree: a skip list in the shape of a binary tree. Each node draws a rank, half of all get 0,
 * a quarter 1 and so on; a node's rank is above its left child's and not below its right child's.
 * That gives a skip list's expected depth with a node of fixed size, which can lie anywhere in a
 * struct. Nothing recurses or allocates. The ranks come from the tree's own random state, so who
 * chooses the keys cannot choose the shape.
 *
 * Order is bytewise, a prefix first, as tf_bytes_compare.
 */
#ifndef TF_BASE_TREE_H
#define TF_BASE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <trefoil/bytes.h>

struct tf_tree_node {
    struct tf_tree_node *parent, *left, *right;
    struct tf_bytes key; /* borrowed: stays until the node is removed */
    uint8_t rank;
};

/* Its fields are the tree's own; `count` may be read. */
struct tf_tree {
    struct tf_tree_node *root;
    size_t count;
    uint64_t random;
};

/* Makes an empty tree; `seed` should not be known to peers. */
void tf_tree_init(struct tf_tree *tree, uint64_t seed);

/* The node with this key; NULL: none. */
struct tf_tree_node *tf_tree_find(const struct tf_tree *tree, struct tf_bytes key);

/* The first node whose key is not before `key`, or after it; NULL: none. */
struct tf_tree_node *tf_tree_seek(const struct tf_tree *tree, struct tf_bytes key);
struct tf_tree_node *tf_tree_seek_after(const struct tf_tree *tree, struct tf_bytes key);

/* The node with the lowest key; NULL: the tree is empty. */
struct tf_tree_node *tf_tree_first(const struct tf_tree *tree);

/* The node after `node` in order; NULL: it was the last. Amortised O(1). */
struct tf_tree_node *tf_tree_next(const struct tf_tree_node *node);

/* Adds `node`, which is in no tree, under `key`. False: the key is there already, nothing done. */
bool tf_tree_insert(struct tf_tree *tree, struct tf_tree_node *node, struct tf_bytes key);

/* Takes `node` out; it must be in this tree. Its key is not looked at. */
void tf_tree_remove(struct tf_tree *tree, struct tf_tree_node *node);

/* Checks order, ranks, parents and count; for tests. O(n). */
bool tf_tree_check(const struct tf_tree *tree);

#endif
