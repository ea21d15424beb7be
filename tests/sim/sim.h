/*
 * The simulator: shards, MQTT clients and the network between them, in one process, on virtual
 * time, from a seed.
 *
 *   main.c      seeds, counters, the closing line
 *   scenario.c  what happens, and when: one run
 *   client*.c   MQTT clients of their own on the codec, and what they make of input
 *   network.c   links that delay, split, stall and cut
 *   node.c      a shard with its fronts
 *   store.c     the store on a disk in memory, and crashes
 *   trace.c     trace, failures, memory that is counted
 *   oracle*.c   what must hold of what clients saw; hand-made traces for the oracle itself
 *   coap.h      the same for CoAP, over datagrams
 *   amqp.h      the same for AMQP 1.0
 *
 * Everything that is drawn comes from one random sequence, and nothing reads a clock, so a seed
 * names a run: the trace is hashed, and the same seed must give the same hash. The oracle never
 * looks into the broker; node.c does, after every turn, but only to call its check functions.
 */
#ifndef TF_SIM_SIM_H
#define TF_SIM_SIM_H

#include "base/list.h"
#include "base/random.h"
#include "base/util.h"
#include "broker/config.h"
#include "broker/front.h"
#include "broker/mqtt_front.h"
#include "broker/queues.h"

#include <stdarg.h>
#include <stdio.h>
#include <trefoil/mqtt_packet.h>

#define TF_SIM_SHARDS 5u
#define TF_SIM_CLIENTS 14u    /* at most; the last one reads retained messages at the end */
#define TF_SIM_MESSAGES 4096u /* of one run */
#define TF_SIM_IN_FLIGHT 40u  /* of one client */
#define TF_SIM_NONE UINT32_MAX
#define TF_SIM_NOTICE (6 * TF_SECOND) /* within which a server notices what a network tells it */

struct tf_sim;
struct tf_sim_oracle;
struct tf_sim_conn;
struct tf_sim_client;
struct tf_sim_coap;
struct tf_sim_coap_client;
struct tf_sim_amqp;
struct tf_sim_amqp_client;
struct tf_sim_store;

/* What is to happen at least once in a set of seeds. */
enum tf_sim_kind {
    TF_SIM_CUT,
    TF_SIM_CUT_SHORT, /* bytes on their way were lost with it */
    TF_SIM_HALF_OPEN,
    TF_SIM_STALL_UP,
    TF_SIM_STALL_DOWN,
    TF_SIM_DELAY,
    TF_SIM_SPLIT, /* every byte by itself */
    TF_SIM_SHORT_WRITE,
    TF_SIM_MAIL_SPILLED,
    TF_SIM_MAIL_LATE,
    TF_SIM_SHARD_PAUSED,
    TF_SIM_MOVED,
    TF_SIM_TAKEN_OVER,
    TF_SIM_SLOW_READER,
    TF_SIM_ACK_LATE,
    TF_SIM_SILENT,
    TF_SIM_KEEP_ALIVE_ENDED,
    TF_SIM_TIME_JUMP,
    TF_SIM_SESSION_RESUMED,
    TF_SIM_SESSION_EXPIRED,
    TF_SIM_CLIENT_RESENT,
    TF_SIM_SERVER_RESENT,
    TF_SIM_WILL_SEEN,
    TF_SIM_WILL_CANCELLED,
    TF_SIM_GOODBYE_WITH_WILL,
    TF_SIM_RETAINED_SEEN,
    TF_SIM_RETAINED_CLEARED,
    TF_SIM_EXPIRY_SEEN,
    TF_SIM_OVERLAP_SEEN, /* one delivery for two subscriptions */
    TF_SIM_LARGE_BODY,
    TF_SIM_HUGE_BODY,
    TF_SIM_PIPELINED, /* packets behind CONNECT before its answer */
    TF_SIM_CREDIT_SPENT,
    TF_SIM_STARVED,     /* only in runs that are asked for it */
    TF_SIM_CRASHED,     /* only in runs with a store */
    TF_SIM_DISK_FAILED, /* only in those without enough memory */
    TF_SIM_TAIL,        /* a queue with a tail: not in runs with CoAP */
    TF_SIM_MQTT_KINDS,

