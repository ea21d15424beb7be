/*
 * Sessions, connections and queues as addresses under $SYS, made when they are read: a reader of
 * `$SYS/sessions/#` gets one JSON object a session, from the shards that have them.
 *
 *   $SYS/sessions/CLIENT-ID       $SYS/connections/CLIENT-ID       $SYS/queues/mqtt/CLIENT-ID
 *
 * Names are percent-encoded, so that a client id is one level and never a wildcard.
 */
#include "base/mem.h"
#include "broker/mqtt_front_internal.h"
#include "route/table.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct collection {
    const char *prefix;
    json_t *(*describe)(const struct mqtt_session *session);
};

static json_t *text_of(struct tf_bytes text)
{
    return json_stringn((const char *)text.data, text.length);
}

static json_t *client_of(const struct mqtt_session *session)
{
    return text_of(tf_bytes_of(session->id, session->id_length));
}

static json_t *describe_session(const struct mqtt_session *session)
{
    json_t *object = json_object();
    json_object_set_new(object, "client", client_of(session));
    json_object_set_new(object, "protocol", json_string("mqtt"));
    json_object_set_new(object, "connected", json_boolean(session->conn != NULL));
    json_object_set_new(object, "subscriptions", json_integer(session->queue.binding_count));
    json_object_set_new(object, "messages", json_integer(session->queue.count));
    json_object_set_new(object, "bytes", json_integer((json_int_t)session->queue.bytes));
    json_object_set_new(object, "in_flight", json_integer(session->state.sent_count));
    json_object_set_new(object, "expiry_s", json_integer(session->expiry_s));
    json_object_set_new(object, "shard", json_integer(session->front->shard->config.number));
    return object;
}

static json_t *describe_connection(const struct mqtt_session *session)
{
    const struct mqtt_conn *conn = session->conn;
    if (!conn) {
        return NULL;
    }
    unsigned version = tf_mqtt_server_version(conn->server);
    json_t *object = json_object();
    json_object_set_new(object, "client", client_of(session));
    json_object_set_new(object, "protocol", json_string("mqtt"));
    json_object_set_new(object, "version",
                        json_string(version == TF_MQTT_5       ? "5.0"
                                    : version == TF_MQTT_3_1_1 ? "3.1.1"
                                                               : "3.1"));
    json_object_set_new(object, "peer", json_string(conn->peer));
    json_object_set_new(object, "listener", json_integer(conn->listener));
    json_object_set_new(object, "shard", json_integer(session->front->shard->config.number));
    return object;
}

static json_t *describe_queue(const struct mqtt_session *session)
{
    const struct tf_queue *queue = &session->queue;
    json_t *object = json_object();
    char head[] = "mqtt/";
    size_t size = sizeof(head) + session->id_length;
    char *name = malloc(size);
    if (name) {
        memcpy(name, head, sizeof(head) - 1);
        memcpy(name + sizeof(head) - 1, session->id, session->id_length);
        json_object_set_new(object, "queue", json_stringn(name, size - 1));
        free(name);
    }
    json_object_set_new(object, "messages", json_integer(queue->count));
    json_object_set_new(object, "bytes", json_integer((json_int_t)queue->bytes));
    json_object_set_new(object, "in_flight", json_integer(session->state.sent_count));
    json_object_set_new(object, "consumers", json_integer(session->conn != NULL));
    json_object_set_new(object, "bindings", json_integer(queue->binding_count));
    json_object_set_new(object, "limit", json_integer(queue->limits->entries));
    json_object_set_new(object, "shard", json_integer(session->front->shard->config.number));
    return object;
}

/* In the order of their addresses. */
static const struct collection collections[] = {
    {"$SYS/connections/", describe_connection},
    {"$SYS/queues/mqtt/", describe_queue},
    {"$SYS/sessions/", describe_session},
};

static bool plain(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || byte == '-' || byte == '_' || byte == '.' || byte == '~';
}

