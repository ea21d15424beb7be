/*
 * One AMQP connection: its start, its parts, its output, its end; see amqp_connection.h for the
 * contract and connection.h for how the files share the work.
 *
 * A connection (enum tf_amqp_connection_state) and who moves it:
 *
 *   HEADER       the peer's first protocol header is to come (2.2)
 *     -> SASL         take_sasl_header: a SASL header, and we have SASL
 *     -> OPENING      take_amqp_header; tf_amqp_expect_open: all that was dealt with elsewhere
 *   SASL         SASL frames; a server may owe AUTHENTICATE's answer
 *     -> AMQP_HEADER  tf_amqp_authenticated (server), on_outcome (client): ok
 *   AMQP_HEADER
 *     -> OPENING      take_amqp_header
 *   OPENING      the peer's open is to come
 *     -> UP           tf_amqp_on_open
 *   UP           a server owes the answering open first (`awaiting` OPENED)
 *     -> CLOSE_SENT   tf_amqp_close without an error
 *   CLOSE_SENT   all but close is dropped
 *   any          -> CLOSING  tf_amqp_connection_fail: the peer broke a rule, or a time-out;
 *                            tf_amqp_on_close; tf_amqp_close with an error; tf_amqp_abandon
 *   CLOSING      output is flushed, events are pulled, nothing else happens
 *
 * A session (enum tf_amqp_session_state):
 *
 *   BEGIN_SENT   tf_amqp_session_begin    -> MAPPED    tf_amqp_on_begin
 *   MAPPED       tf_amqp_session_accept
 *   both         -> END_SENT  tf_amqp_session_end     -> ENDED  tf_amqp_on_end
 *                -> ENDED     tf_amqp_on_end; tf_amqp_session_fail: then the channel stays taken,
 *                             without an object, until the peer's end
 *   ENDED        -> (none)    tf_amqp_event has told it
 *
 * A link (enum tf_amqp_link_state):
 *
 *   ACCEPTED     tf_amqp_link_accept      -> ATTACHED  tf_amqp_link_attach_reply
 *   ATTACH_SENT  tf_amqp_link_attach      -> ATTACHED  tf_amqp_on_attach
 *   these three  -> DETACH_SENT      tf_amqp_link_detach, tf_amqp_link_fail
 *                -> DETACH_RECEIVED  tf_amqp_on_detach
 *   DETACH_SENT      -> GONE  tf_amqp_on_detach
 *   DETACH_RECEIVED  -> GONE  tf_amqp_link_detach, when the frame is in the output
 *   GONE         -> (none)    tf_amqp_event has told it
 *
 * Invariants (tf_amqp_check):
 *  1. At most one event is in the slot; while it is, no input is taken, nor while an answer is
 *     awaited or a disposition is walked.
 *  2. `awaiting` BEGIN and ATTACH have a place reserved without an object.
 *  3. The object at place n of `channels` is a session with local channel n; of a session's
 *     `handles` a link with local handle n.
 *  4. A session is in due_sessions exactly while it has due bits, a link in due_links likewise; a
 *     session has the bit LINKS exactly while due_links has links.
 *  5. A session is in tell_sessions exactly while NEEDS or a gone link is to be told of it.
 *  6. In CLOSING no session has anything due, and nothing is awaited.
 *  7. `links` is the sum of the sessions' links.
 *  8. The deadline is never later than what is due first.
 *  9. A link of ATTACH_SENT, or DETACH_SENT without the peer's handle, is in its session's
 *     `attaching`; one of GONE in `gone`, unless the slot has it.
 * 10. The output's, the tables' and the deliveries' invariants.
 */
#include "amqp/connection.h"

#include "base/mem.h"

/* ---- start ---- */

static bool config_valid(const struct tf_amqp_config *config)
{
    const struct tf_amqp_sasl *sasl = config->sasl;

    return config->max_frame_size >= TF_AMQP_MIN_MAX_FRAME_SIZE && config->incoming_window > 0 &&
           config->incoming_window <= INT32_MAX && config->max_unsettled > 0 &&
           config->max_unsettled <= UINT32_C(1) << 24 &&
           (!sasl || (sasl->mechanisms && sasl->mechanism_count > 0));
}

size_t tf_amqp_size(const struct tf_amqp_config *config)
{
    return config_valid(config) ? sizeof(struct tf_amqp_connection) : 0;
}

/* True while the peer wants to hear from us; after a close nothing may be said (2.4.6). */
static bool must_be_heard(const struct tf_amqp_connection *connection)
{
    return connection->peer_idle_ms && connection->open_sent &&
           connection->state == TF_AMQP_CONNECTION_UP;
}

