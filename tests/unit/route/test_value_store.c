/*
 * Values and the store: what is set, cleared and expires in the home is so after a restart, and a
 * write answers when it is safe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "unit/route/kept_rig.h"

struct fixture {
    struct store_rig k;
    struct tf_ticket_owner owner;
    unsigned done;
    struct tf_published result;
};

static void on_done(struct tf_ticket_owner *owner, uint64_t tag, const struct tf_published *result)
{
    struct fixture *f = tf_container_of(owner, struct fixture, owner);
    (void)tag;
    f->done++;
    f->result = *result;
}

static struct fixture *start(unsigned count)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    store_rig_start(&f->k, count);
    f->owner.done = on_done;
    tf_list_init(&f->owner.tickets);
    return f;
}

static void stop(struct fixture *f)
{
    store_rig_stop(&f->k);
    free(f);
}

/* Loads the message that an object refers to; NULL: none. */
static struct tf_message *referred(struct fixture *f, const struct tf_journal_object *object)
{
    struct tf_journal *journal = tf_store_journal(f->k.store);
    struct tf_shard *shard = &f->k.rig.shards[0];
    struct tf_message *message;
    size_t length;
    if (!object->messages) {
        return NULL;
    }
    uint64_t id = tf_journal_object_message(journal, object, 0);
    assert_int_equal(tf_journal_length(journal, id, &length), TF_OK);
    uint8_t *bytes = malloc(length);
    assert_int_equal(tf_journal_read(journal, id, bytes, length), TF_OK);
    assert_int_equal(tf_stored_message_read(tf_bytes_of(bytes, length), shard->wall,
                                            shard->config.alloc, &message),
                     TF_OK);
    free(bytes);
    return message;
}

/* Gives the values back; how many there were. */
static unsigned restore(struct fixture *f)
{
    struct tf_journal_cursor cursor = {0};
    struct tf_journal_object object;
    unsigned count = 0;
    while (tf_journal_next_object(tf_store_journal(f->k.store), &cursor, &object)) {
        if (object.kind == TF_STORED_VALUE) {
            struct tf_stored_object stored = {.kind = object.kind,
                                              .key = object.key,
                                              .value = object.value,
                                              .message = referred(f, &object)};
            unsigned home = tf_shard_home(&f->k.rig.shards[0], object.key);
            assert_int_equal(tf_shard_restore_value(&f->k.rig.shards[home], &stored), TF_OK);
            if (stored.message) {
                tf_message_unref(stored.message);
            }
            count++;
        }
    }
    return count;
}

/* Objects, but for the store's own. */
static uint64_t values_in_store(struct fixture *f)
{
    return store_rig_stats(&f->k).objects - 1;
}

static unsigned restart(struct fixture *f)
{
    store_rig_restart(&f->k);
    return restore(f);
}

static const struct tf_value *value_of(struct fixture *f, const char *address)
{
    struct tf_bytes bytes = tf_bytes_str(address);
    return tf_values_get(&f->k.rig.shards[tf_shard_home(&f->k.rig.shards[0], bytes)].values, bytes);
}

static void assert_value(struct fixture *f, const char *address, const char *text)
{
    char body[32];
    const struct tf_value *value = value_of(f, address);
    rig_text(value ? value->message : NULL, body, sizeof(body));
    assert_string_equal(body, text ? text : "(none)");
}

static enum tf_err set(struct fixture *f, const char *address, const char *body, uint8_t qos,
                       uint8_t slack, tf_time expires, struct tf_published *ret)
{
    struct tf_bytes bytes;
    struct tf_published unused;
    struct tf_publication publication =
        rig_publication(tf_bytes_str(address), body, qos, true, &bytes);
    publication.envelope.expires = expires;
    publication.envelope.slack = slack;
    enum tf_err err =
        tf_shard_publish(&f->k.rig.shards[0], &publication, &f->owner, 1, ret ? ret : &unused);
    tf_publication_release(&publication);
    return err;
}

static void keep(struct fixture *f, const char *address, const char *body)
{
    (void)set(f, address, body, 1, 0, TF_TIME_NEVER, NULL);
    rig_settle(&f->k.rig);
}

