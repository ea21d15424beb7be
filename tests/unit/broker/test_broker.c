/*
 * A broker with its threads, driven over loopback: start, reload, end; and what keeps it from
 * starting. The protocol is the echo front of harness.h.
 */
#include "broker/broker.h"

#include "harness.h"

#include "base/util.h"
#include "port/clock.h"
#include "port/datagram.h"
#include "port/folder.h"
#include "port/loop.h"
#include "port/socket.h"
#include "port/thread.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SHARDS 3u

struct running {
    struct tf_broker *broker;
    struct tf_log log;
    struct tf_thread thread;
    enum tf_err result;
    atomic_uint ready, loads;
    bool bad_load;
    unsigned urls;
};

static void configure(struct tf_config *config, const char *url, const char *shards)
{
    struct tf_config_report report;
    tf_config_report_init(&report);
    tf_config_init_default(config);
    assert_int_equal(tf_config_set(config, "shards", shards, "test", &report), TF_OK);
    assert_int_equal(tf_config_add_url(config, url, &report), TF_OK);
    assert_int_equal(tf_config_finish(config, &report), TF_OK);
    tf_config_report_release(&report);
}

static void listening(void *ctx, const char *url)
{
    struct running *running = ctx;
    assert_true(strncmp(url, "mqtt://127.0.0.1:", 17) == 0 ||
                strncmp(url, "coap://127.0.0.1:", 17) == 0);
    running->urls++;
}

static void ready(void *ctx)
{
    struct running *running = ctx;
    atomic_store(&running->ready, 1);
}

static enum tf_err load(void *ctx, struct tf_config *ret_config)
{
    struct running *running = ctx;
    atomic_fetch_add(&running->loads, 1);
    if (running->bad_load) {
        return TF_PROTOCOL;
    }
    configure(ret_config, "mqtt://127.0.0.1:0", "2"); /* another number of shards is kept out */
    ret_config->global_max_connections = 1;
    return TF_OK;
}

static enum tf_err make(struct running *running, struct tf_config *config)
{
    static const struct tf_front_type *const types[] = {&echo_front_type,
                                                        &echo_datagram_front_type};
    struct tf_broker_options options = {.types = types,
                                        .type_count = TF_COUNT(types),
                                        .version = "test",
                                        .log = &running->log,
                                        .listening = listening,
                                        .ready = ready,
                                        .load = load,
                                        .ctx = running};
    struct tf_log_config log = {.types = 0, .wall_us = tf_clock_wall};
    tf_log_init(&running->log, &log);
    return tf_broker_new(&running->broker, config, &options);
}

static void run(void *argument)
{
    struct running *running = argument;
    running->result = tf_broker_run(running->broker);
}

static void start(struct running *running)
{
    struct tf_config config;
    memset(running, 0, sizeof(*running));
    configure(&config, "mqtt://127.0.0.1:0", "3");
    assert_int_equal(make(running, &config), TF_OK);
    assert_int_equal(tf_broker_socket_count(running->broker), 1);
    assert_int_equal(running->urls, 1);
    assert_int_equal(tf_thread_start(&running->thread, "test", run, running), TF_OK);
}

static void stop(struct running *running)
{
    tf_broker_stop(running->broker);
    tf_thread_join(&running->thread);
    assert_int_equal(running->result, TF_OK);
    assert_int_equal(atomic_load(&running->ready), 1);
    tf_broker_free(running->broker);
}

/* Waits in a loop of the test's own for what a client's socket is to become. */
static void await(int fd, unsigned interest)
{
    struct tf_loop *loop;
    struct tf_loop_source source = {0};
    struct tf_loop_event event;
    tf_time end = tf_clock_now() + HARNESS_DEADLINE;
    bool got = false;
    assert_int_equal(tf_loop_new(&loop), TF_OK);
    assert_int_equal(tf_loop_add(loop, &source, fd, interest), TF_OK);
    while (!got) {
        assert_true(tf_clock_now() < end);
        (void)tf_loop_wait(loop, end, tf_clock_now());
        while (tf_loop_next(loop, &event)) {
            got = true;
        }
    }
    tf_loop_remove(loop, &source);
    tf_loop_free(loop);
}

static void say(int fd, const char *text)
{
    struct tf_bytes span = tf_bytes_str(text);
    size_t written;
    await(fd, TF_LOOP_WRITE);
    assert_int_equal(tf_socket_connected(fd), TF_OK);
    assert_int_equal(tf_socket_writev(fd, &span, 1, &written), TF_OK);
    assert_int_equal(written, span.length);
}

