/*
 * A worker's turns over real sockets, with an echo front: harness.h.
 */
#include "harness.h"

#include "broker/worker_conn.h"
#include "port/clock.h"
#include "port/socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define RING 64u

static void echoes(void **state)
{
    struct harness harness;
    (void)state;
    harness_start(&harness, 1, RING);
    int fd = client_open(harness.port);
    client_send(&harness, fd, "hello");
    client_expect(&harness, fd, "hello");
    client_send(&harness, fd, " again");
    client_expect(&harness, fd, " again");
    assert_int_equal(harness_connections(&harness), 1);
    tf_socket_close(fd);
    harness_until_connections(&harness, 0);
    assert_int_equal(harness_front(&harness, 0)->closed, 1);
    harness_stop(&harness);
}

/* What the loop watches the only connection of a worker for. */
static unsigned watched(struct tf_list *list)
{
    struct tf_list_node *node = tf_list_first(list);
    assert_non_null(node);
    return tf_container_of(node, struct tf_worker_conn, node)->source.loop.interest;
}

static bool is_blocked(struct harness *harness, void *ctx)
{
    (void)ctx;
    return !tf_list_empty(&harness->workers[0].open) &&
           watched(&harness->workers[0].open) == (TF_LOOP_READ | TF_LOOP_WRITE);
}

static void writes_what_the_peer_is_slow_to_take(void **state)
{
    struct harness harness;
    char *got = malloc(ECHO_BULK);
    (void)state;
    assert_non_null(got);
    harness_start(&harness, 1, RING);
    int fd = client_open(harness.port);
    client_send(&harness, fd, "B");
    harness_until(&harness, is_blocked, NULL);
    client_receive(&harness, fd, got, ECHO_BULK);
    for (size_t i = 0; i < ECHO_BULK; i++) {
        if ((uint8_t)got[i] != i % 251) {
            fail_msg("byte %zu is %u", i, (uint8_t)got[i]);
        }
    }
    harness_turn(&harness);
    assert_int_equal(watched(&harness.workers[0].open), TF_LOOP_READ);
    tf_socket_close(fd);
    harness_stop(&harness);
    free(got);
}

/* True if the worker sleeps until its deadline though there is input: it does not spin. */
static void assert_sleeps(struct harness *harness)
{
    tf_time until = tf_clock_now() + 20 * TF_MILLISECOND;
    (void)tf_worker_turn(&harness->workers[0], until);
    assert_true(tf_clock_now() >= until);
}

static bool is_paused(struct harness *harness, void *ctx)
{
    (void)ctx;
    return !tf_list_empty(&harness->workers[0].open) && watched(&harness->workers[0].open) == 0;
}

static void does_not_read_while_paused(void **state)
{
    struct harness harness;
    (void)state;
    harness_start(&harness, 1, RING);
    int fd = client_open(harness.port);
    client_send(&harness, fd, "P");
    harness_until(&harness, is_paused, NULL);
    client_send(&harness, fd, "later");
    harness_turn(&harness);
    assert_sleeps(&harness);
    assert_int_equal(harness_front(&harness, 0)->front.counters.bytes_received, 1);
    echo_resume(harness_front(&harness, 0));
    client_expect(&harness, fd, "later");
    tf_socket_close(fd);
    harness_stop(&harness);
}

static void ends_a_paused_connection_that_was_reset(void **state)
{
    struct harness harness;
    (void)state;
    harness_start(&harness, 1, RING);
    int fd = client_open(harness.port);
    client_send(&harness, fd, "P");
    harness_until(&harness, is_paused, NULL);
    tf_socket_abort(fd);
    harness_until_connections(&harness, 0);
    harness_stop(&harness);
}

static void writes_before_it_closes(void **state)
{
    struct harness harness;
    (void)state;
    harness_start(&harness, 1, RING);
    int fd = client_open(harness.port);
    client_send(&harness, fd, "lastQ");
    client_expect(&harness, fd, "last");
    client_ended(&harness, fd);
    assert_int_equal(harness_front(&harness, 0)->closed, 1);
    /* The transport waits for the peer's end. */
    assert_int_equal(harness_connections(&harness), 1);
    assert_sleeps(&harness);
    tf_socket_close(fd);
    harness_until_connections(&harness, 0);
    harness_stop(&harness);
}

