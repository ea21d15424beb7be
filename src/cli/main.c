/*
 * `trefoil`: finds the command and runs it. It knows nothing of what the commands do.
 */
#include "cli/bench.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* A command, as --help lists it. */
struct command {
    const char *name;
    const char *arguments;
    const char *help;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"serve", "[-c FILE] [--listen URL]... [--memory] [--shards N] [--check]", "run a broker",
     tf_cli_serve},
    {"bench", "mqtt URL [OPTION]...", "measure a broker", tf_cli_bench},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
    fputs("Usage: trefoil COMMAND [ARGUMENT]...\n"
          "One broker for CoAP, MQTT and AMQP 1.0 over a single address space, and its tools.\n"
          "This version speaks MQTT 3.1.1 and 5.0.\n\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(out, "  trefoil %s %s\n        %s\n", commands[i].name, commands[i].arguments,
                commands[i].help);
    }
    fputs("\n"
          "  trefoil COMMAND --help   all about one command\n"
          "  trefoil --version        the version\n"
          "\n"
          "A URL is mqtt://HOST[:PORT]/ADDRESS; what follows the slash is the address, literally,\n"
          "percent-decoded.\n"
          "\n"
          "Exit: 0 done, 1 internal, 2 usage, 3 network, 4 TLS or authentication, 5 refused by the\n"
          "peer, 6 time-out, 7 verification failed. Data goes to stdout, all else to stderr.\n",
          out);
}

/* The command whose name shares the longest beginning with `name`; NULL: none shares two letters. */
static const struct command *nearest(const char *name)
{
    const struct command *best = NULL;
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
        print_help(stderr);
        return TF_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
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
    const struct command *near = nearest(argv[1]);
    fprintf(stderr, "trefoil: there is no command \"%s\"", argv[1]);
    if (near) {
        fprintf(stderr, "; did you mean \"%s\"?", near->name);
    }
    fputs(" (trefoil --help lists them)\n", stderr);
    return TF_EXIT_USAGE;
}
