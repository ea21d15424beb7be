/*
 * Collections under $SYS: see sys_collection.h.
 */
#include "broker/sys_collection.h"

#include "base/mem.h"
#include "route/table.h"

#include <stdlib.h>

json_t *tf_sys_text(struct tf_bytes text)
{
    return json_stringn((const char *)text.data, text.length);
}

/* ---- names ---- */

static bool plain(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || byte == '-' || byte == '_' || byte == '.' || byte == '~';
}

/* prefix and percent-encoded name (RFC 3986 2.1), malloc; the length in *ret_length. */
static char *make_address(struct tf_bytes prefix, struct tf_bytes name, size_t *ret_length)
{
    static const char digits[] = "0123456789ABCDEF";
    char *address = malloc(prefix.length + 3 * name.length);
    if (!address) {
        return NULL;
    }
    memcpy(address, prefix.data, prefix.length);
    size_t length = prefix.length;
    for (size_t i = 0; i < name.length; i++) {
        uint8_t byte = name.data[i];
        if (plain(byte)) {
            address[length++] = (char)byte;
        } else {
            address[length++] = '%';
            address[length++] = digits[byte >> 4];
            address[length++] = digits[byte & 15];
        }
    }
    *ret_length = length;
    return address;
}

/* The next byte of a name that make_address encoded, at *at. */
static uint8_t decode_byte(struct tf_bytes encoded, size_t *at)
{
    uint8_t byte = encoded.data[(*at)++];
    if (byte == '%' && *at + 2 <= encoded.length) {
        byte = 0;
        for (size_t end = *at + 2; *at < end; (*at)++) {
            uint8_t digit = encoded.data[*at];
            byte = (uint8_t)(byte << 4 | (digit <= '9' ? digit - '0' : digit - 'A' + 10));
        }
    }
    return byte;
}

/* The name without its encoding; the length of it. */
static size_t decode_name(struct tf_bytes encoded, uint8_t *ret_name)
{
    size_t length = 0;
    for (size_t at = 0; at < encoded.length;) {
        ret_name[length++] = decode_byte(encoded, &at);
    }
    return length;
}

/* The collection that an address is in: up to its last slash, and with it. */
static struct tf_bytes prefix_of(struct tf_bytes address)
{
    while (address.length && address.data[address.length - 1] != '/') {
        address.length--;
    }
    return address;
}

int tf_sys_address_compare(struct tf_bytes a, struct tf_bytes b)
{
    struct tf_bytes prefix = prefix_of(a);
    int order = tf_bytes_compare(prefix, prefix_of(b));
    size_t i = prefix.length, j = prefix.length;
    while (order == 0 && i < a.length && j < b.length) {
        order = (int)decode_byte(a, &i) - (int)decode_byte(b, &j);
    }
    return order ? order : (int)(i < a.length) - (int)(j < b.length);
}

/* ---- reading ---- */

/*
 * What a filter asks for in a collection: every name (*ret_name is empty) or one, still encoded.
 * False: nothing of it. So no filter makes us walk objects that it does not match.
 */
static bool wanted(struct tf_bytes filter, struct tf_bytes prefix, struct tf_bytes *ret_name)
{
    size_t at = 0;
    *ret_name = (struct tf_bytes){NULL, 0};
    for (size_t i = 0; i < prefix.length; i++) {
        bool wild = i > 0 && prefix.data[i - 1] == '/' && at < filter.length;
        if (wild && filter.data[at] == '#') {
            return true; /* MQTT 5.0 4.7.2: never at the first level */
        }
        if (wild && filter.data[at] == '+') {
            while (prefix.data[i] != '/') {
                i++;
            }
            at++;
        }
        if (at >= filter.length || filter.data[at++] != prefix.data[i]) {
            return false;
        }
    }
    struct tf_bytes name = {filter.data + at, filter.length - at};
    if (name.length > 2 &&
        tf_bytes_equal(tf_bytes_of(name.data + name.length - 2, 2), tf_bytes_str("/#"))) {
        name.length -= 2; /* 4.7.1.2: the parent level too */
    }
    if (name.length != 1 || (name.data[0] != '+' && name.data[0] != '#')) {
        *ret_name = name;
        return name.length > 0;
    }
    return true;
}

