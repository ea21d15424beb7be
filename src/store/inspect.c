/*
 * Looking into all files of a journal.
 *
 * First the heads of all groups, which tell what was known to be on the disk (S, see recover.c);
 * then all bytes. What cannot be read is damage if its number is not above S; above it is what a
 * power cut has torn.
 */
#include "store/inspect.h"

#include <string.h>

#include "base/util.h"
#include "store/walk.h"

struct inspector {
    const struct tf_inspect_config *config;
    struct tf_walk walk;
    struct tf_buffer logs, indexes;
    struct tf_inspection *result;
    uint64_t total, done; /* bytes */
    uint64_t known;       /* S */
    uint64_t last;        /* the last group that was seen */
    /* What is not zeros behind the last group of the segment before; nothing, if the log goes on.
     */
    uint32_t tail;
    uint64_t tail_from, tail_to;
    bool torn;
};

enum tf_inspect_file tf_inspect_file_of(const char *name)
{
    enum tf_file_kind kind;
    uint32_t number;

    if (!tf_file_parse(name, &number, &kind))
        return TF_INSPECT_FOREIGN;
    return kind == TF_FILE_LOG ? TF_INSPECT_LOG : TF_INSPECT_INDEX;
}

static void found(struct inspector *in, enum tf_inspect_what what, const char *name, uint64_t from,
                  uint64_t to)
{
    struct tf_inspect_finding finding = {what, name, from, to};

    if (what == TF_INSPECT_TORN)
        in->result->torn_bytes += to - from;
    else if (what == TF_INSPECT_ASIDE)
        in->result->aside++;
    else
        in->result->damaged++;
    in->config->found(in->config->ctx, &finding);
}

static void found_in(struct inspector *in, enum tf_inspect_what what, uint32_t number,
                     uint64_t from, uint64_t to)
{
    char name[TF_FILE_NAME];

    tf_file_name(name, number, TF_FILE_LOG);
    found(in, what, name, from, to);
}

static void progress(struct inspector *in, uint64_t offset)
{
    in->config->progress(in->config->ctx, TF_MIN(in->done + offset, in->total), in->total);
}

/* ---- the log ---- */

static enum tf_err open_file(struct inspector *in, uint32_t number, enum tf_file_kind kind,
                             int *ret_file)
{
    struct tf_disk *disk = in->config->disk;
    char name[TF_FILE_NAME];
    enum tf_err err;

    tf_file_name(name, number, kind);
    err = disk->ops->open(disk, name, TF_DISK_READ, ret_file);
    if (err)
        return err == TF_NOT_FOUND ? TF_IO : err;
    err = tf_walk_file(&in->walk, *ret_file, number);
    if (err)
        disk->ops->close(disk, *ret_file);
    return err;
}

/* Its first sector; false in *ret_read: no more of the file can be read. */
static enum tf_err head_of(struct inspector *in, uint32_t number, bool *ret_read)
{
    struct tf_file_head head;
    bool valid;
    enum tf_err err = tf_walk_head(&in->walk, TF_FILE_LOG, &head, &valid);

    *ret_read = true;
    if (err)
        return err;
    if (valid && head.version != TF_JOURNAL_VERSION) {
        in->result->version = TF_MAX(in->result->version, head.version);
        found_in(in, TF_INSPECT_VERSION, number, 0, TF_SECTOR);
        *ret_read = false;
        return TF_OK;
    }
    if (valid) {
        in->result->version = TF_MAX(in->result->version, head.version);
        if (!in->walk.journal.id)
            in->walk.journal.id = head.id;
        valid = head.id == in->walk.journal.id;
    }
    if (!valid)
        found_in(in, TF_INSPECT_HEAD, number, 0, TF_MIN((uint64_t)TF_SECTOR, in->walk.size));
    return TF_OK;
}

/* Heads only: what was known to be on the disk. */
static enum tf_err survey(struct inspector *in)
{
    uint64_t last = 0;
    enum tf_err err = TF_OK;

