/*
 * SUBACK and UNSUBACK: every code in either version.
 */
#include "codec_test.h"

static void every_code(void **state)
{
    static const char *const five[] = {"\x01\x02\x80\x83\x87\x8f\x91\x97\x9e\xa1\xa2",
                                       "\x11\x80\x83\x87\x8f\x91"};

    (void)state;
    for (unsigned type = TF_MQTT_SUBACK; type <= TF_MQTT_UNSUBACK; type += 2) {
        for (unsigned code = 0; code < 256; code++) {
            const uint8_t bytes[] = {(uint8_t)(type << 4), 5, 0, 1, 0, 0, (uint8_t)code};
            struct tf_mqtt_frame frame = frame_of(tf_bytes_of(bytes, 7));
            struct tf_mqtt_suback packet;
            uint8_t reason;

            if (code && !strchr(five[type == TF_MQTT_UNSUBACK], (char)code)) {
                assert_refused(tf_bytes_of(bytes, 7), TF_MQTT_5, 0x82);
                continue;
            }
            assert_int_equal(tf_mqtt_suback_read(&frame, TF_MQTT_5, &packet, &reason), TF_OK);
            assert_int_equal(packet.type, type);
            assert_bytes(packet.reasons, BYTES(0, (uint8_t)code));
        }
    }
    for (unsigned code = 0; code < 256; code++) {
        const uint8_t bytes[] = {0x90, 3, 0, 1, (uint8_t)code};
        struct tf_mqtt_frame frame = frame_of(tf_bytes_of(bytes, 5));
        struct tf_mqtt_suback packet;
        uint8_t reason;

        if (code > 2 && code != 0x80)
            assert_refused(tf_bytes_of(bytes, 5), TF_MQTT_3_1_1, 0x82);
        else
            assert_int_equal(tf_mqtt_suback_read(&frame, TF_MQTT_3_1_1, &packet, &reason), TF_OK);
    }
}

static void written_by_version(void **state)
{
    struct any_packet packet = {TF_MQTT_SUBACK, TF_MQTT_5, {.suback = {.packet_id = 5}}};

    (void)state;
    packet.suback.type = TF_MQTT_SUBACK;
    packet.suback.reasons = BYTES(1, 0x80);
    packet.suback.properties = BYTES(0x1f, 0, 0);
    assert_written(&packet, BYTES(0x90, 8, 0, 5, 3, 0x1f, 0, 0, 1, 0x80));
    packet.version = TF_MQTT_3_1_1;
    assert_written(&packet, BYTES(0x90, 4, 0, 5, 1, 0x80));
    packet.type = packet.suback.type = TF_MQTT_UNSUBACK;
    assert_written(&packet, BYTES(0xb0, 2, 0, 5));
    packet.version = TF_MQTT_5;
    assert_written(&packet, BYTES(0xb0, 8, 0, 5, 3, 0x1f, 0, 0, 1, 0x80));
    packet.suback.reasons.length = TF_MQTT_LENGTH_MAX;
    assert_not_writable(&packet);
}

RUN(cmocka_unit_test(every_code), cmocka_unit_test(written_by_version))
