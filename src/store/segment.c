/*
 * The files of a journal: their names, heads and sums, and the segments' life.
 *
 *   (nothing) --make_spare--> spare --switch--> last --switch--> sealed --drop--> (nothing)
 *
 * A spare has its space, its head and its name on the disk before anything is written to it.
 */
#include "store/journal_internal.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"

#define MAGIC_LOG UINT64_C(0x54464a4f55524e4c)   /* "TFJOURNL" */
#define MAGIC_INDEX UINT64_C(0x54464a494e444558) /* "TFJINDEX" */
#define MAGIC_GROUP 0x54464752u                  /* "TFGR" */
#define HEAD_BYTES 44u                           /* of a file, before its sum */

static const char *const endings[] = {".log", ".index", ".index.new"};

void tf_file_name(char ret_name[TF_FILE_NAME], uint32_t number, enum tf_file_kind kind)
{
    for (int i = 9; i >= 0; i--, number /= 10)
        ret_name[i] = (char)('0' + number % 10);
    memcpy(ret_name + 10, endings[kind], strlen(endings[kind]) + 1);
}

bool tf_file_parse(const char *name, uint32_t *ret_number, enum tf_file_kind *ret_kind)
{
    uint64_t number = 0;

    for (int i = 0; i < 10; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(name[i] - '0');
    }
    if (!number || number >= UINT32_MAX)
        return false;
    for (unsigned kind = 0; kind < TF_COUNT(endings); kind++)
        if (!strcmp(name + 10, endings[kind])) {
            *ret_number = (uint32_t)number;
            *ret_kind = (enum tf_file_kind)kind;
            return true;
        }
    return false;
}

void tf_file_head_write(uint8_t *sector, const struct tf_file_head *head, enum tf_file_kind kind)
{
    struct tf_writer writer = tf_writer_of(sector, TF_SECTOR);

    memset(sector, 0, TF_SECTOR);
    tf_write_u64(&writer, kind == TF_FILE_LOG ? MAGIC_LOG : MAGIC_INDEX);
    tf_write_u32(&writer, head->version);
    tf_write_u32(&writer, head->number);
    tf_write_u64(&writer, head->id);
    tf_write_u32(&writer, head->segment);
    tf_write_u32(&writer, head->offset);
    tf_write_u64(&writer, head->sequence);
    tf_write_u32(&writer, 0);
    tf_write_u32(&writer, tf_crc32c(0, sector, HEAD_BYTES));
}

bool tf_file_head_read(const uint8_t *sector, enum tf_file_kind kind, struct tf_file_head *ret)
{
    struct tf_reader reader = {sector, sector + TF_SECTOR, false};
    struct tf_file_head head;

    if (tf_read_u64(&reader) != (kind == TF_FILE_LOG ? MAGIC_LOG : MAGIC_INDEX))
        return false;
    head.version = tf_read_u32(&reader);
    head.number = tf_read_u32(&reader);
    head.id = tf_read_u64(&reader);
    head.segment = tf_read_u32(&reader);
    head.offset = tf_read_u32(&reader);
    head.sequence = tf_read_u64(&reader);
    (void)tf_read_u32(&reader);
    if (tf_read_u32(&reader) != tf_crc32c(0, sector, HEAD_BYTES))
        return false;
    *ret = head;
    return true;
}

void tf_group_head_write(uint8_t *at, const struct tf_group *group, uint64_t id, uint32_t file,
                         uint64_t offset)
{
    uint8_t head[TF_GROUP_HEAD];
    struct tf_writer writer = tf_writer_of(head, sizeof(head));

    tf_write_u32(&writer, MAGIC_GROUP);
    tf_write_u32(&writer, file);
    tf_write_u64(&writer, id);
    tf_write_u64(&writer, offset);
    tf_write_u64(&writer, group->sequence);
    tf_write_u64(&writer, group->synced);
    tf_write_u32(&writer, group->records);
    tf_write_u32(&writer, (uint32_t)group->bodies);
    tf_write_u32(&writer, group->crc);
    tf_write_u32(&writer, tf_crc32c(0, head, TF_GROUP_HEAD - 4));
    memcpy(at, head, sizeof(head));
}

