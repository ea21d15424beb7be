/*
 * A worker's datagram sockets, with a front that echoes: harness.h.
 */
#include "harness.h"

#include "broker/worker_channel.h"
#include "port/clock.h"
#include "port/datagram.h"
#include "port/process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define RING 64u
#define PEERS 1000u

/* A client's socket that speaks to the harness's port only. */
static int peer_open(const struct harness *harness)
{
    struct tf_socket_address address;
    size_t count;
    int fd;
    assert_int_equal(
        tf_socket_resolve("127.0.0.1", harness->datagram_port, false, &address, 1, &count), TF_OK);
    assert_int_equal(tf_datagram_open(&address, true, &fd), TF_OK);
    return fd;
}

static void peer_say(int fd, const void *data, size_t length)
{
    struct tf_datagram out = {NULL, tf_bytes_of(data, length), 0};
    size_t sent, lost;
    assert_int_equal(tf_datagram_send(fd, &out, 1, &sent, &lost), TF_OK);
    assert_int_equal(lost, 0);
}

/* What a client waits for. */
struct hearing {
    int fd;
    uint8_t data[ECHO_DATAGRAM_MAX];
    size_t length;
};

static bool has_heard(struct harness *harness, void *ctx)
{
    struct hearing *hearing = ctx;
    ssize_t length = recv(hearing->fd, hearing->data, sizeof(hearing->data), 0);
    (void)harness;
    hearing->length = length < 0 ? 0 : (size_t)length;
    return length >= 0;
}

/* Turns until the next datagram has come, which must be this one. */
static void peer_hear(struct harness *harness, int fd, const void *data, size_t length)
{
    struct hearing hearing = {.fd = fd};
    harness_until(harness, has_heard, &hearing);
    assert_int_equal(hearing.length, length);
    assert_memory_equal(hearing.data, data, length);
}

static struct tf_worker_channel *first_channel(struct harness *harness, unsigned worker)
{
    struct tf_list_node *node = tf_list_first(&harness->workers[worker].channels);
    assert_non_null(node);
    return tf_container_of(node, struct tf_worker_channel, node);
}

/* True if the worker sleeps until its deadline: it does not spin. */
static void assert_sleeps(struct harness *harness)
{
    tf_time until = tf_clock_now() + 20 * TF_MILLISECOND;
    (void)tf_worker_turn(&harness->workers[0], until);
    assert_true(tf_clock_now() >= until);
}

static void echoes(void **state)
{
    struct harness harness;
    (void)state;
    harness_start(&harness, 1, RING);
    harness_bind(&harness);
    int fd = peer_open(&harness), stream = client_open(harness.port);
    peer_say(fd, "hello", 5);
    peer_hear(&harness, fd, "hello", 5);
    assert_int_equal(harness_datagrams(&harness, 0)->flags, TF_DATAGRAM_TRUSTED);
    peer_say(fd, "", 0);
    peer_hear(&harness, fd, "", 0);
    client_send(&harness, stream, "beside a stream");
    client_expect(&harness, stream, "beside a stream");
    size_t before = harness.allocations;
    for (unsigned i = 0; i < 100; i++) {
        peer_say(fd, &i, sizeof(i));
        peer_hear(&harness, fd, &i, sizeof(i));
    }
    assert_int_equal(harness.allocations, before);
    assert_int_equal(harness.workers[0].datagrams_lost, 0);
    assert_sleeps(&harness);
    tf_socket_close(fd);
    tf_socket_close(stream);
    harness_stop(&harness);
}

/* New peers all at once, on two shards: each is answered, by the shard that it had before. */
static void answers_a_burst_of_new_peers(void **state)
{
    struct harness harness;
    int *fds = calloc(PEERS, sizeof(*fds));
    size_t before[2];
    (void)state;
    assert_non_null(fds);
    assert_true(tf_process_raise_files() > PEERS + 100);
    harness_start(&harness, 2, RING);
    harness_bind(&harness);
    for (unsigned i = 0; i < PEERS; i++) {
        fds[i] = peer_open(&harness);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 2; i++) {
            before[i] = harness_datagrams(&harness, i)->taken;
            harness_datagrams(&harness, i)->taken = 0;
        }
        for (unsigned i = 0; i < PEERS; i++) {
            peer_say(fds[i], &i, sizeof(i));
        }
        for (unsigned i = 0; i < PEERS; i++) {
            peer_hear(&harness, fds[i], &i, sizeof(i));
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_true(before[i] > 0);
        assert_int_equal(harness_datagrams(&harness, i)->taken, before[i]);
        assert_int_equal(harness.workers[i].datagrams_lost, 0);
    }
    assert_int_equal(before[0] + before[1], PEERS);
    for (unsigned i = 0; i < PEERS; i++) {
        tf_socket_close(fds[i]);
    }
    harness_stop(&harness);
    free(fds);
}

