/*
 * AMQP sessions and links: begin and end, attach and detach (2.5, 2.6).
 *
 *            ATTACH event           node resolved               detach of either side
 *  (nothing) -----------> waiting ----------------> attached -------------------------> leaving -->
 * gone |                                                             ^
 *                            +-- refused: attach without terminus, detach with error ------+
 *
 * A link leaves its node (queue, consumer, producer) as soon as one side detaches; its memory goes
 * when both have.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "broker/amqp_front_internal.h"

static struct amqp_link *link_of(struct tf_list_node *node)
{
    return tf_container_of(node, struct amqp_link, in_session);
}

void tf_amqp_front_on_begin(struct amqp_conn *conn, const struct tf_amqp_event *event)
{
    struct amqp_front *front = conn->front;
    size_t machine_size = tf_amqp_session_size(&conn->servers->configs[conn->listener]);
    size_t size = sizeof(struct amqp_session) + machine_size;
    struct amqp_session *session = tf_amqp_front_alloc(front, size);
    (void)event;
    if (!session) {
        tf_amqp_front_conn_end(conn, TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no memory");
        return;
    }
    *session = (struct amqp_session){.conn = conn, .size = (uint32_t)size};
    tf_list_init(&session->links);
    if (tf_amqp_session_accept(conn->machine, session + 1, machine_size, session,
                               &session->machine)) {
        tf_amqp_front_free(front, session, size);
        tf_amqp_front_conn_end(conn, TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no room for a session");
        return;
    }
    tf_list_push_back(&conn->sessions, &session->in_conn);
    if (conn->narrow) {
        tf_amqp_session_window(session->machine, 0);
    }
}

/* Takes the link's name back: another one may have it. */
static void forget_name(struct amqp_link *link)
{
    if (link->named) {
        tf_tree_remove(&amqp_link_conn(link)->container->links, &link->by_name);
        link->named = false;
    }
}

static void link_free(struct amqp_link *link)
{
    struct amqp_front *front = amqp_link_conn(link)->front;
    tf_amqp_front_ledger_leave(link, false);
    forget_name(link);
    tf_command_owner_release(&link->deletion);
    tf_amqp_front_attaching_free(link);
    tf_amqp_front_incoming_drop(link);
    tf_list_unlink(&link->blocked);
    tf_list_remove(&link->in_session);
    if (link->address) {
        tf_amqp_front_free(front, link->address, link->address_length);
    }
    front->front.counters.subscriptions -= link->counted;
    tf_amqp_front_free(front, link, link->size);
}

void tf_amqp_front_session_free(struct amqp_session *session, bool lost)
{
    struct amqp_conn *conn = session->conn;
    const struct tf_alloc *alloc = amqp_alloc(conn->front);
    struct tf_list_node *node;
    void *part;
    while ((node = tf_list_first(&session->links))) {
        struct amqp_link *link = link_of(node);
        tf_amqp_front_link_leave(link, false, lost);
        link_free(link);
    }
    while ((part = tf_amqp_session_reclaim(session->machine))) {
        tf_front_part_free(alloc, part);
    }
    tf_list_remove(&session->in_conn);
    tf_amqp_front_free(conn->front, session, session->size);
}

void tf_amqp_front_on_ended(struct amqp_conn *conn, const struct tf_amqp_event *event)
{
    if (event->local && event->error.condition != TF_AMQP_NO_ERROR) {
        tf_amqp_front_conn_log(conn, TF_LOG_NOTICE, "a session was ended with an error");
    }
    tf_amqp_front_session_free(tf_amqp_session_user(event->session), false);
}

/* Writes the key of a link's name: links of both directions may have one name (2.6.1). */
static void write_key(struct amqp_link *link, enum tf_amqp_role role, struct tf_bytes name)
{
    link->key[0] = (uint8_t)role;
    if (name.length) {
        memcpy(link->key + 1, name.data, name.length);
    }
}

/* Gives the link its name; who had it before loses it (2.6.1: link stealing). */
static void take_name(struct amqp_link *link)
{
    struct tf_tree *links = &amqp_link_conn(link)->container->links;
    struct tf_bytes key = tf_bytes_of(link->key, link->key_length);
    struct tf_tree_node *former = tf_tree_find(links, key);
    if (former) {
        struct amqp_link *old = tf_container_of(former, struct amqp_link, by_name);
        tf_amqp_front_link_fail(old, TF_AMQP_STOLEN, "the link was attached again");
        forget_name(old);
    }
    (void)tf_tree_insert(links, &link->by_name, key);
    link->named = true;
}

