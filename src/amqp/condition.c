/*
 * The error conditions by name: 2.8.15 to 2.8.18, 4.5.
 */
#include "amqp/composite.h"

#include "base/util.h"

const char *const tf_amqp_condition_names[TF_AMQP_CONDITION_COUNT] = {
    [TF_AMQP_INTERNAL_ERROR] = "amqp:internal-error",
    [TF_AMQP_NOT_FOUND] = "amqp:not-found",
    [TF_AMQP_UNAUTHORIZED_ACCESS] = "amqp:unauthorized-access",
    [TF_AMQP_DECODE_ERROR] = "amqp:decode-error",
    [TF_AMQP_RESOURCE_LIMIT_EXCEEDED] = "amqp:resource-limit-exceeded",
    [TF_AMQP_NOT_ALLOWED] = "amqp:not-allowed",
    [TF_AMQP_INVALID_FIELD] = "amqp:invalid-field",
    [TF_AMQP_NOT_IMPLEMENTED] = "amqp:not-implemented",
    [TF_AMQP_RESOURCE_LOCKED] = "amqp:resource-locked",
    [TF_AMQP_PRECONDITION_FAILED] = "amqp:precondition-failed",
    [TF_AMQP_RESOURCE_DELETED] = "amqp:resource-deleted",
    [TF_AMQP_ILLEGAL_STATE] = "amqp:illegal-state",
    [TF_AMQP_FRAME_SIZE_TOO_SMALL] = "amqp:frame-size-too-small",
    [TF_AMQP_CONNECTION_FORCED] = "amqp:connection:forced",
    [TF_AMQP_FRAMING_ERROR] = "amqp:connection:framing-error",
    [TF_AMQP_CONNECTION_REDIRECT] = "amqp:connection:redirect",
    [TF_AMQP_WINDOW_VIOLATION] = "amqp:session:window-violation",
    [TF_AMQP_ERRANT_LINK] = "amqp:session:errant-link",
    [TF_AMQP_HANDLE_IN_USE] = "amqp:session:handle-in-use",
    [TF_AMQP_UNATTACHED_HANDLE] = "amqp:session:unattached-handle",
    [TF_AMQP_DETACH_FORCED] = "amqp:link:detach-forced",
    [TF_AMQP_TRANSFER_LIMIT_EXCEEDED] = "amqp:link:transfer-limit-exceeded",
    [TF_AMQP_MESSAGE_SIZE_EXCEEDED] = "amqp:link:message-size-exceeded",
    [TF_AMQP_LINK_REDIRECT] = "amqp:link:redirect",
    [TF_AMQP_STOLEN] = "amqp:link:stolen",
    [TF_AMQP_TRANSACTION_UNKNOWN_ID] = "amqp:transaction:unknown-id",
    [TF_AMQP_TRANSACTION_ROLLBACK] = "amqp:transaction:rollback",
    [TF_AMQP_TRANSACTION_TIMEOUT] = "amqp:transaction:timeout",
};

struct tf_bytes tf_amqp_condition_symbol(enum tf_amqp_condition condition)
{
    const char *name =
        (unsigned)condition < TF_AMQP_CONDITION_COUNT ? tf_amqp_condition_names[condition] : NULL;

    return name ? tf_bytes_str(name) : (struct tf_bytes){NULL, 0};
}

enum tf_amqp_condition tf_amqp_condition_of(struct tf_bytes symbol)
{
    for (unsigned i = 0; i < TF_COUNT(tf_amqp_condition_names); i++) {
        if (tf_amqp_condition_names[i] &&
            tf_bytes_equal(symbol, tf_bytes_str(tf_amqp_condition_names[i])))
            return (enum tf_amqp_condition)i;
    }
    return TF_AMQP_OTHER_ERROR;
}
