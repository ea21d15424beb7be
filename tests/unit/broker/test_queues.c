/*
 * Queues of the configuration: what they are made as, that they are there in every shard, a reload,
 * and $SYS/queues page by page.
 */
#include "unit/broker/test_config.h"

#include <jansson.h>
#include <stdio.h>

#include "base/util.h"
#include "broker/log.h"
#include "broker/queues.h"
#include "broker/sys_collection.h"

#define SHARDS_MAX 3u

/* ---- a few shards with their queues ---- */

struct rig {
    struct bench bench;
    struct tf_post_office *office;
    struct tf_log log;
    FILE *log_file;
    char *log_text;
    size_t log_length;
    size_t live;  /* allocations */
    size_t until; /* allocations that still succeed */
    unsigned count;
    struct tf_alloc alloc;
    struct tf_shard shards[SHARDS_MAX];
    struct tf_queues queues[SHARDS_MAX];
};

static void *rig_alloc(void *ctx, size_t size)
{
    struct rig *rig = ctx;
    if (rig->until == 0) {
        return NULL;
    }
    rig->until--;
    rig->live++;
    return malloc(size);
}

static void rig_free(void *ctx, void *memory, size_t size)
{
    struct rig *rig = ctx;
    (void)size;
    rig->live--;
    free(memory);
}

static void wake(void *ctx, unsigned shard)
{
    (void)ctx;
    (void)shard;
}

static void receive(void *ctx, const struct tf_mail *mail, unsigned from)
{
    (void)ctx;
    (void)mail;
    (void)from;
    fail_msg("mail for nobody");
}

static void expired(void *ctx, struct tf_timer *timer)
{
    (void)ctx;
    (void)timer;
    fail_msg("a timer of nobody's");
}

static uint64_t no_time(void)
{
    return 0;
}

/* All shards take their mail until nothing follows from it. */
static void settle(struct rig *rig)
{
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < rig->count; i++) {
            tf_shard_receive(&rig->shards[i]);
            (void)tf_shard_flush(&rig->shards[i]);
        }
    }
}

static void declare(struct rig *rig)
{
    for (unsigned i = 0; i < rig->count; i++) {
        tf_queues_declare(&rig->queues[i]);
    }
    settle(rig);
    for (unsigned i = 0; i < rig->count; i++) {
        assert_false(tf_queues_busy(&rig->queues[i]));
    }
}

static void configure(struct bench *bench, const char *text)
{
    bench_open(bench);
    assert_int_equal(bench_parse(bench, text), TF_OK);
    assert_int_equal(tf_config_finish(&bench->config, &bench->report), TF_OK);
}

static void start(struct rig *rig, unsigned count, const char *text)
{
    struct tf_wake waker = {wake, rig};
    memset(rig, 0, sizeof(*rig));
    configure(&rig->bench, text);
    rig->until = SIZE_MAX;
    rig->alloc = (struct tf_alloc){rig_alloc, rig_free, rig, NULL};
    rig->count = count;
    rig->log_file = open_memstream(&rig->log_text, &rig->log_length);
    struct tf_log_config log = {.types = ~0u, .wall_us = no_time, .outs = {rig->log_file}};
    tf_log_init(&rig->log, &log);
    rig->office = tf_post_office_new(count, 64, waker, &rig->alloc);
    assert_non_null(rig->office);
    for (unsigned i = 0; i < count; i++) {
        struct tf_shard_config config = {.number = i,
                                         .office = rig->office,
                                         .alloc = &rig->alloc,
                                         .key = {3, 4},
                                         .random = i,
                                         .max_queues = rig->bench.config.max_queues,
                                         .values = {1000, 1 << 20},
                                         .receive = receive,
                                         .expired = expired,
                                         .ctx = rig};
        assert_int_equal(tf_shard_init(&rig->shards[i], &config, 1000 * TF_SECOND), TF_OK);
        tf_queues_init(&rig->queues[i], &rig->shards[i], &rig->bench.config, &rig->log);
    }
}

static void stop(struct rig *rig)
{
    settle(rig);
    for (unsigned i = 0; i < rig->count; i++) {
        tf_queues_release(&rig->queues[i]);
        tf_shard_release(&rig->shards[i]);
    }
    tf_post_office_free(rig->office);
    assert_int_equal(rig->live, 0);
    (void)fclose(rig->log_file);
    free(rig->log_text);
    bench_close(&rig->bench);
}

static void assert_logged(struct rig *rig, const char *part)
{
    (void)fflush(rig->log_file);
    if (!strstr(rig->log_text, part)) {
        fail_msg("not in the log: %s", part);
    }
}

