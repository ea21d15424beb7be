/*
 * Answers as text, JSON, digits and lists of links.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/body.h"
#include "cli/coap_answer.h"
#include "cli/coap_plain.h"

#define WALL_US 1795179910677963u /* 2026-11-20T13:05:10.677963Z */
#define URL "coap://127.0.0.1/a/b%20c"
#define HEAD "{\"timestamp\":\"2026-11-20T13:05:10.677Z\",\"url\":\"" URL "\","

static uint8_t buffer[512];

/* The options of a 2.05 with an ETag, a format (below 0: none), a Max-Age and a location. */
static struct tf_bytes options_of(int format, bool location)
{
    struct tf_coap_encoder encoder;
    struct tf_coap_message message;
    tf_coap_encode(&encoder, buffer, sizeof(buffer), TF_COAP_ACK, TF_COAP_CONTENT, 1,
                   tf_bytes_of(NULL, 0));
    tf_coap_encode_option(&encoder, TF_COAP_ETAG, tf_bytes_of("\x01\xAB", 2));
    if (location) {
        tf_coap_encode_option(&encoder, TF_COAP_LOCATION_PATH, tf_bytes_str("x"));
        tf_coap_encode_option(&encoder, TF_COAP_LOCATION_PATH, tf_bytes_str("y z"));
    }
    if (format >= 0) {
        tf_coap_encode_uint(&encoder, TF_COAP_CONTENT_FORMAT, (uint32_t)format);
    }
    tf_coap_encode_uint(&encoder, TF_COAP_MAX_AGE_OPTION, 30);
    assert_int_equal(tf_coap_decode(&message, tf_coap_encoded(&encoder)), TF_OK);
    return message.options;
}

static struct tf_cli_coap_answer answer_of(uint8_t code, int format, const char *body)
{
    return (struct tf_cli_coap_answer){.code = code,
                                       .options = options_of(format, code == TF_COAP_CREATED),
                                       .body = tf_bytes_str(body),
                                       .wall_us = WALL_US,
                                       .round_trip_us = 12345,
                                       .retransmissions = 1};
}

static void check(const struct tf_cli_coap_style *style, const struct tf_cli_coap_answer *answer,
                  const char *wanted)
{
    const struct tf_cli_coap_options none = {.count = 0};
    struct tf_cli_coap_target target;
    char why[TF_CLI_COAP_WHY], *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    assert_int_equal(tf_cli_coap_target_init(&target, URL, NULL, &none, why), TF_OK);
    assert_int_equal(tf_cli_coap_answer_print(style, &target, answer, out), TF_OK);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, wanted);
    free(text);
    tf_cli_coap_target_release(&target);
}

static void test_text(void **state)
{
    struct tf_cli_coap_style style = {.output = TF_CLI_TEXT};
    struct tf_cli_coap_answer answer = answer_of(TF_COAP_CONTENT, 0, "hello\033");
    (void)state;
    check(&style, &answer, "hello\033\n");
    style.terminal = style.url = style.time = true;
    check(&style, &answer, "2026-11-20T13:05:10.677Z " URL " hello\\x1b\n");
    style = (struct tf_cli_coap_style){.output = TF_CLI_HEX};
    check(&style, &answer, "68656c6c6f1b\n");
    style.output = TF_CLI_RAW;
    check(&style, &answer, "hello\033");
}

static void test_nothing_to_print(void **state)
{
    const struct tf_cli_coap_style style = {.output = TF_CLI_TEXT};
    struct tf_cli_coap_answer answer = answer_of(TF_COAP_CONTENT, 0, "");
    (void)state;
    check(&style, &answer, "\n"); /* an empty value is a value */
    answer = answer_of(TF_COAP_CHANGED, -1, "");
    check(&style, &answer, "");
    answer = answer_of(TF_COAP_NOT_FOUND, -1, "words");
    check(&style, &answer, "");
    answer = answer_of(TF_COAP_CREATED, -1, "");
    check(&style, &answer, "coap://127.0.0.1:5683/x/y%20z\n");
}

static void test_member_of_a_group(void **state)
{
    const struct tf_cli_coap_style style = {.output = TF_CLI_TEXT};
    struct tf_cli_coap_answer answer = answer_of(TF_COAP_CONTENT, 0, "here");
    (void)state;
    strcpy(answer.from, "192.0.2.1:5683");
    check(&style, &answer, "192.0.2.1:5683 here\n");
}