/* One collection being read. */
struct walk {
    const struct tf_sys_collection *collection;
    void *owner;
    struct tf_bytes prefix;
    struct tf_bytes name; /* the only one that is wanted, still encoded; empty: all are */
};

/* The object that an encoded name stands for, or (`after`) the first one behind it. */
static const void *look_up(const struct walk *walk, struct tf_bytes encoded, bool after)
{
    uint8_t *decoded = malloc(encoded.length + 1);
    const void *object = NULL;
    if (decoded) {
        struct tf_bytes name = tf_bytes_of(decoded, decode_name(encoded, decoded));
        object = after ? walk->collection->next(walk->owner, name)
                       : walk->collection->find(walk->owner, name);
    }
    free(decoded);
    return object;
}

/* The first object to look at, after `last`. */
static const void *start(const struct walk *walk, struct tf_bytes last)
{
    int order = tf_bytes_compare(prefix_of(last), walk->prefix);
    if (order > 0 || (order == 0 && walk->name.length)) {
        return NULL; /* this collection is done; or there was one, and it has been given */
    }
    if (walk->name.length) {
        return look_up(walk, walk->name, false);
    }
    if (order < 0) {
        return walk->collection->next(walk->owner, (struct tf_bytes){NULL, 0});
    }
    return look_up(walk,
                   tf_bytes_of(last.data + walk->prefix.length, last.length - walk->prefix.length),
                   true);
}

static struct tf_message *make_message(struct tf_bytes address, json_t *object,
                                       const struct tf_alloc *alloc)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text) {
        return NULL;
    }
    struct tf_bytes body = tf_bytes_str(text);
    struct tf_publication publication = {
        .envelope = {.address = address,
                     .content_type = tf_bytes_str("application/json"),
                     .expires = TF_TIME_NEVER,
                     .origin = TF_PROTOCOL_SYSTEM,
                     .payload_format = TF_PAYLOAD_TEXT,
                     .retain = true},
        .body = &body,
        .body_count = 1};
    struct tf_message *message = tf_publication_keep(&publication, alloc);
    tf_publication_release(&publication);
    free(text);
    return message;
}

/* An object as a message, if its address matches. */
static struct tf_message *show(const struct walk *walk, const void *object, struct tf_bytes filter,
                               const struct tf_alloc *alloc)
{
    size_t length;
    char *address = make_address(walk->prefix, walk->collection->name(object), &length);
    struct tf_message *message = NULL;
    /* A name whose encoding is too long for an address has none (MQTT 5.0 1.5.4). */
    if (address && length <= UINT16_MAX &&
        tf_filter_matches(filter, tf_bytes_of(address, length))) {
        message = make_message(tf_bytes_of(address, length),
                               walk->collection->describe(walk->owner, object), alloc);
    }
    free(address);
    return message;
}

struct tf_message *tf_sys_collections_next(const struct tf_sys_collection *collections,
                                           size_t count, void *owner, struct tf_bytes filter,
                                           struct tf_bytes last, const struct tf_alloc *alloc)
{
    for (size_t i = 0; i < count; i++) {
        struct walk walk = {.collection = &collections[i],
                            .owner = owner,
                            .prefix = tf_bytes_str(collections[i].prefix)};
        if (!wanted(filter, walk.prefix, &walk.name)) {
            continue;
        }
        const void *object = start(&walk, last);
        while (object) {
            struct tf_message *message = show(&walk, object, filter, alloc);
            if (message) {
                return message;
            }
            object =
                walk.name.length ? NULL : collections[i].next(owner, collections[i].name(object));
        }
    }
    return NULL;
}
