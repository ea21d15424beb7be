/*
 * attach and detach (2.6, 2.7.3, 2.7.7): links by handle; see connection.h.
 */
#include "amqp/connection.h"

#include "base/hash.h"
#include "base/mem.h"

size_t tf_amqp_link_size(const struct tf_amqp_config *config)
{
    return tf_amqp_size(config) ? sizeof(struct tf_amqp_link) : 0;
}

void *tf_amqp_link_user(const struct tf_amqp_link *link)
{
    return link->user;
}

struct tf_amqp_session *tf_amqp_link_session(const struct tf_amqp_link *link)
{
    return link->session;
}

enum tf_amqp_role tf_amqp_link_role(const struct tf_amqp_link *link)
{
    return (enum tf_amqp_role)link->role;
}

static struct tf_amqp_link *start(struct tf_amqp_session *session, void *memory, void *user,
                                  uint32_t local, enum tf_amqp_role role)
{
    struct tf_amqp_link *link = memory;

    memset(link, 0, sizeof *link);
    link->session = session;
    link->user = user;
    link->local = local;
    link->remote = TF_AMQP_NO_NUMBER;
    link->role = (uint8_t)role;
    session->handles.places[local].object = link;
    session->links++;
    session->connection->links++;
    tf_amqp_link_deliveries_init(link);
    return link;
}

/* Writes an attach of ours: what the caller does not choose is set here. */
static enum tf_err put_attach(struct tf_amqp_session *session, uint32_t local,
                              enum tf_amqp_role role, const struct tf_amqp_attach *attach)
{
    struct tf_amqp_connection *connection = session->connection;
    struct tf_amqp_performative performative;

    performative.type = TF_AMQP_ATTACH_FRAME;
    performative.attach = *attach;
    performative.attach.handle = local;
    performative.attach.role = role;
    performative.attach.has_initial_delivery_count = role == TF_AMQP_SENDER;
    performative.attach.initial_delivery_count = 0;
    performative.attach.max_message_size =
        role == TF_AMQP_RECEIVER ? connection->config->max_message_size : 0;
    if (session->due & TF_AMQP_SESSION_DUE_BEGIN)
        tf_amqp_pump(connection);
    if (session->due & TF_AMQP_SESSION_DUE_BEGIN)
        return TF_AGAIN;
    if (tf_amqp_put(connection, session->local, &performative))
        return TF_OK;
    return tf_output_pending(&connection->output) ? TF_AGAIN : TF_NO_MEMORY;
}

/* ---- links that the peer attaches ---- */

enum tf_err tf_amqp_link_accept(struct tf_amqp_session *session, void *memory, size_t length,
                                void *user, struct tf_amqp_link **ret_link)
{
    struct tf_amqp_connection *connection = session->connection;
    struct tf_amqp_link *link;

    if (connection->awaiting != TF_AMQP_ATTACH || connection->slot.type ||
        connection->asked_session != session)
        return TF_MISUSE;
    if (!memory || length < sizeof *link)
        return TF_NO_MEMORY;
    link = start(session, memory, user, connection->asked_local,
                 connection->asked_role == TF_AMQP_SENDER ? TF_AMQP_RECEIVER : TF_AMQP_SENDER);
    link->state = TF_AMQP_LINK_ACCEPTED;
    link->remote = (uint32_t)session->handles.places[link->local].remote;
    link->mapped = true;
    link->snd_settle_mode = connection->asked_snd_settle_mode;
    link->rcv_settle_mode = connection->asked_rcv_settle_mode;
    if (link->role == TF_AMQP_RECEIVER)
        link->delivery_count = link->limit = connection->asked_count;
    link->max_message_size = link->role == TF_AMQP_RECEIVER ? connection->config->max_message_size
                                                            : connection->asked_max_message_size;
    connection->awaiting = 0;
    *ret_link = link;
    return TF_OK;
}

enum tf_err tf_amqp_link_attach_reply(struct tf_amqp_link *link, const struct tf_amqp_attach *reply)
{
    enum tf_err err;

