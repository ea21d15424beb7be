/*
 * Shards with their MQTT fronts in one process, driven as a worker drives them, without sockets or
 * a clock: bytes are fed to streams, what comes out is collected, time is moved by hand.
 *
 * Input lies in memory of its own for each call, so that a sanitizer sees a view kept too long.
 * With a disk there is a store, the real one, whose thread's turns are taken between those of the
 * shards; what waits for it is kept back as a worker does. Without one nothing is kept.
 *
 * After every turn the invariants of all shards, queues, sessions and machines are checked; a
 * broken one ends the program. It knows neither cmocka nor libFuzzer: both use it.
 */
#ifndef TF_TEST_BROKER_FRONT_DRIVER_H
#define TF_TEST_BROKER_FRONT_DRIVER_H

#include "base/random.h"
#include "broker/mqtt_front_internal.h"
#include "broker/restore.h"
#include "unit/route/test_alloc.h"

#define DRIVER_SHARDS 3u

#define DRIVER_WALL (UINT64_C(1700000000) * TF_SECOND) /* driver->wall at first */

struct driver;
struct driver_node;

/* A front beside MQTT's on every shard, and who drives its transports. */
struct driver_beside {
    const struct tf_front_type *type;
    void (*started)(struct driver_node *node);
    bool (*read)(struct driver_node *node); /* true: it has read */
    void (*write)(struct driver_node *node);
    void (*check)(struct driver_node *node);
    void (*stop)(struct driver_node *node); /* closes all transports */
};

struct driver_node {
    struct driver *driver;
    struct tf_shard shard;
    struct tf_front *front;
    struct tf_front *beside;       /* NULL: none */
    void *transports;              /* of it */
    struct tf_store_client client; /* with a disk */
    bool mail;
    bool congested;
};

struct driver {
    struct test_alloc memory; /* of shards and fronts alone */
    struct tf_config config;
    struct tf_post_office *office;
    struct driver_node nodes[DRIVER_SHARDS];
    unsigned count;
    const struct driver_beside *beside; /* NULL: MQTT alone */
    struct tf_list conns;               /* of the client's side, ended or not */
    struct tf_random random;
    tf_time now;
    tf_time wall;   /* the wall time when `now` is 0 */
    unsigned moves; /* connections that went to another shard */
    /* of the store */
    struct tf_disk *disk; /* NULL: there is none */
    struct tf_store *store;
    struct test_alloc store_memory;
    uint64_t store_seed;
    tf_time store_until;         /* when it wants a turn by itself */
    bool store_woken;            /* it has something to do */
    bool store_rests;            /* it takes no turns, whatever it has to do */
    enum tf_store_state told;    /* the last state that it told */
    struct tf_restored restored; /* by the last driver_start */
    size_t restore_fails_at;     /* there is no memory for this allocation of the next restore */
    bool restore_starved;        /* that allocation was asked for */
    enum tf_err restore_err;
};

/* A connection, seen from the client's side of the transport. */
struct driver_conn {
    struct tf_list_node node;
    struct driver *driver;
    struct tf_stream *stream; /* NULL: ended, or on its way to another shard */
    unsigned shard;
    unsigned listener; /* in driver->config */
    bool beside;       /* of the front beside MQTT's */
    uint8_t *out;      /* what has been written */
    size_t out_length, out_capacity, out_taken;
    uint8_t *in; /* fed, but not yet read */
    size_t in_length, in_capacity;
    size_t window;     /* bytes that the transport still takes; SIZE_MAX: any number */
    size_t read_most;  /* bytes read at once; SIZE_MAX: all there are */
    size_t write_most; /* bytes written at once */
    bool ended;        /* by the broker, or by driver_cut */
};

/* Defaults: a loopback listener for each protocol, anonymous, no log. Change driver->config, then
 * driver_start. */
void driver_init(struct driver *driver, unsigned shards);
void driver_start(struct driver *driver);

/* Before driver_start: what is acknowledged by any listener is on this disk. */
void driver_keep(struct driver *driver, struct tf_disk *disk);

/* Ends all, and the program if a block of memory or a count is left. */
void driver_stop(struct driver *driver);

/* The first half of it: all but `config` and what the clients have seen. driver_start may follow.
 */
void driver_end(struct driver *driver);

/* A connection accepted by a shard, `ended` at once if the front refuses. Freed by driver_stop. */
struct driver_conn *driver_open(struct driver *driver, unsigned shard);

/* The same of the front beside MQTT's, by a listener of its own. */
struct driver_conn *driver_open_beside(struct driver *driver, unsigned shard, unsigned listener);

/* Bytes for the broker; read in the next turn. */
void driver_feed(struct driver_conn *conn, const void *data, size_t length);

/* One turn of one shard. True: something may be left to do at this time. */
bool driver_turn(struct driver *driver, unsigned shard);

/* Turns all shards until nothing is left to do at this time. */
void driver_run(struct driver *driver);

/* Moves time on in the steps of the shards' own deadlines, and runs. */
void driver_advance(struct driver *driver, tf_time span);

/* The transport is lost. */
void driver_cut(struct driver_conn *conn);

/* Lets `length` bytes more through. */
void driver_window(struct driver_conn *conn, size_t length);

/* The front of a shard, and a session by its id (in its home; NULL: none). */
struct mqtt_front *driver_front(struct driver *driver, unsigned shard);
struct mqtt_session *driver_session(struct driver *driver, const char *id);

/* The home of a name. */
unsigned driver_home(struct driver *driver, const char *name);

/* Checks all invariants and accounts. */
void driver_check(struct driver *driver);

#endif
