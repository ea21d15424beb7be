/*
 * A start: from files to the index.
 *
 *   1. What files there are; their heads. A newer version ends it here.
 *   2. The newest snapshot, if it is whole and the log goes on from it.
 *   3. survey: the heads of all groups after it. They tell what was known to be on the disk (S),
 * and where the groups of each segment end.
 *   4. replay: the records. A group that cannot be read is *damaged* if its number is not above S:
 *      it was acknowledged, so its bytes are set aside and everything else is used. Above S it is
 *      *torn*: it never was, and there the log ends.
 *   5. Only now the disk is changed: bytes set aside, the end cut clean, leftovers removed.
 *
 * Where the bodies of a group above S are damaged, it is torn as well; below, nobody reads bodies.
 */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/util.h"
#include "store/journal_internal.h"
#include "store/scan.h"

/* Of records in the log for each message, about. */
#define MESSAGE_BYTES 96u

/* What is known of a file of the log. */
struct log_file {
    struct tf_segment segment;
    bool head;        /* its head could be read */
    bool groups;      /* it has some */
    uint64_t end;     /* of its last group */
    uint64_t garbage; /* end of what is not 0 after that */
};

/* Bytes to be set aside. */
struct range {
    uint32_t number;
    int file;
    uint64_t from, to;
};

struct recovery {
    struct tf_journal *journal;
    struct tf_journal_report *report;
    struct tf_buffer logs;    /* struct log_file */
    struct tf_buffer indexes; /* uint32_t: numbers of snapshots */
    struct tf_buffer news;    /* uint32_t: of those that were never finished */
    struct tf_buffer ranges;  /* struct range */
    struct tf_scan scan;
    enum tf_err err;        /* of the callback */
    uint64_t known;         /* S */
    uint64_t records;       /* bytes of all groups after the snapshot */
    uint64_t last;          /* the last group that was replayed, or is in the snapshot */
    uint32_t segment;       /* where the log begins to be read; 0: at its beginning */
    uint64_t offset;        /* and there */
    uint32_t damaged_index; /* number of a snapshot that is damaged */
};

static size_t log_count(const struct recovery *r)
{
    return r->logs.length / sizeof(struct log_file);
}

static struct log_file *log_at(const struct recovery *r, size_t i)
{
    return (struct log_file *)(void *)r->logs.data + i;
}

/* ---- what is there ---- */

static enum tf_err push(struct recovery *r, struct tf_buffer *buffer, const void *item, size_t size)
{
    if (!tf_buffer_reserve(buffer, &r->journal->alloc, size))
        return TF_NO_MEMORY;
    memcpy(buffer->data + buffer->length, item, size);
    buffer->length += size;
    return TF_OK;
}

static void take_name(void *ctx, const char *name)
{
    struct recovery *r = ctx;
    enum tf_file_kind kind;
    uint32_t number;
    struct log_file log = {.segment.file = -1};

    if (r->err || !tf_file_parse(name, &number, &kind))
        return;
    log.segment.number = number;
    if (kind == TF_FILE_LOG)
        r->err = push(r, &r->logs, &log, sizeof(log));
    else
        r->err = push(r, kind == TF_FILE_INDEX ? &r->indexes : &r->news, &number, sizeof(number));
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = ((const struct log_file *)a)->segment.number;
    uint32_t y = ((const struct log_file *)b)->segment.number;

    return (x > y) - (x < y);
}

static int downwards(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x < y) - (x > y);
}

static enum tf_err open_log(struct recovery *r, struct log_file *log)
{
    struct tf_disk *disk = r->journal->disk;
    struct tf_file_head head;
    char name[TF_FILE_NAME];
    const uint8_t *sector;
    enum tf_err err;

