/*
 * AMQP's column of the mapping: addresses, messages in and out, headers and annotations. The rows
 * of docs/mapping.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <trefoil/amqp_message.h>

#include "broker/mapping.h"

#define NOW (1000 * TF_SECOND)

static void assert_bytes(struct tf_bytes bytes, const char *wanted)
{
    assert_int_equal(bytes.length, strlen(wanted));
    assert_memory_equal(bytes.data, wanted, bytes.length);
}

/* ---- messages in ---- */

struct parts {
    uint8_t buffer[4096];
    struct tf_writer writer;
    struct tf_amqp_message message;
    uint8_t scratch[TF_MAPPING_SCRATCH];
    struct tf_envelope envelope;
    struct tf_bytes body;
};

static void begin(struct parts *parts)
{
    memset(parts, 0, sizeof(*parts));
    parts->writer = tf_writer_of(parts->buffer, sizeof(parts->buffer));
}

static void take(struct parts *parts)
{
    enum tf_amqp_condition condition;
    assert_false(parts->writer.failed);
    assert_int_equal(
        tf_amqp_message_read(tf_bytes_of(parts->buffer, tf_writer_length(&parts->writer)),
                             &parts->message, &condition),
        TF_OK);
    parts->envelope.address = tf_bytes_str("x");
    parts->envelope.qos = 1;
    tf_mapping_from_amqp(&parts->message, NOW, parts->scratch, &parts->envelope, &parts->body);
    assert_bytes(parts->envelope.address, "x");
    assert_int_equal(parts->envelope.qos, 1);
    assert_int_equal(parts->envelope.origin, TF_PROTOCOL_AMQP);
}

/* Annotations with one entry. */
static void annotate(struct parts *parts, const char *key, bool value)
{
    tf_amqp_write_section(&parts->writer, TF_AMQP_MESSAGE_ANNOTATIONS);
    size_t at = tf_amqp_write_map_begin(&parts->writer);
    tf_amqp_write_symbol(&parts->writer, tf_bytes_str(key));
    tf_amqp_write_bool(&parts->writer, value);
    tf_amqp_write_map_end(&parts->writer, at, 2);
}

static void data(struct parts *parts, const char *text)
{
    tf_amqp_write_data_head(&parts->writer, strlen(text));
    tf_write_bytes(&parts->writer, tf_bytes_str(text));
}

/* Header and delivery annotations stay behind; the rest is what came, bit for bit. */
static void test_one_data_section(void **state)
{
    struct parts parts;
    struct tf_amqp_header header = {
        .durable = true, .priority = 7, .has_ttl = true, .ttl_ms = 1500, .delivery_count = 3};
    struct tf_amqp_properties properties = {
        .content_type = tf_bytes_str("application/cbor"), .to = tf_bytes_str("x"), .has_to = true};
    (void)state;
    begin(&parts);
    tf_amqp_write_header(&parts.writer, &header);
    tf_amqp_write_section(&parts.writer, TF_AMQP_DELIVERY_ANNOTATIONS);
    tf_amqp_write_map_end(&parts.writer, tf_amqp_write_map_begin(&parts.writer), 0);
    size_t from = tf_writer_length(&parts.writer);
    annotate(&parts, "x-opt-other", true);
    tf_amqp_write_properties(&parts.writer, &properties);
    data(&parts, "hello");
    take(&parts);
    assert_true(parts.envelope.durable);
    assert_int_equal(parts.envelope.priority, 7);
    assert_true(parts.envelope.expires == NOW + 1500 * (TF_SECOND / 1000));
    assert_bytes(parts.envelope.content_type, "application/cbor");
    assert_int_equal(parts.envelope.payload_format, TF_PAYLOAD_BYTES);
    assert_int_equal(parts.envelope.body_format, TF_BODY_PLAIN);
    assert_false(parts.envelope.retain);
    assert_bytes(parts.body, "hello");
    assert_ptr_equal(parts.envelope.encoded.data, parts.buffer + from);
    assert_ptr_equal(parts.envelope.encoded.data + parts.envelope.encoded.length, parts.body.data);
    assert_ptr_equal(parts.body.data + parts.body.length, parts.writer.next);
}

static void test_defaults(void **state)
{
    struct parts parts;
    (void)state;
    begin(&parts);
    data(&parts, "");
    take(&parts);
    assert_false(parts.envelope.durable);
    assert_int_equal(parts.envelope.priority, TF_AMQP_PRIORITY_DEFAULT);
    assert_true(parts.envelope.expires == TF_TIME_NEVER);
    assert_int_equal(parts.envelope.content_type.length, 0);
    assert_int_equal(parts.envelope.correlation.length, 0);
    assert_int_equal(parts.envelope.reply_to.length, 0);
    assert_int_equal(parts.envelope.encoded.length, 5); /* the section's head */
    assert_int_equal(parts.body.length, 0);
}

