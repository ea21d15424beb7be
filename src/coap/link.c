/*
 * CoRE link format: reading, filtering, writing (RFC 6690, RFC 7252 7.2).
 *
 * One pass, one byte at a time, nothing kept: the text may be as long as a directory of everything
 * a broker has. A link is checked whole before any of it is shown.
 */
#include <trefoil/coap_link.h>

#include "base/util.h"
#include "coap/text.h"

/* ---- characters ---- */

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What an attribute's name is made of (RFC 5987 3.2.1: parmname), and the star of `title*`. */
static bool name_char(uint8_t c)
{
    return c > 0x20 && c < 0x7F && !tf_coap_among("\"%'()*,/:;<=>?@[\\]{}", c);
}

/* What a value without quotes is made of (RFC 6690 2: ptokenchar). */
static bool token_char(uint8_t c)
{
    return c > 0x20 && c < 0x7F && !tf_coap_among("\",;\\", c);
}

/* What may stand between `<` and `>`. */
static bool target_char(uint8_t c)
{
    return c > 0x20 && c != 0x7F && !tf_coap_among("\"<>", c);
}

/* ---- reading ---- */

/* Skips white space. */
static void blanks_skip(struct tf_reader *reader)
{
    while (reader->next < reader->end && blank(*reader->next))
        reader->next++;
}

/* Takes all characters of a kind. */
static struct tf_bytes run_read(struct tf_reader *reader, bool (*kind)(uint8_t c))
{
    const uint8_t *start = reader->next;

    while (reader->next < reader->end && kind(*reader->next))
        reader->next++;
    return tf_bytes_of(start, (size_t)(reader->next - start));
}

/* True if the next character is this one, which is taken then. */
static bool taken(struct tf_reader *reader, uint8_t c)
{
    if (reader->next == reader->end || *reader->next != c)
        return false;
    reader->next++;
    return true;
}

/* What is behind an opening quote, up to the closing one. False: no text, or no end. */
static bool quoted_read(struct tf_reader *reader, struct tf_bytes *ret)
{
    const uint8_t *start = reader->next;

    for (; reader->next < reader->end; reader->next++) {
        uint8_t c = *reader->next;

        if (c == '"') {
            *ret = tf_bytes_of(start, (size_t)(reader->next++ - start));
            return true;
        }
        if (c == '\\' && ++reader->next == reader->end)
            break;
        c = *reader->next;
        if ((c < 0x20 && !blank(c)) || c == 0x7F)
            break;
    }
    return false;
}

/* Reads what is behind a semicolon. False: it is no attribute, and the reader is where it is wrong.
 */
static bool attribute_read(struct tf_reader *reader, struct tf_coap_attribute *ret)
{
    struct tf_coap_attribute attribute = {0};

    blanks_skip(reader);
    attribute.name = run_read(reader, name_char);
    if (!attribute.name.length)
        return false;
    if (taken(reader, '*'))
        attribute.name.length++;
    attribute.has_value = taken(reader, '=');
    if (attribute.has_value) {
        attribute.quoted = taken(reader, '"');
        if (attribute.quoted && !quoted_read(reader, &attribute.value))
            return false;
        if (!attribute.quoted) {
            attribute.value = run_read(reader, token_char);
            if (!attribute.value.length)
                return false;
        }
    }
    *ret = attribute;
    return true;
}

enum tf_err tf_coap_link_next(struct tf_coap_links *links, struct tf_coap_link *ret)
{
    struct tf_reader reader = tf_reader_of(links->text);
    const uint8_t *start = reader.next;
    struct tf_coap_attribute attribute;
    struct tf_coap_link link;

