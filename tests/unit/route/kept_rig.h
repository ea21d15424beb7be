/*
 * A session as a test has it: a queue that the store keeps, with one consumer, which numbers what
 * it is handed and may be given back after a restart.
 */
#ifndef TF_TEST_ROUTE_KEPT_RIG_H
#define TF_TEST_ROUTE_KEPT_RIG_H

#include "route/kept.h"
#include "unit/route/store_rig.h"

#define SESSION_SEEN_MAX 8192u

struct session {
    struct tf_queue queue;
    struct tf_consumer consumer;
    struct tf_bind_owner owner;
    struct tf_queue_limits limits;
    struct tf_queue_counters counters;
    uint64_t id;     /* of the queue in the store; survives session_pause */
    uint32_t credit; /* deliveries that it takes */
    uint32_t next_tag;
    bool settle_at_once, untagged;
    unsigned drained, bound;
    size_t seen_count;
    struct session_seen {
        struct tf_entry *entry; /* NULL: settled, or at most once */
        uint32_t tag;
        uint32_t ids;
        uint8_t qos;
        char body[24];
    } seen[SESSION_SEEN_MAX];
    size_t restored; /* of `seen`: those that came back with their tags */
};

/* A new session of a shard, kept if the shard has a store; `attend`: somebody is there. */
void session_start(struct session *session, struct tf_shard *shard, bool attend);

/* Somebody comes, or leaves. */
void session_attend(struct session *session);
void session_leave(struct session *session);

/* Its shard ends; the store has it still. */
void session_pause(struct session *session);

/* Given back to a shard from the journal. */
void session_resume(struct session *session, struct store_rig *k, unsigned shard);

/* Ends for good. */
void session_end(struct session *session);

/* Settles what `seen` has at `i`. */
void session_settle(struct session *session, size_t i);

/* Pushes one message of QoS `qos`. */
enum tf_err session_push(struct session *session, const char *body, uint8_t qos, tf_time expires);

/* Pumps. */
void session_pump(struct session *session);

#endif
