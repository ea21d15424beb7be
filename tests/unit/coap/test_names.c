/*
 * Names of codes, options, values and content formats, both ways.
 */
#include <trefoil/coap_names.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOTHING ((struct tf_bytes){NULL, 0})

/* The text that a code or an option is written as; and in no less room. */
static const char *code_text(uint8_t code)
{
    static char room[64];
    struct tf_writer writer = tf_writer_of(room, sizeof room - 1);

    tf_coap_code_write(&writer, code);
    assert_false(writer.failed);
    room[tf_writer_length(&writer)] = 0;
    return room;
}

static const char *value_text(uint16_t number, const char *value, size_t length)
{
    static char room[256];
    struct tf_writer writer = tf_writer_of(room, sizeof room - 1);
    struct tf_coap_option option = {number, tf_bytes_of(value, length)};

    tf_coap_option_write(&writer, &option);
    assert_false(writer.failed);
    room[tf_writer_length(&writer)] = 0;
    return room;
}

static void codes(void **state)
{
    uint8_t found = 0;

    (void)state;
    assert_string_equal(code_text(TF_COAP_GET), "GET");
    assert_string_equal(code_text(TF_COAP_IPATCH), "iPATCH");
    assert_string_equal(code_text(TF_COAP_CONTENT), "2.05 Content");
    assert_string_equal(code_text(TF_COAP_HOP_LIMIT_REACHED), "5.08 Hop Limit Reached");
    assert_string_equal(code_text(TF_COAP_EMPTY), "0.00 Empty");
    assert_string_equal(code_text(TF_COAP_CODE(4, 7)), "4.07");
    assert_string_equal(code_text(TF_COAP_CODE(0, 31)), "0.31");
    assert_null(tf_coap_code_name(TF_COAP_CODE(4, 7)));
    for (unsigned code = 0; code < 256; code++) {
        found = (uint8_t)~code;
        assert_true(tf_coap_code_find(tf_bytes_str(code_text((uint8_t)code)), &found));
        assert_int_equal(found, code);
    }
    assert_true(tf_coap_code_find(tf_bytes_str("not found"), &found));
    assert_int_equal(found, TF_COAP_NOT_FOUND);
    assert_true(tf_coap_code_find(tf_bytes_str("ipatch"), &found));
    assert_int_equal(found, TF_COAP_IPATCH);
    assert_true(tf_coap_code_find(tf_bytes_str("2.05 whatever"), &found));
    assert_int_equal(found, TF_COAP_CONTENT);
    static const char *const wrong[] = {"",     "2",     "2.",   "2.5",  "8.00", "2.32",
                                        "2,05", "2.055", "GETS", "2.0x", "-1.00"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(tf_coap_code_find(tf_bytes_str(wrong[i]), &found));
    assert_int_equal(found, TF_COAP_CONTENT);
    assert_string_equal(tf_coap_type_name(TF_COAP_CON), "CON");
    assert_string_equal(tf_coap_type_name(TF_COAP_RST), "RST");
}

static void options(void **state)
{
    uint16_t found = 7;
    unsigned named = 0;

    (void)state;
    for (unsigned number = 0; number <= UINT16_MAX; number++) {
        const char *name = tf_coap_option_name((uint16_t)number);

        /* What has a rule has a name. */
        assert_true(name || !tf_coap_option_rule((uint16_t)number));
        if (!name)
            continue;
        named++;
        assert_true(tf_coap_option_number(tf_bytes_str(name), &found));
        assert_int_equal(found, number);
    }
    assert_int_equal(named, 29);
    assert_true(tf_coap_option_number(tf_bytes_str("uri-path"), &found));
    assert_int_equal(found, TF_COAP_URI_PATH);
    assert_true(tf_coap_option_number(tf_bytes_str("65535"), &found));
    assert_int_equal(found, 65535);
    assert_false(tf_coap_option_number(tf_bytes_str("65536"), &found));
    assert_false(tf_coap_option_number(tf_bytes_str("Uri"), &found));
    assert_false(tf_coap_option_number(tf_bytes_str(""), &found));
    assert_int_equal(found, 65535);
}

static void values_written(void **state)
{
    (void)state;
    assert_string_equal(value_text(TF_COAP_URI_PATH, "a\x1b\n\x7f", 4), "a\\x1b\\x0a\\x7f");
    assert_string_equal(value_text(TF_COAP_URI_PATH, "\xc3\xbc\xc2\x9b", 4), "\xc3\xbc\\xc2\\x9b");
    assert_string_equal(value_text(TF_COAP_URI_PATH, "\xc3", 1), "\\xc3");
    assert_string_equal(value_text(TF_COAP_OBSERVE, "\1\0", 2), "256");
    assert_string_equal(value_text(TF_COAP_OBSERVE, "\0\0\0\1", 4), "00000001");
    assert_string_equal(value_text(TF_COAP_ETAG, "\xab\1", 2), "ab01");
    assert_string_equal(value_text(TF_COAP_ETAG, "", 0), "");
    assert_string_equal(value_text(TF_COAP_IF_NONE_MATCH, "", 0), "");
    assert_string_equal(value_text(TF_COAP_IF_NONE_MATCH, "x", 1), "78");
    assert_string_equal(value_text(TF_COAP_BLOCK2, "\x3e", 1), "3/1/1024");
    assert_string_equal(value_text(TF_COAP_ACCEPT, "\x32", 1), "application/json");
    assert_string_equal(value_text(TF_COAP_ACCEPT, "\xff\xff", 2), "65535");
    assert_string_equal(value_text(TF_COAP_ACCEPT, "\x2b\x2a", 2), "11050"); /* json, deflated */
    assert_string_equal(value_text(65001, "\xab", 1), "ab");
}

/* What is written of a value is read as the same value. */
static void values_read(void **state)
{
    static const struct {
        uint16_t number;
        const char *text, *value; /* NULL: refused */
        size_t length;
    } cases[] = {
        {TF_COAP_URI_PATH, "a b", "a b", 3},
        {TF_COAP_URI_PATH, "", "", 0},
        {TF_COAP_URI_PATH, "\xff", NULL, 0},
        {TF_COAP_URI_HOST, "", NULL, 0},
        {TF_COAP_OBSERVE, "0", "", 0},
        {TF_COAP_OBSERVE, "256", "\1\0", 2},
        {TF_COAP_OBSERVE, "16777216", NULL, 0},
        {TF_COAP_OBSERVE, "", NULL, 0},
        {TF_COAP_OBSERVE, "1x", NULL, 0},
        {TF_COAP_MAX_AGE_OPTION, "4294967295", "\xff\xff\xff\xff", 4},
        {TF_COAP_MAX_AGE_OPTION, "4294967296", NULL, 0},
        {TF_COAP_MAX_AGE_OPTION, "99999999999999999999999", NULL, 0},
        {TF_COAP_ETAG, "ab01", "\xab\1", 2},
        {TF_COAP_ETAG, "0xAB01", "\xab\1", 2},
        {TF_COAP_ETAG, "ab0", NULL, 0},
        {TF_COAP_ETAG, "xy", NULL, 0},
        {TF_COAP_ETAG, "", NULL, 0},
        {TF_COAP_ETAG, "010203040506070809", NULL, 0},
        {TF_COAP_IF_MATCH, "", "", 0},
        {TF_COAP_IF_NONE_MATCH, "", "", 0},
        {TF_COAP_IF_NONE_MATCH, "1", NULL, 0},
        {TF_COAP_BLOCK2, "3/1/1024", "\x3e", 1},
        {TF_COAP_BLOCK2, "0/0/16", "", 0},
        {TF_COAP_BLOCK1, "1048575/1/2048", "\xff\xff\xff", 3},
        {TF_COAP_BLOCK1, "1048576/1/16", NULL, 0},
        {TF_COAP_BLOCK1, "1/2/16", NULL, 0},
        {TF_COAP_BLOCK1, "1/1/17", NULL, 0},
        {TF_COAP_BLOCK1, "1/1", NULL, 0},
        {TF_COAP_BLOCK1, "1/1/16/1", NULL, 0},
        {TF_COAP_ACCEPT, "json", "\x32", 1},
        {TF_COAP_ACCEPT, "application/json", "\x32", 1},
        {TF_COAP_CONTENT_FORMAT, "60", "\x3c", 1},
        {TF_COAP_CONTENT_FORMAT, "text", "", 0},
        {TF_COAP_CONTENT_FORMAT, "a/b", NULL, 0},
        {TF_COAP_HOP_LIMIT, "0", NULL, 0},
        {TF_COAP_HOP_LIMIT, "255", "\xff", 1},
        {65001, "0x", "", 0},
        {65001, "00ff", "\0\xff", 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t room[16];
        struct tf_writer memory = tf_writer_of(room, sizeof room);
        struct tf_bytes found = tf_bytes_str("untouched"), none;
        enum tf_err err =
            tf_coap_option_read(&found, cases[i].number, tf_bytes_str(cases[i].text), &memory);

        if (!cases[i].value) {
            assert_int_equal(err, TF_PROTOCOL);
            assert_true(tf_bytes_equal(found, tf_bytes_str("untouched")));
            continue;
        }
        assert_int_equal(err, TF_OK);
        assert_true(tf_bytes_equal(found, tf_bytes_of(cases[i].value, cases[i].length)));
        if (found.data >= room && found.data < room + sizeof room && found.length) {
            memory = tf_writer_of(room, found.length - 1);
            assert_int_equal(
                tf_coap_option_read(&none, cases[i].number, tf_bytes_str(cases[i].text), &memory),
                TF_NO_MEMORY);
        }
    }
}

/* Numbers that the RFCs print. */
static void formats(void **state)
{
    static const struct {
        uint16_t number;
        const char *type;
    } cases[] = {
        {0, "text/plain; charset=utf-8"},
        {16, "application/cose; cose-type=\"cose-encrypt0\""},
        {40, "application/link-format"},
        {41, "application/xml"},
        {42, "application/octet-stream"},
        {47, "application/exi"},
        {50, "application/json"},
        {51, "application/json-patch+json"},
        {52, "application/merge-patch+json"},
        {60, "application/cbor"},
        {61, "application/cwt"},
        {62, "application/multipart-core"},
        {63, "application/cbor-seq"},
        {101, "application/cose-key"},
        {110, "application/senml+json"},
        {112, "application/senml+cbor"},
        {115, "application/sensml-exi"},
        {140, "application/yang-data+cbor; id=sid"},
        {256, "application/coap-group+json"},
        {257, "application/concise-problem-details+cbor"},
        {271, "application/dots+cbor"},
        {280, "application/pkcs7-mime; smime-type=server-generated-key"},
        {310, "application/senml+xml"},
        {322, "application/senml-etch+cbor"},
        {340, "application/yang-data+cbor"},
        {10001, "application/oscore"},
        {11542, "application/vnd.oma.lwm2m+tlv"},
    };
    const char *coding = "untouched";

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t found = 9;

        assert_string_equal(tf_coap_format_name(cases[i].number, &coding), cases[i].type);
        assert_null(coding);
        assert_true(tf_coap_format_number(tf_bytes_str(cases[i].type), &found));
        assert_int_equal(found, cases[i].number);
    }
    assert_string_equal(tf_coap_format_name(11050, &coding), "application/json");
    assert_string_equal(coding, "deflate");
    assert_null(tf_coap_format_name(1, &coding));
    assert_string_equal(coding, "deflate");
    assert_null(tf_coap_format_name(65535, NULL));
    assert_null(tf_coap_format_alias(65535));
}

/* Every registration goes through name and alias. */
static void every_format(void **state)
{
    unsigned known = 0;

    (void)state;
    for (unsigned number = 0; number <= UINT16_MAX; number++) {
        const char *coding = NULL, *alias;
        const char *type = tf_coap_format_name((uint16_t)number, &coding);
        uint16_t found = 1;

        if (!type)
            continue;
        known++;
        assert_true(tf_coap_format_number(tf_bytes_str(type), &found));
        assert_int_equal(found == number, coding == NULL);
        alias = tf_coap_format_alias((uint16_t)number);
        assert_false(alias && coding);
        if (alias) {
            assert_true(tf_coap_format_find(tf_bytes_str(alias), &found));
            assert_int_equal(found, number);
        }
    }
    assert_true(known >= 70);
}

static void format_spellings(void **state)
{
    static const struct {
        const char *text;
        int type, any; /* what _number and _find make of it; -1: nothing */
    } cases[] = {
        {"text/plain", 0, 0},
        {"TEXT/Plain;Charset=UTF-8", 0, 0},
        {"text/plain ; charset=\"utf-8\"", 0, 0},
        {" text/plain;\tcharset=utf-8 ", 0, 0},
        {"text/plain; charset=iso-8859-1", -1, -1},
        {"text/plain;", -1, -1},
        {"text / plain", -1, -1},
        {"application/cose;cose-type=cose-sign1", 18, 18},
        {"application/cose", -1, -1},
        {"application/jso", -1, -1},
        {"application/jsonx", -1, -1},
        {"", -1, -1},
        {"\"", -1, -1},
        {"text", -1, 0},
        {"JSON", -1, 50},
        {"link", -1, 40},
        {"link-format", -1, 40},
        {"octets", -1, 42},
        {"octet-stream", -1, 42},
        {"xml", -1, 41},
        {"cbor", -1, 60},
        {"json-patch", -1, 51},
        {"merge-patch", -1, 52},
        {"merge-patch+json", -1, 52},
        {"senml+json", -1, 110},
        {"cose-sign1", -1, 18},
        {"yang-data+cbor", -1, 340},
        {"0", -1, 0},
        {"65535", -1, 65535},
        {"65536", -1, -1},
        {"50 ", -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tf_bytes text = tf_bytes_str(cases[i].text);
        uint16_t found = 999;

        assert_int_equal(tf_coap_format_number(text, &found), cases[i].type >= 0);
        assert_int_equal(found, cases[i].type >= 0 ? cases[i].type : 999);
        found = 999;
        assert_int_equal(tf_coap_format_find(text, &found), cases[i].any >= 0);
        assert_int_equal(found, cases[i].any >= 0 ? cases[i].any : 999);
    }
    uint16_t found;
    assert_false(tf_coap_format_number(NOTHING, &found));
    assert_false(tf_coap_format_find(NOTHING, &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes),
        cmocka_unit_test(options),
        cmocka_unit_test(values_written),
        cmocka_unit_test(values_read),
        cmocka_unit_test(formats),
        cmocka_unit_test(every_format),
        cmocka_unit_test(format_spellings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