    tf_file_name(name, log->segment.number, TF_FILE_LOG);
    err = disk->ops->open(disk, name, TF_DISK_WRITE, &log->segment.file);
    if (err) {
        log->segment.file = -1;
        return err;
    }
    err = disk->ops->size(disk, log->segment.file, &log->segment.size);
    if (err)
        return err;
    log->end = log->garbage = TF_SECTOR;
    log->segment.used = TF_SECTOR;
    tf_scan_file(&r->scan, log->segment.file, log->segment.number, log->segment.size);
    err = tf_scan_get(&r->scan, 0, TF_SECTOR, &sector);
    if (err)
        return err == TF_PROTOCOL ? TF_OK : err;
    if (!tf_file_head_read(sector, TF_FILE_LOG, &head) || head.number != log->segment.number)
        return TF_OK;
    if (head.version != TF_JOURNAL_VERSION)
        return TF_UNSUPPORTED;
    if (!r->journal->id)
        r->journal->id = head.id;
    log->head = head.id == r->journal->id;
    return TF_OK;
}

static enum tf_err look(struct recovery *r)
{
    struct tf_disk *disk = r->journal->disk;
    enum tf_err err = disk->ops->list(disk, take_name, r);

    if (!err)
        err = r->err;
    if (err)
        return err;
    if (r->logs.length)
        qsort(r->logs.data, log_count(r), sizeof(struct log_file), by_number);
    if (r->indexes.length)
        qsort(r->indexes.data, r->indexes.length / sizeof(uint32_t), sizeof(uint32_t), downwards);
    for (size_t i = 0; i < log_count(r) && !err; i++)
        err = open_log(r, log_at(r, i));
    return err;
}

/* ---- the snapshot ---- */

/* The segments must be known before what lies in them is counted. */
static enum tf_err start_index(struct recovery *r)
{
    struct tf_index *index = &r->journal->index;
    enum tf_err err = TF_OK;

    tf_index_release(index);
    tf_index_init(index, &r->journal->alloc, r->journal->config.seed);
    index->loading = true;
    for (size_t i = 0; i < log_count(r) && !err; i++)
        err = tf_index_add_segment(index, log_at(r, i)->segment.number);
    return err;
}

static bool goes_on_from(const struct recovery *r, const struct tf_file_head *head)
{
    if (head->offset < TF_SECTOR || head->offset % TF_SECTOR || !head->sequence)
        return false;
    for (size_t i = 0; i < log_count(r); i++)
        if (log_at(r, i)->segment.number == head->segment)
            return true;
    return false;
}

/* Tries the newest snapshot. Older ones are leftovers: the log says all that they do. */
static enum tf_err load_snapshot(struct recovery *r)
{
    struct tf_journal *journal = r->journal;
    struct tf_file_head head = {0};
    uint64_t last = 0, size = 0;
    uint32_t number;
    enum tf_err err = start_index(r);

    if (err || !r->indexes.length || !log_count(r))
        return err;
    memcpy(&number, r->indexes.data, sizeof(number));
    journal->snapshot_number = number;
    err = tf_snapshot_load(journal, number, &head, &last, &size);
    if (!err && journal->id && head.id != journal->id)
        err = TF_PROTOCOL;
    if (!err && goes_on_from(r, &head)) {
        r->report->from_snapshot = true;
        r->segment = head.segment;
        r->offset = head.offset;
        r->last = head.sequence - 1;
        r->known = last; /* all of it was on the disk when the snapshot got its name */
        journal->snapshot_size = size;
        return TF_OK;
    }
    if (err == TF_PROTOCOL) {
        r->report->snapshot_damaged = true;
        r->damaged_index = number;
        err = TF_OK;
    }
    return err ? err : start_index(r);
}

/* ---- the survey ---- */

static uint64_t first_offset(const struct recovery *r, const struct log_file *log)
{
    return log->segment.number == r->segment ? r->offset : TF_SECTOR;
}

static enum tf_err survey_log(struct recovery *r, struct log_file *log, uint64_t *last)
{
    uint64_t offset = first_offset(r, log);
    struct tf_group group;
    enum tf_err err;

