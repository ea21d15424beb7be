/*
 * Records: how what happened is written down, in groups of the log and in snapshots alike.
 *
 * Numbers are big-endian. What is decoded is a view of the input; every length in it has been
 * checked against what is there, nothing else has.
 */
#ifndef TF_STORE_RECORD_H
#define TF_STORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <trefoil/bytes.h>
#include <trefoil/err.h>

#include "base/alloc.h"

enum tf_record_type {
    TF_RECORD_MESSAGE = 1, /* id, length, sum; its bytes are next in the group's bodies */
    TF_RECORD_ENTRY = 2,   /* queue, position, message, attributes; new, changed, or carried over */
    TF_RECORD_SETTLE = 3,  /* queue, first position, last position */
    TF_RECORD_SETTLE_ONE = 4, /* queue, position */
    TF_RECORD_PUT = 5,        /* kind, key, value, messages */
    TF_RECORD_REMOVE = 6,     /* kind, key */
    /* only in snapshots: */
    TF_RECORD_PLACE = 7, /* a message elsewhere: id, length, sum, segment, offset of its bytes */
    TF_RECORD_IN = 8,    /* segment that the entries and objects after this lie in */
    TF_RECORD_END = 9    /* the last record; sequence number of the last group seen */
};

#define TF_RECORD_MESSAGE_BYTES 17u
#define TF_RECORD_ENTRY_BYTES 26u /* and the attributes */
#define TF_RECORD_PUT_BYTES 12u   /* and key, value, 8 for each message */

struct tf_record {
    enum tf_record_type type;
    uint8_t kind;
    uint64_t id;          /* of the message, or queue, or the sequence number of END */
    uint64_t first, last; /* positions; of an entry both are its own */
    uint64_t message;
    uint32_t length, crc; /* of a message */
    uint32_t segment, offset;
    struct tf_bytes key;
    struct tf_bytes value; /* or attributes */
    struct tf_bytes ids;   /* 8 bytes a message */
};

/* Bytes that grow; zero: empty. Whoever has it gives it back with tf_buffer_release. */
struct tf_buffer {
    uint8_t *data;
    size_t length, capacity;
};

/* Makes room for `more` bytes after `length`. False: no memory, nothing changed. */
bool tf_buffer_reserve(struct tf_buffer *buffer, const struct tf_alloc *alloc, size_t more);
void tf_buffer_release(struct tf_buffer *buffer, const struct tf_alloc *alloc);

/* How long the record will be. */
size_t tf_record_size(const struct tf_record *record);

/* Appends it; `buffer` has room for tf_record_size. */
void tf_record_write(struct tf_buffer *buffer, const struct tf_record *record);

/* The next record. TF_MORE: there is none. TF_PROTOCOL: that is none. */
TF_MUST_USE enum tf_err tf_record_read(struct tf_reader *reader, struct tf_record *ret);

#endif
