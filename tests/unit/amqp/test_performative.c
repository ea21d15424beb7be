/*
 * Frames, performatives and delivery states: the golden vectors, read and written, cut short
 * everywhere, and in other encodings. Parts 2 and 5 of AMQP 1.0.
 */
#include "codec_text.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t room[CODEC_ROOM];

/* What a frame's body is, as text; NULL: refused with *ret_condition. To be freed. */
static char *body_text(const struct tf_amqp_frame *frame, enum tf_amqp_condition *ret_condition)
{
    static struct tf_amqp_performative performative;
    struct tf_bytes body = codec_copy(frame->body), payload;
    size_t size;
    char *text = NULL;

    memset(&performative, 0xA5, sizeof performative); /* every field must be set */
    if (!tf_amqp_performative_read(body, frame->type, &performative, &payload, ret_condition)) {
        FILE *out = open_memstream(&text, &size);
        fprintf(out, "%u ", frame->channel);
        codec_performative_text(out, &performative);
        if (payload.length)
            fprintf(out, " payload=%zu", payload.length);
        fclose(out);
    }
    codec_free(body);
    return text;
}

/* Writes what was read, into a buffer of every size up to the right one. */
static void write_check(const struct codec_line *line, const struct tf_amqp_frame *frame,
                        struct tf_bytes expected)
{
    struct tf_amqp_performative performative;
    enum tf_amqp_condition condition;
    struct tf_bytes payload;

    assert_int_equal(
        tf_amqp_performative_read(frame->body, frame->type, &performative, &payload, &condition),
        TF_OK);
    size_t length = expected.length - payload.length;
    for (size_t size = 0; size <= length; size++) {
        uint8_t *block = malloc(size + 1);
        struct tf_writer writer = tf_writer_of(block, size);

        tf_amqp_frame_write(&writer, frame->channel, &performative, payload.length);
        assert_int_equal(writer.failed, size < length);
        if (!writer.failed)
            codec_same_bytes(line, tf_bytes_of(block, size), tf_bytes_of(expected.data, length));
        else
            assert_int_equal(tf_writer_length(&writer), 0);
        free(block);
    }
}

/* The same with every value as wide as can be, and with symbolic descriptors. */
static void widen_check(const struct codec_line *line, const struct tf_amqp_frame *frame)
{
    struct tf_reader reader = tf_reader_of(frame->body);
    enum tf_amqp_condition condition;
    struct tf_amqp_value value;

    assert_int_equal(tf_amqp_value_read(&reader, &value), TF_OK);
    for (int symbolic = 0; symbolic < 2; symbolic++) {
        struct tf_writer writer = tf_writer_of(room, sizeof room);
        struct tf_amqp_frame wide = *frame;

        if (symbolic && strchr(line->parts[1], '@'))
            continue; /* what it shows are the descriptors */
        codec_widen(&writer, &value, symbolic);
        tf_write_bytes(&writer, tf_bytes_of(reader.next, tf_reader_left(&reader)));
        assert_false(writer.failed);
        wide.body = tf_bytes_of(room, tf_writer_length(&writer));
        char *text = body_text(&wide, &condition);
        assert_non_null(text);
        codec_same_text(line, text, line->parts[1]);
        free(text);
    }
}

static void good_run(const struct codec_line *line, const struct tf_amqp_frame *frame,
                     struct tf_bytes bytes)
{
    enum tf_amqp_condition condition = TF_AMQP_NO_ERROR;
    struct tf_reader reader = tf_reader_of(frame->body);
    struct tf_amqp_frame cut = *frame;
    char *text = body_text(frame, &condition);

    if (!text)
        fail_msg("%s:%u: refused: %s", line->file, line->number,
                 (const char *)tf_amqp_condition_symbol(condition).data);
    codec_same_text(line, text, line->parts[1]);
    free(text);
    struct tf_bytes shortest = line->parts[2] ? codec_bytes(line, line->parts[2]) : bytes;
    write_check(line, frame, shortest);
    if (line->parts[2])
        codec_free(shortest);
    widen_check(line, frame);
    assert_int_equal(tf_amqp_value_skip(&reader), TF_OK);
    size_t length = frame->body.length - tf_reader_left(&reader);
    for (cut.body.length = 0; cut.body.length < length; cut.body.length++)
        assert_null(body_text(&cut, &condition));
}

static void vector_run(const struct codec_line *line)
{
    struct tf_bytes bytes = codec_bytes(line, line->parts[0]);
    enum tf_amqp_condition condition = TF_AMQP_NO_ERROR;
    struct tf_amqp_frame frame;
    size_t need = 0;

    assert_non_null(line->parts[1]);
    for (size_t length = 0; length < bytes.length; length++) {
        struct tf_bytes cut = codec_copy(tf_bytes_of(bytes.data, length));
        assert_int_equal(tf_amqp_frame_read(cut, UINT32_MAX, &frame, &need), TF_MORE);
        assert_true(need > length && need <= bytes.length);
        codec_free(cut);
    }
    assert_int_equal(tf_amqp_frame_read(bytes, (uint32_t)bytes.length, &frame, &need), TF_OK);
    assert_int_equal(frame.size, bytes.length);
    if (strncmp(line->parts[1], "bad ", 4)) {
        good_run(line, &frame, bytes);
    } else {
        char *text = body_text(&frame, &condition);

        if (text)
            fail_msg("%s:%u: read as %s", line->file, line->number, text);
        struct tf_bytes symbol = tf_amqp_condition_symbol(condition);
        if (!tf_bytes_equal(symbol, tf_bytes_str(line->parts[1] + 4)))
            fail_msg("%s:%u: refused with %s", line->file, line->number, (const char *)symbol.data);
    }
    codec_free(bytes);
}

