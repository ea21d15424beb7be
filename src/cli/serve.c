/*
 * `trefoil serve`: a broker from a configuration file and a command line.
 *
 * Here the sources of the configuration are put together, at the start and again at each reload;
 * and here is what goes to stdout (`listening URL`, `ready`). The broker itself is src/broker.
 */
#include "cli/cli.h"

#include "broker/amqp_front.h"
#include "broker/broker.h"
#include "broker/coap_front.h"
#include "broker/mqtt_front.h"
#include "cli/data_folder.h"
#include "port/clock.h"
#include "port/folder.h"
#include "port/notify.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define PART "serve"
#define LISTEN_MAX 64

/* What the command line says. */
struct arguments {
    const char *file;
    const char *listen[LISTEN_MAX];
    size_t listen_count;
    const char *shards;
    const char *data;
    bool memory, check, json, verbose;
};

struct serve {
    struct arguments arguments;
    struct tf_log log;
    FILE *log_file; /* NULL: none */
    char *log_path;
};

const char tf_cli_serve_text[] =
    "Usage: trefoil serve [OPTION]...\n"
    "Runs a broker until SIGTERM or SIGINT. SIGHUP reads the configuration again.\n"
    "\n"
    "  -c, --config FILE  read FILE, in the language of mosquitto.conf\n"
    "      --listen URL   listen on URL, instead of where it would by default; may be repeated:\n"
    "                     mqtt://HOST:PORT, coap://HOST:PORT or amqp://HOST:PORT; port 0 takes a\n"
    "                     free one, host * all interfaces\n"
    "      --data DIR     keep sessions, queues and messages in the folder DIR, which is made if\n"
    "                     it is not there: what was acknowledged survives the broker's end, a\n"
    "                     crash and a power cut\n"
    "      --memory       keep everything in memory: it is lost when the broker ends\n"
    "      --shards N     threads that serve, 1 to 64; by default one for each processor\n"
    "      --check        check the configuration, print what is to be known about it, and end\n"
    "      --log FORMAT   log lines as `text` (default) or `json`\n"
    "  -v, --verbose      log everything, whatever log_type says\n"
    "  -h, --help         print this, and end\n"
    "\n"
    "Without a configuration it listens on port 1883 for MQTT, 5683 for CoAP and 5672 for AMQP,\n"
    "at 127.0.0.1 and [::1], lets everybody in, and keeps its data in $XDG_STATE_HOME/trefoil, or\n"
    "~/.local/state/trefoil. With one it keeps data where that says (`data`, `persistence`), else\n"
    "in memory. It prints `listening URL` for each socket, then `ready`; the log goes to stderr.\n"
    "\n"
    "Exit: 0 ended by a signal; 1 internal, or the store cannot be used or could not write all;\n"
    "2 command line or configuration; 3 cannot listen.\n";

/* ---- the command line ---- */

static int usage(const char *text, const char *what)
{
    fprintf(stderr, "trefoil serve: %s%s (trefoil serve --help lists the options)\n", text, what);
    return TF_EXIT_USAGE;
}

enum { OPT_LISTEN = 256, OPT_MEMORY, OPT_DATA, OPT_SHARDS, OPT_CHECK, OPT_LOG };

