/* The map against an array: duplicates of a hash, growing, walks with removal, no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/random.h"
#include "base/util.h"

/* Counts what is out, and fails every call while `fail` is set, or those at random. */
struct heap {
    size_t used, calls;
    bool fail;
    uint64_t chance; /* in 4 */
    struct tf_random random;
};

static void *heap_alloc(void *ctx, size_t size)
{
    struct heap *heap = ctx;
    heap->calls++;
    assert_true(size > 0);
    if (heap->fail || tf_random_chance(&heap->random, heap->chance, 4))
        return NULL;
    heap->used += size;
    void *memory = malloc(size);
    memset(memory, 0xA5, size); /* the map may count on nothing */
    return memory;
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    struct heap *heap = ctx;
    assert_non_null(memory);
    assert_true(heap->used >= size);
    heap->used -= size;
    free(memory);
}

static struct tf_alloc heap_init(struct heap *heap)
{
    *heap = (struct heap){0};
    tf_random_init(&heap->random, 11);
    return (struct tf_alloc){heap_alloc, heap_free, heap, NULL};
}

struct item {
    struct tf_map_node node;
    uint64_t hash;
    unsigned order; /* of insertion */
    bool in, seen;
};

/* All items of a hash are found, newest first, and nothing else. */
static void check_hash(const struct tf_map *map, const struct item *items, size_t count,
                       uint64_t hash)
{
    size_t expected = 0, found = 0;
    unsigned last = UINT32_MAX;
    for (size_t i = 0; i < count; i++)
        expected += items[i].in && items[i].hash == hash;
    for (struct tf_map_node *node = tf_map_find(map, hash); node; node = tf_map_find_next(node)) {
        struct item *item = tf_container_of(node, struct item, node);
        assert_true(item->in && item->hash == hash);
        assert_true(item->order < last);
        last = item->order;
        found++;
    }
    assert_int_equal(found, expected);
}

static void check_walk(const struct tf_map *map, struct item *items, size_t count)
{
    struct tf_map_cursor cursor;
    size_t seen = 0, expected = 0;
    for (size_t i = 0; i < count; i++) {
        items[i].seen = false;
        expected += items[i].in;
    }
    for (struct tf_map_node *node = tf_map_first(map, &cursor); node;
         node = tf_map_next(map, &cursor)) {
        struct item *item = tf_container_of(node, struct item, node);
        assert_true(item->in && !item->seen);
        item->seen = true;
        seen++;
    }
    assert_int_equal(seen, expected);
    assert_int_equal(map->count, expected);
    assert_true(tf_map_check(map));
}

/* `hashes` different hashes; `chance` in 4 allocations fail. */
static void against_array(size_t count, uint64_t hashes, uint64_t chance)
{
    struct heap heap;
    struct tf_alloc alloc = heap_init(&heap);
    struct tf_map map;
    struct tf_random random;
    struct item *items = calloc(count, sizeof(*items));
    heap.chance = chance;
    tf_map_init(&map, &alloc);
    tf_random_init(&random, count + hashes);
    for (unsigned step = 0; step < 30 * count; step++) {
        struct item *item = &items[tf_random_below(&random, count)];
        /* Grows in the first third, then is about half full, then empties. */
        bool add = step < 10 * count ? true : step < 20 * count ? !item->in : false;
        if (add && !item->in) {
            item->hash = tf_hash_mix(tf_random_below(&random, hashes));
            item->order = step;
            item->in = true;
            tf_map_insert(&map, &item->node, item->hash);
        } else if (!add && item->in) {
            item->in = false;
            tf_map_remove(&map, &item->node);
        }
        check_hash(&map, items, count, item->hash);
        if (step % 97 == 0)
            check_walk(&map, items, count);
    }
    check_walk(&map, items, count);
    tf_map_release(&map);
    assert_int_equal(heap.used, 0);
    free(items);
}

static void test_against_array(void **state)
{
    (void)state;
    against_array(1, 1, 0);
    against_array(9, 3, 0);
    against_array(600, 1000000, 0);
    against_array(600, 100, 0);
    against_array(300, 1000000, 2);
    against_array(300, 100, 3);
}

