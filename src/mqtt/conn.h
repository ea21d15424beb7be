/*
 * What both ends of an MQTT connection do alike: PUBLISH and its acknowledgements both ways, topic
 * aliases, flow control, resumption of a session, the end of a connection. The server's and the
 * client's machine each hold one of these and add what is theirs: the handshake, subscriptions,
 * keep-alive. It must not know which of the two it is in but by `rules`.
 *
 *        init            answer outstanding         session had deliveries under way
 *   NEW -------> ANSWERING -------------------> RESUMING ---------------------------> UP
 *    |               |    \________________________|__________ had none _____________/ |
 *    |               |                             |                                   |
 *    +---------------+------------ CLOSING <-------+-----------------------------------+
 *
 * A client goes from NEW to ANSWERING when it has sent CONNECT, a server when it has received it.
 */
#ifndef TF_MQTT_CONN_H
#define TF_MQTT_CONN_H

#include <trefoil/mqtt_client.h>

#include "base/output.h"
#include "base/util.h"
#include "mqtt/alias.h"
#include "mqtt/session.h"

/* A PUBACK or its like with a reason code; the room that any direct answer needs. */
#define TF_MQTT_ACK_MAX 5u

/* Unanswered PUBLISHes for which a connection has room without a part of its own. */
#define TF_MQTT_PENDING_INLINE 4u

/* The longest DISCONNECT or CONNACK that says why: 2 + 2 + 1 + 3 + text. */
#define TF_MQTT_GOODBYE_MAX 100u

enum tf_mqtt_conn_state {
    TF_MQTT_CONN_NEW,       /* next: ANSWERING, CLOSING */
    TF_MQTT_CONN_ANSWERING, /* CONNECT is to be answered. Next: RESUMING, UP, CLOSING */
    TF_MQTT_CONN_RESUMING,  /* old deliveries go out again, nothing new does. Next: UP, CLOSING */
    TF_MQTT_CONN_UP,        /* next: CLOSING */
    TF_MQTT_CONN_CLOSING    /* the end: output may be left */
};

/* What waits in the one event slot. One packet gives at most one event. */
enum tf_mqtt_slot_kind {
    TF_MQTT_SLOT_EMPTY,
    TF_MQTT_SLOT_PUBLISH,
    TF_MQTT_SLOT_BODY,
    TF_MQTT_SLOT_SETTLED,
    TF_MQTT_SLOT_RECEIVED,
    TF_MQTT_SLOT_RELEASED,
    TF_MQTT_SLOT_RESEND,
    TF_MQTT_SLOT_RETURNED,
    TF_MQTT_SLOT_NEEDS,
    TF_MQTT_SLOT_CONNECT,
    TF_MQTT_SLOT_CONNACK,
    TF_MQTT_SLOT_SUBSCRIBE,
    TF_MQTT_SLOT_SUBACK,
    TF_MQTT_SLOT_UNSUBSCRIBE,
    TF_MQTT_SLOT_DISCONNECT
};

struct tf_mqtt_slot {
    uint8_t kind; /* enum tf_mqtt_slot_kind */
    uint8_t reason;
    uint16_t packet_id;
    union {
        uint64_t handle;
        struct tf_mqtt_publish publish;
        struct tf_bytes body;
        struct tf_mqtt_frame frame;
        struct tf_mqtt_subscribe subscribe;
        struct tf_mqtt_unsubscribe unsubscribe;
        struct tf_mqtt_connack connack;
        struct tf_mqtt_suback suback;
        struct tf_mqtt_disconnect disconnect;
    };
};

/* A PUBLISH at QoS 1 or 2 that the peer has no answer to yet. */
struct tf_mqtt_unanswered {
    uint16_t packet_id;
    uint8_t type;   /* TF_MQTT_PUBACK or TF_MQTT_PUBREC */
    uint8_t reason; /* of the answer */
    bool answered;  /* by the caller */
    bool repeat;    /* of a QoS 2 id: answered when the first is */
    bool counted;   /* a refusal wins a place of the Receive Maximum back */
};

/* In the order of their arrival, a ring; answers go out in that order (4.6). */
struct tf_mqtt_pending {
    struct tf_mqtt_unanswered *entries; /* a part of its own; NULL: `few` */
    uint16_t head, count, capacity;
    struct tf_mqtt_unanswered few[TF_MQTT_PENDING_INLINE];
};

