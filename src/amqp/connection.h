/*
 * Inside one AMQP connection: its structs, and what the files of the machine do for each other.
 *
 * connection.c       start, parts, output, end             connection_input.c  bytes -> one frame
 * connection_event.c what is to be told                    open.c              open and close
 * session.c          begin, end                            link.c              attach, detach
 * flow.c             windows and credit                    sasl*.c             SASL
 * connection_check.c the invariants                        numbers.c           channels and handles
 * transfer_in.c, transfer_out.c, disposition.c, delivery.c what is sent over links
 *
 * Rules that all of them keep:
 *  - A handler takes a frame whole or not at all (TF_AGAIN: nothing has changed). It may write up
 *    to TF_AMQP_REPLY_MAX bytes at once: input is not taken without that room.
 *  - Whole frames only are put into the output.
 *  - What can't be written now is noted as due (tf_amqp_session_due, tf_amqp_link_due) and written
 *    by tf_amqp_pump, which runs with tf_amqp_output, tf_amqp_sent and before input.
 *  - One frame gives at most one event of the slot; what can be more is found by walking state.
 */
#ifndef TF_AMQP_CONNECTION_H
#define TF_AMQP_CONNECTION_H

#include <trefoil/amqp_connection.h>

#include "amqp/delivery.h"
#include "amqp/numbers.h"
#include "base/assert.h"
#include "base/list.h"
#include "base/output.h"

/* Room in the output without which no frame is taken in; any answer to one frame fits. */
#define TF_AMQP_REPLY_MAX 256u
/* The longest flow or detach without a text. */
#define TF_AMQP_FLOW_MAX 96u

/* ---- states (drawn at the head of connection.c) ---- */

enum tf_amqp_connection_state {
    TF_AMQP_CONNECTION_HEADER,      /* the peer's first protocol header is to come */
    TF_AMQP_CONNECTION_SASL,        /* SASL frames */
    TF_AMQP_CONNECTION_AMQP_HEADER, /* SASL is done, the AMQP header is to come */
    TF_AMQP_CONNECTION_OPENING,     /* the peer's open is to come */
    TF_AMQP_CONNECTION_UP,          /* its open has come (a server may still have to answer) */
    TF_AMQP_CONNECTION_CLOSE_SENT,  /* ours is sent or due: all but close is dropped (2.4.6) */
    TF_AMQP_CONNECTION_CLOSING      /* input is over; output may be left */
};

enum tf_amqp_session_state {
    TF_AMQP_SESSION_BEGIN_SENT, /* no frame of the peer's yet; its window is not known */
    TF_AMQP_SESSION_MAPPED,
    TF_AMQP_SESSION_END_SENT, /* ours is sent or due: all but end is dropped (2.5.5) */
    TF_AMQP_SESSION_ENDED     /* both: ENDED is to be pulled */
};

enum tf_amqp_link_state {
    TF_AMQP_LINK_ACCEPTED,    /* the peer has attached, our answer is to come */
    TF_AMQP_LINK_ATTACH_SENT, /* ours; the peer's answer is to come */
    TF_AMQP_LINK_ATTACHED,
    TF_AMQP_LINK_DETACH_RECEIVED, /* ours is to come */
    TF_AMQP_LINK_DETACH_SENT,     /* ours is sent or due; all but detach is dropped */
    TF_AMQP_LINK_GONE             /* both: DETACHED with `gone` is to be pulled */
};

/* ---- a link ---- */

/* What is due, of a link. */
enum {
    TF_AMQP_LINK_DUE_FLOW = 1,
    TF_AMQP_LINK_DUE_DETACH = 2,
};

