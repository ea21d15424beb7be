/*
 * `trefoil queues`, `sessions`, `connections`: what a running broker has of them.
 *
 * Each is an address under $SYS whose value is a JSON object, made when it is read (the collection
 * answers a subscription, then it is still). So they are read like any retained messages: from the
 * confirmation of the subscription on until nothing has come for a short time. The command's own
 * session is left out. By AMQP the addresses are read as a topic, in the same way.
 */
#include "cli/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <trefoil/amqp_message.h>

#include "base/util.h"
#include "cli/amqp_plain.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/help.h"
#include "cli/table.h"
#include "port/terminal.h"

#define WAIT (300 * TF_MILLISECOND)
#define VERSION "$SYS/broker/version"
#define STDOUT 1
#define CREDIT 1000u

/* One of the three commands. */
struct kind {
    const struct tf_cli_manual *manual;
    const char *filter, *topic;
    const char *key; /* what the rows are sorted by, and called by */
    const struct tf_cli_column *columns;
    size_t column_count;
};

struct list {
    const struct kind *kind;
    struct tf_cli_connection_options connection;
    struct tf_cli_url url;
    struct tf_cli_run run;
    struct tf_cli_client *client; /* MQTT */
    struct tf_cli_amqp_client *amqp;
    json_t *rows;
    tf_time wait_us;
    char version[64]; /* what the broker says that it is */
    bool json, by_amqp, asked, confirmed, own_seen;
};

/* ---- the manuals ---- */

static const struct tf_cli_option list_options[] = {
    {'o', "output", "text|json", "a table (default), or a JSON array with an object a line"},
    {'W', "timeout", "SECONDS",
     "how long the broker must have been silent for the list to be complete; by default 0.3"},
};

static const struct tf_cli_group list_group = {"List", list_options, TF_COUNT(list_options)};
static const struct tf_cli_group *const groups[] = {&list_group, &tf_cli_connection_group};

#define TEXT(things)                                                                               \
    "URL is mqtt://[USER[:PASSWORD]@]HOST[:PORT] or amqp://..., by default mqtt://localhost. The " \
    "broker must "                                                                                 \
    "be Trefoil: it keeps its " things " as JSON objects below $SYS/" things ", which any client " \
    "can read. The session of the command itself is not in the list."
#define AFTER                                                                                   \
    "Exit: 0 listed; 1 internal; 2 command line; 3 network; 4 not let in; 5 refused, or not a " \
    "Trefoil broker; 6 the broker does not answer."

static const struct tf_cli_column queue_columns[] = {
    {"queue", "QUEUE", TF_CLI_CELL_TEXT},           {"messages", "MESSAGES", TF_CLI_CELL_NUMBER},
    {"bytes", "BYTES", TF_CLI_CELL_BYTES},          {"in_flight", "IN FLIGHT", TF_CLI_CELL_NUMBER},
    {"consumers", "CONSUMERS", TF_CLI_CELL_NUMBER}, {"bindings", "BINDINGS", TF_CLI_CELL_NUMBER},
    {"limit", "LIMIT", TF_CLI_CELL_NUMBER},
};
static const struct tf_cli_column session_columns[] = {
    {"client", "CLIENT", TF_CLI_CELL_TEXT},
    {"protocol", "PROTOCOL", TF_CLI_CELL_TEXT},
    {"connected", "CONNECTED", TF_CLI_CELL_BOOL},
    {"subscriptions", "SUBSCRIPTIONS", TF_CLI_CELL_NUMBER},
    {"messages", "MESSAGES", TF_CLI_CELL_NUMBER},
    {"bytes", "BYTES", TF_CLI_CELL_BYTES},
    {"in_flight", "IN FLIGHT", TF_CLI_CELL_NUMBER},
    {"expiry_s", "EXPIRY", TF_CLI_CELL_TIME},
};
static const struct tf_cli_example session_examples[] = {
    {"trefoil sessions", "The sessions of the broker on this machine."},
    {"trefoil sessions mqtt://broker -o json | jq '.[] | select(.connected | not) | .client'",
     "Who is away."},
};

