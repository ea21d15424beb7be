/*
 * The client's side of one MQTT connection, 3.1.1 and 5.0: bytes in, events out, requests in, bytes
 * out. No I/O, no clock, no allocation: a microcontroller gives all memory as static arrays.
 *
 * Call protocol, when the transport is connected:
 *  1. tf_mqtt_client_init, then tf_mqtt_client_lend: CONNECT lies in the buffer.
 *  2. tf_mqtt_client_output, write the spans, tf_mqtt_client_sent. Whenever there is output.
 *  3. tf_mqtt_client_input with the bytes that have arrived: it takes at most one packet.
 *  4. tf_mqtt_client_event until it gives none; answer each as its description says.
 *  5. From CONNECTED on tf_mqtt_client_publish, _subscribe, _unsubscribe at will.
 *  6. tf_mqtt_client_tick when tf_mqtt_client_deadline has come: it also sends PINGREQ.
 *  7. When tf_mqtt_client_closing is true: write what output is left, then close. A transport that
 *     is lost: tf_mqtt_client_abandon.
 * A session outlives the connection: the next init with the same one resumes it (MQTT 5.0 4.1).
 *
 * What the server sends against the standard is answered by the machine: DISCONNECT with the code
 * (5.0), a bare close for 3.1.1, then `closing`.
 */
#ifndef TREFOIL_MQTT_CLIENT_H
#define TREFOIL_MQTT_CLIENT_H

#include <trefoil/mqtt_delivery.h>
#include <trefoil/mqtt_packet.h>
#include <trefoil/mqtt_session.h>

struct tf_mqtt_client;

/*
 * What a client can do beyond publishing at QoS 0 by MQTT 3.1.1. A part that a config leaves NULL
 * is not linked. What the server sends for such a part is a violation; what the caller asks of it,
 * TF_UNSUPPORTED.
 */
struct tf_mqtt_receiving;
struct tf_mqtt_reliable;
struct tf_mqtt_version_5;

/* SUBSCRIBE, UNSUBSCRIBE, PUBLISH from the server and its acknowledgements, topic aliases. */
extern const struct tf_mqtt_receiving tf_mqtt_client_receiving;
/* Publishing at QoS 1 and 2 and by reference; sessions that outlive a connection. */
extern const struct tf_mqtt_reliable tf_mqtt_client_reliable;
/* MQTT 5.0: properties, reason codes, DISCONNECT from the server. */
extern const struct tf_mqtt_version_5 tf_mqtt_client_version_5;

struct tf_mqtt_features {
    const struct tf_mqtt_receiving *receiving;
    const struct tf_mqtt_reliable *reliable;
    const struct tf_mqtt_version_5 *version_5;
};

/* All of it, for an initializer: `.features = TF_MQTT_CLIENT_ALL`. */
#define TF_MQTT_CLIENT_ALL                                                             \
    {                                                                                  \
        &tf_mqtt_client_receiving, &tf_mqtt_client_reliable, &tf_mqtt_client_version_5 \
    }

/*
 * Bounds of each part, for static arrays (aligned as uint64_t); the size functions and NEEDS events
 * never ask for more. `ids`: 1 to 32,768, `count` of aliases, `bytes` of their topics.
 */
#define TF_MQTT_CLIENT_SIZE (sizeof(void *) > 4 ? 352u : 272u)
#define TF_MQTT_SENT_SIZE(ids) (16u * (ids))
#define TF_MQTT_RECEIVED_SIZE(ids) (16u * (ids))
#define TF_MQTT_PENDING_SIZE(messages) (8u * ((messages) + 4u))
#define TF_MQTT_ALIASES_SIZE(count, bytes) (16u + 8u * (count) + (bytes))

/* SUBSCRIBE and UNSUBSCRIBE that may be unanswered at once. */
#define TF_MQTT_CLIENT_REQUESTS 8u

