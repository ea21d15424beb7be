/*
 * CRC-32C (Castagnoli), as iSCSI has it (RFC 3720, B.4): finds damaged bytes, not false ones.
 */
#ifndef TF_BASE_CRC32C_H
#define TF_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * The sum of what `crc` is the sum of, followed by `length` bytes at `data`; `crc` is 0 for
 * nothing. About 2 bytes a nanosecond.
 */
uint32_t tf_crc32c(uint32_t crc, const void *data, size_t length);

/* The same by other means: port/crc32c.h. */
typedef uint32_t (*tf_crc32c_fn)(uint32_t crc, const void *data, size_t length);

#endif
