/*
 * Topic names and topic filters (MQTT 5.0 4.7): what they may be made of. What matches what is the
 * routing's; it never sees `$share`.
 */
#include "mqtt/codec.h"

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Not 0 if a byte of `word` is 0 (all of its bytes being below 128). */
static uint64_t has_zero(uint64_t word)
{
    return (word - EACH_BYTE(1)) & EACH_BYTE(0x80);
}

/* Not 0 if one of eight bytes is no ASCII, NUL or a wildcard. */
static uint64_t is_special(uint64_t word)
{
    return (word & EACH_BYTE(0x80)) | has_zero(word) | has_zero(word ^ EACH_BYTE('+')) |
           has_zero(word ^ EACH_BYTE('#'));
}

/* True if a wildcard is in it. */
static bool has_wildcard(struct tf_bytes text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] == '+' || text.data[i] == '#')
            return true;
    }
    return false;
}

/* The same for all of a text: eight bytes at a time, the last eight once more where they overlap.
 */
static bool has_special(struct tf_bytes text)
{
    uint64_t word, found = 0;
    size_t i = 0;

    for (; i + 8 <= text.length; i += 8) {
        memcpy(&word, text.data + i, 8);
        found |= is_special(word);
    }
    if (i == text.length)
        return found;
    if (text.length >= 8) {
        memcpy(&word, text.data + text.length - 8, 8);
        return found | is_special(word);
    }
    for (word = EACH_BYTE('/'); i < text.length; i++)
        word = word << 8 | text.data[i];
    return is_special(word);
}

uint8_t tf_mqtt_topic_check(struct tf_bytes topic)
{
    if (!topic.length) /* MQTT 5.0 4.7.3 */
        return TF_MQTT_TOPIC_NAME_INVALID;
    if (!has_special(topic))
        return TF_MQTT_SUCCESS;
    if (!tf_utf8_valid_mqtt(topic)) /* MQTT 5.0 1.5.4 */
        return TF_MQTT_MALFORMED_PACKET;
    return has_wildcard(topic) ? TF_MQTT_TOPIC_NAME_INVALID : TF_MQTT_SUCCESS; /* 3.3.2.1 */
}

bool tf_mqtt_topic_valid(struct tf_bytes topic)
{
    return topic.length <= UINT16_MAX && !tf_mqtt_topic_check(topic);
}

bool tf_mqtt_filter_valid(struct tf_bytes filter)
{
    if (!filter.length || filter.length > UINT16_MAX || !tf_utf8_valid_mqtt(filter))
        return false;
    for (size_t i = 0; i < filter.length; i++) {
        uint8_t byte = filter.data[i];

        if (byte != '+' && byte != '#')
            continue;
        if (i > 0 && filter.data[i - 1] != '/') /* MQTT 5.0 4.7.1.2, 4.7.1.3: a whole level */
            return false;
        if (i + 1 < filter.length && (byte == '#' || filter.data[i + 1] != '/'))
            return false;
    }
    return true;
}

enum tf_err tf_mqtt_shared_read(struct tf_bytes filter, struct tf_bytes *ret_name,
                                struct tf_bytes *ret_filter)
{
    static const char prefix[] = "$share";
    const size_t start = sizeof prefix; /* with its slash */

    if (filter.length < start - 1 || memcmp(filter.data, prefix, start - 1) != 0 ||
        (filter.length >= start && filter.data[start - 1] != '/'))
        return TF_NOT_FOUND;

    size_t end = start;
    while (end < filter.length && filter.data[end] != '/')
        end++;
    /* MQTT 5.0 4.8.2: a name of at least one character, a slash, a filter */
    if (end == start || end + 1 >= filter.length)
        return TF_PROTOCOL;

    struct tf_bytes name = tf_bytes_of(filter.data + start, end - start);
    struct tf_bytes rest = tf_bytes_of(filter.data + end + 1, filter.length - end - 1);
    if (has_wildcard(name) || !tf_mqtt_filter_valid(rest))
        return TF_PROTOCOL;
    *ret_name = name;
    *ret_filter = rest;
    return TF_OK;
}