/* A front with little room takes part of a batch, sends, and gets the rest. */
static void hands_over_in_parts(void **state)
{
    enum { COUNT = 120, LENGTH = 20 };
    struct harness harness;
    struct tf_datagram out[COUNT];
    uint8_t bytes[COUNT][LENGTH];
    size_t sent, lost;
    (void)state;
    harness_start(&harness, 1, RING);
    harness_bind(&harness);
    harness_datagrams(&harness, 0)->room = 7;
    int fd = peer_open(&harness);
    for (unsigned i = 0; i < COUNT; i++) { /* trains both ways */
        memset(bytes[i], (int)i, LENGTH);
        out[i] = (struct tf_datagram){NULL, tf_bytes_of(bytes[i], LENGTH), 0};
    }
    assert_int_equal(tf_datagram_send(fd, out, COUNT, &sent, &lost), TF_OK);
    assert_int_equal(lost, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        peer_hear(&harness, fd, bytes[i], LENGTH);
    }
    assert_true(harness_datagrams(&harness, 0)->partial > 0);
    assert_int_equal(harness_datagrams(&harness, 0)->taken, COUNT);
    assert_int_equal(harness.workers[0].datagrams_lost, 0);
    tf_socket_close(fd);
    harness_stop(&harness);
}

static bool has_lost_two(struct harness *harness, void *ctx)
{
    (void)ctx;
    return harness->workers[0].datagrams_lost >= 2;
}

/* A front that takes nothing and has nothing to send costs its own peers, nobody else. */
static void goes_on_when_a_front_takes_nothing(void **state)
{
    struct harness harness;
    (void)state;
    harness_start(&harness, 1, RING);
    harness_bind(&harness);
    harness_datagrams(&harness, 0)->room = 0;
    int fd = peer_open(&harness);
    peer_say(fd, "lost", 4);
    peer_say(fd, "lost, too", 9);
    harness_until(&harness, has_lost_two, NULL);
    harness_datagrams(&harness, 0)->room = 1;
    peer_say(fd, "heard", 5);
    peer_hear(&harness, fd, "heard", 5);
    tf_socket_close(fd);
    harness_stop(&harness);
}

/*
 * A pair of sockets whose queue is short. Datagrams grow, each by a byte, because this kind of
 * socket does not part a train.
 */
struct pair {
    int fds[2];
    size_t said, heard;
    uint8_t bytes[ECHO_DATAGRAM_MAX];
};

static void pair_open(struct harness *harness, struct pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair->fds), 0);
    assert_int_equal(tf_worker_bind(&harness->workers[0], 1, pair->fds[0]), TF_OK);
}

static void pair_say(struct pair *pair)
{
    ssize_t length = send(pair->fds[1], pair->bytes, pair->said + 1, 0);
    if (length >= 0) {
        pair->said++;
    }
}

static bool pair_is_stuck(struct harness *harness, void *ctx)
{
    if (first_channel(harness, 0)->source.loop.interest == TF_LOOP_WRITE) {
        return true;
    }
    pair_say(ctx);
    return false;
}

static bool pair_has_heard_all(struct harness *harness, void *ctx)
{
    struct pair *pair = ctx;
    ssize_t length;
    (void)harness;
    while ((length = recv(pair->fds[1], pair->bytes, sizeof(pair->bytes), 0)) >= 0) {
        assert_int_equal((size_t)length, ++pair->heard);
    }
    return pair->heard == pair->said;
}

static void waits_until_the_socket_takes_more(void **state)
{
    struct harness harness;
    struct pair pair;
    (void)state;
    harness_start(&harness, 1, RING);
    pair_open(&harness, &pair);
    harness_until(&harness, pair_is_stuck, &pair);
    assert_sleeps(&harness);
    size_t taken = harness_datagrams(&harness, 0)->taken;
    pair_say(&pair); /* not read before the answers have gone */
    harness_turn(&harness);
    assert_int_equal(harness_datagrams(&harness, 0)->taken, taken);
    harness_until(&harness, pair_has_heard_all, &pair);
    harness_turn(&harness);
    assert_int_equal(first_channel(&harness, 0)->source.loop.interest, TF_LOOP_READ);
    pair_say(&pair);
    harness_until(&harness, pair_has_heard_all, &pair);
    assert_int_equal(harness.workers[0].datagrams_lost, 0);
    harness_stop(&harness);
    tf_socket_close(pair.fds[0]);
    tf_socket_close(pair.fds[1]);
}

