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
    bool (*fire)(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer);
};

/* Sets a timer, anew if it was set. The items of a pool have one each: more would
 * not fit the heap. */
void tf_coap_timer_set(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer, tf_time at);
/* The same, so many ms from now. */
void tf_coap_timer_in(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer, uint32_t ms);
void tf_coap_timer_stop(struct tf_coap_endpoint *endpoint, struct tf_coap_timer *timer);
/* tf_time_add of ms; not inline, since 64 bits are many instructions on a small processor. */
tf_time tf_coap_later(tf_time from, uint32_t ms);

/* tf_coap_endpoint_tick, where there are timers. */
void tf_coap_run_timers(struct tf_coap_endpoint *endpoint);

/* ---- notices: events that borrow nothing (extension.c) ---- */

struct tf_coap_notice {
    struct tf_coap_notice *next, *prev;
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
/* Takes a notice out, if it waits. */
void tf_coap_notice_drop(struct tf_coap_endpoint *endpoint, struct tf_coap_notice *notice);

/* A keyed hash, of 64 bits where that is a word of the processor, else of 32: too few to stand for
 * the bytes alone, so whoever finds by it compares more. */
typedef size_t tf_coap_hash_value;

/* ---- peers (peer.c; only with a feature that needs them) ---- */

/* What is known of another endpoint. One without references may make room for a new one. */
struct tf_coap_peer {
    struct tf_coap_slot slot;
    bool used;            /* since the clock hand came by */
    bool proved;          /* it has shown that it receives at its address */
    bool heard;           /* it has answered a call, or acknowledged one */
    bool has_acked;       /* `acked_id` and `acked_at` mean something */
    uint16_t message_id;  /* the next one to use */
    uint16_t outstanding; /* calls that NSTART counts */
    uint16_t notifying;   /* observe_server's: CON notifications that are not acknowledged */
    uint16_t answering;   /* separate's and multicast_server's: exchanges that are answers */
    uint16_t bodies;      /* block_client's: of calls, on their way in blocks */
    uint16_t acked_id;    /* of the last CON response of its that was acknowledged */
    uint32_t references;  /* exchanges, calls, observers, transfers, settled requests */
    tf_coap_hash_value path_hash;
    struct tf_coap_call *queue_first, *queue_last; /* calls behind NSTART, in order */
    /* observe_server's: all of the peer, who had a NON notification first; those that wait for
     * their turn; until when the NON notifications sent so far use up the rate. */
    struct tf_coap_observer *observers, *waiting_first, *waiting_last;
    tf_time notified;
    tf_time probe_at; /* PROBING_RATE: before this no NON call to a silent peer goes out */
    tf_time acked_at;
    uint8_t path[]; /* config->path_size bytes */
};

/* Answers to one peer that wait for an acknowledgement, or for their time. */
#define TF_COAP_ANSWERS_MAX 32u

/* The hash of a path, or of any bytes; keyed by this endpoint's secret. */
tf_coap_hash_value tf_coap_hash(const struct tf_coap_endpoint *endpoint, struct tf_bytes bytes);
/* The peer on a path; NULL: not remembered. */
struct tf_coap_peer *tf_coap_peer_find(struct tf_coap_endpoint *endpoint, const void *path,
                                       tf_coap_hash_value path_hash);
/* The same, made if there is none; NULL: all are in use. */
struct tf_coap_peer *tf_coap_peer_get(struct tf_coap_endpoint *endpoint, const void *path,
                                      tf_coap_hash_value path_hash);
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
static inline uint32_t tf_coap_mix(tf_coap_hash_value path_hash, uint32_t number)
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
    uint8_t extra_count;
    uint8_t echo_block[4]; /* echo_server's: a Block2 that it made smaller */
    uint16_t message_id;
    uint16_t skip; /* an option that is left out; 0: none */
    struct tf_bytes token;
    const struct tf_coap_option *options; /* ascending */
    size_t option_count;
    struct tf_bytes encoded_options; /* or: as they stand in a message; if `options` is NULL */
    const struct tf_bytes *body;
    size_t body_count;
    size_t offset, length;                       /* the run of the body to send */
    struct tf_coap_option extra[TF_COAP_EXTRAS]; /* the machine's, ascending */
    uint8_t extra_value[TF_COAP_EXTRAS][4];
};

