/*
 * Threads: one a shard, one a store. They share nothing but what they are given.
 */
#ifndef TF_PORT_THREAD_H
#define TF_PORT_THREAD_H

#include <pthread.h>

#include <trefoil/err.h>

/* A thread that was started and not yet joined. */
struct tf_thread {
    pthread_t handle;
};

/*
 * Runs run(argument) in a new thread with all signals blocked but those of its own faults. `name`
 * is for tools that list threads, cut to 15 bytes. TF_LIMIT: the system has no room for more
 * threads.
 */
TF_MUST_USE enum tf_err tf_thread_start(struct tf_thread *ret_thread, const char *name,
                                        void (*run)(void *argument), void *argument);

/* Waits until the thread's function has returned. Once for each thread, from another one. */
void tf_thread_join(struct tf_thread *thread);

/* How many processors this process may run on (its affinity, not the machine's size); at least 1.
 */
unsigned tf_thread_cpus(void);

/*
 * Keeps the calling thread on the index-th of those processors (modulo their number), where "those"
 * are the thread's own: threads that it starts later inherit the one that is left, so a thread that
 * starts others pins itself last. TF_IO: the system refuses; the thread runs on as before.
 */
TF_MUST_USE enum tf_err tf_thread_pin(unsigned index);

#endif
