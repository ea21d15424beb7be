/*
 * AMQP's scalar values as text: see mapping_text.h.
 */
#include "broker/mapping_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

/* The shortest digits that read back as the same number, and a sign that it is no integer. */
static void write_real(char *buffer, double number, bool wide)
{
    for (int digits = wide ? 15 : 6; digits <= (wide ? 17 : 9); digits++) {
        snprintf(buffer, TF_MAPPING_TEXT_MAX, "%.*g", digits, number);
        if (wide ? strtod(buffer, NULL) == number : strtof(buffer, NULL) == (float)number) {
            break;
        }
    }
    if (!strpbrk(buffer, ".e")) {
        strcat(buffer, ".0"); /* of at most 25 characters */
    }
}

/* False: infinite, or not a number. */
static bool write_float(char *buffer, const struct tf_amqp_value *value)
{
    double number;
    if (value->type == TF_AMQP_FLOAT) {
        uint32_t bits = (uint32_t)value->number;
        float narrow;
        memcpy(&narrow, &bits, sizeof(narrow));
        number = (double)narrow;
    } else {
        memcpy(&number, &value->number, sizeof(number));
    }
    if (!isfinite(number)) {
        return false;
    }
    write_real(buffer, number, value->type == TF_AMQP_DOUBLE);
    return true;
}

/* Where the parts of a decimal are: IEEE 754-2008 3.5.2, binary encoding (AMQP 1.0 1.6.13). */
struct decimal_form {
    unsigned coefficient_bits; /* when the combination field begins with other than 11 */
    unsigned exponent_bits;
    int bias;
    unsigned digits;
};

/* False: infinite, or not a number. */
static bool write_decimal(char *buffer, struct tf_bytes bytes)
{
    static const struct decimal_form forms[] = {
        {23, 8, 101, 7}, {53, 10, 398, 16}, {113, 14, 6176, 34}};
    const struct decimal_form *form = &forms[bytes.length == 4 ? 0 : bytes.length == 8 ? 1 : 2];
    unsigned top = bytes.data[0] & 0x7f;
    uint128 all = 0, most = 1, coefficient;
    char digits[40];
    size_t at = sizeof(digits);
    unsigned shift = form->coefficient_bits;
    if (top >> 3 == 0xf) { /* 1111: infinite, or not a number */
        return false;
    }
    for (size_t i = 0; i < bytes.length; i++) {
        all = all << 8 | bytes.data[i];
    }
    coefficient = all & (((uint128)1 << shift) - 1);
    if (top >> 5 == 3) { /* 11: the exponent is two bits further down, an implied 100 before */
        shift -= 2;
        coefficient = (uint128)4 << shift | (all & (((uint128)1 << shift) - 1));
    }
    for (unsigned i = 0; i < form->digits; i++) {
        most *= 10;
    }
    if (coefficient >= most) {
        coefficient = 0; /* not canonical: 3.5.2 */
    }
    int exponent = (int)((unsigned)(all >> shift) & ((1u << form->exponent_bits) - 1)) - form->bias;
    do {
        digits[--at] = (char)('0' + (int)(coefficient % 10));
        coefficient /= 10;
    } while (coefficient);
    int length = snprintf(buffer, TF_MAPPING_TEXT_MAX, "%s%.*s", bytes.data[0] & 0x80 ? "-" : "",
                          (int)(sizeof(digits) - at), digits + at);
    if (exponent) {
        snprintf(buffer + length, TF_MAPPING_TEXT_MAX - (size_t)length, "e%d", exponent);
    }
    return true;
}