/* The first moment at which tf_amqp_tick has something to do. */
tf_time tf_amqp_next_deadline(const struct tf_amqp_connection *connection)
{
    const struct tf_amqp_config *config = connection->config;
    tf_time at = connection->open_by;

    if (connection->state == TF_AMQP_CONNECTION_CLOSING)
        return TF_TIME_NEVER;
    if (config->idle_timeout_ms) {
        tf_time heard = tf_time_add(connection->heard, config->idle_timeout_ms * TF_MILLISECOND);
        at = heard < at ? heard : at;
    }
    if (must_be_heard(connection)) {
        tf_time wrote =
            tf_time_add(connection->wrote, connection->peer_idle_ms * TF_MILLISECOND / 2);
        at = wrote < at ? wrote : at;
    }
    return at;
}

enum tf_err tf_amqp_init(struct tf_amqp_connection **ret, void *memory, size_t length,
                         const struct tf_amqp_config *config, const struct tf_amqp_open *open,
                         tf_time now)
{
    struct tf_amqp_connection *connection = memory;
    bool client = config->end == TF_AMQP_CLIENT;

    if (!config_valid(config) || (client && !open))
        return TF_MISUSE;
    if (!memory || length < sizeof *connection)
        return TF_NO_MEMORY;
    memset(connection, 0, sizeof *connection);
    connection->config = config;
    connection->open = client ? open : NULL;
    connection->heard = connection->wrote = now;
    connection->open_by = config->open_timeout_ms
                              ? tf_time_add(now, config->open_timeout_ms * TF_MILLISECOND)
                              : TF_TIME_NEVER;
    connection->peer_max_frame_size = TF_AMQP_MIN_MAX_FRAME_SIZE;
    connection->channel_max = config->channel_max;
    tf_list_init(&connection->due_sessions);
    tf_list_init(&connection->tell_sessions);
    tf_amqp_connection_deliveries_init(connection);
    if (client)
        connection->due =
            config->sasl ? TF_AMQP_DUE_SASL_HEADER : TF_AMQP_DUE_HEADER | TF_AMQP_DUE_OPEN;
    connection->deadline = tf_amqp_next_deadline(connection);
    *ret = connection;
    return TF_OK;
}

void tf_amqp_expect_open(struct tf_amqp_connection *connection)
{
    tf_assert(connection->config->end == TF_AMQP_SERVER &&
              connection->state == TF_AMQP_CONNECTION_HEADER);
    connection->state = TF_AMQP_CONNECTION_OPENING;
    connection->header_sent = true;
}

/* ---- parts ---- */

enum tf_err tf_amqp_need(struct tf_amqp_connection *connection, struct tf_amqp_session *session,
                         enum tf_amqp_part part)
{
    uint8_t bit = (uint8_t)(1u << part);

    if (!session) {
        connection->needs |= bit;
        connection->asked |= bit;
        return TF_AGAIN;
    }
    session->needs |= bit;
    session->asked |= bit;
    if (!tf_list_linked(&session->tell_node))
        tf_list_push_back(&connection->tell_sessions, &session->tell_node);
    return TF_AGAIN;
}

/* The bytes that a table would have next. */
static size_t need_size(const struct tf_amqp_connection *connection,
                        const struct tf_amqp_session *session, enum tf_amqp_part part)
{
    if (part == TF_AMQP_PART_CHANNELS)
        return tf_amqp_numbers_next_size(&connection->channels);
    if (part == TF_AMQP_PART_HANDLES)
        return tf_amqp_numbers_next_size(&session->handles);
    return tf_amqp_session_deliveries_need(session, part);
}

enum tf_err tf_amqp_give(struct tf_amqp_connection *connection, struct tf_amqp_session *session,
                         enum tf_amqp_part part, void *memory, size_t length, void **ret_old)
{
    uint8_t bit = (uint8_t)(1u << part);
    uint8_t *asked = session ? &session->asked : &connection->asked;
    enum tf_err err = TF_OK;

    if (!(*asked & bit) || !memory || length < need_size(connection, session, part))
        return TF_MISUSE;
    if (part == TF_AMQP_PART_CHANNELS)
        *ret_old = tf_amqp_numbers_grow(&connection->channels, memory);
    else if (part == TF_AMQP_PART_HANDLES)
        *ret_old = tf_amqp_numbers_grow(&session->handles, memory);
    else
        err = tf_amqp_session_deliveries_give(session, part, memory, length, ret_old);
    if (!err)
        *asked &= (uint8_t)~bit;
    return err;
}