    for (size_t i = 0; i < tf_walk_count(&in->logs) && !err; i++) {
        uint64_t offset = TF_SECTOR, unused;
        struct tf_group group;
        int file;
        err = open_file(in, tf_walk_number(&in->logs, i), TF_FILE_LOG, &file);
        if (err)
            break;
        while (!(err = tf_walk_find(&in->walk, offset, last, &offset, &group, &unused))) {
            last = group.sequence;
            in->known = TF_MAX(in->known, group.synced);
            offset += tf_group_size(&group);
        }
        in->config->disk->ops->close(in->config->disk, file);
        in->total += in->walk.size;
        if (err == TF_NOT_FOUND)
            err = TF_OK;
    }
    in->result->file_bytes = in->total;
    return err;
}

/* Something is wrong before `group`, or with it: torn or damaged? */
static void wrong(struct inspector *in, enum tf_inspect_what what, uint32_t number, uint64_t from,
                  uint64_t to)
{
    in->torn = in->last + 1 > in->known;
    found_in(in, in->torn ? TF_INSPECT_TORN : what, number, from, to);
}

/* The log must go on with this group; what lies before it in this file is not zeros, or nothing. */
static void join(struct inspector *in, uint32_t number, uint64_t from, uint64_t at,
                 const struct tf_group *group)
{
    bool gap = in->last && group->sequence != in->last + 1;

    if (gap && in->tail_to > in->tail_from)
        wrong(in, TF_INSPECT_GAP, in->tail, in->tail_from, in->tail_to);
    else if (gap || at > from)
        wrong(in, TF_INSPECT_GAP, number, from, at);
    in->tail_from = in->tail_to = 0;
}

static enum tf_err inspect_groups(struct inspector *in, uint32_t number)
{
    uint64_t offset = TF_SECTOR, at, end = 0;
    struct tf_walk_group group;
    enum tf_err err = TF_OK;

    while (!in->torn) {
        at = offset;
        err = tf_walk_group(&in->walk, offset, &group);
        if (err == TF_NOT_FOUND || (!err && group.head.sequence <= in->last)) {
            err = tf_walk_find(&in->walk, offset, in->last, &at, &group.head, &end);
            if (!err)
                err = tf_walk_group(&in->walk, at, &group);
        }
        if (err)
            break;
        join(in, number, offset, at, &group.head);
        in->last = in->torn ? in->last : group.head.sequence - 1;
        offset = at + tf_group_size(&group.head);
        if (!in->torn && (group.records_bad || group.bodies_bad))
            wrong(in, group.records_bad ? TF_INSPECT_RECORDS : TF_INSPECT_BODIES, number, at,
                  offset);
        if (in->torn)
            break;
        in->result->first = in->result->first ? in->result->first : group.head.sequence;
        in->last = in->result->last = group.head.sequence;
        in->result->groups++;
        in->result->records += group.count;
        progress(in, offset);
    }
    if (err == TF_NOT_FOUND && end > offset) {
        in->tail = number;
        in->tail_from = offset;
        in->tail_to = end;
    }
    return err == TF_NOT_FOUND ? TF_OK : err;
}

static enum tf_err inspect_log(struct inspector *in, uint32_t number)
{
    bool read = false;
    int file;
    enum tf_err err = open_file(in, number, TF_FILE_LOG, &file);

    if (err)
        return err;
    err = head_of(in, number, &read);
    if (!err && read)
        err = inspect_groups(in, number);
    in->config->disk->ops->close(in->config->disk, file);
    in->done += in->walk.size;
    progress(in, 0);
    return err;
}

static enum tf_err inspect_logs(struct inspector *in)
{
    size_t count = tf_walk_count(&in->logs);
    enum tf_err err = TF_OK;

    for (size_t i = 0; i < count && !err && !in->torn; i++)
        err = inspect_log(in, tf_walk_number(&in->logs, i));
    if (err || in->torn || !count)
        return err;
    if (in->tail_to > in->tail_from)
        wrong(in, TF_INSPECT_GAP, in->tail, in->tail_from, in->tail_to);
    else if (in->last < in->known)
        wrong(in, TF_INSPECT_GAP, tf_walk_number(&in->logs, count - 1), 0, 0);
    return TF_OK;
}

/* ---- snapshots, and what lies beside ---- */

