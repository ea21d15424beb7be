/*
 * Names of packet types and reason codes. Which code may stand where, the packets' tests say.
 */
#include "codec_test.h"

static void types(void **state)
{
    (void)state;
    assert_string_equal(tf_mqtt_type_name(TF_MQTT_CONNECT), "CONNECT");
    assert_string_equal(tf_mqtt_type_name(TF_MQTT_PUBLISH), "PUBLISH");
    assert_string_equal(tf_mqtt_type_name(TF_MQTT_SUBSCRIBE), "SUBSCRIBE");
    assert_string_equal(tf_mqtt_type_name(TF_MQTT_UNSUBSCRIBE), "UNSUBSCRIBE");
    assert_string_equal(tf_mqtt_type_name(TF_MQTT_AUTH), "AUTH");
    assert_string_equal(tf_mqtt_type_name(0), "RESERVED");
    assert_string_equal(tf_mqtt_type_name(16), "RESERVED");
    for (unsigned a = 1; a < 16; a++) {
        for (unsigned b = 1; b < a; b++)
            assert_string_not_equal(tf_mqtt_type_name(a), tf_mqtt_type_name(b));
    }
}

static void reasons(void **state)
{
    static const char low[] = "\x00\x01\x02\x04\x10\x11\x18\x19";

    (void)state;
    assert_string_equal(tf_mqtt_reason_name(TF_MQTT_SUCCESS), "Success");
    assert_string_equal(tf_mqtt_reason_name(TF_MQTT_REAUTHENTICATE), "Re-authenticate");
    assert_string_equal(tf_mqtt_reason_name(TF_MQTT_UNSPECIFIED_ERROR), "Unspecified error");
    assert_string_equal(tf_mqtt_reason_name(TF_MQTT_MALFORMED_PACKET), "Malformed Packet");
    assert_string_equal(tf_mqtt_reason_name(TF_MQTT_SESSION_TAKEN_OVER), "Session taken over");
    assert_string_equal(tf_mqtt_reason_name(TF_MQTT_TOPIC_NAME_INVALID), "Topic Name invalid");
    assert_string_equal(tf_mqtt_reason_name(TF_MQTT_PACKET_TOO_LARGE), "Packet too large");
    assert_string_equal(tf_mqtt_reason_name(TF_MQTT_WILDCARDS_NOT_SUPPORTED),
                        "Wildcard Subscriptions not supported");
    for (unsigned code = 0; code < 300; code++) {
        bool known = code < 0x80 ? memchr(low, (int)code, sizeof low - 1) != NULL : code <= 0xa2;

        assert_int_equal(strcmp(tf_mqtt_reason_name(code), "Unknown") != 0, known);
    }
}

RUN(cmocka_unit_test(types), cmocka_unit_test(reasons))
