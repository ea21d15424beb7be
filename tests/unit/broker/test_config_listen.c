/*
 * Listeners: which option belongs to which, what the default listener is, URLs, who may connect.
 * What is said of mosquitto here was tried out with mosquitto 2.0.11.
 */
#include "unit/broker/test_config.h"

static struct tf_config_listener *listener_at(struct bench *bench, size_t i)
{
    assert_true(i < bench->config.listener_count);
    return &bench->config.listeners[i];
}

static void finish(struct bench *bench)
{
    assert_int_equal(tf_config_finish(&bench->config, &bench->report), TF_OK);
}

static void test_options_belong_to_the_listener_above(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 1883 127.0.0.1\n"
                                         "max_connections 7\n"
                                         "max_keepalive 60\n" /* global, wherever it stands */
                                         "listener 1884 ::1\n"
                                         "max_qos 1\n"
                                         "max_topic_alias 0\n"
                                         "protocol mqtt\n"
                                         "socket_domain ipv6\n"
                                         "max_connections -1\n"),
                     TF_OK);
    finish(&bench);
    assert_int_equal(bench.config.listener_count, 2);
    assert_int_equal(listener_at(&bench, 0)->port, 1883);
    assert_string_equal(listener_at(&bench, 0)->host, "127.0.0.1");
    assert_int_equal(listener_at(&bench, 0)->max_connections, 7);
    assert_int_equal(listener_at(&bench, 0)->max_qos, 2);
    assert_int_equal(listener_at(&bench, 0)->max_topic_alias, 10);
    assert_int_equal(listener_at(&bench, 0)->domain, TF_CONFIG_DOMAIN_ANY);
    assert_string_equal(listener_at(&bench, 1)->host, "::1");
    assert_int_equal(listener_at(&bench, 1)->max_connections, TF_CONFIG_UNLIMITED);
    assert_int_equal(listener_at(&bench, 1)->max_qos, 1);
    assert_int_equal(listener_at(&bench, 1)->max_topic_alias, 0);
    assert_int_equal(listener_at(&bench, 1)->domain, TF_CONFIG_DOMAIN_IPV6);
    assert_int_equal(bench.config.max_keepalive_s, 60);
    bench_close(&bench);
}

static void test_listener_lines(void **state)
{
    static const struct {
        const char *line;
        bool good;
        unsigned port;
        const char *host;
    } rows[] = {
        {"listener 1883", true, 1883, NULL},
        {"listener 0", true, 0, NULL},
        {"listener 65535 *", true, 65535, NULL},
        {"listener 1883 localhost", true, 1883, "localhost"},
        {"listener 1883 [::1]", true, 1883, "::1"},
        {"listener 1883 fe80::1%eth0", true, 1883, "fe80::1%eth0"},
        {"listener 1883 broker-1.example.org", true, 1883, "broker-1.example.org"},
        {"listener 65536", false, 0, NULL},
        {"listener -1", false, 0, NULL},
        {"listener mqtt", false, 0, NULL},
        {"listener", false, 0, NULL},
        {"listener 0 /run/mqtt.sock", false, 0, NULL},
        {"listener 1883 \"localhost\"", false, 0, NULL},
        {"listener 1883 [localhost]", false, 0, NULL},
        {"listener 1883 1.2.3.4:5", false, 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench bench;
        char line[100];
        enum tf_err err;

        bench_open(&bench);
        snprintf(line, sizeof(line), "%s\n", rows[i].line);
        err = bench_parse(&bench, line);
        if (rows[i].good != (err == TF_OK))
            fail_msg("%s: %s", rows[i].line, tf_err_name(err));
        if (rows[i].good) {
            assert_int_equal(listener_at(&bench, 0)->port, rows[i].port);
            if (rows[i].host)
                assert_string_equal(listener_at(&bench, 0)->host, rows[i].host);
            else
                assert_null(listener_at(&bench, 0)->host);
        }
        bench_close(&bench);
    }
}

static void test_protocols_are_known_by_name(void **state)
{
    static const char *const known[] = {"websockets", "coaps", "coap+tcp", "amqps", "http"};
    struct bench bench;
    char text[100];

    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        bench_open(&bench);
        snprintf(text, sizeof(text), "listener 1\nprotocol %s\n", known[i]);
        assert_int_equal(bench_parse(&bench, text), TF_PROTOCOL);
        assert_non_null(bench_find(&bench, TF_CONFIG_ERROR, "not available in this version"));
        assert_int_equal(bench.report.items[0].column, 10);
        bench_close(&bench);
    }
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 1\nprotocol gopher\n"), TF_PROTOCOL);
    assert_non_null(
        bench_find(&bench, TF_CONFIG_ERROR, "must be mqtt, coap or amqp, not `gopher`"));
    bench_close(&bench);
}

