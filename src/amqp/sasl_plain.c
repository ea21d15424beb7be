/*
 * SASL PLAIN (RFC 4616): authorization, NUL, user, NUL, password.
 */
#include "amqp/connection.h"
#include "base/utf8.h"

static bool respond(const struct tf_amqp_sasl *sasl, unsigned step, struct tf_bytes challenge,
                    struct tf_writer *response)
{
    (void)challenge;
    if (step > 0)
        return false;
    tf_write_bytes(response, sasl->authorization);
    tf_write_u8(response, 0);
    tf_write_bytes(response, sasl->user);
    tf_write_u8(response, 0);
    tf_write_bytes(response, sasl->password);
    return true;
}

/* Takes what is before the next NUL off the front of `rest`; false: there is none. */
static bool cut(struct tf_bytes *rest, struct tf_bytes *ret)
{
    for (size_t i = 0; i < rest->length; i++) {
        if (rest->data[i] != 0)
            continue;
        *ret = tf_bytes_of(rest->data, i);
        *rest = tf_bytes_of(rest->data + i + 1, rest->length - i - 1);
        return true;
    }
    return false;
}

static enum tf_err receive(unsigned step, bool present, struct tf_bytes response,
                           struct tf_amqp_sasl_request *ret)
{
    struct tf_bytes rest = response, more;

    if (step == 0 && !present)
        return TF_MORE;
    if (!tf_utf8_valid(response) || !cut(&rest, &ret->authorization) || !cut(&rest, &ret->user))
        return TF_PROTOCOL;
    ret->password = rest;
    /* RFC 4616 2: user and password have at least one character, and no NUL */
    if (ret->user.length == 0 || rest.length == 0 || cut(&rest, &more))
        return TF_PROTOCOL;
    return TF_OK;
}

const struct tf_amqp_sasl_mechanism tf_amqp_sasl_plain = {
    .name = "PLAIN",
    .respond = respond,
    .receive = receive,
    .parts = &tf_amqp_sasl_parts,
};
