/*
 * `trefoil help`.
 */
#include "cli/help.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "broker/config.h"
#include "cli/cli.h"

#define PATH_MAX_BYTES 1024

static const struct tf_cli_option options[] = {
    {'m', "man", NULL,
     "write the manual page, in the man macros; without a subject that of trefoil"},
    {'w', "write-man", "DIR", "write all manual pages into a folder, as trefoil.1, trefoil-pub.1"},
    {'c', "completion", "bash|fish",
     "write the completion for a shell; zsh takes bash's after `autoload bashcompinit; "
     "bashcompinit`"},
};

static const struct tf_cli_group group = {"Forms", options, TF_COUNT(options)};
static const struct tf_cli_group *const groups[] = {&group};

static const struct tf_cli_example examples[] = {
    {"trefoil help sub", "All about `trefoil sub`."},
    {"trefoil help configuration", "Every key of the configuration of `trefoil serve`."},
    {"trefoil help --man pub | man -l -", "Its manual page."},
    {"trefoil help --completion bash > /etc/bash_completion.d/trefoil", "For all users."},
};

static const struct tf_cli_manual help_manual = {
    .name = "help",
    .usage = "[COMMAND | configuration] [OPTION]",
    .summary = "tell all about a command or the configuration",
    .groups = groups,
    .group_count = TF_COUNT(groups),
    .examples = examples,
    .example_count = TF_COUNT(examples)};

static const char overview_text[] =
    "A URL is mqtt://[USER[:PASSWORD]@]HOST[:PORT]/ADDRESS; what follows the slash is the\n"
    "address, literally, percent-decoded. Or it is coap://HOST[:PORT]/PATH[?QUERY], or\n"
    "amqp://[USER[:PASSWORD]@]HOST[:PORT]/ADDRESS.\n"
    "\n"
    "Exit: 0 done, 1 internal, 2 usage, 3 network, 4 TLS or authentication, 5 refused by the\n"
    "peer, 6 time-out, 7 verification failed. Data goes to stdout, all else to stderr.\n";

static const char title[] =
    "One broker for CoAP, MQTT and AMQP 1.0 over a single address space, and its tools.\n"
    "This version speaks MQTT 3.1.1 and 5.0, CoAP over UDP, and AMQP 1.0.\n";

void tf_cli_help_overview(const struct tf_cli_command *commands, size_t count, FILE *out)
{
    fprintf(out, "Usage: trefoil COMMAND [ARGUMENT]...\n%s\n", title);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "  trefoil %s %s\n        %s\n", commands[i].name, commands[i].usage,
                commands[i].help);
    }
    fprintf(out,
            "\n"
            "  trefoil COMMAND --help   all about one command\n"
            "  trefoil help --help      manual pages, the configuration, completion for shells\n"
            "  trefoil --version        the version\n"
            "\n%s",
            overview_text);
}

/* ---- manual pages ---- */

/* trefoil(1) */
static void write_overview_page(const struct tf_cli_command *commands, size_t count, FILE *out)
{
    fprintf(out,
            ".TH TREFOIL 1 \"\" \"trefoil %s\" \"Trefoil Manual\"\n"
            ".SH NAME\ntrefoil \\- broker for CoAP, MQTT and AMQP, and its tools\n"
            ".SH SYNOPSIS\n\\fBtrefoil\\fR \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...\n"
            ".SH DESCRIPTION\n%s.SH COMMANDS\n",
            TREFOIL_VERSION, title);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, ".TP\n.BR trefoil\\-%s (1)\n%s\n", commands[i].name, commands[i].help);
    }
    fprintf(out, ".SH NOTES\n%s", overview_text);
}

/* A page of text that is as it is: neither escapes nor requests are looked for in it. */
static void write_text_page(const struct tf_cli_command *command, FILE *out)
{
    fprintf(out,
            ".TH TREFOIL\\-%s 1 \"\" \"trefoil %s\" \"Trefoil Manual\"\n"
            ".SH NAME\ntrefoil\\-%s \\- %s\n"
            ".SH DESCRIPTION\n.nf\n.eo\n.cc |\n%s|cc\n.ec\n.fi\n"
            ".SH SEE ALSO\n.BR trefoil (1)\n",
            command->name, TREFOIL_VERSION, command->name, command->help, command->text);
}

static void write_page(const struct tf_cli_command *command, FILE *out)
{
    if (command->manual) {
        tf_cli_manual_page(command->manual, out);
    } else {
        write_text_page(command, out);
    }
}

/* `command` NULL: the overview. */
static int write_file(const char *folder, const struct tf_cli_command *command,
                      const struct tf_cli_command *commands, size_t count)
{
    char path[PATH_MAX_BYTES];
    int length = snprintf(path, sizeof(path), "%s/trefoil%s%s.1", folder, command ? "-" : "",
                          command ? command->name : "");
    FILE *file = length < (int)sizeof(path) ? fopen(path, "w") : NULL;
    bool failed = !file;
    if (file) {
        if (command) {
            write_page(command, file);
        } else {
            write_overview_page(commands, count, file);
        }
        failed = ferror(file) != 0;
        failed = fclose(file) != 0 || failed;
    }
    if (failed) {
        fprintf(stderr, "trefoil help: cannot write %.200s: %s\n", path, strerror(errno));
    }
    return failed ? TF_EXIT_INTERNAL : TF_EXIT_DONE;
}

