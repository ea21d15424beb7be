/* UTF-8 by exhaustion: every code point, and every sequence of up to three bytes, and four's edges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/utf8.h"

/* Decodes and encodes again: what comes out the same was well-formed. The other way to say it. */
static bool model(const uint8_t *at, size_t length, bool nul)
{
    while (length) {
        size_t size = at[0] < 0x80 ? 1 : at[0] < 0xC0 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
        if (!size || at[0] > 0xF7 || size > length)
            return false;
        uint32_t point = size == 1 ? at[0] : at[0] & (0x7Fu >> size);
        for (size_t i = 1; i < size; i++) {
            if (at[i] >> 6 != 2)
                return false;
            point = point << 6 | (at[i] & 0x3F);
        }
        size_t needed = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        if (needed != size || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
            return false;
        if (!point && !nul)
            return false;
        at += size;
        length -= size;
    }
    return true;
}

static void check(const uint8_t *data, size_t length)
{
    bool plain = model(data, length, true), mqtt = model(data, length, false);
    if (tf_utf8_valid(tf_bytes_of(data, length)) != plain ||
        tf_utf8_valid_mqtt(tf_bytes_of(data, length)) != mqtt)
        fail_msg("%zu bytes %02x %02x %02x %02x", length, data[0], data[1], data[2], data[3]);
}

static void test_all_short_sequences(void **state)
{
    (void)state;
    uint8_t data[4] = {0};
    check(data, 0);
    for (uint32_t i = 0; i < 1u << 24; i++) {
        data[0] = (uint8_t)(i >> 16);
        data[1] = (uint8_t)(i >> 8);
        data[2] = (uint8_t)i;
        if (!data[2])
            check(data, 2);
        if (!data[1] && !data[2])
            check(data, 1);
        check(data, 3);
    }
}

static void test_all_long_sequences(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0x00, 0x7F, 0x80, 0x81, 0xBE, 0xBF, 0xC0, 0xFF};
    for (unsigned lead = 0xE0; lead < 0x100; lead++)
        for (unsigned second = 0; second < 0x100; second++)
            for (unsigned i = 0; i < 64; i++) {
                uint8_t data[4] = {(uint8_t)lead, (uint8_t)second, edges[i / 8], edges[i % 8]};
                check(data, 4);
            }
}

/* One odd sequence anywhere in a long ASCII text, at every alignment to the eight-byte path. */
static void test_within_ascii(void **state)
{
    (void)state;
    static const char *const odd[] = {"\x01",
                                      "\x7f",
                                      "\x80",
                                      "\xff",
                                      "\xc3\xa9",
                                      "\xc0\x80",
                                      "\xe2\x82\xac",
                                      "\xed\xa0\x80",
                                      "\xf0\x9f\x98\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "\xef\xbb\xbf",
                                      "\xef\xbf\xbf",
                                      "\x01\x80"};
    uint8_t memory[64];
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        for (size_t length = strlen(odd[i]); length < 40; length++)
            for (size_t at = 0; at + strlen(odd[i]) <= length; at++)
                for (size_t shift = 0; shift < 8; shift++) {
                    memset(memory, 'x', sizeof(memory));
                    memcpy(memory + shift + at, odd[i], strlen(odd[i]));
                    check(memory + shift, length);
                    memory[shift + at] = 0;
                    check(memory + shift, length);
                }
}

static void test_random(void **state)
{
    (void)state;
    struct tf_random random;
    tf_random_init(&random, 4);
    for (unsigned round = 0; round < 200000; round++) {
        static const uint8_t frequent[] = {0xC3, 0xA9, 0xE2, 0x82, 0xAC,
                                           0xF0, 0x9F, 0x98, 0x80, 'a'};
        uint8_t data[20];
        size_t length = (size_t)tf_random_below(&random, sizeof(data) + 1);
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = tf_random_chance(&random, 1, 20)
                          ? (uint8_t)tf_random_next(&random)
                          : frequent[(i + (size_t)tf_random_chance(&random, 1, 30)) % 10];
        check(data, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_short_sequences),
        cmocka_unit_test(test_all_long_sequences),
        cmocka_unit_test(test_within_ascii),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
