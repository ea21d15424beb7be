/*
 * `trefoil queues`: the queues of a running broker, and what can be done with one.
 *
 * Listing is cli/list.c's; a queue is read by browsing it, and changed by requests to the broker's
 * management node (cli/amqp_manage.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/amqp_manage.h"
#include "cli/amqp_plain.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/list.h"
#include "cli/print.h"

enum key { KEY_IF_EMPTY = TF_CLI_KEY_OWN + 1, KEY_IF_UNUSED };

struct queues;

/* What can be done with a queue. */
struct verb {
    const char *name;
    const char *operation; /* of the management node; NULL: none */
    const char *done;      /* what is printed before the name */
    unsigned names;        /* how many names it takes */
    bool limit, conditions;
};

struct queues {
    struct tf_cli_connection_options connection;
    struct tf_cli_style style;
    const struct verb *verb; /* NULL: list */
    struct tf_cli_url url;
    const char *names[2];
    tf_time wait_us;
    uint64_t limit;
    bool if_empty, if_unused;
};

static const struct verb verbs[] = {
    {"show", "READ", NULL, 1, false, false},
    {"peek", NULL, NULL, 1, true, false},
    {"purge", "PURGE", "purged", 1, false, false},
    {"delete", "DELETE", "deleted", 1, false, true},
    {"move", "MOVE", "moved", 2, true, false},
    {"declare", "CREATE", "declared", 1, false, false},
};

/* ---- the manual ---- */

static const struct tf_cli_option queues_options[] = {
    {'n', "limit", "COUNT", "peek and move: so many messages at most, the first ones"},
    {KEY_IF_EMPTY, "if-empty", NULL, "delete: only if there is no message in it"},
    {KEY_IF_UNUSED, "if-unused", NULL, "delete: only if nobody consumes from it"},
    {'W', "timeout", "SECONDS",
     "give up when it is not done after that time, by default 30; the list is complete when the "
     "broker has been silent for so long, by default 0.3"},
};

static const struct tf_cli_group queues_group = {"Queues", queues_options,
                                                 TF_COUNT(queues_options)};
static const struct tf_cli_group *const groups[] = {&queues_group, &tf_cli_print_group,
                                                    &tf_cli_connection_group};

static const struct tf_cli_example examples[] = {
    {"trefoil queues", "The queues of the broker on this machine."},
    {"trefoil queues mqtt://broker -o json | jq '.[] | select(.messages > 100) | .queue'",
     "The long ones."},
    {"trefoil queues peek orders -n 3 -o json",
     "The first three messages, which stay where they are."},
    {"trefoil queues move dead/orders orders", "Tries again what had failed."},
    {"trefoil queues purge orders amqp://broker", "Throws away what is in it."},
};

const struct tf_cli_manual tf_cli_queues_manual = {
    .name = "queues",
    .usage = "[show|peek|purge|delete|move|declare NAME [TO]] [URL] [OPTION]...",
    .summary = "list the queues of a running broker, look into them, change them",
    .text = "Without a verb the queues are listed: URL is mqtt://[USER[:PASSWORD]@]HOST[:PORT] or "
            "amqp://..., by default mqtt://localhost. The broker must be Trefoil: it keeps its "
            "queues as JSON objects below $SYS/queues, which any client can read. The session of "
            "the command itself is not in the list.\n\n"
            "With a verb URL is amqp://[USER[:PASSWORD]@]HOST[:PORT], by default "
            "amqp://localhost, and NAME is that of a queue. `show` prints its numbers, `peek` its "
            "messages as `trefoil sub` would, without taking them. `purge` removes the messages "
            "that nobody has been given yet, `delete` the queue with all that is in it; `move` "
            "moves messages to the queue TO; `declare` makes a queue, which stays.",
    .groups = groups,
    .group_count = TF_COUNT(groups),
    .after = "-o text (default) and json are for all of them; what else there is of output is for "
             "peek.\n\n"
             "Exit: 0 done; 1 internal; 2 command line; 3 network; 4 not let in; 5 refused (there "
             "is no such queue, it is in use or not empty), or not a Trefoil broker; 6 the broker "
             "does not answer.",
    .examples = examples,
    .example_count = TF_COUNT(examples)};