/* What is not one data section goes as it is, with its footer. */
static void test_sections(void **state)
{
    struct parts parts;
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        static const char *const types[] = {"text/plain", "application/json", "", ""};
        begin(&parts);
        annotate(&parts, "a", false);
        size_t from = tf_writer_length(&parts.writer);
        if (i == 0) {
            tf_amqp_write_value_string(&parts.writer, tf_bytes_str("hello"));
        } else if (i == 1) {
            tf_amqp_write_section(&parts.writer, TF_AMQP_AMQP_VALUE);
            tf_amqp_write_ulong(&parts.writer, 5);
        } else {
            data(&parts, "one");
            if (i == 2) {
                data(&parts, "two");
            } else {
                tf_amqp_write_section(&parts.writer, TF_AMQP_FOOTER);
                tf_amqp_write_map_end(&parts.writer, tf_amqp_write_map_begin(&parts.writer), 0);
            }
        }
        take(&parts);
        assert_int_equal(parts.envelope.body_format, TF_BODY_SECTIONS);
        assert_ptr_equal(parts.envelope.encoded.data, parts.buffer);
        assert_int_equal(parts.envelope.encoded.length, from);
        assert_ptr_equal(parts.body.data, parts.buffer + from);
        assert_ptr_equal(parts.body.data + parts.body.length, parts.writer.next);
        assert_bytes(parts.envelope.content_type, types[i]);
        assert_int_equal(parts.envelope.payload_format, i < 2 ? TF_PAYLOAD_TEXT : TF_PAYLOAD_BYTES);
    }
}

/* A text that says what it is keeps its type; a value that is bytes is bytes. */
static void test_types_of_values(void **state)
{
    struct parts parts;
    struct tf_amqp_properties properties = {.content_type = tf_bytes_str("application/json")};
    (void)state;
    begin(&parts);
    tf_amqp_write_properties(&parts.writer, &properties);
    tf_amqp_write_value_string(&parts.writer, tf_bytes_str("{}"));
    take(&parts);
    assert_bytes(parts.envelope.content_type, "application/json");
    assert_int_equal(parts.envelope.payload_format, TF_PAYLOAD_TEXT);

    properties.content_type = tf_bytes_str("image/png");
    begin(&parts);
    tf_amqp_write_properties(&parts.writer, &properties);
    tf_amqp_write_section(&parts.writer, TF_AMQP_AMQP_VALUE);
    tf_amqp_write_binary(&parts.writer, tf_bytes_str("\x89PNG"));
    take(&parts);
    assert_bytes(parts.envelope.content_type, "image/png");
    assert_int_equal(parts.envelope.payload_format, TF_PAYLOAD_BYTES);

    properties.content_type = tf_bytes_str("image/png"); /* of what the list would be, not JSON */
    begin(&parts);
    tf_amqp_write_properties(&parts.writer, &properties);
    tf_amqp_write_section(&parts.writer, TF_AMQP_AMQP_SEQUENCE);
    tf_amqp_write_list_end(&parts.writer, tf_amqp_write_list_begin(&parts.writer), 0);
    take(&parts);
    assert_bytes(parts.envelope.content_type, "application/json");

    properties.content_type = tf_bytes_of("a\0b", 3); /* no text of MQTT's */
    begin(&parts);
    tf_amqp_write_properties(&parts.writer, &properties);
    data(&parts, "x");
    take(&parts);
    assert_int_equal(parts.envelope.content_type.length, 0);
}

static void test_nothing_at_all(void **state)
{
    struct parts parts;
    (void)state;
    begin(&parts);
    annotate(&parts, "x-opt-retain-message", true);
    take(&parts);
    assert_int_equal(parts.body.length, 0);
    assert_int_equal(parts.envelope.encoded.length, tf_writer_length(&parts.writer));
    assert_true(parts.envelope.retain);
    assert_true(parts.envelope.clear);
}

