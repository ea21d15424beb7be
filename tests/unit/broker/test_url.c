/*
 * URLs, taken apart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/url.h"

static void check_text(struct tf_bytes got, const char *wanted)
{
    assert_int_equal(got.length, strlen(wanted));
    assert_memory_equal(got.length ? (const char *)got.data : "", wanted, got.length);
}

static void test_parts(void **state)
{
    static const struct {
        const char *url, *scheme, *user, *host, *port, *rest;
        bool has_user, has_port, brackets;
    } rows[] = {
        {"mqtt://h", "mqtt", "", "h", "", "", false, false, false},
        {"mqtt://h/", "mqtt", "", "h", "", "/", false, false, false},
        {"coap+tcp://h:1/a:b@c", "coap+tcp", "", "h", "1", "/a:b@c", false, true, false},
        {"mqtt://u:p@h:1?x#y", "mqtt", "u:p", "h", "1", "?x#y", true, true, false},
        {"mqtt://u@v:p@q@h#", "mqtt", "u@v:p@q", "h", "", "#", true, false, false},
        {"mqtt://@h", "mqtt", "", "h", "", "", true, false, false},
        {"mqtt://[::1]:/", "mqtt", "", "::1", "", "/", false, true, true},
        {"mqtt://[::1]", "mqtt", "", "::1", "", "", false, false, true},
        {"mqtt://u@[fe80::1%25eth0]:5", "mqtt", "u", "fe80::1%25eth0", "5", "", true, true, true},
        {"mqtt://::1", "mqtt", "", "", ":1", "", false, true, false},
        {"mqtt://", "mqtt", "", "", "", "", false, false, false},
        {"mqtt:///a", "mqtt", "", "", "", "/a", false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_url_parts parts;
        assert_int_equal(tf_url_split(rows[i].url, &parts), TF_OK);
        check_text(parts.scheme, rows[i].scheme);
        check_text(parts.user, rows[i].user);
        check_text(parts.host, rows[i].host);
        check_text(parts.port, rows[i].port);
        check_text(parts.rest, rows[i].rest);
        assert_int_equal(parts.has_user, rows[i].has_user);
        assert_int_equal(parts.has_port, rows[i].has_port);
        assert_int_equal(parts.brackets, rows[i].brackets);
    }
}

static void test_no_urls(void **state)
{
    static const char *const texts[] = {"",          "h",          "h/a",         "mqtt:/h",
                                        "://h",      "1mqtt://h",  "mq tt://h",   "mqtt://[::1",
                                        "mqtt://[:", "m_q://host", "mqtt://[h]x", "h/a://b"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct tf_url_parts parts;
        memset(&parts, 0x55, sizeof(parts));
        assert_int_equal(tf_url_split(texts[i], &parts), TF_PROTOCOL);
        assert_int_equal(parts.host.length, 0x5555555555555555);
    }
}

static void test_ports(void **state)
{
    static const struct {
        const char *url;
        int port; /* below 0: none */
    } rows[] = {{"m://h", 7},        {"m://h:0", 0},      {"m://h:65535", 65535},
                {"m://h:65536", -1}, {"m://h:", -1},      {"m://h:1x", -1},
                {"m://h:-1", -1},    {"m://h:+1", -1},    {"m://::1", -1},
                {"m://[::1]:9", 9},  {"m://h:00080", 80}, {"m://h:99999999999999999999", -1}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_url_parts parts;
        uint16_t port = 12345;
        assert_int_equal(tf_url_split(rows[i].url, &parts), TF_OK);
        assert_int_equal(tf_url_port(&parts, 7, &port), rows[i].port < 0 ? TF_PROTOCOL : TF_OK);
        assert_int_equal(port, rows[i].port < 0 ? 12345 : rows[i].port);
    }
}

static void test_schemes(void **state)
{
    (void)state;
    assert_true(tf_url_scheme_known(tf_bytes_str("mqtt")));
    assert_true(tf_url_scheme_known(tf_bytes_str("coap+tcp")));
    assert_false(tf_url_scheme_known(tf_bytes_str("gopher")));
    assert_false(tf_url_scheme_known(tf_bytes_str("mqt")));
    assert_false(tf_url_scheme_known(tf_bytes_str("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_no_urls),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_schemes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
