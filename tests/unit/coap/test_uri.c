/*
 * URIs: golden vectors both ways, options of requests through proxies, Location, segments, and
 * references resolved as RFC 3986 5.4 lists them.
 */
#include <trefoil/coap_uri.h>

#include "vector_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <trefoil/coap_names.h>

#define NOTHING ((struct tf_bytes){NULL, 0})
#define OPTIONS 16

/* What a writer has. */
static struct tf_bytes written(const struct tf_writer *writer)
{
    return tf_bytes_of(writer->start, tf_writer_length(writer));
}

static void assert_text(struct tf_bytes found, const char *expected)
{
    if (!tf_bytes_equal(found, tf_bytes_str(expected)))
        fail_msg("'%.*s' instead of '%s'", (int)found.length, (const char *)found.data, expected);
}

/* A message with these options in `room`: what they are as encoded. */
static struct tf_bytes options_encode(const struct tf_coap_option *options, size_t count,
                                      void *room, size_t length)
{
    struct tf_coap_encoder encoder;

    tf_coap_encode(&encoder, room, length, TF_COAP_CON, TF_COAP_GET, 1, NOTHING);
    for (size_t i = 0; i < count; i++)
        tf_coap_encode_option(&encoder, options[i].number, options[i].value);
    struct tf_bytes bytes = tf_coap_encoded(&encoder);
    assert_true(bytes.length >= TF_COAP_HEADER);
    return tf_bytes_of(bytes.data + TF_COAP_HEADER, bytes.length - TF_COAP_HEADER);
}

/* The options of a URI as lines; TF_OK, or why there are none. */
static enum tf_err options_text(FILE *out, const struct tf_coap_uri *uri, bool elsewhere,
                                size_t size, size_t memory_size, struct tf_bytes *ret_encoded)
{
    static uint8_t room[4096];
    struct tf_coap_option options[OPTIONS];
    uint8_t *memory = malloc(memory_size ? memory_size : 1);
    struct tf_writer writer = tf_writer_of(memory, memory_size);
    size_t count = 99;

    enum tf_err err = tf_coap_uri_options(uri, elsewhere, options, size, &count, &writer);
    if (err) {
        assert_int_equal(count, 99);
        free(memory);
        return err;
    }
    assert_true(count <= size);
    for (size_t i = 0; i < count; i++) {
        assert_true(i == 0 || options[i].number >= options[i - 1].number);
        assert_true(tf_coap_option_valid(&options[i], false));
        if (!out)
            continue;
        fprintf(out, "%s=", tf_coap_option_name(options[i].number));
        if (options[i].number == TF_COAP_URI_PORT)
            fprintf(out, "%u", tf_coap_uint(options[i].value));
        else
            vector_text(out, options[i].value);
        putc('\n', out);
    }
    *ret_encoded = options_encode(options, count, room, sizeof room);
    free(memory);
    return TF_OK;
}

/* The URI that the options make must be this one, in no less room than it needs. */
static void again(const struct tf_coap_uri *uri, struct tf_bytes options, const char *expected)
{
    size_t length = strlen(expected);
    uint8_t *room = malloc(length);
    struct tf_writer writer = tf_writer_of(room, length);

    assert_int_equal(tf_coap_uri_write(&writer, uri, options), TF_OK);
    assert_text(written(&writer), expected);
    for (size_t less = 0; less < length; less++) {
        writer = tf_writer_of(room, less);
        assert_int_equal(tf_coap_uri_write(&writer, uri, options), TF_NO_MEMORY);
    }
    free(room);
}

/* The options of a URI that was split, and the URI that they make. */
static void uri_check(FILE *out, const struct vector *vector, const struct tf_coap_uri *uri,
                      struct tf_bytes text)
{
    const char *other = vector_line(vector, "again ");
    struct tf_bytes encoded = NOTHING, once = NOTHING;

