/*
 * Reading a configuration: every kind of value, every kind of mistake, files and what they include.
 */
#include "unit/broker/test_config.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- values ---- */

struct value_row {
    const char *line;
    bool good;
    size_t offset; /* in struct tf_config */
    size_t width;
    uint64_t number;
};

#define FIELD(name) offsetof(struct tf_config, name), sizeof(((struct tf_config *)0)->name)
#define BAD 0, 0, 0

static const struct value_row value_rows[] = {
    /* numbers: below, least, most, above, and what is no number */
    {"max_packet_size 19", false, BAD},
    {"max_packet_size 20", true, FIELD(max_packet_size), 20},
    {"max_packet_size 268435456", true, FIELD(max_packet_size), 268435456},
    {"max_packet_size 268435457", false, BAD},
    {"max_packet_size 0", false, BAD},
    {"max_packet_size -1", false, BAD},
    {"max_packet_size 1e6", false, BAD},
    {"max_packet_size 0x100", false, BAD},
    {"max_packet_size 99999999999999999999999999", false, BAD},
    {"max_packet_size +100", false, BAD},
    {"max_keepalive 9", false, BAD},
    {"max_keepalive 10", true, FIELD(max_keepalive_s), 10},
    {"max_keepalive 65535", true, FIELD(max_keepalive_s), 65535},
    {"max_keepalive 65536", false, BAD},
    {"sys_interval 0", true, FIELD(sys_interval_s), 0},
    {"sys_interval 65535", true, FIELD(sys_interval_s), 65535},
    {"sys_interval 65536", false, BAD},
    {"shards 0", true, FIELD(shards), 0},
    {"shards 64", true, FIELD(shards), 64},
    {"shards 65", false, BAD},
    {"connect_timeout 0", false, BAD},
    {"connect_timeout 3600", true, FIELD(connect_timeout_s), 3600},
    {"max_topic_levels 1", true, FIELD(max_topic_levels), 1},
    {"max_topic_levels 128", true, FIELD(max_topic_levels), 128},
    {"max_topic_levels 129", false, BAD},
    {"max_sessions 0", false, BAD},
    {"max_subscriptions 0", false, BAD},
    /* 0 for no limit, in fields of every width */
    {"max_inflight_messages 0", true, FIELD(max_inflight_messages), 65535},
    {"max_inflight_messages 1", true, FIELD(max_inflight_messages), 1},
    {"max_inflight_messages 65536", false, BAD},
    {"max_queued_messages 0", true, FIELD(max_queued_messages), TF_CONFIG_UNLIMITED},
    {"max_queued_messages 4294967294", true, FIELD(max_queued_messages), 4294967294},
    {"max_queued_messages 4294967295", false, BAD},
    {"max_queued_bytes 0", true, FIELD(max_queued_bytes), TF_CONFIG_UNLIMITED64},
    {"max_queued_bytes 18446744073709551614", true, FIELD(max_queued_bytes), UINT64_MAX - 1},
    {"max_queued_bytes 18446744073709551616", false, BAD},
    {"message_size_limit 0", true, FIELD(message_size_limit), TF_CONFIG_UNLIMITED},
    {"message_size_limit 268435455", true, FIELD(message_size_limit), 268435455},
    {"message_size_limit 268435456", false, BAD},
    {"memory_limit 0", true, FIELD(memory_limit), TF_CONFIG_UNLIMITED64},
    /* true and false, the four ways of mosquitto */
    {"queue_qos0_messages true", true, FIELD(queue_qos0_messages), 1},
    {"queue_qos0_messages 1", true, FIELD(queue_qos0_messages), 1},
    {"retain_available false", true, FIELD(retain_available), 0},
    {"retain_available 0", true, FIELD(retain_available), 0},
    {"retain_available TRUE", false, BAD},
    {"retain_available yes", false, BAD},
    {"retain_available 2", false, BAD},
    /* durations */
    {"persistent_client_expiration 1h", true, FIELD(persistent_client_expiration_s), 3600},
    {"persistent_client_expiration 14d", true, FIELD(persistent_client_expiration_s), 1209600},
    {"persistent_client_expiration 2w", true, FIELD(persistent_client_expiration_s), 1209600},
    {"persistent_client_expiration 2m", true, FIELD(persistent_client_expiration_s), 5184000},
    {"persistent_client_expiration 1y", true, FIELD(persistent_client_expiration_s), 31536000},
    {"persistent_client_expiration 999999999999y", true, FIELD(persistent_client_expiration_s),
     TF_CONFIG_UNLIMITED},
    {"persistent_client_expiration 0d", false, BAD},
    {"persistent_client_expiration 2", false, BAD},
    {"persistent_client_expiration d", false, BAD},
    {"persistent_client_expiration 2x", false, BAD},
    {"persistent_client_expiration -2d", false, BAD},
    {"persistent_client_expiration 99999999999999999999999x", false, BAD},
    /* the log */
    {"log_type error", true, FIELD(log_types), TF_CONFIG_LOG_ERROR},
    {"log_type all", true, FIELD(log_types), 127},
    {"log_type none", true, FIELD(log_types), 0},
    {"log_type errors", false, BAD},
    {"log_dest stdout", true, FIELD(log_dests), TF_CONFIG_LOG_TO_STDOUT},
    {"log_dest none", true, FIELD(log_dests), 0},
    {"log_dest syslog", true, FIELD(log_dests), TF_CONFIG_LOG_TO_STDERR},
    {"log_dest file /tmp/x y", true, FIELD(log_dests), TF_CONFIG_LOG_TO_FILE},
    {"log_dest file", false, BAD},
    {"log_dest printer", false, BAD},
};

