/*
 * The command `trefoil bench`: options in, exit code out. What it all means is in bench.h.
 */
#include "cli/bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/bench_coap.h"
#include "cli/cli.h"
#include "cli/url.h"

enum option_key {
    KEY_PUBLISHERS = 256,
    KEY_SUBSCRIBERS,
    KEY_TOPICS,
    KEY_WINDOW,
    KEY_RATE,
    KEY_SIZE,
    KEY_SECONDS,
    KEY_MESSAGES,
    KEY_VERSION,
    KEY_CONNECTIONS,
    KEY_WARM_UP,
    KEY_STALL,
    KEY_SERVER_PID,
    KEY_BARE,
    KEY_HELP
};

const char tf_cli_bench_text[] =
    "usage: trefoil bench mqtt URL [OPTION]...\n"
    "       trefoil bench coap URL [OPTION]...   (see trefoil bench coap --help)\n"
    "\n"
    "Puts load on a broker at mqtt://HOST[:PORT] and reports rate, latency, loss, repetitions and\n"
    "order of what arrives. Publisher P publishes to topic P modulo topics, likewise subscribers.\n"
    "\n"
    "  --publishers N      how many (1)\n"
    "  --subscribers N     how many (1)\n"
    "  --topics N          how many (the smaller of both)\n"
    "  --window N          closed loop: messages of a publisher that not all its subscribers have\n"
    "                      seen (64)\n"
    "  --rate N            open loop instead: messages a second, all publishers together; latency\n"
    "                      counts from when a message was due\n"
    "  --size BYTES        of a payload (64, at least 16)\n"
    "  -q, --qos 0|1|2     of publishing and subscribing (0)\n"
    "  --seconds S         how long to measure (5)\n"
    "  --messages N        how many to publish while measuring, instead of --seconds\n"
    "  --warm-up MS        load before measuring begins (300)\n"
    "  --stall S           without an arrival: what is missing is lost, the run ends (5)\n"
    "  --version 4|5       3.1.1 or 5.0 (4)\n"
    "  --connections N     no load: this many connections that subscribe and idle for --seconds\n"
    "                      (0: until the end is told by a signal)\n"
    "  --server-pid PID    a process of this machine whose CPU time to measure as well\n"
    "  --bare              the peer is the bare forwarder of tests/bench, QoS 0 or 1\n"
    "  -o text|json        how to report (text)\n";

static const struct option options[] = {
    {"publishers", required_argument, NULL, KEY_PUBLISHERS},
    {"subscribers", required_argument, NULL, KEY_SUBSCRIBERS},
    {"topics", required_argument, NULL, KEY_TOPICS},
    {"window", required_argument, NULL, KEY_WINDOW},
    {"rate", required_argument, NULL, KEY_RATE},
    {"size", required_argument, NULL, KEY_SIZE},
    {"qos", required_argument, NULL, 'q'},
    {"seconds", required_argument, NULL, KEY_SECONDS},
    {"messages", required_argument, NULL, KEY_MESSAGES},
    {"warm-up", required_argument, NULL, KEY_WARM_UP},
    {"stall", required_argument, NULL, KEY_STALL},
    {"version", required_argument, NULL, KEY_VERSION},
    {"connections", required_argument, NULL, KEY_CONNECTIONS},
    {"server-pid", required_argument, NULL, KEY_SERVER_PID},
    {"bare", no_argument, NULL, KEY_BARE},
    {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, KEY_HELP},
    {NULL, 0, NULL, 0},
};

/* What the options say before it is known how they go together. */
struct given {
    struct tf_bench_config config;
    char host[256];
    bool help;
    bool seconds;
    bool window;
    const char *wrong; /* the first mistake */
};

/* A whole decimal number from `least` to `most`; anything else is remembered as the mistake. */
static uint64_t number_of(struct given *given, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < least || value > most) {
        if (!given->wrong)
            given->wrong = text;
        return least;
    }
    return value;
}

static void take_size(struct given *given, int key, const char *text)
{
    struct tf_bench_config *config = &given->config;
    switch (key) {
    case KEY_PUBLISHERS:
        config->publishers = (uint32_t)number_of(given, text, 1, 1000000);
        break;
    case KEY_SUBSCRIBERS:
        config->subscribers = (uint32_t)number_of(given, text, 1, 1000000);
        break;
    case KEY_TOPICS:
        config->topics = (uint32_t)number_of(given, text, 1, 1000000);
        break;
    case KEY_WINDOW:
        config->window = (uint32_t)number_of(given, text, 1, 1000000);
        given->window = true;
        break;
    case KEY_RATE:
        config->rate = (uint32_t)number_of(given, text, 1, 100000000);
        break;
    case KEY_SIZE:
        config->size = (uint32_t)number_of(given, text, TF_BENCH_STAMP_SIZE, TF_BENCH_SIZE_MAX);
        break;
    case KEY_SECONDS:
        config->seconds = (uint32_t)number_of(given, text, 0, 1000000);
        given->seconds = true;
        break;
    case KEY_MESSAGES:
        config->messages = number_of(given, text, 1, UINT32_MAX);
        break;
    default:
        config->idle = (uint32_t)number_of(given, text, 1, 1000000);
        break;
    }
}

