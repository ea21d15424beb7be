/* TCP over loopback: addresses, connecting, reading, writing, ending, running out of descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/clock.h"
#include "port/loop.h"
#include "port/socket.h"

#define LONG (20 * TF_SECOND)

static struct tf_socket_address resolve_one(const char *host, uint16_t port, bool listening)
{
    struct tf_socket_address address;
    size_t count;
    assert_int_equal(tf_socket_resolve(host, port, listening, &address, 1, &count), TF_OK);
    assert_int_equal(count, 1);
    return address;
}

/* Waits until the descriptor is ready for `interest`. */
static void wait_for(int fd, unsigned interest)
{
    struct tf_loop *loop;
    struct tf_loop_source source = {0};
    struct tf_loop_event event;
    tf_time now = tf_clock_now(), deadline = now + LONG;
    assert_int_equal(tf_loop_new(&loop), TF_OK);
    assert_int_equal(tf_loop_add(loop, &source, fd, interest), TF_OK);
    while (!tf_loop_wait(loop, deadline, now)) {
        now = tf_clock_now();
        assert_true(now < deadline);
    }
    assert_true(tf_loop_next(loop, &event));
    tf_loop_free(loop);
}

static int listen_on(const char *host, struct tf_socket_address *ret_address)
{
    struct tf_socket_address address = resolve_one(host, 0, true);
    int fd;
    assert_int_equal(tf_socket_listen(&address, false, &fd), TF_OK);
    assert_int_equal(tf_socket_local(fd, ret_address), TF_OK);
    assert_int_not_equal(tf_socket_port(ret_address), 0);
    return fd;
}

static int accept_one(int listener)
{
    struct tf_socket_address peer;
    int fd;
    wait_for(listener, TF_LOOP_READ);
    assert_int_equal(tf_socket_accept(listener, &fd, &peer), TF_OK);
    assert_true(tf_socket_loopback(&peer));
    return fd;
}

/* Two ends of one connection on 127.0.0.1. */
static void connect_pair(int *ret_client, int *ret_server)
{
    struct tf_socket_address address;
    int listener = listen_on("127.0.0.1", &address);
    assert_int_equal(tf_socket_connect(&address, ret_client), TF_OK);
    *ret_server = accept_one(listener);
    wait_for(*ret_client, TF_LOOP_WRITE);
    assert_int_equal(tf_socket_connected(*ret_client), TF_OK);
    tf_socket_close(listener);
}

static enum tf_err read_some(int fd, void *data, size_t length, size_t *ret_length)
{
    enum tf_err err;
    while ((err = tf_socket_read(fd, data, length, ret_length)) == TF_AGAIN)
        wait_for(fd, TF_LOOP_READ);
    return err;
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *host, *text;
        bool loopback;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1:1883", true},
        {"127.9.8.7", "127.9.8.7:1883", true},
        {"192.0.2.1", "192.0.2.1:1883", false},
        {"::1", "[::1]:1883", true},
        {"[::1]", "[::1]:1883", true},
        {"2001:db8::1", "[2001:db8::1]:1883", false},
        {"[2001:DB8:0::1]", "[2001:db8::1]:1883", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tf_socket_address address = resolve_one(cases[i].host, 1883, false);
        char text[TF_SOCKET_TEXT];
        tf_socket_text(&address, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(tf_socket_port(&address), 1883);
        assert_int_equal(tf_socket_loopback(&address), cases[i].loopback);
        struct tf_socket_address again = resolve_one(cases[i].host, 1883, true);
        assert_memory_equal(&address, &again, sizeof(address));
    }
    struct tf_socket_address none = {0};
    char text[TF_SOCKET_TEXT];
    tf_socket_text(&none, text);
    assert_string_equal(text, "?");
    assert_int_equal(tf_socket_port(&none), 0);
    assert_false(tf_socket_loopback(&none));
}

static void test_resolve(void **state)
{
    (void)state;
    struct tf_socket_address addresses[8];
    size_t count = 77;
    char text[TF_SOCKET_TEXT], name[400];
    assert_int_equal(tf_socket_resolve(NULL, 0, true, addresses, 8, &count), TF_OK);
    assert_in_range(count, 1, 2);
    tf_socket_text(&addresses[0], text);
    assert_true(!strcmp(text, "0.0.0.0:0") || !strcmp(text, "[::]:0"));
    assert_int_equal(tf_socket_resolve("", 7, false, addresses, 8, &count), TF_OK);
    for (size_t i = 0; i < count; i++)
        assert_true(tf_socket_loopback(&addresses[i]));
    count = 77;
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = 0;
    assert_int_equal(tf_socket_resolve(name, 1, false, addresses, 8, &count), TF_NOT_FOUND);
    assert_int_equal(tf_socket_resolve("1.2.3.4.5 ", 1, false, addresses, 8, &count), TF_NOT_FOUND);
    assert_int_equal(count, 77);
}

static void test_listen(void **state)
{
    (void)state;
    struct tf_socket_address address, foreign = resolve_one("192.0.2.1", 0, true);
    int listener = listen_on("127.0.0.1", &address), fd = -7;
    struct tf_socket_address peer;
    assert_int_equal(tf_socket_listen(&address, false, &fd), TF_EXISTS);
    assert_int_equal(tf_socket_listen(&foreign, false, &fd), TF_IO);
    assert_int_equal(errno, EADDRNOTAVAIL);
    assert_int_equal(tf_socket_accept(listener, &fd, &peer), TF_AGAIN);
    assert_int_equal(fd, -7);
    assert_true(fcntl(listener, F_GETFD) & FD_CLOEXEC);
    tf_socket_close(listener);
    /* The port is free again at once, even right after a connection on it. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tf_socket_listen(&address, false, &listener), TF_OK);
        int client, server;
        assert_int_equal(tf_socket_connect(&address, &client), TF_OK);
        server = accept_one(listener);
        tf_socket_close(server); /* this side ends first: it is left in TIME_WAIT */
        tf_socket_close(client);
        tf_socket_close(listener);
    }
    int shared[2];
    assert_int_equal(tf_socket_listen(&address, true, &shared[0]), TF_OK);
    assert_int_equal(tf_socket_listen(&address, true, &shared[1]), TF_OK);
    assert_int_equal(tf_socket_listen(&address, false, &fd), TF_EXISTS);
    tf_socket_close(shared[0]);
    tf_socket_close(shared[1]);
}

