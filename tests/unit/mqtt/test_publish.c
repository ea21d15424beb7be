/*
 * PUBLISH: the limits of its fields, and a payload that comes in runs.
 */
#include "codec_test.h"

static void views_borrow_the_frame(void **state)
{
    struct tf_bytes bytes = BYTES(0x3b, 12, 0, 3, 'a', '/', 'b', 1, 2, 2, 1, 1, 'h', 'i');
    struct tf_mqtt_frame frame = frame_of(bytes);
    struct tf_mqtt_publish packet;
    uint8_t reason;

    (void)state;
    assert_int_equal(tf_mqtt_publish_read(&frame, TF_MQTT_5, &packet, &reason), TF_OK);
    assert_true(packet.dup && packet.retain);
    assert_int_equal(packet.qos, 1);
    assert_int_equal(packet.packet_id, 0x0102);
    assert_ptr_equal(packet.topic.data, bytes.data + 4);
    assert_ptr_equal(packet.properties.data, bytes.data + 10);
    assert_ptr_equal(packet.payload.data, bytes.data + 12);
    assert_int_equal(packet.payload.length, 2);

    assert_int_equal(tf_mqtt_publish_read(&frame, TF_MQTT_3_1_1, &packet, &reason), TF_OK);
    assert_int_equal(packet.properties.length, 0);
    assert_int_equal(packet.payload.length, 5);
}

static void topics_at_their_longest(void **state)
{
    uint8_t *bytes = malloc(65535 + 7);

    (void)state;
    memset(bytes, 't', 65535 + 7);
    memcpy(bytes, "\x30\x81\x80\x04\xff\xff", 6);
    struct tf_mqtt_frame frame = frame_of(tf_bytes_of(bytes, 65535 + 6));
    struct tf_mqtt_publish packet;
    uint8_t reason;
    assert_int_equal(tf_mqtt_publish_read(&frame, TF_MQTT_3_1_1, &packet, &reason), TF_OK);
    assert_int_equal(packet.topic.length, 65535);
    assert_int_equal(packet.payload.length, 0);
    bytes[65540] = '#';
    assert_refused(tf_bytes_of(bytes, 65535 + 6), TF_MQTT_3_1_1, 0x90);
    free(bytes);
}

static void refused_packets_leave_nothing(void **state)
{
    (void)state;
    assert_refused(BYTES(0x32, 5, 0, 1, 'a', 0, 0), TF_MQTT_3_1_1, 0x82);
    assert_refused(BYTES(0x30, 3, 0, 1, '+'), TF_MQTT_3_1_1, 0x90);
    assert_refused(BYTES(0x30, 3, 0, 1, 0xff), TF_MQTT_3_1_1, 0x81);
    assert_refused(BYTES(0x30, 3, 0, 0, 0), TF_MQTT_5, 0x82);
    assert_refused(BYTES(0x30, 7, 0, 1, 'a', 3, 0x23, 0, 0), TF_MQTT_5, 0x94);
}

/* A head of `head` body bytes: with any fewer, more are wanted, and never more than there will be.
 */
static void runs_of(struct tf_bytes whole, unsigned version, size_t head)
{
    size_t fixed = whole.length - frame_of(whole).body.length;

    for (size_t length = fixed; length <= whole.length; length++) {
        uint8_t *part = malloc(length), reason;
        struct tf_mqtt_frame frame;
        struct tf_mqtt_publish packet;
        size_t need = 0;

        memcpy(part, whole.data, length);
        assert_int_equal(
            tf_mqtt_frame_head_read(tf_bytes_of(part, length), SIZE_MAX, &frame, &need, &reason),
            TF_OK);
        enum tf_err err = tf_mqtt_publish_head_check(&frame, version, &need, &reason);
        if (length - fixed < head) {
            assert_int_equal(err, TF_MORE);
            assert_true(need > length - fixed && need <= head);
        } else {
            assert_int_equal(err, TF_OK);
            assert_int_equal(tf_mqtt_publish_read(&frame, version, &packet, &reason), TF_OK);
            assert_int_equal(packet.payload.length, length - fixed - head);
        }
        free(part);
    }
}

static void payloads_come_in_runs(void **state)
{
    (void)state;
    runs_of(BYTES(0x30, 6, 0, 2, 'a', 'b', 'x', 'y'), TF_MQTT_3_1_1, 4);
    runs_of(BYTES(0x30, 4, 0, 2, 'a', 'b'), TF_MQTT_3_1_1, 4);
    runs_of(BYTES(0x32, 8, 0, 2, 'a', 'b', 0, 1, 'x', 'y'), TF_MQTT_3_1_1, 6);
    runs_of(BYTES(0x30, 5, 0, 1, 'a', 0, 'x'), TF_MQTT_5, 4);
    runs_of(BYTES(0x34, 12, 0, 1, 'a', 0, 1, 3, 0x23, 0, 1, 'x', 'y', 'z'), TF_MQTT_5, 9);

    /* Properties whose length takes two bytes. */
    uint8_t bytes[300] = {0x30, 0xa9, 0x02, 0, 1, 'a', 0x83, 0x01, 0x03, 0, 0x80};
    memset(bytes + 11, 'c', sizeof bytes - 11);
    runs_of(tf_bytes_of(bytes, 300), TF_MQTT_5, 3 + 2 + 131);
}