/* ---- AMQP ---- */

static void test_amqp_listener(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 5672\n"
                                         "protocol amqp\n"
                                         "listener 5673 ::1\n"
                                         "protocol amqp\n"
                                         "max_connections 7\n"
                                         "amqp_max_frame_size 512\n"
                                         "amqp_max_sessions 3\n"
                                         "amqp_max_links 65536\n"
                                         "amqp_max_unsettled 9\n"
                                         "amqp_idle_timeout 0\n"),
                     TF_OK);
    assert_int_equal(bench.report.count, 0);
    assert_int_equal(listener_at(&bench, 0)->protocol, TF_CONFIG_PROTOCOL_AMQP);
    assert_int_equal(listener_at(&bench, 0)->amqp_max_frame_size, 131072);
    assert_int_equal(listener_at(&bench, 0)->amqp_max_sessions, 256);
    assert_int_equal(listener_at(&bench, 0)->amqp_max_links, 1024);
    assert_int_equal(listener_at(&bench, 0)->amqp_max_unsettled, 65536);
    assert_int_equal(listener_at(&bench, 0)->amqp_idle_timeout_s, 60);
    assert_int_equal(listener_at(&bench, 1)->max_connections, 7);
    assert_int_equal(listener_at(&bench, 1)->amqp_max_frame_size, 512);
    assert_int_equal(listener_at(&bench, 1)->amqp_max_sessions, 3);
    assert_int_equal(listener_at(&bench, 1)->amqp_max_links, 65536);
    assert_int_equal(listener_at(&bench, 1)->amqp_max_unsettled, 9);
    assert_int_equal(listener_at(&bench, 1)->amqp_idle_timeout_s, 0);
    bench_close(&bench);

    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 5672\n"
                                         "protocol amqp\n"
                                         "max_qos 1\n"
                                         "listener 1883\n"
                                         "amqp_max_links 1\n"),
                     TF_OK);
    assert_non_null(bench_find(&bench, TF_CONFIG_WARNING,
                               "`max_qos` has no effect on a listener with `protocol amqp`"));
    assert_non_null(
        bench_find(&bench, TF_CONFIG_WARNING,
                   "`amqp_max_links` has no effect on a listener with `protocol mqtt`"));
    bench_close(&bench);

    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 5672\nprotocol amqp\n"
                                         "amqp_max_frame_size 511\n"),
                     TF_PROTOCOL);
    assert_non_null(bench_find(&bench, TF_CONFIG_ERROR, "from 512 to 1048576 bytes, not `511`"));
    bench_close(&bench);
}

/* ---- CoAP ---- */

