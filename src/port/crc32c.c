/*
 * CRC-32C by instruction: SSE 4.2 has one. One chain of it is bound by its latency, which is fast
 * enough beside everything else that is done to a message.
 */
#include "port/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *data,
                                                                 size_t length)
{
    const uint8_t *at = data;
    uint64_t sum = ~crc, word;

    for (; length >= sizeof(word); length -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        sum = __builtin_ia32_crc32di(sum, word);
    }
    for (; length; length--, at++)
        sum = __builtin_ia32_crc32qi((uint32_t)sum, *at);
    return ~(uint32_t)sum;
}
#endif

tf_crc32c_fn tf_crc32c_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return by_instruction;
#endif
    return tf_crc32c;
}
