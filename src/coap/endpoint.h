/*
 * What the files of the CoAP endpoint machine share: its tables, its hooks, and the functions that
 * features use. The contract towards applications is include/trefoil/coap_endpoint.h; invariants
 * and state diagrams stand at the head of endpoint.c.
 *
 * The core (endpoint.c, input.c, respond.c, output.c, pool.c) answers requests piggybacked and
 * knows nothing else. All that a small server can do without is a feature: a table of hooks that is
 * called when config->features names it, and never by name, so that the linker drops it else. Any
 * feature brings the extension (extension.c) with it, which calls their hooks in order.
 *
 * Whoever calls must know:
 *  - Items of pools are named by pointers inside the machine and by handles outside. Pointers stay
 *    valid until the item is freed; memory of an item is zero when it is new.
 *  - Nothing here calls the application. What it is to learn is either the one `current` event (it
 *    borrows the datagram, so there is one) or a notice, of which any number may wait.
 */
#ifndef TF_COAP_ENDPOINT_H
#define TF_COAP_ENDPOINT_H

#include <trefoil/coap_endpoint.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/util.h"

/* ---- pools: equal items, by handle and (where a table is needed) by hash (pool.c) ---- */

/* The head of each item. */
struct tf_coap_slot {
    uint32_t generation; /* odd: live */
    uint32_t next;       /* index + 1: in the free list, or in its bucket's chain */
    uint32_t hash;       /* while linked */
    bool linked;
};

/*
 * Items that were never used lie above `high` and are not touched; nor are buckets above
 * `buckets_used`, since the table grows by linear hashing: one bucket more for each item more.
 */
struct tf_coap_pool {
    uint8_t *items;
    uint32_t *buckets; /* as many as items; NULL: not a table */
    uint32_t item_size, count, high, free, used, buckets_used;
};

/* A new item, all zero; NULL: none is free. */
void *tf_coap_pool_new(struct tf_coap_pool *pool);
/* Ends an item; its handles end with it. Unlink it before. */
void tf_coap_pool_free(struct tf_coap_pool *pool, void *item);
/* The live item of a handle, or NULL. */
void *tf_coap_pool_find(const struct tf_coap_pool *pool, uint64_t handle);
/* The handle of a live item: generation << 32 | index + 1. */
uint64_t tf_coap_pool_handle(const struct tf_coap_pool *pool, const void *item);
/* The item at an index below `high`, or NULL when it is free: to walk all. */
void *tf_coap_pool_at(const struct tf_coap_pool *pool, uint32_t index);
/* Enters an item under a hash (any bits; they should be keyed), takes it out if it is in. */
void tf_coap_pool_link(struct tf_coap_pool *pool, void *item, uint32_t hash);
void tf_coap_pool_unlink(struct tf_coap_pool *pool, void *item);
/* The first item with this hash, the next one with the hash of `item`; NULL: no more. */
void *tf_coap_pool_first(const struct tf_coap_pool *pool, uint32_t hash);
void *tf_coap_pool_next(const struct tf_coap_pool *pool, const void *item);

/* ---- chains: copies of datagrams and options in blocks of 128 bytes (chain.c) ---- */

#define TF_COAP_BUFFER 128u

struct tf_coap_chain {
    uint32_t first; /* index + 1; 0: empty */
    uint32_t length;
};

/* Copies bytes into a new chain. False: too few blocks are free, even without kept replies (the
 * oldest make room); nothing has changed then. */
bool tf_coap_chain_put(struct tf_coap_endpoint *endpoint, struct tf_coap_chain *ret,
                       struct tf_bytes bytes);
/* Copies it out; `to` has room for chain->length bytes. */
void tf_coap_chain_get(const struct tf_coap_endpoint *endpoint, const struct tf_coap_chain *chain,
                       uint8_t *to);
/* Frees it and makes it empty. */
void tf_coap_chain_free(struct tf_coap_endpoint *endpoint, struct tf_coap_chain *chain);

/* ---- timers: one heap (deadline.c) ---- */

struct tf_coap_timer {
    tf_time at;
    uint32_t place; /* in the heap, from 1; 0: not set */
    /*
     * It is time. True: done, and the timer has been set later or stopped. False: output has no
     * room; it stays, and fires again when there is.
     */
    bool (*fire)(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer, tf_time now);
};