static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                        {"listen", required_argument, NULL, OPT_LISTEN},
                                        {"memory", no_argument, NULL, OPT_MEMORY},
                                        {"data", required_argument, NULL, OPT_DATA},
                                        {"shards", required_argument, NULL, OPT_SHARDS},
                                        {"check", no_argument, NULL, OPT_CHECK},
                                        {"log", required_argument, NULL, OPT_LOG},
                                        {"verbose", no_argument, NULL, 'v'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

/* One option. -1: go on; else the exit code. */
static int take_option(struct arguments *ret, int option, const char *value)
{
    switch (option) {
    case 'c':
        ret->file = value;
        break;
    case OPT_LISTEN:
        if (ret->listen_count == LISTEN_MAX) {
            return usage("too many --listen", "");
        }
        ret->listen[ret->listen_count++] = value;
        break;
    case OPT_MEMORY:
        ret->memory = true;
        break;
    case OPT_DATA:
        if (!value[0]) {
            return usage("--data takes a folder", "");
        }
        ret->data = value;
        break;
    case OPT_SHARDS:
        ret->shards = value;
        break;
    case OPT_CHECK:
        ret->check = true;
        break;
    case OPT_LOG:
        if (strcmp(value, "json") != 0 && strcmp(value, "text") != 0) {
            return usage("--log takes `text` or `json`, not ", value);
        }
        ret->json = value[0] == 'j';
        break;
    case 'v':
        ret->verbose = true;
        break;
    case 'h':
        fputs(tf_cli_serve_text, stdout);
        return TF_EXIT_DONE;
    default:
        return TF_EXIT_USAGE;
    }
    return -1;
}

static int take_arguments(struct arguments *ret, int argc, char **argv)
{
    int option;
    opterr = 0; /* the messages are ours */
    while ((option = getopt_long(argc, argv, ":c:vh", options, NULL)) != -1) {
        if (option == '?' || option == ':') {
            return usage(option == ':' ? "a value is missing after " : "there is no option ",
                         argv[optind - 1]);
        }
        int code = take_option(ret, option, optarg);
        if (code >= 0) {
            return code;
        }
    }
    if (optind < argc) {
        return usage("it takes no argument: ", argv[optind]);
    }
    if (ret->data && ret->memory) {
        return usage("--data and --memory exclude each other", "");
    }
    return -1;
}

/* ---- the configuration ---- */

/* What the command line says of the store, and what holds where nobody says anything. */
static enum tf_err choose_store(const struct arguments *arguments, struct tf_config *config,
                                struct tf_config_report *report)
{
    config->memory = arguments->memory;
    if (arguments->memory) {
        return TF_OK;
    }
    if (arguments->data) {
        return tf_config_set(config, "data", arguments->data, "--data", report);
    }
    config->persistence |= !arguments->file;
    enum tf_err err = tf_cli_data_folder(NULL, &config->data_default);
    return err == TF_NO_MEMORY ? err : TF_OK; /* whoever needs one misses it */
}

/* All sources together, finished. On an error the report says why, and *config is released. */
static enum tf_err gather(const struct arguments *arguments, struct tf_config *config,
                          struct tf_config_report *report)
{
    enum tf_err err = TF_OK;
    tf_config_init_default(config);
    if (arguments->file) {
        err = tf_config_parse_file(config, arguments->file, tf_config_io_files(), report);
    }
    if (!err && arguments->shards) {
        err = tf_config_set(config, "shards", arguments->shards, "--shards", report);
    }
    for (size_t i = 0; i < arguments->listen_count && !err; i++) {
        err = tf_config_add_url(config, arguments->listen[i], report);
    }
    if (!err) {
        err = choose_store(arguments, config, report);
    }
    if (!err) {
        err = tf_config_finish(config, report);
    }
    if (!err && arguments->verbose) {
        config->log_types = ~0u;
    }
    if (err) {
        tf_config_release(config);
    }
    return err;
}

static int check(const struct arguments *arguments)
{
    struct tf_config config;
    struct tf_config_report report;
    int code = TF_EXIT_USAGE;
    tf_config_report_init(&report);
    if (!gather(arguments, &config, &report)) {
        tf_config_check(&config, &report);
        tf_config_release(&config);
        code = TF_EXIT_DONE;
    }
    if (tf_config_report_print(&report, TF_CONFIG_NOTE, stdout) ||
        (code == TF_EXIT_DONE && puts("the configuration can be used") < 0) || fflush(stdout)) {
        code = TF_EXIT_INTERNAL;
    }
    tf_config_report_release(&report);
    return code;
}

/* ---- the log ---- */

static void log_findings(struct tf_log *log, const struct tf_config_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct tf_config_finding *finding = &report->items[i];
        if (finding->severity == TF_CONFIG_NOTE) {
            continue;
        }
        enum tf_log_level level = finding->severity == TF_CONFIG_ERROR ? TF_LOG_ERROR : TF_LOG_WARN;
        if (finding->file && finding->line) {
            tf_log_text(log, level, "config", "%s:%u:%u: %s", finding->file, finding->line,
                        finding->column, finding->text);
        } else {
            tf_log_text(log, level, "config", "%s", finding->text);
        }
    }
}

static enum tf_err open_log(struct serve *serve, const struct tf_config *config)
{
    struct tf_log_config log = {.types = config->log_types,
                                .json = serve->arguments.json,
                                .timestamp = config->log_timestamp,
                                .wall_us = tf_clock_wall};
    if (config->log_timestamp_format) {
        /* its own copy: the configuration may be replaced by a reload */
        log.timestamp_format = strdup(config->log_timestamp_format);
    }
    if (config->log_dests & TF_CONFIG_LOG_TO_STDERR) {
        log.outs[0] = stderr;
    }
    if (config->log_dests & TF_CONFIG_LOG_TO_STDOUT) {
        log.outs[1] = stdout;
    }
    if ((config->log_dests & TF_CONFIG_LOG_TO_FILE) && config->log_file) {
        serve->log_file = fopen(config->log_file, "a");
        serve->log_path = strdup(config->log_file);
        if (!serve->log_file || !serve->log_path) {
            fprintf(stderr, "trefoil serve: log_dest file %s: %s\n", config->log_file,
                    strerror(errno));
            return TF_IO;
        }
        log.outs[2] = serve->log_file;
    }
    tf_log_init(&serve->log, &log);
    return TF_OK;
}

