/*
 * Numbers that look random but follow from a seed: for simulators, tests, jitter and shapes of data
 * structures. Never for secrets: whoever sees a few outputs knows the rest.
 */
#ifndef TF_BASE_RANDOM_H
#define TF_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tf_random {
    uint64_t state[4]; /* xoshiro256**; never all 0 */
};

/* Starts the sequence of `seed`; any seed will do, neighbours give unrelated sequences. */
void tf_random_init(struct tf_random *random, uint64_t seed);

/* The next 64 bits. */
uint64_t tf_random_next(struct tf_random *random);

/* The next number from 0 to `bound` - 1, each as likely as the other; `bound` is not 0. */
uint64_t tf_random_below(struct tf_random *random, uint64_t bound);

/* True in `count` of `of` cases; `of` is not 0. */
bool tf_random_chance(struct tf_random *random, uint64_t count, uint64_t of);

/* Fills `length` bytes at `data`. */
void tf_random_fill(struct tf_random *random, void *data, size_t length);

/* One step of splitmix64 on *state: for a stream of numbers from eight bytes of state. */
static inline uint64_t tf_random_split(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
