/*
 * Reload: differences are found and named, and what a running broker cannot change stays.
 */
#include "unit/broker/test_config.h"

#define CHANGES_MAX 32

/* Two configurations, finished, and what differs. */
struct pair {
    struct bench running;
    struct bench fresh;
    struct tf_config_change changes[CHANGES_MAX];
    size_t count;
};

static void pair_open(struct pair *pair, const char *running, const char *fresh)
{
    bench_open(&pair->running);
    bench_open(&pair->fresh);
    assert_int_equal(bench_parse(&pair->running, running), TF_OK);
    assert_int_equal(bench_parse(&pair->fresh, fresh), TF_OK);
    assert_int_equal(tf_config_finish(&pair->running.config, &pair->running.report), TF_OK);
    assert_int_equal(tf_config_finish(&pair->fresh.config, &pair->fresh.report), TF_OK);
    pair->count =
        tf_config_diff(&pair->running.config, &pair->fresh.config, pair->changes, CHANGES_MAX);
}

static void pair_close(struct pair *pair)
{
    bench_close(&pair->running);
    bench_close(&pair->fresh);
}

/* The change of `key`; NULL: it did not. */
static const struct tf_config_change *pair_find(const struct pair *pair, const char *key)
{
    for (size_t i = 0; i < pair->count; i++)
        if (strcmp(pair->changes[i].key, key) == 0)
            return &pair->changes[i];
    return NULL;
}

static void test_nothing_differs(void **state)
{
    static const char *const text = "listener 1\nmax_qos 1\nlistener 2 ::1\nallow_anonymous true\n"
                                    "log_dest file /x\nuser u\npersistent_client_expiration 1d\n";
    struct pair pair;

    (void)state;
    pair_open(&pair, text, text);
    assert_int_equal(pair.count, 0);
    pair_close(&pair);
    pair_open(&pair, "", "");
    assert_int_equal(pair.count, 0);
    pair_close(&pair);
}

