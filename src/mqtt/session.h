/*
 * The two tables of an MQTT session, as the connections use them.
 *
 * Outbound: an array in which slot n holds packet id n + 1, so an acknowledgement finds its
 * delivery without a search. Ids in use are a list in the order of their first sending, because
 * that is the order in which they must go out again (MQTT 5.0 4.4). Free ids are a list too; ids
 * that were never used lie above `sent_fresh`, so a new table needs no preparation.
 *
 * Inbound: QoS 2 ids by open addressing with linear probing, at most half full.
 *
 * Nothing here knows of packets or connections; what is `counted` is the connection's affair.
 */
#ifndef TF_MQTT_SESSION_H
#define TF_MQTT_SESSION_H

#include <trefoil/mqtt_session.h>

struct tf_mqtt_sent {
    uint64_t handle;
    uint16_t prev, next; /* ids; 0: none */
    uint8_t state;       /* enum tf_mqtt_sent_state */
    bool counted;        /* against the Receive Maximum of the present connection (4.9) */
    bool passed;         /* a resumption has come past it */
    uint8_t filters;     /* of SUBSCRIBE or UNSUBSCRIBE: so many codes must the answer have */
};

/* What an inbound QoS 2 id is waiting for. */
enum tf_mqtt_received_state {
    TF_MQTT_RECEIVED_FREE,
    TF_MQTT_RECEIVED_PENDING, /* the caller has not accepted the message yet */
    TF_MQTT_RECEIVED_DONE,    /* accepted: PUBREC is due or went out, PUBREL is to come */
    TF_MQTT_RECEIVED_RELEASED /* PUBREL came, the caller has not completed it yet */
};

struct tf_mqtt_received {
    uint16_t packet_id;
    uint8_t state; /* enum tf_mqtt_received_state */
    bool counted;  /* as above */
};

/* The slot of an id in use; NULL: the id is not in use. */
static inline struct tf_mqtt_sent *tf_mqtt_session_sent(const struct tf_mqtt_session *session,
                                                        uint16_t packet_id)
{
    struct tf_mqtt_sent *slot;

    if (packet_id == 0 || packet_id > session->sent_fresh)
        return NULL;
    slot = session->sent + packet_id - 1;
    return slot->state != TF_MQTT_SENT_FREE ? slot : NULL;
}

/* True if no id can be taken without a larger table. */
static inline bool tf_mqtt_session_sent_full(const struct tf_mqtt_session *session)
{
    return session->sent_count == session->sent_capacity;
}

/* Takes an id, as the youngest. The table must not be full. */
uint16_t tf_mqtt_session_sent_add(struct tf_mqtt_session *session, uint64_t handle,
                                  enum tf_mqtt_sent_state state);

/* Frees an id in use. */
void tf_mqtt_session_sent_remove(struct tf_mqtt_session *session, uint16_t packet_id);

/* The entry of an inbound id; NULL: there is none. Valid until the next add or remove. */
struct tf_mqtt_received *tf_mqtt_session_received(const struct tf_mqtt_session *session,
                                                  uint16_t packet_id);

/* True if no inbound id can be added without a larger table. */
static inline bool tf_mqtt_session_received_full(const struct tf_mqtt_session *session)
{
    return session->received_count >=
           (session->received_slots == 65536 ? UINT16_MAX : session->received_slots / 2);
}

/* Adds an id that is not there, PENDING and not counted. The table must not be full. */
struct tf_mqtt_received *tf_mqtt_session_received_add(struct tf_mqtt_session *session,
                                                      uint16_t packet_id);

/* Removes an entry. */
void tf_mqtt_session_received_remove(struct tf_mqtt_session *session,
                                     struct tf_mqtt_received *entry);

/* Forgets all inbound ids. */
void tf_mqtt_session_received_clear(struct tf_mqtt_session *session);

/*
 * Makes both tables ready for a new connection: nothing is counted, and an inbound id whose PUBREL
 * was not answered waits for PUBREL again.
 */
void tf_mqtt_session_reconnect(struct tf_mqtt_session *session);

#endif
