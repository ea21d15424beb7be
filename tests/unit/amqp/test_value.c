/*
 * Values: the golden vectors in every legal encoding, depth, counts, equal keys, cursors and
 * look-ups, and values made at random. Part 1 of AMQP 1.0.
 */
#include "codec_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t room[CODEC_ROOM];

/* A value's check, in a block of exactly its size. */
static bool good(struct tf_bytes bytes)
{
    struct tf_bytes block = codec_copy(bytes), encoded;
    struct tf_reader reader = tf_reader_of(block);
    enum tf_err err = tf_amqp_value_check(&reader, &encoded);

    if (!err) {
        assert_true(encoded.data == block.data);
        err = tf_reader_left(&reader) ? TF_PROTOCOL : TF_OK;
    } else {
        assert_int_equal(err, TF_PROTOCOL);
        assert_true(reader.failed);
    }
    codec_free(block);
    return !err;
}

static void text_check(const struct codec_line *line, struct tf_bytes bytes)
{
    struct tf_amqp_value value;
    size_t size;
    char *text;
    FILE *out = open_memstream(&text, &size);

    assert_int_equal(tf_amqp_value_of(bytes, &value), TF_OK);
    codec_value_text(out, &value);
    fclose(out);
    codec_same_text(line, text, line->parts[1]);
    free(text);
}

/* Written again in a buffer of every size up to the right one. */
static void write_check(const struct codec_line *line, struct tf_bytes bytes,
                        struct tf_bytes expected)
{
    size_t step = expected.length > 64 ? expected.length : 1;
    struct tf_amqp_value value;

    assert_int_equal(tf_amqp_value_of(bytes, &value), TF_OK);
    for (size_t size = 0; size < expected.length; size += step) {
        uint8_t *block = malloc(size + 1);
        struct tf_writer writer = tf_writer_of(block, size);
        tf_amqp_write_value(&writer, &value);
        assert_true(writer.failed);
        free(block);
    }
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    tf_amqp_write_value(&writer, &value);
    assert_false(writer.failed);
    codec_same_bytes(line, tf_bytes_of(room, tf_writer_length(&writer)), expected);
}

/* An array of three such values, whose constructor has the code that this one came in. */
static void array_check(const struct tf_amqp_value *value, bool described)
{
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    struct tf_amqp_value array, item;
    uint32_t count = 0;

    size_t begin = tf_amqp_write_array_begin(&writer);
    if (described)
        tf_amqp_write_descriptor(&writer, 4711);
    tf_write_u8(&writer, value->code);
    for (unsigned i = 0; i < 3; i++)
        tf_amqp_write_item(&writer, value->code, value);
    tf_amqp_write_array_end(&writer, begin, 3);
    assert_false(writer.failed);
    struct tf_bytes bytes = tf_bytes_of(room, tf_writer_length(&writer));
    assert_true(good(bytes));
    assert_int_equal(tf_amqp_value_of(bytes, &array), TF_OK);
    struct tf_amqp_items items = tf_amqp_items_of(&array);
    for (; tf_amqp_item_next(&items, &item); count++) {
        assert_int_equal(item.code, value->code);
        assert_int_equal(tf_amqp_described_as(&item, 4711, NULL), described);
        item.descriptors = 0;
        assert_true(tf_amqp_value_equal(&item, value));
    }
    assert_int_equal(count, 3);
    assert_false(items.reader.failed);
}

static void vector_run(const struct codec_line *line)
{
    struct tf_bytes bytes = codec_bytes(line, line->parts[0]);
    bool is_good = good(bytes);

    if (!line->parts[1] || is_good != (strcmp(line->parts[1], "bad") != 0))
        fail_msg("%s:%u: %s", line->file, line->number, is_good ? "good" : "refused");
    if (is_good) {
        struct tf_bytes shortest = line->parts[2] ? codec_bytes(line, line->parts[2]) : bytes;

        text_check(line, bytes);
        write_check(line, bytes, shortest);
        for (size_t length = 0; length < bytes.length; length++)
            assert_false(good(tf_bytes_of(bytes.data, length)));
        struct tf_amqp_value value;
        assert_int_equal(tf_amqp_value_of(bytes, &value), TF_OK);
        for (int symbolic = 0; symbolic < 2; symbolic++) {
            struct tf_writer writer = tf_writer_of(room, sizeof room);
            codec_widen(&writer, &value, symbolic);
            assert_false(writer.failed);
            assert_true(good(tf_bytes_of(room, tf_writer_length(&writer))));
            if (!symbolic)
                text_check(line, tf_bytes_of(room, tf_writer_length(&writer)));
        }
        if (!value.descriptors && value.count < 20000) { /* three must be legal */
            array_check(&value, false);
            array_check(&value, true);
        }
        if (line->parts[2])
            codec_free(shortest);
    }
    codec_free(bytes);
}

