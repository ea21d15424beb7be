/*
 * The parts of views, readers and writers that are not worth inlining.
 */
#include <trefoil/bytes.h>

#include "base/mem.h"
#include "base/util.h"

struct tf_bytes tf_bytes_str(const char *text)
{
    /* Volatile, or compilers make a call of strlen of this loop, which a firmware need not have. */
    const volatile char *at = text;
    size_t length = 0;
    while (at[length])
        length++;
    return tf_bytes_of(text, length);
}

bool tf_bytes_equal(struct tf_bytes a, struct tf_bytes b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

int tf_bytes_compare(struct tf_bytes a, struct tf_bytes b)
{
    size_t common = TF_MIN(a.length, b.length);
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order)
        return order;
    return (a.length > b.length) - (a.length < b.length);
}

void tf_write_bytes(struct tf_writer *writer, struct tf_bytes bytes)
{
    if (!bytes.length)
        return;
    uint8_t *at = tf_write_step(writer, bytes.length);
    if (at)
        memcpy(at, bytes.data, bytes.length);
}

void tf_write_bytes16(struct tf_writer *writer, struct tf_bytes bytes)
{
    /* A length that no step can have makes the writer fail. */
    size_t length = bytes.length > UINT16_MAX ? SIZE_MAX : bytes.length + 2;
    uint8_t *at = tf_write_step(writer, length);
    if (!at)
        return;
    at[0] = (uint8_t)(bytes.length >> 8);
    at[1] = (uint8_t)bytes.length;
    if (bytes.length)
        memcpy(at + 2, bytes.data, bytes.length);
}