static void hear(int fd, const char *text)
{
    char got[64];
    size_t have = 0, length = strlen(text);
    while (have < length) {
        size_t more;
        enum tf_err err = tf_socket_read(fd, got + have, length - have, &more);
        if (err == TF_AGAIN) {
            await(fd, TF_LOOP_READ);
            continue;
        }
        assert_int_equal(err, TF_OK);
        have += more;
    }
    assert_memory_equal(got, text, length);
}

static void hear_end(int fd)
{
    char byte;
    size_t length;
    enum tf_err err;
    while ((err = tf_socket_read(fd, &byte, 1, &length)) == TF_AGAIN) {
        await(fd, TF_LOOP_READ);
    }
    assert_int_equal(err, TF_CLOSED);
}

static void serves_and_ends(void **state)
{
    enum { CLIENTS = 20 };
    struct running running;
    int fds[CLIENTS];
    (void)state;
    start(&running);
    for (unsigned i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(tf_broker_port(running.broker, 0));
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        static const char *const said[] = {"oneM0two", "oneM1two", "oneM2two"};
        say(fds[i], said[i % SHARDS]);
        hear(fds[i], "onetwo");
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        say(fds[i], "F0F1F2x"); /* mail across, in all directions */
        hear(fds[i], "x");
    }
    for (unsigned i = 0; i < CLIENTS / 2; i++) {
        tf_socket_close(fds[i]);
    }
    tf_broker_stop(running.broker);
    for (unsigned i = CLIENTS / 2; i < CLIENTS; i++) {
        hear(fds[i], "bye");
        hear_end(fds[i]);
        tf_socket_close(fds[i]);
    }
    stop(&running);
}

/* Datagrams of many peers, on the same port whatever the shard. */
static void serves_datagrams(void **state)
{
    enum { PEERS = 50 };
    struct running running;
    struct tf_config config;
    struct tf_socket_address address;
    size_t count;
    int fds[PEERS];
    (void)state;
    memset(&running, 0, sizeof(running));
    configure(&config, "coap://127.0.0.1:0", "3");
    assert_int_equal(make(&running, &config), TF_OK);
    assert_int_equal(tf_broker_socket_count(running.broker), 1);
    assert_int_equal(running.urls, 1);
    assert_int_equal(tf_thread_start(&running.thread, "test", run, &running), TF_OK);
    assert_int_equal(tf_socket_resolve("127.0.0.1", tf_broker_port(running.broker, 0), false,
                                       &address, 1, &count),
                     TF_OK);
    for (unsigned i = 0; i < PEERS; i++) {
        struct tf_datagram out = {NULL, tf_bytes_of(&i, sizeof(i)), 0};
        size_t sent, lost;
        assert_int_equal(tf_datagram_open(&address, true, &fds[i]), TF_OK);
        assert_int_equal(tf_datagram_send(fds[i], &out, 1, &sent, &lost), TF_OK);
        assert_int_equal(lost, 0);
    }
    for (unsigned i = 0; i < PEERS; i++) {
        unsigned got;
        size_t length;
        await(fds[i], TF_LOOP_READ);
        assert_int_equal(tf_socket_read(fds[i], &got, sizeof(got), &length), TF_OK);
        assert_int_equal(length, sizeof(got));
        assert_int_equal(got, i);
        tf_socket_close(fds[i]);
    }
    stop(&running);
}

static void ends_without_a_client(void **state)
{
    struct running running;
    (void)state;
    start(&running);
    stop(&running);
}

static void reloads(void **state)
{
    struct running running;
    (void)state;
    start(&running);
    uint16_t port = tf_broker_port(running.broker, 0);
    int first = client_open(port);
    say(first, "a");
    hear(first, "a");
    tf_broker_reload(running.broker);
    /* The new limit is in force some time soon: until then a second one is let in. */
    for (tf_time end = tf_clock_now() + HARNESS_DEADLINE;;) {
        int second = client_open(port);
        char byte;
        size_t length;
        enum tf_err err;
        assert_true(tf_clock_now() < end);
        say(second, "b");
        while ((err = tf_socket_read(second, &byte, 1, &length)) == TF_AGAIN) {
            await(second, TF_LOOP_READ);
        }
        tf_socket_close(second);
        if (err == TF_CLOSED) {
            break;
        }
        assert_int_equal(err, TF_OK);
    }
    say(first, "still");
    hear(first, "still");
    assert_int_equal(atomic_load(&running.loads), 1);
    tf_socket_close(first);
    stop(&running);
}