#define MANUAL (&tf_cli_queues_manual)

/* ---- the command line ---- */

static int take(void *ctx, int key, const char *value)
{
    struct queues *queues = ctx;
    unsigned long long number = 0;
    int code;
    switch (key) {
    case 'n':
        code = tf_cli_number(MANUAL, "--limit", value, 1, UINT32_MAX, &number);
        queues->limit = number;
        return code;
    case 'W':
        return tf_cli_seconds(MANUAL, "--timeout", value, &queues->wait_us);
    case KEY_IF_EMPTY:
        queues->if_empty = true;
        return -1;
    case KEY_IF_UNUSED:
        queues->if_unused = true;
        return -1;
    default:
        code = tf_cli_print_take(&queues->style, MANUAL, key, value);
        return code == TF_CLI_KEY_OWN ? tf_cli_options_take(&queues->connection, MANUAL, key, value)
                                      : code;
    }
}

/* How many letters two words share at the beginning and at the end. */
static size_t likeness(const char *a, const char *b)
{
    size_t same = 0, left = strlen(a), other = strlen(b), shorter = TF_MIN(left, other);
    while (same < shorter && a[same] == b[same]) {
        same++;
    }
    while (same < shorter && a[left - 1] == b[other - 1]) {
        left--;
        other--;
        same++;
    }
    return same;
}

/* The verb that is most like a word; NULL: none is. */
static const struct verb *nearest(const char *word)
{
    const struct verb *best = NULL;
    size_t most = 1;
    for (size_t i = 0; i < TF_COUNT(verbs); i++) {
        size_t same = likeness(word, verbs[i].name);
        if (same > most) {
            most = same;
            best = &verbs[i];
        }
    }
    return best;
}

static int take_verb(struct queues *queues, const char *word)
{
    for (size_t i = 0; i < TF_COUNT(verbs); i++) {
        if (strcmp(word, verbs[i].name) == 0) {
            queues->verb = &verbs[i];
            return -1;
        }
    }
    const struct verb *near = nearest(word);
    return tf_cli_misuse(MANUAL, "\"%.60s\" is neither a URL nor a verb%s%s%s", word,
                         near ? "; did you mean \"" : "", near ? near->name : "",
                         near ? "\"?" : "");
}

static int take_names(struct queues *queues, int count, char **words)
{
    char why[TF_CLI_URL_WHY];
    const struct verb *verb = queues->verb;
    int names = (int)verb->names;
    bool enough = count >= names;
    for (int i = 0; enough && i < names; i++) {
        enough = !tf_cli_url_is_amqp(words[i]);
    }
    if (!enough) {
        return tf_cli_misuse(MANUAL, "%s needs %s", verb->name,
                             names == 2 ? "two queues: from where, and to where"
                                        : "the name of a queue");
    }
    if (count > names + 1) {
        return tf_cli_misuse(MANUAL, "one URL is enough: what is \"%.60s\"?", words[names + 1]);
    }
    for (int i = 0; i < names; i++) {
        queues->names[i] = words[i];
        if (!words[i][0]) {
            return tf_cli_misuse(MANUAL, "an empty name is no queue's");
        }
    }
    if (tf_cli_url_parse_amqp(count > names ? words[names] : "amqp://localhost", &queues->url,
                              why)) {
        return tf_cli_misuse(MANUAL, "%s", why);
    }
    if (queues->url.address[0]) {
        return tf_cli_misuse(MANUAL, "the URL is that of a broker, without an address: "
                                     "amqp://HOST[:PORT]");
    }
    return -1;
}

/* What the options say together with the verb, or without one. */
static int check(const struct queues *queues)
{
    const struct verb *verb = queues->verb;
    bool shown = queues->style.output == TF_CLI_TEXT || queues->style.output == TF_CLI_JSON;
    bool peek = verb && !verb->operation;
    const char *lacks = verb ? tf_cli_amqp_lacks(&queues->connection) : NULL;
    if (queues->limit && !(verb && verb->limit)) {
        return tf_cli_misuse(MANUAL, "--limit is for peek and move");
    }
    if ((queues->if_empty || queues->if_unused) && !(verb && verb->conditions)) {
        return tf_cli_misuse(MANUAL, "--if-empty and --if-unused are for delete");
    }
    if (!peek && (!shown || queues->style.no_newline)) {
        return tf_cli_misuse(MANUAL, "--output takes text or json here; more is for peek");
    }
    return lacks ? tf_cli_misuse(MANUAL, "AMQP has no %s: leave it out", lacks)
                 : tf_cli_options_check(&queues->connection, MANUAL);
}

