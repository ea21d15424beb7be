/*
 * UDP over loopback: batches, trains, the addresses that replies leave from, groups, what is too
 * long, what the socket cannot take, and what ICMP tells.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "port/clock.h"
#include "port/datagram.h"
#include "port/loop.h"

#define LONG (20 * TF_SECOND)
#define MANY 300u

static struct tf_socket_address address_of(const char *host, uint16_t port)
{
    struct tf_socket_address address;
    size_t count;
    assert_int_equal(tf_socket_resolve(host, port, true, &address, 1, &count), TF_OK);
    return address;
}

static bool wait_until(int fd, unsigned interest, tf_time deadline)
{
    struct tf_loop *loop;
    struct tf_loop_source source = {0};
    struct tf_loop_event event;
    bool ready;
    assert_int_equal(tf_loop_new(&loop), TF_OK);
    assert_int_equal(tf_loop_add(loop, &source, fd, interest), TF_OK);
    (void)tf_loop_wait(loop, deadline, tf_clock_now());
    ready = tf_loop_next(loop, &event);
    tf_loop_remove(loop, &source);
    tf_loop_free(loop);
    return ready;
}

/* A socket on a free port of `host`, and its address. */
static int bind_to(const char *host, bool trains, struct tf_socket_address *ret_local)
{
    struct tf_socket_address address = address_of(host, 0);
    int fd;
    assert_int_equal(tf_datagram_bind(&address, trains, &fd), TF_OK);
    assert_int_equal(tf_socket_local(fd, ret_local), TF_OK);
    assert_int_not_equal(tf_socket_port(ret_local), 0);
    return fd;
}

/* True if the machine has IPv6. */
static bool six_is_there(void)
{
    struct tf_socket_address address = address_of("::1", 0);
    int fd;
    if (tf_datagram_bind(&address, false, &fd))
        return false;
    tf_socket_close(fd);
    return true;
}

static int open_to(const struct tf_socket_address *peer, bool connected)
{
    int fd;
    assert_int_equal(tf_datagram_open(peer, connected, &fd), TF_OK);
    return fd;
}

/* Sends one datagram on `path` and nothing is lost. */
static void say(int fd, const void *path, const char *text)
{
    struct tf_datagram out = {path, tf_bytes_str(text), 0};
    size_t sent, lost;
    assert_int_equal(tf_datagram_send(fd, &out, 1, &sent, &lost), TF_OK);
    assert_int_equal(sent, 1);
    assert_int_equal(lost, 0);
}

/* Fills the inbox with what comes next. */
static void hear_more(int fd, struct tf_datagram_inbox *inbox)
{
    tf_time end = tf_clock_now() + LONG;
    enum tf_err err;
    bool full;
    while ((err = tf_datagram_receive(fd, inbox, &full)) == TF_AGAIN) {
        assert_true(wait_until(fd, TF_LOOP_READ, end));
    }
    assert_int_equal(err, TF_OK);
}

/* Waits for one datagram, which must be `text`; its path and flags. */
static void hear(int fd, const char *text, struct tf_datagram_path *ret_path, uint8_t *ret_flags)
{
    struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(4, TF_DATAGRAM_MAX);
    const struct tf_datagram *in;
    size_t count;
    assert_non_null(inbox);
    hear_more(fd, inbox);
    in = tf_datagram_inbox_peek(inbox, &count);
    assert_non_null(in);
    assert_int_equal(count, 1);
    assert_int_equal(in->bytes.length, strlen(text));
    assert_memory_equal(in->bytes.data, text, strlen(text));
    memcpy(ret_path, in->path, sizeof(*ret_path));
    *ret_flags = in->flags;
    tf_datagram_inbox_take(inbox, 1);
    assert_null(tf_datagram_inbox_peek(inbox, &count));
    tf_datagram_inbox_free(inbox);
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
    while (length && bytes[length - 1] == 0)
        length--;
    return length == 0;
}

/* ---- there and back ---- */

