/*
 * Snapshots of the index: a file in the form of a log, with groups of records, but no bodies.
 *
 * A snapshot is written in pieces while things go on changing, so it is of no single moment: it
 * holds everything that was there at its beginning and still is, and perhaps something of what came
 * later. Whoever loads it reads the log from the place where the snapshot was begun; every record
 * of the log says what is to be, so it does not matter whether the snapshot knows it already.
 * Messages come with what refers to them, and at the end those that were not seen that way: what
 * referred to them has gone, and something new does that the snapshot will not see.
 *
 * It is begun under a name that no start looks at, and gets its own when it and all of the log that
 * it may contain are on the disk. The one before it is removed after that.
 */
#include "store/journal_internal.h"

#include <string.h>

#include "base/util.h"

enum part { OBJECTS, QUEUES, MESSAGES, END };

/* Bytes of a group of a snapshot. */
#define PIECE 65536u

/* Of a message and its entry, about. */
#define MESSAGE_BYTES 57u

/* ---- writing ---- */

void tf_snapshot_abandon(struct tf_journal *journal)
{
    struct tf_snapshot *snapshot = &journal->snapshot;
    char name[TF_FILE_NAME];
    int error = journal->disk->error;

    if (!snapshot->active)
        return;
    snapshot->active = false;
    tf_file_name(name, snapshot->number, TF_FILE_INDEX_NEW);
    journal->disk->ops->close(journal->disk, snapshot->file);
    (void)journal->disk->ops->remove(journal->disk, name);
    journal->disk->error = error;
    journal->since_snapshot = 0; /* the next one is due after as much as ever */
}

static enum tf_err begin(struct tf_journal *journal)
{
    struct tf_disk *disk = journal->disk;
    const struct tf_segment *last = tf_segment_last(journal);
    struct tf_snapshot snapshot = {.number = journal->snapshot_number + 1, .offset = TF_SECTOR};
    struct tf_file_head head = {.version = TF_JOURNAL_VERSION,
                                .number = snapshot.number,
                                .id = journal->id,
                                .segment = last->number,
                                .offset = last->used,
                                .sequence = journal->sequence + 1};
    uint8_t sector[TF_SECTOR] = {0};
    struct tf_bytes span = tf_bytes_of(sector, sizeof(sector));
    char name[TF_FILE_NAME];
    enum tf_err err;

    tf_file_name(name, snapshot.number, TF_FILE_INDEX_NEW);
    err = disk->ops->open(disk, name, TF_DISK_CREATE, &snapshot.file);
    if (err == TF_EXISTS) {
        err = disk->ops->remove(disk, name);
        if (!err)
            err = disk->ops->open(disk, name, TF_DISK_CREATE, &snapshot.file);
    }
    if (err)
        return err;
    snapshot.active = true;
    journal->index.epoch++; /* no message is in it yet; those to come need not be */
    journal->snapshot = snapshot;
    tf_file_head_write(sector, &head, TF_FILE_INDEX);
    return disk->ops->write(disk, snapshot.file, 0, &span, 1);
}

static enum tf_err put(struct tf_journal *journal, const struct tf_record *record)
{
    struct tf_buffer *out = &journal->scratch;
    struct tf_record in = {.type = TF_RECORD_IN, .segment = record->segment};
    bool placed = record->type == TF_RECORD_ENTRY || record->type == TF_RECORD_PUT;
    size_t size = tf_record_size(record) + 8;

    if (out->length + size > UINT32_MAX)
        return TF_LIMIT;
    if (!tf_buffer_reserve(out, &journal->alloc, size))
        return TF_NO_MEMORY;
    if (placed && record->segment != journal->snapshot.segment) {
        tf_record_write(out, &in);
        journal->snapshot.segment = record->segment;
    }
    tf_record_write(out, record);
    return TF_OK;
}

/* A message goes before the first that refers to it, so that whoever loads both has it at hand. */
static enum tf_err put_message(struct tf_journal *journal, struct tf_index_message *message)
{
    struct tf_record record = {.type = TF_RECORD_PLACE,
                               .id = message->id,
                               .length = message->length,
                               .crc = message->crc,
                               .segment = message->segment,
                               .offset = message->offset};

    if (message->epoch == journal->index.epoch || message->pending || !message->segment)
        return TF_OK;
    message->epoch = journal->index.epoch;
    return put(journal, &record);
}

static enum tf_err put_object(struct tf_journal *journal, uint32_t number)
{
    const struct tf_index_object *object = tf_index_object_at(&journal->index, number);
    struct tf_record record;
    enum tf_err err = TF_OK;

    if (object->pending)
        return TF_OK;
    for (uint32_t i = 0; i < object->ref_count && !err; i++)
        err = put_message(journal, tf_index_message_at(&journal->index, object->refs[i]));
    if (err)
        return err;
    err = tf_index_object_record(&journal->index, object, &journal->ids, &record);
    return err ? err : put(journal, &record);
}