static void test_retain(void **state)
{
    struct parts parts;
    (void)state;
    begin(&parts);
    annotate(&parts, "x-opt-retain-message", true);
    data(&parts, "21");
    take(&parts);
    assert_true(parts.envelope.retain);
    assert_false(parts.envelope.clear);
    begin(&parts);
    annotate(&parts, "x-opt-retain-message", false);
    data(&parts, "21");
    take(&parts);
    assert_false(parts.envelope.retain);
    begin(&parts);
    annotate(&parts, "x-opt-retain-message", true);
    data(&parts, "");
    take(&parts);
    assert_true(parts.envelope.retain);
    assert_true(parts.envelope.clear);
    begin(&parts); /* an empty text is a value */
    annotate(&parts, "x-opt-retain-message", true);
    tf_amqp_write_value_string(&parts.writer, tf_bytes_str(""));
    take(&parts);
    assert_true(parts.envelope.retain);
    assert_false(parts.envelope.clear);
}

/* Correlation and reply-to with properties as given; `id` is an encoded value. */
static void take_reply(struct parts *parts, struct tf_bytes id, bool is_message_id,
                       const char *reply_to)
{
    struct tf_amqp_properties properties = {.reply_to = tf_bytes_str(reply_to),
                                            .has_reply_to = reply_to[0] != '\0'};
    *(is_message_id ? &properties.message_id : &properties.correlation_id) = id;
    begin(parts);
    tf_amqp_write_properties(&parts->writer, &properties);
    data(parts, "x");
    take(parts);
}

static void test_correlation(void **state)
{
    static const uint8_t uuid[16] = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0,
                                     0,    1,    2,    3,    4,    5,    6,    0xff};
    uint8_t id[64];
    struct parts parts;
    struct tf_writer writer;
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        static const char *const wanted[] = {"\x01\xff", "text", "18446744073709551615",
                                             "12345678-9abc-def0-0001-0203040506ff"};
        writer = tf_writer_of(id, sizeof(id));
        if (i == 0) {
            tf_amqp_write_binary(&writer, tf_bytes_str("\x01\xff"));
        } else if (i == 1) {
            tf_amqp_write_string(&writer, tf_bytes_str("text"));
        } else if (i == 2) {
            tf_amqp_write_ulong(&writer, UINT64_MAX);
        } else {
            tf_amqp_write_uuid(&writer, uuid);
        }
        struct tf_bytes encoded = tf_bytes_of(id, tf_writer_length(&writer));
        take_reply(&parts, encoded, false, "");
        assert_bytes(parts.envelope.correlation, wanted[i]);
        /* a request's message-id is what the reply's correlation-id will be */
        take_reply(&parts, encoded, true, "replies");
        assert_bytes(parts.envelope.correlation, wanted[i]);
        take_reply(&parts, encoded, true, "");
        assert_int_equal(parts.envelope.correlation.length, 0);
    }
}

static void test_reply_to(void **state)
{
    static const struct {
        const char *reply_to, *address;
    } rows[] = {{"replies/7", "replies/7"},
                {"topic://a/b", "a/b"},
                {"/topics/a%20b", "a b"},
                {"/r", "r"},
                {"queue://q", ""},
                {"/queues/q", ""},
                {"a/#", ""},
                {"/topics/%", ""}};
    struct parts parts;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        take_reply(&parts, tf_bytes_of(NULL, 0), false, rows[i].reply_to);
        assert_bytes(parts.envelope.reply_to, rows[i].address);
    }
}

static void test_expiry_times(void **state)
{
    static const struct {
        bool has_ttl, has_times;
        uint32_t ttl_ms;
        int64_t from, to;
        tf_time left_ms; /* TF_TIME_NEVER: does not expire */
    } rows[] = {{false, true, 0, 1000, 4000, 3000},
                {true, true, 500, 1000, 4000, 500},
                {true, true, 5000, 1000, 4000, 3000},
                {true, false, 0, 0, 0, 0},
                {false, true, 0, 4000, 1000, 0},
                {false, true, 0, INT64_MIN, INT64_MAX, TF_TIME_NEVER},
                {true, false, UINT32_MAX, 0, 0, UINT32_MAX}};
    struct parts parts;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_amqp_header header = {.priority = TF_AMQP_PRIORITY_DEFAULT,
                                        .has_ttl = rows[i].has_ttl,
                                        .ttl_ms = rows[i].ttl_ms};
        struct tf_amqp_properties properties = {.has_absolute_expiry_time = rows[i].has_times,
                                                .has_creation_time = rows[i].has_times,
                                                .absolute_expiry_time = rows[i].to,
                                                .creation_time = rows[i].from};
        begin(&parts);
        tf_amqp_write_header(&parts.writer, &header);
        tf_amqp_write_properties(&parts.writer, &properties);
        data(&parts, "x");
        take(&parts);
        tf_time wanted = rows[i].left_ms == TF_TIME_NEVER
                             ? TF_TIME_NEVER
                             : NOW + rows[i].left_ms * (TF_SECOND / 1000);
        assert_true(parts.envelope.expires == wanted);
    }
}

