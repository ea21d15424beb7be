/*
 * A CoAP endpoint over datagrams: client and server at once, with any number of peers. Datagrams
 * in, events out, answers and requests in, datagrams out. No I/O, no clock, no allocation.
 *
 * Call protocol, in a loop:
 *  1. tf_coap_endpoint_lend a buffer for output when there is none.
 *  2. tf_coap_endpoint_input with a datagram that has arrived.
 *  3. tf_coap_endpoint_event until it gives none; answer each as its description says, at once or
 *     later.
 *  4. tf_coap_endpoint_output, send, tf_coap_endpoint_sent; when nothing is left the buffer may be
 *     taken back.
 *  5. tf_coap_endpoint_tick when tf_coap_endpoint_deadline has come, then 3.
 *
 * What the machine does by itself: message ids, acknowledgements, retransmission with back-off,
 * duplicates (RFC 7252 4), unpredictable tokens, NSTART and PROBING_RATE (4.7), resets, pings; as a
 * server the empty ACK of an answer that takes time (5.2.2), 4.02, 4.06, 2.03, 5.05, No-Response,
 * Observe (RFC 7641), block-wise transfers (RFC 7959), Echo (RFC 9175); as a client the matching of
 * responses, Observe with its reordering check, block-wise transfers.
 *
 * What a program does not use is not linked: features are pointers in the config.
 *
 * Handles name requests, calls and observers. Each has a generation: one that has ended is
 * answered by TF_NOT_FOUND and never names another. 0 is no handle.
 */
#ifndef TREFOIL_COAP_ENDPOINT_H
#define TREFOIL_COAP_ENDPOINT_H

#include <trefoil/coap_message.h>
#include <trefoil/datagram.h>
#include <trefoil/time.h>

struct tf_coap_endpoint;
struct tf_coap_feature;

/*
 * What may be linked. A config without `deduplication` runs every duplicate again, which only
 * idempotent handlers bear (4.5); without `separate` every request is to be answered before the
 * next input.
 */
extern const struct tf_coap_feature tf_coap_negotiation; /* 2.03, 4.06, No-Response by itself */
extern const struct tf_coap_feature tf_coap_deduplication;
extern const struct tf_coap_feature tf_coap_separate;         /* answers later; CON of its own */
extern const struct tf_coap_feature tf_coap_observe_server;   /* wants tf_coap_separate */
extern const struct tf_coap_feature tf_coap_block_server;     /* wants tf_coap_separate */
extern const struct tf_coap_feature tf_coap_multicast_server; /* else multicasts are ignored */
extern const struct tf_coap_feature tf_coap_echo_server;
extern const struct tf_coap_feature tf_coap_client; /* wants tf_coap_separate */
extern const struct tf_coap_feature tf_coap_observe_client;
extern const struct tf_coap_feature tf_coap_block_client;

struct tf_coap_features {
    const struct tf_coap_feature *negotiation, *deduplication, *separate, *observe_server,
        *block_server, *multicast_server, *echo_server, *client, *observe_client, *block_client;
};

/* RFC 7252 4.8; zero in a field means the default of the standard, as does what is out of range. */
struct tf_coap_transmission {
    uint32_t ack_timeout_ms;      /* 2,000 */
    uint16_t ack_random_percent;  /* ACK_RANDOM_FACTOR in hundredths: 150; at least 100 */
    uint8_t max_retransmit;       /* 4; TF_COAP_NO_RETRANSMIT: none */
    uint32_t max_latency_ms;      /* 100,000 */
    uint32_t processing_delay_ms; /* ack_timeout_ms */
};

#define TF_COAP_NO_RETRANSMIT 255u

/* Read during init and while the endpoint lives. */
struct tf_coap_endpoint_config {
    struct tf_coap_features features;
    struct tf_coap_transmission transmission;
    uint16_t nstart;             /* outstanding interactions with a peer: 1 (4.7) */
    uint32_t probing_rate;       /* bytes a second to a peer that does not answer: 1 (4.7) */
    uint32_t default_leisure_ms; /* of answers to a multicast: 5,000 (8.2) */
    uint32_t separate_after_ms;  /* an unanswered CON request gets its empty ACK after: 250 */

