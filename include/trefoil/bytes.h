/*
 * Views of bytes, and the reader and writer that every codec uses.
 *
 * A view never owns: whoever lends the bytes says for how long. Reader and writer never pass their
 * bounds; the first step that would is remembered (`failed`), and all later ones do nothing, so a
 * codec checks once at the end. Numbers are big-endian, as all three protocols send them.
 */
#ifndef TREFOIL_BYTES_H
#define TREFOIL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Some bytes of somebody else's. `data` may be NULL only when `length` is 0. */
struct tf_bytes {
    const uint8_t *data;
    size_t length;
};

/* Reads forward through a view. */
struct tf_reader {
    const uint8_t *next;
    const uint8_t *end;
    bool failed; /* something was read past the end; every value since then was 0 or empty */
};

/* Writes forward into memory of the caller's. */
struct tf_writer {
    uint8_t *start;
    uint8_t *next;
    uint8_t *end;
    bool failed; /* something did not fit; nothing was written since then */
};

/* A view of `length` bytes at `data`. */
static inline struct tf_bytes tf_bytes_of(const void *data, size_t length)
{
    return (struct tf_bytes){(const uint8_t *)data, length};
}

/* A view of a string literal or any NUL-terminated text, without its NUL. */
struct tf_bytes tf_bytes_str(const char *text);

/* True if both hold the same bytes. */
bool tf_bytes_equal(struct tf_bytes a, struct tf_bytes b);

/* Below, equal to or above 0 as `a` sorts before, with or after `b`: bytewise, a prefix first. */
int tf_bytes_compare(struct tf_bytes a, struct tf_bytes b);

/* Starts reading `in`. */
static inline struct tf_reader tf_reader_of(struct tf_bytes in)
{
    static const uint8_t none[1] = {0};
    const uint8_t *data = in.data ? in.data : none; /* NULL + 0 is not defined */
    return (struct tf_reader){data, data + in.length, false};
}

/* What is left to read. */
static inline size_t tf_reader_left(const struct tf_reader *reader)
{
    return (size_t)(reader->end - reader->next);
}

/*
 * The step that all reads are made of: `length` bytes further, where they begin; NULL and `failed`
 * when fewer are left. A failure also leaves nothing to read, so later steps fail by themselves.
 */
static inline const uint8_t *tf_read_step(struct tf_reader *reader, size_t length)
{
    const uint8_t *at = reader->next;
    if (tf_reader_left(reader) < length) {
        reader->end = at;
        reader->failed = true;
        return NULL;
    }
    reader->next = at + length;
    return at;
}

/* The next 1, 2, 4 or 8 bytes as a number; 0 and `failed` when fewer are left. */
static inline uint8_t tf_read_u8(struct tf_reader *reader)
{
    const uint8_t *at = tf_read_step(reader, 1);
    return at ? at[0] : 0;
}
static inline uint16_t tf_read_u16(struct tf_reader *reader)
{
    const uint8_t *at = tf_read_step(reader, 2);
    return at ? (uint16_t)((unsigned)at[0] << 8 | at[1]) : 0;
}
static inline uint32_t tf_read_u32(struct tf_reader *reader)
{
    const uint8_t *at = tf_read_step(reader, 4);
    if (!at)
        return 0;
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}
static inline uint64_t tf_read_u64(struct tf_reader *reader)
{
    const uint8_t *at = tf_read_step(reader, 8);
    if (!at)
        return 0;
    return (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40 |
           (uint64_t)at[3] << 32 | (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16 |
           (uint64_t)at[6] << 8 | at[7];
}

/* The next `length` bytes as a view into the input; empty and `failed` when fewer are left. */
static inline struct tf_bytes tf_read_bytes(struct tf_reader *reader, size_t length)
{
    const uint8_t *at = tf_read_step(reader, length);
    return (struct tf_bytes){at, at ? length : 0};
}

/* A 16-bit length and that many bytes; empty and `failed` when they are not all there. */
static inline struct tf_bytes tf_read_bytes16(struct tf_reader *reader)
{
    size_t length = tf_read_u16(reader);
    return tf_read_bytes(reader, length);
}

/* All that is left. */
static inline struct tf_bytes tf_read_rest(struct tf_reader *reader)
{
    return tf_read_bytes(reader, tf_reader_left(reader));
}

/* Starts writing at `data`, at most `length` bytes. */
static inline struct tf_writer tf_writer_of(void *data, size_t length)
{
    uint8_t *start = (uint8_t *)data;
    return (struct tf_writer){start, start, length ? start + length : start, false};
}

/* What has been written so far. */
static inline size_t tf_writer_length(const struct tf_writer *writer)
{
    return (size_t)(writer->next - writer->start);
}

/*
 * The step that all writes are made of: where to write `length` bytes, at least one; NULL and
 * `failed` when they do not fit. A failure leaves no room, so later steps fail by themselves.
 */
static inline uint8_t *tf_write_step(struct tf_writer *writer, size_t length)
{
    uint8_t *at = writer->next;
    if ((size_t)(writer->end - at) < length) {
        writer->end = at;
        writer->failed = true;
        return NULL;
    }
    writer->next = at + length;
    return at;
}

/* Appends 1, 2, 4 or 8 bytes, big-endian. */
static inline void tf_write_u8(struct tf_writer *writer, uint8_t value)
{
    uint8_t *at = tf_write_step(writer, 1);
    if (at)
        at[0] = value;
}
static inline void tf_write_u16(struct tf_writer *writer, uint16_t value)
{
    uint8_t *at = tf_write_step(writer, 2);
    if (at) {
        at[0] = (uint8_t)(value >> 8);
        at[1] = (uint8_t)value;
    }
}
static inline void tf_write_u32(struct tf_writer *writer, uint32_t value)
{
    uint8_t *at = tf_write_step(writer, 4);
    if (at) {
        at[0] = (uint8_t)(value >> 24);
        at[1] = (uint8_t)(value >> 16);
        at[2] = (uint8_t)(value >> 8);
        at[3] = (uint8_t)value;
    }
}
static inline void tf_write_u64(struct tf_writer *writer, uint64_t value)
{
    uint8_t *at = tf_write_step(writer, 8);
    if (at) {
        at[0] = (uint8_t)(value >> 56);
        at[1] = (uint8_t)(value >> 48);
        at[2] = (uint8_t)(value >> 40);
        at[3] = (uint8_t)(value >> 32);
        at[4] = (uint8_t)(value >> 24);
        at[5] = (uint8_t)(value >> 16);
        at[6] = (uint8_t)(value >> 8);
        at[7] = (uint8_t)value;
    }
}

/* Appends the bytes of a view, all or none; nothing for an empty one. */
void tf_write_bytes(struct tf_writer *writer, struct tf_bytes bytes);

/* Appends a 16-bit length and the bytes, all or none; `failed` too when they are over 65,535. */
void tf_write_bytes16(struct tf_writer *writer, struct tf_bytes bytes);

#endif
