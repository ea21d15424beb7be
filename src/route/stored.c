/*
 * The bytes of what the store keeps, written and read. See stored.h; docs/internals/stored.md has
 * the formats.
 *
 * Reader and writer of one thing stand together. Each first byte is a version; what is not written
 * by this one is TF_PROTOCOL, as are lengths that do not fit, values that no writer writes, and
 * bytes left over. This must not know what a front makes of its own records.
 */
#include "route/stored.h"

#include "base/mem.h"
#include "base/util.h"
#include "base/views.h"
#include "route/internal.h"

#define VERSION 1u
#define SCRATCH_LEAST 1024u

/* ---- messages ---- */

/* Flags of a head. */
#define HEAD_DURABLE 1u
#define HEAD_RETAIN 2u
#define HEAD_CLEAR 4u

/* Version, flags, origin, QoS, priority, payload and body format, slack, deaths, attempts, expiry,
 * where the views lie, and the lengths of address and encoded properties. */
#define HEAD_FIXED (9u + 2u + 8u + 1u + 4u + 4u)

/* Where a view of an envelope lies: two bits of one byte for each. */
enum place {
    PLACE_NOWHERE, /* it is empty */
    PLACE_OWN,     /* a length and its bytes */
    PLACE_WITHIN   /* a length and an offset into `encoded`, as most do */
};
#define PLACED 3u

static void views_of(const struct tf_envelope *envelope, struct tf_bytes views[PLACED])
{
    views[0] = envelope->content_type;
    views[1] = envelope->correlation;
    views[2] = envelope->reply_to;
}

static enum place place_of(struct tf_bytes view, struct tf_bytes encoded)
{
    if (view.length == 0) {
        return PLACE_NOWHERE;
    }
    uintptr_t at = (uintptr_t)view.data;
    uintptr_t start = (uintptr_t)encoded.data;
    return encoded.length && at >= start && at - start <= encoded.length &&
                   view.length <= encoded.length - (at - start)
               ? PLACE_WITHIN
               : PLACE_OWN;
}

size_t tf_stored_head_size(const struct tf_envelope *envelope)
{
    struct tf_bytes views[PLACED];
    size_t size = HEAD_FIXED + envelope->address.length + envelope->encoded.length;
    views_of(envelope, views);
    for (unsigned i = 0; i < PLACED; i++) {
        enum place place = place_of(views[i], envelope->encoded);
        size += place == PLACE_OWN ? 4 + views[i].length : place == PLACE_WITHIN ? 8 : 0;
    }
    return size;
}

void tf_stored_head_write(struct tf_writer *writer, const struct tf_envelope *envelope,
                          tf_time wall)
{
    struct tf_bytes views[PLACED];
    uint8_t places = 0;
    views_of(envelope, views);
    for (unsigned i = 0; i < PLACED; i++) {
        places |= (uint8_t)(place_of(views[i], envelope->encoded) << 2 * i);
    }
    tf_write_u8(writer, VERSION);
    tf_write_u8(writer, (uint8_t)((envelope->durable ? HEAD_DURABLE : 0) |
                                  (envelope->retain ? HEAD_RETAIN : 0) |
                                  (envelope->clear ? HEAD_CLEAR : 0)));
    tf_write_u8(writer, envelope->origin);
    tf_write_u8(writer, envelope->qos);
    tf_write_u8(writer, envelope->priority);
    tf_write_u8(writer, envelope->payload_format);
    tf_write_u8(writer, envelope->body_format);
    tf_write_u8(writer, envelope->slack);
    tf_write_u8(writer, envelope->deaths);
    tf_write_u16(writer, envelope->attempts);
    tf_write_u64(writer, tf_stored_time(envelope->expires, wall));
    tf_write_u8(writer, places);
    tf_write_u32(writer, (uint32_t)envelope->address.length);
    tf_write_bytes(writer, envelope->address);
    tf_write_u32(writer, (uint32_t)envelope->encoded.length);
    tf_write_bytes(writer, envelope->encoded);
    for (unsigned i = 0; i < PLACED; i++) {
        enum place place = (enum place)(places >> 2 * i & 3);
        if (place != PLACE_NOWHERE) {
            tf_write_u32(writer, (uint32_t)views[i].length);
        }
        if (place == PLACE_OWN) {
            tf_write_bytes(writer, views[i]);
        } else if (place == PLACE_WITHIN) {
            tf_write_u32(writer, (uint32_t)(views[i].data - envelope->encoded.data));
        }
    }
}

