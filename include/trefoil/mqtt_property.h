/*
 * Properties of MQTT 5.0 (2.2.2): read by a cursor, written by a writer, never a tree.
 *
 * A property section is a view of the bytes behind its length. A packet's reader has checked it as
 * a whole (identifier allowed in this packet, at most once, value in range, UTF-8), so the cursor
 * over a checked section cannot fail.
 */
#ifndef TREFOIL_MQTT_PROPERTY_H
#define TREFOIL_MQTT_PROPERTY_H

#include <trefoil/mqtt.h>

/* MQTT 5.0 2.2.2.2 */
enum tf_mqtt_property_id {
    TF_MQTT_PAYLOAD_FORMAT = 1,
    TF_MQTT_MESSAGE_EXPIRY = 2,
    TF_MQTT_CONTENT_TYPE = 3,
    TF_MQTT_RESPONSE_TOPIC = 8,
    TF_MQTT_CORRELATION_DATA = 9,
    TF_MQTT_SUBSCRIPTION_ID = 11,
    TF_MQTT_SESSION_EXPIRY = 17,
    TF_MQTT_ASSIGNED_CLIENT_ID = 18,
    TF_MQTT_SERVER_KEEP_ALIVE = 19,
    TF_MQTT_AUTHENTICATION_METHOD = 21,
    TF_MQTT_AUTHENTICATION_DATA = 22,
    TF_MQTT_REQUEST_PROBLEM_INFO = 23,
    TF_MQTT_WILL_DELAY = 24,
    TF_MQTT_REQUEST_RESPONSE_INFO = 25,
    TF_MQTT_RESPONSE_INFO = 26,
    TF_MQTT_SERVER_REFERENCE = 28,
    TF_MQTT_REASON_STRING = 31,
    TF_MQTT_RECEIVE_MAXIMUM = 33,
    TF_MQTT_TOPIC_ALIAS_MAXIMUM = 34,
    TF_MQTT_TOPIC_ALIAS = 35,
    TF_MQTT_MAXIMUM_QOS = 36,
    TF_MQTT_RETAIN_AVAILABLE = 37,
    TF_MQTT_USER_PROPERTY = 38,
    TF_MQTT_MAXIMUM_PACKET_SIZE = 39,
    TF_MQTT_WILDCARD_AVAILABLE = 40,
    TF_MQTT_SUBSCRIPTION_ID_AVAILABLE = 41,
    TF_MQTT_SHARED_AVAILABLE = 42
};

/* One property. Which member holds the value follows from the identifier. */
struct tf_mqtt_property {
    uint8_t id;
    uint32_t number;       /* byte, two byte, four byte and variable byte integers */
    struct tf_bytes name;  /* of a user property */
    struct tf_bytes value; /* string, binary data, or the value of a user property */
};

/* Walks a checked property section. Start with `{section, 0}`. */
struct tf_mqtt_property_cursor {
    struct tf_bytes section;
    size_t offset;
};

/* The will's properties have rules of their own (3.1.3.2): the table calls their "packet" this. */
#define TF_MQTT_WILL 0u

/*
 * Checks a whole section for a packet type (or TF_MQTT_WILL), in one pass and linear time.
 * TF_PROTOCOL: *ret_reason is 0x81 (malformed, or not allowed in this packet: 2.2.2.2), 0x82
 * (twice, a value out of range, authentication data without a method) or 0x94 (topic alias 0);
 * answer the peer with it and close.
 */
TF_MUST_USE enum tf_err tf_mqtt_properties_check(struct tf_bytes section, unsigned type,
                                                 uint8_t *ret_reason);

/* The next property of a checked section; false at its end. The views borrow the section. */
bool tf_mqtt_property_next(struct tf_mqtt_property_cursor *cursor, struct tf_mqtt_property *ret);

/* Finds the first property `id` of a checked section; false when it is not there. */
bool tf_mqtt_property_find(struct tf_bytes section, unsigned id, struct tf_mqtt_property *ret);

/* A number property of a checked section, or `absent` when it is not there. */
uint32_t tf_mqtt_property_number(struct tf_bytes section, unsigned id, uint32_t absent);

/*
 * Appends one property; the writer fails when it does not fit, has no such identifier or a value
 * over its type. The caller keeps to the rules of the packet (tf_mqtt_properties_check tells).
 */
void tf_mqtt_property_write(struct tf_writer *writer, const struct tf_mqtt_property *property);

/* The bytes that tf_mqtt_property_write will append; 0 when it cannot be written. */
size_t tf_mqtt_property_size(const struct tf_mqtt_property *property);

#endif
