/*
 * Windows of sessions and credit of links (2.5.6, 2.6.7, 2.7.4); see connection.h.
 *
 * Where we receive, what the peer was ever allowed stays allowed (`limit`, `incoming_limit`): if we
 * take credit or window back, frames that were sent before the peer knew are no violation.
 */
#include "amqp/connection.h"

/* ---- output ---- */

/* The part of a flow that says how the session is (2.7.4). What it allows is allowed from now on.
 */
static struct tf_amqp_flow session_flow(struct tf_amqp_session *session)
{
    uint32_t next = session->next_incoming_id, window = tf_amqp_session_window_now(session);

    if (window > session->incoming_limit - next)
        session->incoming_limit = next + window;
    return (struct tf_amqp_flow){
        .has_next_incoming_id = session->mapped, /* the peer's begin was seen */
        .next_incoming_id = next,
        .incoming_window = window,
        .next_outgoing_id = session->next_outgoing_id,
        .outgoing_window = UINT32_C(0x7fffffff),
    };
}

bool tf_amqp_session_put_flow(struct tf_amqp_session *session)
{
    struct tf_amqp_performative performative;

    performative.type = TF_AMQP_FLOW_FRAME;
    performative.flow = session_flow(session);
    return tf_amqp_put_patient(session->connection, session->local, &performative);
}

bool tf_amqp_link_put_flow(struct tf_amqp_link *link)
{
    struct tf_amqp_session *session = link->session;
    struct tf_amqp_performative performative;
    struct tf_amqp_flow *flow = &performative.flow;

    if (link->state > TF_AMQP_LINK_ATTACHED)
        return true; /* there is nothing to say any more */
    if (!link->attach_sent)
        return true; /* the answering attach makes it due again */
    performative.type = TF_AMQP_FLOW_FRAME;
    *flow = session_flow(session);
    flow->has_handle = true;
    flow->handle = link->local;
    /* 2.7.4: a receiver that has not seen the sender's attach does not know the count */
    flow->has_delivery_count = link->role == TF_AMQP_SENDER || link->mapped;
    flow->delivery_count = link->delivery_count;
    flow->has_link_credit = true;
    flow->link_credit = link->credit;
    flow->drain = link->drain;
    flow->has_available = link->role == TF_AMQP_SENDER;
    flow->available = link->available;
    if (!tf_amqp_put_patient(session->connection, session->local, &performative))
        return false;
    session->due &= (uint8_t)~TF_AMQP_SESSION_DUE_FLOW; /* it was in this one */
    if (link->role == TF_AMQP_RECEIVER && link->credit > link->limit - link->delivery_count)
        link->limit = link->delivery_count + link->credit;
    return true;
}

/* ---- the caller's part ---- */

void tf_amqp_session_window(struct tf_amqp_session *session, uint32_t window)
{
    uint32_t most = session->connection->config->incoming_window, had = session->incoming_window;

    session->incoming_window = window < most ? window : most;
    if (session->state <= TF_AMQP_SESSION_MAPPED && session->incoming_window != had)
        tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_FLOW);
}

/* True while there is something to say of it. */
static bool is_open(const struct tf_amqp_link *link)
{
    return link->state <= TF_AMQP_LINK_ATTACHED && link->session->state <= TF_AMQP_SESSION_MAPPED;
}

void tf_amqp_link_credit(struct tf_amqp_link *link, uint32_t credit, bool drain)
{
    if (link->role != TF_AMQP_RECEIVER || !is_open(link) ||
        (link->credit == credit && link->drain == drain && !drain))
        return;
    link->credit = credit;
    link->drain = drain;
    tf_amqp_link_due(link, TF_AMQP_LINK_DUE_FLOW);
}

uint32_t tf_amqp_link_credit_left(const struct tf_amqp_link *link)
{
    return link->credit;
}

void tf_amqp_link_drained(struct tf_amqp_link *link)
{
    if (link->role != TF_AMQP_SENDER || !is_open(link) || !link->drain)
        return;
    link->delivery_count += link->credit; /* 2.6.7 */
    link->credit = 0;
    link->available = 0;
    tf_amqp_link_due(link, TF_AMQP_LINK_DUE_FLOW);
}

void tf_amqp_link_available(struct tf_amqp_link *link, uint32_t available)
{
    if (link->role == TF_AMQP_SENDER)
        link->available = available;
}

