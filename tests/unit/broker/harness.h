/*
 * Workers on loopback sockets, turned by the test's own thread, and a front to drive them with.
 *
 * The front echoes what it reads, byte by byte, but for commands:
 *   Q      close when all is written        P      pause until echo_resume
 *   B      write ECHO_BULK bytes            M<n>   move to shard n; the rest goes along
 *   F<n>   post ECHO_FLOOD mails to shard n
 *   N      record something, as of a publication, which the output then waits for
 * A second front echoes datagrams whole, but for those that are `F<n>`. It has room for some only,
 * and takes no more than that.
 * Time is real; nothing sleeps: harness_until turns the workers until a condition holds.
 */
#ifndef TF_TEST_BROKER_HARNESS_H
#define TF_TEST_BROKER_HARNESS_H

#include "broker/worker.h"
#include "unit/store/sim_disk.h"

#define ECHO_BULK (8u << 20)
#define ECHO_FLOOD 8u
#define ECHO_ROOM 256u          /* datagrams that a channel keeps until they are sent */
#define ECHO_DATAGRAM_MAX 2048u /* bytes of one */
#define HARNESS_WORKERS 3u
#define HARNESS_DEADLINE (20 * TF_SECOND)

/* The echo front as the broker's table has it. */
extern const struct tf_front_type echo_front_type;

struct echo_front {
    struct tf_front front;
    struct tf_shard *shard;
    const struct tf_config *config;
    struct tf_list streams;
    size_t stream_count;
    size_t opened, closed, moved; /* ever */
    size_t mails;
    size_t reloads;
    bool drained;
};

/* The front of datagrams, too. */
extern const struct tf_front_type echo_datagram_front_type;

/* One datagram that waits to be sent back. */
struct echo_datagram {
    struct tf_datagram_path path;
    size_t length;
    uint8_t bytes[ECHO_DATAGRAM_MAX];
};

struct echo_channel {
    struct tf_channel channel;
    struct tf_list_node node;
    struct echo_datagram_front *front;
    size_t first, count; /* of `ring` */
    struct echo_datagram ring[ECHO_ROOM];
};

struct echo_datagram_front {
    struct tf_front front;
    struct tf_shard *shard;
    struct tf_list channels;
    size_t room;    /* of a channel, ECHO_ROOM at first */
    size_t taken;   /* datagrams, ever */
    uint8_t flags;  /* of the last one */
    size_t partial; /* times that not all were taken */
    bool drained;
};

/* Lets all paused streams go on. */
void echo_resume(struct echo_front *front);

struct harness {
    struct tf_config config;
    struct tf_log log;
    struct tf_alloc alloc;
    struct tf_worker_shared shared;
    struct tf_post_office *office;
    struct tf_loop *loops[HARNESS_WORKERS];
    struct tf_worker *workers;
    unsigned count;
    unsigned changed; /* times that a worker said so */
    int listener;
    uint16_t port;
    size_t allocations; /* of the workers, ever */
    int datagram_fds[HARNESS_WORKERS];
    unsigned datagram_fd_count;
    uint16_t datagram_port;
    struct sim_disk disk;
    struct tf_store *store; /* NULL: none */
    bool store_rests;       /* takes no turns for the moment */
};

/* Starts `count` workers that listen on a free port of 127.0.0.1; mail rings of `ring` records. */
void harness_start(struct harness *harness, unsigned count, size_t ring);

/* The same with a store, which is over its soft limit from so many bytes on (0: never). */
void harness_start_kept(struct harness *harness, unsigned count, uint64_t soft_limit);

/* Ends all, and fails the test if a stream or a count is left over. */
void harness_stop(struct harness *harness);

/* Has all workers take datagrams on one free port of 127.0.0.1, each by a socket of its own. */
void harness_bind(struct harness *harness);

/* The front of datagrams of a worker. */
struct echo_datagram_front *harness_datagrams(struct harness *harness, unsigned worker);

/* The echo front of a worker. */
struct echo_front *harness_front(struct harness *harness, unsigned worker);

/* One turn of each worker, sleeping a millisecond at most. */
void harness_turn(struct harness *harness);

/* Turns until the condition holds; fails the test at the deadline. */
void harness_until(struct harness *harness, bool (*condition)(struct harness *, void *), void *ctx);

/* Connections of all workers. */
size_t harness_connections(const struct harness *harness);

/* Turns until there are so many. */
void harness_until_connections(struct harness *harness, size_t count);

/* A client: a socket of the test's own. */
int client_open(uint16_t port);
void client_send(struct harness *harness, int fd, const char *text);

/* Turns until exactly `length` bytes have come, into `ret`. */
void client_receive(struct harness *harness, int fd, char *ret, size_t length);

/* Turns until the peer has ended; fails the test if more bytes come. */
void client_ended(struct harness *harness, int fd);

/* Turns until `text` has come. */
void client_expect(struct harness *harness, int fd, const char *text);

#endif
