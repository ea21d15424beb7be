/*
 * The listening sockets of a configuration: for connections one, for datagrams one a shard on one
 * port, and those of groups.
 */
#include "broker/listen.h"

#include "base/util.h"
#include "port/clock.h"
#include "port/datagram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROOM (4 * TF_LISTEN_ADDRESSES)

/* A configuration of one listener for each URL, and what listens for it. */
struct rig {
    struct tf_config config;
    struct tf_log log;
    struct tf_listen_socket sockets[ROOM];
    size_t count;
};

static void rig_open(struct rig *rig, const char *const *urls)
{
    struct tf_log_config log = {.types = 0, .wall_us = tf_clock_wall};
    struct tf_config_report report;
    memset(rig, 0, sizeof(*rig));
    tf_log_init(&rig->log, &log);
    tf_config_report_init(&report);
    tf_config_init_default(&rig->config);
    for (; *urls; urls++) {
        assert_int_equal(tf_config_add_url(&rig->config, *urls, &report), TF_OK);
    }
    assert_int_equal(tf_config_finish(&rig->config, &report), TF_OK);
    tf_config_report_release(&report);
}

static enum tf_err rig_listen(struct rig *rig, size_t listener, unsigned shards)
{
    const char *scheme = tf_config_protocol_info(rig->config.listeners[listener].protocol)->name;
    return tf_listen_open(&rig->config, listener, scheme, shards, &rig->log, rig->sockets,
                          &rig->count);
}

static void rig_close(struct rig *rig)
{
    for (size_t i = 0; i < rig->count; i++) {
        tf_listen_close(&rig->sockets[i]);
    }
    tf_config_release(&rig->config);
}

/* True if the machine has IPv6. */
static bool six_is_there(void)
{
    struct tf_socket_address address;
    size_t count;
    int fd;
    assert_int_equal(tf_socket_resolve("::1", 0, true, &address, 1, &count), TF_OK);
    if (tf_datagram_bind(&address, false, &fd)) {
        return false;
    }
    tf_socket_close(fd);
    return true;
}

static uint16_t port_of(int fd)
{
    struct tf_socket_address local;
    assert_int_equal(tf_socket_local(fd, &local), TF_OK);
    return tf_socket_port(&local);
}

static void shares_one_free_port(void **state)
{
    static const char *const urls[] = {"mqtt://127.0.0.1:0", "coap://127.0.0.1:0", "coap://[::1]:0",
                                       NULL};
    static const char *const hosts[] = {"mqtt://127.0.0.1", "coap://127.0.0.1", "coap://[::1]"};
    struct rig rig;
    (void)state;
    rig_open(&rig, urls);
    for (size_t i = 0; i < (six_is_there() ? 3 : 2); i++) {
        char url[TF_LISTEN_URL];
        assert_int_equal(rig_listen(&rig, i, 3), TF_OK);
        assert_int_equal(rig.count, i + 1);
        const struct tf_listen_socket *socket = &rig.sockets[i];
        assert_int_equal(socket->listener, i);
        assert_int_equal(socket->fd_count, i ? 3 : 1);
        assert_int_equal(socket->shard_fds, i ? 3 : 0);
        assert_int_not_equal(socket->port, 0);
        for (unsigned j = 0; j < socket->fd_count; j++) {
            assert_int_equal(port_of(socket->fds[j]), socket->port);
        }
        snprintf(url, sizeof(url), "%s:%u", hosts[i], socket->port);
        assert_string_equal(socket->url, url);
    }
    rig_close(&rig);
}

/* Also when who has it would share it: another broker's shards, for one. */
static void fails_on_a_port_in_use(void **state)
{
    static const char *const urls[] = {"coap://127.0.0.1:0", "coap://127.0.0.1:0",
                                       "mqtt://127.0.0.1:0", NULL};
    struct rig rig;
    (void)state;
    rig_open(&rig, urls);
    assert_int_equal(rig_listen(&rig, 0, 2), TF_OK);
    for (size_t i = 1; i < 3; i++) {
        rig.config.listeners[i].port = rig.sockets[0].port;
    }
    assert_int_equal(rig_listen(&rig, 1, 2), TF_EXISTS);
    assert_int_equal(rig.count, 1);
    assert_int_equal(rig_listen(&rig, 2, 2), TF_OK); /* the ports of TCP are others */
    assert_int_equal(rig.count, 2);
    tf_listen_close(&rig.sockets[0]);
    rig.sockets[0] = rig.sockets[--rig.count];
    assert_int_equal(rig_listen(&rig, 1, 2), TF_OK);
    rig_close(&rig);
}

static void may_fail_if_told(void **state)
{
    static const char *const urls[] = {"coap://192.0.2.1:0", NULL}; /* RFC 5737: nobody has it */
    struct rig rig;
    (void)state;
    rig_open(&rig, urls);
    assert_int_equal(rig_listen(&rig, 0, 2), TF_IO);
    rig.config.listeners[0].may_fail = true;
    assert_int_equal(rig_listen(&rig, 0, 2), TF_OK);
    assert_int_equal(rig.count, 0);
    rig_close(&rig);
}

/* What is bound to one address needs a socket for each group of its version of IP. */
static void hears_groups(void **state)
{
    static const char *const urls[] = {"coap://0.0.0.0:0", "coap://127.0.0.1:0", "coap://[::]:0",
                                       "coap://[::1]:0", NULL};
    static const unsigned groups[] = {0, 1, 0, 2};
    struct rig rig;
    (void)state;
    rig_open(&rig, urls);
    for (size_t i = 0; i < (six_is_there() ? 4 : 2); i++) {
        struct tf_socket_address group;
        size_t count;
        assert_int_equal(
            tf_socket_resolve(i < 2 ? "224.0.1.187" : "ff05::fd", 0, true, &group, 1, &count),
            TF_OK);
        rig.config.listeners[i].coap_multicast = true;
        assert_int_equal(rig_listen(&rig, i, 2), TF_OK);
        const struct tf_listen_socket *socket = &rig.sockets[i];
        assert_int_equal(socket->shard_fds, 2);
        assert_int_equal(socket->fd_count, 2 + groups[i]);
        for (unsigned j = 0; j < socket->fd_count; j++) {
            assert_int_equal(port_of(socket->fds[j]), socket->port);
        }
        /* It has joined: the last of the sockets of groups, or else that of the first shard. */
        unsigned index[16];
        struct tf_socket_address own;
        assert_int_equal(tf_socket_local(socket->fds[0], &own), TF_OK);
        assert_true(tf_datagram_interfaces(&own, index, 16) > 0);
        assert_int_equal(
            tf_datagram_join(socket->fds[groups[i] ? socket->fd_count - 1 : 0], &group, index[0]),
            TF_EXISTS);
        if (groups[i] == 0) { /* and no other shard has */
            assert_int_equal(tf_datagram_join(socket->fds[1], &group, index[0]), TF_OK);
        }
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_one_free_port),
        cmocka_unit_test(fails_on_a_port_in_use),
        cmocka_unit_test(may_fail_if_told),
        cmocka_unit_test(hears_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
