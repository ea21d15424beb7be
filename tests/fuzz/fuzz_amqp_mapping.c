/*
 * Fuzz target: what other protocols see of AMQP messages. Whatever message the reader accepts has
 * an envelope whose parts lie in it, properties that MQTT can carry, a plain body that is JSON
 * where it says so, and annotations that go in without a change to the rest. The first byte of the
 * input cuts the body into pieces.
 */
#include "broker/mapping.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trefoil/amqp_message.h>
#include <trefoil/mqtt_packet.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

#define NOW (1000 * TF_SECOND)
#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

/* Ends the run with what went wrong. */
static _Noreturn void fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_amqp_mapping.c:%d: %s\n", line, what);
    abort();
}

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    CHECK(size > 0);
    return malloc(size);
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct tf_alloc alloc = {.alloc = heap_alloc, .free = heap_free};

/* MQTT's properties are well-formed and fill what they said they need at most. */
static void mqtt_fuzz(const struct tf_envelope *envelope)
{
    size_t room = tf_mapping_mqtt_room(envelope);
    uint8_t *block = malloc(room), reason;
    struct tf_writer writer = tf_writer_of(block, room);

    tf_mapping_to_mqtt(envelope, &writer);
    CHECK(!writer.failed);
    CHECK(tf_mqtt_properties_check(tf_bytes_of(block, tf_writer_length(&writer)), TF_MQTT_PUBLISH,
                                   &reason) == TF_OK);
    free(block);
}

static bool is_json(struct tf_bytes type)
{
    return tf_bytes_equal(type, tf_bytes_str("application/json"));
}

/* The plain form. Duplicate keys are legal JSON, and made of keys of several types. */
static void plain_fuzz(struct tf_message *message, const struct tf_amqp_message *read)
{
    struct tf_plain_body plain;
    enum tf_err err = tf_mapping_plain(&message->publication, &alloc, &plain);
    bool converted = read->body_type == TF_AMQP_BODY_SEQUENCE;
    struct tf_amqp_value value;
    json_error_t error;

    if (err) {
        CHECK(err == TF_LIMIT && message->publication.envelope.body_format == TF_BODY_SECTIONS);
        return;
    }
    if (read->body_type == TF_AMQP_BODY_VALUE) {
        CHECK(tf_amqp_value_of(read->value, &value) == TF_OK);
        converted =
            value.descriptors || (value.type != TF_AMQP_STRING && value.type != TF_AMQP_BINARY);
    }
    if (!converted)
        return;
    CHECK(is_json(plain.content_type) && plain.payload_format == TF_PAYLOAD_TEXT);
    CHECK(plain.count == 1);
    json_t *json = json_loadb((const char *)plain.body[0].data, plain.body[0].length,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    CHECK(json || json_error_code(&error) == json_error_numeric_overflow ||
          json_error_code(&error) == json_error_null_byte_in_key); /* legal, but not jansson's */
    json_decref(json);
}

/* Annotations go in, and the bare message stays as it was. */
static void annotations_fuzz(const struct tf_envelope *envelope, struct tf_bytes body,
                             const struct tf_amqp_message *read)
{
    uint8_t map[32];
    struct tf_writer writer = tf_writer_of(map, sizeof(map));
    size_t at = tf_amqp_write_map_begin(&writer);
    struct tf_amqp_message again;
    struct tf_amqp_value value;
    enum tf_amqp_condition condition;

    tf_amqp_write_symbol(&writer, tf_bytes_str("x-opt-k"));
    tf_amqp_write_bool(&writer, true);
    tf_amqp_write_map_end(&writer, at, 2);
    struct tf_bytes fresh = tf_bytes_of(map, tf_writer_length(&writer));
    size_t room = envelope->encoded.length + fresh.length + 16;
    uint8_t *block = malloc(room + body.length + 1);
    writer = tf_writer_of(block, room);
    tf_mapping_amqp_annotate(envelope->encoded, fresh, &writer);
    CHECK(!writer.failed);
    writer.end = block + room + body.length;
    tf_write_bytes(&writer, body);
    CHECK(tf_amqp_message_read(tf_bytes_of(block, tf_writer_length(&writer)), &again, &condition) ==
          TF_OK);
    CHECK(tf_bytes_equal(again.bare, read->bare));
    CHECK(tf_bytes_equal(again.footer_section, read->footer_section));
    CHECK(tf_amqp_map_find(again.message_annotations, tf_bytes_str("x-opt-k"), &value) &&
          value.number == 1);
    free(block);
}

/* A message of the body in pieces of `size` bytes. */
static struct tf_message *message_of(const struct tf_envelope *envelope, struct tf_bytes body,
                                     size_t size)
{
    struct tf_message *message = tf_message_new(envelope, &alloc);

    CHECK(message);
    for (size_t i = 0; i < body.length; i += size) {
        size_t run = body.length - i < size ? body.length - i : size;

        CHECK(tf_message_append(message, tf_bytes_of(body.data + i, run)) == TF_OK);
    }
    return message;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct tf_envelope envelope = {.address = tf_bytes_str("a"), .expires = TF_TIME_NEVER};
    uint8_t scratch[TF_MAPPING_SCRATCH];
    struct tf_amqp_message read;
    enum tf_amqp_condition condition;
    struct tf_bytes body;

    if (length == 0 ||
        tf_amqp_message_read(tf_bytes_of(data + 1, length - 1), &read, &condition) != TF_OK)
        return 0;
    tf_mapping_from_amqp(&read, NOW, scratch, &envelope, &body);
    CHECK(envelope.expires >= NOW);
    CHECK(envelope.encoded.length + body.length ==
          read.message_annotations_section.length + read.bare.length + read.footer_section.length);
    mqtt_fuzz(&envelope);
    annotations_fuzz(&envelope, body, &read);
    struct tf_message *message = message_of(&envelope, body, 1 + 40u * data[0]);
    plain_fuzz(message, &read);
    tf_message_unref(message);
    return 0;
}
