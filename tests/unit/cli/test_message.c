/*
 * Messages as text, JSON, hexadecimal digits and by formats.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/message.h"

#define WALL_US 1795179910677963u /* 2026-11-20T13:05:10.677963Z */

struct text {
    char *data;
    size_t length;
};

static struct text print(const struct tf_cli_style *style, const struct tf_cli_message *message)
{
    struct text text;
    FILE *out = open_memstream(&text.data, &text.length);
    assert_non_null(out);
    assert_int_equal(tf_cli_message_print(style, message, out), TF_OK);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void check(const struct tf_cli_style *style, const struct tf_cli_message *message,
                  const char *wanted)
{
    struct text text = print(style, message);
    assert_string_equal(text.data, wanted);
    assert_int_equal(text.length, strlen(wanted));
    free(text.data);
}

static struct tf_cli_message message_of(const char *address, const char *body)
{
    return (struct tf_cli_message){
        .address = tf_bytes_str(address), .body = tf_bytes_str(body), .wall_us = WALL_US};
}

/* Writes some of every property that a PUBLISH can have. */
static struct tf_bytes write_properties(uint8_t *data, size_t size)
{
    const struct tf_mqtt_property list[] = {
        {.id = TF_MQTT_PAYLOAD_FORMAT, .number = 1},
        {.id = TF_MQTT_MESSAGE_EXPIRY, .number = 4000000000},
        {.id = TF_MQTT_CONTENT_TYPE, .value = tf_bytes_str("text/plain")},
        {.id = TF_MQTT_RESPONSE_TOPIC, .value = tf_bytes_str("to/me")},
        {.id = TF_MQTT_CORRELATION_DATA, .value = tf_bytes_str("\xFF\xFE")},
        {.id = TF_MQTT_SUBSCRIPTION_ID, .number = 5},
        {.id = TF_MQTT_SUBSCRIPTION_ID, .number = 6},
        {.id = TF_MQTT_USER_PROPERTY, .name = tf_bytes_str("a"), .value = tf_bytes_str("1")},
        {.id = TF_MQTT_USER_PROPERTY, .name = tf_bytes_str("b"), .value = tf_bytes_str("\"")},
        {.id = TF_MQTT_USER_PROPERTY, .name = tf_bytes_str("a"), .value = tf_bytes_str("2")},
        {.id = TF_MQTT_USER_PROPERTY, .name = tf_bytes_str("a"), .value = tf_bytes_str("3")},
    };
    struct tf_writer writer = tf_writer_of(data, size);
    uint8_t reason;
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        tf_mqtt_property_write(&writer, &list[i]);
    }
    assert_false(writer.failed);
    struct tf_bytes section = tf_bytes_of(data, tf_writer_length(&writer));
    assert_int_equal(tf_mqtt_properties_check(section, TF_MQTT_PUBLISH, &reason), TF_OK);
    return section;
}

static void test_text(void **state)
{
    struct tf_cli_message message = message_of("a/b", "x\ty\n\033[2Jz\x7F");
    (void)state;
    check(&(struct tf_cli_style){0}, &message, "x\ty\n\033[2Jz\x7F\n");
    check(&(struct tf_cli_style){.no_newline = true}, &message, "x\ty\n\033[2Jz\x7F");
    check(&(struct tf_cli_style){.address = true}, &message, "a/b x\ty\n\033[2Jz\x7F\n");
    check(&(struct tf_cli_style){.terminal = true}, &message, "x\ty\n\\x1b[2Jz\\x7f\n");
    check(&(struct tf_cli_style){.output = TF_CLI_RAW, .address = true}, &message,
          "x\ty\n\033[2Jz\x7F");
    message.body = tf_bytes_str("ok");
    check(&(struct tf_cli_style){.address = true, .colour = true}, &message,
          "\033[36ma/b\033[0m ok\n");
    message.body = tf_bytes_str("\xC2\x9B"
                                "2J\xC3\xA9");
    check(&(struct tf_cli_style){.terminal = true}, &message, "\\u009b2J\xC3\xA9\n");
    message.body = tf_bytes_str("\x9B"
                                "a\xFF");
    check(&(struct tf_cli_style){.terminal = true}, &message, "\\x9ba\\xff\n");
    message.address = tf_bytes_str("a\033b");
    check(&(struct tf_cli_style){.terminal = true, .address = true}, &message,
          "a\\x1bb \\x9ba\\xff\n");
}

