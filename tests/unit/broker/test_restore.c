/*
 * What a journal has, given back to shards and a front that writes down what it is given. The
 * journal's content is written here, record by record, good and bad.
 */
#include "broker/restore.h"

#include "base/util.h"
#include "broker/config.h"
#include "route/kept.h"
#include "route/named.h"
#include "unit/route/test_alloc.h"
#include "unit/store/sim_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SHARDS 2u
#define SESSIONS 4u
#define QUEUE_ID UINT64_C(0x1111111111111111)
#define SESSION_ID UINT64_C(0x2222222222222222)
#define NOBODY UINT64_C(0x3333333333333333)
#define WALL (UINT64_C(1700000000) * TF_SECOND)

/* ---- a front ---- */

struct session {
    struct tf_queue queue;
    struct tf_queue_limits limits;
    struct tf_queue_counters counters;
    bool used;
};

struct fake {
    struct tf_front front;
    struct tf_shard *shard;
    struct session sessions[SESSIONS];
    unsigned count;
    char will[32];                 /* of the last session */
    char parts[64];                /* kinds and keys, in order */
    struct tf_entry *under_way[8]; /* in order */
    size_t under_way_count;
    enum tf_err refuse; /* what it says to sessions */
};

static enum tf_err item(struct tf_queue *queue, uint64_t position,
                        const struct tf_stored_entry *stored, struct tf_message *message)
{
    (void)queue;
    (void)position;
    (void)stored;
    (void)message;
    return TF_NO_MEMORY; /* nobody takes from these */
}

static void filled(struct tf_queue *queue)
{
    (void)queue;
}

static const struct tf_kept_ops kept_ops = {item, filled};

/* The value of a session is the id of its queue. */
static enum tf_err fake_restore(struct tf_front *front, const struct tf_stored_object *object,
                                struct tf_queue **ret)
{
    struct fake *fake = tf_container_of(front, struct fake, front);
    struct session *session = &fake->sessions[fake->count];
    uint64_t id = 0;
    assert_int_equal(object->kind, TF_STORED_SESSION);
    assert_int_equal(tf_shard_home(fake->shard, object->key), fake->shard->config.number);
    if (fake->refuse) {
        return fake->refuse;
    }
    if (object->value.length != 8) {
        return TF_PROTOCOL;
    }
    assert_true(fake->count < SESSIONS);
    memcpy(&id, object->value.data, sizeof(id));
    session->limits = (struct tf_queue_limits){.entries = 1000, .bytes = 1000000};
    tf_queue_init(&session->queue, fake->shard, &session->limits, &session->counters);
    enum tf_err err = tf_queue_keep(&session->queue, id, TF_STORE_DISK, &kept_ops);
    if (err) {
        tf_queue_release(&session->queue);
        return err;
    }
    if (object->message) {
        struct tf_bytes body = object->message->span;
        snprintf(fake->will, sizeof(fake->will), "%.*s", (int)body.length, (const char *)body.data);
    }
    session->used = true;
    fake->count++;
    *ret = &session->queue;
    return TF_OK;
}

static enum tf_err fake_part(struct tf_front *front, struct tf_queue *queue,
                             const struct tf_stored_object *object)
{
    struct fake *fake = tf_container_of(front, struct fake, front);
    size_t length = strlen(fake->parts);
    assert_ptr_equal(queue, &fake->sessions[0].queue);
    snprintf(fake->parts + length, sizeof(fake->parts) - length, "%u:%.*s ", object->kind,
             (int)object->key.length, (const char *)object->key.data);
    return TF_OK;
}

static enum tf_err fake_entry(struct tf_front *front, struct tf_entry *entry)
{
    struct fake *fake = tf_container_of(front, struct fake, front);
    assert_int_equal(entry->state, TF_ENTRY_ACQUIRED);
    fake->under_way[fake->under_way_count++] = entry;
    return TF_OK;
}

static const struct tf_front_ops fake_ops = {
    .restore = fake_restore, .restore_part = fake_part, .restore_entry = fake_entry};

/* ---- shards on a disk ---- */