    log->end = log->garbage = offset;
    tf_scan_file(&r->scan, log->segment.file, log->segment.number, log->segment.size);
    for (;;) {
        err = tf_scan_group(&r->scan, offset, &group);
        if (!err && group.sequence <= *last)
            err = TF_NOT_FOUND;
        if (err == TF_NOT_FOUND)
            err = tf_scan_find(&r->scan, offset, *last, &offset, &group, &log->garbage);
        if (err)
            break;
        *last = group.sequence;
        r->known = TF_MAX(r->known, group.synced);
        r->records += group.records;
        offset += tf_group_size(&group);
        log->end = log->garbage = offset;
        log->groups = true;
    }
    return err == TF_NOT_FOUND ? TF_OK : err;
}

static enum tf_err survey(struct recovery *r)
{
    uint64_t last = r->last;
    enum tf_err err = TF_OK;

    for (size_t i = 0; i < log_count(r) && !err; i++) {
        struct log_file *log = log_at(r, i);
        if (log->segment.number >= r->segment)
            err = survey_log(r, log, &last);
        if (log->segment.number <= r->segment)
            log->groups = true; /* the snapshot knows what is in it */
    }
    return err;
}

/* ---- the replay ---- */

static enum tf_err set_aside_later(struct recovery *r, const struct log_file *log, uint64_t from,
                                   uint64_t to)
{
    struct range range = {log->segment.number, log->segment.file, from, to};

    return to > from ? push(r, &r->ranges, &range, sizeof(range)) : TF_OK;
}

/* The log ends here: what follows was never acknowledged. */
static void end_here(struct recovery *r, struct log_file *log, uint64_t offset)
{
    size_t i = (size_t)(log - log_at(r, 0));

    log->garbage = TF_MAX(log->garbage, log->end);
    log->end = offset;
    for (i++; i < log_count(r); i++) {
        struct log_file *later = log_at(r, i);
        later->garbage = TF_MAX(later->garbage, later->end);
        later->end = TF_SECTOR;
        later->groups = false;
    }
}

/* Applies one group. TF_PROTOCOL: it is damaged, or torn. */
static enum tf_err replay_group(struct recovery *r, const struct log_file *log, uint64_t offset,
                                const struct tf_group *group)
{
    struct tf_index_place place = {log->segment.number,
                                   (uint32_t)(offset + TF_GROUP_HEAD + group->records)};
    struct tf_bytes records;
    uint64_t before = r->scan.bytes;
    enum tf_err err = tf_scan_records(&r->scan, offset, group, &records);

    if (!err && group->sequence > r->known)
        err = tf_scan_bodies(&r->scan, offset, group, records);
    r->journal->index.place = place;
    if (!err)
        err = tf_journal_replay(r->journal, records, group->bodies, NULL, NULL);
    if (err)
        return err;
    r->report->groups_read++;
    r->report->bytes_read += r->scan.bytes - before;
    r->journal->since_snapshot += tf_group_size(group);
    return TF_OK;
}

/* Groups before this one are missing in `log`, or in what is left of the segment before it. */
static enum tf_err missing(struct recovery *r, struct log_file *log, uint64_t from, uint64_t to,
                           bool *ret_torn)
{
    *ret_torn = r->last + 1 > r->known;
    if (*ret_torn) {
        end_here(r, log, from);
        return TF_OK;
    }
    r->report->damaged_groups++;
    return set_aside_later(r, log, from, to);
}

static enum tf_err replay_log(struct recovery *r, struct log_file *log, struct log_file *before,
                              bool *ret_torn)
{
    uint64_t offset = first_offset(r, log), at, unused;
    struct tf_group group;
    enum tf_err err = TF_OK;

    tf_scan_file(&r->scan, log->segment.file, log->segment.number, log->segment.size);
    while (offset < log->end && !err && !*ret_torn) {
        at = offset;
        err = tf_scan_group(&r->scan, offset, &group);
        if (err == TF_NOT_FOUND || (!err && group.sequence <= r->last))
            err = tf_scan_find(&r->scan, offset, r->last, &at, &group, &unused);
        if (err)
            break;
        /* A gap: in this segment if there is something else, or at the end of the one before. */
        if (group.sequence != r->last + 1 && (r->last || at > offset)) {
            bool here = at > offset || !before;
            err = here ? missing(r, log, offset, at, ret_torn)
                       : missing(r, before, before->end, before->garbage, ret_torn);
            if (err || *ret_torn)
                break;
        }
        err = replay_group(r, log, at, &group);
        if (err == TF_PROTOCOL) {
            r->last = group.sequence - 1;
            err = missing(r, log, at, at + tf_group_size(&group), ret_torn);
        }
        r->last = *ret_torn ? r->last : group.sequence;
        offset = at + tf_group_size(&group);
        before = NULL;
    }
    return err == TF_NOT_FOUND ? TF_OK : err;
}

