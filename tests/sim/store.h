/*
 * The simulator's store: see store.c and docs/internals/simulator.md.
 */
#ifndef TF_SIM_STORE_H
#define TF_SIM_STORE_H

#include "sim/sim.h"
#include "unit/store/sim_disk.h"

struct tf_sim_store {
    struct sim_disk disk;
    struct tf_store *store; /* NULL: closed */
    tf_time due;            /* when its thread acts next */
    unsigned crashes;
    bool broken; /* a sync has failed */
};

/* A run is to have a store; and has ended. */
void tf_sim_store_start(struct tf_sim *sim);
void tf_sim_store_end(struct tf_sim *sim);

/* For node.c, each without effect in a run without a store: opens it; a shard's end of it; gives
 * back to all nodes what it has kept; closes it. */
bool tf_sim_store_open(struct tf_sim *sim);
bool tf_sim_store_client(struct tf_sim_node *node, unsigned number);
bool tf_sim_store_restore(struct tf_sim *sim);
void tf_sim_store_close(struct tf_sim *sim);

/* Its thread, as an actor. */
tf_time tf_sim_store_next(const struct tf_sim *sim);
void tf_sim_store_step(struct tf_sim *sim);

/* One of the disk's next calls fails. True: a sync has, so only a new start helps. */
void tf_sim_store_fault(struct tf_sim *sim);
bool tf_sim_store_broken(const struct tf_sim *sim);

/* The broker ends at once, and starts again from what the disk is left with. */
void tf_sim_crash(struct tf_sim *sim);

#endif
