/*
 * SipHash-1-3 (the 1-3 variant of Aumasson and Bernstein's SipHash-2-4: one round for each eight
 * bytes, three at the end), its half-width form for small processors, and the fixed hash of homes.
 */
#include "base/hash.h"

#include "base/mem.h"

static inline uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static inline uint64_t load64(const uint8_t *at)
{
    return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24 |
           (uint64_t)at[4] << 32 | (uint64_t)at[5] << 40 | (uint64_t)at[6] << 48 |
           (uint64_t)at[7] << 56;
}

/* Up to seven bytes, little-endian; whole words where the length allows. */
static inline uint64_t load_tail(const uint8_t *at, size_t length)
{
    uint64_t value = 0;
    unsigned shift = 0;
    if (length & 4) {
        value =
            (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24;
        at += 4;
        shift = 32;
    }
    if (length & 2) {
        value |= ((uint64_t)at[0] | (uint64_t)at[1] << 8) << shift;
        at += 2;
        shift += 16;
    }
    if (length & 1)
        value |= (uint64_t)at[0] << shift;
    return value;
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32) + s->v3;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

uint64_t tf_hash(struct tf_bytes bytes, const struct tf_hash_key *key)
{
    struct sip s = {key->k0 ^ UINT64_C(0x736f6d6570736575), key->k1 ^ UINT64_C(0x646f72616e646f6d),
                    key->k0 ^ UINT64_C(0x6c7967656e657261), key->k1 ^ UINT64_C(0x7465646279746573)};
    const uint8_t *at = bytes.data;
    size_t left = bytes.length;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word = load64(at);
        s.v3 ^= word;
        sip_round(&s);
        s.v0 ^= word;
    }
    uint64_t last = (uint64_t)bytes.length << 56 | load_tail(at, left);
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static uint32_t rotate32(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

uint32_t tf_hash32(struct tf_bytes bytes, const struct tf_hash_key *key)
{
    uint32_t v0 = (uint32_t)key->k0, v1 = (uint32_t)(key->k0 >> 32);
    uint32_t v2 = v0 ^ UINT32_C(0x6c796765), v3 = v1 ^ UINT32_C(0x74656462);
    size_t words = bytes.length / 4 + 1, at = 0;
    /* One loop for words and end: this one is to be small. */
    for (size_t step = 0; step < words + 3; step++) {
        uint32_t word = 0;
        for (unsigned shift = 0; shift < 32 && at < bytes.length; shift += 8)
            word |= (uint32_t)bytes.data[at++] << shift;
        if (step == words - 1)
            word |= (uint32_t)bytes.length << 24;
        if (step == words)
            v2 ^= 0xff;
        v3 ^= word;
        v0 += v1;
        v2 += v3;
        v1 = rotate32(v1, 5) ^ v0;
        v3 = rotate32(v3, 8) ^ v2;
        v0 = rotate32(v0, 16) + v3;
        v2 += v1;
        v1 = rotate32(v1, 13) ^ v2;
        v3 = rotate32(v3, 7) ^ v0;
        v2 = rotate32(v2, 16);
        v0 ^= word;
    }
    return v1 ^ v3;
}

/*
 * Eight bytes a step: a bijection of the state for each input word (xor, odd multiplier, fold), so
 * no two words are lost in one another; the length goes in at the end, since the tail is padded.
 */
uint64_t tf_hash_home(struct tf_bytes bytes)
{
    const uint64_t multiplier = UINT64_C(0x9fb21c651e98df25);
    uint64_t state = UINT64_C(0x243f6a8885a308d3);
    const uint8_t *at = bytes.data;
    size_t left = bytes.length;
    for (; left >= 8; left -= 8, at += 8) {
        state = (state ^ load64(at)) * multiplier;
        state ^= state >> 29;
    }
    state = (state ^ load_tail(at, left)) * multiplier;
    state ^= state >> 29;
    state = (state ^ bytes.length) * multiplier;
    state = (state ^ (state >> 32)) * multiplier;
    return state ^ (state >> 29);
}
