/*
 * Giving space back: what lives in the oldest segment is written again at the end of the log; then
 * nothing lives in it, and it is removed.
 *
 * When: the log is longer than what lives takes at compact_percent, by more than two segments. Then
 * it is turned like a wheel: every byte that is copied has a dead byte to pay for it, also where
 * the dead ones lie behind a long-lived beginning. Queues that are taken from in their order leave
 * their oldest segments dead, and nothing is ever copied.
 *
 * What lives is found in the index, not in the segment, so a damaged segment gives up all but the
 * bodies that are damaged themselves. A walk over the index visits everything that was there when
 * it began and still is, whatever is added or goes meanwhile; what is added lies in younger
 * segments.
 */
#include "store/journal_internal.h"

#include "base/util.h"

enum part { OBJECTS, MESSAGES, QUEUES, DONE };

static bool worth(const struct tf_journal *journal)
{
    uint64_t used = 0, slack = 2 * journal->config.segment_size;

    for (size_t i = 0; i < journal->segment_count; i++)
        used += journal->segments[i].used;
    return journal->segment_count > 2 && used > slack &&
           journal->index.live_bytes * 100 < (used - slack) * journal->config.compact_percent;
}

static enum tf_err copy_object(struct tf_journal *journal, uint32_t number)
{
    const struct tf_index_object *object = tf_index_object_at(&journal->index, number);
    size_t before = tf_journal_records(journal);
    struct tf_record record;
    enum tf_err err = tf_index_object_record(&journal->index, object, &journal->ids, &record);

    if (!err)
        err = tf_journal_append(journal, &record);
    if (err)
        return err;
    err = tf_index_move_object(&journal->index, number);
    if (err)
        tf_journal_take_back(journal, before);
    return err;
}

/* The body of a message, read for the group that is being made. */
static enum tf_err borrow(struct tf_journal *journal, const struct tf_index_message *message,
                          struct tf_bytes *ret_body)
{
    size_t size = sizeof(struct tf_loan) + message->length;
    struct tf_loan *loan = journal->alloc.alloc(journal->alloc.ctx, size);
    enum tf_err err;

    if (!loan)
        return TF_NO_MEMORY;
    err = tf_journal_read_body(journal, message, loan + 1);
    if (err) {
        journal->alloc.free(journal->alloc.ctx, loan, size);
        return err;
    }
    *loan = (struct tf_loan){journal->loans, size};
    journal->loans = loan;
    *ret_body = tf_bytes_of(loan + 1, message->length);
    return TF_OK;
}

static enum tf_err copy_message(struct tf_journal *journal, uint32_t number)
{
    const struct tf_index_message *message = tf_index_message_at(&journal->index, number);
    size_t before = tf_journal_records(journal), spans = journal->span_count;
    uint64_t bodies = journal->bodies;
    struct tf_record record = {.type = TF_RECORD_MESSAGE,
                               .id = message->id,
                               .length = message->length,
                               .crc = message->crc,
                               .offset = (uint32_t)bodies};
    struct tf_segment *segment = tf_segment_find(journal, message->segment);
    struct tf_bytes body;
    enum tf_err err = borrow(journal, message, &body);

    if (err == TF_PROTOCOL) {
        /* Damaged. Whoever wants it is told so, and the segment is set aside for who can read it.
         */
        if (segment)
            segment->damaged = true;
        return tf_index_lose(&journal->index, number);
    }
    if (!err)
        err = tf_journal_body(journal, body);
    if (!err)
        err = tf_journal_append(journal, &record);
    if (!err)
        err = tf_index_message(&journal->index, &record);
    if (err) {
        tf_journal_take_back(journal, before);
        journal->span_count = spans;
        journal->bodies = bodies;
    }
    return err;
}

