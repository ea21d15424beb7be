/*
 * The formats of what is stored: all of it comes back, the bytes are those of the document, and
 * bytes that make no sense are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/util.h"
#include "route/stored.h"
#include "unit/route/test_alloc.h"

#define WALL (1700000000 * TF_SECOND)

static bool is(struct tf_bytes bytes, const char *text)
{
    return tf_bytes_equal(bytes, tf_bytes_str(text));
}

/* Head and body of a publication in memory of the heap's, which is exactly so long. */
static uint8_t *whole(const struct tf_envelope *envelope, const char *body, size_t *ret_length)
{
    size_t head = tf_stored_head_size(envelope);
    size_t length = head + strlen(body);
    uint8_t *bytes = malloc(length);
    struct tf_writer writer = tf_writer_of(bytes, length);
    tf_stored_head_write(&writer, envelope, WALL);
    assert_false(writer.failed);
    assert_int_equal(tf_writer_length(&writer), head);
    memcpy(bytes + head, body, strlen(body));
    *ret_length = length;
    return bytes;
}

static struct tf_envelope full_envelope(const char *encoded)
{
    return (struct tf_envelope){.address = tf_bytes_str("a/b"),
                                .content_type = tf_bytes_of(encoded + 2, 4),
                                .correlation = tf_bytes_str("corr"),
                                .reply_to = {NULL, 0},
                                .encoded = tf_bytes_str(encoded),
                                .expires = 5 * TF_SECOND,
                                .publisher = 77,
                                .origin = TF_PROTOCOL_AMQP,
                                .qos = 2,
                                .priority = 9,
                                .payload_format = TF_PAYLOAD_TEXT,
                                .body_format = TF_BODY_SECTIONS,
                                .slack = 1,
                                .durable = true,
                                .retain = true,
                                .clear = true,
                                .attempts = 513,
                                .deaths = 3};
}

static void test_message(void **state)
{
    (void)state;
    struct test_alloc memory;
    struct tf_message *message;
    size_t length;
    test_alloc_init(&memory);
    struct tf_envelope envelope = full_envelope("..text..");
    uint8_t *bytes = whole(&envelope, "body", &length);
    /* it is read in a run whose clock began at another time */
    assert_int_equal(tf_stored_message_read(tf_bytes_of(bytes, length), WALL + 2 * TF_SECOND,
                                            &memory.alloc, &message),
                     TF_OK);
    free(bytes);
    const struct tf_envelope *got = &message->publication.envelope;
    assert_true(is(got->address, "a/b") && is(got->content_type, "text"));
    assert_true(is(got->correlation, "corr") && is(got->encoded, "..text.."));
    assert_int_equal(got->reply_to.length, 0);
    assert_ptr_equal(got->content_type.data, got->encoded.data + 2);
    assert_int_equal(got->expires, 3 * TF_SECOND);
    assert_int_equal(got->publisher, 0);
    assert_int_equal(got->origin, TF_PROTOCOL_AMQP);
    assert_int_equal(got->qos, 2);
    assert_int_equal(got->priority, 9);
    assert_int_equal(got->payload_format, TF_PAYLOAD_TEXT);
    assert_int_equal(got->body_format, TF_BODY_SECTIONS);
    assert_int_equal(got->slack, 1);
    assert_true(got->durable && got->retain && got->clear);
    assert_int_equal(got->attempts, 513);
    assert_int_equal(got->deaths, 3);
    assert_int_equal(message->publication.body_count, 1);
    assert_true(is(message->publication.body[0], "body"));
    assert_int_equal(message->publication.transaction, 0);
    assert_int_equal(message->refs, 1);
    tf_message_unref(message);
    assert_int_equal(memory.blocks, 0);
}