static void test_coap_listener(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 5683\n"
                                         "protocol coap\n"
                                         "listener 5684 ::1\n"
                                         "coap_ack_timeout_ms 100\n"
                                         "coap_max_retransmit 0\n"
                                         "coap_nstart 3\n"
                                         "coap_max_observers 0\n"
                                         "coap_notify con\n"
                                         "coap_multicast true\n"
                                         "protocol coap\n" /* in whatever order */
                                         "listener 1883\n"
                                         "coap_max_peers 7\n" /* global, wherever it stands */
                                         "coap_max_replies 8\n"
                                         "coap_max_bodies 9\n"
                                         "coap_max_body_bytes 10000000000\n"),
                     TF_OK);
    assert_int_equal(bench.report.count, 0);
    assert_int_equal(listener_at(&bench, 0)->protocol, TF_CONFIG_PROTOCOL_COAP);
    assert_int_equal(listener_at(&bench, 0)->coap_ack_timeout_ms, 2000);
    assert_int_equal(listener_at(&bench, 0)->coap_max_retransmit, 4);
    assert_int_equal(listener_at(&bench, 0)->coap_nstart, 1);
    assert_int_equal(listener_at(&bench, 0)->coap_max_observers, 65536);
    assert_false(listener_at(&bench, 0)->coap_notify_con);
    assert_false(listener_at(&bench, 0)->coap_multicast);
    assert_int_equal(listener_at(&bench, 1)->protocol, TF_CONFIG_PROTOCOL_COAP);
    assert_int_equal(listener_at(&bench, 1)->coap_ack_timeout_ms, 100);
    assert_int_equal(listener_at(&bench, 1)->coap_max_retransmit, 0);
    assert_int_equal(listener_at(&bench, 1)->coap_nstart, 3);
    assert_int_equal(listener_at(&bench, 1)->coap_max_observers, 0);
    assert_true(listener_at(&bench, 1)->coap_notify_con);
    assert_true(listener_at(&bench, 1)->coap_multicast);
    assert_int_equal(listener_at(&bench, 2)->protocol, TF_CONFIG_PROTOCOL_MQTT);
    assert_int_equal(bench.config.coap_max_peers, 7);
    assert_int_equal(bench.config.coap_max_replies, 8);
    assert_int_equal(bench.config.coap_max_bodies, 9);
    assert_int_equal(bench.config.coap_max_body_bytes, 10000000000);
    bench_close(&bench);

    bench_open(&bench);
    assert_int_equal(bench.config.coap_max_peers, 100000);
    assert_int_equal(bench.config.coap_max_replies, 65536);
    assert_int_equal(bench.config.coap_max_bodies, 1000);
    assert_int_equal(bench.config.coap_max_body_bytes, 64 << 20);
    bench_close(&bench);
}

static void test_coap_values_that_are_wrong(void **state)
{
    static const char *const lines[] = {
        "coap_ack_timeout_ms 0", "coap_ack_timeout_ms 2s",  "coap_max_retransmit 17",
        "coap_nstart 0",         "coap_max_observers -1",   "coap_notify maybe",
        "coap_multicast yes",    "coap_max_peers 0",        "coap_max_replies 0",
        "coap_max_bodies 0",     "coap_max_body_bytes 100",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct bench bench;
        char text[100];

        bench_open(&bench);
        snprintf(text, sizeof(text), "listener 1\nprotocol coap\n%s\n", lines[i]);
        if (bench_parse(&bench, text) != TF_PROTOCOL)
            fail_msg("%s is taken", lines[i]);
        assert_int_equal(bench.report.items[0].line, 3);
        bench_close(&bench);
    }
}