static void answers_from_the_address_it_was_asked_at(void **state)
{
    static const struct {
        const char *bound, *asked;
        bool four;
    } rows[] = {{"127.0.0.1", "127.0.0.1", true},
                {"0.0.0.0", "127.0.0.2", true},
                {"::1", "::1", false},
                {"::", "::1", false}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tf_socket_address local, from;
        struct tf_datagram_path path, back;
        char text[TF_SOCKET_TEXT], wanted[TF_SOCKET_TEXT];
        uint8_t flags;
        if (!rows[i].four && !six_is_there())
            continue;
        int server = bind_to(rows[i].bound, true, &local);
        struct tf_socket_address peer = address_of(rows[i].asked, tf_socket_port(&local));
        int client = open_to(&peer, false);
        tf_datagram_path_to(&peer, &path);
        assert_true(is_zero(path.local, sizeof(path.local)));
        say(client, &path, "question");
        hear(server, "question", &back, &flags);
        assert_int_equal(flags, TF_DATAGRAM_TRUSTED);
        assert_int_equal(back.family, rows[i].four ? 4 : 6);
        assert_memory_equal(back.local, path.peer, 16);
        assert_int_equal(back.scope, 0);
        assert_int_equal(tf_socket_local(client, &from), TF_OK);
        assert_int_equal(back.port, tf_socket_port(&from));
        say(server, &back, "answer");
        hear(client, "answer", &back, &flags);
        assert_memory_equal(back.peer, path.peer, 16);
        assert_int_equal(back.port, path.port);
        tf_datagram_peer(&back, &from);
        tf_socket_text(&from, text);
        tf_socket_text(&peer, wanted);
        assert_string_equal(text, wanted);
        tf_socket_close(client);
        tf_socket_close(server);
    }
}

static void keeps_batches_in_order(void **state)
{
    struct tf_datagram out[MANY];
    struct tf_datagram_path paths[2];
    struct tf_socket_address locals[2];
    struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(TF_DATAGRAM_BATCH, TF_DATAGRAM_MAX);
    uint8_t bytes[MANY][8];
    int servers[2];
    size_t sent, lost;
    (void)state;
    assert_non_null(inbox);
    for (unsigned i = 0; i < 2; i++) {
        servers[i] = bind_to("127.0.0.1", i == 1, &locals[i]);
        tf_datagram_path_to(&locals[i], &paths[i]);
    }
    int client = open_to(&locals[0], false);
    for (unsigned i = 0; i < MANY; i++) {
        memset(bytes[i], (int)(i & 255), sizeof(bytes[i]));
        bytes[i][0] = (uint8_t)(i >> 8);
        /* Lengths from 0 to 7, but long runs of the same one: trains, and others between them. */
        out[i] =
            (struct tf_datagram){&paths[i % 3 == 2], tf_bytes_of(bytes[i], i < 200 ? 8 : i % 8), 0};
        if (i >= 50 && i < 150)
            out[i].path = &paths[1];
    }
    assert_int_equal(tf_datagram_send(client, out, MANY, &sent, &lost), TF_OK);
    assert_int_equal(sent, MANY);
    assert_int_equal(lost, 0);
    for (unsigned s = 0; s < 2; s++) {
        for (unsigned i = 0; i < MANY;) {
            const struct tf_datagram *in;
            size_t count;
            hear_more(servers[s], inbox);
            while ((in = tf_datagram_inbox_peek(inbox, &count))) {
                while (out[i].path != &paths[s])
                    i++;
                assert_int_equal(in->bytes.length, out[i].bytes.length);
                assert_memory_equal(in->bytes.data, out[i].bytes.data, in->bytes.length);
                tf_datagram_inbox_take(inbox, 1); /* the rest comes again */
                i++;
            }
            while (i < MANY && out[i].path != &paths[s])
                i++;
        }
        tf_socket_close(servers[s]);
    }
    tf_socket_close(client);
    tf_datagram_inbox_free(inbox);
}

