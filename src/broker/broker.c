/*
 * The broker's life: see broker.h.
 */
#include "broker/broker.h"

#include "base/mem.h"
#include "base/util.h"
#include "broker/listen.h"
#include "broker/memory.h"
#include "broker/restore.h"
#include "broker/store_thread.h"
#include "broker/sys.h"
#include "port/clock.h"
#include "port/entropy.h"
#include "port/process.h"
#include "port/signal.h"
#include "port/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PART "broker"
#define MAIL_RING 1024u      /* records of the ring of each pair of shards */
#define FILES_OF_OWN 32u     /* descriptors beside connections and what each shard has */
#define CHANGES_SHOWN 32u    /* of a reload */
#define SETTLE_ROUNDS 64u    /* mail that follows from mail, when all has ended */
#define BUSY_ROUNDS 1000000u /* while the shards have something to do before they start */
#define QUIET_ROUNDS 8u      /* of mail that waits for nobody: then nothing is under way */

struct tf_broker {
    struct tf_broker_options options;
    struct tf_config *config; /* in force */
    struct tf_config *former; /* not yet let go of by every worker; NULL: none */
    struct tf_loop *loop;     /* of the thread that runs the broker */
    struct tf_loop_source signal_source;
    int signal_fd; /* -1: none */
    struct tf_memory memory;
    struct tf_store_thread *store; /* NULL: everything is in memory */
    struct tf_worker_shared shared;
    struct tf_post_office *office;
    struct tf_sys *sys;
    struct tf_worker *workers;
    struct tf_thread *threads;
    struct tf_loop *loops[TF_SHARDS_MAX];
    unsigned count;   /* of shards */
    unsigned started; /* workers that were initialised */
    struct tf_listen_socket *sockets;
    size_t socket_count;
    uint64_t files; /* the limit of open files */
    bool stopping;
    bool broken; /* stopped twice: no more patience */
    bool reload_wanted;
    atomic_bool stop_asked, reload_asked; /* by tf_broker_stop, tf_broker_reload */
};

/* ---- what workers call ---- */

static void wake_shard(void *ctx, unsigned shard)
{
    struct tf_broker *broker = ctx;
    tf_loop_wake(broker->loops[shard]);
}

static void changed(void *ctx)
{
    struct tf_broker *broker = ctx;
    tf_loop_wake(broker->loop);
}

/* ---- beginning ---- */

static const struct tf_front_type *type_of(const struct tf_broker *broker, int protocol)
{
    for (size_t i = 0; i < broker->options.type_count; i++) {
        if (broker->options.types[i]->protocol == protocol) {
            return broker->options.types[i];
        }
    }
    return NULL;
}

static enum tf_err open_sockets(struct tf_broker *broker)
{
    const struct tf_config *config = broker->config;
    size_t room = config->listener_count * TF_LISTEN_ADDRESSES;
    broker->sockets = calloc(room ? room : 1, sizeof(*broker->sockets));
    if (!broker->sockets) {
        return TF_NO_MEMORY;
    }
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct tf_front_type *type = type_of(broker, (int)config->listeners[i].protocol);
        enum tf_err err = TF_UNSUPPORTED;
        if (type) {
            err = tf_listen_open(config, i, type->scheme, broker->count, broker->options.log,
                                 broker->sockets, &broker->socket_count);
        } else {
            tf_log_text(broker->options.log, TF_LOG_ERROR, PART,
                        "listener on port %u: nothing here serves its protocol",
                        config->listeners[i].port);
        }
        if (err) {
            return err;
        }
    }
    if (broker->socket_count == 0) {
        tf_log_text(broker->options.log, TF_LOG_ERROR, PART,
                    "nothing listens: name a listener that can be bound");
        return TF_NOT_FOUND;
    }
    return TF_OK;
}

