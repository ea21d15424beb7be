/*
 * The journal's group: appended to, written, synced, made true.
 *
 *   open --append--> group --commit: write--> written --sync--> on the disk --index--> true
 *                      |                |                |
 *                      |                |                `- fails: broken, for good
 *                      |                `- fails: rolled back, the place is wiped
 *                      `- close: rolled back
 *
 * Invariants (tf_journal_check):
 *   1. The index holds exactly what the groups written say, and what is staged belongs to the
 * group.
 *   2. Groups have sequence numbers without gaps, in the order of segments and offsets. Nothing is
 *      written to a segment before all of the one before it is synced.
 *   3. Segments are removed oldest first, one name at a time, when nothing in them lives and
 *      everything written is synced. So a settlement, which is younger than every copy of what it
 *      settles, is on the disk for longer than they.
 *   4. Copies come first in their group: nothing in a group was settled before it was copied.
 *   5. What does not free space is written only while there is a spare segment; so what frees it,
 *      and what is copied in order to free it, finds room.
 *   6. synced <= sequence; a snapshot is only renamed when all that it can contain is synced.
 */
#include "store/journal_internal.h"

#include <string.h>

#include "base/assert.h"
#include "base/util.h"

/* ---- the group ---- */

void tf_journal_reset_group(struct tf_journal *journal)
{
    journal->group.length = TF_GROUP_HEAD;
    journal->span_count = 1;
    journal->bodies = 0;
    journal->foreign = journal->grows = false;
    while (journal->loans) {
        struct tf_loan *loan = journal->loans;
        journal->loans = loan->next;
        journal->alloc.free(journal->alloc.ctx, loan, loan->size);
    }
}

size_t tf_journal_records(const struct tf_journal *journal)
{
    return journal->group.length - TF_GROUP_HEAD;
}

size_t tf_journal_pending(const struct tf_journal *journal)
{
    return tf_journal_records(journal) + (size_t)journal->bodies;
}

enum tf_err tf_journal_append(struct tf_journal *journal, const struct tf_record *record)
{
    size_t size = tf_record_size(record);

    if (journal->group.length + journal->bodies + size > TF_JOURNAL_GROUP_MAX)
        return TF_LIMIT;
    if (!tf_buffer_reserve(&journal->group, &journal->alloc, size))
        return TF_NO_MEMORY;
    tf_record_write(&journal->group, record);
    return TF_OK;
}

void tf_journal_take_back(struct tf_journal *journal, size_t length)
{
    journal->group.length = TF_GROUP_HEAD + length;
}

enum tf_err tf_journal_body(struct tf_journal *journal, struct tf_bytes body)
{
    if (!body.length)
        return TF_OK;
    if (journal->group.length + journal->bodies + body.length > TF_JOURNAL_GROUP_MAX)
        return TF_LIMIT;
    if (journal->span_count == journal->span_capacity) {
        size_t capacity = journal->span_capacity * 2;
        struct tf_bytes *spans =
            journal->alloc.alloc(journal->alloc.ctx, capacity * sizeof(*spans));
        if (!spans)
            return TF_NO_MEMORY;
        memcpy(spans, journal->spans, journal->span_count * sizeof(*spans));
        journal->alloc.free(journal->alloc.ctx, journal->spans,
                            journal->span_capacity * sizeof(*spans));
        journal->spans = spans;
        journal->span_capacity = capacity;
    }
    journal->spans[journal->span_count++] = body;
    journal->bodies += body.length;
    return TF_OK;
}

/* ---- appending ---- */

/* After both the record and its meaning are in, or `err`: then neither is. */
static enum tf_err appended(struct tf_journal *journal, size_t before, bool grows, enum tf_err err)
{
    if (err) {
        tf_journal_take_back(journal, before);
        return err;
    }
    journal->foreign = true;
    journal->grows = journal->grows || grows;
    return TF_OK;
}

enum tf_err tf_journal_put(struct tf_journal *journal, uint8_t kind, struct tf_bytes key,
                           struct tf_bytes value, const uint64_t *messages, size_t count)
{
    size_t before = tf_journal_records(journal);
    struct tf_record record = {.type = TF_RECORD_PUT, .kind = kind, .key = key, .value = value};
    struct tf_writer writer;
    enum tf_err err;