    size_t path_size;         /* bytes of a path; 0: one peer only */
    uint32_t peers;           /* remembered at once; idle ones make room for new ones */
    uint32_t requests;        /* inbound, taken and not answered yet; block-wise bodies are such */
    uint32_t calls;           /* outbound requests not completed yet, observations included */
    uint32_t exchanges;       /* outbound CON not acknowledged, and messages that wait to be sent */
    uint32_t replies;         /* kept against duplicates; the oldest make room */
    uint32_t observers;       /* of all resources */
    uint32_t transfers;       /* bodies under way block by block, both roles and directions */
    uint32_t buffers;         /* blocks of 128 bytes for replies and for what may be sent again */
    uint32_t datagram_max;    /* bytes of a datagram to send; 0: TF_COAP_DATAGRAM_MAX */
    uint32_t body_max;        /* of a request's body: 4.13 with Size1 above */
    uint32_t body_timeout_ms; /* a body whose next block does not come is given up: 247,000 */
    uint8_t block_szx;        /* the largest block to offer or take: 0 to 6 */
    bool notify_con;          /* every notification is a CON; else one at times (RFC 7641 4.5) */
    uint32_t notify_con_every_ms; /* a CON at least so often: 86,400,000 */
    uint32_t notify_con_after;    /* and after so many NON: 255; 0: only by time */
    bool proxy; /* Proxy-Uri and Proxy-Scheme are the application's; else 5.05 (5.7.2) */

    /* Critical options beyond those Trefoil knows that the application understands; ascending. */
    const uint16_t *known_options;
    size_t known_option_count;

    /* Fills memory with bytes nobody can guess. */
    void (*random)(void *ctx, void *data, size_t length);
    void *random_ctx;
};

enum tf_coap_event_type {
    /*
     * A request. `message` borrows the datagram until the next input or tick. Answer it once, with
     * tf_coap_respond or tf_coap_ignore, at once or later; a CON gets its empty ACK by itself.
     * `observe`: the client wants to observe (GET or FETCH): see tf_coap_respond.
     * Of a body in blocks this is the first: `body` is its first run, `more` says that others
     * follow as BODY events under the same handle; the machine acknowledges each block. Answer
     * after the last one, or earlier with an error, which ends the transfer.
     */
    TF_COAP_EVENT_REQUEST = 1,
    /* The next run of a request's body at `offset`; the last has `more` false. */
    TF_COAP_EVENT_BODY,
    /*
     * A request needs no answer any more: its body was given up (a newer one, a time-out). The
     * handle has ended.
     */
    TF_COAP_EVENT_CANCELLED,
    /* `observer` may be notified again, after tf_coap_notify said TF_AGAIN. */
    TF_COAP_EVENT_OBSERVER_READY,
    /* `observer` has ended by itself: it asked to, or anew; reset a notification; got 4.06, because
     * the Content-Format changed; or a CON notification to its peer was not acknowledged. */
    TF_COAP_EVENT_OBSERVER_GONE,
    /* `owner`'s body, lent in a response, is no longer needed. */
    TF_COAP_EVENT_RETURNED,

    /*
     * The answer to `call`, or the next notification of an observation. `message` has its code and
     * options, `body` a run of its body at `offset`; while `more`, others follow as RESPONSE
     * events. A run at offset 0 begins a representation anew, whatever came before it (the resource
     * has changed meanwhile). With `last` the call has completed and its handle has ended. For a
     * multicast, `path` tells whose answer it is.
     */
    TF_COAP_EVENT_RESPONSE,
    /*
     * `call` has ended without an answer, or its observation with it. `err`: TF_AGAIN: time-out;
     * TF_CLOSED: reset by the peer; TF_PROTOCOL: an answer that makes no sense (a body whose blocks
     * do not fit together); TF_LIMIT: the body keeps changing, or grew past a limit.
     */
    TF_COAP_EVENT_FAILED,
    /* The peer is there: the answer to tf_coap_ping. The call has completed. */
    TF_COAP_EVENT_PONG,
    /* `call` was sent again; only for calls that asked for it (`trace`). */
    TF_COAP_EVENT_RETRANSMITTED
};

