/*
 * The commands that speak AMQP against a peer that does as it is told: what they send, print and
 * say, and the exit code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>

#include "amqp_peer.h"
#include "cli/cli.h"
#include "command_rig.h"

typedef int command(int argc, char **argv);

/* `said` and `printed` must be in what is; empty: there must be nothing. */
static void check(const struct peer_script *script, command *run, const char *words, int code,
                  const char *said, const char *printed)
{
    static struct command_run result;
    struct peer peer;
    peer_start(&peer, script);
    command_run(&result, run, words, peer.port);
    int end = peer_end(&peer);
    if (result.code != code || (said[0] ? !strstr(result.errors, said) : result.errors[0]) ||
        (printed[0] ? !strstr(result.output, printed) : result.output[0])) {
        fail_msg("%s: exit %d, not %d; said: %s; printed: %.500s; the peer: %d", words, result.code,
                 code, result.errors, result.output, end - 1);
    }
    if (end) {
        fail_msg("%s: the peer was not content: line %d; said: %s", words, end - 1, result.errors);
    }
}

#define URL "amqp://127.0.0.1:%u/a"

/* ---- pub ---- */

static bool text_is(struct tf_bytes map, const char *name, const char *text)
{
    struct tf_amqp_value value;
    return tf_amqp_map_find(map, tf_bytes_str(name), &value) && value.type == TF_AMQP_STRING &&
           tf_bytes_equal(value.bytes, tf_bytes_str(text));
}

static bool is_whole(const struct tf_amqp_message *message, bool settled)
{
    struct tf_amqp_value value;
    return !settled && message->header.durable && message->header.has_ttl &&
           message->header.ttl_ms == 5000 && message->body_type == TF_AMQP_BODY_DATA &&
           tf_bytes_equal(message->data, tf_bytes_str("x")) &&
           tf_bytes_equal(message->properties.content_type, tf_bytes_str("text/plain")) &&
           tf_bytes_equal(message->properties.reply_to, tf_bytes_str("back")) &&
           tf_amqp_value_of(message->properties.correlation_id, &value) == TF_OK &&
           value.type == TF_AMQP_STRING && tf_bytes_equal(value.bytes, tf_bytes_str("one-seven")) &&
           text_is(message->application_properties, "a", "b=c") &&
           text_is(message->application_properties, "d", "") &&
           tf_amqp_map_find(message->message_annotations, tf_bytes_str("x-opt-retain-message"),
                            &value) &&
           value.type == TF_AMQP_BOOLEAN && value.number == 1;
}

static void test_pub_sections(void **state)
{
    (void)state;
    check(&(struct peer_script){.check = is_whole, .expected = 1}, tf_cli_pub,
          "pub " URL " -m x -r -t text/plain -P a=b=c -P d= --expiry 5 --response back "
          "--correlation one-seven",
          TF_EXIT_DONE, "", "");
}

static bool is_bare_and_settled(const struct tf_amqp_message *message, bool settled)
{
    return settled && !message->header.durable && message->header_section.length == 0 &&
           message->application_properties_section.length == 0 &&
           tf_bytes_equal(message->properties.to, tf_bytes_str("a")) &&
           message->properties.content_type.length == 0 &&
           message->body_type == TF_AMQP_BODY_DATA && message->data.length == 0;
}

static void test_pub_qualities(void **state)
{
    (void)state;
    check(&(struct peer_script){.check = is_bare_and_settled, .expected = 3}, tf_cli_pub,
          "pub " URL " -n -q 0 --repeat 3", TF_EXIT_DONE, "", "");
    check(&(struct peer_script){.expected = 25}, tf_cli_pub, "pub " URL " -m x -q 1 --repeat 25",
          TF_EXIT_DONE, "", "");
    check(&(struct peer_script){.expected = 25}, tf_cli_pub, "pub " URL " -m x -q 2 --repeat 25",
          TF_EXIT_DONE, "", "");
}

static void test_pub_outcomes(void **state)
{
    (void)state;
    struct peer_script script = {.outcome = {.type = TF_AMQP_STATE_REJECTED}, .expected = 1};
    script.outcome.error = tf_amqp_error_of(TF_AMQP_RESOURCE_LIMIT_EXCEEDED, "it is full");
    check(&script, tf_cli_pub, "pub " URL " -m x", TF_EXIT_REFUSED,
          "rejected: amqp:resource-limit-exceeded: it is full", "");
    script.outcome = (struct tf_amqp_state){.type = TF_AMQP_STATE_RELEASED};
    check(&script, tf_cli_pub, "pub " URL " -m x", TF_EXIT_REFUSED, "released", "");
    script.outcome = (struct tf_amqp_state){.type = TF_AMQP_STATE_MODIFIED};
    check(&script, tf_cli_pub, "pub " URL " -m x", TF_EXIT_REFUSED, "modified", "");
    script.expected = 30;
    check(&script, tf_cli_pub, "pub " URL " -m x --repeat 30", TF_EXIT_REFUSED,
          "30 of 30 messages were refused", "");
}

