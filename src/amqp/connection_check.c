/*
 * Walks the invariants of a connection that are named at the head of connection.c.
 */
#include "amqp/connection.h"

bool tf_amqp_link_check(const struct tf_amqp_link *link)
{
    const struct tf_amqp_session *session = link->session;

    if (link->state >= TF_AMQP_LINK_GONE || link->role > TF_AMQP_RECEIVER)
        return false;
    if (tf_list_linked(&link->due_node) != (link->due != 0))
        return false;
    if (tf_list_linked(&link->wait_node) == link->mapped) /* ATTACH_SENT, and its detach */
        return false;
    if (link->state == TF_AMQP_LINK_ATTACHED && (!link->mapped || !link->attach_sent))
        return false;
    if (link->mapped && session->handles.places[link->local].remote != link->remote)
        return false;
    return link->role == TF_AMQP_SENDER || link->failed ||
           link->limit - link->delivery_count >= link->credit ||
           (link->due & TF_AMQP_LINK_DUE_FLOW) || !link->attach_sent ||
           link->state > TF_AMQP_LINK_ATTACHED;
}

static bool check_links(const struct tf_amqp_session *session)
{
    uint32_t links = 0, gone = 0;
    struct tf_list_node *node;

    for (uint32_t i = 0; i < session->handles.capacity; i++) {
        const struct tf_amqp_link *link = tf_amqp_numbers_at(&session->handles, i);
        if (!link)
            continue;
        links++;
        if (link->local != i || link->session != session || !tf_amqp_link_check(link))
            return false;
    }
    for (node = tf_list_first(&session->gone); node; node = tf_list_next(&session->gone, node))
        gone++;
    for (node = tf_list_first(&session->due_links); node;
         node = tf_list_next(&session->due_links, node))
        if (tf_container_of(node, struct tf_amqp_link, due_node)->due == 0)
            return false;
    return links == session->links &&
           tf_list_linked(&session->tell_node) == (session->needs != 0 || gone > 0);
}

bool tf_amqp_session_check(const struct tf_amqp_session *session)
{
    const struct tf_amqp_connection *connection = session->connection;

    if (session->state > TF_AMQP_SESSION_ENDED || !tf_amqp_numbers_check(&session->handles))
        return false;
    if (session->state == TF_AMQP_SESSION_ENDED)
        return session->due == 0 && session->links == 0 && !tf_list_linked(&session->due_node) &&
               !tf_list_linked(&session->tell_node);
    if ((session->state == TF_AMQP_SESSION_MAPPED && !session->mapped) ||
        connection->state >= TF_AMQP_CONNECTION_CLOSE_SENT)
        return false;
    if (tf_list_linked(&session->due_node) != (session->due != 0))
        return false;
    if (((session->due & TF_AMQP_SESSION_DUE_LINKS) == 0) != tf_list_empty(&session->due_links))
        return false;
    return check_links(session) && tf_amqp_session_deliveries_check(session);
}

/* What is awaited has a place of its own. */
static bool check_awaited(const struct tf_amqp_connection *connection)
{
    const struct tf_amqp_numbers *numbers = &connection->channels;

    if (connection->awaiting != TF_AMQP_BEGIN && connection->awaiting != TF_AMQP_ATTACH)
        return true;
    if (connection->awaiting == TF_AMQP_ATTACH)
        numbers = &connection->asked_session->handles;
    return connection->asked_local < numbers->capacity &&
           numbers->places[connection->asked_local].next == TF_AMQP_PLACE_USED &&
           !numbers->places[connection->asked_local].object;
}

bool tf_amqp_check(const struct tf_amqp_connection *connection)
{
    uint32_t links = 0;

    if (connection->state > TF_AMQP_CONNECTION_CLOSING || !tf_output_check(&connection->output) ||
        !tf_amqp_numbers_check(&connection->channels) || !check_awaited(connection))
        return false;
    if (connection->state == TF_AMQP_CONNECTION_CLOSING &&
        (connection->awaiting || connection->needs || !tf_list_empty(&connection->due_sessions)))
        return false;
    if (connection->state != TF_AMQP_CONNECTION_CLOSING &&
        connection->deadline > tf_amqp_next_deadline(connection))
        return false;
    for (uint32_t i = 0; i < connection->channels.capacity; i++) {
        const struct tf_amqp_session *session = tf_amqp_numbers_at(&connection->channels, i);
        if (!session)
            continue;
        if (session->local != i || session->connection != connection ||
            !tf_amqp_session_check(session))
            return false;
        links += session->links;
    }
    return links == connection->links && tf_amqp_connection_deliveries_check(connection);
}