    if (key.length > TF_JOURNAL_KEY_MAX)
        return TF_MISUSE;
    if (value.length > TF_JOURNAL_GROUP_MAX || count > TF_JOURNAL_GROUP_MAX / 8)
        return TF_LIMIT;
    journal->ids.length = 0;
    if (!tf_buffer_reserve(&journal->ids, &journal->alloc, count * 8))
        return TF_NO_MEMORY;
    writer = tf_writer_of(journal->ids.data, count * 8);
    for (size_t i = 0; i < count; i++)
        tf_write_u64(&writer, messages[i]);
    record.ids = tf_bytes_of(journal->ids.data, count * 8);
    err = tf_journal_append(journal, &record);
    if (err)
        return err;
    return appended(journal, before, true, tf_index_put(&journal->index, &record));
}

enum tf_err tf_journal_remove(struct tf_journal *journal, uint8_t kind, struct tf_bytes key)
{
    size_t before = tf_journal_records(journal);
    struct tf_record record = {.type = TF_RECORD_REMOVE, .kind = kind, .key = key};
    enum tf_err err;

    if (key.length > TF_JOURNAL_KEY_MAX)
        return TF_MISUSE;
    err = tf_journal_append(journal, &record);
    if (err)
        return err;
    return appended(journal, before, false, tf_index_remove(&journal->index, kind, key));
}

enum tf_err tf_journal_message(struct tf_journal *journal, uint64_t id,
                               const struct tf_bytes *pieces, size_t count)
{
    size_t before = tf_journal_records(journal), spans = journal->span_count;
    uint64_t length = 0, bodies = journal->bodies;
    struct tf_record record = {.type = TF_RECORD_MESSAGE, .id = id, .offset = (uint32_t)bodies};
    enum tf_err err = TF_OK;

    if (tf_index_find_message(&journal->index, id))
        return TF_MISUSE;
    for (size_t i = 0; i < count && !err; i++) {
        err = tf_journal_body(journal, pieces[i]);
        if (!err && pieces[i].length)
            record.crc = journal->config.crc32c(record.crc, pieces[i].data, pieces[i].length);
        length += pieces[i].length;
    }
    record.length = (uint32_t)length;
    if (!err)
        err = tf_journal_append(journal, &record);
    if (!err)
        err = tf_index_message(&journal->index, &record);
    if (err) {
        journal->span_count = spans;
        journal->bodies = bodies;
    }
    return appended(journal, before, true, err);
}

enum tf_err tf_journal_entry(struct tf_journal *journal, uint64_t queue, uint64_t position,
                             uint64_t message, struct tf_bytes attributes)
{
    size_t before = tf_journal_records(journal);
    struct tf_record record = {.type = TF_RECORD_ENTRY,
                               .id = queue,
                               .first = position,
                               .message = message,
                               .value = attributes};
    const struct tf_index_queue *at = tf_index_find_queue(&journal->index, queue);
    uint64_t last;
    enum tf_err err;

    if (attributes.length > TF_JOURNAL_ATTRIBUTES_MAX ||
        (at && tf_index_last(at, &last) && position <= last))
        return TF_MISUSE;
    err = tf_journal_append(journal, &record);
    if (err)
        return err;
    return appended(journal, before, true, tf_index_entry(&journal->index, &record));
}

enum tf_err tf_journal_change(struct tf_journal *journal, uint64_t queue, uint64_t position,
                              struct tf_bytes attributes)
{
    size_t before = tf_journal_records(journal);
    const struct tf_index_queue *at = tf_index_find_queue(&journal->index, queue);
    struct tf_record record = {
        .type = TF_RECORD_ENTRY, .id = queue, .first = position, .value = attributes};
    struct tf_index_at entry;
    enum tf_err err;

    if (attributes.length > TF_JOURNAL_ATTRIBUTES_MAX)
        return TF_MISUSE;
    if (!at || !tf_index_entry_from(at, position, &entry) || tf_index_position(&entry) != position)
        return TF_NOT_FOUND;
    record.message = tf_index_message_at(&journal->index, entry.entry->message)->id;
    err = tf_journal_append(journal, &record);
    if (err)
        return err;
    return appended(journal, before, true, tf_index_entry(&journal->index, &record));
}

enum tf_err tf_journal_settle(struct tf_journal *journal, uint64_t queue, uint64_t first,
                              uint64_t last)
{
    size_t before = tf_journal_records(journal);
    struct tf_record record = {.type = first == last ? TF_RECORD_SETTLE_ONE : TF_RECORD_SETTLE,
                               .id = queue,
                               .first = first,
                               .last = last};
    enum tf_err err = first > last ? TF_MISUSE : tf_journal_append(journal, &record);

    if (err)
        return err;
    return appended(journal, before, false, tf_index_settle(&journal->index, queue, first, last));
}

