/*
 * Aligned tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/table.h"

static void check(const char *rows_text, const struct tf_cli_column *columns, size_t count,
                  bool colour, const char *wanted)
{
    char *text;
    size_t length;
    json_t *rows = json_loads(rows_text, 0, NULL);
    FILE *out = open_memstream(&text, &length);
    assert_non_null(rows);
    assert_non_null(out);
    tf_cli_table_print(rows, columns, count, colour, out);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, wanted);
    free(text);
    json_decref(rows);
}

static void test_alignment(void **state)
{
    static const struct tf_cli_column columns[] = {{"name", "NAME", TF_CLI_CELL_TEXT},
                                                   {"count", "N", TF_CLI_CELL_NUMBER},
                                                   {"on", "ON", TF_CLI_CELL_BOOL}};
    (void)state;
    check("[{\"name\":\"a\",\"count\":1,\"on\":true},"
          "{\"name\":\"\\u00fcber\",\"count\":1000,\"on\":false},{\"other\":1}]",
          columns, 3, false,
          "NAME     N  ON\n"
          "a        1  yes\n"
          "\xC3\xBC"
          "ber  1000  no\n"
          "-        -  -\n");
    check("[]", columns, 2, true, "\033[1mNAME  N\n\033[0m");
}

/* One cell of one kind. */
static void check_cell(enum tf_cli_cell cell, const char *value, const char *wanted)
{
    const struct tf_cli_column column = {"x", "X", cell};
    char row_text[600], text[TF_CLI_CELL_MAX];
    snprintf(row_text, sizeof(row_text), "{\"x\":%s}", value);
    json_t *row = json_loads(row_text, 0, NULL);
    assert_non_null(row);
    tf_cli_cell_text(row, &column, text);
    assert_string_equal(text, wanted);
    json_decref(row);
}

static void test_cells(void **state)
{
    (void)state;
    check_cell(TF_CLI_CELL_BYTES, "0", "0 B");
    check_cell(TF_CLI_CELL_BYTES, "1023", "1023 B");
    check_cell(TF_CLI_CELL_BYTES, "1024", "1.0 KiB");
    check_cell(TF_CLI_CELL_BYTES, "1536000", "1.5 MiB");
    check_cell(TF_CLI_CELL_BYTES, "204800", "200 KiB");
    check_cell(TF_CLI_CELL_BYTES, "9007199254740992", "8192 TiB");
    check_cell(TF_CLI_CELL_TIME, "0", "0s");
    check_cell(TF_CLI_CELL_TIME, "59", "59s");
    check_cell(TF_CLI_CELL_TIME, "61", "1m 1s");
    check_cell(TF_CLI_CELL_TIME, "3600", "1h");
    check_cell(TF_CLI_CELL_TIME, "90000", "1d 1h");
    check_cell(TF_CLI_CELL_TIME, "4294967294", "49710d 6h");
    check_cell(TF_CLI_CELL_TIME, "4294967295", "never");
    check_cell(TF_CLI_CELL_NUMBER, "-5", "-5");
    check_cell(TF_CLI_CELL_NUMBER, "null", "-");
    check_cell(TF_CLI_CELL_NUMBER, "[1]", "-");
    check_cell(TF_CLI_CELL_TEXT, "\"\\u001b[2J\\u009bx\"", "\\x1b[2J\\xc2\\x9bx");
}

/* A long name is cut, and between two characters. */
static void test_long_text(void **state)
{
    const struct tf_cli_column column = {"x", "X", TF_CLI_CELL_TEXT};
    static const char *const pieces[] = {"x", "\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                         "\x01"};
    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        char name[2000] = "", text[TF_CLI_CELL_MAX];
        for (size_t n = 0; n < 400; n++) {
            strcat(name, pieces[i]);
        }
        json_t *row = json_pack("{s:s}", "x", name);
        assert_non_null(row);
        tf_cli_cell_text(row, &column, text);
        size_t length = strlen(text);
        assert_true(length > TF_CLI_CELL_MAX / 2 && length < TF_CLI_CELL_MAX);
        assert_string_equal(text + length - 3, "...");
        text[length - 3] = 0;
        json_t *valid = json_string(text); /* fails for what is no UTF-8 */
        assert_non_null(valid);
        json_decref(valid);
        json_decref(row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_long_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