static int write_all(const char *folder, const struct tf_cli_command *commands, size_t count)
{
    int code = write_file(folder, NULL, commands, count);
    for (size_t i = 0; i < count && code == TF_EXIT_DONE; i++) {
        code = write_file(folder, &commands[i], commands, count);
    }
    return code;
}

/* ---- completion ---- */

/* Calls `say` for each option of a command. */
static void each_option(const struct tf_cli_command *command,
                        void (*say)(const struct tf_cli_command *command,
                                    const struct tf_cli_option *option))
{
    const struct tf_cli_manual *manual = command->manual;
    for (size_t i = 0; manual && i < manual->group_count; i++) {
        for (size_t j = 0; j < manual->groups[i]->count; j++) {
            say(command, &manual->groups[i]->options[j]);
        }
    }
}

static void say_bash(const struct tf_cli_command *command, const struct tf_cli_option *option)
{
    (void)command;
    printf(" --%s", option->name);
}

static void complete_bash(const struct tf_cli_command *commands, size_t count)
{
    fputs("# bash completion for trefoil\n"
          "_trefoil()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        words='help",
          stdout);
    for (size_t i = 0; i < count; i++) {
        printf(" %s", commands[i].name);
    }
    fputs(" --help --version'\n"
          "    elif [ \"${word#-}\" != \"$word\" ]; then\n"
          "        case ${COMP_WORDS[1]} in\n",
          stdout);
    for (size_t i = 0; i < count; i++) {
        printf("        %s) words='--help", commands[i].name);
        each_option(&commands[i], say_bash);
        fputs("' ;;\n", stdout);
    }
    fputs("        esac\n"
          "    fi\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
          "}\n"
          "complete -o default -F _trefoil trefoil\n",
          stdout);
}

/* Text between single quotes, as fish reads it. */
static void quote_fish(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') {
            putchar('\\');
        }
        putchar(*text);
    }
    putchar('\'');
}

static void say_fish(const struct tf_cli_command *command, const struct tf_cli_option *option)
{
    printf("complete -c trefoil -n '__fish_seen_subcommand_from %s' -l %s", command->name,
           option->name);
    if (option->key < 256) {
        printf(" -s %c", option->key);
    }
    fputs(option->value ? " -r -d " : " -d ", stdout);
    quote_fish(option->help);
    putchar('\n');
}

static void complete_fish(const struct tf_cli_command *commands, size_t count)
{
    puts("# fish completion for trefoil");
    for (size_t i = 0; i < count; i++) {
        printf("complete -c trefoil -f -n __fish_use_subcommand -a %s -d ", commands[i].name);
        quote_fish(commands[i].help);
        putchar('\n');
        each_option(&commands[i], say_fish);
    }
}

/* ---- the command ---- */

struct arguments {
    const char *folder, *shell;
    bool man;
};

static int take(void *ctx, int key, const char *value)
{
    struct arguments *arguments = ctx;
    if (key == 'm') {
        arguments->man = true;
    } else if (key == 'w') {
        arguments->folder = value;
    } else if (strcmp(value, "bash") == 0 || strcmp(value, "fish") == 0) {
        arguments->shell = value;
    } else {
        return tf_cli_misuse(&help_manual, "--completion takes bash or fish, not \"%.40s\"", value);
    }
    return -1;
}

/* Help or the page of one command. */
static int tell(const struct tf_cli_command *command, bool man)
{
    char name[32], option[] = "--help";
    char *argv[] = {name, option, NULL};
    if (man) {
        write_page(command, stdout);
        return TF_EXIT_DONE;
    }
    snprintf(name, sizeof(name), "%s", command->name);
    return command->run(2, argv);
}

static int tell_one(const char *name, bool man, const struct tf_cli_command *commands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return tell(&commands[i], man);
        }
    }
    if (strcmp(name, "configuration") == 0) {
        return tf_config_manual(stdout, man ? TF_CONFIG_MANUAL_ROFF : TF_CONFIG_MANUAL_TEXT)
                   ? TF_EXIT_INTERNAL
                   : TF_EXIT_DONE;
    }
    return tf_cli_misuse(&help_manual, "there is no command \"%.40s\"", name);
}

int tf_cli_help(int argc, char **argv, const struct tf_cli_command *commands, size_t count)
{
    struct arguments arguments = {0};
    int first = 0;
    int code = tf_cli_manual_parse(&help_manual, argc, argv, take, &arguments, &first);
    if (code >= 0) {
        return code;
    }
    code = TF_EXIT_DONE;
    if (arguments.folder) {
        code = write_all(arguments.folder, commands, count);
    } else if (arguments.shell && arguments.shell[0] == 'b') {
        complete_bash(commands, count);
    } else if (arguments.shell) {
        complete_fish(commands, count);
    } else if (first < argc) {
        code = tell_one(argv[first], arguments.man, commands, count);
    } else if (arguments.man) {
        write_overview_page(commands, count, stdout);
    } else {
        tf_cli_help_overview(commands, count, stdout);
    }
    return fflush(stdout) && code == TF_EXIT_DONE ? TF_EXIT_INTERNAL : code;
}
