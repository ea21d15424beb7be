/*
 * Validation of UTF-8 by the table of well-formed byte sequences (Unicode 3.9, table 3-7).
 */
#include "base/utf8.h"

#include "base/mem.h"

#define LOW_BITS UINT64_C(0x0101010101010101)
#define HIGH_BITS UINT64_C(0x8080808080808080)

static inline bool continues(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* The length of the sequence of two to four bytes that begins at `at`; 0: it is ill-formed. */
static size_t sequence(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    if (lead < 0xC2) /* a continuation, or an overlong two */
        return 0;
    if (lead < 0xE0)
        return left >= 2 && continues(at[1]) ? 2 : 0;
    /* The second byte carries the limits: no overlong form, no surrogate, none past U+10FFFF. */
    uint8_t lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (left < 3 || at[1] < lowest || at[1] > highest || !continues(at[2]))
        return 0;
    if (lead < 0xF0)
        return 3;
    return lead < 0xF5 && left >= 4 && continues(at[3]) ? 4 : 0;
}

static bool valid(struct tf_bytes bytes, bool nul)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.length;
    while (left) {
        if (left >= 8) {
            uint64_t word;
            memcpy(&word, at, sizeof(word));
            /* No high bit, and (nul aside) no byte that borrows when 1 is taken from each. */
            uint64_t wrong = word | (nul ? 0 : word - LOW_BITS);
            if (!(wrong & HIGH_BITS)) {
                at += 8;
                left -= 8;
                continue;
            }
        }
        size_t step = *at < 0x80 ? (*at || nul) : sequence(at, left);
        if (!step)
            return false;
        at += step;
        left -= step;
    }
    return true;
}

bool tf_utf8_valid(struct tf_bytes bytes)
{
    return valid(bytes, true);
}

bool tf_utf8_valid_mqtt(struct tf_bytes bytes)
{
    return valid(bytes, false);
}