struct rig {
    struct sim_disk disk;
    struct test_alloc memory;
    struct tf_journal *journal; /* while the content is written */
    uint8_t heads[512][64];     /* of messages, which last until the commit */
    unsigned head_count;
    struct tf_store *store;
    struct tf_post_office *office;
    struct tf_store_client clients[SHARDS];
    struct tf_shard shards[SHARDS];
    struct fake fakes[SHARDS];
    unsigned settled;
    bool damaged;
    struct tf_restored restored;
};

static void wake(void *ctx, unsigned shard)
{
    (void)ctx;
    (void)shard;
}

static void wake_store(void *ctx)
{
    (void)ctx;
}

static void changed(void *ctx, enum tf_store_state state, enum tf_err err, int error)
{
    (void)ctx;
    (void)state;
    (void)err;
    (void)error;
}

static void receive(void *ctx, const struct tf_mail *mail, unsigned from)
{
    (void)ctx;
    (void)mail;
    (void)from;
}

static void expired(void *ctx, struct tf_timer *timer)
{
    (void)ctx;
    (void)timer;
}

static void rig_journal(struct rig *rig)
{
    struct tf_journal_config config = {.disk = &rig->disk.disk,
                                       .alloc = &rig->memory.alloc,
                                       .seed = 1,
                                       .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                       .snapshot_interval = TF_JOURNAL_SEGMENT_MIN};
    struct tf_journal_report report;
    uint64_t holder;
    assert_int_equal(tf_journal_open(&config, &rig->journal, &report, &holder), TF_OK);
}

/* Starts with an empty journal, to be filled. */
static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    sim_disk_init(&rig->disk, 7);
    test_alloc_init(&rig->memory);
    rig_journal(rig);
}

static void rig_shards(struct rig *rig)
{
    struct tf_store_config config = {.journal = {.disk = &rig->disk.disk,
                                                 .alloc = &rig->memory.alloc,
                                                 .seed = 2,
                                                 .segment_size = TF_JOURNAL_SEGMENT_MIN,
                                                 .snapshot_interval = TF_JOURNAL_SEGMENT_MIN},
                                     .shards = SHARDS,
                                     .alloc = &rig->memory.alloc,
                                     .hold = tf_stored_hold,
                                     .let_go = tf_stored_let_go,
                                     .wake_shard = wake,
                                     .wake_store = wake_store,
                                     .changed = changed};
    struct tf_journal_report report;
    uint64_t holder;
    assert_int_equal(tf_store_new(&config, &rig->store, &report, &holder), TF_OK);
    rig->office = tf_post_office_new(SHARDS, 64, (struct tf_wake){wake, rig}, &rig->memory.alloc);
    assert_non_null(rig->office);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct tf_shard_config shard = {.number = i,
                                        .office = rig->office,
                                        .alloc = &rig->memory.alloc,
                                        .values = {.count = 100, .bytes = 100000},
                                        .receive = receive,
                                        .expired = expired,
                                        .store = &rig->clients[i]};
        assert_int_equal(tf_store_client_init(&rig->clients[i], rig->store, i), TF_OK);
        shard.first_version = tf_store_first_position(&rig->clients[i]);
        assert_int_equal(tf_shard_init(&rig->shards[i], &shard, 0), TF_OK);
        tf_shard_wall(&rig->shards[i], WALL);
        rig->fakes[i].front.ops = &fake_ops;
        rig->fakes[i].shard = &rig->shards[i];
    }
}

static void settle(void *ctx)
{
    struct rig *rig = ctx;
    rig->settled++;
    for (unsigned i = 0; i < SHARDS; i++) {
        tf_shard_receive(&rig->shards[i]);
        (void)tf_shard_flush(&rig->shards[i]);
    }
}

/* Until nothing is under way between the shards. */
static void settle_all(struct rig *rig)
{
    for (unsigned quiet = 0; quiet < 8; quiet++) {
        settle(rig);
        for (unsigned i = 0; i < SHARDS; i++) {
            if (tf_shard_busy(&rig->shards[i]) || tf_mail_spilled(rig->office, i)) {
                quiet = 0;
            }
        }
    }
}

