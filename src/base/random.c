/*
 * xoshiro256** (Blackman and Vigna), seeded by splitmix64.
 */
#include "base/random.h"

#include "base/mem.h"
#include "base/util.h"

void tf_random_init(struct tf_random *random, uint64_t seed)
{
    for (unsigned i = 0; i < TF_COUNT(random->state); i++)
        random->state[i] = tf_random_split(&seed);
}

uint64_t tf_random_next(struct tf_random *random)
{
    uint64_t *s = random->state;
    uint64_t scrambled = s[1] * 5;
    uint64_t shifted = s[1] << 17;
    scrambled = (scrambled << 7 | scrambled >> 57) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = s[3] << 45 | s[3] >> 19;
    return scrambled;
}

uint64_t tf_random_below(struct tf_random *random, uint64_t bound)
{
    /* Below this, a remainder would be drawn once more often than the others: draw again. */
    uint64_t least = (0 - bound) % bound;
    uint64_t value;
    do
        value = tf_random_next(random);
    while (value < least);
    return value % bound;
}

bool tf_random_chance(struct tf_random *random, uint64_t count, uint64_t of)
{
    return tf_random_below(random, of) < count;
}

void tf_random_fill(struct tf_random *random, void *data, size_t length)
{
    uint8_t *at = data;
    while (length) {
        uint64_t value = tf_random_next(random);
        size_t step = TF_MIN(length, sizeof(value));
        for (size_t i = 0; i < step; i++)
            at[i] = (uint8_t)(value >> (8 * i));
        at += step;
        length -= step;
    }
}
