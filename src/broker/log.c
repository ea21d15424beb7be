/*
 * The log's lines: see log.h.
 *
 * A line's parts have lengths of their own (FIELD_MAX, TEXT_MAX) whose sum fits the buffer, so no
 * part can push another one out and a JSON line is always closed.
 */
#include "broker/log.h"

#include "base/utf8.h"
#include "base/util.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#define FIELD_MAX 512 /* bytes of a value after escaping */
#define TEXT_MAX 3072 /* bytes of the text after escaping */
#define STAMP_MAX 128

_Static_assert(TF_LOG_FIELDS_MAX *(FIELD_MAX + 48) + TEXT_MAX + STAMP_MAX + 256 <= TF_LOG_LINE_MAX,
               "a line of the greatest parts fits");

/* A line as it grows. */
struct line {
    char text[TF_LOG_LINE_MAX];
    size_t length;
};

static void add(struct line *line, const char *text, size_t length)
{
    size_t room = sizeof(line->text) - 1 - line->length; /* one is kept for the newline */
    if (length > room)
        length = room;
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void add_text(struct line *line, const char *text)
{
    add(line, text, strlen(text));
}

/* The length of the well-formed UTF-8 sequence at `data`; 0: there is none. Unicode 3.9, 3-7. */
static size_t sequence(const uint8_t *data, size_t length)
{
    size_t wanted = 0;
    if (data[0] < 0x80) {
        wanted = 1;
    } else if (data[0] >= 0xC2 && data[0] < 0xF5) {
        wanted = data[0] < 0xE0 ? 2 : data[0] < 0xF0 ? 3 : 4;
    }
    return wanted && wanted <= length && tf_utf8_valid(tf_bytes_of(data, wanted)) ? wanted : 0;
}

/* What stands for the sequence of `length` bytes (0: one bad byte) at `data`. */
static size_t escape(char ret[8], const uint8_t *data, size_t length, bool json, bool quoted)
{
    if (length == 0 || (length == 1 && (data[0] < 0x20 || data[0] == 0x7F)) ||
        (length == 2 && data[0] == 0xC2 && data[1] < 0xA0)) { /* C1 controls */
        unsigned value = length == 2 ? data[1] : data[0];
        if (json && length == 0) {
            memcpy(ret, "\xEF\xBF\xBD", 3); /* U+FFFD: JSON has no way to write a bare byte */
            return 3;
        }
        return (size_t)snprintf(ret, 8, json ? "\\u%04x" : "\\x%02x", value);
    }
    if (quoted && length == 1 && (data[0] == '"' || data[0] == '\\')) {
        ret[0] = '\\';
        ret[1] = (char)data[0];
        return 2;
    }
    memcpy(ret, data, length);
    return length;
}

/* Appends at most `limit` bytes of what `bytes` look like once escaped; cut at a whole one. */
static void add_escaped(struct line *line, struct tf_bytes bytes, size_t limit, bool json,
                        bool quoted)
{
    const uint8_t *next = bytes.data;
    size_t left = bytes.length, used = 0;
    while (left > 0) {
        char out[8];
        size_t step = sequence(next, left);
        size_t length = escape(out, next, step, json, quoted);
        if (used + length + 3 > limit) {
            add_text(line, "...");
            return;
        }
        add(line, out, length);
        used += length;
        step = step ? step : 1;
        next += step;
        left -= step;
    }
}

/* True if a value can stand bare after `name=`. */
static bool bare(struct tf_bytes value)
{
    for (size_t i = 0; i < value.length; i++) {
        uint8_t c = value.data[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7F)
            return false;
    }
    return value.length > 0;
}

static void add_json(struct line *line, const char *name, struct tf_bytes value, size_t limit)
{
    add_text(line, line->length > 1 ? ",\"" : "\"");
    add_text(line, name);
    add_text(line, "\":\"");
    add_escaped(line, value, limit, true, true);
    add_text(line, "\"");
}

static void add_field(struct line *line, const struct tf_log_field *field)
{
    bool plain = bare(field->value);
    add_text(line, field->name);
    add_text(line, plain ? "=" : "=\"");
    add_escaped(line, field->value, FIELD_MAX, false, !plain);
    add_text(line, plain ? " " : "\" ");
}

/* The time of the line, or "" when none is wanted. */
static void stamp(const struct tf_log_config *config, char ret[STAMP_MAX])
{
    uint64_t wall = config->wall_us();
    time_t seconds = (time_t)(wall / 1000000);
    struct tm parts;
    ret[0] = '\0';
    if (!config->json && !config->timestamp)
        return;
    if (config->timestamp_format && !config->json) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \
    "-Wformat-nonliteral" /* the administrator's own, of no memory access */
        if (!localtime_r(&seconds, &parts) ||
            strftime(ret, STAMP_MAX, config->timestamp_format, &parts) == 0)
            ret[0] = '\0';
#pragma GCC diagnostic pop
        return;
    }
    if (!gmtime_r(&seconds, &parts))
        return;
    size_t length = strftime(ret, STAMP_MAX, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(ret + length, STAMP_MAX - length, ".%03uZ", (unsigned)(wall / 1000 % 1000));
}

static void write_line(struct tf_log *log, enum tf_log_level level, const char *part,
                       const struct tf_log_field *fields, size_t count, const char *text)
{
    struct line line;
    char time[STAMP_MAX];
    line.length = 0;
    stamp(&log->config, time);
    if (log->config.json) {
        add_text(&line, "{");
        add_json(&line, "time", tf_bytes_str(time), STAMP_MAX);
        add_json(&line, "level", tf_bytes_str(tf_log_level_name(level)), 32);
        add_json(&line, "part", tf_bytes_str(part), 32);
        for (size_t i = 0; i < count && i < TF_LOG_FIELDS_MAX; i++)
            add_json(&line, fields[i].name, fields[i].value, FIELD_MAX);
        add_json(&line, "text", tf_bytes_str(text), TEXT_MAX);
        add_text(&line, "}");
    } else {
        add_text(&line, time);
        add_text(&line, time[0] ? " " : "");
        add_text(&line, tf_log_level_name(level));
        add_text(&line, " ");
        add_text(&line, part);
        add_text(&line, " ");
        for (size_t i = 0; i < count && i < TF_LOG_FIELDS_MAX; i++)
            add_field(&line, &fields[i]);
        add_escaped(&line, tf_bytes_str(text), TEXT_MAX, false, false);
    }
    line.text[line.length++] = '\n';
    for (size_t i = 0; i < TF_COUNT(log->config.outs); i++) {
        FILE *out = log->config.outs[i];
        if (out) {
            size_t written = fwrite(line.text, 1, line.length, out);
            (void)written; /* a full disk must not end the broker */
            (void)fflush(out);
        }
    }
}

void tf_log_init(struct tf_log *log, const struct tf_log_config *config)
{
    log->config = *config;
    atomic_init(&log->types, config->types);
}

void tf_log_set_types(struct tf_log *log, unsigned types)
{
    atomic_store_explicit(&log->types, types, memory_order_relaxed);
}

void tf_log_write(struct tf_log *log, enum tf_log_level level, const char *part,
                  const struct tf_log_field *fields, size_t count, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    if (!tf_log_enabled(log, level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    write_line(log, level, part, fields, count, text);
}

void tf_log_text(struct tf_log *log, enum tf_log_level level, const char *part, const char *format,
                 ...)
{
    char text[TEXT_MAX];
    va_list args;
    if (!tf_log_enabled(log, level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    write_line(log, level, part, NULL, 0, text);
}

bool tf_log_allow(struct tf_log_limit *limit, tf_time now, tf_time interval,
                  uint64_t *ret_suppressed)
{
    if (now < limit->next) {
        limit->suppressed++;
        return false;
    }
    if (ret_suppressed)
        *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    limit->next = tf_time_add(now, interval);
    return true;
}

const char *tf_log_level_name(enum tf_log_level level)
{
    static const char *const names[] = {"error", "warn",      "notice",     "info",
                                        "debug", "subscribe", "unsubscribe"};
    return (size_t)level < TF_COUNT(names) ? names[level] : "?";
}