/* Commits and closes what was written, and gives it back. */
static enum tf_err rig_restore(struct rig *rig)
{
    struct tf_front *fronts[SHARDS][2];
    struct tf_restore_shard shards[SHARDS];
    assert_int_equal(tf_journal_commit(rig->journal), TF_OK);
    tf_journal_close(rig->journal);
    rig_shards(rig);
    for (unsigned i = 0; i < SHARDS; i++) {
        fronts[i][0] = NULL; /* one that is not there */
        fronts[i][1] = &rig->fakes[i].front;
        shards[i] = (struct tf_restore_shard){&rig->shards[i], fronts[i], 2};
    }
    struct tf_restore_config config = {.journal = tf_store_journal(rig->store),
                                       .shards = shards,
                                       .count = SHARDS,
                                       .alloc = &rig->memory.alloc,
                                       .damaged = rig->damaged,
                                       .settle = settle,
                                       .ctx = rig};
    enum tf_err err = tf_restore(&config, &rig->restored);
    settle_all(rig);
    return err;
}

/* Ends the shards; the disk stays, and its journal may be looked at. */
static void rig_down(struct rig *rig)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        for (unsigned j = 0; j < SESSIONS; j++) {
            if (rig->fakes[i].sessions[j].used) {
                tf_queue_release(&rig->fakes[i].sessions[j].queue);
            }
        }
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        tf_shard_release(&rig->shards[i]);
        tf_store_client_release(&rig->clients[i]);
    }
    tf_post_office_free(rig->office);
    tf_store_free(rig->store);
    rig_journal(rig);
}

static void rig_end(struct rig *rig)
{
    tf_journal_close(rig->journal);
    assert_int_equal(atomic_load(&rig->memory.blocks), 0);
    sim_disk_release(&rig->disk);
}

/* ---- content ---- */

static struct tf_bytes text(const char *s)
{
    return tf_bytes_str(s);
}

/* A key that begins with the id of a queue. */
static struct tf_bytes key_of(uint64_t id, const char *rest, uint8_t *buffer, size_t size)
{
    struct tf_writer writer = tf_writer_of(buffer, size);
    tf_write_u64(&writer, id);
    tf_write_bytes(&writer, text(rest));
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}

static void put(struct rig *rig, uint8_t kind, struct tf_bytes key, struct tf_bytes value,
                uint64_t message)
{
    assert_int_equal(tf_journal_put(rig->journal, kind, key, value, &message, message != 0), TF_OK);
}

static void put_queue(struct rig *rig, const char *name, uint64_t id)
{
    struct tf_queue_spec spec = {.limits = {.entries = 100, .bytes = 100000},
                                 .message_ttl = TF_TIME_NEVER,
                                 .idle = TF_TIME_NEVER,
                                 .durability = TF_STORE_DISK};
    uint8_t value[128];
    struct tf_writer writer = tf_writer_of(value, sizeof(value));
    tf_stored_queue_write(&writer, id, &spec);
    put(rig, TF_STORED_QUEUE, text(name), tf_bytes_of(value, tf_writer_length(&writer)), 0);
}

static void put_session(struct rig *rig, const char *name, uint64_t id, uint64_t will)
{
    put(rig, TF_STORED_SESSION, text(name), tf_bytes_of(&id, sizeof(id)), will);
}

static void put_binding(struct rig *rig, uint64_t id, const char *filter)
{
    struct tf_binding_options options = {.qos = 1};
    uint8_t key[64], value[TF_STORED_BINDING_BYTES];
    struct tf_writer writer = tf_writer_of(value, sizeof(value));
    tf_stored_binding_write(&writer, &options);
    put(rig, TF_STORED_BINDING, key_of(id, filter, key, sizeof(key)),
        tf_bytes_of(value, tf_writer_length(&writer)), 0);
}