/* ---- input ---- */

bool tf_amqp_session_received(struct tf_amqp_session *session)
{
    uint32_t left = session->incoming_limit - session->next_incoming_id;

    if (left == 0)
        return false;
    session->next_incoming_id++;
    tf_amqp_session_replenish(session);
    return true;
}

/* Where we send: the receiver's state (2.6.7). True if the caller is to know. */
static bool on_receiver_flow(struct tf_amqp_link *link, const struct tf_amqp_flow *flow)
{
    uint32_t credit = link->credit, under_way;
    bool drain = link->drain, changed;

    if (flow->has_link_credit) {
        uint32_t count = flow->has_delivery_count ? flow->delivery_count : link->initial_count;
        under_way = link->delivery_count - count; /* begun, and not counted by the peer yet */
        credit = flow->link_credit > under_way ? flow->link_credit - under_way : 0;
        if (under_way > INT32_MAX)
            credit = 0; /* it counts what we have not sent */
    }
    drain = flow->drain;
    changed = credit != link->credit || drain != link->drain || (drain && credit > 0);
    link->credit = credit;
    link->drain = drain;
    return changed || flow->echo;
}

/* Where we receive: the sender's state. True if the caller is to know. */
static bool on_sender_flow(struct tf_amqp_link *link, const struct tf_amqp_flow *flow)
{
    uint32_t available = flow->has_available ? flow->available : link->available;
    bool changed = available != link->available;

    link->available = available;
    if (flow->has_delivery_count && flow->delivery_count != link->delivery_count) {
        uint32_t gone = flow->delivery_count - link->delivery_count;
        uint32_t allowed = link->limit - link->delivery_count;

        if (gone > INT32_MAX)
            gone = 0; /* it counts a delivery when it ends, we when it begins */
        if (gone > allowed)
            gone = allowed; /* what it was not given it can't use up */
        link->delivery_count += gone;
        link->credit = link->credit > gone ? link->credit - gone : 0;
        changed = changed || gone > 0;
    }
    if (link->drain && link->credit == 0) {
        link->drain = false;
        changed = true;
    }
    return changed || flow->echo;
}

static enum tf_err on_link_flow(struct tf_amqp_session *session, const struct tf_amqp_flow *flow)
{
    struct tf_amqp_link *link;
    struct tf_amqp_slot *slot;
    enum tf_err err = tf_amqp_session_link(session, flow->handle, &link);
    bool sender, changed;

    if (err || !link)
        return err;
    sender = link->role == TF_AMQP_SENDER;
    changed = sender ? on_receiver_flow(link, flow) : on_sender_flow(link, flow);
    if (flow->echo)
        tf_amqp_link_due(link, TF_AMQP_LINK_DUE_FLOW);
    if (!changed)
        return TF_OK;
    slot = tf_amqp_tell(session->connection, TF_AMQP_FLOW, session, link);
    slot->credit = link->credit;
    slot->available = link->available;
    slot->drain = sender && link->drain;
    slot->echo = flow->echo;
    return TF_OK;
}

enum tf_err tf_amqp_on_flow(struct tf_amqp_connection *connection, uint16_t channel,
                            const struct tf_amqp_performative *performative)
{
    const struct tf_amqp_flow *flow = &performative->flow;
    struct tf_amqp_session *session;
    enum tf_err err = tf_amqp_session_of(connection, channel, &session);
    uint32_t base, under_way;
    bool was_closed;

    if (err || !session)
        return err;
    /* 2.5.6 */
    base = flow->has_next_incoming_id ? flow->next_incoming_id : session->initial_outgoing_id;
    under_way = session->next_outgoing_id - base;
    was_closed = session->remote_incoming_window == 0;
    session->remote_incoming_window = under_way > INT32_MAX || flow->incoming_window <= under_way
                                          ? 0
                                          : flow->incoming_window - under_way;
    if (session->remote_incoming_window > 0)
        tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_DELIVERIES);
    if (flow->has_handle)
        err = on_link_flow(session, flow);
    else if (flow->echo)
        tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_ECHO);
    if (!err && was_closed && session->state == TF_AMQP_SESSION_MAPPED &&
        session->remote_incoming_window > 0 && !connection->slot.type)
        tf_amqp_tell(connection, TF_AMQP_FLOW, session, NULL);
    return err;
}
