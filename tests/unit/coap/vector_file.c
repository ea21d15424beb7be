/*
 * Reads the golden vectors; see vector_file.h.
 */
#include "vector_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

unsigned vector_file_run(const char *name, void (*run)(const struct vector *vector))
{
    static char text[1 << 20];
    static struct vector vector;
    char path[512];
    unsigned count = 0;

    snprintf(path, sizeof path, "%s/%s", TF_VECTORS_DIR, name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s: cannot be opened", path);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    assert_true(length < sizeof text - 1);
    text[length] = 0;
    for (char *line = text, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = 0;
        if (!strncmp(line, "vector ", 7)) {
            snprintf(vector.name, sizeof vector.name, "%s: %s", name, line + 7);
            vector.count = 0;
        } else if (*line && *line != '#') {
            assert_true(vector.count < VECTOR_LINES);
            vector.lines[vector.count++] = line;
        }
        if (vector.count > 0 && (!*line || !*end)) {
            run(&vector);
            count++;
            vector.count = 0;
        }
    }
    return count;
}

const char *vector_line(const struct vector *vector, const char *prefix)
{
    for (size_t i = 0; i < vector->count; i++) {
        if (!strncmp(vector->lines[i], prefix, strlen(prefix)))
            return vector->lines[i] + strlen(prefix);
    }
    return NULL;
}

struct tf_bytes vector_bytes(const char *text)
{
    uint8_t *bytes = malloc(1 << 20);
    size_t length = 0;
    char *end;

    for (; *text; text = end + strspn(end, " ")) {
        unsigned long value = strtoul(text, &end, 16), count = 1;

        if (end == text || value > 255)
            fail_msg("bad bytes: %s", text);
        if (*end == '*')
            count = strtoul(end + 1, &end, 10);
        assert_true(length + count <= 1 << 20);
        memset(bytes + length, (int)value, count);
        length += count;
    }
    bytes = realloc(bytes, length ? length : 1);
    return tf_bytes_of(bytes, length);
}

struct tf_bytes vector_cut(struct tf_bytes bytes, size_t length)
{
    uint8_t *block = malloc(length ? length : 1);

    assert_non_null(block);
    if (length)
        memcpy(block, bytes.data, length);
    return tf_bytes_of(block, length);
}

void vector_drop(struct tf_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

/* True if the text is the same two different digits over and over. */
static bool pairs(struct tf_bytes text)
{
    for (size_t i = 2; i < text.length; i++) {
        if (text.data[i] != text.data[i - 2])
            return false;
    }
    return text.length >= 26 && text.length % 2 == 0 && text.data[0] != text.data[1];
}

void vector_text(FILE *out, struct tf_bytes text)
{
    if (pairs(text)) {
        fprintf(out, "<%.2sx%zu>", (const char *)text.data, text.length / 2);
        return;
    }
    for (size_t i = 0, run; i < text.length; i += run) {
        uint8_t c = text.data[i];

        for (run = 1; i + run < text.length && text.data[i + run] == c; run++)
            ;
        if (run > 24) {
            fprintf(out, "<%02x*%zu>", c, run);
            continue;
        }
        run = 1;
        if (c < 0x20 || c > 0x7e || c == '\\' || c == '<')
            fprintf(out, "\\x%02x", c);
        else
            putc(c, out);
    }
}