struct tf_amqp_link {
    struct tf_amqp_session *session;
    void *user;
    struct tf_list_node due_node;  /* in session->due_links while `due` */
    struct tf_list_node wait_node; /* in session->attaching (ATTACH_SENT), session->gone (GONE) */
    uint64_t name_hash;            /* of ATTACH_SENT: the answer is found by its name */
    uint64_t max_message_size;     /* the peer's where we send, else ours; 0: no limit */
    struct tf_amqp_error error;    /* ours, of a detach; texts are static or last */
    uint32_t local, remote;        /* handles; remote: TF_AMQP_NO_NUMBER until `mapped` */
    uint32_t delivery_count;       /* of the sender; where we receive: as far as we know it */
    uint32_t initial_count;        /* where we send: our initial-delivery-count */
    uint32_t credit;               /* what is left (2.6.7) */
    uint32_t limit;                /* where we receive: the delivery-count up to which the sender
                                      has ever been allowed to go; passing it is a violation. Of a
                                      failed link: the transfer-id from which the peer knows */
    uint32_t available;
    uint8_t state; /* enum tf_amqp_link_state */
    uint8_t role;  /* enum tf_amqp_role, ours */
    uint8_t due;
    uint8_t snd_settle_mode, rcv_settle_mode; /* as the peers have agreed so far */
    bool mapped;                              /* the peer's handle is known */
    bool drain;                               /* where we send: the peer wants it; else: we do */
    bool detach_closed;                       /* ours */
    bool failed;      /* we have detached with an error: more is an errant link (2.6.5) */
    bool resumable;   /* where we receive: we have told of unsettled deliveries (2.6.13) */
    bool attach_sent; /* ours is in the output */
    struct tf_amqp_link_deliveries deliveries; /* delivery.h: what is incomplete, either way */
};

/* ---- a session ---- */

/* What is due, of a session. Of links: they are in due_links. */
enum {
    TF_AMQP_SESSION_DUE_BEGIN = 1, /* the answering begin */
    TF_AMQP_SESSION_DUE_FLOW = 2,
    TF_AMQP_SESSION_DUE_DELIVERIES = 4, /* tf_amqp_deliveries_pump wants to be called */
    TF_AMQP_SESSION_DUE_LINKS = 8,
    TF_AMQP_SESSION_DUE_END = 16,
    TF_AMQP_SESSION_DUE_ECHO = 32, /* a flow of the session alone, which the peer asked for */
};

struct tf_amqp_session {
    struct tf_amqp_connection *connection;
    void *user;
    struct tf_list_node due_node;  /* in connection->due_sessions while `due` */
    struct tf_list_node tell_node; /* in connection->tell_sessions while `needs` or `gone` */
    struct tf_list due_links, attaching, gone;
    struct tf_amqp_numbers handles;
    struct tf_amqp_error error; /* ours, of an end; texts are static or last */
    /* 2.5.6; serial numbers (RFC 1982) */
    uint32_t next_incoming_id;       /* of the next transfer frame from the peer */
    uint32_t incoming_limit;         /* the id up to which it has ever been allowed to go */
    uint32_t incoming_window;        /* what it is told each time */
    uint32_t next_outgoing_id;       /* of our next transfer frame */
    uint32_t remote_incoming_window; /* frames that we may send; 0 before the peer's begin */
    uint32_t initial_outgoing_id;    /* that we began with */
    uint32_t peer_handle_max;
    uint32_t links;         /* with memory */
    uint16_t local, remote; /* channels; remote counts if `mapped` */
    uint16_t generation;    /* for numbers of deliveries, 15 bits */
    uint8_t state;          /* enum tf_amqp_session_state */
    uint8_t due;
    uint8_t needs, asked;                         /* bit `part`: NEEDS to tell; told or to tell */
    bool mapped;                                  /* the peer's channel is known */
    bool failed;                                  /* we have ended it with an error */
    struct tf_amqp_session_deliveries deliveries; /* delivery.h: tables, what is on its way */
};

/* ---- the connection ---- */

/* What is due, of the connection itself, in this order. */
enum {
    TF_AMQP_DUE_SASL_HEADER = 1,
    TF_AMQP_DUE_MECHANISMS = 2,
    TF_AMQP_DUE_OUTCOME = 4,
    TF_AMQP_DUE_HEADER = 8,
    TF_AMQP_DUE_OPEN = 16,
    TF_AMQP_DUE_CLOSE = 32,
    TF_AMQP_DUE_ALIVE = 64, /* an empty frame */
};

/* The event of the last frame. What is rare is read again from `body` when it is pulled. */
struct tf_amqp_slot {
    uint8_t type; /* enum tf_amqp_event_type; 0: empty */
    bool local, gone, closed;
    bool drain, echo;
    bool first, more, aborted, settled, resume;
    struct tf_amqp_session *session;
    struct tf_amqp_link *link;
    struct tf_bytes body; /* the frame's; of TRANSFER: the payload */
    struct tf_bytes tag;
    uint64_t delivery;
    uint32_t credit, available;
    uint32_t message_format;
};