static void vectors(void **state)
{
    (void)state;
    assert_true(codec_file_run("amqp-value.txt", vector_run) >= 160);
}

/* `depth` lists, or descriptions, around a null. */
static size_t nested(unsigned depth, unsigned kind)
{
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    size_t begins[200];

    for (unsigned i = 0; i < depth; i++) {
        if (kind == 0) {
            begins[i] = tf_amqp_write_list_begin(&writer);
        } else if (kind == 1) {
            tf_amqp_write_descriptor(&writer, 1);
        } else if (kind == 2) { /* the descriptor's descriptor */
            tf_write_u8(&writer, 0);
        } else {
            begins[i] = tf_amqp_write_array_begin(&writer);
            if (i + 1 < depth)
                tf_write_u8(&writer, TF_AMQP_CODE_ARRAY8);
        }
    }
    tf_amqp_write_null(&writer);
    for (unsigned i = depth; i; i--) {
        if (kind == 0)
            tf_amqp_write_list_end(&writer, begins[i - 1], 1);
        else if (kind == 2)
            tf_amqp_write_null(&writer);
    }
    assert_false(writer.failed);
    return tf_writer_length(&writer);
}

static void depth(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        assert_true(good(tf_bytes_of(room, nested(TF_AMQP_DEPTH_MAX, kind))));
        assert_false(good(tf_bytes_of(room, nested(TF_AMQP_DEPTH_MAX + 1, kind))));
        assert_false(good(tf_bytes_of(room, nested(150, kind))));
    }
    memset(room, 0, sizeof room); /* descriptors of descriptors without end */
    struct tf_reader reader = tf_reader_of(tf_bytes_of(room, sizeof room));
    assert_int_equal(tf_amqp_value_skip(&reader), TF_PROTOCOL);
    assert_false(good(tf_bytes_of(room, sizeof room)));
}

/* Items of no width cost their sender nothing, so there is a bound on all of a value's. */
static void empty_items(void **state)
{
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    uint32_t count = 0;

    (void)state;
    size_t begin = tf_amqp_write_list_begin(&writer);
    for (; count < 3; count++) {
        size_t array = tf_amqp_write_array_begin(&writer);
        tf_write_u8(&writer, TF_AMQP_CODE_NULL);
        tf_amqp_write_array_end(&writer, array, count < 2 ? 32768 : 1);
    }
    tf_amqp_write_list_end(&writer, begin, count);
    assert_false(good(tf_bytes_of(room, tf_writer_length(&writer))));
}

/* A map of `pairs` small keys; the last is that of `twin`, if it is below `pairs`. */
static struct tf_bytes map_of(uint32_t pairs, uint32_t twin)
{
    static uint8_t map[1 << 21];
    struct tf_writer writer = tf_writer_of(map, sizeof map);

    size_t begin = tf_amqp_write_map_begin(&writer);
    for (uint32_t i = 0; i < pairs; i++) {
        uint32_t key = i + 1 == pairs && twin < pairs ? twin : i;

        if (i + 1 == pairs || key % 3) {
            tf_write_u8(&writer, TF_AMQP_CODE_UINT);
            tf_write_u32(&writer, key);
        } else {
            tf_amqp_write_uint(&writer, key);
        }
        tf_amqp_write_null(&writer);
    }
    tf_amqp_write_map_end(&writer, begin, 2 * pairs);
    assert_false(writer.failed);
    return tf_bytes_of(map, tf_writer_length(&writer));
}

static void equal_keys(void **state)
{
    static const uint32_t sizes[] = {2, 3, 4, 5, 64, 127, 128, 129, 130, 500, 1000, 1024};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t pairs = sizes[i];

        assert_true(good(map_of(pairs, UINT32_MAX)));
        for (uint32_t twin = 0; twin + 1 < pairs; twin += 1 + pairs / 10)
            assert_false(good(map_of(pairs, twin)));
    }
    assert_true(good(map_of(100000, UINT32_MAX))); /* in one walk: see keys.c */
}

