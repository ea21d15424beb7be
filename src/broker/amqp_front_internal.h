/*
 * What the files of the AMQP front share.
 *
 *   amqp_front.c             the front itself: opening, timers, draining
 *   amqp_front_conn.c        a connection: bytes to and from the protocol machine, its events
 *   amqp_front_link.c        sessions and links: attach, detach, stealing
 *   amqp_front_terminus.c    what a link's address means: queues, topics, dynamic nodes
 *   amqp_front_receive.c     messages in: publish, answer, credit
 *   amqp_front_ledger.c      what senders may not know of: deliveries that can be resumed
 *   amqp_front_send.c        messages out: deliveries, outcomes
 *   amqp_front_fence.c       outcomes that wait for the disk of another shard
 *   amqp_front_management.c  the node $management
 *   amqp_front_sys.c         connections as addresses under $SYS
 *
 * Ownership. The front knows its connections; the transport's owner frees one by closing its
 * stream. A connection owns its sessions, a session its links. A container is there while a
 * connection names it; it knows links by name, so that a name attached again is stolen. A ledger
 * outlives its link for a while.
 */
#ifndef TF_BROKER_AMQP_FRONT_INTERNAL_H
#define TF_BROKER_AMQP_FRONT_INTERNAL_H

#include "base/tree.h"
#include "broker/amqp_front.h"
#include "broker/config.h"
#include "broker/durability.h"
#include "broker/front_buffer.h"
#include "broker/front_input.h"
#include "broker/front_part.h"
#include "broker/log.h"
#include "broker/mapping.h"
#include "route/named.h"

#include <trefoil/amqp_connection.h>
#include <trefoil/amqp_message.h>

#define AMQP_REFERENCE_FROM 1024u    /* bodies from here on go out by reference */
#define AMQP_BORROWED_MAX 1048576u   /* of bodies by reference in one output; then it is full */
#define AMQP_CREDIT 512u             /* that a sender is granted at most */
#define AMQP_TICKETS_MAX 4096u       /* of one connection; then its sessions' windows close */
#define AMQP_TICKETS_STOP 16384u     /* and from here on its input waits */
#define AMQP_EFFORT 65536u           /* of dispositions in one turn, about; the rest waits */
#define AMQP_WINDOW 2048u            /* transfer frames of a session */
#define AMQP_REQUESTS_MAX 256u       /* to $management, of one connection, that wait */
#define AMQP_INCOMING_MORE 16777216u /* of unfinished messages, beside two of the longest */

struct amqp_front;
struct amqp_conn;
struct amqp_link;

/* tf_front_timer.kind */
enum amqp_timer_kind { AMQP_TIMER_CONN = 1, AMQP_TIMER_GRACE };

/* The machines' configurations, one for each listener; see struct mqtt_servers. */
struct amqp_servers {
    size_t users;
    size_t count;
    struct tf_amqp_config configs[];
};

/* Whoever says that it is this container (2.7.1); served in the home of its id. */
struct amqp_container {
    struct tf_tree_node by_id; /* front->containers */
    struct tf_tree links;      /* of amqp_link.by_name */
    struct tf_list conns;      /* of amqp_conn.in_container; never empty */
    uint32_t id_length;
    uint8_t id[];
};

/*
 * Tickets of transfers, by how they are to be answered: a ticket's tag is the delivery, and the
 * link may be gone when it ends.
 */
enum amqp_answer {
    AMQP_ANSWER_TOPIC = 1,  /* accepted even if nobody took it (capability topic) */
    AMQP_ANSWER_SECOND = 2, /* the sender settles first (rcv-settle-mode second) */
    AMQP_ANSWER_QUEUE = 4   /* it was for a queue: what was not taken found it full */
};

#define AMQP_ANSWERS 8u /* combinations of them */

struct amqp_answers {
    struct tf_ticket_owner tickets;
    struct amqp_conn *conn;
    uint8_t kind; /* of enum amqp_answer, or-ed */
};

/* What a link's sender may not know of; see amqp_front_ledger.c. */
struct amqp_ledger {
    struct tf_tree_node by_key; /* front->ledgers; key: as stored (TF_STORED_TRANSFER), no tag */
    struct tf_list_node away;   /* front->away, while nobody is attached */
    struct amqp_front *front;
    struct amqp_link *link;         /* NULL: nobody is attached */
    struct tf_ticket_owner tickets; /* tag: a note */
    struct tf_tree by_tag, by_delivery;
    struct tf_list notes, told; /* of amqp_note: `told` are accepted and settled by us, in order */
    tf_time until;              /* it is forgotten, if nobody is attached */
    size_t away_count;          /* notes, when the link went */
    uint32_t received;          /* deliveries that have come by the link */
    uint32_t key_length;
    uint8_t level; /* enum tf_store_level */
    uint8_t key[];
};

