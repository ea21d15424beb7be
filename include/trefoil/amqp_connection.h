/*
 * One AMQP 1.0 connection with its sessions and links: bytes in, events out, calls in, bytes out.
 * No I/O, no clock, no allocation.
 *
 * After its opening a connection has no client and no server (2.2), so one machine is both. What
 * differs is which end it is (config.role) and the SASL feature that the config points to
 * (amqp_sasl.h).
 *
 * Call protocol, in a loop, like the other machines of the library:
 *  1. tf_amqp_lend a buffer for output when there is none.
 *  2. tf_amqp_input with the bytes that have arrived: it takes at most one frame.
 *  3. tf_amqp_event until it gives none; answer each as its description says.
 *  4. tf_amqp_output, write the spans, tf_amqp_sent; when nothing is left the buffer may be taken
 *     back.
 *  5. tf_amqp_tick when tf_amqp_deadline has come.
 *  6. When tf_amqp_closing is true: write what output is left, then close.
 *
 * Memory comes in parts, each given by the caller: the connection (tf_amqp_size), a session
 * (tf_amqp_session_size), a link (tf_amqp_link_size), and tables that grow (NEEDS events). A
 * session's memory is the caller's again when its ENDED event has been pulled, a link's when its
 * DETACHED event with `gone` has; then nothing refers to it. When the connection is closed, all of
 * it is.
 *
 * Violations by the peer are answered by the machine itself, with detach, end or close and the
 * error that the specification names.
 */
#ifndef TREFOIL_AMQP_CONNECTION_H
#define TREFOIL_AMQP_CONNECTION_H

#include <trefoil/amqp.h>
#include <trefoil/amqp_performative.h>
#include <trefoil/amqp_sasl.h>

struct tf_amqp_connection;
struct tf_amqp_session;
struct tf_amqp_link;

enum tf_amqp_end { TF_AMQP_CLIENT, TF_AMQP_SERVER }; /* who opened the transport */

/* Read during init and while the machine lives; may be shared by many connections. */
struct tf_amqp_config {
    enum tf_amqp_end end;
    uint32_t max_frame_size;   /* inbound, at least 512; announced (2.7.1) */
    uint16_t channel_max;      /* sessions at once, less one */
    uint32_t handle_max;       /* links at once in each session, less one */
    uint32_t max_links;        /* in all sessions together */
    uint32_t max_unsettled;    /* deliveries remembered in one session and direction, 1 to 2^24 */
    uint32_t incoming_window;  /* transfer frames a session takes before it must be told more */
    uint32_t open_timeout_ms;  /* from init to the peer's whole open; 0: for ever */
    uint32_t idle_timeout_ms;  /* a peer silent for so long is closed; half of it is announced. 0:
                                  never */
    uint32_t reference_from;   /* bodies from this size go out by reference; 0: never */
    uint64_t max_message_size; /* announced on links where we receive; 0: no limit */
    const struct tf_amqp_sasl *sasl; /* NULL: without SASL. A server also takes peers without SASL
                                        if sasl is NULL or sasl->optional */
};

