/*
 * A worker's connections with a store: output waits until what it tells of is on the disk, whatever
 * the connection does meanwhile; publishers rest while the store is slow.
 */
#include "harness.h"

#include "broker/worker_conn.h"
#include "port/clock.h"
#include "port/socket.h"
#include "store/store_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static bool is_gated(struct harness *harness, void *ctx)
{
    (void)ctx;
    return !tf_list_empty(&harness->workers[0].gated);
}

static bool is_ending(struct harness *harness, void *ctx)
{
    (void)ctx;
    return !tf_list_empty(&harness->workers[0].ending);
}

static void nothing_comes(struct harness *harness, int fd)
{
    char byte;
    size_t length;
    for (unsigned i = 0; i < 5; i++) {
        harness_turn(harness);
        assert_int_equal(tf_socket_read(fd, &byte, 1, &length), TF_AGAIN);
    }
}

static void store_goes_on(struct harness *harness)
{
    harness->store_rests = false;
}

static void output_waits(void **state)
{
    struct harness harness;
    (void)state;
    harness_start_kept(&harness, 1, 0);
    int fd = client_open(harness.port), other = client_open(harness.port);
    client_send(&harness, fd, "free");
    client_expect(&harness, fd, "free");
    harness.store_rests = true;
    client_send(&harness, fd, "aNb");
    harness_until(&harness, is_gated, NULL);
    client_send(&harness, fd, "c"); /* needs nothing, and is behind what does */
    nothing_comes(&harness, fd);
    client_send(&harness, other, "mine"); /* others go on */
    client_expect(&harness, other, "mine");
    client_send(&harness, fd, "dN");
    nothing_comes(&harness, fd);
    store_goes_on(&harness);
    client_expect(&harness, fd, "abcd");
    harness_turn(&harness);
    assert_true(tf_list_empty(&harness.workers[0].gated));
    tf_socket_close(fd);
    tf_socket_close(other);
    harness_stop(&harness);
}

static void bulk_waits(void **state)
{
    struct harness harness;
    char *got = malloc(ECHO_BULK);
    (void)state;
    assert_non_null(got);
    harness_start_kept(&harness, 1, 0);
    int fd = client_open(harness.port);
    client_send(&harness, fd, "BN");
    client_receive(&harness, fd, got, ECHO_BULK);
    client_send(&harness, fd, "NxNy");
    client_expect(&harness, fd, "xy");
    tf_socket_close(fd);
    harness_stop(&harness);
    free(got);
}

static void the_end_waits(void **state)
{
    struct harness harness;
    (void)state;
    harness_start_kept(&harness, 1, 0);
    int fd = client_open(harness.port);
    harness.store_rests = true;
    client_send(&harness, fd, "NlastQ");
    harness_until(&harness, is_ending, NULL);
    nothing_comes(&harness, fd);
    assert_int_equal(harness_front(&harness, 0)->closed, 0);
    store_goes_on(&harness);
    client_expect(&harness, fd, "last");
    client_ended(&harness, fd);
    tf_socket_close(fd);
    harness_until_connections(&harness, 0);
    harness_stop(&harness);
}

static void a_disk_that_hangs_keeps_nobody(void **state)
{
    struct harness harness;
    (void)state;
    harness_start_kept(&harness, 1, 0);
    int fd = client_open(harness.port), gone = client_open(harness.port);
    harness.store_rests = true;
    client_send(&harness, fd, "NlastQ");
    harness_until(&harness, is_ending, NULL);
    tf_worker_give_up(&harness.workers[0], harness.workers[0].now + TF_WORKER_LINGER);
    assert_true(tf_list_empty(&harness.workers[0].gated));
    client_send(&harness, gone, "Nx");
    harness_until(&harness, is_gated, NULL);
    tf_socket_close(gone); /* its output goes to nobody */
    harness_until_connections(&harness, 0);
    assert_true(tf_list_empty(&harness.workers[0].gated));
    tf_socket_close(fd);
    store_goes_on(&harness);
    harness_turn(&harness);
    harness_stop(&harness);
}

/* What waits for a broken store would wait for ever: the peer is told by the end of its connection.
 * What needs no store is served on. */
static void a_broken_store_keeps_nobody(void **state)
{
    struct harness harness;
    (void)state;
    harness_start_kept(&harness, 1, 0);
    int fd = client_open(harness.port), other = client_open(harness.port);
    client_send(&harness, other, "here");
    client_expect(&harness, other, "here");
    harness.store_rests = true;
    client_send(&harness, fd, "aNb");
    harness_until(&harness, is_gated, NULL);
    tf_store_break(harness.store);
    store_goes_on(&harness);
    harness_until_connections(&harness, 1);
    assert_true(tf_list_empty(&harness.workers[0].gated));
    client_send(&harness, other, "mine");
    client_expect(&harness, other, "mine");
    client_send(&harness, other, "Nx");
    harness_until_connections(&harness, 0);
    tf_socket_close(fd);
    tf_socket_close(other);
    harness_stop(&harness);
}

