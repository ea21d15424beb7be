/*
 * Looking at single entries and reading bodies: for those who read a queue back while the journal
 * is being written. What goes through all that lives (tf_journal_next_*) is in journal.c.
 *
 * A body that turns out to be damaged is copied to a file of its own, as it lies there, and is lost
 * from then on. Where that copy does not succeed the segment is kept when it is done with.
 */
#include <string.h>

#include "base/util.h"
#include "store/journal_internal.h"

#define RUN_MAX ((size_t)1 << 20) /* bytes that one call reads */

bool tf_journal_has(const struct tf_journal *journal, uint64_t message)
{
    const struct tf_index_message *at = tf_index_find_message(&journal->index, message);

    return at && (at->pending || at->segment);
}

bool tf_journal_entry_from(const struct tf_journal *journal, uint64_t queue, uint64_t from,
                           struct tf_journal_place *ret)
{
    const struct tf_index *index = &journal->index;
    const struct tf_index_queue *found = tf_index_find_queue(index, queue);
    struct tf_index_at at;

    while (found && tf_index_entry_from(found, from, &at)) {
        uint64_t position = tf_index_position(&at);
        if (at.entry->state == TF_INDEX_LIVE) {
            *ret = (struct tf_journal_place){queue, position,
                                             tf_index_message_at(index, at.entry->message)->id,
                                             tf_index_attributes(&at)};
            return true;
        }
        if (position == UINT64_MAX)
            break;
        from = position + 1;
    }
    return false;
}

/* NUMBER.OFFSET.damaged: the bytes of a segment at that offset. */
static void name_aside(char ret_name[TF_FILE_NAME], uint32_t number, uint64_t offset)
{
    ret_name[10] = '.';
    for (int i = 9; i >= 0; i--, number /= 10, offset /= 10) {
        ret_name[i] = (char)('0' + number % 10);
        ret_name[i + 11] = (char)('0' + offset % 10);
    }
    memcpy(ret_name + 21, TF_FILE_ASIDE, sizeof(TF_FILE_ASIDE));
}

/* Writes the bytes to a file of their own; an earlier run may have begun one. */
static enum tf_err copy_aside(struct tf_disk *disk, const char *name, struct tf_bytes bytes)
{
    int file;
    enum tf_err err = disk->ops->open(disk, name, TF_DISK_CREATE, &file);

    if (err == TF_EXISTS)
        err = disk->ops->open(disk, name, TF_DISK_WRITE, &file);
    if (err)
        return err;
    err = disk->ops->write(disk, file, 0, &bytes, 1);
    if (!err)
        err = disk->ops->sync(disk, file);
    disk->ops->close(disk, file);
    return err ? err : disk->ops->sync_folder(disk);
}

/* What was read of a message is not what was written. */
static void set_aside(struct tf_journal *journal, uint64_t message, const void *data)
{
    const struct tf_index_message *at = tf_index_find_message(&journal->index, message);
    const struct tf_journal_config *config = &journal->config;
    struct tf_disk *disk = journal->disk;
    struct tf_segment *segment = at ? tf_segment_find(journal, at->segment) : NULL;
    uint64_t size = 0, offset, length;
    uint32_t number;
    char name[TF_FILE_NAME];
    bool copied;

    if (!segment)
        return;
    number = segment->number;
    offset = at->offset;
    length = at->length;
    /* The file may have been cut. */
    if (disk->ops->size(disk, segment->file, &size))
        size = 0;
    length = size < offset ? 0 : TF_MIN(length, size - offset);
    name_aside(name, number, offset);
    copied = length && !copy_aside(disk, name, tf_bytes_of(data, (size_t)length));
    if (copied)
        tf_index_lose_now(&journal->index, at->number);
    else
        segment->damaged = true;
    if (config->damaged)
        config->damaged(config->damaged_ctx, number, offset, copied ? name : NULL);
}

enum tf_err tf_journal_read(struct tf_journal *journal, uint64_t message, void *to, size_t length)
{
    const struct tf_index_message *at = tf_index_find_message(&journal->index, message);
    enum tf_err err;

    if (!at || at->pending)
        return TF_NOT_FOUND;
    if (!at->segment)
        return TF_PROTOCOL;
    if (at->length != length)
        return TF_MISUSE;
    err = tf_journal_read_body(journal, at, to);
    if (err == TF_PROTOCOL)
        set_aside(journal, message, to);
    return err;
}

/* How many of the wants, which all have a length, can be read by one call: 1 at least. */
static size_t run_of(const struct tf_journal *journal, const struct tf_journal_want *wants,
                     size_t count, const struct tf_index_message *first, size_t *ret_length)
{
    size_t length = first->length, n = 1;

    for (; n < count && wants[n].err == TF_OK; n++) {
        const struct tf_index_message *next =
            tf_index_find_message(&journal->index, wants[n].message);
        if (next->segment != first->segment || next->offset != first->offset + length ||
            wants[n].to != wants[0].to + length || length + next->length > RUN_MAX)
            break;
        length += next->length;
    }
    *ret_length = length;
    return n;
}

/* Reads one run of wants that can be read; returns how many they are. */
static size_t read_run(struct tf_journal *journal, struct tf_journal_want *wants, size_t count)
{
    const struct tf_index_message *first = tf_index_find_message(&journal->index, wants[0].message);
    const struct tf_segment *segment = tf_segment_find(journal, first->segment);
    size_t length, n = run_of(journal, wants, count, first, &length);

    if (n == 1 || !segment ||
        tf_file_read(journal, segment->file, first->offset, wants[0].to, length)) {
        /* By itself, so that each has its own error. */
        wants[0].err = tf_journal_read_body(journal, first, wants[0].to);
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        const struct tf_index_message *at =
            tf_index_find_message(&journal->index, wants[i].message);
        if (journal->config.crc32c(0, wants[i].to, wants[i].length) != at->crc)
            wants[i].err = TF_PROTOCOL;
    }
    return n;
}

void tf_journal_read_all(struct tf_journal *journal, struct tf_journal_want *wants, size_t count)
{
    size_t length;

    for (size_t i = 0; i < count; i++) {
        wants[i].err = tf_journal_length(journal, wants[i].message, &length);
        if (!wants[i].err && length != wants[i].length)
            wants[i].err = TF_MISUSE;
    }
    for (size_t i = 0; i < count;)
        i += wants[i].err || !wants[i].length ? 1 : read_run(journal, wants + i, count - i);
    for (size_t i = 0; i < count; i++)
        if (wants[i].err == TF_PROTOCOL)
            set_aside(journal, wants[i].message, wants[i].to);
}

uint64_t tf_journal_highest(const struct tf_journal *journal)
{
    const struct tf_index *index = &journal->index;
    uint64_t highest = 0, position;

    for (uint32_t n = tf_slab_next(&index->messages, 0); n != TF_SLAB_NONE;
         n = tf_slab_next(&index->messages, n + 1))
        highest = TF_MAX(highest, tf_index_message_at(index, n)->id);
    for (uint32_t n = tf_slab_next(&index->queues, 0); n != TF_SLAB_NONE;
         n = tf_slab_next(&index->queues, n + 1))
        if (tf_index_last(tf_index_queue_at(index, n), &position))
            highest = TF_MAX(highest, position);
    return highest;
}