/* ---- messages out ---- */

/* An MQTT message as AMQP reads it. */
static void test_from_mqtt(void **state)
{
    static const struct tf_mqtt_property properties[] = {
        {.id = TF_MQTT_PAYLOAD_FORMAT, .number = 1},
        {.id = TF_MQTT_CONTENT_TYPE, .value = {(const uint8_t *)"application/json", 16}},
        {.id = TF_MQTT_RESPONSE_TOPIC, .value = {(const uint8_t *)"replies/7", 9}},
        {.id = TF_MQTT_CORRELATION_DATA, .value = {(const uint8_t *)"\x01\xff", 2}},
        {.id = TF_MQTT_USER_PROPERTY,
         .name = {(const uint8_t *)"Divine", 6},
         .value = {(const uint8_t *)"Life", 4}},
        {.id = TF_MQTT_USER_PROPERTY,
         .name = {(const uint8_t *)"Divine", 6},
         .value = {(const uint8_t *)"Comedy", 6}},
        {.id = TF_MQTT_USER_PROPERTY, .name = {NULL, 0}, .value = {NULL, 0}}};
    uint8_t section[256], out[512];
    struct tf_writer writer = tf_writer_of(section, sizeof(section));
    struct tf_envelope envelope = {.address = tf_bytes_str("a/b"), .origin = TF_PROTOCOL_MQTT};
    struct tf_amqp_message message;
    struct tf_amqp_value value;
    enum tf_amqp_condition condition;
    (void)state;
    for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
        tf_mqtt_property_write(&writer, &properties[i]);
    }
    envelope.encoded = tf_bytes_of(section, tf_writer_length(&writer));
    tf_mapping_from_mqtt(envelope.encoded, &envelope);
    writer = tf_writer_of(out, tf_mapping_amqp_room(&envelope));
    tf_mapping_to_amqp(&envelope, 5, &writer);
    assert_false(writer.failed);
    writer.end = out + sizeof(out);
    tf_write_bytes(&writer, tf_bytes_str("hello"));
    assert_int_equal(
        tf_amqp_message_read(tf_bytes_of(out, tf_writer_length(&writer)), &message, &condition),
        TF_OK);
    assert_bytes(message.properties.to, "topic://a/b");
    assert_bytes(message.properties.reply_to, "topic://replies/7");
    assert_bytes(message.properties.content_type, "application/json");
    assert_int_equal(tf_amqp_value_of(message.properties.correlation_id, &value), TF_OK);
    assert_int_equal(value.type, TF_AMQP_BINARY);
    assert_bytes(value.bytes, "\x01\xff");
    assert_true(tf_amqp_map_find(message.application_properties, tf_bytes_str("Divine"), &value));
    assert_bytes(value.bytes, "Life"); /* a map has a key once: the first */
    assert_true(tf_amqp_map_find(message.application_properties, tf_bytes_str(""), &value));
    assert_int_equal(value.bytes.length, 0);
    assert_int_equal(message.body_type, TF_AMQP_BODY_DATA);
    assert_bytes(message.data, "hello");
}

/* Every part alone, so that what stands before it is null. */
static void test_parts_of_properties(void **state)
{
    static char long_address[300];
    uint8_t out[1024];
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    (void)state;
    memset(long_address, 'x', sizeof(long_address) - 1);
    for (unsigned i = 0; i < 16; i++) {
        struct tf_envelope envelope = {
            .address = tf_bytes_str(i & 8 ? long_address : "a"),
            .origin = TF_PROTOCOL_COAP,
            .encoded = tf_bytes_of("\0\x32", 2), /* the origin's own: not read here */
            .reply_to = tf_bytes_str(i & 1 ? "r" : ""),
            .correlation = tf_bytes_str(i & 2 ? "c" : ""),
            .content_type = tf_bytes_str(i & 4 ? "11050" : "")};
        struct tf_writer writer = tf_writer_of(out, tf_mapping_amqp_room(&envelope));
        tf_mapping_to_amqp(&envelope, 0, &writer);
        assert_false(writer.failed);
        assert_int_equal(
            tf_amqp_message_read(tf_bytes_of(out, tf_writer_length(&writer)), &message, &condition),
            TF_OK);
        assert_int_equal(message.properties.to.length, 8 + envelope.address.length);
        assert_bytes(message.properties.reply_to, i & 1 ? "topic://r" : "");
        assert_int_equal(message.properties.correlation_id.length, i & 2 ? 3 : 0);
        assert_bytes(message.properties.content_type, i & 4 ? "11050" : "");
        assert_int_equal(message.application_properties.length, 0);
    }
}