enum tf_amqp_event_type {
    /*
     * SASL, server: a peer wants in (amqp_sasl.h): `sasl`. No input is taken before the answer:
     * tf_amqp_authenticated.
     */
    TF_AMQP_AUTHENTICATE = 1,
    /* The peer's open: `open`. A server answers, and takes no input before: tf_amqp_open or
     * tf_amqp_close. A client has sent its own. */
    TF_AMQP_OPENED,
    /* The peer has sent close: `error`. The machine has answered; `closing` is true. */
    TF_AMQP_CLOSED,
    /* The peer begins a session: `begin`, `session` NULL. No input is taken before the answer:
     * tf_amqp_session_accept, or tf_amqp_close. */
    TF_AMQP_BEGIN,
    /* The peer has answered tf_amqp_session_begin: `session`, `begin`. */
    TF_AMQP_BEGUN,
    /* The session is over: by the peer, by an error, or because both sides have ended it:
     * `session`, `error` (`local`: ours). Its links are gone with it, without events of their own;
     * so are all its deliveries. Its memory is the caller's. */
    TF_AMQP_ENDED,
    /* The peer attaches: `session`, `attach`, `link` NULL. No input is taken before the answer:
     * tf_amqp_link_accept, tf_amqp_link_refuse or tf_amqp_session_end. */
    TF_AMQP_ATTACH,
    /* The peer has answered tf_amqp_link_attach: `link`, `attach`. A missing source (where we
     * receive) or target (where we send) means refused: DETACHED follows (2.6.3). */
    TF_AMQP_ATTACHED,
    /*
     * The peer has sent detach, or an error of its has made the machine do so: `link`, `closed`,
     * `error` (`local`: ours). All deliveries of the link are forgotten. `gone`: both sides have
     * detached; the memory is the caller's. Else answer: tf_amqp_link_detach, and it is.
     */
    TF_AMQP_DETACHED,
    /*
     * Where we send: the peer's credit has changed, or it wants to know: `link`, `credit`, `drain`,
     * `echo`. After a drain: send what there is, then tf_amqp_link_drained. `echo` has been
     * answered. Where we receive: `available` as the sender told, `credit` what is left (0 after a
     * drain). `link` NULL: the window of `session` was closed and is open; with a link it may be,
     * too.
     */
    TF_AMQP_FLOW,
    /*
     * A run of a delivery: `link`, `delivery`, `payload`, `first`, `more`, `aborted`, `settled` (by
     * the sender: nothing to answer), with `first` also `tag`, `message_format` and `resume`. At
     * most one delivery of a link is incomplete. `aborted`: forget all of it, there is no answer.
     * Else answer when it is complete: tf_amqp_dispose. `resume`: it is one of those that the
     * answering attach of ours had in `unsettled`, or should be (2.6.13); if there were none, the
     * machine fails a link whose peer resumes.
     */
    TF_AMQP_TRANSFER,
    /*
     * The receiver's word on a delivery of ours: `link`, `delivery`, `handle`, `state`, `settled`.
     * If it is settled it is forgotten now; else tf_amqp_settle when the state is terminal and has
     * been dealt with.
     */
    TF_AMQP_OUTCOME,
    /* The sender has settled a delivery that we had disposed of without settling, or before we did:
     * `link`, `delivery`, `state` perhaps. It is forgotten. */
    TF_AMQP_SETTLED,
    /* `owner`'s body, taken by reference in tf_amqp_send, is no longer needed. */
    TF_AMQP_RETURNED,
    /*
     * `size` bytes for `part` of `session` (NULL: of the connection) are needed before input, or
     * tf_amqp_send, goes on. Answer: tf_amqp_give, or tf_amqp_close if there is no memory.
     */
    TF_AMQP_NEEDS
};

/* Tables that grow. */
enum tf_amqp_part {
    TF_AMQP_PART_CHANNELS, /* of a connection: its sessions by channel */
    TF_AMQP_PART_HANDLES,  /* of a session: its links by handle */
    TF_AMQP_PART_OUTGOING, /* of a session: unsettled deliveries we sent */
    TF_AMQP_PART_INCOMING  /* of a session: unsettled deliveries we received */
};

struct tf_amqp_event {
    enum tf_amqp_event_type type;
    struct tf_amqp_session *session;
    struct tf_amqp_link *link;
    enum tf_amqp_part part;
    size_t size;
    uint64_t delivery; /* the machine's number of it: unique in the connection */
    uint64_t handle;   /* the caller's, of tf_amqp_send */
    uint64_t owner;
    uint32_t credit, available;
    uint32_t message_format;
    bool drain, echo, first, more, aborted, settled, resume, closed, gone, local;
    struct tf_bytes payload;
    struct tf_bytes tag;
    struct tf_amqp_state state;
    struct tf_amqp_error error;
    union {
        struct tf_amqp_sasl_request sasl;
        struct tf_amqp_open open;
        struct tf_amqp_begin begin;
        struct tf_amqp_attach attach;
    };
};

/* ---- the connection ---- */

#define TF_AMQP_OUTPUT_MIN 1024u /* the shortest buffer for output */

/* The exact bytes of a connection's first part, aligned as malloc; 0: invalid config. */
size_t tf_amqp_size(const struct tf_amqp_config *config);

/*
 * Makes a machine in `memory`. A client sends its protocol header at once, and `open` (copied into
 * the output when that is lent; `open` and what it views must last until then, NULL only for
 * servers) after SASL. max-frame-size, channel-max and idle-time-out of `open` are the config's.
 * TF_MISUSE: the config is invalid. TF_NO_MEMORY: `length` is less than tf_amqp_size.
 */
