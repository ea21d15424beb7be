/*
 * URLs and options of a CoAP request, as a command line says them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/coap_request.h"

static char why[TF_CLI_COAP_WHY];

/* What the options of a request are, as text. */
static void check(const struct tf_cli_coap_target *target, const char *wanted)
{
    char text[1024] = "";
    size_t length = 0;
    for (size_t i = 0; i < target->option_count; i++) {
        const struct tf_coap_option *option = &target->options[i];
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%u=%.*s", i ? " " : "",
                                   option->number, (int)option->value.length,
                                   (const char *)option->value.data);
    }
    assert_string_equal(text, wanted);
}

static void test_url(void **state)
{
    const struct tf_cli_coap_options none = {.count = 0};
    struct tf_cli_coap_target target;
    (void)state;
    assert_int_equal(
        tf_cli_coap_target_init(&target, "coap://example.org/a/b%20c?x=1&y", NULL, &none, why),
        TF_OK);
    assert_string_equal(target.host, "example.org");
    assert_int_equal(target.uri.port, 5683);
    check(&target, "3=example.org 11=a 11=b c 15=x=1 15=y");
    tf_cli_coap_target_release(&target);
    assert_int_equal(tf_cli_coap_target_init(&target, "coap://[::1]:61616", NULL, &none, why),
                     TF_OK);
    assert_string_equal(target.host, "::1");
    assert_int_equal(target.uri.port, 61616);
    check(&target, "");
    tf_cli_coap_target_release(&target);
}

static void test_default_path(void **state)
{
    static const struct {
        const char *url, *wanted;
    } rows[] = {{"coap://127.0.0.1", "11=.well-known 11=core"},
                {"coap://127.0.0.1/", "11=.well-known 11=core"},
                {"coap://127.0.0.1/?rt=x", "11=.well-known 11=core 15=rt=x"},
                {"coap://127.0.0.1?rt=x", "11=.well-known 11=core 15=rt=x"},
                {"coap://127.0.0.1/rd", "11=rd"}};
    const struct tf_cli_coap_options none = {.count = 0};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_cli_coap_target target;
        assert_int_equal(
            tf_cli_coap_target_init(&target, rows[i].url, "/.well-known/core", &none, why), TF_OK);
        check(&target, rows[i].wanted);
        tf_cli_coap_target_release(&target);
    }
}

static void test_bad_urls(void **state)
{
    static const struct {
        const char *url;
        enum tf_err err;
        const char *says;
    } rows[] = {{"", TF_PROTOCOL, "no CoAP URL"},
                {"127.0.0.1/a", TF_PROTOCOL, "no CoAP URL"},
                {"mqtt://127.0.0.1/a", TF_PROTOCOL, "no CoAP URL"},
                {"coap:///a", TF_PROTOCOL, "character"},
                {"coap://h:99999/a", TF_PROTOCOL, "character"},
                {"coap://h:0/a", TF_PROTOCOL, "port 0"},
                {"coap://h/a b", TF_PROTOCOL, "character 11"},
                {"coap://h/%zz", TF_PROTOCOL, "character"},
                {"coap://h/%ff", TF_PROTOCOL, "UTF-8"},
                {"coap://h/a#b", TF_PROTOCOL, "fragment"},
                {"coaps://h/a", TF_UNSUPPORTED, "not available"},
                {"coap+tcp://h/a", TF_UNSUPPORTED, "not available"}};
    const struct tf_cli_coap_options none = {.count = 0};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_cli_coap_target target;
        assert_int_equal(tf_cli_coap_target_init(&target, rows[i].url, NULL, &none, why),
                         rows[i].err);
        assert_non_null(strstr(why, rows[i].says));
        assert_ptr_equal(strstr(why, rows[i].url), why);
    }
}

static void test_scheme(void **state)
{
    (void)state;
    assert_true(tf_cli_coap_url("coap://h/a"));
    assert_true(tf_cli_coap_url("COAPS+TCP://h/a"));
    assert_false(tf_cli_coap_url("mqtt://h/coap:"));
    assert_false(tf_cli_coap_url("coap"));
    assert_false(tf_cli_coap_url(""));
}