/* Sets a timer, anew if it was set. The items of a pool have one each: more would
 * not fit the heap. */
void tf_coap_timer_set(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer, tf_time at);
void tf_coap_timer_stop(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer);

/* tf_coap_endpoint_tick, where there are timers. */
void tf_coap_run_timers(struct tf_coap_endpoint *endpoint, tf_time now);

/* ---- notices: events that borrow nothing (extension.c) ---- */

struct tf_coap_notice {
    struct tf_coap_notice *next;
    /*
     * Fills the event (zeroed but for nothing) when it is pulled, and may free the item that the
     * notice is in. It may also find that nothing is to be told any more: false.
     */
    bool (*fill)(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                 struct tf_coap_event *ret);
    bool waiting;
};

/* Queues a notice; nothing if it waits already (then `fill` is the new one). */
void tf_coap_notify_later(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice,
                          bool (*fill)(struct tf_coap_endpoint *endpoint,
                                       struct tf_coap_notice *notice, struct tf_coap_event *ret));
/* Takes a notice out, if it waits. Walks the queue: for rare cases. */
void tf_coap_notice_drop(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice);

/* ---- peers (peer.c; only with a feature that needs them) ---- */

/* What is known of another endpoint. One without references may make room for a new one. */
struct tf_coap_peer {
    struct tf_coap_slot slot;
    uint64_t path_hash;
    uint32_t references;  /* exchanges, calls, observers, transfers, settled requests */
    uint16_t message_id;  /* the next one to use */
    uint16_t outstanding; /* calls that NSTART counts */
    struct tf_coap_call *queue_first, *queue_last; /* calls behind NSTART, in order */
    /* observe_server's: all of the peer; those that wait for their turn; CON notifications that
     * are not acknowledged; until when the NON ones sent so far use up the rate. */
    struct tf_coap_observer *observers, *waiting_first, *waiting_last;
    uint16_t notifying;
    tf_time notified;
    uint16_t bodies;  /* block_client's: of calls, on their way in blocks */
    tf_time probe_at; /* PROBING_RATE: before this no NON call to a silent peer goes out */
    bool used;        /* since the clock hand came by */
    bool proved;      /* it has shown that it receives at its address */
    bool heard;       /* it has answered a call, or acknowledged one */
    bool has_acked;
    uint16_t acked_id; /* of the last CON response of its that was acknowledged */
    tf_time acked_at;
    uint8_t path[]; /* config->path_size bytes */
};

/* The hash of a path, or of any bytes; keyed by this endpoint's secret. */
uint64_t tf_coap_hash(const struct tf_coap_endpoint *endpoint, struct tf_bytes bytes);
/* The peer on a path; NULL: not remembered. */
struct tf_coap_peer *tf_coap_peer_find(struct tf_coap_endpoint *endpoint, const void *path,
                                       uint64_t path_hash);
/* The same, made if there is none; NULL: all are in use. */
struct tf_coap_peer *tf_coap_peer_get(struct tf_coap_endpoint *endpoint, const void *path,
                                      uint64_t path_hash);
/* Holds a peer; lets it go. */
static inline void tf_coap_peer_ref(struct tf_coap_peer *peer)
{
    peer->references++;
}
static inline void tf_coap_peer_unref(struct tf_coap_peer *peer)
{
    tf_assert(peer->references);
    peer->references--;
}
/* What a thing of a peer is linked under in a pool's table: its path with a number. */
static inline uint32_t tf_coap_mix(uint64_t path_hash, uint32_t number)
{
    return (uint32_t)path_hash + number * UINT32_C(0x9e3779b1);
}
/* A message id for a message to this peer (RFC 7252 4.4); one of the endpoint's for NULL. */
uint16_t tf_coap_message_id(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer);

/* ---- output (output.c) ---- */

#define TF_COAP_EXTRAS 8u

/* A message to be written: the application's options merged with the machine's own, and a run of a
 * body that lies in pieces. */
struct tf_coap_outgoing {
    uint8_t type, code;
    uint16_t message_id;
    struct tf_bytes token;
    const struct tf_coap_option *options; /* ascending */
    size_t option_count;
    struct tf_bytes encoded_options; /* or: as they stand in a message; if `options` is NULL */
    uint16_t skip;                   /* an option that is left out; 0: none */
    uint8_t extra_count;
    struct tf_coap_option extra[TF_COAP_EXTRAS]; /* the machine's, ascending */
    uint8_t extra_value[TF_COAP_EXTRAS][4];
    uint8_t echo_block[4]; /* echo_server's: a Block2 that it made smaller */
    const struct tf_bytes *body;
    size_t body_count;
    size_t offset, length; /* the run of the body to send */
};

