/*
 * `trefoil store`: the store of a broker, looked at and copied.
 */
#include "cli/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/data_folder.h"
#include "cli/help.h"

#define LONGEST 10u

enum { VERB_MAX = 5 };

struct verb {
    const char *name;
    int (*run)(const struct tf_cli_store *store);
    bool target; /* takes a folder */
    bool file, limit;
};

static const struct verb verbs[VERB_MAX] = {
    {"check", tf_cli_store_check, false, false, false},
    {"stats", tf_cli_store_stats, false, false, true},
    {"export", tf_cli_store_export, false, true, false},
    {"import", tf_cli_store_import, false, true, false},
    {"backup", tf_cli_store_backup, true, false, false},
};

/* ---- the manual ---- */

static const struct tf_cli_option options[] = {
    {'d', "data", "DIR",
     "the folder of the store; by default $XDG_STATE_HOME/trefoil, or ~/.local/state/trefoil"},
    {'o', "output", "text|json", "check, stats and backup: text (default), or a JSON object"},
    {'f', "file", "FILE", "export: write there instead of stdout; import: read that, not stdin"},
    {'n', "limit", "COUNT", "stats: so many of the longest queues, by default 10"},
};

static const struct tf_cli_group store_group = {"Store", options, TF_COUNT(options)};
static const struct tf_cli_group *const groups[] = {&store_group};

static const struct tf_cli_example examples[] = {
    {"trefoil store check", "Is all of it readable?"},
    {"trefoil store stats --data /var/lib/trefoil -n 3", "What takes the space."},
    {"trefoil store backup /backup/trefoil-monday", "A copy, while the broker runs."},
    {"trefoil serve --data /backup/trefoil-monday", "That copy, in use."},
    {"trefoil store export | gzip > store.ndjson.gz", "All of it as text."},
    {"zcat store.ndjson.gz | trefoil store import --data /var/lib/trefoil", "And back."},
};

const struct tf_cli_manual tf_cli_store_manual = {
    .name = "store",
    .usage = "check|stats|export|import|backup [DIR] [OPTION]...",
    .summary = "check, count, copy and convert the store of a broker",
    .text =
        "`check` reads every byte of the store and tells what is damaged; it changes nothing. "
        "`stats` tells what is in it. `export` writes all that is in it as JSON, an object a line; "
        "`import` makes a store of that, where there is none or an empty one. These four want the "
        "broker to be stopped.\n\n"
        "`backup` copies the store to DIR, which is made, while a broker uses it or not. All that "
        "was acknowledged before it began is in the copy. It is read and checked before DIR gets "
        "its name. To use it, name it to `trefoil serve --data`.",
    .groups = groups,
    .group_count = TF_COUNT(groups),
    .after = "Exit: 0 done; 1 internal, a disk that does not work; 2 command line, a file that "
             "cannot be imported; 5 a broker has the store, or there is something where the new "
             "one would be; 7 something is damaged or lost.",
    .examples = examples,
    .example_count = TF_COUNT(examples)};

#define MANUAL (&tf_cli_store_manual)

/* ---- the command line ---- */

struct arguments {
    struct tf_cli_store store;
    const char *data;
    bool file, limit, output;
};

static int take(void *ctx, int key, const char *value)
{
    struct arguments *arguments = ctx;
    switch (key) {
    case 'd':
        arguments->data = value;
        return value[0] ? -1 : tf_cli_misuse(MANUAL, "--data takes a folder");
    case 'o':
        arguments->output = true;
        arguments->store.json = strcmp(value, "json") == 0;
        return arguments->store.json || strcmp(value, "text") == 0
                   ? -1
                   : tf_cli_misuse(MANUAL, "--output takes text or json, not \"%.40s\"", value);
    case 'f':
        arguments->file = true;
        arguments->store.file = strcmp(value, "-") == 0 ? NULL : value;
        return -1;
    default:
        arguments->limit = true;
        return tf_cli_number(MANUAL, "--limit", value, 0, UINT32_MAX, &arguments->store.limit);
    }
}

static const struct verb *verb_of(const char *word)
{
    for (size_t i = 0; i < VERB_MAX; i++) {
        if (strcmp(word, verbs[i].name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static int check_arguments(struct arguments *arguments, int count, char **words,
                           const struct verb **ret_verb)
{
    const struct verb *verb = count ? verb_of(words[0]) : NULL;
    if (!count) {
        return tf_cli_misuse(MANUAL, "what is to be done: check, stats, export, import or backup?");
    }
    if (!verb) {
        return tf_cli_misuse(MANUAL,
                             "there is no verb \"%.40s\": it is check, stats, export, "
                             "import or backup",
                             words[0]);
    }
    if (verb->target && (count < 2 || !words[1][0])) {
        return tf_cli_misuse(MANUAL, "%s needs the folder that is to be made", verb->name);
    }
    if (count > 1 + verb->target) {
        return tf_cli_misuse(MANUAL, "what is \"%.60s\"? The store is named by --data",
                             words[1 + verb->target]);
    }
    if ((arguments->file && !verb->file) || (arguments->limit && !verb->limit) ||
        (arguments->output && verb->file)) {
        return tf_cli_misuse(MANUAL, "%s has no option %s", verb->name,
                             arguments->file && !verb->file     ? "--file"
                             : arguments->limit && !verb->limit ? "--limit"
                                                                : "--output");
    }
    arguments->store.target = verb->target ? words[1] : NULL;
    *ret_verb = verb;
    return -1;
}

int tf_cli_store(int argc, char **argv)
{
    struct arguments arguments = {.store.limit = LONGEST};
    const struct verb *verb = NULL;
    int first = 0;
    int code = tf_cli_manual_parse(MANUAL, argc, argv, take, &arguments, &first);
    if (code < 0) {
        code = check_arguments(&arguments, argc - first, argv + first, &verb);
    }
    if (code >= 0) {
        return code;
    }
    switch (tf_cli_data_folder(arguments.data, &arguments.store.folder)) {
    case TF_OK:
        break;
    case TF_NOT_FOUND:
        return tf_cli_misuse(MANUAL, "where is the store? HOME is not set, so name it by --data");
    default:
        tf_cli_store_say("no memory");
        return TF_EXIT_INTERNAL;
    }
    code = verb->run(&arguments.store);
    free(arguments.store.folder);
    return code;
}