    reader.next += links->offset;
    blanks_skip(&reader);
    bool comma = links->offset > 0 && start[links->offset - 1] == ',';
    if (reader.next == reader.end && !comma) /* behind a comma there has to be a link */
        return TF_NOT_FOUND;
    if (!taken(&reader, '<'))
        goto wrong;
    link.target = run_read(&reader, target_char);
    if (!taken(&reader, '>'))
        goto wrong;
    const uint8_t *attributes = reader.next, *end = reader.next;
    for (;;) {
        blanks_skip(&reader);
        if (!taken(&reader, ';'))
            break;
        if (!attribute_read(&reader, &attribute))
            goto wrong;
        end = reader.next;
    }
    link.attributes = tf_bytes_of(attributes, (size_t)(end - attributes));
    if (reader.next < reader.end && !taken(&reader, ','))
        goto wrong;
    links->offset = (size_t)(reader.next - start);
    *ret = link;
    return TF_OK;
wrong:
    links->offset = (size_t)(reader.next - start);
    return TF_PROTOCOL;
}

bool tf_coap_attribute_next(struct tf_coap_attributes *attributes, struct tf_coap_attribute *ret)
{
    blanks_skip(&attributes->reader);
    return taken(&attributes->reader, ';') && attribute_read(&attributes->reader, ret);
}

bool tf_coap_attribute_find(const struct tf_coap_link *link, struct tf_bytes name,
                            struct tf_coap_attribute *ret)
{
    struct tf_coap_attributes attributes = tf_coap_attributes_of(link);
    struct tf_coap_attribute attribute;

    while (tf_coap_attribute_next(&attributes, &attribute)) {
        if (tf_coap_same_text(attribute.name, name)) {
            *ret = attribute;
            return true;
        }
    }
    return false;
}

/* ---- values as they are meant ---- */

/* Gives the bytes of a value one by one, whatever stands for them. */
struct feed {
    const uint8_t *next;
    const uint8_t *end;
    bool quoted;  /* a backslash before a byte means the byte */
    bool percent; /* %HH is a byte (RFC 5987 3.2.1) */
};

/* The next byte; -1: the end. */
static int feed_next(struct feed *feed)
{
    if (feed->next == feed->end)
        return -1;
    uint8_t c = *feed->next++;
    if (feed->quoted && c == '\\' && feed->next < feed->end)
        return *feed->next++;
    if (feed->percent && c == '%' && feed->end - feed->next >= 2) {
        unsigned high = tf_coap_hex(feed->next[0]), low = tf_coap_hex(feed->next[1]);
        if (high < 16 && low < 16) {
            feed->next += 2;
            return (int)(high << 4 | low);
        }
    }
    return c;
}

/* The value of an attribute. */
static struct feed feed_of(const struct tf_coap_attribute *attribute)
{
    struct tf_reader reader = tf_reader_of(attribute->value);

    return (struct feed){reader.next, reader.end, attribute->quoted, false};
}

void tf_coap_attribute_text(struct tf_writer *out, const struct tf_coap_attribute *attribute)
{
    struct feed feed = feed_of(attribute);

    for (int c = feed_next(&feed); c >= 0; c = feed_next(&feed))
        tf_write_u8(out, (uint8_t)c);
}

/* ---- filters (RFC 6690 4.1) ---- */

/* What a value is compared with. */
struct pattern {
    struct tf_bytes text; /* without the star */
    bool prefix;          /* there was one */
};

/* True if the value, or in a list one of the values with spaces between, fits. */
static bool fits(struct feed feed, const struct pattern *pattern, bool list)
{
    bool alike = true, any = !list;
    size_t seen = 0;

    for (;;) {
        int c = feed_next(&feed);

        if (c < 0 || (list && c == ' ')) {
            if (any && alike && seen == pattern->text.length)
                return true;
            if (c < 0)
                return false;
            alike = true;
            any = false;
            seen = 0;
            continue;
        }
        any = true;
        if (seen < pattern->text.length)
            alike = alike && pattern->text.data[seen++] == c;
        else
            alike = alike && pattern->prefix;
    }
}

/* True for the attributes whose value is a list (RFC 6690 2, RFC 7252 7.2.1). */
static bool is_list(struct tf_bytes name)
{
    static const char *const lists[] = {"rt", "if", "ct", "rel", "rev"};

    for (size_t i = 0; i < TF_COUNT(lists); i++) {
        if (tf_coap_same_text(name, tf_bytes_str(lists[i])))
            return true;
    }
    return false;
}