static struct tf_named_queue *queue_of(struct rig *rig, const char *name)
{
    struct tf_bytes bytes = tf_bytes_str(name);
    unsigned home = tf_shard_home(&rig->shards[0], bytes);
    for (unsigned i = 0; i < rig->count; i++) {
        if (i != home) {
            assert_null(tf_named_queue_find(&rig->shards[i], bytes));
        }
    }
    return tf_named_queue_find(&rig->shards[home], bytes);
}

static void publish(struct rig *rig, unsigned shard, const char *address)
{
    struct tf_bytes body = tf_bytes_str("body");
    struct tf_publication publication = {
        .envelope = {.address = tf_bytes_str(address), .expires = TF_TIME_NEVER},
        .body = &body,
        .body_count = 1};
    struct tf_published result;
    enum tf_err err = tf_shard_publish(&rig->shards[shard], &publication, NULL, 0, &result);
    assert_int_equal(err, TF_OK);
    tf_publication_release(&publication);
    settle(rig);
}

static uint64_t messages_in(struct rig *rig, const char *name)
{
    struct tf_queue_status status;
    struct tf_named_queue *queue = queue_of(rig, name);
    assert_non_null(queue);
    tf_named_queue_status(queue, &status);
    return status.messages;
}

/* ---- what the configuration says ---- */

static void test_specs(void **state)
{
    struct bench bench;
    struct tf_queue_spec spec;
    (void)state;
    configure(&bench, "queue q\nqueue_message_ttl 60\nqueue_dead_letter d\nqueue_max_messages 5\n"
                      "queue_overflow drop_old\nqueue_max_attempts 3\n"
                      "queue r\nqueue_overflow drop_new\nqueue_durable false\n"
                      "queue_default_max_messages 7\nqueue_idle_timeout 9\n");
    assert_true(tf_queues_spec_of(&bench.config, tf_bytes_str("q"), &spec));
    assert_int_equal(spec.limits.entries, 5);
    assert_int_equal(spec.limits.bytes, 1073741824);
    assert_int_equal(spec.limits.overflow, TF_OVERFLOW_DROP_OLD);
    assert_true(spec.message_ttl == 60 * TF_SECOND);
    assert_true(tf_bytes_equal(spec.dead_letter, tf_bytes_str("d")));
    assert_true(spec.idle == TF_TIME_NEVER);
    assert_int_equal(spec.max_attempts, 3);
    assert_true(spec.durability == TF_STORE_DISK && spec.configured);
    assert_true(tf_queues_spec_of(&bench.config, tf_bytes_str("r"), &spec));
    assert_int_equal(spec.limits.overflow, TF_OVERFLOW_DROP_NEW);
    assert_int_equal(spec.limits.entries, 7);
    assert_true(spec.message_ttl == TF_TIME_NEVER);
    assert_int_equal(spec.dead_letter.length, 0);
    assert_int_equal(spec.durability, TF_STORE_MEMORY);
    assert_false(tf_queues_spec_of(&bench.config, tf_bytes_str("other"), &spec));
    assert_int_equal(spec.durability, TF_STORE_DISK);
    assert_int_equal(spec.limits.entries, 7);
    assert_int_equal(spec.limits.overflow, TF_OVERFLOW_REFUSE);
    assert_true(spec.idle == 9 * TF_SECOND);
    assert_true(spec.idle_when_empty);
    assert_true(spec.message_ttl == TF_TIME_NEVER);
    assert_int_equal(spec.max_attempts, 0);
    assert_false(spec.configured);
    bench_close(&bench);
    configure(&bench, "queue_idle_timeout 0\n");
    assert_false(tf_queues_spec_of(&bench.config, tf_bytes_str("x"), &spec));
    assert_true(spec.idle == TF_TIME_NEVER);
    bench_close(&bench);
}

static void test_topics(void **state)
{
    struct bench bench;
    (void)state;
    configure(&bench, "topic sensors/#\ntopic a/+/c\n");
    assert_true(tf_queues_is_topic(&bench.config, tf_bytes_str("sensors")));
    assert_true(tf_queues_is_topic(&bench.config, tf_bytes_str("sensors/kitchen/temp")));
    assert_true(tf_queues_is_topic(&bench.config, tf_bytes_str("a/b/c")));
    assert_false(tf_queues_is_topic(&bench.config, tf_bytes_str("a/b")));
    assert_false(tf_queues_is_topic(&bench.config, tf_bytes_str("orders")));
    bench_close(&bench);
}

/* ---- declaring ---- */

