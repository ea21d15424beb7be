/*
 * The URL of a command.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/url.h"

static void test_good(void **state)
{
    static const struct {
        const char *text, *host, *user, *password, *address;
        uint16_t port;
    } rows[] = {
        {"mqtt://localhost", "localhost", NULL, NULL, "", 1883},
        {"mqtt://localhost/", "localhost", NULL, NULL, "", 1883},
        {"mqtt://127.0.0.1:1884/a/b", "127.0.0.1", NULL, NULL, "a/b", 1884},
        {"mqtt://h//a//", "h", NULL, NULL, "/a//", 1883},
        {"mqtt://h/a/#", "h", NULL, NULL, "a/#", 1883},
        {"mqtt://h/a?b=c#d", "h", NULL, NULL, "a?b=c#d", 1883},
        {"mqtt://h/%23/%2b/%25", "h", NULL, NULL, "#/+/%", 1883},
        {"mqtt://h/a+b%20c", "h", NULL, NULL, "a+b c", 1883},
        {"mqtt://h/%C3%BC/\xC3\xBC", "h", NULL, NULL, "\xC3\xBC/\xC3\xBC", 1883},
        {"mqtt://h/mqtt://x@y", "h", NULL, NULL, "mqtt://x@y", 1883},
        {"mqtt://[::1]:5/a", "::1", NULL, NULL, "a", 5},
        {"mqtt://[fe80::1%25eth0]/a", "fe80::1%eth0", NULL, NULL, "a", 1883},
        {"mqtt://me@h/a", "h", "me", NULL, "a", 1883},
        {"mqtt://me:se%3Acret@h/a", "h", "me", "se:cret", "a", 1883},
        {"mqtt://me:a:b@c@h/a", "h", "me", "a:b@c", "a", 1883},
        {"mqtt://me:@h", "h", "me", "", "", 1883},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_cli_url url;
        char why[TF_CLI_URL_WHY];
        assert_int_equal(tf_cli_url_parse(rows[i].text, &url, why), TF_OK);
        assert_string_equal(url.host, rows[i].host);
        assert_string_equal(url.address, rows[i].address);
        assert_int_equal(url.port, rows[i].port);
        assert_string_equal(url.user ? url.user : "-", rows[i].user ? rows[i].user : "-");
        assert_string_equal(url.password ? url.password : "-",
                            rows[i].password ? rows[i].password : "-");
        tf_cli_url_release(&url);
    }
}

static void test_bad(void **state)
{
    static const struct {
        const char *text;
        enum tf_err err;
        const char *word; /* in the sentence */
    } rows[] = {
        {"", TF_PROTOCOL, "mqtt://"},
        {"localhost/a", TF_PROTOCOL, "localhost/a"},
        {"gopher://h/a", TF_PROTOCOL, "scheme"},
        {"mqtts://h/a", TF_UNSUPPORTED, "not available"},
        {"coap://h/a", TF_UNSUPPORTED, "not available"},
        {"mqtt://", TF_PROTOCOL, "no host"},
        {"mqtt:///a", TF_PROTOCOL, "no host"},
        {"mqtt://h:0/a", TF_PROTOCOL, "port"},
        {"mqtt://h:65536/a", TF_PROTOCOL, "port"},
        {"mqtt://::1/a", TF_PROTOCOL, "no host"},
        {"mqtt://fe80::1/a", TF_PROTOCOL, "brackets"},
        {"mqtt://h?a", TF_PROTOCOL, "slash"},
        {"mqtt://h#a", TF_PROTOCOL, "slash"},
        {"mqtt://a b/c", TF_PROTOCOL, "host"},
        {"mqtt://h/100%", TF_PROTOCOL, "%25"},
        {"mqtt://h/%2", TF_PROTOCOL, "%25"},
        {"mqtt://h/%g0", TF_PROTOCOL, "%25"},
        {"mqtt://h/%00", TF_PROTOCOL, "NUL"},
        {"mqtt://h/%FF", TF_PROTOCOL, "UTF-8"},
        {"mqtt://h/\xC3", TF_PROTOCOL, "UTF-8"},
        {"mqtt://%FF@h/a", TF_PROTOCOL, "UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_cli_url url;
        char why[TF_CLI_URL_WHY] = "";
        url.port = 4711;
        assert_int_equal(tf_cli_url_parse(rows[i].text, &url, why), rows[i].err);
        assert_int_equal(url.port, 4711);
        if (!strstr(why, rows[i].word)) {
            fail_msg("%s: %s", rows[i].text, why);
        }
    }
}