/* True in *ret_whole: groups from 1 without a gap to the one that says that it is the end. */
static enum tf_err inspect_snapshot(struct inspector *in, bool *ret_whole, uint64_t *ret_last)
{
    uint64_t offset = TF_SECTOR, sequence = 1;
    struct tf_walk_group group = {.end = false};
    struct tf_file_head head;
    bool valid;
    enum tf_err err = tf_walk_head(&in->walk, TF_FILE_INDEX, &head, &valid);

    *ret_whole = false;
    if (err || !valid || head.version != TF_JOURNAL_VERSION)
        return err;
    in->walk.journal.id = head.id;
    for (; !err && !group.end; sequence++) {
        err = tf_walk_group(&in->walk, offset, &group);
        if (!err && (group.records_bad || group.bodies_bad || group.head.sequence != sequence))
            return TF_OK;
        offset += tf_group_size(&group.head);
    }
    *ret_whole = !err;
    *ret_last = group.last;
    return err == TF_NOT_FOUND ? TF_OK : err;
}

static enum tf_err inspect_snapshots(struct inspector *in)
{
    enum tf_err err = TF_OK;

    for (size_t i = 0; i < tf_walk_count(&in->indexes) && !err; i++) {
        uint32_t number = tf_walk_number(&in->indexes, i);
        uint64_t id = in->walk.journal.id, last = 0;
        char name[TF_FILE_NAME];
        bool whole = false;
        int file;
        err = open_file(in, number, TF_FILE_INDEX, &file);
        if (err)
            break;
        err = inspect_snapshot(in, &whole, &last);
        in->config->disk->ops->close(in->config->disk, file);
        in->walk.journal.id = id;
        tf_file_name(name, number, TF_FILE_INDEX);
        in->result->file_bytes += in->walk.size;
        if (!err && !whole)
            found(in, TF_INSPECT_SNAPSHOT, name, 0, in->walk.size);
        if (whole)
            in->known = TF_MAX(in->known, last); /* it got its name when that was on the disk */
    }
    return err;
}

static void take_aside(void *ctx, const char *name)
{
    struct inspector *in = ctx;
    size_t length = strlen(name), ending = sizeof(TF_FILE_ASIDE) - 1;
    uint64_t size = 0;
    int file;

    if (length <= ending || strcmp(name + length - ending, TF_FILE_ASIDE) != 0)
        return;
    if (!in->config->disk->ops->open(in->config->disk, name, TF_DISK_READ, &file)) {
        if (in->config->disk->ops->size(in->config->disk, file, &size))
            size = 0;
        in->config->disk->ops->close(in->config->disk, file);
    }
    found(in, TF_INSPECT_ASIDE, name, 0, size);
}

static enum tf_err inspect(struct inspector *in)
{
    struct tf_disk *disk = in->config->disk;
    enum tf_err err = tf_walk_list(&in->walk, TF_FILE_LOG, &in->logs);
    size_t count;

    if (!err)
        err = tf_walk_list(&in->walk, TF_FILE_INDEX, &in->indexes);
    if (err)
        return err;
    count = tf_walk_count(&in->logs);
    in->result->segments = count;
    in->result->snapshots = tf_walk_count(&in->indexes);
    if (count) {
        in->result->oldest = tf_walk_number(&in->logs, 0);
        in->result->newest = tf_walk_number(&in->logs, count - 1);
    }
    err = survey(in);
    if (!err)
        err = inspect_snapshots(in);
    if (!err)
        err = inspect_logs(in);
    if (!err)
        err = disk->ops->list(disk, take_aside, in);
    return err;
}

enum tf_err tf_inspect(const struct tf_inspect_config *config, struct tf_inspection *ret)
{
    struct tf_inspection result = {0};
    struct inspector in = {.config = config, .result = &result};
    enum tf_err err = tf_walk_init(&in.walk, config->disk, config->alloc);

    if (!err)
        err = inspect(&in);
    tf_buffer_release(&in.logs, config->alloc);
    tf_buffer_release(&in.indexes, config->alloc);
    tf_walk_release(&in.walk);
    if (!err)
        *ret = result;
    return err;
}
