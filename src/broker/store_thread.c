/*
 * The broker's store and its thread: see store_thread.h.
 */
#include "broker/store_thread.h"

#include "base/util.h"
#include "broker/config.h"
#include "port/clock.h"
#include "port/crc32c.h"
#include "port/disk_file.h"
#include "port/entropy.h"
#include "port/loop.h"
#include "port/thread.h"
#include "route/stored.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PART "store"
#define COMPACT_PERCENT 50u
#define PATIENCE (2 * TF_SECOND) /* at the end, with a disk that takes nothing */

struct tf_store_thread {
    struct tf_store *store;
    struct tf_disk_file disk;
    bool disk_open;
    struct tf_loop *loop;
    struct tf_thread thread;
    bool running;
    struct tf_log *log;
    char *folder;
    void (*wake_shard)(void *ctx, unsigned shard);
    void *ctx;
    atomic_bool stop;
    atomic_uint state; /* enum tf_store_state */
};

/* ---- what the store calls ---- */

static void wake_shard(void *ctx, unsigned shard)
{
    struct tf_store_thread *thread = ctx;
    thread->wake_shard(thread->ctx, shard);
}

static void wake_store(void *ctx)
{
    struct tf_store_thread *thread = ctx;
    tf_loop_wake(thread->loop);
}

/* Why the disk did not do it, in words. */
static const char *reason(enum tf_err err, int error)
{
    return error                 ? strerror(error)
           : err == TF_LIMIT     ? "there is no room (the disk is full, or store_limit is reached)"
           : err == TF_NO_MEMORY ? "there is too little memory"
                                 : "the disk does not do what it is told";
}

static void changed(void *ctx, enum tf_store_state state, enum tf_err err, int error)
{
    struct tf_store_thread *thread = ctx;
    const char *folder = thread->folder;
    atomic_store_explicit(&thread->state, state, memory_order_relaxed);
    switch (state) {
    case TF_STORE_READY:
        tf_log_text(thread->log, TF_LOG_NOTICE, PART, "%s: writes again, everybody is served",
                    folder);
        break;
    case TF_STORE_SLOW:
        tf_log_text(thread->log, TF_LOG_WARN, PART,
                    "%s: more than store_soft_limit is kept: who publishes more is slowed down. "
                    "Empty queues, or raise the limit",
                    folder);
        break;
    case TF_STORE_FULL:
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "%s: cannot write: %s. What is new is refused, what is pending is tried again "
                    "and again: make room, or raise store_limit",
                    folder, reason(err, error));
        break;
    case TF_STORE_BROKEN:
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "%s: a write could not be brought to the disk: %s. Nothing that must be kept "
                    "is acknowledged any more; what needs no disk is served on. Look at the disk, "
                    "then start the broker again: it goes on from what was acknowledged",
                    folder, reason(err, error));
        break;
    }
}

static void damaged(void *ctx, uint32_t number, uint64_t offset, const char *aside)
{
    struct tf_store_thread *thread = ctx;
    tf_log_text(thread->log, TF_LOG_ERROR, PART,
                "%s: damaged: the message at byte %llu of %010u.log is lost; %s%s, all else is "
                "served. Look at the disk",
                thread->folder, (unsigned long long)offset, number,
                aside ? "its bytes are set aside in " : "the file will be kept",
                aside ? aside : "");
}

/* ---- opening ---- */

/* What is to be done when the folder or its files cannot be used. */
static const char *advice(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return "give the user that runs the broker this folder, or name another one (--data)";
    case EROFS:
        return "the file system is read-only: mount it writable, or name another folder (--data)";
    case ENOSPC:
    case EDQUOT:
        return "make room on that disk, or name another folder (--data)";
    case ENOENT:
        return "make the folder that it is to be in, or name another one (--data)";
    case ENOTDIR:
    case EEXIST:
        return "it must be a folder: name another one (--data)";
    default:
        return "look at the disk, or name another folder (--data); --memory keeps nothing";
    }
}

