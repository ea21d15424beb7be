/*
 * Values of the AMQP 1.0 type system (part 1): read one by one, walked by cursors, written in the
 * shortest form. No trees, nothing is copied.
 *
 * Reading looks at one value: a scalar is decoded, a compound tells what is in it and where. What
 * is inside is looked at only when a cursor goes there, so what came from a peer is checked as a
 * whole first (tf_amqp_value_check; the readers of performatives and messages have done it).
 * Cursors over a checked value cannot fail.
 */
#ifndef TREFOIL_AMQP_VALUE_H
#define TREFOIL_AMQP_VALUE_H

#include <trefoil/amqp.h>

/* Items without any bytes (nulls, trues, empty lists) that all arrays in a value, or in a message,
 * may have together: their count costs the sender nothing, so it cannot be held against the bytes
 * left. */
#define TF_AMQP_EMPTY_ITEMS_MAX 65536u

/* 1.6; the comment says where the value is in struct tf_amqp_value. */
enum tf_amqp_type {
    TF_AMQP_NULL,
    TF_AMQP_BOOLEAN,    /* number: 0 or 1 */
    TF_AMQP_UBYTE,      /* number */
    TF_AMQP_USHORT,     /* number */
    TF_AMQP_UINT,       /* number */
    TF_AMQP_ULONG,      /* number */
    TF_AMQP_BYTE,       /* integer */
    TF_AMQP_SHORT,      /* integer */
    TF_AMQP_INT,        /* integer */
    TF_AMQP_LONG,       /* integer */
    TF_AMQP_FLOAT,      /* number: the 32 bits of IEEE 754 */
    TF_AMQP_DOUBLE,     /* number: the 64 bits */
    TF_AMQP_DECIMAL32,  /* bytes: 4 */
    TF_AMQP_DECIMAL64,  /* bytes: 8 */
    TF_AMQP_DECIMAL128, /* bytes: 16 */
    TF_AMQP_CHAR,       /* number: a Unicode scalar value */
    TF_AMQP_TIMESTAMP,  /* integer: milliseconds since 1970 */
    TF_AMQP_UUID,       /* bytes: 16 */
    TF_AMQP_BINARY,     /* bytes */
    TF_AMQP_STRING,     /* bytes: UTF-8 */
    TF_AMQP_SYMBOL,     /* bytes: ASCII */
    TF_AMQP_LIST,       /* compounds: items, count */
    TF_AMQP_MAP,        /* count: keys and values, so it is even */
    TF_AMQP_ARRAY,
    TF_AMQP_TYPE_COUNT
};

/*
 * Format codes (1.6). Of a type with several the plain name is the widest, which can hold every
 * value of the type.
 */
enum tf_amqp_code {
    TF_AMQP_CODE_DESCRIBED = 0x00,
    TF_AMQP_CODE_NULL = 0x40,
    TF_AMQP_CODE_TRUE = 0x41,
    TF_AMQP_CODE_FALSE = 0x42,
    TF_AMQP_CODE_UINT0 = 0x43,
    TF_AMQP_CODE_ULONG0 = 0x44,
    TF_AMQP_CODE_LIST0 = 0x45,
    TF_AMQP_CODE_UBYTE = 0x50,
    TF_AMQP_CODE_BYTE = 0x51,
    TF_AMQP_CODE_SMALL_UINT = 0x52,
    TF_AMQP_CODE_SMALL_ULONG = 0x53,
    TF_AMQP_CODE_SMALL_INT = 0x54,
    TF_AMQP_CODE_SMALL_LONG = 0x55,
    TF_AMQP_CODE_BOOLEAN = 0x56,
    TF_AMQP_CODE_USHORT = 0x60,
    TF_AMQP_CODE_SHORT = 0x61,
    TF_AMQP_CODE_UINT = 0x70,
    TF_AMQP_CODE_INT = 0x71,
    TF_AMQP_CODE_FLOAT = 0x72,
    TF_AMQP_CODE_CHAR = 0x73,
    TF_AMQP_CODE_DECIMAL32 = 0x74,
    TF_AMQP_CODE_ULONG = 0x80,
    TF_AMQP_CODE_LONG = 0x81,
    TF_AMQP_CODE_DOUBLE = 0x82,
    TF_AMQP_CODE_TIMESTAMP = 0x83,
    TF_AMQP_CODE_DECIMAL64 = 0x84,
    TF_AMQP_CODE_DECIMAL128 = 0x94,
    TF_AMQP_CODE_UUID = 0x98,
    TF_AMQP_CODE_BINARY8 = 0xA0,
    TF_AMQP_CODE_STRING8 = 0xA1,
    TF_AMQP_CODE_SYMBOL8 = 0xA3,
    TF_AMQP_CODE_BINARY = 0xB0,
    TF_AMQP_CODE_STRING = 0xB1,
    TF_AMQP_CODE_SYMBOL = 0xB3,
    TF_AMQP_CODE_LIST8 = 0xC0,
    TF_AMQP_CODE_MAP8 = 0xC1,
    TF_AMQP_CODE_LIST = 0xD0,
    TF_AMQP_CODE_MAP = 0xD1,
    TF_AMQP_CODE_ARRAY8 = 0xE0,
    TF_AMQP_CODE_ARRAY = 0xF0
};

