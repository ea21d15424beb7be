/*
 * Patches of JSON: the examples of RFC 6902 and RFC 7396, and what must be refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/json_patch.h"

struct row {
    const char *document, *patch;
    enum tf_json_patch_result result;
    const char *wanted; /* NULL: none */
};

static void check(const struct row *row, bool merge)
{
    char *text = NULL;
    size_t length = 0;
    struct tf_bytes document = tf_bytes_str(row->document), patch = tf_bytes_str(row->patch);
    enum tf_json_patch_result result = merge ? tf_json_merge_patch(document, patch, &text, &length)
                                             : tf_json_patch(document, patch, &text, &length);
    if (result != row->result || (row->wanted && strcmp(text, row->wanted) != 0)) {
        fail_msg("%s with %s: result %d, %s", row->document, row->patch, (int)result,
                 text ? text : "nothing");
    }
    assert_int_equal(length, text ? strlen(text) : 0);
    tf_json_patch_free(text);
}

static void test_patch(void **state)
{
    static const struct row rows[] = {
        /* RFC 6902 appendix A */
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
         TF_JSON_PATCH_DONE, "{\"foo\":\"bar\",\"baz\":\"qux\"}"},
        {"{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
         TF_JSON_PATCH_DONE, "{\"foo\":[\"bar\",\"qux\",\"baz\"]}"},
        {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]",
         TF_JSON_PATCH_DONE, "{\"foo\":\"bar\"}"},
        {"{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]",
         TF_JSON_PATCH_DONE, "{\"foo\":[\"bar\",\"baz\"]}"},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"replace\",\"path\":\"/foo\",\"value\":\"boo\"}]",
         TF_JSON_PATCH_DONE, "{\"foo\":\"boo\"}"},
        {"{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
         "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]", TF_JSON_PATCH_DONE,
         "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}"},
        {"{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}",
         "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]", TF_JSON_PATCH_DONE,
         "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}"},
        {"{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
         "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},"
         "{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]",
         TF_JSON_PATCH_DONE, "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}"},
        {"{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]",
         TF_JSON_PATCH_CONFLICT, NULL},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]",
         TF_JSON_PATCH_CONFLICT, NULL},
        {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]",
         TF_JSON_PATCH_DONE, "{\"/\":9,\"~1\":10}"},
        {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":\"10\"}]",
         TF_JSON_PATCH_CONFLICT, NULL},
        {"{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\"]}]",
         TF_JSON_PATCH_DONE, "{\"foo\":[\"bar\",[\"abc\"]]}"},
        /* all or nothing, the whole document, copies */
        {"{\"a\":1}",
         "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2},{\"op\":\"remove\",\"path\":\"/c\"}]",
         TF_JSON_PATCH_CONFLICT, NULL},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[1]}]", TF_JSON_PATCH_DONE,
         "[1]"},
        {"{\"a\":[1]}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]", TF_JSON_PATCH_DONE,
         "{\"a\":[1],\"b\":[1]}"},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]",
         TF_JSON_PATCH_UNPROCESSABLE, NULL},
        {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]", TF_JSON_PATCH_DONE,
         "{\"a\":1}"},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]", TF_JSON_PATCH_CONFLICT,
         NULL},
        /* what is no patch */
        {"{}", "[{\"op\":\"frob\",\"path\":\"/a\",\"value\":1}]", TF_JSON_PATCH_UNPROCESSABLE,
         NULL},
        {"{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", TF_JSON_PATCH_UNPROCESSABLE, NULL},
        {"{}", "[{\"op\":\"add\",\"path\":\"/~2\",\"value\":1}]", TF_JSON_PATCH_UNPROCESSABLE,
         NULL},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", TF_JSON_PATCH_UNPROCESSABLE, NULL},
        {"{}", "{}", TF_JSON_PATCH_UNPROCESSABLE, NULL},
        {"{}", "[", TF_JSON_PATCH_BAD_PATCH, NULL},
        {"{", "[]", TF_JSON_PATCH_BAD_DOCUMENT, NULL},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/01\",\"value\":1}]", TF_JSON_PATCH_CONFLICT, NULL},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":1}]", TF_JSON_PATCH_CONFLICT, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check(&rows[i], false);
    }
}