static enum tf_err say_failure(const struct tf_store_thread *thread, enum tf_err err,
                               uint64_t holder)
{
    int error = thread->disk.disk.error;
    const char *folder = thread->folder;
    if (err == TF_NO_MEMORY) {
        return err; /* whoever starts the broker says so */
    }
    if (err == TF_EXISTS && holder) {
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "%s is in use by process %llu: end that one first, or name another folder "
                    "(--data)",
                    folder, (unsigned long long)holder);
    } else if (err == TF_EXISTS) {
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "%s is in use by another process: end that one first, or name another folder "
                    "(--data)",
                    folder);
    } else if (err == TF_UNSUPPORTED) {
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "%s was written by a newer version of Trefoil: use that one, or name another "
                    "folder (--data). Nothing in it was changed",
                    folder);
    } else if (err == TF_MISUSE) {
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "store_limit must be some times store_segment_size");
    } else if (err == TF_LIMIT && !error) {
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "%s: there is no room for the store: make room on that disk, raise "
                    "store_limit, or name another folder (--data)",
                    folder);
    } else {
        tf_log_text(thread->log, TF_LOG_ERROR, PART, "cannot use %s: %s: %s", folder,
                    reason(err, error), advice(error));
    }
    return TF_CLOSED;
}

/* What the journal had to mend; nothing of it is an everyday event. */
static void say_report(const struct tf_store_thread *thread, const struct tf_journal_report *report)
{
    const char *folder = thread->folder;
    if (report->migrated_from) {
        tf_log_text(thread->log, TF_LOG_NOTICE, PART, "%s: brought from version %llu to %u", folder,
                    (unsigned long long)report->migrated_from, TF_JOURNAL_VERSION);
    }
    if (report->torn_bytes) {
        tf_log_text(
            thread->log, TF_LOG_NOTICE, PART,
            "%s: %llu bytes at the end were never finished, and never acknowledged: cut off",
            folder, (unsigned long long)report->torn_bytes);
    }
    if (report->damaged_groups || report->snapshot_damaged) {
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "%s: damaged: %llu groups%s are set aside in files *.damaged, all else is "
                    "served. Look at the disk",
                    folder, (unsigned long long)report->damaged_groups,
                    report->snapshot_damaged ? " and the snapshot of the index" : "");
    }
    if (report->lost_messages) {
        tf_log_text(thread->log, TF_LOG_ERROR, PART, "%s: %llu messages are damaged, and lost",
                    folder, (unsigned long long)report->lost_messages);
    }
}

static enum tf_err open_store(struct tf_store_thread *thread,
                              const struct tf_store_thread_config *config,
                              struct tf_journal_report *ret_report)
{
    const struct tf_config *from = config->config;
    uint64_t holder = 0, seed;
    enum tf_err err = tf_disk_file_init(&thread->disk, thread->folder);
    if (err) {
        return say_failure(thread, err, 0);
    }
    thread->disk_open = true;
    tf_entropy_fill(&seed, sizeof(seed));
    struct tf_store_config store = {
        .journal = {.disk = &thread->disk.disk,
                    .alloc = config->alloc,
                    .seed = seed,
                    .segment_size = from->store_segment_size,
                    .snapshot_interval = from->store_snapshot_interval,
                    .crc32c = tf_crc32c_best(),
                    .limit = from->store_limit == TF_CONFIG_UNLIMITED64 ? 0 : from->store_limit,
                    .compact_percent = COMPACT_PERCENT,
                    .damaged = damaged,
                    .damaged_ctx = thread},
        .shards = config->shards,
        .alloc = config->alloc,
        .soft_limit = from->store_soft_limit == TF_CONFIG_UNLIMITED64 ? 0 : from->store_soft_limit,
        .hold = tf_stored_hold,
        .let_go = tf_stored_let_go,
        .wake_shard = wake_shard,
        .wake_store = wake_store,
        .changed = changed,
        .ctx = thread};
    err = tf_store_new(&store, &thread->store, ret_report, &holder);
    if (err) {
        thread->store = NULL;
        return say_failure(thread, err, holder);
    }
    say_report(thread, ret_report);
    return TF_OK;
}

