/*
 * CoAP messages over datagrams: header, token, options, payload (RFC 7252 3).
 *
 * Reading: tf_coap_decode checks the whole format once, so the cursors over a message that was
 * decoded never fail. Everything read is a view into the datagram. Writing: an encoder over memory
 * of the caller's, options in ascending order, one check at the end.
 */
#ifndef TREFOIL_COAP_MESSAGE_H
#define TREFOIL_COAP_MESSAGE_H

#include <trefoil/bytes.h>
#include <trefoil/coap.h>
#include <trefoil/err.h>

struct tf_coap_message {
    uint8_t type; /* enum tf_coap_type */
    uint8_t code;
    uint16_t message_id;
    struct tf_bytes token;
    struct tf_bytes options; /* as encoded; read by tf_coap_option_next */
    struct tf_bytes payload; /* empty: none, and then there was no marker */
};

struct tf_coap_option {
    uint16_t number;
    struct tf_bytes value;
};

/* Where a reader of options is. */
struct tf_coap_cursor {
    struct tf_reader reader;
    uint32_t number;
};

/*
 * Takes a datagram apart. TF_UNSUPPORTED: under four bytes or not version 1: silence (3).
 * TF_PROTOCOL: a message format error; type and message id are set all the same, so that a CON can
 * be rejected with a RST (4.2). Else *ret holds views into `datagram`. A code of a reserved class
 * (1, 6, 7) is no format error: whoever handles the message rejects it (4.2).
 */
TF_MUST_USE enum tf_err tf_coap_decode(struct tf_coap_message *ret, struct tf_bytes datagram);

/* Starts reading the options of a decoded message. */
static inline struct tf_coap_cursor tf_coap_options(struct tf_bytes options)
{
    return (struct tf_coap_cursor){tf_reader_of(options), 0};
}

/* The next option; false at the end. Views into the datagram. */
bool tf_coap_option_next(struct tf_coap_cursor *cursor, struct tf_coap_option *ret);

/* The first option of this number; false: there is none. */
bool tf_coap_option_find(struct tf_bytes options, uint16_t number, struct tf_bytes *ret_value);

/* An option's value as a number of up to 4 bytes (3.2); longer ones: its last 4 bytes. */
uint32_t tf_coap_uint(struct tf_bytes value);

/* A number in the fewest bytes (3.2), for struct tf_coap_option.value; `buffer` must outlive it. */
struct tf_bytes tf_coap_uint_value(uint32_t value, uint8_t buffer[4]);

/* ---- rules of options (RFC 7252 5.4, 5.10 and the registry) ---- */

/* True if a message with an option that is not understood has to be rejected (5.4.1). */
static inline bool tf_coap_option_critical(uint16_t number)
{
    return (number & 1) != 0;
}

/* True if a proxy that does not understand it must not forward the message (5.4.2). */
static inline bool tf_coap_option_unsafe(uint16_t number)
{
    return (number & 2) != 0;
}

/* True if it is not part of the cache key (5.4.2, 5.6). */
static inline bool tf_coap_option_no_cache_key(uint16_t number)
{
    return (number & 0x1E) == 0x1C;
}

enum tf_coap_option_kind {
    TF_COAP_OPTION_EMPTY,
    TF_COAP_OPTION_OPAQUE,
    TF_COAP_OPTION_UINT,
    TF_COAP_OPTION_STRING
};

/* Four bytes each, since every firmware has the table. */
struct tf_coap_option_rule {
    unsigned number : 16;
    unsigned kind : 2; /* enum tf_coap_option_kind */
    unsigned repeatable : 1;
    unsigned min : 2, max : 11; /* bytes of the value */
};

/* What is registered of an option; NULL: nothing. Static. */
const struct tf_coap_option_rule *tf_coap_option_rule(uint16_t number);

/*
 * True if the option is known and its value has a legal length; `repeated` says that one of the
 * same number came before it. False: treat it as one that is not understood (5.4.3, 5.4.5). True
 * does not say that it is understood: OSCORE or Q-Block1 is known here, and critical to who does
 * not do it. Text is not looked at; tf_coap_segment_valid does that for paths.
 */
bool tf_coap_option_valid(const struct tf_coap_option *option, bool repeated);

/* ---- writing ---- */

struct tf_coap_encoder {
    struct tf_writer out; /* `failed`: it did not fit, or options were out of order */
    uint32_t number;      /* of the last option */
};

/* Starts a message in `buffer`; a token of at most TF_COAP_TOKEN_MAX bytes. */
void tf_coap_encode(struct tf_coap_encoder *encoder, void *buffer, size_t length,
                    enum tf_coap_type type, uint8_t code, uint16_t message_id,
                    struct tf_bytes token);

/* Appends an option; its number must not be below that of the one before. */
void tf_coap_encode_option(struct tf_coap_encoder *encoder, uint16_t number, struct tf_bytes value);

/* Appends an option whose value is a number, in the fewest bytes. */
void tf_coap_encode_uint(struct tf_coap_encoder *encoder, uint16_t number, uint32_t value);

/* Appends marker and payload, once and last; nothing for an empty one. */
void tf_coap_encode_payload(struct tf_coap_encoder *encoder, struct tf_bytes payload);

/* The message so far; empty when something did not fit, or options were out of order. */
struct tf_bytes tf_coap_encoded(const struct tf_coap_encoder *encoder);

/* ---- blocks (RFC 7959 2.2) ---- */

struct tf_coap_block {
    uint32_t number; /* 0 to TF_COAP_BLOCK_NUM_MAX */
    bool more;
    uint8_t szx; /* size exponent: 16 << szx bytes; 7 is reserved on datagrams */
};

/* A block option's value (0 to 3 bytes). False: over 3 bytes. */
bool tf_coap_block_read(struct tf_bytes value, struct tf_coap_block *ret);

/* The number that stands in the option. */
static inline uint32_t tf_coap_block_value(const struct tf_coap_block *block)
{
    return block->number << 4 | (uint32_t)block->more << 3 | block->szx;
}

#endif