/* Read during init and while the machine lives; the views in `connect` too. */
struct tf_mqtt_client_config {
    struct tf_mqtt_features features;
    /*
     * What CONNECT says. `version` is TF_MQTT_3_1_1 or TF_MQTT_5. `properties` are those of 5.0 but
     * Receive Maximum, Maximum Packet Size and Topic Alias Maximum, which follow from what is
     * below. Without the feature `reliable` it is to be a clean start.
     */
    struct tf_mqtt_connect connect;
    /* Must outlive the machine; empty for a clean start; NULL: neither receiving nor reliable. */
    struct tf_mqtt_session *session;
    uint32_t max_packet_size;     /* inbound, bytes in all */
    uint32_t body_run;            /* PUBLISH above this comes in runs (BODY events); 0: never */
    uint32_t reference_from;      /* bodies from this size go out by reference; 0: never */
    uint32_t topic_alias_bytes;   /* of all inbound alias topics together */
    uint32_t connack_timeout_ms;  /* from init to CONNACK; 0: no limit */
    uint32_t ping_timeout_ms;     /* from PINGREQ to PINGRESP; 0: no limit */
    uint16_t receive_maximum;     /* receiving: QoS 1 and 2 at once, 1 to 65,535 */
    uint16_t topic_alias_maximum; /* inbound; 0: none */
    uint16_t max_in_flight;       /* reliable: QoS 1 and 2 at once, at most the server's own */
    bool check_payload_format;    /* payload format 1 must be UTF-8 (3.3.2.3.2) */
    bool stored;                  /* the session is stored: see RECEIVED and RELEASED */
};

enum tf_mqtt_client_event_type {
    /* The server said yes. `connack`, `session_present`, `assigned_client_id` (empty: none). */
    TF_MQTT_CLIENT_CONNECTED = 1,
    /* The server said no: `reason` (for 3.1.1 the code of 5.0 that means the same), `connack`. */
    TF_MQTT_CLIENT_REFUSED,
    /*
     * A message. `publish.topic` is the alias's topic where one was used. `payload_left` bytes of
     * the body follow as BODY events. At QoS 1 and 2 answer, now or later: tf_mqtt_client_ack.
     */
    TF_MQTT_CLIENT_PUBLISH,
    /* The next run of the body of the last PUBLISH: `body`, and `payload_left` after it. */
    TF_MQTT_CLIENT_BODY,
    /* The answer to SUBSCRIBE `handle`: `reasons`, one code a filter in order. */
    TF_MQTT_CLIENT_SUBSCRIBED,
    /* The answer to UNSUBSCRIBE `handle`: `reasons`, one code a filter; none for 3.1.1. */
    TF_MQTT_CLIENT_UNSUBSCRIBED,
    /* The delivery `handle` has ended: PUBACK, PUBCOMP, or a PUBREC with a failure. `reason`. */
    TF_MQTT_CLIENT_SETTLED,
    /* Only if `stored`: PUBREC for `handle`, sent as `packet_id`. Answer: tf_mqtt_client_release.
     */
    TF_MQTT_CLIENT_RECEIVED,
    /* Only if `stored`: PUBREL for `packet_id`. Answer: tf_mqtt_client_complete. */
    TF_MQTT_CLIENT_RELEASED,
    /* After a resumption: publish `handle` again (tf_mqtt_client_publish); older ones first. */
    TF_MQTT_CLIENT_RESEND,
    /* The server knows nothing of `handle` any more: a publish, or a request it never answered. */
    TF_MQTT_CLIENT_LOST,
    /* `owner`'s body, taken by reference in a publish, is no longer needed. */
    TF_MQTT_CLIENT_RETURNED,
    /*
     * `size` bytes for `part` are needed before input (TF_MQTT_PART_SENT: publishing) goes on.
     * Answer: tf_mqtt_client_give. May be ignored for SENT and PENDING, which then wait until an
     * acknowledgement makes room; for the others close if there is no memory.
     */
    TF_MQTT_CLIENT_NEEDS,
    /* The server said goodbye (5.0): `reason`, `properties`. */
    TF_MQTT_CLIENT_DISCONNECT
};

struct tf_mqtt_client_event {
    enum tf_mqtt_client_event_type type;
    enum tf_mqtt_part part;
    uint8_t reason;
    bool session_present;
    uint16_t packet_id;
    uint64_t handle;
    uint64_t owner;
    size_t size;
    size_t payload_left;
    struct tf_bytes body;
    struct tf_bytes reasons;
    struct tf_bytes properties;
    struct tf_bytes assigned_client_id;
    union {
        struct tf_mqtt_connack connack;
        struct tf_mqtt_publish publish;
    };
};