struct tf_amqp_connection {
    const struct tf_amqp_config *config;
    struct tf_output output;
    struct tf_amqp_numbers channels;
    struct tf_list due_sessions;  /* with something to write */
    struct tf_list tell_sessions; /* with NEEDS or gone links to tell */
    struct tf_amqp_slot slot;
    struct tf_bytes body, payload;   /* of the frame that is being taken */
    const struct tf_amqp_open *open; /* a client's, until it is written */
    const struct tf_amqp_sasl_mechanism *mechanism;
    struct tf_amqp_error error; /* why it ends; static texts */
    size_t shown;               /* bytes of the last input that were not used */
    tf_time heard;              /* the peer was last known to be alive */
    tf_time wrote;              /* bytes went out */
    tf_time deadline;           /* never later than the true one */
    tf_time open_by;            /* TF_TIME_NEVER: it is up */
    uint32_t peer_max_frame_size;
    uint32_t peer_idle_ms; /* 0: none */
    uint32_t links;        /* of all sessions */
    /* of the BEGIN or ATTACH that awaits its answer */
    uint32_t asked_local;  /* its place: channel or handle */
    uint32_t asked_count;  /* begin: next-outgoing-id; attach: initial-delivery-count */
    uint32_t asked_window; /* begin: incoming-window */
    uint32_t asked_handle_max;
    uint64_t asked_max_message_size;
    struct tf_amqp_session *asked_session; /* of ATTACH */
    uint16_t channel_max;                  /* the lesser of both */
    uint16_t generation;                   /* of the next session */
    uint8_t asked_role, asked_snd_settle_mode, asked_rcv_settle_mode;
    uint8_t state;    /* enum tf_amqp_connection_state */
    uint8_t due;      /* TF_AMQP_DUE_... */
    uint8_t awaiting; /* enum tf_amqp_event_type: AUTHENTICATE, OPENED, BEGIN, ATTACH; 0: nothing */
    uint8_t needs, asked;                            /* as in a session */
    uint8_t sasl_step;                               /* messages taken from the peer */
    uint8_t sasl_code;                               /* of the outcome that is due */
    bool open_sent;                                  /* in the output */
    bool header_sent;                                /* AMQP's */
    struct tf_amqp_connection_deliveries deliveries; /* delivery.h: walks, owners to return */
};

/* ---- connection.c ---- */

/*
 * Room for what can wait: transfers, flows and dispositions leave TF_AMQP_REPLY_MAX bytes alone.
 * Else a machine whose output is full would take no input, and two of them would wait for each
 * other.
 */
static inline size_t tf_amqp_patient_room(const struct tf_output *output, size_t refs)
{
    size_t room = tf_output_room(output, refs);

    return room > TF_AMQP_REPLY_MAX ? room - TF_AMQP_REPLY_MAX : 0;
}

/* The bytes that a frame may take now: room in the output and the peer's max-frame-size. */
static inline size_t tf_amqp_room(const struct tf_amqp_connection *connection)
{
    size_t room = tf_output_room(&connection->output, 0);
    return room < connection->peer_max_frame_size ? room : connection->peer_max_frame_size;
}

/* Writes a whole frame without payload. False: it does not fit now, and nothing is written. */
bool tf_amqp_put(struct tf_amqp_connection *connection, uint16_t channel,
                 const struct tf_amqp_performative *performative);

/* The same for what can wait (tf_amqp_patient_room). */
bool tf_amqp_put_patient(struct tf_amqp_connection *connection, uint16_t channel,
                         const struct tf_amqp_performative *performative);

/* Writes what is due and has found room. */
void tf_amqp_pump(struct tf_amqp_connection *connection);

/* Notes what is due, for the next tf_amqp_pump. */
void tf_amqp_session_due(struct tf_amqp_session *session, uint8_t bits);
void tf_amqp_link_due(struct tf_amqp_link *link, uint8_t bits);

/* Asks for a part by NEEDS; session NULL: the connection's. Always TF_AGAIN. */
enum tf_err tf_amqp_need(struct tf_amqp_connection *connection, struct tf_amqp_session *session,
                         enum tf_amqp_part part);

/*
 * The peer broke a rule: close, end or detach with the condition and a static text.
 * Of the connection: always TF_PROTOCOL, return it. Of a session or link: always TF_OK, the frame
 * is taken; the slot holds the ENDED or DETACHED, so nothing else may be put there after it.
 * All deliveries of what fails are forgotten by these calls (tf_amqp_link_forget and so on).
 */
enum tf_err tf_amqp_connection_fail(struct tf_amqp_connection *connection,
                                    enum tf_amqp_condition condition, const char *text);
