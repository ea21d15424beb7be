/*
 * A broker on a store that is really there, on a disk in memory, and the end of it at any moment.
 */
#ifndef TF_TEST_BROKER_KEPT_RIG_H
#define TF_TEST_BROKER_KEPT_RIG_H

#include "unit/broker/front_client.h"
#include "unit/store/sim_disk.h"

struct kept_rig {
    struct driver driver; /* must be first */
    struct sim_disk disk;
    uint64_t seed;
};

/* Connects with a session that outlasts its connection by an hour. */
extern const struct hello kept_lasting;

/* A broker that has never run, to be changed; then driver_start. `init`: driver_init, or that of
 * another protocol. */
struct kept_rig *kept_prepare(void (*init)(struct driver *driver, unsigned shards),
                              unsigned shards);

/* One that runs. */
struct kept_rig *kept_start(unsigned shards);

/*
 * The broker ends without a word, and so does the machine: what was synced is there when it starts
 * again `away` later with so many shards, and `keep` in 8 of what was not.
 */
void kept_crash_keeping(struct kept_rig *rig, unsigned shards, tf_time away, unsigned keep);

/* The same, and nothing else is there. */
void kept_crash(struct kept_rig *rig, unsigned shards, tf_time away);

void kept_stop(struct kept_rig *rig);

/* The store takes turns again, and what has waited for it comes out. */
void kept_wake(struct kept_rig *rig);

/* Nothing comes while the store rests, and this when it does not; then it rests again. */
struct reply kept_gated(struct kept_rig *rig, struct client *client, unsigned type);

#endif