static uint64_t field_of(const struct tf_config *config, const struct value_row *row)
{
    const char *field = (const char *)config + row->offset;
    uint64_t number = 0;

    memcpy(&number, field, row->width); /* little-endian, as every machine that runs this test */
    return number;
}

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(value_rows) / sizeof(value_rows[0]); i++) {
        const struct value_row *row = &value_rows[i];
        struct bench bench;
        char line[200];
        enum tf_err err;

        bench_open(&bench);
        snprintf(line, sizeof(line), "%s\n", row->line);
        err = bench_parse(&bench, line);
        if (row->good != (err == TF_OK))
            fail_msg("%s: %s", row->line, tf_err_name(err));
        if (row->good && field_of(&bench.config, row) != row->number)
            fail_msg("%s: stored as %" PRIu64, row->line, field_of(&bench.config, row));
        if (!row->good) {
            assert_int_equal(err, TF_PROTOCOL);
            assert_int_equal(bench.report.errors, 1);
            assert_int_equal(bench.report.items[0].line, 1);
            assert_int_equal(bench.report.items[0].column, strcspn(row->line, " ") + 2);
        }
        bench_close(&bench);
    }
}

static void test_defaults(void **state)
{
    struct bench bench;
    struct tf_config *config = &bench.config;

    (void)state;
    bench_open(&bench);
    assert_int_equal(config->shards, 0);
    assert_int_equal(config->global_max_connections, 100000);
    assert_int_equal(config->connect_timeout_s, 10);
    assert_int_equal(config->connect_max_bytes, 65536);
    assert_int_equal(config->max_packet_size, 1 << 20);
    assert_int_equal(config->message_size_limit, TF_CONFIG_UNLIMITED);
    assert_int_equal(config->max_topic_levels, 128);
    assert_int_equal(config->max_keepalive_s, 65535);
    assert_int_equal(config->max_inflight_messages, 20);
    assert_int_equal(config->max_queued_messages, 1000);
    assert_int_equal(config->max_queued_bytes, 64 << 20);
    assert_int_equal(config->max_sessions, 1000000);
    assert_int_equal(config->max_subscriptions, 10000);
    assert_int_equal(config->max_retained_messages, 1000000);
    assert_int_equal(config->max_retained_bytes, 1 << 30);
    assert_int_equal(config->persistent_client_expiration_s, TF_CONFIG_UNLIMITED);
    assert_true(config->memory_limit == TF_CONFIG_UNLIMITED64);
    assert_int_equal(config->sys_interval_s, 10);
    assert_true(config->retain_available);
    assert_false(config->queue_qos0_messages);
    assert_false(config->upgrade_outgoing_qos);
    assert_false(config->persistence);
    assert_true(config->log_timestamp);
    assert_true(config->connection_messages);
    assert_int_equal(config->log_dests, TF_CONFIG_LOG_TO_STDERR);
    assert_int_equal(config->log_types, 15);
    assert_null(config->user);
    bench_close(&bench);
}

