/*
 * Messages: the golden vectors, every extension of delta and length, misuse of the encoder,
 * numbers, blocks. RFC 7252 3, RFC 7959 2.2.
 */
#include "message_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOTHING ((struct tf_bytes){NULL, 0})

static void vectors(void **state)
{
    (void)state;
    assert_true(vector_file_run("coap-message.txt", message_vector_run) >= 140);
    assert_true(vector_file_run("coap-tshark.txt", message_vector_run) >= 30);
}

/* One option with this number and length goes through encoder and decoder. */
static void option_round(uint16_t number, size_t length)
{
    static uint8_t value[65805], room[65830];
    struct tf_coap_encoder encoder;
    struct tf_coap_message message;
    struct tf_coap_option option;
    size_t delta_bytes = number < 13 ? 0 : number < 269 ? 1 : 2;
    size_t length_bytes = length < 13 ? 0 : length < 269 ? 1 : 2;

    for (size_t i = 0; i < length; i++)
        value[i] = (uint8_t)(i * 7 + number);
    tf_coap_encode(&encoder, room, sizeof room, TF_COAP_NON, TF_COAP_PUT, 9, NOTHING);
    tf_coap_encode_option(&encoder, number, tf_bytes_of(value, length));
    struct tf_bytes bytes = tf_coap_encoded(&encoder);
    assert_int_equal(bytes.length, 5 + delta_bytes + length_bytes + length);

    struct tf_bytes block = vector_cut(bytes, bytes.length);
    assert_int_equal(tf_coap_decode(&message, block), TF_OK);
    struct tf_coap_cursor cursor = tf_coap_options(message.options);
    assert_true(tf_coap_option_next(&cursor, &option));
    assert_int_equal(option.number, number);
    assert_int_equal(option.value.length, length);
    assert_true(tf_bytes_equal(option.value, tf_bytes_of(value, length)));
    assert_false(tf_coap_option_next(&cursor, &option));
    assert_false(cursor.reader.failed);
    vector_drop(block);
}

static void every_extension(void **state)
{
    static const size_t edges[] = {0,   1,   11,  12,    13,    14,    255,   256,
                                   267, 268, 269, 270,   523,   524,   525,   526,
                                   780, 781, 782, 65534, 65535, 65536, 65803, 65804};

    (void)state;
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        for (size_t j = 0; j < sizeof edges / sizeof *edges; j++) {
            if (edges[i] <= UINT16_MAX)
                option_round((uint16_t)edges[i], edges[j]);
        }
    }
    for (unsigned number = 0; number < 600; number++)
        option_round((uint16_t)number, number);
}

/* The next number of a fixed sequence (xorshift), below `limit`. */
static uint32_t chance(uint32_t *seed, uint32_t limit)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed % limit;
}

/* Decodes a message, compares its options, encodes it again: the same bytes. */
static void decoded_round(struct tf_bytes bytes, const struct tf_coap_option *options, size_t count,
                          struct tf_coap_message *ret)
{
    static uint8_t room[16384];
    struct tf_coap_encoder encoder;
    struct tf_coap_option option;

    assert_int_equal(tf_coap_decode(ret, bytes), TF_OK);
    tf_coap_encode(&encoder, room, sizeof room, ret->type, ret->code, ret->message_id, ret->token);
    struct tf_coap_cursor cursor = tf_coap_options(ret->options);
    for (size_t i = 0; i < count; i++) {
        assert_true(tf_coap_option_next(&cursor, &option));
        assert_int_equal(option.number, options[i].number);
        assert_true(tf_bytes_equal(option.value, options[i].value));
        tf_coap_encode_option(&encoder, option.number, option.value);
    }
    assert_false(tf_coap_option_next(&cursor, &option));
    tf_coap_encode_payload(&encoder, ret->payload);
    assert_true(tf_bytes_equal(tf_coap_encoded(&encoder), bytes));
}

static void random_round(void **state)
{
    static const uint32_t steps[] = {0, 1, 12, 13, 268, 269, 4000};
    static uint8_t content[1400], room[16384];
    uint32_t seed = 7252;

    (void)state;
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)chance(&seed, 256);
    for (unsigned round = 0; round < 3000; round++) {
        struct tf_coap_option options[12];
        struct tf_coap_encoder encoder;
        struct tf_coap_message message;
        uint32_t number = 0;
        size_t count = chance(&seed, 12);
        uint8_t code = (uint8_t)(round | 1);
        enum tf_coap_type type = chance(&seed, 4);
        struct tf_bytes token = tf_bytes_of(content, chance(&seed, 9));
        struct tf_bytes payload = tf_bytes_of(content, chance(&seed, 2) * chance(&seed, 1400));

        tf_coap_encode(&encoder, room, sizeof room, type, code, (uint16_t)(round * 31), token);
        for (size_t i = 0; i < count; i++) {
            number += steps[chance(&seed, 7)];
            options[i].number = (uint16_t)number;
            options[i].value = tf_bytes_of(content + 1, chance(&seed, round % 2 ? 30 : 700));
            tf_coap_encode_option(&encoder, options[i].number, options[i].value);
        }
        tf_coap_encode_payload(&encoder, payload);
        decoded_round(tf_coap_encoded(&encoder), options, count, &message);
        assert_int_equal(message.type, type);
        assert_int_equal(message.code, code);
        assert_int_equal(message.message_id, (uint16_t)(round * 31));
        assert_true(tf_bytes_equal(message.token, token));
        assert_true(tf_bytes_equal(message.payload, payload));
    }
}

