/*
 * Calls of a command over real sockets: addresses in turn, answers, failures and what they come to.
 *
 * The server is a process of its own that answers by the first segment of the path.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/coap_run.h"

#define CALLS_MAX 8

/* ---- the server ---- */

static bool is_path(const struct tf_coap_message *message, const char *name)
{
    struct tf_bytes value;
    return tf_coap_option_find(message->options, TF_COAP_URI_PATH, &value) &&
           tf_bytes_equal(value, tf_bytes_str(name));
}

/* The answer to a message; empty: none. */
static struct tf_bytes answer_to(const struct tf_coap_message *in, uint8_t *buffer, size_t size)
{
    struct tf_coap_encoder out;
    const struct tf_bytes none = {NULL, 0};
    bool ping = in->code == TF_COAP_EMPTY;
    if (in->type > TF_COAP_NON || is_path(in, "silent")) {
        return none;
    }
    if (ping || is_path(in, "reset")) {
        tf_coap_encode(&out, buffer, size, TF_COAP_RST, TF_COAP_EMPTY, in->message_id, none);
        return tf_coap_encoded(&out);
    }
    tf_coap_encode(&out, buffer, size, TF_COAP_ACK,
                   is_path(in, "refused") ? TF_COAP_NOT_FOUND : TF_COAP_CONTENT, in->message_id,
                   in->token);
    if (is_path(in, "nonsense")) { /* a block that was not asked for */
        tf_coap_encode_uint(&out, TF_COAP_BLOCK2, 7 << 4 | 8);
    }
    tf_coap_encode_payload(&out, tf_bytes_str(is_path(in, "nonsense") ? "0123456789abcdef" : "ok"));
    return tf_coap_encoded(&out);
}

static void serve(int fd)
{
    for (;;) {
        uint8_t in[2048], buffer[2048];
        struct sockaddr_storage peer;
        socklen_t length = sizeof(peer);
        struct tf_coap_message message;
        ssize_t got = recvfrom(fd, in, sizeof(in), 0, (struct sockaddr *)&peer, &length);
        if (got <= 0 || tf_coap_decode(&message, tf_bytes_of(in, (size_t)got))) {
            continue;
        }
        struct tf_bytes out = answer_to(&message, buffer, sizeof(buffer));
        if (out.length) {
            (void)!sendto(fd, out.data, out.length, 0, (struct sockaddr *)&peer, length);
        }
    }
}

struct server {
    pid_t pid;
    uint16_t port;
};

static int start(void **state)
{
    static struct server server;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) ||
        getsockname(fd, (struct sockaddr *)&address, &length)) {
        return -1;
    }
    fflush(NULL);
    server.pid = fork();
    if (server.pid == 0) {
        serve(fd);
    }
    close(fd);
    server.port = ntohs(address.sin_port);
    *state = &server;
    return 0;
}

static int stop(void **state)
{
    const struct server *server = *state;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    return 0;
}

/* ---- a command ---- */

struct command {
    struct tf_cli_coap_run run;
    struct tf_cli_coap_options options;
    struct tf_cli_coap_target targets[CALLS_MAX];
    struct tf_cli_coap_call calls[CALLS_MAX];
    char urls[CALLS_MAX][64];
    size_t count;
    char seen[256]; /* a word for each thing that has happened */
};

static void on_answer(void *ctx, struct tf_cli_coap_call *call,
                      const struct tf_cli_coap_answer *answer)
{
    struct command *command = ctx;
    char word[32];
    snprintf(word, sizeof(word), "%zu:%u.%02u:%.*s ", (size_t)(call - command->calls),
             tf_coap_class(answer->code), answer->code & 31u, (int)answer->body.length,
             (const char *)answer->body.data);
    strcat(command->seen, word);
}

static void on_failed(void *ctx, struct tf_cli_coap_call *call)
{
    struct command *command = ctx;
    char word[32];
    snprintf(word, sizeof(word), "%zu:failed ", (size_t)(call - command->calls));
    strcat(command->seen, word);
}

static void on_pong(void *ctx, struct tf_cli_coap_call *call, uint32_t round_trip_us)
{
    struct command *command = ctx;
    (void)call;
    assert_true(round_trip_us < 10 * TF_SECOND);
    strcat(command->seen, "pong ");
}

static struct command *command_new(void)
{
    struct command *command = calloc(1, sizeof(*command));
    assert_non_null(command);
    command->run.base.command = "test";
    command->run.task = (struct tf_cli_coap_task){
        .answer = on_answer, .pong = on_pong, .failed = on_failed, .ctx = command};
    assert_int_equal(tf_cli_coap_run_init(&command->run), TF_OK);
    return command;
}

static struct tf_cli_coap_call *add(struct command *command, uint16_t port, const char *path)
{
    char why[TF_CLI_COAP_WHY];
    size_t i = command->count++;
    snprintf(command->urls[i], sizeof(command->urls[i]), "coap://127.0.0.1:%u/%s", port, path);
    assert_int_equal(tf_cli_coap_target_init(&command->targets[i], command->urls[i], NULL,
                                             &command->options, why),
                     TF_OK);
    command->calls[i] = (struct tf_cli_coap_call){.target = &command->targets[i],
                                                  .request = {.method = TF_COAP_GET}};
    return &command->calls[i];
}

