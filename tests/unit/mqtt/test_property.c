/*
 * Properties: every identifier in every packet, absent, below, at and above its range, twice, cut.
 * The table is written once more here, from the standard (MQTT 5.0 2.2.2.2), in another form.
 */
#include "codec_test.h"

#include <time.h>

/*
 * Kinds: b byte, 2, 4, v variable byte integer, s string, d binary data, p pair. Packets: w will,
 * C CONNECT, c CONNACK, P PUBLISH, a the four acknowledgements of one, S SUBSCRIBE, s SUBACK,
 * U UNSUBSCRIBE, u UNSUBACK, D DISCONNECT, A AUTH; a + behind: may be repeated there.
 */
static const struct row {
    unsigned id;
    char kind;
    uint32_t min, max;
    const char *packets;
} rows[] = {
    {0x01, 'b', 0, 1, "wP"},
    {0x02, '4', 0, UINT32_MAX, "wP"},
    {0x03, 's', 0, 0, "wP"},
    {0x08, 's', 0, 0, "wP"},
    {0x09, 'd', 0, 0, "wP"},
    {0x0b, 'v', 1, 268435455, "P+S"},
    {0x11, '4', 0, UINT32_MAX, "CcD"},
    {0x12, 's', 0, 0, "c"},
    {0x13, '2', 0, 65535, "c"},
    {0x15, 's', 0, 0, "CcA"},
    {0x16, 'd', 0, 0, "CcA"},
    {0x17, 'b', 0, 1, "C"},
    {0x18, '4', 0, UINT32_MAX, "w"},
    {0x19, 'b', 0, 1, "C"},
    {0x1a, 's', 0, 0, "c"},
    {0x1c, 's', 0, 0, "cD"},
    {0x1f, 's', 0, 0, "casuDA"},
    {0x21, '2', 1, 65535, "Cc"},
    {0x22, '2', 0, 65535, "Cc"},
    {0x23, '2', 1, 65535, "P"},
    {0x24, 'b', 0, 1, "c"},
    {0x25, 'b', 0, 1, "c"},
    {0x26, 'p', 0, 0, "w+C+c+P+a+S+s+U+u+D+A+"},
    {0x27, '4', 1, UINT32_MAX, "Cc"},
    {0x28, 'b', 0, 1, "c"},
    {0x29, 'b', 0, 1, "c"},
    {0x2a, 'b', 0, 1, "c"},
};

/* The letter of a packet type in the table; 0: it has no properties. */
static char letter(unsigned type)
{
    return "wCcPaaaaSsUu\0\0DA"[type];
}

/* The row of an identifier. */
static const struct row *row_of(unsigned id)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].id == id)
            return &rows[i];
    }
    return NULL;
}

/* Puts a property with the number into `to`, by hand; its length. */
static size_t put(uint8_t *to, const struct row *row, uint32_t number)
{
    static const uint8_t text[] = {0, 1, 'm'}, pair[] = {0, 1, 'k', 0, 1, 'v'};
    size_t length = 0;

    to[length++] = (uint8_t)row->id;
    switch (row->kind) {
    case '4':
        to[length++] = (uint8_t)(number >> 24);
        to[length++] = (uint8_t)(number >> 16); /* fall through */
    case '2':
        to[length++] = (uint8_t)(number >> 8); /* fall through */
    case 'b':
        to[length++] = (uint8_t)number;
        break;
    case 'v':
        for (; number > 127; number /= 128)
            to[length++] = (uint8_t)(number % 128 + 128);
        to[length++] = (uint8_t)number;
        break;
    case 'p':
        memcpy(to + length, pair, sizeof pair);
        length += sizeof pair;
        break;
    default:
        memcpy(to + length, text, sizeof text);
        length += sizeof text;
    }
    return length;
}

/* What the check says of the first bytes of `section`, in a block of just that size: 0 or a reason.
 */
static unsigned check(const uint8_t *section, size_t length, unsigned type)
{
    uint8_t *block = malloc(length ? length : 1), reason = 0;

    memcpy(block, section, length);
    enum tf_err err = tf_mqtt_properties_check(tf_bytes_of(block, length), type, &reason);
    free(block);
    assert_int_equal(err, reason ? TF_PROTOCOL : TF_OK);
    return reason;
}