    if (link->attach_sent)
        return TF_MISUSE;
    if (link->state == TF_AMQP_LINK_GONE || link->session->state != TF_AMQP_SESSION_MAPPED)
        return TF_CLOSED;
    err = put_attach(link->session, link->local, (enum tf_amqp_role)link->role, reply);
    if (err)
        return err;
    link->attach_sent = true;
    link->resumable = link->role == TF_AMQP_RECEIVER && reply->unsettled.length > 0;
    link->snd_settle_mode = (uint8_t)reply->snd_settle_mode;
    link->rcv_settle_mode = (uint8_t)reply->rcv_settle_mode;
    if (link->state == TF_AMQP_LINK_ACCEPTED)
        link->state = TF_AMQP_LINK_ATTACHED;
    if (link->role == TF_AMQP_RECEIVER ? link->credit > 0
                                       : link->delivery_count != link->initial_count)
        tf_amqp_link_due(link, TF_AMQP_LINK_DUE_FLOW); /* what was said before it could be told */
    return TF_OK;
}

/* Answers an attach whose handle has place `local` with an attach without terminus, and detach. */
static enum tf_err refuse(struct tf_amqp_session *session, uint32_t local, enum tf_amqp_role role,
                          const struct tf_amqp_attach *reply, const struct tf_amqp_error *error)
{
    struct tf_amqp_connection *connection = session->connection;
    struct tf_amqp_attach attach = *reply;
    struct tf_amqp_performative performative;
    enum tf_err err;

    if (tf_output_room(&connection->output, 0) < 2 * TF_AMQP_REPLY_MAX &&
        tf_output_pending(&connection->output))
        return TF_AGAIN;
    if (role == TF_AMQP_SENDER)
        attach.source = (struct tf_amqp_terminus){0}; /* 2.6.3 */
    else
        attach.target = (struct tf_amqp_terminus){0};
    err = put_attach(session, local, role, &attach);
    if (err)
        return err;
    performative.type = TF_AMQP_DETACH;
    performative.detach.handle = local;
    performative.detach.closed = true;
    if (!tf_amqp_put_error(connection, session->local, &performative, error))
        tf_amqp_session_end(session, error); /* the attach alone would promise a link */
    return TF_OK;
}

enum tf_err tf_amqp_link_refuse(struct tf_amqp_session *session, const struct tf_amqp_attach *reply,
                                const struct tf_amqp_error *error)
{
    struct tf_amqp_connection *connection = session->connection;
    enum tf_amqp_role role =
        connection->asked_role == TF_AMQP_SENDER ? TF_AMQP_RECEIVER : TF_AMQP_SENDER;
    enum tf_err err;

    if (connection->awaiting != TF_AMQP_ATTACH || connection->slot.type ||
        connection->asked_session != session)
        return TF_MISUSE;
    err = refuse(session, connection->asked_local, role, reply, error);
    if (!err)
        connection->awaiting = 0;
    return err;
}

/* ---- links of ours ---- */

enum tf_err tf_amqp_link_attach(struct tf_amqp_session *session, void *memory, size_t length,
                                void *user, const struct tf_amqp_attach *attach,
                                struct tf_amqp_link **ret_link)
{
    struct tf_amqp_connection *connection = session->connection;
    struct tf_amqp_link *link;
    uint32_t local;
    enum tf_err err;

    if (session->state >= TF_AMQP_SESSION_END_SENT)
        return TF_CLOSED;
    if (!memory || length < sizeof *link)
        return TF_NO_MEMORY;
    if (session->handles.used > session->peer_handle_max ||
        session->handles.used > connection->config->handle_max ||
        connection->links >= connection->config->max_links)
        return TF_LIMIT;
    if (tf_amqp_numbers_full(&session->handles))
        return tf_amqp_need(connection, session, TF_AMQP_PART_HANDLES);
    local = tf_amqp_numbers_add(&session->handles, NULL);
    err = put_attach(session, local, attach->role, attach);
    if (err) {
        tf_amqp_numbers_remove(&session->handles, local);
        return err;
    }
    link = start(session, memory, user, local, attach->role);
    link->state = TF_AMQP_LINK_ATTACH_SENT;
    link->attach_sent = true;
    link->name_hash = tf_hash_home(attach->name);
    link->snd_settle_mode = (uint8_t)attach->snd_settle_mode;
    link->rcv_settle_mode = (uint8_t)attach->rcv_settle_mode;
    if (link->role == TF_AMQP_RECEIVER)
        link->max_message_size = connection->config->max_message_size;
    tf_list_push_back(&session->attaching, &link->wait_node);
    *ret_link = link;
    return TF_OK;
}

