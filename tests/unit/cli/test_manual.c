/*
 * Options by a table, and what is made of the table: --help, manual pages, completion.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/help.h"
#include "cli/options.h"

static const struct tf_cli_option table[] = {
    {'a', "alpha", NULL, "a flag"},
    {'b', "beta", "VALUE",
     "takes `a value` of a \\ kind that needs many more words than a line has"},
    {300, "gamma-ray", "SECONDS", ".starts with a dot"},
};
static const struct tf_cli_group group = {"Letters", table, 3};
static const struct tf_cli_group *const groups[] = {&group};
static const struct tf_cli_example example = {"trefoil test -a 'x'", "Does it."};
static const struct tf_cli_manual manual = {.name = "test",
                                            .usage = "[OPTION]...",
                                            .summary = "test the tables",
                                            .text = "First paragraph.\n\nSecond:\n  %t as it is",
                                            .groups = groups,
                                            .group_count = 1,
                                            .after = "'Last' words.",
                                            .examples = &example,
                                            .example_count = 1};

struct taken {
    char text[200];
    int stop; /* what `take` is to return */
};

static int take(void *ctx, int key, const char *value)
{
    struct taken *taken = ctx;
    size_t length = strlen(taken->text);
    snprintf(taken->text + length, sizeof(taken->text) - length, "%d=%s;", key, value ? value : "");
    return taken->stop;
}

/* Parses words, separated by one space; the exit code, or below 0. */
static int parse(const char *words, struct taken *taken, char *ret_rest, size_t size)
{
    char line[200], *argv[16];
    int argc = 0, first = 0;
    snprintf(line, sizeof(line), "%s", words);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    taken->text[0] = 0;
    int code = tf_cli_manual_parse(&manual, argc, argv, take, taken, &first);
    ret_rest[0] = 0;
    for (int i = first; code < 0 && i < argc; i++) {
        size_t length = strlen(ret_rest);
        snprintf(ret_rest + length, size - length, "%s;", argv[i]);
    }
    return code;
}

static void test_parser(void **state)
{
    static const struct {
        const char *words, *taken, *rest;
        int code;
    } rows[] = {
        {"test", "", "", -1},
        {"test x y", "", "x;y;", -1},
        {"test -a x -b 1 y --gamma-ray 2", "97=;98=1;300=2;", "x;y;", -1},
        {"test -ab1 --beta=2 --gam 3", "97=;98=1;98=2;300=3;", "", -1},
        {"test -a -- -b", "97=;", "-b;", -1},
        {"test -z", "", "", 2},
        {"test --zeta", "", "", 2},
        {"test -a -b", "97=;", "", 2},
        {"test --alpha=1", "", "", 2},
        {"test --gamma-ray", "", "", 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct taken taken = {.stop = -1};
        char rest[200];
        assert_int_equal(parse(rows[i].words, &taken, rest, sizeof(rest)), rows[i].code);
        assert_string_equal(taken.text, rows[i].taken);
        assert_string_equal(rest, rows[i].rest);
    }
    struct taken taken = {.stop = 5};
    char rest[200];
    assert_int_equal(parse("test -a -b 1", &taken, rest, sizeof(rest)), 5);
    assert_string_equal(taken.text, "97=;");
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"",   "x",   "-1", "+1", " 1",
                                      "1x", "1.5", "0",  "11", "99999999999999999999999"};
    unsigned long long number = 77;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tf_cli_number(&manual, "--n", bad[i], 1, 10, &number), 2);
        assert_int_equal(number, 77);
    }
    assert_true(tf_cli_number(&manual, "--n", "1", 1, 10, &number) < 0);
    assert_int_equal(number, 1);
    assert_true(tf_cli_number(&manual, "--n", "10", 1, 10, &number) < 0);
    assert_int_equal(number, 10);
}

static void test_seconds(void **state)
{
    static const struct {
        const char *text;
        tf_time us;
    } good[] = {{"1", 1000000},         {"0.5", 500000}, {".25", 250000},
                {"2.", 2000000},        {"0.000001", 1}, {"1000000000", 1000000000000000},
                {"12.345678", 12345678}};
    static const char *const bad[] = {
        "",     ".",     "0",         "0.0", "-1",          "1s",
        "1..2", "1.2.3", "0.0000001", "1e3", "10000000000", "99999999999999999999999999"};
    tf_time us = 77;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tf_cli_seconds(&manual, "--s", bad[i], &us), 2);
        assert_int_equal(us, 77);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(tf_cli_seconds(&manual, "--s", good[i].text, &us) < 0);
        assert_int_equal(us, good[i].us);
    }
}

/* ---- what is written ---- */

