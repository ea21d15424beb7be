/*
 * What the bench's clients of all protocols have in common, and what the engine needs of one.
 *
 * No I/O and no clock: bytes and `now` come in, output is appended to the client's buffer. A
 * client knows the ledger, in which it enters what it sends and gets, but not rates or phases.
 */
#ifndef TF_CLI_BENCH_CLIENT_H
#define TF_CLI_BENCH_CLIENT_H

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

struct tf_bench_amqp_client; /* an AMQP client's own part: bench_amqp.c */

struct tf_bench_client {
    enum tf_bench_role role;
    enum tf_bench_state state;
    uint32_t index;         /* among those of its role */
    uint32_t unacked;       /* publisher: sent and not yet answered, where there is an answer */
    tf_time sent;           /* publisher: the last message */
    uint32_t in_flight_max; /* publisher: how many of these may be */
    struct tf_bench_buffer out;
    uint8_t *frame; /* publisher: a message ready to be patched; NULL: none is used */
    size_t frame_length;
    size_t id_offset; /* MQTT: of the packet id in it; 0 at QoS 0 */
    size_t stamp_offset;
    struct tf_bench_amqp_client *amqp; /* NULL: another protocol, or not greeted yet */
};

/* What all clients of a run share. */
struct tf_bench_world {
    const struct tf_bench_config *config;
    uint32_t run; /* makes addresses and client ids differ from those of other runs */
    struct tf_bench_ledger ledger;
    struct tf_bench_histogram *latency_us; /* NULL: not measuring */
    struct tf_bench_histogram *ack_us;     /* likewise */
    uint32_t backlog; /* of each queue just now: config's, until all is to be taken */
    uint64_t refused;
    char why[96]; /* of the last failure */
    void *context;
    void (*arrived)(void *context, uint32_t publisher); /* something of its was seen */
};

/* One protocol's client. */
struct tf_bench_protocol {
    const char *name; /* and the scheme of its URL */
    uint16_t port;

    /* Appends the first bytes. TF_NO_MEMORY. */
    enum tf_err (*greet)(struct tf_bench_world *world, struct tf_bench_client *client, tf_time now);

    /*
     * Takes what has arrived; *ret_used bytes of it, the rest is to be offered again with more
     * behind it. TF_PROTOCOL: the peer refused or broke the protocol, world->why tells;
     * TF_NO_MEMORY.
     */
    enum tf_err (*input)(struct tf_bench_world *world, struct tf_bench_client *client,
                         struct tf_bytes in, size_t *ret_used, tf_time now);

    /* Appends a goodbye, for a server to know that the end is no accident; if there is memory. */
    void (*leave)(struct tf_bench_world *world, struct tf_bench_client *client);

    /* True when a publisher may send as far as windows and what the server allows go. */
    bool (*open)(const struct tf_bench_world *world, const struct tf_bench_client *client);

    /*
     * Appends a message that counts as sent at `sent`; the client must be open. TF_AGAIN: it is not
     * after all, nothing was sent. TF_PROTOCOL, TF_NO_MEMORY.
     */
    enum tf_err (*publish)(struct tf_bench_world *world, struct tf_bench_client *client,
                           tf_time sent);

    /* Before what is in the buffer is written: the rest of what there is. NULL: it is all there. */
    enum tf_err (*flush)(struct tf_bench_world *world, struct tf_bench_client *client, tf_time now);

    /* A second has passed. NULL: nothing to do then. */
    void (*tick)(struct tf_bench_client *client, tf_time now);

    /* Frees what only this protocol has. NULL: nothing. */
    void (*release)(struct tf_bench_client *client);
};

extern const struct tf_bench_protocol tf_bench_mqtt; /* bench_mqtt.c */
extern const struct tf_bench_protocol tf_bench_amqp; /* bench_amqp.c */

/* Makes room for `length` bytes more; NULL: no memory. Advance `end` by what was written. */
uint8_t *tf_bench_buffer_reserve(struct tf_bench_buffer *buffer, size_t length);

/* Frees what every client has. */
void tf_bench_client_release(struct tf_bench_client *client);

/* Writes the TF_BENCH_STAMP_SIZE bytes by which a message is known again. */
void tf_bench_stamp_write(uint8_t *at, uint32_t publisher, uint32_t number, tf_time sent);

/* Enters a message that `client` has got, whatever is in it. */
void tf_bench_arrived(struct tf_bench_world *world, const struct tf_bench_client *client,
                      struct tf_bytes payload, tf_time now);

/* Takes a publisher's acknowledgement off the account; one must be due. */
void tf_bench_acknowledged(struct tf_bench_world *world, struct tf_bench_client *client,
                           tf_time now);

/* Which address a client uses, of those of a run. */
uint32_t tf_bench_topic(const struct tf_bench_world *world, const struct tf_bench_client *client);

/*
 * At the bare forwarder. The first line: `reply` are the bytes that a publisher gets for each of
 * its frames, as it is written in that line; empty: none. TF_NO_MEMORY.
 */
TF_MUST_USE enum tf_err tf_bench_bare_greet(struct tf_bench_world *world,
                                            struct tf_bench_client *client, const char *reply);

/* And the answer to it: *ret_used is 0 while it is not all there. TF_PROTOCOL: it is another. */
TF_MUST_USE enum tf_err tf_bench_bare_welcome(struct tf_bench_world *world,
                                              struct tf_bench_client *client, struct tf_bytes in,
                                              size_t *ret_used);

#endif
