/*
 * Link format: golden vectors of links, attributes, filters and faults; what is read is written
 * again and read once more. RFC 6690.
 */
#include <trefoil/coap_link.h>

#include "vector_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The value of an attribute, in `room`. */
static struct tf_bytes value_of(const struct tf_coap_attribute *attribute, void *room)
{
    struct tf_writer writer = tf_writer_of(room, attribute->value.length);

    tf_coap_attribute_text(&writer, attribute);
    assert_false(writer.failed);
    return tf_bytes_of(writer.start, tf_writer_length(&writer));
}

/* Writes the lines of a text of links. */
static void links_text(FILE *out, struct tf_bytes text)
{
    struct tf_coap_links links = tf_coap_links_of(text);
    struct tf_coap_attribute attribute;
    struct tf_coap_link link;
    uint8_t room[256];
    enum tf_err err;

    while (!(err = tf_coap_link_next(&links, &link))) {
        struct tf_coap_attributes attributes = tf_coap_attributes_of(&link);

        fprintf(out, "link %.*s\n", (int)link.target.length, (const char *)link.target.data);
        while (tf_coap_attribute_next(&attributes, &attribute)) {
            struct tf_bytes value = value_of(&attribute, room);

            fprintf(out, "%.*s", (int)attribute.name.length, (const char *)attribute.name.data);
            if (attribute.has_value)
                fprintf(out, "=%.*s", (int)value.length, (const char *)value.data);
            putc('\n', out);
        }
        assert_int_equal(tf_reader_left(&attributes.reader), 0);
        assert_false(attributes.reader.failed);
    }
    assert_true(links.offset <= text.length);
    if (err == TF_PROTOCOL) {
        size_t offset = links.offset;

        fprintf(out, "error %zu\n", offset);
        return;
    }
    assert_int_equal(err, TF_NOT_FOUND);
    assert_int_equal(tf_coap_link_next(&links, &link), TF_NOT_FOUND);
}

/* Writes the targets that pass a filter. */
static void filter_text(FILE *out, struct tf_bytes text, const char *line)
{
    struct tf_coap_links links = tf_coap_links_of(text);
    struct tf_coap_link link;
    const char *arrow = strstr(line, " ->");

    assert_non_null(arrow);
    struct tf_bytes query = vector_cut(tf_bytes_str(line), (size_t)(arrow - line));
    fprintf(out, "filter %.*s", (int)(arrow - line + 3), line);
    while (!tf_coap_link_next(&links, &link)) {
        if (tf_coap_link_matches(&link, query))
            fprintf(out, " %.*s", (int)link.target.length, (const char *)link.target.data);
    }
    putc('\n', out);
    vector_drop(query);
}

/* Writes the links again, all values in quotes, into `writer`. */
static void links_write(struct tf_writer *writer, struct tf_bytes text)
{
    struct tf_coap_links links = tf_coap_links_of(text);
    struct tf_coap_attribute attribute;
    struct tf_coap_link link;
    uint8_t room[256];
    bool first = true;

    while (!tf_coap_link_next(&links, &link)) {
        struct tf_coap_attributes attributes = tf_coap_attributes_of(&link);

        tf_coap_link_write(writer, first, link.target);
        first = false;
        while (tf_coap_attribute_next(&attributes, &attribute)) {
            if (attribute.has_value)
                tf_coap_attribute_write(writer, attribute.name, value_of(&attribute, room));
            else
                tf_coap_attribute_write_flag(writer, attribute.name);
        }
    }
}

/* Text that was written from a text reads as it does, and is not written otherwise. */
static void again(struct tf_bytes text)
{
    static uint8_t once[2048], twice[2048];
    struct tf_writer writer = tf_writer_of(once, sizeof once);
    struct tf_writer other = tf_writer_of(twice, sizeof twice);
    char *before = NULL, *after = NULL;
    size_t length;

    links_write(&writer, text);
    assert_false(writer.failed);
    struct tf_bytes written = tf_bytes_of(once, tf_writer_length(&writer));
    FILE *out = open_memstream(&before, &length);
    links_text(out, text);
    fclose(out);
    out = open_memstream(&after, &length);
    links_text(out, written);
    fclose(out);
    assert_string_equal(before, after);
    links_write(&other, written);
    assert_true(tf_bytes_equal(written, tf_bytes_of(twice, tf_writer_length(&other))));
    free(before);
    free(after);
}

