/*
 * Fuzz target: AMQP messages. What the reader accepts lies section behind section in the input; its
 * body is walked to the end, its header and properties are written and must read as before.
 */
#include <trefoil/amqp_message.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

/* Ends the run with what went wrong. */
static _Noreturn void fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_amqp_message.c:%d: %s\n", line, what);
    abort();
}

static void body_fuzz(const struct tf_amqp_message *message)
{
    struct tf_reader body = tf_reader_of(message->body);
    struct tf_amqp_value value;
    unsigned count = 0;

    for (; tf_amqp_body_next(&body, &value); count++) {
        if (message->body_type == TF_AMQP_BODY_DATA)
            CHECK(value.bytes.data == message->data.data &&
                  value.bytes.length == message->data.length);
        if (message->body_type <= TF_AMQP_BODY_DATAS)
            CHECK(value.type == TF_AMQP_BINARY);
        if (message->body_type == TF_AMQP_BODY_SEQUENCE)
            CHECK(value.type == TF_AMQP_LIST);
        if (message->body_type == TF_AMQP_BODY_VALUE)
            CHECK(value.descriptors || value.encoded.data == message->value.data);
    }
    CHECK(!body.failed && !tf_reader_left(&body));
    CHECK((count > 0) == (message->body_type != TF_AMQP_BODY_NONE));
    CHECK(count == 1 || message->body_type != TF_AMQP_BODY_DATA);
}

/* Writes what the message has, its own sections where there is no writer. */
static size_t message_write(uint8_t *block, size_t size, const struct tf_amqp_message *message)
{
    struct tf_writer writer = tf_writer_of(block, size);

    if (message->has_header)
        tf_amqp_write_header(&writer, &message->header);
    tf_write_bytes(&writer, message->delivery_annotations_section);
    tf_write_bytes(&writer, message->message_annotations_section);
    if (message->properties_section.length)
        tf_amqp_write_properties(&writer, &message->properties);
    tf_write_bytes(&writer, message->application_properties_section);
    tf_write_bytes(&writer, message->body);
    tf_write_bytes(&writer, message->footer_section);
    CHECK(!writer.failed);
    return tf_writer_length(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct tf_bytes input = tf_bytes_of(data, length);
    enum tf_amqp_condition condition = TF_AMQP_NO_ERROR;
    struct tf_amqp_message message, again;

    if (tf_amqp_message_read(input, &message, &condition)) {
        CHECK(condition == TF_AMQP_DECODE_ERROR || condition == TF_AMQP_INVALID_FIELD);
        return 0;
    }
    size_t all = message.header_section.length + message.delivery_annotations_section.length +
                 message.message_annotations_section.length + message.bare.length +
                 message.footer_section.length;
    CHECK(all == length);
    CHECK(message.bare.length == message.properties_section.length +
                                     message.application_properties_section.length +
                                     message.body.length);
    body_fuzz(&message);
    size_t size = length + 16;
    uint8_t *once = malloc(size), *twice = malloc(size);
    CHECK(once && twice);
    size_t written = message_write(once, size, &message);
    CHECK(written <= length);
    CHECK(!tf_amqp_message_read(tf_bytes_of(once, written), &again, &condition));
    CHECK(again.body_type == message.body_type && again.header.ttl_ms == message.header.ttl_ms);
    CHECK(message_write(twice, size, &again) == written && !memcmp(once, twice, written));
    free(once);
    free(twice);
    return 0;
}
