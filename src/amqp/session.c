/*
 * begin and end (2.5, 2.7.2, 2.7.8): sessions by channel; see connection.h.
 */
#include "amqp/connection.h"

#include "base/mem.h"

/* Frames that we may have under way: we remember none, so there is no limit of ours. */
#define OUTGOING_WINDOW UINT32_C(0x7fffffff)

size_t tf_amqp_session_size(const struct tf_amqp_config *config)
{
    return tf_amqp_size(config) ? sizeof(struct tf_amqp_session) : 0;
}

void *tf_amqp_session_user(const struct tf_amqp_session *session)
{
    return session->user;
}

struct tf_amqp_connection *tf_amqp_session_connection(const struct tf_amqp_session *session)
{
    return session->connection;
}

static struct tf_amqp_session *start(struct tf_amqp_connection *connection, void *memory,
                                     void *user, uint32_t local)
{
    struct tf_amqp_session *session = memory;

    memset(session, 0, sizeof *session);
    session->connection = connection;
    session->user = user;
    session->local = (uint16_t)local;
    session->generation = connection->generation++ & 0x7fff;
    session->incoming_window = connection->config->incoming_window;
    session->incoming_limit = tf_amqp_session_window_now(session);
    session->peer_handle_max = UINT32_MAX;
    tf_list_init(&session->due_links);
    tf_list_init(&session->attaching);
    tf_list_init(&session->gone);
    tf_amqp_session_deliveries_init(session);
    return session;
}

enum tf_err tf_amqp_session_accept(struct tf_amqp_connection *connection, void *memory,
                                   size_t length, void *user, struct tf_amqp_session **ret_session)
{
    struct tf_amqp_session *session;

    if (connection->awaiting != TF_AMQP_BEGIN || connection->slot.type)
        return TF_MISUSE;
    if (!memory || length < sizeof *session)
        return TF_NO_MEMORY;
    session = start(connection, memory, user, connection->asked_local);
    session->state = TF_AMQP_SESSION_MAPPED;
    session->mapped = true;
    session->remote = (uint16_t)connection->channels.places[connection->asked_local].remote;
    session->next_incoming_id = connection->asked_count;
    session->incoming_limit = session->next_incoming_id + tf_amqp_session_window_now(session);
    session->remote_incoming_window = connection->asked_window;
    session->peer_handle_max = connection->asked_handle_max;
    connection->channels.places[connection->asked_local].object = session;
    connection->awaiting = 0;
    tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_BEGIN);
    tf_amqp_pump(connection);
    *ret_session = session;
    return TF_OK;
}

enum tf_err tf_amqp_session_begin(struct tf_amqp_connection *connection, void *memory,
                                  size_t length, void *user, struct tf_amqp_session **ret_session)
{
    struct tf_amqp_session *session;

    if (connection->state >= TF_AMQP_CONNECTION_CLOSE_SENT)
        return TF_CLOSED;
    if (!memory || length < sizeof *session)
        return TF_NO_MEMORY;
    if (!connection->open_sent)
        return TF_AGAIN;
    if (connection->channels.used > connection->channel_max)
        return TF_LIMIT;
    if (tf_amqp_numbers_full(&connection->channels))
        return tf_amqp_need(connection, NULL, TF_AMQP_PART_CHANNELS);
    if (tf_output_room(&connection->output, 0) < TF_AMQP_FLOW_MAX)
        return TF_AGAIN;
    session = start(connection, memory, user, tf_amqp_numbers_add(&connection->channels, NULL));
    connection->channels.places[session->local].object = session;
    session->state = TF_AMQP_SESSION_BEGIN_SENT;
    tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_BEGIN);
    tf_amqp_pump(connection);
    *ret_session = session;
    return TF_OK;
}

void tf_amqp_session_end(struct tf_amqp_session *session, const struct tf_amqp_error *error)
{
    struct tf_amqp_connection *connection = session->connection;

    if (session->state >= TF_AMQP_SESSION_END_SENT)
        return;
    if (connection->awaiting == TF_AMQP_ATTACH && connection->asked_session == session)
        connection->awaiting = 0;
    session->state = TF_AMQP_SESSION_END_SENT;
    if (error)
        session->error = *error;
    tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_END);
    tf_amqp_pump(connection);
}

void tf_amqp_session_drop(struct tf_amqp_session *session)
{
    struct tf_amqp_connection *connection = session->connection;

    if (session->state == TF_AMQP_SESSION_ENDED)
        return;
    tf_amqp_session_forget(session);
    connection->links -= session->links;
    session->links = 0;
    session->needs = session->asked = 0;
    session->due = 0;
    session->state = TF_AMQP_SESSION_ENDED;
    tf_list_init(&session->due_links);
    tf_list_init(&session->attaching);
    tf_list_init(&session->gone);
    tf_list_unlink(&session->due_node);
    tf_list_unlink(&session->tell_node);
}

