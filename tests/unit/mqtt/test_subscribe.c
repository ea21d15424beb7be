/*
 * SUBSCRIBE and UNSUBSCRIBE: every options byte, building and walking a payload.
 */
#include "codec_test.h"

static void every_options_byte(void **state)
{
    (void)state;
    for (unsigned options = 0; options < 256; options++) {
        const uint8_t four[] = {0x82, 6, 0, 1, 0, 1, 'a', (uint8_t)options};
        const uint8_t five[] = {0x82, 7, 0, 1, 0, 0, 1, 'a', (uint8_t)options};
        struct tf_mqtt_frame frame = frame_of(tf_bytes_of(four, sizeof four));
        struct tf_mqtt_subscribe packet;
        struct tf_mqtt_subscription found;
        size_t offset = 0;
        uint8_t reason;

        if (options > 2) { /* MQTT 3.1.1 3.8.3 */
            assert_refused(tf_bytes_of(four, sizeof four), TF_MQTT_3_1_1, 0x81);
        } else {
            assert_int_equal(tf_mqtt_subscribe_read(&frame, TF_MQTT_3_1_1, &packet, &reason),
                             TF_OK);
            assert_true(tf_mqtt_subscription_next(packet.payload, &offset, &found));
            assert_int_equal(found.qos, options);
            assert_false(found.no_local || found.retain_as_published || found.retain_handling);
        }
        if (options & 0xc0) { /* MQTT 5.0 3.8.3.1 */
            assert_refused(tf_bytes_of(five, sizeof five), TF_MQTT_5, 0x81);
        } else if ((options & 3) == 3 || (options & 0x30) == 0x30) {
            assert_refused(tf_bytes_of(five, sizeof five), TF_MQTT_5, 0x82);
        } else {
            frame = frame_of(tf_bytes_of(five, sizeof five));
            offset = 0;
            assert_int_equal(tf_mqtt_subscribe_read(&frame, TF_MQTT_5, &packet, &reason), TF_OK);
            assert_true(tf_mqtt_subscription_next(packet.payload, &offset, &found));
            assert_int_equal(found.qos, options & 3);
            assert_int_equal(found.no_local, options >> 2 & 1);
            assert_int_equal(found.retain_as_published, options >> 3 & 1);
            assert_int_equal(found.retain_handling, options >> 4);
        }
    }
}

static void a_payload_is_built_and_walked(void **state)
{
    const struct tf_mqtt_subscription filters[] = {
        {.filter = BYTES('a', '/', '#'), .qos = 2, .no_local = true},
        {.filter = BYTES('b'), .retain_as_published = true, .retain_handling = 2},
    };
    uint8_t room[64];
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    struct any_packet packet = {TF_MQTT_SUBSCRIBE, TF_MQTT_5, {.subscribe = {.packet_id = 3}}};

    (void)state;
    for (size_t i = 0; i < 2; i++)
        tf_mqtt_subscription_write(&writer, &filters[i], TF_MQTT_5);
    packet.subscribe.payload = tf_bytes_of(room, tf_writer_length(&writer));
    packet.subscribe.properties = BYTES(0x0b, 5);
    assert_written(&packet,
                   BYTES(0x82, 15, 0, 3, 2, 0x0b, 5, 0, 3, 'a', '/', '#', 6, 0, 1, 'b', 0x28));

    struct tf_mqtt_subscription found;
    size_t offset = 0;
    for (size_t i = 0; i < 2; i++) {
        assert_true(tf_mqtt_subscription_next(packet.subscribe.payload, &offset, &found));
        assert_bytes(found.filter, filters[i].filter);
        assert_int_equal(found.qos, filters[i].qos);
        assert_int_equal(found.no_local, filters[i].no_local);
        assert_int_equal(found.retain_as_published, filters[i].retain_as_published);
        assert_int_equal(found.retain_handling, filters[i].retain_handling);
    }
    assert_false(tf_mqtt_subscription_next(packet.subscribe.payload, &offset, &found));

    /* 3.1.1 has the QoS only, and no properties. */
    writer = tf_writer_of(room, sizeof room);
    tf_mqtt_subscription_write(&writer, &filters[0], TF_MQTT_3_1_1);
    packet.version = TF_MQTT_3_1_1;
    packet.subscribe.payload = tf_bytes_of(room, tf_writer_length(&writer));
    assert_written(&packet, BYTES(0x82, 8, 0, 3, 0, 3, 'a', '/', '#', 2));
}

