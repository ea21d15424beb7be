/*
 * Rows of JSON objects as an aligned table.
 *
 * It must not know where the rows come from, nor what they are about.
 */
#ifndef TF_CLI_TABLE_H
#define TF_CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

enum tf_cli_cell {
    TF_CLI_CELL_TEXT,   /* left; what could steer a terminal is shown as an escape */
    TF_CLI_CELL_NUMBER, /* right */
    TF_CLI_CELL_BYTES,  /* right; 4.2 MiB */
    TF_CLI_CELL_TIME,   /* right; seconds as 2h or `never`, which is 4294967295 */
    TF_CLI_CELL_BOOL    /* left; yes, no */
};

struct tf_cli_column {
    const char *key; /* in the object; what is missing is shown as `-` */
    const char *title;
    enum tf_cli_cell cell;
};

#define TF_CLI_CELL_MAX 200 /* bytes of a cell at most, its NUL included; longer ones are cut */

/* Writes one cell. */
void tf_cli_cell_text(const json_t *row, const struct tf_cli_column *column,
                      char ret_text[TF_CLI_CELL_MAX]);

/* Writes a title line and a line for each row of an array, columns two spaces apart. */
void tf_cli_table_print(const json_t *rows, const struct tf_cli_column *columns, size_t count,
                        bool colour, FILE *out);

#endif