    /* of runs with CoAP (coap.h) */
    TF_SIM_COAP_LOST = TF_SIM_MQTT_KINDS,
    TF_SIM_COAP_DOUBLED,
    TF_SIM_COAP_LATE,
    TF_SIM_COAP_NOBODY, /* sent to a path that nobody has any more */
    TF_SIM_COAP_STUCK,
    TF_SIM_COAP_MOVED,
    TF_SIM_COAP_DARK,
    TF_SIM_COAP_TIMED_OUT,
    TF_SIM_COAP_BLOCKS,
    TF_SIM_COAP_BEGUN_ANEW,
    TF_SIM_COAP_VALID_SEEN,
    TF_SIM_COAP_RACE,
    TF_SIM_COAP_CONDITION_FAILED,
    TF_SIM_COAP_NOTIFIED,
    TF_SIM_COAP_OBSERVED_GONE,
    TF_SIM_COAP_FORMAT_CHANGED,
    TF_SIM_COAP_CANCELLED,
    TF_SIM_COAP_DRAINED_BUSY,
    TF_SIM_COAP_KINDS,

    /* of runs with AMQP (amqp.h) */
    TF_SIM_AMQP_CUT = TF_SIM_COAP_KINDS,
    TF_SIM_AMQP_HALF_OPEN,
    TF_SIM_AMQP_SILENT,
    TF_SIM_AMQP_SLOW,
    TF_SIM_AMQP_STALL,
    TF_SIM_AMQP_STOLEN,
    TF_SIM_AMQP_SESSION_ENDED,
    TF_SIM_AMQP_DETACHED,
    TF_SIM_AMQP_DELETED,
    TF_SIM_AMQP_MANAGED,
    TF_SIM_AMQP_FRAMES, /* deliveries of several */
    TF_SIM_AMQP_REFUSAL,
    TF_SIM_AMQP_OUTCOMES, /* other than accepted */
    TF_SIM_AMQP_SECOND,
    TF_SIM_AMQP_AGAIN, /* a delivery with a delivery-count */
    TF_SIM_AMQP_LETTER,
    TF_SIM_AMQP_BROWSED,
    TF_SIM_AMQP_DRAINED,
    TF_SIM_AMQP_CREDIT_BACK,
    TF_SIM_AMQP_ENDED_BUSY,
    TF_SIM_KINDS
};

/* ---- messages and what clients saw ---- */

/* A message as its publisher made it; its number is in its body. */
struct tf_sim_message {
    uint32_t number;
    uint32_t length;   /* of the body; 0: clears a retained message and carries no number */
    uint32_t expiry_s; /* UINT32_MAX: none */
    uint8_t topic;     /* place in tf_sim_topics */
    uint8_t qos;
    bool retain;
    bool will;
};

enum tf_sim_event_kind {
    TF_SIM_CONNECT = 1, /* sent: clean, expiry_s, keep_alive_s, receive_maximum, max_packet,
                           version, info: the will, will_delay_s */
    TF_SIM_CONNACK,     /* reason, present */
    TF_SIM_SUBSCRIBE,   /* one filter of a SUBSCRIBE: packet_id, filter, options */
    TF_SIM_SUBACK,      /* its answer: packet_id, filter, reason */
    TF_SIM_UNSUBSCRIBE, /* packet_id, filter */
    TF_SIM_UNSUBACK,    /* packet_id, filter, reason */
    TF_SIM_PUBLISH,     /* sent, for the first time or again: message; info the first time */
    TF_SIM_ACCEPTED,    /* PUBACK or PUBREC: message, reason */
    TF_SIM_RECEIVE,     /* a PUBLISH came: all of it; `repeat`: of a QoS 2 id that is known */
    TF_SIM_SETTLE,      /* PUBACK or PUBCOMP was sent: gives credit back */
    TF_SIM_DISCONNECT,  /* sent: reason, expiry_s */
    TF_SIM_LOST,     /* the connection is over: `told` if the server hears of it, `graceful` if the
                        server closed it after a goodbye, nothing having happened on the way;
                        `crashed` if the server is no more */
    TF_SIM_READ_ALL, /* the reader of retained messages has got all there are */
    TF_SIM_CRASH     /* the broker is no more, and all connections with it (`client` 0) */
};

