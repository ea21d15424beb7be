/*
 * What is registered of options: vectors of every rule's edges, and the classes that numbers carry
 * (RFC 7252 5.4.6, table 4).
 */
#include "message_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void vectors(void **state)
{
    (void)state;
    assert_true(vector_file_run("coap-option.txt", message_vector_run) >= 100);
}

/* The columns C, U, N, R of the registry, as the RFCs print them. */
static void classes(void **state)
{
    static const struct {
        uint16_t number;
        const char *letters;
    } rows[] = {
        {1, "CR"},  {3, "CU"},   {4, "R"},  {5, "C"},   {6, "U"},    {7, "CU"},  {8, "R"},
        {9, "C"},   {11, "CUR"}, {12, ""},  {14, "U"},  {15, "CUR"}, {16, ""},   {17, "C"},
        {19, "CU"}, {20, "R"},   {21, "C"}, {23, "CU"}, {27, "CU"},  {28, "N"},  {31, "CUR"},
        {35, "CU"}, {39, "CU"},  {60, "N"}, {252, "N"}, {258, "U"},  {292, "R"},
    };
    unsigned known = 0;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint16_t number = rows[i].number;
        const struct tf_coap_option_rule *rule = tf_coap_option_rule(number);
        const char *letters = rows[i].letters;

        assert_non_null(rule);
        assert_int_equal(rule->number, number);
        assert_int_equal(tf_coap_option_critical(number), strchr(letters, 'C') != NULL);
        assert_int_equal(tf_coap_option_unsafe(number), strchr(letters, 'U') != NULL);
        assert_int_equal(tf_coap_option_no_cache_key(number), strchr(letters, 'N') != NULL);
        assert_int_equal(rule->repeatable, strchr(letters, 'R') != NULL);
    }
    for (unsigned number = 0; number <= UINT16_MAX; number++)
        known += tf_coap_option_rule((uint16_t)number) != NULL;
    assert_int_equal(known, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors), cmocka_unit_test(classes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