static void test_text_without_a_type(void **state)
{
    struct tf_envelope envelope = {.address = tf_bytes_str("a"), .payload_format = TF_PAYLOAD_TEXT};
    uint8_t out[256];
    struct tf_writer writer = tf_writer_of(out, sizeof(out));
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    (void)state;
    tf_mapping_to_amqp(&envelope, 0, &writer);
    assert_int_equal(
        tf_amqp_message_read(tf_bytes_of(out, tf_writer_length(&writer)), &message, &condition),
        TF_OK);
    assert_bytes(message.properties.content_type, "text/plain;charset=utf-8");
    envelope.content_type = tf_bytes_str("text/\xc3\xa9"); /* no symbol */
    writer = tf_writer_of(out, sizeof(out));
    tf_mapping_to_amqp(&envelope, 0, &writer);
    assert_int_equal(
        tf_amqp_message_read(tf_bytes_of(out, tf_writer_length(&writer)), &message, &condition),
        TF_OK);
    assert_int_equal(message.properties.content_type.length, 0);
}

/* More names than a map is made of are left out, without harm. */
static void test_many_user_properties(void **state)
{
    enum { COUNT = 1000 };
    size_t size = COUNT * 32;
    uint8_t *section = malloc(size), *out;
    struct tf_writer writer = tf_writer_of(section, size);
    struct tf_envelope envelope = {.address = tf_bytes_str("a"), .origin = TF_PROTOCOL_MQTT};
    struct tf_amqp_message message;
    struct tf_amqp_value map;
    enum tf_amqp_condition condition;
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        char name[16];
        int length = snprintf(name, sizeof(name), "n%u", i / 2);
        struct tf_mqtt_property property = {.id = TF_MQTT_USER_PROPERTY,
                                            .name = tf_bytes_of(name, (size_t)length)};
        tf_mqtt_property_write(&writer, &property);
    }
    envelope.encoded = tf_bytes_of(section, tf_writer_length(&writer));
    size = tf_mapping_amqp_room(&envelope);
    out = malloc(size);
    writer = tf_writer_of(out, size);
    tf_mapping_to_amqp(&envelope, 0, &writer);
    assert_false(writer.failed);
    assert_int_equal(
        tf_amqp_message_read(tf_bytes_of(out, tf_writer_length(&writer)), &message, &condition),
        TF_OK);
    assert_int_equal(tf_amqp_value_of(message.application_properties, &map), TF_OK);
    assert_int_equal(map.count, 2 * 256);
    free(section);
    free(out);
}

/* What AMQP says, as MQTT 5.0 properties. */
static void test_to_mqtt(void **state)
{
    struct parts parts;
    struct tf_amqp_properties properties = {.content_type = tf_bytes_str("application/cbor"),
                                            .reply_to = tf_bytes_str("topic://r"),
                                            .has_reply_to = true};
    uint8_t out[512];
    struct tf_writer writer;
    struct tf_mqtt_property property;
    struct tf_envelope back = {.content_type = {NULL, 0}};
    static const char *const wanted[][2] = {
        {"s", "text"}, {"n", "-5"}, {"b", "true"}, {"d", "1.5"}, {"y", "sym"}};
    (void)state;
    begin(&parts);
    tf_amqp_write_properties(&parts.writer, &properties);
    tf_amqp_write_section(&parts.writer, TF_AMQP_APPLICATION_PROPERTIES);
    size_t at = tf_amqp_write_map_begin(&parts.writer);
    tf_amqp_write_string(&parts.writer, tf_bytes_str("s"));
    tf_amqp_write_string(&parts.writer, tf_bytes_str("text"));
    tf_amqp_write_string(&parts.writer, tf_bytes_str("null"));
    tf_amqp_write_null(&parts.writer);
    tf_amqp_write_string(&parts.writer, tf_bytes_str("n"));
    tf_amqp_write_int(&parts.writer, -5);
    tf_amqp_write_string(&parts.writer, tf_bytes_str("b"));
    tf_amqp_write_bool(&parts.writer, true);
    tf_amqp_write_string(&parts.writer, tf_bytes_str("binary"));
    tf_amqp_write_binary(&parts.writer, tf_bytes_str("x"));
    tf_amqp_write_string(&parts.writer, tf_bytes_str("d"));
    tf_amqp_write_double(&parts.writer, UINT64_C(0x3ff8000000000000));
    tf_amqp_write_string(&parts.writer, tf_bytes_of("\0", 1));
    tf_amqp_write_string(&parts.writer, tf_bytes_str("MQTT has no such name"));
    tf_amqp_write_string(&parts.writer, tf_bytes_str("y"));
    tf_amqp_write_symbol(&parts.writer, tf_bytes_str("sym"));
    tf_amqp_write_map_end(&parts.writer, at, 16);
    data(&parts, "body");
    take(&parts);
    writer = tf_writer_of(out, tf_mapping_mqtt_room(&parts.envelope));
    tf_mapping_to_mqtt(&parts.envelope, &writer);
    assert_false(writer.failed);
    struct tf_bytes section = tf_bytes_of(out, tf_writer_length(&writer));
    tf_mapping_from_mqtt(section, &back);
    assert_bytes(back.content_type, "application/cbor");
    assert_bytes(back.reply_to, "r");
    struct tf_mqtt_property_cursor cursor = {section, 0};
    size_t count = 0;
    while (tf_mqtt_property_next(&cursor, &property)) {
        if (property.id != TF_MQTT_USER_PROPERTY) {
            continue;
        }
        assert_true(count < 5);
        assert_bytes(property.name, wanted[count][0]);
        assert_bytes(property.value, wanted[count++][1]);
    }
    assert_int_equal(count, 5);
}