/* Entries of a queue, until the piece is full or the queue at its end. */
static enum tf_err put_queue(struct tf_journal *journal, uint32_t number, bool *ret_end)
{
    const struct tf_index_queue *queue = tf_index_queue_at(&journal->index, number);
    struct tf_snapshot *snapshot = &journal->snapshot;
    struct tf_index_at at;
    enum tf_err err;

    while (journal->scratch.length < PIECE) {
        if (!tf_index_entry_from(queue, snapshot->position, &at)) {
            *ret_end = true;
            return TF_OK;
        }
        struct tf_index_message *message = tf_index_message_at(&journal->index, at.entry->message);
        struct tf_record record = {.type = TF_RECORD_ENTRY,
                                   .id = queue->id,
                                   .first = tf_index_position(&at),
                                   .message = message->id,
                                   .segment = at.entry->segment,
                                   .value = tf_index_attributes(&at)};
        err = TF_OK;
        if (at.entry->state == TF_INDEX_LIVE)
            err = put_message(journal, message);
        if (!err && at.entry->state == TF_INDEX_LIVE)
            err = put(journal, &record);
        if (err)
            return err;
        if (record.first == UINT64_MAX) {
            *ret_end = true;
            return TF_OK;
        }
        snapshot->position = record.first + 1;
    }
    *ret_end = false;
    return TF_OK;
}

static enum tf_err write_piece(struct tf_journal *journal)
{
    struct tf_snapshot *snapshot = &journal->snapshot;
    struct tf_buffer *out = &journal->scratch;
    struct tf_group group = {.sequence = snapshot->sequence + 1,
                             .synced = snapshot->sequence,
                             .records = (uint32_t)(out->length - TF_GROUP_HEAD)};
    struct tf_bytes span = tf_bytes_of(out->data, out->length);
    uint64_t size = tf_group_size(&group);
    enum tf_err err;

    if (journal->config.limit &&
        journal->file_bytes + snapshot->offset + size > journal->config.limit)
        return TF_LIMIT;
    group.crc = journal->config.crc32c(0, out->data + TF_GROUP_HEAD, group.records);
    tf_group_head_write(out->data, &group, journal->id, snapshot->number, snapshot->offset);
    err = journal->disk->ops->write(journal->disk, snapshot->file, snapshot->offset, &span, 1);
    if (err)
        return err;
    snapshot->offset += size;
    snapshot->sequence++;
    journal->stats.snapshot_bytes += size;
    return TF_OK;
}

/* Collects the records of one piece; it may be none. */
static enum tf_err collect(struct tf_journal *journal)
{
    struct tf_snapshot *snapshot = &journal->snapshot;
    const struct tf_index *index = &journal->index;
    const struct tf_slab *slabs[] = {&index->objects, &index->queues, &index->messages};
    enum tf_err err = TF_OK;
    bool end;

    snapshot->segment = 0; /* each piece can be read by itself */
    for (uint32_t items = 0;
         !err && snapshot->part < END && items < TF_WORK_ITEMS && journal->scratch.length < PIECE;
         items++) {
        uint32_t number = tf_slab_next(slabs[snapshot->part], snapshot->next);
        if (number == TF_SLAB_NONE) {
            snapshot->part++;
            snapshot->next = 0;
            snapshot->position = 0;
            continue;
        }
        if (snapshot->part == QUEUES && number != snapshot->next)
            snapshot->position = 0;
        snapshot->next = number;
        end = true;
        if (snapshot->part == OBJECTS)
            err = put_object(journal, number);
        else if (snapshot->part == QUEUES)
            err = put_queue(journal, number, &end);
        else
            err = put_message(journal, tf_index_message_at(index, number));
        if (end) {
            snapshot->next = number + 1;
            snapshot->position = 0;
        }
    }
    return err;
}

/* The end: on the disk with all that it may contain, then under its own name. */
static enum tf_err finish(struct tf_journal *journal)
{
    struct tf_disk *disk = journal->disk;
    struct tf_snapshot *snapshot = &journal->snapshot;
    char from[TF_FILE_NAME], to[TF_FILE_NAME], old[TF_FILE_NAME];
    enum tf_err err = tf_journal_sync(journal);

    if (!err)
        err = disk->ops->sync(disk, snapshot->file);
    if (err)
        return err;
    tf_file_name(from, snapshot->number, TF_FILE_INDEX_NEW);
    tf_file_name(to, snapshot->number, TF_FILE_INDEX);
    err = disk->ops->rename(disk, from, to);
    if (err)
        return err;
    disk->ops->close(disk, snapshot->file);
    snapshot->active = false;
    if (!disk->ops->sync_folder(disk) && journal->snapshot_number) {
        tf_file_name(old, journal->snapshot_number, TF_FILE_INDEX);
        (void)disk->ops->remove(disk, old); /* else the next start does */
    }
    journal->file_bytes -= journal->snapshot_size;
    journal->snapshot_number = snapshot->number;
    journal->snapshot_size = snapshot->offset;
    journal->file_bytes += snapshot->offset;
    return TF_OK;
}

