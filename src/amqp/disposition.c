/*
 * What becomes of deliveries: dispositions both ways (2.6.12, 2.7.6); see connection.h.
 *
 * Ours: words of one kind about neighbours grow into one saying a session and role, which is sent
 * when another kind comes or the output is asked for. If it can't be sent and another comes, that
 * one stays in its record until there is room. So a word is only refused if it is more than a
 * record holds.
 *
 * The peer's: a walk over what is live of its range, one event at a time.
 */
#include "amqp/connection.h"

#include "base/mem.h"

enum { FAILED = 1, UNWANTED = 2 }; /* tf_amqp_word.flags */

/* What of a state a record holds. */
static struct tf_amqp_word word_of(const struct tf_amqp_state *state, bool settled)
{
    struct tf_amqp_word word = {.settled = settled};

    if (!state)
        return word;
    word.state = (uint8_t)state->type;
    if (state->type == TF_AMQP_STATE_REJECTED)
        word.condition = (uint8_t)state->error.condition;
    if (state->type == TF_AMQP_STATE_MODIFIED)
        word.flags = (uint8_t)((state->delivery_failed ? FAILED : 0) |
                               (state->undeliverable_here ? UNWANTED : 0));
    return word;
}

/* And back. */
static void state_of(struct tf_amqp_word word, struct tf_amqp_state *ret)
{
    *ret = (struct tf_amqp_state){.type = (enum tf_amqp_state_type)word.state,
                                  .delivery_failed = (word.flags & FAILED) != 0,
                                  .undeliverable_here = (word.flags & UNWANTED) != 0};
    ret->error.condition = (enum tf_amqp_condition)word.condition;
}

static bool same(struct tf_amqp_word a, struct tf_amqp_word b)
{
    return a.state == b.state && a.condition == b.condition && a.flags == b.flags &&
           a.settled == b.settled;
}

/* ---- ours ---- */

/* Writes a disposition. False: it does not fit now. */
static bool put(struct tf_amqp_session *session, enum tf_amqp_role role, uint32_t first,
                uint32_t last, const struct tf_amqp_state *state, bool settled)
{
    struct tf_amqp_performative performative;

    performative.type = TF_AMQP_DISPOSITION;
    performative.disposition.role = role;
    performative.disposition.first = first;
    performative.disposition.has_last = last != first;
    performative.disposition.last = last;
    performative.disposition.settled = settled;
    performative.disposition.batchable = false;
    performative.disposition.state = *state;
    return tf_amqp_put_patient(session->connection, session->local, &performative);
}

/* Writes the saying of a role, if there is one. False: it does not fit now. */
static bool flush(struct tf_amqp_session *session, enum tf_amqp_role role)
{
    struct tf_amqp_saying *saying = &session->deliveries.sayings[role];
    struct tf_amqp_state state;

    if (!saying->active)
        return true;
    state_of(saying->word, &state);
    if (!put(session, role, saying->first, saying->last, &state, saying->word.settled))
        return false;
    saying->active = false;
    return true;
}

/* Says a word of one delivery, as part of the saying if it can be. False: not now. */
static bool say(struct tf_amqp_session *session, enum tf_amqp_role role, uint32_t id,
                struct tf_amqp_word word)
{
    struct tf_amqp_saying *saying = &session->deliveries.sayings[role];

    if (saying->active && saying->last + 1 == id && saying->first != id &&
        same(saying->word, word)) {
        saying->last = id;
        return true;
    }
    if (!flush(session, role))
        return false;
    *saying = (struct tf_amqp_saying){.active = true, .word = word, .first = id, .last = id};
    tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_DELIVERIES);
    return true;
}

/* A record has been spoken of: it is forgotten if that settles it. */
static void said(struct tf_amqp_session *session, enum tf_amqp_role role,
                 struct tf_amqp_delivery *record, struct tf_amqp_word word)
{
    if (record->unsent) {
        record->unsent = false;
        session->deliveries.unsent[role]--;
    }
    record->word = word;
    if (word.settled) {
        tf_amqp_deliveries_drop(session, role, record);
        tf_amqp_session_replenish(session);
    }
}