static struct tf_bytes read_view(struct tf_reader *reader, unsigned place, struct tf_bytes encoded)
{
    size_t length = place == PLACE_NOWHERE ? 0 : tf_read_u32(reader);
    if (place == PLACE_WITHIN) {
        struct tf_reader within = tf_reader_of(encoded);
        (void)tf_read_bytes(&within, tf_read_u32(reader));
        struct tf_bytes view = tf_read_bytes(&within, length);
        reader->failed |= within.failed || length == 0;
        return view;
    }
    reader->failed |= place > PLACE_WITHIN || (place == PLACE_OWN && length == 0);
    return tf_read_bytes(reader, length);
}

/* What is left is the body. */
static enum tf_err read_head(struct tf_reader *reader, tf_time wall, struct tf_envelope *ret)
{
    uint8_t version = tf_read_u8(reader);
    uint8_t flags = tf_read_u8(reader);
    ret->durable = flags & HEAD_DURABLE;
    ret->retain = flags & HEAD_RETAIN;
    ret->clear = flags & HEAD_CLEAR;
    ret->origin = tf_read_u8(reader);
    ret->qos = tf_read_u8(reader);
    ret->priority = tf_read_u8(reader);
    ret->payload_format = tf_read_u8(reader);
    ret->body_format = tf_read_u8(reader);
    ret->slack = tf_read_u8(reader);
    ret->deaths = tf_read_u8(reader);
    ret->attempts = tf_read_u16(reader);
    ret->expires = tf_stored_time_read(tf_read_u64(reader), wall);
    unsigned places = tf_read_u8(reader);
    ret->address = tf_read_bytes(reader, tf_read_u32(reader));
    ret->encoded = tf_read_bytes(reader, tf_read_u32(reader));
    ret->content_type = read_view(reader, places & 3, ret->encoded);
    ret->correlation = read_view(reader, places >> 2 & 3, ret->encoded);
    ret->reply_to = read_view(reader, places >> 4 & 3, ret->encoded);
    ret->publisher = 0;
    bool sense = version == VERSION && flags <= (HEAD_DURABLE | HEAD_RETAIN | HEAD_CLEAR) &&
                 ret->origin <= TF_PROTOCOL_PLAIN && ret->qos <= 2 &&
                 ret->payload_format <= TF_PAYLOAD_TEXT && ret->body_format <= TF_BODY_SECTIONS &&
                 places >> 6 == 0;
    return reader->failed || !sense ? TF_PROTOCOL : TF_OK;
}

enum tf_err tf_stored_message_read(struct tf_bytes bytes, tf_time wall,
                                   const struct tf_alloc *alloc, struct tf_message **ret)
{
    struct tf_publication publication = {0};
    struct tf_reader reader = tf_reader_of(bytes);
    enum tf_err err = read_head(&reader, wall, &publication.envelope);
    if (err) {
        return err;
    }
    struct tf_bytes body = tf_read_rest(&reader);
    publication.body = &body;
    publication.body_count = body.length != 0;
    struct tf_message *message = tf_publication_keep(&publication, alloc);
    if (!message) {
        return TF_NO_MEMORY;
    }
    tf_publication_release(&publication);
    *ret = message;
    return TF_OK;
}

/* ---- entries ---- */

/* Flags of an entry, beside its QoS in the two lowest bits. Attributes are held in memory for each
 * entry that is stored, so what is mostly absent takes no room. */