struct amqp_note;

/* Outcomes of one queue of another shard; see amqp_front_fence.c. */
struct amqp_fence;

/* A connection. Its machine follows in the same memory. */
struct amqp_conn {
    struct tf_stream stream;
    struct tf_list_node in_front;
    struct tf_list_node in_container;
    struct tf_list_node service; /* front->service: something to do at the end of the turn */
    struct amqp_front *front;
    struct tf_amqp_connection *machine;
    struct amqp_servers *servers;
    struct amqp_container *container; /* NULL before open */
    struct tf_front_timer timer;
    struct tf_list sessions;
    struct tf_list blocked; /* links whose deliveries or answers found no room or window */
    struct amqp_answers answers[AMQP_ANSWERS];
    struct tf_command_owner commands; /* of $management */
    struct tf_command_owner fences;   /* tag: an amqp_fence that is under way */
    struct tf_list fence_list;        /* of amqp_fence, all of them */
    struct tf_list requests;          /* to $management that wait for their commands */
    uint8_t *buffer;                  /* lent to the machine; NULL: none */
    struct tf_front_input input;
    uint64_t borrowed; /* bytes of messages whose bodies the output refers to */
    uint64_t incoming; /* bytes of memory of its links' unfinished messages */
    uint32_t buffer_size;
    uint32_t open_tickets;
    uint32_t request_count; /* of `requests` */
    uint32_t size;          /* of the allocation */
    uint16_t listener;
    bool stalled;  /* the machine took no more input */
    bool starved;  /* memory was short: it looks again soon */
    bool pulling;  /* its events are being dealt with */
    bool counted;  /* among the connected */
    bool narrow;   /* windows are closed: too many tickets are open */
    bool leaving;  /* it is being destroyed: nobody is to be answered */
    bool farewell; /* the peer has closed it: nothing is lost with it */
    char peer[48];
};

/* A session; the machine's part follows in the same memory. */
struct amqp_session {
    struct tf_list_node in_conn;
    struct amqp_conn *conn;
    struct tf_amqp_session *machine;
    struct tf_list links;
    uint32_t size; /* of the allocation */
};

enum amqp_link_kind {
    AMQP_LINK_NONE,      /* refused */
    AMQP_LINK_CONSUMER,  /* we send: from a queue, named or private */
    AMQP_LINK_PUBLISHER, /* we receive: to an address */
    AMQP_LINK_PRODUCER,  /* we receive: into one queue */
    AMQP_LINK_ANONYMOUS, /* we receive: `to` decides, message by message */
    AMQP_LINK_MANAGEMENT /* we receive: requests to the broker */
};

/* A link; the machine's part follows, then the name, in the same memory. */
struct amqp_link {
    struct tf_list_node in_session;
    struct tf_list_node blocked; /* conn->blocked */
    struct tf_tree_node by_name; /* container->links; key: a byte for the role, then the name */
    struct amqp_session *session;
    struct tf_amqp_link *machine;
    struct tf_named_consumer consumer; /* where we send */
    struct tf_named_producer producer; /* where we receive, to a plain address or a queue */
    uint8_t *address;  /* allocated: of the node, what is published to; NULL: none */
    uint8_t *incoming; /* a message whose frames come one after the other */
    size_t incoming_length, incoming_capacity;
    uint64_t next_tag;
    struct amqp_fence *fence;         /* where we send; being filled; NULL: none */
    struct amqp_ledger *ledger;       /* where we receive; NULL: nothing is noted */
    struct amqp_attaching *attaching; /* until we have answered the attach */
    struct tf_command_owner deletion; /* of its queue, which goes with it */
    uint64_t recorded;                /* what the attach has recorded in this shard; 0: nothing */
    uint32_t size;                    /* of the allocation */
    uint32_t key_length;
    uint32_t slack_of; /* front->generation when `slack` was looked up */
    uint16_t address_length;
    enum tf_amqp_condition refusal; /* why it was refused */
    const char *refusal_text;       /* static */
    uint8_t kind;                   /* enum amqp_link_kind */
    uint8_t answer;                 /* enum amqp_answer, or-ed */
    uint8_t slack;                  /* tf_envelope.slack of what comes for its address */
    bool answering;                 /* `attaching` waits for room in the output */
    bool refused;
    bool named;         /* in the container's tree */
    bool producing;     /* `producer` is attached or about to be */
    bool consuming;     /* likewise `consumer` */
    bool dynamic;       /* the queue goes with the link */
    bool subscription;  /* a durable subscription: its queue goes when the link is closed */
    bool deleting;      /* its closing detach is answered when the store has the deletion */
    bool undeleted;     /* there was no memory to delete its queue */
    bool counted;       /* among the subscriptions */
    bool settled;       /* deliveries are sent settled */
    bool drop;          /* the rest of the message that comes is of no use */
    bool draining;      /* the peer waits for the end of a drain */
    bool fenced;        /* a receiver in mode second, of a queue of another shard */
    bool resuming;      /* what comes is a delivery that the ledger has */
    uint8_t tag_length; /* of the delivery that comes, if there is a ledger */
    uint8_t tag[TF_AMQP_TAG_MAX];
    uint8_t *key; /* of by_name, behind the machine's part */
};