static void test_hex(void **state)
{
    struct tf_cli_message message = message_of("a", "");
    (void)state;
    message.body = tf_bytes_of("\x00\x0f\xf0\xff", 4);
    check(&(struct tf_cli_style){.output = TF_CLI_HEX}, &message, "000ff0ff\n");
    check(&(struct tf_cli_style){.output = TF_CLI_HEX, .address = true}, &message, "a 000ff0ff\n");
    message.body = tf_bytes_of(NULL, 0);
    check(&(struct tf_cli_style){.output = TF_CLI_HEX}, &message, "\n");
    check(&(struct tf_cli_style){.output = TF_CLI_RAW}, &message, "");
}

/* By a format, which is checked first. */
static void check_format(const char *format, const struct tf_cli_message *message,
                         const char *wanted)
{
    char why[TF_CLI_FORMAT_WHY];
    assert_true(tf_cli_format_check(format, why));
    check(&(struct tf_cli_style){.output = TF_CLI_FORMAT, .format = format, .no_newline = true},
          message, wanted);
}

static void test_formats(void **state)
{
    uint8_t data[200];
    struct tf_cli_message message = message_of("a/\xC3\xBC", "\x01z");
    (void)state;
    check_format("", &message, "");
    check_format("%t=%p", &message, "a/\xC3\xBC=\x01z");
    check_format("%x %X %l", &message, "017a 017A 2");
    check_format("%q%r%d%m", &message, "0000");
    check_format("[%C%R%D%E%F%P%S]", &message, "[]");
    message.qos = 2;
    message.retain = message.dup = true;
    message.packet_id = 65535;
    message.properties = write_properties(data, sizeof(data));
    check_format("%q%r%d%m", &message, "21165535");
    check_format("%C|%R|%D|%E|%F|%P|%S", &message,
                 "text/plain|to/me|\xFF\xFE|4000000000|1|a:1 b:\" a:2 a:3|5 6");
    check_format("%%@@\\\\\\n\\t\\r\\a\\e\\v", &message, "%@\\\n\t\r\a\033\v");
    check_format("%I %U @N", &message, "2026-11-20T13:05:10.677Z 1795179910.677963 677963000");
    check_format("@s", &message, "1795179910");
    struct text zero =
        print(&(struct tf_cli_style){.output = TF_CLI_FORMAT, .format = "a\\0b"}, &message);
    assert_int_equal(zero.length, 4);
    assert_memory_equal(zero.data, "a\0b\n", 4);
    free(zero.data);
}

static void test_bad_formats(void **state)
{
    static const char *const formats[] = {"%", "x%", "%z", "%1x", "@", "a@", "@1", "\\", "\\q"};
    (void)state;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        char why[TF_CLI_FORMAT_WHY] = "";
        assert_false(tf_cli_format_check(formats[i], why));
        assert_true(strlen(why) > 10);
    }
}

/* The JSON of a message without its timestamp. */
static void check_json(const struct tf_cli_message *message, const char *wanted)
{
    static const char head[] = "{\"timestamp\":\"2026-11-20T13:05:10.677Z\",";
    struct text text = print(&(struct tf_cli_style){.output = TF_CLI_JSON}, message);
    assert_true(text.length > sizeof(head));
    assert_memory_equal(text.data, head, sizeof(head) - 1);
    assert_int_equal(text.data[text.length - 1], '\n');
    text.data[text.length - 1] = 0;
    assert_string_equal(text.data + sizeof(head) - 1, wanted);
    free(text.data);
}

#define PLAIN "\"address\":\"a\",\"qos\":0,\"retain\":false,"

