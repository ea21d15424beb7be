/*
 * DISCONNECT: every code, the short forms.
 */
#include "codec_test.h"

static void every_code(void **state)
{
    static const char allowed[] = "\x00\x04\x80\x81\x82\x83\x87\x89\x8b\x8c\x8d\x8e\x8f\x90\x93\x94"
                                  "\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f\xa0\xa1\xa2";

    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        const uint8_t bytes[] = {0xe0, 1, (uint8_t)code};
        struct tf_mqtt_frame frame = frame_of(tf_bytes_of(bytes, 3));
        struct tf_mqtt_disconnect packet;
        uint8_t reason;

        if (memchr(allowed, (int)code, sizeof allowed - 1)) {
            assert_int_equal(tf_mqtt_disconnect_read(&frame, TF_MQTT_5, &packet, &reason), TF_OK);
            assert_int_equal(packet.reason, code);
        } else {
            assert_refused(tf_bytes_of(bytes, 3), TF_MQTT_5, 0x82);
        }
        assert_refused(tf_bytes_of(bytes, 3), TF_MQTT_3_1_1, 0x81);
    }
}

static void the_shortest_form_is_written(void **state)
{
    struct any_packet packet = {TF_MQTT_DISCONNECT, TF_MQTT_5, {.disconnect = {.reason = 0}}};

    (void)state;
    assert_written(&packet, BYTES(0xe0, 0));
    packet.disconnect.reason = 0x8e;
    assert_written(&packet, BYTES(0xe0, 1, 0x8e));
    packet.disconnect.properties = BYTES(0x1f, 0, 1, 'w');
    assert_written(&packet, BYTES(0xe0, 6, 0x8e, 4, 0x1f, 0, 1, 'w'));
    packet.disconnect.reason = 0;
    assert_written(&packet, BYTES(0xe0, 6, 0, 4, 0x1f, 0, 1, 'w'));
    packet.version = TF_MQTT_3_1_1;
    assert_written(&packet, BYTES(0xe0, 0));
    packet.version = TF_MQTT_5;
    packet.disconnect.properties.length = TF_MQTT_LENGTH_MAX;
    assert_not_writable(&packet);
}

RUN(cmocka_unit_test(every_code), cmocka_unit_test(the_shortest_form_is_written))
