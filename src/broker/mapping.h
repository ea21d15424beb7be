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

struct tf_amqp_message;

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

/* ---- AMQP 1.0: addresses (mapping_amqp_address.c) ---- */

/* What an AMQP address names. */
enum tf_mapping_node {
    TF_NODE_PLAIN, /* `x`: an address, and the queue of that name */
    TF_NODE_QUEUE, /* `queue://x`, `/queues/x`: a queue alone */
    TF_NODE_TOPIC  /* `topic://x`, `/topics/x`: an address, publish and subscribe */
};

/*
 * What an address of AMQP names. `/queues/` and `/topics/` are followed by a percent-encoded name
 * (RFC 3986 2.1), the other forms by a name as it is; a `/` before a plain name says nothing.
 * `buffer` is as long as `text`; *ret_address views one of the two. `filter`: wildcards are legal,
 * where MQTT has them, in what is not a queue. TF_PROTOCOL: it is no address (amqp:invalid-field):
 * empty, over 65,535 bytes or 128 levels, U+0000, bad UTF-8, a wildcard, a bad `%`.
 */
TF_MUST_USE enum tf_err tf_mapping_amqp_address(struct tf_bytes text, bool filter, uint8_t *buffer,
                                                enum tf_mapping_node *ret_node,
                                                struct tf_bytes *ret_address);

/* The most bytes that tf_mapping_amqp_name writes beside the address. */
#define TF_MAPPING_NAME_HEAD 8u

/* Writes an address in its explicit form, `queue://x` or `topic://x`; a plain one as it is. */
void tf_mapping_amqp_name(enum tf_mapping_node node, struct tf_bytes address,
                          struct tf_writer *writer);

/* ---- AMQP 1.0: messages (mapping_amqp.c) ---- */

#define TF_MAPPING_SCRATCH 256u

/*
 * Takes from an AMQP message what the routing and other protocols need: durable, priority, expires
 * (never earlier than `now`), content_type, correlation, reply_to, retain and clear,
 * payload_format, body_format, encoded, origin. The address, qos and publisher of `envelope` stay
 * as they are. *ret_body: what is the body of the publication. One data section and no footer:
 * TF_BODY_PLAIN, the body is its content, and `encoded` is what stands before that from the message
 * annotations on; so both together are the bare message with its annotations, bit for bit. Else
 * TF_BODY_SECTIONS: the body is all from its first section to the end, footer included. Header and
 * delivery annotations are of one hop and left out. Views borrow the message and `scratch`.
 */
void tf_mapping_from_amqp(const struct tf_amqp_message *message, tf_time now,
                          uint8_t scratch[TF_MAPPING_SCRATCH], struct tf_envelope *envelope,
                          struct tf_bytes *ret_body);

/* The most bytes that tf_mapping_to_amqp writes. */
size_t tf_mapping_amqp_room(const struct tf_envelope *envelope);

/*
 * Writes what an envelope of another protocol amounts to in AMQP: properties, application
 * properties, and the head of one data section of `body_length` bytes. It is the same for every
 * receiver; attach it as TF_PROTOCOL_AMQP. What came by AMQP has it in `encoded`.
 */
void tf_mapping_to_amqp(const struct tf_envelope *envelope, size_t body_length,
                        struct tf_writer *writer);

/*
 * The application properties of an envelope of AMQP's as MQTT's User Properties: what has a text
 * that MQTT can carry. Returns their bytes; written too if there is a writer (not NULL).
 */
size_t tf_mapping_user_properties(const struct tf_envelope *envelope, struct tf_writer *writer);

/* The most bytes that tf_mapping_amqp_header writes. */
#define TF_MAPPING_HEADER_MAX 40u

/*
 * Writes the header of one delivery (3.2.1): durable, priority, the time to live that is left,
 * first-acquirer, delivery-count. Nothing if all are the defaults.
 */
void tf_mapping_amqp_header(const struct tf_envelope *envelope, tf_time now,
                            uint32_t delivery_count, bool first_acquirer, struct tf_writer *writer);

/*
 * Keys, and bytes, in a map of annotations that `modified` (3.4.5) brings; with more the whole is
 * refused. One disposition may name all that is unsettled, and each message keeps a map of its own.
 */
#define TF_MAPPING_ANNOTATIONS_MAX 64u
#define TF_MAPPING_ANNOTATIONS_BYTES_MAX 4096u

/*
 * Writes two maps of annotations as one: all of `fresh`, and of `old` (may be empty) what has no
 * key of `fresh`. At most the length of both and 10 bytes. TF_LIMIT: the outcome would have more
 * keys or bytes than the limits above: nothing is written; keep the old ones. TF_PROTOCOL: `fresh`
 * is not a map.
 */
TF_MUST_USE enum tf_err tf_mapping_annotations_merge(struct tf_bytes old, struct tf_bytes fresh,
                                                     struct tf_writer *writer);

/*
 * Writes `encoded` (of an envelope of AMQP's, or attached for AMQP) with `annotations`, a map of
 * tf_mapping_annotations_merge's, put into its message annotations: keys that are there are
 * replaced, others added. At most the length of both and 16 bytes.
 */
void tf_mapping_amqp_annotate(struct tf_bytes encoded, struct tf_bytes annotations,
                              struct tf_writer *writer);

/* ---- the plain form of a body: what MQTT and CoAP show (mapping_plain.c) ---- */

/* Views; they live as long as the publication, or what it is kept as. */
struct tf_plain_body {
    const struct tf_bytes *body;
    size_t count;
    struct tf_bytes content_type;
    uint8_t payload_format; /* enum tf_payload_format */
};

/*
 * The body of a publication as plain bytes. TF_BODY_PLAIN: as it is, and nothing is allocated.
 * TF_BODY_SECTIONS: made once and kept with the message as TF_PROTOCOL_PLAIN. Data sections and a
 * binary value are their bytes, a string value its text, anything else is JSON (docs/mapping.md).
 * TF_NO_MEMORY; TF_LIMIT: it would grow beyond all measure, nobody can have it. *ret is then
 * untouched.
 */
TF_MUST_USE enum tf_err tf_mapping_plain(struct tf_publication *publication,
                                         const struct tf_alloc *alloc, struct tf_plain_body *ret);

/* The bytes of it. */
size_t tf_mapping_plain_length(const struct tf_plain_body *plain);

#endif