static void heads_that_pass_the_packet_are_refused(void **state)
{
    static const struct {
        struct tf_bytes bytes;
        unsigned version;
    } rows[] = {
        {{(const uint8_t *)"\x30\1", 2}, 4}, /* not even a topic's length fits */
        {{(const uint8_t *)"\x30\4\0\3", 4}, 4},
        {{(const uint8_t *)"\x32\4\0\1", 4}, 4},
        {{(const uint8_t *)"\x30\3\0\1a", 5}, 5},
        {{(const uint8_t *)"\x30\6\0\1a\3", 6}, 5},
        {{(const uint8_t *)"\x30\x88\x01\0\1a\x84\x01", 8}, 5},
        {{(const uint8_t *)"\x30\x7f\0\1a\x80\0", 7}, 5},
        {{(const uint8_t *)"\x30\x7f\0\1a\x80\x80\x80\x80", 9}, 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tf_mqtt_frame frame;
        size_t need = 0;
        uint8_t reason = 0;

        assert_int_equal(tf_mqtt_frame_head_read(rows[i].bytes, SIZE_MAX, &frame, &need, &reason),
                         TF_OK);
        assert_int_equal(tf_mqtt_publish_head_check(&frame, rows[i].version, &need, &reason),
                         TF_PROTOCOL);
        assert_int_equal(reason, 0x81);
    }
}

/*
 * Heads that fill the packet to its last byte, and by one byte more, at each length of the fixed
 * header: the frame tells how long the body is to be.
 */
static void heads_know_how_long_the_packet_is(void **state)
{
    static const uint32_t lengths[] = {127,     128,     16383,     16384,
                                       2097151, 2097152, 268435454, 268435455};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (uint32_t more = 0; more < 2; more++) {
            uint8_t body[7] = {0, 1, 'a'}, reason = 0;
            struct tf_mqtt_frame frame = {.type = TF_MQTT_PUBLISH, .body = {body, 3}};
            /* The length of the section takes as many bytes as the packet's, or one less. */
            uint32_t size = (uint32_t)tf_mqtt_length_size(lengths[i] - 3);
            uint32_t section = lengths[i] - 3 - size + more;
            size_t need = 0;

            if (tf_mqtt_length_size(section) != size)
                section = lengths[i] - 3 - --size + more;
            if (tf_mqtt_length_size(section) != size)
                continue; /* no section fills it */
            for (uint32_t left = section; frame.body.length < 3 + size; left >>= 7)
                body[frame.body.length++] = (uint8_t)((left & 127) | (left > 127 ? 128 : 0));
            frame.length = 1 + tf_mqtt_length_size(lengths[i]) + lengths[i];
            assert_int_equal(tf_mqtt_publish_head_check(&frame, TF_MQTT_5, &need, &reason),
                             more ? TF_PROTOCOL : TF_MORE);
            if (more)
                assert_int_equal(reason, 0x81);
            else
                assert_int_equal(need, lengths[i]);
        }
    }
}

static void written_by_version_and_qos(void **state)
{
    struct any_packet packet = {TF_MQTT_PUBLISH, TF_MQTT_5, {.publish = {.packet_id = 9}}};

    (void)state;
    packet.publish.topic = BYTES('a');
    packet.publish.payload = BYTES('x', 'y');
    packet.publish.properties = BYTES(0x01, 1);
    assert_written(&packet, BYTES(0x30, 8, 0, 1, 'a', 2, 1, 1, 'x', 'y'));
    packet.version = TF_MQTT_3_1_1;
    assert_written(&packet, BYTES(0x30, 5, 0, 1, 'a', 'x', 'y'));
    packet.publish.qos = 2;
    packet.publish.dup = packet.publish.retain = true;
    assert_written(&packet, BYTES(0x3d, 7, 0, 1, 'a', 0, 9, 'x', 'y'));
    packet.publish.topic = too_long();
    assert_not_writable(&packet);
}

static void a_head_is_the_packet_without_its_payload(void **state)
{
    uint8_t room[16];
    /* Nobody may look at the payload: there is none at this address. */
    struct tf_mqtt_publish packet = {.qos = 1,
                                     .packet_id = 2,
                                     .topic = BYTES('a'),
                                     .payload = tf_bytes_of(room, TF_MQTT_LENGTH_MAX - 6)};
    struct tf_writer writer = tf_writer_of(room, sizeof room);

    (void)state;
    tf_mqtt_publish_head_write(&writer, &packet, TF_MQTT_5);
    assert_false(writer.failed);
    assert_bytes(tf_bytes_of(room, tf_writer_length(&writer)),
                 BYTES(0x32, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'a', 0, 2, 0));
    assert_int_equal(tf_mqtt_publish_size(&packet, TF_MQTT_5), TF_MQTT_LENGTH_MAX + 5);

    writer = tf_writer_of(room, 10);
    tf_mqtt_publish_head_write(&writer, &packet, TF_MQTT_5);
    assert_true(writer.failed);
    packet.payload.length++;
    writer = tf_writer_of(room, sizeof room);
    tf_mqtt_publish_head_write(&writer, &packet, TF_MQTT_5);
    assert_true(writer.failed);
    packet.payload.length = SIZE_MAX;
    assert_int_equal(tf_mqtt_publish_size(&packet, TF_MQTT_5), 0);
}

RUN(cmocka_unit_test(views_borrow_the_frame), cmocka_unit_test(topics_at_their_longest),
    cmocka_unit_test(refused_packets_leave_nothing), cmocka_unit_test(payloads_come_in_runs),
    cmocka_unit_test(heads_that_pass_the_packet_are_refused),
    cmocka_unit_test(heads_know_how_long_the_packet_is),
    cmocka_unit_test(written_by_version_and_qos),
    cmocka_unit_test(a_head_is_the_packet_without_its_payload))