#define ENTRY_QOS 3u
#define ENTRY_RETAIN 4u
#define ENTRY_ACQUIRED_BEFORE 8u
#define ENTRY_TAG 16u
#define ENTRY_EXPIRES 32u
#define ENTRY_ATTEMPTS 64u
#define ENTRY_IDS 128u

#define ID_BYTES 5u /* of an identifier at most: seven bits a byte, the lowest first */

static unsigned id_size(uint32_t id)
{
    unsigned size = 1;
    while (id >>= 7) {
        size++;
    }
    return size;
}

static void write_id(struct tf_writer *writer, uint32_t id)
{
    for (; id >= 128; id >>= 7) {
        tf_write_u8(writer, (uint8_t)(id | 128));
    }
    tf_write_u8(writer, (uint8_t)id);
}

static void write_ids(struct tf_writer *writer, const struct tf_subscription_ids *ids)
{
    size_t room = (size_t)(writer->end - writer->next) - 1;
    size_t size = 0;
    uint32_t count = 0;
    for (; count < ids->count && size + id_size(ids->ids[count]) <= room; count++) {
        size += id_size(ids->ids[count]);
    }
    tf_write_u8(writer, (uint8_t)size);
    for (uint32_t i = 0; i < count; i++) {
        write_id(writer, ids->ids[i]);
    }
}

size_t tf_stored_entry_write(uint8_t *buffer, const struct tf_stored_entry *entry,
                             const struct tf_subscription_ids *ids)
{
    struct tf_writer writer = tf_writer_of(buffer, TF_JOURNAL_ATTRIBUTES_MAX);
    bool some = ids && ids->count;
    tf_write_u8(&writer, VERSION);
    tf_write_u8(&writer,
                (uint8_t)((entry->qos & ENTRY_QOS) | (entry->retain ? ENTRY_RETAIN : 0) |
                          (entry->acquired_before ? ENTRY_ACQUIRED_BEFORE : 0) |
                          (entry->tag ? ENTRY_TAG : 0) | (entry->expires ? ENTRY_EXPIRES : 0) |
                          (entry->attempts ? ENTRY_ATTEMPTS : 0) | (some ? ENTRY_IDS : 0)));
    tf_write_u32(&writer, entry->charge);
    if (entry->tag) {
        tf_write_u32(&writer, entry->tag);
    }
    if (entry->expires) {
        tf_write_u64(&writer, entry->expires);
    }
    if (entry->attempts) {
        tf_write_u16(&writer, entry->attempts);
    }
    if (some) {
        write_ids(&writer, ids);
    }
    if (entry->annotations.length <= (size_t)(writer.end - writer.next)) {
        tf_write_bytes(&writer, entry->annotations);
    }
    return tf_writer_length(&writer);
}

bool tf_stored_entry_id(struct tf_bytes *ids, uint32_t *ret)
{
    uint64_t id = 0;
    for (unsigned i = 0; i < ID_BYTES && i < ids->length; i++) {
        id |= (uint64_t)(ids->data[i] & 127) << 7 * i;
        if (!(ids->data[i] & 128)) {
            if (id > UINT32_MAX) {
                return false;
            }
            *ids = tf_bytes_of(ids->data + i + 1, ids->length - i - 1);
            *ret = (uint32_t)id;
            return true;
        }
    }
    return false;
}

enum tf_err tf_stored_entry_read(struct tf_bytes bytes, struct tf_stored_entry *ret)
{
    struct tf_reader reader = tf_reader_of(bytes);
    struct tf_stored_entry entry = {0};
    uint8_t version = tf_read_u8(&reader);
    uint8_t flags = tf_read_u8(&reader);
    entry.charge = tf_read_u32(&reader);
    entry.tag = flags & ENTRY_TAG ? tf_read_u32(&reader) : 0;
    entry.expires = flags & ENTRY_EXPIRES ? tf_read_u64(&reader) : 0;
    entry.attempts = flags & ENTRY_ATTEMPTS ? tf_read_u16(&reader) : 0;
    entry.qos = flags & ENTRY_QOS;
    entry.retain = flags & ENTRY_RETAIN;
    entry.acquired_before = flags & ENTRY_ACQUIRED_BEFORE;
    entry.ids = tf_read_bytes(&reader, flags & ENTRY_IDS ? tf_read_u8(&reader) : 0);
    entry.annotations = tf_read_rest(&reader);
    struct tf_bytes ids = entry.ids;
    uint32_t id;
    while (tf_stored_entry_id(&ids, &id)) {
    }
    if (reader.failed || version != VERSION || entry.qos > 2 || ids.length) {
        return TF_PROTOCOL;
    }
    *ret = entry;
    return TF_OK;
}