TF_MUST_USE enum tf_err tf_amqp_init(struct tf_amqp_connection **ret, void *memory, size_t length,
                                     const struct tf_amqp_config *config,
                                     const struct tf_amqp_open *open, tf_time now);

/*
 * Of a server just made: the headers and the SASL layer have been dealt with elsewhere (by a
 * machine that gave its unread bytes up), the peer's open comes next.
 */
void tf_amqp_expect_open(struct tf_amqp_connection *connection);

/* Lends a buffer for output, at least TF_AMQP_OUTPUT_MIN bytes. TF_MISUSE: there is one, or it is
 * too short. */
TF_MUST_USE enum tf_err tf_amqp_lend(struct tf_amqp_connection *connection, void *buffer,
                                     size_t length);

/* Takes the buffer back if nothing in it is unsent and no RETURNED waits; NULL otherwise. */
void *tf_amqp_take(struct tf_amqp_connection *connection);

/*
 * Gives memory for a table that NEEDS asked for; what it replaces moves over and is *ret_old (NULL:
 * none). TF_MISUSE: not asked for, or too short.
 */
TF_MUST_USE enum tf_err tf_amqp_give(struct tf_amqp_connection *connection,
                                     struct tf_amqp_session *session, enum tf_amqp_part part,
                                     void *memory, size_t length, void **ret_old);

/* A table that the connection or session still has, to be freed when it is gone; NULL: no more. */
void *tf_amqp_reclaim(struct tf_amqp_connection *connection);
void *tf_amqp_session_reclaim(struct tf_amqp_session *session);

/*
 * Takes at most one frame; *ret_used bytes of `in`. TF_OK: perhaps an event. TF_MORE: *ret_need
 * bytes in all are wanted. TF_AGAIN: an event is unpulled or unanswered, or its answer would not
 * fit: nothing was used. TF_PROTOCOL, TF_CLOSED: input is over; see tf_amqp_closing.
 */
TF_MUST_USE enum tf_err tf_amqp_input(struct tf_amqp_connection *connection, struct tf_bytes in,
                                      size_t *ret_used, size_t *ret_need, tf_time now);

/*
 * How many records the peer's dispositions have been looked for among, ever: work that the bytes of
 * a frame do not show. Who has others to serve takes no more input for a while when it has grown
 * by much.
 */
uint64_t tf_amqp_effort(const struct tf_amqp_connection *connection);

/* The next event; views borrow the input until the next tf_amqp_input. */
bool tf_amqp_event(struct tf_amqp_connection *connection, struct tf_amqp_event *ret);

/* Up to `count` spans of what is to be written. Coalesced flows and dispositions come with it. */
size_t tf_amqp_output(struct tf_amqp_connection *connection, struct tf_bytes *ret_spans,
                      size_t count);

/* `length` bytes were written. Goes on with deliveries that are begun. */
void tf_amqp_sent(struct tf_amqp_connection *connection, size_t length, tf_time now);

/* When tick is wanted; TF_TIME_NEVER: not. */
tf_time tf_amqp_deadline(const struct tf_amqp_connection *connection);

/* Time has passed: idle time-outs both ways, the open's time-out. */
void tf_amqp_tick(struct tf_amqp_connection *connection, tf_time now);

/* The peer is known to be alive, though it has not been heard (its bytes wait unread). */
void tf_amqp_alive(struct tf_amqp_connection *connection, tf_time now);

/* True when the connection ends: write the output, then close. *ret_error: why (static texts). */
bool tf_amqp_closing(const struct tf_amqp_connection *connection,
                     const struct tf_amqp_error **ret_error);

/* A server's answer to AUTHENTICATE. */
void tf_amqp_authenticated(struct tf_amqp_connection *connection, bool accepted);

/* A server's answer to OPENED; `open` as for tf_amqp_init, for the call alone. TF_AGAIN: the output
 * is full, again after tf_amqp_sent. TF_NO_MEMORY: lend a longer buffer. */
TF_MUST_USE enum tf_err tf_amqp_open(struct tf_amqp_connection *connection,
                                     const struct tf_amqp_open *open);

/* Sends close with an error (NULL: none; its texts must be static), with an open before it where
 * there was none (2.4.5). The other side's close, or the transport's end, is the end; `closing`
 * becomes true at once if there is an error, else when the peer has answered. */
