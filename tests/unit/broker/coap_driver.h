/*
 * CoAP fronts beside MQTT's on the shards of front_driver.h, and peers that send them datagrams
 * made option by option. What comes back is taken apart and kept until the test takes it.
 *
 * Each datagram lies in memory of its own while the front has it. After every turn the machine's
 * invariants and the front's accounts are checked; a broken one ends the program.
 */
#ifndef TF_TEST_BROKER_COAP_DRIVER_H
#define TF_TEST_BROKER_COAP_DRIVER_H

#include "broker/coap_front.h"
#include "broker/coap_front_internal.h"
#include "unit/broker/front_client.h"

/* Another endpoint: one address and port, whose datagrams arrive at one shard. */
struct coap_peer {
    struct tf_list_node node;
    struct driver *driver;
    unsigned shard;
    struct tf_datagram_path path;
    uint8_t flags;       /* of its datagrams: TF_DATAGRAM_TRUSTED unless changed */
    struct tf_list came; /* what the broker sent */
    uint16_t id;         /* of its next message */
    bool mute;           /* acknowledges nothing */
    struct coap_got *last;
};

/* A message from the broker. */
struct coap_got {
    struct tf_list_node node;
    struct tf_coap_message message;
    size_t length;
    uint8_t data[];
};

#define COAP_BLOCK(number, more, szx) (1 + ((uint32_t)(number) << 4 | (more) << 3 | (szx)))
#define COAP_FORMAT(number) (1 + (number))

/* A request. Zero: CON, without the option. */
struct coap_ask {
    uint8_t code;
    bool non;
    const char *path;    /* split at slashes */
    struct tf_bytes raw; /* instead: one Uri-Path */
    const char *query;   /* one Uri-Query */
    struct tf_bytes body;
    const char *text;        /* instead of body */
    unsigned format;         /* COAP_FORMAT */
    unsigned accept;         /* COAP_FORMAT */
    unsigned observe;        /* 1: register, 2: stop */
    uint32_t block1, block2; /* COAP_BLOCK */
    const struct tf_bytes *if_match;
    size_t if_match_count;
    struct tf_bytes etag;
    bool if_none_match;
    uint32_t token; /* 0: one of its own */
};

/* Before driver_start, after driver_init: a CoAP listener, and limits that suit a test. */
void coap_driver_init(struct driver *driver, unsigned shards);

/* Tells the front that no output can be sent (or that it can, again). */
void coap_driver_stick(struct driver *driver, unsigned shard, bool stuck);

/* The socket of a shard is lost. */
void coap_driver_close(struct driver *driver, unsigned shard);

struct coap_front *coap_driver_front(struct driver *driver, unsigned shard);
struct coap_channel *coap_driver_channel(struct driver *driver, unsigned shard);

/* Fails if any work, body or listing that is not kept is left in a shard. */
void coap_driver_expect_idle(struct driver *driver);

/* Writes `prefix` and a number: an address whose home is this shard. */
const char *coap_name(struct driver *driver, char *buffer, const char *prefix, unsigned home);

/* A new peer; freed with the driver. */
struct coap_peer *coap_peer_new(struct driver *driver, unsigned shard);

/* Sends a datagram as it is; nothing is run. */
void coap_send_bytes(struct coap_peer *peer, struct tf_bytes bytes);

/* Sends a request; its token. Nothing is run. */
uint32_t coap_send(struct coap_peer *peer, const struct coap_ask *ask);

/* Runs, and takes the next message that is not an empty ACK; a CON is acknowledged unless the peer
 * is mute. NULL: there is none. It lasts until the next one is taken. */
const struct tf_coap_message *coap_take(struct coap_peer *peer);

/* Takes the next message, which must have this code. */
const struct tf_coap_message *coap_expect(struct coap_peer *peer, uint8_t code);

void coap_expect_nothing(struct coap_peer *peer);

/* Asks, and takes the answer, which must have this code. */
const struct tf_coap_message *coap_ask(struct coap_peer *peer, const struct coap_ask *ask,
                                       uint8_t code);

/* PUT of a text, whatever it changes. */
void coap_put(struct coap_peer *peer, const char *path, const char *text);

/* GET, whose answer must be this text (NULL: 4.04). */
void coap_expect_value(struct coap_peer *peer, const char *path, const char *text);

/* An option of a message as a number; -1: it has none. */
int64_t coap_number(const struct tf_coap_message *message, uint16_t number);

/* The ETag of a message, copied; empty: none. */
struct tf_bytes coap_etag(const struct tf_coap_message *message, uint8_t buffer[8]);

bool coap_body_is(const struct tf_coap_message *message, const char *text);

#endif
