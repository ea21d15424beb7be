/*
 * Copying a journal that is being written.
 *
 *   list --> open the next segment --> copy its whole groups --> something newer? --no--> done
 *     ^                                     ^                      |
 *     |                                     `--- at this place ----|
 *     `---------------- in another segment -----------------------'
 *
 * Why the copy is what the original was at one moment:
 *
 *  1. The log is the state. Groups have numbers without gaps, and nothing is changed in a segment
 *     but at the end of the last one. So the groups from the first of a segment up to any group g
 *     are the state after g, if nothing that lived at g lay in an older segment.
 *  2. A segment goes only when nothing in it lives: what lived was written again, in groups that
 *     were synced before its name went. Segments go oldest first. So once one is found to be gone,
 *     all that it and the ones before it still meant is in groups that are there already. Files are
 *     taken in ascending order, so these are copied after that; and the copies of older segments
 *     are taken away, as in the original: they could have entries whose settlements are in the one
 *     that is gone. (A segment that goes after it was copied does no harm: a log that is longer at
 *     its beginning means the same, for a settlement lies behind every copy of what it settles.)
 *  3. The end is a moment at which there is nothing behind the last group copied. All groups that
 *     were there when the copy was begun are in it, so what had been acknowledged is.
 *  4. A group that is being written can be seen in part, and one whose write has failed can be seen
 *     whole before another one takes its place. Both are the last of the log at that moment: the
 *     next one is written when this one has been. So a group that is not whole is read once more
 *     after a newer one has been seen, and the last group copied is compared with the original
 *     before anything is copied behind it.
 *
 * What is damaged in the original is copied as it lies, for whoever can make sense of it.
 * Snapshots are not copied: the log says it all.
 */
#include "store/backup.h"

#include <string.h>

#include "base/util.h"
#include "store/walk.h"

#define PIECE (UINT64_C(1) << 20)   /* bytes of groups a step, about */
#define BUFFER ((size_t)256 * 1024) /* bytes of a read */
#define TRIES 3u                    /* to write the last group such that it can be read back */

/* A segment of the copy. */
struct copied {
    uint32_t number;
    uint64_t groups, bytes;
};

struct tf_backup {
    struct tf_disk *from, *to;
    struct tf_alloc alloc;
    struct tf_walk walk;
    struct tf_buffer names;  /* of the last listing */
    struct tf_buffer copies; /* struct copied, ascending; the last is the one at hand */
    struct tf_backup_stats stats;
    uint8_t *buffer;
    uint32_t number; /* of the segment at hand, or the last one; 0: none yet */
    int source, target;
    uint64_t end;                /* of the groups that are copied */
    uint64_t written;            /* bytes of the copy: `end`, or less while it is being written */
    uint64_t last;               /* where the last group copied lies; 0: not in this segment */
    uint64_t sequence, before;   /* numbers of the last group copied, and of the one before */
    uint8_t head[TF_GROUP_HEAD]; /* of the last group, as it is in the copy */
    unsigned tries;
    bool done;
};

enum tf_err tf_backup_new(struct tf_disk *from, struct tf_disk *to, const struct tf_alloc *alloc,
                          struct tf_backup **ret)
{
    struct tf_backup *backup = alloc->alloc(alloc->ctx, sizeof(*backup));

    if (!backup)
        return TF_NO_MEMORY;
    *backup =
        (struct tf_backup){.from = from, .to = to, .alloc = *alloc, .source = -1, .target = -1};
    backup->buffer = alloc->alloc(alloc->ctx, BUFFER);
    if (!backup->buffer || tf_walk_init(&backup->walk, from, alloc)) {
        tf_backup_free(backup);
        return TF_NO_MEMORY;
    }
    *ret = backup;
    return TF_OK;
}

static void close_files(struct tf_backup *backup)
{
    if (backup->source >= 0)
        backup->from->ops->close(backup->from, backup->source);
    if (backup->target >= 0)
        backup->to->ops->close(backup->to, backup->target);
    backup->source = backup->target = -1;
}

void tf_backup_free(struct tf_backup *backup)
{
    struct tf_alloc alloc;

    if (!backup)
        return;
    alloc = backup->alloc;
    close_files(backup);
    if (backup->walk.journal.disk)
        tf_walk_release(&backup->walk);
    tf_buffer_release(&backup->names, &alloc);
    tf_buffer_release(&backup->copies, &alloc);
    if (backup->buffer)
        alloc.free(alloc.ctx, backup->buffer, BUFFER);
    alloc.free(alloc.ctx, backup, sizeof(*backup));
}