void tf_amqp_close(struct tf_amqp_connection *connection, const struct tf_amqp_error *error);

/*
 * The transport is lost: what is unsent is dropped, `closing` becomes true. Pull the events after
 * it: RETURNED tells every owner, then the buffer may be taken.
 */
void tf_amqp_abandon(struct tf_amqp_connection *connection);

/* The most that a frame to the peer may have; 512 before its open. */
uint32_t tf_amqp_peer_max_frame_size(const struct tf_amqp_connection *connection);

/* ---- sessions ---- */

/* The exact bytes of a session, aligned as malloc; 0: invalid config. */
size_t tf_amqp_session_size(const struct tf_amqp_config *config);

/* Accepts BEGIN. TF_NO_MEMORY: `length` too short. `user` is the caller's: tf_amqp_session_user. */
TF_MUST_USE enum tf_err tf_amqp_session_accept(struct tf_amqp_connection *connection, void *memory,
                                               size_t length, void *user,
                                               struct tf_amqp_session **ret_session);

/* Begins a session; BEGUN follows. Links may be attached at once; what they send waits for it.
 * TF_LIMIT: no channel is left. TF_AGAIN: no room in the output, our open is not sent yet, or NEEDS
 * is to be answered first. TF_CLOSED: the connection is. */
TF_MUST_USE enum tf_err tf_amqp_session_begin(struct tf_amqp_connection *connection, void *memory,
                                              size_t length, void *user,
                                              struct tf_amqp_session **ret_session);

/* Sends end with an error (NULL: none; its texts must last until ENDED). ENDED follows when the
 * peer has answered. */
void tf_amqp_session_end(struct tf_amqp_session *session, const struct tf_amqp_error *error);

/*
 * How many transfer frames the session takes from now on at once, at most config.incoming_window;
 * 0 closes the window. The peer is told by and by.
 */
void tf_amqp_session_window(struct tf_amqp_session *session, uint32_t window);

/* The caller's `user`, as it was given. */
void *tf_amqp_session_user(const struct tf_amqp_session *session);

/* The connection that it is of. */
struct tf_amqp_connection *tf_amqp_session_connection(const struct tf_amqp_session *session);

/* ---- links ---- */

/* The exact bytes of a link, aligned as malloc; 0: invalid config. */
size_t tf_amqp_link_size(const struct tf_amqp_config *config);

/*
 * Takes the link of an ATTACH event in. The answering attach may come later: until
 * tf_amqp_link_attach_reply nothing is sent. `user` is the caller's.
 */
TF_MUST_USE enum tf_err tf_amqp_link_accept(struct tf_amqp_session *session, void *memory,
                                            size_t length, void *user,
                                            struct tf_amqp_link **ret_link);

/*
 * Refuses the link of an ATTACH event, for which no memory is given then: the answering attach goes
 * out without source (where we would send) or target, and detach with the error (2.6.3). `reply` as
 * below. TF_AGAIN: the output is full, again after tf_amqp_sent. TF_NO_MEMORY: lend a longer
 * buffer.
 */
TF_MUST_USE enum tf_err tf_amqp_link_refuse(struct tf_amqp_session *session,
                                            const struct tf_amqp_attach *reply,
                                            const struct tf_amqp_error *error);

/*
 * Sends the answering attach: name, source, target, modes, unsettled map, capabilities and
 * properties are `reply`'s; handle, role and delivery counts the machine's. To refuse, leave out
 * source (where we send) or target (where we receive) and call tf_amqp_link_detach with the error
 * after it (2.6.3). TF_AGAIN: the output is full, again after tf_amqp_sent. TF_NO_MEMORY: lend a
 * longer buffer. TF_CLOSED: the link is no more. It comes before tf_amqp_link_detach also when the
 * peer has detached meanwhile.
 */
TF_MUST_USE enum tf_err tf_amqp_link_attach_reply(struct tf_amqp_link *link,
                                                  const struct tf_amqp_attach *reply);

/* Attaches a link of ours; ATTACHED follows. `attach` as above, with role. TF_LIMIT: no handle is
 * left. TF_AGAIN: NEEDS is to be answered first, or the output is full. TF_NO_MEMORY: lend a longer
 * buffer. TF_CLOSED: the session is over. */
