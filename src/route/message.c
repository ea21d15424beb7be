/*
 * Counted messages. See message.h.
 */
#include "route/message.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"
#include "base/views.h"

/* The least piece of a body that comes in runs: a peer that dribbles must not make it a list of
 * single bytes, each of which every receiver's output would refer to. */
#define CHUNK_SIZE ((size_t)4096)

size_t tf_publication_length(const struct tf_publication *publication)
{
    size_t length = 0;
    for (size_t i = 0; i < publication->body_count; i++) {
        length += publication->body[i].length;
    }
    return length;
}

/* A view that lies within `encoded`, as most of an envelope's do, moves along with it. */
static struct tf_bytes put_within(uint8_t **next, struct tf_bytes bytes, struct tf_bytes from,
                                  struct tf_bytes to)
{
    if (bytes.length != 0 && from.length != 0 && bytes.data >= from.data &&
        bytes.data + bytes.length <= from.data + from.length) {
        return (struct tf_bytes){to.data + (bytes.data - from.data), bytes.length};
    }
    return tf_bytes_put(next, bytes);
}

/* A message with room for the envelope and `body` bytes; *ret_next is where the body goes. */
static struct tf_message *make(const struct tf_envelope *envelope, size_t body,
                               const struct tf_alloc *alloc, uint8_t **ret_next)
{
    size_t size = sizeof(struct tf_message) + envelope->address.length + envelope->encoded.length +
                  envelope->content_type.length + envelope->correlation.length +
                  envelope->reply_to.length + body;
    bool scarce = alloc->scarce && alloc->scarce(alloc->ctx);
    struct tf_message *message = scarce ? NULL : alloc->alloc(alloc->ctx, size);
    if (!message) {
        return NULL;
    }
    uint8_t *next = (uint8_t *)(message + 1);
    struct tf_envelope *copy = &message->publication.envelope;
    *copy = *envelope;
    copy->address = tf_bytes_put(&next, envelope->address);
    copy->encoded = tf_bytes_put(&next, envelope->encoded);
    copy->content_type =
        put_within(&next, envelope->content_type, envelope->encoded, copy->encoded);
    copy->correlation = put_within(&next, envelope->correlation, envelope->encoded, copy->encoded);
    copy->reply_to = put_within(&next, envelope->reply_to, envelope->encoded, copy->encoded);
    message->publication.body = &message->span;
    message->publication.body_count = 0;
    message->publication.kept = message;
    message->publication.transaction = 0; /* of one publishing, not of what is kept of it */
    message->span = (struct tf_bytes){NULL, 0};
    message->alloc = alloc;
    message->size = size;
    message->chunks = NULL;
    message->chunk_capacity = 0;
    message->chunk_room = 0;
    message->stored = 0;
    atomic_init(&message->encodings, NULL);
    atomic_init(&message->refs, 1);
    *ret_next = next;
    return message;
}

struct tf_message *tf_publication_keep(struct tf_publication *publication,
                                       const struct tf_alloc *alloc)
{
    if (publication->kept) {
        return tf_message_ref(publication->kept);
    }
    uint8_t *next;
    size_t length = tf_publication_length(publication);
    struct tf_message *message = make(&publication->envelope, length, alloc, &next);
    if (!message) {
        return NULL;
    }
    message->span = (struct tf_bytes){next, length};
    message->publication.body_count = length != 0;
    for (size_t i = 0; i < publication->body_count; i++) {
        (void)tf_bytes_put(&next, publication->body[i]);
    }
    publication->kept = message;
    return tf_message_ref(message);
}

void tf_publication_release(struct tf_publication *publication)
{
    if (publication->kept) {
        tf_message_unref(publication->kept);
        publication->kept = NULL;
    }
}

struct tf_message *tf_message_new(const struct tf_envelope *envelope, const struct tf_alloc *alloc)
{
    uint8_t *next;
    return make(envelope, 0, alloc, &next);
}

/* Room for one chunk more in the list of them. */
static enum tf_err grow_chunks(struct tf_message *message)
{
    const struct tf_alloc *alloc = message->alloc;
    size_t count = message->publication.body_count;
    if (count < message->chunk_capacity) {
        return TF_OK;
    }
    size_t capacity = count ? 2 * count : 8;
    struct tf_bytes *chunks = alloc->alloc(alloc->ctx, capacity * sizeof(*chunks));
    if (!chunks) {
        return TF_NO_MEMORY;
    }
    if (message->chunks) {
        memcpy(chunks, message->chunks, count * sizeof(*chunks));
        alloc->free(alloc->ctx, message->chunks, count * sizeof(*chunks));
    }
    message->size += (capacity - count) * sizeof(*chunks);
    message->chunks = chunks;
    message->chunk_capacity = capacity;
    message->publication.body = chunks;
    return TF_OK;
}

