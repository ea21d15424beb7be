/*
 * The bench's MQTT client: what it answers to which bytes, and the messages it makes.
 *
 * No I/O and no clock: bytes and `now` come in, output is appended to the connection's buffer. It
 * knows the ledger, in which it enters what it sends and gets, but not windows, rates or phases.
 *
 *   GREETING --CONNACK--> READY (publishers)
 *   GREETING --CONNACK--> SUBSCRIBING --SUBACK--> READY (subscribers, idle ones)
 *   GREETING --"ok"--> READY (all, at the bare forwarder)
 */
#ifndef TF_CLI_BENCH_MQTT_H
#define TF_CLI_BENCH_MQTT_H

#include "cli/bench.h"
#include "cli/bench_ledger.h"

#include <trefoil/bytes.h>
#include <trefoil/time.h>

enum tf_bench_role { TF_BENCH_PUBLISHER, TF_BENCH_SUBSCRIBER, TF_BENCH_IDLE };

enum tf_bench_state { TF_BENCH_GREETING, TF_BENCH_SUBSCRIBING, TF_BENCH_READY };

/* Bytes on their way out; grows as needed. All zero: empty. */
struct tf_bench_buffer {
    uint8_t *data;
    size_t start; /* the first unsent byte */
    size_t end;
    size_t size;
};

struct tf_bench_client {
    enum tf_bench_role role;
    enum tf_bench_state state;
    uint32_t index;         /* among those of its role */
    uint32_t unacked;       /* publisher: QoS 1 and 2 under way */
    uint32_t in_flight_max; /* publisher: the server's Receive Maximum */
    struct tf_bench_buffer out;
    uint8_t *frame; /* publisher: a PUBLISH ready to be patched */
    size_t frame_length;
    size_t id_offset; /* of the packet id in it; 0 at QoS 0 */
    size_t stamp_offset;
};

/* What all clients of a run share. */
struct tf_bench_world {
    const struct tf_bench_config *config;
    uint32_t run; /* makes topics and client ids differ from those of other runs */
    struct tf_bench_ledger ledger;
    struct tf_bench_histogram *latency_us; /* NULL: not measuring */
    uint64_t refused;
    char why[96]; /* of the last failure */
    void *context;
    void (*arrived)(void *context, uint32_t publisher); /* something of its was seen */
};

/* Makes room for `length` bytes more; NULL: no memory. Advance `end` by what was written. */
uint8_t *tf_bench_buffer_reserve(struct tf_bench_buffer *buffer, size_t length);

/* Frees what a client owns. */
void tf_bench_client_release(struct tf_bench_client *client);

/* Appends the first packet. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_bench_mqtt_greet(struct tf_bench_world *world,
                                            struct tf_bench_client *client);

/*
 * Takes what has arrived; *ret_used bytes of it, the rest is to be offered again with more behind
 * it. TF_PROTOCOL: the peer refused or broke the protocol, world->why tells; TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_bench_mqtt_input(struct tf_bench_world *world,
                                            struct tf_bench_client *client, struct tf_bytes in,
                                            size_t *ret_used, tf_time now);

/* Appends a DISCONNECT, for a server to know that the end is no accident; if there is memory. */
void tf_bench_mqtt_leave(struct tf_bench_world *world, struct tf_bench_client *client);

/* True when a publisher may send as far as windows and the server's Receive Maximum go. */
bool tf_bench_mqtt_open(const struct tf_bench_world *world, const struct tf_bench_client *client);

/* Appends a message that counts as sent at `sent`; the client must be open. TF_NO_MEMORY. */
TF_MUST_USE enum tf_err tf_bench_mqtt_publish(struct tf_bench_world *world,
                                              struct tf_bench_client *client, tf_time sent);

#endif
