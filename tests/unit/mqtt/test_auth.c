/*
 * AUTH: its three codes, the method that it needs, the empty form.
 */
#include "codec_test.h"

static void every_code(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        const uint8_t bytes[] = {0xf0, 6, (uint8_t)code, 4, 0x15, 0, 1, 'm'};
        const uint8_t bare[] = {0xf0, 2, (uint8_t)code, 0};
        struct tf_mqtt_frame frame = frame_of(tf_bytes_of(bytes, 8));
        struct tf_mqtt_auth packet;
        uint8_t reason;

        if (code == 0 || code == 0x18 || code == 0x19) {
            assert_int_equal(tf_mqtt_auth_read(&frame, &packet, &reason), TF_OK);
            assert_int_equal(packet.reason, code);
            assert_int_equal(packet.properties.length, 4);
        } else {
            assert_refused(tf_bytes_of(bytes, 8), TF_MQTT_5, 0x82);
        }
        assert_refused(tf_bytes_of(bare, 4), TF_MQTT_5, 0x82);
        assert_refused(tf_bytes_of(bytes, 8), TF_MQTT_3_1_1, 0x81);
    }
}

static void the_shortest_form_is_written(void **state)
{
    struct any_packet packet = {TF_MQTT_AUTH, TF_MQTT_5, {.auth = {.reason = 0}}};

    (void)state;
    assert_written(&packet, BYTES(0xf0, 0));
    packet.auth.properties = BYTES(0x15, 0, 1, 'm');
    assert_written(&packet, BYTES(0xf0, 6, 0, 4, 0x15, 0, 1, 'm'));
    packet.auth.reason = 0x18;
    assert_written(&packet, BYTES(0xf0, 6, 0x18, 4, 0x15, 0, 1, 'm'));
    packet.auth.properties.length = TF_MQTT_LENGTH_MAX;
    assert_not_writable(&packet);
}

RUN(cmocka_unit_test(every_code), cmocka_unit_test(the_shortest_form_is_written))