/* ---- queues, bindings, values ---- */

#define QUEUE_FIXED (1u + 8u + 4u + 8u + 1u + 8u + 8u + 4u + 1u + 1u + 4u)
#define QUEUE_IDLE_WHEN_EMPTY 1u

size_t tf_stored_queue_size(const struct tf_queue_spec *spec)
{
    return QUEUE_FIXED + spec->dead_letter.length;
}

void tf_stored_queue_write(struct tf_writer *writer, uint64_t id, const struct tf_queue_spec *spec)
{
    tf_write_u8(writer, VERSION);
    tf_write_u64(writer, id);
    tf_write_u32(writer, spec->limits.entries);
    tf_write_u64(writer, spec->limits.bytes);
    tf_write_u8(writer, spec->limits.overflow);
    tf_write_u64(writer, spec->message_ttl);
    tf_write_u64(writer, spec->idle);
    tf_write_u32(writer, spec->max_attempts);
    tf_write_u8(writer, spec->durability);
    tf_write_u8(writer, spec->idle_when_empty ? QUEUE_IDLE_WHEN_EMPTY : 0);
    tf_write_u32(writer, (uint32_t)spec->dead_letter.length);
    tf_write_bytes(writer, spec->dead_letter);
}

enum tf_err tf_stored_queue_read(struct tf_bytes value, uint64_t *ret_id,
                                 struct tf_queue_spec *ret_spec)
{
    struct tf_reader reader = tf_reader_of(value);
    struct tf_queue_spec spec = {0};
    uint8_t version = tf_read_u8(&reader);
    uint64_t id = tf_read_u64(&reader);
    spec.limits.entries = tf_read_u32(&reader);
    spec.limits.bytes = tf_read_u64(&reader);
    spec.limits.overflow = tf_read_u8(&reader);
    spec.message_ttl = tf_read_u64(&reader);
    spec.idle = tf_read_u64(&reader);
    spec.max_attempts = tf_read_u32(&reader);
    spec.durability = tf_read_u8(&reader);
    uint8_t flags = tf_read_u8(&reader);
    spec.idle_when_empty = flags & QUEUE_IDLE_WHEN_EMPTY;
    spec.dead_letter = tf_read_bytes(&reader, tf_read_u32(&reader));
    bool sense = version == VERSION && id && spec.limits.overflow <= TF_OVERFLOW_REFUSE &&
                 spec.durability <= TF_STORE_DISK && flags <= QUEUE_IDLE_WHEN_EMPTY;
    if (reader.failed || tf_reader_left(&reader) || !sense) {
        return TF_PROTOCOL;
    }
    *ret_id = id;
    *ret_spec = spec;
    return TF_OK;
}

#define BINDING_UPGRADE 1u
#define BINDING_NO_LOCAL 2u
#define BINDING_RETAIN 4u

void tf_stored_binding_write(struct tf_writer *writer, const struct tf_binding_options *options)
{
    tf_write_u8(writer, VERSION);
    tf_write_u32(writer, options->subscription_id);
    tf_write_u8(writer, options->qos);
    tf_write_u8(writer, (uint8_t)((options->upgrade ? BINDING_UPGRADE : 0) |
                                  (options->no_local ? BINDING_NO_LOCAL : 0) |
                                  (options->retain_as_published ? BINDING_RETAIN : 0)));
    tf_write_u8(writer, 0);
}