/* Datagrams of a train come as they went, whether or not the receiver takes trains. */
static void cuts_trains(void **state)
{
    enum { LENGTH = 100, LAST = 7 };
    struct tf_datagram out[64];
    uint8_t bytes[64][LENGTH];
    (void)state;
    for (unsigned trains = 0; trains < 2; trains++) {
        struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(8, TF_DATAGRAM_MAX);
        struct tf_socket_address local;
        struct tf_datagram_path path;
        size_t sent, lost, pieces = 0, i = 0;
        int server = bind_to(six_is_there() ? "::1" : "127.0.0.1", trains, &local);
        int client = open_to(&local, false);
        assert_non_null(inbox);
        tf_datagram_path_to(&local, &path);
        for (unsigned j = 0; j < 64; j++) {
            memset(bytes[j], (int)j, LENGTH);
            out[j] = (struct tf_datagram){&path, tf_bytes_of(bytes[j], j == 40 ? LAST : LENGTH), 0};
        }
        assert_int_equal(tf_datagram_send(client, out, 64, &sent, &lost), TF_OK);
        assert_int_equal(sent, 64);
        while (i < 64) {
            const struct tf_datagram *in;
            size_t count;
            hear_more(server, inbox);
            pieces++;
            while ((in = tf_datagram_inbox_peek(inbox, &count))) {
                for (size_t j = 0; j < count; j++, i++) {
                    assert_int_equal(in[j].bytes.length, out[i].bytes.length);
                    assert_memory_equal(in[j].bytes.data, bytes[i], in[j].bytes.length);
                }
                tf_datagram_inbox_take(inbox, count);
            }
        }
        if (trains) /* two of them, 41 datagrams and 23, and one call for both */
            assert_int_equal(pieces, 1);
        tf_datagram_inbox_free(inbox);
        tf_socket_close(client);
        tf_socket_close(server);
    }
}

/* What no train can be made of goes all the same: larger than a path may take in one packet. */
static void sends_large_ones(void **state)
{
    static const size_t lengths[] = {1232, 1232, 1233, 1233, 9000, 65507, 0, 0, 1};
    enum { COUNT = sizeof(lengths) / sizeof(lengths[0]) };
    struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(64, TF_DATAGRAM_MAX);
    struct tf_datagram out[COUNT];
    struct tf_socket_address local;
    struct tf_datagram_path path;
    uint8_t *bytes = calloc(1, 65507);
    size_t sent, lost, i = 0, count;
    int server = bind_to("127.0.0.1", true, &local), client = open_to(&local, false);
    (void)state;
    assert_true(inbox && bytes);
    tf_datagram_path_to(&local, &path);
    for (size_t j = 0; j < COUNT; j++)
        out[j] = (struct tf_datagram){&path, tf_bytes_of(bytes, lengths[j]), 0};
    assert_int_equal(tf_datagram_send(client, out, COUNT, &sent, &lost), TF_OK);
    assert_int_equal(sent, COUNT);
    assert_int_equal(lost, 0);
    while (i < COUNT) {
        const struct tf_datagram *in;
        hear_more(server, inbox);
        for (; (in = tf_datagram_inbox_peek(inbox, &count)); i++) {
            assert_int_equal(in->bytes.length, lengths[i]);
            tf_datagram_inbox_take(inbox, 1);
        }
    }
    free(bytes);
    tf_datagram_inbox_free(inbox);
    tf_socket_close(client);
    tf_socket_close(server);
}

/* ---- what goes wrong ---- */

static void drops_what_is_too_long(void **state)
{
    struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(8, 10);
    const struct tf_datagram *in;
    struct tf_socket_address local;
    struct tf_datagram_path path;
    size_t count;
    int server = bind_to("127.0.0.1", false, &local), client = open_to(&local, false);
    (void)state;
    assert_non_null(inbox);
    tf_datagram_path_to(&local, &path);
    say(client, &path, "ten bytes.");
    say(client, &path, "eleven byte");
    say(client, &path, "");
    say(client, &path, "fits");
    hear_more(server, inbox);
    in = tf_datagram_inbox_peek(inbox, &count);
    assert_non_null(in);
    assert_int_equal(count, 3);
    assert_int_equal(in[0].bytes.length, 10);
    assert_int_equal(in[1].bytes.length, 0);
    assert_int_equal(in[2].bytes.length, 4);
    assert_int_equal(tf_datagram_inbox_truncated(inbox), 1);
    tf_datagram_inbox_free(inbox);
    tf_socket_close(client);
    tf_socket_close(server);
}