static const struct tf_cli_column connection_columns[] = {
    {"client", "CLIENT", TF_CLI_CELL_TEXT},       {"protocol", "PROTOCOL", TF_CLI_CELL_TEXT},
    {"version", "VERSION", TF_CLI_CELL_TEXT},     {"peer", "PEER", TF_CLI_CELL_TEXT},
    {"listener", "LISTENER", TF_CLI_CELL_NUMBER}, {"shard", "SHARD", TF_CLI_CELL_NUMBER},
};
static const struct tf_cli_example connection_examples[] = {
    {"trefoil connections", "Who is connected to the broker on this machine."},
    {"trefoil connections mqtt://broker -o json | jq -r '.[].peer'", "From where."},
};

const struct tf_cli_manual tf_cli_sessions_manual = {.name = "sessions",
                                                     .usage = "[URL] [OPTION]...",
                                                     .summary =
                                                         "list the sessions of a running broker",
                                                     .text = TEXT("sessions"),
                                                     .groups = groups,
                                                     .group_count = TF_COUNT(groups),
                                                     .after = AFTER,
                                                     .examples = session_examples,
                                                     .example_count = TF_COUNT(session_examples)};

const struct tf_cli_manual tf_cli_connections_manual = {
    .name = "connections",
    .usage = "[URL] [OPTION]...",
    .summary = "list the connections of a running broker",
    .text = TEXT("connections"),
    .groups = groups,
    .group_count = TF_COUNT(groups),
    .after = AFTER,
    .examples = connection_examples,
    .example_count = TF_COUNT(connection_examples)};

static const struct kind kinds[] = {
    {&tf_cli_queues_manual, "$SYS/queues/#", "topic://$SYS/queues/#", "queue", queue_columns,
     TF_COUNT(queue_columns)},
    {&tf_cli_sessions_manual, "$SYS/sessions/#", "topic://$SYS/sessions/#", "client",
     session_columns, TF_COUNT(session_columns)},
    {&tf_cli_connections_manual, "$SYS/connections/#", "topic://$SYS/connections/#", "client",
     connection_columns, TF_COUNT(connection_columns)},
};

/* The row of a command; main has found its name in its own table. */
static const struct kind *kind_of(const char *name)
{
    size_t i = 0;
    while (i + 1 < TF_COUNT(kinds) && strcmp(kinds[i].manual->name, name) != 0) {
        i++;
    }
    return &kinds[i];
}

/* ---- the command line ---- */

static int take(void *ctx, int key, const char *value)
{
    struct list *list = ctx;
    const struct tf_cli_manual *manual = list->kind->manual;
    switch (key) {
    case 'o':
        list->json = strcmp(value, "json") == 0;
        return list->json || strcmp(value, "text") == 0
                   ? -1
                   : tf_cli_misuse(manual, "--output takes text or json, not \"%.40s\"", value);
    case 'W':
        return tf_cli_seconds(manual, "--timeout", value, &list->wait_us);
    default:
        return tf_cli_options_take(&list->connection, manual, key, value);
    }
}

static int take_url(struct list *list, int count, char **texts)
{
    char why[TF_CLI_URL_WHY];
    const struct tf_cli_manual *manual = list->kind->manual;
    if (count > 1) {
        return tf_cli_misuse(manual, "one URL is enough: what is \"%.60s\"?", texts[1]);
    }
    const char *text = count ? texts[0] : "mqtt://localhost";
    list->by_amqp = tf_cli_url_is_amqp(text);
    if (list->by_amqp ? tf_cli_url_parse_amqp(text, &list->url, why)
                      : tf_cli_url_parse(text, &list->url, why)) {
        return tf_cli_misuse(manual, "%s", why);
    }
    if (list->url.address[0]) {
        return tf_cli_misuse(manual, "the URL is that of a broker, without an address: "
                                     "mqtt://HOST[:PORT]");
    }
    return -1;
}

/* ---- what comes ---- */

