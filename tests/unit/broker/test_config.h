/*
 * What the tests of the configuration share: files in memory, and questions to a report.
 */
#ifndef TF_TESTS_UNIT_BROKER_TEST_CONFIG_H
#define TF_TESTS_UNIT_BROKER_TEST_CONFIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/config.h"

/* A file that exists for a test only. The last of an array has no path. */
struct memory_file {
    const char *path;
    const char *text;
};

/* Reads a file of the array at `context`. */
static inline enum tf_err memory_read(void *context, const char *path, char **ret_text,
                                      size_t *ret_length)
{
    for (const struct memory_file *file = context; file->path; file++) {
        if (strcmp(file->path, path) != 0)
            continue;
        *ret_text = strdup(file->text);
        *ret_length = strlen(file->text);
        return *ret_text ? TF_OK : TF_NO_MEMORY;
    }
    return TF_NOT_FOUND;
}

/* Lists the files whose path is `path`, a slash and a name. */
static inline enum tf_err memory_list(void *context, const char *path,
                                      enum tf_err (*each)(void *each_context, const char *name),
                                      void *each_context)
{
    size_t length = strlen(path);
    bool found = false;
    enum tf_err err = TF_OK;

    for (const struct memory_file *file = context; !err && file->path; file++) {
        if (strncmp(file->path, path, length) != 0 || file->path[length] != '/')
            continue;
        found = true;
        err = each(each_context, file->path + length + 1);
    }
    return err || found ? err : TF_NOT_FOUND;
}

/* One configuration under test. */
struct bench {
    struct tf_config config;
    struct tf_config_report report;
};

static inline void bench_open(struct bench *bench)
{
    tf_config_init_default(&bench->config);
    tf_config_report_init(&bench->report);
}

static inline void bench_close(struct bench *bench)
{
    tf_config_release(&bench->config);
    tf_config_report_release(&bench->report);
}

/* Reads `text` as the file "t.conf"; what was read before stays. */
static inline enum tf_err bench_parse(struct bench *bench, const char *text)
{
    return tf_config_parse_text(&bench->config, "t.conf", text, strlen(text), NULL, &bench->report);
}

/* The finding of this severity whose text has `part` in it; NULL: none. */
static inline const struct tf_config_finding *
bench_find(const struct bench *bench, enum tf_config_severity severity, const char *part)
{
    for (size_t i = 0; i < bench->report.count; i++)
        if (bench->report.items[i].severity == severity &&
            strstr(bench->report.items[i].text, part))
            return &bench->report.items[i];
    return NULL;
}

/* How many findings of this severity there are. */
static inline size_t bench_count(const struct bench *bench, enum tf_config_severity severity)
{
    size_t count = 0;

    for (size_t i = 0; i < bench->report.count; i++)
        count += bench->report.items[i].severity == severity;
    return count;
}

#endif
