/*
 * AMQP in the simulator: clients on the library's own connection machine, the broker's AMQP front
 * on every shard, named queues of every kind between them, and an oracle of its own.
 *
 *   amqp_node.c      a shard's AMQP front; what must hold of its queues
 *   amqp_client.c    a client's connection: bytes, sessions, the machine's events
 *   amqp_link.c      its links: messages out and in, outcomes
 *   amqp_message.c   what a message of a number looks like, and reading one back
 *   amqp_oracle.c    what must hold of what clients saw   amqp_audit.c   and of the whole run
 *   amqp_oracle_test.c   hand-made traces, most of which the oracle must reject
 *   amqp_admin.c     requests to $management               amqp_scenario.c  what happens in a run
 */
#ifndef TF_SIM_AMQP_H
#define TF_SIM_AMQP_H

#include "broker/amqp_front.h"
#include "broker/queues.h"
#include "sim/sim.h"

#include <trefoil/amqp_connection.h>
#include <trefoil/amqp_message.h>

#define TF_SIM_AMQP_LISTENER 1u
#define TF_SIM_AMQP_CLIENTS                                                                       \
    8u                          /* the first manages queues, the last one empties them in the end \
                                 */
#define TF_SIM_AMQP_SESSIONS 2u /* of a client */
#define TF_SIM_AMQP_LINKS 10u   /* of a client */
#define TF_SIM_AMQP_HELD 512u   /* deliveries that a client has not answered */
#define TF_SIM_AMQP_INSTANCES 1024u /* links of a run, of either direction */
#define TF_SIM_AMQP_MQTT 3u         /* MQTT clients */

/* ---- the queues and addresses of a run ---- */

enum tf_sim_amqp_place {
    TF_SIM_AMQP_PLAIN_A, /* plain names, also addresses that MQTT publishes to */
    TF_SIM_AMQP_PLAIN_B,
    TF_SIM_AMQP_PLAIN_C,
    TF_SIM_AMQP_WORK,  /* small, refuses */
    TF_SIM_AMQP_RING,  /* small, drops the oldest */
    TF_SIM_AMQP_LOOSE, /* small, drops what comes; no dead letters */
    TF_SIM_AMQP_SHORT, /* messages expire soon */
    TF_SIM_AMQP_TRIES, /* few attempts */
    TF_SIM_AMQP_SPARE, /* declared by using it, and deleted */
    TF_SIM_AMQP_DEAD,  /* where dead messages go */
    TF_SIM_AMQP_PLACES,
    TF_SIM_AMQP_NOWHERE = TF_SIM_AMQP_PLACES /* no queue: an address alone */
};

struct tf_sim_amqp_node {
    const char *address; /* as a terminus has it */
    const char *name;    /* of the queue */
    int topic;           /* place in tf_sim_topics; -1: none */
    bool mourned;        /* what dies here goes to DEAD */
    bool exact;          /* nothing is dropped but what has been in it */
};

extern const struct tf_sim_amqp_node tf_sim_amqp_nodes[TF_SIM_AMQP_PLACES];

/* ---- amqp_oracle.c, amqp_audit.c ---- */

enum tf_sim_amqp_fate { /* of a message, as its sender was told */
                        TF_SIM_AMQP_UNTOLD,
                        TF_SIM_AMQP_ACCEPTED,
                        TF_SIM_AMQP_REFUSED /* rejected, or released: nobody has it */
};

enum tf_sim_amqp_copy {                        /* of a message's one copy in a queue */
                        TF_SIM_AMQP_FREE,      /* may be delivered */
                        TF_SIM_AMQP_HELD_COPY, /* has been, and is not answered */
                        TF_SIM_AMQP_DONE       /* must never be again */
};

struct tf_sim_amqp_track {
    bool sent;
    bool settled;   /* pre-settled: may be lost */
    bool expires;   /* by itself */
    bool doubtful;  /* was answered for good on a connection that broke then: may come or not */
    bool dead_only; /* was rejected: may come as a dead letter alone */
    bool certain;   /* the answer has been dealt with, whatever connection breaks now */
    bool recorded;  /* and is on disk, says the broker */
    bool taken;     /* somebody has accepted it, once at least */
    uint8_t place;  /* enum tf_sim_amqp_place: the queue it is for */
    uint8_t fate, copy;
    uint8_t extra; /* copies beside the one: what dies or is moved when the broker crashes */
    uint8_t ended; /* copies that were taken for good */
    int topic;     /* the address it is published to; -1: none */
    tf_time at;
    tf_time touched;  /* when something became of it last; 0: nothing yet */
    uint32_t sender;  /* instance; TF_SIM_NONE: order does not matter */
    uint32_t holder;  /* instance that has or had it; TF_SIM_NONE */
    uint32_t not_for; /* instance that it must not come to again */
    uint32_t deliveries;
    uint32_t failed_least, failed_most;
    uint32_t note; /* annotation of the last `modified`; 0: none, or unknown */
};

