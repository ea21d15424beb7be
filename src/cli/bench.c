/*
 * The command `trefoil bench`: options in, exit code out. What it all means is in bench.h.
 */
#include "cli/bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/bench_client.h"
#include "cli/bench_coap.h"
#include "cli/bench_options.h"
#include "cli/cli.h"

enum option_key {
    KEY_PUBLISHERS = 256,
    KEY_SUBSCRIBERS,
    KEY_TOPICS,
    KEY_WINDOW,
    KEY_RATE,
    KEY_SECONDS,
    KEY_MESSAGES,
    KEY_VERSION,
    KEY_CONNECTIONS,
    KEY_WARM_UP,
    KEY_STALL,
    KEY_SERVER_PID,
    KEY_BARE,
    KEY_DURABLE,
    KEY_BACKLOG,
    KEY_HELP
};

const char tf_cli_bench_text[] =
    "usage: trefoil bench mqtt|amqp URL [OPTION]...\n"
    "       trefoil bench coap URL [OPTION]...   (see trefoil bench coap --help)\n"
    "\n"
    "Puts load on a broker at mqtt://HOST[:PORT] or amqp://[USER:PASSWORD@]HOST[:PORT][/ADDRESS]\n"
    "and reports rate, latency, loss, repetitions and order of what arrives. Publisher P\n"
    "publishes to topic P modulo topics, likewise subscribers.\n"
    "\n"
    "With AMQP publishers are senders, subscribers receivers, and topics addresses: ADDRESS\n"
    "(bench), taken as it is written, with -RUN-NUMBER behind it. Several receivers of one\n"
    "address must each get all of its messages: topic://ADDRESS.\n"
    "\n"
    "  --publishers N      how many (1)\n"
    "  --subscribers N     how many (1)\n"
    "  --topics N          how many (the smaller of both)\n"
    "  --window N          closed loop: messages of a publisher that not all its subscribers have\n"
    "                      seen (64); with AMQP (256) and --durable also what it leaves\n"
    "                      unacknowledged\n"
    "  --rate N            open loop instead: messages a second, all publishers together; latency\n"
    "                      counts from when a message was due\n"
    "  -s, --size BYTES    of a payload (64, at least 16)\n"
    "  -q, --qos 0|1|2     of publishing and subscribing (0); with AMQP 0 is settled when sent, 1\n"
    "                      unsettled, 2 unsettled and the receiver settles second\n"
    "  --seconds S         how long to measure (5)\n"
    "  --messages N        how many to publish while measuring, instead of --seconds\n"
    "  --warm-up MS        load before measuring begins (300)\n"
    "  --stall S           without an arrival: what is missing is lost, the run ends (5)\n"
    "  --version 4|5       MQTT: 3.1.1 or 5.0 (4)\n"
    "  --durable           what is sent is to outlive the broker. MQTT: subscribers have sessions\n"
    "                      that last, for a minute more with 5.0; AMQP: durable termini and\n"
    "                      messages\n"
    "  --backlog N         AMQP, closed loop: so many messages wait in each queue all the time\n"
    "  --connections N     no load: this many connections that subscribe (AMQP: each a session\n"
    "                      and a receiver, all of one address) and idle for --seconds (0: until\n"
    "                      the end is told by a signal)\n"
    "  --server-pid PID    a process of this machine whose CPU time to measure as well\n"
    "  --bare              the peer is the bare forwarder of tests/bench, QoS 0 or 1\n"
    "  -o text|json        how to report (text)\n";

static const struct option options[] = {
    {"publishers", required_argument, NULL, KEY_PUBLISHERS},
    {"subscribers", required_argument, NULL, KEY_SUBSCRIBERS},
    {"topics", required_argument, NULL, KEY_TOPICS},
    {"window", required_argument, NULL, KEY_WINDOW},
    {"rate", required_argument, NULL, KEY_RATE},
    {"size", required_argument, NULL, 's'},
    {"qos", required_argument, NULL, 'q'},
    {"seconds", required_argument, NULL, KEY_SECONDS},
    {"messages", required_argument, NULL, KEY_MESSAGES},
    {"warm-up", required_argument, NULL, KEY_WARM_UP},
    {"stall", required_argument, NULL, KEY_STALL},
    {"version", required_argument, NULL, KEY_VERSION},
    {"connections", required_argument, NULL, KEY_CONNECTIONS},
    {"server-pid", required_argument, NULL, KEY_SERVER_PID},
    {"bare", no_argument, NULL, KEY_BARE},
    {"durable", no_argument, NULL, KEY_DURABLE},
    {"backlog", required_argument, NULL, KEY_BACKLOG},
    {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, KEY_HELP},
    {NULL, 0, NULL, 0},
};