/* Limits and habits, from the config of client or server. */
struct tf_mqtt_conn_rules {
    uint32_t max_packet_size; /* inbound */
    uint32_t body_run;
    uint32_t reference_from;
    uint32_t alias_bytes;
    uint16_t receive_maximum;
    uint16_t alias_maximum;
    uint16_t max_topic_levels;
    uint8_t maximum_qos;
    uint8_t request_maximum; /* ids for SUBSCRIBE and UNSUBSCRIBE, of a client */
    bool retain_available;
    bool check_payload_format;
    bool is_server;
};

/* How the peer is told that the connection ends. */
enum tf_mqtt_goodbye { TF_MQTT_GOODBYE_NONE, TF_MQTT_GOODBYE_DISCONNECT, TF_MQTT_GOODBYE_CONNACK };

struct tf_mqtt_conn;

/*
 * The parts of a connection that a firmware may leave out (docs/adr, 7): tables of functions, so
 * that what is not named in a config is not linked. A server has them all; what is said to be a
 * client's is NULL in its tables. Code outside a part reaches into it through `conn->features`
 * only.
 */
struct tf_mqtt_receiving {
    void (*flush)(struct tf_mqtt_conn *conn);
    enum tf_err (*run)(struct tf_mqtt_conn *conn, struct tf_bytes in, size_t *ret_used,
                       size_t *ret_need);
    enum tf_err (*large)(struct tf_mqtt_conn *conn, struct tf_bytes in, size_t *ret_used,
                         size_t *ret_need);
    void (*cut)(struct tf_mqtt_conn *conn); /* the connection ends within a body */
    /*
     * A client's: checks its part of a config; sets the rules and limits that follow from it; takes
     * a packet; tells what is in the slot; tells what is not there, false: nothing.
     */
    bool (*valid)(const struct tf_mqtt_client_config *config);
    bool (*begin)(struct tf_mqtt_client *client); /* false: its session is not right */
    enum tf_err (*input)(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame);
    void (*tell)(const struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret);
    bool (*next)(struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret);
};
struct tf_mqtt_reliable {
    void (*start)(struct tf_mqtt_conn *conn); /* of a resumption, if there is one */
    void (*resume)(struct tf_mqtt_conn *conn);
    /* A client's. `absent` looks for what the server has lost; false: nothing, all is well. */
    bool (*valid)(const struct tf_mqtt_client_config *config);
    bool (*begin)(struct tf_mqtt_client *client); /* false: its session is not right */
    enum tf_err (*input)(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame);
    void (*tell)(const struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret);
    bool (*next)(struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret);
    bool (*absent)(struct tf_mqtt_client *client, bool session_present);
    bool (*lose)(struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret);
    enum tf_err (*release)(struct tf_mqtt_conn *conn, uint16_t packet_id);
    enum tf_err (*publish)(struct tf_mqtt_conn *conn, const struct tf_mqtt_delivery *delivery,
                           bool *ret_borrowed);
};
struct tf_mqtt_version_5 {
    void (*goodbye)(struct tf_mqtt_conn *conn); /* also a server's CONNACK of 3.1.1 */
    /* A client's. */
    enum tf_err (*connect)(struct tf_mqtt_client *client);
    enum tf_err (*connack)(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame,
                           uint8_t *ret_reason);
    void (*connected)(struct tf_mqtt_client *client);
    enum tf_err (*input)(struct tf_mqtt_client *client, const struct tf_mqtt_frame *frame);
    void (*tell)(const struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret);
    enum tf_err (*publish)(struct tf_mqtt_conn *conn, const struct tf_mqtt_delivery *delivery,
                           bool *ret_borrowed);
    bool (*authenticates)(struct tf_bytes properties);
};

struct tf_mqtt_conn {
    const struct tf_mqtt_features *features;
    struct tf_output output;
    struct tf_mqtt_session *session; /* NULL before RESUMING or UP */
    struct tf_mqtt_aliases *aliases;
    struct tf_mqtt_pending pending;
    tf_time heard;   /* when the peer was last known to be alive */
    const char *why; /* it is closed; NULL: the reason says all */
    struct tf_mqtt_slot slot;
    struct tf_mqtt_conn_rules rules;
    uint32_t peer_max_packet; /* UINT32_MAX: no limit */
    uint32_t alias_want;      /* bytes for topics that NEEDS shall ask for */
    uint32_t packets;         /* received since somebody took this count */
    uint32_t body_left;       /* of the PUBLISH that comes in runs */
    uint16_t send_limit;      /* outbound QoS 1 and 2 at once: the peer's Receive Maximum or less */
    uint16_t counted;         /* sent on this connection and not settled */
    uint32_t inbound;         /* received on this connection and not finally answered */
    uint16_t resend;          /* the id at which a resumption is; 0: it has ended */
    uint16_t body_id;         /* of the QoS 2 PUBLISH that is arriving in runs; 0: none */
    uint8_t state;            /* enum tf_mqtt_conn_state */
    uint8_t version;          /* 0: not known yet */
    uint8_t reason;           /* why it is closing */
    uint8_t where;            /* the packet type that was the cause; 0: none */
    uint8_t goodbye;          /* enum tf_mqtt_goodbye that is due */
    uint8_t needs;            /* bit `part` set: NEEDS is to be told */
    uint8_t utf8_left, utf8_low, utf8_high; /* of a character that a run of the body has cut */
    bool utf8_check;
    bool skip_body; /* the body in runs belongs to a repeated message */
    bool announced; /* the caller has been told of `resend` */
    bool blocked;   /* input was refused for want of room or of an answer: not the peer's fault */
    bool quiet;     /* no reason strings: the peer wants none */
};

