/*
 * What the files of the MQTT front share.
 *
 *   mqtt_front.c      the front itself: opening, timers, draining
 *   mqtt_front_conn.c       a connection: bytes to and from the protocol machine, its events
 *   mqtt_front_session.c    sessions: CONNECT, take-over, expiry, wills
 *   mqtt_front_subscribe.c  SUBSCRIBE and UNSUBSCRIBE
 *   mqtt_front_publish.c    messages in and out
 *   mqtt_front_sys.c        sessions and connections as addresses under $SYS
 *
 * Ownership. The front owns sessions and knows its connections; the transport's owner frees a
 * connection by closing its stream. `session->conn` and `conn->session` point at each other, or
 * both are NULL: on take-over the old connection loses its session and lives on until it is
 * flushed.
 */
#ifndef TF_BROKER_MQTT_FRONT_INTERNAL_H
#define TF_BROKER_MQTT_FRONT_INTERNAL_H

#include "base/tree.h"
#include "broker/config.h"
#include "broker/front_buffer.h"
#include "broker/front_input.h"
#include "broker/front_part.h"
#include "broker/log.h"
#include "broker/mqtt_front.h"

#include <trefoil/mqtt_server.h>

#define MQTT_REFERENCE_FROM 1024u /* bodies from here on go out by reference */
#define MQTT_BODY_RUN 65536u      /* PUBLISH above this comes in runs */
#define MQTT_BORROWED_MAX 262144u /* of bodies by reference in one output; then it is full */

struct mqtt_front;
struct mqtt_session;
struct mqtt_subscribe;

/* tf_front_timer.kind */
enum mqtt_timer_kind { MQTT_TIMER_CONN = 1, MQTT_TIMER_SESSION };

/*
 * The machines' configurations, one for each listener. A machine borrows its own, and what was
 * announced to its client stays so: a reload makes new ones, the former go with their last user.
 */
struct mqtt_servers {
    size_t users;
    size_t count;
    struct tf_mqtt_server_config configs[];
};

/* A connection. Its machine follows in the same memory. */
struct mqtt_conn {
    struct tf_stream stream;
    struct tf_list_node in_front;
    struct tf_list_node service; /* front->service: something to do at the end of the turn */
    struct mqtt_front *front;
    struct tf_mqtt_server *server;
    struct mqtt_servers *servers;
    struct mqtt_session *session;
    struct tf_front_timer timer;
    struct tf_list subscribes; /* SUBSCRIBEs not yet answered */
    uint8_t *buffer;           /* lent to the machine; NULL: none */
    struct tf_front_input input;
    struct tf_entry *resending;  /* the delivery at which a resumption is; NULL: none */
    struct tf_message *incoming; /* a message whose body comes in runs */
    uint64_t borrowed;           /* bytes of messages whose bodies the output refers to */
    uint32_t buffer_size;
    uint16_t incoming_id; /* of the PUBLISH whose body is still coming; else 0 */
    uint16_t listener;
    uint8_t incoming_reason; /* why its runs are read and forgotten; 0: they are not */
    uint8_t incoming_qos;
    bool blocked; /* the machine took no more deliveries */
    bool stalled; /* the machine took no more input */
    bool counted; /* among the connected */
    char peer[48];
};

struct mqtt_session {
    struct tf_tree_node by_id; /* front->sessions; its key is the client id */
    struct tf_queue queue;
    struct tf_consumer consumer;
    struct tf_mqtt_session state; /* the protocol's memory of deliveries under way */
    struct tf_ticket_owner tickets;
    struct tf_bind_owner binds;
    struct tf_front_timer timer; /* the earlier of will and expiry */
    struct mqtt_front *front;
    struct mqtt_conn *conn;  /* NULL: away */
    struct tf_message *will; /* NULL: none */
    tf_time will_at;         /* while away */
    tf_time expires_at;      /* while away */
    uint32_t expiry_s;
    uint32_t will_delay_s;
    uint32_t will_expiry_s; /* UINT32_MAX: none */
    uint32_t generation;    /* of its connection: counts them */
    uint32_t binds_waiting; /* filters of SUBSCRIBEs that do not stand in every shard yet */
    uint32_t counted;       /* of its subscriptions, in the front's counter */
    uint32_t id_length;
    uint8_t id[];
};

struct mqtt_front {
    struct tf_front front;
    struct tf_front_context context;
    struct tf_shard *shard;
    struct tf_tree sessions;
    struct tf_list conns;
    struct tf_list service;
    struct tf_queue_limits limits;
    struct mqtt_servers *servers; /* in force for new connections */
    uint64_t next_publisher;
    struct tf_front_buffers buffers;
    size_t machine_size;
    uint8_t *scratch; /* for rewriting properties */
    size_t scratch_size;
    bool draining;
};

static inline tf_time mqtt_now(const struct mqtt_front *front)
{
    return front->shard->now;
}

