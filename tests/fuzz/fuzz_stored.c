/*
 * Fuzz target: what the store gives back. The first byte chooses what the rest is taken for. What
 * is read is written again and read again, and both are the same; a writer never makes more than it
 * said, nor more than an entry may have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route/stored.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))
#define WALL (1700000000 * TF_SECOND)
#define IDS_MAX TF_JOURNAL_ATTRIBUTES_MAX

/* Ends the run with what went wrong. */
static _Noreturn void fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_stored.c:%d: %s\n", line, what);
    abort();
}

static void *heap_get(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void heap_put(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct tf_alloc heap = {.alloc = heap_get, .free = heap_put};

static void same_envelope(const struct tf_envelope *a, const struct tf_envelope *b)
{
    CHECK(tf_bytes_equal(a->address, b->address) && tf_bytes_equal(a->encoded, b->encoded));
    CHECK(tf_bytes_equal(a->content_type, b->content_type));
    CHECK(tf_bytes_equal(a->correlation, b->correlation));
    CHECK(tf_bytes_equal(a->reply_to, b->reply_to));
    CHECK(a->expires == b->expires && a->publisher == 0 && b->publisher == 0);
    CHECK(a->origin == b->origin && a->qos == b->qos && a->priority == b->priority);
    CHECK(a->payload_format == b->payload_format && a->body_format == b->body_format);
    CHECK(a->slack == b->slack && a->durable == b->durable && a->retain == b->retain);
    CHECK(a->clear == b->clear && a->attempts == b->attempts && a->deaths == b->deaths);
}

static void message(struct tf_bytes in)
{
    struct tf_message *first, *again;
    if (tf_stored_message_read(in, WALL, &heap, &first)) {
        return;
    }
    const struct tf_publication *publication = &first->publication;
    size_t head = tf_stored_head_size(&publication->envelope);
    size_t body = tf_publication_length(publication);
    uint8_t *bytes = malloc(head + body);
    struct tf_writer writer = tf_writer_of(bytes, head + body);
    CHECK(bytes && head <= 4 * in.length + 64);
    tf_stored_head_write(&writer, &publication->envelope, WALL);
    CHECK(!writer.failed && tf_writer_length(&writer) == head);
    if (body) {
        tf_write_bytes(&writer, publication->body[0]);
    }
    CHECK(!tf_stored_message_read(tf_bytes_of(bytes, head + body), WALL, &heap, &again));
    same_envelope(&publication->envelope, &again->publication.envelope);
    CHECK(tf_publication_length(&again->publication) == body);
    free(bytes);
    tf_message_unref(first);
    tf_message_unref(again);
}

static void entry(struct tf_bytes in)
{
    uint8_t bytes[TF_JOURNAL_ATTRIBUTES_MAX];
    uint32_t values[IDS_MAX];
    struct tf_subscription_ids ids = {values, 0};
    struct tf_stored_entry first, again;
    if (in.length > TF_JOURNAL_ATTRIBUTES_MAX || tf_stored_entry_read(in, &first)) {
        return;
    }
    struct tf_bytes left = first.ids;
    while (tf_stored_entry_id(&left, &values[ids.count])) {
        ids.count++;
    }
    CHECK(left.length == 0);
    size_t length = tf_stored_entry_write(bytes, &first, &ids);
    CHECK(length <= sizeof(bytes) && length <= in.length);
    CHECK(!tf_stored_entry_read(tf_bytes_of(bytes, length), &again));
    CHECK(first.charge == again.charge && first.tag == again.tag);
    CHECK(first.expires == again.expires && first.attempts == again.attempts);
    CHECK(first.qos == again.qos && first.retain == again.retain);
    CHECK(first.acquired_before == again.acquired_before);
    CHECK(tf_bytes_equal(first.annotations, again.annotations));
    for (uint32_t i = 0, id; i < ids.count; i++) {
        CHECK(tf_stored_entry_id(&again.ids, &id) && id == values[i]);
    }
}

static void queue(struct tf_bytes in)
{
    struct tf_queue_spec spec;
    uint64_t id;
    if (tf_stored_queue_read(in, &id, &spec)) {
        return;
    }
    size_t size = tf_stored_queue_size(&spec);
    uint8_t *bytes = malloc(size);
    struct tf_writer writer = tf_writer_of(bytes, size);
    CHECK(bytes && size == in.length);
    tf_stored_queue_write(&writer, id, &spec);
    CHECK(!writer.failed && tf_bytes_equal(tf_bytes_of(bytes, size), in));
    free(bytes);
}

static void rest(struct tf_bytes in)
{
    uint8_t bytes[TF_STORED_VALUE_BYTES];
    struct tf_writer writer = tf_writer_of(bytes, sizeof(bytes));
    struct tf_binding_options options;
    struct tf_bytes inside;
    uint64_t version, shown;
    if (!tf_stored_binding_read(in, &options)) {
        tf_stored_binding_write(&writer, &options);
        CHECK(tf_bytes_equal(tf_bytes_of(bytes, tf_writer_length(&writer)), in));
    }
    if (!tf_stored_value_read(in, &version, &shown, &inside)) {
        writer = tf_writer_of(bytes, sizeof(bytes));
        tf_stored_value_write(&writer, version, shown);
        CHECK(!writer.failed && in.length == sizeof(bytes) + inside.length);
        CHECK(memcmp(bytes, in.data, sizeof(bytes)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    if (length == 0) {
        return 0;
    }
    struct tf_bytes in = tf_bytes_of(data + 1, length - 1);
    switch (data[0] % 4) {
    case 0:
        message(in);
        break;
    case 1:
        entry(in);
        break;
    case 2:
        queue(in);
        break;
    default:
        rest(in);
        break;
    }
    return 0;
}
