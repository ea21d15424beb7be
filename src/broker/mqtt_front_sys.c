/*
 * MQTT's sessions, connections and their queues as addresses under $SYS (sys_collection.h):
 *
 *   $SYS/sessions/CLIENT-ID       $SYS/connections/CLIENT-ID       $SYS/queues/mqtt/CLIENT-ID
 */
#include "base/mem.h"
#include "broker/mqtt_front_internal.h"
#include "broker/sys_collection.h"

#include <stdlib.h>

static json_t *client_of(const struct mqtt_session *session)
{
    return tf_sys_text(tf_bytes_of(session->id, session->id_length));
}

static json_t *describe_session(void *owner, const void *object)
{
    const struct mqtt_session *session = object;
    (void)owner;
    json_t *shown = json_object();
    json_object_set_new(shown, "client", client_of(session));
    json_object_set_new(shown, "protocol", json_string("mqtt"));
    json_object_set_new(shown, "connected", json_boolean(session->conn != NULL));
    json_object_set_new(shown, "subscriptions", json_integer(session->queue.binding_count));
    json_object_set_new(shown, "messages", json_integer(session->queue.count));
    json_object_set_new(shown, "bytes", json_integer((json_int_t)session->queue.bytes));
    json_object_set_new(shown, "in_flight", json_integer(session->state.sent_count));
    json_object_set_new(shown, "expiry_s", json_integer(session->expiry_s));
    json_object_set_new(shown, "shard", json_integer(session->front->shard->config.number));
    return shown;
}

static json_t *describe_connection(void *owner, const void *object)
{
    const struct mqtt_session *session = object;
    (void)owner;
    const struct mqtt_conn *conn = session->conn;
    if (!conn) {
        return NULL;
    }
    unsigned version = tf_mqtt_server_version(conn->server);
    json_t *shown = json_object();
    json_object_set_new(shown, "client", client_of(session));
    json_object_set_new(shown, "protocol", json_string("mqtt"));
    json_object_set_new(shown, "version",
                        json_string(version == TF_MQTT_5       ? "5.0"
                                    : version == TF_MQTT_3_1_1 ? "3.1.1"
                                                               : "3.1"));
    json_object_set_new(shown, "peer", json_string(conn->peer));
    json_object_set_new(shown, "listener", json_integer(conn->listener));
    json_object_set_new(shown, "shard", json_integer(session->front->shard->config.number));
    return shown;
}

static json_t *describe_queue(void *owner, const void *object)
{
    const struct mqtt_session *session = object;
    (void)owner;
    const struct tf_queue *queue = &session->queue;
    json_t *shown = json_object();
    char head[] = "mqtt/";
    size_t size = sizeof(head) + session->id_length;
    char *name = malloc(size);
    if (name) {
        memcpy(name, head, sizeof(head) - 1);
        memcpy(name + sizeof(head) - 1, session->id, session->id_length);
        json_object_set_new(shown, "queue", json_stringn(name, size - 1));
        free(name);
    }
    json_object_set_new(shown, "messages", json_integer(queue->count));
    json_object_set_new(shown, "bytes", json_integer((json_int_t)queue->bytes));
    json_object_set_new(shown, "in_flight", json_integer(session->state.sent_count));
    json_object_set_new(shown, "consumers", json_integer(session->conn != NULL));
    json_object_set_new(shown, "bindings", json_integer(queue->binding_count));
    json_object_set_new(shown, "limit", json_integer(queue->limits->entries));
    json_object_set_new(shown, "shard", json_integer(session->front->shard->config.number));
    return shown;
}

static const void *session_of(struct tf_tree_node *node)
{
    return node ? tf_container_of(node, struct mqtt_session, by_id) : NULL;
}

static const void *next(void *owner, struct tf_bytes name)
{
    struct mqtt_front *front = owner;
    return session_of(name.length ? tf_tree_seek_after(&front->sessions, name)
                                  : tf_tree_first(&front->sessions));
}

static const void *find(void *owner, struct tf_bytes name)
{
    struct mqtt_front *front = owner;
    return session_of(tf_tree_find(&front->sessions, name));
}

static struct tf_bytes name_of(const void *object)
{
    return ((const struct mqtt_session *)object)->by_id.key;
}

static const struct tf_sys_collection collections[] = {
    {"$SYS/connections/", next, find, name_of, describe_connection},
    {"$SYS/queues/mqtt/", next, find, name_of, describe_queue},
    {"$SYS/sessions/", next, find, name_of, describe_session},
};

struct tf_message *tf_mqtt_front_virtual_next(struct tf_front *base, struct tf_bytes filter,
                                              struct tf_bytes last)
{
    struct mqtt_front *front = tf_container_of(base, struct mqtt_front, front);
    return tf_sys_collections_next(collections, TF_COUNT(collections), front, filter, last,
                                   front->shard->config.alloc);
}