/* ---- what is shown ---- */

static int no_memory(void)
{
    tf_cli_say("queues", "no memory");
    return TF_EXIT_INTERNAL;
}

/* The numbers of a queue, a line each. */
static void print_numbers(const char *name, const json_t *answer)
{
    const char *key;
    json_t *value;
    printf("queue %s\n", name);
    json_object_foreach((json_t *)answer, key, value)
    {
        if (strcmp(key, "count") != 0) {
            printf("%s %lld\n", key, (long long)json_integer_value(value));
        }
    }
}

static int print_answer(const struct queues *queues, json_t *answer)
{
    const struct verb *verb = queues->verb;
    long long count = (long long)json_integer_value(json_object_get(answer, "count"));
    if (queues->style.output == TF_CLI_JSON) {
        int failed = json_object_set_new(answer, "queue", json_string(queues->names[0]));
        if (verb->names > 1) {
            failed |= json_object_set_new(answer, "to", json_string(queues->names[1]));
        }
        char *text = failed ? NULL : json_dumps(answer, JSON_COMPACT);
        if (!text) {
            return no_memory();
        }
        puts(text);
        free(text);
    } else if (!verb->done) {
        print_numbers(queues->names[0], answer);
    } else if (strcmp(verb->operation, "CREATE") == 0) {
        printf("%s %s\n", verb->done, queues->names[0]);
    } else if (strcmp(verb->operation, "DELETE") == 0) {
        printf("%s %s with %lld message%s\n", verb->done, queues->names[0], count,
               count == 1 ? "" : "s");
    } else {
        printf("%s %lld message%s\n", verb->done, count, count == 1 ? "" : "s");
    }
    return fflush(stdout) ? TF_EXIT_INTERNAL : TF_EXIT_DONE;
}

/* ---- the command ---- */

static int run(struct queues *queues)
{
    const struct verb *verb = queues->verb;
    const struct tf_cli_amqp_plain plain = {
        .manual = MANUAL, .connection = &queues->connection, .qos = 1};
    const struct tf_cli_amqp_request request = {.operation =
                                                    verb->operation ? verb->operation : "READ",
                                                .name = queues->names[0],
                                                .to = queues->names[1],
                                                .limit = queues->limit,
                                                .if_empty = queues->if_empty,
                                                .if_unused = queues->if_unused};
    json_t *answer = NULL;
    queues->connection.timeout_us = queues->wait_us;
    int code = tf_cli_amqp_manage(&plain, &queues->url, &request, &answer);
    if (code == TF_EXIT_DONE && !verb->operation) { /* it is there: no link is to make it */
        tf_cli_print_complete(&queues->style);
        code =
            tf_cli_amqp_peek(&plain, &queues->style, queues->limit, queues->names[0], &queues->url);
    } else if (code == TF_EXIT_DONE) {
        code = print_answer(queues, answer);
    }
    json_decref(answer);
    return code;
}

int tf_cli_queues(int argc, char **argv)
{
    struct queues queues = {.wait_us = 0};
    int first = 0;
    tf_cli_options_init(&queues.connection);
    int code = tf_cli_manual_parse(MANUAL, argc, argv, take, &queues, &first);
    bool list = first == argc || strstr(argv[first], "://") != NULL;
    if (code < 0 && !list) {
        code = take_verb(&queues, argv[first]);
    }
    if (code < 0) {
        code = check(&queues);
    }
    if (code < 0 && !list) {
        code = take_names(&queues, argc - first - 1, argv + first + 1);
    }
    if (code < 0) {
        code = list ? tf_cli_list_queues(&queues.connection, queues.style.output == TF_CLI_JSON,
                                         queues.wait_us, argc - first, argv + first)
                    : run(&queues);
    }
    tf_cli_options_release(&queues.connection);
    tf_cli_url_release(&queues.url);
    return code;
}
