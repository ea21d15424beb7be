/*
 * Shards with a store on a simulated disk, that can be stopped, cut off and started again.
 */
#ifndef TF_TEST_ROUTE_STORE_RIG_H
#define TF_TEST_ROUTE_STORE_RIG_H

#include "store/store.h"
#include "unit/route/named_rig.h"
#include "unit/store/sim_disk.h"

#define STORE_RIG_WALL (1600000000 * TF_SECOND) /* the wall time when the rig's time is 0 */

struct store_rig {
    struct rig rig; /* must be first */
    struct sim_disk disk;
    struct test_alloc memory; /* the store's */
    struct tf_store *store;
    struct tf_store_client clients[RIG_SHARDS];
    unsigned woken;
    bool stalled; /* the store's thread does nothing */
};

/* Starts `count` shards on an empty disk. */
void store_rig_start(struct store_rig *k, unsigned count);

/* Ends them, and all memory is given back; the disk stays. */
void store_rig_end(struct store_rig *k);

/* Starts `count` shards on what is on the disk; `now` is the time at which they start. */
void store_rig_again(struct store_rig *k, unsigned count, tf_time now);

/* Ends in order, with all that waits stored, and starts again with as many shards. */
void store_rig_restart(struct store_rig *k);

/* The power fails: what was not synced is lost. Starts again. */
void store_rig_crash(struct store_rig *k);

/* Ends for good. */
void store_rig_stop(struct store_rig *k);

/* The store's thread, which was stalled, gets on. */
void store_rig_resume(struct store_rig *k);

/* What the journal has, as of the last turn. */
struct tf_journal_stats store_rig_stats(struct store_rig *k);

/* ---- kept queues ---- */

/* Durable, with room for 10,000 messages. */
struct tf_queue_spec kept_spec(void);

/* Declares a queue, bound to a filter if one is given. */
enum tf_err kept_declare(struct store_rig *k, const char *name, const struct tf_queue_spec *spec,
                         const char *filter);

/* Declares one as kept_spec has it. */
void kept_make(struct store_rig *k, const char *name);

/* Puts `count` numbers into a queue; they are on disk when this returns. */
void kept_put(struct store_rig *k, const char *name, unsigned from, unsigned count);

/* A consumer of an existing queue, in a shard. */
void kept_eat(struct store_rig *k, struct eater *eater, unsigned shard, const char *name,
              uint32_t credit);

/* True: after `at` others it has got `count` numbers from `from` on, one after the other. */
bool kept_row(const struct eater *eater, size_t at, unsigned from, unsigned count);

/* The consumer leaves. */
void kept_detach(struct store_rig *k, struct eater *eater);

/* Entries of a queue that are not in the store alone. */
uint32_t kept_in_memory(struct store_rig *k, const char *name);

/* Objects in the store, but for its own. */
uint64_t kept_objects(struct store_rig *k);

/* So many steps of shards and the store's thread, in any order. */
void kept_wander(struct store_rig *k, uint64_t seed, unsigned steps);

#endif