/* What the options say before it is known how they go together. */
struct given {
    struct tf_bench_config config;
    struct tf_bench_url url;
    bool help;
    bool seconds;
    bool window;
    const char *wrong; /* the first mistake */
};

/* Options with a number; false: it is another one. */
static bool take_number(struct given *given, int key, const char *text)
{
    struct tf_bench_config *config = &given->config;
    const struct tf_bench_number rows[] = {
        {KEY_PUBLISHERS, &config->publishers, 1, 1000000},
        {KEY_SUBSCRIBERS, &config->subscribers, 1, 1000000},
        {KEY_TOPICS, &config->topics, 1, 1000000},
        {KEY_WINDOW, &config->window, 1, 1000000},
        {KEY_BACKLOG, &config->backlog, 1, 1000000},
        {KEY_RATE, &config->rate, 1, 100000000},
        {'s', &config->size, TF_BENCH_STAMP_SIZE, TF_BENCH_SIZE_MAX},
        {KEY_SECONDS, &config->seconds, 0, 1000000},
        {KEY_CONNECTIONS, &config->idle, 1, 1000000},
        {KEY_WARM_UP, &config->warm_up_ms, 0, 1000000},
        {KEY_STALL, &config->stall_s, 1, 1000000},
        {KEY_SERVER_PID, &config->server_pid, 1, INT32_MAX},
    };
    given->window |= key == KEY_WINDOW;
    given->seconds |= key == KEY_SECONDS;
    return tf_bench_take_number(rows, sizeof rows / sizeof rows[0], key, text, &given->wrong);
}

static void take(struct given *given, int key, const char *text)
{
    struct tf_bench_config *config = &given->config;
    switch (key) {
    case 'q':
        config->qos = (uint8_t)tf_bench_number(text, 0, 2, &given->wrong);
        break;
    case 'o':
        config->json = tf_bench_take_output(text, &given->wrong);
        break;
    case KEY_MESSAGES:
        config->messages = tf_bench_number(text, 1, UINT32_MAX, &given->wrong);
        break;
    case KEY_VERSION:
        config->version = (uint8_t)tf_bench_number(text, 4, 5, &given->wrong);
        break;
    case KEY_BARE:
        config->bare = true;
        break;
    case KEY_DURABLE:
        config->durable = true;
        break;
    case KEY_HELP:
        given->help = true;
        break;
    case '?':
        given->wrong = "an unknown option, or one without its value";
        break;
    default:
        if (!take_number(given, key, text))
            given->wrong = text;
    }
}

/* The protocol and a URL of it; what is wrong, or NULL. */
static const char *take_url(struct given *given, char **arguments, int count)
{
    static const struct tf_bench_protocol *const protocols[] = {&tf_bench_mqtt, &tf_bench_amqp};
    struct tf_bench_config *config = &given->config;
    if (count != 2)
        return "a protocol and a URL are needed: trefoil bench mqtt mqtt://localhost";
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        if (strcmp(arguments[0], protocols[i]->name) == 0)
            config->protocol = protocols[i];
    }
    if (!config->protocol)
        return "the protocol must be mqtt, coap or amqp";
    if (!tf_bench_url_parse(arguments[1], config->protocol->name, config->protocol->port,
                            &given->url))
        return "the URL must be PROTOCOL://HOST[:PORT]";
    config->host = given->url.host;
    config->port = given->url.port;
    config->address = given->url.path[0] ? given->url.path : "bench";
    config->user = given->url.user[0] ? given->url.user : NULL;
    config->password = given->url.password;
    return NULL;
}

