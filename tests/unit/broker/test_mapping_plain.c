/*
 * The plain form of AMQP bodies: what MQTT and CoAP show of them. The rows of docs/mapping.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include <trefoil/amqp_message.h>

#include "broker/mapping.h"

/* ---- memory that fails when it is told to ---- */

struct heap {
    size_t live;
    size_t until; /* allocations that still succeed */
};

static void *heap_alloc(void *ctx, size_t size)
{
    struct heap *heap = ctx;
    assert_int_not_equal(size, 0);
    if (heap->until == 0) {
        return NULL;
    }
    heap->until--;
    heap->live++;
    return malloc(size);
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    struct heap *heap = ctx;
    (void)size;
    heap->live--;
    free(memory);
}

/* ---- helpers ---- */

static struct tf_publication sections(const struct tf_bytes *body)
{
    return (struct tf_publication){.envelope = {.address = tf_bytes_str("x"),
                                                .content_type = tf_bytes_str("t"),
                                                .origin = TF_PROTOCOL_AMQP,
                                                .body_format = TF_BODY_SECTIONS,
                                                .expires = TF_TIME_NEVER},
                                   .body = body,
                                   .body_count = 1};
}

/* Checks the plain form of whole body sections. */
static void check_body(struct tf_bytes body, const char *wanted, size_t length)
{
    struct heap heap = {.until = SIZE_MAX};
    struct tf_alloc alloc = {heap_alloc, heap_free, &heap, NULL};
    struct tf_publication publication = sections(&body);
    struct tf_plain_body plain;
    assert_int_equal(tf_mapping_plain(&publication, &alloc, &plain), TF_OK);
    assert_int_equal(tf_mapping_plain_length(&plain), length);
    if (length) {
        assert_int_equal(plain.count, 1);
        if (memcmp(plain.body[0].data, wanted, length) != 0) {
            fail_msg("%.*s, not %s", (int)length, (const char *)plain.body[0].data, wanted);
        }
    } else {
        assert_int_equal(plain.count, 0);
    }
    assert_memory_equal(plain.content_type.data, "t", 1);
    tf_publication_release(&publication);
    assert_int_equal(heap.live, 0);
}

/* Checks the plain form of a value that `value` encodes. */
static void check_value(struct tf_bytes value, const char *wanted)
{
    uint8_t buffer[512];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    tf_amqp_write_section(&writer, TF_AMQP_AMQP_VALUE);
    tf_write_bytes(&writer, value);
    assert_false(writer.failed);
    check_body(tf_bytes_of(buffer, tf_writer_length(&writer)), wanted, strlen(wanted));
}

/* ---- plain bodies ---- */

static void test_plain_bodies_are_left_alone(void **state)
{
    struct tf_bytes pieces[] = {tf_bytes_str("one"), tf_bytes_str("two")};
    struct tf_publication publication = {
        .envelope = {.content_type = tf_bytes_str("text/csv"), .payload_format = TF_PAYLOAD_TEXT},
        .body = pieces,
        .body_count = 2};
    struct tf_plain_body plain;
    (void)state;
    assert_int_equal(tf_mapping_plain(&publication, NULL, &plain), TF_OK);
    assert_ptr_equal(plain.body, pieces);
    assert_int_equal(plain.count, 2);
    assert_int_equal(tf_mapping_plain_length(&plain), 6);
    assert_int_equal(plain.payload_format, TF_PAYLOAD_TEXT);
    assert_int_equal(plain.content_type.length, 8);
    assert_null(publication.kept);
}

/* ---- bytes and text ---- */

static void test_data_sections(void **state)
{
    uint8_t buffer[512];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    (void)state;
    tf_amqp_write_data_head(&writer, 3);
    tf_write_bytes(&writer, tf_bytes_str("one"));
    tf_amqp_write_data_head(&writer, 0);
    tf_amqp_write_data_head(&writer, 300);
    for (unsigned i = 0; i < 300; i++) {
        tf_write_u8(&writer, 'x');
    }
    tf_amqp_write_section(&writer, TF_AMQP_FOOTER);
    tf_amqp_write_map_end(&writer, tf_amqp_write_map_begin(&writer), 0);
    char wanted[304] = "one";
    memset(wanted + 3, 'x', 300);
    check_body(tf_bytes_of(buffer, tf_writer_length(&writer)), wanted, 303);
}

static void test_nothing(void **state)
{
    uint8_t buffer[64];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    (void)state;
    check_body(tf_bytes_of(NULL, 0), "", 0);
    tf_amqp_write_section(&writer, TF_AMQP_FOOTER);
    tf_amqp_write_map_end(&writer, tf_amqp_write_map_begin(&writer), 0);
    check_body(tf_bytes_of(buffer, tf_writer_length(&writer)), "", 0);
}

