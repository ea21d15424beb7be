/*
 * PUBACK, PUBREC, PUBREL, PUBCOMP, and UNSUBACK of 3.1.1: every code, the short forms.
 */
#include "codec_test.h"

static const uint8_t firsts[] = {0x40, 0x50, 0x62, 0x70};

static void every_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof firsts; i++) {
        for (unsigned code = 0; code < 256; code++) {
            const char *allowed =
                i < 2 ? "\x10\x80\x83\x87\x90\x91\x97\x99" : "\x92"; /* MQTT 5.0 3.4.2.1, 3.6.2.1 */
            const uint8_t bytes[] = {firsts[i], 3, 0, 1, (uint8_t)code};
            struct tf_mqtt_frame frame = frame_of(tf_bytes_of(bytes, 5));
            struct tf_mqtt_ack packet;
            uint8_t reason;

            if (code && !strchr(allowed, (char)code)) {
                assert_refused(tf_bytes_of(bytes, 5), TF_MQTT_5, 0x82);
                continue;
            }
            assert_int_equal(tf_mqtt_ack_read(&frame, TF_MQTT_5, &packet, &reason), TF_OK);
            assert_int_equal(packet.type, firsts[i] >> 4);
            assert_int_equal(packet.reason, code);
            assert_int_equal(packet.packet_id, 1);
            assert_int_equal(packet.properties.length, 0);
        }
    }
}

static void the_shortest_form_is_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof firsts; i++) {
        struct any_packet packet = {firsts[i] >> 4, TF_MQTT_5, {.ack = {.packet_id = 0x0102}}};

        packet.ack.type = packet.type;
        assert_written(&packet, BYTES(firsts[i], 2, 1, 2));
        packet.ack.reason = 0x92;
        assert_written(&packet, BYTES(firsts[i], 3, 1, 2, 0x92));
        packet.ack.properties = BYTES(0x1f, 0, 1, 'w');
        assert_written(&packet, BYTES(firsts[i], 8, 1, 2, 0x92, 4, 0x1f, 0, 1, 'w'));
        packet.ack.reason = 0;
        assert_written(&packet, BYTES(firsts[i], 8, 1, 2, 0, 4, 0x1f, 0, 1, 'w'));
        packet.ack.properties.length = TF_MQTT_LENGTH_MAX;
        assert_not_writable(&packet);
        packet.version = TF_MQTT_3_1_1;
        assert_written(&packet, BYTES(firsts[i], 2, 1, 2));
    }
}

static void unsuback_of_3_1_1_is_one(void **state)
{
    struct tf_mqtt_frame frame = frame_of(BYTES(0xb0, 2, 0, 7));
    struct tf_mqtt_ack packet;
    uint8_t reason = 0;

    (void)state;
    assert_int_equal(tf_mqtt_ack_read(&frame, TF_MQTT_3_1_1, &packet, &reason), TF_OK);
    assert_int_equal(packet.type, TF_MQTT_UNSUBACK);
    assert_int_equal(packet.packet_id, 7);
    assert_int_equal(tf_mqtt_ack_read(&frame, TF_MQTT_5, &packet, &reason), TF_PROTOCOL);
    assert_int_equal(reason, 0x82);
    frame.type = TF_MQTT_PUBLISH;
    assert_int_equal(tf_mqtt_ack_read(&frame, TF_MQTT_3_1_1, &packet, &reason), TF_PROTOCOL);

    struct tf_writer writer;
    uint8_t room[4];
    writer = tf_writer_of(room, sizeof room);
    tf_mqtt_ack_write(&writer, &packet, TF_MQTT_3_1_1);
    assert_bytes(tf_bytes_of(room, tf_writer_length(&writer)), BYTES(0xb0, 2, 0, 7));
}

RUN(cmocka_unit_test(every_code), cmocka_unit_test(the_shortest_form_is_written),
    cmocka_unit_test(unsuback_of_3_1_1_is_one))
