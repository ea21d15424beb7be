/*
 * The MQTT codec: one struct, one reader and one writer for each packet of 3.1.1 and 5.0.
 *
 * Call protocol: tf_mqtt_frame_read finds a whole packet in the bytes that have arrived; the reader
 * of its type fills a struct whose views borrow those bytes; nothing is copied. A writer writes the
 * whole packet with its fixed header into memory of the caller's; `*_size` tells the exact length
 * beforehand. Readers accept what the standard allows and nothing else: on TF_PROTOCOL the reason
 * code to answer with is in *ret_reason, nothing else is set.
 */
#ifndef TREFOIL_MQTT_PACKET_H
#define TREFOIL_MQTT_PACKET_H

#include <trefoil/mqtt_property.h>

/* A whole packet within the input. */
struct tf_mqtt_frame {
    uint8_t type;         /* enum tf_mqtt_type */
    uint8_t flags;        /* lower four bits of the first byte, checked against 2.1.3 */
    struct tf_bytes body; /* what follows the fixed header */
    size_t length;        /* of the whole packet */
};

struct tf_mqtt_will {
    struct tf_bytes topic;
    struct tf_bytes payload;
    struct tf_bytes properties; /* checked; 5.0 only */
    uint8_t qos;
    bool retain;
};

struct tf_mqtt_connect {
    uint8_t version; /* enum tf_mqtt_version */
    bool clean_start;
    bool has_will;
    bool has_user_name;
    bool has_password;
    uint16_t keep_alive_s;
    struct tf_bytes properties; /* checked */
    struct tf_bytes client_id;
    struct tf_mqtt_will will;
    struct tf_bytes user_name;
    struct tf_bytes password;
};

struct tf_mqtt_connack {
    bool session_present;
    uint8_t reason; /* 5.0 code; for 3.1.1 the return code 0 to 5 (3.2.2.3) */
    struct tf_bytes properties;
};

struct tf_mqtt_publish {
    bool dup;
    bool retain;
    uint8_t qos;
    uint16_t packet_id; /* 0 at QoS 0 */
    struct tf_bytes topic;
    struct tf_bytes properties;
    struct tf_bytes payload;
};

/* PUBACK, PUBREC, PUBREL, PUBCOMP; UNSUBACK of 3.1.1 has the same shape. */
struct tf_mqtt_ack {
    uint8_t type;
    uint16_t packet_id;
    uint8_t reason; /* 5.0 only; 0 for 3.1.1 */
    struct tf_bytes properties;
};

/* One filter of SUBSCRIBE with its options (5.0 3.8.3.1). */
struct tf_mqtt_subscription {
    struct tf_bytes filter;
    uint8_t qos;
    bool no_local;
    bool retain_as_published;
    uint8_t retain_handling; /* 0 send, 1 send if new, 2 do not send */
};

struct tf_mqtt_subscribe {
    uint16_t packet_id;
    struct tf_bytes properties;
    struct tf_bytes payload; /* checked as a whole; walk with tf_mqtt_subscription_next */
};

struct tf_mqtt_unsubscribe {
    uint16_t packet_id;
    struct tf_bytes properties;
    struct tf_bytes payload; /* checked as a whole; walk with tf_mqtt_filter_next */
};

/* SUBACK and UNSUBACK (5.0): one code a filter. UNSUBACK of 3.1.1 has none. */
struct tf_mqtt_suback {
    uint8_t type;
    uint16_t packet_id;
    struct tf_bytes properties;
    struct tf_bytes reasons;
};

struct tf_mqtt_disconnect {
    uint8_t reason;
    struct tf_bytes properties;
};

struct tf_mqtt_auth {
    uint8_t reason;
    struct tf_bytes properties;
};