static void test_merge(void **state)
{
    static const struct row rows[] = {
        /* RFC 7396 appendix A */
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", TF_JSON_PATCH_DONE, "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", TF_JSON_PATCH_DONE, "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", TF_JSON_PATCH_DONE, "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", TF_JSON_PATCH_DONE, "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", TF_JSON_PATCH_DONE, "{\"a\":\"c\"}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", TF_JSON_PATCH_DONE,
         "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", TF_JSON_PATCH_DONE, "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", TF_JSON_PATCH_DONE, "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", TF_JSON_PATCH_DONE, "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", TF_JSON_PATCH_DONE, "null"},
        {"{\"e\":null}", "{\"a\":1}", TF_JSON_PATCH_DONE, "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", TF_JSON_PATCH_DONE, "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", TF_JSON_PATCH_DONE, "{\"a\":{\"bb\":{}}}"},
        {"", "{\"a\":1}", TF_JSON_PATCH_DONE, "{\"a\":1}"},
        {"{", "{}", TF_JSON_PATCH_BAD_DOCUMENT, NULL},
        {"{}", "{", TF_JSON_PATCH_BAD_PATCH, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check(&rows[i], true);
    }
}

/* Copies of copies double size and depth each time: they end before memory and stack do. */
static void test_bombs(void **state)
{
    static const char *const operations[] = {"{\"op\":\"copy\",\"from\":\"\",\"path\":\"/a\"}",
                                             "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/b\"}"};
    char patch[8192] = "[";
    (void)state;
    for (size_t i = 0; i < 100; i++) {
        strcat(patch, i ? "," : "");
        strcat(patch, operations[i % 2]);
    }
    strcat(patch, "]");
    check(&(struct row){"{\"x\":[1,2,3]}", patch, TF_JSON_PATCH_UNPROCESSABLE, NULL}, false);
}

/* So do copies of one long text, and of a member with a long name. */
static void test_text_bombs(void **state)
{
    enum { LENGTH = 500000, COPIES = 200 };
    static const char *const heads[] = {"{\"from\":\"", "{\"from\":{\""};
    static const char *const tails[] = {"\"}", "\":0}}"};
    char *document = malloc(LENGTH + 64), *patch = malloc(COPIES * 64), *at;
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        strcpy(document, heads[i]);
        memset(document + strlen(heads[i]), 'x', LENGTH);
        strcpy(document + strlen(heads[i]) + LENGTH, tails[i]);
        for (unsigned copies = 5; copies <= COPIES; copies += COPIES - 5) {
            at = patch;
            for (unsigned j = 0; j < copies; j++) {
                at += sprintf(at, "%c{\"op\":\"copy\",\"from\":\"/from\",\"path\":\"/%u\"}",
                              j ? ',' : '[', j);
            }
            strcpy(at, "]");
            char *result = NULL;
            size_t length;
            enum tf_json_patch_result done =
                tf_json_patch(tf_bytes_str(document), tf_bytes_str(patch), &result, &length);
            assert_int_equal(done, copies == 5 ? TF_JSON_PATCH_DONE : TF_JSON_PATCH_UNPROCESSABLE);
            tf_json_patch_free(result);
        }
    }
    free(document);
    free(patch);
}

/* Each member put at the head of a long array moves all others. */
static void test_array_moves(void **state)
{
    enum { MEMBERS = 400000, OPERATIONS = 9000 };
    char *document = malloc(2 * MEMBERS + 2), *patch = malloc(OPERATIONS * 80), *at;
    (void)state;
    for (unsigned i = 0; i < MEMBERS; i++) {
        memcpy(document + 2 * i, i ? ",0" : "[0", 2);
    }
    strcpy(document + 2 * MEMBERS, "]");
    for (unsigned count = 20; count <= OPERATIONS; count += OPERATIONS - 20) {
        at = patch;
        for (unsigned i = 0; i < count; i++) {
            at += sprintf(at, "%c%s", i ? ',' : '[',
                          i % 2 ? "{\"op\":\"remove\",\"path\":\"/0\"}"
                                : "{\"op\":\"add\",\"path\":\"/0\",\"value\":1}");
        }
        strcpy(at, "]");
        char *result = NULL;
        size_t length;
        enum tf_json_patch_result done =
            tf_json_patch(tf_bytes_str(document), tf_bytes_str(patch), &result, &length);
        assert_int_equal(done, count == 20 ? TF_JSON_PATCH_DONE : TF_JSON_PATCH_UNPROCESSABLE);
        tf_json_patch_free(result);
    }
    free(document);
    free(patch);
}

static void test_deep(void **state)
{
    size_t depth = 2000;
    char *text = calloc(1, 6 * depth + 2);
    (void)state;
    for (size_t i = 0; i < depth; i++) {
        memcpy(text + 5 * i, "{\"a\":", 5);
    }
    text[5 * depth] = '1';
    memset(text + 5 * depth + 1, '}', depth);
    char *result = NULL;
    size_t length;
    assert_int_equal(tf_json_merge_patch(tf_bytes_str("{}"), tf_bytes_str(text), &result, &length),
                     TF_JSON_PATCH_DONE);
    assert_string_equal(result, text);
    tf_json_patch_free(result);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patch),       cmocka_unit_test(test_merge),
        cmocka_unit_test(test_bombs),       cmocka_unit_test(test_text_bombs),
        cmocka_unit_test(test_array_moves), cmocka_unit_test(test_deep)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
