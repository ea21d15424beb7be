/*
 * What the codec's unit tests share. A header, because it must come before and with cmocka's.
 */
#ifndef TF_TEST_CODEC_TEST_H
#define TF_TEST_CODEC_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "any_packet.h"

/* A view of the bytes listed, which live as long as the innermost block: not behind a bare `if`. */
#define BYTES(...) \
    tf_bytes_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#define NOTHING ((struct tf_bytes){NULL, 0})

/* The frame that fills `bytes`. */
static inline struct tf_mqtt_frame frame_of(struct tf_bytes bytes)
{
    struct tf_mqtt_frame frame;
    size_t need;
    uint8_t reason = 0;

    assert_int_equal(tf_mqtt_frame_read(bytes, SIZE_MAX, &frame, &need, &reason), TF_OK);
    assert_int_equal(frame.length, bytes.length);
    return frame;
}

/* The two views hold the same bytes. */
static inline void assert_bytes(struct tf_bytes found, struct tf_bytes expected)
{
    assert_int_equal(found.length, expected.length);
    if (expected.length)
        assert_memory_equal(found.data, expected.data, expected.length);
}

/* The view holds this text. */
static inline void assert_text(struct tf_bytes found, const char *expected)
{
    assert_bytes(found, tf_bytes_str(expected));
}

/* The packet is written as `expected`, its size foretold, and into no less room. */
static inline void assert_written(const struct any_packet *packet, struct tf_bytes expected)
{
    uint8_t room[512];
    struct tf_writer writer = tf_writer_of(room, sizeof room);

    any_packet_write(&writer, packet);
    assert_false(writer.failed);
    assert_bytes(tf_bytes_of(room, tf_writer_length(&writer)), expected);
    assert_int_equal(any_packet_size(packet), expected.length);
    writer = tf_writer_of(room, expected.length - 1);
    any_packet_write(&writer, packet);
    assert_true(writer.failed);
    assert_int_equal(tf_writer_length(&writer), 0);
}

/* The packet cannot be written, however much room there is. */
static inline void assert_not_writable(const struct any_packet *packet)
{
    static uint8_t room[200000];
    struct tf_writer writer = tf_writer_of(room, sizeof room);

    assert_int_equal(any_packet_size(packet), 0);
    any_packet_write(&writer, packet);
    assert_true(writer.failed);
    assert_int_equal(tf_writer_length(&writer), 0);
}

/* The bytes are refused with `reason`, and nothing but a CONNECT's version has changed. */
static inline void assert_refused(struct tf_bytes bytes, unsigned version, unsigned reason)
{
    struct tf_mqtt_frame frame = frame_of(bytes);
    struct any_packet packet, before;
    uint8_t found = 0;

    memset(&packet, 0x5a, sizeof packet);
    memset(&before, 0x5a, sizeof before);
    assert_int_equal(any_packet_read(&frame, version, &packet, &found), TF_PROTOCOL);
    assert_int_equal(found, reason);
    before.type = packet.type;
    before.version = packet.version;
    if (packet.type == TF_MQTT_CONNECT)
        before.connect.version = packet.connect.version;
    assert_memory_equal(&packet, &before, sizeof packet);
}

/* A view as long as no string may be. */
static inline struct tf_bytes too_long(void)
{
    static const uint8_t many[65536];

    return tf_bytes_of(many, sizeof many);
}

/* Runs the tests of one file. */
#define RUN(...)                                          \
    int main(void)                                        \
    {                                                     \
        const struct CMUnitTest tests[] = {__VA_ARGS__};  \
        return cmocka_run_group_tests(tests, NULL, NULL); \
    }

#endif