bool tf_group_head_read(const uint8_t *at, uint64_t *id, uint32_t file, uint64_t offset,
                        struct tf_group *ret)
{
    struct tf_reader reader = {at, at + TF_GROUP_HEAD, false};
    struct tf_group group;
    uint64_t of;

    if (tf_read_u32(&reader) != MAGIC_GROUP || tf_read_u32(&reader) != file)
        return false;
    of = tf_read_u64(&reader);
    if ((*id && of != *id) || tf_read_u64(&reader) != offset)
        return false;
    group.sequence = tf_read_u64(&reader);
    group.synced = tf_read_u64(&reader);
    group.records = tf_read_u32(&reader);
    group.bodies = tf_read_u32(&reader);
    group.crc = tf_read_u32(&reader);
    if (tf_read_u32(&reader) != tf_crc32c(0, at, TF_GROUP_HEAD - 4))
        return false;
    *id = of;
    *ret = group;
    return true;
}

uint64_t tf_group_size(const struct tf_group *group)
{
    return (TF_GROUP_HEAD + group->records + group->bodies + TF_SECTOR - 1) &
           ~(uint64_t)(TF_SECTOR - 1);
}

enum tf_err tf_file_read(struct tf_journal *journal, int file, uint64_t offset, void *to,
                         size_t length)
{
    size_t got = 0;
    enum tf_err err = journal->disk->ops->read(journal->disk, file, offset, to, length, &got);

    if (!err && got != length)
        err = TF_PROTOCOL;
    return err;
}

/* ---- segments ---- */

