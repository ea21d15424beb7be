/*
 * The mapping between the protocols: the rows of docs/mapping.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/mapping.h"
#include "route/table.h"

/* Uri-Path options of the segments of `path`, which are parted by `separator`. */
static struct tf_bytes path_options(const char *path, char separator, uint8_t *buffer, size_t size)
{
    struct tf_coap_encoder encoder;
    tf_coap_encode(&encoder, buffer, size, TF_COAP_CON, TF_COAP_GET, 0, tf_bytes_of(NULL, 0));
    for (const char *end; path; path = *end ? end + 1 : NULL) {
        end = strchr(path, separator);
        end = end ? end : path + strlen(path);
        tf_coap_encode_option(&encoder, TF_COAP_URI_PATH, tf_bytes_of(path, (size_t)(end - path)));
    }
    struct tf_bytes all = tf_coap_encoded(&encoder);
    return tf_bytes_of(all.data + TF_COAP_HEADER, all.length - TF_COAP_HEADER);
}

static void test_addresses(void **state)
{
    static const struct {
        const char *segments, *address; /* segments parted by `|`; NULL: none */
    } rows[] = {{"a", "a"},
                {"sensors|kitchen|temp", "sensors/kitchen/temp"},
                {"a||b", "a//b"},
                {"|", "/"},
                {"a|", "a/"},
                {"\xc3\xa9|b", "\xc3\xa9/b"},
                {"a b|%2F", "a b/%2F"},
                {"$SYS|x", "$SYS/x"},
                {"...", "..."},
                {"", NULL},
                {"a/b", NULL},
                {".", NULL},
                {"a|..|b", NULL},
                {"a|+", NULL},
                {"#", NULL},
                {"a#b", NULL},
                {"\xc3", NULL},
                {"\xed\xa0\x80", NULL}};
    uint8_t encoded[256], buffer[256];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_bytes address;
        struct tf_bytes options = path_options(rows[i].segments, '|', encoded, sizeof(encoded));
        enum tf_err err = tf_mapping_coap_address(options, buffer, &address);
        assert_int_equal(err, rows[i].address ? TF_OK : TF_PROTOCOL);
        if (!err) {
            assert_int_equal(address.length, strlen(rows[i].address));
            assert_memory_equal(address.data, rows[i].address, address.length);
        }
    }
    struct tf_bytes address;
    assert_int_equal(tf_mapping_coap_address(tf_bytes_of(NULL, 0), buffer, &address), TF_PROTOCOL);
}

static void test_levels(void **state)
{
    char path[2 * TF_LEVELS_MAX + 4];
    uint8_t encoded[1024], buffer[1024];
    struct tf_bytes address;
    (void)state;
    for (size_t i = 0; i < TF_LEVELS_MAX + 1; i++) {
        path[2 * i] = 'a';
        path[2 * i + 1] = '|';
    }
    path[2 * TF_LEVELS_MAX - 1] = '\0';
    assert_int_equal(
        tf_mapping_coap_address(path_options(path, '|', encoded, 1024), buffer, &address), TF_OK);
    path[2 * TF_LEVELS_MAX - 1] = '|';
    path[2 * TF_LEVELS_MAX + 1] = '\0';
    assert_int_equal(
        tf_mapping_coap_address(path_options(path, '|', encoded, 1024), buffer, &address),
        TF_PROTOCOL);
}

static void test_forms(void **state)
{
    char longest[257];
    (void)state;
    memset(longest, 'x', 256);
    longest[256] = '\0';
    assert_false(tf_mapping_coap_has_form(tf_bytes_str(longest)));
    assert_true(tf_mapping_coap_has_form(tf_bytes_of(longest, 255)));
    assert_true(tf_mapping_coap_has_form(tf_bytes_str("a//b/")));
    assert_true(tf_mapping_coap_has_form(tf_bytes_str("rdx/ps")));
    assert_false(tf_mapping_coap_has_form(tf_bytes_str("a/./b")));
    assert_false(tf_mapping_coap_has_form(tf_bytes_str("..")));
    assert_false(tf_mapping_coap_has_form(tf_bytes_str("rd")));
    assert_false(tf_mapping_coap_has_form(tf_bytes_str("ps/x")));
    assert_false(tf_mapping_coap_has_form(tf_bytes_str(".well-known/core")));
}

static void check_type(uint16_t format, const char *wanted)
{
    char buffer[TF_MAPPING_TYPE_MAX];
    struct tf_bytes type = tf_mapping_type_of_format(format, buffer);
    uint16_t back;
    assert_int_equal(type.length, strlen(wanted));
    assert_memory_equal(type.data, wanted, type.length);
    struct tf_envelope envelope = {.content_type = type};
    assert_true(tf_mapping_format_of(&envelope, &back));
    assert_int_equal(back, format);
}

static void test_types(void **state)
{
    static const char *const none[] = {"foo/bar", "65536", "0050", "-1", "5 0", "99999"};
    uint16_t format = 7;
    (void)state;
    check_type(TF_COAP_FORMAT_JSON, "application/json");
    check_type(TF_COAP_FORMAT_CBOR, "application/cbor");
    check_type(TF_COAP_FORMAT_OCTETS, "application/octet-stream");
    check_type(9999, "9999");   /* not registered */
    check_type(65535, "65535"); /* nor this */
    check_type(11050, "11050"); /* JSON, deflated: the bytes are no JSON */
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        struct tf_envelope envelope = {.content_type = tf_bytes_str(none[i])};
        assert_false(tf_mapping_format_of(&envelope, &format));
        assert_int_equal(format, 7);
    }
    struct tf_envelope text = {.payload_format = TF_PAYLOAD_TEXT}, bytes = {0};
    assert_true(tf_mapping_format_of(&text, &format));
    assert_int_equal(format, TF_COAP_FORMAT_TEXT);
    assert_false(tf_mapping_format_of(&bytes, &format));
}

static void test_expiry(void **state)
{
    (void)state;
    assert_int_equal(tf_mapping_seconds_left(10 * TF_SECOND, 10 * TF_SECOND), 0);
    assert_int_equal(tf_mapping_seconds_left(10 * TF_SECOND, 10 * TF_SECOND - 1), 1);
    assert_int_equal(tf_mapping_seconds_left(10 * TF_SECOND, 0), 10);
    assert_int_equal(tf_mapping_seconds_left(1, 5), 0);
}

/* What MQTT says and other protocols can say too, there and back. */
static void test_mqtt(void **state)
{
    struct tf_envelope in = {.content_type = tf_bytes_str("application/json"),
                             .correlation = tf_bytes_str("\x01\x02"),
                             .reply_to = tf_bytes_str("replies/7"),
                             .payload_format = TF_PAYLOAD_TEXT};
    uint8_t buffer[128];
    struct tf_writer writer = tf_writer_of(buffer, sizeof(buffer));
    struct tf_envelope out = {0};
    (void)state;
    tf_mapping_to_mqtt(&in, &writer);
    assert_false(writer.failed);
    assert_true(tf_writer_length(&writer) <= tf_mapping_mqtt_room(&in));
    tf_mapping_from_mqtt(tf_bytes_of(buffer, tf_writer_length(&writer)), &out);
    assert_true(tf_bytes_equal(out.content_type, in.content_type));
    assert_true(tf_bytes_equal(out.correlation, in.correlation));
    assert_true(tf_bytes_equal(out.reply_to, in.reply_to));
    assert_int_equal(out.payload_format, TF_PAYLOAD_TEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_forms),     cmocka_unit_test(test_types),
        cmocka_unit_test(test_expiry),    cmocka_unit_test(test_mqtt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
