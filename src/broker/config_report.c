/*
 * What was found in a configuration: kept in order, bounded, printed in the form compilers use.
 *
 * Why bounded: a file of a million wrong lines must cost neither memory nor a screen; the first
 * errors are those that help. It must not know keys or values.
 */
#include "broker/config_keys.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define FINDING_TEXT_MAX 600

void tf_config_report_init(struct tf_config_report *report)
{
    *report = (struct tf_config_report){0};
}

void tf_config_report_release(struct tf_config_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->items[i].file);
        free(report->items[i].text);
    }
    free(report->items);
    *report = (struct tf_config_report){0};
}

/* True if one more of this severity is to be kept; errors have their own room. */
static bool report_has_room(const struct tf_config_report *report, enum tf_config_severity severity)
{
    size_t errors = 0;

    for (size_t i = 0; i < report->count; i++)
        errors += report->items[i].severity == TF_CONFIG_ERROR;
    if (severity == TF_CONFIG_ERROR)
        return errors < TF_CONFIG_ERROR_MAX;
    return report->count - errors < TF_CONFIG_REMARK_MAX;
}

static bool report_grow(struct tf_config_report *report)
{
    size_t capacity = report->capacity ? report->capacity * 2 : 8;
    struct tf_config_finding *items;

    if (report->count < report->capacity)
        return true;
    items = realloc(report->items, capacity * sizeof(*items));
    if (!items)
        return false;
    report->items = items;
    report->capacity = capacity;
    return true;
}

void tf_config_report_add(struct tf_config_report *report, enum tf_config_severity severity,
                          struct tf_config_place place, const char *format, ...)
{
    struct tf_config_finding finding = {
        .severity = severity, .line = place.line, .column = place.column};
    char text[FINDING_TEXT_MAX];
    va_list arguments;

    if (severity == TF_CONFIG_ERROR)
        report->errors++;
    if (!report_has_room(report, severity))
        goto drop;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    finding.text = strdup(text);
    if (place.file)
        finding.file = strdup(place.file);
    if (!finding.text || (place.file && !finding.file) || !report_grow(report))
        goto drop;
    report->items[report->count++] = finding;
    return;
drop:
    report->dropped++;
    free(finding.file);
    free(finding.text);
}

enum tf_err tf_config_report_print(const struct tf_config_report *report,
                                   enum tf_config_severity least, FILE *out)
{
    static const char *const names[] = {"error", "warning", "note"};

    for (size_t i = 0; i < report->count; i++) {
        const struct tf_config_finding *finding = &report->items[i];

        if (finding->severity > least)
            continue;
        if (finding->file)
            fprintf(out, "%s:", finding->file);
        if (finding->line > 0)
            fprintf(out, "%u:", finding->line);
        if (finding->line > 0 && finding->column > 0)
            fprintf(out, "%u:", finding->column);
        fprintf(out, "%s%s: %s\n", finding->file ? " " : "", names[finding->severity],
                finding->text);
    }
    if (report->dropped > 0)
        fprintf(out, "and %zu more that are not shown\n", report->dropped);
    return fflush(out) || ferror(out) ? TF_IO : TF_OK;
}