/* --- conn.c: start, parts, output, end -----------------------------------------------------------
 */

/* Starts, but for `rules`, which the caller sets; the memory need not be zero. */
void tf_mqtt_conn_init(struct tf_mqtt_conn *conn, const struct tf_mqtt_features *features,
                       tf_time now);

/* The handshake has succeeded: from ANSWERING to RESUMING or UP. `session` NULL: neither receiving
 * nor reliable. */
void tf_mqtt_conn_start(struct tf_mqtt_conn *conn, struct tf_mqtt_session *session);

/* As the public functions of the same name. */
enum tf_err tf_mqtt_conn_lend(struct tf_mqtt_conn *conn, void *buffer, size_t length);
enum tf_err tf_mqtt_conn_give(struct tf_mqtt_conn *conn, enum tf_mqtt_part part, void *memory,
                              size_t length, void **ret_old);
void *tf_mqtt_conn_reclaim(struct tf_mqtt_conn *conn, enum tf_mqtt_part part);
void tf_mqtt_conn_sent(struct tf_mqtt_conn *conn, size_t length);
void tf_mqtt_conn_abandon(struct tf_mqtt_conn *conn);

/* Writes what is due and has found room. To be called whenever room or a reason may be new. */
void tf_mqtt_conn_pump(struct tf_mqtt_conn *conn);

/* Asks for a part by an event; always TF_AGAIN. */
enum tf_err tf_mqtt_conn_need(struct tf_mqtt_conn *conn, enum tf_mqtt_part part);

/* The exact bytes to ask for. */
size_t tf_mqtt_conn_need_size(const struct tf_mqtt_conn *conn, enum tf_mqtt_part part);

/*
 * Ends the connection because of `reason`; `why` (NULL: the reason's name) and the packet type
 * `where` (0: none) are for the reason string. No effect when it is closing already.
 */
void tf_mqtt_conn_close(struct tf_mqtt_conn *conn, enum tf_mqtt_goodbye goodbye, uint8_t reason,
                        unsigned where, const char *why);

/* The peer broke the protocol: closes as its version wants it; always TF_PROTOCOL. */
enum tf_err tf_mqtt_conn_violate(struct tf_mqtt_conn *conn, uint8_t reason, unsigned where,
                                 const char *why);

/*
 * What is to be told beside the slot: RETURNED (*ret_number is the owner), NEEDS (the part), RESEND
 * (the handle, and the id in *ret_id), RECEIVED likewise; EMPTY: nothing.
 */
enum tf_mqtt_slot_kind tf_mqtt_conn_next(struct tf_mqtt_conn *conn, uint64_t *ret_number,
                                         uint16_t *ret_id);

/* Checks the invariants. */
bool tf_mqtt_conn_check(const struct tf_mqtt_conn *conn);

/* --- conn_input.c: from bytes to a packet
 * --------------------------------------------------------- */

/*
 * Finds the next packet in `in`. TF_OK with *ret->length > 0: a packet for the caller's table.
 * TF_OK with *ret->length == 0: it was taken here (a run of a body, the start of a large PUBLISH)
 * and *ret_used is set. Else as tf_mqtt_server_input.
 */
enum tf_err tf_mqtt_conn_frame(struct tf_mqtt_conn *conn, struct tf_bytes in,
                               struct tf_mqtt_frame *ret, size_t *ret_used, size_t *ret_need);

/*
 * Take the next run of a body, and the start of a PUBLISH of which *ret_need bytes are wanted, if
 * it is large and may come in runs; else TF_MORE.
 */
enum tf_err tf_mqtt_conn_run(struct tf_mqtt_conn *conn, struct tf_bytes in, size_t *ret_used,
                             size_t *ret_need);
