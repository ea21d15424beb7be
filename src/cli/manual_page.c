/*
 * Manual pages from the tables of options, in the man macros (groff_man(7)).
 */
#include "cli/manual.h"

#include <ctype.h>
#include <string.h>

/* Text as troff takes it: no escape, no request at the start of a line, hyphens that are typed. */
static void say(const char *text, size_t length, FILE *out)
{
    bool fresh = true;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (fresh && (c == '.' || c == '\'')) {
            fputs("\\&", out);
        }
        if (c == '\\') {
            fputs("\\e", out);
        } else if (c == '-') {
            fputs("\\-", out);
        } else if (c == '`') {
            fputs("\\(ga", out);
        } else if (c == '\'') {
            fputs("\\(aq", out);
        } else if (c == '^') {
            fputs("\\(ha", out);
        } else if (c == '~') {
            fputs("\\(ti", out);
        } else {
            fputc(c, out);
        }
        fresh = c == '\n';
    }
}

static void say_line(const char *text, FILE *out)
{
    say(text, strlen(text), out);
    fputc('\n', out);
}

/* Paragraphs; lines that begin with a space stay lines. */
static void say_text(const char *text, FILE *out)
{
    bool literal = false;
    while (*text) {
        size_t length = strcspn(text, "\n");
        bool as_it_is = *text == ' ';
        if (as_it_is != literal) {
            fputs(as_it_is ? ".PP\n.nf\n" : ".fi\n", out);
            literal = as_it_is;
        }
        if (length == 0) {
            fputs(".PP\n", out);
        } else {
            say(text, length, out);
            fputc('\n', out);
        }
        text += length + (text[length] == '\n');
    }
    if (literal) {
        fputs(".fi\n", out);
    }
}

static void say_option(const struct tf_cli_option *option, FILE *out)
{
    fputs(".TP\n", out);
    if (option->key < 256) {
        fprintf(out, "\\fB\\-%c\\fR, ", option->key);
    }
    fputs("\\fB\\-\\-", out);
    say(option->name, strlen(option->name), out);
    fputs("\\fR", out);
    if (option->value) {
        fputs(" \\fI", out);
        say(option->value, strlen(option->value), out);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    say_line(option->help, out);
}

/* A title in capitals. */
static void say_title(const char *title, FILE *out)
{
    fputs(".SH ", out);
    for (; *title; title++) {
        fputc(toupper((unsigned char)*title), out);
    }
    fputc('\n', out);
}

void tf_cli_manual_page(const struct tf_cli_manual *manual, FILE *out)
{
    fputs(".TH TREFOIL\\-", out);
    for (const char *c = manual->name; *c; c++) {
        fputc(toupper((unsigned char)*c), out);
    }
    fprintf(out, " 1 \"\" \"trefoil %s\" \"Trefoil Manual\"\n", TREFOIL_VERSION);
    fprintf(out, ".SH NAME\ntrefoil\\-%s \\- ", manual->name);
    say_line(manual->summary, out);
    fprintf(out, ".SH SYNOPSIS\n\\fBtrefoil %s\\fR ", manual->name);
    say_line(manual->usage, out);
    if (manual->text) {
        fputs(".SH DESCRIPTION\n", out);
        say_text(manual->text, out);
    }
    for (size_t i = 0; i < manual->group_count; i++) {
        say_title(manual->groups[i]->title, out);
        for (size_t j = 0; j < manual->groups[i]->count; j++) {
            say_option(&manual->groups[i]->options[j], out);
        }
    }
    if (manual->after) {
        fputs(".SH NOTES\n", out);
        say_text(manual->after, out);
    }
    if (manual->example_count) {
        fputs(".SH EXAMPLES\n", out);
    }
    for (size_t i = 0; i < manual->example_count; i++) {
        fputs(".PP\n.nf\n\\fB", out);
        say(manual->examples[i].command, strlen(manual->examples[i].command), out);
        fputs("\\fR\n.fi\n.RS 4\n", out);
        say_line(manual->examples[i].help, out);
        fputs(".RE\n", out);
    }
    fputs(".SH SEE ALSO\n.BR trefoil (1)\n", out);
}
