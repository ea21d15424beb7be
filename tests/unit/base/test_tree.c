/* The tree against a sorted array, its depth, and walks that cross changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/tree.h"
#include "base/util.h"

#define COUNT 200

struct item {
    struct tf_tree_node node;
    uint8_t key[6];
    size_t length;
    bool in;
};

static struct tf_bytes key_of(const struct item *item)
{
    return tf_bytes_of(item->key, item->length);
}

/* Short keys of few letters, so that prefixes and equal keys are frequent. */
static void draw_key(struct tf_random *random, struct item *item)
{
    item->length = (size_t)tf_random_below(random, sizeof(item->key) + 1);
    for (size_t i = 0; i < item->length; i++)
        item->key[i] = "a/\xff"[tf_random_below(random, 3)];
}

static struct item *item_of(struct tf_tree_node *node)
{
    return node ? tf_container_of(node, struct item, node) : NULL;
}

/* The first item in the tree with a key above `key`, or not below it. */
static const struct item *scan(const struct item *items, struct tf_bytes key, bool equal)
{
    const struct item *best = NULL;
    for (size_t i = 0; i < COUNT; i++) {
        if (!items[i].in || tf_bytes_compare(key_of(&items[i]), key) < (equal ? 0 : 1))
            continue;
        if (!best || tf_bytes_compare(key_of(&items[i]), key_of(best)) < 0)
            best = &items[i];
    }
    return best;
}

static void test_against_scan(void **state)
{
    (void)state;
    static struct item items[COUNT];
    struct tf_tree tree;
    struct tf_random random;
    size_t count = 0;
    memset(items, 0, sizeof(items));
    tf_tree_init(&tree, 1);
    tf_random_init(&random, 2);
    assert_null(tf_tree_first(&tree));
    for (unsigned step = 0; step < 40000; step++) {
        struct item *item = &items[tf_random_below(&random, COUNT)];
        if (item->in) {
            tf_tree_remove(&tree, &item->node);
            item->in = false;
            count--;
        } else {
            draw_key(&random, item);
            const struct item *same = scan(items, key_of(item), true);
            bool there = same && tf_bytes_equal(key_of(same), key_of(item));
            assert_int_equal(tf_tree_insert(&tree, &item->node, key_of(item)), !there);
            item->in = !there;
            count += !there;
        }
        assert_int_equal(tree.count, count);
        struct item probe;
        draw_key(&random, &probe);
        struct tf_bytes key = key_of(&probe);
        const struct item *at = scan(items, key, true), *after = scan(items, key, false);
        assert_ptr_equal(item_of(tf_tree_seek(&tree, key)), at);
        assert_ptr_equal(item_of(tf_tree_seek_after(&tree, key)), after);
        assert_ptr_equal(item_of(tf_tree_find(&tree, key)), at != after ? at : NULL);
        if (at)
            assert_ptr_equal(item_of(tf_tree_next(&((struct item *)(uintptr_t)at)->node)),
                             scan(items, key_of(at), false));
        if (step % 50 == 0)
            assert_true(tf_tree_check(&tree));
    }
}

/* Keys in order are the worst that a plain tree can get; here the depth stays logarithmic. */
static void test_depth(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct tf_tree tree;
    struct item *items = calloc(MANY, sizeof(*items));
    tf_tree_init(&tree, 99);
    for (unsigned i = 0; i < MANY; i++) {
        items[i].key[0] = (uint8_t)(i >> 16);
        items[i].key[1] = (uint8_t)(i >> 8);
        items[i].key[2] = (uint8_t)i;
        items[i].length = 3;
        assert_true(tf_tree_insert(&tree, &items[i].node, key_of(&items[i])));
    }
    assert_true(tf_tree_check(&tree));
    uint64_t total = 0;
    unsigned position = 0;
    for (struct tf_tree_node *node = tf_tree_first(&tree); node; node = tf_tree_next(node)) {
        assert_ptr_equal(node, &items[position++].node);
        for (struct tf_tree_node *up = node; up; up = up->parent)
            total++;
    }
    assert_int_equal(position, MANY);
    assert_true(total < (uint64_t)MANY * 40); /* 1.5 log2 n is to be expected: 22 */
    for (unsigned i = 0; i < MANY; i++)
        tf_tree_remove(&tree, &items[(uint64_t)i * 7919 % MANY].node);
    assert_null(tree.root);
    assert_int_equal(tree.count, 0);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_scan),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