static void put_message(struct rig *rig, uint64_t id, const char *address, const char *body)
{
    struct tf_envelope envelope = {
        .address = text(address), .expires = TF_TIME_NEVER, .qos = 1, .retain = true};
    uint8_t *head = rig->heads[rig->head_count++ % TF_COUNT(rig->heads)];
    struct tf_writer writer = tf_writer_of(head, sizeof(rig->heads[0]));
    tf_stored_head_write(&writer, &envelope, WALL);
    assert_false(writer.failed);
    struct tf_bytes pieces[] = {tf_bytes_of(head, tf_writer_length(&writer)), text(body)};
    assert_int_equal(tf_journal_message(rig->journal, id, pieces, 2), TF_OK);
}

static void put_entry(struct rig *rig, uint64_t queue, uint64_t position, uint64_t message,
                      uint32_t charge, uint32_t tag)
{
    struct tf_stored_entry entry = {.charge = charge, .tag = tag, .qos = 1};
    uint8_t attributes[TF_JOURNAL_ATTRIBUTES_MAX];
    size_t length = tf_stored_entry_write(attributes, &entry, NULL);
    assert_int_equal(
        tf_journal_entry(rig->journal, queue, position, message, tf_bytes_of(attributes, length)),
        TF_OK);
}

static void put_value(struct rig *rig, const char *address, uint64_t message)
{
    uint8_t value[TF_STORED_VALUE_BYTES];
    struct tf_writer writer = tf_writer_of(value, sizeof(value));
    tf_write_u8(&writer, 1);
    tf_write_u64(&writer, 5);
    tf_write_u64(&writer, 5);
    put(rig, TF_STORED_VALUE, text(address), tf_bytes_of(value, tf_writer_length(&writer)),
        message);
}

/* A queue with a binding and three entries; a session with two under way and one that waits, a
 * will, a binding and a packet id; a value. */
static void fill(struct rig *rig)
{
    uint8_t key[64];
    put_message(rig, 1, "a/b", "one");
    put_message(rig, 2, "a/b", "two");
    put_queue(rig, "queue", QUEUE_ID);
    put_binding(rig, QUEUE_ID, "a/#");
    put_entry(rig, QUEUE_ID, 10, 1, 100, 0);
    put_entry(rig, QUEUE_ID, 11, 2, 200, 9); /* a named queue's tag means nothing now */
    put_entry(rig, QUEUE_ID, 15, 1, 300, 0);
    put_session(rig, "session", SESSION_ID, 2);
    put_binding(rig, SESSION_ID, "a/+");
    put(rig, TF_STORED_RECEIVED, key_of(SESSION_ID, "id", key, sizeof(key)), text("x"), 0);
    put_entry(rig, SESSION_ID, 20, 1, 100, 7);
    put_entry(rig, SESSION_ID, 21, 1, 100, 8);
    put_entry(rig, SESSION_ID, 30, 2, 50, 0);
    put_value(rig, "a/b", 1);
}

/* ---- tests ---- */

static void gives_all_back(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    fill(&rig);
    assert_int_equal(rig_restore(&rig), TF_OK);
    assert_int_equal(rig.restored.queues, 1);
    assert_int_equal(rig.restored.sessions, 1);
    assert_int_equal(rig.restored.bindings, 2);
    assert_int_equal(rig.restored.values, 1);
    assert_int_equal(rig.restored.entries, 4);
    assert_int_equal(rig.restored.under_way, 2);
    assert_int_equal(rig.restored.orphans, 0);

    struct tf_shard *home = &rig.shards[tf_shard_home(&rig.shards[0], text("queue"))];
    struct tf_queue_status status;
    tf_named_queue_status(tf_named_queue_find(home, text("queue")), &status);
    assert_int_equal(status.messages, 3);
    assert_int_equal(status.bytes, 600);
    assert_int_equal(status.bindings, 1);

    struct fake *fake = &rig.fakes[tf_shard_home(&rig.shards[0], text("session"))];
    assert_string_equal(fake->will, "two");
    assert_true(strstr(fake->parts, "2:a/+ ") && strstr(fake->parts, "5:id "));
    assert_int_equal(fake->under_way_count, 2);
    assert_int_equal(fake->under_way[0]->position, 20);
    assert_int_equal(fake->under_way[0]->tag, 7);
    assert_int_equal(fake->under_way[1]->tag, 8);
    assert_ptr_equal(fake->under_way[0]->message, fake->under_way[1]->message);
    assert_int_equal(fake->sessions[0].queue.count, 3);

    struct tf_shard *owner = &rig.shards[tf_shard_home(&rig.shards[0], text("a/b"))];
    const struct tf_value *value = tf_values_get(&owner->values, text("a/b"));
    assert_non_null(value);
    assert_int_equal(value->version, 5);
    assert_true(tf_bytes_equal(value->message->span, text("one")));
    rig_down(&rig);
    rig_end(&rig);
}

