/*
 * The commands against a broker that follows a script: what they send, what they say, and the exit
 * code. The broker is a child process, so that the commands run as they do in earnest.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "command_rig.h"
#include "port/socket.h"

#define DEADLINE_MS 10000

enum action {
    END,    /* of the script: the peer must close */
    EXPECT, /* a packet whose first byte is `byte`; CONNECT: of version `version` */
    SEND,   /* `data` */
    CLOSE,  /* and take the next connection */
};

struct step {
    enum action action;
    uint8_t byte, version;
    const char *data;
    size_t length;
};

#define CONNECT_5                \
    {                            \
        EXPECT, 0x10, 5, NULL, 0 \
    }
#define CONNECT_4                \
    {                            \
        EXPECT, 0x10, 4, NULL, 0 \
    }
#define GET(first)                \
    {                             \
        EXPECT, first, 0, NULL, 0 \
    }
#define PUT(text)                          \
    {                                      \
        SEND, 0, 0, text, sizeof(text) - 1 \
    }
#define HANG_UP              \
    {                        \
        CLOSE, 0, 0, NULL, 0 \
    }
#define GOODBYE            \
    GET(0xE0),             \
    {                      \
        END, 0, 0, NULL, 0 \
    }
#define DONE               \
    {                      \
        END, 0, 0, NULL, 0 \
    }

#define CONNACK_5 PUT("\x20\x03\x00\x00\x00")
#define CONNACK_4 PUT("\x20\x02\x00\x00")
/* SUBACK for id 1: QoS 0, one filter or two */
#define SUBACK_5 PUT("\x90\x04\x00\x01\x00\x00")
#define SUBACK_5_TWO PUT("\x90\x05\x00\x01\x00\x00\x00")

/* ---- the broker ---- */

static bool ready(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    return poll(&entry, 1, DEADLINE_MS) == 1;
}

/* Exactly `length` bytes; false: they do not come. */
static bool read_all(int fd, uint8_t *data, size_t length)
{
    while (length) {
        size_t got = 0;
        if (!ready(fd, POLLIN)) {
            return false;
        }
        enum tf_err err = tf_socket_read(fd, data, length, &got);
        if (err && err != TF_AGAIN) {
            return false;
        }
        data += got;
        length -= got;
    }
    return true;
}

/* Reads a packet of at most 127 bytes behind its header. */
static bool expect(int fd, const struct step *step)
{
    uint8_t head[2], body[128];
    if (!read_all(fd, head, 2) || head[1] > 127 || !read_all(fd, body, head[1]) ||
        head[0] != step->byte) {
        return false;
    }
    return step->byte != 0x10 || (head[1] > 6 && body[6] == step->version);
}

static int take_connection(int listener)
{
    int fd;
    struct tf_socket_address peer;
    return ready(listener, POLLIN) && !tf_socket_accept(listener, &fd, &peer) ? fd : -1;
}

/* Follows the script; 0: the command did as it says. Else the number of the step that failed. */
static int follow(int listener, const struct step *steps)
{
    int fd = take_connection(listener);
    for (int i = 0; fd >= 0; i++) {
        struct tf_bytes span = tf_bytes_of(steps[i].data, steps[i].length);
        size_t sent = 0;
        uint8_t byte;
        switch (steps[i].action) {
        case EXPECT:
            if (!expect(fd, &steps[i])) {
                return i + 1;
            }
            break;
        case SEND:
            if (tf_socket_writev(fd, &span, 1, &sent) || sent != span.length) {
                return i + 1;
            }
            break;
        case CLOSE:
            tf_socket_close(fd);
            if (steps[i + 1].action == END) {
                return 0;
            }
            fd = take_connection(listener);
            break;
        default:
            return read_all(fd, &byte, 1) || !ready(fd, POLLIN) ? i + 1 : 0;
        }
    }
    return 100;
}

/* ---- the command ---- */

/* Runs `words`, in which %u is the port, against a script. */
static void run_it(struct command_run *ret_run, int (*command)(int argc, char **argv),
                   const char *words, const struct step *steps)
{
    struct tf_socket_address address;
    size_t count;
    int listener, status;
    assert_int_equal(tf_socket_resolve("127.0.0.1", 0, true, &address, 1, &count), TF_OK);
    assert_int_equal(tf_socket_listen(&address, false, &listener), TF_OK);
    assert_int_equal(tf_socket_local(listener, &address), TF_OK);
    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(follow(listener, steps));
    }
    tf_socket_close(listener);
    command_run(ret_run, command, words, tf_socket_port(&address));
    assert_true(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("%s: the script failed at step %d; exit %d, %s", words, WEXITSTATUS(status),
                 ret_run->code, ret_run->errors);
    }
}

static void check_it(int (*command)(int argc, char **argv), const char *words,
                     const struct step *steps, int code, const char *sentence, const char *output)
{
    static struct command_run run; /* it is large */
    run_it(&run, command, words, steps);
    if (run.code != code || !strstr(run.errors, sentence) || strcmp(run.output, output) != 0) {
        fail_msg("%s: exit %d, not %d; said: %s, printed: %s", words, run.code, code, run.errors,
                 run.output);
    }
    if (sentence[0] == 0 && run.errors[0]) {
        fail_msg("%s: said: %s", words, run.errors);
    }
}