static void gives_up_a_peer_that_never_ends(void **state)
{
    struct harness harness;
    (void)state;
    harness_start(&harness, 1, RING);
    int quiet = client_open(harness.port), deaf = client_open(harness.port);
    client_send(&harness, quiet, "Q");
    client_ended(&harness, quiet);
    client_send(&harness, deaf, "BQ");
    harness_until_connections(&harness, 2);
    while (tf_list_empty(&harness.workers[0].ending) || !tf_list_empty(&harness.workers[0].open)) {
        harness_turn(&harness);
    }
    tf_worker_give_up(&harness.workers[0], harness.workers[0].now);
    assert_int_equal(harness_connections(&harness), 2);
    assert_true(tf_worker_next_end(&harness.workers[0]) <=
                harness.workers[0].now + TF_WORKER_LINGER);
    tf_worker_give_up(&harness.workers[0], harness.workers[0].now + TF_WORKER_LINGER);
    assert_int_equal(harness_connections(&harness), 0);
    assert_int_equal(tf_worker_next_end(&harness.workers[0]), TF_TIME_NEVER);
    tf_socket_close(quiet);
    tf_socket_close(deaf);
    harness_stop(&harness);
}

static void spreads_and_moves_connections(void **state)
{
    struct harness harness;
    int fds[6];
    (void)state;
    harness_start(&harness, 3, RING);
    for (size_t i = 0; i < 6; i++) {
        fds[i] = client_open(harness.port);
    }
    harness_until_connections(&harness, 6);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(harness.workers[i].connection_count, 2);
    }
    for (size_t i = 0; i < 6; i++) {
        client_send(&harness, fds[i], "beforeM2after");
        client_expect(&harness, fds[i], "beforeafter");
    }
    assert_int_equal(harness.workers[2].connection_count, 6);
    client_send(&harness, fds[0], "M0M1x"); /* on to the next one with what is left */
    client_expect(&harness, fds[0], "x");
    assert_int_equal(harness.workers[1].connection_count, 1);
    assert_int_equal(atomic_load(&harness.shared.connections), 6);
    for (size_t i = 0; i < 6; i++) {
        tf_socket_close(fds[i]);
    }
    harness_until_connections(&harness, 0);
    harness_stop(&harness);
}

static void refuses_over_the_limits(void **state)
{
    struct harness harness;
    (void)state;
    for (unsigned own = 0; own < 2; own++) {
        harness_start(&harness, 2, RING);
        if (own) {
            harness.config.listeners[0].max_connections = 1;
        } else {
            atomic_store(&harness.shared.maximum, 1);
        }
        int first = client_open(harness.port);
        client_send(&harness, first, "a");
        client_expect(&harness, first, "a");
        int second = client_open(harness.port);
        client_ended(&harness, second);
        client_send(&harness, first, "b");
        client_expect(&harness, first, "b");
        tf_socket_close(first);
        tf_socket_close(second);
        harness_until_connections(&harness, 0);
        int third = client_open(harness.port);
        client_send(&harness, third, "c");
        client_expect(&harness, third, "c");
        tf_socket_close(third);
        harness_stop(&harness);
    }
}

static bool rests(struct harness *harness, void *ctx)
{
    (void)ctx;
    return harness->workers[0].listeners_rest;
}

static void waits_for_descriptors(void **state)
{
    struct harness harness;
    struct rlimit before, none;
    (void)state;
    harness_start(&harness, 1, RING);
    int fd = client_open(harness.port);
    int free_one = dup(fd);
    assert_true(free_one > fd);
    close(free_one);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)free_one; /* the next descriptor would be one too many */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    harness_until(&harness, rests, NULL);
    assert_sleeps(&harness);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    client_send(&harness, fd, "at last");
    client_expect(&harness, fd, "at last");
    tf_socket_close(fd);
    harness_stop(&harness);
}

static bool is_congested(struct harness *harness, void *ctx)
{
    (void)ctx;
    return harness->workers[0].congested;
}

static bool is_held(struct harness *harness, void *ctx)
{
    (void)ctx;
    return !tf_list_empty(&harness->workers[0].held);
}

