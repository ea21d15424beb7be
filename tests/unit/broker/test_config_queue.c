/*
 * Queues and topics in the configuration: blocks, what holds for each, and a reload.
 */
#include "unit/broker/test_config.h"

#include <stdio.h>

static void finish(struct bench *bench)
{
    assert_int_equal(tf_config_finish(&bench->config, &bench->report), TF_OK);
}

static const struct tf_config_queue *queue_named(const struct bench *bench, const char *name)
{
    return tf_config_queue_find(&bench->config, name, strlen(name));
}

static void test_blocks(void **state)
{
    struct bench bench;
    const struct tf_config_queue *queue;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "queue orders\n"
                                         "queue_bind shop/orders\n"
                                         "queue_bind shop/+/late/#\n"
                                         "queue_dead_letter dead/orders\n"
                                         "queue_message_ttl 60\n"
                                         "queue_max_messages 10\n"
                                         "queue_max_bytes 0\n"
                                         "queue_overflow drop_old\n"
                                         "queue_max_attempts 3\n"
                                         "queue_durable false\n"
                                         "queue a\n"
                                         "max_queues 70\n" /* global, wherever it stands */
                                         "queue_overflow drop_new\n"
                                         "queue_idle_timeout 0\n"
                                         "queue_default_max_messages 0\n"
                                         "queue_default_max_bytes 5000\n"
                                         "queue name with blanks/\xc3\xa9\n"),
                     TF_OK);
    assert_int_equal(bench.report.count, 0);
    finish(&bench);
    assert_int_equal(bench.config.queue_count, 3);
    queue = queue_named(&bench, "orders");
    assert_non_null(queue);
    assert_int_equal(queue->bind_count, 2);
    assert_string_equal(queue->binds[0], "shop/orders");
    assert_string_equal(queue->binds[1], "shop/+/late/#");
    assert_string_equal(queue->dead_letter, "dead/orders");
    assert_int_equal(queue->message_ttl_s, 60);
    assert_int_equal(queue->max_messages, 10);
    assert_true(queue->max_bytes == TF_CONFIG_UNLIMITED64);
    assert_int_equal(queue->overflow, TF_CONFIG_OVERFLOW_DROP_OLD);
    assert_int_equal(queue->max_attempts, 3);
    assert_false(queue->durable);
    queue = queue_named(&bench, "a");
    assert_non_null(queue);
    assert_int_equal(queue->bind_count, 0);
    assert_null(queue->dead_letter);
    assert_int_equal(queue->message_ttl_s, 0);
    assert_int_equal(queue->max_messages, TF_CONFIG_UNLIMITED); /* the default of all */
    assert_int_equal(queue->max_bytes, 5000);
    assert_int_equal(queue->overflow, TF_CONFIG_OVERFLOW_DROP_NEW);
    assert_int_equal(queue->max_attempts, 0);
    assert_true(queue->durable);
    assert_non_null(queue_named(&bench, "name with blanks/\xc3\xa9"));
    assert_null(queue_named(&bench, "order"));
    assert_null(queue_named(&bench, "ordersx"));
    assert_null(queue_named(&bench, ""));
    assert_int_equal(bench.config.max_queues, 70);
    assert_int_equal(bench.config.queue_idle_timeout_s, 0);
    bench_close(&bench);
}

static void test_defaults(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    finish(&bench);
    assert_int_equal(bench.config.queue_count, 0);
    assert_int_equal(bench.config.topic_count, 0);
    assert_null(queue_named(&bench, "a"));
    assert_int_equal(bench.config.queue_idle_timeout_s, 3600);
    assert_int_equal(bench.config.max_queues, 100000);
    assert_int_equal(bench.config.queue_default_max_messages, 1000000);
    assert_int_equal(bench.config.queue_default_max_bytes, 1073741824);
    bench_close(&bench);
}

static void test_wrong_lines(void **state)
{
    static const struct {
        const char *text, *part;
        unsigned line;
    } rows[] = {
        {"queue_bind a\n", "`queue_bind` stands after no `queue` line", 1},
        {"queue a\nlistener 1883\nqueue_overflow refuse\n", "stands after no `queue` line", 3},
        {"queue a\nqueue b\nqueue a\n", "there is a queue `a` already", 3},
        {"queue $a\n", "that does not begin with $, not `$a`", 1},
        {"queue a/+\nqueue_bind b\n", "must be a name without + and #", 1},
        {"queue a\nqueue_bind a+\n", "must be an address or a filter", 2},
        {"queue a\nqueue_bind #/a\n", "must be an address or a filter", 2},
        {"queue a\nqueue_dead_letter a/#\n", "must be an address without + and #", 2},
        {"queue a\nqueue_dead_letter $SYS/x\n", "does not begin with $, not `$SYS/x`", 2},
        {"queue a\nqueue_overflow reject\n", "one of: refuse drop_old drop_new, not `reject`", 2},
        {"queue a\nqueue_max_messages -1\n", "or 0 for no limit, not `-1`", 2},
        {"queue a\nqueue_max_mesages 1\n", "did you mean `queue_max_messages`?", 2},
        {"queue\n", "`queue` has no value", 1},
        {"max_queues 0\n", "from 1 to 10000000 queues, not `0`", 1},
        {"topic a#\n", "must be an address or a filter", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct tf_config_finding *finding;
        struct bench bench;

        bench_open(&bench);
        assert_int_equal(bench_parse(&bench, rows[i].text), TF_PROTOCOL);
        finding = bench_find(&bench, TF_CONFIG_ERROR, rows[i].part);
        if (!finding)
            fail_msg("%s: %s", rows[i].text,
                     bench.report.count ? bench.report.items[0].text : "nothing");
        assert_int_equal(finding->line, rows[i].line);
        assert_int_equal(bench_count(&bench, TF_CONFIG_ERROR), 1);
        bench_close(&bench);
    }
}

/* Said twice in one block is told; in the next block it is the first. */
static void test_repeats(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "queue a\nqueue_message_ttl 1\n"
                                         "queue b\nqueue_message_ttl 2\n"),
                     TF_OK);
    assert_int_equal(bench.report.count, 0);
    bench_close(&bench);
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "queue a\nqueue_message_ttl 1\nqueue_message_ttl 2\n"),
                     TF_OK);
    assert_non_null(bench_find(&bench, TF_CONFIG_WARNING, "was said before"));
    finish(&bench);
    assert_int_equal(queue_named(&bench, "a")->message_ttl_s, 2);
    bench_close(&bench);
}

