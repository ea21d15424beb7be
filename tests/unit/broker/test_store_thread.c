/*
 * The broker's store in a folder, with its thread: what is submitted is done and there after a
 * restart; what is said when it cannot be used.
 */
#include "broker/store_thread.h"

#include "base/util.h"
#include "broker/config.h"
#include "port/clock.h"
#include "port/folder.h"
#include "port/loop.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KIND 77u
#define DEADLINE (20 * TF_SECOND)

struct rig {
    char folder[PATH_MAX];
    struct tf_config config;
    struct tf_log log;
    FILE *log_file;
    char *said;
    size_t said_length;
    struct tf_alloc alloc;
    struct tf_loop *loop; /* the shard's */
    struct tf_store_thread *thread;
    struct tf_store_client client;
    struct tf_journal_report report;
};

static void *plain_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void plain_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static void wake_shard(void *ctx, unsigned shard)
{
    struct rig *rig = ctx;
    assert_int_equal(shard, 0);
    tf_loop_wake(rig->loop);
}

static void rig_init(struct rig *rig)
{
    struct tf_log_config log = {.types = ~0u, .wall_us = tf_clock_wall};
    const char *tmp = getenv("TMPDIR");
    memset(rig, 0, sizeof(*rig));
    snprintf(rig->folder, sizeof(rig->folder), "%s/trefoil-store-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(rig->folder));
    rig->log_file = open_memstream(&rig->said, &rig->said_length);
    assert_non_null(rig->log_file);
    log.outs[0] = rig->log_file;
    tf_log_init(&rig->log, &log);
    tf_config_init_default(&rig->config);
    rig->config.store_segment_size = TF_JOURNAL_SEGMENT_MIN;
    rig->config.data = strdup(rig->folder);
    assert_non_null(rig->config.data);
    rig->alloc = (struct tf_alloc){plain_alloc, plain_free, NULL, NULL};
    assert_int_equal(tf_loop_new(&rig->loop), TF_OK);
}

static enum tf_err remove_file(void *ctx, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", (const char *)ctx, name);
    (void)unlink(path);
    return TF_OK;
}

static void rig_end(struct rig *rig)
{
    assert_int_equal(tf_folder_list(rig->folder, remove_file, rig->folder), TF_OK);
    assert_int_equal(tf_folder_remove(rig->folder), TF_OK);
    tf_config_release(&rig->config);
    tf_loop_free(rig->loop);
    fclose(rig->log_file);
    free(rig->said);
}

static enum tf_err rig_open(struct rig *rig)
{
    struct tf_store_thread_config config = {.config = &rig->config,
                                            .shards = 1,
                                            .alloc = &rig->alloc,
                                            .log = &rig->log,
                                            .wake_shard = wake_shard,
                                            .ctx = rig};
    enum tf_err err = tf_store_thread_open(&config, &rig->thread, &rig->report);
    if (!err) {
        assert_int_equal(tf_store_client_init(&rig->client, tf_store_thread_store(rig->thread), 0),
                         TF_OK);
    }
    return err;
}

static void rig_close(struct rig *rig)
{
    tf_store_client_release(&rig->client);
    tf_store_thread_close(rig->thread);
    rig->thread = NULL;
}

/* True if the log has it. */
static bool said(struct rig *rig, const char *text)
{
    fflush(rig->log_file);
    return rig->said && strstr(rig->said, text);
}

static void put(struct rig *rig, const char *key)
{
    assert_int_equal(tf_store_reserve(&rig->client, strlen(key)), TF_OK);
    tf_store_put(&rig->client, TF_STORE_DISK, KIND, tf_bytes_str(key), tf_bytes_of(NULL, 0), NULL);
    tf_store_submit(&rig->client);
}

static size_t count_objects(struct rig *rig)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    size_t count = 0;
    while (tf_journal_next_object(tf_store_journal(tf_store_thread_store(rig->thread)), &cursor,
                                  &object)) {
        count += object.kind == KIND;
    }
    return count;
}

static void until_done(struct rig *rig, uint64_t number)
{
    tf_time end = tf_clock_now() + DEADLINE;
    while (!tf_store_done(&rig->client, number)) {
        assert_true(tf_clock_now() < end);
        (void)tf_loop_wait(rig->loop, end, tf_clock_now());
        (void)tf_store_receive(&rig->client);
    }
}