/* An answer with this code and nothing else. */
void tf_coap_outgoing_start(struct tf_coap_outgoing *out, uint8_t code);
/* An answer as the application gave it. False: its code is none of an answer (RFC 7252 5.2). */
bool tf_coap_outgoing_fill(struct tf_coap_outgoing *out, const struct tf_coap_response *response);

/* Adds an option of the machine's, in any order; the view must last until it is written. */
void tf_coap_extra(struct tf_coap_outgoing *out, uint16_t number, struct tf_bytes value);
void tf_coap_extra_uint(struct tf_coap_outgoing *out, uint16_t number, uint32_t value);
void tf_coap_extra_block(struct tf_coap_outgoing *out, uint16_t number, uint32_t block_number,
                         bool more, uint8_t szx);

/* True if the machine has added this option. */
bool tf_coap_has_extra(const struct tf_coap_outgoing *out, uint16_t number);

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
/* The same as a NON to a peer; sets type and message id itself. */
enum tf_err tf_coap_write_non(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                              struct tf_coap_outgoing *out, bool own);
/* Writes bytes that are a datagram already, from a chain. False: no room. */
bool tf_coap_write_chain(struct tf_coap_endpoint *endpoint, const void *path,
                         const struct tf_coap_chain *chain, bool own);
/* Writes an empty ACK or RST. There must be room (`own`). */
void tf_coap_write_empty(struct tf_coap_endpoint *endpoint, const void *path,
                         enum tf_coap_type type, uint16_t message_id);
/* Takes the last datagram back that was written and not yet given out by _output. */
void tf_coap_unwrite(struct tf_coap_endpoint *endpoint, struct tf_bytes datagram);

/* ---- what has come ---- */

/* Bits of tf_coap_inbound.seen: options that are there, and valid. In the order of their numbers;
 * the same order have `values` below and the table in extension.c. */
enum tf_coap_seen {
    TF_COAP_SEEN_ETAG = 1,
    TF_COAP_SEEN_OBSERVE = 2,
    TF_COAP_SEEN_CONTENT_FORMAT = 4,
    TF_COAP_SEEN_MAX_AGE = 8,
    TF_COAP_SEEN_ACCEPT = 16,
    TF_COAP_SEEN_BLOCK2 = 32,
    TF_COAP_SEEN_BLOCK1 = 64,
    TF_COAP_SEEN_SIZE2 = 128,
    TF_COAP_SEEN_SIZE1 = 256,
    TF_COAP_SEEN_ECHO = 512,
    TF_COAP_SEEN_NO_RESPONSE = 1024
};
#define TF_COAP_SEEN_COUNT 11

#define TF_COAP_ETAGS 4u /* of a request are looked at; more are ignored (5.10.6.2 allows) */

/* A datagram and what one pass over its options found. Lives on the stack of input. */
struct tf_coap_inbound {
    uint8_t error; /* the code to refuse a request with; 0: none. In a response: not 0: reject */
    uint8_t etag_count;
    uint16_t seen; /* enum tf_coap_seen */
    const struct tf_datagram *datagram;
    struct tf_coap_message message;
    tf_coap_hash_value path_hash; /* 0 unless endpoint->hash is set */
    struct tf_coap_block block1, block2;
    union { /* as numbers, where they are such */
        uint32_t values[TF_COAP_SEEN_COUNT];
        struct {
            uint32_t etag_, observe, content_format, max_age, accept, block2_, block1_, size2,
                size1, echo_, no_response;
        };
    };
    struct tf_bytes echo, etag[TF_COAP_ETAGS];
};

/* ---- requests (request.c, respond.c) ---- */

/*
 * A request that has come and has no answer yet. FRESH until the next input, tick or output; then,
 * if it is still there, it is settled: features take what they need to answer later.
 */
