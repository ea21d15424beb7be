/*
 * Fuzz target: the CoAP codec. The input is read as a datagram, as a URI and as link format in
 * turn. What the reader of messages accepts must come out of the writer the same, as there is only
 * one way to write a message; what a URI asks for must be asked for by the URI made of it; links
 * that are written must read as before. Names and numbers must agree.
 */
#include <trefoil/coap_link.h>
#include <trefoil/coap_names.h>
#include <trefoil/coap_uri.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))
#define OPTIONS 64

/* Ends the run with what went wrong. */
static _Noreturn void fail(const char *what, int line)
{
    fprintf(stderr, "fuzz_coap_message.c:%d: %s\n", line, what);
    abort();
}

/* A block of exactly this size, so that the first byte past the end is seen. */
static void *block_new(size_t length)
{
    void *block = malloc(length ? length : 1);

    CHECK(block);
    return block;
}

/* ---- messages ---- */

/* An option's value as text, and that text as a value. */
static void value_fuzz(const struct tf_coap_option *option, bool repeated)
{
    const struct tf_coap_option_rule *rule = tf_coap_option_rule(option->number);
    size_t size = 4 * option->value.length + 100;
    uint8_t *text = block_new(size), *block = block_new(option->value.length);
    struct tf_writer out = tf_writer_of(text, size);
    struct tf_writer memory = tf_writer_of(block, option->value.length);
    struct tf_bytes value;

    CHECK(rule || !tf_coap_option_valid(option, repeated));
    CHECK(!rule || tf_coap_option_name(option->number));
    tf_coap_option_write(&out, option);
    CHECK(!out.failed);
    struct tf_bytes written = tf_bytes_of(text, tf_writer_length(&out));
    if (!rule || (rule->kind == TF_COAP_OPTION_OPAQUE && tf_coap_option_valid(option, false))) {
        CHECK(tf_coap_option_read(&value, option->number, written, &memory) == TF_OK);
        CHECK(tf_bytes_equal(value, option->value));
    } else if (rule->kind == TF_COAP_OPTION_UINT && tf_coap_option_valid(option, false)) {
        CHECK(tf_coap_option_read(&value, option->number, written, &memory) == TF_OK ||
              rule->min > 0);
        CHECK(rule->min > 0 || tf_coap_uint(value) == tf_coap_uint(option->value));
    }
    free(text);
    free(block);
}

/* Writes a message that was read from `whole`. */
static void encode_fuzz(const struct tf_coap_message *message, struct tf_bytes whole)
{
    for (size_t size = whole.length; size + 2 > whole.length; size--) {
        uint8_t *block = block_new(size);
        struct tf_coap_cursor cursor = tf_coap_options(message->options);
        struct tf_coap_option option;
        struct tf_coap_encoder encoder;

        tf_coap_encode(&encoder, block, size, message->type, message->code, message->message_id,
                       message->token);
        while (tf_coap_option_next(&cursor, &option))
            tf_coap_encode_option(&encoder, option.number, option.value);
        tf_coap_encode_payload(&encoder, message->payload);
        struct tf_bytes again = tf_coap_encoded(&encoder);
        if (size == whole.length)
            CHECK(tf_bytes_equal(again, whole));
        else
            CHECK(again.length == 0);
        free(block);
    }
}

static void message_fuzz(struct tf_bytes whole)
{
    struct tf_coap_message message = {.type = 99};
    enum tf_err err = tf_coap_decode(&message, whole);
    struct tf_coap_option option;
    struct tf_coap_block block;
    struct tf_bytes value;
    uint32_t last = UINT32_MAX;

    if (err) {
        CHECK(err == (message.type == 99 ? TF_UNSUPPORTED : TF_PROTOCOL));
        CHECK(!message.token.data && !message.options.data && !message.payload.data);
        return;
    }
    CHECK(message.token.length <= TF_COAP_TOKEN_MAX && message.type <= TF_COAP_RST);
    struct tf_coap_cursor cursor = tf_coap_options(message.options);
    while (tf_coap_option_next(&cursor, &option)) {
        CHECK(last == UINT32_MAX || option.number >= last);
        CHECK(option.number == last || tf_coap_option_find(message.options, option.number, &value));
        CHECK(option.number == last || tf_bytes_equal(value, option.value));
        value_fuzz(&option, option.number == last);
        if (tf_coap_block_read(option.value, &block))
            CHECK(tf_coap_block_value(&block) == tf_coap_uint(option.value));
        last = option.number;
    }
    CHECK(!cursor.reader.failed && !tf_reader_left(&cursor.reader));
    encode_fuzz(&message, whole);
}