static void test_kept(void **state)
{
    (void)state;
    struct fixture *f = start(3);
    char large[2000];
    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = 0;
    memcpy(large, "large", 5);
    keep(f, "a/1", "one");
    keep(f, "a/2", "two");
    keep(f, "a/2", "new");
    keep(f, "a/3", large);
    keep(f, "a/4", "gone");
    keep(f, "a/4", "");
    keep(f, "$SYS/x", "system");
    (void)set(f, "a/5", "at most once", 0, 0, TF_TIME_NEVER, NULL);
    (void)set(f, "a/6", "memory", 1, 2, TF_TIME_NEVER, NULL);
    keep(f, "a/7", "stored");
    (void)set(f, "a/7", "not any more", 1, 2, TF_TIME_NEVER, NULL);
    rig_settle(&f->k.rig);
    uint64_t version = value_of(f, "a/2")->version;
    assert_value(f, "a/7", "not any more");
    assert_int_equal(restart(f), 4);
    assert_value(f, "a/1", "one");
    assert_value(f, "a/2", "new");
    assert_int_equal(value_of(f, "a/2")->version, version);
    assert_int_equal(value_of(f, "a/2")->shown, version);
    assert_int_equal(value_of(f, "a/3")->message->span.length, sizeof(large) - 1);
    assert_true(value_of(f, "a/3")->message->publication.envelope.retain);
    assert_value(f, "a/4", NULL);
    assert_value(f, "$SYS/x", NULL);
    assert_value(f, "a/5", "at most once");
    assert_value(f, "a/6", NULL);
    assert_value(f, "a/7", NULL);
    /* versions go on above, and what came back is as any other */
    keep(f, "a/2", "newer");
    assert_true(value_of(f, "a/2")->version > version);
    keep(f, "a/3", "");
    assert_int_equal(store_rig_stats(&f->k).messages, 0);
    assert_int_equal(restart(f), 3);
    assert_value(f, "a/2", "newer");
    assert_value(f, "a/3", NULL);
    stop(f);
}

static void test_expiry(void **state)
{
    (void)state;
    struct fixture *f = start(1);
    tf_time soon = f->k.rig.now + 10 * TF_SECOND;
    (void)set(f, "a", "short", 1, 0, soon, NULL);
    (void)set(f, "b", "while it is off", 1, 0, soon + TF_SECOND, NULL);
    (void)set(f, "c", "long", 1, 0, soon + 100 * TF_SECOND, NULL);
    rig_settle(&f->k.rig);
    rig_time(&f->k.rig, soon + TF_SECOND / 10);
    assert_value(f, "a", NULL);
    rig_settle(&f->k.rig);
    assert_int_equal(values_in_store(f), 2);
    store_rig_end(&f->k);
    store_rig_again(&f->k, 2, soon + TF_SECOND); /* with another number of shards */
    assert_int_equal(restore(f), 2);
    assert_value(f, "b", NULL);
    assert_value(f, "c", "long");
    rig_settle(&f->k.rig);
    assert_int_equal(values_in_store(f), 1); /* removed there, too */
    rig_time(&f->k.rig, soon + 101 * TF_SECOND);
    rig_settle(&f->k.rig);
    assert_value(f, "c", NULL);
    assert_int_equal(values_in_store(f), 0);
    stop(f);
}

static void test_hostile(void **state)
{
    (void)state;
    struct fixture *f = start(1);
    struct tf_shard *shard = &f->k.rig.shards[0];
    uint8_t value[256];
    struct tf_envelope envelope = {.address = tf_bytes_str("a"), .expires = TF_TIME_NEVER};
    struct tf_writer writer = tf_writer_of(value, sizeof(value));
    tf_stored_value_write(&writer, 1, 1);
    tf_stored_head_write(&writer, &envelope, shard->wall);
    size_t length = tf_writer_length(&writer);
    struct tf_stored_object object = {.kind = TF_STORED_VALUE, .key = tf_bytes_str("a")};
    for (size_t cut = 0; cut < length; cut++) {
        object.value = tf_bytes_of(value, cut);
        assert_int_equal(tf_shard_restore_value(shard, &object), TF_PROTOCOL);
    }
    object.value = tf_bytes_of(value, length);
    static const char *const keys[] = {"b", "", "$SYS/x", "a/+", "#", "\xff"};
    for (size_t i = 0; i < TF_COUNT(keys); i++) {
        object.key = tf_bytes_str(keys[i]);
        assert_int_equal(tf_shard_restore_value(shard, &object), TF_PROTOCOL);
        writer = tf_writer_of(value, sizeof(value));
        envelope.address = object.key;
        tf_stored_value_write(&writer, 1, 1);
        tf_stored_head_write(&writer, &envelope, shard->wall);
        struct tf_stored_object other = {.key = object.key,
                                         .value = tf_bytes_of(value, tf_writer_length(&writer))};
        assert_int_equal(tf_shard_restore_value(shard, &other), i == 0 ? TF_OK : TF_PROTOCOL);
        assert_int_equal(tf_shard_restore_value(shard, &other), TF_PROTOCOL); /* it is there */
    }
    assert_int_equal(shard->values.count, 1);
    stop(f);
}

