/*
 * The words of MQTT 3.1.1 and 5.0 that every other MQTT header uses: versions, packet types,
 * reason codes, limits.
 */
#ifndef TREFOIL_MQTT_H
#define TREFOIL_MQTT_H

#include <trefoil/bytes.h>
#include <trefoil/err.h>
#include <trefoil/time.h>

/* The protocol level of CONNECT (MQTT 5.0 3.1.2.2). */
enum tf_mqtt_version { TF_MQTT_3_1 = 3, TF_MQTT_3_1_1 = 4, TF_MQTT_5 = 5 };

/* MQTT 5.0 2.1.2 */
enum tf_mqtt_type {
    TF_MQTT_CONNECT = 1,
    TF_MQTT_CONNACK,
    TF_MQTT_PUBLISH,
    TF_MQTT_PUBACK,
    TF_MQTT_PUBREC,
    TF_MQTT_PUBREL,
    TF_MQTT_PUBCOMP,
    TF_MQTT_SUBSCRIBE,
    TF_MQTT_SUBACK,
    TF_MQTT_UNSUBSCRIBE,
    TF_MQTT_UNSUBACK,
    TF_MQTT_PINGREQ,
    TF_MQTT_PINGRESP,
    TF_MQTT_DISCONNECT,
    TF_MQTT_AUTH
};

/* Remaining Length goes to 268,435,455 (MQTT 5.0 1.5.5); a packet adds at most 5 bytes. */
#define TF_MQTT_LENGTH_MAX 268435455u

/* MQTT 5.0 2.4; on 3.1.1 connections the machines translate (3.1.1 3.2.2.3, 3.9.3). */
enum tf_mqtt_reason {
    TF_MQTT_SUCCESS = 0x00, /* also: normal disconnection, granted QoS 0 */
    TF_MQTT_GRANTED_QOS_1 = 0x01,
    TF_MQTT_GRANTED_QOS_2 = 0x02,
    TF_MQTT_DISCONNECT_WITH_WILL = 0x04,
    TF_MQTT_NO_MATCHING_SUBSCRIBERS = 0x10,
    TF_MQTT_NO_SUBSCRIPTION_EXISTED = 0x11,
    TF_MQTT_CONTINUE_AUTHENTICATION = 0x18,
    TF_MQTT_REAUTHENTICATE = 0x19,
    TF_MQTT_UNSPECIFIED_ERROR = 0x80,
    TF_MQTT_MALFORMED_PACKET = 0x81,
    TF_MQTT_PROTOCOL_ERROR = 0x82,
    TF_MQTT_IMPLEMENTATION_ERROR = 0x83,
    TF_MQTT_UNSUPPORTED_VERSION = 0x84,
    TF_MQTT_CLIENT_ID_NOT_VALID = 0x85,
    TF_MQTT_BAD_USER_OR_PASSWORD = 0x86,
    TF_MQTT_NOT_AUTHORIZED = 0x87,
    TF_MQTT_SERVER_UNAVAILABLE = 0x88,
    TF_MQTT_SERVER_BUSY = 0x89,
    TF_MQTT_BANNED = 0x8A,
    TF_MQTT_SERVER_SHUTTING_DOWN = 0x8B,
    TF_MQTT_BAD_AUTHENTICATION_METHOD = 0x8C,
    TF_MQTT_KEEP_ALIVE_TIMEOUT = 0x8D,
    TF_MQTT_SESSION_TAKEN_OVER = 0x8E,
    TF_MQTT_TOPIC_FILTER_INVALID = 0x8F,
    TF_MQTT_TOPIC_NAME_INVALID = 0x90,
    TF_MQTT_PACKET_ID_IN_USE = 0x91,
    TF_MQTT_PACKET_ID_NOT_FOUND = 0x92,
    TF_MQTT_RECEIVE_MAXIMUM_EXCEEDED = 0x93,
    TF_MQTT_TOPIC_ALIAS_INVALID = 0x94,
    TF_MQTT_PACKET_TOO_LARGE = 0x95,
    TF_MQTT_MESSAGE_RATE_TOO_HIGH = 0x96,
    TF_MQTT_QUOTA_EXCEEDED = 0x97,
    TF_MQTT_ADMINISTRATIVE_ACTION = 0x98,
    TF_MQTT_PAYLOAD_FORMAT_INVALID = 0x99,
    TF_MQTT_RETAIN_NOT_SUPPORTED = 0x9A,
    TF_MQTT_QOS_NOT_SUPPORTED = 0x9B,
    TF_MQTT_USE_ANOTHER_SERVER = 0x9C,
    TF_MQTT_SERVER_MOVED = 0x9D,
    TF_MQTT_SHARED_NOT_SUPPORTED = 0x9E,
    TF_MQTT_CONNECTION_RATE_EXCEEDED = 0x9F,
    TF_MQTT_MAXIMUM_CONNECT_TIME = 0xA0,
    TF_MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED = 0xA1,
    TF_MQTT_WILDCARDS_NOT_SUPPORTED = 0xA2
};

/* The specification's name of a packet type ("PUBLISH"); "RESERVED" for 0 and above 15. Static. */
const char *tf_mqtt_type_name(unsigned type);

/* The specification's name of a reason code ("Malformed Packet"); "Unknown". Static. */
const char *tf_mqtt_reason_name(unsigned reason);

#endif