/* IPv6, if the machine has it, beside IPv4 on the same port. */
static void test_both_families(void **state)
{
    (void)state;
    struct tf_socket_address four, six = resolve_one("::1", 0, true), seen;
    int listener6, listener4, client, server;
    if (tf_socket_listen(&six, false, &listener6))
        skip();
    assert_int_equal(tf_socket_local(listener6, &six), TF_OK);
    assert_int_equal(tf_socket_connect(&six, &client), TF_OK);
    server = accept_one(listener6);
    assert_int_equal(tf_socket_peer(server, &seen), TF_OK);
    struct tf_socket_address local;
    assert_int_equal(tf_socket_local(client, &local), TF_OK);
    assert_memory_equal(&seen, &local, sizeof(seen));
    tf_socket_close(client);
    tf_socket_close(server);
    tf_socket_close(listener6);

    six = resolve_one("::", 0, true);
    assert_int_equal(tf_socket_listen(&six, false, &listener6), TF_OK);
    assert_int_equal(tf_socket_local(listener6, &six), TF_OK);
    four = resolve_one("0.0.0.0", tf_socket_port(&six), true);
    assert_int_equal(tf_socket_listen(&four, false, &listener4), TF_OK);
    tf_socket_close(listener4);
    tf_socket_close(listener6);
}

static void test_accepted_options(void **state)
{
    (void)state;
    int client, server;
    connect_pair(&client, &server);
    for (int i = 0; i < 2; i++) {
        int fd = i ? server : client, value = 0;
        socklen_t length = sizeof(value);
        assert_int_equal(getsockopt(fd, 6 /* TCP */, 1 /* TCP_NODELAY */, &value, &length), 0);
        assert_int_not_equal(value, 0);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    }
    struct tf_socket_address peer, local;
    assert_int_equal(tf_socket_peer(client, &peer), TF_OK);
    assert_int_equal(tf_socket_local(server, &local), TF_OK);
    assert_memory_equal(&peer, &local, sizeof(peer));
    tf_socket_close(client);
    tf_socket_close(server);
}

static void test_refused(void **state)
{
    (void)state;
    struct tf_socket_address address;
    int fd, listener = listen_on("127.0.0.1", &address);
    tf_socket_close(listener);
    enum tf_err err = tf_socket_connect(&address, &fd);
    if (!err) {
        wait_for(fd, TF_LOOP_WRITE);
        err = tf_socket_connected(fd);
        assert_int_equal(errno, ECONNREFUSED);
        tf_socket_close(fd);
    }
    assert_int_equal(err, TF_IO);
    assert_int_equal(tf_socket_local(-1, &address), TF_IO);
}