/* How many connections may be, by configuration and by files. */
static void set_maximum(struct tf_broker *broker)
{
    uint64_t own = FILES_OF_OWN + 3 * (uint64_t)broker->count;
    for (size_t i = 0; i < broker->socket_count; i++) {
        own += broker->sockets[i].fd_count;
    }
    uint64_t by_files = broker->files > own + 1 ? broker->files - own : 1;
    uint64_t wanted = broker->config->global_max_connections;
    uint64_t maximum = TF_MIN(wanted, by_files);
    uint64_t before = atomic_load_explicit(&broker->shared.maximum, memory_order_relaxed);
    if (by_files < wanted && maximum != before) {
        tf_log_text(broker->options.log, TF_LOG_INFO, PART,
                    "connections: %llu at most, by the limit of open files",
                    (unsigned long long)maximum);
    }
    atomic_store_explicit(&broker->shared.maximum, (unsigned)TF_MIN(maximum, UINT32_MAX - 1),
                          memory_order_relaxed);
}

static enum tf_err start_worker(struct tf_broker *broker, unsigned number,
                                const struct tf_hash_key *key)
{
    struct tf_worker_config config = {.number = number,
                                      .office = broker->office,
                                      .loop = broker->loops[number],
                                      .config = broker->config,
                                      .types = broker->options.types,
                                      .type_count = broker->options.type_count,
                                      .shared = &broker->shared,
                                      .log = broker->options.log,
                                      .alloc = &broker->memory.alloc,
                                      .key = *key,
                                      .store = broker->store ? tf_store_thread_store(broker->store)
                                                             : NULL};
    if (number == 0) {
        config.tick = tf_sys_tick;
        config.tick_ctx = broker->sys;
    }
    enum tf_err err = tf_worker_init(&broker->workers[number], &config, tf_clock_now());
    if (!err) {
        broker->started++;
    }
    return err;
}

/* ---- what was kept, and what is to be there from the start ---- */

/* All workers take their mail, the store what they record. True: somebody has more to do. */
static bool settle_once(struct tf_broker *broker)
{
    bool busy = false;
    for (unsigned i = 0; i < broker->count; i++) {
        tf_worker_settle(&broker->workers[i]);
    }
    if (broker->store) {
        tf_store_thread_pump(broker->store);
    }
    for (unsigned i = 0; i < broker->count; i++) {
        busy |= tf_queues_busy(&broker->workers[i].queues) ||
                tf_shard_busy(&broker->workers[i].shard) || tf_mail_spilled(broker->office, i) > 0;
    }
    return busy;
}

/* None of the workers runs yet: takes their turns until nothing is under way between them. */
static void settle_all(struct tf_broker *broker)
{
    unsigned quiet = 0;
    for (unsigned round = 0; round < BUSY_ROUNDS && quiet < QUIET_ROUNDS; round++) {
        quiet = settle_once(broker) ? 0 : quiet + 1;
    }
}

/* A restore that takes long enough for somebody to wonder. */
struct patience {
    struct tf_broker *broker;
    tf_time start, next;
};

/* Mail alone: the journal is being walked, and takes nothing meanwhile. */
static void settle_mail(void *ctx)
{
    struct patience *patience = ctx;
    struct tf_broker *broker = patience->broker;
    tf_time now = tf_clock_now();
    for (unsigned i = 0; i < broker->count; i++) {
        tf_worker_settle(&broker->workers[i]);
    }
    if (now >= patience->next) {
        patience->next = tf_time_add(now, TF_SECOND);
        tf_log_text(broker->options.log, TF_LOG_NOTICE, PART,
                    "still reading what was kept, for %llu seconds now",
                    (unsigned long long)((now - patience->start) / TF_SECOND));
    }
}

static void say_restored(const struct tf_broker *broker, const struct tf_restored *restored,
                         const struct tf_journal_report *report, tf_time took)
{
    tf_log_text(broker->options.log, TF_LOG_NOTICE, PART,
                "store %s: %llu queues, %llu sessions, %llu bindings, %llu retained messages, %llu "
                "messages waiting and %llu under way, %llu bytes; %s, in %llu ms",
                broker->config->data, (unsigned long long)restored->queues,
                (unsigned long long)restored->sessions, (unsigned long long)restored->bindings,
                (unsigned long long)restored->values, (unsigned long long)restored->entries,
                (unsigned long long)restored->under_way, (unsigned long long)report->bytes,
                report->from_snapshot ? "from a snapshot" : "all of the log read",
                (unsigned long long)(took / TF_MILLISECOND));
}

