/*
 * Cuts configuration files into lines, and lines into key and value.
 *
 * Why two steps (here and config_apply.c): whatever bytes a file has, what leaves here is a short
 * line without NUL, with its place. A file is read into a copy of the configuration that takes the
 * original's place only if nothing was wrong. It must not know any key but include_dir's effect.
 */
#include "broker/config_keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is left of a file. */
struct lines {
    const char *next;
    const char *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_space(char c)
{
    return is_blank(c) || c == '\r' || c == '\v' || c == '\f';
}

/* Reads one line, `line` without its newline. Faults go to the report. TF_NO_MEMORY. */
static enum tf_err read_line(struct tf_config_build *build, struct tf_config_text line,
                             struct tf_config_text *ret_include)
{
    const char *nul = line.length ? memchr(line.data, '\0', line.length) : NULL;
    struct tf_config_text name = {0}, value = {0};
    size_t i = 0, end = line.length;

    *ret_include = (struct tf_config_text){0};
    if (nul) {
        build->place.column = (unsigned)(nul - line.data) + 1;
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "there is a NUL byte: this is not a text file, or it is damaged");
        return TF_OK;
    }
    while (end > 0 && is_space(line.data[end - 1]))
        end--;
    while (i < end && is_blank(line.data[i]))
        i++;
    if (i == end || line.data[i] == '#')
        return TF_OK;
    if (end > TF_CONFIG_LINE_MAX) {
        build->place.column = TF_CONFIG_LINE_MAX + 1;
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "the line is longer than %d bytes", TF_CONFIG_LINE_MAX);
        return TF_OK;
    }
    name.data = line.data + i;
    while (i < end && !is_blank(line.data[i]))
        i++;
    name.length = (size_t)(line.data + i - name.data);
    build->place.column = (unsigned)(name.data - line.data) + 1;
    while (i < end && is_blank(line.data[i]))
        i++;
    value = (struct tf_config_text){line.data + i, end - i};
    build->value_column = (unsigned)i + 1;
    return tf_config_apply(build, name, value, ret_include);
}

/* Reads lines to the end of the file, or to an include_dir, whose value is then `*ret_include`. */
static enum tf_err read_lines(struct tf_config_build *build, struct lines *lines,
                              struct tf_config_text *ret_include)
{
    enum tf_err err = TF_OK;

    *ret_include = (struct tf_config_text){0};
    while (!err && lines->next < lines->end && !ret_include->data) {
        size_t left = (size_t)(lines->end - lines->next);
        const char *newline = memchr(lines->next, '\n', left);
        struct tf_config_text line = {lines->next,
                                      newline ? (size_t)(newline - lines->next) : left};

        if (build->report->errors >= TF_CONFIG_ERROR_MAX) {
            lines->next = lines->end;
            return TF_OK;
        }
        build->place.line++;
        lines->next += line.length + (newline != NULL);
        err = read_line(build, line, ret_include);
        build->place.column = 0;
        if (!newline)
            tf_config_report_add(build->report, TF_CONFIG_WARNING, build->place,
                                 "the file ends without a newline: is its end missing?");
    }
    return err;
}

static struct lines lines_of(const char *text, size_t length)
{
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        return (struct lines){text + 3, text + length};
    return (struct lines){text, text + length};
}

/* ---- include_dir ---- */

/* The names of the files to include. */
struct names {
    char **items;
    size_t count;
    size_t room; /* how many more files may be included at all */
};

static enum tf_err names_add(void *context, const char *name)
{
    struct names *names = context;
    size_t length = strlen(name);
    char **grown, *copy;

    if (length <= 5 || strcmp(name + length - 5, ".conf") != 0)
        return TF_OK;
    if (names->count >= names->room)
        return TF_LIMIT;
    grown = realloc(names->items, (names->count + 1) * sizeof(*grown));
    if (!grown)
        return TF_NO_MEMORY;
    names->items = grown;
    copy = strdup(name);
    if (!copy)
        return TF_NO_MEMORY;
    names->items[names->count++] = copy;
    return TF_OK;
}

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

/* A letter's place: A, a, B, b; what is no letter by its code. */
static int letter_rank(char c)
{
    int upper = c >= 'a' && c <= 'z' ? c - 'a' + 'A' : (unsigned char)c;

    return upper * 2 + (c >= 'a' && c <= 'z');
}

/* mosquitto's order: by letter, the upper case of each before its lower case. */
static int names_compare(const void *a, const void *b)
{
    const char *left = *(char *const *)a, *right = *(char *const *)b;

    while (*left && *left == *right) {
        left++;
        right++;
    }
    return letter_rank(*left) - letter_rank(*right);
}

/* Says why a file or folder could not be read. */
static void report_unreadable(struct tf_config_build *build, const char *path, enum tf_err err)
{
    const char *why = err == TF_NOT_FOUND ? "there is no such file or folder"
                      : err == TF_LIMIT   ? "it is too large"
                                          : strerror(errno);

    tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place, "cannot read `%.300s`: %s",
                         path, why);
}

/* Reads one file of an include_dir. */
static enum tf_err include_file(struct tf_config_build *build, const char *path)
{
    struct tf_config_place outer = build->place;
    size_t current = build->current, queue = build->queue;
    bool bridge = build->bridge;
    struct tf_config_text none;
    struct lines lines;
    char *text;
    size_t length;
    enum tf_err err = build->io->read(build->io->context, path, &text, &length);