/* Adds an option of the machine's, in any order; the view must last until it is written. */
void tf_coap_extra(struct tf_coap_outgoing *out, uint16_t number, struct tf_bytes value);
void tf_coap_extra_uint(struct tf_coap_outgoing *out, uint16_t number, uint32_t value);
void tf_coap_extra_block(struct tf_coap_outgoing *out, uint16_t number, uint32_t block_number,
                         bool more, uint8_t szx);

/* True if the machine has added this option. */
static inline bool tf_coap_has_extra(const struct tf_coap_outgoing *out, uint16_t number)
{
    unsigned at = 0;

    while (at < out->extra_count && out->extra[at].number != number)
        at++;
    return at < out->extra_count;
}

/* The bytes of a body in pieces. */
size_t tf_coap_body_length(const struct tf_bytes *body, size_t count);

/*
 * True if there is room for one datagram more. `own`: not counting what is kept free for the
 * answer to the request that has just come; only tf_coap_respond and what input does by itself may
 * ask so.
 */
bool tf_coap_room(const struct tf_coap_endpoint *endpoint, bool own);

/*
 * Writes a message into the output. TF_AGAIN: no room (tf_coap_room was false). TF_MISUSE: options
 * out of order, or it is longer than a datagram. *ret_datagram (may be NULL): what was written, to
 * be copied; it stays in the output until sent.
 */
enum tf_err tf_coap_write(struct tf_coap_endpoint *endpoint, const void *path,
                          const struct tf_coap_outgoing *out, struct tf_bytes *ret_datagram,
                          bool own);
/* Writes bytes that are a datagram already, from a chain. False: no room. */
bool tf_coap_write_chain(struct tf_coap_endpoint *endpoint, const void *path,
                         const struct tf_coap_chain *chain, bool own);
/* Writes an empty ACK or RST. There must be room (`own`). */
void tf_coap_write_empty(struct tf_coap_endpoint *endpoint, const void *path,
                         enum tf_coap_type type, uint16_t message_id);
/* Takes the last datagram back that was written and not yet given out by _output. */
void tf_coap_unwrite(struct tf_coap_endpoint *endpoint, struct tf_bytes datagram);

/* ---- what has come ---- */

/* Bits of tf_coap_inbound.seen: options that are there, and valid. */
enum tf_coap_seen {
    TF_COAP_SEEN_OBSERVE = 1,
    TF_COAP_SEEN_ACCEPT = 2,
    TF_COAP_SEEN_BLOCK1 = 4,
    TF_COAP_SEEN_BLOCK2 = 8,
    TF_COAP_SEEN_SIZE1 = 16,
    TF_COAP_SEEN_SIZE2 = 32,
    TF_COAP_SEEN_ECHO = 64,
    TF_COAP_SEEN_NO_RESPONSE = 128,
    TF_COAP_SEEN_PROXY = 256,
    TF_COAP_SEEN_REQUEST_TAG = 512,
    TF_COAP_SEEN_ETAG = 1024,
    TF_COAP_SEEN_MAX_AGE = 2048,
    TF_COAP_SEEN_CONTENT_FORMAT = 4096
};

#define TF_COAP_ETAGS 4u /* of a request are looked at; more are ignored (5.10.6.2 allows) */

/* A datagram and what one pass over its options found. Lives on the stack of input. */
struct tf_coap_inbound {
    const struct tf_datagram *datagram;
    struct tf_coap_message message;
    uint64_t path_hash; /* 0 unless endpoint->hash is set */
    uint16_t seen;      /* enum tf_coap_seen */
    uint8_t error; /* the code to refuse a request with; 0: none. In a response: not 0: reject */
    uint8_t etag_count;
    uint16_t accept, content_format;
    uint8_t no_response;
    struct tf_coap_block block1, block2;
    uint32_t observe, size1, size2, max_age;
    struct tf_bytes echo, etag[TF_COAP_ETAGS];
};

/* ---- requests (request.c, respond.c) ---- */

