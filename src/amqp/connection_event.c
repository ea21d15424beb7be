/*
 * What a connection has to tell; see connection.h. What is rare is not kept decoded: it is read
 * again from the frame, which is the caller's until the next input.
 */
#include "amqp/connection.h"

#include "base/mem.h"

struct tf_amqp_slot *tf_amqp_tell(struct tf_amqp_connection *connection,
                                  enum tf_amqp_event_type type, struct tf_amqp_session *session,
                                  struct tf_amqp_link *link)
{
    struct tf_amqp_slot *slot = &connection->slot;

    tf_assert(slot->type == 0);
    tf_zero(slot, sizeof(*slot));
    slot->type = (uint8_t)type;
    slot->session = session;
    slot->link = link;
    slot->body = connection->body;
    return slot;
}

/* Starts an event: all that comes before `payload` is zero. */
static void start_event(struct tf_amqp_event *ret, enum tf_amqp_event_type type,
                        struct tf_amqp_session *session, struct tf_amqp_link *link)
{
    tf_zero(ret, offsetof(struct tf_amqp_event, payload));
    ret->type = type;
    ret->session = session;
    ret->link = link;
}

/* Reads the slot's frame again. */
static void read_again(const struct tf_amqp_slot *slot, struct tf_amqp_performative *ret)
{
    enum tf_amqp_condition condition;
    struct tf_bytes payload;
    enum tf_err err =
        tf_amqp_performative_read(slot->body, TF_AMQP_FRAME, ret, &payload, &condition);

    tf_assert(!err); /* it has been read before */
}

/* The error of an event about an end: ours, or what the frame says. */
static void tell_error(const struct tf_amqp_slot *slot, const struct tf_amqp_error *ours,
                       struct tf_amqp_event *ret)
{
    struct tf_amqp_performative performative;

    ret->local = slot->local;
    ret->error = *ours;
    if (slot->local)
        return;
    read_again(slot, &performative);
    ret->error =
        performative.type == TF_AMQP_DETACH ? performative.detach.error : performative.ending.error;
    if (ret->error.condition == TF_AMQP_NO_ERROR && ours->condition != TF_AMQP_NO_ERROR) {
        ret->error = *ours;
        ret->local = true;
    }
}

static void tell_frame(const struct tf_amqp_slot *slot, struct tf_amqp_event *ret)
{
    struct tf_amqp_performative performative;

    read_again(slot, &performative);
    if (performative.type == TF_AMQP_OPEN)
        ret->open = performative.open;
    else if (performative.type == TF_AMQP_BEGIN_FRAME)
        ret->begin = performative.begin;
    else
        ret->attach = performative.attach;
}

/* Tells the slot's event and empties it. */
static void tell_slot(struct tf_amqp_connection *connection, struct tf_amqp_event *ret)
{
    struct tf_amqp_slot *slot = &connection->slot;
    static const struct tf_amqp_error no_error = {0};

    start_event(ret, (enum tf_amqp_event_type)slot->type, slot->session, slot->link);
    switch (ret->type) {
    case TF_AMQP_AUTHENTICATE:
        connection->config->sasl->mechanisms[0]->parts->tell(connection, ret);
        break;
    case TF_AMQP_CLOSED:
        tell_error(slot, &no_error, ret);
        break;
    case TF_AMQP_ENDED:
        tell_error(slot, &slot->session->error, ret);
        tf_amqp_session_leave(slot->session);
        break;
    case TF_AMQP_DETACHED:
        ret->closed = slot->closed;
        ret->gone = slot->gone;
        tell_error(slot, &slot->link->error, ret);
        break;
    case TF_AMQP_FLOW:
        ret->credit = slot->credit;
        ret->available = slot->available;
        ret->drain = slot->drain;
        ret->echo = slot->echo;
        break;
    case TF_AMQP_TRANSFER:
        tf_amqp_transfer_tell(connection, ret);
        break;
    default: /* OPENED, BEGIN, BEGUN, ATTACH, ATTACHED */
        tell_frame(slot, ret);
    }
    slot->type = 0;
}

/* NEEDS of the connection (session NULL) or a session, which has some. */
static void tell_need(struct tf_amqp_connection *connection, struct tf_amqp_session *session,
                      struct tf_amqp_event *ret)
{
    uint8_t *needs = session ? &session->needs : &connection->needs;
    enum tf_amqp_part part = (enum tf_amqp_part)__builtin_ctz(*needs);

    *needs &= (uint8_t)(*needs - 1);
    start_event(ret, TF_AMQP_NEEDS, session, NULL);
    ret->part = part;
    if (!session)
        ret->size = tf_amqp_numbers_next_size(&connection->channels);
    else if (part == TF_AMQP_PART_HANDLES)
        ret->size = tf_amqp_numbers_next_size(&session->handles);
    else
        ret->size = tf_amqp_session_deliveries_need(session, part);
}

/* What the first of tell_sessions has to tell. */
static void tell_session(struct tf_amqp_connection *connection, struct tf_amqp_event *ret)
{
    struct tf_list_node *node = tf_list_first(&connection->tell_sessions);
    struct tf_amqp_session *session = tf_container_of(node, struct tf_amqp_session, tell_node);

    if (session->needs) {
        tell_need(connection, session, ret);
    } else {
        struct tf_list_node *gone = tf_list_pop_front(&session->gone);
        struct tf_amqp_link *link = tf_container_of(gone, struct tf_amqp_link, wait_node);

        start_event(ret, TF_AMQP_DETACHED, session, link);
        ret->closed = link->detach_closed;
        ret->gone = true;
        ret->local = true;
        ret->error = link->error;
    }
    if (!session->needs && tf_list_empty(&session->gone))
        tf_list_remove(node);
}

bool tf_amqp_event(struct tf_amqp_connection *connection, struct tf_amqp_event *ret)
{
    uint64_t owner;

    if (tf_output_returned(&connection->output, &owner) ||
        tf_amqp_deliveries_returned(connection, &owner)) {
        start_event(ret, TF_AMQP_RETURNED, NULL, NULL);
        ret->owner = owner;
        return true;
    }
    if (connection->slot.type) {
        tell_slot(connection, ret);
        return true;
    }
    if (connection->needs) {
        tell_need(connection, NULL, ret);
        return true;
    }
    if (!tf_list_empty(&connection->tell_sessions)) {
        tell_session(connection, ret);
        return true;
    }
    return tf_amqp_deliveries_walking(connection) && tf_amqp_deliveries_event(connection, ret);
}