static void an_unsubscribe_is_built_and_walked(void **state)
{
    uint8_t room[64];
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    struct any_packet packet = {TF_MQTT_UNSUBSCRIBE, TF_MQTT_5, {.unsubscribe = {.packet_id = 4}}};
    struct tf_bytes found;
    size_t offset = 0;

    (void)state;
    tf_write_bytes16(&writer, BYTES('a'));
    tf_write_bytes16(&writer, BYTES('+', '/', 'b'));
    packet.unsubscribe.payload = tf_bytes_of(room, tf_writer_length(&writer));
    assert_written(&packet, BYTES(0xa2, 11, 0, 4, 0, 0, 1, 'a', 0, 3, '+', '/', 'b'));
    assert_true(tf_mqtt_filter_next(packet.unsubscribe.payload, &offset, &found));
    assert_text(found, "a");
    assert_true(tf_mqtt_filter_next(packet.unsubscribe.payload, &offset, &found));
    assert_text(found, "+/b");
    assert_false(tf_mqtt_filter_next(packet.unsubscribe.payload, &offset, &found));
    packet.unsubscribe.payload.length = TF_MQTT_LENGTH_MAX - 2;
    assert_not_writable(&packet);
    packet.version = TF_MQTT_3_1_1;
    assert_int_equal(any_packet_size(&packet), TF_MQTT_LENGTH_MAX + 5);
}

static void a_filter_that_does_not_fit_is_not_written(void **state)
{
    const struct tf_mqtt_subscription filter = {.filter = BYTES('a', 'b')};
    const struct tf_mqtt_subscription long_filter = {.filter = too_long()};
    static uint8_t room[70000];

    (void)state;
    for (size_t length = 0; length < 5; length++) {
        struct tf_writer writer = tf_writer_of(room, length);

        tf_mqtt_subscription_write(&writer, &filter, TF_MQTT_5);
        assert_true(writer.failed);
        assert_int_equal(tf_writer_length(&writer), 0);
    }
    struct tf_writer writer = tf_writer_of(room, sizeof room);
    tf_mqtt_subscription_write(&writer, &long_filter, TF_MQTT_5);
    assert_true(writer.failed);
}

/* An unchecked payload is the caller's mistake; the walk still stays within it. */
static void the_walk_stays_within_what_was_never_checked(void **state)
{
    struct tf_mqtt_subscription subscription;
    struct tf_bytes filter;
    size_t offset = 0;

    (void)state;
    assert_false(tf_mqtt_subscription_next(BYTES(0, 1, 'a'), &offset, &subscription));
    assert_false(tf_mqtt_filter_next(BYTES(0, 2, 'a'), &offset, &filter));
    assert_false(tf_mqtt_filter_next(BYTES(0), &offset, &filter));
    assert_false(tf_mqtt_filter_next(NOTHING, &offset, &filter));
    assert_int_equal(offset, 0);
}

static void refused_packets_leave_nothing(void **state)
{
    (void)state;
    assert_refused(BYTES(0x82, 2, 0, 1), TF_MQTT_3_1_1, 0x82);
    assert_refused(BYTES(0xa2, 2, 0, 1), TF_MQTT_3_1_1, 0x82);
    assert_refused(BYTES(0xa2, 3, 0, 1, 0), TF_MQTT_3_1_1, 0x81);
    assert_refused(
        BYTES(0x82, 16, 0, 1, 0, 0, 10, '$', 's', 'h', 'a', 'r', 'e', '/', 'g', '/', 'a', 4),
        TF_MQTT_5, 0x82);
}

RUN(cmocka_unit_test(every_options_byte), cmocka_unit_test(a_payload_is_built_and_walked),
    cmocka_unit_test(an_unsubscribe_is_built_and_walked),
    cmocka_unit_test(a_filter_that_does_not_fit_is_not_written),
    cmocka_unit_test(the_walk_stays_within_what_was_never_checked),
    cmocka_unit_test(refused_packets_leave_nothing))
