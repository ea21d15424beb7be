/*
 * Fuzz target: the MQTT codec. The input is a run of packets as a connection would bring them, read
 * as 3.1, 3.1.1 and 5.0 in turn. Whatever the readers accept must come out of the writers the same;
 * the walks over a checked section must agree with the check; a PUBLISH that arrives bit by bit
 * must read as the whole one does.
 */
#include "../unit/mqtt/any_packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

/* Ends the run with what went wrong. */
static void fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_mqtt_packet.c:%d: %s\n", line, what);
    abort();
}

/* The same bytes in a block of exactly their size, so that the first byte past the end is seen. */
static uint8_t *copy(struct tf_bytes bytes)
{
    uint8_t *block = malloc(bytes.length ? bytes.length : 1);

    CHECK(block);
    if (bytes.length)
        memcpy(block, bytes.data, bytes.length);
    return block;
}

/* Walks a checked section and writes it again. */
static void section_fuzz(struct tf_bytes section, unsigned type)
{
    struct tf_mqtt_property_cursor cursor = {section, 0};
    struct tf_mqtt_property property;
    uint8_t *block = copy(section), reason;
    struct tf_writer writer = tf_writer_of(block, section.length);
    size_t size = 0;

    CHECK(tf_mqtt_properties_check(section, type, &reason) == TF_OK);
    memset(block, 0, section.length);
    while (tf_mqtt_property_next(&cursor, &property)) {
        size += tf_mqtt_property_size(&property);
        tf_mqtt_property_write(&writer, &property);
    }
    CHECK(size == section.length && !writer.failed);
    CHECK(section.length == 0 || memcmp(block, section.data, size) == 0);
    free(block);
}

/* The sections of a packet. */
static void sections_fuzz(const struct any_packet *packet)
{
    switch (packet->type) {
    case TF_MQTT_CONNECT:
        section_fuzz(packet->connect.properties, TF_MQTT_CONNECT);
        section_fuzz(packet->connect.will.properties, TF_MQTT_WILL);
        break;
    case TF_MQTT_CONNACK:
        section_fuzz(packet->connack.properties, packet->type);
        break;
    case TF_MQTT_PUBLISH:
        section_fuzz(packet->publish.properties, packet->type);
        break;
    case TF_MQTT_SUBSCRIBE:
        section_fuzz(packet->subscribe.properties, packet->type);
        break;
    case TF_MQTT_UNSUBSCRIBE:
        section_fuzz(packet->unsubscribe.properties, packet->type);
        break;
    case TF_MQTT_SUBACK:
    case TF_MQTT_UNSUBACK:
        section_fuzz(packet->suback.properties, packet->type);
        break;
    case TF_MQTT_DISCONNECT:
        section_fuzz(packet->disconnect.properties, packet->type);
        break;
    case TF_MQTT_AUTH:
        section_fuzz(packet->auth.properties, packet->type);
        break;
    case TF_MQTT_PINGREQ:
    case TF_MQTT_PINGRESP:
        break;
    default:
        section_fuzz(packet->ack.properties, packet->type);
    }
}

/* Walks the filters of a packet, and what is to be known of each. */
static void filters_fuzz(const struct any_packet *packet)
{
    struct tf_mqtt_subscription subscription;
    struct tf_bytes filter, name, rest;
    size_t offset = 0;

    if (packet->type == TF_MQTT_SUBSCRIBE) {
        struct tf_bytes payload = packet->subscribe.payload;
        uint8_t *block = copy(payload);
        struct tf_writer writer = tf_writer_of(block, payload.length);

        while (tf_mqtt_subscription_next(payload, &offset, &subscription)) {
            CHECK(subscription.qos < 3 && subscription.retain_handling < 3);
            tf_mqtt_subscription_write(&writer, &subscription, packet->version);
            if (tf_mqtt_shared_read(subscription.filter, &name, &rest) == TF_OK)
                CHECK(name.length && tf_mqtt_filter_valid(rest) && !subscription.no_local);
        }
        CHECK(offset == payload.length && tf_writer_length(&writer) == offset);
        CHECK(memcmp(block, payload.data, offset) == 0);
        free(block);
    } else if (packet->type == TF_MQTT_UNSUBSCRIBE) {
        while (tf_mqtt_filter_next(packet->unsubscribe.payload, &offset, &filter))
            CHECK(filter.length);
        CHECK(offset == packet->unsubscribe.payload.length);
    }
}

/* True if a packet of this type may be written shorter than it came: 5.0 3.4.2, 3.14.2, 3.15.2. */
static bool may_shorten(const struct any_packet *packet)
{
    return packet->version == TF_MQTT_5 &&
           ((packet->type >= TF_MQTT_PUBACK && packet->type <= TF_MQTT_PUBCOMP) ||
            packet->type == TF_MQTT_DISCONNECT);
}