/* ---- the commit ---- */

/*
 * Makes sure that the last segment has `size` bytes of room. One that does not take what is written
 * to it, however often that is tried, is left for the spare one: else what would make room could
 * never be written.
 */
static enum tf_err make_room(struct tf_journal *journal, uint64_t size)
{
    const struct tf_segment *last = tf_segment_last(journal);
    bool leave = journal->failed && journal->lent && journal->has_spare &&
                 journal->spare.size >= TF_SECTOR + size;
    enum tf_err err = TF_OK;

    if (!last || leave || last->used + size > last->size) {
        err = tf_segment_make_spare(journal, TF_SECTOR + size);
        if (!err)
            err = tf_segment_switch(journal);
        if (!err)
            journal->failed = false;
    }
    if (!err && journal->grows && !journal->has_spare) {
        err = tf_segment_make_spare(journal, journal->config.segment_size);
        if (err && journal->lent)
            err = TF_OK;
    }
    return err;
}

/* Writes the group to the end of the last segment. */
static enum tf_err write_group(struct tf_journal *journal, const struct tf_group *group)
{
    const struct tf_segment *last = tf_segment_last(journal);
    enum tf_err err;

    tf_group_head_write(journal->group.data, group, journal->id, last->number, last->used);
    journal->spans[0] = tf_bytes_of(journal->group.data, journal->group.length);
    err = journal->disk->ops->write(journal->disk, last->file, last->used, journal->spans,
                                    journal->span_count);
    if (err) {
        /* Now if it can be, and else before the next group. */
        int error = journal->disk->error;
        journal->dirty = journal->failed = true;
        if (tf_segment_wipe(journal) == TF_CLOSED)
            err = TF_CLOSED;
        journal->disk->error = error;
    } else {
        journal->failed = false;
    }
    return err;
}

static enum tf_err commit(struct tf_journal *journal, bool sync)
{
    size_t records = tf_journal_records(journal);
    struct tf_group group = {.sequence = journal->sequence + 1,
                             .synced = journal->synced,
                             .records = (uint32_t)records,
                             .bodies = journal->bodies};
    uint64_t size = tf_group_size(&group);
    struct tf_segment *last;
    enum tf_err err = journal->broken ? TF_CLOSED : tf_segment_wipe(journal);

    if (!err)
        err = make_room(journal, size);
    if (err)
        return err;
    group.synced = journal->synced;
    group.crc = journal->config.crc32c(0, journal->group.data + TF_GROUP_HEAD, records);
    err = write_group(journal, &group);
    if (err)
        return err;
    last = tf_segment_last(journal);
    if (sync && journal->disk->ops->sync(journal->disk, last->file)) {
        journal->broken = true;
        return TF_CLOSED;
    }
    journal->sequence++;
    if (sync)
        journal->synced = journal->sequence;
    tf_index_commit(
        &journal->index,
        (struct tf_index_place){last->number, last->used + TF_GROUP_HEAD + (uint32_t)records});
    last->used += (uint32_t)size;
    journal->since_snapshot += size;
    journal->stats.commits++;
    journal->stats.groups_bytes += size;
    return TF_OK;
}

static enum tf_err commit_group(struct tf_journal *journal, bool sync)
{
    enum tf_err err;

    journal->wait = false;
    if (!tf_journal_records(journal)) {
        tf_index_commit(&journal->index, (struct tf_index_place){0, 0}); /* what was lost */
        return sync ? tf_journal_sync(journal) : journal->broken ? TF_CLOSED : TF_OK;
    }
    err = commit(journal, sync);
    if (err) {
        tf_index_rollback(&journal->index);
        journal->compact.active = false; /* what it had copied is not there */
        journal->wait = !journal->foreign;
    }
    tf_journal_reset_group(journal);
    return err;
}

enum tf_err tf_journal_commit(struct tf_journal *journal)
{
    return commit_group(journal, true);
}

enum tf_err tf_journal_write(struct tf_journal *journal)
{
    return commit_group(journal, false);
}

void tf_journal_abandon(struct tf_journal *journal)
{
    tf_index_rollback(&journal->index);
    journal->compact.active = false; /* what it had copied is not there */
    tf_journal_reset_group(journal);
}

void tf_journal_lend(struct tf_journal *journal, bool lend)
{
    journal->lent = lend;
}