static void test_declared(void **state)
{
    static const char text[] = "queue a\nqueue_bind x/#\nqueue_bind y\n"
                               "queue b\nqueue c\nqueue_bind x/1\nqueue d\nqueue e\n";
    (void)state;
    for (unsigned count = 1; count <= SHARDS_MAX; count += SHARDS_MAX - 1) {
        static struct rig rig;
        start(&rig, count, text);
        declare(&rig);
        for (const char *name = "abcde"; *name; name++) {
            char one[2] = {*name, '\0'};
            struct tf_named_queue *queue = queue_of(&rig, one);
            assert_non_null(queue);
            assert_true(tf_named_queue_spec(queue)->configured);
        }
        for (unsigned i = 0; i < count; i++) { /* every shard knows what they are bound to */
            publish(&rig, i, "x/1");
            publish(&rig, i, "y");
            publish(&rig, i, "b"); /* not bound to the address of its name */
        }
        assert_int_equal(messages_in(&rig, "a"), 2 * count);
        assert_int_equal(messages_in(&rig, "b"), 0);
        assert_int_equal(messages_in(&rig, "c"), count);
        stop(&rig);
    }
}

static void test_limit_is_told(void **state)
{
    static struct rig rig;
    (void)state;
    start(&rig, 1, "max_queues 2\nqueue a\nqueue b\nqueue c\n");
    declare(&rig);
    assert_non_null(queue_of(&rig, "b"));
    assert_null(queue_of(&rig, "c"));
    assert_logged(&rig, "cannot declare queue c: there are too many queues (max_queues)");
    stop(&rig);
}

/* Whatever allocation fails, it is told or done, and nothing is left behind. */
static void test_without_memory(void **state)
{
    bool done = false;
    (void)state;
    for (size_t until = 0; !done; until++) {
        static struct rig rig;
        start(&rig, 1, "queue a\nqueue_bind x\n");
        rig.until = until;
        tf_queues_declare(&rig.queues[0]);
        settle(&rig);
        done = queue_of(&rig, "a") != NULL;
        (void)fflush(rig.log_file);
        if (!done && !tf_queues_busy(&rig.queues[0])) {
            assert_logged(&rig, "cannot declare queue a: there is too little memory");
        }
        rig.until = SIZE_MAX;
        stop(&rig);
    }
}

static void test_reload(void **state)
{
    static struct rig rig;
    struct bench fresh;
    (void)state;
    start(&rig, SHARDS_MAX, "queue a\nqueue_bind x\nqueue b\n");
    declare(&rig);
    publish(&rig, 0, "x");
    configure(&fresh, "queue a\nqueue_bind x\nqueue_max_messages 1\nqueue c\nqueue_bind x\n");
    for (unsigned i = 0; i < rig.count; i++) {
        tf_queues_reload(&rig.queues[i], &fresh.config);
    }
    settle(&rig);
    assert_int_equal(tf_named_queue_spec(queue_of(&rig, "a"))->limits.entries, 1);
    assert_non_null(queue_of(&rig, "b")); /* it stays */
    publish(&rig, 1, "x");
    assert_int_equal(messages_in(&rig, "a"), 1); /* full now */
    assert_int_equal(messages_in(&rig, "c"), 1);
    bench_close(&rig.bench); /* the former is not read any more */
    rig.bench = fresh;
    stop(&rig);
}

/* ---- $SYS/queues ---- */

/* The addresses that a filter finds in one shard, parted by blanks. */
static void collect(struct rig *rig, const char *filter, char *ret, size_t size)
{
    struct tf_message *last = NULL, *next;
    size_t length = 0;
    ret[0] = '\0';
    do {
        struct tf_bytes after = {NULL, 0};
        if (last) {
            after = last->publication.envelope.address;
        }
        next = tf_queues_virtual_next(&rig->queues[0], tf_bytes_str(filter), after);
        if (last) {
            tf_message_unref(last);
        }
        if (next) {
            struct tf_bytes address = next->publication.envelope.address;
            length += (size_t)snprintf(ret + length, size - length, "%s%.*s", length ? " " : "",
                                       (int)address.length, (const char *)address.data);
            assert_true(length < size);
        }
        last = next;
    } while (next);
}