static enum tf_err replay(struct recovery *r)
{
    struct log_file *before = NULL;
    bool torn = false;
    enum tf_err err = TF_OK;

    if (!r->report->from_snapshot)
        tf_index_reserve(&r->journal->index, r->records / MESSAGE_BYTES);
    for (size_t i = 0; i < log_count(r) && !err && !torn; i++) {
        struct log_file *log = log_at(r, i);
        if (log->segment.number < r->segment)
            continue;
        err = replay_log(r, log, before, &torn);
        if (log->groups)
            before = log;
    }
    return err;
}

/* Messages whose place isn't there are lost; so nobody makes room for what cannot be read. */
static void check_places(struct recovery *r)
{
    struct tf_index *index = &r->journal->index;

    for (uint32_t n = tf_slab_next(&index->messages, 0); n != TF_SLAB_NONE;
         n = tf_slab_next(&index->messages, n + 1)) {
        struct tf_index_message *message = tf_index_message_at(index, n);
        const struct tf_segment *segment = tf_segment_find(r->journal, message->segment);
        uint64_t end = (uint64_t)message->offset + message->length;
        if (message->segment && (!segment || end > segment->size))
            tf_index_lose_now(index, n);
    }
}

/* ---- the changes on the disk ---- */

/* Copies bytes of a segment to a file of their own. */
static enum tf_err copy_range(struct recovery *r, const struct range *range, int to,
                              uint64_t *offset)
{
    struct tf_disk *disk = r->journal->disk;
    enum tf_err err = TF_OK;

    for (uint64_t from = range->from; from < range->to && !err;) {
        size_t length = (size_t)TF_MIN((uint64_t)TF_SCAN_WINDOW, range->to - from), got;
        err = disk->ops->read(disk, range->file, from, r->scan.window, length, &got);
        if (err || !got)
            break;
        struct tf_bytes span = tf_bytes_of(r->scan.window, got);
        err = disk->ops->write(disk, to, *offset, &span, 1);
        from += got;
        *offset += got;
    }
    return err;
}

/*
 * Sets aside the `count` ranges of one segment, unless an earlier start has: it finds the same
 * damage until the segment is done with.
 */
static enum tf_err set_aside(struct recovery *r, const struct range *ranges, size_t count)
{
    struct tf_disk *disk = r->journal->disk;
    char name[TF_FILE_NAME];
    uint64_t offset = 0, total = 0;
    int file;
    enum tf_err err;

    for (size_t i = 0; i < count; i++)
        total += ranges[i].to - ranges[i].from;
    tf_file_name(name, ranges[0].number, TF_FILE_LOG);
    memcpy(name + 10, TF_FILE_ASIDE, sizeof(TF_FILE_ASIDE));
    err = disk->ops->open(disk, name, TF_DISK_CREATE, &file);
    if (err == TF_EXISTS) {
        err = disk->ops->open(disk, name, TF_DISK_WRITE, &file);
        if (!err)
            err = disk->ops->size(disk, file, &offset);
    }
    if (err)
        return err;
    for (size_t i = 0; i < count && !err && offset < total; i++)
        err = copy_range(r, &ranges[i], file, &offset);
    if (!err)
        err = disk->ops->sync(disk, file);
    disk->ops->close(disk, file);
    return err;
}

