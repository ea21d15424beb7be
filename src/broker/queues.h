/*
 * Named queues as the broker has them beside its fronts: declared from the configuration, given
 * their limits, and shown under $SYS.
 *
 * Each worker has one of these for its shard and calls it as it calls its fronts. A configured
 * queue is declared by the shard that is the home of its name. A queue that no longer stands in the
 * configuration stays as it is until the broker ends: what waits in it is nobody's to throw away.
 *
 * It knows the configuration and the routing, no protocol.
 */
#ifndef TF_BROKER_QUEUES_H
#define TF_BROKER_QUEUES_H

#include "route/named.h"

struct tf_config;
struct tf_config_queue;
struct tf_log;

struct tf_queues {
    struct tf_shard *shard;
    const struct tf_config *config;
    struct tf_log *log;
    struct tf_command_owner owner; /* of the declarations on their way */
};

/*
 * What a queue of this name is made as: by its block in the configuration, or as one that a client
 * declares by using its name. True: configured. The spec borrows `config`.
 */
bool tf_queues_spec_of(const struct tf_config *config, struct tf_bytes name,
                       struct tf_queue_spec *ret_spec);

/* The block of a configured queue; NULL: there is none of this name. `config` is finished. */
const struct tf_config_queue *tf_queues_find(const struct tf_config *config, struct tf_bytes name);

/* True if configuration calls the address a topic: no queue is ever declared by using it. */
bool tf_queues_is_topic(const struct tf_config *config, struct tf_bytes address);

/* Starts in memory of the caller's, not to be moved. Declares nothing yet. */
void tf_queues_init(struct tf_queues *queues, struct tf_shard *shard,
                    const struct tf_config *config, struct tf_log *log);

/*
 * Declares the configured queues whose home this shard is. Once all shards can receive mail; what
 * fails is logged, and said again with the next reload.
 */
void tf_queues_declare(struct tf_queues *queues);

/*
 * Another configuration is in force: new queues are declared, changed ones changed, those that are
 * gone stay (as the broker says, who compares the two). No pointer into the former is kept.
 */
void tf_queues_reload(struct tf_queues *queues, const struct tf_config *config);

/* True while declarations are under way. */
bool tf_queues_busy(const struct tf_queues *queues);

/* The end; declarations under way run on without it. */
void tf_queues_release(struct tf_queues *queues);

/* $SYS/queues/NAME of this shard's named queues: for tf_shard_config.virtual_next. */
struct tf_message *tf_queues_virtual_next(struct tf_queues *queues, struct tf_bytes filter,
                                          struct tf_bytes last);

#endif
