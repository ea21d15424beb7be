/*
 * The mapping between the protocols: what of one protocol's message says the same in another's
 * (docs/mapping.md has it as a table; design: "Bodies across protocols").
 *
 * A front makes the envelope (route/message.h) of what comes in and reads it for what goes out;
 * whatever of that concerns more than one protocol is here, so that each pair agrees. Within one
 * protocol nothing is mapped: `encoded` is the origin's own form and goes out as it came in.
 */
#ifndef TF_BROKER_MAPPING_H
#define TF_BROKER_MAPPING_H

#include "route/message.h"

#include <trefoil/coap_message.h>
#include <trefoil/mqtt_property.h>

/* ---- addresses: MQTT topic a/b = CoAP path /a/b ---- */

/*
 * The address that a request's Uri-Path options name, written into `buffer` (as long as the options
 * are is always enough). TF_PROTOCOL: there is none, answer 4.00: no segment at all, a `/` within
 * one, `.` or `..`, a wildcard, U+0000, bad UTF-8, over 65,535 bytes or 128 levels.
 */
TF_MUST_USE enum tf_err tf_mapping_coap_address(struct tf_bytes options, uint8_t *buffer,
                                                struct tf_bytes *ret_address);

/* Walks the levels of an address as path segments; start with *offset 0. False at the end. */
bool tf_mapping_coap_segment(struct tf_bytes address, size_t *offset, struct tf_bytes *ret_segment);

/*
 * True if a CoAP client can name the address: no level is `.`, `..` or over 255 bytes, and it is
 * not one of those that CoAP reserves (tf_mapping_coap_reserved).
 */
bool tf_mapping_coap_has_form(struct tf_bytes address);

/* True for what is no address on CoAP but a service: /.well-known/..., /rd, /ps. */
bool tf_mapping_coap_reserved(struct tf_bytes address);

/* ---- content types ---- */

#define TF_MAPPING_TYPE_MAX 8u /* bytes of a number as text */

/*
 * The media type of a Content-Format: its registered name, static, or for one without a name its
 * number in digits, written into `buffer`.
 */
struct tf_bytes tf_mapping_type_of_format(uint16_t format, char buffer[TF_MAPPING_TYPE_MAX]);

/*
 * The Content-Format of an envelope: by its content type (a registered name, or a number in digits)
 * or, without one, 0 for text. False: it has none.
 */
bool tf_mapping_format_of(const struct tf_envelope *envelope, uint16_t *ret_format);

/* ---- expiry ---- */

/* What is left of an expiry in whole seconds, the last one begun counted (MQTT 5.0 3.3.2.3.3). */
uint32_t tf_mapping_seconds_left(tf_time expires, tf_time now);

/* ---- MQTT 5.0 properties ---- */

/* Takes what other protocols can say too from properties that go on to every receiver. */
void tf_mapping_from_mqtt(struct tf_bytes properties, struct tf_envelope *envelope);

/* The most bytes that tf_mapping_to_mqtt writes. */
size_t tf_mapping_mqtt_room(const struct tf_envelope *envelope);

/* Writes the properties that an envelope of another protocol amounts to. */
void tf_mapping_to_mqtt(const struct tf_envelope *envelope, struct tf_writer *writer);

#endif
