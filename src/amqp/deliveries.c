/*
 * What connection, session and link keep of deliveries: start, memory, forgetting, invariants; see
 * connection.h.
 */
#include "amqp/connection.h"

#include "base/util.h"

void tf_amqp_connection_deliveries_init(struct tf_amqp_connection *connection)
{
    tf_list_init(&connection->deliveries.returned);
}

void tf_amqp_session_deliveries_init(struct tf_amqp_session *session)
{
    tf_amqp_deliveries_init(&session->deliveries.tables[TF_AMQP_SENDER]);
    tf_amqp_deliveries_init(&session->deliveries.tables[TF_AMQP_RECEIVER]);
    tf_list_init(&session->deliveries.sending);
}

void tf_amqp_link_deliveries_init(struct tf_amqp_link *link)
{
    link->deliveries = (struct tf_amqp_link_deliveries){.live = 0};
}

bool tf_amqp_deliveries_pump(struct tf_amqp_session *session)
{
    return tf_amqp_disposition_pump(session) && tf_amqp_transfer_pump(session);
}

/* ---- memory ---- */

static enum tf_amqp_role role_of(enum tf_amqp_part part)
{
    return part == TF_AMQP_PART_OUTGOING ? TF_AMQP_SENDER : TF_AMQP_RECEIVER;
}

/* Records that a table where we receive may have beyond twice max_unsettled. */
enum { EXCESS = 1024 };

/*
 * The records of the table that comes next; 0: none. Where we receive, the window keeps the peer to
 * max_unsettled, but for deliveries that it begins with frames that were meant to end others.
 */
static uint32_t larger(const struct tf_amqp_session *session, enum tf_amqp_part part)
{
    uint32_t max = session->connection->config->max_unsettled;
    enum tf_amqp_role role = role_of(part);

    return tf_amqp_deliveries_larger(&session->deliveries.tables[role],
                                     role == TF_AMQP_RECEIVER ? 2 * max + EXCESS : max);
}

size_t tf_amqp_session_deliveries_need(const struct tf_amqp_session *session,
                                       enum tf_amqp_part part)
{
    uint32_t capacity = larger(session, part);

    return capacity ? tf_amqp_deliveries_size(capacity) : 0;
}

enum tf_err tf_amqp_session_deliveries_give(struct tf_amqp_session *session, enum tf_amqp_part part,
                                            void *memory, size_t length, void **ret_old)
{
    struct tf_amqp_deliveries *table = &session->deliveries.tables[role_of(part)];
    uint32_t capacity = larger(session, part);

    if (capacity == 0 || !memory || length < tf_amqp_deliveries_size(capacity))
        return TF_MISUSE;
    *ret_old = tf_amqp_deliveries_grow(table, memory, capacity);
    return TF_OK;
}

void *tf_amqp_session_deliveries_reclaim(struct tf_amqp_session *session)
{
    for (unsigned role = 0; role < 2; role++) {
        void *memory = session->deliveries.tables[role].slots;
        if (memory) {
            tf_amqp_deliveries_init(&session->deliveries.tables[role]);
            return memory;
        }
    }
    return NULL;
}

/* ---- forgetting ---- */

void tf_amqp_deliveries_drop(struct tf_amqp_session *session, enum tf_amqp_role role,
                             struct tf_amqp_delivery *record)
{
    if (record->unsent)
        session->deliveries.unsent[role]--;
    record->link->deliveries.live--;
    tf_amqp_deliveries_remove(&session->deliveries.tables[role], record);
}

void tf_amqp_link_forget(struct tf_amqp_link *link)
{
    struct tf_amqp_session *session = link->session;
    enum tf_amqp_role role = (enum tf_amqp_role)link->role;
    struct tf_amqp_deliveries *table = &session->deliveries.tables[role];
    struct tf_amqp_delivery *record = tf_amqp_deliveries_first(table), *next;

    if (role == TF_AMQP_SENDER)
        tf_amqp_transfer_cut(link);
    else
        session->deliveries.partials -= link->deliveries.partial;
    link->deliveries.partial = false;
    for (; link->deliveries.live > 0; record = next) {
        next = tf_amqp_deliveries_next(table, record);
        if (record->link == link)
            tf_amqp_deliveries_drop(session, role, record);
    }
    tf_amqp_session_replenish(session);
}