/* Nothing comes out after a misuse. */
static void misuse(void **state)
{
    static uint8_t room[70000], large[65805];
    struct tf_coap_encoder encoder;

    (void)state;
    tf_coap_encode(&encoder, room, sizeof room, TF_COAP_CON, TF_COAP_GET, 1,
                   tf_bytes_of("123456789", 9));
    assert_int_equal(tf_coap_encoded(&encoder).length, 0);
    tf_coap_encode_option(&encoder, 11, NOTHING);
    assert_int_equal(tf_coap_encoded(&encoder).length, 0);

    tf_coap_encode(&encoder, room, sizeof room, TF_COAP_CON, TF_COAP_GET, 1, NOTHING);
    tf_coap_encode_option(&encoder, 11, NOTHING);
    tf_coap_encode_option(&encoder, 11, NOTHING);
    assert_int_equal(tf_coap_encoded(&encoder).length, 6);
    tf_coap_encode_option(&encoder, 10, NOTHING);
    assert_true(encoder.out.failed);
    assert_int_equal(tf_coap_encoded(&encoder).length, 0);

    tf_coap_encode(&encoder, room, sizeof room, TF_COAP_CON, TF_COAP_GET, 1, NOTHING);
    tf_coap_encode_option(&encoder, 65000, tf_bytes_of(large, sizeof large));
    assert_int_equal(tf_coap_encoded(&encoder).length, 0);

    tf_coap_encode(&encoder, room, sizeof room, TF_COAP_CON, TF_COAP_GET, 1, NOTHING);
    tf_coap_encode_payload(&encoder, NOTHING);
    assert_int_equal(tf_coap_encoded(&encoder).length, 4);
    tf_coap_encode_payload(&encoder, tf_bytes_of("x", 1));
    assert_int_equal(tf_coap_encoded(&encoder).length, 6);
    tf_coap_encode_option(&encoder, 65535, NOTHING);
    assert_int_equal(tf_coap_encoded(&encoder).length, 0);
}

/* A cursor over what was never decoded stops where it is wrong. */
static void cursor_of_anything(void **state)
{
    static const char *const wrong[] = {"f0", "0f", "d0", "e0 00", "b2 61", "e0 fe f3"};
    struct tf_coap_option option = {1, NOTHING};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct tf_bytes bytes = vector_bytes(wrong[i]);
        struct tf_coap_cursor cursor = tf_coap_options(bytes);

        assert_false(tf_coap_option_next(&cursor, &option));
        assert_true(cursor.reader.failed);
        assert_int_equal(option.number, 1);
        assert_false(tf_coap_option_next(&cursor, &option));
        vector_drop(bytes);
    }
}

static void find(void **state)
{
    struct tf_bytes options = vector_bytes("b1 61 01 62 d1 02 63"), value = NOTHING;

    (void)state;
    assert_true(tf_coap_option_find(options, 11, &value));
    assert_true(tf_bytes_equal(value, tf_bytes_str("a")));
    assert_true(tf_coap_option_find(options, 26, &value));
    assert_true(tf_bytes_equal(value, tf_bytes_str("c")));
    assert_false(tf_coap_option_find(options, 12, &value));
    assert_false(tf_coap_option_find(options, 0, &value));
    assert_true(tf_bytes_equal(value, tf_bytes_str("c")));
    assert_false(tf_coap_option_find(NOTHING, 11, &value));
    vector_drop(options);
}

static void numbers(void **state)
{
    static const struct {
        uint32_t value;
        size_t length;
    } cases[] = {{0, 0},       {1, 1},        {255, 1},       {256, 2},       {65535, 2},
                 {0x10000, 3}, {0xffffff, 3}, {0x1000000, 4}, {UINT32_MAX, 4}};
    uint8_t buffer[4];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tf_bytes bytes = tf_coap_uint_value(cases[i].value, buffer);

        assert_int_equal(bytes.length, cases[i].length);
        assert_int_equal(tf_coap_uint(bytes), cases[i].value);
    }
    assert_int_equal(tf_coap_uint(tf_bytes_of("\0\0\0\0\0\1", 6)), 1);
    assert_int_equal(tf_coap_uint(tf_bytes_of("\1\2\3\4\5", 5)), 0x02030405);
}

static void blocks(void **state)
{
    struct tf_coap_block block = {7, true, 7};
    uint8_t buffer[4];

    (void)state;
    assert_false(tf_coap_block_read(tf_bytes_of("\0\0\0\0", 4), &block));
    assert_int_equal(block.number, 7);
    assert_true(tf_coap_block_read(NOTHING, &block));
    assert_int_equal(tf_coap_block_value(&block), 0);
    for (uint32_t value = 0; value <= 0xFFFFFF; value += value < 300 ? 1 : 9973) {
        assert_true(tf_coap_block_read(tf_coap_uint_value(value, buffer), &block));
        assert_int_equal(block.number, value >> 4);
        assert_int_equal(block.more, value >> 3 & 1);
        assert_int_equal(block.szx, value & 7);
        assert_int_equal(tf_coap_block_value(&block), value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(random_round),
        cmocka_unit_test(every_extension),
        cmocka_unit_test(misuse),
        cmocka_unit_test(cursor_of_anything),
        cmocka_unit_test(find),
        cmocka_unit_test(numbers),
        cmocka_unit_test(blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
