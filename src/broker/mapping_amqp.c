/*
 * Messages of AMQP 1.0: what of them the routing and other protocols need, and the sections that
 * another protocol's message amounts to. See mapping.h and docs/mapping.md.
 */
#include "broker/mapping.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "base/util.h"
#include "broker/mapping_text.h"

#include <trefoil/amqp_message.h>

#define RETAIN "x-opt-retain-message"
#define USER_PROPERTIES_MAX 256u /* with different names; what is more has no place in a map */

static bool is_section(const struct tf_amqp_value *value, enum tf_amqp_section section)
{
    return tf_amqp_described_as(value, (uint64_t)section,
                                section == TF_AMQP_MESSAGE_ANNOTATIONS
                                    ? "amqp:message-annotations:map"
                                    : "amqp:application-properties:map");
}

/* ---- in ---- */

static struct tf_bytes no_bytes(void)
{
    return tf_bytes_of(NULL, 0);
}

/* 3.2.11 to 3.2.14: a message id as the bytes that other protocols have for it. */
static struct tf_bytes id_of(struct tf_bytes encoded, char *scratch)
{
    struct tf_amqp_value value;
    struct tf_bytes text;
    bool literal;
    if (encoded.length == 0 || tf_amqp_value_of(encoded, &value)) {
        return no_bytes();
    }
    if (value.type == TF_AMQP_BINARY) {
        return value.bytes;
    }
    return tf_mapping_text_of(&value, scratch, &text, &literal) ? text : no_bytes();
}

/* A reply-to that is an address for others: not a queue alone, and without wildcards. */
static struct tf_bytes reply_of(const struct tf_amqp_properties *properties, uint8_t *scratch,
                                size_t size)
{
    enum tf_mapping_node node;
    struct tf_bytes address, text = properties->reply_to;
    bool decoded = text.length > 0 && text.data[0] == '/';
    if (text.length == 0 || (decoded && text.length > size) ||
        tf_mapping_amqp_address(text, false, scratch, &node, &address) || node == TF_NODE_QUEUE) {
        return no_bytes();
    }
    return address;
}

/* 3.2.1 ttl; 3.2.4 absolute-expiry-time, which without a clock is its distance from the creation.
 */
static tf_time expiry_of(const struct tf_amqp_message *message, tf_time now)
{
    const struct tf_amqp_properties *properties = &message->properties;
    tf_time expires = TF_TIME_NEVER;
    if (message->header.has_ttl) {
        expires = tf_time_add(now, message->header.ttl_ms * (TF_SECOND / 1000));
    }
    if (properties->has_absolute_expiry_time && properties->has_creation_time) {
        int64_t at = properties->absolute_expiry_time, from = properties->creation_time;
        uint64_t ms = at > from ? (uint64_t)at - (uint64_t)from : 0;
        tf_time left = ms < UINT64_MAX / 1000 ? ms * (TF_SECOND / 1000) : TF_TIME_NEVER;
        expires = TF_MIN(expires, tf_time_add(now, left));
    }
    return expires;
}

static bool wants_retain(const struct tf_amqp_message *message)
{
    struct tf_amqp_value value;
    return message->message_annotations.length > 0 &&
           tf_amqp_map_find(message->message_annotations, tf_bytes_str(RETAIN), &value) &&
           value.type == TF_AMQP_BOOLEAN && value.number != 0;
}

/* What the plain form of the body will be. */
static void tell_type(const struct tf_amqp_message *message, struct tf_envelope *envelope)
{
    struct tf_bytes type = message->properties.content_type;
    struct tf_amqp_value value;
    bool text = false, bytes = message->body_type == TF_AMQP_BODY_DATA ||
                               message->body_type == TF_AMQP_BODY_DATAS ||
                               message->body_type == TF_AMQP_BODY_NONE;
    if (message->body_type == TF_AMQP_BODY_VALUE && !tf_amqp_value_of(message->value, &value) &&
        value.descriptors == 0) {
        text = value.type == TF_AMQP_STRING;
        bytes = value.type == TF_AMQP_BINARY;
    }
    envelope->payload_format = bytes ? TF_PAYLOAD_BYTES : TF_PAYLOAD_TEXT;
    if (!bytes && !text) {
        type = tf_bytes_str("application/json");
    } else if (text && type.length == 0) {
        type = tf_bytes_str("text/plain");
    }
    /* MQTT 5.0 1.5.4: no U+0000 in a text, which a symbol may have */
    envelope->content_type =
        type.length <= UINT16_MAX && tf_utf8_valid_mqtt(type) ? type : no_bytes();
}