static void test_texts_keep_blanks_inside(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "pid_file   /run/a b.pid \t\r\n"
                                         "\tuser\tnobody\n"
                                         "log_timestamp_format %Y-%m-%d %H\n"
                                         "log_dest file /var/log/my log\n"
                                         "log_dest stderr\n"
                                         "clientid_prefixes secure-\n"),
                     TF_OK);
    assert_string_equal(bench.config.pid_file, "/run/a b.pid");
    assert_string_equal(bench.config.user, "nobody");
    assert_string_equal(bench.config.log_timestamp_format, "%Y-%m-%d %H");
    assert_string_equal(bench.config.log_file, "/var/log/my log");
    assert_int_equal(bench.config.log_dests, TF_CONFIG_LOG_TO_FILE | TF_CONFIG_LOG_TO_STDERR);
    assert_string_equal(bench.config.clientid_prefixes, "secure-");
    assert_int_equal(bench.report.count, 0);
    bench_close(&bench);
}

static void test_first_log_line_replaces_default(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "log_type debug\nlog_type error\nlog_dest none\n"), TF_OK);
    assert_int_equal(bench.config.log_types, TF_CONFIG_LOG_DEBUG | TF_CONFIG_LOG_ERROR);
    assert_int_equal(bench.config.log_dests, 0);
    assert_int_equal(bench.report.count, 0);
    bench_close(&bench);
}

static void test_longest_text(void **state)
{
    char text[100] = "auto_id_prefix ";
    struct bench bench;

    (void)state;
    memset(text + 15, 'x', 64);
    strcpy(text + 15 + 64, "\n");
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, text), TF_OK);
    assert_int_equal(strlen(bench.config.access.auto_id_prefix), 64);
    strcpy(text + 15 + 64, "x\n");
    assert_int_equal(bench_parse(&bench, text), TF_PROTOCOL);
    assert_non_null(bench_find(&bench, TF_CONFIG_ERROR, "at most 64 bytes"));
    assert_int_equal(strlen(bench.config.access.auto_id_prefix), 64);
    bench_close(&bench);
}

/* ---- mistakes ---- */

static void test_unknown_key_names_the_nearest(void **state)
{
    static const struct {
        const char *text;
        unsigned line, column;
        const char *part;
    } rows[] = {
        {"max_conections 5\n", 1, 1, "`max_conections`: did you mean `max_connections`?"},
        {"\n  lisener 1883\n", 2, 3, "did you mean `listener`?"},
        {"# x\nAllow-Anonymous true\n", 2, 1, "did you mean `allow_anonymous`?"},
        {"max_qeued_messages 5\n", 1, 1, "did you mean `max_queued_messages`?"},
        {"shrads 2\n", 1, 1, "did you mean `shards`?"},
        {"xyzzy_plugh_frobnicate 2\n", 1, 1, "the nearest known key is `"},
        {"listener:1883\n", 1, 1, "`listener:1883`"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct tf_config_finding *finding;
        struct bench bench;

        bench_open(&bench);
        assert_int_equal(bench_parse(&bench, rows[i].text), TF_PROTOCOL);
        finding = bench_find(&bench, TF_CONFIG_ERROR, rows[i].part);
        if (!finding)
            fail_msg("%s: %s", rows[i].text, bench.report.items[0].text);
        assert_string_equal(finding->file, "t.conf");
        assert_int_equal(finding->line, rows[i].line);
        assert_int_equal(finding->column, rows[i].column);
        bench_close(&bench);
    }
}

static void test_several_errors_in_one_run(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "max_qos 3\nfoo\nmax_keepalive\nlistener 99999\n"
                                         "max_qos 4\nmax_connections 5\n"),
                     TF_PROTOCOL);
    assert_int_equal(bench.report.errors, 5);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "0 to 2, not `3`")->line, 1);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "foo")->line, 2);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "no value")->line, 3);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "99999")->line, 4);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "0 to 2, not `4`")->line, 5);
    bench_close(&bench);
}

