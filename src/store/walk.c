/*
 * Groups, looked into one by one.
 */
#include "store/walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"

enum tf_err tf_walk_init(struct tf_walk *walk, struct tf_disk *disk, const struct tf_alloc *alloc)
{
    *walk = (struct tf_walk){.journal = {.disk = disk, .alloc = *alloc}};
    return tf_scan_init(&walk->scan, &walk->journal);
}

void tf_walk_release(struct tf_walk *walk)
{
    tf_scan_release(&walk->scan);
    tf_buffer_release(&walk->records, &walk->journal.alloc);
    tf_buffer_release(&walk->journal.scratch, &walk->journal.alloc);
}

enum tf_err tf_walk_file(struct tf_walk *walk, int file, uint32_t number)
{
    struct tf_disk *disk = walk->journal.disk;
    enum tf_err err = disk->ops->size(disk, file, &walk->size);

    if (!err)
        tf_scan_file(&walk->scan, file, number, walk->size);
    return err;
}

enum tf_err tf_walk_head(struct tf_walk *walk, enum tf_file_kind kind, struct tf_file_head *ret,
                         bool *ret_valid)
{
    const uint8_t *sector;
    enum tf_err err = tf_scan_get(&walk->scan, 0, TF_SECTOR, &sector);

    *ret_valid = !err && tf_file_head_read(sector, kind, ret) && ret->number == walk->scan.number;
    return err == TF_PROTOCOL ? TF_OK : err;
}

/* Adds `length` bytes of the file to a sum. TF_PROTOCOL: they are not there. */
static enum tf_err sum(struct tf_walk *walk, uint64_t at, uint32_t length, uint32_t *crc)
{
    enum tf_err err = TF_OK;

    while (length && !err) {
        size_t piece = TF_MIN((size_t)length, (size_t)TF_SCAN_WINDOW / 4);
        const uint8_t *data;
        err = tf_scan_get(&walk->scan, at, piece, &data);
        if (err)
            break;
        *crc = tf_crc32c(*crc, data, piece);
        at += piece;
        length -= (uint32_t)piece;
    }
    return err;
}

/* The bodies of all messages that the records tell of; the records are a copy. */
static enum tf_err look_into(struct tf_walk *walk, uint64_t offset, struct tf_walk_group *group)
{
    struct tf_reader reader = tf_reader_of(tf_bytes_of(walk->records.data, group->head.records));
    uint64_t at = offset + TF_GROUP_HEAD + group->head.records, end = at + group->head.bodies;
    struct tf_record record;
    enum tf_err err;

    while (!(err = tf_record_read(&reader, &record))) {
        uint32_t crc = 0;
        group->count++;
        group->end = record.type == TF_RECORD_END;
        if (group->end)
            group->last = record.id;
        if (record.type != TF_RECORD_MESSAGE)
            continue;
        if (record.length > end - at) {
            err = TF_PROTOCOL;
            break;
        }
        err = sum(walk, at, record.length, &crc);
        if (err && err != TF_PROTOCOL)
            return err;
        group->bodies_bad = group->bodies_bad || err || crc != record.crc;
        at += record.length;
    }
    group->records_bad = err == TF_PROTOCOL;
    return err == TF_MORE || err == TF_PROTOCOL ? TF_OK : err;
}

enum tf_err tf_walk_group(struct tf_walk *walk, uint64_t offset, struct tf_walk_group *ret)
{
    struct tf_walk_group group = {{0}, 0, false, false, false, 0};
    struct tf_bytes records = {NULL, 0};
    enum tf_err err = tf_scan_group(&walk->scan, offset, &group.head);

    if (!err)
        err = tf_scan_records(&walk->scan, offset, &group.head, &records);
    if (err && err != TF_PROTOCOL)
        return err;
    group.records_bad = err == TF_PROTOCOL;
    err = TF_OK;
    if (!group.records_bad) {
        walk->records.length = 0;
        if (!tf_buffer_reserve(&walk->records, &walk->journal.alloc, records.length))
            return TF_NO_MEMORY;
        if (records.length)
            memcpy(walk->records.data, records.data, records.length);
        err = look_into(walk, offset, &group);
    }
    if (!err)
        *ret = group;
    return err;
}

enum tf_err tf_walk_find(struct tf_walk *walk, uint64_t offset, uint64_t after,
                         uint64_t *ret_offset, struct tf_group *ret_group, uint64_t *ret_end)
{
    return tf_scan_find(&walk->scan, offset, after, ret_offset, ret_group, ret_end);
}

/* ---- names ---- */

struct listing {
    struct tf_walk *walk;
    enum tf_file_kind kind;
    struct tf_buffer *numbers;
    enum tf_err err;
};

static void take_name(void *ctx, const char *name)
{
    struct listing *listing = ctx;
    struct tf_buffer *numbers = listing->numbers;
    enum tf_file_kind kind;
    uint32_t number;

    if (listing->err || !tf_file_parse(name, &number, &kind) || kind != listing->kind)
        return;
    if (!tf_buffer_reserve(numbers, &listing->walk->journal.alloc, sizeof(number))) {
        listing->err = TF_NO_MEMORY;
        return;
    }
    memcpy(numbers->data + numbers->length, &number, sizeof(number));
    numbers->length += sizeof(number);
}

static int upwards(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

enum tf_err tf_walk_list(struct tf_walk *walk, enum tf_file_kind kind,
                         struct tf_buffer *ret_numbers)
{
    struct tf_disk *disk = walk->journal.disk;
    struct listing listing = {walk, kind, ret_numbers, TF_OK};
    enum tf_err err;

    ret_numbers->length = 0;
    err = disk->ops->list(disk, take_name, &listing);
    if (!err)
        err = listing.err;
    if (!err && ret_numbers->length)
        qsort(ret_numbers->data, tf_walk_count(ret_numbers), sizeof(uint32_t), upwards);
    return err;
}

uint32_t tf_walk_number(const struct tf_buffer *numbers, size_t i)
{
    uint32_t number;

    memcpy(&number, numbers->data + i * sizeof(number), sizeof(number));
    return number;
}

size_t tf_walk_count(const struct tf_buffer *numbers)
{
    return numbers->length / sizeof(uint32_t);
}