/* mosquitto's `topic` belongs to a bridge, Trefoil's does not. */
static void test_topics(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "topic sensors/#\n"
                                         "topic a\n"
                                         "topic # both 2 local/ remote/\n"
                                         "connection c\n"
                                         "topic b\n"
                                         "listener 1883\n"
                                         "topic d/+\n"),
                     TF_OK);
    assert_int_equal(bench.config.topic_count, 3);
    assert_string_equal(bench.config.topics[0], "sensors/#");
    assert_string_equal(bench.config.topics[1], "a");
    assert_string_equal(bench.config.topics[2], "d/+");
    assert_non_null(bench_find(&bench, TF_CONFIG_WARNING, "`topic`: bridges"));
    assert_int_equal(bench_count(&bench, TF_CONFIG_WARNING), 3);
    bench_close(&bench);
}

static void test_command_line(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(tf_config_set(&bench.config, "queue_message_ttl", "1", "--set", &bench.report),
                     TF_PROTOCOL);
    assert_int_equal(tf_config_set(&bench.config, "queue", "a", "--set", &bench.report),
                     TF_PROTOCOL);
    assert_int_equal(tf_config_set(&bench.config, "max_queues", "5", "--set", &bench.report),
                     TF_OK);
    assert_int_equal(bench.config.max_queues, 5);
    bench_close(&bench);
}

/* ---- reload ---- */

static void open_finished(struct bench *bench, const char *text)
{
    bench_open(bench);
    assert_int_equal(bench_parse(bench, text), TF_OK);
    finish(bench);
}

static void test_reload(void **state)
{
    struct tf_config_change changes[8];
    struct bench running, fresh;

    (void)state;
    open_finished(&running, "queue a\nqueue_bind x\nqueue b\nqueue_message_ttl 5\nqueue c\n");
    open_finished(&fresh, "queue d\nqueue a\nqueue_bind y\nqueue b\nqueue_message_ttl 7\n"
                          "topic t\n");
    assert_int_equal(tf_config_diff(&running.config, &fresh.config, changes, 8), 5);
    assert_string_equal(changes[0].key, "queue_bind");
    assert_true(changes[0].reloadable);
    assert_non_null(strstr(changes[0].new_text, "of queue a"));
    assert_string_equal(changes[1].key, "queue_message_ttl");
    assert_string_equal(changes[1].old_text, "5");
    assert_string_equal(changes[1].new_text, "7 (of queue b)");
    assert_string_equal(changes[2].key, "queue");
    assert_string_equal(changes[2].old_text, "c");
    assert_false(changes[2].reloadable); /* what waits in it is not dropped */
    assert_string_equal(changes[3].key, "queue");
    assert_string_equal(changes[3].new_text, "d");
    assert_true(changes[3].reloadable);
    assert_string_equal(changes[4].key, "topic");
    assert_int_equal(tf_config_keep(&fresh.config, &running.config), TF_OK);
    assert_int_equal(fresh.config.queue_count, 3);
    assert_int_equal(queue_named(&fresh, "b")->message_ttl_s, 7);
    assert_int_equal(fresh.config.topic_count, 1);
    assert_int_equal(tf_config_diff(&fresh.config, &fresh.config, changes, 8), 0);
    bench_close(&running);
    bench_close(&fresh);
}

/* A bad file leaves the queues of the former as they were. */
static void test_all_or_nothing(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench);
    assert_int_equal(bench_parse(&bench, "queue a\nqueue_bind x\nqueue_dead_letter y\ntopic t\n"),
                     TF_OK);
    assert_int_equal(bench_parse(&bench, "queue b\nnonsense 1\n"), TF_PROTOCOL);
    assert_int_equal(bench.config.queue_count, 1);
    assert_string_equal(bench.config.queues[0].name, "a");
    assert_string_equal(bench.config.queues[0].binds[0], "x");
    assert_int_equal(bench_parse(&bench, "queue b\n"), TF_OK);
    assert_int_equal(bench.config.queue_count, 2);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),  cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_repeats), cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_topics),  cmocka_unit_test(test_command_line),
        cmocka_unit_test(test_reload),  cmocka_unit_test(test_all_or_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