void *tf_amqp_reclaim(struct tf_amqp_connection *connection)
{
    void *memory = connection->channels.places;

    connection->channels = (struct tf_amqp_numbers){0};
    return memory;
}

void *tf_amqp_session_reclaim(struct tf_amqp_session *session)
{
    void *memory = session->handles.places;

    session->handles = (struct tf_amqp_numbers){0};
    return memory ? memory : tf_amqp_session_deliveries_reclaim(session);
}

/* ---- output ---- */

/* Puts a frame of at most `room` bytes. */
static bool put_within(struct tf_amqp_connection *connection, uint16_t channel,
                       const struct tf_amqp_performative *performative, size_t room)
{
    struct tf_writer writer;

    if (room == 0)
        return false;
    writer = tf_writer_of(tf_output_next(&connection->output), room);
    tf_amqp_frame_write(&writer, channel, performative, 0);
    if (writer.failed)
        return false;
    tf_output_wrote(&connection->output, tf_writer_length(&writer));
    return true;
}

bool tf_amqp_put(struct tf_amqp_connection *connection, uint16_t channel,
                 const struct tf_amqp_performative *performative)
{
    return put_within(connection, channel, performative, tf_amqp_room(connection));
}

bool tf_amqp_put_patient(struct tf_amqp_connection *connection, uint16_t channel,
                         const struct tf_amqp_performative *performative)
{
    size_t room = tf_amqp_patient_room(&connection->output, 0);

    if (room > connection->peer_max_frame_size)
        room = connection->peer_max_frame_size;
    return put_within(connection, channel, performative, room);
}

bool tf_amqp_put_error(struct tf_amqp_connection *connection, uint16_t channel,
                       struct tf_amqp_performative *performative, const struct tf_amqp_error *error)
{
    struct tf_amqp_error said = *error;
    struct tf_amqp_error *field = performative->type == TF_AMQP_DETACH
                                      ? &performative->detach.error
                                      : &performative->ending.error;

    if (tf_output_room(&connection->output, 0) < TF_AMQP_FLOW_MAX)
        return false;
    *field = said;
    if (tf_amqp_put(connection, channel, performative))
        return true;
    said.info = said.description = (struct tf_bytes){0};
    if (said.condition == TF_AMQP_OTHER_ERROR && said.symbol.length > 32)
        said.condition = TF_AMQP_INTERNAL_ERROR;
    *field = said;
    return tf_amqp_put(connection, channel, performative);
}

void tf_amqp_session_due(struct tf_amqp_session *session, uint8_t bits)
{
    session->due |= bits;
    if (session->due && !tf_list_linked(&session->due_node))
        tf_list_push_back(&session->connection->due_sessions, &session->due_node);
}

void tf_amqp_link_due(struct tf_amqp_link *link, uint8_t bits)
{
    link->due |= bits;
    if (!tf_list_linked(&link->due_node))
        tf_list_push_back(&link->session->due_links, &link->due_node);
    tf_amqp_session_due(link->session, TF_AMQP_SESSION_DUE_LINKS);
}

/* Puts bytes that are no performative. */
static bool put_bytes(struct tf_amqp_connection *connection, const char *bytes)
{
    if (tf_output_room(&connection->output, 0) < 8)
        return false;
    memcpy(tf_output_next(&connection->output), bytes, 8);
    tf_output_wrote(&connection->output, 8);
    return true;
}

bool tf_amqp_put_open(struct tf_amqp_connection *connection, const struct tf_amqp_open *open)
{
    const struct tf_amqp_config *config = connection->config;
    struct tf_amqp_performative performative;

    performative.type = TF_AMQP_OPEN;
    performative.open = open ? *open : (struct tf_amqp_open){0};
    performative.open.max_frame_size = config->max_frame_size;
    performative.open.channel_max = config->channel_max;
    performative.open.idle_time_out_ms = config->idle_timeout_ms / 2; /* 2.4.5 */
    if (config->idle_timeout_ms == 1)
        performative.open.idle_time_out_ms = 1;
    if (!tf_amqp_put(connection, 0, &performative))
        return false;
    connection->open_sent = true;
    connection->open = NULL;
    return true;
}