/* A receiving link. */
struct tf_sim_amqp_receiver {
    unsigned client;
    uint8_t place;      /* or NOWHERE: a topic receiver */
    const char *filter; /* of a topic receiver */
    bool browse, settled;
    bool live;
    bool loose;     /* the broker may have ended it already */
    bool alone;     /* there has been no other receiver of the queue */
    tf_time since;  /* attached; TF_TIME_NEVER: not yet */
    uint8_t *seen;  /* of each message */
    uint32_t *last; /* of each sender: the message that came last */
};

struct tf_sim_amqp_oracle {
    struct tf_sim_amqp_track tracks[TF_SIM_MESSAGES];
    struct tf_sim_amqp_receiver receivers[TF_SIM_AMQP_INSTANCES];
    uint32_t receiver_count, sender_count;
    tf_time left_at[TF_SIM_AMQP_PLACES];   /* when a receiver left last */
    tf_time purged_at[TF_SIM_AMQP_PLACES]; /* when it may have lost messages last; 0: never */
    bool lossy[TF_SIM_AMQP_PLACES];        /* somebody receives pre-settled */
    bool moved;
    uint32_t breaks; /* connections that broke */
    tf_time now;
    bool failed;
    char failure[400];
};

/* What a delivery says. */
struct tf_sim_amqp_delivery {
    uint32_t message; /* TF_SIM_NONE: nobody sent it */
    bool changed;     /* is not as it was sent */
    bool first_acquirer;
    uint32_t delivery_count;
    uint32_t note; /* annotation; 0: none */
};