static void test_amqp(void **state)
{
    static const struct {
        const char *text, *address;
        uint16_t port;
    } rows[] = {
        {"amqp://h", "", 5672},
        {"amqp://h/a", "a", 5672},
        {"amqp://h:1//queue/a", "/queue/a", 1},
        {"amqp://h/topic://a/%23", "topic://a/#", 5672},
    };
    struct tf_cli_url url;
    char why[TF_CLI_URL_WHY];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(tf_cli_url_is_amqp(rows[i].text));
        assert_int_equal(tf_cli_url_parse_amqp(rows[i].text, &url, why), TF_OK);
        assert_string_equal(url.address, rows[i].address);
        assert_int_equal(url.port, rows[i].port);
        tf_cli_url_release(&url);
        assert_int_equal(tf_cli_url_parse(rows[i].text, &url, why), TF_UNSUPPORTED);
    }
    assert_false(tf_cli_url_is_amqp("mqtt://h/amqp://x"));
    assert_false(tf_cli_url_is_amqp("amqps://h"));
    assert_int_equal(tf_cli_url_parse_amqp("mqtt://h", &url, why), TF_UNSUPPORTED);
    assert_int_equal(tf_cli_url_parse_amqp("amqp://:1/a", &url, why), TF_PROTOCOL);
    assert_non_null(strstr(why, "amqp://localhost"));
}

/* What is said of a bad URL never has its password, and is short. */
static void test_sentence(void **state)
{
    struct tf_cli_url url;
    char why[TF_CLI_URL_WHY], text[2000] = "mqtt://h:x/";
    (void)state;
    assert_int_equal(tf_cli_url_parse("mqtt://me:secret@h:x/a", &url, why), TF_PROTOCOL);
    assert_null(strstr(why, "secret"));
    assert_non_null(strstr(why, "@h"));
    memset(text + strlen(text), 'y', sizeof(text) - strlen(text) - 1);
    text[sizeof(text) - 1] = 0;
    assert_int_equal(tf_cli_url_parse(text, &url, why), TF_PROTOCOL);
    assert_non_null(strstr(why, "port"));
    memset(text, 'h', sizeof(text) - 1);
    memcpy(text, "mqtt://", 7);
    assert_int_equal(tf_cli_url_parse(text, &url, why), TF_PROTOCOL);
    assert_non_null(strstr(why, "host"));
}

static void test_same_broker(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"mqtt://h/a", "mqtt://h:1883/b", true},  {"mqtt://h/a", "mqtt://g/a", false},
        {"mqtt://h/a", "mqtt://h:1/a", false},    {"mqtt://u@h/a", "mqtt://h/a", false},
        {"mqtt://u:p@h/a", "mqtt://u:p@h", true}, {"mqtt://u:p@h/a", "mqtt://u:q@h", false},
        {"mqtt://u:p@h/a", "mqtt://u@h", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_cli_url a, b;
        char why[TF_CLI_URL_WHY];
        assert_int_equal(tf_cli_url_parse(rows[i].a, &a, why), TF_OK);
        assert_int_equal(tf_cli_url_parse(rows[i].b, &b, why), TF_OK);
        assert_int_equal(tf_cli_url_same_broker(&a, &b), rows[i].same);
        assert_int_equal(tf_cli_url_same_broker(&b, &a), rows[i].same);
        tf_cli_url_release(&a);
        tf_cli_url_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_amqp),        cmocka_unit_test(test_sentence),
        cmocka_unit_test(test_same_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