/* The link of ours that an attach answers: of its name, and the other role; NULL: none. */
static struct tf_amqp_link *find_attaching(const struct tf_amqp_session *session,
                                           const struct tf_amqp_attach *attach)
{
    struct tf_list_node *node = tf_list_first(&session->attaching);
    uint64_t hash = node ? tf_hash_home(attach->name) : 0;

    for (; node; node = tf_list_next(&session->attaching, node)) {
        struct tf_amqp_link *link = tf_container_of(node, struct tf_amqp_link, wait_node);
        if (link->name_hash == hash && link->role != (uint8_t)attach->role)
            return link;
    }
    return NULL;
}

static enum tf_err on_answer(struct tf_amqp_link *link, const struct tf_amqp_attach *attach)
{
    struct tf_amqp_session *session = link->session;

    tf_list_remove(&link->wait_node);
    tf_amqp_numbers_bind(&session->handles, link->local, attach->handle);
    link->remote = attach->handle;
    link->mapped = true;
    link->snd_settle_mode = (uint8_t)attach->snd_settle_mode;
    link->rcv_settle_mode = (uint8_t)attach->rcv_settle_mode;
    if (link->role == TF_AMQP_SENDER) {
        link->max_message_size = attach->max_message_size;
    } else if (link->state == TF_AMQP_LINK_ATTACH_SENT) {
        /* credit that was given before counts from here */
        link->delivery_count += attach->initial_delivery_count;
        link->limit += attach->initial_delivery_count;
    }
    if (link->state != TF_AMQP_LINK_ATTACH_SENT)
        return TF_OK; /* we have detached it meanwhile */
    link->state = TF_AMQP_LINK_ATTACHED;
    tf_amqp_tell(session->connection, TF_AMQP_ATTACHED, session, link);
    return TF_OK;
}

/* A link more than we take: refused here, since the caller shall not be asked. */
static enum tf_err over_limit(struct tf_amqp_session *session, const struct tf_amqp_attach *attach)
{
    struct tf_amqp_error error =
        tf_amqp_error_of(TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "too many links");
    struct tf_amqp_attach reply = {.name = attach->name,
                                   .snd_settle_mode = attach->snd_settle_mode,
                                   .rcv_settle_mode = attach->rcv_settle_mode};
    uint32_t local = tf_amqp_numbers_add(&session->handles, NULL);
    enum tf_err err;

    tf_amqp_numbers_bind(&session->handles, local, attach->handle);
    err = refuse(session, local, attach->role == TF_AMQP_SENDER ? TF_AMQP_RECEIVER : TF_AMQP_SENDER,
                 &reply, &error);
    if (err == TF_AGAIN)
        tf_amqp_numbers_remove(&session->handles, local);
    else if (err) /* a name that fills a frame: there is no answer that could hold it */
        return tf_amqp_session_fail(session, error.condition, "too many links");
    return err;
}

