/* Views, readers and writers: values, bounds, and what stays untouched after a failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <trefoil/bytes.h>

#include "base/random.h"

static void test_compare(void **state)
{
    (void)state;
    struct tf_bytes none = {NULL, 0}, a = tf_bytes_str("a"), ab = tf_bytes_str("ab");
    struct tf_bytes high = tf_bytes_of("\xff", 1);
    assert_int_equal(ab.length, 2);
    assert_true(tf_bytes_equal(none, tf_bytes_str("")));
    assert_false(tf_bytes_equal(a, ab));
    assert_false(tf_bytes_equal(a, high));
    assert_true(tf_bytes_compare(none, a) < 0);
    assert_true(tf_bytes_compare(a, none) > 0);
    assert_int_equal(tf_bytes_compare(none, none), 0);
    assert_true(tf_bytes_compare(a, ab) < 0);
    assert_true(tf_bytes_compare(ab, a) > 0);
    assert_true(tf_bytes_compare(ab, high) < 0); /* bytes are unsigned */
    assert_int_equal(tf_bytes_compare(ab, tf_bytes_str("ab")), 0);
}

static void test_numbers(void **state)
{
    (void)state;
    uint8_t memory[15];
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    tf_write_u8(&writer, 0x01);
    tf_write_u16(&writer, 0x8203);
    tf_write_u32(&writer, 0x84050607);
    tf_write_u64(&writer, UINT64_C(0x88090a0b0c0d0e0f));
    assert_false(writer.failed);
    assert_int_equal(tf_writer_length(&writer), 15);
    static const uint8_t expected[] = {1, 0x82, 3, 0x84, 5, 6, 7, 0x88, 9, 10, 11, 12, 13, 14, 15};
    assert_memory_equal(memory, expected, sizeof(expected));

    struct tf_reader reader = tf_reader_of(tf_bytes_of(memory, sizeof(memory)));
    assert_int_equal(tf_reader_left(&reader), 15);
    assert_int_equal(tf_read_u8(&reader), 0x01);
    assert_int_equal(tf_read_u16(&reader), 0x8203);
    assert_int_equal(tf_read_u32(&reader), 0x84050607);
    assert_true(tf_read_u64(&reader) == UINT64_C(0x88090a0b0c0d0e0f));
    assert_int_equal(tf_reader_left(&reader), 0);
    assert_false(reader.failed);
    assert_int_equal(tf_read_rest(&reader).length, 0);
    assert_false(reader.failed);
}

/* A read past the end fails, and so does every later one, even one that would have fitted. */
static void test_read_past_end(void **state)
{
    (void)state;
    static const uint8_t input[7] = {1, 2, 3, 4, 5, 6, 7};
    for (size_t length = 0; length < sizeof(input) + 1; length++) {
        for (unsigned kind = 0; kind < 6; kind++) {
            struct tf_reader reader = tf_reader_of(tf_bytes_of(input, length));
            static const size_t sizes[] = {1, 2, 4, 8, 5, 0x0102 + 2};
            uint64_t value = 0;
            struct tf_bytes view = {NULL, 0};
            if (kind == 0)
                value = tf_read_u8(&reader);
            else if (kind == 1)
                value = tf_read_u16(&reader);
            else if (kind == 2)
                value = tf_read_u32(&reader);
            else if (kind == 3)
                value = tf_read_u64(&reader);
            else if (kind == 4)
                view = tf_read_bytes(&reader, 5);
            else
                view = tf_read_bytes16(&reader);
            bool fits = sizes[kind] <= length;
            assert_int_equal(reader.failed, !fits);
            if (fits)
                continue;
            assert_true(value == 0);
            assert_int_equal(view.length, 0);
            assert_int_equal(tf_read_u8(&reader), 0);
            assert_int_equal(tf_read_rest(&reader).length, 0);
            assert_true(reader.failed);
        }
    }
}

static void test_read_nothing(void **state)
{
    (void)state;
    struct tf_reader reader = tf_reader_of((struct tf_bytes){NULL, 0});
    assert_int_equal(tf_read_bytes(&reader, 0).length, 0);
    assert_false(reader.failed);
    assert_int_equal(tf_read_bytes(&reader, SIZE_MAX).length, 0);
    assert_true(reader.failed);
}

static void test_bytes16(void **state)
{
    (void)state;
    static uint8_t body[65536], memory[65540];
    memset(body, 'x', sizeof(body));
    for (size_t length = 0; length <= sizeof(body); length = length < 3 ? length + 1 : length * 2) {
        size_t used = length == 65536 ? 65535 : length;
        struct tf_writer writer = tf_writer_of(memory, used + 2);
        tf_write_bytes16(&writer, tf_bytes_of(body, used));
        assert_false(writer.failed);
        struct tf_reader reader = tf_reader_of(tf_bytes_of(memory, tf_writer_length(&writer)));
        assert_true(tf_bytes_equal(tf_read_bytes16(&reader), tf_bytes_of(body, used)));
        assert_false(reader.failed);
        writer = tf_writer_of(memory, used + 1);
        tf_write_bytes16(&writer, tf_bytes_of(body, used));
        assert_true(writer.failed);
        assert_int_equal(tf_writer_length(&writer), 0);
    }
    struct tf_writer writer = tf_writer_of(memory, sizeof(memory));
    tf_write_bytes16(&writer, tf_bytes_of(body, 65536));
    assert_true(writer.failed);
    assert_int_equal(tf_writer_length(&writer), 0);
}

/* Random writes into a room of random size: all or none of each, nothing outside, nothing later. */
static void test_write_bounds(void **state)
{
    (void)state;
    struct tf_random random;
    tf_random_init(&random, 1);
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t memory[64];
        memset(memory, 0xEE, sizeof(memory));
        size_t room = (size_t)tf_random_below(&random, 40), expected = 0;
        bool failed = false;
        struct tf_writer writer = tf_writer_of(memory, room);
        for (unsigned step = 0; step < 12; step++) {
            size_t sizes[] = {1, 2, 4, 8, (size_t)tf_random_below(&random, 9)};
            unsigned kind = (unsigned)tf_random_below(&random, 5);
            if (kind == 0)
                tf_write_u8(&writer, 1);
            else if (kind == 1)
                tf_write_u16(&writer, 2);
            else if (kind == 2)
                tf_write_u32(&writer, 3);
            else if (kind == 3)
                tf_write_u64(&writer, 4);
            else
                tf_write_bytes(&writer, tf_bytes_of("12345678", sizes[4]));
            failed = failed || expected + sizes[kind] > room;
            if (!failed)
                expected += sizes[kind];
            else if (sizes[kind])
                assert_true(writer.failed);
            assert_int_equal(tf_writer_length(&writer), expected);
        }
        for (size_t i = expected; i < sizeof(memory); i++)
            assert_int_equal(memory[i], 0xEE);
    }
    struct tf_writer none = tf_writer_of(NULL, 0);
    tf_write_bytes(&none, (struct tf_bytes){NULL, 0});
    assert_false(none.failed);
    tf_write_u8(&none, 1);
    assert_true(none.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),       cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_read_past_end), cmocka_unit_test(test_read_nothing),
        cmocka_unit_test(test_bytes16),       cmocka_unit_test(test_write_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
