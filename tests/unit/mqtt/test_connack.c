/*
 * CONNACK: every code in either version, flags, the writer.
 */
#include "codec_test.h"

static void every_code(void **state)
{
    static const char allowed[] = "\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8c\x90\x95\x97"
                                  "\x99\x9a\x9b\x9c\x9d\x9f";

    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        const uint8_t five[] = {0x20, 3, 0, (uint8_t)code, 0}, four[] = {0x20, 2, 0, (uint8_t)code};
        const uint8_t present[] = {0x20, 3, 1, (uint8_t)code, 0};
        struct tf_mqtt_frame frame = frame_of(tf_bytes_of(five, 5));
        struct tf_mqtt_connack packet;
        uint8_t reason;

        if (memchr(allowed, (int)code, sizeof allowed - 1)) {
            assert_int_equal(tf_mqtt_connack_read(&frame, TF_MQTT_5, &packet, &reason), TF_OK);
            assert_int_equal(packet.reason, code);
            assert_false(packet.session_present);
        } else {
            assert_refused(tf_bytes_of(five, 5), TF_MQTT_5, 0x82);
        }
        if (code) /* MQTT 5.0 3.2.2.1.1 */
            assert_refused(tf_bytes_of(present, 5), TF_MQTT_5, 0x82);
        frame = frame_of(tf_bytes_of(four, 4));
        if (code < 6)
            assert_int_equal(tf_mqtt_connack_read(&frame, TF_MQTT_3_1_1, &packet, &reason), TF_OK);
        else
            assert_refused(tf_bytes_of(four, 4), TF_MQTT_3_1_1, 0x82);
    }
}

static void reserved_flags_are_refused(void **state)
{
    (void)state;
    for (unsigned flags = 2; flags < 256; flags++) {
        const uint8_t bytes[] = {0x20, 2, (uint8_t)flags, 0};

        assert_refused(tf_bytes_of(bytes, 4), TF_MQTT_3_1_1, 0x81);
    }
}

static void written_by_version(void **state)
{
    struct any_packet packet = {TF_MQTT_CONNACK, TF_MQTT_5, {.connack = {.session_present = true}}};

    (void)state;
    packet.connack.properties = BYTES(0x24, 1);
    assert_written(&packet, BYTES(0x20, 5, 1, 0, 2, 0x24, 1));
    packet.version = TF_MQTT_3_1_1;
    assert_written(&packet, BYTES(0x20, 2, 1, 0));
    packet.connack.session_present = false;
    packet.connack.reason = 5;
    assert_written(&packet, BYTES(0x20, 2, 0, 5));
    packet.version = TF_MQTT_5;
    packet.connack.properties = tf_bytes_of("", TF_MQTT_LENGTH_MAX - 5);
    assert_not_writable(&packet);
    packet.connack.properties = tf_bytes_of("", TF_MQTT_LENGTH_MAX - 6);
    assert_int_equal(any_packet_size(&packet), TF_MQTT_LENGTH_MAX + 5);
}

RUN(cmocka_unit_test(every_code), cmocka_unit_test(reserved_flags_are_refused),
    cmocka_unit_test(written_by_version))
