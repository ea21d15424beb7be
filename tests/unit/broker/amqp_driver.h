/*
 * AMQP fronts beside MQTT's on the shards of front_driver.h, and peers at the far end that speak by
 * the library's client machine, or by frames written one by one.
 *
 * Every turn checks what front_driver.h checks, the machines of both ends, and the front's lists
 * and accounts; a broken one ends the program.
 */
#ifndef TF_TEST_BROKER_AMQP_DRIVER_H
#define TF_TEST_BROKER_AMQP_DRIVER_H

#include "broker/amqp_front.h"
#include "broker/amqp_front_internal.h"
#include "unit/broker/front_client.h"

/* The place of the AMQP listener in the configuration. */
#define AMQP_LISTENER 2u

/* A connection, seen from its client. */
struct far {
    struct tf_list_node node;
    struct driver *driver;
    struct driver_conn *conn;
    struct tf_amqp_config config;
    struct tf_amqp_open open;
    struct tf_amqp_connection *machine;
    struct tf_list sessions;
    char id[64];
    uint8_t *buffer;
    unsigned returned; /* bodies by reference that the machine gave back */
    bool opened, closed;
    enum tf_amqp_condition condition; /* of the broker's close */
    struct tf_amqp_open answer;       /* the numbers of the broker's open; no views */
};

struct far_session {
    struct tf_list_node node;
    struct far *far;
    struct tf_amqp_session *machine;
    struct tf_list links;
    bool ended;
    enum tf_amqp_condition condition;
};

/* A link. It stays, whatever became of it, until the driver stops. */
struct far_link {
    struct tf_list_node node;
    struct far_session *session;
    struct tf_amqp_link *machine; /* NULL: gone */
    char name[64];
    char address[256]; /* of the node, as the broker answered */
    bool attached;     /* with a terminus */
    bool queue, topic; /* capabilities in the answer */
    bool dynamic;
    bool detached, closed;            /* by the broker */
    enum tf_amqp_condition condition; /* of its detach */
    uint64_t max_message_size;
    uint32_t next_tag;
    /* where we send */
    unsigned accepted, rejected, released, modified, settled;
    enum tf_amqp_condition reason; /* of the last rejection */
    uint32_t credit;
    /* where we receive */
    struct tf_list came;
    uint8_t *part;
    size_t part_length;
    unsigned aborted, drained;
    uint32_t available;
    bool eager; /* accepts what comes, and gives the credit anew */
};

/* A message that has come. */
struct far_message {
    struct tf_list_node node;
    struct far_link *link;
    uint64_t delivery;
    bool settled;
    struct tf_amqp_message message;
    size_t length;
    uint8_t data[];
};

/* Before driver_start, after driver_init: an AMQP listener, and the front beside MQTT's. */
void amqp_driver_init(struct driver *driver, unsigned shards);

struct amqp_front *amqp_driver_front(struct driver *driver, unsigned shard);

/* The broker's connections, and its links, in all shards. */
unsigned amqp_driver_conns(struct driver *driver);
unsigned amqp_driver_links(struct driver *driver);

/* The broker's connection of a container, wherever it is served; NULL: none. */
struct amqp_conn *amqp_driver_conn(struct driver *driver, const char *id);

/* The named queue; NULL: there is none. And its numbers, which must be there. */
struct tf_named_queue *amqp_driver_queue(struct driver *driver, const char *name);
struct tf_queue_status amqp_driver_status(struct driver *driver, const char *name);

/* Writes `prefix` and a number: a name whose home is this shard. */
const char *amqp_name(struct driver *driver, char *buffer, const char *prefix, unsigned home);

/* Moves bytes both ways until nothing is left to do at this time. */
void far_run(struct driver *driver);

/* Moves time on, by steps of the shards' deadlines and the peers'. */
void far_advance(struct driver *driver, tf_time span);

/* The same with clients that say nothing by themselves. */
void far_advance_mute(struct driver *driver, tf_time span);

/* A config that suits tests. */
struct tf_amqp_config far_config(void);

/* A connection opened on `shard`; nothing is run. `config` NULL: far_config, without SASL. */
struct far *far_new(struct driver *driver, unsigned shard, const char *id,
                    const struct tf_amqp_config *config);

/* The same; it must be opened, and has a session. */
struct far_session *far_open(struct driver *driver, unsigned shard, const char *id);

struct far_session *far_begin(struct far *far);

/* Attaches a link; runs. Whatever became of it is in the link. */
struct far_link *far_attach(struct far_session *session, const char *name,
                            const struct tf_amqp_attach *attach);

/* The simple forms, which must succeed. `how`: NULL, "queue" or "topic", a capability. */
struct far_link *far_sender(struct far_session *session, const char *address, const char *how);
struct far_link *far_receiver(struct far_session *session, const char *address, uint32_t credit,
                              const char *how);

/* An attach of a simple form, to be changed. */
struct tf_amqp_attach far_to(const char *address);
struct tf_amqp_attach far_from(const char *address);

/* Sends a whole encoded message, runs on until it is out. False: it never could. */
bool far_send(struct far_link *link, struct tf_bytes message, bool settled);

/* One data section. */
bool far_text(struct far_link *link, const char *text);
bool far_text_settled(struct far_link *link, const char *text);

/* The credit where we receive; runs. */
void far_credit(struct far_link *link, uint32_t credit, bool drain);

/* Runs, and takes the next message; NULL: there is none. Freed by far_drop or the driver. */
struct far_message *far_take(struct far_link *link);
void far_drop(struct far_message *message);

/* Takes the next message, which must have this text as its data, and settles it so. */
void far_expect(struct far_link *link, const char *text);
void far_expect_nothing(struct far_link *link);
void far_settle(struct far_message *message, enum tf_amqp_state_type type);
void far_settle_as(struct far_message *message, const struct tf_amqp_state *state);

bool far_is(const struct far_message *message, const char *text);

void far_detach(struct far_link *link, bool closed);
void far_end(struct far_session *session);
void far_close(struct far *far);

/* The transport is lost; runs. */
void far_cut(struct far *far);

/* ---- frames one by one ---- */

/* The protocol header: 0 AMQP, 3 SASL. */
void raw_header(struct driver_conn *conn, uint8_t protocol);

void raw_frame(struct driver_conn *conn, uint16_t channel,
               const struct tf_amqp_performative *performative, struct tf_bytes payload);

/* A connection with its header and open, and, `begun`, a session on channel 0; nothing is run. */
struct driver_conn *raw_open(struct driver *driver, unsigned shard, const char *id, bool begun);

/* An attach of ours on channel 0. */
void raw_attach(struct driver_conn *conn, uint32_t handle, const char *name, enum tf_amqp_role role,
                const char *address);

void raw_transfer(struct driver_conn *conn, uint32_t handle, uint32_t id, bool settled, bool more,
                  struct tf_bytes payload);

/* Runs, and takes the next frame of the broker's that is not empty; headers are passed over. False:
 * there is none. `payload` may be NULL. */
bool raw_take(struct driver_conn *conn, struct tf_amqp_performative *ret,
              struct tf_bytes *ret_payload);

/* The same without running. */
bool raw_next(struct driver_conn *conn, struct tf_amqp_performative *ret,
              struct tf_bytes *ret_payload);

/* Takes frames up to the first of this type, which must come. */
struct tf_amqp_performative raw_expect(struct driver_conn *conn,
                                       enum tf_amqp_performative_type type);

#endif
