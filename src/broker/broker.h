/*
 * A broker: from a configuration to listening sockets, shards and their threads, until it is told
 * to end.
 *
 *   tf_broker_new      sockets, the store, shards and fronts, and what the store has kept;
 *                      nothing runs, whatever fails says why in the log
 *   tf_broker_run      starts the threads, obeys signals, ends in good order:
 *                        RUNNING --stop--> DRAINING (each worker tells its peers and writes what
 *                        it has, two seconds at most) --all drained--> the workers are joined
 *                        --> all that they submitted is on the disk, and the store's thread joined
 *   tf_broker_free
 *
 * The calling thread of tf_broker_run serves no connection. It shares atomics with the workers and
 * configurations, which are immutable once they are handed over: a reload hands over a new one, and
 * frees the former when every worker has said that it uses the new one.
 */
#ifndef TF_BROKER_BROKER_H
#define TF_BROKER_BROKER_H

#include "broker/config.h"
#include "broker/front.h"
#include "broker/log.h"

struct tf_broker;

struct tf_broker_options {
    const struct tf_front_type *const *types; /* the protocols */
    size_t type_count;
    const char *version;
    struct tf_log *log;
    bool signals; /* obey SIGTERM, SIGINT and SIGHUP */
    /* A socket listens: "mqtt://127.0.0.1:1883". Called by tf_broker_new. */
    void (*listening)(void *ctx, const char *url);
    /* All threads run. Called by tf_broker_run. */
    void (*ready)(void *ctx);
    /*
     * Makes the configuration anew, finished, for a reload; says itself what is wrong with it. On
     * an error *ret_config is released and nothing changes.
     */
    enum tf_err (*load)(void *ctx, struct tf_config *ret_config);
    void *ctx;
};

/*
 * Makes a broker of a finished configuration, which it takes over whatever happens. `options` is
 * copied, what it points to outlives the broker. The log says what failed and what to do:
 * TF_EXISTS, TF_NOT_FOUND, TF_AGAIN, TF_IO: a listener, the user or the pid file (network or
 * system). TF_UNSUPPORTED: nobody serves a listener's protocol. TF_CLOSED: the store cannot be
 * used. TF_NO_MEMORY, TF_LIMIT: too little of memory, or of open files.
 */
TF_MUST_USE enum tf_err tf_broker_new(struct tf_broker **ret_broker, struct tf_config *config,
                                      const struct tf_broker_options *options);

/*
 * Runs until it is told to stop. Once. TF_LIMIT: no room for the threads; nothing has run. TF_IO:
 * the store could not write all of it; the log has told when that began.
 */
TF_MUST_USE enum tf_err tf_broker_run(struct tf_broker *broker);

/* As SIGTERM and SIGHUP, from any thread while the broker lives. */
void tf_broker_stop(struct tf_broker *broker);
void tf_broker_reload(struct tf_broker *broker);

/* Frees a broker that does not run. NULL is ignored. */
void tf_broker_free(struct tf_broker *broker);

/* How many sockets listen, and the port of each: for tests, which take free ports. */
size_t tf_broker_socket_count(const struct tf_broker *broker);
uint16_t tf_broker_port(const struct tf_broker *broker, size_t socket);

#endif
