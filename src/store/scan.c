/*
 * The reader of files of groups.
 */
#include "store/scan.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"

#define SMALL 4096u /* read after a jump; and looked at at once */

enum tf_err tf_scan_init(struct tf_scan *scan, struct tf_journal *journal)
{
    *scan = (struct tf_scan){.journal = journal};
    scan->window = journal->alloc.alloc(journal->alloc.ctx, TF_SCAN_WINDOW);
    return scan->window ? TF_OK : TF_NO_MEMORY;
}

void tf_scan_release(struct tf_scan *scan)
{
    if (scan->window)
        scan->journal->alloc.free(scan->journal->alloc.ctx, scan->window, TF_SCAN_WINDOW);
    scan->window = NULL;
}

void tf_scan_file(struct tf_scan *scan, int file, uint32_t number, uint64_t size)
{
    scan->file = file;
    scan->number = number;
    scan->size = size;
    scan->start = 0;
    scan->length = 0;
}

/* The same; if they have to be read, at least `want` bytes are. */
static enum tf_err get(struct tf_scan *scan, uint64_t offset, size_t length, size_t want,
                       const uint8_t **ret)
{
    struct tf_disk *disk = scan->journal->disk;
    size_t got = 0;
    enum tf_err err;

    if (offset > scan->size || scan->size - offset < length)
        return TF_PROTOCOL;
    if (offset < scan->start || offset + length > scan->start + scan->length) {
        want = (size_t)TF_MIN((uint64_t)TF_MAX(want, length), scan->size - offset);
        scan->length = 0;
        err = disk->ops->read(disk, scan->file, offset, scan->window, want, &got);
        if (err)
            return err;
        scan->start = offset;
        scan->length = got;
        scan->bytes += got;
        if (got < length)
            return TF_PROTOCOL;
    }
    *ret = scan->window + (offset - scan->start);
    return TF_OK;
}

enum tf_err tf_scan_get(struct tf_scan *scan, uint64_t offset, size_t length, const uint8_t **ret)
{
    /* Not behind a gap: there are small groups, and more will be wanted. */
    bool near = offset >= scan->start && offset <= scan->start + scan->length;

    return get(scan, offset, length, near ? TF_SCAN_WINDOW : SMALL, ret);
}

enum tf_err tf_scan_group(struct tf_scan *scan, uint64_t offset, struct tf_group *ret)
{
    const uint8_t *at;
    struct tf_group group;
    uint64_t id = scan->journal->id;
    enum tf_err err = tf_scan_get(scan, offset, TF_GROUP_HEAD, &at);

    if (err)
        return err == TF_PROTOCOL ? TF_NOT_FOUND : err;
    if (!tf_group_head_read(at, &id, scan->number, offset, &group) || !group.sequence ||
        TF_GROUP_HEAD + (uint64_t)group.records + group.bodies > scan->size - offset)
        return TF_NOT_FOUND;
    scan->journal->id = id; /* where no file's head could be read, the first group tells */
    *ret = group;
    return TF_OK;
}

enum tf_err tf_scan_find(struct tf_scan *scan, uint64_t offset, uint64_t after,
                         uint64_t *ret_offset, struct tf_group *ret_group, uint64_t *ret_end)
{
    static const uint8_t zeros[SMALL];
    uint64_t end = offset, step = TF_SECTOR;
    const uint8_t *at;
    enum tf_err err;

    for (; offset < scan->size; offset += step) {
        size_t length = (size_t)TF_MIN((uint64_t)SMALL, scan->size - offset);
        err = tf_scan_get(scan, offset, length, &at);
        step = SMALL;
        if (!err && !memcmp(at, zeros, length))
            continue;
        step = TF_SECTOR;
        length = TF_MIN(length, TF_SECTOR);
        err = tf_scan_get(scan, offset, length, &at);
        if (err && err != TF_PROTOCOL)
            return err;
        if (err || !memcmp(at, zeros, length))
            continue;
        err = tf_scan_group(scan, offset, ret_group);
        if (!err && ret_group->sequence > after) {
            *ret_offset = offset;
            return TF_OK;
        }
        if (err && err != TF_NOT_FOUND)
            return err;
        end = offset + length;
    }
    *ret_end = end;
    return TF_NOT_FOUND;
}

enum tf_err tf_scan_records(struct tf_scan *scan, uint64_t offset, const struct tf_group *group,
                            struct tf_bytes *ret)
{
    struct tf_journal *journal = scan->journal;
    struct tf_buffer *buffer = &journal->scratch;
    const uint8_t *data;
    enum tf_err err;

    if (group->records <= TF_SCAN_WINDOW) {
        bool small = group->bodies < TF_SCAN_WINDOW / 4; /* so what is next is read with it */
        err = get(scan, offset + TF_GROUP_HEAD, group->records, small ? TF_SCAN_WINDOW : 0, &data);
    } else {
        buffer->length = 0;
        if (!tf_buffer_reserve(buffer, &journal->alloc, group->records))
            return TF_NO_MEMORY;
        err =
            tf_file_read(journal, scan->file, offset + TF_GROUP_HEAD, buffer->data, group->records);
        data = buffer->data;
        scan->bytes += group->records;
    }
    if (err)
        return err;
    if (tf_crc32c(0, data, group->records) != group->crc)
        return TF_PROTOCOL;
    *ret = tf_bytes_of(data, group->records);
    return TF_OK;
}

enum tf_err tf_scan_bodies(struct tf_scan *scan, uint64_t offset, const struct tf_group *group,
                           struct tf_bytes records)
{
    struct tf_reader reader = tf_reader_of(records);
    uint64_t at = offset + TF_GROUP_HEAD + group->records;
    uint8_t piece[SMALL];
    struct tf_record record;
    enum tf_err err;

    while (!(err = tf_record_read(&reader, &record))) {
        uint32_t crc = 0;
        if (record.type != TF_RECORD_MESSAGE)
            continue;
        for (uint32_t left = record.length; left && !err;) {
            size_t length = TF_MIN(left, sizeof(piece));
            err = tf_file_read(scan->journal, scan->file, at, piece, length);
            if (err)
                return err;
            crc = tf_crc32c(crc, piece, length);
            at += length;
            left -= (uint32_t)length;
        }
        if (crc != record.crc)
            return TF_PROTOCOL;
    }
    return err == TF_MORE ? TF_OK : err;
}