static void test_texts_and_bytes(void **state)
{
    uint8_t buffer[64];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    (void)state;
    tf_amqp_write_string(&writer, tf_bytes_str("a \"text\"\n"));
    check_value(tf_bytes_of(buffer, tf_writer_length(&writer)), "a \"text\"\n");
    writer = tf_writer_of(buffer, sizeof(buffer));
    tf_amqp_write_binary(&writer, tf_bytes_str("\xff\x01"));
    check_value(tf_bytes_of(buffer, tf_writer_length(&writer)), "\xff\x01");
    writer = tf_writer_of(buffer, sizeof(buffer));
    tf_amqp_write_string(&writer, tf_bytes_of(NULL, 0));
    check_value(tf_bytes_of(buffer, tf_writer_length(&writer)), "");
}

/* The descriptor by its symbol is legal too. */
static void test_symbolic_descriptors(void **state)
{
    static const char encoded[] = "\x00\xa3\x11"
                                  "amqp:amqp-value:*\xa1\x02"
                                  "hi";
    static const char data[] = "\x00\xa3\x10"
                               "amqp:data:binary\xa0\x02"
                               "hi";
    (void)state;
    check_body(tf_bytes_of(encoded, sizeof(encoded) - 1), "hi", 2);
    check_body(tf_bytes_of(data, sizeof(data) - 1), "hi", 2);
}

/* ---- JSON ---- */