struct tf_coap_event {
    enum tf_coap_event_type type;
    enum tf_err err;
    uint64_t handle;         /* request, call or observer */
    void *user;              /* of the request (tf_coap_set_user), call or observer */
    const void *path;        /* of the peer, `path_size` bytes; borrowed like the message */
    uint8_t flags;           /* of the datagram: TF_DATAGRAM_MULTICAST, _TRUSTED */
    bool observe;            /* REQUEST: wants to observe; RESPONSE: is a notification */
    bool more;               /* the body goes on */
    bool last;               /* the call has completed */
    uint32_t sequence;       /* of a notification: Observe's 24 bits */
    uint32_t offset;         /* of `body` in the whole */
    uint32_t total;          /* Size1 or Size2 where given, else 0 */
    uint32_t round_trip_us;  /* from first sending to this answer */
    uint8_t retransmissions; /* that it took */
    struct tf_coap_message message;
    struct tf_bytes body;
    uint64_t owner;
};

/* The exact bytes that an endpoint takes, aligned as malloc; 0: invalid config. */
size_t tf_coap_endpoint_size(const struct tf_coap_endpoint_config *config);

/*
 * Makes an endpoint in `memory`, of which it touches only what it comes to use. TF_MISUSE: the
 * config is invalid. TF_NO_MEMORY: `length` is too small. Nothing needs to be released but what
 * was lent and owners not yet RETURNED.
 */
TF_MUST_USE enum tf_err tf_coap_endpoint_init(struct tf_coap_endpoint **ret, void *memory,
                                              size_t length,
                                              const struct tf_coap_endpoint_config *config,
                                              tf_time now);

/* Lends a buffer for output, at least the size that tf_coap_output_min tells. TF_MISUSE: there is
 * one already, or it is too small. */
TF_MUST_USE enum tf_err tf_coap_endpoint_lend(struct tf_coap_endpoint *endpoint, void *buffer,
                                              size_t length);

/* The least output buffer: room for one datagram and its path. */
size_t tf_coap_output_min(const struct tf_coap_endpoint_config *config);

/* Takes the buffer back if nothing in it is unsent; NULL otherwise. */
void *tf_coap_endpoint_take(struct tf_coap_endpoint *endpoint);

/*
 * Takes a datagram. What breaks the format is answered or ignored as RFC 7252 4.2 and 4.3 say.
 * TF_OK: taken; an event may be waiting. TF_AGAIN: not taken: pull the events, or lend or drain
 * output, then call again. TF_MISUSE: no datagram.
 */
TF_MUST_USE enum tf_err tf_coap_endpoint_input(struct tf_coap_endpoint *endpoint,
                                               const struct tf_datagram *in, tf_time now);

/* The next event; false if there is none. Its views last until the next input or tick. */
bool tf_coap_endpoint_event(struct tf_coap_endpoint *endpoint, struct tf_coap_event *ret);

/* Up to `count` datagrams to send, in order; 0: nothing. They stay until `sent`. */
size_t tf_coap_endpoint_output(struct tf_coap_endpoint *endpoint, struct tf_datagram *ret,
                               size_t count);

/* The first `count` of them have been sent, or given up: a lost datagram is the network's affair.
 */
void tf_coap_endpoint_sent(struct tf_coap_endpoint *endpoint, size_t count, tf_time now);

/* When tf_coap_endpoint_tick wants to be called; TF_TIME_NEVER: not before something else. */
tf_time tf_coap_endpoint_deadline(const struct tf_coap_endpoint *endpoint);