static void lookups(void **state)
{
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    struct tf_bytes both[] = {tf_bytes_str("queue"), tf_bytes_str("topic")};
    struct tf_amqp_value value;

    (void)state;
    size_t begin = tf_amqp_write_map_begin(&writer);
    tf_amqp_write_symbol(&writer, tf_bytes_str("a"));
    tf_amqp_write_uint(&writer, 1);
    tf_amqp_write_string(&writer, tf_bytes_str("b"));
    tf_amqp_write_symbols(&writer, both, 2);
    tf_amqp_write_map_end(&writer, begin, 4);
    struct tf_bytes map = tf_bytes_of(room, tf_writer_length(&writer));
    assert_true(good(map));
    assert_true(tf_amqp_map_find(map, tf_bytes_str("a"), &value));
    assert_int_equal(value.number, 1);
    assert_false(tf_amqp_map_find(map, tf_bytes_str("c"), &value));
    assert_false(tf_amqp_map_find((struct tf_bytes){NULL, 0}, tf_bytes_str("a"), &value));
    assert_true(tf_amqp_map_find(map, tf_bytes_str("b"), &value));
    assert_true(tf_amqp_symbols_have(value.encoded, tf_bytes_str("topic")));
    assert_true(tf_amqp_symbols_have(value.encoded, tf_bytes_str("queue")));
    assert_false(tf_amqp_symbols_have(value.encoded, tf_bytes_str("topi")));

    for (size_t count = 0; count < 2; count++) {
        writer = tf_writer_of(room, sizeof room);
        tf_amqp_write_symbols(&writer, both, count);
        struct tf_bytes one = tf_bytes_of(room, tf_writer_length(&writer));
        assert_int_equal(tf_amqp_symbols_have(one, tf_bytes_str("queue")), count == 1);
        assert_false(tf_amqp_symbols_have(one, tf_bytes_str("topic")));
    }
    writer = tf_writer_of(room, sizeof room);
    tf_amqp_write_descriptor(&writer, 0x24);
    tf_amqp_write_list_end(&writer, tf_amqp_write_list_begin(&writer), 0);
    assert_int_equal(tf_amqp_value_of(tf_bytes_of(room, 4), &value), TF_OK);
    assert_true(tf_amqp_described_as(&value, 0x24, "amqp:accepted:list"));
    assert_false(tf_amqp_described_as(&value, 0x25, "amqp:rejected:list"));
}

/* ---- values made at random ---- */

static uint32_t chance(uint64_t *seed, uint32_t limit)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33) % limit;
}

static uint64_t any_number(uint64_t *seed)
{
    uint64_t number = (uint64_t)chance(seed, 1u << 31) << 33 ^ (uint64_t)chance(seed, 1u << 31);

    return number >> chance(seed, 64);
}

static void scalar_write(struct tf_writer *writer, uint64_t *seed)
{
    static const char text[] = "abcdefghijklmnopqrstuvwxyz";
    struct tf_bytes bytes = tf_bytes_of(text, chance(seed, 26));
    uint64_t number = any_number(seed);

    switch (chance(seed, 19)) {
    case 0:
        tf_amqp_write_bool(writer, number & 1);
        break;
    case 1:
        tf_amqp_write_ubyte(writer, (uint8_t)number);
        break;
    case 2:
        tf_amqp_write_ushort(writer, (uint16_t)number);
        break;
    case 3:
        tf_amqp_write_uint(writer, (uint32_t)number);
        break;
    case 4:
        tf_amqp_write_ulong(writer, number);
        break;
    case 5:
        tf_amqp_write_byte(writer, (int8_t)number);
        break;
    case 6:
        tf_amqp_write_short(writer, (int16_t)number);
        break;
    case 7:
        tf_amqp_write_int(writer, (int32_t)number);
        break;
    case 8:
        tf_amqp_write_long(writer, (int64_t)number);
        break;
    case 9:
        tf_amqp_write_float(writer, (uint32_t)number);
        break;
    case 10:
        tf_amqp_write_double(writer, number);
        break;
    case 11:
        tf_amqp_write_char(writer, (uint32_t)number % 0xD800);
        break;
    case 12:
        tf_amqp_write_timestamp(writer, (int64_t)number);
        break;
    case 13:
        tf_amqp_write_uuid(writer, (const uint8_t *)text);
        break;
    case 14:
        tf_amqp_write_binary(writer, bytes);
        break;
    case 15:
        tf_amqp_write_string(writer, bytes);
        break;
    case 16:
        tf_amqp_write_symbol(writer, bytes);
        break;
    case 17:
        tf_amqp_write_symbols(writer, &bytes, 1);
        break;
    default:
        tf_amqp_write_null(writer);
    }
}