bool tf_journal_roomy(const struct tf_journal *journal)
{
    return journal->has_spare;
}

bool tf_journal_broken(const struct tf_journal *journal)
{
    return journal->broken;
}

/* ---- reading ---- */

enum tf_err tf_journal_read_body(struct tf_journal *journal, const struct tf_index_message *message,
                                 void *to)
{
    const struct tf_segment *segment = tf_segment_find(journal, message->segment);
    enum tf_err err;

    if (!segment)
        return TF_PROTOCOL;
    if (!message->length)
        return TF_OK;
    err = tf_file_read(journal, segment->file, message->offset, to, message->length);
    if (!err && journal->config.crc32c(0, to, message->length) != message->crc)
        err = TF_PROTOCOL;
    return err;
}

enum tf_err tf_journal_length(const struct tf_journal *journal, uint64_t message,
                              size_t *ret_length)
{
    const struct tf_index_message *at = tf_index_find_message(&journal->index, message);

    if (!at || at->pending)
        return TF_NOT_FOUND;
    if (!at->segment)
        return TF_PROTOCOL;
    *ret_length = at->length;
    return TF_OK;
}

static struct tf_journal_object object_view(const struct tf_index_object *object)
{
    return (struct tf_journal_object){object->kind, tf_index_object_key(object),
                                      tf_index_object_value(object), object->ref_count, object};
}

bool tf_journal_next_object(struct tf_journal *journal, struct tf_journal_cursor *cursor,
                            struct tf_journal_object *ret)
{
    const struct tf_index *index = &journal->index;
    uint32_t n = tf_slab_next(&index->objects, (uint32_t)cursor->state[0]);

    if (n == TF_SLAB_NONE)
        return false;
    cursor->state[0] = (uint64_t)n + 1;
    tf_index_expect_object(index, n);
    *ret = object_view(tf_index_object_at(index, n));
    return true;
}

bool tf_journal_find_object(const struct tf_journal *journal, uint8_t kind, struct tf_bytes key,
                            struct tf_journal_object *ret)
{
    const struct tf_index_object *object = tf_index_find_object(&journal->index, kind, key);

    if (object)
        *ret = object_view(object);
    return object != NULL;
}

uint64_t tf_journal_object_message(const struct tf_journal *journal,
                                   const struct tf_journal_object *object, size_t i)
{
    const struct tf_index_object *at = object->at;

    tf_assert(i < at->ref_count);
    return tf_index_message_at(&journal->index, at->refs[i])->id;
}

bool tf_journal_next_entry(struct tf_journal *journal, struct tf_journal_cursor *cursor,
                           struct tf_journal_place *ret)
{
    const struct tf_index *index = &journal->index;
    struct tf_index_at at;
    uint32_t n;

    /* state: number of a queue, and where in it */
    while ((n = tf_slab_next(&index->queues, (uint32_t)cursor->state[0])) != TF_SLAB_NONE) {
        const struct tf_index_queue *queue = tf_index_queue_at(index, n);
        cursor->state[0] = n;
        if (tf_index_next_entry(queue, &cursor->state[1], &at)) {
            tf_index_expect_message(index, &at);
            *ret = (struct tf_journal_place){queue->id, tf_index_position(&at),
                                             tf_index_message_at(index, at.entry->message)->id,
                                             tf_index_attributes(&at)};
            return true;
        }
        cursor->state[0] = (uint64_t)n + 1;
        cursor->state[1] = 0;
    }
    return false;
}

/* ---- upkeep, and the ends ---- */

bool tf_journal_work(struct tf_journal *journal)
{
    const struct tf_segment *first = journal->segments;

    if (tf_index_tidy(&journal->index))
        return true;
    if (journal->broken || journal->wait)
        return false;
    if (!journal->has_spare && !tf_segment_make_spare(journal, journal->config.segment_size))
        return true;
    if (journal->segment_count > 1 && !tf_index_segment_live(&journal->index, first->number)) {
        journal->wait = tf_segment_drop(journal) != TF_OK;
        return !journal->wait;
    }
    return tf_compact_work(journal) || tf_snapshot_work(journal, false);
}

void tf_journal_stats(const struct tf_journal *journal, struct tf_journal_stats *ret)
{
    *ret = journal->stats;
    ret->objects = journal->index.objects.count;
    ret->messages = journal->index.messages.count;
    ret->entries = journal->index.entries;
    ret->live_bytes = journal->index.live_bytes;
    ret->file_bytes = journal->file_bytes;
    ret->segments = journal->segment_count;
    ret->index_bytes = journal->memory_bytes;
}

