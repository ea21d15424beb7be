/*
 * The table of keys: every key of mosquitto 2.0 is answered by its name, what cannot be honoured
 * safely refuses to start, and --check names what loses data.
 */
#include "unit/broker/test_config.h"

#include <stdio.h>

#include "broker/config_keys.h"

/*
 * All keys that mosquitto 2.0.11 takes, from its conf(5), its example file, and the old names that
 * its parser still knows; written down by hand, so that a row lost from the table is noticed.
 * D done, N nothing to do (a note), W not done (a warning), E refused (an error); with a value.
 */
static const struct {
    char answer;
    const char *line;
} mosquitto_keys[] = {
    {'E', "acl_file /etc/mosquitto/aclfile"},
    {'D', "allow_anonymous true"},
    {'N', "allow_duplicate_messages true"},
    {'D', "allow_zero_length_clientid true"},
    {'E', "auth_opt_db_host localhost"},
    {'E', "auth_plugin /usr/lib/auth.so"},
    {'E', "auth_plugin_deny_special_chars false"},
    {'N', "auth_plugin_deny_special_chars true"},
    {'D', "auto_id_prefix auto-"},
    {'N', "autosave_interval 1800"},
    {'N', "autosave_on_changes false"},
    {'N', "check_retain_source true"},
    {'D', "clientid_prefixes secure-"},
    {'D', "connection_messages true"},
    {'D', "log_dest stderr"},
    {'W', "log_dest syslog"},
    {'W', "log_dest topic"},
    {'W', "log_dest dlt"},
    {'W', "log_facility 5"},
    {'D', "log_timestamp true"},
    {'D', "log_timestamp_format %Y-%m-%dT%H:%M:%S"},
    {'D', "log_type error"},
    {'D', "log_type websockets"},
    {'W', "max_inflight_bytes 1000"},
    {'N', "max_inflight_bytes 0"},
    {'D', "max_inflight_messages 20"},
    {'D', "max_keepalive 65535"},
    {'D', "max_packet_size 100000"},
    {'D', "max_queued_bytes 0"},
    {'D', "max_queued_messages 1000"},
    {'D', "memory_limit 0"},
    {'D', "message_size_limit 0"},
    {'E', "password_file /etc/mosquitto/passwd"},
    {'D', "per_listener_settings false"},
    {'D', "persistence true"},
    {'D', "persistence false"},
    {'D', "retained_persistence true"},
    {'N', "persistence_file mosquitto.db"},
    {'D', "persistence_location /var/lib/mosquitto/"},
    {'D', "persistent_client_expiration 2m"},
    {'D', "pid_file /run/mosquitto/mosquitto.pid"},
    {'E', "plugin /usr/lib/mosquitto_dynamic_security.so"},
    {'E', "plugin_opt_config_file /etc/dynsec.json"},
    {'E', "psk_file /etc/mosquitto/pskfile"},
    {'D', "queue_qos0_messages false"},
    {'D', "retain_available true"},
    {'N', "retry_interval 20"},
    {'N', "set_tcp_nodelay true"},
    {'D', "sys_interval 10"},
    {'D', "upgrade_outgoing_qos false"},
    {'D', "user mosquitto"},
    /* listeners */
    {'D', "bind_address localhost"},
    {'D', "port 1883"},
    {'D', "listener 1883"},
    {'E', "bind_interface eth0"},
    {'W', "http_dir /var/www"},
    {'D', "max_connections -1"},
    {'D', "max_qos 2"},
    {'D', "maximum_qos 2"},
    {'D', "max_topic_alias 10"},
    {'E', "mount_point site1/"},
    {'D', "protocol mqtt"},
    {'E', "protocol websockets"},
    {'D', "socket_domain ipv4"},
    {'E', "use_username_as_clientid true"},
    {'N', "use_username_as_clientid false"},
    {'N', "websockets_log_level 0"},
    {'N', "websockets_headers_size 1024"},
    {'E', "cafile /etc/ca.crt"},
    {'E', "capath /etc/certs"},
    {'E', "certfile /etc/server.crt"},
    {'E', "ciphers DEFAULT"},
    {'E', "ciphers_tls1.3 TLS_AES_128_GCM_SHA256"},
    {'E', "crlfile /etc/crl.pem"},
    {'E', "dhparamfile /etc/dh.pem"},
    {'E', "keyfile /etc/server.key"},
    {'E', "require_certificate true"},
    {'N', "require_certificate false"},
    {'E', "tls_engine tpm"},
    {'E', "tls_engine_kpass_sha1 00"},
    {'E', "tls_keyform pem"},
    {'E', "tls_version tlsv1.2"},
    {'E', "use_identity_as_username true"},
    {'N', "use_identity_as_username false"},
    {'E', "use_subject_as_username true"},
    {'E', "psk_hint hint"},
    /* bridges */
    {'W', "connection name"},
    {'D', "address 127.0.0.1:1884"},
    {'W', "addresses 127.0.0.1:1884"},
    {'W', "bridge_attempt_unsubscribe true"},
    {'W', "bridge_bind_address 127.0.0.1"},
    {'W', "bridge_max_packet_size 0"},
    {'W', "bridge_outgoing_retain true"},
    {'W', "bridge_protocol_version mqttv311"},
    {'W', "cleansession true"},
    {'W', "local_cleansession true"},
    {'W', "keepalive_interval 60"},
    {'W', "idle_timeout 60"},
    {'W', "local_clientid x"},
    {'W', "local_password x"},
    {'W', "local_username x"},
    {'W', "notifications true"},
    {'W', "notifications_local_only true"},
    {'W', "notification_topic x"},
    {'W', "remote_clientid x"},
    {'W', "remote_password x"},
    {'W', "remote_username x"},
    {'W', "clientid x"},
    {'W', "password x"},
    {'W', "username x"},
    {'W', "restart_timeout 10 30"},
    {'W', "round_robin false"},
    {'W', "start_type automatic"},
    {'W', "threshold 10"},
    {'W', "topic # both 2 local/ remote/"},
    {'W', "try_private true"},
    {'W', "bridge_alpn x"},
    {'W', "bridge_cafile x"},
    {'W', "bridge_capath x"},
    {'W', "bridge_certfile x"},
    {'W', "bridge_identity x"},
    {'W', "bridge_insecure false"},
    {'W', "bridge_keyfile x"},
    {'W', "bridge_psk 00"},
    {'W', "bridge_require_ocsp false"},
    {'W', "bridge_tls_version tlsv1.2"},
};

