/*
 * `trefoil`: finds the command and runs it. It knows nothing of what the commands do.
 */
#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

static const struct tf_cli_command commands[] = {
    {"serve", "[-c FILE] [--listen URL]... [--data DIR | --memory] [--shards N] [--check]",
     "run a broker", tf_cli_serve, NULL, tf_cli_serve_text},
    {"pub", "URL (-m TEXT | -f FILE | -l | -s | -n) [OPTION]...", "publish messages", tf_cli_pub,
     &tf_cli_pub_manual, NULL},
    {"sub", "URL... [OPTION]...", "print the messages of addresses", tf_cli_sub, &tf_cli_sub_manual,
     NULL},
    {"get", "URL [OPTION]...", "print the value of an address", tf_cli_get, &tf_cli_get_manual,
     NULL},
    {"coap", "VERB URL... [OPTION]...", "speak CoAP to a server", tf_cli_coap, &tf_cli_coap_manual,
     NULL},
    {"queues", "[VERB NAME [TO]] [URL] [OPTION]...",
     "list the queues of a running broker, look into them, change them", tf_cli_queues,
     &tf_cli_queues_manual, NULL},
    {"sessions", "[URL] [OPTION]...", "list the sessions of a running broker", tf_cli_list,
     &tf_cli_sessions_manual, NULL},
    {"connections", "[URL] [OPTION]...", "list the connections of a running broker", tf_cli_list,
     &tf_cli_connections_manual, NULL},
    {"store", "check|stats|export|import|backup [DIR] [OPTION]...",
     "check, count, copy and convert the store of a broker", tf_cli_store, &tf_cli_store_manual,
     NULL},
    {"bench", "mqtt|coap|amqp URL [OPTION]...", "measure a broker", tf_cli_bench, NULL,
     tf_cli_bench_text},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* The command whose name shares the longest beginning with `name`; NULL: none shares two letters.
 */
static const struct tf_cli_command *nearest(const char *name)
{
    const struct tf_cli_command *best = NULL;
    size_t longest = 1;
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t same = 0;
        while (name[same] && name[same] == commands[i].name[same]) {
            same++;
        }
        if (same > longest) {
            longest = same;
            best = &commands[i];
        }
    }
    return best;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        tf_cli_help_overview(commands, COMMANDS, stderr);
        return TF_EXIT_USAGE;
    }
    if (strcmp(argv[1], "help") == 0) {
        return tf_cli_help(argc - 1, argv + 1, commands, COMMANDS);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        tf_cli_help_overview(commands, COMMANDS, stdout);
        return fflush(stdout) ? TF_EXIT_INTERNAL : TF_EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("trefoil %s\n", TREFOIL_VERSION);
        return fflush(stdout) ? TF_EXIT_INTERNAL : TF_EXIT_DONE;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    const struct tf_cli_command *near = nearest(argv[1]);
    fprintf(stderr, "trefoil: there is no command \"%s\"", argv[1]);
    if (near) {
        fprintf(stderr, "; did you mean \"%s\"?", near->name);
    }
    fputs(" (trefoil --help lists them)\n", stderr);
    return TF_EXIT_USAGE;
}