static void is_done_by_its_thread(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), TF_OK);
    assert_int_equal(count_objects(&rig), 0);
    assert_int_equal(tf_store_thread_start(rig.thread), TF_OK);
    for (unsigned i = 0; i < 50; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key%u", i);
        put(&rig, key);
        if (i % 10 == 0) {
            until_done(&rig, rig.client.current - 1);
        }
    }
    assert_int_equal(tf_store_thread_stop(rig.thread), TF_OK); /* with what is under way */
    (void)tf_store_receive(&rig.client);
    assert_true(tf_store_done(&rig.client, rig.client.current - 1));
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), TF_OK);
    assert_int_equal(count_objects(&rig), 50);
    assert_int_equal(tf_store_thread_state(rig.thread), TF_STORE_READY);
    rig_close(&rig);
    rig_end(&rig);
}

static void works_without_a_thread(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), TF_OK);
    put(&rig, "a");
    tf_store_thread_pump(rig.thread);
    (void)tf_store_receive(&rig.client);
    assert_true(tf_store_done(&rig.client, rig.client.current - 1));
    put(&rig, "b");
    assert_int_equal(tf_store_thread_stop(rig.thread), TF_OK);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), TF_OK);
    assert_int_equal(count_objects(&rig), 2);
    rig_close(&rig);
    assert_int_equal(tf_store_thread_stop(NULL), TF_OK);
    tf_store_thread_close(NULL);
    rig_end(&rig);
}

/* At the end nobody waits for the other part of a transaction, and none of it is there. */
static void a_part_that_never_comes(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), TF_OK);
    assert_int_equal(tf_store_thread_start(rig.thread), TF_OK);
    put(&rig, "whole");
    until_done(&rig, rig.client.current - 1);
    tf_store_join(&rig.client, tf_store_transaction(&rig.client), 2);
    put(&rig, "half");
    assert_int_equal(tf_store_thread_stop(rig.thread), TF_IO);
    (void)tf_store_receive(&rig.client);
    assert_false(tf_store_done(&rig.client, rig.client.current - 1));
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), TF_OK);
    assert_int_equal(count_objects(&rig), 1);
    rig_close(&rig);
    rig_end(&rig);
}

static void names_who_has_it(void **state)
{
    struct rig rig;
    struct tf_store_thread *first;
    char pid[64];
    (void)state;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), TF_OK);
    first = rig.thread;
    assert_int_equal(rig_open(&rig), TF_CLOSED);
    snprintf(pid, sizeof(pid), "in use by process %ld", (long)getpid());
    assert_true(said(&rig, pid));
    rig.thread = first;
    rig_close(&rig);
    rig_end(&rig);
}

static void says_what_to_do(void **state)
{
    static const struct {
        const char *path, *advice;
    } cases[] = {
        {"/none/of/it", "make the folder"},
        {"/file", "must be a folder"},
    };
    struct rig rig;
    char path[PATH_MAX + 16];
    (void)state;
    rig_init(&rig);
    snprintf(path, sizeof(path), "%s/file", rig.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    for (size_t i = 0; i < TF_COUNT(cases); i++) {
        free(rig.config.data);
        snprintf(path, sizeof(path), "%s%s", rig.folder, cases[i].path);
        rig.config.data = strdup(path);
        assert_int_equal(rig_open(&rig), TF_CLOSED);
        assert_true(said(&rig, path));
        assert_true(said(&rig, cases[i].advice));
    }
    rig_end(&rig);
}

static void refuses_a_limit_without_room(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    rig.config.store_limit = TF_JOURNAL_SEGMENT_MIN / 2;
    assert_int_equal(rig_open(&rig), TF_CLOSED);
    assert_true(said(&rig, "store_limit"));
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_done_by_its_thread),   cmocka_unit_test(works_without_a_thread),
        cmocka_unit_test(a_part_that_never_comes), cmocka_unit_test(names_who_has_it),
        cmocka_unit_test(says_what_to_do),         cmocka_unit_test(refuses_a_limit_without_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