/* Says what stayed in records. False: the output is full. */
static bool say_unsent(struct tf_amqp_session *session, enum tf_amqp_role role)
{
    struct tf_amqp_deliveries *table = &session->deliveries.tables[role];
    struct tf_amqp_delivery *record = tf_amqp_deliveries_first(table), *next;

    for (; session->deliveries.unsent[role] > 0; record = next) {
        next = tf_amqp_deliveries_next(table, record);
        if (!record->unsent)
            continue;
        if (!say(session, role, record->id, record->word))
            return false;
        said(session, role, record, record->word);
    }
    return true;
}

bool tf_amqp_disposition_pump(struct tf_amqp_session *session)
{
    return say_unsent(session, TF_AMQP_RECEIVER) && flush(session, TF_AMQP_RECEIVER) &&
           say_unsent(session, TF_AMQP_SENDER) && flush(session, TF_AMQP_SENDER);
}

/* True if a record can't hold all of the state. */
static bool has_more(const struct tf_amqp_state *state)
{
    switch (state->type) {
    case TF_AMQP_STATE_NONE:
    case TF_AMQP_STATE_ACCEPTED:
    case TF_AMQP_STATE_RELEASED:
        return false;
    case TF_AMQP_STATE_MODIFIED:
        return state->annotations.length > 0;
    case TF_AMQP_STATE_REJECTED:
        return state->error.condition == TF_AMQP_OTHER_ERROR ||
               state->error.description.length > 0 || state->error.info.length > 0;
    default:
        return true;
    }
}

/* Says a state that needs bytes of its own. TF_AGAIN: no room. TF_NO_MEMORY: there never is. */
static enum tf_err say_more(struct tf_amqp_session *session, enum tf_amqp_role role,
                            struct tf_amqp_delivery *record, const struct tf_amqp_state *state,
                            bool settled)
{
    const struct tf_output *output = &session->connection->output;
    bool alone = output->buffer && output->used == 0 && output->refs == 0;

    if (!flush(session, role))
        return TF_AGAIN;
    if (!put(session, role, record->id, record->id, state, settled))
        return alone ? TF_NO_MEMORY : TF_AGAIN;
    said(session, role, record, word_of(state, settled));
    return TF_OK;
}

/* The application's word on a live delivery. */
static enum tf_err speak(struct tf_amqp_session *session, enum tf_amqp_role role,
                         struct tf_amqp_delivery *record, const struct tf_amqp_state *state,
                         bool settled)
{
    struct tf_amqp_word word = word_of(state, settled);

    if (state && has_more(state)) {
        enum tf_err err = say_more(session, role, record, state, settled);
        if (!err || state->type != TF_AMQP_STATE_REJECTED ||
            state->error.condition == TF_AMQP_OTHER_ERROR)
            return err;
        /* A rejection in need of room goes without its text rather than not at all. */
    }
    if (say(session, role, record->id, word)) {
        said(session, role, record, word);
        return TF_OK;
    }
    if (!record->unsent)
        session->deliveries.unsent[role]++;
    record->unsent = true;
    record->word = word;
    tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_DELIVERIES);
    return TF_OK;
}

/* The live record of a delivery's number, with its session; NULL: none. */
static struct tf_amqp_delivery *record_of(const struct tf_amqp_connection *connection,
                                          uint64_t delivery, enum tf_amqp_role role,
                                          struct tf_amqp_session **ret_session)
{
    bool received = role == TF_AMQP_RECEIVER;
    struct tf_amqp_session *session = tf_amqp_delivery_session(connection, delivery, received);
    struct tf_amqp_delivery *record;

    if (!session || connection->state > TF_AMQP_CONNECTION_UP)
        return NULL;
    record = tf_amqp_deliveries_find(&session->deliveries.tables[role], (uint32_t)delivery);
    if (!record || (record->unsent && record->word.settled))
        return NULL;
    *ret_session = session;
    return record;
}

enum tf_err tf_amqp_dispose(struct tf_amqp_connection *connection, uint64_t delivery,
                            const struct tf_amqp_state *state, bool settled)
{
    struct tf_amqp_session *session;
    struct tf_amqp_delivery *record = record_of(connection, delivery, TF_AMQP_RECEIVER, &session);

    if (!record)
        return TF_NOT_FOUND;
    if (record->link->deliveries.partial && record->link->deliveries.id == record->id)
        return TF_MISUSE;
    return speak(session, TF_AMQP_RECEIVER, record, state, settled);
}