/* The exact bytes that a connection's first part takes, aligned as uint64_t; 0: invalid config. */
size_t tf_mqtt_client_size(const struct tf_mqtt_client_config *config);

/*
 * Makes a machine in `memory`. TF_MISUSE: the config is invalid or wants a part that it leaves out,
 * or a clean start has a session with something in it. TF_UNSUPPORTED: an Authentication Method is
 * among the properties. TF_NO_MEMORY: `length` is less than tf_mqtt_client_size. Nothing needs to
 * be released but what was lent and given.
 */
TF_MUST_USE enum tf_err tf_mqtt_client_init(struct tf_mqtt_client **ret, void *memory,
                                            size_t length,
                                            const struct tf_mqtt_client_config *config,
                                            tf_time now);

/*
 * Lends a buffer for output, at least 128 bytes; the first time CONNECT is written to it.
 * TF_MISUSE: there is one already, or it is too short. TF_NO_MEMORY: CONNECT does not fit: lend a
 * larger one.
 */
TF_MUST_USE enum tf_err tf_mqtt_client_lend(struct tf_mqtt_client *client, void *buffer,
                                            size_t length);

/* Takes the buffer back if nothing in it is unsent and no RETURNED waits; NULL otherwise. */
void *tf_mqtt_client_take(struct tf_mqtt_client *client);

/*
 * Gives memory for a part, `length` at least the `size` of its NEEDS event, aligned as uint64_t;
 * may also be done before it is asked for. *ret_old is the memory to take back, NULL if there was
 * none. The session's two tables go to the session, the others live until tf_mqtt_client_reclaim.
 * TF_MISUSE: too little.
 */
TF_MUST_USE enum tf_err tf_mqtt_client_give(struct tf_mqtt_client *client, enum tf_mqtt_part part,
                                            void *memory, size_t length, void **ret_old);

/*
 * Takes a part back if nothing in it is needed; NULL otherwise, and when there is none. Aliases are
 * needed until the connection is closing.
 */
void *tf_mqtt_client_reclaim(struct tf_mqtt_client *client, enum tf_mqtt_part part);

/*
 * Takes at most one packet, or one run of a large body, from `in`; *ret_used tells how much.
 * TF_OK: an event may be waiting; call again with the rest.
 * TF_MORE: *ret_need bytes in all are wanted before it can go on; 0 used.
 * TF_AGAIN: 0 used: pull and answer the events, or lend or drain output, then call again.
 * TF_PROTOCOL, TF_CLOSED: no more input will be taken; write the output, then close.
 */
TF_MUST_USE enum tf_err tf_mqtt_client_input(struct tf_mqtt_client *client, struct tf_bytes in,
                                             size_t *ret_used, size_t *ret_need, tf_time now);

/* The next event; false if there is none. Its views borrow `in` until the next input. */
bool tf_mqtt_client_event(struct tf_mqtt_client *client, struct tf_mqtt_client_event *ret);

/*
 * Sends a message; without subscription identifiers. At QoS 0 it is done with this call, else with
 * SETTLED. *ret_borrowed (may be NULL when owner is 0): the body is referred to until RETURNED.
 * TF_AGAIN: not connected yet, no output room, no credit (QoS 1 and 2), or events wait (RESEND,
 *   LOST, NEEDS): keep it, try again when output was sent, a delivery settled, an event was pulled.
 * TF_LIMIT: over the server's Maximum Packet Size: it cannot be sent on this connection (as RESEND,
 *   it is forgotten).
 * TF_UNSUPPORTED: QoS or retain that the server does not offer (3.2.2.3.4, 3.2.2.3.5), or a QoS
 *   above 0 without the feature `reliable`.
 * TF_NO_MEMORY: not even the whole buffer has room for it: take it back and lend a larger one.
 * TF_MISUSE: no topic, over 65,535 bytes, QoS 3, or a resend at another QoS than at first.
 * TF_CLOSED: closing.
 */
TF_MUST_USE enum tf_err tf_mqtt_client_publish(struct tf_mqtt_client *client,
                                               const struct tf_mqtt_delivery *delivery,
                                               bool *ret_borrowed);