void tf_mapping_from_amqp(const struct tf_amqp_message *message, tf_time now,
                          uint8_t scratch[TF_MAPPING_SCRATCH], struct tf_envelope *envelope,
                          struct tf_bytes *ret_body)
{
    const struct tf_amqp_properties *properties = &message->properties;
    struct tf_bytes annotations = message->message_annotations_section;
    const uint8_t *start = annotations.length ? annotations.data : message->bare.data;
    size_t length = annotations.length + message->bare.length - message->body.length;
    bool plain = message->body_type == TF_AMQP_BODY_DATA && message->footer_section.length == 0;

    envelope->origin = TF_PROTOCOL_AMQP;
    envelope->durable = message->header.durable;
    envelope->priority = message->header.priority;
    envelope->expires = expiry_of(message, now);
    envelope->correlation = id_of(properties->correlation_id, (char *)scratch);
    envelope->reply_to = reply_of(properties, scratch + TF_MAPPING_TEXT_MAX,
                                  TF_MAPPING_SCRATCH - TF_MAPPING_TEXT_MAX);
    if (envelope->reply_to.length && properties->correlation_id.length == 0) {
        /* the reply's correlation-id is then the request's message-id; MQTT's requests have none */
        envelope->correlation = id_of(properties->message_id, (char *)scratch);
    }
    tell_type(message, envelope);
    envelope->retain = wants_retain(message);
    envelope->clear = envelope->retain && message->footer_section.length == 0 &&
                      (message->body_type == TF_AMQP_BODY_NONE ||
                       (message->body_type == TF_AMQP_BODY_DATA && message->data.length == 0));
    if (plain) {
        envelope->body_format = TF_BODY_PLAIN;
        length += message->body.length - message->data.length;
        *ret_body = message->data;
    } else {
        struct tf_bytes body = message->body.length ? message->body : message->footer_section;
        envelope->body_format = TF_BODY_SECTIONS;
        *ret_body = tf_bytes_of(body.data, message->body.length + message->footer_section.length);
    }
    envelope->encoded = length ? tf_bytes_of(start, length) : no_bytes();
}

/* ---- out ---- */

/* A user property's name that was written: MQTT may say one twice, a map may not. */
struct names {
    uint64_t hashes[2 * USER_PROPERTIES_MAX];
    struct tf_bytes names[2 * USER_PROPERTIES_MAX];
    uint32_t count;
};

/* True the first time that it sees a name; false, too, when it can take no more. */
static bool is_new(struct names *names, struct tf_bytes name)
{
    static const struct tf_hash_key key = {0, 0};
    uint64_t hash = tf_hash(name, &key) | 1;
    size_t at = hash % TF_COUNT(names->hashes);
    while (names->hashes[at]) {
        if (names->hashes[at] == hash && tf_bytes_equal(names->names[at], name)) {
            return false;
        }
        at = (at + 1) % TF_COUNT(names->hashes);
    }
    if (names->count == USER_PROPERTIES_MAX) {
        return false;
    }
    names->count++;
    names->hashes[at] = hash;
    names->names[at] = name;
    return true;
}

/* 3.2.5 from MQTT's User Properties; of a name that is there twice the first. */
static void write_application(struct tf_bytes encoded, struct tf_writer *writer)
{
    struct tf_mqtt_property_cursor cursor = {encoded, 0};
    struct tf_mqtt_property property;
    struct names names;
    size_t begin = 0;
    memset(names.hashes, 0, sizeof(names.hashes));
    names.count = 0;
    while (tf_mqtt_property_next(&cursor, &property)) {
        if (property.id != TF_MQTT_USER_PROPERTY || !is_new(&names, property.name)) {
            continue;
        }
        if (names.count == 1) {
            tf_amqp_write_section(writer, TF_AMQP_APPLICATION_PROPERTIES);
            begin = tf_amqp_write_map_begin(writer);
        }
        tf_amqp_write_string(writer, property.name);
        tf_amqp_write_string(writer, property.value);
    }
    if (names.count) {
        tf_amqp_write_map_end(writer, begin, 2 * names.count);
    }
}

/* An address in its explicit form, as a string. */
static void write_topic(struct tf_writer *writer, struct tf_bytes address)
{
    size_t length = tf_bytes_str("topic://").length + address.length;
    if (length <= UINT8_MAX) {
        tf_write_u8(writer, TF_AMQP_CODE_STRING8);
        tf_write_u8(writer, (uint8_t)length);
    } else {
        tf_write_u8(writer, TF_AMQP_CODE_STRING);
        tf_write_u32(writer, (uint32_t)length);
    }
    tf_mapping_amqp_name(TF_NODE_TOPIC, address, writer);
}

static bool is_ascii(struct tf_bytes text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] > 0x7f) {
            return false;
        }
    }
    return true;
}

