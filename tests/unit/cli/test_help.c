/*
 * The overview, and the manual pages of all commands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/help.h"

static int run_it(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[0], "two") == 0 && strcmp(argv[1], "--help") == 0 ? 42 : 43;
}

static const struct tf_cli_command commands[] = {
    {"sub", "URL", "print messages", run_it, &tf_cli_sub_manual, NULL},
    {"two", "[X]", "do both", run_it, NULL, ".first\n\\second\n"},
};

static int help(const char *a, const char *b)
{
    char name[] = "help", *argv[] = {name, (char *)(uintptr_t)a, (char *)(uintptr_t)b, NULL};
    return tf_cli_help(b ? 3 : 2, argv, commands, 2);
}

static void test_overview(void **state)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    (void)state;
    assert_non_null(out);
    tf_cli_help_overview(commands, 2, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "  trefoil sub URL\n        print messages\n"));
    assert_non_null(strstr(text, "  trefoil two [X]\n        do both\n"));
    free(text);
}

static void test_codes(void **state)
{
    (void)state;
    assert_int_equal(help("two", NULL), 42);
    assert_int_equal(help("three", NULL), TF_EXIT_USAGE);
    assert_int_equal(help("--completion", "csh"), TF_EXIT_USAGE);
    assert_int_equal(help("--write-man", "/nonexistent/folder"), TF_EXIT_INTERNAL);
}

/* A page of the folder must have this in it. */
static void check_page(const char *folder, const char *name, const char *part)
{
    char path[200], text[8192];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
    assert_non_null(strstr(text, part));
    assert_int_equal(unlink(path), 0);
}

static void test_pages(void **state)
{
    char folder[] = "/tmp/trefoil-test-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(help("--write-man", folder), TF_EXIT_DONE);
    check_page(folder, "trefoil.1", ".BR trefoil\\-two (1)\ndo both\n");
    check_page(folder, "trefoil-sub.1", ".SH NAME\ntrefoil\\-sub \\- ");
    check_page(folder, "trefoil-two.1", ".eo\n.cc |\n.first\n\\second\n|cc\n.ec\n");
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overview),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