    if (options_text(out, uri, false, OPTIONS, text.length, &encoded)) {
        fprintf(out, "refused\n");
        return;
    }
    again(uri, encoded, other ? other : vector_line(vector, "text "));
    if (other) { /* the URI in its usual form stays as it is */
        struct tf_coap_uri normal;
        size_t offset;

        assert_int_equal(tf_coap_uri_split(&normal, tf_bytes_str(other), &offset), TF_OK);
        assert_int_equal(normal.port, uri->port);
        assert_int_equal(options_text(NULL, &normal, false, OPTIONS, strlen(other), &once), TF_OK);
        again(&normal, once, other);
    }
    for (size_t size = 0; size < text.length; size++) {
        enum tf_err err = options_text(NULL, uri, true, OPTIONS, size, &encoded);

        if (err && err != TF_NO_MEMORY)
            fail_msg("%s: %d with %zu bytes", vector->name, err, size);
    }
}

static void vector_run(const struct vector *vector)
{
    const char *line = vector_line(vector, "text ");
    struct tf_bytes text = vector_cut(tf_bytes_str(line), strlen(line));
    char expected[4096] = "", *found = NULL;
    struct tf_coap_uri uri;
    size_t length, offset = 0;

    FILE *out = open_memstream(&found, &length);
    enum tf_err err = tf_coap_uri_split(&uri, text, &offset);
    if (err == TF_PROTOCOL)
        fprintf(out, "error %zu\n", offset);
    else if (err)
        fprintf(out, "unsupported %zu\n", offset);
    else
        uri_check(out, vector, &uri, text);
    fclose(out);
    for (size_t i = 0; i < vector->count; i++) {
        if (strncmp(vector->lines[i], "text ", 5) != 0 &&
            strncmp(vector->lines[i], "again ", 6) != 0)
            strcat(strcat(expected, vector->lines[i]), "\n");
    }
    if (strcmp(found, expected) != 0)
        fail_msg("%s is\n%sinstead of\n%s", vector->name, found, expected);
    free(found);
    for (size_t i = 0; i < text.length; i++) { /* every prefix, in a block of its size */
        struct tf_bytes part = vector_cut(text, i);

        if (tf_coap_uri_split(&uri, part, &offset))
            assert_true(offset <= i);
        vector_drop(part);
    }
    vector_drop(text);
}

static void vectors(void **state)
{
    (void)state;
    assert_true(vector_file_run("coap-uri.txt", vector_run) >= 100);
}

static void parts(void **state)
{
    struct tf_coap_uri uri;
    size_t offset;

    (void)state;
    assert_int_equal(tf_coap_uri_split(&uri, tf_bytes_str("coaps+tcp://[::1]:77/a/b?c"), &offset),
                     TF_OK);
    assert_int_equal(uri.scheme, TF_COAP_SCHEME_COAPS_TCP);
    assert_true(uri.literal && uri.brackets && uri.has_query);
    assert_int_equal(uri.port, 77);
    assert_text(uri.host, "::1");
    assert_text(uri.path, "/a/b");
    assert_text(uri.query, "c");
    assert_int_equal(tf_coap_uri_split(&uri, tf_bytes_str("coap://1.2.3.4"), &offset), TF_OK);
    assert_true(uri.literal && !uri.brackets && !uri.has_query);
    assert_int_equal(uri.port, TF_COAP_PORT);
    assert_int_equal(uri.path.length, 0);
    for (unsigned i = 0; i <= TF_COAP_SCHEME_COAPS_WS; i++) {
        enum tf_coap_scheme scheme = TF_COAP_SCHEME_COAP;

        assert_true(tf_coap_scheme_find(tf_bytes_str(tf_coap_scheme_name(i)), &scheme));
        assert_int_equal(scheme, i);
    }
}