/* Where there is no room for a copy, the whole segment is kept when it is done with. */
static void set_all_aside(struct recovery *r)
{
    const struct range *ranges = (const struct range *)(const void *)r->ranges.data;
    size_t count = r->ranges.length / sizeof(*ranges), next;

    for (size_t i = 0; i < count; i = next) {
        for (next = i + 1; next < count && ranges[next].number == ranges[i].number; next++)
            ;
        if (!set_aside(r, &ranges[i], next - i))
            continue;
        for (size_t k = 0; k < log_count(r); k++)
            if (log_at(r, k)->segment.number == ranges[i].number)
                log_at(r, k)->segment.damaged = true;
    }
}

/* Makes the bytes after the last group zeros, so that the next one can be written there. */
static enum tf_err cut(struct recovery *r, struct log_file *log)
{
    struct tf_disk *disk = r->journal->disk;
    int file = log->segment.file;
    enum tf_err err = disk->ops->truncate(disk, file, log->end);

    if (!err && disk->ops->reserve(disk, file, log->segment.size))
        log->segment.size = log->end; /* full: the next group goes to another segment */
    if (!err)
        err = disk->ops->sync(disk, file);
    if (!err)
        log->garbage = log->end;
    return err;
}

static enum tf_err forget_log(struct recovery *r, struct log_file *log)
{
    struct tf_disk *disk = r->journal->disk;
    char name[TF_FILE_NAME];

    tf_file_name(name, log->segment.number, TF_FILE_LOG);
    disk->ops->close(disk, log->segment.file);
    log->segment.file = -1;
    return disk->ops->remove(disk, name);
}

/* What is left of segments that never got a group; one that is as new becomes the spare. */
static enum tf_err tidy_end(struct recovery *r, size_t keep)
{
    struct tf_journal *journal = r->journal;
    enum tf_err err = TF_OK;

    for (size_t i = keep; i < log_count(r) && !err; i++) {
        struct log_file *log = log_at(r, i);
        bool clean = log->head && log->garbage == TF_SECTOR && !journal->has_spare &&
                     log->segment.number == log_at(r, keep - 1)->segment.number + 1;
        if (!clean) {
            err = log->segment.damaged && r->last < r->known ? TF_LIMIT : forget_log(r, log);
            continue;
        }
        journal->spare = log->segment;
        journal->has_spare = true;
        log->segment.file = -1;
    }
    return err;
}

/* Which segments there are from now on; what is not to be served is listed to be set aside. */
static enum tf_err choose(struct recovery *r, size_t *ret_keep)
{
    size_t keep = log_count(r);
    enum tf_err err = TF_OK;

    while (keep && !log_at(r, keep - 1)->groups)
        keep--;
    if (!keep && log_count(r) && log_at(r, 0)->head)
        keep = 1;
    for (size_t i = keep ? keep - 1 : 0; i < log_count(r) && !err; i++) {
        const struct log_file *log = log_at(r, i);
        if (log->garbage > log->end)
            r->report->torn_bytes += log->garbage - log->end;
        err = set_aside_later(r, log, log->end, log->garbage);
    }
    if (r->last < r->known)
        r->report->damaged_groups++; /* what was there is gone, to the end */
    *ret_keep = keep;
    return err;
}

static enum tf_err take_segments(struct recovery *r, size_t keep)
{
    struct tf_journal *journal = r->journal;
    size_t size = keep * sizeof(*journal->segments);

    if (!keep)
        return TF_OK;
    journal->segments = journal->alloc.alloc(journal->alloc.ctx, size);
    if (!journal->segments)
        return TF_NO_MEMORY;
    journal->segment_capacity = keep;
    journal->index.segment_count = keep;
    for (size_t i = 0; i < keep; i++) {
        struct log_file *log = log_at(r, i);
        if (log->segment.number < r->segment)
            log->end = TF_MAX(log->segment.size, (uint64_t)TF_SECTOR);
        log->segment.used =
            (uint32_t)TF_MIN(log->end, (uint64_t)UINT32_MAX) & ~(uint32_t)(TF_SECTOR - 1);
        journal->segments[i] = log->segment;
        journal->file_bytes += log->segment.size;
        log->segment.file = -1;
    }
    journal->segment_count = keep;
    return TF_OK;
}