enum tf_err tf_stored_binding_read(struct tf_bytes value, struct tf_binding_options *ret)
{
    struct tf_reader reader = tf_reader_of(value);
    struct tf_binding_options options = {0};
    uint8_t version = tf_read_u8(&reader);
    options.subscription_id = tf_read_u32(&reader);
    options.qos = tf_read_u8(&reader);
    uint8_t flags = tf_read_u8(&reader);
    uint8_t nothing = tf_read_u8(&reader);
    options.upgrade = flags & BINDING_UPGRADE;
    options.no_local = flags & BINDING_NO_LOCAL;
    options.retain_as_published = flags & BINDING_RETAIN;
    if (reader.failed || tf_reader_left(&reader) || version != VERSION || options.qos > 2 ||
        flags > (BINDING_UPGRADE | BINDING_NO_LOCAL | BINDING_RETAIN) || nothing) {
        return TF_PROTOCOL;
    }
    *ret = options;
    return TF_OK;
}

void tf_stored_value_write(struct tf_writer *writer, uint64_t version, uint64_t shown)
{
    tf_write_u8(writer, VERSION);
    tf_write_u64(writer, version);
    tf_write_u64(writer, shown);
}

enum tf_err tf_stored_value_read(struct tf_bytes value, uint64_t *ret_version, uint64_t *ret_shown,
                                 struct tf_bytes *ret_message)
{
    struct tf_reader reader = tf_reader_of(value);
    uint8_t format = tf_read_u8(&reader);
    uint64_t version = tf_read_u64(&reader);
    uint64_t shown = tf_read_u64(&reader);
    if (reader.failed || format != VERSION || version == 0 || shown < version) {
        return TF_PROTOCOL;
    }
    *ret_version = version;
    *ret_shown = shown;
    *ret_message = tf_read_rest(&reader);
    return TF_OK;
}

/* ---- appending ---- */

enum tf_err tf_stored_room(struct tf_shard *shard, size_t size)
{
    const struct tf_alloc *alloc = shard->config.alloc;
    if (size <= shard->scratch_size) {
        return TF_OK;
    }
    size = TF_MAX(size, SCRATCH_LEAST);
    uint8_t *scratch = alloc->alloc(alloc->ctx, size);
    if (!scratch) {
        return TF_NO_MEMORY;
    }
    tf_stored_room_release(shard);
    shard->scratch = scratch;
    shard->scratch_size = size;
    return TF_OK;
}

void tf_stored_room_release(struct tf_shard *shard)
{
    if (shard->scratch) {
        shard->config.alloc->free(shard->config.alloc->ctx, shard->scratch, shard->scratch_size);
        shard->scratch = NULL;
        shard->scratch_size = 0;
    }
}

enum tf_err tf_stored_reserve(struct tf_shard *shard, size_t bytes)
{
    enum tf_err err = tf_store_reserve(shard->config.store, bytes);
    return err == TF_OK || err == TF_NO_MEMORY ? err : TF_LIMIT;
}

void tf_stored_hold(void *owner)
{
    (void)tf_message_ref(owner);
}

void tf_stored_let_go(void *owner)
{
    tf_message_unref(owner);
}

enum tf_err tf_stored_message(struct tf_shard *shard, struct tf_message *message,
                              struct tf_store_message *ret)
{
    const struct tf_publication *publication = &message->publication;
    struct tf_store_message stored = {.owner = message, .id = &message->stored};
    if (!tf_store_has(shard->config.store, message)) {
        size_t size = tf_stored_head_size(&publication->envelope);
        if (tf_stored_room(shard, size)) {
            return TF_NO_MEMORY;
        }
        struct tf_writer writer = tf_writer_of(shard->scratch, size);
        tf_stored_head_write(&writer, &publication->envelope, shard->wall);
        tf_assert(!writer.failed);
        stored.head = tf_bytes_of(shard->scratch, size);
        stored.body = publication->body;
        stored.count = publication->body_count;
    }
    *ret = stored;
    return TF_OK;
}