/* RFC 3339, from milliseconds since 1970; beyond the years 0 to 9999 only the milliseconds. */
static void write_time(char *buffer, int64_t ms)
{
    int64_t days = ms / 86400000, rest = ms % 86400000;
    if (rest < 0) {
        rest += 86400000;
        days--;
    }
    if (days < -719528 || days > 2932896) { /* 0000-01-01, 9999-12-31 */
        snprintf(buffer, TF_MAPPING_TEXT_MAX, "%" PRId64, ms);
        return;
    }
    /* The year is taken from March on, so that the leap day is its last; 400 years repeat. */
    int64_t from = days + 719468;
    int64_t era = (from >= 0 ? from : from - 146096) / 146097;
    unsigned day = (unsigned)(from - era * 146097);
    unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    unsigned in_year = day - (365 * year + year / 4 - year / 100);
    unsigned march = (5 * in_year + 2) / 153;
    unsigned month = march < 10 ? march + 3 : march - 9;
    snprintf(buffer, TF_MAPPING_TEXT_MAX,
             "%04" PRId64 "-%02u-%02uT%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64 "Z",
             (int64_t)year + era * 400 + (month <= 2), month, in_year - (153 * march + 2) / 5 + 1,
             rest / 3600000, rest / 60000 % 60, rest / 1000 % 60, rest % 1000);
}

static void write_uuid(char *buffer, struct tf_bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *buffer++ = '-';
        }
        *buffer++ = digits[bytes.data[i] >> 4];
        *buffer++ = digits[bytes.data[i] & 15];
    }
    *buffer = '\0';
}

/* UTF-8 of a Unicode scalar value. */
static size_t write_char(char *buffer, uint32_t scalar)
{
    if (scalar < 0x80) {
        buffer[0] = (char)scalar;
        return 1;
    }
    size_t length = scalar < 0x800 ? 2 : scalar < 0x10000 ? 3 : 4;
    for (size_t i = length; i-- > 1; scalar >>= 6) {
        buffer[i] = (char)(0x80 | (scalar & 0x3f));
    }
    buffer[0] = (char)((0xf00u >> length & 0xf0u) | scalar);
    return length;
}

bool tf_mapping_text_of(const struct tf_amqp_value *value, char buffer[TF_MAPPING_TEXT_MAX],
                        struct tf_bytes *ret_text, bool *ret_literal)
{
    bool literal = true;
    buffer[0] = '\0';
    switch (value->type) {
    case TF_AMQP_STRING:
    case TF_AMQP_SYMBOL:
        *ret_text = value->bytes;
        *ret_literal = false;
        return true;
    case TF_AMQP_CHAR:
        *ret_text = tf_bytes_of(buffer, write_char(buffer, (uint32_t)value->number));
        *ret_literal = false;
        return true;
    case TF_AMQP_BOOLEAN:
        strcpy(buffer, value->number ? "true" : "false");
        break;
    case TF_AMQP_UBYTE:
    case TF_AMQP_USHORT:
    case TF_AMQP_UINT:
    case TF_AMQP_ULONG:
        snprintf(buffer, TF_MAPPING_TEXT_MAX, "%" PRIu64, value->number);
        break;
    case TF_AMQP_BYTE:
    case TF_AMQP_SHORT:
    case TF_AMQP_INT:
    case TF_AMQP_LONG:
        snprintf(buffer, TF_MAPPING_TEXT_MAX, "%" PRId64, value->integer);
        break;
    case TF_AMQP_FLOAT:
    case TF_AMQP_DOUBLE:
        if (!write_float(buffer, value)) {
            return false;
        }
        break;
    case TF_AMQP_DECIMAL32:
    case TF_AMQP_DECIMAL64:
    case TF_AMQP_DECIMAL128:
        if (!write_decimal(buffer, value->bytes)) {
            return false;
        }
        break;
    case TF_AMQP_TIMESTAMP:
        write_time(buffer, value->integer);
        literal = false;
        break;
    case TF_AMQP_UUID:
        write_uuid(buffer, value->bytes);
        literal = false;
        break;
    default:
        return false;
    }
    *ret_text = tf_bytes_of(buffer, strlen(buffer));
    *ret_literal = literal;
    return true;
}