static enum tf_err restore(struct tf_broker *broker, const struct tf_journal_report *report,
                           tf_time start)
{
    struct patience patience = {broker, start, tf_time_add(start, TF_SECOND)};
    struct tf_restore_shard shards[TF_SHARDS_MAX];
    struct tf_restored restored;
    for (unsigned i = 0; i < broker->count; i++) {
        struct tf_worker *worker = &broker->workers[i];
        shards[i] =
            (struct tf_restore_shard){&worker->shard, worker->fronts, worker->config.type_count};
    }
    struct tf_restore_config config = {
        .journal = tf_store_journal(tf_store_thread_store(broker->store)),
        .shards = shards,
        .count = broker->count,
        .alloc = &broker->memory.alloc,
        .log = broker->options.log,
        .damaged = report->damaged_groups > 0 || report->lost_messages > 0,
        .settle = settle_mail,
        .ctx = &patience};
    enum tf_err err = tf_restore(&config, &restored);
    if (err == TF_LIMIT || err == TF_IO || err == TF_CLOSED) {
        tf_log_text(broker->options.log, TF_LOG_ERROR, PART, "cannot start with what is kept in %s",
                    broker->config->data);
        return TF_CLOSED;
    }
    if (!err) {
        settle_all(broker);
        say_restored(broker, &restored, report, tf_clock_now() - start);
    }
    return err;
}

/*
 * Has the workers declare the queues of the configuration, so that they are there, in every shard,
 * before anybody can use them. None of the workers runs yet. What takes longer goes on as they do.
 */
static void declare_queues(struct tf_broker *broker)
{
    for (unsigned i = 0; i < broker->count; i++) {
        tf_worker_declare(&broker->workers[i]);
    }
    settle_all(broker);
    for (unsigned i = 0; i < broker->count && broker->store; i++) {
        tf_worker_restored(&broker->workers[i]);
    }
}

static void wake_from_store(void *ctx, unsigned shard)
{
    struct tf_broker *broker = ctx;
    tf_loop_wake(broker->loops[shard]);
}

static enum tf_err open_store(struct tf_broker *broker, struct tf_journal_report *ret_report)
{
    struct tf_store_thread_config config = {.config = broker->config,
                                            .shards = broker->count,
                                            .alloc = &broker->memory.alloc,
                                            .log = broker->options.log,
                                            .wake_shard = wake_from_store,
                                            .ctx = broker};
    if (!broker->config->data) {
        return TF_OK;
    }
    return tf_store_thread_open(&config, &broker->store, ret_report);
}

static enum tf_err start_workers(struct tf_broker *broker)
{
    struct tf_wake wake = {.wake = wake_shard, .ctx = broker};
    struct tf_journal_report report;
    struct tf_hash_key key;
    tf_time start = tf_clock_now();
    enum tf_err err;
    for (unsigned i = 0; i < broker->count; i++) {
        err = tf_loop_new(&broker->loops[i]);
        if (err) {
            return err;
        }
    }
    err = open_store(broker, &report);
    if (err) {
        return err;
    }
    size_t size = broker->count * sizeof(*broker->workers);
    broker->office = tf_post_office_new(broker->count, MAIL_RING, wake, &broker->memory.alloc);
    broker->workers = aligned_alloc(64, size);
    broker->threads = calloc(broker->count, sizeof(*broker->threads));
    if (!broker->office || !broker->workers || !broker->threads) {
        return TF_NO_MEMORY;
    }
    broker->sys = tf_sys_new(broker->workers, broker->count, broker->options.version,
                             &broker->memory.alloc, tf_clock_now());
    if (!broker->sys) {
        return TF_NO_MEMORY;
    }
    tf_sys_set_store(broker->sys, broker->store);
    tf_entropy_fill(&key, sizeof(key));
    for (unsigned i = 0; i < broker->count; i++) {
        err = start_worker(broker, i, &key);
        if (err) {
            return err;
        }
    }
    err = broker->store ? restore(broker, &report, start) : TF_OK;
    if (!err) {
        declare_queues(broker);
    }
    return err;
}