static void test_limit(void **state)
{
    (void)state;
    struct fixture *f = start(1);
    keep(f, "a", "1");
    keep(f, "b", "2");
    store_rig_restart(&f->k);
    f->k.rig.shards[0].values.limits.count = 1;
    struct tf_journal_cursor cursor = {0};
    struct tf_journal_object object;
    enum tf_err errs[2];
    for (unsigned i = 0; i < 2; i++) {
        assert_true(tf_journal_next_object(tf_store_journal(f->k.store), &cursor, &object));
        struct tf_stored_object stored = {.key = object.key, .value = object.value};
        errs[i] = tf_shard_restore_value(&f->k.rig.shards[0], &stored);
    }
    assert_int_equal(errs[0], TF_OK);
    assert_int_equal(errs[1], TF_LIMIT);
    stop(f);
}

/* ---- writes ---- */

static enum tf_err write_value(struct fixture *f, unsigned shard, struct tf_bytes address,
                               const char *body, const struct tf_condition *condition)
{
    struct tf_bytes bytes;
    struct tf_publication publication = rig_publication(address, body, 1, true, &bytes);
    enum tf_err err =
        tf_shard_write(&f->k.rig.shards[shard], &publication, condition, &f->owner, 1, &f->result);
    tf_publication_release(&publication);
    return err;
}

static void test_write(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 3; count += 2) {
        for (unsigned from = 0; from < count; from++) {
            struct fixture *f = start(count);
            char text[32];
            struct tf_bytes address = rig_address(&f->k.rig, 0, "w", text, sizeof(text));
            f->k.stalled = true;
            assert_int_equal(write_value(f, from, address, "x", NULL), TF_AGAIN);
            rig_settle(&f->k.rig);
            assert_value(f, text, "x"); /* at once, for who is in the same process */
            assert_int_equal(f->done, 0);
            store_rig_resume(&f->k);
            assert_int_equal(f->done, 1);
            assert_int_equal(f->result.taken, 1);
            assert_int_equal(f->result.stored, 0);
            assert_false(f->result.existed);
            /* a condition that does not hold records nothing, and nothing waits */
            f->k.stalled = true;
            struct tf_condition absent = {.absent = true};
            enum tf_err err = write_value(f, from, address, "y", &absent);
            rig_settle(&f->k.rig);
            assert_int_equal(err, from == 0 ? TF_OK : TF_AGAIN);
            assert_int_equal(f->done, from == 0 ? 1 : 2);
            assert_true(f->result.failed);
            /* clearing waits, too */
            f->done = 0;
            assert_int_equal(write_value(f, from, address, NULL, NULL), TF_AGAIN);
            rig_settle(&f->k.rig);
            assert_int_equal(f->done, 0);
            store_rig_resume(&f->k);
            assert_int_equal(f->done, 1);
            assert_int_equal(restart(f), 0);
            stop(f);
        }
    }
}

static void take(struct fixture *f)
{
    tf_time until;
    while (tf_store_turn(f->k.store, f->k.rig.now, &until)) {
    }
}

/* The shards that have the publication answer before or after the store does. */
static void test_write_spreads(void **state)
{
    (void)state;
    struct fixture *f = start(2);
    static struct session session;
    struct tf_binding_options options = {.qos = 1};
    char text[32];
    struct tf_bytes address = rig_address(&f->k.rig, 0, "w", text, sizeof(text));
    session_start(&session, &f->k.rig.shards[1], false);
    assert_int_equal(tf_shard_bind(&f->k.rig.shards[1], &session.queue, tf_bytes_str("#"), &options,
                                   false, &session.owner, 1),
                     TF_OK);
    rig_settle(&f->k.rig);
    f->k.stalled = true;
    assert_int_equal(write_value(f, 0, address, "x", NULL), TF_AGAIN);
    rig_settle(&f->k.rig);
    assert_int_equal(session.queue.count, 1);
    assert_int_equal(f->done, 0);
    store_rig_resume(&f->k);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->result.taken, 2);
    /* the store first */
    f->done = 0;
    assert_int_equal(write_value(f, 0, address, "y", NULL), TF_AGAIN);
    tf_shard_submit(&f->k.rig.shards[0]);
    take(f);
    tf_shard_receive(&f->k.rig.shards[0]);
    assert_int_equal(f->done, 0);
    rig_settle(&f->k.rig);
    assert_int_equal(f->done, 1);
    session_end(&session);
    rig_settle(&f->k.rig);
    stop(f);
}