struct tf_sim_event {
    enum tf_sim_event_kind kind;
    unsigned client;
    tf_time at;
    uint32_t message;
    const struct tf_sim_message *info;
    const char *filter;
    uint16_t packet_id;
    uint8_t topic, qos, reason, version, handling;
    bool retain, dup, repeat, present, clean, told, graceful, crashed, no_local, as_published;
    bool has_expiry;
    uint8_t id_count;
    uint32_t ids[8];
    uint32_t expiry_s, will_delay_s, max_packet, size, id;
    uint16_t receive_maximum, keep_alive_s;
    tf_time since; /* of a crash: nothing has come to the disk from then on */
};

extern const char *const tf_sim_topics[];
extern const unsigned tf_sim_topic_count;

/* ---- network.c ---- */

/* One direction of a link: bytes on their way to a reader. */
struct tf_sim_pipe {
    struct tf_sim_chunk *first, *last;
    size_t queued, window;
    size_t piece;  /* at most so many bytes at once; 0: any number */
    size_t pieces; /* that are left to be read so */
    tf_time delay_least, delay_most;
    tf_time arrival; /* of what was written last */
    tf_time stalled_until;
    tf_time end_at; /* when the reader sees the end; TF_TIME_NEVER: it is open */
    bool hole;      /* nothing arrives any more */
    bool refused;   /* the reader is gone: writing fails */
};

/* A connection between a client and the server. */
struct tf_sim_link {
    struct tf_list_node node;
    struct tf_sim_pipe up, down;
    struct tf_sim_client *client;    /* NULL: has gone */
    struct tf_sim_amqp_client *amqp; /* or whose it is otherwise */
    bool is_amqp;
    struct tf_sim_conn *conn; /* the server's end; NULL: not accepted yet, or gone */
    unsigned number;
    unsigned shard; /* that accepts it */
    bool accepted;
    bool server_gone;
    bool harmed; /* stalled or cut: its end proves nothing */
};

struct tf_sim_link *tf_sim_link_open(struct tf_sim *sim, struct tf_sim_client *client);
void tf_sim_link_free(struct tf_sim *sim, struct tf_sim_link *link);
/* Frees it if both ends are gone. */
void tf_sim_link_unused(struct tf_sim *sim, struct tf_sim_link *link);
/* Writes what there is room for. False: the other side is gone. */
bool tf_sim_pipe_write(struct tf_sim *sim, struct tf_sim_pipe *pipe, struct tf_bytes bytes,
                       size_t *ret_written);
/* Reads; *ret_end: there is nothing more to come. */
size_t tf_sim_pipe_read(struct tf_sim *sim, struct tf_sim_pipe *pipe, uint8_t *data, size_t size,
                        bool *ret_end);
/* When there is something to read; TF_TIME_NEVER: nothing is under way. */
tf_time tf_sim_pipe_next(const struct tf_sim_pipe *pipe);
size_t tf_sim_pipe_room(const struct tf_sim_pipe *pipe);
/* As a system tells it: there is a good deal of room again, or writing will fail. */
bool tf_sim_pipe_writable(const struct tf_sim_pipe *pipe);
/* The writer ends after what it has written. */
void tf_sim_pipe_end(struct tf_sim *sim, struct tf_sim_pipe *pipe);
/* What is on its way is lost, all of it or from some byte on. */
void tf_sim_pipe_lose(struct tf_sim *sim, struct tf_sim_pipe *pipe);
void tf_sim_pipe_stall(struct tf_sim *sim, struct tf_sim_pipe *pipe, tf_time until);

/* ---- node.c ---- */