/* One value. Views borrow what was read. */
struct tf_amqp_value {
    enum tf_amqp_type type;
    uint8_t code;        /* the format code that it came in */
    uint8_t descriptors; /* how many describe it (1.5); mostly 0 or 1 */
    uint32_t count;      /* items of a compound */
    union {
        uint64_t number;
        int64_t integer;
    };
    struct tf_bytes bytes;       /* content; of a compound, what is behind its count */
    struct tf_bytes descriptor;  /* the outermost descriptor, encoded; empty: not described */
    struct tf_bytes constructor; /* all of it: descriptors and format code */
    struct tf_bytes encoded;     /* all of the value; of an array's item, without constructor */
};

/* Walks the items of a compound. Of a map: key, value, key, value. */
struct tf_amqp_items {
    struct tf_reader reader;     /* failed: the items are not what the compound said */
    struct tf_bytes constructor; /* of an array's items; empty: each has its own */
    struct tf_bytes descriptor;
    uint8_t descriptors;
    uint8_t code;
    uint32_t left;
};

/* ---- reading ---- */

/*
 * Reads one value off the reader: format code, lengths, and a count against its bytes (of an array
 * by the cursor); of a scalar also that it is legal (UTF-8, ASCII, boolean 0 or 1, a Unicode
 * scalar). Compounds are not gone into, nor are descriptors. TF_PROTOCOL: an amqp:decode-error; the
 * reader has failed.
 */
TF_MUST_USE enum tf_err tf_amqp_value_read(struct tf_reader *reader, struct tf_amqp_value *ret);

/* The same for bytes that are one value and nothing else. */
TF_MUST_USE enum tf_err tf_amqp_value_of(struct tf_bytes encoded, struct tf_amqp_value *ret);

/*
 * Reads one value and checks all that is in it, without recursion: lengths, counts, legal scalars,
 * maps of pairs without a key twice (1.6.23), depth to TF_AMQP_DEPTH_MAX. *ret_encoded: its bytes.
 * TF_PROTOCOL as above. Linear in the length of the value: maps of more than 1,024 pairs are
 * searched for equal keys only in part. Takes about 3 KiB of stack.
 */
TF_MUST_USE enum tf_err tf_amqp_value_check(struct tf_reader *reader, struct tf_bytes *ret_encoded);

/* Steps over one value without looking into it. TF_PROTOCOL as above. */
TF_MUST_USE enum tf_err tf_amqp_value_skip(struct tf_reader *reader);

/* The items of a compound; none for any other value. */
struct tf_amqp_items tf_amqp_items_of(const struct tf_amqp_value *compound);

/* The next item; false: there is none, or (`reader.failed`) it is malformed. */
bool tf_amqp_item_next(struct tf_amqp_items *items, struct tf_amqp_value *ret);

/* The next pair of a map; false as above. */
bool tf_amqp_pair_next(struct tf_amqp_items *items, struct tf_amqp_value *ret_key,
                       struct tf_amqp_value *ret_value);

/* True if the outermost descriptor is this code, or this symbol (NULL: of no interest). */
bool tf_amqp_described_as(const struct tf_amqp_value *value, uint64_t code, const char *symbol);

/* True if both are of one type and equal, in whatever encoding; compounds and descriptors only if
 * their bytes are the same. */
