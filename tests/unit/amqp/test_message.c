/*
 * Messages: the golden vectors, read and written, cut short everywhere, in other encodings, and
 * where their parts are. Part 3 of AMQP 1.0.
 */
#include "codec_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t room[CODEC_ROOM];

/* A message as text; NULL: refused. To be freed. */
static char *message_text(struct tf_bytes bytes, enum tf_amqp_condition *ret_condition)
{
    struct tf_bytes block = codec_copy(bytes);
    struct tf_amqp_message message;
    size_t size;
    char *text = NULL;

    if (!tf_amqp_message_read(block, &message, ret_condition)) {
        FILE *out = open_memstream(&text, &size);
        codec_message_text(out, &message);
        fclose(out);
    }
    codec_free(block);
    return text;
}

/* Sections lie behind one another, and the bare message is what it should be. */
static void parts_check(const struct codec_line *line, struct tf_bytes bytes,
                        const struct tf_amqp_message *message)
{
    const struct tf_bytes sections[] = {message->header_section,
                                        message->delivery_annotations_section,
                                        message->message_annotations_section,
                                        message->properties_section,
                                        message->application_properties_section,
                                        message->body,
                                        message->footer_section};
    const uint8_t *at = bytes.data, *bare = NULL, *bare_end = NULL;

    for (unsigned i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (!sections[i].length)
            continue;
        assert_true(sections[i].data == at);
        at += sections[i].length;
        if (i >= 3 && i <= 5) {
            bare = bare ? bare : sections[i].data;
            bare_end = at;
        }
    }
    assert_true(at == bytes.data + bytes.length);
    codec_same_bytes(line, message->bare,
                     tf_bytes_of(bare ? bare : bytes.data, (size_t)(bare_end - bare)));
    if (message->body_type == TF_AMQP_BODY_DATA)
        assert_true(message->data.data + message->data.length ==
                    message->body.data + message->body.length);
}

/* The writers make the same of what was read. */
static void write_check(const struct codec_line *line, const struct tf_amqp_message *message,
                        struct tf_bytes expected)
{
    struct tf_writer writer = tf_writer_of(room, sizeof room);

    if (message->has_header)
        tf_amqp_write_header(&writer, &message->header);
    tf_write_bytes(&writer, message->delivery_annotations_section);
    tf_write_bytes(&writer, message->message_annotations_section);
    if (message->properties_section.length)
        tf_amqp_write_properties(&writer, &message->properties);
    if (message->application_properties.length) {
        tf_amqp_write_section(&writer, TF_AMQP_APPLICATION_PROPERTIES);
        tf_write_bytes(&writer, message->application_properties);
    }
    if (message->body_type == TF_AMQP_BODY_DATA) {
        tf_amqp_write_data_head(&writer, message->data.length);
        tf_write_bytes(&writer, message->data);
    } else {
        tf_write_bytes(&writer, message->body);
    }
    tf_write_bytes(&writer, message->footer_section);
    assert_false(writer.failed);
    codec_same_bytes(line, tf_bytes_of(room, tf_writer_length(&writer)), expected);
}

/* All sections with their values as wide as can be. */
static void widen_check(const struct codec_line *line, struct tf_bytes bytes)
{
    for (int symbolic = 0; symbolic < 2; symbolic++) {
        struct tf_writer writer = tf_writer_of(room, sizeof room);
        struct tf_reader reader = tf_reader_of(bytes);
        enum tf_amqp_condition condition;
        struct tf_amqp_value value;

        if (symbolic && strchr(line->parts[1], '@'))
            continue;
        while (tf_reader_left(&reader)) {
            assert_int_equal(tf_amqp_value_read(&reader, &value), TF_OK);
            codec_widen(&writer, &value, symbolic);
        }
        char *text = message_text(tf_bytes_of(room, tf_writer_length(&writer)), &condition);
        assert_non_null(text);
        codec_same_text(line, text, line->parts[1]);
        free(text);
    }
}

/* Cut short it is refused, unless a section ends there: then it is a message still. */
static void cut_check(struct tf_bytes bytes)
{
    struct tf_reader reader = tf_reader_of(bytes);
    enum tf_amqp_condition condition;
    size_t end = 0;

    while (tf_reader_left(&reader)) {
        assert_int_equal(tf_amqp_value_skip(&reader), TF_OK);
        for (size_t length = end + 1; length < (size_t)(reader.next - bytes.data); length++)
            assert_null(message_text(tf_bytes_of(bytes.data, length), &condition));
        end = (size_t)(reader.next - bytes.data);
    }
}