/* Copies `run` behind what the last chunk has; there is room. */
static void fill_chunk(struct tf_message *message, struct tf_bytes run)
{
    struct tf_bytes *last = &message->chunks[message->publication.body_count - 1];
    memcpy((uint8_t *)(uintptr_t)last->data + last->length, run.data, run.length);
    last->length += run.length;
    message->chunk_room -= run.length;
}

enum tf_err tf_message_append(struct tf_message *message, struct tf_bytes run)
{
    if (run.length == 0) {
        return TF_OK; /* a head may arrive before the first byte of the body */
    }
    const struct tf_alloc *alloc = message->alloc;
    size_t fits = TF_MIN(run.length, message->chunk_room);
    struct tf_bytes rest = {run.data + fits, run.length - fits};
    uint8_t *chunk = NULL;
    size_t size = TF_MAX(rest.length, CHUNK_SIZE);
    if (rest.length) {
        if (grow_chunks(message)) {
            return TF_NO_MEMORY;
        }
        chunk = alloc->alloc(alloc->ctx, size);
        if (!chunk) {
            return TF_NO_MEMORY;
        }
    }
    if (fits) {
        fill_chunk(message, tf_bytes_of(run.data, fits));
    }
    if (chunk) {
        message->chunks[message->publication.body_count++] = tf_bytes_of(chunk, 0);
        message->chunk_room = size;
        message->size += size;
        fill_chunk(message, rest);
    }
    return TF_OK;
}

static void destroy(struct tf_message *message)
{
    const struct tf_alloc *alloc = message->alloc;
    struct tf_encoding *encoding = atomic_load(&message->encodings);
    while (encoding) {
        struct tf_encoding *next = encoding->next;
        alloc->free(alloc->ctx, encoding, encoding->size);
        encoding = next;
    }
    size_t inside = message->size;
    if (message->chunks) {
        size_t count = message->publication.body_count;
        for (size_t i = 0; i < count; i++) {
            size_t size = message->chunks[i].length + (i + 1 == count ? message->chunk_room : 0);
            inside -= size;
            alloc->free(alloc->ctx, (void *)(uintptr_t)message->chunks[i].data, size);
        }
        inside -= message->chunk_capacity * sizeof(*message->chunks);
        alloc->free(alloc->ctx, message->chunks,
                    message->chunk_capacity * sizeof(*message->chunks));
    }
    alloc->free(alloc->ctx, message, inside);
}

void tf_message_unref(struct tf_message *message)
{
    if (atomic_fetch_sub_explicit(&message->refs, 1, memory_order_acq_rel) == 1) {
        destroy(message);
    }
}

const struct tf_encoding *tf_message_encoding(struct tf_message *message, unsigned protocol)
{
    struct tf_encoding *encoding = atomic_load_explicit(&message->encodings, memory_order_acquire);
    while (encoding && encoding->protocol != protocol) {
        encoding = encoding->next;
    }
    return encoding;
}

const struct tf_encoding *tf_message_attach(struct tf_message *message, unsigned protocol,
                                            struct tf_bytes bytes)
{
    const struct tf_alloc *alloc = message->alloc;
    size_t size = sizeof(struct tf_encoding) + bytes.length;
    struct tf_encoding *made = alloc->alloc(alloc->ctx, size);
    if (!made) {
        return NULL;
    }
    uint8_t *next = (uint8_t *)(made + 1);
    made->size = size;
    made->protocol = (uint8_t)protocol;
    made->bytes = tf_bytes_put(&next, bytes);
    made->next = atomic_load_explicit(&message->encodings, memory_order_acquire);
    for (;;) {
        const struct tf_encoding *other = made->next;
        while (other && other->protocol != protocol) {
            other = other->next;
        }
        if (other) {
            alloc->free(alloc->ctx, made, size);
            return other;
        }
        if (atomic_compare_exchange_weak_explicit(&message->encodings, &made->next, made,
                                                  memory_order_release, memory_order_acquire)) {
            return made;
        }
    }
}