static void test_json_bodies(void **state)
{
    static const struct {
        const char *body, *json;
    } rows[] = {
        {"", PLAIN "\"body\":\"\"}"},
        {"x", PLAIN "\"body\":\"x\"}"},
        {"21.5", PLAIN "\"body\":\"21.5\"}"}, /* a scalar is text unless its type says otherwise */
        {"\"\n\\\xC3\xBC", PLAIN "\"body\":\"\\\"\\n\\\\\xC3\xBC\"}"},
        {"\xFF", PLAIN "\"body_base64\":\"/w==\"}"},
        {"\xFF\xFE", PLAIN "\"body_base64\":\"//4=\"}"},
        {"\xFF\xFE\xFD", PLAIN "\"body_base64\":\"//79\"}"},
        {"{}", PLAIN "\"body_json\":{}}"},
        {" [1, 2.50,\n 12345678901234567890123 ] ",
         PLAIN "\"body_json\":[1,2.50,12345678901234567890123]}"},
        {"{\"a b\": \"c \\\" d\\\\\"}", PLAIN "\"body_json\":{\"a b\":\"c \\\" d\\\\\"}}"},
        {"{\"a\":1", PLAIN "\"body\":\"{\\\"a\\\":1\"}"},
        {"{\"a\":1,\"a\":2}", PLAIN "\"body\":\"{\\\"a\\\":1,\\\"a\\\":2}\"}"},
        {"[1] x", PLAIN "\"body\":\"[1] x\"}"},
        {"[\xFF]", PLAIN "\"body_base64\":\"W/9d\"}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_cli_message message = message_of("a", rows[i].body);
        check_json(&message, rows[i].json);
    }
    struct tf_cli_message message = message_of("a", "");
    message.body = tf_bytes_of("a\0b", 3);
    check_json(&message, PLAIN "\"body\":\"a\\u0000b\"}");
    message.body = tf_bytes_of(NULL, 0);
    check_json(&message, PLAIN "\"body\":\"\"}");
}

static void test_json_by_content_type(void **state)
{
    static const struct {
        const char *type;
        bool json;
    } rows[] = {{"application/json", true},
                {"application/json; charset=utf-8", true},
                {"application/senml+json", true},
                {"+json", false},
                {"application/jsonx", false},
                {"text/plain", false},
                {"", false}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t data[100];
        char wanted[200];
        struct tf_writer writer = tf_writer_of(data, sizeof(data));
        struct tf_mqtt_property type = {.id = TF_MQTT_CONTENT_TYPE,
                                        .value = tf_bytes_str(rows[i].type)};
        struct tf_cli_message message = message_of("a", "21.50");
        tf_mqtt_property_write(&writer, &type);
        message.properties = tf_bytes_of(data, tf_writer_length(&writer));
        snprintf(wanted, sizeof(wanted), PLAIN "\"content_type\":\"%s\",%s}", rows[i].type,
                 rows[i].json ? "\"body_json\":21.50" : "\"body\":\"21.50\"");
        check_json(&message, wanted);
    }
}

static void test_json_properties(void **state)
{
    uint8_t data[200];
    struct tf_cli_message message = message_of("a/\xC3\xBC", "x");
    (void)state;
    message.qos = 2;
    message.retain = message.dup = true;
    message.packet_id = 9;
    message.properties = write_properties(data, sizeof(data));
    check_json(&message, "\"address\":\"a/\xC3\xBC\",\"qos\":2,\"retain\":true,\"dup\":true,"
                         "\"payload_format\":1,\"expiry_s\":4000000000,"
                         "\"content_type\":\"text/plain\",\"response_address\":\"to/me\","
                         "\"correlation_base64\":\"//4=\",\"subscription_ids\":[5,6],"
                         "\"user_properties\":{\"a\":[\"1\",\"2\",\"3\"],\"b\":\"\\\"\"},"
                         "\"body\":\"x\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_bad_formats),
        cmocka_unit_test(test_json_bodies),
        cmocka_unit_test(test_json_by_content_type),
        cmocka_unit_test(test_json_properties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
