/*
 * Values of AMQP as JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/amqp_json.h"

#define BYTES(literal) literal, sizeof(literal) - 1

static void test_values(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *json;
    } rows[] = {
        {BYTES("@"), "null"},
        {BYTES("A"), "true"},
        {BYTES("\126\0"), "false"},
        {BYTES("\120\377"), "255"},
        {BYTES("\121\377"), "-1"},
        {BYTES("\200\177\377\377\377\377\377\377\377"), "9223372036854775807"},
        {BYTES("\200\377\377\377\377\377\377\377\377"), "\"18446744073709551615\""},
        {BYTES("\201\200\0\0\0\0\0\0\0"), "-9223372036854775808"},
        {BYTES("\202?\340\0\0\0\0\0\0"), "0.5"},
        {BYTES("\202\177\370\0\0\0\0\0\0"), "null"}, /* not a number */
        {BYTES("s\0\0\0\344"), "\"\303\244\""},
        {BYTES("\203\0\0\0\0\0\0\0\0"), "\"1970-01-01T00:00:00.000Z\""},
        {BYTES("\230\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17"),
         "\"00010203-0405-0607-0809-0a0b0c0d0e0f\""},
        {BYTES("\240\3\0\1\2"), "\"AAEC\""},
        {BYTES("\241\3a\"b"), "\"a\\\"b\""},
        {BYTES("\243\1a"), "\"a\""},
        {BYTES("E"), "[]"},
        {BYTES("\300\7\3AB\301\1\0@"), NULL}, /* as long as it says, but not so much in it */
        {BYTES("\300\10\3AB\300\3\2AB"), "[true,false,[true,false]]"},
        {BYTES("\301\13\4\241\1aA\243\1bB"), NULL},
        {BYTES("\301\11\4\241\1aA\243\1bB"), "{\"a\":true,\"b\":false}"},
        {BYTES("\301\4\2T\1A"), "{\"1\":true}"}, /* a key that is no text */
        {BYTES("\340\4\2P\1\2"), "[1,2]"},
        {BYTES("\0S\1T\7"), "7"}, /* what describes a value is left out */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_bytes bytes = tf_bytes_of(rows[i].bytes, rows[i].length), encoded;
        struct tf_reader reader = tf_reader_of(bytes);
        struct tf_amqp_value value;
        if (!rows[i].json) {
            assert_int_not_equal(tf_amqp_value_check(&reader, &encoded), TF_OK);
            continue;
        }
        if (tf_amqp_value_check(&reader, &encoded) || tf_amqp_value_of(encoded, &value)) {
            fail_msg("row %zu is no value", i);
        }
        json_t *json = tf_cli_amqp_json(&value);
        char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
        assert_string_equal(text, rows[i].json);
        free(text);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
