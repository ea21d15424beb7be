/*
 * The log: one line an event, as text or JSON, to stderr, stdout or a file.
 *
 *     2026-11-20T10:00:00.000Z warn mqtt client=c1 packet too large
 *     {"time":"2026-11-20T10:00:00.000Z","level":"warn","part":"mqtt","client":"c1","text":"..."}
 *
 * A line is made on the stack and written by one call, so lines of several threads never mix. What
 * peers chose (names, addresses, reasons) goes in as fields, or as an argument of the text; either
 * way a byte that could break the line, move a terminal's cursor or is not UTF-8 is escaped, and
 * what is too long is cut, so nobody can forge a line.
 *
 * It knows no socket, shard or protocol, and nothing here is global: whoever may log is given the
 * log. After tf_log_init any thread may use it; only the destinations' opening is not concurrent.
 */
#ifndef TF_BROKER_LOG_H
#define TF_BROKER_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <trefoil/bytes.h>
#include <trefoil/err.h>
#include <trefoil/time.h>

#define TF_LOG_LINE_MAX 8192 /* bytes, the newline included */
#define TF_LOG_FIELDS_MAX 8  /* of one line; more are left out */

/* Kinds of lines; mosquitto's log_type chooses among them, by bit. */
enum tf_log_level {
    TF_LOG_ERROR,
    TF_LOG_WARN,
    TF_LOG_NOTICE,
    TF_LOG_INFO,
    TF_LOG_DEBUG,
    TF_LOG_SUBSCRIBE,
    TF_LOG_UNSUBSCRIBE
};

struct tf_config;

/* What a log is made with. */
struct tf_log_config {
    unsigned types;               /* bit n: lines of level n are written */
    bool json;                    /* JSON lines */
    bool timestamp;               /* begin with the time; JSON always does */
    const char *timestamp_format; /* of strftime, local time; NULL: as above. Borrowed */
    FILE *outs[3];                /* where lines go; NULL: nowhere. Borrowed */
    uint64_t (*wall_us)(void);    /* microseconds since 1970 */
};

struct tf_log {
    struct tf_log_config config;
    atomic_uint types;
};

/* A field of a line; the value is borrowed for the call. */
struct tf_log_field {
    const char *name; /* letters, digits and `_` */
    struct tf_bytes value;
};

/* Holds back what would be said too often: one for each thing that is said. Zeroed at first. */
struct tf_log_limit {
    tf_time next;        /* may be said again from here on */
    uint64_t suppressed; /* times it was not said since */
};

/* Starts a log; `config` is copied, its pointers are borrowed until the log's last use. */
void tf_log_init(struct tf_log *log, const struct tf_log_config *config);

/* Chooses other levels from now on; any thread. */
void tf_log_set_types(struct tf_log *log, unsigned types);

/* True if lines of this level are written: ask before gathering fields on a fast path. */
static inline bool tf_log_enabled(const struct tf_log *log, enum tf_log_level level)
{
    return log && atomic_load_explicit(&log->types, memory_order_relaxed) >> level & 1;
}

/*
 * Writes one line: `part` names who speaks ("mqtt", "broker"); the fields follow, then the text. A
 * `log` of NULL takes nothing. A destination that fails is not an error of anybody's.
 */
void tf_log_write(struct tf_log *log, enum tf_log_level level, const char *part,
                  const struct tf_log_field *fields, size_t count, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The same without fields. */
void tf_log_text(struct tf_log *log, enum tf_log_level level, const char *part, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/*
 * True if it may be said now; then *ret_suppressed (may be NULL) tells how often it was not, and it
 * may not again until `interval` has passed.
 */
bool tf_log_allow(struct tf_log_limit *limit, tf_time now, tf_time interval,
                  uint64_t *ret_suppressed);

/* The word of a level ("warn"). Static. */
const char *tf_log_level_name(enum tf_log_level level);

#endif
