/*
 * What the files of the MQTT front share.
 *
 *   mqtt_front.c      the front itself: opening, timers, draining
 *   mqtt_front_conn.c       a connection: bytes to and from the protocol machine, its events
 *   mqtt_front_session.c    sessions: CONNECT, take-over, expiry, wills
 *   mqtt_front_subscribe.c  SUBSCRIBE and UNSUBSCRIBE
 *   mqtt_front_publish.c    messages in and out
 *   mqtt_front_store.c      what the store keeps of sessions, and sessions from what it kept
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
#include "route/kept.h"

#include <trefoil/mqtt_server.h>

#define MQTT_REFERENCE_FROM 1024u /* bodies from here on go out by reference */
#define MQTT_BODY_RUN 65536u      /* PUBLISH above this comes in runs */
#define MQTT_BORROWED_MAX 262144u /* of bodies by reference in one output; then it is full */
#define MQTT_KEY_MAX TF_JOURNAL_KEY_MAX

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
    uint64_t owed;               /* a number of the store that answers wait for; 0: none */
    uint32_t buffer_size;
    uint16_t incoming_id; /* of the PUBLISH whose body is still coming; else 0 */
    uint16_t listener;
    uint8_t incoming_reason; /* why its runs are read and forgotten; 0: they are not */
    uint8_t incoming_qos;
    bool blocked;  /* the machine took no more deliveries */
    bool stalled;  /* the machine took no more input */
    bool counted;  /* among the connected */
    bool recorded; /* what it is sent has yet to be recorded, in this turn */
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
    tf_time left_at;         /* while away; modulo 2^64, it may be before the clock began */
    uint32_t expiry_s;
    uint32_t will_delay_s;
    uint32_t will_expiry_s; /* UINT32_MAX: none */
    uint32_t generation;    /* of its connection: counts them */
    uint32_t binds_waiting; /* filters of SUBSCRIBEs that do not stand in every shard yet */
    uint32_t counted;       /* of its subscriptions, in the front's counter */
    bool away;              /* it had a connection, and has none */
    bool changed;           /* it is not as it was recorded, if it is kept (queue.kept) */
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
    uint8_t *key; /* for those of bindings, MQTT_KEY_MAX; NULL: there is no store */
    bool stale;   /* sessions have changed when the store took nothing new */
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

/* This shard's end of the store; NULL: nothing is kept. */
static inline struct tf_store_client *mqtt_store(const struct mqtt_front *front)
{
    return front->shard->config.store;
}

/* The connection's answers wait for the store to have done `number`. */
static inline void mqtt_owe(struct mqtt_conn *conn, uint64_t number)
{
    conn->owed = TF_MAX(conn->owed, number);
    tf_stream_need(&conn->stream, number);
}

/* They wait for what has been recorded up to now. */
static inline void mqtt_owe_recorded(struct mqtt_conn *conn)
{
    mqtt_owe(conn, tf_shard_recorded(conn->front->shard));
}

/* How long it is, for a session that is away, until `span_s` after it went; 0: that has passed. */
static inline tf_time mqtt_left(const struct mqtt_session *session, uint32_t span_s)
{
    tf_time gone = mqtt_now(session->front) - session->left_at;
    tf_time span = span_s * TF_SECOND;
    return span > gone ? span - gone : 0;
}

/* The same until it expires. */
static inline tf_time mqtt_expires_in(const struct mqtt_session *session)
{
    return session->expiry_s == UINT32_MAX ? TF_TIME_NEVER : mqtt_left(session, session->expiry_s);
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

/* A session without a connection that is not in the front's tree yet; NULL: no memory. */
struct mqtt_session *tf_mqtt_front_session_new(struct mqtt_front *front, struct tf_bytes id);

/* The session expiry interval that is granted. */
uint32_t tf_mqtt_front_session_expiry(const struct mqtt_front *front, uint32_t expiry_s);

/* It is away: its timer runs until its will is due or it expires. */
void tf_mqtt_front_session_wait(struct mqtt_session *session);

/* Answers CONNECT. False: the connection belongs to another shard, stream.move_to tells which. */
bool tf_mqtt_front_session_connect(struct mqtt_conn *conn, const struct tf_mqtt_connect *connect,
                                   uint32_t expiry_s);

/* The client has said goodbye. */
void tf_mqtt_front_session_disconnect(struct mqtt_conn *conn, uint8_t reason, uint32_t expiry_s);

/* The connection is gone: will and expiry take their course. */
void tf_mqtt_front_session_detach(struct mqtt_conn *conn);

/* Its timer has ended. */
void tf_mqtt_front_session_expire(struct mqtt_session *session);

/* Frees it as the shard ends: the store has it still, and its will stays unsaid. */
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

/* mqtt_front_store.c; all of it does nothing where a session is not kept. */

/*
 * The store keeps a new session from now on, if there is one, the listener's level says so and the
 * session outlives its connection. TF_NO_MEMORY. TF_LIMIT, TF_CLOSED: the store takes nothing new.
 */
TF_MUST_USE enum tf_err tf_mqtt_front_store_keep(struct mqtt_session *session, unsigned listener);

/* Records what has changed, now or as soon as the store takes it. */
void tf_mqtt_front_store_session(struct mqtt_session *session);

/* Records what could not be, as far as the store takes it. */
void tf_mqtt_front_store_stale(struct mqtt_front *front);

/* The session ends: nothing of it is kept any more. */
void tf_mqtt_front_store_forget(struct mqtt_session *session);

/* Records a binding that is to be made or changed. As tf_mqtt_front_store_keep. */
TF_MUST_USE enum tf_err tf_mqtt_front_store_bind(struct mqtt_session *session,
                                                 struct tf_bytes filter,
                                                 const struct tf_binding_options *options);

/* Records what there is of a binding: it has been removed, or could not be changed. */
void tf_mqtt_front_store_unbind(struct mqtt_session *session, struct tf_bytes filter);

/*
 * Records the packet id of a QoS 2 PUBLISH that is about to be published, so that both become true
 * together. As tf_mqtt_front_store_keep.
 */
TF_MUST_USE enum tf_err tf_mqtt_front_store_received(struct mqtt_session *session,
                                                     uint16_t packet_id,
                                                     struct tf_publication *publication);

/* The packet id is free again: PUBREL came, or it was refused. */
void tf_mqtt_front_store_released(struct mqtt_session *session, uint16_t packet_id);

/* A new delivery was given to the machine: it is known by its packet id. */
void tf_mqtt_front_store_sent(struct mqtt_session *session, struct tf_entry *entry);

/* PUBREC came for a delivery: only PUBREL is sent from now on. */
void tf_mqtt_front_store_release(struct tf_entry *entry, uint16_t packet_id);

/* For tf_front_ops. */
enum tf_err tf_mqtt_front_restore(struct tf_front *front, const struct tf_stored_object *object,
                                  struct tf_queue **ret_queue);
enum tf_err tf_mqtt_front_restore_part(struct tf_front *front, struct tf_queue *queue,
                                       const struct tf_stored_object *object);
enum tf_err tf_mqtt_front_restore_entry(struct tf_front *front, struct tf_entry *entry);
void tf_mqtt_front_restored(struct tf_front *front);

/* mqtt_front_subscribe.c, too: brings the front's counter up to what bindings the session has. */
void tf_mqtt_front_count_subscriptions(struct mqtt_session *session);

/* mqtt_front_sys.c: for tf_front_ops.virtual_next */
struct tf_message *tf_mqtt_front_virtual_next(struct tf_front *front, struct tf_bytes filter,
                                              struct tf_bytes last);

#endif