/* Without any memory it is a list, and it grows once there is memory again. */
static void test_no_memory(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct heap heap;
    struct tf_alloc alloc = heap_init(&heap);
    struct tf_map map;
    static struct item items[COUNT];
    memset(items, 0, sizeof(items));
    heap.fail = true;
    tf_map_init(&map, &alloc);
    for (size_t i = 0; i < COUNT; i++) {
        items[i].hash = tf_hash_mix(i);
        items[i].order = (unsigned)i;
        items[i].in = true;
        if (i == COUNT - 100) {
            assert_int_equal(heap.used, 0);
            assert_int_equal(map.size, 1);
            assert_true(heap.calls < 100); /* it does not ask at every insertion */
            heap.fail = false;
        }
        tf_map_insert(&map, &items[i].node, items[i].hash);
    }
    check_walk(&map, items, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        check_hash(&map, items, COUNT, items[i].hash);
    assert_true(heap.used > 0);
    tf_map_release(&map);
    assert_int_equal(heap.used, 0);
}

/* Each allocation in turn fails, alone. */
static void test_nth_allocation_fails(void **state)
{
    (void)state;
    enum { COUNT = 400 };
    static struct item items[COUNT];
    for (size_t nth = 1; nth < 10; nth++) {
        struct heap heap;
        struct tf_alloc alloc = heap_init(&heap);
        struct tf_map map;
        memset(items, 0, sizeof(items));
        tf_map_init(&map, &alloc);
        for (size_t i = 0; i < COUNT; i++) {
            items[i].in = true;
            items[i].order = (unsigned)i;
            items[i].hash = tf_hash_mix(i);
            heap.fail = heap.calls + 1 == nth;
            tf_map_insert(&map, &items[i].node, items[i].hash);
            assert_true(tf_map_check(&map));
        }
        check_walk(&map, items, COUNT);
        tf_map_release(&map);
        assert_int_equal(heap.used, 0);
    }
}

/* The node that a walk has just returned may go, in any state of growing. */
static void test_remove_while_walking(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static struct item items[COUNT];
    for (size_t count = 0; count <= COUNT; count++) {
        struct heap heap;
        struct tf_alloc alloc = heap_init(&heap);
        struct tf_map map;
        struct tf_map_cursor cursor;
        memset(items, 0, sizeof(items));
        tf_map_init(&map, &alloc);
        for (size_t i = 0; i < count; i++) {
            items[i].in = true;
            items[i].hash = tf_hash_mix(i / 2);
            tf_map_insert(&map, &items[i].node, items[i].hash);
        }
        size_t seen = 0;
        for (struct tf_map_node *node = tf_map_first(&map, &cursor); node;
             node = tf_map_next(&map, &cursor)) {
            struct item *item = tf_container_of(node, struct item, node);
            if (seen++ % 3 == 0)
                continue;
            tf_map_remove(&map, node);
            item->in = false;
            memset(node, 0xA5, sizeof(*node)); /* as if freed */
        }
        assert_int_equal(seen, count);
        check_walk(&map, items, COUNT);
        for (struct tf_map_node *node = tf_map_first(&map, &cursor); node;
             node = tf_map_next(&map, &cursor))
            tf_map_remove(&map, node);
        assert_int_equal(map.count, 0);
        tf_map_release(&map);
        assert_int_equal(heap.used, 0);
    }
}

/* A map that was large and is empty gives its memory back by itself. */
static void test_empties(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static struct item items[COUNT];
    struct heap heap;
    struct tf_alloc alloc = heap_init(&heap);
    struct tf_map map;
    tf_map_init(&map, &alloc);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++)
            tf_map_insert(&map, &items[i].node, tf_hash_mix(i));
        assert_true(map.size >= COUNT / 2);
        assert_true(heap.used >= COUNT * sizeof(void *) / 2);
        for (size_t i = 0; i < COUNT; i++)
            tf_map_remove(&map, &items[i].node);
        assert_int_equal(heap.used, 0);
    }
}

/* Room that is made at once, in maps of any size and in the middle of growing. */
static void test_reserve(void **state)
{
    (void)state;
    enum { COUNT = 400 };
    static struct item items[COUNT];
    for (size_t before = 0; before < 70; before++) {
        struct heap heap;
        struct tf_alloc alloc = heap_init(&heap);
        struct tf_map map;
        tf_map_init(&map, &alloc);
        memset(items, 0, sizeof(items));
        for (size_t i = 0; i < COUNT; i++) {
            if (i == before) {
                heap.fail = before % 3 == 2;
                tf_map_reserve(&map, COUNT);
                assert_int_equal(map.size >= COUNT, !heap.fail);
                assert_true(tf_map_check(&map));
                heap.fail = false;
                tf_map_reserve(&map, COUNT);
                heap.calls = 0;
            }
            items[i] = (struct item){.in = true, .order = (unsigned)i, .hash = tf_hash_mix(i / 2)};
            tf_map_expect(&map, items[i].hash);
            tf_map_expect_node(&map, items[i].hash);
            tf_map_insert(&map, &items[i].node, items[i].hash);
        }
        assert_int_equal(heap.calls, 0);
        assert_true(tf_map_check(&map));
        check_walk(&map, items, COUNT);
        for (size_t i = 0; i < COUNT; i += 2)
            check_hash(&map, items, COUNT, items[i].hash);
        tf_map_release(&map);
        assert_int_equal(heap.used, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_array),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_nth_allocation_fails),
        cmocka_unit_test(test_remove_while_walking),
        cmocka_unit_test(test_empties),
        cmocka_unit_test(test_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