static void close_log(struct serve *serve)
{
    if (serve->log_file) {
        (void)fclose(serve->log_file); /* nobody could be told */
    }
    free(serve->log_path);
    free((char *)(uintptr_t)serve->log.config.timestamp_format);
}

/* ---- what the broker calls ---- */

static void say_listening(void *ctx, const char *url)
{
    (void)ctx;
    printf("listening %s\n", url);
    (void)fflush(stdout);
}

static void notify(struct serve *serve, const char *state)
{
    if (tf_notify(state) == TF_IO) {
        tf_log_text(&serve->log, TF_LOG_WARN, PART, "cannot tell the service manager: %s",
                    strerror(errno));
    }
}

static void say_ready(void *ctx)
{
    puts("ready");
    (void)fflush(stdout);
    notify(ctx, "READY=1");
}

/* A reload: the sources once more; a log file that was moved away is begun anew. */
static enum tf_err load(void *ctx, struct tf_config *ret_config)
{
    struct serve *serve = ctx;
    struct tf_config_report report;
    enum tf_err err;
    if (serve->log_file && !freopen(serve->log_path, "a", serve->log_file)) {
        tf_log_text(&serve->log, TF_LOG_ERROR, PART, "log_dest file %s: %s", serve->log_path,
                    strerror(errno));
    }
    tf_config_report_init(&report);
    err = gather(&serve->arguments, ret_config, &report);
    log_findings(&serve->log, &report);
    tf_config_report_release(&report);
    return err;
}

/* ---- the command ---- */

/* The default folder stands in folders that may not be there yet; one that was named does not. */
static enum tf_err make_folders(struct serve *serve, const struct tf_config *config)
{
    if (!config->data_default || strcmp(config->data, config->data_default) != 0 ||
        !tf_folder_make(config->data)) {
        return TF_OK;
    }
    tf_log_text(&serve->log, TF_LOG_ERROR, PART,
                "cannot make %s: %s: name another folder (--data), or say --memory", config->data,
                strerror(errno));
    return TF_IO;
}

static int run(struct serve *serve, struct tf_config *config)
{
    static const struct tf_front_type *const types[] = {&tf_mqtt_front_type, &tf_coap_front_type,
                                                        &tf_amqp_front_type};
    struct tf_broker_options broker_options = {.types = types,
                                               .type_count = sizeof(types) / sizeof(types[0]),
                                               .version = TREFOIL_VERSION,
                                               .log = &serve->log,
                                               .signals = true,
                                               .listening = say_listening,
                                               .ready = say_ready,
                                               .load = load,
                                               .ctx = serve};
    struct tf_broker *broker = NULL;
    tf_log_text(&serve->log, TF_LOG_NOTICE, PART, "trefoil %s", TREFOIL_VERSION);
    if (!config->data) {
        tf_log_text(&serve->log, TF_LOG_INFO, PART, "store: memory, lost on exit");
    } else if (make_folders(serve, config)) {
        tf_config_release(config);
        return TF_EXIT_INTERNAL;
    }
    enum tf_err err = tf_broker_new(&broker, config, &broker_options);
    if (err) {
        return err == TF_NO_MEMORY || err == TF_LIMIT || err == TF_CLOSED ? TF_EXIT_INTERNAL
               : err == TF_UNSUPPORTED                                    ? TF_EXIT_USAGE
                                                                          : TF_EXIT_NETWORK;
    }
    err = tf_broker_run(broker);
    notify(serve, "STOPPING=1");
    tf_broker_free(broker);
    tf_log_text(&serve->log, TF_LOG_NOTICE, PART, "ended");
    return err ? TF_EXIT_INTERNAL : TF_EXIT_DONE;
}

int tf_cli_serve(int argc, char **argv)
{
    struct serve serve;
    struct tf_config config;
    struct tf_config_report report;
    memset(&serve, 0, sizeof(serve));
    int code = take_arguments(&serve.arguments, argc, argv);
    if (code >= 0) {
        return code;
    }
    if (serve.arguments.check) {
        return check(&serve.arguments);
    }
    tf_config_report_init(&report);
    if (gather(&serve.arguments, &config, &report)) {
        if (tf_config_report_print(&report, TF_CONFIG_WARNING, stderr)) {
            code = TF_EXIT_INTERNAL; /* nobody can read why */
        }
        tf_config_report_release(&report);
        return code < 0 ? TF_EXIT_USAGE : code;
    }
    if (open_log(&serve, &config)) {
        tf_config_release(&config);
        code = TF_EXIT_USAGE;
    } else {
        log_findings(&serve.log, &report);
        code = run(&serve, &config);
    }
    tf_config_report_release(&report);
    close_log(&serve);
    return code;
}
