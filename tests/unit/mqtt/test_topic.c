/*
 * Topic names, filters, shared subscriptions.
 */
#include "codec_test.h"

/* A copy in a block of just its size, judged both ways. */
static void judge(struct tf_bytes text, bool *ret_topic, bool *ret_filter)
{
    uint8_t *block = malloc(text.length ? text.length : 1);

    if (text.length)
        memcpy(block, text.data, text.length);
    *ret_topic = tf_mqtt_topic_valid(tf_bytes_of(block, text.length));
    *ret_filter = tf_mqtt_filter_valid(tf_bytes_of(block, text.length));
    free(block);
}

static void names_and_filters(void **state)
{
    static const struct {
        const char *text;
        bool topic, filter;
    } rows[] = {
        {"", false, false},
        {"a", true, true},
        {"/", true, true},
        {"//", true, true},
        {" ", true, true},
        {"a/b/c", true, true},
        {"$SYS/x", true, true},
        {"a/", true, true},
        {"k\xc3\xbc\x63he", true, true},
        {"#", false, true},
        {"+", false, true},
        {"/#", false, true},
        {"/+", false, true},
        {"+/+", false, true},
        {"+/#", false, true},
        {"a/#", false, true},
        {"a/+", false, true},
        {"a/+/b", false, true},
        {"+/b", false, true},
        {"$share/g/#", false, true},
        {"a#", false, false},
        {"#a", false, false},
        {"#/", false, false},
        {"#/b", false, false},
        {"a/#/b", false, false},
        {"##", false, false},
        {"a+", false, false},
        {"+a", false, false},
        {"a/b+", false, false},
        {"a/+b", false, false},
        {"++", false, false},
        {"a+/b", false, false},
        {"+#", false, false},
        {"\xc0\x80", false, false},
        {"\xed\xa0\x80", false, false},
        {"+/\xff", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool topic, filter;

        judge(tf_bytes_str(rows[i].text), &topic, &filter);
        if (topic != rows[i].topic || filter != rows[i].filter)
            fail_msg("%s", rows[i].text);
    }
}

/* Every byte at every place of texts about one and two words long. */
static void every_byte_at_every_place(void **state)
{
    (void)state;
    for (size_t length = 1; length < 26; length++) {
        for (size_t place = 0; place < length; place++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t text[32];
                bool topic, filter;

                memset(text, 'a', sizeof text);
                text[place] = (uint8_t)byte;
                judge(tf_bytes_of(text, length), &topic, &filter);
                assert_int_equal(topic, byte && byte < 128 && byte != '+' && byte != '#');
                if (byte != '+' && byte != '#')
                    assert_int_equal(filter, topic);
                else
                    assert_int_equal(filter, length == 1);
            }
        }
    }
}

static void a_wildcard_behind_utf_8_is_seen(void **state)
{
    (void)state;
    for (size_t place = 2; place < 20; place++) {
        uint8_t text[20] = {0xc3, 0xbc};
        bool topic, filter;

        memset(text + 2, 'a', sizeof text - 2);
        judge(tf_bytes_of(text, sizeof text), &topic, &filter);
        assert_true(topic && filter);
        text[place] = '#';
        judge(tf_bytes_of(text, sizeof text), &topic, &filter);
        assert_false(topic || filter);
    }
}

static void lengths(void **state)
{
    static uint8_t text[65536];
    bool topic, filter;

    (void)state;
    memset(text, 'a', sizeof text);
    judge(tf_bytes_of(text, 65535), &topic, &filter);
    assert_true(topic && filter);
    judge(tf_bytes_of(text, 65536), &topic, &filter);
    assert_false(topic || filter);
    for (size_t i = 0; i < sizeof text; i += 2) {
        text[i] = '+';
        text[i + 1] = '/';
    }
    judge(tf_bytes_of(text, 65535), &topic, &filter);
    assert_true(!topic && filter);
}

static void shared_subscriptions(void **state)
{
    static const struct {
        const char *text;
        enum tf_err err;
        const char *name, *filter;
    } rows[] = {
        {"$share/g/a", TF_OK, "g", "a"},
        {"$share/g/a/b", TF_OK, "g", "a/b"},
        {"$share/g/#", TF_OK, "g", "#"},
        {"$share/g//", TF_OK, "g", "/"},
        {"$share/g/+/x", TF_OK, "g", "+/x"},
        {"$share/group name/$SYS/#", TF_OK, "group name", "$SYS/#"},
        {"a", TF_NOT_FOUND, "", ""},
        {"", TF_NOT_FOUND, "", ""},
        {"$shar", TF_NOT_FOUND, "", ""},
        {"$shared/g/a", TF_NOT_FOUND, "", ""},
        {"/$share/g/a", TF_NOT_FOUND, "", ""},
        {"$SHARE/g/a", TF_NOT_FOUND, "", ""},
        {"$share", TF_PROTOCOL, "", ""},
        {"$share/", TF_PROTOCOL, "", ""},
        {"$share//a", TF_PROTOCOL, "", ""},
        {"$share/g", TF_PROTOCOL, "", ""},
        {"$share/g/", TF_PROTOCOL, "", ""},
        {"$share/+/a", TF_PROTOCOL, "", ""},
        {"$share/g#/a", TF_PROTOCOL, "", ""},
        {"$share/#", TF_PROTOCOL, "", ""},
        {"$share/g/a#", TF_PROTOCOL, "", ""},
        {"$share/g/#/a", TF_PROTOCOL, "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tf_bytes name = NOTHING, filter = NOTHING;

        if (tf_mqtt_shared_read(tf_bytes_str(rows[i].text), &name, &filter) != rows[i].err)
            fail_msg("%s", rows[i].text);
        assert_text(name, rows[i].name);
        assert_text(filter, rows[i].filter);
    }
}

RUN(cmocka_unit_test(names_and_filters), cmocka_unit_test(every_byte_at_every_place),
    cmocka_unit_test(a_wildcard_behind_utf_8_is_seen), cmocka_unit_test(lengths),
    cmocka_unit_test(shared_subscriptions))
