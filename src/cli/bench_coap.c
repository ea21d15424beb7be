/*
 * The command `trefoil bench coap`: options in, exit code and report out. See bench_coap.h.
 */
#include "cli/bench_coap.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/bench_options.h"
#include "cli/cli.h"

#include <trefoil/coap.h>

enum option_key {
    KEY_SOCKETS = 256,
    KEY_WINDOW,
    KEY_STRANGERS,
    KEY_OBSERVERS,
    KEY_SIZE,
    KEY_SECONDS,
    KEY_REQUESTS,
    KEY_WARM_UP,
    KEY_STALL,
    KEY_SERVER_PID,
    KEY_BARE,
    KEY_GIVEN,
    KEY_NON,
    KEY_HELP
};

const char tf_cli_bench_coap_text[] =
    "usage: trefoil bench coap URL [OPTION]...\n"
    "\n"
    "Puts load on a CoAP server at coap://HOST[:PORT]/PATH: GETs of one resource, which is put\n"
    "there first, and reports rate, latency and loss. Nothing is sent again: what is not answered\n"
    "is lost.\n"
    "\n"
    "  --sockets N         peers that ask (64)\n"
    "  --window N          requests under way of each, sent as one train (1, at most 128)\n"
    "  --non               NON requests; else CON\n"
    "  --strangers N       first, so many other peers ask once (0); server on 127.0.0.1 only\n"
    "  --observers N       instead of GETs: so many observe the resource over the sockets, then\n"
    "                      it changes --requests times (10), each time when all have been told\n"
    "  --size BYTES        of the representation (16, at most 400)\n"
    "  --seconds S         how long to measure (5)\n"
    "  --requests N        how many to send while measuring, instead of --seconds\n"
    "  --warm-up MS        load before measuring begins (300)\n"
    "  --stall MS          without an answer: what is missing is lost, the run ends (2000)\n"
    "  --given             the resource is there: put nothing\n"
    "  --server-pid PID    a process of this machine whose CPU time to measure as well\n"
    "  --bare              the peer is the bare echo of tests/bench\n"
    "  -o text|json        how to report (text)\n";

static const struct option options[] = {
    {"sockets", required_argument, NULL, KEY_SOCKETS},
    {"window", required_argument, NULL, KEY_WINDOW},
    {"strangers", required_argument, NULL, KEY_STRANGERS},
    {"observers", required_argument, NULL, KEY_OBSERVERS},
    {"size", required_argument, NULL, KEY_SIZE},
    {"seconds", required_argument, NULL, KEY_SECONDS},
    {"requests", required_argument, NULL, KEY_REQUESTS},
    {"warm-up", required_argument, NULL, KEY_WARM_UP},
    {"stall", required_argument, NULL, KEY_STALL},
    {"server-pid", required_argument, NULL, KEY_SERVER_PID},
    {"bare", no_argument, NULL, KEY_BARE},
    {"given", no_argument, NULL, KEY_GIVEN},
    {"non", no_argument, NULL, KEY_NON},
    {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, KEY_HELP},
    {NULL, 0, NULL, 0},
};

/* What the options say. */
struct given {
    struct tf_bench_coap_config config;
    struct tf_bench_url url;
    bool help;
    const char *wrong; /* the first mistake */
};

/* Options with a number; false: it is another one. */
static bool take_number(struct given *given, int key, const char *text)
{
    struct tf_bench_coap_config *config = &given->config;
    const struct tf_bench_number rows[] = {
        {KEY_SOCKETS, &config->sockets, 1, 1000000},
        {KEY_WINDOW, &config->window, 1, TF_BENCH_COAP_WINDOW_MAX},
        {KEY_STRANGERS, &config->strangers, 0, 0xFFFFF},
        {KEY_OBSERVERS, &config->observers, 1, 1000000},
        {KEY_SIZE, &config->size, 4, 400},
        {KEY_SECONDS, &config->seconds, 1, 1000000},
        {KEY_WARM_UP, &config->warm_up_ms, 0, 1000000},
        {KEY_STALL, &config->stall_ms, 1, 1000000},
        {KEY_SERVER_PID, &config->server_pid, 1, INT32_MAX}};
    return tf_bench_take_number(rows, sizeof rows / sizeof rows[0], key, text, &given->wrong);
}

static void take(struct given *given, int key, const char *text)
{
    struct tf_bench_coap_config *config = &given->config;
    switch (key) {
    case KEY_REQUESTS:
        config->requests = tf_bench_number(text, 1, UINT32_MAX, &given->wrong);
        break;
    case KEY_BARE:
        config->bare = true;
        break;
    case KEY_GIVEN:
        config->given = true;
        break;
    case KEY_NON:
        config->non = true;
        break;
    case KEY_HELP:
        given->help = true;
        break;
    case 'o':
        config->json = tf_bench_take_output(text, &given->wrong);
        break;
    case '?':
        given->wrong = "an unknown option, or one without its value";
        break;
    default:
        if (!take_number(given, key, text))
            given->wrong = text;
    }
}

/* coap://HOST[:PORT]/PATH, an IPv6 host in brackets. */
static bool take_url(struct given *given, const char *text)
{
    if (!tf_bench_url_parse(text, "coap", TF_COAP_PORT, &given->url))
        return false;
    given->config.host = given->url.host;
    given->config.port = given->url.port;
    given->config.path = given->url.path[0] ? given->url.path : "bench";
    return true;
}

