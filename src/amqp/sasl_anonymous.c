/*
 * SASL ANONYMOUS (RFC 4505): one word, which may be a trace of who it is.
 */
#include "amqp/connection.h"
#include "base/utf8.h"

/* RFC 4505 2: a trace has at most 255 characters. */
#define TRACE_MAX (255u * 4u)

static bool respond(const struct tf_amqp_sasl *sasl, unsigned step, struct tf_bytes challenge,
                    struct tf_writer *response)
{
    (void)challenge;
    if (step > 0)
        return false;
    tf_write_bytes(response, sasl->authorization);
    return true;
}

static enum tf_err receive(unsigned step, bool present, struct tf_bytes response,
                           struct tf_amqp_sasl_request *ret)
{
    (void)step;
    (void)present; /* no word at all is as good */
    if (response.length > TRACE_MAX || !tf_utf8_valid(response))
        return TF_PROTOCOL;
    ret->authorization = response;
    return TF_OK;
}

const struct tf_amqp_sasl_mechanism tf_amqp_sasl_anonymous = {
    .name = "ANONYMOUS",
    .respond = respond,
    .receive = receive,
    .parts = &tf_amqp_sasl_parts,
};