/* Defaults that depend on other options, and what does not go together; NULL if all is well. */
static const char *complete(struct given *given)
{
    struct tf_bench_config *config = &given->config;
    uint32_t fewer = TF_MIN(config->publishers, config->subscribers);
    if (!given->window && config->protocol == &tf_bench_amqp)
        config->window = 256;
    if (config->topics == 0)
        config->topics = fewer;
    if (config->topics > fewer)
        return "each topic needs a publisher and a subscriber: fewer --topics";
    if (given->window && config->rate)
        return "--window and --rate exclude each other";
    if (config->messages && given->seconds)
        return "--messages and --seconds exclude each other";
    if (config->bare && (config->qos == 2 || config->idle || config->backlog))
        return "the bare forwarder knows only load at QoS 0 and 1, and no --backlog";
    if (config->backlog &&
        (config->protocol != &tf_bench_amqp || config->rate || config->idle ||
         config->publishers != config->topics || config->subscribers != config->topics))
        return "--backlog is for AMQP with as many publishers as subscribers, each pair with its "
               "topic, in closed loop";
    if (config->rate)
        config->window = 0;
    if (!config->messages && !given->seconds)
        config->seconds = 5;
    if (!config->messages && !config->seconds && !config->idle)
        return "--seconds 0 is only for --connections";
    if (config->idle)
        config->publishers = config->subscribers = 0;
    if (config->idle) /* MQTT: each subscribes to its own */
        config->topics = config->protocol == &tf_bench_amqp;
    if ((uint64_t)config->publishers * ((uint64_t)config->window + config->backlog + 1) > 1u << 28)
        return "more messages under way than fit in memory: a smaller --window";
    if ((uint64_t)config->subscribers * ((config->publishers + 1) / TF_MAX(config->topics, 1u)) >
        1u << 28)
        return "more pairs of publisher and subscriber than fit in memory: more --topics";
    return NULL;
}

/* Reads the command line into *given; false with the exit code when that was all. */
static bool parse(struct given *given, int argc, char **argv, int *ret_code)
{
    *given = (struct given){.config = {.publishers = 1,
                                       .subscribers = 1,
                                       .window = 64,
                                       .size = 64,
                                       .version = 4,
                                       .warm_up_ms = 300,
                                       .stall_s = 5}};
    optind = 0; /* an earlier getopt_long in this process is over */
    opterr = 0;
    for (int key; (key = getopt_long(argc, argv, "q:o:s:", options, NULL)) != -1;)
        take(given, key, optarg);
    if (given->help) {
        fputs(tf_cli_bench_text, stdout);
        *ret_code = TF_EXIT_DONE;
        return false;
    }
    *ret_code = TF_EXIT_USAGE;
    if (given->wrong) {
        fprintf(stderr, "trefoil bench: not understood: %s\nTry 'trefoil bench --help'.\n",
                given->wrong);
        return false;
    }
    const char *wrong = take_url(given, argv + optind, argc - optind);
    if (!wrong)
        wrong = complete(given);
    if (wrong)
        tf_bench_misuse("bench", wrong);
    return !wrong;
}

/* With idle connections there is nothing to wait for but this. */
static void tell_ready(const struct tf_bench_config *config)
{
    if (!config->idle)
        return;
    if (config->json)
        printf("{\"idle\":%u}\n", (unsigned)config->idle);
    else
        printf("idle: %u connections, subscribed\n", (unsigned)config->idle);
    fflush(stdout);
}

/* Order is promised at every QoS (MQTT 5.0 4.6), arrival from 1, once at 0 and 2. */
static int verdict(const struct tf_bench_config *config, const struct tf_bench_result *result)
{
    bool lost = result->arrived + result->refused < result->expected;
    bool wrong = result->late || result->aliens || (config->qos > 0 && lost) ||
                 (config->qos != 1 && result->duplicates);
    if (wrong)
        return TF_EXIT_VERIFY;
    return result->stalled ? TF_EXIT_TIMEOUT : TF_EXIT_DONE;
}

int tf_cli_bench(int argc, char **argv)
{
    struct given given;
    int code;
    if (argc > 1 && strcmp(argv[1], "coap") == 0)
        return tf_cli_bench_coap(argc - 1, argv + 1);
    if (!parse(&given, argc, argv, &code))
        return code;
    struct tf_bench_result *result = calloc(1, sizeof *result);
    if (!result) {
        fprintf(stderr, "trefoil bench: no memory\n");
        return TF_EXIT_INTERNAL;
    }
    enum tf_err err = tf_bench_run(&given.config, tell_ready, result);
    if (!err && !given.config.idle) {
        tf_bench_report(&given.config, result);
        code = verdict(&given.config, result);
    } else if (!err) {
        code = TF_EXIT_DONE;
    } else {
        code = tf_bench_failed("bench", err, result->why);
    }
    free(result);
    return code;
}
