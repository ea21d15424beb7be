/*
 * The broker's store: the folder it is in, and the thread that works for it.
 *
 *   tf_store_thread_open     the folder, its lock, the journal; the log tells what it found, or why
 *                            it cannot be used and what to do
 *   tf_store_thread_pump     again and again, by the thread that starts the broker
 *   tf_store_thread_start    from now on it has a thread of its own
 *   tf_store_thread_stop     when nobody submits any more: all of it is written, the thread ends
 *   tf_store_thread_close
 *
 * Shards submit to the store and are woken by it; here alone is its disk. A store that cannot write
 * is a matter of the log, and of the broker's exit: what follows from it for clients is with those
 * who submit.
 */
#ifndef TF_BROKER_STORE_THREAD_H
#define TF_BROKER_STORE_THREAD_H

#include "broker/log.h"
#include "store/store.h"

struct tf_config;
struct tf_store_thread;

struct tf_store_thread_config {
    const struct tf_config *config; /* its `data` names the folder; for the call */
    unsigned shards;
    const struct tf_alloc *alloc; /* thread-safe */
    struct tf_log *log;
    void (*wake_shard)(void *ctx, unsigned shard); /* any thread */
    void *ctx;
};

/*
 * Opens the store of the configuration. TF_CLOSED: it cannot be used, the log says why.
 * TF_NO_MEMORY, TF_LIMIT: too little of memory, or of open files.
 */
TF_MUST_USE enum tf_err tf_store_thread_open(const struct tf_store_thread_config *config,
                                             struct tf_store_thread **ret,
                                             struct tf_journal_report *ret_report);

/* The store, for clients and for what there was. */
struct tf_store *tf_store_thread_store(struct tf_store_thread *thread);

/* Before it is started: does what the store has to do, until that is nothing for the moment. */
void tf_store_thread_pump(struct tf_store_thread *thread);

/* Starts the thread. TF_LIMIT: the system has no room for it. */
TF_MUST_USE enum tf_err tf_store_thread_start(struct tf_store_thread *thread);

/*
 * Has the thread end when all that was submitted is done; without a thread it is done here. A disk
 * that takes nothing is not waited for longer than two seconds. TF_IO: something could not be
 * written, or a sync has failed: the log says so. NULL is ignored: TF_OK.
 */
TF_MUST_USE enum tf_err tf_store_thread_stop(struct tf_store_thread *thread);

/* How the store is, as of its last turn; any thread. */
enum tf_store_state tf_store_thread_state(const struct tf_store_thread *thread);

/* Closes the store; it has been stopped, or was never started. NULL is ignored. */
void tf_store_thread_close(struct tf_store_thread *thread);

#endif