/* Answers a closing detach: what it was to end is there still. */
static void detach_undeleted(struct amqp_link *link, const char *text)
{
    struct tf_amqp_error error = tf_amqp_error_of(TF_AMQP_INTERNAL_ERROR, text);
    if (link->attaching) {
        tf_amqp_front_link_refuse(link, TF_AMQP_INTERNAL_ERROR, text);
    } else {
        tf_amqp_link_detach(link->machine, true, &error);
    }
}

/* The queue of a link that the peer has closed is gone, also from the store. */
static void deleted(struct tf_command_owner *owner, uint64_t tag, enum tf_err err, uint64_t count,
                    const struct tf_queue_status *status)
{
    struct amqp_link *link = tf_container_of(owner, struct amqp_link, deletion);
    struct amqp_conn *conn = amqp_link_conn(link);
    (void)tag;
    (void)count;
    (void)status;
    if (!link->deleting) {
        return; /* nobody waits */
    }
    link->deleting = false;
    (void)tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    if (err && err != TF_NOT_FOUND) {
        detach_undeleted(link, "the store does not take it: the subscription may come back");
    } else if (link->attaching) { /* it did not wait for the answer */
        tf_amqp_front_link_refuse(link, TF_AMQP_NO_ERROR, NULL);
    } else {
        tf_amqp_link_detach(link->machine, true, NULL);
    }
    tf_stream_touch(&conn->stream);
    tf_amqp_front_conn_touch(conn);
}

void tf_amqp_front_on_attach(struct amqp_conn *conn, const struct tf_amqp_event *event)
{
    struct amqp_front *front = conn->front;
    struct amqp_session *session = tf_amqp_session_user(event->session);
    const struct tf_amqp_attach *attach = &event->attach;
    size_t machine_size = tf_amqp_link_size(&conn->servers->configs[conn->listener]);
    size_t size = sizeof(struct amqp_link) + machine_size + 1 + attach->name.length;
    struct amqp_link *link = size <= UINT32_MAX ? tf_amqp_front_alloc(front, size) : NULL;
    struct tf_amqp_error error =
        tf_amqp_error_of(TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no memory for a link");
    if (!link) {
        tf_amqp_session_end(session->machine, &error);
        return;
    }
    memset(link, 0, sizeof(*link));
    link->session = session;
    link->size = (uint32_t)size;
    link->key = (uint8_t *)(link + 1) + machine_size;
    link->key_length = (uint32_t)(1 + attach->name.length);
    link->consumer.ops = &tf_amqp_front_consumer_ops;
    link->deletion.done = deleted;
    tf_list_init(&link->deletion.commands);
    if (tf_amqp_link_accept(session->machine, link + 1, machine_size, link, &link->machine)) {
        tf_amqp_front_free(front, link, size);
        tf_amqp_session_end(session->machine, &error);
        return;
    }
    write_key(link, tf_amqp_link_role(link->machine), attach->name);
    tf_list_push_back(&session->links, &link->in_session);
    take_name(link);
    tf_amqp_front_link_resolve(link, attach);
    tf_stream_touch(&conn->stream);
}

void tf_amqp_front_link_fail(struct amqp_link *link, enum tf_amqp_condition condition,
                             const char *text)
{
    struct amqp_conn *conn = amqp_link_conn(link);
    tf_amqp_front_link_leave(link, false, false);
    (void)tf_amqp_front_conn_lend(conn, TF_FRONT_BUFFER_SIZE);
    tf_amqp_front_link_refuse(link, condition, text);
    tf_stream_touch(&conn->stream);
    tf_amqp_front_conn_touch(conn);
}

void tf_amqp_front_on_detached(struct amqp_conn *conn, const struct tf_amqp_event *event)
{
    struct amqp_link *link = tf_amqp_link_user(event->link);
    (void)conn;
    tf_amqp_front_link_leave(link, event->closed && !event->local, false);
    if (event->gone) {
        link_free(link);
        return;
    }
    if (!link->attaching && !event->local) {
        forget_name(link);
    }
    if (link->undeleted && event->closed) {
        detach_undeleted(link, "no memory: the subscription stays");
    } else if (link->attaching && !link->deleting) { /* it did not wait for the answer */
        tf_amqp_front_link_refuse(link, TF_AMQP_NO_ERROR, NULL);
    } else if (!event->local && !link->deleting) {
        tf_amqp_link_detach(event->link, event->closed, NULL);
    }
}