static void on_ready(struct tf_cli_client *client)
{
    struct list *list = tf_cli_client_ctx(client);
    const struct tf_mqtt_subscription filters[] = {
        {.filter = tf_bytes_str(list->kind->filter), .qos = 1},
        {.filter = tf_bytes_str(VERSION), .qos = 1}};
    if (list->asked) {
        return;
    }
    enum tf_err err =
        tf_cli_client_subscribe(client, 1, filters, TF_COUNT(filters), tf_bytes_of(NULL, 0));
    list->asked = err != TF_AGAIN;
    if (err && err != TF_AGAIN && err != TF_CLOSED) {
        tf_cli_run_fail(&list->run, TF_EXIT_REFUSED, "%s does not offer such subscriptions",
                        tf_cli_client_peer(client));
    }
}

static void wait_on(struct list *list)
{
    if (list->confirmed) {
        tf_cli_run_timer(&list->run, tf_time_add(list->run.now, list->wait_us));
    }
}

static void on_subscribed(struct list *list, const struct tf_mqtt_client_event *event)
{
    char why[512];
    uint8_t reason = event->reasons.length ? event->reasons.data[0] : 0;
    if (reason >= 0x80) {
        tf_cli_run_fail(&list->run, TF_EXIT_REFUSED, "%s does not let it read %s: %s",
                        tf_cli_client_peer(list->client), list->kind->filter,
                        tf_cli_reason(reason, event->properties, why, sizeof(why)));
        return;
    }
    list->confirmed = true;
    wait_on(list);
}

static const char *own_id(const struct list *list)
{
    return list->by_amqp ? tf_cli_amqp_id(list->amqp) : tf_cli_client_id(list->client);
}

/* A row as JSON. */
static void take_row(struct list *list, struct tf_bytes text)
{
    json_t *row = json_loadb((const char *)text.data, text.length, 0, NULL);
    const char *name = json_string_value(json_object_get(row, list->kind->key));
    const char *bare = name && strncmp(name, "mqtt/", 5) == 0 ? name + 5 : name;
    bool own = name && (strcmp(name, own_id(list)) == 0 || strcmp(bare, own_id(list)) == 0);
    list->own_seen = list->own_seen || own;
    if (!name || own) {
        json_decref(row);
    } else if (json_array_append_new(list->rows, row)) {
        tf_cli_run_fail(&list->run, TF_EXIT_INTERNAL, "no memory");
    }
}

static void on_publish(struct list *list, const struct tf_mqtt_publish *publish)
{
    wait_on(list);
    if (tf_bytes_equal(publish->topic, tf_bytes_str(VERSION))) {
        size_t length = TF_MIN(publish->payload.length, sizeof(list->version) - 1);
        if (length) {
            memcpy(list->version, publish->payload.data, length);
        }
        list->version[length] = 0;
        return;
    }
    if (!publish->retain) {
        return; /* somebody publishes there: no part of the list */
    }
    take_row(list, publish->payload);
}

static void on_event(struct tf_cli_client *client, const struct tf_mqtt_client_event *event)
{
    struct list *list = tf_cli_client_ctx(client);
    if (event->type == TF_MQTT_CLIENT_SUBSCRIBED) {
        on_subscribed(list, event);
    } else if (event->type == TF_MQTT_CLIENT_PUBLISH) {
        on_publish(list, &event->publish);
    }
}

/* ---- what comes by AMQP ---- */

static void on_up(struct tf_cli_amqp_client *client)
{
    struct list *list = tf_cli_amqp_ctx(client);
    const struct tf_cli_amqp_terms terms = {.address = list->kind->topic,
                                            .role = TF_AMQP_RECEIVER,
                                            .snd_settle_mode = TF_AMQP_SND_SETTLED};
    struct tf_cli_amqp_link *link;
    if (tf_cli_amqp_attach(client, &terms, &link)) {
        tf_cli_run_fail(&list->run, TF_EXIT_INTERNAL, "no memory");
        return;
    }
    tf_cli_amqp_credit(link, CREDIT, false);
}

static void on_attached(struct tf_cli_amqp_link *link, const struct tf_amqp_attach *attach)
{
    struct list *list = tf_cli_amqp_ctx(tf_cli_amqp_link_client(link));
    (void)attach;
    list->confirmed = true;
    wait_on(list);
}