static char *written(void (*write)(FILE *out))
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    write(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void write_help(FILE *out)
{
    tf_cli_manual_help(&manual, 60, out);
}

static void test_help(void **state)
{
    (void)state;
    char *text = written(write_help);
    assert_string_equal(text, "Usage: trefoil test [OPTION]...\n"
                              "Test the tables.\n"
                              "\n"
                              "First paragraph.\n"
                              "\n"
                              "Second:\n"
                              "  %t as it is\n"
                              "\n"
                              "Letters:\n"
                              "  -a, --alpha             a flag\n"
                              "  -b, --beta VALUE        takes `a value` of a \\ kind that\n"
                              "                          needs many more words than a line\n"
                              "                          has\n"
                              "      --gamma-ray SECONDS\n"
                              "                          .starts with a dot\n"
                              "\n"
                              "Help:\n"
                              "  -h, --help              print this, and end\n"
                              "\n"
                              "'Last' words.\n"
                              "\n"
                              "Examples:\n"
                              "  trefoil test -a 'x'\n"
                              "      Does it.\n");
    free(text);
}

static void write_page(FILE *out)
{
    tf_cli_manual_page(&manual, out);
}

static void test_page(void **state)
{
    (void)state;
    char *text = written(write_page);
    assert_non_null(strstr(text, ".SH NAME\ntrefoil\\-test \\- test the tables\n"));
    assert_non_null(strstr(text, ".PP\n.nf\n  %t as it is\n.fi\n"));
    assert_non_null(strstr(text, ".TP\n\\fB\\-a\\fR, \\fB\\-\\-alpha\\fR\na flag\n"));
    assert_non_null(strstr(text, "takes \\(gaa value\\(ga of a \\e kind"));
    assert_non_null(strstr(text, "\\fB\\-\\-gamma\\-ray\\fR \\fISECONDS\\fR\n\\&.starts"));
    assert_non_null(strstr(text, ".SH NOTES\n\\&\\(aqLast\\(aq words.\n"));
    free(text);
}

/* Every option of every command has a letter or a key of its own, and a name of its own. */
static void test_tables_of_commands(void **state)
{
    static const struct tf_cli_manual *const manuals[] = {
        &tf_cli_pub_manual,    &tf_cli_sub_manual,      &tf_cli_get_manual,
        &tf_cli_queues_manual, &tf_cli_sessions_manual, &tf_cli_connections_manual};
    (void)state;
    for (size_t i = 0; i < sizeof(manuals) / sizeof(manuals[0]); i++) {
        const struct tf_cli_option *seen[64];
        size_t count = 0;
        for (size_t j = 0; j < manuals[i]->group_count; j++) {
            for (size_t k = 0; k < manuals[i]->groups[j]->count; k++) {
                const struct tf_cli_option *option = &manuals[i]->groups[j]->options[k];
                for (size_t l = 0; l < count; l++) {
                    assert_int_not_equal(seen[l]->key, option->key);
                    assert_string_not_equal(seen[l]->name, option->name);
                }
                assert_int_not_equal(option->key, 'h');
                assert_true(count < 63); /* what the parser has room for */
                seen[count++] = option;
            }
        }
    }
}

/* ---- the options of a connection ---- */

static int take_connection(void *ctx, int key, const char *value)
{
    return tf_cli_options_take(ctx, &tf_cli_sub_manual, key, value);
}

static const struct tf_cli_group *const connection_groups[] = {
    &tf_cli_session_group, &tf_cli_connection_group, &tf_cli_will_group};
static const struct tf_cli_manual connection_manual = {
    .name = "test", .groups = connection_groups, .group_count = 3};

static int parse_connection(const char *words, struct tf_cli_connection_options *options)
{
    static char line[300]; /* the options point into it */
    char *argv[32];
    int argc = 0, first;
    snprintf(line, sizeof(line), "%s", words);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    tf_cli_options_init(options);
    int code =
        tf_cli_manual_parse(&connection_manual, argc, argv, take_connection, options, &first);
    return code < 0 ? tf_cli_options_check(options, &connection_manual) : code;
}

static void test_connection_options(void **state)
{
    struct tf_cli_connection_options options;
    (void)state;
    assert_true(parse_connection("test", &options) < 0);
    assert_int_equal(options.version, 5);
    assert_int_equal(options.keep_alive_s, 60);
    assert_false(options.version_given);
    assert_true(parse_connection("test -i me -c -x 7 -V 5 --user u --password p -k 65535 "
                                 "--will-topic w --will-payload gone --will-qos 2 --will-retain "
                                 "--will-delay 3 -d",
                                 &options) < 0);
    assert_string_equal(options.client_id, "me");
    assert_string_equal(options.user, "u");
    assert_string_equal(options.password, "p");
    assert_string_equal(options.will_topic, "w");
    assert_string_equal(options.will_payload, "gone");
    assert_int_equal(options.will_qos, 2);
    assert_int_equal(options.will_delay_s, 3);
    assert_int_equal(options.session_expiry_s, 7);
    assert_int_equal(options.keep_alive_s, 65535);
    assert_true(options.keep_session && options.expiry_given && options.version_given &&
                options.will_retain && options.debug);
    tf_cli_options_release(&options);
    assert_true(parse_connection("test -V mqttv311", &options) < 0);
    assert_int_equal(options.version, 4);
}

static void test_connection_misuse(void **state)
{
    static const char *const rows[] = {
        "test -c",
        "test -V 3",
        "test -V 6",
        "test -k 65536",
        "test -k -1",
        "test -x 4294967296",
        "test --will-qos 3",
        "test --will-qos 1",
        "test --will-topic a/#",
        "test --will-topic a --will-delay 4 -V 4",
        "test -V 4 -i a -c -x 1",
        "test --password-file /nonexistent/file",
        "test --password-file /dev/null",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_cli_connection_options options;
        assert_int_equal(parse_connection(rows[i], &options), TF_EXIT_USAGE);
        tf_cli_options_release(&options);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parser),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_tables_of_commands),
        cmocka_unit_test(test_connection_options),
        cmocka_unit_test(test_connection_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