static void vector_run(const struct codec_line *line)
{
    struct tf_bytes bytes = codec_bytes(line, line->parts[0]);
    enum tf_amqp_condition condition = TF_AMQP_NO_ERROR;
    struct tf_amqp_message message;
    char *text = message_text(bytes, &condition);

    if (!strncmp(line->parts[1], "bad ", 4)) {
        if (text)
            fail_msg("%s:%u: read as %s", line->file, line->number, text);
        struct tf_bytes symbol = tf_amqp_condition_symbol(condition);
        if (!tf_bytes_equal(symbol, tf_bytes_str(line->parts[1] + 4)))
            fail_msg("%s:%u: refused with %d", line->file, line->number, condition);
        codec_free(bytes);
        return;
    }
    if (!text)
        fail_msg("%s:%u: refused with %d", line->file, line->number, condition);
    codec_same_text(line, text, line->parts[1]);
    free(text);
    assert_int_equal(tf_amqp_message_read(bytes, &message, &condition), TF_OK);
    parts_check(line, bytes, &message);
    struct tf_bytes shortest = line->parts[2] ? codec_bytes(line, line->parts[2]) : bytes;
    write_check(line, &message, shortest);
    if (line->parts[2])
        codec_free(shortest);
    widen_check(line, bytes);
    cut_check(bytes);
    codec_free(bytes);
}

static void vectors(void **state)
{
    (void)state;
    assert_true(codec_file_run("amqp-message.txt", vector_run) >= 50);
}

/* No bytes are a message without anything. */
static void nothing(void **state)
{
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    struct tf_amqp_value value;

    (void)state;
    assert_int_equal(tf_amqp_message_read((struct tf_bytes){NULL, 0}, &message, &condition), TF_OK);
    assert_int_equal(message.body_type, TF_AMQP_BODY_NONE);
    assert_int_equal(message.header.priority, TF_AMQP_PRIORITY_DEFAULT);
    assert_int_equal(message.bare.length, 0);
    struct tf_reader body = tf_reader_of(message.body);
    assert_false(tf_amqp_body_next(&body, &value));
}

/* A refused message leaves nothing for the next that is read into the same place. */
static void refused(void **state)
{
    static const uint8_t bad[] = {0, 0x53, 0x75, 0xA0, 1, 'x', 0, 0x53, 0x77, 0x40};
    struct tf_amqp_message message, nothing_there;
    enum tf_amqp_condition condition;

    (void)state;
    memset(&message, 0xA5, sizeof message);
    memset(&nothing_there, 0, sizeof nothing_there);
    nothing_there.header.priority = TF_AMQP_PRIORITY_DEFAULT;
    assert_int_equal(tf_amqp_message_read(tf_bytes_of(bad, sizeof bad), &message, &condition),
                     TF_PROTOCOL);
    assert_int_equal(condition, TF_AMQP_DECODE_ERROR);
    assert_int_equal(tf_amqp_message_read((struct tf_bytes){NULL, 0}, &message, &condition), TF_OK);
    assert_memory_equal(&message, &nothing_there, sizeof message);
}

/* The bound on items of no width holds for all sequences of a message together. */
static void empty_items(void **state)
{
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct tf_bytes before = tf_bytes_of(room, tf_writer_length(&writer));
        assert_int_equal(tf_amqp_message_read(before, &message, &condition), TF_OK);
        tf_amqp_write_section(&writer, TF_AMQP_AMQP_SEQUENCE);
        size_t list = tf_amqp_write_list_begin(&writer);
        size_t array = tf_amqp_write_array_begin(&writer);
        tf_write_u8(&writer, TF_AMQP_CODE_TRUE);
        tf_amqp_write_array_end(&writer, array, TF_AMQP_EMPTY_ITEMS_MAX / 2);
        tf_amqp_write_list_end(&writer, list, 1);
    }
    assert_int_equal(
        tf_amqp_message_read(tf_bytes_of(room, tf_writer_length(&writer)), &message, &condition),
        TF_PROTOCOL);
}

static void bodies(void **state)
{
    static const size_t lengths[] = {0, 1, 255, 256, 70000};
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct tf_writer writer = tf_writer_of(room, sizeof room);
        size_t length = lengths[i];

        tf_amqp_write_data_head(&writer, length);
        assert_int_equal(tf_writer_length(&writer), length < 256 ? 5 : 8);
        writer.next += length;
        struct tf_bytes whole = tf_bytes_of(room, tf_writer_length(&writer));
        assert_int_equal(tf_amqp_message_read(whole, &message, &condition), TF_OK);
        assert_int_equal(message.data.length, length);
        assert_true(tf_bytes_equal(message.bare, whole));
    }
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    tf_amqp_write_value_string(&writer, tf_bytes_str("text"));
    assert_int_equal(
        tf_amqp_message_read(tf_bytes_of(room, tf_writer_length(&writer)), &message, &condition),
        TF_OK);
    assert_int_equal(message.body_type, TF_AMQP_BODY_VALUE);
    assert_memory_equal(message.value.data, "\xa1\4text", 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),     cmocka_unit_test(nothing), cmocka_unit_test(refused),
        cmocka_unit_test(empty_items), cmocka_unit_test(bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