static void test_listing(void **state)
{
    static const struct {
        const char *filter, *found;
    } rows[] = {
        {"$SYS/queues/#", "$SYS/queues/%23 $SYS/queues/a $SYS/queues/a%2Fb $SYS/queues/mqtt "
                          "$SYS/queues/mqtt%2Fx $SYS/queues/%C3%A9"},
        {"$SYS/queues/+", "$SYS/queues/%23 $SYS/queues/a $SYS/queues/a%2Fb $SYS/queues/mqtt "
                          "$SYS/queues/mqtt%2Fx $SYS/queues/%C3%A9"},
        {"$SYS/queues/a", "$SYS/queues/a"},
        {"$SYS/queues/a/#", "$SYS/queues/a"},
        {"$SYS/queues/a%2Fb", "$SYS/queues/a%2Fb"},
        {"$SYS/queues/a/b", ""},
        {"$SYS/queues/mqtt/#", "$SYS/queues/mqtt"},
        {"$SYS/queues/mqtt/x", ""},
        {"$SYS/queues/none", ""},
        {"$SYS/sessions/#", ""},
        {"+/queues/#", ""},
        {"#", ""},
    };
    static struct rig rig;
    char found[256];
    (void)state;
    /* `#` cannot be configured, but a name is whatever a client makes it */
    start(&rig, 1, "queue a\nqueue a/b\nqueue mqtt\nqueue mqtt/x\nqueue \xc3\xa9\n");
    struct tf_queue_spec spec;
    (void)tf_queues_spec_of(&rig.bench.config, tf_bytes_str("x"), &spec);
    struct tf_queue_command command = {
        .type = TF_QUEUE_DECLARE, .name = tf_bytes_str("#"), .spec = &spec};
    assert_int_equal(
        tf_shard_queue_command(&rig.shards[0], &command, &rig.queues[0].owner, UINT64_MAX), TF_OK);
    declare(&rig);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        collect(&rig, rows[i].filter, found, sizeof(found));
        assert_string_equal(found, rows[i].found);
    }
    stop(&rig);
}

static void test_object(void **state)
{
    static struct rig rig;
    json_error_t error;
    (void)state;
    start(&rig, 1,
          "queue a\nqueue_bind x\nqueue_max_messages 2\nqueue_dead_letter d\n"
          "queue_message_ttl 5\nqueue_max_bytes 0\n");
    declare(&rig);
    for (unsigned i = 0; i < 3; i++) {
        publish(&rig, 0, "x");
    }
    struct tf_message *message =
        tf_queues_virtual_next(&rig.queues[0], tf_bytes_str("$SYS/queues/a"), (struct tf_bytes){0});
    assert_non_null(message);
    struct tf_bytes body = message->publication.body[0];
    json_t *object = json_loadb((const char *)body.data, body.length, 0, &error);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "queue")), "a");
    assert_int_equal(json_integer_value(json_object_get(object, "messages")), 2);
    assert_int_equal(json_integer_value(json_object_get(object, "enqueued")), 2);
    assert_int_equal(json_integer_value(json_object_get(object, "bindings")), 1);
    assert_int_equal(json_integer_value(json_object_get(object, "consumers")), 0);
    assert_int_equal(json_integer_value(json_object_get(object, "producers")), 0);
    assert_int_equal(json_integer_value(json_object_get(object, "in_flight")), 0);
    assert_int_equal(json_integer_value(json_object_get(object, "limit")), 2);
    assert_true(json_is_null(json_object_get(object, "limit_bytes")));
    assert_int_equal(json_integer_value(json_object_get(object, "ttl_s")), 5);
    assert_string_equal(json_string_value(json_object_get(object, "dead_letter")), "d");
    assert_true(json_is_true(json_object_get(object, "configured")));
    assert_int_equal(json_integer_value(json_object_get(object, "dropped")) +
                         json_integer_value(json_object_get(object, "dead_lettered")),
                     1);
    json_decref(object);
    tf_message_unref(message);
    stop(&rig);
}

/* The order of addresses is that of collections, then of names without their encoding. */
static void test_order(void **state)
{
    static const char *const sorted[] = {
        "$SYS/connections/z", "$SYS/queues/%20",    "$SYS/queues/a",      "$SYS/queues/a%2F",
        "$SYS/queues/a~",     "$SYS/queues/%C3%A9", "$SYS/queues/mqtt/a", "$SYS/sessions/a"};
    (void)state;
    for (size_t i = 0; i < TF_COUNT(sorted); i++) {
        for (size_t j = 0; j < TF_COUNT(sorted); j++) {
            int order = tf_sys_address_compare(tf_bytes_str(sorted[i]), tf_bytes_str(sorted[j]));
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specs),          cmocka_unit_test(test_topics),
        cmocka_unit_test(test_declared),       cmocka_unit_test(test_limit_is_told),
        cmocka_unit_test(test_without_memory), cmocka_unit_test(test_reload),
        cmocka_unit_test(test_listing),        cmocka_unit_test(test_object),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
