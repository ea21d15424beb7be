/*
 * CoAP endpoints on a virtual network, on virtual time.
 *
 * A node is an endpoint with a number; a path is the number of the other node (4 bytes). Datagrams
 * take `delay`, plus up to `jitter` (so they overtake one another), and are lost or doubled by
 * chance, from a seed. A number without a node is a stranger: the test itself, which sends by
 * rig_inject and reads what came by rig_take. A number from RIG_GROUP on is a group of all nodes.
 *
 * Every step checks every endpoint's invariants.
 */
#ifndef TESTS_COAP_RIG_H
#define TESTS_COAP_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <trefoil/coap_endpoint.h>

#include "base/random.h"

#define RIG_NODES 16u
#define RIG_GROUP 1000u
#define RIG_CAPTURED 256u

struct rig;
struct rig_node;

typedef void rig_on_event(struct rig *rig, struct rig_node *node,
                          const struct tf_coap_event *event);
/* False: this datagram is lost. */
typedef bool rig_filter(struct rig *rig, uint32_t from, uint32_t to, struct tf_bytes datagram);

struct rig_node {
    uint32_t id;
    bool down; /* takes and sends nothing */
    struct tf_coap_endpoint_config config;
    struct tf_coap_endpoint *endpoint;
    void *memory, *buffer;
    size_t buffer_size;
    struct tf_random random;
    rig_on_event *on_event; /* NULL: events are dropped */
    void *user;
};

struct rig_flight {
    tf_time at;
    uint64_t order;
    uint32_t from, to;
    uint8_t flags;
    size_t length;
    uint8_t *bytes;
};

struct rig_captured {
    uint32_t from, to;
    tf_time at;
    size_t length;
    uint8_t bytes[1500];
};

struct rig {
    tf_time now;
    tf_time delay, jitter;
    unsigned loss_percent, duplicate_percent;
    uint8_t flags; /* of every datagram that arrives */
    struct tf_random random;
    struct rig_node node[RIG_NODES];
    unsigned nodes;
    struct rig_flight *flights;
    size_t flight_count, flight_capacity;
    uint64_t sent; /* datagrams put on the network */
    rig_filter *filter;
    void *user;
    struct rig_captured captured[RIG_CAPTURED]; /* what came for strangers, oldest first */
    size_t captured_first, captured_count;
};

/* Random bytes from a seeded struct tf_random. */
void rig_random(void *ctx, void *data, size_t length);

/* A config with all features and room for some tens of everything. Here and not in rig.c, so that
 * a test links what it uses. */
static inline struct tf_coap_endpoint_config rig_config(void)
{
    return (struct tf_coap_endpoint_config){
        .features = {&tf_coap_negotiation, &tf_coap_deduplication, &tf_coap_separate,
                     &tf_coap_observe_server, &tf_coap_block_server, &tf_coap_multicast_server,
                     &tf_coap_echo_server, &tf_coap_client, &tf_coap_observe_client,
                     &tf_coap_block_client},
        .path_size = sizeof(uint32_t),
        .peers = 32,
        .requests = 32,
        .calls = 32,
        .exchanges = 32,
        .replies = 32,
        .observers = 32,
        .transfers = 16,
        .buffers = 256,
        .body_max = 65536,
        .block_szx = 6,
        .nstart = 4,
        .random = rig_random,
    };
}

/* An empty network: no loss, a delay of 1 ms. */
void rig_init(struct rig *rig, uint64_t seed);

/* A node with this config; its number is its place from 1. Without a random_ctx it gets a seeded
 * source of its own. */
struct rig_node *rig_add(struct rig *rig, const struct tf_coap_endpoint_config *config,
                         rig_on_event *on_event);

/* Ends and begins a node anew: its memory is lost, as by a restart. */
void rig_restart(struct rig *rig, struct rig_node *node);

/* Frees all. */
void rig_release(struct rig *rig);

/* Pulls events and sends output of all nodes until nothing moves; time stands still. */
void rig_flush(struct rig *rig);

/* Runs until `until`, through all that happens before; then `now` is `until`. */
void rig_run(struct rig *rig, tf_time until);

/* Runs for a span. */
void rig_run_for(struct rig *rig, tf_time span);

/* Runs until *done is true; fails the test after `limit`. */
void rig_run_until(struct rig *rig, const bool *done, tf_time limit);

/* Puts a datagram into a node at once, from a stranger (or a node), and flushes. */
void rig_inject(struct rig *rig, struct rig_node *node, uint32_t from, const void *bytes,
                size_t length);
void rig_inject_flags(struct rig *rig, struct rig_node *node, uint32_t from, uint8_t flags,
                      const void *bytes, size_t length);
/* The same in hexadecimal digits; blanks are skipped. */
void rig_inject_hex(struct rig *rig, struct rig_node *node, uint32_t from, const char *hex);

/* The oldest datagram for a stranger, or NULL. It stays until the next RIG_CAPTURED came. */
const struct rig_captured *rig_take(struct rig *rig);

/* Fails unless the oldest captured datagram is this, in hexadecimal; `??` is any byte. An empty
 * text: nothing has been captured. */
#define rig_expect_hex(rig, hex) rig_expect_hex_at(rig, hex, __FILE__, __LINE__)
void rig_expect_hex_at(struct rig *rig, const char *hex, const char *file, int line);

#endif
