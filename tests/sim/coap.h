/*
 * CoAP in the simulator: clients on the library's endpoint machine, a network of datagrams, the
 * broker's CoAP front on every shard, and an oracle of its own.
 *
 *   datagram.c       loss, duplicates, reordering, delay; paths, and which shard one leads to
 *   coap_node.c      a shard's channel, driven as a worker drives it
 *   coap_client.c    a client: requests, what comes back, the events for the oracle
 *   coap_oracle.c    what must hold of what clients saw   coap_audit.c   and of the whole run
 *   coap_oracle_test.c   hand-made traces, most of which the oracle must reject
 *   coap_scenario.c  what happens in a run                coap_success.c  the test of probability
 */
#ifndef TF_SIM_COAP_H
#define TF_SIM_COAP_H

#include "broker/coap_front.h"
#include "sim/sim.h"

#include <trefoil/coap_endpoint.h>

#define TF_SIM_COAP_CLIENTS 8u /* the last one reads what is there in the end */
#define TF_SIM_COAP_CALLS 12u  /* of one client at a time */
#define TF_SIM_COAP_OPS 4096u
#define TF_SIM_COAP_ADDRESSES 10u /* all of tf_sim_topics */
#define TF_SIM_COAP_LOG 7u        /* the one that no wildcard matches: a JSON array, by PATCH */
#define TF_SIM_COAP_LOOSE 3u      /* the one where MQTT publishes what is not retained, too */
#define TF_SIM_COAP_MQTT 100u     /* MQTT clients count from here for the oracle */

/* ---- datagram.c ---- */

/* A datagram on its way. */
struct tf_sim_packet {
    struct tf_list_node node; /* in an inbox, by arrival */
    tf_time arrives;
    struct tf_datagram_path path; /* as the reader sees it */
    uint8_t flags;
    size_t length;
    uint8_t data[];
};

/* What befalls datagrams; a direction has one each. */
struct tf_sim_weather {
    unsigned lost, doubled, late; /* of a thousand */
    tf_time delay_least, delay_most;
    tf_time late_most; /* of those that are late: they are overtaken */
};

/* Puts a datagram of a client on its way to the shard that its path leads to. */
void tf_sim_datagram_up(struct tf_sim *sim, struct tf_sim_coap_client *client,
                        struct tf_bytes bytes);
/* Puts a datagram on its way to whoever has this path, if anybody has. */
void tf_sim_datagram_down(struct tf_sim *sim, const struct tf_datagram_path *path,
                          struct tf_bytes bytes);
/* When the first of an inbox is there. */
tf_time tf_sim_inbox_next(const struct tf_list *inbox);
/* The first if it is there; the caller frees it. */
struct tf_sim_packet *tf_sim_inbox_pop(struct tf_sim *sim, struct tf_list *inbox);
void tf_sim_inbox_clear(struct tf_list *inbox);

/* ---- coap_oracle.c ---- */

enum tf_sim_coap_kind {
    TF_SIM_COAP_READ = 1,
    TF_SIM_COAP_WRITE,
    TF_SIM_COAP_CLEAR,
    TF_SIM_COAP_OBSERVE,
    TF_SIM_COAP_APPEND /* to the log: PATCH or iPATCH */
};

enum tf_sim_coap_condition {
    TF_SIM_COAP_ALWAYS,
    TF_SIM_COAP_MATCH, /* If-Match with the ETag of `match` */
    TF_SIM_COAP_ABSENT /* If-None-Match */
};

/* A request from when it was begun, or a publication of an MQTT client's. */
struct tf_sim_coap_op {
    enum tf_sim_coap_kind kind;
    unsigned client, address;
    uint32_t message; /* that it writes */
    enum tf_sim_coap_condition condition;
    uint64_t match;
    bool confirmable;
    bool ephemeral; /* ends its value by itself: an expiry */

    /* the oracle's */
    bool open;      /* not answered, not given up */
    bool done;      /* has been executed, says its answer */
    bool refused;   /* has not been executed, says its answer, and that is all there was */
    unsigned paths; /* it was sent by: one execution for each is possible, in each broker's life */
    bool shaky;     /* a crash may have undone it */
    bool crossed;   /* there was a crash before its answer: it may be the former broker's */
    tf_time start, end, seen;
    uint8_t code;
    uint64_t version, floor;
    uint64_t top; /* the highest version of all before it, undone ones too */
    unsigned delivered;
    tf_time crashed_at; /* of an observation: its broker is no more; 0: it is */
    bool told;          /* of an observation: there was a value */
    bool told_newer;    /* than its number says: the next may be older */
    uint64_t told_version;
    uint32_t told_message, sequence;
    tf_time told_at;
};

