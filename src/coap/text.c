/*
 * ASCII without a libc; see text.h.
 */
#include "coap/text.h"

unsigned tf_coap_hex(uint8_t c)
{
    uint8_t small = tf_coap_lower(c);

    if (tf_coap_digit(c))
        return c - '0';
    return small >= 'a' && small <= 'f' ? small - 'a' + 10u : 16;
}

bool tf_coap_among(const char *set, uint8_t c)
{
    for (; *set; set++) {
        if ((uint8_t)*set == c)
            return true;
    }
    return false;
}

bool tf_coap_same_text(struct tf_bytes a, struct tf_bytes b)
{
    if (a.length != b.length)
        return false;
    for (size_t i = 0; i < a.length; i++) {
        if (tf_coap_lower(a.data[i]) != tf_coap_lower(b.data[i]))
            return false;
    }
    return true;
}

void tf_coap_decimal_write(struct tf_writer *out, uint32_t number)
{
    uint8_t digits[10];
    size_t at = sizeof digits;

    do {
        digits[--at] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number);
    tf_write_bytes(out, tf_bytes_of(digits + at, sizeof digits - at));
}

bool tf_coap_decimal_read(struct tf_bytes text, uint32_t most, uint32_t *ret)
{
    uint64_t number = 0;

    for (size_t i = 0; i < text.length; i++) {
        if (!tf_coap_digit(text.data[i]))
            return false;
        number = number * 10 + (text.data[i] - '0');
        if (number > most)
            return false;
    }
    if (!text.length)
        return false;
    *ret = (uint32_t)number;
    return true;
}