enum tf_err tf_amqp_session_fail(struct tf_amqp_session *session, enum tf_amqp_condition condition,
                                 const char *text);
enum tf_err tf_amqp_link_fail(struct tf_amqp_link *link, enum tf_amqp_condition condition,
                              const char *text);

/* Starts the slot's event; all other fields of the slot are zero. */
struct tf_amqp_slot *tf_amqp_tell(struct tf_amqp_connection *connection,
                                  enum tf_amqp_event_type type, struct tf_amqp_session *session,
                                  struct tf_amqp_link *link);

/* ---- what the files but those of deliveries do for one another ---- */

/* A handler of a frame: TF_OK, TF_AGAIN (nothing has changed) or TF_PROTOCOL. */
typedef enum tf_err tf_amqp_handler(struct tf_amqp_connection *connection, uint16_t channel,
                                    const struct tf_amqp_performative *performative);

/* open.c */
enum tf_err tf_amqp_on_open(struct tf_amqp_connection *connection, uint16_t channel,
                            const struct tf_amqp_performative *performative);
enum tf_err tf_amqp_on_close(struct tf_amqp_connection *connection, uint16_t channel,
                             const struct tf_amqp_performative *performative);

/* session.c */
enum tf_err tf_amqp_on_begin(struct tf_amqp_connection *connection, uint16_t channel,
                             const struct tf_amqp_performative *performative);
enum tf_err tf_amqp_on_end(struct tf_amqp_connection *connection, uint16_t channel,
                           const struct tf_amqp_performative *performative);
/* The session that a frame is for. TF_OK with *ret NULL: the frame is to be dropped. */
enum tf_err tf_amqp_session_of(struct tf_amqp_connection *connection, uint16_t channel,
                               struct tf_amqp_session **ret);
/* Writes what is due of a session; false: there was not room for all. */
bool tf_amqp_session_pump(struct tf_amqp_session *session);
/* All its links are over, and nothing of it is due but begin and end. */
void tf_amqp_session_drop(struct tf_amqp_session *session);
/* The ENDED event is pulled: the number is free, or its frames are dropped until the peer's end. */
void tf_amqp_session_leave(struct tf_amqp_session *session);
bool tf_amqp_session_check(const struct tf_amqp_session *session);

/* link.c */
enum tf_err tf_amqp_on_attach(struct tf_amqp_connection *connection, uint16_t channel,
                              const struct tf_amqp_performative *performative);
enum tf_err tf_amqp_on_detach(struct tf_amqp_connection *connection, uint16_t channel,
                              const struct tf_amqp_performative *performative);
/* Writes the detach that is due; false: no room. */
bool tf_amqp_link_put_detach(struct tf_amqp_link *link);
bool tf_amqp_link_check(const struct tf_amqp_link *link);

/* flow.c */
enum tf_err tf_amqp_on_flow(struct tf_amqp_connection *connection, uint16_t channel,
                            const struct tf_amqp_performative *performative);
bool tf_amqp_link_put_flow(struct tf_amqp_link *link);
bool tf_amqp_session_put_flow(struct tf_amqp_session *session);

/* sasl.c; reached through tf_amqp_sasl_parts of the mechanisms, so that a firmware without SASL
 * does not link it */
struct tf_amqp_sasl_mechanism {
    const char *name;
    /*
     * A client's word number `step` (0: the initial response) to `challenge`. False: it has none.
     */
    bool (*respond)(const struct tf_amqp_sasl *sasl, unsigned step, struct tf_bytes challenge,
                    struct tf_writer *response);
    /*
     * A server takes the client's word number `step`. TF_OK: *ret says who it is. TF_MORE: an empty
     * challenge is to be sent. TF_PROTOCOL: it is not right.
     */
    enum tf_err (*receive)(unsigned step, bool present, struct tf_bytes response,
                           struct tf_amqp_sasl_request *ret);
    /* sasl.c: takes a frame; writes what is due of SASL (false: no room); fills AUTHENTICATE. */
    const struct tf_amqp_sasl_parts *parts;
};
struct tf_amqp_sasl_parts {
    enum tf_err (*input)(struct tf_amqp_connection *connection,
                         const struct tf_amqp_performative *performative, struct tf_bytes body);
    bool (*pump)(struct tf_amqp_connection *connection);
    void (*tell)(const struct tf_amqp_connection *connection, struct tf_amqp_event *ret);
};
extern const struct tf_amqp_sasl_parts tf_amqp_sasl_parts;

