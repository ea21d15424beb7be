/*
 * Messages: what keeping copies, who frees, and that every failed allocation changes nothing.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/message.h"
#include "unit/route/test_alloc.h"

static bool is(struct tf_bytes bytes, const char *text)
{
    return tf_bytes_equal(bytes, tf_bytes_str(text));
}

static struct tf_envelope envelope_of(const char *address)
{
    return (struct tf_envelope){.address = tf_bytes_str(address), .expires = TF_TIME_NEVER};
}

static bool yes(void *ctx)
{
    (void)ctx;
    return true;
}

/* What is left of a scarce memory is not for messages. */
static void test_scarce(void **state)
{
    (void)state;
    struct test_alloc memory;
    struct tf_envelope envelope = envelope_of("a");
    struct tf_publication publication = {.envelope = envelope};
    test_alloc_init(&memory);
    struct tf_message *kept = tf_publication_keep(&publication, &memory.alloc);
    memory.alloc.scarce = yes;
    assert_ptr_equal(tf_publication_keep(&publication, &memory.alloc), kept); /* it is there */
    assert_null(tf_message_new(&envelope, &memory.alloc));
    tf_message_unref(kept);
    tf_message_unref(kept);
    tf_publication_release(&publication);
    assert_null(tf_publication_keep(&publication, &memory.alloc));
    memory.alloc.scarce = NULL;
    kept = tf_publication_keep(&publication, &memory.alloc);
    assert_non_null(kept);
    tf_message_unref(kept);
    tf_publication_release(&publication);
    assert_int_equal(memory.blocks, 0);
}

static void test_keep_copies(void **state)
{
    (void)state;
    struct test_alloc memory;
    test_alloc_init(&memory);
    char encoded[] = "..text/plain..corr..reply";
    char address[] = "a/b";
    struct tf_bytes body[] = {tf_bytes_str("one "), tf_bytes_str(""), tf_bytes_str("two")};
    struct tf_publication publication = {.envelope = {.address = tf_bytes_str(address),
                                                      .encoded = tf_bytes_str(encoded),
                                                      .content_type = tf_bytes_of(encoded + 2, 10),
                                                      .correlation = tf_bytes_of(encoded + 14, 4),
                                                      .reply_to = tf_bytes_str("elsewhere"),
                                                      .expires = 77,
                                                      .publisher = 9,
                                                      .qos = 2,
                                                      .retain = true},
                                         .body = body,
                                         .body_count = 3};
    struct tf_message *first = tf_publication_keep(&publication, &memory.alloc);
    struct tf_message *second = tf_publication_keep(&publication, &memory.alloc);
    assert_ptr_equal(first, second);
    assert_int_equal(memory.blocks, 1);
    assert_int_equal(memory.bytes, first->size);
    tf_publication_release(&publication);
    assert_null(publication.kept);
    memset(encoded, '!', sizeof(encoded) - 1);
    memset(address, '!', sizeof(address) - 1);
    memset(body, 0, sizeof(body));
    const struct tf_envelope *kept = &first->publication.envelope;
    assert_true(is(kept->address, "a/b"));
    assert_true(is(kept->encoded, "..text/plain..corr..reply"));
    assert_true(is(kept->content_type, "text/plain"));
    assert_true(is(kept->correlation, "corr"));
    assert_true(is(kept->reply_to, "elsewhere"));
    /* a view of the properties stays one */
    assert_ptr_equal(kept->content_type.data, kept->encoded.data + 2);
    assert_int_equal(kept->expires, 77);
    assert_int_equal(kept->publisher, 9);
    assert_int_equal(kept->qos, 2);
    assert_true(kept->retain);
    assert_int_equal(first->publication.body_count, 1);
    assert_true(is(first->publication.body[0], "one two"));
    assert_int_equal(tf_publication_length(&first->publication), 7);
    /* a kept message, published again, is itself */
    assert_ptr_equal(tf_publication_keep(&first->publication, &memory.alloc), first);
    tf_message_unref(first);
    tf_message_unref(first);
    assert_int_equal(memory.blocks, 1);
    tf_message_unref(second);
    assert_int_equal(memory.blocks, 0);
}