/* 3.2.4: what an envelope has of it. */
static void write_properties(const struct tf_envelope *envelope, struct tf_writer *writer)
{
    struct tf_bytes type = envelope->content_type;
    if (type.length == 0 && envelope->payload_format == TF_PAYLOAD_TEXT) {
        type = tf_bytes_str("text/plain;charset=utf-8");
    }
    bool has_type = type.length > 0 && is_ascii(type);
    bool has_correlation = envelope->correlation.length > 0;
    bool has_reply = envelope->reply_to.length > 0;
    uint32_t count = has_type ? 7 : has_correlation ? 6 : has_reply ? 5 : 3;
    tf_amqp_write_section(writer, TF_AMQP_PROPERTIES);
    size_t begin = tf_amqp_write_list_begin(writer);
    tf_amqp_write_null(writer); /* message-id */
    tf_amqp_write_null(writer); /* user-id */
    write_topic(writer, envelope->address);
    if (count > 3) {
        tf_amqp_write_null(writer); /* subject */
        if (has_reply) {
            write_topic(writer, envelope->reply_to);
        } else {
            tf_amqp_write_null(writer);
        }
    }
    if (count > 5 && has_correlation) {
        tf_amqp_write_binary(writer, envelope->correlation);
    } else if (count > 5) {
        tf_amqp_write_null(writer);
    }
    if (has_type) {
        tf_amqp_write_symbol(writer, type);
    }
    tf_amqp_write_list_end(writer, begin, count);
}

size_t tf_mapping_amqp_room(const struct tf_envelope *envelope)
{
    /* Of a user property MQTT has 5 bytes beside the texts, a map at most 10. */
    return 128 + envelope->address.length + envelope->reply_to.length +
           envelope->correlation.length + envelope->content_type.length +
           (envelope->origin == TF_PROTOCOL_MQTT ? 2 * envelope->encoded.length : 0);
}

void tf_mapping_to_amqp(const struct tf_envelope *envelope, size_t body_length,
                        struct tf_writer *writer)
{
    write_properties(envelope, writer);
    if (envelope->origin == TF_PROTOCOL_MQTT && envelope->encoded.length) {
        write_application(envelope->encoded, writer);
    }
    tf_amqp_write_data_head(writer, body_length);
}

void tf_mapping_amqp_header(const struct tf_envelope *envelope, tf_time now,
                            uint32_t delivery_count, bool first_acquirer, struct tf_writer *writer)
{
    struct tf_amqp_header header = {.durable = envelope->durable,
                                    .priority = envelope->origin == TF_PROTOCOL_AMQP
                                                    ? envelope->priority
                                                    : TF_AMQP_PRIORITY_DEFAULT,
                                    .first_acquirer = first_acquirer,
                                    .delivery_count = delivery_count};
    if (envelope->expires != TF_TIME_NEVER) {
        tf_time left = envelope->expires > now ? envelope->expires - now : 0;
        uint64_t ms = (left + TF_SECOND / 1000 - 1) / (TF_SECOND / 1000);
        header.has_ttl = true;
        header.ttl_ms = (uint32_t)TF_MIN(ms, UINT32_MAX);
    }
    if (header.durable || header.priority != TF_AMQP_PRIORITY_DEFAULT || header.has_ttl ||
        first_acquirer || delivery_count) {
        tf_amqp_write_header(writer, &header);
    }
}

/* ---- annotations that `modified` leaves (3.4.5) ---- */

/* The keys of a map, read once: a message may have 100,000 annotations, each of which is looked for
 * whenever it is delivered. */
struct keys {
    size_t count;
    uint64_t digests[TF_MAPPING_ANNOTATIONS_MAX];
    struct tf_amqp_value keys[TF_MAPPING_ANNOTATIONS_MAX];
};

/* A number that equal keys have in common. */
static uint64_t digest_of(const struct tf_amqp_value *key)
{
    switch (key->type) {
    case TF_AMQP_SYMBOL:
    case TF_AMQP_STRING:
        return tf_hash_home(key->bytes);
    case TF_AMQP_ULONG:
        return key->number;
    default:
        return 0;
    }
}

/* Reads the keys of a map that has no more than are taken. */
static void read_keys(const struct tf_amqp_value *map, struct keys *ret)
{
    struct tf_amqp_items items = tf_amqp_items_of(map);
    struct tf_amqp_value value;
    ret->count = 0;
    while (ret->count < TF_MAPPING_ANNOTATIONS_MAX &&
           tf_amqp_pair_next(&items, &ret->keys[ret->count], &value)) {
        ret->digests[ret->count] = digest_of(&ret->keys[ret->count]);
        ret->count++;
    }
}

static bool has_key(const struct keys *keys, const struct tf_amqp_value *key)
{
    uint64_t digest = digest_of(key);
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->digests[i] == digest && tf_amqp_value_equal(&keys->keys[i], key)) {
            return true;
        }
    }
    return false;
}