static void take(struct given *given, int key, const char *text)
{
    struct tf_bench_config *config = &given->config;
    switch (key) {
    case 'q':
        config->qos = (uint8_t)number_of(given, text, 0, 2);
        break;
    case 'o':
        config->json = strcmp(text, "json") == 0;
        if (!config->json && strcmp(text, "text") != 0)
            given->wrong = text;
        break;
    case KEY_WARM_UP:
        config->warm_up_ms = (uint32_t)number_of(given, text, 0, 1000000);
        break;
    case KEY_STALL:
        config->stall_s = (uint32_t)number_of(given, text, 1, 1000000);
        break;
    case KEY_VERSION:
        config->version = (uint8_t)number_of(given, text, 4, 5);
        break;
    case KEY_SERVER_PID:
        config->server_pid = (uint32_t)number_of(given, text, 1, INT32_MAX);
        break;
    case KEY_BARE:
        config->bare = true;
        break;
    case KEY_HELP:
        given->help = true;
        break;
    case '?':
        given->wrong = "an unknown option, or one without its value";
        break;
    default:
        take_size(given, key, text);
    }
}

/* mqtt://HOST[:PORT][/...], an IPv6 host in brackets. */
static bool take_url(struct given *given, const char *text)
{
    struct tf_cli_url url;
    char why[TF_CLI_URL_WHY];
    if (tf_cli_url_parse(text, &url, why))
        return false;
    snprintf(given->host, sizeof given->host, "%s", url.host);
    given->config.host = given->host;
    given->config.port = url.port;
    tf_cli_url_release(&url);
    return true;
}

/* Defaults that depend on other options, and what does not go together; NULL if all is well. */
static const char *complete(struct given *given)
{
    struct tf_bench_config *config = &given->config;
    uint32_t fewer = TF_MIN(config->publishers, config->subscribers);
    if (config->topics == 0)
        config->topics = fewer;
    if (config->topics > fewer)
        return "each topic needs a publisher and a subscriber: fewer --topics";
    if (given->window && config->rate)
        return "--window and --rate exclude each other";
    if (config->messages && given->seconds)
        return "--messages and --seconds exclude each other";
    if (config->bare && (config->qos == 2 || config->idle))
        return "the bare forwarder knows only load at QoS 0 and 1";
    if (config->rate)
        config->window = 0;
    if (!config->messages && !given->seconds)
        config->seconds = 5;
    if (!config->messages && !config->seconds && !config->idle)
        return "--seconds 0 is only for --connections";
    if (config->idle)
        config->publishers = config->subscribers = config->topics = 0;
    if ((uint64_t)config->publishers * (config->window ? config->window : 1) > 1u << 28)
        return "more messages under way than fit in memory: a smaller --window";
    if ((uint64_t)config->subscribers * ((config->publishers + 1) / TF_MAX(config->topics, 1u)) >
        1u << 28)
        return "more pairs of publisher and subscriber than fit in memory: more --topics";
    return NULL;
}

static int misuse(const char *what)
{
    fprintf(stderr, "trefoil bench: %s\nTry 'trefoil bench --help'.\n", what);
    return TF_EXIT_USAGE;
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
    for (int key; (key = getopt_long(argc, argv, "q:o:", options, NULL)) != -1;)
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
    const char *wrong = NULL;
    if (argc - optind != 2)
        wrong = "a protocol and a URL are needed: trefoil bench mqtt mqtt://localhost";
    else if (strcmp(argv[optind], "mqtt") != 0)
        wrong = "the protocol must be mqtt or coap";
    else if (!take_url(given, argv[optind + 1]))
        wrong = "the URL must be mqtt://HOST[:PORT]";
    else
        wrong = complete(given);
    if (wrong)
        misuse(wrong);
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
        fprintf(stderr, "trefoil bench: %s\n", result->why);
        code = err == TF_IO         ? TF_EXIT_NETWORK
               : err == TF_PROTOCOL ? TF_EXIT_REFUSED
                                    : TF_EXIT_INTERNAL;
    }
    free(result);
    return code;
}