/* A key that the listener's protocol has no use for, said before or after `protocol`. */
static void test_keys_of_another_protocol(void **state)
{
    static const struct {
        const char *text;
        unsigned line; /* of the warning; 0: there is none */
        const char *warning;
    } rows[] = {
        {"listener 1\ncoap_nstart 1\n", 2,
         "`coap_nstart` has no effect on a listener with "
         "`protocol mqtt`"},
        {"listener 1\ncoap_nstart 1\nprotocol coap\n", 0, NULL},
        {"listener 1\nprotocol coap\ncoap_notify con\nlistener 2\nmax_qos 1\n", 0, NULL},
        {"listener 1\nprotocol coap\nmax_qos 1\nlistener 2\n", 3, "`max_qos`"},
        {"listener 1\nprotocol coap\nmaximum_qos 1\n", 3, "`maximum_qos`"},
        {"listener 1\nprotocol coap\nmax_connections 5\n", 3, "`max_connections`"},
        {"listener 1\nprotocol coap\nmax_topic_alias 5\n", 3, "`protocol coap`"},
        {"listener 1\nprotocol coap\nsocket_domain ipv4\n", 0, NULL},
        {"port 1\ncoap_multicast true\nlistener 2\n", 2, "`coap_multicast`"},
        {"port 1\nprotocol coap\ncoap_multicast true\nlistener 2\n", 0, NULL},
        {"coap_multicast true\nlistener 2\n", 0, "before any"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench bench;
        size_t expected = rows[i].warning != NULL;

        bench_open(&bench);
        assert_int_equal(bench_parse(&bench, rows[i].text), TF_OK);
        if (bench_count(&bench, TF_CONFIG_WARNING) != expected)
            fail_msg("%s: warns or does not", rows[i].text);
        if (expected) {
            assert_non_null(bench_find(&bench, TF_CONFIG_WARNING, rows[i].warning));
            assert_int_equal(bench.report.items[0].line, rows[i].line);
        }
        bench_close(&bench);
    }
}

static void test_default_listener_for_coap(void **state)
{
    static const struct {
        const char *text;
        unsigned port;
    } rows[] = {
        {"bind_address 127.0.0.1\nprotocol coap\n", 5683},
        {"bind_address 127.0.0.1\n", 1883},
        {"port 1883\nprotocol coap\n", 1883},
        {"socket_domain ipv4\nprotocol coap\n", 5683},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench bench;

        bench_open(&bench);
        assert_int_equal(bench_parse(&bench, rows[i].text), TF_OK);
        assert_int_equal(bench.config.listener_count, 1);
        assert_int_equal(listener_at(&bench, 0)->port, rows[i].port);
        bench_close(&bench);
    }
}

/* ---- the default listener ---- */

/* The default listener opens as mosquitto's does: by a port, an address, or some options. */
static void test_default_listener(void **state)
{
    static const struct {
        const char *text;
        size_t listeners;
        bool warns;
    } rows[] = {
        {"port 1884\n", 1, false},
        {"bind_address 127.0.0.1\n", 1, false},
        {"port 1884\nlistener 1883\n", 2, false},
        {"listener 1883\nport 1884\n", 2, false},
        {"max_connections 10\n", 1, true},
        {"max_connections 10\nlistener 1883\n", 2, true},
        {"max_qos 1\nlistener 1883\n", 2, true},
        {"socket_domain ipv4\nlistener 1883\n", 2, true},
        {"max_connections -1\nlistener 1883\n", 1, false},
        {"max_qos 2\nlistener 1883\n", 1, false},
        {"protocol mqtt\nlistener 1883\n", 1, false},
        {"max_topic_alias 3\nlistener 1883\n", 1, true}, /* it has no effect, which is said */
        {"allow_anonymous true\nlistener 1883\n", 1, false},
        {"listener 1883\nmax_connections 10\n", 1, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench bench;

        bench_open(&bench);
        assert_int_equal(bench_parse(&bench, rows[i].text), TF_OK);
        if (bench.config.listener_count != rows[i].listeners)
            fail_msg("%s: %zu listeners", rows[i].text, bench.config.listener_count);
        if (rows[i].warns != (bench_find(&bench, TF_CONFIG_WARNING, "before any") != NULL))
            fail_msg("%s: warns or does not", rows[i].text);
        bench_close(&bench);
    }
}

static void test_default_listener_has_its_options(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "bind_address 127.0.0.2\nport 1884\nmax_qos 1\n"
                                         "bind_address 127.0.0.3\n"
                                         "listener 1883\nmax_qos 0\n"),
                     TF_OK);
    assert_int_equal(listener_at(&bench, 1)->port, 1884);
    assert_string_equal(listener_at(&bench, 1)->host, "127.0.0.3");
    assert_int_equal(listener_at(&bench, 1)->max_qos, 1);
    assert_int_equal(listener_at(&bench, 0)->max_qos, 0);
    bench_close(&bench);
}

