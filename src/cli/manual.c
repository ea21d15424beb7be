/*
 * Options by a table, and --help.
 */
#include "cli/manual.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "port/terminal.h"

enum { OPTIONS_MAX = 64, INDENT = 26, WIDTH_MAX = 100 };

/* ---- the parser ---- */

static const struct tf_cli_option help_option = {'h', "help", NULL, "print this, and end"};

int tf_cli_misuse(const struct tf_cli_manual *manual, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "trefoil %s: ", manual->name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (trefoil %s --help tells more)\n", manual->name);
    return TF_EXIT_USAGE;
}

/* The option whose name begins most like `name`; NULL: none shares three letters. */
static const struct tf_cli_option *nearest(const struct tf_cli_manual *manual, const char *name)
{
    const struct tf_cli_option *best = NULL;
    size_t longest = 2;
    for (size_t i = 0; i < manual->group_count; i++) {
        for (size_t j = 0; j < manual->groups[i]->count; j++) {
            const struct tf_cli_option *option = &manual->groups[i]->options[j];
            size_t same = 0;
            while (name[same] && name[same] == option->name[same]) {
                same++;
            }
            if (same > longest) {
                longest = same;
                best = option;
            }
        }
    }
    return best;
}

/* True if the table has an option with this key. */
static bool known(const struct tf_cli_manual *manual, int key)
{
    for (size_t i = 0; i < manual->group_count; i++) {
        for (size_t j = 0; j < manual->groups[i]->count; j++) {
            if (manual->groups[i]->options[j].key == key) {
                return true;
            }
        }
    }
    return key == help_option.key;
}

/* What getopt did not understand; `word` is the one that it took last. */
static int not_understood(const struct tf_cli_manual *manual, int what, int key, const char *word)
{
    if (what == ':') {
        return tf_cli_misuse(manual, "%s needs a value behind it", word);
    }
    if (key && known(manual, key)) {
        return tf_cli_misuse(manual, "%.*s takes no value", (int)strcspn(word, "="), word);
    }
    if (key) {
        return tf_cli_misuse(manual, "there is no option -%c", key);
    }
    const struct tf_cli_option *option = nearest(manual, word + 2);
    return tf_cli_misuse(manual, "there is no option %.*s, or more than one%s%s%s",
                         (int)strcspn(word, "="), word, option ? "; did you mean --" : "",
                         option ? option->name : "", option ? "?" : "");
}

/* What getopt wants to know of the table. */
struct getopt_tables {
    struct option names[OPTIONS_MAX + 1];
    char letters[2 * OPTIONS_MAX + 2];
};

static void add_option(struct getopt_tables *tables, size_t *count,
                       const struct tf_cli_option *option)
{
    if (*count == OPTIONS_MAX) {
        return;
    }
    tables->names[(*count)++] = (struct option){
        option->name, option->value ? required_argument : no_argument, NULL, option->key};
    if (option->key < 256) {
        char letter[3] = {(char)option->key, option->value ? ':' : 0, 0};
        strcat(tables->letters, letter);
    }
}

int tf_cli_manual_parse(const struct tf_cli_manual *manual, int argc, char **argv, tf_cli_take take,
                        void *ctx, int *ret_first)
{
    struct getopt_tables tables = {.letters = ":"};
    size_t count = 0;
    add_option(&tables, &count, &help_option);
    for (size_t i = 0; i < manual->group_count; i++) {
        for (size_t j = 0; j < manual->groups[i]->count; j++) {
            add_option(&tables, &count, &manual->groups[i]->options[j]);
        }
    }
    optind = 0; /* an earlier reading in this process is over */
    opterr = 0;
    for (;;) {
        int key = getopt_long(argc, argv, tables.letters, tables.names, NULL);
        if (key == -1) {
            break;
        }
        if (key == '?' || key == ':') {
            return not_understood(manual, key, optopt, argv[optind - 1]);
        }
        if (key == 'h') {
            tf_cli_manual_help(manual, TF_MIN(tf_terminal_width(1), (unsigned)WIDTH_MAX), stdout);
            return fflush(stdout) ? TF_EXIT_INTERNAL : TF_EXIT_DONE;
        }
        int code = take(ctx, key, optarg);
        if (code >= 0) {
            return code;
        }
    }
    *ret_first = optind;
    return -1;
}

int tf_cli_number(const struct tf_cli_manual *manual, const char *option, const char *text,
                  unsigned long long least, unsigned long long most, unsigned long long *ret_number)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno || number < least || number > most) {
        return tf_cli_misuse(manual, "%s takes a whole number from %llu to %llu, not \"%.40s\"",
                             option, least, most, text);
    }
    *ret_number = number;
    return -1;
}

/* ---- --help ---- */

/*
 * Writes `text` in lines of at most `width` columns that begin `indent` columns in; the first line
 * is there already up to column `at`. An empty line in the text stays one; a line that begins with
 * a space is written as it is.
 */
static void wrap(FILE *out, const char *text, unsigned indent, unsigned width, unsigned at)
{
    while (*text) {
        size_t line = strcspn(text, "\n");
        const char *word = text;
        bool as_it_is = *text == ' ';
        while (word < text + line) {
            size_t length = as_it_is ? line : strcspn(word, " \n");
            unsigned need = (unsigned)length + (at > indent);
            if (at > indent && at + need > width && !as_it_is) {
                fputc('\n', out);
                at = 0;
            }
            if (at < indent || at == 0) {
                fprintf(out, "%*s", (int)(indent - at), "");
                at = indent;
            } else if (at > indent) {
                fputc(' ', out);
                at++;
            }
            fwrite(word, 1, length, out);
            at += (unsigned)length;
            word += length + (word + length < text + line);
        }
        fputc('\n', out);
        at = 0;
        text += line + (text[line] == '\n');
    }
}

static void help_group(const struct tf_cli_group *group, unsigned width, FILE *out)
{
    fprintf(out, "\n%s:\n", group->title);
    for (size_t i = 0; i < group->count; i++) {
        const struct tf_cli_option *option = &group->options[i];
        char head[96];
        char letter[4] = "   ";
        if (option->key < 256) {
            snprintf(letter, sizeof(letter), "-%c,", option->key);
        }
        int length = snprintf(head, sizeof(head), "  %s --%s%s%s", letter, option->name,
                              option->value ? " " : "", option->value ? option->value : "");
        fputs(head, out);
        if (length + 1 >= INDENT) {
            fputc('\n', out);
            length = 0;
        }
        wrap(out, option->help, INDENT, width, (unsigned)length);
    }
}

void tf_cli_manual_help(const struct tf_cli_manual *manual, unsigned width, FILE *out)
{
    static const struct tf_cli_group help_group_only = {"Help", &help_option, 1};
    width = TF_MAX(width, 60u);
    fprintf(out, "Usage: trefoil %s %s\n", manual->name, manual->usage);
    fprintf(out, "%c%s.\n", toupper((unsigned char)manual->summary[0]), manual->summary + 1);
    if (manual->text) {
        fputc('\n', out);
        wrap(out, manual->text, 0, width, 0);
    }
    for (size_t i = 0; i < manual->group_count; i++) {
        help_group(manual->groups[i], width, out);
    }
    help_group(&help_group_only, width, out);
    if (manual->after) {
        fputc('\n', out);
        wrap(out, manual->after, 0, width, 0);
    }
    if (manual->example_count) {
        fputs("\nExamples:\n", out);
    }
    for (size_t i = 0; i < manual->example_count; i++) {
        fprintf(out, "  %s\n", manual->examples[i].command);
        wrap(out, manual->examples[i].help, 6, width, 0);
    }
}