/* connection.c. Writes `open` (NULL: the least there can be) with what the config says. */
bool tf_amqp_put_open(struct tf_amqp_connection *connection, const struct tf_amqp_open *open);
/* The first moment at which tf_amqp_tick has something to do. */
tf_time tf_amqp_next_deadline(const struct tf_amqp_connection *connection);
/* A deadline may have become earlier. */
void tf_amqp_rearm(struct tf_amqp_connection *connection);
/* Ends the connection, with a close where the peer can understand one. */
void tf_amqp_connection_end(struct tf_amqp_connection *connection,
                            const struct tf_amqp_error *error);
/*
 * Writes detach, end or close, whose type and other fields are set, with an error; where its texts
 * are too long for the room, without them. False: no room even so.
 */
bool tf_amqp_put_error(struct tf_amqp_connection *connection, uint16_t channel,
                       struct tf_amqp_performative *performative,
                       const struct tf_amqp_error *error);

/* ---- for the handlers of transfer ---- */

/*
 * The link that a frame of the peer's is for. TF_OK with *ret NULL: the frame is to be dropped
 * (nobody is there any more, or the session was failed: unattached-handle, errant-link).
 * TF_PROTOCOL when the handle is out of range: return it.
 */
enum tf_err tf_amqp_session_link(struct tf_amqp_session *session, uint32_t handle,
                                 struct tf_amqp_link **ret);

/* One transfer frame came: uses the window. False: there was none left (2.5.6), fail the session
 * with WINDOW_VIOLATION. A replenishing flow becomes due by itself. Call it first, once a frame,
 * also for frames that are dropped. */
bool tf_amqp_session_received(struct tf_amqp_session *session);

/*
 * The window that the peer is told now: what the caller wants, but no more frames than deliveries
 * can be remembered; one at least while a delivery is incomplete, or it never would be complete.
 */
static inline uint32_t tf_amqp_session_window_now(const struct tf_amqp_session *session)
{
    const struct tf_amqp_session_deliveries *all = &session->deliveries;
    uint32_t most = session->connection->config->max_unsettled;
    uint32_t live = all->tables[TF_AMQP_RECEIVER].live;
    uint32_t spare = live < most ? most - live : 0;

    if (spare == 0 && all->partials > 0)
        spare = 1;
    return session->incoming_window < spare ? session->incoming_window : spare;
}

/* Makes a flow due if half of the window is used and more can be told. */
static inline void tf_amqp_session_replenish(struct tf_amqp_session *session)
{
    uint32_t left = session->incoming_limit - session->next_incoming_id;

    if (left <= session->incoming_window / 2 && session->state <= TF_AMQP_SESSION_MAPPED &&
        tf_amqp_session_window_now(session) > left)
        tf_amqp_session_due(session, TF_AMQP_SESSION_DUE_FLOW);
}

/* A delivery begins where we receive: uses 1 of the credit and counts it. False: there was none,
 * fail the link with TRANSFER_LIMIT_EXCEEDED. */
static inline bool tf_amqp_link_received(struct tf_amqp_link *link)
{
    if (link->delivery_count == link->limit)
        return false;
    link->delivery_count++;
    link->credit -= link->credit > 0;
    return true;
}

/* True if a delivery may begin where we send; then tf_amqp_link_began counts it. */
static inline bool tf_amqp_link_may_send(const struct tf_amqp_link *link)
{
    return link->credit > 0 && link->state == TF_AMQP_LINK_ATTACHED &&
           link->session->state == TF_AMQP_SESSION_MAPPED;
}
static inline void tf_amqp_link_began(struct tf_amqp_link *link)
{
    link->delivery_count++;
    link->credit--;
    link->available -= link->available > 0;
}

/* One transfer frame was put into the output. There was window: remote_incoming_window > 0. */
static inline void tf_amqp_session_sent(struct tf_amqp_session *session)
{
    session->next_outgoing_id++;
    session->remote_incoming_window--;
}

/* ---- what transfer_in.c, transfer_out.c, disposition.c and delivery.c do for the rest ---- */

/* Start, in memory that is zero. */
void tf_amqp_connection_deliveries_init(struct tf_amqp_connection *connection);
void tf_amqp_session_deliveries_init(struct tf_amqp_session *session);
void tf_amqp_link_deliveries_init(struct tf_amqp_link *link);

