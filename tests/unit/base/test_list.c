/* The list against an array, and removal during a walk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/random.h"

#define COUNT 40

struct item {
    int before;
    struct tf_list_node node;
};

static void check(const struct tf_list *list, struct item *const *model, size_t count)
{
    size_t i = 0;
    struct tf_list_node *node;
    for (node = tf_list_first(list); node; node = tf_list_next(list, node)) {
        assert_true(i < count);
        assert_ptr_equal(tf_container_of(node, struct item, node), model[i++]);
    }
    assert_int_equal(i, count);
    for (node = tf_list_last(list); node; node = tf_list_prev(list, node))
        assert_ptr_equal(tf_container_of(node, struct item, node), model[--i]);
    assert_int_equal(i, 0);
    assert_int_equal(tf_list_empty(list), count == 0);
}

static size_t take(struct item **model, size_t count, size_t index)
{
    memmove(&model[index], &model[index + 1], (count - index - 1) * sizeof(*model));
    return count - 1;
}

static size_t place(struct item **model, size_t count, size_t index, struct item *item)
{
    memmove(&model[index + 1], &model[index], (count - index) * sizeof(*model));
    model[index] = item;
    return count + 1;
}

static void test_against_array(void **state)
{
    (void)state;
    struct item items[COUNT], *model[COUNT + 1];
    struct tf_list list;
    struct tf_random random;
    size_t count = 0;
    memset(items, 0, sizeof(items));
    tf_list_init(&list);
    tf_random_init(&random, 7);
    for (unsigned step = 0; step < 20000; step++) {
        struct item *item = &items[tf_random_below(&random, COUNT)];
        size_t index = 0;
        while (index < count && model[index] != item)
            index++;
        assert_int_equal(tf_list_linked(&item->node), index < count);
        size_t where = count ? (size_t)tf_random_below(&random, count) : 0;
        unsigned kind = (unsigned)tf_random_below(&random, 7);
        if (kind == 4) {
            struct tf_list_node *node = tf_list_pop_front(&list);
            assert_ptr_equal(node, count ? &model[0]->node : NULL);
            count = count ? take(model, count, 0) : 0;
        } else if (kind == 5) {
            struct tf_list_node *node = tf_list_pop_back(&list);
            assert_ptr_equal(node, count ? &model[count - 1]->node : NULL);
            count = count ? count - 1 : 0;
        } else if (index < count || kind == 6) {
            tf_list_unlink(&item->node);
            if (index < count)
                count = take(model, count, index);
        } else if (kind == 0 || !count) {
            tf_list_push_front(&list, &item->node);
            count = place(model, count, 0, item);
        } else if (kind == 1) {
            tf_list_push_back(&list, &item->node);
            count = place(model, count, count, item);
        } else if (kind == 2) {
            tf_list_insert_before(&model[where]->node, &item->node);
            count = place(model, count, where, item);
        } else {
            tf_list_insert_after(&model[where]->node, &item->node);
            count = place(model, count, where + 1, item);
        }
        check(&list, model, count);
    }
}

static void test_remove_while_walking(void **state)
{
    (void)state;
    struct item items[6];
    struct tf_list list;
    memset(items, 0, sizeof(items));
    tf_list_init(&list);
    for (size_t i = 0; i < TF_COUNT(items); i++)
        tf_list_push_back(&list, &items[i].node);
    size_t seen = 0;
    struct tf_list_node *node, *next;
    for (node = tf_list_first(&list); node; node = next) {
        next = tf_list_next(&list, node);
        assert_ptr_equal(node, &items[seen].node);
        if (seen++ % 2 == 0)
            tf_list_remove(node);
    }
    assert_int_equal(seen, 6);
    check(&list, (struct item *[]){&items[1], &items[3], &items[5]}, 3);
}

static void test_splice(void **state)
{
    (void)state;
    struct item items[4];
    struct tf_list a, b;
    memset(items, 0, sizeof(items));
    tf_list_init(&a);
    tf_list_init(&b);
    tf_list_splice_back(&a, &b);
    check(&a, NULL, 0);
    tf_list_push_back(&b, &items[0].node);
    tf_list_push_back(&b, &items[1].node);
    tf_list_splice_back(&a, &b); /* into an empty one */
    check(&b, NULL, 0);
    tf_list_push_back(&b, &items[2].node);
    tf_list_push_back(&b, &items[3].node);
    tf_list_splice_back(&a, &b);
    tf_list_splice_back(&a, &b); /* from an empty one */
    check(&a, (struct item *[]){&items[0], &items[1], &items[2], &items[3]}, 4);
    check(&b, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_array),
        cmocka_unit_test(test_remove_while_walking),
        cmocka_unit_test(test_splice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