struct tf_sim_coap_answer {
    uint8_t code; /* 0: an MQTT acknowledgement, which has no version */
    uint64_t version;
    uint32_t message; /* TF_SIM_NONE: no body */
    bool strange;     /* a body that nobody wrote */
    bool notification;
    bool separate; /* a message of its own: an error among them has no number, so one that was on
                    * its way when the client registered anew counts all the same */
    bool last;
    uint32_t sequence;
    tf_time begun; /* when its first block came */
    bool newer;    /* it changed between its blocks: `sequence` is that of an older one */
};

struct tf_sim_coap_final {
    bool read;
    uint8_t code;
    uint64_t version;
};

struct tf_sim_coap_oracle {
    struct tf_sim_coap_op ops[TF_SIM_COAP_OPS];
    uint32_t count;
    uint32_t by_message[TF_SIM_MESSAGES]; /* op + 1 */
    uint64_t floor[TF_SIM_COAP_ADDRESSES];
    uint64_t top[TF_SIM_COAP_ADDRESSES];
    struct tf_sim_coap_final final[TF_SIM_COAP_ADDRESSES];
    unsigned emptied[TF_SIM_COAP_ADDRESSES];       /* empty messages seen by the subscriber */
    unsigned emptied_again[TF_SIM_COAP_ADDRESSES]; /* those that may be repetitions */
    bool subscribed[TF_SIM_COAP_ADDRESSES];
    bool failed;
    char failure[400];
};