static size_t copy_count(const struct tf_backup *backup)
{
    return backup->copies.length / sizeof(struct copied);
}

static struct copied *copy_at(const struct tf_backup *backup, size_t i)
{
    return (struct copied *)(void *)backup->copies.data + i;
}

void tf_backup_stats(const struct tf_backup *backup, struct tf_backup_stats *ret)
{
    *ret = backup->stats;
    ret->segments = copy_count(backup);
    for (size_t i = 0; i < copy_count(backup); i++) {
        ret->groups += copy_at(backup, i)->groups;
        ret->bytes += copy_at(backup, i)->bytes;
    }
}

/* ---- bytes ---- */

/* Copies what lies from `written` to `to`. */
static enum tf_err copy_to(struct tf_backup *backup, uint64_t to)
{
    enum tf_err err = TF_OK;

    while (backup->written < to && !err) {
        size_t length = (size_t)TF_MIN((uint64_t)BUFFER, to - backup->written), got = 0;
        err = backup->from->ops->read(backup->from, backup->source, backup->written, backup->buffer,
                                      length, &got);
        if (!err && !got)
            return TF_IO; /* the file has become shorter */
        struct tf_bytes span = tf_bytes_of(backup->buffer, got);
        if (!err)
            err = backup->to->ops->write(backup->to, backup->target, backup->written, &span, 1);
        if (!err)
            backup->written += got;
    }
    copy_at(backup, copy_count(backup) - 1)->bytes = backup->written;
    return err;
}

static enum tf_err read_head(struct tf_disk *disk, int file, uint64_t offset,
                             uint8_t head[TF_GROUP_HEAD])
{
    size_t got = 0;
    enum tf_err err;

    memset(head, 0, TF_GROUP_HEAD);
    err = disk->ops->read(disk, file, offset, head, TF_GROUP_HEAD, &got);
    return err;
}

/* ---- segments ---- */

/* Nothing older is needed any more, or it could do harm: see 2 above. */
static enum tf_err forget_copies(struct tf_backup *backup)
{
    char name[TF_FILE_NAME];
    enum tf_err err = TF_OK;

    backup->stats.vanished++;
    for (size_t i = 0; i < copy_count(backup) && !err; i++) {
        tf_file_name(name, copy_at(backup, i)->number, TF_FILE_LOG);
        err = backup->to->ops->remove(backup->to, name);
        backup->stats.vanished++;
    }
    backup->copies.length = 0;
    backup->sequence = 0;
    return err;
}

static enum tf_err list(struct tf_backup *backup)
{
    return tf_walk_list(&backup->walk, TF_FILE_LOG, &backup->names);
}

/* The lowest number above `number` of the last listing; 0: there is none. */
static uint32_t next_after(const struct tf_backup *backup, uint32_t number)
{
    for (size_t i = 0; i < tf_walk_count(&backup->names); i++)
        if (tf_walk_number(&backup->names, i) > number)
            return tf_walk_number(&backup->names, i);
    return 0;
}

static bool is_listed(const struct tf_backup *backup, uint32_t number)
{
    for (size_t i = 0; i < tf_walk_count(&backup->names); i++)
        if (tf_walk_number(&backup->names, i) == number)
            return true;
    return false;
}

/*
 * The segment that comes next. Where its number is not the next one, those between have gone, or
 * somebody has lost a file: then the one before is still there, which it cannot be when a later one
 * has gone. A listing that was made while names went proves nothing, a second one does.
 */
static enum tf_err choose(struct tf_backup *backup, uint32_t *ret_number)
{
    enum tf_err err = list(backup);

    if (err)
        return err;
    *ret_number = next_after(backup, backup->number);
    if (!*ret_number || !backup->number || *ret_number == backup->number + 1)
        return TF_OK;
    err = list(backup);
    if (err || is_listed(backup, backup->number))
        return err;
    *ret_number = next_after(backup, backup->number);
    return forget_copies(backup);
}

/* Makes the segment's copy, with its first sector. */
static enum tf_err begin_copy(struct tf_backup *backup)
{
    struct copied copied = {.number = backup->number};
    struct tf_file_head head = {0};
    char name[TF_FILE_NAME];
    bool valid = false;
    enum tf_err err;