/* The bytes that a variable byte integer takes, 1 to 4 (MQTT 5.0 1.5.5). */
static inline size_t tf_mqtt_length_size(uint32_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

/*
 * Finds the packet at the start of `in`; views in *ret borrow it. MQTT 5.0 2.1.
 * TF_MORE: incomplete; *ret_need bytes in all are wanted as far as is known yet (at least one more
 *   than there are). Call again when they have arrived.
 * TF_PROTOCOL: *ret_reason is 0x81 for a bad length, type 0 or wrong flags (2.1.3; DUP with QoS 0
 *   and QoS 3 of PUBLISH included), 0x95 as soon as the header shows more than `max` bytes in all.
 *   Answer with it and close. AUTH passes, though 3.1.1 has none: dispatch by version.
 */
TF_MUST_USE enum tf_err tf_mqtt_frame_read(struct tf_bytes in, size_t max,
                                           struct tf_mqtt_frame *ret, size_t *ret_need,
                                           uint8_t *ret_reason);

/*
 * The same as soon as the fixed header is there: ret->body is what has arrived of the body, perhaps
 * nothing. For a PUBLISH whose payload is taken in runs.
 */
TF_MUST_USE enum tf_err tf_mqtt_frame_head_read(struct tf_bytes in, size_t max,
                                                struct tf_mqtt_frame *ret, size_t *ret_need,
                                                uint8_t *ret_reason);

/*
 * Reads CONNECT, which brings its own version; 3.1, 3.1.1 and 5.0 are known. Views borrow
 * `frame->body`, as those of all readers do. An empty client identifier is the caller's to judge.
 * TF_PROTOCOL: *ret_reason is 0x84 for an unknown protocol name or level (3.1.2.1, 3.1.2.2), 0x90
 *   for a will topic that cannot be published to, else 0x81 or 0x82. ret->version alone is then
 *   set, to the level that was asked for or to 0 where none was found, so that the answer can be in
 *   its form.
 */
TF_MUST_USE enum tf_err tf_mqtt_connect_read(const struct tf_mqtt_frame *frame,
                                             struct tf_mqtt_connect *ret, uint8_t *ret_reason);

/*
 * Reads CONNACK. `version` is the connection's, here and below. MQTT 5.0 3.2.
 * TF_PROTOCOL: *ret_reason is 0x81 or 0x82; answer with it and close.
 */
TF_MUST_USE enum tf_err tf_mqtt_connack_read(const struct tf_mqtt_frame *frame, unsigned version,
                                             struct tf_mqtt_connack *ret, uint8_t *ret_reason);

/*
 * Reads PUBLISH. MQTT 5.0 3.3. The topic is empty only beside a Topic Alias; the alias's upper
 * limit and a client's Subscription Identifier (3.3.4) are the caller's to judge. TF_PROTOCOL:
 * *ret_reason is 0x90 for wildcards in the topic, 0x94 for alias 0, 0x82 for packet identifier 0,
 * an empty topic or a property's value, else 0x81; answer with it and close.
 */
TF_MUST_USE enum tf_err tf_mqtt_publish_read(const struct tf_mqtt_frame *frame, unsigned version,
                                             struct tf_mqtt_publish *ret, uint8_t *ret_reason);

/*
 * Tells whether all of a PUBLISH but its payload is in `frame->body`, as tf_mqtt_frame_head_read
 * gave it. With TF_OK tf_mqtt_publish_read reads the frame: its payload is what has arrived of it.
 * TF_MORE: *ret_need bytes of the body are wanted as far as is known yet.
 * TF_PROTOCOL: they would not fit the packet; *ret_reason is 0x81; answer with it and close.
 */
TF_MUST_USE enum tf_err tf_mqtt_publish_head_check(const struct tf_mqtt_frame *frame,
                                                   unsigned version, size_t *ret_need,
                                                   uint8_t *ret_reason);

/*
 * Reads PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK of 3.1.1. MQTT 5.0 3.4 to 3.7.
 * TF_PROTOCOL: *ret_reason is 0x81, or 0x82 for identifier 0, a code that this packet cannot have,
 *   or another type of packet; answer with it and close.
 */
TF_MUST_USE enum tf_err tf_mqtt_ack_read(const struct tf_mqtt_frame *frame, unsigned version,
                                         struct tf_mqtt_ack *ret, uint8_t *ret_reason);

/*
 * Reads SUBSCRIBE: at least one filter, each of them UTF-8 and not empty, with legal options. Where
 * a filter has its wildcards is not looked at: that is answered in SUBACK. MQTT 5.0 3.8.
 * TF_PROTOCOL: *ret_reason is 0x81 or 0x82; answer with it and close.
 */
TF_MUST_USE enum tf_err tf_mqtt_subscribe_read(const struct tf_mqtt_frame *frame, unsigned version,
                                               struct tf_mqtt_subscribe *ret, uint8_t *ret_reason);

/* Reads UNSUBSCRIBE by the same rules, without options. MQTT 5.0 3.10. */
TF_MUST_USE enum tf_err tf_mqtt_unsubscribe_read(const struct tf_mqtt_frame *frame,
                                                 unsigned version, struct tf_mqtt_unsubscribe *ret,
                                                 uint8_t *ret_reason);

/*
 * Reads SUBACK, or UNSUBACK of either version. MQTT 5.0 3.9, 3.11.
 * TF_PROTOCOL: *ret_reason is 0x81, or 0x82 for identifier 0, no code or one that this packet
 *   cannot have; answer with it and close.
 */
TF_MUST_USE enum tf_err tf_mqtt_suback_read(const struct tf_mqtt_frame *frame, unsigned version,
                                            struct tf_mqtt_suback *ret, uint8_t *ret_reason);

/*
 * Reads DISCONNECT. MQTT 5.0 3.14. Which side may send which code and property is the caller's to
 * judge. TF_PROTOCOL: *ret_reason is 0x81 or 0x82; close.
 */
TF_MUST_USE enum tf_err tf_mqtt_disconnect_read(const struct tf_mqtt_frame *frame, unsigned version,
                                                struct tf_mqtt_disconnect *ret,
                                                uint8_t *ret_reason);

/*
 * Reads AUTH (5.0 only). MQTT 5.0 3.15. Without a body it is success and has no properties; else
 * there is a method, which the caller compares with CONNECT's.
 * TF_PROTOCOL: *ret_reason is 0x81 or 0x82; answer with it and close.
 */
TF_MUST_USE enum tf_err tf_mqtt_auth_read(const struct tf_mqtt_frame *frame,
                                          struct tf_mqtt_auth *ret, uint8_t *ret_reason);

/* Reads PINGREQ or PINGRESP, which have no body (3.12, 3.13): TF_PROTOCOL with 0x81 otherwise. */
TF_MUST_USE enum tf_err tf_mqtt_ping_read(const struct tf_mqtt_frame *frame, uint8_t *ret_reason);

/*
 * The next filter of a checked SUBSCRIBE payload; false at its end. *offset starts at 0. For 3.1.1
 * the options other than QoS are false and 0.
 */
bool tf_mqtt_subscription_next(struct tf_bytes payload, size_t *offset,
                               struct tf_mqtt_subscription *ret);

/* The next filter of a checked UNSUBSCRIBE payload; false at its end. *offset starts at 0. */
bool tf_mqtt_filter_next(struct tf_bytes payload, size_t *offset, struct tf_bytes *ret);

/*
 * Of all sizes and writers: a size is the exact length of the whole packet, fixed header included;
 * 0 when it cannot be written (a string over 65,535 bytes, a packet over the protocol's maximum).
 * A writer writes all of it or, when it does not fit or cannot be written, nothing, and has failed.
 * Properties are left out below 5.0. The caller keeps to the rules that the readers check.
 */

/* The size of CONNECT, in the form of packet->version. */
size_t tf_mqtt_connect_size(const struct tf_mqtt_connect *packet);

/* Writes CONNECT. MQTT 5.0 3.1. */
void tf_mqtt_connect_write(struct tf_writer *writer, const struct tf_mqtt_connect *packet);

/* The size of CONNACK. */
size_t tf_mqtt_connack_size(const struct tf_mqtt_connack *packet, unsigned version);

/* Writes CONNACK. MQTT 5.0 3.2. */
void tf_mqtt_connack_write(struct tf_writer *writer, const struct tf_mqtt_connack *packet,
                           unsigned version);

/* The size of PUBLISH, its payload included. */
size_t tf_mqtt_publish_size(const struct tf_mqtt_publish *packet, unsigned version);

/* Writes PUBLISH. MQTT 5.0 3.3. */
void tf_mqtt_publish_write(struct tf_writer *writer, const struct tf_mqtt_publish *packet,
                           unsigned version);

/*
 * Writes a PUBLISH without its payload, of which only the length is looked at: those bytes must
 * follow on the wire. tf_mqtt_publish_size less payload.length tells the length.
 */
void tf_mqtt_publish_head_write(struct tf_writer *writer, const struct tf_mqtt_publish *packet,
                                unsigned version);

/* The size of PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK of 3.1.1. */
size_t tf_mqtt_ack_size(const struct tf_mqtt_ack *packet, unsigned version);

/* Writes one of them, in the shortest form. MQTT 5.0 3.4 to 3.7. */
void tf_mqtt_ack_write(struct tf_writer *writer, const struct tf_mqtt_ack *packet,
                       unsigned version);

/*
 * Appends one filter and its options to the payload of a SUBSCRIBE that is being built; that of an
 * UNSUBSCRIBE is built with tf_write_bytes16. The writer fails when it does not fit. 3.8.3.
 */
void tf_mqtt_subscription_write(struct tf_writer *writer,
                                const struct tf_mqtt_subscription *subscription, unsigned version);

/* The size of SUBSCRIBE, whose payload is as it goes on the wire. */
size_t tf_mqtt_subscribe_size(const struct tf_mqtt_subscribe *packet, unsigned version);

/* Writes SUBSCRIBE. MQTT 5.0 3.8. */
void tf_mqtt_subscribe_write(struct tf_writer *writer, const struct tf_mqtt_subscribe *packet,
                             unsigned version);

/* The size of UNSUBSCRIBE, whose payload is as it goes on the wire. */
size_t tf_mqtt_unsubscribe_size(const struct tf_mqtt_unsubscribe *packet, unsigned version);

/* Writes UNSUBSCRIBE. MQTT 5.0 3.10. */
void tf_mqtt_unsubscribe_write(struct tf_writer *writer, const struct tf_mqtt_unsubscribe *packet,
                               unsigned version);

/* The size of SUBACK or UNSUBACK. */
size_t tf_mqtt_suback_size(const struct tf_mqtt_suback *packet, unsigned version);

/* Writes SUBACK or UNSUBACK; the codes of an UNSUBACK of 3.1.1 are left out. MQTT 5.0 3.9, 3.11. */
void tf_mqtt_suback_write(struct tf_writer *writer, const struct tf_mqtt_suback *packet,
                          unsigned version);

/* The size of DISCONNECT. */
size_t tf_mqtt_disconnect_size(const struct tf_mqtt_disconnect *packet, unsigned version);

/* Writes DISCONNECT, in the shortest form. MQTT 5.0 3.14. */
void tf_mqtt_disconnect_write(struct tf_writer *writer, const struct tf_mqtt_disconnect *packet,
                              unsigned version);

/* The size of AUTH. */
size_t tf_mqtt_auth_size(const struct tf_mqtt_auth *packet);

/* Writes AUTH. MQTT 5.0 3.15. */
void tf_mqtt_auth_write(struct tf_writer *writer, const struct tf_mqtt_auth *packet);

/* Writes PINGREQ or PINGRESP, two bytes. MQTT 5.0 3.12, 3.13. */
void tf_mqtt_ping_write(struct tf_writer *writer, unsigned type);

/* True for a topic name that may be published to: 4.7.3, no wildcards (3.3.2.1). */
bool tf_mqtt_topic_valid(struct tf_bytes topic);

/* True for a topic filter with its wildcards where 4.7.1 allows them, `$share/...` not looked at.
 */
bool tf_mqtt_filter_valid(struct tf_bytes filter);

/*
 * The parts of `$share/name/filter` (4.8.2). TF_NOT_FOUND: no shared subscription. TF_PROTOCOL: it
 * begins like one, but the name is missing or has wildcards, or the filter is missing or not valid:
 * answer 0x8F.
 */
TF_MUST_USE enum tf_err tf_mqtt_shared_read(struct tf_bytes filter, struct tf_bytes *ret_name,
                                            struct tf_bytes *ret_filter);

#endif