/* Writes one of the connection's own due frames; false: no room. */
static bool put_due(struct tf_amqp_connection *connection, uint8_t bit)
{
    struct tf_amqp_performative close;
    struct tf_writer writer;

    switch (bit) {
    case TF_AMQP_DUE_SASL_HEADER:
        return put_bytes(connection, "AMQP\3\1\0\0"); /* 5.3.1 */
    case TF_AMQP_DUE_HEADER:
        if (!put_bytes(connection, "AMQP\0\1\0\0")) /* 2.2 */
            return false;
        connection->header_sent = true;
        return true;
    case TF_AMQP_DUE_OPEN:
        return tf_amqp_put_open(connection, connection->open);
    case TF_AMQP_DUE_CLOSE:
        close.type = TF_AMQP_CLOSE;
        return tf_amqp_put_error(connection, 0, &close, &connection->error);
    case TF_AMQP_DUE_ALIVE:
        if (tf_output_room(&connection->output, 0) < 8)
            return false;
        writer = tf_writer_of(tf_output_next(&connection->output), 8);
        tf_amqp_frame_write_empty(&writer);
        tf_output_wrote(&connection->output, tf_writer_length(&writer));
        return true;
    default: /* mechanisms and outcome */
        return connection->config->sasl->mechanisms[0]->parts->pump(connection);
    }
}

/* Forgets everything that was going on; what is due is the close alone, if it can be said. */
static void enter_closing(struct tf_amqp_connection *connection)
{
    const struct tf_amqp_numbers *channels = &connection->channels;

    for (uint32_t i = 0; i < channels->capacity; i++) {
        struct tf_amqp_session *session = tf_amqp_numbers_at(channels, i);
        if (!session)
            continue;
        tf_amqp_session_drop(session);
        channels->places[i].object = NULL; /* it is the caller's now */
    }
    connection->state = TF_AMQP_CONNECTION_CLOSING;
    connection->awaiting = 0;
    connection->needs = connection->asked = 0;
    connection->slot.type = 0;
    tf_amqp_rearm(connection);
}

/*
 * An open that does not fit into an empty output never will: ends with the least open there can be.
 * False: it may fit later.
 */
static bool give_up_open(struct tf_amqp_connection *connection)
{
    if (connection->state == TF_AMQP_CONNECTION_CLOSING || !connection->output.buffer ||
        tf_output_pending(&connection->output))
        return false;
    enter_closing(connection);
    connection->open = NULL;
    connection->error =
        tf_amqp_error_of(TF_AMQP_INTERNAL_ERROR, "the open does not fit into a frame");
    connection->due = TF_AMQP_DUE_OPEN | TF_AMQP_DUE_CLOSE;
    return true;
}

void tf_amqp_pump(struct tf_amqp_connection *connection)
{
    struct tf_list *list = &connection->due_sessions;

    while (connection->due) {
        uint8_t bit = (uint8_t)(connection->due & -connection->due);
        if (put_due(connection, bit))
            connection->due &= (uint8_t)~bit;
        else if (bit != TF_AMQP_DUE_OPEN || !give_up_open(connection))
            return;
    }
    /* a client need not wait for the peer's open (2.4.1) */
    if (!connection->open_sent || (connection->state != TF_AMQP_CONNECTION_UP &&
                                   connection->state != TF_AMQP_CONNECTION_OPENING))
        return;
    while (!tf_list_empty(list)) {
        struct tf_list_node *node = tf_list_first(list);
        struct tf_amqp_session *session = tf_container_of(node, struct tf_amqp_session, due_node);
        if (!tf_amqp_session_pump(session)) {
            /* sessions take turns */
            tf_list_unlink(node);
            tf_list_push_back(list, node);
            return;
        }
    }
}

enum tf_err tf_amqp_lend(struct tf_amqp_connection *connection, void *buffer, size_t length)
{
    enum tf_err err;

    if (length < TF_AMQP_OUTPUT_MIN)
        return TF_MISUSE;
    err = tf_output_lend(&connection->output, buffer, length);
    if (!err && connection->due)
        tf_amqp_pump(connection);
    return err;
}

void *tf_amqp_take(struct tf_amqp_connection *connection)
{
    return tf_output_take(&connection->output);
}

size_t tf_amqp_output(struct tf_amqp_connection *connection, struct tf_bytes *ret_spans,
                      size_t count)
{
    if (connection->output.buffer && (connection->due || !tf_list_empty(&connection->due_sessions)))
        tf_amqp_pump(connection);
    return tf_output_spans(&connection->output, ret_spans, count);
}

void tf_amqp_sent(struct tf_amqp_connection *connection, size_t length, tf_time now)
{
    if (length > 0)
        connection->wrote = now;
    tf_output_sent(&connection->output, length);
    if (connection->due || !tf_list_empty(&connection->due_sessions))
        tf_amqp_pump(connection);
}

/* ---- time (2.4.5) ---- */

tf_time tf_amqp_deadline(const struct tf_amqp_connection *connection)
{
    return connection->deadline;
}