/* ---- connecting ---- */

static void test_falls_back(void **state)
{
    static const struct step refused[] = {
        CONNECT_5, PUT("\x20\x03\x00\x84\x00"), HANG_UP, CONNECT_4, CONNACK_4,
        GET(0x32), PUT("\x40\x02\x00\x01"),     GOODBYE};
    static const struct step old_code[] = {
        CONNECT_5, PUT("\x20\x02\x00\x01"), HANG_UP, CONNECT_4, CONNACK_4, GET(0x30), GOODBYE};
    static const struct step closed[] = {CONNECT_5, HANG_UP,   CONNECT_4,
                                         CONNACK_4, GET(0x30), GOODBYE};
    (void)state;
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -q 1", refused, 0, "", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x", closed, 0, "", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x", old_code, 0, "", "");
}

static void test_does_not_fall_back(void **state)
{
    static const struct step refused[] = {CONNECT_5, PUT("\x20\x03\x00\x84\x00"), DONE};
    static const struct step closed[] = {CONNECT_5, HANG_UP, DONE};
    (void)state;
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x --expiry 3", refused, 5, "--expiry", "");
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a --no-local", refused, 5, "--no-local", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -V 5", refused, 5, "0x84", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -V 5", closed, 3, "lost", "");
}

static void test_refused(void **state)
{
    static const struct step bad_password[] = {
        CONNECT_5, PUT("\x20\x0B\x00\x86\x08\x1F\x00\x05go \x1b!"), DONE};
    static const struct step not_authorized_4[] = {CONNECT_4, PUT("\x20\x02\x00\x05"), DONE};
    static const struct step quota[] = {CONNECT_5, PUT("\x20\x03\x00\x97\x00"), DONE};
    (void)state;
    check_it(tf_cli_pub, "pub mqtt://u:p@127.0.0.1:%u/a -m x", bad_password, 4, "go ?!", "");
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a -V 4", not_authorized_4, 4, "0x87", "");
    check_it(tf_cli_get, "get mqtt://127.0.0.1:%u/a", quota, 5, "Quota exceeded", "");
}

static void test_broken_peer(void **state)
{
    static const struct step garbage[] = {CONNECT_4, CONNACK_4, PUT("\xF0\xFF\xFF\xFF\xFF\xFF"),
                                          HANG_UP, DONE};
    static const struct step silent[] = {CONNECT_5, DONE};
    static const struct step closed[] = {CONNECT_5, CONNACK_5, GET(0x82), HANG_UP, DONE};
    (void)state;
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a -V 4", garbage, 3, "protocol", "");
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a -W 0.2", silent, 6, "0.2 s", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -W 0.2", silent, 6, "0.2 s", "");
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a", closed, 3, "lost", "");
}

static void test_server_says_goodbye(void **state)
{
    static const struct step taken_over[] = {CONNECT_5, CONNACK_5, GET(0x82),
                                             PUT("\xE0\x02\x8E\x00"), DONE};
    static const struct step shutting_down[] = {CONNECT_5, CONNACK_5, GET(0x82),
                                                PUT("\xE0\x02\x8B\x00"), DONE};
    (void)state;
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a", taken_over, 5, "Session taken over", "");
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a", shutting_down, 3, "shutting down", "");
}

/* ---- publishing ---- */

static void test_pub_acknowledged(void **state)
{
    static const struct step once[] = {CONNECT_5, CONNACK_5, GET(0x32), PUT("\x40\x02\x00\x01"),
                                       GOODBYE};
    static const struct step exactly[] = {CONNECT_5, CONNACK_5,
                                          GET(0x35), PUT("\x50\x02\x00\x01"),
                                          GET(0x62), PUT("\x70\x02\x00\x01"),
                                          GOODBYE};
    static const struct step thrice[] = {CONNECT_5, CONNACK_5, GET(0x31),
                                         GET(0x31), GET(0x31), GOODBYE};
    /* Receive Maximum 1: the second waits for the first */
    static const struct step window[] = {CONNECT_5, PUT("\x20\x06\x00\x00\x03\x21\x00\x01"),
                                         GET(0x32), PUT("\x40\x02\x00\x01"),
                                         GET(0x32), PUT("\x40\x02\x00\x01"),
                                         GOODBYE};
    (void)state;
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -q 1", once, 0, "", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -q 2 -r", exactly, 0, "", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -n -r --repeat 3", thrice, 0, "", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -q 1 --repeat 2", window, 0, "", "");
}

static void test_pub_refused(void **state)
{
    static const struct step quota[] = {CONNECT_5, CONNACK_5, GET(0x32),
                                        PUT("\x40\x0A\x00\x01\x97\x06\x1F\x00\x03one"), GOODBYE};
    static const struct step no_qos[] = {CONNECT_5, PUT("\x20\x05\x00\x00\x02\x24\x00"), GOODBYE};
    static const struct step small[] = {CONNECT_5, PUT("\x20\x08\x00\x00\x05\x27\x00\x00\x00\x05"),
                                        GOODBYE};
    static const struct step lost[] = {CONNECT_5, CONNACK_5, GET(0x32), HANG_UP, DONE};
    (void)state;
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -q 1", quota, 5, "Quota exceeded (0x97)",
             "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -q 1", no_qos, 5, "QoS", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m long", small, 5, "4 bytes", "");
    check_it(tf_cli_pub, "pub mqtt://127.0.0.1:%u/a -m x -q 1", lost, 3, "lost", "");
}