/*
 * Time has passed: retransmissions, time-outs, delayed answers, as far as output has room; when it
 * does not, the deadline stays in the past until there is. While an event waits to be pulled, it
 * does nothing.
 */
void tf_coap_endpoint_tick(struct tf_coap_endpoint *endpoint, tf_time now);

/* ---- as a server ---- */

struct tf_coap_response {
    uint8_t code;
    const struct tf_coap_option *options; /* ascending; without Observe, Block, Size2, Echo */
    size_t option_count;
    /*
     * The whole body, in pieces: the machine takes the block that was asked for (with `Block2`,
     * `Size2`; give an ETag, so that a client sees a change). Copied during the call, or lent,
     * array and bytes:
     */
    const struct tf_bytes *body;
    size_t body_count;
    /*
     * Not 0: the body stays until RETURNED, so that the rest of an answer to POST, PUT, FETCH,
     * PATCH or iPATCH that is longer than one block can follow. With 0 such an answer is
     * TF_MISUSE. GET needs none: each block is a request of its own.
     */
    uint64_t owner;
    /* For a request with `observe`: keep the client as an observer; see tf_coap_respond. */
    bool observe;
    uint32_t sequence; /* Observe's number; its 24 bits */
    bool con;          /* a notification is a CON, even where the config allows a NON */
    void *user;        /* the observer's */
};

/*
 * Answers a request, piggybacked if its CON has not been acknowledged yet, else as a message of its
 * own. 2.05 whose ETag the request names becomes 2.03; one whose Content-Format is not the one
 * accepted, 4.06; what the client does not want to hear (No-Response) is not sent; before the peer
 * has proved its address, an answer above three times the request becomes smaller blocks, or 4.01
 * with Echo. `*ret_observer` (may be NULL) is the observer if the answer, a success, made the
 * client one; 0 if there was no room for it: then it got a plain answer.
 * *ret_borrowed (may be NULL when owner is 0): the body is lent until RETURNED.
 * An answer of its own is a CON, but a NON while no exchange is free or its peer has left many
 * without an acknowledgement.
 * TF_NOT_FOUND: the request has ended. TF_AGAIN: no room for output, or no record for the peer: try
 * again after output was sent or a tick; never when answered before the next input.
 * TF_MISUSE: a body that needs an owner, options out of order or too long for a datagram.
 */
TF_MUST_USE enum tf_err tf_coap_respond(struct tf_coap_endpoint *endpoint, uint64_t request,
                                        const struct tf_coap_response *response,
                                        uint64_t *ret_observer, bool *ret_borrowed, tf_time now);

/* Ends a request without an answer (a CON is acknowledged); to a multicast mostly. */
void tf_coap_ignore(struct tf_coap_endpoint *endpoint, uint64_t request, tf_time now);

/* Keeps a pointer of the caller's with a request until it ends. TF_NOT_FOUND: it has ended. */
TF_MUST_USE enum tf_err tf_coap_set_user(struct tf_coap_endpoint *endpoint, uint64_t request,
                                         void *user);

/*
 * Sends a notification: 2.05 or 2.03 with `sequence`; any other code ends the observation with it
 * and frees the observer. Fields `observe`, `user` and `owner` of the response mean nothing here.
 * A body above one block goes as its first block; the client fetches the rest by GET.
 * TF_AGAIN: the peer has not acknowledged the last one, or the rate is reached: OBSERVER_READY
 * follows; notify then, with what is newest. TF_LIMIT: no room for output: call again after some
 * was sent. TF_NOT_FOUND: there is no such observer. TF_MISUSE: as for tf_coap_respond.
 */
TF_MUST_USE enum tf_err tf_coap_notify(struct tf_coap_endpoint *endpoint, uint64_t observer,
                                       const struct tf_coap_response *response, tf_time now);

/* Forgets an observer without a word. */
void tf_coap_unobserve(struct tf_coap_endpoint *endpoint, uint64_t observer);

#define TF_COAP_NO_FORMAT UINT32_MAX