/* Through a proxy host and port are sent, whatever they are (6.4 steps 5 to 7). */
static void elsewhere(void **state)
{
    static const struct {
        const char *uri, *options;
    } cases[] = {
        {"coap://[2001:DB8::1]/a", "Uri-Host=[2001:db8::1]\nUri-Port=5683\nUri-Path=a\n"},
        {"coap://1.2.3.4:0", "Uri-Host=1.2.3.4\nUri-Port=0\n"},
        {"coap://[::1]:61616", "Uri-Host=[::1]\nUri-Port=61616\n"}, /* the port is no UTF-8 */
        {"coap://H%4F", "Uri-Host=hO\nUri-Port=5683\n"}, /* small letters come before escapes */
        {"coaps://H?", "Uri-Host=h\nUri-Port=5684\nUri-Query=\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tf_bytes text = tf_bytes_str(cases[i].uri), encoded;
        struct tf_coap_uri uri, proxy = {.host = tf_bytes_str("proxy"), .port = 1};
        uint8_t room[100];
        struct tf_writer writer = tf_writer_of(room, sizeof room);
        char *found = NULL;
        size_t length, offset;
        FILE *out = open_memstream(&found, &length);

        assert_int_equal(tf_coap_uri_split(&uri, text, &offset), TF_OK);
        assert_int_equal(options_text(out, &uri, true, OPTIONS, text.length + 2, &encoded), TF_OK);
        fclose(out);
        assert_string_equal(found, cases[i].options);
        free(found);
        proxy.scheme = uri.scheme;
        assert_int_equal(tf_coap_uri_write(&writer, &proxy, encoded), TF_OK);
        assert_true(written(&writer).length > 0);
    }
}

static void too_many_options(void **state)
{
    struct tf_coap_uri uri;
    struct tf_bytes encoded;
    size_t offset;

    (void)state;
    assert_int_equal(tf_coap_uri_split(&uri, tf_bytes_str("coap://h/a/b?c"), &offset), TF_OK);
    for (size_t size = 0; size < 4; size++)
        assert_int_equal(options_text(NULL, &uri, false, size, 100, &encoded), TF_LIMIT);
    assert_int_equal(options_text(NULL, &uri, false, 4, 100, &encoded), TF_OK);
}

/* What requests of others may say. */
static void written_of_options(void **state)
{
    static const struct {
        struct tf_coap_option options[4];
        const char *uri; /* NULL: refused */
    } cases[] = {
        {{{0}}, "coap://[fe80::1]:99/"},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"", 0}}}, NULL},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"a/b", 3}}}, NULL},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"a:b", 3}}}, NULL},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"a@b", 3}}}, NULL},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"[a", 2}}}, NULL},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"[]", 2}}}, NULL},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"[a/]", 4}}}, NULL},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"[::2]", 5}}}, "coap://[::2]:99/"},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"x", 1}},
          {TF_COAP_URI_PORT, {(const uint8_t *)"\x16\x33", 2}}},
         "coap://x/"},
        {{{TF_COAP_URI_PORT, {(const uint8_t *)"\1\1\1", 3}}}, NULL},
        {{{TF_COAP_URI_PATH, {(const uint8_t *)".", 1}}}, NULL},
        {{{TF_COAP_URI_PATH, {(const uint8_t *)"..", 2}}}, NULL},
        {{{TF_COAP_URI_PATH, {(const uint8_t *)"a/\xff", 3}}}, "coap://[fe80::1]:99/a%2F%FF"},
        {{{TF_COAP_PROXY_URI, {(const uint8_t *)"http://a", 8}}}, "http://a"},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"x", 1}},
          {TF_COAP_URI_PATH, {(const uint8_t *)"y", 1}},
          {TF_COAP_PROXY_SCHEME, {(const uint8_t *)"http", 4}}},
         "http://x/y"},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"x", 1}},
          {TF_COAP_URI_PORT, {(const uint8_t *)"\x50", 1}},
          {TF_COAP_PROXY_SCHEME, {(const uint8_t *)"http", 4}}},
         "http://x:80/"},
        {{{TF_COAP_URI_HOST, {(const uint8_t *)"x", 1}},
          {TF_COAP_PROXY_SCHEME, {(const uint8_t *)"coaps", 5}}},
         "coaps://x/"},
        {{{TF_COAP_PROXY_SCHEME, {(const uint8_t *)"a/b", 3}}}, NULL},
    };
    const struct tf_coap_uri destination = {
        .host = tf_bytes_str("fe80::1"), .literal = true, .brackets = true, .port = 99};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t room[100], text[100];
        struct tf_writer writer = tf_writer_of(text, sizeof text);
        size_t count = 0;

        while (count < 4 && cases[i].options[count].number)
            count++;
        struct tf_bytes options = options_encode(cases[i].options, count, room, sizeof room);
        enum tf_err err = tf_coap_uri_write(&writer, &destination, options);
        assert_int_equal(err, cases[i].uri ? TF_OK : TF_PROTOCOL);
        if (cases[i].uri)
            assert_text(written(&writer), cases[i].uri);
    }
}