/* ---- URIs ---- */

/* The options of a URI as encoded, and the URI made of them. */
struct asked {
    struct tf_coap_option options[OPTIONS];
    size_t count;
    uint8_t *memory;
    uint8_t *text; /* NULL: the host cannot be written */
    size_t length;
};

/* False: there are no options. */
static bool asked_init(struct asked *ret, const struct tf_coap_uri *uri, size_t length)
{
    struct tf_coap_encoder encoder;
    size_t size = 3 * length + 20, encoded_size = 4 * length + 4 * OPTIONS + 4;

    ret->memory = block_new(length);
    struct tf_writer memory = tf_writer_of(ret->memory, length);
    enum tf_err err = tf_coap_uri_options(uri, false, ret->options, OPTIONS, &ret->count, &memory);
    if (err) {
        CHECK(err == TF_PROTOCOL || err == TF_LIMIT);
        free(ret->memory);
        return false;
    }
    uint8_t *encoded = block_new(encoded_size);
    tf_coap_encode(&encoder, encoded, encoded_size, TF_COAP_CON, TF_COAP_GET, 1,
                   (struct tf_bytes){NULL, 0});
    for (size_t i = 0; i < ret->count; i++) {
        CHECK(tf_coap_option_valid(&ret->options[i], false));
        CHECK(ret->options[i].number != TF_COAP_URI_PATH ||
              tf_coap_segment_valid(ret->options[i].value));
        tf_coap_encode_option(&encoder, ret->options[i].number, ret->options[i].value);
    }
    struct tf_bytes whole = tf_coap_encoded(&encoder);
    CHECK(whole.length >= TF_COAP_HEADER);
    ret->text = block_new(size);
    struct tf_writer out = tf_writer_of(ret->text, size);
    err = tf_coap_uri_write(&out, uri, tf_bytes_of(whole.data + 4, whole.length - 4));
    ret->length = tf_writer_length(&out);
    free(encoded);
    if (err) {
        CHECK(err == TF_PROTOCOL && ret->count && ret->options[0].number == TF_COAP_URI_HOST);
        free(ret->text);
        ret->text = NULL;
    }
    return true;
}

static void asked_release(struct asked *asked)
{
    free(asked->memory);
    free(asked->text);
}

/* The first option behind the host: an escaped capital letter or number changes there. */
static size_t behind_host(const struct asked *asked)
{
    return asked->count > 0 && asked->options[0].number == TF_COAP_URI_HOST;
}

static void uri_fuzz(struct tf_bytes text)
{
    struct tf_coap_uri uri, other;
    struct asked first, second;
    size_t offset = SIZE_MAX;
    enum tf_err err = tf_coap_uri_split(&uri, text, &offset);

    CHECK(err ? offset <= text.length : offset == SIZE_MAX);
    if (err || !asked_init(&first, &uri, text.length))
        return;
    if (first.text) {
        CHECK(!tf_coap_uri_split(&other, tf_bytes_of(first.text, first.length), &offset));
        CHECK(other.scheme == uri.scheme && other.port == uri.port);
        CHECK(asked_init(&second, &other, first.length));
        size_t i = behind_host(&first), j = behind_host(&second);
        CHECK(first.count - i == second.count - j);
        for (; i < first.count; i++, j++)
            CHECK(first.options[i].number == second.options[j].number &&
                  tf_bytes_equal(first.options[i].value, second.options[j].value));
        asked_release(&second);
    }
    asked_release(&first);
}

