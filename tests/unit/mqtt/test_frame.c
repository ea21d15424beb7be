/*
 * The fixed header: what is wanted before it is whole, limits, flags.
 */
#include "codec_test.h"

/* What tf_mqtt_frame_read says, with `need` and `reason` where they apply. */
static enum tf_err head(struct tf_bytes in, size_t max, size_t *ret_need, unsigned *ret_reason)
{
    struct tf_mqtt_frame frame, before;
    size_t need = 0;
    uint8_t reason = 0;

    memset(&frame, 0x5a, sizeof frame);
    before = frame;
    enum tf_err err = tf_mqtt_frame_read(in, max, &frame, &need, &reason);
    if (err) {
        assert_memory_equal(&frame, &before, sizeof frame);
        *(err == TF_MORE ? ret_need : &(size_t){0}) = need;
        *(err == TF_PROTOCOL ? ret_reason : &(unsigned){0}) = reason;
    }
    return err;
}

static void incomplete_headers_want_more(void **state)
{
    static const struct {
        struct tf_bytes in;
        size_t need;
    } rows[] = {
        {{NULL, 0}, 2},
        {{(const uint8_t *)"\x30", 1}, 2},
        {{(const uint8_t *)"\x30\x80", 2}, 3},
        {{(const uint8_t *)"\x30\xff\xff", 3}, 4},
        {{(const uint8_t *)"\x30\xff\xff\xff", 4}, 5},
        {{(const uint8_t *)"\x30\x05", 2}, 7},
        {{(const uint8_t *)"\x30\x05\x00\x01", 4}, 7},
        {{(const uint8_t *)"\x30\x80\x01", 3}, 131},
        {{(const uint8_t *)"\x30\xff\xff\xff\x7f", 5}, 268435460},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t need = 0;
        unsigned reason;

        assert_int_equal(head(rows[i].in, SIZE_MAX, &need, &reason), TF_MORE);
        assert_int_equal(need, rows[i].need);
    }
}

static void all_first_bytes_are_judged_alone(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        unsigned type = first >> 4, flags = first & 15, qos = flags >> 1 & 3;
        bool legal = flags == (type == 6 || type == 8 || type == 10 ? 2u : 0u);
        unsigned reason = 0;
        size_t need = 0;

        if (type == 0)
            legal = false;
        if (type == 3)
            legal = qos != 3 && (qos > 0 || !(flags & 8));

        uint8_t byte = (uint8_t)first;
        assert_int_equal(head(tf_bytes_of(&byte, 1), SIZE_MAX, &need, &reason),
                         legal ? TF_MORE : TF_PROTOCOL);
        assert_int_equal(legal ? need : reason, legal ? 2 : 0x81);
    }
}

static void lengths_at_their_edges(void **state)
{
    static const uint32_t lengths[] = {0, 1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t in[5] = {0x30};
        size_t size = 1, need;
        struct tf_mqtt_frame frame;
        uint8_t reason;

        for (uint32_t left = lengths[i];; left >>= 7) {
            in[size++] = (uint8_t)((left & 127) | (left > 127 ? 128 : 0));
            if (left <= 127)
                break;
        }
        assert_int_equal(1 + tf_mqtt_length_size(lengths[i]), size);
        assert_int_equal(
            tf_mqtt_frame_head_read(tf_bytes_of(in, size), SIZE_MAX, &frame, &need, &reason),
            TF_OK);
        assert_int_equal(frame.length, size + lengths[i]);
        assert_int_equal(frame.body.length, 0);

        /* The same number in one byte more (MQTT 5.0 1.5.5). */
        if (size < 5) {
            uint8_t longer[6];
            unsigned found = 0;

            memcpy(longer, in, size);
            longer[size - 1] |= 128;
            longer[size] = 0;
            assert_int_equal(head(tf_bytes_of(longer, size + 1), SIZE_MAX, &need, &found),
                             TF_PROTOCOL);
            assert_int_equal(found, 0x81);
        }
    }
}

static void too_large_is_seen_in_the_header(void **state)
{
    const uint8_t in[] = {0x30, 0x80, 0x01};
    unsigned reason = 0;
    size_t need = 0;

    (void)state;
    assert_int_equal(head(tf_bytes_of(in, 3), 131, &need, &reason), TF_MORE);
    assert_int_equal(head(tf_bytes_of(in, 3), 130, &need, &reason), TF_PROTOCOL);
    assert_int_equal(reason, 0x95);
    assert_int_equal(head(tf_bytes_of(in, 2), 130, &need, &reason), TF_MORE);
    assert_int_equal(head(BYTES(0xc0, 0), 2, &need, &reason), TF_OK);
    assert_int_equal(head(BYTES(0xc0, 0), 1, &need, &reason), TF_PROTOCOL);
}

static void only_the_packet_is_taken(void **state)
{
    struct tf_bytes in = BYTES(0x32, 0x05, 0, 1, 'a', 0, 9, 0xff, 0xff);
    struct tf_mqtt_frame frame;
    size_t need;
    uint8_t reason;

    (void)state;
    assert_int_equal(tf_mqtt_frame_read(in, SIZE_MAX, &frame, &need, &reason), TF_OK);
    assert_int_equal(frame.type, TF_MQTT_PUBLISH);
    assert_int_equal(frame.flags, 2);
    assert_int_equal(frame.length, 7);
    assert_ptr_equal(frame.body.data, in.data + 2);
    assert_int_equal(frame.body.length, 5);

    /* The head alone: what is there of the body, and no more than the body. */
    for (size_t length = 2; length <= in.length; length++) {
        assert_int_equal(
            tf_mqtt_frame_head_read(tf_bytes_of(in.data, length), SIZE_MAX, &frame, &need, &reason),
            TF_OK);
        assert_int_equal(frame.length, 7);
        assert_int_equal(frame.body.length, length < 7 ? length - 2 : 5);
    }
}

RUN(cmocka_unit_test(incomplete_headers_want_more),
    cmocka_unit_test(all_first_bytes_are_judged_alone), cmocka_unit_test(lengths_at_their_edges),
    cmocka_unit_test(too_large_is_seen_in_the_header), cmocka_unit_test(only_the_packet_is_taken))