/* The text of a `title*`: charset, quote, language, quote, escaped bytes (RFC 5987 3.2). */
static struct feed extended_feed(const struct tf_coap_attribute *attribute)
{
    struct feed feed = feed_of(attribute);
    unsigned quotes = 0;

    while (quotes < 2 && feed.next < feed.end)
        quotes += *feed.next++ == '\'';
    feed.percent = true;
    return feed;
}

/* True if an attribute of this name fits. */
static bool attributes_fit(const struct tf_coap_link *link, struct tf_bytes name,
                           const struct pattern *pattern)
{
    struct tf_coap_attributes attributes = tf_coap_attributes_of(link);
    struct tf_coap_attribute attribute;
    bool title = tf_coap_same_text(name, tf_bytes_str("title"));

    while (tf_coap_attribute_next(&attributes, &attribute)) {
        if (tf_coap_same_text(attribute.name, name)) {
            if (!pattern || fits(feed_of(&attribute), pattern, false) ||
                (is_list(name) && fits(feed_of(&attribute), pattern, true)))
                return true;
        } else if (title && tf_coap_same_text(attribute.name, tf_bytes_str("title*"))) {
            if (!pattern || fits(extended_feed(&attribute), pattern, false))
                return true;
        }
    }
    return false;
}

bool tf_coap_link_matches(const struct tf_coap_link *link, struct tf_bytes query)
{
    struct tf_bytes name = query;
    struct pattern pattern;

    name.length = 0;
    while (name.length < query.length && query.data[name.length] != '=')
        name.length++;
    if (name.length == query.length)
        return tf_coap_same_text(name, tf_bytes_str("href")) || attributes_fit(link, name, NULL);
    pattern.text = tf_bytes_of(query.data + name.length + 1, query.length - name.length - 1);
    pattern.prefix = pattern.text.length > 0 && pattern.text.data[pattern.text.length - 1] == '*';
    pattern.text.length -= pattern.prefix;
    if (tf_coap_same_text(name, tf_bytes_str("href"))) {
        struct tf_coap_attribute target = {.value = link->target};

        return fits(feed_of(&target), &pattern, false);
    }
    return attributes_fit(link, name, &pattern);
}

bool tf_coap_link_wanted(const struct tf_coap_link *link, struct tf_bytes options)
{
    struct tf_coap_cursor cursor = tf_coap_options(options);
    struct tf_coap_option option;

    while (tf_coap_option_next(&cursor, &option)) {
        if (option.number == TF_COAP_URI_QUERY && !tf_coap_link_matches(link, option.value))
            return false;
    }
    return true;
}

/* ---- writing ---- */

void tf_coap_link_write(struct tf_writer *out, bool first, struct tf_bytes target)
{
    if (!first)
        tf_write_u8(out, ',');
    tf_write_u8(out, '<');
    tf_write_bytes(out, target);
    tf_write_u8(out, '>');
}

void tf_coap_attribute_write_flag(struct tf_writer *out, struct tf_bytes name)
{
    tf_write_u8(out, ';');
    tf_write_bytes(out, name);
}

void tf_coap_attribute_write(struct tf_writer *out, struct tf_bytes name, struct tf_bytes value)
{
    tf_coap_attribute_write_flag(out, name);
    tf_write_u8(out, '=');
    tf_write_u8(out, '"');
    for (size_t i = 0; i < value.length; i++) {
        if (value.data[i] == '"' || value.data[i] == '\\')
            tf_write_u8(out, '\\');
        tf_write_u8(out, value.data[i]);
    }
    tf_write_u8(out, '"');
}

void tf_coap_attribute_write_uint(struct tf_writer *out, struct tf_bytes name, uint32_t number)
{
    tf_coap_attribute_write_flag(out, name);
    tf_write_u8(out, '=');
    tf_coap_decimal_write(out, number);
}