/* The sum of what is written arrives, whatever parts the system takes it in. */
static void test_transfer(void **state)
{
    (void)state;
    enum { TOTAL = 4 << 20, STEP = 100000 };
    int client, server;
    uint8_t *out = malloc(TOTAL), *in = malloc(TOTAL);
    size_t sent = 0, got = 0, length, parts = 0;
    bool full = false;
    for (size_t i = 0; i < TOTAL; i++)
        out[i] = (uint8_t)(i * 31 >> 3);
    connect_pair(&client, &server);
    assert_int_equal(tf_socket_read(server, in, 10, &length), TF_AGAIN);
    while (got < TOTAL) {
        while (sent < TOTAL) {
            struct tf_bytes spans[70];
            size_t count = 0, at = sent;
            for (; count < 70 && at < TOTAL; count++) { /* spans of all lengths, empty ones too */
                size_t part = count * 997 % STEP;
                part = part < TOTAL - at ? part : TOTAL - at;
                spans[count] = tf_bytes_of(out + at, part);
                at += part;
            }
            enum tf_err err = tf_socket_writev(client, spans + 1, count - 1, &length);
            if (count == 1)
                err = tf_socket_writev(client, &(struct tf_bytes){out + sent, TOTAL - sent}, 1,
                                       &length);
            if (err == TF_AGAIN) {
                full = true;
                break;
            }
            assert_int_equal(err, TF_OK);
            sent += length;
            parts++;
        }
        assert_int_equal(read_some(server, in + got, TOTAL - got, &length), TF_OK);
        assert_in_range(length, 1, TOTAL - got);
        got += length;
    }
    assert_memory_equal(in, out, TOTAL);
    assert_true(parts > 1);
    assert_true(full);
    tf_socket_close(client);
    assert_int_equal(read_some(server, in, 10, &length), TF_CLOSED);
    assert_int_equal(errno, 0);
    tf_socket_close(server);
    free(out);
    free(in);
}

/* The peer is gone: no signal, TF_CLOSED. */
static void test_lost(void **state)
{
    (void)state;
    int client, server;
    size_t length;
    char byte;
    connect_pair(&client, &server);
    tf_socket_abort(server);
    assert_int_equal(read_some(client, &byte, 1, &length), TF_CLOSED);
    assert_int_equal(errno, ECONNRESET);
    struct tf_bytes span = tf_bytes_str("x");
    assert_int_equal(tf_socket_writev(client, &span, 1, &length), TF_CLOSED);
    assert_int_equal(errno, EPIPE);
    struct tf_socket_address peer;
    assert_int_equal(tf_socket_peer(client, &peer), TF_CLOSED);
    tf_socket_close(client);
    assert_int_equal(tf_socket_read(client, &byte, 1, &length), TF_IO);
}

/* With input unread a plain close would reset; finish and drain bring the last output across. */
static void test_finish(void **state)
{
    (void)state;
    int client, server;
    size_t length, total = 0;
    static char input[300000], last[100000], seen[200000];
    enum tf_err err;
    memset(last, 'L', sizeof(last));
    connect_pair(&client, &server);
    struct tf_bytes flood = tf_bytes_of(input, sizeof(input)), output = tf_bytes_of(last, 50000);
    assert_int_equal(tf_socket_writev(client, &flood, 1, &length), TF_OK);
    assert_int_equal(tf_socket_writev(server, &output, 1, &length), TF_OK);
    assert_int_equal(length, 50000);
    tf_socket_finish(server);
    assert_int_equal(tf_socket_drain(server), TF_AGAIN); /* the client has not ended */
    while (!(err = read_some(client, seen + total, sizeof(seen) - total, &length)))
        total += length;
    assert_int_equal(err, TF_CLOSED);
    assert_int_equal(total, 50000);
    assert_memory_equal(seen, last, total);
    tf_socket_close(client);
    while ((err = tf_socket_drain(server)) == TF_AGAIN)
        wait_for(server, TF_LOOP_READ);
    assert_int_equal(err, TF_CLOSED);
    tf_socket_close(server);
}

/* No descriptor is left: the connection waits in the kernel, and is taken once there is one. */
static void test_out_of_descriptors(void **state)
{
    (void)state;
    struct tf_socket_address address, peer;
    struct rlimit before, few;
    int client, fd = -7, listener = listen_on("127.0.0.1", &address);
    assert_int_equal(tf_socket_connect(&address, &client), TF_OK);
    wait_for(listener, TF_LOOP_READ);
    int highest = dup(listener);
    assert_true(highest >= 0);
    close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)highest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    enum tf_err accepted = tf_socket_accept(listener, &fd, &peer);
    enum tf_err connected = tf_socket_connect(&address, &fd);
    struct tf_loop *loop = NULL;
    enum tf_err made = tf_loop_new(&loop);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(accepted, TF_LIMIT);
    assert_int_equal(connected, TF_LIMIT);
    assert_int_equal(made, TF_LIMIT);
    assert_int_equal(fd, -7);
    assert_null(loop);
    assert_int_equal(tf_socket_accept(listener, &fd, &peer), TF_OK);
    tf_socket_close(fd);
    tf_socket_close(client);
    tf_socket_close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_listen),           cmocka_unit_test(test_both_families),
        cmocka_unit_test(test_accepted_options), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_transfer),         cmocka_unit_test(test_lost),
        cmocka_unit_test(test_finish),           cmocka_unit_test(test_out_of_descriptors),
    };
    alarm(60); /* whatever hangs ends */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