enum tf_err tf_amqp_on_attach(struct tf_amqp_connection *connection, uint16_t channel,
                              const struct tf_amqp_performative *performative)
{
    const struct tf_amqp_attach *attach = &performative->attach;
    struct tf_amqp_session *session;
    struct tf_amqp_link *link;
    enum tf_err err = tf_amqp_session_of(connection, channel, &session);

    if (err || !session)
        return err;
    if (attach->handle > connection->config->handle_max)
        return tf_amqp_connection_fail(connection, TF_AMQP_FRAMING_ERROR,
                                       "handle over handle-max"); /* 2.7.2 */
    if (tf_amqp_numbers_find(&session->handles, attach->handle) != TF_AMQP_NO_NUMBER)
        return tf_amqp_session_fail(session, TF_AMQP_HANDLE_IN_USE, "the handle is in use");
    if (attach->role == TF_AMQP_SENDER && !attach->has_initial_delivery_count)
        return tf_amqp_session_fail(session, TF_AMQP_INVALID_FIELD,
                                    "a sender's attach without initial-delivery-count");
    link = find_attaching(session, attach);
    if (link)
        return on_answer(link, attach);
    if (session->handles.used > session->peer_handle_max)
        return tf_amqp_session_fail(session, TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "no handle is left");
    if (tf_amqp_numbers_full(&session->handles))
        return tf_amqp_need(connection, session, TF_AMQP_PART_HANDLES);
    if (connection->links >= connection->config->max_links)
        return over_limit(session, attach);
    connection->asked_local = tf_amqp_numbers_add(&session->handles, NULL);
    tf_amqp_numbers_bind(&session->handles, connection->asked_local, attach->handle);
    connection->asked_session = session;
    connection->asked_role = (uint8_t)attach->role;
    connection->asked_count = attach->initial_delivery_count;
    connection->asked_max_message_size = attach->max_message_size;
    connection->asked_snd_settle_mode = (uint8_t)attach->snd_settle_mode;
    connection->asked_rcv_settle_mode = (uint8_t)attach->rcv_settle_mode;
    connection->awaiting = TF_AMQP_ATTACH;
    tf_amqp_tell(connection, TF_AMQP_ATTACH, session, NULL);
    return TF_OK;
}

/* ---- the end of a link ---- */

/* Both sides have detached: the handle is free, nothing refers to the link but who tells it. */
static void leave(struct tf_amqp_link *link)
{
    struct tf_amqp_session *session = link->session;

    tf_amqp_link_forget(link);
    tf_amqp_numbers_remove(&session->handles, link->local);
    session->links--;
    session->connection->links--;
    link->state = TF_AMQP_LINK_GONE;
    link->due = 0;
    tf_list_unlink(&link->due_node);
    if (tf_list_empty(&session->due_links))
        session->due &= (uint8_t)~TF_AMQP_SESSION_DUE_LINKS;
    if (session->due == 0)
        tf_list_unlink(&session->due_node);
}

bool tf_amqp_link_put_detach(struct tf_amqp_link *link)
{
    struct tf_amqp_session *session = link->session;
    struct tf_amqp_performative performative;

    performative.type = TF_AMQP_DETACH;
    performative.detach.handle = link->local;
    performative.detach.closed = link->detach_closed;
    if (link->attach_sent &&
        !tf_amqp_put_error(session->connection, session->local, &performative, &link->error))
        return false;
    tf_amqp_link_forget(link);
    if (link->failed)
        link->limit = session->incoming_limit;
    if (link->state == TF_AMQP_LINK_DETACH_RECEIVED) {
        leave(link);
        tf_list_push_back(&session->gone, &link->wait_node);
        if (!tf_list_linked(&session->tell_node))
            tf_list_push_back(&session->connection->tell_sessions, &session->tell_node);
    }
    return true;
}

void tf_amqp_link_detach(struct tf_amqp_link *link, bool closed, const struct tf_amqp_error *error)
{
    struct tf_amqp_session *session = link->session;

    if (session->state >= TF_AMQP_SESSION_END_SENT || link->state >= TF_AMQP_LINK_DETACH_SENT)
        return;
    if (link->due & TF_AMQP_LINK_DUE_DETACH)
        return;
    link->detach_closed = closed;
    if (error)
        link->error = *error;
    if (link->state < TF_AMQP_LINK_DETACH_RECEIVED)
        link->state = TF_AMQP_LINK_DETACH_SENT;
    tf_amqp_link_due(link, TF_AMQP_LINK_DUE_DETACH);
    tf_amqp_pump(session->connection);
}