static void does_not_read_while_congested(void **state)
{
    struct harness harness;
    (void)state;
    harness_start(&harness, 2, 2); /* rings that a flood overfills */
    int fd = client_open(harness.port), other = client_open(harness.port);
    harness_until_connections(&harness, 2);
    client_send(&harness, fd, "M0x");
    client_expect(&harness, fd, "x");
    client_send(&harness, other, "M0y");
    client_expect(&harness, other, "y");
    harness.count = 1; /* the second shard hangs */
    client_send(&harness, fd, "F1");
    harness_until(&harness, is_congested, NULL);
    client_send(&harness, other, "z");
    harness_until(&harness, is_held, NULL);
    assert_sleeps(&harness);
    harness.count = 2;
    client_expect(&harness, other, "z");
    assert_int_equal(harness_front(&harness, 1)->mails, ECHO_FLOOD);
    assert_true(tf_list_empty(&harness.workers[0].held));
    tf_socket_close(fd);
    tf_socket_close(other);
    harness_stop(&harness);
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
    (void)state;
    harness_start(&harness, 2, RING);
    int fds[2] = {client_open(harness.port), client_open(harness.port)};
    harness_until_connections(&harness, 2);
    for (unsigned i = 0; i < 2; i++) {
        tf_worker_ask(&harness.workers[i], TF_WORKER_DRAIN);
    }
    for (unsigned i = 0; i < 2; i++) {
        client_expect(&harness, fds[i], "bye");
        client_ended(&harness, fds[i]);
        tf_socket_close(fds[i]);
    }
    harness_until(&harness, is_drained, NULL);
    assert_int_equal(harness.changed, 2);
    assert_int_equal(harness_connections(&harness), 0);
    assert_true(tf_list_empty(&harness.workers[0].listeners));
    tf_worker_ask(&harness.workers[0], TF_WORKER_STOP);
    assert_false(tf_worker_turn(&harness.workers[0], TF_TIME_NEVER));
    harness_stop(&harness);
}

static void reloads(void **state)
{
    struct harness harness;
    struct tf_config next;
    (void)state;
    harness_start(&harness, 1, RING);
    next = harness.config;
    next.max_retained_messages = 7;
    tf_worker_reload(&harness.workers[0], &next);
    assert_true(tf_worker_turn(&harness.workers[0], TF_TIME_NEVER));
    assert_ptr_equal(atomic_load(&harness.workers[0].config_in_force), &next);
    assert_ptr_equal(harness_front(&harness, 0)->config, &next);
    assert_int_equal(harness.workers[0].shard.values.limits.count, 7);
    assert_int_equal(harness.changed, 1);
    harness_stop(&harness);
}

static void tells_what_it_counts(void **state)
{
    struct harness harness;
    struct tf_worker_totals totals;
    (void)state;
    harness_start(&harness, 2, RING);
    int fds[2] = {client_open(harness.port), client_open(harness.port)};
    for (unsigned i = 0; i < 2; i++) {
        client_send(&harness, fds[i], "abc");
        client_expect(&harness, fds[i], "abc");
    }
    tf_worker_sum(harness.workers, 2, &totals);
    assert_int_equal(totals.fronts.bytes_received, 6);
    assert_int_equal(totals.sockets, 2);
    assert_int_equal(totals.value_count, 0);
    for (unsigned i = 0; i < 2; i++) {
        tf_socket_close(fds[i]);
    }
    harness_stop(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echoes),
        cmocka_unit_test(writes_what_the_peer_is_slow_to_take),
        cmocka_unit_test(does_not_read_while_paused),
        cmocka_unit_test(ends_a_paused_connection_that_was_reset),
        cmocka_unit_test(writes_before_it_closes),
        cmocka_unit_test(gives_up_a_peer_that_never_ends),
        cmocka_unit_test(spreads_and_moves_connections),
        cmocka_unit_test(refuses_over_the_limits),
        cmocka_unit_test(waits_for_descriptors),
        cmocka_unit_test(does_not_read_while_congested),
        cmocka_unit_test(drains),
        cmocka_unit_test(reloads),
        cmocka_unit_test(tells_what_it_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