/* What a server keeps of an observer that is to outlast the endpoint. */
struct tf_coap_registration {
    const void *path;      /* of the registration: `path_size` bytes */
    struct tf_bytes token; /* the same; up to 8 bytes */
    uint32_t format;   /* Content-Format of the representation; TF_COAP_NO_FORMAT: it has none */
    uint8_t block_szx; /* of the Block2 option it had; above 6: it had none */
    bool trusted;      /* it had TF_DATAGRAM_TRUSTED: the address needs no proof */
    void *user;        /* the observer's */
};

/*
 * Makes an observer of an earlier endpoint's again, without a request. Notify it at once, by a CON
 * and with a `sequence` above all it has been told (RFC 7641 4.4): who is there no more, or knows
 * of no such observation, then ends it. TF_LIMIT: no room for an observer or its peer, or the peer
 * observes by this token already. TF_MISUSE: the token is too long, or the endpoint has no
 * observers.
 */
TF_MUST_USE enum tf_err tf_coap_observe_again(struct tf_coap_endpoint *endpoint,
                                              const struct tf_coap_registration *registration,
                                              uint64_t *ret_observer, tf_time now);

/* ---- as a client ---- */

struct tf_coap_request {
    uint8_t method;
    bool non;        /* NON; else CON */
    bool observe;    /* Observe 0; the machine registers anew when it must */
    bool multicast;  /* `path` is a group: NON, many answers, until the time is over */
    bool raw_blocks; /* Block options are the caller's: random access, one message each way */
    bool trace;      /* RETRANSMITTED events are wanted */
    /* Bytes of a block to offer, both ways: a power of two from 16 to 1,024; 0, or above the
     * config's: the config's. */
    uint16_t block_size;
    const struct tf_coap_option *options; /* ascending; copied */
    size_t option_count;
    /* Lent until the call has completed if it is longer than one block; else copied. */
    const struct tf_bytes *body;
    size_t body_count;
    const struct tf_coap_transmission *transmission; /* copied; NULL: the endpoint's */
    uint32_t timeout_ms; /* for the whole answer; 0: EXCHANGE_LIFETIME, NON_LIFETIME (4.8.2) */
    void *user;
};

/*
 * Sends a request to `path`, or queues it behind NSTART others. Its RESPONSE or FAILED follows.
 * TF_LIMIT: no call, exchange or buffer is free: wait for one to complete. TF_MISUSE: options out
 * of order, or header and options over a datagram.
 */
TF_MUST_USE enum tf_err tf_coap_call(struct tf_coap_endpoint *endpoint, const void *path,
                                     const struct tf_coap_request *request, uint64_t *ret_call,
                                     tf_time now);

/* Sends an empty CON (4.3): PONG or FAILED follows. Errors as tf_coap_call. */
TF_MUST_USE enum tf_err tf_coap_ping(struct tf_coap_endpoint *endpoint, const void *path,
                                     void *user, uint64_t *ret_call, tf_time now);

/*
 * Ends a call: no event of it follows. Of an observation with `tell`, the server is told by a GET
 * with Observe 1 (RFC 7641 3.6), whose answer comes as RESPONSE with `last`.
 */
void tf_coap_cancel(struct tf_coap_endpoint *endpoint, uint64_t call, bool tell, tf_time now);

/* ---- for statistics and tests ---- */

struct tf_coap_counters {
    unsigned long datagrams_in, datagrams_out, bytes_in, bytes_out;
    unsigned long format_errors, resets_in, resets_out, duplicates, retransmissions, timeouts;
    unsigned long requests_in, responses_in;
    uint32_t peers, requests, calls, exchanges, replies, observers, transfers, buffers; /* now */
};

/* What the endpoint has counted; lasts as long as the endpoint. */
const struct tf_coap_counters *tf_coap_endpoint_counters(const struct tf_coap_endpoint *endpoint);

/* Checks the invariants; false names a bug in the library. For tests, fuzzers, the simulator. */
bool tf_coap_endpoint_check(const struct tf_coap_endpoint *endpoint);

#endif