static enum tf_err remove_indexes(struct recovery *r, const struct tf_buffer *numbers,
                                  enum tf_file_kind kind)
{
    struct tf_journal *journal = r->journal;
    struct tf_disk *disk = journal->disk;
    char name[TF_FILE_NAME], aside[TF_FILE_NAME + 8];
    enum tf_err err = TF_OK;

    for (size_t i = 0; i < numbers->length / sizeof(uint32_t) && !err; i++) {
        uint32_t number;
        memcpy(&number, numbers->data + i * sizeof(number), sizeof(number));
        if (kind == TF_FILE_INDEX && number == journal->snapshot_number && journal->snapshot_size)
            continue;
        tf_file_name(name, number, kind);
        memcpy(aside, name, strlen(name));
        memcpy(aside + strlen(name), TF_FILE_ASIDE, sizeof(TF_FILE_ASIDE));
        err = kind == TF_FILE_INDEX && number == r->damaged_index
                  ? disk->ops->rename(disk, name, aside)
                  : disk->ops->remove(disk, name);
    }
    return err;
}

/* All has been read and there is memory for all: now the disk is made as the journal wants it. */
static enum tf_err settle_down(struct recovery *r, size_t keep)
{
    struct tf_journal *journal = r->journal;
    struct tf_disk *disk = journal->disk;
    enum tf_err err = TF_OK;

    set_all_aside(r);
    if (keep) {
        struct log_file *last = log_at(r, keep - 1);
        /* What was never acknowledged goes even where there was no room for a copy of it. */
        if (last->garbage > last->end)
            err = last->segment.damaged && r->last < r->known ? TF_LIMIT : cut(r, last);
    }
    if (!err)
        err = tidy_end(r, keep);
    if (!err)
        err = remove_indexes(r, &r->indexes, TF_FILE_INDEX);
    if (!err)
        err = remove_indexes(r, &r->news, TF_FILE_INDEX_NEW);
    if (!err)
        err = disk->ops->sync_folder(disk);
    return err;
}

static enum tf_err run(struct recovery *r)
{
    struct tf_journal *journal = r->journal;
    size_t keep = 0;
    uint64_t seed = ~journal->config.seed;
    enum tf_err err = tf_scan_init(&r->scan, journal);

    if (!err)
        err = look(r);
    if (!err)
        err = load_snapshot(r);
    if (!err)
        err = survey(r);
    if (!err)
        err = replay(r);
    if (!err)
        err = choose(r, &keep);
    if (!err)
        err = settle_down(r, keep);
    if (!err)
        err = take_segments(r, keep);
    if (err)
        return err;
    if (!journal->id)
        journal->id = tf_random_split(&seed) | 1;
    journal->sequence = journal->synced = TF_MAX(r->last, r->known);
    if (journal->has_spare)
        journal->file_bytes += journal->spare.size;
    journal->file_bytes += journal->snapshot_size;
    check_places(r);
    r->report->lost_messages = tf_index_loaded(&journal->index);
    if (!journal->segment_count) {
        err = tf_segment_make_spare(journal, journal->config.segment_size);
        if (!err)
            err = tf_segment_switch(journal);
    }
    return err;
}

enum tf_err tf_journal_recover(struct tf_journal *journal, struct tf_journal_report *report)
{
    struct recovery r = {.journal = journal, .report = report};
    const struct tf_alloc *alloc = &journal->alloc;
    enum tf_err err = run(&r);

    for (size_t i = 0; i < log_count(&r); i++)
        if (log_at(&r, i)->segment.file >= 0)
            journal->disk->ops->close(journal->disk, log_at(&r, i)->segment.file);
    tf_scan_release(&r.scan);
    tf_buffer_release(&r.logs, alloc);
    tf_buffer_release(&r.indexes, alloc);
    tf_buffer_release(&r.news, alloc);
    tf_buffer_release(&r.ranges, alloc);
    return err;
}
