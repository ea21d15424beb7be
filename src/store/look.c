/*
 * Looking at single entries and reading bodies by the page: for those who read a queue back while
 * the journal is being written. Walks over everything are in journal.c.
 */
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
}