/*
 * A request that has come and has no answer yet. FRESH until the next input, tick or output; then,
 * if it is still there, it is settled: features take what they need to answer later.
 */
struct tf_coap_request_slot {
    struct tf_coap_slot slot;
    struct tf_coap_timer timer;        /* separate: when the empty ACK goes */
    struct tf_coap_notice notice;      /* CANCELLED */
    struct tf_coap_peer *peer;         /* held while settled; else NULL */
    struct tf_coap_transfer *transfer; /* block_server's: the body of this request */
    void *user;
    const void *path; /* behind this struct in a pool, or the datagram's */
    uint64_t path_hash;
    uint64_t datagram_hash; /* deduplication's */
    uint16_t message_id;
    uint16_t request_size; /* of the datagram */
    uint16_t seen;         /* enum tf_coap_seen */
    uint16_t accept;
    uint8_t type, method;
    uint8_t flags; /* of the datagram */
    uint8_t token_length, token[TF_COAP_TOKEN_MAX];
    uint8_t no_response;
    bool acknowledged; /* the empty ACK has gone: the answer is a message of its own */
    bool settled;
    bool observe;    /* wants to observe; set by observe_server's request hook */
    bool body_open;  /* block_server: the last block has not come */
    bool proved;     /* echo_server: this very request shows its address */
    uint8_t echo[8]; /* and the value that it is to show */
    bool ended;      /* CANCELLED waits to be pulled: nothing else may be done */
    struct tf_coap_block block1, block2;
    uint64_t block_key; /* block_server: what its blocks have in common */
    uint8_t etag_count, etag_length[TF_COAP_ETAGS], etag[TF_COAP_ETAGS][TF_COAP_ETAG_MAX];
};

/* What a hook wants done with what has come. */
enum tf_coap_verdict {
    TF_COAP_GO_ON, /* nothing special */
    TF_COAP_DONE   /* it is dealt with: answered, or kept, or dropped */
};

/* Copies what an answer needs from a message that has come, but for its options. */
void tf_coap_request_take(struct tf_coap_request_slot *request, const struct tf_coap_inbound *in);

/*
 * Answers on the machine's own account, with a code and extras, and lets deduplication keep it; the
 * slot lives on. `out` may hold extras, else NULL. There is room, since nothing has been answered
 * to this datagram yet.
 */
void tf_coap_reply(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                   uint8_t code, struct tf_coap_outgoing *out, tf_time now);
/* The same with one option or none (NULL). */
void tf_coap_refuse(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                    uint8_t code, const struct tf_coap_option *option, tf_time now);
/* The same with all that `out` has: code, options and body too. */
void tf_coap_reply_with(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                        struct tf_coap_outgoing *out, tf_time now);

/*
 * The next message of a request that is in the pool (a block of its body): it takes the place of
 * the one before, which has been answered; `from` is the scratch slot. The request is fresh again.
 */
void tf_coap_request_adopt(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                           const struct tf_coap_request_slot *from);

/* The request that came last and was not answered at once is settled; nothing if there is none. */
void tf_coap_settle(struct tf_coap_endpoint *endpoint, tf_time now);

/* Frees a request in the pool: timers, peer, `ended` hooks. Not its event. */
void tf_coap_request_free(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request);

/* Ends a request with a CANCELLED event (at once if its REQUEST event was not pulled yet). */
void tf_coap_request_cancel(struct tf_coap_endpoint *endpoint,
                            struct tf_coap_request_slot *request);

/* ---- exchanges: what waits for an ACK, or for its time to go (exchange.c, by tf_coap_separate) */

enum tf_coap_outcome {
    TF_COAP_ACKNOWLEDGED, /* by an ACK (the response in it, if any, is the client's business) */
    TF_COAP_RESET,
    TF_COAP_TIMED_OUT
};

struct tf_coap_exchange {
    struct tf_coap_slot slot; /* linked by peer and message id */
    struct tf_coap_timer timer;
    struct tf_coap_peer *peer; /* held */
    struct tf_coap_chain datagram;
    const struct tf_coap_transmission *transmission;
    tf_time first_sent;
    tf_time timeout; /* the present one; doubled each time */
    uint16_t message_id;
    uint8_t retransmissions;
    bool delayed; /* NON that waits for its time: goes once */
    /* Ends it for its owner; the exchange is freed right after, and may be used no more. */
    void (*done)(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange,
                 enum tf_coap_outcome outcome, tf_time now);
    /* It was sent again; may be NULL. */
    void (*again)(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange);
    void *owner;
};