static void test_differences_are_named(void **state)
{
    static const struct {
        const char *running, *fresh, *key, *old_text, *new_text;
        bool reloadable;
    } rows[] = {
        {"", "max_packet_size 4096\n", "max_packet_size", "1048576", "4096", true},
        {"max_queued_messages 5\n", "max_queued_messages 0\n", "max_queued_messages", "5",
         "no limit", true},
        {"", "queue_qos0_messages true\n", "queue_qos0_messages", "false", "true", true},
        {"", "persistent_client_expiration 2d\n", "persistent_client_expiration", "never", "48h",
         true},
        {"pid_file /a\n", "pid_file /b\n", "pid_file", "/a", "/b", false},
        {"", "user nobody\n", "user", "", "nobody", false},
        {"shards 2\n", "shards 3\n", "shards", "2", "3", false},
        {"", "log_type debug\nlog_type error\n", "log_type", "error warning notice information",
         "error debug", true},
        {"", "log_dest none\n", "log_dest", "stderr", "none", false},
        {"log_dest file /a\n", "log_dest file /b\n", "log_dest", "file /a", "file /b", false},
        {"allow_anonymous true\nlistener 1\n", "allow_anonymous false\nlistener 1\n",
         "allow_anonymous", "true", "false", true},
        {"listener 1\n", "listener 1\nmax_qos 0\n", "max_qos", "2", "0", false},
        {"listener 1\nprotocol coap\n", "listener 1\nprotocol coap\ncoap_notify con\n",
         "coap_notify", "non", "con", false},
        {"listener 1\nprotocol coap\n", "listener 1\nprotocol coap\ncoap_multicast true\n",
         "coap_multicast", "false", "true", false},
        {"listener 1\n", "listener 1\nlistener 1\nprotocol coap\n", "listener", "",
         "1 protocol coap", false},
        {"coap_max_peers 1\n", "coap_max_peers 2\n", "coap_max_peers", "1", "2", false},
        {"", "coap_max_body_bytes 1024\n", "coap_max_body_bytes", "67108864", "1024", true},
        {"listener 1\n", "listener 1\nmax_connections 5\n", "max_connections", "no limit", "5",
         false},
        {"listener 1\n", "listener 1\nlistener 2 ::1\n", "listener", "", "2 ::1", false},
        {"listener 1\nlistener 2 ::1\n", "listener 1\n", "listener", "2 ::1", "", false},
        {"per_listener_settings true\nlistener 1\nauto_id_prefix a\n",
         "per_listener_settings true\nlistener 1\nauto_id_prefix b\n", "auto_id_prefix", "a", "b",
         true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct tf_config_change *change;
        struct pair pair;

        pair_open(&pair, rows[i].running, rows[i].fresh);
        if (pair.count != 1)
            fail_msg("%s -> %s: %zu differences", rows[i].running, rows[i].fresh, pair.count);
        change = pair_find(&pair, rows[i].key);
        if (!change)
            fail_msg("%s -> %s: %s", rows[i].running, rows[i].fresh, pair.changes[0].key);
        assert_string_equal(change->old_text, rows[i].old_text);
        assert_string_equal(change->new_text, rows[i].new_text);
        assert_int_equal(change->reloadable, rows[i].reloadable);
        pair_close(&pair);
    }
}

static void test_more_differences_than_room(void **state)
{
    struct tf_config_change changes[2] = {{.key = "before"}, {.key = "before"}};
    struct pair pair;

    (void)state;
    pair_open(&pair, "", "shards 3\nmax_keepalive 60\nsys_interval 1\nmax_packet_size 100\n");
    assert_int_equal(pair.count, 4);
    assert_int_equal(tf_config_diff(&pair.running.config, &pair.fresh.config, changes, 1), 4);
    assert_string_equal(changes[0].key, "shards");
    assert_string_equal(changes[1].key, "before");
    assert_int_equal(tf_config_diff(&pair.running.config, &pair.fresh.config, NULL, 0), 4);
    pair_close(&pair);
}

static void test_keep_what_cannot_change(void **state)
{
    struct pair pair;
    const struct tf_config *now = &pair.fresh.config;

    (void)state;
    pair_open(&pair,
              "listener 1\nmax_qos 1\nlistener 2\nshards 2\npid_file /a\nallow_anonymous true\n"
              "log_dest file /l\n",
              "listener 1\nmax_qos 0\nlistener 3\nshards 3\npid_file /b\nallow_anonymous false\n"
              "max_packet_size 4096\nlog_dest file /b\nauto_id_prefix x-\nlog_type debug\n");
    assert_int_equal(tf_config_keep(&pair.fresh.config, &pair.running.config), TF_OK);
    assert_int_equal(now->shards, 2);
    assert_string_equal(now->pid_file, "/a");
    assert_int_equal(now->max_packet_size, 4096);
    assert_string_equal(now->log_file, "/l");
    assert_int_equal(now->log_types, TF_CONFIG_LOG_DEBUG);
    assert_int_equal(now->listener_count, 2);
    assert_int_equal(now->listeners[0].port, 1);
    assert_int_equal(now->listeners[0].max_qos, 1);
    assert_false(now->listeners[0].access.allow_anonymous);
    assert_string_equal(now->listeners[0].access.auto_id_prefix, "x-");
    /* this one goes on until the restart, under the new rules */
    assert_int_equal(now->listeners[1].port, 2);
    assert_false(now->listeners[1].access.allow_anonymous);
    /* the running one is as it was, and shares nothing with the new one */
    assert_int_equal(pair.running.config.shards, 2);
    assert_true(pair.running.config.listeners[0].access.allow_anonymous);
    assert_ptr_not_equal(pair.running.config.pid_file, now->pid_file);
    pair_close(&pair);
}

/* What is left after keeping is exactly what could be changed. */
static void test_after_keeping_only_reloadable_differs(void **state)
{
    struct tf_config_change changes[CHANGES_MAX];
    struct pair pair;
    size_t count;

    (void)state;
    pair_open(&pair, "listener 1\nshards 2\nmax_qos 1\n",
              "listener 2\nshards 3\nmax_keepalive 60\nuser x\nqueue_qos0_messages true\n");
    assert_int_equal(tf_config_keep(&pair.fresh.config, &pair.running.config), TF_OK);
    count = tf_config_diff(&pair.running.config, &pair.fresh.config, changes, CHANGES_MAX);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        assert_true(changes[i].reloadable);
    pair_close(&pair);
}

static void test_failed_reload_changes_nothing(void **state)
{
    struct bench running, fresh;
    struct tf_config before;

    (void)state;
    bench_open(&running);
    assert_int_equal(bench_parse(&running, "listener 1\nmax_packet_size 4096\n"), TF_OK);
    assert_int_equal(tf_config_finish(&running.config, &running.report), TF_OK);
    before = running.config;
    bench_open(&fresh);
    assert_int_equal(bench_parse(&fresh, "listener 1\nmax_packet_size 8192\nmax_qos\n"),
                     TF_PROTOCOL);
    assert_non_null(bench_find(&fresh, TF_CONFIG_ERROR, "`max_qos` has no value"));
    assert_int_equal(fresh.config.listener_count, 0);
    assert_int_equal(fresh.config.max_packet_size, 1048576);
    assert_memory_equal(&running.config, &before, sizeof(before));
    bench_close(&fresh);
    bench_close(&running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_differs),
        cmocka_unit_test(test_differences_are_named),
        cmocka_unit_test(test_more_differences_than_room),
        cmocka_unit_test(test_keep_what_cannot_change),
        cmocka_unit_test(test_after_keeping_only_reloadable_differs),
        cmocka_unit_test(test_failed_reload_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