TF_MUST_USE enum tf_err tf_amqp_link_attach(struct tf_amqp_session *session, void *memory,
                                            size_t length, void *user,
                                            const struct tf_amqp_attach *attach,
                                            struct tf_amqp_link **ret_link);

/* Sends detach with an error (NULL: none; its texts must last until it is gone). `closed`: the link
 * ends; else it is suspended. DETACHED with `gone` follows when the peer has detached too, at once
 * (as an event to be pulled) if it has. */
void tf_amqp_link_detach(struct tf_amqp_link *link, bool closed, const struct tf_amqp_error *error);

/* The caller's `user`, as it was given. */
void *tf_amqp_link_user(const struct tf_amqp_link *link);

/* The session that it is of. */
struct tf_amqp_session *tf_amqp_link_session(const struct tf_amqp_link *link);

/* Our role: whether we send or receive. */
enum tf_amqp_role tf_amqp_link_role(const struct tf_amqp_link *link);

/* Where we receive: sets the credit from now on (2.6.7); `drain`: the sender is to use it up or
 * give it back; a FLOW event tells when it has. The flow is sent with the output. */
void tf_amqp_link_credit(struct tf_amqp_link *link, uint32_t credit, bool drain);

/* What is left of the credit: where we send, what the peer gave; else what we gave. */
uint32_t tf_amqp_link_credit_left(const struct tf_amqp_link *link);

/* Where we send and the peer drains: nothing is left; the credit is given back (2.6.7). */
void tf_amqp_link_drained(struct tf_amqp_link *link);

/* Where we send: how many more could be sent now if there was credit, for the next flow. */
void tf_amqp_link_available(struct tf_amqp_link *link, uint32_t available);

/* ---- deliveries ---- */

/* A message to be sent. Views last for the call, but for what is taken by reference. */
struct tf_amqp_sending {
    uint64_t handle;        /* the caller's; comes back in OUTCOME */
    struct tf_bytes tag;    /* 1 to 32 bytes; unique among the unsettled of the link */
    struct tf_bytes head;   /* the first bytes, at most 256: always copied */
    struct tf_bytes prefix; /* the next bytes */
    const struct tf_bytes *body;
    size_t body_count;
    uint64_t owner; /* of prefix and body (the array too); 0: they are all copied */
    uint32_t message_format;
    bool settled; /* sent settled: no OUTCOME follows */
    bool batchable;
};

/*
 * Sends a message on a link where we send, in as many frames as it takes; what does not fit now
 * goes later, so with an owner any length can be sent. *ret_borrowed: `owner` is in use until
 * RETURNED. *ret_delivery: its number.
 * TF_AGAIN: no credit, the session's window is closed, the last delivery of this link is still on
 * its way, an event waits (NEEDS), max_unsettled are unsettled, or the output is full: again when
 * that has changed (FLOW, OUTCOME, tf_amqp_sent). TF_NO_MEMORY: without an owner it needs a longer
 * buffer. TF_LIMIT: without an owner it can't be sent in one frame, or it is above the peer's
 * max-message-size. TF_CLOSED: the link is no more.
 */
TF_MUST_USE enum tf_err tf_amqp_send(struct tf_amqp_link *link,
                                     const struct tf_amqp_sending *sending, bool *ret_borrowed,
                                     uint64_t *ret_delivery);

/*
 * Says what became of a delivery that was received (TRANSFER without `more`). `settled`: and forget
 * it. Words of one kind about neighbours are sent as one range. TF_NOT_FOUND: it is not live (its
 * link is gone, or it came settled): nothing to do. TF_MISUSE: it is not complete. TF_AGAIN: a
 * state with annotations, of a transaction or with an error of OTHER_ERROR finds no room: again
 * after tf_amqp_sent (any other waits by itself; a rejection may lose its description then).
 * TF_NO_MEMORY: such a state is longer than the output or a frame of the peer's.
 */
enum tf_err tf_amqp_dispose(struct tf_amqp_connection *connection, uint64_t delivery,
                            const struct tf_amqp_state *state, bool settled);

/* Settles a delivery that was sent, after OUTCOME or without waiting for it. TF_NOT_FOUND: as
 * above. */
enum tf_err tf_amqp_settle(struct tf_amqp_connection *connection, uint64_t delivery,
                           const struct tf_amqp_state *state);

/* Walks the invariants; false names a bug. */
bool tf_amqp_check(const struct tf_amqp_connection *connection);

#endif