    tf_file_name(name, backup->number, TF_FILE_LOG);
    err = tf_walk_file(&backup->walk, backup->source, backup->number);
    if (!err)
        err = tf_walk_head(&backup->walk, TF_FILE_LOG, &head, &valid);
    if (!err && valid && head.version != TF_JOURNAL_VERSION)
        err = TF_UNSUPPORTED;
    if (!err && !tf_buffer_reserve(&backup->copies, &backup->alloc, sizeof(copied)))
        err = TF_NO_MEMORY;
    if (!err)
        err = backup->to->ops->open(backup->to, name, TF_DISK_CREATE, &backup->target);
    if (err)
        return err;
    if (valid && !backup->walk.journal.id)
        backup->walk.journal.id = head.id;
    if (!backup->stats.total)
        backup->stats.total = backup->walk.size * tf_walk_count(&backup->names);
    memcpy(backup->copies.data + backup->copies.length, &copied, sizeof(copied));
    backup->copies.length += sizeof(copied);
    backup->written = backup->last = 0;
    backup->end = TF_MIN((uint64_t)TF_SECTOR, backup->walk.size);
    return copy_to(backup, backup->end);
}

static enum tf_err open_next(struct tf_backup *backup)
{
    char name[TF_FILE_NAME];
    uint32_t number = 0;
    enum tf_err err = choose(backup, &number);

    if (err)
        return err;
    if (!number)
        return backup->number ? TF_IO : TF_NOT_FOUND; /* a newer one was seen, and is gone */
    tf_file_name(name, number, TF_FILE_LOG);
    err = backup->from->ops->open(backup->from, name, TF_DISK_READ, &backup->source);
    backup->number = number;
    if (err == TF_NOT_FOUND) {
        backup->source = -1;
        err = forget_copies(backup);
        return err ? err : TF_AGAIN;
    }
    if (err) {
        backup->source = -1;
        return err;
    }
    err = begin_copy(backup);
    return err ? err : TF_AGAIN;
}

/* Cuts the copy where it ends, and syncs it. */
static enum tf_err end_copy(struct tf_backup *backup)
{
    struct tf_disk *to = backup->to;
    enum tf_err err = to->ops->truncate(to, backup->target, backup->written);

    if (!err)
        err = to->ops->sync(to, backup->target);
    if (!err)
        close_files(backup);
    return err;
}

/* ---- groups ---- */

/* The last group is taken back: another one is in its place, or will be. */
static void take_back(struct tf_backup *backup)
{
    backup->end = backup->written = backup->last;
    backup->sequence = backup->before;
    backup->last = 0;
    copy_at(backup, copy_count(backup) - 1)->groups--;
}

/* Takes the last group back if it is another one now. */
static enum tf_err compare_last(struct tf_backup *backup)
{
    uint8_t head[TF_GROUP_HEAD];
    enum tf_err err = TF_OK;

    if (!backup->last)
        return TF_OK;
    err = read_head(backup->from, backup->source, backup->last, head);
    if (!err && memcmp(head, backup->head, sizeof(head)))
        take_back(backup);
    return err;
}

/* Copies whole groups; *ret_more: there may be others behind them. */
static enum tf_err copy_groups(struct tf_backup *backup, bool *ret_more)
{
    uint64_t stop = backup->end + PIECE;
    struct tf_walk_group group;
    enum tf_err err = tf_walk_file(&backup->walk, backup->source, backup->number);

    while (!err && backup->end < stop) {
        err = tf_walk_group(&backup->walk, backup->end, &group);
        if (!err &&
            (group.records_bad || group.bodies_bad || group.head.sequence <= backup->sequence))
            err = TF_NOT_FOUND;
        if (err)
            break;
        if (backup->sequence && group.head.sequence != backup->sequence + 1)
            backup->stats.damaged++;
        backup->before = backup->sequence;
        backup->sequence = group.head.sequence;
        backup->last = backup->end;
        /* The last one of a file can end before the sector does. */
        backup->end += tf_group_size(&group.head);
        copy_at(backup, copy_count(backup) - 1)->groups++;
    }
    *ret_more = !err;
    if (err && err != TF_NOT_FOUND)
        return err;
    if (backup->written == backup->end)
        return TF_OK;
    err = copy_to(backup, TF_MIN(backup->end, backup->walk.size));
    backup->written = backup->end;
    return err ? err : read_head(backup->to, backup->target, backup->last, backup->head);
}

