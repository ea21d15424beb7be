/*
 * What an MQTT session remembers of deliveries under way, longer than its connection lasts
 * (MQTT 5.0 4.1): the packet ids that this side sent, and the QoS 2 ids that it received.
 *
 * Client and server keep the same. A session is one small part; its two tables are parts of their
 * own, lent when the first delivery above QoS 0 needs one and taken back when they are empty, so
 * an idle session costs its first part only.
 *
 * Call protocol: init; give the tables when a machine asks for them (or at once, as static arrays);
 * pass the session to tf_mqtt_server_accept or to a client's config; after the connection has
 * ended the same session may be given to the next one. It must outlive the machine that uses it.
 */
#ifndef TREFOIL_MQTT_SESSION_H
#define TREFOIL_MQTT_SESSION_H

#include <trefoil/mqtt.h>

/* The session's first part; its fields are the library's. */
struct tf_mqtt_session {
    struct tf_mqtt_sent *sent;         /* outbound table: slot n holds packet id n + 1 */
    struct tf_mqtt_received *received; /* inbound QoS 2 ids, open addressing */
    uint32_t received_slots;           /* a power of two, at least twice what it holds; 0: none */
    uint16_t received_count;
    uint16_t sent_capacity, sent_count;
    uint16_t sent_first, sent_last; /* ids in use, in the order of their first sending; 0: none */
    uint16_t sent_free;             /* ids that were used before; 0: none */
    uint16_t sent_fresh;            /* ids above this one were never used */
};

/* What one outbound id is waiting for. */
enum tf_mqtt_sent_state {
    TF_MQTT_SENT_FREE,
    TF_MQTT_SENT_PUBACK,  /* PUBLISH at QoS 1 went out */
    TF_MQTT_SENT_PUBREC,  /* PUBLISH at QoS 2 went out */
    TF_MQTT_SENT_RELEASE, /* PUBREC came; the caller has not released it yet */
    TF_MQTT_SENT_PUBCOMP, /* PUBREL went out */
    TF_MQTT_SENT_SUBACK,  /* SUBSCRIBE of a client went out: of its connection only */
    TF_MQTT_SENT_UNSUBACK /* UNSUBSCRIBE likewise */
};

/* Starts an empty session without tables. */
void tf_mqtt_session_init(struct tf_mqtt_session *session);

/* Forgets all deliveries; the tables stay. No connection may have the session. */
void tf_mqtt_session_clear(struct tf_mqtt_session *session);

/* Bytes of an outbound table for `capacity` ids (1 to 65,535). */
size_t tf_mqtt_session_sent_size(uint16_t capacity);

/* Bytes of an inbound table that holds `capacity` QoS 2 ids (1 to 32,768, rounded up to 2^n). */
size_t tf_mqtt_session_received_size(uint16_t capacity);

/*
 * Gives the session an outbound table in `memory` (aligned as malloc aligns) in place of the one
 * it has, whose contents move over. *ret_old is the memory to take back, NULL if there was none.
 * TF_MISUSE: `length` is less than it needs, or less than the old table had. What is left over
 * beyond a whole number of ids stays unused.
 */
TF_MUST_USE enum tf_err tf_mqtt_session_give_sent(struct tf_mqtt_session *session, void *memory,
                                                  size_t length, void **ret_old);

/* The same for the inbound table; only what it holds must fit. */
TF_MUST_USE enum tf_err tf_mqtt_session_give_received(struct tf_mqtt_session *session, void *memory,
                                                      size_t length, void **ret_old);

/* Takes the outbound table back if no id is in use; NULL otherwise. The session is usable without.
 */
void *tf_mqtt_session_take_sent(struct tf_mqtt_session *session);

/* Takes the inbound table back if it is empty; NULL otherwise. */
void *tf_mqtt_session_take_received(struct tf_mqtt_session *session);

/*
 * Walks the outbound deliveries in the order they were first sent. *cursor starts at 0; false at
 * the end. For a caller that ends the session and must give each delivery up.
 */
bool tf_mqtt_session_sent_next(const struct tf_mqtt_session *session, uint32_t *cursor,
                               uint64_t *ret_handle, enum tf_mqtt_sent_state *ret_state);

/*
 * An inbound QoS 2 PUBLISH whose connection ended before its ticket did was accepted (or, with
 * `reason` from 0x80 up, refused: the id is forgotten so that the next attempt is new).
 * No effect when the id is not there. While a connection has the session, call the machine's
 * own function instead, so that the peer is answered.
 */
void tf_mqtt_session_published(struct tf_mqtt_session *session, uint16_t packet_id, uint8_t reason);

/* The packet id of the delivery that was first sent last; 0: nothing is under way. */
uint16_t tf_mqtt_session_youngest(const struct tf_mqtt_session *session);

/*
 * Walks the inbound QoS 2 ids, in no order. *cursor starts at 0; false at the end. For a caller
 * that has kept something for each.
 */
bool tf_mqtt_session_received_next(const struct tf_mqtt_session *session, uint32_t *cursor,
                                   uint16_t *ret_packet_id);

/*
 * A delivery that was under way before a restart, as `packet_id`; `state` is PUBACK, PUBREC or
 * PUBCOMP. To be called in the order of first sending, before a connection has the session: the
 * next one begins with these. TF_NO_MEMORY: the outbound table has no room for an id that high,
 * give it a larger one. TF_MISUSE: the id is 0 or in use, or it is another state.
 */
TF_MUST_USE enum tf_err tf_mqtt_session_restore_sent(struct tf_mqtt_session *session,
                                                     uint16_t packet_id, uint64_t handle,
                                                     enum tf_mqtt_sent_state state);

/*
 * A QoS 2 id that was received and accepted before a restart: a PUBLISH with it is a repeat.
 * TF_NO_MEMORY: the inbound table is full, give it a larger one. TF_MISUSE: the id is 0 or there.
 */
TF_MUST_USE enum tf_err tf_mqtt_session_restore_received(struct tf_mqtt_session *session,
                                                         uint16_t packet_id);

/* Checks the invariants of both tables; false names a bug in the library. For tests and fuzzers. */
bool tf_mqtt_session_check(const struct tf_mqtt_session *session);

#endif