static void on_message(struct tf_cli_amqp_link *link, const struct tf_cli_amqp_delivery *delivery)
{
    static const struct tf_amqp_state accepted = {.type = TF_AMQP_STATE_ACCEPTED};
    struct list *list = tf_cli_amqp_ctx(tf_cli_amqp_link_client(link));
    struct tf_amqp_message message;
    enum tf_amqp_condition condition;
    wait_on(list);
    if (tf_amqp_message_read(delivery->message, &message, &condition) == TF_OK &&
        message.body_type == TF_AMQP_BODY_DATA) {
        take_row(list, message.data);
    }
    if (!delivery->settled) {
        tf_cli_amqp_dispose(list->amqp, delivery->number, &accepted, true);
    }
    if (tf_cli_amqp_credit_left(link) == 0) {
        tf_cli_amqp_credit(link, CREDIT, false);
    }
}

/* ---- what is shown ---- */

/* By name, byte by byte; a queue's is under another key. */
static int compare_names(const void *a, const void *b)
{
    const json_t *left = *(json_t *const *)a, *right = *(json_t *const *)b;
    const char *key = json_object_get(left, "queue") ? "queue" : "client";
    const char *x = json_string_value(json_object_get(left, key));
    const char *y = json_string_value(json_object_get(right, key));
    return strcmp(x ? x : "", y ? y : "");
}

/* A new array of the rows in order; NULL: no memory. */
static json_t *sorted(const json_t *rows)
{
    size_t count = json_array_size(rows);
    json_t **items = malloc((count + 1) * sizeof(json_t *));
    json_t *result = json_array();
    if (!items || !result) {
        free(items);
        json_decref(result);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        items[i] = json_array_get(rows, i);
    }
    qsort(items, count, sizeof(json_t *), compare_names);
    for (size_t i = 0; i < count && result; i++) {
        if (json_array_append(result, items[i])) {
            json_decref(result);
            result = NULL;
        }
    }
    free(items);
    return result;
}

static int print_json(const json_t *rows)
{
    size_t count = json_array_size(rows);
    fputs("[", stdout);
    for (size_t i = 0; i < count; i++) {
        char *text = json_dumps(json_array_get(rows, i), JSON_COMPACT);
        if (!text) {
            return TF_EXIT_INTERNAL;
        }
        printf("%s\n%s", i ? "," : "", text);
        free(text);
    }
    puts(count ? "\n]" : "]");
    return TF_EXIT_DONE;
}

/* The sum of a column. */
static json_int_t sum(const json_t *rows, const char *key)
{
    json_int_t total = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *value = json_object_get(json_array_get(rows, i), key);
        total += json_is_boolean(value) ? json_is_true(value) : json_integer_value(value);
    }
    return total;
}

static void print_total(const struct list *list, const json_t *rows)
{
    size_t count = json_array_size(rows);
    const char *name = list->kind->manual->name;
    printf("%zu %.*s%s", count, (int)strlen(name) - 1, name, count == 1 ? "" : "s");
    if (list->kind->columns == session_columns) {
        printf(", %lld connected", (long long)sum(rows, "connected"));
    }
    if (list->kind->columns != connection_columns) {
        char bytes[TF_CLI_CELL_MAX];
        static const struct tf_cli_column column = {"bytes", "", TF_CLI_CELL_BYTES};
        json_t *total = json_pack("{s:I}", "bytes", sum(rows, "bytes"));
        tf_cli_cell_text(total, &column, bytes);
        json_decref(total);
        printf(", %lld messages, %s", (long long)sum(rows, "messages"), bytes);
    }
    putchar('\n');
}

static int show(struct list *list)
{
    json_t *rows = sorted(list->rows);
    int code = rows ? TF_EXIT_DONE : TF_EXIT_INTERNAL;
    if (rows && list->json) {
        code = print_json(rows);
    } else if (rows) {
        if (json_array_size(rows)) {
            tf_cli_table_print(rows, list->kind->columns, list->kind->column_count,
                               tf_terminal_colour(STDOUT), stdout);
        }
        print_total(list, rows);
    }
    json_decref(rows);
    if (code) {
        tf_cli_say(list->kind->manual->name, "no memory");
    }
    return code;
}

