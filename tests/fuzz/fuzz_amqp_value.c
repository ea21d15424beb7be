/*
 * Fuzz target: AMQP values. What the check accepts, the cursors must walk without a fault to the
 * last byte; written again, item by item and in the shortest form, it must be as good, and written
 * once more the same. Nothing here recurses deeper than the check allows.
 */
#include <trefoil/amqp_value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))
#define ITEMS_MAX 200000u /* of one input */

/* Ends the run with what went wrong. */
static _Noreturn void fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_amqp_value.c:%d: %s\n", line, what);
    abort();
}

/* A block of exactly this size, so that the first byte past the end is seen. */
static uint8_t *block_new(size_t length)
{
    uint8_t *block = malloc(length ? length : 1);

    CHECK(block);
    return block;
}

/* Writes a checked value, the items of lists and maps one by one. */
static void rewrite(struct tf_writer *writer, const struct tf_amqp_value *value, unsigned depth,
                    unsigned *budget)
{
    struct tf_amqp_items items = tf_amqp_items_of(value);
    struct tf_amqp_value item, other;
    uint32_t count = 0;

    CHECK(depth <= TF_AMQP_DEPTH_MAX + 1);
    CHECK(tf_amqp_value_equal(value, value));
    if (value->type == TF_AMQP_ARRAY) {
        for (; *budget && tf_amqp_item_next(&items, &item); (*budget)--)
            count += item.code == items.code;
        CHECK(!items.reader.failed && (!*budget || count == value->count));
        tf_amqp_write_value(writer, value);
        return;
    }
    if (value->type != TF_AMQP_LIST && value->type != TF_AMQP_MAP) {
        tf_amqp_write_value(writer, value);
        return;
    }
    if (value->descriptors)
        tf_write_bytes(writer, tf_bytes_of(value->constructor.data, value->constructor.length - 1));
    bool map = value->type == TF_AMQP_MAP;
    size_t begin = map ? tf_amqp_write_map_begin(writer) : tf_amqp_write_list_begin(writer);
    for (; tf_amqp_item_next(&items, &item); count++) {
        rewrite(writer, &item, depth + 1, budget);
        if (map && count % 2 == 0 && item.type == TF_AMQP_SYMBOL)
            CHECK(item.bytes.length > 100 || value->descriptors ||
                  tf_amqp_map_find(value->encoded, item.bytes, &other));
    }
    CHECK(!items.reader.failed && !tf_reader_left(&items.reader) && count == value->count);
    if (map)
        tf_amqp_write_map_end(writer, begin, count);
    else
        tf_amqp_write_list_end(writer, begin, count);
}

/* One value written again; *ret_length of it. */
static uint8_t *again_new(struct tf_bytes bytes, size_t *ret_length)
{
    size_t size = 4 * bytes.length + 64;
    uint8_t *block = block_new(size);
    struct tf_writer writer = tf_writer_of(block, size);
    struct tf_amqp_value value;
    unsigned budget = ITEMS_MAX;

    CHECK(tf_amqp_value_of(bytes, &value) == TF_OK);
    rewrite(&writer, &value, 0, &budget);
    CHECK(!writer.failed);
    *ret_length = tf_writer_length(&writer);
    return block;
}

static void good_fuzz(struct tf_bytes bytes)
{
    size_t length, length_again;
    uint8_t *once = again_new(bytes, &length);
    struct tf_reader reader = tf_reader_of(tf_bytes_of(once, length));
    struct tf_bytes encoded;

    CHECK(length <= bytes.length);
    CHECK(tf_amqp_value_check(&reader, &encoded) == TF_OK);
    CHECK(encoded.length == length);
    uint8_t *twice = again_new(encoded, &length_again);
    CHECK(length == length_again && !memcmp(once, twice, length));
    free(once);
    free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct tf_bytes input = tf_bytes_of(data, length), encoded;
    struct tf_reader reader = tf_reader_of(input), skip = tf_reader_of(input);
    struct tf_amqp_value value;

    while (tf_reader_left(&reader)) {
        if (tf_amqp_value_check(&reader, &encoded)) {
            CHECK(reader.failed);
            break;
        }
        CHECK(tf_amqp_value_skip(&skip) == TF_OK && skip.next == reader.next);
        good_fuzz(encoded);
    }
    /* What was not checked may fail, but not go astray. */
    reader = tf_reader_of(input);
    if (!tf_amqp_value_read(&reader, &value)) {
        struct tf_amqp_items items = tf_amqp_items_of(&value);

        for (unsigned i = 0; i < ITEMS_MAX && tf_amqp_item_next(&items, &value); i++)
            CHECK(value.type < TF_AMQP_TYPE_COUNT);
    }
    (void)tf_amqp_symbols_have(input, tf_bytes_str("queue"));
    (void)tf_amqp_map_find(input, tf_bytes_str("a"), &value);
    return 0;
}
