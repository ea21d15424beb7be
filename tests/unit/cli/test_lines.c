/*
 * Standard input as lines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>

#include "cli/lines.h"

/* Makes this standard input; the one before comes back with `restore`. */
static int feed(const char *text)
{
    int ends[2], kept = dup(0);
    assert_true(kept >= 0 && pipe(ends) == 0);
    assert_int_equal(write(ends[1], text, strlen(text)), (ssize_t)strlen(text));
    close(ends[1]);
    assert_int_equal(dup2(ends[0], 0), 0);
    close(ends[0]);
    return kept;
}

static void restore(int kept)
{
    assert_int_equal(dup2(kept, 0), 0);
    close(kept);
}

static void test_lines(void **state)
{
    static const struct {
        const char *text;
        const char *lines[4];
    } rows[] = {
        {"", {NULL}},
        {"\n", {"", NULL}},
        {"one", {"one", NULL}},
        {"one\ntwo\n", {"one", "two", NULL}},
        {"one\n\nthree", {"one", "", "three", NULL}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_cli_lines lines = {0};
        struct tf_bytes line;
        int kept = feed(rows[i].text);
        size_t count = 0;
        while (!lines.over) {
            enum tf_err err = tf_cli_lines_read(&lines);
            assert_true(err == TF_OK || err == TF_AGAIN);
            while (tf_cli_lines_next(&lines, &line)) {
                struct tf_bytes again;
                assert_true(tf_cli_lines_next(&lines, &again)); /* until it is taken */
                assert_true(again.length == line.length);
                assert_non_null(rows[i].lines[count]);
                assert_true(tf_bytes_equal(line, tf_bytes_str(rows[i].lines[count])));
                count++;
                tf_cli_lines_take(&lines);
            }
        }
        assert_null(rows[i].lines[count]);
        restore(kept);
        tf_cli_lines_release(&lines);
    }
}

/* What takes lines, as many as it has room for. */
struct taker {
    char text[64];
    unsigned room;
};

static bool take(void *ctx, struct tf_bytes line)
{
    struct taker *taker = ctx;
    if (taker->room == 0) {
        return false;
    }
    taker->room--;
    strncat(taker->text, (const char *)line.data, line.length);
    strcat(taker->text, ";");
    return true;
}

/* A line that could not be taken comes again, and none comes twice. */
static void test_pass(void **state)
{
    struct tf_cli_lines lines = {0};
    struct taker taker = {.room = 2};
    int kept = feed("one\ntwo\nthree\nfour");
    (void)state;
    while (!lines.over) {
        enum tf_err err = tf_cli_lines_read(&lines);
        assert_true(err == TF_OK || err == TF_AGAIN);
    }
    assert_false(tf_cli_lines_pass(&lines, take, &taker));
    assert_false(tf_cli_lines_pass(&lines, take, &taker));
    assert_string_equal(taker.text, "one;two;");
    taker.room = 5;
    assert_true(tf_cli_lines_pass(&lines, take, &taker));
    assert_string_equal(taker.text, "one;two;three;four;");
    assert_true(tf_cli_lines_pass(&lines, take, &taker));
    assert_int_equal(taker.room, 3);
    restore(kept);
    tf_cli_lines_release(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_pass)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