static void test_without_listeners_it_is_loopback(void **state)
{
    static const struct {
        enum tf_config_protocol protocol;
        uint16_t port;
    } defaults[] = {{TF_CONFIG_PROTOCOL_MQTT, 1883},
                    {TF_CONFIG_PROTOCOL_COAP, 5683},
                    {TF_CONFIG_PROTOCOL_AMQP, 5672}};
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "max_packet_size 5000\n"), TF_OK);
    assert_int_equal(bench.config.listener_count, 0);
    finish(&bench);
    assert_int_equal(bench.config.listener_count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(listener_at(&bench, i)->host, i % 2 ? "::1" : "127.0.0.1");
        assert_int_equal(listener_at(&bench, i)->may_fail, i % 2);
        assert_int_equal(listener_at(&bench, i)->protocol, defaults[i / 2].protocol);
        assert_int_equal(listener_at(&bench, i)->port, defaults[i / 2].port);
        assert_true(listener_at(&bench, i)->access.allow_anonymous);
        assert_true(listener_at(&bench, i)->access.allow_zero_length_clientid);
        assert_string_equal(listener_at(&bench, i)->access.auto_id_prefix, "auto-");
    }
    assert_int_equal(bench.report.count, 0);
    bench_close(&bench);
}

/* One listener of its own, as any mosquitto.conf has, and there are no others. */
static void test_a_listener_replaces_the_defaults(void **state)
{
    static const char *const texts[] = {"listener 1883\n", "port 1883\n",
                                        "listener 5683\nprotocol coap\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct bench bench;

        bench_open(&bench);
        assert_int_equal(bench_parse(&bench, texts[i]), TF_OK);
        finish(&bench);
        assert_int_equal(bench.config.listener_count, 1);
        bench_close(&bench);
    }
}

/* ---- who may connect ---- */

static void test_anonymous(void **state)
{
    static const struct {
        const char *text;
        const char *url; /* of --listen */
        bool allowed;
    } rows[] = {
        {"listener 1883\n", NULL, false},
        {"listener 1883 127.0.0.1\n", NULL, false}, /* mosquitto: any listener makes it false */
        {"allow_anonymous true\nlistener 1883\n", NULL, true},
        {"listener 1883\nallow_anonymous true\n", NULL, true},
        {"", NULL, true},
        {"allow_anonymous false\n", NULL, false},
        {"", "mqtt://127.0.0.1:0", true},
        {"", "mqtt://localhost", true},
        {"", "mqtt://[::1]:1884", true},
        {"", "mqtt://0.0.0.0", false},
        {"", "mqtt://:1883", false},
        {"", "mqtt://127.0.0.1.example.org", false}, /* a name, not an address */
        {"allow_anonymous true\n", "mqtt://0.0.0.0", true},
        {"allow_anonymous false\n", "mqtt://127.0.0.1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench bench;

        bench_open(&bench);
        assert_int_equal(bench_parse(&bench, rows[i].text), TF_OK);
        if (rows[i].url)
            assert_int_equal(tf_config_add_url(&bench.config, rows[i].url, &bench.report), TF_OK);
        finish(&bench);
        for (size_t j = 0; j < bench.config.listener_count; j++)
            if (listener_at(&bench, j)->access.allow_anonymous != rows[i].allowed)
                fail_msg("%s %s", rows[i].text, rows[i].url ? rows[i].url : "");
        assert_int_equal(bench_find(&bench, TF_CONFIG_WARNING, "lets no client in") == NULL,
                         rows[i].allowed);
        bench_close(&bench);
    }
}

static void test_per_listener_settings(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "per_listener_settings true\n"
                                         "listener 1\n"
                                         "allow_anonymous true\n"
                                         "auto_id_prefix one-\n"
                                         "listener 2\n"
                                         "allow_zero_length_clientid false\n"),
                     TF_OK);
    finish(&bench);
    assert_true(listener_at(&bench, 0)->access.allow_anonymous);
    assert_true(listener_at(&bench, 0)->access.allow_zero_length_clientid);
    assert_string_equal(listener_at(&bench, 0)->access.auto_id_prefix, "one-");
    assert_false(listener_at(&bench, 1)->access.allow_anonymous);
    assert_false(listener_at(&bench, 1)->access.allow_zero_length_clientid);
    assert_string_equal(listener_at(&bench, 1)->access.auto_id_prefix, "auto-");
    bench_close(&bench);

    /* without it, the same keys are everybody's, wherever they stand */
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 1\n"
                                         "allow_anonymous true\n"
                                         "listener 2\n"
                                         "auto_id_prefix two-\n"),
                     TF_OK);
    finish(&bench);
    assert_true(listener_at(&bench, 1)->access.allow_anonymous);
    assert_string_equal(listener_at(&bench, 0)->access.auto_id_prefix, "two-");
    bench_close(&bench);

    /* before any listener it is the default listener's */
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "per_listener_settings true\n"
                                         "allow_anonymous true\n"
                                         "port 3\n"
                                         "listener 1\n"),
                     TF_OK);
    finish(&bench);
    assert_false(listener_at(&bench, 0)->access.allow_anonymous);
    assert_int_equal(listener_at(&bench, 1)->port, 3);
    assert_true(listener_at(&bench, 1)->access.allow_anonymous);
    bench_close(&bench);
}