static void gives_up_one_and_sends_the_others(void **state)
{
    struct tf_socket_address local, nobody = address_of("255.255.255.255", 9);
    struct tf_datagram_path path, back, refused;
    static uint8_t huge[65508]; /* a byte more than IPv4 has room for */
    uint8_t flags;
    size_t sent, lost;
    int server = bind_to("127.0.0.1", true, &local), client = open_to(&local, false);
    (void)state;
    tf_datagram_path_to(&local, &path);
    tf_datagram_path_to(&nobody, &refused); /* a broadcast, which nobody allowed: EACCES */
    struct tf_datagram out[] = {
        {&path, tf_bytes_of(huge, sizeof(huge)), 0},
        {&refused, tf_bytes_str("same"), 0}, /* these two would be a train */
        {&refused, tf_bytes_str("size"), 0},
        {&path, tf_bytes_str("arrives"), 0},
    };
    assert_int_equal(tf_datagram_send(client, out, 4, &sent, &lost), TF_OK);
    assert_int_equal(sent, 4);
    assert_int_equal(lost, 3);
    assert_int_equal(errno, EACCES);
    hear(server, "arrives", &back, &flags);
    tf_socket_close(client);
    tf_socket_close(server);
}

static void outlives_refusals(void **state)
{
    struct tf_socket_address local;
    struct tf_datagram_path back;
    struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(1, 100);
    uint8_t flags;
    bool full;
    int server = bind_to("127.0.0.1", false, &local);
    int client = open_to(&local, true);
    (void)state;
    assert_non_null(inbox);
    tf_socket_close(server);
    say(client, NULL, "nobody hears");
    assert_true(wait_until(client, TF_LOOP_READ, tf_clock_now() + LONG));
    assert_int_equal(tf_datagram_receive(client, inbox, &full), TF_CLOSED);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(tf_datagram_receive(client, inbox, &full), TF_AGAIN);
    say(client, NULL, "nobody hears");
    assert_true(wait_until(client, TF_LOOP_READ, tf_clock_now() + LONG));
    assert_int_equal(tf_datagram_error(client), ECONNREFUSED);
    assert_int_equal(tf_datagram_error(client), 0);
    say(client, NULL, "nobody hears");
    assert_true(wait_until(client, TF_LOOP_READ, tf_clock_now() + LONG));
    assert_int_equal(tf_datagram_bind(&local, false, &server), TF_OK);
    say(client, NULL, "there again"); /* for all that is known of the one before */
    hear(server, "there again", &back, &flags);
    tf_datagram_inbox_free(inbox);
    tf_socket_close(client);
    tf_socket_close(server);
}

/* A pair of sockets whose queue is short; what is full there is full here. */
static void waits_for_room(void **state)
{
    struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(64, 100);
    struct tf_datagram out[MANY];
    struct tf_datagram_path none = {.port = 0};
    uint8_t bytes[MANY][2];
    size_t sent, lost, next = 0, heard = 0, times = 0;
    enum tf_err err;
    int pair[2];
    (void)state;
    assert_non_null(inbox);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
    for (unsigned i = 0; i < MANY; i++) {
        bytes[i][0] = (uint8_t)(i >> 8);
        bytes[i][1] = (uint8_t)i;
        /* Trains are for one path, and this kind of socket has none: so these two in turn. */
        out[i] = (struct tf_datagram){i % 2 ? &none : NULL, tf_bytes_of(bytes[i], 2), 0};
    }
    while (heard < MANY) {
        const struct tf_datagram *in;
        size_t count;
        bool full;
        if (next < MANY) {
            err = tf_datagram_send(pair[0], out + next, MANY - next, &sent, &lost);
            assert_true(err == (sent < MANY - next ? TF_AGAIN : TF_OK));
            assert_int_equal(lost, 0);
            next += sent;
            times++;
        }
        assert_int_equal(tf_datagram_receive(pair[1], inbox, &full), TF_OK);
        for (; (in = tf_datagram_inbox_peek(inbox, &count)); heard++) {
            static const struct tf_datagram_path zeroed;
            assert_memory_equal(in->path, &zeroed, sizeof(zeroed));
            assert_memory_equal(in->bytes.data, bytes[heard], 2);
            tf_datagram_inbox_take(inbox, 1);
        }
    }
    assert_true(times > 1);
    tf_datagram_inbox_free(inbox);
    tf_socket_close(pair[0]);
    tf_socket_close(pair[1]);
}

static void says_that_it_is_no_socket(void **state)
{
    struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(1, 100);
    bool full;
    (void)state;
    assert_non_null(inbox);
    assert_int_equal(tf_datagram_receive(-1, inbox, &full), TF_IO);
    tf_datagram_inbox_free(inbox);
    tf_datagram_inbox_free(NULL);
}

/* ---- ports ---- */