static void test_every_key_of_mosquitto_is_answered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mosquitto_keys) / sizeof(mosquitto_keys[0]); i++) {
        const char *line = mosquitto_keys[i].line;
        char answer = mosquitto_keys[i].answer, text[120];
        struct bench bench;
        enum tf_err err;

        bench_open(&bench);
        snprintf(text, sizeof(text), "listener 18830\n%s\n", line);
        err = bench_parse(&bench, text);
        if ((answer == 'E') != (err == TF_PROTOCOL))
            fail_msg("%s: %s", line, tf_err_name(err));
        if (answer == 'D')
            assert_int_equal(bench.report.count, 0);
        else if (bench.report.count != 1 ||
                 bench.report.items[0].severity != (answer == 'E'   ? TF_CONFIG_ERROR
                                                    : answer == 'W' ? TF_CONFIG_WARNING
                                                                    : TF_CONFIG_NOTE))
            fail_msg("%s: answered otherwise", line);
        if (answer != 'D') { /* by name, with a reason, at its place */
            size_t length = strcspn(line, " ");

            assert_int_equal(bench.report.items[0].line, 2);
            if (!strstr(line, "_opt_"))
                assert_memory_equal(bench.report.items[0].text + 1, line, length);
            assert_true(strlen(bench.report.items[0].text) > length + 12);
        }
        bench_close(&bench);
    }
}

/* include_dir needs a disk; it is the one key that the table above leaves out. */
static void test_include_dir_is_known(void **state)
{
    struct tf_config_text name = {"include_dir", 11};

    (void)state;
    assert_non_null(tf_config_key_find(name));
}