/* Memory for the length of a call. What delivers has its own: a publication whose parts lie in the
 * other is delivered before the call that made it ends. */
enum amqp_scratch_kind {
    AMQP_SCRATCH_NAMES,
    AMQP_SCRATCH_SECTIONS,
    AMQP_SCRATCH_NOTES,
    AMQP_SCRATCH_COUNT
};

struct amqp_scratch {
    uint8_t *memory;
    size_t size;
};

struct amqp_front {
    struct tf_front front;
    struct tf_front_context context;
    struct tf_shard *shard;
    struct tf_tree containers;
    struct tf_list conns;
    struct tf_list service;
    struct amqp_servers *servers; /* in force for new connections */
    struct tf_front_buffers buffers;
    struct amqp_scratch scratch[AMQP_SCRATCH_COUNT];
    struct tf_tree ledgers;      /* of amqp_ledger.by_key */
    struct tf_list away;         /* of amqp_ledger.away; who went first is first */
    size_t notes_away;           /* in all of them */
    struct tf_front_timer grace; /* for the first of them */
    uint32_t generation;         /* of the configuration; never 0 */
    bool draining;
    bool slow; /* the store is over its soft limit: senders get no credit */
};

static inline tf_time amqp_now(const struct amqp_front *front)
{
    return front->shard->now;
}

static inline const struct tf_alloc *amqp_alloc(const struct amqp_front *front)
{
    return front->shard->config.alloc;
}

static inline struct amqp_conn *amqp_conn_of(struct tf_stream *stream)
{
    return tf_container_of(stream, struct amqp_conn, stream);
}

static inline struct amqp_conn *amqp_link_conn(const struct amqp_link *link)
{
    return link->session->conn;
}

static inline struct tf_bytes amqp_link_address(const struct amqp_link *link)
{
    return tf_bytes_of(link->address, link->address_length);
}

/* amqp_front.c */

/* Memory of the shard's allocator; NULL: none. */
void *tf_amqp_front_alloc(struct amqp_front *front, size_t size);
void tf_amqp_front_free(struct amqp_front *front, void *memory, size_t size);

/* The front's scratch with at least `size` bytes; NULL: no memory. One use at a time. */
uint8_t *tf_amqp_front_scratch(struct amqp_front *front, enum amqp_scratch_kind kind, size_t size);

/* Lets go of the machines' configurations. */
void tf_amqp_front_servers_unref(struct amqp_front *front, struct amqp_servers *servers);

/* The connection says that it is this container, until it leaves. False: no memory. */
bool tf_amqp_front_container_enter(struct amqp_conn *conn, struct tf_bytes id);
void tf_amqp_front_container_leave(struct amqp_conn *conn);

/* amqp_front_conn.c */

/* A new connection's stream; NULL: no memory. */
struct tf_stream *tf_amqp_front_conn_open(struct amqp_front *front, unsigned listener,
                                          struct tf_bytes peer);

/* Lends the machine a buffer, at least of `size` bytes. False: not now, or no memory. */
bool tf_amqp_front_conn_lend(struct amqp_conn *conn, size_t size);

/* Pulls the machine's events and deals with them. False: there were none, or this is called from
 * within (then whoever does so pulls on). */