/* prefix and percent-encoded name (RFC 3986 2.1), malloc; the length in *ret_length. */
static char *make_address(const char *prefix, struct tf_bytes name, size_t *ret_length)
{
    static const char digits[] = "0123456789ABCDEF";
    struct tf_bytes head = tf_bytes_str(prefix);
    char *address = malloc(head.length + 3 * name.length);
    if (!address) {
        return NULL;
    }
    memcpy(address, head.data, head.length);
    size_t length = head.length;
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

static struct tf_message *make_message(struct mqtt_front *front, struct tf_bytes address,
                                       json_t *object)
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
    struct tf_message *message = tf_publication_keep(&publication, front->shard->config.alloc);
    tf_publication_release(&publication);
    free(text);
    return message;
}

/* Decodes what make_address encoded; the length of the name. */
static size_t decode_name(struct tf_bytes encoded, uint8_t *ret_name)
{
    size_t length = 0;
    for (size_t i = 0; i < encoded.length; i++) {
        uint8_t byte = encoded.data[i];
        if (byte == '%' && i + 2 < encoded.length + 0u) {
            uint8_t value = 0;
            for (size_t j = i + 1; j <= i + 2; j++) {
                uint8_t digit = encoded.data[j];
                value = (uint8_t)(value << 4 | (digit <= '9' ? digit - '0' : digit - 'A' + 10));
            }
            byte = value;
            i += 2;
        }
        ret_name[length++] = byte;
    }
    return length;
}

/* The first session to look at, after `last` if that is in this collection. */
static struct tf_tree_node *start(struct mqtt_front *front, struct tf_bytes prefix,
                                  struct tf_bytes last)
{
    if (last.length <= prefix.length ||
        !tf_bytes_equal(prefix, tf_bytes_of(last.data, prefix.length))) {
        return tf_bytes_compare(last, prefix) > 0 ? NULL : tf_tree_first(&front->sessions);
    }
    struct tf_bytes encoded = {last.data + prefix.length, last.length - prefix.length};
    uint8_t *name = malloc(encoded.length);
    if (!name) {
        return NULL;
    }
    struct tf_tree_node *node =
        tf_tree_seek_after(&front->sessions, tf_bytes_of(name, decode_name(encoded, name)));
    free(name);
    return node;
}

/*
 * What a filter asks for in a collection: every name (*ret_name is empty) or one, still encoded.
 * False: nothing of it. So no filter makes us walk sessions that it does not match.
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

/* The session that a name stands for, if that comes after `last`. */
static struct tf_tree_node *named(struct mqtt_front *front, struct tf_bytes prefix,
                                  struct tf_bytes name, struct tf_bytes last)
{
    if (last.length && tf_bytes_compare(last, prefix) > 0) {
        return NULL; /* there is one, and it has been given, or this collection is done */
    }
    uint8_t *decoded = malloc(name.length);
    struct tf_tree_node *node =
        decoded ? tf_tree_find(&front->sessions, tf_bytes_of(decoded, decode_name(name, decoded)))
                : NULL;
    free(decoded);
    return node;
}

struct tf_message *tf_mqtt_front_virtual_next(struct tf_front *base, struct tf_bytes filter,
                                              struct tf_bytes last)
{
    struct mqtt_front *front = tf_container_of(base, struct mqtt_front, front);
    for (size_t i = 0; i < TF_COUNT(collections); i++) {
        struct tf_bytes prefix = tf_bytes_str(collections[i].prefix);
        struct tf_bytes name;
        if (!wanted(filter, prefix, &name)) {
            continue;
        }
        struct tf_tree_node *node =
            name.length ? named(front, prefix, name, last) : start(front, prefix, last);
        for (; node; node = name.length ? NULL : tf_tree_next(node)) {
            const struct mqtt_session *session = tf_container_of(node, struct mqtt_session, by_id);
            size_t length;
            char *address = make_address(collections[i].prefix, node->key, &length);
            struct tf_message *message = NULL;
            /* An id whose encoding is too long for an address has none (MQTT 5.0 1.5.4). */
            if (address && length <= UINT16_MAX &&
                tf_filter_matches(filter, tf_bytes_of(address, length))) {
                message = make_message(front, tf_bytes_of(address, length),
                                       collections[i].describe(session));
            }
            free(address);
            if (message) {
                return message;
            }
        }
    }
    return NULL;
}
