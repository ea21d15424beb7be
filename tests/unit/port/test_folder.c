/*
 * Folders: every name is told once, an error of the listener's ends it, and what is no folder is
 * said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/folder.h"

/* What was told. */
struct told {
    size_t a, b, others;
    enum tf_err answer;
};

static enum tf_err tell(void *ctx, const char *name)
{
    struct told *told = ctx;

    if (strcmp(name, "a.conf") == 0)
        told->a++;
    else if (strcmp(name, "b") == 0)
        told->b++;
    else
        told->others++;
    return told->answer;
}

static void test_list(void **state)
{
    char folder[] = "/tmp/trefoil-folder-XXXXXX", file[64], inner[64];
    struct told told = {0};
    FILE *stream;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/a.conf", folder);
    snprintf(inner, sizeof(inner), "%s/b", folder);
    stream = fopen(file, "wb");
    assert_non_null(stream);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(mkdir(inner, 0700), 0);

    assert_int_equal(tf_folder_list(folder, tell, &told), TF_OK);
    assert_int_equal(told.a, 1);
    assert_int_equal(told.b, 1);
    assert_int_equal(told.others, 2); /* `.` and `..` */

    told = (struct told){.answer = TF_LIMIT};
    assert_int_equal(tf_folder_list(folder, tell, &told), TF_LIMIT);
    assert_int_equal(told.a + told.b + told.others, 1);

    told = (struct told){0};
    assert_int_equal(tf_folder_list(file, tell, &told), TF_NOT_FOUND);
    assert_int_equal(remove(inner), 0);
    assert_int_equal(remove(file), 0);
    assert_int_equal(remove(folder), 0);
    assert_int_equal(tf_folder_list(folder, tell, &told), TF_NOT_FOUND);
    assert_int_equal(told.a + told.b + told.others, 0);
}

static void test_make_rename_remove(void **state)
{
    char base[] = "/tmp/trefoil-folder-XXXXXX", deep[64], part[64], other[64], file[80];
    FILE *stream;

    (void)state;
    assert_non_null(mkdtemp(base));
    snprintf(part, sizeof(part), "%s/a", base);
    snprintf(deep, sizeof(deep), "%s/a/b/c", base);
    snprintf(other, sizeof(other), "%s/d", base);
    snprintf(file, sizeof(file), "%s/file", deep);
    assert_int_equal(tf_folder_make(deep), TF_OK);
    assert_int_equal(tf_folder_make(deep), TF_OK);
    assert_int_equal(tf_folder_make(""), TF_IO);
    assert_int_equal(tf_folder_remove(part), TF_IO); /* not empty */

    stream = fopen(file, "wb");
    assert_non_null(stream);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(tf_folder_make(file), TF_OK); /* as mkdir -p has it, and who uses it is told */
    assert_int_equal(tf_folder_make(other), TF_OK);
    assert_int_equal(tf_folder_rename(other, deep), TF_EXISTS);
    assert_int_equal(tf_folder_rename(deep, other), TF_OK); /* over an empty one */
    assert_int_equal(access(deep, F_OK), -1);
    assert_int_equal(tf_folder_rename(deep, other), TF_IO);

    snprintf(file, sizeof(file), "%s/file", other);
    assert_int_equal(remove(file), 0);
    assert_int_equal(tf_folder_remove(other), TF_OK);
    assert_int_equal(tf_folder_remove(other), TF_NOT_FOUND);
    snprintf(deep, sizeof(deep), "%s/a/b", base);
    assert_int_equal(tf_folder_remove(deep), TF_OK);
    assert_int_equal(tf_folder_remove(part), TF_OK);
    assert_int_equal(tf_folder_remove(base), TF_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_list),
                                       cmocka_unit_test(test_make_rename_remove)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