static void test_per_listener_settings_come_first(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "allow_anonymous true\nper_listener_settings true\n"),
                     TF_PROTOCOL);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "must stand before")->line, 2);
    bench_close(&bench);
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "allow_anonymous true\nper_listener_settings false\n"),
                     TF_OK);
    bench_close(&bench);
}

/* ---- URLs ---- */

/* What --listen takes, and what comes of it. */
static const struct {
    const char *url;
    enum tf_err err;
    const char *host;
    unsigned port;
} urls[] = {
    {"mqtt://127.0.0.1:1884", TF_OK, "127.0.0.1", 1884},
    {"mqtt://localhost", TF_OK, "localhost", 1883},
    {"mqtt://localhost/", TF_OK, "localhost", 1883},
    {"mqtt://localhost:0", TF_OK, "localhost", 0},
    {"mqtt://localhost:65535", TF_OK, "localhost", 65535},
    {"mqtt://[::1]:1884", TF_OK, "::1", 1884},
    {"mqtt://[::1]", TF_OK, "::1", 1883},
    {"mqtt://[::]:0/", TF_OK, "::", 0},
    {"mqtt://[fe80::1%eth0]:1", TF_OK, "fe80::1%eth0", 1},
    {"mqtt://", TF_OK, NULL, 1883},
    {"mqtt://*:1884", TF_OK, NULL, 1884},
    {"mqtt://:1884", TF_OK, NULL, 1884},
    {"mqtt://localhost:65536", TF_PROTOCOL, NULL, 0},
    {"mqtt://localhost:", TF_PROTOCOL, NULL, 0},
    {"mqtt://localhost:x", TF_PROTOCOL, NULL, 0},
    {"mqtt://localhost:-1", TF_PROTOCOL, NULL, 0},
    {"mqtt://::1", TF_PROTOCOL, NULL, 0},
    {"mqtt://::1:1883", TF_PROTOCOL, NULL, 0},
    {"mqtt://[::1", TF_PROTOCOL, NULL, 0},
    {"mqtt://[::1]1883", TF_PROTOCOL, NULL, 0},
    {"mqtt://[localhost]", TF_PROTOCOL, NULL, 0},
    {"mqtt://[]", TF_PROTOCOL, NULL, 0},
    {"mqtt://localhost/a/b", TF_PROTOCOL, NULL, 0},
    {"mqtt://user@localhost", TF_PROTOCOL, NULL, 0},
    {"mqtt://a b", TF_PROTOCOL, NULL, 0},
    {"mqtt:localhost", TF_PROTOCOL, NULL, 0},
    {"localhost:1883", TF_PROTOCOL, NULL, 0},
    {"", TF_PROTOCOL, NULL, 0},
    {"://", TF_PROTOCOL, NULL, 0},
    {"gopher://localhost", TF_PROTOCOL, NULL, 0},
    {"mqtts://localhost", TF_UNSUPPORTED, NULL, 0},
    {"coap://localhost", TF_OK, "localhost", 5683},
    {"coap://localhost:1883/", TF_OK, "localhost", 1883},
    {"coap://[::1]:0", TF_OK, "::1", 0},
    {"coap://*", TF_OK, NULL, 5683},
    {"coap://localhost/a", TF_PROTOCOL, NULL, 0},
    {"coaps://localhost", TF_UNSUPPORTED, NULL, 0},
    {"coap+tcp://localhost", TF_UNSUPPORTED, NULL, 0},
    {"amqp://localhost", TF_OK, "localhost", 5672},
    {"amqp://[::1]:0", TF_OK, "::1", 0},
    {"amqp://localhost/examples", TF_PROTOCOL, NULL, 0},
    {"amqps://localhost", TF_UNSUPPORTED, NULL, 0},
};