/* The file that Debian installs, as it is (but for the folder, which a test does not have). */
static void test_debian_example(void **state)
{
    static const char text[] = "# Place your local configuration in /etc/mosquitto/conf.d/\n"
                               "#\n"
                               "# A full description of the configuration file is at\n"
                               "# /usr/share/doc/mosquitto/examples/mosquitto.conf.example\n"
                               "\n"
                               "pid_file /run/mosquitto/mosquitto.pid\n"
                               "\n"
                               "persistence true\n"
                               "persistence_location /var/lib/mosquitto/\n"
                               "\n"
                               "log_dest file /var/log/mosquitto/mosquitto.log\n"
                               "\n"
                               "include_dir /etc/mosquitto/conf.d\n";
    const struct memory_file files[] = {
        {"mosquitto.conf", text},
        {"/etc/mosquitto/conf.d/README", "Any files placed in this directory are read\n"},
        {"/etc/mosquitto/conf.d/lan.conf", "listener 1883\nallow_anonymous true\n"},
        {NULL, NULL},
    };
    const struct tf_config_io io = {(void *)files, memory_read, memory_list};
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, "mosquitto.conf", &io, &bench.report),
                     TF_OK);
    assert_int_equal(tf_config_finish(&bench.config, &bench.report), TF_OK);
    assert_string_equal(bench.config.pid_file, "/run/mosquitto/mosquitto.pid");
    assert_string_equal(bench.config.log_file, "/var/log/mosquitto/mosquitto.log");
    assert_int_equal(bench.config.log_dests, TF_CONFIG_LOG_TO_FILE);
    assert_true(bench.config.persistence);
    assert_int_equal(bench.config.listener_count, 1);
    assert_true(bench.config.listeners[0].access.allow_anonymous);
    assert_string_equal(bench.config.data, "/var/lib/mosquitto/");
    assert_int_equal(bench_count(&bench, TF_CONFIG_WARNING), 0);
    bench_close(&bench);
}

/* ---- --check ---- */

static void test_check_names_defaults_that_lose(void **state)
{
    static const char *const losing[] = {
        "`persistence false`",
        "`max_packet_size 1048576`",
        "`max_queued_messages 1000`",
        "`max_queued_bytes 67108864`",
        "`queue_qos0_messages false`",
        "`max_retained_messages 1000000`",
        "`max_retained_bytes 1073741824`",
        "`queue_default_max_messages 1000000`",
        "`queue_default_max_bytes 1073741824`",
    };
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(tf_config_finish(&bench.config, &bench.report), TF_OK);
    tf_config_check(&bench.config, &bench.report);
    for (size_t i = 0; i < sizeof(losing) / sizeof(losing[0]); i++)
        if (!bench_find(&bench, TF_CONFIG_NOTE, losing[i]))
            fail_msg("%s is not named", losing[i]);
    assert_int_equal(bench.report.count, sizeof(losing) / sizeof(losing[0]));
    assert_int_equal(bench.report.errors, 0);
    bench_close(&bench);
}

static void test_check_is_silent_about_what_was_said(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "data /d\nmax_packet_size 2000000\n"
                                         "max_queued_messages 100\nmax_queued_bytes 1000000\n"
                                         "queue_qos0_messages true\nmax_retained_messages 10\n"
                                         "max_retained_bytes 10\n"
                                         "queue_default_max_messages 10\n"
                                         "queue_default_max_bytes 10\n"),
                     TF_OK);
    assert_int_equal(tf_config_finish(&bench.config, &bench.report), TF_OK);
    tf_config_check(&bench.config, &bench.report);
    assert_int_equal(bench.report.count, 0);
    bench_close(&bench);
}

static void test_check_names_limits_taken_off(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "max_queued_messages 0\nmax_queued_bytes 0\n"
                                         "retain_available false\n"
                                         "persistent_client_expiration 1d\n"),
                     TF_OK);
    assert_int_equal(tf_config_finish(&bench.config, &bench.report), TF_OK);
    tf_config_check(&bench.config, &bench.report);
    assert_non_null(bench_find(&bench, TF_CONFIG_NOTE, "`max_queued_messages 0`: without"));
    assert_non_null(bench_find(&bench, TF_CONFIG_NOTE, "`max_queued_bytes 0`: without"));
    assert_non_null(bench_find(&bench, TF_CONFIG_NOTE, "retain_available"));
    assert_non_null(bench_find(&bench, TF_CONFIG_NOTE, "after 24 hours"));
    bench_close(&bench);
}