enum tf_err tf_mqtt_conn_large(struct tf_mqtt_conn *conn, struct tf_bytes in, size_t *ret_used,
                               size_t *ret_need);

/* --- conn_goodbye.c: the last packet
 * ----------------------------------------------------------------- */

/*
 * Writes the DISCONNECT or CONNACK that is due: of 5.0, or CONNACK of 3.1.1. With a reason string
 * if there is room and the peer takes it (MQTT 5.0 3.1.2.11.4, 3.1.2.11.7); not at all over its
 * Maximum Packet Size. There is room for the short form.
 */
void tf_mqtt_conn_goodbye(struct tf_mqtt_conn *conn);

/* The return code of CONNACK of 3.1.1 for a reason of 5.0; 0: there is none, close instead. */
uint8_t tf_mqtt_conn_return_code(uint8_t reason);

/* --- conn_receive.c: PUBLISH from the peer
 * --------------------------------------------------------- */

/*
 * Takes a PUBLISH, of which `left` bytes of the body are still to come. TF_OK: PUBLISH in the slot,
 * or nothing for a repeat. TF_AGAIN, TF_PROTOCOL: nothing taken.
 */
enum tf_err tf_mqtt_conn_publish(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame,
                                 uint32_t left);

/* Takes PUBREL: RELEASED in the slot, or PUBCOMP at once for an id that is not known. */
enum tf_err tf_mqtt_conn_pubrel(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame);

/* Looks at the next bytes of a body that must be UTF-8; false: they are not. */
bool tf_mqtt_conn_utf8(struct tf_mqtt_conn *conn, struct tf_bytes run);

/* Sends the answers that are due, as far as there is room. */
void tf_mqtt_conn_flush(struct tf_mqtt_conn *conn);

/* Half a message is none: the QoS 2 PUBLISH that is arriving in runs is forgotten. */
void tf_mqtt_conn_cut(struct tf_mqtt_conn *conn);

/* As the public functions of the same name. */
enum tf_err tf_mqtt_conn_published(struct tf_mqtt_conn *conn, uint16_t packet_id, uint8_t reason);
enum tf_err tf_mqtt_conn_complete(struct tf_mqtt_conn *conn, uint16_t packet_id);

/* --- conn_send.c: PUBLISH to the peer
 * --------------------------------------------------------------- */

/* Take PUBACK, PUBREC, PUBCOMP: SETTLED or RECEIVED in the slot, or nothing. */
enum tf_err tf_mqtt_conn_puback(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame);
enum tf_err tf_mqtt_conn_pubrec(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame);
enum tf_err tf_mqtt_conn_pubcomp(struct tf_mqtt_conn *conn, const struct tf_mqtt_frame *frame);

/* The session is there: from ANSWERING to RESUMING if it has deliveries under way. */
void tf_mqtt_conn_restart(struct tf_mqtt_conn *conn);

/* Goes on with a resumption as far as it can without the caller. */
void tf_mqtt_conn_resume(struct tf_mqtt_conn *conn);

/* As the public functions of the same name. */
enum tf_err tf_mqtt_conn_deliver(struct tf_mqtt_conn *conn, const struct tf_mqtt_delivery *delivery,
                                 bool *ret_borrowed);
enum tf_err tf_mqtt_conn_release(struct tf_mqtt_conn *conn, uint16_t packet_id);

/* Delivers at QoS 0, the body copied, to a peer of 5.0 and of 3.1.1. Errors as above. */
enum tf_err tf_mqtt_conn_deliver_5(struct tf_mqtt_conn *conn,
                                   const struct tf_mqtt_delivery *delivery, bool *ret_borrowed);
enum tf_err tf_mqtt_conn_deliver_plain(struct tf_mqtt_conn *conn,
                                       const struct tf_mqtt_delivery *delivery, bool *ret_borrowed);

uint16_t tf_mqtt_conn_credit(const struct tf_mqtt_conn *conn);

/* --- for all of them
 * ------------------------------------------------------------------------------- */

/* True between the handshake and the end. */
static inline bool tf_mqtt_conn_open(const struct tf_mqtt_conn *conn)
{
    return conn->state == TF_MQTT_CONN_UP || conn->state == TF_MQTT_CONN_RESUMING;
}

/* Writes PUBACK, PUBREC, PUBREL or PUBCOMP, for which TF_MQTT_ACK_MAX bytes of room must be. */
void tf_mqtt_conn_ack(struct tf_mqtt_conn *conn, enum tf_mqtt_type type, uint16_t packet_id,
                      uint8_t reason);

#endif
