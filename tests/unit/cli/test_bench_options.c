/*
 * What the bench commands read alike: numbers with their limits, URLs with every part, and what is
 * refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/bench_options.h"

static void test_numbers(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "-1", "5x", "1", "101", "99999999999999999999"};
    const char *wrong = NULL;
    assert_int_equal(tf_bench_number("2", 2, 100, &wrong), 2);
    assert_int_equal(tf_bench_number("100", 2, 100, &wrong), 100);
    assert_null(wrong);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        wrong = NULL;
        tf_bench_number(bad[i], 2, 100, &wrong);
        assert_ptr_equal(wrong, bad[i]);
    }
    tf_bench_number("x", 2, 100, &wrong); /* the first mistake is the one that is told */
    assert_ptr_equal(wrong, bad[sizeof bad / sizeof bad[0] - 1]);
}

static void test_options_with_numbers(void **state)
{
    (void)state;
    const char *wrong = NULL;
    uint32_t a = 7, b = 8;
    const struct tf_bench_number rows[] = {{'a', &a, 1, 10}, {'b', &b, 1, 10}};
    assert_true(tf_bench_take_number(rows, 2, 'b', "3", &wrong));
    assert_false(tf_bench_take_number(rows, 2, 'c', "4", &wrong));
    assert_int_equal(a, 7);
    assert_int_equal(b, 3);
    assert_null(wrong);
    assert_true(tf_bench_take_output("json", &wrong));
    assert_false(tf_bench_take_output("text", &wrong));
    assert_null(wrong);
    tf_bench_take_output("xml", &wrong);
    assert_string_equal(wrong, "xml");
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *user, *password, *path;
        uint16_t port;
    } rows[] = {
        {"amqp://localhost", "localhost", "", "", "", 5672},
        {"amqp://localhost:1234/", "localhost", "", "", "", 1234},
        {"amqp://me@localhost/a/b", "localhost", "me", "", "a/b", 5672},
        {"amqp://me:se:cret@[::1]:99//queue/x", "::1", "me", "se:cret", "/queue/x", 99},
        {"amqp://h/topic://a%20b", "h", "", "", "topic://a%20b", 5672},
        {"amqp://[fe80::1%25eth0]/", "fe80::1%eth0", "", "", "", 5672},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tf_bench_url url;
        assert_true(tf_bench_url_parse(rows[i].text, "amqp", 5672, &url));
        assert_string_equal(url.host, rows[i].host);
        assert_string_equal(url.user, rows[i].user);
        assert_string_equal(url.password, rows[i].password);
        assert_string_equal(url.path, rows[i].path);
        assert_int_equal(url.port, rows[i].port);
    }
}

static void test_urls_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",       "localhost",  "mqtt://h",   "amqp://",
                                      "amqp:h", "amqp://h:0", "amqp://h:x", "amqp://h:65536",
                                      "amqp:/", "amqp://:1/", "amqp://[::1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tf_bench_url url;
        assert_false(tf_bench_url_parse(bad[i], "amqp", 5672, &url));
    }
    char text[400] = "amqp://h/";
    memset(text + 9, 'x', 300);
    struct tf_bench_url url;
    assert_false(tf_bench_url_parse(text, "amqp", 5672, &url));
    text[9 + 255] = 0;
    assert_true(tf_bench_url_parse(text, "amqp", 5672, &url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_options_with_numbers),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_urls_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
