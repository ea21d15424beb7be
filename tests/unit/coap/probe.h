/*
 * One endpoint under a lens: crafted datagrams in, what it sends and says kept for the test to look
 * at, on virtual time. For pairs of endpoints over a network see rig.h.
 */
#ifndef TEST_COAP_PROBE_H
#define TEST_COAP_PROBE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <trefoil/coap_endpoint.h>

#define PROBE_SENT 4096
#define PROBE_EVENTS 4096

/* A datagram that the endpoint sent. */
struct probe_sent {
    uint32_t peer;
    tf_time at;
    size_t length;
    uint8_t *bytes;
    struct tf_coap_message message;
};

/* What an event said; views into copies. */
struct probe_seen {
    struct tf_coap_event event;
    uint32_t peer;
    uint8_t *copy;
};

struct probe;
/* Answers an event, or not; called while the event is fresh. */
typedef void probe_handler(struct probe *probe, const struct tf_coap_event *event);

struct probe {
    struct tf_coap_endpoint_config config;
    struct tf_coap_endpoint *endpoint;
    void *memory, *buffer;
    tf_time now;
    uint64_t seed;
    probe_handler *handler;
    void *user;
    uint16_t message_id; /* of the last message that the test made */
    struct probe_sent sent[PROBE_SENT];
    size_t sent_count;
    struct probe_seen seen[PROBE_EVENTS];
    size_t seen_count;
};

/* A config with all features and room for a few of everything. */
struct tf_coap_endpoint_config probe_config(void);

/* Starts an endpoint; `config` NULL: probe_config. To be given to probe_free. */
struct probe *probe_new(const struct tf_coap_endpoint_config *config, probe_handler *handler);
void probe_free(struct probe *probe);

/* Feeds a datagram from `peer`, then runs the endpoint until it is quiet. */
void probe_feed(struct probe *probe, uint32_t peer, struct tf_bytes datagram);

/* Pulls events, sends, ticks as far as `now` has come. */
void probe_run(struct probe *probe);

/* Lets time pass, deadline by deadline. */
void probe_pass(struct probe *probe, tf_time span);

/* Forgets what was sent and seen so far. */
void probe_clear(struct probe *probe);

/* The one and only datagram since probe_clear, or the last. */
const struct probe_sent *probe_only(struct probe *probe);
const struct probe_sent *probe_last(struct probe *probe);

/* How many events of `type` were seen since probe_clear; and the last of them (NULL: none). */
size_t probe_count(const struct probe *probe, enum tf_coap_event_type type);
const struct tf_coap_event *probe_event(const struct probe *probe, enum tf_coap_event_type type);

/* An option of a message as a number; -1: there is none. And as bytes. */
int64_t probe_uint(const struct tf_coap_message *message, uint16_t number);
struct tf_bytes probe_option(const struct tf_coap_message *message, uint16_t number);

/* ---- making messages ---- */

struct packet {
    struct tf_coap_encoder encoder;
    uint8_t bytes[2048];
};

/* Starts a message with a fresh message id and a token of `token` (0: empty token). */
void packet_start(struct probe *probe, struct packet *packet, enum tf_coap_type type, uint8_t code,
                  uint32_t token);
/* Starts one with this id, and this token. */
void packet_start_id(struct packet *packet, enum tf_coap_type type, uint8_t code, uint16_t id,
                     struct tf_bytes token);
void packet_text(struct packet *packet, uint16_t number, const char *text);
void packet_uint(struct packet *packet, uint16_t number, uint32_t value);
void packet_block(struct packet *packet, uint16_t number, uint32_t num, bool more, unsigned szx);
void packet_payload(struct packet *packet, const void *data, size_t length);
/* Sends it. */
void packet_feed(struct probe *probe, uint32_t peer, struct packet *packet);

/* Feeds an empty message: an ACK or RST with `id`. */
void probe_feed_empty(struct probe *probe, uint32_t peer, enum tf_coap_type type, uint16_t id);

/* A byte pattern in which each place differs from its neighbours, and each seed from the others. */
void pattern_fill(uint8_t *data, size_t length, unsigned seed);
bool pattern_is(struct tf_bytes data, size_t offset, unsigned seed);

#endif