#define LARGE 100000u

static bool is_large(const struct tf_amqp_message *message, bool settled)
{
    (void)settled;
    bool same = message->data.length == LARGE;
    for (size_t i = 0; i < LARGE && same; i++) {
        same = message->data.data[i] == (uint8_t)(i * 7 % 251);
    }
    return same;
}

static void test_pub_large(void **state)
{
    char path[] = "/tmp/trefoil-test-XXXXXX", words[100];
    int fd = mkstemp(path);
    (void)state;
    FILE *file = fdopen(fd, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < LARGE; i++) {
        fputc((uint8_t)(i * 7 % 251), file);
    }
    fclose(file);
    snprintf(words, sizeof(words), "pub amqp://127.0.0.1:%%u/a --repeat 3 -f %s", path);
    check(&(struct peer_script){.check = is_large, .expected = 3, .max_frame_size = 512},
          tf_cli_pub, words, TF_EXIT_DONE, "", "");
    unlink(path);
}

/* ---- sub ---- */

#define DATA(text) "\0Su\240" text
#define BYTES(literal)                                  \
    {                                                   \
        (const uint8_t *)(literal), sizeof(literal) - 1 \
    }

static void test_sub_settles(void **state)
{
    static const char *const words[] = {"sub " URL " -n 2 -q 0", "sub " URL " -n 2",
                                        "sub " URL " -n 2 -q 2"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct peer_script script = {
            .messages = {BYTES(DATA("\3one")), BYTES(DATA("\3two")), BYTES(DATA("\5three"))},
            .message_count = 3,
            .settled = i == 0,
            .expected = 2};
        check(&script, tf_cli_sub, words[i], TF_EXIT_DONE, "", "one\ntwo\n");
    }
}

static void test_sub_json(void **state)
{
    const struct peer_script script = {
        /* delivery-count 2; annotation x; application property n; the value {"a": [1, true]} */
        .messages = {BYTES("\0Sp\300\7\5@@@@R\2"
                           "\0Sr\301\7\2\243\1x\241\1y"
                           "\0Ss\300\14\7@@@@@@\243\3a/b"
                           "\0St\301\6\2\241\1nT\377"
                           "\0Sw\301\12\2\241\1a\300\4\2T\1A")},
        .message_count = 1,
        .expected = 1};
    (void)state;
    check(&script, tf_cli_sub, "sub " URL " -n 1 -o json", TF_EXIT_DONE, "",
          "\"address\":\"a\",\"qos\":1,\"retain\":false,\"dup\":true,\"payload_format\":1,"
          "\"content_type\":\"a/b\","
          "\"user_properties\":{\"n\":-1},\"durable\":false,\"priority\":4,\"delivery_count\":2,"
          "\"annotations\":{\"x\":\"y\"},\"body_json\":{\"a\":[1,true]}}\n");
}

/* ---- what goes wrong ---- */

static void test_refusals(void **state)
{
    struct peer_script script = {.user = "me", .password = "secret"};
    (void)state;
    check(&script, tf_cli_pub, "pub " URL " -m x", TF_EXIT_AUTH, "refused the connection", "");
    check(&script, tf_cli_pub, "pub amqp://me:wrong@127.0.0.1:%u/a -m x", TF_EXIT_AUTH,
          "refused the connection", "");
    script.expected = 1;
    check(&script, tf_cli_pub, "pub amqp://me:secret@127.0.0.1:%u/a -m x", TF_EXIT_DONE, "", "");
    script = (struct peer_script){.open_error = tf_amqp_error_of(TF_AMQP_NOT_ALLOWED, "go away")};
    check(&script, tf_cli_pub, "pub " URL " -m x", TF_EXIT_REFUSED, "amqp:not-allowed: go away",
          "");
    script = (struct peer_script){.link_error = tf_amqp_error_of(TF_AMQP_NOT_FOUND, "no such a")};
    check(&script, tf_cli_pub, "pub " URL " -m x", TF_EXIT_REFUSED,
          "refuses the link to a: amqp:not-found: no such a", "");
    check(&script, tf_cli_sub, "sub " URL " -n 1", TF_EXIT_REFUSED,
          "refuses the link to a: amqp:not-found: no such a", "");
    script = (struct peer_script){.detach_error =
                                      tf_amqp_error_of(TF_AMQP_RESOURCE_DELETED, "just now")};
    check(&script, tf_cli_pub, "pub " URL " -s", TF_EXIT_REFUSED,
          "ended the link to a: amqp:resource-deleted: just now", "");
}