/* Encoded values of part 1, and their JSON. */
static const struct {
    const char *encoded;
    size_t length;
    const char *json;
} scalars[] = {
#define ROW_(bytes, json)              \
    {                                  \
        bytes, sizeof(bytes) - 1, json \
    }
    ROW_("\x40", "null"),
    ROW_("\x41", "true"),
    ROW_("\x56\x00", "false"),
    ROW_("\x50\xff", "255"),
    ROW_("\x60\xff\xff", "65535"),
    ROW_("\x43", "0"),
    ROW_("\x70\xff\xff\xff\xff", "4294967295"),
    ROW_("\x80\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
    ROW_("\x51\x80", "-128"),
    ROW_("\x61\x80\x00", "-32768"),
    ROW_("\x54\xff", "-1"),
    ROW_("\x81\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
    ROW_("\x72\x3f\xc0\x00\x00", "1.5"),
    ROW_("\x72\x3d\xcc\xcc\xcd", "0.1"),
    ROW_("\x72\x7f\x80\x00\x00", "null"),
    ROW_("\x82\x3f\xf0\x00\x00\x00\x00\x00\x00", "1.0"),
    ROW_("\x82\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
    ROW_("\x82\x80\x00\x00\x00\x00\x00\x00\x00", "-0.0"),
    ROW_("\x82\x7f\xef\xff\xff\xff\xff\xff\xff", "1.7976931348623157e+308"),
    ROW_("\x82\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
    ROW_("\x73\x00\x00\x00\x41", "\"A\""),
    ROW_("\x73\x00\x00\x00\x22", "\"\\\"\""),
    ROW_("\x73\x00\x00\x00\x00", "\"\\u0000\""),
    ROW_("\x73\x00\x00\x00\xe9", "\"\xc3\xa9\""),
    ROW_("\x73\x00\x00\x20\xac", "\"\xe2\x82\xac\""),
    ROW_("\x73\x00\x01\xf6\x00", "\"\xf0\x9f\x98\x80\""),
    ROW_("\x83\x00\x00\x00\x00\x00\x00\x00\x00", "\"1970-01-01T00:00:00.000Z\""),
    ROW_("\x83\xff\xff\xff\xff\xff\xff\xff\xff", "\"1969-12-31T23:59:59.999Z\""),
    ROW_("\x83\x00\x00\x01\x9a\x9d\x3a\xf5\x55", "\"2025-11-19T17:47:58.165Z\""),
    ROW_("\x83\x00\x00\x00\xdd\x9a\xa6\xe0\x00", "\"2000-02-29T00:00:00.000Z\""),
    ROW_("\x83\x00\x00\xe6\x77\xd2\x1f\xdb\xff", "\"9999-12-31T23:59:59.999Z\""),
    ROW_("\x83\x00\x00\xe6\x77\xd2\x1f\xdc\x00", "\"253402300800000\""),
    ROW_("\x83\x80\x00\x00\x00\x00\x00\x00\x00", "\"-9223372036854775808\""),
    ROW_("\x98\x12\x34\x56\x78\x9a\xbc\xde\xf0\x00\x01\x02\x03\x04\x05\x06\xff",
         "\"12345678-9abc-def0-0001-0203040506ff\""),
    ROW_("\xa3\x03sym", "\"sym\""),
    /* decimals: IEEE 754-2008, binary coefficients */
    ROW_("\x74\x32\x80\x00\x01", "1"),
    ROW_("\x74\xb2\x80\x00\x7d", "-125"),
    ROW_("\x74\x31\x80\x00\x7d", "125e-2"),
    ROW_("\x74\x6c\xb8\x96\x7f", "9999999"), /* a coefficient with its upper bits implied */
    ROW_("\x74\x77\xf8\x96\x7f", "9999999e90"),
    ROW_("\x74\x6c\xb8\x96\x80", "0"), /* beyond seven digits: not canonical */
    ROW_("\x74\x78\x00\x00\x00", "null"),
    ROW_("\x74\x7c\x00\x00\x00", "null"),
    ROW_("\x84\x31\xc0\x00\x00\x00\x00\x00\x05", "5"),
    ROW_("\x84\x31\x80\x00\x00\x00\x00\x00\x05", "5e-2"),
    ROW_("\x94\x30\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07", "7"),
    ROW_("\x94\x30\x41\xed\x09\xbe\xad\x87\xc0\x37\x8d\x8e\x63\xff\xff\xff\xff",
         "9999999999999999999999999999999999"),
    ROW_("\x94\xf8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "null"),
    /* compounds */
    ROW_("\x45", "[]"),
    ROW_("\xc0\x07\x03\x54\x01\xa1\x01x\x40", "[1,\"x\",null]"),
    ROW_("\xc1\x01\x00", "{}"),
    ROW_("\xc1\x09\x04\xa1\x01"
         "a\x54\x01\x54\x02\x41",
         "{\"a\":1,\"2\":true}"),
    ROW_("\xc1\x0b\x04\x45\x41\xa0\x01\x01\xc0\x03\x01\xa1\x00", "{\"RQ==\":true,\"AQ==\":[\"\"]}"),
    ROW_("\xe0\x05\x03\x50\x01\x02\x03", "[1,2,3]"),
    ROW_("\xe0\x02\x03\x41", "[true,true,true]"),
    ROW_("\xe0\x08\x02\xc0\x02\x01\x40\x02\x01\x41", "[[null],[true]]"),
    ROW_("\xc0\x0a\x03\xa0\x01\xff\xa0\x02\xff\xfe\xa0\x00", "[\"/w==\",\"//4=\",\"\"]"),
    ROW_("\xc0\x08\x01\xa0\x05hello", "[\"aGVsbG8=\"]"),
    /* described: the value */
    ROW_("\x00\x53\x05\x54\x01", "1"),
    ROW_("\x00\xa1\x01x\xa1\x01y", "\"y\""),
    ROW_("\xc0\x06\x01\x00\x53\x05\x54\x01", "[1]"),
#undef ROW_
};

static void test_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scalars) / sizeof(scalars[0]); i++) {
        struct tf_bytes encoded = tf_bytes_of(scalars[i].encoded, scalars[i].length);
        struct tf_amqp_value value;
        json_error_t error;
        if (!scalars[i].json) {
            continue;
        }
        if (tf_amqp_value_of(encoded, &value)) {
            fail_msg("row %zu is no value", i);
        }
        check_value(encoded, scalars[i].json);
        json_t *parsed = json_loads(
            scalars[i].json, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
        if (!parsed) {
            fail_msg("row %zu: %s", i, error.text);
        }
        json_decref(parsed);
    }
}

/* RFC 8259 7. */
static void test_escapes(void **state)
{
    uint8_t buffer[64];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    (void)state;
    tf_amqp_write_symbol(&writer, tf_bytes_str("a\"b\\c\n\r\t\x01\x1f/\x7f"));
    check_value(tf_bytes_of(buffer, tf_writer_length(&writer)),
                "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f/\x7f\"");
}

/* Several sequences are one array. */
static void test_sequences(void **state)
{
    uint8_t buffer[64];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    (void)state;
    for (int32_t i = 0; i < 3; i++) {
        tf_amqp_write_section(&writer, TF_AMQP_AMQP_SEQUENCE);
        size_t at = tf_amqp_write_list_begin(&writer);
        for (int32_t j = 0; j < i; j++) {
            tf_amqp_write_int(&writer, 10 * i + j);
        }
        tf_amqp_write_list_end(&writer, at, (uint32_t)i);
    }
    check_body(tf_bytes_of(buffer, tf_writer_length(&writer)), "[10,20,21]", 10);
}

/* Lists in lists, as deep as a message may have them. */
static void test_depth(void **state)
{
    uint8_t value[3 * TF_AMQP_DEPTH_MAX], *at = value;
    char wanted[2 * TF_AMQP_DEPTH_MAX + 1];
    const size_t lists = TF_AMQP_DEPTH_MAX - 1; /* the section is one */
    (void)state;
    for (size_t i = 0; i < lists; i++) {
        size_t inside = 3 * (lists - 1 - i);
        *at++ = 0xc0;
        *at++ = (uint8_t)(1 + inside);
        *at++ = inside ? 1 : 0;
    }
    memset(wanted, '[', lists);
    memset(wanted + lists, ']', lists);
    wanted[2 * lists] = '\0';
    check_value(tf_bytes_of(value, (size_t)(at - value)), wanted);
}

/* ---- limits and memory ---- */

/* Arrays of items without bytes grow without end: a few are taken, many are nobody's. */
static void test_growth(void **state)
{
    enum { ARRAYS = 64 };
    uint8_t buffer[ARRAYS * 16 + 32];
    struct heap heap = {.until = SIZE_MAX};
    struct tf_alloc alloc = {heap_alloc, heap_free, &heap, NULL};
    (void)state;
    for (uint32_t arrays = 1; arrays <= ARRAYS; arrays += ARRAYS - 1) {
        struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
        struct tf_plain_body plain;
        tf_amqp_write_section(&writer, TF_AMQP_AMQP_VALUE);
        size_t at = tf_amqp_write_list_begin(&writer);
        for (uint32_t i = 0; i < arrays; i++) {
            size_t array = tf_amqp_write_array_begin(&writer);
            tf_write_u8(&writer, TF_AMQP_CODE_NULL);
            tf_amqp_write_array_end(&writer, array, TF_AMQP_EMPTY_ITEMS_MAX);
        }
        tf_amqp_write_list_end(&writer, at, arrays);
        assert_false(writer.failed);
        struct tf_bytes body = tf_bytes_of(buffer, tf_writer_length(&writer));
        struct tf_publication publication = sections(&body);
        assert_int_equal(tf_mapping_plain(&publication, &alloc, &plain),
                         arrays == 1 ? TF_OK : TF_LIMIT);
        if (arrays == 1) {
            assert_int_equal(tf_mapping_plain_length(&plain), 5 * TF_AMQP_EMPTY_ITEMS_MAX + 3);
        }
        tf_publication_release(&publication);
    }
    assert_int_equal(heap.live, 0);
}

/* A body that came in runs; made once for all who want it; each allocation failed in turn. */
static void test_pieces_and_memory(void **state)
{
    uint8_t encoded[8192];
    struct tf_writer writer = tf_writer_of(encoded, sizeof(encoded));
    (void)state;
    tf_amqp_write_section(&writer, TF_AMQP_AMQP_VALUE);
    size_t at = tf_amqp_write_list_begin(&writer);
    for (uint32_t i = 0; i < 1500; i++) {
        tf_amqp_write_uint(&writer, 1000);
    }
    tf_amqp_write_list_end(&writer, at, 1500);
    struct tf_bytes body = tf_bytes_of(encoded, tf_writer_length(&writer));
    bool done = false;
    for (size_t until = 0; !done; until++) {
        struct heap heap = {.until = SIZE_MAX};
        struct tf_alloc alloc = {heap_alloc, heap_free, &heap, NULL};
        struct tf_publication from = sections(&body);
        struct tf_plain_body plain = {.count = 99}, again;
        struct tf_message *message = tf_message_new(&from.envelope, &alloc);
        for (size_t i = 0; i < body.length; i += 1000) {
            size_t length = body.length - i < 1000 ? body.length - i : 1000;
            assert_int_equal(tf_message_append(message, tf_bytes_of(body.data + i, length)), TF_OK);
        }
        assert_true(message->publication.body_count > 1);
        heap.until = until;
        enum tf_err err = tf_mapping_plain(&message->publication, &alloc, &plain);
        if (err) {
            assert_int_equal(err, TF_NO_MEMORY);
            assert_int_equal(plain.count, 99);
        } else {
            done = true;
            assert_int_equal(tf_mapping_plain_length(&plain), 1500 * 5 + 1);
            heap.until = 0;
            assert_int_equal(tf_mapping_plain(&message->publication, &alloc, &again), TF_OK);
            assert_ptr_equal(again.body, plain.body);
        }
        tf_message_unref(message);
        assert_int_equal(heap.live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_bodies_are_left_alone),
        cmocka_unit_test(test_data_sections),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_texts_and_bytes),
        cmocka_unit_test(test_symbolic_descriptors),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_pieces_and_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