enum tf_err tf_amqp_settle(struct tf_amqp_connection *connection, uint64_t delivery,
                           const struct tf_amqp_state *state)
{
    struct tf_amqp_session *session;
    struct tf_amqp_delivery *record = record_of(connection, delivery, TF_AMQP_SENDER, &session);
    struct tf_amqp_link_deliveries *own;

    if (!record)
        return TF_NOT_FOUND;
    own = &record->link->deliveries;
    if (own->partial && own->id == record->id) { /* its next frame says so */
        own->settled = true;
        tf_amqp_deliveries_drop(session, TF_AMQP_SENDER, record);
        return TF_OK;
    }
    return speak(session, TF_AMQP_SENDER, record, state, true);
}

/* ---- the peer's ---- */

enum tf_err tf_amqp_on_disposition(struct tf_amqp_session *session,
                                   const struct tf_amqp_disposition *disposition)
{
    struct tf_amqp_connection_deliveries *all = &session->connection->deliveries;
    enum tf_amqp_role role =
        disposition->role == TF_AMQP_RECEIVER ? TF_AMQP_SENDER : TF_AMQP_RECEIVER;
    uint32_t last = disposition->has_last ? disposition->last : disposition->first;
    struct tf_amqp_deliveries *table = &session->deliveries.tables[role];
    uint64_t before = table->steps;

    if (!disposition->settled &&
        (role == TF_AMQP_RECEIVER || disposition->state.type <= TF_AMQP_STATE_RECEIVED))
        return TF_OK; /* nothing that is of use: it is not settled, and no outcome */
    tf_amqp_deliveries_walk(table, disposition->first, last);
    all->effort += table->steps - before;
    all->walking = session;
    all->role = (uint8_t)role;
    all->settled = disposition->settled;
    all->state = disposition->state;
    return TF_OK;
}

bool tf_amqp_deliveries_walking(const struct tf_amqp_connection *connection)
{
    return connection->deliveries.walking != NULL;
}

/*
 * The peer settles a record, or says its outcome. True: that is news, and *ret_event has what the
 * record knows.
 */
static bool take_word(struct tf_amqp_connection *connection, struct tf_amqp_delivery *record,
                      struct tf_amqp_event *ret)
{
    const struct tf_amqp_connection_deliveries *all = &connection->deliveries;
    struct tf_amqp_session *session = all->walking;
    enum tf_amqp_role role = (enum tf_amqp_role)all->role;
    struct tf_amqp_link *link = record->link;
    struct tf_amqp_word word = word_of(&all->state, false);
    bool over = record->unsent && record->word.settled; /* our last word is not sent yet */
    bool partial = link->deliveries.partial && link->deliveries.id == record->id;

    if (!all->settled && (over || same(record->word, word)))
        return false;
    memset(ret, 0, offsetof(struct tf_amqp_event, payload));
    ret->type = role == TF_AMQP_SENDER ? TF_AMQP_OUTCOME : TF_AMQP_SETTLED;
    ret->session = session;
    ret->link = link;
    ret->delivery = tf_amqp_delivery_number(session, record->id, role == TF_AMQP_RECEIVER);
    ret->handle = record->handle;
    ret->settled = all->settled;
    ret->state = all->state;
    if (role == TF_AMQP_SENDER && word.state == TF_AMQP_STATE_NONE)
        state_of(record->word, &ret->state); /* as it was told before */
    if (!all->settled) {
        record->word = word;
        return true;
    }
    if (partial) /* we go on sending it, or receiving it, as one that is settled */
        link->deliveries.settled = true;
    tf_amqp_deliveries_drop(session, role, record);
    tf_amqp_session_replenish(session);
    return !over && !(partial && role == TF_AMQP_RECEIVER);
}

bool tf_amqp_deliveries_event(struct tf_amqp_connection *connection, struct tf_amqp_event *ret)
{
    struct tf_amqp_connection_deliveries *all = &connection->deliveries;
    struct tf_amqp_deliveries *table;
    struct tf_amqp_delivery *record;
    uint64_t before;
    bool news = false;

    if (!all->walking)
        return false;
    table = &all->walking->deliveries.tables[all->role];
    before = table->steps;
    while (!news && (record = tf_amqp_deliveries_walk_next(table)) != NULL)
        news = take_word(connection, record, ret);
    all->effort += table->steps - before;
    if (!news)
        all->walking = NULL;
    return news;
}

uint64_t tf_amqp_effort(const struct tf_amqp_connection *connection)
{
    return connection->deliveries.effort;
}
