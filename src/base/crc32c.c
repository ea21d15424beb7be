/*
 * CRC-32C by eight tables, eight bytes a step. A table's entry is the sum (exclusive or) of those
 * of its index's bits, so 64 constants make all 2,048 entries when this is compiled.
 */
#include "base/crc32c.h"

#define BYTE(b, c0, c1, c2, c3, c4, c5, c6, c7)                                  \
    (((b)&1 ? c0 : 0) ^ ((b)&2 ? c1 : 0) ^ ((b)&4 ? c2 : 0) ^ ((b)&8 ? c3 : 0) ^ \
     ((b)&16 ? c4 : 0) ^ ((b)&32 ? c5 : 0) ^ ((b)&64 ? c6 : 0) ^ ((b)&128 ? c7 : 0))

#define BITS_0(b)                                                                         \
    BYTE(b, 0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, 0x105ec76fu, 0x20bd8edeu, \
         0x417b1dbcu, 0x82f63b78u)
#define BITS_1(b)                                                                         \
    BYTE(b, 0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u, 0x3fc5f181u, 0x7f8be302u, \
         0xff17c604u, 0xfbc3faf9u)
#define BITS_2(b)                                                                         \
    BYTE(b, 0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u, 0x70a27d8au, 0xe144fb14u, \
         0xc76580d9u, 0x8b277743u)
#define BITS_3(b)                                                                         \
    BYTE(b, 0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u, 0xe964b13du, 0xd725148bu, \
         0xaba65fe7u, 0x52a0c93fu)
#define BITS_4(b)                                                                         \
    BYTE(b, 0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u, 0x8f2261d3u, 0x1ba8b557u, \
         0x37516aaeu, 0x6ea2d55cu)
#define BITS_5(b)                                                                         \
    BYTE(b, 0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu, 0xc00c303eu, 0x85f4168du, \
         0x0e045bebu, 0x1c08b7d6u)
#define BITS_6(b)                                                                         \
    BYTE(b, 0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u, 0x9c5bfaa6u, 0x3d5b83bdu, \
         0x7ab7077au, 0xf56e0ef4u)
#define BITS_7(b)                                                                         \
    BYTE(b, 0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau, 0x847609b4u, 0x0d006599u, \
         0x1a00cb32u, 0x34019664u)

#define FOUR(m, b) m(b), m((b) + 1), m((b) + 2), m((b) + 3)
#define SIXTEEN(m, b) FOUR(m, b), FOUR(m, (b) + 4), FOUR(m, (b) + 8), FOUR(m, (b) + 12)
#define SIXTY_FOUR(m, b) \
    SIXTEEN(m, b), SIXTEEN(m, (b) + 16), SIXTEEN(m, (b) + 32), SIXTEEN(m, (b) + 48)
#define TABLE(m)                                                                    \
    {                                                                               \
        SIXTY_FOUR(m, 0), SIXTY_FOUR(m, 64), SIXTY_FOUR(m, 128), SIXTY_FOUR(m, 192) \
    }

/* [k][b]: what byte b does when k more bytes come after it. */
static const uint32_t table[8][256] = {TABLE(BITS_0), TABLE(BITS_1), TABLE(BITS_2), TABLE(BITS_3),
                                       TABLE(BITS_4), TABLE(BITS_5), TABLE(BITS_6), TABLE(BITS_7)};

uint32_t tf_crc32c(uint32_t crc, const void *data, size_t length)
{
    const uint8_t *at = data;

    crc = ~crc;
    for (; length >= 8; length -= 8, at += 8) {
        crc ^=
            (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^ table[5][crc >> 16 & 0xff] ^
              table[4][crc >> 24] ^ table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^
              table[0][at[7]];
    }
    for (; length; length--, at++)
        crc = crc >> 8 ^ table[0][(crc ^ *at) & 0xff];
    return ~crc;
}
