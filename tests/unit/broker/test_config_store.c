/*
 * The store in the configuration: where it is, by mosquitto's keys and Trefoil's; durability of
 * listeners, queues and addresses; what --check tells; reload.
 */
#include "unit/broker/test_config.h"

#include "broker/durability.h"

static void finish(struct bench *bench, const char *text)
{
    bench_open(bench);
    assert_int_equal(bench_parse(bench, text), TF_OK);
    assert_int_equal(tf_config_finish(&bench->config, &bench->report), TF_OK);
}

/* ---- where ---- */

static void test_where(void **state)
{
    static const struct {
        const char *text, *data;
    } cases[] = {
        {"", NULL},
        {"data /a/b\n", "/a/b"},
        {"persistence false\npersistence_location /x\n", NULL},
        {"persistence true\npersistence_location /x y\n", "/x y"},
        {"retained_persistence true\npersistence_location /x\n", "/x"},
        {"persistence true\npersistence_location /x\ndata /y\n", "/y"},
        {"persistence false\ndata /y\n", "/y"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench bench;

        finish(&bench, cases[i].text);
        if (cases[i].data)
            assert_string_equal(bench.config.data, cases[i].data);
        else
            assert_null(bench.config.data);
        bench_close(&bench);
    }
}

static void test_default_folder(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "persistence true\n"), TF_OK);
    assert_int_equal(tf_config_finish(&bench.config, &bench.report), TF_NOT_FOUND);
    assert_non_null(bench_find(&bench, TF_CONFIG_ERROR, "--data"));
    bench_close(&bench);
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "persistence true\n"), TF_OK);
    bench.config.data_default = strdup("/home/me/trefoil");
    assert_int_equal(tf_config_finish(&bench.config, &bench.report), TF_OK);
    assert_string_equal(bench.config.data, "/home/me/trefoil");
    bench_close(&bench);
}

static void test_memory_comes_first(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "persistence true\ndata /x\n"), TF_OK);
    bench.config.memory = true;
    assert_int_equal(tf_config_finish(&bench.config, &bench.report), TF_OK);
    assert_null(bench.config.data);
    tf_config_check(&bench.config, &bench.report);
    assert_non_null(bench_find(&bench, TF_CONFIG_NOTE, "--memory"));
    bench_close(&bench);
}

static void test_limits(void **state)
{
    struct bench bench;

    (void)state;
    finish(&bench, "");
    assert_int_equal(bench.config.store_segment_size, 64u << 20);
    assert_true(bench.config.store_limit == TF_CONFIG_UNLIMITED64);
    assert_true(bench.config.store_soft_limit == TF_CONFIG_UNLIMITED64);
    bench_close(&bench);
    finish(&bench, "store_segment_size 1048576\nstore_limit 8388608\nstore_soft_limit 0\n"
                   "store_snapshot_interval 2000000\n");
    assert_int_equal(bench.config.store_segment_size, 1u << 20);
    assert_int_equal(bench.config.store_limit, 8u << 20);
    assert_true(bench.config.store_soft_limit == TF_CONFIG_UNLIMITED64);
    assert_int_equal(bench.config.store_snapshot_interval, 2000000);
    bench_close(&bench);
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "store_segment_size 1000\n"), TF_PROTOCOL);
    bench_close(&bench);
}

/* ---- how safe ---- */

static void test_levels(void **state)
{
    struct bench bench;
    const struct tf_config *config = &bench.config;

    (void)state;
    finish(&bench, "queue plain\nqueue own\nqueue_durability os\nqueue none\nqueue_durable false\n"
                   "durability memory\n"
                   "listener 1\nlistener 2\ndurability disk\nlistener 3\ndurability os\n"
                   "address a/#\naddress_durability os\naddress a/b\naddress_durability memory\n"
                   "address c\n");
    assert_int_equal(config->durability, TF_CONFIG_DURABILITY_MEMORY);
    assert_int_equal(tf_durability_of_listener(config, 0), TF_STORE_MEMORY);
    assert_int_equal(tf_durability_of_listener(config, 1), TF_STORE_DISK);
    assert_int_equal(tf_durability_of_listener(config, 2), TF_STORE_OS);
    assert_int_equal(tf_config_queue_find(config, "plain", 5)->durability, TF_STORE_MEMORY);
    assert_int_equal(tf_config_queue_find(config, "own", 3)->durability, TF_STORE_OS);
    assert_int_equal(tf_config_queue_find(config, "none", 4)->durability, TF_STORE_MEMORY);
    assert_int_equal(tf_durability_slack(config, 0, tf_bytes_str("x")), 2);
    assert_int_equal(tf_durability_slack(config, 1, tf_bytes_str("x")), 0);
    assert_int_equal(tf_durability_slack(config, 1, tf_bytes_str("c")), 0);
    assert_int_equal(tf_durability_slack(config, 1, tf_bytes_str("a/x")), 1);
    assert_int_equal(tf_durability_slack(config, 1, tf_bytes_str("a/b")), 2);
    assert_int_equal(tf_durability_slack(config, 2, tf_bytes_str("c")), 1);
    assert_int_equal(tf_durability_slack(config, 2, tf_bytes_str("a/b")), 2);
    bench_close(&bench);
    finish(&bench, "queue q\n");
    assert_int_equal(config->queues[0].durability, TF_STORE_DISK);
    assert_int_equal(tf_durability_of_listener(config, 0), TF_STORE_DISK);
    bench_close(&bench);
}