/*
 * Sends a CON and keeps it until acknowledged. Sets type and message id itself. TF_AGAIN: no room
 * in the output. TF_LIMIT: no exchange or no buffer is free. TF_MISUSE: as tf_coap_write. Nothing
 * has happened then. `done` is called exactly once unless the exchange is freed before. `own`: see
 * tf_coap_room.
 */
enum tf_err tf_coap_exchange_start(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                                   struct tf_coap_outgoing *out, bool own,
                                   struct tf_coap_exchange **ret, tf_time now);
/* The same with parameters of its own, which must last; NULL: the endpoint's. */
enum tf_err tf_coap_exchange_start_with(struct tf_coap_endpoint *endpoint,
                                        struct tf_coap_peer *peer, struct tf_coap_outgoing *out,
                                        bool own, const struct tf_coap_transmission *transmission,
                                        struct tf_coap_exchange **ret, tf_time now);
/* Keeps a NON until its time has come. Type and message id are set here; the output serves as
 * scratch. Errors as above. */
enum tf_err tf_coap_exchange_delay(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                                   struct tf_coap_outgoing *out, tf_time at);
/* The exchange of a peer with this message id, or NULL. */
struct tf_coap_exchange *tf_coap_exchange_find(const struct tf_coap_endpoint *endpoint,
                                               const struct tf_coap_peer *peer,
                                               uint16_t message_id);
/* An ACK or RST with this message id came from the peer: ends the exchange that it is for. */
void tf_coap_exchange_answer(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                             uint16_t message_id, enum tf_coap_outcome outcome, tf_time now);
/* Gives an exchange up without calling `done`. */
void tf_coap_exchange_free(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange);

/* ---- replies kept against duplicates (deduplication.c) ---- */

struct tf_coap_reply {
    struct tf_coap_slot slot; /* linked by path hash and message id */
    uint64_t path_hash, datagram_hash;
    tf_time expiry;
    struct tf_coap_chain datagram; /* empty: nothing was answered */
    struct tf_coap_reply *older, *newer;
    uint16_t message_id;
};

/* ---- observers (observe_server.c; its author may add fields) ---- */

struct tf_coap_observer {
    struct tf_coap_slot slot;              /* linked by peer and token */
    struct tf_coap_notice notice;          /* OBSERVER_READY, OBSERVER_GONE */
    struct tf_coap_peer *peer;             /* held */
    struct tf_coap_observer *prev, *next;  /* of the peer */
    struct tf_coap_observer *waiting_next; /* of the peer, while `waiting` */
    struct tf_coap_exchange *exchange;     /* a CON notification that is not acknowledged */
    void *user;
    tf_time last_con;
    uint32_t non_count; /* NON notifications since the last CON */
    uint16_t last_id;   /* message id of the last NON, which a RST may name */
    uint16_t format;    /* Content-Format of the representation, if has_format */
    bool has_last_id, has_format, settled_format;
    bool waiting; /* TF_AGAIN was said: OBSERVER_READY is owed */
    bool gone;    /* OBSERVER_GONE waits to be pulled */
    uint8_t szx;  /* of the block size the client asked for; above 6: none */
    uint8_t token_length, token[TF_COAP_TOKEN_MAX];
};

/* Blocks of 64 bytes at most go to an address that has not been proved (RFC 9175 2.4). */
#define TF_COAP_SZX_UNPROVED 2u

/* ---- calls (client.c) ---- */

enum tf_coap_call_state {
    TF_COAP_CALL_QUEUED,  /* behind NSTART, PROBING_RATE or for want of room -> SENT */
    TF_COAP_CALL_SENT,    /* not acknowledged yet (NON: not answered) -> WAITING, IDLE, ended */
    TF_COAP_CALL_WAITING, /* acknowledged; the answer is to come -> IDLE, ended */
    TF_COAP_CALL_IDLE,    /* nothing is outstanding: an observation -> SENT (again), ended */
    TF_COAP_CALL_ENDED    /* FAILED or PONG waits to be pulled */
};