/* ---- receiving ---- */

static void test_sub(void **state)
{
    static const struct step count[] = {CONNECT_5,
                                        CONNACK_5,
                                        GET(0x82),
                                        PUT("\x90\x04\x00\x01\x00\x01"),
                                        PUT("\x30\x05\x00\x01"
                                            "a\x00"
                                            "1"),
                                        PUT("\x32\x07\x00\x01"
                                            "a\x00\x09\x00"
                                            "2"),
                                        PUT("\x32\x07\x00\x01"
                                            "a\x00\x0A\x00"
                                            "3"),
                                        GET(0x40), /* of the second; the third is not taken */
                                        GOODBYE};
    (void)state;
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a -q 1 -n 2 -v", count, 0, "", "a 1\na 2\n");
}

static void test_sub_refused(void **state)
{
    static const struct step refused[] = {CONNECT_5, CONNACK_5, GET(0x82),
                                          PUT("\x90\x04\x00\x01\x00\x87"), GOODBYE};
    static const struct step lower[] = {CONNECT_5, CONNACK_5, GET(0x82), SUBACK_5, GOODBYE};
    (void)state;
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a/+", refused, 5, "a/+: Not authorized", "");
    check_it(tf_cli_sub, "sub mqtt://127.0.0.1:%u/a -q 1 -W 0.3", lower, 6, "at QoS 0", "");
}

static void test_get(void **state)
{
    static const struct step none[] = {CONNECT_5,
                                       CONNACK_5,
                                       GET(0x82),
                                       SUBACK_5,
                                       PUT("\x30\x05\x00\x01"
                                           "a\x00"
                                           "1"),
                                       GOODBYE};
    static const struct step there[] = {CONNECT_5, CONNACK_5, GET(0x82),
                                        PUT("\x31\x05\x00\x01"
                                            "a\x00"
                                            "1"),
                                        GOODBYE};
    (void)state;
    check_it(tf_cli_get, "get mqtt://127.0.0.1:%u/a -W 0.2", none, 5, "no value at a", "");
    check_it(tf_cli_get, "get mqtt://127.0.0.1:%u/a", there, 0, "", "1\n");
}

/* A broker that is not Trefoil. */
static void test_list_of_another_broker(void **state)
{
    static const struct step other[] = {CONNECT_5,
                                        CONNACK_5,
                                        GET(0x82),
                                        SUBACK_5_TWO,
                                        PUT("\x31\x1A\x00\x13$SYS/broker/version\x00"
                                            "v 9\x07"),
                                        GOODBYE};
    static const struct step silent[] = {CONNECT_5, CONNACK_5, GET(0x82), SUBACK_5_TWO, GOODBYE};
    static const struct step refused[] = {CONNECT_5, CONNACK_5, GET(0x82),
                                          PUT("\x90\x05\x00\x01\x00\x87\x87"), GOODBYE};
    (void)state;
    check_it(tf_cli_list, "queues mqtt://127.0.0.1:%u -W 0.1", other, 5, "\"v 9?\"", "");
    check_it(tf_cli_list, "sessions mqtt://127.0.0.1:%u -W 0.1", silent, 5, "not Trefoil", "");
    check_it(tf_cli_list, "connections mqtt://127.0.0.1:%u", refused, 5, "Not authorized", "");
}

static void test_list(void **state)
{
    static const struct step rows[] = {
        CONNECT_5,
        CONNACK_5,
        GET(0x82),
        SUBACK_5_TWO,
        PUT("\x31\x2C\x00\x10$SYS/sessions/bb\x00{\"client\":\"bb\",\"bytes\":9}"),
        PUT("\x31\x2B\x00\x0F$SYS/sessions/a\x00{\"client\":\"a\",\"bytes\":10}"),
        PUT("\x31\x15\x00\x0F$SYS/sessions/x\x00[1]"),
        PUT("\x30\x20\x00\x0F$SYS/sessions/y\x00{\"client\":\"y\"}"),
        GOODBYE};
    (void)state;
    check_it(tf_cli_list, "sessions mqtt://127.0.0.1:%u -W 0.1 -o json", rows, 0, "",
             "[\n{\"client\":\"a\",\"bytes\":10},\n{\"client\":\"bb\",\"bytes\":9}\n]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_falls_back),
        cmocka_unit_test(test_does_not_fall_back),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_broken_peer),
        cmocka_unit_test(test_server_says_goodbye),
        cmocka_unit_test(test_pub_acknowledged),
        cmocka_unit_test(test_pub_refused),
        cmocka_unit_test(test_sub),
        cmocka_unit_test(test_sub_refused),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_list_of_another_broker),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
