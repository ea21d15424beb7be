/* SipHash-1-3 and the home hash: known values, independence of alignment, spread of bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/random.h"
#include "base/util.h"

/* The definition word by word, over a padded copy: slow, and written apart from the one tested. */
static uint64_t slow_sip13(const uint8_t *data, size_t length, uint64_t k0, uint64_t k1)
{
    uint8_t padded[128] = {0};
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                     k1 ^ 0x7465646279746573u};
    size_t words = length / 8 + 1;
    memcpy(padded, data, length);
    padded[words * 8 - 1] = (uint8_t)length;
    for (size_t i = 0; i < words + 3; i++) {
        uint64_t word = 0;
        for (unsigned j = 8; i < words && j-- > 0;)
            word = word << 8 | padded[i * 8 + j];
        if (i == words)
            v[2] ^= 0xff;
        v[3] ^= word;
        v[0] += v[1];
        v[1] = v[1] << 13 | v[1] >> 51;
        v[1] ^= v[0];
        v[0] = v[0] << 32 | v[0] >> 32;
        v[2] += v[3];
        v[3] = v[3] << 16 | v[3] >> 48;
        v[3] ^= v[2];
        v[0] += v[3];
        v[3] = v[3] << 21 | v[3] >> 43;
        v[3] ^= v[0];
        v[2] += v[1];
        v[1] = v[1] << 17 | v[1] >> 47;
        v[1] ^= v[2];
        v[2] = v[2] << 32 | v[2] >> 32;
        v[0] ^= word;
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void test_sip(void **state)
{
    (void)state;
    const struct tf_hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    const struct tf_hash_key other = {key.k0, key.k1 ^ 1};
    uint8_t input[80], shifted[81];
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (uint8_t)i;
    memcpy(shifted + 1, input, sizeof(input));
    for (size_t length = 0; length <= sizeof(input); length++) {
        uint64_t hash = tf_hash(tf_bytes_of(input, length), &key);
        assert_true(hash == slow_sip13(input, length, key.k0, key.k1));
        assert_true(hash == tf_hash(tf_bytes_of(shifted + 1, length), &key));
        assert_true(hash != tf_hash(tf_bytes_of(input, length), &other));
    }
    /* Values that other implementations publish. */
    const struct tf_hash_key zero = {0, 0};
    assert_true(tf_hash(tf_bytes_str(""), &key) == UINT64_C(0xabac0158050fc4dc));
    assert_true(tf_hash(tf_bytes_str(""), &zero) == UINT64_C(0xd1fba762150c532c));
    assert_true(tf_hash(tf_bytes_str("siphash"), &zero) == UINT64_C(0x8264ceeccb16bcbe));
    assert_true(tf_hash((struct tf_bytes){NULL, 0}, &key) == tf_hash(tf_bytes_of(input, 0), &key));
}

/* The same of the half-width hash. */
static uint32_t slow_half_sip13(const uint8_t *data, size_t length, uint32_t k0, uint32_t k1)
{
    uint8_t padded[128] = {0};
    uint32_t v[4] = {k0, k1, k0 ^ 0x6c796765u, k1 ^ 0x74656462u};
    size_t words = length / 4 + 1;
    memcpy(padded, data, length);
    padded[words * 4 - 1] = (uint8_t)length;
    for (size_t i = 0; i < words + 3; i++) {
        uint32_t word = 0;
        for (unsigned j = 4; i < words && j-- > 0;)
            word = word << 8 | padded[i * 4 + j];
        if (i == words)
            v[2] ^= 0xff;
        v[3] ^= word;
        v[0] += v[1];
        v[1] = v[1] << 5 | v[1] >> 27;
        v[1] ^= v[0];
        v[0] = v[0] << 16 | v[0] >> 16;
        v[2] += v[3];
        v[3] = v[3] << 8 | v[3] >> 24;
        v[3] ^= v[2];
        v[0] += v[3];
        v[3] = v[3] << 7 | v[3] >> 25;
        v[3] ^= v[0];
        v[2] += v[1];
        v[1] = v[1] << 13 | v[1] >> 19;
        v[1] ^= v[2];
        v[2] = v[2] << 16 | v[2] >> 16;
        v[0] ^= word;
    }
    return v[1] ^ v[3];
}

static void test_half_sip(void **state)
{
    (void)state;
    const struct tf_hash_key key = {UINT64_C(0x0706050403020100), 0};
    const struct tf_hash_key other = {key.k0 ^ 1, 0};
    uint8_t input[80];
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (uint8_t)i;
    for (size_t length = 0; length <= sizeof(input); length++) {
        uint32_t hash = tf_hash32(tf_bytes_of(input, length), &key);
        assert_int_equal(hash, slow_half_sip13(input, length, 0x03020100, 0x07060504));
        assert_int_not_equal(hash, tf_hash32(tf_bytes_of(input, length), &other));
    }
    /* Values that other implementations publish. */
    assert_int_equal(tf_hash32(tf_bytes_of(input, 0), &key), 0x5814c896);
    assert_int_equal(tf_hash32(tf_bytes_of(input, 3), &key), 0x01539939);
    assert_int_equal(tf_hash32(tf_bytes_of(input, 8), &key), 0x577999b1);
    assert_int_equal(tf_hash32((struct tf_bytes){NULL, 0}, &key), 0x5814c896);
}

/* Homes are for ever: these values must never change. */
static void test_home_is_fixed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t hash;
    } known[] = {
        {"", UINT64_C(0x2f748007b8e98a0b)},
        {"a", UINT64_C(0xd69378ce1b7ce3f3)},
        {"sensors/1/temperature", UINT64_C(0x9ce1977853102673)},
    };
    for (size_t i = 0; i < TF_COUNT(known); i++)
        assert_true(tf_hash_home(tf_bytes_str(known[i].text)) == known[i].hash);
    assert_true(tf_hash_home((struct tf_bytes){NULL, 0}) == known[0].hash);
}