enum tf_err tf_store_thread_open(const struct tf_store_thread_config *config,
                                 struct tf_store_thread **ret, struct tf_journal_report *ret_report)
{
    struct tf_store_thread *thread = calloc(1, sizeof(*thread));
    enum tf_err err = TF_NO_MEMORY;
    if (!thread) {
        return err;
    }
    thread->log = config->log;
    thread->wake_shard = config->wake_shard;
    thread->ctx = config->ctx;
    atomic_init(&thread->state, TF_STORE_READY);
    atomic_init(&thread->stop, false);
    thread->folder = strdup(config->config->data);
    if (thread->folder) {
        err = tf_loop_new(&thread->loop);
    }
    if (!err) {
        err = open_store(thread, config, ret_report);
    }
    if (err) {
        tf_store_thread_close(thread);
        return err;
    }
    *ret = thread;
    return TF_OK;
}

struct tf_store *tf_store_thread_store(struct tf_store_thread *thread)
{
    return thread->store;
}

/* ---- running ---- */

void tf_store_thread_pump(struct tf_store_thread *thread)
{
    tf_time until;
    tf_assert(!thread->running);
    while (!tf_store_idle(thread->store) && tf_store_turn(thread->store, tf_clock_now(), &until)) {
    }
}

/*
 * True: all is written, or will not be. `more`: there is something to do still. `patience`: until
 * when a disk that takes nothing is waited for; what is left without that waits for the part of a
 * transaction, and nobody is there any more to bring it.
 */
static bool finished(struct tf_store_thread *thread, bool more, tf_time now, tf_time patience)
{
    if (tf_store_idle(thread->store) || tf_store_thread_state(thread) == TF_STORE_BROKEN) {
        return true;
    }
    return tf_store_thread_state(thread) == TF_STORE_FULL ? now >= patience : !more;
}

static void run(void *argument)
{
    struct tf_store_thread *thread = argument;
    tf_time patience = TF_TIME_NEVER;
    for (;;) {
        struct tf_loop_event event;
        tf_time until = TF_TIME_NEVER, now = tf_clock_now();
        bool stop = atomic_load_explicit(&thread->stop, memory_order_acquire);
        bool more = tf_store_turn(thread->store, now, &until);
        if (stop) {
            patience = TF_MIN(patience, tf_time_add(now, PATIENCE));
            if (finished(thread, more, now, patience)) {
                return;
            }
            until = TF_MIN(until, patience);
        }
        if (more) {
            continue;
        }
        (void)tf_loop_wait(thread->loop, until, now);
        while (tf_loop_next(thread->loop, &event)) {
            /* it has no source: it is woken */
        }
    }
}

enum tf_err tf_store_thread_start(struct tf_store_thread *thread)
{
    enum tf_err err = tf_thread_start(&thread->thread, "store", run, thread);
    thread->running = err == TF_OK;
    return err;
}

enum tf_err tf_store_thread_stop(struct tf_store_thread *thread)
{
    if (!thread) {
        return TF_OK;
    }
    atomic_store_explicit(&thread->stop, true, memory_order_release);
    if (thread->running) {
        tf_loop_wake(thread->loop);
        tf_thread_join(&thread->thread);
        thread->running = false;
    } else {
        run(thread);
    }
    if (tf_store_thread_state(thread) == TF_STORE_BROKEN) {
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "%s: broken: what was not acknowledged may be lost", thread->folder);
        return TF_IO;
    }
    if (!tf_store_idle(thread->store)) {
        tf_log_text(thread->log, TF_LOG_ERROR, PART,
                    "%s: the disk took nothing to the end: what was not acknowledged is lost, and "
                    "what was settled since may come again",
                    thread->folder);
        return TF_IO;
    }
    return TF_OK;
}

enum tf_store_state tf_store_thread_state(const struct tf_store_thread *thread)
{
    return (enum tf_store_state)atomic_load_explicit(&thread->state, memory_order_relaxed);
}

void tf_store_thread_close(struct tf_store_thread *thread)
{
    if (!thread) {
        return;
    }
    tf_store_free(thread->store);
    if (thread->disk_open) {
        tf_disk_file_release(&thread->disk);
    }
    tf_loop_free(thread->loop);
    free(thread->folder);
    free(thread);
}