/* A shard with its front and its connections. */
struct tf_sim_node {
    struct tf_sim *sim;
    struct tf_shard shard;
    struct tf_front *front;
    struct tf_list conns;
    tf_time paused_until;
    bool mail; /* was woken */
    bool congested;
    bool late;                     /* mail was left for the next turn */
    struct tf_store_client client; /* of runs with a store */
    struct tf_store_client *kept;  /* the same, or NULL */
    /* of runs with CoAP */
    struct tf_front *coap;      /* NULL: there is none */
    struct tf_channel *channel; /* NULL: closed */
    struct tf_list inbox;       /* datagrams that have come, or will */
    tf_time stuck_until;        /* the socket takes no more */
    bool drained;
    /* of runs with AMQP */
    struct tf_front *amqp; /* NULL: there is none */
    struct tf_queues queues;
};

bool tf_sim_nodes_start(struct tf_sim *sim);
/* When the node has something to do; may have passed. */
tf_time tf_sim_node_next(struct tf_sim_node *node);
void tf_sim_node_turn(struct tf_sim_node *node);
/* Frees all nodes, and checks that no memory is left. */
void tf_sim_nodes_down(struct tf_sim *sim);
/* The same, and the network. */
void tf_sim_nodes_stop(struct tf_sim *sim);
/* Says what is left in queues though every session has ended. */
void tf_sim_nodes_check_empty(struct tf_sim *sim);

/* ---- client.c, client_receive.c ---- */

enum tf_sim_state { TF_SIM_OFFLINE, TF_SIM_CONNECTING, TF_SIM_ONLINE, TF_SIM_LEAVING };
enum { TF_SIM_WAIT_ACK = 1, TF_SIM_WAIT_COMP };

/* A PUBLISH of the client's that is not answered to the end. */
struct tf_sim_outgoing {
    uint16_t packet_id;
    uint8_t state;
    bool sent; /* on this connection */
    uint32_t message;
};

/* An answer of the client's that waits for its time. */
struct tf_sim_answer {
    uint8_t type;
    uint16_t packet_id;
    tf_time due;
};

/* A SUBSCRIBE or UNSUBSCRIBE under way. */
struct tf_sim_request {
    uint16_t packet_id; /* 0: free */
    uint8_t type;
    uint8_t count;
    const char *filters[4];
};

struct tf_sim_connect {
    uint8_t version;
    bool clean;
    uint32_t expiry_s;
    uint16_t keep_alive_s, receive_maximum;
    uint32_t max_packet;
    uint32_t will; /* message, or TF_SIM_NONE */
    uint32_t will_delay_s;
};

/* CONNECT, and what its views view. */
struct tf_sim_connect_parts {
    struct tf_mqtt_connect packet;
    uint8_t properties[64], will_properties[64], will_body[512];
};

struct tf_sim_client {
    struct tf_sim *sim;
    struct tf_sim_machine *machine; /* the library's; NULL: this client speaks for itself */
    unsigned number;
    char id[16];
    enum tf_sim_state state;
    struct tf_sim_link *link;
    struct tf_sim_connect connect; /* of this connection, or the last one */
    uint8_t *in, *out;
    size_t in_length, in_capacity, out_length, out_capacity;
    struct tf_sim_outgoing outgoing[TF_SIM_IN_FLIGHT];
    unsigned outgoing_count;
    struct tf_sim_answer answers[256];
    unsigned answer_count;
    uint16_t received[256]; /* QoS 2 ids between PUBLISH and PUBREL */
    uint32_t received_message[256];
    unsigned received_count;
    struct tf_sim_request requests[4];
    uint16_t next_id, server_maximum;
    tf_time last_sent;
    tf_time read_after, silent_until; /* slow, silent */
    tf_time last_heard;
    tf_time state_until;   /* the server keeps the session until then at least */
    tf_time connect_after; /* a CONNECT without an answer is under way no more */
    bool no_state;         /* has forgotten its session: must not resume one (MQTT 5.0 3.2.2.1.1) */
    bool must_clean;       /* a clean start was tried and not answered */
    bool was_silent;
    bool had_session;
    unsigned unsettled; /* deliveries of this connection that credit is spent on */
};