static void test_options_are_put_in_order(void **state)
{
    struct tf_cli_coap_options options = {.count = 0};
    struct tf_cli_coap_target target;
    (void)state;
    assert_int_equal(tf_cli_coap_format_take(&options, TF_COAP_ACCEPT, "cbor", why), TF_OK);
    assert_int_equal(tf_cli_coap_option_take(&options, "65001=0x4142", why), TF_OK);
    assert_int_equal(tf_cli_coap_option_take(&options, "uri-query=z", why), TF_OK);
    assert_int_equal(tf_cli_coap_opaque_take(&options, TF_COAP_IF_MATCH, "4344", why), TF_OK);
    assert_int_equal(tf_cli_coap_opaque_take(&options, TF_COAP_IF_MATCH, "", why), TF_OK);
    assert_int_equal(tf_cli_coap_option_take(&options, "If-None-Match", why), TF_OK);
    assert_int_equal(tf_cli_coap_target_init(&target, "coap://h/a?b", NULL, &options, why), TF_OK);
    check(&target, "1=CD 1= 3=h 5= 11=a 15=b 15=z 17=< 65001=AB");
    tf_cli_coap_target_release(&target);
    assert_true(tf_cli_coap_option_has(&options, TF_COAP_ACCEPT));
    assert_false(tf_cli_coap_option_has(&options, TF_COAP_OBSERVE));
}

static void test_bad_options(void **state)
{
    static const char *const rows[] = {"",
                                       "Unheard=1",
                                       "Max-Age=x",
                                       "Block2=17",
                                       "Block2=0/0/17",
                                       "70000=1",
                                       "ETag=010203040506070809",
                                       "ETag=0"};
    struct tf_cli_coap_options options = {.count = 0};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(tf_cli_coap_option_take(&options, rows[i], why), TF_PROTOCOL);
    }
    assert_int_equal(tf_cli_coap_format_take(&options, TF_COAP_ACCEPT, "no/such", why),
                     TF_PROTOCOL);
    assert_int_equal(tf_cli_coap_format_take(&options, TF_COAP_ACCEPT, "65536", why), TF_PROTOCOL);
    assert_int_equal(tf_cli_coap_opaque_take(&options, TF_COAP_ETAG, "xyz", why), TF_PROTOCOL);
    assert_int_equal(tf_cli_coap_opaque_take(&options, TF_COAP_ETAG, "0", why), TF_PROTOCOL);
    assert_int_equal(tf_cli_coap_opaque_take(&options, TF_COAP_ETAG, "", why), TF_PROTOCOL);
    assert_int_equal(options.count, 0);
    assert_int_equal(tf_cli_coap_format_take(&options, TF_COAP_ACCEPT, "json", why), TF_OK);
    assert_int_equal(tf_cli_coap_format_take(&options, TF_COAP_ACCEPT, "json", why), TF_PROTOCOL);
    assert_non_null(strstr(why, "once"));
}

static void test_too_many_options(void **state)
{
    static struct tf_cli_coap_options options;
    struct tf_cli_coap_target target;
    enum tf_err err = TF_OK;
    (void)state;
    for (size_t i = 0; i < TF_CLI_COAP_OPTIONS_MAX; i++) {
        assert_int_equal(tf_cli_coap_option_take(&options, "Uri-Query=a", why), TF_OK);
    }
    err = tf_cli_coap_option_take(&options, "Uri-Query=a", why);
    assert_int_equal(err, TF_LIMIT);
    assert_int_equal(tf_cli_coap_target_init(&target, "coap://h/a", NULL, &options, why), TF_LIMIT);
    assert_null(target.memory);
}

static void test_same_peer(void **state)
{
    static const char *const urls[] = {"coap://h/a", "coap://h:5683/b", "coap://h:5684/a",
                                       "coap://i/a"};
    const struct tf_cli_coap_options none = {.count = 0};
    struct tf_cli_coap_target targets[4];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(tf_cli_coap_target_init(&targets[i], urls[i], NULL, &none, why), TF_OK);
    }
    assert_true(tf_cli_coap_target_same_peer(&targets[0], &targets[1]));
    assert_false(tf_cli_coap_target_same_peer(&targets[0], &targets[2]));
    assert_false(tf_cli_coap_target_same_peer(&targets[0], &targets[3]));
    for (size_t i = 0; i < 4; i++) {
        tf_cli_coap_target_release(&targets[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url),
        cmocka_unit_test(test_default_path),
        cmocka_unit_test(test_bad_urls),
        cmocka_unit_test(test_scheme),
        cmocka_unit_test(test_options_are_put_in_order),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_too_many_options),
        cmocka_unit_test(test_same_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