/* Zero bytes and lengths count; near keys share no hash. */
static void test_home_differs(void **state)
{
    (void)state;
    static const uint8_t zeros[64] = {0};
    for (size_t a = 0; a < 64; a++)
        for (size_t b = 0; b < a; b++)
            assert_true(tf_hash_home(tf_bytes_of(zeros, a)) != tf_hash_home(tf_bytes_of(zeros, b)));
}

/* Numbered names, as devices have them, spread over shards to within 5 %; so do low bits. */
static void test_home_spreads(void **state)
{
    (void)state;
    unsigned shards[7] = {0}, low[8] = {0};
    for (unsigned i = 0; i < 70000; i++) {
        char name[16] = "device/00000";
        for (unsigned j = 11, n = i; n; n /= 10)
            name[j--] = (char)('0' + n % 10);
        uint64_t hash = tf_hash_home(tf_bytes_str(name));
        unsigned shard = tf_hash_shard(hash, 7);
        assert_true(shard < 7);
        shards[shard]++;
        low[hash & 7]++;
    }
    for (unsigned i = 0; i < 7; i++)
        assert_in_range(shards[i], 9500, 10500);
    for (unsigned i = 0; i < 8; i++)
        assert_in_range(low[i], 8312, 9188);
    assert_int_equal(tf_hash_shard(UINT64_MAX, 1), 0);
    assert_int_equal(tf_hash_shard(UINT64_MAX, 3), 2);
}

/* Each input bit turns about half of the output bits. */
static void test_avalanche(void **state)
{
    (void)state;
    struct tf_random random;
    tf_random_init(&random, 3);
    for (size_t length = 1; length < 24; length++) {
        uint64_t turned = 0;
        unsigned rounds = 400;
        for (unsigned round = 0; round < rounds; round++) {
            uint8_t input[24];
            tf_random_fill(&random, input, sizeof(input));
            uint64_t before = tf_hash_home(tf_bytes_of(input, length));
            uint64_t bit = tf_random_below(&random, length * 8);
            input[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            turned +=
                (uint64_t)__builtin_popcountll(before ^ tf_hash_home(tf_bytes_of(input, length)));
        }
        assert_in_range(turned, rounds * 30, rounds * 34);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sip),          cmocka_unit_test(test_home_is_fixed),
        cmocka_unit_test(test_home_differs), cmocka_unit_test(test_home_spreads),
        cmocka_unit_test(test_avalanche),    cmocka_unit_test(test_half_sip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