/*
 * True in *ret_newer: there is a group above the last one copied in a later segment. TF_AGAIN:
 * names go while they are looked at, so it cannot be told.
 */
static enum tf_err look_elsewhere(struct tf_backup *backup, bool *ret_newer)
{
    struct tf_group group;
    uint64_t offset, unused;
    enum tf_err err = list(backup);

    *ret_newer = false;
    for (uint32_t number = backup->number; !err && !*ret_newer;) {
        char name[TF_FILE_NAME];
        int file;
        number = next_after(backup, number);
        if (!number)
            break;
        tf_file_name(name, number, TF_FILE_LOG);
        err = backup->from->ops->open(backup->from, name, TF_DISK_READ, &file);
        if (err)
            return err == TF_NOT_FOUND ? TF_AGAIN : err;
        err = tf_walk_file(&backup->walk, file, number);
        if (!err)
            err =
                tf_walk_find(&backup->walk, TF_SECTOR, backup->sequence, &offset, &group, &unused);
        *ret_newer = !err;
        if (err == TF_NOT_FOUND)
            err = TF_OK;
        backup->from->ops->close(backup->from, file);
    }
    return err;
}

/* Nothing is behind the last group. Can it be read back, and is it still what was copied? */
static enum tf_err finish(struct tf_backup *backup)
{
    struct tf_walk walk;
    struct tf_walk_group group;
    uint64_t last = backup->last;
    enum tf_err err = compare_last(backup);

    if (err || last != backup->last)
        return err ? err : TF_AGAIN;
    if (last) {
        err = tf_walk_init(&walk, backup->to, &backup->alloc);
        if (err)
            return err;
        walk.journal.id = backup->walk.journal.id;
        err = tf_walk_file(&walk, backup->target, backup->number);
        if (!err)
            err = tf_walk_group(&walk, last, &group);
        tf_walk_release(&walk);
        if (err && err != TF_NOT_FOUND)
            return err;
        if (err || group.records_bad || group.bodies_bad) {
            take_back(backup);
            return ++backup->tries < TRIES ? TF_AGAIN : TF_IO;
        }
    }
    err = end_copy(backup);
    if (!err)
        err = backup->to->ops->sync_folder(backup->to);
    backup->done = !err;
    return err;
}

/* No whole group is at `end`: the end of the log, or of the segment, or something damaged. */
static enum tf_err look_further(struct tf_backup *backup)
{
    struct tf_walk_group whole;
    struct tf_group group;
    uint64_t offset = 0, tail = 0;
    bool here, elsewhere;
    enum tf_err err = tf_walk_file(&backup->walk, backup->source, backup->number);

    if (!err)
        err = tf_walk_find(&backup->walk, backup->end + TF_SECTOR, backup->sequence, &offset,
                           &group, &tail);
    here = !err;
    if (err && err != TF_NOT_FOUND)
        return err;
    err = look_elsewhere(backup, &elsewhere);
    if (err)
        return err;
    if (!here && !elsewhere)
        return finish(backup);
    /* Now that a newer one has been seen, what is here is as it stays. */
    err = tf_walk_file(&backup->walk, backup->source, backup->number);
    if (!err)
        err = tf_walk_group(&backup->walk, backup->end, &whole);
    if (!err && !whole.records_bad && !whole.bodies_bad && whole.head.sequence > backup->sequence)
        return TF_AGAIN;
    if (err && err != TF_NOT_FOUND)
        return err;
    err = tf_walk_find(&backup->walk, backup->end + TF_SECTOR, backup->sequence, &offset, &group,
                       &tail);
    if (err && err != TF_NOT_FOUND)
        return err;
    here = !err;
    /* One that has been damaged is copied with what follows: it ends where the next one begins. */
    backup->end = here ? offset : TF_MIN(TF_MAX(tail, backup->end), backup->walk.size);
    backup->last = 0;
    err = copy_to(backup, backup->end);
    if (!err && !here)
        err = end_copy(backup);
    return err ? err : TF_AGAIN;
}

enum tf_err tf_backup_step(struct tf_backup *backup)
{
    bool more = false;
    enum tf_err err;

    if (backup->done)
        return TF_OK;
    if (backup->source < 0)
        return open_next(backup);
    err = compare_last(backup);
    if (!err)
        err = copy_groups(backup, &more);
    if (err)
        return err;
    return more ? TF_AGAIN : look_further(backup);
}
