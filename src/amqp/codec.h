/*
 * What the files of the AMQP codec share below the public headers: format codes, and the check of
 * values.
 *
 * It knows no performative and no connection.
 */
#ifndef TF_AMQP_CODEC_H
#define TF_AMQP_CODEC_H

#include <trefoil/amqp_value.h>

#include "base/mem.h"

/* The type of a format code; TF_AMQP_TYPE_COUNT: there is no such code (1.6). */
enum tf_amqp_type tf_amqp_code_type(uint8_t code);

/* What a format code says about lengths, in its high half (1.2). */
enum tf_amqp_category {
    TF_AMQP_CATEGORY_EMPTY = 4,
    TF_AMQP_CATEGORY_1,
    TF_AMQP_CATEGORY_2,
    TF_AMQP_CATEGORY_4,
    TF_AMQP_CATEGORY_8,
    TF_AMQP_CATEGORY_16,
    TF_AMQP_CATEGORY_VARIABLE_8,
    TF_AMQP_CATEGORY_VARIABLE_32,
    TF_AMQP_CATEGORY_COMPOUND_8,
    TF_AMQP_CATEGORY_COMPOUND_32,
    TF_AMQP_CATEGORY_ARRAY_8,
    TF_AMQP_CATEGORY_ARRAY_32
};

/* Fails a reader for what is in the bytes, as if they had ended. */
static inline enum tf_err tf_amqp_fail(struct tf_reader *reader)
{
    reader->end = reader->next;
    reader->failed = true;
    return TF_PROTOCOL;
}

/* The bytes from `begin` to where the reader is. */
static inline struct tf_bytes tf_amqp_since(const struct tf_reader *reader, const uint8_t *begin)
{
    return tf_bytes_of(begin, (size_t)(reader->next - begin));
}

/*
 * Reads what is behind a format code: number, bytes, count, type, code of *ret, as
 * tf_amqp_value_read; the rest of *ret is left alone. False: malformed.
 */
bool tf_amqp_content_read(struct tf_reader *reader, uint8_t code, struct tf_amqp_value *ret);

/*
 * Reads a constructor (1.2): *ret_code, how many descriptors and the first. False: malformed, or
 * more than TF_AMQP_DEPTH_MAX descriptors.
 */
bool tf_amqp_constructor_read(struct tf_reader *reader, uint8_t *ret_code, uint8_t *ret_descriptors,
                              struct tf_bytes *ret_descriptor);

/* True if `count` items of an array can be in `left` bytes. */
bool tf_amqp_array_fits(uint8_t code, uint32_t count, size_t left);

/* As tf_amqp_value_check, with the items without bytes that arrays may still have, which it counts
 * down. */
TF_MUST_USE enum tf_err tf_amqp_check_counted(struct tf_reader *reader,
                                              struct tf_bytes *ret_encoded,
                                              uint32_t *empty_items_left);

/* True if no key of this map is there twice, as far as linear time shows (1.6.23). */
bool tf_amqp_keys_differ(const struct tf_amqp_value *map);

#endif
