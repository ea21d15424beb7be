/*
 * The invariants of journal.c, walked.
 */
#include "store/journal_internal.h"

static bool check_files(const struct tf_journal *journal)
{
    uint64_t bytes = journal->snapshot_number ? journal->snapshot_size : 0;

    if (journal->segment_count != journal->index.segment_count)
        return false;
    for (size_t i = 0; i < journal->segment_count; i++) {
        const struct tf_segment *segment = &journal->segments[i];
        if (segment->number != journal->index.segments[i].number ||
            (i && segment->number <= journal->segments[i - 1].number))
            return false;
        if (segment->used < TF_SECTOR || segment->used % TF_SECTOR)
            return false;
        bytes += segment->size;
    }
    if (journal->has_spare) {
        if (journal->spare.number <= journal->segments[journal->segment_count - 1].number)
            return false;
        bytes += journal->spare.size;
    }
    return bytes == journal->file_bytes;
}

bool tf_journal_check(const struct tf_journal *journal)
{
    if (journal->synced > journal->sequence || !journal->segment_count)
        return false;
    if (!tf_journal_pending(journal) && journal->index.pending)
        return false;
    return check_files(journal) && tf_index_check(&journal->index);
}