struct tf_coap_call {
    struct tf_coap_slot slot;   /* linked by token */
    struct tf_coap_timer timer; /* the time-out of the answer; IDLE: the features' */
    struct tf_coap_notice notice;
    struct tf_coap_peer *peer; /* held */
    struct tf_coap_call *queue_next;
    struct tf_coap_exchange *exchange; /* SENT as CON */
    struct tf_coap_chain options;      /* the application's, encoded; without what extras add */
    struct tf_coap_chain copy;         /* of a short body */
    const struct tf_bytes *body;       /* or the lent body */
    size_t body_count, body_length;
    struct tf_coap_transmission transmission;
    void *user;
    tf_time first_sent;
    uint32_t timeout_ms;
    uint32_t round_trip_us; /* of a ping, once ENDED */
    uint16_t message_id;
    uint8_t method;
    uint8_t state; /* enum tf_coap_call_state */
    uint8_t retransmissions;
    int8_t err; /* ENDED */
    uint8_t token[TF_COAP_TOKEN_MAX];
    bool ping, non, multicast, raw_blocks, trace;
    bool observing;  /* the application wants to observe */
    bool counted;    /* NSTART counts it */
    bool echoed;     /* repeated with an Echo already */
    bool keep_token; /* the next sending uses the same token (observation) */
    uint8_t echo_length, echo[TF_COAP_ECHO_MAX];

    /* observe_client's */
    struct {
        uint8_t state;     /* its own */
        uint32_t sequence; /* of the newest notification */
        tf_time heard;     /* when it came; if it has */
        bool known;
    } observe;

    /* block_client's */
    struct {
        uint8_t szx;      /* the present size of blocks, both ways */
        bool wish;        /* it was asked for: the answer's first block is to have it too */
        bool sending;     /* Block1: `sent` is the offset of the block under way */
        bool fetching;    /* Block2: `received` is the offset wanted next */
        bool sent_again;  /* begun anew after 4.08 */
        uint8_t restarts; /* of the answer's body */
        uint8_t code;     /* of the answer */
        uint8_t etag_length, etag[TF_COAP_ETAG_MAX];
        bool tagged;
        uint32_t tag; /* Request-Tag, if tagged */
        uint32_t sent, received;
        struct tf_coap_call *child;  /* fetches the rest of a notification */
        struct tf_coap_call *parent; /* of such a child; its events are the parent's */
    } block;
};

/*
 * (Re)sends the present message of a call, or queues it: composes it through the `compose` hooks,
 * with a new message id and (unless keep_token) a new token, and starts its time-out. For the next
 * block, a registration anew, an Echo. Never fails: without room it waits in the queue.
 */
void tf_coap_call_send(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call, tf_time now);
/* A second call of the same request (options, method, peer, user), to fetch by; it is not sent yet.
 * NULL: none is free. */
struct tf_coap_call *tf_coap_call_fork(struct tf_coap_endpoint *endpoint,
                                       const struct tf_coap_call *call);
/* Nothing is outstanding any more: exchange and time-out end, NSTART lets others go. -> IDLE */
void tf_coap_call_idle(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call, tf_time now);
/* Ends a call with FAILED. */
void tf_coap_call_fail(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                       enum tf_err err, tf_time now);
/* Frees a call without an event. */
void tf_coap_call_free(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call, tf_time now);

/* ---- hooks ---- */

/*
 * What a feature does. The core calls a hook of a feature by the feature's place in the config, in
 * the order told here; a hook may be NULL. `request` and `in` live during the call only, unless the
 * request is in the pool (request hooks: it is not; see there).
 */
struct tf_coap_feature {
    /* &tf_coap_extension, by every feature. */
    const struct tf_coap_extension *extension;
    /* Once, from init, after all pools are there. */
    void (*init)(struct tf_coap_endpoint *endpoint);

