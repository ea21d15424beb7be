/*
 * Standard input as lines, as it comes.
 *
 * It must not know what lines are for.
 */
#ifndef TF_CLI_LINES_H
#define TF_CLI_LINES_H

#include <stdbool.h>

#include <trefoil/bytes.h>
#include <trefoil/err.h>

struct tf_cli_run;

/* Zeroed: nothing has been read. */
struct tf_cli_lines {
    uint8_t *memory; /* malloc */
    size_t start;    /* what is before it has been taken */
    size_t looked;   /* up to here there is no newline */
    size_t length, size;
    bool over; /* the input has ended */
};

/*
 * Reads what is there. TF_AGAIN: nothing. TF_LIMIT: a line is too long for a message. TF_NO_MEMORY.
 * TF_IO: errno tells.
 */
TF_MUST_USE enum tf_err tf_cli_lines_read(struct tf_cli_lines *lines);

/* Reads what is there; if that can't be, says why and fails the run. */
void tf_cli_lines_input(struct tf_cli_lines *lines, struct tf_cli_run *run);

/*
 * The next line without its newline; the same one until it is taken, and until the next read. The
 * last one needs no newline. False: more input is wanted, or (`over`) there is none.
 */
bool tf_cli_lines_next(struct tf_cli_lines *lines, struct tf_bytes *ret_line);

/* Takes the line that was next. */
void tf_cli_lines_take(struct tf_cli_lines *lines);

/* Passes on the lines that are there; false: `send` could not take the next one now. */
bool tf_cli_lines_pass(struct tf_cli_lines *lines, bool (*send)(void *ctx, struct tf_bytes line),
                       void *ctx);

/* Frees what it holds. */
void tf_cli_lines_release(struct tf_cli_lines *lines);

#endif
