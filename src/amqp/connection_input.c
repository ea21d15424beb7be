/*
 * From the bytes that have arrived to one protocol header or one frame, and whose it is; see
 * connection.h. What a performative means is not known here.
 */
#include "amqp/connection.h"

#include "base/mem.h"

/* Room that the answer to an open, begin or attach is likely to want. */
#define ANSWER_ROOM 640u

/* ---- protocol headers (2.2, 5.3.1) ---- */

/* Writes the header that we would take, and ends. */
static enum tf_err refuse_header(struct tf_amqp_connection *connection, const char *text)
{
    const struct tf_amqp_config *config = connection->config;

    if (config->end == TF_AMQP_SERVER && connection->state == TF_AMQP_CONNECTION_HEADER)
        connection->due |= config->sasl ? TF_AMQP_DUE_SASL_HEADER : TF_AMQP_DUE_HEADER; /* 2.2 */
    return tf_amqp_connection_fail(connection, TF_AMQP_FRAMING_ERROR, text);
}

static enum tf_err take_sasl_header(struct tf_amqp_connection *connection)
{
    const struct tf_amqp_config *config = connection->config;

    if (connection->state != TF_AMQP_CONNECTION_HEADER || !config->sasl)
        return refuse_header(connection, "SASL is not offered here");
    if (config->end == TF_AMQP_SERVER)
        connection->due |= TF_AMQP_DUE_SASL_HEADER | TF_AMQP_DUE_MECHANISMS;
    connection->state = TF_AMQP_CONNECTION_SASL;
    return TF_OK;
}

static enum tf_err take_amqp_header(struct tf_amqp_connection *connection)
{
    const struct tf_amqp_config *config = connection->config;
    bool server = config->end == TF_AMQP_SERVER;

    if (connection->state == TF_AMQP_CONNECTION_HEADER && config->sasl &&
        !(server && config->sasl->optional))
        return refuse_header(connection, "SASL is required");
    if (!connection->header_sent && !(connection->due & TF_AMQP_DUE_HEADER))
        connection->due |= TF_AMQP_DUE_HEADER;
    connection->state = TF_AMQP_CONNECTION_OPENING;
    return TF_OK;
}

static enum tf_err take_header(struct tf_amqp_connection *connection, struct tf_bytes in,
                               size_t *ret_used, size_t *ret_need)
{
    enum tf_err err;

    /* what can't become a header is refused at once */
    if (memcmp(in.data, "AMQP", in.length < 4 ? in.length : 4) != 0)
        return refuse_header(connection, "not AMQP");
    if (in.length < 8) {
        *ret_need = 8;
        return TF_MORE;
    }
    if (memcmp(in.data + 5, "\1\0\0", 3) != 0)
        err = refuse_header(connection, "not AMQP 1.0");
    else if (in.data[4] == 3)
        err = take_sasl_header(connection);
    else if (in.data[4] == 0)
        err = take_amqp_header(connection);
    else
        err = refuse_header(connection, "the protocol id is not offered here");
    if (err)
        return err;
    *ret_used = 8;
    tf_amqp_pump(connection);
    return TF_OK;
}

/* ---- frames ---- */

static enum tf_err on_transfer(struct tf_amqp_connection *connection, uint16_t channel,
                               const struct tf_amqp_performative *performative)
{
    struct tf_amqp_session *session;
    enum tf_err err = tf_amqp_session_of(connection, channel, &session);

    if (err || !session)
        return err;
    return tf_amqp_on_transfer(session, &performative->transfer, connection->payload);
}

static enum tf_err on_disposition(struct tf_amqp_connection *connection, uint16_t channel,
                                  const struct tf_amqp_performative *performative)
{
    struct tf_amqp_session *session;
    enum tf_err err = tf_amqp_session_of(connection, channel, &session);

    if (err || !session)
        return err;
    return tf_amqp_on_disposition(session, &performative->disposition);
}

static tf_amqp_handler *const handlers[] = {
    [TF_AMQP_OPEN - TF_AMQP_OPEN] = tf_amqp_on_open,
    [TF_AMQP_BEGIN_FRAME - TF_AMQP_OPEN] = tf_amqp_on_begin,
    [TF_AMQP_ATTACH_FRAME - TF_AMQP_OPEN] = tf_amqp_on_attach,
    [TF_AMQP_FLOW_FRAME - TF_AMQP_OPEN] = tf_amqp_on_flow,
    [TF_AMQP_TRANSFER_FRAME - TF_AMQP_OPEN] = on_transfer,
    [TF_AMQP_DISPOSITION - TF_AMQP_OPEN] = on_disposition,
    [TF_AMQP_DETACH - TF_AMQP_OPEN] = tf_amqp_on_detach,
    [TF_AMQP_END - TF_AMQP_OPEN] = tf_amqp_on_end,
    [TF_AMQP_CLOSE - TF_AMQP_OPEN] = tf_amqp_on_close,
};