/* ---- headers ---- */

static void check_header(const struct tf_envelope *envelope, uint32_t count, bool first,
                         const struct tf_amqp_header *wanted)
{
    uint8_t out[TF_MAPPING_HEADER_MAX + 8];
    struct tf_writer writer = tf_writer_of(out, TF_MAPPING_HEADER_MAX);
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    tf_mapping_amqp_header(envelope, NOW, count, first, &writer);
    assert_false(writer.failed);
    if (!wanted) {
        assert_int_equal(tf_writer_length(&writer), 0);
        return;
    }
    writer.end = out + sizeof(out);
    tf_amqp_write_data_head(&writer, 0);
    assert_int_equal(
        tf_amqp_message_read(tf_bytes_of(out, tf_writer_length(&writer)), &message, &condition),
        TF_OK);
    assert_true(message.has_header);
    assert_int_equal(message.header.durable, wanted->durable);
    assert_int_equal(message.header.priority, wanted->priority);
    assert_int_equal(message.header.has_ttl, wanted->has_ttl);
    assert_int_equal(message.header.ttl_ms, wanted->ttl_ms);
    assert_int_equal(message.header.first_acquirer, wanted->first_acquirer);
    assert_int_equal(message.header.delivery_count, wanted->delivery_count);
}

static void test_headers(void **state)
{
    struct tf_envelope mqtt = {.origin = TF_PROTOCOL_MQTT, .expires = TF_TIME_NEVER};
    struct tf_envelope amqp = {.origin = TF_PROTOCOL_AMQP, .expires = TF_TIME_NEVER, .priority = 4};
    struct tf_amqp_header wanted = {.priority = 4};
    (void)state;
    check_header(&mqtt, 0, false, NULL);
    check_header(&amqp, 0, false, NULL);
    amqp.priority = 0;
    wanted.priority = 0;
    check_header(&amqp, 0, false, &wanted);
    wanted = (struct tf_amqp_header){.priority = 4, .durable = true};
    mqtt.durable = true;
    check_header(&mqtt, 0, false, &wanted);
    wanted.delivery_count = UINT32_MAX;
    wanted.first_acquirer = true;
    wanted.has_ttl = true;
    wanted.ttl_ms = 1;
    mqtt.expires = NOW + 1; /* a millisecond that has begun counts */
    check_header(&mqtt, UINT32_MAX, true, &wanted);
    mqtt.expires = NOW;
    wanted.ttl_ms = 0;
    check_header(&mqtt, UINT32_MAX, true, &wanted);
    mqtt.expires = NOW + TF_SECOND * 10000000;
    wanted.ttl_ms = UINT32_MAX;
    check_header(&mqtt, UINT32_MAX, true, &wanted);
}

/* ---- annotations ---- */

/* A map of symbols to numbers. */
static struct tf_bytes number_map(uint8_t *buffer, size_t size, const char *keys, uint32_t first)
{
    struct tf_writer writer = tf_writer_of(buffer, size);
    size_t at = tf_amqp_write_map_begin(&writer);
    uint32_t count = 0;
    for (; keys[count]; count++) {
        tf_amqp_write_symbol(&writer, tf_bytes_of(keys + count, 1));
        tf_amqp_write_uint(&writer, first + count);
    }
    tf_amqp_write_map_end(&writer, at, 2 * count);
    assert_false(writer.failed);
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}