struct tf_segment *tf_segment_find(const struct tf_journal *journal, uint32_t number)
{
    size_t low = 0, high = journal->segment_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (journal->segments[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < journal->segment_count && journal->segments[low].number == number
               ? &journal->segments[low]
               : NULL;
}

struct tf_segment *tf_segment_last(const struct tf_journal *journal)
{
    return journal->segment_count ? &journal->segments[journal->segment_count - 1] : NULL;
}

enum tf_err tf_segment_add(struct tf_journal *journal, const struct tf_segment *add)
{
    enum tf_err err;

    if (journal->segment_count == journal->segment_capacity) {
        size_t capacity = journal->segment_capacity ? journal->segment_capacity * 2 : 16;
        struct tf_segment *more =
            journal->alloc.alloc(journal->alloc.ctx, capacity * sizeof(*more));
        if (!more)
            return TF_NO_MEMORY;
        if (journal->segments) {
            memcpy(more, journal->segments, journal->segment_count * sizeof(*more));
            journal->alloc.free(journal->alloc.ctx, journal->segments,
                                journal->segment_capacity * sizeof(*more));
        }
        journal->segments = more;
        journal->segment_capacity = capacity;
    }
    err = tf_index_add_segment(&journal->index, add->number);
    if (!err)
        journal->segments[journal->segment_count++] = *add;
    return err;
}

/* Gives the new file its space, its head and its name for good. */
static enum tf_err prepare_file(struct tf_journal *journal, const struct tf_segment *segment)
{
    struct tf_disk *disk = journal->disk;
    struct tf_file_head head = {
        .version = TF_JOURNAL_VERSION, .number = segment->number, .id = journal->id};
    uint8_t sector[TF_SECTOR] = {0};
    struct tf_bytes span = tf_bytes_of(sector, sizeof(sector));
    enum tf_err err;

    tf_file_head_write(sector, &head, TF_FILE_LOG);
    err = disk->ops->reserve(disk, segment->file, segment->size);
    if (!err)
        err = disk->ops->write(disk, segment->file, 0, &span, 1);
    /* Nothing was acknowledged that depends on this file: it can fail without harm. */
    if (!err)
        err = disk->ops->sync(disk, segment->file);
    if (!err)
        err = disk->ops->sync_folder(disk);
    return err;
}

/* Takes away a file that has come to nothing; what stays is removed when its number comes again. */
static void forget_file(struct tf_journal *journal, const struct tf_segment *segment)
{
    char name[TF_FILE_NAME];
    int error = journal->disk->error;

    tf_file_name(name, segment->number, TF_FILE_LOG);
    journal->disk->ops->close(journal->disk, segment->file);
    (void)journal->disk->ops->remove(journal->disk, name);
    journal->disk->error = error;
}

enum tf_err tf_segment_make_spare(struct tf_journal *journal, uint64_t size)
{
    struct tf_disk *disk = journal->disk;
    const struct tf_segment *last = tf_segment_last(journal);
    struct tf_segment spare = {.number = last ? last->number + 1 : 1, .used = TF_SECTOR};
    char name[TF_FILE_NAME];
    enum tf_err err;

    if (journal->has_spare) {
        if (journal->spare.size >= size)
            return TF_OK;
        forget_file(journal, &journal->spare);
        journal->has_spare = false;
        journal->file_bytes -= journal->spare.size;
    }
    spare.size = TF_MAX(size, journal->config.segment_size);
    if (journal->config.limit && journal->file_bytes + spare.size > journal->config.limit)
        return TF_LIMIT;
    tf_file_name(name, spare.number, TF_FILE_LOG);
    err = disk->ops->open(disk, name, TF_DISK_CREATE, &spare.file);
    if (err == TF_EXISTS) { /* of an attempt that failed */
        err = disk->ops->remove(disk, name);
        if (!err)
            err = disk->ops->open(disk, name, TF_DISK_CREATE, &spare.file);
    }
    if (err)
        return err;
    err = prepare_file(journal, &spare);
    if (err) {
        forget_file(journal, &spare);
        return err;
    }
    journal->spare = spare;
    journal->has_spare = true;
    journal->file_bytes += spare.size;
    return TF_OK;
}

enum tf_err tf_journal_sync(struct tf_journal *journal)
{
    if (journal->broken)
        return TF_CLOSED;
    if (journal->synced == journal->sequence)
        return TF_OK;
    if (journal->disk->ops->sync(journal->disk, tf_segment_last(journal)->file)) {
        journal->broken = true;
        return TF_CLOSED;
    }
    journal->synced = journal->sequence;
    return TF_OK;
}

enum tf_err tf_segment_switch(struct tf_journal *journal)
{
    /* A group is never on the disk before one that it follows, across segments too. */
    enum tf_err err = journal->segment_count ? tf_journal_sync(journal) : TF_OK;

    if (!err)
        err = tf_segment_add(journal, &journal->spare);
    if (!err)
        journal->has_spare = false;
    return err;
}

enum tf_err tf_segment_wipe(struct tf_journal *journal)
{
    static const uint8_t zeros[TF_SECTOR];
    struct tf_disk *disk = journal->disk;
    struct tf_segment *last = tf_segment_last(journal);
    struct tf_bytes span = tf_bytes_of(zeros, sizeof(zeros));
    enum tf_err err;

    if (!journal->dirty)
        return TF_OK;
    if (last->used + sizeof(zeros) <= last->size) {
        err = disk->ops->write(disk, last->file, last->used, &span, 1);
        if (err)
            return err;
        if (disk->ops->sync(disk, last->file)) {
            journal->broken = true;
            return TF_CLOSED;
        }
        journal->synced = journal->sequence;
    }
    journal->dirty = false;
    return TF_OK;
}

enum tf_err tf_segment_drop(struct tf_journal *journal)
{
    struct tf_disk *disk = journal->disk;
    struct tf_segment *first = &journal->segments[0];
    char name[TF_FILE_NAME], aside[TF_FILE_NAME + 8];
    enum tf_err err = tf_journal_sync(journal);

    if (err)
        return err;
    /* One name at a time: a younger file must never vanish before an older one. */
    if (journal->unsettled) {
        err = disk->ops->sync_folder(disk);
        if (err)
            return err;
        journal->unsettled = false;
    }
    tf_file_name(name, first->number, TF_FILE_LOG);
    memcpy(aside, name, 14);
    memcpy(aside + 14, TF_FILE_ASIDE, sizeof(TF_FILE_ASIDE));
    err = first->damaged ? disk->ops->rename(disk, name, aside) : disk->ops->remove(disk, name);
    if (err && err != TF_NOT_FOUND)
        return err;
    disk->ops->close(disk, first->file);
    journal->file_bytes -= first->size;
    journal->segment_count--;
    memmove(first, first + 1, journal->segment_count * sizeof(*first));
    tf_index_drop_segment(&journal->index);
    journal->unsettled = disk->ops->sync_folder(disk) != TF_OK;
    return TF_OK;
}