static void test_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct bench bench;
        enum tf_err err;

        bench_open(&bench);
        err = tf_config_add_url(&bench.config, urls[i].url, &bench.report);
        if (err != urls[i].err)
            fail_msg("%s: %s", urls[i].url, tf_err_name(err));
        if (err) {
            assert_int_equal(bench.report.errors, 1);
            assert_int_equal(bench.config.listener_count, 0);
        } else {
            assert_int_equal(listener_at(&bench, 0)->port, urls[i].port);
            assert_int_equal(listener_at(&bench, 0)->protocol,
                             urls[i].url[0] == 'c'   ? TF_CONFIG_PROTOCOL_COAP
                             : urls[i].url[0] == 'a' ? TF_CONFIG_PROTOCOL_AMQP
                                                     : TF_CONFIG_PROTOCOL_MQTT);
            assert_true(listener_at(&bench, 0)->from_command);
            if (urls[i].host)
                assert_string_equal(listener_at(&bench, 0)->host, urls[i].host);
            else
                assert_null(listener_at(&bench, 0)->host);
        }
        bench_close(&bench);
    }
}

static void test_urls_add_to_the_file(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 1883\nallow_anonymous true\n"), TF_OK);
    assert_int_equal(tf_config_add_url(&bench.config, "mqtt://localhost:0", &bench.report), TF_OK);
    finish(&bench);
    assert_int_equal(bench.config.listener_count, 2);
    assert_false(listener_at(&bench, 0)->from_command);
    assert_true(listener_at(&bench, 1)->from_command);
    bench_close(&bench);
}

static void test_listeners_are_bounded(void **state)
{
    char text[TF_CONFIG_LISTENER_MAX * 11 + 20] = "";
    struct bench bench;

    (void)state;
    for (size_t i = 0; i < TF_CONFIG_LISTENER_MAX; i++)
        strcat(text, "listener 1\n");
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, text), TF_OK);
    assert_int_equal(tf_config_add_url(&bench.config, "mqtt://x", &bench.report), TF_LIMIT);
    bench_close(&bench);
    strcat(text, "listener 1\n");
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, text), TF_PROTOCOL);
    assert_non_null(bench_find(&bench, TF_CONFIG_ERROR, "more than 256 listeners"));
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_belong_to_the_listener_above),
        cmocka_unit_test(test_listener_lines),
        cmocka_unit_test(test_protocols_are_known_by_name),
        cmocka_unit_test(test_amqp_listener),
        cmocka_unit_test(test_coap_listener),
        cmocka_unit_test(test_coap_values_that_are_wrong),
        cmocka_unit_test(test_keys_of_another_protocol),
        cmocka_unit_test(test_default_listener_for_coap),
        cmocka_unit_test(test_default_listener),
        cmocka_unit_test(test_default_listener_has_its_options),
        cmocka_unit_test(test_without_listeners_it_is_loopback),
        cmocka_unit_test(test_a_listener_replaces_the_defaults),
        cmocka_unit_test(test_anonymous),
        cmocka_unit_test(test_per_listener_settings),
        cmocka_unit_test(test_per_listener_settings_come_first),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_urls_add_to_the_file),
        cmocka_unit_test(test_listeners_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
