/*
 * Consumers and producers of named queues that write down what comes, for the tests of them.
 */
#ifndef TF_TEST_ROUTE_NAMED_RIG_H
#define TF_TEST_ROUTE_NAMED_RIG_H

#include "route/named.h"
#include "unit/route/route_rig.h"

#define EATER_SEEN_MAX 4096u

/* A consumer. */
struct eater {
    struct tf_named_consumer consumer;
    struct tf_shard *shard;
    unsigned attached, drained, deleted;
    enum tf_err err;      /* that `attached` was called with */
    uint32_t room;        /* deliveries that it takes; then TF_AGAIN */
    enum tf_err refuse;   /* what it says when it takes none; TF_AGAIN if unset */
    bool accept_at_once;  /* from within deliver */
    bool release_at_once; /* once */
    size_t count;
    struct eaten {
        char address[32];
        char body[16];
        uint64_t handle;
        char annotations[16];
        uint32_t attempts;
        bool acquired_before, retain;
    } eaten[EATER_SEEN_MAX];
};

/* A producer. */
struct feeder {
    struct tf_named_producer producer;
    unsigned attached, deleted, rooms;
    enum tf_err err;
    uint32_t room; /* as told last */
};

/* What a queue is that nothing is said of: 1,000 entries, 1 MiB, refuses, stays. */
struct tf_queue_spec named_spec(void);

/* Starts a consumer of a queue and waits until it is attached; the error. */
void eater_start(struct eater *eater, struct rig *rig, unsigned shard, const char *name);
enum tf_err eater_attach(struct eater *eater, struct rig *rig,
                         const struct tf_queue_declaration *declaration);

/* The bodies that it has got, parted by blanks, since `from`. */
const char *eater_bodies(const struct eater *eater, size_t from);

/* Settles its nth delivery. */
void eater_settle(struct eater *eater, size_t n, enum tf_outcome_type type);

/* Starts a producer and waits until it is attached; the error. */
enum tf_err feeder_attach(struct feeder *feeder, struct rig *rig, unsigned shard,
                          const struct tf_queue_declaration *declaration);

/* Puts a text into a queue by name; waits for the answer. */
struct tf_published named_put(struct rig *rig, unsigned shard, const char *name, const char *body);

/* Publishes a text. */
void named_publish(struct rig *rig, unsigned shard, const char *address, const char *body);

/* The status of a queue; all 0 if there is none. */
struct tf_queue_status named_status(struct rig *rig, const char *name);

/* Runs a command to its end. */
enum tf_err named_command(struct rig *rig, unsigned shard, const struct tf_queue_command *command,
                          uint64_t *ret_count);

/* Deletes a queue. */
void named_delete(struct rig *rig, const char *name);

/* A name whose home is `shard`. Copied into `ret`. */
void named_name(const struct rig *rig, unsigned shard, char ret[16]);

#endif