/* What is no part of the properties, because there are none. */
static void test_envelope_without_properties(void **state)
{
    (void)state;
    struct test_alloc memory;
    test_alloc_init(&memory);
    struct tf_publication publication = {.envelope = envelope_of("a")};
    publication.envelope.content_type = tf_bytes_str("text/plain");
    struct tf_message *message = tf_publication_keep(&publication, &memory.alloc);
    tf_publication_release(&publication);
    assert_true(is(message->publication.envelope.content_type, "text/plain"));
    assert_int_equal(message->publication.envelope.encoded.length, 0);
    tf_message_unref(message);
    assert_int_equal(memory.blocks, 0);
}

static void test_empty_body(void **state)
{
    (void)state;
    struct test_alloc memory;
    test_alloc_init(&memory);
    struct tf_publication publication = {.envelope = envelope_of("a")};
    struct tf_message *message = tf_publication_keep(&publication, &memory.alloc);
    assert_int_equal(message->publication.body_count, 0);
    assert_int_equal(tf_publication_length(&message->publication), 0);
    tf_publication_release(&publication);
    tf_publication_release(&publication); /* nothing is left to let go of */
    tf_message_unref(message);
    assert_int_equal(memory.blocks, 0);
}

static void test_runs(void **state)
{
    (void)state;
    struct test_alloc memory;
    test_alloc_init(&memory);
    struct tf_envelope envelope = envelope_of("a");
    struct tf_message *message = tf_message_new(&envelope, &memory.alloc);
    for (unsigned i = 0; i < 50; i++) {
        uint8_t run[3] = {(uint8_t)i, 1, 2};
        assert_int_equal(tf_message_append(message, tf_bytes_of(run, 1 + i % 3)), TF_OK);
        assert_int_equal(memory.bytes, message->size);
        /* an empty run, as when the headers came alone, is nothing */
        assert_int_equal(tf_message_append(message, tf_bytes_of(run, 0)), TF_OK);
    }
    /* short runs become one piece: a peer that dribbles makes no list of bytes */
    struct tf_bytes piece = message->publication.body[0];
    assert_int_equal(message->publication.body_count, 1);
    size_t at = 0;
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(piece.data[at], i);
        at += 1 + i % 3;
    }
    assert_int_equal(piece.length, at);
    /* a run over what the piece has left goes on in the next one, which takes all the rest */
    static uint8_t large[20000];
    memset(large, 7, sizeof(large));
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(tf_message_append(message, tf_bytes_of(large, sizeof(large))), TF_OK);
        assert_int_equal(memory.bytes, message->size);
    }
    assert_int_equal(tf_publication_length(&message->publication), at + 12 * sizeof(large));
    assert_int_equal(message->publication.body_count, 13);
    assert_int_equal(message->publication.body[1].data[0], 7);
    tf_message_unref(message);
    assert_int_equal(memory.blocks, 0);
    assert_int_equal(memory.bytes, 0);
}

static void test_encodings(void **state)
{
    (void)state;
    struct test_alloc memory;
    test_alloc_init(&memory);
    struct tf_envelope envelope = envelope_of("a");
    struct tf_message *message = tf_message_new(&envelope, &memory.alloc);
    assert_null(tf_message_encoding(message, TF_PROTOCOL_MQTT));
    const struct tf_encoding *mqtt =
        tf_message_attach(message, TF_PROTOCOL_MQTT, tf_bytes_str("mqtt"));
    const struct tf_encoding *coap =
        tf_message_attach(message, TF_PROTOCOL_COAP, tf_bytes_str("coap"));
    size_t blocks = memory.blocks;
    assert_ptr_equal(tf_message_attach(message, TF_PROTOCOL_MQTT, tf_bytes_str("late")), mqtt);
    assert_int_equal(memory.blocks, blocks); /* the loser has gone */
    assert_ptr_equal(tf_message_encoding(message, TF_PROTOCOL_MQTT), mqtt);
    assert_ptr_equal(tf_message_encoding(message, TF_PROTOCOL_COAP), coap);
    assert_null(tf_message_encoding(message, TF_PROTOCOL_AMQP));
    assert_true(is(mqtt->bytes, "mqtt"));
    assert_true(is(coap->bytes, "coap"));
    tf_message_unref(message);
    assert_int_equal(memory.blocks, 0);
}