/* Gives every socket to a worker: groups are heard by the first one. */
static enum tf_err hand_out_sockets(struct tf_broker *broker)
{
    unsigned next = 0; /* the worker that accepts next */
    enum tf_err err = TF_OK;
    for (size_t i = 0; i < broker->socket_count && !err; i++) {
        const struct tf_listen_socket *socket = &broker->sockets[i];
        if (socket->shard_fds == 0) {
            err = tf_worker_listen(&broker->workers[next++ % broker->count], socket->listener,
                                   socket->fds[0]);
        }
        for (unsigned j = 0; socket->shard_fds > 0 && j < socket->fd_count && !err; j++) {
            unsigned shard = j < socket->shard_fds ? j : 0;
            err = tf_worker_bind(&broker->workers[shard], socket->listener, socket->fds[j]);
        }
    }
    return err;
}

static enum tf_err settle_process(struct tf_broker *broker)
{
    const struct tf_config *config = broker->config;
    enum tf_err err;
    if (config->pid_file) {
        err = tf_process_write_pid(config->pid_file);
        if (err) {
            tf_log_text(broker->options.log, TF_LOG_ERROR, PART, "cannot write pid_file %s: %s",
                        config->pid_file, strerror(errno));
            return err;
        }
    }
    if (config->user) {
        err = tf_process_drop(config->user);
        if (err) {
            tf_log_text(broker->options.log, TF_LOG_ERROR, PART, "cannot become user %s: %s",
                        config->user,
                        err == TF_NOT_FOUND ? "there is no such user" : strerror(errno));
            return err;
        }
    }
    return TF_OK;
}

static enum tf_err open_signals(struct tf_broker *broker)
{
    enum tf_err err;
    if (!broker->options.signals) {
        return TF_OK;
    }
    err = tf_signal_open(&broker->signal_fd);
    if (err) {
        broker->signal_fd = -1;
        return err;
    }
    return tf_loop_add(broker->loop, &broker->signal_source, broker->signal_fd, TF_LOOP_READ);
}

static unsigned shard_count(const struct tf_config *config)
{
    unsigned count = config->shards ? config->shards : tf_thread_cpus();
    return TF_MIN(count, TF_SHARDS_MAX);
}

static enum tf_err begin(struct tf_broker *broker)
{
    enum tf_err err = tf_loop_new(&broker->loop);
    if (err) {
        return err;
    }
    broker->files = tf_process_raise_files();
    err = open_sockets(broker);
    if (err) {
        return err;
    }
    set_maximum(broker);
    err = open_signals(broker);
    if (err) {
        return err;
    }
    err = settle_process(broker); /* before the store: its files are the user's */
    if (!err) {
        err = start_workers(broker);
    }
    return err ? err : hand_out_sockets(broker);
}

enum tf_err tf_broker_new(struct tf_broker **ret_broker, struct tf_config *config,
                          const struct tf_broker_options *options)
{
    struct tf_broker *broker = calloc(1, sizeof(*broker));
    struct tf_config *own = malloc(sizeof(*own));
    enum tf_err err;
    if (!broker || !own) {
        free(broker);
        free(own);
        tf_config_release(config);
        return TF_NO_MEMORY;
    }
    *own = *config;
    broker->config = own;
    broker->options = *options;
    broker->signal_fd = -1;
    broker->count = shard_count(own);
    broker->shared.changed = changed;
    broker->shared.ctx = broker;
    tf_memory_init(&broker->memory, own->memory_limit);
    err = begin(broker);
    if (err) {
        if (err == TF_NO_MEMORY || err == TF_LIMIT) {
            tf_log_text(options->log, TF_LOG_ERROR, PART, "cannot start: %s",
                        err == TF_LIMIT ? "too few open files are allowed: raise the limit "
                                          "(ulimit -n)"
                                        : "there is too little memory");
        }
        tf_broker_free(broker);
        return err;
    }
    for (size_t i = 0; i < broker->socket_count && options->listening; i++) {
        options->listening(options->ctx, broker->sockets[i].url);
    }
    *ret_broker = broker;
    return TF_OK;
}

/* ---- reload ---- */

