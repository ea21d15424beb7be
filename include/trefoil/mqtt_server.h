/*
 * The server's side of one MQTT connection, 3.1.1 and 5.0: bytes in, events out, answers in, bytes
 * out. No I/O, no clock, no allocation.
 *
 * Call protocol, in a loop:
 *  1. tf_mqtt_server_lend a buffer for output when there is none.
 *  2. tf_mqtt_server_input with the bytes that have arrived: it takes at most one packet.
 *  3. tf_mqtt_server_event until it gives none; answer each as its description says, at once or
 *     later.
 *  4. tf_mqtt_server_output, write the spans, tf_mqtt_server_sent; when nothing is left the buffer
 *     may be taken back.
 *  5. tf_mqtt_server_tick when tf_mqtt_server_deadline has come.
 *  6. When tf_mqtt_server_closing is true: write what output is left, then close.
 *
 * After CONNECT the machine stands still until tf_mqtt_server_accept or _refuse. All violations of
 * the standard are answered by the machine itself: CONNACK or DISCONNECT with the code (5.0), a
 * bare close for 3.1.1 (4.13), then `closing`.
 */
#ifndef TREFOIL_MQTT_SERVER_H
#define TREFOIL_MQTT_SERVER_H

#include <trefoil/mqtt_delivery.h>
#include <trefoil/mqtt_packet.h>
#include <trefoil/mqtt_session.h>

struct tf_mqtt_server;

/* Read during init and while the machine lives; may be shared by many connections. */
struct tf_mqtt_server_config {
    uint32_t max_packet_size;     /* inbound, bytes in all; announced to 5.0 clients */
    uint32_t max_connect_size;    /* of what comes before CONNECT is complete */
    uint32_t body_run;            /* PUBLISH above this comes in runs (BODY events); 0: never */
    uint32_t reference_from;      /* bodies from this size go out by reference; 0: never */
    uint32_t connect_timeout_ms;  /* from init to a whole CONNECT */
    uint16_t receive_maximum;     /* inbound QoS 1 and 2 at once, 1 to 65,535 */
    uint32_t topic_alias_bytes;   /* of all alias topics together; 0x97 beyond */
    uint16_t topic_alias_maximum; /* inbound; 0: none */
    uint16_t max_in_flight;       /* outbound QoS 1 and 2 at once, at most the client's own */
    uint16_t max_topic_levels;    /* 0x90 for a topic with more; 0: no limit */
    uint16_t max_keep_alive_s;    /* 0: no limit; else a 5.0 client is told (3.2.2.3.14) */
    uint8_t maximum_qos;          /* 0 to 2 (3.2.2.3.4) */
    bool retain_available;        /* 3.2.2.3.5 */
    bool shared_available;        /* 3.2.2.3.13 */
    bool check_payload_format;    /* payload format 1 must be UTF-8: 0x99 (3.3.2.3.2) */
};

enum tf_mqtt_server_event_type {
    /*
     * Views of `connect` borrow the input like all others; no input is taken before the answer:
     * tf_mqtt_server_accept or _refuse. `session_expiry_s` as asked for (3.1.1: 0 or for ever).
     */
    TF_MQTT_SERVER_CONNECT = 1,
    /*
     * A message. `publish.topic` is the alias's topic where one was used. `payload_left` bytes of
     * the body follow as BODY events. At QoS 1 and 2 answer when it has been accepted or refused:
     * tf_mqtt_server_published (after the last BODY). A repeated QoS 2 id gives no event.
     */
    TF_MQTT_SERVER_PUBLISH,
    /*
     * The next run of the body of the last PUBLISH: `body`, and `payload_left` after it. If the
     * connection ends before the last one, the message is void: the machine has forgotten it.
     */
    TF_MQTT_SERVER_BODY,
    /* Answer: tf_mqtt_server_subscribed with a code for each filter, in order. */
    TF_MQTT_SERVER_SUBSCRIBE,
    /* Answer: tf_mqtt_server_unsubscribed with a code for each filter, in order. */
    TF_MQTT_SERVER_UNSUBSCRIBE,
    /* The delivery `handle` has ended: PUBACK, PUBCOMP, or a PUBREC with a failure. `reason`. */
    TF_MQTT_SERVER_SETTLED,
    /*
     * PUBREC for `handle`, sent as `packet_id`. Answer: tf_mqtt_server_release, once that is
     * remembered as it must be. Comes again after a resumption if it was not answered before.
     */
    TF_MQTT_SERVER_RECEIVED,
    /* PUBREL for inbound `packet_id`. Answer: tf_mqtt_server_complete. */
    TF_MQTT_SERVER_RELEASED,
    /* After a resumption: deliver `handle` again (tf_mqtt_server_deliver); older ones first. */
    TF_MQTT_SERVER_RESEND,
    /* `owner`'s body, taken by reference in a delivery, is no longer needed. */
    TF_MQTT_SERVER_RETURNED,
    /*
     * `size` bytes for `part` are needed before input (TF_MQTT_PART_SENT: deliveries) goes on.
     * Answer: tf_mqtt_server_give, or tf_mqtt_server_close if there is no memory to be had.
     */
    TF_MQTT_SERVER_NEEDS,
    /* The client said goodbye: `reason` (0x04: with its will), `session_expiry_s` now in force. */
    TF_MQTT_SERVER_DISCONNECT
};