/*
 * Subscribes to 1 to 255 filters; SUBSCRIBED for `handle` brings the answer. `properties` for 5.0.
 * TF_AGAIN: not connected yet, no room, TF_MQTT_CLIENT_REQUESTS are unanswered, or events wait.
 * TF_UNSUPPORTED: wildcards, shared subscriptions or identifiers that the server does not offer, or
 *   the feature `receiving` is left out.
 * TF_MISUSE: no filter or too many, an invalid filter. TF_LIMIT, TF_NO_MEMORY, TF_CLOSED: as above.
 */
TF_MUST_USE enum tf_err tf_mqtt_client_subscribe(struct tf_mqtt_client *client, uint64_t handle,
                                                 const struct tf_mqtt_subscription *subscriptions,
                                                 size_t count, struct tf_bytes properties);

/* Unsubscribes from 1 to 255 filters; UNSUBSCRIBED for `handle`. Errors as above. */
TF_MUST_USE enum tf_err tf_mqtt_client_unsubscribe(struct tf_mqtt_client *client, uint64_t handle,
                                                   const struct tf_bytes *filters, size_t count,
                                                   struct tf_bytes properties);

/*
 * Acknowledges a PUBLISH at QoS 1 or 2 (after its last BODY). PUBACKs and PUBRECs go out in the
 * order of the PUBLISHes (4.6), whatever the order of these calls; what does not fit goes out
 * later. `reason`: 0 or a failure, for which 3.1.1 has no word but to close. Serves also for a QoS
 * 2 PUBLISH of the session's earlier connection. TF_NOT_FOUND: no such PUBLISH is waiting.
 */
TF_MUST_USE enum tf_err tf_mqtt_client_ack(struct tf_mqtt_client *client, uint16_t packet_id,
                                           uint8_t reason);

/*
 * Answers RECEIVED: PUBREL goes out. Answered before the next input there is always room.
 * TF_NOT_FOUND: `packet_id` is not in that state. TF_AGAIN: no room now, or resends come first.
 */
TF_MUST_USE enum tf_err tf_mqtt_client_release(struct tf_mqtt_client *client, uint16_t packet_id);

/* Answers RELEASED: PUBCOMP goes out. Errors as above. */
TF_MUST_USE enum tf_err tf_mqtt_client_complete(struct tf_mqtt_client *client, uint16_t packet_id);

/* How many more publishes at QoS 1 or 2 would be taken now, output room aside. */
uint16_t tf_mqtt_client_credit(const struct tf_mqtt_client *client);

/*
 * Ends the connection: DISCONNECT with `reason` (0, or 0x04 for its will to be sent, or a failure;
 * 3.1.1: only for 0, else a bare close), as soon as there is room; then closing.
 */
void tf_mqtt_client_disconnect(struct tf_mqtt_client *client, uint8_t reason);

/* True once the connection is to be closed after its output; *ret_reason (may be NULL) is why. */
bool tf_mqtt_client_closing(const struct tf_mqtt_client *client, uint8_t *ret_reason);

/* Up to `count` spans of what is to be written, in order; 0: nothing. They stay until `sent`. */
size_t tf_mqtt_client_output(const struct tf_mqtt_client *client, struct tf_bytes *ret_spans,
                             size_t count);

/* `length` bytes of the output have been written; any part of it will do. */
void tf_mqtt_client_sent(struct tf_mqtt_client *client, size_t length, tf_time now);

/*
 * The transport is lost: gives up what output is unsent and closes. RETURNED events follow for
 * bodies that were taken by reference; then the buffer may be taken back.
 */
void tf_mqtt_client_abandon(struct tf_mqtt_client *client);

/* When tf_mqtt_client_tick wants to be called; TF_TIME_NEVER: none. */
tf_time tf_mqtt_client_deadline(const struct tf_mqtt_client *client);

/*
 * Time has passed: sends PINGREQ when the keep-alive is over (3.1.2.10), ends a connection whose
 * CONNACK or PINGRESP does not come.
 */
void tf_mqtt_client_tick(struct tf_mqtt_client *client, tf_time now);

/* The keep-alive in force in seconds, the server's if it has one of its own; 0: none. */
uint16_t tf_mqtt_client_keep_alive(const struct tf_mqtt_client *client);

/* Checks the invariants; false names a bug in the library. For tests, fuzzers, the simulator. */
bool tf_mqtt_client_check(const struct tf_mqtt_client *client);

#endif
