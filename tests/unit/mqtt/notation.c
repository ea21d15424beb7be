/*
 * Packets as text; see notation.h.
 */
#include "notation.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 4

static void fail(const char *text, const char *at)
{
    fprintf(stderr, "notation: wrong at '%s' of '%s'\n", at, text);
    abort();
}

static unsigned digit(const char *text, const char *at)
{
    const char *digits = "0123456789abcdef";
    const char *found = *at ? strchr(digits, tolower((unsigned char)*at)) : NULL;

    if (!found)
        fail(text, at);
    return (unsigned)(found - digits);
}

/* Puts the length of what lies behind `start` in front of it. */
static size_t close_bracket(uint8_t *data, size_t start, size_t length)
{
    size_t value = length - start, size = 0;
    uint8_t varint[4];

    do {
        varint[size] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
        size++;
    } while (value > 0 && size < sizeof varint);
    memmove(data + start + size, data + start, length - start);
    memcpy(data + start, varint, size);
    return length + size;
}

struct tf_bytes notation_bytes(const char *text)
{
    uint8_t *data = malloc(strlen(text) * 4 + 16);
    size_t length = 0, depth = 0, starts[DEPTH_MAX];
    const char *end;

    if (!data)
        abort();
    for (const char *at = text; *at;) {
        if (*at == ' ' || *at == '\n') {
            at++;
        } else if (*at == '[' && depth < DEPTH_MAX) {
            starts[depth++] = length;
            at++;
        } else if (*at == ']' && depth > 0) {
            length = close_bracket(data, starts[--depth], length);
            at++;
        } else if (*at == '\'' || *at == '<') {
            end = strchr(at + 1, *at == '<' ? '>' : '\'');
            if (!end)
                fail(text, at);
            size_t size = (size_t)(end - at - 1);
            if (*at == '<') {
                data[length++] = (uint8_t)(size >> 8);
                data[length++] = (uint8_t)size;
            }
            memcpy(data + length, at + 1, size);
            length += size;
            at = end + 1;
        } else {
            data[length++] = (uint8_t)(digit(text, at) << 4 | digit(text, at + 1));
            at += 2;
        }
    }
    if (depth > 0)
        fail(text, "the end: a bracket is open");
    return (struct tf_bytes){data, length};
}

char *notation_hex(struct tf_bytes bytes)
{
    char *text = malloc(2 * bytes.length + 1);

    if (!text)
        abort();
    for (size_t i = 0; i < bytes.length; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes.data[i]);
    text[2 * bytes.length] = 0;
    return text;
}
