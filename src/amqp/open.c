/*
 * open and close (2.4, 2.7.1, 2.7.9); see connection.h.
 */
#include "amqp/connection.h"

/* Peers that want to hear from us more often than this are refused. */
#define IDLE_MIN_MS 100u

enum tf_err tf_amqp_on_open(struct tf_amqp_connection *connection, uint16_t channel,
                            const struct tf_amqp_performative *performative)
{
    const struct tf_amqp_open *open = &performative->open;

    (void)channel; /* open and close may come on any (2.7.1) */
    if (connection->state != TF_AMQP_CONNECTION_OPENING)
        return tf_amqp_connection_fail(connection, TF_AMQP_NOT_ALLOWED, "open again");
    if (open->max_frame_size < TF_AMQP_MIN_MAX_FRAME_SIZE)
        return tf_amqp_connection_fail(connection, TF_AMQP_INVALID_FIELD,
                                       "max-frame-size is below 512");
    if (open->idle_time_out_ms && open->idle_time_out_ms < IDLE_MIN_MS)
        return tf_amqp_connection_fail(connection, TF_AMQP_NOT_ALLOWED,
                                       "idle-time-out is below 100 ms"); /* 2.4.5 */
    connection->peer_max_frame_size =
        open->max_frame_size < INT32_MAX ? open->max_frame_size : INT32_MAX;
    if (open->channel_max < connection->channel_max)
        connection->channel_max = open->channel_max;
    connection->peer_idle_ms = open->idle_time_out_ms;
    connection->open_by = TF_TIME_NEVER;
    connection->state = TF_AMQP_CONNECTION_UP;
    tf_amqp_rearm(connection);
    tf_amqp_tell(connection, TF_AMQP_OPENED, NULL, NULL);
    if (!connection->open_sent)
        connection->awaiting = TF_AMQP_OPENED;
    return TF_OK;
}

enum tf_err tf_amqp_open(struct tf_amqp_connection *connection, const struct tf_amqp_open *open)
{
    if (connection->awaiting != TF_AMQP_OPENED)
        return TF_MISUSE;
    if (!tf_amqp_put_open(connection, open))
        return tf_output_pending(&connection->output) ? TF_AGAIN : TF_NO_MEMORY;
    connection->awaiting = 0;
    tf_amqp_rearm(connection);
    return TF_OK;
}

enum tf_err tf_amqp_on_close(struct tf_amqp_connection *connection, uint16_t channel,
                             const struct tf_amqp_performative *performative)
{
    struct tf_bytes body = connection->body;
    struct tf_amqp_error error = {0};

    (void)channel;
    tf_amqp_connection_end(connection, &error);
    if (performative->ending.error.condition != TF_AMQP_NO_ERROR)
        connection->error =
            tf_amqp_error_of(performative->ending.error.condition, "closed by the peer");
    connection->body = body;
    tf_amqp_tell(connection, TF_AMQP_CLOSED, NULL, NULL);
    return TF_OK;
}