static void test_errors_are_bounded(void **state)
{
    const size_t lines = 100000;
    struct bench bench;
    char *text = malloc(lines * 4 + 1);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < lines; i++)
        memcpy(text + i * 4, "zzz\n", 5);
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, text), TF_PROTOCOL);
    assert_int_equal(bench.report.errors, TF_CONFIG_ERROR_MAX);
    assert_int_equal(bench.report.count, TF_CONFIG_ERROR_MAX);
    bench_close(&bench);
    free(text);
}

static void test_remarks_are_bounded(void **state)
{
    const size_t lines = 1000;
    struct bench bench;
    char *text = malloc(lines * 9 + 1);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < lines; i++)
        memcpy(text + i * 9, "username\n", 10);
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, text), TF_OK);
    assert_int_equal(bench.report.count, TF_CONFIG_REMARK_MAX);
    assert_int_equal(bench.report.dropped, lines - TF_CONFIG_REMARK_MAX);
    bench_close(&bench);
    free(text);
}

static void test_nul_byte(void **state)
{
    static const char text[] = "max_qos 1\nmax_\0qos 2\n";
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(
        tf_config_parse_text(&bench.config, "t.conf", text, sizeof(text) - 1, NULL, &bench.report),
        TF_PROTOCOL);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "NUL")->line, 2);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "NUL")->column, 5);
    bench_close(&bench);
}

static void test_line_of_a_mebibyte(void **state)
{
    const size_t length = 1 << 20;
    char *text = malloc(length + 20);
    struct bench bench;

    (void)state;
    assert_non_null(text);
    memset(text, 'a', length);
    memcpy(text, "pid_file ", 9);
    strcpy(text + length, "\nmax_qos 7\n");
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, text), TF_PROTOCOL);
    assert_int_equal(bench.report.errors, 2);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "longer than")->line, 1);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "longer than")->column,
                     TF_CONFIG_LINE_MAX + 1);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "max_qos")->line, 2);
    bench_close(&bench);

    text[0] = '#'; /* a comment may be as long as it likes */
    strcpy(text + length, "\nmax_qos 1\n");
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, text), TF_OK);
    bench_close(&bench);
    free(text);
}

static void test_line_of_the_greatest_length(void **state)
{
    char text[TF_CONFIG_LINE_MAX + 3];
    struct bench bench;

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "pid_file ", 9);
    text[TF_CONFIG_LINE_MAX] = '\n';
    text[TF_CONFIG_LINE_MAX + 1] = '\0';
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, text), TF_OK);
    assert_int_equal(strlen(bench.config.pid_file), TF_CONFIG_LINE_MAX - 9);
    bench_close(&bench);
    text[TF_CONFIG_LINE_MAX] = 'a';
    text[TF_CONFIG_LINE_MAX + 1] = '\n';
    text[TF_CONFIG_LINE_MAX + 2] = '\0';
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, text), TF_PROTOCOL);
    bench_close(&bench);
}

static void test_not_utf8(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "# caf\xe9 is fine in a comment\npid_file /caf\xe9\n"),
                     TF_PROTOCOL);
    assert_int_equal(bench.report.errors, 1);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "UTF-8")->line, 2);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "UTF-8")->column, 10);
    bench_close(&bench);
}

/* What came in is shown, so it must not drive a terminal. */
static void test_findings_are_printable(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "\x1b[31mred\nmax_qos \x1b[2J\n"), TF_PROTOCOL);
    assert_int_equal(bench.report.errors, 2);
    for (size_t i = 0; i < bench.report.count; i++)
        for (const char *c = bench.report.items[i].text; *c; c++)
            assert_true(*c >= 0x20 && *c < 0x7f);
    bench_close(&bench);
}

