/*
 * PINGREQ and PINGRESP: two bytes.
 */
#include "codec_test.h"

static void two_bytes_and_no_more(void **state)
{
    (void)state;
    for (unsigned type = TF_MQTT_PINGREQ; type <= TF_MQTT_PINGRESP; type++) {
        struct any_packet packet = {(uint8_t)type, TF_MQTT_3_1_1, {.ack = {0}}};
        const uint8_t good[] = {(uint8_t)(type << 4), 0}, bad[] = {(uint8_t)(type << 4), 1, 0};
        struct tf_mqtt_frame frame = frame_of(tf_bytes_of(good, 2));
        uint8_t reason;

        assert_written(&packet, tf_bytes_of(good, 2));
        assert_int_equal(tf_mqtt_ping_read(&frame, &reason), TF_OK);
        assert_refused(tf_bytes_of(bad, 3), TF_MQTT_3_1_1, 0x81);
        assert_refused(tf_bytes_of(bad, 3), TF_MQTT_5, 0x81);
    }
}

RUN(cmocka_unit_test(two_bytes_and_no_more))
