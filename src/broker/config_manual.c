/*
 * The manual of the configuration, written from the table of keys.
 *
 * Why generated: a manual that is written by hand tells of defaults that were. Three forms of one
 * content; a form is its five functions. It must not know any single key.
 */
#include "broker/config_keys.h"

#include <inttypes.h>
#include <string.h>

#define PART_MAX 200

/* What each form writes. Texts come without markup but for `...` around code. */
struct form {
    void (*text)(FILE *out, const char *text);
    void (*begin)(FILE *out);
    void (*group)(FILE *out, const struct form *form, enum tf_config_group group);
    void (*key)(FILE *out, const struct form *form, const struct tf_config_key *key);
    void (*end)(FILE *out);
};

/* ---- what is said of a key ---- */

/* How the value is written. */
static void say_how(const struct tf_config_key *key, char *ret_text)
{
    ret_text[0] = '\0';
    if (key->kind == TF_CONFIG_KIND_BOOL)
        snprintf(ret_text, PART_MAX, "true | false");
    else if (key->kind == TF_CONFIG_KIND_NUMBER)
        snprintf(ret_text, PART_MAX, "%s", key->unit ? key->unit : "number");
    else if (key->words)
        snprintf(ret_text, PART_MAX, "%s", key->words);
    if (key->kind == TF_CONFIG_KIND_CHOICE || key->kind == TF_CONFIG_KIND_DURABILITY)
        for (char *space = strchr(ret_text, ' '); space; space = strchr(space + 1, ' '))
            *space = '|';
}

static void say_default(const struct tf_config_key *key, char *ret_text)
{
    struct tf_config config;
    struct tf_config_listener listener;
    struct tf_config_queue queue = {0};
    struct tf_config_address address = {0};
    const void *base = &config;

    if (key->text || key->width == 0) {
        snprintf(ret_text, PART_MAX, "%s", key->text ? key->text : "");
        return;
    }
    tf_config_init_default(&config);
    tf_config_listener_init(&listener);
    tf_config_value_defaults(TF_CONFIG_SCOPE_QUEUE, &queue);
    tf_config_value_defaults(TF_CONFIG_SCOPE_ADDRESS, &address);
    if (key->scope == TF_CONFIG_SCOPE_LISTENER)
        base = &listener;
    else if (key->scope == TF_CONFIG_SCOPE_QUEUE)
        base = &queue;
    else if (key->scope == TF_CONFIG_SCOPE_ADDRESS)
        base = &address;
    else if (key->scope == TF_CONFIG_SCOPE_ACCESS)
        base = &config.access;
    tf_config_value_print(key, base, ret_text, PART_MAX);
}

static void say_range(const struct tf_config_key *key, char *ret_text)
{
    ret_text[0] = '\0';
    if (key->kind != TF_CONFIG_KIND_NUMBER)
        return;
    if (key->most >= TF_CONFIG_UNLIMITED - 1) /* no more than what the field holds */
        snprintf(ret_text, PART_MAX, "from %" PRIu64, key->least);
    else
        snprintf(ret_text, PART_MAX, "%" PRIu64 " to %" PRIu64, key->least, key->most);
}

/* Default, range, reload and origin, in a sentence each. */
static void say_facts(const struct tf_config_key *key, char *ret_text, size_t size)
{
    char preset[PART_MAX], range[PART_MAX];

    say_default(key, preset);
    say_range(key, range);
    snprintf(ret_text, size, "%s%s%s%s%s%s%s%s", preset[0] ? "Default: " : "", preset,
             preset[0] ? ". " : "", range[0] ? "Range: " : "", range, range[0] ? ". " : "",
             key->flags & TF_CONFIG_RELOADABLE ? "Reloadable." : "Takes a restart.",
             key->flags & TF_CONFIG_OWN ? " Trefoil's own." : "");
}

/* ---- text ---- */

static void plain_text(FILE *out, const char *text)
{
    fputs(text, out);
}