static void shares_its_port_only_when_told(void **state)
{
    struct tf_socket_address local, same;
    int first = bind_to("127.0.0.1", true, &local), second, third, other;
    (void)state;
    assert_int_equal(tf_datagram_bind(&local, true, &other), TF_EXISTS);
    assert_int_equal(tf_datagram_share(first, true, &second), TF_OK);
    assert_int_equal(tf_datagram_share(first, true, &third), TF_OK);
    assert_int_equal(tf_socket_local(third, &same), TF_OK);
    assert_int_equal(tf_socket_port(&same), tf_socket_port(&local));
    assert_int_equal(tf_datagram_bind(&local, true, &other), TF_EXISTS); /* still its own */
    tf_socket_close(first);
    tf_socket_close(second);
    tf_socket_close(third);
}

/* Every peer reaches one of the sockets, and always the same one. */
static void spreads_peers_over_the_shards(void **state)
{
    enum { PEERS = 64, ROUNDS = 3 };
    struct tf_datagram_inbox *inbox = tf_datagram_inbox_new(64, TF_DATAGRAM_MAX);
    struct tf_socket_address local;
    int servers[2], clients[PEERS], reached[PEERS];
    size_t counts[2] = {0};
    (void)state;
    assert_non_null(inbox);
    servers[0] = bind_to("127.0.0.1", true, &local);
    assert_int_equal(tf_datagram_share(servers[0], true, &servers[1]), TF_OK);
    for (uint8_t i = 0; i < PEERS; i++) {
        clients[i] = open_to(&local, true);
        reached[i] = -1;
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < PEERS; i++) {
            const char text[2] = {(char)(i + 1), 0};
            say(clients[i], NULL, text);
        }
        for (size_t got = 0; got < PEERS;) {
            for (int s = 0; s < 2; s++) {
                const struct tf_datagram *in;
                size_t count;
                bool full;
                if (tf_datagram_receive(servers[s], inbox, &full))
                    continue;
                for (; (in = tf_datagram_inbox_peek(inbox, &count)); got++) {
                    unsigned peer = in->bytes.data[0] - 1u;
                    assert_true(reached[peer] == -1 || reached[peer] == s);
                    reached[peer] = s;
                    counts[s]++;
                    tf_datagram_inbox_take(inbox, 1);
                }
            }
        }
    }
    assert_true(counts[0] > 0 && counts[1] > 0);
    for (unsigned i = 0; i < PEERS; i++)
        tf_socket_close(clients[i]);
    tf_socket_close(servers[0]);
    tf_socket_close(servers[1]);
    tf_datagram_inbox_free(inbox);
}

/* ---- groups ---- */

static unsigned loopback_index(void)
{
    struct tf_socket_address address = address_of("127.0.0.1", 0);
    unsigned index;
    assert_int_equal(tf_datagram_interfaces(&address, &index, 1), 1);
    return index;
}

/* To a group from 127.0.0.1: left to itself the system takes an address of another interface. */
static void path_from_loopback(const struct tf_socket_address *group,
                               struct tf_datagram_path *ret_path)
{
    struct tf_socket_address loopback = address_of("127.0.0.1", 0);
    struct tf_datagram_path own;
    tf_datagram_path_to(&loopback, &own);
    tf_datagram_path_to(group, ret_path);
    memcpy(ret_path->local, own.peer, sizeof(own.peer));
}

static void hears_a_group_and_answers_from_itself(void **state)
{
    struct tf_socket_address local, group;
    struct tf_datagram_path path, back;
    struct ip_mreqn by = {.imr_ifindex = (int)loopback_index()};
    uint8_t flags;
    int server = bind_to("0.0.0.0", true, &local), other, client, group_server;
    (void)state;
    group = address_of("224.0.1.187", tf_socket_port(&local));
    assert_int_equal(tf_datagram_share(server, true, &other), TF_OK);
    assert_int_equal(tf_datagram_join(server, &group, loopback_index()), TF_OK);
    assert_int_equal(tf_datagram_join(server, &group, loopback_index()), TF_EXISTS);
    assert_int_equal(tf_datagram_bind_group(&group, 0, &group_server), TF_EXISTS); /* :: has it */
    client = open_to(&group, false);
    assert_int_equal(setsockopt(client, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof(by)), 0);
    path_from_loopback(&group, &path);
    say(client, &path, "who?");
    hear(server, "who?", &back, &flags);
    assert_int_equal(flags, TF_DATAGRAM_MULTICAST | TF_DATAGRAM_TRUSTED);
    assert_true(is_zero(back.local, sizeof(back.local)));
    /* The other shard's socket did not join, so it hears nothing. */
    assert_false(wait_until(other, TF_LOOP_READ, tf_clock_now()));
    say(server, &back, "I");
    hear(client, "I", &back, &flags);
    assert_int_equal(back.port, tf_socket_port(&local));
    assert_int_equal(back.peer[12], 127);
    tf_socket_close(client);
    tf_socket_close(other);
    tf_socket_close(server);
}

