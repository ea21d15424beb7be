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
    uint32_t window, page; /* of kept queues; 0: the broker's defaults */
    tf_time linger;        /* of settlements */
    bool broken;           /* a sync has failed */
    /* Operations until a crash that is bound to come; 0: none. Until then a shard stands still, or
     * (`still`) the thread, so that whatever is told before it is on disk shows. */
    unsigned doomed;
    bool still;
    tf_time stands_since; /* valid if `doomed` */
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
/* What befalls a broker with a store between two operations of the clients. True: it has crashed.
 */
bool tf_sim_store_operate(struct tf_sim *sim);
/* True: the disk stands still, and a crash comes soon. */
bool tf_sim_store_doomed(const struct tf_sim *sim);
/* All is calm now: a crash before that, perhaps, so that what is owed comes from the disk. */
void tf_sim_store_calm(struct tf_sim *sim);

#endif