static bool is_congested(struct harness *harness, void *ctx)
{
    (void)ctx;
    return harness->workers[0].congested;
}

static bool is_held(struct harness *harness, void *ctx)
{
    (void)ctx;
    return harness->workers[0].channels_held;
}

static void does_not_read_while_congested(void **state)
{
    struct harness harness;
    struct pair pair;
    (void)state;
    harness_start(&harness, 2, 2); /* rings that a flood overfills */
    pair_open(&harness, &pair);
    harness.count = 1; /* the second shard hangs */
    assert_int_equal(send(pair.fds[1], "F1", 2, 0), 2);
    harness_until(&harness, is_congested, NULL);
    pair_say(&pair);
    harness_until(&harness, is_held, NULL);
    assert_sleeps(&harness);
    assert_int_equal(harness_datagrams(&harness, 0)->taken, 1);
    harness.count = 2;
    harness_until(&harness, pair_has_heard_all, &pair);
    assert_false(harness.workers[0].channels_held);
    harness_stop(&harness);
    tf_socket_close(pair.fds[0]);
    tf_socket_close(pair.fds[1]);
}

static bool is_drained(struct harness *harness, void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < harness->count; i++) {
        if (atomic_load(&harness->workers[i].state) != TF_WORKER_DRAINED) {
            return false;
        }
    }
    return true;
}

static void drains(void **state)
{
    struct harness harness;
    struct pair pair;
    (void)state;
    harness_start(&harness, 2, RING);
    pair_open(&harness, &pair);
    harness_bind(&harness);
    int fd = peer_open(&harness);
    peer_say(fd, "x", 1);
    peer_hear(&harness, fd, "x", 1);
    harness_until(&harness, pair_is_stuck, &pair);
    for (unsigned i = 0; i < 2; i++) {
        tf_worker_ask(&harness.workers[i], TF_WORKER_DRAIN);
    }
    harness_turn(&harness);
    assert_true(harness_datagrams(&harness, 0)->drained);
    assert_true(tf_list_empty(&harness.workers[1].channels));
    peer_say(fd, "nobody reads this", 17);
    /* One has output left, and ends when that has gone, the front's last word included. */
    assert_int_equal(first_channel(&harness, 0)->source.loop.interest, TF_LOOP_WRITE);
    assert_int_equal(atomic_load(&harness.workers[0].state), TF_WORKER_DRAINING);
    bool bye = false;
    while (!is_drained(&harness, NULL)) {
        while (recv(pair.fds[1], pair.bytes, sizeof(pair.bytes), 0) > 0) {
            bye = memcmp(pair.bytes, "bye", 3) == 0;
        }
        harness_turn(&harness);
    }
    while (recv(pair.fds[1], pair.bytes, sizeof(pair.bytes), 0) > 0) {
        bye = memcmp(pair.bytes, "bye", 3) == 0;
    }
    assert_true(bye);
    assert_true(tf_list_empty(&harness.workers[0].channels));
    tf_socket_close(fd);
    harness_stop(&harness);
    tf_socket_close(pair.fds[0]);
    tf_socket_close(pair.fds[1]);
}

static void needs_a_front_of_datagrams(void **state)
{
    struct harness harness;
    (void)state;
    harness_start(&harness, 1, RING);
    assert_int_equal(tf_worker_bind(&harness.workers[0], 0, harness.listener), TF_UNSUPPORTED);
    assert_true(tf_list_empty(&harness.workers[0].channels));
    harness_stop(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echoes),
        cmocka_unit_test(answers_a_burst_of_new_peers),
        cmocka_unit_test(hands_over_in_parts),
        cmocka_unit_test(goes_on_when_a_front_takes_nothing),
        cmocka_unit_test(waits_until_the_socket_takes_more),
        cmocka_unit_test(does_not_read_while_congested),
        cmocka_unit_test(drains),
        cmocka_unit_test(needs_a_front_of_datagrams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