static inline struct mqtt_conn *mqtt_conn_of(struct tf_stream *stream)
{
    return tf_container_of(stream, struct mqtt_conn, stream);
}

static inline const struct tf_alloc *mqtt_alloc(const struct mqtt_front *front)
{
    return front->shard->config.alloc;
}

/* Memory of the shard's allocator; NULL: none. */
void *tf_mqtt_front_alloc(struct mqtt_front *front, size_t size);
void tf_mqtt_front_free(struct mqtt_front *front, void *memory, size_t size);

/* mqtt_front_conn.c */

/* Lets go of the machines' configurations. */
void tf_mqtt_front_servers_unref(struct mqtt_front *front, struct mqtt_servers *servers);

/* A new connection's stream; NULL: no memory. */
struct tf_stream *tf_mqtt_front_conn_open(struct mqtt_front *front, unsigned listener,
                                          struct tf_bytes peer);

/* Lends the machine a buffer, at least of `size` bytes. False: no memory. */
bool tf_mqtt_front_conn_lend(struct mqtt_conn *conn, size_t size);

enum mqtt_pulled { MQTT_PULLED_NONE, MQTT_PULLED_SOME, MQTT_PULLED_MOVE };

/* Pulls the machine's events and deals with them. MOVE: the connection belongs to another shard. */
enum mqtt_pulled tf_mqtt_front_conn_events(struct mqtt_conn *conn);

/* The connection has something to do at the end of this turn. */
void tf_mqtt_front_conn_touch(struct mqtt_conn *conn);

/* Does it: events, waiting input, answers, deliveries. */
void tf_mqtt_front_conn_service(struct mqtt_conn *conn);

/* Its timer has ended. */
void tf_mqtt_front_conn_expire(struct mqtt_conn *conn);

/* Ends it with a reason code. */
void tf_mqtt_front_conn_end(struct mqtt_conn *conn, uint8_t reason);

/* A log line about it. */
void tf_mqtt_front_conn_log(struct mqtt_conn *conn, enum tf_log_level level, const char *text);

/* mqtt_front_session.c */

/* Answers CONNECT. False: the connection belongs to another shard, stream.move_to tells which. */
bool tf_mqtt_front_session_connect(struct mqtt_conn *conn, const struct tf_mqtt_connect *connect,
                                   uint32_t expiry_s);

/* The client has said goodbye. */
void tf_mqtt_front_session_disconnect(struct mqtt_conn *conn, uint8_t reason, uint32_t expiry_s);

/* The connection is gone: will and expiry take their course. */
void tf_mqtt_front_session_detach(struct mqtt_conn *conn);

/* Its timer has ended. */
void tf_mqtt_front_session_expire(struct mqtt_session *session);

/* Ends a session without a connection, with its queue and its subscriptions. */
void tf_mqtt_front_session_free(struct mqtt_session *session);

/* mqtt_front_subscribe.c */
void tf_mqtt_front_on_subscribe(struct mqtt_conn *conn, const struct tf_mqtt_subscribe *packet);
void tf_mqtt_front_on_unsubscribe(struct mqtt_conn *conn, const struct tf_mqtt_unsubscribe *packet);

/* Answers the SUBSCRIBEs whose bindings stand. */
void tf_mqtt_front_subscribe_service(struct mqtt_conn *conn);

/* The connection is gone: nobody waits for answers any more. */
void tf_mqtt_front_subscribe_abandon(struct mqtt_conn *conn);

/* For tf_bind_owner.bound. */
void tf_mqtt_front_subscribe_bound(struct tf_bind_owner *owner, uint64_t tag, enum tf_err err);

/* mqtt_front_publish.c */
void tf_mqtt_front_on_publish(struct mqtt_conn *conn, const struct tf_mqtt_server_event *event);
void tf_mqtt_front_on_body(struct mqtt_conn *conn, const struct tf_mqtt_server_event *event);

/* For tf_ticket_owner.done. */
void tf_mqtt_front_publish_done(struct tf_ticket_owner *owner, uint64_t tag,
                                const struct tf_published *result);

/* For tf_consumer_ops.deliver. */
enum tf_err tf_mqtt_front_deliver(struct tf_consumer *consumer, const struct tf_delivery *delivery);

/* Sends the delivery `conn->resending` again after a resumption, if it can be sent now. */
void tf_mqtt_front_resend(struct mqtt_conn *conn);

/* Fills what properties say of a message; `encoded` is left with those that every receiver gets,
 * in the front's scratch if something had to go. False: no memory. */
bool tf_mqtt_front_envelope_read(struct mqtt_front *front, struct tf_bytes properties,
                                 struct tf_envelope *ret, uint32_t *ret_expiry_s);

/* mqtt_front_sys.c: for tf_front_ops.virtual_next */
struct tf_message *tf_mqtt_front_virtual_next(struct tf_front *front, struct tf_bytes filter,
                                              struct tf_bytes last);

#endif