/* Checks that a map has exactly these keys, each with a number. */
static void check_map(struct tf_bytes map, const char *keys, const uint32_t *numbers)
{
    struct tf_amqp_value value;
    assert_int_equal(tf_amqp_value_of(map, &value), TF_OK);
    assert_int_equal(value.count, 2 * strlen(keys));
    for (size_t i = 0; keys[i]; i++) {
        assert_true(tf_amqp_map_find(map, tf_bytes_of(keys + i, 1), &value));
        assert_int_equal(value.number, numbers[i]);
    }
}

static void test_merging(void **state)
{
    uint8_t a[64], b[64], out[256];
    struct tf_bytes old = number_map(a, sizeof(a), "xyz", 1), fresh = number_map(b, 64, "zw", 10);
    struct tf_writer writer = tf_writer_of(out, old.length + fresh.length + 10);
    (void)state;
    assert_int_equal(tf_mapping_annotations_merge(old, fresh, &writer), TF_OK);
    assert_false(writer.failed);
    check_map(tf_bytes_of(out, tf_writer_length(&writer)), "xyzw", (uint32_t[]){1, 2, 10, 11});
    writer = tf_writer_of(out, fresh.length + 10);
    assert_int_equal(tf_mapping_annotations_merge(tf_bytes_of(NULL, 0), fresh, &writer), TF_OK);
    check_map(tf_bytes_of(out, tf_writer_length(&writer)), "zw", (uint32_t[]){10, 11});
    writer = tf_writer_of(out, sizeof(out));
    assert_int_equal(tf_mapping_annotations_merge(old, tf_bytes_str("\x40"), &writer), TF_PROTOCOL);
    assert_int_equal(tf_writer_length(&writer), 0);
}

/* A key is the same in whatever encoding it comes. */
static void test_merging_by_value(void **state)
{
    static const uint8_t old[] = {0xc1, 22, 4,   0x80, 0, 0, 0, 0, 0,   0,    0, 5,
                                  0xa1, 1,  'a', 0xb3, 0, 0, 0, 1, 'x', 0xa1, 1, 'c'};
    static const uint8_t fresh[] = {0xc1, 12, 4, 0x53, 5, 0xa1, 1, 'b', 0xa3, 1, 'x', 0xa1, 1, 'd'};
    uint8_t out[128];
    struct tf_writer writer = tf_writer_of(out, sizeof(out));
    struct tf_amqp_value value;
    (void)state;
    assert_int_equal(tf_mapping_annotations_merge(tf_bytes_of(old, sizeof(old)),
                                                  tf_bytes_of(fresh, sizeof(fresh)), &writer),
                     TF_OK);
    assert_int_equal(tf_amqp_value_of(tf_bytes_of(out, tf_writer_length(&writer)), &value), TF_OK);
    assert_int_equal(value.count, 4);
    assert_true(
        tf_amqp_map_find(tf_bytes_of(out, tf_writer_length(&writer)), tf_bytes_str("x"), &value));
    assert_memory_equal(value.bytes.data, "d", 1);
}

static void test_too_many_annotations(void **state)
{
    char keys[TF_MAPPING_ANNOTATIONS_MAX + 2] = "";
    uint8_t a[512], b[512], out[1024];
    (void)state;
    for (unsigned i = 0; i <= TF_MAPPING_ANNOTATIONS_MAX; i++) {
        keys[i] = (char)('0' + i);
    }
    struct tf_bytes many = number_map(a, sizeof(a), keys, 1);
    struct tf_writer writer = tf_writer_of(out, sizeof(out));
    assert_int_equal(tf_mapping_annotations_merge(tf_bytes_of(NULL, 0), many, &writer), TF_LIMIT);
    assert_int_equal(tf_writer_length(&writer), 0);
    keys[TF_MAPPING_ANNOTATIONS_MAX] = '\0';
    many = number_map(a, sizeof(a), keys, 1);
    assert_int_equal(tf_mapping_annotations_merge(tf_bytes_of(NULL, 0), many, &writer), TF_OK);
    writer = tf_writer_of(out, sizeof(out));
    assert_int_equal(tf_mapping_annotations_merge(many, number_map(b, 512, "0", 9), &writer),
                     TF_OK);
    writer = tf_writer_of(out, sizeof(out));
    assert_int_equal(tf_mapping_annotations_merge(many, number_map(b, 512, " ", 9), &writer),
                     TF_LIMIT);
    assert_int_equal(tf_writer_length(&writer), 0);
}