static void *counted_alloc(void *ctx, size_t size)
{
    struct tf_journal *journal = ctx;
    void *memory = journal->config.alloc->alloc(journal->config.alloc->ctx, size);

    if (memory)
        journal->memory_bytes += size;
    return memory;
}

static void counted_free(void *ctx, void *memory, size_t size)
{
    struct tf_journal *journal = ctx;

    journal->memory_bytes -= size;
    journal->config.alloc->free(journal->config.alloc->ctx, memory, size);
}

/* Gives back all but the files' contents. */
static void release(struct tf_journal *journal)
{
    const struct tf_alloc *alloc = &journal->alloc;
    struct tf_disk *disk = journal->disk;

    for (size_t i = 0; i < journal->segment_count; i++)
        disk->ops->close(disk, journal->segments[i].file);
    if (journal->has_spare)
        disk->ops->close(disk, journal->spare.file);
    if (journal->locked)
        disk->ops->unlock(disk);
    if (journal->spans) {
        tf_journal_reset_group(journal);
        alloc->free(alloc->ctx, journal->spans, journal->span_capacity * sizeof(*journal->spans));
    }
    if (journal->segments)
        alloc->free(alloc->ctx, journal->segments,
                    journal->segment_capacity * sizeof(*journal->segments));
    tf_index_release(&journal->index);
    tf_buffer_release(&journal->group, alloc);
    tf_buffer_release(&journal->ids, alloc);
    tf_buffer_release(&journal->scratch, alloc);
    tf_assert(!journal->memory_bytes);
    journal->config.alloc->free(journal->config.alloc->ctx, journal, sizeof(*journal));
}

static bool config_valid(const struct tf_journal_config *config)
{
    return config->segment_size >= TF_JOURNAL_SEGMENT_MIN &&
           config->segment_size <= TF_JOURNAL_SEGMENT_MAX && config->compact_percent <= 90 &&
           config->disk && config->alloc;
}

/* The buffers of the group. */
static enum tf_err start_group(struct tf_journal *journal)
{
    journal->spans = journal->alloc.alloc(journal->alloc.ctx, 64 * sizeof(*journal->spans));
    if (!journal->spans)
        return TF_NO_MEMORY;
    journal->span_capacity = 64;
    journal->span_count = 1;
    if (!tf_buffer_reserve(&journal->group, &journal->alloc, TF_GROUP_HEAD))
        return TF_NO_MEMORY;
    tf_journal_reset_group(journal);
    return TF_OK;
}

enum tf_err tf_journal_open(const struct tf_journal_config *config, struct tf_journal **ret,
                            struct tf_journal_report *ret_report, uint64_t *ret_holder)
{
    struct tf_journal_report report = {0};
    struct tf_journal *journal;
    uint64_t holder = 0;
    enum tf_err err;

    if (!config_valid(config))
        return TF_MISUSE;
    journal = config->alloc->alloc(config->alloc->ctx, sizeof(*journal));
    if (!journal)
        return TF_NO_MEMORY;
    *journal = (struct tf_journal){.config = *config, .disk = config->disk};
    if (!config->crc32c)
        journal->config.crc32c = tf_crc32c;
    journal->alloc =
        (struct tf_alloc){.alloc = counted_alloc, .free = counted_free, .ctx = journal};
    tf_index_init(&journal->index, &journal->alloc, config->seed);
    err = start_group(journal);
    if (!err)
        err = journal->disk->ops->lock(journal->disk, &holder);
    if (err == TF_EXISTS)
        *ret_holder = holder;
    journal->locked = !err;
    if (!err)
        err = tf_journal_recover(journal, &report);
    if (err) {
        release(journal);
        return err;
    }
    report.objects = journal->index.objects.count;
    report.messages = journal->index.messages.count;
    report.entries = journal->index.entries;
    report.bytes = journal->index.live_bytes;
    *ret_report = report;
    *ret = journal;
    return TF_OK;
}

void tf_journal_close(struct tf_journal *journal)
{
    if (!journal)
        return;
    tf_index_rollback(&journal->index);
    tf_journal_reset_group(journal);
    if (!journal->broken && !tf_segment_wipe(journal) && !tf_journal_sync(journal)) {
        journal->wait = false;
        while (tf_snapshot_work(journal, journal->since_snapshot != 0))
            ;
    }
    tf_snapshot_abandon(journal);
    release(journal);
}