/* ---- the table ---- */

static void test_rows_are_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < tf_config_key_count; i++) {
        const struct tf_config_key *key = &tf_config_keys[i];
        struct tf_config_text name = {key->name, strlen(key->name)};

        if (key->name[name.length - 1] != '*' && tf_config_key_find(name) != key)
            fail_msg("%s is there twice", key->name);
        assert_non_null(key->help);
        assert_true(strlen(key->help) > 10);
        assert_true(name.length < 48);
        if (key->kind == TF_CONFIG_KIND_NUMBER)
            assert_true(key->least < key->most && key->width > 0);
        if (i > 0)
            assert_true(key->group >= tf_config_keys[i - 1].group);
        if (key->flags & TF_CONFIG_ALIAS)
            assert_int_equal(key->offset, tf_config_keys[i - 1].offset);
    }
}

static void test_nearest(void **state)
{
    static const struct {
        const char *name, *nearest;
        bool close;
    } rows[] = {
        {"listner", "listener", true},
        {"portt", "port", true},
        {"prot", "port", true}, /* two letters swapped are one slip */
        {"max-packet-size", "max_packet_size", true},
        {"LISTENER", "listener", true},
        {"", "user", false},
        {"qqqqqqqqqqqqqq", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_config_text name = {rows[i].name, strlen(rows[i].name)};
        bool close;
        const struct tf_config_key *key = tf_config_key_nearest(name, &close);

        if (rows[i].nearest && strcmp(key->name, rows[i].nearest) != 0)
            fail_msg("%s: %s", rows[i].name, key->name);
        assert_int_equal(close, rows[i].close);
    }
}

static void test_nearest_of_a_long_name(void **state)
{
    char name[5000];
    struct tf_config_text text = {name, sizeof(name)};
    bool close;

    (void)state;
    memset(name, 'x', sizeof(name));
    assert_non_null(tf_config_key_nearest(text, &close));
    assert_false(close);
}

/* ---- the report in print ---- */

static void test_report_in_print(void **state)
{
    struct bench bench;
    char *text = NULL;
    size_t length;
    FILE *out;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "max_qos 5\nset_tcp_nodelay true\nstart_type x\n"),
                     TF_PROTOCOL);
    tf_config_report_add(&bench.report, TF_CONFIG_WARNING, (struct tf_config_place){0}, "all");
    out = open_memstream(&text, &length);
    assert_non_null(out);
    assert_int_equal(tf_config_report_print(&bench.report, TF_CONFIG_WARNING, out), TF_OK);
    fclose(out);
    assert_string_equal(
        text, "t.conf:1:9: error: `max_qos` must be a whole number from 0 to 2, not `5`\n"
              "t.conf:3:1: warning: `start_type`: bridges are not available in this version: "
              "no connection to another broker is made\n"
              "warning: all\n");
    free(text);
    text = NULL;
    out = open_memstream(&text, &length);
    assert_non_null(out);
    assert_int_equal(tf_config_report_print(&bench.report, TF_CONFIG_NOTE, out), TF_OK);
    fclose(out);
    assert_non_null(strstr(text, "t.conf:2:1: note: `set_tcp_nodelay`: "));
    free(text);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_of_mosquitto_is_answered),
        cmocka_unit_test(test_include_dir_is_known),
        cmocka_unit_test(test_debian_example),
        cmocka_unit_test(test_check_names_defaults_that_lose),
        cmocka_unit_test(test_check_is_silent_about_what_was_said),
        cmocka_unit_test(test_check_names_limits_taken_off),
        cmocka_unit_test(test_rows_are_sound),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_nearest_of_a_long_name),
        cmocka_unit_test(test_report_in_print),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