void tf_sim_client_init(struct tf_sim *sim, struct tf_sim_client *client, unsigned number);
void tf_sim_client_release(struct tf_sim_client *client);
tf_time tf_sim_client_next(const struct tf_sim_client *client);
void tf_sim_client_step(struct tf_sim_client *client);
void tf_sim_client_connect(struct tf_sim_client *client, const struct tf_sim_connect *connect);
bool tf_sim_client_can_publish(const struct tf_sim_client *client);
void tf_sim_client_publish(struct tf_sim_client *client, struct tf_sim_message message);
void tf_sim_client_subscribe(struct tf_sim_client *client, struct tf_sim_event *filters,
                             unsigned count);
void tf_sim_client_unsubscribe(struct tf_sim_client *client, const char *filter);
void tf_sim_client_disconnect(struct tf_sim_client *client, uint8_t reason, uint32_t expiry_s);
/* The client's end of the connection is no more. `told`: the server hears of it. */
void tf_sim_client_drop(struct tf_sim_client *client, bool told, bool graceful);
/* Nothing of the client's waits for an answer. */
bool tf_sim_client_quiet(const struct tf_sim_client *client);
/* For client_receive.c: sends one packet that was written into `writer`'s memory. */
void tf_sim_client_send(struct tf_sim_client *client, const struct tf_writer *writer);
void tf_sim_client_resume(struct tf_sim_client *client);
void tf_sim_client_input(struct tf_sim_client *client);

void tf_sim_client_fill(const struct tf_sim_client *client, struct tf_sim_connect_parts *parts,
                        bool limits);
void tf_sim_client_body(const struct tf_sim_message *message, uint8_t *body);
void tf_sim_client_tell_publish(struct tf_sim_client *client, const struct tf_sim_message *message,
                                uint16_t packet_id, bool dup);
void tf_sim_client_answer_later(struct tf_sim_client *client, uint8_t type, uint16_t packet_id);
void tf_sim_client_on_publish(struct tf_sim_client *client, const struct tf_mqtt_publish *packet,
                              size_t size);
void tf_sim_client_on_granted(struct tf_sim_client *client, uint8_t type, uint16_t packet_id,
                              struct tf_bytes reasons);
void tf_sim_client_on_connack(struct tf_sim_client *client, const struct tf_mqtt_connack *connack);
void tf_sim_client_on_disconnect(struct tf_sim_client *client, uint8_t reason);

/* ---- client_machine.c: a client on the library's client machine ---- */

void tf_sim_machine_new(struct tf_sim_client *client);
void tf_sim_machine_free(struct tf_sim_client *client);
void tf_sim_machine_connect(struct tf_sim_client *client);
/* Its session is no more. */
void tf_sim_machine_forget(struct tf_sim_client *client);
/* The connection is no more. */
void tf_sim_machine_abandon(struct tf_sim_client *client);
/* True if it takes a PUBLISH now. */
bool tf_sim_machine_ready(const struct tf_sim_client *client);
void tf_sim_machine_publish(struct tf_sim_client *client, const struct tf_sim_message *message);
/* False: not now. */
bool tf_sim_machine_subscribe(struct tf_sim_client *client, uint16_t handle,
                              struct tf_bytes payload, struct tf_bytes properties);
bool tf_sim_machine_unsubscribe(struct tf_sim_client *client, uint16_t handle, const char *filter);
void tf_sim_machine_disconnect(struct tf_sim_client *client, uint8_t reason);
/* False: not now. */
bool tf_sim_machine_answer(struct tf_sim_client *client, const struct tf_sim_answer *answer);
bool tf_sim_machine_has_output(const struct tf_sim_client *client);
tf_time tf_sim_machine_next(const struct tf_sim_client *client);
void tf_sim_machine_step(struct tf_sim_client *client);
void tf_sim_machine_input(struct tf_sim_client *client);
bool tf_sim_machine_quiet(const struct tf_sim_client *client);
/* True if a PUBLISH of its is not answered to the end. */
bool tf_sim_machine_busy(const struct tf_sim_client *client);

/* ---- oracle.c ---- */