/* A socket that is bound to one address hears no group: one on the group's address does. */
static void hears_a_group_beside_an_address(void **state)
{
    struct tf_socket_address local, group;
    struct tf_datagram_path path, back;
    struct ip_mreqn by = {.imr_ifindex = (int)loopback_index()};
    uint8_t flags;
    int server = bind_to("127.0.0.1", true, &local), group_server, client;
    (void)state;
    group = address_of("224.0.1.187", tf_socket_port(&local));
    assert_int_equal(tf_datagram_bind_group(&group, loopback_index(), &group_server), TF_OK);
    assert_int_equal(tf_datagram_join(group_server, &group, loopback_index()), TF_OK);
    client = open_to(&group, false);
    assert_int_equal(setsockopt(client, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof(by)), 0);
    path_from_loopback(&group, &path);
    say(client, &path, "who?");
    hear(group_server, "who?", &back, &flags);
    assert_int_equal(flags, TF_DATAGRAM_MULTICAST | TF_DATAGRAM_TRUSTED);
    say(group_server, &back, "we");
    hear(client, "we", &back, &flags);
    assert_int_equal(back.peer[12], 127);
    assert_int_equal(back.port, tf_socket_port(&local));
    assert_false(wait_until(server, TF_LOOP_READ, tf_clock_now()));
    tf_socket_close(client);
    tf_socket_close(group_server);
    tf_socket_close(server);
}

static void hears_groups_of_six(void **state)
{
    static const char *const groups[] = {"ff02::fd", "ff05::fd"};
    struct tf_socket_address any = address_of("::", 0), local, group;
    unsigned indexes[16];
    if (!six_is_there())
        skip();
    size_t count = tf_datagram_interfaces(&any, indexes, 16);
    int server = bind_to("::", true, &local);
    (void)state;
    assert_true(count > 0);
    for (unsigned i = 0; i < 2; i++) {
        group = address_of(groups[i], 0);
        for (size_t j = 0; j < count; j++)
            assert_int_equal(tf_datagram_join(server, &group, indexes[j]), TF_OK);
    }
    /* To a group on each of its links: those that have none say so, the others are heard. */
    for (size_t j = 0; j < count; j++) {
        struct tf_datagram_path path, back;
        struct tf_datagram out = {&path, tf_bytes_str("who?"), 0};
        size_t sent, lost;
        uint8_t flags;
        int client = open_to(&local, false);
        group = address_of("ff02::fd", tf_socket_port(&local));
        tf_datagram_path_to(&group, &path);
        path.scope = indexes[j];
        assert_int_equal(tf_datagram_send(client, &out, 1, &sent, &lost), TF_OK);
        if (!lost) {
            hear(server, "who?", &back, &flags);
            assert_true(flags & TF_DATAGRAM_MULTICAST);
            assert_true(is_zero(back.local, sizeof(back.local)));
        }
        tf_socket_close(client);
    }
    tf_socket_close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_from_the_address_it_was_asked_at),
        cmocka_unit_test(keeps_batches_in_order),
        cmocka_unit_test(cuts_trains),
        cmocka_unit_test(sends_large_ones),
        cmocka_unit_test(drops_what_is_too_long),
        cmocka_unit_test(gives_up_one_and_sends_the_others),
        cmocka_unit_test(outlives_refusals),
        cmocka_unit_test(waits_for_room),
        cmocka_unit_test(says_that_it_is_no_socket),
        cmocka_unit_test(shares_its_port_only_when_told),
        cmocka_unit_test(spreads_peers_over_the_shards),
        cmocka_unit_test(hears_a_group_and_answers_from_itself),
        cmocka_unit_test(hears_a_group_beside_an_address),
        cmocka_unit_test(hears_groups_of_six),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