static void test_times(void **state)
{
    (void)state;
    assert_int_equal(tf_stored_time(TF_TIME_NEVER, WALL), 0);
    assert_int_equal(tf_stored_time_read(0, WALL), TF_TIME_NEVER);
    assert_int_equal(tf_stored_time(0, 0), 1); /* which is long ago, but not never */
    assert_int_equal(tf_stored_time_read(WALL - 1, WALL), 0);
    assert_int_equal(tf_stored_time(TF_TIME_NEVER - 1, WALL), 0); /* it is never, not long ago */
    assert_int_equal(tf_stored_time_read(tf_stored_time(7, WALL), WALL), 7);
}

static void test_golden_message(void **state)
{
    (void)state;
    static const uint8_t golden[] = {
        1, 3, 1, 1, 4,   1,   0, 0, 0,       /* version, durable and retain, MQTT, QoS 1, ... */
        0, 2, 0, 0, 0,   0,   0, 0, 0, 0, 6, /* attempts; never; within, own, nowhere */
        0, 0, 0, 1, 't',                     /* address */
        0, 0, 0, 2, 'x', 'y',                /* encoded */
        0, 0, 0, 1, 0,   0,   0, 1,          /* content type: 1 byte, from the second of them */
        0, 0, 0, 1, 'c'};                    /* correlation */
    char encoded[] = "xy";
    struct tf_envelope envelope = {.address = tf_bytes_str("t"),
                                   .content_type = tf_bytes_of(encoded + 1, 1),
                                   .correlation = tf_bytes_str("c"),
                                   .encoded = tf_bytes_str(encoded),
                                   .expires = TF_TIME_NEVER,
                                   .origin = TF_PROTOCOL_MQTT,
                                   .qos = 1,
                                   .priority = 4,
                                   .payload_format = TF_PAYLOAD_TEXT,
                                   .durable = true,
                                   .retain = true,
                                   .attempts = 2};
    size_t length;
    uint8_t *bytes = whole(&envelope, "", &length);
    assert_int_equal(length, sizeof(golden));
    assert_memory_equal(bytes, golden, length);
    free(bytes);
}

static void test_hostile_messages(void **state)
{
    (void)state;
    struct test_alloc memory;
    struct tf_random random;
    size_t length;
    test_alloc_init(&memory);
    tf_random_init(&random, 5);
    struct tf_envelope envelope = full_envelope("..text..");
    uint8_t *good = whole(&envelope, "", &length);
    for (size_t cut = 0; cut < length; cut++) { /* each shorter piece fails, exactly so long */
        struct tf_message *message = NULL;
        uint8_t *piece = malloc(cut + !cut);
        memcpy(piece, good, cut);
        assert_int_equal(
            tf_stored_message_read(tf_bytes_of(piece, cut), WALL, &memory.alloc, &message),
            TF_PROTOCOL);
        assert_null(message);
        free(piece);
    }
    for (unsigned i = 0; i < 20000; i++) {
        struct tf_message *message;
        uint8_t *bad = malloc(length);
        memcpy(bad, good, length);
        bad[tf_random_below(&random, length)] ^= (uint8_t)(1u << tf_random_below(&random, 8));
        enum tf_err err =
            tf_stored_message_read(tf_bytes_of(bad, length), WALL, &memory.alloc, &message);
        assert_true(err == TF_OK || err == TF_PROTOCOL);
        if (!err) {
            assert_true(message->publication.envelope.qos <= 2);
            tf_message_unref(message);
        }
        free(bad);
    }
    test_alloc_fail(&memory, 1);
    struct tf_message *message;
    assert_int_equal(
        tf_stored_message_read(tf_bytes_of(good, length), WALL, &memory.alloc, &message),
        TF_NO_MEMORY);
    free(good);
    assert_int_equal(memory.blocks, 0);
}

