/*
 * Bodies: for terminals, as digits, as part of a JSON object.
 */
#include "cli/body.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---- text ---- */

/* C1 controls are two bytes of UTF-8, C2 80 to C2 9F; in what is no UTF-8 every high byte is
 * suspect. */
void tf_cli_body_shown(struct tf_bytes bytes, FILE *out)
{
    bool utf8 = tf_utf8_valid(bytes);
    for (size_t i = 0; i < bytes.length; i++) {
        uint8_t c = bytes.data[i];
        bool c1 = c == 0xC2 && i + 1 < bytes.length && bytes.data[i + 1] < 0xA0;
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F || (c >= 0x80 && !utf8)) {
            fprintf(out, "\\x%02x", c);
        } else if (c1) {
            fprintf(out, "\\u00%02x", bytes.data[++i]);
        } else {
            fputc(c, out);
        }
    }
}

void tf_cli_body_hex(struct tf_bytes bytes, bool high, FILE *out)
{
    const char *digits = high ? "0123456789ABCDEF" : "0123456789abcdef";
    for (size_t i = 0; i < bytes.length; i++) {
        fputc(digits[bytes.data[i] >> 4], out);
        fputc(digits[bytes.data[i] & 15], out);
    }
}

/* ---- JSON ---- */

json_t *tf_cli_body_base64(struct tf_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc(bytes.length / 3 * 4 + 5);
    size_t length = 0;
    if (!text) {
        return NULL;
    }
    for (size_t i = 0; i < bytes.length; i += 3) {
        size_t left = bytes.length - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? bytes.data[i + 2] : 0;
        text[length++] = digits[group >> 18];
        text[length++] = digits[group >> 12 & 63];
        text[length++] = left > 1 ? digits[group >> 6 & 63] : '=';
        text[length++] = left > 2 ? digits[group & 63] : '=';
    }
    json_t *value = json_stringn(text, length);
    free(text);
    return value;
}

json_t *tf_cli_body_text(struct tf_bytes bytes)
{
    if (!tf_utf8_valid(bytes)) {
        return tf_cli_body_base64(bytes);
    }
    return json_stringn(bytes.length ? (const char *)bytes.data : "", bytes.length);
}

bool tf_cli_body_says_json(struct tf_bytes media_type)
{
    static const char plain[] = "application/json", suffix[] = "+json";
    const char *text = (const char *)media_type.data;
    size_t length = 0, tail = sizeof(suffix) - 1;
    while (length < media_type.length && text[length] != ';' && text[length] != ' ') {
        length++;
    }
    return (length == sizeof(plain) - 1 && !memcmp(text, plain, length)) ||
           (length > tail && !memcmp(text + length - tail, suffix, tail));
}

/* Space that means nothing: RFC 8259 2. */
static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_json(struct tf_bytes body, bool says_json)
{
    size_t start = 0;
    while (start < body.length && is_space(body.data[start])) {
        start++;
    }
    if (start == body.length ||
        (body.data[start] != '{' && body.data[start] != '[' && !says_json)) {
        return false;
    }
    /* A name twice is legal, but only its text holds both. */
    json_t *value = json_loadb(
        (const char *)body.data, body.length,
        JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    bool is = value != NULL;
    json_decref(value);
    return is;
}

/* Writes JSON that has been checked, without the space between its tokens: it stays one line. */
static void write_compact(struct tf_bytes json, FILE *out)
{
    bool in_string = false;
    for (size_t i = 0; i < json.length; i++) {
        uint8_t c = json.data[i];
        if (in_string || !is_space(c)) {
            fputc(c, out);
        }
        if (in_string && c == '\\') {
            fputc(json.data[++i], out);
        } else if (c == '"') {
            in_string = !in_string;
        }
    }
}

enum tf_err tf_cli_body_json(json_t *object, struct tf_bytes body, bool says_json, FILE *out)
{
    bool as_json = is_json(body, says_json);
    bool as_text = !as_json && tf_utf8_valid(body);
    if (object && !as_json &&
        json_object_set_new(object, as_text ? "body" : "body_base64", tf_cli_body_text(body))) {
        json_decref(object);
        object = NULL;
    }
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(object);
    if (!text) {
        return TF_NO_MEMORY;
    }
    if (as_json) {
        fwrite(text, 1, strlen(text) - 1, out); /* without the brace that ends it */
        fputs(",\"body_json\":", out);
        write_compact(body, out);
        fputc('}', out);
    } else {
        fputs(text, out);
    }
    free(text);
    return TF_OK;
}

/* Begins a line that is `depth` levels in. */
static void indent(unsigned depth, FILE *out)
{
    fprintf(out, "\n%*s", (int)(2 * depth), "");
}

/* The letters of the text are kept: only the space between its tokens is another one. */
bool tf_cli_body_pretty(struct tf_bytes body, FILE *out)
{
    bool in_string = false, fresh = false;
    unsigned depth = 0;
    if (!is_json(body, true)) {
        return false;
    }
    for (size_t i = 0; i < body.length; i++) {
        uint8_t c = body.data[i];
        if (!in_string && is_space(c)) {
            continue;
        }
        if (!in_string && (c == '}' || c == ']')) {
            depth--;
            if (!fresh) {
                indent(depth, out);
            }
        } else if (fresh) {
            indent(depth, out);
        }
        fresh = !in_string && (c == '{' || c == '[');
        depth += fresh;
        fputc(c, out);
        if (in_string && c == '\\') {
            fputc(body.data[++i], out);
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && c == ',') {
            indent(depth, out);
        } else if (!in_string && c == ':') {
            fputc(' ', out);
        }
    }
    fputc('\n', out);
    return true;
}