static void location(void **state)
{
    struct tf_coap_option options[] = {
        {TF_COAP_LOCATION_PATH, tf_bytes_str("a b")}, {TF_COAP_LOCATION_PATH, tf_bytes_str("")},
        {TF_COAP_URI_PATH, tf_bytes_str("no")},       {TF_COAP_LOCATION_QUERY, tf_bytes_str("x&")},
        {TF_COAP_LOCATION_QUERY, tf_bytes_str("y")},
    };
    uint8_t room[100], text[100];
    struct tf_writer writer = tf_writer_of(text, sizeof text);

    (void)state;
    assert_int_equal(tf_coap_location_write(&writer, options_encode(options, 5, room, sizeof room)),
                     TF_OK);
    assert_text(written(&writer), "/a%20b/?x%26&y");
    writer = tf_writer_of(text, sizeof text);
    assert_int_equal(
        tf_coap_location_write(&writer, options_encode(options + 4, 1, room, sizeof room)), TF_OK);
    assert_text(written(&writer), "?y");
    writer = tf_writer_of(text, sizeof text);
    assert_int_equal(tf_coap_location_write(&writer, NOTHING), TF_OK);
    assert_int_equal(tf_writer_length(&writer), 0);
    options[0].value = tf_bytes_str("..");
    assert_int_equal(tf_coap_location_write(&writer, options_encode(options, 1, room, sizeof room)),
                     TF_PROTOCOL);
    options[0].value = tf_bytes_str("long");
    writer = tf_writer_of(text, 4);
    assert_int_equal(tf_coap_location_write(&writer, options_encode(options, 1, room, sizeof room)),
                     TF_NO_MEMORY);
}

