/*
 * Equal keys in a map (1.6.23), found without allocation in linear time.
 *
 * One walk over the keys marks their hashes in a field of bits. Keys whose bit was marked before
 * are suspects, remembered by where they are; a second walk, if there is any suspect, compares each
 * key with the suspects of its hash. Of a map with more keys than the bits can tell apart only a
 * share is looked at, chosen by hash. Whoever makes keys collide on purpose can hide equal ones
 * from this, but cannot make it slow: suspects and comparisons have limits.
 */
#include "amqp/codec.h"

#define BITS_FEW 1024u  /* of a small map; powers of two */
#define BITS_MANY 8192u /* of any other */
#define PAIRS_FEW 16u   /* a small map */
#define PAIRS_MAX 1024u /* those looked at, on average, of a larger map */
#define SLOTS 256u      /* a power of two */
#define SUSPECTS_MAX 192u

struct keys {
    const struct tf_amqp_value *map;
    uint32_t shares;       /* 1: all keys are looked at, else those of the share 0 */
    uint32_t mask;         /* of bits */
    uint32_t suspects;     /* in `slots` */
    uint32_t budget;       /* comparisons left */
    uint32_t slots[SLOTS]; /* where a suspect begins, plus one; 0: free */
    uint8_t bits[BITS_MANY / 8];
};

/* Equal keys have equal hashes. */
static uint32_t key_hash(const struct tf_amqp_value *key)
{
    uint32_t hash = UINT32_C(2166136261) ^ (uint32_t)key->type;

    if (key->type < TF_AMQP_DECIMAL32 || key->type == TF_AMQP_CHAR ||
        key->type == TF_AMQP_TIMESTAMP) {
        hash ^= (uint32_t)key->number * UINT32_C(2654435761);
        hash ^= (uint32_t)(key->number >> 32) * UINT32_C(2246822519);
    } else {
        for (size_t i = 0; i < key->bytes.length; i++)
            hash = (hash ^ key->bytes.data[i]) * UINT32_C(16777619);
    }
    hash *= UINT32_C(2654435761);
    return hash ^ hash >> 15;
}

/* The next key and its hash, of those that are looked at. False: no more, or the map is malformed,
 * which the check that goes into it will see. */
static bool key_next(const struct keys *keys, struct tf_reader *reader, struct tf_amqp_value *ret,
                     uint32_t *ret_hash)
{
    while (tf_reader_left(reader)) {
        if (tf_amqp_value_read(reader, ret) || tf_amqp_value_skip(reader))
            return false;
        *ret_hash = key_hash(ret);
        if (keys->shares == 1 || (*ret_hash >> 13) % keys->shares == 0)
            return true;
    }
    return false;
}

/* Remembers a key that may be there twice. */
static void suspect(struct keys *keys, const struct tf_amqp_value *key, uint32_t hash)
{
    uint32_t at = hash % SLOTS;

    if (!keys->suspects)
        memset(keys->slots, 0, sizeof(keys->slots));
    if (keys->suspects == SUSPECTS_MAX)
        return;
    while (keys->slots[at])
        at = (at + 1) % SLOTS;
    keys->slots[at] = (uint32_t)(key->encoded.data - keys->map->bytes.data) + 1;
    keys->suspects++;
}

/* The first walk: who is suspect. */
static void mark(struct keys *keys)
{
    struct tf_reader reader = tf_reader_of(keys->map->bytes);
    struct tf_amqp_value key;
    uint32_t hash;

    memset(keys->bits, 0, (keys->mask + 1) / 8);
    while (key_next(keys, &reader, &key, &hash)) {
        uint8_t *byte = &keys->bits[(hash & keys->mask) / 8];
        uint8_t bit = (uint8_t)(1u << hash % 8);

        if (*byte & bit)
            suspect(keys, &key, hash);
        *byte |= bit;
    }
}

/* True if a suspect, but for the key itself, is equal to it. */
static bool is_twin(struct keys *keys, const struct tf_amqp_value *key, uint32_t hash)
{
    struct tf_bytes content = keys->map->bytes;

    for (uint32_t at = hash % SLOTS; keys->slots[at] && keys->budget; at = (at + 1) % SLOTS) {
        uint32_t offset = keys->slots[at] - 1;
        struct tf_reader reader =
            tf_reader_of(tf_bytes_of(content.data + offset, content.length - offset));
        struct tf_amqp_value other;

        keys->budget--;
        if (content.data + offset != key->encoded.data && !tf_amqp_value_read(&reader, &other) &&
            tf_amqp_value_equal(key, &other))
            return true;
    }
    return false;
}

bool tf_amqp_keys_differ(const struct tf_amqp_value *map)
{
    uint32_t pairs = map->count / 2, hash;
    struct tf_amqp_value key;
    struct keys keys; /* large: only what is used is cleared */

    if (pairs < 2)
        return true;
    keys.map = map;
    keys.shares = (pairs + PAIRS_MAX - 1) / PAIRS_MAX;
    keys.mask = (pairs <= PAIRS_FEW ? BITS_FEW : BITS_MANY) - 1;
    keys.suspects = 0;
    keys.budget = pairs + SLOTS;
    mark(&keys);
    if (!keys.suspects)
        return true;
    struct tf_reader reader = tf_reader_of(map->bytes);
    while (keys.budget && key_next(&keys, &reader, &key, &hash)) {
        if (is_twin(&keys, &key, hash))
            return false;
    }
    return true;
}