static void a_move_waits(void **state)
{
    struct harness harness;
    (void)state;
    harness_start_kept(&harness, 2, 0);
    int fd = client_open(harness.port);
    client_send(&harness, fd, "M0");
    client_send(&harness, fd, "x");
    client_expect(&harness, fd, "x");
    harness.store_rests = true;
    client_send(&harness, fd, "NhereM1Nthere");
    harness_until(&harness, is_gated, NULL);
    nothing_comes(&harness, fd);
    assert_int_equal(harness.workers[0].connection_count, 1);
    store_goes_on(&harness);
    client_expect(&harness, fd, "herethere");
    assert_int_equal(harness.workers[1].connection_count, 1);
    assert_true(tf_list_empty(&harness.workers[0].gated));
    tf_socket_close(fd);
    harness_until_connections(&harness, 0);
    harness_stop(&harness);
}

static bool is_slowed(struct harness *harness, void *ctx)
{
    (void)ctx;
    return !tf_list_empty(&harness->workers[0].slowed);
}

static bool is_slow(struct harness *harness, void *ctx)
{
    (void)ctx;
    return harness->workers[0].slow;
}

static void publishers_rest_while_it_is_slow(void **state)
{
    struct harness harness;
    (void)state;
    harness_start_kept(&harness, 1, 1);
    int fd = client_open(harness.port), consumer = client_open(harness.port);
    client_send(&harness, fd, "Nx");
    client_expect(&harness, fd, "x");
    harness_until(&harness, is_slow, NULL);
    client_send(&harness, fd, "Ny");
    harness_until(&harness, is_slowed, NULL);
    tf_time since = harness.workers[0].now;
    client_expect(&harness, fd, "y"); /* it is answered, but not read */
    client_send(&harness, fd, "z");
    client_send(&harness, consumer, "a");
    client_expect(&harness, consumer, "a");
    assert_true(is_slowed(&harness, NULL));
    client_expect(&harness, fd, "z");
    assert_true(harness.workers[0].now >= since + 90 * TF_MILLISECOND);
    assert_false(is_slowed(&harness, NULL)); /* it has published nothing since */
    client_send(&harness, fd, "Nx");
    harness_until(&harness, is_slowed, NULL);
    tf_socket_close(fd);
    harness_until_connections(&harness, 1);
    tf_socket_close(consumer);
    harness_until_connections(&harness, 0);
    harness_stop(&harness);
}

static bool is_pressed(struct harness *harness, void *ctx)
{
    (void)ctx;
    return harness->workers[0].pressed;
}

/* A disk that does not keep up, though it is another shard's records that wait for it: who adds to
 * them rests, all others are served. */
static void who_adds_to_much_rests(void **state)
{
    struct harness harness;
    (void)state;
    harness_start_kept(&harness, 2, 0);
    int fd = client_open(harness.port), far = client_open(harness.port),
        near = client_open(harness.port);
    struct tf_store_client *client = &harness.workers[1].client;
    uint8_t *value = calloc(1, TF_STORE_CONGESTED);
    assert_non_null(value);
    client_send(&harness, fd, "x");
    client_expect(&harness, fd, "x");
    harness.store_rests = true;
    assert_int_equal(tf_store_reserve(client, TF_STORE_CONGESTED + 1), TF_OK);
    tf_store_put(client, TF_STORE_DISK, 9, tf_bytes_str("k"),
                 tf_bytes_of(value, TF_STORE_CONGESTED), NULL);
    tf_store_submit(client);
    free(value);
    client_send(&harness, near, "a");
    client_expect(&harness, near, "a");
    harness_until(&harness, is_pressed, NULL);
    client_send(&harness, fd, "Nx");
    harness_until(&harness, is_slowed, NULL);
    client_send(&harness, fd, "z");
    nothing_comes(&harness, fd);
    client_send(&harness, near, "here");
    client_expect(&harness, near, "here");
    client_send(&harness, far, "there");
    client_expect(&harness, far, "there");
    store_goes_on(&harness);
    client_expect(&harness, fd, "xz");
    assert_false(is_slowed(&harness, NULL));
    tf_socket_close(fd);
    tf_socket_close(near);
    tf_socket_close(far);
    harness_until_connections(&harness, 0);
    harness_stop(&harness);
}

static bool is_drained(struct harness *harness, void *ctx)
{
    (void)ctx;
    return atomic_load(&harness->workers[0].state) == TF_WORKER_DRAINED;
}

static void drains(void **state)
{
    struct harness harness;
    (void)state;
    harness_start_kept(&harness, 1, 0);
    int fd = client_open(harness.port);
    harness.store_rests = true;
    client_send(&harness, fd, "Nx");
    harness_until(&harness, is_gated, NULL);
    tf_worker_ask(&harness.workers[0], TF_WORKER_DRAIN);
    nothing_comes(&harness, fd);
    assert_false(is_drained(&harness, NULL));
    store_goes_on(&harness);
    client_expect(&harness, fd, "xbye");
    client_ended(&harness, fd);
    tf_socket_close(fd);
    harness_until(&harness, is_drained, NULL);
    harness_stop(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_waits),
        cmocka_unit_test(bulk_waits),
        cmocka_unit_test(the_end_waits),
        cmocka_unit_test(a_disk_that_hangs_keeps_nobody),
        cmocka_unit_test(a_move_waits),
        cmocka_unit_test(publishers_rest_while_it_is_slow),
        cmocka_unit_test(who_adds_to_much_rests),
        cmocka_unit_test(drains),
        cmocka_unit_test(a_broken_store_keeps_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