void tf_sim_amqp_oracle_init(struct tf_sim_amqp_oracle *oracle);
void tf_sim_amqp_oracle_release(struct tf_sim_amqp_oracle *oracle);
void tf_sim_amqp_wrong(struct tf_sim_amqp_oracle *oracle, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A message goes out; `track` has what is known of it. */
void tf_sim_amqp_sent(struct tf_sim_amqp_oracle *oracle, uint32_t message,
                      const struct tf_sim_amqp_track *track);
/* Its sender hears what became of it. */
void tf_sim_amqp_told(struct tf_sim_amqp_oracle *oracle, uint32_t message,
                      enum tf_sim_amqp_fate fate);

/* A receiving link begins: its instance; TF_SIM_NONE: there have been too many. */
uint32_t tf_sim_amqp_receiver_new(struct tf_sim_amqp_oracle *oracle,
                                  const struct tf_sim_amqp_receiver *receiver);
void tf_sim_amqp_receiver_attached(struct tf_sim_amqp_oracle *oracle, uint32_t receiver);
/* It ends, as the client has said or heard (`told`), or because the connection broke. */
void tf_sim_amqp_receiver_end(struct tf_sim_amqp_oracle *oracle, uint32_t receiver, bool told);
/* The broker has confirmed its end: it knows of every answer. */
void tf_sim_amqp_receiver_sure(struct tf_sim_amqp_oracle *oracle, uint32_t receiver);
/* The broker may end it at any time from now on. */
void tf_sim_amqp_receiver_loosen(struct tf_sim_amqp_oracle *oracle, uint32_t receiver);

void tf_sim_amqp_delivered(struct tf_sim_amqp_oracle *oracle, uint32_t receiver,
                           const struct tf_sim_amqp_delivery *delivery);
/* The receiver answers. */
void tf_sim_amqp_answered(struct tf_sim_amqp_oracle *oracle, uint32_t receiver, uint32_t message,
                          const struct tf_amqp_state *state, uint32_t note);
/* The broker has settled what the receiver accepted: it knows. */
void tf_sim_amqp_settled(struct tf_sim_amqp_oracle *oracle, uint32_t receiver, uint32_t message);

/* A connection broke: what was answered on it may not have arrived. */
void tf_sim_amqp_broke(struct tf_sim_amqp_oracle *oracle, unsigned client);
/* The broker is no more, and all connections have broken; what it has on disk comes back. Nothing
 * has got there since `since`. */
void tf_sim_amqp_crashed(struct tf_sim_amqp_oracle *oracle, tf_time since);
/* A publisher sends it again: it may be there twice. */
void tf_sim_amqp_repeated(struct tf_sim_amqp_oracle *oracle, uint32_t message);
/* What the client has answered has been dealt with. */
void tf_sim_amqp_closed(struct tf_sim_amqp_oracle *oracle, unsigned client);
/* The queue is purged or deleted, or moved away from. */
void tf_sim_amqp_purged(struct tf_sim_amqp_oracle *oracle, enum tf_sim_amqp_place place);

/* All is calm: a topic receiver must have got all that it was there for. */
void tf_sim_amqp_complete(struct tf_sim_amqp_oracle *oracle, uint32_t receiver);
/* All queues have been emptied: judges the run as a whole (amqp_audit.c). */
void tf_sim_amqp_audit(struct tf_sim_amqp_oracle *oracle);
unsigned tf_sim_amqp_self_test(FILE *out);

/* ---- amqp_message.c ---- */

/* Writes a message of the run: header, what is asked for of it, the bare message. */
void tf_sim_amqp_message_write(struct tf_writer *writer, const struct tf_sim_message *message,
                               const char *to);
/* The most that is written beside its body. */
#define TF_SIM_AMQP_MESSAGE_ROOM 512u
/* Reads a delivery back. `messages` are those of the run. */
void tf_sim_amqp_message_read(struct tf_sim *sim, struct tf_bytes in,
                              struct tf_sim_amqp_delivery *ret);

/* ---- amqp_client.c, amqp_link.c ---- */

enum tf_sim_amqp_state {
    TF_SIM_AMQP_OFF,
    TF_SIM_AMQP_OPENING,
    TF_SIM_AMQP_ON,
    TF_SIM_AMQP_LEAVING
};

struct tf_sim_amqp_client;

/* What a link is to be. */
struct tf_sim_amqp_wish {
    bool receive;
    uint8_t place;      /* NOWHERE: see filter, topic */
    const char *filter; /* of a topic receiver */
    int topic;          /* that it sends to; -1: `to` of each message decides */
    bool dynamic;       /* a node of the broker's naming, to receive answers */
    bool management;
    bool browse, settled, second;
};

struct tf_sim_amqp_link {
    struct tf_sim_amqp_client *client;
    struct tf_amqp_link *machine; /* NULL: this place is free */
    unsigned session;
    struct tf_sim_amqp_wish wish;
    uint32_t instance; /* of the oracle */
    bool attached, refused, leaving;
    bool draining;
    bool patient; /* answers everything at once, and always accepts */
    char name[24], address[80];
    uint8_t *in; /* a delivery so far */
    size_t in_length, in_capacity;
    uint64_t next_tag;
    unsigned untold; /* messages without an outcome */
};

/* A delivery that is to be answered. */
struct tf_sim_amqp_held {
    struct tf_sim_amqp_link *link; /* NULL: free */
    uint64_t delivery;
    uint32_t message;
    bool answered; /* second: waits for the broker to settle */
    tf_time due;
};

struct tf_sim_amqp_client {
    struct tf_sim *sim;
    unsigned number;
    char container[16];
    enum tf_sim_amqp_state state;
    struct tf_sim_link *link;
    struct tf_amqp_connection *machine; /* NULL: there is none */
    void *memory, *buffer;
    struct tf_amqp_config config;
    struct tf_amqp_sasl sasl;
    struct tf_amqp_open open;
    struct tf_amqp_session *sessions[TF_SIM_AMQP_SESSIONS];
    bool begun[TF_SIM_AMQP_SESSIONS], ending[TF_SIM_AMQP_SESSIONS];
    struct tf_sim_amqp_link links[TF_SIM_AMQP_LINKS];
    struct tf_sim_amqp_held held[TF_SIM_AMQP_HELD];
    uint8_t *in;
    size_t in_length, in_capacity;
    tf_time read_after, silent_until;
    bool silenced;   /* the broker may have given it up */
    bool wants;      /* the machine took no input for want of output */
    unsigned asked;  /* requests to $management without an answer */
    uint32_t taking; /* places that they take messages from, as bits */
};

void tf_sim_amqp_client_init(struct tf_sim *sim, struct tf_sim_amqp_client *client,
                             unsigned number);
void tf_sim_amqp_client_release(struct tf_sim_amqp_client *client);
tf_time tf_sim_amqp_client_next(const struct tf_sim_amqp_client *client);
void tf_sim_amqp_client_step(struct tf_sim_amqp_client *client);
void tf_sim_amqp_client_connect(struct tf_sim_amqp_client *client);
/* The connection is lost. `told`: the broker hears of it. */
void tf_sim_amqp_client_drop(struct tf_sim_amqp_client *client, bool told);
void tf_sim_amqp_client_close(struct tf_sim_amqp_client *client);
/* Begins a session if there is none. False: not now. */
bool tf_sim_amqp_client_begin(struct tf_sim_amqp_client *client, unsigned session);
void tf_sim_amqp_client_end(struct tf_sim_amqp_client *client, unsigned session);
/* For amqp_link.c: events until there are none; output as far as the link takes it. */
void tf_sim_amqp_client_pull(struct tf_sim_amqp_client *client);
void tf_sim_amqp_client_flush(struct tf_sim_amqp_client *client);

/* Attaches a link at a free place. NULL: not now. */
struct tf_sim_amqp_link *tf_sim_amqp_link_attach(struct tf_sim_amqp_client *client,
                                                 unsigned session,
                                                 const struct tf_sim_amqp_wish *wish);
void tf_sim_amqp_link_detach(struct tf_sim_amqp_link *link, bool closed);
/* Sends a message of the run. False: not now. */
bool tf_sim_amqp_link_send(struct tf_sim_amqp_link *link, const struct tf_sim_message *message,
                           bool settled);
/* Sends bytes as a message; true if they are on their way. */
bool tf_sim_amqp_link_put(struct tf_sim_amqp_link *link, struct tf_bytes bytes, uint64_t handle,
                          bool settled);
void tf_sim_amqp_link_credit(struct tf_sim_amqp_link *link, uint32_t credit, bool drain);
/* The link's events. */
void tf_sim_amqp_link_event(struct tf_sim_amqp_link *link, const struct tf_amqp_event *event);
/* It is gone: `told`, or with its connection. */
void tf_sim_amqp_link_gone(struct tf_sim_amqp_link *link, bool told);
/* Answers what is due. */
void tf_sim_amqp_answer(struct tf_sim_amqp_client *client, bool all);
tf_time tf_sim_amqp_answer_next(const struct tf_sim_amqp_client *client);

/* ---- amqp_admin.c ---- */

/* Asks for something to be done to a queue; `to` for MOVE. */
void tf_sim_amqp_ask(struct tf_sim_amqp_client *client, const char *operation,
                     enum tf_sim_amqp_place place, enum tf_sim_amqp_place to);
/* An answer has come. */
void tf_sim_amqp_asked(struct tf_sim_amqp_client *client, struct tf_bytes in);

/* ---- amqp_node.c ---- */

bool tf_sim_amqp_node_start(struct tf_sim_node *node, const struct tf_front_context *context);
/* Takes note of what its queues have from before a crash. */
void tf_sim_amqp_node_restored(struct tf_sim_node *node);
tf_time tf_sim_amqp_node_next(const struct tf_sim_node *node);
/* Checks, and adds what named queues hold. */
void tf_sim_amqp_node_check(struct tf_sim_node *node, uint64_t *bytes, uint64_t *count);
/* Nothing that could be delivered waits. */
void tf_sim_amqp_node_check_rest(struct tf_sim_node *node);
/* All queues are empty, their numbers add up, and nobody is there. */
void tf_sim_amqp_node_check_empty(struct tf_sim_node *node);

/* ---- amqp_scenario.c ---- */

/* What a run has of AMQP. */
struct tf_sim_amqp {
    struct tf_sim_amqp_oracle oracle;
    struct tf_sim_amqp_client clients[TF_SIM_AMQP_CLIENTS];
    unsigned client_count;
    bool lossy[TF_SIM_AMQP_PLACES]; /* queues with pre-settled receivers */
    struct {
        uint64_t id; /* in the store; 0: it was not there */
        uint64_t count;
    } restored[TF_SIM_AMQP_PLACES]; /* what queues had when the broker started */
    bool ended;                     /* the broker says goodbye */
};

bool tf_sim_amqp_configure(struct tf_sim *sim, struct tf_config_report *report);
void tf_sim_amqp_start(struct tf_sim *sim);
void tf_sim_amqp_run(struct tf_sim *sim);
void tf_sim_amqp_end(struct tf_sim *sim);
/* The broker is no more: all clients notice. */
void tf_sim_amqp_crash(struct tf_sim *sim, tf_time since);
/* What an MQTT client did or saw. */
void tf_sim_amqp_hear(struct tf_sim *sim, const struct tf_sim_event *event);
/* Fails the run with what the oracle says, if it says anything. */
void tf_sim_amqp_judge(struct tf_sim *sim);

#endif