/* Writes words, broken into lines of 78 columns with `indent` blanks before each. */
static void wrap(FILE *out, const char *text, int indent)
{
    int column = 0;

    while (*text) {
        int length = (int)strcspn(text, " ");

        if (column > 0 && column + 1 + length > 78) {
            fputc('\n', out);
            column = 0;
        }
        column += fprintf(out, "%*s%.*s", column ? 1 : indent, "", length, text);
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void plain_begin(FILE *out)
{
    fputs("trefoil.conf: `key value`, one a line; a line that begins with # is a comment.\n"
          "Options of a listener follow its `listener` line, those of a queue its\n"
          "`queue` line.\n",
          out);
}

static void plain_group(FILE *out, const struct form *form, enum tf_config_group group)
{
    (void)form;
    fprintf(out, "\n%s\n\n", tf_config_group_title(group));
}

static void plain_key(FILE *out, const struct form *form, const struct tf_config_key *key)
{
    char how[PART_MAX], facts[3 * PART_MAX];

    (void)form;
    say_how(key, how);
    fprintf(out, "  %s %s\n", key->name, how);
    wrap(out, key->help, 6);
    if (key->answer == TF_CONFIG_DONE) {
        say_facts(key, facts, sizeof(facts));
        wrap(out, facts, 6);
    }
}

static void plain_end(FILE *out)
{
    (void)out;
}

/* ---- roff ---- */

/* man(7): a backslash, a hyphen and a leading dot or quote mean something else there. */
static void roff_text(FILE *out, const char *text)
{
    bool first = true, code = false;

    for (; *text; text++) {
        if (*text == '`') {
            fputs(code ? "\\fR" : "\\fB", out);
            code = !code;
        } else if (*text == '\\') {
            fputs("\\e", out);
        } else if (*text == '-') {
            fputs("\\-", out);
        } else {
            if (first && (*text == '.' || *text == '\''))
                fputs("\\&", out);
            fputc(*text, out);
        }
        first = false;
    }
}

static void roff_begin(FILE *out)
{
    fputs(".TH TREFOIL.CONF 5 \"\" Trefoil\n"
          ".SH NAME\n"
          "trefoil.conf \\- configuration of the Trefoil broker\n"
          ".SH DESCRIPTION\n"
          "The language is that of mosquitto.conf: a key and its value in each line; a line that\n"
          "begins with # is a comment; options of a listener follow its \\fBlistener\\fR line,\n"
          "those of a queue its \\fBqueue\\fR line.\n"
          "A line may have 8192 bytes. Anything wrong is told with its file, line and column, and\n"
          "then nothing of the file takes effect. \\fBtrefoil serve \\-c\\fR \\fIfile\\fR\n"
          "\\fB\\-\\-check\\fR reads a file, says what it finds and ends.\n",
          out);
}

static void roff_group(FILE *out, const struct form *form, enum tf_config_group group)
{
    fputs(".SH ", out);
    form->text(out, tf_config_group_title(group));
    fputc('\n', out);
}

static void roff_key(FILE *out, const struct form *form, const struct tf_config_key *key)
{
    char how[PART_MAX], facts[3 * PART_MAX];

    say_how(key, how);
    fputs(".TP\n\\fB", out);
    form->text(out, key->name);
    fputs("\\fR \\fI", out);
    form->text(out, how);
    fputs("\\fR\n", out);
    form->text(out, key->help);
    fputc('\n', out);
    if (key->answer == TF_CONFIG_DONE) {
        say_facts(key, facts, sizeof(facts));
        form->text(out, facts);
        fputc('\n', out);
    }
}

static void roff_end(FILE *out)
{
    fputs(".SH SEE ALSO\n\\fBtrefoil\\fR(1)\n", out);
}

/* ---- markdown ---- */

/* In a table a `|` ends the cell, and `*` and `_` outside of code mean something else. */
static void markdown_text(FILE *out, const char *text)
{
    bool code = false;

    for (; *text; text++) {
        code ^= *text == '`';
        if (*text == '|' || (!code && (*text == '*' || *text == '_')))
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void markdown_begin(FILE *out)
{
    (void)out;
}

static void markdown_group(FILE *out, const struct form *form, enum tf_config_group group)
{
    fputs("\n### ", out);
    form->text(out, tf_config_group_title(group));
    fputs(group < TF_CONFIG_GROUP_MEANINGLESS
              ? "\n\n| key | value | default | range | reload | what it does |\n"
                "| --- | --- | --- | --- | --- | --- |\n"
              : "\n\n| key | reason |\n| --- | --- |\n",
          out);
}

static void markdown_key(FILE *out, const struct form *form, const struct tf_config_key *key)
{
    char how[PART_MAX], preset[PART_MAX], range[PART_MAX];

    fprintf(out, "| `%s` | ", key->name);
    if (key->answer == TF_CONFIG_DONE) {
        say_how(key, how);
        say_default(key, preset);
        say_range(key, range);
        form->text(out, how);
        fputs(" | ", out);
        form->text(out, preset);
        fprintf(out, " | %s | %s | ", range, key->flags & TF_CONFIG_RELOADABLE ? "yes" : "no");
    }
    form->text(out, key->help);
    fputs(key->flags & TF_CONFIG_OWN ? " (Trefoil's own.) |\n" : " |\n", out);
}

enum tf_err tf_config_manual(FILE *out, enum tf_config_manual_form form)
{
    static const struct form forms[] = {
        [TF_CONFIG_MANUAL_TEXT] = {plain_text, plain_begin, plain_group, plain_key, plain_end},
        [TF_CONFIG_MANUAL_ROFF] = {roff_text, roff_begin, roff_group, roff_key, roff_end},
        [TF_CONFIG_MANUAL_MARKDOWN] = {markdown_text, markdown_begin, markdown_group, markdown_key,
                                       plain_end},
    };
    const struct form *chosen = &forms[form];

    chosen->begin(out);
    for (unsigned group = 0; group < TF_CONFIG_GROUP_COUNT; group++) {
        chosen->group(out, chosen, (enum tf_config_group)group);
        for (size_t i = 0; i < tf_config_key_count; i++)
            if (tf_config_keys[i].group == group)
                chosen->key(out, chosen, &tf_config_keys[i]);
    }
    chosen->end(out);
    return fflush(out) || ferror(out) ? TF_IO : TF_OK;
}
