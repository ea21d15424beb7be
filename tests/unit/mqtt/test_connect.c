/*
 * CONNECT: what a failure leaves behind, and the writer's choices. What is refused, the vectors
 * say.
 */
#include "codec_test.h"

/* A packet in its own version. */
static struct any_packet packet_of(struct tf_mqtt_connect connect)
{
    return (struct any_packet){TF_MQTT_CONNECT, connect.version, {.connect = connect}};
}

static void the_level_is_known_when_the_rest_is_refused(void **state)
{
    static const struct {
        struct tf_bytes bytes;
        unsigned version, reason;
    } rows[] = {
        {{(const uint8_t *)"\x10\0", 2}, 0, 0x81},
        {{(const uint8_t *)"\x10\6\0\4MQTT", 8}, 0, 0x81},
        {{(const uint8_t *)"\x10\7\0\4MQTT\6", 9}, 6, 0x84},
        {{(const uint8_t *)"\x10\7\0\4MQTX\5", 9}, 5, 0x84},
        {{(const uint8_t *)"\x10\7\0\4MQTT\3", 9}, 3, 0x84},
        {{(const uint8_t *)"\x10\7\0\4MQTT\xff", 9}, 255, 0x84},
        {{(const uint8_t *)"\x10\7\0\4MQTT\5", 9}, 5, 0x81},
        {{(const uint8_t *)"\x10\x0d\0\4MQTT\4\3\0\0\0\1a", 15}, 4, 0x81},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tf_mqtt_frame frame = frame_of(rows[i].bytes);
        struct tf_mqtt_connect packet = {.version = 77, .keep_alive_s = 99};
        uint8_t reason = 0;

        assert_int_equal(tf_mqtt_connect_read(&frame, &packet, &reason), TF_PROTOCOL);
        assert_int_equal(reason, rows[i].reason);
        assert_int_equal(packet.version, rows[i].version);
        assert_int_equal(packet.keep_alive_s, 99);
        assert_refused(rows[i].bytes, 4, rows[i].reason);
    }
}

static void views_borrow_the_frame(void **state)
{
    struct tf_bytes bytes =
        BYTES(0x10, 0x10, 0, 4, 'M', 'Q', 'T', 'T', 4, 0x80, 0, 9, 0, 1, 'a', 0, 1, 'u');
    struct tf_mqtt_frame frame = frame_of(bytes);
    struct tf_mqtt_connect packet;
    uint8_t reason;

    (void)state;
    assert_int_equal(tf_mqtt_connect_read(&frame, &packet, &reason), TF_OK);
    assert_ptr_equal(packet.client_id.data, bytes.data + 14);
    assert_ptr_equal(packet.user_name.data, bytes.data + 17);
    assert_int_equal(packet.keep_alive_s, 9);
    assert_false(packet.has_will);
    assert_int_equal(packet.will.topic.length, 0);
}

static void what_has_no_flag_is_not_written(void **state)
{
    struct any_packet packet = packet_of((struct tf_mqtt_connect){
        .version = TF_MQTT_3_1_1,
        .client_id = BYTES('a'),
        .will = {.topic = BYTES('w'), .payload = BYTES('x'), .qos = 2, .retain = true},
        .user_name = BYTES('u'),
        .password = BYTES('p'),
        .properties = BYTES(0x21, 0, 1),
    });

    (void)state;
    assert_written(&packet, BYTES(0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 0, 0, 1, 'a'));
    packet.connect.version = TF_MQTT_3_1;
    assert_written(&packet,
                   BYTES(0x10, 15, 0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 3, 0, 0, 0, 0, 1, 'a'));
    packet.connect.version = TF_MQTT_5;
    assert_written(&packet,
                   BYTES(0x10, 17, 0, 4, 'M', 'Q', 'T', 'T', 5, 0, 0, 0, 3, 0x21, 0, 1, 0, 1, 'a'));
    packet.connect.has_password = true;
    assert_written(&packet, BYTES(0x10, 20, 0, 4, 'M', 'Q', 'T', 'T', 5, 0x40, 0, 0, 3, 0x21, 0, 1,
                                  0, 1, 'a', 0, 1, 'p'));
}

static void what_is_too_long_is_not_written(void **state)
{
    const struct tf_mqtt_connect good = {
        .version = TF_MQTT_5, .has_will = true, .has_user_name = true, .has_password = true};
    struct any_packet packet;

    (void)state;
    packet = packet_of(good);
    assert_int_equal(any_packet_size(&packet), 2 + 11 + 2 + 5 + 2 + 2);
    packet.connect.client_id = too_long();
    assert_not_writable(&packet);
    packet = packet_of(good);
    packet.connect.will.topic = too_long();
    assert_not_writable(&packet);
    packet = packet_of(good);
    packet.connect.will.payload = too_long();
    assert_not_writable(&packet);
    packet = packet_of(good);
    packet.connect.user_name = too_long();
    assert_not_writable(&packet);
    packet = packet_of(good);
    packet.connect.password = too_long();
    assert_not_writable(&packet);
    packet = packet_of(good);
    packet.connect.properties = tf_bytes_of("", TF_MQTT_LENGTH_MAX);
    assert_not_writable(&packet);
}

RUN(cmocka_unit_test(the_level_is_known_when_the_rest_is_refused),
    cmocka_unit_test(views_borrow_the_frame), cmocka_unit_test(what_has_no_flag_is_not_written),
    cmocka_unit_test(what_is_too_long_is_not_written))