    if (!err) {
        build->included_bytes += length;
        if (build->included_bytes > TF_CONFIG_FILE_MAX) {
            free(text);
            err = TF_LIMIT;
        }
    }
    if (err == TF_NO_MEMORY)
        return err;
    if (err) {
        report_unreadable(build, path, err);
        return TF_OK;
    }
    tf_config_apply_section(build);
    build->nested = true;
    build->current = 0;
    build->queue = 0;
    build->bridge = false;
    build->place = (struct tf_config_place){.file = path};
    lines = lines_of(text, length);
    err = read_lines(build, &lines, &none);
    tf_config_apply_section(build);
    build->place = outer;
    build->current = current;
    build->queue = queue;
    build->bridge = bridge;
    build->nested = false;
    free(text);
    return err;
}

static enum tf_err include_names(struct tf_config_build *build, const char *folder,
                                 const struct names *names)
{
    size_t folder_length = strlen(folder);
    bool slash = folder_length > 0 && folder[folder_length - 1] == '/';
    enum tf_err err = TF_OK;

    for (size_t i = 0; !err && i < names->count && build->report->errors < TF_CONFIG_ERROR_MAX;
         i++) {
        size_t size = folder_length + strlen(names->items[i]) + 2;
        char *path = malloc(size);

        if (!path)
            return TF_NO_MEMORY;
        snprintf(path, size, "%s%s%s", folder, slash ? "" : "/", names->items[i]);
        err = include_file(build, path);
        free(path);
    }
    return err;
}

static enum tf_err include_folder(struct tf_config_build *build, struct tf_config_text value)
{
    struct names names = {.room = TF_CONFIG_INCLUDE_MAX - build->included};
    char *folder = tf_config_text_copy(value);
    enum tf_err err = TF_NO_MEMORY;

    if (!folder)
        return TF_NO_MEMORY;
    build->place.column = build->value_column;
    if (!build->io) {
        err = TF_OK;
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "`include_dir` cannot be read here");
        goto out;
    }
    err = build->io->list(build->io->context, folder, names_add, &names);
    if (err == TF_LIMIT) {
        tf_config_report_add(build->report, TF_CONFIG_ERROR, build->place,
                             "more than %d files to include", TF_CONFIG_INCLUDE_MAX);
    } else if (err && err != TF_NO_MEMORY) {
        report_unreadable(build, folder, err);
    }
    if (err) {
        if (err != TF_NO_MEMORY)
            err = TF_OK;
        goto out;
    }
    if (names.count > 0)
        qsort(names.items, names.count, sizeof(*names.items), names_compare);
    build->included += names.count;
    err = include_names(build, folder, &names);
out:
    build->place.column = 0;
    names_free(&names);
    free(folder);
    return err;
}

/* ---- the steps ---- */

enum tf_err tf_config_parse_text(struct tf_config *config, const char *name, const char *text,
                                 size_t length, const struct tf_config_io *io,
                                 struct tf_config_report *report)
{
    struct tf_config_build build = {.report = report, .io = io, .place = {.file = name}};
    struct lines lines = lines_of(text, length);
    struct tf_config_text include;
    struct tf_config fresh;
    size_t before = report->errors;
    enum tf_err err = tf_config_clone(&fresh, config);

    if (err)
        return err;
    build.config = &fresh;
    tf_config_listener_init(&build.plain);
    while (!err && lines.next < lines.end) {
        err = read_lines(&build, &lines, &include);
        if (!err && include.data)
            err = include_folder(&build, include);
    }
    build.place = (struct tf_config_place){.file = name};
    if (err)
        tf_config_listener_release(&build.plain);
    else
        err = tf_config_apply_end(&build);
    if (!err && tf_config_report_worse(report, before))
        err = TF_PROTOCOL;
    if (err) {
        tf_config_release(&fresh);
        return err;
    }
    tf_config_release(config);
    *config = fresh;
    return TF_OK;
}

enum tf_err tf_config_parse_file(struct tf_config *config, const char *path,
                                 const struct tf_config_io *io, struct tf_config_report *report)
{
    struct tf_config_build build = {.report = report};
    char *text;
    size_t length;
    enum tf_err err = io->read(io->context, path, &text, &length);

    if (err) {
        if (err != TF_NO_MEMORY)
            report_unreadable(&build, path, err);
        return err == TF_LIMIT ? TF_PROTOCOL : err;
    }
    err = tf_config_parse_text(config, path, text, length, io, report);
    free(text);
    return err;
}

enum tf_err tf_config_set(struct tf_config *config, const char *key, const char *value,
                          const char *origin, struct tf_config_report *report)
{
    struct tf_config_build build = {.config = config, .report = report, .place = {.file = origin}};
    struct tf_config_text name = {key, strlen(key)}, text = {value, strlen(value)}, include;
    const struct tf_config_key *row = tf_config_key_find(name);
    size_t before = report->errors;
    enum tf_err err;

    if (row && row->answer == TF_CONFIG_DONE &&
        (row->scope == TF_CONFIG_SCOPE_LISTENER || row->scope == TF_CONFIG_SCOPE_QUEUE ||
         row->width == 0)) {
        tf_config_report_add(report, TF_CONFIG_ERROR, build.place,
                             "`%s` belongs to a listener, a queue or a file, not to the whole",
                             row->name);
        return TF_PROTOCOL;
    }
    err = tf_config_apply(&build, name, text, &include);
    return !err && tf_config_report_worse(report, before) ? TF_PROTOCOL : err;
}
