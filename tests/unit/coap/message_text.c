/*
 * Golden vectors of messages; see message_text.h.
 */
#include "message_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <trefoil/coap_names.h>

/* Writes an option's line. */
static void option_text(FILE *out, const struct tf_coap_option *option, bool repeated)
{
    static uint8_t room[1 << 18];
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    struct tf_coap_option shown = *option;
    const char *name = tf_coap_option_name(option->number);
    bool rule = tf_coap_option_rule(option->number) != NULL;

    if (!rule || !tf_coap_option_valid(option, repeated)) {
        fprintf(out, rule ? "bad " : "unknown ");
        shown.number = 65001; /* nobody's: in hexadecimal */
    }
    if (rule)
        fprintf(out, "%s=", name);
    else
        fprintf(out, "%u=", option->number);
    tf_coap_option_write(&writer, &shown);
    assert_false(writer.failed);
    vector_text(out, tf_bytes_of(room, tf_writer_length(&writer)));
    putc('\n', out);
}

/* Writes the lines of a message. */
static void message_text(FILE *out, const struct tf_coap_message *message)
{
    struct tf_coap_cursor cursor = tf_coap_options(message->options);
    struct tf_coap_option option;
    uint8_t room[64];
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    uint32_t last = UINT32_MAX;

    tf_coap_code_write(&writer, message->code);
    fprintf(out, "type=%s\ncode=%.*s\nid=%u\n", tf_coap_type_name(message->type),
            (int)tf_writer_length(&writer), (const char *)room, message->message_id);
    if (message->token.length) {
        fprintf(out, "token=");
        for (size_t i = 0; i < message->token.length; i++)
            fprintf(out, "%02x", message->token.data[i]);
        putc('\n', out);
    }
    while (tf_coap_option_next(&cursor, &option)) {
        option_text(out, &option, option.number == last);
        last = option.number;
    }
    assert_false(cursor.reader.failed);
    if (message->payload.length) {
        fprintf(out, "payload=");
        vector_text(out, message->payload);
        putc('\n', out);
    }
}

/* Writes a message again, into `length` bytes. */
static struct tf_bytes message_encode(const struct tf_coap_message *message, void *room,
                                      size_t length)
{
    struct tf_coap_cursor cursor = tf_coap_options(message->options);
    struct tf_coap_option option;
    struct tf_coap_encoder encoder;

    tf_coap_encode(&encoder, room, length, message->type, message->code, message->message_id,
                   message->token);
    while (tf_coap_option_next(&cursor, &option))
        tf_coap_encode_option(&encoder, option.number, option.value);
    tf_coap_encode_payload(&encoder, message->payload);
    return tf_coap_encoded(&encoder);
}

/* The message must come out of the writer as it came in, and only where there is room. */
static void encode(const struct tf_coap_message *message, struct tf_bytes bytes)
{
    uint8_t *room = malloc(bytes.length);
    size_t step = bytes.length < 600 ? 1 : 997;

    struct tf_bytes again = message_encode(message, room, bytes.length);
    assert_int_equal(again.length, bytes.length);
    assert_memory_equal(again.data, bytes.data, bytes.length);
    free(room);
    for (size_t length = 0; length < bytes.length; length += step) {
        room = malloc(length ? length : 1);
        assert_int_equal(message_encode(message, room, length).length, 0);
        free(room);
    }
}

/* What is left of a message: it is read to the end of its block and no further. */
static void prefixes(struct tf_bytes bytes)
{
    size_t step = bytes.length < 600 ? 1 : 997;

    for (size_t length = 0; length < bytes.length; length += step) {
        struct tf_bytes part = vector_cut(bytes, length);
        struct tf_coap_message message;
        enum tf_err err = tf_coap_decode(&message, part);

        if (length < TF_COAP_HEADER)
            assert_int_equal(err, TF_UNSUPPORTED);
        else if (!err)
            encode(&message, part);
        else
            assert_int_equal(err, TF_PROTOCOL);
        vector_drop(part);
    }
}

/* The line of an error, and that nothing else has been touched. */
static void error_text(FILE *out, enum tf_err err, const struct tf_coap_message *message)
{
    struct tf_coap_message untouched;

    memset(&untouched, 0x5a, sizeof untouched);
    if (err == TF_PROTOCOL) {
        fprintf(out, "error format %s %u\n", tf_coap_type_name(message->type), message->message_id);
        untouched.type = message->type;
        untouched.message_id = message->message_id;
    } else {
        assert_int_equal(err, TF_UNSUPPORTED);
        fprintf(out, "error silence\n");
    }
    assert_memory_equal(message, &untouched, sizeof untouched);
}

void message_vector_run(const struct vector *vector)
{
    static char expected[1 << 16];
    struct tf_bytes bytes = vector_bytes(vector_line(vector, "bytes "));
    struct tf_coap_message message;
    char *found = NULL;
    size_t length;

    memset(&message, 0x5a, sizeof message);
    FILE *out = open_memstream(&found, &length);
    enum tf_err err = tf_coap_decode(&message, bytes);
    if (err)
        error_text(out, err, &message);
    else
        message_text(out, &message);
    fclose(out);
    *expected = 0;
    for (size_t i = 0; i < vector->count; i++) {
        const char *line = vector->lines[i];

        if (strncmp(line, "bytes ", 6) != 0 && strncmp(line, "tshark", 6) != 0)
            strcat(strcat(expected, line), "\n");
    }
    if (strcmp(found, expected) != 0)
        fail_msg("%s is\n%sinstead of\n%s", vector->name, found, expected);
    if (!err) {
        encode(&message, bytes);
        prefixes(bytes);
    }
    free(found);
    vector_drop(bytes);
}
