/* Random bytes: all of them, no more, and others each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "port/entropy.h"

static void test_entropy(void **state)
{
    (void)state;
    uint8_t a[64] = {0}, b[64] = {0};
    tf_entropy_fill(a, sizeof(a) - 1);
    tf_entropy_fill(b, sizeof(b) - 1);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(a[63], 0);
    tf_entropy_fill(a, 0);
    size_t size = 1 << 20; /* more than one call gives */
    uint8_t *much = calloc(1, size);
    tf_entropy_fill(much, size);
    unsigned zeros = 0;
    for (size_t i = size - 4096; i < size; i++)
        zeros += much[i] == 0;
    assert_true(zeros < 100);
    free(much);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
