/*
 * The plain form of an AMQP body that is more than one run of bytes: see mapping.h.
 *
 * JSON is written by hand here, straight from the encoded value and in two rounds, the first only
 * counting: a tree of a library's would cost many times the message, for values of any depth and
 * number that a peer chose.
 */
#include "broker/mapping.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/util.h"
#include "broker/mapping_text.h"

#include <trefoil/amqp_message.h>

/*
 * An item takes at most eight times its bytes as JSON, but items of an array may have none: so much
 * more is allowed for them.
 */
#define GROWTH 8u
#define EMPTY_ITEMS (8u * TF_AMQP_EMPTY_ITEMS_MAX)

/* Where text goes: counted always, written while there is room. */
struct sink {
    uint8_t *data; /* NULL: only counted */
    size_t length;
    size_t limit;
};

static void put(struct sink *sink, struct tf_bytes bytes)
{
    if (sink->data && bytes.length && bytes.length <= sink->limit - sink->length) {
        memcpy(sink->data + sink->length, bytes.data, bytes.length);
    }
    sink->length += TF_MIN(bytes.length, sink->limit - sink->length);
}

static void put_byte(struct sink *sink, uint8_t byte)
{
    put(sink, tf_bytes_of(&byte, 1));
}

/* RFC 8259 7, without the quotes around it. */
static void put_escaped(struct sink *sink, struct tf_bytes text)
{
    static const char digits[] = "0123456789abcdef";
    size_t from = 0;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte = text.data[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') {
            continue;
        }
        put(sink, tf_bytes_of(text.data + from, i - from));
        from = i + 1;
        put_byte(sink, '\\');
        if (byte == '"' || byte == '\\') {
            put_byte(sink, byte);
        } else if (byte == '\n' || byte == '\r' || byte == '\t') {
            put_byte(sink, byte == '\n' ? 'n' : byte == '\r' ? 'r' : 't');
        } else {
            put(sink, tf_bytes_str("u00"));
            put_byte(sink, (uint8_t)digits[byte >> 4]);
            put_byte(sink, (uint8_t)digits[byte & 15]);
        }
    }
    put(sink, tf_bytes_of(text.data + from, text.length - from));
}

/* RFC 4648 4. */
static void put_base64(struct sink *sink, struct tf_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.length; i += 3) {
        size_t left = TF_MIN(bytes.length - i, 3);
        uint32_t all = (uint32_t)bytes.data[i] << 16;
        all |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        all |= left > 2 ? bytes.data[i + 2] : 0;
        const char four[4] = {digits[all >> 18], digits[all >> 12 & 63],
                              left > 1 ? digits[all >> 6 & 63] : '=',
                              left > 2 ? digits[all & 63] : '='};
        put(sink, tf_bytes_of(four, 4));
    }
}

/* A scalar; as a key it is always a string. */
static void put_scalar(struct sink *sink, const struct tf_amqp_value *value, bool is_key)
{
    char buffer[TF_MAPPING_TEXT_MAX];
    struct tf_bytes text;
    bool literal = true;
    if (value->type == TF_AMQP_BINARY) {
        put_byte(sink, '"');
        put_base64(sink, value->bytes);
        put_byte(sink, '"');
        return;
    }
    if (!tf_mapping_text_of(value, buffer, &text, &literal)) {
        text = tf_bytes_str("null");
    }
    if (!literal || is_key) {
        put_byte(sink, '"');
        put_escaped(sink, text);
        put_byte(sink, '"');
    } else {
        put(sink, text);
    }
}

static bool is_compound(const struct tf_amqp_value *value)
{
    return value->type == TF_AMQP_LIST || value->type == TF_AMQP_MAP ||
           value->type == TF_AMQP_ARRAY;
}

/* A key that is no scalar has no text: its bytes stand for it. */
static void put_key(struct sink *sink, const struct tf_amqp_value *key)
{
    if (is_compound(key)) {
        put_byte(sink, '"');
        put_base64(sink, key->encoded);
        put_byte(sink, '"');
    } else {
        put_scalar(sink, key, true);
    }
}

/* A compound that is being written. */
struct level {
    struct tf_amqp_items items;
    bool map, started;
};

/* The next item of the innermost compound, its key and comma written; false: it has ended. */
static bool next_item(struct sink *sink, struct level *level, struct tf_amqp_value *ret)
{
    struct tf_amqp_value key;
    if (level->map ? !tf_amqp_pair_next(&level->items, &key, ret)
                   : !tf_amqp_item_next(&level->items, ret)) {
        return false;
    }
    if (level->started) {
        put_byte(sink, ',');
    }
    level->started = true;
    if (level->map) {
        put_key(sink, &key);
        put_byte(sink, ':');
    }
    return true;
}

/* One value with all that is in it. Its depth has been checked when the message was read. */
static void put_value(struct sink *sink, const struct tf_amqp_value *value)
{
    struct level levels[TF_AMQP_DEPTH_MAX + 1];
    struct tf_amqp_value item = *value;
    size_t depth = 0;
    bool more = true;
    while (more && sink->length < sink->limit) {
        if (!is_compound(&item)) {
            put_scalar(sink, &item, false);
        } else if (depth < TF_COUNT(levels)) {
            levels[depth++] =
                (struct level){tf_amqp_items_of(&item), item.type == TF_AMQP_MAP, false};
            put_byte(sink, item.type == TF_AMQP_MAP ? '{' : '[');
        } else {
            put(sink, tf_bytes_str("null"));
        }
        more = false;
        while (depth > 0 && !more) {
            more = next_item(sink, &levels[depth - 1], &item);
            if (!more) {
                put_byte(sink, levels[--depth].map ? '}' : ']');
            }
        }
    }
}