    /* deduplication, then separate: a request came; DONE: a duplicate, dealt with. */
    enum tf_coap_verdict (*repeated)(struct tf_coap_endpoint *endpoint,
                                     struct tf_coap_request_slot *request,
                                     const struct tf_coap_inbound *in, tf_time now);
    /* deduplication: an answer (empty: none) to `request` went out, for good. */
    void (*keep)(struct tf_coap_endpoint *endpoint, const struct tf_coap_request_slot *request,
                 struct tf_bytes datagram, tf_time now);
    /* deduplication: gives up the oldest kept reply (there is one) for want of buffers. */
    void (*forget)(struct tf_coap_endpoint *endpoint);
    /*
     * negotiation, echo_server, block_server, observe_server: a request that passed all
     * checks. `request` is a scratch slot on the stack with all fields that an answer needs; on
     * GO_ON the core moves it into the pool and gives the event, whose fields (message, body =
     * payload, offset, more, total, observe) the hook may change. A feature that has state to hang
     * on the request sets `transfer`, and learns the pool's slot by `opened`. DONE: the hook has
     * answered (tf_coap_reply) or passed the body on to a request that is there already, by setting
     * endpoint->current itself (tf_coap_event_set).
     */
    enum tf_coap_verdict (*request)(struct tf_coap_endpoint *endpoint,
                                    struct tf_coap_request_slot *request,
                                    const struct tf_coap_inbound *in, struct tf_coap_event *event,
                                    tf_time now);
    /* block_server: the request is in the pool now, its event is current. */
    void (*opened)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                   tf_time now);
    /*
     * block_server (then separate unless DONE): the application has not answered at once, and the
     * next input, tick or output has come. block_server sends 2.31 here for a body that goes on
     * (there is room: it is what was kept for the answer), so that an early error of the
     * application's answers the very block that caused it.
     */
    enum tf_coap_verdict (*settle)(struct tf_coap_endpoint *endpoint,
                                   struct tf_coap_request_slot *request, tf_time now);
    /*
     * negotiation, observe_server, block_server, echo_server: tf_coap_respond is about to
     * write `out`, whose code, options, body are those of the response; offset 0, length the whole.
     * The hook adds extras, cuts the body to a block, changes the code (then it clears options and
     * body). Errors end tf_coap_respond and must leave everything unchanged. What must not happen
     * before the answer is sure to go out belongs in `answered`. A hook that makes out->code
     * TF_COAP_EMPTY swallows the answer: nothing is written or kept, later hooks are not asked,
     * `answered` follows (block_server: an error between two blocks is said to the next one).
     */
    enum tf_err (*answer)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                          const struct tf_coap_response *response, struct tf_coap_outgoing *out,
                          tf_time now);
    /*
     * observe_server (sets *ret_observer), block_server (sets *ret_borrowed): the answer has been
     * written; the request ends after this.
     */
    void (*answered)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                     const struct tf_coap_response *response, const struct tf_coap_outgoing *out,
                     uint64_t *ret_observer, bool *ret_borrowed, tf_time now);
    /* block_server: a request of the pool ends, whyever. */
    void (*ended)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request);

    /* separate: sends an answer that is not piggybacked (CON, or NON to a NON). As tf_coap_write.
     */
    enum tf_err (*send)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                        struct tf_coap_outgoing *out, tf_time now);
    /* separate: an ACK or RST came (an ACK may have a response in it, which goes to `response`
     * next). */
    void (*acknowledged)(struct tf_coap_endpoint *endpoint, const struct tf_coap_inbound *in,
                         tf_time now);
    /* observe_server: a RST that names no exchange; perhaps a NON notification. */
    void (*reset)(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer, uint16_t message_id,
                  tf_time now);

    /* client: a response came (codes 2.xx, 4.xx, 5.xx), any type but RST. */
    void (*response)(struct tf_coap_endpoint *endpoint, struct tf_coap_inbound *in, tf_time now);
    /*
     * observe_client, block_client: a response that matches `call`, acknowledged already if it was
     * a CON; the call's exchange has ended. `event` is a RESPONSE with the payload as body, `last`
     * true. GO_ON: it is given to the application as the hook has changed it, and with `last` the
     * call ends; without, the hook has seen to what comes next (tf_coap_call_send, _idle). DONE:
     * nothing to tell; the hook has sent on, idled, failed or freed the call.
     */
    enum tf_coap_verdict (*answer_came)(struct tf_coap_endpoint *endpoint,
                                        struct tf_coap_call *call, const struct tf_coap_inbound *in,
                                        struct tf_coap_event *event, tf_time now);
    /*
     * observe_client, block_client: the call is about to be written: add extras (Observe, Block1,
     * Block2, Size1, Request-Tag), cut the body. `out` has method, stored options, whole body.
     */
    void (*compose)(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                    struct tf_coap_outgoing *out);
    /* block_client, observe_client: tf_coap_call has made a call from `request`; set up fields.
     * Errors refuse the call. */
    enum tf_err (*called)(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                          const struct tf_coap_request *request);
    /* observe_client: tf_coap_cancel. DONE: it goes on a while (Observe 1 is being sent). */
    enum tf_coap_verdict (*cancel)(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                   bool tell, tf_time now);
    /* observe_client, block_client: the timer of a call has come (state IDLE: observe_client), or
     * its message failed. DONE: dealt with, the call lives; GO_ON: it fails with `err`. */
    enum tf_coap_verdict (*lost)(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                 enum tf_err err, tf_time now);
    /* block_client, observe_client: the call ends, whyever: free what hangs on it. */
    void (*call_ended)(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call, tf_time now);
};

