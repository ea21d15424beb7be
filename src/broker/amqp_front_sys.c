/*
 * AMQP's containers as addresses under $SYS (sys_collection.h): $SYS/connections/CONTAINER-ID.
 */
#include "broker/amqp_front_internal.h"
#include "broker/sys_collection.h"

static const struct amqp_container *container_of(struct tf_tree_node *node)
{
    return node ? tf_container_of(node, struct amqp_container, by_id) : NULL;
}

static size_t count_sessions(const struct amqp_conn *conn)
{
    size_t count = 0;
    const struct tf_list_node *node = tf_list_first(&conn->sessions);
    for (; node; node = tf_list_next(&conn->sessions, node)) {
        count++;
    }
    return count;
}

/* A container has one connection as a rule: its first is shown, and how many there are. */
static json_t *describe(void *owner, const void *object)
{
    const struct amqp_container *container = object;
    const struct amqp_front *front = owner;
    json_int_t connections = 0, sessions = 0;
    struct tf_list_node *node = tf_list_first(&container->conns);
    const struct amqp_conn *first = tf_container_of(node, struct amqp_conn, in_container);
    for (; node; node = tf_list_next(&container->conns, node)) {
        connections++;
        sessions +=
            (json_int_t)count_sessions(tf_container_of(node, struct amqp_conn, in_container));
    }
    json_t *shown = json_object();
    json_object_set_new(shown, "client",
                        tf_sys_text(tf_bytes_of(container->id, container->id_length)));
    json_object_set_new(shown, "protocol", json_string("amqp"));
    json_object_set_new(shown, "version", json_string("1.0"));
    json_object_set_new(shown, "peer", json_string(first->peer));
    json_object_set_new(shown, "listener", json_integer(first->listener));
    json_object_set_new(shown, "connections", json_integer(connections));
    json_object_set_new(shown, "sessions", json_integer(sessions));
    json_object_set_new(shown, "links", json_integer((json_int_t)container->links.count));
    json_object_set_new(shown, "shard", json_integer(front->shard->config.number));
    return shown;
}

static const void *next(void *owner, struct tf_bytes name)
{
    struct amqp_front *front = owner;
    return container_of(name.length ? tf_tree_seek_after(&front->containers, name)
                                    : tf_tree_first(&front->containers));
}

static const void *find(void *owner, struct tf_bytes name)
{
    struct amqp_front *front = owner;
    return container_of(tf_tree_find(&front->containers, name));
}

static struct tf_bytes name_of(const void *object)
{
    return ((const struct amqp_container *)object)->by_id.key;
}

static const struct tf_sys_collection collections[] = {
    {"$SYS/connections/", next, find, name_of, describe}};

struct tf_message *tf_amqp_front_virtual_next(struct tf_front *base, struct tf_bytes filter,
                                              struct tf_bytes last)
{
    struct amqp_front *front = tf_container_of(base, struct amqp_front, front);
    return tf_sys_collections_next(collections, TF_COUNT(collections), front, filter, last,
                                   amqp_alloc(front));
}