void tf_amqp_session_forget(struct tf_amqp_session *session)
{
    struct tf_amqp_session_deliveries *all = &session->deliveries;
    struct tf_amqp_connection_deliveries *walks = &session->connection->deliveries;
    struct tf_list_node *node;

    while ((node = tf_list_first(&all->sending)) != NULL)
        tf_amqp_transfer_cut(tf_container_of(node, struct tf_amqp_link, deliveries.node));
    for (unsigned role = 0; role < 2; role++) {
        struct tf_amqp_deliveries *table = &all->tables[role];
        struct tf_amqp_delivery *record;

        while ((record = tf_amqp_deliveries_first(table)) != NULL)
            tf_amqp_deliveries_drop(session, (enum tf_amqp_role)role, record);
        all->sayings[role].active = false;
    }
    if (walks->walking == session)
        walks->walking = NULL;
}

/* ---- invariants ---- */

bool tf_amqp_connection_deliveries_check(const struct tf_amqp_connection *connection)
{
    const struct tf_list *returned = &connection->deliveries.returned;

    for (const struct tf_list_node *node = tf_list_first(returned); node;
         node = tf_list_next(returned, node)) {
        const struct tf_amqp_link_deliveries *own =
            tf_container_of(node, struct tf_amqp_link_deliveries, node);
        if (own->partial || own->owner == 0)
            return false;
    }
    return true;
}

/* Records that wait to be sent are counted, and those of links too. */
static bool records_sound(const struct tf_amqp_session *session, unsigned role)
{
    const struct tf_amqp_session_deliveries *all = &session->deliveries;
    const struct tf_amqp_deliveries *table = &all->tables[role];
    uint32_t unsent = 0;

    for (const struct tf_amqp_delivery *record = tf_amqp_deliveries_first(table); record;
         record = tf_amqp_deliveries_next(table, record)) {
        unsent += record->unsent;
        if (record->word.settled && !record->unsent)
            return false;
        if (record->link->role != role || record->link->deliveries.live == 0)
            return false;
    }
    return unsent == all->unsent[role] && tf_amqp_deliveries_check(table);
}

/* How many links have part of a delivery, and how many records they all have. */
static bool links_sound(const struct tf_amqp_session *session)
{
    const struct tf_amqp_session_deliveries *all = &session->deliveries;
    uint32_t partials = 0, live[2] = {0, 0};

    for (uint32_t i = 0; i < session->handles.capacity; i++) {
        const struct tf_amqp_link *link = tf_amqp_numbers_at(&session->handles, i);
        if (!link)
            continue;
        partials += link->role == TF_AMQP_RECEIVER && link->deliveries.partial;
        live[link->role] += link->deliveries.live;
    }
    return partials == all->partials && live[0] == all->tables[0].live &&
           live[1] == all->tables[1].live;
}

bool tf_amqp_session_deliveries_check(const struct tf_amqp_session *session)
{
    const struct tf_amqp_session_deliveries *all = &session->deliveries;

    for (const struct tf_list_node *node = tf_list_first(&all->sending); node;
         node = tf_list_next(&all->sending, node)) {
        const struct tf_amqp_link *link =
            tf_container_of(node, struct tf_amqp_link, deliveries.node);
        if (link->session != session || !link->deliveries.partial || link->deliveries.left == 0 ||
            link->deliveries.owner == 0)
            return false;
    }
    return records_sound(session, TF_AMQP_SENDER) && records_sound(session, TF_AMQP_RECEIVER) &&
           links_sound(session);
}