void tf_sim_coap_oracle_init(struct tf_sim_coap_oracle *oracle);
void tf_sim_coap_wrong(struct tf_sim_coap_oracle *oracle, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A request goes out: its number. TF_SIM_NONE: there have been too many. */
uint32_t tf_sim_coap_begin(struct tf_sim_coap_oracle *oracle, const struct tf_sim_coap_op *op,
                           tf_time now);
void tf_sim_coap_answered(struct tf_sim_coap_oracle *oracle, uint32_t op,
                          const struct tf_sim_coap_answer *answer, tf_time now);
/* It ended without an answer: nobody knows what became of it. */
void tf_sim_coap_lost(struct tf_sim_coap_oracle *oracle, uint32_t op, tf_time now);
/* The client has another path from now on. */
void tf_sim_coap_moved(struct tf_sim_coap_oracle *oracle, unsigned client);
/* The broker is no more: what was under way may have been executed or not, and may be again by the
 * next one; what was not confirmed may be gone. Nothing has come to the disk since `since`. */
void tf_sim_coap_crashed(struct tf_sim_coap_oracle *oracle, tf_time since, tf_time now);
/* The subscriber got this message, or an empty one of this address; `again`: perhaps not for the
 * first time. */
void tf_sim_coap_delivered(struct tf_sim_coap_oracle *oracle, uint32_t message, unsigned address,
                           bool again);
/* The log was read: these operations have appended to it, in this order. */
void tf_sim_coap_log_read(struct tf_sim_coap_oracle *oracle, uint32_t op, const uint32_t *entries,
                          size_t count, tf_time now);
/* /.well-known/core was read: the addresses that it lists, as bits. */
void tf_sim_coap_listed(struct tf_sim_coap_oracle *oracle, uint32_t addresses);
/* All is quiet, and each address was read: judges the run as a whole (coap_audit.c). */
void tf_sim_coap_audit(struct tf_sim_coap_oracle *oracle);
unsigned tf_sim_coap_self_test(FILE *out);

/* For the oracle's files: the last moment at which it can have been executed, and the first by
 * which it is known to have been. TF_TIME_NEVER: unknown. */
tf_time tf_sim_coap_latest(const struct tf_sim_coap_op *op);
tf_time tf_sim_coap_known(const struct tf_sim_coap_op *op);
bool tf_sim_coap_changes(const struct tf_sim_coap_op *op);

/* ---- coap_client.c ---- */

/* A request of a client's. */
struct tf_sim_coap_call {
    struct tf_sim_coap_client *client;
    bool used;
    bool core;  /* GET of /.well-known/core */
    bool told;  /* of an observation: it stands */
    bool began; /* something has come, `sequence` last, for the first time at `begun` */
    uint32_t sequence;
    uint64_t first_version;
    tf_time begun;
    uint64_t handle;
    uint32_t op;
    enum tf_sim_coap_kind kind;
    uint8_t method;
    unsigned address;
    uint64_t known; /* the version whose ETag was sent along */
    uint8_t *body;  /* that it sends */
    struct tf_bytes body_view;
    uint8_t *got; /* of the answer so far */
    size_t got_length, got_size;
};

struct tf_sim_coap_client {
    struct tf_sim *sim;
    unsigned number;
    struct tf_datagram_path path; /* as the broker sees it */
    struct tf_coap_endpoint_config config;
    struct tf_coap_endpoint *endpoint;
    void *memory, *output;
    struct tf_random entropy;
    struct tf_list inbox;
    tf_time dark_until; /* nothing comes or goes */
    struct tf_sim_coap_call calls[TF_SIM_COAP_CALLS];
    uint64_t versions[TF_SIM_COAP_ADDRESSES];         /* seen last, for conditions */
    uint32_t version_messages[TF_SIM_COAP_ADDRESSES]; /* what they were of */
    uint32_t listed;                                  /* addresses of the last listing */
    bool has_listed;
};

/* What a client is to ask for. */
struct tf_sim_coap_wish {
    enum tf_sim_coap_kind kind;
    uint8_t method;
    unsigned address;
    bool non, core, etag;
    bool typed;      /* with a Content-Format */
    uint32_t length; /* of what is written */
    uint16_t block_size;
    enum tf_sim_coap_condition condition;
    uint64_t match;
};

void tf_sim_coap_client_init(struct tf_sim *sim, struct tf_sim_coap_client *client,
                             unsigned number);
void tf_sim_coap_client_release(struct tf_sim_coap_client *client);
tf_time tf_sim_coap_client_next(const struct tf_sim_coap_client *client);
void tf_sim_coap_client_step(struct tf_sim_coap_client *client);
/* False: it has no room for one more. */
bool tf_sim_coap_client_ask(struct tf_sim_coap_client *client, const struct tf_sim_coap_wish *wish);
/* Ends one of its observations, if there is any. */
void tf_sim_coap_client_cancel(struct tf_sim_coap_client *client, bool tell);
/* Its packets come from another address, and what goes to the former is lost. */
void tf_sim_coap_client_move(struct tf_sim_coap_client *client);
/* Requests other than observations that are under way. */
unsigned tf_sim_coap_client_busy(const struct tf_sim_coap_client *client);

/* ---- coap_node.c ---- */

bool tf_sim_coap_node_start(struct tf_sim_node *node, const struct tf_front_context *context);
tf_time tf_sim_coap_node_next(struct tf_sim_node *node);
/* The parts of a turn. */
void tf_sim_coap_node_read(struct tf_sim_node *node);
void tf_sim_coap_node_write(struct tf_sim_node *node);
void tf_sim_coap_node_check(struct tf_sim_node *node);
/* The broker ends: answers what it has, reads no more. */
void tf_sim_coap_node_drain(struct tf_sim_node *node);
void tf_sim_coap_node_close(struct tf_sim_node *node);
/* Says what is left though nobody waits for anything. */
void tf_sim_coap_node_check_empty(struct tf_sim_node *node);

/* ---- coap_scenario.c ---- */

/* What a run has of CoAP. */
struct tf_sim_coap {
    struct tf_sim_coap_oracle oracle;
    struct tf_sim_coap_client clients[TF_SIM_COAP_CLIENTS];
    unsigned client_count;
    struct tf_sim_weather up, down;
    bool trusted;                       /* what comes in is known not to be forged */
    uint32_t mqtt_ops[TF_SIM_MESSAGES]; /* of what MQTT clients publish: the operation */
};

/* Draws what a run has of CoAP, and sets the broker's configuration; the whole run; frees it. */
void tf_sim_coap_start(struct tf_sim *sim);
void tf_sim_coap_run(struct tf_sim *sim);
void tf_sim_coap_end(struct tf_sim *sim);
/* The broker is no more. */
void tf_sim_coap_crash(struct tf_sim *sim, tf_time since);
/* What an MQTT client did or saw. */
void tf_sim_coap_hear(struct tf_sim *sim, const struct tf_sim_event *event);
/* True if the oracle has no say: anything may be refused. */
bool tf_sim_coap_silent(const struct tf_sim *sim);
/* Fails the run with what the oracle says, if it says anything. */
void tf_sim_coap_judge(struct tf_sim *sim);

/* ---- coap_success.c ---- */

/* The exchanges of one run: counts them. */
void tf_sim_coap_exchange(struct tf_sim *sim);

/*
 * How many of a great number of CON exchanges succeed while three of ten datagrams are lost each
 * way. False: not as many as theory says, to one point; it says so on stdout.
 */
bool tf_sim_coap_success(struct tf_sim *sim, uint64_t *seen);

#endif
