/*
 * Numbers of both ends: against a plain model, with numbers that are dense, far apart or collide.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/numbers.h"

enum { PEERS = 200 };

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

/* The numbers of three kinds of peers. */
static uint32_t number_of(int kind, uint32_t i)
{
    return kind == 0 ? i : kind == 1 ? UINT32_MAX - i * 7919 : i << 20;
}

static void grow(struct tf_amqp_numbers *numbers)
{
    size_t size = tf_amqp_numbers_next_size(numbers);
    void *memory = malloc(size);

    memset(memory, 0xa5, size);
    free(tf_amqp_numbers_grow(numbers, memory));
}

static void as_a_model(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct tf_amqp_numbers numbers = {0};
        uint32_t local[PEERS], used = 0, most = 0;
        uint64_t seed = (uint64_t)kind + 1;

        memset(local, 0xff, sizeof local);
        for (int step = 0; step < 20000; step++) {
            uint32_t i = next_random(&seed) % PEERS, remote = number_of(kind, i);

            assert_int_equal(tf_amqp_numbers_find(&numbers, remote), local[i]);
            if (local[i] != TF_AMQP_NO_NUMBER) {
                assert_ptr_equal(tf_amqp_numbers_at(&numbers, local[i]), &local[i]);
                tf_amqp_numbers_remove(&numbers, local[i]);
                assert_null(tf_amqp_numbers_at(&numbers, local[i]));
                local[i] = TF_AMQP_NO_NUMBER;
                used--;
            } else {
                if (tf_amqp_numbers_full(&numbers))
                    grow(&numbers);
                local[i] = tf_amqp_numbers_add(&numbers, &local[i]);
                tf_amqp_numbers_bind(&numbers, local[i], remote);
                most = ++used > most ? used : most;
                assert_true(local[i] < most);
            }
            assert_int_equal(numbers.used, used);
            if (step % 64 == 0)
                assert_true(tf_amqp_numbers_check(&numbers));
        }
        assert_true(numbers.capacity <= 256);
        free(numbers.places);
    }
}

static void grows_though_not_full(void **state)
{
    struct tf_amqp_numbers numbers = {0};
    int a, b;

    (void)state;
    assert_int_equal(tf_amqp_numbers_find(&numbers, 0), TF_AMQP_NO_NUMBER);
    assert_null(tf_amqp_numbers_at(&numbers, 0));
    grow(&numbers);
    assert_int_equal(tf_amqp_numbers_add(&numbers, &a), 0);
    assert_int_equal(tf_amqp_numbers_add(&numbers, &b), 1);
    tf_amqp_numbers_bind(&numbers, 1, UINT32_MAX);
    tf_amqp_numbers_remove(&numbers, 0); /* not bound yet */
    grow(&numbers);
    assert_true(tf_amqp_numbers_check(&numbers));
    assert_int_equal(tf_amqp_numbers_find(&numbers, UINT32_MAX), 1);
    assert_int_equal(tf_amqp_numbers_add(&numbers, &a), 0);
    assert_int_equal(tf_amqp_numbers_add(&numbers, &a), 2);
    free(numbers.places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_model),
        cmocka_unit_test(grows_though_not_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