/* Writes what was read from `whole`, and reads that. */
static void encode_fuzz(const struct any_packet *packet, struct tf_bytes whole)
{
    size_t size = any_packet_size(packet), need;
    uint8_t *block = malloc(size), reason;
    struct tf_writer writer = tf_writer_of(block, size);
    struct tf_mqtt_frame frame;
    struct any_packet again;

    CHECK(block && size);
    any_packet_write(&writer, packet);
    CHECK(!writer.failed && tf_writer_length(&writer) == size);
    CHECK(size == whole.length ? memcmp(block, whole.data, size) == 0
                               : size < whole.length && may_shorten(packet));
    CHECK(tf_mqtt_frame_read(tf_bytes_of(block, size), size, &frame, &need, &reason) == TF_OK);
    memset(&again, 0, sizeof again);
    CHECK(any_packet_read(&frame, packet->version, &again, &reason) == TF_OK);
    if (size < whole.length && packet->type == TF_MQTT_DISCONNECT)
        CHECK(again.disconnect.reason == packet->disconnect.reason &&
              tf_bytes_equal(again.disconnect.properties, packet->disconnect.properties));
    else if (size < whole.length)
        CHECK(again.ack.reason == packet->ack.reason &&
              again.ack.packet_id == packet->ack.packet_id &&
              tf_bytes_equal(again.ack.properties, packet->ack.properties));
    writer = tf_writer_of(block, size - 1);
    any_packet_write(&writer, packet);
    CHECK(writer.failed && tf_writer_length(&writer) == 0);
    free(block);
}

/* A PUBLISH of which only the first `length` bytes have arrived. */
static void partial_fuzz(struct tf_bytes whole, size_t length, unsigned version, bool valid)
{
    uint8_t *block = copy(tf_bytes_of(whole.data, length)), reason;
    struct tf_mqtt_frame frame;
    struct tf_mqtt_publish publish;
    size_t need = 0;
    enum tf_err err =
        tf_mqtt_frame_read(tf_bytes_of(block, length), SIZE_MAX, &frame, &need, &reason);

    CHECK(err == TF_MORE && need > length && need <= whole.length);
    err = tf_mqtt_frame_head_read(tf_bytes_of(block, length), SIZE_MAX, &frame, &need, &reason);
    if (!err && frame.type == TF_MQTT_PUBLISH) {
        CHECK(frame.length == whole.length);
        err = tf_mqtt_publish_head_check(&frame, version, &need, &reason);
        if (err == TF_MORE)
            CHECK(need > frame.body.length && need <= whole.length);
        else if (!err)
            CHECK(!tf_mqtt_publish_read(&frame, version, &publish, &reason) || !valid);
        else
            CHECK(!valid);
    }
    free(block);
}

/* One packet that is all there. */
static void packet_fuzz(const struct tf_mqtt_frame *frame, struct tf_bytes whole, unsigned version)
{
    struct any_packet packet;
    uint8_t reason = 0;

    memset(&packet, 0, sizeof packet);
    enum tf_err err = any_packet_read(frame, version, &packet, &reason);
    CHECK(err == TF_OK || (err == TF_PROTOCOL && reason >= 0x80));
    if (!err) {
        sections_fuzz(&packet);
        filters_fuzz(&packet);
        encode_fuzz(&packet, whole);
    }
    size_t step = whole.length < 512 ? 1 : whole.length / 64;
    for (size_t length = 0; length < whole.length; length += step)
        partial_fuzz(whole, length, version, !err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    for (unsigned version = TF_MQTT_3_1; version <= TF_MQTT_5; version++) {
        struct tf_bytes left = tf_bytes_of(data, length);
        struct tf_mqtt_frame frame;
        size_t need;
        uint8_t reason;

        while (tf_mqtt_frame_read(left, SIZE_MAX, &frame, &need, &reason) == TF_OK) {
            CHECK(frame.length <= left.length);
            packet_fuzz(&frame, tf_bytes_of(left.data, frame.length), version);
            left = tf_bytes_of(left.data + frame.length, left.length - frame.length);
        }
    }

    struct tf_bytes text = tf_bytes_of(data, length);
    struct tf_bytes name, rest;
    CHECK(!tf_mqtt_topic_valid(text) || tf_mqtt_filter_valid(text));
    if (tf_mqtt_shared_read(text, &name, &rest) == TF_OK)
        CHECK(name.length + rest.length + 8 == length);
    return 0;
}
