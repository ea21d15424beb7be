/* The processor's CRC-32C gives what the portable one gives, however the bytes lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "port/crc32c.h"

static void same_sums(void **state)
{
    tf_crc32c_fn best = tf_crc32c_best();
    uint8_t data[300];
    struct tf_random random;

    (void)state;
    tf_random_init(&random, 1);
    assert_int_equal(best(0, NULL, 0), 0);
    assert_int_equal(best(0, "123456789", 9), 0xe3069283);
    for (unsigned i = 0; i < 5000; i++) {
        size_t at = (size_t)tf_random_below(&random, 16);
        size_t length = (size_t)tf_random_below(&random, sizeof(data) - at);
        uint32_t crc = (uint32_t)tf_random_next(&random);
        tf_random_fill(&random, data, sizeof(data));
        assert_int_equal(best(crc, data + at, length), tf_crc32c(crc, data + at, length));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