void tf_amqp_rearm(struct tf_amqp_connection *connection)
{
    connection->deadline = tf_amqp_next_deadline(connection);
}

void tf_amqp_tick(struct tf_amqp_connection *connection, tf_time now)
{
    const struct tf_amqp_config *config = connection->config;

    if (now < connection->deadline)
        return;
    if (connection->open_by <= now)
        (void)tf_amqp_connection_fail(connection, TF_AMQP_RESOURCE_LIMIT_EXCEEDED,
                                      "no open in time");
    else if (config->idle_timeout_ms &&
             tf_time_add(connection->heard, config->idle_timeout_ms * TF_MILLISECOND) <= now)
        (void)tf_amqp_connection_fail(connection, TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "idle time-out");
    else if (must_be_heard(connection) &&
             tf_time_add(connection->wrote, connection->peer_idle_ms * TF_MILLISECOND / 2) <= now) {
        /* what waits in the output will say it as well */
        tf_amqp_pump(connection);
        if (!tf_output_pending(&connection->output))
            connection->due |= TF_AMQP_DUE_ALIVE;
        connection->wrote = now;
        tf_amqp_pump(connection);
    }
    tf_amqp_rearm(connection);
}

void tf_amqp_alive(struct tf_amqp_connection *connection, tf_time now)
{
    connection->heard = now;
}

/* ---- the end ---- */

/* The close that is due, with what must come before it (2.4.5). */
static uint8_t goodbye(const struct tf_amqp_connection *connection, bool client)
{
    uint8_t header = connection->due & (TF_AMQP_DUE_SASL_HEADER | TF_AMQP_DUE_HEADER |
                                        TF_AMQP_DUE_MECHANISMS | TF_AMQP_DUE_OUTCOME);
    bool amqp = connection->header_sent || (header & TF_AMQP_DUE_HEADER);

    if (connection->state <= TF_AMQP_CONNECTION_AMQP_HEADER && !client)
        amqp = false; /* the peer has not said that it speaks AMQP */
    if (!amqp)
        return header;
    return header | (connection->open_sent ? 0 : TF_AMQP_DUE_OPEN) | TF_AMQP_DUE_CLOSE;
}

void tf_amqp_connection_end(struct tf_amqp_connection *connection,
                            const struct tf_amqp_error *error)
{
    bool client = connection->config->end == TF_AMQP_CLIENT;
    uint8_t due = connection->state == TF_AMQP_CONNECTION_CLOSE_SENT ? connection->due
                                                                     : goodbye(connection, client);

    connection->error = *error;
    enter_closing(connection);
    connection->due = due;
    tf_amqp_pump(connection);
}

enum tf_err tf_amqp_connection_fail(struct tf_amqp_connection *connection,
                                    enum tf_amqp_condition condition, const char *text)
{
    struct tf_amqp_error error = tf_amqp_error_of(condition, text);

    if (connection->state != TF_AMQP_CONNECTION_CLOSING)
        tf_amqp_connection_end(connection, &error);
    return TF_PROTOCOL;
}

void tf_amqp_close(struct tf_amqp_connection *connection, const struct tf_amqp_error *error)
{
    struct tf_amqp_error none = {0};

    if (connection->state >= TF_AMQP_CONNECTION_CLOSE_SENT &&
        !(connection->state == TF_AMQP_CONNECTION_CLOSE_SENT && error))
        return;
    /* without a header from the peer there is nobody who would answer */
    if (error || connection->state < TF_AMQP_CONNECTION_OPENING) {
        tf_amqp_connection_end(connection, error ? error : &none);
        return;
    }
    connection->due = goodbye(connection, connection->config->end == TF_AMQP_CLIENT);
    enter_closing(connection);
    connection->state = TF_AMQP_CONNECTION_CLOSE_SENT;
    tf_amqp_rearm(connection);
    tf_amqp_pump(connection);
}

void tf_amqp_abandon(struct tf_amqp_connection *connection)
{
    if (connection->state != TF_AMQP_CONNECTION_CLOSING)
        enter_closing(connection);
    connection->due = 0;
    tf_output_abandon(&connection->output);
}

bool tf_amqp_closing(const struct tf_amqp_connection *connection,
                     const struct tf_amqp_error **ret_error)
{
    if (connection->state != TF_AMQP_CONNECTION_CLOSING)
        return false;
    if (ret_error)
        *ret_error = &connection->error;
    return true;
}

uint32_t tf_amqp_peer_max_frame_size(const struct tf_amqp_connection *connection)
{
    return connection->peer_max_frame_size;
}
