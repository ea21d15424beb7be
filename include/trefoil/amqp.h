/*
 * AMQP 1.0: the numbers and names that codec, connection and their users share.
 *
 * Transport and types are OASIS AMQP 1.0 parts 1 and 2, messages part 3, SASL part 5; "2.7.5" in a
 * comment is a section of them.
 */
#ifndef TREFOIL_AMQP_H
#define TREFOIL_AMQP_H

#include <trefoil/bytes.h>
#include <trefoil/err.h>
#include <trefoil/time.h>

#define TF_AMQP_PORT 5672u
#define TF_AMQP_MIN_MAX_FRAME_SIZE 512u /* 2.8.19: every peer takes frames of this size */
#define TF_AMQP_DEPTH_MAX 32u           /* of values inside values that the codec goes into */
#define TF_AMQP_TAG_MAX 32u             /* bytes of a delivery tag (2.8.7) */

/* 2.8.1 */
enum tf_amqp_role { TF_AMQP_SENDER = 0, TF_AMQP_RECEIVER = 1 };

/* 2.8.2: how a sender settles. */
enum tf_amqp_snd_settle_mode { TF_AMQP_SND_UNSETTLED, TF_AMQP_SND_SETTLED, TF_AMQP_SND_MIXED };

/* 2.8.3: when a receiver settles: at once, or after the sender has. */
enum tf_amqp_rcv_settle_mode { TF_AMQP_RCV_FIRST, TF_AMQP_RCV_SECOND };

/*
 * The conditions of 2.8.15 to 2.8.18, 3.4 and 4.5, so that both sides of the library need not
 * compare symbols. What is not in the table is TF_AMQP_OTHER_ERROR with its symbol.
 */
enum tf_amqp_condition {
    TF_AMQP_NO_ERROR,
    TF_AMQP_OTHER_ERROR,
    TF_AMQP_INTERNAL_ERROR,
    TF_AMQP_NOT_FOUND,
    TF_AMQP_UNAUTHORIZED_ACCESS,
    TF_AMQP_DECODE_ERROR,
    TF_AMQP_RESOURCE_LIMIT_EXCEEDED,
    TF_AMQP_NOT_ALLOWED,
    TF_AMQP_INVALID_FIELD,
    TF_AMQP_NOT_IMPLEMENTED,
    TF_AMQP_RESOURCE_LOCKED,
    TF_AMQP_PRECONDITION_FAILED,
    TF_AMQP_RESOURCE_DELETED,
    TF_AMQP_ILLEGAL_STATE,
    TF_AMQP_FRAME_SIZE_TOO_SMALL,
    TF_AMQP_CONNECTION_FORCED,
    TF_AMQP_FRAMING_ERROR,
    TF_AMQP_CONNECTION_REDIRECT,
    TF_AMQP_WINDOW_VIOLATION,
    TF_AMQP_ERRANT_LINK,
    TF_AMQP_HANDLE_IN_USE,
    TF_AMQP_UNATTACHED_HANDLE,
    TF_AMQP_DETACH_FORCED,
    TF_AMQP_TRANSFER_LIMIT_EXCEEDED,
    TF_AMQP_MESSAGE_SIZE_EXCEEDED,
    TF_AMQP_LINK_REDIRECT,
    TF_AMQP_STOLEN,
    TF_AMQP_TRANSACTION_UNKNOWN_ID,
    TF_AMQP_TRANSACTION_ROLLBACK,
    TF_AMQP_TRANSACTION_TIMEOUT,
    TF_AMQP_CONDITION_COUNT
};

/* The symbol of a condition ("amqp:not-found"), static; empty for NO_ERROR and OTHER_ERROR. */
struct tf_bytes tf_amqp_condition_symbol(enum tf_amqp_condition condition);

/* The condition that a symbol names; TF_AMQP_OTHER_ERROR: none of the table. */
enum tf_amqp_condition tf_amqp_condition_of(struct tf_bytes symbol);

/* 2.8.14. Views. `info` is an encoded map, empty if there is none. */
struct tf_amqp_error {
    enum tf_amqp_condition condition; /* NO_ERROR: the peer gave no error */
    struct tf_bytes symbol;           /* as it came; written only for OTHER_ERROR */
    struct tf_bytes description;
    struct tf_bytes info;
};

/* An error of the table with a description. */
static inline struct tf_amqp_error tf_amqp_error_of(enum tf_amqp_condition condition,
                                                    const char *description)
{
    return (struct tf_amqp_error){.condition = condition, .description = tf_bytes_str(description)};
}

/* The states of a delivery: 3.4, and 4.5 for transactions. */
enum tf_amqp_state_type {
    TF_AMQP_STATE_NONE,     /* no state was given */
    TF_AMQP_STATE_RECEIVED, /* 3.4.1: so much of it: not terminal */
    TF_AMQP_STATE_ACCEPTED,
    TF_AMQP_STATE_REJECTED,
    TF_AMQP_STATE_RELEASED,
    TF_AMQP_STATE_MODIFIED,
    TF_AMQP_STATE_DECLARED,      /* 4.5.5 */
    TF_AMQP_STATE_TRANSACTIONAL, /* 4.5.8 */
    TF_AMQP_STATE_OTHER          /* of a type that the codec does not know: `raw` has it */
};

/* A delivery state; which fields mean something depends on `type`. Views. */
struct tf_amqp_state {
    enum tf_amqp_state_type type;
    uint32_t section_number;     /* RECEIVED */
    uint64_t section_offset;     /* RECEIVED */
    struct tf_amqp_error error;  /* REJECTED */
    bool delivery_failed;        /* MODIFIED */
    bool undeliverable_here;     /* MODIFIED */
    struct tf_bytes annotations; /* MODIFIED: an encoded map, empty: none */
    struct tf_bytes txn_id;      /* DECLARED, TRANSACTIONAL */
    struct tf_bytes outcome;     /* TRANSACTIONAL: an encoded state, empty: none */
    struct tf_bytes raw;         /* OTHER: the whole described value */
};

#endif