/* An earlier write whose other shards answer late is not kept back by a later one. */
static void test_order_of_writes(void **state)
{
    (void)state;
    struct fixture *f = start(2);
    struct tf_shard *shards = f->k.rig.shards;
    static struct session session; /* it records nothing, so its shard answers at once */
    struct tf_binding_options options = {.qos = 0};
    char one[32], two[32];
    struct tf_bytes first = rig_address(&f->k.rig, 0, "w", one, sizeof(one));
    struct tf_bytes second = rig_address(&f->k.rig, 0, "x", two, sizeof(two));
    session_start(&session, &shards[1], true);
    assert_int_equal(
        tf_shard_bind(&shards[1], &session.queue, first, &options, false, &session.owner, 1),
        TF_OK);
    rig_settle(&f->k.rig);
    f->k.stalled = true;
    assert_int_equal(write_value(f, 0, first, "1", NULL), TF_AGAIN);
    (void)tf_shard_flush(&shards[0]);
    assert_int_equal(write_value(f, 0, second, "2", NULL), TF_AGAIN); /* in the next batch */
    tf_shard_receive(&shards[1]);
    (void)tf_mail_flush(f->k.rig.office, 1);
    tf_shard_receive(&shards[0]); /* has the answer, but neither is safe */
    assert_int_equal(session.seen_count, 1);
    assert_int_equal(f->done, 0);
    take(f);
    tf_shard_receive(&shards[0]);
    assert_int_equal(f->done, 1);
    store_rig_resume(&f->k);
    assert_int_equal(f->done, 2);
    session_end(&session);
    rig_settle(&f->k.rig);
    stop(f);
}

/* A store that takes nothing new refuses a value, but lets one be cleared. */
static void test_full(void **state)
{
    (void)state;
    struct fixture *f = start(1);
    struct tf_published result;
    keep(f, "a", "1");
    f->k.disk.fail_at = f->k.disk.calls + 1;
    f->k.disk.fail_on = true;
    f->k.disk.fail_with = TF_LIMIT;
    keep(f, "b", "2");
    assert_int_equal(tf_store_state(&f->k.clients[0]), TF_STORE_FULL);
    assert_int_equal(set(f, "a", "3", 1, 0, TF_TIME_NEVER, &result), TF_OK);
    assert_true(result.refused && result.taken == 0);
    assert_value(f, "a", "1");
    assert_int_equal(write_value(f, 0, tf_bytes_str("a"), "4", NULL), TF_OK);
    assert_true(f->result.refused && f->result.taken == 0);
    assert_int_equal(set(f, "a", NULL, 1, 0, TF_TIME_NEVER, &result), TF_OK);
    assert_false(result.refused);
    assert_int_not_equal(result.stored, 0);
    assert_value(f, "a", NULL);
    f->k.disk.fail_at = 0;
    f->k.disk.fail_on = false;
    rig_time(&f->k.rig, f->k.rig.now + 100 * TF_SECOND);
    store_rig_resume(&f->k);
    assert_int_equal(restart(f), 1);
    assert_value(f, "b", "2");
    stop(f);
}

static void test_without_memory(void **state)
{
    (void)state;
    char large[1000];
    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = 0;
    for (unsigned which = 0; which < 4; which++) {
        for (size_t nth = 1;; nth++) {
            struct fixture *f = start(2);
            struct test_alloc *memory = which % 2 ? &f->k.memory : &f->k.rig.memory;
            const char *body = which / 2 ? large : "small";
            char text[32];
            struct tf_bytes address = rig_address(&f->k.rig, 1, "w", text, sizeof(text));
            keep(f, text, "before");
            f->done = 0;
            test_alloc_fail(memory, nth);
            enum tf_err err = write_value(f, 0, address, body, NULL);
            rig_settle(&f->k.rig);
            bool failed = memory->failed != 0;
            test_alloc_fail(memory, 0);
            store_rig_resume(&f->k);
            assert_int_equal(f->done, err == TF_AGAIN);
            bool taken = err == TF_AGAIN && f->result.taken;
            assert_true(taken || failed);
            size_t length = value_of(f, text)->message->span.length;
            assert_int_equal(length, taken ? strlen(body) : strlen("before"));
            assert_int_equal(restart(f), 1);
            assert_int_equal(value_of(f, text)->message->span.length, length);
            stop(f);
            if (!failed) {
                break;
            }
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_spreads),
        cmocka_unit_test(test_order_of_writes),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
