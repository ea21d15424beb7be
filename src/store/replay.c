/*
 * From records back to what they mean: staged into the index as if it were happening now.
 */
#include "store/journal_internal.h"

/* What only a snapshot has. */
static bool of_snapshot(enum tf_record_type type)
{
    return type == TF_RECORD_PLACE || type == TF_RECORD_IN || type == TF_RECORD_END;
}

static enum tf_err replay_one(struct tf_index *index, struct tf_record *record)
{
    switch (record->type) {
    case TF_RECORD_MESSAGE:
    case TF_RECORD_PLACE:
        return tf_index_message(index, record);
    case TF_RECORD_ENTRY:
        return tf_index_entry(index, record);
    case TF_RECORD_SETTLE:
    case TF_RECORD_SETTLE_ONE:
        return record->first > record->last
                   ? TF_PROTOCOL
                   : tf_index_settle(index, record->id, record->first, record->last);
    case TF_RECORD_PUT:
        return tf_index_put(index, record);
    case TF_RECORD_REMOVE:
        return tf_index_remove(index, record->kind, record->key);
    case TF_RECORD_IN:
    case TF_RECORD_END:
        break;
    }
    return TF_OK;
}

enum tf_err tf_journal_replay(struct tf_journal *journal, struct tf_bytes records, uint64_t bodies,
                              bool *ret_end, uint64_t *ret_last)
{
    struct tf_reader reader = tf_reader_of(records);
    struct tf_record record;
    uint64_t offset = 0;
    uint32_t segment = 0;
    enum tf_err err;

    while (!(err = tf_record_read(&reader, &record))) {
        if (of_snapshot(record.type) != (ret_end != NULL) &&
            (!ret_end || record.type == TF_RECORD_MESSAGE)) {
            err = TF_PROTOCOL;
            break;
        }
        if (record.type == TF_RECORD_MESSAGE) {
            record.offset = (uint32_t)offset;
            offset += record.length;
            if (offset > bodies) {
                err = TF_PROTOCOL;
                break;
            }
        } else if (record.type == TF_RECORD_IN) {
            segment = record.segment;
        } else if (record.type == TF_RECORD_END) {
            *ret_end = true;
            *ret_last = record.id;
        } else if (record.type != TF_RECORD_PLACE) {
            record.segment = segment;
        }
        err = replay_one(&journal->index, &record);
        if (err)
            break;
    }
    if (err == TF_MORE)
        return TF_OK;
    tf_index_rollback(&journal->index);
    return err;
}
