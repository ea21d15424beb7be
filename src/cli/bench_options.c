/*
 * What the bench commands read alike: see bench_options.h.
 */
#include "cli/bench_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/url.h"
#include "cli/cli.h"

uint64_t tf_bench_number(const char *text, uint64_t least, uint64_t most, const char **wrong)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < least || value > most) {
        *wrong = *wrong ? *wrong : text;
        return least;
    }
    return value;
}

bool tf_bench_take_number(const struct tf_bench_number *rows, size_t count, int key,
                          const char *text, const char **wrong)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].key != key)
            continue;
        *rows[i].number = (uint32_t)tf_bench_number(text, rows[i].least, rows[i].most, wrong);
        return true;
    }
    return false;
}

bool tf_bench_take_output(const char *text, const char **wrong)
{
    bool json = strcmp(text, "json") == 0;
    if (!json && strcmp(text, "text") != 0)
        *wrong = *wrong ? *wrong : text;
    return json;
}

/* Copies a part with a NUL behind it; false: it is too long. */
static bool copy(struct tf_bytes part, char *ret, size_t size)
{
    if (part.length >= size)
        return false;
    if (part.length)
        memcpy(ret, part.data, part.length);
    ret[part.length] = 0;
    return true;
}

bool tf_bench_url_parse(const char *text, const char *scheme, uint16_t port,
                        struct tf_bench_url *ret)
{
    struct tf_url_parts parts;
    if (tf_url_split(text, &parts) || !tf_bytes_equal(parts.scheme, tf_bytes_str(scheme)) ||
        parts.host.length == 0 || tf_url_port(&parts, port, &ret->port) || ret->port == 0)
        return false;
    struct tf_bytes user = {0}, password = {0}, path = parts.rest;
    if (parts.has_user) {
        const uint8_t *colon = memchr(parts.user.data, ':', parts.user.length);
        size_t length = colon ? (size_t)(colon - parts.user.data) : parts.user.length;
        user = tf_bytes_of(parts.user.data, length);
        if (colon)
            password = tf_bytes_of(colon + 1, parts.user.length - length - 1);
    }
    if (path.length && path.data[0] == '/')
        path = tf_bytes_of(path.data + 1, path.length - 1);
    if (!copy(parts.host, ret->host, sizeof ret->host))
        return false;
    char *scope = strstr(ret->host, "%25"); /* RFC 6874 2 */
    if (scope)
        memmove(scope + 1, scope + 3, strlen(scope + 3) + 1);
    return copy(user, ret->user, sizeof ret->user) &&
           copy(password, ret->password, sizeof ret->password) &&
           copy(path, ret->path, sizeof ret->path);
}

int tf_bench_misuse(const char *command, const char *what)
{
    fprintf(stderr, "trefoil %s: %s\nTry 'trefoil %s --help'.\n", command, what, command);
    return TF_EXIT_USAGE;
}

int tf_bench_failed(const char *command, enum tf_err err, const char *why)
{
    fprintf(stderr, "trefoil %s: %s\n", command, why);
    return err == TF_IO ? TF_EXIT_NETWORK : err == TF_PROTOCOL ? TF_EXIT_REFUSED : TF_EXIT_INTERNAL;
}
