/*
 * Standard input as lines.
 */
#include "cli/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/run.h"
#include "port/input.h"

#define STDIN 0
#define READ_SIZE ((size_t)64 * 1024)
#define LINES_MAX ((size_t)512 * 1024 * 1024)

static enum tf_err make_room(struct tf_cli_lines *lines)
{
    if (lines->start) { /* only what has not been taken is left */
        memmove(lines->memory, lines->memory + lines->start, lines->length - lines->start);
        lines->length -= lines->start;
        lines->looked -= lines->start;
        lines->start = 0;
    }
    if (lines->size - lines->length >= READ_SIZE) {
        return TF_OK;
    }
    size_t size = TF_MAX(2 * lines->size, 2 * READ_SIZE);
    if (size > LINES_MAX) {
        return TF_LIMIT;
    }
    uint8_t *memory = realloc(lines->memory, size);
    if (!memory) {
        return TF_NO_MEMORY;
    }
    lines->memory = memory;
    lines->size = size;
    return TF_OK;
}

enum tf_err tf_cli_lines_read(struct tf_cli_lines *lines)
{
    size_t got = 0;
    enum tf_err err = make_room(lines);
    if (!err) {
        err = tf_input_read(STDIN, lines->memory + lines->length, READ_SIZE, &got);
        lines->length += got;
    }
    lines->over = lines->over || err == TF_CLOSED;
    return err == TF_CLOSED ? TF_OK : err;
}

void tf_cli_lines_input(struct tf_cli_lines *lines, struct tf_cli_run *run)
{
    enum tf_err err = tf_cli_lines_read(lines);
    run->touched = true;
    if (err == TF_IO) {
        tf_cli_run_fail(run, TF_EXIT_INTERNAL, "cannot read standard input: %s", strerror(errno));
    } else if (err && err != TF_AGAIN) {
        tf_cli_run_fail(run, TF_EXIT_INTERNAL, "standard input has a line that is too long");
    }
}

bool tf_cli_lines_next(struct tf_cli_lines *lines, struct tf_bytes *ret_line)
{
    size_t left = lines->length - lines->looked;
    const uint8_t *newline = left ? memchr(lines->memory + lines->looked, '\n', left) : NULL;
    lines->looked = newline ? (size_t)(newline - lines->memory) : lines->length;
    if (!newline && (!lines->over || lines->start == lines->length)) {
        return false;
    }
    *ret_line = tf_bytes_of(lines->memory + lines->start, lines->looked - lines->start);
    return true;
}

void tf_cli_lines_take(struct tf_cli_lines *lines)
{
    lines->looked += lines->looked < lines->length; /* its newline */
    lines->start = lines->looked;
}

bool tf_cli_lines_pass(struct tf_cli_lines *lines, bool (*send)(void *ctx, struct tf_bytes line),
                       void *ctx)
{
    struct tf_bytes line;
    while (tf_cli_lines_next(lines, &line)) {
        if (!send(ctx, line)) {
            return false;
        }
        tf_cli_lines_take(lines);
    }
    return true;
}

void tf_cli_lines_release(struct tf_cli_lines *lines)
{
    free(lines->memory);
    *lines = (struct tf_cli_lines){0};
}