struct tf_coap_request_slot {
    struct tf_coap_slot slot;
    uint8_t type, method;
    uint8_t flags; /* of the datagram */
    uint8_t token_length;
    uint8_t no_response;
    bool acknowledged; /* the empty ACK has gone: the answer is a message of its own */
    bool settled;
    bool proved; /* echo_server: this very request shows its address */
    bool ended;  /* CANCELLED waits to be pulled: nothing else may be done */
    uint8_t etag_count;
    uint16_t message_id;
    uint16_t request_size; /* of the datagram */
    uint16_t seen;         /* enum tf_coap_seen */
    uint16_t accept;
    /* From here to path_hash: the request's, whichever message of it came last
     * (tf_coap_request_adopt). */
    const void *path;                  /* behind this struct in a pool, or the datagram's */
    struct tf_coap_peer *peer;         /* held while settled; else NULL */
    struct tf_coap_transfer *transfer; /* block_server's: the body of this request */
    void *user;
    struct tf_coap_timer timer;   /* separate: when the empty ACK goes */
    struct tf_coap_notice notice; /* CANCELLED */
    bool observe;                 /* wants to observe; set by observe_server's request hook */
    bool body_open;               /* block_server: the last block has not come */
    tf_coap_hash_value path_hash;
    tf_coap_hash_value block_key;     /* block_server: what its blocks have in common */
    tf_coap_hash_value datagram_hash; /* deduplication's */
    struct tf_coap_block block1, block2;
    uint8_t token[TF_COAP_TOKEN_MAX];
    uint8_t echo[8]; /* echo_server: the value that it is to show */
    uint8_t etag_length[TF_COAP_ETAGS], etag[TF_COAP_ETAGS][TF_COAP_ETAG_MAX];
};

/* What a hook wants done with what has come. */
enum tf_coap_verdict {
    TF_COAP_GO_ON, /* nothing special */
    TF_COAP_DONE   /* it is dealt with: answered, or kept, or dropped */
};

/* Copies what an answer needs from a message that has come, but for its options. */
void tf_coap_request_take(struct tf_coap_request_slot *request, const struct tf_coap_inbound *in);

/*
 * Answers on the machine's own account with what `out` has, and lets deduplication keep it; the
 * slot lives on. There is room, since nothing has been answered to this datagram yet.
 */
void tf_coap_reply(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                   struct tf_coap_outgoing *out);
/* The same with a code and one option or none (NULL). */
void tf_coap_refuse(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                    uint8_t code, const struct tf_coap_option *option);

/*
 * The next message of a request that is in the pool (a block of its body): it takes the place of
 * the one before, which has been answered; `from` is the scratch slot. The request is fresh again.
 */
void tf_coap_request_adopt(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                           const struct tf_coap_request_slot *from);

/* The request that came last and was not answered at once is settled; nothing if there is none. */
void tf_coap_settle(struct tf_coap_endpoint *endpoint);

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
    uint16_t message_id;
    uint8_t retransmissions;
    bool delayed; /* NON that waits for its time: goes once */
    struct tf_coap_timer timer;
    struct tf_coap_peer *peer; /* held */
    struct tf_coap_chain datagram;
    const struct tf_coap_transmission *transmission;
    tf_time first_sent;
    uint32_t timeout_ms; /* the present one; doubled each time */
    /* Ends it for its owner; the exchange is freed right after, and may be used no more. */
    void (*done)(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange,
                 enum tf_coap_outcome outcome);
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
                                   struct tf_coap_exchange **ret);
/* The same with parameters of its own, which must last; NULL: the endpoint's. */
enum tf_err tf_coap_exchange_start_with(struct tf_coap_endpoint *endpoint,
                                        struct tf_coap_peer *peer, struct tf_coap_outgoing *out,
                                        bool own, const struct tf_coap_transmission *transmission,
                                        struct tf_coap_exchange **ret);
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
                             uint16_t message_id, enum tf_coap_outcome outcome);
/* Gives an exchange up without calling `done`. */
void tf_coap_exchange_free(struct tf_coap_endpoint *endpoint, struct tf_coap_exchange *exchange);

/* ---- replies kept against duplicates (deduplication.c) ---- */

struct tf_coap_reply {
    struct tf_coap_slot slot; /* linked by both hashes */
    tf_coap_hash_value path_hash, datagram_hash;
    tf_time expiry;
    struct tf_coap_chain datagram; /* empty: nothing was answered */
    struct tf_coap_reply *older, *newer;
    uint16_t message_id;
};

/* ---- observers (observe_server.c) ---- */