enum tf_err tf_amqp_link_fail(struct tf_amqp_link *link, enum tf_amqp_condition condition,
                              const char *text)
{
    struct tf_amqp_session *session = link->session;
    struct tf_amqp_slot *slot;
    bool done;

    if (!link->attach_sent) /* a detach could not be said */
        return tf_amqp_session_fail(session, condition, text);
    link->error = tf_amqp_error_of(condition, text);
    link->failed = true;
    link->detach_closed = true; /* 2.6.5 */
    link->state = TF_AMQP_LINK_DETACH_SENT;
    done = tf_amqp_link_put_detach(link);
    tf_assert(done); /* there is room when input is taken */
    slot = tf_amqp_tell(session->connection, TF_AMQP_DETACHED, session, link);
    slot->local = true;
    slot->closed = true;
    return TF_OK;
}

enum tf_err tf_amqp_session_link(struct tf_amqp_session *session, uint32_t handle,
                                 struct tf_amqp_link **ret)
{
    struct tf_amqp_connection *connection = session->connection;
    struct tf_amqp_link *link;
    uint32_t local;

    *ret = NULL;
    if (handle > connection->config->handle_max)
        return tf_amqp_connection_fail(connection, TF_AMQP_FRAMING_ERROR,
                                       "handle over handle-max"); /* 2.7.2 */
    local = tf_amqp_numbers_find(&session->handles, handle);
    if (local == TF_AMQP_NO_NUMBER)
        return tf_amqp_session_fail(session, TF_AMQP_UNATTACHED_HANDLE,
                                    "no link is attached to the handle");
    link = session->handles.places[local].object;
    if (link && link->state <= TF_AMQP_LINK_ATTACHED) {
        *ret = link;
    } else if (link && link->state == TF_AMQP_LINK_DETACH_RECEIVED) {
        return tf_amqp_session_fail(session, TF_AMQP_UNATTACHED_HANDLE,
                                    "the link of the handle is detached");
    } else if (link && link->failed &&
               tf_amqp_serial_before(link->limit, session->next_incoming_id)) {
        /*
         * 2.6.5. What was under way when the peer was told can't be held against it; but it has
         * been given window since, and used it, so it must know.
         */
        return tf_amqp_session_fail(session, TF_AMQP_ERRANT_LINK,
                                    "the link was detached with an error");
    }
    return TF_OK;
}

enum tf_err tf_amqp_on_detach(struct tf_amqp_connection *connection, uint16_t channel,
                              const struct tf_amqp_performative *performative)
{
    const struct tf_amqp_detach *detach = &performative->detach;
    struct tf_amqp_session *session;
    struct tf_amqp_link *link;
    struct tf_amqp_slot *slot;
    uint32_t local;
    enum tf_err err = tf_amqp_session_of(connection, channel, &session);

    if (err || !session)
        return err;
    if (detach->handle > connection->config->handle_max)
        return tf_amqp_connection_fail(connection, TF_AMQP_FRAMING_ERROR,
                                       "handle over handle-max"); /* 2.7.2 */
    local = tf_amqp_numbers_find(&session->handles, detach->handle);
    if (local == TF_AMQP_NO_NUMBER)
        return tf_amqp_session_fail(session, TF_AMQP_UNATTACHED_HANDLE,
                                    "no link is attached to the handle");
    link = session->handles.places[local].object;
    if (!link) { /* we had refused it */
        tf_amqp_numbers_remove(&session->handles, local);
        return TF_OK;
    }
    if (link->state == TF_AMQP_LINK_DETACH_RECEIVED)
        return tf_amqp_session_fail(session, TF_AMQP_UNATTACHED_HANDLE, "detach again");
    tf_amqp_link_forget(link);
    if (link->state == TF_AMQP_LINK_DETACH_SENT) {
        if (link->due & TF_AMQP_LINK_DUE_DETACH) {
            bool done = tf_amqp_link_put_detach(link);
            tf_assert(done); /* there is room when input is taken */
        }
        leave(link);
    } else {
        link->state = TF_AMQP_LINK_DETACH_RECEIVED;
    }
    slot = tf_amqp_tell(connection, TF_AMQP_DETACHED, session, link);
    slot->closed = detach->closed;
    slot->gone = link->state == TF_AMQP_LINK_GONE;
    return TF_OK;
}