static void test_extra_words_and_repeats_warn(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 1883\nmax_qos 1 # of two\nmax_qos 0\n"
                                         "listener 1884\nmax_qos 1\n"
                                         "shards 2\nshards 3\n"),
                     TF_OK);
    assert_int_equal(bench.config.listeners[0].max_qos, 0);
    assert_int_equal(bench.config.listeners[1].max_qos, 1);
    assert_int_equal(bench.config.shards, 3);
    assert_int_equal(bench_count(&bench, TF_CONFIG_WARNING), 3);
    assert_int_equal(bench_find(&bench, TF_CONFIG_WARNING, "`# of two` is not read")->line, 2);
    assert_int_equal(bench_find(&bench, TF_CONFIG_WARNING, "`max_qos` was said before")->line, 3);
    assert_int_equal(bench_find(&bench, TF_CONFIG_WARNING, "`shards` was said before")->line, 7);
    bench_close(&bench);
}

/* ---- files cut anywhere, and reloads that fail ---- */

static const char *const whole = "\xef\xbb\xbf# a broker\r\n"
                                 "per_listener_settings true\n"
                                 "listener 1883 127.0.0.1\n"
                                 "allow_anonymous true\n"
                                 "listener 1884\n"
                                 "max_connections 50\n"
                                 "log_dest file /tmp/log\n"
                                 "persistent_client_expiration 14d\n";

static void test_cut_anywhere(void **state)
{
    (void)state;
    for (size_t length = 0; length <= strlen(whole); length++) {
        struct bench bench;
        char *text = malloc(length + 1); /* of this very size: reading past it is seen by ASan */
        enum tf_err err;

        assert_non_null(text);
        memcpy(text, whole, length);
        bench_open(&bench);
        err = tf_config_parse_text(&bench.config, "t.conf", text, length, NULL, &bench.report);
        assert_true(err == TF_OK || err == TF_PROTOCOL);
        if (err) {
            assert_true(bench.report.errors > 0);
            assert_true(bench.report.items[0].line > 0);
        } else if (length > 3 && whole[length - 1] != '\n') {
            assert_non_null(bench_find(&bench, TF_CONFIG_WARNING, "without a newline"));
        }
        assert_true(err == TF_OK || length < strlen(whole));
        bench_close(&bench);
        free(text);
    }
}

static void test_bad_file_changes_nothing(void **state)
{
    struct bench bench;
    struct tf_config before;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "listener 1900\npid_file /a\nmax_packet_size 4096\n"),
                     TF_OK);
    before = bench.config;
    assert_int_equal(bench_parse(&bench, "listener 1901\npid_file /b\nmax_packet_size 8192\n"
                                         "max_keepalive 60\nlog_dest file /c\nno_such_key 1\n"),
                     TF_PROTOCOL);
    assert_memory_equal(&bench.config, &before, sizeof(before));
    assert_string_equal(bench.config.pid_file, "/a");
    assert_int_equal(bench.config.listener_count, 1);
    assert_int_equal(bench.config.listeners[0].port, 1900);
    bench_close(&bench);
}

static void test_set_from_the_command_line(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "shards 2\n"), TF_OK);
    assert_int_equal(tf_config_set(&bench.config, "shards", "3", "--shards", &bench.report), TF_OK);
    assert_int_equal(bench.config.shards, 3);
    assert_int_equal(bench.report.count, 0);
    assert_int_equal(tf_config_set(&bench.config, "shards", "many", "--shards", &bench.report),
                     TF_PROTOCOL);
    assert_int_equal(bench.config.shards, 3);
    assert_string_equal(bench.report.items[0].file, "--shards");
    assert_int_equal(tf_config_set(&bench.config, "max_qos", "1", "-o", &bench.report),
                     TF_PROTOCOL);
    assert_int_equal(tf_config_set(&bench.config, "listener", "1", "-o", &bench.report),
                     TF_PROTOCOL);
    assert_int_equal(tf_config_set(&bench.config, "include_dir", "/", "-o", &bench.report),
                     TF_PROTOCOL);
    assert_int_equal(tf_config_set(&bench.config, "shard", "1", "-o", &bench.report), TF_PROTOCOL);
    assert_int_equal(tf_config_set(&bench.config, "allow_anonymous", "true", "-o", &bench.report),
                     TF_OK);
    assert_true(bench.config.access.allow_anonymous);
    bench_close(&bench);
}

/* ---- include_dir ---- */