/* All that is asked of one property in one packet. */
static void property_try(const struct row *row, unsigned type, bool repeatable)
{
    uint8_t section[64] = {0x15, 0, 1, 'm'};
    /* Authentication data is nothing without its method. */
    size_t start = row->id == 0x16 ? 4 : 0;
    size_t length = start + put(section + start, row, row->max);
    unsigned below = row->id == 0x23 ? 0x94 : 0x82;

    assert_int_equal(check(section, start, type), 0);
    assert_int_equal(check(section, length, type), 0);
    for (size_t cut = start + 1; cut < length; cut++)
        assert_int_equal(check(section, cut, type), 0x81);
    size_t twice = length + put(section + length, row, row->max);
    assert_int_equal(check(section, twice, type), repeatable ? 0 : 0x82);
    length = put(section, row, row->min);
    if (row->id != 0x16)
        assert_int_equal(check(section, length, type), 0);
    if (row->min) {
        length = put(section, row, row->min - 1);
        assert_int_equal(check(section, length, type), below);
    }
    if (row->kind == 'b') {
        for (unsigned above = row->max + 1; above < 256; above++) {
            length = put(section, row, above);
            assert_int_equal(check(section, length, type), 0x82);
        }
    }
    if (strchr("sp", row->kind)) {
        length = put(section, row, 0);
        section[length - 1] = 0;
        assert_int_equal(check(section, length, type), 0x81);
        section[length - 1] = 0xc0;
        assert_int_equal(check(section, length, type), 0x81);
    }
}

static void every_property_in_every_packet(void **state)
{
    unsigned tried = 0;

    (void)state;
    for (unsigned type = 0; type < 16; type++) {
        for (unsigned id = 0; id < 256; id++) {
            const struct row *row = row_of(id);
            const char *here = row && letter(type) ? strchr(row->packets, letter(type)) : NULL;
            uint8_t section[16] = {(uint8_t)id, 0, 1, 1, 1};

            if (here) {
                property_try(row, type, here[1] == '+');
                tried++;
            } else {
                assert_int_equal(check(section, row ? put(section, row, row->max) : 5, type), 0x81);
                assert_int_equal(check(section, 1, type), 0x81);
            }
        }
    }
    assert_int_equal(tried, 64);
    assert_int_equal(check((const uint8_t *)"", 0, 16), 0x81);
}

static void authentication_data_needs_its_method(void **state)
{
    (void)state;
    const unsigned types[] = {TF_MQTT_CONNECT, TF_MQTT_CONNACK, TF_MQTT_AUTH};

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(check((const uint8_t *)"\x16\0\1m", 4, types[i]), 0x82);
        assert_int_equal(check((const uint8_t *)"\x16\0\1m\x15\0\1m", 8, types[i]), 0);
    }
}

static void topics_in_properties_have_no_wildcards(void **state)
{
    (void)state;
    assert_int_equal(check((const uint8_t *)"\x08\0\3a/b", 6, TF_MQTT_PUBLISH), 0);
    assert_int_equal(check((const uint8_t *)"\x08\0\3a/#", 6, TF_MQTT_PUBLISH), 0x82);
    assert_int_equal(check((const uint8_t *)"\x08\0\3+/b", 6, TF_MQTT_WILL), 0x82);
    assert_int_equal(check((const uint8_t *)"\x08\0\0", 3, TF_MQTT_WILL), 0x82);
}

static void every_property_is_written_and_read(void **state)
{
    uint8_t expected[64], room[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const uint32_t numbers[] = {rows[i].min, rows[i].max};

        for (size_t n = 0; n < 2; n++) {
            struct tf_mqtt_property property = {.id = (uint8_t)rows[i].id};
            struct tf_writer writer = tf_writer_of(room, sizeof room);
            size_t length = put(expected, &rows[i], numbers[n]);

            if (rows[i].kind == 'p')
                property.name = tf_bytes_str("k");
            if (strchr("sd", rows[i].kind))
                property.value = tf_bytes_str("m");
            else if (rows[i].kind == 'p')
                property.value = tf_bytes_str("v");
            else
                property.number = numbers[n];
            assert_int_equal(tf_mqtt_property_size(&property), length);
            tf_mqtt_property_write(&writer, &property);
            assert_false(writer.failed);
            struct tf_bytes section = tf_bytes_of(room, tf_writer_length(&writer));
            assert_bytes(section, tf_bytes_of(expected, length));

            struct tf_mqtt_property found;
            memset(&found, 0x5a, sizeof found);
            assert_true(tf_mqtt_property_find(section, rows[i].id, &found));
            assert_int_equal(found.number, property.number);
            assert_bytes(found.name, property.name);
            assert_bytes(found.value, property.value);
            assert_false(tf_mqtt_property_find(section, rows[i].id + 1, &found));

            writer = tf_writer_of(room, length - 1);
            tf_mqtt_property_write(&writer, &property);
            assert_true(writer.failed);
            assert_int_equal(tf_writer_length(&writer), 0);
        }
    }
}