/* ---- the endpoint ---- */

struct tf_coap_endpoint {
    const struct tf_coap_endpoint_config *config;
    struct tf_coap_transmission transmission; /* with the defaults filled in */
    struct tf_hash_key key;
    tf_time now;                               /* as the last call said */
    const struct tf_coap_extension *extension; /* NULL: no feature is there */
    /* Set by the features that need them, so that others do not link them: tf_coap_hash; the
     * message id for an answer that is not piggybacked. */
    uint64_t (*hash)(const struct tf_coap_endpoint *endpoint, struct tf_bytes bytes);
    uint16_t (*answer_id)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request);

    struct tf_coap_pool requests, calls, exchanges, replies, observers, transfers, peers;
    struct tf_coap_reply *reply_oldest, *reply_newest;
    struct tf_coap_transfer *transfer_oldest, *transfer_newest; /* block features' */

    uint8_t *buffers; /* blocks of TF_COAP_BUFFER bytes, the first four the next one's index + 1 */
    uint32_t buffer_high, buffer_free, buffer_left;

    struct tf_coap_timer **heap; /* [0] is the first to come */
    uint32_t heap_count, heap_size;

    uint32_t peer_hand;  /* the clock's */
    uint16_t message_id; /* for messages to peers that are not remembered */

    uint8_t *scratch; /* datagram_max bytes: a call's options while it is written; client only */

    /* output: records {length, path, datagram} from out_head to out_tail */
    uint8_t *out_buffer, *out_lent, *out_head, *out_tail, *out_end;
    uint32_t out_count;

    struct tf_coap_notice *notice_first, *notice_last;
    struct tf_coap_request_slot *fresh; /* came with the last input and is not answered */
    bool has_current;
    struct tf_coap_event current;

    struct tf_coap_counters counters;
    struct tf_coap_counters *statistics; /* the same, for a reader with a const endpoint */
};

/* What the core does more if any feature is there (extension.h). */
extern const struct tf_coap_extension tf_coap_extension;

/* The features, by their place in the config; NULL: it is not there. */
#define TF_COAP_FEATURES (sizeof(struct tf_coap_features) / sizeof(struct tf_coap_feature *))

static inline const struct tf_coap_feature *
tf_coap_feature_at(const struct tf_coap_endpoint_config *config, size_t place)
{
    const struct tf_coap_feature *feature;

    memcpy(&feature, (const uint8_t *)&config->features + place * sizeof(feature), sizeof(feature));
    return feature;
}

/* Parts of tf_coap_endpoint_check (check_features.c). */
bool tf_coap_check_transfers(const struct tf_coap_endpoint *endpoint);
bool tf_coap_check_observers(const struct tf_coap_endpoint *endpoint);
bool tf_coap_check_fetches(const struct tf_coap_endpoint *endpoint);

/* Gives the event that borrows the datagram; there is none yet (input sees to that). */
void tf_coap_event_set(struct tf_coap_endpoint *endpoint, const struct tf_coap_event *event);

/* Four random bytes. */
uint32_t tf_coap_random(struct tf_coap_endpoint *endpoint);

/* Fills in the defaults of RFC 7252 4.8 where a field is 0. */
void tf_coap_transmission_fill(struct tf_coap_transmission *ret,
                               const struct tf_coap_transmission *from);

/* The time that a CON may take in all, and the others of RFC 7252 4.8.2. */
tf_time tf_coap_exchange_lifetime(const struct tf_coap_transmission *transmission);
tf_time tf_coap_non_lifetime(const struct tf_coap_transmission *transmission);
tf_time tf_coap_transmit_span(const struct tf_coap_transmission *transmission);

#endif