static void test_json(void **state)
{
    const struct tf_cli_coap_style style = {.output = TF_CLI_JSON};
    struct tf_cli_coap_answer answer = answer_of(TF_COAP_CONTENT, 50, "{ \"a\" : 1.50 }");
    (void)state;
    answer.observe = true;
    answer.sequence = 17;
    check(&style, &answer,
          HEAD "\"code\":\"2.05\",\"code_name\":\"Content\",\"content_format\":50,"
               "\"content_type\":\"application/json\",\"options\":{\"ETag\":[\"01ab\"],"
               "\"Content-Format\":50,\"Max-Age\":30},\"round_trip_ms\":12.345,"
               "\"retransmissions\":1,\"observe\":17,\"body_json\":{\"a\":1.50}}\n");
    answer = answer_of(TF_COAP_NOT_FOUND, -1, "\xFF");
    check(&style, &answer,
          HEAD "\"code\":\"4.04\",\"code_name\":\"Not Found\",\"options\":{\"ETag\":[\"01ab\"],"
               "\"Max-Age\":30},\"round_trip_ms\":12.345,\"retransmissions\":1,"
               "\"body_base64\":\"/w==\"}\n");
    answer = answer_of(TF_COAP_CONTENT, 65000, "7");
    check(&style, &answer,
          HEAD "\"code\":\"2.05\",\"code_name\":\"Content\",\"content_format\":65000,"
               "\"options\":{\"ETag\":[\"01ab\"],\"Content-Format\":65000,\"Max-Age\":30},"
               "\"round_trip_ms\":12.345,\"retransmissions\":1,\"body\":\"7\"}\n");
}

static void test_pretty(void **state)
{
    const struct tf_cli_coap_style style = {.output = TF_CLI_TEXT, .pretty = true};
    struct tf_cli_coap_answer answer =
        answer_of(TF_COAP_CONTENT, 50, "{\"a\":[1,2.50,{}],\"b\":\"x,{\\\"}\",\"c\":[]}");
    (void)state;
    check(
        &style, &answer,
        "{\n  \"a\": [\n    1,\n    2.50,\n    {}\n  ],\n  \"b\": \"x,{\\\"}\",\n  \"c\": []\n}\n");
    answer = answer_of(TF_COAP_CONTENT, 50, "{no JSON");
    check(&style, &answer, "{no JSON\n");
    answer = answer_of(TF_COAP_CONTENT, 40, "</a>;if=\"x y\";obs,</longer>;ct=0;sz=9");
    check(&style, &answer, "/a       if=\"x y\" obs\n/longer  ct=0 sz=9\n");
}

static void test_links(void **state)
{
    struct tf_cli_coap_style style = {.output = TF_CLI_TEXT, .links = true};
    struct tf_cli_coap_answer answer =
        answer_of(TF_COAP_CONTENT, 40, "</t>;rt=\"a\\\"b\";rt=c;obs,<//h/x>");
    (void)state;
    check(&style, &answer, "/t     rt=a\"b rt=c obs\n//h/x\n");
    strcpy(answer.from, "192.0.2.1:5683");
    check(&style, &answer, "coap://192.0.2.1:5683/t  rt=a\"b rt=c obs\ncoap://h/x\n");
    answer.from[0] = 0;
    style.output = TF_CLI_JSON;
    check(&style, &answer,
          HEAD "\"code\":\"2.05\",\"code_name\":\"Content\",\"content_format\":40,"
               "\"content_type\":\"application/link-format\",\"options\":{\"ETag\":[\"01ab\"],"
               "\"Content-Format\":40,\"Max-Age\":30},\"round_trip_ms\":12.345,"
               "\"retransmissions\":1,\"links\":[{\"target\":\"/t\","
               "\"uri\":\"coap://127.0.0.1:5683/t\",\"attributes\":{\"rt\":[\"a\\\"b\",\"c\"],"
               "\"obs\":true}},{\"target\":\"//h/x\",\"uri\":\"coap://h/x\",\"attributes\":{}}],"
               "\"body\":\"</t>;rt=\\\"a\\\\\\\"b\\\";rt=c;obs,<//h/x>\"}\n");
}

static void test_links_that_are_none(void **state)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    (void)state;
    assert_non_null(out);
    assert_false(tf_cli_coap_links_print(tf_bytes_str("</a>,no link"), tf_bytes_of(NULL, 0), out));
    assert_true(tf_cli_coap_links_print(tf_bytes_str(""), tf_bytes_of(NULL, 0), out));
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "/a\n");
    free(text);
}

/* `trefoil get` and `sub`: as any message. */
static void test_as_message(void **state)
{
    const struct tf_cli_coap_options none = {.count = 0};
    const struct tf_cli_style style = {.output = TF_CLI_FORMAT, .format = "%t|%p|%C|%E|%q|%r"};
    struct tf_cli_coap_answer answer = answer_of(TF_COAP_CONTENT, 60, "x");
    struct tf_cli_coap_target target;
    struct tf_cli_coap_call call = {.target = &target, .request = {.non = true}};
    char why[TF_CLI_COAP_WHY], *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    (void)state;
    assert_non_null(out);
    assert_int_equal(tf_cli_coap_target_init(&target, URL, NULL, &none, why), TF_OK);
    assert_int_equal(tf_cli_coap_message_print(&style, &call, &answer, true, out), TF_OK);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "a/b c|x|application/cbor|30|0|1\n");
    free(text);
    tf_cli_coap_target_release(&target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_nothing_to_print),
        cmocka_unit_test(test_member_of_a_group),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_pretty),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_links_that_are_none),
        cmocka_unit_test(test_as_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