static void test_entry(void **state)
{
    (void)state;
    uint8_t buffer[TF_JOURNAL_ATTRIBUTES_MAX];
    static const uint32_t values[] = {0, 1, 127, 128, 16383, 16384, 268435455, UINT32_MAX};
    struct tf_subscription_ids ids = {values, TF_COUNT(values)};
    struct tf_stored_entry entry = {.charge = 1000,
                                    .tag = 0x10002,
                                    .expires = WALL,
                                    .attempts = 3,
                                    .qos = 2,
                                    .retain = true,
                                    .acquired_before = true,
                                    .annotations = tf_bytes_str("notes")};
    struct tf_stored_entry got;
    size_t length = tf_stored_entry_write(buffer, &entry, &ids);
    assert_int_equal(tf_stored_entry_read(tf_bytes_of(buffer, length), &got), TF_OK);
    assert_int_equal(got.charge, 1000);
    assert_int_equal(got.tag, 0x10002);
    assert_int_equal(got.expires, WALL);
    assert_int_equal(got.attempts, 3);
    assert_int_equal(got.qos, 2);
    assert_true(got.retain && got.acquired_before);
    assert_true(is(got.annotations, "notes"));
    struct tf_bytes left = got.ids;
    uint32_t id;
    for (size_t i = 0; i < TF_COUNT(values); i++) {
        assert_true(tf_stored_entry_id(&left, &id));
        assert_int_equal(id, values[i]);
    }
    assert_false(tf_stored_entry_id(&left, &id));
    /* what most entries have takes little room: it is in memory for each that is stored */
    static const uint8_t plain[] = {1, 1, 0, 0, 1, 0};
    struct tf_stored_entry simple = {.charge = 256, .qos = 1};
    struct tf_subscription_ids none = {NULL, 0};
    assert_int_equal(tf_stored_entry_write(buffer, &simple, &none), sizeof(plain));
    assert_memory_equal(buffer, plain, sizeof(plain));
}

static void test_entry_room(void **state)
{
    (void)state;
    uint8_t buffer[TF_JOURNAL_ATTRIBUTES_MAX + 8];
    static uint32_t values[300];
    struct tf_stored_entry got;
    char notes[260];
    memset(notes, 'n', sizeof(notes));
    for (size_t i = 0; i < TF_COUNT(values); i++) {
        values[i] = 200;
    }
    struct tf_subscription_ids ids = {values, TF_COUNT(values)};
    struct tf_stored_entry entry = {.qos = 1, .tag = 1, .expires = 1, .attempts = 1};
    memset(buffer, 0x5A, sizeof(buffer));
    size_t length = tf_stored_entry_write(buffer, &entry, &ids);
    assert_in_range(length, TF_JOURNAL_ATTRIBUTES_MAX - 1, TF_JOURNAL_ATTRIBUTES_MAX);
    assert_int_equal(buffer[TF_JOURNAL_ATTRIBUTES_MAX], 0x5A);
    assert_int_equal(tf_stored_entry_read(tf_bytes_of(buffer, length), &got), TF_OK);
    size_t count = 0;
    for (uint32_t id; tf_stored_entry_id(&got.ids, &id); count++) {
        assert_int_equal(id, 200);
    }
    assert_int_equal(count, 117); /* as many as fit */
    /* annotations are whole, or not there */
    for (size_t size = 240; size < sizeof(notes); size++) {
        struct tf_stored_entry noted = {.qos = 1, .annotations = tf_bytes_of(notes, size)};
        length = tf_stored_entry_write(buffer, &noted, NULL);
        assert_int_equal(tf_stored_entry_read(tf_bytes_of(buffer, length), &got), TF_OK);
        assert_int_equal(got.annotations.length, size <= TF_JOURNAL_ATTRIBUTES_MAX - 6 ? size : 0);
    }
}