static void log_changes(struct tf_broker *broker, const struct tf_config *fresh)
{
    struct tf_config_change changes[CHANGES_SHOWN];
    size_t count = tf_config_diff(broker->config, fresh, changes, CHANGES_SHOWN);
    for (size_t i = 0; i < TF_MIN(count, CHANGES_SHOWN); i++) {
        bool now = changes[i].reloadable;
        tf_log_text(broker->options.log, now ? TF_LOG_NOTICE : TF_LOG_WARN, PART,
                    now ? "reload: %s: \"%s\" becomes \"%s\""
                        : "reload: %s: \"%s\" to \"%s\" takes a restart, left as it was",
                    changes[i].key, changes[i].old_text, changes[i].new_text);
    }
    if (count > CHANGES_SHOWN) {
        tf_log_text(broker->options.log, TF_LOG_NOTICE, PART, "reload: and %zu changes more",
                    count - CHANGES_SHOWN);
    }
    if (count == 0) {
        tf_log_text(broker->options.log, TF_LOG_NOTICE, PART, "reload: nothing has changed");
    }
}

/* Hands a new configuration to the workers; a bad one changes nothing. */
static void begin_reload(struct tf_broker *broker)
{
    struct tf_config *fresh = malloc(sizeof(*fresh));
    if (!fresh || broker->options.load(broker->options.ctx, fresh)) {
        tf_log_text(broker->options.log, TF_LOG_WARN, PART,
                    "reload: the new configuration is not used, the former stays in force");
        free(fresh);
        return;
    }
    log_changes(broker, fresh);
    if (tf_config_keep(fresh, broker->config)) {
        tf_log_text(broker->options.log, TF_LOG_WARN, PART, "reload: too little memory");
        tf_config_release(fresh);
        free(fresh);
        return;
    }
    broker->former = broker->config;
    broker->config = fresh;
    tf_log_set_types(broker->options.log, fresh->log_types);
    set_maximum(broker);
    for (unsigned i = 0; i < broker->count; i++) {
        tf_worker_reload(&broker->workers[i], fresh);
    }
}

/* Frees the former configuration once no worker uses it. */
static void end_reload(struct tf_broker *broker)
{
    for (unsigned i = 0; i < broker->count; i++) {
        if (atomic_load_explicit(&broker->workers[i].config_in_force, memory_order_acquire) !=
            broker->config) {
            return;
        }
    }
    tf_config_release(broker->former);
    free(broker->former);
    broker->former = NULL;
}

/* ---- running ---- */

static void ask_all(struct tf_broker *broker, unsigned requests)
{
    for (unsigned i = 0; i < broker->count; i++) {
        tf_worker_ask(&broker->workers[i], requests);
    }
}

static void begin_stop(struct tf_broker *broker)
{
    if (broker->stopping) {
        broker->broken = true;
        ask_all(broker, TF_WORKER_BREAK);
        return;
    }
    broker->stopping = true;
    tf_log_text(broker->options.log, TF_LOG_NOTICE, PART, "ending: telling every client");
    ask_all(broker, TF_WORKER_DRAIN);
}

static bool drained(struct tf_broker *broker)
{
    for (unsigned i = 0; i < broker->count; i++) {
        if (atomic_load_explicit(&broker->workers[i].state, memory_order_acquire) !=
            TF_WORKER_DRAINED) {
            return false;
        }
    }
    return true;
}

static void take_signals(struct tf_broker *broker)
{
    enum tf_signal signal;
    while (broker->signal_fd >= 0 && tf_signal_read(broker->signal_fd, &signal) == TF_OK) {
        if (signal == TF_SIGNAL_STOP) {
            begin_stop(broker);
        } else {
            broker->reload_wanted = true;
        }
    }
    if (atomic_exchange_explicit(&broker->stop_asked, false, memory_order_acquire)) {
        begin_stop(broker);
    }
    if (atomic_exchange_explicit(&broker->reload_asked, false, memory_order_acquire)) {
        broker->reload_wanted = true;
    }
}

static void supervise(struct tf_broker *broker)
{
    for (;;) {
        struct tf_loop_event event;
        take_signals(broker);
        if (broker->former) {
            end_reload(broker);
        }
        if (broker->reload_wanted && !broker->former && !broker->stopping) {
            broker->reload_wanted = false;
            if (broker->options.load) {
                begin_reload(broker);
            }
        }
        if (broker->stopping && drained(broker)) {
            return;
        }
        tf_loop_wait(broker->loop, TF_TIME_NEVER, tf_clock_now());
        while (tf_loop_next(broker->loop, &event)) {
            /* the only source is the signals', which are taken in any case */
        }
    }
}