struct tf_coap_observer {
    struct tf_coap_slot slot; /* linked by peer and token */
    bool has_last_id, settled_format;
    bool waiting; /* TF_AGAIN was said: OBSERVER_READY is owed */
    bool gone;    /* OBSERVER_GONE waits to be pulled */
    uint8_t szx;  /* of the block size the client asked for; above 6: none */
    uint8_t token_length;
    uint16_t last_id; /* message id of the last NON, which a RST may name */
    uint32_t format; /* Content-Format of the representation, if settled_format; UINT32_MAX: none */
    uint32_t non_count;                                   /* NON notifications since the last CON */
    struct tf_coap_peer *peer;                            /* held */
    struct tf_coap_observer *prev, *next;                 /* of the peer */
    struct tf_coap_observer *waiting_prev, *waiting_next; /* of the peer, while `waiting` */
    struct tf_coap_exchange *exchange; /* a CON notification that is not acknowledged */
    void *user;
    tf_time last_con;
    struct tf_coap_notice notice; /* OBSERVER_READY, OBSERVER_GONE */
    uint8_t token[TF_COAP_TOKEN_MAX];
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
    struct tf_coap_slot slot; /* linked by token */
    uint8_t method;
    uint8_t state; /* enum tf_coap_call_state */
    uint8_t retransmissions;
    int8_t err; /* ENDED */
    bool ping, non, multicast, raw_blocks, trace;
    bool observing;  /* the application wants to observe */
    bool counted;    /* NSTART counts it */
    bool echoed;     /* repeated with an Echo already */
    bool keep_token; /* the next sending uses the same token (observation) */
    uint8_t echo_length;
    uint16_t message_id;
    struct tf_coap_peer *peer; /* held */
    struct tf_coap_call *queue_next;
    struct tf_coap_exchange *exchange; /* SENT as CON */
    struct tf_coap_chain options;      /* the application's, encoded; without what extras add */
    struct tf_coap_chain copy;         /* of a short body */
    const struct tf_bytes *body;       /* or the lent body */
    size_t body_count, body_length;
    struct tf_coap_timer timer; /* the time-out of the answer; IDLE: the features' */
    struct tf_coap_notice notice;
    struct tf_coap_transmission transmission;
    void *user;
    tf_time first_sent;
    uint32_t timeout_ms;
    uint32_t round_trip_us; /* of a ping, once ENDED */
    uint8_t token[TF_COAP_TOKEN_MAX];
    uint8_t echo[TF_COAP_ECHO_MAX];

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
void tf_coap_call_send(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call);
/* A second call of the same request (options, method, peer, user), to fetch by; it is not sent yet.
 * NULL: none is free. */
struct tf_coap_call *tf_coap_call_fork(struct tf_coap_endpoint *endpoint,
                                       const struct tf_coap_call *call);
/* Nothing is outstanding any more: exchange and time-out end, NSTART lets others go. -> IDLE */
void tf_coap_call_idle(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call);
/* Ends a call with FAILED. */
void tf_coap_call_fail(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                       enum tf_err err);
/* Frees a call without an event. */
void tf_coap_call_free(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call);

/* ---- hooks ---- */

/* What a feature of the client does; apart, since a server has no use for the pointers. A feature
 * that a hook names has it; the others have NULL. */
struct tf_coap_call_hooks {
    /* client: a response came (codes 2.xx, 4.xx, 5.xx), any type but RST. */
    void (*response)(struct tf_coap_endpoint *endpoint, struct tf_coap_inbound *in);
    /*
     * observe_client, block_client: a response that matches `call`, acknowledged already if it was
     * a CON; the call's exchange has ended. `event` is a RESPONSE with the payload as body, `last`
     * true. GO_ON: it is given to the application as the hook has changed it, and with `last` the
     * call ends; without, the hook has seen to what comes next (tf_coap_call_send, _idle). DONE:
     * nothing to tell; the hook has sent on, idled, failed or freed the call.
     */
    enum tf_coap_verdict (*answer_came)(struct tf_coap_endpoint *endpoint,
                                        struct tf_coap_call *call, const struct tf_coap_inbound *in,
                                        struct tf_coap_event *event);
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
                                   bool tell);
    /* observe_client, block_client: the timer of a call has come (state IDLE: observe_client), or
     * its message failed. DONE: dealt with, the call lives; GO_ON: it fails with `err`. */
    enum tf_coap_verdict (*lost)(struct tf_coap_endpoint *endpoint, struct tf_coap_call *call,
                                 enum tf_err err);
    /* block_client: the call ends, whyever: takes what hangs on it apart, and returns the call that
     * ends with it, which the core frees; NULL: none does. */
    struct tf_coap_call *(*call_ended)(struct tf_coap_call *call);
};

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
                                     const struct tf_coap_inbound *in);
    /* deduplication: an answer (empty: none) to `request` went out, for good. */
    void (*keep)(struct tf_coap_endpoint *endpoint, const struct tf_coap_request_slot *request,
                 struct tf_bytes datagram);
    /* deduplication: gives up the oldest kept reply (there is one) for want of buffers. */
    void (*forget)(struct tf_coap_endpoint *endpoint);
    /*
     * negotiation, echo_server, block_server, observe_server: a request that passed all
     * checks. `request` is a scratch slot on the stack with all fields that an answer needs; on
     * GO_ON the core moves it into the pool and gives the event, whose fields (message, body =
     * payload, offset, more, total, observe) the hook may change. A `transfer` that the hook
     * has set is told of the pool's slot. DONE: the hook has
     * answered (tf_coap_reply) or passed the body on to a request that is there already: `event` is
     * endpoint->current, which it then sets `has_current` for.
     */
    enum tf_coap_verdict (*request)(struct tf_coap_endpoint *endpoint,
                                    struct tf_coap_request_slot *request,
                                    const struct tf_coap_inbound *in, struct tf_coap_event *event);
    /*
     * block_server (then separate unless DONE): the application has not answered at once, and the
     * next input, tick or output has come. block_server sends 2.31 here for a body that goes on
     * (there is room: it is what was kept for the answer), so that an early error of the
     * application's answers the very block that caused it.
     */
    enum tf_coap_verdict (*settle)(struct tf_coap_endpoint *endpoint,
                                   struct tf_coap_request_slot *request);
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
                          const struct tf_coap_response *response, struct tf_coap_outgoing *out);
    /*
     * observe_server (sets *ret_observer), block_server (sets *ret_borrowed): the answer has been
     * written; the request ends after this.
     */
    void (*answered)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                     const struct tf_coap_response *response, const struct tf_coap_outgoing *out,
                     uint64_t *ret_observer, bool *ret_borrowed);
    /* block_server: a request of the pool ends, whyever. */
    void (*ended)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request);

    /* separate: sends an answer that is not piggybacked (CON, or NON to a NON). As tf_coap_write.
     */
    enum tf_err (*send)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request,
                        struct tf_coap_outgoing *out);
    /* separate: an ACK or RST came (an ACK may have a response in it, which goes to `response`
     * next). */
    void (*acknowledged)(struct tf_coap_endpoint *endpoint, const struct tf_coap_inbound *in);
    /* observe_server: a RST that names no exchange; perhaps a NON notification. */
    void (*reset)(struct tf_coap_endpoint *endpoint, struct tf_coap_peer *peer,
                  uint16_t message_id);

    const struct tf_coap_call_hooks *calls; /* client, observe_client, block_client; else NULL */
};

