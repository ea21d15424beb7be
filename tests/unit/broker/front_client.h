/*
 * A client for front tests: writes packets byte by byte from the standard, without Trefoil's own
 * codec, and takes apart what comes back. What is not as expected fails the test.
 */
#ifndef TF_TEST_BROKER_FRONT_CLIENT_H
#define TF_TEST_BROKER_FRONT_CLIENT_H

#include "unit/broker/front_driver.h"

struct client {
    struct driver *driver;
    struct driver_conn *conn;
    unsigned version; /* 5 unless set */
};

/* How to connect. Zero: 5.0, not clean, no keep-alive, the session ends with the connection. */
struct hello {
    unsigned version; /* 4: 3.1.1 */
    bool clean;
    uint16_t keep_alive;
    uint32_t expiry; /* session expiry interval */
    uint16_t receive_maximum;
    uint32_t max_packet;
    const char *will_topic;
    const char *will_body;
    uint32_t will_delay;
    uint32_t will_expiry;
    bool will_retain;
};

struct reply {
    unsigned type; /* of MQTT: 2 is CONNACK */
    unsigned flags;
    const uint8_t *body; /* in the connection's output: until more is written */
    size_t length;
    /* of PUBLISH */
    struct tf_bytes topic, properties, payload;
    uint16_t id; /* of PUBLISH above QoS 0, and of acknowledgements */
    unsigned qos;
    bool dup, retain;
    uint8_t reason; /* of acknowledgements, CONNACK, DISCONNECT */
};

enum {
    CONNACK = 2,
    PUBLISH = 3,
    PUBACK,
    PUBREC,
    PUBREL,
    PUBCOMP,
    SUBACK = 9,
    UNSUBACK = 11,
    PINGRESP = 13,
    DISCONNECT = 14
};

/* Opens on `shard` and sends CONNECT; nothing is run. */
void peer_send_connect(struct client *client, struct driver *driver, unsigned shard, const char *id,
                       struct hello hello);

/* The same, and takes CONNACK, which must be a success; its session present flag. */
bool peer_connect(struct client *client, struct driver *driver, unsigned shard, const char *id,
                  struct hello hello);

/* Feeds a packet: first byte and body. Nothing is run. */
void peer_send(struct client *client, unsigned first, const void *body, size_t length);

/* PUBLISH with raw properties (NULL: none). `id` is ignored at QoS 0. */
void peer_publish_with(struct client *client, const char *topic, struct tf_bytes body,
                       unsigned flags, uint16_t id, const char *properties, size_t length);

/* PUBLISH; flags as in the first byte: qos << 1 | retain | dup << 3. */
void peer_publish(struct client *client, const char *topic, const char *body, unsigned flags,
                  uint16_t id);

/* PUBACK, PUBREC, PUBREL, PUBCOMP with success. */
void peer_acknowledge(struct client *client, unsigned type, uint16_t id);

/* SUBSCRIBE to one filter and, after a run, its SUBACK; the reason. Only for a quiet connection. */
uint8_t peer_subscribe(struct client *client, const char *filter, unsigned options);

/* Only sends it. `sub_id` 0: none. */
void peer_send_subscribe(struct client *client, uint16_t id, const char *filter, unsigned options,
                         uint8_t sub_id);

void peer_ping(struct client *client);
void peer_disconnect(struct client *client, uint8_t reason);

/* Runs, and takes the next packet. False: there is none. */
bool peer_take(struct client *client, struct reply *ret);

/* Takes the next packet, which must be of this type. */
struct reply peer_expect(struct client *client, unsigned type);

/* Takes a PUBLISH, which must be this; its packet id. */
uint16_t peer_expect_publish(struct client *client, const char *topic, const char *body,
                             unsigned flags);

/* No packet may be there. */
void peer_expect_nothing(struct client *client);

/* The broker must have ended the connection, with DISCONNECT of this reason (0: without a word). */
void peer_expect_end(struct client *client, uint8_t reason);

/* Finds a property of a reply by its identifier: the bytes from its value on; NULL: not there. */
const uint8_t *reply_property(struct tf_bytes properties, uint8_t id);

#endif
