/*
 * A command as its manual describes it: one table from which come the parser of its options, its
 * --help, its manual page and the completion of shells. So they cannot disagree.
 *
 * It must not know what any option means.
 */
#ifndef TF_CLI_MANUAL_H
#define TF_CLI_MANUAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* One option. */
struct tf_cli_option {
    int key;           /* its letter; from 256 up: it has none */
    const char *name;  /* without the dashes; never NULL */
    const char *value; /* what follows it; NULL: nothing */
    const char *help;
};

/* Options under one title. */
struct tf_cli_group {
    const char *title;
    const struct tf_cli_option *options;
    size_t count;
};

struct tf_cli_example {
    const char *command;
    const char *help;
};

/* A command. What is NULL or 0 was left out. */
struct tf_cli_manual {
    const char *name;
    const char *usage;   /* what follows the name */
    const char *summary; /* without a full stop */
    const char *text;    /* paragraphs, an empty line between */
    const struct tf_cli_group *const *groups;
    size_t group_count;
    const char *after; /* paragraphs behind the options */
    const struct tf_cli_example *examples;
    size_t example_count;
};

/* Takes an option; below 0: go on, else the exit code, and a sentence went to stderr. */
typedef int (*tf_cli_take)(void *ctx, int key, const char *value);

/*
 * Reads a command line by the table; -h and --help are known without it. *ret_first is the first
 * argument that is no option; they are moved to the end of argv. Below 0: go on; else the exit
 * code: of `take`, 0 after --help, or that of misuse, with a sentence on stderr.
 */
int tf_cli_manual_parse(const struct tf_cli_manual *manual, int argc, char **argv, tf_cli_take take,
                        void *ctx, int *ret_first);

/*
 * Reads a whole number for an option, 0 to `most`, below `least` refused. Below 0: *ret_number is
 * set; else the exit code of misuse, with a sentence on stderr.
 */
int tf_cli_number(const struct tf_cli_manual *manual, const char *option, const char *text,
                  unsigned long long least, unsigned long long most,
                  unsigned long long *ret_number);

/* Says on stderr that the command line is wrong: `format` tells how. Returns the exit code. */
int tf_cli_misuse(const struct tf_cli_manual *manual, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Writes what --help shows, `width` columns wide. */
void tf_cli_manual_help(const struct tf_cli_manual *manual, unsigned width, FILE *out);

/* Writes the manual page trefoil-NAME(1), in the man macros. */
void tf_cli_manual_page(const struct tf_cli_manual *manual, FILE *out);

#endif