/* Resolves one half of the text against the other and against a good base. */
static void resolve_fuzz(struct tf_bytes text)
{
    size_t size = text.length + 40;
    uint8_t *block = block_new(size);
    struct tf_writer out = tf_writer_of(block, size);
    size_t half = text.length / 2;

    CHECK(tf_coap_uri_resolve(&out, tf_bytes_str("coap://h/a/b"), text) == TF_OK);
    out = tf_writer_of(block, size);
    enum tf_err err = tf_coap_uri_resolve(&out, tf_bytes_of(text.data, half),
                                          tf_bytes_of(text.data + half, text.length - half));
    CHECK(err == TF_OK || err == TF_PROTOCOL);
    free(block);
}

/* ---- links ---- */

/* Writes all links of a text; what reading them ended with. */
static enum tf_err links_write(struct tf_writer *out, struct tf_bytes text)
{
    struct tf_coap_links links = tf_coap_links_of(text);
    struct tf_coap_attribute attribute;
    struct tf_coap_link link;
    bool first = true;
    enum tf_err err;

    while (!(err = tf_coap_link_next(&links, &link))) {
        struct tf_coap_attributes attributes = tf_coap_attributes_of(&link);

        CHECK(links.offset <= text.length);
        tf_coap_link_write(out, first, link.target);
        first = false;
        while (tf_coap_attribute_next(&attributes, &attribute)) {
            uint8_t *block = block_new(attribute.value.length);
            struct tf_writer value = tf_writer_of(block, attribute.value.length);

            tf_coap_attribute_text(&value, &attribute);
            CHECK(!value.failed);
            if (attribute.has_value)
                tf_coap_attribute_write(out, attribute.name,
                                        tf_bytes_of(block, tf_writer_length(&value)));
            else
                tf_coap_attribute_write_flag(out, attribute.name);
            CHECK(tf_coap_link_matches(&link, attribute.name));
            free(block);
        }
        CHECK(!tf_reader_left(&attributes.reader));
        CHECK(tf_coap_link_matches(&link, tf_bytes_str("href=*")));
        (void)tf_coap_link_matches(&link, text);
    }
    CHECK(links.offset <= text.length);
    return err;
}

static void links_fuzz(struct tf_bytes text)
{
    size_t size = 4 * text.length + 16;
    uint8_t *once = block_new(size), *twice = block_new(size);
    struct tf_writer out = tf_writer_of(once, size), again = tf_writer_of(twice, size);

    enum tf_err err = links_write(&out, text);
    CHECK(err == TF_NOT_FOUND || err == TF_PROTOCOL);
    CHECK(!out.failed);
    struct tf_bytes written = tf_bytes_of(once, tf_writer_length(&out));
    CHECK(links_write(&again, written) == TF_NOT_FOUND);
    CHECK(tf_bytes_equal(written, tf_bytes_of(twice, tf_writer_length(&again))));
    free(once);
    free(twice);
}

/* ---- names ---- */

static void names_fuzz(struct tf_bytes text)
{
    uint16_t number, other = 0;
    uint8_t code;
    const char *coding;

    if (tf_coap_format_number(text, &number)) {
        const char *name = tf_coap_format_name(number, &coding);

        CHECK(name && !coding && tf_coap_format_number(tf_bytes_str(name), &other));
        CHECK(other == number);
    }
    (void)tf_coap_format_find(text, &number);
    (void)tf_coap_code_find(text, &code);
    if (tf_coap_option_number(text, &number)) {
        struct tf_bytes value;
        uint8_t room[4];
        struct tf_writer memory = tf_writer_of(room, sizeof room);

        (void)!tf_coap_option_read(&value, number, text, &memory);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct tf_bytes input = tf_bytes_of(data, length);

    message_fuzz(input);
    uri_fuzz(input);
    resolve_fuzz(input);
    links_fuzz(input);
    names_fuzz(input);
    return 0;
}