/* Begins what was added, runs, and checks the end. */
static void check(struct command *command, int code, const char *seen)
{
    for (size_t i = 0; i < command->count; i++) {
        assert_int_equal(tf_cli_coap_run_call(&command->run, &command->calls[i]), TF_OK);
    }
    assert_int_equal(tf_cli_run_loop(&command->run.base), code);
    assert_string_equal(command->seen, seen);
    tf_cli_coap_run_release(&command->run);
    for (size_t i = 0; i < command->count; i++) {
        tf_cli_coap_target_release(&command->targets[i]);
    }
    free(command);
}

/* ---- tests ---- */

static void test_answers_in_order(void **state)
{
    const struct server *server = *state;
    struct command *command = command_new();
    add(command, server->port, "a");
    add(command, server->port, "b");
    add(command, server->port, "c");
    check(command, TF_EXIT_DONE, "0:2.05:ok 1:2.05:ok 2:2.05:ok ");
}

/* The first address of the loopback is that of IPv6, where nobody listens. */
static void test_next_address(void **state)
{
    const struct server *server = *state;
    struct command *command = command_new();
    add(command, server->port, "a");
    add(command, server->port, "b");
    command->targets[0].host[0] = command->targets[1].host[0] = 0;
    check(command, TF_EXIT_DONE, "0:2.05:ok 1:2.05:ok ");
}

static void test_nobody_there(void **state)
{
    struct command *command = command_new();
    (void)state;
    add(command, 9, "a");
    add(command, 9, "b");
    command->targets[0].host[0] = command->targets[1].host[0] = 0;
    check(command, TF_EXIT_NETWORK, "0:failed 1:failed ");
}

/* What one of them comes to does not touch the others; the first code stays. */
static void test_refused_among_others(void **state)
{
    const struct server *server = *state;
    struct command *command = command_new();
    add(command, server->port, "a");
    add(command, server->port, "reset");
    add(command, 9, "x");
    add(command, server->port, "b");
    for (size_t i = 0; i < command->count; i++) {
        assert_int_equal(tf_cli_coap_run_call(&command->run, &command->calls[i]), TF_OK);
    }
    int code = tf_cli_run_loop(&command->run.base);
    assert_true(code == TF_EXIT_NETWORK || code == TF_EXIT_REFUSED);
    assert_non_null(strstr(command->seen, "0:2.05:ok "));
    assert_non_null(strstr(command->seen, "1:failed "));
    assert_non_null(strstr(command->seen, "2:failed "));
    assert_non_null(strstr(command->seen, "3:2.05:ok "));
    command->count = 4;
    tf_cli_coap_run_release(&command->run);
    for (size_t i = 0; i < command->count; i++) {
        tf_cli_coap_target_release(&command->targets[i]);
    }
    free(command);
}

static void test_an_error_is_an_answer(void **state)
{
    const struct server *server = *state;
    struct command *command = command_new();
    add(command, server->port, "refused");
    check(command, TF_EXIT_DONE, "0:4.04:ok ");
}

static void test_nonsense(void **state)
{
    const struct server *server = *state;
    struct command *command = command_new();
    add(command, server->port, "nonsense");
    check(command, TF_EXIT_NETWORK, "0:failed ");
}

static void test_ping(void **state)
{
    const struct server *server = *state;
    struct command *command = command_new();
    add(command, server->port, "")->ping = true;
    check(command, TF_EXIT_DONE, "pong ");
}

/* No answer: by the machine's own count, and by the time of the whole. */
static void test_time_out(void **state)
{
    const struct server *server = *state;
    struct command *command = command_new();
    command->run.transmission =
        (struct tf_coap_transmission){.ack_timeout_ms = 1, .max_retransmit = 2};
    add(command, server->port, "silent");
    check(command, TF_EXIT_TIMEOUT, "0:failed ");
    command = command_new();
    command->run.base.timeout_us = 20 * TF_MILLISECOND;
    add(command, server->port, "silent");
    add(command, server->port, "silent");
    check(command, TF_EXIT_TIMEOUT, "0:failed 1:failed ");
}

/* An answer that nobody asked for may stay away. */
static void test_silence_that_was_asked_for(void **state)
{
    const struct server *server = *state;
    struct command *command = command_new();
    command->run.base.timeout_us = 20 * TF_MILLISECOND;
    struct tf_cli_coap_call *call = add(command, server->port, "silent");
    call->silent = call->request.non = true;
    check(command, TF_EXIT_DONE, "0:failed ");
}

static void test_not_to_be_observed(void **state)
{
    const struct server *server = *state;
    struct command *command = command_new();
    add(command, server->port, "a")->request.observe = true;
    check(command, TF_EXIT_DONE, "0:2.05:ok ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_in_order),
        cmocka_unit_test(test_next_address),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_refused_among_others),
        cmocka_unit_test(test_an_error_is_an_answer),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_time_out),
        cmocka_unit_test(test_silence_that_was_asked_for),
        cmocka_unit_test(test_not_to_be_observed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
