/*
 * The manual: every key in all three forms, and the files in docs/ as the table makes them now.
 *
 * After a change of the table, run this test with TREFOIL_WRITE_DOCS=1 in the environment: it
 * writes the files anew.
 */
#include "unit/broker/test_config.h"

#include <stdio.h>

#include "broker/config_keys.h"

#define DOCS TF_VECTORS_DIR "/../../docs/"
#define MARK "<!-- written from the table of keys: see test_config_manual.c -->\n"

static char *print_manual(enum tf_config_manual_form form)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    assert_non_null(out);
    assert_int_equal(tf_config_manual(out, form), TF_OK);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_manual_has_every_key(void **state)
{
    static const enum tf_config_manual_form forms[] = {TF_CONFIG_MANUAL_TEXT, TF_CONFIG_MANUAL_ROFF,
                                                       TF_CONFIG_MANUAL_MARKDOWN};

    (void)state;
    for (size_t f = 0; f < 3; f++) {
        char *text = print_manual(forms[f]);

        for (size_t i = 0; i < tf_config_key_count; i++) {
            char wanted[64];

            snprintf(wanted, sizeof(wanted),
                     forms[f] == TF_CONFIG_MANUAL_TEXT   ? "\n  %s "
                     : forms[f] == TF_CONFIG_MANUAL_ROFF ? "\n\\fB%s\\fR "
                                                         : "\n| `%s` |",
                     tf_config_keys[i].name);
            if (!strstr(text, wanted))
                fail_msg("form %zu: %s is missing", f, tf_config_keys[i].name);
        }
        free(text);
    }
}

static void test_manual_says_default_and_range(void **state)
{
    char *text = print_manual(TF_CONFIG_MANUAL_TEXT);

    (void)state;
    assert_non_null(strstr(text, "Default: 1048576. Range: 20 to 268435456. Reloadable."));
    assert_non_null(strstr(text, "Default: no limit."));
    assert_non_null(strstr(text, "Default: never. Reloadable."));
    assert_non_null(strstr(text, "Default: any. Takes a restart."));
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");

        assert_true(length <= 100);
        line += length + (line[length] == '\n');
    }
    free(text);
    text = print_manual(TF_CONFIG_MANUAL_ROFF);
    for (const char *line = text;
         *line;) { /* a dot begins a request, and only those that we mean */
        size_t length = strcspn(line, "\n");

        if (*line == '.')
            assert_true(strncmp(line, ".TH ", 4) == 0 || strncmp(line, ".SH ", 4) == 0 ||
                        strncmp(line, ".TP", 3) == 0);
        line += length + (line[length] == '\n');
    }
    free(text);
}

/* ---- the files in docs/ ---- */

/* A whole file as text; NULL: it is not there. */
static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text;
    long length;

    if (!file)
        return NULL;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    length = ftell(file);
    assert_true(length >= 0);
    rewind(file);
    text = malloc((size_t)length + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)length, file), length);
    text[length] = '\0';
    fclose(file);
    return text;
}

/* The file must be `head` and then `wanted`; writes it so when told to. */
static void file_must_be(const char *path, const char *head, const char *wanted)
{
    size_t head_length = strlen(head);
    char *text;

    if (getenv("TREFOIL_WRITE_DOCS")) {
        FILE *file = fopen(path, "wb");

        assert_non_null(file);
        assert_true(fprintf(file, "%s%s", head, wanted) > 0);
        assert_int_equal(fclose(file), 0);
    }
    text = read_file(path);
    if (!text || strncmp(text, head, head_length) != 0 || strcmp(text + head_length, wanted) != 0)
        fail_msg("%s is not what the table says: run this test with TREFOIL_WRITE_DOCS=1", path);
    free(text);
}

static void test_markdown_in_docs(void **state)
{
    char *text = read_file(DOCS "configuration.md"), *mark, *wanted;

    (void)state;
    assert_non_null(text);
    mark = strstr(text, MARK);
    assert_non_null(mark);
    mark[strlen(MARK)] = '\0';
    wanted = print_manual(TF_CONFIG_MANUAL_MARKDOWN);
    file_must_be(DOCS "configuration.md", text, wanted);
    free(wanted);
    free(text);
}

static void test_man_page_in_docs(void **state)
{
    char *wanted = print_manual(TF_CONFIG_MANUAL_ROFF);

    (void)state;
    file_must_be(DOCS "man/trefoil.conf.5", "", wanted);
    free(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manual_has_every_key),
        cmocka_unit_test(test_manual_says_default_and_range),
        cmocka_unit_test(test_markdown_in_docs),
        cmocka_unit_test(test_man_page_in_docs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