/* The broker has been silent: the list is complete, unless it is not Trefoil's. */
static void on_timer(void *ctx)
{
    struct list *list = ctx;
    if (list->by_amqp) { /* it let a link attach to the topic: it knows such a list */
        tf_cli_run_finish(&list->run, show(list));
        return;
    }
    const char *peer = tf_cli_client_peer(list->client);
    if (list->own_seen || json_array_size(list->rows)) {
        tf_cli_run_finish(&list->run, show(list));
    } else if (list->version[0]) {
        tf_cli_tame(list->version);
        tf_cli_run_fail(&list->run, TF_EXIT_REFUSED,
                        "%s tells nothing at %s: it is \"%s\"; only "
                        "Trefoil keeps such a list",
                        peer, list->kind->filter, list->version);
    } else {
        tf_cli_run_fail(&list->run, TF_EXIT_REFUSED,
                        "%s tells nothing at %s: it is not Trefoil, or "
                        "does not let this client read it",
                        peer, list->kind->filter);
    }
}

/* ---- the command ---- */

/* Connects, by what the URL says. */
static enum tf_err connect(struct list *list)
{
    static const struct tf_cli_handler handler = {.event = on_event, .ready = on_ready};
    static const struct tf_cli_amqp_handler amqp_handler = {
        .up = on_up, .attached = on_attached, .message = on_message};
    const struct tf_cli_amqp_client_config amqp = {.run = &list->run,
                                                   .url = &list->url,
                                                   .options = &list->connection,
                                                   .handler = &amqp_handler,
                                                   .ctx = list};
    const struct tf_cli_client_config config = {.run = &list->run,
                                                .url = &list->url,
                                                .options = &list->connection,
                                                .handler = &handler,
                                                .ctx = list};
    return list->by_amqp ? tf_cli_amqp_client_new(&list->amqp, &amqp)
                         : tf_cli_client_new(&list->client, &config);
}

static int run(struct list *list)
{
    const char *name = list->kind->manual->name;
    const struct tf_cli_task task = {.timer = on_timer, .ctx = list};
    int code = TF_EXIT_INTERNAL;
    if (tf_cli_run_init(&list->run, name, &task, 0)) {
        tf_cli_say(name, "the system has no event loop to give: %s", strerror(errno));
        return code;
    }
    list->rows = json_array();
    if (!list->rows || connect(list)) {
        tf_cli_say(name, "no memory");
    } else {
        code = tf_cli_run_loop(&list->run);
    }
    tf_cli_client_free(list->client);
    tf_cli_amqp_client_free(list->amqp);
    json_decref(list->rows);
    tf_cli_run_release(&list->run);
    return code;
}

static int list_it(struct list *list, int count, char **urls)
{
    list->wait_us = list->wait_us ? list->wait_us : WAIT;
    int code = take_url(list, count, urls);
    const char *lacks = code < 0 && list->by_amqp ? tf_cli_amqp_lacks(&list->connection) : NULL;
    if (lacks) {
        code = tf_cli_misuse(list->kind->manual, "AMQP has no %s: leave it out", lacks);
    }
    if (code < 0) {
        code = run(list);
    }
    tf_cli_url_release(&list->url);
    return code;
}

int tf_cli_list_queues(const struct tf_cli_connection_options *connection, bool json,
                       tf_time wait_us, int count, char **urls)
{
    struct list list = {
        .kind = &kinds[0], .connection = *connection, .json = json, .wait_us = wait_us};
    return list_it(&list, count, urls);
}

int tf_cli_list(int argc, char **argv)
{
    struct list list = {.kind = kind_of(argv[0])};
    int first = 0;
    tf_cli_options_init(&list.connection);
    int code = tf_cli_manual_parse(list.kind->manual, argc, argv, take, &list, &first);
    if (code < 0) {
        code = tf_cli_options_check(&list.connection, list.kind->manual);
    }
    if (code < 0) {
        code = list_it(&list, argc - first, argv + first);
    }
    tf_cli_options_release(&list.connection);
    return code;
}