void tf_amqp_session_leave(struct tf_amqp_session *session)
{
    struct tf_amqp_connection *connection = session->connection;

    if (connection->state == TF_AMQP_CONNECTION_CLOSING)
        return;
    if (session->failed)
        connection->channels.places[session->local].object = NULL; /* until the peer's end */
    else
        tf_amqp_numbers_remove(&connection->channels, session->local);
}

/* ---- output ---- */

static bool put_begin(struct tf_amqp_session *session)
{
    struct tf_amqp_connection *connection = session->connection;
    struct tf_amqp_performative performative;

    performative.type = TF_AMQP_BEGIN_FRAME;
    performative.begin = (struct tf_amqp_begin){
        .has_remote_channel = session->mapped,
        .remote_channel = session->remote,
        .next_outgoing_id = session->initial_outgoing_id,
        .incoming_window = tf_amqp_session_window_now(session),
        .outgoing_window = OUTGOING_WINDOW,
        .handle_max = connection->config->handle_max,
    };
    return tf_amqp_put(connection, session->local, &performative);
}

static bool put_end(struct tf_amqp_session *session)
{
    struct tf_amqp_performative performative;

    performative.type = TF_AMQP_END;
    return tf_amqp_put_error(session->connection, session->local, &performative, &session->error);
}

/* Writes the flows of its links, or the detaches; false: no room. */
static bool put_links(struct tf_amqp_session *session, uint8_t bit)
{
    struct tf_list_node *node, *next;

    for (node = tf_list_first(&session->due_links); node; node = next) {
        struct tf_amqp_link *link = tf_container_of(node, struct tf_amqp_link, due_node);

        next = tf_list_next(&session->due_links, node);
        if (!(link->due & bit))
            continue;
        if (bit == TF_AMQP_LINK_DUE_FLOW ? !tf_amqp_link_put_flow(link)
                                         : !tf_amqp_link_put_detach(link))
            return false;
        link->due &= (uint8_t)~bit;
        if (link->due == 0)
            tf_list_unlink(node);
    }
    if (tf_list_empty(&session->due_links))
        session->due &= (uint8_t)~TF_AMQP_SESSION_DUE_LINKS;
    return true;
}

/* Takes the bit off if `done`; returns `done`. */
static bool settle(struct tf_amqp_session *session, uint8_t bit, bool done)
{
    if (done)
        session->due &= (uint8_t)~bit;
    return done;
}

/* Writes what is due, in the order that it must have; false: no room. */
static bool put_due(struct tf_amqp_session *session)
{
    if (session->due & TF_AMQP_SESSION_DUE_BEGIN &&
        !settle(session, TF_AMQP_SESSION_DUE_BEGIN, put_begin(session)))
        return false;
    if (session->due & TF_AMQP_SESSION_DUE_LINKS && !put_links(session, TF_AMQP_LINK_DUE_FLOW))
        return false;
    const uint8_t flow = TF_AMQP_SESSION_DUE_FLOW | TF_AMQP_SESSION_DUE_ECHO;
    if (session->due & flow && !settle(session, flow, tf_amqp_session_put_flow(session)))
        return false;
    if (session->due & TF_AMQP_SESSION_DUE_DELIVERIES &&
        !settle(session, TF_AMQP_SESSION_DUE_DELIVERIES, tf_amqp_deliveries_pump(session)))
        return false;
    if (session->due & TF_AMQP_SESSION_DUE_LINKS &&
        !settle(session, TF_AMQP_SESSION_DUE_LINKS, put_links(session, TF_AMQP_LINK_DUE_DETACH)))
        return false;
    if (session->due & TF_AMQP_SESSION_DUE_END &&
        !settle(session, TF_AMQP_SESSION_DUE_END, put_end(session)))
        return false;
    return true;
}

bool tf_amqp_session_pump(struct tf_amqp_session *session)
{
    while (session->due) /* a detach may give window back, for example */
        if (!put_due(session))
            return false;
    tf_list_unlink(&session->due_node);
    return true;
}

/* Writes begin and end, for which there is room when input is taken. */
static void put_end_now(struct tf_amqp_session *session, bool begin)
{
    bool done = !begin || put_begin(session);

    done = put_end(session) && done;
    tf_assert(done);
}

/* ---- input ---- */

enum tf_err tf_amqp_session_fail(struct tf_amqp_session *session, enum tf_amqp_condition condition,
                                 const char *text)
{
    struct tf_amqp_slot *slot;
    bool begin = session->due & TF_AMQP_SESSION_DUE_BEGIN;

    session->error = tf_amqp_error_of(condition, text);
    session->failed = true;
    tf_amqp_session_drop(session);
    put_end_now(session, begin);
    slot = tf_amqp_tell(session->connection, TF_AMQP_ENDED, session, NULL);
    slot->local = true;
    return TF_OK;
}