bool tf_amqp_front_conn_events(struct amqp_conn *conn);

/* The connection has something to do at the end of this turn. */
void tf_amqp_front_conn_touch(struct amqp_conn *conn);

/* Memory was short, and nobody else may wake it: it looks again in a while. */
void tf_amqp_front_conn_starve(struct amqp_conn *conn);

/* Does it: events, waiting input, deliveries. */
void tf_amqp_front_conn_service(struct amqp_conn *conn);

/* Its timer has ended. */
void tf_amqp_front_conn_expire(struct amqp_conn *conn);

/* Ends it with an error. */
void tf_amqp_front_conn_end(struct amqp_conn *conn, enum tf_amqp_condition condition,
                            const char *text);

/* A log line about it. */
void tf_amqp_front_conn_log(struct amqp_conn *conn, enum tf_log_level level, const char *text);

/* amqp_front_link.c */
void tf_amqp_front_on_begin(struct amqp_conn *conn, const struct tf_amqp_event *event);
void tf_amqp_front_on_ended(struct amqp_conn *conn, const struct tf_amqp_event *event);
void tf_amqp_front_on_attach(struct amqp_conn *conn, const struct tf_amqp_event *event);
void tf_amqp_front_on_detached(struct amqp_conn *conn, const struct tf_amqp_event *event);

/* Frees a session with its links; `lost`: the connection broke, its deliveries may have been seen.
 */
void tf_amqp_front_session_free(struct amqp_session *session, bool lost);

/* Detaches a link with an error. */
void tf_amqp_front_link_fail(struct amqp_link *link, enum tf_amqp_condition condition,
                             const char *text);

/* amqp_front_terminus.c */

/*
 * Resolves the link's node by the peer's attach and answers it, now or when the routing has. The
 * link's role is set by the machine.
 */
void tf_amqp_front_link_resolve(struct amqp_link *link, const struct tf_amqp_attach *attach);

/* Answers that the link's node is not to be had, and why: now, or in place of what it had. */
void tf_amqp_front_link_refuse(struct amqp_link *link, enum tf_amqp_condition condition,
                               const char *text);

/* Sends the answer that is ready, now or when the output has room. */
void tf_amqp_front_link_answer(struct amqp_link *link);

/* For tf_named_consumer_ops.attached. */
void tf_amqp_front_consumer_attached(struct tf_named_consumer *consumer, enum tf_err err);

/* Frees what an attach that was not yet answered keeps. */
void tf_amqp_front_attaching_free(struct amqp_link *link);

/* The link leaves its node; `closed`: for good. May set `deleting` or `undeleted`. */
void tf_amqp_front_link_leave(struct amqp_link *link, bool closed, bool lost);

/* amqp_front_receive.c */
void tf_amqp_front_on_transfer(struct amqp_conn *conn, const struct tf_amqp_event *event);
void tf_amqp_front_on_settled(const struct tf_amqp_event *event);

/* For tf_ticket_owner.done. */
void tf_amqp_front_answered(struct tf_ticket_owner *owner, uint64_t tag,
                            const struct tf_published *result);

/* What is said of a publication, its texts static. True: it is accepted. */
bool tf_amqp_front_outcome(uint8_t kind, const struct tf_published *result,
                           struct tf_amqp_state *ret);

/* A ticket of the connection has ended. */
void tf_amqp_front_tickets_less(struct amqp_conn *conn);

/* Answers a delivery. `kind`: enum amqp_answer, or-ed. */
void tf_amqp_front_dispose(struct amqp_conn *conn, uint64_t delivery,
                           const struct tf_amqp_state *state, uint8_t kind);

/* Grants the link's sender credit by what its queue has room for. */
void tf_amqp_front_link_grant(struct amqp_link *link);

/* Forgets a message of which only a part has come. */
void tf_amqp_front_incoming_drop(struct amqp_link *link);

/* amqp_front_ledger.c */

/*
 * The sender attaches: gives the link its ledger, if the peer wants its terminus to keep unsettled
 * state; what it has settled meanwhile is forgotten. Without memory there is none.
 */
void tf_amqp_front_ledger_attach(struct amqp_link *link, const struct tf_amqp_attach *attach);

/* Bytes for our map of unsettled deliveries, within what the peer takes; 0: none. And the map,
 * encoded: its length. */
