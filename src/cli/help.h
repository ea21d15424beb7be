/*
 * `trefoil help`: one command's help, manual pages, and completion for shells, all from the tables
 * that the commands themselves are read by.
 *
 * It must not know any single command.
 */
#ifndef TF_CLI_HELP_H
#define TF_CLI_HELP_H

#include "cli/manual.h"

/* A command, as main has it. */
struct tf_cli_command {
    const char *name;
    const char *usage; /* what follows the name */
    const char *help;
    int (*run)(int argc, char **argv);
    const struct tf_cli_manual *manual; /* NULL: `text` is all there is */
    const char *text;                   /* what --help shows */
};

/* Runs the command; `argv[0]` is "help". The exit code. */
int tf_cli_help(int argc, char **argv, const struct tf_cli_command *commands, size_t count);

/* Writes what `trefoil --help` shows. */
void tf_cli_help_overview(const struct tf_cli_command *commands, size_t count, FILE *out);

/* The manuals, each with its command. */
extern const struct tf_cli_manual tf_cli_pub_manual;
extern const struct tf_cli_manual tf_cli_sub_manual;
extern const struct tf_cli_manual tf_cli_get_manual;
extern const struct tf_cli_manual tf_cli_coap_manual;
extern const struct tf_cli_manual tf_cli_queues_manual;
extern const struct tf_cli_manual tf_cli_sessions_manual;
extern const struct tf_cli_manual tf_cli_connections_manual;
extern const struct tf_cli_manual tf_cli_store_manual;

#endif