/* ---- the endpoint ---- */

/* What most functions read stands first: a small processor has shorter instructions for it. */
struct tf_coap_endpoint {
    const struct tf_coap_endpoint_config *config;
    const struct tf_coap_extension *extension; /* NULL: no feature is there */
    struct tf_coap_request_slot *fresh;        /* came with the last input and is not answered */
    bool has_current;
    uint16_t message_id; /* for messages to peers that are not remembered */
    struct tf_coap_notice *notice_first, *notice_last;
    tf_time now; /* set by each call that brings it; all inside read it here */
    /* output: records {length, path, datagram} from out_head to out_tail */
    uint8_t *out_buffer, *out_lent, *out_head, *out_tail, *out_end;
    struct tf_coap_timer **heap; /* [0] is the first to come */
    uint32_t heap_count, heap_size;
    uint8_t *buffers; /* blocks of TF_COAP_BUFFER bytes, the first four the next one's index + 1 */
    uint32_t buffer_high, buffer_free, buffer_left;
    struct tf_coap_transfer *transfer_oldest, *transfer_newest; /* block features' */
    struct tf_coap_counters counters;
    /* Set by the features that need them, so that others do not link them: tf_coap_hash; the
     * message id for an answer that is not piggybacked. */
    tf_coap_hash_value (*hash)(const struct tf_coap_endpoint *endpoint, struct tf_bytes bytes);
    uint16_t (*answer_id)(struct tf_coap_endpoint *endpoint, struct tf_coap_request_slot *request);

    struct tf_coap_reply *reply_oldest, *reply_newest;
    uint32_t peer_hand; /* the clock's */
    uint8_t *scratch;   /* datagram_max bytes: a call's options while it is written; client only */
    struct tf_coap_counters *statistics; /* `counters`, for a reader with a const endpoint */

    struct tf_coap_pool requests, calls, exchanges, replies, observers, transfers, peers;
    struct tf_hash_key key;
    struct tf_coap_transmission transmission; /* with the defaults filled in */
    struct tf_coap_event current;
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