/* A map of one symbol to so many bytes. */
static struct tf_bytes bytes_map(uint8_t *buffer, size_t size, const char *key, size_t length)
{
    static uint8_t bytes[TF_MAPPING_ANNOTATIONS_BYTES_MAX];
    struct tf_writer writer = tf_writer_of(buffer, size);
    size_t at = tf_amqp_write_map_begin(&writer);
    tf_amqp_write_symbol(&writer, tf_bytes_str(key));
    tf_amqp_write_binary(&writer, tf_bytes_of(bytes, length));
    tf_amqp_write_map_end(&writer, at, 2);
    assert_false(writer.failed);
    return tf_bytes_of(buffer, tf_writer_length(&writer));
}

/* Few keys may be large, and a disposition gives them to everything that is unsettled. */
static void test_too_large_annotations(void **state)
{
    static uint8_t a[8192], b[8192], out[16384];
    const size_t half = TF_MAPPING_ANNOTATIONS_BYTES_MAX / 2;
    struct tf_writer writer = tf_writer_of(out, sizeof(out));
    struct tf_bytes old = bytes_map(a, sizeof(a), "old", half);
    (void)state;
    assert_int_equal(
        tf_mapping_annotations_merge(old, bytes_map(b, sizeof(b), "fresh", half), &writer),
        TF_LIMIT);
    assert_int_equal(tf_writer_length(&writer), 0);
    assert_int_equal(tf_mapping_annotations_merge(tf_bytes_of(NULL, 0),
                                                  bytes_map(b, sizeof(b), "x", 2 * half), &writer),
                     TF_LIMIT);
    assert_int_equal(tf_writer_length(&writer), 0);
    assert_int_equal(
        tf_mapping_annotations_merge(old, bytes_map(b, sizeof(b), "old", half), &writer), TF_OK);
    writer = tf_writer_of(out, sizeof(out));
    assert_int_equal(
        tf_mapping_annotations_merge(old, bytes_map(b, sizeof(b), "x", half - 64), &writer), TF_OK);
}

/* A message whose annotations change on the way, and nothing else of it. */
static void test_annotating(void **state)
{
    uint8_t map[64], out[512];
    struct parts parts;
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    struct tf_bytes changes = number_map(map, sizeof(map), "ab", 7);
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct tf_amqp_properties properties = {.subject = tf_bytes_str("s")};
        begin(&parts);
        if (i & 1) {
            annotate(&parts, "a", true);
        }
        if (i & 2) {
            tf_amqp_write_properties(&parts.writer, &properties);
        }
        data(&parts, "body");
        take(&parts);
        struct tf_bytes encoded = parts.envelope.encoded;
        struct tf_writer writer = tf_writer_of(out, encoded.length + changes.length + 16);
        tf_mapping_amqp_annotate(encoded, changes, &writer);
        assert_false(writer.failed);
        writer.end = out + sizeof(out);
        tf_write_bytes(&writer, parts.body);
        assert_int_equal(
            tf_amqp_message_read(tf_bytes_of(out, tf_writer_length(&writer)), &message, &condition),
            TF_OK);
        check_map(message.message_annotations, "ab", (uint32_t[]){7, 8});
        assert_true(tf_bytes_equal(message.bare, parts.message.bare));
    }
    struct tf_writer writer = tf_writer_of(out, sizeof(out));
    tf_mapping_amqp_annotate(parts.envelope.encoded, tf_bytes_of(NULL, 0), &writer);
    assert_true(
        tf_bytes_equal(tf_bytes_of(out, tf_writer_length(&writer)), parts.envelope.encoded));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_data_section),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_types_of_values),
        cmocka_unit_test(test_nothing_at_all),
        cmocka_unit_test(test_retain),
        cmocka_unit_test(test_correlation),
        cmocka_unit_test(test_reply_to),
        cmocka_unit_test(test_expiry_times),
        cmocka_unit_test(test_from_mqtt),
        cmocka_unit_test(test_parts_of_properties),
        cmocka_unit_test(test_text_without_a_type),
        cmocka_unit_test(test_many_user_properties),
        cmocka_unit_test(test_to_mqtt),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_merging_by_value),
        cmocka_unit_test(test_too_many_annotations),
        cmocka_unit_test(test_too_large_annotations),
        cmocka_unit_test(test_annotating),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