/* Writes the pairs of a map whose keys `without` (NULL: none) does not have; how many items. */
static uint32_t write_pairs(struct tf_writer *writer, const struct tf_amqp_value *map,
                            const struct keys *without)
{
    struct tf_amqp_items items = tf_amqp_items_of(map);
    struct tf_amqp_value key, value;
    uint32_t count = 0;
    while (tf_amqp_pair_next(&items, &key, &value)) {
        if (!without || !has_key(without, &key)) {
            tf_write_bytes(writer, key.encoded);
            tf_write_bytes(writer, value.encoded);
            count += 2;
        }
    }
    return count;
}

/* The map in `encoded`; false: it is none. */
static bool map_of(struct tf_bytes encoded, struct tf_amqp_value *ret)
{
    return encoded.length > 0 && !tf_amqp_value_of(encoded, ret) && ret->type == TF_AMQP_MAP;
}

/* `fresh`, of few keys, and of `old` (NULL: nothing) what it does not have, as one map. */
static uint32_t write_merged(struct tf_writer *writer, const struct tf_amqp_value *old,
                             const struct tf_amqp_value *fresh)
{
    size_t begin = tf_amqp_write_map_begin(writer);
    uint32_t count = write_pairs(writer, fresh, NULL);
    if (old) {
        struct keys keys;
        read_keys(fresh, &keys);
        count += write_pairs(writer, old, &keys);
    }
    tf_amqp_write_map_end(writer, begin, count);
    return count;
}

enum tf_err tf_mapping_annotations_merge(struct tf_bytes old, struct tf_bytes fresh,
                                         struct tf_writer *writer)
{
    struct tf_amqp_value before, now;
    struct tf_writer start = *writer;
    bool has_before = map_of(old, &before);
    if (!map_of(fresh, &now)) {
        return TF_PROTOCOL;
    }
    if (fresh.length > TF_MAPPING_ANNOTATIONS_BYTES_MAX ||
        now.count > 2 * TF_MAPPING_ANNOTATIONS_MAX ||
        write_merged(writer, has_before ? &before : NULL, &now) > 2 * TF_MAPPING_ANNOTATIONS_MAX ||
        tf_writer_length(writer) - tf_writer_length(&start) > TF_MAPPING_ANNOTATIONS_BYTES_MAX) {
        *writer = start;
        return TF_LIMIT;
    }
    return TF_OK;
}

void tf_mapping_amqp_annotate(struct tf_bytes encoded, struct tf_bytes annotations,
                              struct tf_writer *writer)
{
    struct tf_reader reader = tf_reader_of(encoded);
    struct tf_amqp_value section, fresh;
    /* What stands first may be the head of a data section, without its content: no value. */
    bool has_section =
        !tf_amqp_value_read(&reader, &section) && is_section(&section, TF_AMQP_MESSAGE_ANNOTATIONS);
    if (map_of(annotations, &fresh) && fresh.count) {
        tf_amqp_write_section(writer, TF_AMQP_MESSAGE_ANNOTATIONS);
        (void)write_merged(writer, has_section ? &section : NULL, &fresh);
        if (has_section) {
            encoded = tf_read_rest(&reader);
        }
    }
    tf_write_bytes(writer, encoded);
}

/* ---- application properties to MQTT ---- */

/* The bytes of one as a User Property, which are written too if there is a writer. */
static size_t write_user_property(const struct tf_amqp_value *key,
                                  const struct tf_amqp_value *value, struct tf_writer *writer)
{
    char buffer[TF_MAPPING_TEXT_MAX];
    struct tf_mqtt_property property = {.id = TF_MQTT_USER_PROPERTY, .name = key->bytes};
    bool literal;
    if (key->type != TF_AMQP_STRING ||
        !tf_mapping_text_of(value, buffer, &property.value, &literal) ||
        property.name.length > UINT16_MAX || property.value.length > UINT16_MAX ||
        !tf_utf8_valid_mqtt(property.name) || !tf_utf8_valid_mqtt(property.value)) {
        return 0; /* MQTT 5.0 1.5.4: it has no such text */
    }
    if (writer) {
        tf_mqtt_property_write(writer, &property);
    }
    return tf_mqtt_property_size(&property);
}

size_t tf_mapping_user_properties(const struct tf_envelope *envelope, struct tf_writer *writer)
{
    struct tf_reader reader = tf_reader_of(envelope->encoded);
    struct tf_amqp_value section, key, value;
    size_t size = 0;
    while (tf_reader_left(&reader) && !tf_amqp_value_read(&reader, &section)) {
        if (!is_section(&section, TF_AMQP_APPLICATION_PROPERTIES)) {
            continue;
        }
        struct tf_amqp_items items = tf_amqp_items_of(&section);
        while (tf_amqp_pair_next(&items, &key, &value)) {
            size += write_user_property(&key, &value, writer);
        }
        break;
    }
    return size;
}