/* ---- bodies ---- */

/* The next section of the body; false: it has ended, or the footer has come. */
static bool next_section(struct tf_reader *reader, struct tf_amqp_value *ret,
                         enum tf_amqp_section *ret_section)
{
    static const struct {
        enum tf_amqp_section section;
        const char *symbol;
    } sections[] = {{TF_AMQP_DATA, "amqp:data:binary"},
                    {TF_AMQP_AMQP_SEQUENCE, "amqp:amqp-sequence:list"},
                    {TF_AMQP_AMQP_VALUE, "amqp:amqp-value:*"}};
    if (tf_reader_left(reader) == 0 || tf_amqp_value_read(reader, ret)) {
        return false;
    }
    for (size_t i = 0; i < TF_COUNT(sections); i++) {
        if (tf_amqp_described_as(ret, (uint64_t)sections[i].section, sections[i].symbol)) {
            *ret_section = sections[i].section;
            return true;
        }
    }
    return false;
}

/* The lists of all sequence sections as one, from `first` on. */
static void put_sequence(struct sink *sink, struct tf_reader *reader, struct tf_amqp_value *first)
{
    enum tf_amqp_section section;
    bool started = false;
    put_byte(sink, '[');
    do {
        struct tf_amqp_items items = tf_amqp_items_of(first);
        struct tf_amqp_value item;
        while (sink->length < sink->limit && tf_amqp_item_next(&items, &item)) {
            if (started) {
                put_byte(sink, ',');
            }
            started = true;
            put_value(sink, &item);
        }
    } while (next_section(reader, first, &section));
    put_byte(sink, ']');
}

/* The plain form of `body`, which is whole sections. */
static void convert(struct tf_bytes body, struct sink *sink)
{
    struct tf_reader reader = tf_reader_of(body);
    struct tf_amqp_value value;
    enum tf_amqp_section section;
    while (next_section(&reader, &value, &section)) {
        bool bare = value.descriptors == 1;
        if (section == TF_AMQP_DATA ||
            (bare && (value.type == TF_AMQP_STRING || value.type == TF_AMQP_BINARY))) {
            put(sink, value.bytes);
        } else if (section == TF_AMQP_AMQP_SEQUENCE) {
            put_sequence(sink, &reader, &value);
        } else {
            put_value(sink, &value);
        }
    }
}

/* Converts `body` and attaches what comes of it. */
static enum tf_err attach(struct tf_message *message, struct tf_bytes body,
                          const struct tf_alloc *alloc, const struct tf_encoding **ret_encoding)
{
    struct sink sink = {.limit = GROWTH * body.length + EMPTY_ITEMS};
    convert(body, &sink);
    if (sink.length == sink.limit) {
        return TF_LIMIT;
    }
    size_t length = sink.length;
    uint8_t *data = alloc->alloc(alloc->ctx, length + 1);
    if (!data) {
        return TF_NO_MEMORY;
    }
    sink = (struct sink){.data = data, .limit = length + 1};
    convert(body, &sink);
    tf_assert(sink.length == length);
    *ret_encoding = tf_message_attach(message, TF_PROTOCOL_PLAIN, tf_bytes_of(data, length));
    alloc->free(alloc->ctx, data, length + 1);
    return *ret_encoding ? TF_OK : TF_NO_MEMORY;
}

/* The same for a body in pieces, too. */
static enum tf_err make(struct tf_message *message, const struct tf_alloc *alloc,
                        const struct tf_encoding **ret_encoding)
{
    const struct tf_publication *publication = &message->publication;
    if (publication->body_count <= 1) {
        return attach(message,
                      publication->body_count ? publication->body[0] : tf_bytes_of(NULL, 0), alloc,
                      ret_encoding);
    }
    size_t length = tf_publication_length(publication), at = 0;
    uint8_t *whole = alloc->alloc(alloc->ctx, length + 1);
    if (!whole) {
        return TF_NO_MEMORY;
    }
    for (size_t i = 0; i < publication->body_count; i++) {
        struct tf_bytes piece = publication->body[i];
        if (piece.length) {
            memcpy(whole + at, piece.data, piece.length);
            at += piece.length;
        }
    }
    enum tf_err err = attach(message, tf_bytes_of(whole, at), alloc, ret_encoding);
    alloc->free(alloc->ctx, whole, length + 1);
    return err;
}

enum tf_err tf_mapping_plain(struct tf_publication *publication, const struct tf_alloc *alloc,
                             struct tf_plain_body *ret)
{
    const struct tf_envelope *envelope = &publication->envelope;
    struct tf_plain_body plain = {.body = publication->body,
                                  .count = publication->body_count,
                                  .content_type = envelope->content_type,
                                  .payload_format = envelope->payload_format};
    if (envelope->body_format == TF_BODY_SECTIONS) {
        struct tf_message *message = tf_publication_keep(publication, alloc);
        if (!message) {
            return TF_NO_MEMORY;
        }
        const struct tf_encoding *encoding = tf_message_encoding(message, TF_PROTOCOL_PLAIN);
        enum tf_err err = encoding ? TF_OK : make(message, alloc, &encoding);
        tf_message_unref(message); /* the publication has a count of its own */
        if (err) {
            return err;
        }
        plain.body = &encoding->bytes;
        plain.count = encoding->bytes.length != 0;
    }
    *ret = plain;
    return TF_OK;
}

size_t tf_mapping_plain_length(const struct tf_plain_body *plain)
{
    size_t length = 0;
    for (size_t i = 0; i < plain->count; i++) {
        length += plain->body[i].length;
    }
    return length;
}