static void test_network(void **state)
{
    (void)state;
    check(&(struct peer_script){.hang_up = true}, tf_cli_sub, "sub " URL, TF_EXIT_NETWORK, "lost",
          "");
    check(&(struct peer_script){.silent = true}, tf_cli_pub, "pub " URL " -m x -W 0.05",
          TF_EXIT_TIMEOUT, "the time is over", "");
    check(&(struct peer_script){.message_count = 0}, tf_cli_sub, "sub " URL " -n 1 -W 0.05",
          TF_EXIT_TIMEOUT, "the time is over", "");
}

/* ---- get and queues ---- */

static void test_get(void **state)
{
    const struct peer_script script = {
        .messages = {BYTES(DATA("\3one"))}, .message_count = 1, .expected = 1};
    (void)state;
    check(&script, tf_cli_get, "get " URL, TF_EXIT_DONE, "", "one\n");
    check(&(struct peer_script){.message_count = 0}, tf_cli_get, "get " URL " -W 0.05",
          TF_EXIT_REFUSED, "has no value at a", "");
}

static void test_queues(void **state)
{
    struct peer_script script = {.status = 200, .operation = "PURGE", .expected = 2};
    (void)state;
    check(&script, tf_cli_queues, "queues purge q amqp://127.0.0.1:%u", TF_EXIT_DONE, "",
          "purged 1000 messages\n");
    script.operation = "MOVE";
    check(&script, tf_cli_queues, "queues move q r amqp://127.0.0.1:%u -n 5 -o json", TF_EXIT_DONE,
          "", "{\"count\":1000,\"messages\":7,\"queue\":\"q\",\"to\":\"r\"}\n");
    script.operation = "DELETE";
    script.status = 409;
    check(&script, tf_cli_queues, "queues delete q --if-empty amqp://127.0.0.1:%u", TF_EXIT_REFUSED,
          "q: as the script says (409)", "");
    script = (struct peer_script){.link_error = tf_amqp_error_of(TF_AMQP_NOT_FOUND, "none")};
    check(&script, tf_cli_queues, "queues show q amqp://127.0.0.1:%u", TF_EXIT_REFUSED,
          "amqp:not-found", "");
}

/* First whether it is there, for a link would make it. */
static void test_peek(void **state)
{
    struct peer_script script = {.messages = {BYTES(DATA("\3one")), BYTES(DATA("\3two"))},
                                 .message_count = 2,
                                 .settled = true,
                                 .status = 200,
                                 .operation = "READ",
                                 .more = 1,
                                 .expected = 4};
    (void)state;
    check(&script, tf_cli_queues, "queues peek q amqp://127.0.0.1:%u", TF_EXIT_DONE, "",
          "one\ntwo\n");
    script.status = 404;
    script.more = 0;
    script.expected = 2;
    check(&script, tf_cli_queues, "queues peek q amqp://127.0.0.1:%u", TF_EXIT_REFUSED, "(404)",
          "");
}

static void test_misuse(void **state)
{
    static const struct {
        command *run;
        const char *words, *said;
    } rows[] = {
        {tf_cli_pub, "pub amqp://h -m x", "no address"},
        {tf_cli_pub, "pub amqp://h/a -m x --will-topic t", "AMQP has no a will"},
        {tf_cli_sub, "sub amqp://h/a mqtt://h/a", "a command each"},
        {tf_cli_sub, "sub amqp://h/a -R", "AMQP has no --new-only"},
        {tf_cli_get, "get amqp://h", "no address"},
        {tf_cli_queues, "queues pruge q", "did you mean \"purge\""},
        {tf_cli_queues, "queues purge", "needs the name"},
        {tf_cli_queues, "queues move a", "needs two queues"},
        {tf_cli_queues, "queues move a amqp://h", "needs two queues"},
        {tf_cli_queues, "queues purge a mqtt://h", "available here: amqp is"},
        {tf_cli_queues, "queues purge a amqp://h/b", "without an address"},
        {tf_cli_queues, "queues purge a -n 3", "--limit is for"},
        {tf_cli_queues, "queues purge a --if-empty", "are for delete"},
        {tf_cli_queues, "queues purge a -o hex", "more is for peek"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static struct command_run result;
        command_run(&result, rows[i].run, rows[i].words, 0);
        if (result.code != TF_EXIT_USAGE || !strstr(result.errors, rows[i].said)) {
            fail_msg("%s: exit %d; said: %s", rows[i].words, result.code, result.errors);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pub_sections), cmocka_unit_test(test_pub_qualities),
        cmocka_unit_test(test_pub_outcomes), cmocka_unit_test(test_pub_large),
        cmocka_unit_test(test_sub_settles),  cmocka_unit_test(test_sub_json),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_network),
        cmocka_unit_test(test_get),          cmocka_unit_test(test_queues),
        cmocka_unit_test(test_peek),         cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