static enum tf_err take_amqp(struct tf_amqp_connection *connection,
                             const struct tf_amqp_frame *frame)
{
    struct tf_amqp_performative performative;
    enum tf_amqp_condition condition;
    enum tf_err err;

    if (frame->type != TF_AMQP_FRAME)
        return tf_amqp_connection_fail(connection, TF_AMQP_FRAMING_ERROR,
                                       "a frame that is not AMQP's");
    if (frame->channel > connection->config->channel_max) /* 2.7.1 */
        return tf_amqp_connection_fail(connection, TF_AMQP_FRAMING_ERROR,
                                       "channel over channel-max");
    if (frame->body.length == 0)
        return TF_OK; /* 2.4.5: alive */
    err = tf_amqp_performative_read(frame->body, frame->type, &performative, &connection->payload,
                                    &condition);
    if (connection->state == TF_AMQP_CONNECTION_CLOSE_SENT &&
        (err || performative.type != TF_AMQP_CLOSE))
        return TF_OK; /* 2.4.6 */
    if (err)
        return tf_amqp_connection_fail(connection, condition, "the frame can't be read");
    if (connection->state == TF_AMQP_CONNECTION_OPENING && performative.type != TF_AMQP_OPEN &&
        performative.type != TF_AMQP_CLOSE)
        return tf_amqp_connection_fail(connection, TF_AMQP_ILLEGAL_STATE, "no open yet");
    connection->body = frame->body;
    return handlers[performative.type - TF_AMQP_OPEN](connection, frame->channel, &performative);
}

static enum tf_err take_sasl(struct tf_amqp_connection *connection,
                             const struct tf_amqp_frame *frame)
{
    struct tf_amqp_performative performative;
    struct tf_bytes payload;
    enum tf_amqp_condition condition;

    if (frame->type != TF_AMQP_FRAME_SASL)
        return tf_amqp_connection_fail(connection, TF_AMQP_FRAMING_ERROR,
                                       "no SASL frame before the outcome");
    if (tf_amqp_performative_read(frame->body, frame->type, &performative, &payload, &condition))
        return tf_amqp_connection_fail(connection, TF_AMQP_DECODE_ERROR,
                                       "the SASL frame can't be read");
    return connection->config->sasl->mechanisms[0]->parts->input(connection, &performative,
                                                                 frame->body);
}

/* The most that a frame from the peer may have now. */
static uint32_t max_frame(const struct tf_amqp_connection *connection)
{
    if (connection->state == TF_AMQP_CONNECTION_SASL)
        return TF_AMQP_MIN_MAX_FRAME_SIZE; /* 5.3.1 */
    /* 2.8.19; who has our open may make use of it at once */
    return connection->open_sent || connection->state > TF_AMQP_CONNECTION_OPENING
               ? connection->config->max_frame_size
               : TF_AMQP_MIN_MAX_FRAME_SIZE;
}

static enum tf_err take_frame(struct tf_amqp_connection *connection, struct tf_bytes in,
                              size_t *ret_used, size_t *ret_need)
{
    bool sasl = connection->state == TF_AMQP_CONNECTION_SASL;
    struct tf_amqp_frame frame;
    enum tf_err err = tf_amqp_frame_read(in, max_frame(connection), &frame, ret_need);

    if (err == TF_MORE)
        return err;
    if (err)
        return tf_amqp_connection_fail(connection, TF_AMQP_FRAMING_ERROR,
                                       err == TF_LIMIT ? "the frame is too large"
                                                       : "the frame's head is malformed");
    err = sasl ? take_sasl(connection, &frame) : take_amqp(connection, &frame);
    if (!err)
        *ret_used = frame.size;
    return err;
}

/* True if any answer to the next frame fits. */
static bool room_for_answers(struct tf_amqp_connection *connection)
{
    size_t want = connection->state <= TF_AMQP_CONNECTION_OPENING ? ANSWER_ROOM : TF_AMQP_REPLY_MAX;

    return tf_output_room(&connection->output, 0) >= want ||
           (connection->output.buffer && !tf_output_pending(&connection->output));
}

/* One frame or header, if nothing is in its way. */
static enum tf_err take(struct tf_amqp_connection *connection, struct tf_bytes in, size_t *ret_used,
                        size_t *ret_need)
{
    if (connection->slot.type || connection->awaiting || tf_amqp_deliveries_walking(connection))
        return TF_AGAIN;
    if (connection->due)
        tf_amqp_pump(connection);
    if (!room_for_answers(connection)) {
        tf_amqp_pump(connection);
        return TF_AGAIN;
    }
    if (connection->due)
        return TF_AGAIN; /* answers to what came before come first */
    if (connection->state == TF_AMQP_CONNECTION_HEADER ||
        connection->state == TF_AMQP_CONNECTION_AMQP_HEADER)
        return take_header(connection, in, ret_used, ret_need);
    return take_frame(connection, in, ret_used, ret_need);
}

enum tf_err tf_amqp_input(struct tf_amqp_connection *connection, struct tf_bytes in,
                          size_t *ret_used, size_t *ret_need, tf_time now)
{
    enum tf_err err;

    *ret_used = 0;
    if (connection->state == TF_AMQP_CONNECTION_CLOSING)
        return TF_CLOSED;
    if (in.length == 0) {
        *ret_need = 1;
        return TF_MORE;
    }
    if (in.length > connection->shown)
        connection->heard = now; /* there is something new */
    err = take(connection, in, ret_used, ret_need);
    connection->shown = in.length - *ret_used;
    return err;
}
