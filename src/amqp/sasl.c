/*
 * SASL for AMQP (part 5): the frames of either end around a mechanism's steps; see connection.h.
 *
 *   server:  header, mechanisms ->  <- init  (challenge ->  <- response)*  outcome ->
 *   client:  header ->  <- mechanisms  init ->  (<- challenge  response ->)*  <- outcome
 *
 * What a mechanism means by its words is in sasl_<mechanism>.c.
 */
#include "amqp/connection.h"

#include <trefoil/amqp_value.h>

/* The longest word of ours: it shares a frame of 512 bytes with two names. */
#define WORD_MAX 400u

/* Words that a peer may say before it is clear who it is. */
#define STEPS_MAX 8u

/* ---- server ---- */

static bool put_mechanisms(struct tf_amqp_connection *connection)
{
    const struct tf_amqp_sasl *sasl = connection->config->sasl;
    struct tf_amqp_performative performative;
    struct tf_bytes names[8];
    uint8_t memory[256];
    struct tf_writer writer = tf_writer_of(memory, sizeof memory);
    size_t count = 0;

    for (; count < sasl->mechanism_count && count < TF_COUNT(names); count++)
        names[count] = tf_bytes_str(sasl->mechanisms[count]->name);
    tf_amqp_write_symbols(&writer, names, count);
    performative.type = TF_AMQP_SASL_MECHANISMS;
    performative.mechanisms.mechanisms = tf_bytes_of(memory, tf_writer_length(&writer));
    return !writer.failed && tf_amqp_put(connection, 0, &performative);
}

static bool put_outcome(struct tf_amqp_connection *connection)
{
    struct tf_amqp_performative performative;

    performative.type = TF_AMQP_SASL_OUTCOME;
    performative.result =
        (struct tf_amqp_sasl_result){.code = (enum tf_amqp_sasl_code)connection->sasl_code};
    return tf_amqp_put(connection, 0, &performative);
}

static bool pump(struct tf_amqp_connection *connection)
{
    return connection->due & TF_AMQP_DUE_MECHANISMS ? put_mechanisms(connection)
                                                    : put_outcome(connection);
}

/* The outcome that it is not, and the end. */
static enum tf_err refuse(struct tf_amqp_connection *connection, const char *text)
{
    connection->sasl_code = TF_AMQP_SASL_AUTH; /* 5.3.3.6 */
    connection->due |= TF_AMQP_DUE_OUTCOME;
    return tf_amqp_connection_fail(connection, TF_AMQP_UNAUTHORIZED_ACCESS, text);
}

/* A word of the client's, in `performative` as init or response. */
static enum tf_err read_word(const struct tf_amqp_connection *connection,
                             const struct tf_amqp_performative *performative,
                             struct tf_amqp_sasl_request *ret)
{
    const struct tf_amqp_sasl_init *init = &performative->init;

    *ret = (struct tf_amqp_sasl_request){0};
    ret->mechanism = tf_bytes_str(connection->mechanism->name);
    if (performative->type == TF_AMQP_SASL_RESPONSE)
        return connection->mechanism->receive(1, true, performative->message.data, ret);
    ret->hostname = init->hostname;
    return connection->mechanism->receive(0, init->has_initial_response, init->initial_response,
                                          ret);
}

static enum tf_err on_word(struct tf_amqp_connection *connection,
                           const struct tf_amqp_performative *performative, struct tf_bytes body)
{
    struct tf_amqp_sasl_request request;
    struct tf_amqp_performative challenge;
    enum tf_err err = read_word(connection, performative, &request);

    if (err == TF_MORE && connection->sasl_step < STEPS_MAX) {
        challenge.type = TF_AMQP_SASL_CHALLENGE;
        challenge.message.data = (struct tf_bytes){0};
        if (!tf_amqp_put(connection, 0, &challenge))
            return TF_AGAIN;
        connection->sasl_step++;
        return TF_OK;
    }
    if (err)
        return refuse(connection, "the mechanism's words are not right");
    connection->body = body;
    connection->awaiting = TF_AMQP_AUTHENTICATE;
    tf_amqp_tell(connection, TF_AMQP_AUTHENTICATE, NULL, NULL);
    return TF_OK;
}

static enum tf_err on_init(struct tf_amqp_connection *connection,
                           const struct tf_amqp_performative *performative, struct tf_bytes body)
{
    const struct tf_amqp_sasl *sasl = connection->config->sasl;

    for (size_t i = 0; i < sasl->mechanism_count; i++) {
        if (!tf_bytes_equal(performative->init.mechanism, tf_bytes_str(sasl->mechanisms[i]->name)))
            continue;
        connection->mechanism = sasl->mechanisms[i];
        return on_word(connection, performative, body);
    }
    return refuse(connection, "the mechanism is not offered");
}

static void tell(const struct tf_amqp_connection *connection, struct tf_amqp_event *ret)
{
    struct tf_amqp_performative performative;
    struct tf_bytes payload;
    enum tf_amqp_condition condition;
    enum tf_err err = tf_amqp_performative_read(connection->slot.body, TF_AMQP_FRAME_SASL,
                                                &performative, &payload, &condition);

    if (!err)
        err = read_word(connection, &performative, &ret->sasl);
    tf_assert(!err); /* it has been read before */
}

