/*
 * What the commands `trefoil bench ...` read alike: numbers, how to report, URLs; and how they end.
 *
 * It must not know what is measured.
 */
#ifndef TF_CLI_BENCH_OPTIONS_H
#define TF_CLI_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <trefoil/err.h>

/* An option with a number. */
struct tf_bench_number {
    int key;
    uint32_t *number;
    uint32_t least, most;
};

/* A whole decimal number from `least` to `most`; else *wrong is `text`, if it was NULL. */
uint64_t tf_bench_number(const char *text, uint64_t least, uint64_t most, const char **wrong);

/* Takes option `key` if it is one of `rows`; false: it is another one. */
bool tf_bench_take_number(const struct tf_bench_number *rows, size_t count, int key,
                          const char *text, const char **wrong);

/* Takes `text` or `json`; true: JSON. */
bool tf_bench_take_output(const char *text, const char **wrong);

/* SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH], an IPv6 host in brackets. All literally. */
struct tf_bench_url {
    char host[256];
    char path[256]; /* without the slash before it; "": none */
    char user[128]; /* "": none */
    char password[128];
    uint16_t port;
};

/* Reads a URL of `scheme`; false: it is none, or a part of it is too long. */
bool tf_bench_url_parse(const char *text, const char *scheme, uint16_t port,
                        struct tf_bench_url *ret);

/* Says that the command line is wrong; the exit code. */
int tf_bench_misuse(const char *command, const char *what);

/* Says why a run failed; the exit code. */
int tf_bench_failed(const char *command, enum tf_err err, const char *why);

#endif
