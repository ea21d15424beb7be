/*
 * Every allocation of the configuration fails once: nothing is lost, nothing half done.
 *
 * The sources are included here with an allocator that fails on demand in place of malloc.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/broker/test_config.h"

/* How many more allocations succeed. */
static size_t allocations_left;

static void *failing_malloc(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return malloc(size);
}

static void *failing_realloc(void *old, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return realloc(old, size);
}

static char *failing_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = failing_malloc(size);

    return copy ? memcpy(copy, text, size) : NULL;
}

#undef strdup
#define malloc failing_malloc
#define realloc failing_realloc
#define strdup failing_strdup

#include "broker/config_apply.c"
#include "broker/config_check.c"
#include "broker/config_diff.c"
#include "broker/config_find.c"
#include "broker/config_io.c"
#include "broker/config_keys.c"
#include "broker/config_listen.c"
#include "broker/config_manual.c"
#include "broker/config_parse.c"
#include "broker/config_queue.c"
#include "broker/config_report.c"
#include "broker/config_store.c"
#include "broker/config_value.c"

#undef malloc
#undef realloc
#undef strdup

static const struct memory_file files[] = {
    {"main", "listener 1883 127.0.0.1\nmax_qos 1\nport 1884\nuser u\nuser v\n"
             "log_dest file /x\nlog_timestamp_format %H\nclientid_prefixes a\nauto_id_prefix b\n"
             "persistence true\npersistence_location /d\naddress x\naddress y/#\n"
             "address_durability os\ninclude_dir d\n"},
    {"d/a.conf", "listener 1885\nbind_address 127.0.0.1\npid_file /p\n"},
    {"d/b.conf", "queue q\nqueue_bind x\nqueue_bind y\nqueue_dead_letter z\ntopic x\n"},
    {NULL, NULL},
};

/* All steps from file to reload, until one fails. */
static enum tf_err run(struct tf_config *config, struct tf_config *second,
                       struct tf_config_report *report)
{
    const struct tf_config_io io = {(void *)files, memory_read, memory_list};
    enum tf_err err = tf_config_parse_file(config, "main", &io, report);

    if (!err)
        err = tf_config_set(config, "user", "w", "command", report);
    if (!err)
        err = tf_config_add_url(config, "mqtt://localhost:0", report);
    if (!err)
        err = tf_config_finish(config, report);
    if (!err)
        err = tf_config_finish(second, report);
    if (!err) {
        tf_config_check(config, report);
        err = tf_config_keep(second, config);
    }
    return err;
}

static void test_every_allocation_fails_once(void **state)
{
    size_t failed = 0;

    (void)state;
    for (size_t n = 0;; n++) {
        struct tf_config config, second;
        struct tf_config_report report;
        enum tf_err err;
        bool done;

        tf_config_init_default(&config);
        tf_config_init_default(&second);
        tf_config_report_init(&report);
        allocations_left = n;
        err = run(&config, &second, &report);
        /* a report that has no memory loses a remark and says so; all else fails the step */
        assert_true(err == TF_OK || err == TF_NO_MEMORY);
        if (err)
            failed++;
        done = allocations_left > 0;
        if (done) {
            assert_int_equal(err, TF_OK);
            assert_int_equal(report.dropped, 0);
            assert_int_equal(config.listener_count, 4);
            assert_int_equal(second.listener_count, 4);
        } else if (!err) {
            assert_true(report.dropped > 0 || n > 0);
        }
        tf_config_release(&config);
        tf_config_release(&second);
        tf_config_report_release(&report);
        if (done)
            break;
    }
    assert_true(failed > 60);
}

static void test_parsing_without_memory_changes_nothing(void **state)
{
    const struct tf_config_io io = {(void *)files, memory_read, memory_list};

    (void)state;
    for (size_t n = 0;; n++) {
        struct tf_config config, before;
        struct tf_config_report report;
        enum tf_err err;

        tf_config_init_default(&config);
        config.shards = 7;
        before = config;
        tf_config_report_init(&report);
        allocations_left = n;
        err = tf_config_parse_file(&config, "main", &io, &report);
        if (err)
            assert_memory_equal(&config, &before, sizeof(before));
        tf_config_release(&config);
        tf_config_report_release(&report);
        if (!err)
            break;
        assert_int_equal(err, TF_NO_MEMORY);
    }
}

/* The reader of real files, on this very test's folder. */
static void test_reading_a_real_file_without_memory(void **state)
{
    char path[] = "/tmp/trefoil-config-XXXXXX";
    int file = mkstemp(path);
    FILE *stream = file >= 0 ? fdopen(file, "wb") : NULL;

    (void)state;
    assert_non_null(stream);
    for (size_t i = 0; i < 20000; i++)
        fputc('#', stream);
    assert_int_equal(fclose(stream), 0);
    for (size_t n = 0; n < 10; n++) {
        const struct tf_config_io *io = tf_config_io_files();
        char *text = NULL;
        size_t length = 0;
        enum tf_err err;

        allocations_left = n;
        err = io->read(io->context, path, &text, &length);
        assert_int_equal(err, n < 4 ? TF_NO_MEMORY : TF_OK);
        assert_int_equal(length, err ? 0 : 20000);
        free(text);
    }
    assert_int_equal(remove(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_parsing_without_memory_changes_nothing),
        cmocka_unit_test(test_reading_a_real_file_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