enum tf_err tf_amqp_session_of(struct tf_amqp_connection *connection, uint16_t channel,
                               struct tf_amqp_session **ret)
{
    uint32_t local = tf_amqp_numbers_find(&connection->channels, channel);
    struct tf_amqp_session *session;

    *ret = NULL;
    if (local == TF_AMQP_NO_NUMBER)
        return tf_amqp_connection_fail(connection, TF_AMQP_NOT_ALLOWED,
                                       "no session has been begun on the channel");
    session = connection->channels.places[local].object;
    if (session && session->state == TF_AMQP_SESSION_MAPPED)
        *ret = session;
    return TF_OK;
}

/* The answer to a begin of ours. */
static enum tf_err on_answer(struct tf_amqp_connection *connection, uint16_t channel,
                             const struct tf_amqp_begin *begin)
{
    struct tf_amqp_session *session =
        tf_amqp_numbers_at(&connection->channels, begin->remote_channel);

    if (!session || session->mapped)
        return tf_amqp_connection_fail(connection, TF_AMQP_NOT_ALLOWED,
                                       "begin answers none of ours");
    tf_amqp_numbers_bind(&connection->channels, session->local, channel);
    session->mapped = true;
    session->remote = channel;
    session->next_incoming_id = begin->next_outgoing_id;
    session->incoming_limit = begin->next_outgoing_id + session->incoming_limit;
    session->remote_incoming_window = begin->incoming_window;
    session->peer_handle_max = begin->handle_max;
    if (session->state == TF_AMQP_SESSION_END_SENT)
        return TF_OK; /* its end follows */
    session->state = TF_AMQP_SESSION_MAPPED;
    tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_DELIVERIES);
    tf_amqp_tell(connection, TF_AMQP_BEGUN, session, NULL);
    return TF_OK;
}

enum tf_err tf_amqp_on_begin(struct tf_amqp_connection *connection, uint16_t channel,
                             const struct tf_amqp_performative *performative)
{
    const struct tf_amqp_begin *begin = &performative->begin;

    if (tf_amqp_numbers_find(&connection->channels, channel) != TF_AMQP_NO_NUMBER)
        return tf_amqp_connection_fail(connection, TF_AMQP_NOT_ALLOWED, "the channel is in use");
    if (begin->has_remote_channel)
        return on_answer(connection, channel, begin);
    if (connection->channels.used > connection->channel_max)
        return tf_amqp_connection_fail(connection, TF_AMQP_RESOURCE_LIMIT_EXCEEDED,
                                       "no channel is left");
    if (tf_amqp_numbers_full(&connection->channels))
        return tf_amqp_need(connection, NULL, TF_AMQP_PART_CHANNELS);
    connection->asked_local = tf_amqp_numbers_add(&connection->channels, NULL);
    tf_amqp_numbers_bind(&connection->channels, connection->asked_local, channel);
    connection->asked_count = begin->next_outgoing_id;
    connection->asked_window = begin->incoming_window;
    connection->asked_handle_max = begin->handle_max;
    connection->awaiting = TF_AMQP_BEGIN;
    tf_amqp_tell(connection, TF_AMQP_BEGIN, NULL, NULL);
    return TF_OK;
}

enum tf_err tf_amqp_on_end(struct tf_amqp_connection *connection, uint16_t channel,
                           const struct tf_amqp_performative *performative)
{
    uint32_t local = tf_amqp_numbers_find(&connection->channels, channel);
    struct tf_amqp_session *session;
    uint8_t due;

    (void)performative;
    if (local == TF_AMQP_NO_NUMBER)
        return tf_amqp_connection_fail(connection, TF_AMQP_NOT_ALLOWED,
                                       "no session has been begun on the channel");
    session = connection->channels.places[local].object;
    if (!session) { /* we had ended it with an error */
        tf_amqp_numbers_remove(&connection->channels, local);
        return TF_OK;
    }
    due = session->due & (TF_AMQP_SESSION_DUE_BEGIN | TF_AMQP_SESSION_DUE_END);
    if (session->state == TF_AMQP_SESSION_MAPPED)
        due |= TF_AMQP_SESSION_DUE_END;
    tf_amqp_session_drop(session);
    if (due & TF_AMQP_SESSION_DUE_END)
        put_end_now(session, due & TF_AMQP_SESSION_DUE_BEGIN);
    tf_amqp_tell(connection, TF_AMQP_ENDED, session, NULL);
    return TF_OK;
}