static void test_hostile_entries(void **state)
{
    (void)state;
    struct tf_random random;
    struct tf_stored_entry got;
    tf_random_init(&random, 6);
    for (unsigned i = 0; i < 50000; i++) {
        size_t length = tf_random_below(&random, 40);
        uint8_t *bytes = malloc(length + !length);
        for (size_t j = 0; j < length; j++) {
            bytes[j] = (uint8_t)tf_random_below(&random, j == 0 ? 2 : 256);
        }
        if (tf_stored_entry_read(tf_bytes_of(bytes, length), &got) == TF_OK) {
            uint32_t id;
            assert_true(bytes[0] == 1 && got.qos <= 2);
            while (tf_stored_entry_id(&got.ids, &id)) {
            }
            assert_int_equal(got.ids.length, 0);
        }
        free(bytes);
    }
    static const uint8_t endless[] = {1, 129, 0, 0, 0, 0, 2, 128, 128};
    assert_int_equal(tf_stored_entry_read(tf_bytes_of(endless, sizeof(endless)), &got),
                     TF_PROTOCOL);
    static const uint8_t large[] = {1, 129, 0, 0, 0, 0, 5, 255, 255, 255, 255, 31};
    assert_int_equal(tf_stored_entry_read(tf_bytes_of(large, sizeof(large)), &got), TF_PROTOCOL);
}

static void test_queue(void **state)
{
    (void)state;
    uint8_t bytes[128];
    struct tf_queue_spec got;
    uint64_t id;
    struct tf_queue_spec spec = {.limits = {7, 1ull << 40, TF_OVERFLOW_REFUSE},
                                 .message_ttl = TF_TIME_NEVER,
                                 .dead_letter = tf_bytes_str("dead"),
                                 .idle = 3600 * TF_SECOND,
                                 .max_attempts = 5,
                                 .idle_when_empty = true,
                                 .durability = TF_STORE_OS,
                                 .configured = true};
    struct tf_writer writer = tf_writer_of(bytes, sizeof(bytes));
    tf_stored_queue_write(&writer, 0x1234567890, &spec);
    size_t length = tf_writer_length(&writer);
    assert_int_equal(length, tf_stored_queue_size(&spec));
    assert_int_equal(tf_stored_queue_read(tf_bytes_of(bytes, length), &id, &got), TF_OK);
    assert_int_equal(id, 0x1234567890);
    assert_int_equal(got.limits.entries, 7);
    assert_int_equal(got.limits.bytes, 1ull << 40);
    assert_int_equal(got.limits.overflow, TF_OVERFLOW_REFUSE);
    assert_int_equal(got.message_ttl, TF_TIME_NEVER);
    assert_int_equal(got.idle, 3600 * TF_SECOND);
    assert_int_equal(got.max_attempts, 5);
    assert_int_equal(got.durability, TF_STORE_OS);
    assert_true(got.idle_when_empty && !got.configured && is(got.dead_letter, "dead"));
    for (size_t cut = 0; cut < length; cut++) {
        assert_int_equal(tf_stored_queue_read(tf_bytes_of(bytes, cut), &id, &got), TF_PROTOCOL);
    }
    assert_int_equal(tf_stored_queue_read(tf_bytes_of(bytes, length + 1), &id, &got), TF_PROTOCOL);
    bytes[0] = 2; /* a version to come */
    assert_int_equal(tf_stored_queue_read(tf_bytes_of(bytes, length), &id, &got), TF_PROTOCOL);
}