static void report_json(const struct tf_bench_coap_config *config,
                        const struct tf_bench_coap_result *result)
{
    const struct tf_bench_histogram *latency = &result->latency_us;
    double measured = result->measured ? (double)result->measured : 1;
    printf("{\"sockets\":%" PRIu32 ",\"window\":%" PRIu32 ",\"type\":\"%s\",\"strangers\":%" PRIu32
           ",\"observers\":%" PRIu32 ",\"bare\":%s,",
           config->sockets, config->window, config->non ? "NON" : "CON", config->strangers,
           config->observers, config->bare ? "true" : "false");
    printf("\"sent\":%" PRIu64 ",\"answered\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"wrong\":%" PRIu64
           ",\"foreign\":%" PRIu64 ",\"seconds\":%.6f,\"measured\":%" PRIu64
           ",\"per_second\":%.1f,",
           result->sent, result->answered, result->lost, result->wrong, result->aliens,
           result->seconds, result->measured,
           result->seconds > 0 ? (double)result->measured / result->seconds : 0);
    if (result->server_us >= 0)
        printf("\"server_cpu_us\":%.1f,\"server_cpu_us_per_message\":%.4f,", result->server_us,
               result->server_us / measured);
    printf("\"generator_load\":%.3f,\"latency_us\":{\"p50\":%" PRIu64 ",\"p90\":%" PRIu64
           ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64 "}}\n",
           result->own_load, tf_bench_histogram_at(latency, 50), tf_bench_histogram_at(latency, 90),
           tf_bench_histogram_at(latency, 99), latency->max);
}

static void report_text(const struct tf_bench_coap_config *config,
                        const struct tf_bench_coap_result *result)
{
    const struct tf_bench_histogram *latency = &result->latency_us;
    if (config->observers)
        printf("%" PRIu32 " observers over %" PRIu32 " sockets\n", config->observers,
               config->sockets);
    else
        printf("%" PRIu32 " sockets, window %" PRIu32 ", %s\n", config->sockets, config->window,
               config->non ? "NON" : "CON");
    printf("%s    %.0f a second (%" PRIu64 " in %.2f s)\n",
           config->observers ? "notified" : "answered",
           result->seconds > 0 ? (double)result->measured / result->seconds : 0, result->measured,
           result->seconds);
    printf("latency     p50 %" PRIu64 ", p90 %" PRIu64 ", p99 %" PRIu64 ", most %" PRIu64 " us\n",
           tf_bench_histogram_at(latency, 50), tf_bench_histogram_at(latency, 90),
           tf_bench_histogram_at(latency, 99), latency->max);
    printf("lost        %" PRIu64 " of %" PRIu64 "; %" PRIu64 " refused, %" PRIu64
           " not asked for\n",
           result->lost, result->sent, result->wrong, result->aliens);
    if (result->server_us >= 0 && result->measured)
        printf("server      %.2f us of CPU each\n", result->server_us / (double)result->measured);
    printf("generator   %.0f %% of a core\n", result->own_load * 100);
}

/* Reads the command line. -1: go on; else the exit code. */
static int parse(struct given *given, int argc, char **argv)
{
    bool seconds;
    *given = (struct given){
        .config = {.sockets = 64, .window = 1, .size = 16, .warm_up_ms = 300, .stall_ms = 2000}};
    optind = 0; /* an earlier getopt_long in this process is over */
    opterr = 0;
    for (int key; (key = getopt_long(argc, argv, "o:", options, NULL)) != -1;)
        take(given, key, optarg);
    if (given->help) {
        fputs(tf_cli_bench_coap_text, stdout);
        return TF_EXIT_DONE;
    }
    if (given->wrong) {
        fprintf(stderr, "trefoil bench coap: not understood: %s\n", given->wrong);
        return TF_EXIT_USAGE;
    }
    if (argc - optind != 1 || !take_url(given, argv[optind]))
        return tf_bench_misuse("bench coap",
                               "one URL is needed: trefoil bench coap coap://localhost/bench");
    seconds = given->config.seconds > 0;
    if (seconds && given->config.requests)
        return tf_bench_misuse("bench coap", "--seconds and --requests exclude each other");
    if (!seconds && !given->config.requests && !given->config.observers)
        given->config.seconds = 5;
    if (given->config.bare && given->config.observers)
        return tf_bench_misuse("bench coap", "the bare echo has nothing to observe");
    return -1;
}

int tf_cli_bench_coap(int argc, char **argv)
{
    struct given given;
    int code = parse(&given, argc, argv);
    if (code >= 0)
        return code;
    struct tf_bench_coap_result *result = calloc(1, sizeof *result);
    if (!result) {
        fprintf(stderr, "trefoil bench coap: no memory\n");
        return TF_EXIT_INTERNAL;
    }
    enum tf_err err = tf_bench_coap_run(&given.config, result);
    if (err) {
        code = tf_bench_failed("bench coap", err, result->why);
    } else {
        if (given.config.json)
            report_json(&given.config, result);
        else
            report_text(&given.config, result);
        code = result->wrong || result->lost ? TF_EXIT_VERIFY : TF_EXIT_DONE;
    }
    free(result);
    return code;
}