static void what_does_not_fit_its_type_is_not_written(void **state)
{
    static uint8_t room[200000];
    const struct tf_mqtt_property bad[] = {
        {.id = 0},
        {.id = 4, .number = 1},
        {.id = 255},
        {.id = TF_MQTT_MAXIMUM_QOS, .number = 256},
        {.id = TF_MQTT_TOPIC_ALIAS, .number = 65536},
        {.id = TF_MQTT_SUBSCRIPTION_ID, .number = 268435456},
        {.id = TF_MQTT_CONTENT_TYPE, .value = too_long()},
        {.id = TF_MQTT_CORRELATION_DATA, .value = too_long()},
        {.id = TF_MQTT_USER_PROPERTY, .name = too_long()},
        {.id = TF_MQTT_USER_PROPERTY, .value = too_long()},
    };

    const struct tf_mqtt_property full = {.id = TF_MQTT_MAXIMUM_QOS, .number = 255};

    (void)state;
    assert_int_equal(tf_mqtt_property_size(&full), 2);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tf_writer writer = tf_writer_of(room, sizeof room);

        assert_int_equal(tf_mqtt_property_size(&bad[i]), 0);
        tf_mqtt_property_write(&writer, &bad[i]);
        assert_true(writer.failed);
        assert_int_equal(tf_writer_length(&writer), 0);
    }
}

static void the_cursor_walks_in_order(void **state)
{
    struct tf_bytes section =
        BYTES(0x26, 0, 1, 'a', 0, 1, 'b', 0x01, 1, 0x26, 0, 0, 0, 1, 'c', 0x0b, 0x80, 0x01);
    struct tf_mqtt_property_cursor cursor = {section, 0};
    struct tf_mqtt_property property;

    (void)state;
    assert_true(tf_mqtt_property_next(&cursor, &property));
    assert_int_equal(property.id, TF_MQTT_USER_PROPERTY);
    assert_text(property.name, "a");
    assert_text(property.value, "b");
    assert_true(tf_mqtt_property_next(&cursor, &property));
    assert_int_equal(property.id, TF_MQTT_PAYLOAD_FORMAT);
    assert_int_equal(property.number, 1);
    assert_int_equal(property.name.length, 0);
    assert_true(tf_mqtt_property_next(&cursor, &property));
    assert_text(property.name, "");
    assert_text(property.value, "c");
    assert_true(tf_mqtt_property_next(&cursor, &property));
    assert_int_equal(property.number, 128);
    assert_false(tf_mqtt_property_next(&cursor, &property));
    assert_false(tf_mqtt_property_next(&cursor, &property));
    assert_int_equal(property.number, 128);
    assert_int_equal(cursor.offset, section.length);

    assert_int_equal(tf_mqtt_property_number(section, TF_MQTT_SUBSCRIPTION_ID, 7), 128);
    assert_int_equal(tf_mqtt_property_number(section, TF_MQTT_TOPIC_ALIAS, 7), 7);
    assert_int_equal(tf_mqtt_property_number(NOTHING, TF_MQTT_TOPIC_ALIAS, 7), 7);
    assert_true(tf_mqtt_property_find(section, TF_MQTT_USER_PROPERTY, &property));
    assert_text(property.name, "a");
}

/* An unchecked section is the caller's mistake; the cursor still stays within it. */
static void the_cursor_stays_within_what_was_never_checked(void **state)
{
    struct tf_mqtt_property property = {.number = 42};

    (void)state;
    struct tf_mqtt_property_cursor cut = {BYTES(0x11, 0, 0), 0};
    assert_false(tf_mqtt_property_next(&cut, &property));
    struct tf_mqtt_property_cursor unknown = {BYTES(0xff, 0, 0), 0};
    assert_false(tf_mqtt_property_next(&unknown, &property));
    assert_int_equal(property.number, 42);
}

/* 100,000 user properties: each is looked at once. A step for each pair would take minutes. */
static void a_hundred_thousand_take_linear_time(void **state)
{
    const size_t count = 100000;
    uint8_t *section = malloc(count * 7);
    struct tf_mqtt_property_cursor cursor = {tf_bytes_of(section, count * 7), 0};
    struct tf_mqtt_property property;
    size_t found = 0;

    (void)state;
    for (size_t i = 0; i < count; i++)
        memcpy(section + i * 7, "\x26\0\1k\0\1v", 7);
    clock_t before = clock();
    assert_int_equal(check(section, count * 7, TF_MQTT_PUBLISH), 0);
    while (tf_mqtt_property_next(&cursor, &property))
        found++;
    assert_false(tf_mqtt_property_find(cursor.section, TF_MQTT_TOPIC_ALIAS, &property));
    assert_true(clock() - before < 5 * CLOCKS_PER_SEC);
    assert_int_equal(found, count);
    free(section);
}

RUN(cmocka_unit_test(every_property_in_every_packet),
    cmocka_unit_test(authentication_data_needs_its_method),
    cmocka_unit_test(topics_in_properties_have_no_wildcards),
    cmocka_unit_test(every_property_is_written_and_read),
    cmocka_unit_test(what_does_not_fit_its_type_is_not_written),
    cmocka_unit_test(the_cursor_walks_in_order),
    cmocka_unit_test(the_cursor_stays_within_what_was_never_checked),
    cmocka_unit_test(a_hundred_thousand_take_linear_time))