struct tf_mqtt_server_event {
    enum tf_mqtt_server_event_type type;
    enum tf_mqtt_part part;
    uint8_t reason;
    uint16_t packet_id;
    uint32_t session_expiry_s;
    uint64_t handle;
    uint64_t owner;
    size_t size;
    size_t payload_left;
    struct tf_bytes body;
    union {
        struct tf_mqtt_connect connect;
        struct tf_mqtt_publish publish;
        struct tf_mqtt_subscribe subscribe;
        struct tf_mqtt_unsubscribe unsubscribe;
    };
};

/* The answer to CONNECT. */
struct tf_mqtt_server_accept {
    /* Must outlive the closing, and all later calls of published, give and reclaim. */
    struct tf_mqtt_session *session;
    bool session_present;               /* false also empties nothing: give a fresh session */
    struct tf_bytes assigned_client_id; /* empty: none assigned */
    uint32_t session_expiry_s;          /* in force; told to a 5.0 client if it differs */
};

/* The exact bytes that a connection's first part takes, aligned as malloc; 0: invalid config. */
size_t tf_mqtt_server_size(const struct tf_mqtt_server_config *config);

/*
 * Makes a machine in `memory`. TF_MISUSE: the config is invalid. TF_NO_MEMORY: `length` is less
 * than tf_mqtt_server_size. Nothing needs to be released but what was lent and owners not yet
 * RETURNED.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_init(struct tf_mqtt_server **ret, void *memory,
                                            size_t length,
                                            const struct tf_mqtt_server_config *config,
                                            tf_time now);

/*
 * Lends a buffer for output, at least 128 bytes; headers, small packets and copied bodies go into
 * it from the front, references to large bodies from the back. TF_MISUSE: there is one already.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_lend(struct tf_mqtt_server *server, void *buffer,
                                            size_t length);

/* Takes the buffer back if nothing in it is unsent and no RETURNED waits; NULL otherwise. */
void *tf_mqtt_server_take(struct tf_mqtt_server *server);

/*
 * Gives memory for a part that a NEEDS event asked for, `length` at least its `size`, aligned as
 * malloc aligns; contents of what it replaces move over. *ret_old is the memory to take back, NULL
 * if there was none. The session's two tables go to the session and live as long as it, the others
 * until tf_mqtt_server_reclaim. TF_MISUSE: too little, or no such part here.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_give(struct tf_mqtt_server *server, enum tf_mqtt_part part,
                                            void *memory, size_t length, void **ret_old);

/*
 * Takes a part back if nothing in it is needed; NULL otherwise, and when there is none. Aliases are
 * needed until the connection is closing. To be called for PENDING and ALIASES when it has ended.
 */
void *tf_mqtt_server_reclaim(struct tf_mqtt_server *server, enum tf_mqtt_part part);

/*
 * Takes at most one packet, or one run of a large body, from `in`; *ret_used tells how much.
 * TF_OK: an event may be waiting; call again with the rest.
 * TF_MORE: *ret_need bytes in all are wanted before it can go on; 0 used.
 * TF_AGAIN: 0 used: pull and answer the events, or lend or drain output, then call again.
 * TF_PROTOCOL, TF_CLOSED: no more input will be taken; write the output, then close.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_input(struct tf_mqtt_server *server, struct tf_bytes in,
                                             size_t *ret_used, size_t *ret_need, tf_time now);

/* The next event; false if there is none. Its views borrow `in` until the next input. */
bool tf_mqtt_server_event(struct tf_mqtt_server *server, struct tf_mqtt_server_event *ret);

/*
 * Answers CONNECT with success: CONNACK, and from now on deliveries. With a session that has
 * deliveries under way RESEND events follow and PUBRELs go out again (4.4).
 * TF_MISUSE: no CONNECT is waiting for an answer. TF_AGAIN: no room for CONNACK; TF_NO_MEMORY: not
 * even in the whole buffer, lend a larger one. TF_CLOSED: CONNACK is over the client's Maximum
 * Packet Size, so the connection is closing.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_accept(struct tf_mqtt_server *server,
                                              const struct tf_mqtt_server_accept *accept,
                                              tf_time now);

/*
 * Answers CONNECT with a failure (`reason` from 0x80 up; for 3.1.1 translated, or nothing where
 * it has no such code: 3.1.1 3.2.2.3), then closing. TF_MISUSE: no CONNECT is waiting.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_refuse(struct tf_mqtt_server *server, uint8_t reason);

/*
 * Answers a PUBLISH at QoS 1 or 2. PUBACKs and PUBRECs go out in the order of the PUBLISHes (4.6),
 * whatever the order of these calls. `reason`: 0, 0x10, or a failure: for 3.1.1, which has none,
 * a failure sends nothing and closes. Never lacks room: what does not fit goes out later.
 * Serves also for a QoS 2 PUBLISH that came by the session's earlier connection; without a
 * connection it is tf_mqtt_session_published. TF_NOT_FOUND: no such PUBLISH is waiting.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_published(struct tf_mqtt_server *server, uint16_t packet_id,
                                                 uint8_t reason);

/*
 * Answers SUBSCRIBE; `reasons` is one code a filter, for 3.1.1 failures become 0x80. Answered
 * before the next input there is always room. TF_AGAIN: no room now; TF_NO_MEMORY: not even in the
 * whole buffer, lend a larger one. TF_MISUSE: none waits. TF_CLOSED: closing.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_subscribed(struct tf_mqtt_server *server, uint16_t packet_id,
                                                  struct tf_bytes reasons);

/* Answers UNSUBSCRIBE; `reasons` is one code a filter (left out for 3.1.1). Errors as above. */
TF_MUST_USE enum tf_err tf_mqtt_server_unsubscribed(struct tf_mqtt_server *server,
                                                    uint16_t packet_id, struct tf_bytes reasons);