void tf_amqp_authenticated(struct tf_amqp_connection *connection, bool accepted)
{
    if (connection->awaiting != TF_AMQP_AUTHENTICATE)
        return;
    connection->awaiting = 0;
    if (!accepted) {
        (void)refuse(connection, "authentication has failed");
        return;
    }
    connection->sasl_code = TF_AMQP_SASL_OK;
    connection->due |= TF_AMQP_DUE_OUTCOME;
    connection->state = TF_AMQP_CONNECTION_AMQP_HEADER;
    tf_amqp_pump(connection);
}

/* ---- client ---- */

/* Says a word: init, or a response to `challenge`. */
static enum tf_err say(struct tf_amqp_connection *connection, enum tf_amqp_performative_type type,
                       struct tf_bytes challenge)
{
    const struct tf_amqp_sasl *sasl = connection->config->sasl;
    struct tf_amqp_performative performative;
    uint8_t word[WORD_MAX];
    struct tf_writer writer = tf_writer_of(word, sizeof word);

    performative.type = type;
    if (connection->sasl_step > STEPS_MAX ||
        !connection->mechanism->respond(sasl, connection->sasl_step, challenge, &writer) ||
        writer.failed)
        return tf_amqp_connection_fail(connection, TF_AMQP_UNAUTHORIZED_ACCESS,
                                       "the mechanism has no answer");
    if (type == TF_AMQP_SASL_INIT)
        performative.init = (struct tf_amqp_sasl_init){
            .mechanism = tf_bytes_str(connection->mechanism->name),
            .has_initial_response = true,
            .initial_response = tf_bytes_of(word, tf_writer_length(&writer)),
            .hostname = sasl->hostname,
        };
    else
        performative.message.data = tf_bytes_of(word, tf_writer_length(&writer));
    if (!tf_amqp_put(connection, 0, &performative))
        return tf_output_pending(&connection->output)
                   ? TF_AGAIN
                   : tf_amqp_connection_fail(connection, TF_AMQP_UNAUTHORIZED_ACCESS,
                                             "user and password do not fit into a frame");
    connection->sasl_step++;
    return TF_OK;
}

/* Takes the first mechanism of ours that the server offers. */
static enum tf_err on_mechanisms(struct tf_amqp_connection *connection,
                                 const struct tf_amqp_sasl_mechanisms *offer)
{
    const struct tf_amqp_sasl *sasl = connection->config->sasl;

    for (size_t i = 0; i < sasl->mechanism_count; i++) {
        if (!tf_amqp_symbols_have(offer->mechanisms, tf_bytes_str(sasl->mechanisms[i]->name)))
            continue;
        connection->mechanism = sasl->mechanisms[i];
        return say(connection, TF_AMQP_SASL_INIT, (struct tf_bytes){0});
    }
    return tf_amqp_connection_fail(connection, TF_AMQP_UNAUTHORIZED_ACCESS,
                                   "the server offers no mechanism of ours");
}

static enum tf_err on_outcome(struct tf_amqp_connection *connection,
                              const struct tf_amqp_sasl_result *result)
{
    if (result->code != TF_AMQP_SASL_OK)
        return tf_amqp_connection_fail(connection, TF_AMQP_UNAUTHORIZED_ACCESS,
                                       "the server refuses user and password");
    connection->due |= TF_AMQP_DUE_HEADER | TF_AMQP_DUE_OPEN;
    connection->state = TF_AMQP_CONNECTION_AMQP_HEADER;
    tf_amqp_pump(connection);
    return TF_OK;
}

/* ---- both ---- */

static enum tf_err input(struct tf_amqp_connection *connection,
                         const struct tf_amqp_performative *performative, struct tf_bytes body)
{
    bool server = connection->config->end == TF_AMQP_SERVER;
    bool begun = connection->mechanism != NULL;

    switch (performative->type) {
    case TF_AMQP_SASL_MECHANISMS:
        if (!server && !begun)
            return on_mechanisms(connection, &performative->mechanisms);
        break;
    case TF_AMQP_SASL_INIT:
        if (server && !begun)
            return on_init(connection, performative, body);
        break;
    case TF_AMQP_SASL_CHALLENGE:
        if (!server && begun)
            return say(connection, TF_AMQP_SASL_RESPONSE, performative->message.data);
        break;
    case TF_AMQP_SASL_RESPONSE:
        if (server && begun)
            return on_word(connection, performative, body);
        break;
    case TF_AMQP_SASL_OUTCOME:
        if (!server && begun)
            return on_outcome(connection, &performative->result);
        break;
    default:
        break;
    }
    return tf_amqp_connection_fail(connection, TF_AMQP_NOT_ALLOWED,
                                   "this SASL frame is not expected now");
}

const struct tf_amqp_sasl_parts tf_amqp_sasl_parts = {
    .input = input,
    .pump = pump,
    .tell = tell,
};