static void test_binding_and_value(void **state)
{
    (void)state;
    uint8_t bytes[TF_STORED_VALUE_BYTES + 8] = {0};
    struct tf_binding_options got;
    struct tf_binding_options options = {.subscription_id = 268435455,
                                         .qos = 2,
                                         .upgrade = true,
                                         .no_local = false,
                                         .retain_as_published = true};
    struct tf_writer writer = tf_writer_of(bytes, sizeof(bytes));
    tf_stored_binding_write(&writer, &options);
    assert_int_equal(tf_writer_length(&writer), TF_STORED_BINDING_BYTES);
    assert_int_equal(tf_stored_binding_read(tf_bytes_of(bytes, TF_STORED_BINDING_BYTES), &got),
                     TF_OK);
    assert_int_equal(got.subscription_id, 268435455);
    assert_int_equal(got.qos, 2);
    assert_true(got.upgrade && !got.no_local && got.retain_as_published);
    assert_int_equal(tf_stored_binding_read(tf_bytes_of(bytes, TF_STORED_BINDING_BYTES - 1), &got),
                     TF_PROTOCOL);
    bytes[6] = 8;
    assert_int_equal(tf_stored_binding_read(tf_bytes_of(bytes, TF_STORED_BINDING_BYTES), &got),
                     TF_PROTOCOL);

    uint64_t version, shown;
    struct tf_bytes message;
    writer = tf_writer_of(bytes, sizeof(bytes));
    tf_stored_value_write(&writer, 5, 6);
    assert_int_equal(tf_writer_length(&writer), TF_STORED_VALUE_BYTES);
    tf_write_bytes(&writer, tf_bytes_str("message"));
    assert_int_equal(tf_stored_value_read(tf_bytes_of(bytes, tf_writer_length(&writer)), &version,
                                          &shown, &message),
                     TF_OK);
    assert_true(version == 5 && shown == 6 && is(message, "message"));
    assert_int_equal(tf_stored_value_read(tf_bytes_of(bytes, TF_STORED_VALUE_BYTES - 1), &version,
                                          &shown, &message),
                     TF_PROTOCOL);
    writer = tf_writer_of(bytes, sizeof(bytes));
    tf_stored_value_write(&writer, 6, 5); /* shown before it was */
    assert_int_equal(
        tf_stored_value_read(tf_bytes_of(bytes, TF_STORED_VALUE_BYTES), &version, &shown, &message),
        TF_PROTOCOL);
}

static void test_levels(void **state)
{
    static const struct {
        enum tf_store_level wanted;
        uint8_t slack;
        enum tf_store_level level;
    } levels[] = {{TF_STORE_DISK, 0, TF_STORE_DISK},   {TF_STORE_DISK, 1, TF_STORE_OS},
                  {TF_STORE_DISK, 2, TF_STORE_MEMORY}, {TF_STORE_DISK, 255, TF_STORE_MEMORY},
                  {TF_STORE_OS, 0, TF_STORE_OS},       {TF_STORE_OS, 1, TF_STORE_OS},
                  {TF_STORE_OS, 2, TF_STORE_MEMORY},   {TF_STORE_MEMORY, 0, TF_STORE_MEMORY}};
    (void)state;
    for (size_t i = 0; i < TF_COUNT(levels); i++) {
        struct tf_envelope envelope = {.slack = levels[i].slack};
        assert_int_equal(tf_stored_level(levels[i].wanted, &envelope), levels[i].level);
    }
}

static void test_keys(void **state)
{
    static const uint8_t wanted[] = {1, 2, 3, 4, 5, 6, 7, 8, 'a', '/', '#'};
    static const uint8_t nobody[9] = {0};
    uint8_t buffer[sizeof(wanted)];
    (void)state;
    struct tf_bytes key =
        tf_stored_key_write(buffer, UINT64_C(0x0102030405060708), tf_bytes_str("a/#"));
    assert_int_equal(key.length, sizeof(wanted));
    assert_memory_equal(key.data, wanted, sizeof(wanted));
    assert_int_equal(tf_stored_key_read(&key), UINT64_C(0x0102030405060708));
    assert_true(tf_bytes_equal(key, tf_bytes_str("a/#")));
    key = tf_bytes_of(wanted, TF_STORED_ID_BYTES - 1);
    assert_int_equal(tf_stored_key_read(&key), 0);
    assert_int_equal(key.length, TF_STORED_ID_BYTES - 1);
    key = tf_bytes_of(nobody, sizeof(nobody));
    assert_int_equal(tf_stored_key_read(&key), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_golden_message),
        cmocka_unit_test(test_hostile_messages),
        cmocka_unit_test(test_entry),
        cmocka_unit_test(test_entry_room),
        cmocka_unit_test(test_hostile_entries),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_binding_and_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
