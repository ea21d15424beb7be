/*
 * The fastest CRC-32C that this processor has.
 */
#ifndef TF_PORT_CRC32C_H
#define TF_PORT_CRC32C_H

#include "base/crc32c.h"

/* A function with the contract of tf_crc32c: by the processor's own instruction where it has one
 * (some 8 bytes a nanosecond), else tf_crc32c itself. */
tf_crc32c_fn tf_crc32c_best(void);

#endif
