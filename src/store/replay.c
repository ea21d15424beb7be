/*
 * From records back to what they mean, for an index that is loading. A group is wholly looked
 * through before anything of it is told to the index, which cannot take it back.
 */
#include "store/journal_internal.h"

/* What only a snapshot has. */
static bool of_snapshot(enum tf_record_type type)
{
    return type == TF_RECORD_PLACE || type == TF_RECORD_IN || type == TF_RECORD_END;
}

/* Whether the records make sense, in a snapshot or in the log. */
static enum tf_err look_through(const struct tf_index *index, struct tf_bytes records,
                                uint64_t bodies, bool snapshot)
{
    struct tf_reader reader = tf_reader_of(records);
    struct tf_index_ahead ahead = {0};
    struct tf_record record;
    uint64_t length = 0;
    enum tf_err err;

    while (!(err = tf_record_read(&reader, &record))) {
        if (of_snapshot(record.type) != snapshot && (!snapshot || record.type == TF_RECORD_MESSAGE))
            return TF_PROTOCOL;
        if (record.type == TF_RECORD_MESSAGE) {
            length += record.length;
            if (length > bodies)
                return TF_PROTOCOL;
        }
        if (record.type == TF_RECORD_SETTLE && record.first > record.last)
            return TF_PROTOCOL;
        tf_index_expect(index, &ahead, &record);
    }
    return err == TF_MORE ? TF_OK : err;
}

static enum tf_err tell(struct tf_index *index, const struct tf_record *record)
{
    switch (record->type) {
    case TF_RECORD_MESSAGE:
    case TF_RECORD_PLACE:
        return tf_index_message(index, record);
    case TF_RECORD_ENTRY:
        return tf_index_entry(index, record);
    case TF_RECORD_SETTLE:
    case TF_RECORD_SETTLE_ONE:
        return tf_index_settle(index, record->id, record->first, record->last);
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
    uint32_t offset = 0, segment = 0;
    enum tf_err err = look_through(&journal->index, records, bodies, ret_end != NULL);

    while (!err && !tf_record_read(&reader, &record)) {
        if (record.type == TF_RECORD_MESSAGE) {
            record.offset = offset;
            offset += record.length;
        } else if (record.type == TF_RECORD_IN) {
            segment = record.segment;
        } else if (record.type == TF_RECORD_END) {
            *ret_end = true;
            *ret_last = record.id;
        } else if (record.type != TF_RECORD_PLACE) {
            record.segment = segment;
        }
        err = tell(&journal->index, &record);
    }
    return err;
}