/*
 * Sends a message. At QoS 0 it is done with this call.
 * *ret_borrowed (may be NULL when owner is 0): the body is referred to until RETURNED for `owner`.
 * TF_AGAIN: no output room, or no credit (QoS 1 and 2), or resends come first, or a NEEDS event
 *   waits: keep it, try again when output was sent, a delivery settled, an event was answered.
 * TF_NO_MEMORY: not even the whole buffer has room for it: take it back and lend a larger one.
 * TF_MISUSE: no topic, over 65,535 bytes, QoS 3, or a resend at another QoS than at first.
 * TF_LIMIT: over the client's Maximum Packet Size: treat it as delivered (3.1.2.11.4).
 * TF_CLOSED: not connected, or closing.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_deliver(struct tf_mqtt_server *server,
                                               const struct tf_mqtt_delivery *delivery,
                                               bool *ret_borrowed);

/*
 * Answers RECEIVED: PUBREL goes out. Answered before the next input there is always room.
 * TF_NOT_FOUND: `packet_id` is not in that state. TF_AGAIN: no room now, or resends come first.
 */
TF_MUST_USE enum tf_err tf_mqtt_server_release(struct tf_mqtt_server *server, uint16_t packet_id);

/* Answers RELEASED: PUBCOMP goes out. TF_NOT_FOUND: no such id waits. TF_AGAIN: as above. */
TF_MUST_USE enum tf_err tf_mqtt_server_complete(struct tf_mqtt_server *server, uint16_t packet_id);

/*
 * Tells that the peer cannot be blamed for its silence up to `now`, because the caller had stopped
 * reading. Input that returns TF_AGAIN does the same.
 */
void tf_mqtt_server_alive(struct tf_mqtt_server *server, tf_time now);

/* How many more deliveries at QoS 1 or 2 would be taken now, output room aside. */
uint16_t tf_mqtt_server_credit(const struct tf_mqtt_server *server);

/*
 * Ends the connection: DISCONNECT with `reason` for 5.0 (CONNACK, if CONNECT is not answered yet)
 * as soon as there is room, so lend a buffer if there is none; then closing.
 */
void tf_mqtt_server_close(struct tf_mqtt_server *server, uint8_t reason);

/* True once the connection is to be closed after its output; *ret_reason (may be NULL) is why. */
bool tf_mqtt_server_closing(const struct tf_mqtt_server *server, uint8_t *ret_reason);

/* Up to `count` spans of what is to be written, in order; 0: nothing. They stay until `sent`. */
size_t tf_mqtt_server_output(const struct tf_mqtt_server *server, struct tf_bytes *ret_spans,
                             size_t count);

/* `length` bytes of the output have been written; any part of it will do. */
void tf_mqtt_server_sent(struct tf_mqtt_server *server, size_t length, tf_time now);

/*
 * Gives up what output is unsent, when the connection is lost: RETURNED events follow for bodies
 * that were taken by reference. The buffer may be taken back after it.
 */
void tf_mqtt_server_abandon(struct tf_mqtt_server *server);

/* When tf_mqtt_server_tick wants to be called; TF_TIME_NEVER: none. */
tf_time tf_mqtt_server_deadline(const struct tf_mqtt_server *server);

/* Time has passed: ends a connection without CONNECT or past 1.5 keep-alives (3.1.2.10). */
void tf_mqtt_server_tick(struct tf_mqtt_server *server, tf_time now);

/*
 * Control packets that were taken (a large PUBLISH when it begins) and that were put into the
 * output since the last call, for whoever keeps statistics.
 */
void tf_mqtt_server_take_counts(struct tf_mqtt_server *server, uint32_t *ret_received,
                                uint32_t *ret_sent);

/* The connection's version, 0 before CONNECT. */
unsigned tf_mqtt_server_version(const struct tf_mqtt_server *server);

/* Checks the invariants; false names a bug in the library. For tests, fuzzers, the simulator. */
bool tf_mqtt_server_check(const struct tf_mqtt_server *server);

#endif