static void test_bad_lines(void **state)
{
    static const struct {
        const char *text, *finding;
    } cases[] = {
        {"durability often\n", "must be one of: memory os disk"},
        {"listener 1\ndurability inherit\n", "must be one of: memory os disk"},
        {"address a/#/b\n", "filter"},
        {"address x\naddress x\n", "already"},
        {"address_durability os\n", "no `address` line"},
        {"address x\nlistener 1\naddress_durability os\n", "no `address` line"},
        {"address x\nqueue q\naddress_durability os\n", "no `address` line"},
        {"queue q\naddress x\nqueue_durability os\n", "no `queue` line"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench bench;

        bench_open(&bench);
        assert_int_equal(bench_parse(&bench, cases[i].text), TF_PROTOCOL);
        if (!bench_find(&bench, TF_CONFIG_ERROR, cases[i].finding))
            fail_msg("%s: not said: %s", cases[i].text, cases[i].finding);
        bench_close(&bench);
    }
}

/* mosquitto's `address` is a bridge's. */
static void test_address_of_a_bridge(void **state)
{
    struct bench bench;

    (void)state;
    finish(&bench, "connection b\naddress other.example:1883\n");
    assert_int_equal(bench.config.address_count, 0);
    assert_int_equal(bench_count(&bench, TF_CONFIG_WARNING), 2);
    bench_close(&bench);
}

static void test_check(void **state)
{
    struct bench bench;

    (void)state;
    finish(&bench, "data /d\nlistener 7\ndurability memory\nallow_anonymous true\n"
                   "queue loose\nqueue_durability os\nqueue firm\n"
                   "address t/#\naddress_durability memory\n");
    tf_config_check(&bench.config, &bench.report);
    assert_non_null(bench_find(&bench, TF_CONFIG_NOTE, "listener 7"));
    assert_non_null(bench_find(&bench, TF_CONFIG_NOTE, "queue `loose`"));
    assert_null(bench_find(&bench, TF_CONFIG_NOTE, "firm"));
    assert_non_null(bench_find(&bench, TF_CONFIG_NOTE, "`t/#`"));
    assert_null(bench_find(&bench, TF_CONFIG_NOTE, "everything"));
    bench_close(&bench);
}

/* ---- reload ---- */

static void test_reload(void **state)
{
    struct tf_config_change changes[8];
    struct bench running, fresh;
    bool data = false, listener = false, address = false;

    (void)state;
    finish(&running, "data /a\nlistener 7\nallow_anonymous true\n");
    finish(&fresh, "data /b\nlistener 7\nallow_anonymous true\ndurability os\n"
                   "address x\naddress_durability os\n");
    size_t count = tf_config_diff(&running.config, &fresh.config, changes, 8);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(changes[i].key, "data") == 0)
            data = !changes[i].reloadable;
        else if (strcmp(changes[i].key, "durability") == 0)
            listener = changes[i].reloadable && strcmp(changes[i].old_text, "disk") == 0;
        else if (strcmp(changes[i].key, "address") == 0)
            address = changes[i].reloadable;
    }
    assert_true(data && listener && address);
    assert_int_equal(tf_config_keep(&fresh.config, &running.config), TF_OK);
    assert_string_equal(fresh.config.data, "/a");
    assert_int_equal(tf_durability_of_listener(&fresh.config, 0), TF_STORE_OS);
    assert_int_equal(tf_durability_slack(&fresh.config, 0, tf_bytes_str("x")), 1);
    bench_close(&running);
    bench_close(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where),
        cmocka_unit_test(test_default_folder),
        cmocka_unit_test(test_memory_comes_first),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_address_of_a_bridge),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