/* All workers take their mail, and what follows from it. */
static void settle(struct tf_broker *broker)
{
    for (unsigned round = 0; round < SETTLE_ROUNDS; round++) {
        for (unsigned i = 0; i < broker->started; i++) {
            tf_worker_settle(&broker->workers[i]);
        }
    }
}

/* No worker runs any more: ends what is left of its connections. */
static void close_workers(struct tf_broker *broker)
{
    for (unsigned i = 0; i < broker->started; i++) {
        tf_worker_close(&broker->workers[i]);
    }
    settle(broker);
}

static void run_worker(void *argument)
{
    tf_worker_run(argument);
}

/* Starts the threads. *ret_running: how many workers there are to be joined. */
static enum tf_err start_threads(struct tf_broker *broker, unsigned *ret_running)
{
    enum tf_err err = broker->store ? tf_store_thread_start(broker->store) : TF_OK;
    *ret_running = 0;
    if (err) {
        tf_log_text(broker->options.log, TF_LOG_ERROR, PART,
                    "cannot start the store: the system has no room for its thread");
        return err;
    }
    for (unsigned i = 0; i < broker->count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "shard-%u", i);
        err = tf_thread_start(&broker->threads[i], name, run_worker, &broker->workers[i]);
        if (err) {
            tf_log_text(broker->options.log, TF_LOG_ERROR, PART,
                        "cannot start shard %u: the system has no room for its thread", i);
            return err;
        }
        *ret_running = i + 1;
    }
    return TF_OK;
}

enum tf_err tf_broker_run(struct tf_broker *broker)
{
    unsigned running;
    enum tf_err err = start_threads(broker, &running), store_err;
    if (!err) {
        if (broker->options.ready) {
            broker->options.ready(broker->options.ctx);
        }
        supervise(broker);
    }
    ask_all(broker, TF_WORKER_STOP);
    while (running > 0) {
        tf_thread_join(&broker->threads[--running]);
    }
    close_workers(broker); /* what comes of that is kept, too */
    store_err = tf_store_thread_stop(broker->store);
    return err ? err : store_err;
}

void tf_broker_stop(struct tf_broker *broker)
{
    atomic_store_explicit(&broker->stop_asked, true, memory_order_release);
    tf_loop_wake(broker->loop);
}

void tf_broker_reload(struct tf_broker *broker)
{
    atomic_store_explicit(&broker->reload_asked, true, memory_order_release);
    tf_loop_wake(broker->loop);
}

/* ---- the end ---- */

static void end_workers(struct tf_broker *broker)
{
    close_workers(broker);
    for (unsigned i = 0; i < broker->started; i++) {
        tf_worker_release_fronts(&broker->workers[i]);
    }
    settle(broker);
    for (unsigned i = 0; i < broker->started; i++) {
        tf_worker_release(&broker->workers[i]);
    }
}

static void free_config(struct tf_config *config)
{
    if (config) {
        tf_config_release(config);
        free(config);
    }
}

void tf_broker_free(struct tf_broker *broker)
{
    if (!broker) {
        return;
    }
    if (broker->workers) {
        end_workers(broker);
    }
    tf_store_thread_close(broker->store); /* what was never run has acknowledged nothing */
    tf_sys_free(broker->sys);
    if (broker->office) {
        tf_post_office_free(broker->office);
    }
    for (size_t i = 0; i < broker->socket_count; i++) {
        tf_listen_close(&broker->sockets[i]);
    }
    if (broker->signal_fd >= 0) {
        tf_loop_remove(broker->loop, &broker->signal_source);
        tf_signal_close(broker->signal_fd);
    }
    for (unsigned i = 0; i < broker->count; i++) {
        tf_loop_free(broker->loops[i]);
    }
    tf_loop_free(broker->loop);
    free_config(broker->former);
    free_config(broker->config);
    free(broker->sockets);
    free(broker->threads);
    free(broker->workers);
    free(broker);
}

size_t tf_broker_socket_count(const struct tf_broker *broker)
{
    return broker->socket_count;
}

uint16_t tf_broker_port(const struct tf_broker *broker, size_t socket)
{
    return broker->sockets[socket].port;
}
