/*
 * Writing and reading of records. See docs/internals/journal.md for the layout.
 */
#include "store/record.h"

#include <string.h>

#include "base/assert.h"
#include "base/util.h"

bool tf_buffer_reserve(struct tf_buffer *buffer, const struct tf_alloc *alloc, size_t more)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 1024;
    uint8_t *data;

    if (buffer->capacity - buffer->length >= more)
        return true;
    if (more > SIZE_MAX / 4 || buffer->length > SIZE_MAX / 4)
        return false;
    while (capacity - buffer->length < more || capacity < buffer->length)
        capacity *= 2;
    data = alloc->alloc(alloc->ctx, capacity);
    if (!data)
        return false;
    if (buffer->length)
        memcpy(data, buffer->data, buffer->length);
    if (buffer->data)
        alloc->free(alloc->ctx, buffer->data, buffer->capacity);
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void tf_buffer_release(struct tf_buffer *buffer, const struct tf_alloc *alloc)
{
    if (buffer->data)
        alloc->free(alloc->ctx, buffer->data, buffer->capacity);
    *buffer = (struct tf_buffer){0};
}

size_t tf_record_size(const struct tf_record *record)
{
    switch (record->type) {
    case TF_RECORD_MESSAGE:
        return TF_RECORD_MESSAGE_BYTES;
    case TF_RECORD_ENTRY:
        return TF_RECORD_ENTRY_BYTES + record->value.length;
    case TF_RECORD_SETTLE:
        return 25;
    case TF_RECORD_SETTLE_ONE:
        return 17;
    case TF_RECORD_PUT:
        return TF_RECORD_PUT_BYTES + record->key.length + record->value.length + record->ids.length;
    case TF_RECORD_REMOVE:
        return 4 + record->key.length;
    case TF_RECORD_PLACE:
        return 25;
    case TF_RECORD_IN:
        return 5;
    case TF_RECORD_END:
        return 9;
    }
    return 0;
}

static void write_fields(struct tf_writer *writer, const struct tf_record *record)
{
    switch (record->type) {
    case TF_RECORD_MESSAGE:
    case TF_RECORD_PLACE:
        tf_write_u64(writer, record->id);
        tf_write_u32(writer, record->length);
        tf_write_u32(writer, record->crc);
        if (record->type == TF_RECORD_PLACE) {
            tf_write_u32(writer, record->segment);
            tf_write_u32(writer, record->offset);
        }
        break;
    case TF_RECORD_ENTRY:
        tf_write_u64(writer, record->id);
        tf_write_u64(writer, record->first);
        tf_write_u64(writer, record->message);
        tf_write_u8(writer, (uint8_t)record->value.length);
        tf_write_bytes(writer, record->value);
        break;
    case TF_RECORD_SETTLE:
    case TF_RECORD_SETTLE_ONE:
        tf_write_u64(writer, record->id);
        tf_write_u64(writer, record->first);
        if (record->type == TF_RECORD_SETTLE)
            tf_write_u64(writer, record->last);
        break;
    case TF_RECORD_PUT:
    case TF_RECORD_REMOVE:
        tf_write_u8(writer, record->kind);
        tf_write_bytes16(writer, record->key);
        if (record->type == TF_RECORD_REMOVE)
            break;
        tf_write_u32(writer, (uint32_t)record->value.length);
        tf_write_u32(writer, (uint32_t)(record->ids.length / 8));
        tf_write_bytes(writer, record->value);
        tf_write_bytes(writer, record->ids);
        break;
    case TF_RECORD_IN:
        tf_write_u32(writer, record->segment);
        break;
    case TF_RECORD_END:
        tf_write_u64(writer, record->id);
        break;
    }
}

void tf_record_write(struct tf_buffer *buffer, const struct tf_record *record)
{
    struct tf_writer writer =
        tf_writer_of(buffer->data + buffer->length, buffer->capacity - buffer->length);

    tf_write_u8(&writer, (uint8_t)record->type);
    write_fields(&writer, record);
    tf_assert(!writer.failed);
    buffer->length += tf_writer_length(&writer);
}

static void read_message(struct tf_reader *reader, struct tf_record *record)
{
    record->id = tf_read_u64(reader);
    record->length = tf_read_u32(reader);
    record->crc = tf_read_u32(reader);
    if (record->type == TF_RECORD_PLACE) {
        record->segment = tf_read_u32(reader);
        record->offset = tf_read_u32(reader);
    }
}

static void read_entry(struct tf_reader *reader, struct tf_record *record)
{
    size_t length;

    record->id = tf_read_u64(reader);
    record->first = tf_read_u64(reader);
    record->last = record->first;
    if (record->type == TF_RECORD_SETTLE) {
        record->last = tf_read_u64(reader);
    } else if (record->type == TF_RECORD_ENTRY) {
        record->message = tf_read_u64(reader);
        length = tf_read_u8(reader);
        record->value = tf_read_bytes(reader, length);
    }
}

static void read_object(struct tf_reader *reader, struct tf_record *record)
{
    size_t length;
    uint64_t ids;

    record->kind = tf_read_u8(reader);
    record->key = tf_read_bytes16(reader);
    if (record->type == TF_RECORD_REMOVE)
        return;
    length = tf_read_u32(reader);
    ids = (uint64_t)tf_read_u32(reader) * 8;
    record->value = tf_read_bytes(reader, length);
    record->ids = tf_read_bytes(reader, ids > SIZE_MAX ? SIZE_MAX : (size_t)ids);
}

enum tf_err tf_record_read(struct tf_reader *reader, struct tf_record *ret)
{
    struct tf_record record = {0};

    if (!tf_reader_left(reader))
        return TF_MORE;
    record.type = (enum tf_record_type)tf_read_u8(reader);
    switch (record.type) {
    case TF_RECORD_MESSAGE:
    case TF_RECORD_PLACE:
        read_message(reader, &record);
        break;
    case TF_RECORD_ENTRY:
    case TF_RECORD_SETTLE:
    case TF_RECORD_SETTLE_ONE:
        read_entry(reader, &record);
        break;
    case TF_RECORD_PUT:
    case TF_RECORD_REMOVE:
        read_object(reader, &record);
        break;
    case TF_RECORD_IN:
        record.segment = tf_read_u32(reader);
        break;
    case TF_RECORD_END:
        record.id = tf_read_u64(reader);
        break;
    default:
        return TF_PROTOCOL;
    }
    if (reader->failed)
        return TF_PROTOCOL;
    *ret = record;
    return TF_OK;
}