static void vectors(void **state)
{
    (void)state;
    assert_true(codec_file_run("amqp-performative.txt", vector_run) >= 80);
    assert_true(codec_file_run("amqp-tshark.txt", vector_run) >= 20);
}

/* 2.3.1: what a head may say. */
static void heads(void **state)
{
    static const struct {
        uint8_t head[8];
        enum tf_err err;
        size_t need;
    } cases[] = {
        {{0, 0, 0, 8, 2, 0, 0, 0}, TF_OK, 0},
        {{0, 0, 0, 7, 2}, TF_PROTOCOL, 0},
        {{0, 0, 0, 0, 2}, TF_PROTOCOL, 0},
        {{0, 0, 0, 8, 1}, TF_PROTOCOL, 0},
        {{0, 0, 0, 8, 0}, TF_PROTOCOL, 0},
        {{0, 0, 0, 8, 3}, TF_PROTOCOL, 0},
        {{0, 0, 0, 15, 4}, TF_PROTOCOL, 0},
        {{0, 0, 2, 0, 2}, TF_MORE, 512},
        {{0, 0, 2, 1, 2}, TF_LIMIT, 0},
        {{0xFF, 0xFF, 0xFF, 0xFF, 2}, TF_LIMIT, 0},
        {{0, 0, 0, 9, 2, 1, 0xFF, 0xFF}, TF_MORE, 9},
    };
    struct tf_amqp_frame frame;
    uint8_t empty[8];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t need = 0;
        enum tf_err err = tf_amqp_frame_read(tf_bytes_of(cases[i].head, 8), 512, &frame, &need);
        assert_int_equal(err, cases[i].err);
        assert_int_equal(need, cases[i].need);
        if (err == TF_LIMIT) /* known from the size alone */
            assert_int_equal(tf_amqp_frame_read(tf_bytes_of(cases[i].head, 4), 512, &frame, &need),
                             TF_LIMIT);
    }
    for (size_t size = 0; size <= sizeof empty; size++) {
        struct tf_writer writer = tf_writer_of(empty, size);
        tf_amqp_frame_write_empty(&writer);
        assert_int_equal(writer.failed, size < 8);
    }
    assert_memory_equal(empty, "\0\0\0\10\2\0\0\0", 8);
}

/* A payload that would make the frame longer than 32 bits can tell. */
static void payload_too_long(void **state)
{
    struct tf_amqp_performative transfer = {.type = TF_AMQP_TRANSFER_FRAME};
    struct tf_writer writer = tf_writer_of(room, sizeof room);

    (void)state;
    tf_amqp_frame_write(&writer, 0, &transfer, UINT32_MAX);
    assert_true(writer.failed);
    assert_int_equal(tf_writer_length(&writer), 0);
}

/* States by themselves, as unsettled maps have them. */
static void states(void **state)
{
    static const uint8_t accepted[] = {0, 0x53, 0x24, 0x45, 0x40};
    struct tf_amqp_state read;

    (void)state;
    assert_int_equal(tf_amqp_state_read(tf_bytes_of(accepted, 4), &read), TF_OK);
    assert_int_equal(read.type, TF_AMQP_STATE_ACCEPTED);
    assert_int_equal(tf_amqp_state_read(tf_bytes_of(accepted, 5), &read), TF_PROTOCOL);
    assert_int_equal(tf_amqp_state_read(tf_bytes_of(accepted, 3), &read), TF_PROTOCOL);
    assert_int_equal(tf_amqp_state_read(tf_bytes_of(accepted, 0), &read), TF_PROTOCOL);
    assert_int_equal(tf_amqp_state_read(tf_bytes_of(accepted + 3, 1), &read), TF_PROTOCOL);
    assert_int_equal(tf_amqp_state_read(tf_bytes_of(accepted + 4, 1), &read), TF_OK);
    assert_int_equal(read.type, TF_AMQP_STATE_NONE);
    for (unsigned type = TF_AMQP_STATE_NONE; type < TF_AMQP_STATE_OTHER; type++) {
        struct tf_amqp_state one = {.type = (enum tf_amqp_state_type)type};
        struct tf_writer writer = tf_writer_of(room, sizeof room);

        tf_amqp_state_write(&writer, &one);
        assert_false(writer.failed);
        assert_int_equal(tf_amqp_state_read(tf_bytes_of(room, tf_writer_length(&writer)), &read),
                         TF_OK);
        assert_int_equal(read.type, type);
    }
}

static void conditions(void **state)
{
    (void)state;
    for (unsigned i = TF_AMQP_INTERNAL_ERROR; i < TF_AMQP_CONDITION_COUNT; i++) {
        struct tf_bytes symbol = tf_amqp_condition_symbol((enum tf_amqp_condition)i);
        assert_true(symbol.length > 5);
        assert_int_equal(tf_amqp_condition_of(symbol), i);
        symbol.length--;
        assert_int_equal(tf_amqp_condition_of(symbol), TF_AMQP_OTHER_ERROR);
    }
    assert_int_equal(tf_amqp_condition_symbol(TF_AMQP_NO_ERROR).length, 0);
    assert_int_equal(tf_amqp_condition_symbol(TF_AMQP_OTHER_ERROR).length, 0);
    assert_int_equal(tf_amqp_condition_of(tf_amqp_condition_symbol(TF_AMQP_NO_ERROR)),
                     TF_AMQP_OTHER_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors), cmocka_unit_test(heads),      cmocka_unit_test(payload_too_long),
        cmocka_unit_test(states),  cmocka_unit_test(conditions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
