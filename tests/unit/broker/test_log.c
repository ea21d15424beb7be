/*
 * Log lines: their form, and that nobody can forge or break one.
 */
#include "broker/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t ten_o_clock(void)
{
    return UINT64_C(1795168800123456); /* 2026-11-20T10:00:00.123456Z */
}

struct taken {
    struct tf_log log;
    FILE *file;
    char *text;
    size_t length;
};

static void begin(struct taken *taken, bool json)
{
    struct tf_log_config config = {.types = 1u << TF_LOG_ERROR | 1u << TF_LOG_WARN,
                                   .json = json,
                                   .timestamp = true,
                                   .wall_us = ten_o_clock};
    taken->file = open_memstream(&taken->text, &taken->length);
    assert_non_null(taken->file);
    config.outs[0] = taken->file;
    tf_log_init(&taken->log, &config);
}

static void end(struct taken *taken, const char *wanted)
{
    assert_int_equal(fclose(taken->file), 0);
    assert_string_equal(taken->text, wanted);
    free(taken->text);
}

static void writes_text(void **state)
{
    struct taken taken;
    struct tf_log_field fields[] = {{"client", tf_bytes_str("c1")}, {"why", tf_bytes_str("a b")}};
    (void)state;
    begin(&taken, false);
    tf_log_write(&taken.log, TF_LOG_WARN, "mqtt", fields, 2, "packet of %d bytes", 7);
    tf_log_text(&taken.log, TF_LOG_ERROR, "broker", "no fields");
    end(&taken, "2026-11-20T10:00:00.123Z warn mqtt client=c1 why=\"a b\" packet of 7 bytes\n"
                "2026-11-20T10:00:00.123Z error broker no fields\n");
}

static void writes_json(void **state)
{
    struct taken taken;
    struct tf_log_field field = {"client", tf_bytes_str("a\"\\\n\xff\xc3\xa9")};
    (void)state;
    begin(&taken, true);
    tf_log_write(&taken.log, TF_LOG_WARN, "mqtt", &field, 1, "said \"%s\"", "x\ty");
    end(&taken, "{\"time\":\"2026-11-20T10:00:00.123Z\",\"level\":\"warn\",\"part\":\"mqtt\","
                "\"client\":\"a\\\"\\\\\\u000a\xef\xbf\xbd\xc3\xa9\","
                "\"text\":\"said \\\"x\\u0009y\\\"\"}\n");
}

static void lets_nobody_forge_a_line(void **state)
{
    struct taken taken;
    struct tf_log_field fields[] = {{"client", tf_bytes_str("x\n2026 error")},
                                    {"id", tf_bytes_str("a=\"b\"")},
                                    {"empty", tf_bytes_str("")},
                                    {"c1", tf_bytes_str("\xc2\x9b")}};
    (void)state;
    begin(&taken, false);
    tf_log_write(&taken.log, TF_LOG_WARN, "mqtt", fields, 4, "%s", "\x1b[2Jred\r\n\x80");
    end(&taken, "2026-11-20T10:00:00.123Z warn mqtt client=\"x\\x0a2026 error\" "
                "id=\"a=\\\"b\\\"\" empty=\"\" c1=\"\\x9b\" \\x1b[2Jred\\x0d\\x0a\\x80\n");
}

static void cuts_what_is_long(void **state)
{
    enum { LONG = 100000 };
    char *longest = malloc(LONG + 1);
    struct tf_log_field fields[TF_LOG_FIELDS_MAX + 1];
    (void)state;
    assert_non_null(longest);
    memset(longest, '\x01', LONG); /* each becomes six bytes of JSON */
    longest[LONG] = '\0';
    for (size_t i = 0; i < TF_LOG_FIELDS_MAX + 1; i++) {
        fields[i] = (struct tf_log_field){"name", tf_bytes_of(longest, LONG)};
    }
    for (unsigned json = 0; json < 2; json++) {
        struct taken taken;
        begin(&taken, json != 0);
        tf_log_write(&taken.log, TF_LOG_WARN, "mqtt", fields, TF_LOG_FIELDS_MAX + 1, "%s", longest);
        assert_int_equal(fclose(taken.file), 0);
        assert_true(taken.length <= TF_LOG_LINE_MAX);
        const char *last = taken.text + taken.length - (json ? 6 : 4);
        assert_string_equal(last, json ? "...\"}\n" : "...\n");
        assert_ptr_equal(strchr(taken.text, '\n'), taken.text + taken.length - 1);
        free(taken.text);
    }
    free(longest);
}

static void chooses_levels(void **state)
{
    struct taken taken;
    (void)state;
    begin(&taken, false);
    assert_true(tf_log_enabled(&taken.log, TF_LOG_WARN));
    assert_false(tf_log_enabled(&taken.log, TF_LOG_DEBUG));
    assert_false(tf_log_enabled(NULL, TF_LOG_ERROR));
    tf_log_text(&taken.log, TF_LOG_DEBUG, "mqtt", "unseen");
    tf_log_text(NULL, TF_LOG_ERROR, "mqtt", "unseen");
    tf_log_set_types(&taken.log, 1u << TF_LOG_DEBUG);
    tf_log_text(&taken.log, TF_LOG_WARN, "mqtt", "unseen");
    tf_log_text(&taken.log, TF_LOG_DEBUG, "mqtt", "seen");
    end(&taken, "2026-11-20T10:00:00.123Z debug mqtt seen\n");
}

static void stamps_as_told(void **state)
{
    struct taken taken;
    (void)state;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    begin(&taken, false);
    taken.log.config.timestamp_format = "%H:%M";
    tf_log_text(&taken.log, TF_LOG_WARN, "mqtt", "a");
    taken.log.config.timestamp = false;
    tf_log_text(&taken.log, TF_LOG_WARN, "mqtt", "b");
    end(&taken, "10:00 warn mqtt a\nwarn mqtt b\n");
}

static void holds_back(void **state)
{
    struct tf_log_limit limit = {0};
    uint64_t more = 99;
    (void)state;
    assert_true(tf_log_allow(&limit, 5, 10, &more));
    assert_int_equal(more, 0);
    assert_false(tf_log_allow(&limit, 5, 10, &more));
    assert_false(tf_log_allow(&limit, 14, 10, NULL));
    assert_true(tf_log_allow(&limit, 15, 10, &more));
    assert_int_equal(more, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_text),
        cmocka_unit_test(writes_json),
        cmocka_unit_test(lets_nobody_forge_a_line),
        cmocka_unit_test(cuts_what_is_long),
        cmocka_unit_test(chooses_levels),
        cmocka_unit_test(stamps_as_told),
        cmocka_unit_test(holds_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