static void test_include_order(void **state)
{
    struct memory_file files[] = {
        {"main", "include_dir one.d\ninclude_dir two.d\n"},
        {"one.d/b.conf", "pid_file /b\n"},
        {"one.d/A.conf", "pid_file /A\n"},
        {"one.d/01.conf", "pid_file /01\n"},
        {"one.d/README", "not a key\n"},
        {"one.d/a.conf", "pid_file /a\n"},
        {"one.d/B.conf", "pid_file /B\n"},
        {"one.d/.conf", "not a key\n"},
        {"one.d/00.conf", "pid_file /00\n"},
        {"two.d/A.conf", "user x\n"},
        {NULL, NULL},
    };
    static const char *const order[] = {"one.d/00.conf", "one.d/01.conf", "one.d/A.conf",
                                        "one.d/a.conf",  "one.d/B.conf",  "one.d/b.conf",
                                        "two.d/A.conf"};
    const struct tf_config_io io = {files, memory_read, memory_list};
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, "main", &io, &bench.report), TF_OK);
    assert_string_equal(bench.config.pid_file, "/b");
    assert_string_equal(bench.config.user, "x");
    bench_close(&bench);

    /* each file's error names that file; the order of errors is the order of reading */
    for (size_t i = 1; files[i].path; i++)
        files[i].text = "zzz 1\n";
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, "main", &io, &bench.report), TF_PROTOCOL);
    assert_int_equal(bench.report.errors, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_string_equal(bench.report.items[i].file, order[i]);
        assert_int_equal(bench.report.items[i].line, 1);
    }
    bench_close(&bench);
}

static void test_include_sections(void **state)
{
    struct memory_file files[] = {
        {"main", "listener 1\ninclude_dir d\nmax_qos 1\n"},
        {"d/a.conf", "listener 2\nmax_qos 0\n"},
        {NULL, NULL},
    };
    const struct tf_config_io io = {files, memory_read, memory_list};
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, "main", &io, &bench.report), TF_OK);
    assert_int_equal(bench.config.listener_count, 2);
    assert_int_equal(bench.config.listeners[0].port, 1);
    assert_int_equal(bench.config.listeners[0].max_qos, 1);
    assert_int_equal(bench.config.listeners[1].max_qos, 0);
    bench_close(&bench);
}

static void test_include_faults(void **state)
{
    struct memory_file files[] = {
        {"main", "shards 2\ninclude_dir nowhere\nmax_qos 9\n"},
        {"d/a.conf", "include_dir d\n"},
        {NULL, NULL},
    };
    const struct tf_config_io io = {files, memory_read, memory_list};
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, "main", &io, &bench.report), TF_PROTOCOL);
    assert_int_equal(bench.report.errors, 2);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "cannot read `nowhere`")->line, 2);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "cannot read `nowhere`")->column, 13);
    assert_int_equal(bench_find(&bench, TF_CONFIG_ERROR, "max_qos")->line, 3);
    bench_close(&bench);

    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, "nofile", &io, &bench.report),
                     TF_NOT_FOUND);
    assert_non_null(bench_find(&bench, TF_CONFIG_ERROR, "cannot read `nofile`"));
    bench_close(&bench);

    /* a folder that includes itself ends after one step, as in mosquitto */
    files[0].text = "include_dir d\n";
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, "main", &io, &bench.report), TF_OK);
    assert_string_equal(bench_find(&bench, TF_CONFIG_WARNING, "main file only")->file, "d/a.conf");
    bench_close(&bench);
}

static enum tf_err endless_list(void *context, const char *path,
                                enum tf_err (*each)(void *each_context, const char *name),
                                void *each_context)
{
    enum tf_err err = TF_OK;

    (void)context;
    (void)path;
    for (size_t i = 0; !err; i++) {
        char name[40];

        snprintf(name, sizeof(name), "%zu.conf", i);
        err = each(each_context, name);
    }
    return err;
}

static void test_include_is_bounded(void **state)
{
    struct memory_file files[] = {{"main", "include_dir d\n"}, {NULL, NULL}};
    const struct tf_config_io io = {files, memory_read, endless_list};
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, "main", &io, &bench.report), TF_PROTOCOL);
    assert_non_null(bench_find(&bench, TF_CONFIG_ERROR, "more than 1000 files"));
    bench_close(&bench);
}

