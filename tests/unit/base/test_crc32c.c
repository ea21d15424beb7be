/* CRC-32C: the values of RFC 3720, B.4, and that it does not matter how the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"

static void known_values(void **state)
{
    uint8_t data[32];

    (void)state;
    assert_int_equal(tf_crc32c(0, NULL, 0), 0);
    assert_int_equal(tf_crc32c(0, "123456789", 9), 0xe3069283);
    memset(data, 0, sizeof(data));
    assert_int_equal(tf_crc32c(0, data, sizeof(data)), 0x8a9136aa);
    memset(data, 0xff, sizeof(data));
    assert_int_equal(tf_crc32c(0, data, sizeof(data)), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    assert_int_equal(tf_crc32c(0, data, sizeof(data)), 0x46dd794e);
}

static void any_cut(void **state)
{
    uint8_t data[61];

    (void)state;
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 37 + 11);
    for (size_t length = 0; length <= sizeof(data); length++) {
        uint32_t whole = tf_crc32c(0, data, length);
        for (size_t cut = 0; cut <= length; cut++)
            assert_int_equal(tf_crc32c(tf_crc32c(0, data, cut), data + cut, length - cut), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_values), cmocka_unit_test(any_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
