/*
 * Hashes of byte strings: a keyed one for tables, and a fixed one for homes.
 *
 * Names come from peers, so a table that hashed them without a secret could be filled with
 * collisions on purpose; tf_hash is SipHash-1-3 for that reason. A home must be the same in every
 * shard, process and release, so tf_hash_home has no key: whoever knows it can aim at a shard, but
 * must not be able to aim at a table's bucket. Never use it to choose a bucket.
 */
#ifndef TF_BASE_HASH_H
#define TF_BASE_HASH_H

#include <stdint.h>

#include <trefoil/bytes.h>

/* 128 secret bits, from the system's random source; one for the whole process will do. */
struct tf_hash_key {
    uint64_t k0, k1;
};

/* SipHash-1-3 of `bytes`. Takes some 20 ns for the length of a topic. */
uint64_t tf_hash(struct tf_bytes bytes, const struct tf_hash_key *key);

/* HalfSipHash-1-3 of `bytes`, with k0 alone: for tables of a processor with words of 32 bits. */
uint32_t tf_hash32(struct tf_bytes bytes, const struct tf_hash_key *key);

/* A fixed 64-bit hash, the same on every machine and for ever: every bit depends on every byte. */
uint64_t tf_hash_home(struct tf_bytes bytes);

/* Which of `shards` (1 to 2^31) shards a home hash belongs to. */
static inline unsigned tf_hash_shard(uint64_t home, unsigned shards)
{
    return (unsigned)(((home >> 32) * shards) >> 32);
}

#endif