/* Many files that are not too large each are too large together. */
static void test_include_bytes_are_bounded(void **state)
{
    const size_t half = TF_CONFIG_FILE_MAX / 2;
    struct memory_file files[] = {
        {"main", "include_dir d\n"}, {"d/a.conf", NULL}, {"d/b.conf", NULL},
        {"d/c.conf", "shards 3\n"},  {NULL, NULL},
    };
    const struct tf_config_io io = {files, memory_read, memory_list};
    char *text = malloc(half + 1);
    struct bench bench;

    (void)state;
    assert_non_null(text);
    memset(text, '\n', half);
    text[half] = '\0';
    files[1].text = files[2].text = text;
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, "main", &io, &bench.report), TF_PROTOCOL);
    assert_int_equal(bench.report.errors, 1);
    assert_non_null(bench_find(&bench, TF_CONFIG_ERROR, "cannot read `d/c.conf`: it is too large"));
    bench_close(&bench);
    free(text);
}

/* ---- real files ---- */

static void write_file(const char *path, const char *text, size_t length)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void test_real_files(void **state)
{
    char folder[] = "/tmp/trefoil-config-XXXXXX", path[80], part[80], text[200];
    struct bench bench;
    char *big;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/main", folder);
    snprintf(part, sizeof(part), "%s/x.conf", folder);
    snprintf(text, sizeof(text), "shards 5\ninclude_dir %s\n", folder);
    write_file(path, text, strlen(text));
    write_file(part, "user x\n", 7);
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, path, tf_config_io_files(), &bench.report),
                     TF_OK);
    assert_int_equal(bench.config.shards, 5);
    assert_string_equal(bench.config.user, "x");
    assert_int_equal(
        tf_config_parse_file(&bench.config, folder, tf_config_io_files(), &bench.report), TF_IO);
    assert_int_equal(
        tf_config_parse_file(&bench.config, "/no/such/file", tf_config_io_files(), &bench.report),
        TF_NOT_FOUND);
    assert_int_equal(bench.config.shards, 5);
    bench_close(&bench);

    big = malloc(TF_CONFIG_FILE_MAX + 1);
    assert_non_null(big);
    memset(big, '#', TF_CONFIG_FILE_MAX + 1);
    write_file(path, big, TF_CONFIG_FILE_MAX);
    bench_open(&bench);
    assert_int_equal(tf_config_parse_file(&bench.config, path, tf_config_io_files(), &bench.report),
                     TF_OK);
    write_file(path, big, TF_CONFIG_FILE_MAX + 1);
    assert_int_equal(tf_config_parse_file(&bench.config, path, tf_config_io_files(), &bench.report),
                     TF_PROTOCOL);
    assert_non_null(bench_find(&bench, TF_CONFIG_ERROR, "too large"));
    bench_close(&bench);
    free(big);
    remove(path);
    remove(part);
    assert_int_equal(remove(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_texts_keep_blanks_inside),
        cmocka_unit_test(test_first_log_line_replaces_default),
        cmocka_unit_test(test_longest_text),
        cmocka_unit_test(test_unknown_key_names_the_nearest),
        cmocka_unit_test(test_several_errors_in_one_run),
        cmocka_unit_test(test_errors_are_bounded),
        cmocka_unit_test(test_remarks_are_bounded),
        cmocka_unit_test(test_nul_byte),
        cmocka_unit_test(test_line_of_a_mebibyte),
        cmocka_unit_test(test_line_of_the_greatest_length),
        cmocka_unit_test(test_not_utf8),
        cmocka_unit_test(test_findings_are_printable),
        cmocka_unit_test(test_extra_words_and_repeats_warn),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_bad_file_changes_nothing),
        cmocka_unit_test(test_set_from_the_command_line),
        cmocka_unit_test(test_include_order),
        cmocka_unit_test(test_include_sections),
        cmocka_unit_test(test_include_faults),
        cmocka_unit_test(test_include_is_bounded),
        cmocka_unit_test(test_include_bytes_are_bounded),
        cmocka_unit_test(test_real_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