static enum tf_err piece(struct tf_journal *journal)
{
    struct tf_record end = {.type = TF_RECORD_END, .id = journal->sequence};
    enum tf_err err = TF_OK;
    bool last;

    journal->scratch.length = 0;
    if (!tf_buffer_reserve(&journal->scratch, &journal->alloc, PIECE))
        return TF_NO_MEMORY;
    journal->scratch.length = TF_GROUP_HEAD;
    err = collect(journal);
    last = journal->snapshot.part == END;
    if (!err && last)
        err = put(journal, &end);
    if (!err && journal->scratch.length > TF_GROUP_HEAD)
        err = write_piece(journal);
    if (!err && last)
        err = finish(journal);
    return err;
}

bool tf_snapshot_work(struct tf_journal *journal, bool due)
{
    uint64_t interval = TF_MAX(journal->config.snapshot_interval, 4 * journal->snapshot_size);
    enum tf_err err = TF_OK;

    if (journal->wait)
        return false;
    if (!journal->snapshot.active) {
        if (!journal->segment_count || !(due || journal->since_snapshot >= interval))
            return false;
        err = begin(journal);
        journal->since_snapshot = 0;
    }
    if (!err)
        err = piece(journal);
    if (err) {
        tf_snapshot_abandon(journal);
        journal->wait = true;
    }
    return !err;
}

/* ---- loading ---- */

static enum tf_err load_group(struct tf_journal *journal, int file, uint64_t size, uint64_t offset,
                              struct tf_file_head *head, struct tf_group *ret)
{
    struct tf_buffer *in = &journal->scratch;
    uint8_t bytes[TF_GROUP_HEAD];
    enum tf_err err = tf_file_read(journal, file, offset, bytes, sizeof(bytes));

    if (err)
        return err;
    if (!tf_group_head_read(bytes, &head->id, head->number, offset, ret) || ret->bodies ||
        ret->records > size - offset - TF_GROUP_HEAD)
        return TF_PROTOCOL;
    in->length = 0;
    if (!tf_buffer_reserve(in, &journal->alloc, ret->records))
        return TF_NO_MEMORY;
    if (ret->records)
        err = tf_file_read(journal, file, offset + TF_GROUP_HEAD, in->data, ret->records);
    if (!err && journal->config.crc32c(0, in->data, ret->records) != ret->crc)
        err = TF_PROTOCOL;
    return err;
}

static enum tf_err load(struct tf_journal *journal, int file, uint32_t number,
                        struct tf_file_head *head, uint64_t *ret_last, uint64_t *ret_size)
{
    uint64_t size, offset = TF_SECTOR;
    uint8_t sector[TF_SECTOR];
    struct tf_group group = {0};
    uint64_t entries = 0;
    bool end = false;
    enum tf_err err = journal->disk->ops->size(journal->disk, file, &size);

    if (!err)
        err = tf_file_read(journal, file, 0, sector, sizeof(sector));
    if (err)
        return err;
    if (!tf_file_head_read(sector, TF_FILE_INDEX, head) || head->number != number)
        return TF_PROTOCOL;
    if (head->version != TF_JOURNAL_VERSION)
        return TF_UNSUPPORTED;
    for (uint64_t sequence = 1; !end; sequence++) {
        if (offset + TF_GROUP_HEAD > size)
            return TF_PROTOCOL;
        err = load_group(journal, file, size, offset, head, &group);
        if (!err && group.sequence != sequence)
            err = TF_PROTOCOL;
        if (!err)
            err = tf_journal_replay(journal, tf_bytes_of(journal->scratch.data, group.records), 0,
                                    &end, ret_last);
        if (err)
            return err;
        offset += tf_group_size(&group);
        /* Objects come first, so what follows is mostly messages with their entries. */
        if (!entries && journal->index.entries && offset < size)
            tf_index_reserve(&journal->index, (size - offset) / MESSAGE_BYTES);
        entries = journal->index.entries;
    }
    *ret_size = size;
    return TF_OK;
}

enum tf_err tf_snapshot_load(struct tf_journal *journal, uint32_t number,
                             struct tf_file_head *ret_head, uint64_t *ret_last, uint64_t *ret_size)
{
    char name[TF_FILE_NAME];
    int file;
    enum tf_err err;

    tf_file_name(name, number, TF_FILE_INDEX);
    err = journal->disk->ops->open(journal->disk, name, TF_DISK_READ, &file);
    if (err)
        return err;
    err = load(journal, file, number, ret_head, ret_last, ret_size);
    journal->disk->ops->close(journal->disk, file);
    return err;
}