/* Take a frame of a MAPPED session. As handlers: TF_OK, TF_AGAIN (not taken), TF_PROTOCOL. */
enum tf_err tf_amqp_on_transfer(struct tf_amqp_session *session,
                                const struct tf_amqp_transfer *transfer, struct tf_bytes payload);
enum tf_err tf_amqp_on_disposition(struct tf_amqp_session *session,
                                   const struct tf_amqp_disposition *disposition);

/* Fills the TRANSFER event from the slot; `ret` has type, session and link, the rest of what comes
 * before `payload` in it is zero. */
void tf_amqp_transfer_tell(const struct tf_amqp_connection *connection, struct tf_amqp_event *ret);

/*
 * The next RETURNED for a body that was not wholly put into the output when its link ended; false:
 * none. Told before any other event, since DETACHED and ENDED give up the memory it is found in.
 */
bool tf_amqp_deliveries_returned(struct tf_amqp_connection *connection, uint64_t *ret_owner);

/* True while a disposition is walked: no input meanwhile. Then the next OUTCOME or SETTLED event;
 * false: the walk has ended without one more. */
bool tf_amqp_deliveries_walking(const struct tf_amqp_connection *connection);
bool tf_amqp_deliveries_event(struct tf_amqp_connection *connection, struct tf_amqp_event *ret);

/*
 * Writes dispositions that are due, and goes on with deliveries that are begun, as far as room and
 * window allow. True: nothing is left that room alone would let go (what waits for window waits
 * for tf_amqp_session_due of DELIVERIES, which flow.c calls whenever the window has opened).
 */
bool tf_amqp_deliveries_pump(struct tf_amqp_session *session);

/* The link is over, or the session with all its links: every delivery is forgotten, in the time of
 * what is live; what walks stops there; owners are kept for tf_amqp_deliveries_returned. May be
 * called twice. */
void tf_amqp_link_forget(struct tf_amqp_link *link);
void tf_amqp_session_forget(struct tf_amqp_session *session);

/* The tables OUTGOING and INCOMING: bytes to ask for (0: it may not grow), taking them, giving back
 * one after the other. */
size_t tf_amqp_session_deliveries_need(const struct tf_amqp_session *session,
                                       enum tf_amqp_part part);
enum tf_err tf_amqp_session_deliveries_give(struct tf_amqp_session *session, enum tf_amqp_part part,
                                            void *memory, size_t length, void **ret_old);
void *tf_amqp_session_deliveries_reclaim(struct tf_amqp_session *session);

/* Between those files: forgets a record. */
void tf_amqp_deliveries_drop(struct tf_amqp_session *session, enum tf_amqp_role role,
                             struct tf_amqp_delivery *record);

/* Between those files: goes on with deliveries that are begun. False: the output is full. */
bool tf_amqp_transfer_pump(struct tf_amqp_session *session);

/* Between those files: the link's delivery that is on its way goes no further. */
void tf_amqp_transfer_cut(struct tf_amqp_link *link);

/* Between those files: writes dispositions that are due. False: the output is full. */
bool tf_amqp_disposition_pump(struct tf_amqp_session *session);

/* Check the invariants. */
bool tf_amqp_connection_deliveries_check(const struct tf_amqp_connection *connection);
bool tf_amqp_session_deliveries_check(const struct tf_amqp_session *session);

/*
 * The number of a delivery in the API: its id, our channel, the session's generation, and on top
 * whether it was received. tf_amqp_delivery_session: whose it is; NULL: that session is over.
 */
static inline uint64_t tf_amqp_delivery_number(const struct tf_amqp_session *session, uint32_t id,
                                               bool received)
{
    return (uint64_t)received << 63 | (uint64_t)session->generation << 48 |
           (uint64_t)session->local << 32 | id;
}
static inline struct tf_amqp_session *
tf_amqp_delivery_session(const struct tf_amqp_connection *connection, uint64_t delivery,
                         bool received)
{
    struct tf_amqp_session *session =
        tf_amqp_numbers_at(&connection->channels, (uint16_t)(delivery >> 32));
    return session && session->state <= TF_AMQP_SESSION_MAPPED &&
                   session->generation == (delivery >> 48 & 0x7fff) &&
                   (delivery >> 63 != 0) == received
               ? session
               : NULL;
}

/* a < b, as serial numbers (RFC 1982). */
static inline bool tf_amqp_serial_before(uint32_t a, uint32_t b)
{
    return a - b > UINT32_C(0x7fffffff);
}

#endif
