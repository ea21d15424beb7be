/*
 * Is it UTF-8?
 */
#ifndef TF_BASE_UTF8_H
#define TF_BASE_UTF8_H

#include <stdbool.h>

#include <trefoil/bytes.h>

/*
 * True for well-formed UTF-8 (Unicode 3.9, table 3-7): no overlong form, no surrogate, nothing
 * above U+10FFFF, nothing cut off. U+0000 is well-formed. RFC 7252 3.2, AMQP 1.0 1.6.20.
 */
bool tf_utf8_valid(struct tf_bytes bytes);

/* The same, and no U+0000: what an MQTT string must be (MQTT 5.0 1.5.4-1, 1.5.4-2). */
bool tf_utf8_valid_mqtt(struct tf_bytes bytes);

#endif
