/*
 * Frames and what they carry: the performatives of part 2 and the SASL frames of part 5, read into
 * and written from plain structs.
 *
 * All views borrow what was read. Maps, lists of symbols and the termini's filters stay encoded and
 * are walked with the cursors of amqp_value.h. `has_...` tells that an optional field without a
 * default was there; a field left out has the default of the specification.
 */
#ifndef TREFOIL_AMQP_PERFORMATIVE_H
#define TREFOIL_AMQP_PERFORMATIVE_H

#include <trefoil/amqp.h>

/* Descriptor codes (2.7, 5.3.3). */
enum tf_amqp_performative_type {
    TF_AMQP_OPEN = 0x10,
    TF_AMQP_BEGIN_FRAME,
    TF_AMQP_ATTACH_FRAME,
    TF_AMQP_FLOW_FRAME,
    TF_AMQP_TRANSFER_FRAME,
    TF_AMQP_DISPOSITION,
    TF_AMQP_DETACH,
    TF_AMQP_END,
    TF_AMQP_CLOSE,
    TF_AMQP_SASL_MECHANISMS = 0x40,
    TF_AMQP_SASL_INIT,
    TF_AMQP_SASL_CHALLENGE,
    TF_AMQP_SASL_RESPONSE,
    TF_AMQP_SASL_OUTCOME
};

/* 2.7.1 */
struct tf_amqp_open {
    struct tf_bytes container_id;
    struct tf_bytes hostname;
    uint32_t max_frame_size;   /* default 4294967295 */
    uint16_t channel_max;      /* default 65535 */
    uint32_t idle_time_out_ms; /* 0: none */
    struct tf_bytes outgoing_locales, incoming_locales;
    struct tf_bytes offered_capabilities, desired_capabilities; /* encoded: a symbol or an array */
    struct tf_bytes properties;                                 /* encoded: a map */
};

/* 2.7.2 */
struct tf_amqp_begin {
    bool has_remote_channel;
    uint16_t remote_channel;
    uint32_t next_outgoing_id, incoming_window, outgoing_window;
    uint32_t handle_max; /* default 4294967295 */
    struct tf_bytes offered_capabilities, desired_capabilities, properties;
};

/* 3.5.5 */
enum tf_amqp_durability {
    TF_AMQP_DURABLE_NONE,
    TF_AMQP_DURABLE_CONFIGURATION,
    TF_AMQP_DURABLE_UNSETTLED_STATE
};

/* 3.5.6 */
enum tf_amqp_expiry_policy {
    TF_AMQP_EXPIRY_SESSION_END, /* the default */
    TF_AMQP_EXPIRY_LINK_DETACH,
    TF_AMQP_EXPIRY_CONNECTION_CLOSE,
    TF_AMQP_EXPIRY_NEVER
};

/* 3.5.7 */
enum tf_amqp_distribution {
    TF_AMQP_DISTRIBUTION_NONE,
    TF_AMQP_DISTRIBUTION_MOVE,
    TF_AMQP_DISTRIBUTION_COPY
};

/* What a link comes from or goes to: source (3.5.3), target (3.5.4), or a coordinator (4.5.1). */
enum tf_amqp_terminus_type {
    TF_AMQP_TERMINUS_NONE,
    TF_AMQP_SOURCE = 0x28,
    TF_AMQP_TARGET = 0x29,
    TF_AMQP_COORDINATOR = 0x30
};

struct tf_amqp_terminus {
    enum tf_amqp_terminus_type type; /* NONE: null, there is no terminus */
    bool has_address;
    struct tf_bytes address; /* of an address-string; another type of address is an invalid field */
    enum tf_amqp_durability durable;
    enum tf_amqp_expiry_policy expiry_policy;
    uint32_t timeout_s;
    bool dynamic;
    struct tf_bytes dynamic_node_properties; /* encoded: a map */
    /* of a source alone */
    enum tf_amqp_distribution distribution;
    struct tf_bytes filter;          /* encoded: a map */
    struct tf_bytes default_outcome; /* encoded: a state */
    struct tf_bytes outcomes;        /* encoded: a symbol or an array */
    struct tf_bytes capabilities;    /* encoded: a symbol or an array */
};

/* 2.7.3 */
struct tf_amqp_attach {
    struct tf_bytes name;
    uint32_t handle;
    enum tf_amqp_role role;                       /* the sending peer's */
    enum tf_amqp_snd_settle_mode snd_settle_mode; /* default MIXED */
    enum tf_amqp_rcv_settle_mode rcv_settle_mode; /* default FIRST */
    struct tf_amqp_terminus source, target;
    struct tf_bytes unsettled; /* encoded: a map */
    bool incomplete_unsettled;
    bool has_initial_delivery_count;
    uint32_t initial_delivery_count;
    uint64_t max_message_size; /* 0: no limit */
    struct tf_bytes offered_capabilities, desired_capabilities, properties;
};

/* 2.7.4 */
struct tf_amqp_flow {
    bool has_next_incoming_id;
    uint32_t next_incoming_id, incoming_window, next_outgoing_id, outgoing_window;
    bool has_handle, has_delivery_count, has_link_credit, has_available;
    uint32_t handle, delivery_count, link_credit, available;
    bool drain, echo;
    struct tf_bytes properties;
};

