/*
 * Aligned tables.
 */
#include "cli/table.h"

#include <string.h>

#include "base/util.h"

#define COLUMNS_MAX 16

/* A copy fit for a terminal, cut where it does not fit between two characters. */
static void show_text(const char *text, char ret_text[TF_CLI_CELL_MAX])
{
    size_t length = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t more = *at >= 0xF0 ? 4 : *at >= 0xE0 ? 3 : *at >= 0xC2 ? 2 : 1;
        bool control = *at < ' ' || *at == 0x7F || (*at == 0xC2 && at[1] < 0xA0);
        if (length + 4 * more + 4 > TF_CLI_CELL_MAX) {
            memcpy(ret_text + length, "...", 3);
            length += 3;
            break;
        }
        for (size_t i = 0; i < more && *at; i++, at++) {
            if (control) {
                length += (size_t)snprintf(ret_text + length, 5, "\\x%02x", *at);
            } else {
                ret_text[length++] = (char)*at;
            }
        }
    }
    ret_text[length] = 0;
}

static void show_bytes(json_int_t bytes, char *ret_text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < TF_COUNT(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(ret_text, TF_CLI_CELL_MAX, unit && value < 100 ? "%.1f %s" : "%.0f %s", value,
             units[unit]);
}

/* The two largest units of a time. */
static void show_time(json_int_t seconds, char *ret_text)
{
    static const struct {
        json_int_t seconds;
        char letter;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;
    if (seconds >= UINT32_MAX) {
        snprintf(ret_text, TF_CLI_CELL_MAX, "never");
        return;
    }
    while (i + 1 < TF_COUNT(units) && seconds < units[i].seconds) {
        i++;
    }
    int length = snprintf(ret_text, TF_CLI_CELL_MAX, "%lld%c",
                          (long long)(seconds / units[i].seconds), units[i].letter);
    seconds %= units[i].seconds;
    if (i + 1 < TF_COUNT(units) && seconds >= units[i + 1].seconds) {
        snprintf(ret_text + length, TF_CLI_CELL_MAX - (size_t)length, " %lld%c",
                 (long long)(seconds / units[i + 1].seconds), units[i + 1].letter);
    }
}

void tf_cli_cell_text(const json_t *row, const struct tf_cli_column *column,
                      char ret_text[TF_CLI_CELL_MAX])
{
    const json_t *value = json_object_get(row, column->key);
    if (json_is_string(value)) {
        show_text(json_string_value(value), ret_text);
    } else if (json_is_boolean(value)) {
        snprintf(ret_text, TF_CLI_CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
    } else if (json_is_integer(value) && column->cell == TF_CLI_CELL_BYTES) {
        show_bytes(json_integer_value(value), ret_text);
    } else if (json_is_integer(value) && column->cell == TF_CLI_CELL_TIME) {
        show_time(json_integer_value(value), ret_text);
    } else if (json_is_integer(value)) {
        snprintf(ret_text, TF_CLI_CELL_MAX, "%lld", (long long)json_integer_value(value));
    } else {
        snprintf(ret_text, TF_CLI_CELL_MAX, "-");
    }
}

/* Characters of UTF-8: its bytes but those that continue one. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++) {
        width += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return width;
}

static bool is_right(const struct tf_cli_column *column)
{
    return column->cell == TF_CLI_CELL_NUMBER || column->cell == TF_CLI_CELL_BYTES ||
           column->cell == TF_CLI_CELL_TIME;
}

/* One cell in its column; the last one, if it is at the left, has no space behind it. */
static void print_cell(const char *text, size_t width, bool right, bool last, FILE *out)
{
    size_t space = width - TF_MIN(width, width_of(text));
    fprintf(out, "%*s%s%*s%s", right ? (int)space : 0, "", text, right || last ? 0 : (int)space, "",
            last ? "\n" : "  ");
}

void tf_cli_table_print(const json_t *rows, const struct tf_cli_column *columns, size_t count,
                        bool colour, FILE *out)
{
    size_t widths[COLUMNS_MAX];
    char text[TF_CLI_CELL_MAX];
    size_t size = json_array_size(rows);
    count = TF_MIN(count, (size_t)COLUMNS_MAX);
    for (size_t i = 0; i < count; i++) {
        widths[i] = width_of(columns[i].title);
        for (size_t row = 0; row < size; row++) {
            tf_cli_cell_text(json_array_get(rows, row), &columns[i], text);
            widths[i] = TF_MAX(widths[i], width_of(text));
        }
    }
    fputs(colour ? "\033[1m" : "", out);
    for (size_t i = 0; i < count; i++) {
        print_cell(columns[i].title, widths[i], is_right(&columns[i]), i + 1 == count, out);
    }
    fputs(colour ? "\033[0m" : "", out);
    for (size_t row = 0; row < size; row++) {
        for (size_t i = 0; i < count; i++) {
            tf_cli_cell_text(json_array_get(rows, row), &columns[i], text);
            print_cell(text, widths[i], is_right(&columns[i]), i + 1 == count, out);
        }
    }
}