static void keeps_what_it_has_when_a_reload_is_bad(void **state)
{
    struct running running;
    (void)state;
    start(&running);
    running.bad_load = true; /* read by the broker's thread after the request below */
    tf_broker_reload(running.broker);
    int fds[2] = {client_open(tf_broker_port(running.broker, 0)),
                  client_open(tf_broker_port(running.broker, 0))};
    for (tf_time end = tf_clock_now() + HARNESS_DEADLINE; atomic_load(&running.loads) == 0;) {
        assert_true(tf_clock_now() < end);
        say(fds[0], "x");
        hear(fds[0], "x");
    }
    for (unsigned i = 0; i < 2; i++) {
        say(fds[i], "y");
        hear(fds[i], "y");
        tf_socket_close(fds[i]);
    }
    stop(&running);
}

static void does_not_start_on_a_port_in_use(void **state)
{
    struct running first, second;
    struct tf_config config;
    char url[64];
    (void)state;
    start(&first);
    snprintf(url, sizeof(url), "mqtt://127.0.0.1:%u", tf_broker_port(first.broker, 0));
    memset(&second, 0, sizeof(second));
    configure(&config, url, "1");
    assert_int_equal(make(&second, &config), TF_EXISTS);
    assert_null(second.broker);
    assert_int_equal(second.urls, 0);
    stop(&first);
}

static void does_not_start_on_an_address_of_others(void **state)
{
    struct running running;
    struct tf_config config;
    (void)state;
    memset(&running, 0, sizeof(running));
    configure(&config, "mqtt://192.0.2.1:0", "1"); /* RFC 5737: nobody has it */
    assert_int_equal(make(&running, &config), TF_IO);
}

static void is_freed_without_having_run(void **state)
{
    struct running running;
    struct tf_config config;
    (void)state;
    memset(&running, 0, sizeof(running));
    configure(&config, "mqtt://127.0.0.1:0", "2");
    assert_int_equal(make(&running, &config), TF_OK);
    tf_broker_free(running.broker);
    tf_broker_free(NULL);
}

/* ---- with a store ---- */

static void configure_kept(struct tf_config *config, const char *folder)
{
    configure(config, "mqtt://127.0.0.1:0", "2");
    config->data = strdup(folder);
    assert_non_null(config->data);
}

static void start_kept(struct running *running, const char *folder)
{
    struct tf_config config;
    memset(running, 0, sizeof(*running));
    configure_kept(&config, folder);
    assert_int_equal(make(running, &config), TF_OK);
    assert_int_equal(tf_thread_start(&running->thread, "test", run, running), TF_OK);
}

static enum tf_err remove_file(void *ctx, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", (const char *)ctx, name);
    (void)unlink(path);
    return TF_OK;
}

static void make_folder(char *path, size_t size)
{
    snprintf(path, size, "%s/trefoil-broker-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(path));
}

static void remove_folder(char *path)
{
    assert_int_equal(tf_folder_list(path, remove_file, path), TF_OK);
    assert_int_equal(tf_folder_remove(path), TF_OK);
}

static void keeps_what_it_acknowledges(void **state)
{
    struct running running;
    char folder[PATH_MAX];
    (void)state;
    make_folder(folder, sizeof(folder));
    for (unsigned life = 0; life < 3; life++) {
        start_kept(&running, folder);
        int fds[2] = {client_open(tf_broker_port(running.broker, 0)),
                      client_open(tf_broker_port(running.broker, 0))};
        for (unsigned i = 0; i < 20; i++) {
            say(fds[i % 2], "NaNb"); /* heard when it is on the disk */
            hear(fds[i % 2], "ab");
        }
        tf_broker_stop(running.broker);
        hear(fds[0], "bye");
        hear_end(fds[0]);
        tf_socket_close(fds[0]);
        tf_socket_close(fds[1]);
        stop(&running);
    }
    remove_folder(folder);
}

static void does_not_start_on_a_store_in_use(void **state)
{
    struct running first, second;
    struct tf_config config;
    char folder[PATH_MAX];
    (void)state;
    make_folder(folder, sizeof(folder));
    start_kept(&first, folder);
    memset(&second, 0, sizeof(second));
    configure_kept(&config, folder);
    assert_int_equal(make(&second, &config), TF_CLOSED);
    assert_null(second.broker);
    stop(&first);
    configure_kept(&config, folder);
    assert_int_equal(make(&second, &config), TF_OK);
    tf_broker_free(second.broker);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_and_ends),
        cmocka_unit_test(serves_datagrams),
        cmocka_unit_test(ends_without_a_client),
        cmocka_unit_test(reloads),
        cmocka_unit_test(keeps_what_it_has_when_a_reload_is_bad),
        cmocka_unit_test(does_not_start_on_a_port_in_use),
        cmocka_unit_test(does_not_start_on_an_address_of_others),
        cmocka_unit_test(is_freed_without_having_run),
        cmocka_unit_test(keeps_what_it_acknowledges),
        cmocka_unit_test(does_not_start_on_a_store_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