static size_t objects_of(struct rig *rig, unsigned kind)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_object object;
    size_t count = 0;
    while (tf_journal_next_object(rig->journal, &cursor, &object)) {
        count += object.kind == kind;
    }
    return count;
}

static size_t entries_of(struct rig *rig, uint64_t queue)
{
    struct tf_journal_cursor cursor = {{0}};
    struct tf_journal_place place;
    size_t count = 0;
    while (tf_journal_next_entry(rig->journal, &cursor, &place)) {
        count += place.queue == queue;
    }
    return count;
}

static void put_orphans(struct rig *rig)
{
    uint8_t key[64];
    put_binding(rig, NOBODY, "x");
    put(rig, TF_STORED_RECEIVED, key_of(NOBODY, "id", key, sizeof(key)), text(""), 0);
    put(rig, TF_STORED_RECEIVED, text("short"), text(""), 0);
    put_message(rig, 50, "x", "lost");
    put_entry(rig, NOBODY, 1, 50, 10, 0);
    put_entry(rig, NOBODY, 3, 50, 10, 5);
    put(rig, 99, text("of another version"), text("?"), 0);
}

/* `kept`: what belongs to nothing is there afterwards. */
static void assert_orphans(struct rig *rig, bool kept)
{
    assert_int_equal(entries_of(rig, NOBODY), kept ? 2 : 0);
    assert_int_equal(objects_of(rig, TF_STORED_RECEIVED), kept ? 3 : 1);
    assert_int_equal(objects_of(rig, 99), 1);
    assert_int_equal(entries_of(rig, QUEUE_ID), 3);
    assert_int_equal(entries_of(rig, SESSION_ID), 3);
}

static void forgets_what_belongs_to_nothing(void **state)
{
    struct rig rig;
    (void)state;
    for (unsigned damaged = 0; damaged < 2; damaged++) {
        rig_init(&rig);
        rig.damaged = damaged;
        fill(&rig);
        put_orphans(&rig);
        assert_int_equal(rig_restore(&rig), TF_OK);
        assert_int_equal(rig.restored.orphans, 5);
        assert_int_equal(rig.restored.queues, 1);
        rig_down(&rig);
        assert_orphans(&rig, damaged);
        rig_end(&rig);
    }
}

/* Whose entries they are is not known then, so none are removed. */
static void keeps_all_beside_nonsense(void **state)
{
    struct rig rig;
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        rig_init(&rig);
        fill(&rig);
        put_orphans(&rig);
        put(&rig, i ? TF_STORED_SESSION : TF_STORED_QUEUE, text("bad"), text("?"), 0);
        assert_int_equal(rig_restore(&rig), TF_OK);
        assert_int_equal(rig.restored.orphans, 6);
        rig_down(&rig);
        assert_orphans(&rig, true);
        rig_end(&rig);
    }
}

static void a_filter_that_makes_no_sense_binds_nothing(void **state)
{
    static const char *const filters[] = {"a/#/b", "a+", "", "a/\xff"};
    struct rig rig;
    (void)state;
    rig_init(&rig);
    fill(&rig);
    for (size_t i = 0; i < TF_COUNT(filters); i++) {
        put_binding(&rig, QUEUE_ID, filters[i]);
    }
    assert_int_equal(rig_restore(&rig), TF_OK);
    assert_int_equal(rig.restored.bindings, 2);
    assert_int_equal(rig.restored.orphans, TF_COUNT(filters));
    rig_down(&rig);
    assert_int_equal(objects_of(&rig, TF_STORED_BINDING), 2 + TF_COUNT(filters));
    rig_end(&rig);
}

