/*
 * Reading base64.
 */
#include "cli/base64.h"

#include <stdlib.h>

/* 64: none of them. */
static unsigned digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (unsigned)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (unsigned)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0') + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

enum tf_err tf_cli_base64_read(const char *text, size_t length, uint8_t **ret_data,
                               size_t *ret_length)
{
    size_t padding = 0, count = 0;
    uint32_t group = 0;
    if (length % 4) {
        return TF_PROTOCOL;
    }
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    uint8_t *data = malloc(length / 4 * 3 + 1);
    if (!data) {
        return TF_NO_MEMORY;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned value = i < length - padding ? digit(text[i]) : 0;
        if (value == 64) {
            free(data);
            return TF_PROTOCOL;
        }
        group = group << 6 | value;
        if (i % 4 == 3) {
            data[count++] = (uint8_t)(group >> 16);
            data[count++] = (uint8_t)(group >> 8);
            data[count++] = (uint8_t)group;
        }
    }
    /* What padding stands for must be zeros, else two texts would mean the same. */
    for (size_t i = count - padding; i < count; i++) {
        if (data[i]) {
            free(data);
            return TF_PROTOCOL;
        }
    }
    *ret_data = data;
    *ret_length = count - padding;
    return TF_OK;
}