static void vector_run(const struct vector *vector)
{
    const char *line = vector_line(vector, "text ");
    struct tf_bytes text = vector_cut(tf_bytes_str(line), strlen(line));
    char expected[4096] = "", *found = NULL;
    size_t length;

    FILE *out = open_memstream(&found, &length);
    links_text(out, text);
    for (size_t i = 0; i < vector->count; i++) {
        if (!strncmp(vector->lines[i], "filter ", 7))
            filter_text(out, text, vector->lines[i] + 7);
        if (strncmp(vector->lines[i], "text ", 5) != 0)
            strcat(strcat(expected, vector->lines[i]), "\n");
    }
    fclose(out);
    if (strcmp(found, expected) != 0)
        fail_msg("%s is\n%sinstead of\n%s", vector->name, found, expected);
    free(found);
    if (!vector_line(vector, "error "))
        again(text);
    for (size_t i = 0; i < text.length; i++) { /* every prefix, in a block of its size */
        struct tf_bytes part = vector_cut(text, i);

        out = open_memstream(&found, &length);
        links_text(out, part);
        fclose(out);
        free(found);
        vector_drop(part);
    }
    vector_drop(text);
}

static void vectors(void **state)
{
    (void)state;
    assert_true(vector_file_run("coap-link.txt", vector_run) >= 30);
}

static void find(void **state)
{
    struct tf_coap_links links = tf_coap_links_of(tf_bytes_str("</a>;rt=x;CT=1;ct=2;obs"));
    struct tf_coap_attribute attribute;
    struct tf_coap_link link;

    (void)state;
    assert_int_equal(tf_coap_link_next(&links, &link), TF_OK);
    assert_true(tf_coap_attribute_find(&link, tf_bytes_str("ct"), &attribute));
    assert_true(tf_bytes_equal(attribute.value, tf_bytes_str("1")));
    assert_true(tf_coap_attribute_find(&link, tf_bytes_str("obs"), &attribute));
    assert_false(attribute.has_value);
    assert_false(tf_coap_attribute_find(&link, tf_bytes_str("if"), &attribute));
    assert_true(tf_bytes_equal(attribute.name, tf_bytes_str("obs")));
}

/* Every Uri-Query has to let a link pass. */
static void queries(void **state)
{
    static const struct {
        const char *one, *other;
        bool wanted;
    } cases[] = {
        {NULL, NULL, true},     {"rt=x", NULL, true},    {"rt=y", NULL, false},
        {"rt=x", "ct=1", true}, {"rt=x", "ct=2", false}, {"rt=y", "ct=1", false},
    };
    struct tf_coap_links links = tf_coap_links_of(tf_bytes_str("</a>;rt=x;ct=1"));
    struct tf_coap_link link;

    (void)state;
    assert_int_equal(tf_coap_link_next(&links, &link), TF_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t room[64];
        struct tf_coap_encoder encoder;
        struct tf_coap_message message;

        tf_coap_encode(&encoder, room, sizeof room, TF_COAP_CON, TF_COAP_GET, 1,
                       (struct tf_bytes){NULL, 0});
        tf_coap_encode_option(&encoder, TF_COAP_URI_PATH, tf_bytes_str("rt=z"));
        if (cases[i].one)
            tf_coap_encode_option(&encoder, TF_COAP_URI_QUERY, tf_bytes_str(cases[i].one));
        if (cases[i].other)
            tf_coap_encode_option(&encoder, TF_COAP_URI_QUERY, tf_bytes_str(cases[i].other));
        assert_int_equal(tf_coap_decode(&message, tf_coap_encoded(&encoder)), TF_OK);
        assert_int_equal(tf_coap_link_wanted(&link, message.options), cases[i].wanted);
    }
}

/* Writes what a broker lists. */
static void listing_write(struct tf_writer *writer)
{
    tf_coap_link_write(writer, true, tf_bytes_str("/a"));
    tf_coap_attribute_write(writer, tf_bytes_str("rt"), tf_bytes_str("x \"y\" \\z"));
    tf_coap_attribute_write_uint(writer, tf_bytes_str("ct"), 0);
    tf_coap_attribute_write_uint(writer, tf_bytes_str("sz"), UINT32_MAX);
    tf_coap_link_write(writer, false, tf_bytes_str("/b"));
    tf_coap_attribute_write_flag(writer, tf_bytes_str("obs"));
}

static void writing(void **state)
{
    static const char expected[] = "</a>;rt=\"x \\\"y\\\" \\\\z\";ct=0;sz=4294967295,</b>;obs";
    char room[sizeof expected];
    struct tf_writer writer = tf_writer_of(room, sizeof room - 1);

    (void)state;
    listing_write(&writer);
    assert_false(writer.failed);
    assert_int_equal(tf_writer_length(&writer), sizeof expected - 1);
    assert_memory_equal(room, expected, sizeof expected - 1);
    for (size_t length = 0; length < sizeof expected - 1; length++) {
        writer = tf_writer_of(room, length);
        listing_write(&writer);
        assert_true(writer.failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(find),
        cmocka_unit_test(queries),
        cmocka_unit_test(writing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