static void an_expired_session_takes_all_with_it(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    fill(&rig);
    rig.fakes[0].refuse = rig.fakes[1].refuse = TF_NOT_FOUND;
    assert_int_equal(rig_restore(&rig), TF_OK);
    assert_int_equal(rig.restored.sessions, 0);
    rig_down(&rig);
    assert_int_equal(entries_of(&rig, SESSION_ID), 0);
    assert_int_equal(objects_of(&rig, TF_STORED_RECEIVED), 0);
    assert_int_equal(entries_of(&rig, QUEUE_ID), 3);
    rig_end(&rig);
}

static void too_much_is_an_error(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    fill(&rig);
    put_orphans(&rig);
    rig.fakes[0].refuse = rig.fakes[1].refuse = TF_LIMIT;
    assert_int_equal(rig_restore(&rig), TF_LIMIT);
    rig_down(&rig);
    assert_orphans(&rig, true);
    rig_end(&rig);
}

static void many_settle_on_the_way(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    put_queue(&rig, "queue", QUEUE_ID);
    for (unsigned i = 0; i < 2000; i++) {
        char filter[16];
        snprintf(filter, sizeof(filter), "f/%u", i);
        put_binding(&rig, QUEUE_ID, filter);
    }
    for (unsigned i = 0; i < 2000; i++) { /* of as many queues that are gone */
        if (i % 500 == 0) {
            assert_int_equal(tf_journal_commit(rig.journal), TF_OK);
        }
        put_message(&rig, 1000 + i, "x", "y");
        put_entry(&rig, NOBODY + i, 1, 1000 + i, 1, 0);
    }
    assert_int_equal(rig_restore(&rig), TF_OK);
    assert_int_equal(rig.restored.bindings, 2000);
    assert_int_equal(rig.restored.orphans, 2000);
    assert_true(rig.settled > 8);
    rig_down(&rig);
    assert_int_equal(entries_of(&rig, NOBODY + 1999), 0);
    rig_end(&rig);
}

/* Every allocation of the restore fails once: it says so, nothing leaks, nothing is removed. */
static void without_memory(void **state)
{
    bool done = false;
    (void)state;
    for (size_t n = 1; !done; n++) {
        struct rig rig;
        struct tf_front *fronts[SHARDS];
        struct tf_restore_shard shards[SHARDS];
        rig_init(&rig);
        fill(&rig);
        put_orphans(&rig);
        assert_int_equal(tf_journal_commit(rig.journal), TF_OK);
        tf_journal_close(rig.journal);
        rig_shards(&rig);
        for (unsigned i = 0; i < SHARDS; i++) {
            fronts[i] = &rig.fakes[i].front;
            shards[i] = (struct tf_restore_shard){&rig.shards[i], &fronts[i], 1};
        }
        struct tf_restore_config config = {.journal = tf_store_journal(rig.store),
                                           .shards = shards,
                                           .count = SHARDS,
                                           .alloc = &rig.memory.alloc,
                                           .settle = settle,
                                           .ctx = &rig};
        atomic_store(&rig.memory.failed, 0);
        atomic_store(&rig.memory.fail_at, atomic_load(&rig.memory.calls) + n);
        enum tf_err err = tf_restore(&config, &rig.restored);
        atomic_store(&rig.memory.fail_at, 0);
        assert_true(err == TF_OK || err == TF_NO_MEMORY);
        done = atomic_load(&rig.memory.failed) == 0;
        assert_true(!done || err == TF_OK);
        settle_all(&rig);
        rig_down(&rig);
        assert_int_equal(entries_of(&rig, QUEUE_ID), 3);
        assert_int_equal(entries_of(&rig, SESSION_ID), 3);
        rig_end(&rig);
        assert_true(n < 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_all_back),
        cmocka_unit_test(forgets_what_belongs_to_nothing),
        cmocka_unit_test(keeps_all_beside_nonsense),
        cmocka_unit_test(a_filter_that_makes_no_sense_binds_nothing),
        cmocka_unit_test(an_expired_session_takes_all_with_it),
        cmocka_unit_test(too_much_is_an_error),
        cmocka_unit_test(many_settle_on_the_way),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