struct tf_sim_oracle *tf_sim_oracle_new(void);
void tf_sim_oracle_free(struct tf_sim_oracle *oracle);
/* Takes note of what a client did or saw. What it finds wrong is in tf_sim_oracle_failure. */
void tf_sim_oracle_see(struct tf_sim_oracle *oracle, const struct tf_sim_event *event);
/* All is drained: every message that is owed must have come. */
void tf_sim_oracle_drained(struct tf_sim_oracle *oracle, tf_time now);
/* NULL: nothing is wrong so far. */
const char *tf_sim_oracle_failure(const struct tf_sim_oracle *oracle);
/* The oracle's own tests; the number that failed. */
unsigned tf_sim_self_test(FILE *out);

/* ---- scenario.c, trace.c ---- */

/* An allocator that knows what is out and how large. */
struct tf_sim_memory {
    struct tf_alloc alloc;
    struct tf_sim *sim;
    size_t blocks, bytes;
    struct tf_random random; /* which allocation fails */
    bool starving;
    uint8_t fill; /* what fresh memory holds */
};

struct tf_sim_options {
    uint64_t seed;
    unsigned shards;     /* 0: drawn */
    unsigned operations; /* 0: drawn */
    unsigned starve;     /* one allocation in so many fails while there are faults; 0: none */
    uint8_t fill;
    bool trace;
    bool coap;    /* a run of CoAP clients, with some of MQTT */
    bool success; /* of those, one that only counts exchanges: coap_success.c */
    bool amqp;    /* a run of AMQP clients, with some of MQTT */
    bool store;   /* the broker has a store, and crashes */
};

struct tf_sim {
    struct tf_sim_options options;
    struct tf_random random;
    struct tf_random entropy; /* the broker's */
    tf_time now;
    uint64_t hash, steps;
    struct tf_sim_memory memory;
    struct tf_config config;
    struct tf_post_office *office;
    unsigned shards;
    struct tf_sim_node nodes[TF_SIM_SHARDS];
    struct tf_list links;
    unsigned link_count;
    struct tf_sim_client clients[TF_SIM_CLIENTS];
    unsigned client_count;
    struct tf_sim_message messages[TF_SIM_MESSAGES];
    uint32_t message_count;
    struct tf_sim_oracle *oracle;
    struct tf_sim_coap *coap;   /* NULL: a run without CoAP */
    struct tf_sim_amqp *amqp;   /* NULL: a run without AMQP */
    struct tf_sim_store *store; /* NULL: a run without a store */
    bool crashing;
    bool down;                /* the broker did not start again */
    uint64_t *seen;           /* of enum tf_sim_kind, over all runs */
    uint64_t tried, answered; /* exchanges that coap_success.c counts */
    bool calm;                /* no more faults */
    bool failed;
    char failure[600];
};

/* One run. False: it failed, and *sim says why. */
bool tf_sim_run(struct tf_sim *sim, const struct tf_sim_options *options, uint64_t *seen);

/* Lets things happen for a while. */
void tf_sim_run_for(struct tf_sim *sim, tf_time span);
/* Every MQTT client comes with a clean start and leaves: no session outlives that. */
void tf_sim_end_sessions(struct tf_sim *sim);
/* The links of all MQTT clients are lost, and no session is resumed. */
void tf_sim_drop_all(struct tf_sim *sim);
/* Ends faults. */
void tf_sim_calm(struct tf_sim *sim);

void tf_sim_memory_init(struct tf_sim *sim);
void tf_sim_trace(struct tf_sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What clients find wrong is no failure in a run without enough memory: anything may be refused. */
void tf_sim_blame(struct tf_sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void tf_sim_fail(struct tf_sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Tells the oracle and the trace what a client did or saw. */
void tf_sim_tell(struct tf_sim *sim, struct tf_sim_event *event);

static inline bool tf_sim_chance(struct tf_sim *sim, unsigned count, unsigned of)
{
    return tf_random_chance(&sim->random, count, of);
}

static inline uint64_t tf_sim_draw(struct tf_sim *sim, uint64_t least, uint64_t most)
{
    return least + tf_random_below(&sim->random, most - least + 1);
}

#endif