static void segments(void **state)
{
    static uint8_t many[256];
    static const struct {
        const char *text;
        size_t length;
        bool valid, plain;
    } cases[] = {
        {"", 0, true, true},         {"a", 1, true, true},      {".", 1, false, false},
        {"..", 2, false, false},     {"...", 3, true, true},    {".a", 2, true, true},
        {"a/b", 3, true, false},     {"/", 1, true, false},     {"a\0b", 3, true, false},
        {"\xc3\xbc", 2, true, true}, {"\xc3", 1, false, false}, {"\xff", 1, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tf_bytes text = tf_bytes_of(cases[i].text, cases[i].length);

        assert_int_equal(tf_coap_segment_valid(text), cases[i].valid);
        assert_int_equal(tf_coap_segment_plain(text), cases[i].plain);
    }
    memset(many, 'm', sizeof many);
    assert_true(tf_coap_segment_plain(tf_bytes_of(many, 255)));
    assert_false(tf_coap_segment_valid(tf_bytes_of(many, 256)));
}

static void percent(void **state)
{
    uint8_t room[8];
    struct tf_writer memory = tf_writer_of(room, sizeof room);
    struct tf_bytes text = tf_bytes_str("abc"), found;

    (void)state;
    assert_int_equal(tf_coap_percent_decode(&found, text, &memory), TF_OK);
    assert_ptr_equal(found.data, text.data);
    assert_int_equal(tf_writer_length(&memory), 0);
    assert_int_equal(tf_coap_percent_decode(&found, tf_bytes_str("%41%zz"), &memory), TF_PROTOCOL);
    memory = tf_writer_of(room, 3);
    assert_int_equal(tf_coap_percent_decode(&found, tf_bytes_str("%41b%43"), &memory), TF_OK);
    assert_text(found, "AbC");
    assert_int_equal(tf_coap_percent_decode(&found, tf_bytes_str("%41"), &memory), TF_NO_MEMORY);
    assert_text(found, "AbC");
}

/* RFC 3986 5.4.1 and 5.4.2, with CoAP's scheme, and what link format adds. */
static void references(void **state)
{
    static const char base[] = "coap://a/b/c/d;p?q";
    static const struct {
        const char *reference, *uri;
    } cases[] = {
        {"g:h", "g:h"},
        {"g", "coap://a/b/c/g"},
        {"./g", "coap://a/b/c/g"},
        {"g/", "coap://a/b/c/g/"},
        {"/g", "coap://a/g"},
        {"//g", "coap://g"},
        {"?y", "coap://a/b/c/d;p?y"},
        {"g?y", "coap://a/b/c/g?y"},
        {"#s", "coap://a/b/c/d;p?q#s"},
        {"g#s", "coap://a/b/c/g#s"},
        {"g?y#s", "coap://a/b/c/g?y#s"},
        {";x", "coap://a/b/c/;x"},
        {"g;x", "coap://a/b/c/g;x"},
        {"", "coap://a/b/c/d;p?q"},
        {".", "coap://a/b/c/"},
        {"./", "coap://a/b/c/"},
        {"..", "coap://a/b/"},
        {"../", "coap://a/b/"},
        {"../g", "coap://a/b/g"},
        {"../..", "coap://a/"},
        {"../../", "coap://a/"},
        {"../../g", "coap://a/g"},
        {"../../../g", "coap://a/g"},
        {"/./g", "coap://a/g"},
        {"/../g", "coap://a/g"},
        {"g.", "coap://a/b/c/g."},
        {"..g", "coap://a/b/c/..g"},
        {"./../g", "coap://a/b/g"},
        {"./g/.", "coap://a/b/c/g/"},
        {"g/./h", "coap://a/b/c/g/h"},
        {"g/../h", "coap://a/b/c/h"},
        {"g;x=1/../y", "coap://a/b/c/y"},
        {"g?y/../x", "coap://a/b/c/g?y/../x"},
        {"coap://h:1/x", "coap://h:1/x"},
        {"/sensors/temp?u=1", "coap://a/sensors/temp?u=1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = strlen(base) + strlen(cases[i].reference) + 1;
        uint8_t room[100];
        struct tf_writer writer = tf_writer_of(room, length);
        struct tf_bytes reference = tf_bytes_str(cases[i].reference);

        assert_int_equal(tf_coap_uri_resolve(&writer, tf_bytes_str(base), reference), TF_OK);
        assert_text(written(&writer), cases[i].uri);
        for (size_t less = 0; less < strlen(cases[i].uri); less++) {
            writer = tf_writer_of(room, less);
            assert_int_equal(tf_coap_uri_resolve(&writer, tf_bytes_str(base), reference),
                             TF_NO_MEMORY);
        }
    }
}

static void bases(void **state)
{
    static const struct {
        const char *base, *reference, *uri; /* NULL: refused */
    } cases[] = {
        {"coap://h", "a", "coap://h/a"},
        {"coap://h", "/a", "coap://h/a"},
        {"coap://h", "?a", "coap://h?a"},
        {"coap://h?x", "a", "coap://h/a"},
        {"coap://h?x", "", "coap://h?x"},
        {"coap://h#x", "", "coap://h"},
        {"coap://h?/x/y", "a", "coap://h/a"},
        {"coap://[::1]:1/.well-known/core", "/a", "coap://[::1]:1/a"},
        {"coap:h", "a", NULL},
        {"h", "a", NULL},
        {"", "coap://h", NULL},
        {"coap://", "a", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t room[100];
        struct tf_writer writer = tf_writer_of(room, sizeof room);
        enum tf_err err = tf_coap_uri_resolve(&writer, tf_bytes_str(cases[i].base),
                                              tf_bytes_str(cases[i].reference));

        assert_int_equal(err, cases[i].uri ? TF_OK : TF_PROTOCOL);
        if (cases[i].uri)
            assert_text(written(&writer), cases[i].uri);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(parts),
        cmocka_unit_test(elsewhere),
        cmocka_unit_test(too_many_options),
        cmocka_unit_test(written_of_options),
        cmocka_unit_test(location),
        cmocka_unit_test(segments),
        cmocka_unit_test(percent),
        cmocka_unit_test(references),
        cmocka_unit_test(bases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
