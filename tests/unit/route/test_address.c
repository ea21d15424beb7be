/*
 * What is an address, and what a filter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "route/address.h"
#include "route/table.h"

static void test_texts(void **state)
{
    static const struct {
        const char *text;
        bool address, filter;
    } texts[] = {{"", false, false},     {"a", true, true},         {"/", true, true},
                 {"a//b", true, true},   {"$SYS/x", true, true},    {"\xc3\xa4", true, true},
                 {"+", false, true},     {"#", false, true},        {"a/+/b", false, true},
                 {"+/+/#", false, true}, {"/#", false, true},       {"a+", false, false},
                 {"a/+b", false, false}, {"#/a", false, false},     {"a#", false, false},
                 {"a/#b", false, false}, {"a/#/b", false, false},   {"a/++", false, false},
                 {"\xff", false, false}, {"a/\xc3/b", false, false}};
    (void)state;
    for (size_t i = 0; i < TF_COUNT(texts); i++) {
        struct tf_bytes text = tf_bytes_str(texts[i].text);
        assert_int_equal(tf_address_valid(text), texts[i].address);
        assert_int_equal(tf_filter_valid(text), texts[i].filter);
    }
    assert_false(tf_address_valid(tf_bytes_of("a\0b", 3)));
    assert_false(tf_filter_valid(tf_bytes_of("a\0b", 3)));
}

static void test_limits(void **state)
{
    char *text = malloc(65536);
    (void)state;
    assert_non_null(text);
    memset(text, 'a', 65536);
    assert_true(tf_address_valid(tf_bytes_of(text, 65535)));
    assert_true(tf_filter_valid(tf_bytes_of(text, 65535)));
    assert_false(tf_address_valid(tf_bytes_of(text, 65536)));
    assert_false(tf_filter_valid(tf_bytes_of(text, 65536)));
    memset(text, '/', TF_LEVELS_MAX); /* n of them part n + 1 levels */
    assert_true(tf_address_valid(tf_bytes_of(text, TF_LEVELS_MAX - 1)));
    assert_false(tf_address_valid(tf_bytes_of(text, TF_LEVELS_MAX)));
    assert_false(tf_filter_valid(tf_bytes_of(text, TF_LEVELS_MAX)));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