bool tf_amqp_value_equal(const struct tf_amqp_value *a, const struct tf_amqp_value *b);

/* Finds the value of a key, which may be a string or a symbol, in an encoded map (or empty). */
bool tf_amqp_map_find(struct tf_bytes map, struct tf_bytes key, struct tf_amqp_value *ret);

/* True if a symbol is in `symbols`: encoded, one symbol or an array of them, or empty (1.4). */
bool tf_amqp_symbols_have(struct tf_bytes symbols, struct tf_bytes symbol);

/* The symbols of such a field one by one: start here, then tf_amqp_item_next. */
struct tf_amqp_items tf_amqp_symbols_of(struct tf_bytes symbols);

/* ---- writing: always the shortest encoding ---- */

/* The writer fails for bytes that have no room; for a text longer than 32 bits can count, too. */
void tf_amqp_write_null(struct tf_writer *writer);
void tf_amqp_write_bool(struct tf_writer *writer, bool value);
void tf_amqp_write_ubyte(struct tf_writer *writer, uint8_t value);
void tf_amqp_write_ushort(struct tf_writer *writer, uint16_t value);
void tf_amqp_write_uint(struct tf_writer *writer, uint32_t value);
void tf_amqp_write_ulong(struct tf_writer *writer, uint64_t value);
void tf_amqp_write_byte(struct tf_writer *writer, int8_t value);
void tf_amqp_write_short(struct tf_writer *writer, int16_t value);
void tf_amqp_write_int(struct tf_writer *writer, int32_t value);
void tf_amqp_write_long(struct tf_writer *writer, int64_t value);
void tf_amqp_write_float(struct tf_writer *writer, uint32_t bits);
void tf_amqp_write_double(struct tf_writer *writer, uint64_t bits);
void tf_amqp_write_char(struct tf_writer *writer, uint32_t scalar);
void tf_amqp_write_timestamp(struct tf_writer *writer, int64_t ms);
void tf_amqp_write_uuid(struct tf_writer *writer, const uint8_t uuid[16]);
void tf_amqp_write_binary(struct tf_writer *writer, struct tf_bytes bytes);
void tf_amqp_write_string(struct tf_writer *writer, struct tf_bytes utf8);
void tf_amqp_write_symbol(struct tf_writer *writer, struct tf_bytes ascii);

/* The head of a binary of `length` bytes, which follow from elsewhere. */
void tf_amqp_write_binary_head(struct tf_writer *writer, size_t length);

/* The descriptor of the value that is written next. */
void tf_amqp_write_descriptor(struct tf_writer *writer, uint64_t code);

/*
 * A value that was read: a scalar in its shortest encoding, a compound's own bytes; its descriptors
 * go before it as they came. An array's item becomes a value by itself.
 */
void tf_amqp_write_value(struct tf_writer *writer, const struct tf_amqp_value *value);

/*
 * What stands behind a format code, for the items of an array, whose constructor says the code for
 * all. The writer fails if `value` cannot be written with `code`.
 */
void tf_amqp_write_item(struct tf_writer *writer, uint8_t code, const struct tf_amqp_value *value);

/*
 * Compounds: begin, write the items, end with their count (of a map: keys and values). The result
 * of begin goes to end, which makes room for the long form if the short one cannot hold it. A
 * compound takes three bytes of room while it is being written, an empty list too.
 */
size_t tf_amqp_write_list_begin(struct tf_writer *writer);
void tf_amqp_write_list_end(struct tf_writer *writer, size_t begin, uint32_t count);
size_t tf_amqp_write_map_begin(struct tf_writer *writer);
void tf_amqp_write_map_end(struct tf_writer *writer, size_t begin, uint32_t count);

/* An array: between begin and the items its constructor is to be written (tf_amqp_write_descriptor,
 * then tf_write_u8 of the code), and the items with tf_amqp_write_item or tf_write_... */
size_t tf_amqp_write_array_begin(struct tf_writer *writer);
void tf_amqp_write_array_end(struct tf_writer *writer, size_t begin, uint32_t count);

/* A field that may have several symbols (1.4): null, one symbol, or an array of them. */
void tf_amqp_write_symbols(struct tf_writer *writer, const struct tf_bytes *symbols, size_t count);

#endif