static enum tf_err copy_entry(struct tf_journal *journal, const struct tf_index_queue *queue,
                              const struct tf_index_at *at)
{
    size_t before = tf_journal_records(journal);
    struct tf_record record = {.type = TF_RECORD_ENTRY,
                               .id = queue->id,
                               .first = tf_index_position(at),
                               .message =
                                   tf_index_message_at(&journal->index, at->entry->message)->id,
                               .value = tf_index_attributes(at)};
    enum tf_err err = tf_journal_append(journal, &record);

    if (err)
        return err;
    err = tf_index_entry(&journal->index, &record);
    if (err)
        tf_journal_take_back(journal, before);
    return err;
}

/* The walk's next queue entry is looked at. */
static enum tf_err step_queue(struct tf_journal *journal, const struct tf_index_queue *queue,
                              uint32_t number, uint32_t oldest)
{
    struct tf_compact *compact = &journal->compact;
    struct tf_index_at at;
    uint64_t position;
    enum tf_err err = TF_OK;

    if (!tf_index_entry_from(queue, compact->position, &at)) {
        compact->next = number + 1;
        compact->position = 0;
        return TF_OK;
    }
    position = tf_index_position(&at);
    if (at.entry->state == TF_INDEX_LIVE && at.entry->segment <= oldest)
        err = copy_entry(journal, queue, &at);
    if (err)
        return err;
    compact->position = position + 1;
    if (position == UINT64_MAX) {
        compact->next = number + 1;
        compact->position = 0;
    }
    return TF_OK;
}

/* One thing of the index is looked at, and copied if it lies in the oldest segment. */
static enum tf_err step(struct tf_journal *journal)
{
    struct tf_compact *compact = &journal->compact;
    const struct tf_index *index = &journal->index;
    const struct tf_slab *slabs[] = {&index->objects, &index->messages, &index->queues};
    uint32_t oldest = journal->segments[0].number;
    uint32_t number = tf_slab_next(slabs[compact->part], compact->next);
    enum tf_err err = TF_OK;

    if (number == TF_SLAB_NONE) {
        compact->part++;
        compact->next = 0;
        return TF_OK;
    }
    if (compact->part == QUEUES) {
        if (number != compact->next)
            compact->position = 0;
        compact->next = number;
        return step_queue(journal, tf_index_queue_at(index, number), number, oldest);
    }
    if (compact->part == OBJECTS) {
        const struct tf_index_object *object = tf_index_object_at(index, number);
        if (!object->pending && object->segment <= oldest)
            err = copy_object(journal, number);
    } else {
        const struct tf_index_message *message = tf_index_message_at(index, number);
        if (!message->pending && message->refs && message->segment && message->segment <= oldest)
            err = copy_message(journal, number);
    }
    if (!err)
        compact->next = number + 1;
    return err;
}

/* Nothing but copies is in the group: written now, because nobody else does. */
static bool flush(struct tf_journal *journal)
{
    return tf_journal_commit(journal) == TF_OK;
}

bool tf_compact_work(struct tf_journal *journal)
{
    struct tf_compact *compact = &journal->compact;
    size_t before;
    enum tf_err err = TF_OK;

    /* A copy must not come after a settlement in one group: it would win when that is read. */
    if (journal->foreign)
        return false;
    if (tf_journal_pending(journal) >= TF_WORK_BYTES ||
        (!compact->active && journal->index.op_count))
        return flush(journal);
    if (!compact->active) {
        if (!worth(journal))
            return false;
        *compact = (struct tf_compact){.active = true};
    }
    before = tf_journal_pending(journal);
    for (uint32_t i = 0; i < TF_WORK_ITEMS && compact->part != DONE && !err; i++) {
        if (tf_journal_pending(journal) >= TF_WORK_BYTES)
            break;
        err = step(journal);
    }
    journal->stats.copied_bytes += tf_journal_pending(journal) - before;
    if (compact->part == DONE || err)
        compact->active = false;
    /* Out of memory, or the disk cannot read: another time, from the beginning. */
    journal->wait = err != TF_OK;
    return !err;
}
