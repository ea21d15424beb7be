/*
 * Frames as text; see frames_text.h. Recursive, as the notation is.
 */
#include "frames_text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
    const char *all, *at;
    uint8_t *data;
    size_t length, size;
};

static const struct word {
    const char *name;
    int code; /* of a descriptor; negative: minus a format code */
} words[] = {
    {"open", 0x10},        {"begin", 0x11},       {"attach", 0x12},     {"flow", 0x13},
    {"transfer", 0x14},    {"disposition", 0x15}, {"detach", 0x16},     {"end", 0x17},
    {"close", 0x18},       {"received", 0x23},    {"accepted", 0x24},   {"rejected", 0x25},
    {"released", 0x26},    {"modified", 0x27},    {"source", 0x28},     {"target", 0x29},
    {"coordinator", 0x30}, {"init", 0x41},        {"response", 0x43},   {"outcome", 0x44},
    {"header", 0x70},      {"annotations", 0x72}, {"properties", 0x73}, {"application", 0x74},
    {"data", 0x75},        {"sequence", 0x76},    {"value", 0x77},      {"footer", 0x78},
    {"null", -0x40},       {"true", -0x41},       {"false", -0x42},
};

static void fail(const struct text *text)
{
    fprintf(stderr, "frames: wrong at '%s' of '%s'\n", text->at, text->all);
    abort();
}

static void put(struct text *text, uint64_t value, unsigned bytes)
{
    if (text->size - text->length < bytes)
        fail(text);
    while (bytes-- > 0)
        text->data[text->length++] = (uint8_t)(value >> 8 * bytes);
}

/* Puts 32 bits where there is room for them already. */
static void put_at(struct text *text, size_t at, size_t value)
{
    size_t length = text->length;

    text->length = at;
    put(text, value, 4);
    text->length = length;
}

static unsigned long number(struct text *text)
{
    char *end;
    unsigned long value;

    if (!isdigit((unsigned char)*text->at))
        fail(text);
    value = strtoul(text->at, &end, 10);
    text->at = end;
    return value;
}

static void items(struct text *text, char closing);

/* A list or map whose count has just been named. */
static void compound(struct text *text, uint8_t code, char closing)
{
    unsigned long count;
    size_t start;

    text->at++;
    count = number(text);
    put(text, code, 1);
    start = text->length;
    put(text, 0, 4);
    put(text, count, 4);
    items(text, closing);
    put_at(text, start, text->length - start - 4);
}

static void frame(struct text *text)
{
    size_t start = text->length;

    text->at++;
    put(text, 0, 4);
    put(text, 2, 1);
    if (*text->at == 's') {
        text->at++;
        put(text, 1, 1);
        put(text, 0, 2);
    } else {
        put(text, 0, 1);
        put(text, number(text), 2);
    }
    items(text, ']');
    put_at(text, start, text->length - start);
}

/* What stands in quotes; `code` 0: without a head. */
static void quoted(struct text *text, uint8_t code)
{
    const char *end = strchr(text->at + 1, '"');

    if (!end)
        fail(text);
    if (code) {
        put(text, code, 1);
        put(text, (uint64_t)(end - text->at - 1), 1);
    }
    for (const char *c = text->at + 1; c < end; c++)
        put(text, (uint8_t)*c, 1);
    text->at = end + 1;
}

/* N*( ... ): true if that is what comes. */
static bool repetition(struct text *text)
{
    size_t digits = strspn(text->at, "0123456789");
    const char *inside;
    unsigned long count;

    if (digits == 0 || strncmp(text->at + digits, "*(", 2) != 0)
        return false;
    count = number(text);
    text->at += 2;
    inside = text->at;
    for (unsigned long i = 0; i < count; i++) {
        text->at = inside;
        items(text, ')');
    }
    return true;
}

/* A name, or hexadecimal digits. */
static void word(struct text *text)
{
    size_t length = 0;

    while (isalnum((unsigned char)text->at[length]))
        length++;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strlen(words[i].name) != length || strncmp(words[i].name, text->at, length) != 0)
            continue;
        if (words[i].code < 0)
            put(text, (uint64_t)-words[i].code, 1);
        else
            put(text, 0x005300u | (unsigned)words[i].code, 3);
        text->at += length;
        return;
    }
    if (length == 0 || length % 2 != 0)
        fail(text);
    for (size_t i = 0; i < length; i += 2) {
        char pair[3] = {text->at[i], text->at[i + 1], 0}, *end;
        put(text, strtoul(pair, &end, 16), 1);
        if (*end)
            fail(text);
    }
    text->at += length;
}

static void item(struct text *text)
{
    const char *at = text->at;

    if (*at == '[') {
        frame(text);
    } else if (*at == '{') {
        compound(text, 0xd0, '}');
    } else if (*at == '<') {
        compound(text, 0xd1, '>');
    } else if (*at == '"') {
        quoted(text, 0);
    } else if ((*at == 's' || *at == 'y' || *at == 'b') && at[1] == '"') {
        text->at++;
        quoted(text, *at == 's' ? 0xa1 : *at == 'y' ? 0xa3 : 0xa0);
    } else if (*at == '=') {
        text->at++;
        put(text, 0x70, 1);
        put(text, number(text), 4);
    } else if (!repetition(text)) {
        word(text);
    }
}

static void items(struct text *text, char closing)
{
    for (;;) {
        while (*text->at == ' ' || *text->at == '\n')
            text->at++;
        if (*text->at == closing) {
            text->at += closing != 0;
            return;
        }
        if (!*text->at)
            fail(text);
        item(text);
    }
}

size_t frames_text(const char *all, uint8_t *data, size_t length, size_t size)
{
    struct text text = {.all = all, .at = all, .data = data, .length = length, .size = size};

    items(&text, 0);
    return text.length;
}
