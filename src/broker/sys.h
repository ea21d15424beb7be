/*
 * $SYS/broker/...: what the broker tells about itself, under mosquitto's names.
 *
 * One shard publishes it, as retained messages of no protocol, from the numbers that every worker
 * makes public. A value that has not changed is not published again. It knows no protocol and no
 * socket; whoever reads it subscribes.
 */
#ifndef TF_BROKER_SYS_H
#define TF_BROKER_SYS_H

#include "broker/worker.h"

struct tf_store_thread;
struct tf_sys;

/*
 * Makes one for `count` workers, in memory of `alloc`; `version` is static text, `now` the start
 * that the uptime counts from. NULL: no memory.
 */
struct tf_sys *tf_sys_new(const struct tf_worker *workers, unsigned count, const char *version,
                          const struct tf_alloc *alloc, tf_time now);

/* It tells of the store, too; NULL: there is none, and it says so. Before the first tick. */
void tf_sys_set_store(struct tf_sys *sys, struct tf_store_thread *store);

/* Frees it; no worker ticks any more. NULL is ignored. */
void tf_sys_free(struct tf_sys *sys);

/*
 * For the `tick` of the first worker (`sys` is its context): publishes what has changed through
 * `shard` and gives the time of the next one, by sys_interval of the configuration in force there.
 */
tf_time tf_sys_tick(void *sys, struct tf_shard *shard, tf_time now);

/* e to the power of -x, for x not below 0: how much of the old stays in a moving average. */
double tf_sys_decay(double x);

#endif