size_t tf_amqp_front_ledger_room(const struct amqp_link *link, const struct tf_amqp_attach *attach);
size_t tf_amqp_front_ledger_map(const struct amqp_link *link, uint8_t *buffer, size_t size,
                                bool *ret_incomplete);

/* Says in the answer how long the link may be away. */
void tf_amqp_front_ledger_describe(const struct amqp_link *link, struct tf_amqp_terminus *target);

/* The link goes, for good if `closed`. No effect without a ledger. */
void tf_amqp_front_ledger_leave(struct amqp_link *link, bool closed);

/* Notes the delivery whose tag is in the link; NULL: no memory. */
struct amqp_note *tf_amqp_front_note(struct amqp_link *link, uint64_t delivery, uint8_t kind);

/* A ticket for it has begun, and is counted by the connection: link->ledger->tickets owns it. */
void tf_amqp_front_note_waits(struct amqp_note *note);

/* It is known what became of it: notes, records and answers that. The note may be gone then. */
void tf_amqp_front_noted(struct amqp_note *note, const struct tf_published *result);

/* True: the delivery whose tag is in the link is noted. */
bool tf_amqp_front_ledger_knows(const struct amqp_link *link);

/* It has been resumed to its end: answers it, unless the sender has settled it. */
void tf_amqp_front_ledger_resumed(struct amqp_link *link, uint64_t delivery, bool settled);

/* Any delivery has come whole: what the sender must know by now is forgotten. */
void tf_amqp_front_ledger_came(struct amqp_link *link);

/* The sender has settled. */
void tf_amqp_front_ledger_settled(struct amqp_link *link, uint64_t delivery);

/* Tickets of the link's ledger that its connection counts; for tests. */
uint32_t tf_amqp_front_ledger_open(const struct amqp_link *link);

/* The links that have been away for too long. */
void tf_amqp_front_ledgers_expire(struct amqp_front *front);

/* Frees them; the store keeps what it has. */
void tf_amqp_front_ledgers_release(struct amqp_front *front);

/* A note that the store has kept. TF_PROTOCOL: it makes no sense. TF_NO_MEMORY. */
enum tf_err tf_amqp_front_ledger_restore(struct amqp_front *front,
                                         const struct tf_stored_object *object);

/* amqp_front_send.c */
extern const struct tf_named_consumer_ops tf_amqp_front_consumer_ops;

void tf_amqp_front_on_flow(struct amqp_conn *conn, const struct tf_amqp_event *event);
void tf_amqp_front_on_outcome(struct amqp_conn *conn, const struct tf_amqp_event *event);
void tf_amqp_front_on_returned(struct amqp_conn *conn, uint64_t owner);

/* The link goes on when there is room in the output, or window. */
void tf_amqp_front_link_block(struct amqp_link *link);

/* Goes on with links that found no room. */
void tf_amqp_front_unblock(struct amqp_conn *conn);

/* amqp_front_fence.c */

/*
 * The outcome of a delivery has gone to the queue's home, and the receiver is to be told that it is
 * settled when the home has it on disk. False: no memory.
 */
bool tf_amqp_front_fence_add(struct amqp_link *link, uint64_t delivery,
                             const struct tf_amqp_state *state);

/* Asks for those that were added in this turn. */
void tf_amqp_front_fences_begin(struct amqp_conn *conn);

/* The link goes, with its deliveries. */
void tf_amqp_front_fence_leave(struct amqp_link *link);

/* Frees all. */
void tf_amqp_front_fences_drop(struct amqp_conn *conn);

/* For tf_command_owner.done. */
void tf_amqp_front_fenced(struct tf_command_owner *owner, uint64_t tag, enum tf_err err,
                          uint64_t count, const struct tf_queue_status *status);

/* amqp_front_management.c */

/* A request to $management has come. */
void tf_amqp_front_manage(struct amqp_link *link, uint64_t delivery, bool settled,
                          const struct tf_amqp_message *message);

/* Forgets the requests that wait. */
void tf_amqp_front_requests_drop(struct amqp_conn *conn);

/* For tf_command_owner.done. */
void tf_amqp_front_managed(struct tf_command_owner *owner, uint64_t tag, enum tf_err err,
                           uint64_t count, const struct tf_queue_status *status);

/* amqp_front_sys.c: for tf_front_ops.virtual_next */
struct tf_message *tf_amqp_front_virtual_next(struct tf_front *front, struct tf_bytes filter,
                                              struct tf_bytes last);

#endif