struct race {
    struct tf_message *message;
    pthread_barrier_t *barrier;
    const struct tf_encoding *got;
};

static void *attach_and_unref(void *argument)
{
    struct race *race = argument;
    pthread_barrier_wait(race->barrier);
    race->got = tf_message_attach(race->message, TF_PROTOCOL_AMQP, tf_bytes_str("same"));
    if (!is(race->got->bytes, "same")) {
        race->got = NULL;
    }
    tf_message_unref(race->message);
    return NULL;
}

static void test_attach_by_two_threads(void **state)
{
    (void)state;
    struct test_alloc memory;
    test_alloc_init(&memory);
    for (unsigned round = 0; round < 200; round++) {
        pthread_barrier_t barrier;
        pthread_t threads[2];
        struct race races[2];
        struct tf_envelope envelope = envelope_of("a");
        struct tf_message *message = tf_message_new(&envelope, &memory.alloc);
        pthread_barrier_init(&barrier, NULL, 2);
        for (unsigned i = 0; i < 2; i++) {
            races[i] = (struct race){tf_message_ref(message), &barrier, NULL};
            assert_int_equal(pthread_create(&threads[i], NULL, attach_and_unref, &races[i]), 0);
        }
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        pthread_barrier_destroy(&barrier);
        assert_non_null(races[0].got);
        assert_ptr_equal(races[0].got, races[1].got);
        assert_null(races[0].got->next);
        tf_message_unref(message);
        assert_int_equal(memory.blocks, 0);
    }
}

/* All that allocates, with one call failing. True: none failed. */
static bool all_with_failure(struct test_alloc *memory, size_t nth)
{
    static const uint8_t run[8192]; /* each a piece of its own */
    struct tf_bytes body = tf_bytes_str("body");
    struct tf_publication publication = {
        .envelope = envelope_of("a/b"), .body = &body, .body_count = 1};
    test_alloc_fail(memory, nth);
    struct tf_message *kept = tf_publication_keep(&publication, &memory->alloc);
    struct tf_message *runs = tf_message_new(&publication.envelope, &memory->alloc);
    assert_true(kept != NULL || publication.kept == NULL);
    for (unsigned i = 0; runs && i < 20; i++) {
        size_t size = runs->size;
        size_t count = runs->publication.body_count;
        if (tf_message_append(runs, tf_bytes_of(run, sizeof(run)))) {
            assert_int_equal(runs->publication.body_count, count);
            assert_true(runs->size >= size); /* room for more runs may stay */
        }
    }
    if (kept && !tf_message_attach(kept, TF_PROTOCOL_MQTT, body)) {
        assert_null(tf_message_encoding(kept, TF_PROTOCOL_MQTT));
    }
    bool done = memory->failed == 0;
    if (kept) {
        tf_message_unref(kept);
    }
    if (runs) {
        tf_message_unref(runs);
    }
    tf_publication_release(&publication);
    assert_int_equal(memory->blocks, 0);
    return done;
}

static void test_every_allocation_failed(void **state)
{
    (void)state;
    struct test_alloc memory;
    test_alloc_init(&memory);
    size_t nth = 1;
    while (!all_with_failure(&memory, nth)) {
        nth++;
    }
    assert_true(nth > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scarce),
        cmocka_unit_test(test_keep_copies),
        cmocka_unit_test(test_envelope_without_properties),
        cmocka_unit_test(test_empty_body),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_attach_by_two_threads),
        cmocka_unit_test(test_every_allocation_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