/* A value with others in it, `depth` deep at most. */
static void random_write(struct tf_writer *writer, uint64_t *seed, unsigned left)
{
    uint32_t kind = left ? chance(seed, 6) : 5, count = chance(seed, 5);
    size_t begin;

    if (chance(seed, 8) == 0 && left)
        tf_amqp_write_descriptor(writer, any_number(seed));
    switch (kind) {
    case 0:
        begin = tf_amqp_write_list_begin(writer);
        for (uint32_t i = 0; i < count; i++)
            random_write(writer, seed, left - 1);
        tf_amqp_write_list_end(writer, begin, count);
        break;
    case 1:
        begin = tf_amqp_write_map_begin(writer);
        for (uint32_t i = 0; i < count; i++) {
            tf_amqp_write_ulong(writer, i);
            random_write(writer, seed, left - 1);
        }
        tf_amqp_write_map_end(writer, begin, 2 * count);
        break;
    case 2:
        begin = tf_amqp_write_array_begin(writer);
        tf_write_u8(writer, TF_AMQP_CODE_USHORT);
        for (uint32_t i = 0; i < 60 * count; i++)
            tf_write_u16(writer, (uint16_t)any_number(seed));
        tf_amqp_write_array_end(writer, begin, 60 * count);
        break;
    default:
        scalar_write(writer, seed);
    }
}

/* Writes a value again, item by item. */
static void rewrite(struct tf_writer *writer, const struct tf_amqp_value *value)
{
    struct tf_amqp_items items = tf_amqp_items_of(value);
    struct tf_amqp_value item;
    size_t begin;

    if (value->type != TF_AMQP_LIST && value->type != TF_AMQP_MAP) {
        tf_amqp_write_value(writer, value);
        return;
    }
    if (value->descriptors)
        tf_write_bytes(writer, tf_bytes_of(value->constructor.data, value->constructor.length - 1));
    begin = value->type == TF_AMQP_LIST ? tf_amqp_write_list_begin(writer)
                                        : tf_amqp_write_map_begin(writer);
    while (tf_amqp_item_next(&items, &item))
        rewrite(writer, &item);
    assert_false(items.reader.failed);
    assert_int_equal(tf_reader_left(&items.reader), 0);
    if (value->type == TF_AMQP_LIST)
        tf_amqp_write_list_end(writer, begin, value->count);
    else
        tf_amqp_write_map_end(writer, begin, value->count);
}

static void random_values(void **state)
{
    static uint8_t again[CODEC_ROOM];
    uint64_t seed = 1006;

    (void)state;
    for (unsigned round = 0; round < 5000; round++) {
        struct tf_writer writer = tf_writer_of(room, sizeof room);
        struct tf_writer other = tf_writer_of(again, sizeof again);
        struct tf_amqp_value value;

        random_write(&writer, &seed, 5);
        assert_false(writer.failed);
        struct tf_bytes bytes = tf_bytes_of(room, tf_writer_length(&writer));
        assert_true(good(bytes));
        assert_int_equal(tf_amqp_value_of(bytes, &value), TF_OK);
        rewrite(&other, &value);
        assert_true(tf_bytes_equal(tf_bytes_of(again, tf_writer_length(&other)), bytes));

        other = tf_writer_of(again, sizeof again);
        codec_widen(&other, &value, false);
        struct tf_bytes wide = tf_bytes_of(again, tf_writer_length(&other));
        assert_true(good(wide));
        for (unsigned i = 0; i < 8 && bytes.length > 1; i++)
            assert_false(good(tf_bytes_of(room, chance(&seed, (uint32_t)bytes.length))));
    }
}

/* A code that cannot hold the value is refused. */
static void items_refused(void **state)
{
    static const struct {
        uint8_t code;
        struct tf_amqp_value value;
    } cases[] = {
        {TF_AMQP_CODE_SMALL_UINT, {.type = TF_AMQP_UINT, .number = 256}},
        {TF_AMQP_CODE_UINT0, {.type = TF_AMQP_UINT, .number = 1}},
        {TF_AMQP_CODE_SMALL_INT, {.type = TF_AMQP_INT, .integer = -129}},
        {TF_AMQP_CODE_SMALL_LONG, {.type = TF_AMQP_LONG, .integer = 128}},
        {TF_AMQP_CODE_TRUE, {.type = TF_AMQP_BOOLEAN, .number = 0}},
        {TF_AMQP_CODE_FALSE, {.type = TF_AMQP_BOOLEAN, .number = 1}},
        {TF_AMQP_CODE_UINT, {.type = TF_AMQP_ULONG, .number = 1}},
        {0x46, {.type = TF_AMQP_NULL}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tf_writer writer = tf_writer_of(room, sizeof room);
        tf_amqp_write_item(&writer, cases[i].code, &cases[i].value);
        assert_true(writer.failed);
        assert_int_equal(tf_writer_length(&writer), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),       cmocka_unit_test(depth),   cmocka_unit_test(empty_items),
        cmocka_unit_test(equal_keys),    cmocka_unit_test(lookups), cmocka_unit_test(random_values),
        cmocka_unit_test(items_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