/* 2.7.5; the payload follows it in the frame */
struct tf_amqp_transfer {
    uint32_t handle;
    bool has_delivery_id, has_delivery_tag, has_message_format, has_settled, has_rcv_settle_mode;
    uint32_t delivery_id;
    struct tf_bytes delivery_tag;
    uint32_t message_format;
    bool settled, more;
    enum tf_amqp_rcv_settle_mode rcv_settle_mode;
    struct tf_amqp_state state; /* NONE: the rest of it is not set */
    bool resume, aborted, batchable;
};

/* 2.7.6 */
struct tf_amqp_disposition {
    enum tf_amqp_role role;
    uint32_t first;
    bool has_last;
    uint32_t last;
    bool settled;
    struct tf_amqp_state state;
    bool batchable;
};

/* 2.7.7 */
struct tf_amqp_detach {
    uint32_t handle;
    bool closed;
    struct tf_amqp_error error;
};

/* 2.7.8, 2.7.9: end and close */
struct tf_amqp_ending {
    struct tf_amqp_error error;
};

/* 5.3.3.1 to 5.3.3.5 */
struct tf_amqp_sasl_mechanisms {
    struct tf_bytes mechanisms; /* encoded: a symbol or an array of symbols */
};
struct tf_amqp_sasl_init {
    struct tf_bytes mechanism;
    bool has_initial_response;
    struct tf_bytes initial_response;
    struct tf_bytes hostname;
};
struct tf_amqp_sasl_message { /* challenge and response */
    struct tf_bytes data;
};
enum tf_amqp_sasl_code {
    TF_AMQP_SASL_OK,
    TF_AMQP_SASL_AUTH,
    TF_AMQP_SASL_SYS,
    TF_AMQP_SASL_SYS_PERM,
    TF_AMQP_SASL_SYS_TEMP
};
struct tf_amqp_sasl_result {
    enum tf_amqp_sasl_code code;
    struct tf_bytes additional_data;
};

struct tf_amqp_performative {
    enum tf_amqp_performative_type type;
    union {
        struct tf_amqp_open open;
        struct tf_amqp_begin begin;
        struct tf_amqp_attach attach;
        struct tf_amqp_flow flow;
        struct tf_amqp_transfer transfer;
        struct tf_amqp_disposition disposition;
        struct tf_amqp_detach detach;
        struct tf_amqp_ending ending;
        struct tf_amqp_sasl_mechanisms mechanisms;
        struct tf_amqp_sasl_init init;
        struct tf_amqp_sasl_message message;
        struct tf_amqp_sasl_result result;
    };
};

/* ---- frames ---- */

enum tf_amqp_frame_type { TF_AMQP_FRAME = 0, TF_AMQP_FRAME_SASL = 1 };

/* 2.3: the fixed head and what is behind the extended header. */
struct tf_amqp_frame {
    uint32_t size; /* of all of it */
    uint8_t type;
    uint16_t channel;
    struct tf_bytes body; /* empty: a frame that only says "alive" (2.4.5) */
};

/*
 * Reads a frame off the front of `in`. TF_MORE: *ret_need bytes in all are wanted (8, or the
 * frame's size). TF_PROTOCOL: size under 8, data offset under 2 or past the frame. TF_LIMIT: larger
 * than `max_size`; known from the first four bytes, before the rest has come.
 */
TF_MUST_USE enum tf_err tf_amqp_frame_read(struct tf_bytes in, uint32_t max_size,
                                           struct tf_amqp_frame *ret, size_t *ret_need);

/*
 * Reads the performative of a frame's body; *ret_payload is what follows it (of a transfer; else
 * it must be empty). TF_PROTOCOL: *ret_condition tells what is wrong: DECODE_ERROR, INVALID_FIELD,
 * NOT_IMPLEMENTED or FRAMING_ERROR; *ret is in disorder (it is large: nothing is copied).
 */
TF_MUST_USE enum tf_err tf_amqp_performative_read(struct tf_bytes body, uint8_t frame_type,
                                                  struct tf_amqp_performative *ret,
                                                  struct tf_bytes *ret_payload,
                                                  enum tf_amqp_condition *ret_condition);

/*
 * Writes a whole frame but for its payload, whose length is counted in (`payload_length` bytes are
 * to follow). Shortest encodings; trailing absent fields are left out (1.4). `writer->failed`: it
 * did not fit, and nothing has been written.
 */
void tf_amqp_frame_write(struct tf_writer *writer, uint16_t channel,
                         const struct tf_amqp_performative *performative, size_t payload_length);

/* The head of a frame without a body: it says "alive" (2.4.5). */
void tf_amqp_frame_write_empty(struct tf_writer *writer);

/* A delivery state as an encoded value, and back (3.4). TF_PROTOCOL: not a state, or a bad one. */
void tf_amqp_state_write(struct tf_writer *writer, const struct tf_amqp_state *state);
TF_MUST_USE enum tf_err tf_amqp_state_read(struct tf_bytes value, struct tf_amqp_state *ret);

#endif
